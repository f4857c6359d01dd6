/* A real reply for each row of refusals.def: as receivers send it, with its codes at the start of each line. */
#include "trail/refusals.h"
#include "base/test.h"

static const struct { const char *row, *reply; } cases[] = {
	{ "requiretls", "550 5.7.30 REQUIRETLS support required" },
	{ "requiretls", "550 5.7.10 the sender wants every server on the way to encrypt and to prove itself (REQUIRETLS), and this one offers no TLS" },
	{ "deliverby-unknown", "554 5.3.3 the sender wants it there by a certain time or not at all, and the server of the recipient does not promise that (DELIVERBY)" },
	{ "deliverby-over", "554 5.4.7 the time by which the sender wanted it there, or not at all, is over" },
	{ "paused", "451 4.4.1 The administrator has stopped mail to example.org; it goes on after `facteur queue resume example.org`." },
	{ "login-wanted", "530 5.7.0 Authentication required" },
	{ "route-host-missing", "451 4.4.4 the host that mail for this destination goes to by a route of this server cannot be reached: there is no host smtp.example.org" },
	{ "login-refused", "454 4.7.8 the server refuses the login of \"alice\": 535 5.7.8 Error: authentication failed" },
	{ "login-impossible", "454 4.7.10 the server offers no TLS, and a password is not sent in clear text" },
	{ "google-unauthenticated", "550-5.7.26 Your email has been blocked because the sender is unauthenticated.\n"
	  "550-5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.\n550 5.7.26 - gsmtp" },
	{ "google-unauthenticated", "421-4.7.26 Your email has been rate limited because it is unauthenticated." },  /* the same, not yet for good */
	{ "google-ptr", "550-5.7.25 The IP address sending this message does not have a PTR record setup" },
	{ "google-spf", "550-5.7.27 Your email has been blocked because SPF does not pass." },
	{ "google-rate", "421-4.7.28 Gmail has detected an unusual rate of mail originating from your IP address." },
	{ "google-tls", "421-4.7.29 Your email has been rate limited because this message wasn't sent over a TLS connection" },
	{ "google-dkim", "550-5.7.30 Your email has been blocked because DKIM does not pass." },
	{ "google-alignment", "421-4.7.32 Your email has been rate limited because the From: header isn't aligned" },
	{ "google-unsolicited", "550-5.7.1 [192.0.2.1 12] Our system has detected that this message is\n550-5.7.1 likely unsolicited\n550 5.7.1 mail." },
	{ "google-unusual-rate", "421-4.7.0 Our system has detected an unusual rate of\n421-4.7.0 unsolicited mail originating from your IP address." },
	{ "google-attachment", "552-5.7.0 This message was blocked because its content presents a potential\n552 5.7.0 security issue." },
	{ "google-too-fast", "450-4.2.1 The user you are trying to contact is receiving mail too quickly." },
	{ "google-disabled", "550-5.2.1 The email account that you tried to reach is inactive. - gsmtp" },
	{ "microsoft-blocklist", "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider "
	  "since part of their network is on our block list (S3140)." },
	{ "microsoft-banned-ip", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit https://sender.office.com/" },
	{ "microsoft-banned-sender", "550 5.7.511 Access denied, banned sender[192.0.2.1]. To request removal from this list please forward this message to delist@microsoft.com" },
	{ "microsoft-authentication", "550 5.7.515 Access denied, sending domain example.org does not meet the required authentication level." },
	{ "microsoft-dmarc", "550 5.7.509 Access denied, sending domain example.org does not pass DMARC verification and has a DMARC policy of reject." },
	{ "microsoft-throttled", "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)" },
	{ "microsoft-throttled-6", "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation." },
	{ "microsoft-rate", "421 RP-001 The mail server IP connecting to Outlook.com server has exceeded the rate limit allowed." },
	{ "microsoft-policy", "550 SC-001 Mail rejected by Outlook.com for policy reasons." },
	{ "microsoft-group", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required" },
	{ "microsoft-access-denied", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)" },
	{ "microsoft-tenant-traffic", "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP." },
	{ "yahoo-deferred", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints" },
	{ "yahoo-blocklist", "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list" },
	{ "yahoo-policy", "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes" },
	{ "yahoo-no-account", "554 delivery error: dd This user doesn't have a yahoo.com account (bob@yahoo.com) [0]" },
	{ "apple-policy", "554 5.7.1 [HM08] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137" },
	{ "orange-throttled", "421 mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. OFR004_104 [104]" },
	{ "orange-unknown", "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR004_416 [416]" },
	{ "orange-spam", "550 5.2.0 Mail rejete. Mail rejected. ofr_506 [506]" },
	{ "orange", "421 mwinf5d21 ME Service refuse. Veuillez essayer plus tard. Service refused, please try later. OFR_999 [999]" },
	{ "laposte-sfr", "550 5.7.1 Service refuse. Veuillez essayer plus tard. service refused, please try later. LPN007_510" },
	{ "free-spam", "421 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/" },
	{ "telekom-block", "554 IP=192.0.2.1 - A problem occurred. Ask your postmaster for help or to contact tobr@rx.t-online.de to clarify." },
	{ "gmx-ptr", "554-gmx.net (mxgmx016) Nemesis ESMTP Service not available\n554-No SMTP service\n554-Bad DNS PTR resource record.\n"
	  "554 For explanation visit https://postmaster.gmx.net/en/error-messages?ip=192.0.2.1&c=rdns" },
	{ "gmx-block", "554-web.de (mxweb112) Nemesis ESMTP Service not available\n554-No SMTP service\n554 IP address is black listed." },
	{ "spamhaus-pbl", "550 5.7.1 Service unavailable, client blocked using pbl.spamhaus.org" },
	{ "spamhaus", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://check.spamhaus.org/query/ip/192.0.2.1" },
	{ "barracuda", "554 Service unavailable; Client host blocked using Barracuda Reputation, see http://www.barracudanetworks.com/reputation/?r=1&ip=192.0.2.1" },
	{ "spamcop", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.spamcop.net" },
	{ "uceprotect", "550 5.7.1 IP 192.0.2.1 is UCEPROTECT-Level 2 listed." },
	{ "abusix", "554 5.7.1 blocked using combined.mail.abusix.zone" },
	{ "proofpoint", "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1" },
	{ "cloudmark", "550 5.7.1 192.0.2.1 has been blocked, see https://csi.cloudmark.com/en/reset/?ip=192.0.2.1" },
	{ "mimecast", "550 Rejected by header based manually Blocked Senders - https://community.mimecast.com/docs/DOC-1369#550" },
	{ "talos", "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation, see talosintelligence.com" },
	{ "trendmicro", "550 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using Trend Micro Email Reputation Service" },
	{ "psbl", "554 5.7.1 Client host blocked using psbl.surriel.com" },
	{ "sorbs", "554 5.7.1 Client host [192.0.2.1] blocked using dnsbl.sorbs.net" },
	{ "blocklist", "554 5.7.1 Client host [192.0.2.1] blocked using rbl.example.net" },
	{ "no-domain", "550 5.1.2 there is no domain exmaple.org: check the address" },
	{ "not-a-domain", "550 5.1.3 ex ample is not a domain" },
	{ "no-mail-host", "550 5.4.4 none of the mail hosts of example.org has an address" },
	{ "null-mx", "556 5.1.10 example.org takes no mail" },
	{ "conversion", "554 5.6.3 this server of example.org does not take 8BITMIME, and the message cannot be converted" },
	{ "smtputf8", "550 5.6.7 the server of example.org does not support internationalized addresses" },
	{ "mailbox-full", "552 5.2.2 The email account that you tried to reach is over quota." },
	{ "mailbox-full-now", "452 4.2.2 mailbox full" },
	{ "mailbox-full-words", "550 bob: Mailbox is full" },
	{ "mailbox-disabled", "550 5.2.1 account closed" },
	{ "moved", "551 5.1.6 user has moved; please try bob@example.net" },
	{ "no-such-user", "550 5.1.1 <bob@example.org>: Recipient address rejected: User unknown in virtual mailbox table" },
	{ "no-such-user-words", "550 No such user here" },
	{ "too-large", "552 5.3.4 Message size exceeds fixed limit" },
	{ "too-large-words", "552 message too large" },
	{ "too-many-recipients", "452 4.5.3 too many recipients" },
	{ "virus", "550 5.7.1 Virus found in message" },
	{ "attachment", "554 5.7.1 attachments of this file type are not allowed" },
	{ "line-too-long", "550 maximum line length exceeded: line too long" },
	{ "dmarc", "550 5.7.1 rejected by DMARC policy for example.org" },
	{ "spf", "550 5.7.23 not designated by your domain" },
	{ "spf-words", "550 5.7.1 SPF check failed" },
	{ "dkim", "550 5.7.20 no passing signature" },
	{ "ptr", "450 Client host rejected: cannot find your hostname" },
	{ "helo", "504 5.5.2 <mail>: Helo command rejected: need fully-qualified hostname" },
	{ "sender-unknown", "550 5.1.8 domain of sender not found" },
	{ "sender-verify", "550 Sender verify failed" },
	{ "greylisting", "451 4.7.1 Greylisting in action, please come back later" },
	{ "greylisting", "450 4.2.0 <bob@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/" },
	{ "rate", "421 4.7.0 too many connections from your address" },
	{ "dnssec", "451 4.7.5 a DNSSEC signature of example.org is wrong" },
	{ "dane-mta-sts", "550 5.7.10 no server of example.org has a certificate that fits" },
	{ "tls-required", "530 5.7.0 Must issue a STARTTLS command first" },
	{ "unreachable", "451 4.4.1 mx.example.org [192.0.2.7] does not answer" },
	{ "dns-trouble", "451 4.4.3 the name servers of example.org fail" },
	{ "own-mail-host", "550 5.4.6 mail for example.org leads back to this server, which does not know that domain: `facteur domain add` makes it one of its own" },
	{ "own-mail-host", "550 5.4.6 the mail server of this domain is this very server, which does not have the domain" },
	{ "loop", "554 5.4.6 Routing loop detected" },
	{ "loop-words", "554 Too many hops" },
	{ "peer-full", "452 4.3.1 Insufficient system storage" },
	{ "relay", "554 5.7.1 <bob@example.org>: Relay access denied" },
	{ "spam", "550 5.7.1 Message rejected as spam" },
	{ "policy", "550 5.7.1 rejected" },
	{ "not-now-policy", "450 4.7.1 not today" },
};

TEST(each_refusal_is_known)
{
	EACH(cases, c) {
		const struct refusal *r = refusal_find(STR(""), str_of(c->reply));
		if (r == NULL || strcmp(r->name, c->row) != 0)
			print_error("%s is taken for %s\n", c->reply, r ? r->name : "nothing");
		EXPECT(r != NULL && strcmp(r->name, c->row) == 0);
	}
}

TEST(each_row_has_a_reply)
{
	static const char *const names[] = {
#define REFUSAL(name, ...) name,
#include "trail/refusals.def"
#undef REFUSAL
	};

	EACH(names, n) {
		bool is_there = false;
		EACH(cases, c)
			is_there |= strcmp(c->row, *n) == 0;
		if (!is_there)
			print_error("no reply for %s\n", *n);
		EXPECT(is_there);
	}
}

TEST(what_nobody_knows)
{
	EXPECT(refusal_find(STR(""), STR("")) == NULL);
	EXPECT(refusal_find(STR("5.9.9"), STR("strange")) == NULL);
	EXPECT(refusal_find(STR("5.1.1"), STR("")) != NULL);         /* the status alone */
	EXPECT(refusal_find(STR("2.0.0"), STR("queued")) == NULL);
}

TEST(sentences_are_filled_in)
{
	struct arena a = { 0 };
	struct refusal_facts f = { STR("bob@example.net"), STR("mx1.example.net [192.0.2.7]"), STR("554 5.7.1 listed at zen.spamhaus.org") };
	const struct refusal *r = refusal_find(STR(""), f.reply);

	EXPECT(str_find(refusal_why(r, LANG_EN, &f, &a), STR("Spamhaus, which example.net asks")) > 0);
	EXPECT(str_find(refusal_next(r, LANG_FR, &f, &a), STR("https://check.spamhaus.org,")) > 0);
	f.reply = STR("554-5.7.1 zen.spamhaus.org, see\n554 5.7.1 (https://check.spamhaus.org/query/ip/192.0.2.1).");
	EXPECT(str_find(refusal_next(r, LANG_EN, &f, &a), STR("https://check.spamhaus.org/query/ip/192.0.2.1,")) > 0);
	f.reply = STR("554 5.7.1 spamhaus https://");  /* no page */
	EXPECT(str_find(refusal_next(r, LANG_EN, &f, &a), STR("https://check.spamhaus.org,")) > 0);
	f = (struct refusal_facts){ 0 };
	EXPECT(refusal_why(r, LANG_EN, &f, &a).n > 0);
	EACH(cases, c) {
		r = refusal_find(STR(""), str_of(c->reply));
		for (int lang = 0; lang < LANG_COUNT; lang++) {
			EXPECT(str_chr(refusal_why(r, (enum lang)lang, &f, &a), '{') < 0 && str_chr(refusal_next(r, (enum lang)lang, &f, &a), '{') < 0);
			EXPECT(refusal_next(r, (enum lang)lang, &f, &a).n > 0);
		}
	}
	arena_free(&a);
}
