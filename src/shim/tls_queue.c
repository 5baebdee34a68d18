/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_queue.h"

#include <stdlib.h>
#include <string.h>

bool tls_queue_put(struct tls_queue *queue, const uint8_t *bytes, size_t length)
{
	size_t held = tls_queue_length(queue);
	uint8_t *larger;

	if (queue->room - queue->end < length && queue->start > 0) {
		memmove(queue->data, queue->data + queue->start, held);
		queue->start = 0;
		queue->end = held;
	}
	if (queue->room - queue->end < length) {
		larger = realloc(queue->data, held + length);
		if (!larger)
			return false;
		queue->data = larger;
		queue->room = held + length;
	}
	memcpy(queue->data + queue->end, bytes, length);
	queue->end += length;
	return true;
}

size_t tls_queue_take(struct tls_queue *queue, uint8_t *out, size_t room)
{
	size_t length = tls_queue_length(queue);

	if (length > room)
		length = room;
	memcpy(out, queue->data + queue->start, length);
	queue->start += length;
	if (queue->start == queue->end)
		tls_queue_free(queue);
	return length;
}

void tls_queue_free(struct tls_queue *queue)
{
	free(queue->data);
	*queue = (struct tls_queue){ 0 };
}
