#include "base/test.h"
#include "role/memory.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	EXPECT(f != NULL);
	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

TEST(the_least_of_all_groups_counts)
{
	static const struct { const char *groups, *outer, *inner, *around; uint64_t allowed; } cases[] = {
		{ "0::/outer/inner\n", "max\n", "max\n", "", 8000 },
		{ "0::/outer/inner\n", "max\n", "3000\n", "", 3000 },
		{ "0::/outer/inner\n", "2000\n", "3000\n", "", 2000 },
		{ "4:memory:/other\n0::/outer\n", "2500\n", "3000\n", "", 2500 },  /* both kinds are mounted */
		{ "0::/outer/inner\n", "9000\n", "9000\n", "", 8000 },            /* more than there is */
		{ "0::/\n", "1\n", "1\n", "5000\n", 5000 },                       /* in a container */
		{ "0::/gone\n", "1\n", "1\n", "", 8000 },
		{ "4:memory:/other\n", "1\n", "1\n", "", 8000 },
		{ "", "1\n", "1\n", "", 8000 },
	};
	char folder[] = "/tmp/facteur-memory-XXXXXX", groups[200], command[300];

	EXPECT(mkdtemp(folder) != NULL);
	snprintf(groups, sizeof(groups), "%s/groups", folder);
	snprintf(command, sizeof(command), "mkdir -p %s/outer/inner", folder);
	EXPECT(system(command) == 0);
	EACH(cases, c) {
		write_file(folder, "groups", c->groups);
		write_file(folder, "memory.max", c->around);
		write_file(folder, "outer/memory.max", c->outer);
		write_file(folder, "outer/inner/memory.max", c->inner);
		EXPECT_INT(memory_allowed(8000, groups, folder), c->allowed);
	}
	EXPECT_INT(memory_allowed(8000, "/nowhere", "/nowhere"), 8000);

	/* Control groups v1: a machine, or the host of a container, that has not changed to the unified hierarchy. */
	static const struct { const char *groups, *own, *around; uint64_t allowed; } old[] = {
		{ "4:memory:/other\n0::/\n", "4000\n", "9223372036854771712\n", 4000 },
		{ "2:cpu,cpuacct:/x\n4:hugetlb,memory:/other\n", "4000\n", "9223372036854771712\n", 4000 },
		{ "4:memory:/docker/abc\n", "9223372036854771712\n", "4500\n", 4500 },   /* the name is the host's, what is mounted begins with ours */
		{ "4:memory:/other\n", "9223372036854771712\n", "9223372036854771712\n", 8000 },
	};
	snprintf(command, sizeof(command), "rm -r %s/outer %s/memory.max && mkdir -p %s/memory/other", folder, folder, folder);
	EXPECT(system(command) == 0);
	EACH(old, c) {
		write_file(folder, "groups", c->groups);
		write_file(folder, "memory/memory.limit_in_bytes", c->around);
		write_file(folder, "memory/other/memory.limit_in_bytes", c->own);
		EXPECT_INT(memory_allowed(8000, groups, folder), c->allowed);
	}
	snprintf(command, sizeof(command), "rm -r %s", folder);
	EXPECT(system(command) == 0);
}
