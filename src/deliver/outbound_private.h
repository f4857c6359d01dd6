/* deliver/outbound_private.h -- a SEND on its way (outbound.c, outbound_way.c), room for it (outbound_place.c), a connection (outbound_connection.c), a message made to fit a server
 * (outbound_message.c). */
#ifndef FACTEUR_DELIVER_OUTBOUND_PRIVATE_H
#define FACTEUR_DELIVER_OUTBOUND_PRIVATE_H
#include "base/map.h"
#include "base/mem.h"
#include "deliver/outbound.h"
#include "dns/mx.h"
#include "mime/downgrade.h"
#include "net/stream.h"
#include "smtp/sender.h"

enum { OUTBOUND_HOST_TEXT_MAX = SEND_HOST_MAX };

struct outbound_connection;

/* What of a policy of MTA-STS is needed to report about it (outbound_report.c). */
struct outbound_report {
	struct str      sts, why;      /* its text; why it could not be had */
	bool           *allows;        /* each host of the route */
	enum tls_result trouble;
};

enum outbound_tls {
	OUTBOUND_TLS_MAY = 0,         /* where it is offered; where DANE or MTA-STS ask for it, as they do */
	OUTBOUND_TLS_NEVER,
	OUTBOUND_TLS_ENCRYPT,         /* STARTTLS, whatever the certificate (a relay inside a network) */
	OUTBOUND_TLS_VERIFY,          /* STARTTLS, and a certificate for the name of the host */
	OUTBOUND_TLS_IMPLICIT,        /* the same, from the first byte on (RFC 8314 §3.3) */
};

/* How the mail of a SEND goes: its route, and from where. Slices live in the arena of the job. */
struct outbound_way {
	struct str name;              /* connections are kept and used again for ways of the same name */
	struct str host;              /* A-labels or an address literal: this host and no other. Empty: the mail hosts of the destination */
	uint16_t   port;
	enum outbound_tls tls;
	bool       is_lmtp;           /* RFC 2033 */
	struct str login;             /* empty: none */
	struct peer source_v4, source_v6;   /* the address that connections come from; all zeros: the system chooses */
};

/* A SEND. */
struct outbound_job {
	struct outbound      *outbound;
	struct outbound_job  *next, **link;      /* in outbound->jobs */
	struct outbound_job  *wait_next, **wait_link;  /* who waits for room; link NULL: it does not */
	struct outbound_place *place;            /* where it waits; NULL: for room in all */
	struct channel     *queue;
	uint32_t            call;
	int64_t             until_ms;          /* clock_mono_ms(): then it is answered, whatever a server is about to say */
	struct arena        arena;
	struct send_in      in;
	struct send_result *results;           /* one for each recipient; outcome 0: open */
	struct send_attempt attempts[SEND_ATTEMPTS_MAX];
	size_t              attempt_count;
	struct outbound_way way;
	uint64_t            ticket;            /* of the question for a password; 0: not asked */
	int64_t             asked_ms;          /* when it was asked for the first time */
	struct loop_timer   ask_again;
	struct str          password;          /* p == NULL: not known (yet) */
	bool                is_probe;
	struct mx_search   *search;
	struct mx_route    *route;
	struct sts_search  *policy_search;
	bool               *is_allowed;        /* each host of the route: by a policy of MTA-STS that is enforced; NULL: there is none */
	struct outbound_report report;
	size_t              target;            /* the next one to try */
	bool                wants_new;         /* a connection that was kept has failed it */
	bool                in_clear;          /* the last target again, without TLS: what it calls TLS does not work */
	bool                all_refused;       /* so far every host has said "never" */
	enum send_feedback  feedback;
	struct outbound_connection *connection;  /* that works for it; NULL: none */
	/* the message as the server of that connection can take it */
	struct smtp_outgoing outgoing;
	struct smtp_outgoing_recipient *people;
	size_t             *who;               /* people[i] is recipient who[i] of the SEND */
	struct outbound_plan *plan;            /* of the message for those without 8BITMIME; NULL: nobody has asked for it yet */
};

/* Who waits, the first one first. */
struct outbound_line {
	struct outbound_job *first, **end;
};

/* An address and port that something is open to. */
struct outbound_place {
	struct outbound            *outbound;
	char                        key[18];       /* in outbound->places */
	size_t                      count;
	struct outbound_connection *connections;
	struct outbound_line        waiting;
	struct loop_task            look;
};

enum connection_state {
	CONNECTION_OPENING,   /* connect() */
	CONNECTION_TALKING,   /* for a job */
	CONNECTION_HELD,      /* answered; SENT is to come */
	CONNECTION_FREE,      /* kept for the next message to the destination */
	CONNECTION_LEAVING,   /* QUIT is said */
};

struct outbound_connection {
	struct outbound     *outbound;
	struct outbound_connection *next, **link;
	enum connection_state state;
	struct arena       arena;
	struct stream      stream;
	struct loop_fd     watch;
	struct loop_timer  timer;
	struct smtp_sender *sender;
	uint64_t           progress;      /* of the sender, when the timer was set */
	int64_t            content_ms;    /* clock_mono_ms() when the message began to leave; 0: none does */
	struct str         destination;   /* the name of the way */
	uint16_t           port;
	struct outbound_place *place;
	struct outbound_connection *place_next, **place_link;
	int64_t            opened_ms;     /* clock_mono_ms() */
	struct peer        source;        /* that was asked for */
	bool               is_shareable;  /* nothing but its destination's own mail hosts has led to it */
	bool               is_relaxed;    /* made for a message with TLS-Required: No */
	bool               gives_way;     /* FREE, and about to leave */
	struct str         host_name;     /* "mx1.example.net" */
	struct str         host;          /* "mx1.example.net [192.0.2.7]" */
	struct str         tls_words;     /* empty: in clear text */
	struct peer        address;
	bool               is_proven;     /* its certificate was, by DANE or MTA-STS */
	bool               is_reused;
	bool               has_login;     /* its password goes over proven TLS, or to this machine */
	enum smtp_sender_tls tls;
	struct tls_expect  expect;
	bool               is_counted;    /* for the reports about TLS */
	uint64_t           number;        /* HELD: of the SEND */
	struct outbound_job *job;
};

struct outbound {
	struct loop            *loop;
	struct resolver        *resolver;
	struct tls_client      *tls;
	struct outbound_settings  settings;
	struct arena            arena;    /* of the settings */
	struct outbound_job      *jobs;
	struct outbound_line    waiting;      /* for room in all */
	struct loop_timer       ending;       /* set, or over: is_ending */
	bool                    is_ending;    /* the queue stops */
	struct loop_task        look;
	struct outbound_connection *connections;
	size_t                  connection_count;
	uint64_t                tickets;
	struct map              places;       /* by address and port */
	struct map              held;         /* by number: connections in that state */
	struct worker          *worker;       /* outbound_plan.c; NULL: nothing was planned yet */
	struct loop_fd          planned;
	struct map              without_bdat; /* names of hosts */
	bool                    stops;
};

/* Is it up to MTA-STS what this host has to show? DANE comes first (RFC 8461 §2). */
static inline bool job_has_policy(const struct outbound_job *j, const struct mx_host *host)
{
	return j->is_allowed != NULL && host->dane == MX_DANE_NONE;
}

/* Where connections to this address are to come from. */
static inline const struct peer *way_source(const struct outbound_way *way, const struct peer *to)
{
	return peer_is_v4(to) ? &way->source_v4 : &way->source_v6;
}

/* outbound_connection.c: opens one to the target for the job; it reports to the three below. False: not even a socket; *why in the arena of
 * the job, and errno. */
bool connection_open(struct outbound_job *j, const struct mx_host *host, const struct peer *address, struct str *why);
bool connection_is_good(const struct outbound_connection *c);               /* for another message */
void connection_use(struct outbound_connection *c, struct outbound_job *j);   /* one that is free, or HELD no longer */
/* Goes on with what its sender has to say. */
void connection_go_on(struct outbound_connection *c);
void connection_rest(struct outbound_connection *c);                        /* READY; its message is being planned. It hears when it is closed */
void connection_hold(struct outbound_connection *c, uint64_t number);       /* its job is answered: HELD */
void connection_release(struct outbound_connection *c);                     /* HELD → FREE, or LEAVING */
void connection_leave(struct outbound_connection *c);                       /* says QUIT; it may be freed when this returns */
void connection_free(struct outbound_connection *c);
void connection_give_up(struct outbound_connection *c, const char *why);    /* its job hears of it, and it is freed */

/* It is one of the queue's, which stops: it begins nowhere any more. */
static inline bool job_must_end(const struct outbound_job *j) { return j->outbound->is_ending && !j->is_probe; }
/* RFC 8689. What an LMTP server gets is delivered, and goes no further. A bounce says REQUIRETLS where it can, and goes anyhow (§5). */
static inline bool job_requires_tls(const struct outbound_job *j)
{
	return send_requires_tls(&j->in.send) && j->in.send.sender.n > 0 && !j->way.is_lmtp;
}
static inline bool job_is_relaxed(const struct outbound_job *j) { return j->in.send.wishes.tls == ENVELOPE_TLS_OPTIONAL; }

/* outbound_way.c */
void job_choose_way(struct outbound_job *j);
void job_find_way(struct outbound_job *j);
void job_begin_anew(struct outbound_job *j);      /* with a connection of its own */
void job_next_target(struct outbound_job *j);     /* the next address, or the answer that none is left */
bool job_is_late(const struct outbound_job *j);

/* outbound_place.c */
void place_enter(struct outbound_connection *c);  /* a connection begins: its address, port and outbound are set */
void place_leave(struct outbound_connection *c);  /* it has ended: whoever waits looks again, soon */
bool place_wait(struct outbound_job *j, const struct peer *address);   /* true: there is no room; job_next_target() when there is */
void job_wait_no_more(struct outbound_job *j);    /* harmless when it does not */
void outbound_look(void *context);                /* the task of outbound->look */
/* A free connection for its message: one that was made for its destination; one to this target of its route. NULL: none. */
struct outbound_connection *connection_find(const struct outbound_job *j);
struct outbound_connection *connection_find_at(const struct outbound_job *j, const struct mx_host *host, const struct peer *address);
void connection_pass_on(struct outbound_connection *c);   /* HELD, and SENT has come: to who waits, or FREE, or LEAVING */

/* outbound.c */
void job_note_attempt(struct outbound_job *j, struct str host, struct str text);
/* Every recipient that is open gets this. */
void job_settle(struct outbound_job *j, enum delivery_outcome outcome, const char *status, struct str text);
void job_answer(struct outbound_job *j);          /* and frees it */
void job_free(struct outbound_job *j);

/* outbound_end.c */
void job_give_back(struct outbound_job *j);       /* and frees it: the queue stops, and nothing has come of it */
void outbound_ending_over(void *context);         /* the timer outbound->ending */
void outbound_end(struct outbound *r);            /* all connections and jobs go, unanswered */

/* outbound.c: what a connection has to say to its job. */
void job_ready(struct outbound_job *j);      /* a message may be given to its sender */
void job_finished(struct outbound_job *j);   /* its message was decided about */
/* The connection is of no use any more, and about to be freed. why: what was heard or what happened. */
void job_lost(struct outbound_job *j, const struct smtp_result *why);

/* outbound_message.c: makes j->outgoing out of the recipients that are open, as this server can take it. ERR_NOTFOUND: none can be sent; those
 * that can never be have their result. ERR_AGAIN: it is being planned; job_ready() will come again. */
enum err message_fit(struct outbound_job *j, const struct smtp_offers *offers, bool is_proven) MUST_CHECK;
void result_set(struct outbound_job *j, size_t i, enum delivery_outcome outcome, const char *status, struct str text);

/* outbound_plan.c: how it is encoded for a server without 8BITMIME. ERR_OK: that is known, and may be asked for below. ERR_AGAIN: job_ready()
 * comes when it is. ERR_IO: the message cannot be read. */
enum err plan_ascii(struct outbound_job *j) MUST_CHECK;
enum downgrade_outcome plan_outcome(const struct outbound_job *j);
uint64_t plan_size(const struct outbound_job *j);
void plan_read(struct outbound_job *j, uint64_t offset, char *room, size_t n);
void plan_release(struct outbound_job *j);      /* with its job */
void plan_end(struct outbound *r);              /* after all jobs */

/* outbound_report.c: what is counted for the reports about TLS; each connection once. */
void report_policy(struct outbound_job *j, const struct mta_sts_policy *p, struct str why, enum tls_result trouble);
void report_secured(struct outbound_connection *c);     /* the handshake is done */
void report_broken(struct outbound_connection *c);      /* … has failed */
void report_in_clear(struct outbound_connection *c);    /* it goes on, or ends, without one */
void report_passed_over(struct outbound_job *j);        /* the next target, by a policy that is enforced */
#endif
