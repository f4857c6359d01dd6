/* imap/remote.h -- mailboxes of other accounts, as the client's own cell sees them: names, the session in the owner's cell, commands that go there
 * and answers that come back. Shared by remote*.c, and by the commands that meet such a name. */
#ifndef FACTEUR_IMAP_REMOTE_H
#define FACTEUR_IMAP_REMOTE_H
#include "imap/imap_private.h"
#include "net/link.h"
#include "store/shared_names.h"

enum {
	REMOTE_ADDRESS_MAX = 320,
	REMOTE_NAME_MAX = MAILBOX_PATH_MAX + REMOTE_ADDRESS_MAX + 20,
	REMOTE_OWNERS_MAX = 100,        /* so many are asked by one LIST */
	REMOTE_HEAD_MAX = 8192,         /* of an answer's line, as far as it is understood here */
	REMOTE_REPLY_MAX = 2000,        /* bytes of a tagged answer's text */
	REMOTE_WORD_MAX = 64,           /* of a word for all names that an owner shares */
};

struct imap_remote {
	struct imap_session *s;
	uint64_t     owner;
	struct str   address;           /* of the owner, as the client wrote it first */
	struct buf   name;              /* of the mailbox that is selected there, as the client calls it; empty: none is */
	uint32_t     uidvalidity;       /* its; 0: not known */
	struct link *link;              /* NULL: it waits, in record */
	struct buf   record;
	int64_t      until_ms;          /* so long it may take in all (link_hurry()); 0: as ever */
	uint64_t     modseq;            /* of the owner's account: known to the client when it was parked */
	bool         is_lost;           /* nothing more comes of it */
	bool         is_unshared;       /* … because the owner does not let us in any more, as her cell says */
	bool         is_cut;            /* and half an answer has gone out */
	bool         is_counted;        /* in account.visits */
	bool         is_unasked;        /* no command waits: it is looked for news, and not at any price */
	bool         is_busy;           /* it was not, because too many are: nothing is lost */
	bool         came_again;        /* after it had come as the owner's cell ended */
	bool         could_not_ask;     /* the owner's cell did not let us in: nothing is lost either, it waits on */
	enum err     why;               /* … no pair was to be had */
	struct arena arena;
};

/* "Other Users/alice@example.org/INBOX": whose? False: a name of this account. */
bool imap_is_other(struct str name, struct str *address);
struct imap_remote *imap_remote_new(struct imap_session *s, uint64_t owner, struct str address);
/* Finds the owner. ERR_NOTFOUND: nobody who shares anything with this account is called so. */
enum err imap_remote_open(struct imap_session *s, struct str address, struct imap_remote **out) MUST_CHECK;
void imap_remote_free(struct imap_remote *r);   /* NULL is fine */
void imap_remote_close(struct imap_remote **r); /* for CLEANUP */
/* The session there, begun or gone on with. NULL: it cannot be had, imap_remote_gone() says why. */
struct link *imap_remote_link(struct imap_remote *r);
/* After an error: the owner's cell ended in the moment in which we came, or did not let us in. Nothing is lost, and one more visit may find the next one. False: that
 * is not it, or it was tried. */
bool imap_remote_comes_again(struct imap_remote *r);
/* Nothing is waited for there now. NULL is fine. */
void imap_remote_rest(struct imap_remote *r);
/* The same to the owner of this name: the selected one (*temporary stays NULL), or a new one. NULL: *reply says why. */
struct imap_remote *imap_remote_for(struct imap_session *s, struct imap_cmd *c, struct str address, struct imap_remote **temporary,
                                    struct imap_reply *reply);

/* Sends text as a command under the tag of ours, passes on what comes before its tagged answer, and makes that the reply to ours. Where too many guests
 * are busy there, it tries for two seconds. */
struct imap_reply imap_remote_command(struct imap_remote *r, struct imap_cmd *c, struct str text);
bool imap_remote_is_busy(const struct imap_reply *reply);   /* … and all the same there was no place */
/* A cell that has no place for one more guest has done nothing of the command, and has a place in a moment: waits. False: that was not the answer, or
 * it has been tried for two seconds. until_ms: 0 at first. */
bool imap_remote_tries_again(struct imap_remote *r, const struct imap_reply *reply, int64_t *until_ms);
/* A tagged line, or BYE, as a reply. */
struct imap_reply imap_remote_reply(struct imap_cmd *c, struct str line);
/* The answer to what was sent. */
struct imap_reply imap_remote_answer(struct imap_remote *r, struct imap_cmd *c);
/* When there is no answer any more. */
struct imap_reply imap_remote_gone(struct imap_remote *r, struct imap_cmd *c);
/* Lines that may be of several kinds: takes the next one; what is not for the caller it passes on. A line that is wanted (wants() said so) is
 * in *line, up to its end or its literal. ERR_AGAIN: parked; else as link_line(). The tagged answer is always the caller's. */
enum err imap_remote_line(struct imap_remote *r, bool (*wants)(struct str line), struct str *line) MUST_CHECK;

/* ---- called by the engine */
/* Is this command about another account? Then *reply is its answer. */
bool imap_remote_takes(struct imap_session *s, struct imap_cmd *c, struct imap_reply *reply);
/* In IDLE: what is new there; it waits there again afterwards. False: it is lost, BYE is said. */
bool imap_remote_listen(struct imap_session *s);
struct imap_reply imap_remote_done(struct imap_session *s, struct imap_cmd *c);
/* Parks it, when all that was said there is told. False: not now. */
bool imap_remote_park(struct imap_remote *r);
/* It waits there, and what it has said before is passed on. ERR_AGAIN: so it is, record is empty if it cannot wait now. */
enum err imap_remote_settle(struct imap_remote *r, struct str *record) MUST_CHECK;

/* ---- called by commands that have read a name or a message */
/* verb: "APPEND", or "UID REPLACE 5". */
struct imap_reply imap_remote_append(struct imap_session *s, struct imap_cmd *c, const char *verb, struct str name, struct str address);
/* COPY and MOVE of messages of the selected mailbox here into one there, and of one there into one here. */
struct imap_reply imap_remote_copy_to(struct imap_session *s, struct imap_cmd *c, const struct uid_set *uids, struct str name, struct str address, bool is_move);
struct imap_reply imap_remote_copy_from(struct imap_session *s, struct imap_cmd *c, struct str set, struct str name, bool is_move);
/* … and of one there into one of a third account. */
struct imap_reply imap_remote_copy_across(struct imap_session *s, struct imap_cmd *c, struct str set, struct str name, struct str address, bool is_move);

/* For CATENATE, in a session that is there for nothing else; nothing is told. Opens the mailbox of that name. ERR_NOTFOUND: it is not there for us;
 * others: it could not be found out. */
enum err imap_remote_examine(struct imap_remote *r, struct str name, uint32_t *uidvalidity) MUST_CHECK;
/* Reads a section ("[1.2]<0.100>") of a message in it. ERR_NOTFOUND; what write says, or another one: it was not all. */
enum err imap_remote_piece(struct imap_remote *r, uint32_t uid, struct str section, enum err (*write)(void *context, struct str bytes),
                           void *context) MUST_CHECK;

/* For LIST: what others share, parents before their children, each with the lines that belong to it ("* STATUS …"). */
struct imap_remote_name {
	struct str path;
	bool       is_noselect, has_children;
	struct str lines;
	struct str id;                  /* MAILBOXID, if it was said */
};
/* levels: how deep the patterns can reach ("Other Users" is 1, its owners 2); from 3 on the owners' cells are asked. RETURN options to be passed on are
 * in returns (" STATUS (MESSAGES)"), or empty. Owners that cannot be asked are there as they were heard last, and the client is told of it. False: names
 * that were listed before are missing all the same. */
bool imap_remote_names(struct imap_session *s, struct imap_cmd *c, int levels, struct str returns, struct imap_remote_name **out, size_t *n);
/* For NOTIFY: asks one owner, if her cell says another word for them than before, and forgets those who share nothing any more. What is different then becomes events of this account, as it does when LIST
 * finds it. False: it could not be asked now. */
bool imap_remote_hear_names(struct imap_session *s, const struct share_owner *owner, int64_t until_ms);
void imap_remote_forget_names(struct imap_session *s, const struct share_owner *owners, size_t n);

/* ---- what was heard last (remote_names.c) */
/* NULL: nothing, and there are no names. False: they were too many to be kept. */
bool remote_names_get(const struct shared_names *kept, struct arena *a, struct imap_remote_name **out, size_t *n);
bool remote_names_are_too_many(const struct shared_names *kept);
/* What the owner's cell said, before it said them, that they are in one word (guest_names.c); empty: not known. */
struct str remote_names_word(const struct shared_names *kept);
/* Keeps these in place of before (NULL: none), and tells what is different. word may be empty. lines may say the MAILBOXID; ids are set. */
void remote_names_keep(struct imap_session *s, const struct shared_names *before, const struct share_owner *owner, struct str word,
                       struct imap_remote_name *names, size_t n);
void remote_names_forget(struct imap_session *s, const struct shared_names *before);
/* Is a mailbox of this name shared, or does it lead to one? */
bool remote_names_find(const struct shared_names *kept, size_t n_kept, struct str path, struct imap_remote_name *out);
#endif
