// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hypercall page over the guest's RAM: what the RAM holds afterwards, enabling it again, and
 * other pages at the same place.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

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
static void enable_again(bool os_id)
{
	u64 result;

	if (os_id)
		wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page));
	GUEST_ASSERT_EQ(__hypercall_page(hc_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

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

static void run_read_only(void (*entry)(void))
{
	struct kvm_clock_data clock = {};
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, entry);
	vcpu_run_sync(v, 1);
	ASSERT(!mprotect(hc_page, PAGE_SIZE, PROT_READ), "mprotect");
	vcpu_run_sync(v, 2);
	ASSERT(!mprotect(hc_page, PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
	clock.clock = 1000000000000ULL;
	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &clock), 0);
	vcpu_run_done(v);
	vm_free(vm);
}

TEST_KNOWN(ram_comes_back_after_a_write_that_faulted, "K4")
{
	run_read_only(rewritten_while_read_only);
}

/*
 * Another register's page over the hypercall page, or below it: only one is to be seen, and when it
 * goes the other one is (TLFS, "GPA Overlay Pages"). The last one enabled is on top.
 */
static bool page_has_clock(u8 *p)
{
	const struct tsc_page *tsc = (void *)p;
	u64 before, by_page, high, scale = tsc->scale, now;

	if (page_has_code(p))
		return false;
	/* Without a master clock the page says no more than that. */
	if (!tsc->sequence)
		return true;
	before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	now = rdtsc();
	asm("mul %2" : "=d"(high), "+a"(now) : "r"(scale) : "cc");
	by_page = high + (u64)tsc->offset;
	return by_page + 1 >= before && by_page <= rdmsr(HV_X64_MSR_TIME_REF_COUNT) + 1;
}

static void tsc_page_on(u8 *p)
{
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(p) | 1);
	GUEST_ASSERT(page_has_clock(p));
}

GUEST_CODE(clock_over_code)
{
	u64 result;

	enable_again(true);
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	if (!page_has_code(hc_page))
		guest_assert_failed(GUEST_KNOWN_CMD, __FILE__, __LINE__, "no code", 0, 0, 0);
	GUEST_ASSERT_EQ(__hypercall_page(hc_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	/* Moved away. */
	tsc_page_on(hc_page);
	tsc_page_on(hc_page2);
	GUEST_ASSERT(page_has_code(hc_page));
	/* The code is enabled again, and on top. */
	tsc_page_on(hc_page);
	enable_again(false);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(hc_page2));
	GUEST_ASSERT(page_has_code(hc_page));
}

TEST_KNOWN(code_shows_again, "K38")
{
	run_to_end(vm_with_pages(), clock_over_code);
}

/* A write of the register that faults does not bring the code to the top. */
GUEST_CODE(clock_stays_over_code)
{
	enable_again(true);
	tsc_page_on(hc_page);
	GUEST_SYNC(1);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_SYNC(2);
	GUEST_ASSERT(page_has_clock(hc_page));
}

TEST(clock_follows_after_a_write_that_faulted)
{
	run_read_only(clock_stays_over_code);
}

/* A clock elsewhere is none of the code's business. */
GUEST_CODE(enable_again_beside_clock)
{
	volatile u64 *ram = (u64 *)hc_page;

	ram[0] = MAGIC;
	tsc_page_on(hc_page2);
	enable_again(true);
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
}

TEST_KNOWN(enable_again_beside_a_clock_keeps_ram, "K4")
{
	run_to_end(vm_with_pages(), enable_again_beside_clock);
}

/* A clock that TSC emulation has frozen stays as it is when the code below goes. */
static void freeze_over_code(void)
{
	u32 i;

	for (i = 0; i < PAGE_SIZE / 8; i++)
		((volatile u64 *)hc_page)[i] = MAGIC + i;
	enable_again(true);
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
}

/* Within an hour of the VM's creation. */
static void expect_sane_time(void)
{
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) < 36000000000ULL);
}

static void expect_frozen(const struct tsc_page *was)
{
	struct tsc_page is = *(volatile struct tsc_page *)hc_page;

	/* Without a master clock nothing is frozen. */
	if (!was->sequence)
		return;
	GUEST_ASSERT_EQ(is.sequence, was->sequence);
	GUEST_ASSERT_EQ(is.scale, was->scale);
	GUEST_ASSERT_EQ(is.offset, was->offset);
	expect_sane_time();
}

GUEST_CODE(code_goes_below_a_frozen_clock)
{
	struct tsc_page was;

	freeze_over_code();
	was = *(volatile struct tsc_page *)hc_page;
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	expect_frozen(&was);
	GUEST_SYNC(1);
	expect_frozen(&was);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page2) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
}

GUEST_CODE(code_is_below_a_frozen_clock)
{
	struct tsc_page was;

	freeze_over_code();
	was = *(volatile struct tsc_page *)hc_page;
	GUEST_SYNC(1);
	expect_frozen(&was);
}

static void run_frozen(void (*entry)(void), bool by_host)
{
	struct kvm_clock_data clock = {};
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, entry);
	vcpu_run_sync(v, 1);
	if (by_host)
		vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, gpa(hc_page));
	/* Without this nobody looks at the page. */
	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &clock), 0);
	clock.flags = 0;
	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &clock), 0);
	vcpu_run_done(v);
	vm_free(vm);
}

TEST(frozen_clock_stays_when_the_guest_disables_the_code)
{
	run_frozen(code_goes_below_a_frozen_clock, false);
}

TEST(frozen_clock_stays_when_user_space_disables_the_code)
{
	run_frozen(code_is_below_a_frozen_clock, true);
}

GUEST_CODE(clock_is_sane)
{
	expect_sane_time();
}

/* User space restores the code over a page that was frozen: that is no clock. */
static void run_code_restored(bool disabled)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, gpa(hc_page) | 1);
	if (disabled)
		vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, gpa(hc_page));
	run_to_end_of(vm, v, clock_is_sane);
}

TEST(code_is_not_taken_for_a_frozen_clock)
{
	run_code_restored(false);
}

TEST(code_that_stays_is_not_taken_for_a_frozen_clock)
{
	run_code_restored(true);
}

/* The guest changes the code over its frozen page: what the page held does not come back. */
GUEST_CODE(code_goes_changed)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	hc_page[0x800] = 0;
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_SYNC(1);
	expect_sane_time();
}

TEST(changed_code_is_not_taken_for_a_frozen_clock)
{
	run_frozen(code_goes_changed, false);
}

/* Sequence, scale and offset. */
#define TSC_BYTES 24

/* Both go: all that the RAM held before the code is there but for the clock's bytes. */
GUEST_CODE(both_go)
{
	volatile u64 *ram = (u64 *)hc_page;
	u32 i;

	freeze_over_code();
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	for (i = TSC_BYTES / 8; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_EQ(ram[i], MAGIC + i);
}

TEST(ram_comes_back_behind_a_clock)
{
	run_to_end(vm_with_pages(), both_go);
}

GUEST_CODE(code_over_clock)
{
	volatile u64 *ram = (u64 *)hc_page;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	if (!page_has_clock(hc_page))
		guest_assert_failed(GUEST_KNOWN_CMD, __FILE__, __LINE__, "no clock", 0, 0, 0);
	/* Disable it by a move, then by clearing GUEST_OS_ID. */
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_clock(hc_page));
	GUEST_ASSERT(page_has_code(hc_page2));
	enable_again(false);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT(page_has_clock(hc_page));
	/* Disable the lower one first, then the upper one: RAM shows. */
	enable_again(true);
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_HYPERCALL, 0);
	GUEST_ASSERT(page_has_clock(hc_page));
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	GUEST_ASSERT(ram[511] == 0);
}

TEST_KNOWN(clock_shows_again, "K38")
{
	run_to_end(vm_with_pages(), code_over_clock);
}

GUEST_CODE(clock_changes_below)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	enable_again(false);
	GUEST_SYNC(1);
	if (!page_has_code(hc_page))
		guest_assert_failed(GUEST_KNOWN_CMD, __FILE__, __LINE__, "no code", 0, 0, 0);
	enable_again(false);
	GUEST_SYNC(2);
	GUEST_ASSERT(page_has_code(hc_page));
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT(page_has_clock(hc_page));
}

/* The covered page is not written through the code, and is up to date when it shows again. */
TEST_KNOWN(clock_below_changes, "K38")
{
	struct kvm_clock_data clock = {};
	struct vm *vm = vm_with_pages();
	u32 stage;

	vcpu_entry(vm->vcpus[0], clock_changes_below);
	for (stage = 1; stage <= 2; stage++) {
		vcpu_run_sync(vm->vcpus[0], stage);
		clock.clock += 1000000000000ULL;
		ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &clock), 0);
	}
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
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
