/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: calls on sockets and devices that fail now and then, each time in another way, as long as the file
 * named by FAULTS is there. What was to be sent or received stays where it was.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* One call in so many. */
#define EVERY 50

static const int sending[] = { ENOBUFS, EAGAIN, EINTR, ENOMEM, EPERM, ENETUNREACH, ECONNREFUSED, EHOSTUNREACH };
static const int receiving[] = { EAGAIN, EINTR, ECONNREFUSED, ENOMEM, EHOSTUNREACH };
static atomic_uint calls;

static int fails(const int *errors, unsigned int count)
{
	static __thread int is_asking;
	unsigned int number = atomic_fetch_add(&calls, 1);
	const char *file = getenv("FAULTS");

	if (number % EVERY || is_asking || !file)
		return 0;
	is_asking = 1;
	number = access(file, F_OK) == 0 ? number / EVERY % count + 1 : 0;
	is_asking = 0;
	if (number)
		errno = errors[number - 1];
	return number != 0;
}

#define FAILS(errors) fails(errors, sizeof(errors) / sizeof(errors[0]))
#define REAL(name)                                                          \
	({                                                                  \
		static __typeof__(&name) real;                              \
		if (!real)                                                  \
			real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);  \
		real;                                                       \
	})

int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	return FAILS(sending) ? -1 : REAL(sendmmsg)(fd, messages, count, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	return FAILS(sending) ? -1 : REAL(sendmsg)(fd, message, flags);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
	return FAILS(receiving) ? -1 : REAL(recvmmsg)(fd, messages, count, flags, timeout);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	return FAILS(sending) ? -1 : REAL(writev)(fd, parts, count);
}
