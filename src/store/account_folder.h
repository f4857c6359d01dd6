/* store/account_folder.h -- accounts/N below the data folder: made for the cells' user, erased when the account is
 * purged. */
#ifndef FACTEUR_STORE_ACCOUNT_FOLDER_H
#define FACTEUR_STORE_ACCOUNT_FOLDER_H
#include "base/err.h"
#include <stdint.h>
#include <sys/types.h>

/* There afterwards, empty, mode 0700, of this user (uid 0: of ours), durable. ERR_EXISTS, logged: something is in it already, so it is another
 * account's, which nobody may get with a number that was given out twice. */
enum err account_folder_make(const char *dir, uint64_t account, uid_t uid, gid_t gid) MUST_CHECK;
/* Gone afterwards, with all in it; ERR_OK also when it was not there. No cell may have it open. */
enum err account_folder_remove(const char *dir, uint64_t account) MUST_CHECK;
#endif
