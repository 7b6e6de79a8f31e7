# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Kernels, their modules and their sources, from Debian's packages. Sourced by lib.sh.
#
# A *kernel folder*, as printed by khv_kernel and by khv_debug_kernel (debug-kernel.sh), holds
#   vmlinuz    the image            release    one line, what uname -r says
#   build      the folder for make -C (headers and Kbuild)
#   lib/modules/<release>/**/*.ko   the modules, .ko.xz as well

# khv_use_apt_of QUERY...: from here on use Debian 12's packages if QUERY fails with this machine's own.
khv_use_apt_of() {
	! "$@" >/dev/null || return 0
	APT_CONFIG=$(khv_suite bookworm) || return
	export APT_CONFIG
	"$@" >/dev/null
}

# khv_kernel_suffix SERIES: print SUFFIX where the package linux-image-SUFFIX depends on the newest
# kernel of SERIES.
khv_kernel_suffix() {
	local suffix

	for suffix in "$1-amd64" amd64; do
		if khv_depends "linux-image-$suffix" 2>/dev/null | grep "^linux-image-$1[.]" >/dev/null; then
			printf '%s\n' "$suffix"
			return
		fi
	done
	return 1
}

# khv_kernel 6.12|6.1: the newest stock kernel of that series in this release, or else in Debian 12, as a
# kernel folder.
khv_kernel() { khv_once "kernel-$1" khv_locked "kernel-$1" khv_kernel_locked "$1"; }

khv_kernel_locked() {
	local series=$1 suffix image headers release dir tmp packages

	khv_apt_update
	khv_use_apt_of khv_kernel_suffix "$series" ||
		khv_die "no package linux-image-$series-amd64, neither here nor in Debian 12"
	suffix=$(khv_kernel_suffix "$series")
	image=$(khv_depends "linux-image-$suffix" | sed -n '0,/^linux-image-/{//p}')
	headers=$(khv_depends "linux-headers-$suffix" | sed -n '0,/^linux-headers-/{//p}')
	[ -n "$headers" ] || khv_die "no package linux-headers-$suffix"
	release=${image#linux-image-}
	[ "$release" = "${headers#linux-headers-}" ] || khv_die "$image and $headers differ in version: update the package lists (KHV_UPDATE=1)"

	dir=$KHV_CACHE/kernel-$(khv_key "$release-$(khv_version "$image")")
	if [ ! -d "$dir" ]; then
		tmp=$dir.tmp
		rm -rf "$tmp"
		packages=$(khv_depends "$headers" | grep -E '^linux-(headers|kbuild)-.*' | sort -u)
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
		printf '%s\n' "$release" >"$tmp/release"
		rm -rf "$tmp/usr/share/doc"
		[ -s "$tmp/vmlinuz" ] && [ -s "$tmp/build/Makefile" ] && [ -d "$tmp/build/scripts" ] ||
			khv_die "$image or $headers lacks vmlinuz, Makefile or scripts"
		mv "$tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}

# khv_source 6.12|6.1: the newest linux-source of that series, unpacked. Do not build in it.
khv_source() { khv_once "source-$1" khv_locked "source-$1" khv_source_locked "$1"; }

khv_source_locked() {
	local series=$1 version dir tmp

	khv_apt_update
	khv_use_apt_of khv_known "linux-source-$series" ||
		khv_die "no package linux-source-$series, neither here nor in Debian 12"
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

# khv_module KERNEL NAME [strip]: one of the kernel's modules, decompressed; "strip" also removes BTF and
# debug sections, which halves its load time on the slow hosts.
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
