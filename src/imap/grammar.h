/* imap/grammar.h -- the words of IMAP (RFC 9051 §9): reading them out of one command, writing them into replies.
 * A command is read whole first, its literals where they came ("{5}\r\nhello" stays in the text), so that everything here moves
 * one cursor over one piece of bytes. Slices point into it, or live in the arena when they had to be unescaped. Failures are
 * sticky (base/scan.h). Used by the engine in a cell and by the login phase in the gate. */
#ifndef FACTEUR_IMAP_GRAMMAR_H
#define FACTEUR_IMAP_GRAMMAR_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/scan.h"
#include "store/uid_set.h"

enum {
	IMAP_LINE_MAX = 65536,      /* bytes of a command line, each of its lines when it has literals */
	IMAP_COMMAND_MAX = 262144,  /* a command with its literals; not the messages of APPEND */
	IMAP_TAG_MAX = 100,
	IMAP_SET_RANGES_MAX = 20000,
	IMAP_FLAGS_MAX = 100,       /* in one list */
};

/* --------------------------------------------------------------------------------------------------------- reading */

bool imap_is_atom_char(char c);      /* ATOM-CHAR, and bytes above 127 (RFC 6855 §3) are not */
bool imap_is_astring_char(char c);   /* ATOM-CHAR / resp-specials */
/* What a line announces at its end: "{12}", "{12+}", "~{12}". False: it ends without a literal. *n may be UINT64_MAX when the
 * number does not fit. */
struct imap_literal {
	uint64_t n;
	bool     waits;      /* the client waits for "+ ..." before it sends (no "+") */
	bool     is_binary;  /* literal8 (RFC 3516 §7) */
	size_t   at;         /* where "{" or "~" stands in the line */
};
bool imap_literal_announced(struct str line, struct imap_literal *out);

void imap_sp(struct scan *s);                               /* exactly one SP; fails otherwise */
struct str imap_tag(struct scan *s);                        /* 1*<ASTRING-CHAR except "+">, at most IMAP_TAG_MAX */
struct str imap_atom(struct scan *s);
bool imap_word(struct scan *s, const char *word);           /* takes an atom if it is this one (any case) */
struct str imap_string(struct scan *s, struct arena *a);    /* quoted / literal; UTF-8 in quoted is taken */
struct str imap_astring(struct scan *s, struct arena *a);
struct str imap_nstring(struct scan *s, struct arena *a);   /* p == NULL: NIL */
bool imap_scan_id(struct scan *s, struct arena *a);         /* NIL / "(" *(string SP nstring) ")" of ID, read and dropped */
/* mailbox; the result is UTF-8, "INBOX" in capitals. is_utf8: names on the wire are UTF-8 (ENABLE), else modified UTF-7. */
struct str imap_mailbox(struct scan *s, struct arena *a, bool is_utf8);
struct str imap_list_mailbox(struct scan *s, struct arena *a, bool is_utf8);  /* with "%" and "*" */
/* sequence-set without "$"; "*" is UINT32_MAX; sorted. At most IMAP_SET_RANGES_MAX ranges. */
bool imap_sequence_set(struct scan *s, struct arena *a, struct uid_set *set);
uint64_t imap_number64(struct scan *s);                     /* up to 2^63-1 */
struct str imap_flag(struct scan *s);                       /* "\Seen" or a keyword, as written */
/* "17-Jul-1996 02:44:25 -0700" in quotes, to seconds since 1970 UTC */
int64_t imap_date_time(struct scan *s);
/* date of SEARCH, with or without quotes: days since 1970 */
int64_t imap_date(struct scan *s);

/* --------------------------------------------------------------------------------------------------------- writing */

void imap_put_number(struct buf *b, uint64_t v);             /* decimal, without printf */
/* quoted, or a literal where quoted cannot hold it (control characters, over 1000 bytes; above 127 unless is_utf8) */
void imap_put_string(struct buf *b, struct str s, bool is_utf8);
void imap_put_mailbox(struct buf *b, struct str path, bool is_utf8);  /* UTF-8 in; atom where possible, else quoted */
void imap_put_date_time(struct buf *b, int64_t unix_s);      /* "\"17-Jul-1996 09:44:25 +0000\"" */

/* -------------------------------------------------------------------------------------------------------- patterns */

/* RFC 9051 §6.3.9: "*" matches anything, "%" anything but '/'. INBOX as first level matches in any case. */
bool imap_list_match(struct str pattern, struct str path);
#endif
