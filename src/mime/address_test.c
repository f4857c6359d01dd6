#include "mime/address.h"
#include "base/test.h"

TEST(addresses)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "bob@example.org", "|bob@example.org" },
		{ "Bob <bob@example.org>, <carl@x>", "Bob|bob@example.org |carl@x" },
		{ "\"Last, First\" <a@b>", "Last, First|a@b" },
		{ "John Q. Public <j@x>", "John Q. Public|j@x" },                    /* dots in a phrase: obsolete, common */
		{ "bob@example.org (Bob (the) Builder)", "Bob (the) Builder|bob@example.org" },
		{ "Team: a@b, C <c@d>; e@f", "{Team} |a@b C|c@d {} |e@f" },
		{ "undisclosed-recipients:;", "{undisclosed-recipients} {}" },
		{ "open: a@b", "{open} |a@b {}" },
		{ "\"john doe\"@example.org", "|\"john doe\"@example.org" },
		{ "a . b @ c . d", "|a.b@c.d" },                                     /* obsolete blanks */
		{ "<@r1,@r2:u@h>", "|u@h" },
		{ "a@[192.0.2.1]", "|a@[192.0.2.1]" },
		{ "root", "|root" }, { "", "" }, { ",,,", "" }, { "<>", "" }, { "a@b,,c@d,", "|a@b |c@d" },
		{ "bob@x <bob@x>", "bob@x|bob@x" },
		{ "Bob <bob@x", "Bob|bob@x" },                                       /* the bracket is missing */
		{ "Bob\r\n <bob@x>", "Bob|bob@x" },
		{ "=?utf-8?q?Ren=C3=A9?= <r@x>", "René|r@x" },
		{ "Ren\xc3\xa9 <r\xc3\xa9@x>", "René|ré@x" },
		{ "a@b@c", "|\"a@b\"@c" },
		{ "O'Neil \"The\" Bob<b@x>", "O'Neil The Bob|b@x" },
		{ "a@b;c@d", "|a@b |c@d" },                                          /* Outlook's separator */
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct mail_address *list;
		size_t n = address_list_parse(&a, str_of(c->in), &list);
		struct buf b = BUF(1000);
		for (size_t i = 0; i < n; i++) {
			if (i)
				buf_add_char(&b, ' ');
			if (list[i].kind == ADDRESS_MAILBOX)
				buf_printf(&b, STR_FMT "|" STR_FMT, STR_ARG(address_name(&a, &list[i])), STR_ARG(address_text(&a, &list[i])));
			else
				buf_printf(&b, "{" STR_FMT "}", STR_ARG(list[i].name));
		}
		EXPECT_STR(b.n ? buf_str(&b) : STR(""), c->out);
		buf_free(&b);
	}
	arena_free(&a);
}

TEST(validity)
{
	static const struct { const char *in; bool is_valid; } cases[] = {
		{ "a@b", true }, { "a@b.c", true }, { "a@b..c", false }, { "a@b.", false }, { "a", false }, { "\"a b\"@c", true },
		{ "a@[::1]", true }, { "a@b c", true }, { "é@ü.x", true }, { "a@b!c", false },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct mail_address *list;
		size_t n = address_list_parse(&a, str_of(c->in), &list);
		if (n < 1 || address_is_valid(&list[0]) != c->is_valid)
			print_error("%s\n", c->in);
		EXPECT(n >= 1 && address_is_valid(&list[0]) == c->is_valid);
	}
	arena_free(&a);
}
