/* What a server's certificate has to show, against our own side of TLS as the server: each kind of trust, right and wrong. */
#include "net/tls_client.h"
#include "base/test.h"
#include "crypto/ca.h"
#include "crypto/digest.h"
#include "crypto/pkey.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

struct files {
	const char  *dir;
	struct arena arena;
	char ca[200], chain[200], key[200];
	uint8_t spki[SHA256_SIZE];
};

static void write_file(const char *path, struct str bytes)
{
	CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	EXPECT(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
}

static void make_files(struct files *f)
{
	struct ca_pair ca, leaf;
	struct str name = STR("mx.example.test");
	struct pkey *key = NULL;

	f->dir = test_dir();
	EXPECT_OK(ca_make(STR("test authority"), 10, &f->arena, &ca));
	EXPECT_OK(ca_issue(&ca, &name, 1, 10, &f->arena, &leaf));
	snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", f->dir);
	snprintf(f->chain, sizeof(f->chain), "%s/chain.pem", f->dir);
	snprintf(f->key, sizeof(f->key), "%s/key.pem", f->dir);
	write_file(f->ca, ca.certificate_pem);
	write_file(f->chain, leaf.certificate_pem);
	write_file(f->key, leaf.key_pem);
	EXPECT_OK(pkey_from_pem(leaf.key_pem, &key));
	sha256(pkey_public_der(key, &f->arena), f->spki);
	pkey_free(key);
}

/* A handshake in turns; the client's outcome. */
static enum err shake(struct tls *client, struct tls *server)
{
	enum err c = ERR_AGAIN, s = ERR_AGAIN;

	for (int i = 0; i < 20 && (c == ERR_AGAIN || (c == ERR_OK && s == ERR_AGAIN)); i++) {
		if (c == ERR_AGAIN)
			c = tls_handshake(client);
		if (c == ERR_INVALID || c == ERR_CLOSED)
			break;
		if (s == ERR_AGAIN)
			s = tls_handshake(server);
	}
	return c;
}

/* Of itself, for CN=mx.example.test, without any SAN. */
static const char old_certificate[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBUTCB96ADAgECAgEBMAoGCCqGSM49BAMCMBoxGDAWBgNVBAMMD214LmV4YW1w\n"
	"bGUudGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowGjEYMBYG\n"
	"A1UEAwwPbXguZXhhbXBsZS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n"
	"pAWsTQmac3e14k/XPyq7cczeS7I3si2X4cgvx+RaYlsao5kw0grejylvnJsvCMfm\n"
	"5IBObtm41ar+gJnHAP4B0qMsMCowCQYDVR0TBAIwADAdBgNVHQ4EFgQUkuUgxZro\n"
	"8G0WlwPsXx0ryzXb9iswCgYIKoZIzj0EAwIDSQAwRgIhALdpM0kQw8xM0X9e+DBy\n"
	"RLz8I2ICpGAeKaftU03vF4GGAiEA+9Nl3bTOI7aaIKyPNCSQo7PXDQtqgLw0wb2I\n"
	"6tQpeb4=\n"
	"-----END CERTIFICATE-----\n";
static const char old_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgALAiBuLdzsgxxXb+\n"
	"vq6ymEn4PO17nBZrklmZmz0NP46hRANCAASkBaxNCZpzd7XiT9c/KrtxzN5Lsjey\n"
	"LZfhyC/H5FpiWxqjmTDSCt6PKW+cmy8Ix+bkgE5u2bjVqv6AmccA/gHS\n"
	"-----END PRIVATE KEY-----\n";

/* A name that only stands in the CN does not count any more (RFC 9525 §2). */
TEST(common_name)
{
	struct files f = { 0 };
	struct tls_server *server = tls_server_new();
	struct str name = STR("mx.example.test");
	struct tls_expect expect = { .trust = TLS_TRUST_AUTHORITIES, .server_name = name, .names = &name, .name_count = 1 };
	int pair[2];

	make_files(&f);
	write_file(f.chain, str_of(old_certificate));
	write_file(f.key, str_of(old_key));
	EXPECT_OK(tls_server_load_files(server, f.chain, f.key));
	struct tls_client *client = tls_client_new(f.chain);
	EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	struct tls *ours = tls_connect(client, pair[0], &expect), *theirs = tls_accept(server, pair[1], PROTOCOL_SMTP);
	EXPECT_ERR(shake(ours, theirs), ERR_INVALID);
	EXPECT_STR(tls_client_failure(ours, &f.arena), "certificate refused: hostname mismatch");
	tls_free(ours);
	tls_free(theirs);
	close(pair[0]);
	close(pair[1]);
	tls_client_free(client);
	tls_server_free(server);
	test_dir_remove(f.dir);
	arena_free(&f.arena);
}

TEST(trust)
{
	static const uint8_t wrong[SHA256_SIZE] = { 1 };
	static const struct {
		const char *what, *name, *words;   /* words: of how it stands, or why it failed */
		enum tls_trust trust;
		enum err e;
		int usage;                         /* of the record; 0: none */
		bool knows_authority, is_wrong_pin;
	} cases[] = {
		{ "anybody", "other.test", "not verified (", TLS_TRUST_ANY, ERR_OK },
		{ "anybody, and it is good", "mx.example.test", "certificate valid for mx.example.test", TLS_TRUST_ANY, ERR_OK, 0, true },
		{ "an authority", "mx.example.test", "certificate valid for mx.example.test", TLS_TRUST_AUTHORITIES, ERR_OK, 0, true },
		{ "an unknown authority", "mx.example.test", "certificate refused: ", TLS_TRUST_AUTHORITIES, ERR_INVALID },
		{ "another name", "other.test", "certificate refused: hostname mismatch", TLS_TRUST_AUTHORITIES, ERR_INVALID, 0, true },
		{ "DANE-EE", "other.test", "proven by DANE", TLS_TRUST_DANE, ERR_OK, 3 },
		{ "DANE-EE of another key", "mx.example.test", "certificate refused: ", TLS_TRUST_DANE, ERR_INVALID, 3, true, true },
		{ "DANE-TA of another key", "mx.example.test", "certificate refused: ", TLS_TRUST_DANE, ERR_INVALID, 2, true, true },
		{ "DANE without a record that can be used", "mx.example.test", "not verified", TLS_TRUST_DANE, ERR_OK, 77 },
	};
	struct files f = { 0 };
	struct tls_server *server = tls_server_new();

	make_files(&f);
	EXPECT_OK(tls_server_load_files(server, f.chain, f.key));
	EACH(cases, c) {
		struct tls_client *client = tls_client_new(c->knows_authority ? f.ca : "/dev/null");
		struct str name = str_of(c->name);
		struct tls_pin pin = { (uint8_t)c->usage, 1, 1, str_make(c->is_wrong_pin ? wrong : f.spki, SHA256_SIZE) };
		struct tls_expect expect = { .trust = c->trust, .server_name = name, .names = &name, .name_count = 1, .pins = &pin,
		                             .pin_count = c->usage ? 1 : 0 };
		int pair[2];

		print_message("%s\n", c->what);
		EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
		struct tls *ours = tls_connect(client, pair[0], &expect), *theirs = tls_accept(server, pair[1], PROTOCOL_SMTP);
		EXPECT(ours != NULL && theirs != NULL);
		EXPECT_ERR(shake(ours, theirs), c->e);
		if (c->e == ERR_OK)
			EXPECT_INT(tls_client_is_proven(ours), c->trust != TLS_TRUST_ANY && c->usage != 77);
		struct str words = c->e == ERR_OK ? tls_client_words(ours, &f.arena) : tls_client_failure(ours, &f.arena);
		if (str_find(words, str_of(c->words)) < 0)
			print_error("said: " STR_FMT "\n", STR_ARG(words));
		EXPECT(str_find(words, str_of(c->words)) >= 0);
		tls_free(ours);
		tls_free(theirs);
		close(pair[0]);
		close(pair[1]);
		tls_client_free(client);
	}
	tls_server_free(server);
	test_dir_remove(f.dir);
	arena_free(&f.arena);
}
