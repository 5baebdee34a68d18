/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data keys: packet ids and replay windows, usage limits, epochs. src/plane/keys.ts and epoch.ts are the reference. In
 * the epoch format keys are derived when a key is installed and at the end of an epoch, never for a packet alone.
 *
 *   E_1 = the key material                             E_(n+1) = label(E_n, "datakey upd", 32)
 *   data key_n = label(E_n, "data_key", key length)    data iv_n = label(E_n, "data_iv", 12)
 */
#include <stdlib.h>
#include <string.h>

#include "plane.h"

/* ---- replay */

static bool is_seen(const struct replay *replay, uint64_t id)
{
	return replay->seen[id % REPLAY_WINDOW / 32] & 1u << (id & 31);
}

bool replay_accept(struct replay *replay, uint64_t id, int64_t now)
{
	if (id == 0)
		return false;
	if (replay->expire_ms && now >= replay->expire_ms)
		replay->floor = replay->highest;
	if (id > replay->highest) {
		/* However far the jump: after a long outage the sender's ids are where they are. */
		if (id - replay->highest >= REPLAY_WINDOW)
			memset(replay->seen, 0, sizeof(replay->seen));
		else
			for (uint64_t i = replay->highest + 1; i != id + 1; i++)
				replay->seen[i % REPLAY_WINDOW / 32] &= ~(1u << (i & 31));
		replay->highest = id;
	} else if (id <= replay->floor || replay->highest - id >= REPLAY_WINDOW || is_seen(replay, id)) {
		return false;
	}
	replay->seen[id % REPLAY_WINDOW / 32] |= 1u << (id & 31);
	replay->expire_ms = now + REPLAY_EXPIRE_MS;
	return true;
}

/* ---- limits */

static bool is_worn(const struct plane *plane, const struct data_key *key, const struct direction *direction,
		    uint64_t packets)
{
	return !key->is_chacha && packets + direction->blocks >= plane->limits.gcm_soft;
}

static bool is_receiver_worn(const struct plane *plane, const struct data_key *key)
{
	return key->open.failures > plane->limits.failures_soft ||
	       is_worn(plane, key, &key->open, key->replay.highest);
}

static uint64_t sent_with(const struct data_key *key)
{
	/* Tests begin at 0. */
	return key->next_id ? key->next_id - 1 : 0;
}

/* 0: there is none. */
static bool is_reached(uint64_t limit, uint64_t count)
{
	return limit && count >= limit;
}

void key_note_sent(const struct plane *plane, struct data_key *key)
{
	uint64_t sent = sent_with(key);

	if (is_reached(key->rekey_packets, key->packets) || is_reached(key->rekey_bytes, key->bytes) ||
	    (key->epochs ? key->seal.epoch >= plane->limits.epoch_soft :
			     sent >= plane->limits.soft_id || is_worn(plane, key, &key->seal, sent)))
		key->is_sender_worn = true;
}

void key_note_opened(const struct plane *plane, struct data_key *key)
{
	bool is_now = is_receiver_worn(plane, key);

	if (key->is_receiver_worn != is_now)
		key->is_receiver_worn = is_now;
}

/* With two threads such a part of a limit may be told late: rx takes tx's lock for so much, and not for every packet. */
#define LATE_PART 256

void key_count_opened(struct plane *plane, struct data_key *key, size_t length)
{
	key->opened_packets++;
	key->opened_bytes += length;
	if (plane->is_split && !is_reached(key->rekey_packets, key->opened_packets * LATE_PART) &&
	    !is_reached(key->rekey_bytes, key->opened_bytes * LATE_PART))
		return;
	plane_hold_tx(plane);
	key->packets += key->opened_packets;
	key->bytes += key->opened_bytes;
	key->opened_packets = key->opened_bytes = 0;
	key_note_sent(plane, key);
}

bool key_is_expiring(const struct data_key *key)
{
	return key->is_sender_worn || (!key->epochs && key->is_receiver_worn);
}

/* ---- epochs */

/* HKDF-Expand-Label of RFC 8446 with SHA-256, OpenVPN's prefix and no context; at most 32 bytes are one block. */
static bool expand(const uint8_t *secret, const char *label, size_t length, uint8_t *out)
{
	static const char prefix[] = "ovpn ";
	uint8_t info[32] = { length >> 8, length }, block[CRYPTO_DIGEST_MAX];
	size_t at = 3 + sizeof(prefix) - 1, label_length = strlen(label);
	bool done;

	info[2] = sizeof(prefix) - 1 + label_length;
	memcpy(info + 3, prefix, sizeof(prefix) - 1);
	memcpy(info + at, label, label_length);
	at += label_length;
	/* The length of the context, and the number of the block. */
	info[at++] = 0;
	info[at++] = 1;
	done = crypto_hmac("SHA256", secret, EPOCH_KEY_LENGTH, info, at, block) == 0;
	memcpy(out, block, length);
	explicit_bzero(block, sizeof(block));
	return done;
}

static bool next_epoch_key(uint8_t *epoch_key)
{
	uint8_t next[EPOCH_KEY_LENGTH];
	bool done = expand(epoch_key, "datakey upd", sizeof(next), next);

	if (done)
		memcpy(epoch_key, next, sizeof(next));
	explicit_bzero(next, sizeof(next));
	return done;
}

static size_t key_length(const struct data_key *key)
{
	return strcmp(key->cipher, "AES-128-GCM") == 0 ? 16 : strcmp(key->cipher, "AES-192-GCM") == 0 ? 24 : 32;
}

/* False: out of memory, and there is no key. */
static bool begin_epoch(struct direction *direction, const struct data_key *key, const uint8_t *epoch_key,
			uint16_t epoch)
{
	uint8_t bytes[32];
	int error;

	*direction = (struct direction){ .epoch = epoch };
	if (expand(epoch_key, "data_key", key_length(key), bytes) &&
	    expand(epoch_key, "data_iv", sizeof(direction->iv), direction->iv))
		direction->aead = crypto_aead_new(key->cipher, bytes, key_length(key), &error);
	explicit_bzero(bytes, sizeof(bytes));
	return direction->aead;
}

static void end_direction(struct direction *direction)
{
	if (direction->aead)
		crypto_aead_free(direction->aead);
	explicit_bzero(direction, sizeof(*direction));
}

/* The keys after `count` of them; one that cannot be had is missed when its time comes. */
static void refill(struct data_key *key, int count)
{
	for (int i = count; i < EPOCH_FUTURE_KEYS; i++) {
		struct direction *next = &key->epochs->future[i];

		*next = (struct direction){ 0 };
		if (next_epoch_key(key->epochs->open_key))
			begin_epoch(next, key, key->epochs->open_key, key->open.epoch + 1 + i);
		next->epoch = key->open.epoch + 1 + i;
	}
}

static void send_in_epoch(struct data_key *key, uint16_t epoch)
{
	struct direction next = { 0 };
	uint8_t epoch_key[EPOCH_KEY_LENGTH];

	memcpy(epoch_key, key->epochs->seal_key, sizeof(epoch_key));
	for (uint16_t at = key->seal.epoch; at < epoch; at++)
		if (!next_epoch_key(epoch_key))
			return;
	/* Without memory the present epoch goes on. */
	if (begin_epoch(&next, key, epoch_key, epoch)) {
		memcpy(key->epochs->seal_key, epoch_key, sizeof(epoch_key));
		end_direction(&key->seal);
		key->seal = next;
		key->next_id = 1;
	}
	explicit_bzero(epoch_key, sizeof(epoch_key));
}

bool key_prepare(const struct plane *plane, struct data_key *key)
{
	uint64_t last = key->epochs ? EPOCH_COUNTER_MAX : PACKET_ID_MAX;

	if (key->epochs && key->seal.epoch < plane->limits.epoch_last &&
	    (key->next_id > last || is_worn(plane, key, &key->seal, sent_with(key)) ||
	     /* Only its sender can replace a key: our own next epoch asks for it. */
	     (key->seal.epoch == key->open.epoch && key->is_receiver_worn)))
		send_in_epoch(key, key->seal.epoch + 1);
	return key->next_id <= last;
}

enum plane_drop key_find(const struct plane *plane, struct data_key *key, const uint8_t *id, size_t length, bool is_v1,
			 struct direction **direction)
{
	struct direction *found = &key->open;
	uint16_t epoch;

	if (key->epochs) {
		/* The epoch format has a packet id and a header of its own. */
		if (is_v1)
			return DROP_OPCODE;
		if (length < EPOCH_ID_LENGTH + CRYPTO_TAG_LENGTH)
			return DROP_SHORT;
		epoch = id[0] << 8 | id[1];
		if (epoch > plane->limits.epoch_last)
			return DROP_EPOCH;
		if (epoch > found->epoch && epoch <= found->epoch + EPOCH_FUTURE_KEYS)
			found = &key->epochs->future[epoch - found->epoch - 1];
		else if (epoch != found->epoch)
			found = &key->epochs->retiring;
		if (epoch != found->epoch || !found->aead)
			return DROP_EPOCH;
	}
	*direction = found;
	return found->failures > plane->limits.failures_max ? DROP_AUTH : DROP_NONE;
}

/* A later epoch becomes the present one, also for sending. */
static void follow(struct data_key *key, struct direction *next)
{
	int skipped = next - key->epochs->future;

	end_direction(&key->epochs->retiring);
	key->epochs->retiring = key->open;
	key->epochs->retiring_replay = key->replay;
	memset(&key->replay, 0, sizeof(key->replay));
	key->open = *next;
	memset(next, 0, sizeof(*next));
	for (int i = 0; i < skipped; i++)
		end_direction(&key->epochs->future[i]);
	for (int i = skipped + 1; i < EPOCH_FUTURE_KEYS; i++)
		key->epochs->future[i - skipped - 1] = key->epochs->future[i];
	refill(key, EPOCH_FUTURE_KEYS - skipped - 1);
	if (key->seal.epoch < key->open.epoch)
		send_in_epoch(key, key->open.epoch);
}

bool key_accept(struct plane *plane, struct data_key *key, struct direction *direction, uint64_t counter, int64_t now)
{
	if (direction == &key->open)
		return replay_accept(&key->replay, counter, now);
	if (direction == &key->epochs->retiring)
		return replay_accept(&key->epochs->retiring_replay, counter, now);
	if (counter == 0)
		return false;
	plane_hold_tx(plane);
	follow(key, direction);
	key_note_sent(plane, key);
	return replay_accept(&key->replay, counter, now);
}

/* ---- life */

/* False: no memory. */
static bool begin_epochs(struct data_key *key, const uint8_t *seal, const uint8_t *open)
{
	key->epochs = calloc(1, sizeof(*key->epochs));
	if (!key->epochs)
		return false;
	memcpy(key->epochs->seal_key, seal, EPOCH_KEY_LENGTH);
	memcpy(key->epochs->open_key, open, EPOCH_KEY_LENGTH);
	if (!begin_epoch(&key->seal, key, seal, 1) || !begin_epoch(&key->open, key, open, 1))
		return false;
	refill(key, 0);
	return true;
}

static bool begin_plain(struct data_key *key, const struct key_bytes *seal, const struct key_bytes *open)
{
	int error;

	key->seal.aead = crypto_aead_new(key->cipher, seal->key, seal->length, &error);
	key->open.aead = crypto_aead_new(key->cipher, open->key, open->length, &error);
	memcpy(key->seal.iv + PACKET_ID_LENGTH, seal->tail, NONCE_TAIL_LENGTH);
	memcpy(key->open.iv + PACKET_ID_LENGTH, open->tail, NONCE_TAIL_LENGTH);
	return key->seal.aead && key->open.aead;
}

struct data_key *key_new(const struct plane *plane, uint8_t key_id, const char *cipher, bool is_epoch,
			 const struct key_bytes *seal, const struct key_bytes *open)
{
	struct data_key *key = calloc(1, sizeof(*key));

	if (!key)
		return NULL;
	key->key_id = key_id;
	strncpy(key->cipher, cipher, sizeof(key->cipher) - 1);
	key->is_chacha = strcmp(cipher, "CHACHA20-POLY1305") == 0;
	key->next_id = plane->limits.first_id;
	if (!(is_epoch ? begin_epochs(key, seal->key, open->key) : begin_plain(key, seal, open))) {
		key_free(key);
		return NULL;
	}
	key_note_sent(plane, key);
	return key;
}

void key_free(struct data_key *key)
{
	if (!key)
		return;
	end_direction(&key->seal);
	end_direction(&key->open);
	if (key->epochs) {
		end_direction(&key->epochs->retiring);
		for (int i = 0; i < EPOCH_FUTURE_KEYS; i++)
			end_direction(&key->epochs->future[i]);
		explicit_bzero(key->epochs, sizeof(*key->epochs));
		free(key->epochs);
	}
	explicit_bzero(key, sizeof(*key));
	free(key);
}
