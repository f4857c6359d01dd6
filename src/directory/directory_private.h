/* directory/directory_private.h -- shared by the files that write directory.db: one .c file a table. */
#ifndef FACTEUR_DIRECTORY_DIRECTORY_PRIVATE_H
#define FACTEUR_DIRECTORY_DIRECTORY_PRIVATE_H
#include "base/map.h"
#include "db/db.h"
#include "directory/directory.h"

struct directory {
	struct db   *db;
	uint64_t     version;
	/* settings, as of conf_version: read once for a version, because a list or a build asks for those of every account */
	uint64_t     conf_version;
	struct conf *conf;             /* of the server */
	struct map   places;           /* domains and accounts that have settings of their own, as setting_place() writes them */
};

/* A change: begin, work, directory_commit() (which raises the version). Without it everything is rolled back. */
enum err directory_begin(struct directory *d) MUST_CHECK;
enum err directory_commit(struct directory *d) MUST_CHECK;
static inline void directory_end(struct directory **d) { db_rollback((*d)->db); }  /* harmless after the commit */
#define DIRECTORY_CHANGE(d) CLEANUP(directory_end) struct directory *change_of = (d); TRY(directory_begin(change_of))

/* Inside a change. */
enum err name_insert(struct directory *d, const struct directory_address *x, enum name_kind kind, uint64_t account) MUST_CHECK;
enum err name_delete(struct directory *d, struct str key) MUST_CHECK;
enum err name_delete_of_account(struct directory *d, uint64_t account) MUST_CHECK;
enum err printer_delete_of_account(struct directory *d, uint64_t account) MUST_CHECK;
/* "mail." and the first domain; "localhost" without any. */
enum err domain_hostname(struct directory *d, struct arena *a, struct str *out) MUST_CHECK;
/* Every place but the server that has a setting. */
enum err setting_places(struct directory *d, struct map *places) MUST_CHECK;
struct str setting_place(struct arena *a, enum setting_scope scope, struct str of);
struct str name_key(struct arena *a, const struct directory_address *x);
#endif
