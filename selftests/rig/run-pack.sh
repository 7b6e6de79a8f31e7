# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What make run boots: programs, QEMU and the guest in the initramfs of the host. Sourced by run, whose
# settings it reads.

# run_tools: build the programs of make run, statically linked; print their folder.
run_tools() {
	local out=$KHV_CACHE/build/run name sources

	mkdir -p "$out"
	for name in host-init guest-init nested; do
		sources=("$KHV_RIG/run-$name.c")
		[ "$name" != host-init ] || sources=("$KHV_RIG"/run-host/*.c)
		[ "$name" != nested ] || sources+=("$KHV_RIG/run-nested-guest.S")
		[ "$name" != guest-init ] || sources+=("$KHV_RIG"/run-{work,busy}.c)
		if [ ! -x "$out/$name" ] ||
			[ -n "$(find "${sources[@]}" "$KHV_RIG/run-host" "$KHV_RIG/run-work.h" -newer "$out/$name")" ]; then
			khv_quiet run-tools gcc -D_GNU_SOURCE= -std=gnu11 -O2 -Wall -Wextra -Werror -static -s \
				-pthread -o "$out/$name.$$" "${sources[@]}" ||
				khv_die "the program $name of make run does not build"
			mv "$out/$name.$$" "$out/$name"
		fi
	done
	printf '%s\n' "$out"
}

# run_torture KERNEL: build the kernel's torture of locks for it; print the folder of the modules.
run_torture() {
	local kernel=$1 source out

	out=$KHV_CACHE/build/torture-$(basename "$kernel")
	source=$(khv_source "$KHV_SERIES")
	mkdir -p "$out"
	cp "$KHV_RIG"/torture/* "$source"/kernel/{torture,locking/locktorture}.c "$out/"
	khv_quiet build-torture khv_kbuild "$kernel" "$out" KHV_SOURCE="$source" modules ||
		khv_die "the torture of locks does not build for $(basename "$kernel")"
	printf '%s\n' "$out"
}

# pack ROOT OUT: write an archive, uncompressed: to unpack costs an emulated host more than to read.
pack() {
	(cd "$1" && find . -print0 | LC_ALL=C sort -z | cpio --null --quiet -o -H newc -R 0:0) >"$2"
}

# run_qemu_archive: pack the QEMU of KHV_QEMU with all that it loads; print the path of the archive.
run_qemu_archive() {
	local version from out

	if [ "$KHV_QEMU" = 10 ]; then
		from=$(khv_root trixie qemu-system-x86)
	else
		from=$(khv_emulators)
	fi
	if [ -n "$from" ]; then
		version=$(basename "$from")
	else
		version=$(dpkg-query -W -f '${Version}\n' qemu-system-x86 qemu-system-data seabios libc6 |
			sha256sum | cut -c 1-16)
	fi
	out=$KHV_CACHE/run-qemu-$version.cpio
	[ -s "$out" ] || pack_qemu "$from" "$out"
	printf '%s\n' "$out"
}

# pack_qemu FROM OUT: FROM is the root that QEMU was unpacked in, or empty: this machine. The
# libraries of another root lie where its own loader looks for them; the host has no others.
pack_qemu() {
	local from=$1 out=$2 root libs=usr/lib/x86_64-linux-gnu file qemu

	khv_say "packing QEMU for the host"
	root=$(mktemp -d)
	mkdir -p "$root/usr/bin" "$root/$libs" "$root/lib64" "$root/usr/share/qemu" "$root/usr/share/seabios"
	cp -L "$from/usr/bin/qemu-system-x86_64" "$root/usr/bin/"
	mapfile -t qemu < <(khv_run_in "$from" qemu-system-x86_64)
	if [ -n "$from" ]; then
		cp -L "${qemu[0]}" "$root/lib64/"
		"${qemu[@]:0:3}" --list "${qemu[3]}"
	else
		cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
		ldd "${qemu[0]}"
	fi | sed -n 's/.*=> \([^ ]*\) .*/\1/p' | sort -u >"$root.list"
	while read -r file; do
		cp -L "$file" "$root/$libs/"
	done <"$root.list"
	cp -L "$from"/usr/share/qemu/{kvmvapic,linuxboot{,_dma},multiboot{,_dma},pvh}.bin \
		"$root/usr/share/qemu/"
	cp -L "$from"/usr/share/seabios/{bios,bios-256k,bios-microvm}.bin "$root/usr/share/seabios/"
	pack "$root" "$out.$$"
	mv "$out.$$" "$out"
	rm -rf "$root" "$root.list"
}

# run_initrd KERNEL TOOLS DIR VENDOR: DIR/initrd of the host, with the guest's kernel and initrd
# inside.
run_initrd() {
	local kernel=$1 tools=$2 dir=$3 vendor=$4 root guest name module args

	root=$dir/root
	guest=$dir/guest
	mkdir -p "$guest"/{proc,sys,dev} "$root"/{proc,sys,dev,tmp,etc,modules}
	cp "$tools/guest-init" "$guest/init"
	# Nothing else in Linux uses the SynIC. Some kernels have it built in.
	if ! grep -q '/hv_vmbus\.ko$' "$kernel"/lib/modules/*/modules.builtin; then
		cp "$(khv_module "$kernel" hv_vmbus strip)" "$guest/hv_vmbus.ko"
	fi
	[ "$LOCKS" = 0 ] || cp "$(run_torture "$kernel")"/{torture,lock_torture}.ko "$guest/"
	mknod "$guest/dev/console" c 5 1
	if [ "$NESTED" = 1 ]; then
		mkdir "$guest"/{modules,etc}
		cp "$tools/nested" "$guest/nested"
		for name in $(khv_module_order "$kernel" "$vendor"); do
			cp "$(khv_module "$kernel" "$name" strip)" "$guest/modules/$name.ko"
			echo "/modules/$name.ko"
		done >"$guest/etc/khv-modules"
	fi
	pack "$guest" "$root/guest.initrd"
	cp -L "$GUEST_KERNEL" "$root/guest.vmlinuz"

	cp "$tools/host-init" "$root/init"
	mknod "$root/dev/console" c 5 1
	for name in $(khv_module_order "$kernel" "$vendor"); do
		args=''
		[ "$name" != kvm-intel ] && [ "$name" != kvm_intel ] || args=' nested=1'
		# KVM would poll for a halted vCPU by the clock, and its instructions would be counted.
		[ -z "$KHV_MEASURE" ] || [ "$name" != kvm ] || args=' halt_poll_ns=0'
		cp "$(khv_module "$kernel" "$name")" "$root/modules/$name.ko"
		echo "/modules/$name.ko$args"
	done >"$root/etc/khv-modules"
	if [ "$KHV_RUN_STOCK" = 0 ]; then
		module=$(khv_build_module "$kernel")
		cp "$module" "$root/modules/kvm-hyperv.ko"
	fi
	if [ -n "$KHV_MEASURE" ]; then
		# PID 1 of the host inserts the module when its turn comes.
		cp "$(khv_build_helper "$kernel" meter)/khv-meter.ko" "$root/modules/"
		echo /modules/khv-meter.ko >>"$root/etc/khv-modules"
		echo "/modules/kvm-hyperv.ko${MODULE_ARGS:+ $MODULE_ARGS}" >"$root/etc/khv-own"
	elif [ "$KHV_RUN_STOCK" = 0 ]; then
		echo "/modules/kvm-hyperv.ko${MODULE_ARGS:+ $MODULE_ARGS}" >>"$root/etc/khv-modules"
	fi
	[ "$KHV_RUN_STOCK" != 0 ] || [ -n "$KHV_MEASURE" ] || khv_tool "$root"
	cat >"$root/etc/khv-qemu"
	pack "$root" "$dir/initrd.own"
	cat "$(run_qemu_archive)" "$dir/initrd.own" >"$dir/initrd"
	rm -rf "$root" "$guest" "$dir/initrd.own"
}

# guest_args MACHINE CPUS MEMORY APPEND: QEMU's arguments in the host, one a line.
guest_args() {
	printf '%s\n' /usr/bin/qemu-system-x86_64 -name linux-guest -nodefaults -no-user-config -no-reboot \
		-display none -vga none -net none \
		-machine "$1" -accel kvm -cpu "host,kvm=off,$HV_FLAGS" -smp "$2" -m "$3" \
		-device vmbus-bridge \
		-serial stdio -monitor unix:/tmp/monitor,server=on,wait=off \
		-kernel /guest.vmlinuz -initrd /guest.initrd -append "$4"
}
