/* imap/append_private.h -- messages on their way in by APPEND and REPLACE: what append.c and catenate.c share. */
#ifndef FACTEUR_IMAP_APPEND_PRIVATE_H
#define FACTEUR_IMAP_APPEND_PRIVATE_H
#include "imap/imap_private.h"

enum { CATENATE_PIECES_MAX = 1000 };  /* in one command */
#define APPEND_USAGE "mailbox [(flags)] [\"date-time\"] {size}"

struct appending {
	struct append *append;
	struct mailbox to;
	enum err       e;            /* the first failure: what follows is dropped */
	bool           is_binary;    /* a literal8 was among them */
	bool           is_single;    /* REPLACE: one message, no more */
	size_t         n_pieces;     /* of CATENATE */
	struct imap_flags flags;     /* of the message that begins */
	struct imap_reply reply;
};

/* "UTF8" SP "(" and a literal8, or a literal: up to its announcement, which ends the line. False: something else stands there. */
bool append_parse_literal(struct imap_cmd *c, struct imap_literal *l, bool *in_utf8);
/* The bytes of a literal into the open message; after an error they are dropped. False: the peer is gone. */
bool append_take_literal(struct imap_session *s, struct appending *ap, const struct imap_literal *l);
/* Adds the next line to c->text and puts the cursor at its start. False: the peer is gone, or the command is too long. */
bool append_next_line(struct imap_session *s, struct imap_cmd *c);
/* "CATENATE" was read: SP "(" cat-part *(SP cat-part) ")". False: the reply is in ap->reply. */
bool append_catenate(struct imap_session *s, struct imap_cmd *c, struct appending *ap, struct append_new *in);
/* in->flags: those of ap, as far as they may be set there. False: there is no room for more keywords; the reply is in ap->reply. */
bool append_flags(struct imap_session *s, struct imap_cmd *c, struct appending *ap, struct append_new *in);

/* The mailbox, which may be a literal itself. False: syntax, or the peer is gone. */
bool append_mailbox(struct imap_session *s, struct imap_cmd *c, struct str *path);
/* The reply r, after what the client is sending without having waited was read and dropped. */
struct imap_reply append_refuse(struct imap_session *s, struct imap_cmd *c, struct imap_reply r);
struct imap_reply append_failure(struct imap_session *s, struct imap_cmd *c, enum err e, bool is_binary);
struct imap_reply append_over(struct imap_cmd *c);  /* the peer is gone */
#endif
