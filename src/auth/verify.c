/* Encodings between gate and keys. The readers check what the types cannot say (a known protocol, a known outcome), so the code
 * behind them meets no other values. */
#include "auth/verify.h"

static enum protocol get_protocol(struct scan *s)
{
	uint8_t v = get_u8(s);

	if (v == 0 || v >= PROTOCOL_COUNT)
		scan_fail(s);
	return (enum protocol)v;
}

static enum verify_outcome get_outcome(struct scan *s)
{
	uint8_t v = get_u8(s);

	if (v == 0 || v >= VERIFY_OUTCOME_COUNT)
		scan_fail(s);
	return (enum verify_outcome)v;
}

void put_verify_request(struct buf *b, const struct verify_request *r)
{
	put_u8(b, (uint8_t)r->protocol);
	put_u64(b, r->session);
	put_str(b, r->peer);
	put_str(b, r->login);
	put_str(b, r->password);
}

bool get_verify_request(struct scan *s, struct verify_request *r)
{
	*r = (struct verify_request){ 0 };
	r->protocol = get_protocol(s);
	r->session = get_u64(s);
	r->peer = get_str(s, PEER_MAX);
	r->login = get_str(s, LOGIN_NAME_MAX);
	r->password = get_str(s, LOGIN_PASSWORD_MAX);
	return get_end(s);
}

void put_verify_reply(struct buf *b, const struct verify_reply *r)
{
	put_u8(b, (uint8_t)r->outcome);
	put_u32(b, r->delay_ms);
	put_u32(b, r->retry_s);
	put_grant(b, &r->grant);
	put_str(b, r->login);
	put_str(b, r->server_final);
}

bool get_verify_reply(struct scan *s, struct verify_reply *r)
{
	*r = (struct verify_reply){ 0 };
	r->outcome = get_outcome(s);
	r->delay_ms = get_u32(s);
	r->retry_s = get_u32(s);
	get_grant(s, &r->grant);
	r->login = get_str(s, LOGIN_NAME_MAX);
	r->server_final = get_str(s, SCRAM_MESSAGE_MAX);
	return get_end(s);
}

void put_scram_first_request(struct buf *b, const struct scram_first_request *r)
{
	put_u8(b, (uint8_t)r->protocol);
	put_u64(b, r->session);
	put_str(b, r->peer);
	put_str(b, r->login);
	put_str(b, r->client_nonce);
	put_str(b, r->client_first_bare);
}

bool get_scram_first_request(struct scan *s, struct scram_first_request *r)
{
	*r = (struct scram_first_request){ 0 };
	r->protocol = get_protocol(s);
	r->session = get_u64(s);
	r->peer = get_str(s, PEER_MAX);
	r->login = get_str(s, LOGIN_NAME_MAX);
	r->client_nonce = get_str(s, SCRAM_NONCE_MAX);
	r->client_first_bare = get_str(s, SCRAM_MESSAGE_MAX);
	return get_end(s) && r->client_nonce.n > 0;
}

void put_scram_first_reply(struct buf *b, const struct scram_first_reply *r)
{
	put_u8(b, (uint8_t)r->outcome);
	put_u32(b, r->retry_s);
	put_u64(b, r->scram_id);
	put_str(b, r->server_first);
}

bool get_scram_first_reply(struct scan *s, struct scram_first_reply *r)
{
	*r = (struct scram_first_reply){ 0 };
	r->outcome = get_outcome(s);
	r->retry_s = get_u32(s);
	r->scram_id = get_u64(s);
	r->server_first = get_str(s, SCRAM_MESSAGE_MAX);
	return get_end(s);
}

void put_scram_final_request(struct buf *b, const struct scram_final_request *r)
{
	put_u64(b, r->session);
	put_u64(b, r->scram_id);
	put_str(b, r->without_proof);
	buf_add_bytes(b, r->proof, sizeof r->proof);
}

bool get_scram_final_request(struct scan *s, struct scram_final_request *r)
{
	struct str proof;

	*r = (struct scram_final_request){ 0 };
	r->session = get_u64(s);
	r->scram_id = get_u64(s);
	r->without_proof = get_str(s, SCRAM_MESSAGE_MAX);
	proof = scan_bytes(s, sizeof r->proof);
	if (!s->failed)
		memcpy(r->proof, proof.p, sizeof r->proof);
	return get_end(s);
}

void put_certificate_login_request(struct buf *b, const struct certificate_login_request *r)
{
	put_u8(b, (uint8_t)r->protocol);
	put_u64(b, r->session);
	put_str(b, r->peer);
	put_str(b, r->login);
	put_bool(b, r->is_current);
	buf_add_bytes(b, r->fingerprint, sizeof r->fingerprint);
}

bool get_certificate_login_request(struct scan *s, struct certificate_login_request *r)
{
	struct str fingerprint;

	*r = (struct certificate_login_request){ 0 };
	r->protocol = get_protocol(s);
	r->session = get_u64(s);
	r->peer = get_str(s, PEER_MAX);
	r->login = get_str(s, LOGIN_NAME_MAX);
	r->is_current = get_bool(s);
	fingerprint = scan_bytes(s, sizeof r->fingerprint);
	if (!s->failed)
		memcpy(r->fingerprint, fingerprint.p, sizeof r->fingerprint);
	return get_end(s);
}

void put_bearer_request(struct buf *b, const struct bearer_request *r)
{
	put_u8(b, (uint8_t)r->protocol);
	put_u64(b, r->session);
	put_str(b, r->peer);
	put_str(b, r->login);
	put_str(b, r->issuer);
	put_str(b, r->kid);
	put_str(b, r->signed_part);
	put_str(b, r->signature);
}

bool get_bearer_request(struct scan *s, struct bearer_request *r)
{
	*r = (struct bearer_request){ 0 };
	r->protocol = get_protocol(s);
	r->session = get_u64(s);
	r->peer = get_str(s, PEER_MAX);
	r->login = get_str(s, LOGIN_NAME_MAX);
	r->issuer = get_str(s, TOKEN_ISSUER_MAX);
	r->kid = get_str(s, TOKEN_KID_MAX);
	r->signed_part = get_str(s, TOKEN_MAX);
	r->signature = get_str(s, TOKEN_SIGNATURE_MAX);
	return get_end(s);
}

void put_printer_request(struct buf *b, const struct printer_request *r)
{
	put_u64(b, r->session);
}

bool get_printer_request(struct scan *s, struct printer_request *r)
{
	*r = (struct printer_request){ .session = get_u64(s) };
	return get_end(s);
}
