/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Assembly of the bare guest: exception stubs, the way to CPL 3 and back, and
 * the little blobs for real mode and for 32-bit mode.
 */

	.text

	.globl guest_start
guest_start:
	call	*%rbx
	call	guest_done

/* 256 stubs of 16 bytes; the host builds the IDT from their addresses. */
	.balign 16
	.globl guest_idt_stubs
guest_idt_stubs:
	.set vec, 0
	.rept 256
	.balign 16
	/* No error code from the CPU: push one. */
	.set has_error, vec == 8 || (vec >= 10 && vec <= 14) || vec == 17 || vec == 21
	.if !(has_error || vec == 29 || vec == 30)
	push	$0
	.endif
	push	$vec
	.if vec == 0x80
	jmp	from_user
	.else
	jmp	common
	.endif
	.set vec, vec + 1
	.endr

common:
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	cld
	/* The hardware aligned the frame to 16; keep the ABI's alignment. */
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	guest_exception
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

/* u64 guest_call_user(u64 (*fn)(u64), u64 arg): selectors as in vm.c. */
	.globl guest_call_user
guest_call_user:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %gs:8
	mov	%gs:16, %rax
	mov	%rdi, %rbx
	mov	%rsi, %rdi
	push	$0x23
	push	%rax
	push	$0x2
	push	$0x1b
	push	$in_user
	iretq
in_user:
	call	*%rbx
	int	$0x80
	ud2
from_user:
	mov	%gs:8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/*
 * L1 enters L2 (nested.c). The general registers of L2 are the first of *n: RAX, RCX, RDX,
 * RBX, RBP, RSI, RDI, R8 to R15, then L1's RSP.
 */
	.macro	push_l1
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	.endm

	.macro	return_l1
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.endm

	/* All but RAX, from RDI; changes no flag. */
	.macro	load_l2
	mov	8(%rdi), %rcx
	mov	16(%rdi), %rdx
	mov	24(%rdi), %rbx
	mov	32(%rdi), %rbp
	mov	40(%rdi), %rsi
	mov	56(%rdi), %r8
	mov	64(%rdi), %r9
	mov	72(%rdi), %r10
	mov	80(%rdi), %r11
	mov	88(%rdi), %r12
	mov	96(%rdi), %r13
	mov	104(%rdi), %r14
	mov	112(%rdi), %r15
	mov	48(%rdi), %rdi
	.endm

	/* To RAX. */
	.macro	store_l2
	mov	%rcx, 8(%rax)
	mov	%rdx, 16(%rax)
	mov	%rbx, 24(%rax)
	mov	%rbp, 32(%rax)
	mov	%rsi, 40(%rax)
	mov	%rdi, 48(%rax)
	mov	%r8, 56(%rax)
	mov	%r9, 64(%rax)
	mov	%r10, 72(%rax)
	mov	%r11, 80(%rax)
	mov	%r12, 88(%rax)
	mov	%r13, 96(%rax)
	mov	%r14, 104(%rax)
	mov	%r15, 112(%rax)
	.endm

	/* The exception handler leaves the vector in R10. */
	.macro	faults_at insn
	.pushsection khv_guest_extable, "a"
	.quad	\insn, nested_fault
	.popsection
	.endm

/* u64 nested_vmrun(struct nested *n, u64 vmcb) */
	.globl	nested_vmrun
nested_vmrun:
	push_l1
	mov	%rsi, %rax
	load_l2
1:	vmrun	%rax
	faults_at 1b
	pop	%rax
	store_l2
	xor	%eax, %eax
	return_l1

/* u64 nested_vmenter(struct nested *n, u64 launched) */
	.globl	nested_vmenter
nested_vmenter:
	push_l1
	mov	%rsp, 120(%rdi)
	mov	(%rdi), %rax
	test	%rsi, %rsi
	load_l2
	jnz	2f
1:	vmlaunch
	faults_at 1b
	jmp	3f
2:	vmresume
	faults_at 2b
3:	mov	$0x100, %eax
	jc	4f
	mov	$0x200, %eax
4:	pop	%rdi
	return_l1
nested_fault:
	mov	%r10, %rax
	pop	%rdi
	return_l1

/* Where L2 exits to, with RSP at n->l1_rsp. */
	.globl	nested_vmexit
nested_vmexit:
	mov	(%rsp), %rsp
	push	%rax
	mov	8(%rsp), %rax
	store_l2
	pop	(%rax)
	pop	%rax
	xor	%eax, %eax
	return_l1

/* EAX to EDI from, and to, the struct regs32 at EBP. */
	.macro	load32
	mov	(%ebp), %eax
	mov	4(%ebp), %ebx
	mov	8(%ebp), %ecx
	mov	12(%ebp), %edx
	mov	16(%ebp), %esi
	mov	20(%ebp), %edi
	.endm

	.macro	store32
	mov	%eax, (%ebp)
	mov	%ebx, 4(%ebp)
	mov	%ecx, 8(%ebp)
	mov	%edx, 12(%ebp)
	mov	%esi, 16(%ebp)
	mov	%edi, 20(%ebp)
	.endm

/* u64 call32(struct regs32 *r), from 64-bit code below 4 GB: through 32-bit code, and back. */
	.macro	call32 name, insn
	.globl	\name
\name:
	push	%rbx
	push	%rbp
	mov	%rdi, %rbp
	/* The exception handler leaves the vector there, which 32-bit code does not change. */
	xor	%r10d, %r10d
	/* An interrupt at CPL 3 leaves none behind, which 64-bit code does not need. */
	mov	$0x10, %eax
	mov	%eax, %ss
	push	$0x28
	push	$1f
	lretq
	.code32
1:	load32
2:	\insn
3:	store32
	ljmp	$0x08, $4f
	.code64
4:	mov	%r10, %rax
	pop	%rbp
	pop	%rbx
	ret
	.pushsection khv_guest_extable, "a"
	.quad	2b, 3b
	.popsection
	.endm

	call32	guest_call32_vmcall, vmcall
	call32	guest_call32_vmmcall, vmmcall

/*
 * 32-bit code, flat segments: do the hypercall with the registers in the block at EBP, tell the
 * host.
 */
	.macro	mode32 name, insn
	.globl	\name
\name:
	load32
	\insn
	store32
	mov	$0x4b48, %edx
	mov	$1, %eax
	out	%eax, %dx
	ud2
	.endm

	.code32
	mode32	guest_mode32_vmcall, vmcall
	mode32	guest_mode32_vmmcall, vmmcall

/*
 * Real mode, copied to a page below 1 MB at offset 0 of CS. #UD's IVT entry
 * points to offset 64. The host reads AX: 0x100 = no exception, 0x106 = #UD.
 */
	.code16
	.balign 64
	.globl	guest_real_mode
guest_real_mode:
	cmp	$0, %bx
	jne	1f
	vmcall
	jmp	2f
1:	vmmcall
2:	mov	$0x100, %eax
	mov	$0x4b48, %dx
	out	%eax, %dx
	hlt
	.balign 64
guest_real_mode_ud:
	mov	$0x106, %eax
	mov	$0x4b48, %dx
	out	%eax, %dx
	hlt
	.balign 64
	.globl	guest_real_mode_end
guest_real_mode_end:
	.code64

	.section .note.GNU-stack, "", @progbits
