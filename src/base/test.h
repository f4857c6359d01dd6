/* base/test.h -- thin macros over cmocka, for tables of cases beside the module: mime/date.c has mime/date_test.c.
 * A test file has only TEST() blocks; base/test_main.c runs them in their order. */
#ifndef FACTEUR_BASE_TEST_H
#define FACTEUR_BASE_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/arena.h"

#define TEST(name) \
	static void test_##name(void **state); \
	__attribute__((constructor)) static void add_##name(void) { unit_test_add(__FILE__, __LINE__, #name, test_##name); } \
	static void test_##name(UNUSED void **state)
#define EACH(table, c) for (__typeof__(&(table)[0]) c = (table); c < (table) + COUNT_OF(table); c++)

/* cmocka leaves the test by longjmp: an analyser shall not go on from here. */
#define TEST_FAILS() do { fail(); __builtin_unreachable(); } while (0)

#define EXPECT(cond) do { if (!(cond)) { print_error("%s:%d: not true: %s\n", __FILE__, __LINE__, #cond); TEST_FAILS(); } } while (0)
#define EXPECT_OK(expr) do { enum err ex_e = (expr); if (ex_e != ERR_OK) { \
	print_error("%s:%d: %s is %s\n", __FILE__, __LINE__, #expr, err_name(ex_e)); TEST_FAILS(); } } while (0)
#define EXPECT_ERR(expr, want) do { enum err ex_e = (expr); if (ex_e != (want)) { \
	print_error("%s:%d: %s is %s, want %s\n", __FILE__, __LINE__, #expr, err_name(ex_e), err_name(want)); TEST_FAILS(); } } while (0)
#define EXPECT_INT(got, want) do { long long ex_g = (long long)(got), ex_w = (long long)(want); if (ex_g != ex_w) { \
	print_error("%s:%d: %s is %lld, want %lld\n", __FILE__, __LINE__, #got, ex_g, ex_w); TEST_FAILS(); } } while (0)
/* got: struct str; want: C string, or NULL for "no value" (p == NULL). */
#define EXPECT_STR(got, want) do { struct str ex_g = (got); const char *ex_w = (want); \
	if ((ex_w == NULL) != (ex_g.p == NULL) || (ex_w != NULL && !str_eq(ex_g, str_of(ex_w)))) { \
	print_error("%s:%d: %s is '%.*s', want '%s'\n", __FILE__, __LINE__, #got, STR_ARG(ex_g), ex_w ? ex_w : "(none)"); TEST_FAILS(); } } while (0)
/* TEST() calls it, before main does anything (base/test_main.c). name: a constant. */
void unit_test_add(const char *file, int line, const char *name, CMUnitTestFunction run);
/* A fresh empty directory below $TMPDIR or /tmp, removed by test_dir_remove. */
const char *test_dir(void);
void test_dir_remove(const char *dir);
#endif
