/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock that libuci takes to write a configuration file (uci_open_stream in its util.c): flock() on the file
 * itself, which the writer then replaces by rename(). Whoever waited for it holds a file without a name.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim.h"

#define CHUNK (1 << 20)

/* Does not wait: -EAGAIN while somebody else has the lock, or when the file was replaced in this moment. */
static int64_t file_lock(struct shim_call *call)
{
	const char *path = call->in[0].text;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat held, named;
	int64_t error = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &held) < 0)
		error = -errno;
	else if (!S_ISREG(held.st_mode))
		error = -EINVAL;
	else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		error = -errno;
	else if (stat(path, &named) < 0)
		error = -errno;
	else if (held.st_ino != named.st_ino || held.st_dev != named.st_dev)
		error = -EAGAIN;
	if (error == 0)
		return shim_descriptor_new(SHIM_LOCK, fd);
	close(fd);
	return error;
}

/*
 * libuci reads from the file that it waited for, not from the one that has the name now: it gets the same content,
 * or its commit would undo what was written meanwhile. (A third writer can still come between its reading and its
 * renaming, as with two of its own: nothing that this side does could keep it from that.)
 */
static int64_t pass_on(int fd, const char *path)
{
	int now = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int64_t error = 0;
	ssize_t moved;

	if (now < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_SET) < 0)
		error = -errno;
	while (error == 0 && (moved = sendfile(fd, now, NULL, CHUNK)) != 0)
		error = moved < 0 ? -errno : 0;
	if (error == 0 && ftruncate(fd, lseek(fd, 0, SEEK_CUR)) < 0)
		error = -errno;
	close(now);
	return error;
}

static int64_t file_unlock(struct shim_call *call)
{
	int fd = call->fd;
	struct stat held;
	int64_t error = 0;

	if (fstat(fd, &held) < 0)
		error = -errno;
	else if (held.st_nlink == 0)
		error = pass_on(fd, call->in[1].text);
	shim_descriptor_close(SHIM_LOCK, call->in[0].number);
	return error;
}

const struct shim_entry shim_lock[] = {
	{ "file_lock", file_lock, "s:path" },
	{ "file_unlock", file_unlock, "i:lock s:path", SHIM_LOCK },
	{ 0 },
};
