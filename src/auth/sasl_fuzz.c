/* Feeds the input's lines to each mechanism; the first byte chooses it. Then as every request that keys decodes. */
#include "auth/command.h"
#include "auth/jwt.h"
#include "auth/sasl.h"
#include "base/bytes.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void feed(enum sasl_mechanism m, struct str input, bool is_raw)
{
	struct scram_first_reply first = { VERIFY_OK, 0, 1, STR("r=abcdef,s=AAAA,i=4096") };
	struct sasl_binding tls = { .tls_exporter = STR("EXPORTED"), .tls_server_end_point = STR("HASH") };
	struct arena a = { 0 };
	struct sasl x;
	struct str line, challenge;

	sasl_begin(&x, m, m == SASL_SCRAM_SHA_256 ? NULL : &tls, &a);
	for (int i = 0; i < 8; i++) {
		enum sasl_next next;

		str_cut(input, '\n', &line, &input);
		next = sasl_step(&x, is_raw ? line : base64_encode(&a, line), &challenge);
		if (next == SASL_VERIFY)
			assert(x.login.n > 0 && x.login.n <= LOGIN_NAME_MAX && x.password.n > 0 && x.password.n <= LOGIN_PASSWORD_MAX);
		if (next == SASL_BEARER) {
			struct jwt token;
			assert(x.login.n <= LOGIN_NAME_MAX && x.password.n > 0 && x.password.n <= TOKEN_MAX);
			assert(!jwt_read(x.password, &a, &token) || (token.signature.n <= TOKEN_SIGNATURE_MAX && token.kid.n <= TOKEN_KID_MAX));
			sasl_bearer_refused(&x);
			continue;
		}
		if (next == SASL_CERTIFICATE)
			assert(x.login.n <= LOGIN_NAME_MAX);
		if (next == SASL_SCRAM_FIRST) {
			assert(x.login.n > 0 && x.client_nonce.n > 0 && x.client_first_bare.n <= SCRAM_MESSAGE_MAX);
			sasl_scram_challenge(&x, &first);
			continue;
		}
		if (next != SASL_CHALLENGE && next != SASL_SCRAM_FINAL)
			break;
	}
	sasl_end(&x);
	arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make(data, n);
	struct arena a = { 0 };
	struct scan s;

	if (n == 0)
		return 0;
	feed((enum sasl_mechanism)(SASL_PLAIN + data[0] % (SASL_MECHANISM_COUNT - 1)), str_from(in, 1), (data[0] & 0x80) != 0);
	s = scan_of(in);
	get_verify_request(&s, &(struct verify_request){ 0 });
	s = scan_of(in);
	get_verify_reply(&s, &(struct verify_reply){ 0 });
	s = scan_of(in);
	get_scram_first_request(&s, &(struct scram_first_request){ 0 });
	s = scan_of(in);
	get_scram_final_request(&s, &(struct scram_final_request){ 0 });
	s = scan_of(in);
	get_certificate_login_request(&s, &(struct certificate_login_request){ 0 });
	s = scan_of(in);
	get_bearer_request(&s, &(struct bearer_request){ 0 });
	s = scan_of(in);
	get_secret_command(&s, &(struct secret_command){ 0 });
	s = scan_of(in);
	get_secret_reply(&s, &a, &(struct secret_reply){ 0 });
	arena_free(&a);
	return 0;
}
