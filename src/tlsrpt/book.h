/* tlsrpt/book.h -- tls.db: which policies of MTA-STS other domains have (so that net knows them after a restart), and how TLS to other servers
 * went, counted by day until the day is reported (RFC 8460). Owned by control. Not thread-safe. A commit survives a kill; the last
 * seconds before a power cut are lost, as a report may be short of a few sessions. */
#ifndef FACTEUR_TLSRPT_BOOK_H
#define FACTEUR_TLSRPT_BOOK_H
#include "disk/disk.h"
#include "tlsrpt/tls_session.h"

enum {
	BOOK_POLICIES_MAX = 10000,     /* of MTA-STS; those that run out first go */
	BOOK_ROWS_MAX = 100000,        /* of counts in a day; what is more is left out */
	BOOK_KEPT_DAYS = 3,            /* a day that could not be reported by then is forgotten */
	BOOK_DOMAINS_MAX = 10000,
};

struct book;
enum err book_open(struct disk_dir *dir, struct book **out) MUST_CHECK;   /* dir outlives it. As db_open() */
void book_close(struct book *b);                                          /* NULL is fine */

/* ---- policies */
enum err book_keep(struct book *b, const struct sts_record *r, int64_t now_s) MUST_CHECK;
/* As put_sts_record(), those that have not run out, from a place on: as many as fit; *next 0: no more. */
enum err book_kept(struct book *b, uint64_t from, int64_t now_s, struct buf *out, uint64_t *next) MUST_CHECK;

/* ---- counts. A day is the number of days since 1970, UTC */
/* What came with TLS_SESSIONS. ERR_INVALID: malformed, and nothing of it was taken. */
enum err book_count(struct book *b, int64_t day, struct str sessions) MUST_CHECK;
/* Domains with counts, days before `before` only, oldest first. */
struct book_domain {
	int64_t    day;
	struct str domain;
	uint64_t   good, bad;
};
enum err book_domains(struct book *b, int64_t before, struct arena *a, struct book_domain **out, size_t *n) MUST_CHECK;
/* All of a domain and day: GOOD and other results, by policy; the same policy text is one policy. */
enum err book_sessions(struct book *b, int64_t day, struct str domain, struct arena *a, struct tls_session **out, size_t *n) MUST_CHECK;
enum err book_reported(struct book *b, int64_t day, struct str domain) MUST_CHECK;   /* forgets them */
/* One who reports at a time: false: another one is at it. */
bool book_begin_report(struct book *b);
void book_end_report(struct book *b);
enum err book_prune(struct book *b, int64_t today) MUST_CHECK;
#endif
