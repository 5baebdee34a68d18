/* SPDX-License-Identifier: Apache-2.0 */
/* AEAD, counter mode, digests and HMAC from OpenSSL 3. Algorithms by their OpenVPN names. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

#define NONCE_LENGTH 12
#define TAG_LENGTH 16
#define KEY_MAX 32
/* Nothing that OpenVPN encrypts or hashes is longer; it keeps lengths far inside an int. */
#define DATA_MAX (16 << 20)

/* Fetching an algorithm is slow in OpenSSL 3, so each is fetched once. */
static struct cipher {
	const char *name, *openssl;
	size_t key_length;
	EVP_CIPHER *cipher;
} ciphers[] = {
	{ "AES-128-GCM", "AES-128-GCM", 16, NULL },
	{ "AES-192-GCM", "AES-192-GCM", 24, NULL },
	{ "AES-256-GCM", "AES-256-GCM", 32, NULL },
	{ "CHACHA20-POLY1305", "ChaCha20-Poly1305", 32, NULL },
	{ 0 },
};

static struct digest {
	const char *name;
	EVP_MD *digest;
	/* Holds the digest but never a key: each use works on a copy. */
	EVP_MAC_CTX *mac;
} digests[] = {
	{ "MD5", NULL, NULL }, { "SHA1", NULL, NULL }, { "SHA256", NULL, NULL }, { "SHA384", NULL, NULL },
	{ "SHA512", NULL, NULL }, { 0 },
};

/* A key with one context for each direction that has been used: only the nonce changes between packets. */
struct aead {
	const struct cipher *cipher;
	EVP_CIPHER_CTX *seal, *open;
	uint8_t key[KEY_MAX];
};

static void aead_free(struct aead *aead)
{
	/* Freeing a context cleanses its key schedule. */
	EVP_CIPHER_CTX_free(aead->seal);
	EVP_CIPHER_CTX_free(aead->open);
	OPENSSL_cleanse(aead, sizeof(*aead));
	free(aead);
}

static int64_t aead_key(struct shim_call *call)
{
	struct cipher *cipher = ciphers;
	struct aead *aead;
	int64_t handle;

	while (cipher->name && strcmp(cipher->name, call->in[0].text) != 0)
		cipher++;
	if (!cipher->name || call->in[1].bytes.length != cipher->key_length)
		return -EINVAL;
	if (!cipher->cipher)
		cipher->cipher = EVP_CIPHER_fetch(NULL, cipher->openssl, NULL);
	if (!cipher->cipher)
		return -ENOSYS;
	aead = calloc(1, sizeof(*aead));
	if (!aead)
		return -ENOMEM;
	aead->cipher = cipher;
	memcpy(aead->key, call->in[1].bytes.data, cipher->key_length);
	handle = shim_handle_new(SHIM_AEAD, aead);
	if (handle < 0)
		aead_free(aead);
	return handle;
}

static int64_t aead_close(struct shim_call *call)
{
	struct aead *aead = shim_handle_take(SHIM_AEAD, call->in[0].number);

	if (!aead)
		return -EBADF;
	aead_free(aead);
	return 0;
}

static EVP_CIPHER_CTX *context_of(struct aead *aead, bool seal)
{
	EVP_CIPHER_CTX **context = seal ? &aead->seal : &aead->open;

	if (!*context) {
		*context = EVP_CIPHER_CTX_new();
		if (*context && EVP_CipherInit_ex2(*context, aead->cipher->cipher, aead->key, NULL, seal, NULL) != 1) {
			EVP_CIPHER_CTX_free(*context);
			*context = NULL;
		}
	}
	return *context;
}

/* Arguments of both: key, nonce, additional data, input. Output may not overlap the input. */
static int64_t aead_run(struct shim_call *call, bool seal)
{
	struct aead *aead = shim_handle_get(SHIM_AEAD, call->in[0].number);
	const uint8_t *in = call->in[3].bytes.data;
	size_t aad_length = call->in[2].bytes.length, length = call->in[3].bytes.length;
	EVP_CIPHER_CTX *context;
	uint8_t *out, end[TAG_LENGTH];
	int part;

	if (!aead)
		return -EBADF;
	if (call->in[1].bytes.length != NONCE_LENGTH || aad_length > DATA_MAX || length > DATA_MAX)
		return -EINVAL;
	if (!seal && length < TAG_LENGTH)
		return -EBADMSG;
	if (!seal)
		length -= TAG_LENGTH;
	context = context_of(aead, seal);
	out = context ? shim_result_bytes(call, seal ? length + TAG_LENGTH : length) : NULL;
	if (!out)
		return -ENOMEM;
	if (EVP_CipherInit_ex2(context, NULL, NULL, call->in[1].bytes.data, -1, NULL) != 1 ||
	    (!seal && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_LENGTH, (void *)(in + length)) != 1) ||
	    (aad_length > 0 && EVP_CipherUpdate(context, NULL, &part, call->in[2].bytes.data, aad_length) != 1) ||
	    (length > 0 && EVP_CipherUpdate(context, out, &part, in, length) != 1))
		return -EIO;
	if (EVP_CipherFinal_ex(context, end, &part) != 1) {
		/* What did not authenticate must not be seen, not even as garbage of the collector. */
		OPENSSL_cleanse(out, length);
		return seal ? -EIO : -EBADMSG;
	}
	if (seal && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_LENGTH, out + length) != 1)
		return -EIO;
	return 0;
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
	static EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *context;
	size_t length = call->in[2].bytes.length;
	uint8_t *out;
	int part = 0, done;

	if (call->in[0].bytes.length != 32 || call->in[1].bytes.length != 16 || length > DATA_MAX)
		return -EINVAL;
	if (!cipher)
		cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	if (!cipher)
		return -ENOSYS;
	out = shim_result_bytes(call, length);
	context = EVP_CIPHER_CTX_new();
	if (!out || !context) {
		EVP_CIPHER_CTX_free(context);
		return -ENOMEM;
	}
	done = EVP_EncryptInit_ex2(context, cipher, call->in[0].bytes.data, call->in[1].bytes.data, NULL) == 1 &&
	       (length == 0 || EVP_EncryptUpdate(context, out, &part, call->in[2].bytes.data, length) == 1);
	EVP_CIPHER_CTX_free(context);
	return done ? 0 : -EIO;
}

static struct digest *find_digest(const char *name)
{
	struct digest *digest = digests;

	while (digest->name && strcmp(digest->name, name) != 0)
		digest++;
	if (!digest->name)
		return NULL;
	if (!digest->digest)
		digest->digest = EVP_MD_fetch(NULL, name, NULL);
	return digest;
}

static int64_t hash(struct shim_call *call)
{
	struct digest *digest = find_digest(call->in[0].text);
	uint8_t *out;

	if (!digest || call->in[1].bytes.length > DATA_MAX)
		return -EINVAL;
	if (!digest->digest)
		return -ENOSYS;
	out = shim_result_bytes(call, EVP_MD_get_size(digest->digest));
	if (!out)
		return -ENOMEM;
	return EVP_Digest(call->in[1].bytes.data, call->in[1].bytes.length, out, NULL, digest->digest, NULL) == 1 ?
		       0 : -EIO;
}

static EVP_MAC_CTX *mac_of(struct digest *digest)
{
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digest->name, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac;

	if (!digest->mac) {
		mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
		digest->mac = mac ? EVP_MAC_CTX_new(mac) : NULL;
		EVP_MAC_free(mac);
		if (digest->mac && EVP_MAC_CTX_set_params(digest->mac, parameters) != 1) {
			EVP_MAC_CTX_free(digest->mac);
			digest->mac = NULL;
		}
	}
	return digest->mac ? EVP_MAC_CTX_dup(digest->mac) : NULL;
}

static int64_t hmac(struct shim_call *call)
{
	struct digest *digest = find_digest(call->in[0].text);
	size_t size, written;
	EVP_MAC_CTX *mac;
	uint8_t *out;
	int done;

	if (!digest || call->in[1].bytes.length > DATA_MAX || call->in[2].bytes.length > DATA_MAX)
		return -EINVAL;
	if (!digest->digest)
		return -ENOSYS;
	size = EVP_MD_get_size(digest->digest);
	out = shim_result_bytes(call, size);
	mac = out ? mac_of(digest) : NULL;
	if (!mac)
		return -ENOMEM;
	done = EVP_MAC_init(mac, call->in[1].bytes.data, call->in[1].bytes.length, NULL) == 1 &&
	       EVP_MAC_update(mac, call->in[2].bytes.data, call->in[2].bytes.length) == 1 &&
	       EVP_MAC_final(mac, out, &written, size) == 1;
	EVP_MAC_CTX_free(mac);
	return done ? 0 : -EIO;
}

static int64_t equal(struct shim_call *call)
{
	size_t length = call->in[0].bytes.length;

	return length == call->in[1].bytes.length &&
	       CRYPTO_memcmp(call->in[0].bytes.data, call->in[1].bytes.data, length) == 0;
}

const struct shim_entry shim_crypto[] = {
	{ "aead_key", aead_key, "s:cipher b:key" },
	{ "aead_close", aead_close, "i:aead" },
	{ "aead_seal", aead_seal, "i:aead b:nonce b:aad b:plaintext" },
	{ "aead_open", aead_open, "i:aead b:nonce b:aad b:sealed" },
	{ "aes256_ctr", aes256_ctr, "b:key b:iv b:data" },
	{ "hash", hash, "s:name b:data" },
	{ "hmac", hmac, "s:name b:key b:data" },
	{ "equal", equal, "b:a b:b" },
	{ 0 },
};
