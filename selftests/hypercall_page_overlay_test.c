// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hypercall page over the guest's RAM: what the RAM holds afterwards, enabling it again, and
 * the pages of a VP at the same place. hypercall_page_clock_test has the reference TSC page there.
 */
#include <string.h>

#include "hypercall_page.h"

/* An overlay hides RAM and does not change it (TLFS, "overlay pages"). */
GUEST_CODE(ram_comes_back)
{
	volatile u64 *ram = (u64 *)hc_page;
	u32 i;

	for (i = 0; i < PAGE_SIZE / 8; i++)
		ram[i] = MAGIC + i;
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page));
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	for (i = 0; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_KNOWN_EQ(ram[i], MAGIC + i);
}

TEST_KNOWN(disable_restores_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_comes_back);
}

GUEST_CODE(ram_comes_back_on_move)
{
	volatile u64 *ram = (u64 *)hc_page;

	ram[0] = MAGIC;
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page2));
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
}

TEST_KNOWN(move_restores_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_comes_back_on_move);
}

GUEST_CODE(ram_comes_back_on_os_id)
{
	volatile u64 *ram = (u64 *)hc_page;

	ram[0] = MAGIC;
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
}

TEST_KNOWN(os_id_zero_restores_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_comes_back_on_os_id);
}

/*
 * A guest that restarts, or a VMM that clears or replaces RAM, overwrites the page while the
 * register keeps its value: writing Enable again must bring the code back, with or without a new
 * GUEST_OS_ID.
 */
GUEST_CODE(cleared_by_guest)
{
	volatile u64 *ram = (u64 *)hc_page;
	u32 i, round;

	for (round = 0; round < 4; round++) {
		enable_again(round < 2);
		for (i = 0; i < PAGE_SIZE / 8; i++)
			ram[i] = round & 1 ? ~0ULL : 0;
	}
	enable_again(true);
	/* Overwrite one byte of the code. */
	hc_page[1] = 0;
	enable_again(false);
}

TEST(enable_again_after_the_guest_cleared_it)
{
	run_to_end(vm_with_pages(), cleared_by_guest);
}

GUEST_CODE(cleared_between)
{
	enable_again(true);
	GUEST_SYNC(1);
	enable_again(true);
	GUEST_SYNC(2);
	enable_again(false);
	GUEST_SYNC(3);
	enable_again(false);
}

/* The last time the register is written by user space, too, which restores all of them. */
TEST(enable_again_after_the_vmm_cleared_it)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];
	u32 stage;

	vcpu_entry(v, cleared_between);
	for (stage = 1; stage <= 3; stage++) {
		vcpu_run_sync(v, stage);
		ASSERT(page_has_code(hc_page), "stage %u", stage);
		memset(hc_page, stage == 2 ? 0xee : 0, PAGE_SIZE);
	}
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	ASSERT(page_has_code(hc_page), "after user space wrote the register");
	vcpu_run_done(v);
	vm_free(vm);
}

/* Another VP's write counts as well. */
GUEST_CODE(enable_and_clear)
{
	enable_again(true);
	hc_page[0] = 0;
}

GUEST_CODE(enable_by_another)
{
	enable_again(false);
}

TEST(enable_again_by_another_vp)
{
	struct vm *vm = vm_create(2, 0);

	hc_page = vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], enable_and_clear);
	vcpu_run_done(vm->vcpus[0]);
	run_to_end_of(vm, vm->vcpus[1], enable_by_another);
}

/* The RAM below is what it was when the page last came over it. */
GUEST_CODE(ram_after_enable_again)
{
	volatile u64 *ram = (u64 *)hc_page;
	u32 i;

	ram[0] = MAGIC;
	ram[511] = MAGIC;
	enable_again(true);
	/* Nothing has changed: the RAM is still known. */
	enable_again(true);
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
	GUEST_ASSERT_EQ(ram[511], MAGIC);

	enable_again(false);
	for (i = 0; i < PAGE_SIZE / 8; i++)
		ram[i] = MAGIC + i;
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	for (i = 0; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_EQ(ram[i], MAGIC + i);
}

TEST_KNOWN(enable_again_keeps_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_after_enable_again);
}

/* What a write of the register that faults must leave as it is. */
GUEST_CODE(rewritten_while_read_only)
{
	volatile u64 *ram = (u64 *)hc_page;

	ram[0] = MAGIC;
	enable_again(true);
	GUEST_SYNC(1);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_SYNC(2);
	GUEST_ASSERT(page_has_code(hc_page));
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
}

TEST_KNOWN(ram_comes_back_after_a_write_that_faulted, "K4")
{
	run_read_only(rewritten_while_read_only);
}

/* The pages of a VP are RAM, and cover what is below likewise; then it @shows again. */
static void lay_pages_over(bool (*shows)(void))
{
	static const u32 msrs[] = { HV_X64_MSR_SIMP, HV_X64_MSR_SIEFP, HV_X64_MSR_VP_ASSIST_PAGE };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		wrmsr(msrs[i], gpa(hc_page) | 1);
		GUEST_ASSERT(!page_has_code(hc_page));
		GUEST_ASSERT_EQ(*(u32 *)hc_page, 0);
		wrmsr(msrs[i], 0);
		GUEST_ASSERT_KNOWN_EQ(shows(), true);
		wrmsr(msrs[i], gpa(hc_page) | 1);
		wrmsr(msrs[i], gpa(hc_page2) | 1);
		GUEST_ASSERT(shows());
		wrmsr(msrs[i], 0);
		GUEST_ASSERT(shows());
	}
}

static bool shows_code(void)
{
	return page_has_code(hc_page);
}

static bool master;

/* Where there is a master clock the page has a sequence. */
static bool shows_clock(void)
{
	return !((volatile struct tsc_page *)hc_page)->sequence != master &&
	       page_has_clock(hc_page);
}

GUEST_CODE(pages_over_code)
{
	enable_again(true);
	lay_pages_over(shows_code);
}

GUEST_CODE(pages_over_clock)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	master = ((volatile struct tsc_page *)hc_page)->sequence;
	lay_pages_over(shows_clock);
}

/* A third page over two. */
GUEST_CODE(pages_over_both)
{
	enable_again(true);
	tsc_page_on(hc_page);
	master = ((volatile struct tsc_page *)hc_page)->sequence;
	lay_pages_over(shows_clock);
	enable_again(false);
	lay_pages_over(shows_code);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT(shows_clock());
}

static void run_with_synic(void (*entry)(void))
{
	struct vm *vm = vm_with_pages();
	u32 cmd;

	ASSERT_EQ(__vcpu_enable_cap(vm->vcpus[0], KVM_CAP_HYPERV_SYNIC, 0), 0);
	vcpu_entry(vm->vcpus[0], entry);
	while ((cmd = vcpu_run(vm->vcpus[0])) == RUN_EXIT(KVM_EXIT_HYPERV))
		;
	ASSERT_EQ(cmd, GUEST_DONE);
	vm_free(vm);
}

TEST_KNOWN(code_shows_again_below_a_vps_pages, "K38")
{
	run_with_synic(pages_over_code);
}

TEST_KNOWN(clock_shows_again_below_a_vps_pages, "K38")
{
	run_with_synic(pages_over_clock);
}

TEST_KNOWN(upper_one_shows_again_below_a_vps_pages, "K38")
{
	run_with_synic(pages_over_both);
}
