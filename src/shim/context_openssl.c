/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts on OpenSSL 3: key material and settings, or which option is at fault. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_openssl.h"

#define PEM_MAX (1 << 20)
#define CHAIN_MAX 16
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL"

static bool refuse(struct tls_problem *problem, const char *option, const char *text)
{
	problem->option = option;
	snprintf(problem->text, sizeof(problem->text), "%s", text);
	return false;
}

/* With the library's own reason, e.g. `ee key too small`. */
static bool refuse_reason(struct tls_problem *problem, const char *option, const char *text)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	problem->option = option;
	snprintf(problem->text, sizeof(problem->text), "%s%s%s", text, reason ? ": " : "", reason ? reason : "");
	return false;
}

/* NULL: no PEM at all, or broken. */
static STACK_OF(X509) *read_certificates(struct tls_bytes pem)
{
	STACK_OF(X509) *list = sk_X509_new_null();
	BIO *bio = pem.length <= PEM_MAX ? BIO_new_mem_buf(pem.data, pem.length) : NULL;
	X509 *certificate;

	ERR_clear_error();
	while (bio && list && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		if (!sk_X509_push(list, certificate))
			X509_free(certificate);
	BIO_free(bio);
	if (sk_X509_num(list) <= 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		sk_X509_pop_free(list, X509_free);
		list = NULL;
	}
	ERR_clear_error();
	return list;
}

static int on_password(char *buffer, int size, int writing, void *encrypted)
{
	(void)buffer;
	(void)size;
	(void)writing;
	*(bool *)encrypted = true;
	return -1;
}

static bool load_ca(struct tls_context *context, struct tls_bytes pem, struct tls_problem *problem)
{
	STACK_OF(X509) *list = read_certificates(pem);
	bool good = list;

	if (!list)
		return refuse(problem, "ca", "not a PEM certificate");
	for (int i = 0; good && i < sk_X509_num(list); i++) {
		good = X509_STORE_add_cert(SSL_CTX_get_cert_store(context->ssl), sk_X509_value(list, i)) == 1;
		/* A server tells which authorities it believes, as OpenVPN's does. */
		if (good && context->role == TLS_SERVER)
			good = SSL_CTX_add_client_CA(context->ssl, sk_X509_value(list, i)) == 1;
	}
	sk_X509_pop_free(list, X509_free);
	return good || refuse_reason(problem, "ca", "not usable");
}

static bool load_revocations(X509_STORE *store, struct tls_bytes pem, struct tls_problem *problem)
{
	BIO *bio = pem.length <= PEM_MAX ? BIO_new_mem_buf(pem.data, pem.length) : NULL;
	X509_CRL *list;
	int count = 0;

	while (bio && (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
		count += X509_STORE_add_crl(store, list) == 1;
		X509_CRL_free(list);
	}
	BIO_free(bio);
	/* Broken PEM must not pass for an empty list. */
	if (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return refuse(problem, "crl", "not a PEM revocation list");
	ERR_clear_error();
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return true;
}

static bool load_chain(struct tls_context *context, STACK_OF(X509) *list, int first, const char *option,
		       struct tls_problem *problem)
{
	for (int i = first; i < sk_X509_num(list); i++)
		if (SSL_CTX_add1_chain_cert(context->ssl, sk_X509_value(list, i)) != 1)
			return refuse_reason(problem, option, "not usable");
	return true;
}

static bool load_key(struct tls_context *context, struct tls_bytes pem, X509 *leaf, struct tls_problem *problem)
{
	BIO *bio = pem.length <= PEM_MAX ? BIO_new_mem_buf(pem.data, pem.length) : NULL;
	bool encrypted = false, good;
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, on_password, &encrypted) : NULL;

	BIO_free(bio);
	if (!key)
		return refuse(problem, "key",
			      encrypted ? "is encrypted; passwords are not supported" : "not a PEM private key");
	if (X509_check_private_key(leaf, key) != 1)
		good = refuse(problem, "key", "does not match the certificate");
	else
		good = SSL_CTX_use_PrivateKey(context->ssl, key) == 1 || refuse_reason(problem, "key", "not usable");
	EVP_PKEY_free(key);
	return good;
}

static bool is_issued_by(X509 *leaf, X509 *issuer)
{
	return X509_check_issued(issuer, leaf) == X509_V_OK && X509_verify(leaf, X509_get0_pubkey(issuer)) == 1;
}

/* By itself, by one of the chain that is sent, or by one of `ca`. */
static bool has_issuer(struct tls_context *context, X509 *leaf)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context->ssl));
	STACK_OF(X509) *chain = NULL;
	bool found = is_issued_by(leaf, leaf);

	SSL_CTX_get0_chain_certs(context->ssl, &chain);
	for (int i = 0; !found && i < sk_X509_num(chain); i++)
		found = is_issued_by(leaf, sk_X509_value(chain, i));
	for (int i = 0; !found && i < sk_X509_OBJECT_num(objects); i++) {
		X509 *authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

		found = authority && is_issued_by(leaf, authority);
	}
	return found;
}

static void find_doubts(struct tls_context *context)
{
	X509 *leaf = SSL_CTX_get0_certificate(context->ssl);

	if (leaf && !certificate_is_for(leaf, context->role))
		context->doubts |= TLS_DOUBT_PURPOSE;
	/* Without `ca` fingerprints decide, and authorities do not matter. */
	if (leaf && context->has_ca && !has_issuer(context, leaf))
		context->doubts |= TLS_DOUBT_ISSUER;
}

static bool load_identity(struct tls_context *context, const struct tls_options *options,
			  struct tls_problem *problem)
{
	STACK_OF(X509) *list, *extra;
	bool good, has_chain;

	if (!options->cert.data) {
		if (options->key.data || context->role == TLS_SERVER)
			return refuse(problem, "cert", "is missing");
		return true;
	}
	if (!options->key.data)
		return refuse(problem, "key", "is missing");
	list = read_certificates(options->cert);
	if (!list)
		return refuse(problem, "cert", "not a PEM certificate");
	if (SSL_CTX_use_certificate(context->ssl, sk_X509_value(list, 0)) != 1)
		good = refuse_reason(problem, "cert", "not usable");
	else
		good = load_chain(context, list, 1, "cert", problem) &&
		       load_key(context, options->key, sk_X509_value(list, 0), problem);
	context->not_after = certificate_seconds(X509_get0_notAfter(sk_X509_value(list, 0)));
	has_chain = sk_X509_num(list) > 1;
	sk_X509_pop_free(list, X509_free);
	/*
	 * Without an own chain the intermediates are looked for in `ca`, as OpenVPN does; but the root, which
	 * the peer has or does not believe, is not sent: it would cost each handshake a packet or two.
	 */
	SSL_CTX_set_mode(context->ssl, SSL_MODE_NO_AUTO_CHAIN);
	if (good && !has_chain && !options->extra_certs.data)
		SSL_CTX_build_cert_chain(context->ssl, SSL_BUILD_CHAIN_FLAG_NO_ROOT |
					 SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR | SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
	if (!good || !options->extra_certs.data)
		return good;
	extra = read_certificates(options->extra_certs);
	if (!extra)
		return refuse(problem, "extra_certs", "not a PEM certificate");
	good = load_chain(context, extra, 0, "extra_certs", problem);
	sk_X509_pop_free(extra, X509_free);
	return good;
}

static int version_of(const char *text)
{
	if (strcmp(text, "1.2") == 0)
		return TLS1_2_VERSION;
	return strcmp(text, "1.3") == 0 ? TLS1_3_VERSION : -1;
}

static bool set_protocol(SSL_CTX *ssl, const struct tls_options *options, struct tls_problem *problem)
{
	int min = version_of(options->version_min), max = options->version_max ? version_of(options->version_max) : 0;

	if (min < 0 || max < 0 || (max > 0 && max < min))
		return refuse(problem, "tls_version_min", "must be 1.2 or 1.3, and not above the highest version");
	if (SSL_CTX_set_min_proto_version(ssl, min) != 1 || SSL_CTX_set_max_proto_version(ssl, max) != 1)
		return refuse_reason(problem, "tls_version_min", "not usable");
	if (SSL_CTX_set_cipher_list(ssl, options->cipher_list ? options->cipher_list : CIPHERS) != 1)
		return refuse_reason(problem, "tls_cipher", "not usable");
	if (options->cipher_suites && SSL_CTX_set_ciphersuites(ssl, options->cipher_suites) != 1)
		return refuse_reason(problem, "tls_ciphersuites", "not usable");
	if (options->groups && SSL_CTX_set1_groups_list(ssl, options->groups) != 1)
		return refuse_reason(problem, "tls_groups", "not usable");
	/* A new key_id is a new handshake: nothing is resumed or renegotiated, and nothing is offered for it. */
	SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ssl, 0);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_dh_auto(ssl, 1);
	return true;
}

struct tls_context *tls_context_new(const struct tls_options *options, struct tls_problem *problem)
{
	static const int modes[] = {
		[TLS_VERIFY_NONE] = SSL_VERIFY_NONE,
		[TLS_VERIFY_OPTIONAL] = SSL_VERIFY_PEER,
		[TLS_VERIFY_REQUIRE] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
	};
	struct tls_context *context = calloc(1, sizeof(*context));

	ERR_clear_error();
	*problem = (struct tls_problem){ "ca", "no memory" };
	if (!context)
		return NULL;
	context->role = options->role;
	context->remote_cert_tls = options->remote_cert_tls;
	context->has_ca = options->ca.data;
	context->ssl = SSL_CTX_new(options->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
	if (!context->ssl || !set_protocol(context->ssl, options, problem) ||
	    (context->has_ca && !load_ca(context, options->ca, problem)) ||
	    (options->crl.data && !load_revocations(SSL_CTX_get_cert_store(context->ssl), options->crl, problem)) ||
	    !load_identity(context, options, problem)) {
		tls_context_free(context);
		ERR_clear_error();
		return NULL;
	}
	find_doubts(context);
	SSL_CTX_set_verify(context->ssl, modes[options->verify], session_on_certificate);
	SSL_CTX_set_cert_verify_callback(context->ssl, session_verify, NULL);
	SSL_CTX_set_verify_depth(context->ssl, CHAIN_MAX);
	ERR_clear_error();
	return context;
}

bool tls_context_set_crl(struct tls_context *context, struct tls_bytes pem)
{
	/* Lists can only be added to a store: another one takes its place. */
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context->ssl));
	X509_STORE *store = X509_STORE_new();
	struct tls_problem unused;
	bool good = store;

	ERR_clear_error();
	for (int i = 0; good && i < sk_X509_OBJECT_num(objects); i++) {
		X509 *authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

		good = !authority || X509_STORE_add_cert(store, authority) == 1;
	}
	good = good && load_revocations(store, pem, &unused);
	ERR_clear_error();
	if (good)
		SSL_CTX_set_cert_store(context->ssl, store);
	else
		X509_STORE_free(store);
	return good;
}

void tls_context_free(struct tls_context *context)
{
	SSL_CTX_free(context->ssl);
	free(context);
}

int64_t tls_context_not_after(const struct tls_context *context)
{
	return context->not_after;
}

unsigned int tls_context_doubts(const struct tls_context *context)
{
	return context->doubts;
}
