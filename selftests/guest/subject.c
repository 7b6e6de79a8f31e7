// SPDX-License-Identifier: GPL-2.0-only
/* See subject.h. */
#include "subject.h"

#define GPFN 0x12345000ULL

struct subject subject_new(void)
{
	struct subject s;

	s.vm = vm_create(2, 0);
	s.v = s.vm->vcpus[0];
	s.p = vcpu_ops_init(s.v, 1);
	s.call_page = gpa(vm_alloc(s.vm, PAGE_SIZE));
	return s;
}

struct guest_op subject_op(struct subject *s, struct guest_op o)
{
	return vcpu_op(s->v, s->p, o);
}

bool subject_is_stock(struct subject *s)
{
	u64 os_id = subject_op(s, OP_RD(HV_X64_MSR_GUEST_OS_ID)).result, old, val;

	old = subject_op(s, OP_RD(HV_X64_MSR_HYPERCALL)).result;
	subject_op(s, OP_WR(HV_X64_MSR_GUEST_OS_ID, 0));
	ASSERT_EQ(subject_op(s, OP_WR(HV_X64_MSR_HYPERCALL, GPFN)).vector, 0);
	val = subject_op(s, OP_RD(HV_X64_MSR_HYPERCALL)).result;
	subject_op(s, OP_WR(HV_X64_MSR_GUEST_OS_ID, os_id));
	subject_op(s, OP_WR(HV_X64_MSR_HYPERCALL, old));
	return val != GPFN;
}

void subject_works(struct subject *s)
{
	u64 page = s->call_page, t1, t2;

	ASSERT_EQ(subject_op(s, OP_WR(HV_X64_MSR_GUEST_OS_ID, SUBJECT_OS_ID)).vector, 0);
	ASSERT_EQ(subject_op(s, OP_RD(HV_X64_MSR_GUEST_OS_ID)).result, SUBJECT_OS_ID);
	ASSERT_EQ(subject_op(s, OP_WR(HV_X64_MSR_HYPERCALL, page | 1)).vector, 0);
	ASSERT_EQ(subject_op(s, OP_RD(HV_X64_MSR_HYPERCALL)).result, page | 1);
	ASSERT_EQ(subject_op(s, OP_RD(HV_X64_MSR_VP_INDEX)).result, s->v->id);
	ASSERT_EQ(subject_op(s, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0)).result, 0);
	ASSERT_EQ(subject_op(s, OP_HC(HVCALL_SEND_IPI | HV_CTL_FAST, 0x40, 2)).result, 0);
	ASSERT_EQ(subject_op(s, OP_HC(0x7777, 0, 0)).result, HV_STATUS_INVALID_HYPERCALL_CODE);
	t1 = subject_op(s, OP_RD(HV_X64_MSR_TIME_REF_COUNT)).result;
	t2 = subject_op(s, OP_RD(HV_X64_MSR_TIME_REF_COUNT)).result;
	ASSERT(t2 > t1, "reference time stands still");
	ASSERT_EQ(subject_op(s, OP_RD(0x40000004)).vector, GP_VECTOR);
	ASSERT_EQ(subject_op(s, OP_RD(HV_X64_MSR_RESET)).result, 0);
}
