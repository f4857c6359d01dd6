/* submit/sending.h -- the watch over what an account sends, beside the way of its messages into the queue: what is sent is remembered
 * (store/sending.h), judged (watch.h), and where it looks like a thief's the account is stopped from sending, and its owner and the
 * administrator are told, each in his language. For an engine in a cell; every call may wait for other roles. */
#ifndef FACTEUR_SUBMIT_SENDING_H
#define FACTEUR_SUBMIT_SENDING_H
#include "directory/info.h"
#include "submit/account.h"

struct submit_message {
	struct str      ip;          /* of the client */
	size_t          all;         /* recipients */
	const uint64_t *recipients;  /* those elsewhere, sending_recipient() of each */
	size_t          n;
};
/* Before queue_add(): the recipients are counted. *wait_s: so long the message waits before it leaves for recipients elsewhere (setting
 * submit_recipients_per_hour), 0 as a rule. ERR_QUOTA: it is too many for today (submit_recipients_per_day); so much is free in *wait_s, or
 * never if that is more than a day. ERR_DENIED: the account has just been stopped, or is: refuse the message. ERR_LIMIT: mail of more than
 * a day waits already: not now, try again in *wait_s less a day. Else the figures could not be read or written, or control does not answer:
 * try later. */
enum err submit_sending(struct account *x, const struct account_info *info, const struct submit_message *m, uint64_t *wait_s) MUST_CHECK;
/* The queue did not take it. */
void submit_sending_take_back(struct account *x, const struct account_info *info, const struct submit_message *m);
/* A recipient was refused because nobody here has the address; or refusals elsewhere were noted, and are to be weighed. Failures are logged. */
void submit_sending_unknown(struct account *x, const struct account_info *info, struct str address);
void submit_sending_weigh(struct account *x, const struct account_info *info);

/* ---- SENDING, from a cell to control. Its answer: bool it is news (the account was not stopped before), bool the administrator reads French.
 * STOP: on disk, and on its way to every role, when it is answered. */
enum sending_kind { SENDING_UNUSUAL = 1, SENDING_STOP };
struct sending_notice {
	uint64_t          account;
	enum sending_kind kind;
	struct str        why;       /* watch_encode() */
};
bool get_sending_notice(struct scan *s, struct sending_notice *out) MUST_CHECK;
#endif
