/* ipc/channel.h -- one end of a SOCK_SEQPACKET socketpair between two roles: typed, bounded messages and their answers.
 *
 * Any thread may send, call or ask. Reading: whoever calls channel_receive() (an event loop or a pool thread, when poll says
 * that channel_fd() or channel_wake_fd() is readable), or a thread that waits in channel_call(). A waiting caller never runs
 * other people's handlers: what is not its answer goes to the inbox, channel_wake_fd() becomes readable, and the next
 * channel_receive() runs it. So a handler may itself use channel_call(), and locks held across a call cannot meet a handler.
 *
 * A message that is not in requests.def, comes from the wrong role, is too large or has no handler closes the channel
 * (logged as error). After that, and when the peer is gone, every call returns ERR_UNAVAILABLE until channel_replace(). */
#ifndef FACTEUR_IPC_CHANNEL_H
#define FACTEUR_IPC_CHANNEL_H
#include "base/arena.h"
#include "base/wire.h"
#include "ipc/role.h"

enum { MESSAGE_BODY_MAX = 60000, MESSAGE_FDS_MAX = 4 };

enum request {
#define REQUEST(name, number, sender, receiver, largest) REQUEST_##name = number,
#define NOTICE(name, number, sender, receiver, largest) NOTICE_##name = number,
#include "ipc/requests.def"
#undef REQUEST
#undef NOTICE
};

struct channel;

/* What arrived. body is valid until the handler or callback returns. The receiver owns the descriptors: those still >= 0
 * when the handler returns are closed, so a handler that keeps one sets it to -1. fd_count is what came: 0 also when the
 * sender sent some and this process has no room for more (logged). */
struct message {
	uint16_t   type;
	uint32_t   call;               /* for channel_reply; 0 in a notice */
	enum err   status;             /* in an answer */
	struct str body;
	int        fds[MESSAGE_FDS_MAX];
	int        fd_count;
	uint32_t   socket;             /* which of the channel's it came over: channel_is_current() */
};

/* Handles one request or notice. A request is answered by exactly one channel_reply(), now or later, from any thread. */
struct channel_handler {
	uint16_t type;
	void   (*run)(void *context, struct channel *ch, struct message *m);
};

/* self, peer: who is on which side. handlers: ends with type 0; must outlive the channel. on_closed may be NULL; it runs in
 * channel_receive(). Takes fd, which may be -1 (not connected yet: calls return ERR_UNAVAILABLE). */
struct channel *channel_new(int fd, enum role self, enum role peer, const struct channel_handler *handlers, void *context,
                            void (*on_closed)(void *context, struct channel *ch));
void channel_free(struct channel *ch);                   /* pending asks get ERR_UNAVAILABLE first; NULL is fine */
/* Puts a new descriptor in (after CONNECT); what was pending on the old one has ended with ERR_UNAVAILABLE. What has come over the old one
 * is handled all the same, and that may be later than what comes over the new one. */
void channel_replace(struct channel *ch, int fd);
/* For a handler to which the order matters: no descriptor has been put in since this came, so the peer cannot have asked it again over one. */
bool channel_is_current(const struct channel *ch, const struct message *m);
bool channel_is_open(const struct channel *ch);
int  channel_fd(const struct channel *ch);               /* to poll for reading; changes at channel_replace() */
int  channel_wake_fd(const struct channel *ch);          /* to poll for reading as well; stays the same */
bool channel_wants_write(const struct channel *ch);      /* messages wait for room: poll for writing, then channel_flush() */
void channel_flush(struct channel *ch);

/* Runs what has arrived: handlers and callbacks; returns when nothing more waits. ERR_CLOSED: the peer is gone. */
enum err channel_receive(struct channel *ch);

/* Sends a notice. Never blocks: up to 4 MB wait in memory, beyond it the channel is lost. ERR_LIMIT: not sent, too many descriptors
 * wait already (1,024) or none is left; the channel goes on. The descriptors are duplicated by the kernel, the caller keeps its own. */
enum err channel_notify(struct channel *ch, uint16_t type, struct str body, const int *fds, int fd_count);

/* For a process with several threads that poll channel_fd(): hold(context, fd, true) runs when one begins to wait there for its answer, and
 * with false when it has read. What comes meanwhile is for that thread; whoever else is woken for it finds nothing. Not by a waiter itself. */
void channel_on_wait(struct channel *ch, void (*hold)(void *context, int fd, bool is_held), void *context);

/* Asks and waits for the answer, at most timeout_ms. *answer: body copied to the arena, descriptors owned by the caller.
 * Returns the answer's status; ERR_TIMEOUT; ERR_UNAVAILABLE: not connected or lost, nothing is known about the outcome. */
enum err channel_call(struct channel *ch, uint16_t type, struct str body, const int *fds, int fd_count, int timeout_ms,
                      struct arena *arena, struct message *answer) MUST_CHECK;

/* Asks without waiting (for event loops): done runs once, inside channel_receive() (or channel_free/replace), with the
 * answer or with status ERR_UNAVAILABLE or ERR_TIMEOUT (checked by channel_expire). */
typedef void (*channel_done)(void *context, struct message *answer);
enum err channel_ask(struct channel *ch, uint16_t type, struct str body, const int *fds, int fd_count, int timeout_ms,
                     channel_done done, void *context);
/* Ends asks whose time is over; call it about once a second from loops that use channel_ask(). */
void channel_expire(struct channel *ch, int64_t now_ms);

/* Answers a request. Descriptors stay the caller's. */
void channel_reply(struct channel *ch, uint32_t call, enum err status, struct str body, const int *fds, int fd_count);

/* A sealed memfd with these bytes (for bodies over MESSAGE_BODY_MAX); ERR_IO logged. */
enum err memfd_make(const char *name, struct str bytes, int *fd) MUST_CHECK;
/* Maps a memfd that must carry the seals against writing, shrinking and growing; ERR_INVALID otherwise, or over max bytes. */
enum err memfd_map(int fd, size_t max, struct str *out) MUST_CHECK;
void memfd_unmap(struct str bytes);
#endif
