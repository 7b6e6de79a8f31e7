// SPDX-License-Identifier: GPL-2.0-only
/* See busy.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "busy.h"
#include "random.h"

struct busy busy __attribute__((aligned(4096)));

/* --- guest --------------------------------------------------------------- */

/* A guest whose clock stands still while nobody runs it has far less to wait for. */
#define PATIENCE_MS 20000
#define MIN_EXITS   5000
#define HOLD_MS	    6

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

static struct busy_vp *this_vp(void)
{
	return &busy.vps[this_cpu()->id];
}

/* The last time that any VP has seen. */
static void share_time(u64 now)
{
	u64 seen = busy.shared_time;

	while (seen < now && !__atomic_compare_exchange_n(&busy.shared_time, &seen, now, false,
							  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static u64 check_time(void)
{
	u64 seen = busy.shared_time, before, page, after;

	before = ref_now();
	GUEST_ASSERT_EQ(before >= seen ? 0 : seen - before, 0);
	page = guest_time(&busy.ref_page);
	after = ref_now();
	/* The two may differ by the rounding of one tick. */
	GUEST_ASSERT_EQ(page + 1 >= before ? 0 : before - page, 0);
	GUEST_ASSERT_EQ(after + 1 >= page ? 0 : page - after, 0);
	share_time(after);
	return after;
}

static void end_of_interrupt(struct busy_vp *vp)
{
	/* As the VP assist page says; else by turns, as a guest may use either. */
	if (test_and_clear_no_eoi(&busy.assist[this_cpu()->id]))
		vp->spared++;
	else if (vp->rounds & 1)
		wrmsr(HV_X64_MSR_EOI, 0);
	else
		apic_eoi();
}

static void on_ipi(struct guest_frame *f)
{
	struct busy_vp *vp = this_vp(), *other = &busy.vps[!this_cpu()->id];

	(void)f;
	vp->ipis_taken++;
	GUEST_ASSERT(vp->ipis_taken <= other->ipis_sent);
	end_of_interrupt(vp);
}

/* A tick may be left out, for want of time, but there are no more than periods. */
static void count_tick(struct busy_vp *vp, u32 n)
{
	vp->ticks[n]++;
	GUEST_ASSERT(vp->ticks[n] <= (ref_now() - vp->begin) / TICK_REF(n) + 1);
}

static void count_expiry(struct busy_vp *vp, u32 n)
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
	struct busy_vp *vp = this_vp();

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
	struct busy_vp *vp = this_vp();

	if (n == TICK_DIRECT)
		count_tick(vp, n);
	else
		count_expiry(vp, n);
	end_of_interrupt(vp);
}

static void on_host_message(struct guest_frame *f)
{
	volatile struct hv_message *m = slot(HOST_SINT);
	struct busy_vp *vp = this_vp();

	(void)f;
	GUEST_ASSERT_EQ(m->type, HOST_MESSAGE);
	GUEST_ASSERT_EQ(m->payload[0], vp->host_messages + 1);
	vp->host_messages++;
	free_slot(m);
	end_of_interrupt(vp);
}

/* Wait for *@what to be @value or more, awake or in HLT. */
static void wait_for(struct busy_vp *vp, const volatile u64 *what, u64 value)
{
	bool halt = random_below(&vp->seed, 2);
	u64 end = in_ms(PATIENCE_MS);
	u32 exits = 0;

	while (*what < value) {
		if (ref_now() >= end && ++exits > MIN_EXITS) {
			guest_log("byte of busy.vps[], value", gpa(what) - gpa(busy.vps), *what);
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
static u64 call(struct busy_vp *vp, u64 control, u64 in, u64 out)
{
	u64 result;

	if (vp->rounds & 1)
		return hypercall(control, in, out);
	GUEST_ASSERT_EQ(__hypercall_page(busy.call_page, control, in, out, &result), 0);
	return result;
}

static void send_ipi(struct busy_vp *vp, u32 other)
{
	vp->ipis_sent++;
	GUEST_ASSERT_EQ(call(vp, HVCALL_SEND_IPI | HV_CTL_FAST, IPI_VEC, BIT64(other)), 0);
	wait_for(vp, &busy.vps[other].ipis_taken, vp->ipis_sent);
}

static void flush(struct busy_vp *vp)
{
	u64 *in = busy.flush_inputs[this_cpu()->id];

	in[0] = 0;
	in[1] = HV_FLUSH_ALL_SPACES;
	in[2] = 3;
	in[3] = gpa(busy.flush_inputs);
	in[4] = gpa(busy.call_page);
	GUEST_ASSERT_EQ(call(vp, HVCALL_FLUSH_SPACE, gpa(in), 0), 0);
	GUEST_ASSERT_EQ(call(vp, HVCALL_FLUSH_LIST | HV_CTL_REP(2), gpa(in), 0), HV_CTL_REP(2));
}

static void arm(struct busy_vp *vp, u32 n, u64 config)
{
	vp->count[n] = ref_now() + random_below(&vp->seed, 8 * REF_MS(1));
	vp->armed[n]++;
	start(n, config, vp->count[n]);
}

/*
 * Let timers expire while nothing is taken: messages stay in their slots, one waits behind another.
 */
static void hold(struct busy_vp *vp)
{
	u64 end = in_ms(HOLD_MS);

	if (random_below(&vp->seed, 4))
		return;
	irqs_off();
	while (ref_now() < end)
		;
	irqs_on();
}

static void tell_host(struct busy_vp *vp)
{
	struct post_input *in = &busy.posts[this_cpu()->id];

	in->connection = CONN + 1;
	in->type = 1;
	in->size = 8;
	vp->posted++;
	*(volatile u64 *)in->payload = vp->posted;
	GUEST_ASSERT_EQ(call(vp, POST_SLOW, gpa(in), 0), 0);
	GUEST_ASSERT_EQ(call(vp, SIGNAL_FAST, CONN, 0), 0);
	vp->signalled++;
}

static const u64 sints[][2] = {
	{ HOST_SINT, HOST_VEC },
	{ TIMER_SINT(TICK_MESSAGE), TIMER_VEC(TICK_MESSAGE) },
	{ TIMER_SINT(ONCE_MESSAGE), TIMER_VEC(ONCE_MESSAGE) },
};

static u64 assist_page_of(u32 id)
{
	return gpa(&busy.assist[id]) | ASSIST_ENABLE;
}

/* What the registers hold is the VP's own for good. */
static void check_registers(struct busy_vp *vp, u32 id)
{
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), id);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(busy.call_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), ref_tsc(&busy.ref_page));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), assist_page_of(id));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SCONTROL), HV_SYNIC_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIMP), synic_simp(id));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SIEFP), synic_siefp(id));
	for (i = 0; i < ARRAY_SIZE(sints); i++)
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SINT(sints[i][0])), sints[i][1]);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(TICK_MESSAGE)), MESSAGE_TO(TICK_MESSAGE) | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(TICK_DIRECT)), DIRECT_TO(TICK_DIRECT) | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(COUNT(TICK_DIRECT)), TICK_REF(TICK_DIRECT));
	GUEST_ASSERT_EQ(rdmsr(COUNT(ONCE_MESSAGE)), vp->count[ONCE_MESSAGE]);
}

static void begin(struct busy_vp *vp, u32 id)
{
	u32 i;

	guest_set_os_id();
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(busy.call_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&busy.ref_page));
	wrmsr(HV_X64_MSR_SIMP, synic_simp(id));
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(id));
	wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, assist_page_of(id));
	for (i = 0; i < ARRAY_SIZE(sints); i++)
		wrmsr(HV_X64_MSR_SINT(sints[i][0]), sints[i][1]);
	apic_enable();
	vp->begin = ref_now();
	start(TICK_MESSAGE, MESSAGE_TO(TICK_MESSAGE) | PERIODIC, TICK_REF(TICK_MESSAGE));
	start(TICK_DIRECT, DIRECT_TO(TICK_DIRECT) | PERIODIC, TICK_REF(TICK_DIRECT));
}

GUEST_CODE(busy_guest)
{
	u32 id = this_cpu()->id;
	struct busy_vp *vp = this_vp();

	begin(vp, id);
	irqs_on();
	/* An APIC that is not enabled yet drops the other's IPI. */
	vp->begun = 1;
	wait_for(vp, &busy.vps[!id].begun, 1);
	while (!busy.stop) {
		check_time();
		arm(vp, ONCE_MESSAGE, MESSAGE_TO(ONCE_MESSAGE));
		arm(vp, ONCE_DIRECT, DIRECT_TO(ONCE_DIRECT));
		hold(vp);
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
	wait_for(vp, &busy.vps[!id].done, 1);
	/* It ticks to the end. */
	wait_for(vp, &vp->ticks[TICK_MESSAGE], vp->ticks[TICK_MESSAGE] + 2);
	wait_for(vp, &vp->ticks[TICK_DIRECT], vp->ticks[TICK_DIRECT] + 2);
	guest_settle(SETTLE_MS);
	irqs_off();
}

/* --- host ---------------------------------------------------------------- */

/* The clock and the reference time are read one after the other, and are rounded. */
#define CLOCK_SLACK REF_MS(1)
/* In so many rounds a VP in peace ends some interrupt without an EOI. */
#define MAX_ROUNDS  100

static volatile bool ended[MAX_VPS];
static int event_fd = -1;

static void take_post(struct vcpu *v)
{
	const struct kvm_hyperv_exit *exit = &v->run->hyperv;
	u64 number;

	ASSERT_EQ(exit->u.hcall.input, POST_SLOW);
	memcpy(&number, busy.posts[v->id].payload, sizeof(number));
	ASSERT(number == busy.posts_seen[v->id] + 1, "VP %u posted %llu after %llu", v->id,
	       (unsigned long long)number, (unsigned long long)busy.posts_seen[v->id]);
	busy.posts_seen[v->id] = number;
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
static void send_message(int irq)
{
	volatile struct hv_message *m = &synic_messages[0][HOST_SINT];

	if (m->type != HV_MSG_NONE)
		return;
	m->size = 8;
	m->flags = 0;
	m->payload[0] = ++busy.messages_sent;
	__atomic_store_n(&m->type, HOST_MESSAGE, __ATOMIC_SEQ_CST);
	eventfd_signal(irq);
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
		ASSERT(busy.vps[i].posted - busy.posts_seen[i] <= most,
		       "VP %u: %llu posted, %llu seen", i, (unsigned long long)busy.vps[i].posted,
		       (unsigned long long)busy.posts_seen[i]);
		signalled += busy.vps[i].signalled;
	}
	busy.events_seen += eventfd_count(event_fd);
	ASSERT(busy.events_seen - signalled <= most * MAX_VPS, "%llu events for %llu signals",
	       (unsigned long long)busy.events_seen, (unsigned long long)signalled);
}

/* The reference time is KVM's clock, however long it took to put the VM together. */
static void check_clock(struct vm *vm)
{
	u64 before = get_clock(vm).clock / 100, after;
	u64 now = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_TIME_REF_COUNT);

	after = get_clock(vm).clock / 100;
	ASSERT(now + CLOCK_SLACK >= before && now <= after + CLOCK_SLACK,
	       "reference time %llu, KVM's clock %llu to %llu", (unsigned long long)now,
	       (unsigned long long)before, (unsigned long long)after);
}

/*
 * The page is in use, and says that it is another one since the move. KVM takes the TSCs of two
 * vCPUs for one only if both were written within a second, in which a busy machine may not do it.
 * busy_end() asks whether any move was judged.
 */
static void check_page(struct vm *vm)
{
	u32 sequence = busy.ref_page.sequence;

	if (!(get_clock(vm).flags & KVM_CLOCK_TSC_STABLE)) {
		busy.pages_skipped++;
		ktap_log(
			"the reference TSC page is not judged: KVM's clock does not follow the TSC");
		return;
	}
	busy.pages_judged++;
	ASSERT(seq_valid(sequence) && sequence != busy.sequence,
	       "sequence of the reference TSC page 0x%x, before 0x%x", sequence, busy.sequence);
	busy.sequence = sequence;
}

/* Where interrupts end without an exit, KVM has no use for the assist page. */
static bool has_lived(const struct busy_vp *vp, const struct busy_vp *begin)
{
	u64 rounds = vp->rounds - begin->rounds;

	if (rounds < 2)
		return false;
	if (host_has_apicv() || vp->spared != begin->spared)
		return true;
	ASSERT(rounds < MAX_ROUNDS, "no interrupt ended by the VP assist page in %u rounds",
	       MAX_ROUNDS);
	return false;
}

static int start_life(struct vm *vm)
{
	static const u32 host_sint[] = { HOST_SINT };
	u32 i;
	int irq;

	route_sints(vm, 0, host_sint, 1);
	irq = irqfd_new(vm, GSI(0), NULL);
	ASSERT_EQ(__connection_assign(vm, CONN, event_fd), 0);
	for (i = 0; i < MAX_VPS; i++)
		ASSERT_EQ(pthread_create(&vm->vcpus[i]->worker, NULL, run_vp, vm->vcpus[i]), 0);
	return irq;
}

static int live(struct vm *vm)
{
	struct busy_vp begin[MAX_VPS];
	u32 i;
	int irq;

	memcpy(begin, busy.vps, sizeof(begin));
	irq = start_life(vm);
	for (i = 0; i < MAX_VPS; i++) {
		while (!has_lived(&busy.vps[i], &begin[i])) {
			if (busy.vps[0].rounds)
				send_message(irq);
			usleep(500);
		}
	}
	usleep((u32)random() % 20000);
	return irq;
}

void busy_live(struct vm *vm)
{
	int irq = live(vm);
	u32 i;

	send_message(irq);
	for (i = 0; i < MAX_VPS; i++)
		vcpu_stop(vm->vcpus[i]);
	join_all(vm);
	check_counts(1);
	check_clock(vm);
	check_page(vm);
	close(irq);
}

static void log_vp(u32 i)
{
	const struct busy_vp *vp = &busy.vps[i];

	ktap_log("VP %u: %llu rounds, %llu and %llu ticks, %llu IPIs, %llu host messages", i,
		 (unsigned long long)vp->rounds, (unsigned long long)vp->ticks[TICK_MESSAGE],
		 (unsigned long long)vp->ticks[TICK_DIRECT], (unsigned long long)vp->ipis_taken,
		 (unsigned long long)vp->host_messages);
	ktap_log("VP %u: %llu interrupts without EOI", i, (unsigned long long)vp->spared);
}

void busy_end(struct vm *vm)
{
	int irq = live(vm);
	u32 i;

	while (synic_messages[0][HOST_SINT].type != HV_MSG_NONE)
		usleep(500);
	busy.stop = true;
	join_all(vm);
	close(irq);
	ASSERT(ended[0] && ended[1], "a VP did not end");
	ASSERT_EQ(busy.vps[0].host_messages, busy.messages_sent);
	check_counts(0);
	check_clock(vm);
	check_page(vm);
	ktap_log("reference TSC page judged %u times, not judged %u times", busy.pages_judged,
		 busy.pages_skipped);
	ASSERT(busy.pages_judged,
	       "the reference TSC page was never judged; use a host with a stable TSC that is less busy");
	for (i = 0; i < MAX_VPS; i++) {
		const struct busy_vp *vp = &busy.vps[i];

		log_vp(i);
		ASSERT_EQ(vp->ipis_taken, busy.vps[!i].ipis_sent);
		ASSERT_EQ(vp->expired[ONCE_MESSAGE], vp->armed[ONCE_MESSAGE]);
		ASSERT_EQ(vp->expired[ONCE_DIRECT], vp->armed[ONCE_DIRECT]);
	}
}

void busy_prepare(void)
{
	require_tsc_clocksource();
	srandom(1);
	guest_irq_handlers[IPI_VEC] = on_ipi;
	guest_irq_handlers[HOST_VEC] = on_host_message;
	guest_irq_handlers[TIMER_VEC(TICK_MESSAGE)] = on_timer_message;
	guest_irq_handlers[TIMER_VEC(TICK_DIRECT)] = on_direct;
	guest_irq_handlers[TIMER_VEC(ONCE_MESSAGE)] = on_timer_message;
	guest_irq_handlers[TIMER_VEC(ONCE_DIRECT)] = on_direct;
	event_fd = eventfd_new();
}

void busy_begin(struct vm *vm)
{
	u32 i;

	for (i = 0; i < MAX_VPS; i++) {
		busy.vps[i].seed = i;
		vcpu_entry(vm->vcpus[i], busy_guest);
	}
}
