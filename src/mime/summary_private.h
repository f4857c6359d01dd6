/* mime/summary_private.h -- what the writer and the readers of a record share. */
#ifndef FACTEUR_MIME_SUMMARY_PRIVATE_H
#define FACTEUR_MIME_SUMMARY_PRIVATE_H
enum { SUMMARY_BIT_DATE = 1, SUMMARY_BIT_ATTACHMENT = 2 };
#endif
