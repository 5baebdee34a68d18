/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cryptography neutral of the library behind it: crypto.c gives it to JavaScript, crypto_openssl.c and
 * crypto_mbedtls.c are its bodies. Algorithms by their OpenVPN names. Lengths are at most CRYPTO_DATA_MAX, outputs
 * do not overlap inputs where nothing else is said. Functions return 0 or -errno.
 */
#ifndef OVPND_CRYPTO_H
#define OVPND_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#define CRYPTO_NONCE_LENGTH 12
#define CRYPTO_TAG_LENGTH 16
#define CRYPTO_DIGEST_MAX 64
/* Nothing that OpenVPN encrypts or hashes is longer; it keeps lengths far inside an int. */
#define CRYPTO_DATA_MAX (16 << 20)

/* A key, ready for both directions. */
struct crypto_aead;

/* NULL: `error` is -EINVAL (no such cipher, or a key of another length), -ENOSYS or -ENOMEM. */
struct crypto_aead *crypto_aead_new(const char *cipher, const uint8_t *key, size_t length, int *error);
/* Wipes the key. */
void crypto_aead_free(struct crypto_aead *aead);
/* The tag stands apart, for OpenVPN puts it in front. `out` is `in` or apart from it. */
int crypto_aead_seal(struct crypto_aead *aead, const uint8_t *nonce, const uint8_t *aad, size_t aad_length,
		     const uint8_t *in, size_t length, uint8_t *out, uint8_t *tag);
/* -EBADMSG: the tag is wrong, and `out` is wiped. */
int crypto_aead_open(struct crypto_aead *aead, const uint8_t *nonce, const uint8_t *aad, size_t aad_length,
		     const uint8_t *in, size_t length, const uint8_t *tag, uint8_t *out);

/* AES-256-CTR: 32 bytes of key, 16 of first counter block. */
int crypto_ctr(const uint8_t *key, const uint8_t *iv, const uint8_t *in, size_t length, uint8_t *out);

/* Bytes of a digest, at most CRYPTO_DIGEST_MAX; -EINVAL: no such digest; -ENOSYS: the library lacks it. */
int crypto_digest_length(const char *digest);
int crypto_hash(const char *digest, const uint8_t *in, size_t length, uint8_t *out);
int crypto_hmac(const char *digest, const uint8_t *key, size_t key_length, const uint8_t *in, size_t length,
		uint8_t *out);

#endif
