/* CELL_COMMAND: the encoding of question and answer, and the cell's side of it. A long list of mailboxes goes in
 * several answers: each is filled up to a size that surely fits, and says where to continue. */
#include "base/clock.h"
#include "base/log.h"
#include "directory/address.h"
#include "store/command.h"

enum { ANSWER_FULL = 50000, ANSWER_MAILBOXES_MAX = 2000, ANSWER_LINES_MAX = 2000 };

static void put_line(struct buf *out, const struct acl_entry *line)
{
	put_u8(out, (uint8_t)line->who.kind);
	put_u64(out, line->who.account);
	put_str(out, line->who.group);
	put_str(out, line->who.name);
	put_bool(out, line->is_negative);
	put_u16(out, (uint16_t)line->rights);
}

static void get_line(struct scan *s, struct acl_entry *line)
{
	line->who = (struct subject){ .kind = (enum subject_kind)get_u8(s), .account = get_u64(s) };
	line->who.group = get_str(s, SUBJECT_GROUP_MAX);
	line->who.name = get_str(s, SUBJECT_NAME_MAX);
	line->is_negative = get_bool(s);
	line->rights = get_u16(s);
	if (line->who.kind >= SUBJECT_KINDS || line->rights > RIGHTS_ALL || line->who.name.n == 0 || (line->who.kind == 0 && line->rights > 0))
		scan_fail(s);
}

void store_command_encode(const struct store_command *c, struct buf *out)
{
	put_u8(out, (uint8_t)c->kind);
	switch (c->kind) {
	case STORE_COMMAND_MAILBOXES:
		put_u32(out, c->first_mailbox);
		break;
	case STORE_COMMAND_UNDELETE:
		put_str(out, c->path);
		put_i64(out, c->since);
		break;
	case STORE_COMMAND_LIMITS:
		put_u64(out, c->limits.quota_bytes);
		put_u64(out, c->limits.message_size_max);
		put_u64(out, c->limits.messages_max);
		put_u64(out, c->limits.mailboxes_max);
		put_u64(out, c->limits.disk_reserve);
		break;
	case STORE_COMMAND_REFUSED:
		put_u32(out, c->refused);
		break;
	case STORE_COMMAND_SHARES:
		put_u32(out, c->first_line);
		break;
	case STORE_COMMAND_SHARE:
		put_str(out, c->path);
		put_line(out, &c->line);
		put_bool(out, c->is_tree);
		break;
	case STORE_COMMAND_INDEX:
		put_bool(out, c->index_rebuilt);
		break;
	case STORE_COMMAND_CHECK:
		put_u32(out, c->first_email);
		break;
	case STORE_COMMAND_COMPACT:
	case STORE_COMMAND_SENDING:
	case STORE_COMMAND_FORGIVE:
	case STORE_COMMAND_KINDS:
		break;
	}
}

enum err store_command_decode(struct str bytes, struct store_command *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct store_command){ .kind = (enum store_command_kind)get_u8(&s) };
	switch (out->kind) {
	case STORE_COMMAND_MAILBOXES:
		out->first_mailbox = get_u32(&s);
		break;
	case STORE_COMMAND_UNDELETE:
		out->path = get_str(&s, MAILBOX_PATH_MAX);
		out->since = get_i64(&s);
		break;
	case STORE_COMMAND_LIMITS:
		out->limits.quota_bytes = get_u64(&s);
		out->limits.message_size_max = get_u64(&s);
		out->limits.messages_max = get_u64(&s);
		out->limits.mailboxes_max = get_u64(&s);
		out->limits.disk_reserve = get_u64(&s);
		break;
	case STORE_COMMAND_REFUSED:
		out->refused = get_u32(&s);
		break;
	case STORE_COMMAND_SHARES:
		out->first_line = get_u32(&s);
		break;
	case STORE_COMMAND_SHARE:
		out->path = get_str(&s, MAILBOX_PATH_MAX);
		get_line(&s, &out->line);
		out->is_tree = get_bool(&s);
		break;
	case STORE_COMMAND_INDEX:
		out->index_rebuilt = get_bool(&s);
		break;
	case STORE_COMMAND_CHECK:
		out->first_email = get_u32(&s);
		break;
	case STORE_COMMAND_COMPACT:
	case STORE_COMMAND_SENDING:
	case STORE_COMMAND_FORGIVE:
		break;
	default:
		return ERR_INVALID;
	}
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

static void put_head(struct view *v, enum store_command_kind kind, struct buf *out)
{
	struct quota q;

	view_quota(v, &q);
	put_u8(out, (uint8_t)kind);
	put_u64(out, q.used_bytes);
	put_u64(out, q.limit_bytes);
	put_u64(out, q.messages);
}

static void put_sending(const struct sending_facts *f, struct buf *out)
{
	for (size_t i = 0; i < SENDING_WINDOWS; i++) {
		put_u64(out, f->in[i].recipients);
		put_u64(out, f->in[i].strangers);
		put_u64(out, f->in[i].refused);
		put_u64(out, f->in[i].networks);
		put_u64(out, f->in[i].from_new_networks);
	}
	put_u64(out, f->usual_hour);
	put_u64(out, f->days);
}

static void get_sending(struct scan *s, struct sending_facts *f)
{
	for (size_t i = 0; i < SENDING_WINDOWS; i++) {
		f->in[i].recipients = get_u64(s);
		f->in[i].strangers = get_u64(s);
		f->in[i].refused = get_u64(s);
		f->in[i].networks = get_u64(s);
		f->in[i].from_new_networks = get_u64(s);
	}
	f->usual_hour = get_u64(s);
	f->days = get_u64(s);
}

static void put_damage(const struct damage *d, struct buf *out)
{
	put_u32(out, d->next);
	put_u64(out, d->checked);
	put_u64(out, d->bytes);
	put_u32(out, (uint32_t)d->n);
	for (size_t i = 0; i < d->n; i++) {
		put_str(out, d->messages[i].path);
		put_str(out, d->messages[i].message_id);
		put_u32(out, d->messages[i].uid);
		put_u32(out, d->messages[i].file);
		put_i64(out, d->messages[i].received);
		put_u64(out, d->messages[i].size);
		put_bool(out, d->messages[i].is_unreadable);
	}
}

static void get_damage(struct scan *s, struct damage *d)
{
	d->next = get_u32(s);
	d->checked = get_u64(s);
	d->bytes = get_u64(s);
	d->n = get_count(s, DAMAGE_AT_ONCE);
	for (size_t i = 0; i < d->n; i++) {
		d->messages[i].path = get_str(s, MAILBOX_PATH_MAX);
		d->messages[i].message_id = get_str(s, DAMAGE_MESSAGE_ID_MAX);
		d->messages[i].uid = get_u32(s);
		d->messages[i].file = get_u32(s);
		d->messages[i].received = get_i64(s);
		d->messages[i].size = get_u64(s);
		d->messages[i].is_unreadable = get_bool(s);
	}
}

enum err store_answer_decode(struct str bytes, struct arena *a, struct store_answer *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct store_answer){ .kind = (enum store_command_kind)get_u8(&s) };
	out->quota = (struct quota){ .used_bytes = get_u64(&s), .limit_bytes = get_u64(&s), .messages = get_u64(&s) };
	switch (out->kind) {
	case STORE_COMMAND_MAILBOXES:
		out->next_mailbox = get_u32(&s);
		out->n = get_count(&s, ANSWER_MAILBOXES_MAX);
		out->mailboxes = arena_array(a, out->n + 1, sizeof *out->mailboxes);
		for (size_t i = 0; i < out->n; i++) {
			struct store_command_mailbox *m = &out->mailboxes[i];
			m->path = get_str(&s, MAILBOX_PATH_MAX);
			m->role = get_u8(&s);
			m->messages = get_u32(&s);
			m->unseen = get_u32(&s);
			m->size = get_u64(&s);
		}
		break;
	case STORE_COMMAND_UNDELETE:
		out->restored = get_u32(&s);
		break;
	case STORE_COMMAND_SENDING:
	case STORE_COMMAND_FORGIVE:
	case STORE_COMMAND_REFUSED:
		get_sending(&s, &out->sending);
		break;
	case STORE_COMMAND_SHARES:
		out->next_line = get_u32(&s);
		out->n = get_count(&s, ANSWER_LINES_MAX);
		out->shares = arena_array(a, out->n, sizeof *out->shares);
		for (size_t i = 0; i < out->n; i++) {
			struct store_command_share *x = &out->shares[i];
			x->path = get_str(&s, MAILBOX_PATH_MAX);
			x->name = get_str(&s, SUBJECT_NAME_MAX);
			x->is_negative = get_bool(&s);
			x->rights = get_u16(&s) & RIGHTS_ALL;
		}
		break;
	case STORE_COMMAND_SHARE:
		out->mailboxes_shared = get_u32(&s);
		break;
	case STORE_COMMAND_INDEX:
		out->index = (struct index_facts){ .emails = get_u64(&s), .todo = get_u64(&s), .bytes = get_u64(&s) };
		break;
	case STORE_COMMAND_CHECK:
		get_damage(&s, &out->damage);
		break;
	case STORE_COMMAND_COMPACT:
	case STORE_COMMAND_LIMITS:
		break;
	default:
		return ERR_INVALID;
	}
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

/* ----------------------------------------------------------------------------------------------------------- serve */

static enum err serve_mailboxes(struct view *v, uint32_t first, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf list = BUF(ANSWER_FULL + 2 * MAILBOX_PATH_MAX);
	struct mailbox *boxes;
	uint32_t sent = 0;
	size_t n, i;

	TRY(view_mailboxes(v, &a, &boxes, &n));
	for (i = first; i < n && list.n < ANSWER_FULL && sent < ANSWER_MAILBOXES_MAX; i++, sent++) {
		put_str(&list, boxes[i].path);
		put_u8(&list, (uint8_t)boxes[i].role);
		put_u32(&list, boxes[i].messages);
		put_u32(&list, boxes[i].unseen);
		put_u64(&list, boxes[i].size);
	}
	put_head(v, STORE_COMMAND_MAILBOXES, answer);
	put_u32(answer, i < n ? (uint32_t)i : 0);
	put_u32(answer, sent);
	buf_add(answer, buf_str(&list));
	return ERR_OK;
}

static enum err serve_undelete(struct view *v, struct str path, int64_t since, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m = { 0 };
	uint32_t restored;

	if (path.n > 0)
		TRY(view_mailbox_find(v, path, &a, &m));
	TRY(view_undelete(v, m.mailbox_id, since, &restored));
	log_info("undelete restored=%u", restored);
	put_head(v, STORE_COMMAND_UNDELETE, answer);
	put_u32(answer, restored);
	return ERR_OK;
}

static enum err serve_sending(struct view *v, const struct store_command *c, struct buf *answer)
{
	struct sending_facts f;
	int64_t now_s = clock_wall_s();

	if (c->kind == STORE_COMMAND_FORGIVE)
		TRY(view_sending_forgive(v, now_s));
	if (c->kind == STORE_COMMAND_REFUSED)
		TRY(view_sending_refused(v, c->refused, now_s));
	TRY(view_sending_facts(v, now_s, &f));
	put_head(v, c->kind, answer);
	put_sending(&f, answer);
	return ERR_OK;
}

static void put_share(struct buf *list, struct str path, const struct acl_entry *line)
{
	put_str(list, path);
	put_str(list, line->who.name);
	put_bool(list, line->is_negative);
	put_u16(list, (uint16_t)line->rights);
}

static enum err serve_shares(struct view *v, uint32_t first, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 }, of_one = { 0 };
	CLEANUP(buf_free) struct buf list = BUF(ANSWER_FULL + 2 * MAILBOX_PATH_MAX);
	uint32_t at = 0, sent = 0, next = 0;
	struct mailbox *boxes;
	size_t n;

	if (first == 0)
		acl_tell_again(v);  /* whoever looks because a share does not appear has mended control's table */
	TRY(view_mailboxes(v, &a, &boxes, &n));
	for (size_t i = 0; i < n && next == 0; i++) {
		struct acl_entry *lines;
		size_t count;
		arena_reset(&of_one);
		enum err e = acl_read(v, boxes[i].mailbox_id, &of_one, &lines, &count);
		if (e != ERR_OK && e != ERR_NOTFOUND)
			return e;
		for (size_t k = 0; e == ERR_OK && k < count && next == 0; k++, at++) {
			if (at < first)
				continue;
			if (list.n >= ANSWER_FULL || sent == ANSWER_LINES_MAX)
				next = at;
			else
				put_share(&list, boxes[i].path, &lines[k]), sent++;
		}
	}
	put_head(v, STORE_COMMAND_SHARES, answer);
	put_u32(answer, next);
	put_u32(answer, sent);
	buf_add(answer, buf_str(&list));
	return ERR_OK;
}

static bool is_inside(struct str path, struct str parent)
{
	return path.n > parent.n && path.p[parent.n] == MAILBOX_SEPARATOR && str_starts(path, parent);
}

/* A line that is removed by the name it has: perhaps nobody is called so any more. *n becomes in how many it was. */
static enum err remove_by_name(struct view *v, const int64_t *ids, size_t *n, const struct acl_entry *line)
{
	size_t removed = 0;

	for (size_t i = 0; i < *n; i++) {
		enum err e = acl_remove(v, ids[i], line->who.name, line->is_negative);
		if (e != ERR_OK && e != ERR_NOTFOUND)
			return e;
		removed += e == ERR_OK;
	}
	*n = removed;
	return ERR_OK;
}

static bool is_line_of(const struct acl_entry *there, const struct acl_entry *line)
{
	return there->is_negative == line->is_negative && there->who.kind == line->who.kind && there->who.account == line->who.account &&
	       str_eq(there->who.group, line->who.group);
}

/* Leaves the mailboxes in which he has such a line. */
static enum err keep_lined(struct view *v, int64_t *ids, size_t *n, const struct acl_entry *line)
{
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct acl_entry *lines;
		size_t count, k = 0;
		TRY(acl_read(v, ids[i], &a, &lines, &count));
		while (k < count && !is_line_of(&lines[k], line))
			k++;
		if (k < count)
			ids[kept++] = ids[i];
	}
	*n = kept;
	return ERR_OK;
}

/* *n becomes in how many something has changed. */
static enum err write_share(struct view *v, int64_t *ids, size_t *n, const struct acl_entry *line)
{
	if (line->who.kind == 0)
		return remove_by_name(v, ids, n, line);
	if (line->rights == 0)
		TRY(keep_lined(v, ids, n, line));
	return *n > 0 ? acl_write_all(v, ids, *n, ACL_SET, line) : ERR_OK;
}

static enum err serve_share(struct view *v, const struct store_command *c, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox *boxes, m;
	int64_t *ids;
	size_t n, count = 0;

	TRY(view_mailbox_find(v, c->path, &a, &m));
	TRY(view_mailboxes(v, &a, &boxes, &n));
	ids = arena_array(&a, n + 1, sizeof *ids);
	ids[count++] = m.mailbox_id;
	for (size_t i = 0; i < n && c->is_tree; i++)
		if (is_inside(boxes[i].path, m.path))
			ids[count++] = boxes[i].mailbox_id;
	TRY(write_share(v, ids, &count, &c->line));
	log_info("shared mailboxes=%zu rights=%x", count, c->line.rights);
	put_head(v, STORE_COMMAND_SHARE, answer);
	put_u32(answer, (uint32_t)count);
	return ERR_OK;
}

static enum err serve_index(struct view *v, bool rebuilt, struct buf *answer)
{
	struct index_facts f;

	if (rebuilt)
		index_forget(v);
	index_facts(v, &f);
	put_head(v, STORE_COMMAND_INDEX, answer);
	put_u64(answer, f.emails);
	put_u64(answer, f.todo);
	put_u64(answer, f.bytes);
	return ERR_OK;
}

static enum err serve_check(struct view *v, uint32_t first, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct damage damage;

	TRY(damage_look(v, first, &a, &damage));
	put_head(v, STORE_COMMAND_CHECK, answer);
	put_damage(&damage, answer);
	return ERR_OK;
}

enum err store_command_serve(struct view *v, struct str request, struct buf *answer)
{
	struct store_command c;

	TRY(store_command_decode(request, &c));
	switch (c.kind) {
	case STORE_COMMAND_MAILBOXES:
		return serve_mailboxes(v, c.first_mailbox, answer);
	case STORE_COMMAND_UNDELETE:
		return serve_undelete(v, c.path, c.since, answer);
	case STORE_COMMAND_SENDING:
	case STORE_COMMAND_FORGIVE:
	case STORE_COMMAND_REFUSED:
		return serve_sending(v, &c, answer);
	case STORE_COMMAND_SHARES:
		return serve_shares(v, c.first_line, answer);
	case STORE_COMMAND_SHARE:
		return serve_share(v, &c, answer);
	case STORE_COMMAND_INDEX:
		return serve_index(v, c.index_rebuilt, answer);
	case STORE_COMMAND_CHECK:
		return serve_check(v, c.first_email, answer);
	case STORE_COMMAND_COMPACT:
		view_compact(v);
		break;
	case STORE_COMMAND_LIMITS:
		view_set_limits(v, &c.limits);
		break;
	case STORE_COMMAND_KINDS:
		return ERR_INVALID;
	}
	put_head(v, c.kind, answer);
	return ERR_OK;
}
