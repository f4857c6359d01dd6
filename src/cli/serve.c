/* facteur serve: the arguments of master. */
#include "cli/flags.h"
#include "cli/request.h"
#include "role/role.h"
#include <limits.h>
#include <stdlib.h>

enum { PORT_OFFSET_MAX = 60000 };

bool cli_port_offset(struct cli *c, struct str typed, int *out)
{
	uint64_t n;

	if (!str_to_u64(typed, &n) || n > PORT_OFFSET_MAX) {
		complain(c, TEXT_CLI_BAD_NUMBER, typed, STR("0"), STR("60000"), STR("port-offset"));
		return false;
	}
	*out = (int)n;
	return true;
}

int cli_serve(struct cli *c, int argc, char **argv)
{
	struct serve_options o = { .port_offset = -1 };
	struct str offset = STR_NONE, none[1];
	char path[PATH_MAX];
	size_t n;
	const struct flag flags[] = {
		{ "port-offset", NULL, &offset }, { "single", &o.single, NULL }, { "demo", &o.demo, NULL }, { 0 },
	};

	if (!flags_parse(c, argc, argv, flags, none, 0, &n))
		return EXIT_USAGE;
	if (offset.p && !cli_port_offset(c, offset, &o.port_offset))
		return EXIT_USAGE;
	if (!request_has_data(c) || realpath(c->dir, path) == NULL) {
		complain(c, TEXT_CLI_NO_DATA, str_of(c->dir));
		return EXIT_FAILED;
	}
	o.dir = path;
	return master_run(&o);
}
