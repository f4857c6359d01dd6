/* Random commands of several sessions go to a real mailbox and to the model (model_test.h); each answer, and after each command what every
 * client has been told, must be what the model says. A failure is made small before it is shown: an operation is three numbers that
 * mean something in any state, so that any of them may be left out.
 *
 * FACTEUR_SEED=n repeats one play, FACTEUR_OPERATIONS=n plays as many in all, FACTEUR_FIRST=n from that seed on (`make torture-imap`). */
#include "imap/model_life_test.h"
#include "imap/model_search_test.h"

#ifdef FACTEUR_SANITIZER
enum { OPERATIONS_IN_ALL = 20000 };
#else
enum { OPERATIONS_IN_ALL = 100000 };
#endif

/* ---- operations */

static void new_message(const struct operation *o, struct model_message *m, char *text, size_t room)
{
	size_t padding = o->b % 40;

	*m = (struct model_message){ .day = (int)(o->a % 28) + 1, .subject = (int)(o->a >> 5) % SUBJECTS, .flags = (o->a >> 8) & 0x77, .words = (o->b >> 8) % (1 << WORDS) };
	int n = snprintf(text, room, "Subject: %s\r\n\r\n%.*s", subjects[m->subject], (int)padding, "........................................");
	for (int w = 0; w < WORDS; w++)
		if (m->words & 1u << w)
			n += snprintf(text + n, room - (size_t)n, "%s", words[w]);
	m->size = (uint32_t)n;
}

static void append_one(struct play *p, struct client *c, const struct operation *o)
{
	struct box *b = &p->boxes[(o->a >> 16) % BOXES];
	struct model_message m;
	struct answer a;
	char text[300], flags[200];

	if (b->n == MESSAGES_MAX)
		return;
	new_message(o, &m, text, sizeof text);
	flag_list(m.flags, flags, sizeof flags);
	add_message(p, b, &m);
	say(p, c, &a, "APPEND %s (%s) \"%02d-Feb-2024 10:00:00 +0000\" {%u+}\r\n%s", name_of(c, (int)(b - p->boxes)), flags, m.day, m.size, text);
	want_ok(p, &a);
	check_told(p, c, true);
}

/* Enough of them, in one command, to be worth an index. */
static void append_many(struct play *p, struct client *c, const struct operation *o)
{
	struct box *b = &p->boxes[(o->a >> 16) % BOXES];
	CLEANUP(buf_free) struct buf all = BUF(20000);
	size_t n = MESSAGES_MAX - b->n < MANY ? MESSAGES_MAX - b->n : MANY;
	struct answer a;

	for (uint32_t i = 0; i < n; i++) {
		const struct operation one = { .a = o->a + i * 2654435761u, .b = o->b + i * 40503u };
		struct model_message m;
		char text[300], flags[200];
		new_message(&one, &m, text, sizeof text);
		flag_list(m.flags, flags, sizeof flags);
		add_message(p, b, &m);
		buf_printf(&all, " (%s) \"%02d-Feb-2024 10:00:00 +0000\" {%u+}\r\n%s", flags, m.day, m.size, text);
	}
	if (n == 0)
		return;
	say(p, c, &a, "APPEND %s" STR_FMT, name_of(c, (int)(b - p->boxes)), STR_ARG(buf_str(&all)));
	want_ok(p, &a);
	check_told(p, c, true);
}

static struct told *some_told(struct client *c, uint32_t a) { return c->n ? &c->list[a % c->n] : NULL; }

static void replace(struct play *p, struct client *c, const struct operation *o)
{
	struct box *from = box_of(p, c), *to = &p->boxes[(o->a >> 16) % BOXES];
	struct told *t = some_told(c, o->b);
	struct model_message m;
	struct answer a;
	char text[300];
	uint32_t uid;

	if (t == NULL || to->n == MESSAGES_MAX || c->is_readonly)
		return;
	uid = t->uid;
	new_message(o, &m, text, sizeof text);
	m.flags = 0;
	bool is_there = find(from, uid) != NULL;
	if (is_there) {
		remove_message(p, from, uid);
		add_message(p, to, &m);
	}
	say(p, c, &a, "UID REPLACE %u %s \"%02d-Feb-2024 10:00:00 +0000\" {%u+}\r\n%s", uid, name_of(c, (int)(to - p->boxes)), m.day, m.size, text);
	if ((a.status == 'O') != is_there)
		wrong(p, "replacing a message that %s: " STR_FMT, is_there ? "is there" : "is gone", STR_ARG(a.text));
	check_told(p, c, true);
}

/* STORE of a range, with numbers or UIDs, now and then UNCHANGEDSINCE */
static void store(struct play *p, struct client *c, const struct operation *o)
{
	static const char *const ops[] = { "FLAGS", "+FLAGS", "-FLAGS", "+FLAGS.SILENT" };
	uint32_t op = o->a % 4, flags = 1u << (o->a >> 2) % FLAGS | (o->a & 64 ? 1u << (o->a >> 7) % FLAGS : 0), first, last;
	bool by_uid = (o->a & 4096) || c->is_uidonly, is_conditional = (o->a & 8192) && c->modseq[c->box] != 0 && (o->a & 16384);
	struct box *b = box_of(p, c);
	struct answer a;
	char names[200], condition[60] = "";

	if (c->n == 0 || c->is_readonly)
		return;
	first = o->b % c->n;
	last = first + (o->b >> 8) % 4;
	last = last < c->n ? last : (uint32_t)c->n - 1;
	if (is_conditional)
		snprintf(condition, sizeof condition, " (UNCHANGEDSINCE %llu)", (unsigned long long)c->modseq[c->box]);
	for (uint32_t i = first; i <= last; i++) {
		struct model_message *m = find(b, c->list[i].uid);
		if (m == NULL || (is_conditional && m->changed > c->modseq_tick[c->box]))
			continue;
		uint32_t now = op == 0 ? flags : op == 2 ? m->flags & ~flags : m->flags | flags;
		if (now != m->flags) {
			m->changed = p->tick;
			p->touched[c->box] = true;
		}
		m->flags = now;
		if (op == 3)  /* nobody says it to who knows it */
			c->list[i].flags = now;
	}
	flag_list(flags, names, sizeof names);
	if (by_uid)
		say(p, c, &a, "UID STORE %u:%u%s %s (%s)", c->list[first].uid, c->list[last].uid, condition, ops[op], names);
	else
		say(p, c, &a, "STORE %u:%u%s %s (%s)", first + 1, last + 1, condition, ops[op], names);
	if (a.status == 'B')
		wrong(p, "answered " STR_FMT, STR_ARG(a.text));
	check_told(p, c, by_uid);
}

/* What changed since a HIGHESTMODSEQ that was told some time ago: exactly that                       RFC 7162 §3.1.4 */
static void changed_since(struct play *p, struct client *c)
{
	struct uid_set known = { 0 };
	struct box *b = box_of(p, c);
	struct answer a;

	if (c->modseq[c->box] == 0)
		return;
	for (size_t i = 0; i < c->n; i++)
		uid_set_add(&known, &p->arena, c->list[i].uid, c->list[i].uid);
	say(p, c, &a, "UID FETCH 1:* (FLAGS) (CHANGEDSINCE %llu)", (unsigned long long)c->modseq[c->box]);
	if (a.status == 'B')
		wrong(p, "answered " STR_FMT, STR_ARG(a.text));
	for (size_t i = 0; i < b->n; i++)
		if (b->list[i].changed > c->modseq_tick[c->box] && uid_set_has(&known, b->list[i].uid) && !uid_set_has(&a.fetched, b->list[i].uid))
			wrong(p, "uid %u changed, and CHANGEDSINCE does not know", b->list[i].uid);
	check_told(p, c, true);
}

static void copy(struct play *p, struct client *c, const struct operation *o)
{
	bool is_move = o->a & 1, by_uid = (o->a & 2) || c->is_uidonly;
	struct box *from = box_of(p, c), *to = &p->boxes[(o->a >> 2) % BOXES];
	struct answer a;
	uint32_t first, last;
	size_t room = MESSAGES_MAX - to->n;

	if (c->n == 0 || (is_move && c->is_readonly))
		return;
	first = o->b % c->n;
	last = first + (o->b >> 8) % 3;
	last = last < c->n ? last : (uint32_t)c->n - 1;
	if (room < last - first + 1)
		return;
	uint32_t uids[3];
	size_t n = 0;
	for (uint32_t i = first; i <= last; i++)
		if (find(from, c->list[i].uid) != NULL)
			uids[n++] = c->list[i].uid;
	for (size_t i = 0; i < n; i++) {
		struct model_message m = *find(from, uids[i]);
		if (is_move)
			remove_message(p, from, uids[i]);
		add_message(p, to, &m);
	}
	if (by_uid)
		say(p, c, &a, "UID %s %u:%u %s", is_move ? "MOVE" : "COPY", c->list[first].uid, c->list[last].uid, name_of(c, (int)(to - p->boxes)));
	else
		say(p, c, &a, "%s %u:%u %s", is_move ? "MOVE" : "COPY", first + 1, last + 1, name_of(c, (int)(to - p->boxes)));
	if (a.status == 'B' || (a.status == 'N' && n > 0))
		wrong(p, "answered " STR_FMT, STR_ARG(a.text));
	check_told(p, c, true);
}

static void expunge(struct play *p, struct client *c, const struct operation *o)
{
	struct box *b = box_of(p, c);
	struct answer a;
	uint32_t first = 0, last = UINT32_MAX;

	if (c->is_readonly)
		return;
	if (o->a & 1) {
		first = b->uidnext > 20 ? o->b % b->uidnext : 1;
		last = first + 10;
	}
	for (size_t i = b->n; i-- > 0;)
		if ((b->list[i].flags & DELETED) && b->list[i].uid >= first && b->list[i].uid <= last)
			remove_message(p, b, b->list[i].uid);
	if (o->a & 1)
		say(p, c, &a, "UID EXPUNGE %u:%u", first ? first : 1, last);
	else
		say(p, c, &a, "EXPUNGE");
	want_ok(p, &a);
	check_told(p, c, true);
}

static void status(struct play *p, struct client *c, const struct operation *o)
{
	struct box *b = &p->boxes[o->a % BOXES];
	uint32_t want[5] = { (uint32_t)b->n, b->uidnext };
	struct answer a;

	for (size_t i = 0; i < b->n; i++) {
		want[2] += !(b->list[i].flags & SEEN);
		want[3] += !!(b->list[i].flags & DELETED);
		want[4] += b->list[i].size;
	}
	say(p, c, &a, "STATUS %s (MESSAGES UIDNEXT UNSEEN DELETED SIZE)", name_of(c, (int)(b - p->boxes)));
	want_ok(p, &a);
	for (size_t i = 0; i < COUNT_OF(want); i++)
		if (a.status_items[i] != want[i])
			wrong(p, "STATUS of %s: item %zu is %u, should be %u", box_names[b - p->boxes], i, a.status_items[i], want[i]);
	check_told(p, c, true);
}

/* SELECT, from what was remembered of it where the client can: VANISHED and FETCH are then all that it did not know    RFC 7162 §3.2.5 */
static void choose(struct play *p, struct client *c, const struct operation *o)
{
	int box = (int)(o->a % BOXES);
	struct box *b = &p->boxes[box];
	bool resyncs = c->is_qresync && c->modseq[box] != 0 && (o->a & 32);
	unsigned since = c->modseq_tick[box];
	struct answer a;

	c->box = box;
	c->n = 0;
	c->context = NO_CONTEXT;  /* it ends with the selected mailbox */
	c->n_results = 0;
	save_result(c, NULL, 0);
	c->is_readonly = (o->a >> 3) % 4 == 0;
	if (resyncs)
		say(p, c, &a, "%s %s (QRESYNC (%u %llu))", c->is_readonly ? "EXAMINE" : "SELECT", name_of(c, box), c->uidvalidity[box],
		    (unsigned long long)c->modseq[box]);
	else
		say(p, c, &a, "%s %s", c->is_readonly ? "EXAMINE" : "SELECT", name_of(c, box));
	want_ok(p, &a);
	for (size_t i = 0; resyncs && i < b->n; i++)
		if (b->list[i].changed > since && !uid_set_has(&a.fetched, b->list[i].uid))
			wrong(p, "uid %u changed, and QRESYNC does not know", b->list[i].uid);
	for (size_t i = 0; resyncs && i < b->n_gone && i < GONE_MAX; i++)
		if (b->gone[i].tick > since && !uid_set_has(&a.earlier, b->gone[i].uid))
			wrong(p, "uid %u is gone, and QRESYNC does not know", b->gone[i].uid);
	for (size_t i = 0; i < b->n; i++)
		if (uid_set_has(&a.earlier, b->list[i].uid))
			wrong(p, "uid %u is there, and QRESYNC says it vanished", b->list[i].uid);
	if (a.highest == 0)
		wrong(p, "SELECT without HIGHESTMODSEQ");
	c->modseq[box] = a.highest;
	c->modseq_tick[box] = p->tick;
	check_told(p, c, true);
	if (c->is_uidonly || !(o->a & 64) || p->wrong[0])
		return;
	c->context = c == p->clients ? SEARCHED : SORTED;
	say(p, c, &a, c->context == SEARCHED ? "SEARCH RETURN (UPDATE ALL) UNSEEN" : "UID SORT RETURN (UPDATE) (REVERSE SIZE) UTF-8 UNDELETED");
	want_ok(p, &a);
	memcpy(c->results, a.numbers, a.n * sizeof a.numbers[0]);
	c->n_results = a.n;
}

static void fetch(struct play *p, struct client *c, const struct operation *o)
{
	bool by_uid = (o->a & 1) || c->is_uidonly;
	struct answer a;
	uint32_t first, last;

	if (c->n == 0)
		return;
	first = o->b % c->n;
	last = first + (o->b >> 8) % 10;
	last = last < c->n ? last : (uint32_t)c->n - 1;
	const char *modseq = c->is_qresync && (o->a & 2) ? " MODSEQ" : "";
	if (by_uid)
		say(p, c, &a, "UID FETCH %u:%u (FLAGS%s RFC822.SIZE)", c->list[first].uid, c->list[last].uid, modseq);
	else
		say(p, c, &a, "FETCH %u:%u (UID FLAGS%s RFC822.SIZE)", first + 1, last + 1, modseq);
	if (a.status == 'B')
		wrong(p, "answered " STR_FMT, STR_ARG(a.text));
	check_told(p, c, by_uid);
}

static void noop(struct play *p, struct client *c)
{
	struct answer a;

	say(p, c, &a, "NOOP");
	want_ok(p, &a);
	check_told(p, c, true);
}

/* The owner makes a folder, or deletes, renames, shares it, or takes it back. */
static void change_folder(struct play *p, struct client *c, const struct operation *o)
{
	unsigned i = o->a % FOLDERS, to = (o->a >> 8) % FOLDERS;
	struct answer a;

	if (p->folders[i] == NO_FOLDER) {
		say(p, c, &a, "CREATE Folder%u", i);
		p->folders[i] = FOLDER_OWN;
		if (o->b & 1)
			share_folder(p, i, true);
	} else if (o->b % 3 == 0) {
		say(p, c, &a, "DELETE Folder%u", i);
		p->folders[i] = NO_FOLDER;
	} else if (o->b % 3 == 1 && p->folders[to] == NO_FOLDER) {
		say(p, c, &a, "RENAME Folder%u Folder%u", i, to);
		p->folders[to] = p->folders[i];
		p->folders[i] = NO_FOLDER;
	} else {
		share_folder(p, i, p->folders[i] == FOLDER_OWN);
		say(p, c, &a, "NOOP");
	}
	want_ok(p, &a);
	check_told(p, c, true);
}

static void run(struct play *p, const struct operation *o)
{
	struct client *c = &p->clients[o->what % SESSIONS];
	uint32_t what = o->what / SESSIONS % 20;
	int box_before = c->box;

	p->tick++;
	memset(p->touched, 0, sizeof p->touched);
	p->spoke = false;
	if (c->box < 0 && what != 0)
		what = 1;
	switch (what) {
	case 0:
		append_one(p, c, o);
		break;
	case 1:
		choose(p, c, o);
		break;
	case 2: case 3: case 4:
		store(p, c, o);
		break;
	case 5: case 6: case 7:
		search(p, c, o);
		break;
	case 8:
		fetch(p, c, o);
		break;
	case 9:
		fetch_some(p, c, o);
		break;
	case 10: case 11:
		copy(p, c, o);
		break;
	case 12: case 13:
		expunge(p, c, o);
		break;
	case 14:
		status(p, c, o);
		break;
	case 15:
		changed_since(p, c);
		break;
	case 16:
		replace(p, c, o);
		break;
	case 17:
		park(p, c);
		break;
	case 18:
		if (c == &p->clients[0])
			change_folder(p, c, o);
		else
			append_one(p, c, o);
		break;
	default:
		if ((o->b >> 16) % 24 == 0)
			end_cell(p, o, true);
		else if ((o->b >> 16) % 24 == 5)
			end_cell(p, o, false);
		else if ((o->b >> 16) % 24 == 1)
			append_many(p, c, o);
		else if ((o->b >> 16) % 24 < 5)
			index_now(p, o);
		else
			noop(p, c);
		break;
	}
	bool was_told = !p->wrong[0] && c->watches && is_woken(p, c);
	if (!p->wrong[0])
		ask_for_new(p, c);
	if (!p->wrong[0] && was_told) {
		check_told(p, c, false);
		check_watched(p, c, box_before);
		check_folders(p, c);
	}
	if (!p->wrong[0] && c->context != NO_CONTEXT && p->spoke)
		check_results(p, c);
}

/* ---- plays, and what remains of one that went wrong */

enum { ELSEWHERE_EVERY = 4 };  /* plays have their guest in another cell: it takes longer */

/* The number of the operation that went wrong (its text in p->wrong), or n. */
static size_t play(const struct operation *all, size_t n, unsigned seed, struct play *p)
{
	size_t i = 0;

	begin(p, seed % ELSEWHERE_EVERY == 0);
	for (; i < n; i++) {
		run(p, &all[i]);
		arena_reset(&p->arena);
		if (p->wrong[0])
			break;
	}
	end(p);
	return i;
}

static bool goes_wrong(const struct operation *all, size_t n, unsigned seed)
{
	struct play *p = MEM_NEW(struct play);
	bool is_wrong = play(all, n, seed, p) < n;

	mem_free(p);
	return is_wrong;
}

/* Leaves out what is not needed to go wrong: halves, then quarters … then single operations. */
static size_t shrink(struct operation *all, size_t n, unsigned seed)
{
	struct operation *less = mem_alloc(n * sizeof *less);

	for (size_t piece = n / 2; piece > 0; piece /= 2) {
		for (size_t at = 0; at + piece <= n;) {
			memcpy(less, all, at * sizeof *less);
			memcpy(less + at, all + at + piece, (n - at - piece) * sizeof *less);
			if (goes_wrong(less, n - piece, seed)) {
				n -= piece;
				memcpy(all, less, n * sizeof *all);
			} else {
				at += piece;
			}
		}
	}
	mem_free(less);
	return n;
}

static void show(const struct operation *all, size_t n, unsigned seed)
{
	struct play *p = MEM_NEW(struct play);

	begin(p, seed % ELSEWHERE_EVERY == 0);
	for (size_t i = 0; i < n && !p->wrong[0]; i++) {
		run(p, &all[i]);
		print_error("  %s\n" STR_FMT, p->did, STR_ARG(buf_str(&p->clients[all[i].what % SESSIONS].out)));
	}
	print_error("FACTEUR_SEED=%u: %s\n", seed, p->wrong);
	fail();
}

static uint32_t draw(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*random >> 32);
}

static void one_play(unsigned seed)
{
	struct operation all[OPERATIONS];
	struct play *p = MEM_NEW(struct play);
	uint64_t random = seed * 2654435761u + 1;
	size_t n;

	for (size_t i = 0; i < OPERATIONS; i++) {
		all[i].what = draw(&random);
		all[i].a = draw(&random);
		all[i].b = draw(&random);
	}
	n = play(all, OPERATIONS, seed, p);
	mem_free(p);
	if (n < OPERATIONS)
		show(all, shrink(all, n + 1, seed), seed);
}

TEST(the_real_mailbox_is_the_model)
{
	unsigned only = number_of("FACTEUR_SEED", 0), first = only ? only : number_of("FACTEUR_FIRST", 1);
	unsigned plays = only ? 1 : number_of("FACTEUR_OPERATIONS", OPERATIONS_IN_ALL) / OPERATIONS;

	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);  /* it is not about the disk */
	log_setup("test", LOG_LEVEL_WARN, false);  /* each kill leaves a gap of modification numbers */
	for (unsigned seed = first; seed < first + plays; seed++)
		one_play(seed);
}
