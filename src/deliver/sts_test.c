/* Policies of MTA-STS from a name server and a web server of our own (tests/): fetched once, kept, and what goes wrong. */
#include "dns/nameserver_test.h"
#include "crypto/ca.h"
#include "deliver/outbound.h"
#include "deliver/sts.h"
#include "queue/send.h"
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#define POLICY "200 text/plain version: STSv1\\r\\nmode: enforce\\r\\nmx: mail.good.test\\r\\nmax_age: 86400\\r\\n"
#define WITHOUT_LENGTH "HTTP/1.0 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nversion: STSv1\\nmode: enforce\\nmx: a.test\\nmax_age: 86400\\n"
#define PAGE(domain, rest) "put mta-sts." domain " /.well-known/mta-sts.txt " rest
#define PUBLISHED(domain) "add _mta-sts." domain " TXT v=STSv1; id=1;", "add mta-sts." domain " A 127.0.0.1"

static const char *const zones[] = {
	"ttl 0",
	PUBLISHED("good.test"), PUBLISHED("notfound.test"), PUBLISHED("html.test"), PUBLISHED("broken.test"), PUBLISHED("large.test"),
	PUBLISHED("off.test"), PUBLISHED("garbage.test"), PUBLISHED("othername.test"), PUBLISHED("silent.test"), PUBLISHED("moved.test"),
	PUBLISHED("cut.test"), PUBLISHED("ended.test"),
	"add _mta-sts.noaddress.test TXT v=STSv1; id=1;",
	"add _mta-sts.closed.test TXT v=STSv1; id=1;", "add mta-sts.closed.test A 127.9.9.9",
	"add _mta-sts.two.test TXT v=STSv1; id=1;", "add _mta-sts.two.test TXT v=STSv1; id=2;",
	"add none.test A 127.0.0.1", "fail _mta-sts.lame.test servfail",
	"add good.test MX 10 evil.good.test", "add evil.good.test A 127.0.0.1", "add good.test MX 20 mail.good.test", "add mail.good.test A 127.0.0.1",
};
static const char *const pages[] = {
	PAGE("good.test", POLICY),
	PAGE("html.test", "200 text/html version: STSv1\\nmode: enforce\\nmx: a.test\\nmax_age: 1\\n"),
	PAGE("broken.test", "200 text/plain version: STSv1\\nmode: maybe\\n"),
	PAGE("off.test", "200 text/plain version: STSv1\\nmode: none\\nmax_age: 86400\\n"),
	PAGE("garbage.test", "0 - SSH-2.0-hello\\r\\n\\r\\n"),
	PAGE("silent.test", "-1 - -"),
	PAGE("cut.test", "0 - " WITHOUT_LENGTH),
	PAGE("ended.test", "-2 - " WITHOUT_LENGTH),
	PAGE("moved.test", "301 text/plain version: STSv1\\nmode: enforce\\nmx: a.test\\nmax_age: 1\\n"),
};

struct world {
	struct nameserver  ns;
	struct script      web;
	struct loop       *loop;
	struct resolver   *resolver;
	struct tls_client *tls;
	struct sts        *sts;
	const char        *dir;
};

static const char *write_pem(struct arena *a, const char *dir, const char *name, struct str pem)
{
	const char *path = arena_printf(a, "%s/%s", dir, name).p;
	FILE *f = fopen(path, "w");

	EXPECT(f != NULL && fwrite(pem.p, 1, pem.n, f) == pem.n && fclose(f) == 0);
	return path;
}

static struct world begin(void)
{
	static const char *const names[] = { "mta-sts.good.test", "mta-sts.notfound.test", "mta-sts.html.test", "mta-sts.broken.test", "mta-sts.large.test",
	                                     "mta-sts.off.test", "mta-sts.garbage.test", "mta-sts.silent.test", "mta-sts.moved.test", "mta-sts.cut.test",
	                                     "mta-sts.ended.test" };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world w = { .ns = nameserver_start(zones, COUNT_OF(zones)), .loop = loop_new(), .dir = test_dir() };
	struct ca_pair ca, server;
	struct str listed[COUNT_OF(names)];

	for (size_t i = 0; i < COUNT_OF(names); i++)
		listed[i] = str_of(names[i]);
	EXPECT_OK(ca_make(STR("test"), 5, &a, &ca));
	EXPECT_OK(ca_issue(&ca, listed, COUNT_OF(names), 5, &a, &server));
	const char *argv[] = { "python3", "tests/webserver.py", write_pem(&a, w.dir, "chain.pem", server.certificate_pem),
	                       write_pem(&a, w.dir, "key.pem", server.key_pem), NULL };
	w.web = script_start(argv);
	for (size_t i = 0; i < COUNT_OF(pages); i++)
		script_do(&w.web, pages[i]);
	struct str large = arena_printf(&a, PAGE("large.test", "200 text/plain version: STSv1\\n%070000d"), 0);
	script_do(&w.web, large.p);
	w.resolver = nameserver_resolver(&w.ns, w.loop);
	w.tls = tls_client_new(write_pem(&a, w.dir, "ca.pem", ca.certificate_pem));
	uint64_t port;
	EXPECT(str_to_u64(str_of(w.web.port), &port));
	w.sts = sts_new(w.resolver, w.tls, (uint16_t)port);
	return w;
}

static void end(struct world *w)
{
	sts_free(w->sts);
	resolver_free(w->resolver);
	tls_client_free(w->tls);
	loop_free(w->loop);
	script_stop(&w->web);
	nameserver_stop(&w->ns);
	test_dir_remove(w->dir);
}

struct found {
	struct arena arena;
	bool         is_done, has_policy;
	enum mta_sts_mode mode;
	enum tls_result trouble;
	struct str   why;
};

static void keep(void *context, const struct mta_sts_policy *p, struct str why, enum tls_result trouble)
{
	struct found *f = context;

	EXPECT(!f->is_done);
	*f = (struct found){ .arena = f->arena, .is_done = true, .has_policy = p != NULL, .mode = p ? p->mode : MTA_STS_NONE, .trouble = trouble };
	f->why = str_copy(&f->arena, why);
}

static struct found find(struct world *w, const char *domain)
{
	struct found f = { 0 };

	EXPECT(sts_find(w->sts, str_of(domain), keep, &f) != NULL && !f.is_done);
	loop_until(w->loop, &f.is_done);
	return f;
}

static uint64_t requests(struct world *w)
{
	char line[20] = "";
	uint64_t n = 0;

	fputs("count\n", w->web.orders);
	fflush(w->web.orders);
	script_says(&w->web, line, sizeof line);
	EXPECT(str_to_u64(str_of(line), &n));
	return n;
}

TEST(policies)
{
	static const struct { const char *domain; bool has_policy; const char *why; } cases[] = {
		{ "good.test",     true,  NULL },
		{ "Good.Test",     true,  NULL },
		{ "none.test",     false, NULL },
		{ "two.test",      false, NULL },            /* two records: as if there were none (§3.1) */
		{ "off.test",      false, NULL },
		{ "notfound.test", false, "the web server answers 404" },
		{ "moved.test",    false, "the web server answers 301" },
		{ "ended.test",    true,  NULL },
		{ "cut.test",      false, "the connection was cut, and nothing had said where the answer ends" },
		{ "html.test",     false, "it is not of the type text/plain" },
		{ "broken.test",   false, "line 2: mode is none, testing or enforce" },
		{ "large.test",    false, "mta-sts.large.test: the answer is too large" },
		{ "garbage.test",  false, "mta-sts.garbage.test: the answer is not HTTP/1.1" },
		{ "noaddress.test", false, "mta-sts.noaddress.test has no address" },
		{ "closed.test",   false, "mta-sts.closed.test [127.9.9.9]: no connection: Connection refused" },
		{ "lame.test", false, "the name servers of lame.test could not say whether it has an MTA-STS policy" },
		{ "othername.test", false, "mta-sts.othername.test [127.0.0.1]: certificate refused: hostname mismatch" },
	};
	struct world w = begin();

	EACH(cases, c) {
		struct found f = find(&w, c->domain);
		EXPECT_INT(f.has_policy, c->has_policy);
		if (c->why && !str_iends(f.why, str_of(c->why)))
			print_error("%s: " STR_FMT "\n", c->domain, STR_ARG(f.why));
		EXPECT(c->why ? str_iends(f.why, str_of(c->why)) : f.why.n == 0);
		bool is_text = c->why && (str_eq(str_of(c->domain), STR("broken.test")) || str_eq(str_of(c->domain), STR("html.test")));
		bool is_certificate = str_eq(str_of(c->domain), STR("othername.test"));
		EXPECT_INT(f.trouble == TLS_RESULT_GOOD, c->why == NULL || str_eq(str_of(c->domain), STR("lame.test")));  /* nothing of theirs is known */
		EXPECT_INT(f.trouble == TLS_RESULT_STS_WEBPKI, is_certificate);
		EXPECT_INT(f.trouble == TLS_RESULT_STS_INVALID, is_text && !str_eq(str_of(c->domain), STR("html.test")));
		arena_free(&f.arena);
	}
	end(&w);
}

/* What net is told after a restart holds without a look at the web server, and nobody is answered before. */
struct kept { struct arena arena; struct sts_record r; int n; };

static void on_kept(void *context, const struct sts_record *r)
{
	struct kept *k = context;

	k->n++;
	k->r = (struct sts_record){ str_copy(&k->arena, r->domain), str_copy(&k->arena, r->id), str_copy(&k->arena, r->text), r->expires_s };
}

TEST(kept_over_a_restart)
{
	struct world w = begin();
	struct kept k = { 0 };
	struct found early = { 0 };

	sts_on_kept(w.sts, on_kept, &k);
	struct found f = find(&w, "good.test");
	arena_free(&f.arena);
	f = find(&w, "notfound.test");
	arena_free(&f.arena);
	EXPECT_INT(k.n, 1);
	EXPECT_STR(k.r.domain, "good.test");
	EXPECT_STR(k.r.id, "1");
	EXPECT(k.r.expires_s > clock_wall_s() + 86000 && k.r.expires_s <= clock_wall_s() + 86400);

	struct sts *fresh = sts_new(w.resolver, w.tls, 1);   /* a port where nobody is */
	sts_free(w.sts);
	w.sts = fresh;
	script_do(&w.ns.script, "fail _mta-sts.good.test servfail");
	sts_restore_begin(fresh);
	sts_find(fresh, STR("good.test"), keep, &early);
	for (int i = 0; i < 5; i++)
		loop_once(w.loop, 1);
	EXPECT(!early.is_done);
	struct sts_record old = { STR("old.test"), STR("1"), k.r.text, clock_wall_s() - 1 }, bad = { STR("bad.test"), STR("1"), STR("?"), k.r.expires_s };
	sts_restore(fresh, &old);
	sts_restore(fresh, &bad);
	sts_restore(fresh, &k.r);
	sts_restore_end(fresh);
	loop_until(w.loop, &early.is_done);
	EXPECT(early.has_policy && early.mode == MTA_STS_ENFORCE);
	f = find(&w, "old.test");
	EXPECT(!f.has_policy);
	arena_free(&f.arena);
	arena_free(&early.arena);
	arena_free(&k.arena);
	end(&w);
}

/* One fetch for all who wait, none while it is kept; it holds when the web server and the name server are gone, until its time is over. */
TEST(kept)
{
	struct world w = begin();
	struct found many[5] = { 0 }, never = { 0 };

	for (size_t i = 0; i < COUNT_OF(many); i++)
		sts_find(w.sts, STR("good.test"), keep, &many[i]);
	sts_cancel(sts_find(w.sts, STR("good.test"), keep, &never));
	sts_cancel(NULL);
	for (size_t i = 0; i < COUNT_OF(many); i++) {
		loop_until(w.loop, &many[i].is_done);
		EXPECT(many[i].has_policy && many[i].mode == MTA_STS_ENFORCE);
		arena_free(&many[i].arena);
	}
	EXPECT_INT(requests(&w), 1);
	struct found f = find(&w, "good.test");
	EXPECT(f.has_policy && requests(&w) == 1);
	arena_free(&f.arena);

	/* a failure is not tried again at once, and not told to be a policy */
	for (int i = 0; i < 3; i++) {
		f = find(&w, "notfound.test");
		EXPECT(!f.has_policy && f.why.n > 0);
		arena_free(&f.arena);
	}
	EXPECT_INT(requests(&w), 2);

	/* another id, but there is no text: the one that is kept holds; so does the next when nobody answers for the record */
	script_do(&w.ns.script, "set _mta-sts.good.test TXT v=STSv1; id=2;");
	script_do(&w.web, PAGE("good.test", "404 text/plain gone"));
	f = find(&w, "good.test");
	EXPECT(f.has_policy && requests(&w) == 3);
	script_do(&w.ns.script, "set _mta-sts.good.test TXT v=STSv1; id=3;");
	script_do(&w.web, PAGE("good.test", "200 text/plain version: STSv1\\nmode: testing\\nmx: a.test\\nmax_age: 86400\\n"));
	f = find(&w, "good.test");
	EXPECT(f.has_policy && f.mode == MTA_STS_TESTING && requests(&w) == 4);
	script_do(&w.ns.script, "fail _mta-sts.good.test servfail");
	f = find(&w, "good.test");
	EXPECT(f.has_policy && f.mode == MTA_STS_TESTING);
	clock_mono_advance(86401000);
	f = find(&w, "good.test");
	EXPECT(!f.has_policy && f.why.n > 0 && f.trouble == TLS_RESULT_GOOD);
	arena_free(&f.arena);
	EXPECT_INT(requests(&w), 4);
	end(&w);
	EXPECT(!never.is_done);
}

static void wait_for_requests(struct world *w, uint64_t n)
{
	for (int i = 0; i < 500 && requests(w) < n; i++)
		loop_once(w->loop, 10);
	EXPECT_INT(requests(w), n);
}

/* Answers are read, too. */
static void settle(struct world *w)
{
	while (sts_is_looking(w->sts))
		loop_once(w->loop, 10);
}

/* RFC 8461 §3.3: who keeps us from the web server for the one moment in which a policy runs out has not turned it off: it was looked at again
 * long before, beside the mail, and each such look makes its time longer. */
TEST(looked_at_again_in_its_time)
{
	static const struct { int64_t after_s; bool is_gone; uint64_t requests; } steps[] = {
		{ 0,     false, 1 }, { 43000, false, 1 },
		{ 300,   false, 2 },                     /* half of its time is over */
		{ 43300, true,  3 }, { 200,   true,  3 }, { 200, true, 4 },   /* in vain, and not with each message */
		{ 42000, false, 5 },                     /* 85,700 seconds old */
		{ 43000, false, 5 },
	};
	struct world w = begin();

	EACH(steps, s) {
		script_do(&w.web, s->is_gone ? PAGE("good.test", "404 text/plain gone") : PAGE("good.test", POLICY));
		clock_mono_advance(s->after_s * 1000);
		struct found f = find(&w, "good.test");
		EXPECT(f.has_policy && f.mode == MTA_STS_ENFORCE);
		wait_for_requests(&w, s->requests);
		settle(&w);
		arena_free(&f.arena);
	}
	end(&w);
}

/* Also where no mail goes: the policy that was had once does not run out, whoever keeps us from looking at one moment. */
TEST(refreshed_where_no_mail_goes)
{
	enum { DAY = 86400 };
	static const struct { int64_t after_s; const char *page; uint64_t requests; } steps[] = {
		{ 43000, PAGE("good.test", POLICY), 1 }, { 300, PAGE("good.test", POLICY), 2 },     /* half of its time is over */
		{ 60, PAGE("good.test", POLICY), 2 },
		{ 43300, PAGE("good.test", "404 text/plain gone"), 3 }, { 60, PAGE("good.test", POLICY), 3 },
		{ 11000, PAGE("good.test", POLICY), 4 },                                             /* in vain: some hours later again */
		{ 43300, PAGE("good.test", POLICY), 5 }, { 43300, PAGE("good.test", POLICY), 6 },
		{ 43300, PAGE("good.test", "200 text/plain version: STSv1\\nmode: none\\nmax_age: 86400\\n"), 7 },
		{ 43300, PAGE("good.test", POLICY), 7 },                                             /* nothing to keep up */
	};
	struct world w = begin();
	struct found f = find(&w, "good.test");

	EACH(steps, s) {
		script_do(&w.web, s->page);
		clock_mono_advance(s->after_s * 1000);
		sts_refresh(w.sts);
		wait_for_requests(&w, s->requests);
		settle(&w);
	}
	arena_free(&f.arena);
	script_do(&w.web, PAGE("good.test", POLICY));
	clock_mono_advance(DAY * 1000);
	f = find(&w, "good.test");
	EXPECT(f.has_policy);
	script_do(&w.ns.script, "fail _mta-sts.good.test servfail");
	for (int i = 0; i < 8; i++) {                                                            /* nobody says that it is gone */
		clock_mono_advance(DAY / 10 * 1000);
		sts_refresh(w.sts);
		settle(&w);
	}
	arena_free(&f.arena);
	f = find(&w, "good.test");
	EXPECT(f.has_policy);
	EXPECT_INT(requests(&w), 8);
	arena_free(&f.arena);
	end(&w);
}

/* The web server takes the connection and says nothing: whoever sends meanwhile goes by the policy that is kept, too, and none of them waits
 * for it. What is known after the look in vain is told as ever. */
TEST(a_look_that_hangs_holds_up_nobody)
{
	struct world w = begin();
	struct found f = find(&w, "good.test");
	struct found both[2] = { 0 };
	int64_t begin_ms;

	arena_free(&f.arena);
	script_do(&w.web, PAGE("good.test", "-1 - -"));
	clock_mono_advance(43300 * 1000);
	begin_ms = clock_mono_ms();
	for (int i = 0; i < 3; i++) {
		f = find(&w, "good.test");
		EXPECT(f.has_policy && f.mode == MTA_STS_ENFORCE);
		arena_free(&f.arena);
		wait_for_requests(&w, 2);
	}
	for (size_t i = 0; i < COUNT_OF(both); i++)
		EXPECT(sts_find(w.sts, STR("good.test"), keep, &both[i]) != NULL);
	for (size_t i = 0; i < COUNT_OF(both); i++) {
		loop_until(w.loop, &both[i].is_done);
		EXPECT(both[i].has_policy);
		arena_free(&both[i].arena);
	}
	EXPECT(clock_mono_ms() < begin_ms + STS_DEADLINE_MS / 2);
	clock_mono_advance(STS_DEADLINE_MS + 1000);   /* it is given up, while somebody asks */
	for (int i = 0; i < 3; i++) {
		f = find(&w, "good.test");
		EXPECT(f.has_policy && f.mode == MTA_STS_ENFORCE);
		arena_free(&f.arena);
		loop_once(w.loop, 10);
	}
	wait_for_requests(&w, 2);
	f = (struct found){ 0 };
	EXPECT(sts_find(w.sts, STR("good.test"), keep, &f) != NULL);
	end(&w);
	EXPECT(!f.is_done);
}

/* A stranger's domain does not make us knock at doors of our own network. */
TEST(no_policy_from_a_private_network)
{
	struct world w = begin();

	sts_public_only(w.sts, true);
	struct found f = find(&w, "good.test");
	EXPECT(!f.has_policy && str_find(f.why, STR("private network")) >= 0);
	EXPECT_INT(requests(&w), 0);
	arena_free(&f.arena);
	end(&w);
}

/* Freed in the middle of everything: nobody is called, nothing is left. */
TEST(freed_while_looking)
{
	struct world w = begin();
	struct found f[3] = { 0 };

	sts_find(w.sts, STR("silent.test"), keep, &f[0]);
	struct found g = find(&w, "good.test");
	arena_free(&g.arena);
	for (int i = 0; i < 50 && requests(&w) < 2; i++)
		loop_once(w.loop, 10);
	sts_find(w.sts, STR("silent.test"), keep, &f[1]);
	sts_find(w.sts, STR("html.test"), keep, &f[2]);
	end(&w);
	EXPECT(!f[0].is_done && !f[1].is_done && !f[2].is_done);
}

/* ---- what becomes of a message ---- */

/* A mail server without TLS: whoever comes is greeted, and heard until he goes. Its thread ends with the socket. */
static void *greet(void *context)
{
	char room[1000];

	for (int fd; (fd = accept(*(int *)context, NULL, NULL)) >= 0; close(fd)) {
		bool fine = send(fd, "220 p\r\n", 7, MSG_NOSIGNAL) == 7;
		while (fine && recv(fd, room, sizeof room, 0) > 0)
			fine = send(fd, "250 p\r\n", 7, MSG_NOSIGNAL) == 7;
	}
	return NULL;
}

static int mail_server(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT(bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 10) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	*port = ntohs(a.sin_port);
	return fd;
}

struct answered { struct arena arena; struct send_answer answer; bool is_done; };

static void on_answer(void *context, struct message *m)
{
	struct answered *x = context;

	EXPECT_OK(m->status);
	EXPECT_OK(send_answer_decode(str_copy(&x->arena, m->body), 1, &x->arena, &x->answer));
	x->is_done = true;
}

static void on_send(void *context, struct channel *ch, struct message *m) { outbound_on_send(context, ch, m); }

/* The policy allows mail.good.test only, and it has to prove itself: neither the host the MX record puts first, which an attacker may have
 * put there, nor one in clear text gets the message; without the policy it would have gone. */
TEST(no_host_but_those_of_the_policy)
{
	static const struct channel_handler handlers[] = { { REQUEST_SEND, on_send }, { 0 } }, none[] = { { 0 } };
	struct world w = begin();
	struct outbound *outbound = outbound_new(w.loop, w.resolver, w.tls);
	struct outbound_settings settings = outbound_defaults;
	struct send_recipient bob = { .address = STR("bob@good.test") };
	struct send s = { .number = 7, .log_id = 1, .seq = 1, .destination = STR("good.test"), .sender = STR("a@me.test"), .body_type = ENVELOPE_7BIT,
	                  .size = 4, .body = STR("\r\nx\n"), .fd = -1, .n = 1, .recipients = &bob };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct answered x = { 0 };
	int pair[2], fds[MESSAGE_FDS_MAX], n = 0, memfd = -1, fd = mail_server(&settings.port);
	pthread_t thread;

	settings.hostname = STR("me.test");
	settings.sts = w.sts;
	settings.tally = tls_tally_new(NULL, NULL);
	outbound_configure(outbound, &settings);
	pthread_create(&thread, NULL, greet, &fd);
	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	struct channel *queue = channel_new(pair[0], ROLE_QUEUE, ROLE_NET, none, NULL, NULL);
	struct channel *net = channel_new(pair[1], ROLE_NET, ROLE_QUEUE, handlers, outbound, NULL);
	loop_channel(w.loop, queue);
	loop_channel(w.loop, net);
	EXPECT_OK(send_encode(&s, &b, fds, &n, &memfd));
	EXPECT_OK(channel_ask(queue, REQUEST_SEND, buf_str(&b), fds, n, SEND_TIMEOUT_MS, on_answer, &x));
	loop_until(w.loop, &x.is_done);
	EXPECT_INT(x.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT_INT(x.answer.n_attempts, 2);
	EXPECT_STR(x.answer.attempts[0].host, "evil.good.test");
	EXPECT_STR(x.answer.attempts[0].text, "it is none of the mail hosts that the domain's policy (MTA-STS) allows");
	EXPECT_STR(x.answer.attempts[1].host, "mail.good.test [127.0.0.1]");
	EXPECT(str_find(x.answer.attempts[1].text, STR("TLS")) >= 0);
	CLEANUP(buf_free) struct buf counted = BUF(60000);
	EXPECT(tls_tally_take(settings.tally, &counted));
	struct scan in = scan_of(buf_str(&counted));
	struct tls_session one;
	bool is_evil = false, is_clear = false;
	while (get_tls_session(&in, &one)) {
		EXPECT_STR(one.domain, "good.test");
		EXPECT_INT(one.policy, TLS_POLICY_STS);
		EXPECT(str_starts(one.text, STR("version: STSv1")));
		is_evil |= one.result == TLS_RESULT_FAILURE && str_eq(one.mx, STR("evil.good.test"));
		is_clear |= one.result == TLS_RESULT_NO_STARTTLS && str_eq(one.mx, STR("mail.good.test")) && str_eq(one.receiving_ip, STR("127.0.0.1"));
	}
	EXPECT(!in.failed && is_evil && is_clear);
	tls_tally_free(settings.tally);
	loop_forget_channel(w.loop, queue);
	loop_forget_channel(w.loop, net);
	channel_free(queue);
	channel_free(net);
	outbound_free(outbound);
	shutdown(fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd);
	arena_free(&x.arena);
	end(&w);
}
