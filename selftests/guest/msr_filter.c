// SPDX-License-Identifier: GPL-2.0-only
/* See msr_filter.h. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "msr_filter.h"

struct filter *new_filter(u32 flags)
{
	static struct filter filter;

	memset(&filter, 0, sizeof(filter));
	filter.f.flags = flags;
	return &filter;
}

u32 add_range(struct filter *f, u32 flags, u32 base, u32 nmsrs, bool allow)
{
	struct kvm_msr_filter_range *r = &f->f.ranges[f->nr];

	memset(f->bits[f->nr], allow ? 0xff : 0, sizeof(f->bits[0]));
	r->flags = flags;
	r->base = base;
	r->nmsrs = nmsrs;
	r->bitmap = f->bits[f->nr];
	return f->nr++;
}

void set_bit_of(struct filter *f, u32 range, u32 msr, bool allow)
{
	u32 n = msr - f->f.ranges[range].base;
	u8 bit = (u8)(1u << n % 8);

	ASSERT(n < f->f.ranges[range].nmsrs, "0x%x is not in range %u", msr, range);
	if (allow)
		f->bits[range][n / 8] |= bit;
	else
		f->bits[range][n / 8] &= (u8)~bit;
}

int __set_filter(struct vm *vm, const void *filter)
{
	return ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, filter) ? -errno : 0;
}

void set_filter(struct vm *vm, struct filter *f)
{
	ASSERT_EQ(__set_filter(vm, &f->f), 0);
}

bool allows(const struct filter *f, u32 msr, u32 access)
{
	u32 i;

	for (i = 0; i < f->nr; i++) {
		const struct kvm_msr_filter_range *r = &f->f.ranges[i];

		if (msr - r->base < r->nmsrs && (r->flags & access))
			return f->bits[i][(msr - r->base) / 8] >> (msr - r->base) % 8 & 1;
	}
	return !(f->f.flags & DENY);
}

struct filter *filter_of_one(u32 flags, u32 msr)
{
	struct filter *f = new_filter(ALLOW);

	add_range(f, flags, msr, 1, false);
	return f;
}

struct filter *qemus_filter(void)
{
	return filter_of_one(RD, CORE_COUNT);
}

void want_exits(struct vm *vm, u64 reasons)
{
	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, reasons), 0);
}

struct vm *vm_with_ops(struct ops_page **p, u32 max)
{
	struct vm *vm = synic_vm(1);

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, OS_ID);
	*p = vcpu_ops_init(vm->vcpus[0], max);
	return vm;
}

u32 vector_of(struct vcpu *v, struct ops_page *p, const struct access *a)
{
	return vcpu_op(v, p, access_op(a)).vector;
}

void asked(struct vcpu *v, struct ops_page *p, const struct access *a, u32 reason, bool refuse)
{
	u32 cmd, exit = a->write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;

	p->ops[0] = access_op(a);
	p->nr = 1;
	memset(&v->run->msr, 0xee, sizeof(v->run->msr));
	cmd = vcpu_run(v);
	ASSERT(cmd == RUN_EXIT(exit), "%s of 0x%x ended with 0x%x", a->write ? "write" : "read",
	       a->msr, cmd);
	ASSERT_EQ(v->run->msr.index, a->msr);
	ASSERT_EQ(v->run->msr.reason, reason);
	ASSERT_EQ(v->run->msr.error, 0);
	if (a->write)
		ASSERT_EQ(v->run->msr.data, a->val);
	v->run->msr.error = refuse;
	v->run->msr.data = ANSWER;
	ASSERT_EQ(vcpu_run(v), GUEST_SYNC_CMD);
	ASSERT_EQ(p->ops[0].vector, refuse ? GP_VECTOR : 0);
	if (!a->write && !refuse)
		ASSERT_EQ(p->ops[0].result, ANSWER);
}
