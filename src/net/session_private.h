/* net/session_private.h -- what net/session.c (bytes) and net/attach.c (life) share. */
#ifndef FACTEUR_NET_SESSION_PRIVATE_H
#define FACTEUR_NET_SESSION_PRIVATE_H
#include "net/attach.h"

enum { SESSION_IN_MAX = 256 * 1024, SESSION_OUT_FULL = 32 * 1024, SESSION_WRITE_TIMEOUT_MS = 60000 };

struct session {
	int                  fd;              /* -1: a test session */
	struct pool         *pool;
	struct attached     *owner;
	uint64_t             source;
	const struct engine *engine;
	void                *state;
	struct session_open  info;
	struct arena         arena;           /* info's strings and the engine's own */
	struct str           log_text;        /* whose it is, in each line of the log that its thread writes; empty before its OPEN is read */
	struct buf           in;              /* not yet read by the engine: in.p + in_at … in.n */
	size_t               in_at;
	struct buf           out;
	struct buf          *test_out;
	uint64_t             test_ends_at;    /* bytes_out; 0: never */
	uint64_t             bytes_in, bytes_out;
	bool                 is_dead, is_eof, is_parking, is_render, is_resumed;
	bool                 is_drained;      /* the last frame was short: whether there are more is not asked, the pool will say so */
	bool                 takes_large;     /* frames of FRAME_LARGE_MAX: its gate does, unless the kernel's buffers are too small for them */
	bool                 is_counted;      /* in the owner's count; under its lock */
	bool                 is_leaving;      /* the client gave up its login; its engine is not asked any more */
	bool                 must_park;       /* its guest's cell asks for it */
	uint64_t             guest;           /* account; 0: of a gate */
	uint8_t              waits_also;      /* WAIT_OWN and the like, beside those in waits, PARK_WAIT_SIZE bytes each (FRAME_PARK) */
	struct buf           waits;
	struct buf           changed;         /* session_take_changed() */
	_Atomic int64_t      offered_ms;      /* a guest's session: parking was offered then; 0: it is not */
	_Atomic int64_t      waits_since_ms;  /* 0: not waiting, or it cannot be parked before its next command */
	_Atomic uint32_t     epoch;           /* of its grant; UINT32_MAX before it is known */
	_Atomic bool         must_end;
	_Atomic bool         is_left;         /* nobody has taken what was offered: it ends without a word, and goes on elsewhere */
	_Atomic bool         wants_news;      /* the last five: read by other threads (attached_tick, attached_end, attached_changed) */
	struct session      *next, **link;    /* in the owner's list */
};

/* Takes one more frame, of the client's bytes into `in`, waiting up to timeout_ms. ERR_AGAIN without a frame (timeout 0), ERR_TIMEOUT, ERR_CLOSED. */
enum err session_fill(struct session *s, int timeout_ms);
/* A frame to the other side, waiting for it to read. ERR_TIMEOUT: it does not. */
enum err session_frame(struct session *s, enum frame type, struct str bytes, struct str more);
/* A guest's cell that does not read holds a thread: only so many at once, else its owner would have none left. False: too many do. */
bool attached_guest_waits(struct attached *at);
void attached_guest_waited(struct attached *at);
/* Whoever waits for his client to read holds a thread, too: he counts between these two. */
void attached_waits_for_client(struct attached *at);
void attached_waited_for_client(struct attached *at);
/* So many wait that new sessions could not begin, and this one has waited long enough, since since_ms: it ends, and does not count any more. */
bool attached_gives_up(struct attached *at, int64_t since_ms);
/* Frees buffers that are empty: a session that waits costs little. */
void session_slim(struct session *s);
#endif
