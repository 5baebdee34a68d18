/* SPDX-License-Identifier: Apache-2.0 */
/* What the four files of the OpenSSL body of tls.h share: contexts, sessions, certificates. */
#ifndef OVPND_TLS_OPENSSL_H
#define OVPND_TLS_OPENSSL_H

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls.h"
#include "tls_queue.h"

struct tls_context {
	SSL_CTX *ssl;
	enum tls_role role, remote_cert_tls;
	bool has_ca;
	int64_t not_after;
	/* Bits of enum tls_doubt. */
	unsigned int doubts;
};

struct tls_session {
	SSL *ssl;
	struct tls_queue in, out;
	enum tls_role remote_cert_tls;
	enum tls_status status;
	/* Without a CA the fingerprint, compared elsewhere, decides alone: errors of the chain are ignored. */
	bool has_ca;
	/* NULL: none. Few sessions fail. */
	char *verify_error, *error;
	/* The peer as tls_peer tells it; NULL: no certificate, or not yet. */
	char *peer;
};

/* For both directions; NULL: no memory. The library's memory BIOs keep the largest size they ever had. */
BIO *wire_new(struct tls_session *session);

/* The callbacks of a context for its sessions: a whole chain, and one certificate of it. */
int session_verify(X509_STORE_CTX *store, void *unused);
int session_on_certificate(int good, X509_STORE_CTX *store);

/* Texts from a peer may carry anything; what is logged and shown is printable ASCII on one line. */
void certificate_sanitise(char *text);
/* Seconds since 1970; 0 when malformed. */
int64_t certificate_seconds(const ASN1_TIME *when);
/* Fills `peer`. NULL when good, else why what this certificate says cannot be believed. */
const char *certificate_read(X509 *certificate, struct tls_peer *peer);
/* Whether a certificate that names purposes names this one, or any. */
bool certificate_is_for(X509 *leaf, enum tls_role role);
/*
 * remote-cert-tls: keyUsage must be there, and the extended key usage must name the role. NULL when so, else
 * what is wrong.
 */
const char *certificate_check_usage(X509 *leaf, enum tls_role role);

#endif
