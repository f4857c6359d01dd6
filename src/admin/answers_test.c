/* Commands that other roles answer, or do not: what they say is played here (admin_host). */
#include "admin/offline_test.h"
#include "auth/command.h"
#include <time.h>

static struct { const struct admin_host *host; uint32_t told, ended; } heard;

static enum err nobody_answers(UNUSED void *context) { return ERR_TIMEOUT; }

static enum err hears_epoch(void *context, const struct secret_command *command, struct arena *a, struct secret_reply *out)
{
	if (command->op == SECRET_EPOCH)
		heard.told = command->id;
	return heard.host->secret(context, command, a, out);
}

static enum err hears_end(UNUSED void *context, UNUSED uint64_t account, uint32_t epoch)
{
	heard.ended = epoch;
	return ERR_OK;
}

/* One role hangs: who is to be out is out all the same, and a password that was made is told. */
TEST(a_role_that_hangs_keeps_nobody_logged_in)
{
	static const char *const commands[] = { "suspend", "password", "delete" };
	struct admin_offline *o = begin();
	struct admin_host host = *admin_offline_host(o);

	heard.host = admin_offline_host(o);
	gives(o, "account add", "'address':'bob@example.test'", "");
	host.publish = nobody_answers;
	host.secret = hears_epoch;
	host.end_sessions = hears_end;
	own_host = &host;
	for (uint32_t i = 0; i < COUNT_OF(commands); i++) {
		char command[40];
		snprintf(command, sizeof command, "account %s", commands[i]);
		gives(o, command, i == 1 ? "'address':'bob@example.test','password':'secret'" : "'address':'bob@example.test'", "timeout");
		EXPECT_INT(heard.told, i + 2);
		EXPECT_INT(heard.ended, i + 2);
	}
	struct answer a = ask(o, "account add", "'address':'eve@example.test','generate':true");
	EXPECT_STR(str_of(text(a.last, "error")), "timeout");
	EXPECT_INT(strlen(text(json_object_get(a.last, "result"), "password")), 19);
	answer_free(&a);
	a = ask(o, "account password", "'address':'eve@example.test','generate':true");
	EXPECT_STR(str_of(text(a.last, "error")), "timeout");
	EXPECT_INT(strlen(text(json_object_get(a.last, "result"), "password")), 19);
	answer_free(&a);
	own_host = NULL;
	end();
}

struct asker { int heard, portions; };

static bool heard_once(void *context, UNUSED struct str message) { return ++((struct asker *)context)->heard == 1; }

static enum err check_goes_on(void *context, UNUSED uint64_t account, const struct store_command *c, UNUSED struct arena *a, struct store_answer *out)
{
	((struct asker *)context)->portions++;
	*out = (struct store_answer){ .damage = { .checked = 64, .next = c->first_email + 64 }, .quota = { .messages = 1000000 } };
	return ERR_OK;
}

/* Whoever asked has gone (Ctrl-C): nobody reads a large account to its end for him. */
TEST(a_check_ends_with_who_asked)
{
	struct admin_offline *o = begin();
	struct asker asker = { 0 };

	gives(o, "account add", "'address':'bob@example.test','generate':true", "");
	struct admin_host host = *admin_offline_host(o);
	host.context = &asker;
	host.cell = check_goes_on;
	admin_run(&host, STR("{\"command\":\"account check\",\"args\":{\"address\":\"bob@example.test\"},\"lang\":\"en\"}"), heard_once, &asker);
	EXPECT_INT(asker.portions, 2);
	end();
}

enum { PAGES = 400, OF_PAGE = 50 };
struct long_queue { size_t pages, rows_heard, stays; size_t most_bytes; };

static bool hears(void *context, struct str message)
{
	struct long_queue *q = context;

	for (struct str rest = message; str_find(rest, STR("\"message\"")) >= 0; q->rows_heard++)
		rest = str_from(rest, (size_t)str_find(rest, STR("\"message\"")) + 9);
	return q->rows_heard < q->stays;
}

static enum err page_of_many(void *context, UNUSED const struct queue_command *c, struct arena *a, struct queue_answer *out)
{
	struct long_queue *q = context;

	if (a->total > q->most_bytes)
		q->most_bytes = a->total;
	*out = (struct queue_answer){ .kind = QUEUE_LIST, .has_more = ++q->pages < PAGES, .n = OF_PAGE };
	out->messages = arena_array(a, OF_PAGE, sizeof *out->messages);
	for (size_t i = 0; i < OF_PAGE; i++)
		out->messages[i] = (struct queue_listed){ .id = { 1, q->pages * OF_PAGE + i }, .sender = STR("ann@example.org"), .waiting = 1,
			.address = STR("bob@example.test"), .status = STR("4.4.1"), .reason = STR("451 4.4.1 not now") };
	return ERR_OK;
}

static enum err takes_all(UNUSED void *context, UNUSED const struct queue_command *c, UNUSED struct arena *a, struct queue_answer *out)
{
	*out = (struct queue_answer){ 0 };
	return ERR_OK;
}

/* Where the whole server sends nothing, it does not say of one destination that mail goes there again. */
TEST(a_destination_goes_on_where_anything_leaves)
{
	struct admin_offline *o = begin();
	struct admin_host host = *admin_offline_host(o);

	host.queue = takes_all;
	host.is_running = true;
	own_host = &host;
	says(o, "queue resume", "'domain':'example.net'", "mail is sent to example.net again");
	gives(o, "config set", "'setting':'send_elsewhere','value':'off'", "");
	says(o, "queue resume", "'domain':'example.net'",
	     "example.net is not paused any more, but this server sends nothing to others: `facteur config set send_elsewhere on` lets it");
	own_host = NULL;
	end();
}

static int64_t ends_s[2];   /* of the certificate of a name, and of the one for clients that name none */

static enum err two_certificates(UNUSED void *context, struct arena *a, struct certificate_info **out, size_t *n)
{
	*n = 2;
	*out = arena_array(a, *n, sizeof **out);
	for (size_t i = 0; i < *n; i++)
		(*out)[i] = (struct certificate_info){ .names = i == 0 ? STR("mail.example.test") : STR(""), .not_after_s = ends_s[i] };
	return ERR_OK;
}

static enum err no_sessions(UNUSED void *context, UNUSED struct arena *a, struct session_info **out, size_t *n)
{
	*out = NULL;
	*n = 0;
	return ERR_OK;
}

/* A watch looks at "trouble" and at nothing else. */
TEST(a_certificate_that_ends_is_trouble)
{
	static const struct { int days[2]; const char *trouble; } cases[] = {
		{ { 90, 200 }, "" }, { { 90, 5 }, "" },
		{ { 5, 200 }, "the certificate of mail.example.test expires in 4 days: put" },
		{ { -1, 200 }, "the certificate of mail.example.test has expired, and" },
	};
	struct admin_offline *o = begin();
	struct admin_host host = *admin_offline_host(o);

	host.queue = takes_all;
	host.sessions = no_sessions;
	host.certificates = two_certificates;
	host.is_running = true;
	own_host = &host;
	EACH(cases, t) {
		for (int i = 0; i < 2; i++)
			ends_s[i] = time(NULL) + t->days[i] * 86400 - 3600;
		struct answer a = ask(o, "status", "");
		EXPECT_INT(strncmp(text(json_object_get(a.last, "result"), "trouble"), t->trouble, strlen(t->trouble)), 0);
		EXPECT((*t->trouble == '\0') == (*text(json_object_get(a.last, "result"), "trouble") == '\0'));
		answer_free(&a);
	}
	own_host = NULL;
	end();
}

/* Control holds a page of the queue, however long it is; and it asks for no more of them than somebody wants to read. */
TEST(a_long_queue_in_pages)
{
	static const struct { size_t stays, pages; } cases[] = { { SIZE_MAX, PAGES }, { 1, 10 } };
	struct admin_offline *o = begin();

	EACH(cases, t) {
		struct long_queue q = { .stays = t->stays };
		struct admin_host host = *admin_offline_host(o);
		host.context = &q;
		host.queue = page_of_many;
		host.is_running = true;
		admin_run(&host, STR("{\"command\":\"queue list\",\"args\":{},\"lang\":\"fr\"}"), hears, &q);
		EXPECT(q.pages <= t->pages && (t->stays == 1 || q.rows_heard == PAGES * OF_PAGE));
		EXPECT(q.most_bytes < 100000);
	}
	end();
}
