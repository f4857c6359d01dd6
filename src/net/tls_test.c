/* TLS with keys that are elsewhere: each kind of key, both versions, names, resumption, bindings, and peers that are no TLS. The
 * other side of the channel is a thread that signs as the role keys would. */
#include "base/test.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/digest.h"
#include "crypto/pkey.h"
#include "net/loop.h"
#include "net/stream.h"
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

struct fake_keys {
	pthread_t       thread;
	int             fd;
	struct pkey    *key;
	_Atomic int     signatures;
	_Atomic bool    stops;
};

static void serve_sign(void *context, struct channel *ch, struct message *m)
{
	struct fake_keys *k = context;
	CLEANUP(buf_free) struct buf signature = BUF(4096), answer = BUF(4096);
	struct scan s = scan_of(m->body);
	struct tls_sign r;
	bool good = get_tls_sign(&s, &r);
	unsigned hash = (unsigned)r.scheme >> 8 == 8 ? (unsigned)r.scheme & 3 : ((unsigned)r.scheme >> 8) - 4;
	static const char *const digests[] = { "SHA256", "SHA384", "SHA512" };
	struct pkey_scheme how = { r.scheme == TLS_ED25519 ? NULL : digests[hash % 3], (unsigned)r.scheme >> 8 == 8 ? "pss" : "pkcs1" };
	enum err e = good ? pkey_sign(k->key, &how, r.message, &signature) : ERR_INVALID;

	put_tls_signature(&answer, buf_str(&signature));
	k->signatures++;
	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
}

static void *keys_main(void *context)
{
	static const struct channel_handler handlers[] = { { REQUEST_TLS_SIGN, serve_sign }, { 0 } };
	struct fake_keys *k = context;
	struct channel *ch = channel_new(k->fd, ROLE_KEYS, ROLE_GATE, handlers, k, NULL);

	while (!k->stops) {
		struct pollfd p = { channel_fd(ch), POLLIN, 0 };
		poll(&p, 1, 20);
		if (channel_receive(ch) != ERR_OK)
			break;
	}
	channel_free(ch);
	return NULL;
}

/* A self-signed certificate for the key, as DER. */
static struct str certificate_for(struct pkey *k, const char *name, struct arena *a)
{
	struct str pem = pkey_pem(k, a);
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	X509 *x = X509_new();
	unsigned char *der = NULL;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	EXPECT(X509_sign(x, key, pkey_kind(k) == PKEY_ED25519 ? NULL : EVP_sha256()) > 0);
	int n = i2d_X509(x, &der);
	struct str out = str_copy(a, str_make(der, (size_t)n));
	OPENSSL_free(der);
	X509_free(x);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return out;
}

struct setting {
	struct fake_keys   keys;
	struct channel    *ch;
	struct tls_server *server;
	SSL_CTX           *client;
	struct arena       arena;
};

static void set_up(struct setting *s, enum pkey_kind kind)
{
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	EXPECT_OK(pkey_generate(kind, &s->keys.key));
	s->keys.fd = pair[1];
	pthread_create(&s->keys.thread, NULL, keys_main, &s->keys);
	s->ch = channel_new(pair[0], ROLE_GATE, ROLE_KEYS, NULL, NULL, NULL);
	s->server = tls_server_new();
	struct str chain[2] = { certificate_for(s->keys.key, "one.example", &s->arena), certificate_for(s->keys.key, "two.example", &s->arena) };
	struct str names[2] = { STR("one.example"), STR("*.two.example") };
	struct tls_certificate list[2] = { { { 0 }, &names[0], 1, &chain[0], 1 }, { { 0 }, &names[1], 1, &chain[1], 1 } };
	struct tls_certificates c = { list, 2, { { 0 } }, 0 };
	sha256(pkey_public_der(s->keys.key, &s->arena), list[0].key_hash);
	EXPECT_OK(tls_server_load(s->server, &c, s->ch));
	s->client = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_options(s->client, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

static void tear_down(struct setting *s)
{
	s->keys.stops = true;
	pthread_join(s->keys.thread, NULL);
	SSL_CTX_free(s->client);
	tls_server_free(s->server);
	channel_free(s->ch);
	pkey_free(s->keys.key);
	arena_free(&s->arena);
}

struct connection { struct stream server; SSL *client; int client_fd; enum err outcome; };

/* Both sides step until they are done or one has failed. */
static void connect_over(const int pair[2], struct setting *s, struct connection *c, const char *name, int version, SSL_SESSION *resume,
                         const char *alpn)
{
	int client = 0;

	*c = (struct connection){ .server = { .fd = pair[0] }, .client = SSL_new(s->client), .client_fd = pair[1], .outcome = ERR_AGAIN };
	SSL_set_fd(c->client, pair[1]);
	SSL_set_min_proto_version(c->client, version);
	SSL_set_max_proto_version(c->client, version);
	if (name)
		SSL_set_tlsext_host_name(c->client, name);
	if (alpn)
		SSL_set_alpn_protos(c->client, (const unsigned char *)alpn, (unsigned)strlen(alpn));
	if (resume)
		SSL_set_session(c->client, resume);
	EXPECT_OK(stream_start_tls(&c->server, s->server, PROTOCOL_IMAP));
	for (int i = 0; i < 20 && (client != 1 || c->outcome == ERR_AGAIN); i++) {
		if (client != 1)
			client = SSL_connect(c->client);
		if (c->outcome == ERR_AGAIN)
			c->outcome = stream_handshake(&c->server);
	}
}

static void connect_both(struct setting *s, struct connection *c, const char *name, int version, SSL_SESSION *resume, const char *alpn)
{
	int pair[2];

	EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	connect_over(pair, s, c, name, version, resume, alpn);
}

static void disconnect(struct connection *c)
{
	stream_close(&c->server);
	SSL_set_shutdown(c->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);  /* else its session counts as broken: never resumed */
	SSL_free(c->client);
	close(c->client_fd);
}

static const char *common_name(const struct connection *c, char room[100])
{
	X509 *x = SSL_get1_peer_certificate(c->client);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, room, 100);
	X509_free(x);
	return room;
}

static void exchange(struct connection *c)
{
	char room[100];
	size_t n = 0, got;

	EXPECT_OK(stream_write(&c->server, STR("* OK hello\r\n"), &n));
	EXPECT_INT(n, 12);
	EXPECT_INT(SSL_read_ex(c->client, room, sizeof(room), &got), 1);
	EXPECT_STR(str_make(room, got), "* OK hello\r\n");
	EXPECT_INT(SSL_write_ex(c->client, "a LOGOUT\r\n", 10, &got), 1);
	EXPECT_OK(stream_read(&c->server, room, 4, &n));
	EXPECT(stream_has_input(&c->server));   /* the rest waits inside TLS, the socket is quiet */
	EXPECT_OK(stream_read(&c->server, room + n, sizeof(room) - n, &got));
	EXPECT_STR(str_make(room, n + got), "a LOGOUT\r\n");
	EXPECT_ERR(stream_read(&c->server, room, sizeof(room), &got), ERR_AGAIN);
	EXPECT_INT(stream_wants(&c->server, true, false), LOOP_READ);
}

TEST(each_kind_of_key_signs_elsewhere)
{
	static const struct { enum pkey_kind kind; int version; const char *text; } cases[] = {
		{ PKEY_EC, TLS1_3_VERSION, "TLSv1.3" },      { PKEY_EC, TLS1_2_VERSION, "TLSv1.2" },
		{ PKEY_RSA, TLS1_3_VERSION, "TLSv1.3" },     { PKEY_RSA, TLS1_2_VERSION, "TLSv1.2" },
		{ PKEY_ED25519, TLS1_3_VERSION, "TLSv1.3" }, { PKEY_ED25519, TLS1_2_VERSION, "TLSv1.2" },
	};
	EACH(cases, x) {
		struct setting s = { 0 };
		struct connection c;
		set_up(&s, x->kind);
		connect_both(&s, &c, NULL, x->version, NULL, NULL);
		if (c.outcome != ERR_OK)
			print_error("kind %d version %x: %s\n", x->kind, x->version, tls_reason(c.server.tls));
		EXPECT_OK(c.outcome);
		EXPECT_INT(s.keys.signatures, 1);
		EXPECT(str_starts(tls_text(c.server.tls, &s.arena), str_of(x->text)));
		exchange(&c);
		disconnect(&c);
		tear_down(&s);
	}
}

TEST(pkcs1_for_old_clients)
{
	struct setting s = { 0 };
	struct connection c;

	set_up(&s, PKEY_RSA);
	SSL_CTX_set1_sigalgs_list(s.client, "RSA+SHA256");
	connect_both(&s, &c, NULL, TLS1_2_VERSION, NULL, NULL);
	EXPECT_OK(c.outcome);
	exchange(&c);
	disconnect(&c);
	tear_down(&s);
}

TEST(names)
{
	static const struct { const char *asked, *got; } cases[] = {
		{ NULL, "one.example" },           { "one.example", "one.example" },   { "mail.two.example", "two.example" },
		{ "MAIL.Two.Example", "two.example" }, { "two.example", "one.example" },  /* a wildcard is one label, not none */
		{ "a.b.two.example", "one.example" },  { "other.example", "one.example" },
	};
	struct setting s = { 0 };

	set_up(&s, PKEY_EC);
	EACH(cases, x) {
		struct connection c;
		char room[100];
		connect_both(&s, &c, x->asked, TLS1_3_VERSION, NULL, NULL);
		/* the hash of the second entry is all zeros; the fake signs with the one key it has whatever is asked */
		EXPECT_OK(c.outcome);
		EXPECT_STR(str_of(common_name(&c, room)), x->got);
		disconnect(&c);
	}
	tear_down(&s);
}

TEST(a_second_visit_costs_no_signature)
{
	static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };
	struct setting s = { 0 };

	set_up(&s, PKEY_EC);
	EACH(versions, v) {
		struct connection c;
		s.keys.signatures = 0;
		connect_both(&s, &c, "x.two.example", *v, NULL, NULL);
		EXPECT_OK(c.outcome);
		exchange(&c);   /* reads the ticket too */
		SSL_SESSION *session = SSL_get1_session(c.client);
		disconnect(&c);
		connect_both(&s, &c, "x.two.example", *v, session, NULL);
		EXPECT_OK(c.outcome);
		EXPECT(tls_was_resumed(c.server.tls));
		EXPECT_INT(s.keys.signatures, 1);
		disconnect(&c);
		SSL_SESSION_free(session);
	}
	tear_down(&s);
}

/* A certificate of the client for a year from begins_s on, and its key. */
static void show_certificate(SSL_CTX *client, int64_t begins_s, uint8_t fingerprint[32])
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();

	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), (long)begins_s);
	X509_gmtime_adj(X509_getm_notAfter(x), (long)begins_s + 365 * 86400);
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	X509_digest(x, EVP_sha256(), fingerprint, NULL);
	EXPECT_INT(SSL_CTX_use_cert_and_key(client, x, key, NULL, 1), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* Who has tickets from before it was asked is asked all the same, once. */
TEST(a_session_from_before_is_not_resumed_when_certificates_are_asked_for)
{
	static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };

	EACH(versions, version) {
		struct setting s = { 0 };
		struct connection c;
		SSL_SESSION *session = NULL;
		set_up(&s, PKEY_EC);
		for (int visit = 0; visit < 3; visit++) {
			connect_both(&s, &c, "x.two.example", *version, session, NULL);
			EXPECT_OK(c.outcome);
			exchange(&c);
			EXPECT(tls_was_resumed(c.server.tls) == (visit == 2));
			SSL_SESSION_free(session);
			session = SSL_get1_session(c.client);
			disconnect(&c);
			tls_server_ask_certificates(s.server, true);
		}
		SSL_SESSION_free(session);
		tear_down(&s);
	}
}

TEST(clients_with_a_certificate)
{
	static const struct { int version; bool asks, shows; int64_t begins_s; bool is_known, is_current; } cases[] = {
		{ TLS1_3_VERSION, true, true, -1000, true, true },     { TLS1_2_VERSION, true, true, -1000, true, true },
		{ TLS1_3_VERSION, true, false, 0, false, false },       { TLS1_2_VERSION, true, false, 0, false, false },       /* none has to have one */
		{ TLS1_3_VERSION, false, true, -1000, false, false },   { TLS1_2_VERSION, false, true, -1000, false, false },
		{ TLS1_3_VERSION, true, true, 3600, true, false },     { TLS1_3_VERSION, true, true, -400 * 86400, true, false },  /* not yet, not any more */
	};

	EACH(cases, x) {
		struct setting s = { 0 };
		struct connection c;
		uint8_t shown[32], seen[32];
		bool is_current;
		set_up(&s, PKEY_EC);
		tls_server_ask_certificates(s.server, x->asks);
		if (x->shows)
			show_certificate(s.client, x->begins_s, shown);
		connect_both(&s, &c, "x.two.example", x->version, NULL, NULL);
		EXPECT_OK(c.outcome);
		exchange(&c);
		EXPECT(tls_client_fingerprint(c.server.tls, seen, &is_current) == x->is_known && is_current == x->is_current);
		if (x->is_known)
			EXPECT(memcmp(seen, shown, sizeof seen) == 0);
		/* a second visit: a session that began with a certificate is never resumed, any other is */
		SSL_SESSION *session = SSL_get1_session(c.client);
		disconnect(&c);
		connect_both(&s, &c, "x.two.example", x->version, session, NULL);
		EXPECT_OK(c.outcome);
		EXPECT(tls_was_resumed(c.server.tls) == !(x->asks && x->shows));
		EXPECT(tls_client_fingerprint(c.server.tls, seen, &is_current) == x->is_known && is_current == x->is_current);
		disconnect(&c);
		SSL_SESSION_free(session);
		tear_down(&s);
	}
}

TEST(alpn)
{
	static const struct { const char *offered, *chosen; enum err outcome; } cases[] = {
		{ "\4imap", "imap", ERR_OK },
		{ "\2h2\4imap", "imap", ERR_OK },
		{ "\4pop3", "", ERR_OK },                        /* unknown here: goes on without */
		{ "\2h2\10http/1.1", NULL, ERR_INVALID },        /* a browser that was lured here */
	};
	struct setting s = { 0 };

	set_up(&s, PKEY_EC);
	EACH(cases, x) {
		struct connection c;
		const unsigned char *p = NULL;
		unsigned n = 0;
		connect_both(&s, &c, NULL, TLS1_3_VERSION, NULL, x->offered);
		EXPECT_ERR(c.outcome, x->outcome);
		SSL_get0_alpn_selected(c.client, &p, &n);
		if (x->chosen)
			EXPECT(str_eq(str_make(p, n), str_of(x->chosen)));
		disconnect(&c);
	}
	tear_down(&s);
}

TEST(bindings_are_the_same_on_both_sides)
{
	struct setting s = { 0 };
	struct connection c;
	uint8_t here[64], there[64];
	unsigned there_n = 0;
	size_t n = 0;

	set_up(&s, PKEY_EC);
	connect_both(&s, &c, NULL, TLS1_3_VERSION, NULL, NULL);
	EXPECT(tls_exporter(c.server.tls, here));
	EXPECT_INT(SSL_export_keying_material(c.client, there, 32, "EXPORTER-Channel-Binding", 24, (const unsigned char *)"", 0, 1), 1);
	EXPECT(memcmp(here, there, 32) == 0);
	EXPECT(tls_server_end_point(c.server.tls, here, &n));
	X509 *x = SSL_get1_peer_certificate(c.client);
	X509_digest(x, EVP_sha256(), there, &there_n);
	X509_free(x);
	EXPECT(n == there_n && memcmp(here, there, n) == 0);
	disconnect(&c);
	connect_both(&s, &c, NULL, TLS1_2_VERSION, NULL, NULL);
	EXPECT_OK(c.outcome);
	EXPECT(!tls_exporter(c.server.tls, here));
	disconnect(&c);
	tear_down(&s);
}

TEST(peers_that_are_not_tls)
{
	static const struct { const char *bytes; enum err outcome; } cases[] = {
		{ "GET / HTTP/1.0\r\n\r\n", ERR_INVALID }, { "a LOGIN x y\r\n", ERR_INVALID }, { "\x16\x03\x01", ERR_AGAIN }, { "", ERR_AGAIN },
	};
	struct setting s = { 0 };

	set_up(&s, PKEY_EC);
	EACH(cases, x) {
		struct stream st = { 0 };
		int pair[2];
		EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		st.fd = pair[0];
		EXPECT_OK(stream_start_tls(&st, s.server, PROTOCOL_IMAP));
		EXPECT(write(pair[1], x->bytes, strlen(x->bytes)) == (ssize_t)strlen(x->bytes));
		EXPECT_ERR(stream_handshake(&st), x->outcome);
		if (x->outcome == ERR_AGAIN) {
			EXPECT_INT(stream_wants(&st, true, true), LOOP_READ);
			close(pair[1]);
			EXPECT(stream_handshake(&st) != ERR_AGAIN);
		} else {
			EXPECT(tls_reason(st.tls)[0] != 0);
			close(pair[1]);
		}
		stream_close(&st);
	}
	tear_down(&s);
}

TEST(no_signature_when_keys_is_away)
{
	struct setting s = { 0 };
	struct connection c;

	set_up(&s, PKEY_EC);
	channel_replace(s.ch, -1);
	connect_both(&s, &c, NULL, TLS1_3_VERSION, NULL, NULL);
	EXPECT_ERR(c.outcome, ERR_INVALID);
	disconnect(&c);
	tear_down(&s);
}

static void tcp_pair(int pair[2])
{
	CLEANUP(fd_close) int door = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);

	EXPECT_INT(bind(door, (struct sockaddr *)&at, sizeof(at)), 0);
	EXPECT_INT(listen(door, 1), 0);
	EXPECT_INT(getsockname(door, (struct sockaddr *)&at, &n), 0);
	pair[1] = socket(AF_INET, SOCK_STREAM, 0);
	EXPECT_INT(connect(pair[1], (struct sockaddr *)&at, sizeof(at)), 0);
	pair[0] = accept(door, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		EXPECT_INT(fcntl(pair[i], F_SETFL, O_NONBLOCK), 0);
		EXPECT_INT(setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)), 0);
	}
}

static uint32_t segments_sent(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(info);

	EXPECT_INT(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n), 0);
	return info.tcpi_data_segs_out;
}

/* Each would wake the client, and cost a trip through TCP. */
TEST(records_of_one_write_go_out_together)
{
	static char bytes[60000], room[sizeof(bytes)];
	struct setting s = { 0 };
	struct connection c;
	uint32_t segments, fewest = UINT32_MAX;
	int pair[2];

	set_up(&s, PKEY_EC);
	tcp_pair(pair);
	connect_over(pair, &s, &c, NULL, TLS1_3_VERSION, NULL, NULL);
	EXPECT_OK(c.outcome);
	for (int round = 0; round < 16; round++) {  /* its window grows by and by; and who does not run for 200 ms keeps nothing back */
		size_t sent = 0, got = 0, n;
		memset(bytes, 'a' + round, sizeof(bytes));
		segments = segments_sent(pair[0]);
		for (; sent < sizeof(bytes); sent += n)
			EXPECT_OK(stream_write(&c.server, str_make(bytes + sent, sizeof(bytes) - sent), &n));
		segments = segments_sent(pair[0]) - segments;
		fewest = segments < fewest ? segments : fewest;
		for (; got < sizeof(bytes) && SSL_read_ex(c.client, room + got, sizeof(bytes) - got, &n) == 1; got += n)
			;
		EXPECT_INT(got, sizeof(bytes));  /* nothing is kept back */
		EXPECT(memcmp(bytes, room, sizeof(bytes)) == 0);
	}
	EXPECT(fewest <= 2);  /* 4 records */
	disconnect(&c);
	tear_down(&s);
}

TEST(a_full_socket_is_again_not_a_wait)
{
	struct setting s = { 0 };
	struct connection c;
	char *big = mem_alloc(100000);
	size_t taken, total = 0;
	enum err e;

	set_up(&s, PKEY_EC);
	connect_both(&s, &c, NULL, TLS1_3_VERSION, NULL, NULL);
	while ((e = stream_write(&c.server, str_make(big, 100000), &taken)) == ERR_OK)
		total += taken;
	EXPECT_ERR(e, ERR_AGAIN);
	EXPECT(total > 16000);
	EXPECT_INT(stream_wants(&c.server, false, true), LOOP_WRITE);
	disconnect(&c);
	tear_down(&s);
	mem_free(big);
}
