/* directory/list_order.h -- LIST_ORDER: what queue has for control about a member of a group: he leaves, or his mail came back. */
#ifndef FACTEUR_DIRECTORY_LIST_ORDER_H
#define FACTEUR_DIRECTORY_LIST_ORDER_H
#include "directory/directory.h"
#include "directory/list_address.h"

enum {
	LIST_REPORT_DAYS = 5,          /* bounces on so many days: the postmaster of the group's domain is told, once */
	LIST_ORDER_TIMEOUT_MS = 20000,
	LIST_NESTED_MAX = 10,          /* groups in groups in groups: so deep is looked for the member */
};

struct list_order_request {
	struct list_address what;      /* order, group, token of the member; or, token empty: */
	uint64_t            account;   /* the account that is the member */
	struct str          member;    /* account 0: his address */
	struct str          reason;    /* LIST_BOUNCE: what the other server said; clipped to GROUP_REASON_MAX */
};
struct list_order_result {
	struct str member;             /* his address, as the group has it */
	struct str group;              /* he was in this one, perhaps within the one that was named */
	bool       is_report_due;      /* LIST_BOUNCE: tell the postmaster */
	uint32_t   days;
	struct str reason;
};

/* Does it. ERR_NOTFOUND: no such group or member (any more); ERR_DENIED: members do not leave this group, or the one within it that he is in, by themselves. Slices live in the
 * arena. LIST_LEAVE changes the directory: publish it. */
enum err list_order_run(struct directory *d, const struct list_order_request *r, int64_t now_s, struct arena *a,
                        struct list_order_result *out) MUST_CHECK;

void list_order_put_request(const struct list_order_request *r, struct buf *out);
bool list_order_get_request(struct str bytes, struct list_order_request *out);   /* views */
void list_order_put_result(const struct list_order_result *r, struct buf *out);
bool list_order_get_result(struct str bytes, struct list_order_result *out);
#endif
