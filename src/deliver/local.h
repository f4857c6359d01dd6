/* deliver/local.h -- a batch of deliveries into this account: what the cell does with DELIVER.
 *
 * The message gets Return-Path and Delivered-To before its first line, goes to the folder named by the sub-address (if
 * the setting says so and the folder exists) or to INBOX, and its name (log id, seq, recipient) is kept in the same
 * transaction, so that a replay after a crash delivers nothing twice and loses nothing (DESIGN §4.3, §4.5). */
#ifndef FACTEUR_DELIVER_LOCAL_H
#define FACTEUR_DELIVER_LOCAL_H
#include "base/arena.h"
#include "queue/delivery.h"
#include "store/view.h"

struct deliver_settings {
	bool detail_is_folder;    /* bob+lists@ goes to the mailbox "lists" if there is one */
	bool full_is_refused;     /* over quota: refuse (552 5.2.2, a bounce) instead of defer (452 4.2.2) */
	bool sync_now;            /* somebody watches: sync and publish before answering; else at the next sync point */
};

/* Applies a batch in one transaction (in several when a message in it does not fit the quota) and gives one result for
 * each delivery, in order; they live in a. Never fails as a whole: what could not be done is DEFERRED with the reason.
 * After it without sync_now, nothing is durable or visible before view_publish() (CELL_SYNC, or the cell's leaving). */
void deliver_batch(struct view *v, const struct deliver_settings *settings, const struct delivery_batch *batch,
                   struct arena *a, struct delivery_result **out);
/* The whole request: decode, deliver, encode. ERR_INVALID: not a batch (the sender is broken). */
enum err deliver_serve(struct view *v, const struct deliver_settings *settings, struct message *request,
					   struct buf *reply) MUST_CHECK;
#endif
