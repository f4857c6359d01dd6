/* A hostile peer: any datagrams on the socket of a channel, as a role that was taken over would send them. The first byte chooses
 * who we are and who it says it is; the rest is cut into datagrams. Also the frames of a session and the lists inside messages. */
#include "base/log.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/sessions.h"
#include "ipc/tls_key.h"
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void answer(UNUSED void *context, struct channel *ch, struct message *m)
{
	if (m->call)
		channel_reply(ch, m->call, ERR_OK, m->body, NULL, 0);
}

static const struct channel_handler handlers[] = {
#define REQUEST(name, number, sender, receiver, largest) { REQUEST_##name, answer },
#define NOTICE(name, number, sender, receiver, largest) { NOTICE_##name, answer },
#include "ipc/requests.def"
#undef REQUEST
#undef NOTICE
	{ 0 },
};

static void done(UNUSED void *context, UNUSED struct message *m) { }

static void channel_gets(struct str bytes, uint8_t who)
{
	enum role self = (enum role)(1 + who % (ROLE_COUNT - 1)), peer = (enum role)(1 + who / ROLE_COUNT % (ROLE_COUNT - 1));
	struct scan s = scan_of(bytes);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return;
	struct channel *ch = channel_new(pair[0], self, peer, handlers, NULL, NULL);
	channel_ask(ch, REQUEST_LEAVE, STR("12345678"), NULL, 0, 1000, done, NULL);  /* so that answers have something to answer */
	while (scan_left(&s) > 1) {
		size_t size = (uint8_t)scan_bytes(&s, 1).p[0];
		struct str datagram = scan_bytes(&s, size < scan_left(&s) ? size : scan_left(&s));
		(void)!send(pair[1], datagram.p, datagram.n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (channel_receive(ch) == ERR_CLOSED)
			break;
	}
	channel_free(ch);
	close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str bytes = str_make(data, n);
	struct session_open open;
	struct tls_certificates certificates;
	struct tls_sign sign;
	struct str signature;
	struct session_info *list = NULL;
	size_t list_n = 0, list_cap = 0;
	uint32_t next;

	if (n < 2)
		return 0;
	log_to_fd(-1);  /* every refusal is an error line */
	channel_gets(str_from(bytes, 1), data[0]);
	struct scan s = scan_of(bytes);
	get_session_open(&s, &open);
	s = scan_of(bytes);
	get_tls_certificates(&s, &a, &certificates);
	s = scan_of(bytes);
	get_tls_sign(&s, &sign);
	s = scan_of(bytes);
	get_tls_signature(&s, &signature);
	s = scan_of(bytes);
	get_sessions(&s, &a, &list, &list_n, &list_cap, &next);
	return 0;
}
