# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Kernels, their modules and their sources, from Debian's packages. Sourced by lib.sh.
#
# A *kernel folder*, as printed by khv_kernel and by khv_debug_kernel (debug-kernel.sh), holds
#   vmlinuz    the image            release    one line, what uname -r says
#   build      the folder for make -C (headers and Kbuild)
#   root       only where this machine's compiler or C library cannot build for it: the root that can,
#              with the same headers (khv_kbuild)
#   lib/modules/<release>/**/*.ko   the modules, .ko.xz as well

# khv_use_apt_of QUERY...: from here on use the packages of Debian 12, or else of Debian 13 and its
# backports, if QUERY fails with this machine's own.
khv_use_apt_of() {
	local suite

	! "$@" >/dev/null || return 0
	for suite in bookworm trixie-backports; do
		APT_CONFIG=$(khv_suite "$suite") || return
		export APT_CONFIG
		! "$@" >/dev/null || return 0
	done
	return 1
}

# khv_kernel_image SERIES[-rt]: print the package of the newest kernel of SERIES, or of its flavour rt: the
# one that a metapackage depends on, or else the newest by name (apt prefers the release's to those of
# backports).
khv_kernel_image() {
	local series=${1%-rt} flavour=${1#"${1%-rt}"} suffix image

	for suffix in "$1-amd64" "${flavour:+rt-}amd64"; do
		image=$(khv_depends "linux-image-$suffix" 2>/dev/null | sed -n "0,/^linux-image-${series}[.]/{//p}")
		[ -z "$image" ] || { printf '%s\n' "$image"; return; }
	done
	image=$(apt-cache pkgnames "linux-image-$series." |
		grep -xE "linux-image-${series}[.][0-9]+[+]deb[0-9]+$flavour-amd64" | sort -V | tail -n 1) || true
	[ -n "$image" ] && printf '%s\n' "$image"
}

# khv_kernel 7.3|6.12|6.1: the newest stock kernel of that series in this release, or else in Debian 12,
# or in Debian 13's backports, as a kernel folder.
khv_kernel() { khv_once "kernel-$1" khv_locked "kernel-$1" khv_kernel_locked "$1"; }

# khv_kernel_of SUITE SERIES[-rt]: the newest that SUITE has, whatever this machine's release has.
khv_kernel_of() (
	APT_CONFIG=$(khv_suite "$1") || exit
	export APT_CONFIG
	khv_once "kernel-$1-$2" khv_locked "kernel-$2" khv_kernel_locked "$2"
)

# newest_in_cache PATTERN: the folder of the highest version, if there is one.
newest_in_cache() { find "$KHV_CACHE" -maxdepth 1 -name "$1" ! -name '*.tmp' | sort -V | tail -n 1; }

# from_cache PATTERN PACKAGE: the same, in place of a package that there is no more: backports move on, and
# what was fetched stays good.
from_cache() {
	local dir

	dir=$(newest_in_cache "$1")
	[ -n "$dir" ] || khv_die "no package $2, neither here nor in Debian 12 and Debian 13's backports"
	khv_say "no package $2 any more: using $(basename "$dir")"
	printf '%s\n' "$dir"
}

khv_kernel_locked() {
	local series=$1 image headers release dir tmp packages flavour=

	khv_apt_update
	if ! khv_use_apt_of khv_kernel_image "$series"; then
		[[ $series != *-rt ]] || flavour=-rt
		from_cache "kernel-${series%-rt}.*[0-9]$flavour-amd64-*" "linux-image-$series.*"
		return
	fi
	image=$(khv_kernel_image "$series")
	release=${image#linux-image-}
	headers=linux-headers-$release
	khv_known "$headers" || khv_die "no package $headers for $image: update the package lists (KHV_UPDATE=1)"

	dir=$KHV_CACHE/kernel-$(khv_key "$release-$(khv_version "$image")")
	if [ ! -d "$dir" ]; then
		tmp=$dir.tmp
		rm -rf "$tmp"
		packages=$(khv_depends "$headers" | grep -E '^linux-(headers|kbuild)-.*' | sort -u)
		# Since 6.19 the image is in three packages.
		packages+=" $(khv_depends "$image" | grep -E '^linux-(base|binary|modules)-.*' | sort -u || true)"
		# shellcheck disable=SC2086
		khv_unpack "$tmp" "$image" "$headers" $packages
		# Make the packages' absolute references to /usr/src relative.
		sed -i "s|/usr/src/|\$(dir \$(lastword \$(MAKEFILE_LIST)))../|" \
			"$tmp/usr/src/linux-headers-$release/Makefile"
		# Debian 13 packages modules for /usr/lib.
		[ -e "$tmp/lib" ] || ln -s usr/lib "$tmp/lib"
		ln -sfn "$(realpath --relative-to="$tmp/lib/modules/$release" "$tmp/usr/src/linux-headers-$release")" \
			"$tmp/lib/modules/$release/build"
		ln -sfn "usr/src/linux-headers-$release" "$tmp/build"
		ln -sfn "boot/vmlinuz-$release" "$tmp/vmlinuz"
		[ -e "$tmp/vmlinuz" ] || ln -sfn "lib/modules/$release/vmlinuz" "$tmp/vmlinuz"
		printf '%s\n' "$release" >"$tmp/release"
		rm -rf "$tmp/usr/share/doc"
		[ -s "$tmp/vmlinuz" ] && [ -s "$tmp/build/Makefile" ] && [ -d "$tmp/build/scripts" ] ||
			khv_die "$image or $headers lacks vmlinuz, Makefile or scripts"
		khv_kernel_root "$tmp" "$headers"
		mv "$tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}

# khv_kernel_root KERNEL HEADERS: give the kernel folder a root that builds modules for it, if it was built
# by a newer compiler than this machine's: that one would lack options, and Kbuild's programs want a newer
# C library.
khv_kernel_root() {
	local kernel=$1 built here root

	built=$(sed -n 's/^CONFIG_GCC_VERSION=//p' "$kernel/build/.config")
	here=$(gcc -dumpversion)
	[ "$((${built:-0} / 10000))" -gt "${here%%.*}" ] || return 0
	root=$(khv_root trixie-backports "$2" gcc-14 binutils make bash dash coreutils sed grep gawk findutils perl kmod \
		base-files) || return
	mkdir -p "$root"/{dev,mnt,proc,tmp}
	ln -sfn gawk "$root/usr/bin/awk"
	# Both are in the cache, which may be moved.
	ln -sfn "../$(basename "$root")" "$kernel/root"
}

# khv_source 7.3|6.12|6.1: the newest linux-source of that series, unpacked. Do not build in it.
khv_source() { khv_once "source-$1" khv_locked "source-$1" khv_source_locked "$1"; }

khv_source_locked() {
	local series=$1 version dir tmp

	khv_apt_update
	if ! khv_use_apt_of khv_known "linux-source-$series"; then
		from_cache "source-$series.*" "linux-source-$series"
		return
	fi
	version=$(khv_version "linux-source-$series")
	dir=$KHV_CACHE/source-$(khv_key "$version")
	if [ ! -d "$dir" ]; then
		tmp=$dir.tmp
		rm -rf "$tmp"
		khv_unpack "$tmp" "linux-source-$series"
		khv_say "unpacking linux-source-$series"
		mkdir "$tmp/tree"
		tar -C "$tmp/tree" --strip-components=1 -xf "$tmp/usr/src/linux-source-$series.tar.xz" ||
			khv_die "cannot unpack linux-source-$series"
		mv "$tmp/tree" "$dir"
		rm -rf "$tmp"
	fi
	printf '%s\n' "$dir"
}

# khv_configured SERIES NAME WORD...: linux-source-SERIES with the options of that series' stock kernel, made
# ready for external modules, as a kernel folder with "build" and "release" only. A WORD is an option to have
# otherwise, as .config has it, or an argument for make. KVM's symbols are not there: build with
# KBUILD_MODPOST_WARN=1.
khv_configured() { khv_locked "configured-$1-$2" khv_configured_locked "$@"; }

khv_configured_locked() {
	local source stock dir=$KHV_CACHE/build/configured-$1-$2 word options=() arguments=()

	source=$(khv_source "$1") && stock=$(khv_kernel "$1") || return
	khv_need_packages gcc make libc6-dev libelf-dev bc bison flex perl python3
	khv_say "configuring linux-source-$1: $2"
	shift 2
	# Signatures need the distribution's keys, and BTF the kernel.
	for word in '# CONFIG_SECURITY_LOCKDOWN_LSM is not set' '# CONFIG_INTEGRITY is not set' \
		'# CONFIG_MODULE_SIG is not set' CONFIG_DEBUG_INFO_NONE=y "$@"; do
		case $word in
		*CONFIG_*) options+=("$word") ;;
		*) arguments+=("$word") ;;
		esac
	done
	mkdir -p "$dir/build"
	# Of two lines for an option the last one counts.
	{ cat "$stock/build/.config" && printf '%s\n' "${options[@]}"; } >"$dir/build/.config"
	khv_quiet configured make -C "$source" O="$dir/build" "${arguments[@]}" olddefconfig &&
		khv_quiet configured make -C "$source" O="$dir/build" -j"$KHV_JOBS" "${arguments[@]}" modules_prepare ||
		khv_die "linux-source of $(basename "$dir") cannot be configured"
	for word in "${options[@]}"; do
		[[ $word != *=* ]] || grep -qx "$word" "$dir/build/.config" || khv_die "$(basename "$dir"): no $word"
	done
	cp "$dir/build/include/config/kernel.release" "$dir/release"
	printf '%s\n' "$dir"
}

# khv_header_links KERNEL DIR: DIR is KERNEL as far as builds see it, and its headers are links, so that
# khv_change_header can have one of them otherwise.
khv_header_links() {
	mkdir -p "$2"
	cp -as "$(readlink -f "$1")/usr" "$2/"
	cp -a "$(readlink -f "$1")/build" "$2/"
}

# khv_change_header FILE EXPRESSION: change it by sed; there must be something to change.
khv_change_header() {
	sed "$2" "$1" >"$1.changed"
	if cmp -s "$1" "$1.changed"; then
		rm "$1.changed"
		khv_say "nothing to change in $1: $2"
		return 1
	fi
	mv "$1.changed" "$1"
}

# khv_module KERNEL NAME [strip]: one of the kernel's modules, decompressed; "strip" also removes BTF and
# debug sections, for guests that load it slowly and hosts that are to lack it.
khv_module() {
	local kernel=$1 name=$2 strip=${3:-} src out pattern

	pattern=$(printf '%s' "$name" | tr '_-' '??')
	src=$(find "$kernel/lib/modules/" \( -name "$pattern.ko" -o -name "$pattern.ko.xz" \) -print -quit)
	[ -n "$src" ] || return 1
	out=$KHV_CACHE/modules/$(basename "$kernel")${strip:+-stripped}/$(basename "${src%.xz}")
	if [ ! -s "$out" ] || [ "$src" -nt "$out" ]; then
		mkdir -p "$(dirname "$out")"
		case $src in
		*.xz) xz -dc "$src" >"$out.$$" ;;
		*) cp "$src" "$out.$$" ;;
		esac
		[ -z "$strip" ] || objcopy --strip-debug -R .BTF -R .BTF.ext "$out.$$"
		mv "$out.$$" "$out"
	fi
	printf '%s\n' "$out"
}

# khv_module_order KERNEL NAME...: the modules and all they depend on, dependencies first. Leave out a
# dependency that is built in; fail on a NAME that does not exist.
khv_module_order() {
	local kernel=$1 name file dep list=" "

	shift
	khv_module_walk() {
		file=$(khv_module "$kernel" "$1") || return 1
		for dep in $(modinfo -F depends "$file" | tr ',' ' '); do
			case $list in
			*" $dep "*) ;;
			*) khv_module_walk "$dep" || true ;;
			esac
		done
		case $list in
		*" $1 "*) ;;
		*) list+="$1 " ;;
		esac
	}
	for name in "$@"; do
		khv_module_walk "$name" || khv_die "$(basename "$kernel") has no module $name"
	done
	printf '%s\n' "$list"
}
