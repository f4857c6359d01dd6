/* imap/model_life_test.h -- what happens around the sessions of the model (model_test.h): they log in, are parked, and come back; the cell is
 * killed; the index is made, and thrown away. Nothing of it may change what is in the mailboxes.
 *
 * A kill between two operations leaves what the files say at that moment: they are copied, the old cell ends on the old ones, and the next one opens the copy. */
#ifndef FACTEUR_IMAP_MODEL_LIFE_TEST_H
#define FACTEUR_IMAP_MODEL_LIFE_TEST_H
#include "imap/model_told_test.h"
#include "store/index.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct account *account_of(struct play *p, const struct client *c) { return c->is_elsewhere ? &p->elsewhere.account : &p->account; }

/* In the owner's cell. */
static bool is_visitor(const struct client *c) { return c->is_guest && !c->is_elsewhere; }

static void log_in(struct play *p, struct client *c)
{
	static const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN"), .login_name = STR("a@x") };
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX);
	struct answer a;

	imap_fresh_record((struct imap_tongue){ 0 }, &record);
	c->box = -1;
	c->n = c->n_results = c->n_saved = 0;
	c->is_saved_unknown = false;
	c->context = NO_CONTEXT;
	c->s = session_for_test(&info, STR(""), &c->out);
	session_test_guest(c->s, is_visitor(c) ? GUEST : 0);
	c->state = is_visitor(c) ? imap_engine.resume(c->s, &p->account, buf_str(&record)) : imap_engine.open(c->s, account_of(p, c));
	EXPECT(c->state != NULL);
	if (c->is_qresync)
		say(p, c, &a, c->is_uidonly ? "ENABLE QRESYNC UIDONLY" : "ENABLE QRESYNC");
	if (c->watches)
		say(p, c, &a, "NOTIFY SET STATUS (selected-delayed (MessageNew MessageExpunge FlagChange)) (%s (MessageNew MessageExpunge FlagChange))%s",
		    c->is_elsewhere ? "mailboxes (\"Other Users/a@x/INBOX\" \"Other Users/a@x/Drafts\" \"Other Users/a@x/Archive\")" : "personal",
		    c->is_elsewhere ? " (subtree \"Other Users\" (MailboxName))" : "");
	c->folders = folders_seen(p);
}

static void hang_up(struct client *c)
{
	imap_engine.close(c->state);
	session_test_free(c->s);
}

/* Out of the cell: what the gate keeps. False: it stays in the cell. */
static bool leave(struct play *p, struct client *c, struct buf *record)
{
	struct answer a = { 0 };
	uint64_t modseq;

	if (c->context != NO_CONTEXT)
		return false;
	buf_reset(&c->out);
	if (!imap_engine.park(c->state, record, &modseq))
		wrong(p, "cannot be parked");
	hear_all(p, c, &a);  /* another account's cell may have something to say before */
	return !p->wrong[0];
}

/* The owner's cell says what it says to a session that was parked only with its next command. */
static bool is_still_served(struct play *p, struct client *c)
{
	struct answer a = { 0 };

	session_test_input(c->s, STR("t NOOP\r\n"));
	bool goes_on = imap_engine.input(c->state) != SESSION_CLOSE;
	if (goes_on)
		hear_all(p, c, &a);
	return goes_on;
}

/* And back. False: the cell said BYE. */
static bool come_back(struct play *p, struct client *c, struct str record)
{
	static const struct session_open info = { .protocol = PROTOCOL_IMAP, .login_name = STR("a@x") };

	buf_reset(&c->out);
	c->s = session_for_test(&info, STR(""), &c->out);
	session_test_guest(c->s, is_visitor(c) ? GUEST : 0);
	c->state = imap_engine.resume(c->s, account_of(p, c), record);
	if (c->state != NULL && c->is_elsewhere && !is_still_served(p, c)) {
		hang_up(c);
		return false;
	}
	if (c->state == NULL)
		session_test_free(c->s);
	return c->state != NULL;
}

static void park(struct play *p, struct client *c)
{
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX);

	if (!leave(p, c, &record))
		return;
	hang_up(c);
	if (!come_back(p, c, buf_str(&record))) {
		log_in(p, c);
		wrong(p, "cannot be resumed");
	}
}

/* Its gate wakes it, because the owner's account has changed. False: it cannot be parked, and so hears of others with its next command only. */
static bool is_woken_elsewhere(struct play *p, struct client *c)
{
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX), changed = BUF(8);
	struct session_open info = { .protocol = PROTOCOL_IMAP, .login_name = STR("a@x") };
	struct answer a = { 0 };

	if (!leave(p, c, &record))
		return false;
	hang_up(c);
	buf_reset(&c->out);
	put_u64(&changed, OWNER);
	info.changed = buf_str(&changed);
	c->s = session_for_test(&info, STR(""), &c->out);
	c->state = imap_engine.resume(c->s, &p->elsewhere.account, buf_str(&record));
	if (c->state == NULL || imap_engine.input(c->state) == SESSION_CLOSE) {
		wrong(p, "ends when it is woken: " STR_FMT, STR_ARG(buf_str(&c->out)));
		return false;
	}
	hear_all(p, c, &a);
	return true;
}

/* The account has changed; who watches is told. False: not this one, now. */
static bool is_woken(struct play *p, struct client *c)
{
	if (c->is_elsewhere)
		return is_woken_elsewhere(p, c);
	be_woken(p, c);
	return true;
}

static void copy_file(const char *from, const char *to)
{
	CLEANUP(fd_close) int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;

	EXPECT(in >= 0 && out >= 0 && fstat(in, &st) == 0);
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
		EXPECT(n > 0);
		left -= n;
	}
}

static void copy_folder(struct play *p, const char *from, const char *to)
{
	DIR *dir = opendir(from);

	EXPECT(dir != NULL);
	for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
		const char *a = str_cstr(&p->arena, arena_printf(&p->arena, "%s/%s", from, d->d_name));
		const char *b = str_cstr(&p->arena, arena_printf(&p->arena, "%s/%s", to, d->d_name));
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (d->d_type == DT_DIR) {
			EXPECT(mkdir(b, 0700) == 0);
			copy_folder(p, a, b);
		} else {
			copy_file(a, b);
		}
	}
	closedir(dir);
}

/* Keywords come and go: those that no message has any more went when the cell left. The new ones take their bits, and have others, whatever was made first.
 * Those of the model are there always, because a guest uses those that are there. */
static void make_keywords(struct play *p)
{
	char name[20];
	unsigned first = p->sleeps % 5, n = p->sleeps % 3 == 0 ? KEYWORDS_MAX : 20;

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof name, "other%u.%u", p->sleeps, i);
		for (int f = 5; i == first && f < FLAGS; f++)
			EXPECT(view_keyword(p->account.view, str_of(flag_names[f]), true) != 0);
		(void)!view_keyword(p->account.view, str_of(name), true);
	}
	p->sleeps++;
}

/* Sessions that were parked try to come back; the others are cut off, and log in again. is_killed: what the cell did not do at its end is not done. */
static void end_cell(struct play *p, const struct operation *o, bool is_killed)
{
	struct buf records[SESSIONS];
	const char *after = is_killed ? test_dir() : NULL;

	p->spoke = true;
	snprintf(p->did, sizeof p->did, is_killed ? "the cell is killed" : "the cell has left");
	for (int i = 0; i < SESSIONS; i++) {
		records[i] = BUF(PARK_RECORD_MAX);
		if ((o->a >> i) & 1 || !is_killed)
			leave(p, &p->clients[i], &records[i]);
	}
	if (is_killed)
		copy_folder(p, p->dir, after);
	for (int i = 0; i < SESSIONS; i++)
		hang_up(&p->clients[i]);
	if (p->has_elsewhere)
		close_cell(&p->elsewhere);
	EXPECT_OK(view_close(p->account.view));
	if (is_killed) {
		test_dir_remove(p->dir);
		p->dir = after;
	}
	EXPECT_OK(view_open(p->dir, &(struct view_config){ .account = OWNER }, &p->account.view));
	if (!is_killed)
		make_keywords(p);
	if (p->has_elsewhere)
		open_cell(&p->elsewhere);
	for (int i = 0; i < SESSIONS; i++) {
		struct client *c = &p->clients[i];
		if (records[i].n == 0 || !come_back(p, c, buf_str(&records[i])))
			log_in(p, c);
		else
			ask_for_new(p, c);
		buf_free(&records[i]);
	}
}

/* Some of the index, all of it, or none. */
static void index_now(struct play *p, const struct operation *o)
{
	switch (o->a % 4) {
	case 0:
		index_forget(p->account.view);
		break;
	case 1:
		view_tick(p->account.view);
		break;
	case 2:
		index_step(p->account.view, 0);
		break;
	default:
		while (index_step(p->account.view, 100))
			;
		break;
	}
}

static enum err who_is(UNUSED void *context, uint64_t account, UNUSED struct arena *a, struct guest *out)
{
	*out = (struct guest){ .account = account, .address = STR("b@x") };
	return ERR_OK;
}

/* Somebody else may do everything in these mailboxes: he must see what the owner sees. */
static void let_in(struct play *p)
{
	const struct acl_entry all = { .who = { .kind = SUBJECT_ACCOUNT, .account = GUEST, .name = STR("b@x") }, .rights = RIGHTS_ALL };
	struct mailbox m;

	make_keywords(p);
	for (int i = 0; i < BOXES; i++) {
		EXPECT_OK(view_mailbox_find(p->account.view, str_of(box_names[i]), &p->arena, &m));
		EXPECT_OK(acl_write(p->account.view, m.mailbox_id, ACL_SET, &all));
	}
}

static void begin(struct play *p, bool has_elsewhere)
{
	static const struct others others = { .guest = who_is };

	p->dir = test_dir();
	p->account.account = OWNER;
	p->account.others = &others;
	p->has_elsewhere = has_elsewhere;
	EXPECT_OK(view_open(p->dir, &(struct view_config){ .account = OWNER }, &p->account.view));
	let_in(p);
	if (has_elsewhere) {
		begin_elsewhere(&p->elsewhere, &p->account, GUEST);
		open_cell(&p->elsewhere);
	}
	for (int i = 0; i < BOXES; i++)
		p->boxes[i].uidnext = 1;
	for (int i = 0; i < SESSIONS; i++) {
		p->clients[i] = (struct client){ .out = BUF(1 << 20), .is_qresync = i > 0, .is_uidonly = i == 2, .is_guest = i == 2, .is_elsewhere = has_elsewhere && i == 2, .watches = i == 1 || (i == 2 && has_elsewhere) };
		log_in(p, &p->clients[i]);
	}
}

static void end(struct play *p)
{
	for (int i = 0; i < SESSIONS; i++) {
		hang_up(&p->clients[i]);
		buf_free(&p->clients[i].out);
	}
	if (p->has_elsewhere) {
		close_cell(&p->elsewhere);
		end_elsewhere(&p->elsewhere);
	}
	arena_free(&p->arena);
	EXPECT_OK(view_close(p->account.view));
	test_dir_remove(p->dir);
}
#endif
