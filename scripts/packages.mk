# SPDX-License-Identifier: Apache-2.0
# The executables of the packages: static, on musl, for each architecture of OpenWrt's.

comma := ,
CROSS_ARCHS := arm_cortex-a7_neon-vfpv4 aarch64_cortex-a53 mipsel_24kc mips_24kc x86_64
CROSS_FLAGS := -Os -fstack-protector-strong -ffunction-sections -fdata-sections
# Position-independent, but on MIPS. The warnings there are that gcc's own library expects floating point; a test sees to it
# that none of it got in.
CROSS_LINK_mips_24kc := -static -no-pie
CROSS_LINK_mipsel_24kc := -static -no-pie
CROSS_FLAGS_mips_24kc := -fno-pie -fno-pic -mplt -mno-shared
CROSS_FLAGS_mipsel_24kc := $(CROSS_FLAGS_mips_24kc)
CROSS_MAPS := build/cross/x86_64/mbedtls/ovpnd.map build/cross/x86_64/mbedtls/ovpnd-run.map

.PHONY: deps-cross
deps-cross: deps
	@scripts/deps cross

build/cross/%/cc: scripts/cross scripts/source | deps-cross
	$(call quiet,$@)scripts/cross compiler $*

# Of one architecture, $(1).
define cross_arch
$(call shim_quickjs,build/cross/$(1)/o/quickjs,$(CROSS_FLAGS) $(CROSS_FLAGS_$(1)),build/cross/$(1)/cc)
$(call shim_flavour,build/cross/$(1)/mbedtls,$(CROSS_FLAGS) $(CROSS_FLAGS_$(1)),-s,mbedtls,build/cross/$(1)/cc,build/cross/$(1)/ar,$(or $(CROSS_LINK_$(1)),-static-pie) -Wl$(comma)-Map=$$(@).map,build/cross/$(1)/o/quickjs)

$(MBEDTLS_PARTS:%=build/cross/$(1)/mbedtls/o/mbedtls/%.o) $(QUICKJS_PARTS:%=build/cross/$(1)/o/quickjs/%.o) \
$(patsubst %,build/cross/$(1)/mbedtls/o/exe/%.o,main_quickjs main_embedded bytecode bindings_quickjs \
	$(SHIM_PARTS) $(TLS_BODY:%=%_mbedtls)): | build/cross/$(1)/cc
build/cross/$(1)/mbedtls/ovpnd build/cross/$(1)/mbedtls/ovpnd-run: | build/cross/$(1)/libc
endef
$(foreach arch,$(CROSS_ARCHS),$(eval $(call cross_arch,$(arch))))

build/cross/x86_64/libc: | build/cross/x86_64/cc
	@touch $@
$(CROSS_MAPS): build/cross/x86_64/mbedtls/ovpnd build/cross/x86_64/mbedtls/ovpnd-run ;
$(filter-out build/cross/x86_64/libc,$(CROSS_ARCHS:%=build/cross/%/libc)): build/cross/%/libc: $(CROSS_MAPS) scripts/cross | build/cross/%/cc
	$(call quiet,$@)scripts/cross libc $* $(CROSS_MAPS)
	@touch $@

CROSS_PROGRAMS := $(CROSS_ARCHS:%=build/cross/%/mbedtls/ovpnd) \
	$(patsubst %,build/cross/%/mbedtls/ovpnd-run,arm_cortex-a7_neon-vfpv4 aarch64_cortex-a53 mips_24kc x86_64)

.PHONY: packages package-files
package-files: build $(CROSS_PROGRAMS)
	@node scripts/packages.mjs

# What is not yet there is made on all cores.
packages:
	@scripts/deps cross
	@$(MAKE) -j$$(nproc) package-files
