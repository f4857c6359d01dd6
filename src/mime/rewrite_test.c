#include "mime/rewrite.h"
#include "base/test.h"

TEST(rewrite)
{
	static const struct { struct str in; const char *out; } cases[] = {
		{ STR("A: b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\1\2\n"),
		  "A: b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECCg==\r\n" },
		{ STR("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding:\r\n binary\r\n\r\n--b\r\n\r\nplain\r\n--b\r\n"
		      "Content-Transfer-Encoding: BINARY\r\nX: y\r\n\r\n\0\r\n--b--\r\n"),
		  "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\nplain\r\n--b\r\n"
		  "Content-Transfer-Encoding: base64\r\nX: y\r\n\r\nAA==\r\n--b--\r\n" },
		{ STR("A: b\r\n\r\nbare\nlf"), "A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nYmFyZQpsZg==\r\n" },  /* not declared */
		{ STR("A\0: b\n\nfine\r\n"), "A?: b\r\n\r\nfine\r\n" },
		{ STR("A: b\rContent-Transfer-Encoding: binary\n\n"), "A: b?Content-Transfer-Encoding: binary\r\n\r\n" },  /* no new field */
		{ STR("A: b\r\n\r\nno end"), "A: b\r\n\r\nno end\r\n" },
		{ STR("Content-Transfer-Encoding: base64\n\nAA==\n"), "Content-Transfer-Encoding: base64\r\n\r\nAA==\r\n" },
		{ STR("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nS: i\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff"),
		  "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nS: i\r\nContent-Transfer-Encoding: base64\r\n\r\n/w==\r\n" },
	};

	EACH(cases, c) {
		struct arena a = { 0 };
		struct buf b = BUF(10000);
		mime_rewrite(c->in, mime_parse(&a, c->in), &b);
		EXPECT_STR(buf_str(&b), c->out);
		EXPECT(!mime_needs_rewrite(buf_str(&b), mime_parse(&a, buf_str(&b))));
		buf_free(&b);
		arena_free(&a);
	}
}
