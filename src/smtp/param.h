/* smtp/param.h -- the parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152, 3030), SMTPUTF8 (RFC 6531), RET,
 * ENVID, NOTIFY, ORCPT (RFC 3461), AUTH (RFC 4954 §5: read and ignored), HOLDFOR, HOLDUNTIL (RFC 4865), BY (RFC 2852), MT-PRIORITY
 * (RFC 6710), REQUIRETLS (RFC 8689). What of it is granted says who takes the message. */
#ifndef FACTEUR_SMTP_PARAM_H
#define FACTEUR_SMTP_PARAM_H
#include "base/arena.h"
#include "base/scan.h"

enum {
	SMTP_ENVID_MAX = 100,   /* RFC 3461 §4.4, decoded */
	SMTP_ORCPT_MAX = 500,   /* §4.2, decoded */
};
enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
enum smtp_by { SMTP_BY_NOTHING, SMTP_BY_NOTIFY, SMTP_BY_RETURN };
enum { SMTP_BY_SECONDS_MAX = 999999999, SMTP_PRIORITY_MAX = 9 };
enum { SMTP_NOTIFY_NEVER = 1, SMTP_NOTIFY_SUCCESS = 2, SMTP_NOTIFY_FAILURE = 4, SMTP_NOTIFY_DELAY = 8 };

struct smtp_mail_params {
	bool           has_size, smtputf8;
	uint64_t       size;
	enum smtp_body body;
	enum smtp_ret  ret;
	struct str     envid;       /* xtext decoded: printable ASCII; in the arena */
	uint64_t       hold_for;    /* seconds; 0: not given */
	int64_t        hold_until;  /* seconds since 1970; 0: not given */
	enum smtp_by   by;
	bool           by_traces;
	int64_t        by_s;        /* seconds from now, ±SMTP_BY_SECONDS_MAX */
	int            priority;    /* ±SMTP_PRIORITY_MAX */
	bool           requiretls;
};
struct smtp_rcpt_params {
	uint8_t        notify;      /* SMTP_NOTIFY_*; 0: not given */
	struct str     orcpt;       /* "rfc822;bob@example.org", xtext decoded: printable; in the arena */
};

enum smtp_param_error {
	SMTP_PARAM_OK,
	SMTP_PARAM_UNKNOWN,   /* 555 5.5.4 */
	SMTP_PARAM_INVALID,   /* 501 5.5.4: its value is wrong, or the syntax */
	SMTP_PARAM_TWICE,     /* 501 5.5.4 */
};
/* The rest of the command behind the path: *(SP esmtp-param). On an error *bad is the parameter (a view). */
enum smtp_param_error scan_mail_params(struct scan *s, struct arena *a, struct smtp_mail_params *out,
									   struct str *bad) MUST_CHECK;
enum smtp_param_error scan_rcpt_params(struct scan *s, struct arena *a, struct smtp_rcpt_params *out,
									   struct str *bad) MUST_CHECK;

/* xtext (RFC 3461 §4): decoded to printable ASCII, or UTF-8 that stood there unencoded (RFC 6533 §3). False:
 * malformed. */
bool smtp_xtext(struct str in, struct arena *a, struct str *out);
#endif
