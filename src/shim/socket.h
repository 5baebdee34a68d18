/* SPDX-License-Identifier: Apache-2.0 */
/* What UDP and TCP sockets are opened with. */
#ifndef OVPND_SOCKET_H
#define OVPND_SOCKET_H

#include "shim.h"

/* setsockopt with a number; 0 or -errno. */
int socket_number(int fd, int level, int name, int value);
/* Four arguments of a call from `in` on: device (or none), mark, send and receive buffer (0: as the system has it). */
int socket_configure(int fd, const union shim_value *in);
/* Fills an address block of at least SHIM_ADDRESS_LENGTH with the address as bound; 0 or -errno. */
int socket_local(int fd, const union shim_value *block);

#endif
