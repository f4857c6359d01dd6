/* The role keys: the process that has the secrets and talks to nobody outside. It holds keys.db and the TLS private keys, and
 * answers what requests.def lets gate, mx, queue, net, control and master ask: verify, sign, the key of a cell, changes of passwords, logins
 * at other servers.
 *
 * One thread, one loop; judgement is auth/verifier.c, certificates are auth/keyring.c, yescrypt runs in the verifier's workers, DKIM
 * in a thread of mailauth/dkim_worker.c. Nothing here waits: a TLS signature takes a millisecond (RSA) or 50 µs (EC), an app password
 * some µs. An answer that comes later (a yescrypt) goes back only if the peer is still the process that asked: a restarted gate counts its calls anew. */
#include "auth/certificates.h"
#include "auth/command.h"
#include "auth/jwt.h"
#include "auth/keyring.h"
#include "auth/route_password.h"
#include "auth/verifier.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/digest.h"
#include "directory/lookup.h"
#include "mailauth/dkim_worker.h"
#include "net/listen.h"
#include "role/door.h"
#include "role/lost.h"
#include "role/role.h"
#include "role/watch.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { NEIGHBOURS_MAX = 32, TICK_MS = 1000, RELOAD_EVERY_MS = 5000, CERTIFICATES_TIMEOUT_MS = 30000 };

struct keys;

struct neighbour {   /* another role */
	struct keys    *keys;
	struct channel *ch;
	enum role       role;
	uint32_t        index;
	struct lost     lost;
	uint64_t        generation;   /* grows with each process behind the channel */
};

struct keys {
	const struct role_start *start;
	struct watch     *watch;
	struct channel   *master;
	struct neighbour       neighbours[NEIGHBOURS_MAX];
	size_t            neighbour_count;
	struct disk_dir  *dir, *tls_dir;
	struct secrets   *secrets;
	struct verifier  *verifier;
	struct dkim_worker *dkim;
	struct keyring   *keyring;
	struct lookup    *lookup;         /* NULL until control has sent one */
	int64_t           ticked_ms, reloaded_ms;
	bool              stops;
};

/* A request that is answered later. */
struct later {
	struct neighbour *neighbour;
	uint64_t     generation;
	uint32_t     call;
};

static struct later *later_new(struct neighbour *p, uint32_t call)
{
	struct later *l = MEM_NEW(struct later);

	*l = (struct later){ p, p->generation, call };
	return l;
}

static void later_reply(struct later *l, enum err status, struct str body)
{
	if (l->neighbour->generation == l->generation)
		channel_reply(l->neighbour->ch, l->call, status, body, NULL, 0);
	mem_free(l);
}

/* ---- logins ---- */

static struct login_account as_login(const struct lookup_account *x)
{
	return (struct login_account){ .account = x->account, .epoch = x->epoch, .rights = x->rights, .is_suspended = x->is_suspended,
	                               .address = x->address };
}

static bool resolve(void *context, struct str login, UNUSED struct arena *a, struct login_account *out)
{
	struct keys *k = context;
	struct lookup_account found;

	if (k->lookup == NULL || !lookup_login(k->lookup, login, &found))
		return false;
	*out = as_login(&found);
	return true;
}

static bool resolve_printer(void *context, struct str ip, struct login_account *out)
{
	struct keys *k = context;
	struct lookup_account found;

	if (k->lookup == NULL || !lookup_printer(k->lookup, ip, &found))
		return false;
	*out = as_login(&found);
	return true;
}

static bool resolve_account(void *context, uint64_t account, struct login_account *out)
{
	struct keys *k = context;
	struct lookup_account found;

	if (k->lookup == NULL || !lookup_account(k->lookup, account, &found))
		return false;
	*out = as_login(&found);
	return true;
}

static size_t issuers(void *context, struct arena *a, struct issuer **out)
{
	struct keys *k = context;

	return k->lookup ? lookup_issuers(k->lookup, a, out) : 0;
}

static struct channel *channel_to(struct keys *k, enum role role)
{
	for (size_t i = 0; i < k->neighbour_count; i++)
		if (k->neighbours[i].role == role && channel_is_open(k->neighbours[i].ch))
			return k->neighbours[i].ch;
	return NULL;
}

/* control decides whether the issuer is asked. While it is away, nobody does: it looks by itself when it is back. */
static void fetch_keys(void *context, const struct issuer *i)
{
	CLEANUP(buf_free) struct buf b = BUF(2 * ISSUER_TEXT_MAX);
	struct channel *control = channel_to(context, ROLE_CONTROL);

	put_str(&b, i->name);
	if (control != NULL)
		channel_notify(control, NOTICE_UNKNOWN_KEY, buf_str(&b), NULL, 0);
}

static void verify_answer(void *context, const struct verify_reply *r)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);

	put_verify_reply(&b, r);
	later_reply(context, ERR_OK, buf_str(&b));
}

/* Restarted, and control has not yet sent its directory: nobody is known here. Who comes then shall come back, not hear that his password is wrong. */
static bool knows_accounts(const struct neighbour *p, struct channel *ch, const struct message *m)
{
	if (p->keys->lookup != NULL)
		return true;
	log_warn("login busy reason=no-directory-yet");
	channel_reply(ch, m->call, ERR_UNAVAILABLE, STR(""), NULL, 0);
	return false;
}

static void on_verify(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	struct scan s = scan_of(m->body);
	struct verify_request r;

	if (!knows_accounts(p, ch, m))
		return;
	if (!get_verify_request(&s, &r))
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
	else
		verifier_ask(p->keys->verifier, &r, verify_answer, later_new(p, m->call));
}

static void on_scram_first(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct scan s = scan_of(m->body);
	struct scram_first_request r;
	struct scram_first_reply out;

	if (!knows_accounts(p, ch, m))
		return;
	if (!get_scram_first_request(&s, &r)) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	verifier_scram_first(p->keys->verifier, &r, p, &a, &out);
	put_scram_first_reply(&b, &out);
	channel_reply(ch, m->call, ERR_OK, buf_str(&b), NULL, 0);
}

static void reply_verified(struct channel *ch, uint32_t call, const struct verify_reply *r)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);

	put_verify_reply(&b, r);
	channel_reply(ch, call, ERR_OK, buf_str(&b), NULL, 0);
}

static void on_scram_final(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(m->body);
	struct scram_final_request r;
	struct verify_reply out;

	if (!knows_accounts(p, ch, m))
		return;
	if (!get_scram_final_request(&s, &r)) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	verifier_scram_final(p->keys->verifier, &r, p, &a, &out);
	reply_verified(ch, m->call, &out);
}

static void on_printer(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	struct scan s = scan_of(m->body);
	struct printer_request r;
	struct verify_reply out;
	struct peer peer;
	char room[PEER_TEXT_MAX];

	if (!knows_accounts(p, ch, m))
		return;
	if (!get_printer_request(&s, &r) || m->fd_count != 1 || !peer_of_socket(&peer, m->fds[0])) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	r.peer = peer_text(&peer, room);
	verifier_printer(p->keys->verifier, &r, &out);
	reply_verified(ch, m->call, &out);
}

static void on_certificate_login(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(m->body);
	struct certificate_login_request r;
	struct verify_reply out;

	if (!knows_accounts(p, ch, m))
		return;
	if (!get_certificate_login_request(&s, &r)) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	verifier_certificate(p->keys->verifier, &r, &a, &out);
	reply_verified(ch, m->call, &out);
}

static void on_bearer(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(m->body);
	struct bearer_request r;
	struct verify_reply out;

	if (!knows_accounts(p, ch, m))
		return;
	if (!get_bearer_request(&s, &r)) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	verifier_bearer(p->keys->verifier, &r, &a, &out);
	reply_verified(ch, m->call, &out);
}

/* ---- TLS ---- */

static void on_tls_sign(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	CLEANUP(buf_free) struct buf signature = BUF(TLS_SIGNATURE_MAX), b = BUF(TLS_SIGNATURE_MAX + 16);
	struct scan s = scan_of(m->body);
	struct tls_sign r;
	enum err e = get_tls_sign(&s, &r) ? keyring_sign(p->keys->keyring, &r, &signature) : ERR_INVALID;

	if (e == ERR_OK)
		put_tls_signature(&b, buf_str(&signature));
	channel_reply(ch, m->call, e, buf_str(&b), NULL, 0);
}

static void certificates_used(void *context, struct message *answer)
{
	struct neighbour *p = context;

	if (answer->status != ERR_OK && answer->status != ERR_UNAVAILABLE)
		log_error("certificates refused by=%s index=%u error=%s", role_name(p->role), p->index, err_name(answer->status));
}

static void send_certificates(struct keys *k, struct neighbour *only)
{
	CLEANUP(buf_free) struct buf b = BUF(TLS_CERTIFICATES_BYTES_MAX);
	CLEANUP(fd_close) int fd = -1;
	const struct tls_certificates shown = keyring_shown(k->keyring);
	struct str body;

	put_tls_certificates(&b, &shown);
	body = buf_str(&b);
	if (b.failed || (b.n > MESSAGE_BODY_MAX && memfd_make("certificates", body, &fd) != ERR_OK)) {
		log_error("the certificates are too large to be passed on size_bytes=%zu", b.n);
		return;
	}
	if (fd >= 0)
		body = STR("");
	for (size_t i = 0; i < k->neighbour_count; i++) {
		struct neighbour *p = &k->neighbours[i];

		if ((only == NULL || only == p) && (p->role == ROLE_GATE || p->role == ROLE_MX) && channel_is_open(p->ch))
			channel_ask(p->ch, REQUEST_CERTIFICATES, body, &fd, fd >= 0 ? 1 : 0, CERTIFICATES_TIMEOUT_MS, certificates_used, p);
	}
}

static void reload(struct keys *k)
{
	bool is_new = keyring_reload(k->keyring);

	(void)keyring_remind(k->keyring, clock_mono_ms());
	if (keyring_rotate_tickets(k->keyring, clock_mono_ms()) || is_new)
		send_certificates(k, NULL);
}

/* ---- DKIM ---- */

static void dkim_sign_answer(void *context, enum err status, struct str prefix) { later_reply(context, status, prefix); }

static void on_dkim_sign(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	struct scan s = scan_of(m->body);
	struct dkim_request r;

	if (!get_dkim_request(&s, &r)) {
		log_error("a request for a DKIM signature is malformed");
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
	} else {
		dkim_worker_sign(p->keys->dkim, &r, dkim_sign_answer, later_new(p, m->call));
	}
}

/* Before whoever changed the keys is answered: what he sends next is signed. */
static void tell_queue(const struct keys *k)
{
	for (size_t i = 0; i < k->neighbour_count; i++)
		if (k->neighbours[i].role == ROLE_QUEUE)
			channel_notify(k->neighbours[i].ch, NOTICE_DKIM_KEYS, STR(""), NULL, 0);
}

static void dkim_command_answer(void *context, enum err status, const struct dkim_keys *list)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);

	tell_queue(((struct later *)context)->neighbour->keys);
	put_dkim_keys(&b, list);
	later_reply(context, status, buf_str(&b));
}

static void on_dkim_command(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	struct scan s = scan_of(m->body);
	struct dkim_command c;

	if (!get_dkim_command(&s, &c))
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
	else
		dkim_worker_command(p->keys->dkim, &c, dkim_command_answer, later_new(p, m->call));
}

/* ---- logins at other servers ---- */

static void on_route_password(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	struct arena a = { 0 };
	struct scan s = scan_of(m->body);
	struct str name, password = STR("");
	enum err e = get_route_password_name(&s, &name) ? route_password_find(p->keys->secrets, name, &a, &password) : ERR_INVALID;

	channel_reply(ch, m->call, e, password, NULL, 0);
	arena_wipe(&a);
	arena_free(&a);
}

static void on_route_command(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct scan s = scan_of(m->body);
	struct route_password_command c;
	bool was_there = false;
	enum err e = get_route_password_command(&s, &c) ? route_password_run(p->keys->secrets, &c, &was_there) : ERR_INVALID;

	put_bool(&b, was_there);
	channel_reply(ch, m->call, e, buf_str(&b), NULL, 0);
}

/* ---- control and master ---- */

static void command_answer(void *context, enum err status, const struct secret_reply *r)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);

	put_secret_reply(&b, r);
	later_reply(context, status, buf_str(&b));
	if (b.n > 0)
		mem_wipe(b.p, b.n);
}

static void on_secret_command(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	struct scan s = scan_of(m->body);
	struct secret_command c;

	if (!get_secret_command(&s, &c))
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
	else
		verifier_command(p->keys->verifier, &c, command_answer, later_new(p, m->call));
}

static void on_certificate_list(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	enum err e = certificates_serve(p->keys->keyring, m->body, &b);

	channel_reply(ch, m->call, e, buf_str(&b), NULL, 0);
}

static void on_directory(void *context, struct channel *ch, struct message *m)
{
	struct neighbour *p = context;
	struct lookup *fresh = NULL;
	enum err e = m->fd_count == 1 ? lookup_open(m->fds[0], &fresh) : ERR_INVALID;

	if (e == ERR_OK) {
		lookup_close(p->keys->lookup);
		p->keys->lookup = fresh;
		verifier_set_scram(p->keys->verifier, lookup_scram(fresh));
		verifier_set_token_ends_session(p->keys->verifier, conf_on(lookup_conf(fresh), SETTING_token_ends_session));
	}
	channel_reply(ch, m->call, e, STR(""), NULL, 0);
}

/* The key goes by a pipe that master passes on unread. An account the directory does not show (deleted, but not yet purged) has
 * a key too: its mail can be exported or undeleted. */
static void on_cell_key(void *context, struct channel *ch, struct message *m)
{
	struct keys *k = context;
	CLEANUP(buf_free) struct buf b = BUF(16);
	CLEANUP(fd_close) int in = -1, out = -1;
	struct scan s = scan_of(m->body);
	struct lookup_account found = { 0 };
	uint64_t account = get_u64(&s);
	uint8_t key[GRANT_KEY_SIZE];
	int ends[2];

	if (!get_end(&s) || account == 0) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	if (k->lookup == NULL || pipe2(ends, O_CLOEXEC) < 0) {
		channel_reply(ch, m->call, ERR_UNAVAILABLE, STR(""), NULL, 0);
		return;
	}
	in = ends[1];
	out = ends[0];
	lookup_account(k->lookup, account, &found);
	verifier_cell_key(k->verifier, account, key);
	if (write(in, key, sizeof key) != sizeof key) {
		channel_reply(ch, m->call, log_errno("write", "key pipe"), STR(""), NULL, 0);
		return;
	}
	mem_wipe(key, sizeof key);
	put_u32(&b, verifier_epoch(k->verifier, account, found.epoch));
	channel_reply(ch, m->call, ERR_OK, buf_str(&b), &out, 1);
}

static const struct channel_handler gate_handlers[] = {
	{ REQUEST_VERIFY, on_verify }, { REQUEST_SCRAM_FIRST, on_scram_first }, { REQUEST_SCRAM_FINAL, on_scram_final },
	{ REQUEST_CERTIFICATE_LOGIN, on_certificate_login }, { REQUEST_BEARER, on_bearer }, { REQUEST_PRINTER, on_printer },
	{ REQUEST_TLS_SIGN, on_tls_sign }, { 0 },
};
static const struct channel_handler mx_handlers[] = { { REQUEST_TLS_SIGN, on_tls_sign }, { 0 } };
static const struct channel_handler queue_handlers[] = { { REQUEST_DKIM_SIGN, on_dkim_sign }, { 0 } };
static const struct channel_handler control_handlers[] = {
	{ REQUEST_SECRET_COMMAND, on_secret_command }, { REQUEST_CERTIFICATE_LIST, on_certificate_list },
	{ REQUEST_DKIM_COMMAND, on_dkim_command }, { REQUEST_ROUTE_COMMAND, on_route_command }, { REQUEST_DIRECTORY, on_directory }, { 0 },
};
static const struct channel_handler net_handlers[] = { { REQUEST_ROUTE_PASSWORD, on_route_password }, { 0 } };

static const struct channel_handler *handlers_of(enum role role)
{
	switch (role) {
	case ROLE_GATE:    return gate_handlers;
	case ROLE_MX:      return mx_handlers;
	case ROLE_QUEUE:   return queue_handlers;
	case ROLE_NET:     return net_handlers;
	case ROLE_CONTROL: return control_handlers;
	default:           return NULL;
	}
}

static struct neighbour *find_neighbour(struct keys *k, enum role role, uint32_t index)
{
	for (size_t i = 0; i < k->neighbour_count; i++)
		if (k->neighbours[i].role == role && k->neighbours[i].index == index)
			return &k->neighbours[i];
	return NULL;
}

static void on_connect(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct keys *k = context;
	const struct channel_handler *handlers;
	struct neighbour *p;
	enum role role;
	uint32_t index;

	if (!get_connect(m, &role, &index))
		return;
	handlers = handlers_of(role);
	p = find_neighbour(k, role, index);
	if (handlers == NULL || (p == NULL && k->neighbour_count == NEIGHBOURS_MAX)) {
		log_error("unexpected peer role=%s index=%u", role_name(role), index);
		return;
	}
	if (p == NULL) {
		p = &k->neighbours[k->neighbour_count++];
		*p = (struct neighbour){ .keys = k, .role = role, .index = index };
		p->ch = channel_new(m->fds[0], ROLE_KEYS, role, handlers, p, NULL);
	} else {
		channel_replace(p->ch, m->fds[0]);
	}
	m->fds[0] = -1;
	p->generation++;
	watch_channel(k->watch, p->ch);
	send_certificates(k, p);
}

static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct keys *)context)->stops = true; }
static void on_master_gone(void *context, UNUSED struct channel *ch) { ((struct keys *)context)->stops = true; }
static void on_hashed(void *context) { verifier_receive(((struct keys *)context)->verifier); }
static void on_signed(void *context) { dkim_worker_receive(((struct keys *)context)->dkim); }

static const struct channel_handler master_handlers[] = {
	{ NOTICE_CONNECT, on_connect }, { REQUEST_CELL_KEY, on_cell_key }, { NOTICE_STOP, on_stop }, { NOTICE_LOG, role_on_log }, { REQUEST_ALIVE, role_on_alive }, { 0 },
};

static void tick(struct keys *k)
{
	int64_t now = clock_mono_ms();

	if (now - k->ticked_ms < TICK_MS)
		return;
	k->ticked_ms = now;
	verifier_tick(k->verifier);
	for (size_t i = 0; i < k->neighbour_count; i++)
		channel_expire(k->neighbours[i].ch, now);
	for (size_t i = 0; i < k->neighbour_count; i++)
		(void)lost_look(&k->neighbours[i].lost, k->neighbours[i].ch, k->neighbours[i].role, k->neighbours[i].index, k->master, now);
	if (now - k->reloaded_ms >= RELOAD_EVERY_MS) {
		k->reloaded_ms = now;
		reload(k);
	}
}

static enum err open_files(struct keys *k, char keys_path[], char tls_path[], size_t room)
{
	snprintf(keys_path, room, "%s/keys", k->start->dir);
	snprintf(tls_path, room, "%s/tls", k->start->dir);
	TRY(disk_dir_open(keys_path, &k->dir));
	TRY(disk_dir_open(tls_path, &k->tls_dir));
	TRY(secrets_open(k->dir, &k->secrets));
	k->keyring = keyring_new(k->tls_dir);
	keyring_reload(k->keyring);
	keyring_rotate_tickets(k->keyring, clock_mono_ms());
	if (keyring_list(k->keyring)->count == 0)
		log_warn("there is no certificate in %s: no TLS, so nobody can log in; `facteur setup` or ./run makes one", tls_path);
	return ERR_OK;
}

static void serve(struct keys *k)
{
	struct verifier_options o = { .secrets = k->secrets, .resolve = resolve, .resolve_printer = resolve_printer,
	                              .resolve_account = resolve_account, .issuers = issuers,
	                              .fetch_keys = fetch_keys, .context = k };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	o.workers = cpus > 3 ? (int)(cpus / 2 < 32 ? cpus / 2 : 32) : 1;
	k->verifier = verifier_new(&o);  /* its threads are born inside the sandbox */
	k->dkim = dkim_worker_new(k->secrets, true);
	k->master = channel_new(k->start->master_fd, ROLE_KEYS, ROLE_MASTER, master_handlers, k, on_master_gone);
	watch_channel(k->watch, k->master);
	watch_fd(k->watch, verifier_fd(k->verifier), on_hashed, k);
	watch_fd(k->watch, dkim_worker_fd(k->dkim), on_signed, k);
	channel_notify(k->master, NOTICE_READY, STR(""), NULL, 0);
	while (!k->stops) {
		watch_run(k->watch, TICK_MS);
		tick(k);
	}
}

int role_keys(const struct role_start *start)
{
	struct keys k = { .start = start, .watch = watch_new() };
	char keys_path[512], tls_path[512];
	uint8_t warm[SHA256_SIZE];
	int code = 1;

	sha256(STR(""), warm);  /* OpenSSL reads its configuration now, not behind the door */
	jwt_setup();
	if (open_files(&k, keys_path, tls_path, sizeof keys_path) == ERR_OK &&
	    (!start->sandbox || door_close(ROLE_KEYS, start->dir, 0, NULL) == ERR_OK)) {
		serve(&k);
		code = 0;
	}
	verifier_free(k.verifier);
	dkim_worker_free(k.dkim);
	for (size_t i = 0; i < k.neighbour_count; i++) {
		watch_forget(k.watch, k.neighbours[i].ch);
		channel_free(k.neighbours[i].ch);
	}
	if (k.master != NULL) {
		watch_forget(k.watch, k.master);
		channel_free(k.master);
	}
	keyring_free(k.keyring);
	secrets_close(k.secrets);
	disk_dir_close(&k.dir);
	disk_dir_close(&k.tls_dir);
	lookup_close(k.lookup);
	watch_free(k.watch);
	return code;
}
