# SPDX-License-Identifier: Apache-2.0
# The shim in its two forms: build/ovpnd (with QuickJS and the bundle inside; build/ovpnd-run takes a script
# instead) and build/shim.node; each once more under build/asan with the address and undefined sanitizers.

SHIM_PARTS := handle address socket loop udp tcp tun netlink stream files resolve process crypto tls \
	tls_openssl context_openssl certificate_openssl pkey_openssl
QUICKJS_PARTS := quickjs dtoa libregexp libunicode cutils
QUICKJS := build/quickjs
NODE_HEADERS := node_modules/node-api-headers/include

SHIM_CC ?= $(CC)
SHIM_HARDEN := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -ffunction-sections -fdata-sections
SHIM_ASAN := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# Texts that do not fit are cut on purpose.
SHIM_WARN := -Wall -Wextra -Werror -Wno-format-truncation -Wno-stringop-truncation
SHIM_CFLAGS = -std=gnu11 -D_GNU_SOURCE -pthread -MMD -MP -Isrc/shim
SHIM_LDFLAGS := -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--as-needed -pthread
SHIM_LIBS := -lssl -lcrypto
QUICKJS_CFLAGS := -std=gnu11 -D_GNU_SOURCE -DCONFIG_VERSION='"2025-04-26"' -fwrapv -funsigned-char -w

$(QUICKJS)/.done: scripts/quickjs scripts/apt-suite | deps
	@scripts/quickjs
	@touch $@

# One short line for each step; V=1 shows the commands.
quiet = $(if $(V),,@echo 'build $(1)'; )

# One set of rules for each flavour: $(1) folder of the results, $(2) flags, $(3) strip or nothing.
define shim_flavour
$(1)/o/quickjs/%.o: $(QUICKJS)/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(SHIM_CC) $(QUICKJS_CFLAGS) -fPIE $(2) -c $(QUICKJS)/$$*.c -o $$@

$(1)/o/exe/%.o: src/shim/%.c $(QUICKJS)/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(SHIM_CC) $$(SHIM_CFLAGS) $(SHIM_WARN) -isystem $(QUICKJS) -fPIE $(2) -c $$< -o $$@

$(1)/o/exe/main_embedded.o: src/shim/main_quickjs.c $(QUICKJS)/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(SHIM_CC) $$(SHIM_CFLAGS) $(SHIM_WARN) -DOVPND_BYTECODE -isystem $(QUICKJS) -fPIE $(2) -c $$< -o $$@

$(1)/o/exe/bytecode.o: build/bytecode.c
	$$(call quiet,$$@)$(SHIM_CC) $$(SHIM_CFLAGS) -fPIE $(2) -c $$< -o $$@

$(1)/o/node/%.o: src/shim/%.c | node_modules/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(SHIM_CC) $$(SHIM_CFLAGS) $(SHIM_WARN) -isystem $(NODE_HEADERS) -DNAPI_VERSION=8 -fPIC $(2) -c $$< -o $$@

$(1)/ovpnd: $(1)/o/exe/main_embedded.o $(1)/o/exe/bytecode.o $(1)/o/exe/bindings_quickjs.o \
		$(SHIM_PARTS:%=$(1)/o/exe/%.o) $(QUICKJS_PARTS:%=$(1)/o/quickjs/%.o)
	$$(call quiet,$$@)$(SHIM_CC) $(2) -pie $(SHIM_LDFLAGS) $(3) $$^ -o $$@ $(SHIM_LIBS) -lm

$(1)/ovpnd-run: $(1)/o/exe/main_quickjs.o $(1)/o/exe/bindings_quickjs.o \
		$(SHIM_PARTS:%=$(1)/o/exe/%.o) $(QUICKJS_PARTS:%=$(1)/o/quickjs/%.o)
	$$(call quiet,$$@)$(SHIM_CC) $(2) -pie $(SHIM_LDFLAGS) $$^ -o $$@ $(SHIM_LIBS) -lm

$(1)/shim.node: $(1)/o/node/bindings_node.o $(SHIM_PARTS:%=$(1)/o/node/%.o)
	$$(call quiet,$$@)$(SHIM_CC) $(2) -shared $(SHIM_LDFLAGS) $$^ -o $$@ $(SHIM_LIBS)
endef

$(eval $(call shim_flavour,build,$(SHIM_HARDEN),-s))
$(eval $(call shim_flavour,build/asan,$(SHIM_ASAN),))

build/compile: src/shim/compile_quickjs.c $(QUICKJS_PARTS:%=build/o/quickjs/%.o)
	$(call quiet,$@)$(SHIM_CC) $(SHIM_CFLAGS) $(SHIM_WARN) -isystem $(QUICKJS) $(SHIM_HARDEN) -fPIE -pie $^ -o $@ -lm

build/bytecode.c: build/ovpnd.js build/compile
	$(call quiet,$@)build/compile $< >$@.new
	@mv $@.new $@

.SECONDARY:
-include $(wildcard build/o/*/*.d build/asan/o/*/*.d)
