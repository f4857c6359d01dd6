/* How sending ends: the queue stops, or is gone; net stops.
 *
 * A server that is restarted should send nothing twice, and should not take long about it. So when the queue says that it stops
 * (SENDS_END), whatever has not left yet is given back at once, and its connection closed: the queue tries it again after the start.
 * What a server has begun to take goes on for `ending_ms`, which nearly every server needs less of for its last "250". After that a message
 * whose end was not sent is given back too, since its server will deliver nothing of it; only where the end was sent, and nothing was
 * said to that, it remains unknown whether the server has it, and the queue is told so. */
#include "deliver/outbound_private.h"
#include "base/log.h"

/* Its recipients are as they were before it was asked for. */
void job_give_back(struct outbound_job *j)
{
	struct outbound_connection *c = j->connection;

	channel_reply(j->queue, j->call, ERR_AGAIN, STR(""), NULL, 0);
	if (c != NULL) {
		c->job = NULL;
		connection_free(c);
	}
	job_free(j);
}

static enum smtp_holds holds(const struct outbound_job *j)
{
	return j->connection ? smtp_sender_holds(j->connection->sender) : SMTP_HOLDS_NOTHING;
}

static size_t give_back_all(struct outbound *r, enum smtp_holds up_to)
{
	struct outbound_job *next;
	size_t n = 0;

	for (struct outbound_job *j = r->jobs; j; j = next) {
		next = j->next;
		if (!job_must_end(j) || holds(j) > up_to)
			continue;
		job_give_back(j);
		n++;
	}
	return n;
}

static void leave(struct outbound *r, bool held_ones_too)
{
	struct outbound_connection *next;

	for (struct outbound_connection *c = r->connections; c; c = next) {
		next = c->next;
		if (c->state == CONNECTION_FREE || (held_ones_too && c->state == CONNECTION_HELD))
			connection_leave(c);  /* frees itself only: no job of its own */
	}
}

void outbound_on_sends_end(struct outbound *r)
{
	r->is_ending = true;
	size_t n = give_back_all(r, SMTP_HOLDS_NOTHING);
	log_info("the queue stops, what has not left is given back to it given_back=%zu", n);
	leave(r, false);
	loop_timer_in(r->loop, &r->ending, r->settings.ending_ms);
}

void outbound_ending_over(void *context)
{
	struct outbound *r = context;
	struct outbound_connection *next;

	(void)give_back_all(r, SMTP_HOLDS_PART);
	for (struct outbound_connection *c = r->connections; c; c = next) {
		next = c->next;
		if (c->job && job_must_end(c->job))
			connection_give_up(c, "this server is being restarted");
	}
}

static void drop_job(struct outbound_job *j, bool is_end)
{
	if (j->is_probe && !is_end)  /* of somebody else than the queue */
		channel_reply(j->queue, j->call, ERR_UNAVAILABLE, STR(""), NULL, 0);
	job_free(j);
}

static void drop_all(struct outbound *r, bool is_end)
{
	while (r->connections) {
		r->connections->job = NULL;
		connection_free(r->connections);
	}
	while (r->jobs)
		drop_job(r->jobs, is_end);
	loop_defer_cancel(r->loop, &r->look);  /* nobody waits any more */
	loop_timer_stop(r->loop, &r->ending);
	r->is_ending = false;
}

void outbound_drop_all(struct outbound *r) { drop_all(r, false); }
void outbound_end(struct outbound *r) { drop_all(r, true); }

void outbound_stop(struct outbound *r)
{
	r->stops = true;
	leave(r, true);
}
