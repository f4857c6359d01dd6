/* Rights: letters, lists, guests; what a child inherits; and that control's table of who shares with whom follows,
 * whatever is in between. */
#include "store/rights.h"
#include "directory/people_test.h"
#include "store/store_private.h"

enum { WAIT_MS = 10000 };

TEST(letters)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "", "" },
		{ "lr", "lr" },
		{ "rl", "lr" },                            /* any order */
		{ "lrswipkxtea", "lrswipkxtecda" },        /* all, and what RFC 2086 called them */
		{ "c", "kc" },
		{ "d", "xted" },
		{ "t", "td" },                             /* a part of d is shown as d, too (RFC 4314 §2.1.1) */
		{ "lrz", NULL },
		{ "L", NULL },
		{ "l r", NULL },
		{ "lr0", NULL },
	};

	EACH(cases, c) {
		char text[RIGHTS_TEXT_MAX];
		unsigned rights;
		bool is_fine = rights_parse(str_of(c->in), &rights);
		EXPECT(is_fine == (c->out != NULL));
		if (is_fine)
			EXPECT_STR(str_of(rights_text(rights, text)), c->out);
	}
}

struct world {
	struct people people;
	const char  *folder;
	struct view *v;
	struct arena a;
	int          changes;          /* on_changed() was called so often */
};

static void count_change(void *context, UNUSED uint64_t account, UNUSED uint64_t modseq) { ((struct world *)context)->changes++; }

static void reopen(struct world *w)
{
	const struct view_config config = { .account = ALICE, .on_changed = count_change, .context = w };

	EXPECT_OK(view_close(w->v));
	EXPECT_OK(view_open(w->folder, &config, &w->v));
}

static void begin(struct world *w)
{
	*w = (struct world){ .folder = test_dir() };
	people_begin(&w->people);
	reopen(w);
}

static void end(struct world *w)
{
	EXPECT_OK(view_close(w->v));
	people_end(&w->people);
	arena_free(&w->a);
	test_dir_remove(w->folder);
}

static int64_t box(struct world *w, const char *path)
{
	struct mailbox m;
	enum err e = view_mailbox_find(w->v, str_of(path), &w->a, &m);

	if (e == ERR_NOTFOUND)
		EXPECT_OK(view_mailbox_create(w->v, str_of(path), MAILBOX_PLAIN, &w->a, &m));
	return m.mailbox_id;
}

static struct subject subject(struct world *w, const char *text)
{
	struct subject x;

	EXPECT_OK(subject_ask(w->people.control, str_of(text), WAIT_MS, &w->a, &x));
	return x;
}

/* "-bob@…": takes away */
static enum err change(struct world *w, const char *path, enum acl_change how, const char *who, const char *rights)
{
	struct acl_entry line = { subject(w, who + (who[0] == '-')), who[0] == '-', 0 };

	EXPECT(rights_parse(str_of(rights), &line.rights));
	return acl_write(w->v, box(w, path), how, &line);
}

static struct str list(struct world *w, const char *path)
{
	struct str text = STR("");
	struct acl_entry *all;
	size_t n;

	EXPECT_OK(acl_read(w->v, box(w, path), &w->a, &all, &n));
	for (size_t i = 0; i < n; i++) {
		char letters[RIGHTS_TEXT_MAX];
		text = arena_printf(&w->a, STR_FMT "%s%s" STR_FMT " %s", STR_ARG(text), i ? ", " : "", all[i].is_negative ? "-" : "",
		                    STR_ARG(all[i].who.name), rights_text(all[i].rights, letters));
	}
	return text;
}

static struct str rights(struct world *w, const char *path, uint64_t who)
{
	char letters[RIGHTS_TEXT_MAX];
	struct guest guest;
	unsigned bits;

	EXPECT_OK(guest_ask(w->people.control, who, WAIT_MS, &w->a, &guest));
	EXPECT_OK(rights_of(w->v, box(w, path), &guest, &bits));
	return str_copy(&w->a, str_of(rights_text(bits, letters)));
}

/* As master asks it. */
static enum err shares_with(struct world *w, uint64_t guest, uint64_t owner)
{
	CLEANUP(buf_free) struct buf b = BUF(16);

	put_u64(&b, guest);
	put_u64(&b, owner);
	return shares_with_serve(w->people.d, buf_str(&b));
}

/* Addresses of those who share with an account, as its own cell hears it. */
static struct str sharers(struct world *w, uint64_t who)
{
	struct share_owner *owners, one;
	struct str text = STR("");
	size_t n;

	atomic_store(&w->people.asker, who);
	EXPECT_OK(shared_ask(w->people.control, WAIT_MS, &w->a, &owners, &n));
	for (size_t i = 0; i < n; i++) {
		text = arena_printf(&w->a, STR_FMT "%s" STR_FMT, STR_ARG(text), i ? " " : "", STR_ARG(owners[i].address));
		EXPECT_OK(shared_find(w->people.control, owners[i].address, WAIT_MS, &w->a, &one));
		EXPECT_INT(one.account, owners[i].account);
	}
	if (n == 0)
		EXPECT_ERR(shared_find(w->people.control, STR("alice@example.test"), WAIT_MS, &w->a, &one), ERR_NOTFOUND);
	EXPECT_ERR(shares_with(w, who, ALICE), n > 0 ? ERR_OK : ERR_NOTFOUND);   /* nobody else shares here */
	atomic_store(&w->people.asker, ALICE);
	return text;
}

/* Lists are changed line by line, and kept. */
static void lists(struct world *w)
{
	struct acl_entry nobody = { { SUBJECT_ACCOUNT, 99, STR(""), STR("gone@example.test") }, false, RIGHT_LOOKUP };

	EXPECT_STR(list(w, "INBOX"), "");
	EXPECT_OK(change(w, "INBOX", ACL_SET, "bob@example.test", "lr"));
	EXPECT(w->changes > 0);
	EXPECT_OK(change(w, "INBOX", ACL_ADD, "bob", "sw"));              /* of the owner's domain */
	EXPECT_OK(change(w, "INBOX", ACL_SET, "team@example.test", "lri"));  /* a group, with "$" or without */
	EXPECT_OK(change(w, "INBOX", ACL_SET, "anyone", "p"));
	EXPECT_OK(change(w, "INBOX", ACL_SET, "-CHEF@example.test", "w"));   /* an alias of bob's */
	EXPECT_STR(list(w, "INBOX"), "anyone p, $team@example.test lri, bob@example.test lrsw, -bob@example.test w");
	EXPECT_OK(change(w, "INBOX", ACL_REMOVE, "b.martin@example.test", "lw"));  /* a further address of his */
	EXPECT_OK(change(w, "INBOX", ACL_REMOVE, "carol@example.test", "l"));      /* has none: nothing happens */
	EXPECT_OK(change(w, "INBOX", ACL_REMOVE, "$team@example.test", "lri"));    /* without rights a line goes */
	reopen(w);
	EXPECT_STR(list(w, "INBOX"), "anyone p, bob@example.test rs, -bob@example.test w");
	EXPECT_ERR(acl_remove(w->v, box(w, "INBOX"), STR("carol@example.test"), false), ERR_NOTFOUND);
	EXPECT_OK(acl_remove(w->v, box(w, "INBOX"), STR("Bob@example.test"), true));
	EXPECT_OK(acl_write(w->v, box(w, "INBOX"), ACL_SET, &nobody));             /* whom no directory knows any more … */
	EXPECT_OK(acl_remove(w->v, box(w, "INBOX"), STR("gone@example.test"), false));  /* … can still be removed by name */
	EXPECT_STR(list(w, "INBOX"), "anyone p, bob@example.test rs");
	EXPECT_ERR(acl_write(w->v, 9999, ACL_SET, &nobody), ERR_NOTFOUND);
}

/* Whom does an identifier mean? */
static void identifiers(struct world *w)
{
	static const struct { const char *text, *name; } cases[] = {
		{ "anyone", "anyone" }, { "ANYONE", "anyone" }, { "bob@example.test", "bob@example.test" }, { "BOB@Example.TEST", "bob@example.test" },
		{ "bob", "bob@example.test" }, { "chef", "bob@example.test" }, { "team", "$team@example.test" }, { "$team@example.test", "$team@example.test" },
		{ "$bob@example.test", NULL }, { "dave", NULL }, { "dave@example.com", "dave@example.com" }, { "eve@elsewhere.test", NULL },
		{ "", NULL }, { "$", NULL }, { "@", NULL },
	};
	struct subject x;

	EACH(cases, c) {
		enum err e = subject_ask(w->people.control, str_of(c->text), WAIT_MS, &w->a, &x);
		EXPECT_INT(e, c->name ? ERR_OK : ERR_NOTFOUND);
		if (c->name)
			EXPECT_STR(x.name, c->name);
	}
	EXPECT_ERR(subject_ask(NULL, STR("bob"), WAIT_MS, &w->a, &x), ERR_UNAVAILABLE);
}

TEST(a_guest_has_what_is_given_less_what_is_taken)
{
	struct world w;
	struct guest bob;
	unsigned bits;

	begin(&w);
	EXPECT_STR(rights(&w, "Sent", BOB), "");
	EXPECT_OK(change(&w, "Sent", ACL_SET, "anyone", "l"));
	EXPECT_OK(change(&w, "Sent", ACL_SET, "$team", "rs"));
	EXPECT_OK(change(&w, "Sent", ACL_SET, "bob", "a"));
	EXPECT_OK(change(&w, "Sent", ACL_SET, "-bob", "s"));
	EXPECT_STR(rights(&w, "Sent", BOB), "lra");
	EXPECT_STR(rights(&w, "Sent", CAROL), "lrs");                /* through a group in the group */
	EXPECT_STR(rights(&w, "Sent", DAVE), "");                    /* anyone is who has an address of the owner's domain … */
	EXPECT_OK(setting_store(w.people.d, SCOPE_DOMAIN, STR("example.test"), SETTING_anyone_is_server, STR("on")));
	EXPECT_STR(rights(&w, "Sent", DAVE), "l");                   /* … or, by a setting, of this server */
	EXPECT_OK(guest_ask(w.people.control, BOB, WAIT_MS, &w.a, &bob));
	EXPECT_OK(rights_check(w.v, box(&w, "Sent"), &bob, RIGHT_LOOKUP | RIGHT_READ));
	EXPECT_ERR(rights_check(w.v, box(&w, "Sent"), &bob, RIGHT_READ | RIGHT_INSERT), ERR_DENIED);
	EXPECT_ERR(rights_check(w.v, box(&w, "Drafts"), &bob, RIGHT_INSERT), ERR_NOTFOUND);  /* what he does not see is not there */
	EXPECT_ERR(rights_check(w.v, 9999, &bob, RIGHT_READ), ERR_NOTFOUND);
	EXPECT_OK(rights_of(w.v, box(&w, "Drafts"), NULL, &bits));
	EXPECT_INT(bits, RIGHTS_ALL);
	EXPECT_OK(account_suspend(w.people.d, BOB, true));
	EXPECT_ERR(guest_ask(w.people.control, BOB, WAIT_MS, &w.a, &bob), ERR_DENIED);
	EXPECT_ERR(guest_ask(w.people.control, 99, WAIT_MS, &w.a, &bob), ERR_NOTFOUND);
	end(&w);
}

/* A child begins with the list of its parent. */
static void children(struct world *w)
{

	box(w, "Work");
	EXPECT_OK(change(w, "Work", ACL_SET, "bob", "lrk"));
	EXPECT_OK(change(w, "Work", ACL_SET, "-carol", "r"));
	box(w, "Work/2026/May");                                    /* its parent is made on the way, and has it, too */
	EXPECT_STR(list(w, "Work/2026"), "bob@example.test lrkc, -carol@example.test r");
	EXPECT_STR(list(w, "Work/2026/May"), "bob@example.test lrkc, -carol@example.test r");
	EXPECT_OK(change(w, "Work/2026", ACL_SET, "bob", "l"));     /* from then on each has its own */
	EXPECT_STR(list(w, "Work/2026/May"), "bob@example.test lrkc, -carol@example.test r");
	EXPECT_OK(view_mailbox_rename(w->v, STR("Work/2026/May"), STR("May")));
	EXPECT_STR(list(w, "May"), "bob@example.test lrkc, -carol@example.test r");
	EXPECT_OK(view_mailbox_delete(w->v, STR("May")));
	box(w, "May");
	EXPECT_STR(list(w, "May"), "");                             /* another mailbox with the same name */
}

/* A bit for each account. */
static int gained(const struct share_gains *g)
{
	int bits = 0;

	EXPECT(!g->is_many);
	for (size_t i = 0; i < g->n; i++)
		bits |= 1 << g->accounts[i];
	return bits;
}

static int gains_of(struct world *w, const char *name)
{
	struct directory_address x = people_address(&w->people, name);
	struct share_gains g = { 0 };

	EXPECT_OK(share_gains_of_name(w->people.d, &x, &g));
	return gained(&g);
}

TEST(control_knows_who_shares_with_whom)
{
	struct world w;
	struct guest bob;
	struct directory_address x;

	begin(&w);
	EXPECT_OK(change(&w, "INBOX", ACL_SET, "-carol", "lr"));
	EXPECT_OK(change(&w, "INBOX", ACL_SET, "bob", "lr"));
	EXPECT(acl_is_untold(w.v));
	EXPECT_ERR(acl_tell(w.v, NULL, WAIT_MS), ERR_UNAVAILABLE);   /* control is not there, and the cell ends: */
	reopen(&w);
	EXPECT(acl_is_untold(w.v));                                  /* the next one tells */
	EXPECT_OK(acl_tell(w.v, w.people.control, WAIT_MS));
	EXPECT(!acl_is_untold(w.v));
	EXPECT(w.people.gained.n == 1 && w.people.gained.accounts[0] == BOB && !w.people.gained.is_many);
	reopen(&w);
	EXPECT(!acl_is_untold(w.v));
	EXPECT_STR(sharers(&w, BOB), "alice@example.test");
	EXPECT_STR(sharers(&w, CAROL), "");                          /* a line that only takes away shares nothing */
	EXPECT_OK(change(&w, "INBOX", ACL_SET, "bob", ""));
	EXPECT_OK(change(&w, "Sent", ACL_SET, "$all", "l"));
	EXPECT_OK(acl_tell(w.v, w.people.control, WAIT_MS));
	EXPECT_STR(sharers(&w, BOB), "alice@example.test");           /* in the group that is in the group that is in it … */
	EXPECT_STR(sharers(&w, CAROL), "alice@example.test");
	EXPECT_STR(sharers(&w, DAVE), "");
	x = people_address(&w.people, "all@example.test");
	struct directory_address carol = people_address(&w.people, "carol@example.test");
	EXPECT_OK(name_targets_remove(w.people.d, &x, &carol, 1, &(size_t){ 0 }));
	EXPECT_STR(sharers(&w, CAROL), "");                          /* out of the group: nothing had to be told */
	EXPECT_INT(gains_of(&w, "chef@example.test"), 0);           /* nothing is shared with that name */
	EXPECT_OK(name_targets_add(w.people.d, &x, &carol, 1));
	EXPECT_INT(gains_of(&w, "all@example.test"), 1 << BOB | 1 << CAROL);
	EXPECT_OK(name_targets_remove(w.people.d, &x, &carol, 1, &(size_t){ 0 }));
	EXPECT_OK(change(&w, "Trash", ACL_SET, "anyone", "l"));
	EXPECT_OK(acl_tell(w.v, w.people.control, WAIT_MS));
	EXPECT_STR(sharers(&w, CAROL), "alice@example.test");
	EXPECT_STR(sharers(&w, DAVE), "");
	EXPECT_INT(gained(&w.people.gained), 1 << ALICE | 1 << BOB | 1 << CAROL);
	EXPECT_OK(setting_store(w.people.d, SCOPE_SERVER, STR(""), SETTING_anyone_is_server, STR("on")));
	EXPECT_STR(sharers(&w, DAVE), "alice@example.test");
	EXPECT_STR(sharers(&w, ALICE), "");                          /* nobody is his own guest */
	box(&w, "Box");
	EXPECT_OK(change(&w, "Box", ACL_SET, "dave@example.com", "l"));
	EXPECT_OK(acl_tell(w.v, w.people.control, WAIT_MS));
	EXPECT_OK(view_mailbox_delete(w.v, STR("Box")));             /* its list goes with it */
	EXPECT(acl_is_untold(w.v));
	EXPECT_OK(account_delete(w.people.d, ALICE));
	EXPECT_STR(sharers(&w, BOB), "");
	EXPECT_ERR(guest_ask(w.people.control, BOB, WAIT_MS, &w.a, &bob), ERR_NOTFOUND);  /* nor is he let in where he was before */
	EXPECT_OK(account_undelete(w.people.d, ALICE));
	EXPECT_STR(sharers(&w, BOB), "alice@example.test");
	EXPECT_OK(account_delete(w.people.d, ALICE));
	EXPECT_OK(account_forget(w.people.d, ALICE));
	EXPECT_STR(sharers(&w, BOB), "");
	end(&w);
}

/* What was shared with a group that was removed is not shared with who is in the next one of its address. */
TEST(a_group_made_anew_is_another_one)
{
	struct world w;

	begin(&w);
	struct directory_address all = people_address(&w.people, "all@example.test"), carol = people_address(&w.people, "carol@example.test");
	EXPECT_OK(change(&w, "Sent", ACL_SET, "$all", "lr"));
	EXPECT_OK(change(&w, "Trash", ACL_SET, "$all", "lr"));
	EXPECT_OK(acl_tell(w.v, w.people.control, WAIT_MS));
	EXPECT_OK(change(&w, "Drafts", ACL_SET, "anyone", "lr"));
	EXPECT_OK(change(&w, "Drafts", ACL_SET, "-$all", "r"));
	EXPECT_STR(rights(&w, "Sent", CAROL), "lr");
	EXPECT_STR(rights(&w, "Drafts", CAROL), "l");
	EXPECT_STR(sharers(&w, CAROL), "alice@example.test");
	for (int times = 0; times < 2; times++) {
		EXPECT_OK(name_remove(w.people.d, &all));
		EXPECT_OK(name_add(w.people.d, &all, NAME_GROUP, &carol, 1));
		EXPECT_STR(rights(&w, "Sent", CAROL), "");
		EXPECT_STR(sharers(&w, CAROL), "");
		EXPECT_STR(rights(&w, "Drafts", CAROL), "l");            /* what its owner keeps from $all he keeps from whoever is in it */
	}
	EXPECT_OK(change(&w, "Sent", ACL_ADD, "$all", "l"));
	EXPECT_OK(acl_tell(w.v, w.people.control, WAIT_MS));
	EXPECT_STR(list(&w, "Sent"), "$all@example.test l");         /* one line, and nothing of the old one's */
	EXPECT_STR(rights(&w, "Sent", CAROL), "l");
	EXPECT_STR(rights(&w, "Trash", CAROL), "");
	EXPECT_STR(sharers(&w, CAROL), "alice@example.test");
	EXPECT_OK(change(&w, "Trash", ACL_SET, "$all", ""));
	EXPECT_STR(list(&w, "Trash"), "");
	end(&w);
}

/* All but one of the lines that a mailbox may have; each by itself would wait for the disk. */
static void fill(struct world *w, int64_t mailbox_id)
{
	static const char sql[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)"
	                          " INSERT INTO acl SELECT ?1, 0, 2, 100 + i, '', 'user' || i || '@example.test', 1 FROM n";
	CLEANUP(stmt_release) struct stmt *q = db_query(w->v->db, sql);

	stmt_bind_int64(q, 1, mailbox_id);
	stmt_bind_int64(q, 2, ACL_ENTRIES_MAX - 1);
	EXPECT_OK(stmt_done(q));
	acl_forget_lists(w->v);
}

static void limits(struct world *w)
{

	fill(w, box(w, "Full"));
	EXPECT_OK(change(w, "Full", ACL_SET, "bob", "l"));
	EXPECT_ERR(change(w, "Full", ACL_SET, "anyone", "l"), ERR_LIMIT);
	EXPECT_OK(change(w, "Full", ACL_SET, "bob", "lr"));        /* a line that is there can be changed */
	EXPECT_OK(change(w, "Trash", ACL_SET, "anyone", "l"));       /* others have room, and what was refused left nothing behind */
	EXPECT_OK(acl_remove(w->v, box(w, "Full"), STR("user7@example.test"), false));
	EXPECT_OK(change(w, "Full", ACL_SET, "anyone", "l"));
}

/* Each in mailboxes of its own; a world waits for the disk a hundred times. */
TEST(lists_of_rights)
{
	struct world w;

	begin(&w);
	identifiers(&w);
	lists(&w);
	children(&w);
	limits(&w);
	end(&w);
}
