/* mime/list.h -- the header of a message as a mailing list sends it on (RFC 2369, 2919, 5321 §3.9.2, 8058; DMARC: RFC 7960 §4.1.3).
 * Pure: a header in, a header out; the body stays as it is. */
#ifndef FACTEUR_MIME_LIST_H
#define FACTEUR_MIME_LIST_H
#include "base/arena.h"
#include "base/buf.h"

struct list_post {
	struct str address;            /* of the list: local@domain */
	struct str title;              /* UTF-8; empty: the local part */
	bool       renames_author;     /* From becomes "Alice via Team" <team@...>: the author's domain may forbid others to send in its name */
	bool       replies_to_list;    /* else replies go to the author, whoever From names */
	bool       is_for_few;         /* not everybody who gets it may write to it: "List-Post: NO" */
	struct str message_id;         /* "x@example.org", for a message that has none; empty: it stays without */
	int64_t    date;               /* seconds since 1970, the same; 0 */
	struct str leave;              /* address to write to for leaving; empty: no List-Unsubscribe here */
};
/* Adds the new header with its empty line. header: that of the message, as header_size() cuts it. Fields that only the last list may
 * write are replaced, receipts for the reader are taken out (RFC 8098 §2.1). */
void list_header(const struct list_post *p, struct str header, struct buf *out);

/* The fields by which one member leaves: "List-Unsubscribe", and with url (https, may be empty) "List-Unsubscribe-Post" (RFC 8058). */
void list_leave_fields(struct str address, struct str url, struct buf *out);

enum list_obstacle {
	LIST_MAY_PASS = 0,
	LIST_HAS_SEEN_IT,              /* it has been through this list (its List-Id is there) */
	LIST_IS_AUTOMATIC,             /* an automatic answer (RFC 3834 §5), which nobody wrote to the members */
};
/* Why the list must not send it on. */
enum list_obstacle list_obstacle(struct str header, struct str address);
#endif
