// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reset and snapshot as a VMM does them: memory is cleared or replaced under a VM that has
 * timers, messages and a reference TSC page in use on all VPs, and the registers are written in
 * the order of one VMM or another, several times. Afterwards the guest finds what a new VM has,
 * and nothing of its former life comes; or it goes on where the snapshot was taken.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "stimer.h"

#define NR_VPS	2
#define ROUNDS	3
#define LIVE	1 /* stages of the guest */
#define VEC2	0x62
#define TICKS	3
#define MSR_TSC 0x10u

enum vmm { QEMU, CLOUD_HYPERVISOR, OPENVMM, NR_VMMS };

/* The shared pages; those of a VP are synic_messages, synic_events and assist. */
static u8 *code_page, *tsc_page, *assist[NR_VPS];

/* --- guest --------------------------------------------------------------- */

static volatile u32 direct[NR_VPS], lived[NR_VPS];
static volatile bool expect_new, expect_page;
static u64 live_time;

static void on_direct(struct guest_frame *f)
{
	(void)f;
	direct[this_cpu()->id]++;
	apic_eoi();
}

static u64 page_now(void)
{
	const struct tsc_page *page = (void *)tsc_page;
	u64 scale, high, tsc;
	s64 offset;
	u32 sequence;

	do {
		sequence = page->sequence;
		if (!sequence)
			return ref_now();
		scale = page->scale;
		offset = page->offset;
		tsc = rdtsc();
	} while (page->sequence != sequence);
	asm("mul %2" : "=d"(high), "+a"(tsc) : "r"(scale) : "cc");
	return high + (u64)offset;
}

static void clocks_agree(void)
{
	u64 before = ref_now(), by_page = page_now(), after = ref_now();

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

#define MAX_MSRS 64

struct msr_list {
	struct kvm_msrs hdr;
	struct kvm_msr_entry entries[MAX_MSRS];
};

struct vp_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	struct msr_list msrs; /* in the order of the list all_msrs() */
};

struct vm_state {
	struct vp_state vps[NR_VPS];
	struct kvm_clock_data clock;
	u8 ram[4UL << 20];
};

static struct vm_state snapshot, at_reset;

static void add(struct msr_list *l, u32 msr)
{
	ASSERT(l->hdr.nmsrs < MAX_MSRS, "too many MSRs");
	l->entries[l->hdr.nmsrs++].index = msr;
}

static const u32 vm_msrs[] = {
	HV_X64_MSR_GUEST_OS_ID,		  HV_X64_MSR_HYPERCALL,
	HV_X64_MSR_REFERENCE_TSC,	  HV_X64_MSR_REENLIGHTENMENT_CONTROL,
	HV_X64_MSR_TSC_EMULATION_CONTROL, HV_X64_MSR_TSC_EMULATION_STATUS,
};

static const u32 vp_msrs[] = {
	HV_X64_MSR_VP_ASSIST_PAGE, HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_VP_INDEX, HV_X64_MSR_SVERSION,
	HV_X64_MSR_SCONTROL,	   HV_X64_MSR_SIEFP,	  HV_X64_MSR_SIMP,
};

static void all_msrs(struct msr_list *l)
{
	u32 i;

	memset(l, 0, sizeof(*l));
	add(l, MSR_TSC);
	for (i = 0; i < ARRAY_SIZE(vm_msrs); i++)
		add(l, vm_msrs[i]);
	for (i = 0; i < ARRAY_SIZE(vp_msrs); i++)
		add(l, vp_msrs[i]);
	for (i = 0; i < 16; i++)
		add(l, HV_X64_MSR_SINT(i));
	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		add(l, CONFIG(i));
		add(l, COUNT(i));
	}
}

/* Let the instruction that led to user space end, as a VMM does before it looks. */
static void complete(struct vcpu *v)
{
	v->run->immediate_exit = 1;
	ASSERT(ioctl(v->fd, KVM_RUN, 0) < 0 && errno == EINTR, "KVM_RUN");
	v->run->immediate_exit = 0;
}

static void save(struct vm *vm, struct vm_state *s)
{
	u32 i;

	for (i = 0; i < NR_VPS; i++) {
		struct vcpu *v = vm->vcpus[i];
		struct vp_state *vp = &s->vps[i];

		complete(v);
		vcpu_ioctl(v, KVM_GET_REGS, &vp->regs);
		vcpu_ioctl(v, KVM_GET_SREGS, &vp->sregs);
		vcpu_ioctl(v, KVM_GET_LAPIC, &vp->lapic);
		vcpu_ioctl(v, KVM_GET_MP_STATE, &vp->mp);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &vp->events);
		all_msrs(&vp->msrs);
		ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, &vp->msrs), (int)vp->msrs.hdr.nmsrs);
	}
	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &s->clock), 0);
	ASSERT(vm->ram_used <= sizeof(s->ram), "RAM");
	memcpy(s->ram, vm->ram, vm->ram_used);
}

static u64 value(const struct vp_state *vp, u32 msr)
{
	u32 i;

	for (i = 0; i < vp->msrs.hdr.nmsrs; i++)
		if (vp->msrs.entries[i].index == msr)
			return vp->msrs.entries[i].data;
	FAIL("MSR 0x%x was not saved", msr);
}

static bool saved(const struct vp_state *vp, u32 msr)
{
	u32 i;

	for (i = 0; i < vp->msrs.hdr.nmsrs; i++)
		if (vp->msrs.entries[i].index == msr)
			return true;
	return false;
}

static struct msr_list out; /* what is written next */

static void put(const struct vp_state *vp, u32 msr)
{
	add(&out, msr);
	out.entries[out.hdr.nmsrs - 1].data = value(vp, msr);
}

static void put_list(const struct vp_state *vp, const u32 *msrs, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		put(vp, msrs[i]);
}

static void put_sints(const struct vp_state *vp)
{
	u32 i;

	for (i = 0; i < 16; i++)
		put(vp, HV_X64_MSR_SINT(i));
}

static void write_msrs(struct vcpu *v)
{
	int n = __vcpu_ioctl(v, KVM_SET_MSRS, &out);

	ASSERT(n == (int)out.hdr.nmsrs, "MSR 0x%x was refused", out.entries[n < 0 ? 0 : n].index);
	memset(&out, 0, sizeof(out));
}

static void write_clock(struct vm *vm, const struct vm_state *s)
{
	struct kvm_clock_data clock = { .clock = s->clock.clock };

	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &clock), 0);
}

/*
 * The local APIC first, as a device; the MSRs in one go, those of the VM by the first VP alone, all
 * timers' CONFIG before all COUNT; the clock when the VM starts.
 */
static void write_as_qemu(struct vm *vm, const struct vm_state *s)
{
	u32 i, t;

	for (i = 0; i < NR_VPS; i++)
		vcpu_ioctl(vm->vcpus[i], KVM_SET_LAPIC, (void *)&s->vps[i].lapic);
	for (i = 0; i < NR_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];

		vcpu_ioctl(v, KVM_SET_SREGS, (void *)&vp->sregs);
		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		put(vp, MSR_TSC);
		if (!i)
			put_list(vp, vm_msrs, ARRAY_SIZE(vm_msrs));
		put_list(vp, vp_msrs, ARRAY_SIZE(vp_msrs));
		put_sints(vp);
		for (t = 0; t < HV_SYNIC_STIMERS; t++)
			put(vp, CONFIG(t));
		for (t = 0; t < HV_SYNIC_STIMERS; t++)
			put(vp, COUNT(t));
		write_msrs(v);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
	}
	write_clock(vm, s);
}

/*
 * What KVM_GET_MSR_INDEX_LIST names, in its order and on each VP. It does not name all: the rest
 * here behind it, by number.
 */
static void write_as_cloud_hypervisor(struct vm *vm, const struct vm_state *s)
{
	static struct {
		struct kvm_msr_list hdr;
		u32 indices[1024];
	} list;
	u32 i, j, k;

	list.hdr.nmsrs = ARRAY_SIZE(list.indices);
	ASSERT_EQ(ioctl(kvm_fd(), KVM_GET_MSR_INDEX_LIST, &list), 0);
	for (i = 0; i < NR_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];

		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		vcpu_ioctl(v, KVM_SET_SREGS, (void *)&vp->sregs);
		vcpu_ioctl(v, KVM_SET_LAPIC, (void *)&vp->lapic);
		for (j = 0; j < list.hdr.nmsrs; j++)
			if (saved(vp, list.indices[j]))
				put(vp, list.indices[j]);
		for (j = 0; j < vp->msrs.hdr.nmsrs; j++) {
			for (k = 0; k < out.hdr.nmsrs; k++)
				if (out.entries[k].index == vp->msrs.entries[j].index)
					break;
			if (k == out.hdr.nmsrs)
				put(vp, vp->msrs.entries[j].index);
		}
		write_msrs(v);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
	}
	write_clock(vm, s);
}

/*
 * The VM's registers first, HYPERCALL between two identities; the clock before the page; then each
 * VP: its APIC, its SynIC, the contents of the SynIC's pages once more, and timer by timer.
 */
static void write_as_openvmm(struct vm *vm, const struct vm_state *s)
{
	const struct vp_state *first = &s->vps[0];
	u32 i, t;

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 1);
	put(first, HV_X64_MSR_HYPERCALL);
	put(first, HV_X64_MSR_GUEST_OS_ID);
	write_msrs(vm->vcpus[0]);
	write_clock(vm, s);
	put(first, HV_X64_MSR_REFERENCE_TSC);
	write_msrs(vm->vcpus[0]);
	for (i = 0; i < NR_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];
		u64 at = gpa(synic_messages[i]) - gpa(vm->ram);

		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		vcpu_ioctl(v, KVM_SET_SREGS, (void *)&vp->sregs);
		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
		vcpu_ioctl(v, KVM_SET_LAPIC, (void *)&vp->lapic);
		put(vp, MSR_TSC);
		put(vp, HV_X64_MSR_VP_ASSIST_PAGE);
		put(vp, HV_X64_MSR_SCONTROL);
		put(vp, HV_X64_MSR_SIEFP);
		put(vp, HV_X64_MSR_SIMP);
		put_sints(vp);
		write_msrs(v);
		memcpy(synic_messages[i], s->ram + at, PAGE_SIZE);
		for (t = 0; t < HV_SYNIC_STIMERS; t++) {
			put(vp, CONFIG(t));
			put(vp, COUNT(t));
		}
		write_msrs(v);
	}
}

static void (*const write_registers[NR_VMMS])(struct vm *vm, const struct vm_state *s) = {
	[QEMU] = write_as_qemu,
	[CLOUD_HYPERVISOR] = write_as_cloud_hypervisor,
	[OPENVMM] = write_as_openvmm,
};

/* --- the cases ------------------------------------------------------------ */

static struct vm *new_vm(u32 cap)
{
	struct vm *vm;
	u32 i;

	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	guest_irq_handlers[VEC2] = on_direct;
	vm = synic_vm_bare(NR_VPS, cap);
	code_page = vm_alloc(vm, PAGE_SIZE);
	tsc_page = vm_alloc(vm, PAGE_SIZE);
	for (i = 0; i < NR_VPS; i++)
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
	for (i = 0; i < NR_VPS; i++) {
		direct[i] = 0;
		lived[i] = 0;
	}
}

static void run_to_live(struct vm *vm)
{
	u32 i;

	for (i = 0; i < NR_VPS; i++) {
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
	for (i = 0; i < NR_VPS; i++) {
		memset(synic_messages[i], 0, PAGE_SIZE);
		memset(synic_events[i], 0, PAGE_SIZE);
		memset(assist[i], 0, PAGE_SIZE);
	}
}

static void enter(struct vm *vm)
{
	u32 i;

	for (i = 0; i < NR_VPS; i++)
		vcpu_entry(vm->vcpus[i], life);
}

/* @late: memory is cleared when the registers are written already. */
static void reset(enum vmm vmm, u32 cap, bool late)
{
	struct vm *vm = new_vm(cap);
	u32 i, round;

	/* A VMM has the SynIC off at first, KVM has it on. */
	for (i = 0; i < NR_VPS; i++)
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SCONTROL, 0);
	save(vm, &at_reset);
	expect_new = true;
	enter(vm);
	for (round = 0; round < ROUNDS; round++) {
		forget();
		run_to_live(vm);
		for (i = 0; i < NR_VPS; i++)
			complete(vm->vcpus[i]);
		if (!late)
			clear_pages();
		write_registers[vmm](vm, &at_reset);
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
		for (i = 0; i < NR_VPS; i++)
			complete(vm->vcpus[i]);
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
	for (i = 0; i < NR_VPS; i++) {
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
	save(vm, &snapshot);
	for (round = 0; round < ROUNDS; round++) {
		go_on(vm);
		if (round & 1) {
			for (i = 0; i < NR_VPS; i++)
				vcpu_entry(vm->vcpus[i], undo);
			go_on(vm);
		}
		for (i = 0; i < NR_VPS; i++)
			complete(vm->vcpus[i]);
		memcpy(vm->ram, snapshot.ram, vm->ram_used);
		write_registers[vmm](vm, &snapshot);
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
