/* EHLO: what is announced, and what is not. */
#include "base/test.h"
#include "smtp/ehlo.h"

#define ALWAYS "250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
#define DSN "250-DSN\r\n250-DELIVERBY\r\n250-MT-PRIORITY\r\n"

TEST(ehlo)
{
	static const struct { struct smtp_ehlo e; const char *want; } cases[] = {
		{ { .hostname = STR("mx.test"), .message_size_max = 1000 },
		  "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS "250-DSN\r\n250-DELIVERBY\r\n250 MT-PRIORITY\r\n" },
		{ { .hostname = STR("mx.test"), .peer = STR("192.0.2.7"), .message_size_max = 1000, .recipients_max = 50, .offers_starttls = true },
		  "250-mx.test greets 192.0.2.7\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS DSN "250-LIMITS RCPTMAX=50\r\n250 STARTTLS\r\n" },
		{ { .hostname = STR("mx.test"), .message_size_max = 1000, .recipients_max = 50, .messages_max = 9, .mechanisms = STR("PLAIN LOGIN"),
		    .is_tls = true, .hold_max = 86400, .now = 1795860000 },
		  "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS
		  DSN "250-FUTURERELEASE 86400 2026-11-29T10:00:00Z\r\n250-REQUIRETLS\r\n250-LIMITS RCPTMAX=50 MAILMAX=9\r\n250 AUTH PLAIN LOGIN\r\n" },
		{ { .hostname = STR("mx.test"), .message_size_max = 1000, .caller = STR("alice@example.test") },
		  "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" ALWAYS DSN "250 XCALLER alice@example.test\r\n" },
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(2000);

		smtp_put_ehlo(&b, &c->e);
		EXPECT_STR(buf_str(&b), c->want);
	}
}
