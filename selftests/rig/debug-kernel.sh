#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The debug host's kernel, built from linux-source and kept in the cache: KASAN, UBSAN, lockdep,
# kmemleak, fault injection and KUnit around the same KVM. debug.config says what is in it.
# Executed ("debug-kernel.sh 6.12") it prints the kernel folder (see kernels.sh); sourced after lib.sh
# it gives khv_debug_kernel. It must not touch the source tree, which others read.

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	set -euo pipefail
	# shellcheck source=lib.sh
	. "$(dirname "$0")/lib.sh"
fi

KHV_DEBUG_CONFIG=$KHV_RIG/debug.config
KHV_DEBUG_MODULES="kvm kvm-amd kvm-intel"
# shellcheck disable=SC2034
# Kernel arguments that make a report of any checker the end of the boot.
# no5lvl: identify_cpu() forgets for a moment that there are five levels, and KASAN takes any
# address for wild in an interrupt that comes just then (one boot in ten).
KHV_DEBUG_APPEND="panic_on_warn=1 oops=panic kasan.fault=panic slub_debug=- no5lvl"
# Bochs reports XSAVE state sizes that Linux rejects: it turns XSAVE off half-way, and stock code
# then writes past its FPU buffer, which KASAN sees. From the start without XSAVE it is the same
# machine. One kmemleak scan takes a minute there and tracking doubles the boot: the AMD host has it.
# shellcheck disable=SC2034
KHV_DEBUG_APPEND_INTEL="noxsave no_debug_objects kmemleak=off"

# khv_debug_kernel 6.12: the debug kernel of that series, as a kernel folder.
khv_debug_kernel() { khv_locked "debug-$1" khv_debug_kernel_locked "$1"; }

# khv_debug_config_check CONFIG: every line of debug.config must have survived into CONFIG.
khv_debug_config_check() {
	local config=$1 line name missing=()

	while IFS= read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF -- "$line" "$config" || missing+=("$line") ;;
		"# CONFIG_"*" is not set")
			name=${line#\# }
			! grep -q "^${name%% *}=" "$config" || missing+=("$line") ;;
		"" | "#"*) ;;
		*)
			khv_die "debug.config: this line is neither an option nor a comment: $line" ;;
		esac
	done <"$KHV_DEBUG_CONFIG"
	[ ${#missing[@]} -eq 0 ] || {
		printf '    %s\n' "${missing[@]}" >&2
		khv_die "${#missing[@]} lines of debug.config did not take effect in this kernel, see above"
	}
}

khv_debug_kernel_locked() {
	local series=$1 source dir tmp release module start

	khv_need_packages gcc make libc6-dev libelf-dev bc bison flex lz4 kmod binutils perl
	source=${KHV_SRC:-$(khv_source "$series")}
	[ -s "$source/Kconfig" ] || khv_die "no kernel source in $source"
	[ ! -e "$source/.config" ] || khv_die "$source was built in: it must be pristine"
	dir=$KHV_CACHE/debug-$(basename "$source")-$(sha256sum "$KHV_DEBUG_CONFIG" | cut -c 1-12)
	if [ ! -d "$dir" ]; then
		start=$(date +%s)
		tmp=$dir.tmp
		rm -rf "$tmp"
		mkdir -p "$tmp/build"
		khv_say "configuring the debug kernel of $(basename "$source")"
		khv_quiet debug-kernel make -C "$source" O="$tmp/build" tinyconfig ||
			khv_die "make tinyconfig failed"
		cat "$KHV_DEBUG_CONFIG" >>"$tmp/build/.config"
		khv_quiet debug-kernel make -C "$source" O="$tmp/build" olddefconfig ||
			khv_die "make olddefconfig failed"
		khv_debug_config_check "$tmp/build/.config"

		khv_say "building the debug kernel (six minutes on two processors)"
		khv_quiet debug-kernel make -C "$source" O="$tmp/build" -j"$KHV_JOBS" bzImage modules ||
			khv_die "the debug kernel does not build"
		release=$(cat "$tmp/build/include/config/kernel.release")
		printf '%s\n' "$release" >"$tmp/release"
		cp "$tmp/build/arch/x86/boot/bzImage" "$tmp/vmlinuz"
		mkdir -p "$tmp/lib/modules/$release"
		find "$tmp/build" -name '*.ko' -exec cp -t "$tmp/lib/modules/$release" {} +
		ln -s "lib/modules/$release" "$tmp/modules"
		for module in $KHV_DEBUG_MODULES; do
			[ -s "$tmp/modules/$module.ko" ] || khv_die "the debug kernel has no $module.ko"
		done

		# Building a module asks for headers, scripts, objtool and Module.symvers only.
		find "$tmp/build" \( -path "$tmp/build/scripts" -o -path "$tmp/build/tools" \) -prune -o \
			-type f \( -name '*.o' -o -name '*.a' -o -name '*.ko' -o -name '*.mod*' -o \
			-name '.*.cmd' -o -name 'vmlinux.*' -o -name '.tmp_vmlinux*' \) \
			! -name 'modules.*' -exec rm -f {} +
		mv "$tmp" "$dir"
		khv_say "the debug kernel took $(($(date +%s) - start)) s"
	fi
	printf '%s\n' "$dir"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	[ $# = 1 ] || khv_die "usage: $0 SERIES   (6.12)"
	khv_debug_kernel "$1"
fi
