/* dns/nameserver_test.h -- for tests only: tests/nameserver.py as a process of its own, a resolver that asks it, and waiting for answers.
 * The zones are given as lines, as that program reads them ("add example.test MX 10 mail.example.test"). */
#ifndef FACTEUR_DNS_NAMESERVER_TEST_H
#define FACTEUR_DNS_NAMESERVER_TEST_H
#include "base/test.h"
#include "base/clock.h"
#include "dns/resolver.h"
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct nameserver {
	pid_t       pid;
	FILE       *orders, *says;
	char        server[32], anchor[200];   /* for resolver_config */
	const char *dir;
};

static void nameserver_says(struct nameserver *ns, char *line, int room)
{
	if (fgets(line, room, ns->says) == NULL)
		print_error("tests/nameserver.py ended\n");
	line[strcspn(line, "\n")] = 0;
}

static void nameserver_do(struct nameserver *ns, const char *order)
{
	char line[100] = "";

	fprintf(ns->orders, "%s\n", order);
	fflush(ns->orders);
	nameserver_says(ns, line, sizeof line);
	EXPECT_STR(str_of(line), "ok");
}

static struct nameserver nameserver_start(const char *const *orders, size_t n)
{
	struct nameserver ns = { .dir = test_dir() };
	char *argv[] = { (char *)"python3", (char *)"tests/nameserver.py", NULL };
	char line[220] = "";
	int in[2], out[2];
	posix_spawn_file_actions_t fa;

	EXPECT(pipe(in) == 0 && pipe(out) == 0);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	posix_spawn_file_actions_addclose(&fa, in[1]);   /* it ends when we do */
	posix_spawn_file_actions_addclose(&fa, out[0]);
	EXPECT_INT(posix_spawnp(&ns.pid, "python3", &fa, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&fa);
	close(in[0]);
	close(out[1]);
	ns.orders = fdopen(in[1], "w");
	ns.says = fdopen(out[0], "r");
	nameserver_says(&ns, line, sizeof line);
	snprintf(ns.server, sizeof ns.server, "127.0.0.1@%.5s", line);
	for (size_t i = 0; i < n; i++)
		nameserver_do(&ns, orders[i]);
	snprintf(ns.anchor, sizeof ns.anchor, "%.150s/root.key", ns.dir);
	snprintf(line, sizeof line, "anchor %s", ns.anchor);
	nameserver_do(&ns, line);
	return ns;
}

static void nameserver_stop(struct nameserver *ns)
{
	int status;

	fclose(ns->orders);
	fclose(ns->says);
	EXPECT_INT(waitpid(ns->pid, &status, 0), ns->pid);
	EXPECT_INT(status, 0);
	test_dir_remove(ns->dir);
}

static struct resolver *nameserver_resolver(const struct nameserver *ns, struct loop *l)
{
	struct resolver_config c = { .servers = str_of(ns->server), .trust_anchor = str_of(ns->anchor) };
	struct resolver *r = NULL;

	EXPECT_OK(resolver_new(l, &c, &r));
	return r;
}

/* Runs the loop until it is true. */
static void loop_until(struct loop *l, const bool *it)
{
	int64_t end = clock_mono_ms() + 60000;

	while (!*it && clock_mono_ms() < end)
		loop_once(l, 1000);
	EXPECT(*it);
}
#endif
