/* What a bounce says. */
#include "base/test.h"
#include "mime/delivery_status.h"

#define REPORT "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nsorry\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"

TEST(bounces)
{
	static const struct { const char *message; bool has_failed; const char *reason; } cases[] = {
		{ REPORT "Reporting-MTA: dns; mx.test\r\n\r\nFinal-Recipient: rfc822; bob@x.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
		  "Diagnostic-Code: smtp; 550 5.1.1\r\n no such person\r\n--b--\r\n", true, "550 5.1.1 no such person" },
		{ REPORT "Reporting-MTA: dns; mx.test\r\n\r\nFinal-Recipient: rfc822; a@x.test\r\nAction: relayed\r\n\r\n"
		  "Final-Recipient: rfc822; bob@x.test\r\nAction: Failed\r\nStatus: 5.2.2\r\n--b--\r\n", true, "5.2.2" },
		{ REPORT "Reporting-MTA: dns; mx.test\r\n\r\nFinal-Recipient: rfc822; bob@x.test\r\nAction: delayed\r\nStatus: 4.4.1\r\n--b--\r\n", false, "" },
		{ "Subject: I am away\r\n\r\nAction: failed\r\n", false, "" },
		{ REPORT "Action: failed", true, "" },
		{ "", false, "" },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct str reason;
		EXPECT_INT(delivery_has_failed(str_of(c->message), &a, &reason), c->has_failed);
		EXPECT_STR(arena_printf(&a, STR_FMT, STR_ARG(reason)), c->reason);
	}
}
