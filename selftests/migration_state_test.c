// SPDX-License-Identifier: GPL-2.0-only
/*
 * Save and restore of messages, registers, hypercalls and the clock. TLFS chapter
 * "Inter-Partition Communication".
 */
#include "migration.h"
#include "refclock.h"

/* --- timers ------------------------------------------------------------- */

static u64 save_time;

/* --- the rest ------------------------------------------------------------ */

/* A message that the guest has not seen yet: its interrupt is pending in the local APIC. */
GUEST_CODE(message_and_leave)
{
	setup();
	start(0, ONE_SHOT, 1);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

GUEST_CODE(message_is_there)
{
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 1, WAIT_MS));
	guest_settle(SETTLE_MS);
	irqs_off();
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(taken[0].expiration, 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

MIGRATE(unread_message, message_and_leave, message_is_there)

/* Every kind of register has a value that is not its first. */
#define SIMP_VALUE synic_simp(0)

GUEST_CODE(registers_and_leave)
{
	u32 i;

	guest_set_os_id();
	wrmsr(HV_X64_MSR_HYPERCALL, (u64)(uintptr_t)hypercall_page | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, (u64)(uintptr_t)tsc_page | 1);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, (u64)(uintptr_t)assist_page | 1);
	for (i = 0; i < 5; i++)
		wrmsr(HV_X64_MSR_CRASH_P0 + i, 0x1111111111111111ULL * (i + 1));
	wrmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL, 0x10040);
	wrmsr(HV_X64_MSR_SINT(0), VEC | HV_SINT_MASKED);
	wrmsr(HV_X64_MSR_SINT(2), 0x70);
	wrmsr(HV_X64_MSR_SINT(15), 0x71 | HV_SINT_MASKED);
	start(3, ON | PERIODIC | HV_STIMER_LAZY | DIRECT, FAR);
	save_time = ref_now();
}

GUEST_CODE(registers_are_there)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), 0x8100000000000001ULL);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL),
			(u64)(uintptr_t)hypercall_page | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), (u64)(uintptr_t)tsc_page | 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), (u64)(uintptr_t)assist_page | 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_CRASH_P4), 0x5555555555555555ULL);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL), 0x10040);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(15)), 0x71 | HV_SINT_MASKED);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), SIMP_VALUE);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(3)), ON | PERIODIC | HV_STIMER_LAZY | DIRECT);
	GUEST_ASSERT_EQ(rdmsr(COUNT(3)), FAR);
}

/* Not in reverse: the hypercall page needs the guest's identity first (TLFS, and stock). */
TEST(registers_migrate)
{
	migrate(registers_and_leave, registers_are_there, false);
}

/* The page comes as memory, the registers enable it; then it is used as before. */
static u64 page_before[PAGE_SIZE / 8];
static u64 flush_input[3] __attribute__((aligned(32)));

static void calls_work(void)
{
	u64 result;

	GUEST_ASSERT_EQ(__hypercall_page(hypercall_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST,
					 1000, 0, &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
	/* Flags: all processors, the whole address space. */
	flush_input[1] = 3;
	GUEST_ASSERT_EQ(__hypercall_page(hypercall_page, HVCALL_FLUSH_SPACE,
					 (u64)(uintptr_t)flush_input, 0, &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(__hypercall_page(hypercall_page, 0x7777 | HV_CTL_FAST, 0, 0, &result), 0);
	GUEST_ASSERT_EQ(result, HV_STATUS_INVALID_HYPERCALL_CODE);
}

GUEST_CODE(call_and_leave)
{
	const volatile u64 *page = (void *)hypercall_page;
	u32 i;

	guest_set_os_id();
	wrmsr(HV_X64_MSR_HYPERCALL, (u64)(uintptr_t)hypercall_page | HV_HYPERCALL_ENABLE);
	calls_work();
	for (i = 0; i < ARRAY_SIZE(page_before); i++)
		page_before[i] = page[i];
}

GUEST_CODE(calls_go_on)
{
	const volatile u64 *page = (void *)hypercall_page;
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), 0x8100000000000001ULL);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL),
			(u64)(uintptr_t)hypercall_page | HV_HYPERCALL_ENABLE);
	/* Stock fills no more of the page than its code, the module all of it (divergence D1). */
	GUEST_ASSERT_EQ((u32)page[0], (u32)page_before[0]);
	for (i = 0; migrated_from == migrated_to && i < ARRAY_SIZE(page_before); i++)
		GUEST_ASSERT_EQ(page[i], page_before[i]);
	calls_work();
}

/* As above: not in reverse. */
TEST(hypercall_page_and_calls_migrate)
{
	migrate(call_and_leave, calls_go_on, false);
}

GUEST_CODE(clock_and_leave)
{
	const struct tsc_page *page = (void *)tsc_page;

	guest_set_os_id();
	wrmsr(HV_X64_MSR_REFERENCE_TSC, (u64)(uintptr_t)tsc_page | 1);
	ref_now();
	GUEST_ASSERT(page->sequence);
	save_time = ref_now();
}

/* Time goes on from where it stood, and the page follows the new VM's TSC. */
GUEST_CODE(clock_goes_on)
{
	const struct tsc_page *page = (void *)tsc_page;
	u64 before = ref_now(), by_page = guest_time(page), after = ref_now();

	GUEST_ASSERT(before >= save_time);
	/* A minute is far more than a migration takes here. */
	GUEST_ASSERT(before - save_time < REF_MS(60000));
	GUEST_ASSERT(page->sequence);
	/* The two clocks may differ by the rounding of one tick at either end. */
	GUEST_ASSERT(by_page + 1 >= before);
	GUEST_ASSERT(by_page <= after + 1);
}

MIGRATE(reference_time, clock_and_leave, clock_goes_on)
