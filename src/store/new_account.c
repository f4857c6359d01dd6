/* A new account is a copy: its database with all tables is made once, in memory, and written where an account has none. To make the tables step by step takes
 * three times the CPU and twice the syncs.
 * A cell opens one account and ends. What it costs to understand the tables, and to compile the statements that every cell needs, is paid once before it, by the
 * process that forks it. Which those are, a rehearsal tells. */
#include "base/mem.h"
#include "store/store_private.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACCOUNT_DB "account.db"
static const struct db_options account_options = { .durability = DB_NORMAL };
static struct db *_Atomic ready;   /* to the image; for the first account that this process, or a child of it, opens */
static struct str image;   /* .n == 0: could not be made; then an account is made step by step */

static void make_image(void)
{
	if (image.n == 0 && schema_image(&image) != ERR_OK)
		image = STR_NONE;
}

static struct str new_account(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_image);
	return image;
}

enum { STATEMENTS_MAX = 64, IMAGE_MAX = 1 << 20 };

struct made {   /* by a child, for its parent */
	size_t      n_statements, image_n;
	const char *statements[STATEMENTS_MAX];
	char        image[IMAGE_MAX];
};

static void make(struct made *m)
{
	struct str s = new_account();
	struct db *db = NULL;

	if (s.n <= sizeof(m->image))
		memcpy(m->image, s.p, m->image_n = s.n);
	if (db_open_memory(&db) == ERR_OK && schema_prepare(db) == ERR_OK && view_rehearse(db) == ERR_OK)
		m->n_statements = db_statements(db, m->statements, COUNT_OF(m->statements));
}

static void make_ready(const struct made *m)
{
	struct db *db;

	image = str_make(memcpy(mem_alloc(m->image_n), m->image, m->image_n), m->image_n);
	if (db_open_image(image, ACCOUNT_DB, &account_options, &db) != ERR_OK)
		return;
	for (size_t i = 0; i < m->n_statements; i++)
		db_prepare(db, m->statements[i]);
	atomic_store(&ready, db);
}

/* In a child, so that the heap which cells inherit stays as it is: each would have 20 pages more to copy. What is shared with the child is not with
 * them: one that was taken over would write what the accounts of others begin with. */
void view_preload(void)
{
	if (image.n > 0)
		return;  /* made already */
	struct made *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = m == MAP_FAILED ? -1 : fork();

	if (child == 0) {
		make(m);
		_exit(0);
	}
	if (child > 0 && waitpid(child, NULL, 0) == child && m->image_n > 0)
		make_ready(m);
	if (m != MAP_FAILED)
		munmap(m, sizeof(*m));
}

static enum err create(struct disk_dir *dir)
{
	if (disk_exists(dir, ACCOUNT_DB))
		return ERR_OK;
	return new_account().n > 0 ? db_create(dir, ACCOUNT_DB, image) : ERR_OK;
}

enum err account_db_open(struct disk_dir *dir, struct db **out)
{
	TRY(create(dir));
	*out = atomic_exchange(&ready, NULL);
	return *out != NULL ? db_adopt(*out, dir) : db_open(dir, ACCOUNT_DB, &account_options, out);
}

enum err account_db_open_settled(struct disk_dir *dir, struct db **out)
{
	struct db_options options = account_options;

	options.settles = true;
	return db_open(dir, ACCOUNT_DB, &options, out);
}
