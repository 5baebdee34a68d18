/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OVPND_CERTIFICATE_OPENSSL_H
#define OVPND_CERTIFICATE_OPENSSL_H

#include <openssl/x509.h>

#include "tls.h"

/* Texts from a peer may carry anything; what is logged and shown is printable ASCII on one line. */
void certificate_sanitise(char *text);
/* Seconds since 1970; 0 when malformed. */
int64_t certificate_seconds(const ASN1_TIME *when);
/* Fills `peer`. NULL when good, else why what this certificate says cannot be believed. */
const char *certificate_read(X509 *certificate, struct tls_peer *peer);
/*
 * remote-cert-tls: keyUsage must be there, and the extended key usage must name the role. NULL when so, else
 * what is wrong.
 */
const char *certificate_check_usage(X509 *leaf, enum tls_role role);

#endif
