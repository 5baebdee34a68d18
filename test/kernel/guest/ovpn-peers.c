// SPDX-License-Identifier: Apache-2.0
// Prints what the kernel holds for one interface of the `ovpn` module, as JSON: its peers, each with its keys. It shares
// no line with ovpnd, so that the two can be held against each other.
//   ovpn-peers DEVICE

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The machine's headers may be older than the module.
enum { CMD_PEER_GET = 3, CMD_KEY_GET = 7 };
enum { A_IFINDEX = 1, A_PEER = 2, A_KEYCONF = 3 };
enum { KEY_PEER_ID = 1, KEY_SLOT = 2, KEY_ID = 3, KEY_CIPHER = 4 };
#define PEER_ATTRS 32
#define PEERS_MAX 4096

static int fd;
static uint16_t family;
static unsigned ifindex;
static uint32_t ids[PEERS_MAX];
static int count;

struct request {
	struct nlmsghdr header;
	struct genlmsghdr genl;
	uint8_t attrs[128];
};

static void fail(const char *what)
{
	fprintf(stderr, "ovpn-peers: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *add(struct request *request, uint16_t type, const void *data, uint16_t length)
{
	struct nlattr *attr = (struct nlattr *)((uint8_t *)request + request->header.nlmsg_len);
	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + length;
	if (length > 0) memcpy(attr + 1, data, length);
	request->header.nlmsg_len += NLA_ALIGN(attr->nla_len);
	return attr;
}

static struct request make(uint16_t type, uint8_t command, uint16_t flags)
{
	struct request request = {.header = {.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN, .nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | flags}, .genl = {.cmd = command, .version = 1}};
	return request;
}

// Sends it and gives every answer to `take`; the negative errno, or 0.
static int ask(struct request *request, void (*take)(struct nlattr *, int, void *), void *context)
{
	static uint8_t buffer[65536];
	int many = request->header.nlmsg_flags & NLM_F_DUMP;
	if (send(fd, request, request->header.nlmsg_len, 0) < 0) fail("send");
	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		if (n < 0) fail("recv");
		for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE) return 0;
			if (h->nlmsg_type == NLMSG_ERROR) return *(int *)NLMSG_DATA(h);
			take((void *)((uint8_t *)NLMSG_DATA(h) + GENL_HDRLEN), h->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN,
				context);
			if (!many) return 0;
		}
	}
}

static void split(struct nlattr *attr, int length, struct nlattr **table, int size)
{
	memset(table, 0, size * sizeof(*table));
	while (length >= NLA_HDRLEN && attr->nla_len >= NLA_HDRLEN && attr->nla_len <= length) {
		int type = attr->nla_type & NLA_TYPE_MASK;
		if (type < size) table[type] = attr;
		length -= NLA_ALIGN(attr->nla_len);
		attr = (void *)((uint8_t *)attr + NLA_ALIGN(attr->nla_len));
	}
}

static uint64_t number(const struct nlattr *attr)
{
	uint32_t half;
	uint64_t whole = 0;
	if (attr == NULL) return 0;
	if (attr->nla_len >= NLA_HDRLEN + 8) memcpy(&whole, attr + 1, 8);
	else if (attr->nla_len >= NLA_HDRLEN + 4) whole = (memcpy(&half, attr + 1, 4), half);
	return whole;
}

static void take_family(struct nlattr *attr, int length, void *context)
{
	struct nlattr *table[8];
	(void)context;
	split(attr, length, table, 8);
	if (table[CTRL_ATTR_FAMILY_ID] != NULL) memcpy(&family, table[CTRL_ATTR_FAMILY_ID] + 1, 2);
}

static void address(const char *name, int kind, const struct nlattr *attr)
{
	char text[INET6_ADDRSTRLEN];
	if (attr == NULL) return;
	printf(",\"%s\":\"%s\"", name, inet_ntop(kind, attr + 1, text, sizeof(text)));
}

static void take_peer(struct nlattr *attr, int length, void *context)
{
	static const char *const counters[] = {"vpn_rx_bytes", "vpn_tx_bytes", "vpn_rx_packets", "vpn_tx_packets",
		"link_rx_bytes", "link_tx_bytes", "link_rx_packets", "link_tx_packets"};
	struct nlattr *top[4], *peer[PEER_ATTRS];
	(void)context;
	split(attr, length, top, 4);
	if (top[A_PEER] == NULL || count == PEERS_MAX) return;
	split(top[A_PEER] + 1, top[A_PEER]->nla_len - NLA_HDRLEN, peer, PEER_ATTRS);
	ids[count] = number(peer[1]);
	printf("%s{\"id\":%u", count++ == 0 ? "" : ",\n", (unsigned)number(peer[1]));
	address("remote", AF_INET, peer[2]);
	address("remote", AF_INET6, peer[3]);
	if (peer[5] != NULL) printf(",\"remote_port\":%u", ntohs(*(uint16_t *)(peer[5] + 1)));
	address("vpn4", AF_INET, peer[8]);
	address("vpn6", AF_INET6, peer[9]);
	printf(",\"interval\":%u,\"timeout\":%u", (unsigned)number(peer[13]), (unsigned)number(peer[14]));
	for (int i = 0; i < 8; i++) printf(",\"%s\":%llu", counters[i], (unsigned long long)number(peer[16 + i]));
	printf("}");
}

static void take_key(struct nlattr *attr, int length, void *context)
{
	struct nlattr *top[4], *key[8];
	split(attr, length, top, 4);
	if (top[A_KEYCONF] == NULL) return;
	split(top[A_KEYCONF] + 1, top[A_KEYCONF]->nla_len - NLA_HDRLEN, key, 8);
	int *printed = context;
	printf("%s{\"peer\":%u,\"slot\":%u,\"key_id\":%u,\"cipher\":%u}", (*printed)++ == 0 ? "" : ",\n",
		(unsigned)number(key[KEY_PEER_ID]), (unsigned)number(key[KEY_SLOT]), (unsigned)number(key[KEY_ID]),
		(unsigned)number(key[KEY_CIPHER]));
}

static void ask_key(uint32_t peer, uint32_t slot, int *printed)
{
	struct request request = make(family, CMD_KEY_GET, 0);
	add(&request, A_IFINDEX, &ifindex, 4);
	struct nlattr *nest = add(&request, A_KEYCONF | NLA_F_NESTED, NULL, 0);
	add(&request, KEY_PEER_ID, &peer, 4);
	add(&request, KEY_SLOT, &slot, 4);
	nest->nla_len = (uint8_t *)&request + request.header.nlmsg_len - (uint8_t *)nest;
	int error = ask(&request, take_key, printed);
	// An empty slot, or a peer that has just gone.
	if (error != 0 && error != -ENOENT) {
		errno = -error;
		fail("key");
	}
}

int main(int argc, char **argv)
{
	if (argc != 2) return 64;
	ifindex = if_nametoindex(argv[1]);
	if (ifindex == 0) fail(argv[1]);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0) fail("socket");
	struct request request = make(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	add(&request, CTRL_ATTR_FAMILY_NAME, "ovpn", 5);
	int error = ask(&request, take_family, NULL);
	if (error == 0) {
		request = make(family, CMD_PEER_GET, NLM_F_DUMP);
		add(&request, A_IFINDEX, &ifindex, 4);
		printf("{\"peers\":[");
		error = ask(&request, take_peer, NULL);
	}
	if (error != 0) {
		errno = -error;
		fail("peers");
	}
	int printed = 0;
	printf("],\n\"keys\":[");
	for (int i = 0; i < count; i++)
		for (uint32_t slot = 0; slot < 2; slot++) ask_key(ids[i], slot, &printed);
	printf("]}\n");
	return 0;
}
