# SPDX-License-Identifier: MIT
# Thin front of Meson and of the scripts in tests/. `make help` lists what there is.

BUILD	?= build
NATIVE	:= $(BUILD)/native
BENCH	?=

all: deps		## build everything into build/native
	@test -f $(NATIVE)/build.ninja || { echo "building in $(NATIVE)"; meson setup $(NATIVE) >/dev/null; }
	@ninja -C $(NATIVE) --quiet

deps:			## install the Debian packages that building and testing need (as root)
	@tests/deps

demo: all		## two tenants under two uids share one accel node in a VM and complete text
	@tests/lab/demo $(BUILD)

demo-native: all	## the same two tenants at a socket of tenond's, without a kernel module
	@examples/demo $(NATIVE)

check: deps		## all tests but the long ones; ends with a line of sums
	@tests/check $(BUILD)

check-debug: deps	## the kernel tests on a kernel with KASAN, lockdep, kmemleak and the like
	@tests/check --debug $(BUILD)

check-mutants: deps	## break each rule in turn and see its test fail
	@tests/check-mutants $(BUILD)

check-long: deps	## the long versions: fuzzing, rounds of kill -9
	@tests/check --long $(BUILD)

bench: all		## measure; BENCH=name for one; writes build/bench/results.json
	@tests/bench/run --build $(NATIVE) $(BENCH)

install: all		## install below $(DESTDIR) and the prefix of Meson
	@meson install -C $(NATIVE)

clean:			## remove what was built, but not the lab root
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name lab -exec rm -rf {} + 2>/dev/null || true

help:			## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

.PHONY: all deps demo demo-native check check-debug check-mutants check-long bench install clean help
