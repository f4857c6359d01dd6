/* The role queue: the log, and what has to be delivered. All work is in queue/ (read queue/README.md); here are the
 * process around it, its channels, and what has to be opened before the door closes.
 *
 * The ring's sizes are settings of the server, which come with the first DIRECTORY. A log that exists keeps its sizes,
 * so it is opened at once and a restart waits for nobody; only the very first start waits for control before it makes
 * one. Until then channels that come wait, unread, and READY is not said.
 *
 * A log or queue.db that failed is opened again by ending: master starts the role anew, later and later while it does not help, and
 * log_open() writes and syncs anew what it finds before anything is added (queue/log.c), as late_open() does. A failed sync of the accounts
 * is another matter, and no reason to end (queue/sync.c).
 *
 * syncfs needs a descriptor of the file system that holds the accounts: the folder accounts/ itself, opened before the
 * sandbox. */
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "deliver/bounce.h"
#include "directory/lookup.h"
#include "queue/queue.h"
#include "role/door.h"
#include "role/queue_lists.h"
#include "role/role.h"
#include "role/watch.h"
#include <stdio.h>
#include <unistd.h>

enum { TICK_MS = 250, CELL_END_TIMEOUT_MS = 20000, EARLY_MAX = 256 };

struct early {  /* a cell that came before that */
	uint64_t account;
	int      fd;
};

struct queue_role {
	const struct role_start *start;
	struct watch    *watch;
	struct channel  *master, *control;
	struct trail_notes *trail;
	struct disk_dir *dir, *accounts;
	struct lookup   *lookup;        /* NULL until control has sent one */
	struct queue    *queue;         /* NULL until it is open */
	int              mx_fd, net_fd, keys_fd;  /* came before that; -1: none */
	struct map       refused;       /* account -> how many recipients, since control was told last */
	struct early     early[EARLY_MAX];
	size_t           early_count;
	int64_t          expired_ms;
	struct queue_lists lists;
	uint16_t         https_port;    /* of the pages that a gate serves; 0: none */
	bool             stops, has_failed;
};

/* ---- what the queue asks of the process */

static void on_watch(void *context, struct channel *ch) { watch_channel(((struct queue_role *)context)->watch, ch); }
static void on_forget(void *context, struct channel *ch) { watch_forget(((struct queue_role *)context)->watch, ch); }

static void on_wake(void *context, uint64_t account)
{
	struct queue_role *r = context;
	CLEANUP(buf_free) struct buf b = BUF(8);

	put_u64(&b, account);
	channel_notify(r->master, NOTICE_WAKE, buf_str(&b), NULL, 0);
}

struct ending {
	struct queue_role *role;
	uint64_t           account;
};

static void on_cell_ended(void *context, struct message *answer)
{
	struct ending *e = context;

	if (e->role->queue != NULL)
		queue_cell_ended(e->role->queue, e->account, answer->status);
	mem_free(e);
}

static void on_end(void *context, uint64_t account)
{
	struct queue_role *r = context;
	CLEANUP(buf_free) struct buf b = BUF(8);

	if (r->master == NULL)  /* this role ends */
		return;
	struct ending *e = MEM_NEW(struct ending);
	*e = (struct ending){ r, account };
	put_u64(&b, account);
	channel_ask(r->master, REQUEST_QUEUE_CELL_END, buf_str(&b), NULL, 0, CELL_END_TIMEOUT_MS, on_cell_ended, e);
}

static enum err on_sync_accounts(void *context) { return disk_dir_sync_all(((struct queue_role *)context)->accounts); }

/* Our users read their own language and hear from the postmaster of their domain; of others nobody knows what they read. */
static void style_for(const struct lookup *l, struct str sender, struct bounce_style *out)
{
	struct str hostname = lookup_hostname(l), parent = str_from(hostname, (size_t)(str_chr(hostname, '.') + 1));
	struct lookup_account account;
	ptrdiff_t at = str_rchr(sender, '@');

	*out = (struct bounce_style){ .lang = LANG_EN, .is_bilingual = true, .hostname = hostname,
		                          .from_domain = lookup_domain(l, parent) ? parent : hostname };
	if (lookup_login(l, sender, &account)) {
		out->lang = account.french ? LANG_FR : LANG_EN;
		out->is_bilingual = false;
	}
	if (at >= 0 && lookup_domain(l, str_from(sender, (size_t)at + 1)))
		out->from_domain = str_from(sender, (size_t)at + 1);
}

static bool on_report(void *context, const struct report *report, struct buf *body, enum envelope_body *type, bool *smtputf8)
{
	struct queue_role *r = context;
	struct bounce_style style;

	if (r->lookup == NULL)
		return false;
	if (report->envelope->list.n > 0) {  /* who wrote to a group does not hear of its members */
		queue_lists_report(&r->lists, report);
		return false;
	}
	style_for(r->lookup, report->envelope->sender, &style);
	bounce_build(report, &style, body, type, smtputf8);
	return true;
}

static void on_refused(void *context, uint64_t account)
{
	struct queue_role *r = context;
	uintptr_t n = (uintptr_t)map_get_u64(&r->refused, account);

	map_set_u64(&r->refused, account, (void *)(n + 1));
}

/* What a stolen account sends is refused by the hundred: so many at once. */
static void tell_refused(struct queue_role *r)
{
	struct str account;
	size_t at = 0;
	void *n;

	if (r->refused.n == 0 || !channel_is_open(r->control))
		return;
	while (map_next(&r->refused, &at, &account, &n)) {
		CLEANUP(buf_free) struct buf b = BUF(16);
		put_u64(&b, map_key_u64(account));
		put_u32(&b, (uint32_t)(uintptr_t)n);
		channel_notify(r->control, NOTICE_REFUSED, buf_str(&b), NULL, 0);
	}
	map_free(&r->refused);
	r->refused = (struct map){ 0 };
}

static void on_list_order(void *context, const struct list_order_request *r, void (*done)(void *context, enum err result), void *done_context)
{
	queue_lists_order(&((struct queue_role *)context)->lists, r, done, done_context);
}

/* ---- opening */

static uint64_t clamp(uint64_t v, uint64_t min, uint64_t max) { return v < min ? min : v > max ? max : v; }

static void configure(const struct conf *c, struct queue_config *out)
{
	out->ring.segments = (uint32_t)clamp(conf_number(c, SETTING_queue_segments), LOG_SEGMENTS_MIN, LOG_SEGMENTS_MAX);
	out->ring.segment_bytes =
		(uint32_t)clamp(conf_number(c, SETTING_queue_segment_size), LOG_SEGMENT_BYTES_MIN, LOG_SEGMENT_BYTES_MAX) /
		DISK_SECTOR * DISK_SECTOR;
	out->disk_reserve = conf_number(c, SETTING_disk_reserve);
	out->lifetime_s = (int64_t)conf_number(c, SETTING_queue_lifetime);
	out->delay_notice_s = (int64_t)conf_number(c, SETTING_queue_delay_notice);
	out->holds_elsewhere = !conf_on(c, SETTING_send_elsewhere);
}

static void on_queue_event(void *context)
{
	struct queue_role *r = context;

	if (r->queue != NULL)
		queue_receive(r->queue);
}

static enum err open_queue(struct queue_role *r, const struct conf *c)
{
	struct queue_config config = { .dir = r->dir, .trail = r->trail, .lookup = r->lookup, .https_port = r->https_port };
	const struct queue_host host = { r, on_watch, on_forget, on_wake, on_end, on_sync_accounts, on_report, on_refused, on_list_order };
	int fds[2];

	configure(c, &config);
	if (r->lookup == NULL)  /* control may keep us waiting: nobody's mail comes back, or is said to be late, by settings that are not ours */
		config.lifetime_s = config.delay_notice_s = 0;
	TRY(queue_open(&config, &host, &r->queue));
	r->lists.queue = r->queue;
	if (r->lookup != NULL)  /* at a start it opens with the settings it had, before control is there */
		queue_use_lookup(r->queue, r->lookup);
	queue_fds(r->queue, fds);
	watch_fd(r->watch, fds[0], on_queue_event, r);
	watch_fd(r->watch, fds[1], on_queue_event, r);
	if (r->mx_fd >= 0)
		queue_mx(r->queue, r->mx_fd);
	if (r->net_fd >= 0)
		queue_net(r->queue, r->net_fd);
	if (r->keys_fd >= 0)
		queue_keys(r->queue, r->keys_fd);
	r->mx_fd = r->net_fd = r->keys_fd = -1;
	for (size_t i = 0; i < r->early_count; i++)
		queue_cell(r->queue, r->early[i].account, r->early[i].fd);
	r->early_count = 0;
	channel_notify(r->master, NOTICE_READY, STR(""), NULL, 0);
	return ERR_OK;
}

/* ---- control, master */

static void on_directory(void *context, struct channel *ch, struct message *m)
{
	struct queue_role *r = context;
	struct queue_config config = { 0 };
	enum err e = lookup_replace(&r->lookup, m);

	r->lists.lookup = r->lookup;

	if (e == ERR_OK && r->queue != NULL)
		queue_use_lookup(r->queue, r->lookup);
	channel_reply(ch, m->call, e, STR(""), NULL, 0);
	if (e != ERR_OK)
		return;
	if (r->queue == NULL) {
		r->has_failed = open_queue(r, lookup_conf(r->lookup)) != ERR_OK;
		return;
	}
	configure(lookup_conf(r->lookup), &config);
	queue_configure(r->queue, &config);
}

static void on_command(void *context, struct channel *ch, struct message *m)
{
	struct queue_role *r = context;

	if (r->queue == NULL)
		channel_reply(ch, m->call, ERR_UNAVAILABLE, STR(""), NULL, 0);
	else
		queue_on_command(r->queue, ch, m);
}

static void on_control_add(void *context, struct channel *ch, struct message *m)
{
	struct queue_role *r = context;

	if (r->queue == NULL)
		channel_reply(ch, m->call, ERR_UNAVAILABLE, STR(""), NULL, 0);
	else
		queue_on_control_add(r->queue, ch, m);
}

static const struct channel_handler control_handlers[] = {
	{ REQUEST_ADD, on_control_add }, { REQUEST_DIRECTORY, on_directory }, { REQUEST_QUEUE_COMMAND, on_command }, { 0 },
};

/* Now, or when the queue is open. */
static void connect_to(struct queue_role *r, int fd, void (*connect)(struct queue *q, int fd), int *early)
{
	if (r->queue != NULL) {
		connect(r->queue, fd);
		return;
	}
	fd_close(early);
	*early = fd;
}

static void on_connect(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct queue_role *r = context;
	enum role peer;
	uint32_t index;

	if (!get_connect(m, &peer, &index))
		return;
	int fd = m->fds[0];
	m->fds[0] = -1;
	if (peer == ROLE_MX) {
		connect_to(r, fd, queue_mx, &r->mx_fd);
	} else if (peer == ROLE_CONTROL) {
		channel_replace(r->control, fd);
		watch_channel(r->watch, r->control);
	} else if (peer == ROLE_NET) {
		connect_to(r, fd, queue_net, &r->net_fd);
	} else if (peer == ROLE_KEYS) {
		connect_to(r, fd, queue_keys, &r->keys_fd);
	} else {
		log_error("unexpected peer role=%s index=%u", role_name(peer), index);
		close(fd);
	}
}

static void on_cell_channel(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct queue_role *r = context;
	struct scan s = scan_of(m->body);
	uint64_t account = get_u64(&s);

	if (!get_end(&s) || account == 0 || m->fd_count != 1)
		return;
	if (r->queue != NULL)
		queue_cell(r->queue, account, m->fds[0]);
	else if (r->early_count < EARLY_MAX)
		r->early[r->early_count++] = (struct early){ account, m->fds[0] };
	else
		return;  /* when something waits for it, WAKE brings a new channel */
	m->fds[0] = -1;
}

static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	struct queue_role *r = context;

	r->stops = true;
	if (r->queue != NULL)
		queue_stop(r->queue);
}

static void on_master_gone(void *context, UNUSED struct channel *ch) { on_stop(context, NULL, NULL); }

static const struct channel_handler master_handlers[] = {
	{ NOTICE_CONNECT, on_connect },
	{ NOTICE_CELL_CHANNEL, on_cell_channel },
	{ NOTICE_STOP, on_stop },
	{ NOTICE_LOG, role_on_log },
	{ REQUEST_ALIVE, role_on_alive },
	{ 0 },
};

/* ---- life */

static enum err open_folders(struct queue_role *r, char path[], size_t room)
{
	snprintf(path, room, "%s/accounts", r->start->dir);
	TRY(disk_dir_open(path, &r->accounts));
	snprintf(path, room, "%s/queue", r->start->dir);
	return disk_dir_open(path, &r->dir);
}

static bool is_done(const struct queue_role *r)
{
	return r->has_failed || (r->stops && (r->queue == NULL || queue_is_stopped(r->queue)));
}

static void serve(struct queue_role *r)
{
	while (!is_done(r)) {
		int patience_ms = r->queue != NULL ? queue_patience_ms(r->queue) : TICK_MS;
		watch_run(r->watch, patience_ms < TICK_MS ? patience_ms : TICK_MS);
		int64_t now = clock_mono_ms();
		if (r->queue != NULL)
			queue_run(r->queue, now);
		if (r->queue != NULL && !r->stops)
			r->has_failed |= queue_needs_restart(r->queue);
		if (now - r->expired_ms < 1000)
			continue;
		r->expired_ms = now;
		tell_refused(r);
		channel_expire(r->master, now);
		channel_expire(r->control, now);
	}
}

static void read_file(struct queue_role *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf *c = conf_new();
	struct conf_problem problem;

	if (!conf_read_file(c, str_cstr(&a, arena_printf(&a, "%s/facteur.conf", r->start->dir)), &problem))
		log_warn("facteur.conf cannot be read: members of groups cannot leave by the web");
	else if (conf_number(c, SETTING_https_port) != 0)
		r->https_port = (uint16_t)(conf_number(c, SETTING_https_port) + conf_number(c, SETTING_port_offset));
	conf_free(c);
}

static enum err start(struct queue_role *r)
{
	char path[512];

	TRY(open_folders(r, path, sizeof path));
	read_file(r);
	if (r->start->sandbox)
		TRY(door_close(ROLE_QUEUE, r->start->dir, 0, NULL));
	r->master = channel_new(r->start->master_fd, ROLE_QUEUE, ROLE_MASTER, master_handlers, r, on_master_gone);
	r->control = r->lists.control = channel_new(-1, ROLE_QUEUE, ROLE_CONTROL, control_handlers, r, NULL);
	r->trail = trail_notes_new(r->control);
	watch_channel(r->watch, r->master);
	if (!queue_exists(r->dir))
		return ERR_OK;
	struct conf *defaults = conf_new();
	enum err e = open_queue(r, defaults);
	conf_free(defaults);
	return e;
}

int role_queue(const struct role_start *role_start)
{
	struct queue_role r = { .start = role_start, .watch = watch_new(), .mx_fd = -1, .net_fd = -1, .keys_fd = -1 };

	r.has_failed = start(&r) != ERR_OK;
	if (!r.has_failed)
		serve(&r);
	tell_refused(&r);
	map_free(&r.refused);
	trail_notes_free(r.trail);
	if (r.master != NULL) {
		watch_forget(r.watch, r.master);
		watch_forget(r.watch, r.control);
		channel_free(r.master);
		channel_free(r.control);
		r.master = NULL;
	}
	queue_close(r.queue);
	for (size_t i = 0; i < r.early_count; i++)
		close(r.early[i].fd);
	fd_close(&r.mx_fd);
	fd_close(&r.net_fd);
	fd_close(&r.keys_fd);
	lookup_close(r.lookup);
	disk_dir_close(&r.dir);
	disk_dir_close(&r.accounts);
	watch_free(r.watch);
	return r.has_failed;
}
