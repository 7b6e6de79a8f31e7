# SPDX-License-Identifier: GPL-2.0-only
#
# From what exit_cost_test, target_cost_test, nested_cost_test and the guests of make bench print to a
# table for people (out=text), a document (out=md), its plots (out=svg, out=guest-svg) or what README.md
# says (out=readme). Input, one a line: HOST and
#   EXITS_MEASURED day commit release, GUESTS_MEASURED likewise
#   RELEASE release
#   FLOOR bare N skip N look N x2apic N
#   ROW name kind stock not-ours slow fast
#   SCALE name targets vcpus stock module
#   NESTED name stock module
#   WORK name total_stock total_module own_stock own_module exits_stock exits_module
#        msr_stock msr_module call_stock call_module
#   CHECK text value...

/^#/ { next }
$2 == "EXITS_MEASURED" || $2 == "GUESTS_MEASURED" {
	measured[$2, $1] = "Measured on " $3 " at commit " $4 " on kernel " $5 "."
}
$2 == "RELEASE" { release[$1] = $3 }
# QEMU's host without NRIPS is only there for the floor of the guest on QEMU's host.
$2 == "FLOOR" && $1 !~ /icount/ { hosts[++nr_hosts] = $1 }
$2 == "FLOOR" { bare[$1] = $4; skip[$1] = $6; look[$1] = $8; x2apic[$1] = $10 }
$2 == "ROW" {
	if (!($3 in kind))
		rows[++nr_rows] = $3
	kind[$3] = $4
	stock[$1, $3] = $5; not_ours[$1, $3] = $6; slow[$1, $3] = $7; fast[$1, $3] = $8
}
$2 == "SCALE" {
	if (!(($3, $4, $5) in seen))
		scales[++nr_scales] = $3 SUBSEP $4 SUBSEP $5
	seen[$3, $4, $5] = scaled[$1] = 1
	was[$1, $3, $4, $5] = $6; is[$1, $3, $4, $5] = $7
}

$2 == "NESTED" {
	if (!($3 in nested))
		nested_rows[++nr_nested_rows] = $3
	nested[$3] = 1
	l2_was[$1, $3] = $4; l2_is[$1, $3] = $5
}

$2 == "WORK" {
	if (!($1 in guest_host))
		guest_hosts[++nr_guest_hosts] = $1
	guest_host[$1] = 1
	if (!($3 in work))
		works[++nr_works] = $3
	work[$3] = 1
	for (i = 4; i <= 13; i++)
		w[$1, $3, i - 3] = $i
}
$2 == "CHECK" { check[$1, $3] = $4; check2[$1, $3] = $5 }

BEGIN {
	says["boot"] = "boot, from the first instruction to PID 1"
	says["pipe"] = "a byte handed to and fro between two CPUs, 2000 times"
	says["mmap"] = "mmap, touch 16 pages, munmap: two CPUs, 1500 times each"
	says["timers"] = "1000 timers a second on each of two CPUs, 3 seconds"
	says["idle"] = "idle for a minute"
	says["vmbus"] = "VMBus: insert hv_vmbus, agree on a version, ask for offers"
}

# Host instructions of a work, less those of the guest itself.
function less_stock(h, k) { return w[h, k, 1] - w[h, k, 3] }
function less_module(h, k) { return w[h, k, 2] - w[h, k, 4] }
function ratio(h, k) { return less_module(h, k) / less_stock(h, k) }
function total_ratio(h, k) { return w[h, k, 2] / w[h, k, 1] }

# What would be left if each MSR exit and each call had cost the bare world switch, and a look at the
# instruction where the CPU does not tell the next one; it takes single exits of the same host for
# what they cost on stock.
function floor_of(h, k,    e, msr, call, least) {
	e = (h == "amd" ? "amd-icount" : h) "-6.12"
	if (!(e in bare))
		return "-"
	least = h == "amd" ? look[e] : bare[e]
	msr = (stock[e, "WRMSR_EOI"] + stock[e, "WRMSR_STIMER0_COUNT"]) / 2 - least
	call = stock[e, "HC_SendSyntheticClusterIpi"] - least
	return sprintf("%.2f", 1 - (w[h, k, 7] * msr + w[h, k, 9] * call) / less_stock(h, k))
}

function measured_on(what, h) { return (what, h) in measured ? measured[what, h] "\n\n" : "" }

function guest_table(bar, line,    i, j, h, k) {
	for (j = 1; j <= nr_guest_hosts; j++) {
		h = guest_hosts[j]
		printf "%s\n", heading(h ": a whole guest")
		printf "%s", measured_on("GUESTS_MEASURED", h)
		printf bar "%-8s" bar "%12s" bar "%12s" bar "%6s" bar "%12s" bar "%12s" bar "%12s" bar "%12s" bar "%6s" bar "%6s" bar "%8s" bar "%8s" bar "%8s" bar "\n", "work", "stock", "module", "ratio", "own, stock", "own, module", "less, stock", "less, module", "ratio", "floor", "exits", "module", "ours"
		printf line
		for (i = 1; i <= nr_works; i++) {
			k = works[i]
			if (!((h, k, 1) in w))
				continue
			printf bar "%-8s" bar "%12.0f" bar "%12.0f" bar "%6.2f" bar "%12.0f" bar "%12.0f" bar "%12.0f" bar "%12.0f" bar "%6.2f" bar "%6s" bar "%8d" bar "%8d" bar "%8d" bar "\n", k, w[h, k, 1], w[h, k, 2], total_ratio(h, k), w[h, k, 3], w[h, k, 4], less_stock(h, k), less_module(h, k), ratio(h, k), floor_of(h, k), w[h, k, 5], w[h, k, 6], w[h, k, 7] + w[h, k, 9]
		}
		printf "\n"
		printf "What the meter says of what is known: 20,000,000 instructions of the host are %.0f, of the guest %.0f and %.0f;\n", check[h, "host_loop_of_20000000"], check[h, "guest_loop_of_20000000_stock"], check[h, "guest_loop_of_20000000_module"]
		printf "a second in which the host sleeps has %d; %d and %d surround the guest's own at each entry.\n\n", check[h, "host_second_asleep"], check[h, "around_a_run"], check2[h, "around_a_run"]
	}
}

function guest_document(    i) {
	print "## A whole guest, measured"
	print ""
	print "A Linux guest of two CPUs with every `hv-*` flag under QEMU does the same work twice in one boot of a host of one CPU,"
	print "on stock KVM and with the module. Counted is what the host executes, the guest and QEMU included, without the time it"
	print "is halted; what the guest itself executes is counted apart (`own`, by `selftests/rig/meter/`). `less` is the one without"
	print "the other: KVM, QEMU and the host's kernel. `exits` are all of them, on stock and with the module; `ours` are MSR exits"
	print "and calls, on stock; `floor` is what would be left of `less` if each of those cost the bare world switch, and on amd,"
	print "which does not tell where the next instruction is, a look at the instruction."
	print "`guest-run.rst` says how it is counted."
	print ""
	print "The mark is 0.8, or the floor. Idleness is not an amount of work: what a guest wakes up for in its minute differs from boot"
	print "to boot, and its exits with it. Nor are the timers quite: ticks of both CPUs that fall together cost one wake-up, and by"
	print "how many do so the totals of two boots differ by a tenth; divide by `ours`, which counts them on stock, or by the exits."
	print ""
	for (i = 1; i <= nr_works; i++)
		print "* " works[i] ": " says[works[i]]
	print ""
	print "![host instructions of a whole guest, module against stock](benchmark-guest.svg)"
	print ""
	guest_table("|", "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
}

function readme(    i, j, k) {
	print "Host instructions for the same work of a Linux guest of two CPUs under QEMU, module against stock KVM in one boot of the"
	print "host: without the guest's own instructions, and with them. `make bench` counts them; `Documentation/benchmark.md` has"
	print "the numbers behind."
	print ""
	print "![host instructions of a whole guest, module against stock](Documentation/benchmark-guest.svg)"
	print ""
	printf "| work |"
	for (j = 1; j <= nr_guest_hosts; j++)
		printf " %s | with the guest |", guest_hosts[j]
	printf "\n|---|"
	for (j = 1; j <= nr_guest_hosts; j++)
		printf "--:|--:|"
	printf "\n"
	for (i = 1; i <= nr_works; i++) {
		k = works[i]
		printf "| %s |", says[k]
		for (j = 1; j <= nr_guest_hosts; j++)
			printf " %.2f | %.2f |", ratio(guest_hosts[j], k), total_ratio(guest_hosts[j], k)
		printf "\n"
	}
}

# One bar a work and host: module against stock, without the guest's own; stock is 1.
function guest_plot(    i, j, h, k, x, y, unit, top, height) {
	top = 56
	unit = 420
	height = 13 * nr_guest_hosts + 10
	x = 90
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"" (top + nr_works * height + 24) "\" font-family=\"sans-serif\">"
	print "<!-- SPDX-License-Identifier: GPL-2.0-only; written by make bench -->"
	print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
	text(10, 20, 14, "start", "Host instructions of a whole guest, less its own: module against stock KVM (1.0)")
	for (j = 1; j <= nr_guest_hosts; j++) {
		printf "<rect x=\"%d\" y=\"30\" width=\"12\" height=\"10\" fill=\"%s\"/>\n", x + (j - 1) * 130, guest_color(j)
		text(x + (j - 1) * 130 + 18, 39, 11, "start", guest_hosts[j])
	}
	for (i = 1; i <= nr_works; i++) {
		k = works[i]
		y = top + (i - 1) * height
		text(x - 8, y + height / 2, 12, "end", k)
		for (j = 1; j <= nr_guest_hosts; j++) {
			h = guest_hosts[j]
			printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"11\" fill=\"%s\"/>\n", x, y + (j - 1) * 13, ratio(h, k) * unit, guest_color(j)
			text(x + ratio(h, k) * unit + 5, y + (j - 1) * 13 + 10, 10, "start", sprintf("%.2f", ratio(h, k)))
		}
	}
	printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#999\"/>\n", x + unit, x + unit, top - 6, top + nr_works * height
	text(x + unit, top + nr_works * height + 14, 10, "middle", "stock")
	print "</svg>"
}

function guest_color(j) { return j == 1 ? "#2166ac" : j == 2 ? "#67a9cf" : j == 3 ? "#1b7837" : "#7fbf7b" }

# What skipping the instruction takes on a CPU that does not tell where the next one is.
function no_nrips(h) { return h ~ /^amd-icount/ }
function stock_skip(h) { return no_nrips(h) ? skip[h] : 0 }
function fast_skip(h) { return no_nrips(h) ? look[h] : 0 }

function percent(h, r) {
	return int((fast[h, r] - fast_skip(h)) * 100 / (stock[h, r] - stock_skip(h)) + 0.5)
}

function table(bar, line,    i, j, h, r, s) {
	for (j = 1; j <= nr_hosts; j++) {
		h = hosts[j]
		printf "%s\n", heading(h " (" release[h] ")")
		printf "%s", measured_on("EXITS_MEASURED", h)
		printf "bare world switch %d, KVM's skip %d, look at the instruction %d, x2APIC ICR in KVM's own fast path %d\n\n", bare[h], skip[h], look[h], x2apic[h]
		printf bar "%-32s" bar "%8s" bar "%9s" bar "%8s" bar "%8s" bar "%6s" bar "\n", "exit", "stock", "not ours", "slow", "fast", "%"
		printf line
		for (i = 1; i <= nr_rows; i++) {
			r = rows[i]
			if (kind[r] == "foreign" || kind[r] == "slow")
				s = "-"
			else
				s = percent(h, r)
			printf bar "%-32s" bar "%8d" bar "%9d" bar "%8d" bar "%8d" bar "%6s" bar "\n", r, stock[h, r], not_ours[h, r], slow[h, r], fast[h, r], s
		}
		printf "\n"
	}
}

function scale(bar, line,    i, j, h, k) {
	for (j = 1; j <= nr_hosts; j++) {
		h = hosts[j]
		if (!(h in scaled))
			continue
		printf "%s\n", heading(h ": by targets and vCPUs of the VM")
		printf bar "%-36s" bar "%8s" bar "%6s" bar "%8s" bar "%8s" bar "\n", "call", "targets", "vCPUs", "stock", "module"
		printf line
		for (i = 1; i <= nr_scales; i++) {
			split(scales[i], k, SUBSEP)
			if ((h, k[1], k[2], k[3]) in is)
				printf bar "%-36s" bar "%8d" bar "%6d" bar "%8d" bar "%8d" bar "\n", k[1], k[2], k[3], was[h, k[1], k[2], k[3]], is[h, k[1], k[2], k[3]]
		}
		printf "\n"
	}
}

# Exits of L2 to L1 and back, and direct flushes.
function nested_table(bar, line,    i, j, h, r) {
	for (j = 1; j <= nr_hosts; j++) {
		h = hosts[j]
		if (!((h, nested_rows[1]) in l2_was))
			continue
		printf "%s\n", heading(h ": exits of L2 to L1 and back, and direct flushes")
		printf bar "%-22s" bar "%8s" bar "%8s" bar "%6s" bar "%6s" bar "\n", "L2", "stock", "module", "more", "ratio"
		printf line
		for (i = 1; i <= nr_nested_rows; i++) {
			r = nested_rows[i]
			printf bar "%-22s" bar "%8d" bar "%8d" bar "%6d" bar "%6.3f" bar "\n", r, l2_was[h, r], l2_is[h, r], l2_is[h, r] - l2_was[h, r], l2_is[h, r] / l2_was[h, r]
		}
		printf "\n"
	}
}

function heading(words) { return out == "md" ? "## " words "\n" : "== " words }

function document() {
	print "<!-- SPDX-License-Identifier: GPL-2.0-only -->"
	print "# Host instructions"
	print ""
	print "Written by `make bench` from benchmark.data."
	print ""
	if (nr_works)
		guest_document()
	if (!nr_hosts)
		return
	print "## Single exits"
	print ""
	print "One boot of each host measures stock KVM, a VM that KVM keeps, an owned VM without"
	print "and with the exit fast path, by the guest's own time stamp counter, which counts instructions there: median of"
	print "1000 single exits, 101 for the sweep by targets. `%` is fast against stock. The bare world switch is an exit"
	print "that is answered by doing nothing (`selftests/rig/floor/`); where a CPU does not tell where the next instruction"
	print "is, KVM asks its emulator (its skip) and this module looks at the instruction's bytes. `fastpath.rst` says what"
	print "the rows mean and which miss their mark, and why; `testing.rst` what the hosts are and which of them mitigate."
	print ""
	print "![stock and module, by exit](benchmark.svg)"
	print ""
	table("|", "|---|--:|--:|--:|--:|--:|\n")
	nested_table("|", "|---|--:|--:|--:|--:|\n")
	scale("|", "|---|--:|--:|--:|--:|\n")
}

function text(x, y, size, anchor, s) {
	printf "<text x=\"%d\" y=\"%d\" font-size=\"%d\" text-anchor=\"%s\">%s</text>\n", x, y, size, anchor, s
}

function bar_of(x, y, len, color) {
	printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"5\" fill=\"%s\"/>\n", x, y, len, color
}

# One panel a host: two bars a row, without the skip where there is no NRIPS; the bare world switch as a
# line.
function plot(    i, j, h, r, x, y, unit, top, whole) {
	top = 60
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" (220 + nr_hosts * 410) "\" height=\"" (top + nr_rows * 15 + 30) "\" font-family=\"sans-serif\">"
	print "<!-- SPDX-License-Identifier: GPL-2.0-only; written by make bench -->"
	print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
	text(10, 22, 15, "start", "Host instructions per exit: stock KVM (grey), kvm-hyperv (blue); line: bare world switch")
	unit = 0.095
	for (j = 1; j <= nr_hosts; j++) {
		h = hosts[j]
		x = 240 + (j - 1) * 410
		text(x, 46, 12, "start", h " " release[h] (no_nrips(h) ? ", without the skip" : ""))
		for (i = 1; i <= nr_rows; i++) {
			r = rows[i]
			y = top + (i - 1) * 15
			if (j == 1)
				text(x - 6, y + 9, 10, "end", r)
			# Exits of KVM's own are shown whole: not all of them skip.
			whole = kind[r] == "foreign"
			bar_of(x, y, (stock[h, r] - (whole ? 0 : stock_skip(h))) * unit, "#999")
			bar_of(x, y + 6, (fast[h, r] - (whole ? 0 : kind[r] == "slow" ? stock_skip(h) : fast_skip(h))) * unit, "#2166ac")
		}
		printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#b2182b\"/>\n", x + bare[h] * unit, x + bare[h] * unit, top - 6, top + nr_rows * 15
		for (i = 0; i <= 3000; i += 1000)
			text(x + i * unit, top + nr_rows * 15 + 14, 10, "middle", i)
	}
	print "</svg>"
}

END {
	if (out == "md")
		document()
	else if (out == "svg")
		plot()
	else if (out == "guest-svg")
		guest_plot()
	else if (out == "readme")
		readme()
	else {
		guest_table("  ", "")
		table("  ", "")
		nested_table("  ", "")
		scale("  ", "")
	}
}
