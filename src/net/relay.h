/* net/relay.h -- the two-way pump between a client's stream and its cell: bytes one way, frames the other
 * (ipc/frame.h). It waits for neither side and keeps at most one frame for each: what one side has no room for stops
 * reading from the other, nobody else.
 *
 * The owner embeds it, starts it on a connected pair, and is told once how it ended. Both its descriptors are in the
 * owner's loop; the client's watch stays the owner's and is used by the relay while it runs. */
#ifndef FACTEUR_NET_RELAY_H
#define FACTEUR_NET_RELAY_H
#include "ipc/frame.h"
#include "net/loop.h"
#include "net/stream.h"

enum relay_end {
	RELAY_PARKED = 1,   /* the cell offered a record and every byte of the client is in it: bytes is the body of FRAME_PARK */
	RELAY_LOGOUT,       /* all is sent; close the connection */
	RELAY_UNAUTH,       /* all is sent; back to the login phase, without compression: bytes is the body of FRAME_UNAUTH */
	RELAY_REFUSED,      /* bytes is the body of FRAME_REFUSED */
	RELAY_CELL_GONE,    /* without a word */
	RELAY_CLIENT_GONE,
};

struct relay_owner {
	/* The first frame that is no refusal: the login has succeeded. May be NULL. */
	void (*started)(void *context);
	/* Once; the relay is idle then and may be stopped or freed here. bytes: valid during the call. */
	void (*ended)(void *context, enum relay_end how, struct str bytes);
	/* FRAME_WAITS. False: malformed, the relay ends. May be NULL; the relay is not to be touched here. */
	bool (*waits)(void *context, struct str bytes);
};

struct relay {   /* read-only for the owner */
	struct loop    *loop;
	struct stream  *stream;
	struct loop_fd *client;
	struct loop_fd  cell;
	const struct relay_owner *owner;
	void           *context;
	struct buf      to_cell, to_client;  /* what did not fit; memory only while there is something */
	uint64_t        sent;                /* DATA bytes given to this pair, and CHANGED as one each */
	int64_t         heard_ms, moved_ms;  /* when the client last sent; when bytes last went either way to or from it */
	bool            is_running, has_started, waits_for_start, must_compress;
	bool            is_eof, eof_sent, cell_is_deaf, cell_is_gone;
	bool            is_mid_line;         /* what was given to the client last does not end a line */
};

/* Takes fd, our end of the pair. client: watches stream->fd; ready and context are set here. waits_for_start:
 * nothing is read from the client before the cell has said something (the login may still be refused). */
void relay_start(struct relay *r, struct loop *l, struct stream *st, struct loop_fd *client, int fd, bool waits_for_start,
                 const struct relay_owner *owner, void *context);
/* Bytes of the client that came before the relay; at most FRAME_MAX, and only right after relay_start(). */
void relay_give(struct relay *r, struct str bytes);
/* FRAME_CHANGED. False: there is no room for it now, or nobody there. */
bool relay_changed(struct relay *r, struct str accounts);
/* Closes the pair and frees buffers, except what the client has not read yet: to_client stays for the owner, who
 * frees it. The client's watch stays as it is. Harmless when not running. */
void relay_stop(struct relay *r);
#endif
