/* admin/wire.h -- the socket between the command line and control: DIR/admin.sock, a unix stream socket, mode 0600;
 * control serves root and the user it runs as (peer credentials).
 *
 * Each message is u32 length (little-endian) and as many bytes of JSON. A connection carries any number of requests,
 * one after the other:
 *   -> {"command":"account add", "args":{"address":"bob@example.org","password":"…"}, "lang":"fr"}
 *   <- {"progress":{"done":3,"total":10}}       zero or more
 *   <- {"rows":[{…},{…}]}                       zero or more: lists come in pieces, in order; keys as in columns.def
 *   <- {"ok":true, "sentence":"…", "result":{…}}             the last one; both are optional
 *      "has_more":true: the rows are not all; "has_fault":true: what was looked at is not as it should be (exit 1)
 *   <- {"ok":false, "error":"exists", "sentence":"…"}        error: err_name(); the sentence in the asker's language
 * Values in args: strings, arrays of strings (argument with "..."), true (switches). */
#ifndef FACTEUR_ADMIN_WIRE_H
#define FACTEUR_ADMIN_WIRE_H
#include "base/buf.h"
#include <jansson.h>

enum { ADMIN_REQUEST_MAX = 4 << 20, ADMIN_REPLY_MAX = 8 << 20 };

/* Connects to dir/admin.sock. ERR_NOTFOUND, ERR_CLOSED: no server is running there. ERR_DENIED: not for this user. Not
 * logged. */
enum err admin_connect(const char *dir, int *fd) MUST_CHECK;
/* Writes one message; ERR_CLOSED: the other side is gone; ERR_TIMEOUT. */
enum err admin_send(int fd, struct str message, int timeout_ms) MUST_CHECK;
/* Reads one message into b (emptied before; b->max bounds it). ERR_CLOSED, ERR_TIMEOUT, ERR_LIMIT: longer than b->max.
 */
enum err admin_receive(int fd, struct buf *b, int timeout_ms) MUST_CHECK;

/* Once in a process that handles these messages, before its sandbox: JSON values are wiped when they are freed (there
 * are passwords among them), and the hash seed is ours. */
void admin_json_setup(void);
/* NULL: not JSON, or not an object. */
json_t *admin_json_read(struct str message);
/* Into b; sticky failure when it does not fit. */
void admin_json_write(struct buf *b, const json_t *value);
static inline void admin_json_free(json_t **value) { json_decref(*value); }  /* for CLEANUP */
#endif
