/* smtpd/lines.h -- the text of a message as it comes by DATA (with stuffed dots, to its end) or by BDAT (plain bytes):
 * strict lines. Only CR LF ends a line and only CR LF "." CR LF ends DATA (RFC 5321 §4.1.1.4, §4.5.2), whatever else is
 * in it. */
#ifndef FACTEUR_SMTPD_LINES_H
#define FACTEUR_SMTPD_LINES_H
#include "base/str.h"

/* Why it must not be accepted; the first reason. */
enum lines_flaw { LINES_FINE, LINES_BARE_CR, LINES_BARE_LF, LINES_NUL, LINES_LONG };

struct lines {  /* lines_begin() */
	enum { LINES_START, LINES_INSIDE, LINES_CR, LINES_DOT, LINES_DOT_CR } at;
	bool            is_dotted;   /* DATA: dots are unstuffed and may end it */
	bool            has_8bit;
	bool            has_header;  /* its empty line has come */
	enum lines_flaw flaw;
	size_t          length;      /* of this line so far */
};
void lines_begin(struct lines *l, bool is_dotted);
/* Takes bytes from the front of *in: *piece (a view of them, may be empty) is text of the message, never of its header and its body at
 * once. Call it until *in is empty or it returns true: the end of DATA, what is left in *in is not of the message. After a flaw it goes on looking
 * for the end. */
bool lines_take(struct lines *l, struct str *in, size_t line_max, struct str *piece);
/* BDAT: the last byte has come. False: the last line has no CR LF yet, which the caller adds. */
bool lines_end(struct lines *l);
#endif
