# SPDX-License-Identifier: GPL-2.0-only
#
# make clangd: compile_commands.json from the .cmd files that Kbuild leaves beside each object, and
# from what make -n says of the selftests. Debian's headers have no gen_compile_commands.py.
# A build elsewhere (O=) is of a copy: the sources named are those of the tree. Options that clang
# does not know are left out.
#
# awk -v kdir=<folder that the kernel's make runs in> -v out=<O=> -v top=<tree> -f clangd.awk FILE...

function quoted(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/"/, "\\\"", text)
	return "\"" text "\""
}

function in_tree(text,    at, done) {
	while (out != top && (at = index(text, out "/"))) {
		done = done substr(text, 1, at - 1) top "/"
		text = substr(text, at + length(out) + 1)
	}
	return done text
}

# Options for clang, which knows other warnings and does not know some of gcc's options.
function options(command,    n, i, word, kept) {
	n = split(command, word, " ")
	for (i = 1; i <= n; i++) {
		if (word[i] !~ /^-(W|MMD|MP)/ && !(word[i] in gcc_only))
			kept = kept (i > 1 ? " " : "") word[i]
	}
	return kept
}

function entry_of(folder, command,    file, line) {
	file = command
	sub(/.* /, "", file)
	# What is gone has left its .cmd file.
	if (file !~ /\.c$/ || (getline line < file) < 0)
		return
	close(file)
	printf "%s  {\n    \"directory\": %s,\n    \"command\": %s,\n    \"file\": %s\n  }",
	       nr++ ? ",\n" : "[\n", quoted(folder), quoted(options(command)), quoted(file)
}

BEGIN {
	n = split("-mrecord-mcount -mindirect-branch-register -mindirect-branch=thunk-extern " \
		  "-mindirect-branch-cs-prefix -mfunction-return=thunk-extern -mskip-rax-setup " \
		  "-mpreferred-stack-boundary=3 -mharden-sls=all -fno-allow-store-data-races " \
		  "-fconserve-stack -falign-jumps=1 -falign-loops=1 -mno-fp-ret-in-387 " \
		  "-fzero-call-used-regs=used-gpr -ftrivial-auto-var-init=zero " \
		  "-fno-tree-loop-distribute-patterns -fno-toplevel-reorder", word, " ")
	for (i = 1; i <= n; i++)
		gcc_only[word[i]]
}

# 6.1 and 6.12 name the variable differently. What comes after the compiler is objtool.
/^(saved)?cmd_[^ ]*\.o := .* -c -o / {
	sub(/^[^ ]* := /, "")
	sub(/ *;.*/, "")
	sub(/ +$/, "")
	gsub(/\$\(pound\)/, "#")
	gsub(/\$\$/, "$")
	entry_of(kdir, in_tree($0))
	next
}

# The selftests.
/ -c -o / { entry_of(top, $0) }

END { print nr ? "\n]" : "[]" }
