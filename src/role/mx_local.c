/* Programs of this machine: who calls through DIR/submit.sock, and as whom he may send. The kernel says the user
 * (SO_PEERCRED), the setting local_users says the account. Names of users cannot be looked up behind the sandbox's
 * door, so the setting has numbers. */
#include "directory/address.h"
#include "role/mx_private.h"
#include <sys/socket.h>
#include <unistd.h>

/* The account of postmaster; the administrator's own when there is one. */
static bool find_administrator(const struct mx *m, struct arena *a, struct lookup_account *out)
{
	struct lookup_result r;

	if (lookup_resolve(m->lookup, STR("postmaster"), a, &r) != LOOKUP_FOUND)
		return false;
	for (size_t i = 0; i < r.n; i++)
		if (r.targets[i].account != 0 && lookup_account(m->lookup, r.targets[i].account, out))
			return true;
	return false;
}

static void as_administrator(const struct mx *m, struct arena *a, struct mx_caller *out)
{
	struct lookup_account found;
	struct str local, domain = lookup_hostname(m->lookup);

	out->is_administrator = true;
	if (find_administrator(m, a, &found)) {
		out->account = found.account;
		str_cut(found.address, '@', &local, &domain);
	}
	out->address = arena_printf(a, "postmaster@" STR_FMT, STR_ARG(domain));
}

/* local_users: "33=www@example.org 1000=alice@example.org" */
static struct str address_of_user(const struct mx *m, uint32_t uid)
{
	struct str word, number, address, rest = conf_text(lookup_conf(m->lookup), SETTING_local_users);
	uint64_t n;

	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		if (str_cut(word, '=', &number, &address) && str_to_u64(number, &n) && n == uid)
			return address;
	}
	return STR_NONE;
}

bool mx_caller_find(const struct mx *m, int fd, struct arena *a, struct mx_caller *out, struct smtp_reply *why)
{
	struct lookup_account found;
	struct ucred who = { 0 };
	socklen_t n = sizeof(who);
	struct str address;

	*out = (struct mx_caller){ 0 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0) {
		*why = SMTP_REPLY(421, "4.3.0", "this server cannot see who you are");
		return false;
	}
	out->uid = who.uid;
	if (who.uid == 0 || who.uid == geteuid()) {
		as_administrator(m, a, out);
		return true;
	}
	address = address_of_user(m, who.uid);
	if (address.n == 0) {
		*why = smtp_reply_printf(a, 554, "5.7.1",
								 "user %u may not send mail from this machine; the administrator allows it with "
								 "`facteur config set local_users \"%u=ADDRESS\"`",
								 who.uid, who.uid);
		return false;
	}
	if (!lookup_login(m->lookup, address, &found) || found.is_suspended) {
		*why = smtp_reply_printf(a, 554, "5.7.1",
								 "user %u sends as " STR_FMT " (setting local_users), which is no account in use",
								 who.uid, STR_ARG(address));
		return false;
	}
	if (found.is_stopped) {
		*why = smtp_reply_printf(a, 550, "5.7.1", "user %u sends as " STR_FMT ", which may not send at the moment: `facteur account sending " STR_FMT "` says why",
		                         who.uid, STR_ARG(found.address), STR_ARG(found.address));
		return false;
	}
	out->account = found.account;
	out->address = str_copy(a, found.address);
	return true;
}

bool mx_caller_may_send(const struct mx *m, const struct mx_caller *c, struct str sender, struct arena *a)
{
	struct lookup_result r;

	if (c->is_administrator)
		return true;
	/* an address or alias that leads to this account and nowhere else: a member may not speak for the group, nor who gets the mail for
	 * unknown names for all of these (as after a login: submit/sender.h) */
	return sender.n > 0 && lookup_resolve(m->lookup, sender, a, &r) == LOOKUP_FOUND && r.n == 1 && !r.is_catch_all &&
		   r.targets[0].account == c->account;
}
