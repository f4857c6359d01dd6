/* `facteur --role NAME …`: what master executes. Sets up what every role has, then calls the role's own function. */
#include "base/log.h"
#include "base/mem.h"
#include "role/role.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

bool get_connect(struct message *m, enum role *peer, uint32_t *index)
{
	struct scan s = scan_of(m->body);

	*peer = (enum role)get_u8(&s);
	*index = get_u32(&s);
	return get_end(&s) && m->fd_count == 1 && *peer > 0 && *peer < ROLE_COUNT;
}

bool get_listen(struct message *m, struct listen_on *l)
{
	struct scan s = scan_of(m->body);

	l->protocol = (enum protocol)get_u8(&s);
	l->implicit_tls = get_bool(&s);
	l->port = get_u16(&s);
	return get_end(&s) && m->fd_count == 1 && l->protocol > 0 && l->protocol < PROTOCOL_COUNT;
}

void role_on_log(UNUSED void *context, UNUSED struct channel *ch, struct message *m)
{
	if (m->fd_count == 1)
		dup2(m->fds[0], STDERR_FILENO);
}

void role_on_alive(UNUSED void *context, struct channel *ch, struct message *m) { channel_reply(ch, m->call, ERR_OK, STR(""), NULL, 0); }

static struct str option(int argc, char **argv, const char *name)
{
	for (int i = 1; i + 1 < argc; i += 2)
		if (strcmp(argv[i], name) == 0)
			return str_of(argv[i + 1]);
	return STR_NONE;
}

static int (*const roles[ROLE_COUNT])(const struct role_start *start) = {
	[ROLE_NURSERY] = role_nursery, [ROLE_CONTROL] = role_control, [ROLE_KEYS] = role_keys,
	[ROLE_GATE] = role_gate, [ROLE_MX] = role_mx, [ROLE_QUEUE] = role_queue, [ROLE_NET] = role_net,
};

int role_run(const struct role_start *start) { return roles[start->role](start); }

int role_main(int argc, char **argv)
{
	struct role_start start = { .master_fd = 3 };
	uint64_t index = 0;

	if (!role_find(option(argc, argv, "--role"), &start.role) || roles[start.role] == NULL ||
	    !str_to_u64(option(argc, argv, "--index"), &index) || option(argc, argv, "--dir").p == NULL) {
		log_error("--role is for facteur itself; start it with `facteur serve`");
		return 2;
	}
	start.index = (uint32_t)index;
	start.dir = option(argc, argv, "--dir").p;
	start.sandbox = str_eq(option(argc, argv, "--sandbox"), STR("on"));
	const char *level = getenv("FACTEUR_LOG");
	log_setup(role_name(start.role), level && strcmp(level, "debug") == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
	          str_eq(option(argc, argv, "--log"), STR("json")));
	prctl(PR_SET_NAME, role_name(start.role));
	signal(SIGPIPE, SIG_IGN);
	umask(077);
	return role_run(&start);
}
