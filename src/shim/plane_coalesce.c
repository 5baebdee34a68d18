/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins received packets of one flow into super-packets for the TUN device: TCP segments that follow each other, and UDP
 * datagrams of one size. Only what the kernel would cut into exactly the same packets again is joined: everything in the
 * headers is equal but what cutting makes anew. A checksum is verified before, for afterwards nobody can any more.
 *
 * Packets stay where they were decrypted; a super-packet is a list of their pieces. Order within a flow is kept: what
 * cannot be joined is written after what waits of its flow.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "plane_segment.h"

#define FLOWS 16
#define JOINED_MAX 64
/* Headers of IPv4 or IPv6 without options, and TCP with all of its own. */
#define HEADER_MAX 100
#define TOTAL_MAX 65535
#define TCP_ACK 0x10
#define TCP_PSH 0x08

struct flow {
	uint8_t *first;
	/* As it came, should the kernel take no super-packets. */
	uint8_t header[HEADER_MAX];
	size_t header_length, transport_at, total;
	uint8_t protocol;
	uint32_t next_sequence;
	uint16_t size, next_id;
	bool is_closed, has_push;
	int count;
	struct iovec parts[JOINED_MAX];
};

struct flows {
	flows_write write;
	void *context;
	bool tcp, udp;
	int used, next;
	struct flow flows[FLOWS];
};

struct flows *flows_new(flows_write write, void *context)
{
	struct flows *flows = calloc(1, sizeof(*flows));

	if (flows)
		*flows = (struct flows){ .write = write, .context = context };
	return flows;
}

void flows_free(struct flows *flows)
{
	free(flows);
}

void flows_join(struct flows *flows, bool tcp, bool udp)
{
	flows->tcp = tcp;
	flows->udp = udp;
}

/* The virtio header lies in front of the packet, over what was the tag. */
static void write_one(const struct flows *flows, uint8_t *packet, size_t length)
{
	struct iovec part = { packet - TUN_HEADER_LENGTH, length + TUN_HEADER_LENGTH };

	memset(part.iov_base, 0, TUN_HEADER_LENGTH);
	flows->write(flows->context, &part, 1);
}

/* Makes the first packet's header that of the super-packet. */
static void join_header(struct flow *flow)
{
	struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_size = flow->size,
					 .hdr_len = flow->header_length, .csum_start = flow->transport_at };
	uint8_t *packet = flow->first, *transport = packet + flow->transport_at;
	bool is_ip4 = packet[0] >> 4 == 4, is_udp = flow->protocol == IPPROTO_UDP;
	uint16_t sum;

	header.gso_type = is_udp ? GSO_UDP_L4 : is_ip4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	header.csum_offset = is_udp ? 6 : 16;
	memcpy(packet - TUN_HEADER_LENGTH, &header, TUN_HEADER_LENGTH);
	if (is_ip4) {
		store16(packet + 2, flow->total);
		memset(packet + 10, 0, 2);
		sum = ~checksum_fold(checksum_add(0, packet, 20));
		memcpy(packet + 10, &sum, 2);
	} else {
		store16(packet + 4, flow->total - 40);
	}
	if (is_udp)
		store16(transport + 4, flow->total - flow->transport_at);
	else if (flow->has_push)
		transport[13] |= TCP_PSH;
	sum = checksum_fold(checksum_pseudo(packet, flow->protocol, flow->total - flow->transport_at));
	memcpy(transport + header.csum_offset, &sum, 2);
}

static void flush(const struct flows *flows, struct flow *flow)
{
	if (flow->count > 1) {
		join_header(flow);
		flow->parts[0].iov_base = flow->first - TUN_HEADER_LENGTH;
		flow->parts[0].iov_len += TUN_HEADER_LENGTH;
		if (flows->write(flows->context, flow->parts, flow->count) != -EINVAL) {
			flow->count = 0;
			return;
		}
		memcpy(flow->first, flow->header, flow->header_length);
		flow->parts[0].iov_len -= TUN_HEADER_LENGTH;
		flow->parts[0].iov_base = flow->first;
	}
	for (int i = 0; i < flow->count; i++) {
		size_t ahead = i ? flow->header_length : 0;

		write_one(flows, (uint8_t *)flow->parts[i].iov_base - ahead, flow->parts[i].iov_len + ahead);
	}
	flow->count = 0;
}

void flows_flush(struct flows *flows)
{
	for (int i = 0; i < flows->used; i++)
		if (flows->flows[i].count)
			flush(flows, &flows->flows[i]);
	flows->used = flows->next = 0;
}

/* Addresses and ports are those of the flow. */
static bool is_same_flow(const struct flow *flow, const uint8_t *packet, size_t at, uint8_t protocol)
{
	size_t from = packet[0] >> 4 == 4 ? 12 : 8, size = packet[0] >> 4 == 4 ? 8 : 32;

	return flow->count && flow->protocol == protocol && flow->header[0] >> 4 == packet[0] >> 4 &&
	       memcmp(flow->header + from, packet + from, size) == 0 &&
	       memcmp(flow->header + flow->transport_at, packet + at, 4) == 0;
}

/* Everything that cutting would not make anew is equal. */
static bool is_alike(const struct flow *flow, const uint8_t *packet, size_t at, size_t header_length)
{
	const uint8_t *a = flow->header, *b = packet;

	if (flow->header_length != header_length || flow->transport_at != at)
		return false;
	/* IPv4: all but length, id and checksum. IPv6: all but the length. */
	if (a[0] >> 4 == 4 ? memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 4) != 0 :
			     memcmp(a, b, 4) != 0 || memcmp(a + 6, b + 6, 2) != 0)
		return false;
	if (flow->protocol == IPPROTO_UDP)
		return true;
	a += at;
	b += at;
	/* Acknowledgement, offset, window, options; flags were checked. */
	return memcmp(a + 8, b + 8, 5) == 0 && memcmp(a + 14, b + 14, 2) == 0 &&
	       memcmp(a + 20, b + 20, header_length - at - 20) == 0;
}

/* A packet that may be the first of a super-packet or one of it; its headers' length in `header_length`. */
static bool is_joinable(const struct flows *flows, const uint8_t *packet, size_t length, size_t at, uint8_t protocol,
			size_t *header_length)
{
	const uint8_t *transport = packet + at;
	bool is_ip4 = packet[0] >> 4 == 4;
	size_t size = 8;

	if ((is_ip4 ? load16(packet + 2) : load16(packet + 4) + 40u) != length || (is_ip4 && at != 20))
		return false;
	if (protocol == IPPROTO_TCP && flows->tcp && length >= at + 20) {
		size = (transport[12] >> 4) * 4;
		/* ACK, perhaps PSH, and nothing else; no ECN bit in the offset's neighbour. */
		if ((transport[13] & ~TCP_PSH) != TCP_ACK || (transport[12] & 0x0f) || size < 20)
			return false;
	} else if (protocol != IPPROTO_UDP || !flows->udp || length < at + 8 || load16(transport + 6) == 0 ||
		   load16(transport + 4) != length - at) {
		return false;
	}
	*header_length = at + size;
	if (*header_length >= length || *header_length > HEADER_MAX)
		return false;
	if (is_ip4 && checksum_fold(checksum_add(0, packet, 20)) != 0xffff)
		return false;
	return checksum_fold(checksum_add(checksum_pseudo(packet, protocol, length - at), transport, length - at)) == 0xffff;
}

static void begin(struct flow *flow, uint8_t *packet, size_t length, size_t at, uint8_t protocol, size_t header_length)
{
	flow->first = packet;
	memcpy(flow->header, packet, header_length);
	flow->header_length = header_length;
	flow->transport_at = at;
	flow->protocol = protocol;
	flow->total = length;
	flow->size = length - header_length;
	flow->count = 1;
	flow->parts[0] = (struct iovec){ packet, length };
	flow->has_push = false;
	flow->is_closed = false;
	flow->next_id = load16(packet + 4) + 1;
	if (protocol == IPPROTO_TCP) {
		flow->next_sequence = load32(packet + at + 4) + flow->size;
		flow->is_closed = flow->has_push = packet[at + 13] & TCP_PSH;
	}
}

/* True: it is part of the flow's super-packet now. */
static bool join(struct flow *flow, uint8_t *packet, size_t length, size_t at, size_t header_length)
{
	size_t size = length - header_length;

	if (flow->is_closed || flow->count == JOINED_MAX || size > flow->size || flow->total + size > TOTAL_MAX ||
	    !is_alike(flow, packet, at, header_length))
		return false;
	if (flow->protocol == IPPROTO_TCP && load32(packet + at + 4) != flow->next_sequence)
		return false;
	/* Cutting numbers packets one by one; where they may be fragmented later, numbers must stay as they are. */
	if (packet[0] >> 4 == 4 && !(packet[6] & 0x40) && load16(packet + 4) != flow->next_id)
		return false;
	flow->next_id++;
	flow->parts[flow->count++] = (struct iovec){ packet + header_length, size };
	flow->total += size;
	flow->next_sequence += size;
	flow->has_push = flow->protocol == IPPROTO_TCP && packet[at + 13] & TCP_PSH;
	/* A short one is the last of what is cut, and so is one that the sender pushed. */
	flow->is_closed = size < flow->size || flow->has_push;
	return true;
}

void flows_add(struct flows *flows, uint8_t *packet, size_t length)
{
	uint8_t protocol = 0;
	size_t at = packet_transport(packet, length, &protocol), header_length = 0;
	bool has_ports = at && (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) && length >= at + 4;
	bool joins = has_ports && is_joinable(flows, packet, length, at, protocol, &header_length);
	struct flow *flow = NULL;

	for (int i = 0; i < flows->used && has_ports; i++)
		if (is_same_flow(&flows->flows[i], packet, at, protocol))
			flow = &flows->flows[i];
	if (flow && joins && join(flow, packet, length, at, header_length))
		return;
	if (flow)
		flush(flows, flow);
	/* A fragment may belong to any flow. */
	else if (!has_ports)
		flows_flush(flows);
	if (!joins) {
		write_one(flows, packet, length);
		return;
	}
	if (!flow && flows->used < FLOWS) {
		flow = &flows->flows[flows->used++];
	} else if (!flow) {
		flow = &flows->flows[flows->next++ % FLOWS];
		if (flow->count)
			flush(flows, flow);
	}
	begin(flow, packet, length, at, protocol, header_length);
}
