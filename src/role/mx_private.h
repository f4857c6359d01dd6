/* role/mx_private.h -- the role mx: the process (mx.c), a connection (mx_session.c) and what its SMTP machine asks (mx_host.c), programs of this machine
 * (mx_local.c), large messages that are encoded anew (mx_rewrite.c). */
#ifndef FACTEUR_ROLE_MX_PRIVATE_H
#define FACTEUR_ROLE_MX_PRIVATE_H
#include "directory/lookup.h"
#include "net/admission.h"
#include "net/stream.h"
#include "role/lost.h"
#include "role/role.h"
#include "smtpd/smtpd.h"
#include "trail/trail.h"

enum { MX_LISTENERS_MAX = 64 };

struct mx_session;

struct mx_door {  /* where clients come in */
	int              fd;         /* -1: the listener has it */
	enum protocol    protocol;
	struct listener *listener;   /* NULL: they wait outside */
};

struct mx {
	const struct role_start *start;
	struct loop         *loop;
	struct channel      *master, *keys, *queue, *control, *net;
	struct mx_door       doors[MX_LISTENERS_MAX];
	size_t               door_count;
	struct tls_server   *tls;
	struct lookup       *lookup;       /* NULL until control has sent one */
	bool                 has_certificates, is_open;   /* keys has said which there are, if any; with both, clients are let in */
	struct smtpd_server  server;
	struct mx_rewriter  *rewriter;     /* NULL: none was needed so far */
	struct admissions   *admissions;
	int64_t              timeout_ms;   /* the setting smtp_timeout */
	struct mx_session   *sessions;     /* all of them */
	struct loop_timer    look;         /* runs while queue or net are lost */
	struct lost          queue_lost, net_lost;
	struct loop_timer    last_call;    /* STOP: then the rest is cut off */
	bool                 stops, is_over;
	struct trail_notes  *trail;
	struct loop_timer    trail_timer;  /* runs while notes wait */
	bool                 trail_waits;
	uint32_t             refusals_left, refusals_lost;
	int64_t              refusals_ms;  /* as of when that is counted */
};

/* Who calls through submit.sock. */
struct mx_caller {
	uint32_t   uid;
	bool       is_administrator;  /* root, or the user this server runs as: may send as anybody */
	uint64_t   account;           /* 0: of the administrator when there is no account yet */
	struct str address;           /* what EHLO tells him he is */
};

/* A connection. Only mx_session.c and mx_host.c look into it. */
struct mx_session {
	struct mx         *mx;
	struct mx_session *next, **link;
	struct stream      stream;
	struct loop_fd     watch;
	struct loop_timer  timer;
	struct loop_task   again;         /* more can be read at once */
	struct peer        peer;
	struct arena       arena;         /* texts of the client that live as long as the session */
	char               peer_room[PEER_TEXT_MAX];
	struct str         name, who;     /* of the session; of the peer, for the log */
	struct mx_caller   caller;        /* of a local program */
	bool               is_local;
	uint64_t           concerned;     /* account whose full mailbox is the reason of the refusal under way; 0: none */
	struct smtpd      *smtpd;
	struct buf         in, out;       /* read but not taken; to be sent */
	bool               closes;        /* when out is empty */
	bool               lingers;       /* all is said; what the client still sends is dropped */
	bool               starts_tls;    /* when out is empty */
	bool               is_drained;    /* the last read took all there was: no use in another one */
	bool               has_answer;    /* the machine wants to be called, also without input */
	bool               is_gone;       /* the socket is closed; waits for an answer only */
	bool               was_in_body;
	int64_t            deadline_ms;
};

/* A stranger, or a program of this machine, has connected. Owns fd. */
void mx_accept_smtp(void *context, int fd, const struct peer *peer);
void mx_accept_local(void *context, int fd, const struct peer *peer);
/* For the trail. Strangers have so many refusals noted and no more; the rest is counted. */
void mx_note_refusal(struct mx *m, const struct trail_event *e);
extern const struct smtpd_host mx_session_host;
/* Whose lines in the log the next ones are, until log_context_clear(). */
void mx_session_context(const struct mx_session *s);
/* An answer of the queue has come: the session goes on, or is free at last. */
void mx_session_answered(struct mx_session *s);
/* STOP: tells every client 421, now or after the answer that is due. */
void mx_sessions_stop(struct mx *m);
/* Cuts off what is left. Sessions that wait for the queue stay until its channel is freed. */
void mx_sessions_end(struct mx *m);

/* Runs the work in a thread, behind those that wait already, then done() in this one. */
void mx_rewrite(struct mx *m, struct smtpd_rewrite *work, void (*done)(void *context), void *context);
/* Waits for the one that is under way. The others are done without having been run. */
void mx_rewrite_end(struct mx *m);

/* False: this user may not send; *why says what to do. Texts live in the arena. */
bool mx_caller_find(const struct mx *m, int fd, struct arena *a, struct mx_caller *out, struct smtp_reply *why);
bool mx_caller_may_send(const struct mx *m, const struct mx_caller *c, struct str sender, struct arena *a);
#endif
