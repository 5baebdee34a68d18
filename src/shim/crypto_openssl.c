/* SPDX-License-Identifier: Apache-2.0 */
/* AEAD, counter mode, digests and HMAC from OpenSSL 3. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"

#define KEY_MAX 32

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

/* One context for each direction that has been used: only the nonce changes between packets. */
struct crypto_aead {
	const struct cipher *cipher;
	EVP_CIPHER_CTX *seal, *open;
	uint8_t key[KEY_MAX];
};

struct crypto_aead *crypto_aead_new(const char *name, const uint8_t *key, size_t length, int *error)
{
	struct cipher *cipher = ciphers;
	struct crypto_aead *aead;

	while (cipher->name && strcmp(cipher->name, name) != 0)
		cipher++;
	*error = -EINVAL;
	if (!cipher->name || length != cipher->key_length)
		return NULL;
	if (!cipher->cipher)
		cipher->cipher = EVP_CIPHER_fetch(NULL, cipher->openssl, NULL);
	*error = -ENOSYS;
	if (!cipher->cipher)
		return NULL;
	aead = calloc(1, sizeof(*aead));
	*error = -ENOMEM;
	if (!aead)
		return NULL;
	aead->cipher = cipher;
	memcpy(aead->key, key, length);
	return aead;
}

void crypto_aead_free(struct crypto_aead *aead)
{
	/* Freeing a context cleanses its key schedule. */
	EVP_CIPHER_CTX_free(aead->seal);
	EVP_CIPHER_CTX_free(aead->open);
	OPENSSL_cleanse(aead, sizeof(*aead));
	free(aead);
}

static EVP_CIPHER_CTX *context_of(struct crypto_aead *aead, bool seal)
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

static bool run(EVP_CIPHER_CTX *context, const uint8_t *nonce, const uint8_t *aad, size_t aad_length,
		const uint8_t *in, size_t length, uint8_t *out)
{
	int part;

	return EVP_CipherInit_ex2(context, NULL, NULL, nonce, -1, NULL) == 1 &&
	       (aad_length == 0 || EVP_CipherUpdate(context, NULL, &part, aad, aad_length) == 1) &&
	       (length == 0 || EVP_CipherUpdate(context, out, &part, in, length) == 1);
}

int crypto_aead_seal(struct crypto_aead *aead, const uint8_t *nonce, const uint8_t *aad, size_t aad_length,
		     const uint8_t *in, size_t length, uint8_t *out, uint8_t *tag)
{
	EVP_CIPHER_CTX *context = context_of(aead, true);
	int part;

	if (!context)
		return -ENOMEM;
	return run(context, nonce, aad, aad_length, in, length, out) &&
			       EVP_CipherFinal_ex(context, tag, &part) == 1 &&
			       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_LENGTH, tag) == 1 ?
		       0 : -EIO;
}

int crypto_aead_open(struct crypto_aead *aead, const uint8_t *nonce, const uint8_t *aad, size_t aad_length,
		     const uint8_t *in, size_t length, const uint8_t *tag, uint8_t *out)
{
	EVP_CIPHER_CTX *context = context_of(aead, false);
	uint8_t end[CRYPTO_TAG_LENGTH];
	int part;

	if (!context)
		return -ENOMEM;
	if (!run(context, nonce, aad, aad_length, in, length, out) ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_LENGTH, (void *)tag) != 1)
		return -EIO;
	if (EVP_CipherFinal_ex(context, end, &part) == 1)
		return 0;
	/* What did not authenticate must not be seen, not even as garbage of the collector. */
	OPENSSL_cleanse(out, length);
	return -EBADMSG;
}

int crypto_ctr(const uint8_t *key, const uint8_t *iv, const uint8_t *in, size_t length, uint8_t *out)
{
	static EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *context;
	int part = 0, done;

	if (!cipher)
		cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	if (!cipher)
		return -ENOSYS;
	context = EVP_CIPHER_CTX_new();
	if (!context)
		return -ENOMEM;
	done = EVP_EncryptInit_ex2(context, cipher, key, iv, NULL) == 1 &&
	       (length == 0 || EVP_EncryptUpdate(context, out, &part, in, length) == 1);
	EVP_CIPHER_CTX_free(context);
	return done ? 0 : -EIO;
}

/* NULL: `error` says why. */
static struct digest *find_digest(const char *name, int *error)
{
	struct digest *digest = digests;

	while (digest->name && strcmp(digest->name, name) != 0)
		digest++;
	*error = -EINVAL;
	if (!digest->name)
		return NULL;
	if (!digest->digest)
		digest->digest = EVP_MD_fetch(NULL, name, NULL);
	*error = -ENOSYS;
	return digest->digest ? digest : NULL;
}

int crypto_digest_length(const char *name)
{
	int error;
	struct digest *digest = find_digest(name, &error);

	return digest ? EVP_MD_get_size(digest->digest) : error;
}

int crypto_hash(const char *name, const uint8_t *in, size_t length, uint8_t *out)
{
	int error;
	struct digest *digest = find_digest(name, &error);

	if (!digest)
		return error;
	return EVP_Digest(in, length, out, NULL, digest->digest, NULL) == 1 ? 0 : -EIO;
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

int crypto_hmac(const char *name, const uint8_t *key, size_t key_length, const uint8_t *in, size_t length,
		uint8_t *out)
{
	int error, done;
	struct digest *digest = find_digest(name, &error);
	EVP_MAC_CTX *mac = digest ? mac_of(digest) : NULL;
	size_t written;

	if (!mac)
		return digest ? -ENOMEM : error;
	done = EVP_MAC_init(mac, key, key_length, NULL) == 1 && EVP_MAC_update(mac, in, length) == 1 &&
	       EVP_MAC_final(mac, out, &written, CRYPTO_DIGEST_MAX) == 1;
	EVP_MAC_CTX_free(mac);
	return done ? 0 : -EIO;
}
