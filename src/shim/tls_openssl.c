/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h on OpenSSL 3. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certificate_openssl.h"

#define PEM_MAX (1 << 20)
/* More than any flight of a handshake: a peer that makes us store more is up to something. */
#define UNREAD_MAX (1 << 20)
#define CHAIN_MAX 16
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL"

struct tls_context {
	SSL_CTX *ssl;
	enum tls_role role, remote_cert_tls;
	bool has_ca;
	int64_t not_after;
};

struct tls_session {
	SSL *ssl;
	BIO *in, *out;
	enum tls_role remote_cert_tls;
	enum tls_status status;
	/* Without a CA the fingerprint, compared elsewhere, decides alone: errors of the chain are ignored. */
	bool has_ca;
	char verify_error[TLS_TEXT_MAX], error[TLS_TEXT_MAX];
};

static void keep_verify_error(struct tls_session *session, const char *why, X509 *certificate)
{
	char name[TLS_COMMON_NAME_MAX + 1] = "";

	if (session->verify_error[0])
		return;
	if (certificate)
		X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));
	snprintf(session->verify_error, sizeof(session->verify_error), "certificate verify failed: %s%s%s%s", why,
		 name[0] ? " (CN=" : "", name, name[0] ? ")" : "");
	certificate_sanitise(session->verify_error);
}

static int on_certificate(int good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *session = SSL_get_app_data(ssl);
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	int error = X509_STORE_CTX_get_error(store);
	struct tls_peer peer;
	const char *why = NULL;

	if (!good && session->has_ca) {
		/* Named as ever: the wording changed between releases of OpenSSL. */
		why = error == X509_V_ERR_INVALID_PURPOSE ? "unsupported certificate purpose" :
							    X509_verify_cert_error_string(error);
		keep_verify_error(session, why, certificate);
		return 0;
	}
	if (X509_STORE_CTX_get_error_depth(store) == 0 && certificate) {
		why = certificate_read(certificate, &peer);
		if (!why && session->remote_cert_tls != TLS_NO_ROLE)
			why = certificate_check_usage(certificate, session->remote_cert_tls);
	}
	if (why) {
		keep_verify_error(session, why, certificate);
		X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
		return 0;
	}
	if (!good)
		X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

/* ---- Contexts ---- */

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
	    !load_identity(context, options, problem)) {
		tls_context_free(context);
		ERR_clear_error();
		return NULL;
	}
	SSL_CTX_set_verify(context->ssl, modes[options->verify], on_certificate);
	SSL_CTX_set_verify_depth(context->ssl, CHAIN_MAX);
	ERR_clear_error();
	return context;
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

/* ---- Sessions ---- */

struct tls_session *tls_session_new(struct tls_context *context)
{
	struct tls_session *session = calloc(1, sizeof(*session));

	ERR_clear_error();
	if (!session)
		return NULL;
	session->has_ca = context->has_ca;
	session->remote_cert_tls = context->remote_cert_tls;
	session->ssl = SSL_new(context->ssl);
	session->in = BIO_new(BIO_s_mem());
	session->out = BIO_new(BIO_s_mem());
	if (!session->ssl || !session->in || !session->out) {
		BIO_free(session->in);
		BIO_free(session->out);
		SSL_free(session->ssl);
		free(session);
		return NULL;
	}
	/* Owns both from here. */
	SSL_set_bio(session->ssl, session->in, session->out);
	SSL_set_app_data(session->ssl, session);
	if (context->role == TLS_SERVER)
		SSL_set_accept_state(session->ssl);
	else
		SSL_set_connect_state(session->ssl);
	return session;
}

void tls_session_free(struct tls_session *session)
{
	SSL_free(session->ssl);
	OPENSSL_cleanse(session, sizeof(*session));
	free(session);
}

int tls_feed(struct tls_session *session, const uint8_t *bytes, size_t length)
{
	if (session->status == TLS_FAILED || length == 0)
		return 0;
	if (length > UNREAD_MAX || BIO_ctrl_pending(session->in) > UNREAD_MAX - length)
		return -ENOBUFS;
	return BIO_write(session->in, bytes, length) == (int)length ? 0 : -ENOMEM;
}

size_t tls_pending(const struct tls_session *session)
{
	return BIO_ctrl_pending(session->out);
}

size_t tls_pull(struct tls_session *session, uint8_t *out, size_t room)
{
	int length = BIO_read(session->out, out, room > INT32_MAX ? INT32_MAX : room);

	return length > 0 ? length : 0;
}

static const char *explain(int reason)
{
	switch (reason) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_NO_PROTOCOLS_AVAILABLE:
	case SSL_R_VERSION_TOO_LOW:
		return "no shared TLS version";
	case SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION:
		return "no shared TLS version (peer sent alert: protocol version)";
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return "peer sent no certificate";
	default:
		return NULL;
	}
}

/* Keeps the cause in words; the alert for the peer stays to be pulled. */
static void fail(struct tls_session *session, int result)
{
	int kind = SSL_get_error(session->ssl, result);
	unsigned long error = ERR_peek_error();
	int reason = ERR_GET_REASON(error);
	const char *text = explain(reason), *before = "";

	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return;
	session->status = TLS_FAILED;
	if (kind == SSL_ERROR_ZERO_RETURN) {
		text = "peer closed the TLS session";
	} else if (session->verify_error[0]) {
		text = session->verify_error;
	} else if (!text && ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
		   reason <= SSL_AD_REASON_OFFSET + 255) {
		before = "peer sent alert: ";
		text = SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET);
	} else if (!text) {
		text = ERR_reason_error_string(error);
	}
	snprintf(session->error, sizeof(session->error), "%s%s", before, text ? text : "TLS failed");
	certificate_sanitise(session->error);
	ERR_clear_error();
}

enum tls_status tls_drive(struct tls_session *session)
{
	uint8_t byte;
	int result;

	ERR_clear_error();
	if (session->status == TLS_HANDSHAKE) {
		result = SSL_do_handshake(session->ssl);
		if (result == 1)
			session->status = TLS_ESTABLISHED;
		else
			fail(session, result);
	}
	/* An alert after our side of the handshake is noticed without anybody reading. */
	if (session->status == TLS_ESTABLISHED) {
		result = SSL_peek(session->ssl, &byte, 1);
		if (result <= 0)
			fail(session, result);
	}
	return session->status;
}

size_t tls_read(struct tls_session *session, uint8_t *out, size_t room)
{
	int result;

	if (session->status != TLS_ESTABLISHED)
		return 0;
	ERR_clear_error();
	result = SSL_read(session->ssl, out, room);
	if (result > 0)
		return result;
	fail(session, result);
	return 0;
}

bool tls_write(struct tls_session *session, const uint8_t *bytes, size_t length)
{
	int result;

	if (session->status != TLS_ESTABLISHED || length == 0 || length > TLS_RECORD_MAX)
		return false;
	ERR_clear_error();
	result = SSL_write(session->ssl, bytes, length);
	if (result <= 0)
		fail(session, result);
	return result > 0;
}

const char *tls_error(const struct tls_session *session)
{
	return session->error;
}

void tls_description(const struct tls_session *session, char *out, size_t room)
{
	if (SSL_is_init_finished(session->ssl))
		snprintf(out, room, "%s %s", SSL_get_version(session->ssl), SSL_get_cipher_name(session->ssl));
}

bool tls_peer(const struct tls_session *session, struct tls_peer *peer)
{
	X509 *certificate;

	if (!SSL_is_init_finished(session->ssl))
		return false;
	certificate = SSL_get0_peer_certificate(session->ssl);
	return certificate && !certificate_read(certificate, peer);
}

bool tls_export(struct tls_session *session, const char *label, uint8_t *out, size_t length)
{
	ERR_clear_error();
	return session->status == TLS_ESTABLISHED &&
	       SSL_export_keying_material(session->ssl, out, length, label, strlen(label), NULL, 0, 0) == 1;
}
