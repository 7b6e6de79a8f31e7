# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The rig's shared functions, to be sourced: packages, kernels, sources, builds, initramfs and the
# two emulated hosts. Every function prints its result (a path) on stdout and progress on stderr.
# Nothing here installs a kernel, and nothing outlives the script that sources this file.
#
# A *kernel folder*, as printed by khv_kernel and by khv_debug_kernel (debug-kernel.sh), holds
#   vmlinuz    the image            release    one line, what uname -r says
#   build      the folder for make -C (headers and Kbuild)
#   lib/modules/<release>/**/*.ko   the modules, .ko.xz as well

KHV_RIG=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KHV_TOP=$(cd "$KHV_RIG/../.." && pwd)
KHV_CACHE=${KHV_CACHE:-$HOME/.cache/kvm-hyperv}
KHV_LOGS=${KHV_LOGS:-$KHV_CACHE/logs/$(date +%Y%m%d-%H%M%S)-$$}
KHV_JOBS=${KHV_JOBS:-$(nproc)}
KHV_START=${KHV_START:-$(date +%s)}
V=${V:-0}
export KHV_CACHE KHV_LOGS KHV_JOBS KHV_START V
mkdir -p "$KHV_CACHE" "$KHV_LOGS"

khv_say() { printf '[%4ds] %s\n' $(($(date +%s) - KHV_START)) "$*" >&2; }
khv_die() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }

# khv_quiet NAME COMMAND...: run COMMAND with its output in the log NAME.log; show it with V=1,
# show its last lines when it fails.
khv_quiet() {
	local log=$KHV_LOGS/$1.log rc=0

	shift
	printf '+ %s\n' "$*" >>"$log"
	if [ "$V" = 1 ]; then
		"$@" 2>&1 | tee -a "$log" >&2 || rc=${PIPESTATUS[0]}
	else
		"$@" >>"$log" 2>&1 || rc=$?
	fi
	if [ "$rc" != 0 ]; then
		printf 'failed (%d): %s\n' "$rc" "$*" >&2
		tail -n 30 "$log" | sed 's/^/    /' >&2
		printf '    whole log: %s\n' "$log" >&2
	fi
	return "$rc"
}

# khv_locked NAME FUNCTION ARGS...: one builder of a cache entry at a time, over all rigs.
khv_locked() {
	local name=$1

	shift
	( flock 9; "$@" 9>&- ) 9>"$KHV_CACHE/.lock-$name"
}

# khv_once NAME FUNCTION ARGS...: what it printed the first time in this run; apt takes seconds to
# answer.
khv_once() {
	local answer=$KHV_LOGS/.answer-$1

	shift
	if [ ! -s "$answer" ]; then
		"$@" >"$answer.$$" || return
		mv "$answer.$$" "$answer"
	fi
	cat "$answer"
}

# khv_key STRING: a string as part of a folder name that make can bear.
khv_key() { printf '%s' "$1" | tr ':~/ ' '____'; }

# ---------------------------------------------------------------------------------------------
# Packages

# The lists are asked for once a day, or when a package is not known at all; KHV_UPDATE=1 forces.
khv_apt_update() {
	local stamp=$KHV_CACHE/.apt-update

	[ "${KHV_UPDATE:-0}" = 1 ] || [ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ] ||
		return 0
	[ "$(id -u)" = 0 ] || khv_die "root is needed to update the package lists (apt-get update)"
	khv_say "apt-get update"
	if khv_quiet apt apt-get -q update; then
		touch "$stamp"
	else
		khv_say "apt-get update failed: going on with the package lists that are there"
	fi
	unset KHV_UPDATE
}

khv_have_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# khv_need_packages PACKAGE...: install by apt what is not installed.
khv_need_packages() {
	local p missing=()

	for p in "$@"; do
		khv_have_package "$p" || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || khv_die "packages are missing and only root can install them: ${missing[*]}"
	khv_apt_update
	khv_say "installing packages: ${missing[*]}"
	DEBIAN_FRONTEND=noninteractive khv_quiet apt apt-get -q -y --no-install-recommends \
		-o DPkg::Lock::Timeout=300 install "${missing[@]}" ||
		khv_die "apt could not install: ${missing[*]}"
}

# What the build of the module and of the tests needs, and what the emulated hosts need.
khv_need_build() {
	khv_need_packages gcc make libc6-dev libelf-dev pahole bc bison flex rsync cpio kmod xz-utils \
		binutils util-linux perl python3-minimal patch
}

khv_need_emulators() {
	khv_need_packages xorriso isolinux syslinux-common
	khv_emulators >/dev/null
}

# khv_suite SUITE: a root of its own for apt, with the lists of Debian's SUITE and of its security
# updates from the mirrors that this machine asks; the machine's own lists and packages stay as they
# are. Prints apt's configuration (APT_CONFIG), whose lists are asked for once a day as well.
khv_suite() { khv_once "suite-$1" khv_locked "suite-$1" khv_suite_locked "$1"; }

khv_suite_locked() {
	local suite=$1 dir=$KHV_CACHE/apt-$1 signed=/usr/share/keyrings/debian-archive-keyring.gpg label uri

	if [ -z "$(find "$dir/.apt-update" -mmin -1440 2>/dev/null)" ]; then
		mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
		: >"$dir/status"
		# $( is apt's here.
		# shellcheck disable=SC2016
		apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | sort -u |
			while read -r label uri; do
				case $label in
				Debian) echo "deb [signed-by=$signed] $uri $suite main" ;;
				Debian-Security) echo "deb [signed-by=$signed] $uri $suite-security main" ;;
				esac
			done >"$dir/sources.list"
		[ -s "$dir/sources.list" ] || khv_die "apt knows no mirror of Debian"
		cat >"$dir/apt.conf" <<-CFG
			Dir::Etc::sourcelist "$dir/sources.list";
			Dir::Etc::sourceparts "-";
			Dir::State::lists "$dir/lists";
			Dir::State::status "$dir/status";
			Dir::Cache "$dir/cache";
			APT::Architecture "amd64";
			Acquire::Languages "none";
		CFG
		khv_say "apt-get update for $suite"
		if APT_CONFIG=$dir/apt.conf khv_quiet apt apt-get -q update; then
			touch "$dir/.apt-update"
		elif [ -n "$(find "$dir/lists" -name '*Packages*')" ]; then
			khv_say "apt-get update failed: going on with the lists of $suite that are there"
		else
			khv_die "no package lists of $suite"
		fi
	fi
	printf '%s\n' "$dir/apt.conf"
}

khv_depends() { apt-cache depends "$1" | awk '$1 == "Depends:" && !/</ { print $2 }'; }
khv_known() { [ -n "$(khv_version "$1")" ]; }
# To apt, a name that it does not know is a pattern.
khv_version() { apt-cache policy "$1" | awk -v name="$1:" '/^[^ ]/ { it = $0 == name } it && $1 == "Candidate:" { print $2 }'; }

# khv_unpack DIR PACKAGE...: download the packages and unpack them side by side below DIR.
khv_unpack() {
	local dir=$1 deb

	shift
	mkdir -p "$dir/.debs"
	khv_say "downloading $*"
	(cd "$dir/.debs" && khv_quiet apt apt-get -q -o APT::Sandbox::User=root download "$@") ||
		khv_die "apt could not download: $*"
	for deb in "$dir"/.debs/*.deb; do
		khv_quiet apt dpkg-deb -x "$deb" "$dir" || khv_die "cannot unpack $deb"
	done
	rm -rf "$dir/.debs"
}

# khv_root SUITE PACKAGE...: the packages of Debian's SUITE, unpacked in one folder with all that they
# depend on, the C library too; prints the folder. khv_run_in starts a program of it.
khv_root() {
	local name=root-$1-$2

	khv_once "$name" khv_locked "$name" khv_root_locked "$@"
}

khv_root_locked() {
	local suite=$1 dir debs deb

	shift
	APT_CONFIG=$(khv_suite "$suite") || return
	export APT_CONFIG
	dir=$KHV_CACHE/root-$suite-$(khv_key "$1-$(khv_version "$1")-$(khv_version libc6)")
	if [ ! -d "$dir" ]; then
		debs=$dir.debs
		rm -rf "$dir.tmp" "$debs"
		mkdir -p "$dir.tmp" "$debs/partial"
		khv_say "downloading $* of $suite"
		khv_quiet apt apt-get -q -y --no-install-recommends --download-only \
			-o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::Cache::archives="$debs" \
			install "$@" || khv_die "apt could not download $* of $suite"
		for deb in "$debs"/*.deb; do
			khv_quiet apt dpkg-deb -x "$deb" "$dir.tmp" || khv_die "cannot unpack $deb"
		done
		rm -rf "$debs" "$dir.tmp"/usr/share/{doc,man,locale}
		mv "$dir.tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}

# khv_run_in ROOT PROGRAM: the words, one a line, that start PROGRAM of that root of khv_root with its
# own libraries, or of this machine if ROOT is empty.
khv_run_in() {
	local root=$1 libs=usr/lib/x86_64-linux-gnu

	if [ -n "$root" ]; then
		# Before Debian 13 the C library is packaged for /lib.
		find "$root/lib/x86_64-linux-gnu" "$root/$libs" -name 'ld-linux-x86-64.so.2' 2>/dev/null |
			head -n 1 || true
		printf '%s\n' --library-path "$root/$libs:$root/${libs#usr/}:$root/$libs/pulseaudio"
	fi
	printf '%s\n' "$root/usr/bin/$2"
}

# khv_emulators: where Debian 12's emulators are, whose faults are known and mended here: empty on
# Debian 12, else the root that they were unpacked in.
khv_emulators() {
	if [ "$(khv_release)" = bookworm ]; then
		khv_need_packages qemu-system-x86 bochs bochs-term bochsbios vgabios
	else
		khv_root bookworm qemu-system-x86 bochs bochs-term bochsbios vgabios
	fi
}

khv_release() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# khv_bochs3: the root of Bochs 3.0, which has APICv and NRIPS; Debian 12's 2.7 has neither.
khv_bochs3() { khv_root trixie bochs bochs-term bochsbios vgabios; }

# ---------------------------------------------------------------------------------------------
# Kernels and sources

# khv_use_apt_of QUERY...: have apt ask for Debian 12's packages from here on, if what this machine's
# own apt knows makes QUERY fail.
khv_use_apt_of() {
	! "$@" >/dev/null || return 0
	APT_CONFIG=$(khv_suite bookworm) || return
	export APT_CONFIG
	"$@" >/dev/null
}

# khv_kernel_suffix SERIES: what follows linux-image- in the name of the package that depends on the
# newest kernel of SERIES.
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

# khv_kernel 6.12|6.1: the newest stock kernel of that series that this release serves, or Debian 12,
# as a kernel folder.
khv_kernel() { khv_once "kernel-$1" khv_locked "kernel-$1" khv_kernel_locked "$1"; }

khv_kernel_locked() {
	local series=$1 suffix image headers release dir tmp packages

	khv_apt_update
	khv_use_apt_of khv_kernel_suffix "$series" ||
		khv_die "no package linux-image-$series-amd64, here or in Debian 12"
	suffix=$(khv_kernel_suffix "$series")
	image=$(khv_depends "linux-image-$suffix" | grep '^linux-image-' | head -n 1)
	headers=$(khv_depends "linux-headers-$suffix" | grep '^linux-headers-' | head -n 1)
	[ -n "$headers" ] || khv_die "no package linux-headers-$suffix"
	release=${image#linux-image-}
	[ "$release" = "${headers#linux-headers-}" ] || khv_die "$image and $headers are not of one version"

	dir=$KHV_CACHE/kernel-$(khv_key "$release-$(khv_version "$image")")
	if [ ! -d "$dir" ]; then
		tmp=$dir.tmp
		rm -rf "$tmp"
		packages=$(khv_depends "$headers" | grep -E '^linux-(headers|kbuild)-.*' | sort -u)
		# shellcheck disable=SC2086
		khv_unpack "$tmp" "$image" "$headers" $packages
		# The packages mean to live in /usr/src: their absolute references become relative.
		sed -i "s|/usr/src/|\$(dir \$(lastword \$(MAKEFILE_LIST)))../|" \
			"$tmp/usr/src/linux-headers-$release/Makefile"
		# Since Debian 13 modules are packaged for /usr/lib.
		[ -e "$tmp/lib" ] || ln -s usr/lib "$tmp/lib"
		ln -sfn "$(realpath --relative-to="$tmp/lib/modules/$release" "$tmp/usr/src/linux-headers-$release")" \
			"$tmp/lib/modules/$release/build"
		ln -sfn "usr/src/linux-headers-$release" "$tmp/build"
		ln -sfn "boot/vmlinuz-$release" "$tmp/vmlinuz"
		printf '%s\n' "$release" >"$tmp/release"
		rm -rf "$tmp/usr/share/doc"
		[ -s "$tmp/vmlinuz" ] && [ -s "$tmp/build/Makefile" ] && [ -d "$tmp/build/scripts" ] ||
			khv_die "$image or $headers does not hold what is expected"
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
		khv_die "no package linux-source-$series, here or in Debian 12"
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

# khv_module KERNEL NAME [strip]: one of the kernel's modules, decompressed; with "strip" also
# without BTF and debug sections, which halves its load time where every instruction counts.
khv_module() {
	local kernel=$1 name=$2 strip=${3:-} src out pattern

	pattern=$(printf '%s' "$name" | tr '_-' '??')
	src=$(find "$kernel/lib/modules/" \( -name "$pattern.ko" -o -name "$pattern.ko.xz" \) | head -n 1)
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

# khv_module_order KERNEL NAME...: the modules and all they depend on, dependencies first.
# A dependency that is built in is left out; a name asked for must exist.
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

# ---------------------------------------------------------------------------------------------
# Builds

# khv_kernel_cc KERNEL: the compiler's name as the kernel was built with, if it is here: another
# name of the same compiler draws a warning.
khv_kernel_cc() {
	local cc

	cc=$(sed -n 's/^#define CONFIG_CC_VERSION_TEXT "\([^ ]*\) .*/\1/p' "$1/build/include/generated/autoconf.h")
	command -v "${cc:-none}" || command -v gcc
}

# khv_build_module KERNEL [make arguments]: build the module out of tree, in a copy of the sources
# kept below the cache, one per kernel; a warning is an error. Prints the path of kvm-hyperv.ko.
khv_build_module() {
	local kernel=$1

	shift
	khv_locked "build-$(basename "$kernel")" khv_build_module_locked "$kernel" "$@"
}

khv_build_module_locked() {
	local kernel=$1 release dir warnings

	shift
	release=$(cat "$kernel/release")
	dir=$KHV_CACHE/build/$(basename "$kernel")
	khv_say "building kvm-hyperv.ko for $release"
	mkdir -p "$dir"
	# By content, not by time: what is as it was in an earlier checkout is not built again.
	rsync -rlp --checksum --delete --exclude='*.o' --exclude='*.ko' --exclude='*.mod' --exclude='*.mod.c' \
		--exclude='.*.cmd' --exclude='*.order' --exclude='*.symvers' --exclude='.git' \
		--exclude='offsets.[hs]' --exclude='.dispatch.proved' \
		"$KHV_TOP/" "$dir/"
	rm -f "$dir/kvm-hyperv.ko"
	khv_quiet "build-$release" make -C "$dir" -j"$KHV_JOBS" KDIR="$kernel/build" \
		CC="$(khv_kernel_cc "$kernel")" W=1 "$@" modules ||
		khv_die "the module does not build for $release"
	[ -s "$dir/kvm-hyperv.ko" ] || khv_die "the build for $release left no kvm-hyperv.ko"
	warnings=$(grep -i 'warning' "$KHV_LOGS/build-$release.log" | grep -v 'Skipping BTF generation' || true)
	if [ -n "$warnings" ]; then
		# What was compiled would not warn again.
		rm -rf "$dir"
		khv_die "the build for $release warns:"$'\n'"$warnings"
	fi
	khv_check_symbols "$kernel" "$dir/kvm-hyperv.ko"
	printf '%s\n' "$dir/kvm-hyperv.ko"
}

# khv_check_symbols KERNEL FILE: the module finds KVM when it is inserted; it must not need it for that.
# So it depends on no module, and uses nothing that kvm.ko exports.
khv_check_symbols() {
	local file=$2 exported used

	exported=$(nm "$(khv_module "$1" kvm)" | sed -n 's/.* __ksymtab_//p' | sort)
	[ -n "$exported" ] || khv_die "kvm.ko of $(basename "$1") exports nothing"
	used=$(
		modinfo -F depends "$file"
		comm -12 <(nm -u "$file" | awk '{ print $2 }' | sort) <(printf '%s\n' "$exported")
	)
	[ -z "$used" ] || khv_die "$(basename "$file") depends on:"$'\n'"$used"
}

# khv_build_helper KERNEL FOLDER: modules that only tests insert, from that folder beside this file;
# prints the folder that holds them.
khv_build_helper() {
	local kernel=$1 name=$2 out stamp

	out=$KHV_CACHE/build/$name-$(basename "$kernel")
	stamp=$out/.built
	if [ ! -e "$stamp" ] || [ -n "$(find "$KHV_RIG/$name" -newer "$stamp" -type f)" ]; then
		mkdir -p "$out"
		cp "$KHV_RIG/$name"/* "$out/"
		khv_quiet "build-$name" make -C "$kernel/build" M="$out" \
			CC="$(khv_kernel_cc "$kernel")" modules ||
			khv_die "$name does not build for $(basename "$kernel")"
		touch "$stamp"
	fi
	printf '%s\n' "$out"
}

# khv_build_prototype KERNEL: the module with the example of Documentation/prototyping.rst applied;
# prints the path of its kvm-hyperv.ko.
khv_build_prototype() {
	local kernel=$1 dir

	dir=$KHV_CACHE/build/prototype-$(basename "$kernel")
	mkdir -p "$dir"
	rm -rf "$dir.src"
	mkdir "$dir.src"
	cp -a "$KHV_TOP/Kbuild" "$KHV_TOP/Makefile" "$KHV_TOP/hyperv" "$KHV_TOP/include" "$dir.src/"
	khv_quiet build-prototype patch -d "$dir.src" -p1 -i "$KHV_TOP/selftests/prototype/nested.patch" ||
		khv_die "selftests/prototype/nested.patch does not apply"
	rsync -rlp --checksum "$dir.src/" "$dir/"
	khv_quiet build-prototype make -C "$dir" -j"$KHV_JOBS" KDIR="$kernel/build" \
		CC="$(khv_kernel_cc "$kernel")" modules ||
		khv_die "the prototype does not build for $(basename "$kernel")"
	printf '%s\n' "$dir/kvm-hyperv.ko"
}

# khv_build_init: PID 1 of the hosts.
khv_build_init() {
	local out=$KHV_CACHE/build/init

	mkdir -p "$KHV_CACHE/build"
	if [ ! -x "$out" ] || [ "$KHV_RIG/init.c" -nt "$out" ]; then
		khv_quiet build-init gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -s \
			-o "$out.$$" "$KHV_RIG/init.c" || khv_die "init.c does not build"
		mv "$out.$$" "$out"
	fi
	printf '%s\n' "$out"
}

# khv_build_own: the project's selftest programs; prints the folder that holds them.
khv_build_own() { khv_locked build-own khv_build_own_locked; }

khv_build_own_locked() {
	local out=$KHV_CACHE/build/selftests key

	khv_say "building the project's selftests"
	key=$(cd "$KHV_TOP/selftests" && find Makefile ./*.[ch] lib guest -type f -print0 | sort -z |
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

# khv_build_upstream SERIES NAME...: upstream's KVM selftests NAME from linux-source-SERIES,
# linked through ioctl_wrap.c. Prints the folder that holds them.
khv_build_upstream() {
	local series=$1

	khv_locked "upstream-$series" khv_build_upstream_locked "$@"
}

khv_build_upstream_locked() {
	local series=$1 source dir key tmp name targets=() flags="-pthread -no-pie -Wl,--wrap=ioctl"

	shift
	source=$(khv_source "$series")
	key=$(printf '%s\n' "$flags" "$@" | cat - "$KHV_RIG/ioctl_wrap.c" | sha256sum | cut -c 1-12)
	dir=$KHV_CACHE/upstream-${source##*/source-}-$key
	if [ ! -d "$dir" ]; then
		khv_say "building upstream's selftests of linux-source-$series"
		tmp=$dir.tmp
		rm -rf "$tmp"
		mkdir -p "$tmp/obj"
		# "make headers" writes into the tree: give it a copy of the little that it needs.
		mkdir "$tmp/src"
		(cd "$source" && cp -a Makefile Kbuild scripts include usr tools "$tmp/src/" &&
			mkdir "$tmp/src/arch" && cp -a arch/x86 "$tmp/src/arch/")
		khv_quiet "upstream-$series" make -C "$tmp/src" -j"$KHV_JOBS" ARCH=x86 headers ||
			khv_die "make headers failed in linux-source-$series"
		khv_quiet "upstream-$series" gcc -O2 -Wall -Werror -isystem "$tmp/src/usr/include" \
			-c -o "$tmp/obj/ioctl_wrap.o" "$KHV_RIG/ioctl_wrap.c" || khv_die "ioctl_wrap.c does not build"
		for name in "$@"; do
			targets+=("$tmp/obj/x86_64/$name")
		done
		khv_quiet "upstream-$series" make -C "$tmp/src/tools/testing/selftests/kvm" -j"$KHV_JOBS" \
			ARCH=x86 OUTPUT="$tmp/obj" LDFLAGS="$flags" \
			LDLIBS="$tmp/obj/ioctl_wrap.o -ldl" "${targets[@]}" ||
			khv_die "upstream's selftests of linux-source-$series do not build"
		for name in "$@"; do
			strip -o "$tmp/$name" "$tmp/obj/x86_64/$name"
		done
		rm -rf "$tmp/obj" "$tmp/src"
		mv "$tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}

# ---------------------------------------------------------------------------------------------
# Initramfs and hosts

# khv_libraries ROOT: the shared libraries of the programs in ROOT/bin, which all have the same, and
# the one that pthread_exit() asks for by itself.
khv_libraries() {
	local root=$1 program file

	program=$(find "$root/bin" -type f -perm -u+x | head -n 1)
	[ -n "$program" ] || return 0
	{
		ldd "$program" | grep -o '/[^ ]*'
		gcc -print-file-name=libgcc_s.so.1
	} | while read -r file; do
		install -D "$(realpath "$file")" "$root/lib/x86_64-linux-gnu/$(basename "$file")"
	done
	mkdir -p "$root/lib64"
	ln -sf ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/lib64/"
}

# khv_initramfs ROOT OUT: pack the folder ROOT (it has /init) into OUT.
khv_initramfs() {
	local root=$1 out=$2

	[ -x "$root/init" ] || khv_die "khv_initramfs: $root has no init"
	mkdir -p "$root"/{proc,sys,dev,tmp,bin,modules,etc}
	(cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio --null --quiet -o -H newc -R 0:0) |
		gzip -1 >"$out" || khv_die "cannot pack $out"
}

# khv_limited SECONDS COMMAND...: run it with a limit on the processor's time that each of its processes
# takes, because a busy or a slow machine is no fault of theirs, and have it killed when this shell
# dies, whatever kills it. Status 152: the limit was reached.
khv_limited() {
	local seconds=$1

	shift
	setpriv --pdeathsig KILL prlimit --cpu="$seconds:$((seconds + 5))" -- "$@" </dev/null
}

# khv_watch PID DIR SECONDS: kill the emulator PID, and say so in DIR/died, when its host has written
# nothing to the console or the results while the emulator took SECONDS of the processor, or slept that
# long; while it waits for a busy machine it does neither.
khv_watch() {
	local pid=$1 dir=$2 limit=$3 hz stat fields size old='' used last=0 quiet=0

	hz=$(getconf CLK_TCK)
	limit=$((limit * hz))
	while stat=$(cat "/proc/$pid/stat" 2>/dev/null); do
		# After the name: the state, ten others, user's and system's time.
		read -r -a fields <<<"${stat##*) }"
		used=$((fields[11] + fields[12]))
		size=$(stat -c %s "$dir/console" "$dir/results")
		if [ "$size" != "$old" ]; then
			quiet=0
		elif [ $((used - last)) -ge $((hz / 5)) ] ||
			cat "/proc/$pid/task"/*/stat 2>/dev/null | grep -q ') R '; then
			quiet=$((quiet + used - last))
		else
			quiet=$((quiet + 2 * hz))
		fi
		if [ "$quiet" -gt "$limit" ]; then
			printf 'the host has been silent for %d s of its own time\n' $((quiet / hz)) >"$dir/died"
			kill -KILL "$pid"
			return
		fi
		old=$size last=$used
		sleep 2
	done
}

# khv_emulate DIR SECONDS STATUS COMMAND...: run the emulator COMMAND with its output in DIR/emulator, for
# SECONDS of the processor's time, of which at most half may pass without a word of its host. STATUS is
# what a power-off ends it with. What else it died of goes to DIR/died.
khv_emulate() {
	local dir=$1 seconds=$2 status=$3 pid watch rc=0

	shift 3
	setpriv --pdeathsig KILL prlimit --cpu="$seconds:$((seconds + 5))" -- "$@" >"$dir/emulator" 2>&1 </dev/null &
	pid=$!
	khv_watch "$pid" "$dir" $((seconds / 2)) &
	watch=$!
	wait "$pid" || rc=$?
	kill "$watch" 2>/dev/null || true
	wait "$watch" || true
	# By a triple fault the host restarts. It is a panic to Bochs, which its debugger may not survive.
	! grep -qs 'exception with no resolution' "$dir/emulator" "$dir/bochs.log" || rc=$status
	case $rc in
	0 | "$status") ;;
	152) printf 'the limit of %d s of the processor was reached\n' "$seconds" >"$dir/died" ;;
	*)
		[ -s "$dir/died" ] || printf 'the emulator ended with status %d: %s\n' "$rc" \
			"$(tail -n 3 "$dir/emulator")" >"$dir/died"
		;;
	esac
}

# khv_boot_amd KERNEL INITRD DIR SECONDS [qemu arguments]: the AMD host. Console in DIR/console,
# results in DIR/results. KHV_APPEND adds kernel arguments, KHV_CPUS processors (2). On a busy machine
# the emulated timer may be too late for the kernel's look at it at boot: no_timer_check.
khv_boot_amd() {
	local kernel=$1 initrd=$2 dir=$3 seconds=$4 root qemu

	shift 4
	root=$(khv_emulators)
	mapfile -t qemu < <(khv_run_in "$root" qemu-system-x86_64)
	export QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu
	khv_emulate "$dir" "$seconds" 0 "${qemu[@]}" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -accel tcg,thread=single -machine q35 \
		-cpu max,+svm,+npt -smp "${KHV_CPUS:-2}" -m "${KHV_MEMORY:-2048}" -display none -monitor none \
		-no-reboot -net none -serial "file:$dir/console" -serial "file:$dir/results" \
		-kernel "$kernel/vmlinuz" -initrd "$initrd" \
		-append "console=ttyS0 panic=-1 mitigations=off loglevel=5 tsc=reliable no_timer_check ${KHV_APPEND:-}" "$@"
}

# khv_preload NAME VARIABLE WORDS COMMAND...: build run-NAME.c, an object that changes the running
# emulator COMMAND when it is preloaded with VARIABLE=1, and ask it whether it can; WORDS are those
# before its answer. Prints its path, or says what is missing without it, or in it.
khv_preload() {
	local name=$1 variable=$2 words=$3 out=$KHV_CACHE/build/$1.so state

	shift 3
	mkdir -p "$KHV_CACHE/build"
	if [ ! -s "$out" ] || [ "$KHV_RIG/run-$name.c" -nt "$out" ]; then
		khv_quiet "build-$name" gcc -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC \
			-o "$out.$$" "$KHV_RIG/run-$name.c" || khv_die "run-$name.c does not build"
		mv "$out.$$" "$out"
	fi
	state=$(env "$variable=report" LD_PRELOAD="$out" "$@" 2>&1 | sed -n "s/^$words: //p")
	case $state in
	"in place"*)
		[ "$state" = "in place" ] || khv_say "the emulator runs with $name $state"
		printf '%s\n' "$out"
		;;
	*) khv_say "the emulator runs without $name (${state:-no answer})" ;;
	esac
}

# Faults of its SVM taken out of QEMU (Documentation/testing-run.md).
khv_svm_fix() {
	local qemu

	mapfile -t qemu < <(khv_run_in "$(khv_emulators)" qemu-system-x86_64)
	khv_preload svm-fix KHV_SVM_FIX "svm fix" "${qemu[@]}" --version
}
# The looks of its debugger after each instruction taken out of Bochs.
khv_bochs_fast() { khv_preload bochs-fast KHV_BOCHS_FAST "bochs fast" "$@" --help; }
# Faults of its interrupts and traps taken out of Bochs 3.0 (run-bochs-fix.c).
khv_bochs_fix() { khv_preload bochs-fix KHV_BOCHS_FIX "bochs fix" "$@" --help; }

# What a kernel does at boot that no test here needs, a fifth of the time that Bochs takes for it:
# self-tests of the crypto API, certificates, names for trace events; ACPI, which only guests need.
KHV_INTEL_APPEND=cryptomgr.notests
KHV_INTEL_APPEND+=" initcall_blacklist=jent_mod_init,load_system_certificate_list,crypto_algapi_init"
KHV_INTEL_APPEND+=,trace_eval_init,bpf_tcp_ca_kfunc_init,pci_resource_alignment_sysfs_init

# khv_boot_intel KERNEL INITRD DIR SECONDS: the Intel host, files as above, in Debian 12's Bochs.
khv_boot_intel() { KHV_BOCHS=2 khv_boot_bochs corei7_skylake_x "$@"; }

# khv_boot_bochs3 KERNEL INITRD DIR SECONDS: a host in Bochs 3.0, by KHV_MODEL: corei7_skylake_x, an
# Intel CPU with APICv, posted interrupts, TSC scaling and PML, or ryzen, an AMD one with NRIPS. With
# half of these instructions a second, a tick each 100 us of guest time leaves the guest none of it.
khv_boot_bochs3() {
	KHV_BOCHS=3 KHV_IPS=${KHV_IPS:-200} khv_boot_bochs "${KHV_MODEL:-corei7_skylake_x}" "$@"
}
khv_boot_intel-apicv() { KHV_MODEL=corei7_skylake_x khv_boot_bochs3 "$@"; }
khv_boot_amd-nrips() { KHV_MODEL=ryzen khv_boot_bochs3 "$@"; }

# khv_boot_bochs MODEL KERNEL INITRD DIR SECONDS: TSC counts instructions with one processor
# (KHV_CPUS=1, the default); KHV_IPS millions of them are a second (100). Nothing there depends on real
# time: it takes what the AMD hosts leave.
khv_boot_bochs() {
	local model=$1 kernel=$2 initrd=$3 dir=$4 seconds=$5 iso=$4/iso root bochs preload

	mkdir -p "$iso"
	cp -L "$kernel/vmlinuz" "$iso/vmlinuz"
	cp "$initrd" "$iso/initrd"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$iso/"
	cat >"$iso/isolinux.cfg" <<-CFG
		DEFAULT linux
		PROMPT 0
		LABEL linux
		KERNEL /vmlinuz
		INITRD /initrd
		APPEND console=ttyS0,115200 nokaslr ${KHV_MITIGATIONS-mitigations=off} tsc=reliable panic=-1 reboot=t loglevel=5 acpi=off tsc_early_khz=${KHV_IPS:-100}000 $KHV_INTEL_APPEND ${KHV_APPEND:-}
	CFG
	khv_quiet iso xorriso -as mkisofs -quiet -o "$dir/boot.iso" -b isolinux.bin -c boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table "$iso" || khv_die "cannot make $dir/boot.iso"
	rm -rf "$iso"
	if [ "$KHV_BOCHS" = 3 ]; then
		root=$(khv_bochs3)
	else
		root=$(khv_emulators)
	fi
	mapfile -t bochs < <(khv_run_in "$root" "$([ -z "$root" ] && echo bochs || echo bochs-bin)")
	[ -z "$root" ] || export BXSHARE=$root/usr/share/bochs \
		LTDL_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu/bochs/plugins
	cat >"$dir/bochsrc" <<-CFG
		config_interface: textconfig
		display_library: rfb, options="timeout=0"
		sound: waveoutdrv=dummy
		memory: guest=${KHV_MEMORY:-2048}, host=${KHV_MEMORY:-2048}
		romimage: file=$root/usr/share/bochs/BIOS-bochs-latest
		vgaromimage: file=$root/usr/share/vgabios/vgabios.bin
		cpu: model=$model, count=${KHV_CPUS:-1}, ips=${KHV_IPS:-100}000000, reset_on_triple_fault=0, ignore_bad_msrs=1
		clock: sync=none, time0=1700000000
		ata0-master: type=cdrom, path=$dir/boot.iso, status=inserted
		boot: cdrom
		com1: enabled=1, mode=file, dev=$dir/console
		com2: enabled=1, mode=file, dev=$dir/results
		log: $dir/bochs.log
		panic: action=fatal
		error: action=ignore
		info: action=ignore
		debug: action=ignore
	CFG
	echo c >"$dir/bochs.rc"
	preload=$(khv_bochs_fast "${bochs[@]}")
	[ "$KHV_BOCHS" != 3 ] || preload+=" $(khv_bochs_fix "${bochs[@]}")"
	# Power-off through its port is an error to Bochs.
	khv_emulate "$dir" "$seconds" 1 nice env LD_PRELOAD="$preload" KHV_BOCHS_FAST=1 KHV_BOCHS_FIX=1 \
		"${bochs[@]}" -q -f "$dir/bochsrc" -rc "$dir/bochs.rc"
	rm -f "$dir/boot.iso"
}
