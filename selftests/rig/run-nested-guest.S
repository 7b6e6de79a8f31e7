/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest of run-nested.c: 32-bit code without paging that does not mind where it lies. EAX of
 * a write to PORT_DONE is the result of a piece of it.
 */
#define PORT_DONE	0xe0
#define PORT_TICK	0xe1
#define WINDOW		0x100000
#define SHARED		0x2000	/* struct shared: mapped, seen, stop, looks, input */
#define FAST		0x10000
#define FLUSH_ALL	3

	.section .rodata
	.code32
	.globl	code_begin, exits, look, flush_intel, flush_amd, code_end
code_begin:

/* EDI rounds of CPUID and a port write. Result: the sum of EBX of all CPUIDs. */
exits:
	xor	%esi, %esi
1:	xor	%eax, %eax
	cpuid
	add	%ebx, %esi
	out	%eax, $PORT_TICK
	dec	%edi
	jnz	1b
	mov	%esi, %eax
	out	%eax, $PORT_DONE
	hlt

/*
 * Read the window until told to stop. Result: 0, or 1 when it shows a version that had been
 * replaced before.
 */
look:
	mov	$SHARED, %ebx
1:	mov	(%ebx), %eax
	mov	WINDOW, %ecx
	cmp	%eax, %ecx
	jb	2f
	mov	%ecx, 4(%ebx)
	incl	12(%ebx)
	cmpl	$0, 8(%ebx)
	je	1b
	xor	%eax, %eax
	out	%eax, $PORT_DONE
2:	mov	$1, %eax
	out	%eax, $PORT_DONE
	hlt

/*
 * The call in EDX:EAX, EDI times, fast with address space 0 and the flags, else with the input in
 * memory. Result: the reps done by the last, or bit 31 and the first status that is not success.
 */
	.macro	flush name, insn
\name:
	mov	%edi, %ebp
	mov	%eax, %esi
1:	push	%esi
	push	%edx
	mov	%esi, %eax
	xor	%ebx, %ebx
	xor	%edi, %edi
	mov	$FLUSH_ALL, %esi
	xor	%ecx, %ecx
	test	$FAST, %eax
	jnz	2f
	mov	$SHARED + 16, %ecx
	xor	%esi, %esi
2:	\insn
	mov	%edx, %ecx
	pop	%edx
	pop	%esi
	test	%eax, %eax
	jnz	3f
	dec	%ebp
	jnz	1b
	mov	%ecx, %eax
	out	%eax, $PORT_DONE
3:	or	$0x80000000, %eax
	out	%eax, $PORT_DONE
	hlt
	.endm

	flush	flush_intel, vmcall
	flush	flush_amd, vmmcall
code_end:
	.code64

	.section .note.GNU-stack, "", @progbits
