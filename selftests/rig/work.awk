# SPDX-License-Identifier: GPL-2.0-only
#
# From what one boot of a counting host reports (run-host/, KHV_PHASES) to lines for bench.awk:
#   WORK name total_stock total_module own_stock own_module exits_stock exits_module
#        msr_stock msr_module call_stock call_module
#   CHECK text value
# Input: "WORK number name" and "MARK phase number tsc halted runs entries wakes msr call hlt
# interrupt other". A mark with an even number begins a work, the next one ends it. What a phase
# that comes more than once counted is averaged.

function fail(text) {
	print "work.awk: " text > "/dev/stderr"
	failed = 1
	exit 1
}

$1 == "WORK" { name[$2] = $3 }

$1 == "MARK" {
	phase = $2
	number = $3
	if (number == 1)
		runs_of[phase]++
	# Two exits with three instructions between them: what surrounds the guest's own in a run.
	if (number == 11 && last == 10 && (!((phase) in around) || $6 - before[6] - 3 < around[phase]))
		around[phase] = $6 - before[6] - 3
	last = number
	split($0, before)
	if (number == 2 || number >= 20 && number % 2 == 0) {
		split($0, from)
		from_number = number
		next
	}
	if (number < 3 || number == 10 || number == 11)
		next
	if (number != from_number + 1)
		fail("mark " number " without its begin")
	work = from_number
	total[phase, work] += $4 - from[4] - ($5 - from[5])
	time[phase, work] += $4 - from[4]
	runs[phase, work] += $6 - from[6]
	exits[phase, work] += $7 - from[7]
	msr[phase, work] += $9 - from[9]
	call[phase, work] += $10 - from[10]
}

function own(phase, work) { return runs[phase, work] - exits[phase, work] * around[phase] }

END {
	if (failed)
		exit 1
	name[2] = "boot"
	for (i = 2; i < 200; i += 2) {
		if (!(i in name) || name[i] == "loop")
			continue
		if (!(("stock", i) in total) || !(("module", i) in total))
			fail(name[i] " was not measured in both phases")
		s = runs_of["stock"]
		m = runs_of["module"]
		printf "WORK %s %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f\n", name[i],
		       total["stock", i] / s, total["module", i] / m,
		       own("stock", i) / s, own("module", i) / m,
		       exits["stock", i] / s, exits["module", i] / m,
		       msr["stock", i] / s, msr["module", i] / m,
		       call["stock", i] / s, call["module", i] / m
	}
	printf "CHECK host_loop_of_20000000 %.0f\n", total["host", 20]
	printf "CHECK host_second_asleep %.0f\n", total["host", 22]
	printf "CHECK guest_loop_of_20000000_stock %.0f\n", own("stock", 100) / s
	printf "CHECK guest_loop_of_20000000_module %.0f\n", own("module", 100) / m
	printf "CHECK around_a_run %.0f %.0f\n", around["stock"], around["module"]
}
