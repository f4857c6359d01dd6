/* cli/timeline.h -- messages and what happened to them, a line an event, for people. */
#ifndef FACTEUR_CLI_TIMELINE_H
#define FACTEUR_CLI_TIMELINE_H
#include "admin/wire.h"
#include "cli/cli_private.h"

enum { TIMELINES_MAX = 5 };   /* more messages than that are a table */

/* rows: of an answer with a column of kind EVENTS. */
void timeline_print(struct cli *c, const json_t *rows, struct buf *out);
#endif
