/* SPDX-License-Identifier: Apache-2.0 */
/* TLS sessions on OpenSSL 3. */
#include <ctype.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_openssl.h"

/* As one line that can be shown; NULL: no memory. */
__attribute__((format(printf, 1, 2))) static char *text(const char *format, ...)
{
	char line[TLS_TEXT_MAX];
	va_list values;

	va_start(values, format);
	vsnprintf(line, sizeof(line), format, values);
	va_end(values);
	certificate_sanitise(line);
	return strdup(line);
}

static void keep_verify_error(struct tls_session *session, const char *why, X509 *certificate)
{
	char name[TLS_COMMON_NAME_MAX + 1] = "";

	if (session->verify_error)
		return;
	if (certificate)
		X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));
	session->verify_error = text("certificate verify failed: %s%s%s%s", why, name[0] ? " (CN=" : "", name,
				     name[0] ? ")" : "");
}

int session_on_certificate(int good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *session = SSL_get_app_data(ssl);
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	int error = X509_STORE_CTX_get_error(store);
	struct tls_peer peer;
	const char *why = NULL;

	/* An authority without a list has revoked nobody. */
	if (!good && error == X509_V_ERR_UNABLE_TO_GET_CRL) {
		X509_STORE_CTX_set_error(store, X509_V_OK);
		good = 1;
	}
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

int session_verify(X509_STORE_CTX *store, void *unused)
{
	int good = X509_verify_cert(store);

	(void)unused;
	/* A session would keep it as long as it lives, and with it the peer's certificate. */
	X509_STORE_CTX_set0_verified_chain(store, NULL);
	return good;
}

/*
 * Of a client's certificate a few lines are ever asked for, and the certificate is ten times that. No call takes it out
 * of a session, but a session without one that is decoded into it does.
 */
static void drop_certificate(SSL *ssl)
{
	SSL_SESSION *session = SSL_get_session(ssl), *bare = SSL_SESSION_new();
	uint8_t secret[SSL_MAX_MASTER_KEY_LENGTH], *encoded = NULL;
	size_t secret_length = SSL_SESSION_get_master_key(session, secret, sizeof(secret));
	uint8_t fragments = SSL_SESSION_get_max_fragment_length(session);
	/* No call sets this, and records may be no longer than the client wants. */
	bool has_short_records = fragments >= TLSEXT_max_fragment_length_512 && fragments <= TLSEXT_max_fragment_length_4096;
	const uint8_t *at;
	int length;

	if (!has_short_records && bare && SSL_SESSION_set1_master_key(bare, secret, secret_length) &&
	    SSL_SESSION_set_cipher(bare, SSL_SESSION_get0_cipher(session)) &&
	    SSL_SESSION_set_protocol_version(bare, SSL_SESSION_get_protocol_version(session))) {
		length = i2d_SSL_SESSION(bare, &encoded);
		at = encoded;
		if (length > 0)
			d2i_SSL_SESSION(&session, &at, length);
		OPENSSL_clear_free(encoded, length > 0 ? length : 0);
	}
	OPENSSL_cleanse(secret, sizeof(secret));
	SSL_SESSION_free(bare);
}

static void note_peer(struct tls_session *session)
{
	X509 *certificate = SSL_get0_peer_certificate(session->ssl);
	struct tls_peer peer = { 0 };
	char lines[TLS_PEER_MAX];

	if (!certificate || certificate_read(certificate, &peer))
		return;
	tls_peer_lines(&peer, lines, sizeof(lines));
	session->peer = strdup(lines);
	if (SSL_is_server(session->ssl))
		drop_certificate(session->ssl);
}

struct tls_session *tls_session_new(struct tls_context *context)
{
	struct tls_session *session = calloc(1, sizeof(*session));
	BIO *bio;

	ERR_clear_error();
	if (!session)
		return NULL;
	session->has_ca = context->has_ca;
	session->remote_cert_tls = context->remote_cert_tls;
	session->ssl = SSL_new(context->ssl);
	bio = wire_new(session);
	if (!session->ssl || !bio) {
		BIO_free(bio);
		SSL_free(session->ssl);
		free(session);
		return NULL;
	}
	/* Owns it from here. */
	SSL_set_bio(session->ssl, bio, bio);
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
	tls_queue_free(&session->in);
	tls_queue_free(&session->out);
	free(session->verify_error);
	free(session->error);
	free(session->peer);
	OPENSSL_cleanse(session, sizeof(*session));
	free(session);
}

int tls_feed(struct tls_session *session, const uint8_t *bytes, size_t length)
{
	if (session->status == TLS_FAILED || length == 0)
		return 0;
	if (length > TLS_WAITING_MAX || tls_queue_length(&session->in) > TLS_WAITING_MAX - length)
		return -ENOBUFS;
	return tls_queue_put(&session->in, bytes, length) ? 0 : -ENOMEM;
}

size_t tls_pending(const struct tls_session *session)
{
	return tls_queue_length(&session->out);
}

size_t tls_pull(struct tls_session *session, uint8_t *out, size_t room)
{
	return tls_queue_take(&session->out, out, room);
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
	const char *why = explain(reason), *before = "";

	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return;
	session->status = TLS_FAILED;
	if (kind == SSL_ERROR_ZERO_RETURN) {
		why = "peer closed the TLS session";
	} else if (session->verify_error) {
		why = session->verify_error;
	} else if (!why && ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
		   reason <= SSL_AD_REASON_OFFSET + 255) {
		before = "peer sent alert: ";
		why = SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET);
	} else if (!why) {
		why = ERR_reason_error_string(error);
	}
	session->error = text("%s%s", before, why ? why : "TLS failed");
	/* The library writes `unknown CA` but `bad certificate`. */
	for (char *at = session->error; *before && at && *at; at++)
		*at = tolower((unsigned char)*at);
	ERR_clear_error();
}

enum tls_status tls_drive(struct tls_session *session)
{
	uint8_t byte;
	int result;

	ERR_clear_error();
	if (session->status == TLS_HANDSHAKE) {
		result = SSL_do_handshake(session->ssl);
		if (result == 1) {
			session->status = TLS_ESTABLISHED;
			note_peer(session);
		} else {
			fail(session, result);
		}
	}
	/* An alert after our side of the handshake is noticed without anybody reading. */
	if (session->status == TLS_ESTABLISHED) {
		result = SSL_peek(session->ssl, &byte, 1);
		if (result <= 0)
			fail(session, result);
	}
	if (session->status != TLS_FAILED && tls_pending(session) > TLS_WAITING_MAX) {
		session->status = TLS_FAILED;
		session->error = text("peer does not take what it is sent");
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
	return session->error ? session->error : session->status == TLS_FAILED ? "TLS failed" : "";
}

void tls_description(const struct tls_session *session, char *out, size_t room)
{
	if (SSL_is_init_finished(session->ssl))
		snprintf(out, room, "%s %s", SSL_get_version(session->ssl), SSL_get_cipher_name(session->ssl));
}

void tls_peer(const struct tls_session *session, char *out, size_t room)
{
	if (session->peer)
		snprintf(out, room, "%s", session->peer);
}

bool tls_export(struct tls_session *session, const char *label, uint8_t *out, size_t length)
{
	ERR_clear_error();
	return session->status == TLS_ESTABLISHED &&
	       SSL_export_keying_material(session->ssl, out, length, label, strlen(label), NULL, 0, 0) == 1;
}
