/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: typed, generation-checked numbers for the objects that the shim owns. */
#include <stdlib.h>
#include <unistd.h>

#include "shim.h"

#define SLOT_BITS 20
#define SLOTS_MAX (1u << SLOT_BITS)

struct slot {
	enum shim_kind kind;
	uint32_t generation;
	uint32_t next_free;
	void *object;
};

static struct slot *slots;
static uint32_t slot_count;
/* Slot number plus one, so that zero ends the list. */
static uint32_t first_free;

static bool grow(void)
{
	uint32_t count = slot_count ? slot_count * 2 : 64;
	struct slot *bigger;

	if (count > SLOTS_MAX)
		return false;
	bigger = realloc(slots, count * sizeof(*slots));
	if (!bigger)
		return false;
	for (uint32_t i = slot_count; i < count; i++) {
		bigger[i] = (struct slot){ .kind = SHIM_FREE, .generation = 1, .next_free = first_free };
		first_free = i + 1;
	}
	slots = bigger;
	slot_count = count;
	return true;
}

int64_t shim_handle_new(enum shim_kind kind, void *object)
{
	struct slot *slot;
	uint32_t index;

	if (!first_free && !grow())
		return -ENOMEM;
	index = first_free - 1;
	slot = &slots[index];
	first_free = slot->next_free;
	slot->kind = kind;
	slot->object = object;
	return (int64_t)slot->generation << SLOT_BITS | index;
}

static struct slot *find(enum shim_kind kind, int64_t handle)
{
	uint32_t index = handle & (SLOTS_MAX - 1);

	if (handle < 0 || index >= slot_count)
		return NULL;
	if (slots[index].kind != kind || slots[index].generation != handle >> SLOT_BITS)
		return NULL;
	return &slots[index];
}

void *shim_handle_get(enum shim_kind kind, int64_t handle)
{
	struct slot *slot = find(kind, handle);

	return slot ? slot->object : NULL;
}

void *shim_handle_take(enum shim_kind kind, int64_t handle)
{
	struct slot *slot = find(kind, handle);
	void *object;

	if (!slot)
		return NULL;
	object = slot->object;
	slot->kind = SHIM_FREE;
	slot->object = NULL;
	/* A number that JavaScript holds exactly (53 bits) leaves 32 for the generation. */
	slot->generation++;
	slot->next_free = first_free;
	first_free = slot - slots + 1;
	return object;
}

int64_t shim_descriptor_new(enum shim_kind kind, int fd)
{
	int64_t handle = shim_handle_new(kind, (void *)(intptr_t)(fd + 1));

	if (handle < 0)
		close(fd);
	return handle;
}

int shim_descriptor(enum shim_kind kind, int64_t handle)
{
	intptr_t object = (intptr_t)shim_handle_get(kind, handle);

	return object ? object - 1 : -EBADF;
}

int64_t shim_descriptor_close(enum shim_kind kind, int64_t handle)
{
	intptr_t object = (intptr_t)shim_handle_take(kind, handle);

	if (!object)
		return -EBADF;
	close(object - 1);
	return 0;
}

int64_t shim_fd(struct shim_call *call)
{
	return call->fd;
}

int64_t shim_close(struct shim_call *call)
{
	return shim_descriptor_close(call->kind, call->in[0].number);
}

int64_t shim_run(const struct shim_entry *entry, struct shim_call *call)
{
	call->kind = entry->kind;
	if (entry->kind != SHIM_FREE) {
		call->object = shim_handle_get(entry->kind, call->in[0].number);
		call->fd = (intptr_t)call->object - 1;
		if (!call->object)
			return -EBADF;
	}
	return entry->function(call);
}

const struct shim_entry *const shim_tables[] = {
	shim_loop, shim_udp, shim_tcp, shim_tun, shim_netlink, shim_stream, shim_files,
	shim_lock, shim_resolve, shim_process, shim_crypto, shim_pkey, shim_tls, shim_plane, shim_password, NULL,
};
