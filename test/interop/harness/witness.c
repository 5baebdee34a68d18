// SPDX-License-Identifier: Apache-2.0
// What leaves by one Ethernet device, looked at on the wire.
//   witness DEVICE ADDRESS     prints `ready`; on SIGTERM one line of JSON: packets to this IPv4 address, questions to
//                              name servers, and everything else that is IP, but for what neighbours say to each other
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER4 20
#define HEADER6 40
#define NAME_SERVER 53

static volatile sig_atomic_t ended;
static unsigned tunnel, names, clear;
static char first[INET6_ADDRSTRLEN];

static void on_term(int number)
{
	(void)number;
	ended = 1;
}

static void count(const uint8_t *packet, size_t length, uint32_t server)
{
	int six = length > 0 && packet[0] >> 4 == 6;
	size_t header = six ? HEADER6 : HEADER4;
	unsigned protocol, to;

	if (length < header + 8)
		return;
	protocol = packet[six ? 6 : 9];
	to = (unsigned)packet[header + 2] << 8 | packet[header + 3];
	// Neighbours and routers talk with a hop limit of 255, group members behind a hop-by-hop header.
	if (six && ((protocol == IPPROTO_ICMPV6 && packet[7] == 255) || protocol == IPPROTO_HOPOPTS))
		return;
	if (!six && memcmp(packet + 16, &server, 4) == 0) {
		tunnel++;
	} else if (protocol == IPPROTO_UDP && to == NAME_SERVER) {
		names++;
	} else if (clear++ == 0) {
		inet_ntop(six ? AF_INET6 : AF_INET, packet + (six ? 24 : 16), first, sizeof(first));
	}
}

int main(int words_count, char **words)
{
	// No restart: the signal must end recvfrom.
	struct sigaction action = { .sa_handler = on_term };
	struct sockaddr_ll from, place = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	uint8_t packet[65536];
	int fd;

	if (words_count != 3) {
		fprintf(stderr, "usage: witness DEVICE ADDRESS\n");
		return 64;
	}
	sigaction(SIGTERM, &action, NULL);
	place.sll_ifindex = (int)if_nametoindex(words[1]);
	fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
	if (place.sll_ifindex == 0 || fd < 0 || bind(fd, (struct sockaddr *)&place, sizeof(place)) < 0) {
		perror("witness");
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	while (!ended) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &size);
		int is_ip;

		if (n < 0 && errno != EINTR)
			return 1;
		is_ip = from.sll_protocol == htons(ETH_P_IP) || from.sll_protocol == htons(ETH_P_IPV6);
		if (n > 0 && is_ip && from.sll_pkttype == PACKET_OUTGOING)
			count(packet, (size_t)n, inet_addr(words[2]));
	}
	printf("{\"tunnel\":%u,\"names\":%u,\"clear\":%u,\"first\":\"%s\"}\n", tunnel, names, clear, first);
	return 0;
}
