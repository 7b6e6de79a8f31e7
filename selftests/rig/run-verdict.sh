# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What came of make run: show what the guest and the host reported, and say what is missing. Sourced by
# run; DIR/results has lines "WORD text" of the PID 1 of the host (run-host/).

# had WORD TEXT: is there a line WORD with that text? TEXT is a basic regular expression.
had() { grep -q "^$1 .*$2" "$dir/results"; }

# nested_verdict DIR VENDOR: what the kernel of the hypervisor in the guest must say, and what the host
# must have counted.
nested_verdict() {
	local dir=$1 vendor=$2 lines line flushes bits

	printf '\nThe hypervisor in the guest:\n'
	section "$dir" NESTED
	printf '    the host entered its guest %s times\n' "$(section "$dir" ENTRIES | tr -d ' ')"
	if [ "$KHV_RUN_STOCK" = 0 ]; then
		printf '\nThe host, on every register and call that was used:\n'
		section "$dir" ROW | awk '/ number | code / || (/0x/ && $4 + $5 > 0)'
	fi

	for line in exits: window: flush:; do
		had NESTED "$line" || lost "$dir" "nothing of the guest's guest on $line"
	done
	had NESTED 'done' || lost "$dir" "the guest's guest did not come to its end"
	had ENTRIES '[1-9]' || lost "$dir" "the host never entered the guest's guest"
	# What is said of Hyper-V by the guest's own KVM: eVMCS and direct flush say so once.
	if [ "$vendor" = intel ]; then
		lines=('Using Hyper-V Enlightened VMCS')
	else
		lines=('Hyper-V Direct TLB Flush enabled')
	fi
	! grep -Eq '^L2\|.*(Oops|BUG:|WARNING:|general protection fault)' \
		<(sed '1,/^L2|.*KHV-NESTED step/d' "$dir/console") ||
		lost "$dir" "the guest's kernel complains, with its KVM"

	bits=$(sed -n 's/^DMESG .*Nested features: \(0x[0-9a-f]*\).*/\1/p' "$dir/results")
	[ -n "$bits" ] || lost "$dir" 'the guest does not say "Nested features:"'
	# Direct flush and the MSR bitmap are QEMU's flags; the others are the module's, where it has
	# the calls that they stand for.
	[ $((bits & 0xa0000)) = $((0xa0000)) ] || lost "$dir" "nested features $bits lack 0xa0000"
	if had ROW FLUSH_GUEST_PHYSICAL_ADDRESS; then
		bits=$((bits & ${MODULE_ARGS#*=}))
		[ "$bits" = $((${MODULE_ARGS#*=})) ] ||
			lost "$dir" "the guest was not shown $MODULE_ARGS"
		[ "$vendor" = intel ] || lines+=('Hyper-V enlightened NPT TLB flush enabled')
		flushes=$(sed -n 's/^ROW //p' "$dir/results" |
			awk '/^hypercall / { for (i = 1; i <= NF; i++) if ($i == "calls") c = i }
			     /^FLUSH_GUEST_PHYSICAL_ADDRESS/ { n += $c } END { print n + 0 }')
		[ "$flushes" -gt 0 ] || lost "$dir" "no flush of guest physical addresses was asked for"
		printf '\n%d flushes of guest physical addresses\n' "$flushes"
	else
		printf '\nNOT TESTED: flushes of guest physical addresses, which nobody answers here\n'
	fi
	for line in "${lines[@]}"; do
		had DMESG "$line" || lost "$dir" "the guest does not say \"$line\""
	done
}

# moves_verdict DIR: the guest has come through MOVES migrations, and all of its work has gone on after each.
moves_verdict() {
	local dir=$1 moves

	printf '\nThe guest, from one QEMU to the next:\n'
	section "$dir" MOVED
	moves=$(grep -c '^MOVED ' "$dir/results" || true)
	[ "$moves" = "$MOVES" ] || lost "$dir" "the guest came through $moves of $MOVES migrations"
	[ "$NESTED" = 1 ] || return 0
	# Linux's KVM asks for the interrupt. Only the module sends it, once for each restore (K13).
	awk '/^MOVED / {
		n++
		want += ($0 ~ /, to the module: /)
		if (!index($0, " told of a new TSC " want " times,"))
			bad = 1
	     }
	     END { exit bad || !n }' "$dir/results" ||
		lost "$dir" "not told of a new TSC once for each move to the module"
}

# share DIR: what the fast path answered, from the tables of debugfs, by register and call and by
# reason. Its last line is "share ANSWERED OF": MSR exits and calls of the guest. Columns are found
# by their names, so that more may be added.
share() {
	sed -n 's/^ROW //p' "$1/results" | tr -d '\r' | awk '
		function shown(name, all, fast) {
			if (all > 0)
				printf "%-34s %10d %10d %6.1f\n", name, all, fast, fast * 100 / all
		}
		/^$/ { next }
		/^(msr|hypercall) / {
			table = $1
			split("", column)
			for (i = 1; i <= NF; i++)
				column[$i] = i
			if (table == "msr")
				printf "%-34s %10s %10s %6s\n", "register or call", "exits", "fast", "%"
			next
		}
		/^exits in the fast path/ {
			table = "reason"
			printf "\n%-34s %10s\n", "reason", "exits"
			next
		}
		table == "msr" {
			shown($1, $column["reads"] + $column["writes"],
			      $column["fast-reads"] + $column["fast-writes"])
		}
		table == "hypercall" && !/^\(/ { shown($1, $column["calls"], $column["fast"]) }
		table == "reason" {
			# The name has blanks; it takes the first 32 columns.
			name = substr($0, 1, 32)
			sub(/ +$/, "", name)
			split(substr($0, 33), field)
			printf "%-34s %10d\n", name, field[1]
			if (name == "answered")
				answered = field[1]
			all += field[1]
		}
		END { printf "share %d %d\n", answered, all }'
}

section() { sed -n "s/^$2 //p" "$1/results" | tr -d '\r' | sed 's/^/    /'; }

lost() {
	printf '\nFAILED: %s\n' "$2"
	printf '    last lines of the console (all of it: %s):\n' "$1/console"
	tail -n 15 "$1/console" | tr -d '\r' | sed 's/^/    | /'
	exit 1
}

# show_results DIR: what was reported. It sets share to what the fast path answered, in tenths of a per
# cent.
show_results() {
	local dir=$1 answered exits

	printf '\nThe guest, on itself (dmesg):\n'
	section "$dir" DMESG
	printf '\nIts clocksource:\n'
	section "$dir" CLOCK
	printf '\nIts flushes:\n'
	section "$dir" FLUSH
	printf '\nIts timers:\n'
	section "$dir" TIMER
	printf '\nIts interrupts:\n'
	section "$dir" IRQ
	if [ "$KHV_RUN_STOCK" = 0 ]; then
		printf '\nThe host, on every enlightenment:\n'
		section "$dir" TABLE
		printf '\nkvm-hyperv status, meanwhile:\n'
		section "$dir" STATUS
		printf '\nkvm-hyperv top:\n'
		section "$dir" TOP
		printf '\nThe exit fast path, on every register and call that was used:\n'
		share "$dir" >"$dir/share"
		sed -e '/^share /d' -e 's/^/    /' "$dir/share"
		read -r _ answered exits < <(grep '^share ' "$dir/share")
		[ "$exits" -gt 0 ] || lost "$dir" "the fast path saw no exit of the guest"
		share=$((answered * 1000 / exits))
		printf '\nanswered in the fast path: %d of %d MSR exits and register-form calls, %d.%d %%\n' \
			"$answered" "$exits" $((share / 10)) $((share % 10))
	fi
}

# verdict DIR VENDOR: with the module, the guest has used what it was shown, and the fast path answered
# enough.
verdict() {
	local dir=$1 vendor=$2 line used must

	grep -q '^CLOCK hyperv_clocksource' "$dir/results" ||
		lost "$dir" "the guest does not use the Hyper-V clocksource"
	# CPU, device, timers asked for and early ones, interrupts: a late timer may share an interrupt with
	# another one, but half of them do not.
	sed -n 's/^TIMER //p' "$dir/results" |
		awk '{ n++ } !/Hyper-V/ { bad = 1 }
		     match($0, /[0-9]+ early, [0-9]+ interrupts/) {
			split(substr($0, RSTART, RLENGTH), f, " ")
			if (f[1] > 0 || f[3] < 50) bad = 1
		     }
		     END { exit bad || n < 2 }' ||
		lost "$dir" "the guest's timers are not the synthetic ones, or do not come as asked"
	# Linux says so once it has decided for them.
	for line in 'Using IPI hypercalls' 'for remote TLB flush' 'Vmbus version'; do
		grep -q "^DMESG .*$line" "$dir/results" ||
			lost "$dir" "the guest does not say \"$line\""
	done
	grep -q '^FLUSH [1-9]' "$dir/results" || lost "$dir" "the guest replaced no mapping"
	# Columns are found by their names in the first row.
	used=$(sed -n 's/^TABLE //p' "$dir/results" |
		awk '{ sub(/\r$/, "") } NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
		     $column["uses"] > 0 { print $column["answered"] "-" $1 }')
	must=(module-hv-ipi module-hv-tlbflush module-hv-stimer module-hv-synic)
	[ "$NESTED" = 0 ] || must+=(module-hv-tlbflush-direct module-hv-gpa-flush stock-hv-emsr-bitmap)
	[ "$NESTED$vendor" != 1intel ] || must+=(module-hv-evmcs)
	for line in "${must[@]}"; do
		grep -qx -e "$line" <<<"$used" ||
			lost "$dir" "the guest came up, but ${line%%-*} answered none of its ${line#*-}"
	done
	[ "$share" -ge $((FAST_MARK * 10)) ] ||
		lost "$dir" "only $((share / 10)).$((share % 10)) % of the exits were answered in the fast path, less than $FAST_MARK %"
	printf 'OK: the guest came up, and used %d enlightenments that the module answered; %d s in all\n' \
		"$(grep -c '^module-' <<<"$used")" $(($(date +%s) - KHV_START))
}
