// SPDX-License-Identifier: Apache-2.0
// Numbered UDP packets whose every byte is known, and a thread that stands still.
//   traffic receive PORT                       prints `ready`, takes packets until SIGTERM, prints one line of JSON
//   traffic send IP PORT RATE MILLISECONDS SIZE TOS
//                                              prints `ready`; RATE a second, SIZE bytes of payload each, until the
//                                              time is over or SIGTERM; prints one line of JSON. SIZE 0: every length
//                                              in turn, else eight at once, which the kernel cuts
//   traffic stop PID MILLISECONDS              holds that one thread of a process, prints `held`, lets it go
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PACKETS_MAX (1u << 22)
#define SIZE_LEAST 4
#define SIZE_MAX_UDP 1424
#define AT_ONCE 8
#define CATCH_UP 16
#define SOCKET_BUFFER (8 << 20)
#define NS_PER_S 1000000000LL
#define PAUSE_NS 2000000

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

static void rest(long long ns)
{
	struct timespec t = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };

	nanosleep(&t, NULL);
}

static int fail(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	return 1;
}

// The number, then bytes that depend on it and on where they stand.
static void fill(uint8_t *packet, size_t size, uint32_t number)
{
	memcpy(packet, &number, sizeof number);
	for (size_t i = sizeof number; i < size; i++)
		packet[i] = number * 31 + i * 7;
}

static size_t any_size(uint32_t number)
{
	return SIZE_LEAST + number * 37 % (SIZE_MAX_UDP - SIZE_LEAST + 1);
}

static int receive(int port)
{
	static uint8_t seen[PACKETS_MAX / 8], packet[65536], right[65536];
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct timeval patience = { .tv_usec = 50000 };
	unsigned int received = 0, repeated = 0, wrong = 0, highest = 0, marked = 0, late = 0;
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), size = SOCKET_BUFFER, one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof one) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof one) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return fail("bind");
	printf("ready\n");
	fflush(stdout);
	while (!ended) {
		char control[128];
		struct iovec part = { packet, sizeof packet };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
					  .msg_controllen = sizeof control };
		ssize_t length = recvmsg(fd, &message, 0);
		uint32_t number;

		if (length < 0)
			continue;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
			if (c->cmsg_type == IP_TOS || c->cmsg_type == IPV6_TCLASS)
				marked += (*(uint8_t *)CMSG_DATA(c) & 3) == 3;
		memcpy(&number, packet, sizeof number);
		if (length < SIZE_LEAST || number >= PACKETS_MAX) {
			wrong++;
			continue;
		}
		fill(right, length, number);
		wrong += memcmp(packet, right, length) != 0;
		repeated += seen[number / 8] >> (number % 8) & 1;
		received += !(seen[number / 8] >> (number % 8) & 1);
		seen[number / 8] |= 1 << number % 8;
		late += number < highest;
		highest = number > highest ? number : highest;
	}
	printf("{\"received\":%u,\"repeated\":%u,\"wrong\":%u,\"late\":%u,\"marked\":%u}\n", received, repeated, wrong,
	       late, marked);
	return 0;
}

static int send_all(char **words)
{
	static uint8_t packets[65536];
	bool is6 = strchr(words[0], ':');
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons(atoi(words[1])) };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = to4.sin_port };
	int fd = socket(is6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), tos = atoi(words[5]);
	int size = atoi(words[4]), at_once = size ? AT_ONCE : 1;
	long long rate = atoll(words[2]), begun, until;
	unsigned int sent = 0, refused = 0;

	inet_pton(AF_INET, words[0], &to4.sin_addr);
	inet_pton(AF_INET6, words[0], &to6.sin6_addr);
	if (fd < 0 || setsockopt(fd, is6 ? IPPROTO_IPV6 : IPPROTO_IP, is6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof tos) < 0 ||
	    connect(fd, is6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to4, is6 ? sizeof to6 : sizeof to4) < 0)
		return fail("connect");
	if (size > SIZE_MAX_UDP || (size && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) < 0))
		return fail("segments");
	printf("ready\n");
	fflush(stdout);
	begun = now_ns();
	until = begun + atoll(words[3]) * 1000000;
	for (long long now = begun; now < until && !ended && sent < PACKETS_MAX; now = now_ns()) {
		long long due = (now - begun) * rate / NS_PER_S;

		// Who was not let run for a while catches up slowly: a burst would overflow queues.
		for (int i = 0; sent + at_once <= due && i < CATCH_UP; i += at_once) {
			size_t each = size ? (size_t)size : any_size(sent);

			for (int k = 0; k < at_once; k++)
				fill(packets + k * each, each, sent + k);
			// A number that could not be sent comes again.
			if (send(fd, packets, at_once * each, 0) == (ssize_t)(at_once * each))
				sent += at_once;
			else
				refused++;
		}
		rest(PAUSE_NS);
	}
	printf("{\"sent\":%u,\"refused\":%u}\n", sent, refused);
	return 0;
}

static int stop(pid_t thread, int ms)
{
	int status;

	if (ptrace(PTRACE_SEIZE, thread, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, thread, 0, 0) < 0)
		return fail("ptrace");
	if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status))
		return fail("waitpid");
	printf("held\n");
	fflush(stdout);
	rest(ms * 1000000LL);
	return ptrace(PTRACE_DETACH, thread, 0, 0) < 0 ? fail("detach") : 0;
}

int main(int count, char **words)
{
	struct sigaction action = { .sa_handler = on_term };

	sigaction(SIGTERM, &action, NULL);
	if (count == 3 && strcmp(words[1], "receive") == 0)
		return receive(atoi(words[2]));
	if (count == 8 && strcmp(words[1], "send") == 0)
		return send_all(words + 2);
	if (count == 4 && strcmp(words[1], "stop") == 0)
		return stop(atoi(words[2]), atoi(words[3]));
	fprintf(stderr, "usage: traffic receive PORT | send IP PORT RATE MS SIZE TOS | stop PID MS\n");
	return 64;
}
