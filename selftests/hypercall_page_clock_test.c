// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hypercall page and the reference TSC page at one place, also while TSC emulation freezes the
 * latter.
 */
#include <string.h>

#include "hypercall_page.h"
#include "refclock.h"

#define FAR_AHEAD_S 3600ULL
/* Sequence, scale and offset. */
#define TSC_BYTES   24

/*
 * Another register's page over the hypercall page, or below it: only one is to be seen, and when it
 * goes the other one is (TLFS, "GPA Overlay Pages"). The last one enabled is on top.
 */
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
static void fill_ram(void)
{
	u32 i;

	for (i = 0; i < PAGE_SIZE / 8; i++)
		((volatile u64 *)hc_page)[i] = MAGIC + i;
}

static void freeze_over_code(void)
{
	fill_ram();
	enable_again(true);
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
}

/* Within an hour of the VM's creation. */
static void expect_sane_time(void)
{
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) < 3600 * REF_PER_SEC);
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

/* @entry asks (1) for KVM's clock to be set @seconds further. Else nobody looks at the page. */
static void run_clock_set(struct vm *vm, void (*entry)(void), bool disable, u64 seconds)
{
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, entry);
	vcpu_run_sync(v, 1);
	if (disable)
		vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, gpa(hc_page));
	set_clock(vm, get_clock(vm).clock + seconds * NS_PER_SEC);
	vcpu_run_done(v);
	vm_free(vm);
}

static void run_frozen(void (*entry)(void), bool by_host)
{
	run_clock_set(vm_with_pages(), entry, by_host, 0);
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

/* The same, and the guest enables it again before it disables it: the RAM is then that code. */
GUEST_CODE(changed_code_is_enabled_again)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	enable_again(false);
	hc_page[0x800] = 0;
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_SYNC(1);
	expect_sane_time();
}

TEST(changed_code_that_was_enabled_again_is_not_taken_for_a_frozen_clock)
{
	run_frozen(changed_code_is_enabled_again, false);
}

/* Without a master clock the page has no parameters: what the RAM holds is none either. */
GUEST_CODE(ram_below_a_clock_without_parameters)
{
	fill_ram();
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(hc_page) | 1);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_SYNC(1);
	expect_sane_time();
}

/* VPs with different TSCs: KVM has no master clock. */
static struct vm *vm_without_master_clock(void)
{
	struct vm *vm = vm_create(2, 0);
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(vm->vcpus[0], KVM_GET_TSC_KHZ, NULL);

	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC,
		     vcpu_get_msr(vm->vcpus[0], MSR_IA32_TSC) + 100 * hz);
	hc_page = vm_alloc(vm, PAGE_SIZE);
	hc_page2 = vm_alloc(vm, PAGE_SIZE);
	return vm;
}

TEST(ram_is_not_taken_for_a_frozen_clock)
{
	run_clock_set(vm_without_master_clock(), ram_below_a_clock_without_parameters, false, 0);
}

/* What cannot be written when the code goes is written later, not read. */
GUEST_CODE(code_goes_while_read_only)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	enable_again(false);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_SYNC(2);
	expect_sane_time();
	GUEST_ASSERT_KNOWN_EQ(page_has_clock(hc_page), true);
}

TEST_KNOWN(code_that_stays_in_read_only_memory_is_not_taken_for_a_frozen_clock, "K38")
{
	run_read_only(code_goes_while_read_only);
}

/* A clock below the code is frozen, too: KVM_SET_CLOCK does not move it, nor does what follows. */
GUEST_CODE(frozen_below_code)
{
	u64 before, below, after;
	bool master;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	master = ((volatile struct tsc_page *)hc_page)->sequence;
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	enable_again(false);
	before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	GUEST_SYNC(1);
	below = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_KNOWN_EQ(page_has_clock(hc_page), true);
	GUEST_ASSERT_EQ(!((volatile struct tsc_page *)hc_page)->sequence, !master);
	after = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	if (!master)
		return;
	GUEST_ASSERT(below - before < FAR_AHEAD_S / 2 * REF_PER_SEC);
	GUEST_ASSERT(after - below < FAR_AHEAD_S / 2 * REF_PER_SEC);
}

TEST_KNOWN(frozen_clock_below_code_goes_on, "K38")
{
	run_clock_set(vm_with_pages(), frozen_below_code, false, FAR_AHEAD_S);
}

/* A VP's page comes and goes over both. */
GUEST_CODE(vp_page_over_a_frozen_clock)
{
	struct tsc_page was, is;

	freeze_over_code();
	was = *(volatile struct tsc_page *)hc_page;
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(hc_page) | 1);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
	is = *(volatile struct tsc_page *)hc_page;
	GUEST_ASSERT_KNOWN_EQ(!is.sequence, !was.sequence);
	if (!was.sequence)
		return;
	GUEST_ASSERT_EQ(is.scale, was.scale);
	GUEST_ASSERT_EQ(is.offset, was.offset);
	expect_sane_time();
}

TEST_KNOWN(frozen_clock_shows_again_below_a_vps_page, "K38")
{
	run_clock_set(vm_with_pages(), vp_page_over_a_frozen_clock, false, 2 * FAR_AHEAD_S);
}

GUEST_CODE(runs)
{
}

GUEST_CODE(clock_on_and_frozen)
{
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
}

/* What the guest writes to the page that it has frozen is no time: KVM's copy goes on. */
GUEST_CODE(writes_to_a_frozen_clock)
{
	volatile struct tsc_page *page = (void *)hc_page;

	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	page->offset += 360000000000000LL;
	GUEST_SYNC(1);
	expect_sane_time();
}

TEST(what_a_guest_writes_to_a_frozen_clock_is_no_time)
{
	run_frozen(writes_to_a_frozen_clock, false);
}

/* Nor after user space has written the register once, and the guest has run since. */
GUEST_CODE(writes_to_a_restored_clock)
{
	volatile struct tsc_page *page = (void *)hc_page;

	page->offset += 360000000000000LL;
	GUEST_SYNC(1);
	expect_sane_time();
}

/* A VM with a frozen clock, as user space has restored it: @page as it was, or not. */
static struct vm *vm_with_frozen_clock(bool page)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];
	u64 clock;

	vcpu_entry(v, clock_on_and_frozen);
	vcpu_run_done(v);
	clock = get_clock(vm).clock;
	/* The time follows the page from here on. */
	set_clock(vm, clock);
	vcpu_entry(v, runs);
	vcpu_run_done(v);
	if (!page)
		memset(hc_page, 0, PAGE_SIZE);
	set_clock(vm, page ? clock : clock + 2 * FAR_AHEAD_S * NS_PER_SEC);
	vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, gpa(hc_page) | 1);
	return vm;
}

TEST(what_a_guest_writes_to_a_restored_clock_is_no_time)
{
	struct vm *vm = vm_with_frozen_clock(true);

	vcpu_entry(vm->vcpus[0], runs);
	vcpu_run_done(vm->vcpus[0]);
	run_clock_set(vm, writes_to_a_restored_clock, false, 0);
}

/* User space loads a state without parameters into a VM whose time followed a page. */
GUEST_CODE(time_is_that_of_kvm)
{
	u64 now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);

	GUEST_ASSERT(now >= FAR_AHEAD_S * REF_PER_SEC);
	GUEST_ASSERT(now < 4 * FAR_AHEAD_S * REF_PER_SEC);
}

TEST(frozen_clock_ends_with_the_state_that_is_loaded)
{
	struct vm *vm = vm_with_frozen_clock(false);

	run_to_end_of(vm, vm->vcpus[0], time_is_that_of_kvm);
}

/* A clock that changes below the code, and then is frozen, is frozen as it is then. */
GUEST_CODE(frozen_after_a_change)
{
	u64 before, after;
	bool master;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	master = ((volatile struct tsc_page *)hc_page)->sequence;
	enable_again(false);
	GUEST_SYNC(1);
	before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	GUEST_ASSERT(before >= FAR_AHEAD_S * REF_PER_SEC);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	GUEST_SYNC(2);
	after = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	GUEST_ASSERT(after >= before);
	GUEST_ASSERT(!master || after - before < FAR_AHEAD_S * REF_PER_SEC);
}

TEST(clock_that_changed_below_code_is_frozen_as_it_is)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];
	u32 stage;

	vcpu_entry(v, frozen_after_a_change);
	for (stage = 1; stage <= 2; stage++) {
		vcpu_run_sync(v, stage);
		set_clock(vm, get_clock(vm).clock + 2 * FAR_AHEAD_S * NS_PER_SEC);
	}
	vcpu_run_done(v);
	vm_free(vm);
}

/* The guest lets go of its frozen page, which follows KVM's clock at once. */
GUEST_CODE(lets_go_of_the_page)
{
	volatile struct tsc_page *page = (void *)hc_page;
	struct tsc_page was;

	tsc_page_on(hc_page);
	was = *page;
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	GUEST_ASSERT(page_has_clock(hc_page));
	GUEST_ASSERT_KNOWN_EQ(!was.sequence || page->offset != was.offset, true);
	GUEST_ASSERT(!was.sequence ||
		     rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= FAR_AHEAD_S * REF_PER_SEC);
}

TEST_KNOWN(frozen_clock_follows_when_the_guest_lets_go, "K50")
{
	run_clock_set(vm_with_pages(), lets_go_of_the_page, false, 2 * FAR_AHEAD_S);
}

/* User space lets go of a frozen clock that the code covers, and freezes again what comes then. */
GUEST_CODE(frozen_below_the_code)
{
	freeze_over_code();
	GUEST_SYNC(1);
	enable_again(false);
	GUEST_SYNC(2);
	GUEST_ASSERT_KNOWN_EQ(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= FAR_AHEAD_S * REF_PER_SEC, true);
	GUEST_SYNC(3);
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= 2 * FAR_AHEAD_S * REF_PER_SEC);
}

TEST_KNOWN(clock_that_is_let_go_below_the_code_does_not_come_back, "K50")
{
	struct vm *vm = vm_create(2, 0);
	struct vcpu *v = vm->vcpus[0], *other = vm->vcpus[1];
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);

	require_tsc_clocksource();
	hc_page = vm_alloc(vm, PAGE_SIZE);
	hc_page2 = vm_alloc(vm, PAGE_SIZE);

	vcpu_entry(v, frozen_below_the_code);
	vcpu_run_sync(v, 1);
	set_clock(vm, get_clock(vm).clock + FAR_AHEAD_S * NS_PER_SEC);
	vcpu_run_sync(v, 2);
	/* Without a master clock; that takes effect when this vCPU runs. */
	vcpu_set_msr(other, MSR_IA32_TSC, vcpu_get_msr(v, MSR_IA32_TSC) + 100 * hz);
	vcpu_entry(other, runs);
	vcpu_run_done(other);
	assert_master_clock(vm, false);
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	vcpu_run_sync(v, 3);
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	set_clock(vm, get_clock(vm).clock + FAR_AHEAD_S * NS_PER_SEC);
	vcpu_run_done(v);
	vm_free(vm);
}

/* User space sets the clock, and lets go of a page that is frozen, before the guest runs again. */
GUEST_CODE(frozen_and_then_far_ahead)
{
	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	GUEST_SYNC(1);
	GUEST_ASSERT_KNOWN_EQ(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= FAR_AHEAD_S * REF_PER_SEC, true);
}

TEST_KNOWN(clock_that_is_let_go_before_an_entry_does_not_come_back, "K50")
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	require_tsc_clocksource();
	hc_page = vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(v, frozen_and_then_far_ahead);
	vcpu_run_sync(v, 1);
	set_clock(vm, get_clock(vm).clock + FAR_AHEAD_S * NS_PER_SEC);
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	ASSERT_KNOWN(vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT) >= FAR_AHEAD_S * REF_PER_SEC,
		     "user space reads the clock of before");
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	vcpu_run_done(v);
	vm_free(vm);
}

/*
 * User space restores memory, then registers: the RAM is what it has put there (D10), until the
 * guest runs; @frozen: and so is the clock.
 */
GUEST_CODE(both_on)
{
	fill_ram();
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(hc_page) | 1);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
}

GUEST_CODE(both_on_clock_above)
{
	both_on();
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(hc_page2) | 1);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(hc_page) | 1);
}

static void expect_restored(struct vm *vm, void (*entry)(void), u32 msr, u64 value)
{
	struct vcpu *v = vm->vcpus[0];
	u64 *ram = (u64 *)hc_page;
	u32 i;

	vcpu_entry(v, entry);
	vcpu_run_done(v);
	for (i = 0; i < PAGE_SIZE / 8; i++)
		ram[i] = ~MAGIC + i;
	vcpu_set_msr(v, msr, value);
	for (i = 0; i < PAGE_SIZE / 8; i++)
		ASSERT_EQ(ram[i], ~MAGIC + i);
	vm_free(vm);
}

TEST(user_space_clears_the_os_id_behind_restored_memory)
{
	expect_restored(vm_with_pages(), both_on, HV_X64_MSR_GUEST_OS_ID, 0);
	expect_restored(vm_with_pages(), both_on_clock_above, HV_X64_MSR_GUEST_OS_ID, 0);
	expect_restored(vm_without_master_clock(), both_on_clock_above, HV_X64_MSR_GUEST_OS_ID, 0);
}

TEST(user_space_disables_the_code_behind_restored_memory)
{
	expect_restored(vm_with_pages(), both_on, HV_X64_MSR_HYPERCALL, 0);
	expect_restored(vm_without_master_clock(), both_on, HV_X64_MSR_HYPERCALL, 0);
}

TEST(user_space_disables_the_clock_behind_restored_memory)
{
	expect_restored(vm_with_pages(), both_on, HV_X64_MSR_REFERENCE_TSC, 0);
	expect_restored(vm_with_pages(), both_on_clock_above, HV_X64_MSR_REFERENCE_TSC, 0);
}

/* A snapshot of a frozen clock is loaded into a VM that has the code over it. */
GUEST_CODE(snapshot_is_loaded)
{
	struct tsc_page was;

	tsc_page_on(hc_page);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	was = *(volatile struct tsc_page *)hc_page;
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	enable_again(false);
	GUEST_SYNC(2);
	expect_frozen(&was);
}

TEST(frozen_clock_of_a_snapshot_comes_back)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];
	static u8 snapshot[PAGE_SIZE];

	vcpu_entry(v, snapshot_is_loaded);
	vcpu_run_sync(v, 1);
	memcpy(snapshot, hc_page, PAGE_SIZE);
	vcpu_run_sync(v, 2);
	memcpy(hc_page, snapshot, PAGE_SIZE);
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, 0);
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, 0);
	vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, gpa(hc_page) | 1);
	vcpu_run_done(v);
	vm_free(vm);
}

/* What the guest has written behind the clock stays, as it does without a clock (D1). */
static void store_behind_the_clock(bool again)
{
	volatile u64 *ram = (u64 *)hc_page;

	fill_ram();
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	tsc_page_on(hc_page);
	ram[0x100] = ~MAGIC;
	if (again)
		enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_EQ(ram[0x100], ~MAGIC);
	GUEST_ASSERT_KNOWN_EQ(page_has_clock(hc_page), true);
}

GUEST_CODE(stores_behind_the_clock)
{
	store_behind_the_clock(false);
}

GUEST_CODE(stores_and_enables_again)
{
	store_behind_the_clock(true);
}

static void run_stores(void (*entry)(void))
{
	struct vm *vm;

	run_to_end(vm_with_pages(), entry);
	vm = vm_without_master_clock();
	run_to_end_of(vm, vm->vcpus[0], entry);
}

TEST(what_the_guest_writes_behind_a_clock_stays)
{
	run_stores(stores_behind_the_clock);
}

TEST_KNOWN(what_the_guest_writes_behind_a_clock_stays_below_the_code, "K38")
{
	run_stores(stores_and_enables_again);
}

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

/* The code comes over the clock and the RAM, which are below it as they were. */
GUEST_CODE(both_go_after_the_code_came_again)
{
	volatile u64 *ram = (u64 *)hc_page;
	u32 i;

	fill_ram();
	enable_again(true);
	tsc_page_on(hc_page);
	enable_again(false);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_KNOWN_EQ(page_has_clock(hc_page), true);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	for (i = TSC_BYTES / 8; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_EQ(ram[i], MAGIC + i);
}

TEST_KNOWN(ram_comes_back_behind_a_clock_that_the_code_covered, "K38")
{
	run_to_end(vm_with_pages(), both_go_after_the_code_came_again);
}

/* The clock has its parameters no more when the code goes. */
GUEST_CODE(master_clock_goes)
{
	volatile u64 *ram = (u64 *)hc_page;
	u32 i;

	fill_ram();
	enable_again(true);
	tsc_page_on(hc_page);
	GUEST_SYNC(1);
	GUEST_ASSERT_EQ(((volatile struct tsc_page *)hc_page)->sequence, 0);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	for (i = TSC_BYTES / 8; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_EQ(ram[i], MAGIC + i);
}

TEST(ram_comes_back_behind_a_clock_without_a_master_clock)
{
	struct vm *vm = vm_create(2, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);

	hc_page = vm_alloc(vm, PAGE_SIZE);
	hc_page2 = vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(v, master_clock_goes);
	vcpu_run_sync(v, 1);
	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC, vcpu_get_msr(v, MSR_IA32_TSC) + 100 * hz);
	vcpu_entry(vm->vcpus[1], runs);
	vcpu_run_done(vm->vcpus[1]);
	vcpu_run_done(v);
	vm_free(vm);
}

/* Stores in the first bytes of the code are the guest's, too (D1). */
GUEST_CODE(stores_into_the_code_over_a_clock)
{
	volatile u64 *ram = (u64 *)hc_page;

	fill_ram();
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(hc_page) | 1);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	ram[1] = ~MAGIC;
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_EQ(ram[1], ~MAGIC);
}

TEST(what_the_guest_writes_into_the_code_over_a_clock_stays)
{
	struct vm *vm = vm_without_master_clock();

	run_to_end_of(vm, vm->vcpus[0], stores_into_the_code_over_a_clock);
}

/* The clock leaves from below: the code is as the guest left it. */
GUEST_CODE(clock_leaves_from_below)
{
	volatile u64 *ram = (u64 *)hc_page;

	fill_ram();
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	tsc_page_on(hc_page);
	enable_again(false);
	ram[0x100] = ~MAGIC;
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	GUEST_ASSERT_EQ(ram[0x100], ~MAGIC);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page));
	GUEST_ASSERT_EQ(ram[0x100], ~MAGIC);
}

TEST(what_the_guest_writes_into_the_code_stays_when_the_clock_below_goes)
{
	run_to_end(vm_with_pages(), clock_leaves_from_below);
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
	struct vm *vm = vm_with_pages();
	u32 stage;

	vcpu_entry(vm->vcpus[0], clock_changes_below);
	for (stage = 1; stage <= 2; stage++) {
		vcpu_run_sync(vm->vcpus[0], stage);
		set_clock(vm, stage * JUMP_SEC * NS_PER_SEC);
	}
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}
