/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Handlers of the rows of msrs.def.h and hypercalls.def.h. Their prototypes come from the rows, so
 * a row without a handler does not link.
 */
#ifndef KHV_HANDLERS_H
#define KHV_HANDLERS_H

#include "khv/tables.h"

struct kvm_vcpu;
struct khv_hcall;
struct khv_msr_access;

/**
 * enum khv_msr_result - outcome of an MSR access
 * @KHV_MSR_OK: the access succeeded
 * @KHV_MSR_FAULT: #GP for a guest, "no such MSR" or "not set" for user space; nothing changed
 * @KHV_MSR_SLOW: the fast path cannot answer now; nothing changed, and the slow path calls the
 *	handler again
 */
enum khv_msr_result {
	KHV_MSR_OK,
	KHV_MSR_FAULT,
	KHV_MSR_SLOW,
};

/*
 * MSR handlers run in the vCPU's thread with vcpu->mutex held. They may sleep unless a->atomic is
 * set.
 */
typedef enum khv_msr_result (*khv_msr_fn)(struct khv_msr_access *a);

#define KHV_DECLARE_READER(_x) enum khv_msr_result khv_msr_##_x##_read(struct khv_msr_access *a);
#define KHV_DECLARE_WRITER(_x, _where, _member) \
	enum khv_msr_result khv_msr_##_x##_write(struct khv_msr_access *a);
#define KHV_DECLARE_HANDLERS(_x)                                           \
	enum khv_msr_result khv_msr_##_x##_read(struct khv_msr_access *a); \
	enum khv_msr_result khv_msr_##_x##_write(struct khv_msr_access *a);
#define KHV_DECLARE_STORED(_where)
#define KHV_DECLARE_STORED_ARRAY(_where, _n)

#define KHV_MSR(_name, _first, _access, ...) KHV_DECLARE_##_access
#include "khv/msrs.def.h"
#undef KHV_MSR

/*
 * A hypercall handler reads the input block hc->input and returns HV_STATUS_*, KHV_STATUS_TO_USER
 * or KHV_STATUS_SLOW. It may sleep unless hc->atomic is set.
 */
typedef u16 (*khv_hc_fn)(struct kvm_vcpu *vcpu, struct khv_hcall *hc);

#define KHV_HYPERCALL(_name, _code, _handler, ...) \
	u16 khv_hc_##_handler(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
#include "khv/hypercalls.def.h"
#undef KHV_HYPERCALL

/**
 * struct khv_msr_ops - handlers of an MSR row
 * @read: handles a read
 * @write: handles a write; NULL if a write by user space is accepted and ignored
 */
struct khv_msr_ops {
	khv_msr_fn read;
	khv_msr_fn write;
};

/* Handlers, indexed by row, from msrs.def.h and hypercalls.def.h. */
extern const struct khv_msr_ops khv_msr_ops[KHV_NR_MSR_ROWS];
extern const khv_hc_fn khv_hc_handlers[KHV_NR_HC_ROWS];

/**
 * khv_msr_register() - index of a register within its MSR row
 * @row: &enum khv_msr_id
 * @msr: a number of that row
 *
 * Return: the index, 0 for the first register. Context: any.
 */
static inline unsigned int khv_msr_register(int row, u32 msr)
{
	const struct khv_msr_row *r = &khv_msrs[row];

	return r->count == 1 ? 0 : (msr - r->first) / r->stride;
}

#endif
