/* SPDX-License-Identifier: Apache-2.0 */
/* Cryptography for JavaScript: handles and lengths around crypto.h. */
#include "crypto.h"

#include <stdlib.h>
#include <string.h>

#include "shim.h"

#define SIV_KEY_LENGTH 32
#define SIV_TAG_LENGTH 32

static int64_t aead_key(struct shim_call *call)
{
	struct crypto_aead *aead;
	int64_t handle;
	int error;

	aead = crypto_aead_new(call->in[0].text, call->in[1].bytes.data, call->in[1].bytes.length, &error);
	if (!aead)
		return error;
	handle = shim_handle_new(SHIM_AEAD, aead);
	if (handle < 0)
		crypto_aead_free(aead);
	return handle;
}

static int64_t aead_close(struct shim_call *call)
{
	struct crypto_aead *aead = shim_handle_take(SHIM_AEAD, call->in[0].number);

	if (!aead)
		return -EBADF;
	crypto_aead_free(aead);
	return 0;
}

/* Arguments of both: key, nonce, additional data, input. */
static int64_t aead_run(struct shim_call *call, bool seal)
{
	struct crypto_aead *aead = call->object;
	const union shim_value *nonce = &call->in[1], *aad = &call->in[2], *in = &call->in[3];
	size_t length = in->bytes.length;
	uint8_t *out;

	if (nonce->bytes.length != CRYPTO_NONCE_LENGTH || aad->bytes.length > CRYPTO_DATA_MAX ||
	    length > CRYPTO_DATA_MAX)
		return -EINVAL;
	if (!seal && length < CRYPTO_TAG_LENGTH)
		return -EBADMSG;
	out = shim_result_bytes(call, seal ? length + CRYPTO_TAG_LENGTH : length - CRYPTO_TAG_LENGTH);
	if (!out)
		return -ENOMEM;
	if (seal)
		return crypto_aead_seal(aead, nonce->bytes.data, aad->bytes.data, aad->bytes.length, in->bytes.data,
					length, out, out + length);
	length -= CRYPTO_TAG_LENGTH;
	return crypto_aead_open(aead, nonce->bytes.data, aad->bytes.data, aad->bytes.length, in->bytes.data, length,
				in->bytes.data + length, out);
}

static int64_t aead_seal(struct shim_call *call)
{
	return aead_run(call, true);
}

/* -EBADMSG: the tag is wrong. */
static int64_t aead_open(struct shim_call *call)
{
	return aead_run(call, false);
}

/* Volatile: no compiler may leave the loop early. */
static bool is_same(const uint8_t *a, const uint8_t *b, size_t length)
{
	volatile uint8_t difference = 0;

	for (size_t i = 0; i < length; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

static bool has_siv_lengths(const union shim_value *in)
{
	return in[0].bytes.length == SIV_KEY_LENGTH && in[1].bytes.length == SIV_KEY_LENGTH &&
	       in[2].bytes.length <= CRYPTO_DATA_MAX && in[3].bytes.length <= CRYPTO_DATA_MAX;
}

/* Header and plaintext in one piece, for the tag; the caller frees it. */
static uint8_t *siv_input(const union shim_value *header, size_t length)
{
	uint8_t *whole = malloc(header->bytes.length + length + 1);

	if (whole)
		memcpy(whole, header->bytes.data, header->bytes.length);
	return whole;
}

static void siv_wipe(uint8_t *whole, size_t length)
{
	explicit_bzero(whole, length);
	free(whole);
}

/* Tag, then ciphertext. */
static int64_t siv_seal(struct shim_call *call)
{
	const union shim_value *in = call->in;
	size_t head = in[2].bytes.length, length = in[3].bytes.length;
	uint8_t *whole, *out;
	int status;

	if (!has_siv_lengths(in))
		return -EINVAL;
	whole = siv_input(&in[2], length);
	out = whole ? shim_result_bytes(call, SIV_TAG_LENGTH + length) : NULL;
	if (!out) {
		free(whole);
		return -ENOMEM;
	}
	memcpy(whole + head, in[3].bytes.data, length);
	status = crypto_hmac("SHA256", in[1].bytes.data, SIV_KEY_LENGTH, whole, head + length, out);
	if (status == 0)
		status = crypto_ctr(in[0].bytes.data, out, in[3].bytes.data, length, out + SIV_TAG_LENGTH);
	siv_wipe(whole, head + length);
	return status;
}

/* -EBADMSG: the tag is wrong, and nobody sees what was under it. */
static int64_t siv_open(struct shim_call *call)
{
	const union shim_value *in = call->in;
	const uint8_t *sealed = in[3].bytes.data;
	size_t head = in[2].bytes.length, length = in[3].bytes.length - SIV_TAG_LENGTH;
	uint8_t tag[CRYPTO_DIGEST_MAX], *whole, *out;
	int status;

	if (!has_siv_lengths(in))
		return -EINVAL;
	if (in[3].bytes.length < SIV_TAG_LENGTH)
		return -EBADMSG;
	whole = siv_input(&in[2], length);
	if (!whole)
		return -ENOMEM;
	status = crypto_ctr(in[0].bytes.data, sealed, sealed + SIV_TAG_LENGTH, length, whole + head);
	if (status == 0)
		status = crypto_hmac("SHA256", in[1].bytes.data, SIV_KEY_LENGTH, whole, head + length, tag);
	if (status == 0 && !is_same(tag, sealed, SIV_TAG_LENGTH))
		status = -EBADMSG;
	out = status == 0 ? shim_result_bytes(call, length) : NULL;
	if (out)
		memcpy(out, whole + head, length);
	siv_wipe(whole, head + length);
	return status == 0 && !out ? -ENOMEM : status;
}

static int64_t hash(struct shim_call *call)
{
	int size = crypto_digest_length(call->in[0].text);
	uint8_t *out;

	if (size < 0 || call->in[1].bytes.length > CRYPTO_DATA_MAX)
		return size < 0 ? size : -EINVAL;
	out = shim_result_bytes(call, size);
	if (!out)
		return -ENOMEM;
	return crypto_hash(call->in[0].text, call->in[1].bytes.data, call->in[1].bytes.length, out);
}

static int64_t hmac(struct shim_call *call)
{
	const union shim_value *key = &call->in[1], *in = &call->in[2];
	int size = crypto_digest_length(call->in[0].text);
	uint8_t *out;

	if (size < 0 || key->bytes.length > CRYPTO_DATA_MAX || in->bytes.length > CRYPTO_DATA_MAX)
		return size < 0 ? size : -EINVAL;
	out = shim_result_bytes(call, size);
	if (!out)
		return -ENOMEM;
	return crypto_hmac(call->in[0].text, key->bytes.data, key->bytes.length, in->bytes.data, in->bytes.length, out);
}

static int64_t equal(struct shim_call *call)
{
	const union shim_value *a = &call->in[0], *b = &call->in[1];

	return a->bytes.length == b->bytes.length && is_same(a->bytes.data, b->bytes.data, a->bytes.length);
}

const struct shim_entry shim_crypto[] = {
	{ "aead_key", aead_key, "s:cipher b:key" },
	{ "aead_close", aead_close, "i:aead" },
	{ "aead_seal", aead_seal, "i:aead b:nonce b:aad b:plaintext", SHIM_AEAD },
	{ "aead_open", aead_open, "i:aead b:nonce b:aad b:sealed", SHIM_AEAD },
	{ "siv_seal", siv_seal, "b:cipherKey b:macKey b:header b:plaintext" },
	{ "siv_open", siv_open, "b:cipherKey b:macKey b:header b:sealed" },
	{ "hash", hash, "s:name b:data" },
	{ "hmac", hmac, "s:name b:key b:data" },
	{ "equal", equal, "b:a b:b" },
	{ 0 },
};
