/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of events for JavaScript. Notices are never lost: for them it grows, and there are only so many for each peer. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "plane.h"

#define EVENT_HEADER 4

static size_t padded(size_t length)
{
	return EVENT_HEADER + ((length + 3) & ~(size_t)3);
}

static void write_event(uint8_t *at, enum plane_event type, const void *head, size_t head_length, const void *body, size_t length)
{
	uint16_t total = head_length + length;

	memset(at, 0, padded(total));
	at[0] = type;
	memcpy(at + 2, &total, sizeof(total));
	memcpy(at + EVENT_HEADER, head, head_length);
	if (length)
		memcpy(at + EVENT_HEADER + head_length, body, length);
}

static bool has_room(struct plane *plane, size_t size, bool is_notice)
{
	uint8_t *events;

	if (!is_notice)
		return plane->events_used + size + EVENTS_RESERVE <= EVENTS_AREA;
	if (plane->events_used + size <= plane->events_size)
		return true;
	events = realloc(plane->events, 2 * (plane->events_used + size));
	if (!events)
		return false;
	plane->events = events;
	plane->events_size = 2 * (plane->events_used + size);
	return true;
}

bool plane_can_tell(struct plane *plane)
{
	bool can;

	pthread_mutex_lock(&plane->events_lock);
	can = plane->events_used + EVENTS_RESERVE / 2 <= EVENTS_AREA;
	pthread_mutex_unlock(&plane->events_lock);
	return can;
}

void plane_tell(struct plane *plane, enum plane_event type, const void *head, size_t head_length, const void *body,
		size_t length, bool is_notice)
{
	size_t size = padded(head_length + length);
	bool is_told;

	pthread_mutex_lock(&plane->events_lock);
	/* An event's length has 16 bits. */
	is_told = head_length + length <= UINT16_MAX && has_room(plane, size, is_notice);
	if (is_told) {
		write_event(plane->events + plane->events_used, type, head, head_length, body, length);
		plane->events_used += size;
	} else {
		plane_drop(&plane->rx, DROP_CONTROL);
	}
	pthread_mutex_unlock(&plane->events_lock);
	/* Who wakes wants the lock. */
	if (is_told)
		eventfd_write(plane->event_fd, 1);
}

/* Whole events into the buffer; how many bytes. */
int64_t plane_take(struct shim_call *call)
{
	struct plane *plane = call->object;
	size_t room = call->in[1].bytes.length, at = 0;
	eventfd_t ignored;
	uint16_t length;

	pthread_mutex_lock(&plane->events_lock);
	/* One reading takes all that was written. */
	eventfd_read(plane->event_fd, &ignored);
	while (at < plane->events_used) {
		memcpy(&length, plane->events + at + 2, sizeof(length));
		if (at + padded(length) > room)
			break;
		at += padded(length);
	}
	memcpy(call->in[1].bytes.data, plane->events, at);
	plane->events_used -= at;
	memmove(plane->events, plane->events + at, plane->events_used);
	if (plane->events_used)
		eventfd_write(plane->event_fd, 1);
	pthread_mutex_unlock(&plane->events_lock);
	return at;
}
