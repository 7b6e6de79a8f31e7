/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where every replaced function comes to, and what decides whose it is. In assembly, because what
 * goes on to KVM must leave nothing behind that rmmod takes away, whatever the compiler is told to
 * instrument; dispatch.awk proves it of every build.
 *
 * An ftrace site calls khv_dispatch ahead of its function's first instruction. Whatever comes of
 * it, that call is answered by one return, so that the CPU's return stack stays in step: to the
 * site, where the function goes on as if nothing had been; or into the replacement, whose caller
 * then is the function's own.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/frame.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>

#include "offsets.h"

/* Mirrors to_khv_vm(): shifted, 0 and bit 63 are both 0. */
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

/* The first argument is the vCPU. */
.macro hook_VCPU name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	mov	KHV_VCPU_KVM(%rdi), %rax
	owner	%rax
	take_or_pass \name \ours \passed
.endm

/* The first argument is the VM. */
.macro hook_KVM name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	owner	%rdi
	take_or_pass \name \ours \passed
.endm

/* No VM yet that could be anybody's: the replacement counts, and does not sleep outside of SRCU. */
.macro hook_ANY name ours passed
	cmp	khv_return_\name(%rip), %rax
	jne	.Lnext_\name
	take	\name
.Lnext_\name:
.endm

/* khv_asks_<name>() is given the arguments. It must not sleep: see khv_takeover_drain(). */
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

/* The vCPU is no argument. Inside KVM_RUN one of ours is known; in an ioctl it is asked for. */
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
/*
 * RAX is free on entry to a function that has a fixed number of parameters. The list is in the
 * order of the hooks, so the hot ones are found first.
 */
SYM_FUNC_START(khv_dispatch)
	mov	(%rsp), %rax
#include "compat/kvm_private.h"
	/* Some other user of the site sent it here. */
	RET
SYM_FUNC_END(khv_dispatch)

/*
 * What stands in for the vendor's function behind the static call kvm_x86_vcpu_run. Each
 * instruction is paid at every exit. A vCPU that is not ours leaves by the jump.
 */
/* With the padding in which call depth tracking counts a call. */
#ifndef SYM_F_ALIGN
#define SYM_F_ALIGN SYM_A_ALIGN
#endif
.macro vcpu_run vendor
SYM_START(khv_vcpu_run_\vendor, SYM_L_GLOBAL, SYM_F_ALIGN)
	ANNOTATE_NOENDBR	/* a static call is direct */
	cmp	%rdi, PER_CPU_VAR(khv_running)
	je	khv_hook_vcpu_run_\vendor
	jmp	__SCT__khv_call_vcpu_run
SYM_FUNC_END(khv_vcpu_run_\vendor)
.endm

vcpu_run svm
vcpu_run vmx

/* objtool looks for the key of a static call among the symbols of the object. */
	.pushsection .discard.addressable, "aw"
	.quad	__SCK__khv_call_vcpu_run
	.popsection
