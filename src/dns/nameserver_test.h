/* dns/nameserver_test.h -- for tests only: tests/nameserver.py as a process of its own, a resolver that asks it, and waiting for answers.
 * The zones are given as lines, as that program reads them ("add example.test MX 10 mail.example.test"). */
#ifndef FACTEUR_DNS_NAMESERVER_TEST_H
#define FACTEUR_DNS_NAMESERVER_TEST_H
#include "base/test.h"
#include "base/clock.h"
#include "dns/resolver.h"
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A program of tests/ that obeys lines: it says its port, then "ok" after each order; it ends with us. */
struct script {
	pid_t pid;
	FILE *orders, *says;
	char  port[8];
};

static void script_says(struct script *p, char *line, int room)
{
	if (fgets(line, room, p->says) == NULL)
		print_error("a program of tests/ ended\n");
	line[strcspn(line, "\n")] = 0;
}

static void script_do(struct script *p, const char *order)
{
	char line[100] = "";

	fprintf(p->orders, "%s\n", order);
	fflush(p->orders);
	script_says(p, line, sizeof line);
	EXPECT_STR(str_of(line), "ok");
}

static struct script script_start(const char *const *argv)
{
	struct script p = { 0 };
	int in[2], out[2];
	posix_spawn_file_actions_t fa;

	EXPECT(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	EXPECT_INT(posix_spawnp(&p.pid, argv[0], &fa, NULL, (char *const *)(uintptr_t)argv, environ), 0);
	posix_spawn_file_actions_destroy(&fa);
	close(in[0]);
	close(out[1]);
	p.orders = fdopen(in[1], "w");
	p.says = fdopen(out[0], "r");
	script_says(&p, p.port, sizeof p.port);
	return p;
}

static void script_stop(struct script *p)
{
	int status;

	fclose(p->orders);
	fclose(p->says);
	EXPECT_INT(waitpid(p->pid, &status, 0), p->pid);
	EXPECT_INT(status, 0);
}

struct nameserver {
	struct script script;
	char          server[32], anchor[200];   /* for resolver_config */
	const char   *dir;
};

static struct nameserver nameserver_start(const char *const *orders, size_t n)
{
	static const char *const argv[] = { "python3", "tests/nameserver.py", NULL };
	struct nameserver ns = { .script = script_start(argv), .dir = test_dir() };
	char line[220];

	snprintf(ns.server, sizeof ns.server, "127.0.0.1@%s", ns.script.port);
	for (size_t i = 0; i < n; i++)
		script_do(&ns.script, orders[i]);
	snprintf(ns.anchor, sizeof ns.anchor, "%.150s/root.key", ns.dir);
	snprintf(line, sizeof line, "anchor %s", ns.anchor);
	script_do(&ns.script, line);
	return ns;
}

static void nameserver_stop(struct nameserver *ns)
{
	script_stop(&ns->script);
	test_dir_remove(ns->dir);
}

UNUSED static struct resolver *nameserver_resolver(const struct nameserver *ns, struct loop *l)
{
	struct resolver_config c = { .servers = str_of(ns->server), .trust_anchor = str_of(ns->anchor) };
	struct resolver *r = NULL;

	EXPECT_OK(resolver_new(l, &c, &r));
	return r;
}

/* Runs the loop until it is true. */
UNUSED static void loop_until(struct loop *l, const bool *it)
{
	int64_t end = clock_mono_ms() + 60000;

	while (!*it && clock_mono_ms() < end)
		loop_once(l, 1000);
	EXPECT(*it);
}
#endif
