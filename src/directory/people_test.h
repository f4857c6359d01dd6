/* directory/people_test.h -- a few people with a control that answers about them, in a thread, for tests of what is
 * shared.
 *
 * example.test: alice (1), bob (2; also b.martin@), carol (3); $team is bob and, through $all in it, carol; chef@
 * leads to bob. example.com: dave (4). */
#ifndef FACTEUR_DIRECTORY_PEOPLE_TEST_H
#define FACTEUR_DIRECTORY_PEOPLE_TEST_H
#include "base/test.h"
#include "directory/directory.h"
#include "directory/share.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ALICE = 1, BOB, CAROL, DAVE };

struct people {
	const char       *path;
	struct disk_dir  *dir;
	struct directory *d;
	struct arena      arena;
	struct channel   *control;     /* the cell's end; NULL: cut off */
	struct channel   *other;
	atomic_ullong     asker;       /* whose cell asks */
	struct share_gains gained;     /* by the newest SHARES */
	pthread_t         thread;
	atomic_bool       is_over;
};

static inline void people_asked(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
	struct people *w = context;
	uint64_t account = atomic_load(&w->asker);
	struct share_gains gained = { 0 };
	enum err e = m->type == REQUEST_SUBJECT ? subject_serve(w->d, account, m->body, &answer)
	             : m->type == REQUEST_GUEST ? guest_serve(w->d, account, m->body, &answer)
	             : m->type == REQUEST_SHARES ? shares_serve(w->d, account, m->body, &gained)
	                                         : shared_serve(w->d, account, m->body, &answer);

	if (m->type == REQUEST_SHARES)
		w->gained = gained;
	channel_reply(ch, m->call, e, e == ERR_OK ? buf_str(&answer) : STR(""), NULL, 0);
}

static inline void *people_serve(void *context)
{
	struct people *w = context;

	while (!atomic_load(&w->is_over)) {
		struct pollfd p = { channel_fd(w->other), POLLIN, 0 };
		poll(&p, 1, 20);
		if (channel_receive(w->other) != ERR_OK)
			break;
	}
	return NULL;
}

static inline struct directory_address people_address(struct people *w, const char *text)
{
	struct directory_address x;

	EXPECT(directory_address_parse(str_of(text), &w->arena, &x));
	return x;
}

static inline void people_add(struct people *w, const char *text, uint64_t number)
{
	struct directory_address x = people_address(w, text);
	uint64_t account;

	EXPECT_OK(account_add(w->d, &x, STR(""), false, &account));
	EXPECT_INT(account, number);
}

static inline void people_name(struct people *w, const char *text, enum name_kind kind, const char *one,
							   const char *other)
{
	struct directory_address x = people_address(w, text), targets[2] = { people_address(w, one), people_address(w, other) };

	EXPECT_OK(name_add(w->d, &x, kind, targets, 2));
}

static inline void people_begin(struct people *w)
{
	static const struct channel_handler handlers[] = { { REQUEST_SUBJECT, people_asked }, { REQUEST_GUEST, people_asked },
	                                                   { REQUEST_SHARES, people_asked }, { REQUEST_SHARED, people_asked }, { 0 } };
	static const struct channel_handler none[] = { { 0 } };
	struct directory_address martin;
	int fd[2];

	*w = (struct people){ .path = test_dir(), .asker = ALICE };
	EXPECT_OK(disk_dir_open(w->path, &w->dir));
	EXPECT_OK(directory_open(w->dir, &w->d));
	EXPECT_OK(domain_add(w->d, STR("example.test")));
	EXPECT_OK(domain_add(w->d, STR("example.com")));
	people_add(w, "alice@example.test", ALICE);
	people_add(w, "bob@example.test", BOB);
	people_add(w, "carol@example.test", CAROL);
	people_add(w, "dave@example.com", DAVE);
	martin = people_address(w, "b.martin@example.test");
	EXPECT_OK(name_add_further(w->d, &martin, BOB));
	people_name(w, "chef@example.test", NAME_ALIAS, "bob@example.test", "bob@example.test");
	people_name(w, "team@example.test", NAME_GROUP, "b.martin@example.test", "all@example.test");
	people_name(w, "all@example.test", NAME_GROUP, "carol@example.test", "team@example.test");
	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	w->control = channel_new(fd[0], ROLE_CELL, ROLE_CONTROL, none, NULL, NULL);
	w->other = channel_new(fd[1], ROLE_CONTROL, ROLE_CELL, handlers, w, NULL);
	pthread_create(&w->thread, NULL, people_serve, w);
}

static inline void people_end(struct people *w)
{
	atomic_store(&w->is_over, true);
	pthread_join(w->thread, NULL);
	channel_free(w->control);
	channel_free(w->other);
	directory_close(w->d);
	disk_dir_close(&w->dir);
	arena_free(&w->arena);
	test_dir_remove(w->path);
}
#endif
