/* The commands as an administrator uses them, on a data folder without a server: requests as JSON, replies as he would see them. */
#include "admin/offline_test.h"
#include "auth/command.h"
#include "base/bytes.h"
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TEST(every_row_of_the_tables_fits_together)
{
	for (int c = 0; c < ADMIN_COMMAND_COUNT; c++) {
		const struct admin_command_row *row = admin_command_row((enum admin_command)c);
		struct admin_argument arguments[ADMIN_ARGUMENTS_MAX];
		const struct admin_column *columns[ADMIN_COLUMNS_MAX];
		size_t n = admin_usage((enum admin_command)c, arguments);
		bool was_optional = false;
		EXPECT(utf8_valid(str_of(row->meaning[LANG_FR])) && *row->meaning[LANG_EN]);
		for (size_t i = 0; i < n; i++) {
			EXPECT(arguments[i].is_option || !was_optional || arguments[i].is_optional);  /* what may be missing comes last */
			was_optional = was_optional || arguments[i].is_optional;
			EXPECT(!arguments[i].is_option || arguments[i].is_optional);
			EXPECT(!arguments[i].is_many || i + 1 == n);
			EXPECT((arguments[i].placeholder.n > 0) == (arguments[i].is_option && (arguments[i].kind == ADMIN_TEXT || arguments[i].kind == ADMIN_FILE)));
		}
		admin_columns((enum admin_command)c, columns);
	}
}

TEST(the_longest_command_is_meant)
{
	static const struct { const char *argv[5]; const char *words; } cases[] = {
		{ { "account", "add", "bob@x" }, "account add" }, { { "sessions" }, "sessions" }, { { "sessions", "end", "bob@x" }, "sessions end" },
		{ { "sessions", "bob@x" }, "sessions" }, { { "group", "member", "add" }, "group member add" }, { { "group", "member" }, NULL },
		{ { "acount", "add" }, NULL }, { { "account" }, NULL },
	};

	EACH(cases, t) {
		struct str argv[5];
		enum admin_command found;
		size_t n = 0, taken;
		for (; n < 5 && t->argv[n]; n++)
			argv[n] = str_of(t->argv[n]);
		bool is_there = admin_command_find(argv, n, &found, &taken);
		EXPECT_STR(is_there ? str_of(admin_command_row(found)->words) : STR_NONE, t->words);
	}
	EXPECT_STR(str_of(admin_command_nearest(STR("acount ad"))), "account add");
	EXPECT(admin_command_nearest(STR("xyzzy")) == NULL);
}

TEST(requests_that_make_no_sense)
{
	struct admin_offline *o = begin();
	static const char *const requests[] = {
		"", "{", "[]", "null", "{}", "{\"command\":3}", "{\"command\":\"account add\",\"args\":[]}", "{\"command\":\"account add\",\"args\":{}}",
		"{\"command\":\"account add\",\"args\":{\"address\":3}}", "{\"command\":\"account add\",\"args\":{\"address\":\"a@example.test\",\"x\":\"y\"}}",
		"{\"command\":\"account add\",\"args\":{\"address\":\"a@example.test\",\"generate\":\"yes\"}}",
		"{\"command\":\"alias add\",\"args\":{\"alias\":\"a@example.test\",\"target\":[]}}",
		"{\"command\":\"alias add\",\"args\":{\"alias\":\"a@example.test\",\"target\":\"b@example.test\"}}",
		"{\"command\":\"format disk\"}", "{\"command\":\"account add\",\"args\":{\"address\":\"a\\u0000@example.test\"}}",
	};

	EACH(requests, r) {
		struct answer a = { .rows = json_array() };
		admin_run(admin_offline_host(o), str_of(*r), collect, &a);
		EXPECT_INT(a.ends, 1);
		EXPECT_STR(str_of(text(a.last, "error")), "invalid");
		answer_free(&a);
	}
	wants(o, "status", "", -1, "accounts", "0");
	end();
}

TEST(domains)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "domain add", "'domain':'Example.TEST'", "exists" },
		{ "domain add", "'domain':'-'", "invalid" },
		{ "domain add", "'domain':'bücher.example'", "" },
		{ "domain catch-all", "'domain':'example.test'", "invalid" },               /* neither an address nor --remove */
		{ "domain catch-all", "'domain':'example.test','target':'nobody@example.test'", "notfound" },
		{ "domain catch-all", "'domain':'example.test','target':'somebody@elsewhere.example'", "" },
		{ "domain catch-all", "'domain':'example.test','remove':true", "" },
		{ "account add", "'address':'bob@example.test'", "" },
		{ "domain remove", "'domain':'example.test'", "conflict" },
		{ "domain remove", "'domain':'BÜCHER.example'", "" },
		{ "domain remove", "'domain':'bücher.example'", "notfound" },
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "domain list", "", 0, "domain", "\"example.test\"");
	wants(o, "domain list", "", 0, "accounts", "1");
	end();
}

static const char *record(const struct answer *a, const char *name, const char *key)
{
	json_t *row;
	size_t i;

	json_array_foreach(a->rows, i, row)
		if (strcmp(text(row, "name"), name) == 0 && strcmp(text(row, "type"), "A") != 0)
			return text(row, key);
	return "";
}

/* The DKIM record of an algorithm, "k=rsa". */
static const json_t *key_record(const struct answer *a, const char *type)
{
	json_t *row;
	size_t i;

	json_array_foreach(a->rows, i, row)
		if (strstr(text(row, "name"), "._domainkey.") != NULL && strstr(text(row, "value"), type) != NULL)
			return row;
	return NULL;
}

TEST(records_to_publish)
{
	struct admin_offline *o = begin();
	struct answer first, again, zone;
	json_t *row;
	size_t i;

	gives(o, "domain dns", "'domain':'elsewhere.example'", "notfound");
	gives(o, "domain add", "'domain':'second.example'", "");
	first = ask(o, "domain dns", "'domain':'example.test'");
	EXPECT_STR(str_of(record(&first, "example.test", "value")), "10 mail.example.test.");
	EXPECT_STR(str_of(record(&first, "_dmarc.example.test", "value")), "v=DMARC1; p=none");
	EXPECT_STR(str_of(record(&first, "_imaps._tcp.example.test", "value")), "0 1 993 mail.example.test.");
	EXPECT(key_record(&first, "k=rsa") != NULL && key_record(&first, "k=ed25519") != NULL);
	again = ask(o, "domain dns", "'domain':'Example.TEST'");
	EXPECT(json_equal(first.rows, again.rows));  /* asking makes no second key */
	zone = ask(o, "domain dns", "'domain':'example.test','zone':true");
	json_array_foreach(zone.rows, i, row) {
		struct str line = str_of(text(row, "zone")), head, tail;

		EXPECT(line.n > 0);
		if (line.p[0] == ';')
			continue;
		EXPECT(str_cut(line, ' ', &head, &tail) && str_ends(head, STR("example.test.")) && str_starts(tail, STR("IN ")));
		for (bool more = str_find(line, STR("IN TXT")) > 0; more;) {  /* no string of a TXT record is over 255 bytes */
			str_cut(tail, '"', &head, &tail);
			more = str_cut(tail, '"', &head, &tail) && tail.n > 0;
			EXPECT(head.n > 0 && head.n <= 255);
		}
	}
	answer_free(&first);
	answer_free(&again);
	answer_free(&zone);
	/* the host is of another zone: nothing about it here */
	first = ask(o, "domain dns", "'domain':'second.example'");
	EXPECT_STR(str_of(record(&first, "second.example", "value")), "10 mail.example.test.");
	EXPECT_STR(str_of(record(&first, "mail.example.test", "value")), "");
	answer_free(&first);
	end();
}

/* A domain that promises TLS has two records more; their id is another one when the promise is. */
TEST(records_of_a_policy)
{
	struct admin_offline *o = begin();
	struct answer before = ask(o, "domain dns", "'domain':'example.test'"), testing, enforced;

	EXPECT_STR(str_of(record(&before, "_mta-sts.example.test", "value")), "");
	EXPECT_STR(str_of(record(&before, "_smtp._tls.example.test", "value")), "v=TLSRPTv1; rua=mailto:postmaster@example.test");
	gives(o, "config set", "'setting':'mta_sts','value':'always','domain':'example.test'", "invalid");
	gives(o, "config set", "'setting':'mta_sts_hosts','value':'mx.example.net not_a_host'", "invalid");
	gives(o, "config set", "'setting':'mta_sts_hosts','value':'mx.example.net *.example.com'", "");
	gives(o, "config set", "'setting':'mta_sts','value':'testing','domain':'example.test'", "");
	testing = ask(o, "domain dns", "'domain':'example.test'");
	EXPECT(str_starts(str_of(record(&testing, "_mta-sts.example.test", "value")), STR("v=STSv1; id=")));
	EXPECT_STR(str_of(record(&testing, "mta-sts.example.test", "value")), "mail.example.test.");
	gives(o, "config set", "'setting':'mta_sts','value':'enforce','domain':'example.test'", "");
	enforced = ask(o, "domain dns", "'domain':'example.test'");
	EXPECT(strcmp(record(&testing, "_mta-sts.example.test", "value"), record(&enforced, "_mta-sts.example.test", "value")) != 0);
	gives(o, "tls list", "", "unavailable");
	answer_free(&before);
	answer_free(&testing);
	answer_free(&enforced);
	end();
}

TEST(the_life_of_an_account)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "account add", "'address':'bob@example.test','password':'secret','name':'Bob Martin','lang':'fr','quota':'1GB'", "" },
		{ "account add", "'address':'BOB@example.test'", "exists" },
		{ "account add", "'address':'bob@elsewhere.example'", "notfound" },
		{ "account add", "'address':'bob'", "invalid" },
		{ "account add", "'address':'eve@example.test','lang':'de'", "invalid" },
		{ "account add", "'address':'eve@example.test','quota':'much'", "invalid" },
		{ "account add", "'address':'eve@example.test','password':'x','generate':true", "invalid" },
		{ "account add", "'address':'eve@example.test','hash':'nonsense'", "invalid" },
		{ "account show", "'address':'eve@example.test'", "notfound" },             /* nothing of all that was made */
		{ "account add", "'address':'eve@example.test','hash':'{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9gxMjM0'", "" },
		{ "account password", "'address':'bob@example.test'", "invalid" },
		{ "account password", "'address':'bob@example.test','password':''", "invalid" },
		{ "account password", "'address':'bob@example.test','generate':true", "" },
		{ "account suspend", "'address':'bob@example.test'", "" },
		{ "account resume", "'address':'bob@example.test'", "" },
		{ "account sending", "'stop':true", "invalid" },
		{ "account sending", "'address':'bob@example.test','stop':true,'allow':true", "invalid" },
		{ "account sending", "'address':'bob@example.test','stop':true,'reason':'signs: BULK=1/1/1'", "invalid" },
		{ "account sending", "'address':'nobody@example.test','stop':true", "notfound" },
		{ "account describe", "'address':'bob@example.test'", "invalid" },
		{ "account describe", "'address':'bob@example.test','name':'Robert'", "" },
		{ "account rename", "'address':'bob@example.test','new_address':'eve@example.test'", "exists" },
		{ "account rename", "'address':'bob@example.test','new_address':'robert@example.test'", "" },
		{ "account show", "'address':'bob@example.test'", "" },                     /* the old address still leads there */
		{ "account undelete", "'address':'robert@example.test'", "conflict" },
		{ "account delete", "'address':'robert@example.test'", "" },
		{ "account delete", "'address':'robert@example.test'", "notfound" },
		{ "account password", "'address':'robert@example.test','password':'x'", "notfound" },
		{ "account add", "'address':'robert@example.test'", "exists" },             /* reserved */
		{ "account undelete", "'address':'robert@example.test'", "" },
		{ "account delete", "'address':'robert@example.test'", "" },
		{ "account purge", "'address':'eve@example.test','yes':true", "conflict" },
		{ "account purge", "", "denied" },                                          /* without --yes */
		{ "account purge", "'older_than':'1d','yes':true", "" },                    /* too young: nothing happens */
		{ "account undelete", "'address':'robert@example.test'", "" },
		{ "account delete", "'address':'robert@example.test'", "" },
		{ "account purge", "'yes':true", "" },
		{ "account undelete", "'address':'robert@example.test'", "notfound" },
		{ "account add", "'address':'robert@example.test'", "" },                   /* free again, another number */
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "account show", "'address':'robert@example.test'", -1, "account", "3");
	wants(o, "account show", "'address':'robert@example.test'", -1, "password_kind", "\"none\"");
	wants(o, "account show", "'address':'eve@example.test'", -1, "password_kind", "\"ssha\"");
	end();
}

/* control/ alone was put back: the numbers that were given out since then are given out again. */
TEST(a_new_account_has_nobodys_mail)
{
	struct admin_offline *o = begin();
	char path[300];

	snprintf(path, sizeof path, "%s/accounts/1", folder);
	EXPECT_INT(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/accounts/1/account.db", folder);
	FILE *f = fopen(path, "we");
	EXPECT(f != NULL && fclose(f) == 0);
	gives(o, "account add", "'address':'carol@example.test'", "exists");
	EXPECT_INT(access(path, F_OK), 0);
	wants(o, "account add", "'address':'carol@example.test'", -1, "account", "2");
	wants(o, "account list", "", 1, "address", NULL);
	end();
}

/* The same where no folder is in the way: whoever had the number does not log in to what has it now. */
TEST(a_number_that_somebody_had)
{
	struct admin_offline *o = begin();
	const struct admin_host *host = admin_offline_host(o);
	const struct secret_command old = { .op = SECRET_APP_ADD, .account = 1, .name = STR("telephone") };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct secret_reply reply;

	EXPECT_OK(host->secret(host->context, &old, &a, &reply));
	gives(o, "account add", "'address':'bob@example.test'", "");
	wants(o, "account show", "'address':'bob@example.test'", -1, "account", "1");
	wants(o, "account show", "'address':'bob@example.test'", -1, "app_passwords", "0");
	end();
}

/* The password is on disk, and then the disk is full: that nothing was changed would not be true. */
TEST(a_disk_that_fills_in_the_middle_of_a_command)
{
	struct admin_offline *o = begin();
	struct rlimit before, now;
	struct stat st;
	char room[300];

	gives(o, "account add", "'address':'bob@example.test'", "");
	for (int i = 0; i < 100; i++) {  /* so that the log of the directory is the larger one */
		snprintf(room, sizeof room, "'address':'bob@example.test','new_address':'b%d@example.test'", i);
		gives(o, "address add", room, "");
	}
	snprintf(room, sizeof room, "%s/control/directory.db-wal", folder);
	EXPECT_INT(stat(room, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	now = (struct rlimit){ (rlim_t)st.st_size, before.rlim_max };
	EXPECT_INT(setrlimit(RLIMIT_FSIZE, &now), 0);
	struct answer a = ask(o, "account password", "'address':'bob@example.test','password':'secret'");
	EXPECT_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
	EXPECT(strncmp(text(a.last, "sentence"), "whoever is logged in stays so", 29) == 0);
	answer_free(&a);
	wants(o, "account show", "'address':'bob@example.test'", -1, "password_kind", "\"yescrypt\"");
	end();
}

/* The power fails while an account is made, or while it is erased: nobody uses what is left, and a purge clears it away. */
TEST(an_account_that_is_half_there)
{
	struct admin_offline *o = begin();
	struct directory *d = admin_offline_host(o)->directory;
	struct directory_address bob = { .local = STR("bob"), .domain = STR("example.test") };
	uint64_t account;

	EXPECT_OK(account_reserve(d, &bob, STR(""), false, &account));
	gives(o, "account undelete", "'address':'bob@example.test'", "notfound");
	gives(o, "account password", "'address':'bob@example.test','password':'x'", "notfound");
	says(o, "account add", "'address':'bob@example.test'", "bob@example.test is being made at this moment, by another command: wait until that has ended");
	wants(o, "account list", "'deleted':true", 0, "state", "\"being made\"");
	wants(o, "status", "", -1, "accounts", "0");
	gives(o, "account purge", "'address':'bob@example.test','yes':true", "conflict");  /* else it would be erased as it becomes ready */
	gives(o, "account purge", "'yes':true", "");
	wants(o, "account list", "'deleted':true", 0, "address", "\"bob@example.test\"");

	admin_offline_close(o);  /* as after kill -9: nobody makes it any more */
	EXPECT_OK(admin_offline_open(folder, &offline));
	o = offline;
	d = admin_offline_host(o)->directory;
	wants(o, "account list", "'deleted':true", 0, "state", "\"being erased\"");
	gives(o, "account add", "'address':'bob@example.test'", "exists");
	gives(o, "account purge", "'yes':true,'older_than':'30d'", "");
	gives(o, "account add", "'address':'bob@example.test'", "");
	EXPECT_ERR(account_doom(d, 2), ERR_NOTFOUND);  /* it lives */
	end();
}

TEST(what_an_account_shows)
{
	struct admin_offline *o = begin();

	gives(o, "account add", "'address':'bob@example.test','password':'secret','name':'Bob','lang':'fr','quota':'1GB'", "");
	gives(o, "address add", "'address':'bob@example.test','new_address':'b@example.test'", "");
	gives(o, "alias add", "'alias':'sales@example.test','target':['B@example.test','x@elsewhere.example']", "");
	wants(o, "account show", "'address':'b@example.test'", -1, "address", "\"bob@example.test\"");
	wants(o, "account show", "'address':'bob@example.test'", -1, "lang", "\"fr\"");
	wants(o, "account show", "'address':'bob@example.test'", -1, "quota", "1073741824");
	wants(o, "account show", "'address':'bob@example.test'", -1, "addresses", "[\"b@example.test\"]");
	wants(o, "account show", "'address':'bob@example.test'", -1, "aliases", "[\"sales@example.test\"]");
	wants(o, "account show", "'address':'bob@example.test'", -1, "password_kind", "\"yescrypt\"");
	wants(o, "account show", "'address':'bob@example.test'", -1, "state", "\"active\"");
	gives(o, "account suspend", "'address':'bob@example.test'", "");
	wants(o, "account list", "", 0, "state", "\"suspended\"");
	wants(o, "account mailboxes", "'address':'bob@example.test'", 0, "mailbox", "\"INBOX\"");
	wants(o, "account mailboxes", "'address':'bob@example.test'", 0, "role", "\"inbox\"");
	wants(o, "account sending", "'address':'bob@example.test'", 0, "may_send", "\"allowed\"");
	gives(o, "account sending", "'address':'bob@example.test','stop':true,'reason':'asked for'", "");
	wants(o, "account sending", "'address':'bob@example.test'", 0, "last_day", "0");
	wants(o, "account sending", "", 0, "may_send", "\"stopped\"");
	wants(o, "account sending", "", 0, "reason", "\"asked for\"");
	gives(o, "account sending", "'address':'bob@example.test','allow':true", "");
	wants(o, "account sending", "'address':'bob@example.test'", 0, "may_send", "\"allowed\"");
	wants(o, "message undelete", "'address':'bob@example.test','since':'2d'", -1, "restored", "0");
	gives(o, "message undelete", "'address':'bob@example.test','since':'soon'", "invalid");
	gives(o, "message undelete", "'address':'bob@example.test','mailbox':'Nowhere'", "notfound");
	gives(o, "account compact", "'address':'bob@example.test'", "");
	wants(o, "account index", "'address':'bob@example.test','rebuild':true", -1, "indexed", "0");
	gives(o, "account index", "'address':'nobody@example.test'", "notfound");
	gives(o, "account check", "'address':'bob@example.test'", "");
	end();
}

/* A cell is killed, and no server runs: what only reads and what only adds works; the account stays marked for the next cell. */
TEST(an_account_that_was_not_closed_cleanly)
{
	struct admin_offline *o = begin();
	char path[300];
	int status;

	gives(o, "account add", "'address':'bob@example.test'", "");
	snprintf(path, sizeof path, "%s/accounts/1", folder);
	pid_t cell = fork();
	if (cell == 0) {
		struct view_config config = { .account = 1 };
		struct arena a = { 0 };
		struct view *v;
		bool ok = view_open(path, &config, &v) == ERR_OK && view_mailbox_create(v, STR("Work"), MAILBOX_PLAIN, &a, NULL) == ERR_OK;
		_exit(ok ? 0 : 1);
	}
	EXPECT(waitpid(cell, &status, 0) == cell && status == 0);
	for (int i = 0; i < 2; i++) {
		wants(o, "account mailboxes", "'address':'bob@example.test'", 0, "mailbox", "\"INBOX\"");
		gives(o, "message undelete", "'address':'bob@example.test'", "");
		gives(o, "account compact", "'address':'bob@example.test'", "conflict");
		gives(o, "account check", "'address':'bob@example.test'", "conflict");
	}
	end();
}

TEST(mailboxes_are_shared)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'carol@example.test','rights':'read'", "" },
		{ "account share", "'address':'bob@example.test','mailbox':'sent','who':'carol@example.test','rights':'read'", "notfound" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'nobody@example.test','rights':'read'", "notfound" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'bob@example.test','rights':'all'", "conflict" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'carol@example.test','rights':'everything'", "invalid" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'anyone','rights':'all'", "invalid" },
		/* words that happen to be made of letters of rights */
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'carol@example.test','rights':'rea'", "invalid" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'carol@example.test','rights':'wite'", "invalid" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'carol@example.test','rights':'lrz'", "invalid" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'carol@example.test','rights':'lrs'", "" },
		{ "account share", "'address':'bob@example.test','mailbox':'Sent','who':'carol@example.test','rights':'lire'", "" },   /* in French: read */
		{ "account share", "'address':'bob@example.test','mailbox':'inbox','who':'team@example.test','rights':'write','inside':true", "" },
		{ "account share", "'address':'bob@example.test','mailbox':'INBOX','who':'carol','rights':'tx','deny':true", "" },
	};

	gives(o, "account add", "'address':'bob@example.test','generate':true", "");
	gives(o, "account add", "'address':'carol@example.test','generate':true", "");
	gives(o, "group add", "'group':'team@example.test','member':['carol@example.test']", "");
	EACH(cases, c)
		gives(o, c->command, c->args, c->error);
	wants(o, "account shares", "'address':'bob@example.test'", 0, "shared_with", "\"$team@example.test\"");
	wants(o, "account shares", "'address':'bob@example.test'", 0, "may", "\"write\"");
	wants(o, "account shares", "'address':'bob@example.test'", 0, "rights", "\"lrswikxte\"");
	wants(o, "account shares", "'address':'bob@example.test'", 1, "shared_with", "\"carol@example.test\"");
	wants(o, "account shares", "'address':'bob@example.test'", 1, "may", "\"not\"");
	wants(o, "account shares", "'address':'bob@example.test'", 2, "mailbox", "\"Sent\"");
	wants(o, "account shares", "'address':'bob@example.test'", 2, "may", "\"read\"");
	wants(o, "account shares", "'address':'carol@example.test'", -1, "sharers", "[\"bob@example.test\"]");
	wants(o, "account shares", "'address':'carol@example.test'", -1, "rows", "[]");
	wants(o, "account shares", "'address':'bob@example.test'", -1, "sharers", "[]");
	gives(o, "account unshare", "'address':'bob@example.test','mailbox':'INBOX','who':'carol@example.test','deny':true", "");
	gives(o, "account unshare", "'address':'bob@example.test','mailbox':'INBOX','who':'carol@example.test','deny':true", "notfound");  /* nothing is left */
	gives(o, "account unshare", "'address':'bob@example.test','mailbox':'INBOX','who':'carol@example.test'", "notfound");
	gives(o, "account unshare", "'address':'bob@example.test','mailbox':'INBOX','who':'gone@example.test'", "notfound");
	gives(o, "group remove", "'group':'team@example.test'", "");  /* whom nobody knows any more is removed by name */
	gives(o, "account unshare", "'address':'bob@example.test','mailbox':'INBOX','who':'$team@example.test'", "");
	wants(o, "account shares", "'address':'bob@example.test'", 0, "mailbox", "\"Sent\"");
	end();
}

TEST(addresses_aliases_groups)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "account add", "'address':'bob@example.test'", "" },
		{ "account add", "'address':'eve@example.test'", "" },
		{ "address add", "'address':'bob@example.test','new_address':'eve@example.test'", "exists" },
		{ "address add", "'address':'bob@example.test','new_address':'robert@example.test'", "" },
		{ "address remove", "'address':'bob@example.test'", "conflict" },
		{ "address remove", "'address':'nobody@example.test'", "notfound" },
		{ "alias add", "'alias':'sales@example.test','target':['nobody@example.test']", "notfound" },
		{ "alias add", "'alias':'sales@example.test','target':['bob@example.test']", "" },
		{ "alias add", "'alias':'sales@example.test','target':['eve+shop@example.test','bob@example.test']", "" },
		{ "alias add", "'alias':'robert@example.test','target':['bob@example.test']", "exists" },
		{ "alias add", "'alias':'*@example.test','target':['bob@example.test']", "invalid" },
		{ "alias add", "'alias':'@example.test','target':['bob@example.test']", "invalid" },
		{ "alias add", "'alias':'sales@elsewhere.example','target':['bob@example.test']", "notfound" },
		{ "address remove", "'address':'sales@example.test'", "conflict" },
		{ "alias remove", "'alias':'sales@example.test','target':['nobody@example.test']", "notfound" },
		{ "alias remove", "'alias':'sales@example.test','target':['bob@example.test','eve+shop@example.test']", "conflict" },
		{ "alias remove", "'alias':'sales@example.test','target':['bob@example.test']", "" },
		{ "group add", "'group':'all@example.test'", "" },
		{ "group add", "'group':'all@example.test','member':['bob@example.test']", "exists" },
		{ "group member add", "'group':'all@example.test','member':['bob@example.test','eve@example.test','x@elsewhere.example']", "" },
		{ "group member add", "'group':'sales@example.test','member':['bob@example.test']", "conflict" },
		{ "group member remove", "'group':'all@example.test','member':['eve@example.test']", "" },
		{ "group member remove", "'group':'all@example.test','member':['eve@example.test']", "notfound" },
		{ "group member remove", "'group':'all@example.test','member':['bob@example.test','eve@example.test']", "notfound" },  /* all or none */
		{ "group show", "'group':'none@example.test'", "notfound" },
		{ "alias add", "'alias':'sales@example.test','target':['bob@example.test','x@elsewhere.example']", "" },
		{ "alias remove", "'alias':'sales@example.test','target':['bob@example.test','nobody@elsewhere.example']", "notfound" },
		{ "alias remove", "'alias':'sales@example.test','target':['bob@example.test','x@elsewhere.example']", "" },
		{ "alias remove", "'alias':'all@example.test'", "conflict" },
		{ "address remove", "'address':'robert@example.test'", "" },
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "alias list", "", 0, "targets", "[\"eve+shop@example.test\"]");
	wants(o, "group show", "'group':'all@example.test'", -1, "members", "[\"bob@example.test\",\"x@elsewhere.example\"]");
	wants(o, "group list", "'domain':'example.test'", 0, "member_count", "2");
	gives(o, "group remove", "'group':'all@example.test'", "");
	gives(o, "alias remove", "'alias':'sales@example.test'", "");
	wants(o, "address list", "", 1, "address", "\"eve@example.test\"");
	end();
}

TEST(details_by_the_separator_of_the_server)
{
	struct admin_offline *o = begin();

	gives(o, "account add", "'address':'bob@example.test'", "");
	gives(o, "config set", "'setting':'address_separator','value':'-'", "");
	gives(o, "alias add", "'alias':'sales@example.test','target':['bob+shop@example.test']", "notfound");
	gives(o, "alias add", "'alias':'sales@example.test','target':['bob-shop@example.test']", "");
	gives(o, "config set", "'setting':'address_separator','value':''", "");
	gives(o, "alias add", "'alias':'info@example.test','target':['bob-shop@example.test']", "notfound");
	end();
}

/* Whoever takes an address away hears who still leads there, and lists show it afterwards. */
TEST(what_leads_nowhere)
{
	struct admin_offline *o = begin();

	gives(o, "account add", "'address':'bob@example.test'", "");
	gives(o, "account add", "'address':'eve@example.test'", "");
	gives(o, "address add", "'address':'bob@example.test','new_address':'robert@example.test'", "");
	gives(o, "alias add", "'alias':'info@example.test','target':['robert@example.test','x@elsewhere.example']", "");
	gives(o, "alias add", "'alias':'sales@example.test','target':['info@example.test','postmaster@example.test']", "");
	gives(o, "group add", "'group':'team@example.test','member':['bob@example.test','eve@example.test','robert+list@example.test']", "");
	gives(o, "domain catch-all", "'domain':'example.test','target':'sales@example.test'", "");
	wants(o, "group show", "'group':'team@example.test'", -1, "strays", NULL);
	says(o, "address remove", "'address':'Robert@example.test'",
	     "Robert@example.test is not an address any more; still a target of info@example.test: mail goes nowhere by it");
	wants(o, "alias list", "", 0, "strays", "[\"robert@example.test\"]");
	wants(o, "alias list", "", 1, "strays", NULL);
	says(o, "alias remove", "'alias':'info@example.test'", "info@example.test is removed; still a target of sales@example.test: mail goes nowhere by it");
	says(o, "account rename", "'address':'eve@example.test','new_address':'EVE@example.test','drop_old':true", "eve@example.test is EVE@example.test now; the old address is free");
	says(o, "account rename", "'address':'eve@example.test','new_address':'evelyn@example.test','drop_old':true",
	     "EVE@example.test is evelyn@example.test now; the old address is free; still a target of team@example.test: mail goes nowhere by it");
	gives(o, "address add", "'address':'evelyn@example.test','new_address':'eve@example.test'", "");
	says(o, "account delete", "'address':'evelyn@example.test'",
	     "evelyn@example.test is deleted: no mail, no login; `facteur account undelete evelyn@example.test` brings it back; still a target of team@example.test: mail goes nowhere by it");
	wants(o, "group show", "'group':'team@example.test'", -1, "strays", "[\"eve@example.test\",\"robert+list@example.test\"]");
	says(o, "alias remove", "'alias':'sales@example.test'", "sales@example.test is removed");
	wants(o, "domain list", "", 0, "strays", "[\"sales@example.test\"]");
	gives(o, "route add", "'pattern':'example.test','server':'192.0.2.7'", "");
	wants(o, "domain list", "", 0, "strays", NULL);  /* the other server may have it */
	end();
}

static int64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether a target reaches somebody does not take all that it leads to: control would need a gigabyte for a list of some thousand aliases. */
TEST(many_aliases_of_a_large_group)
{
	CLEANUP(buf_free) struct buf members = BUF(100000);
	struct admin_offline *o = begin();
	int64_t began_ms;

	buf_add_cstr(&members, "'group':'all@example.test','member':['x@elsewhere.example'");
	for (int i = 0; i < 2500; i++)
		buf_printf(&members, ",'friend%d@elsewhere.example'", i);
	buf_add_cstr(&members, "]");
	buf_add_char(&members, '\0');
	gives(o, "group add", members.p, "");
	for (int i = 0; i < 200; i++) {
		char args[100];
		snprintf(args, sizeof args, "'alias':'all%d@example.test','target':['all@example.test']", i);
		gives(o, "alias add", args, "");
	}
	began_ms = cpu_ms();
	wants(o, "alias list", "", 199, "strays", NULL);
	EXPECT(cpu_ms() - began_ms < 150);
	end();
}

TEST(app_passwords)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "account add", "'address':'bob@example.test'", "" },
		{ "app-password add", "'address':'bob@example.test','label':''", "invalid" },
		{ "app-password add", "'address':'bob@example.test','label':'phone','for':'imap,telnet'", "invalid" },
		{ "app-password add", "'address':'bob@example.test','label':'phone','for':''", "invalid" },
		{ "app-password add", "'address':'bob@example.test','label':'phone','for':'imap,submission'", "" },
		{ "app-password remove", "'address':'bob@example.test','number':'two'", "notfound" },
		{ "app-password remove", "'address':'bob@example.test','number':'99'", "notfound" },
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "app-password list", "'address':'bob@example.test'", 0, "label", "\"phone\"");
	wants(o, "app-password list", "'address':'bob@example.test'", 0, "protocols", "\"imap,submission\"");
	wants(o, "account show", "'address':'bob@example.test'", -1, "app_passwords", "1");
	gives(o, "app-password remove", "'address':'bob@example.test','number':'1'", "");
	wants(o, "account show", "'address':'bob@example.test'", -1, "app_passwords", "0");
	end();
}

TEST(certificates_of_devices)
{
	struct admin_offline *o = begin();
#define PRINT "0F:1E:2D:3C:4B:5A:69:78:87:96:A5:B4:C3:D2:E1:F0:0F:1E:2D:3C:4B:5A:69:78:87:96:A5:B4:C3:D2:E1:F0"
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "account add", "'address':'bob@example.test'", "" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop'", "invalid" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop','fingerprint':'" PRINT "','file':'x'", "invalid" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop','fingerprint':'AB:CD'", "invalid" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop','file':'no certificate'", "invalid" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop','fingerprint':'" PRINT "','for':'telnet'", "invalid" },
		{ "account certificate add", "'address':'eve@example.test','label':'laptop','fingerprint':'" PRINT "'", "notfound" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop','fingerprint':'" PRINT "','for':'imap'", "" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop','fingerprint':'sha256 Fingerprint=" PRINT "'", "exists" },
		{ "account certificate add", "'address':'bob@example.test','label':'laptop','fingerprint':'" PRINT "='", "invalid" },
		{ "account certificate remove", "'address':'bob@example.test','number':'2'", "notfound" },
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "account show", "'address':'bob@example.test'", -1, "certificates", "1");
	wants(o, "account certificate list", "'address':'bob@example.test'", 0, "label", "\"laptop\"");
	wants(o, "account certificate list", "'address':'bob@example.test'", 0, "protocols", "\"imap\"");
	wants(o, "account certificate list", "'address':'bob@example.test'", 0, "fingerprint", "\"" PRINT "\"");
	gives(o, "account certificate remove", "'address':'bob@example.test','number':'1'", "");
	gives(o, "account certificate remove", "'address':'bob@example.test','number':'1'", "notfound");
	end();
}

TEST(settings)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "account add", "'address':'bob@example.test'", "" },
		{ "config set", "'setting':'quotta','value':'1GB'", "invalid" },
		{ "config set", "'setting':'quota','value':'plenty'", "invalid" },
		{ "config set", "'setting':'bind','value':'127.0.0.1'", "invalid" },         /* belongs into facteur.conf */
		{ "config set", "'setting':'scram','value':'on','domain':'example.test'", "invalid" },
		{ "config set", "'setting':'quota','value':'1GB','domain':'example.test','account':'bob@example.test'", "invalid" },
		{ "config set", "'setting':'quota','value':'1GB','domain':'elsewhere.example'", "notfound" },
		{ "config set", "'setting':'administrator','value':'nobody@example.test'", "notfound" },
		{ "config set", "'setting':'administrator','value':'bob@example.test'", "" },
		{ "config set", "'setting':'local_users','value':'www=bob@example.test'", "invalid" },
		{ "config set", "'setting':'local_users','value':'33=bob@example.test 34'", "invalid" },
		{ "config set", "'setting':'local_users','value':'33=bob@example.test 34=nobody@example.test'", "notfound" },
		{ "config set", "'setting':'local_users','value':'33=bob@example.test  34=bob@example.test'", "" },
		{ "config unset", "'setting':'local_users'", "" },
		{ "config set", "'setting':'hostname','value':'not a name'", "invalid" },
		{ "config set", "'setting':'quota','value':'10GB'", "" },
		{ "config set", "'setting':'quota','value':'5GB','domain':'example.test'", "" },
		{ "config set", "'setting':'quota','value':'1GB','account':'bob@example.test'", "" },
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "config get", "'setting':'quota'", -1, "value", "\"10GB\"");
	wants(o, "config get", "'setting':'quota','domain':'example.test'", -1, "value", "\"5GB\"");
	wants(o, "config get", "'setting':'quota','account':'bob@example.test'", -1, "value", "\"1GB\"");
	wants(o, "config get", "'setting':'quota','account':'bob@example.test'", -1, "from", "\"bob@example.test\"");
	gives(o, "config unset", "'setting':'quota','account':'bob@example.test'", "");
	wants(o, "config get", "'setting':'quota','account':'bob@example.test'", -1, "from", "\"example.test\"");
	wants(o, "account list", "", 0, "quota", "5368709120");
	wants(o, "config list", "", 0, "from", "\"facteur.conf\"");
	wants(o, "config list", "", 2, "setting", "\"administrator\"");
	wants(o, "config list", "'all':true", 0, "from", "\"default\"");
	wants(o, "config explain", "'setting':'imap-idle-timeout'", -1, "range", "\"30m … 1d\"");
	end();
}

/* mx answers for accounts whose cell sleeps from what the directory says: a new quota is judged at once. */
TEST(a_new_quota_is_judged_at_once)
{
	struct admin_offline *o = begin();
	struct directory *d = admin_offline_host(o)->directory;
	bool changed;

	gives(o, "account add", "'address':'bob@example.test'", "");
	EXPECT_OK(account_usage(d, 1, 5 << 20, 7, false, &changed));
	gives(o, "config set", "'setting':'quota','value':'4MB'", "");
	wants(o, "account list", "", 0, "state", "\"full\"");
	gives(o, "config set", "'setting':'quota','value':'10MB','account':'bob@example.test'", "");
	wants(o, "account list", "", 0, "state", "\"active\"");
	wants(o, "usage", "", 0, "percent", "50");
	end();
}

TEST(printers)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "account add", "'address':'bob@example.test'", "" },
		{ "printer add", "'ip':'everywhere','address':'bob@example.test'", "invalid" },
		{ "printer add", "'ip':'192.0.2.7','address':'eve@example.test'", "notfound" },
		{ "printer add", "'ip':'::ffff:192.0.2.7','address':'bob@example.test'", "" },
		{ "printer remove", "'ip':'192.0.2.8'", "notfound" },
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "printer list", "", 0, "ip", "\"192.0.2.7\"");
	gives(o, "printer remove", "'ip':'192.0.2.7'", "");
	end();
}

TEST(routes)
{
	struct admin_offline *o = begin();
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "route add", "'pattern':'*.example.net','server':'relay.example.net'", "invalid" },
		{ "route add", "'pattern':'*','server':'http://relay.example.net'", "invalid" },
		{ "route add", "'pattern':'*','server':'relay.example.net','tls':'always'", "invalid" },
		{ "route add", "'pattern':'*','server':'relay.example.net','login':'alice'", "invalid" },             /* no password */
		{ "route add", "'pattern':'*','server':'relay.example.net','password':'sesame'", "invalid" },         /* no login */
		{ "route add", "'pattern':'*','server':'relay.example.net','login':'alice','password':'sesame','tls':'may'", "invalid" },
		{ "route add", "'pattern':'*','server':'192.0.2.7','tls':'verify'", "invalid" },
		{ "route add", "'pattern':'*','server':'direct','tls':'verify'", "invalid" },
		{ "route add", "'pattern':'*','server':'relay.example.net','login':'alice','password':'sesame'", "" },
		{ "route add", "'pattern':'*','server':'relay.example.net','login':'alice'", "" },                    /* it is kept */
		{ "route add", "'pattern':'.Example.NET','server':'direct'", "" },
		{ "route add", "'pattern':'example.test','server':'lmtp:127.0.0.1:2400'", "" },
		{ "route remove", "'pattern':'example.net'", "notfound" },
		{ "route test", "'recipient':'bob@example.net'", "unavailable" },
	};

	gives(o, "route add", "'pattern':'example.test','server':'direct'", "");
	wants(o, "route test", "'recipient':'bob@EXAMPLE.test'", -1, "way", "\"here\"");
	EACH(cases, t) gives(o, t->command, t->args, t->error);
	says(o, "route test", "'recipient':'bob@example.test'", "the server is not running: this works only while it does. Start it with `systemctl start facteur`; without systemd, with `facteur serve`");
	wants(o, "route list", "", 0, "pattern", "\"*\"");
	wants(o, "route list", "", 0, "server", "\"relay.example.net:587\"");
	wants(o, "route list", "", 0, "tls_mode", "\"verify\"");
	wants(o, "route list", "", 0, "login", "\"alice\"");
	wants(o, "route list", "", 1, "pattern", "\".example.net\"");
	wants(o, "route list", "", 1, "server", "\"direct\"");
	wants(o, "route list", "", 2, "server", "\"lmtp:127.0.0.1:2400\"");
	gives(o, "route remove", "'pattern':'*'", "");
	gives(o, "route add", "'pattern':'*','server':'relay.example.net','login':'alice'", "invalid");  /* the password went with the route */
	end();
}

TEST(what_needs_a_server_says_so)
{
	struct admin_offline *o = begin();

	gives(o, "sessions", "", "unavailable");
	gives(o, "queue list", "", "unavailable");
	gives(o, "queue retry", "", "unavailable");
	gives(o, "queue remove", "'sender':'bob@example.org'", "unavailable");
	gives(o, "queue remove", "'sender':'<>'", "unavailable");
	gives(o, "queue remove", "'sender':'example.org'", "invalid");  /* would find nothing, or be meant for more */
	wants(o, "status", "", -1, "running", "false");
	end();
}

/* Lists leave in pieces, in order and complete. */
TEST(long_lists_come_in_pieces)
{
	struct admin_offline *o = begin();
	CLEANUP(buf_free) struct buf members = BUF(100000);
	struct answer a;

	for (int i = 0; i < 450; i++)
		buf_printf(&members, "%s'm%03d@elsewhere.example'", i ? "," : "", i);
	buf_add_char(&members, '\0');
	CLEANUP(buf_free) struct buf args = BUF(100000);
	buf_printf(&args, "'group':'all@example.test','member':[%s]", members.p);
	buf_add_char(&args, '\0');
	gives(o, "group add", args.p, "");
	for (int i = 0; i < 450; i++) {
		char one[100];
		snprintf(one, sizeof one, "'alias':'a%03d@example.test','target':['x@elsewhere.example']", i);
		gives(o, "alias add", one, "");
	}
	a = ask(o, "alias list", "");
	EXPECT_INT(json_array_size(a.rows), 450);
	EXPECT_INT(a.pieces, 3);
	EXPECT_STR(str_of(text(json_array_get(a.rows, 449), "alias")), "a449@example.test");
	answer_free(&a);
	end();
}

TEST(sentences_in_french)
{
	struct admin_offline *o = begin();
	struct answer a = { .rows = json_array() };

	admin_run(admin_offline_host(o), STR("{\"command\":\"account show\",\"args\":{\"address\":\"bob@example.test\"},\"lang\":\"fr\"}"), collect, &a);
	EXPECT(strstr(text(a.last, "sentence"), "il n'y a pas de compte bob@example.test") != NULL);
	answer_free(&a);
	end();
}

/* A second command, or a server, is told that the folder is in use. */
TEST(one_at_a_time)
{
	struct admin_offline *second = NULL;

	begin();
	EXPECT_ERR(admin_offline_open(folder, &second), ERR_AGAIN);
	end();
}

static uid_t uid_of(const char *name)
{
	const struct passwd *p = getpwnam(name);

	return p ? p->pw_uid : 0;
}

/* Root makes what the roles must be able to open at the next start. */
TEST(files_belong_to_the_roles)
{
	struct admin_offline *o = NULL;
	struct stat st;
	char path[300];
	uid_t uid = uid_of("facteur"), cell_uid = uid_of("facteur-cell");

	if (geteuid() != 0 || uid == 0 || cell_uid == 0)
		skip();
	admin_json_setup();
	folder = test_dir();
	EXPECT_INT(chmod(folder, 0711), 0);
	EXPECT_OK(admin_offline_open(folder, &o));
	gives(o, "domain add", "'domain':'example.test'", "");
	gives(o, "account add", "'address':'bob@example.test','password':'secret'", "");
	wants(o, "account mailboxes", "'address':'bob@example.test'", 0, "mailbox", "\"INBOX\"");
	admin_offline_close(o);  /* and so root again */
	static const char *const of_user[] = { "control", "control/directory.db", "keys", "keys/keys.db" };
	static const char *const of_cell[] = { "accounts", "accounts/1", "accounts/1/account.db", "accounts/1/account.lock" };
	EACH(of_user, name) {
		snprintf(path, sizeof path, "%s/%s", folder, *name);
		EXPECT(stat(path, &st) == 0);
		EXPECT_INT(st.st_uid, uid);
	}
	EACH(of_cell, name) {
		snprintf(path, sizeof path, "%s/%s", folder, *name);
		EXPECT(stat(path, &st) == 0);
		EXPECT_INT(st.st_uid, cell_uid);
	}
	EXPECT_OK(admin_offline_open(folder, &o));
	gives(o, "account delete", "'address':'bob@example.test'", "");
	gives(o, "account purge", "'yes':true", "");
	snprintf(path, sizeof path, "%s/accounts/1", folder);
	EXPECT(stat(path, &st) < 0);
	admin_offline_close(o);
	EXPECT_INT(geteuid(), 0);
	test_dir_remove(folder);
}
