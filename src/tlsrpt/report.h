/* tlsrpt/report.h -- a report about TLS (RFC 8460): who wants it, what it says, and the message that carries it. Pure. */
#ifndef FACTEUR_TLSRPT_REPORT_H
#define FACTEUR_TLSRPT_REPORT_H
#include "tlsrpt/tls_session.h"

enum { TLSRPT_TARGETS_MAX = 10, TLSRPT_URI_MAX = 1000, TLSRPT_BYTES_MAX = 8 << 20 };

/* rua of _smtp._tls.DOMAIN (§3): where reports go. Others than mailto: and https: are left out. */
struct tlsrpt_target {
	struct str address;       /* mailto: percent-decoded, without a query; empty: */
	struct str host, path;    /* https: */
	uint16_t   port;          /* 0: 443 */
};
/* texts: the TXT records there, each with its strings joined. 0: none is a record of TLSRPT, there are two, or nobody in it can be reached. */
size_t tlsrpt_record(const struct str *texts, size_t n, struct arena *a, struct tlsrpt_target out[TLSRPT_TARGETS_MAX]);

struct tlsrpt_report {
	struct str  organization, domain_of_sender, contact;   /* "example.org"; who signs the message; "postmaster@example.org" */
	struct str  id;                                        /* unique, no spaces */
	struct str  domain;                                    /* whom it is about */
	int64_t     day;                                       /* since 1970, UTC */
	const struct tls_session *sessions;                    /* sorted by policy and text: tlsrpt/book.h */
	size_t      n;
};
/* §4.4. Fails (sticky) when it is larger than out may be. */
void tlsrpt_json(const struct tlsrpt_report *r, struct buf *out);
enum err tlsrpt_gzip(struct str json, struct buf *out) MUST_CHECK;   /* ERR_LIMIT: out is too small */
/* "example.org!example.net!1764201600!1764287999!id.json.gz" (§5.1) */
struct str tlsrpt_file_name(const struct tlsrpt_report *r, struct arena *a);
/* The message of it (§5.3), CRLF lines. gz: of tlsrpt_gzip(). */
void tlsrpt_mail(const struct tlsrpt_report *r, struct str to, struct str gz, int64_t now_s, struct buf *out);
#endif
