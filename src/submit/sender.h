/* submit/sender.h -- may this account send under this name? Envelope sender and From alike; the refusal says what would be allowed. */
#ifndef FACTEUR_SUBMIT_SENDER_H
#define FACTEUR_SUBMIT_SENDER_H
#include "directory/info.h"
#include "smtp/reply.h"
#include "submit/fixup.h"

enum { SUBMIT_SENDERS_SHOWN = 10 };

/* The envelope sender. Code 0: yes; the null reverse-path too (RFC 8098 §3: receipts have it). Else 553 5.7.1. */
struct smtp_reply submit_check_sender(const struct account_info *info, struct str address, struct arena *a);
/* Every address of From. Code 0: yes, or there is none. Else 553 5.7.1, or 554 5.6.0 when they cannot be read. */
struct smtp_reply submit_check_authors(const struct account_info *info, const struct fixup *f, struct arena *a);
#endif
