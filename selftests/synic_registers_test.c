// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SynIC's registers: reset values, reserved bits, what is each VP's own, save and restore.
 */
#include <errno.h>
#include <string.h>

#include "sint.h"

/* --- registers ---------------------------------------------------------- */

GUEST_CODE(reset_values_guest)
{
	u32 i;

	/* Like stock: on from the start. The TLFS says 0, but VMMs rely on it. */
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SCONTROL), HV_SYNIC_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SVERSION), 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIEFP), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_EOM), 0);
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), HV_SINT_MASKED);
}

static void reset_values(u32 cap)
{
	struct vm *vm = synic_vm_bare(2, cap);
	u32 i;

	for (i = 0; i < 2; i++) {
		vcpu_entry(vm->vcpus[i], reset_values_guest);
		synic_run_done(vm->vcpus[i]);
	}
	vm_free(vm);
}

TEST(reset_values_with_synic)
{
	reset_values(KVM_CAP_HYPERV_SYNIC);
}

TEST(reset_values_with_synic2)
{
	reset_values(KVM_CAP_HYPERV_SYNIC2);
}

SYNIC_TEST(version_is_read_only)
{
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SVERSION, 1), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SVERSION, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SVERSION, 2), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SVERSION), 1);
}

SYNIC_TEST(eom_takes_anything_and_reads_zero)
{
	static const u64 values[] = { 0, 1, 0x5a5a, ~0ULL };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_EOM, values[i]), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_EOM), 0);
	}
}

SYNIC_TEST(pages_keep_reserved_bits)
{
	static const u32 msrs[] = { HV_X64_MSR_SIMP, HV_X64_MSR_SIEFP };
	u64 page, val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		page = (i ? synic_siefp(0) : synic_simp(0)) & ~HV_SYNIC_ENABLE;
		val = page | RSVD_PAGE;
		wrmsr(msrs[i], val);
		GUEST_ASSERT_EQ(rdmsr(msrs[i]), val);
		wrmsr(msrs[i], val | HV_SYNIC_ENABLE);
		GUEST_ASSERT_EQ(rdmsr(msrs[i]), val | HV_SYNIC_ENABLE);
		wrmsr(msrs[i], 0);
		GUEST_ASSERT_EQ(rdmsr(msrs[i]), 0);
		/* Disabled, it may point anywhere. */
		wrmsr(msrs[i], NO_PAGE_HIGH);
		GUEST_ASSERT_EQ(rdmsr(msrs[i]), NO_PAGE_HIGH);
	}
}

SYNIC_TEST(scontrol_keeps_reserved_bits)
{
	static const u64 values[] = { 0, 1, ~0ULL, ~1ULL, 0x8000000000000000ULL };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		wrmsr(HV_X64_MSR_SCONTROL, values[i]);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SCONTROL), values[i]);
	}
}

SYNIC_TEST(sints_keep_reserved_bits)
{
	/* 15:8 and 63:19 reserved, masked or not, AutoEOI, polling. */
	static const u64 values[] = {
		HV_SINT_MASKED | 0xff00 | VEC,
		VEC | 0xa500,
		0xfffffffffff8ff00ULL | VEC,
		~0ULL,
		VEC | HV_SINT_AUTO_EOI,
		VEC | HV_SINT_POLLING,
		0xff,
		0x10,
		HV_SINT_MASKED,
	};
	u32 i, j;

	for (i = 0; i < HV_SYNIC_SINTS; i++) {
		for (j = 0; j < ARRAY_SIZE(values); j++) {
			GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SINT(i), values[j]), 0);
			GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), values[j]);
		}
	}
}

SYNIC_TEST(sint_vectors_below_16)
{
	const u64 before = HV_SINT_MASKED | VEC;
	u32 i, v;

	for (i = 0; i < HV_SYNIC_SINTS; i++) {
		wrmsr(HV_X64_MSR_SINT(i), before);
		for (v = 0; v < 16; v++) {
			GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SINT(i), v), GP_VECTOR);
			GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SINT(i), v | HV_SINT_AUTO_EOI),
					GP_VECTOR);
			GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), before);
		}
		/* Masked, the vector means nothing. */
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SINT(i), HV_SINT_MASKED), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), HV_SINT_MASKED);
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SINT(i), HV_SINT_MASKED | 15), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), HV_SINT_MASKED | 15);
	}
}

/* A VMM that resets writes 0 to every register. */
TEST(host_writes_zero)
{
	struct vm *vm = synic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(synic_registers); i++) {
		vcpu_set_msr(v, synic_registers[i], 0);
		ASSERT_EQ(vcpu_get_msr(v, synic_registers[i]), 0);
	}
	vcpu_set_msr(v, HV_X64_MSR_EOM, 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_EOM), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_SVERSION), 1);
	vm_free(vm);
}

GUEST_CODE(no_capability)
{
	u64 val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(synic_registers); i++) {
		GUEST_ASSERT_EQ(__rdmsr(synic_registers[i], &val), GP_VECTOR);
		GUEST_ASSERT_EQ(__wrmsr(synic_registers[i], 0), GP_VECTOR);
		GUEST_ASSERT_EQ(__wrmsr(synic_registers[i], HV_SINT_MASKED), GP_VECTOR);
	}
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_SVERSION, &val), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_EOM, &val), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_EOM, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_STIMER_CONFIG(0), 0), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_STIMER_COUNT(0), 0), GP_VECTOR);
}

TEST(without_capability)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 val;
	u32 i;

	vcpu_entry(v, no_capability);
	vcpu_run_done(v);
	/* The host may write zero, because a VMM restores all registers that it knows. */
	for (i = 0; i < ARRAY_SIZE(synic_registers); i++) {
		ASSERT_EQ(__vcpu_set_msr(v, synic_registers[i], 0), 1);
		ASSERT_EQ(__vcpu_set_msr(v, synic_registers[i], HV_SINT_MASKED | VEC), 0);
		ASSERT_EQ(__vcpu_get_msr(v, synic_registers[i], &val), 1);
		ASSERT(val != (HV_SINT_MASKED | VEC), "0x%x: refused, but kept",
		       synic_registers[i]);
	}
	vm_free(vm);
}

TEST(capability_without_apic)
{
	struct vm *vm = vm_create(1, VM_NO_IRQCHIP);

	ASSERT_EQ(__vcpu_enable_cap(vm->vcpus[0], KVM_CAP_HYPERV_SYNIC, 0), -EINVAL);
	ASSERT_EQ(__vcpu_enable_cap(vm->vcpus[0], KVM_CAP_HYPERV_SYNIC2, 0), -EINVAL);
	vm_free(vm);
}

GUEST_CODE(write_own_registers)
{
	u32 id = this_cpu()->id, i;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		wrmsr(HV_X64_MSR_SINT(i), (0x20 + 0x20 * id) + i);
	wrmsr(HV_X64_MSR_SIMP, synic_simp(id));
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(id));
	GUEST_SYNC(1);
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), (0x20 + 0x20 * id) + i);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), synic_simp(id));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIEFP), synic_siefp(id));
}

TEST(registers_are_per_vp)
{
	struct vm *vm = synic_vm_bare(3, KVM_CAP_HYPERV_SYNIC2);
	u32 i;

	for (i = 0; i < 3; i++) {
		vcpu_entry(vm->vcpus[i], write_own_registers);
		synic_run_sync(vm->vcpus[i], 1);
	}
	for (i = 0; i < 3; i++)
		synic_run_done(vm->vcpus[i]);
	vm_free(vm);
}

/* --- save and restore --------------------------------------------------- */

#define NR_REGS (ARRAY_SIZE(synic_registers) + 1)

struct msr_block {
	struct kvm_msrs hdr;
	struct kvm_msr_entry entries[NR_REGS];
};

static u64 saved_simp, saved_siefp;

static u64 sint_value(u32 i)
{
	if (i == TEST_SINT)
		return VEC;
	if (i == FENCE_SINT)
		return FENCE | HV_SINT_AUTO_EOI;
	return (0x90 + i) | (i & 1 ? HV_SINT_MASKED : 0xa500) | (i & 4 ? HV_SINT_POLLING : 0);
}

static void check_registers(void)
{
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SCONTROL), HV_SYNIC_ENABLE | 0x7700);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SVERSION), 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), saved_simp);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIEFP), saved_siefp);
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), sint_value(i));
}

GUEST_CODE(fill_registers)
{
	u32 i;

	wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE | 0x7700);
	wrmsr(HV_X64_MSR_SIMP, saved_simp);
	wrmsr(HV_X64_MSR_SIEFP, saved_siefp);
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		wrmsr(HV_X64_MSR_SINT(i), sint_value(i));
	check_registers();
}

GUEST_CODE(use_registers)
{
	check_registers();
	apic_enable();
	GUEST_SYNC(1);
	irqs_on();
	/* SINT3 is AutoEOI, SINT2 is not and keeps the lower one out until its EOI. */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT(apic_vector(APIC_ISR, VEC));
	GUEST_ASSERT_EQ(guest_irqs[FENCE], 0);
	apic_eoi();
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	GUEST_ASSERT(!apic_vector(APIC_ISR, FENCE));
	check_registers();
}

static void save(struct vcpu *v, struct msr_block *b, bool reverse)
{
	u32 i, from;

	memset(b, 0, sizeof(*b));
	b->hdr.nmsrs = NR_REGS;
	for (i = 0; i < NR_REGS; i++) {
		from = reverse ? NR_REGS - 1 - i : i;
		b->entries[i].index = from < ARRAY_SIZE(synic_registers) ? synic_registers[from] :
									   HV_X64_MSR_SVERSION;
	}
	ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, b), (int)NR_REGS);
}

static void save_and_restore(bool reverse)
{
	struct vm *vm = sint_vm(1), *vm2;
	struct msr_block block, again;
	int fd, fence;

	/* Reserved bits too. The second VM's RAM has the same addresses. */
	saved_simp = synic_simp(0) | 0x30;
	saved_siefp = synic_siefp(0) | 0x50;
	vcpu_entry(vm->vcpus[0], fill_registers);
	synic_run_done(vm->vcpus[0]);
	save(vm->vcpus[0], &block, reverse);
	vm_free(vm);

	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	guest_irq_handlers[FENCE] = guest_irq_count_no_eoi;
	vm2 = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC2);
	ASSERT_EQ(__vcpu_ioctl(vm2->vcpus[0], KVM_SET_MSRS, &block), (int)NR_REGS);
	save(vm2->vcpus[0], &again, reverse);
	ASSERT(!memcmp(&block, &again, sizeof(block)), "read back differs");
	route_all_sints(vm2, 0);
	fd = irqfd_new(vm2, GSI(TEST_SINT), NULL);
	fence = irqfd_new(vm2, GSI(FENCE_SINT), NULL);
	vcpu_entry(vm2->vcpus[0], use_registers);
	synic_run_sync(vm2->vcpus[0], 1);
	eventfd_signal(fence);
	eventfd_signal(fd);
	synic_run_done(vm2->vcpus[0]);
	vm_free(vm2);
}

TEST(save_and_restore_all)
{
	save_and_restore(false);
}

TEST(save_and_restore_in_reverse)
{
	save_and_restore(true);
}

/* Save a VM that has not run, and restore it: these are reset values. */
TEST(restore_of_reset_values)
{
	struct vm *vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC2);
	struct msr_block block;

	save(vm->vcpus[0], &block, false);
	vm_free(vm);
	vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC2);
	ASSERT_EQ(__vcpu_ioctl(vm->vcpus[0], KVM_SET_MSRS, &block), (int)NR_REGS);
	vcpu_entry(vm->vcpus[0], reset_values_guest);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}
