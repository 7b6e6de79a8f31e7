// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SynIC's registers, its pages, the exits to user space, and interrupts of
 * its SINTs by way of KVM_IRQ_ROUTING_HV_SINT and irqfd: masked, polled, shared
 * vectors, AutoEOI, acknowledgment on EOI and on EOM, save and restore.
 *
 * An interrupt that must not arrive is proved with a fence: another SINT of a
 * lower vector, raised after it, which therefore would be taken after it.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "irqfd.h"
#include "ops.h"
#include "synic.h"
#include "tracefs.h"

#define VEC	     0x61 /* of the SINT under test */
#define FENCE	     0x51 /* a lower priority class */
#define TEST_SINT    2
#define FENCE_SINT   3
#define WAIT_MS	     2000
#define RSVD_PAGE    0xffeULL /* SIMP and SIEFP, 11:1 */
#define NO_PAGE_HIGH 0xfffffffffffff000ULL

static const u32 register_list[] = {
	HV_X64_MSR_SCONTROL, HV_X64_MSR_SIEFP,	  HV_X64_MSR_SIMP,     HV_X64_MSR_SINT(0),
	HV_X64_MSR_SINT(1),  HV_X64_MSR_SINT(2),  HV_X64_MSR_SINT(3),  HV_X64_MSR_SINT(4),
	HV_X64_MSR_SINT(5),  HV_X64_MSR_SINT(6),  HV_X64_MSR_SINT(7),  HV_X64_MSR_SINT(8),
	HV_X64_MSR_SINT(9),  HV_X64_MSR_SINT(10), HV_X64_MSR_SINT(11), HV_X64_MSR_SINT(12),
	HV_X64_MSR_SINT(13), HV_X64_MSR_SINT(14), HV_X64_MSR_SINT(15),
};

static void run_guest(void (*entry)(void))
{
	struct vm *vm = synic_vm(1);

	vcpu_entry(vm->vcpus[0], entry);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* A whole test in a guest whose SynIC is on. */
#define SYNIC_TEST(name)                 \
	static void name##_guest(void);  \
	TEST(name)                       \
	{                                \
		run_guest(name##_guest); \
	}                                \
	GUEST_CODE(name##_guest)

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

	for (i = 0; i < ARRAY_SIZE(register_list); i++) {
		vcpu_set_msr(v, register_list[i], 0);
		ASSERT_EQ(vcpu_get_msr(v, register_list[i]), 0);
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

	for (i = 0; i < ARRAY_SIZE(register_list); i++) {
		GUEST_ASSERT_EQ(__rdmsr(register_list[i], &val), GP_VECTOR);
		GUEST_ASSERT_EQ(__wrmsr(register_list[i], 0), GP_VECTOR);
		GUEST_ASSERT_EQ(__wrmsr(register_list[i], HV_SINT_MASKED), GP_VECTOR);
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
	/* The host: zero is taken, for the sake of a VMM that restores all it knows. */
	for (i = 0; i < ARRAY_SIZE(register_list); i++) {
		ASSERT_EQ(__vcpu_set_msr(v, register_list[i], 0), 1);
		ASSERT_EQ(__vcpu_set_msr(v, register_list[i], HV_SINT_MASKED | VEC), 0);
		ASSERT_EQ(__vcpu_get_msr(v, register_list[i], &val), 1);
		ASSERT(val != (HV_SINT_MASKED | VEC), "0x%x: refused, but kept", register_list[i]);
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

/* --- pages -------------------------------------------------------------- */

static bool page_is(const void *page, u8 byte)
{
	const u8 *p = page;
	u32 i;

	for (i = 0; i < PAGE_SIZE; i++)
		if (p[i] != byte)
			return false;
	return true;
}

GUEST_CODE(enable_pages)
{
	/* Disabled first: that must not touch them. */
	wrmsr(HV_X64_MSR_SIMP, synic_simp(0) & ~HV_SYNIC_ENABLE);
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(0) & ~HV_SYNIC_ENABLE);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_SIMP, synic_simp(0) | 0x7fe);
	GUEST_SYNC(2);
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(0));
	GUEST_SYNC(3);
}

static void pages(u32 cap, bool zeroed)
{
	struct vm *vm = synic_vm_bare(1, cap);
	struct vcpu *v = vm->vcpus[0];
	u8 after = zeroed ? 0 : 0xee;

	memset(synic_messages[0], 0xee, PAGE_SIZE);
	memset(synic_events[0], 0xee, PAGE_SIZE);
	/* The host restores: no page changes. */
	vcpu_set_msr(v, HV_X64_MSR_SIMP, synic_simp(0));
	vcpu_set_msr(v, HV_X64_MSR_SIEFP, synic_siefp(0));
	ASSERT(page_is(synic_messages[0], 0xee), "changed by the host's write");
	ASSERT(page_is(synic_events[0], 0xee), "changed by the host's write");

	vcpu_entry(v, enable_pages);
	synic_run_sync(v, 1);
	ASSERT(page_is(synic_messages[0], 0xee), "changed by a disabled register");
	ASSERT(page_is(synic_events[0], 0xee), "changed by a disabled register");
	synic_run_sync(v, 2);
	ASSERT(page_is(synic_messages[0], after), "message page");
	ASSERT(page_is(synic_events[0], 0xee), "changed by the other register");
	synic_run_sync(v, 3);
	ASSERT(page_is(synic_events[0], after), "event page");
	synic_run_done(v);
	vm_free(vm);
}

TEST(synic_zeroes_pages)
{
	pages(KVM_CAP_HYPERV_SYNIC, true);
}

TEST(synic2_leaves_pages)
{
	pages(KVM_CAP_HYPERV_SYNIC2, false);
}

GUEST_CODE(pages_nowhere_zeroed)
{
	static const u64 nowhere[] = { GPA_NOWHERE, NO_PAGE_HIGH };
	static const u32 msrs[] = { HV_X64_MSR_SIMP, HV_X64_MSR_SIEFP };
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		for (j = 0; j < ARRAY_SIZE(nowhere); j++) {
			wrmsr(msrs[i], 0x1000);
			GUEST_ASSERT_EQ(__wrmsr(msrs[i], nowhere[j] | HV_SYNIC_ENABLE), GP_VECTOR);
			GUEST_ASSERT_EQ(rdmsr(msrs[i]), 0x1000);
			GUEST_ASSERT_EQ(__wrmsr(msrs[i], nowhere[j]), 0);
		}
	}
}

/* Zeroing fails, and so does the write. */
TEST(synic_pages_outside_memory)
{
	struct vm *vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC);

	vcpu_entry(vm->vcpus[0], pages_nowhere_zeroed);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* User space owns the pages: it may put memory there when it sees the exit. */
SYNIC_TEST(synic2_pages_outside_memory)
{
	static const u64 nowhere[] = { GPA_NOWHERE, NO_PAGE_HIGH };
	static const u32 msrs[] = { HV_X64_MSR_SIMP, HV_X64_MSR_SIEFP };
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		for (j = 0; j < ARRAY_SIZE(nowhere); j++) {
			GUEST_ASSERT_EQ(__wrmsr(msrs[i], nowhere[j] | HV_SYNIC_ENABLE), 0);
			GUEST_ASSERT_EQ(rdmsr(msrs[i]), nowhere[j] | HV_SYNIC_ENABLE);
			wrmsr(HV_X64_MSR_EOM, 0);
		}
	}
}

/* --- exits -------------------------------------------------------------- */

#define SCONTROL_VAL (HV_SYNIC_ENABLE | 0xabc0)

GUEST_CODE(exits)
{
	u32 i;

	wrmsr(HV_X64_MSR_SCONTROL, SCONTROL_VAL);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(0) | 0x10);
	GUEST_SYNC(2);
	wrmsr(HV_X64_MSR_SIMP, synic_simp(0) | 0x20);
	GUEST_SYNC(3);
	/* The same value again is a write like any other. */
	wrmsr(HV_X64_MSR_SIMP, synic_simp(0) | 0x20);
	GUEST_SYNC(4);
	wrmsr(HV_X64_MSR_SIMP, 0);
	GUEST_SYNC(5);
	/* Neither of these concerns user space, and a write that faults is none. */
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		wrmsr(HV_X64_MSR_SINT(i), VEC);
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SVERSION, 0), GP_VECTOR);
	for (i = 0; i < ARRAY_SIZE(register_list); i++)
		rdmsr(register_list[i]);
	GUEST_SYNC(6);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SCONTROL), SCONTROL_VAL);
}

static void expect_exit(struct vcpu *v, u32 msr, u64 control, u64 siefp, u64 simp, u64 stage)
{
	/* The union behind the exit must not carry anything over from before. */
	memset(&v->run->hyperv, 0xee, sizeof(v->run->hyperv));
	vcpu_run_exit(v, KVM_EXIT_HYPERV);
	ASSERT_EQ(v->run->hyperv.type, KVM_EXIT_HYPERV_SYNIC);
	ASSERT_EQ(v->run->hyperv.u.synic.msr, msr);
	ASSERT_EQ(v->run->hyperv.u.synic.control, control);
	ASSERT_EQ(v->run->hyperv.u.synic.evt_page, siefp);
	ASSERT_EQ(v->run->hyperv.u.synic.msg_page, simp);
	/* User space sees the registers as they are after the write. */
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_SCONTROL), control);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_SIEFP), siefp);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_SIMP), simp);
	/* Exactly one exit, before the next instruction. */
	vcpu_run_sync(v, stage);
}

TEST(exits_to_user_space)
{
	struct vm *vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC2);
	struct vcpu *v = vm->vcpus[0];
	u64 siefp = synic_siefp(0) | 0x10, simp = synic_simp(0) | 0x20;

	vcpu_entry(v, exits);
	expect_exit(v, HV_X64_MSR_SCONTROL, SCONTROL_VAL, 0, 0, 1);
	expect_exit(v, HV_X64_MSR_SIEFP, SCONTROL_VAL, siefp, 0, 2);
	expect_exit(v, HV_X64_MSR_SIMP, SCONTROL_VAL, siefp, simp, 3);
	expect_exit(v, HV_X64_MSR_SIMP, SCONTROL_VAL, siefp, simp, 4);
	expect_exit(v, HV_X64_MSR_SIMP, SCONTROL_VAL, siefp, 0, 5);
	vcpu_run_sync(v, 6);
	/* What the host writes is no news to it. */
	vcpu_set_msr(v, HV_X64_MSR_SIMP, simp);
	vcpu_set_msr(v, HV_X64_MSR_SIEFP, siefp);
	vcpu_set_msr(v, HV_X64_MSR_SCONTROL, SCONTROL_VAL);
	vcpu_run_done(v);
	vm_free(vm);
}

/* --- SINT interrupts ---------------------------------------------------- */

/* GSI(n) is SINT n of VP @vp, for all n. */
static void route_all(struct vm *vm, u32 vp)
{
	u32 sints[HV_SYNIC_SINTS], i;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		sints[i] = i;
	route_sints(vm, vp, sints, HV_SYNIC_SINTS);
}

static struct vm *irq_vm(u32 nr_vcpus)
{
	struct vm *vm = synic_vm(nr_vcpus);

	guest_irq_handlers[VEC] = guest_irq_count;
	guest_irq_handlers[FENCE] = guest_irq_count;
	return vm;
}

static u64 test_sint, test_scontrol = HV_SYNIC_ENABLE;
static bool expect_irq;

/* The host raises TEST_SINT, then FENCE_SINT. */
GUEST_CODE(take_fenced)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), test_sint);
	wrmsr(HV_X64_MSR_SINT(FENCE_SINT), FENCE);
	wrmsr(HV_X64_MSR_SCONTROL, test_scontrol);
	GUEST_SYNC(1);
	/* If nothing at all may come there is no fence either. */
	if (!(test_scontrol & HV_SYNIC_ENABLE)) {
		irqs_on();
		guest_settle(5);
		irqs_off();
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[FENCE], 0);
		wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
		GUEST_SYNC(2);
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
		GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
		return;
	}
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	irqs_off();
	GUEST_ASSERT_EQ(guest_irqs[FENCE], 1);
	if (expect_irq)
		GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	else
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT(!apic_vector(APIC_ISR, VEC) && !apic_vector(APIC_IRR, VEC));
}

static void raise_fenced(u64 sint, u64 scontrol, bool arrives)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, fence;

	test_sint = sint;
	test_scontrol = scontrol;
	expect_irq = arrives;
	route_all(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	fence = irqfd_new(vm, GSI(FENCE_SINT), NULL);
	vcpu_entry(v, take_fenced);
	synic_run_sync(v, 1);
	eventfd_signal(fd);
	eventfd_signal(fence);
	if (!(scontrol & HV_SYNIC_ENABLE)) {
		synic_run_sync(v, 2);
		eventfd_signal(fd);
		eventfd_signal(fence);
	}
	synic_run_done(v);
	vm_free(vm);
}

TEST(sint_interrupts)
{
	raise_fenced(VEC, HV_SYNIC_ENABLE, true);
}

TEST(sint_interrupts_with_reserved_bits)
{
	raise_fenced(VEC | 0xff00, ~0ULL, true);
}

TEST(masked_sint_does_not_interrupt)
{
	raise_fenced(VEC | HV_SINT_MASKED, HV_SYNIC_ENABLE, false);
}

TEST_KNOWN(polling_sint_does_not_interrupt, "K5")
{
	raise_fenced(VEC | HV_SINT_POLLING, HV_SYNIC_ENABLE, false);
}

/* Raised while the SynIC is off it is lost; raised again when it is on it arrives. */
TEST_KNOWN(scontrol_zero_no_interrupt, "K5")
{
	raise_fenced(VEC, 0, false);
}

GUEST_CODE(take_all_sints)
{
	u32 i;

	apic_enable();
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		wrmsr(HV_X64_MSR_SINT(i), 0x90 + i);
	GUEST_SYNC(1);
	irqs_on();
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		GUEST_ASSERT(guest_wait(&guest_irqs[0x90 + i], 1, WAIT_MS));
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		GUEST_ASSERT_EQ(guest_irqs[0x90 + i], 1);
}

/* To a VP that is not the first, each SINT by its own route. */
TEST(every_sint_of_another_vp)
{
	struct vm *vm = irq_vm(2);
	struct vcpu *v = vm->vcpus[1];
	u32 i;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		guest_irq_handlers[0x90 + i] = guest_irq_count;
	route_all(vm, 1);
	vcpu_entry(v, take_all_sints);
	synic_run_sync(v, 1);
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		eventfd_signal(irqfd_new(vm, GSI(i), NULL));
	synic_run_done(v);
	vm_free(vm);
}

/*
 * Event flags, with user space as the port: it sets a flag in the page that SIEFP names, and
 * raises the SINT only for one that was 0.
 */
#define SIEF_BYTES 256
#define FLAG	   5
#define SETTLE_MS  5

static volatile u8 *flags_of(u32 sint)
{
	return synic_events[0] + sint * SIEF_BYTES;
}

GUEST_CODE(take_event_flags)
{
	volatile u8 *flags = flags_of(TEST_SINT);
	u32 n;

	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	irqs_on();
	for (n = 1; n <= 3; n++) {
		GUEST_SYNC(n); /* 1 and 3: FLAG; 2: FLAG, which is 1 still, and the next one */
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], n, WAIT_MS));
		guest_settle(SETTLE_MS);
		GUEST_ASSERT_EQ(guest_irqs[VEC], n);
		GUEST_ASSERT_EQ(flags[0], n == 2 ? 3u << FLAG : 1u << FLAG);
		if (n == 2)
			flags[0] = 0;
	}
}

static void set_event_flag(int fd, u32 flag)
{
	u8 bit = (u8)(1u << flag % 8);

	if (!(__atomic_fetch_or(&flags_of(TEST_SINT)[flag / 8], bit, __ATOMIC_SEQ_CST) & bit))
		eventfd_signal(fd);
}

TEST(event_flags_interrupt_when_they_become_1)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 n;
	int fd;

	route_all(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	vcpu_entry(v, take_event_flags);
	for (n = 1; n <= 3; n++) {
		synic_run_sync(v, n);
		set_event_flag(fd, FLAG);
		if (n == 2)
			set_event_flag(fd, FLAG + 1);
	}
	synic_run_done(v);
	vm_free(vm);
}

/* HLT is left for a SINT: the host raises the next one when it has seen the last taken. */
#define NR_HALTS 20

GUEST_CODE(halt_for_sint)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(1);
	while (guest_irqs[VEC] < NR_HALTS)
		irqs_halt();
}

TEST(sint_wakes_halted_vcpu)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 i;
	int fd;

	route_all(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	vcpu_entry(v, halt_for_sint);
	synic_run_sync(v, 1);
	vcpu_start(v);
	/* A lost one ends in the watchdog. */
	for (i = 0; i < NR_HALTS; i++) {
		eventfd_signal(fd);
		while (guest_irqs[VEC] <= i)
			sched_yield();
	}
	vcpu_join(v);
	ASSERT_EQ(guest_irqs[VEC], NR_HALTS);
	vm_free(vm);
}

/* Routes to what does not exist: nothing happens, to nobody. */
TEST(bad_routes_do_nothing)
{
	static const struct {
		u32 vp, sint;
	} bad[] = {
		{ 77, TEST_SINT },     { 0xffffffff, TEST_SINT }, { 1, TEST_SINT },
		{ 0, HV_SYNIC_SINTS }, { 0, 0xffffffff },
	};
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	const u32 good = FENCE_SINT;
	int fd;
	u32 i;

	vm_add_vcpu(vm); /* VP 1 has no SynIC */
	test_sint = VEC;
	expect_irq = false;
	vcpu_entry(v, take_fenced);
	synic_run_sync(v, 1);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		route_sints(vm, bad[i].vp, &bad[i].sint, 1);
		fd = irqfd_new(vm, GSI(0), NULL);
		eventfd_signal(fd);
		eventfd_signal(fd);
		close(fd);
	}
	route_sints(vm, 0, &good, 1);
	eventfd_signal(irqfd_new(vm, GSI(0), NULL));
	synic_run_done(v);
	vm_free(vm);
}

/* The same vector twice while the first is in service: the second waits for the EOI. */
GUEST_CODE(second_while_in_service)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), test_sint);
	GUEST_SYNC(1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	if (test_sint & HV_SINT_AUTO_EOI)
		GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
	else
		GUEST_ASSERT(apic_vector(APIC_ISR, VEC));
	GUEST_SYNC(2);
	if (test_sint & HV_SINT_AUTO_EOI) {
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
		GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
	} else {
		guest_settle(2);
		GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
		GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
		apic_eoi();
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
		apic_eoi();
	}
	GUEST_SYNC(3);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	GUEST_ASSERT_EQ(guest_irqs[VEC], 3);
}

static void raise_twice(u64 sint)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u64 stage;
	int fd;

	test_sint = sint;
	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	route_all(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	vcpu_entry(v, second_while_in_service);
	for (stage = 1; stage <= 3; stage++) {
		synic_run_sync(v, stage);
		eventfd_signal(fd);
	}
	synic_run_done(v);
	vm_free(vm);
}

TEST(auto_eoi_does_not_stay_in_service)
{
	raise_twice(VEC | HV_SINT_AUTO_EOI);
}

TEST(without_auto_eoi_stays_in_service)
{
	raise_twice(VEC);
}

/* AutoEOI taken away again: the vector is an ordinary one. */
GUEST_CODE(auto_eoi_off)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC | HV_SINT_AUTO_EOI);
	GUEST_SYNC(1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(2);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
	GUEST_ASSERT(apic_vector(APIC_ISR, VEC));
	apic_eoi();
	GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
}

TEST(auto_eoi_can_be_taken_back)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd;

	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	route_all(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	vcpu_entry(v, auto_eoi_off);
	synic_run_sync(v, 1);
	eventfd_signal(fd);
	synic_run_sync(v, 2);
	eventfd_signal(fd);
	synic_run_done(v);
	vm_free(vm);
}

/*
 * KVM must see the delivery of an AutoEOI vector: APICv has to stand back for the VM, but no
 * longer than some VP's SINT asks for it. The tracepoint tells, with or without such hardware.
 */
TEST(auto_eoi_inhibits_apicv)
{
	struct vm *vm = synic_vm(2);
	struct ops_page *p[2];
	const struct {
		u32 vp, sint;
		u64 val;
		bool host, inhibited;
	} steps[] = {
		{ 0, 2, VEC, false, false },
		{ 0, 2, VEC | HV_SINT_AUTO_EOI | HV_SINT_MASKED, false, false },
		{ 0, 2, VEC | HV_SINT_AUTO_EOI, false, true },
		{ 0, 3, FENCE | HV_SINT_AUTO_EOI, false, true },
		{ 1, 2, VEC | HV_SINT_AUTO_EOI, true, true },
		{ 0, 2, VEC, false, true },
		{ 0, 3, FENCE | HV_SINT_AUTO_EOI | HV_SINT_MASKED, false, true },
		{ 1, 2, VEC, true, false },
		{ 1, 2, VEC | HV_SINT_AUTO_EOI, false, true },
		{ 1, 2, VEC | HV_SINT_AUTO_EOI, true, true },
		{ 1, 2, HV_SINT_MASKED, false, false },
	};
	u32 i;

	if (!module_loaded() && !host_has_apicv())
		ktap_skip("stock does not count without APICv hardware");
	trace_clear();
	for (i = 0; i < 2; i++)
		p[i] = vcpu_ops_init(vm->vcpus[i], 1);
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "1");
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		struct vcpu *v = vm->vcpus[steps[i].vp];
		u32 msr = HV_X64_MSR_SINT(steps[i].sint);

		if (steps[i].host)
			vcpu_set_msr(v, msr, steps[i].val);
		else
			ASSERT_EQ(vcpu_op(v, p[steps[i].vp], OP_WR(msr, steps[i].val)).vector, 0);
		ASSERT(trace_hyperv_inhibits_apicv() == steps[i].inhibited, "step %u", i);
	}
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "0");
	vm_free(vm);
}

/* Two SINTs with one vector; one is masked, then moved to another vector. */
GUEST_CODE(shared_vector)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	wrmsr(HV_X64_MSR_SINT(5), VEC);
	irqs_on();
	GUEST_SYNC(1); /* 2 */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_SYNC(2); /* 5 */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC | HV_SINT_MASKED);
	GUEST_SYNC(3); /* 2, which must not arrive, and 5 */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	wrmsr(HV_X64_MSR_SINT(5), FENCE);
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(4); /* 5, then 2 */
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 4, WAIT_MS));
	irqs_off();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 4);
	GUEST_ASSERT_EQ(guest_irqs[FENCE], 1);
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
}

TEST(sints_share_a_vector)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd2, fd5;

	route_all(vm, 0);
	fd2 = irqfd_new(vm, GSI(TEST_SINT), NULL);
	fd5 = irqfd_new(vm, GSI(5), NULL);
	vcpu_entry(v, shared_vector);
	synic_run_sync(v, 1);
	eventfd_signal(fd2);
	synic_run_sync(v, 2);
	eventfd_signal(fd5);
	synic_run_sync(v, 3);
	eventfd_signal(fd2);
	eventfd_signal(fd5);
	synic_run_sync(v, 4);
	eventfd_signal(fd5);
	eventfd_signal(fd2);
	synic_run_done(v);
	vm_free(vm);
}

/* --- acknowledgment ---------------------------------------------------- */

GUEST_CODE(ack)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	wrmsr(HV_X64_MSR_SINT(FENCE_SINT), FENCE);
	wrmsr(HV_X64_MSR_SINT(5), VEC);
	irqs_on();
	GUEST_SYNC(1);
	/* A line with a resampler is raised by a worker of the host's. */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_SYNC(2); /* in service, no ack */
	apic_eoi();
	GUEST_SYNC(3); /* acked: 2, and 5 for the same vector */
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	GUEST_SYNC(4); /* an EOI of another vector acks only its own */
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_SYNC(5); /* all of them */
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC | HV_SINT_MASKED);
	wrmsr(HV_X64_MSR_EOM, ~0ULL);
	GUEST_SYNC(6); /* a masked one too: user space's queue may be waiting */
}

TEST(resamplefd_on_eoi_and_eom)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd2, ack2, fd3, ack3, fd5, ack5;

	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	route_all(vm, 0);
	fd2 = irqfd_new(vm, GSI(TEST_SINT), &ack2);
	fd3 = irqfd_new(vm, GSI(FENCE_SINT), &ack3);
	fd5 = irqfd_new(vm, GSI(5), &ack5);
	(void)fd5;
	vcpu_entry(v, ack);
	synic_run_sync(v, 1);
	ASSERT_EQ(eventfd_count(ack2) + eventfd_count(ack3) + eventfd_count(ack5), 0);
	eventfd_signal(fd2);
	synic_run_sync(v, 2);
	ASSERT_EQ(eventfd_count(ack2) + eventfd_count(ack3) + eventfd_count(ack5), 0);
	synic_run_sync(v, 3);
	ASSERT_EQ(eventfd_count(ack2), 1);
	ASSERT_EQ(eventfd_count(ack3), 0);
	ASSERT_EQ(eventfd_count(ack5), 1);
	eventfd_signal(fd3);
	synic_run_sync(v, 4);
	ASSERT_EQ(eventfd_count(ack2), 0);
	ASSERT_EQ(eventfd_count(ack3), 1);
	ASSERT_EQ(eventfd_count(ack5), 0);
	synic_run_sync(v, 5);
	ASSERT_EQ(eventfd_count(ack2), 1);
	ASSERT_EQ(eventfd_count(ack3), 1);
	ASSERT_EQ(eventfd_count(ack5), 1);
	synic_run_sync(v, 6);
	ASSERT_EQ(eventfd_count(ack2), 1);
	synic_run_done(v);
	vm_free(vm);
}

/* Level and back: as long as user space raises it again on the ack, it comes again. */
GUEST_CODE(resample_again)
{
	u32 i;

	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	irqs_on();
	for (i = 0; i < 5; i++) {
		GUEST_SYNC(1);
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], i + 1, WAIT_MS));
	}
	GUEST_SYNC(2);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 5);
}

TEST(resampled_interrupt_comes_again)
{
	struct vm *vm = irq_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, ack_fd;
	u32 i;

	route_all(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), &ack_fd);
	vcpu_entry(v, resample_again);
	for (i = 0; i < 5; i++) {
		synic_run_sync(v, 1);
		ASSERT_EQ(eventfd_count(ack_fd), i > 0);
		eventfd_signal(fd);
	}
	synic_run_sync(v, 2);
	ASSERT_EQ(eventfd_count(ack_fd), 1);
	synic_run_done(v);
	vm_free(vm);
}

/* --- save and restore --------------------------------------------------- */

#define NR_REGS (ARRAY_SIZE(register_list) + 1)

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
		b->entries[i].index = from < ARRAY_SIZE(register_list) ? register_list[from] :
									 HV_X64_MSR_SVERSION;
	}
	ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, b), (int)NR_REGS);
}

static void save_and_restore(bool reverse)
{
	struct vm *vm = irq_vm(1), *vm2;
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
	route_all(vm2, 0);
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

/* A VM nobody ran: what it saves is what a new one has. */
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
