# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Initramfs and emulators: pack a host and boot it. Sourced by lib.sh.

# khv_libraries ROOT: copy the shared libraries of one program in ROOT/bin (all have the same), and the
# one that pthread_exit() loads by itself.
khv_libraries() {
	local root=$1 program file

	# A script has none.
	program=$(find "$root/bin" -type f -perm -u+x -exec grep -qa '^.ELF' {} ';' -print -quit)
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

# khv_limited SECONDS COMMAND...: limit the processor's time of each process of COMMAND, so that a busy or
# slow machine fails nothing; the kernel kills it when this shell dies. Status 152: the limit was reached.
khv_limited() {
	local seconds=$1

	shift
	setpriv --pdeathsig KILL prlimit --cpu="$seconds:$((seconds + 5))" -- "$@" </dev/null
}

# khv_watch PID DIR SECONDS: kill the emulator PID, and say so in DIR/died, when its host has written
# nothing to the console or the results while the emulator ran or slept for SECONDS. Time in which it
# waits for a busy machine does not count.
khv_watch() {
	local pid=$1 dir=$2 limit=$3 hz stat fields size old='' used last=0 quiet=0

	hz=$(getconf CLK_TCK)
	limit=$((limit * hz))
	while stat=$(cat "/proc/$pid/stat" 2>/dev/null); do
		# Behind the name: the state, ten other fields, user time, system time.
		read -r -a fields <<<"${stat##*) }"
		used=$((fields[11] + fields[12]))
		size=$(stat -c %s "$dir/console" "$dir/results")
		if [ "$size" != "$old" ]; then
			quiet=0
		elif [ $((used - last)) -ge $((hz / 5)) ] ||
			grep -qs ') R ' "/proc/$pid/task"/*/stat; then
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

# khv_emulate DIR SECONDS STATUS COMMAND...: run the emulator COMMAND with its output in DIR/emulator for at
# most SECONDS of the processor's time; its host may be silent for a quarter of them. STATUS is the status after
# a power-off; write any other end to DIR/died.
khv_emulate() {
	local dir=$1 seconds=$2 status=$3 pid watch rc=0

	shift 3
	setpriv --pdeathsig KILL prlimit --cpu="$seconds:$((seconds + 5))" -- "$@" >"$dir/emulator" 2>&1 </dev/null &
	pid=$!
	khv_watch "$pid" "$dir" $((seconds / 4)) &
	watch=$!
	wait "$pid" || rc=$?
	kill "$watch" 2>/dev/null || true
	wait "$watch" || true
	# A host restarts by a triple fault, which is a panic to Bochs; its debugger may crash then.
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

# The arguments of an AMD host's kernel.
khv_amd_arguments() { echo "console=ttyS0 panic=-1 mitigations=off loglevel=5 tsc=reliable no_timer_check"; }

# khv_boot_amd KERNEL INITRD DIR SECONDS [qemu arguments]: the AMD host. Console in DIR/console,
# results in DIR/results. KHV_APPEND adds kernel arguments, KHV_CPUS processors (2). no_timer_check:
# on a busy machine the emulated timer may be too late for the kernel's check at boot.
khv_boot_amd() {
	local kernel=$1 initrd=$2 dir=$3 seconds=$4 root qemu

	shift 4
	root=$(khv_emulators)
	mapfile -t qemu < <(khv_run_in "$root" qemu-system-x86_64)
	export QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu
	khv_emulate "$dir" "$seconds" 0 "${qemu[@]}" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -accel "tcg,thread=${KHV_THREADS:-single}" -machine q35 \
		-cpu max,+svm,+npt -smp "${KHV_CPUS:-2}" -m "${KHV_MEMORY:-2048}" -display none -monitor none \
		-no-reboot -net none -serial "file:$dir/console" -serial "file:$dir/results" \
		-kernel "$kernel/vmlinuz" -initrd "$initrd" \
		-append "$(khv_amd_arguments) ${KHV_APPEND:-}" "$@"
}

# khv_preload NAME VARIABLE WORDS COMMAND...: build run-NAME.c, an object that patches the running emulator
# COMMAND when it is preloaded with VARIABLE=1. Ask it whether it can; its answer follows WORDS. Print its
# path, or say that the emulator runs without it.
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

# Corrects faults of QEMU's SVM (Documentation/emulator-faults.rst).
khv_svm_fix() {
	local qemu

	mapfile -t qemu < <(khv_run_in "$(khv_emulators)" qemu-system-x86_64)
	khv_preload svm-fix KHV_SVM_FIX "svm fix" "${qemu[@]}" --version
}
# Removes the checks of Bochs's debugger after each instruction.
khv_bochs_fast() { khv_preload bochs-fast KHV_BOCHS_FAST "bochs fast" "$@" --help; }
# Corrects faults of Bochs 3.0 in interrupts and traps.
khv_bochs_fix() { khv_preload bochs-fix KHV_BOCHS_FIX "bochs fix" "$@" --help; }

# Leave out what no test needs of a kernel's boot, a fifth of its time on Bochs: self-tests of the crypto
# API, certificates, names for trace events, and ACPI, which only guests need.
KHV_INTEL_APPEND=cryptomgr.notests
KHV_INTEL_APPEND+=" initcall_blacklist=jent_mod_init,load_system_certificate_list,crypto_algapi_init"
KHV_INTEL_APPEND+=,trace_eval_init,bpf_tcp_ca_kfunc_init,pci_resource_alignment_sysfs_init

# khv_boot_intel KERNEL INITRD DIR SECONDS: the Intel host, files as above, in Debian 12's Bochs.
khv_boot_intel() { KHV_BOCHS=2 khv_boot_bochs corei7_skylake_x "$@"; }

# khv_boot_bochs3 KERNEL INITRD DIR SECONDS: a host in Bochs 3.0, by KHV_MODEL: corei7_skylake_x, an
# Intel CPU with APICv, posted interrupts, TSC scaling and PML, or ryzen, an AMD one with NRIPS. At
# half of these instructions a second, ticks would take all of the time of a guest.
khv_boot_bochs3() {
	KHV_BOCHS=3 KHV_IPS=${KHV_IPS:-200} khv_boot_bochs "${KHV_MODEL:-corei7_skylake_x}" "$@"
}
khv_boot_intel-apicv() { KHV_MODEL=corei7_skylake_x khv_boot_bochs3 "$@"; }
khv_boot_amd-nrips() { KHV_MODEL=ryzen khv_boot_bochs3 "$@"; }

# khv_boot_bochs MODEL KERNEL INITRD DIR SECONDS: with one processor (KHV_CPUS=1, the default) TSC counts
# instructions; KHV_IPS millions of them are a second (100). Nothing there depends on real time, so it runs
# with a lower priority than the AMD hosts.
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
	# Bochs ends with status 1 after a power-off through its port.
	khv_emulate "$dir" "$seconds" 1 nice env LD_PRELOAD="$preload" KHV_BOCHS_FAST=1 KHV_BOCHS_FIX=1 \
		"${bochs[@]}" -q -f "$dir/bochsrc" -rc "$dir/bochs.rc"
	rm -f "$dir/boot.iso"
}
