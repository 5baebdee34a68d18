// SPDX-License-Identifier: Apache-2.0
// Offers and counts small UDP packets at far less cost than what is measured: batches, no statistics, no copies.
//   load receive PORT                        prints `ready`, counts until SIGTERM, prints one line of JSON
//   load send IP PORT SIZE RATE MILLISECONDS RATE packets a second, SIZE bytes of payload each
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define SIZE_MAX_UDP 1472
#define SOCKET_BUFFER (8 << 20)
// A batch that comes due at once is a burst; short pauses keep it far below any queue.
#define PAUSE_NS 100000
#define NS_PER_S 1000000000LL

static volatile sig_atomic_t ended;

static void on_term(int number)
{
	(void)number;
	ended = 1;
}

static long long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static double cpu_s(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	return 1;
}

static void fill(struct mmsghdr *m, struct iovec *v, char (*data)[SIZE_MAX_UDP], size_t size)
{
	memset(m, 0, BATCH * sizeof *m);
	for (int i = 0; i < BATCH; i++) {
		v[i] = (struct iovec){ data[i], size };
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
}

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static char payloads[BATCH][SIZE_MAX_UDP];

static int receive(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	struct timeval patience = { .tv_usec = 20000 };
	int size = SOCKET_BUFFER, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned long long received = 0;

	signal(SIGTERM, on_term);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0)
		return fail("bind");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	fill(messages, vectors, payloads, SIZE_MAX_UDP);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		if (count > 0)
			received += (unsigned)count;
		else if (errno != EAGAIN && errno != EINTR)
			return fail("receive");
	}
	printf("{\"received\":%llu,\"cpuS\":%.6f}\n", received, cpu_s());
	return 0;
}

static int offer(const char *ip, int port, size_t size, double rate, double ms)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned long long sent = 0;
	long long begin, end, now;

	if (inet_pton(AF_INET, ip, &to.sin_addr) != 1 || size < 1 || size > SIZE_MAX_UDP)
		return fail("arguments");
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
		return fail("connect");
	fill(messages, vectors, payloads, size);
	begin = now_ns();
	end = begin + (long long)(ms * 1e6);
	while ((now = now_ns()) < end) {
		unsigned long long due = (unsigned long long)((double)(now - begin) * rate / 1e9);
		unsigned left = due > sent ? (unsigned)(due - sent < BATCH ? due - sent : BATCH) : 0;
		int count;
		if (left == 0) {
			struct timespec pause = { 0, PAUSE_NS };
			clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
			continue;
		}
		count = sendmmsg(fd, messages, left, 0);
		if (count > 0)
			sent += (unsigned)count;
		else if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED)
			return fail("send");
	}
	printf("{\"sent\":%llu,\"seconds\":%.6f,\"cpuS\":%.6f}\n", sent, (double)(now - begin) / 1e9, cpu_s());
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "receive") == 0)
		return receive(atoi(argv[2]));
	if (argc == 7 && strcmp(argv[1], "send") == 0)
		return offer(argv[2], atoi(argv[3]), (size_t)atoi(argv[4]), atof(argv[5]), atof(argv[6]));
	fprintf(stderr, "load: receive PORT | send IP PORT SIZE RATE MILLISECONDS\n");
	return 64;
}
