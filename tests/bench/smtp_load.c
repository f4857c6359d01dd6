/* smtp_load -- a load of SMTP: connections that each send messages one after the other, as fast as the server answers.
 *
 *   smtp_load [-t LOGINS | -p LOGINS] [-d DOMAIN] PORT CONNECTIONS MESSAGES SIZE ACCOUNTS
 * SIZE in bytes, 0: a mix of 28 kB. ACCOUNTS: recipients are user0@example.test … in turn; with -d they are user@d0.DOMAIN … -t, -p: a
 * file of logins; then it is submission, with TLS from the start or none: AUTH PLAIN, the sender is who logged in. The time of a
 * message is from the end of DATA to its 250. */
#include "load.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int port;
static long connections, messages, accounts, logins_n;
static size_t size;
static struct login *logins;
static bool is_tls;
static const char *domain;  /* recipients are in so many domains below it; NULL: at example.test */
static atomic_long next;

static void say(struct link *l, const char *line) { link_write(l, line, strlen(line)); }

/* Reads one reply, of however many lines. */
static void expect(struct link *l, int code, const char *after)
{
	size_t n;
	char *line;

	do
		line = link_line(l, &n);
	while (n > 3 && line[3] == '-');
	errno = 0;
	if (strtol(line, NULL, 10) != code)
		load_fail("after %s: %s", after, line);
}

static void authenticate(struct link *l, const struct login *who)
{
	char plain[300], base64[420], line[440];
	int n = snprintf(plain, sizeof(plain), "%c%s%c%s", 0, who->address, 0, who->password);

	EVP_EncodeBlock((unsigned char *)base64, (unsigned char *)plain, n);
	snprintf(line, sizeof(line), "AUTH PLAIN %s\r\n", base64);
	say(l, line);
	expect(l, 235, "AUTH");
}

/* The whole message with its end mark; no line of it begins with a dot. */
static char *build(long number, const char *from, size_t *n)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, n);

	if (out == NULL)
		load_fail("no memory");
	message_write(out, size, number, from);
	fputs(".\r\n", out);
	fclose(out);
	return text;
}

static void send_one(struct link *l, long number, const char *from)
{
	char to[200], line[600];
	size_t n;
	char *text = build(number, from, &n);

	if (domain != NULL)
		snprintf(to, sizeof(to), "user@d%ld.%s", number % accounts, domain);
	else
		snprintf(to, sizeof(to), "user%ld@example.test", number % accounts);
	snprintf(line, sizeof(line), "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", from, to);
	say(l, line);
	expect(l, 250, "MAIL");
	expect(l, 250, "RCPT");
	expect(l, 354, "DATA");
	link_write(l, text, n);
	int64_t asked = now_us();
	expect(l, 250, "the message");
	times_add(now_us() - asked);
	load_add(n, 1);
	free(text);
}

static void sender(long index)
{
	struct link *l = link_open(port, is_tls);
	const struct login *who = logins != NULL ? &logins[index % logins_n] : NULL;

	expect(l, 220, "the greeting");
	say(l, "EHLO load.sender.test\r\n");
	expect(l, 250, "EHLO");
	if (who != NULL)
		authenticate(l, who);
	load_ready();
	for (long i; (i = atomic_fetch_add(&next, 1)) < messages;)
		send_one(l, i, who != NULL ? who->address : "load@sender.test");
}

int main(int argc, char **argv)
{
	for (int option; (option = getopt(argc, argv, "t:p:d:")) != -1;) {
		if (option == 't' || option == 'p')
			logins = logins_read(optarg, &logins_n);
		is_tls |= option == 't';
		if (option == 'd')
			domain = optarg;
	}
	if (argc - optind != 5) {
		fprintf(stderr, "usage: smtp_load [-t LOGINS | -p LOGINS] [-d DOMAIN] PORT CONNECTIONS MESSAGES SIZE ACCOUNTS\n");
		return 2;
	}
	argv += optind;
	port = (int)strtol(argv[0], NULL, 10);
	connections = strtol(argv[1], NULL, 10);
	messages = strtol(argv[2], NULL, 10);
	size = (size_t)strtol(argv[3], NULL, 10);
	accounts = strtol(argv[4], NULL, 10);
	times_room((size_t)messages);
	load_run(connections, sender);
}
