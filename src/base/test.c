/* Temporary folders for unit tests. Only test programs link this file. */
#include "base/test.h"
#include "base/mem.h"
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

const char *test_dir(void)
{
	const char *tmp = getenv("TMPDIR");
	char *path = mem_alloc(256);

	snprintf(path, 256, "%s/facteur-test-XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(path) == NULL)
		abort();
	return path;
}

static int remove_one(const char *path, UNUSED const struct stat *st, UNUSED int type, UNUSED struct FTW *ftw) { return remove(path); }

void test_dir_remove(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mem_free((void *)(uintptr_t)dir);
}
