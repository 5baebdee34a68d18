/* SPDX-License-Identifier: Apache-2.0 */
/* Data keys: what packets are sealed and opened with, packet ids and replay windows, usage limits, epochs. */
#ifndef OVPND_PLANE_KEY_H
#define OVPND_PLANE_KEY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypto.h"

#define NONCE_TAIL_LENGTH 8
/* Epoch(2) and counter(6). */
#define EPOCH_ID_LENGTH 8
#define EPOCH_KEY_LENGTH 32
/* Epochs above the present one that are received. */
#define EPOCH_FUTURE_KEYS 4
#define PACKET_ID_MAX 0xffffffffull
#define EPOCH_COUNTER_MAX 0xffffffffffffull
#define REPLAY_WINDOW 2048
#define REPLAY_EXPIRE_MS 30000
#define PACKET_ID_LENGTH 4

/* In the order of DROP_REASONS in src/plane/drops.ts. */
enum plane_drop {
	DROP_SHORT, DROP_OPCODE, DROP_UNKNOWN_PEER, DROP_NO_KEY, DROP_EPOCH, DROP_AUTH, DROP_REPLAY, DROP_EMPTY, DROP_PROTOCOL,
	DROP_REVERSE_PATH, DROP_LINK_LOCAL, DROP_NOT_IP, DROP_GROUP, DROP_NO_ROUTE, DROP_NO_PEER, DROP_NO_PEER_KEY,
	DROP_OFFLOAD, DROP_SEND, DROP_TUN, DROP_CONTROL, DROP_QUEUE, DROP_REASONS,
	DROP_NONE = DROP_REASONS,
};

struct replay {
	uint32_t seen[REPLAY_WINDOW / 32];
	uint64_t highest, floor;
	int64_t expire_ms;
};

/* What packets of one direction are sealed or opened with, in the epoch format during one epoch. */
struct direction {
	struct crypto_aead *aead;
	/* The nonce is this XOR the packet id, which stands in front. */
	uint8_t iv[CRYPTO_NONCE_LENGTH];
	/* 0: the format has none. */
	uint16_t epoch;
	/* Of plaintext, 16 bytes each; packets whose tag was wrong. */
	uint64_t blocks, failures;
};

/* The successors of `open`, what was before it, and the epoch keys of `seal` and of the last successor. */
struct epochs {
	struct direction future[EPOCH_FUTURE_KEYS], retiring;
	struct replay retiring_replay;
	uint8_t seal_key[EPOCH_KEY_LENGTH], open_key[EPOCH_KEY_LENGTH];
};

struct data_key {
	uint8_t key_id;
	bool is_chacha;
	/* Each side notes what it sees: the key nears its end. Used up, it is as good as not there. */
	atomic_bool is_sender_worn, is_receiver_worn, is_expiry_told, is_used_up;
	char cipher[24];
	struct direction seal, open;
	/* Counter of the next packet; above the format's last there is none. */
	uint64_t next_id;
	/* After how many of both directions together a new key is asked for; 0: never. */
	uint64_t rekey_packets, rekey_bytes;
	/* Of tx, both directions; and of rx, what it has not added to them yet. */
	uint64_t packets, bytes, opened_packets, opened_bytes;
	struct replay replay;
	/* Only of the epoch format. */
	struct epochs *epochs;
};

/* As KeyLimits in src/plane/keys.ts. */
struct key_limits {
	uint64_t first_id, soft_id, gcm_soft, failures_soft, failures_max, epoch_soft, epoch_last;
};
#define KEY_LIMITS 7

/* NULL: there is none that can be used. */
static inline struct data_key *key_usable(struct data_key *key)
{
	return key && !key->is_used_up ? key : NULL;
}

struct plane;

struct key_bytes {
	/* A key of the cipher and the tail of its nonces, or an epoch key. */
	const uint8_t *key, *tail;
	size_t length;
};
/* Copies; lengths have been checked. NULL: out of memory, or the cipher lacks. */
struct data_key *key_new(const struct plane *plane, uint8_t key_id, const char *cipher, bool is_epoch,
			 const struct key_bytes *seal, const struct key_bytes *open);
/* Wipes. */
void key_free(struct data_key *key);
/* For warnings: each side notes what it sees, also before the first packet. */
void key_note_sent(const struct plane *plane, struct data_key *key);
void key_note_opened(const struct plane *plane, struct data_key *key);
/* A packet of `length` bytes was received: for the limits of both directions together. */
void key_count_opened(struct plane *plane, struct data_key *key, size_t length);
bool key_is_expiring(const struct data_key *key);
/* Before a packet is sealed: the next epoch where it is time. False: packet ids are used up. */
bool key_prepare(const struct plane *plane, struct data_key *key);
/* What opens a packet with this id and `length` bytes from there on, or why nothing does. Nothing is authentic yet. */
enum plane_drop key_find(const struct plane *plane, struct data_key *key, const uint8_t *id, size_t length, bool is_v1,
			 struct direction **direction);
/* A packet was opened: whether it is new. If it is of a later epoch that begins now, and `direction` moves. */
bool key_accept(struct plane *plane, struct data_key *key, struct direction *direction, uint64_t counter, int64_t now);
/* The rules of src/plane/replay.ts. Only for packets whose tag was right. */
bool replay_accept(struct replay *replay, uint64_t id, int64_t now);

#endif
