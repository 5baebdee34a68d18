# SPDX-License-Identifier: Apache-2.0
# The menu: build demo test test-interop test-kernel lint bench sim fuzz packages clean. Every target installs what it lacks first.
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.DEFAULT_GOAL := build
.PHONY: build demo test test-parts test-interop test-kernel kernel-files lint bench sim fuzz deps clean

deps:
	@scripts/deps

node_modules/.done: package.json package-lock.json | deps
	@echo 'npm ci'; npm ci --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

include src/shim/build.mk
include scripts/packages.mk

BUNDLE_SOURCES := $(shell find src -name '*.ts')

build/ovpnd.js: node_modules/.done scripts/bundle.mjs $(BUNDLE_SOURCES)
	@echo 'build $@'; node scripts/bundle.mjs

# Where the results are; TLS=mbedtls takes Mbed TLS for OpenSSL.
TLS ?= openssl
RESULTS := $(if $(filter mbedtls,$(TLS)),build/mbedtls,build)

build: $(RESULTS)/ovpnd build/ovpnd.js $(RESULTS)/shim.node

demo: build
	@test/interop/demo

# All that is installed at once, then all that is built on all cores.
test:
	@scripts/deps cross kernel luci || true
	@$(MAKE) -j$$(nproc) test-parts
	@node scripts/test.mjs

test-parts: kernel-files build build/ovpnd-run build/asan/ovpnd build/asan/shim.node build/tsan/ovpnd build/mbedtls/ovpnd build/mbedtls/shim.node \
		package-files lint
	@scripts/deps luci

kernel-files:
	@scripts/kernel

# Every combination there is, as one table.
test-interop: kernel-files build build/asan/ovpnd build/tsan/ovpnd build/mbedtls/ovpnd
	@OVPND_MATRIX=full node scripts/test.mjs --table test/interop

test-kernel: kernel-files build build/ovpnd-run
	@node scripts/test.mjs test/kernel

lint: node_modules/.done
	npx --no-install biome check .
	npx --no-install tsc

bench: build
	@node scripts/bench.mjs

sim: build
	node scripts/test.mjs --sim "$(SEED)"

fuzz: build
	node scripts/test.mjs --fuzz "$(or $(T),60)"

clean:
	rm -rf build
