/* The options of a program that is older than getopt's long options, and who gets the message. Programs that call sendmail give it
 * whatever their authors found on their own machine, so every option of the old program is known; what does not matter here is
 * passed over. Words may be joined ("-ti") and stand anywhere. */
#include "cli/sendmail_private.h"
#include "mime/address.h"
#include "mime/header.h"
#include <unistd.h>

static bool ends_in(const char *path, const char *name) { return str_ends(str_of(path), str_of(name)); }

static enum sendmail_mode mode_of(const char *letter, enum sendmail_mode before)
{
	switch (letter[0]) {
	case 's': return SENDMAIL_SMTP;
	case 'p': return SENDMAIL_MAILQ;
	case 'i': return SENDMAIL_NEWALIASES;
	default: return before;  /* -bm: deliver */
	}
}

bool sendmail_options(int argc, char **argv, struct sendmail_options *out, char bad[3])
{
	/* with a value: B body type, C file, h hops, L tag, N R V of DSN, O o option, p protocol, X log; d and q: only joined */
	static const char known[] = ":A:B:C:F:GIL:N:O:R:UV:X:b:cd::e:f:h:imno:p:q::r:stvx";
	int option;

	*out = (struct sendmail_options){ .mode = ends_in(argv[0], "mailq") ? SENDMAIL_MAILQ :
	                                          ends_in(argv[0], "newaliases") ? SENDMAIL_NEWALIASES : SENDMAIL_DELIVER };
	optind = 0;  /* from the beginning, also in a second call */
	opterr = 0;
	while ((option = getopt(argc, argv, known)) != -1) {
		switch (option) {
		case 't': out->reads_recipients = true; break;
		case 'i': out->dot_is_text = true; break;
		case 'v': out->is_verbose = true; break;
		case 'f':
		case 'r': out->sender = str_eq(str_of(optarg), STR("<>")) ? "" : optarg; break;
		case 'F': out->name = optarg; break;
		case 'b': out->mode = mode_of(optarg, out->mode); break;
		case 'o': out->dot_is_text = out->dot_is_text || strcmp(optarg, "i") == 0; break;
		case '?':
		case ':':
			bad[0] = '-';
			bad[1] = (char)optopt;
			bad[2] = '\0';
			return false;
		default: break;
		}
	}
	out->words = argv + optind;
	out->word_count = argc - optind;
	return true;
}

/* What SMTP can carry between < and >. */
static bool is_bare_name(const struct mail_address *m)
{
	return m->domain.n == 0 && m->local.n > 0 && m->local.n <= 64 && !str_has_ctl(m->local) && str_chr(m->local, ' ') < 0 &&
	       str_chr(m->local, '<') < 0 && str_chr(m->local, '>') < 0;
}

bool sendmail_recipients_add(struct sendmail_recipients *r, struct arena *a, struct str list)
{
	struct mail_address *m;
	size_t n = address_list_parse(a, list, &m);

	r->bad = STR("");
	for (size_t i = 0; i < n; i++) {
		if (m[i].kind != ADDRESS_MAILBOX)
			continue;
		if (!address_is_valid(&m[i]) && !is_bare_name(&m[i])) {
			r->bad = address_text(a, &m[i]);
			return false;
		}
		if (r->n == SENDMAIL_RECIPIENTS_MAX)
			return false;
		r->address = arena_grow(a, r->address, r->n, &r->cap, sizeof(*r->address));
		r->address[r->n++] = address_text(a, &m[i]);
	}
	return true;
}

static bool is_recipient_field(struct str name)
{
	return str_ieq(name, STR("To")) || str_ieq(name, STR("Cc")) || str_ieq(name, STR("Bcc"));
}

bool sendmail_recipients_of_header(struct sendmail_recipients *r, struct arena *a, struct str header)
{
	struct scan s = scan_of(header);
	struct header_field f;
	bool is_resent = false;

	while (header_next(&s, &f))
		is_resent = is_resent || (str_istarts(f.name, STR("Resent-")) && is_recipient_field(str_from(f.name, 7)));
	s = scan_of(header);
	while (header_next(&s, &f)) {
		bool counts = is_resent ? str_istarts(f.name, STR("Resent-")) && is_recipient_field(str_from(f.name, 7)) : is_recipient_field(f.name);
		if (counts && !sendmail_recipients_add(r, a, f.value))
			return false;
	}
	return true;
}
