/* Which mailboxes others share, as was heard last: kept in this account (store/shared_names.h), and compared with what is heard now. What is different
 * becomes events of this account, so that all of its sessions that watch names hear of it, waiting or not (RFC 5465 §5.4): a mailbox appears when the
 * owner makes it or lets us see it, and goes when she deletes it or takes her rights back (§5.9).
 *
 * One that goes is told as \NonExistent and as \NoAccess: what he may not see does not exist to a guest (RFC 4314 §6), so her cell does not say which
 * of the two it was. One that has the MAILBOXID of another that has gone was renamed; what lay below went along, and is not told of by itself.
 *
 * With them stands the word that her cell had for all of this (guest_names.c): while it is the same, and it is after whatever changes but names and rights, nobody
 * asks for the names again.
 *
 * Of an owner who shares more names than are kept nothing is compared. */
#include "imap/remote.h"
#include "base/log.h"
#include "base/wire.h"
#include "text/fold.h"
#include <stdlib.h>

/* How an owner's names are kept: a byte, and names behind it. KEPT_NAMES is of before there were ids, KEPT_WITH_IDS of before there was a word. */
enum { KEPT_NAMES = 1, KEPT_TOO_MANY = 2, KEPT_WITH_IDS = 3, KEPT_WITH_WORD = 4 };
enum { NAME_NOSELECT = 1, NAME_HAS_CHILDREN = 2 };
enum { MAILBOXID_MAX = 255 };  /* RFC 8474 §4 */

struct difference {
	struct arena *a;
	struct imap_remote_name *before, *now;   /* both in order */
	size_t n_before, n_now;
	struct shared_change *changes;
	const struct imap_remote_name **of;      /* what each of these is about */
	size_t n, cap, of_cap;
};

struct str remote_names_word(const struct shared_names *kept)
{
	struct scan s = scan_of(kept != NULL ? kept->names : STR(""));
	uint8_t how = get_u8(&s);
	struct str word = get_str(&s, REMOTE_WORD_MAX);

	return !s.failed && (how == KEPT_TOO_MANY || how == KEPT_WITH_WORD) ? word : STR("");
}

bool remote_names_get(const struct shared_names *kept, struct arena *a, struct imap_remote_name **out, size_t *n)
{
	struct scan s = scan_of(kept != NULL ? kept->names : STR(""));
	uint8_t how = kept != NULL ? get_u8(&s) : KEPT_NAMES;
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	if (how == KEPT_WITH_WORD)
		get_str(&s, REMOTE_WORD_MAX);
	while (how != KEPT_TOO_MANY && !scan_done(&s)) {
		uint8_t bits = get_u8(&s);
		struct imap_remote_name name = { .is_noselect = bits & NAME_NOSELECT, .has_children = bits & NAME_HAS_CHILDREN };
		name.path = get_str(&s, REMOTE_NAME_MAX);
		if (how != KEPT_NAMES)
			name.id = get_str(&s, MAILBOXID_MAX);
		if (s.failed)
			break;
		*out = arena_grow(a, *out, *n, &cap, sizeof **out);
		(*out)[(*n)++] = name;
	}
	return how != KEPT_TOO_MANY;
}

bool remote_names_are_too_many(const struct shared_names *kept) { return kept != NULL && kept->names.n > 0 && kept->names.p[0] == KEPT_TOO_MANY; }

static void put_names(struct buf *b, struct str word, const struct imap_remote_name *names, size_t n)
{
	put_u8(b, KEPT_WITH_WORD);
	put_str(b, word);
	for (size_t i = 0; i < n; i++) {
		put_u8(b, (uint8_t)((names[i].is_noselect ? NAME_NOSELECT : 0) | (names[i].has_children ? NAME_HAS_CHILDREN : 0)));
		put_str(b, names[i].path);
		put_str(b, names[i].id);
	}
	if (b->failed) {
		buf_reset(b);
		put_u8(b, KEPT_TOO_MANY);
		put_str(b, word);
	}
}

/* "* STATUS name (MAILBOXID (F12))" */
static struct str id_in(struct str lines)
{
	ptrdiff_t at = str_find(lines, STR("MAILBOXID ("));
	struct scan s = scan_of(at < 0 ? STR("") : str_from(lines, (size_t)at + sizeof "MAILBOXID (" - 1));
	struct str id = scan_until(&s, ')');

	return !s.failed && id.n <= MAILBOXID_MAX && !str_has_ctl(id) ? id : STR_NONE;
}

/* ------------------------------------------------------------------------------------------------------ what is different */

static int by_path(const void *left, const void *right)
{
	const struct imap_remote_name *l = left, *r = right;

	return str_cmp(l->path, r->path);
}

/* With what leads to all of them, which is not kept. */
static struct imap_remote_name *in_order(struct arena *a, struct str address, const struct imap_remote_name *names, size_t *n)
{
	struct imap_remote_name *sorted = arena_array(a, *n + 1, sizeof *sorted);

	if (*n > 0) {
		memcpy(sorted, names, *n * sizeof *sorted);
		sorted[(*n)++] = (struct imap_remote_name){
			.path = arena_printf(a, IMAP_OTHERS "/" STR_FMT, STR_ARG(address)), .is_noselect = true, .has_children = true };
	}
	qsort(sorted, *n, sizeof *sorted, by_path);
	return sorted;
}

static bool looks_alike(const struct imap_remote_name *one, const struct imap_remote_name *other)
{
	return one->is_noselect == other->is_noselect && one->has_children == other->has_children;
}

static void note(struct difference *d, const struct imap_remote_name *of, bool is_gone)
{
	d->changes = arena_grow(d->a, d->changes, d->n, &d->cap, sizeof *d->changes);
	d->of = arena_grow(d->a, d->of, d->n, &d->of_cap, sizeof *d->of);
	d->of[d->n] = of;
	d->changes[d->n++] = (struct shared_change){ .path = of->path, .is_gone = is_gone };
}

static void find_changes(struct difference *d)
{
	size_t b = 0, n = 0;

	while (b < d->n_before || n < d->n_now) {
		int order = b == d->n_before ? 1 : n == d->n_now ? -1 : str_cmp(d->before[b].path, d->now[n].path);
		if (order < 0)
			note(d, &d->before[b], true);
		else if (order > 0 || !looks_alike(&d->before[b], &d->now[n]))
			note(d, &d->now[n], false);
		b += order <= 0;
		n += order >= 0;
	}
}

/* One that has gone and one that has come are one that was renamed. */
static void find_renamed(struct difference *d)
{
	for (size_t i = 0; i < d->n; i++) {
		for (size_t k = 0; k < d->n && !d->changes[i].is_gone && d->of[i]->id.n > 0; k++) {
			if (d->changes[k].is_gone && d->changes[k].path.p != NULL && str_eq(d->of[k]->id, d->of[i]->id)) {
				d->changes[i].old = d->changes[k].path;
				d->changes[k].path = STR_NONE;
				break;
			}
		}
	}
}

static struct str parent_of(struct str path)
{
	ptrdiff_t cut = str_rchr(path, MAILBOX_SEPARATOR);

	return str_sub(path, 0, cut > 0 ? (size_t)cut : 0);
}

static bool went_along(const struct difference *d, const struct shared_change *c)
{
	struct str parent = parent_of(c->path), old = parent_of(c->old);

	if (c->old.p == NULL || !str_eq(str_from(c->path, parent.n), str_from(c->old, old.n)))
		return false;
	for (size_t i = 0; i < d->n; i++)
		if (d->changes[i].old.p != NULL && str_eq(d->changes[i].path, parent) && str_eq(d->changes[i].old, old))
			return true;
	return false;
}

static void drop_silent(struct difference *d)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	bool *is_silent = arena_array(&a, d->n + 1, sizeof *is_silent);
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++)
		is_silent[i] = d->changes[i].path.p == NULL || went_along(d, &d->changes[i]);
	for (size_t i = 0; i < d->n; i++)
		if (!is_silent[i])
			d->changes[n++] = d->changes[i];
	d->n = n;
}

static void compare(struct difference *d)
{
	find_changes(d);
	find_renamed(d);
	drop_silent(d);
}

/* ------------------------------------------------------------------------------------------------------------- keeping */

/* names are those of before where nobody has asked for their ids now. */
static void take_ids(struct difference *d, struct imap_remote_name *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct imap_remote_name *same = bsearch(&names[i], d->before, d->n_before, sizeof *d->before, by_path);
		names[i].id = id_in(names[i].lines);
		if (names[i].id.n == 0 && same != NULL)
			names[i].id = same->id;
	}
}

/* So they are kept. False: as before, which stands for an unknown word, too. */
static bool write_names(struct buf *b, const struct shared_names *before, struct str word, const struct imap_remote_name *names, size_t n)
{
	struct str word_before = remote_names_word(before);

	put_names(b, word_before, names, n);
	if (before != NULL && str_eq(before->names, buf_str(b)) && (word.n == 0 || str_eq(word, word_before)))
		return false;
	buf_reset(b);
	put_names(b, word, names, n);
	return true;
}

void remote_names_keep(struct imap_session *s, const struct shared_names *before, const struct share_owner *owner, struct str word,
                       struct imap_remote_name *names, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(SHARED_NAMES_MAX);
	struct shared_names now = { .owner = owner->account, .address = owner->address };
	struct difference d = { .a = &a };
	bool is_known = remote_names_get(before, &a, &d.before, &d.n_before);

	d.before = in_order(&a, owner->address, d.before, &d.n_before);
	take_ids(&d, names, n);
	if (!write_names(&b, before, word, names, n))
		return;
	now.names = buf_str(&b);
	d.n_now = n;
	d.now = in_order(&a, owner->address, names, &d.n_now);
	if (is_known && !remote_names_are_too_many(&now))
		compare(&d);
	if (shared_names_heard(s->view, &now, d.changes, d.n) != ERR_OK)
		log_info("what another account shares could not be noted owner=%llu", (unsigned long long)owner->account);
}

void remote_names_forget(struct imap_session *s, const struct shared_names *before)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct difference d = { .a = &a };

	if (remote_names_get(before, &a, &d.before, &d.n_before)) {
		d.before = in_order(&a, before->address, d.before, &d.n_before);
		compare(&d);
	}
	if (shared_names_heard(s->view, &(struct shared_names){ .owner = before->owner }, d.changes, d.n) != ERR_OK)
		log_info("what another account shared could not be forgotten owner=%llu", (unsigned long long)before->owner);
}

/* ------------------------------------------------------------------------------------------------------------- finding */

/* What leads to a name is there, too, and can be no more than that. */
static bool find_in(const struct imap_remote_name *names, size_t n, struct str path, struct imap_remote_name *out)
{
	bool leads = false;

	for (size_t i = 0; i < n; i++) {
		if (str_eq(names[i].path, path)) {
			*out = names[i];
			return true;
		}
		leads |= str_starts(names[i].path, path) && names[i].path.p[path.n] == MAILBOX_SEPARATOR;
	}
	*out = (struct imap_remote_name){ .path = path, .is_noselect = true, .has_children = true };
	return leads;
}

struct str imap_stored_name(struct imap_session *s, struct str name, struct arena *a)
{
	struct str out, composed, address;
	struct shared_names *kept;
	struct imap_remote_name found;
	size_t n;

	if (!imap_is_other(name, &address))
		return view_mailbox_name(s->view, name, a, &out) == ERR_OK ? out : name;
	composed = fold_composed(a, name);
	if (str_eq(composed, name) || shared_names_read(s->view, a, &kept, &n) != ERR_OK || remote_names_find(kept, n, name, &found))
		return name;
	return composed;
}

bool remote_names_find(const struct shared_names *kept, size_t n_kept, struct str path, struct imap_remote_name *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct imap_remote_name *names;
	struct str address;
	size_t n;

	for (size_t i = 0; i < n_kept; i++) {
		if (!imap_is_other(path, &address) || !str_ieq(address, kept[i].address))
			continue;
		remote_names_get(&kept[i], &a, &names, &n);
		return find_in(names, n, path, out);
	}
	return false;
}
