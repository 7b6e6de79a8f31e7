# SPDX-License-Identifier: GPL-2.0-only
#
# Judges one boot of a host. Input: the plan (what had to run and what must come out), then the
# results channel. Prints the host's table, what stock is known to get wrong, and every failure with
# its last lines; writes the totals "passed failed skipped", the skips and the failures to files. It
# runs nothing.
#
# awk -v host= -v title= -v died= -v counts= -v skips= -v failures= -f report.awk plan results
# Plan: PHASE <tab> ID <tab> KIND <tab> EXPECTED <tab> COUNTED <tab> REASON

BEGIN { FS = "\t"; phase = "boot" }

function fail(what, text) {
	nr_failed++
	printf "%s: %s: %s\n", host, what, text >failures
	details = details sprintf("  FAIL %s: %s\n", what, text)
}

function skip(what, text) {
	nr_skipped++
	sub(/^[ -]+/, "", text)
	printf "%s: %s: %s\n", host, what, text >skips
}

# The last lines of a step's output, then what the kernel said.
function tail(key, n,    i, from) {
	from = nr_out[key] > n ? nr_out[key] - n : 0
	for (i = from + 1; i <= nr_out[key]; i++)
		details = details sprintf("      | %s\n", out[key, i])
	from = nr_log[key] > 40 ? 40 : nr_log[key]
	for (i = 1; i <= from; i++)
		details = details sprintf("      kernel: %s\n", klog[key, i])
}

FNR == NR && $3 == "known" {
	known[++nr_known] = $4
	known_why[nr_known] = $6
	next
}
FNR == NR && $3 == "retry" {
	retry_why[$2] = $6
	next
}
FNR == NR {
	key = $1 SUBSEP $2
	plan[++nr_plan] = key
	plan_phase[nr_plan] = $1
	plan_id[nr_plan] = $2
	plan_id_of[key] = $2
	kind[key] = $3
	expected[key] = $4
	counted[key] = $5
	reason[key] = $6
	next
}

/^@ phase / { phase = substr($0, 9); next }
/^@ begin / { begun = 1; next }
/^@ end$/ { ended = 1; next }
/^@ note / { details = details sprintf("  note: %s\n", substr($0, 8)); next }
/^@ start / { current = phase SUBSEP substr($0, 9); running = substr($0, 9); next }
/^@ kernel / {
	text = substr($0, 10)
	for (i = 1; i <= nr_known; i++) {
		if (index(text, known[i])) {
			details = details sprintf("  known: %s (%s)\n", text, known_why[i])
			next
		}
	}
	if (!(current in complaint))
		complaint[current] = text
	next
}
/^@ retry / {
	split($0, word, " ")
	nr_retried++
	again = phase SUBSEP word[3]
	details = details sprintf("  retried: %s %s: %s (%s)\n", phase, word[3], word[4], retry_why[word[3]])
	# What it printed belongs to the failure that was foreseen.
	nr_out[again] = 0
	next
}
/^@ done / {
	split($0, word, " ")
	outcome[phase SUBSEP word[3]] = word[4]
	millis[phase SUBSEP word[3]] = word[5]
	running = ""
	next
}
/^\| / { out[current, ++nr_out[current]] = substr($0, 3); next }
/^\|$/ { out[current, ++nr_out[current]] = ""; next }
/^k / { klog[current, ++nr_log[current]] = substr($0, 3); next }
{ stray++ }

# The failed cases of a KTAP program, each with the comments above it.
function failed_cases(key,    i, j, n) {
	for (i = 1; i <= nr_out[key]; i++) {
		if (out[key, i] !~ /^ *not ok/)
			continue
		for (j = i; j > 1 && i - j < 12 && out[key, j - 1] ~ /^ *#/; j--)
			;
		for (; j <= i; j++) {
			if (++n > 60)
				return
			details = details sprintf("      | %s\n", out[key, j])
		}
	}
	if (!n)
		tail(key, 20)
	else
		tail(key, 0)
}

# A case of an own program. On stock, its line names the defect when the case declares one.
function note_case(key, line,    name, defect, got) {
	name = line
	sub(/^(not )?ok [0-9]+ *-? */, "", name)
	sub(/ *#.*/, "", name)
	got = line ~ /^not ok/ || line ~ /# XFAIL/ ? "fail" : line ~ /# SKIP/ ? "skip" : "pass"
	if (line ~ / but passed$/)
		got = "pass"
	else if (line ~ /, but not like this$/)
		got = "fail otherwise"
	came_of[key, name] = got
	defect = line
	if (!sub(/.*# XFAIL /, "", defect) && !sub(/.*# expected to fail on stock \(/, "", defect))
		return
	sub(/[ )].*/, "", defect)
	declared[++nr_declared] = name
	declared_key[nr_declared] = key
	declared_defect[nr_declared] = defect
}

# What stock is known to get wrong and what came of it in this boot: cases by defect, program and
# outcome; by name, too, where the outcome is not "fail on stock, pass with the module".
function known_section(    i, j, n, got, key, module, name, word, group, groups, nr, names) {
	for (i = 1; i <= nr_declared; i++) {
		key = declared_key[i]
		name = declared[i]
		split(key, word, SUBSEP)
		module = "module" SUBSEP word[2]
		got = came_of[key, name] " on stock"
		if (module in outcome)
			got = got ", " ((module, name) in came_of ? came_of[module, name] : "missing") \
			      " with the module"
		# A program that is repeated in one boot has a number behind its name.
		sub(/#.*/, "", word[2])
		# Zeros, so that K2 comes before K10.
		group = sprintf("%s%04d\t%-4s %s\t%s", substr(declared_defect[i], 1, 1),
				substr(declared_defect[i], 2), declared_defect[i], word[2], got)
		if (!(group in nr)) {
			for (j = ++n; j > 1 && groups[j - 1] > group; j--)
				groups[j] = groups[j - 1]
			groups[j] = group
		}
		nr[group]++
		names[group] = names[group] " " name
	}
	if (n)
		printf "  known to fail on stock, by defect:\n"
	for (i = 1; i <= n; i++) {
		group = groups[i]
		split(group, word, "\t")
		got = word[3] == "fail on stock, pass with the module" || word[3] == "fail on stock"
		printf "    %s: %d %s: %s%s\n", word[2], nr[group], nr[group] == 1 ? "case" : "cases",
		       word[3], got ? "" : ":" names[group]
	}
}

# KTAP of one program: counts leaf cases. A result line that follows deeper ones sums them up.
function ktap(key, what,    i, line, depth, last_depth, name, p, s, f, x, plans, seen, why, exit_ok) {
	p = s = f = x = 0
	plans = -1
	seen = 0
	last_depth = -1
	for (i = 1; i <= nr_out[key]; i++) {
		line = out[key, i]
		match(line, /^ */)
		depth = RLENGTH
		line = substr(line, depth + 1)
		if (line ~ /^1\.\.0/ && line ~ /SKIP/) {
			why = line
			sub(/.*SKIP/, "", why)
			skip(what, why)
			s++
			continue
		}
		if (line ~ /^1\.\.[0-9]+/ && depth == 0 && kind[key] != "kunit")
			plans = substr(line, 4) + 0
		if (line !~ /^(not )?ok [0-9]+/)
			continue
		if (depth == 0)
			seen++
		if (depth < last_depth) {
			# A summary; only a failure without a failed case below it is news.
			last_depth = depth
			if (line ~ /^not ok/ && !f) {
				f++
				fail(what, line)
			}
			continue
		}
		last_depth = depth
		name = line
		sub(/^(not )?ok [0-9]+ *-? */, "", name)
		if (kind[key] == "own")
			note_case(key, line)
		if (line ~ /^not ok/) {
			f++
			fail(what, name)
		} else if (name ~ /# SKIP/) {
			s++
			why = name
			sub(/.*# SKIP/, "", why)
			sub(/ *# SKIP.*/, "", name)
			skip(what " " name, why)
		} else {
			p++
			if (name ~ /# XFAIL/)
				x++
		}
	}
	nr_passed += p
	if (plans >= 0 && seen != plans && !(plans == 0 && s)) {
		f++
		fail(what, "planned " plans " cases, reported " seen)
	}
	exit_ok = outcome[key] == "exit:0" || outcome[key] == "exit:4"
	if (!exit_ok && (!f || outcome[key] !~ /^exit/)) {
		f++
		fail(what, outcome[key])
	}
	if (p + s + f == 0) {
		f++
		fail(what, "reported no case at all")
	}
	# A case may find that a host has not what it needs, but a program that never runs has no row.
	if (kind[key] == "own" && expected[key] == "pass" && s && p + f == 0) {
		f++
		fail(what, "skips all its cases, and the list says pass")
	}
	if (f)
		failed_cases(key)
	return (f ? f " FAILED of " p + f : p " pass") (x ? ", " x " xfail" : "") (s ? ", " s " skip" : "")
}

# A row of the module that a test's own list does not have is tested against itself alone. A prototype
# may; this tree's rows are also stated beside the module, so that a wrong one fails. Return: such lines.
function unlisted(key, what,    i, n, line) {
	if (plan_id_of[key] ~ /^prototype_test(#|$)/)
		return 0
	for (i = 1; i <= nr_out[key]; i++) {
		if (out[key, i] !~ /not in the list: taken from the module/)
			continue
		n++
		line = out[key, i]
		sub(/^[ #]*/, "", line)
		fail(what, line ": add the row to the list of that test")
	}
	return n
}

# A program that counts as one: its exit status against the plan.
function whole(key, what,    got, why, i, line) {
	got = outcome[key] == "exit:0" ? "pass" : outcome[key] == "exit:4" ? "skip" : "fail"
	for (i = 1; i <= nr_out[key]; i++) {
		line = out[key, i]
		if (line ~ /SKIP/ || line ~ /^# (.*)skip/) {
			why = line
			sub(/.*SKIP/, "", why)
		}
	}
	if (got != expected[key]) {
		if (got == "pass")
			fail(what, "passes, but the list says " expected[key])
		else
			fail(what, outcome[key] (why ? " (" why ")" : "") ", the list says " expected[key])
		tail(key, 15)
		return "FAIL " outcome[key]
	}
	if (counted[key] == "yes") {
		if (got == "pass")
			nr_passed++
		else
			skip(what, got == "skip" && why ? why : "known to " got ": " reason[key])
	}
	return got
}

END {
	nr_passed = nr_failed = nr_skipped = 0
	for (i = 1; i <= nr_plan; i++) {
		key = plan[i]
		what = plan_phase[i] " " plan_id[i]
		if (!(key in outcome)) {
			text = "FAIL not finished"
			fail(what, running == plan_id[i] && phase == plan_phase[i] ? \
			     "was running when the log ended" : "did not run")
			tail(key, 15)
		} else if (kind[key] == "own" || kind[key] == "kunit") {
			text = ktap(key, what)
			if (n = unlisted(key, what))
				text = text ", " n " FAILED of rows not listed"
		} else if (kind[key] ~ /^upstream/) {
			text = whole(key, what)
		} else if (outcome[key] == "ok") {
			text = "ok"
			nr_passed++
		} else {
			text = outcome[key]
			gsub(/_/, " ", text)
			sub(/^error:/, "", text)
			fail(what, text)
			tail(key, 25)
			text = "FAIL"
		}
		if ((key in complaint)) {
			fail(what, "the kernel complained: " complaint[key])
			tail(key, 5)
			text = text ", kernel log"
		}
		delete complaint[key]
		cell[key] = text
		if (!(plan_id[i] in row)) {
			row[plan_id[i]] = ++nr_rows
			row_id[nr_rows] = plan_id[i]
		}
		if (plan_phase[i] != "stock" && plan_phase[i] != "module")
			other[plan_id[i]] = plan_phase[i] ": " text
		time[plan_id[i]] += millis[key]
	}
	# Complaints outside any planned step: at boot, while KVM loads.
	for (key in complaint) {
		split(key, word, SUBSEP)
		fail(word[1] " " word[2], "the kernel complained: " complaint[key])
		tail(key, 5)
	}
	for (key in outcome) {
		split(key, word, SUBSEP)
		if ((word[2] == "load" || word[2] == "boot" || word[2] == "steps") && outcome[key] != "ok") {
			text = outcome[key]
			gsub(/_/, " ", text)
			fail(word[2], text)
			tail(key, 25)
		}
	}
	if (!begun)
		fail("boot", "nothing came over the results channel")
	else if (!ended)
		fail("boot", "the results are cut off: a hang, a panic or a reset")
	if (died != "")
		fail("boot", died)
	if (nr_plan == 0)
		fail("list", "no test is planned for this host")

	printf "%s\n", title
	printf "  %-34s %-22s %-22s %s\n", "test", "stock", "with the module", "seconds"
	for (i = 1; i <= nr_rows; i++) {
		id = row_id[i]
		if (id in other)
			printf "  %-34s %-45s %7.1f\n", id, other[id], time[id] / 1000
		else
			printf "  %-34s %-22s %-22s %7.1f\n", id, \
			       ("stock" SUBSEP id) in cell ? cell["stock" SUBSEP id] : "-", \
			       ("module" SUBSEP id) in cell ? cell["module" SUBSEP id] : "-", time[id] / 1000
	}
	known_section()
	printf "%s", details
	printf "  %s: %d passed, %d failed, %d skipped%s\n", host, nr_passed, nr_failed, nr_skipped, \
	       nr_retried ? ", " nr_retried " retried" : ""
	printf "%d %d %d\n", nr_passed, nr_failed, nr_skipped >counts
}
