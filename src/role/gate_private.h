/* role/gate_private.h -- the gate's own structs: gate.c (channels, doors), gate_client.c (a connection from accept
 * to close), gate_login.c (its login phase), gate_session.c (its sessions in cells: attached, parked, told news), gate_tokens.c (those that
 * tokens began), gate_http.c (web pages). */
#ifndef FACTEUR_ROLE_GATE_PRIVATE_H
#define FACTEUR_ROLE_GATE_PRIVATE_H
#include "auth/login.h"
#include "directory/lookup.h"
#include "net/admission.h"
#include "net/parked.h"
#include "net/relay.h"
#include "role/role.h"
#include "text/text.h"

enum { DOORS_MAX = 256, HOSTNAME_MAX = 254 };

struct gate;

struct door {  /* one listening socket */
	struct gate     *gate;
	struct listen_on on;
	int              fd;          /* until it opens */
	struct listener *listener;
};

struct gate_tokens {                          /* gate_tokens.c: what lets tokens in */
	uint32_t          marks[ISSUERS_MAX * ISSUER_KEYS_MAX];
	size_t            n;
	uint64_t          version;            /* lookup_issuers_mark() of the directory they are from */
	bool              is_read;
	struct loop_timer look;
};

struct gate {
	const struct role_start *start;
	struct loop       *loop;
	struct channel    *master, *keys, *control;
	struct tls_server *tls;
	struct lookup     *lookup;            /* NULL until control has sent one */
	struct admissions *admissions;        /* counts with the other gates */
	struct door        doors[DOORS_MAX];
	size_t             door_count;
	struct parked     *parked;
	struct client    **slots;             /* all connections; NULL: free */
	uint32_t           slot_n, slot_cap, slot_free;  /* slot_free: none below it is free */
	uint32_t           count, count_max;
	uint64_t           next_session;
	int64_t            round_ms;          /* the round that handshakes belongs to */
	uint32_t           handshakes;        /* begun or continued in it */
	int64_t            refusal_ms;        /* when a refused connection was last logged … */
	uint32_t           refusals;          /* … and how many were not, since */
	bool               has_certificates, is_open, stops;
	struct gate_tokens tokens;
	bool               drains;            /* whoever begins to wait is told goodbye */
};

enum phase {
	PHASE_HANDSHAKE = 1,  /* TLS, at once or after STARTTLS */
	PHASE_LOGIN,          /* talk */
	PHASE_OPENING,        /* talk and relay: the cell has not answered */
	PHASE_ATTACHED,       /* relay */
	PHASE_PARKED,         /* member.record */
	PHASE_WEB,            /* web: a request is read, or control is asked about it */
	PHASE_CLOSING,        /* out is sent, then it ends */
};

struct talk;   /* of the login phase: gate_login.c */
struct web;    /* of a request for a web page: gate_http.c */

struct client {
	struct gate      *gate;
	struct stream     stream;
	struct loop_fd    watch;
	struct loop_timer timer;
	struct peer       peer;
	uint32_t          slot;
	uint8_t           phase, protocol;
	bool              is_printer;
	bool              has_left;           /* what is said is said; it is counted no more, and its last bytes are dropped */
	uint64_t          session;
	int64_t           since_s;            /* connected, then logged in */
	int64_t           born_ms, heard_ms;  /* accepted; last byte of the client */
	int64_t           ends_ms;            /* of the session, whatever it does; INT64_MAX: it has no such end */
	struct talk      *talk;
	struct web       *web;
	struct relay     *relay;
	struct member     member;
	char             *login_name;         /* as typed; from the login on */
	struct buf        out;                /* what we say ourselves, and what was left when a relay ended */
};

const struct login_protocol *client_row(const struct client *c);
/* ---- gate_client.c */
void client_accept(void *door, int fd, const struct peer *peer);
void client_end(struct client *c);                      /* closes and frees */
/* Sends what is in out. True: all of it. False: the client has no room now (it is watched), or is gone (and freed). */
bool client_flush(struct client *c, bool *is_gone);
void client_close_soon(struct client *c);               /* sends out, then ends */
/* Ends with one line of its protocol, whatever it does now. */
void client_bye(struct client *c, enum text sentence);
void client_watch(struct client *c, void (*ready)(void *context, unsigned events), unsigned events);
void client_start_tls(struct client *c);
void gate_list_sessions(struct gate *g, uint32_t from, struct buf *out);
/* ---- gate_login.c */
/* PHASE_LOGIN. input: what the client has sent already, at most LOGIN_INPUT_MAX. */
void login_begin(struct client *c, bool greets, struct str input);
void login_tls_done(struct client *c);                  /* the handshake is over: greets, or goes on after STARTTLS */
void login_is_refused(struct client *c, enum err why, enum text sentence);
void login_due(struct client *c);                       /* the timer rang */
struct login *login_of(const struct client *c);         /* while there is talk */
struct str login_rest(const struct client *c);          /* what the client sent after the login */
void login_end(struct client *c);                       /* frees talk */
/* ---- gate_session.c */
extern const struct parked_host gate_parked_host;
void session_begin(struct client *c);                   /* after LOGIN_OPEN */
void session_due(struct client *c);
void session_leave(struct client *c);                   /* the account has one session less */
void session_drop(struct client *c);                    /* leaves the cell; keeps what the client has not read in out */
/* ---- gate_tokens.c */
void gate_tokens_directory(struct gate *g);             /* another directory is in use: sessions end that it does not let in any more */
void gate_tokens_session(struct gate *g, const struct grant *grant);   /* one begins */
/* ---- gate_http.c */
void web_begin(struct client *c);                       /* the handshake is over: PHASE_WEB */
void web_ready(void *client, unsigned events);
void web_end(struct client *c);                         /* frees web */
#endif
