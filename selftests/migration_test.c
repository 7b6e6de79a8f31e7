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

/* A VM with a SynIC of which nothing is enabled, and pages that a guest may use. */
static u8 *hypercall_page, *tsc_page, *assist_page;

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
	vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC2);
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

struct saved {
	struct {
		struct kvm_msrs hdr;
		struct kvm_msr_entry entries[NR_SAVED];
	} msrs;
	struct kvm_clock_data clock;
	struct kvm_lapic_state lapic;
	u8 message_page[PAGE_SIZE], hypercall_page[PAGE_SIZE], tsc_page[PAGE_SIZE];
	u8 assist_page[PAGE_SIZE];
};

static void save_msrs(struct vcpu *v, struct saved *s)
{
	u32 i;

	s->msrs.hdr.nmsrs = NR_SAVED;
	for (i = 0; i < NR_SAVED; i++)
		s->msrs.entries[i].index = saved_msrs[i];
	ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, &s->msrs), (int)NR_SAVED);
}

static void save(struct vm *vm, struct saved *s)
{
	memset(s, 0, sizeof(*s));
	save_msrs(vm->vcpus[0], s);
	vcpu_ioctl(vm->vcpus[0], KVM_GET_LAPIC, &s->lapic);
	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &s->clock), 0);
	memcpy(s->message_page, synic_messages[0], PAGE_SIZE);
	memcpy(s->hypercall_page, hypercall_page, PAGE_SIZE);
	memcpy(s->tsc_page, tsc_page, PAGE_SIZE);
	memcpy(s->assist_page, assist_page, PAGE_SIZE);
}

static struct vm *restore(enum kind kind, struct saved *s, bool reverse)
{
	struct vm *vm = new_vm(kind);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_msr_entry e;
	u32 i;

	memcpy(synic_messages[0], s->message_page, PAGE_SIZE);
	memcpy(hypercall_page, s->hypercall_page, PAGE_SIZE);
	memcpy(tsc_page, s->tsc_page, PAGE_SIZE);
	memcpy(assist_page, s->assist_page, PAGE_SIZE);
	/* Only the time itself: no step for what passed since, nothing of this host's TSC. */
	s->clock.flags = 0;
	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &s->clock), 0);
	vcpu_ioctl(v, KVM_SET_LAPIC, &s->lapic);
	for (i = 0; reverse && i < NR_SAVED / 2; i++) {
		e = s->msrs.entries[i];
		s->msrs.entries[i] = s->msrs.entries[NR_SAVED - 1 - i];
		s->msrs.entries[NR_SAVED - 1 - i] = e;
	}
	ASSERT_EQ(__vcpu_ioctl(v, KVM_SET_MSRS, &s->msrs), (int)NR_SAVED);
	return vm;
}

/* Run @first, save, and run @second in another VM, which has the state of the first. */
static void migrate_once(enum kind from, enum kind to, void (*first)(void), void (*second)(void),
			 bool reverse)
{
	struct vm *vm = new_vm(from);
	struct saved s, again;
	u32 i;

	ktap_log("%s to %s", kind_names[from], kind_names[to]);
	nr_taken = 0;
	memset((void *)guest_irqs, 0, sizeof(guest_irqs));
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_SIMP, synic_simp(0));
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_SIEFP, synic_siefp(0));
	vcpu_entry(vm->vcpus[0], first);
	synic_run_done(vm->vcpus[0]);
	save(vm, &s);
	vm_free(vm);

	vm = restore(to, &s, reverse);
	/* What has not run yet is what was saved: nothing has expired in between. */
	save_msrs(vm->vcpus[0], &again);
	for (i = 0; i < NR_SAVED; i++) {
		u32 at = reverse ? NR_SAVED - 1 - i : i;

		ASSERT(s.msrs.entries[at].data == again.msrs.entries[i].data,
		       "MSR 0x%x: 0x%llx became 0x%llx", saved_msrs[i],
		       (unsigned long long)s.msrs.entries[at].data,
		       (unsigned long long)again.msrs.entries[i].data);
	}
	vcpu_entry(vm->vcpus[0], second);
	synic_run_done(vm->vcpus[0]);
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

struct tsc_page {
	volatile u32 sequence;
	u32 rsvd;
	volatile u64 scale;
	volatile s64 offset;
};

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
