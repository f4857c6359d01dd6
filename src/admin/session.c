/* sessions, sessions end */
#include "admin/admin_private.h"

enum err admin_sessions(struct admin_call *c)
{
	struct directory_account only = { 0 };
	struct session_info *list = NULL;
	size_t n = 0;

	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_NOT_RUNNING, STR(""));
	if (admin_text(c, "address").p != NULL)
		TRY(admin_account(c, admin_text(c, "address"), &only));
	TRY(c->host->sessions(c->host->context, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		struct directory_account x = { .address = STR("") };
		if (only.account && list[i].account != only.account)
			continue;
		if (list[i].account && account_get(c->directory, list[i].account, &c->arena, &x) != ERR_OK)
			x.address = STR("");
		json_t *row = admin_row(c);
		admin_put_text(row, "address", x.address);
		admin_put_text(row, "protocol", str_of(protocol_name(list[i].protocol)));
		admin_put_text(row, "peer", list[i].peer);
		admin_put_switch(row, "tls", list[i].is_tls);
		admin_put_switch(row, "parked", list[i].is_parked);
		admin_put_number(row, "since", (uint64_t)list[i].since_s);
		admin_put_number(row, "session", list[i].session);  /* as in the log */
		admin_put_text(row, "login", list[i].login);
		admin_put_text(row, "cipher", list[i].tls);
		admin_put_switch(row, "compressed", list[i].is_compressed);
		admin_put_number(row, "received", list[i].bytes_in);
		admin_put_number(row, "sent", list[i].bytes_out);
	}
	return ERR_OK;
}

enum err admin_sessions_end(struct admin_call *c)
{
	struct directory_account x;

	TRY(admin_account(c, admin_text(c, "address"), &x));
	TRY(admin_end_sessions(c, x.account));
	return admin_said(c, TEXT_ADMIN_SESSIONS_ENDED, x.address);
}
