# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# One host of make test: carry out its plan (plan.sh) and judge what came of it (report.awk). What
# prepare of the script test has built is named in files of KHV_LOGS. Source it after plan.sh.

# run_host HOST: plan, boot and judge it, in KHV_LOGS/HOST.
run_host() {
	local host=$1 dir=$KHV_LOGS/$1

	mkdir -p "$dir"
	if [ "$host" = here ]; then
		plan_host here "$dir"
		run_here "$dir"
	else
		boot_host "$host" "$dir"
	fi
}

# judge HOST TITLE DIED: the report of the results in KHV_LOGS/HOST.
judge() {
	local host=$1 title=$2 died=$3 dir=$KHV_LOGS/$1

	tr -d '\r\000' <"$dir/results" >"$dir/results.txt"
	awk -v host="$host" -v title="$title" -v died="$died" -v counts="$dir/counts" -v skips="$dir/skips" \
		-v failures="$dir/failures" -f "$KHV_RIG/report.awk" "$dir/plan" "$dir/results.txt" >"$dir/report"
}

# run_here DIR: this machine as a host, for what needs no KVM; results in the form of a boot.
run_here() {
	local dir=$1 step name seconds path args program rc start

	start=$(date +%s)
	{
		echo "@ begin here"
		echo "@ phase here"
		while read -r step name seconds path args; do
			[ "$step" = run ] || continue
			echo "@ start $name"
			program=$KHV_RIG/$path rc=0
			[ -x "$program" ] || program=$(cat "$KHV_LOGS/user")/$path
			# shellcheck disable=SC2086
			khv_limited "$seconds" "$program" $args >"$dir/out" 2>&1 || rc=$?
			sed 's/^/| /' "$dir/out"
			echo "@ done $name exit:$rc $((($(date +%s) - start) * 1000))"
		done <"$dir/steps"
		echo "@ end"
	} >"$dir/results"
	judge here "== here ($(uname -m), user space, ASAN and UBSAN)" ""
}

# boot_host HOST DIR: pack the host, boot it and judge it.
boot_host() {
	local host=$1 dir=$2 root start seconds title died='' KERNEL

	root=$(mktemp -d "${TMPDIR:-/tmp}/khv-$host.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$root'" EXIT
	mkdir -p "$root"/{bin,modules,etc}
	KERNEL=$(cat "$KHV_LOGS/kernel-$host")
	# Against a hang that PID 1 does not see, in the emulator's own time: several times what a boot takes.
	seconds=${KHV_LONG:+5400}
	seconds=${KHV_BOOT_SECONDS:-${seconds:-1800}}
	case $host in
	intel-* | amd-nrips-*) touch "$root/etc/bochs" ;;
	esac
	# The long forms of tests take as much again, and twice.
	[ -z "${KHV_LONG:-}" ] || seconds=${KHV_BOOT_SECONDS:-$((3 * seconds))}
	cp "$(khv_build_init)" "$root/init"
	plan_host "$host" "$dir"
	cp "$dir/steps" "$root/etc/steps"
	! have_module || host_modules
	host_needs
	khv_libraries "$root"
	khv_initramfs "$root" "$dir/initrd"
	: >"$dir/results"
	: >"$dir/console"

	start=$(date +%s)
	host_emulator "$KERNEL" "$dir/initrd" "$dir" "$seconds"
	rm -f "$dir/initrd"
	[ ! -s "$dir/died" ] || died=$(cat "$dir/died")
	# What the children took of the processor; "times" itself must not run in a subshell.
	times >"$dir/times"
	judge_leave "$dir"
	judge_tool "$dir"
	title="== $host ($(cat "$KERNEL/release"), $(($(date +%s) - start)) s, $(awk 'END { print $1 }' "$dir/times") of CPU)"

	judge "$host" "$title" "$died"
	# The console has the last word on a panic, which PID 1 cannot report.
	if ! grep -q '^@ end' "$dir/results.txt" || [ -n "$died" ]; then
		{
			echo "  last lines of the console:"
			tail -n 25 "$dir/console" | tr -d '\r' | sed 's/^/      /'
			echo "  last lines of the results:"
			tail -n 8 "$dir/results.txt" | sed 's/^/      /'
		} >>"$dir/report"
	fi
}

# The module of boot_host, its variants that must be refused, and modules that only tests insert.
host_modules() {
	local m release

	cp "$(cat "$KHV_LOGS/module-$host")" "$root/modules/kvm-hyperv.ko"
	cp "$(cat "$KHV_LOGS/other-$host")" "$root/modules/other.ko"
	# As if beside a kvm.ko of other structures.
	sed 's/kvm_vcpu_halt=0x[0-9a-f]\{8\}/kvm_vcpu_halt=0x4b485621/' "$root/modules/kvm-hyperv.ko" \
		>"$root/modules/altered.ko"
	khv_move_field "$root/modules/kvm-hyperv.ko" "$root/modules/moved.ko"
	# Its own word for the release, which stands alone; the version magic, for the kernel, does not.
	release=$(modinfo -F vermagic "$root/modules/kvm-hyperv.ko")
	release=${release%% *}
	LC_ALL=C sed -z "s/^${release//./\\.}\$/9${release#?}/" "$root/modules/kvm-hyperv.ko" >"$root/modules/renamed.ko"
	m=$(cat "$KHV_LOGS/fake-$host")
	cp "$m/kvm.ko" "$root/modules/fake-kvm.ko"
	cp "$m/kvm-amd.ko" "$root/modules/fake-vendor.ko"
	cp "$(cat "$KHV_LOGS/floor-$host")/khv-floor.ko" "$root/modules/"
	cp "$(cat "$KHV_LOGS/dead-$host")/dead-ftrace.ko" "$root/modules/"
	cp "$(cat "$KHV_LOGS/protected-$host")/protected-guest.ko" "$root/modules/"
	[ -z "${KHV_COVERAGE:-}" ] ||
		cp "$(khv_build_helper "$KERNEL" coverage)/khv-coverage.ko" "$root/modules/"
	m=$KHV_LOGS/prototype-$(basename "$KERNEL")
	[ ! -e "$m" ] || cp "$(cat "$m")" "$root/modules/prototype.ko"
	[ ! -e "$m" ] || strip -o "$root/modules/prototype-fuzz" "$(cat "$KHV_LOGS/prototype-fuzz")"
	for m in kvm-hyperv other altered moved renamed khv-floor prototype; do
		[ -e "$root/modules/$m.ko" ] || continue
		objcopy --strip-debug "$root/modules/$m.ko"
	done
}

# What the plan of boot_host needs: programs, and modules of the kernel's own.
host_needs() {
	local kind name file shell='' tracers='' tool=''

	while read -r kind name; do
		case $kind in
		module)
			file=$(khv_module "$KERNEL" "$name")
			cp "$file" "$root/modules/$name.ko"
			;;
		kunit) cp "$(cat "$KHV_LOGS/kunit")/khv-kunit.ko" "$root/modules/" ;;
		own)
			# A quarter less for the emulated disk and the kernel to unpack.
			strip -o "$root/bin/$name" "$(cat "$KHV_LOGS/own")/$name"
			;;
		shell) shell=$name ;;
		tracers) tracers=$name ;;
		tool) tool=$name ;;
		upstream-*)
			mkdir -p "$root/bin/$kind"
			cp "$(cat "$KHV_LOGS/$kind")/$name" "$root/bin/$kind/"
			;;
		esac
	done <"$dir/needs"
	# It runs these on its own module.
	if [ -e "$root/bin/prototype_test" ]; then
		for name in enforce_cpuid_msrs_test enforce_cpuid_calls_test hypercall_matrix_form_test fastpath_rows_test; do
			[ -e "$root/bin/$name" ] || strip -o "$root/bin/$name" "$(cat "$KHV_LOGS/own")/$name"
		done
	fi
	[ -z "${KHV_GIVEN_FILE:-}" ] || cp "$KHV_GIVEN_FILE" "$root/etc/given"
	[ -z "$shell" ] || host_shell "$shell"
	[ -z "$tracers" ] || host_tracers "$tracers"
	[ -z "$tool" ] || host_tool "$tool"
}

# host_tools TOOL...: tools of this machine for boot_host, with their libraries.
host_tools() {
	local tool file

	for tool in "$@"; do
		file=$(readlink -f "$(command -v "$tool")")
		cp "$file" "$root/bin/$tool"
		ldd "$file" | grep -o '/[^ ]*' | while read -r file; do
			install -D "$(realpath "$file")" "$root/lib/x86_64-linux-gnu/$(basename "$file")"
		done
	done
}

# host_shell NAME: a program of boot_host that runs the "host" rows of doc-commands.list, with this
# machine's shell and tools, and modules where modprobe looks.
host_shell() {
	local tool release

	host_tools cat diff dmesg grep mktemp sleep tail timeout kmod
	for tool in insmod modprobe rmmod; do
		ln -s kmod "$root/bin/$tool"
	done
	release=$(cat "$KERNEL/release")
	mkdir -p "$root/lib/modules"
	ln -s ../../modules "$root/lib/modules/$release"
	khv_quiet depmod depmod -b "$root" "$release" || khv_die "depmod fails on the modules of $host"
	host_commands "$1" host
}

# host_tool NAME: packaging/kvm-hyperv for boot_host, busybox to run it, and the program NAME, which tests it.
host_tool() {
	khv_tool "$root"
	cp "$KHV_RIG/tool-commands" "$root/bin/$1"
}

# judge_tool DIR: what the tool said as JSON, by a parser.
judge_tool() {
	local dir=$1 id json=$1/status.json

	id=$(sed -n 's/^after\t\(.*\)-json\t.*/\1/p' "$dir/plan")
	[ -n "$id" ] || return 0
	tr -d '\r\000' <"$dir/results" | sed -n 's/^| JSON //p' | grep -v -x -e BEGIN -e END >"$json" || true
	{
		echo "@ phase after"
		echo "@ start $id-json"
		if python3 - "$json" 2>"$dir/json-error" <<-'PY'; then
			import json, sys
			d = json.load(open(sys.argv[1]))
			ours = [v for v in d["vms"] if v["guest"] == 'new "one"']
			assert len(ours) == 2 and len(d["stock_vms"]) == 4, d
			assert all("hv-vpindex" in v["shown"] for v in ours)
			assert d["takeover"] and d["hooks"]["replaced"] == d["hooks"]["in_place"] > 20
			assert d["exits_per_second"] > 0 and 0 < d["fast_percent"] <= 100
			assert {r["name"]: r["reads_per_second"] for r in d["rows"]}["VP_INDEX"] > 0
		PY
			echo "@ done $id-json ok 0"
		else
			sed 's/^/| /' "$dir/json-error"
			echo "@ done $id-json error:no_JSON,_or_not_what_was_there 0"
		fi
	} >>"$dir/results"
}

# host_tracers NAME: the same for the "trace" rows and the tools that they name.
host_tracers() {
	host_tools grep bpftrace perf trace-cmd
	cp "$KHV_TOP"/packaging/bpftrace/*.bt "$root/bin/"
	host_commands "$1" trace
}

# host_commands NAME KIND: write the program NAME, which runs the rows of that kind and prints KTAP.
# The bpftrace of a row KIND:PROGRAM ends with PROGRAM, which starts when the probes are attached, and
# must have printed what it counted.
host_commands() {
	host_tools sh
	awk -F '\t' -v kind="$2" '
		BEGIN {
			print "#!/bin/sh"
			print "run() {"
			print "	nr=$((nr + 1))"
			print "	if eval \"$2\" >/tmp/out 2>&1; then"
			print "		echo \"ok $nr $1\""
			print "	else"
			print "		while read -r line; do echo \"# $line\"; done </tmp/out"
			print "		echo \"not ok $nr $1\""
			print "		failed=1"
			print "	fi"
			print "}"
			print "counted() {"
			print "	bpftrace -c \"/bin/$1\" \"$2\" \"$3\" >/tmp/counted 2>&1"
			print "	while read -r line; do echo \"$line\"; done </tmp/counted"
			print "	grep -q \"^Attaching\" /tmp/counted && grep -q \"^@\" /tmp/counted"
			print "}"
			print "nr=0 failed=0"
			print "echo TAP version 13"
		}
		{ split($1, how, ":") }
		how[1] == kind {
			n = index($2, " => ")
			name = n ? substr($2, 1, n - 1) : $2
			what = n ? substr($2, n + 4) : $2
			if (2 in how)
				sub(/^bpftrace/, "counted " how[2], what)
			gsub(/\047/, "\047\\\047\047", name)
			gsub(/\047/, "\047\\\047\047", what)
			runs[++nr] = "run \047" name "\047 \047" what "\047"
		}
		END {
			print "echo 1.." nr
			for (i = 1; i <= nr; i++)
				print runs[i]
			print "exit $failed"
		}' "$KHV_RIG/doc-commands.list" >"$root/bin/$1"
	chmod +x "$root/bin/$1"
	cp "$root/bin/$1" "$dir/"
}

# host_emulator KERNEL INITRD DIR SECONDS: boot the host of boot_host.
host_emulator() {
	local fix

	# The emulated Intel CPU draws a warning of its own at boot: panic_on_warn comes later, by PID 1.
	if [[ $host == *-debug ]]; then
		# shellcheck source=selftests/rig/debug-kernel.sh
		. "$KHV_RIG/debug-kernel.sh"
		KHV_APPEND="${KHV_DEBUG_APPEND/panic_on_warn=1/} ${KHV_APPEND:-}"
	fi
	# One scan for leaks takes many minutes at Bochs' speed: the AMD host does it.
	[ "$host" != intel-debug ] || KHV_APPEND="${KHV_DEBUG_APPEND_INTEL:-} kmemleak=off $KHV_APPEND"
	# Bochs 2.7's CPU model contradicts itself about XSAVE: older kernels warn, this one then reads what
	# it has not set up.
	[ "$host" != intel-7.3 ] || KHV_APPEND="noxsave ${KHV_APPEND:-}"
	case $host in
	# These are closer to what people run, so they also have the kernel's own mitigations.
	amd-nrips-*) KHV_MITIGATIONS=${KHV_MITIGATIONS-} khv_boot_amd-nrips "$@" ;;
	intel-apicv-*) KHV_MITIGATIONS=${KHV_MITIGATIONS-} khv_boot_intel-apicv "$@" ;;
	intel-apicv2-*) KHV_MITIGATIONS='' KHV_CPUS=2 khv_boot_intel-apicv "$@" ;;
	intel-*) khv_boot_intel "$@" ;;
	amd-*)
		fix=$(khv_svm_fix)
		[ -z "$fix" ] || export LD_PRELOAD=$fix KHV_SVM_FIX=1
		case $host in
		amd-icount-*) KHV_CPUS=1 khv_boot_amd "$@" -icount shift=0,sleep=off ;;
		# A watchpoint waits for another CPU: it must run meanwhile.
		amd-kcsan-*) KHV_THREADS=multi khv_boot_amd "$@" ;;
		*) khv_boot_amd "$@" ;;
		esac
		;;
	esac
	unset LD_PRELOAD
}

# judge_leave DIR: what came of a boot whose last step left under running guests. After PID 1's last
# word the console must hold what the kernel says of reboot or power-off, and nothing else but KVM's one
# line of an entry that failed, which is all that it says of a CPU that left VMX operation. A kexec is
# reported by what it enters.
judge_leave() {
	local dir=$1 id how

	read -r id how < <(sed -n 's/^@ leave //p' "$dir/results" | tr -d '\r') || return 0
	tr -d '\r\000' <"$dir/console" | awk -v id="$id" -v how="$how" \
		-v entered="$(grep -c '^@ kexec' "$dir/results")" '
		BEGIN {
			word["reboot"] = "reboot: Restarting system"
			word["poweroff"] = "reboot: Power down"
		}
		/^rig: leaving by / { left = 1; next }
		!left || /^$/ || /set kvm_intel.dump_invalid_vmcs=1/ { next }
		how in word && index($0, word[how]) { said = 1; next }
		{ print "@ kernel " $0 }
		END {
			if (how == "kexec" ? entered : said)
				print "@ done " id " ok 0"
			else
				print "@ done " id " error:no_word_of_the_" how " 0"
		}' >"$dir/left"
	cat "$dir/left" >>"$dir/results"
}
