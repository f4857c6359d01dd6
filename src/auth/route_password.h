/* auth/route_password.h -- passwords that this server has at others: the logins of routes (directory/route.h). keys.db keeps them, by the name
 * of the route; control sets them, and only net, which has to say them, is told one.
 *
 *   ROUTE_COMMAND   from control   op, name, password   -> bool: there was one of this name (after SET: before)
 *   ROUTE_PASSWORD  from net       name                 -> password   ERR_NOTFOUND: none is kept
 *
 * They never reach a log. Unlike those of our users they have to be kept as they are. */
#ifndef FACTEUR_AUTH_ROUTE_PASSWORD_H
#define FACTEUR_AUTH_ROUTE_PASSWORD_H
#include "auth/secrets.h"
#include "directory/route.h"

enum route_password_op { ROUTE_PASSWORD_SET = 1, ROUTE_PASSWORD_FORGET, ROUTE_PASSWORD_HAS, ROUTE_PASSWORD_OP_COUNT };
struct route_password_command {
	enum route_password_op op;
	struct str name;       /* route_name() */
	struct str password;   /* SET: 1 to SECRET_MAX bytes, no NUL */
};
void put_route_password_command(struct buf *b, const struct route_password_command *c);
bool get_route_password_command(struct scan *s, struct route_password_command *c);
void put_route_password_name(struct buf *b, struct str name);
bool get_route_password_name(struct scan *s, struct str *name);

/* keys. */
enum err route_password_run(struct secrets *s, const struct route_password_command *c, bool *was_there) MUST_CHECK;
enum err route_password_find(struct secrets *s, struct str name, struct arena *a, struct str *password) MUST_CHECK;  /* ERR_NOTFOUND */
#endif
