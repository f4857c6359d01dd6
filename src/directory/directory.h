/* directory/directory.h -- directory.db: domains, accounts, addresses, aliases, groups, printers, settings. The role control
 * owns it (or a command, when no server runs). Each change is one transaction and on disk when the call returns.
 *
 * An account has a number that is never used again and one main address. Further addresses of its own, aliases (one target or
 * more, here or elsewhere) and groups share one name space with it: an address exists once. Not thread-safe. */
#ifndef FACTEUR_DIRECTORY_DIRECTORY_H
#define FACTEUR_DIRECTORY_DIRECTORY_H
#include "base/arena.h"
#include "conf/conf.h"
#include "directory/address.h"
#include "disk/disk.h"

enum { NAME_TARGETS_MAX = 10000, ACCOUNTS_MAX = 1000000, ACCOUNT_DOOMED = 1, STOPPED_WHY_MAX = 500 };

struct directory;
/* Opens or makes directory.db in the folder, which must outlive it. ERR_AGAIN: another process has it; ERR_IO, ERR_CORRUPT: logged. */
enum err directory_open(struct disk_dir *dir, struct directory **out) MUST_CHECK;
void directory_close(struct directory *d);          /* NULL is fine */
/* Grows with every change, across restarts: the version of the look-up memfd. */
uint64_t directory_version(const struct directory *d);

/* ---- domains (names as directory_domain_parse() gives them) */
struct directory_domain {
	struct str name;
	uint32_t   accounts;
	struct str catch_all;      /* address that gets mail for unknown names; empty: none */
};
enum err domain_add(struct directory *d, struct str name) MUST_CHECK;        /* ERR_EXISTS */
enum err domain_remove(struct directory *d, struct str name) MUST_CHECK;     /* ERR_NOTFOUND; ERR_CONFLICT: it still has names */
enum err domain_catch_all(struct directory *d, struct str name, struct str target) MUST_CHECK;  /* empty: none any more */
enum err domain_list(struct directory *d, struct arena *a, struct directory_domain **out, size_t *n) MUST_CHECK;
/* The first max of their names. */
enum err domain_names(struct directory *d, size_t max, struct arena *a, struct str **out, size_t *n) MUST_CHECK;
bool domain_exists(struct directory *d, struct str name);

/* ---- accounts */
struct directory_account {
	uint64_t   account;
	struct str address, name;
	bool       french, is_suspended, is_full;
	uint32_t   epoch;
	int64_t    created_s, deleted_s;       /* deleted_s 0: it lives */
	uint64_t   used_bytes, messages;       /* as its cell last said */
	int64_t    stopped_s;                  /* since when it may not send; 0: it may */
	struct str stopped_why;                /* submit/watch.h: the signs; or the words of the administrator */
};
/* ERR_NOTFOUND: not a domain of ours; ERR_EXISTS: the address is in use (also by a deleted account); ERR_LIMIT. */
enum err account_add(struct directory *d, const struct directory_address *x, struct str name, bool french, uint64_t *account) MUST_CHECK;
/* The same in two steps, with what an account needs besides (folder, password) between them: until account_ready() it is not there for
 * anybody, as an account whose purge has begun (account_doom()): deleted_s is ACCOUNT_DOOMED, nothing brings it back. Who gives up in
 * between calls account_forget(); where the process is killed, a purge clears away what there is. */
enum err account_reserve(struct directory *d, const struct directory_address *x, struct str name, bool french, uint64_t *account) MUST_CHECK;
enum err account_ready(struct directory *d, uint64_t account) MUST_CHECK;
/* Is somebody between those two steps now? No purge may touch it. */
bool account_is_being_made(const struct directory *d, uint64_t account);
/* ERR_NOTFOUND: it lives; ERR_CONFLICT: it is being made. */
enum err account_doom(struct directory *d, uint64_t account) MUST_CHECK;
/* By any address of its own; deleted ones too. ERR_NOTFOUND. Slices live in the arena. */
enum err account_find(struct directory *d, const struct directory_address *x, struct arena *a, struct directory_account *out) MUST_CHECK;
enum err account_get(struct directory *d, uint64_t account, struct arena *a, struct directory_account *out) MUST_CHECK;
/* All, by address; domain empty: every domain. Deleted ones are among them, forgotten ones are not. */
enum err account_list(struct directory *d, struct str domain, struct arena *a, struct directory_account **out, size_t *n) MUST_CHECK;
/* The new main address; the old one stays one of its addresses when keep is true. ERR_EXISTS, ERR_NOTFOUND (domain). */
enum err account_rename(struct directory *d, uint64_t account, const struct directory_address *to, bool keep) MUST_CHECK;
enum err account_suspend(struct directory *d, uint64_t account, bool suspended) MUST_CHECK;
/* Who is stopped receives, reads and logs in, but sends nothing. since_s 0: he may send again. why: at most STOPPED_WHY_MAX bytes. */
enum err account_stop_sending(struct directory *d, uint64_t account, int64_t since_s, struct str why) MUST_CHECK;
enum err account_describe(struct directory *d, uint64_t account, struct str name, bool french) MUST_CHECK;
/* Marks it deleted: no mail, no login; account_undelete() brings it back while its addresses are reserved. */
enum err account_delete(struct directory *d, uint64_t account) MUST_CHECK;
enum err account_undelete(struct directory *d, uint64_t account) MUST_CHECK;
/* Frees its addresses; the number stays used. */
enum err account_forget(struct directory *d, uint64_t account) MUST_CHECK;
/* Sessions and grants of before end: sets *epoch to the new one. */
enum err account_raise_epoch(struct directory *d, uint64_t account, uint32_t *epoch) MUST_CHECK;
/* From USAGE. *changed: the look-up memfd has to be published. Not a change of the version otherwise. */
enum err account_usage(struct directory *d, uint64_t account, uint64_t bytes, uint64_t messages, bool is_full, bool *changed) MUST_CHECK;
/* The figures of many accounts in one transaction; whether they are full is not touched. One that is gone is passed over. */
struct account_use {
	uint64_t account, bytes, messages;
};
enum err account_uses(struct directory *d, const struct account_use *uses, size_t n) MUST_CHECK;

/* ---- names that lead elsewhere */
enum name_kind { NAME_MAIN = 1, NAME_FURTHER, NAME_ALIAS, NAME_GROUP };
struct directory_name {
	struct str     key, address;
	enum name_kind kind;
	uint64_t       account;        /* MAIN, FURTHER */
	struct str    *targets;        /* ALIAS, GROUP: addresses as text */
	size_t         target_count;
};
/* An alias or an (empty) group. ERR_EXISTS; ERR_NOTFOUND: not a domain of ours; ERR_LIMIT. */
enum err name_add(struct directory *d, const struct directory_address *x, enum name_kind kind, const struct directory_address *targets,
                  size_t n) MUST_CHECK;
/* A further address of an account. */
enum err name_add_further(struct directory *d, const struct directory_address *x, uint64_t account) MUST_CHECK;
/* ERR_NOTFOUND; ERR_CONFLICT: it is the main address of an account. */
enum err name_remove(struct directory *d, const struct directory_address *x) MUST_CHECK;
/* All of them or none. A target that is there already stays. ERR_LIMIT. */
enum err name_targets_add(struct directory *d, const struct directory_address *x, const struct directory_address *targets, size_t n) MUST_CHECK;
/* All of them or none. ERR_NOTFOUND: the one with the index *failed is no target. */
enum err name_targets_remove(struct directory *d, const struct directory_address *x, const struct directory_address *targets, size_t n,
                             size_t *failed) MUST_CHECK;
/* The first max aliases and groups that lead to the address with this key (as struct directory_name has it), or to any address of the
 * account (0: of none). Addresses as text, in the arena. */
enum err name_leaders(struct directory *d, struct str key, uint64_t account, size_t max, struct arena *a, struct str **out, size_t *n) MUST_CHECK;
enum err name_find(struct directory *d, const struct directory_address *x, struct arena *a, struct directory_name *out) MUST_CHECK;
/* Whose it is, without all that it leads to: *account 0: an alias, or a group. ERR_NOTFOUND. */
enum err name_account(struct directory *d, const struct directory_address *x, uint64_t *account) MUST_CHECK;
/* All names, by key; kind 0: of every kind. */
enum err name_list(struct directory *d, enum name_kind kind, struct arena *a, struct directory_name **out, size_t *n) MUST_CHECK;

/* ---- groups as mailing lists: what a group has besides its members */
enum group_post { GROUP_POST_ANYONE = 0, GROUP_POST_MEMBERS, GROUP_POST_POSTERS, GROUP_POSTS };   /* kept: append only */
enum { GROUP_TITLE_MAX = 100, GROUP_POSTERS_MAX = 100, GROUP_LOCAL_MAX = 40, GROUP_REASON_MAX = 300 };
struct directory_group {
	struct str      title;           /* what people call it: "The choir"; empty: the part before the "@" */
	enum group_post post;            /* who may write to it */
	bool            replies_to_group;
	bool            may_leave;       /* members may take themselves out (List-Unsubscribe) */
	struct str     *posters;         /* addresses as text, GROUP_POST_POSTERS */
	size_t          poster_count;
};
/* One that was never set has the defaults: all zero. Slices live in the arena. key: of the group, as struct directory_name has it. */
enum err group_get(struct directory *d, struct str key, struct arena *a, struct directory_group *out) MUST_CHECK;
/* Replaces all of it, posters too. ERR_NOTFOUND: no group has this key; ERR_LIMIT. */
enum err group_set(struct directory *d, struct str key, const struct directory_group *g) MUST_CHECK;

/* A member whose mail came back for good: so many days, and what was said last. */
struct directory_bounce {
	struct str address, reason;
	uint32_t   days;                 /* different days on which it happened */
	int64_t    first_s, last_s;      /* seconds since 1970 */
	bool       is_reported;
};
/* Notes one for a member. *out (may be NULL): how it stands now. ERR_NOTFOUND: not a member. Not a change of the version. */
enum err group_bounced(struct directory *d, struct str key, const struct directory_address *member, struct str reason, int64_t now_s,
                       struct arena *a, struct directory_bounce *out) MUST_CHECK;
enum err group_bounce_reported(struct directory *d, struct str key, const struct directory_address *member) MUST_CHECK;
/* All that are known, the worst first. */
enum err group_bounces(struct directory *d, struct str key, struct arena *a, struct directory_bounce **out, size_t *n) MUST_CHECK;

/* Addresses an account may send from, the main one first: its own, and aliases that lead to one of them; at most max. */
enum err name_senders(struct directory *d, uint64_t account, size_t max, struct arena *a, struct str **out, size_t *n) MUST_CHECK;

/* ---- printers: IP addresses that submit without login, each as one account */
struct directory_printer { struct str ip; uint64_t account; };
enum err printer_add(struct directory *d, struct str ip, uint64_t account) MUST_CHECK;  /* replaces; ERR_INVALID: not an IP address */
enum err printer_remove(struct directory *d, struct str ip) MUST_CHECK;                 /* ERR_NOTFOUND */
enum err printer_list(struct directory *d, struct arena *a, struct directory_printer **out, size_t *n) MUST_CHECK;
/* An IP address in the spelling we compare: "192.0.2.7", "2001:db8::7"; IPv4-mapped becomes IPv4. False: not one. */
bool printer_ip(struct str in, struct arena *a, struct str *out);

/* ---- settings. of: the server (SCOPE_SERVER, empty), a domain (its name) or an account (its number as text) */
enum err setting_store(struct directory *d, enum setting_scope scope, struct str of, enum setting s, struct str value) MUST_CHECK;
enum err setting_forget(struct directory *d, enum setting_scope scope, struct str of, enum setting s) MUST_CHECK;
/* Everything that was set for this place. */
enum err setting_forget_all(struct directory *d, enum setting_scope scope, struct str of) MUST_CHECK;
/* Lays what is stored for one place over c. */
enum err setting_load(struct directory *d, enum setting_scope scope, struct str of, struct conf *c) MUST_CHECK;
/* As they hold for the server, for an account (server, its domain, itself), for a domain (server, itself). conf_free() what you get. */
enum err directory_conf(struct directory *d, struct conf **out) MUST_CHECK;
enum err directory_account_conf(struct directory *d, uint64_t account, struct str address, struct conf **out) MUST_CHECK;
enum err directory_domain_conf(struct directory *d, struct str domain, struct conf **out) MUST_CHECK;
/* Neither the account nor its domain has settings of its own: those of the server hold. For lists: nothing is copied. */
enum err directory_is_plain(struct directory *d, uint64_t account, struct str address, bool *plain) MUST_CHECK;
/* What the server calls itself. */
enum err directory_hostname(struct directory *d, const struct conf *c, struct arena *a, struct str *out) MUST_CHECK;
/* With which the addresses of smtp/srs.h are made; as old as the directory. */
enum err directory_srs_key(struct directory *d, struct arena *a, struct str *out) MUST_CHECK;
#endif
