/* admin/domain_check.h -- what `domain check` and its parts share: domain_check.c (the way of mail, signatures, what may be there) and
 * domain_check_sts.c (MTA-STS and reports about TLS). */
#ifndef FACTEUR_ADMIN_DOMAIN_CHECK_H
#define FACTEUR_ADMIN_DOMAIN_CHECK_H
#include "admin/domain_records.h"
#include "net/listen.h"

enum { CHECK_ADDRESSES_MAX = 16, CHECK_TEXTS_MAX = 100, CHECK_HOSTS_MAX = 20 };

struct check {
	struct admin_call    *c;
	struct domain_records records;
	struct peer           addresses[CHECK_ADDRESSES_MAX];   /* of the host */
	size_t                address_count;
	bool                  is_mx;
	struct str            others[CHECK_HOSTS_MAX];          /* mail hosts of the domain that are not this server */
	size_t                other_count;
	uint64_t              to_mend;
};

/* A row: state is "right", "missing", "wrong", "optional" or "unclear". */
void check_put(struct check *k, struct str name, enum dns_type type, const char *state, enum text id, const struct str *args, size_t n);
#define FOUND(k, name, type, state, id, ...) check_put((k), (name), (type), (state), (id), ADMIN_TEXTS(__VA_ARGS__))
/* *usable false: nobody could say, and a row says so. The error: nobody could be asked. waits. */
enum err check_look_up(struct check *k, struct str name, enum dns_type type, struct dns_answer *out, bool *usable) MUST_CHECK;
size_t check_texts(struct check *k, const struct dns_answer *answer, struct str out[CHECK_TEXTS_MAX]);

/* domain_check_sts.c; all wait. */
enum err check_sts(struct check *k, const struct domain_record *r) MUST_CHECK;
enum err check_sts_host(struct check *k, const struct domain_record *r) MUST_CHECK;
enum err check_no_sts(struct check *k) MUST_CHECK;   /* the domain has no policy: does its zone know that? */
enum err check_tlsrpt(struct check *k, const struct domain_record *r) MUST_CHECK;
#endif
