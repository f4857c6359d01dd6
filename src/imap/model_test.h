/* imap/model_test.h -- a mailbox as RFC 9051 and RFC 7162 describe it, for model_test.c: what is in it, and what each client was told.
 *
 * What the model leaves open: a message that another session removed, and whose removal is not told yet (RFC 9051 §7.5.1), may be in
 * an answer or not. */
#ifndef FACTEUR_IMAP_MODEL_TEST_H
#define FACTEUR_IMAP_MODEL_TEST_H
#include "base/log.h"
#include "base/mem.h"
#include "imap/answers_test.h"
#include "imap/cell_test.h"
#include "imap/imap_private.h"
#include <stdlib.h>

enum { SESSIONS = 3, BOXES = 3, MESSAGES_MAX = 60, MANY = 40, GONE_MAX = 4000, OPERATIONS = 400, SUBJECTS = 4, WORDS = 4, FOLDERS = 4 };

static const char *const box_names[BOXES] = { "INBOX", "Drafts", "Archive" };
static const char *const guest_names[BOXES] = { "\"Other Users/a@x/INBOX\"", "\"Other Users/a@x/Drafts\"", "\"Other Users/a@x/Archive\"" };
enum { GUEST = 7 };
static const char *const subjects[SUBJECTS] = { "Re: apples", "Zebra", "apples", "[list] Bananas" };
static const char *const words[WORDS] = { " lemon", " Walnut", " cherries", " date" };   /* of bodies, in this order */
static const int subject_rank[SUBJECTS] = { 0, 2, 0, 1 };   /* by base subject */

/* ---- the model */

struct model_message {
	uint32_t uid, size, flags, words;
	int      day, subject;
	unsigned changed;        /* tick of its last change */
};
struct gone {
	uint32_t uid;
	unsigned tick;
};
struct box {
	struct model_message list[MESSAGES_MAX];
	size_t         n;
	struct gone    gone[GONE_MAX];
	size_t         n_gone;
	uint32_t       uidnext;
};

/* What a client was told. */
struct told {
	uint32_t uid, flags;     /* uid 0: announced by EXISTS only */
	bool     has_flags;
};
struct client {
	struct session *s;
	void           *state;
	struct buf      out;
	int             box;     /* -1: none selected */
	bool            is_qresync, is_uidonly, is_readonly, watches, is_guest, is_elsewhere;
	uint32_t        named;   /* flags that FLAGS has told it of */
	struct told     list[2 * MESSAGES_MAX + 200];
	size_t          n;
	/* the last HIGHESTMODSEQ it was told with everything up to it, and when that was; for each mailbox */
	uint64_t        modseq[BOXES];
	unsigned        modseq_tick[BOXES];
	uint32_t        uidvalidity[BOXES];
	/* of the mailboxes it watches by NOTIFY: what STATUS said last */
	struct counts { uint32_t messages, uidnext, unseen; } heard[BOXES];
	unsigned        folders; /* what it was told of them: a bit for each that is there */
	/* results that are kept up to date: numbers of a SEARCH UNSEEN, or UIDs of a SORT by size of UNDELETED, in its order */
	enum { NO_CONTEXT, SEARCHED, SORTED } context;
	uint32_t        results[2 * MESSAGES_MAX + 200];
	size_t          n_results;
	uint32_t        saved[MESSAGES_MAX];   /* "$": UIDs */
	size_t          n_saved;
	bool            is_saved_unknown;
};

static const char *name_of(const struct client *c, int box) { return c->is_guest ? guest_names[box] : box_names[box]; }

struct answer {
	char     status;         /* 'O', 'N', 'B' */
	struct str text;         /* behind the tag */
	uint32_t numbers[MESSAGES_MAX * 4];   /* SEARCH, SORT, ESEARCH ALL, in their order */
	size_t   n;
	bool     has_list;
	struct uid_set fetched;  /* uids of FETCH responses with UID */
	struct uid_set sized, sized_modseq;   /* … and RFC822.SIZE: nobody says that without being asked; … and MODSEQ */
	uint32_t min, max;       /* of an ESEARCH */
	struct uid_set earlier;  /* VANISHED (EARLIER) */
	uint64_t highest;        /* HIGHESTMODSEQ code */
	uint32_t status_items[5];
	bool     has_status;
};

struct operation { uint32_t what, a, b; };

struct play {
	const char    *dir;
	struct account account;
	bool           has_elsewhere;    /* the guest's session is in his own account's cell */
	struct elsewhere elsewhere;
	struct box     boxes[BOXES];
	enum { NO_FOLDER, FOLDER_OWN, FOLDER_SHARED } folders[FOLDERS];   /* model_names_test.h */
	struct client  clients[SESSIONS];
	struct arena   arena;
	unsigned       tick, sleeps;
	bool           touched[BOXES];   /* by the running command */
	bool           spoke;            /* an operation may find nothing to do */
	char           wrong[600];   /* the first thing that was not as it should be */
	char           did[300];
};

static void wrong(struct play *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void wrong(struct play *p, const char *fmt, ...)
{
	va_list args;

	if (p->wrong[0])
		return;
	va_start(args, fmt);
	vsnprintf(p->wrong, sizeof p->wrong, fmt, args);
	va_end(args);
}

static struct model_message *find(struct box *b, uint32_t uid)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->list[i].uid == uid)
			return &b->list[i];
	return NULL;
}

static struct box *box_of(struct play *p, const struct client *c) { return &p->boxes[c->box]; }

static struct model_message *add_message(struct play *p, struct box *b, const struct model_message *like)
{
	struct model_message *m = &b->list[b->n++];

	p->touched[b - p->boxes] = true;
	*m = *like;
	m->uid = b->uidnext++;
	m->changed = p->tick;
	return m;
}

static void remove_message(struct play *p, struct box *b, uint32_t uid)
{
	struct model_message *m = find(b, uid);
	size_t at = (size_t)(m - b->list);

	p->touched[b - p->boxes] = true;
	b->gone[b->n_gone++ % GONE_MAX] = (struct gone){ uid, p->tick };
	memmove(m, m + 1, (b->n - at - 1) * sizeof *m);
	b->n--;
}
#endif
