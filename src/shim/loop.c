/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting: epoll, signals and clocks. Timers are JavaScript's. */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "shim.h"

#define EVENTS_MAX 64
/* Each event is two 32-bit words in the buffer: descriptor (-1: signals), flags (or the mask of signals). */
#define EVENT_LENGTH 8
/* A wait of so long is a rest; and how often at most it begins with giving memory back. */
#define REST_MS 1000
#define GIVE_BACK_S 10
#define READABLE 1
#define WRITABLE 2

/* Bit n of a mask of signals stands for entry n. */
static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2 };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

/*
 * A handler that writes to a descriptor rather than signalfd: it works in a process with many threads
 * (Node), whichever of them the kernel picks, and needs no signal mask.
 */
static int signal_fd = -1;
static atomic_uint signals_pending;

static void on_signal(int number)
{
	int saved = errno;
	uint64_t one = 1;
	ssize_t written;

	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i] == number)
			atomic_fetch_or(&signals_pending, 1u << i);
	/* Full would mean: already readable. */
	written = write(signal_fd, &one, sizeof(one));
	(void)written;
	errno = saved;
}

static int64_t watch(int loop, int operation, int fd, int64_t flags)
{
	struct epoll_event event = { .data.fd = fd };

	if (flags & READABLE)
		event.events |= EPOLLIN;
	if (flags & WRITABLE)
		event.events |= EPOLLOUT;
	return epoll_ctl(loop, operation, fd, &event) < 0 ? -errno : 0;
}

static int64_t loop_open(struct shim_call *call)
{
	int64_t status;
	int fd;

	(void)call;
	if (signal_fd < 0)
		signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (signal_fd < 0)
		return -errno;
	fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return -errno;
	status = watch(fd, EPOLL_CTL_ADD, signal_fd, READABLE);
	if (status < 0) {
		close(fd);
		return status;
	}
	return shim_descriptor_new(SHIM_LOOP, fd);
}

/* Flags: 1 readable, 2 writable, 0 forget. */
static int64_t loop_watch(struct shim_call *call)
{
	int loop = call->fd;
	int64_t fd = call->in[1].number, flags = call->in[2].number, status;

	if (fd < 0 || fd > INT32_MAX || fd == signal_fd || flags < 0 || flags > (READABLE | WRITABLE))
		return -EINVAL;
	if (flags == 0)
		return watch(loop, EPOLL_CTL_DEL, fd, 0);
	status = watch(loop, EPOLL_CTL_MOD, fd, flags);
	return status == -ENOENT ? watch(loop, EPOLL_CTL_ADD, fd, flags) : status;
}

static int64_t store(uint8_t *at, int32_t fd, uint32_t flags)
{
	memcpy(at, &fd, sizeof(fd));
	memcpy(at + 4, &flags, sizeof(flags));
	return 1;
}

/*
 * What is free goes back to the system before a rest, for which there is time then: a status of a thousand peers leaves
 * megabytes of holes. The C library of a router does that by itself.
 */
static void give_back(void)
{
#ifdef __GLIBC__
	static int64_t next_s;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec < next_s)
		return;
	next_s = now.tv_sec + GIVE_BACK_S;
	malloc_trim(0);
#endif
}

/* Fills the buffer with events and returns how many; 0 on timeout. A negative timeout waits for ever. */
static int64_t loop_wait(struct shim_call *call)
{
	struct epoll_event events[EVENTS_MAX];
	int loop = call->fd;
	int64_t timeout = call->in[1].number;
	size_t room = call->in[2].bytes.length / EVENT_LENGTH, count = 0;
	uint8_t *out = call->in[2].bytes.data;
	uint64_t ignored;
	int ready;

	if (room == 0)
		return -EINVAL;
	if (timeout < 0 || timeout >= REST_MS)
		give_back();
	if (timeout > INT32_MAX)
		timeout = INT32_MAX;
	ready = epoll_wait(loop, events, room < EVENTS_MAX ? room : EVENTS_MAX, timeout < 0 ? -1 : timeout);
	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < ready; i++) {
		uint32_t seen = events[i].events, flags = 0;

		if (events[i].data.fd == signal_fd) {
			/* Another loop of this process may have been faster: then the mask is empty. */
			if (read(signal_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
				return -errno;
			count += store(out + count * EVENT_LENGTH, -1, atomic_exchange(&signals_pending, 0));
			continue;
		}
		/* Errors and hang-ups are found by reading or writing, whichever is watched. */
		if (seen & (EPOLLIN | EPOLLERR | EPOLLHUP))
			flags |= READABLE;
		if (seen & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			flags |= WRITABLE;
		count += store(out + count * EVENT_LENGTH, events[i].data.fd, flags);
	}
	return count;
}

/* `number` is an index into `signals`; from now on the signal is an event of loop_wait. */
static int64_t signal_watch(struct shim_call *call)
{
	int64_t number = call->in[0].number;
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	if (number < 0 || number >= (int64_t)SIGNALS || signal_fd < 0)
		return -EINVAL;
	sigfillset(&action.sa_mask);
	return sigaction(signals[number], &action, NULL) < 0 ? -errno : 0;
}

static int64_t clock_monotonic(struct shim_call *call)
{
	struct timespec now;

	(void)call;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t clock_wall(struct shim_call *call)
{
	(void)call;
	return time(NULL);
}

const struct shim_entry shim_loop[] = {
	{ "loop_open", loop_open, "" },
	{ "loop_close", shim_close, "i:loop", SHIM_LOOP },
	{ "loop_watch", loop_watch, "i:loop i:fd i:flags", SHIM_LOOP },
	{ "loop_wait", loop_wait, "i:loop i:timeout b:events", SHIM_LOOP },
	{ "signal_watch", signal_watch, "i:number" },
	{ "clock_monotonic", clock_monotonic, "" },
	{ "clock_wall", clock_wall, "" },
	{ 0 },
};
