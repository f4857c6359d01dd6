/* admin/admin_private.h -- what a handler has: its arguments, checked against the usage of its command; the directory; ways
 * to answer. A handler runs straight down: guards first, each with its sentence, then the work. */
#ifndef FACTEUR_ADMIN_ADMIN_PRIVATE_H
#define FACTEUR_ADMIN_ADMIN_PRIVATE_H
#include "admin/admin.h"
#include "admin/command.h"
#include "admin/wire.h"

struct admin_call {
	const struct admin_host *host;
	struct directory        *directory;
	enum admin_command       command;
	const json_t            *args;      /* an object; every value has the type its argument says */
	enum lang                lang;
	struct arena             arena;
	admin_sender             send;
	void                    *send_context;
	/* the answer */
	json_t    *rows, *result;           /* NULL: none yet */
	size_t     weight;                  /* values in the rows */
	bool       is_cut;                  /* a piece was too large to be sent */
	bool       is_gone;                 /* nobody waits for the answer any more: a long list may end */
	bool       has_more;                /* the rows are not all; the sentence says how to get the others */
	bool       has_fault;               /* all went well, but what was looked at is not as it should be: exit 1 */
	struct str sentence;                /* in the arena */
	struct str generated;               /* a password made for the answer; wiped after it */
	bool       has_separator;           /* find.c has read the setting */
	char       separator;
};

/* ERR_OK, or the reason; the sentence was set by one of the functions below, else it is the general one. */
typedef enum err admin_handler(struct admin_call *c);
#define COMMAND(handler, words, usage, columns, en, fr) admin_handler handler;
#include "admin/commands.def"
#undef COMMAND

/* ---- arguments, by the key of arguments.def */
struct str admin_text(const struct admin_call *c, const char *key);                 /* p == NULL: not given; borrowed */
bool admin_is_on(const struct admin_call *c, const char *key);                      /* a switch */
size_t admin_count(const struct admin_call *c, const char *key);                    /* of an argument with "..." */
struct str admin_text_at(const struct admin_call *c, const char *key, size_t i);
/* These answer with a sentence when they fail: return their error. */
enum err admin_address(struct admin_call *c, struct str text, struct directory_address *out) MUST_CHECK;
/* at a domain of ours */
enum err admin_local_address(struct admin_call *c, struct str text, struct directory_address *out) MUST_CHECK;
/* elsewhere, or somebody here */
enum err admin_target(struct admin_call *c, struct str text, struct directory_address *out) MUST_CHECK;
/* one of our domains */
enum err admin_domain(struct admin_call *c, struct str text, struct str *out) MUST_CHECK;
/* deleted ones, too; only living ones */
enum err admin_account(struct admin_call *c, struct str text, struct directory_account *out) MUST_CHECK;
enum err admin_living_account(struct admin_call *c, struct str text, struct directory_account *out) MUST_CHECK;
/* "2d" */
enum err admin_age(struct admin_call *c, struct str text, uint64_t *seconds) MUST_CHECK;

/* ---- answers */
enum err admin_say(struct admin_call *c, enum err e, enum text id, const struct str *args, size_t n);
#define ADMIN_TEXTS(...) (const struct str[]){ __VA_ARGS__ }, COUNT_OF(((const struct str[]){ __VA_ARGS__ }))
#define admin_said(c, id, ...)      admin_say((c), ERR_OK, (id), ADMIN_TEXTS(__VA_ARGS__))
#define admin_refuse(c, e, id, ...) admin_say((c), (e), (id), ADMIN_TEXTS(__VA_ARGS__))
/* What is wrong with the queue, and what to do, for a field "trouble"; "" if nothing is. */
struct str admin_queue_trouble(struct admin_call *c, const struct queue_counters *q);
/* "451 4.4.3 …": another server's words, or ours about a domain that none could be asked of, in the same form: ours are said in their language. */
struct str admin_reply_text(struct arena *a, enum lang lang, struct str text);
struct str admin_number_text(struct admin_call *c, uint64_t n);
/* A new row of a list, or the one result; the values are put into it. Borrowed. */
json_t *admin_row(struct admin_call *c);
json_t *admin_result(struct admin_call *c);
void admin_put_text(json_t *to, const char *key, struct str value);  /* what is not UTF-8 becomes U+FFFD */
void admin_put_number(json_t *to, const char *key, uint64_t value);
void admin_put_switch(json_t *to, const char *key, bool value);
void admin_put_list(json_t *to, const char *key, const struct str *list, size_t n);
bool admin_progress(struct admin_call *c, uint64_t done, uint64_t total);   /* false: nobody waits for the answer any more */

/* ---- what several commands do */
/* Everybody has heard of the change. Sets the sentence on failure. */
enum err admin_publish(struct admin_call *c) MUST_CHECK;
/* Whoever gained something by what was done hears of it; e: whether they could be found. */
void admin_gained(struct admin_call *c, enum err e, const struct share_gains *gained);
void admin_joined(struct admin_call *c, const struct directory_address *name);   /* … because somebody came into this group or alias */
/* The account's epoch is raised and published: whoever is logged in is out, and grants given before are void. */
enum err admin_end_sessions(struct admin_call *c, uint64_t account) MUST_CHECK;
/* keys answers; a failure of keys itself gets its sentence. */
enum err admin_secret(struct admin_call *c, const struct secret_command *command, struct secret_reply *out) MUST_CHECK;
/* Removes what "address" has under "number" (an app password, a certificate), and ends his sessions. none, done: what is said. */
enum err admin_remove_secret(struct admin_call *c, enum secret_op op, enum text none, enum text done) MUST_CHECK;
/* The new password out of --password-stdin, --generate, --hash (or --remove): what to tell keys. op 0: none was given. */
struct password_choice { enum secret_op op; struct str secret, generated; };
enum err admin_password_choice(struct admin_call *c, struct password_choice *out) MUST_CHECK;
/* "imap,pop3" -> rights; an empty text: 0, all. And back. */
enum err admin_protocols(struct admin_call *c, struct str text, uint32_t *rights) MUST_CHECK;
struct str admin_protocols_text(struct admin_call *c, uint32_t rights);
/* The address is taken: the sentence that says by what. */
enum err admin_in_use(struct admin_call *c, const struct directory_address *x);
/* An alias or a group: the name must be of this kind; the sentence says what it is else. */
enum err admin_named(struct admin_call *c, struct str text, enum name_kind kind, struct directory_address *x,
                     struct directory_name *out) MUST_CHECK;
/* The targets as typed, all checked before the first is stored. */
enum err admin_targets(struct admin_call *c, const char *key, struct directory_address **out, size_t *n) MUST_CHECK;
enum err admin_add_targets(struct admin_call *c, const struct directory_address *x, const struct directory_address *list, size_t n) MUST_CHECK;
enum err admin_remove_targets(struct admin_call *c, const struct directory_address *x, const char *key) MUST_CHECK;
/* "strays": those of the targets that reach nobody, if there are any. */
void admin_put_strays(struct admin_call *c, json_t *to, const struct str *targets, size_t n);
/* Adds to what was said which aliases and groups still name an address that is gone, or the addresses of an account. */
enum err admin_left_by_address(struct admin_call *c, struct str address) MUST_CHECK;
enum err admin_left_by_account(struct admin_call *c, uint64_t account) MUST_CHECK;
enum err admin_list_domain(struct admin_call *c, struct str *domain) MUST_CHECK;
/* domain empty: every domain */
bool admin_is_in_domain(const struct directory_name *name, struct str domain);
/* room as it holds for the account; 0: no limit */
enum err admin_quota(struct admin_call *c, const struct directory_account *x, uint64_t *bytes, uint64_t *messages) MUST_CHECK;
/* The account's cell is asked; that it cannot be opened gets its sentence. */
enum err admin_ask_cell(struct admin_call *c, const struct directory_account *x, const struct store_command *ask,
                        struct store_answer *out) MUST_CHECK;
/* "active", "suspended", "full", "deleted", "being made", "being erased". */
struct str admin_state(const struct admin_call *c, const struct directory_account *x);
/* The account is there for nobody: it is being made, is being erased or was left half made; or (this sentence) was deleted. */
enum err admin_not_there(struct admin_call *c, enum err e, const struct directory_account *x, enum text deleted) MUST_CHECK;
#endif
