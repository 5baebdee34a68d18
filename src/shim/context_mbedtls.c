/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts on Mbed TLS: key material and settings, or which option is at fault. */
#include <mbedtls/platform_util.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shim.h"
#include "tls_mbedtls.h"

#define PEM_MAX (1 << 20)
#define CIPHERS_MAX 64
#define CHAIN_MAX 16
#define RSA_BITS_MIN 2048

static const struct {
	const char *name, *alias;
	uint16_t group;
} groups[] = {
	{ "X25519", "x25519", MBEDTLS_SSL_IANA_TLS_GROUP_X25519 },
	{ "P-256", "prime256v1", MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1 },
	{ "P-384", "secp384r1", MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1 },
	{ "P-521", "secp521r1", MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1 },
	{ "secp256r1", "p256", MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1 },
};
#define GROUPS_COUNT (sizeof(groups) / sizeof(groups[0]))

static bool refuse(struct tls_problem *problem, const char *option, const char *text)
{
	problem->option = option;
	snprintf(problem->text, sizeof(problem->text), "%s", text);
	return false;
}

int context_random(void *unused, unsigned char *out, size_t length)
{
	(void)unused;
	return shim_random(out, length) == 0 ? 0 : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

/* PEM as the library takes it, with a NUL behind. The caller wipes and frees. NULL: absurd, or no memory. */
static uint8_t *terminated(struct tls_bytes pem)
{
	uint8_t *copy = pem.length <= PEM_MAX ? malloc(pem.length + 1) : NULL;

	if (copy) {
		memcpy(copy, pem.data, pem.length);
		copy[pem.length] = 0;
	}
	return copy;
}

/* Adds to `list`. False: no PEM at all, or broken. */
static bool read_certificates(mbedtls_x509_crt *list, struct tls_bytes pem)
{
	uint8_t *copy = terminated(pem);
	bool good = copy && strstr((char *)copy, "-----BEGIN CERTIFICATE-----") &&
		    mbedtls_x509_crt_parse(list, copy, pem.length + 1) == 0;

	free(copy);
	return good;
}

static bool load_revocations(mbedtls_x509_crl *list, struct tls_bytes pem, struct tls_problem *problem)
{
	uint8_t *copy = terminated(pem);
	bool good = copy && strstr((char *)copy, "-----BEGIN X509 CRL-----") &&
		    mbedtls_x509_crl_parse(list, copy, pem.length + 1) == 0;

	free(copy);
	return good || refuse(problem, "crl", "not a PEM revocation list");
}

static bool load_key(struct tls_context *context, struct tls_bytes pem, struct tls_problem *problem)
{
	uint8_t *copy = terminated(pem);
	int error = copy ? mbedtls_pk_parse_key(&context->key, copy, pem.length + 1, NULL, 0, context_random, NULL) :
			   MBEDTLS_ERR_PK_ALLOC_FAILED;

	if (copy)
		mbedtls_platform_zeroize(copy, pem.length);
	free(copy);
	if (error == MBEDTLS_ERR_PK_PASSWORD_REQUIRED ||
	    (error && memmem(pem.data, pem.length, "-----BEGIN ENCRYPTED", 20)))
		return refuse(problem, "key", "is encrypted; passwords are not supported");
	if (error)
		return refuse(problem, "key", "not a PEM private key");
	if (mbedtls_pk_check_pair(&context->own.pk, &context->key, context_random, NULL) != 0)
		return refuse(problem, "key", "does not match the certificate");
	return true;
}

/*
 * Without an own chain the intermediates are looked for in `ca`, as OpenVPN does; but the root, which the peer
 * has or does not believe, is not sent: it would cost each handshake a packet or two.
 */
static void complete_chain(struct tls_context *context)
{
	mbedtls_x509_crt *last = &context->own, *issuer;

	for (int length = 0; length < CHAIN_MAX; length++) {
		for (issuer = &context->ca; issuer && issuer->raw.p; issuer = issuer->next)
			if (issuer->subject_raw.len == last->issuer_raw.len &&
			    memcmp(issuer->subject_raw.p, last->issuer_raw.p, last->issuer_raw.len) == 0)
				break;
		if (!issuer || !issuer->raw.p ||
		    (issuer->issuer_raw.len == issuer->subject_raw.len &&
		     memcmp(issuer->issuer_raw.p, issuer->subject_raw.p, issuer->subject_raw.len) == 0) ||
		    mbedtls_x509_crt_parse_der(&context->own, issuer->raw.p, issuer->raw.len) != 0)
			return;
		while (last->next)
			last = last->next;
	}
}

static bool is_trusted(mbedtls_x509_crt *leaf, mbedtls_x509_crt *authorities)
{
	uint32_t flags = 0;

	mbedtls_x509_crt_verify(leaf, authorities, NULL, NULL, &flags, NULL, NULL);
	return !(flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED);
}

static void find_doubts(struct tls_context *context)
{
	mbedtls_x509_crt *leaf = &context->own;

	if (!certificate_is_for(leaf, context->role, false))
		context->doubts |= TLS_DOUBT_PURPOSE;
	/* By itself, by one of the chain that is sent, or by `ca`; without that fingerprints decide. */
	if (context->has_ca && !is_trusted(leaf, leaf) && !is_trusted(leaf, &context->ca))
		context->doubts |= TLS_DOUBT_ISSUER;
}

static bool load_identity(struct tls_context *context, const struct tls_options *options,
			  struct tls_problem *problem)
{
	if (!options->cert.data) {
		if (options->key.data || context->role == TLS_SERVER)
			return refuse(problem, "cert", "is missing");
		return true;
	}
	if (!options->key.data)
		return refuse(problem, "key", "is missing");
	if (!read_certificates(&context->own, options->cert))
		return refuse(problem, "cert", "not a PEM certificate");
	if (mbedtls_pk_can_do(&context->own.pk, MBEDTLS_PK_RSA) &&
	    mbedtls_pk_get_bitlen(&context->own.pk) < RSA_BITS_MIN)
		return refuse(problem, "cert", "not usable: ee key too small");
	if (!load_key(context, options->key, problem))
		return false;
	context->not_after = certificate_seconds(&context->own.valid_to);
	if (options->extra_certs.data && !read_certificates(&context->own, options->extra_certs))
		return refuse(problem, "extra_certs", "not a PEM certificate");
	if (!context->own.next)
		complete_chain(context);
	if (mbedtls_ssl_conf_own_cert(&context->config, &context->own, &context->key) != 0)
		return refuse(problem, "cert", "not usable");
	find_doubts(context);
	return true;
}

void cipher_name(const char *mbedtls, char *out, size_t room)
{
	size_t length = 0;

	if (strncmp(mbedtls, "TLS1-3-", 7) == 0) {
		snprintf(out, room, "TLS_%s", mbedtls + 7);
		for (; *out; out++)
			if (*out == '-')
				*out = '_';
		return;
	}
	for (mbedtls += strncmp(mbedtls, "TLS-", 4) == 0 ? 4 : 0; *mbedtls && length + 1 < room; mbedtls++) {
		if (strncmp(mbedtls, "WITH-", 5) == 0)
			mbedtls += 4;
		else if (strncmp(mbedtls, "AES-", 4) == 0)
			mbedtls += 3, length += snprintf(out + length, room - length, "AES");
		else if (strcmp(mbedtls, "-SHA256") == 0 && length > 8 && memcmp(out + length - 8, "POLY1305", 8) == 0)
			break;
		else
			out[length++] = *mbedtls;
	}
	out[length < room ? length : room - 1] = 0;
}

/* Forward secrecy and AEAD, as OpenSSL's body offers. */
static bool is_good_cipher(const char *name, bool is_13)
{
	bool is_aead = strstr(name, "GCM") || strstr(name, "POLY1305");

	return is_aead && (is_13 || ((strncmp(name, "ECDHE-", 6) == 0 || strncmp(name, "DHE-", 4) == 0) &&
				     !strstr(name, "PSK") && (strstr(name, "AES") || strstr(name, "CHACHA"))));
}

/* One word of a list of ciphers, or NULL for the good ones, added to `list`. False: there is none such. */
static bool add_ciphers(int *list, size_t *count, const char *word, size_t length, bool want_13)
{
	size_t before = *count;

	for (const int *id = mbedtls_ssl_list_ciphersuites(); *id && *count < CIPHERS_MAX; id++) {
		const char *own = mbedtls_ssl_get_ciphersuite_name(*id);
		bool is_13 = strncmp(own, "TLS1-3-", 7) == 0;
		char name[64];

		cipher_name(own, name, sizeof(name));
		if (is_13 == want_13 &&
		    (word ? (strlen(name) == length && strncmp(name, word, length) == 0) ||
				    (strlen(own) == length && strncmp(own, word, length) == 0) :
			    is_good_cipher(name, is_13)))
			list[(*count)++] = *id;
	}
	return *count > before;
}

static bool set_ciphers(struct tls_context *context, const char *text, bool want_13, size_t *count,
			struct tls_problem *problem)
{
	const char *option = want_13 ? "tls_ciphersuites" : "tls_cipher";
	size_t length;

	if (!text)
		return add_ciphers(context->ciphers, count, NULL, 0, want_13);
	for (; *text; text += length + (text[length] == ':')) {
		length = strcspn(text, ":");
		if (add_ciphers(context->ciphers, count, text, length, want_13))
			continue;
		refuse(problem, option, "");
		snprintf(problem->text, sizeof(problem->text), "not usable: Mbed TLS has no cipher named %.*s",
			 (int)(length < 64 ? length : 64), text);
		certificate_sanitise(problem->text);
		return false;
	}
	return true;
}

static bool set_groups(struct tls_context *context, const char *text, struct tls_problem *problem)
{
	size_t count = 0, length, i;

	for (; *text; text += length + (text[length] == ':')) {
		length = strcspn(text, ":");
		for (i = 0; i < GROUPS_COUNT; i++)
			if ((strlen(groups[i].name) == length && strncasecmp(groups[i].name, text, length) == 0) ||
			    (strlen(groups[i].alias) == length && strncasecmp(groups[i].alias, text, length) == 0))
				break;
		if (i == GROUPS_COUNT || count == GROUPS_COUNT)
			return refuse(problem, "tls_groups", "not usable: not among X25519, P-256, P-384, P-521");
		context->groups[count++] = groups[i].group;
	}
	if (count == 0)
		return refuse(problem, "tls_groups", "not usable: no group");
	mbedtls_ssl_conf_groups(&context->config, context->groups);
	return true;
}

static int version_of(const char *text)
{
	if (strcmp(text, "1.2") == 0)
		return MBEDTLS_SSL_VERSION_TLS1_2;
	return strcmp(text, "1.3") == 0 ? MBEDTLS_SSL_VERSION_TLS1_3 : -1;
}

static bool set_protocol(struct tls_context *context, const struct tls_options *options,
			 struct tls_problem *problem)
{
	int min = version_of(options->version_min);
	int max = options->version_max ? version_of(options->version_max) : MBEDTLS_SSL_VERSION_TLS1_3;
	mbedtls_ssl_config *config = &context->config;
	size_t count = 0;

	if (min < 0 || max < min)
		return refuse(problem, "tls_version_min", "must be 1.2 or 1.3, and not above the highest version");
	if (psa_crypto_init() != PSA_SUCCESS ||
	    mbedtls_ssl_config_defaults(config,
					context->role == TLS_SERVER ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
					MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return refuse(problem, "tls_version_min", "TLS cannot be set up");
	mbedtls_ssl_conf_rng(config, context_random, NULL);
	mbedtls_ssl_conf_min_tls_version(config, min);
	mbedtls_ssl_conf_max_tls_version(config, max);
	/* All else is decided in on_certificate() and settle(): that what is optional must be good when it is there. */
	mbedtls_ssl_conf_authmode(config, context->verify == TLS_VERIFY_NONE ? MBEDTLS_SSL_VERIFY_NONE :
				  context->has_ca && context->role == TLS_CLIENT ? MBEDTLS_SSL_VERIFY_REQUIRED :
										   MBEDTLS_SSL_VERIFY_OPTIONAL);
	/* A new key_id is a new handshake: nothing is resumed or renegotiated, and nothing is offered for it. */
#ifdef MBEDTLS_SSL_SESSION_TICKETS
	mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
#ifdef MBEDTLS_SSL_SRV_C
	mbedtls_ssl_conf_new_session_tickets(config, 0);
#endif
#endif
#ifdef MBEDTLS_SSL_RENEGOTIATION
	mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
	mbedtls_ssl_conf_tls13_key_exchange_modes(config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	if (!set_ciphers(context, options->cipher_suites, true, &count, problem) ||
	    !set_ciphers(context, options->cipher_list, false, &count, problem))
		return false;
	mbedtls_ssl_conf_ciphersuites(config, context->ciphers);
	return !options->groups || set_groups(context, options->groups, problem);
}

struct tls_context *tls_context_new(const struct tls_options *options, struct tls_problem *problem)
{
	struct tls_context *context = calloc(1, sizeof(*context));

	*problem = (struct tls_problem){ "ca", "no memory" };
	if (!context)
		return NULL;
	context->users = 1;
	context->role = options->role;
	context->remote_cert_tls = options->remote_cert_tls;
	context->verify = options->verify;
	context->has_ca = options->ca.data;
	mbedtls_ssl_config_init(&context->config);
	mbedtls_x509_crt_init(&context->ca);
	mbedtls_x509_crt_init(&context->own);
	mbedtls_x509_crl_init(&context->crl);
	mbedtls_pk_init(&context->key);
	context->ciphers = calloc(CIPHERS_MAX + 1, sizeof(*context->ciphers));
	context->groups = calloc(GROUPS_COUNT + 1, sizeof(*context->groups));
	if (!context->ciphers || !context->groups || !set_protocol(context, options, problem))
		goto failed;
	if (options->crl.data && !load_revocations(&context->crl, options->crl, problem))
		goto failed;
	if (context->has_ca) {
		if (!read_certificates(&context->ca, options->ca)) {
			refuse(problem, "ca", "not a PEM certificate");
			goto failed;
		}
		/* A server tells which authorities it believes, as OpenVPN's does. */
		mbedtls_ssl_conf_ca_chain(&context->config, &context->ca, options->crl.data ? &context->crl : NULL);
	}
	if (load_identity(context, options, problem))
		return context;
failed:
	context_release(context);
	return NULL;
}

bool tls_context_set_crl(struct tls_context *context, struct tls_bytes pem)
{
	struct tls_problem unused;
	mbedtls_x509_crl list;

	mbedtls_x509_crl_init(&list);
	if (!load_revocations(&list, pem, &unused)) {
		mbedtls_x509_crl_free(&list);
		return false;
	}
	mbedtls_x509_crl_free(&context->crl);
	context->crl = list;
	if (context->has_ca)
		mbedtls_ssl_conf_ca_chain(&context->config, &context->ca, &context->crl);
	return true;
}

void context_release(struct tls_context *context)
{
	if (--context->users > 0)
		return;
	mbedtls_ssl_config_free(&context->config);
	mbedtls_x509_crt_free(&context->ca);
	mbedtls_x509_crt_free(&context->own);
	mbedtls_x509_crl_free(&context->crl);
	mbedtls_pk_free(&context->key);
	free(context->ciphers);
	free(context->groups);
	free(context);
}

void tls_context_free(struct tls_context *context)
{
	context_release(context);
}

int64_t tls_context_not_after(const struct tls_context *context)
{
	return context->not_after;
}

unsigned int tls_context_doubts(const struct tls_context *context)
{
	return context->doubts;
}
