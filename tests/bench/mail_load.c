/* mail_load -- a load of IMAP or POP3: connections that log in, prepare, and then run commands over and over.
 *
 *   mail_load [-p] [-t] [-l] [-w] [-c CONNECTIONS] [-r REPEAT] [-s PAUSE_MS] PORT LOGINS [SETUP…] -- [COMMAND…]
 *     -p POP3   -t TLS   -c connections, the n-th logs in as line n of LOGINS   -r how often all the commands are run, each connection
 *     -l each time over a new connection: connect, log in, the commands, log out (what is timed is all of it)
 *     -w a second connection of each account waits in IDLE; what is timed is from our OK to the news there   -s a pause before each
 * In a command, %i is the number of its run (from 1), %c that of its connection, {@4000} a literal with a message of 4000 bytes, {@0}
 * one of the mix, {@1000x200} 200 of them (MULTIAPPEND). IMAP: IDLE is sent and not ended; COMPRESS takes effect. POP3: "RETR *" gets
 * every message, 64 commands at a time. Counts: commands (with -l sessions), untagged answers (POP3: messages), bytes read. */
#include "load.h"
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int port;
static bool pop3, tls, each_anew, watch;
static long connections = 1, repeat = 1, pause_ms, logins_n;
static struct login *logins;
static char **setup, **commands;
static long setup_n, commands_n;
static sem_t doors;
enum { AT_ONCE = 8 };

/* -- IMAP ------------------------------------------------------------------------------------------------------------ */

/* One {@SIZExCOUNT}: literals that need no permission (LITERAL+). Returns what follows it. */
static const char *put_literals(FILE *out, const char *at)
{
	static long number;
	char *end;
	size_t size = strtoul(at, &end, 10);
	long count = *end == 'x' ? strtol(end + 1, &end, 10) : 1;

	for (long i = 0; i < count; i++) {
		char *text = NULL;
		size_t n;
		FILE *m = open_memstream(&text, &n);
		message_write(m, size, __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED), "load@sender.test");
		fclose(m);
		fprintf(out, "%s{%zu+}\r\n", i ? " " : "", n);
		fwrite(text, 1, n, out);
		free(text);
	}
	return end + 1;
}

static char *expand(const char *tag, const char *command, long index, long run, size_t *n)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, n);

	if (out == NULL)
		load_fail("no memory");
	fputs(tag, out);
	for (const char *c = command; *c != '\0';) {
		if (strncmp(c, "%i", 2) == 0 || strncmp(c, "%c", 2) == 0) {
			fprintf(out, "%ld", c[1] == 'i' ? run : index);
			c += 2;
		} else if (strncmp(c, "{@", 2) == 0) {
			c = put_literals(out, c + 2);
		} else {
			putc(*c++, out);
		}
	}
	fputs("\r\n", out);
	fclose(out);
	return text;
}

/* Reads one answer with the literals in it; true when it is the tagged one, or "+". */
static bool read_answer(struct link *l, const char *command)
{
	for (bool is_first = true;; is_first = false) {
		size_t n;
		char *line = link_line(l, &n);
		if (is_first && line[0] == '+')
			return true;
		if (is_first && strncmp(line, "a ", 2) == 0) {
			errno = 0;
			if (strncmp(line, "a OK", 4) != 0)
				load_fail("%.60s: %s", command, line);
			return true;
		}
		if (is_first && strncmp(line, "* BYE", 5) == 0 && strncmp(command, "LOGOUT", 6) != 0)
			load_fail("%.60s: %s", command, line);
		char *brace = n > 2 && line[n - 1] == '}' ? strrchr(line, '{') : NULL;
		if (brace == NULL)
			return false;
		link_skip(l, strtoul(brace + 1, NULL, 10));
	}
}

static void imap_run(struct link *l, const char *command, long index, long run)
{
	size_t n;
	char *text = expand("a ", command, index, run, &n);
	uint64_t before = link_bytes(l), answers = 0;

	link_write(l, text, n);
	free(text);
	while (!read_answer(l, command))
		answers++;
	load_add(link_bytes(l) - before, answers);
	if (strncmp(command, "COMPRESS", 8) == 0)
		link_compress(l);
}

static struct link *imap_open(long index)
{
	const struct login *who = &logins[index % logins_n];
	struct link *l = link_open(port, tls);
	char line[400];
	size_t n;

	link_line(l, &n);
	snprintf(line, sizeof(line), "LOGIN %s \"%s\"", who->address, who->password);
	imap_run(l, line, index, 0);
	return l;
}

/* Reads news until a message came, changed or went. */
static void imap_news(struct link *l)
{
	for (;;) {
		size_t n;
		char *line = link_line(l, &n);
		if (n > 7 && (strcmp(line + n - 7, " EXISTS") == 0 || strstr(line, " FETCH (") != NULL || strstr(line, " EXPUNGE") != NULL))
			return;
	}
}

/* -- POP3 ------------------------------------------------------------------------------------------------------------ */

static char *pop3_reply(struct link *l, const char *command)
{
	size_t n;
	char *line = link_line(l, &n);

	errno = 0;
	if (line[0] != '+')
		load_fail("%s: %s", command, line);
	return line;
}

static long pop3_lines(struct link *l)
{
	size_t n;
	long count = 0;

	while (strcmp(link_line(l, &n), ".") != 0)
		count++;
	return count;
}

static void pop3_say(struct link *l, const char *word, const char *argument)
{
	char line[300];

	int n = snprintf(line, sizeof(line), "%s%s%s\r\n", word, argument[0] ? " " : "", argument);
	link_write(l, line, (size_t)n);
}

static void pop3_retrieve_all(struct link *l)
{
	char number[32];

	pop3_say(l, "STAT", "");
	long count = strtol(pop3_reply(l, "STAT") + 4, NULL, 10);
	for (long from = 1; from <= count; from += 64) {
		char batch[64 * 16];
		size_t n = 0;
		long to = from + 63 < count ? from + 63 : count;
		for (long i = from; i <= to; i++)
			n += (size_t)snprintf(batch + n, sizeof(batch) - n, "RETR %ld\r\n", i);
		link_write(l, batch, n);
		for (long i = from; i <= to; i++) {
			snprintf(number, sizeof(number), "RETR %ld", i);
			pop3_reply(l, number);
			pop3_lines(l);
		}
	}
	load_add(0, (uint64_t)count);
}

static void pop3_run(struct link *l, const char *command)
{
	uint64_t before = link_bytes(l);

	if (strcmp(command, "RETR *") == 0) {
		pop3_retrieve_all(l);
	} else {
		pop3_say(l, command, "");
		pop3_reply(l, command);
		if (strcmp(command, "UIDL") == 0 || strcmp(command, "LIST") == 0)
			load_add(0, (uint64_t)pop3_lines(l));
	}
	load_add(link_bytes(l) - before, 0);
}

static struct link *pop3_open(long index)
{
	const struct login *who = &logins[index % logins_n];
	struct link *l = link_open(port, tls);

	pop3_reply(l, "the greeting");
	pop3_say(l, "USER", who->address);
	pop3_reply(l, "USER");
	pop3_say(l, "PASS", who->password);
	pop3_reply(l, "PASS");
	return l;
}

/* -- the work of a connection ---------------------------------------------------------------------------------------- */

static struct link *open_session(long index) { return pop3 ? pop3_open(index) : imap_open(index); }

static void run(struct link *l, const char *command, long index, long number)
{
	if (pop3)
		pop3_run(l, command);
	else
		imap_run(l, command, index, number);
}

static void whole_sessions(long index)
{
	load_ready();
	for (long i = 1; i <= repeat; i++) {
		int64_t start = now_us();
		struct link *l = open_session(index);
		for (long k = 0; k < commands_n; k++)
			run(l, commands[k], index, i);
		run(l, pop3 ? "QUIT" : "LOGOUT", index, i);
		link_close(l);
		times_add(now_us() - start);
	}
}

/* A few at a time: how a server bears everybody at once is not what is measured here. */
static struct link *prepared_session(long index)
{
	sem_wait(&doors);
	struct link *l = open_session(index);
	for (long k = 0; k < setup_n; k++)
		run(l, setup[k], index, 0);
	sem_post(&doors);
	return l;
}

static void with_watcher(long index)
{
	struct link *watcher = prepared_session(index), *actor = prepared_session(index);

	imap_run(watcher, "IDLE", index, 0);
	load_ready();
	for (long i = 1; i <= repeat; i++) {
		usleep((useconds_t)pause_ms * 1000);
		run(actor, commands[0], index, i);
		int64_t start = now_us();
		imap_news(watcher);
		times_add(now_us() - start);
	}
}

static void one_session(long index)
{
	struct link *l = prepared_session(index);

	load_ready();
	for (long i = 1; i <= repeat; i++)
		for (long k = 0; k < commands_n; k++) {
			if (pause_ms)
				usleep((useconds_t)pause_ms * 1000);
			int64_t start = now_us();
			run(l, commands[k], index, i);
			times_add(now_us() - start);
		}
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "+ptlwc:r:s:")) != -1) {
		switch (option) {
		case 'p': pop3 = true; break;
		case 't': tls = true; break;
		case 'l': each_anew = true; break;
		case 'w': watch = true; break;
		case 'c': connections = strtol(optarg, NULL, 10); break;
		case 'r': repeat = strtol(optarg, NULL, 10); break;
		case 's': pause_ms = strtol(optarg, NULL, 10); break;
		default: return 2;
		}
	}
	argv += optind;
	if (argc - optind < 3) {
		fprintf(stderr, "usage: mail_load [-p] [-t] [-l] [-w] [-c N] [-r N] [-s MS] PORT LOGINS [SETUP…] -- [COMMAND…]\n");
		return 2;
	}
	port = (int)strtol(argv[0], NULL, 10);
	logins = logins_read(argv[1], &logins_n);
	for (setup = commands = argv + 2; *commands != NULL && strcmp(*commands, "--") != 0; commands++)
		setup_n++;
	for (commands += *commands != NULL; commands[commands_n] != NULL; commands_n++)
		;
	sem_init(&doors, 0, AT_ONCE);
	times_room((size_t)(connections * repeat * (each_anew || watch ? 1 : commands_n)) + 1);
	load_run(connections, watch ? with_watcher : each_anew ? whole_sessions : one_session);
}
