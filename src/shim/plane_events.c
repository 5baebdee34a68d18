/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of events for JavaScript. Notices are never lost: what finds no room waits for it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plane.h"

#define EVENT_HEADER 4

struct notice {
	struct notice *next;
	size_t length;
	uint8_t bytes[];
};

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
	if (head_length)
		memcpy(at + EVENT_HEADER, head, head_length);
	if (length)
		memcpy(at + EVENT_HEADER + head_length, body, length);
}

/* Room for `size` bytes, leaving `reserve`; NULL: none. Without a thread the queue grows. */
static uint8_t *room_for(struct plane *plane, size_t size, size_t reserve)
{
	if (!plane->is_threaded && plane->events_used + size > plane->events_size) {
		size_t bigger = (plane->events_used + size) * 2;
		uint8_t *events = realloc(plane->events, bigger);

		if (!events)
			return NULL;
		plane->events = events;
		plane->events_size = bigger;
	}
	if (plane->events_used + size + (plane->is_threaded ? reserve : 0) > plane->events_size)
		return NULL;
	plane->events_used += size;
	return plane->events + plane->events_used - size;
}

static void move_notices(struct plane *plane)
{
	struct notice *notice;
	uint8_t *room;

	while ((notice = plane->notices)) {
		room = room_for(plane, notice->length, 0);
		if (!room)
			return;
		memcpy(room, notice->bytes, notice->length);
		plane->notices = notice->next;
		if (!plane->notices)
			plane->notices_end = &plane->notices;
		free(notice);
	}
}

bool plane_can_tell(struct plane *plane)
{
	bool can;

	pthread_mutex_lock(&plane->events_lock);
	can = !plane->is_threaded || (!plane->notices && plane->events_used + EVENTS_RESERVE / 2 <= plane->events_size);
	pthread_mutex_unlock(&plane->events_lock);
	return can;
}

void plane_tell(struct plane *plane, enum plane_event type, const void *head, size_t head_length, const void *body,
		size_t length, bool is_notice)
{
	size_t size = padded(head_length + length);
	struct notice *notice;
	uint64_t one = 1;
	ssize_t ignored;
	uint8_t *room;
	bool wakes;

	/* An event's length has 16 bits. */
	if (head_length + length > UINT16_MAX) {
		plane_drop(&plane->rx, DROP_CONTROL);
		return;
	}
	pthread_mutex_lock(&plane->events_lock);
	move_notices(plane);
	if (type) {
		room = plane->notices ? NULL : room_for(plane, size, is_notice ? 0 : EVENTS_RESERVE);
		if (room) {
			write_event(room, type, head, head_length, body, length);
		} else if (!is_notice) {
			plane_drop(&plane->rx, DROP_CONTROL);
		} else if ((notice = malloc(sizeof(*notice) + size))) {
			notice->next = NULL;
			notice->length = size;
			write_event(notice->bytes, type, head, head_length, body, length);
			*plane->notices_end = notice;
			plane->notices_end = &notice->next;
		}
	}
	wakes = plane->events_used;
	pthread_mutex_unlock(&plane->events_lock);
	/* Who wakes wants the lock. */
	if (wakes) {
		ignored = write(plane->event_fd, &one, sizeof(one));
		(void)ignored;
	}
}

/* Whole events into the buffer; how many bytes. */
int64_t plane_take(struct shim_call *call)
{
	struct plane *plane = call->object;
	size_t room = call->in[1].bytes.length, at = 0;
	uint64_t ignored;

	pthread_mutex_lock(&plane->events_lock);
	/* One reading takes all that was written. */
	if (read(plane->event_fd, &ignored, sizeof(ignored)) < 0)
		at += 0;
	while (at < plane->events_used) {
		uint16_t length;

		memcpy(&length, plane->events + at + 2, sizeof(length));
		if (at + padded(length) > room)
			break;
		at += padded(length);
	}
	memcpy(call->in[1].bytes.data, plane->events, at);
	plane->events_used -= at;
	memmove(plane->events, plane->events + at, plane->events_used);
	move_notices(plane);
	if (plane->events_used) {
		ignored = 1;
		if (write(plane->event_fd, &ignored, sizeof(ignored)) < 0)
			at += 0;
	}
	pthread_mutex_unlock(&plane->events_lock);
	return at;
}

void plane_forget_events(struct plane *plane)
{
	struct notice *notice;

	while ((notice = plane->notices)) {
		plane->notices = notice->next;
		free(notice);
	}
	free(plane->events);
}
