/* SPDX-License-Identifier: Apache-2.0 */
/* Cryptography for JavaScript: handles and lengths around crypto.h. */
#include "crypto.h"

#include "shim.h"

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

static int64_t aes256_ctr(struct shim_call *call)
{
	size_t length = call->in[2].bytes.length;
	uint8_t *out;

	if (call->in[0].bytes.length != 32 || call->in[1].bytes.length != 16 || length > CRYPTO_DATA_MAX)
		return -EINVAL;
	out = shim_result_bytes(call, length);
	if (!out)
		return -ENOMEM;
	return crypto_ctr(call->in[0].bytes.data, call->in[1].bytes.data, call->in[2].bytes.data, length, out);
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
	const uint8_t *a = call->in[0].bytes.data, *b = call->in[1].bytes.data;
	/* Volatile: no compiler may leave the loop early. */
	volatile uint8_t difference = call->in[0].bytes.length != call->in[1].bytes.length;

	if (difference)
		return 0;
	for (size_t i = 0; i < call->in[0].bytes.length; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

const struct shim_entry shim_crypto[] = {
	{ "aead_key", aead_key, "s:cipher b:key" },
	{ "aead_close", aead_close, "i:aead" },
	{ "aead_seal", aead_seal, "i:aead b:nonce b:aad b:plaintext", SHIM_AEAD },
	{ "aead_open", aead_open, "i:aead b:nonce b:aad b:sealed", SHIM_AEAD },
	{ "aes256_ctr", aes256_ctr, "b:key b:iv b:data" },
	{ "hash", hash, "s:name b:data" },
	{ "hmac", hmac, "s:name b:key b:data" },
	{ "equal", equal, "b:a b:b" },
	{ 0 },
};
