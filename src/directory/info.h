/* directory/info.h -- what a cell asks control: ACCOUNT_INFO (about its own account) and RESOLVE (who is this address?).
 * A cell never maps the look-up memfd: it would show every address of the server. */
#ifndef FACTEUR_DIRECTORY_INFO_H
#define FACTEUR_DIRECTORY_INFO_H
#include "base/arena.h"
#include "conf/conf.h"
#include "directory/lookup.h"
#include "ipc/channel.h"

enum { INFO_ADDRESSES_MAX = 500, INFO_DOMAINS_MAX = 100 };

struct account_info {
	uint64_t    account;
	struct str  address;             /* main address */
	struct str  name;                /* of the person; may be empty */
	struct str  hostname;            /* of the server, for Message-ID and Received */
	bool        french, is_suspended;
	int64_t     stopped_s;           /* since when it may not send; 0: it may */
	uint32_t    epoch;
	uint64_t    message_size_max;
	struct str *senders;             /* addresses it may send from: main, further ones, aliases that lead to it */
	size_t      sender_count;        /* at most INFO_ADDRESSES_MAX */
	uint64_t   *domains;             /* the server's, as hashes; only where there are INFO_DOMAINS_MAX at most */
	size_t      domain_count;        /* 0: there are more */
	struct conf *conf;               /* all settings as they hold for this account; account_info_free() */
};
/* Asks and waits, at most timeout_ms. Slices live in the arena. ERR_NOTFOUND: no such account; else as channel_call(). */
enum err account_info_ask(struct channel *control, uint64_t account, int timeout_ms, struct arena *a, struct account_info *out) MUST_CHECK;
void account_info_free(struct account_info *info);   /* frees info->conf; for CLEANUP too */
/* May this account send as this address (envelope sender or From)? Case, plus-details and domain spelling do not matter. */
bool account_info_may_send(const struct account_info *info, struct str address);
/* Is it surely no address of ours? Then resolve_ask() would say LOOKUP_FOREIGN, or would have said so when control was asked. */
bool account_info_is_elsewhere(const struct account_info *info, struct str address);
/* Of a domain as directory_domain_parse() gives it. */
uint64_t account_info_domain(struct str domain);

struct resolve_info {
	enum lookup_kind kind;
	bool is_full, is_suspended;      /* every target is */
	bool full_is_temporary;
	uint32_t targets;                /* how many accounts and remote addresses it leads to */
	bool is_group, may_post;         /* a group is among them; this account may write to every one */
};
/* Who is this recipient? As lookup_resolve(), without naming accounts of others. */
enum err resolve_ask(struct channel *control, struct str address, int timeout_ms, struct resolve_info *out) MUST_CHECK;

/* ---- control's side: the bodies of the answers */
struct directory;
enum err account_info_serve(struct directory *d, struct str request, struct buf *answer) MUST_CHECK;
enum err resolve_serve(const struct lookup *l, uint64_t account, struct str request, struct buf *answer) MUST_CHECK;
bool get_account_info(struct scan *s, struct arena *a, struct account_info *out);
#endif
