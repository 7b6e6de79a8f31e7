# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Packages of Debian: install what the rig needs on this machine, and unpack other releases' packages
# below the cache without installing them. Sourced by lib.sh.

# Update the package lists once a day, or now with KHV_UPDATE=1.
khv_apt_update() {
	local stamp=$KHV_CACHE/.apt-update

	[ "${KHV_UPDATE:-0}" = 1 ] || [ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ] ||
		return 0
	[ "$(id -u)" = 0 ] || khv_die "cannot update the package lists: run this script, or 'apt-get update', as root"
	khv_say "apt-get update"
	if khv_quiet apt apt-get -q -o APT::Update::Error-Mode=any update; then
		touch "$stamp"
	else
		khv_say "apt-get update failed: using the package lists of the last update"
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
	[ "$(id -u)" = 0 ] || khv_die "packages are missing; run as root: apt-get install ${missing[*]}"
	khv_apt_update
	khv_say "installing packages: ${missing[*]}"
	DEBIAN_FRONTEND=noninteractive khv_quiet apt apt-get -q -y --no-install-recommends \
		-o DPkg::Lock::Timeout=300 install "${missing[@]}" ||
		khv_die "apt cannot install ${missing[*]}"
}

# What builds the module and the tests.
khv_need_build() {
	khv_need_packages gcc make libc6-dev libelf-dev pahole bc bison flex rsync cpio kmod xz-utils zstd \
		binutils util-linux perl python3-minimal patch
}

khv_need_emulators() {
	khv_need_packages xorriso isolinux syslinux-common
	khv_emulators >/dev/null
}

# khv_suite SUITE: give apt a second root below the cache, with the lists of Debian's SUITE and its
# security updates from the mirrors of this machine, whose own lists and packages do not change; a SUITE
# of backports also has those of its release. Print apt's configuration (APT_CONFIG). Update the lists
# once a day.
khv_suite() { khv_once "suite-$1" khv_locked "suite-$1" khv_suite_locked "$1"; }

khv_suite_locked() {
	local suite=${1%-backports} dir=$KHV_CACHE/apt-$1 label uri backports=''
	local signed=/usr/share/keyrings/debian-archive-keyring.gpg

	[ "$suite" = "$1" ] || backports=$1
	if [ -z "$(find "$dir/.apt-update" -mmin -1440 2>/dev/null)" ]; then
		mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
		: >"$dir/status"
		# apt expands $(, not the shell.
		# shellcheck disable=SC2016
		env -u APT_CONFIG apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' | sort -u |
			while read -r uri label; do
				case $label in
				Debian)
					echo "deb [signed-by=$signed] $uri $suite main"
					[ -z "$backports" ] || echo "deb [signed-by=$signed] $uri $backports main"
					;;
				Debian-Security) echo "deb [signed-by=$signed] $uri $suite-security main" ;;
				esac
			done >"$dir/sources.list"
		[ -s "$dir/sources.list" ] || khv_die "apt has no mirror of Debian: add one to /etc/apt/sources.list"
		cat >"$dir/apt.conf" <<-CFG
			Dir::Etc::sourcelist "$dir/sources.list";
			Dir::Etc::sourceparts "-";
			Dir::State::lists "$dir/lists";
			Dir::State::status "$dir/status";
			Dir::Cache "$dir/cache";
			APT::Architecture "amd64";
			Acquire::Languages "none";
		CFG
		khv_say "apt-get update for $1"
		if APT_CONFIG=$dir/apt.conf khv_quiet apt apt-get -q -o APT::Update::Error-Mode=any update; then
			touch "$dir/.apt-update"
		elif [ -n "$(find "$dir/lists" -name '*Packages*')" ]; then
			khv_say "apt-get update failed: using the lists of $1 of the last update"
		else
			khv_die "cannot download the package lists of $1: see apt.log in $KHV_LOGS"
		fi
	fi
	printf '%s\n' "$dir/apt.conf"
}

khv_depends() { apt-cache depends "$1" | awk '$1 == "Depends:" && !/</ { print $2 }'; }
khv_known() { [ -n "$(khv_version "$1")" ]; }
# apt takes a name that it does not know for a pattern: compare the names.
khv_version() { apt-cache policy "$1" | awk -v name="$1:" '/^[^ ]/ { it = $0 == name } it && $1 == "Candidate:" { print $2 }'; }

# khv_unpack DIR PACKAGE...: download the packages and unpack all of them in DIR.
khv_unpack() {
	local dir=$1 deb

	shift
	mkdir -p "$dir/.debs"
	khv_say "downloading $*"
	(cd "$dir/.debs" && khv_quiet apt apt-get -q -o APT::Sandbox::User=root download "$@") ||
		khv_die "apt cannot download $*"
	for deb in "$dir"/.debs/*.deb; do
		khv_quiet apt dpkg-deb -x "$deb" "$dir" || khv_die "cannot unpack $deb"
	done
	rm -rf "$dir/.debs"
}

# khv_root SUITE PACKAGE...: unpack packages of Debian's SUITE in one folder, with all that they depend
# on, including the C library; print the folder. khv_run_in starts its programs.
khv_root() {
	local name=root-$1-$2

	khv_once "$name" khv_locked "$name" khv_root_locked "$@"
}

khv_root_locked() {
	local suite=$1 dir debs deb

	shift
	APT_CONFIG=$(khv_suite "$suite") || return
	export APT_CONFIG
	dir=$KHV_CACHE/root-$suite-$(khv_key "$1-$(khv_version "$1")-$(khv_version libc6)-$(cksum <<<"$*" | cut -d' ' -f1)")
	if [ ! -d "$dir" ]; then
		debs=$dir.debs
		rm -rf "$dir.tmp" "$debs"
		mkdir -p "$dir.tmp" "$debs/partial"
		khv_say "downloading $* of $suite"
		khv_quiet apt apt-get -q -y --no-install-recommends --download-only \
			-o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::Cache::archives="$debs" \
			install "$@" || khv_die "apt cannot download $* of $suite"
		for deb in "$debs"/*.deb; do
			khv_quiet apt dpkg-deb -x "$deb" "$dir.tmp" || khv_die "cannot unpack $deb"
		done
		rm -rf "$debs" "$dir.tmp"/usr/share/{doc,man,locale}
		mv "$dir.tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}

# khv_run_in ROOT PROGRAM: print the words, one a line, that start PROGRAM of ROOT (of khv_root) with the
# libraries there; an empty ROOT is this machine.
khv_run_in() {
	local root=$1 libs=usr/lib/x86_64-linux-gnu

	if [ -n "$root" ]; then
		# Debian 12 packages the C library for /lib.
		find "$root/lib/x86_64-linux-gnu" "$root/$libs" -name 'ld-linux-x86-64.so.2' \
			-print -quit 2>/dev/null || true
		printf '%s\n' --library-path "$root/$libs:$root/${libs#usr/}:$root/$libs/pulseaudio"
	fi
	printf '%s\n' "$root/usr/bin/$2"
}

# khv_emulators: print the root of Debian 12's emulators, the ones whose faults are known and corrected
# here (run-svm-fix.c, run-bochs-fast.c); empty on Debian 12.
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

# khv_libvirt: a root with Debian 13's libvirt and QEMU.
khv_libvirt() {
	khv_root trixie libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients busybox-static qemu-system-x86
}
