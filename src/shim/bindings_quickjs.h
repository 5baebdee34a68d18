/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OVPND_BINDINGS_QUICKJS_H
#define OVPND_BINDINGS_QUICKJS_H

#include <quickjs.h>

/* Adds every function of the shim to the object `target`. */
int shim_bind(JSContext *context, JSValueConst target);

#endif
