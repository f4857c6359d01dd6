/* The main function of every unit test: each TEST() has said that it is there before main begins. Linkers may put such calls in any
 * order; the lines say which is meant. */
#include "base/test.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { TESTS_MAX = 400 };

static struct added { int line; struct CMUnitTest test; } added[TESTS_MAX];
static size_t count;
static const char *file_name;

void unit_test_add(const char *file, int line, const char *name, CMUnitTestFunction run)
{
	assert(count < TESTS_MAX);
	file_name = file;
	added[count].line = line;
	added[count++].test = (struct CMUnitTest){ .name = name, .test_func = run };
}

static int by_line(const void *a, const void *b) { return ((const struct added *)a)->line - ((const struct added *)b)->line; }

/* With an argument: only the tests of that name, in which * stands for anything. */
int main(int argc, char **argv)
{
	static struct CMUnitTest tests[TESTS_MAX];
	const char *name = strrchr(file_name, '/');

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	qsort(added, count, sizeof(added[0]), by_line);
	for (size_t i = 0; i < count; i++)
		tests[i] = added[i].test;
	return _cmocka_run_group_tests(name ? name + 1 : file_name, tests, count, NULL, NULL);
}
