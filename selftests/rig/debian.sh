# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Debian 12 and 13 below the cache, with their kernels: roots to work in, and that Debian itself on the AMD
# host. debian-test and package-test source it after lib.sh and call debian_contained and debian_begin first. It needs
# root. Their cases use root, the Debian of a suite; release, a kernel in it; VERSION, the module's; scratch, a folder
# on the file system of the cache.

# shellcheck disable=SC2034
nr=0 failed=0 root='' release='' scratch=''
# What README.md says to install beside the headers.
README_PACKAGES=$(sed -n 's/^apt-get install \(make .*\) linux-headers-.*/\1/p' "$KHV_TOP/README.md")
VERSION=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$KHV_TOP/dkms.conf")

# debian_contained ARGUMENTS: what runs in a root ends with the script, even if that is killed. unshare itself ignores
# other signals.
debian_contained() {
	local inner rc=0

	[ "$(id -u)" = 0 ] || khv_die "a Debian of its own takes root"
	[ $$ != 1 ] || return 0
	setpriv --pdeathsig KILL unshare --mount-proc --pid --fork --kill-child -- "$0" "$@" &
	inner=$!
	# shellcheck disable=SC2064
	trap "kill -KILL $inner" INT TERM HUP
	wait "$inner" || rc=$?
	exit "$rc"
}

# debian_begin NAME: $scratch. A copy shares its files with the cache: it must lie on the same file system. What a run
# that was killed left is gigabytes, and its children hold the lock as well.
debian_begin() {
	exec 8>"$KHV_CACHE/.lock-$1"
	flock 8
	scratch=$KHV_CACHE/build/$1
	rm -rf --one-file-system "$scratch"
	mkdir -p "$scratch"
	trap 'rm -rf --one-file-system "$scratch"' EXIT
	khv_need_packages rsync e2fsprogs util-linux
	khv_need_emulators
	[ -n "$README_PACKAGES" ] && [ -n "$VERSION" ] || khv_die "README.md names no packages, or dkms.conf no version"
}

# The series that are installed together.
series_of() {
	case $1 in
	bookworm) echo 6.1 6.12 ;;
	trixie-backports) echo 6.12 7.3 ;;
	*) khv_die "choose bookworm or trixie-backports, not $1" ;;
	esac
}

# ---------------------------------------------------------------------------------------------
# The root

# releases_of SUITE: its newest kernels, one a line.
releases_of() (
	APT_CONFIG=$(khv_suite "$1") || exit
	export APT_CONFIG
	for series in $(series_of "$1"); do
		image=$(khv_kernel_image "$series") || exit
		echo "${image#linux-image-}"
	done
)

# root_apt SUITE ROOT PACKAGE...: install packages in ROOT by this machine's apt, which knows the way to the
# mirrors, but without its hooks. A kernel of backports needs their linux-base.
root_apt() {
	local suite=$1 root=$2 conf=$2.apt.conf from=()

	shift 2
	[[ $suite != *-backports ]] || from=(-t "$suite")
	{
		cat "$(khv_suite "$suite")"
		cat <<-CFG
			Dir "$root";
			Dir::State::status "$root/var/lib/dpkg/status";
			Dir::Cache "$root/var/cache/apt";
			DPkg::Chroot-Directory "$root";
			APT::Sandbox::User "root";
			#clear DPkg::Pre-Invoke;
			#clear DPkg::Post-Invoke;
			#clear DPkg::Pre-Install-Pkgs;
		CFG
	} >"$conf"
	# shellcheck disable=SC2016
	APT_CONFIG=$conf DEBIAN_FRONTEND=noninteractive khv_quiet debian unshare --mount -- sh -c '
		mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" || exit
		shift
		exec apt-get -q -y --no-install-recommends "$@"' sh "$root" "${from[@]}" install "$@" ||
		khv_die "apt cannot install $* in a root of $suite"
	rm -f "$conf" "$root"/var/cache/apt/archives/*.deb
}

# debian_root SUITE: print the folder of its roots: "plain" has the kernels and what README.md names,
# "dkms" has dkms, too. The latter shares files with the former: dpkg writes each anew. The names of the
# kernels are in the file "releases".
debian_root() { khv_locked "debian-$1" debian_root_locked "$1"; }

debian_root_locked() {
	local suite=$1 releases key dir tmp

	if ! releases=$(releases_of "$suite"); then
		# Backports move on: what was fetched stays good.
		dir=$(newest_in_cache "debian-$suite-*")
		[ -n "$dir" ] || khv_die "$suite lacks a kernel of $(series_of "$suite")"
		khv_say "$suite lacks a kernel of $(series_of "$suite") now: using $(basename "$dir")"
		printf '%s\n' "$dir"
		return
	fi
	key=$(printf '%s\n' "$releases" "$README_PACKAGES" | cksum | cut -d' ' -f1)
	dir=$KHV_CACHE/debian-$suite-$key
	if [ ! -d "$dir" ]; then
		khv_need_packages mmdebstrap
		tmp=$dir.tmp
		rm -rf "$tmp"
		mkdir -p "$tmp"
		khv_say "installing a Debian of $suite with the kernels $(echo $releases)"
		khv_quiet debian mmdebstrap --mode=root --variant=minbase --format=directory "${suite%-backports}" "$tmp/plain" \
			"$(dirname "$(khv_suite "$suite")")/sources.list" || khv_die "cannot install a Debian of $suite"
		# shellcheck disable=SC2046,SC2086
		{
			root_apt "$suite" "$tmp/plain" $(printf 'linux-image-%s\n' $releases)
			root_apt "$suite" "$tmp/plain" $README_PACKAGES $(printf 'linux-headers-%s\n' $releases)
		}
		cp -al "$tmp/plain" "$tmp/dkms"
		root_apt "$suite" "$tmp/dkms" dkms
		printf '%s\n' "$releases" >"$tmp/releases"
		mv "$tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}

# debian_variant SUITE NAME BASE PACKAGE...: the folder of a further root NAME of the suite, which is BASE with PACKAGEs.
debian_variant() { khv_locked "debian-$1" debian_variant_locked "$@"; }

debian_variant_locked() {
	local suite=$1 dir key

	# The packages are those of the day; others are another root.
	key=$(cksum <<<"${*:3}" | cut -d' ' -f1)
	dir=$(debian_root_locked "$suite")/$2-$key
	if [ ! -d "$dir" ]; then
		rm -rf "$dir.tmp"
		cp -al "$(dirname "$dir")/$3" "$dir.tmp"
		khv_say "installing ${*:4} in a Debian of $suite"
		root_apt "$suite" "$dir.tmp" "${@:4}"
		mv "$dir.tmp" "$dir"
	fi
	printf '%s\n' "$dir"
}

# in_root COMMAND...: in $root, with the environment of root's shell there.
in_root() {
	khv_in_root "$root" "$root/srv" env -u DEBIAN_KERNEL_NO_CC_VERSION_CHECK HOME=/root \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# copy_root FOLDER NAME: $root, a copy of FOLDER.
copy_root() {
	root=$scratch/$2
	rm -rf "$root"
	cp -al "$1" "$root"
}

# fresh_root FOLDER NAME: the same, with a checkout in /root/kvm-hyperv.
fresh_root() {
	copy_root "$@"
	mkdir "$root/root/kvm-hyperv"
	rsync -rlp --exclude=/selftests/build --exclude=/.git --exclude='*.o' --exclude='*.ko' "$KHV_TOP/" "$root/root/kvm-hyperv/"
}

# The suffix of the kernel's own modules.
suffix() { find "$root/lib/modules/$release/" -name 'kvm.ko*' | sed 's/.*\.ko//'; }

# fine FILE: the module FILE of the root is for that kernel, of this version, needs no other module, and
# the kernel has what it uses.
fine() {
	local said

	[ "$(in_root modinfo -F version "$1")" = "$VERSION" ] &&
		[[ $(in_root modinfo -F vermagic "$1") == "$release "* ]] &&
		[ -z "$(in_root modinfo -F depends "$1")" ] || return
	said=$(in_root depmod -n -e -E "/lib/modules/$release/build/Module.symvers" "$release" "$1" 2>&1 >/dev/null)
	[ -z "$said" ] || { echo "depmod: $said"; return 1; }
}

# found FILE: FILE is there, is fine, and is what modprobe would take.
found() {
	echo "wanted: $1"
	[ -s "$root$1" ] && fine "$1" && [ "$(in_root modprobe -S "$release" --show-depends kvm-hyperv)" = "insmod $1 " ]
}

gone() {
	! in_root modprobe -S "$release" --show-depends kvm-hyperv &&
		[ -z "$(find "$root/lib/modules/$release/" -name 'kvm*hyperv*')" ]
}

# other_kernel NAME [OPTION]: a kernel called NAME, with the headers of $release, but without OPTION.
other_kernel() {
	mkdir -p "$root/lib/modules/$1" "$root/usr/src/$1/include/config"
	ln -sfn "/usr/src/$1" "$root/lib/modules/$1/build"
	sed "s/^${2:-CONFIG_NONE}=.*//" "$root/usr/src/linux-headers-$release/.config" |
		tee "$root/usr/src/$1/.config" >"$root/usr/src/$1/include/config/auto.conf"
	cp "$root/usr/src/linux-headers-$release/Makefile" "$root/usr/src/$1/"
}

# case NAME FUNCTION
verdict() {
	local start=$SECONDS

	khv_case "$@"
	khv_say "$1: $((SECONDS - start)) s"
}

# ---------------------------------------------------------------------------------------------
# The host

# host_prologue: the head of the script that is PID 1 of the Debian on the host. Cases on ttyS1, in KTAP without numbers.
host_prologue() {
	cat <<-'END'
		#!/bin/sh
		export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		mount -t tmpfs tmpfs /tmp
		exec >/dev/ttyS1 2>&1
		# Behind what the firmware has left on the line.
		echo
		verdict() {
			if "$@" >/tmp/out 2>&1; then
				echo "ok $1"
			else
				tail -n 30 /tmp/out | sed 's/^/# /'
				dmesg | tail -n 3 | sed 's/^/# /'
				echo "not ok $1"
			fi
			cut -d' ' -f1 /proc/uptime | sed "s/^/# $1: up /"
		}
		# active FILE: the module that was inserted is FILE, and works.
		active() {
			dmesg | tail -n 1 | grep 'kvm_hyperv: version .* active on kvm and kvm_amd' &&
				[ "$(cat /sys/module/kvm_hyperv/srcversion)" = "$(modinfo -F srcversion "$1")" ]
		}
		kernel_has_no_complaint() { dmesg >/tmp/log && [ -s /tmp/log ] && ! grep -E 'WARNING:|BUG:|Oops|general protection' /tmp/log; }
		ends() {
			echo end
			sync
			echo o >/proc/sysrq-trigger
			sleep 60
		}
	END
}

# host_image: a disk with $root, whose PID 1 is what host_script prints.
host_image() {
	host_script >"$root/khv-init"
	chmod +x "$root/khv-init"
	sh -n "$root/khv-init" || khv_die "PID 1 of the host is no script"
	rm -f "$scratch/disk"
	khv_quiet debian mke2fs -q -F -t ext4 -d "$root" "$scratch/disk" 4G || khv_die "cannot make the disk of a host"
}

# boot RELEASE [KIND]: the Debian of the disk with that kernel, in a process that ends with this one. Its PID 1 finds
# KIND and KHV_APPEND among the kernel's arguments.
boot() {
	local dir=$KHV_LOGS/debian-$1${2:+-$2} fix

	mkdir -p "$dir/kernel"
	cp "$root/boot/vmlinuz-$1" "$dir/kernel/vmlinuz"
	: >"$dir/results"
	: >"$dir/console"
	fix=$(khv_svm_fix)
	# shellcheck disable=SC2016
	KHV_APPEND="root=/dev/vda rw init=/khv-init ${2:+khv=$2} ${KHV_APPEND:-}" LD_PRELOAD=$fix KHV_SVM_FIX=${fix:+1} \
		setpriv --pdeathsig KILL bash -c '
		. "$0/lib.sh"
		khv_boot_amd "$@"
		times >"$3/times"' "$KHV_RIG" "$dir/kernel" "$root/boot/initrd.img-$1" "$dir" 3000 \
		-drive "file=$scratch/disk,format=raw,if=virtio,snapshot=on" &
	[ "${KHV_EMULATORS:-}" != 1 ] || wait
}

# boot_secure RELEASE KIND [CERTIFICATE]: the same with Secure Boot, by OVMF with Microsoft's keys, Debian's shim and
# GRUB, and the kernel's own signature; CERTIFICATE is a machine owner key to enrol.
boot_secure() {
	local dir=$KHV_LOGS/debian-$1-$2 firmware fix qemu emulators

	firmware=$(khv_root bookworm ovmf shim-signed grub-efi-amd64-signed)
	khv_need_packages mtools
	mkdir -p "$dir"
	: >"$dir/results"
	: >"$dir/console"
	if [ -n "${3:-}" ]; then
		/usr/bin/python3 "$KHV_RIG/enrol-mok" "$firmware/usr/share/OVMF/OVMF_VARS_4M.ms.fd" "$3" "$dir/vars.fd"
	else
		cp "$firmware/usr/share/OVMF/OVMF_VARS_4M.ms.fd" "$dir/vars.fd"
	fi
	cat >"$dir/grub.cfg" <<-CFG
		linux /vmlinuz $(khv_amd_arguments) root=/dev/vda rw init=/khv-init khv=$2
		initrd /initrd
		boot
	CFG
	truncate -s 256M "$dir/esp"
	mformat -i "$dir/esp" -F :: &&
		mmd -i "$dir/esp" ::/EFI ::/EFI/BOOT ::/EFI/debian &&
		mcopy -i "$dir/esp" "$firmware/usr/lib/shim/shimx64.efi.signed" ::/EFI/BOOT/BOOTX64.EFI &&
		mcopy -i "$dir/esp" "$firmware/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" ::/EFI/BOOT/grubx64.efi &&
		mcopy -i "$dir/esp" "$dir/grub.cfg" ::/EFI/debian/grub.cfg &&
		mcopy -i "$dir/esp" "$root/boot/vmlinuz-$1" ::/vmlinuz &&
		mcopy -i "$dir/esp" "$root/boot/initrd.img-$1" ::/initrd || khv_die "cannot make the boot disk of a host"
	fix=$(khv_svm_fix)
	emulators=$(khv_emulators)
	mapfile -t qemu < <(khv_run_in "$emulators" qemu-system-x86_64)
	# shellcheck disable=SC2016
	LD_PRELOAD=$fix KHV_SVM_FIX=${fix:+1} QEMU_MODULE_DIR=$emulators/usr/lib/x86_64-linux-gnu/qemu setpriv --pdeathsig KILL bash -c '
		rig=$1 dir=$2
		shift 2
		. "$rig/lib.sh"
		khv_emulate "$dir" 3000 0 "$@"
		times >"$dir/times"' bash "$KHV_RIG" "$dir" "${qemu[@]}" -L "$emulators/usr/share/qemu" -L "$emulators/usr/share/seabios" \
		-accel tcg,thread=single -machine q35,smm=on -cpu max,+svm,+npt -smp 2 -m 2048 -display none -monitor none \
		-no-reboot -net none -serial "file:$dir/console" -serial "file:$dir/results" \
		-global driver=cfi.pflash01,property=secure,value=on \
		-drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware/usr/share/OVMF/OVMF_CODE_4M.secboot.fd" \
		-drive "if=pflash,format=raw,unit=1,file=$dir/vars.fd" \
		-drive "file=$scratch/disk,format=raw,if=virtio,snapshot=on" \
		-drive "file=$dir/esp,format=raw,if=none,id=esp" -device ide-hd,drive=esp,bootindex=0 &
	[ "${KHV_EMULATORS:-}" != 1 ] || wait
}

# judge RELEASE CASES [KIND]: the cases of that boot.
judge() {
	local what=$1${3:+-$3} name line
	local dir=$KHV_LOGS/debian-$what

	khv_say "the host with $what took $(awk 'END { print $1 }' "$dir/times") of CPU"
	tr -d '\r' <"$dir/results" >"$dir/cases"
	for name in $2; do
		nr=$((nr + 1))
		if line=$(grep -xE "(not )?ok $name" "$dir/cases") && [ "$line" = "ok $name" ]; then
			echo "ok $nr $what: $name"
			continue
		fi
		# shellcheck disable=SC2034
		failed=1
		{
			if [ -n "$line" ]; then
				sed "/^not ok $name\$/q" "$dir/cases" | tail -n 34
			else
				cat "$dir/died" 2>/dev/null || true
				tail -n 12 "$dir/console" | tr -d '\r'
			fi
		} | sed 's/^/# /'
		echo "not ok $nr $what: $name"
	done
}
