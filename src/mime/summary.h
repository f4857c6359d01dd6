/* mime/summary.h -- what is asked again and again about a message, made once when it comes and stored beside it:
 * ENVELOPE and BODYSTRUCTURE ready to send (RFC 9051 §7.5.2, RFC 3501 §7.4.2), where each part begins, the preview,
 * the date. The record is bytes with a version; readers check every bound (it comes from disk) and never parse the
 * message. A record that is damaged or of an unknown version reads as "false"/empty: make it again from the message
 * then (summary_is_valid). */
#ifndef FACTEUR_MIME_SUMMARY_H
#define FACTEUR_MIME_SUMMARY_H
#include "base/arena.h"
#include "base/buf.h"
#include "mime/address.h"
#include "mime/date.h"
#include "mime/parse.h"

enum {
	SUMMARY_VERSION = 2,        /* 1: without references; still read */
	SUMMARY_MAX = 4 << 20,      /* bytes of a record; a typical one has 600 */
	SUMMARY_PREVIEW_MAX = 256,  /* characters */
	SUMMARY_REFERENCES_MAX = 50,
};

/* Makes the record of a message in the arena: never fails, at most SUMMARY_MAX bytes (a message that would need more
 * is described as one opaque part). root: from mime_parse(), or NULL to parse here. */
struct str summary_build(struct arena *a, struct str message, const struct mime_part *root);

/* --------------------------------------------------------------------------------------------------------- reading */
bool summary_is_valid(struct str record);           /* the version is ours and the lengths fit */
/* Ready to send after "ENVELOPE " / "BODYSTRUCTURE ": with parentheses; may have literals ("{5}\r\n...") for 8-bit
 * text. Views into the record. Empty: the record is damaged. */
struct str summary_envelope(struct str record);
struct str summary_bodystructure(struct str record);
/* The same for IMAP4rev1, where message/global is a part like any other: only message/rfc822 has a message in it (RFC 3501 §9, media-message).
 * False: damaged, nothing was added. */
bool summary_bodystructure_rev1(struct str record, struct buf *out);
/* Without extension data, for "BODY "; false as above. */
bool summary_body(struct str record, bool is_rev2, struct buf *out);

struct str summary_preview(struct str record);  /* ≤ SUMMARY_PREVIEW_MAX characters of UTF-8; one line; may be empty */
bool summary_has_attachment(struct str record);
bool summary_sent(struct str record, struct mail_date *out);  /* the Date field; false: none or unreadable */

/* Fields of the stored ENVELOPE, for SEARCH and SORT without the message. */
enum summary_field { SUMMARY_FROM, SUMMARY_SENDER, SUMMARY_REPLY_TO, SUMMARY_TO, SUMMARY_CC, SUMMARY_BCC };
/* Subject as UTF-8 (RFC 2047 decoded); empty: none. */
struct str summary_subject(struct arena *a, struct str record);
struct str summary_base_subject(struct arena *a, struct str record, bool *is_reply);  /* header_base_subject() of it */
/* Addresses of a field as text to search in: "Display Name <local@domain>", one a line, UTF-8. Sender and Reply-To
 * are what ENVELOPE shows: From when absent. Empty: none. */
struct str summary_addresses(struct arena *a, struct str record, enum summary_field field);
/* The first address, as it stands in ENVELOPE (address_name(), address_text() decode it); of a group: kind ADDRESS_GROUP_BEGIN, and
 * its name is also in local. False: there is none. */
bool summary_first_address(struct arena *a, struct str record, enum summary_field field, struct mail_address *out);
/* The identifier without brackets, as it stands; empty: none. */
struct str summary_message_id(struct arena *a, struct str record);
struct str summary_in_reply_to(struct arena *a, struct str record);
/* What threads a message, as numbers of their identifiers: 64 bits that stay the same for ever. */
uint64_t summary_id_number(struct str id);
/* The messages it refers to, oldest first: References, or the first of In-Reply-To when there are none (RFC 5256 §3); of a long list the
 * first and the last ones. False: the record does not know (version 1, damaged): ask the message's header, summary_references_of(). */
bool summary_references(struct str record, uint64_t out[SUMMARY_REFERENCES_MAX], size_t *n);
size_t summary_references_of(struct arena *a, struct str references, struct str in_reply_to, uint64_t out[SUMMARY_REFERENCES_MAX]);

struct summary_section {
	uint64_t offset, length;       /* bytes of the message */
	uint32_t lines;
	enum mime_encoding encoding;   /* of the part, when it is the body of one (BINARY); else MIME_8BIT */
	enum mime_kind kind;           /* of the part */
};
/* Where is a section (RFC 9051 §6.4.5.1): "" the message, "HEADER", "TEXT", "1.2", "1.2.MIME", "1.HEADER", "1.TEXT"
 * (the last two only of a message/rfc822 part); any case. HEADER.FIELDS is the caller's: ask for HEADER, then
 * header_next(). False: there is no such part (FETCH answers NIL) or the record is damaged. */
bool summary_section(struct str record, struct str section, struct summary_section *out);
#endif
