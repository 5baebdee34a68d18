/* SPDX-License-Identifier: Apache-2.0 */
/* TLS sessions on Mbed TLS. */
#include <errno.h>
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_mbedtls.h"

/* Sent by TLS 1.3 servers; the library knows no name for it. */
#define CERTIFICATE_REQUIRED_ALERT 116

/* What can be wrong with a chain: in the words of OpenSSL, which people know and search for, and for the peer. */
static const struct verdict {
	uint32_t flag;
	const char *text;
	uint8_t alert;
} verdicts[] = {
	{ MBEDTLS_X509_BADCERT_REVOKED, "certificate revoked", MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED },
	{ MBEDTLS_X509_BADCERT_NOT_TRUSTED, "unable to get local issuer certificate", MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA },
	{ MBEDTLS_X509_BADCERT_EXPIRED, "certificate has expired", MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED },
	{ MBEDTLS_X509_BADCERT_FUTURE, "certificate is not yet valid", MBEDTLS_SSL_ALERT_MSG_BAD_CERT },
	{ MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_KEY_USAGE, "unsupported certificate purpose",
	  MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT },
	{ MBEDTLS_X509_BADCERT_BAD_MD, "CA md too weak", MBEDTLS_SSL_ALERT_MSG_BAD_CERT },
	{ MBEDTLS_X509_BADCERT_BAD_KEY | MBEDTLS_X509_BADCERT_BAD_PK, "EE certificate key too weak",
	  MBEDTLS_SSL_ALERT_MSG_BAD_CERT },
	{ MBEDTLS_X509_BADCRL_EXPIRED, "CRL has expired", MBEDTLS_SSL_ALERT_MSG_BAD_CERT },
	{ MBEDTLS_X509_BADCRL_FUTURE, "CRL is not yet valid", MBEDTLS_SSL_ALERT_MSG_BAD_CERT },
	{ MBEDTLS_X509_BADCRL_NOT_TRUSTED, "CRL signature failure", MBEDTLS_SSL_ALERT_MSG_BAD_CERT },
	{ UINT32_MAX, "certificate is not acceptable", MBEDTLS_SSL_ALERT_MSG_BAD_CERT },
};

static const struct verdict *verdict_of(uint32_t flags)
{
	const struct verdict *verdict = verdicts;

	while (!(flags & verdict->flag) && verdict->flag != UINT32_MAX)
		verdict++;
	return verdict;
}

static int refuse(struct tls_session *session, uint8_t alert, int error)
{
	mbedtls_ssl_send_alert_message(&session->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
	return error;
}

static void keep_verify_error(struct tls_session *session, const char *why, const char *name)
{
	if (session->verify_error[0])
		return;
	snprintf(session->verify_error, sizeof(session->verify_error), "certificate verify failed: %s%s%s%s", why,
		 name[0] ? " (CN=" : "", name, name[0] ? ")" : "");
	certificate_sanitise(session->verify_error);
}

/* From the top of the chain down to the leaf, which has depth 0. */
static int on_certificate(void *opaque, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
	struct tls_session *session = opaque;
	const struct tls_context *context = session->context;
	struct tls_peer peer;
	const char *why = certificate_read(certificate, &peer);

	if (depth == 0 && !certificate_is_for(certificate, context->role == TLS_SERVER ? TLS_CLIENT : TLS_SERVER, false))
		*flags |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
	if (!context->has_ca)
		*flags = 0;
	if (*flags)
		keep_verify_error(session, verdict_of(*flags)->text, peer.common_name);
	if (depth > 0)
		return 0;
	if (!why && context->remote_cert_tls != TLS_NO_ROLE)
		why = certificate_check_usage(certificate, context->remote_cert_tls);
	if (why) {
		keep_verify_error(session, why, peer.common_name);
		*flags |= MBEDTLS_X509_BADCERT_OTHER;
	}
	if (!session->verify_error[0])
		return 0;
	/* The library says no by itself where a certificate is required of a server. */
	if (context->role == TLS_CLIENT && context->verify == TLS_VERIFY_REQUIRE && context->has_ca)
		return 0;
	/*
	 * A TLS 1.3 server has sent its last message, but the library would still say no under the keys of the
	 * handshake, which nobody could read: so it goes on, and settle() refuses.
	 */
	if (context->role == TLS_SERVER &&
	    mbedtls_ssl_get_version_number(&session->ssl) == MBEDTLS_SSL_VERSION_TLS1_3)
		return 0;
	return refuse(session, verdict_of(*flags)->alert, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED);
}

struct tls_session *tls_session_new(struct tls_context *context)
{
	struct tls_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	context->users++;
	session->context = context;
	mbedtls_ssl_init(&session->ssl);
	if (mbedtls_ssl_setup(&session->ssl, &context->config) != 0 ||
	    mbedtls_ssl_set_hostname(&session->ssl, NULL) != 0) {
		tls_session_free(session);
		return NULL;
	}
	mbedtls_ssl_set_bio(&session->ssl, session, wire_send, wire_receive, NULL);
	mbedtls_ssl_set_verify(&session->ssl, on_certificate, session);
	return session;
}

void tls_session_free(struct tls_session *session)
{
	mbedtls_ssl_free(&session->ssl);
	context_release(session->context);
	tls_queue_free(&session->in);
	tls_queue_free(&session->out);
	free(session->peer);
	mbedtls_platform_zeroize(session, sizeof(*session));
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

static const char *alert_text(uint8_t alert)
{
	static const char *const texts[] = {
		[MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE] = "unexpected message",
		[MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC] = "bad record mac",
		[MBEDTLS_SSL_ALERT_MSG_RECORD_OVERFLOW] = "record overflow",
		[MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE] = "handshake failure",
		[MBEDTLS_SSL_ALERT_MSG_BAD_CERT] = "bad certificate",
		[MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT] = "unsupported certificate",
		[MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED] = "certificate revoked",
		[MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED] = "certificate expired",
		[MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN] = "certificate unknown",
		[MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER] = "illegal parameter",
		[MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA] = "unknown ca",
		[MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED] = "access denied",
		[MBEDTLS_SSL_ALERT_MSG_DECODE_ERROR] = "decode error",
		[MBEDTLS_SSL_ALERT_MSG_DECRYPT_ERROR] = "decrypt error",
		[MBEDTLS_SSL_ALERT_MSG_INSUFFICIENT_SECURITY] = "insufficient security",
		[MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR] = "internal error",
		[MBEDTLS_SSL_ALERT_MSG_MISSING_EXTENSION] = "missing extension",
		[MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_EXT] = "unsupported extension",
		[CERTIFICATE_REQUIRED_ALERT] = "certificate required",
	};

	return alert < sizeof(texts) / sizeof(texts[0]) ? texts[alert] : NULL;
}

static const char *explain(int error)
{
	switch (error) {
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
	case MBEDTLS_ERR_SSL_CONN_EOF:
		return "peer closed the TLS session";
	case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
		return "no shared TLS version";
	case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
		return "peer sent no certificate";
	case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE:
		return "no shared cipher";
	case MBEDTLS_ERR_SSL_INVALID_MAC:
		return "bad record mac";
	case MBEDTLS_ERR_SSL_INVALID_RECORD:
		return "wrong version number";
	case MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE:
		return "unexpected message";
	case MBEDTLS_ERR_SSL_DECODE_ERROR:
		return "decode error";
	case MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER:
		return "illegal parameter";
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
		return "no memory";
	default:
		return NULL;
	}
}

/*
 * A TLS 1.3 client on this library tells in the clear what it dislikes of a server, which the server's does not
 * understand. Whoever forges it says no more than that the handshake failed, which it has.
 */
static bool is_plain_alert(const struct tls_session *session, int error)
{
	const uint8_t *record = session->ssl.MBEDTLS_PRIVATE(in_hdr);

	return error == MBEDTLS_ERR_SSL_INVALID_MAC && session->status == TLS_HANDSHAKE &&
	       record[0] == MBEDTLS_SSL_MSG_ALERT && record[3] == 0 && record[4] == 2;
}

/* Keeps the cause in words; the alert for the peer stays to be pulled. */
static void fail(struct tls_session *session, int error)
{
	const char *text = explain(error), *before = "";
	char number[48];

	if (error == MBEDTLS_ERR_SSL_WANT_READ || error == MBEDTLS_ERR_SSL_WANT_WRITE)
		return;
	snprintf(number, sizeof(number), "TLS failed (Mbed TLS error -0x%04X)", (unsigned int)-error);
	if (error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE || is_plain_alert(session, error)) {
		uint8_t alert = error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE ? session->ssl.MBEDTLS_PRIVATE(in_msg)[1] :
									       session->ssl.MBEDTLS_PRIVATE(in_hdr)[6];

		before = "peer sent alert: ";
		text = alert_text(alert);
		snprintf(number, sizeof(number), "%u", alert);
		if (alert == MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION) {
			before = "";
			text = "no shared TLS version (peer sent alert: protocol version)";
		}
	} else if (session->verify_error[0]) {
		text = session->verify_error;
	}
	session->status = TLS_FAILED;
	snprintf(session->error, sizeof(session->error), "%s%s", before, text ? text : number);
}

/* What a finished handshake must have shown. 0, or the error, about which the peer has been told. */
static int settle(struct tls_session *session)
{
	const struct tls_context *context = session->context;
	uint32_t flags = mbedtls_ssl_get_verify_result(&session->ssl);

	if (context->verify == TLS_VERIFY_NONE)
		return 0;
	if (!mbedtls_ssl_get_peer_cert(&session->ssl))
		return context->verify == TLS_VERIFY_OPTIONAL ? 0 :
		       refuse(session, CERTIFICATE_REQUIRED_ALERT, MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE);
	/* Flags that the callback has not seen are of checks the library makes after it. */
	if (context->has_ca && flags)
		keep_verify_error(session, verdict_of(flags)->text, "");
	if (!session->verify_error[0])
		return 0;
	return refuse(session, verdict_of(flags)->alert, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED);
}

/* A few lines of its certificate are ever asked for, and the certificate is ten times that. */
static void note_peer(struct tls_session *session)
{
	mbedtls_x509_crt **kept = &session->ssl.MBEDTLS_PRIVATE(session)->MBEDTLS_PRIVATE(peer_cert);
	struct tls_peer peer = { 0 };
	char lines[TLS_PEER_MAX];

	if (!*kept)
		return;
	if (!certificate_read(*kept, &peer)) {
		tls_peer_lines(&peer, lines, sizeof(lines));
		session->peer = strdup(lines);
	}
	mbedtls_x509_crt_free(*kept);
	mbedtls_free(*kept);
	*kept = NULL;
}

static void shake_hands(struct tls_session *session)
{
	int result = mbedtls_ssl_handshake(&session->ssl);

	if (result == 0)
		result = settle(session);
	if (result == 0) {
		session->status = TLS_ESTABLISHED;
		note_peer(session);
	} else {
		fail(session, result);
	}
}

/* Returns what was read, at most one record; 0 when there is nothing. With `room` 0 nothing is taken. */
static size_t read_record(struct tls_session *session, uint8_t *out, size_t room)
{
	int result;

	/* What rests has nothing but what has come since. */
	if (!session->ssl.MBEDTLS_PRIVATE(in_buf) && tls_queue_length(&session->in) == 0)
		return 0;
	if (!wire_wake(session)) {
		fail(session, MBEDTLS_ERR_SSL_ALLOC_FAILED);
		return 0;
	}
	do
		result = mbedtls_ssl_read(&session->ssl, out, room);
	while (result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
	if (result < 0)
		fail(session, result);
	return result > 0 ? result : 0;
}

enum tls_status tls_drive(struct tls_session *session)
{
	if (session->status == TLS_HANDSHAKE)
		shake_hands(session);
	/* An alert after our side of the handshake is noticed without anybody reading. */
	if (session->status == TLS_ESTABLISHED)
		read_record(session, NULL, 0);
	wire_rest(session);
	if (session->status != TLS_FAILED && tls_pending(session) > TLS_WAITING_MAX) {
		session->status = TLS_FAILED;
		snprintf(session->error, sizeof(session->error), "peer does not take what it is sent");
	}
	return session->status;
}

size_t tls_read(struct tls_session *session, uint8_t *out, size_t room)
{
	size_t length = session->status == TLS_ESTABLISHED ? read_record(session, out, room) : 0;

	wire_rest(session);
	return length;
}

bool tls_write(struct tls_session *session, const uint8_t *bytes, size_t length)
{
	int result;

	if (session->status != TLS_ESTABLISHED || length == 0 || length > TLS_RECORD_MAX)
		return false;
	/* A library built for shorter records takes several. */
	for (size_t at = 0; at < length; at += result) {
		result = wire_wake(session) ? mbedtls_ssl_write(&session->ssl, bytes + at, length - at) :
					      MBEDTLS_ERR_SSL_ALLOC_FAILED;
		if (result <= 0) {
			fail(session, result);
			return false;
		}
	}
	wire_rest(session);
	return true;
}

const char *tls_error(const struct tls_session *session)
{
	return session->error;
}

void tls_description(const struct tls_session *session, char *out, size_t room)
{
	char name[64];

	if (!mbedtls_ssl_is_handshake_over((mbedtls_ssl_context *)&session->ssl))
		return;
	cipher_name(mbedtls_ssl_get_ciphersuite(&session->ssl), name, sizeof(name));
	snprintf(out, room, "%s %s", mbedtls_ssl_get_version(&session->ssl), name);
}

void tls_peer(const struct tls_session *session, char *out, size_t room)
{
	if (session->peer)
		snprintf(out, room, "%s", session->peer);
}

bool tls_export(struct tls_session *session, const char *label, uint8_t *out, size_t length)
{
	return session->status == TLS_ESTABLISHED &&
	       mbedtls_ssl_export_keying_material(&session->ssl, out, length, label, strlen(label), NULL, 0, 0) == 0;
}
