# SPDX-License-Identifier: GPL-2.0-only
#
# Walks every path through dispatch.o, as disassembled by objdump -hdr, and fails the build unless
#   - every path of khv_dispatch ends in exactly one return, with the stack as on entry: to the site
#     of the function that was called, or into that function's replacement, and into the latter only
#     after a test of the owner;
#   - khv_vcpu_run_* compares the vCPU with khv_running, and jumps to the replacement if they are
#     equal, to KVM if not;
#   - a path calls nothing but the function's own khv_asks_*(), computes no jump, finds the owner by
#     the first argument, and writes no register but RAX. The owner of a call of the function that
#     -v second= names may be found by the second argument;
#   - khv_dispatch starts at an even address: a site calls it, and ftrace takes an odd address for
#     one to jump to, since 6.19.
# So a call that goes on to KVM has no frame of the module on its stack, which rmmod relies on, and
# the CPU's return stack has an entry for each return.

function bad(text) {
	printf "dispatch.awk: %s+0x%s: %s: %s\n", fn, where[fn, at], line[fn, at], text
	failed = 1
}

# A section and its alignment, 2**n: an address in the object counts from the section's start.
/^ *[0-9]+ [^ ]+ .* 2\*\*[0-9]+$/ {
	aligned[$2] = substr($NF, 4) + 0
	next
}
/^Disassembly of section / {
	section = $NF
	sub(/:$/, "", section)
	next
}
/^[0-9a-f]+ <.*>:$/ {
	fn = $2
	gsub(/[<>:]/, "", fn)
	start[fn] = $1
	within[fn] = section
	next
}
# A relocation: the symbol of the instruction on the line before.
/R_X86_64_/ {
	name = $NF
	sub(/[-+]0x[0-9a-f]+$/, "", name)
	symbol[fn, count[fn]] = name
	next
}
/^ *[0-9a-f]+:/ {
	n = ++count[fn]
	at = $1
	sub(/:/, "", at)
	where[fn, n] = at
	number[fn, at] = n
	text = $0
	sub(/^ *[0-9a-f]+:[ \t]*/, "", text)
	sub(/[ \t]*#.*/, "", text)
	gsub(/[ \t]+/, " ", text)
	line[fn, n] = text
}

function visit(n, pushed, asked, hook) {
	todo[++nr_todo] = n
	todo_state[nr_todo] = "." pushed "|" asked "|" hook
}

# Return: the 64-bit name of an operand that is an argument register, or "".
function argument(operand) {
	sub(/^%/, "", operand)
	if (operand ~ /^([re]?di|dil)$/)
		return "rdi"
	if (operand ~ /^([re]?si|sil)$/)
		return "rsi"
	if (operand ~ /^([re]?dx|dl)$/)
		return "rdx"
	if (operand ~ /^([re]?cx|cl)$/)
		return "rcx"
	if (operand ~ /^r[89][dwb]?$/)
		return operand
	return ""
}

# Do the flags after this instruction tell whose call it is? An owner is found by the first
# argument, or by the vCPU of this CPU. The owner's word is added to itself, so that bit 63 and 0
# both count as "no owner"; its offset must be the same everywhere.
function asks(n, hook,    before) {
	if (line[fn, n] ~ /^test %al,%al$/)
		return symbol[fn, n - 4] ~ /^khv_asks_/ || symbol[fn, n - 5] ~ /^khv_asks_/
	if (line[fn, n] ~ /^test %rax,%rax$/)
		return symbol[fn, n - 1] == "khv_running"
	before = line[fn, n - 1]
	if (line[fn, n] !~ /^add %rax,%rax$/ || before !~ /^mov (0x[0-9a-f]+)?\(%r(di|si|ax)\),%rax$/)
		return 0
	if (before ~ /%rsi\)/ && hook != second)
		return 0
	if (before ~ /%rax\)/ && line[fn, n - 2] !~ /^mov (0x[0-9a-f]+)?\(%rdi\),%rax$/)
		return 0
	sub(/^mov /, "", before)
	sub(/\(.*/, "", before)
	if (!(owner_known++))
		owner = before
	return before == owner
}

# May this instruction, neither a jump, a call nor a push, stand here? It may compare, count, or
# write RAX, the return address or the frame pointer.
function harmless(op, args, last, sym) {
	if (op ~ /^(cmp|test|nop|endbr64|data16|cs)/ || args == "%ax,%ax")
		return 1
	if (op ~ /^inc/)
		return sym == "khv_hook_hits"
	return op ~ /^(mov|add)/ && last ~ /^(%[re]ax|\(%rsp\)|%rbp)$/
}

# khv_vcpu_run_* has three instructions.
function check_run(    n, want) {
	want[1] = "^cmp %rdi,%gs:"
	want[2] = "^je "
	want[3] = "^jmp "
	for (n = 1; n <= 3; n++) {
		at = n
		if (line[fn, n] !~ want[n])
			bad("is not what decides whose vCPU it is")
	}
	at = 1
	if (symbol[fn, 1] != "khv_running")
		bad("is not what decides whose vCPU it is")
}

# Walk all paths of one function. The state of a path: registers pushed and not popped, whether a
# test found an owner, and the function whose site it is.
function walk(    n, pushed, depth, asked, hook, into, word, op, args, sym, target, last, dispatch) {
	dispatch = fn == "khv_dispatch"
	nr_todo = 0
	visit(1, "", 0, "-")
	while (nr_todo) {
		n = todo[nr_todo]
		split(todo_state[nr_todo--], word, "|")
		pushed = substr(word[1], 2); asked = word[2]; hook = word[3]
		into = ""
		for (; ; n++) {
			at = n
			depth = gsub(/ /, " ", pushed)
			if (!((fn, n) in line)) {
				bad("runs off the end")
				break
			}
			if ((fn, n) in seen && seen[fn, n] != depth)
				bad("reached with " seen[fn, n] " and with " depth " words pushed")
			if ((fn, n, asked, hook) in seen)
				break
			seen[fn, n] = depth
			seen[fn, n, asked, hook] = 1
			op = args = line[fn, n]
			sub(/ .*/, "", op)
			sub(/^[^ ]* ?/, "", args)
			sym = (fn, n) in symbol ? symbol[fn, n] : ""

			if (op ~ /^ret/ || (op ~ /^jmp/ && sym == "__x86_return_thunk")) {
				if (!dispatch)
					bad("returns")
				if (depth)
					bad("returns with " depth " words pushed")
				if (into)
					taken[into]++
				break
			}
			if (op ~ /^(jmp|call)/ && args ~ /\*/) {
				bad("goes to a computed address")
				break
			}
			if (op ~ /^call/) {
				if (sym != "khv_asks_" hook)
					bad("calls " (sym ? sym : args))
				else if (pushed !~ /%rdi %rsi %rdx $/)
					bad("does not keep the arguments of " hook)
				continue
			}
			if (op ~ /^j/ && sym) {
				if (dispatch || sym !~ /^(khv_hook_vcpu_run_|__SCT__khv_call_vcpu_run$)/ || depth)
					bad("jumps to " sym)
				if (sym ~ /^khv_hook_/)
					taken[sym]++
				else
					left[fn]++
				if (op ~ /^jmp/)
					break
				continue
			}
			if (op ~ /^j/) {
				target = args
				sub(/ .*/, "", target)
				sub(/^0x/, "", target)
				if (!((fn, target) in number)) {
					bad("jumps out of the function")
					break
				}
				# The comparison with a site does not test the owner; an owner is
				# not 0.
				if (line[fn, n - 1] ~ /^cmp/) {
					if (op !~ /^jne/)
						bad("takes the site of another function")
					visit(number[fn, target], pushed, 0, hook)
				} else if (!asks(n - 1, hook)) {
					bad("decides by flags that nobody was asked for")
					break
				} else if (op ~ /^jn[ez]/) {
					visit(number[fn, target], pushed, 1, hook)
				} else {
					visit(number[fn, target], pushed, asked, hook)
					asked = 1
				}
				if (op ~ /^jmp/)
					break
				continue
			}
			if (op ~ /^push/) {
				pushed = pushed args " "
				continue
			}
			if (op ~ /^pop/) {
				if (!depth)
					bad("pops what it did not push")
				else if (substr(pushed, length(pushed) - length(args)) != args " ")
					bad("pops another register than it pushed")
				pushed = substr(pushed, 1, length(pushed) - length(args) - 1)
				continue
			}
			last = args
			sub(/.*[, ]/, "", last)
			if (op !~ /^(cmp|test|nop)/ && argument(last))
				bad("changes an argument")
			else if (!harmless(op, args, last, sym))
				bad("has no place here")
			if (op ~ /^cmp/ && sym ~ /^khv_return_/) {
				hook = sym
				sub(/^khv_return_/, "", hook)
				sites[hook]++
				asked = 0
				continue
			}
			if (op ~ /^mov/ && args ~ /^\$(0x)?0, ?\(%rsp\)$/ && sym ~ /^khv_hook_/) {
				into = sym
				if (depth || into != "khv_hook_" hook)
					bad("returns into " into " from the site of " hook)
				if (!asked && hook != "kvm_hv_init_vm")
					bad("takes a call without asking whose it is")
				continue
			}
			if (args ~ /%r?sp/ && args !~ /^(\(%rsp\), ?%rax|%rsp, ?%rbp)$/)
				bad("changes the stack")
		}
	}
}

END {
	split("khv_dispatch khv_vcpu_run_svm khv_vcpu_run_vmx", want, " ")
	for (i = 1; i in want; i++) {
		fn = want[i]
		at = 1
		if (!count[fn])
			bad("is not there")
		else
			walk()
		at = 1
		if (fn != "khv_dispatch")
			check_run()
		else if (start[fn] ~ /[13579bdf]$/ || !aligned[within[fn]])
			bad("may start at an odd address")
		if (fn != "khv_dispatch" && !left[fn])
			bad("never goes on to KVM")
	}
	for (hook in sites) {
		nr_sites++
		if (sites[hook] != 1 || taken["khv_hook_" hook] != 1) {
			printf "dispatch.awk: %s has %d sites and %d ways into the replacement\n", hook, \
			       sites[hook], taken["khv_hook_" hook]
			failed = 1
		}
	}
	if (nr_sites < 20 || !taken["khv_hook_vcpu_run_svm"] || !taken["khv_hook_vcpu_run_vmx"]) {
		printf "dispatch.awk: only %d functions are replaced\n", nr_sites
		failed = 1
	}
	exit failed
}
