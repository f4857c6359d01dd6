/* text/reason.h -- why a message waits or came back, said again in another language. */
#ifndef FACTEUR_TEXT_REASON_H
#define FACTEUR_TEXT_REASON_H
#include "text/text.h"

/* english: as this server wrote it (text/reasons.def), or the words of another server, which stay as they are. In the arena, or english. */
struct str text_reason(struct arena *a, enum lang lang, struct str english);
#endif
