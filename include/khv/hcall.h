/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A decoded hypercall. The calling convention and the form checks are pure (hyperv/core/decode.c);
 * gathering the input and completing the call need KVM (hyperv/takeover/hypercall.c). Handlers see
 * this struct only: they do not access registers, RIP or guest pages.
 */
#ifndef KHV_HCALL_H
#define KHV_HCALL_H

#include "khv/tables.h"

/**
 * struct khv_call_regs - the guest registers at a hypercall
 * @longmode: 64-bit calling convention
 * @ax: RAX
 * @bx: RBX
 * @cx: RCX
 * @dx: RDX
 * @si: RSI
 * @di: RDI
 * @r8: R8
 *
 * TLFS chapter "Hypercall Inputs": 64-bit uses RCX, RDX and R8, 32-bit uses
 * EDX:EAX, EBX:ECX and EDI:ESI.
 */
struct khv_call_regs {
	bool longmode;
	u64 ax, bx, cx, dx, si, di, r8;
};

/**
 * struct khv_hcall - a decoded hypercall and its gathered input
 * @control: the input value
 * @in: input GPA, or the first 8 bytes of fast input
 * @out: output GPA, or the second 8 bytes of fast input
 * @code: call code
 * @varhdr: size of the variable header in 8-byte units
 * @rep_count: number of reps, 0 for a simple call
 * @rep_start: index of the first rep to do, below @rep_count
 * @reps_done: set by a rep handler to the absolute index after the last rep done; 0 for a simple
 *	call and for one that is refused for its form. With KHV_EACH, set by the driver to the
 *	index of the element that the handler has to do
 * @fast: fast call: input in registers
 * @longmode: 64-bit calling convention
 * @atomic: called in the fast path: a handler that would have to sleep, wait or exit to user space
 *	returns KHV_STATUS_SLOW, and the slow path calls it again
 * @l2: made by a nested guest: the VPs it names are those of the nested guest's VM
 * @input_len: number of valid bytes in @input
 * @output_len: number of bytes of @output that the handler produced: what the row declares, or 0;
 *	with KHV_EACH, set by the driver
 * @input: input block; guest memory is read once only
 * @output: output block, given to the guest if the call succeeds; with KHV_EACH, that of the
 *	element
 */
struct khv_hcall {
	u64 control;
	u64 in;
	u64 out;
	u16 code;
	u16 varhdr;
	u16 rep_count;
	u16 rep_start;
	u16 reps_done;
	bool fast;
	bool longmode;
	bool atomic;
	bool l2;
	u32 input_len;
	u32 output_len;
	u8 input[KHV_INPUT_MAX_BYTES] __aligned(16);
	u8 output[KHV_OUTPUT_MAX_BYTES] __aligned(16);
};

/* Returned by a handler, instead of HV_STATUS_*, for a call that user space answers. */
#define KHV_STATUS_TO_USER 0xffff
/* Returned by a handler if the fast path cannot answer the call now; the slow path can. */
#define KHV_STATUS_SLOW	   0xfffe

/**
 * khv_hcall_decode() - split the registers of a hypercall into its fields
 * @hc: result; @hc->input and @hc->input_len are not written
 * @regs: registers of the guest at the VM-Exit
 *
 * Context: any, no lock.
 */
static inline void khv_hcall_decode(struct khv_hcall *hc, const struct khv_call_regs *regs)
{
	hc->longmode = regs->longmode;
	if (regs->longmode) {
		hc->control = regs->cx;
		hc->in = regs->dx;
		hc->out = regs->r8;
	} else {
		hc->control = regs->dx << 32 | (u32)regs->ax;
		hc->in = regs->bx << 32 | (u32)regs->cx;
		hc->out = regs->di << 32 | (u32)regs->si;
	}

	hc->code = hc->control & KHV_CTL_CODE;
	hc->fast = hc->control & KHV_CTL_FAST;
	hc->varhdr = (hc->control & KHV_CTL_VARHDR) >> 17;
	hc->rep_count = (hc->control & KHV_CTL_REP_COUNT) >> 32;
	hc->rep_start = (hc->control & KHV_CTL_REP_START) >> 48;
	hc->reps_done = 0;
	hc->output_len = 0;
}

/**
 * khv_hcall_check() - check reserved bits and form against the row
 * @hc: decoded call
 * @row: its row, or NULL for an unknown code
 *
 * Does not check privileges or the contents of the input block.
 *
 * Return: HV_STATUS_SUCCESS, HV_STATUS_INVALID_HYPERCALL_INPUT for a malformed
 * control word, HV_STATUS_INVALID_HYPERCALL_CODE for no row,
 * HV_STATUS_INVALID_ALIGNMENT for a misaligned or page-crossing block.
 * Context: any, no lock.
 */
u16 khv_hcall_check(const struct khv_hcall *hc, const struct khv_hc_row *row);

/**
 * khv_hcall_input_len() - number of input bytes that a call carries
 * @hc: decoded call
 * @row: its row
 *
 * Return: size of fixed header, variable header and all rep elements, in bytes. Context: any.
 */
static inline u32 khv_hcall_input_len(const struct khv_hcall *hc, const struct khv_hc_row *row)
{
	return row->hdr + hc->varhdr * sizeof(u64) + hc->rep_count * row->rep;
}

/**
 * khv_hcall_output_len() - number of bytes of output that a call has room for
 * @hc: decoded call
 * @row: its row
 *
 * Return: size of the output, with that of all rep elements, in bytes. Context: any.
 */
static inline u32 khv_hcall_output_len(const struct khv_hcall *hc, const struct khv_hc_row *row)
{
	return row->out + hc->rep_count * row->rep_out;
}

/**
 * khv_element() - find the element that the handler of a row with KHV_EACH has to do
 * @hc: decoded call
 * @list: the list of elements in its input
 * @size: bytes of an element
 *
 * Masked: where khv_hcall_check() is mispredicted, the element lies behind the input.
 *
 * Return: the element. Context: any.
 */
static inline const void *khv_element(const struct khv_hcall *hc, const void *list, size_t size)
{
	size_t at = (const u8 *)list - hc->input + hc->reps_done * size;

	return &hc->input[array_index_nospec(at, sizeof(hc->input))];
}

/**
 * khv_fast_output_at() - offset of the output of a fast call
 * @input_len: number of bytes of its input
 *
 * Output begins after the registers that the input takes, rounded up to pairs: TLFS "Hypercall
 * Outputs".
 *
 * Return: offset in bytes from RDX; 16 and above lie in XMM0 to XMM5. Context: any.
 */
static inline u32 khv_fast_output_at(u32 input_len)
{
	return (input_len + KHV_FAST_REGS_BYTES - 1) / KHV_FAST_REGS_BYTES * KHV_FAST_REGS_BYTES;
}

/**
 * khv_hcall_result() - compose the result value of a call
 * @hc: decoded call, with reps_done set by the handler
 * @status: HV_STATUS_*
 *
 * Return: value for RAX, or EDX:EAX in 32-bit mode. Context: any.
 */
static inline u64 khv_hcall_result(const struct khv_hcall *hc, u16 status)
{
	return status | (u64)hc->reps_done << KHV_RESULT_REPS_SHIFT;
}

#endif
