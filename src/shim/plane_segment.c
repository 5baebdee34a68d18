/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internet checksums, cutting of super-packets into packets, and the MSS option (RFC 791, 8200, 9293, 768; virtio 1.2,
 * 5.1.6 for the header that TUN puts in front).
 */
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>

#include "plane_segment.h"

#define FIN_PSH 0x09
#define CWR 0x80
#define SYN_RST_URG 0x26
/* Nothing that a kernel makes is cut smaller. */
#define SIZE_MIN 8

/* A shape that compilers turn into vector code; the sum is of native 32-bit words, folded at the end. */
__attribute__((optimize("O3"))) uint64_t checksum_add(uint64_t sum, const uint8_t *bytes, size_t length)
{
	uint32_t word;
	uint16_t half = 0;
	size_t i = 0;

	for (; i + 4 <= length; i += 4) {
		memcpy(&word, bytes + i, 4);
		sum += word;
	}
	if (i + 2 <= length) {
		memcpy(&half, bytes + i, 2);
		sum += half;
		i += 2;
	}
	if (i < length) {
		half = 0;
		memcpy(&half, bytes + i, 1);
		sum += half;
	}
	return sum;
}

/* The one's complement sum in native order, not inverted. */
uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

uint64_t checksum_pseudo(const uint8_t *packet, uint8_t protocol, size_t length)
{
	uint8_t tail[8] = { length >> 24, length >> 16, length >> 8, length, 0, 0, 0, protocol };
	bool is_ip4 = packet[0] >> 4 == 4;

	return checksum_add(checksum_add(0, packet + (is_ip4 ? 12 : 8), is_ip4 ? 8 : 32), tail, sizeof(tail));
}

static void put_checksum(uint8_t *at, uint64_t sum, uint8_t protocol)
{
	uint16_t value = ~checksum_fold(sum);

	/* In UDP zero means none. */
	if (value == 0 && protocol == IPPROTO_UDP)
		value = 0xffff;
	memcpy(at, &value, 2);
}

/* Native order, to be added to a sum. */
static uint16_t native16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, 2);
	return value;
}

size_t packet_transport(const uint8_t *packet, size_t length, uint8_t *protocol)
{
	size_t at;

	if (length >= 20 && packet[0] >> 4 == 4) {
		at = (packet[0] & 15) * 4;
		*protocol = packet[9];
		/* Not the first fragment, or more to come. */
		return at < 20 || at >= length || load16(packet + 6) & 0x3fff ? 0 : at;
	}
	if (length > 40 && packet[0] >> 4 == 6) {
		*protocol = packet[6];
		return 40;
	}
	return 0;
}

static size_t header_length_of(const uint8_t *packet, size_t length, size_t at, uint8_t protocol)
{
	size_t size = protocol == IPPROTO_UDP ? 8 : at + 20 <= length ? (packet[at + 12] >> 4) * 4u : 0;

	return size < (protocol == IPPROTO_UDP ? 8u : 20u) || at + size > length ? 0 : at + size;
}

void packet_clamp(uint8_t *packet, size_t length, int mss4, int mss6)
{
	uint8_t protocol, *option, *end, *checksum;
	size_t at = packet_transport(packet, length, &protocol), header;
	int limit = length && packet[0] >> 4 == 4 ? mss4 : mss6;
	uint64_t sum;

	if (at == 0 || protocol != IPPROTO_TCP || limit <= 0)
		return;
	header = header_length_of(packet, length, at, protocol);
	if (header == 0 || !(packet[at + 13] & 0x02))
		return;
	option = packet + at + 20;
	end = packet + header;
	checksum = packet + at + 16;
	while (option < end && *option != 0) {
		if (*option == 1) {
			option++;
			continue;
		}
		if (end - option < 2 || option[1] < 2 || option[1] > end - option)
			return;
		if (*option == 2 && option[1] == 4 && load16(option + 2) > limit) {
			/* RFC 1624; the option may begin at an odd place, so both words it touches are exchanged. */
			uint8_t *from = option + 2 - ((option + 2 - packet - at) & 1);
			size_t touched = (option + 2 - packet - at) & 1 ? 4 : 2;

			sum = (uint16_t)~native16(checksum);
			for (size_t i = 0; i < touched; i += 2)
				sum += (uint16_t)~native16(from + i);
			store16(option + 2, limit);
			sum = checksum_add(sum, from, touched);
			put_checksum(checksum, sum, protocol);
			return;
		}
		option += option[1];
	}
}

bool packet_mark(uint8_t *packet, size_t length)
{
	size_t header = length ? (packet[0] & 15) * 4u : 0;

	if (length >= 40 && packet[0] >> 4 == 6 && packet[1] & 0x30) {
		packet[1] |= 0x30;
		return true;
	}
	if (length < 20 || packet[0] >> 4 != 4 || header < 20 || header > length || !(packet[1] & 3))
		return false;
	packet[1] |= 3;
	memset(packet + 10, 0, 2);
	put_checksum(packet + 10, checksum_add(0, packet, header), 0);
	return true;
}

/* Finishes the checksum that the kernel left to the device. */
static bool complete(uint8_t *packet, size_t length, const struct virtio_net_hdr *header)
{
	size_t start = header->csum_start, at = start + header->csum_offset;
	uint64_t sum;

	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (at + 2 > length || start >= length)
		return false;
	/* The field holds the sum of the pseudo header. */
	sum = checksum_add(0, packet + start, length - start);
	put_checksum(packet + at, sum, header->csum_offset == 6 ? IPPROTO_UDP : IPPROTO_TCP);
	return true;
}

/* Whether a packet that is not the kernel's own has a right checksum: cutting would make a wrong one right. */
static bool is_intact(const uint8_t *packet, size_t length, size_t at, uint8_t protocol)
{
	size_t size = length - at;

	return checksum_fold(checksum_add(checksum_pseudo(packet, protocol, size), packet + at, size)) == 0xffff;
}

bool segments_begin(struct segments *s, uint8_t *frame, size_t length, int limit4, int limit6)
{
	struct virtio_net_hdr header;
	uint8_t gso, *packet = frame + TUN_HEADER_LENGTH;
	size_t size, limit;
	bool is_ip4;

	memcpy(&header, frame, sizeof(header));
	length -= TUN_HEADER_LENGTH;
	memset(s, 0, offsetof(struct segments, header));
	s->packet = s->next = packet;
	s->payload_left = length;
	is_ip4 = packet[0] >> 4 == 4;
	gso = header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	s->transport_at = packet_transport(packet, length, &s->protocol);
	/* Behind extension headers only the kernel knows. */
	if (gso != VIRTIO_NET_HDR_GSO_NONE && !is_ip4 && header.csum_start >= 40 && header.csum_start < length) {
		s->transport_at = header.csum_start;
		s->protocol = gso == GSO_UDP_L4 ? IPPROTO_UDP : IPPROTO_TCP;
	}
	if (s->transport_at)
		s->header_length = header_length_of(packet, length, s->transport_at, s->protocol);
	size = header.gso_size;
	limit = is_ip4 ? limit4 : limit6;
	if (gso == VIRTIO_NET_HDR_GSO_NONE) {
		size = length;
		/* What is no longer than the limit is not looked at further. */
		if (s->header_length == 0 || s->protocol != IPPROTO_TCP || limit == 0 || length - s->header_length <= limit ||
		    packet[s->transport_at + 13] & SYN_RST_URG ||
		    (!(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !is_intact(packet, length, s->transport_at, s->protocol)))
			return complete(packet, length, &header);
	} else if (gso != (s->protocol == IPPROTO_UDP ? GSO_UDP_L4 : is_ip4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6) ||
		   s->header_length == 0 || s->header_length > sizeof(s->header) || size < SIZE_MIN ||
		   (s->protocol != IPPROTO_UDP && s->protocol != IPPROTO_TCP)) {
		return false;
	}
	if (s->header_length > sizeof(s->header))
		return complete(packet, length, &header);
	if (s->protocol == IPPROTO_TCP && limit && size > limit)
		size = limit;
	s->size = size;
	s->payload_left = length - s->header_length;
	memcpy(s->header, packet, s->header_length);
	s->next = packet + s->header_length;
	s->ip_id = is_ip4 ? load16(packet + 4) : 0;
	if (s->protocol == IPPROTO_TCP) {
		s->sequence = (uint32_t)load16(packet + s->transport_at + 4) << 16 | load16(packet + s->transport_at + 6);
		s->tcp_flags = packet[s->transport_at + 13];
	}
	return true;
}

static void set_ip(struct segments *s, uint8_t *packet, size_t length)
{
	if (packet[0] >> 4 == 6) {
		store16(packet + 4, length - 40);
		return;
	}
	store16(packet + 2, length);
	store16(packet + 4, s->ip_id + s->index);
	memset(packet + 10, 0, 2);
	put_checksum(packet + 10, checksum_add(0, packet, (packet[0] & 15) * 4), 0);
}

static void set_transport(struct segments *s, uint8_t *packet, size_t length, bool is_last)
{
	uint8_t *transport = packet + s->transport_at;
	size_t size = length - s->transport_at, checksum_at = s->protocol == IPPROTO_UDP ? 6 : 16;
	uint32_t sequence = s->sequence + s->index * s->size;

	if (s->protocol == IPPROTO_UDP) {
		store16(transport + 4, size);
	} else {
		store16(transport + 4, sequence >> 16);
		store16(transport + 6, sequence);
		/* FIN and PSH belong to the last, CWR to the first. */
		transport[13] = s->tcp_flags & ~(is_last ? 0 : FIN_PSH) & ~(s->index ? CWR : 0);
	}
	memset(transport + checksum_at, 0, 2);
	put_checksum(transport + checksum_at,
		     checksum_add(checksum_pseudo(packet, s->protocol, size), transport, size), s->protocol);
}

uint8_t *segments_next(struct segments *s, size_t *length)
{
	uint8_t *packet;
	size_t part;
	bool is_last;

	if (!s->next)
		return NULL;
	if (s->size == 0) {
		*length = s->payload_left;
		s->next = NULL;
		return s->packet;
	}
	part = s->payload_left < s->size ? s->payload_left : s->size;
	is_last = part == s->payload_left;
	packet = s->next - s->header_length;
	/* Over the end of the packet before it, which has been sent. */
	memcpy(packet, s->header, s->header_length);
	*length = s->header_length + part;
	set_ip(s, packet, *length);
	set_transport(s, packet, *length, is_last);
	s->index++;
	s->payload_left -= part;
	s->next = is_last ? NULL : s->next + part;
	return packet;
}
