# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Builds: the module, modules and programs for the tests, upstream's selftests. Sourced by lib.sh.

# khv_kernel_cc KERNEL: print the compiler by the name that the kernel was built with, if it is here:
# Kbuild warns of another name of the same compiler.
khv_kernel_cc() {
	local cc

	cc=$(sed -n 's/^#define CONFIG_CC_VERSION_TEXT "\([^ ]*\) .*/\1/p' "$1/build/include/generated/autoconf.h")
	command -v "${cc:-none}" || command -v gcc
}

# khv_make KERNEL DIR [make arguments]: run DIR/Makefile for a kernel.
khv_make() {
	local kernel=$1 dir=$2

	shift 2
	if [ -e "$kernel/root" ]; then
		khv_in_root "$kernel/root" "$dir" make -C /mnt KDIR="/usr/src/linux-headers-$(cat "$kernel/release")" "$@"
	else
		make -C "$dir" KDIR="$kernel/build" CC="$(khv_kernel_cc "$kernel")" "$@"
	fi
}

# khv_kbuild KERNEL DIR [make arguments]: have the kernel's Kbuild build the modules of DIR/Kbuild.
khv_kbuild() {
	local kernel=$1 dir=$2

	shift 2
	if [ -e "$kernel/root" ]; then
		khv_in_root "$kernel/root" "$dir" make -C "/usr/src/linux-headers-$(cat "$kernel/release")" M=/mnt "$@"
	else
		make -C "$kernel/build" M="$dir" CC="$(khv_kernel_cc "$kernel")" "$@"
	fi
}

# khv_in_root ROOT DIR COMMAND...: run COMMAND in ROOT (of khv_root), where DIR is /mnt. Kbuild's tools read
# /proc.
khv_in_root() {
	local root=$1 dir=$2

	shift 2
	[ "$(id -u)" = 0 ] || khv_die "building for this kernel takes a root of its own: run as root"
	unshare --mount true || khv_die "building for this kernel takes a mount namespace of its own (CAP_SYS_ADMIN)"
	# shellcheck disable=SC2016
	unshare --mount -- sh -c '
		mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && mount --bind "$2" "$1/mnt" || exit
		root=$1
		shift 2
		exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/usr/sbin LC_ALL=C DEBIAN_KERNEL_NO_CC_VERSION_CHECK=y "$@"
	' sh "$root" "$dir" "$@"
}

# khv_build_module KERNEL [make arguments]: build the module in a copy of the sources below the cache, one
# for each kernel; fail on a warning. Print the path of kvm-hyperv.ko.
khv_build_module() {
	local kernel=$1

	shift
	khv_locked "build-$(basename "$kernel")" khv_build_module_locked "$kernel" "$@"
}

khv_build_module_locked() {
	local kernel=$1 release dir warnings

	shift
	release=$(cat "$kernel/release")
	dir=$KHV_CACHE/build/$(basename "$kernel")${KHV_COVERAGE:+-coverage}${KHV_BUILD_TAG:-}
	[ -z "${KHV_COVERAGE:-}" ] ||
		set -- COVERAGE=1 KBUILD_EXTRA_SYMBOLS="$(khv_build_helper "$kernel" coverage)/Module.symvers" "$@"
	khv_say "building kvm-hyperv.ko for $release"
	mkdir -p "$dir"
	# Compare contents, not times: do not build again what an earlier checkout had, too. Of a
	# folder that is no more it says that what make built there stays: stdout is for the result.
	rsync -rlp --checksum --delete --exclude='*.o' --exclude='*.ko' --exclude='*.mod' --exclude='*.mod.c' --exclude='*.gcno' \
		--exclude='.*.cmd' --exclude='*.order' --exclude='*.symvers' --exclude='.git' \
		--exclude='offsets.[hs]' --exclude='.dispatch.proved' \
		"$KHV_TOP/" "$dir/" >&2
	rm -f "$dir/kvm-hyperv.ko"
	khv_quiet "build-$release" khv_make "$kernel" "$dir" -j"$KHV_JOBS" W=1 "$@" modules ||
		khv_die "the module does not build for $release"
	[ -s "$dir/kvm-hyperv.ko" ] || khv_die "the build for $release left no kvm-hyperv.ko"
	warnings=$(grep -i 'warning' "$KHV_LOGS/build-$release.log" | grep -v 'Skipping BTF generation' || true)
	if [ -n "$warnings" ]; then
		# A second build would not warn: start from nothing then.
		rm -rf "$dir"
		khv_die "the build for $release warns:"$'\n'"$warnings"
	fi
	[ -n "${KHV_COVERAGE:-}" ] || khv_check_symbols "$kernel" "$dir/kvm-hyperv.ko"
	printf '%s\n' "$dir/kvm-hyperv.ko"
}

# khv_check_symbols KERNEL FILE: the module must insert without KVM and say what is missing, so it may
# depend on no module and use nothing that kvm.ko exports.
khv_check_symbols() {
	local file=$2 exported used

	exported=$(nm "$(khv_module "$1" kvm)" | sed -n 's/.* __ksymtab_//p' | sort)
	[ -n "$exported" ] || khv_die "kvm.ko of $(basename "$1") exports nothing"
	used=$(
		modinfo -F depends "$file"
		comm -12 <(nm -u "$file" | awk '{ print $2 }' | sort) <(printf '%s\n' "$exported")
	)
	[ -z "$used" ] || khv_die "$(basename "$file") must not depend on these modules or symbols of KVM:"$'\n'"$used"
}

# khv_move_field MODULE OUT: MODULE as if it were built for a kernel that has one member of struct
# kvm_vcpu elsewhere: the offset in that row of its contract (struct khv_field) becomes 1.
khv_move_field() {
	local rows=$2.rows at

	objcopy --dump-section .init.khv_fields="$rows" "$1" /dev/null
	at=$(grep -obUaF arch.hyperv_enabled "$rows" | cut -d: -f1)
	printf '\1\0\0\0' | dd of="$rows" bs=1 seek=$((at - 40)) conv=notrunc status=none
	objcopy --update-section .init.khv_fields="$rows" "$1" "$2"
	rm "$rows"
}

# khv_build_helper KERNEL FOLDER: build modules that only tests insert, from FOLDER of selftests/rig/;
# print the folder that holds them.
khv_build_helper() {
	local kernel=$1 name=$2 out stamp

	out=$KHV_CACHE/build/$name-$(basename "$kernel")
	stamp=$out/.built
	if [ ! -e "$stamp" ] || [ -n "$(find "$KHV_RIG/$name" -newer "$stamp" -type f)" ]; then
		mkdir -p "$out"
		cp "$KHV_RIG/$name"/* "$out/"
		khv_quiet "build-$name" khv_kbuild "$kernel" "$out" modules ||
			khv_die "$name does not build for $(basename "$kernel")"
		touch "$stamp"
	fi
	printf '%s\n' "$out"
}

# khv_tool ROOT: put packaging/kvm-hyperv into ROOT/busybox, with the busybox that runs it.
khv_tool() {
	local root=$1 busybox applet

	busybox=$(command -v busybox) || khv_die "busybox is not there: apt-get install busybox-static"
	mkdir -p "$root/busybox"
	cp "$busybox" "$root/busybox/busybox"
	for applet in $("$busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/busybox/$applet"
	done
	sed '1s|/bin/sh|/busybox/sh|' "$KHV_TOP/packaging/kvm-hyperv" >"$root/busybox/kvm-hyperv"
	chmod +x "$root/busybox/kvm-hyperv"
}

# khv_prototype_sources DIR: make DIR a copy of the sources with the examples of Documentation/prototyping.rst.
khv_prototype_sources() {
	rm -rf "$1"
	mkdir -p "$1"
	cp -a "$KHV_TOP/Kbuild" "$KHV_TOP/Makefile" "$KHV_TOP/hyperv" "$KHV_TOP/include" "$KHV_TOP/kunit" \
		"$KHV_TOP/selftests" "$KHV_TOP/Documentation" "$1/"
	khv_quiet build-prototype patch -d "$1" -p1 -i "$KHV_TOP/selftests/prototype/nested.patch" ||
		khv_die "selftests/prototype/nested.patch does not apply: make it again from this tree"
	khv_quiet build-prototype "$KHV_TOP/selftests/prototype/add-rows" "$1" ||
		khv_die "selftests/prototype/add-rows does not find its places: bring it up to date with this tree"
}

# khv_build_prototype KERNEL: build the module with the examples of Documentation/prototyping.rst; print
# the path of its kvm-hyperv.ko.
khv_build_prototype() {
	local kernel=$1 dir

	dir=$KHV_CACHE/build/prototype-$(basename "$kernel")
	mkdir -p "$dir"
	khv_prototype_sources "$dir.src"
	rsync -rlp --checksum "$dir.src/Kbuild" "$dir.src/Makefile" "$dir.src/hyperv" "$dir.src/include" "$dir/"
	khv_quiet build-prototype khv_make "$kernel" "$dir" -j"$KHV_JOBS" modules ||
		khv_die "the prototype does not build for $(basename "$kernel")"
	printf '%s\n' "$dir/kvm-hyperv.ko"
}

# khv_build_prototype_fuzz: build the fuzzer, whose rows are the module's, from the same sources; print
# its path.
khv_build_prototype_fuzz() {
	local out=$KHV_CACHE/build/prototype-fuzz

	khv_prototype_sources "$out.src"
	mkdir -p "$out/src"
	rsync -rlp --checksum "$out.src/hyperv" "$out.src/include" "$out.src/kunit" "$out.src/selftests" "$out/src/"
	khv_quiet build-prototype make -C "$out/src/selftests" -j"$KHV_JOBS" O="$out" "$out/fuzz_test" ||
		khv_die "the fuzzer does not build with the rows of the prototype"
	printf '%s\n' "$out/fuzz_test"
}

# khv_build_init: build PID 1 of the hosts.
khv_build_init() {
	local out=$KHV_CACHE/build/init lib=$KHV_TOP/selftests/lib

	mkdir -p "$KHV_CACHE/build"
	if [ ! -x "$out" ] || [ -n "$(find "$KHV_RIG/init" "$lib"/text.[ch] -type f -newer "$out")" ]; then
		khv_quiet build-init gcc -D_GNU_SOURCE -std=gnu11 -O2 -Wall -Wextra -Werror -static -s \
			-o "$out.$$" "$KHV_RIG"/init/*.c "$lib/text.c" || khv_die "PID 1 of the hosts (init/) does not build"
		mv "$out.$$" "$out"
	fi
	printf '%s\n' "$out"
}

# khv_build_own: build the project's selftests; print the folder that holds them.
khv_build_own() { khv_locked build-own khv_build_own_locked; }

khv_build_own_locked() {
	local out=$KHV_CACHE/build/selftests key

	khv_say "building the project's selftests"
	key=$(cd "$KHV_TOP/selftests" && find Makefile ./*.[ch] lib guest fuzz ../include/khv ../hyperv/core/tables.c -type f -print0 | sort -z |
		xargs -0 sha256sum | sha256sum)
	if [ "$(cat "$out/.key" 2>/dev/null)" != "$key" ]; then
		rm -rf "$out"
		mkdir -p "$out"
		khv_quiet build-selftests make -C "$KHV_TOP/selftests" -j"$KHV_JOBS" O="$out" all ||
			khv_die "the selftests do not build"
		printf '%s\n' "$key" >"$out/.key"
	fi
	printf '%s\n' "$out"
}

# khv_build_upstream SERIES NAME...: build upstream's KVM selftests NAME of linux-source-SERIES, linked
# with ioctl_wrap.c; print the folder that holds them.
khv_build_upstream() {
	local series=$1

	khv_locked "upstream-$series" khv_build_upstream_locked "$@"
}

khv_build_upstream_locked() {
	local series=$1 source dir key tmp name targets=() arch=x86_64 flags="-pthread -no-pie -Wl,--wrap=ioctl"

	shift
	source=$(khv_source "$series")
	key=$(printf '%s\n' "$flags" "$@" | cat - "$KHV_RIG/ioctl_wrap.c" | sha256sum | cut -c 1-12)
	dir=$KHV_CACHE/upstream-${source##*/source-}-$key
	if [ ! -d "$dir" ]; then
		khv_say "building upstream's selftests of linux-source-$series"
		tmp=$dir.tmp
		rm -rf "$tmp"
		mkdir -p "$tmp/obj"
		# "make headers" writes into the tree: copy what it needs.
		mkdir "$tmp/src"
		(cd "$source" && cp -a Makefile Kbuild scripts include usr tools "$tmp/src/" &&
			mkdir "$tmp/src/arch" && cp -a arch/x86 "$tmp/src/arch/")
		khv_quiet "upstream-$series" make -C "$tmp/src" -j"$KHV_JOBS" ARCH=x86 headers ||
			khv_die "make headers failed in linux-source-$series"
		khv_quiet "upstream-$series" gcc -O2 -Wall -Werror -isystem "$tmp/src/usr/include" \
			-c -o "$tmp/obj/ioctl_wrap.o" "$KHV_RIG/ioctl_wrap.c" || khv_die "ioctl_wrap.c does not build"
		# Since 6.14 the folder has the name of the architecture. Tests of devices (LIBVFIO_C) are not
		# wanted, nor what their library needs.
		[ ! -d "$tmp/src/tools/testing/selftests/kvm/x86" ] || arch=x86
		for name in "$@"; do
			targets+=("$tmp/obj/$arch/$name")
		done
		khv_quiet "upstream-$series" make -C "$tmp/src/tools/testing/selftests/kvm" -j"$KHV_JOBS" \
			ARCH=x86 OUTPUT="$tmp/obj" LDFLAGS="$flags" LIBVFIO_C= \
			LDLIBS="$tmp/obj/ioctl_wrap.o -ldl" "${targets[@]}" ||
			khv_die "upstream's selftests of linux-source-$series do not build"
		for name in "$@"; do
			strip -o "$tmp/$name" "$tmp/obj/$arch/$name"
		done
		rm -rf "$tmp/obj" "$tmp/src"
		mv "$tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}
