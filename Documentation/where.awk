# SPDX-License-Identifier: GPL-2.0-only
#
# The table "Where" of msrs.rst and hypercalls.rst, which "make docs" appends: of each row its
# handlers, the file that has them, and up to three test programs that are most about it. A program
# is about a row as often as it names it, more so the fewer other rows it names.
#
# awk -v kind=MSR|HYPERCALL -f where.awk include/khv/*.def.h <sources of the module>
#	selftests/lib/uapi.h <headers and programs of selftests/>

function number(text) {
	sub(/u$/, "", text)
	return tolower(text)
}

# MSRs: HANDLERS(x), READER(x), STORED(where), STORED_ARRAY(where, n) or WRITER(x, where, member); calls: x.
function add_row(line,    part, access, member, more) {
	sub(/^[A-Z_]*\(/, "", line)
	if (line ~ /,$/ && split(line, part, ",") == 3 && (getline more) > 0)
		line = line more
	split(line, part, /, */)
	row[++nr_rows] = part[1]
	row_of_number[number(part[2])] = part[1]
	access = part[3]
	gsub(/[ \t]|\(.*/, "", access)
	# What is in the parentheses, without the access.
	sub(/^[ \t]*[A-Z_]+\(/, "", part[3])
	gsub(/[ )].*/, "", part[3])
	if (access ~ /^STORED/) {
		word_of[part[1]] = "stored." part[1]
		struct_of[part[1]] = structs[part[3]]
		return
	}
	ops[part[1]] = part[3]
	if (access == "WRITER") {
		gsub(/[()]/, "", part[5])
		word_of[part[1]] = part[5]
		struct_of[part[1]] = structs[part[4]]
	}
}

function base(path) {
	sub(/.*\//, "", path)
	return path
}

BEGIN {
	prefix = kind == "MSR" ? "HV_X64_MSR_" : "HVCALL_"
	structs["KVM"] = "struct kvm"
	structs["VM"] = "struct khv_vm"
	structs["VP"] = "struct khv_vcpu"
}

FNR == 1 {
	is_test = FILENAME ~ /\/selftests\//
	name = base(FILENAME)
	if (name ~ /_test\.c$/ && name !~ /_cost_/)
		tests[name]
}

$0 ~ "^KHV_" kind "\\([A-Z_]+," { add_row($0); next }

# A definition begins at the start of a line, with the type.
!is_test && /^[a-z].*[ *]khv_(msr|hc)_[a-z0-9_]+\(/ && !/;$/ {
	match($0, /khv_(msr|hc)_[a-z0-9_]+\(/)
	defined_in[substr($0, RSTART, RLENGTH - 1)] = FILENAME
}
!is_test { next }

/^#include "[a-z_]+\.h"/ {
	split($0, word, "\"")
	includes[name, word[2]]
}

# Names of a row: by its number, with the prefix of such names (CPUID leaves have the same numbers as
# MSRs), or by a name of it. What a program or a header defines is its own.
/^#define / {
	split($2, word, "(")
	alias = word[1]
	scope = name == "uapi.h" ? "" : name
	if (index(alias, prefix) == 1 && number($3) in row_of_number) {
		named[scope, alias] = row_of_number[number($3)]
		next
	}
	rest = substr($0, index($0, $2) + length($2))
	while (match(rest, /[A-Za-z_][A-Za-z0-9_]*/)) {
		word[1] = substr(rest, RSTART, RLENGTH)
		rest = substr(rest, RSTART + RLENGTH)
		if (("", word[1]) in named) {
			named[scope, alias] = named["", word[1]]
			break
		}
	}
	next
}

name == "uapi.h" { next }

{
	rest = $0
	while (match(rest, /[A-Z][A-Z0-9_]+/)) {
		word[1] = substr(rest, RSTART, RLENGTH)
		rest = substr(rest, RSTART + RLENGTH)
		uses[name, word[1]]++
		words[word[1]]
	}
}

# Headers come before programs; a program sees the names of those that it includes.
function count_all(    key, part, test, header, id) {
	for (key in uses) {
		split(key, part, SUBSEP)
		if (!(part[1] in tests))
			continue
		test = part[1]
		id = ""
		if (("", part[2]) in named)
			id = named["", part[2]]
		else if ((test, part[2]) in named)
			id = named[test, part[2]]
		else {
			for (header in headers) {
				if ((test, header) in includes && (header, part[2]) in named)
					id = named[header, part[2]]
			}
		}
		if (id != "") {
			count[test, id] += uses[key]
			total[test] += uses[key]
		}
	}
}

function best(id,    test, i, list, score, highest, found, n) {
	for (i = 1; i <= 3; i++) {
		highest = 0
		for (test in tests) {
			if (test in found || !count[test, id])
				continue
			score = count[test, id] * count[test, id] / total[test]
			# By name where they are the same, so that each run says the same.
			if (score > highest || score == highest && test < n) {
				highest = score
				n = test
			}
		}
		if (!highest)
			break
		found[n]
		list = list (i > 1 ? ", " : "") substr(n, 1, length(n) - 2)
	}
	return list == "" ? "-" : list
}

function handlers(id,    i, n, word, list, where) {
	list = word_of[id] ? "word " word_of[id] " of " struct_of[id] : ""
	where = list ? "hyperv/takeover/msr.c" : ""
	n = split(kind == "MSR" ? "msr_" ops[id] "_read msr_" ops[id] "_write" : "hc_" ops[id], word, " ")
	for (i = 1; i <= n; i++) {
		if (("khv_" word[i]) in defined_in) {
			list = list (list ? ", " : "") "khv_" word[i] "()"
			where = defined_in["khv_" word[i]]
		}
	}
	sub(/^.*\/hyperv\//, "hyperv/", where)
	file_of[id] = where ? where : "-"
	return list ? list : "-"
}

END {
	for (key in named) {
		split(key, part, SUBSEP)
		if (part[1] ~ /\.h$/)
			headers[part[1]]
	}
	count_all()
	cell[0, 1] = "row"; cell[0, 2] = "handlers"; cell[0, 3] = "in"; cell[0, 4] = "tests"
	for (i = 1; i <= nr_rows; i++) {
		cell[i, 1] = row[i]
		cell[i, 2] = handlers(row[i])
		cell[i, 3] = file_of[row[i]]
		cell[i, 4] = best(row[i])
	}
	for (j = 1; j <= 4; j++) {
		for (i = 0; i <= nr_rows; i++) {
			if (length(cell[i, j]) > width[j])
				width[j] = length(cell[i, j])
		}
		rule = rule (j > 1 ? "  " : "")
		for (i = 0; i < width[j]; i++)
			rule = rule "="
	}
	print rule
	for (i = 0; i <= nr_rows; i++) {
		line = ""
		for (j = 1; j <= 4; j++)
			line = line sprintf("%-" width[j] "s", cell[i, j]) (j < 4 ? "  " : "")
		sub(/ +$/, "", line)
		print line
		if (!i)
			print rule
	}
	print rule
}
