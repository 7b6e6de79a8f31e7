/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gates of meter.c's second IDT, one for each vector: add the time since the CPU halted, load
 * the kernel's own IDT again, and go to where its gate points. Nothing of the interrupted state
 * changes but the flags, which the interrupt's frame holds.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>

	.text
	.balign 64
SYM_CODE_START(meter_gates)
	vector = 0
	.rept 256
	.balign 64
	UNWIND_HINT_UNDEFINED
	endbr64
	pushq	%rax
	pushq	%rdx
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	subq	meter_halted_at(%rip), %rax
	addq	%rax, meter_halted(%rip)
	incq	meter_wakes(%rip)
	lidt	meter_idt(%rip)
	popq	%rdx
	popq	%rax
	ANNOTATE_RETPOLINE_SAFE
	jmp	*meter_targets + 8 * vector(%rip)
	vector = vector + 1
	.endr
SYM_CODE_END(meter_gates)
