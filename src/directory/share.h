/* directory/share.h -- who shares mailboxes with whom, as far as control knows it.
 *
 * The rights themselves stand in the owner's account (store/rights.h) and nowhere else. control knows the people:
 * whom an identifier of a list of rights means (SUBJECT), which groups somebody is in (GUEST), and, as a table that
 * each account's cell keeps true (SHARES), which accounts share anything with whom (SHARED), so that nobody's cell
 * is woken for a guest who would find nothing there. A row of that table grants nothing: the owner's cell decides,
 * with what it has on its own disk. */
#ifndef FACTEUR_DIRECTORY_SHARE_H
#define FACTEUR_DIRECTORY_SHARE_H
#include "base/arena.h"
#include "ipc/channel.h"

enum {
	GUEST_GROUPS_MAX = 200,        /* groups that count for one guest */
	SHARE_SUBJECTS_MAX = 1000,     /* different ones that an account shares with */
	SHARED_OWNERS_MAX = 1000,      /* accounts that share with one guest and are shown to him */
	SUBJECTS_BYTES_MAX = 50000,    /* of the group addresses of those subjects together, with 32 for each */
	SUBJECT_GROUP_MAX = 1112,      /* bytes of what a group is known by */
	SUBJECT_NAME_MAX = 400,        /* bytes of what people type or see */
};

enum subject_kind { SUBJECT_ANYONE = 1, SUBJECT_ACCOUNT, SUBJECT_GROUP, SUBJECT_KINDS };   /* kept in databases: append only */

/* Whom a line of a list of rights is about. An account is its number, so that who gets an address later gets no
 * rights with it; a group is its address, folded (directory_address_key()), with a number behind it when there was another one of that
 * address before. */
struct subject {
	enum subject_kind kind;
	uint64_t   account;            /* ACCOUNT */
	struct str group;              /* GROUP */
	struct str name;               /* as people see it: "anyone", "bob@example.org", "$team@example.org" */
};
/* Accounts that may see something of somebody's which they could not see before. */
enum { SHARE_GAINS_MAX = 1000 };
struct share_gains {
	bool     is_many;              /* more than that: perhaps any */
	size_t   n;
	uint64_t accounts[SHARE_GAINS_MAX];
};
void share_gains_add(struct share_gains *g, uint64_t account);   /* once, however often it is named */
/* As GAINED says it; nothing where nobody has gained anything. */
void put_share_gains(struct buf *b, const struct share_gains *g);
bool subject_is(const struct subject *x, const struct subject *y);   /* the same one, whatever it is called */

/* Somebody who looks at another account's mailboxes. */
struct guest {
	uint64_t    account;
	struct str  address;           /* his main one */
	bool        is_anyone;         /* what the owner gives to "anyone" is his, too: the same domain, or the setting anyone_is_server */
	struct str *groups;            /* the groups he is in, in groups in groups, too; as in struct subject */
	size_t      n_groups;
};

/* ---- asked by cells. Each waits, at most timeout_ms; slices live in the arena. ERR_UNAVAILABLE (also: control is
 * NULL), ERR_TIMEOUT as channel_call(). */
/* Whom does this text mean? "anyone", an address of an account, one of a group with or without "$". ERR_NOTFOUND:
 * nobody. */
enum err subject_ask(struct channel *control, struct str text, int timeout_ms, struct arena *a,
					 struct subject *out) MUST_CHECK;
/* Who is this account, as a guest of the asking cell's account? ERR_NOTFOUND: there is none (any more); ERR_DENIED:
 * suspended. */
enum err guest_ask(struct channel *control, uint64_t guest, int timeout_ms, struct arena *a,
				   struct guest *out) MUST_CHECK;
/* Replaces all that control knows of whom this account shares with; on disk when it returns. */
enum err shares_tell(struct channel *control, const struct subject *with, size_t n, int timeout_ms) MUST_CHECK;
struct share_owner {
	uint64_t   account;
	struct str address;            /* the main one: "Other Users/" and this is where its mailboxes are */
};
/* Which accounts share something with this one, by address; at most SHARED_OWNERS_MAX. */
enum err shared_ask(struct channel *control, int timeout_ms, struct arena *a, struct share_owner **out,
					size_t *n) MUST_CHECK;
/* The same for one of them, by any of its addresses. ERR_NOTFOUND: there is none, or it shares nothing: no
 * difference is told. */
enum err shared_find(struct channel *control, struct str address, int timeout_ms, struct arena *a,
					 struct share_owner *out) MUST_CHECK;

/* ---- control's side: the bodies of the answers. account: whose cell asks */
struct directory;
enum err subject_serve(struct directory *d, uint64_t account, struct str request, struct buf *answer) MUST_CHECK;
enum err guest_serve(struct directory *d, uint64_t account, struct str request, struct buf *answer) MUST_CHECK;
/* gained: who may see something of this account's from now on and is named, or in a group or domain that is named, for the first time. */
struct share_gains;
enum err shares_serve(struct directory *d, uint64_t account, struct str request, struct share_gains *gained) MUST_CHECK;
enum err shared_serve(struct directory *d, uint64_t account, struct str request, struct buf *answer) MUST_CHECK;
/* SHARES_WITH, which master asks: u64 guest, u64 owner. ERR_NOTFOUND: the owner shares nothing with him, or one of them is not there. */
enum err shares_with_serve(struct directory *d, struct str request) MUST_CHECK;
/* The same without a cell between: for commands. */
enum err subject_find(struct directory *d, uint64_t account, struct str text, struct arena *a,
					  struct subject *out) MUST_CHECK;
enum err shares_replace(struct directory *d, uint64_t account, const struct subject *with, size_t n) MUST_CHECK;
/* Somebody came into the group or alias of this name: who is in it now, if anything is shared with it or with a group that it is in. */
struct directory_address;
enum err share_gains_of_name(struct directory *d, const struct directory_address *x, struct share_gains *gained) MUST_CHECK;
/* An account that was deleted is back: all with whom it shares something. */
enum err share_gains_of_owner(struct directory *d, uint64_t owner, struct share_gains *gained) MUST_CHECK;
/* "anyone" means others than before: perhaps everybody, if anything is shared with anyone. */
enum err share_gains_of_all(struct directory *d, struct share_gains *gained) MUST_CHECK;
/* Who shares something with this account; the first of them, at most SHARED_OWNERS_MAX or 50,000 bytes. */
enum err shared_list(struct directory *d, uint64_t account, struct arena *a, struct share_owner **out,
					 size_t *n) MUST_CHECK;
#endif
