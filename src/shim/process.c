/* SPDX-License-Identifier: Apache-2.0 */
/* The process and the machine: output, log, identity, names of errors, randomness. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#include "shim.h"

#define RANDOM_MAX (1 << 20)

/* Blocks: a full pipe is waited for, also when somebody else made it non-blocking. */
static int64_t print(struct shim_call *call)
{
	int64_t fd = call->in[0].number;
	const char *text = call->in[1].text;
	size_t left = call->in[1].text_length;

	if (fd != 1 && fd != 2)
		return -EINVAL;
	while (left > 0) {
		ssize_t written = write(fd, text, left);

		if (written < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		} else if (written < 0 && errno != EINTR) {
			return -errno;
		} else if (written > 0) {
			text += written;
			left -= written;
		}
	}
	return 0;
}

static int64_t log_line(struct shim_call *call)
{
	static bool open;
	int64_t level = call->in[0].number;

	if (level < LOG_EMERG || level > LOG_DEBUG)
		return -EINVAL;
	if (!open)
		openlog("ovpnd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	open = true;
	syslog(level, "%s", call->in[1].text);
	return 0;
}

static bool has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
	/* HWCAP_AES and HWCAP_PMULL. */
	return (getauxval(AT_HWCAP) & 0x18) == 0x18;
#elif defined(__arm__)
	/* HWCAP2_AES and HWCAP2_PMULL. */
	return (getauxval(AT_HWCAP2) & 0x3) == 0x3;
#else
	return false;
#endif
}

/* [uid, pid, has AES instructions]. */
static int64_t identity(struct shim_call *call)
{
	int64_t numbers[] = { geteuid(), getpid(), has_aes() };

	shim_result_numbers(call, numbers, 3);
	return 0;
}

/* Only the QuickJS executable leaves this way; a Node process has its own. */
static int64_t leave(struct shim_call *call)
{
	exit(call->in[0].number & 0xff);
}

/* Numbers differ between architectures, and musl knows no names: so the names are here. */
static const struct {
	int number;
	const char *name;
} errors[] = {
#define NAME(symbol) { symbol, #symbol }
	NAME(EPERM), NAME(ENOENT), NAME(ESRCH), NAME(EINTR), NAME(EIO), NAME(ENXIO), NAME(E2BIG), NAME(EBADF),
	NAME(EAGAIN), NAME(ENOMEM), NAME(EACCES), NAME(EFAULT), NAME(EBUSY), NAME(EEXIST), NAME(EXDEV),
	NAME(ENODEV), NAME(ENOTDIR), NAME(EISDIR), NAME(EINVAL), NAME(ENFILE), NAME(EMFILE), NAME(EFBIG),
	NAME(ENOSPC), NAME(EROFS), NAME(EPIPE), NAME(ERANGE), NAME(ENAMETOOLONG), NAME(ENOSYS),
	NAME(ENOTEMPTY), NAME(ELOOP), NAME(ENODATA), NAME(EBADMSG), NAME(EOVERFLOW), NAME(ENOTSOCK),
	NAME(EMSGSIZE), NAME(EPROTOTYPE), NAME(EPROTONOSUPPORT), NAME(EOPNOTSUPP), NAME(EAFNOSUPPORT),
	NAME(EADDRINUSE), NAME(EADDRNOTAVAIL), NAME(ENETDOWN), NAME(ENETUNREACH), NAME(ECONNABORTED),
	NAME(ECONNRESET), NAME(ENOBUFS), NAME(EISCONN), NAME(ENOTCONN), NAME(ETIMEDOUT), NAME(ECONNREFUSED),
	NAME(EHOSTDOWN), NAME(EHOSTUNREACH), NAME(EALREADY), NAME(EINPROGRESS), NAME(EDQUOT), NAME(ENOKEY),
	NAME(EKEYREJECTED),
#undef NAME
};

/* `EADDRINUSE Address already in use`. */
static int64_t error_text(struct shim_call *call)
{
	const char *name = "E?", *text;
	char line[160];
	size_t length;

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].number == call->in[0].number)
			name = errors[i].name;
	text = strerror(call->in[0].number);
	length = strlen(name);
	memcpy(line, name, length);
	line[length++] = ' ';
	strncpy(line + length, text, sizeof(line) - length - 1);
	line[sizeof(line) - 1] = 0;
	shim_result_text(call, line, strlen(line));
	return 0;
}

int shim_random(uint8_t *out, size_t length)
{
	while (length > 0) {
		ssize_t got = getrandom(out, length, 0);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0) {
			out += got;
			length -= got;
		}
	}
	return 0;
}

static int64_t random_bytes(struct shim_call *call)
{
	int64_t length = call->in[0].number;
	uint8_t *out;

	if (length < 0 || length > RANDOM_MAX)
		return -EINVAL;
	out = shim_result_bytes(call, length);
	if (!out)
		return -ENOMEM;
	return shim_random(out, length);
}

const struct shim_entry shim_process[] = {
	{ "print", print, "i:fd s:text" },
	{ "syslog", log_line, "i:level s:text" },
	{ "identity", identity, "" },
	{ "exit", leave, "i:code" },
	{ "error_text", error_text, "i:errno" },
	{ "random_bytes", random_bytes, "i:length" },
	{ 0 },
};
