#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The debug hosts' kernels, built from linux-source and kept in the cache: KASAN, UBSAN, lockdep,
# kmemleak, fault injection and KUnit around the same KVM, as debug.config says; and one with KCSAN, as
# kcsan.config changes it. Executed ("debug-kernel.sh 6.12 [kcsan]") it prints the kernel folder (see
# kernels.sh); sourced after lib.sh it gives khv_debug_kernel. It must not touch the source tree, which
# others read.

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	set -euo pipefail
	# shellcheck source=lib.sh
	. "$(dirname "$0")/lib.sh"
fi

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

# khv_debug_kernel 6.12 debug|kcsan: the debug kernel of that series, as a kernel folder.
khv_debug_kernel() { khv_locked "$2-$1" khv_debug_kernel_locked "$@"; }

# khv_debug_config debug|kcsan: what is added to tinyconfig. Of two lines about one option the last one counts.
khv_debug_config() {
	cat "$KHV_RIG/debug.config"
	[ "$1" = debug ] || cat "$KHV_RIG/$1.config"
}

# khv_debug_config_check FLAVOUR CONFIG: every line that counts must have survived into CONFIG.
khv_debug_config_check() {
	local config=$2 line name missing=()

	while IFS= read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF -- "$line" "$config" || missing+=("$line") ;;
		"# CONFIG_"*" is not set")
			name=${line#\# }
			! grep -q "^${name%% *}=" "$config" || missing+=("$line") ;;
		"" | "#"*) ;;
		*)
			khv_die "$1.config: this line is neither an option nor a comment: $line" ;;
		esac
	done < <(khv_debug_config "$1" | awk '
		{ name = $0 }
		/^(# )?CONFIG_/ { sub(/^# /, "", name); sub(/[ =].*/, "", name) }
		{ last[name] = $0 }
		END { for (name in last) print last[name] }')
	[ ${#missing[@]} -eq 0 ] || {
		printf '    %s\n' "${missing[@]}" >&2
		khv_die "${#missing[@]} lines of $1.config did not take effect in this kernel, see above"
	}
}

khv_debug_kernel_locked() {
	local series=$1 flavour=$2 source dir tmp release module start

	khv_need_packages gcc make libc6-dev libelf-dev bc bison flex lz4 kmod binutils perl
	source=${KHV_SRC:-$(khv_source "$series")}
	[ -s "$source/Kconfig" ] || khv_die "no kernel source in $source"
	[ ! -e "$source/.config" ] || khv_die "$source was built in: it must be pristine"
	dir=$KHV_CACHE/$flavour-$(basename "$source")-$(khv_debug_config "$flavour" | sha256sum | cut -c 1-12)
	if [ ! -d "$dir" ]; then
		start=$(date +%s)
		tmp=$dir.tmp
		rm -rf "$tmp"
		mkdir -p "$tmp/build"
		khv_say "configuring the $flavour kernel of $(basename "$source")"
		khv_quiet debug-kernel make -C "$source" O="$tmp/build" tinyconfig ||
			khv_die "make tinyconfig failed"
		khv_debug_config "$flavour" >>"$tmp/build/.config"
		khv_quiet debug-kernel make -C "$source" O="$tmp/build" olddefconfig ||
			khv_die "make olddefconfig failed"
		khv_debug_config_check "$flavour" "$tmp/build/.config"

		khv_say "building the $flavour kernel (six minutes on two processors)"
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
		khv_say "the $flavour kernel took $(($(date +%s) - start)) s"
	fi
	printf '%s\n' "$dir"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	[ $# = 1 ] || [ "$#:${2:-}" = 2:kcsan ] || khv_die "usage: $0 SERIES [kcsan]   (6.12)"
	khv_debug_kernel "$1" "${2:-debug}"
fi
