/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of JavaScript: each takes the locks of `call->object`, and sends what it made. */
#ifndef OVPND_PLANE_COMMANDS_H
#define OVPND_PLANE_COMMANDS_H

#include <string.h>

#include "plane.h"

typedef int64_t (*plane_command)(struct plane *plane, struct shim_call *call);

int64_t plane_locked(struct shim_call *call, plane_command run);

/* Makes `plane_NAME`, to be called from JavaScript, of `do_NAME`, which has the lock. */
#define COMMAND(name)                                    \
	int64_t plane_##name(struct shim_call *call)     \
	{                                                \
		return plane_locked(call, do_##name);    \
	}

/* False: no path. */
static inline bool plane_read_path(struct plane_path *path, const union shim_value *in)
{
	if (in->bytes.length != PATH_LENGTH)
		return false;
	memcpy(path, in->bytes.data, PATH_LENGTH);
	return path->block[0] == 4 || path->block[0] == 16;
}

/* plane_peer_commands.c */
int64_t plane_new_peer(struct shim_call *call);
int64_t plane_change_peer(struct shim_call *call);
int64_t plane_delete_peer(struct shim_call *call);
int64_t plane_add_key(struct shim_call *call);
int64_t plane_swap_keys(struct shim_call *call);
int64_t plane_delete_key(struct shim_call *call);
int64_t plane_send_inner(struct shim_call *call);
int64_t plane_list_peers(struct shim_call *call);
int64_t plane_show(struct shim_call *call);

#endif
