// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two vCPUs at the same time, one of which does what makes the other's exits expensive in
 * KVM: a handler that sleeps, takes a mutex or waits for another CPU in the exit fast path
 * shows here. The debug kernel is the judge (atomic sleep, lockdep, a hang), and so are the
 * numbers of what was sent and what arrived.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "irqfd.h"
#include "module.h"
#include "nested.h"
#include "synic.h"

/* Option --ms: of guest time, of which an emulator with two busy CPUs may have little. */
static u32 run_ms = 2000;

#define VEC	    0x51 /* of IPIs */
#define LEVEL_VEC   0x61
#define TIMER_VEC   0x71
#define SINT_VEC    0x81
#define MESSAGE_VEC 0x91

static volatile bool stop;
/* What each vCPU did: proof that none of them stood still. */
static volatile u64 rounds[2];

static void start_pinned(struct vcpu *v, void (*entry)(void), void *(*run)(void *))
{
	int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((int)v->id % cpus, &set);
	vcpu_entry(v, entry);
	ASSERT_EQ(pthread_create(&v->worker, NULL, run, v), 0);
	ASSERT_EQ(pthread_setaffinity_np(v->worker, sizeof(set), &set), 0);
}

static void *run_to_the_end(void *arg)
{
	vcpu_run_done(arg);
	return NULL;
}

static u64 answered(void)
{
	return module_loaded() ? module_count("answered") : 0;
}

/* Of both vCPUs, which have ended; @before is what was answered at once before they began. */
static void check_rounds(u64 before)
{
	u64 fast = answered() - before;

	ktap_log("%llu and %llu rounds, %llu exits answered at once", (unsigned long long)rounds[0],
		 (unsigned long long)rounds[1], (unsigned long long)fast);
	ASSERT(rounds[0] > 10 && rounds[1] > 10, "a vCPU stood still");
	ASSERT(!module_loaded() || fast > rounds[0] / 2, "the fast path was left out");
}

static void join_both(struct vm *vm, u64 before)
{
	vcpu_join(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	check_rounds(before);
}

static void run_both(struct vm *vm, void (*first)(void), void (*second)(void))
{
	u64 before = answered();

	start_pinned(vm->vcpus[1], second, run_to_the_end);
	start_pinned(vm->vcpus[0], first, run_to_the_end);
	join_both(vm, before);
}

/* --- the APIC map is rebuilt ------------------------------------------------- */

/* The more there are to look at, the longer it takes; all but two never run. */
#define MAP_VCPUS 64

/*
 * Each change of the enable bit makes KVM's map of all APICs dirty until it is rebuilt.
 * Without PAUSE, so that an emulated CPU is left in the middle of that.
 */
GUEST_CODE(toggles_its_apic)
{
	while (!stop) {
		apic_disable();
		apic_enable();
		rounds[1]++;
	}
}

GUEST_CODE(uses_its_apic)
{
	u64 end = ref_now() + REF_MS(run_ms);

	apic_enable();
	while (ref_now() < end) {
		wrmsr(HV_X64_MSR_TPR, rounds[0] & 0xf0);
		wrmsr(HV_X64_MSR_EOI, 0);
		wrmsr(HV_X64_MSR_ICR, ICR_TO(1, VEC));
		rounds[0]++;
		cpu_relax();
	}
	stop = true;
}

TEST(apic_while_the_map_changes)
{
	struct vm *vm;

	require_two_cpus();
	vm = vm_create(MAP_VCPUS, VM_FREE_PAUSE);
	run_both(vm, uses_its_apic, toggles_its_apic);
	vm_free(vm);
}

/* --- the IOAPIC is reprogrammed ------------------------------------------------ */

#define PIN 20 /* none of the PIC's */

static u64 level_end;

/* The line stays up: every EOI is followed by the next interrupt, until there is no EOI. */
static void on_level(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	rounds[0]++;
	if (ref_now() < level_end)
		wrmsr(HV_X64_MSR_EOI, 0);
	else
		stop = true;
}

GUEST_CODE(takes_level_interrupts)
{
	apic_enable();
	level_end = ref_now() + REF_MS(run_ms);
	irqs_on();
	while (!stop)
		rdmsr(HV_X64_MSR_VP_INDEX);
}

/* With each write KVM has the target's CPU look at the entries again, and waits for it. */
GUEST_CODE(writes_the_entry)
{
	while (!stop) {
		ioapic_write(IOAPIC_LOW(PIN), LEVEL_VEC | IOAPIC_LEVEL);
		rounds[1]++;
	}
}

TEST(level_interrupt_while_its_entry_is_written)
{
	struct kvm_irq_level up = { .irq = PIN, .level = 1 };
	struct vm *vm;

	require_two_cpus();
	vm = vm_create(2, 0);
	guest_irq_handlers[LEVEL_VEC] = on_level;
	ASSERT(!ioctl(vm->fd, KVM_IRQ_LINE, &up), "KVM_IRQ_LINE: %s", strerror(errno));
	run_both(vm, takes_level_interrupts, writes_the_entry);
	vm_free(vm);
}

/* --- everything at once ----------------------------------------------------------- */

#define CONN	   0x1234
#define SINT	   2 /* raised by the host */
#define TIMER_SINT 3
#define LISTED	   8

/* Of each vCPU. */
static struct {
	u64 signalled, refused; /* HvSignalEvent */
	volatile u64 ipis, timers, messages, sints;
	struct xmm_block xmm[3];
} work[2];

static void on_ipi(struct guest_frame *f)
{
	(void)f;
	work[this_cpu()->id].ipis++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void on_direct_timer(struct guest_frame *f)
{
	(void)f;
	work[this_cpu()->id].timers++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void on_sint(struct guest_frame *f)
{
	(void)f;
	work[this_cpu()->id].sints++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void on_timer_message(struct guest_frame *f)
{
	volatile struct hv_message *m = &synic_messages[this_cpu()->id][TIMER_SINT];

	(void)f;
	if (m->type != HV_MSG_NONE) {
		work[this_cpu()->id].messages++;
		m->type = HV_MSG_NONE;
		asm volatile("mfence" : : : "memory");
		if (m->flags & HV_MSG_PENDING)
			wrmsr(HV_X64_MSR_EOM, 0);
	}
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void call_by_xmm(u64 control, u64 in, u64 out, const struct xmm_block *xmm)
{
	u64 result;

	GUEST_ASSERT_EQ(__hypercall_xmm(control | HV_CTL_FAST, in, out, xmm, &result), 0);
	GUEST_ASSERT_EQ(result & 0xffff, HV_STATUS_SUCCESS);
}

/* A list of pages of the VPs in @mask. */
static void flush_list(u64 mask)
{
	struct xmm_block *xmm = &work[this_cpu()->id].xmm[0];
	u32 i;

	xmm->q[0] = mask;
	for (i = 0; i < LISTED; i++)
		xmm->q[1 + i] = (u64)(uintptr_t)work + i * PAGE_SIZE;
	call_by_xmm(HVCALL_FLUSH_LIST | HV_CTL_REP(LISTED), 0, 0, xmm);
}

static void flush_space(u64 mask)
{
	struct xmm_block *xmm = &work[this_cpu()->id].xmm[1];

	xmm->q[0] = 0;
	xmm->q[1] = 1;
	xmm->q[2] = mask;
	call_by_xmm(HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(1), 0, 0, xmm);
}

static void send_ipi_ex(u64 mask)
{
	struct xmm_block *xmm = &work[this_cpu()->id].xmm[2];

	xmm->q[0] = 1;
	xmm->q[1] = mask;
	call_by_xmm(HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), VEC, 0, xmm);
}

static void signal_event(void)
{
	u64 status = hypercall(HVCALL_SIGNAL_EVENT | HV_CTL_FAST, CONN, 0);

	if (status == HV_STATUS_SUCCESS) {
		work[this_cpu()->id].signalled++;
		return;
	}
	/* Nobody's eventfd: user space said so. */
	GUEST_ASSERT_EQ(status, HV_STATUS_INVALID_CONNECTION_ID);
	work[this_cpu()->id].refused++;
}

/* Started, and stopped sooner or later: before it goes off, while it does, and after. */
static void play_with_timers(u64 round)
{
	u32 n = round % HV_SYNIC_STIMERS;
	u64 mode = n & 1 ? HV_STIMER_SINT(TIMER_SINT) :
			   HV_STIMER_DIRECT | HV_STIMER_VECTOR(TIMER_VEC);

	wrmsr(HV_X64_MSR_STIMER_COUNT(n), ref_now() + round % 7 * 50);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(n), HV_STIMER_ENABLE | mode);
	if (round & 8)
		wrmsr(HV_X64_MSR_STIMER_CONFIG((n + 1) % HV_SYNIC_STIMERS), 0);
}

GUEST_CODE(does_everything)
{
	u64 me = BIT64(this_cpu()->id), other = me ^ 3, i = 0;
	u64 end = ref_now() + REF_MS(2 * run_ms);

	guest_set_os_id();
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(SINT), SINT_VEC);
	wrmsr(HV_X64_MSR_SINT(TIMER_SINT), MESSAGE_VEC);
	irqs_on();
	while (ref_now() < end) {
		hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, VEC, i % 3 + 1);
		send_ipi_ex(i & 1 ? other : me);
		wrmsr(HV_X64_MSR_ICR, ICR_TO(this_cpu()->id ^ 1, VEC));
		flush_list(me);
		cpu_relax();
		flush_list(other);
		cpu_relax();
		flush_space(i & 1 ? other : me | other);
		play_with_timers(i);
		wrmsr(HV_X64_MSR_EOM, 0);
		signal_event();
		cpu_relax();
		hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0);
		wrmsr(HV_X64_MSR_TPR, i & 0x30);
		rounds[this_cpu()->id] = ++i;
	}
	irqs_off();
}

static volatile u32 nr_ended;

/* User space has no connection either. */
static void *run_with_exits(void *arg)
{
	struct vcpu *v = arg;
	u32 cmd;

	while ((cmd = vcpu_run(v)) == RUN_EXIT(KVM_EXIT_HYPERV))
		v->run->hyperv.u.hcall.result = HV_STATUS_INVALID_CONNECTION_ID;
	if (cmd != GUEST_DONE) {
		vcpu_dump(v);
		FAIL("vCPU %u ended with 0x%x", v->id, cmd);
	}
	__sync_fetch_and_add(&nr_ended, 1);
	return NULL;
}

static void connection(struct vm *vm, int fd, u32 flags)
{
	struct kvm_hyperv_eventfd e = { .conn_id = CONN, .fd = fd, .flags = flags };

	ASSERT(!ioctl(vm->fd, KVM_HYPERV_EVENTFD, &e), "eventfd: %s", strerror(errno));
}

TEST(all_calls_and_registers)
{
	static const u32 sints[] = { SINT };
	u64 signals = 0, raised = 0, acked = 0, before = answered();
	int event = eventfd_new(), irq, ack;
	struct vm *vm = synic_vm_flags(2, VM_FREE_PAUSE);
	u32 i;

	guest_irq_handlers[VEC] = on_ipi;
	guest_irq_handlers[TIMER_VEC] = on_direct_timer;
	guest_irq_handlers[SINT_VEC] = on_sint;
	guest_irq_handlers[MESSAGE_VEC] = on_timer_message;
	route_sints(vm, 0, sints, 1);
	irq = irqfd_new(vm, GSI(0), &ack);
	for (i = 0; i < 2; i++)
		start_pinned(vm->vcpus[i], does_everything, run_with_exits);
	while (nr_ended < 2) {
		connection(vm, event, 0);
		eventfd_signal(irq);
		raised++;
		usleep(500);
		connection(vm, -1, KVM_HYPERV_EVENTFD_DEASSIGN);
		signals += eventfd_count(event);
		acked += eventfd_count(ack);
	}
	join_both(vm, before);
	for (i = 0; i < 2; i++) {
		ktap_log("vCPU %u: %llu IPIs, %llu timers, %llu messages", i,
			 (unsigned long long)work[i].ipis, (unsigned long long)work[i].timers,
			 (unsigned long long)work[i].messages);
		ktap_log("        %llu SINTs, %llu signals, %llu refused",
			 (unsigned long long)work[i].sints, (unsigned long long)work[i].signalled,
			 (unsigned long long)work[i].refused);
		ASSERT(work[i].ipis && work[i].timers && work[i].messages,
		       "vCPU %u missed something", i);
	}
	ktap_log("SINT raised %llu times, acknowledged %llu times", (unsigned long long)raised,
		 (unsigned long long)acked);
	ASSERT(work[0].sints && acked, "no SINT, or nobody was told of its end");
	/* A call that succeeded is in the eventfd, and no other. */
	ASSERT_EQ(signals, work[0].signalled + work[1].signalled);
	vm_free(vm);
}

/* --- a VP's Hyper-V identity comes and goes ------------------------------------------ */

GUEST_CODE(calls_for_both)
{
	guest_set_os_id();
	while (!stop) {
		flush_space(3);
		flush_list(3);
		send_ipi_ex(2);
		wrmsr(HV_X64_MSR_ICR, ICR_TO(1, VEC));
		rounds[0]++;
	}
}

GUEST_CODE(is_what_it_was)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), 1);
}

/*
 * A vCPU without Hyper-V in its CPUID is a target, too. Each KVM_SET_CPUID2 gives it the state that
 * others look at, and takes it away again.
 */
TEST(targets_lose_and_get_their_state)
{
	static const u32 sints[] = { SINT };
	struct vm *vm = synic_vm_flags(1, VM_FREE_PAUSE);
	struct vcpu *v;
	int irq, ack;
	u32 i;

	vm->flags |= VM_NO_HV;
	v = vm_add_vcpu(vm);
	vm->flags &= ~(u32)VM_NO_HV;
	route_sints(vm, 1, sints, 1);
	irq = irqfd_new(vm, GSI(0), &ack);
	start_pinned(vm->vcpus[0], calls_for_both, run_to_the_end);
	for (i = 0; i < 2000 || rounds[0] < 100; i++) {
		vcpu_set_cpuid(v);
		eventfd_signal(irq);
		if (!(i & 7))
			route_sints(vm, 1, sints, i >> 3 & 1);
	}
	stop = true;
	vcpu_join(vm->vcpus[0]);
	v->cpuid = vm->vcpus[0]->cpuid;
	vcpu_set_cpuid(v);
	vcpu_entry(v, is_what_it_was);
	vcpu_run_done(v);
	ktap_log("%llu rounds, %u changes", (unsigned long long)rounds[0], i);
	vm_free(vm);
}

/* --- a nested hypervisor's flushes ------------------------------------------------- */

static u64 nested_root;

/* L1, which has run an L2 and so has something that the other's calls take away. */
static u64 flushes_itself(u64 ms)
{
	u64 end = ref_now() + REF_MS(ms);

	while (ref_now() < end) {
		flush_space(BIT64(this_cpu()->id));
		rounds[0]++;
	}
	stop = true;
	return 0;
}

GUEST_CODE(flushes_guest_physical)
{
	guest_set_os_id();
	while (!stop) {
		call_by_xmm(HVCALL_FLUSH_GPA_SPACE, nested_root, 0, &work[1].xmm[0]);
		rounds[1]++;
	}
}

/*
 * What is to be flushed there takes a lock that others hold while they wait for this CPU. The
 * more VPs there are to look at, the longer the first one's order is there before its kick.
 */
TEST(own_flushes_while_nested_tables_are_flushed)
{
	u64 before = answered();
	struct guest_op o;
	struct vm *vm;

	require_two_cpus();
	if (!module_loaded())
		ktap_skip("stock has no such call");
	vm = vm_create(MAP_VCPUS, VM_FREE_PAUSE);
	nested_root = (u64)(uintptr_t)nested_create(vm->vcpus[0], NESTED_PAGING, 1)->root;
	nested_start(vm->vcpus[0]);
	start_pinned(vm->vcpus[1], flushes_guest_physical, run_to_the_end);
	o = nested_l1_op(vm->vcpus[0], (struct guest_op){ .op = OP_CALL,
							  .arg0 = (u64)(uintptr_t)flushes_itself,
							  .arg1 = run_ms });
	ASSERT_EQ(o.vector, 0);
	vcpu_join(vm->vcpus[1]);
	check_rounds(before);
	vm_free(vm);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--ms"))
			run_ms = (u32)strtoul(argv[i + 1], NULL, 10);
	return ktap_main(argc, argv);
}
