/* cli/render.h -- what control answered, for people (sentence, table, list of facts) or as JSON: a list command gives
 * an array of objects, one that shows a thing an object (its parts, if any, under "rows"), all others {"ok":true,…};
 * a failure {"ok":false,"error":…,"sentence":…}. */
#ifndef FACTEUR_CLI_RENDER_H
#define FACTEUR_CLI_RENDER_H
#include "cli/request.h"

/* Prints; returns the exit code. */
int render_answer(struct cli *c, enum admin_command command, const struct answer *a);
/* One value as a person reads it. */
struct str render_value(struct arena *a, enum lang lang, enum admin_column_kind kind, const json_t *v);
#endif
