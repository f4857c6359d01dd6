/* store/rights.h -- who but the owner may do what with a mailbox: rights, and lists of them (ACL, RFC 4314).
 *
 * The owner may do everything, always. Everybody else has what the list of the mailbox gives to him, to groups he is
 * in and to anyone, less what a negative line takes from one of these. A new mailbox begins with the list of its
 * parent; a renamed one keeps its own. */
#ifndef FACTEUR_STORE_RIGHTS_H
#define FACTEUR_STORE_RIGHTS_H
#include "directory/share.h"
#include "store/view.h"

/* RFC 4314 §2.1; kept in the database: append only */
enum {
	RIGHT_LOOKUP   = 1 << 0,   /* l: sees that it is there */
	RIGHT_READ     = 1 << 1,   /* r: SELECT, FETCH, SEARCH, STATUS, COPY from it */
	RIGHT_SEEN     = 1 << 2,   /* s: sets and clears \Seen */
	RIGHT_WRITE    = 1 << 3,   /* w: sets and clears all other flags but \Deleted */
	RIGHT_INSERT   = 1 << 4,   /* i: APPEND, COPY into it */
	RIGHT_POST     = 1 << 5,   /* p: mail to the mailbox's own address; kept, and without effect until mailboxes have addresses */
	RIGHT_CREATE   = 1 << 6,   /* k: makes mailboxes in it */
	RIGHT_DELETE   = 1 << 7,   /* x: deletes or renames it */
	RIGHT_DELETED  = 1 << 8,   /* t: sets and clears \Deleted */
	RIGHT_EXPUNGE  = 1 << 9,   /* e: EXPUNGE, and the half of MOVE that removes */
	RIGHT_ADMIN    = 1 << 10,  /* a: reads and changes the list of rights */
	RIGHTS_ALL     = (1 << 11) - 1,
	RIGHTS_TEXT_MAX = 16,
	ACL_ENTRIES_MAX = 200,     /* lines of one mailbox */
	ACL_TOTAL_MAX  = 20000,    /* of all mailboxes of an account */
};

/* Letters to bits, with what RFC 2086 called them ("c" is k, "d" is x, t and e), in any order; the empty text is no
 * right. False: a letter that is no right. */
bool rights_parse(struct str text, unsigned *out);
/* In the order of the RFC; with c and d where a part of what they mean is there (RFC 4314 §2.1.1), so that old
 * clients understand it. */
const char *rights_text(unsigned rights, char out[RIGHTS_TEXT_MAX]);

struct acl_entry {
	struct subject who;
	bool     is_negative;      /* takes these rights away, whatever gives them */
	unsigned rights;           /* never 0 */
};
enum acl_change { ACL_SET, ACL_ADD, ACL_REMOVE };

/* The lines of a mailbox: anyone, groups, accounts, each by name, negative ones behind. ERR_NOTFOUND: no such
 * mailbox. */
enum err acl_read(struct view *v, int64_t mailbox_id, struct arena *a, struct acl_entry **out, size_t *n) MUST_CHECK;
/* Sets a line, adds rights to it, takes some from it (what it then has none of goes). Synced when it returns, and
 * announced by on_changed(). ERR_NOTFOUND: no such mailbox; ERR_LIMIT: ACL_ENTRIES_MAX, ACL_TOTAL_MAX, or
 * SHARE_SUBJECTS_MAX different subjects in the account. */
enum err acl_write(struct view *v, int64_t mailbox_id, enum acl_change change,
				   const struct acl_entry *entry) MUST_CHECK;
/* The same for several mailboxes: in all, or in none. */
enum err acl_write_all(struct view *v, const int64_t *mailbox_ids, size_t n, enum acl_change change,
					   const struct acl_entry *entry) MUST_CHECK;
/* Removes the lines with this name (as acl_entry.who.name has it, any case): also of somebody whom the directory
 * does not know any more. ERR_NOTFOUND: no such mailbox, or none there is called so. */
enum err acl_remove(struct view *v, int64_t mailbox_id, struct str name, bool is_negative) MUST_CHECK;

/* What this guest (NULL: the owner) may do with a mailbox; nothing with one that is not there. Out of memory, never
 * SQL (but once after lists have changed): cheap enough for each request, and for each of 10,000 mailboxes. */
enum err rights_of(struct view *v, int64_t mailbox_id, const struct guest *guest, unsigned *rights) MUST_CHECK;
/* Has he all that are needed? ERR_DENIED: no, but he may know that it is there. ERR_NOTFOUND: no such mailbox, or he
 * may not know of it: to him the same (RFC 4314 §4). */
enum err rights_check(struct view *v, int64_t mailbox_id, const struct guest *guest, unsigned needed) MUST_CHECK;

/* For the table of control (directory/share.h): everybody to whom a line of some mailbox gives anything, each once,
 * at most SHARE_SUBJECTS_MAX. */
enum err acl_subjects(struct view *v, struct arena *a, struct subject **out, size_t *n) MUST_CHECK;
/* Has control still to hear of the newest lists? Survives a kill. */
bool acl_is_untold(struct view *v);
/* Control's table is made anew from the lists, at the next acl_tell(). */
void acl_tell_again(struct view *v);
/* Tells it, if so; waits at most timeout_ms. Whoever changed a list calls it, and the cell once a second while it
 * fails: the change holds, and is answered, whatever comes of it. */
enum err acl_tell(struct view *v, struct channel *control, int timeout_ms) MUST_CHECK;
#endif
