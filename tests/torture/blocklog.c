/* A disk that remembers: one file, served by FUSE, that a loop device is put on. Every write and every flush is appended to a log, in
 * order, so that tests/torture/device.py can make the disk as it may be after a power cut at any point: all that was under a flush, and of
 * what came after it any part. Device-mapper's log-writes does the same, where the kernel has it.
 *
 *   blocklog IMAGE LOG MOUNTPOINT     stays in the foreground; MOUNTPOINT/disk is the disk
 *
 * One thread, so the log has the order in which the kernel asked. A loop device sends its own flushes as fsync, and a write that
 * has been answered before a flush is asked stands before it here. The log: 'W' offset(8) length(8) bytes, or 'F'; little-endian. */
#define FUSE_USE_VERSION 31
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int image = -1, record = -1;
static uint32_t skip, failing;
static char pattern[64];
static size_t pattern_n;

static int get_attributes(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	if (strcmp(path, "/") == 0) {
		memset(st, 0, sizeof(*st));
		st->st_mode = S_IFDIR | 0700;
		st->st_nlink = 2;
		return 0;
	}
	if (strcmp(path, "/fail") == 0) {
		memset(st, 0, sizeof(*st));
		st->st_mode = S_IFREG | 0600;
		st->st_nlink = 1;
		return 0;
	}
	if (strcmp(path, "/disk") != 0)
		return -ENOENT;
	return fstat(image, st) < 0 ? -errno : 0;
}

static int list(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *fi,
                enum fuse_readdir_flags flags)
{
	(void)offset, (void)fi, (void)flags;
	if (strcmp(path, "/") != 0)
		return -ENOENT;
	fill(buffer, "disk", NULL, 0, 0);
	fill(buffer, "fail", NULL, 0, 0);
	return 0;
}

static int open_disk(const char *path, struct fuse_file_info *fi)
{
	if (strcmp(path, "/disk") != 0 && strcmp(path, "/fail") != 0)
		return -ENOENT;
	fi->direct_io = 1;  /* no second cache below the loop device: what it writes comes here at once */
	return 0;
}

static int read_disk(const char *path, char *p, size_t n, off_t offset, struct fuse_file_info *fi)
{
	ssize_t got = pread(image, p, n, offset);

	(void)path, (void)fi;
	return got < 0 ? -errno : (int)got;
}

/* A log with holes proves nothing: what cannot be recorded fails. */
static int append(const void *head, size_t head_n, const void *p, size_t n)
{
	struct iovec v[2] = { { (void *)head, head_n }, { (void *)p, n } };

	return writev(record, v, 2) == (ssize_t)(head_n + n) ? 0 : -EIO;
}

static int order_failures(const char *p, size_t n)
{
	uint32_t numbers[2];

	if (n < sizeof(numbers) || n > sizeof(numbers) + sizeof(pattern))
		return -EINVAL;
	memcpy(numbers, p, sizeof(numbers));
	pattern_n = n - sizeof(numbers);
	memcpy(pattern, p + sizeof(numbers), pattern_n);
	skip = le32toh(numbers[0]);
	failing = le32toh(numbers[1]);
	return (int)n;
}

static bool fails(const char *p, size_t n)
{
	if (failing == 0 || (pattern_n > 0 && memmem(p, n, pattern, pattern_n) == NULL))
		return false;
	if (skip > 0) {
		skip--;
		return false;
	}
	failing--;
	return true;
}

static int write_disk(const char *path, const char *p, size_t n, off_t offset, struct fuse_file_info *fi)
{
	struct { char op; unsigned long long offset, length; } __attribute__((packed)) head =
		{ 'W', htole64((unsigned long long)offset), htole64(n) };
	(void)fi;
	if (strcmp(path, "/fail") == 0)
		return order_failures(p, n);
	if (fails(p, n) || append(&head, sizeof(head), p, n) < 0)
		return -EIO;
	return pwrite(image, p, n, offset) == (ssize_t)n ? (int)n : -EIO;
}

static int flush_disk(const char *path, int data_only, struct fuse_file_info *fi)
{
	(void)path, (void)data_only, (void)fi;
	return append("F", 1, NULL, 0);
}

static const struct fuse_operations operations = {
	.getattr = get_attributes, .readdir = list, .open = open_disk, .read = read_disk, .write = write_disk, .fsync = flush_disk,
};

int main(int argc, char **argv)
{
	char foreground[] = "-f", one_thread[] = "-s";
	char *args[] = { argv[0], foreground, one_thread, argv[argc - 1], NULL };

	if (argc != 4) {
		fprintf(stderr, "usage: blocklog IMAGE LOG MOUNTPOINT\n");
		return 2;
	}
	image = open(argv[1], O_RDWR | O_CLOEXEC);
	record = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (image < 0 || record < 0) {
		fprintf(stderr, "blocklog: %s cannot be opened: %s\n", image < 0 ? argv[1] : argv[2], strerror(errno));
		return 1;
	}
	return fuse_main(4, args, &operations, NULL);
}
