# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# From tests.list to the plan of each host: the steps that its PID 1 carries out, what must come of
# them, and the files that they need. Source it after lib.sh. Nothing here builds or boots.

# By duration, longest first, the two emulators in turns; "here" is this machine.
ALL_HOSTS="amd-debug intel-6.12 amd-6.12 intel-apicv-6.12 intel-apicv2-6.12 intel-debug amd-6.1 amd-nrips-6.12"
ALL_HOSTS+=" intel-6.1 amd-7.3 amd-icount-6.12 here"
# For make test-all, whose long forms have an order of their own, and for make bench if it names them.
if [ -n "${KHV_LONG:-}${KHV_BENCH:-}" ]; then
	ALL_HOSTS="amd-debug amd-6.12 here intel-6.12 intel-7.3 intel-apicv-7.3 amd-kcsan-debug intel-apicv-6.1"
	ALL_HOSTS+=" intel-apicv-6.12 intel-apicv2-6.12 intel-debug amd-6.1 amd-nrips-6.12 intel-6.1 amd-7.3 amd-icount-6.12"
fi
[ -z "${KHV_BENCH:-}" ] || ALL_HOSTS+=" amd-nrips-7.3 amd-icount-7.3"
LIST=$KHV_RIG/tests.list

# matches VALUE PATTERNS: VALUE matches one of the shell patterns, which blanks or commas separate.
matches() {
	local value=$1 pattern patterns

	read -r -a patterns <<<"${2//,/ }"
	for pattern in "${patterns[@]}"; do
		# shellcheck disable=SC2254
		case $value in
		$pattern) return 0 ;;
		esac
	done
	return 1
}

# on_host HOST PATTERNS: as matches, but a pattern must name QEMU's counting host, the host of two
# Bochs processors and this machine explicitly.
on_host() {
	local pattern patterns

	read -r -a patterns <<<"${2//,/ }"
	for pattern in "${patterns[@]}"; do
		case $1:$pattern in
		*icount*:*icount* | *apicv2*:*apicv2* | here:here) ;;
		*icount*:* | *apicv2*:* | here:*) continue ;;
		esac
		! matches "$1" "$pattern" || return 0
	done
	return 1
}

have_module() { [ "$KHV_PHASES" = all ]; }
# Compare KVM's code before and after on the stock hosts: the proof has to hold for what people run.
compares_text() { have_module && [[ $1 != *-debug ]]; }

# ---------------------------------------------------------------------------------------------
# The list

# The project's own selftest programs: selftests/Makefile builds one from each of these files.
own_names() { (cd "$KHV_TOP/selftests" && printf '%s\n' *_test.c | sed 's/\.c$//'); }

# The rows of the list without comments, one a line.
list_rows() {
	awk '/^#/ || /^[ \t]*$/ { next }
	     held != "" { sub(/^[ \t]*/, "") }
	     / -- / || !/,[ \t]*$/ { print held $0; held = ""; next }
	     { sub(/[ \t]*$/, ""); held = held $0 }' "$LIST"
}

# The rows that apply to this run, for one test each: a row that names several becomes one row for
# each, and a pattern in an "own" row stands for each program that matches it.
rows() {
	local kind list name names rest program programs

	mapfile -t programs < <(own_names)
	while read -r kind list rest; do
		case $kind in
		bench) [ -n "${KHV_BENCH:-}" ] || continue ;;
		long:* | tracers) [ -n "${KHV_LONG:-}" ] || continue ;;
		given)
			[ -n "${KHV_GIVEN:-}" ] || continue
			rest=${rest//'$KHV_GIVEN_SECONDS'/$KHV_GIVEN_SECONDS $KHV_GIVEN}
			;;
		esac
		kind=${kind#long:}
		[[ $kind != @(bench|given) ]] || kind=own
		read -r -a names <<<"${list//,/ }"
		for name in "${names[@]}"; do
			case $kind:$name in
			own:*[*?]*)
				for program in "${programs[@]}"; do
					! matches "$program" "$name" || printf '%s %s %s\n' "$kind" "$program" "$rest"
				done
				;;
			*) printf '%s %s %s\n' "$kind" "$name" "$rest" ;;
			esac
		done
	done < <(list_rows)
}

# The hosts that the list has a row for.
listed_hosts() {
	local host kind name hosts rest

	for host in $ALL_HOSTS; do
		while read -r kind name hosts rest; do
			if on_host "$host" "$hosts"; then
				echo "$host"
				break
			fi
		done < <(list_rows)
	done
}

# Names of upstream's selftests that the list wants from linux-source-$1.
upstream_names() { rows | awk -v kind="upstream-$1" '$1 == kind { print $2 }' | sort -u; }

# wanted_kinds PATTERN: the kinds of the rows that TESTS wants on one of HOSTS, if they match.
wanted_kinds() {
	local kind name hosts rest host

	while read -r kind name hosts rest; do
		matches "$kind" "$1" && matches "$name" "$TESTS" || continue
		for host in $HOSTS; do
			! on_host "$host" "$hosts" || echo "$kind"
		done
	done < <(rows) | sort -u
}

# The series of which an upstream selftest is wanted: building them takes a minute.
wanted_series() { wanted_kinds 'upstream-*' | sed 's/^upstream-//'; }

wants_tracers() { [ -n "$(wanted_kinds tracers)" ]; }

# The selftests beside which the "trace" rows of doc-commands.list run.
traced_programs() { sed -n 's/^trace:\([^\t]*\)\t.*/\1/p' "$KHV_RIG/doc-commands.list" | sort -u; }

# Refuse a variable that would quietly run something else, or nothing.
check_variables() {
	local pattern patterns name names

	[[ $KHV_PHASES == @(all|stock) ]] || khv_die "KHV_PHASES=$KHV_PHASES: say all or stock"
	[[ $KHV_MINUTES =~ ^[0-9]+$ ]] || khv_die "KHV_MINUTES=$KHV_MINUTES: say a number, 0 for no limit"
	[[ $KHV_REPEAT =~ ^[1-9][0-9]*$ ]] || khv_die "KHV_REPEAT=$KHV_REPEAT: say a number above 0"
	mapfile -t names < <(rows | awk '{ print $2 }' | sort -u)
	read -r -a patterns <<<"${TESTS//$'\n'/ }"
	for pattern in "${patterns[@]}"; do
		for name in "${names[@]}"; do
			! matches "$name" "$pattern" || continue 2
		done
		khv_die "TESTS: no row of tests.list is called $pattern"
	done
}

# Every program has a row, and every row its programs.
check_list() {
	local kind list name names rest

	for name in $(comm -23 <(own_names | sort) <(rows | awk '$1 == "own" { print $2 }' | sort -u)); do
		khv_die "tests.list: add a row for the selftest $name"
	done
	while read -r kind list rest; do
		[[ $kind == @(own|bench|given|long:own) ]] || continue
		read -r -a names <<<"${list//,/ }"
		for name in "${names[@]}"; do
			compgen -G "$KHV_TOP/selftests/$name.c" >/dev/null ||
				khv_die "tests.list: no selftest is called $name; correct the row or remove it"
		done
	done < <(list_rows)
}

# ---------------------------------------------------------------------------------------------
# The plan of a host

# plan_host HOST DIR: translate the list into DIR/steps (for PID 1, see init/init.c), DIR/plan (for
# report.awk), DIR/needs (one file or module a line, see host.sh) and, when a row leaves a program out,
# DIR/not-here. With KERNEL, a kernel folder, the steps load what KVM's modules depend on.
plan_host() {
	local host=$1 dir=$2 vendor=kvm-amd line kind name hosts rest reason seen=" " loaded=" " leave_inserts=yes
	local -A part=() retry=()

	[[ $host != intel-* ]] || vendor=kvm-intel
	: >"$dir/plan"
	: >"$dir/needs"
	rm -f "$dir/not-here"
	while IFS= read -r line; do
		reason=
		case $line in
		*' -- '* | *$'\t-- '*) reason=${line#*-- } line=${line%%-- *} ;;
		esac
		read -r kind name hosts rest <<<"$line"
		on_host "$host" "$hosts" || continue
		case $seen in
		*" $kind:$name "*) continue ;;
		esac
		seen+="$kind:$name "
		[[ $kind == @(known|write|retry) ]] || matches "$name" "$TESTS" || continue
		plan_row
	done < <(rows)
	if [ "$host" = here ]; then
		printf '%s' "phase here"$'\n' "${part[here]:-}" >"$dir/steps"
	else
		plan_boot >"$dir/steps"
	fi
}

# plan_has HOST PROGRAM: does the project's own program run there?
plan_has() {
	local dir=$KHV_LOGS/plan-$1

	mkdir -p "$dir"
	plan_host "$1" "$dir"
	grep -qx "own $2" "$dir/needs"
}

# plan_add PHASE ID KIND EXPECTED COUNTED REASON STEP: a step, and what must come of it.
plan_add() {
	printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "$6" >>"$dir/plan"
	part[$1]+="$7"$'\n'
}

plan_need() { printf '%s\n' "$*" >>"$dir/needs"; }

# The row of plan_host.
plan_row() {
	local phase errno module seconds args program how

	case $kind in
	upstream-*) plan_program "$kind/$name" ;;
	own) plan_program "$name" ;;
	user)
		read -r seconds args <<<"$rest"
		plan_add here "$name" own pass yes "" "run $name $seconds $name $args"
		;;
	shell)
		have_module || return 0
		plan_need shell "$name"
		plan_add after "$name" own pass yes "" "run $name $rest $name"
		;;
	tool)
		have_module || return 0
		plan_need tool "$name"
		plan_need own spin
		plan_add after "$name" own pass yes "" "run $name $rest $name"
		printf 'after\t%s-json\tstep\tok\tyes\t\n' "$name" >>"$dir/plan"
		;;
	tracers)
		have_module || return 0
		plan_need tracers "$name"
		for program in $(traced_programs); do
			plan_need own "$program"
		done
		plan_add module "$name" own pass yes "" "run $name $rest $name"
		;;
	kunit)
		plan_need kunit
		plan_add stock "$name" kunit pass yes "$reason" "kunit $name khv-kunit"
		;;
	refuse)
		have_module || return 0
		read -r phase errno rest <<<"$rest"
		module="kvm-hyperv"
		case $rest in
		other*) module=other rest=${rest#other} ;;
		altered*) module=altered rest=${rest#altered} ;;
		moved*) module=moved rest=${rest#moved} ;;
		renamed*) module=renamed rest=${rest#renamed} ;;
		esac
		plan_add "$phase" "$name" step ok yes "$reason" "insmod $name $errno $module $rest"
		[ -z "$reason" ] || plan_add "$phase" "$name-says" step ok yes "" "log $name-says $reason"
		;;
	write)
		read -r phase rest <<<"$rest"
		part[$phase]+="write $rest"$'\n'
		;;
	retry)
		retry[$name]="retry $rest"$'\n'
		printf '\t%s\tretry\t\t\t%s\n' "$name" "$reason" >>"$dir/plan"
		;;
	known)
		# The text is matched as a whole; the name has no meaning of its own.
		printf '\t\tknown\t%s\t\t%s\n' "$rest" "$reason" >>"$dir/plan"
		;;
	cycle)
		! have_module || plan_add after "$name" step ok yes "$reason" "cycle $name $rest kvm-hyperv"
		;;
	stay)
		have_module || return 0
		plan_add leave dead-ftrace step ok yes "" "insmod dead-ftrace 0 dead-ftrace ${rest:+spoil=$rest}"
		plan_add leave "$name" step ok yes "" "stay $name kvm-hyperv"
		plan_add leave "$name-says" step ok yes "" "log $name-says $reason"
		;;
	leave)
		read -r how program <<<"$rest"
		have_module || program=
		[ -z "$program" ] || leave_inserts=no
		: "${program:=spin}"
		plan_need own "${program%% *}"
		plan_add leave "$name" step ok yes "$reason" "leave $name $how 60 $program"
		;;
	*) khv_die "tests.list: unknown kind $kind" ;;
	esac
}

# plan_program PATH: the program of the row, below /bin of the host.
plan_program() {
	local path=$1 phase=stock stock module seconds args alone=no id n step

	read -r stock module seconds args <<<"$rest"
	if [ "$stock$module" = -- ]; then
		printf '%s: %s: %s\n' "$host" "$name" "$reason" >>"$dir/not-here"
		return
	fi
	plan_need "$kind" "$name"
	have_module || alone=yes
	# An upstream program counts with the module only: stock is its oracle. The cases of an own
	# program count in both phases.
	# The debug hosts look for faults under the checkers; the stock hosts are the oracle.
	[[ $host != *-debug && -z ${KHV_COVERAGE:-} ]] || ! have_module || [ "$module" = - ] || stock=-
	[ "$stock" != first ] || phase=first stock=pass
	[ "$stock" != last ] || phase=leave stock=pass
	for ((n = 1; n <= KHV_REPEAT; n++)); do
		id=$name
		[ "$n" = 1 ] || id=$name#$n
		step="${retry[$name]:-}run $id $seconds $path $args"
		[ "$stock" = - ] || plan_add "$phase" "$id" "$kind" "$stock" "$alone" "$reason" "$step"
		[ "$module" = - ] || ! have_module || plan_add module "$id" "$kind" "$module" yes "$reason" "$step"
	done
}

# rig_step PHASE ID STEP [ARGUMENTS]: a step of the rig itself, planned like any test.
rig_step() {
	printf '%s\t%s\tstep\tok\tyes\t\n' "$1" "$2" >>"$dir/plan"
	shift
	printf '%s\n' "$2 $1 ${*:3}"
}

# loads MODULE: a module of the kernel's own, and what it depends on before it.
loads() {
	local m order=$1

	[ -z "${KERNEL:-}" ] || order=$(khv_module_order "$KERNEL" "$1")
	for m in $order; do
		case $loaded in
		*" $m "*) continue ;;
		esac
		loaded+="$m "
		plan_need module "$m"
		case $m in
		"${vendor/-/_}" | "$vendor") echo "load $m nested=1" ;;
		*) echo "load $m" ;;
		esac
	done
}

# The order of one boot.
plan_boot() {
	# Stock code has data races, and each would end the boot.
	[[ $host != *-debug || $host == *-kcsan-* ]] || echo "write /proc/sys/kernel/panic_on_warn 1"
	[ -z "${KHV_COVERAGE:-}" ] || echo "load khv-coverage"
	echo "phase nokvm"
	printf '%s' "${part[nokvm]:-}"
	if have_module; then
		echo "phase fakekvm"
		rig_step fakekvm fake-kvm insmod 0 fake-kvm
		rig_step fakekvm fake-vendor insmod 0 fake-vendor
		printf '%s' "${part[fakekvm]:-}"
		rig_step fakekvm fake-vendor-out rmmod 0 kvm-amd
		rig_step fakekvm fake-kvm-out rmmod 0 kvm
	fi
	loads kvm
	echo "phase novendor"
	printf '%s' "${part[novendor]:-}"
	loads "$vendor"
	if [ -n "${part[first]:-}" ]; then
		echo "phase first"
		[ "$host" != amd-debug ] || echo "kmemleak-clear"
		printf '%s' "${part[first]}"
		[ "$host" != amd-debug ] || rig_step first kmemleak-first kmemleak-scan
	fi
	echo "phase stock"
	! compares_text "$host" || rig_step stock text-save text-save kvm "$vendor"
	printf '%s' "${part[stock]:-}"
	if have_module; then
		echo "phase module"
		[ "$host" != amd-debug ] || echo "kmemleak-clear"
		rig_step module insmod insmod 0 kvm-hyperv
		printf '%s' "${part[module]:-}"
		# The module holds KVM: only after it has gone can KVM go.
		rig_step module pinned-vendor rmmod EAGAIN "$vendor"
		rig_step module pinned-kvm rmmod EAGAIN kvm
		rig_step module rmmod rmmod 0 kvm-hyperv
		echo "phase after"
		! compares_text "$host" || rig_step after text-compare text-compare
		printf '%s' "${part[after]:-}"
		[ -z "${part[after]:-}" ] || ! compares_text "$host" ||
			rig_step after text-compare-again text-compare
		[ "$host" != amd-debug ] || rig_step after kmemleak kmemleak-scan
		if [ -n "${KHV_COVERAGE:-}" ]; then
			plan_need own coverage
			printf 'after\tcoverage\town\tpass\tyes\t\n' >>"$dir/plan"
			echo "run coverage 60 coverage"
		fi
		rig_step after unpinned-vendor rmmod 0 "$vendor"
		rig_step after unpinned-kvm rmmod 0 kvm
	fi
	[ -n "${part[leave]:-}" ] || return 0
	echo "phase leave"
	if have_module; then
		echo "load kvm"
		echo "load $vendor nested=1"
		[ "$leave_inserts" = no ] || rig_step leave insmod-again insmod 0 kvm-hyperv
	fi
	printf '%s' "${part[leave]}"
}

# plan_print HOST DIR: the plan of plan_host for people, one step a line: host, phase, what must come of
# it, the step; then what the list leaves out and what it excuses.
plan_print() {
	awk -F '\t' -v host="$1" '
		function line(phase, expected, text) { printf "%-17s %-8s %-4s %s\n", host, phase, expected, text }
		FILENAME == ARGV[1] {
			if ($3 == "known")
				excuses[++n] = "kernel log: " $4 " (" $6 ")"
			else if ($3 != "retry")
				expected[$1, $2] = $4
			next
		}
		{ split($0, word, " ") }
		word[1] == "phase" { phase = word[2]; next }
		{ line(phase, (phase, word[2]) in expected ? expected[phase, word[2]] : "-", $0) }
		END {
			for (i = 1; i <= n; i++)
				line("-", "-", excuses[i])
		}' "$2/plan" "$2/steps"
	[ ! -s "$2/not-here" ] || sed -n "s/^$1: \\([^:]*\\): /\\1 (/p" "$2/not-here" |
		while IFS= read -r line; do printf '%-17s %-8s %-4s %s)\n' "$1" - none "$line"; done
}
