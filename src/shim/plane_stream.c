/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections that the data thread has taken over: records of two bytes of length and a packet. Data records are for
 * the plane, all others for JavaScript. What the peer is too slow to take waits, bounded: data is dropped whole, and when
 * not even control packets fit the connection ends.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "plane.h"

/* Bytes read before others get their turn. */
#define READ_MAX 65536
/* What may be waiting beyond BACKLOG_MAX: control packets. */
#define CONTROL_EXTRA (64 * 1024)

struct stream {
	struct plane_path path;
	size_t record_max;
	/* Either side may find out. */
	atomic_bool is_ended;
	/* A record that is not complete yet. */
	uint8_t *held;
	size_t held_length;
	uint8_t *backlog;
	size_t backlog_at, backlog_length;
};

struct stream *stream_new(const struct plane_path *path, size_t record_max)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->path = *path;
	stream->record_max = record_max;
	stream->held = malloc(RECORD_HEADER + record_max);
	if (!stream->held) {
		free(stream);
		return NULL;
	}
	return stream;
}

void stream_free(struct stream *stream)
{
	if (!stream)
		return;
	free(stream->held);
	free(stream->backlog);
	free(stream);
}

/* Told once; the descriptor is JavaScript's to close. With tx held. */
static void end(struct plane *plane, struct plane_socket *socket, int error)
{
	int32_t pair[2] = { socket->number, error };

	if (atomic_exchange(&socket->stream->is_ended, true))
		return;
	plane_watch(plane, socket, false);
	plane_tell(plane, EVENT_STREAM_END, pair, sizeof(pair), NULL, 0, true);
}

static void end_reading(struct plane *plane, struct plane_socket *socket, int error)
{
	plane_hold_tx(plane);
	end(plane, socket, error);
}

bool stream_is_ended(const struct stream *stream)
{
	return stream->is_ended;
}

bool stream_waits(const struct stream *stream)
{
	return stream->backlog_length > 0;
}

void stream_read(struct plane *plane, struct plane_socket *socket)
{
	struct stream *stream = socket->stream;
	/* Packets are joined where they lie: the area is free again after the flush that follows each turn. */
	uint8_t *area = plane->rx_area;
	size_t have = stream->held_length, at = 0, length;
	ssize_t got;

	if (stream->is_ended)
		return;
	memcpy(area, stream->held, have);
	got = recv(socket->fd, area + have, READ_MAX, 0);
	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			end_reading(plane, socket, got == 0 ? 0 : errno);
		return;
	}
	have += got;
	while (have - at >= RECORD_HEADER) {
		length = load16(area + at);
		if (length == 0 || length > stream->record_max) {
			end_reading(plane, socket, EBADMSG);
			return;
		}
		if (have - at < RECORD_HEADER + length)
			break;
		plane_take_packet(plane, &stream->path, area + at + RECORD_HEADER, length);
		at += RECORD_HEADER + length;
	}
	stream->held_length = have - at;
	memcpy(stream->held, area + at, stream->held_length);
}

/* Whole records from `bytes` on that fit into `room`. */
static size_t whole(const uint8_t *bytes, size_t length, size_t room)
{
	size_t at = 0, next;

	while (at + RECORD_HEADER <= length) {
		next = at + RECORD_HEADER + load16(bytes + at);
		if (next > length || next > room)
			break;
		at = next;
	}
	return at;
}

/* Keeps what the socket did not take; `begun` bytes of the first record have gone and the rest of it must follow. */
static void keep(struct plane *plane, struct plane_socket *socket, const uint8_t *bytes, size_t length, size_t begun,
		 bool is_data)
{
	struct stream *stream = socket->stream;
	size_t limit = BACKLOG_MAX + CONTROL_EXTRA, room, kept;

	if (!stream->backlog)
		stream->backlog = malloc(limit);
	if (!stream->backlog) {
		end(plane, socket, ENOMEM);
		return;
	}
	if (stream->backlog_at) {
		memmove(stream->backlog, stream->backlog + stream->backlog_at, stream->backlog_length);
		stream->backlog_at = 0;
	}
	room = (is_data ? BACKLOG_MAX : limit) - (stream->backlog_length < BACKLOG_MAX || !is_data ? stream->backlog_length : BACKLOG_MAX);
	kept = whole(bytes - begun, length + begun, room + begun);
	kept = kept > begun ? kept - begun : 0;
	if (kept < length && (begun || !is_data) && kept == 0) {
		end(plane, socket, ENOBUFS);
		return;
	}
	if (kept < length)
		plane_drop(&plane->tx, DROP_SEND);
	memcpy(stream->backlog + stream->backlog_length, bytes, kept);
	stream->backlog_length += kept;
	if (stream->backlog_length)
		plane_watch(plane, socket, false);
}

void stream_write(struct plane *plane, struct plane_socket *socket, const uint8_t *bytes, size_t length, bool is_data)
{
	struct stream *stream = socket->stream;
	size_t sent = 0, begun;
	ssize_t got;

	if (stream->is_ended)
		return;
	if (stream->backlog_length == 0) {
		got = send(socket->fd, bytes, length, MSG_NOSIGNAL);
		if (got < 0 && errno != EAGAIN && errno != EINTR) {
			end(plane, socket, errno);
			return;
		}
		sent = got > 0 ? got : 0;
	}
	if (sent == length)
		return;
	begun = sent - whole(bytes, length, sent);
	keep(plane, socket, bytes + sent, length - sent, begun, is_data);
}

void stream_flush(struct plane *plane, struct plane_socket *socket)
{
	struct stream *stream = socket->stream;
	ssize_t got;

	if (stream->is_ended || stream->backlog_length == 0)
		return;
	got = send(socket->fd, stream->backlog + stream->backlog_at, stream->backlog_length, MSG_NOSIGNAL);
	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			end(plane, socket, errno);
		return;
	}
	stream->backlog_at += got;
	stream->backlog_length -= got;
	if (stream->backlog_length > 0)
		return;
	stream->backlog_at = 0;
	free(stream->backlog);
	stream->backlog = NULL;
	plane_watch(plane, socket, false);
}
