/* Encodings between control and keys. */
#include "auth/command.h"

void put_secret_command(struct buf *b, const struct secret_command *c)
{
	put_u8(b, (uint8_t)c->op);
	put_u64(b, c->account);
	put_u32(b, c->id);
	put_u32(b, c->rights);
	put_str(b, c->name);
	put_str(b, c->secret);
}

bool get_secret_command(struct scan *s, struct secret_command *c)
{
	*c = (struct secret_command){ 0 };
	c->op = (enum secret_op)get_u8(s);
	c->account = get_u64(s);
	c->id = get_u32(s);
	c->rights = get_u32(s);
	c->name = get_str(s, APP_PASSWORD_NAME_MAX);
	c->secret = get_str(s, SECRET_MAX);
	return get_end(s) && c->op > 0 && c->op < SECRET_OP_COUNT && c->account != 0;
}

static void put_certificate(struct buf *b, const struct client_certificate *c)
{
	put_u32(b, c->certificate_id);
	put_u32(b, c->rights);
	put_str(b, c->name);
	buf_add_bytes(b, c->fingerprint, sizeof c->fingerprint);
	put_i64(b, c->expires_s);
	put_i64(b, c->created_s);
	put_i64(b, c->last_used_s);
}

static void get_certificate(struct scan *s, struct client_certificate *c)
{
	struct str fingerprint;

	c->certificate_id = get_u32(s);
	c->rights = get_u32(s);
	c->name = get_str(s, APP_PASSWORD_NAME_MAX);
	fingerprint = scan_bytes(s, sizeof c->fingerprint);
	if (!s->failed)
		memcpy(c->fingerprint, fingerprint.p, sizeof c->fingerprint);
	c->expires_s = get_i64(s);
	c->created_s = get_i64(s);
	c->last_used_s = get_i64(s);
}

void put_secret_reply(struct buf *b, const struct secret_reply *r)
{
	put_bool(b, r->flag);
	put_u32(b, r->id);
	put_str(b, r->text);
	put_u32(b, (uint32_t)r->app_count);
	for (size_t i = 0; i < r->app_count; i++) {
		put_u32(b, r->apps[i].app_password_id);
		put_u32(b, r->apps[i].rights);
		put_str(b, r->apps[i].name);
		put_i64(b, r->apps[i].created_s);
		put_i64(b, r->apps[i].last_used_s);
	}
	put_u32(b, (uint32_t)r->certificate_count);
	for (size_t i = 0; i < r->certificate_count; i++)
		put_certificate(b, &r->certificates[i]);
}

bool get_secret_reply(struct scan *s, struct arena *a, struct secret_reply *r)
{
	*r = (struct secret_reply){ 0 };
	r->flag = get_bool(s);
	r->id = get_u32(s);
	r->text = get_str(s, SECRET_MAX);
	r->app_count = get_count(s, APP_PASSWORDS_MAX);
	r->apps = arena_array(a, r->app_count, sizeof *r->apps);
	for (size_t i = 0; i < r->app_count; i++) {
		r->apps[i].app_password_id = get_u32(s);
		r->apps[i].rights = get_u32(s);
		r->apps[i].name = get_str(s, APP_PASSWORD_NAME_MAX);
		r->apps[i].created_s = get_i64(s);
		r->apps[i].last_used_s = get_i64(s);
	}
	r->certificate_count = get_count(s, CLIENT_CERTIFICATES_MAX);
	r->certificates = arena_array(a, r->certificate_count, sizeof *r->certificates);
	for (size_t i = 0; i < r->certificate_count; i++)
		get_certificate(s, &r->certificates[i]);
	return get_end(s);
}
