// SPDX-License-Identifier: GPL-2.0-only
/*
 * A busy VM is carried from stock KVM to the module and back, again and again. Its VPs are stopped
 * wherever they are, with timers armed, messages unread, interrupts pending or in service, in HLT
 * and in calls; all that a VMM saves goes into a new VM, and the module is inserted or removed
 * before that is made. The guest checks itself all the time, and knows nothing of it: each timer,
 * message, interrupt and event comes once and not early, and the reference time never goes back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "connection.h"
#include "migration.h"
#include "module.h"
#include "nested.h"
#include "refclock.h"
#include "vmm.h"

/* Option --rounds: there and back. */
static u32 rounds = 6;

/* --- guest --------------------------------------------------------------- */

/* A guest whose clock stands still while nobody runs it has far less to wait for. */
#define PATIENCE_MS 20000
#define MIN_EXITS   5000

/* Timers 0 to 3. What comes as a message has a SINT of its own, each has its own vector. */
enum { TICK_MESSAGE, TICK_DIRECT, ONCE_MESSAGE, ONCE_DIRECT };

#define TIMER_VEC(n)  (0x61 + 0x10 * (n))
#define TIMER_SINT(n) (2 + (n))
#define IPI_VEC	      0x51
#define HOST_VEC      0xa1
#define HOST_SINT     1
#define HOST_MESSAGE  1
#define TICK_REF(n)   REF_MS(4 + 3 * (n))

#define MESSAGE_TO(n) (ON | HV_STIMER_SINT(TIMER_SINT(n)))
#define DIRECT_TO(n)  (ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(TIMER_VEC(n)))

/* What one VP did, and what came to it. Only this VP writes here. */
static struct vp {
	volatile u64 rounds;
	volatile u64 ipis_sent, ipis_taken;
	volatile u64 ticks[2], last_tick;
	volatile u64 armed[4], expired[4], count[4];
	volatile u64 host_messages;
	volatile u64 posted, signalled;
	volatile u64 begun, done;
	u64 begin, last_time;
	u32 seed;
} vps[MAX_VPS];

static volatile bool stop;
static volatile u64 shared_time;
static u8 call_page[PAGE_SIZE] __attribute__((aligned(4096)));
static struct post_input posts[MAX_VPS] __attribute__((aligned(4096)));
static u64 flush_inputs[MAX_VPS][8] __attribute__((aligned(4096)));

static struct vp *this_vp(void)
{
	return &vps[this_cpu()->id];
}

static u32 random_below(struct vp *vp, u32 n)
{
	vp->seed = vp->seed * 1103515245 + 12345;
	return (vp->seed >> 16) % n;
}

/* The last time that any VP has seen. */
static void share_time(u64 now)
{
	u64 seen = shared_time;

	while (seen < now && !__atomic_compare_exchange_n(&shared_time, &seen, now, false,
							  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static u64 check_time(void)
{
	u64 seen = shared_time, before, page, after;

	before = ref_now();
	GUEST_ASSERT_EQ(before >= seen ? 0 : seen - before, 0);
	page = guest_time(&ref_page);
	after = ref_now();
	/* The two may differ by the rounding of one tick. */
	GUEST_ASSERT_EQ(page + 1 >= before ? 0 : before - page, 0);
	GUEST_ASSERT_EQ(after + 1 >= page ? 0 : page - after, 0);
	share_time(after);
	return after;
}

static void end_of_interrupt(struct vp *vp)
{
	/* By turns, as a guest may use either. */
	if (vp->rounds & 1)
		wrmsr(HV_X64_MSR_EOI, 0);
	else
		apic_eoi();
}

static void on_ipi(struct guest_frame *f)
{
	struct vp *vp = this_vp(), *other = &vps[!this_cpu()->id];

	(void)f;
	vp->ipis_taken++;
	GUEST_ASSERT(vp->ipis_taken <= other->ipis_sent);
	end_of_interrupt(vp);
}

/* A tick may be left out, for want of time, but there are no more than periods. */
static void count_tick(struct vp *vp, u32 n)
{
	vp->ticks[n]++;
	GUEST_ASSERT(vp->ticks[n] <= (ref_now() - vp->begin) / TICK_REF(n) + 1);
}

static void count_expiry(struct vp *vp, u32 n)
{
	vp->expired[n]++;
	GUEST_ASSERT_EQ(vp->expired[n], vp->armed[n]);
	GUEST_ASSERT(ref_now() >= vp->count[n]);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(n)) & ON, 0);
}

static void free_slot(volatile struct hv_message *m)
{
	m->type = HV_MSG_NONE;
	asm volatile("mfence" : : : "memory");
	if (m->flags & HV_MSG_PENDING)
		wrmsr(HV_X64_MSR_EOM, 0);
}

static void on_timer_message(struct guest_frame *f)
{
	u32 n = ((u32)f->vector - TIMER_VEC(0)) / 0x10;
	volatile struct hv_message *m = slot(TIMER_SINT(n));
	struct vp *vp = this_vp();

	GUEST_ASSERT_EQ(m->type, HV_MSG_TIMER_EXPIRED);
	GUEST_ASSERT_EQ(m->timer.index, n);
	GUEST_ASSERT(m->timer.delivery >= m->timer.expiration);
	GUEST_ASSERT(ref_now() >= m->timer.delivery);
	if (n == TICK_MESSAGE) {
		/* A move may put them further apart, as it begins a new period. */
		GUEST_ASSERT(m->timer.expiration >= vp->last_tick + TICK_REF(n));
		vp->last_tick = m->timer.expiration;
		count_tick(vp, n);
	} else {
		GUEST_ASSERT_EQ(m->timer.expiration, vp->count[n]);
		count_expiry(vp, n);
	}
	free_slot(m);
	end_of_interrupt(vp);
}

static void on_direct(struct guest_frame *f)
{
	u32 n = ((u32)f->vector - TIMER_VEC(0)) / 0x10;
	struct vp *vp = this_vp();

	if (n == TICK_DIRECT)
		count_tick(vp, n);
	else
		count_expiry(vp, n);
	end_of_interrupt(vp);
}

static void on_host_message(struct guest_frame *f)
{
	volatile struct hv_message *m = slot(HOST_SINT);
	struct vp *vp = this_vp();

	(void)f;
	GUEST_ASSERT_EQ(m->type, HOST_MESSAGE);
	GUEST_ASSERT_EQ(m->payload[0], vp->host_messages + 1);
	vp->host_messages++;
	free_slot(m);
	end_of_interrupt(vp);
}

/* Wait for *@what to be @value or more, awake or in HLT. */
static void wait_for(struct vp *vp, const volatile u64 *what, u64 value)
{
	bool halt = random_below(vp, 2);
	u64 end = in_ms(PATIENCE_MS);
	u32 exits = 0;

	while (*what < value) {
		if (ref_now() >= end && ++exits > MIN_EXITS) {
			guest_log("byte of vps[], value", gpa(what) - gpa(vps), *what);
			GUEST_ASSERT_EQ(*what, value);
		}
		if (!halt)
			continue;
		irqs_off();
		if (*what < value)
			irqs_halt();
		irqs_on();
	}
}

/* Through the page and by the instruction itself, by turns. */
static u64 call(struct vp *vp, u64 control, u64 in, u64 out)
{
	u64 result;

	if (vp->rounds & 1)
		return hypercall(control, in, out);
	GUEST_ASSERT_EQ(__hypercall_page(call_page, control, in, out, &result), 0);
	return result;
}

static void send_ipi(struct vp *vp, u32 other)
{
	vp->ipis_sent++;
	GUEST_ASSERT_EQ(call(vp, HVCALL_SEND_IPI | HV_CTL_FAST, IPI_VEC, BIT64(other)), 0);
	wait_for(vp, &vps[other].ipis_taken, vp->ipis_sent);
}

static void flush(struct vp *vp)
{
	u64 *in = flush_inputs[this_cpu()->id];

	in[0] = 0;
	in[1] = HV_FLUSH_ALL_SPACES;
	in[2] = 3;
	in[3] = gpa(flush_inputs);
	in[4] = gpa(call_page);
	GUEST_ASSERT_EQ(call(vp, HVCALL_FLUSH_SPACE, gpa(in), 0), 0);
	GUEST_ASSERT_EQ(call(vp, HVCALL_FLUSH_LIST | HV_CTL_REP(2), gpa(in), 0), HV_CTL_REP(2));
}

static void arm(struct vp *vp, u32 n, u64 config)
{
	vp->count[n] = ref_now() + random_below(vp, 8 * REF_MS(1));
	vp->armed[n]++;
	start(n, config, vp->count[n]);
}

static void tell_host(struct vp *vp)
{
	struct post_input *in = &posts[this_cpu()->id];

	in->connection = CONN + 1;
	in->type = 1;
	in->size = 8;
	vp->posted++;
	*(volatile u64 *)in->payload = vp->posted;
	GUEST_ASSERT_EQ(call(vp, POST_SLOW, gpa(in), 0), 0);
	GUEST_ASSERT_EQ(call(vp, SIGNAL_FAST, CONN, 0), 0);
	vp->signalled++;
}

/* What the registers hold is the VP's own for good. */
static void check_registers(struct vp *vp, u32 id)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), id);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(call_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), ref_tsc(&ref_page));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), synic_simp(id));
	GUEST_ASSERT_EQ(rdmsr(CONFIG(TICK_MESSAGE)), MESSAGE_TO(TICK_MESSAGE) | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(TICK_DIRECT)), DIRECT_TO(TICK_DIRECT) | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(COUNT(TICK_DIRECT)), TICK_REF(TICK_DIRECT));
	GUEST_ASSERT_EQ(rdmsr(COUNT(ONCE_MESSAGE)), vp->count[ONCE_MESSAGE]);
}

static void begin(struct vp *vp, u32 id)
{
	guest_set_os_id();
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(call_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	wrmsr(HV_X64_MSR_SIMP, synic_simp(id));
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(id));
	wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
	wrmsr(HV_X64_MSR_SINT(HOST_SINT), HOST_VEC);
	wrmsr(HV_X64_MSR_SINT(TIMER_SINT(TICK_MESSAGE)), TIMER_VEC(TICK_MESSAGE));
	wrmsr(HV_X64_MSR_SINT(TIMER_SINT(ONCE_MESSAGE)), TIMER_VEC(ONCE_MESSAGE));
	apic_enable();
	vp->begin = ref_now();
	start(TICK_MESSAGE, MESSAGE_TO(TICK_MESSAGE) | PERIODIC, TICK_REF(TICK_MESSAGE));
	start(TICK_DIRECT, DIRECT_TO(TICK_DIRECT) | PERIODIC, TICK_REF(TICK_DIRECT));
}

GUEST_CODE(busy)
{
	u32 id = this_cpu()->id;
	struct vp *vp = this_vp();

	begin(vp, id);
	irqs_on();
	/* An APIC that is not enabled yet drops the other's IPI. */
	vp->begun = 1;
	wait_for(vp, &vps[!id].begun, 1);
	while (!stop) {
		check_time();
		arm(vp, ONCE_MESSAGE, MESSAGE_TO(ONCE_MESSAGE));
		arm(vp, ONCE_DIRECT, DIRECT_TO(ONCE_DIRECT));
		send_ipi(vp, !id);
		check_registers(vp, id);
		flush(vp);
		tell_host(vp);
		check_time();
		wait_for(vp, &vp->expired[ONCE_MESSAGE], vp->armed[ONCE_MESSAGE]);
		wait_for(vp, &vp->expired[ONCE_DIRECT], vp->armed[ONCE_DIRECT]);
		check_time();
		vp->rounds++;
	}
	/* The other one may still wait for an answer. */
	vp->done = 1;
	wait_for(vp, &vps[!id].done, 1);
	/* It ticks to the end. */
	wait_for(vp, &vp->ticks[TICK_MESSAGE], vp->ticks[TICK_MESSAGE] + 2);
	wait_for(vp, &vp->ticks[TICK_DIRECT], vp->ticks[TICK_DIRECT] + 2);
	guest_settle(SETTLE_MS);
	irqs_off();
}

/* --- host ---------------------------------------------------------------- */

static const char *const kind_names[] = { [STOCK] = "stock", [MODULE] = "module" };

static struct vm_state *state;
static volatile u64 posts_seen[MAX_VPS];
static volatile bool ended[MAX_VPS];
static int event_fd = -1;
static u64 events_seen;

static void host_of(enum kind kind)
{
	if (kind == MODULE && !module_loaded())
		module_load();
	if (kind == STOCK && module_loaded())
		module_unload();
}

static struct vm *new_vm(enum kind kind)
{
	struct vm *vm;

	host_of(kind);
	vm = synic_vm_bare(MAX_VPS, KVM_CAP_HYPERV_SYNIC2);
	/* One VM at a time, so it is the first since the load. */
	if (kind == MODULE)
		ASSERT_EQ(module_vms_created(), 1);
	return vm;
}

/* All that the VMM saves goes into a new VM. The program's image is memory that both have. */
static struct vm *carry(struct vm *vm, enum kind to, enum vmm order)
{
	struct vcpu old[MAX_VPS];
	u64 used = vm->ram_used;
	u8 *ram = vm->ram;
	u16 version;
	u32 i;

	vmm_save(vm, state);
	for (i = 0; i < MAX_VPS; i++)
		old[i] = *vm->vcpus[i];
	vm_free(vm);

	vm = new_vm(to);
	ASSERT(vm->ram == ram, "a VM of another form");
	memcpy(vm->ram, state->ram, used);
	vm->ram_used = used;
	for (i = 0; i < MAX_VPS; i++) {
		struct vcpu *v = vm->vcpus[i];

		if (v->cpu->nested && v->cpu->nested->flags & NESTED_EVMCS)
			ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_ENLIGHTENED_VMCS,
						    gpa(&version)),
				  0);
		v->cpuid = old[i].cpuid;
		v->entry = old[i].entry;
		vcpu_set_cpuid(v);
	}
	vmm_write_registers[order](vm, state);
	return vm;
}

static void take_post(struct vcpu *v)
{
	const struct kvm_hyperv_exit *exit = &v->run->hyperv;
	u64 number;

	ASSERT_EQ(exit->u.hcall.input, POST_SLOW);
	memcpy(&number, posts[v->id].payload, sizeof(number));
	ASSERT(number == posts_seen[v->id] + 1, "VP %u posted %llu after %llu", v->id,
	       (unsigned long long)number, (unsigned long long)posts_seen[v->id]);
	posts_seen[v->id] = number;
	v->run->hyperv.u.hcall.result = HV_STATUS_SUCCESS;
}

static void *run_vp(void *arg)
{
	struct vcpu *v = arg;
	u32 cmd;

	for (;;) {
		cmd = vcpu_run(v);
		if (cmd == RUN_EXIT(KVM_EXIT_HYPERV)) {
			if (v->run->hyperv.type == KVM_EXIT_HYPERV_HCALL)
				take_post(v);
			continue;
		}
		if (cmd == RUN_STOPPED)
			return NULL;
		if (cmd == GUEST_DONE) {
			ended[v->id] = true;
			return NULL;
		}
		vcpu_dump(v);
		FAIL("VP %u: 0x%x", v->id, cmd);
	}
}

/* A message of the host to VP 0: one at a time. */
static void send_message(int irq, u64 *sent)
{
	volatile struct hv_message *m = &synic_messages[0][HOST_SINT];

	if (m->type != HV_MSG_NONE)
		return;
	m->size = 8;
	m->flags = 0;
	m->payload[0] = ++*sent;
	__atomic_store_n(&m->type, HOST_MESSAGE, __ATOMIC_SEQ_CST);
	eventfd_signal(irq);
}

static void run_on(struct vm *vm)
{
	u32 i;

	for (i = 0; i < MAX_VPS; i++)
		ASSERT_EQ(pthread_create(&vm->vcpus[i]->worker, NULL, run_vp, vm->vcpus[i]), 0);
}

static void join_all(struct vm *vm)
{
	u32 i;

	for (i = 0; i < MAX_VPS; i++)
		vcpu_join(vm->vcpus[i]);
}

/* A VP that the stop finds between the call and its own count is one ahead. */
static void check_counts(u64 most)
{
	u64 signalled = 0;
	u32 i;

	for (i = 0; i < MAX_VPS; i++) {
		ASSERT(vps[i].posted - posts_seen[i] <= most, "VP %u: %llu posted, %llu seen", i,
		       (unsigned long long)vps[i].posted, (unsigned long long)posts_seen[i]);
		signalled += vps[i].signalled;
	}
	events_seen += eventfd_count(event_fd);
	ASSERT(events_seen - signalled <= most * MAX_VPS, "%llu events for %llu signals",
	       (unsigned long long)events_seen, (unsigned long long)signalled);
}

/* Let both VPs do a whole round at least, then stop them somewhere. */
static void live(struct vm *vm, bool last)
{
	static const u32 sints[] = { HOST_SINT };
	static u64 sent;
	u64 begin[MAX_VPS];
	u32 i;
	int irq;

	route_sints(vm, 0, sints, 1);
	irq = irqfd_new(vm, GSI(0), NULL);
	ASSERT_EQ(__connection_assign(vm, CONN, event_fd), 0);
	for (i = 0; i < MAX_VPS; i++)
		begin[i] = vps[i].rounds;
	run_on(vm);
	for (i = 0; i < MAX_VPS; i++) {
		while (vps[i].rounds < begin[i] + 2) {
			if (vps[0].rounds)
				send_message(irq, &sent);
			usleep(500);
		}
	}
	usleep((u32)random() % 20000);
	if (last) {
		while (synic_messages[0][HOST_SINT].type != HV_MSG_NONE)
			usleep(500);
		stop = true;
		join_all(vm);
		ASSERT(ended[0] && ended[1], "a VP did not end");
		ASSERT_EQ(vps[0].host_messages, sent);
		return;
	}
	send_message(irq, &sent);
	for (i = 0; i < MAX_VPS; i++)
		vcpu_stop(vm->vcpus[i]);
	join_all(vm);
	check_counts(1);
	close(irq);
}

static void log_vp(u32 i)
{
	struct vp *vp = &vps[i];

	ktap_log("VP %u: %llu rounds, %llu and %llu ticks, %llu IPIs, %llu host messages", i,
		 (unsigned long long)vp->rounds, (unsigned long long)vp->ticks[TICK_MESSAGE],
		 (unsigned long long)vp->ticks[TICK_DIRECT], (unsigned long long)vp->ipis_taken,
		 (unsigned long long)vp->host_messages);
}

static void prepare(void)
{
	require_module_file();
	require_tsc_clocksource();
	ktap_timeout(60 + 60 * rounds);
	srandom(1);
	state = calloc(1, sizeof(*state));
	ASSERT(state, "memory");
}

static void carry_busy(enum kind there, u32 times)
{
	struct vm *vm;
	u32 i;

	prepare();
	guest_irq_handlers[IPI_VEC] = on_ipi;
	guest_irq_handlers[HOST_VEC] = on_host_message;
	guest_irq_handlers[TIMER_VEC(TICK_MESSAGE)] = on_timer_message;
	guest_irq_handlers[TIMER_VEC(TICK_DIRECT)] = on_direct;
	guest_irq_handlers[TIMER_VEC(ONCE_MESSAGE)] = on_timer_message;
	guest_irq_handlers[TIMER_VEC(ONCE_DIRECT)] = on_direct;
	event_fd = eventfd_new();
	vm = new_vm(STOCK);
	for (i = 0; i < MAX_VPS; i++) {
		vps[i].seed = i;
		vcpu_entry(vm->vcpus[i], busy);
	}
	for (i = 0; i < 2 * times; i++) {
		live(vm, false);
		vm = carry(vm, i & 1 ? STOCK : there, i & 2 ? CLOUD_HYPERVISOR : QEMU);
	}
	live(vm, true);
	check_counts(0);
	for (i = 0; i < MAX_VPS; i++) {
		log_vp(i);
		ASSERT_EQ(vps[i].ipis_taken, vps[!i].ipis_sent);
		ASSERT_EQ(vps[i].expired[ONCE_MESSAGE], vps[i].armed[ONCE_MESSAGE]);
		ASSERT_EQ(vps[i].expired[ONCE_DIRECT], vps[i].armed[ONCE_DIRECT]);
	}
	ktap_log("%u times to %s and back", times, kind_names[there]);
	vm_free(vm);
	host_of(STOCK);
}

/* Something of each level, which goes on where it was. */
static void use_levels(struct vcpu *v, u64 number)
{
	static volatile u64 cell;
	static u64 last_time;
	struct guest_op o = { .op = OP_STORE, .arg0 = gpa(&cell), .arg1 = number };

	vcpu_op(v, v->cpu->nested->l2, o);
	o = nested_l1_op(v, (struct guest_op){ .op = OP_LOAD, .arg0 = gpa(&cell) });
	ASSERT_EQ(o.result, number);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_VP_INDEX));
	ASSERT_EQ(o.result, v->id);
	o = nested_l1_op(v, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1, 0));
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_TIME_REF_COUNT));
	ASSERT(o.result >= last_time, "time went back from %llu to %llu",
	       (unsigned long long)last_time, (unsigned long long)o.result);
	last_time = o.result;
}

/* Each VP is in its L2 when it is carried; on Intel, that of VP 0 has an enlightened VMCS. */
static void carry_nested(enum kind there, u32 times)
{
	struct vm *vm;
	u32 i, id;

	prepare();
	if (!host_has_nested())
		ktap_skip("no nested virtualization here");
	vm = new_vm(STOCK);
	nested_create(vm->vcpus[0], NESTED_PAGING | NESTED_EVMCS, 1);
	nested_create(vm->vcpus[1], NESTED_PAGING, 1);
	for (id = 0; id < MAX_VPS; id++)
		nested_start(vm->vcpus[id]);
	for (i = 0; i < 2 * times; i++) {
		for (id = 0; id < MAX_VPS; id++)
			use_levels(vm->vcpus[id], i);
		vm = carry(vm, i & 1 ? STOCK : there, i & 2 ? CLOUD_HYPERVISOR : QEMU);
	}
	for (id = 0; id < MAX_VPS; id++)
		use_levels(vm->vcpus[id], i);
	vm_free(vm);
	host_of(STOCK);
}

/* The oracle for the program: stock alone. */
TEST(nested_from_stock_to_stock)
{
	carry_nested(STOCK, 1);
}

TEST(nested_to_the_module_and_back)
{
	carry_nested(MODULE, rounds);
}

TEST(busy_from_stock_to_stock)
{
	carry_busy(STOCK, 1 + rounds / 10);
}

TEST(busy_to_the_module_and_back)
{
	carry_busy(MODULE, rounds);
}

int main(int argc, char **argv)
{
	bool loaded_at_start = module_loaded();
	int i, r;

	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
		if (!strcmp(argv[i], "--rounds"))
			rounds = (u32)strtoul(argv[i + 1], NULL, 10);
	}
	r = ktap_main(argc, argv);
	/* A case that died has left the module in; its VMs died with it. */
	if (!loaded_at_start && module_loaded()) {
		printf("# the module was left in: removing it: %d\n", __module_unload());
		r = KTAP_EXIT_FAIL;
	}
	return r;
}
