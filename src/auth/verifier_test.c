/* Who gets in: the whole judgement over a real keys.db, without processes. Workers: none (the test thread hashes), and two. */
#include "base/test.h"
#include "auth/app_password.h"
#include "auth/missing_key.h"
#include "auth/token_test.h"
#include "auth/verifier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/mac.h"
#include "crypto/password.h"
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ALL = 1u << PROTOCOL_IMAP | 1u << PROTOCOL_POP3 | 1u << PROTOCOL_SUBMISSION };

struct world {
	const char      *path;
	struct disk_dir *dir;
	struct secrets  *secrets;
	struct verifier *v;
	struct login_account alice, bob;
	struct issuer    issuer;       /* without keys: none */
	/* what came back */
	int              answers;
	struct verify_reply reply;
	char             login[100];
	enum err         status;
	struct secret_reply secret;
	bool             alice_is_deleted;
	int              fetches;         /* of keys of the issuer */
	char             text[200];
	struct app_password apps[10];
};

static int64_t test_now_ms;
static int64_t now_ms(void) { return test_now_ms; }

static bool resolve(void *context, struct str login, UNUSED struct arena *a, struct login_account *out)
{
	struct world *w = context;

	if (str_ieq(login, STR("alice@example.test")) || str_ieq(login, STR("al@example.test")))
		*out = w->alice;
	else if (str_ieq(login, STR("bob@example.test")))
		*out = w->bob;
	else
		return false;
	return true;
}

static bool resolve_printer(void *context, struct str ip, struct login_account *out)
{
	*out = ((struct world *)context)->bob;
	return str_eq(ip, STR("192.0.2.50"));
}

static bool resolve_account(void *context, uint64_t account, struct login_account *out)
{
	const struct world *w = context;

	*out = account == 1 ? w->alice : w->bob;
	return (account == 1 && !w->alice_is_deleted) || account == 2;
}

static size_t issuers(void *context, UNUSED struct arena *a, struct issuer **out)
{
	struct world *w = context;

	*out = &w->issuer;
	return w->issuer.key_count > 0;
}

static void fetch_keys(void *context, const struct issuer *i)
{
	struct world *w = context;

	EXPECT(i == &w->issuer);
	w->fetches++;
}

static void on_reply(void *context, const struct verify_reply *r)
{
	struct world *w = context;

	w->answers++;
	w->reply = *r;
	snprintf(w->login, sizeof w->login, "%.*s", STR_ARG(r->login));
}

static void on_secret(void *context, enum err status, const struct secret_reply *r)
{
	struct world *w = context;

	w->status = status;
	w->secret = *r;
	w->answers++;
	snprintf(w->text, sizeof w->text, "%.*s", STR_ARG(r->text));
	for (size_t i = 0; i < r->app_count && i < COUNT_OF(w->apps); i++)
		w->apps[i] = r->apps[i];
}

static void wait_answer(struct world *w, int before)
{
	for (int i = 0; i < 200 && w->answers == before; i++) {
		struct pollfd p = { verifier_fd(w->v), POLLIN, 0 };

		poll(&p, 1, 50);
		verifier_receive(w->v);
	}
	EXPECT_INT(w->answers, before + 1);
}

static enum verify_outcome ask_from(struct world *w, const char *peer, const char *login, const char *password)
{
	struct verify_request r = { PROTOCOL_IMAP, 77, str_of(peer), str_of(login), str_of(password) };
	int before = w->answers;

	verifier_ask(w->v, &r, on_reply, w);
	if (w->answers == before)
		wait_answer(w, before);
	return w->reply.outcome;
}

static enum verify_outcome ask(struct world *w, const char *login, const char *password)
{
	return ask_from(w, "192.0.2.7", login, password);
}

static enum err command(struct world *w, enum secret_op op, uint64_t account, uint32_t id, uint32_t rights, const char *name, const char *secret)
{
	struct secret_command c = { op, account, id, rights, str_of(name), str_of(secret) };
	int before = w->answers;

	verifier_command(w->v, &c, on_secret, w);
	if (w->answers == before)
		wait_answer(w, before);
	return w->status;
}

static void open_world(struct world *w, int workers, bool has_scram)
{
	struct verifier_options o = { .resolve = resolve, .resolve_printer = resolve_printer, .resolve_account = resolve_account,
	                              .issuers = issuers, .fetch_keys = fetch_keys, .context = w, .workers = workers,
	                              .has_scram = has_scram, .now_ms = now_ms };

	*w = (struct world){ .path = test_dir(),
	                     .alice = { 1, 5, ALL, false, STR("alice@example.test") }, .bob = { 2, 1, ALL, false, STR("bob@example.test") } };
	test_now_ms = 1000000;
	EXPECT_OK(disk_dir_open(w->path, &w->dir));
	EXPECT_OK(secrets_open(w->dir, &w->secrets));
	o.secrets = w->secrets;
	w->v = verifier_new(&o);
	EXPECT_ERR(command(w, SECRET_SET_PASSWORD, 1, 0, 0, "", "wonderland"), ERR_OK);
}

static void close_world(struct world *w)
{
	verifier_free(w->v);
	secrets_close(w->secrets);
	disk_dir_close(&w->dir);
	test_dir_remove(w->path);
}

static void check_grant(struct world *w, uint64_t account, uint32_t epoch, uint32_t app)
{
	uint8_t key[GRANT_KEY_SIZE];

	verifier_cell_key(w->v, account, key);
	EXPECT_OK(grant_check(&w->reply.grant, key, account, epoch, 0, false));
	EXPECT_INT(w->reply.grant.epoch, epoch);
	EXPECT_INT(w->reply.grant.session, 77);
	EXPECT_INT(w->reply.grant.app_password_id, app);
}

TEST(passwords)
{
	for (int workers = 0; workers <= 2; workers += 2) {
		struct world w;

		open_world(&w, workers, false);
		EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_OK);
		check_grant(&w, 1, 5, 0);
		EXPECT_INT(ask(&w, "AL@example.test", "wonderland"), VERIFY_OK);    /* an alias: remembered by now */
		EXPECT_STR(str_of(w.login), "alice@example.test");
		EXPECT_INT(ask(&w, "alice@example.test", "Wonderland"), VERIFY_WRONG);
		EXPECT(w.reply.delay_ms >= 200);
		EXPECT_INT(ask(&w, "nobody@example.test", "wonderland"), VERIFY_WRONG);
		EXPECT(w.reply.delay_ms >= 200);
		EXPECT_INT(ask(&w, "bob@example.test", "wonderland"), VERIFY_WRONG);  /* no password at all */
		EXPECT_INT(ask(&w, "bob@example.test", ""), VERIFY_WRONG);
		close_world(&w);
	}
}

TEST(changes_count_at_once)
{
	struct world w;

	open_world(&w, 0, false);
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_OK);
	EXPECT_ERR(command(&w, SECRET_SET_PASSWORD, 1, 0, 0, "", "looking-glass"), ERR_OK);
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_WRONG);   /* not remembered any more */
	EXPECT_INT(ask(&w, "alice@example.test", "looking-glass"), VERIFY_OK);
	EXPECT_ERR(command(&w, SECRET_EPOCH, 1, 9, 0, "", ""), ERR_OK);
	EXPECT_INT(ask(&w, "alice@example.test", "looking-glass"), VERIFY_OK);
	check_grant(&w, 1, 9, 0);
	EXPECT_ERR(command(&w, SECRET_CHECK, 1, 0, 0, "", "looking-glass"), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_CHECK, 1, 0, 0, "", "wonderland"), ERR_DENIED);
	EXPECT_ERR(command(&w, SECRET_CHECK, 3, 0, 0, "", "wonderland"), ERR_DENIED);
	EXPECT_ERR(command(&w, SECRET_SET_PASSWORD, 1, 0, 0, "", ""), ERR_INVALID);
	EXPECT_ERR(command(&w, SECRET_REMOVE, 1, 0, 0, "", ""), ERR_OK);
	EXPECT_INT(ask(&w, "alice@example.test", "looking-glass"), VERIFY_WRONG);
	close_world(&w);
}

TEST(suspended_and_rights)
{
	struct world w;

	open_world(&w, 0, false);
	w.alice.is_suspended = true;
	EXPECT_INT(ask(&w, "alice@example.test", "wrong"), VERIFY_WRONG);       /* tells a stranger nothing */
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_SUSPENDED);
	EXPECT_INT(w.reply.grant.account, 0);
	w.alice.is_suspended = false;
	w.alice.rights = 1u << PROTOCOL_POP3;
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_NOT_ALLOWED);
	close_world(&w);
}

/* No password: the address decides, and the grant is good for submission only. */
TEST(printers)
{
	struct printer_request r = { 77, STR("192.0.2.50") };
	struct world w;

	open_world(&w, 0, false);
	verifier_printer(w.v, &r, &w.reply);
	EXPECT_INT(w.reply.outcome, VERIFY_OK);
	EXPECT_STR(w.reply.login, "bob@example.test");
	EXPECT_INT(w.reply.grant.rights, 1u << PROTOCOL_SUBMISSION);
	EXPECT_INT(w.reply.grant.session, 77);
	EXPECT(w.reply.grant.expires_s <= clock_wall_s() + 3600 && w.reply.grant.ends_session);
	check_grant(&w, 2, 1, 0);
	r.peer = STR("192.0.2.51");
	verifier_printer(w.v, &r, &w.reply);
	EXPECT_INT(w.reply.outcome, VERIFY_WRONG);
	EXPECT_INT(w.reply.grant.account, 0);
	r.peer = STR("192.0.2.50");
	w.bob.rights = 1u << PROTOCOL_IMAP;
	verifier_printer(w.v, &r, &w.reply);
	EXPECT_INT(w.reply.outcome, VERIFY_NOT_ALLOWED);
	w.bob.is_suspended = true;
	verifier_printer(w.v, &r, &w.reply);
	EXPECT_INT(w.reply.outcome, VERIFY_SUSPENDED);
	close_world(&w);
}

static enum verify_outcome certificate_of_time(struct world *w, const char *login, char which, bool is_current)
{
	struct certificate_login_request r = { .protocol = PROTOCOL_IMAP, .session = 77, .peer = STR("192.0.2.7"), .login = str_of(login), .is_current = is_current };
	struct arena a = { 0 };

	memset(r.fingerprint, which, sizeof r.fingerprint);
	verifier_certificate(w->v, &r, &a, &w->reply);
	snprintf(w->login, sizeof w->login, "%.*s", STR_ARG(w->reply.login));
	arena_free(&a);
	return w->reply.outcome;
}

static enum verify_outcome certificate(struct world *w, const char *login, char which)
{
	return certificate_of_time(w, login, which, true);
}

/* What cannot be written is when it was used: no reason to keep somebody out who has to make room. */
TEST(a_certificate_logs_in_on_a_full_disk)
{
	struct rlimit before, none;
	struct world w;

	open_world(&w, 0, false);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_ADD, 1, 0, 0, "laptop", "11111111111111111111111111111111"), ERR_OK);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	none = (struct rlimit){ 0, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	EXPECT_INT(certificate(&w, "", '1'), VERIFY_OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	close_world(&w);
}

TEST(certificates)
{
	const char one[] = "11111111111111111111111111111111", two[] = "22222222222222222222222222222222";
	struct world w;

	open_world(&w, 0, false);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_ADD, 1, 2000000000, 1u << PROTOCOL_IMAP, "laptop", one), ERR_OK);
	EXPECT_INT(w.secret.id, 1);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_ADD, 1, 0, 0, "again", one), ERR_EXISTS);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_ADD, 1, 0, 0, "short", "1111"), ERR_INVALID);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_ADD, 1, 0, 0, "", two), ERR_INVALID);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_ADD, 1, 0, 0, "both", two), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_ADD, 2, 0, 0, "both", two), ERR_OK);
	EXPECT_INT(certificate(&w, "", '1'), VERIFY_OK);
	check_grant(&w, 1, 5, 0);
	EXPECT_INT(w.reply.grant.rights, 1u << PROTOCOL_IMAP);
	EXPECT_STR(str_of(w.login), "alice@example.test");
	EXPECT_INT(certificate(&w, "AL@example.test", '1'), VERIFY_OK);
	EXPECT_INT(certificate_of_time(&w, "", '1', false), VERIFY_WRONG);
	EXPECT_INT(certificate(&w, "bob@example.test", '1'), VERIFY_WRONG);
	EXPECT(w.reply.delay_ms >= 200);
	EXPECT_INT(certificate(&w, "nobody@example.test", '1'), VERIFY_WRONG);
	EXPECT_INT(certificate(&w, "", '3'), VERIFY_WRONG);
	EXPECT_INT(certificate(&w, "", '2'), VERIFY_WRONG);       /* of two accounts: which? */
	EXPECT_INT(certificate(&w, "bob@example.test", '2'), VERIFY_OK);
	check_grant(&w, 2, 1, 0);
	w.alice_is_deleted = true;
	EXPECT_INT(certificate(&w, "", '2'), VERIFY_OK);          /* of one who lives */
	check_grant(&w, 2, 1, 0);
	EXPECT_INT(certificate(&w, "", '1'), VERIFY_WRONG);
	w.alice_is_deleted = false;
	w.alice.is_suspended = true;
	EXPECT_INT(certificate(&w, "", '1'), VERIFY_SUSPENDED);
	w.alice.is_suspended = false;
	w.alice.rights = 1u << PROTOCOL_POP3;
	EXPECT_INT(certificate(&w, "", '1'), VERIFY_NOT_ALLOWED);
	w.alice.rights = ALL;
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_LIST, 1, 0, 0, "", ""), ERR_OK);
	EXPECT_INT(w.secret.certificate_count, 2);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_REMOVE, 1, 1, 0, "", ""), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_CERTIFICATE_REMOVE, 1, 1, 0, "", ""), ERR_NOTFOUND);
	EXPECT_INT(certificate(&w, "", '1'), VERIFY_WRONG);
	EXPECT_ERR(command(&w, SECRET_FORGET, 1, 0, 0, "", ""), ERR_OK);
	EXPECT_INT(certificate(&w, "", '2'), VERIFY_OK);          /* only bob's by now */
	close_world(&w);
}

static enum verify_outcome bearer(struct world *w, const char *login, struct str token)
{
	struct arena a = { 0 };
	struct bearer_request r = token_request(token, &a);

	r.login = str_of(login);
	verifier_bearer(w->v, &r, &a, &w->reply);
	snprintf(w->login, sizeof w->login, "%.*s", STR_ARG(w->reply.login));
	arena_free(&a);
	return w->reply.outcome;
}

TEST(tokens)
{
#define TOKEN(key, who, expires) token_signed(key, "{\"alg\":\"ES256\"}", \
	"{\"iss\":\"https://id.test\",\"aud\":\"mail\",\"exp\":" expires ",\"email\":\"" who "\"}", &a)
	struct world w;
	struct pkey *key, *thief;
	struct arena a = { 0 };

	open_world(&w, 0, false);
	EXPECT_OK(pkey_generate(PKEY_EC, &key));
	EXPECT_OK(pkey_generate(PKEY_EC, &thief));
	struct issuer_key keys[] = { { STR(""), pkey_public_der(key, &a) } };
	struct str alice = TOKEN(key, "alice@example.test", "9999999999"), stolen = TOKEN(thief, "alice@example.test", "9999999999");
	EXPECT_INT(bearer(&w, "", alice), VERIFY_WRONG);          /* no issuer yet */
	w.issuer = (struct issuer){ .name = STR("https://id.test"), .audience = STR("mail"), .claim = STR("email"), .domain = STR(""), .keys = keys, .key_count = 1 };
	EXPECT_INT(bearer(&w, "", alice), VERIFY_OK);
	check_grant(&w, 1, 5, 0);
	EXPECT(w.reply.grant.expires_s <= clock_wall_s() + 86400 && w.reply.grant.ends_session);
	EXPECT_STR(str_of(w.login), "alice@example.test");
	EXPECT_INT(bearer(&w, "al@example.test", TOKEN(key, "AL@example.test", "9999999999")), VERIFY_OK);
	EXPECT_INT(bearer(&w, "bob@example.test", alice), VERIFY_WRONG);
	EXPECT_INT(bearer(&w, "nobody@example.test", alice), VERIFY_WRONG);
	EXPECT_INT(bearer(&w, "", TOKEN(key, "nobody@example.test", "9999999999")), VERIFY_WRONG);
	EXPECT_INT(w.reply.delay_ms, 0);                          /* signed by the issuer: no guess */
	w.issuer.domain = STR("other.test");
	EXPECT_INT(bearer(&w, "", alice), VERIFY_WRONG);
	w.issuer.domain = STR("example.test");
	EXPECT_INT(bearer(&w, "", alice), VERIFY_OK);
	w.alice.is_suspended = true;
	EXPECT_INT(bearer(&w, "", alice), VERIFY_SUSPENDED);
	w.alice.is_suspended = false;
	EXPECT_ERR(command(&w, SECRET_EPOCH, 1, 9, 0, "", ""), ERR_OK);
	EXPECT_INT(bearer(&w, "", alice), VERIFY_OK);
	check_grant(&w, 1, 9, 0);
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_OK);   /* passwords go on beside */
	for (int i = 0; i < 100; i++)
		EXPECT_INT(bearer(&w, "alice@example.test", TOKEN(key, "alice@example.test", "1")), VERIFY_WRONG);
	EXPECT_INT(bearer(&w, "alice@example.test", alice), VERIFY_OK);       /* yesterday's tokens lock nobody out … */
	EXPECT_INT(bearer(&w, "alice@example.test", stolen), VERIFY_WRONG);
	EXPECT(w.reply.delay_ms >= 200);
	for (int i = 0; i < 300 && w.reply.outcome == VERIFY_WRONG; i++)
		bearer(&w, "alice@example.test", token_signed(thief, arena_printf(&a, "{\"alg\":\"ES256\",\"kid\":\"%d\"}", i).p, "{}", &a));
	EXPECT_INT(w.reply.outcome, VERIFY_THROTTLED);                        /* … but forged ones count like passwords */
	EXPECT_INT(w.fetches, 0);                                             /* given by hand: nobody is asked */
	test_now_ms += 3600 * 1000;
	w.issuer.source.is_fetched = true;
	EXPECT_INT(bearer(&w, "", stolen), VERIFY_BUSY);                      /* of a key that the issuer may have since a minute … */
	EXPECT_INT(bearer(&w, "", stolen), VERIFY_BUSY);
	EXPECT_INT(w.fetches, 1);
	test_now_ms += MISSING_ASK_TAKES_MS;
	EXPECT_INT(bearer(&w, "", stolen), VERIFY_WRONG);                     /* … and has not … */
	test_now_ms += MISSING_ASK_EVERY_MS;
	EXPECT_INT(bearer(&w, "", stolen), VERIFY_WRONG);                     /* … nor now: who comes with it needs another token */
	EXPECT_INT(bearer(&w, "", TOKEN(key, "alice@example.test", "1")), VERIFY_WRONG);
	EXPECT_INT(bearer(&w, "", token_signed(thief, "{\"alg\":\"ES256\"}", "{\"iss\":\"https://thief.test\"}", &a)), VERIFY_WRONG);
	EXPECT_INT(w.fetches, 2);
	/* what lets it in, and for how long */
	EXPECT_INT(bearer(&w, "", alice), VERIFY_OK);
	EXPECT_INT(w.reply.grant.token_mark, issuer_mark(&w.issuer, keys));
	w.issuer.audience = STR("post");
	EXPECT(w.reply.grant.token_mark != issuer_mark(&w.issuer, keys));
	w.issuer.audience = STR("mail");
	verifier_set_token_ends_session(w.v, true);
	EXPECT_INT(bearer(&w, "", token_signed(key, "{\"alg\":\"ES256\"}", arena_printf(&a, "{\"iss\":\"https://id.test\",\"aud\":\"mail\",\"exp\":%lld,"
	                                       "\"email\":\"alice@example.test\"}", (long long)clock_wall_s() + 600).p, &a)), VERIFY_OK);
	EXPECT(w.reply.grant.ends_session && w.reply.grant.expires_s <= clock_wall_s() + 660 && w.reply.grant.expires_s > clock_wall_s() + 600);
	pkey_free(key);
	pkey_free(thief);
	arena_free(&a);
	close_world(&w);
}

TEST(imported_hash_is_upgraded)
{
	struct world w;
	struct arena a = { 0 };
	struct str hash;

	open_world(&w, 0, false);
	EXPECT_ERR(command(&w, SECRET_SET_HASH, 2, 0, 0, "", "{SSHA}1G904nLkTkGWjKNnQuB/hpWXC/hzYWx0c2FsdA=="), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_SET_HASH, 2, 0, 0, "", "nonsense"), ERR_INVALID);
	EXPECT_INT(ask(&w, "bob@example.test", "wrong"), VERIFY_WRONG);
	EXPECT_INT(ask(&w, "bob@example.test", "secret"), VERIFY_OK);
	verifier_receive(w.v);  /* the upgrade */
	EXPECT_OK(secrets_password(w.secrets, 2, &a, &hash));
	EXPECT(!password_hash_is_old(hash));
	EXPECT_OK(password_check(hash, STR("secret")));
	EXPECT_ERR(command(&w, SECRET_STATUS, 2, 0, 0, "", ""), ERR_OK);
	EXPECT(w.secret.flag && !strcmp(w.text, "yescrypt"));
	arena_free(&a);
	close_world(&w);
}

TEST(app_passwords)
{
	struct world w;
	char password[200], shouted[200];
	struct disk_dir *dir;

	open_world(&w, 0, false);
	EXPECT_ERR(command(&w, SECRET_APP_ADD, 1, 0, 1u << PROTOCOL_IMAP, "my phone", ""), ERR_OK);
	EXPECT_INT(w.secret.id, 1);
	snprintf(password, sizeof password, "%s", w.text);
	EXPECT_INT(strlen(password), APP_PASSWORD_TEXT);
	EXPECT_INT(ask(&w, "alice@example.test", password), VERIFY_OK);
	check_grant(&w, 1, 5, 1);
	EXPECT_INT(w.reply.grant.rights, 1u << PROTOCOL_IMAP);
	for (size_t i = 0; i <= strlen(password); i++)  /* as a phone's keyboard does it */
		shouted[i] = password[i] == '-' ? ' ' : i ? password[i] : chr_upper(password[i]);
	EXPECT_INT(ask(&w, "alice@example.test", shouted), VERIFY_OK);
	EXPECT_INT(ask(&w, "bob@example.test", password), VERIFY_WRONG);
	struct verify_request pop = { PROTOCOL_POP3, 77, STR("192.0.2.7"), STR("alice@example.test"), str_of(password) };
	verifier_ask(w.v, &pop, on_reply, &w);
	EXPECT_INT(w.reply.outcome, VERIFY_NOT_ALLOWED);
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_OK);    /* the own one still works */

	EXPECT_ERR(command(&w, SECRET_APP_ADD, 1, 0, 0, "tablet", ""), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_APP_ADD, 1, 0, 0, "bad\nname", ""), ERR_INVALID);
	EXPECT_ERR(command(&w, SECRET_APP_LIST, 1, 0, 0, "", ""), ERR_OK);
	EXPECT_INT(w.secret.app_count, 2);
	EXPECT(w.apps[0].last_used_s > 0 && w.apps[1].last_used_s == 0);

	/* another start: all of it is on disk */
	EXPECT_OK(secrets_flush(w.secrets));
	verifier_free(w.v);
	secrets_close(w.secrets);
	EXPECT_OK(disk_dir_open(w.path, &dir));
	EXPECT_OK(secrets_open(dir, &w.secrets));
	w.v = verifier_new(&(struct verifier_options){ .secrets = w.secrets, .resolve = resolve, .context = &w, .now_ms = now_ms });
	EXPECT_INT(ask(&w, "alice@example.test", password), VERIFY_OK);
	EXPECT_ERR(command(&w, SECRET_APP_LIST, 1, 0, 0, "", ""), ERR_OK);
	EXPECT(w.apps[0].last_used_s > 0);

	EXPECT_ERR(command(&w, SECRET_APP_REMOVE, 1, 1, 0, "", ""), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_APP_REMOVE, 1, 1, 0, "", ""), ERR_NOTFOUND);
	EXPECT_INT(ask(&w, "alice@example.test", password), VERIFY_WRONG);
	EXPECT_ERR(command(&w, SECRET_FORGET, 1, 0, 0, "", ""), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_STATUS, 1, 0, 0, "", ""), ERR_OK);
	EXPECT(!w.secret.flag && w.secret.id == 0);
	for (int i = 0; i < APP_PASSWORDS_MAX; i++)
		EXPECT_ERR(command(&w, SECRET_APP_ADD, 2, 0, 0, "x", ""), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_APP_ADD, 2, 0, 0, "x", ""), ERR_LIMIT);
	verifier_free(w.v);
	secrets_close(w.secrets);
	w.v = NULL;
	w.secrets = NULL;
	disk_dir_close(&dir);
	close_world(&w);
}

/* Numbers are used again: the next one was not used when the one before it was. */
TEST(an_app_password_in_the_place_of_another)
{
	struct world w;

	open_world(&w, 0, false);
	EXPECT_ERR(command(&w, SECRET_APP_ADD, 1, 0, 0, "telephone", ""), ERR_OK);
	EXPECT_INT(ask(&w, "alice@example.test", w.text), VERIFY_OK);
	EXPECT_ERR(command(&w, SECRET_APP_REMOVE, 1, 1, 0, "", ""), ERR_OK);
	EXPECT_ERR(command(&w, SECRET_APP_ADD, 1, 0, 0, "tablet", ""), ERR_OK);
	EXPECT_INT(w.secret.id, 1);
	EXPECT_OK(secrets_flush(w.secrets));
	EXPECT_ERR(command(&w, SECRET_APP_LIST, 1, 0, 0, "", ""), ERR_OK);
	EXPECT(w.secret.app_count == 1 && w.apps[0].last_used_s == 0);
	close_world(&w);
}

TEST(guessing)
{
	struct world w;
	enum verify_outcome o = VERIFY_WRONG;
	char guess[20];
	int i;

	open_world(&w, 0, false);
	for (i = 0; i < 30 && o == VERIFY_WRONG; i++) {
		snprintf(guess, sizeof guess, "guess%d", i);
		o = ask(&w, "alice@example.test", guess);
	}
	EXPECT_INT(i, 11);
	EXPECT_INT(o, VERIFY_THROTTLED);
	EXPECT(w.reply.retry_s > 0 && w.reply.retry_s <= 60);
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_THROTTLED);  /* also the right one: nothing is looked at */
	EXPECT_INT(ask_from(&w, "198.51.100.9", "alice@example.test", "wonderland"), VERIFY_OK);
	for (i = 0, o = VERIFY_WRONG; i < 30 && o == VERIFY_WRONG; i++) {   /* a name that does not exist is no different */
		snprintf(guess, sizeof guess, "guess%d", i);
		o = ask_from(&w, "203.0.113.1", "nobody@example.test", guess);
	}
	EXPECT_INT(i, 11);
	test_now_ms += 61000;
	EXPECT_INT(ask(&w, "alice@example.test", "wonderland"), VERIFY_OK);
	close_world(&w);
}

/* The client's side of SCRAM, to talk to the server's. */
static void scram_client(struct arena *a, const char *password, struct str first_bare, struct str server_first, struct str without_proof,
                         uint8_t proof[32], char *server_final, size_t room)
{
	struct buf salt = BUF(64);
	struct str rest, nonce, s, i, message = arena_printf(a, STR_FMT "," STR_FMT "," STR_FMT, STR_ARG(first_bare), STR_ARG(server_first),
	                                                    STR_ARG(without_proof));
	uint8_t salted[32], client_key[32], stored[32], signature[32], server_key[32];

	str_cut(server_first, ',', &nonce, &rest);
	str_cut(rest, ',', &s, &i);
	EXPECT_STR(i, "i=4096");
	EXPECT(base64_get(&salt, str_from(s, 2)));
	pbkdf2(DIGEST_SHA256, str_of(password), buf_str(&salt), 4096, salted, 32);
	hmac_sha256(str_make(salted, 32), STR("Client Key"), client_key);
	sha256(str_make(client_key, 32), stored);
	hmac_sha256(str_make(stored, 32), message, signature);
	for (int k = 0; k < 32; k++)
		proof[k] = client_key[k] ^ signature[k];
	hmac_sha256(str_make(salted, 32), STR("Server Key"), server_key);
	hmac_sha256(str_make(server_key, 32), message, signature);
	snprintf(server_final, room, "v=%.*s", STR_ARG(base64_encode(a, str_make(signature, 32))));
	buf_free(&salt);
}

static enum verify_outcome scram(struct world *w, struct arena *a, const char *login, const char *password, const void *asker2, uint64_t session2)
{
	struct scram_first_request f = { PROTOCOL_IMAP, 77, STR("192.0.2.7"), str_of(login), STR("cnonce"), STR("n=x,r=cnonce") };
	struct scram_first_reply r;
	struct scram_final_request e = { session2, 0, STR_NONE, { 0 } };
	struct verify_reply out;
	struct str head, tail;
	char server_final[100];

	verifier_scram_first(w->v, &f, w, a, &r);
	if (r.outcome != VERIFY_OK)
		return r.outcome;
	EXPECT(str_starts(r.server_first, STR("r=cnonce")) && r.server_first.n > 40);
	str_cut(r.server_first, ',', &head, &tail);
	e.scram_id = r.scram_id;
	e.without_proof = arena_printf(a, "c=biws," STR_FMT, STR_ARG(head));
	scram_client(a, password, f.client_first_bare, r.server_first, e.without_proof, e.proof, server_final, sizeof server_final);
	verifier_scram_final(w->v, &e, asker2, a, &out);
	w->reply = out;
	if (out.outcome == VERIFY_OK)
		EXPECT_STR(out.server_final, server_final);
	struct verify_reply again;
	verifier_scram_final(w->v, &e, w, a, &again);
	if (asker2 == w && session2 == 77)
		EXPECT_INT(again.outcome, VERIFY_BUSY);  /* good for one try */
	return out.outcome;
}

static struct str salt_of(struct world *w, struct arena *a, const char *login)
{
	struct scram_first_request f = { PROTOCOL_IMAP, 77, STR("192.0.2.7"), str_of(login), STR("c"), STR("n=x,r=c") };
	struct scram_first_reply r;
	struct str nonce, rest, salt, i;

	verifier_scram_first(w->v, &f, w, a, &r);
	str_cut(r.server_first, ',', &nonce, &rest);
	str_cut(rest, ',', &salt, &i);
	return salt;
}

TEST(scram)
{
	struct world w;
	struct arena a = { 0 };
	char phone[200], tablet[200];

	open_world(&w, 0, true);
	command(&w, SECRET_APP_ADD, 1, 0, 0, "phone", "");
	snprintf(phone, sizeof phone, "%s", w.text);
	command(&w, SECRET_APP_ADD, 1, 0, 1u << PROTOCOL_POP3, "tablet", "");
	snprintf(tablet, sizeof tablet, "%s", w.text);
	EXPECT_INT(scram(&w, &a, "alice@example.test", phone, &w, 77), VERIFY_OK);
	check_grant(&w, 1, 5, 1);
	EXPECT_INT(scram(&w, &a, "alice@example.test", tablet, &w, 77), VERIFY_NOT_ALLOWED);
	EXPECT_INT(scram(&w, &a, "alice@example.test", "wonderland", &w, 77), VERIFY_USE_APP_PASSWORD);
	EXPECT_INT(scram(&w, &a, "bob@example.test", "wonderland", &w, 77), VERIFY_USE_APP_PASSWORD);
	EXPECT_INT(scram(&w, &a, "nobody@example.test", "wonderland", &w, 77), VERIFY_USE_APP_PASSWORD);
	EXPECT_INT(scram(&w, &a, "alice@example.test", phone, &a, 77), VERIFY_BUSY);   /* another gate */
	EXPECT_INT(scram(&w, &a, "alice@example.test", phone, &w, 78), VERIFY_BUSY);   /* another session */
	EXPECT(str_eq(salt_of(&w, &a, "nobody@example.test"), salt_of(&w, &a, "Nobody@example.test")));
	EXPECT(str_eq(salt_of(&w, &a, "alice@example.test"), salt_of(&w, &a, "al@example.test")));
	EXPECT(!str_eq(salt_of(&w, &a, "alice@example.test"), salt_of(&w, &a, "nobody@example.test")));
	for (int i = 0; i < 700; i++)  /* more than the table holds */
		salt_of(&w, &a, "nobody@example.test");
	test_now_ms += 70000;
	verifier_tick(w.v);
	arena_free(&a);
	close_world(&w);
}

/* Whoever begins exchanges and ends none takes nobody's place but his own network's. */
TEST(unfinished_scram_exchanges_do_not_push_out_others)
{
	struct world w;
	struct arena a = { 0 };
	char phone[200], server_final[100];
	struct scram_first_request f = { PROTOCOL_IMAP, 77, STR("192.0.2.7"), STR("alice@example.test"), STR("cnonce"), STR("n=x,r=cnonce") };
	struct scram_first_request flood = { PROTOCOL_IMAP, 78, STR("198.51.100.1"), STR("alice@example.test"), STR("c"), STR("n=x,r=c") };
	struct scram_final_request e = { .session = 77 };
	struct scram_first_reply r, ignored;
	struct str head, tail;
	struct verify_reply out;

	open_world(&w, 0, true);
	command(&w, SECRET_APP_ADD, 1, 0, 0, "phone", "");
	snprintf(phone, sizeof phone, "%s", w.text);
	verifier_scram_first(w.v, &f, &w, &a, &r);
	for (int i = 0; i < 2000; i++) {
		test_now_ms++;
		flood.peer = arena_printf(&a, "198.51.100.%d", 1 + i % 250);
		verifier_scram_first(w.v, &flood, &w, &a, &ignored);
		EXPECT_INT(ignored.outcome, VERIFY_OK);
	}
	str_cut(r.server_first, ',', &head, &tail);
	e.scram_id = r.scram_id;
	e.without_proof = arena_printf(&a, "c=biws," STR_FMT, STR_ARG(head));
	scram_client(&a, phone, f.client_first_bare, r.server_first, e.without_proof, e.proof, server_final, sizeof server_final);
	verifier_scram_final(w.v, &e, &w, &a, &out);
	EXPECT_INT(out.outcome, VERIFY_OK);
	arena_free(&a);
	close_world(&w);
}

/* Ten connections of one program bring the same password at once: one yescrypt answers all of them, and a crowd gets BUSY. */
static void on_count(void *context, const struct verify_reply *r) { ((int *)context)[r->outcome]++; }

TEST(storm)
{
	struct world w;
	struct verify_request r = { PROTOCOL_IMAP, 77, STR("192.0.2.7"), STR("alice@example.test"), STR("wonderland") };
	int got[VERIFY_OUTCOME_COUNT] = { 0 };

	open_world(&w, 0, false);
	for (int i = 0; i < 80; i++)
		verifier_ask(w.v, &r, on_count, got);
	EXPECT_INT(got[VERIFY_BUSY], 16);     /* 64 of one account wait */
	verifier_receive(w.v);
	EXPECT_INT(got[VERIFY_OK], 64);
	close_world(&w);
}
