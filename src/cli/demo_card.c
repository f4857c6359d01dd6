/* What the demonstration prints: for each account and protocol the host, port, security, user name and password to
 * type. */
#include "cli/demo.h"
#include <limits.h>
#include <unistd.h>

const struct demo_port demo_ports[] = {
	{ "IMAP", { "TLS", "TLS" }, 993, false },
	{ "IMAP", { "STARTTLS", "STARTTLS" }, 143, true },
	{ "POP3", { "TLS", "TLS" }, 995, false },
	{ "POP3", { "STARTTLS", "STARTTLS" }, 110, true },
	{ "SMTP", { "TLS", "TLS" }, 465, false },
	{ "SMTP", { "STARTTLS", "STARTTLS" }, 587, true },
};
const size_t demo_port_count = COUNT_OF(demo_ports);

static struct str port_text(struct demo *d, int port)
{
	return arena_printf(&d->cli->arena, "%d", port + d->port_offset);
}

static void put_account(struct demo *d, const struct demo_account *x, struct buf *out)
{
	static const enum text titles[] = {
		TEXT_DEMO_PROTOCOL, TEXT_DEMO_HOST, TEXT_DEMO_PORT, TEXT_DEMO_SECURITY, TEXT_DEMO_USER_NAME, TEXT_DEMO_PASSWORD,
	};
	struct cli *c = d->cli;
	struct table *t = table_new(&c->arena);
	const struct table_style whole = { .colour = c->style.colour };  /* a password is never cut */

	for (size_t i = 0; i < COUNT_OF(titles); i++)
		table_column(t, str_of(text_get(c->lang, titles[i])), titles[i] == TEXT_DEMO_PORT);
	for (size_t i = 0; i < demo_port_count; i++) {
		const struct demo_port *p = &demo_ports[i];
		const struct str cells[] = {
			str_of(p->protocol), STR("localhost"), port_text(d, p->port), str_of(p->security[c->lang]),
			x->address, x->password,
		};
		table_row(t, cells, COUNT_OF(cells));
	}
	buf_add_char(out, '\n');
	table_print(t, &whole, out);
}

/* How the person can call this very program: ./run does not install it. */
static struct str own_path(struct demo *d)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

	return n > 0 && (size_t)n < sizeof(path) ? str_copy(&d->cli->arena, str_make(path, (size_t)n)) : STR("facteur");
}

void demo_card(struct demo *d)
{
	struct cli *c = d->cli;
	CLEANUP(buf_free) struct buf out = BUF(64 << 10);
	struct str dir = str_of(c->dir), alice = d->accounts[0].address;

	say(c, d->bind.n ? TEXT_DEMO_HEAD_OPEN : TEXT_DEMO_HEAD, STR(DEMO_DOMAIN), dir, d->bind);
	for (size_t i = 0; i < DEMO_ACCOUNTS; i++)
		put_account(d, &d->accounts[i], &out);
	buf_add_char(&out, '\n');
	cli_write(buf_str(&out));
	say(c, TEXT_DEMO_PORT_25, port_text(d, DEMO_SMTP_PORT), alice);
	say(c, TEXT_DEMO_SENDS_NOTHING);
	say(c, TEXT_DEMO_CERTIFICATE, dir);
	say(c, TEXT_DEMO_TRY, port_text(d, DEMO_SMTP_PORT), port_text(d, 993), dir, alice, d->accounts[0].password);
	say(c, TEXT_DEMO_ADMINISTER, own_path(d), dir);
	if (d->missing)
		warn(c, TEXT_DEMO_NO_SANDBOX, str_of(d->missing));
	say(c, TEXT_DEMO_STOP, dir);
	cli_write(STR("ready\n"));
}
