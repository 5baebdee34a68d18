# SPDX-License-Identifier: Apache-2.0
# Compiles /usr/sbin/ovpnd inside OpenWrt's build system: the bundle becomes bytecode by an engine of the building
# machine, and is linked with the same engine and the shim for the router. TLS is mbedtls or openssl.

ENGINE := quickjs dtoa libregexp libunicode cutils
ENGINE_FLAGS := -std=gnu11 -D_GNU_SOURCE -DCONFIG_VERSION='"$(QUICKJS_VERSION)"' -fwrapv -funsigned-char -w
SHIM_FLAGS := -std=gnu11 -D_GNU_SOURCE -pthread -Isrc/shim -isystem quickjs
LIBRARIES := $(if $(filter mbedtls,$(TLS)),-lmbedtls -lmbedx509 -lmbedcrypto,-lssl -lcrypto)

# Bindings of the other runtime, mains that are compiled apart, and the other library's bodies.
OTHER := bindings_node main_quickjs compile_quickjs $(if $(filter mbedtls,$(TLS)),%_openssl,%_mbedtls)
SHIM := $(filter-out $(OTHER),$(basename $(notdir $(wildcard src/shim/*.c))))

ovpnd: main.o bytecode.o $(SHIM:%=shim/%.o) $(ENGINE:%=engine/%.o)
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--gc-sections -pthread $^ -o $@ $(LIBRARIES) -latomic -lm

main.o: src/shim/main_quickjs.c
	$(CC) $(CFLAGS) $(SHIM_FLAGS) -DOVPND_BYTECODE -c $< -o $@

bytecode.o: bytecode.c
	$(CC) $(CFLAGS) $(SHIM_FLAGS) -c $< -o $@

shim/%.o: src/shim/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SHIM_FLAGS) -c $< -o $@

engine/%.o: quickjs/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(ENGINE_FLAGS) $(ENGINE_FLAGS_$*) -c $< -o $@

# Compiled regular expressions are little-endian everywhere, or those of the building machine would crash a big-endian router.
ENGINE_FLAGS_libregexp := -Iquickjs -include src/shim/regexp_order.h

host/%.o: quickjs/%.c
	@mkdir -p $(@D)
	$(HOSTCC) $(HOST_CFLAGS) $(ENGINE_FLAGS) -c $< -o $@

host/compile: src/shim/compile_quickjs.c $(ENGINE:%=host/%.o)
	$(HOSTCC) $(HOST_CFLAGS) $(SHIM_FLAGS) $^ -o $@ -lm -lpthread

bytecode.c: ovpnd.js host/compile
	host/compile $< >$@.new
	mv $@.new $@
