/* SPDX-License-Identifier: Apache-2.0 */
/* Unix stream sockets: listening, connecting, reading and writing. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim.h"

#define BACKLOG 16

struct listener {
	int fd;
	struct sockaddr_un own;
	/* Which inode is ours, so that closing never unlinks a successor's. */
	dev_t device;
	ino_t inode;
};

static int64_t fill(struct sockaddr_un *address, const char *path, size_t length)
{
	if (length == 0 || length >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, path, length);
	return 0;
}

static int unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static bool is_served(const struct sockaddr_un *address)
{
	int fd = unix_socket(), status;

	if (fd < 0)
		return true;
	status = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	/* A full backlog (EAGAIN) has somebody behind it. */
	status = status < 0 && errno != EAGAIN;
	close(fd);
	return !status;
}

static int64_t bind_at(struct listener *listener, mode_t mode)
{
	const char *path = listener->own.sun_path;
	const struct sockaddr *own = (const struct sockaddr *)&listener->own;
	struct stat status;

	/* The kernel gives the new inode the socket's mode (less umask), so it is never open for a moment. */
	if (fchmod(listener->fd, mode) < 0)
		return -errno;
	if (bind(listener->fd, own, sizeof(listener->own)) < 0) {
		/* Only what a dead listener left is removed: a socket, and nobody answers. */
		if (errno != EADDRINUSE)
			return -errno;
		if (lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode) ||
		    is_served(&listener->own))
			return -EADDRINUSE;
		if (unlink(path) < 0 || bind(listener->fd, own, sizeof(listener->own)) < 0)
			return -errno;
	}
	if (lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return -EADDRINUSE;
	listener->device = status.st_dev;
	listener->inode = status.st_ino;
	if ((status.st_mode & 0777) != mode && chmod(path, mode) < 0)
		return -errno;
	return listen(listener->fd, BACKLOG) < 0 ? -errno : 0;
}

static void listener_free(struct listener *listener)
{
	struct stat status;

	if (listener->inode && lstat(listener->own.sun_path, &status) == 0 &&
	    status.st_dev == listener->device && status.st_ino == listener->inode)
		unlink(listener->own.sun_path);
	if (listener->fd >= 0)
		close(listener->fd);
	free(listener);
}

static int64_t unix_listen(struct shim_call *call)
{
	int64_t mode = call->in[1].number, result;
	struct listener *listener;

	if (mode < 0 || mode > 0777)
		return -EINVAL;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	listener->fd = -1;
	result = fill(&listener->own, call->in[0].text, call->in[0].text_length);
	if (result == 0) {
		listener->fd = unix_socket();
		result = listener->fd < 0 ? -errno : bind_at(listener, mode);
	}
	if (result == 0)
		result = shim_handle_new(SHIM_LISTENER, listener);
	if (result < 0)
		listener_free(listener);
	return result;
}

static int64_t unix_unlisten(struct shim_call *call)
{
	struct listener *listener = shim_handle_take(SHIM_LISTENER, call->in[0].number);

	if (!listener)
		return -EBADF;
	listener_free(listener);
	return 0;
}

static int64_t unix_listener_fd(struct shim_call *call)
{
	struct listener *listener = shim_handle_get(SHIM_LISTENER, call->in[0].number);

	return listener ? listener->fd : -EBADF;
}

static int64_t unix_accept(struct shim_call *call)
{
	struct listener *listener = shim_handle_get(SHIM_LISTENER, call->in[0].number);
	int fd;

	if (!listener)
		return -EBADF;
	fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return fd < 0 ? -errno : shim_descriptor_new(SHIM_STREAM, fd);
}

static int64_t unix_connect(struct shim_call *call)
{
	struct sockaddr_un address;
	int64_t status = fill(&address, call->in[0].text, call->in[0].text_length);
	int fd;

	if (status < 0)
		return status;
	fd = unix_socket();
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		status = -errno;
		close(fd);
		return status;
	}
	return shim_descriptor_new(SHIM_STREAM, fd);
}

/* Fills the buffer; returns how much, 0 at the end of the stream. */
static int64_t stream_read(struct shim_call *call)
{
	int fd = call->fd;
	ssize_t length;

	/* Reading nothing would look like the end. */
	if (call->in[1].bytes.length == 0)
		return -EINVAL;
	length = recv(fd, call->in[1].bytes.data, call->in[1].bytes.length, 0);
	return length < 0 ? -errno : length;
}

static int64_t stream_write(struct shim_call *call)
{
	int fd = call->fd;
	ssize_t length;

	length = send(fd, call->in[1].bytes.data, call->in[1].bytes.length, MSG_NOSIGNAL);
	return length < 0 ? -errno : length;
}

const struct shim_entry shim_stream[] = {
	{ "unix_listen", unix_listen, "s:path i:mode" },
	{ "unix_unlisten", unix_unlisten, "i:listener" },
	{ "unix_listener_fd", unix_listener_fd, "i:listener" },
	{ "unix_accept", unix_accept, "i:listener" },
	{ "unix_connect", unix_connect, "s:path" },
	{ "stream_close", shim_close, "i:stream", SHIM_STREAM },
	{ "stream_fd", shim_fd, "i:stream", SHIM_STREAM },
	{ "stream_read", stream_read, "i:stream b:buffer", SHIM_STREAM },
	{ "stream_write", stream_write, "i:stream b:bytes", SHIM_STREAM },
	{ 0 },
};
