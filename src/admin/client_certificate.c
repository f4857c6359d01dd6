/* account certificate add, list, remove: devices that log in with a certificate. */
#include "admin/admin_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/digest.h"
#include "crypto/pkey.h"

/* "AB:CD:…", as browsers show it, or without colons; what stands before a "=" is left out: "sha256 Fingerprint=AB:CD:…" is a line of openssl. */
static bool parse_fingerprint(struct str text, uint8_t out[FINGERPRINT_SIZE])
{
	CLEANUP(buf_free) struct buf digits = BUF(2 * FINGERPRINT_SIZE), bytes = BUF(FINGERPRINT_SIZE);

	text = str_from(text, (size_t)(str_chr(text, '=') + 1));
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] != ':' && text.p[i] != ' ')
			buf_add_char(&digits, text.p[i]);
	if (digits.failed || !hex_get(&bytes, buf_str(&digits)) || bytes.n != FINGERPRINT_SIZE)
		return false;
	memcpy(out, bytes.p, FINGERPRINT_SIZE);
	return true;
}

static struct str fingerprint_text(struct admin_call *c, const uint8_t fingerprint[FINGERPRINT_SIZE])
{
	struct str text = STR("");

	for (size_t i = 0; i < FINGERPRINT_SIZE; i++)
		text = arena_printf(&c->arena, STR_FMT "%s%02X", STR_ARG(text), i > 0 ? ":" : "", fingerprint[i]);
	return text;
}

static enum err read_certificate(struct admin_call *c, struct str pem, struct client_certificate *out)
{
	struct certificate x;

	if (certificate_read(pem, &c->arena, &x) != ERR_OK)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_CERTIFICATE_BAD, str_of(text_get(c->lang, TEXT_ADMIN_CERTIFICATE_PKCS12)));
	if (x.not_after_s <= clock_wall_s())
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_CERTIFICATE_EXPIRED, STR(""));
	sha256(x.der[0], out->fingerprint);
	out->expires_s = x.not_after_s;
	return ERR_OK;
}

static enum err which_certificate(struct admin_call *c, struct client_certificate *out)
{
	struct str pem = admin_text(c, "file"), fingerprint = admin_text(c, "fingerprint");

	if ((pem.p != NULL) == (fingerprint.p != NULL))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_CERTIFICATE_ONE_WAY, STR(""));
	if (pem.p != NULL)
		return read_certificate(c, pem, out);
	if (!parse_fingerprint(fingerprint, out->fingerprint))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_FINGERPRINT_BAD, fingerprint);
	return ERR_OK;
}

enum err admin_account_certificate_add(struct admin_call *c)
{
	struct secret_command add = { .op = SECRET_CERTIFICATE_ADD, .name = admin_text(c, "label") };
	struct client_certificate certificate = { 0 };
	struct directory_account x;
	struct secret_reply reply;
	struct conf *conf;
	enum err e;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(admin_protocols(c, admin_text(c, "for"), &add.rights));
	if (add.name.n == 0 || add.name.n > APP_PASSWORD_NAME_MAX || str_has_ctl(add.name))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_LABEL_BAD, STR(""));
	TRY(which_certificate(c, &certificate));
	TRY(directory_conf(c->directory, &conf));
	add.account = x.account;
	add.secret = str_make(certificate.fingerprint, sizeof certificate.fingerprint);
	add.id = certificate.expires_s < UINT32_MAX ? (uint32_t)certificate.expires_s : 0;
	enum text said = conf_on(conf, SETTING_client_certificates) ? TEXT_ADMIN_CERTIFICATE_ADDED : TEXT_ADMIN_CERTIFICATE_ADDED_OFF;
	conf_free(conf);
	e = admin_secret(c, &add, &reply);
	if (e == ERR_LIMIT || e == ERR_EXISTS)
		return admin_refuse(c, e, e == ERR_LIMIT ? TEXT_ADMIN_CERTIFICATES_FULL : TEXT_ADMIN_CERTIFICATE_THERE, x.address);
	if (e != ERR_OK)
		return e;
	admin_put_number(admin_result(c), "certificate_id", reply.id);
	admin_put_text(admin_result(c), "fingerprint", fingerprint_text(c, certificate.fingerprint));
	return admin_said(c, said, x.address, add.name);
}

enum err admin_account_certificate_list(struct admin_call *c)
{
	struct secret_command ask = { .op = SECRET_CERTIFICATE_LIST };
	struct directory_account x;
	struct secret_reply reply;

	TRY(admin_account(c, admin_text(c, "address"), &x));
	ask.account = x.account;
	TRY(admin_secret(c, &ask, &reply));
	for (size_t i = 0; i < reply.certificate_count; i++) {
		const struct client_certificate *p = &reply.certificates[i];
		json_t *row = admin_row(c);
		admin_put_number(row, "certificate_id", p->certificate_id);
		admin_put_text(row, "label", p->name);
		admin_put_text(row, "protocols", admin_protocols_text(c, p->rights));
		admin_put_number(row, "expires", (uint64_t)p->expires_s);
		admin_put_number(row, "created", (uint64_t)p->created_s);
		admin_put_number(row, "last_used", (uint64_t)p->last_used_s);
		admin_put_text(row, "fingerprint", fingerprint_text(c, p->fingerprint));
	}
	return ERR_OK;
}

enum err admin_account_certificate_remove(struct admin_call *c)
{
	return admin_remove_secret(c, SECRET_CERTIFICATE_REMOVE, TEXT_ADMIN_NO_SUCH_CERTIFICATE, TEXT_ADMIN_CERTIFICATE_REMOVED);
}
