/* Command lines, up to where each command has its own grammar (path.c, param.c). */
#include "smtp/command.h"
#include "base/bytes.h"

void smtp_command(struct str line, struct str *verb, struct str *argument)
{
	str_cut(line, ' ', verb, argument);
	*argument = str_trim(*argument);
}

bool smtp_helo_name(struct str argument, struct str *name)
{
	*name = str_trim(argument);
	return name->n > 0 && name->n <= SMTP_HELO_MAX && str_chr(*name, ' ') < 0 && !str_has_ctl(*name) &&
		   utf8_valid(*name);
}
