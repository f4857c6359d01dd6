/* The story of a message as it stands in a terminal and in a pipe. */
#include "base/test.h"
#include "cli/timeline.h"
#include <stdlib.h>

static struct str shown(struct cli *c, const char *json)
{
	CLEANUP(buf_free) struct buf out = BUF(1 << 20);
	CLEANUP(admin_json_free) json_t *rows = admin_json_read(str_of(json));

	EXPECT(rows != NULL);
	timeline_print(c, json_object_get(rows, "rows"), &out);
	return str_copy(&c->arena, buf_str(&out));
}

static const char message[] =
	"{\"rows\":[{\"message\":\"3f2a9c01-7\",\"state\":\"waiting\",\"sender\":\"ann@x.test\",\"recipients\":[\"bob@y.test\",\"c@z.test\"],"
	"\"message_id\":\"1@x\",\"events\":["
	"{\"at\":86400,\"event\":\"received\",\"sentence\":\"received from x\\u001b[31m\"},"
	"{\"at\":86401,\"event\":\"deferred\",\"sentence\":\"not yet\",\"explanation\":\"it is busy\",\"next_step\":\"wait\"},"
	"{\"at\":86402,\"event\":\"deferred\",\"sentence\":\"not yet\",\"explanation\":\"it is busy\",\"next_step\":\"wait\"}]},"
	"{\"state\":\"refused\",\"sender\":\"<>\",\"recipients\":[],\"events\":[{\"at\":86400,\"sentence\":\"no\"}]}]}";

TEST(in_a_pipe)
{
	struct cli c = { .lang = LANG_EN };

	setenv("TZ", "UTC", 1);
	EXPECT_STR(shown(&c, message),
	           "3f2a9c01-7: waiting\n"
	           "    from ann@x.test\n"
	           "    to bob@y.test, c@z.test\n"
	           "    Message-ID <1@x>\n"
	           "\n"
	           "    1970-01-02 00:00:00  received from x\\x1b[31m\n"  /* what a stranger wrote steers no terminal */
	           "    1970-01-02 00:00:01  not yet\n"
	           "                         why: it is busy\n"
	           "                         what to do: wait\n"
	           "    1970-01-02 00:00:02  not yet\n"                   /* explained once */
	           "\n"
	           "not accepted\n"
	           "    from <>\n"
	           "\n"
	           "    1970-01-02 00:00:00  no\n");
	EXPECT(str_starts(shown(&c, "{\"rows\":[{\"state\":\"\",\"sender\":\"a@b\",\"recipients\":[],\"events\":[]}]}"),
	                  STR("carried out, not kept\n")));  /* a member who has left by mail */
	arena_free(&c.arena);
}

TEST(in_french)
{
	struct cli c = { .lang = LANG_FR };

	EXPECT(str_starts(shown(&c, message), STR("3f2a9c01-7 : en attente\n    de ann@x.test\n    à bob@y.test, c@z.test\n")));
	arena_free(&c.arena);
}

TEST(a_terminal_breaks_lines_at_spaces)
{
	struct cli c = { .lang = LANG_EN, .style = { .width = 50 } };
	static const char json[] = "{\"rows\":[{\"message\":\"m\",\"state\":\"\",\"sender\":\"a\",\"recipients\":[\"b\"],\"events\":["
		"{\"at\":86400,\"sentence\":\"one two three four five six seven\"},"
		"{\"at\":86400,\"sentence\":\"averyveryverylongwordthatfitsnowhere atall\"}]}]}";

	setenv("TZ", "UTC", 1);
	EXPECT(str_ends(shown(&c, json),
	                STR("    1970-01-02 00:00:00  one two three four five\n"
	                    "                         six seven\n"
	                    "    1970-01-02 00:00:00  averyveryverylongwordthatfitsnowhere\n"
	                    "                         atall\n")));
	arena_free(&c.arena);
}
