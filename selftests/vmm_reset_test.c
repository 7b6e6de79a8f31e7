// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reset and snapshot as a VMM does them: memory is cleared or replaced under a VM that has
 * timers, messages and a reference TSC page in use on all VPs, and the registers are written in
 * the order of one VMM or another, several times. Afterwards the guest finds what a new VM has,
 * and nothing of its former life comes; or it goes on where the snapshot was taken.
 */
#include <string.h>

#include "refclock.h"
#include "stimer.h"
#include "vmm.h"

#define ROUNDS 3
#define LIVE   1 /* stages of the guest */
#define VEC2   0x62
#define TICKS  3

/* The shared pages; those of a VP are synic_messages, synic_events and assist. */
static u8 *code_page, *tsc_page, *assist[VMM_VPS];

/* --- guest --------------------------------------------------------------- */

static volatile u32 direct[VMM_VPS], lived[VMM_VPS];
static volatile bool expect_new, expect_page;
static u64 live_time;

static void on_direct(struct guest_frame *f)
{
	(void)f;
	direct[this_cpu()->id]++;
	apic_eoi();
}

static void clocks_agree(void)
{
	u64 before = ref_now(), by_page = guest_time((void *)tsc_page), after = ref_now();

	GUEST_ASSERT(by_page + 1 >= before);
	GUEST_ASSERT(by_page <= after + 1);
}

static void calls_work(void)
{
	u64 result;

	GUEST_ASSERT_EQ(__hypercall_page(code_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1,
					 0, &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

static void assert_clear(const void *page)
{
	const volatile u64 *p = page;
	u32 i;

	for (i = 0; i < PAGE_SIZE / 8; i++)
		GUEST_ASSERT_EQ(p[i], 0);
}

/* A VP of a VM that was reset, in memory that was cleared, with interrupts let in. */
static void assert_new(u32 id)
{
	u32 i;

	if (!lived[!id])
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIEFP), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SCONTROL), 0);
	for (i = 0; i < 16; i++)
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(i)), HV_SINT_MASKED);
	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		GUEST_ASSERT_EQ(rdmsr(CONFIG(i)), 0);
		GUEST_ASSERT_EQ(rdmsr(COUNT(i)), 0);
	}
	apic_enable();
	irqs_on();
	guest_settle(15);
	irqs_off();
	GUEST_ASSERT_EQ(nr_taken, 0);
	GUEST_ASSERT_EQ(direct[id], 0);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	assert_clear(synic_messages[id]);
	assert_clear(synic_events[id]);
	assert_clear(assist[id]);
	if (lived[!id])
		return;
	GUEST_ASSERT_KNOWN_EQ(rdmsr(HV_X64_MSR_HYPERCALL), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), 0);
	assert_clear(code_page);
	assert_clear(tsc_page);
}

static void use(u32 id)
{
	u32 msgs = nr_taken, irqs = direct[id];

	calls_work();
	/* A VMM that sets TSCs one by one may leave the host without a master clock. */
	if (expect_page)
		GUEST_ASSERT(((struct tsc_page *)tsc_page)->sequence);
	clocks_agree();
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, msgs + TICKS, WAIT_MS));
	GUEST_ASSERT(guest_wait(&direct[id], irqs + TICKS, WAIT_MS));
	irqs_off();
	clocks_agree();
	/* The one that is far away. */
	GUEST_ASSERT_EQ(rdmsr(CONFIG(2)), ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC2));
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT | PERIODIC);
}

static void begin(u32 id)
{
	guest_set_os_id();
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(code_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(tsc_page) | 1);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(assist[id]) | 1);
	wrmsr(HV_X64_MSR_SIMP, synic_simp(id));
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(id));
	wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
	setup();
	start(0, ONE_SHOT | PERIODIC, REF_MS(4));
	start(1, ON | PERIODIC | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC2), REF_MS(6));
	start(2, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC2), ref_now() + FAR);
}

GUEST_CODE(life)
{
	u32 id = this_cpu()->id;

	if (expect_new)
		assert_new(id);
	lived[id] = 1;
	begin(id);
	use(id);
	/* A message that nobody has taken. */
	GUEST_ASSERT(wait_slot(SINT));
	live_time = ref_now();
	GUEST_SYNC(LIVE);

	/* Where a snapshot goes on. */
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_TIMER_EXPIRED);
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	GUEST_ASSERT(ref_now() >= live_time);
	GUEST_ASSERT(ref_now() - live_time < REF_MS(120 * 1000));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(code_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), gpa(tsc_page) | 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), gpa(assist[id]) | 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), synic_simp(id));
	use(id);
}

/* What the snapshot has to undo. */
GUEST_CODE(undo)
{
	u32 i;

	for (i = 0; i < HV_SYNIC_STIMERS; i++)
		wrmsr(CONFIG(i), 0);
	wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_MASKED);
	wrmsr(HV_X64_MSR_SIMP, 0);
	wrmsr(HV_X64_MSR_SIEFP, 0);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
}

/* --- the VMM's state of a VM ---------------------------------------------- */

static struct vm_state snapshot, at_reset;

/* --- the cases ------------------------------------------------------------ */

static struct vm *new_vm(u32 cap)
{
	struct vm *vm;
	u32 i;

	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	guest_irq_handlers[VEC2] = on_direct;
	vm = synic_vm_bare(VMM_VPS, cap);
	code_page = vm_alloc(vm, PAGE_SIZE);
	tsc_page = vm_alloc(vm, PAGE_SIZE);
	for (i = 0; i < VMM_VPS; i++)
		assist[i] = vm_alloc(vm, PAGE_SIZE);
	return vm;
}

/* The program's own memory is the guest's as well, and no part of a snapshot. */
static void forget(void)
{
	u32 i;

	nr_taken = 0;
	for (i = 0; i < 256; i++)
		guest_irqs[i] = 0;
	for (i = 0; i < VMM_VPS; i++) {
		direct[i] = 0;
		lived[i] = 0;
	}
}

static void run_to_live(struct vm *vm)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++) {
		/* What of the other VP counts is known from before. */
		nr_taken = 0;
		guest_irqs[VEC] = 0;
		synic_run_sync(vm->vcpus[i], LIVE);
	}
}

static void clear_pages(void)
{
	u32 i;

	memset(code_page, 0, PAGE_SIZE);
	memset(tsc_page, 0, PAGE_SIZE);
	for (i = 0; i < VMM_VPS; i++) {
		memset(synic_messages[i], 0, PAGE_SIZE);
		memset(synic_events[i], 0, PAGE_SIZE);
		memset(assist[i], 0, PAGE_SIZE);
	}
}

static void enter(struct vm *vm)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++)
		vcpu_entry(vm->vcpus[i], life);
}

/* @late: memory is cleared when the registers are written already. */
static void reset(enum vmm vmm, u32 cap, bool late)
{
	struct vm *vm = new_vm(cap);
	u32 i, round;

	/* A VMM has the SynIC off at first, KVM has it on. */
	for (i = 0; i < VMM_VPS; i++)
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SCONTROL, 0);
	vmm_save(vm, &at_reset);
	expect_new = true;
	enter(vm);
	for (round = 0; round < ROUNDS; round++) {
		forget();
		run_to_live(vm);
		for (i = 0; i < VMM_VPS; i++)
			vmm_complete(vm->vcpus[i]);
		if (!late)
			clear_pages();
		vmm_write_registers[vmm](vm, &at_reset);
		if (late)
			clear_pages();
		enter(vm);
	}
	forget();
	run_to_live(vm);
	vm_free(vm);
}

/* Stock drops a write of HYPERCALL behind that of GUEST_OS_ID = 0; openvmm gets round that. */
TEST_KNOWN(reset_by_qemu, "K4")
{
	reset(QEMU, KVM_CAP_HYPERV_SYNIC2, false);
}

TEST_KNOWN(reset_by_qemu_memory_last, "K4")
{
	reset(QEMU, KVM_CAP_HYPERV_SYNIC2, true);
}

TEST_KNOWN(reset_by_cloud_hypervisor, "K4")
{
	reset(CLOUD_HYPERVISOR, KVM_CAP_HYPERV_SYNIC, false);
}

TEST(reset_by_openvmm)
{
	reset(OPENVMM, KVM_CAP_HYPERV_SYNIC, false);
}

TEST(reset_by_openvmm_memory_last)
{
	reset(OPENVMM, KVM_CAP_HYPERV_SYNIC, true);
}

/* No register is written: the guest starts again in what it finds. */
TEST(guest_starts_again)
{
	struct vm *vm = new_vm(KVM_CAP_HYPERV_SYNIC);
	u32 i, round;

	expect_page = true;
	enter(vm);
	for (round = 0; round < ROUNDS; round++) {
		forget();
		run_to_live(vm);
		for (i = 0; i < VMM_VPS; i++)
			vmm_complete(vm->vcpus[i]);
		clear_pages();
		enter(vm);
	}
	forget();
	run_to_live(vm);
	vm_free(vm);
}

static void log_page(void)
{
	ktap_log("sequence of the reference TSC page: %u", ((struct tsc_page *)tsc_page)->sequence);
}

static void go_on(struct vm *vm)
{
	u32 i;

	forget();
	for (i = 0; i < VMM_VPS; i++) {
		nr_taken = 0;
		synic_run_done(vm->vcpus[i]);
	}
}

static void restore_again(enum vmm vmm, u32 cap)
{
	struct vm *vm = new_vm(cap);
	u32 i, round;

	expect_new = false;
	enter(vm);
	forget();
	run_to_live(vm);
	vmm_save(vm, &snapshot);
	for (round = 0; round < ROUNDS; round++) {
		go_on(vm);
		if (round & 1) {
			for (i = 0; i < VMM_VPS; i++)
				vcpu_entry(vm->vcpus[i], undo);
			go_on(vm);
		}
		for (i = 0; i < VMM_VPS; i++)
			vmm_complete(vm->vcpus[i]);
		memcpy(vm->ram, snapshot.ram, vm->ram_used);
		vmm_write_registers[vmm](vm, &snapshot);
	}
	go_on(vm);
	log_page();
	vm_free(vm);
}

TEST(snapshot_of_qemu)
{
	restore_again(QEMU, KVM_CAP_HYPERV_SYNIC2);
}

TEST(snapshot_of_cloud_hypervisor)
{
	restore_again(CLOUD_HYPERVISOR, KVM_CAP_HYPERV_SYNIC);
}

TEST(snapshot_of_openvmm)
{
	restore_again(OPENVMM, KVM_CAP_HYPERV_SYNIC);
}
