/* The keyring: any arrangement of files, renewals, and what must not break it. */
#include "base/test.h"
#include "auth/keyring.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/ca.h"
#include "crypto/digest.h"
#include "crypto/pkey.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(struct disk_dir *d, const char *name, struct str text) { EXPECT_OK(disk_write_file(d, name, text)); }

static struct ca_pair issue(struct arena *a, const struct ca_pair *ca, const char *name)
{
	struct str names[] = { str_of(name) };
	struct ca_pair out;

	EXPECT_OK(ca_issue(ca, names, 1, 100, a, &out));
	return out;
}

/* The certificate in use for a host can be signed with. */
static const struct tls_certificate *usable(const struct keyring *k, const char *host)
{
	CLEANUP(buf_free) struct buf signature = BUF(TLS_SIGNATURE_MAX);
	const struct tls_certificates *l = keyring_list(k);

	for (size_t i = 0; i < l->count; i++) {
		struct tls_sign r = { .scheme = TLS_ECDSA_SECP256R1_SHA256, .message = STR("hello") };
		if (!str_eq(l->list[i].names[0], str_of(host)))
			continue;
		memcpy(r.key_hash, l->list[i].key_hash, sizeof r.key_hash);
		EXPECT_OK(keyring_sign(k, &r, &signature));
		return &l->list[i];
	}
	return NULL;
}

/* Certificate and key of a host are renewed one after the other, in either order: between the two the old ones stay. */
static void test_renewal(struct keyring *k, struct disk_dir *dir, const struct ca_pair *ca, struct arena *a)
{
	struct ca_pair first = issue(a, ca, "five.test"), second = issue(a, ca, "five.test"), third = issue(a, ca, "five.test");
	struct ca_pair other = issue(a, ca, "six.test");
	struct str chain;

	put(dir, "default.pem", arena_printf(a, STR_FMT STR_FMT, STR_ARG(other.key_pem), STR_ARG(other.certificate_pem)));
	put(dir, "e.crt", first.certificate_pem);
	put(dir, "e.key", first.key_pem);
	EXPECT(keyring_reload(k) && usable(k, "five.test") != NULL);
	chain = str_copy(a, usable(k, "five.test")->chain[0]);

	put(dir, "e.crt", second.certificate_pem);
	EXPECT(keyring_reload(k) && usable(k, "five.test") != NULL);
	EXPECT(str_eq(usable(k, "five.test")->chain[0], chain));
	put(dir, "e.key", second.key_pem);
	EXPECT(keyring_reload(k) && usable(k, "five.test") != NULL);
	EXPECT(!str_eq(usable(k, "five.test")->chain[0], chain));
	chain = str_copy(a, usable(k, "five.test")->chain[0]);

	put(dir, "e.key", third.key_pem);
	EXPECT(keyring_reload(k) && usable(k, "five.test") != NULL);
	EXPECT(str_eq(usable(k, "five.test")->chain[0], chain));
	put(dir, "e.crt", third.certificate_pem);
	EXPECT(keyring_reload(k) && usable(k, "five.test") != NULL);
	EXPECT(!str_eq(usable(k, "five.test")->chain[0], chain));

	/* a certificate that never had a key takes no place */
	put(dir, "f.pem", issue(a, ca, "seven.test").certificate_pem);
	EXPECT(keyring_reload(k) && usable(k, "seven.test") == NULL);
	EXPECT_OK(disk_remove(dir, "e.key"));
	EXPECT_OK(disk_remove(dir, "e.crt"));
	EXPECT(keyring_reload(k) && usable(k, "five.test") == NULL);
}

/* A look at the folder while a file is being written, or after a renewal that left it unreadable: what it had stays in use, in its place. */
static void test_half_a_file(struct keyring *k, struct disk_dir *dir, const struct ca_pair *ca, struct arena *a)
{
	struct ca_pair first = issue(a, ca, "eight.test"), second = issue(a, ca, "eight.test");
	struct str both = arena_printf(a, STR_FMT STR_FMT, STR_ARG(second.key_pem), STR_ARG(second.certificate_pem)), chain;
	const struct str halves[] = { second.key_pem, str_sub(both, 0, both.n - 200), STR("") };

	put(dir, "default.pem", arena_printf(a, STR_FMT STR_FMT, STR_ARG(first.certificate_pem), STR_ARG(first.key_pem)));
	EXPECT(keyring_reload(k) && usable(k, "eight.test") != NULL);
	chain = str_copy(a, usable(k, "eight.test")->chain[0]);
	for (size_t i = 0; i < 2 * COUNT_OF(halves); i++) {
		put(dir, "default.pem", halves[i % COUNT_OF(halves)]);
		EXPECT(keyring_reload(k) && usable(k, "eight.test") != NULL);
		EXPECT_STR(keyring_list(k)->list[0].names[0], "eight.test");
		EXPECT(usable(k, "eight.test") && str_eq(usable(k, "eight.test")->chain[0], chain));
	}
	put(dir, "h.pem", both);   /* the new one comes in another file */
	EXPECT(keyring_reload(k) && usable(k, "eight.test") != NULL);
	EXPECT(usable(k, "eight.test") && !str_eq(usable(k, "eight.test")->chain[0], chain));
	EXPECT_OK(disk_remove(dir, "h.pem"));
	EXPECT_OK(disk_remove(dir, "default.pem"));
	EXPECT(keyring_reload(k) && usable(k, "eight.test") == NULL);
}

/* A certificate with its key, as long as any is. */
static struct str padded(struct arena *a, const struct ca_pair *p)
{
	enum { LENGTH = 4000 };
	struct str text = arena_printf(a, STR_FMT STR_FMT, STR_ARG(p->key_pem), STR_ARG(p->certificate_pem));

	return arena_printf(a, STR_FMT "%*s", STR_ARG(text), (int)(LENGTH - text.n), "\n");
}

/* Whoever copies with the times of the original, or gives the file to its owner only afterwards, changes neither size nor time of writing. */
TEST(a_file_that_looks_as_it_did)
{
	const char *path = test_dir();
	CLEANUP(arena_free) struct arena a = { 0 };
	struct timespec times[2];
	struct disk_dir *dir;
	struct keyring *k;
	struct ca_pair ca, first, second;
	struct stat st;
	struct str chain;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(ca_make(STR("test CA"), 100, &a, &ca));
	first = issue(&a, &ca, "one.test");
	second = issue(&a, &ca, "one.test");
	put(dir, "a.pem", padded(&a, &first));
	k = keyring_new(dir);
	EXPECT(keyring_reload(k));
	chain = str_copy(&a, usable(k, "one.test")->chain[0]);
	usleep(20000);  /* the clock of a file system ticks a few times in that */
	int fd = open(arena_printf(&a, "%s/a.pem", path).p, O_WRONLY | O_CLOEXEC);
	EXPECT(fd >= 0 && fstat(fd, &st) == 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	EXPECT_INT(write(fd, padded(&a, &second).p, (size_t)st.st_size), st.st_size);
	EXPECT_INT(futimens(fd, times), 0);
	close(fd);
	EXPECT(keyring_reload(k));
	EXPECT(!str_eq(usable(k, "one.test")->chain[0], chain));
	keyring_free(k);
	disk_dir_close(&dir);
	test_dir_remove(path);
}

/* With its key, for so many days. */
static struct str made(struct arena *a, const struct ca_pair *ca, const struct str *names, size_t n, int days)
{
	struct ca_pair p;

	EXPECT_OK(ca_issue(ca, names, n, days, a, &p));
	return arena_printf(a, STR_FMT STR_FMT, STR_ARG(p.key_pem), STR_ARG(p.certificate_pem));
}

/* Is the certificate that clients get for this name valid for so many days? 0: there is none. */
static bool shows(const struct keyring *k, const char *name, int days)
{
	const struct tls_certificates c = keyring_shown(k);
	int found = 0;

	for (size_t i = 0; i < c.count; i++)
		for (size_t n = 0; n < c.list[i].name_count; n++)
			if (str_eq(c.list[i].names[n], str_of(name)))
				found += (int)((c.list[i].not_after_s - clock_wall_s() + 43200) / 86400);
	return found == days;
}

/* As after `facteur setup`, which makes default.pem for the server's name, when a public certificate is put beside it. */
TEST(a_public_certificate_beside_our_own)
{
	static const struct str own[] = { { "mail.one.test", 13 }, { "one.test", 8 } }, wild[] = { { "*.one.test", 10 } };
	const char *path = test_dir();
	CLEANUP(arena_free) struct arena a = { 0 };
	struct disk_dir *dir;
	struct keyring *k;
	struct ca_pair ca;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(ca_make(STR("test CA"), 1000, &a, &ca));
	k = keyring_new(dir);
	put(dir, "default.pem", made(&a, &ca, own, 2, 820));
	EXPECT(keyring_reload(k) && shows(k, "mail.one.test", 820) && shows(k, "one.test", 820));
	put(dir, "mail.pem", made(&a, &ca, own, 1, 30));
	EXPECT(keyring_reload(k) && shows(k, "mail.one.test", 30) && shows(k, "one.test", 820));
	put(dir, "a-newer.pem", made(&a, &ca, own, 1, 90));
	EXPECT(keyring_reload(k) && shows(k, "mail.one.test", 90));
	put(dir, "z-older.pem", made(&a, &ca, own, 1, 10));
	EXPECT(keyring_reload(k) && shows(k, "mail.one.test", 90));
	EXPECT_INT(keyring_shown(k).count, 2);
	EXPECT_INT(keyring_list(k)->count, 4);
	EXPECT_INT(keyring_shown(k).list[0].not_after_s, keyring_list(k)->list[0].not_after_s);   /* clients that name none */
	EXPECT(!keyring_reload(k));
	clock_wall_offset(100 * 86400);   /* all but our own have expired */
	EXPECT(keyring_reload(k) && shows(k, "mail.one.test", 720));
	EXPECT(!keyring_reload(k));
	clock_wall_offset(0);
	put(dir, "wild.pem", made(&a, &ca, wild, 1, 60));
	EXPECT_OK(disk_remove(dir, "a-newer.pem"));
	EXPECT_OK(disk_remove(dir, "z-older.pem"));
	EXPECT_OK(disk_remove(dir, "mail.pem"));
	EXPECT(keyring_reload(k) && shows(k, "mail.one.test", 0) && shows(k, "*.one.test", 60) && shows(k, "one.test", 820));
	keyring_free(k);
	disk_dir_close(&dir);
	test_dir_remove(path);
}

static size_t lines_with(int fd, const char *words)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof text, 0);
	struct str rest = str_make(text, n > 0 ? (size_t)n : 0);
	size_t count = 0;

	for (ptrdiff_t at; (at = str_find(rest, str_of(words))) >= 0; count++)
		rest = str_from(rest, (size_t)at + 1);
	return count;
}

/* A server that runs for months says each day what has to be done, not only when the files change. */
TEST(a_certificate_near_its_end)
{
	const char *path = test_dir();
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int log = open(arena_printf(&a, "%s/log", path).p, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct str names[] = { STR("one.test") };
	int64_t now_ms = clock_mono_ms();
	struct disk_dir *dir;
	struct keyring *k;
	struct ca_pair ca, one;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(ca_make(STR("test CA"), 100, &a, &ca));
	EXPECT_OK(ca_issue(&ca, names, 1, 10, &a, &one));
	put(dir, "a.pem", padded(&a, &one));
	k = keyring_new(dir);
	log_to_fd(log);
	EXPECT(keyring_reload(k));
	EXPECT(!keyring_remind(k, now_ms + 3600 * 1000));
	size_t at_first = lines_with(log, "the certificate in tls/a.pem expires in");
	EXPECT(keyring_remind(k, now_ms + 25 * 3600 * 1000));
	size_t next_day = lines_with(log, "the certificate in tls/a.pem expires in");
	clock_wall_offset(11 * 86400);
	EXPECT(keyring_remind(k, now_ms + 50 * 3600 * 1000));
	size_t expired = lines_with(log, "the certificate in tls/a.pem has expired");
	clock_wall_offset(0);
	log_to_fd(STDERR_FILENO);
	EXPECT_INT(at_first, 1);
	EXPECT_INT(next_day, 2);
	EXPECT_INT(expired, 1);
	keyring_free(k);
	disk_dir_close(&dir);
	test_dir_remove(path);
}

TEST(keyring)
{
	const char *path = test_dir();
	struct arena a = { 0 };
	struct disk_dir *dir;
	struct keyring *k;
	struct ca_pair ca, one, two, three;
	struct buf signature = BUF(TLS_SIGNATURE_MAX);
	struct tls_sign r = { .scheme = TLS_ECDSA_SECP256R1_SHA256, .message = STR("hello") };
	const struct tls_certificates *l;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(ca_make(STR("test CA"), 100, &a, &ca));
	one = issue(&a, &ca, "one.test");
	two = issue(&a, &ca, "two.test");
	three = issue(&a, &ca, "three.test");
	k = keyring_new(dir);
	keyring_reload(k);
	EXPECT_INT(keyring_list(k)->count, 0);
	put(dir, "a.pem", arena_printf(&a, STR_FMT STR_FMT, STR_ARG(one.certificate_pem), STR_ARG(one.key_pem)));
	put(dir, "b.crt", two.certificate_pem);
	put(dir, "b.key", two.key_pem);
	put(dir, "default.pem", arena_printf(&a, STR_FMT STR_FMT, STR_ARG(three.key_pem), STR_ARG(three.certificate_pem)));
	put(dir, "notes.txt", STR("nothing"));
	EXPECT(keyring_reload(k));
	EXPECT(!keyring_reload(k));
	l = keyring_list(k);
	EXPECT_INT(l->count, 3);
	EXPECT_STR(l->list[0].names[0], "three.test");
	EXPECT_STR(l->list[1].names[0], "one.test");
	EXPECT_STR(l->list[2].names[0], "two.test");
	EXPECT_INT(l->list[0].chain_count, 1);

	memcpy(r.key_hash, l->list[2].key_hash, sizeof r.key_hash);
	EXPECT_OK(keyring_sign(k, &r, &signature));
	EXPECT(signature.n > 60);
	r.scheme = TLS_RSA_PSS_RSAE_SHA256;
	EXPECT_ERR(keyring_sign(k, &r, &signature), ERR_INVALID);
	r.key_hash[0] ^= 1;
	EXPECT_ERR(keyring_sign(k, &r, &signature), ERR_NOTFOUND);

	/* a certificate that came before its key, and a broken file: left out, the others stay */
	put(dir, "c.pem", issue(&a, &ca, "four.test").certificate_pem);
	put(dir, "d.pem", STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
	EXPECT(keyring_reload(k));
	EXPECT_INT(keyring_list(k)->count, 3);
	/* all gone: the old ones stay in use */
	EXPECT_OK(disk_remove(dir, "a.pem"));
	EXPECT_OK(disk_remove(dir, "b.key"));
	EXPECT_OK(disk_remove(dir, "default.pem"));
	EXPECT(!keyring_reload(k));
	EXPECT_INT(keyring_list(k)->count, 3);

	test_renewal(k, dir, &ca, &a);
	put(dir, "x.pem", arena_printf(&a, STR_FMT STR_FMT, STR_ARG(one.certificate_pem), STR_ARG(one.key_pem)));
	test_half_a_file(k, dir, &ca, &a);

	EXPECT(keyring_rotate_tickets(k, 0));
	EXPECT(!keyring_rotate_tickets(k, 1000));
	EXPECT(keyring_rotate_tickets(k, 13 * 3600 * 1000));
	EXPECT_INT(keyring_list(k)->ticket_key_count, 2);
	EXPECT(memcmp(keyring_list(k)->ticket_keys[0], keyring_list(k)->ticket_keys[1], TLS_TICKET_KEY_SIZE) != 0);
	keyring_free(k);
	disk_dir_close(&dir);
	test_dir_remove(path);
	buf_free(&signature);
	arena_free(&a);
}
