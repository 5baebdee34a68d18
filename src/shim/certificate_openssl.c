/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate says, with OpenSSL 3. */
#include "tls_openssl.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SERIAL_BITS_MAX 512

void certificate_sanitise(char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '_';
}

int64_t certificate_seconds(const ASN1_TIME *when)
{
	struct tm tm = { 0 };

	return ASN1_TIME_to_tm(when, &tm) == 1 ? timegm(&tm) : 0;
}

/* NULL when good, else why the names in this certificate cannot be believed. */
static const char *read_name(X509_NAME *name, struct tls_peer *peer)
{
	const char *why = NULL;
	int length;
	BIO *text;

	for (int i = 0; i < X509_NAME_entry_count(name) && !why; i++) {
		X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
		unsigned char *utf8 = NULL;

		length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
		if (length < 0)
			why = "certificate subject is malformed";
		/* `good.example\0evil` must not pass for `good.example`. */
		else if (memchr(utf8, 0, length))
			why = "certificate subject contains NUL";
		else if (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) != NID_commonName)
			;
		else if (length > TLS_COMMON_NAME_MAX)
			why = "certificate common name is longer than 64 characters";
		else
			memcpy(peer->common_name, utf8, length + 1);
		OPENSSL_free(utf8);
	}
	if (why)
		return why;
	text = BIO_new(BIO_s_mem());
	if (!text)
		return "no memory";
	/* The form of OpenVPN: `C=KG, ST=NA, CN=x`. */
	X509_NAME_print_ex(text, name, 0, XN_FLAG_SEP_CPLUS_SPC | XN_FLAG_FN_SN | ASN1_STRFLGS_UTF8_CONVERT |
			   ASN1_STRFLGS_ESC_CTRL);
	if (BIO_pending(text) >= (int)sizeof(peer->subject))
		why = "certificate subject is too long";
	else if ((length = BIO_read(text, peer->subject, sizeof(peer->subject) - 1)) > 0)
		peer->subject[length] = 0;
	BIO_free(text);
	certificate_sanitise(peer->common_name);
	certificate_sanitise(peer->subject);
	return why;
}

const char *certificate_read(X509 *certificate, struct tls_peer *peer)
{
	const char *why;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int length = 0;
	BIGNUM *serial;
	char *decimal;

	memset(peer, 0, sizeof(*peer));
	why = read_name(X509_get_subject_name(certificate), peer);
	if (why)
		return why;
	if (X509_digest(certificate, EVP_sha256(), digest, &length) != 1 || length != 32)
		return "certificate cannot be hashed";
	for (unsigned int i = 0; i < length; i++)
		snprintf(peer->fingerprint + 2 * i, 3, "%02x", digest[i]);
	serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	if (!serial || BN_num_bits(serial) > SERIAL_BITS_MAX) {
		BN_free(serial);
		return "certificate serial number is too long";
	}
	decimal = BN_bn2dec(serial);
	snprintf(peer->serial, sizeof(peer->serial), "%s", decimal ? decimal : "");
	OPENSSL_free(decimal);
	BN_free(serial);
	peer->not_after = certificate_seconds(X509_get0_notAfter(certificate));
	return NULL;
}

bool certificate_is_for(X509 *leaf, enum tls_role role)
{
	uint32_t wanted = XKU_ANYEKU | (role == TLS_SERVER ? XKU_SSL_SERVER : XKU_SSL_CLIENT);

	return !(X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE) || (X509_get_extended_key_usage(leaf) & wanted);
}

const char *certificate_check_usage(X509 *leaf, enum tls_role role)
{
	uint32_t flags = X509_get_extension_flags(leaf);
	uint32_t wanted = role == TLS_SERVER ? XKU_SSL_SERVER : XKU_SSL_CLIENT;

	if (!(flags & EXFLAG_KUSAGE))
		return "certificate has no key usage (remote_cert_tls)";
	if (!(flags & EXFLAG_XKUSAGE) || !(X509_get_extended_key_usage(leaf) & wanted))
		return role == TLS_SERVER ? "certificate is not for a server (remote_cert_tls)" :
					    "certificate is not for a client (remote_cert_tls)";
	return NULL;
}
