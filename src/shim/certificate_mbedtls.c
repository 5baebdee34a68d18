/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate says, with Mbed TLS. */
#include <mbedtls/bignum.h>
#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls_mbedtls.h"

#define SERIAL_BYTES_MAX 64
#define VALUE_MAX 512

void certificate_sanitise(char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '_';
}

int64_t certificate_seconds(const mbedtls_x509_time *when)
{
	struct tm tm = {
		.tm_year = when->year - 1900,
		.tm_mon = when->mon - 1,
		.tm_mday = when->day,
		.tm_hour = when->hour,
		.tm_min = when->min,
		.tm_sec = when->sec,
	};

	return timegm(&tm);
}

/* The value of one attribute with a NUL behind it. NULL when good, else what is wrong with it. */
static const char *read_value(const mbedtls_asn1_buf *value, char *out)
{
	size_t at = 0, step = value->tag == MBEDTLS_ASN1_BMP_STRING ? 2 : 1;

	if (value->len >= VALUE_MAX || value->len % step)
		return "certificate subject is malformed";
	/* Of two-byte characters those above 0xff become `_` when they are shown, like all that is not ASCII. */
	for (size_t i = 0; i < value->len; i += step) {
		out[at] = step == 1 ? value->p[i] : value->p[i] ? '\x7f' : value->p[i + 1];
		/* `good.example\0evil` must not pass for `good.example`. */
		if (!out[at++])
			return "certificate subject contains NUL";
	}
	out[at] = 0;
	return NULL;
}

/* In the form of OpenVPN: `C=KG, ST=NA, CN=x`. NULL when good, else why the names cannot be believed. */
static const char *read_name(const mbedtls_x509_name *name, struct tls_peer *peer)
{
	size_t at = 0, room = sizeof(peer->subject);
	const char *separator = "", *kind, *why;
	char value[VALUE_MAX], number[64];

	for (; name && name->oid.p; name = name->next) {
		why = read_value(&name->val, value);
		if (why) {
			/* Named as far as it goes, for the error. */
			snprintf(peer->common_name, sizeof(peer->common_name), "%s", value);
			return why;
		}
		if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &name->oid) == 0) {
			if (strlen(value) > TLS_COMMON_NAME_MAX)
				return "certificate common name is longer than 64 characters";
			snprintf(peer->common_name, sizeof(peer->common_name), "%s", value);
		}
		if (mbedtls_oid_get_attr_short_name(&name->oid, &kind) != 0)
			kind = mbedtls_oid_get_numeric_string(number, sizeof(number), &name->oid) > 0 ? number : "?";
		at += snprintf(peer->subject + at, room - at, "%s%s=%s", separator, kind, value);
		if (at >= room)
			return "certificate subject is too long";
		separator = name->MBEDTLS_PRIVATE(next_merged) ? " + " : ", ";
	}
	certificate_sanitise(peer->common_name);
	certificate_sanitise(peer->subject);
	return NULL;
}

const char *certificate_read(const mbedtls_x509_crt *certificate, struct tls_peer *peer)
{
	const mbedtls_x509_buf *serial = &certificate->serial;
	unsigned char digest[32];
	mbedtls_mpi number;
	const char *why;
	size_t length;

	memset(peer, 0, sizeof(*peer));
	why = read_name(&certificate->subject, peer);
	if (why)
		return why;
	if (mbedtls_sha256(certificate->raw.p, certificate->raw.len, digest, 0) != 0)
		return "certificate cannot be hashed";
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(peer->fingerprint + 2 * i, 3, "%02x", digest[i]);
	mbedtls_mpi_init(&number);
	if (serial->len > SERIAL_BYTES_MAX || mbedtls_mpi_read_binary(&number, serial->p, serial->len) != 0 ||
	    mbedtls_mpi_write_string(&number, 10, peer->serial, sizeof(peer->serial), &length) != 0)
		why = "certificate serial number is too long";
	mbedtls_mpi_free(&number);
	peer->not_after = certificate_seconds(&certificate->valid_to);
	return why;
}

bool certificate_is_for(const mbedtls_x509_crt *leaf, enum tls_role role, bool strict)
{
	const mbedtls_x509_sequence *usage = &leaf->ext_key_usage;

	if (!mbedtls_x509_crt_has_ext_type(leaf, MBEDTLS_X509_EXT_EXTENDED_KEY_USAGE))
		return !strict;
	for (; usage; usage = usage->next)
		if ((role == TLS_SERVER ? MBEDTLS_OID_CMP(MBEDTLS_OID_SERVER_AUTH, &usage->buf) :
					  MBEDTLS_OID_CMP(MBEDTLS_OID_CLIENT_AUTH, &usage->buf)) == 0 ||
		    (!strict && MBEDTLS_OID_CMP(MBEDTLS_OID_ANY_EXTENDED_KEY_USAGE, &usage->buf) == 0))
			return true;
	return false;
}

const char *certificate_check_usage(const mbedtls_x509_crt *leaf, enum tls_role role)
{
	if (!mbedtls_x509_crt_has_ext_type(leaf, MBEDTLS_X509_EXT_KEY_USAGE))
		return "certificate has no key usage (remote_cert_tls)";
	if (certificate_is_for(leaf, role, true))
		return NULL;
	return role == TLS_SERVER ? "certificate is not for a server (remote_cert_tls)" :
				    "certificate is not for a client (remote_cert_tls)";
}
