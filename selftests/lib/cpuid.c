// SPDX-License-Identifier: GPL-2.0-only
/* CPUID tables of vCPUs: see vm.h. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vm.h"

int __cpuid_hv(struct vcpu *v, struct cpuid_table *t, u32 nent)
{
	int fd = v ? v->fd : kvm_fd(), r;

	memset(t, 0, sizeof(*t));
	t->nent = nent;
	r = ioctl(fd, KVM_GET_SUPPORTED_HV_CPUID, t);
	return r < 0 ? -errno : r;
}

void cpuid_hv(struct vcpu *v, struct cpuid_table *t)
{
	int r = __cpuid_hv(v, t, MAX_CPUID);

	if (r)
		FAIL("KVM_GET_SUPPORTED_HV_CPUID: %s", strerror(-r));
}

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, u32 leaf, u32 index)
{
	u32 i;

	for (i = 0; i < t->nent; i++)
		if (t->entries[i].function == leaf && t->entries[i].index == index)
			return &t->entries[i];
	return NULL;
}

struct kvm_cpuid_entry2 *cpuid_get(struct cpuid_table *t, u32 leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, leaf, 0);

	if (!e)
		FAIL("no CPUID leaf 0x%x", leaf);
	return e;
}

u32 *cpuid_reg(struct kvm_cpuid_entry2 *e, u32 reg)
{
	switch (reg) {
	case KHV_EAX:
		return &e->eax;
	case KHV_EBX:
		return &e->ebx;
	case KHV_ECX:
		return &e->ecx;
	default:
		return &e->edx;
	}
}

bool cpuid_test(struct cpuid_table *t, u64 bit)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, CPUBIT_LEAF(bit), 0);

	return e && (*cpuid_reg(e, CPUBIT_REG(bit)) & CPUBIT_MASK(bit));
}

void cpuid_assign(struct cpuid_table *t, u64 bit, bool on)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, CPUBIT_LEAF(bit), 0);
	u32 *reg;

	if (!e) {
		ASSERT(t->nent < MAX_CPUID, "CPUID table full");
		e = &t->entries[t->nent++];
		memset(e, 0, sizeof(*e));
		e->function = CPUBIT_LEAF(bit);
	}
	reg = cpuid_reg(e, CPUBIT_REG(bit));
	if (on)
		*reg |= CPUBIT_MASK(bit);
	else
		*reg &= ~CPUBIT_MASK(bit);
}

void cpuid_zero(struct cpuid_table *t, u32 leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_get(t, leaf);

	e->eax = 0;
	e->ebx = 0;
	e->ecx = 0;
	e->edx = 0;
}

void cpuid_remove_hv(struct cpuid_table *t)
{
	u32 i, n = 0;

	for (i = 0; i < t->nent; i++)
		if ((t->entries[i].function & 0xffffff00) != 0x40000000)
			t->entries[n++] = t->entries[i];
	t->nent = n;
}

int __vcpu_set_cpuid(struct vcpu *v)
{
	return __vcpu_ioctl(v, KVM_SET_CPUID2, &v->cpuid);
}

void vcpu_set_cpuid(struct vcpu *v)
{
	vcpu_ioctl(v, KVM_SET_CPUID2, &v->cpuid);
}

void vcpu_set_bit(struct vcpu *v, u64 bit, bool on)
{
	cpuid_assign(&v->cpuid, bit, on);
	vcpu_set_cpuid(v);
}

bool hv_supported(u64 bit)
{
	static struct cpuid_table t;

	if (!t.nent)
		cpuid_hv(NULL, &t);
	return cpuid_test(&t, bit);
}
