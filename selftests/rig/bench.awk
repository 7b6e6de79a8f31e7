# SPDX-License-Identifier: GPL-2.0-only
#
# From what exit_cost_test and target_cost_test print to a table for people (out=text), a document
# (out=md) or its plot (out=svg). Input, one a line: HOST and
#   RELEASE release
#   FLOOR bare N skip N look N x2apic N
#   ROW name kind stock not-ours slow fast
#   SCALE name targets vcpus stock module

$2 == "RELEASE" { release[$1] = $3 }
$2 == "FLOOR" { hosts[++nr_hosts] = $1; bare[$1] = $4; skip[$1] = $6; look[$1] = $8; x2apic[$1] = $10 }
$2 == "ROW" {
	if (!($3 in kind))
		rows[++nr_rows] = $3
	kind[$3] = $4
	stock[$1, $3] = $5; not_ours[$1, $3] = $6; slow[$1, $3] = $7; fast[$1, $3] = $8
}
$2 == "SCALE" {
	if (!(($3, $4, $5) in seen))
		scales[++nr_scales] = $3 SUBSEP $4 SUBSEP $5
	seen[$3, $4, $5] = 1
	was[$1, $3, $4, $5] = $6; is[$1, $3, $4, $5] = $7
}

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

function heading(text) { return out == "md" ? "## " text "\n" : "== " text }

function document() {
	print "<!-- SPDX-License-Identifier: GPL-2.0-only -->"
	print "# Host instructions per exit"
	print ""
	print "Written by `make bench`. One boot of each host measures stock KVM, a VM that is not ours, one of ours without"
	print "and with the exit fast path, by the guest's own time stamp counter, which counts instructions there: median of"
	print "1000 single exits, 101 for the sweep by targets. `%` is fast against stock. The bare world switch is an exit"
	print "that is answered by doing nothing (`selftests/rig/floor/`); where a CPU does not tell where the next instruction"
	print "is, KVM asks its emulator (its skip) and this module looks at the instruction's bytes. `fastpath.rst` says what"
	print "the rows mean and which miss their mark, and why; `testing.rst` what the hosts are and which of them mitigate."
	print ""
	print "![stock and module, by exit](benchmark.svg)"
	print ""
	table("|", "|---|--:|--:|--:|--:|--:|\n")
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
	else {
		table("  ", "")
		scale("  ", "")
	}
}
