/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TUN's queue holds hundreds of super-packets, and senders fill whatever holds: all traffic would wait behind what waits.
 * A queue that was never empty for longer than a round trip does not absorb a burst, it stands; then a sender is told, by
 * a mark or a loss, and more often until the queue is empty once. The idea is CoDel's (RFC 8289), which knows how long
 * each packet waited; TUN does not say.
 */
#include "plane.h"

#define INTERVAL_MS 100
#define GAP_MIN_MS 12

void queue_emptied(struct queue *queue)
{
	queue->is_standing = false;
}

bool queue_tells(struct queue *queue, int64_t now)
{
	if (!queue->is_standing) {
		*queue = (struct queue){ .is_standing = true, .gap_ms = INTERVAL_MS, .next_ms = now + INTERVAL_MS };
		return false;
	}
	if (now < queue->next_ms)
		return false;
	queue->gap_ms = queue->gap_ms / 2 > GAP_MIN_MS ? queue->gap_ms / 2 : GAP_MIN_MS;
	queue->next_ms = now + queue->gap_ms;
	return true;
}
