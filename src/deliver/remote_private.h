/* deliver/remote_private.h -- a SEND on its way (remote.c), a connection (remote_connection.c), a message made to fit a server
 * (remote_message.c). */
#ifndef FACTEUR_DELIVER_REMOTE_PRIVATE_H
#define FACTEUR_DELIVER_REMOTE_PRIVATE_H
#include "base/mem.h"
#include "deliver/remote.h"
#include "dns/mx.h"
#include "net/stream.h"
#include "queue/send.h"
#include "smtp/sender.h"

enum { REMOTE_HOST_TEXT_MAX = SEND_HOST_MAX };

struct remote_connection;

/* A SEND. */
struct remote_job {
	struct remote      *remote;
	struct remote_job  *next, **link;      /* in remote->jobs or remote->waiting */
	struct channel     *queue;
	uint32_t            call;
	struct arena        arena;
	struct send_in      in;
	struct send_result *results;           /* one for each recipient; outcome 0: open */
	struct send_attempt attempts[SEND_ATTEMPTS_MAX];
	size_t              attempt_count;
	struct mx_search   *search;
	struct mx_route    *route;
	struct sts_search  *policy_search;
	bool               *is_allowed;        /* each host of the route: by a policy of MTA-STS that is enforced; NULL: there is none */
	size_t              target;            /* the next one to try */
	bool                in_clear;          /* the last target again, without TLS: what it calls TLS does not work */
	bool                is_waiting;        /* for room */
	bool                all_refused;       /* so far every host has said "never" */
	enum send_feedback  feedback;
	struct remote_connection *connection;  /* that works for it; NULL: none */
	/* the message as the server of that connection can take it */
	struct smtp_outgoing outgoing;
	struct smtp_outgoing_recipient *people;
	size_t             *who;               /* people[i] is recipient who[i] of the SEND */
};

enum connection_state {
	CONNECTION_OPENING,   /* connect() */
	CONNECTION_TALKING,   /* for a job */
	CONNECTION_HELD,      /* answered; SENT is to come */
	CONNECTION_FREE,      /* kept for the next message to the destination */
	CONNECTION_LEAVING,   /* QUIT is said */
};

struct remote_connection {
	struct remote     *remote;
	struct remote_connection *next, **link;
	enum connection_state state;
	struct arena       arena;
	struct stream      stream;
	struct loop_fd     watch;
	struct loop_timer  timer;
	struct smtp_sender *sender;
	uint64_t           progress;      /* of the sender, when the timer was set */
	struct str         destination;
	struct str         host;          /* "mx1.example.net [192.0.2.7]" */
	struct str         tls_words;     /* empty: in clear text */
	struct peer        address;
	bool               is_proven;     /* its certificate was, by DANE or MTA-STS */
	bool               must_tls, is_reused;
	struct tls_expect  expect;
	uint64_t           number;        /* HELD: of the SEND */
	struct remote_job *job;
};

struct remote {
	struct loop            *loop;
	struct resolver        *resolver;
	struct tls_client      *tls;
	struct remote_settings  settings;
	struct arena            arena;    /* of the settings */
	struct remote_job      *jobs, *waiting, **waiting_end;
	struct remote_connection *connections;
	size_t                  connection_count;
	bool                    stops, is_looking;
};

/* Is it up to MTA-STS what this host has to show? DANE comes first (RFC 8461 §2). */
static inline bool job_has_policy(const struct remote_job *j, const struct mx_host *host)
{
	return j->is_allowed != NULL && host->dane == MX_DANE_NONE;
}

/* remote_connection.c: opens one to the target for the job; it reports to the three below. False: not even a socket; *why in the arena of
 * the job. */
bool connection_open(struct remote_job *j, const struct mx_host *host, const struct peer *address, struct str *why);
bool connection_is_good(const struct remote_connection *c);               /* for another message */
void connection_use(struct remote_connection *c, struct remote_job *j);   /* one that is free, or HELD no longer */
/* Goes on with what its sender has to say. */
void connection_go_on(struct remote_connection *c);
void connection_hold(struct remote_connection *c, uint64_t number);       /* its job is answered: HELD */
void connection_release(struct remote_connection *c);                     /* HELD → FREE, or LEAVING */
void connection_leave(struct remote_connection *c);                       /* says QUIT; it may be freed when this returns */
void connection_free(struct remote_connection *c);

/* remote.c: what a connection has to say to its job. */
void job_ready(struct remote_job *j);      /* a message may be given to its sender */
void job_finished(struct remote_job *j);   /* its message was decided about */
/* The connection is of no use any more, and about to be freed. why: what was heard or what happened. */
void job_lost(struct remote_job *j, const struct smtp_result *why);
void remote_room(struct remote *r);        /* a connection has ended: whoever waits looks again */

/* remote_message.c: makes j->outgoing out of the recipients that are open, as this server can take it. False: none can be sent; those
 * that can never be have their result. */
bool message_fit(struct remote_job *j, const struct smtp_offers *offers, bool is_proven);
void result_set(struct remote_job *j, size_t i, enum delivery_outcome outcome, const char *status, struct str text);
#endif
