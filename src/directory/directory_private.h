/* directory/directory_private.h -- shared by the files that write directory.db: one .c file a table. */
#ifndef FACTEUR_DIRECTORY_DIRECTORY_PRIVATE_H
#define FACTEUR_DIRECTORY_DIRECTORY_PRIVATE_H
#include "base/map.h"
#include "db/db.h"
#include "directory/directory.h"

enum { CHANGES_KEPT = 256 };

struct directory {
	struct db   *db;
	uint64_t     version, opened_version;
	/* the account that a version changed, by version; 0: more than one account is all that can be said */
	uint64_t     changed[CHANGES_KEPT];
	/* settings, read once until one of them changes, because a list or a build asks for those of every account */
	bool         conf_is_stale;
	struct conf *conf;             /* of the server; NULL: not read yet */
	struct map   places;           /* domains and accounts that have settings of their own, as setting_place() writes them */
	struct map   making;           /* accounts between account_reserve() and account_ready(): those of a process that was killed are not here */
};

/* A change: begin, work, directory_commit() (which raises the version). Without it everything is rolled back. */
enum err directory_begin(struct directory *d) MUST_CHECK;
enum err directory_commit(struct directory *d) MUST_CHECK;
/* The same for a change that concerns one account alone: no name, nothing that leads to others. */
enum err directory_commit_account(struct directory *d, uint64_t account) MUST_CHECK;
/* The accounts (with repetitions) that are all that has changed since that version; room for CHANGES_KEPT. False: more has, or it is not known. */
bool directory_changed_accounts(const struct directory *d, uint64_t since, uint64_t *accounts, size_t *n);
static inline void directory_end(struct directory **d) { db_rollback((*d)->db); }  /* harmless after the commit */
#define DIRECTORY_CHANGE(d) CLEANUP(directory_end) struct directory *change_of = (d); TRY(directory_begin(change_of))

/* Inside a change. */
enum err name_insert(struct directory *d, const struct directory_address *x, enum name_kind kind, uint64_t account) MUST_CHECK;
enum err name_delete(struct directory *d, struct str key) MUST_CHECK;
enum err name_delete_of_account(struct directory *d, uint64_t account) MUST_CHECK;
/* What belongs to the group with this key, or to one member of it. */
enum err group_delete(struct directory *d, struct str key) MUST_CHECK;
enum err group_delete_member(struct directory *d, struct str key, struct str member_key) MUST_CHECK;
enum err printer_delete_of_account(struct directory *d, uint64_t account) MUST_CHECK;
/* It shares nothing any more. */
enum err share_delete_of_account(struct directory *d, uint64_t account) MUST_CHECK;
/* Does an alias or a group lead to the address with this key, or to one with something behind its separator (0: none)? */
enum err name_is_target(struct directory *d, struct str key, char separator, bool *is_target) MUST_CHECK;
/* How many addresses of its own an account has. */
enum err name_count(struct directory *d, uint64_t account, uint64_t *n) MUST_CHECK;
/* The addresses to which domains send what is for nobody. */
enum err domain_catch_alls(struct directory *d, struct arena *a, struct str **out, size_t *n) MUST_CHECK;
/* Has the domain an account that lives and is older than this one? */
enum err domain_has_older(struct directory *d, struct str domain, uint64_t account, bool *has) MUST_CHECK;
/* "mail." and the first domain; "localhost" without any. */
enum err domain_hostname(struct directory *d, struct arena *a, struct str *out) MUST_CHECK;
/* Every place but the server that has a setting. */
enum err setting_places(struct directory *d, struct map *places) MUST_CHECK;
struct str setting_place(struct arena *a, enum setting_scope scope, struct str of);
struct str name_key(struct arena *a, const struct directory_address *x);
#endif
