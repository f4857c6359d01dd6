/* Parameters of MAIL and RCPT. */
#include "base/test.h"
#include "smtp/param.h"

TEST(mail)
{
	static const struct { const char *in; enum smtp_param_error want; const char *bad; } cases[] = {
		{ "", SMTP_PARAM_OK, NULL }, { "  ", SMTP_PARAM_OK, NULL },
		{ " SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+3D1", SMTP_PARAM_OK, NULL },
		{ " size=1 body=binarymime", SMTP_PARAM_OK, NULL },
		{ " AUTH=<>", SMTP_PARAM_OK, NULL },
		{ " SIZE=", SMTP_PARAM_INVALID, "SIZE" }, { " SIZE", SMTP_PARAM_INVALID, "SIZE" }, { " SIZE=-1", SMTP_PARAM_INVALID, "SIZE" },
		{ " SIZE=99999999999999999999999", SMTP_PARAM_INVALID, "SIZE" },
		{ " SMTPUTF8=yes", SMTP_PARAM_INVALID, "SMTPUTF8" }, { " BODY=9BIT", SMTP_PARAM_INVALID, "BODY" },
		{ " ENVID=a+0D+0Ab", SMTP_PARAM_INVALID, "ENVID" },   /* a line break hidden in xtext */
		{ " ENVID=a+", SMTP_PARAM_INVALID, "ENVID" }, { " ENVID=a+4", SMTP_PARAM_INVALID, "ENVID" },
		{ " SIZE=1 SIZE=2", SMTP_PARAM_TWICE, "SIZE" },
		{ " XFOO=1", SMTP_PARAM_UNKNOWN, "XFOO" }, { " NOTIFY=NEVER", SMTP_PARAM_UNKNOWN, "NOTIFY" },
		{ "SIZE=1", SMTP_PARAM_INVALID, NULL }, { " =1", SMTP_PARAM_INVALID, "" },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct smtp_mail_params out;
		struct str bad;
		struct scan s = scan_of(str_of(c->in));
		EXPECT_INT(scan_mail_params(&s, &a, &out, &bad), c->want);
		if (c->bad && c->want != SMTP_PARAM_OK)
			EXPECT(str_eq(bad, str_of(c->bad)));
	}
	CLEANUP(arena_free) struct arena a = { 0 };
	struct smtp_mail_params m;
	struct str bad;
	struct scan s = scan_of(STR(" SIZE=1000 BODY=BINARYMIME SMTPUTF8 RET=FULL ENVID=QQ+3D1"));
	EXPECT_INT(scan_mail_params(&s, &a, &m, &bad), SMTP_PARAM_OK);
	EXPECT(m.has_size && m.size == 1000 && m.body == SMTP_BODY_BINARYMIME && m.smtputf8 && m.ret == SMTP_RET_FULL);
	EXPECT_STR(m.envid, "QQ=1");
}

TEST(wishes)
{
	static const struct { const char *in; struct smtp_mail_params want; } cases[] = {
		{ " HOLDFOR=1 BY=120;R", { .hold_for = 1, .by = SMTP_BY_RETURN, .by_s = 120 } },
		{ " HOLDFOR=999999999", { .hold_for = 999999999 } },
		{ " holduntil=2026-11-28t10:00:00z", { .hold_until = 1795860000 } },
		{ " BY=-999999999;nt", { .by = SMTP_BY_NOTIFY, .by_s = -999999999, .by_traces = true } },
		{ " BY=+7;N MT-PRIORITY=-9", { .by = SMTP_BY_NOTIFY, .by_s = 7, .priority = -9 } },
		{ " MT-PRIORITY=9 REQUIRETLS", { .priority = 9, .requiretls = true } },
		{ " MT-PRIORITY=0 BY=0;N", { .by = SMTP_BY_NOTIFY } },
	};
	static const char *const wrong[] = {
		" HOLDFOR=0", " HOLDFOR=01", " HOLDFOR=1000000000", " HOLDFOR=-1", " HOLDFOR", " HOLDUNTIL=2026-11-28", " HOLDUNTIL=1969-01-01T00:00:00Z",
		" HOLDUNTIL=tomorrow", " BY=120", " BY=120;X", " BY=120;RN", " BY=;R", " BY=1000000000;N", " BY=--1;N", " BY=120;RTT", " MT-PRIORITY=10",
		" MT-PRIORITY=-0", " MT-PRIORITY=+1", " MT-PRIORITY=", " MT-PRIORITY=01", " REQUIRETLS=YES", " HOLDFOR=1 HOLDFOR=2",
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct smtp_mail_params out;
		struct str bad;
		struct scan s = scan_of(str_of(c->in));
		EXPECT_INT(scan_mail_params(&s, &a, &out, &bad), SMTP_PARAM_OK);
		EXPECT_INT(out.hold_for, c->want.hold_for);
		EXPECT_INT(out.hold_until, c->want.hold_until);
		EXPECT_INT(out.by, c->want.by);
		EXPECT_INT(out.by_s, c->want.by_s);
		EXPECT_INT(out.priority, c->want.priority);
		EXPECT(out.by_traces == c->want.by_traces && out.requiretls == c->want.requiretls);
	}
	EACH(wrong, w) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct smtp_mail_params out;
		struct str bad;
		struct scan s = scan_of(str_of(*w));
		enum smtp_param_error e = scan_mail_params(&s, &a, &out, &bad);
		EXPECT(e == SMTP_PARAM_INVALID || e == SMTP_PARAM_TWICE);
	}
}

TEST(rcpt)
{
	static const struct { const char *in; enum smtp_param_error want; uint8_t notify; const char *orcpt; } cases[] = {
		{ " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob+2Bx@example.org", SMTP_PARAM_OK, SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY, "rfc822;bob+x@example.org" },
		{ " NOTIFY=never", SMTP_PARAM_OK, SMTP_NOTIFY_NEVER, NULL },
		{ " ORCPT=rfc822;prvs=0=a@b.example", SMTP_PARAM_OK, 0, "rfc822;prvs=0=a@b.example" },
		{ " NOTIFY=NEVER,SUCCESS", SMTP_PARAM_INVALID, 0, NULL }, { " NOTIFY=", SMTP_PARAM_INVALID, 0, NULL },
		{ " NOTIFY=SUCCESS,", SMTP_PARAM_INVALID, 0, NULL }, { " ORCPT=bob@example.org", SMTP_PARAM_INVALID, 0, NULL },
		{ " ORCPT=rfc822;a+0Ab", SMTP_PARAM_INVALID, 0, NULL }, { " SIZE=1", SMTP_PARAM_UNKNOWN, 0, NULL },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct smtp_rcpt_params out;
		struct str bad;
		struct scan s = scan_of(str_of(c->in));
		EXPECT_INT(scan_rcpt_params(&s, &a, &out, &bad), c->want);
		if (c->want != SMTP_PARAM_OK)
			continue;
		EXPECT_INT(out.notify, c->notify);
		EXPECT_STR(out.orcpt, c->orcpt);
	}
}
