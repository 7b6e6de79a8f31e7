# SPDX-License-Identifier: GPL-2.0-only
#
# For people; Kbuild describes the module. Every target that needs more than a compiler is a
# script in selftests/rig/ that can also be called on a machine without make.
#
#   make help        lists the targets

KDIR ?= /lib/modules/$(shell uname -r)/build
# Of the tool; dpkg owns /usr, and kvm-hyperv-tools has it there.
PREFIX ?= /usr/local
TOP := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))

# O= is for this Makefile: the kernel's make must not take it for its own, so no variable of the
# command line is handed down but these.
MAKEOVERRIDES =
PASS := $(foreach v,CC LD NM AR OBJCOPY OBJDUMP AWK CROSS_COMPILE W C CF CHECK V LLVM ARCH KCFLAGS COVERAGE KBUILD_EXTRA_SYMBOLS,$(if $(filter command line,$(origin $v)),$v='$($v)'))

# The module is built beside its sources unless O= is given; what is packed for others, and pages, go to build/ then.
ifneq ($(filter command line,$(origin O)),)
OUT := $(abspath $(O))
PACK := $(OUT)
else
OUT := $(TOP)
PACK := $(TOP)/build
endif

# The kernel's make takes such a path for several, and so would the removal of what was built.
ifneq ($(words $(TOP))/$(words $(OUT))/$(words $(abspath $(INSTALL_MOD_PATH)x)),1/1/1)
$(error make does not take a path that has a space, nor an empty O=: "$(CURDIR)", O="$(O)", INSTALL_MOD_PATH="$(INSTALL_MOD_PATH)")
endif

# The kernel's make runs in its own folder.
ROOT := $(if $(INSTALL_MOD_PATH),$(abspath $(INSTALL_MOD_PATH)))

KBUILD = $(MAKE) -C $(KDIR) M=$(OUT) $(PASS) $(if $(ROOT),INSTALL_MOD_PATH='$(ROOT)')

modules: sources
	+$(KBUILD) modules

help:
	@echo 'Build, with KDIR=<kernel build folder> (of the running kernel) and O=<folder> (here):'
	@echo '  modules          kvm-hyperv.ko (default)'
	@echo '  install          into the modules of that kernel, with depmod, and the tool kvm-hyperv into'
	@echo '                   PREFIX (/usr/local); INSTALL_MOD_PATH=<root>'
	@echo '  uninstall        takes it out again'
	@echo '  clangd           compile_commands.json for clangd, from a build of the module'
	@echo '  clean            what was built, and build/'
	@echo '  check-kernel     does KVM have the structures and functions that the module expects?'
	@echo '                   KERNEL=<root>: of a kernel that is unpacked there, not installed'
	@echo 'Pack, into O=<folder> (build/ of this tree, which git ignores):'
	@echo '  dist             kvm-hyperv-<version>.tar.xz of the tracked files, the same bytes each time'
	@echo '  deb              packages for the Debian that this machine has, from that tarball'
	@echo '  html man         the documents as pages, by docutils, in a folder html or man of that one'
	@echo 'On a fresh Debian 12 or 13, as root; the hosts are emulated:'
	@echo '  run              a real guest on a stock host with the module, and what it used'
	@echo '  test             all tests; HOSTS="amd-6.12 ..." TESTS="stimer_* ..." for some'
	@echo '  test-all         the same with the long forms, Linux 7.3 on Intel, builds for more kernels,'
	@echo '                   and a Debian 12 and 13 in which README.md is followed'
	@echo '  results          Documentation/test-results.rst from the logs of the last whole run'
	@echo '  bench            host instructions, stock and module'
	@echo '  fuzz             the same random operations on stock KVM and on the module, compared; HOSTS, SEED,'
	@echo '                   OPS, MINUTES and more: selftests/rig/fuzz'
	@echo '  coverage         lines of the module that the suites and two hosts run; HOSTS, TESTS'
	@echo '  check            style, documents and builds; selftests/rig/check names the parts'
	@echo '  check-commits    each commit of RANGE=origin..HEAD builds; check does so, too, with RANGE='
	@echo '  docs             Documentation/msrs.rst and hypercalls.rst from the tables'

# The kernel's make builds an external module beside its sources: O= gets a copy of them.
sources:
ifneq ($(OUT),$(TOP))
	@mkdir -p $(OUT)
	@cp -au $(TOP)/Kbuild $(TOP)/hyperv $(TOP)/include $(wildcard $(TOP)/kunit) $(OUT)/
endif

# Built first: Kbuild leaves the commands.
clangd: modules
	+@{ find $(OUT)/hyperv -name '.*.o.cmd' -exec cat {} +; $(MAKE) -s -n -B -C $(TOP)/selftests O=build; } | \
		awk -v kdir="$$(readlink -f $(KDIR))" -v out=$(OUT) -v top=$(TOP) \
			-f $(TOP)/selftests/rig/clangd.awk >$(TOP)/compile_commands.json
	@echo "written: compile_commands.json"

# Not kernel.release: Debian's headers of 6.1 have another name there.
RELEASE = "$$(sed -n 's/^\#define UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h)"
DEPMOD = depmod -a $(if $(ROOT),-b $(ROOT)) $(RELEASE)

install: modules
	+$(KBUILD) modules_install
	$(DEPMOD)
	$(TOP)/packaging/install-tool '$(ROOT)' '$(PREFIX)'

uninstall:
	@[ -n $(RELEASE) ] || { echo "no headers in $(KDIR): say RELEASE=<what uname -r says on that kernel>" >&2; exit 1; }
	rm -f $(ROOT)/lib/modules/$(RELEASE)/{updates,extra}/kvm-hyperv.ko*
	$(DEPMOD)
	$(TOP)/packaging/install-tool --remove '$(ROOT)' '$(PREFIX)'

uninstall: SHELL := /bin/bash

check-kernel: modules
	@CC="$(CC)" $(TOP)/selftests/rig/check-kernel $(OUT)/kvm-hyperv.ko $(KDIR) $(KERNEL)

clean:
	+@[ ! -d $(KDIR) ] || $(KBUILD) clean
	@[ -d $(KDIR) ] || find $(OUT) \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' \
		-o -name '.*.cmd' -o -name '*.gcno' -o -name 'offsets.[hs]' -o -name '.dispatch.proved' -o -name modules.order -o -name Module.symvers \) \
		-not -path '*/.git/*' -delete
	@rm -rf $(TOP)/selftests/build $(TOP)/build

dist deb:
	@$(TOP)/packaging/$@ $(PACK)

test run check bench results fuzz:
	@$(TOP)/selftests/rig/$@

check-commits:
	@RANGE='$(RANGE)' $(TOP)/selftests/rig/check commits

coverage:
	@$(TOP)/selftests/rig/coverage/measure

test-all:
	@$(TOP)/selftests/rig/check kernels docs charged
	@KHV_LONG=1 KHV_MINUTES=0 $(TOP)/selftests/rig/test

.PHONY: modules help sources install uninstall clean dist deb test test-all run check check-commits bench fuzz coverage clangd results check-kernel

# Reference documentation from the tables, as on a KVM that has everything, and from the sources.
WHERE = awk -f $(TOP)/Documentation/where.awk -v kind=$(1) $(TOP)/include/khv/*.def.h \
	$$(find $(TOP)/hyperv -name '*.c' | sort) \
	$(addprefix $(TOP)/selftests/,lib/uapi.h guest/*.h *_test.c)

docs:
	@gen=$$(mktemp) && $(CC) -std=gnu11 -Wall -I$(TOP)/kunit/user/include -I$(TOP)/include \
		-DKHV_HAVE_L2_FLUSH -DKHV_HAVE_TSC_INVARIANT -Wno-override-init -o $$gen \
		$(TOP)/Documentation/generate.c $$(find $(TOP)/hyperv -name tables.c) && \
	{ $$gen msrs && $(call WHERE,MSR); } >$(TOP)/Documentation/msrs.rst && \
	{ $$gen hypercalls && $(call WHERE,HYPERCALL); } >$(TOP)/Documentation/hypercalls.rst; \
	rc=$$?; rm -f $$gen; exit $$rc

html man:
	@$(TOP)/selftests/rig/publish-docs $(TOP) $@ $(PACK)/$@

.PHONY: docs html man
