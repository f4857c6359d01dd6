/* The table printer: devices that cannot log in, known by their IP address, each bound to one account. */
#include "directory/directory_private.h"
#include <arpa/inet.h>

bool printer_ip(struct str in, struct arena *a, struct str *out)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr v6;
	struct in_addr v4;

	if (in.n == 0 || in.n >= sizeof text)
		return false;
	if (inet_pton(AF_INET, str_cstr(a, in), &v4) == 1) {
		inet_ntop(AF_INET, &v4, text, sizeof text);
	} else if (inet_pton(AF_INET6, str_cstr(a, in), &v6) == 1) {
		if (IN6_IS_ADDR_V4MAPPED(&v6))
			inet_ntop(AF_INET, v6.s6_addr + 12, text, sizeof text);
		else
			inet_ntop(AF_INET6, &v6, text, sizeof text);
	} else {
		return false;
	}
	*out = str_copy(a, str_of(text));
	return true;
}

enum err printer_add(struct directory *d, struct str ip, uint64_t account)
{
	static const char sql[] = "INSERT OR REPLACE INTO printer (ip, account) VALUES (?1, ?2)";
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str spelled;

	if (!printer_ip(ip, &a, &spelled))
		return ERR_INVALID;
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	stmt_bind_text(q, 1, spelled);
	stmt_bind_u64(q, 2, account);
	TRY(stmt_done(q));
	return directory_commit(d);
}

enum err printer_remove(struct directory *d, struct str ip)
{
	static const char sql[] = "DELETE FROM printer WHERE ip = ?1";
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str spelled;

	if (!printer_ip(ip, &a, &spelled))
		return ERR_NOTFOUND;
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	stmt_bind_text(q, 1, spelled);
	TRY(stmt_done(q));
	return db_changes(d->db) ? directory_commit(d) : ERR_NOTFOUND;
}

enum err printer_delete_of_account(struct directory *d, uint64_t account)
{
	static const char sql[] = "DELETE FROM printer WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	return stmt_done(q);
}

enum err printer_list(struct directory *d, struct arena *a, struct directory_printer **out, size_t *n)
{
	static const char sql[] = "SELECT ip, account FROM printer ORDER BY ip";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[*n] = (struct directory_printer){ str_copy(a, stmt_str(q, 0)), stmt_u64(q, 1) };
	}
	return stmt_end(q);
}
