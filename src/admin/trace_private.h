/* admin/trace_private.h -- shared by trace.c (messages) and trace_event.c (what happened to one). */
#ifndef FACTEUR_ADMIN_TRACE_PRIVATE_H
#define FACTEUR_ADMIN_TRACE_PRIVATE_H
#include "admin/admin_private.h"

/* The event as an object of the answer: {"at":…,"event":"deferred","sentence":…, …}. New; the caller's. */
json_t *trace_event(struct admin_call *c, const struct trail_message *m, const struct trail_event *e);
#endif
