/* SPDX-License-Identifier: Apache-2.0 */
/* Whole small files. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim.h"

#define FILE_MAX (1 << 20)
#define MODE_BITS 07777

/* What fd gives until its end, at most max bytes, as the result of the call; room is a first guess. */
static int64_t read_whole(struct shim_call *call, int fd, size_t room, size_t max)
{
	uint8_t *buffer = NULL, *out;
	size_t length = 0;
	ssize_t got = 1;
	int64_t error = 0;

	while (error == 0 && got > 0) {
		uint8_t *bigger;

		if (!buffer || length == room) {
			/* Not realloc: it may leave a copy of a private key behind. */
			bigger = malloc(buffer ? room * 2 : room);
			if (!bigger) {
				error = -ENOMEM;
				break;
			}
			if (buffer) {
				memcpy(bigger, buffer, length);
				explicit_bzero(buffer, length);
				free(buffer);
				room *= 2;
			}
			buffer = bigger;
		}
		got = read(fd, buffer + length, room - length);
		if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
			/* Somebody else made it non-blocking. */
			poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
			got = 1;
		} else if (got < 0) {
			error = -errno;
		} else if ((length += got) > max) {
			error = -EFBIG;
		}
	}
	if (error == 0) {
		out = shim_result_bytes(call, length);
		if (out)
			memcpy(out, buffer, length);
		else
			error = -ENOMEM;
	}
	if (buffer) {
		/* It may have been a private key. */
		explicit_bzero(buffer, room);
		free(buffer);
	}
	return error;
}

static int64_t file_read(struct shim_call *call)
{
	/* Non-blocking, so that the name of a FIFO cannot hang the daemon before it is refused. */
	int fd = open(call->in[0].text, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t room = 4096;
	struct stat status;
	int64_t error = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0)
		error = -errno;
	else if (!S_ISREG(status.st_mode))
		error = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
	else if (status.st_size > FILE_MAX)
		error = -EFBIG;
	else if (status.st_size >= (off_t)room)
		room = status.st_size + 1;
	/* Until the end rather than by st_size: files under /proc claim to be empty. */
	if (error == 0)
		error = read_whole(call, fd, room, FILE_MAX);
	/* Replaced meanwhile; what was read may be of two times (see lock.c). */
	if (error == 0 && (fstat(fd, &status) < 0 || status.st_nlink == 0))
		error = -ESTALE;
	close(fd);
	return error;
}

/* Standard input to its end; blocks until then. */
static int64_t input_read(struct shim_call *call)
{
	int64_t max = call->in[0].number;

	return max < 1 || max > FILE_MAX ? -EINVAL : read_whole(call, STDIN_FILENO, 4096, max);
}

static int64_t write_all(int fd, const uint8_t *bytes, size_t length, mode_t mode)
{
	while (length > 0) {
		ssize_t written = write(fd, bytes, length);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			bytes += written;
			length -= written;
		}
	}
	/* Not open()'s mode: that one is cut by the umask. */
	return fchmod(fd, mode) < 0 || fsync(fd) < 0 ? -errno : 0;
}

/*
 * Root writes for others: on a router the daemon has an account of its own, and must be able to read what the
 * command line puts in place of, or beside, its files. Fills the owner of the file at path, or of its folder.
 */
static int owner_of(const char *path, struct stat *status)
{
	char folder[4096];
	size_t length = strlen(path);

	if (lstat(path, status) == 0 && S_ISREG(status->st_mode))
		return 0;
	while (length > 0 && path[length - 1] != '/')
		length--;
	if (length >= sizeof(folder) - 1)
		return -ENAMETOOLONG;
	memcpy(folder, path, length);
	/* With the dot also right for a name without a folder. */
	memcpy(folder + length, ".", 2);
	return stat(folder, status) < 0 ? -errno : 0;
}

static int64_t give_away(int fd, const char *path)
{
	struct stat status;
	int error;

	if (geteuid() != 0)
		return 0;
	error = owner_of(path, &status);
	if (error < 0)
		return error;
	return fchown(fd, status.st_uid, status.st_gid) < 0 ? -errno : 0;
}

static int64_t file_write(struct shim_call *call)
{
	const char *path = call->in[0].text;
	int64_t mode = call->in[2].number, error;
	char temporary[4096];
	uint64_t tail;
	int fd, length;

	if (mode < 0 || mode > MODE_BITS)
		return -EINVAL;
	if (getrandom(&tail, sizeof(tail), 0) != sizeof(tail))
		return -EIO;
	length = snprintf(temporary, sizeof(temporary), "%s.%016llx", path, (unsigned long long)tail);
	if (length < 0 || length >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	error = give_away(fd, path);
	if (error == 0)
		error = write_all(fd, call->in[1].bytes.data, call->in[1].bytes.length, mode);
	if (close(fd) < 0 && error == 0)
		error = -errno;
	if (error == 0 && rename(temporary, path) < 0)
		error = -errno;
	if (error < 0)
		unlink(temporary);
	return error;
}

/* [kind: 0 file, 1 directory, 2 other; size; mode; uid; milliseconds since 1970 of the last change]. */
static int64_t file_status(struct shim_call *call)
{
	struct stat status;
	int64_t numbers[5];

	if (stat(call->in[0].text, &status) < 0)
		return -errno;
	numbers[0] = S_ISREG(status.st_mode) ? 0 : S_ISDIR(status.st_mode) ? 1 : 2;
	numbers[1] = status.st_size;
	numbers[2] = status.st_mode & MODE_BITS;
	numbers[3] = status.st_uid;
	numbers[4] = (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
	shim_result_numbers(call, numbers, 5);
	return 0;
}

/* Names, each followed by `/`, the one character that no name contains. */
static int64_t file_list(struct shim_call *call)
{
	DIR *directory = opendir(call->in[0].text);
	struct dirent *entry;
	char *text = NULL;
	size_t length = 0;
	int64_t error = 0;
	FILE *out;

	if (!directory)
		return -errno;
	out = open_memstream(&text, &length);
	if (!out) {
		closedir(directory);
		return -ENOMEM;
	}
	while ((errno = 0, entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			fprintf(out, "%s/", entry->d_name);
	error = -errno;
	closedir(directory);
	if (fclose(out) != 0)
		error = -ENOMEM;
	if (error == 0)
		shim_result_text(call, text, length);
	free(text);
	return error;
}

static int64_t file_make_directory(struct shim_call *call)
{
	const char *path = call->in[0].text;
	int64_t mode = call->in[1].number;
	struct stat status;
	int fd, error;

	if (mode < 0 || mode > MODE_BITS)
		return -EINVAL;
	if (mkdir(path, 0700) == 0) {
		/* By its descriptor: whoever owns the folder around may put a link in its place meanwhile. */
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		error = give_away(fd, path);
		if (error == 0 && fchmod(fd, mode) < 0)
			error = -errno;
		close(fd);
		return error;
	}
	if (errno != EEXIST)
		return -errno;
	return stat(path, &status) == 0 && S_ISDIR(status.st_mode) ? 0 : -EEXIST;
}

static int64_t file_remove(struct shim_call *call)
{
	return remove(call->in[0].text) < 0 ? -errno : 0;
}

const struct shim_entry shim_files[] = {
	{ "file_read", file_read, "s:path" },
	{ "input_read", input_read, "i:max" },
	{ "file_write", file_write, "s:path b:bytes i:mode" },
	{ "file_status", file_status, "s:path" },
	{ "file_list", file_list, "s:path" },
	{ "file_make_directory", file_make_directory, "s:path i:mode" },
	{ "file_remove", file_remove, "s:path" },
	{ 0 },
};
