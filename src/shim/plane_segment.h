/* SPDX-License-Identifier: Apache-2.0 */
/* IP packets and the super-packets that TUN gives and takes: a virtio header of 10 bytes, and a packet to be cut. */
#ifndef OVPND_PLANE_SEGMENT_H
#define OVPND_PLANE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define TUN_HEADER_LENGTH 10
/* For headers older than the kernel: linux/virtio_net.h. */
#define GSO_UDP_L4 5

/* Network order. */
static inline uint16_t load16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static inline uint32_t load32(const uint8_t *at)
{
	return (uint32_t)load16(at) << 16 | load16(at + 2);
}

static inline void store16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

/* plane_segment.c: pure. */
uint64_t checksum_add(uint64_t sum, const uint8_t *bytes, size_t length);
uint16_t checksum_fold(uint64_t sum);
/* Sum of the pseudo header of the transport at `packet` (IPv4 or IPv6) with `length` bytes. */
uint64_t checksum_pseudo(const uint8_t *packet, uint8_t protocol, size_t length);
/* Where the transport of an unfragmented packet begins and which it is; 0: none, or not to be understood. */
size_t packet_transport(const uint8_t *packet, size_t length, uint8_t *protocol);
/* Lowers the MSS option of a SYN to `mss`; the checksum is complete before and after. */
void packet_clamp(uint8_t *packet, size_t length, int mss4, int mss6);
/* Congestion Experienced (RFC 3168) for a sender that understands it; false: it does not. */
bool packet_mark(uint8_t *packet, size_t length);

struct segments {
	uint8_t *packet, *next;
	size_t header_length, transport_at, payload_left, size;
	uint8_t protocol;
	uint32_t sequence, index;
	uint16_t ip_id;
	uint8_t tcp_flags;
	uint8_t header[256];
};
/*
 * Prepares a frame (virtio header, packet) for being sent in packets of at most `limit4`/`limit6` bytes of TCP payload
 * (0: no limit). False: the header lies.
 */
bool segments_begin(struct segments *segments, uint8_t *frame, size_t length, int limit4, int limit6);
/*
 * The next packet with complete checksums, its length in `length`; NULL after the last. It lies in the frame and
 * overwrites what came before it.
 */
uint8_t *segments_next(struct segments *segments, size_t *length);

/* plane_coalesce.c: packets stay where they are until the flush. */
/* Takes a frame, a virtio header and a packet. 0 or -errno; -EINVAL: no super-packets, the packets come again one by one. */
typedef int (*flows_write)(void *context, const struct iovec *parts, int count);
struct flows *flows_new(flows_write write, void *context);
void flows_free(struct flows *flows);
/* Takes an IP packet with room for 10 bytes in front of it; what cannot be joined is written at once. */
void flows_add(struct flows *flows, uint8_t *packet, size_t length);
void flows_flush(struct flows *flows);
/* Which transports are joined. */
void flows_join(struct flows *flows, bool tcp, bool udp);

#endif
