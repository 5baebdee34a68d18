/* SPDX-License-Identifier: Apache-2.0 */
/* Who may touch what: the turns of the two sides. */
#include <sys/eventfd.h>

#include "plane.h"

static void take(struct turns *turns)
{
	unsigned int mine;

	pthread_mutex_lock(&turns->mutex);
	mine = turns->next++;
	while (mine != turns->served)
		pthread_cond_wait(&turns->changed, &turns->mutex);
	pthread_mutex_unlock(&turns->mutex);
}

static void pass_on(struct turns *turns)
{
	pthread_mutex_lock(&turns->mutex);
	turns->served++;
	pthread_cond_broadcast(&turns->changed);
	pthread_mutex_unlock(&turns->mutex);
}

void plane_init_sides(struct plane *plane)
{
	for (int i = 0; i < 2; i++) {
		struct side *side = i ? &plane->tx : &plane->rx;

		side->plane = plane;
		side->epoll = side->wake_fd = -1;
		pthread_mutex_init(&side->turns.mutex, NULL);
		pthread_cond_init(&side->turns.changed, NULL);
	}
}

void plane_free_sides(struct plane *plane)
{
	for (int i = 0; i < 2; i++) {
		struct side *side = i ? &plane->tx : &plane->rx;

		pthread_mutex_destroy(&side->turns.mutex);
		pthread_cond_destroy(&side->turns.changed);
	}
}

void plane_set_now(struct plane *plane, int64_t now)
{
	plane->rx.now = plane->tx.now = now;
}

void plane_begin_turn(struct side *side)
{
	struct plane *plane = side->plane;

	take(&side->turns);
	if (!plane->is_threaded)
		return;
	side->now = plane_clock();
	if (!plane->is_split)
		plane->tx.now = side->now;
}

void plane_hold_tx(struct plane *plane)
{
	if (!plane->is_split || plane->has_tx)
		return;
	plane_begin_turn(&plane->tx);
	plane->has_tx = true;
}

void plane_end_turn(struct side *side)
{
	struct plane *plane = side->plane;
	bool is_rx = side == &plane->rx;

	if (!is_rx || !plane->is_split || plane->has_tx)
		send_flush(plane);
	if (is_rx && plane->has_tx) {
		plane->has_tx = false;
		pass_on(&plane->tx.turns);
	}
	pass_on(&side->turns);
}

void plane_lock(struct plane *plane)
{
	plane_begin_turn(&plane->rx);
	plane_hold_tx(plane);
}

void plane_unlock(struct plane *plane)
{
	plane_end_turn(&plane->rx);
	/* A command may have brought the next deadline nearer, or taken away the socket that TUN waits for. */
	if (plane->is_threaded)
		eventfd_write(plane->rx.wake_fd, 1);
	if (plane->is_split)
		eventfd_write(plane->tx.wake_fd, 1);
}
