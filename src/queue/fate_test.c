/* Who is told what, and what is kept. */
#include "queue/fate.h"
#include "base/test.h"

#define SUCCESS ENVELOPE_NOTIFY_SUCCESS
#define FAILURE ENVELOPE_NOTIFY_FAILURE
#define DELAY   ENVELOPE_NOTIFY_DELAY
#define NEVER   ENVELOPE_NOTIFY_NEVER

/* RFC 3461 §4.1 and §5.2; nothing goes to "<>", nor to an address that nobody proved. */
TEST(who_is_told)
{
	static const struct { enum envelope_source source; const char *sender; bool is_authenticated; uint8_t notify; const char *told; } cases[] = {
		{ ENVELOPE_SUBMISSION, "alice@example.org", false, 0,                 "DFE" },  /* delayed, failed, expired */
		{ ENVELOPE_LOCAL,      "www@example.org",   false, 0,                 "DFE" },
		{ ENVELOPE_SUBMISSION, "alice@example.org", false, NEVER,             "" },
		{ ENVELOPE_SUBMISSION, "alice@example.org", false, SUCCESS,           "AR" },   /* arrived, relayed */
		{ ENVELOPE_SUBMISSION, "alice@example.org", false, FAILURE,           "FE" },
		{ ENVELOPE_SUBMISSION, "alice@example.org", false, DELAY,             "D" },
		{ ENVELOPE_SUBMISSION, "alice@example.org", false, SUCCESS | FAILURE, "FEAR" },
		{ ENVELOPE_SUBMISSION, "",                  false, SUCCESS | FAILURE, "" },
		{ ENVELOPE_MX,         "eve@example.com",   false, 0,                 "" },
		{ ENVELOPE_MX,         "eve@example.com",   false, SUCCESS,           "" },
		{ ENVELOPE_MX,         "bob@example.com",   true,  0,                 "FE" },   /* delays only when asked */
		{ ENVELOPE_MX,         "bob@example.com",   true,  DELAY,             "D" },
		{ ENVELOPE_MX,         "",                  true,  0,                 "" },
		{ ENVELOPE_DELIVERY,   "eve@example.com",   false, 0,                 "" },     /* a redirect is no better than what it redirects */
		{ ENVELOPE_DELIVERY,   "bob@example.com",   true,  0,                 "FE" },
	};
	static const struct { enum report_action action; char letter; } actions[] = {
		{ REPORT_DELAYED, 'D' }, { REPORT_FAILED, 'F' }, { REPORT_EXPIRED, 'E' }, { REPORT_DELIVERED, 'A' }, { REPORT_RELAYED, 'R' },
	};

	EACH(cases, c) {
		const struct envelope e = { .source = c->source, .sender = str_of(c->sender), .is_authenticated = c->is_authenticated };
		EACH(actions, x)
			EXPECT_INT(report_is_due(&e, c->notify, x->action), strchr(c->told, x->letter) != NULL);
		EXPECT(!report_is_due(&e, c->notify, REPORT_NOTHING));
	}
}

TEST(what_becomes_of_it)
{
	enum { HOURS = 3600, NOW = 1000000 };
	static const struct {
		bool stranger; uint64_t account; enum delivery_outcome outcome; bool is_over, has_told, peer_tells; int age; uint8_t notify;
		enum late_state state; enum report_action notice;
	} cases[] = {
		/* arrived */
		{ 0, 7, DELIVERY_DONE, 0, 0, 0, 0, 0, LATE_FINISHED, REPORT_NOTHING },
		{ 0, 7, DELIVERY_DONE, 0, 0, 0, 0, SUCCESS, LATE_REPORT, REPORT_DELIVERED },
		{ 0, 0, DELIVERY_DONE, 0, 0, 0, 0, SUCCESS, LATE_REPORT, REPORT_RELAYED },
		{ 0, 0, DELIVERY_DONE, 0, 0, 1, 0, SUCCESS, LATE_FINISHED, REPORT_NOTHING },   /* the peer tells */
		/* refused */
		{ 0, 7, DELIVERY_REFUSED, 0, 0, 0, 0, 0, LATE_REPORT, REPORT_FAILED },
		{ 0, 0, DELIVERY_REFUSED, 0, 1, 0, 0, 0, LATE_REPORT, REPORT_FAILED },
		{ 1, 7, DELIVERY_REFUSED, 0, 0, 0, 0, 0, LATE_HELD, REPORT_NOTHING },           /* a mailbox of ours: somebody looks */
		{ 1, 0, DELIVERY_REFUSED, 0, 0, 0, 0, 0, LATE_FINISHED, REPORT_NOTHING },
		{ 0, 0, DELIVERY_REFUSED, 0, 0, 0, 0, NEVER, LATE_FINISHED, REPORT_NOTHING },
		{ 0, 7, DELIVERY_REFUSED, 0, 0, 0, 0, NEVER, LATE_FINISHED, REPORT_NOTHING },
		/* later */
		{ 0, 0, DELIVERY_DEFERRED, 0, 0, 0, 1 * HOURS, 0, LATE_WAITING, REPORT_NOTHING },
		{ 0, 0, DELIVERY_DEFERRED, 0, 0, 0, 4 * HOURS, 0, LATE_WAITING, REPORT_DELAYED },
		{ 0, 0, DELIVERY_DEFERRED, 0, 1, 0, 5 * HOURS, 0, LATE_WAITING, REPORT_NOTHING },  /* once */
		{ 1, 0, DELIVERY_DEFERRED, 0, 0, 0, 5 * HOURS, 0, LATE_WAITING, REPORT_NOTHING },
		{ 0, 0, DELIVERY_DEFERRED, 0, 0, 0, 5 * HOURS, FAILURE, LATE_WAITING, REPORT_NOTHING },
		/* too late */
		{ 0, 7, DELIVERY_DEFERRED, 1, 1, 0, 120 * HOURS, 0, LATE_REPORT, REPORT_EXPIRED },
		{ 1, 7, DELIVERY_DEFERRED, 1, 0, 0, 120 * HOURS, 0, LATE_HELD, REPORT_NOTHING },
		{ 1, 0, DELIVERY_DEFERRED, 1, 0, 0, 120 * HOURS, 0, LATE_FINISHED, REPORT_NOTHING },
	};

	EACH(cases, c) {
		const struct envelope e = { .source = c->stranger ? ENVELOPE_MX : ENVELOPE_SUBMISSION, .sender = STR("a@example.org") };
		const struct fate_facts f = { .envelope = &e, .account = c->account, .notify = c->notify, .outcome = c->outcome,
			                          .is_over = c->is_over, .has_told = c->has_told, .peer_tells = c->peer_tells, .now = NOW, .age_s = c->age,
			                          .due = NOW + 15, .delay_notice_s = 4 * HOURS };
		struct fate fate;
		fate_of(&f, &fate);
		if (fate.state != c->state || fate.notice != c->notice)
			print_error("case %zu\n", (size_t)(c - cases));
		EXPECT_INT(fate.state, c->state);
		EXPECT_INT(fate.notice, c->notice);
		EXPECT_INT(fate.due, c->state == LATE_WAITING ? NOW + 15 : c->state == LATE_REPORT ? NOW + FATE_GATHER_S : LATE_NEVER);
	}
}

/* RFC 2852 §4.1.4: who asked for a trace gets it, and who waits for a word at a time hears when nobody watches it any more. */
TEST(what_deliverby_adds_to_success)
{
	static const struct { uint64_t account; uint8_t notify; enum envelope_by by; bool traces, peer_tells, passed, is_told; } cases[] = {
		{ 0, 0,       ENVELOPE_BY_NOTIFY,  0, 0, 0, 1 },
		{ 0, 0,       ENVELOPE_BY_NOTIFY,  0, 0, 1, 0 },   /* the next server watches it */
		{ 0, 0,       ENVELOPE_BY_NOTIFY,  1, 0, 1, 1 },
		{ 0, 0,       ENVELOPE_BY_RETURN,  0, 0, 1, 0 },
		{ 0, 0,       ENVELOPE_BY_RETURN,  1, 1, 1, 1 },
		{ 0, NEVER,   ENVELOPE_BY_NOTIFY,  1, 0, 0, 0 },
		{ 0, SUCCESS, ENVELOPE_BY_NOTHING, 0, 1, 0, 0 },
		{ 0, SUCCESS, ENVELOPE_BY_NOTHING, 0, 0, 0, 1 },
		{ 7, 0,       ENVELOPE_BY_NOTIFY,  1, 0, 0, 0 },   /* it has arrived: nothing was relayed */
		{ 7, SUCCESS, ENVELOPE_BY_NOTIFY,  0, 0, 0, 1 },
	};

	EACH(cases, c) {
		const struct envelope e = { .source = ENVELOPE_SUBMISSION, .sender = STR("alice@example.org"),
			.wishes = { .deliver_by = 5000, .by = c->by, .by_traces = c->traces } };
		EXPECT_INT(report_of_done_is_due(&e, c->account, c->notify, c->peer_tells, c->passed), c->is_told);
	}
}
