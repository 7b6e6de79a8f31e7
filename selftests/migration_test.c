// SPDX-License-Identifier: GPL-2.0-only
/*
 * Save and restore: a guest's registers, local APIC, clock and pages from one VM into
 * another. With the module one process has VMs of either kind, by its parameter
 * "takeover": each case goes from stock to the module, back, and from the module to
 * itself; without, from stock to stock. No expiry and no message may be lost, come
 * twice or come early. TLFS chapters "Timers" and "Inter-Partition Communication".
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "module.h"
#include "stimer.h"

/* --- VMs of either kind ------------------------------------------------- */

#define TAKEOVER "/sys/module/kvm_hyperv/parameters/takeover"

enum kind { STOCK, MODULE };

static const char *const kind_names[] = { [STOCK] = "stock", [MODULE] = "module" };

static void set_takeover(bool on)
{
	int fd = open(TAKEOVER, O_WRONLY | O_CLOEXEC);

	ASSERT(fd >= 0, TAKEOVER ": %s", strerror(errno));
	ASSERT_EQ(write(fd, on ? "1" : "0", 1), 1);
	close(fd);
}

#define MAX_VPS 2

/* A VM with a SynIC of which nothing is enabled, and pages that a guest may use. */
static u8 *hypercall_page, *tsc_page, *assist_page;
static u32 nr_vps = 1;

static struct vm *new_vm(enum kind kind)
{
	unsigned int before = 0;
	struct vm *vm;

	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	if (module_loaded()) {
		set_takeover(kind == MODULE);
		before = module_vms_created();
	}
	vm = synic_vm_bare(nr_vps, KVM_CAP_HYPERV_SYNIC2);
	hypercall_page = vm_alloc(vm, PAGE_SIZE);
	tsc_page = vm_alloc(vm, PAGE_SIZE);
	assist_page = vm_alloc(vm, PAGE_SIZE);
	if (module_loaded()) {
		set_takeover(true);
		ASSERT(module_vms_created() - before == (kind == MODULE), "whose is the VM?");
	}
	return vm;
}

/* --- save and restore --------------------------------------------------- */

/* The identity first: the hypercall page needs it. */
static const u32 saved_msrs[] = {
	HV_X64_MSR_GUEST_OS_ID,
	HV_X64_MSR_HYPERCALL,
	HV_X64_MSR_VP_INDEX,
	HV_X64_MSR_REFERENCE_TSC,
	HV_X64_MSR_VP_ASSIST_PAGE,
	HV_X64_MSR_CRASH_P0,
	HV_X64_MSR_CRASH_P0 + 1,
	HV_X64_MSR_CRASH_P0 + 2,
	HV_X64_MSR_CRASH_P0 + 3,
	HV_X64_MSR_CRASH_P4,
	HV_X64_MSR_REENLIGHTENMENT_CONTROL,
	HV_X64_MSR_TSC_EMULATION_STATUS,
	HV_X64_MSR_SYNDBG_OPTIONS,
	HV_X64_MSR_SCONTROL,
	HV_X64_MSR_SIEFP,
	HV_X64_MSR_SIMP,
	HV_X64_MSR_SINT(0),
	HV_X64_MSR_SINT(SINT),
	HV_X64_MSR_SINT(2),
	HV_X64_MSR_SINT(15),
	CONFIG(0),
	COUNT(0),
	COUNT(1),
	CONFIG(1),
	CONFIG(2),
	COUNT(2),
	CONFIG(3),
	COUNT(3),
};

#define NR_SAVED ARRAY_SIZE(saved_msrs)

struct saved_vp {
	struct {
		struct kvm_msrs hdr;
		struct kvm_msr_entry entries[NR_SAVED];
	} msrs;
	struct kvm_lapic_state lapic;
	u8 message_page[PAGE_SIZE];
};

struct saved {
	struct saved_vp vps[MAX_VPS];
	struct kvm_clock_data clock;
	u8 hypercall_page[PAGE_SIZE], tsc_page[PAGE_SIZE], assist_page[PAGE_SIZE];
};

static void save_msrs(struct vcpu *v, struct saved_vp *s)
{
	u32 i;

	s->msrs.hdr.nmsrs = NR_SAVED;
	for (i = 0; i < NR_SAVED; i++)
		s->msrs.entries[i].index = saved_msrs[i];
	ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, &s->msrs), (int)NR_SAVED);
}

static void save(struct vm *vm, struct saved *s)
{
	u32 i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < nr_vps; i++) {
		save_msrs(vm->vcpus[i], &s->vps[i]);
		vcpu_ioctl(vm->vcpus[i], KVM_GET_LAPIC, &s->vps[i].lapic);
		memcpy(s->vps[i].message_page, synic_messages[i], PAGE_SIZE);
	}
	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &s->clock), 0);
	memcpy(s->hypercall_page, hypercall_page, PAGE_SIZE);
	memcpy(s->tsc_page, tsc_page, PAGE_SIZE);
	memcpy(s->assist_page, assist_page, PAGE_SIZE);
}

static void restore_vp(struct vcpu *v, struct saved_vp *s, bool reverse)
{
	struct kvm_msr_entry e;
	u32 i;

	vcpu_ioctl(v, KVM_SET_LAPIC, &s->lapic);
	for (i = 0; reverse && i < NR_SAVED / 2; i++) {
		e = s->msrs.entries[i];
		s->msrs.entries[i] = s->msrs.entries[NR_SAVED - 1 - i];
		s->msrs.entries[NR_SAVED - 1 - i] = e;
	}
	ASSERT_EQ(__vcpu_ioctl(v, KVM_SET_MSRS, &s->msrs), (int)NR_SAVED);
}

static struct vm *restore(enum kind kind, struct saved *s, bool reverse)
{
	struct vm *vm = new_vm(kind);
	u32 i;

	for (i = 0; i < nr_vps; i++)
		memcpy(synic_messages[i], s->vps[i].message_page, PAGE_SIZE);
	memcpy(hypercall_page, s->hypercall_page, PAGE_SIZE);
	memcpy(tsc_page, s->tsc_page, PAGE_SIZE);
	memcpy(assist_page, s->assist_page, PAGE_SIZE);
	/* Only the time itself: no step for what passed since, nothing of this host's TSC. */
	s->clock.flags = 0;
	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &s->clock), 0);
	for (i = 0; i < nr_vps; i++)
		restore_vp(vm->vcpus[i], &s->vps[i], reverse);
	return vm;
}

/* What has not run yet is what was saved: nothing has expired in between. */
static void check_restored(struct vcpu *v, const struct saved_vp *s, bool reverse)
{
	struct saved_vp again;
	u32 i;

	save_msrs(v, &again);
	for (i = 0; i < NR_SAVED; i++) {
		u32 at = reverse ? NR_SAVED - 1 - i : i;

		ASSERT(s->msrs.entries[at].data == again.msrs.entries[i].data,
		       "VP %u: MSR 0x%x: 0x%llx became 0x%llx", v->id, saved_msrs[i],
		       (unsigned long long)s->msrs.entries[at].data,
		       (unsigned long long)again.msrs.entries[i].data);
	}
}

/* Each VP in its turn. */
static void run_all(struct vm *vm, void (*entry)(void))
{
	u32 i;

	for (i = 0; i < nr_vps; i++) {
		vcpu_entry(vm->vcpus[i], entry);
		synic_run_done(vm->vcpus[i]);
	}
}

/* The guest may ask where it comes from and where it is. */
static enum kind source, target;

/* Run @first, save, and run @second in another VM, which has the state of the first. */
static void migrate_once(enum kind from, enum kind to, void (*first)(void), void (*second)(void),
			 bool reverse)
{
	struct vm *vm = new_vm(from);
	struct saved s;
	u32 i;

	ktap_log("%s to %s", kind_names[from], kind_names[to]);
	source = from;
	target = to;
	nr_taken = 0;
	memset((void *)guest_irqs, 0, sizeof(guest_irqs));
	for (i = 0; i < nr_vps; i++) {
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SIMP, synic_simp(i));
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SIEFP, synic_siefp(i));
	}
	run_all(vm, first);
	save(vm, &s);
	vm_free(vm);

	vm = restore(to, &s, reverse);
	for (i = 0; i < nr_vps; i++)
		check_restored(vm->vcpus[i], &s.vps[i], reverse);
	run_all(vm, second);
	vm_free(vm);
}

static void migrate(void (*first)(void), void (*second)(void), bool reverse)
{
	if (!module_loaded()) {
		migrate_once(STOCK, STOCK, first, second, reverse);
		return;
	}
	migrate_once(STOCK, MODULE, first, second, reverse);
	migrate_once(MODULE, STOCK, first, second, reverse);
	migrate_once(MODULE, MODULE, first, second, reverse);
}

/* The order in which user space restores timers and SynIC must not matter. */
#define MIGRATE(name, first, second)           \
	TEST(name)                             \
	{                                      \
		migrate(first, second, false); \
	}                                      \
	TEST(name##_in_reverse)                \
	{                                      \
		migrate(first, second, true);  \
	}

/* --- timers ------------------------------------------------------------- */

static u64 saved_count, save_time;

GUEST_CODE(arm_and_leave)
{
	setup();
	saved_count = in_ms(40);
	start(0, ONE_SHOT, saved_count);
	start(1, ON | DIRECT, ref_now() + FAR);
	start(2, ON | DIRECT | PERIODIC, FAR);
	start(3, TO_SINT | HV_STIMER_AUTO_ENABLE, 0);
	save_time = ref_now();
}

GUEST_CODE(armed_comes)
{
	GUEST_ASSERT(ref_now() >= save_time);
	GUEST_ASSERT_EQ(apic_read(APIC_SPIV), APIC_SPIV_ON);
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 1, WAIT_MS));
	GUEST_ASSERT_EQ(taken[0].index, 0);
	GUEST_ASSERT_EQ(taken[0].expiration, saved_count);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(1)), ON | DIRECT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(2)), ON | DIRECT | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(COUNT(2)), FAR);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(3)), TO_SINT | HV_STIMER_AUTO_ENABLE);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(nr_taken, 1);
}

MIGRATE(armed_one_shot, arm_and_leave, armed_comes)

GUEST_CODE(tick_and_leave)
{
	setup();
	irqs_on();
	start(0, ONE_SHOT | PERIODIC, REF_MS(5));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	irqs_off();
	/* Leave no interrupt and no message behind, so that the numbers are clear. */
	irqs_window();
	guest_irqs[VEC] = 0;
	nr_taken = 0;
	save_time = ref_now();
}

GUEST_CODE(ticks_go_on)
{
	u32 i;

	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 10, WAIT_MS));
	irqs_off();
	/* No burst: not more than periods began since the VM was saved. */
	i = guest_irqs[VEC];
	GUEST_ASSERT(i <= (ref_now() - save_time) / REF_MS(5) + 1);
	for (i = 1; i < nr_taken; i++)
		GUEST_ASSERT(taken[i].expiration > taken[i - 1].expiration);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT | PERIODIC);
}

MIGRATE(running_periodic, tick_and_leave, ticks_go_on)

/* Direct: no message tells which of two timers it was, so they have vectors of their own. */
#define VEC2 0x62

GUEST_CODE(direct_and_leave)
{
	setup();
	saved_count = in_ms(40);
	start(0, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC), saved_count);
	start(1, ON | PERIODIC | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC2), REF_MS(10));
	save_time = ref_now();
}

static volatile u64 direct_came;

static void on_direct(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	if (f->vector == VEC)
		direct_came = ref_now();
	apic_eoi();
}

GUEST_CODE(direct_comes)
{
	guest_irq_handlers[VEC] = on_direct;
	guest_irq_handlers[VEC2] = on_direct;
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT(direct_came >= saved_count);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC2], 5, WAIT_MS));
	irqs_off();
	GUEST_ASSERT(guest_irqs[VEC2] <= (ref_now() - save_time) / REF_MS(10) + 1);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)) & ON, 0);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

MIGRATE(direct, direct_and_leave, direct_comes)

/* Expired, but the slot was busy: enabled and in the past. */
GUEST_CODE(busy_and_leave)
{
	setup();
	start(1, ONE_SHOT, 1);
	GUEST_ASSERT(wait_slot(SINT));
	start(0, ONE_SHOT, 2);
	GUEST_ASSERT(wait_pending_flag(SINT));
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(1)), TO_SINT);
}

/* The first message came with the page and its interrupt with the APIC; the second follows. */
GUEST_CODE(busy_comes)
{
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 2, WAIT_MS));
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(nr_taken, 2);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 2);
	GUEST_ASSERT_EQ(taken[0].index, 1);
	GUEST_ASSERT_EQ(taken[0].expiration, 1);
	GUEST_ASSERT_EQ(taken[1].index, 0);
	GUEST_ASSERT_EQ(taken[1].expiration, 2);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

MIGRATE(busy_slot, busy_and_leave, busy_comes)

/* Periodic: the slot was busy when a tick was due, and still is in the other VM. */
#define PERIOD_MS 5

static u64 armed_time;

GUEST_CODE(owed_and_leave)
{
	setup();
	start(1, ONE_SHOT, 1);
	GUEST_ASSERT(wait_slot(SINT));
	armed_time = ref_now();
	start(0, ONE_SHOT | PERIODIC, REF_MS(PERIOD_MS));
	/* Stock leaves no mark of it, and drops the tick. */
	if (source == MODULE)
		GUEST_ASSERT(wait_pending_flag(SINT));
	guest_settle(2 * PERIOD_MS);
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT | PERIODIC);
}

GUEST_CODE(owed_comes)
{
	u64 apart;
	u32 i;

	guest_settle(2 * PERIOD_MS);
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 8, WAIT_MS));
	irqs_off();
	GUEST_ASSERT_EQ(taken[0].index, 1);
	GUEST_ASSERT_EQ(taken[0].expiration, 1);
	GUEST_ASSERT_EQ(taken[1].index, 0);
	GUEST_ASSERT(taken[1].expiration >= armed_time + REF_MS(PERIOD_MS));
	for (i = 2; i < nr_taken; i++) {
		GUEST_ASSERT_EQ(taken[i].index, 0);
		apart = taken[i].expiration - taken[i - 1].expiration;
		GUEST_ASSERT(taken[i].expiration > taken[i - 1].expiration);
		GUEST_ASSERT_EQ(apart % REF_MS(PERIOD_MS), 0);
	}
	/* One message is of the other timer. */
	GUEST_ASSERT(nr_taken - 1 <= (ref_now() - armed_time) / REF_MS(PERIOD_MS));
	GUEST_ASSERT_EQ(guest_irqs[VEC], nr_taken);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(COUNT(0)), REF_MS(PERIOD_MS));
}

MIGRATE(busy_slot_periodic, owed_and_leave, owed_comes)

/* Two VPs with timers: number id is one-shot, number 2 + id is periodic and direct. */
static u64 vp_count[MAX_VPS], vp_save_time[MAX_VPS];

static u64 vp_period(u32 id)
{
	return REF_MS(5 + 2 * id);
}

GUEST_CODE(two_and_leave)
{
	u32 id = this_cpu()->id;

	setup();
	vp_count[id] = in_ms(40);
	start(id, ONE_SHOT, vp_count[id]);
	start(2 + id, ON | PERIODIC | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC2), vp_period(id));
	vp_save_time[id] = ref_now();
}

GUEST_CODE(two_come)
{
	u32 id = this_cpu()->id;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), id);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(!id)), 0);
	GUEST_ASSERT_EQ(rdmsr(COUNT(2 + id)), vp_period(id));
	GUEST_ASSERT_EQ(rdmsr(COUNT(2 + !id)), 0);
	guest_irq_handlers[VEC2] = on_direct;
	guest_irqs[VEC2] = 0;
	guest_irqs[VEC] = 0;
	nr_taken = 0;
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 1, WAIT_MS));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC2], 5, WAIT_MS));
	guest_settle(SETTLE_MS);
	irqs_off();
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(taken[0].index, id);
	GUEST_ASSERT_EQ(taken[0].expiration, vp_count[id]);
	GUEST_ASSERT(guest_irqs[VEC2] <= (ref_now() - vp_save_time[id]) / vp_period(id) + 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(id)), TO_SINT);
}

TEST(two_vps)
{
	nr_vps = 2;
	migrate(two_and_leave, two_come, false);
}

TEST(two_vps_in_reverse)
{
	nr_vps = 2;
	migrate(two_and_leave, two_come, true);
}

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
TEST(registers)
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
	for (i = 0; source == target && i < ARRAY_SIZE(page_before); i++)
		GUEST_ASSERT_EQ(page[i], page_before[i]);
	calls_work();
}

/* As above: not in reverse. */
TEST(hypercalls)
{
	migrate(call_and_leave, calls_go_on, false);
}

static u64 page_now(const struct tsc_page *page)
{
	u64 scale = page->scale, tsc = rdtsc(), high;

	asm("mul %2" : "=d"(high), "+a"(tsc) : "r"(scale) : "cc");
	return high + (u64)page->offset;
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
	u64 before = ref_now(), by_page = page_now(page), after = ref_now();

	GUEST_ASSERT(before >= save_time);
	/* A minute is far more than a migration takes here. */
	GUEST_ASSERT(before - save_time < REF_MS(60000));
	GUEST_ASSERT(page->sequence);
	/* The two clocks may differ by the rounding of one tick at either end. */
	GUEST_ASSERT(by_page + 1 >= before);
	GUEST_ASSERT(by_page <= after + 1);
}

MIGRATE(reference_time, clock_and_leave, clock_goes_on)
