// SPDX-License-Identifier: GPL-2.0-only
/*
 * GUEST_OS_ID and HYPERCALL: the page, its contents, the rules between the two
 * registers, the lock, the host's view (save and restore).
 */
#include <string.h>
#include <sys/ioctl.h>

#include "vm.h"

#define OS_ID	  0x8100000612340000ULL
#define RSVD_BITS 0xffcULL /* 11:2, RsvdP */
#define MAGIC	  0x5a5aa5a50badcafeULL

static u8 *page, *page2; /* two pages of the VM's RAM */

static struct vm *vm_with_pages(void)
{
	struct vm *vm = vm_create(1, 0);

	page = vm_alloc(vm, PAGE_SIZE);
	page2 = vm_alloc(vm, PAGE_SIZE);
	return vm;
}

static void run_to_end_of(struct vm *vm, struct vcpu *vcpu, void (*entry)(void))
{
	vcpu_entry(vcpu, entry);
	vcpu_run_done(vcpu);
	vm_free(vm);
}

static void run_to_end(struct vm *vm, void (*entry)(void))
{
	run_to_end_of(vm, vm->vcpus[0], entry);
}

static u64 addr(u8 *p)
{
	return (u64)(uintptr_t)p;
}

/* vmcall (0F 01 C1) or vmmcall (0F 01 D9), then ret, somewhere near the start. */
static bool page_has_code(u8 *p)
{
	u8 last = guest_use_vmmcall ? 0xd9 : 0xc1;

	return p[0] == 0x0f && p[1] == 0x01 && p[2] == last && p[3] == 0xc3;
}

GUEST_TEST(os_id_read_write)
{
	static const u64 values[] = { 1, OS_ID, 0x0001040a00003839ULL, ~0ULL, 0 };
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), 0);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		wrmsr(HV_X64_MSR_GUEST_OS_ID, values[i]);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), values[i]);
	}
}

GUEST_CODE(enable_and_call)
{
	u64 result;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), 0);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(page));
	GUEST_ASSERT_EQ(__hypercall_page(page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1000, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(__hypercall_page(page, 0x7777 | HV_CTL_FAST, 0, 0, &result), 0);
	GUEST_ASSERT_EQ(result, HV_STATUS_INVALID_HYPERCALL_CODE);
}

TEST(enable_writes_page_and_call_works)
{
	struct vm *vm = vm_with_pages();

	memset(page, 0xee, PAGE_SIZE);
	run_to_end(vm, enable_and_call);
}

/* Not the page but the identity decides what a hypercall instruction means. */
GUEST_TEST(call_without_page)
{
	GUEST_ASSERT(hypercall(0x7777 | HV_CTL_FAST, 0, 0) != HV_STATUS_INVALID_HYPERCALL_CODE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(hypercall(0x7777 | HV_CTL_FAST, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT(hypercall(0x7777 | HV_CTL_FAST, 0, 0) != HV_STATUS_INVALID_HYPERCALL_CODE);
}

GUEST_CODE(os_id_zero_clears)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page));
	/* A new identity alone does not bring it back. */
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page));
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page) | HV_HYPERCALL_ENABLE);
}

TEST(os_id_zero_clears_enable)
{
	run_to_end(vm_with_pages(), os_id_zero_clears);
}

GUEST_CODE(write_without_os_id)
{
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE), 0);
	GUEST_ASSERT_KNOWN_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page));
	/* Enable stays clear when the identity comes later. */
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page));
}

TEST_KNOWN(write_without_os_id_keeps_gpfn, "K4")
{
	struct vm *vm = vm_with_pages();

	memset(page, 0xee, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], write_without_os_id);
	vcpu_run_done(vm->vcpus[0]);
	ASSERT_EQ(page[0], 0xee);
	vm_free(vm);
}

GUEST_CODE(reserved_bits)
{
	u64 val = addr(page) | RSVD_BITS | HV_HYPERCALL_ENABLE;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, val), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT(page_has_code(page));
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, val & ~HV_HYPERCALL_ENABLE), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val & ~HV_HYPERCALL_ENABLE);
}

TEST(reserved_bits_preserved)
{
	run_to_end(vm_with_pages(), reserved_bits);
}

GUEST_CODE(page_nowhere)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, GPA_NOWHERE | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), 0);
	/* Far above any MAXPHYADDR. */
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, 0xfffffffffffff000ULL | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), 0);

	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, GPA_NOWHERE | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(page));
	/* Disabled, it may point anywhere. */
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, GPA_NOWHERE), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), GPA_NOWHERE);
}

TEST(page_outside_memory_faults)
{
	run_to_end(vm_with_pages(), page_nowhere);
}

GUEST_CODE(move)
{
	u64 result;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(page2));
	GUEST_ASSERT_EQ(__hypercall_page(page2, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

TEST(move_of_the_page)
{
	run_to_end(vm_with_pages(), move);
}

/* An overlay hides RAM and does not change it (TLFS, "overlay pages"). */
GUEST_CODE(ram_comes_back)
{
	volatile u64 *ram = (u64 *)page;
	u32 i;

	for (i = 0; i < PAGE_SIZE / 8; i++)
		ram[i] = MAGIC + i;
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(page));
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page));
	for (i = 0; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_KNOWN_EQ(ram[i], MAGIC + i);
}

TEST_KNOWN(disable_restores_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_comes_back);
}

GUEST_CODE(ram_comes_back_on_move)
{
	volatile u64 *ram = (u64 *)page;

	ram[0] = MAGIC;
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(page2));
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
}

TEST_KNOWN(move_restores_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_comes_back_on_move);
}

GUEST_CODE(ram_comes_back_on_os_id)
{
	volatile u64 *ram = (u64 *)page;

	ram[0] = MAGIC;
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
}

TEST_KNOWN(os_id_zero_restores_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_comes_back_on_os_id);
}

/*
 * A guest that starts anew, or a VMM that clears or replaces RAM, leaves anything in the page while
 * the register stays what it is: enabling it again, with or without a new identity, shows the code.
 */
static void enable_again(bool os_id)
{
	u64 result;

	if (os_id)
		wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(page));
	GUEST_ASSERT_EQ(__hypercall_page(page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

GUEST_CODE(cleared_by_guest)
{
	volatile u64 *ram = (u64 *)page;
	u32 i, round;

	for (round = 0; round < 4; round++) {
		enable_again(round < 2);
		for (i = 0; i < PAGE_SIZE / 8; i++)
			ram[i] = round & 1 ? ~0ULL : 0;
	}
	enable_again(true);
	/* One byte of the code is enough. */
	page[1] = 0;
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
		ASSERT(page_has_code(page), "stage %u", stage);
		memset(page, stage == 2 ? 0xee : 0, PAGE_SIZE);
	}
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	ASSERT(page_has_code(page), "after user space wrote the register");
	vcpu_run_done(v);
	vm_free(vm);
}

/* Another VP's write counts as well. */
GUEST_CODE(enable_and_clear)
{
	enable_again(true);
	page[0] = 0;
}

GUEST_CODE(enable_by_another)
{
	enable_again(false);
}

TEST(enable_again_by_another_vp)
{
	struct vm *vm = vm_create(2, 0);

	page = vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], enable_and_clear);
	vcpu_run_done(vm->vcpus[0]);
	run_to_end_of(vm, vm->vcpus[1], enable_by_another);
}

/* The RAM below is what it was when the page last came over it. */
GUEST_CODE(ram_after_enable_again)
{
	volatile u64 *ram = (u64 *)page;
	u32 i;

	ram[0] = MAGIC;
	ram[511] = MAGIC;
	enable_again(true);
	/* Nothing has changed: the RAM is still known. */
	enable_again(true);
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page));
	GUEST_ASSERT_KNOWN_EQ(ram[0], MAGIC);
	GUEST_ASSERT_EQ(ram[511], MAGIC);

	enable_again(false);
	for (i = 0; i < PAGE_SIZE / 8; i++)
		ram[i] = MAGIC + i;
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page));
	for (i = 0; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_EQ(ram[i], MAGIC + i);
}

TEST_KNOWN(enable_again_keeps_ram, "K4")
{
	run_to_end(vm_with_pages(), ram_after_enable_again);
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
	wrmsr(HV_X64_MSR_REFERENCE_TSC, addr(p) | 1);
	GUEST_ASSERT(page_has_clock(p));
}

GUEST_CODE(clock_over_code)
{
	u64 result;

	enable_again(true);
	tsc_page_on(page);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	if (!page_has_code(page))
		guest_assert_failed(GUEST_KNOWN_CMD, __FILE__, __LINE__, "no code", 0, 0, 0);
	GUEST_ASSERT_EQ(__hypercall_page(page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	/* Moved away. */
	tsc_page_on(page);
	tsc_page_on(page2);
	GUEST_ASSERT(page_has_code(page));
	/* The code is enabled again, and on top. */
	tsc_page_on(page);
	enable_again(false);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, addr(page2));
	GUEST_ASSERT(page_has_code(page));
}

TEST_KNOWN(code_shows_again, "K38")
{
	run_to_end(vm_with_pages(), clock_over_code);
}

GUEST_CODE(code_over_clock)
{
	volatile u64 *ram = (u64 *)page;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(page);
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page));
	if (!page_has_clock(page))
		guest_assert_failed(GUEST_KNOWN_CMD, __FILE__, __LINE__, "no clock", 0, 0, 0);
	/* Moved away, and by the identity. */
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_clock(page));
	GUEST_ASSERT(page_has_code(page2));
	enable_again(false);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT(page_has_clock(page));
	/* The lower one goes first, then the upper one: nothing is left but RAM. */
	enable_again(true);
	tsc_page_on(page);
	wrmsr(HV_X64_MSR_HYPERCALL, 0);
	GUEST_ASSERT(page_has_clock(page));
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
	tsc_page_on(page);
	enable_again(false);
	GUEST_SYNC(1);
	if (!page_has_code(page))
		guest_assert_failed(GUEST_KNOWN_CMD, __FILE__, __LINE__, "no code", 0, 0, 0);
	enable_again(false);
	GUEST_SYNC(2);
	GUEST_ASSERT(page_has_code(page));
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page));
	GUEST_ASSERT(page_has_clock(page));
}

/* What is below is not written to through the code; it is up to date when it shows. */
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
		wrmsr(msrs[i], addr(page) | 1);
		GUEST_ASSERT(!page_has_code(page));
		GUEST_ASSERT_EQ(*(u32 *)page, 0);
		wrmsr(msrs[i], 0);
		GUEST_ASSERT_KNOWN_EQ(shows(), true);
		wrmsr(msrs[i], addr(page) | 1);
		wrmsr(msrs[i], addr(page2) | 1);
		GUEST_ASSERT(shows());
		wrmsr(msrs[i], 0);
		GUEST_ASSERT(shows());
	}
}

static bool shows_code(void)
{
	return page_has_code(page);
}

static bool master;

/* Where there is a master clock the page has a sequence. */
static bool shows_clock(void)
{
	return !((volatile struct tsc_page *)page)->sequence != master && page_has_clock(page);
}

GUEST_CODE(pages_over_code)
{
	enable_again(true);
	lay_pages_over(shows_code);
}

GUEST_CODE(pages_over_clock)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(page);
	master = ((volatile struct tsc_page *)page)->sequence;
	lay_pages_over(shows_clock);
}

/* A third page over two. */
GUEST_CODE(pages_over_both)
{
	enable_again(true);
	tsc_page_on(page);
	master = ((volatile struct tsc_page *)page)->sequence;
	lay_pages_over(shows_clock);
	enable_again(false);
	lay_pages_over(shows_code);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page));
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

GUEST_CODE(lock)
{
	u64 val = addr(page) | HV_HYPERCALL_LOCKED | HV_HYPERCALL_ENABLE;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, val);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT_KNOWN_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, addr(page2) | HV_HYPERCALL_ENABLE),
			      GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, addr(page)), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT(page_has_code(page));
	/* Nor does the identity's end change it. */
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT(page_has_code(page));
}

/* The host is not bound by the lock: it resets and restores. */
TEST_KNOWN(lock_stops_guest_writes, "K4")
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_bit(v, HV_F_HYPERCALL_LOCK, true);
	vcpu_entry(v, lock);
	vcpu_run_done(v);
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), 0);
	vm_free(vm);
}

GUEST_CODE(use_restored)
{
	u64 result;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), OS_ID);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(page));
	GUEST_ASSERT_EQ(__hypercall_page(page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

TEST(host_restores_in_order)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_GUEST_OS_ID), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), 0);
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_GUEST_OS_ID), OS_ID);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), addr(page) | HV_HYPERCALL_ENABLE);
	run_to_end(vm, use_restored);
}

GUEST_CODE(enable_and_sync)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, addr(page) | HV_HYPERCALL_ENABLE);
	GUEST_SYNC(1);
	use_restored();
}

/* What one VM saved makes another go on; the second VM's RAM is empty before. */
TEST(save_and_restore_to_another_vm)
{
	struct vm *vm = vm_with_pages(), *vm2;
	u64 os_id, hypercall, offset = addr(page) - addr(vm->ram);

	vcpu_entry(vm->vcpus[0], enable_and_sync);
	vcpu_run_sync(vm->vcpus[0], 1);
	os_id = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID);
	hypercall = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_HYPERCALL);
	vm_free(vm);

	vm2 = vm_with_pages();
	ASSERT_EQ(addr(page) - addr(vm2->ram), offset);
	vcpu_set_msr(vm2->vcpus[0], HV_X64_MSR_GUEST_OS_ID, os_id);
	vcpu_set_msr(vm2->vcpus[0], HV_X64_MSR_HYPERCALL, hypercall);
	run_to_end(vm2, use_restored);
}

/* Both registers belong to the partition: every vCPU sees the same. */
GUEST_CODE(second_vcpu)
{
	use_restored();
}

TEST(partition_wide)
{
	struct vm *vm = vm_create(2, 0);

	page = vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], enable_and_sync);
	vcpu_entry(vm->vcpus[1], second_vcpu);
	vcpu_run_sync(vm->vcpus[0], 1);
	vcpu_run_done(vm->vcpus[1]);
	vm_free(vm);
}

/* A host that writes a page nowhere gets told so, and the register stays. */
TEST(host_write_outside_memory_fails)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, GPA_NOWHERE | HV_HYPERCALL_ENABLE), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), 0);
	vm_free(vm);
}
