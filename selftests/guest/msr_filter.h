/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM_X86_SET_MSR_FILTER and KVM_CAP_X86_USER_SPACE_MSR: building filters, and single accesses
 * of a guest that is the interpreter of ops.h.
 */
#ifndef KHV_SELFTEST_MSR_FILTER_H
#define KHV_SELFTEST_MSR_FILTER_H

#include "ops.h"
#include "synic.h"

#define TRIES	   8 /* a single access may find that it has to wait */
#define OS_ID	   0x8100000000000001ULL
#define VEC	   0x61
#define TEST_SINT  2
#define NO_MSR	   0x4b564effu /* nobody's */
#define BAD_MSR	   0x40000050u /* within Hyper-V's range, and no register */
#define SPIN_FAST  (HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST)
#define CORE_COUNT 0x35u /* MSR_CORE_THREAD_COUNT, the one that QEMU filters */

#define RD    KVM_MSR_FILTER_READ
#define WR    KVM_MSR_FILTER_WRITE
#define RDWR  (RD | WR)
#define ALLOW KVM_MSR_FILTER_DEFAULT_ALLOW
#define DENY  KVM_MSR_FILTER_DEFAULT_DENY

#define FILTERED KVM_MSR_EXIT_REASON_FILTER
#define UNKNOWN	 KVM_MSR_EXIT_REASON_UNKNOWN
#define INVALID	 KVM_MSR_EXIT_REASON_INVAL
#define ALL_WHYS (FILTERED | UNKNOWN | INVALID)

struct filter {
	struct kvm_msr_filter f;
	u32 nr;
	u8 bits[KVM_MSR_FILTER_MAX_RANGES][KVM_MSR_FILTER_MAX_BITMAP_SIZE];
};

struct filter *new_filter(u32 flags);
/* Add a range, which allows or denies all of its registers. */
u32 add_range(struct filter *f, u32 flags, u32 base, u32 nmsrs, bool allow);
void set_bit_of(struct filter *f, u32 range, u32 msr, bool allow);
int __set_filter(struct vm *vm, const void *filter);
void set_filter(struct vm *vm, struct filter *f);
/* Does the filter allow it, as the documentation of KVM says? The first range that fits counts. */
bool allows(const struct filter *f, u32 msr, u32 access);
struct filter *filter_of_one(u32 flags, u32 msr);
/* QEMU from 7.2 on, in every VM. */
struct filter *qemus_filter(void);
void want_exits(struct vm *vm, u64 reasons);

struct access {
	u32 msr;
	bool write;
	u64 val;
};

#define R(msr)                \
	{                     \
		msr, false, 0 \
	}
#define W(msr, val)            \
	{                      \
		msr, true, val \
	}

static inline u32 access_flag(const struct access *a)
{
	return a->write ? WR : RD;
}

static inline struct guest_op access_op(const struct access *a)
{
	return a->write ? OP_WR(a->msr, a->val) : OP_RD(a->msr);
}

/* A VM with a SynIC whose one vCPU interprets up to @max operations. */
struct vm *vm_with_ops(struct ops_page **p, u32 max);
/* Let the guest make the access: the vector of the exception, 0 when there was none. */
u32 vector_of(struct vcpu *v, struct ops_page *p, const struct access *a);

#define ANSWER 0x123456789abcdef0ULL

/* Run to the exit that asks user space, check it, refuse the access or answer it by ANSWER. */
void asked(struct vcpu *v, struct ops_page *p, const struct access *a, u32 reason, bool refuse);

#endif
