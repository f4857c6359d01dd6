/* A certificate authority of our own and a server certificate of it, when tls/ has none: nobody can log in without
 * TLS.
 *
 * The key of the authority stays beside its certificate (ca.key, for its owner only), so that the next certificate is
 * trusted by those who trust this one. tls/default.pem is ours when it ends with that authority's certificate; then
 * setup makes it anew when a name is missing in it or its end is near. What somebody else put there is never touched.
 * The role keys sees the new file by itself. */
#include "base/clock.h"
#include "cli/setup.h"
#include "crypto/ca.h"
#include "crypto/pkey.h"
#include "disk/disk.h"
#include <sys/stat.h>
#include <unistd.h>

/* Apple's devices refuse server certificates that are valid for longer than 825 days, even from an authority added by
 * hand. */
enum { CA_DAYS = 3650, CERTIFICATE_DAYS = 820, RENEW_BEFORE_S = 60 * 86400, PEM_MAX = 64 << 10, NAMES_MAX = 48 };

struct names { struct str list[NAMES_MAX]; size_t n; };

static void add_name(struct names *names, struct str name)
{
	for (size_t i = 0; i < names->n; i++)
		if (str_ieq(names->list[i], name))
			return;
	if (name.n && names->n < NAMES_MAX)
		names->list[names->n++] = name;
}

static bool has_certificate(struct disk_dir *tls, struct arena *a)
{
	struct str *names;
	size_t n;

	if (disk_list(tls, a, &names, &n) != ERR_OK)
		return true;  /* logged; rather none than one too many */
	for (size_t i = 0; i < n; i++)
		if (str_ends(names[i], STR(".pem")) || str_ends(names[i], STR(".crt")) || str_ends(names[i], STR(".cer")))
			return true;
	return false;
}

static enum err read_authority(struct disk_dir *d, struct arena *a, struct ca_pair *ca)
{
	TRY(disk_read_file(d, "ca.key", PEM_MAX, a, &ca->key_pem));
	return disk_read_file(d, "ca.pem", PEM_MAX, a, &ca->certificate_pem);
}

/* The one that is there, else a new one. The key is written first: a certificate without its key could never be used.
 */
static enum err take_authority(struct cli *c, struct disk_dir *d, struct str name, struct ca_pair *ca)
{
	struct str path = arena_printf(&c->arena, "%s/ca.pem", c->dir);
	enum err e = read_authority(d, &c->arena, ca);

	if (e != ERR_NOTFOUND)
		return e;
	TRY(ca_make(arena_printf(&c->arena, "facteur CA " STR_FMT, STR_ARG(name)), CA_DAYS, &c->arena, ca));
	TRY(disk_write_file(d, "ca.key", ca->key_pem));
	TRY(disk_write_file(d, "ca.pem", ca->certificate_pem));
	return chmod(path.p, 0644) == 0 ? ERR_OK : ERR_IO;
}

/* Is the certificate that is there one of ours, and does it want to be made anew? Its names come into `names`. */
static bool wants_renewal(struct disk_dir *d, struct disk_dir *tls, const struct setup *s, struct arena *a,
                          struct names *names)
{
	const struct str wanted[] = { s->hostname, s->domain };
	struct certificate old;
	struct ca_pair ca;
	struct str pem;

	if (read_authority(d, a, &ca) != ERR_OK || disk_read_file(tls, "default.pem", PEM_MAX, a, &pem) != ERR_OK ||
	    !str_ends(pem, ca.certificate_pem) || certificate_read(pem, a, &old) != ERR_OK)
		return false;
	for (size_t i = 0; i < old.name_count; i++)
		add_name(names, old.names[i]);
	size_t had = names->n;
	for (size_t i = 0; i < COUNT_OF(wanted); i++)
		add_name(names, wanted[i]);
	return names->n > had || old.not_after_s < clock_wall_s() + RENEW_BEFORE_S;
}

static enum err issue(struct cli *c, struct disk_dir *d, struct disk_dir *tls, struct setup *s,
                      const struct names *names)
{
	struct str path = arena_printf(&c->arena, "%s/default.pem", disk_dir_path(tls));
	struct ca_pair ca, server;
	struct str both;

	TRY(take_authority(c, d, names->list[0], &ca));
	TRY(ca_issue(&ca, names->list, names->n, CERTIFICATE_DAYS, &c->arena, &server));
	both = arena_printf(&c->arena, STR_FMT STR_FMT, STR_ARG(server.key_pem), STR_ARG(server.certificate_pem));
	TRY(disk_write_file(tls, "default.pem", both));
	if (s->users.uid && chown(path.p, s->users.uid, s->users.gid) < 0)
		return ERR_IO;
	s->made_certificate = true;
	return disk_dir_sync(d);
}

enum err setup_certificate(struct cli *c, struct setup *s)
{
	CLEANUP(disk_dir_close) struct disk_dir *d = NULL, *tls = NULL;
	struct names names = { .n = 0 };

	TRY(disk_dir_open(c->dir, &d));
	TRY(disk_dir_open_below(d, "tls", true, &tls));
	if (s->users.uid && chown(disk_dir_path(tls), s->users.uid, s->users.gid) < 0)
		return ERR_IO;
	if (has_certificate(tls, &c->arena) && !wants_renewal(d, tls, s, &c->arena, &names))
		return ERR_OK;
	add_name(&names, s->hostname);
	add_name(&names, s->domain);
	add_name(&names, STR("localhost"));
	add_name(&names, STR("127.0.0.1"));
	add_name(&names, STR("::1"));
	return issue(c, d, tls, s, &names);
}
