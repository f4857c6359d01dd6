/* EHLO: what is announced, and what is not. */
#include "base/test.h"
#include "smtp/ehlo.h"

#define ALWAYS "250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-ENHANCEDSTATUSCODES\r\n"

TEST(ehlo)
{
	static const struct { struct smtp_ehlo e; const char *want; } cases[] = {
		{ { STR("mx.test"), STR(""), 1000, 0, 0, false, STR("") },
		  "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS "250 DSN\r\n" },
		{ { STR("mx.test"), STR("192.0.2.7"), 1000, 50, 0, true, STR("") },
		  "250-mx.test greets 192.0.2.7\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS "250-DSN\r\n250-LIMITS RCPTMAX=50\r\n250 STARTTLS\r\n" },
		{ { STR("mx.test"), STR(""), 1000, 50, 9, false, STR("PLAIN LOGIN") },
		  "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS
		  "250-DSN\r\n250-LIMITS RCPTMAX=50 MAILMAX=9\r\n250 AUTH PLAIN LOGIN\r\n" },
		{ { STR("mx.test"), STR(""), 1000, 0, 0, false, STR(""), STR("alice@example.test") },
		  "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS "250-DSN\r\n250 XCALLER alice@example.test\r\n" },
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(2000);

		smtp_put_ehlo(&b, &c->e);
		EXPECT_STR(buf_str(&b), c->want);
	}
}
