/* auth/remember.h -- account passwords that were right a while ago, as keyed hashes in memory only: a mail program that opens its
 * fifth connection, or everybody after a restart of the gates, costs one HMAC instead of a yescrypt (DESIGN.md §2).
 * Fixed memory (1 MB, touched as it fills), keyed at random at each start; 24 hours. */
#ifndef FACTEUR_AUTH_REMEMBER_H
#define FACTEUR_AUTH_REMEMBER_H
#include "base/err.h"
#include "base/str.h"

struct remember;
struct remember *remember_new(void);
void remember_free(struct remember *r);
bool remember_knows(struct remember *r, uint64_t account, uint32_t epoch, struct str password, int64_t now_ms);
void remember_add(struct remember *r, uint64_t account, uint32_t epoch, struct str password, int64_t now_ms);
void remember_drop(struct remember *r, uint64_t account);
/* A keyed number for a password that was wrong: for the throttle. */
uint64_t remember_tag(struct remember *r, uint64_t account, struct str password);
#endif
