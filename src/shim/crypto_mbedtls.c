/* SPDX-License-Identifier: Apache-2.0 */
/* AEAD, counter mode, digests and HMAC from Mbed TLS 3.6. */
#include <errno.h>
#include <mbedtls/aes.h>
#include <mbedtls/chachapoly.h>
#include <mbedtls/gcm.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"

struct crypto_aead {
	bool is_chacha;
	union {
		mbedtls_gcm_context gcm;
		mbedtls_chachapoly_context chacha;
	};
};

struct crypto_aead *crypto_aead_new(const char *name, const uint8_t *key, size_t length, int *error)
{
	static const struct {
		const char *name;
		size_t length;
	} ciphers[] = {
		{ "AES-128-GCM", 16 }, { "AES-192-GCM", 24 }, { "AES-256-GCM", 32 }, { "CHACHA20-POLY1305", 32 },
	};
	struct crypto_aead *aead;
	size_t i = 0;

	*error = -EINVAL;
	while (strcmp(ciphers[i].name, name) != 0)
		if (++i == sizeof(ciphers) / sizeof(ciphers[0]))
			return NULL;
	if (length != ciphers[i].length)
		return NULL;
	*error = -ENOMEM;
	aead = calloc(1, sizeof(*aead));
	if (!aead)
		return NULL;
	aead->is_chacha = i == 3;
	if (aead->is_chacha) {
		mbedtls_chachapoly_init(&aead->chacha);
		*error = mbedtls_chachapoly_setkey(&aead->chacha, key);
	} else {
		mbedtls_gcm_init(&aead->gcm);
		*error = mbedtls_gcm_setkey(&aead->gcm, MBEDTLS_CIPHER_ID_AES, key, length * 8);
	}
	if (*error == 0)
		return aead;
	*error = -EIO;
	crypto_aead_free(aead);
	return NULL;
}

void crypto_aead_free(struct crypto_aead *aead)
{
	if (aead->is_chacha)
		mbedtls_chachapoly_free(&aead->chacha);
	else
		mbedtls_gcm_free(&aead->gcm);
	mbedtls_platform_zeroize(aead, sizeof(*aead));
	free(aead);
}

int crypto_aead_seal(struct crypto_aead *aead, const uint8_t *nonce, const uint8_t *aad, size_t aad_length,
		     const uint8_t *in, size_t length, uint8_t *out, uint8_t *tag)
{
	int error = aead->is_chacha ?
			    mbedtls_chachapoly_encrypt_and_tag(&aead->chacha, length, nonce, aad, aad_length, in, out,
							       tag) :
			    mbedtls_gcm_crypt_and_tag(&aead->gcm, MBEDTLS_GCM_ENCRYPT, length, nonce,
						      CRYPTO_NONCE_LENGTH, aad, aad_length, in, out, CRYPTO_TAG_LENGTH,
						      tag);

	return error ? -EIO : 0;
}

int crypto_aead_open(struct crypto_aead *aead, const uint8_t *nonce, const uint8_t *aad, size_t aad_length,
		     const uint8_t *in, size_t length, const uint8_t *tag, uint8_t *out)
{
	int error;

	/* Both wipe the output when the tag is wrong. */
	error = aead->is_chacha ?
			mbedtls_chachapoly_auth_decrypt(&aead->chacha, length, nonce, aad, aad_length, tag, in, out) :
			mbedtls_gcm_auth_decrypt(&aead->gcm, length, nonce, CRYPTO_NONCE_LENGTH, aad, aad_length,
						 tag, CRYPTO_TAG_LENGTH, in, out);
	if (error == MBEDTLS_ERR_GCM_AUTH_FAILED || error == MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED)
		return -EBADMSG;
	return error ? -EIO : 0;
}

int crypto_ctr(const uint8_t *key, const uint8_t *iv, const uint8_t *in, size_t length, uint8_t *out)
{
	uint8_t counter[16], stream[16];
	mbedtls_aes_context aes;
	size_t offset = 0;
	int error;

	memcpy(counter, iv, sizeof(counter));
	mbedtls_aes_init(&aes);
	error = mbedtls_aes_setkey_enc(&aes, key, 256);
	if (!error)
		error = mbedtls_aes_crypt_ctr(&aes, length, &offset, counter, stream, in, out);
	mbedtls_aes_free(&aes);
	mbedtls_platform_zeroize(stream, sizeof(stream));
	return error ? -EIO : 0;
}

/* NULL: `error` says why. */
static const mbedtls_md_info_t *find_digest(const char *name, int *error)
{
	static const struct {
		const char *name;
		mbedtls_md_type_t type;
	} digests[] = {
		{ "MD5", MBEDTLS_MD_MD5 },       { "SHA1", MBEDTLS_MD_SHA1 },     { "SHA256", MBEDTLS_MD_SHA256 },
		{ "SHA384", MBEDTLS_MD_SHA384 }, { "SHA512", MBEDTLS_MD_SHA512 },
	};
	const mbedtls_md_info_t *info;

	*error = -EINVAL;
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
		if (strcmp(digests[i].name, name) != 0)
			continue;
		info = mbedtls_md_info_from_type(digests[i].type);
		*error = -ENOSYS;
		return info;
	}
	return NULL;
}

int crypto_digest_length(const char *name)
{
	int error;
	const mbedtls_md_info_t *info = find_digest(name, &error);

	return info ? mbedtls_md_get_size(info) : error;
}

int crypto_hash(const char *name, const uint8_t *in, size_t length, uint8_t *out)
{
	int error;
	const mbedtls_md_info_t *info = find_digest(name, &error);

	if (!info)
		return error;
	return mbedtls_md(info, in, length, out) ? -EIO : 0;
}

int crypto_hmac(const char *name, const uint8_t *key, size_t key_length, const uint8_t *in, size_t length,
		uint8_t *out)
{
	int error;
	const mbedtls_md_info_t *info = find_digest(name, &error);

	if (!info)
		return error;
	return mbedtls_md_hmac(info, key, key_length, in, length, out) ? -EIO : 0;
}
