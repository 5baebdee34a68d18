/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys with Mbed TLS: making them, their public half, signatures. What is signed (certificates, revocation
 * lists) is written in src/pki. The library has no Ed25519.
 */
#include <mbedtls/asn1write.h>
#include <mbedtls/ecp.h>
#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"
#include "tls_mbedtls.h"

/* The largest RSA key that anybody has. */
#define DER_MAX 4096
#define DATA_MAX (16 << 20)

/* The library writes DER from the end of a buffer: its last `length` bytes. Wipes the buffer. */
static int64_t result_der(struct shim_call *call, uint8_t *buffer, int length)
{
	uint8_t *out = length > 0 ? shim_result_bytes(call, length) : NULL;

	if (out)
		memcpy(out, buffer + DER_MAX - length, length);
	mbedtls_platform_zeroize(buffer, DER_MAX);
	return out ? 0 : length > 0 ? -ENOMEM : -EIO;
}

/* Around ECPrivateKey at the end of `buffer`: PKCS #8, the form of all other keys. The new length; below 0: failed. */
static int wrap_key(uint8_t *buffer, int length, const char *curve, size_t curve_length)
{
	uint8_t *at = buffer + DER_MAX - length;
	int ret = 0, inner = length, algorithm = 0;

	MBEDTLS_ASN1_CHK_ADD(inner, mbedtls_asn1_write_len(&at, buffer, length));
	MBEDTLS_ASN1_CHK_ADD(inner, mbedtls_asn1_write_tag(&at, buffer, MBEDTLS_ASN1_OCTET_STRING));
	MBEDTLS_ASN1_CHK_ADD(algorithm, mbedtls_asn1_write_oid(&at, buffer, curve, curve_length));
	MBEDTLS_ASN1_CHK_ADD(inner, mbedtls_asn1_write_algorithm_identifier(&at, buffer, MBEDTLS_OID_EC_ALG_UNRESTRICTED,
									    MBEDTLS_OID_SIZE(MBEDTLS_OID_EC_ALG_UNRESTRICTED),
									    algorithm));
	MBEDTLS_ASN1_CHK_ADD(inner, mbedtls_asn1_write_int(&at, buffer, 0));
	MBEDTLS_ASN1_CHK_ADD(inner, mbedtls_asn1_write_len(&at, buffer, inner));
	MBEDTLS_ASN1_CHK_ADD(inner, mbedtls_asn1_write_tag(&at, buffer, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE));
	return inner;
}

/* A fresh key in PKCS #8, DER. `kind`: P-256 or P-384; Ed25519: -ENOSYS. */
static int64_t pkey_generate(struct shim_call *call)
{
	const char *kind = call->in[0].text;
	bool is_256 = strcmp(kind, "P-256") == 0;
	const char *curve = is_256 ? MBEDTLS_OID_EC_GRP_SECP256R1 : MBEDTLS_OID_EC_GRP_SECP384R1;
	uint8_t buffer[DER_MAX];
	mbedtls_pk_context key;
	int length = -1;

	if (!is_256 && strcmp(kind, "P-384") != 0)
		return strcmp(kind, "Ed25519") == 0 ? -ENOSYS : -EINVAL;
	mbedtls_pk_init(&key);
	if (mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) == 0 &&
	    mbedtls_ecp_gen_key(is_256 ? MBEDTLS_ECP_DP_SECP256R1 : MBEDTLS_ECP_DP_SECP384R1, mbedtls_pk_ec(key),
				context_random, NULL) == 0)
		length = mbedtls_pk_write_key_der(&key, buffer, DER_MAX);
	mbedtls_pk_free(&key);
	if (length > 0)
		length = wrap_key(buffer, length, curve,
				  is_256 ? MBEDTLS_OID_SIZE(MBEDTLS_OID_EC_GRP_SECP256R1) :
					   MBEDTLS_OID_SIZE(MBEDTLS_OID_EC_GRP_SECP384R1));
	return result_der(call, buffer, length);
}

/* False: no private key in PEM form. Free it in any case. */
static bool read_key(struct shim_call *call, mbedtls_pk_context *key)
{
	size_t length = call->in[0].bytes.length;
	uint8_t *copy = length <= DATA_MAX ? malloc(length + 1) : NULL;
	bool good = false;

	mbedtls_pk_init(key);
	if (copy) {
		memcpy(copy, call->in[0].bytes.data, length);
		copy[length] = 0;
		/* It would take DER as well. */
		good = strstr((char *)copy, "-----BEGIN ") &&
		       mbedtls_pk_parse_key(key, copy, length + 1, NULL, 0, context_random, NULL) == 0;
		mbedtls_platform_zeroize(copy, length);
	}
	free(copy);
	return good;
}

/* The public half as SubjectPublicKeyInfo, DER. -EINVAL: no private key in PEM form. */
static int64_t pkey_public(struct shim_call *call)
{
	uint8_t buffer[DER_MAX];
	mbedtls_pk_context key;
	int64_t result = -EINVAL;

	if (read_key(call, &key))
		result = result_der(call, buffer, mbedtls_pk_write_pubkey_der(&key, buffer, DER_MAX));
	mbedtls_pk_free(&key);
	return result;
}

/*
 * A signature as certificates carry it: ECDSA and RSA (PKCS #1) over SHA-256, over SHA-384 with P-384. -EINVAL: no
 * private key in PEM form.
 */
static int64_t pkey_sign(struct shim_call *call)
{
	uint8_t digest[MBEDTLS_MD_MAX_SIZE], signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE], *out;
	const union shim_value *data = &call->in[1];
	mbedtls_md_type_t type = MBEDTLS_MD_SHA256;
	mbedtls_pk_context key;
	size_t length = 0;
	int64_t result = -EINVAL;

	if (read_key(call, &key)) {
		if (mbedtls_pk_can_do(&key, MBEDTLS_PK_ECKEY) && mbedtls_pk_get_bitlen(&key) > 256)
			type = MBEDTLS_MD_SHA384;
		result = data->bytes.length <= DATA_MAX &&
					 mbedtls_md(mbedtls_md_info_from_type(type), data->bytes.data,
						    data->bytes.length, digest) == 0 &&
					 mbedtls_pk_sign(&key, type, digest, 0, signature, sizeof(signature), &length,
							 context_random, NULL) == 0 ?
				 0 : -EIO;
	}
	mbedtls_pk_free(&key);
	if (result < 0)
		return result;
	out = shim_result_bytes(call, length);
	if (!out)
		return -ENOMEM;
	memcpy(out, signature, length);
	return 0;
}

/* Mbed TLS has the ciphers of PKCS #12 and no reader for it. */
static int64_t pkey_pkcs12(struct shim_call *call)
{
	(void)call;
	return -ENOSYS;
}

const struct shim_entry shim_pkey[] = {
	{ "pkey_generate", pkey_generate, "s:kind" },
	{ "pkey_public", pkey_public, "b:pem" },
	{ "pkey_sign", pkey_sign, "b:pem b:data" },
	{ "pkey_pkcs12", pkey_pkcs12, "b:file" },
	{ 0 },
};
