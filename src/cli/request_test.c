/* From words to what is asked. */
#include "base/test.h"
#include "admin/wire.h"
#include "cli/completion.h"
#include "cli/flags.h"
#include "cli/help.h"
#include "cli/render.h"

/* The args as JSON with sorted keys, or NULL when the words are refused. */
static struct str parse(struct cli *c, const char *command, const char *typed)
{
	CLEANUP(admin_json_free) json_t *args = NULL;
	enum admin_command found;
	struct str words[20], rest = str_of(typed);
	size_t n = 0;

	if (!admin_command_named(str_of(command), &found))
		return STR("no such command");
	while (rest.n)
		str_cut(rest, ' ', &words[n++], &rest);
	args = request_arguments(c, found, words, n);
	if (args == NULL)
		return STR_NONE;
	char text[1000];
	size_t length = json_dumpb(args, text, sizeof(text), JSON_COMPACT | JSON_SORT_KEYS);
	return str_copy(&c->arena, str_make(text, length));
}

TEST(words_become_arguments)
{
	static const struct { const char *command, *typed, *args; } cases[] = {
		{ "domain add", "example.org", "{\"domain\":\"example.org\"}" },
		{ "domain add", "", NULL },                                       /* the domain is missing */
		{ "domain add", "a.example b.example", NULL },                    /* one word too many */
		{ "account list", "", "{}" },
		{ "account list", "--deleted", "{\"deleted\":true}" },
		{ "account list", "--deleted=yes", NULL },                        /* a switch takes no value */
		{ "account list", "--delted", NULL },
		{ "alias add", "info@x.test a@x.test b@x.test",
		  "{\"alias\":\"info@x.test\",\"target\":[\"a@x.test\",\"b@x.test\"]}" },
		{ "config set", "quota 10GB --account bob@x.test",
		  "{\"account\":\"bob@x.test\",\"setting\":\"quota\",\"value\":\"10GB\"}" },
		{ "config set", "--account=bob@x.test quota 10GB",
		  "{\"account\":\"bob@x.test\",\"setting\":\"quota\",\"value\":\"10GB\"}" },
		{ "config set", "quota 10GB --account", NULL },                   /* its value is missing */
		{ "config set", "address_separator -- --", "{\"setting\":\"address_separator\",\"value\":\"--\"}" },
		{ "account add", "bob@x.test --generate", "{\"address\":\"bob@x.test\",\"generate\":true}" },
	};
	struct cli c = { .lang = LANG_EN };

	EACH(cases, x) EXPECT_STR(parse(&c, x->command, x->typed), x->args);
	arena_free(&c.arena);
}

static bool offers(struct str words, const char *word)
{
	CLEANUP(buf_free) struct buf all = BUF(64 << 10), line = BUF(200);

	buf_printf(&all, "\n" STR_FMT, STR_ARG(words));
	buf_printf(&line, "\n%s\n", word);
	return str_find(buf_str(&all), buf_str(&line)) >= 0;
}

TEST(what_may_come_next)
{
	static const struct { const char *typed, *offered, *not; } cases[] = {
		{ "", "account", "share" },
		{ "account", "share", "account" },
		{ "account share a@x.test", "INBOX", "read" },
		{ "account share a@x.test INBOX", "anyone", "read" },
		{ "account share a@x.test INBOX bob@x.test", "read", "lire" },
		{ "account share a@x.test INBOX bob@x.test", "--inside", "anyone" },
		{ "account share a@x.test INBOX bob@x.test read", "--deny", "read" },
		{ "account share --inside a@x.test INBOX bob@x.test", "write", "INBOX" },
		{ "config set", "quota", "on" },
		{ "config get", "quota", "on" },
		{ "config set submit_watch", "on", "quota" },
		{ "config set quota", "--account", "on" },
		{ "route add example.net relay.example.net --tls", "verify", "--login" },
		{ "route add example.net", "direct", "verify" },
		{ "app-password add a@x.test phone --for", "imap", "--for" },
		{ "completion", "zsh", "bash|zsh|fish" },
		{ "help account", "share", "--json" },
		{ "selftest", "isolation", "serve" },
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf out = BUF(64 << 10);
		struct str words[20], rest = str_of(c->typed);
		size_t n = 0;
		while (rest.n)
			str_cut(rest, ' ', &words[n++], &rest);
		completion_words(&out, LANG_EN, words, n);
		if (!offers(buf_str(&out), c->offered) || offers(buf_str(&out), c->not))
			print_error("facteur %s: offers\n" STR_FMT "\n", c->typed, STR_ARG(buf_str(&out)));
		EXPECT(offers(buf_str(&out), c->offered) && !offers(buf_str(&out), c->not));
	}
}

TEST(flags_in_any_place)
{
	static const struct { const char *argv[6]; bool is_good, yes; const char *host, *word; } cases[] = {
		{ { "setup", "example.org", "--yes" },              true,  true,  NULL,   "example.org" },
		{ { "setup", "--hostname", "mx.x", "example.org" }, true,  false, "mx.x", "example.org" },
		{ { "setup", "--hostname=mx.x" },                   true,  false, "mx.x", NULL },
		{ { "setup", "--", "--yes" },                       true,  false, NULL,   "--yes" },
		{ { "setup", "--hostname" },                        false, false, NULL,   NULL },
		{ { "setup", "--yess" },                            false, false, NULL,   NULL },
		{ { "setup", "a", "b" },                            false, false, NULL,   NULL },
	};
	struct cli c = { .lang = LANG_EN };

	EACH(cases, x) {
		bool yes = false;
		struct str host = STR_NONE, word[1] = { STR_NONE };
		size_t n;
		int argc = 0;
		const struct flag flags[] = { { "yes", &yes, NULL }, { "hostname", NULL, &host }, { 0 } };
		while (argc < 6 && x->argv[argc])
			argc++;
		EXPECT(flags_parse(&c, argc, (char **)(uintptr_t)x->argv, flags, word, 1, &n) == x->is_good);
		if (!x->is_good)
			continue;
		EXPECT(yes == x->yes);
		EXPECT_STR(host, x->host);
		EXPECT_STR(word[0], x->word);
	}
	arena_free(&c.arena);
}

TEST(a_slip_of_the_finger_is_understood)
{
	static const char *const words[] = { "serve", "setup", "status", "sendmail" };
	static const struct { const char *typed, *meant; } cases[] = {
		{ "sevre", "serve" }, { "setpu", "setup" }, { "stat", "status" }, { "sendmial", "sendmail" },
		{ "backup", NULL }, { "", NULL },
	};

	EACH(cases, c) {
		const char *near = word_nearest(str_of(c->typed), words, COUNT_OF(words));
		EXPECT_STR(str_of(near), c->meant);
	}
}

TEST(values_for_people)
{
	static const struct { enum admin_column_kind kind; const char *json, *english, *french; } cases[] = {
		{ ADMIN_COLUMN_TEXT,    "\"x\"",         "x",           "x" },
		{ ADMIN_COLUMN_NUMBER,  "1200",          "1200",        "1200" },
		{ ADMIN_COLUMN_SIZE,    "0",             "0 B",         "0 o" },
		{ ADMIN_COLUMN_SIZE,    "999",           "999 B",       "999 o" },
		{ ADMIN_COLUMN_SIZE,    "1536",          "1.5 kB",      "1,5 ko" },
		{ ADMIN_COLUMN_SIZE,    "5242880",       "5 MB",        "5 Mo" },     /* as it was typed: quota 5MB */
		{ ADMIN_COLUMN_SIZE,    "1048570",       "1 MB",        "1 Mo" },     /* never "1024 kB" */
		{ ADMIN_COLUMN_SIZE,    "10737418240",   "10 GB",       "10 Go" },
		{ ADMIN_COLUMN_LIMIT,   "0",             "no limit",    "sans limite" },
		{ ADMIN_COLUMN_LIMIT,   "1024",          "1 kB",        "1 ko" },
		{ ADMIN_COLUMN_TIME,    "0",             "never",       "jamais" },
		{ ADMIN_COLUMN_SWITCH,  "true",          "yes",         "oui" },
		{ ADMIN_COLUMN_LIST,    "[\"a\",\"b\"]", "a, b",        "a, b" },
		{ ADMIN_COLUMN_PERCENT, "12",            "12 %",        "12 %" },
		{ ADMIN_COLUMN_WORD,    "\"suspended\"", "suspended",   "suspendu" },
		{ ADMIN_COLUMN_WORD,    "\"bob\"",       "bob",         "bob" },
		{ ADMIN_COLUMN_WORD,    "\"being erased\"",   "being erased",   "en cours d'effacement" },
		{ ADMIN_COLUMN_WORD,    "\"server, domain\"", "server, domain", "serveur, domaine" },
		{ ADMIN_COLUMN_WORD,    "\"trash\"",     "trash",       "corbeille" },
		{ ADMIN_COLUMN_TEXT,    "null",          "",            "" },
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		json_t *v = json_loads(c->json, JSON_DECODE_ANY, NULL);
		EXPECT_STR(render_value(&a, LANG_EN, c->kind, v), c->english);
		EXPECT_STR(render_value(&a, LANG_FR, c->kind, v), c->french);
		json_decref(v);
	}
}

TEST(every_command_has_help)
{
	for (size_t i = 0; i < builtin_count; i++)
		EXPECT(builtins[i].meaning[LANG_EN][0] && builtins[i].meaning[LANG_FR][0]);
	EXPECT(help_has_group(STR("account")));
	EXPECT(!help_has_group(STR("acc")));
}

static struct str without_blanks(struct arena *a, const struct buf *b)
{
	char *out = arena_alloc(a, b->n + 1);
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->p[i] != ' ' && b->p[i] != '\n')
			out[n++] = b->p[i];
	return str_make(out, n);
}

/* On a narrow terminal help has more lines, and not less to say. */
TEST(no_help_is_cut)
{
	const struct { struct str words[2]; size_t n; } cases[] = { { { STR("") }, 0 }, { { STR("account") }, 1 }, { { STR("account"), STR("share") }, 2 } };

	EACH(cases, t) {
		struct cli narrow = { .style = { .width = 60 } }, wide = { .lang = LANG_EN };
		CLEANUP(buf_free) struct buf lines = BUF(1 << 20);
		CLEANUP(buf_free) struct buf whole = BUF(1 << 20);
		EXPECT(help_put(&narrow, t->words, t->n, &lines) && help_put(&wide, t->words, t->n, &whole));
		EXPECT(lines.n > whole.n && str_eq(without_blanks(&wide.arena, &lines), without_blanks(&wide.arena, &whole)));
		arena_free(&narrow.arena);
		arena_free(&wide.arena);
	}
}
