/* store/events.h -- what happened in an account after a modseq: for sessions that asked to hear of more than one mailbox (NOTIFY, RFC
 * 5465). All of it out of memory, for 10,000 mailboxes one compare each.
 *
 * Changes of messages are known from the mailboxes themselves, however long ago. Changes of the mailboxes (their names, subscriptions,
 * notes) are kept one by one, the newest few hundred, by this process: whoever asks for older ones is told that he must look anew. */
#ifndef FACTEUR_STORE_EVENTS_H
#define FACTEUR_STORE_EVENTS_H
#include "store/view.h"

struct mailbox_news {
	struct mailbox m;             /* visible counters; is_subscribed and has_children are not set */
	bool has_new, has_gone, has_flags;   /* after an opening of the account: what may have been is said to have been */
};
/* Mailboxes whose messages changed after since, in no order. */
void events_messages(struct view *v, uint64_t since, struct arena *a, struct mailbox_news **out, size_t *n);

enum event_kind { EVENT_CREATED, EVENT_DELETED, EVENT_RENAMED, EVENT_SUBSCRIPTION, EVENT_METADATA };
struct event {
	uint64_t        modseq;
	enum event_kind kind;
	struct str      path;         /* "": the account itself (METADATA) */
	struct str      more;         /* RENAMED: the name before. METADATA: names of entries, a space between them */
};
/* What happened to mailboxes after since, in order. ERR_CONFLICT: not all of it is known any more. */
enum err events_mailboxes(struct view *v, uint64_t since, struct arena *a, struct event **out, size_t *n) MUST_CHECK;
/* The modseq of the newest change that the calling thread itself made to v; 0: none. */
uint64_t events_own(const struct view *v);
#endif
