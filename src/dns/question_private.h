/* dns/question_private.h -- the answer's encoding: written by net, read by whoever asked. */
#ifndef FACTEUR_DNS_QUESTION_PRIVATE_H
#define FACTEUR_DNS_QUESTION_PRIVATE_H
#include "dns/question.h"

void put_dns_answer(struct buf *b, const struct dns_answer *a);
#endif
