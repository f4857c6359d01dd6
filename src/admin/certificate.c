/* certificate list */
#include "admin/admin_private.h"

enum err admin_certificate_list(struct admin_call *c)
{
	struct certificate_info *list;
	size_t n;

	TRY(c->host->certificates(c->host->context, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		json_t *row = admin_row(c);
		admin_put_text(row, "names", list[i].names);
		admin_put_number(row, "expires", list[i].not_after_s > 0 ? (uint64_t)list[i].not_after_s : 0);
	}
	return ERR_OK;
}
