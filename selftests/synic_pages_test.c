// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SynIC's pages, SIMP and SIEFP: what is written into them, event flags, and the exits that
 * tell user space of them.
 */
#include <string.h>

#include "sint.h"

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
	/* Writing the same value again is an exit, too. */
	wrmsr(HV_X64_MSR_SIMP, synic_simp(0) | 0x20);
	GUEST_SYNC(4);
	wrmsr(HV_X64_MSR_SIMP, 0);
	GUEST_SYNC(5);
	/* Reads, writes of other registers and writes that fault cause no exit. */
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		wrmsr(HV_X64_MSR_SINT(i), VEC);
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_SVERSION, 0), GP_VECTOR);
	for (i = 0; i < ARRAY_SIZE(synic_registers); i++)
		rdmsr(synic_registers[i]);
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
	/* Writes by the host cause no exit. */
	vcpu_set_msr(v, HV_X64_MSR_SIMP, simp);
	vcpu_set_msr(v, HV_X64_MSR_SIEFP, siefp);
	vcpu_set_msr(v, HV_X64_MSR_SCONTROL, SCONTROL_VAL);
	vcpu_run_done(v);
	vm_free(vm);
}

/* --- event flags ---------------------------------------------------------- */

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
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 n;
	int fd;

	route_all_sints(vm, 0);
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
