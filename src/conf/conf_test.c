#include "base/test.h"
#include "conf/conf.h"
#include <sys/stat.h>
#include <unistd.h>

TEST(every_default_is_a_value)
{
	struct conf *c = conf_new();
	CLEANUP(arena_free) struct arena a = { 0 };

	for (int s = 0; s < SETTING_COUNT; s++) {
		struct conf_problem p;
		EXPECT(conf_set(c, (enum setting)s, str_of(setting_row((enum setting)s)->fallback), &p));
		EXPECT(conf_set(c, (enum setting)s, conf_show(&a, c, (enum setting)s), &p));
		EXPECT(setting_row((enum setting)s)->meaning_fr[0] && setting_row((enum setting)s)->meaning_en[0]);
	}
	conf_free(c);
}

TEST(values)
{
	static const struct { enum setting s; const char *in; enum conf_problem_kind kind; uint64_t number; const char *shown; } cases[] = {
		{ SETTING_message_size_max, "64MB", CONF_FINE, 64 << 20, "64MB" },
		{ SETTING_message_size_max, "2097152", CONF_FINE, 2 << 20, "2MB" },
		{ SETTING_message_size_max, "3 Mo", CONF_FINE, 3 << 20, "3MB" },
		{ SETTING_message_size_max, "1.5MB", CONF_NOT_A_VALUE, 0, NULL },
		{ SETTING_message_size_max, "1", CONF_TOO_SMALL, 0, NULL },
		{ SETTING_message_size_max, "99TB", CONF_TOO_LARGE, 0, NULL },
		{ SETTING_message_size_max, "99999999999999999999TB", CONF_NOT_A_VALUE, 0, NULL },  /* overflows 64 bits */
		{ SETTING_quota, "0", CONF_FINE, 0, "0" },
		{ SETTING_imap_idle_timeout, "90m", CONF_FINE, 5400, "90m" },
		{ SETTING_imap_idle_timeout, "90 apples", CONF_NOT_A_VALUE, 0, NULL },
		{ SETTING_scram, "oui", CONF_FINE, 1, "on" },
		{ SETTING_scram, "maybe", CONF_NOT_A_VALUE, 0, NULL },
		{ SETTING_hostname, "mail.example.test", CONF_FINE, 17, "mail.example.test" },
		{ SETTING_hostname, "a\nb", CONF_NOT_A_VALUE, 0, NULL },
		{ SETTING_address_separator, "", CONF_FINE, 0, "" },
		{ SETTING_address_separator, "++", CONF_TOO_LARGE, 0, NULL },
		{ SETTING_imap_message_limit, "999", CONF_TOO_SMALL, 0, NULL },
		{ SETTING_imap_message_limit, "1000", CONF_FINE, 1000, "1000" },
		{ SETTING_imap_message_limit, "0", CONF_FINE, 0, "0" },   /* none */
	};

	EACH(cases, t) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct conf *c = conf_new();
		struct conf_problem p;
		bool ok = conf_set(c, t->s, str_of(t->in), &p);
		EXPECT_INT(p.kind, t->kind);
		EXPECT_INT(ok, t->kind == CONF_FINE);
		if (ok) {
			EXPECT_INT(conf_number(c, t->s), t->number);
			EXPECT_STR(conf_show(&a, c, t->s), t->shown);
		} else {
			EXPECT(conf_explain(&a, &p, false).n > 0 && conf_explain(&a, &p, true).n > 0);
			EXPECT(!conf_is_set(c, t->s));
		}
		conf_free(c);
	}
}

TEST(names)
{
	enum setting s;

	EXPECT(setting_find(STR("Message-Size_max"), &s) && s == SETTING_message_size_max);
	EXPECT(!setting_find(STR("message_size"), &s));
	EXPECT(!setting_find(STR(""), &s));
	EXPECT_STR(str_of(setting_nearest(STR("mesage_size_max"))), "message_size_max");
	EXPECT(setting_nearest(STR("zzz")) == NULL);

	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf_problem p = conf_unknown(STR("zzz"));
	EXPECT(str_find(conf_explain(&a, &p, false), STR("config list --all")) > 0 && str_find(conf_explain(&a, &p, true), STR("config list --all")) > 0);
}

TEST(travels_and_overlays)
{
	CLEANUP(buf_free) struct buf b = BUF(CONF_ENCODED_MAX);
	struct conf *server = conf_new(), *account = conf_new();
	struct conf_problem p;

	EXPECT(conf_set(server, SETTING_quota, STR("1GB"), &p) && conf_set(server, SETTING_scram, STR("on"), &p));
	EXPECT(conf_set(account, SETTING_quota, STR("5GB"), &p));
	conf_encode(account, &b);
	struct scan s = scan_of(buf_str(&b));
	EXPECT(conf_decode(server, &s) && get_end(&s));
	EXPECT_INT(conf_number(server, SETTING_quota), 5ULL << 30);
	EXPECT(conf_on(server, SETTING_scram));
	for (size_t cut = 0; cut < b.n; cut++) {
		s = scan_of(str_sub(buf_str(&b), 0, cut));
		EXPECT(!conf_decode(server, &s) || !get_end(&s));
	}
	conf_free(server);
	conf_free(account);
}

/* What stands in the place of facteur.conf and is no text to be read: nobody waits for it, and what it should be is said. */
TEST(no_plain_file)
{
	enum { FOLDER, PIPE, HUGE, UNENDED };
	const char *dir = test_dir();

	for (int i = FOLDER; i <= UNENDED; i++) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct conf *c = conf_new();
		struct conf_problem p;
		const char *path = arena_printf(&a, "%s/facteur.conf", dir).p;

		if (i == FOLDER) {
			EXPECT(mkdir(path, 0700) == 0);
		} else if (i == PIPE) {
			EXPECT(mkfifo(path, 0600) == 0);
		} else if (i == HUGE) {
			FILE *f = fopen(path, "w");
			for (int k = 0; f && k < 1 << 20; k++)
				fputc('#', f);
			if (f)
				fclose(f);
		} else {
			EXPECT(symlink("/dev/zero", path) == 0);
		}
		EXPECT(!conf_read_file(c, path, &p));
		EXPECT_INT(p.kind, CONF_NO_PLAIN_FILE);
		EXPECT_STR(conf_explain(&a, &p, false), "facteur.conf must be a plain file of at most 64 kB");
		EXPECT(str_find(conf_explain(&a, &p, true), STR("64 ko")) > 0);
		EXPECT(remove(path) == 0);
		conf_free(c);
	}
	test_dir_remove(dir);
}

static const char *put_file(struct arena *a, const char *dir, const char *text)
{
	const char *path = arena_printf(a, "%s/facteur.conf", dir).p;
	FILE *f = fopen(path, "w");

	EXPECT(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
	return path;
}

/* Each sentence says what to do, and only what can be done: a switch has no second value. */
TEST(sentences_of_a_file)
{
	static const struct { const char *text, *says; } cases[] = {
		{ "bind = ::1\nbind = 127.0.0.1\n", "facteur.conf, line 2: bind is set above already: keep one line, with spaces between values" },
		{ "sandbox = on\nsandbox = off\n", "facteur.conf, line 2: sandbox is set above already: keep one line" },
		{ "bind = ::1\n  127.0.0.1\n", "facteur.conf, line 2: this line does not read \"name = value\": write each setting into one line, comments behind #" },
	};
	const char *dir = test_dir();

	EACH(cases, t) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct conf *c = conf_new();
		struct conf_problem p;
		const char *path = put_file(&a, dir, t->text);

		EXPECT(!conf_read_file(c, path, &p));
		EXPECT_STR(conf_explain(&a, &p, false), t->says);
		EXPECT(conf_explain(&a, &p, true).n > 0);
		conf_free(c);
	}
	test_dir_remove(dir);
}

#define ADDRESSES "2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:7777 "
#define LONG_LINE "bind = " ADDRESSES ADDRESSES ADDRESSES ADDRESSES "::1\n"

TEST(file)
{
	static const struct { const char *text; enum conf_problem_kind kind; int line; } cases[] = {
		{ "", CONF_FINE, 0 },
		{ "# comment\nbind = 127.0.0.1 ::1\nsandbox=off\n", CONF_FINE, 0 },
		{ "bind = ::1\nquota = 5GB\n", CONF_WRONG_PLACE, 2 },
		{ "bnd = ::1\n", CONF_UNKNOWN, 1 },
		{ "\n\nport-offset = many\n", CONF_NOT_A_VALUE, 3 },
		{ "just words\n", CONF_SYNTAX, 1 },
		{ "; comment\r\n[section]\r\n  sandbox = off\r\nbind\t=127.0.0.1 ::1", CONF_FINE, 0 },
		{ "\xef\xbb\xbf" "bind = 127.0.0.1 ::1\nsandbox=off\n", CONF_FINE, 0 },  /* as Windows begins a file */
		{ "bind = 127.0.0.1\n  ::1\n", CONF_SYNTAX, 2 },              /* not "::1 alone", which would be half of what was meant */
		{ "bind = 127.0.0.1\nsandbox=on\nbind = ::1\n", CONF_TWICE, 3 },
		{ "bind =\nbind = ::1\n", CONF_TWICE, 2 },
		{ "= ::1\n", CONF_UNKNOWN, 1 },
		{ LONG_LINE, CONF_FINE, 0 },
	};
	const char *dir = test_dir();

	EACH(cases, t) {
		CLEANUP(arena_free) struct arena a = { 0 };
		const char *path = put_file(&a, dir, t->text);
		struct conf *c = conf_new();
		struct conf_problem p;
		EXPECT_INT(conf_read_file(c, path, &p), t->kind == CONF_FINE);
		EXPECT_INT(p.kind, t->kind);
		EXPECT_INT(p.line, t->line);
		if (t->kind == CONF_FINE && strstr(t->text, "sandbox"))
			EXPECT(!conf_on(c, SETTING_sandbox) && str_eq(conf_text(c, SETTING_bind), STR("127.0.0.1 ::1")));
		unlink(path);
		conf_free(c);
	}
	test_dir_remove(dir);
}
