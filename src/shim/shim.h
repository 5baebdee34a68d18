/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim: what JavaScript cannot have. Each capability is one C file that exports one table of functions;
 * a binding (QuickJS or Node) walks the tables, checks and converts arguments, and calls.
 *
 * Rules for every function: no policy, no retry, no logging. A result below zero is -errno. Descriptors are
 * close-on-exec, non-blocking and owned by a handle. All of it runs on the one thread that loaded the shim.
 */
#ifndef OVPND_SHIM_H
#define OVPND_SHIM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHIM_ARGUMENTS_MAX 13

/* One converted argument. An absent optional argument has data (or text) NULL. */
union shim_value {
	int64_t number;
	struct {
		/* Borrowed from JavaScript until the function returns; never NULL when present. */
		uint8_t *data;
		size_t length;
	} bytes;
	struct {
		/* UTF-8 without inner NUL. */
		const char *text;
		size_t text_length;
	};
};

/* What a handle stands for. */
enum shim_kind {
	SHIM_FREE,
	SHIM_LOOP,
	SHIM_UDP4,
	SHIM_UDP6,
	SHIM_TCP_LISTENER,
	SHIM_TUN,
	SHIM_NETLINK,
	SHIM_LISTENER,
	SHIM_STREAM,
	SHIM_LOCK,
	SHIM_AEAD,
	SHIM_TLS_CONTEXT,
	SHIM_TLS_SESSION,
	SHIM_PLANE,
};

/* Arguments of one call; the binding embeds it in a struct of its own that also holds the result. */
struct shim_call {
	union shim_value in[SHIM_ARGUMENTS_MAX];
	/* What the handle in the first argument stands for, where the entry names its kind: an object or a descriptor. */
	enum shim_kind kind;
	void *object;
	int fd;
};

/*
 * Returns the number that JavaScript sees, unless it is >= 0 and one of shim_result_* was called before:
 * then JavaScript sees that.
 */
typedef int64_t (*shim_function)(struct shim_call *call);

struct shim_entry {
	const char *name;
	shim_function function;
	/*
	 * Words `type:name`, one for each argument. Types: i integer, b bytes (Uint8Array), s string;
	 * B and S the same, or undefined.
	 */
	const char *arguments;
	/* Of the handle in the first argument, unless the function looks for itself. */
	enum shim_kind kind;
};

/* For the bindings: -EBADF when the handle is not of the entry's kind, else what the function returns. */
int64_t shim_run(const struct shim_entry *entry, struct shim_call *call);

/* NULL-terminated list of tables, each ended by an entry without a name. */
extern const struct shim_entry *const shim_tables[];

extern const struct shim_entry shim_loop[], shim_udp[], shim_tcp[], shim_tun[], shim_netlink[], shim_stream[],
	shim_files[], shim_lock[], shim_resolve[], shim_process[], shim_crypto[], shim_pkey[],
	shim_tls[], shim_plane[], shim_password[];

/* Bodies are in the binding. A fresh Uint8Array of `length` bytes to fill before returning; NULL: no memory. */
uint8_t *shim_result_bytes(struct shim_call *call, size_t length);
/* Invalid UTF-8 is replaced. */
void shim_result_text(struct shim_call *call, const char *text, size_t length);
/* A JavaScript array. */
void shim_result_numbers(struct shim_call *call, const int64_t *numbers, size_t count);

/* From the kernel, which blocks until it has gathered enough after a boot; -errno. */
int shim_random(uint8_t *out, size_t length);

/*
 * Handles are numbers that JavaScript cannot turn into memory: slot and generation, checked with the kind at
 * every use. shim_handle_new returns -ENOMEM or the handle and then owns nothing: the capability's close
 * function takes the object out and frees it.
 */
int64_t shim_handle_new(enum shim_kind kind, void *object);
/* NULL when the handle is stale, of another kind, or invented. */
void *shim_handle_get(enum shim_kind kind, int64_t handle);
void *shim_handle_take(enum shim_kind kind, int64_t handle);

/* Objects that are nothing but a descriptor. */
int64_t shim_descriptor_new(enum shim_kind kind, int fd);
/* -EBADF when the handle is not of that kind. */
int shim_descriptor(enum shim_kind kind, int64_t handle);
int64_t shim_descriptor_close(enum shim_kind kind, int64_t handle);
/* For the tables: its number, and its end. */
int64_t shim_fd(struct shim_call *call);
int64_t shim_close(struct shim_call *call);

/* The descriptor of a TUN device; -EBADF. */
int shim_tun_descriptor(int64_t handle);

/*
 * Addresses as they cross to JavaScript, 40 bytes: length of the remote address (4, 16; 0 none), length of the
 * own address, port (2, network order), scope (4, network order), remote address (16), own address (16).
 */
#define SHIM_ADDRESS_LENGTH 40

#endif
