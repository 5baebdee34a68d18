/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys with OpenSSL 3: making them, their public half, signatures. What is signed (certificates, revocation
 * lists) is written in src/pki.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <string.h>

#include "shim.h"

/* The largest RSA key that anybody has. */
#define SIGNATURE_MAX 1024
#define DATA_MAX (16 << 20)

static int64_t result_der(struct shim_call *call, unsigned char *der, int length)
{
	uint8_t *out = length > 0 ? shim_result_bytes(call, length) : NULL;

	if (out)
		memcpy(out, der, length);
	OPENSSL_clear_free(der, length > 0 ? length : 0);
	return out ? 0 : -ENOMEM;
}

/* A fresh key in PKCS #8, DER. `kind`: P-256, P-384 or Ed25519. */
static int64_t pkey_generate(struct shim_call *call)
{
	const char *kind = call->in[0].text;
	EVP_PKEY *key;
	PKCS8_PRIV_KEY_INFO *info;
	unsigned char *der = NULL;
	int length;

	if (strcmp(kind, "P-256") == 0 || strcmp(kind, "P-384") == 0)
		key = EVP_EC_gen(kind);
	else if (strcmp(kind, "Ed25519") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		return -EINVAL;
	info = key ? EVP_PKEY2PKCS8(key) : NULL;
	EVP_PKEY_free(key);
	if (!info)
		return -ENOSYS;
	length = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	PKCS8_PRIV_KEY_INFO_free(info);
	return result_der(call, der, length);
}

/* Nobody is asked for a password. */
static int no_password(char *out, int room, int writing, void *user)
{
	(void)out, (void)room, (void)writing, (void)user;
	return -1;
}

static EVP_PKEY *read_key(struct shim_call *call)
{
	size_t length = call->in[0].bytes.length;
	BIO *pem = length <= DATA_MAX ? BIO_new_mem_buf(call->in[0].bytes.data, length) : NULL;
	EVP_PKEY *key = pem ? PEM_read_bio_PrivateKey(pem, NULL, no_password, NULL) : NULL;

	BIO_free(pem);
	return key;
}

/* The public half as SubjectPublicKeyInfo, DER. -EINVAL: no private key in PEM form. */
static int64_t pkey_public(struct shim_call *call)
{
	EVP_PKEY *key = read_key(call);
	unsigned char *der = NULL;
	int length;

	if (!key)
		return -EINVAL;
	length = i2d_PUBKEY(key, &der);
	EVP_PKEY_free(key);
	return result_der(call, der, length);
}

/*
 * A signature as certificates carry it: ECDSA and RSA (PKCS #1) over SHA-256, over SHA-384 with P-384; Ed25519.
 * -EINVAL: no private key in PEM form.
 */
static int64_t pkey_sign(struct shim_call *call)
{
	EVP_PKEY *key = read_key(call);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	const EVP_MD *digest = NULL;
	uint8_t signature[SIGNATURE_MAX], *out;
	size_t length = sizeof(signature);
	bool done = false;

	if (key && context && call->in[1].bytes.length <= DATA_MAX) {
		if (!EVP_PKEY_is_a(key, "ED25519"))
			digest = EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
		done = EVP_DigestSignInit(context, NULL, digest, NULL, key) == 1 &&
		       EVP_DigestSign(context, signature, &length, call->in[1].bytes.data, call->in[1].bytes.length) == 1;
	}
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	if (!key)
		return -EINVAL;
	out = done ? shim_result_bytes(call, length) : NULL;
	if (!out)
		return done ? -ENOMEM : -EIO;
	memcpy(out, signature, length);
	return 0;
}

static int64_t result_pem(struct shim_call *call, EVP_PKEY *key, X509 *leaf, STACK_OF(X509) *others)
{
	BIO *pem = BIO_new(BIO_s_mem());
	bool done = pem && PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		    PEM_write_bio_X509(pem, leaf) == 1;
	char *text;
	long length;
	uint8_t *out = NULL;

	for (int i = 0; done && i < sk_X509_num(others); i++)
		done = PEM_write_bio_X509(pem, sk_X509_value(others, i)) == 1;
	length = done ? BIO_get_mem_data(pem, &text) : 0;
	if (length > 0 && (out = shim_result_bytes(call, length)))
		memcpy(out, text, length);
	/* It wipes what it held. */
	BIO_free(pem);
	return out ? 0 : -ENOMEM;
}

/*
 * What a PKCS #12 file holds, in PEM: the private key, its certificate, all other certificates. -EINVAL: it is no such
 * file, or has no key with a certificate; -EACCES: it has a password; -EOPNOTSUPP: it is encrypted as this library does not
 * decrypt (RC2 and its like); -ENOSYS: this build has no PKCS #12.
 */
static int64_t pkey_pkcs12(struct shim_call *call)
{
	const unsigned char *data = call->in[0].bytes.data;
	size_t length = call->in[0].bytes.length;
	PKCS12 *file = length <= DATA_MAX ? d2i_PKCS12(NULL, &data, length) : NULL;
	EVP_PKEY *key = NULL;
	X509 *leaf = NULL;
	STACK_OF(X509) *others = NULL;
	int64_t result = -EINVAL;

	/* Two ways to write that there is no password. */
	if (file && PKCS12_mac_present(file) && !PKCS12_verify_mac(file, NULL, 0) && !PKCS12_verify_mac(file, "", 0))
		result = -EACCES;
	else if (file && PKCS12_parse(file, NULL, &key, &leaf, &others) != 1)
		result = -EOPNOTSUPP;
	else if (key && leaf)
		result = result_pem(call, key, leaf, others);
	PKCS12_free(file);
	EVP_PKEY_free(key);
	X509_free(leaf);
	sk_X509_pop_free(others, X509_free);
	ERR_clear_error();
	return result;
}

const struct shim_entry shim_pkey[] = {
	{ "pkey_generate", pkey_generate, "s:kind" },
	{ "pkey_public", pkey_public, "b:pem" },
	{ "pkey_sign", pkey_sign, "b:pem b:data" },
	{ "pkey_pkcs12", pkey_pkcs12, "b:file" },
	{ 0 },
};
