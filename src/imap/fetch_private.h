/* imap/fetch_private.h -- what a FETCH asks for, parsed once, written for each message. */
#ifndef FACTEUR_IMAP_FETCH_PRIVATE_H
#define FACTEUR_IMAP_FETCH_PRIVATE_H
#include "imap/imap_private.h"
#include "mime/summary.h"

enum { FETCH_SECTIONS_MAX = 100, FETCH_FIELDS_MAX = 200 };

enum {
	FETCH_UID = 1, FETCH_FLAGS = 2, FETCH_INTERNALDATE = 4, FETCH_SIZE = 8, FETCH_ENVELOPE = 16, FETCH_BODYSTRUCTURE = 32,
	FETCH_BODY = 64, FETCH_MODSEQ = 128, FETCH_EMAILID = 256, FETCH_THREADID = 512,
	FETCH_PREVIEW = 1024, FETCH_SAVEDATE = 2048,
	FETCH_NUMBERS = FETCH_INTERNALDATE | FETCH_SIZE | FETCH_EMAILID | FETCH_THREADID,   /* of the summary */
	FETCH_RECORD = FETCH_ENVELOPE | FETCH_BODYSTRUCTURE | FETCH_BODY | FETCH_PREVIEW,
};

enum fetch_how { FETCH_BYTES, FETCH_FIELDS, FETCH_FIELDS_NOT, FETCH_BINARY, FETCH_BINARY_SIZE };
struct fetch_section {
	enum fetch_how how;
	struct str  label;           /* "BODY[1.HEADER.FIELDS (To)]", without the partial */
	struct str  where;           /* for summary_section(): "1.HEADER"; empty: the whole message */
	struct str *fields;
	size_t      n_fields;
	bool        is_partial;
	uint64_t    offset, count;
};

struct fetch {
	unsigned   items;
	struct fetch_section *sections;
	size_t     n_sections, cap_sections;
	bool       sets_seen;        /* a section without .PEEK is among them */
	bool       has_since, wants_vanished, has_partial;
	uint64_t   since;
	struct imap_partial partial;  /* with has_partial: only these of the messages that were asked for */
};

/* "ALL" / … / "(" fetch-att … ")" and the modifiers. False: syntax. */
bool fetch_parse(struct imap_session *s, struct imap_cmd *c, struct fetch *f);
/* "(" fetch-att … ")" alone, inside another command */
void fetch_parse_items(struct imap_session *s, struct imap_cmd *c, struct fetch *f);
bool fetch_needs_record(const struct fetch *f);
/* What is told of these messages, though nobody asks for it now (NOTIFY, UPDATE); one that several wish for has one FETCH. False: the connection ends inside
 * a literal. */
struct fetch_wish {
	const struct fetch *what;
	struct uid_set      uids;
};
bool fetch_put_unasked(struct imap_session *s, const struct fetch_wish *wishes, size_t n);
/* "[" section-spec "]" into *section, without a partial; name is the word of its label. Failures are in c->args. */
void fetch_parse_section(struct imap_cmd *c, const char *name, enum fetch_how how, struct fetch_section *section);

/* One section of one message, with its label, into s->out. body is opened by the first that needs it. ERR_OK; ERR_NOTFOUND: the
 * bytes are gone; *is_cut: it failed inside the literal. */
struct fetch_message {
	uint32_t    email;
	struct str  record;
	struct body body;
	bool        is_open;
};
enum err fetch_put_section(struct imap_session *s, struct fetch_message *m, const struct fetch_section *section, bool *is_cut,
                           bool *is_unknown_cte);
enum err fetch_open(struct imap_session *s, struct fetch_message *m);
/* The bytes of a BODY section in pieces. ERR_NOTFOUND: the message has no such part, or its bytes are gone; what write() returns. */
typedef enum err fetch_write(void *context, struct str bytes);
enum err fetch_read_section(struct imap_session *s, struct fetch_message *m, const struct fetch_section *section, fetch_write *write, void *context);
#endif
