/* smtp/sender_private.h -- what sender.c (the connection), sender_login.c (AUTH) and sender_message.c (a message on it) share. */
#ifndef FACTEUR_SMTP_SENDER_PRIVATE_H
#define FACTEUR_SMTP_SENDER_PRIVATE_H
#include "smtp/client.h"
#include "smtp/sender.h"

enum expect {
	EXPECT_GREETING, EXPECT_EHLO, EXPECT_HELO, EXPECT_STARTTLS, EXPECT_LOGIN, EXPECT_RSET, EXPECT_MAIL, EXPECT_RCPT, EXPECT_DATA, EXPECT_END,
	EXPECT_QUIT, EXPECT_PROBE,
};

struct expected {
	enum expect what;
	size_t      recipient;   /* of RCPT, and of END with LMTP */
};

/* What comes next in a transaction. */
enum step { STEP_MAIL, STEP_RCPT, STEP_CONTENT, STEP_ASKED, STEP_SENDING, STEP_SENT };

/* What the next 334 asks for. */
enum login_step { LOGIN_PLAIN, LOGIN_NAME, LOGIN_PASSWORD, LOGIN_SECRET_SAID };

enum rcpt_state { RCPT_WAITS, RCPT_ASKED, RCPT_ACCEPTED, RCPT_DECIDED };

struct smtp_sender {
	struct smtp_sender_config config;
	struct arena    own;           /* hostname, failure */
	enum smtp_sender_state state;
	struct buf      in, out;
	size_t          out_at;        /* so much of out is written */
	struct expected *awaited;      /* replies that are due, in order */
	size_t          first, end, cap;
	struct smtp_offers offers;
	bool            is_secure, lacks_bdat;
	enum login_step login;
	unsigned        messages;
	uint64_t        progress;
	struct smtp_result failure, probed;   /* probed.code 0: not asked yet */
	/* the message; NULL: none */
	const struct smtp_outgoing *m;
	struct arena    arena;         /* of its results */
	struct smtp_result *results;
	enum rcpt_state *rcpt;
	size_t          next_rcpt;     /* the next one to ask about in this transaction */
	size_t          asked, accepted;
	enum step       step;
	bool            uses_bdat, has_failed;   /* has_failed: nothing of this transaction will be accepted any more */
	bool            is_open;       /* the peer has a transaction that was not completed: RSET before the next */
	uint64_t        content_at;
	bool            at_line_start;
};

void sender_say(struct smtp_sender *s, enum expect what, size_t recipient, const char *fmt, ...) PRINTF_LIKE(4, 5);
void sender_await(struct smtp_sender *s, enum expect what, size_t recipient);
bool sender_awaits_nothing(const struct smtp_sender *s);
/* A result out of a reply, or of our own words; text lives in a. */
struct smtp_result sender_result(struct arena *a, const struct smtp_answer *r, enum smtp_stage at);
struct smtp_result sender_own(struct arena *a, enum smtp_outcome outcome, const char *status, enum smtp_stage at, const char *fmt, ...)
	PRINTF_LIKE(5, 6);

/* The connection is of no more use; a message on it gets the reason for each recipient that was not decided about. */
void sender_give_up(struct smtp_sender *s, struct smtp_result why);

/* sender_login.c */
void sender_login_begin(struct smtp_sender *s);
void sender_login_answered(struct smtp_sender *s, const struct smtp_answer *r);

/* sender_message.c */
void message_reply(struct smtp_sender *s, struct expected e, const struct smtp_answer *r);
/* A reply that nothing asked for. */
void message_early_reply(struct smtp_sender *s, const struct smtp_answer *r);
void message_end(struct smtp_sender *s, const struct smtp_result *why);   /* every undecided recipient gets this */
void message_go_on(struct smtp_sender *s);      /* says what may be said now */
void message_fill(struct smtp_sender *s);       /* the next piece of the content into out */
enum smtp_stage message_stage(const struct smtp_sender *s);
#endif
