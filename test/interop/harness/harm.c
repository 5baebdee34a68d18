// SPDX-License-Identifier: Apache-2.0
// A UDP relay that means no good, at a high rate: beside what it passes on it sends, to both sides and from the other's
// own address, what becomes of a data packet that is cut, blown up, changed, repeated, or of another key or peer.
//   harm PORT HOST PORT RATE      listens on 127.0.0.1; RATE bad packets a second to each side, once it has seen some
// Prints `ready`; SIGUSR1 ends the harm and prints one line of JSON, the relay goes on.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define KEPT 64
#define DATAGRAM_MAX 65536
#define BLOWN_MAX 20000
#define BURST 16
#define SOCKET_BUFFER (8 << 20)
#define NS_PER_S 1000000000LL
#define P_DATA_V2 9

enum kind { CUT, BLOWN, CHANGED, REPEATED, OTHER_KEY, OTHER_PEER, OTHER_OPCODE, KINDS };

static const char *const NAMES[KINDS] = { "cut", "blown", "changed", "repeated", "otherKey", "otherPeer", "otherOpcode" };

// One way through the relay: data packets that went it.
struct way {
	int to;
	struct sockaddr_in address;
	uint8_t kept[KEPT][2048];
	size_t lengths[KEPT];
	unsigned int count;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
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

static void pass(const struct way *way, const uint8_t *bytes, size_t length)
{
	if (way->address.sin_port)
		sendto(way->to, bytes, length, MSG_DONTWAIT, (const struct sockaddr *)&way->address, sizeof way->address);
}

static void relay(int from, struct way *way, struct way *back)
{
	static uint8_t bytes[DATAGRAM_MAX];
	struct sockaddr_in sender;
	socklen_t size = sizeof sender;
	ssize_t length;

	while ((length = recvfrom(from, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&sender, &size)) >= 0) {
		back->address = sender;
		pass(way, bytes, length);
		if (length > 24 && length <= (ssize_t)sizeof way->kept[0] && bytes[0] >> 3 == P_DATA_V2) {
			memcpy(way->kept[way->count % KEPT], bytes, length);
			way->lengths[way->count++ % KEPT] = length;
		}
		size = sizeof sender;
	}
}

static void harm(const struct way *way, enum kind kind)
{
	static uint8_t bytes[DATAGRAM_MAX];
	unsigned int which = random() % (way->count < KEPT ? way->count : KEPT);
	size_t length = way->lengths[which];

	memcpy(bytes, way->kept[which], length);
	switch (kind) {
	case CUT:
		length = random() % length;
		break;
	case BLOWN:
		memset(bytes + length, 0x55, BLOWN_MAX - length);
		length += random() % (BLOWN_MAX - length);
		break;
	case CHANGED:
		// The first eight bytes say whose it is; behind them everything is under the tag.
		bytes[8 + random() % (length - 8)] ^= 1 << random() % 8;
		break;
	case OTHER_KEY:
		bytes[0] ^= 1 + random() % 7;
		break;
	case OTHER_PEER:
		bytes[1] ^= 1 + random() % 255;
		break;
	case OTHER_OPCODE:
		bytes[0] ^= (1 + random() % 31) << 3;
		break;
	default:
		break;
	}
	pass(way, bytes, length);
}

static int listener(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(port ? INADDR_LOOPBACK : INADDR_ANY) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = SOCKET_BUFFER;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		fprintf(stderr, "harm: %s\n", strerror(errno));
		exit(1);
	}
	return fd;
}

static void report(const unsigned int *sent)
{
	for (int i = 0; i < KINDS; i++)
		printf("%s\"%s\":%u", i ? "," : "{", NAMES[i], sent[i]);
	printf("}\n");
	fflush(stdout);
}

int main(int count, char **words)
{
	static struct way outward, inward;
	struct sigaction action = { .sa_handler = on_signal };
	unsigned int sent[KINDS] = { 0 };
	bool is_told = false;
	long long due = 0, rate;
	struct pollfd fds[2];

	if (count != 5)
		return 64;
	sigaction(SIGUSR1, &action, NULL);
	rate = atoll(words[4]);
	fds[0] = (struct pollfd){ .fd = listener(atoi(words[1])), .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = listener(0), .events = POLLIN };
	outward.to = fds[1].fd;
	inward.to = fds[0].fd;
	outward.address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(atoi(words[3])) };
	inet_pton(AF_INET, words[2], &outward.address.sin_addr);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		long long now;

		poll(fds, 2, 1);
		relay(fds[0].fd, &outward, &inward);
		relay(fds[1].fd, &inward, &(struct way){ 0 });
		if (ended) {
			if (!is_told)
				report(sent);
			is_told = true;
			continue;
		}
		now = now_ns();
		if (!outward.count || !inward.count || now - due > NS_PER_S / 10)
			due = now;
		for (int i = 0; outward.count && inward.count && due < now && i < BURST; i++) {
			enum kind kind = random() % KINDS;

			harm(&outward, kind);
			harm(&inward, kind);
			sent[kind] += 2;
			due += NS_PER_S / rate;
		}
	}
}
