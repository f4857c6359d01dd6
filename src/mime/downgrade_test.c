#include "mime/downgrade.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/test.h"
#include "mime/decode.h"

static struct str read_all(struct arena *a, struct mime_downgrade *d, size_t piece)
{
	char *room = arena_alloc(a, (size_t)d->size + 1);

	for (size_t at = 0; at < d->size; at += piece)
		mime_downgrade_read(d, at, room + at, piece < d->size - at ? piece : (size_t)d->size - at);
	return str_make(room, (size_t)d->size);
}

#define PLAIN "Content-Type: text/plain; charset=utf-8\r\n"
#define MULTI "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
#define HIGH10 "\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9"

TEST(downgrade)
{
	static const struct { const char *name; struct str in; enum downgrade_outcome outcome; const char *out; } cases[] = {
		{ "ASCII, whatever it is declared to be", STR("Content-Transfer-Encoding: 8bit\r\n\r\nabc\r\n"), DOWNGRADE_NOT_NEEDED, NULL },
		{ "quoted-printable", STR("MIME-Version: 1.0\r\n" PLAIN "Content-Transfer-Encoding:\r\n 8bit\r\nX:  y \r\n\r\nun caf\xc3\xa9 sans sucre = 1 \r\n.dot\r\n"),
		  DOWNGRADE_DONE, "MIME-Version: 1.0\r\n" PLAIN "Content-Transfer-Encoding: quoted-printable\r\nX:  y \r\n\r\nun caf=C3=A9 sans sucre =3D 1=20\r\n=2Edot\r\n" },
		{ "neither declared nor MIME", STR("A: b\r\n\r\ncaf\xe9 au lait\r\n"), DOWNGRADE_DONE,
		  "A: b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 au lait\r\n" },
		{ "base64 where it is shorter", STR("MIME-Version: 1.0\r\n" PLAIN "\r\n" HIGH10 "\r\n"), DOWNGRADE_DONE,
		  "MIME-Version: 1.0\r\n" PLAIN "Content-Transfer-Encoding: base64\r\n\r\n6enp6enp6enp6Q0K\r\n" },
		{ "parts: only what must be", STR(MULTI "Content-Transfer-Encoding: 8bit\r\n\r\npr\xe9" "ambule\r\n--b\r\n\r\nplain. \r\n.\r\n--b\r\n"
		      "Content-Transfer-Encoding: 8bit\r\n\r\nASCII all the same\r\n--b\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n-- la fin \xe9\r\n--b\r\n\r\n"
		      HIGH10 "\r\n--b--\r\n\xe9pilogue\r\n"),
		  DOWNGRADE_DONE, MULTI "Content-Transfer-Encoding: 7bit\r\n\r\npr?ambule\r\n--b\r\n\r\nplain. \r\n.\r\n--b\r\n"
		  "Content-Transfer-Encoding: 7bit\r\n\r\nASCII all the same\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=2D- la fin =E9\r\n--b\r\n"
		  "Content-Transfer-Encoding: base64\r\n\r\n6enp6enp6enp6Q==\r\n--b--\r\n?pilogue\r\n" },
		{ "a message inside: its parts, not itself", STR(MULTI "\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		      "Subject: in\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9 noir\r\n--b--\r\n"),
		  DOWNGRADE_DONE, MULTI "\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
		  "Subject: in\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 noir\r\n--b--\r\n" },
		{ "message/global as a whole", STR(MULTI "\r\n--b\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: caf\xc3\xa9\r\n\r\nnoir\r\n--b--\r\n"),
		  DOWNGRADE_DONE, MULTI "\r\n--b\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		  "Subject: caf=C3=A9\r\n\r\nnoir\r\n--b--\r\n" },
		{ "quoted-printable that was none", STR("MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9 \xe9\r\n"), DOWNGRADE_DONE,
		  "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9 =E9\r\n" },
		{ "two encodings: one is left", STR("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 7bit\r\n\r\ncaf\xe9\r\n"),
		  DOWNGRADE_DONE, "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n" },
		{ "in the header", STR("Subject: caf\xe9\r\n\r\nx\r\n"), DOWNGRADE_HEADER, NULL },
		{ "in the header of a part", STR(MULTI "\r\n--b\r\nX: caf\xe9\r\n\r\nx\r\n--b--\r\n"), DOWNGRADE_HEADER, NULL },
		{ "signed", STR("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\ncaf\xe9\r\n--b\r\n\r\nsig\r\n--b--\r\n"), DOWNGRADE_SIGNED, NULL },
		{ "signed, ASCII, beside", STR(MULTI "\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n--c--\r\n"
		      "--b\r\n\r\nun caf\xe9\r\n--b--\r\n"),
		  DOWNGRADE_DONE, MULTI "\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n--c--\r\n"
		  "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nun caf=E9\r\n--b--\r\n" },
		{ "a multipart without its boundary", STR(MULTI "\r\ncaf\xe9\r\n"), DOWNGRADE_BROKEN, NULL },
		{ "an encoding nobody knows", STR("Content-Transfer-Encoding: x-rot13\r\n\r\ncaf\xe9\r\n"), DOWNGRADE_BROKEN, NULL },
		{ "message/partial", STR("Content-Type: message/partial; id=1; number=1\r\n\r\ncaf\xe9\r\n"), DOWNGRADE_BROKEN, NULL },
	};

	EACH(cases, c) {
		struct arena a = { 0 };
		struct mime_downgrade d;
		print_message("%s\n", c->name);
		EXPECT_INT(mime_downgrade(&a, c->in, &d), c->outcome);
		for (size_t piece = 1; c->out && piece < 100; piece += 13)
			EXPECT_STR(read_all(&a, &d, piece), c->out);
		arena_free(&a);
	}
}

/* Lines, of any length, that come back exactly: none longer than 76, none that looks like a boundary. */
TEST(quoted_printable_lines)
{
	static const char *const fill[] = { "a", "a ", "-", "--b\r\n", "From ", ".", "=", "\xc3\xa9---------------", " \r\n", "\r", "\n", "\t\n" };

	EACH(fill, f) {
		for (size_t n = 1; n < 170; n++) {
			struct arena a = { 0 };
			struct mime_downgrade d;
			struct buf b = BUF(10000), decoded = BUF(20000);
			struct mime_decoder decoder = mime_decoder(MIME_QUOTED_PRINTABLE);
			buf_add_cstr(&b, "MIME-Version: 1.0\r\n\r\n");
			size_t head = b.n;
			for (size_t i = 0; i < n; i++)
				buf_add_cstr(&b, *f);
			buf_add_cstr(&b, "\xe9" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
			EXPECT_INT(mime_downgrade(&a, buf_str(&b), &d), DOWNGRADE_DONE);
			struct str out = read_all(&a, &d, 1000), line, header;
			ptrdiff_t end = str_find(out, STR("\r\n\r\n"));
			header = str_sub(out, 0, (size_t)end);
			out = str_from(out, (size_t)end + 4);
			bool is_qp = str_find(header, STR("quoted-printable")) >= 0;
			decoder.encoding = is_qp ? MIME_QUOTED_PRINTABLE : MIME_BASE64;
			mime_decode(&decoder, out, &decoded);
			mime_decode_end(&decoder, &decoded);
			EXPECT_STR(buf_str(&decoded), str_cstr(&a, str_from(buf_str(&b), head)));
			while (out.n > 0) {
				str_cut(out, '\n', &line, &out);
				EXPECT(line.n <= 77 && str_is_ascii(line) && !str_starts(line, STR("-")));
			}
			buf_free(&b);
			buf_free(&decoded);
			arena_free(&a);
		}
	}
}

/* From anywhere, also back: a transaction is begun again for the recipients that are left. */
TEST(reads_from_anywhere)
{
	static const char message[] = MULTI "\r\n--b\r\n\r\nun caf\xe9 noir\r\n--b\r\n\r\n" HIGH10 HIGH10 HIGH10 HIGH10 HIGH10 HIGH10 HIGH10 "\r\n--b--\r\n";
	struct arena a = { 0 };
	struct mime_downgrade d;
	char room[8];

	EXPECT_INT(mime_downgrade(&a, str_of(message), &d), DOWNGRADE_DONE);
	struct str whole = read_all(&a, &d, 1000);
	for (size_t i = 0; i + 8 <= whole.n; i++) {
		size_t at = i * 37 % (whole.n - 8);
		mime_downgrade_read(&d, at, room, 8);
		EXPECT(memcmp(room, whole.p + at, 8) == 0);
	}
	arena_free(&a);
}
