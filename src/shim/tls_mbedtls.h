/* SPDX-License-Identifier: Apache-2.0 */
/* What the four files of the Mbed TLS body of tls.h share: contexts, sessions, certificates. */
#ifndef OVPND_TLS_MBEDTLS_H
#define OVPND_TLS_MBEDTLS_H

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#include "tls.h"
#include "tls_queue.h"

#if !defined(MBEDTLS_SSL_KEYING_MATERIAL_EXPORT) || !defined(MBEDTLS_SSL_KEEP_PEER_CERTIFICATE)
#error "Mbed TLS 3.6.4 or newer is needed, with exported keying material and kept peer certificates"
#endif

/* Shared by its sessions, which read the configuration all their life. */
struct tls_context {
	unsigned int users;
	enum tls_role role, remote_cert_tls;
	enum tls_verify verify;
	bool has_ca;
	int64_t not_after;
	/* Bits of enum tls_doubt. */
	unsigned int doubts;
	mbedtls_ssl_config config;
	mbedtls_x509_crt ca, own;
	mbedtls_x509_crl crl;
	mbedtls_pk_context key;
	/* Lists that the configuration points to, each ended by 0. */
	int *ciphers;
	uint16_t *groups;
};

struct tls_session {
	struct tls_context *context;
	mbedtls_ssl_context ssl;
	struct tls_queue in, out;
	/* Of the next record that comes, while the library has no buffers. */
	uint8_t in_counter[MBEDTLS_SSL_SEQUENCE_NUMBER_LEN];
	enum tls_status status;
	char verify_error[TLS_TEXT_MAX], error[TLS_TEXT_MAX];
	/* The peer as tls_peer tells it; NULL: no certificate, or not yet. */
	char *peer;
};

/* The library's callbacks; `opaque` is the session. */
int wire_send(void *opaque, const unsigned char *bytes, size_t length);
int wire_receive(void *opaque, unsigned char *out, size_t room);
/* Before the library reads or writes a record. False: no memory. */
bool wire_wake(struct tls_session *session);
/* After it: most sessions rest most of the time, and buffers are three quarters of what the library takes for one. */
void wire_rest(struct tls_session *session);

void context_release(struct tls_context *context);
/* The generator of every call that wants one: the kernel's. */
int context_random(void *unused, unsigned char *out, size_t length);

/* `ECDHE-RSA-AES256-GCM-SHA384` or, of TLS 1.3, `TLS_AES_256_GCM_SHA384`: as OpenSSL and OpenVPN name them. */
void cipher_name(const char *mbedtls, char *out, size_t room);

/* Texts from a peer may carry anything; what is logged and shown is printable ASCII on one line. */
void certificate_sanitise(char *text);
/* Seconds since 1970. */
int64_t certificate_seconds(const mbedtls_x509_time *when);
/* Fills `peer`. NULL when good, else why what this certificate says cannot be believed. */
const char *certificate_read(const mbedtls_x509_crt *certificate, struct tls_peer *peer);
/* Whether a certificate that names purposes names this one. `strict`: it must name some. */
bool certificate_is_for(const mbedtls_x509_crt *leaf, enum tls_role role, bool strict);
/*
 * remote-cert-tls: keyUsage must be there, and the extended key usage must name the role. NULL when so, else
 * what is wrong.
 */
const char *certificate_check_usage(const mbedtls_x509_crt *leaf, enum tls_role role);

#endif
