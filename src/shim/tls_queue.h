/* SPDX-License-Identifier: Apache-2.0 */
/* What waits between a TLS session and the wire. Between handshakes, which is nearly always, a queue holds no memory. */
#ifndef OVPND_TLS_QUEUE_H
#define OVPND_TLS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes in order; those before `start` are used up. All zero: empty. */
struct tls_queue {
	uint8_t *data;
	size_t start, end, room;
};

static inline size_t tls_queue_length(const struct tls_queue *queue)
{
	return queue->end - queue->start;
}

/* Copies; false: no memory, and nothing was taken. */
bool tls_queue_put(struct tls_queue *queue, const uint8_t *bytes, size_t length);
/* Takes at most `room` bytes; how many. */
size_t tls_queue_take(struct tls_queue *queue, uint8_t *out, size_t room);
void tls_queue_free(struct tls_queue *queue);

#endif
