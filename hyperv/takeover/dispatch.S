/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry point of all hooks: finds out whether a call concerns an owned VM. In assembly, because a
 * call that goes on to KVM must leave nothing on the stack that rmmod takes away, whatever
 * instrumentation the compiler is told to add. dispatch.awk proves this for every build.
 *
 * An ftrace site calls khv_dispatch ahead of its function's first instruction. Exactly one return
 * answers that call, so that the CPU's return stack stays in step: either to the site, where the
 * function goes on as if it had no hook, or into the replacement, which then returns to the
 * function's own caller.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/asm.h>
#include <asm/frame.h>
#include <asm/ibt.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>

#include "offsets.h"

/*
 * SYM_F_ALIGN adds the padding in which call depth tracking counts a call. Kernels without it have
 * SYM_A_ALIGN only.
 */
#ifndef SYM_F_ALIGN
#define SYM_F_ALIGN SYM_A_ALIGN
#endif

/* Mirrors to_khv_vm(): ZF is set unless the VM is owned. The shift drops bit 63. */
.macro owner kvm
	mov	KHV_KVM_OWNER(\kvm), %rax
	add	%rax, %rax
.endm

.macro take name
	movq	$khv_hook_\name, (%rsp)
	RET
.endm

.macro take_or_pass name ours passed
	jz	.Lpass_\name
.Ltake_\name:
	incq	PER_CPU_VAR(khv_hook_hits + \ours)
	take	\name
.Lpass_\name:
	incq	PER_CPU_VAR(khv_hook_hits + \passed)
	RET
.Lnext_\name:
.endm

/* Owner VCPU: the first argument is the vCPU. */
.macro hook_VCPU name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	mov	KHV_VCPU_KVM(%rdi), %rax
	owner	%rax
	take_or_pass \name \ours \passed
.endm

/* Owner KVM: the first argument is the VM. */
.macro hook_KVM name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	owner	%rdi
	take_or_pass \name \ours \passed
.endm

/* Owner KVM_2ND: the second argument is the VM. */
.macro hook_KVM_2ND name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	owner	%rsi
	take_or_pass \name \ours \passed
.endm

/*
 * Owner ANY: the VM has no owner yet. The replacement counts, and sleeps under khv_inflight only.
 */
.macro hook_ANY name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	take	\name
.Lnext_\name:
.endm

/*
 * Call khv_asks_<name>() with the function's arguments. It must not sleep: see
 * khv_takeover_drain().
 */
.macro ask name
	FRAME_BEGIN
	push	%rdi
	push	%rsi
	push	%rdx
	call	khv_asks_\name
	pop	%rdx
	pop	%rsi
	pop	%rdi
	FRAME_END
	test	%al, %al
.endm

.macro hook_ASK name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	ask	\name
	take_or_pass \name \ours \passed
.endm

/*
 * Owner RUNNING: the vCPU is not an argument. Inside KVM_RUN of an owned VM it is khv_running; in
 * another ioctl khv_asks_<name>() finds it.
 */
.macro hook_RUNNING name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	mov	PER_CPU_VAR(khv_running), %rax
	test	%rax, %rax
	jnz	.Ltake_\name
	ask	\name
	take_or_pass \name \ours \passed
.endm

#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	hook_##_owner _name KHV_OURS_##_name KHV_PASSED_##_name

	.text
	/* Since 6.19 the lowest bit of a direct function's address makes a site jump, not call. */
	.balign	16
/*
 * RAX is free on entry to a function without variable arguments. The hooks are compared in the
 * order of the list, which begins with the hot ones.
 */
SYM_START(khv_dispatch, SYM_L_GLOBAL, SYM_F_ALIGN)
	ENDBR	/* SYM_FUNC_START has one on some kernels only */
	mov	(%rsp), %rax
#include "compat/kvm_private.h"
	/*
	 * No hook has this return address: another user of the site sent the call here. Return to
	 * the site.
	 */
	RET
SYM_FUNC_END(khv_dispatch)
/* A return probe would replace the return address that tells which function was called. */
_ASM_NOKPROBE(khv_dispatch)

/*
 * Replacement of the vendor's vcpu_run() behind the static call kvm_x86_vcpu_run. Every VM-Exit
 * pays for each instruction here. A vCPU of another VM leaves by the jump to KVM.
 */
.macro vcpu_run vendor
SYM_START(khv_vcpu_run_\vendor, SYM_L_GLOBAL, SYM_F_ALIGN)
	ANNOTATE_NOENDBR	/* a static call is direct */
	cmp	%rdi, PER_CPU_VAR(khv_running)
	je	khv_hook_vcpu_run_\vendor
	jmp	__SCT__khv_call_vcpu_run
SYM_FUNC_END(khv_vcpu_run_\vendor)
_ASM_NOKPROBE(khv_vcpu_run_\vendor)
.endm

vcpu_run svm
vcpu_run vmx

/* objtool looks for a static call's key among the symbols of the object: refer to it. */
	.pushsection .discard.addressable, "aw"
	.quad	__SCK__khv_call_vcpu_run
	.popsection
