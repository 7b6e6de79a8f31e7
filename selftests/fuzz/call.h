/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hypercall of a stream as the hypervisor sees it, and the status with which the module refuses
 * it: TLFS chapter "Hypercall Interface", and Documentation/divergences.rst by the id named here.
 */
#ifndef KHV_SELFTEST_FUZZ_CALL_H
#define KHV_SELFTEST_FUZZ_CALL_H

#include "fuzz.h"

#define FUZZ_STATUS(result)   ((u32)(u16)(result))
/* Of HvSignalEvent's input. */
#define FUZZ_SIGNAL_RESERVED  (0xffffULL << 48 | 0xffULL << 24)
#define FUZZ_SIGNAL_FLAG      (0xffffULL << 32)
/* Of the control word. */
#define FUZZ_CONTROL_RESERVED (0x1fULL << 27 | 0xfULL << 44 | 0xfULL << 60)

struct fuzz_call {
	u32 code, varhdr, reps, start, len;
	bool fast;
	u64 w[2 + FUZZ_INPUT_WORDS];
	const struct fuzz_row *row; /* NULL: not in the module's table */
};

/* Return: false if the operation is no call. */
bool fuzz_look_at_call(const struct fuzz_op *o, struct fuzz_call *c);
/* Does it pass XMM registers, whether its control word says so or not? */
bool fuzz_has_xmm(const struct fuzz_op *o);
bool fuzz_is_flush(u32 code);
bool fuzz_is_ipi(u32 code);
bool fuzz_is_gpa_flush(u32 code);
bool fuzz_is_readable(const struct fuzz_op *o, const struct fuzz_call *c);
/* L1 has the call, of the two that may answer it. */
bool fuzz_is_reflected(const struct fuzz_out *out);

/* HV_STATUS_SUCCESS: not refused for this. By form, whatever is in the input: D29. */
u32 fuzz_form_status(const struct fuzz_op *o, const struct fuzz_call *c);
/* By what is in the input, of calls of each kind; SUCCESS for others. */
u32 fuzz_message_status(const struct fuzz_call *c);
u32 fuzz_signal_status(const struct fuzz_call *c);
u32 fuzz_ipi_status(const struct fuzz_call *c);
u32 fuzz_flush_status(const struct fuzz_shadow *sh, const struct fuzz_call *c);
u32 fuzz_vp_set_status(const struct fuzz_call *c);
u32 fuzz_gpa_flush_status(const struct fuzz_call *c);

#endif
