/* dkim_sign FOLDER SENDER < message > signed message: what the queue and the role keys do together, without either, with the keys of
 * a data folder whose server is not running. tests/system/test_dkim.py lets other people's verifiers look at it. */
#include "mailauth/dkim_worker.h"
#include <stdio.h>

enum { MESSAGE_MAX = 64 << 20 };

static void on_signed(void *context, enum err status, struct str prefix)
{
	*(enum err *)context = status;
	fwrite(prefix.p, 1, prefix.n, stdout);
}

static enum err read_message(struct buf *out)
{
	char piece[8192];
	size_t n;

	while ((n = fread(piece, 1, sizeof piece, stdin)) > 0)
		buf_add_bytes(out, piece, n);
	return out->failed ? ERR_LIMIT : ERR_OK;
}

static enum err run(const char *folder, const char *sender)
{
	CLEANUP(buf_free) struct buf message = BUF(MESSAGE_MAX), request = BUF(DKIM_REQUEST_MAX);
	struct disk_dir *dir;
	struct secrets *secrets;
	struct dkim_worker *worker;
	struct dkim_request r;
	enum err status = ERR_TIMEOUT;
	struct scan s;

	TRY(disk_dir_open(folder, &dir));
	TRY(secrets_open(dir, &secrets));
	TRY(read_message(&message));
	TRY(dkim_sign_request(str_of(sender), buf_str(&message), &request));
	s = scan_of(buf_str(&request));
	if (!get_dkim_request(&s, &r))
		return ERR_INVALID;
	worker = dkim_worker_new(secrets, false);
	dkim_worker_sign(worker, &r, on_signed, &status);
	dkim_worker_receive(worker);
	dkim_worker_free(worker);
	secrets_close(secrets);
	disk_dir_close(&dir);
	fwrite(message.p, 1, message.n, stdout);
	return status;
}

int main(int argc, char **argv)
{
	enum err e = argc == 3 ? run(argv[1], argv[2]) : ERR_INVALID;

	if (e != ERR_OK)
		fprintf(stderr, "%s\n", argc == 3 ? err_name(e) : "dkim_sign FOLDER SENDER < message");
	return e != ERR_OK;
}
