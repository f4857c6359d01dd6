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
