// SPDX-License-Identifier: GPL-2.0-only
/* Reads of a VP's processor registers: their accessors are inline in KVM. */
#include <linux/kvm_host.h>

#include "compat/kvm.h"
#include "khv/imports.h"
#include "khv/port.h"
#include "khv/registers.h"

/* Mirrors kvm_register_read_raw() and its like. */
static void cache(struct kvm_vcpu *vcpu, enum kvm_reg reg)
{
	if (!KHV_AVAILABLE(vcpu, reg))
		khv_x86_ops->cache_reg(vcpu, reg);
}

u64 khv_read_gpr(struct kvm_vcpu *vcpu, unsigned int reg)
{
	static_assert(KHV_GPRS - VCPU_REGS_R15 == 1);

	reg = array_index_nospec(reg, KHV_GPRS);
	cache(vcpu, reg);
	return vcpu->arch.regs[reg];
}

u64 khv_read_rip(struct kvm_vcpu *vcpu)
{
	unsigned long linear = khv_kvm_get_linear_rip(vcpu);

	if (khv_longmode(vcpu))
		return linear;
	return (u32)(linear - khv_read_segment(vcpu, VCPU_SREG_CS).base);
}

u64 khv_read_cr(struct kvm_vcpu *vcpu, unsigned int cr)
{
	switch (cr) {
	case 0:
		cache(vcpu, KHV_LAZY_REG(CR0));
		return vcpu->arch.cr0;
	case 2:
		return vcpu->arch.cr2;
	case 3:
		cache(vcpu, KHV_LAZY_REG(CR3));
		return vcpu->arch.cr3;
	case 4:
		cache(vcpu, KHV_LAZY_REG(CR4));
		return vcpu->arch.cr4;
	case 8:
		return khv_kvm_get_cr8(vcpu);
	}
	return 0;
}

struct kvm_segment khv_read_segment(struct kvm_vcpu *vcpu, int seg)
{
	struct kvm_segment value = {};

	khv_x86_ops->get_segment(vcpu, &value, seg);
	return value;
}

struct desc_ptr khv_read_table(struct kvm_vcpu *vcpu, bool gdt)
{
	struct desc_ptr value = {};

	if (gdt)
		khv_x86_ops->get_gdt(vcpu, &value);
	else
		khv_x86_ops->get_idt(vcpu, &value);
	return value;
}
