# SPDX-License-Identifier: Apache-2.0
# The shim in its two forms: build/ovpnd (with QuickJS and the bundle inside; build/ovpnd-run takes a script
# instead) and build/shim.node; each once more under build/asan with the address and undefined sanitizers, and
# all that again with Mbed TLS for OpenSSL under build/mbedtls. build/tsan/ovpnd has the thread sanitizer.

SHIM_PARTS := handle address socket loop udp tcp tun netlink stream files lock resolve process password crypto tls tls_queue \
	plane plane_turn plane_peer_commands plane_events plane_table plane_key plane_packet plane_segment plane_coalesce plane_send plane_queue plane_stream plane_io
TLS_BODY := crypto tls wire context certificate pkey
QUICKJS_PARTS := quickjs dtoa libregexp libunicode cutils
QUICKJS := build/source/quickjs
MBEDTLS := build/source/mbedtls
# Those that src/shim/mbedtls_config.h leaves something of.
MBEDTLS_PARTS := aes aesce aesni asn1parse asn1write base64 bignum bignum_core bignum_mod bignum_mod_raw \
	block_cipher chacha20 chachapoly cipher cipher_wrap constant_time ctr_drbg dhm ecdh ecdsa ecp ecp_curves \
	entropy entropy_poll gcm hkdf hmac_drbg md md5 oid pem pk pk_ecc pk_wrap pkparse pkwrite platform \
	platform_util poly1305 psa_crypto psa_crypto_aead psa_crypto_cipher psa_crypto_client \
	psa_crypto_driver_wrappers_no_static psa_crypto_ecp psa_crypto_ffdh psa_crypto_hash psa_crypto_mac \
	psa_crypto_pake psa_crypto_random psa_crypto_rsa psa_crypto_slot_management psa_util rsa rsa_alt_helpers \
	sha1 sha256 sha512 ssl_ciphersuites ssl_client ssl_debug_helpers_generated ssl_msg ssl_tls \
	ssl_tls12_client ssl_tls12_server ssl_tls13_client ssl_tls13_generic ssl_tls13_keys ssl_tls13_server x509 \
	x509_crl x509_crt
NODE_HEADERS := node_modules/node-api-headers/include

SHIM_CC ?= $(CC)
SHIM_HARDEN := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -ffunction-sections -fdata-sections
# The sanitizers have a crypt_r of their own, which calls the library's; to the linker nobody needs that one then.
SHIM_SANITIZED := -O1 -g -fno-omit-frame-pointer -Wl,--no-as-needed -lcrypt
SHIM_ASAN := $(SHIM_SANITIZED) -fsanitize=address,undefined -fno-sanitize-recover=undefined
SHIM_TSAN := $(SHIM_SANITIZED) -fsanitize=thread
# Texts that do not fit are cut on purpose; an entry of a table without a kind has none.
SHIM_WARN := -Wall -Wextra -Werror -Wno-missing-field-initializers -Wno-format-truncation -Wno-stringop-truncation
SHIM_CFLAGS = -std=gnu11 -D_GNU_SOURCE -pthread -MMD -MP -Isrc/shim
SHIM_LDFLAGS := -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--as-needed -pthread
QUICKJS_CFLAGS := -std=gnu11 -D_GNU_SOURCE -DCONFIG_VERSION='"2025-04-26"' -fwrapv -funsigned-char -w
MBEDTLS_CFLAGS := '-DMBEDTLS_CONFIG_FILE="$(CURDIR)/src/shim/mbedtls_config.h"' -isystem $(MBEDTLS)/include

$(QUICKJS)/.done: scripts/source scripts/apt-suite | deps
	@scripts/source quickjs 2025.04.26
	@touch $@

$(MBEDTLS)/.done: scripts/source scripts/apt-suite | deps
	@scripts/source mbedtls 3.6
	@touch $@

# What every packet passes is for speed where the rest is for size.
HOT_PARTS := aes aesni aesce chacha20 chachapoly gcm poly1305 crypto_mbedtls plane_coalesce plane_packet plane_segment
hot = $(if $(filter -Os,$(1)),$(if $(filter $(HOT_PARTS),$(2)),-O2))

# One short line for each step; V=1 shows the commands.
quiet = $(if $(V),,@echo 'build $(1)'; )

# One set of rules for each flavour: $(1) folder of the results, $(2) flags, $(3) strip or nothing, $(4) openssl or
# mbedtls, $(5) compiler, $(6) archiver, $(7) flags of linking an executable, $(8) folder of QuickJS's objects (whose
# rules shim_quickjs makes, of folder, flags and compiler).
define shim_quickjs
$(1)/%.o: src/shim/regexp_order.h $(QUICKJS)/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(3) $(QUICKJS_CFLAGS) $$(if $$(filter libregexp,$$*),-I$(QUICKJS) -include src/shim/regexp_order.h) \
		-fPIE $(2) -c $(QUICKJS)/$$*.c -o $$@
endef

define shim_flavour
$(1)_parts := $(SHIM_PARTS) $(TLS_BODY:%=%_$(4))
$(1)_libs := $(if $(filter openssl,$(4)),-lssl -lcrypto,$(1)/libmbedtls.a) -lcrypt
$(1)_flags := $(2) $(if $(filter mbedtls,$(4)),$(MBEDTLS_CFLAGS))

$(1)/o/mbedtls/%.o: src/shim/mbedtls_config.h $(MBEDTLS)/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(5) -std=gnu11 $(MBEDTLS_CFLAGS) -I$(MBEDTLS)/library -w -fPIC $(2) $$(call hot,$(2),$$*) -c $(MBEDTLS)/library/$$*.c -o $$@

$(1)/libmbedtls.a: $(MBEDTLS_PARTS:%=$(1)/o/mbedtls/%.o)
	@rm -f $$@
	$$(call quiet,$$@)$(6) rcsD $$@ $$^

$(1)/o/exe/%.o: src/shim/%.c $(QUICKJS)/.done $(if $(filter mbedtls,$(4)),$(MBEDTLS)/.done)
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(5) $$(SHIM_CFLAGS) $(SHIM_WARN) -isystem $(QUICKJS) -fPIE $$($(1)_flags) $$(call hot,$(2),$$*) -c $$< -o $$@

$(1)/o/exe/main_embedded.o: src/shim/main_quickjs.c $(QUICKJS)/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(5) $$(SHIM_CFLAGS) $(SHIM_WARN) -DOVPND_BYTECODE -isystem $(QUICKJS) -fPIE $(2) -c $$< -o $$@

$(1)/o/exe/bytecode.o: build/bytecode.c
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(5) $$(SHIM_CFLAGS) -fPIE $(2) -c $$< -o $$@

$(1)/o/node/%.o: src/shim/%.c $(if $(filter mbedtls,$(4)),$(MBEDTLS)/.done) | node_modules/.done
	@mkdir -p $$(@D)
	$$(call quiet,$$@)$(5) $$(SHIM_CFLAGS) $(SHIM_WARN) -isystem $(NODE_HEADERS) -DNAPI_VERSION=8 -fPIC $$($(1)_flags) -c $$< -o $$@

$(1)/ovpnd: $(1)/o/exe/main_embedded.o $(1)/o/exe/bytecode.o $(1)/o/exe/bindings_quickjs.o \
		$$($(1)_parts:%=$(1)/o/exe/%.o) $(QUICKJS_PARTS:%=$(8)/%.o) $$(filter %.a,$$($(1)_libs))
	$$(call quiet,$$@)$(5) $(2) $(7) $(SHIM_LDFLAGS) $(3) $$^ -o $$@ $$(filter -l%,$$($(1)_libs)) -lm

$(1)/ovpnd-run: $(1)/o/exe/main_quickjs.o $(1)/o/exe/bindings_quickjs.o \
		$$($(1)_parts:%=$(1)/o/exe/%.o) $(QUICKJS_PARTS:%=$(8)/%.o) $$(filter %.a,$$($(1)_libs))
	$$(call quiet,$$@)$(5) $(2) $(7) $(SHIM_LDFLAGS) $$^ -o $$@ $$(filter -l%,$$($(1)_libs)) -lm

$(1)/shim.node: $(1)/o/node/bindings_node.o $$($(1)_parts:%=$(1)/o/node/%.o) $$(filter %.a,$$($(1)_libs))
	$$(call quiet,$$@)$(5) $(2) -shared $(SHIM_LDFLAGS) $$^ -o $$@ $$(filter -l%,$$($(1)_libs))
endef

$(eval $(call shim_quickjs,build/o/quickjs,$(SHIM_HARDEN),$(SHIM_CC)))
$(eval $(call shim_quickjs,build/asan/o/quickjs,$(SHIM_ASAN),$(SHIM_CC)))
shim_here = $(eval $(call shim_flavour,$(1),$(2),$(3),$(4),$(SHIM_CC),$(AR),-pie,$(5)))
$(call shim_here,build,$(SHIM_HARDEN),-s,openssl,build/o/quickjs)
$(call shim_here,build/asan,$(SHIM_ASAN),,openssl,build/asan/o/quickjs)
# QuickJS is left alone: only one thread is ever in it.
$(call shim_here,build/tsan,$(SHIM_TSAN),,openssl,build/o/quickjs)
$(call shim_here,build/mbedtls,$(SHIM_HARDEN),-s,mbedtls,build/o/quickjs)
$(call shim_here,build/mbedtls/asan,$(SHIM_ASAN),,mbedtls,build/asan/o/quickjs)

build/compile: src/shim/compile_quickjs.c $(QUICKJS_PARTS:%=build/o/quickjs/%.o)
	$(call quiet,$@)$(SHIM_CC) $(SHIM_CFLAGS) $(SHIM_WARN) -isystem $(QUICKJS) $(SHIM_HARDEN) -fPIE -pie $^ -o $@ -lm

build/bytecode.c: build/ovpnd.js build/compile
	$(call quiet,$@)build/compile $< >$@.new
	@mv $@.new $@

.SECONDARY:
-include $(wildcard $(addsuffix /o/*/*.d,build build/asan build/tsan build/mbedtls build/mbedtls/asan build/cross/*/mbedtls))
