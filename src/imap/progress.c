/* INPROGRESS (RFC 9585): a command that takes long says how far it is, so that neither the client nor something between gives it up. */
#include "base/clock.h"
#include "imap/imap_private.h"

enum { PROGRESS_EVERY_MS = 10000 };

/* "* OK [INPROGRESS ("a1" 454 1000)] …"                                                                   RFC 9585 §4 */
void imap_progress(struct imap_session *s, uint64_t done, uint64_t goal)
{
	int64_t now_ms = clock_mono_ms();

	if (s->progress_ms == 0)
		s->progress_ms = now_ms + PROGRESS_EVERY_MS;
	if (now_ms < s->progress_ms)
		return;
	s->progress_ms = now_ms + PROGRESS_EVERY_MS;
	if (goal > UINT32_MAX)  /* number, RFC 9051 §9 */
		return;
	buf_printf(&s->out, imap_in(s->tongue.lang, "* OK [INPROGRESS (\"%.*s\" %u %u)] still at it\r\n"), STR_ARG(s->cmd.tag), (unsigned)(done < goal ? done : goal),
	           (unsigned)goal);
	imap_flush(s);
	session_flush(s->s);
}
