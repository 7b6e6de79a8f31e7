// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several VPs at once. What they do to one another comes at any time, so nothing can be compared
 * with another VM; each VP checks what must hold whatever the order: no interrupt, message or
 * event is lost or comes twice, the time goes on over all VPs, no timer is early, and no
 * translation is used that was flushed.
 *
 * Page n of a window is VP n's to remap. Its translation leads to a page that holds the number of
 * the last change; who has seen that the flush was done must not read an older one.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "apic.h"
#include "irqfd.h"
#include "../lib/rows.h"
#include "several.h"

#define IPI_VECTOR    0x40 /* + the sender */
#define TIMER_VECTOR  0x51
#define SINT_VECTOR   0x61
#define PING_VECTOR   0x70 /* + the sender, whom it asks for a pong */
#define PONG_VECTOR   0x81
#define SINT	      2
#define CONNECTION    7
#define WINDOW	      0x40000000ULL
#define FRAMES	      4			 /* that the pages of one VP lead to, in turns */
#define SURELY_ASLEEP 50000		 /* 5 ms */
#define TIME_OUT      (30ULL * 10000000) /* 30 s of reference time: an emulated host may be busy */

static struct world {
	struct vm *vm;
	u32 vps, rounds;
	u64 seed[SEVERAL_MAX];
	u64 *ptes;
	u64 *frames[SEVERAL_MAX][FRAMES];
	u8 *input[SEVERAL_MAX];
	struct hv_message *messages[SEVERAL_MAX];
	volatile u64 flushed[SEVERAL_MAX]; /* the last change that is flushed everywhere */
	volatile u32 sent[SEVERAL_MAX][SEVERAL_MAX], got[SEVERAL_MAX][SEVERAL_MAX];
	volatile u32 ticks[SEVERAL_MAX], taken[SEVERAL_MAX], pongs[SEVERAL_MAX];
	struct several_halts halts[SEVERAL_MAX];
	volatile u64 due[SEVERAL_MAX], latest;
	volatile u32 signals, done;
} w;

static u32 me(void)
{
	return this_cpu()->id;
}

static u64 draw(void)
{
	struct fuzz_random r = { .s = w.seed[me()] };
	u64 v = fuzz_random(&r);

	w.seed[me()] = r.s;
	return v;
}

static u32 below(u32 n)
{
	return (u32)((draw() >> 32) * n >> 32);
}

/* Read the time; it must not be before what any VP has read. */
static u64 time_now(void)
{
	u64 before = __atomic_load_n(&w.latest, __ATOMIC_SEQ_CST), now;

	now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	if (now < before)
		guest_assert_failed(GUEST_ASSERT_CMD, __FILE__, __LINE__, "the time went back", 2,
				    before, now);
	while (now > before && !__atomic_compare_exchange_n(&w.latest, &before, now, false,
							    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	return now;
}

static void relax(u32 spins)
{
	u64 result;

	cpu_relax();
	/* As a guest's spin lock does. */
	if (spins % 256 == 255)
		__hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, spins, 0, &result);
}

#define WAIT_FOR(cond)                                                             \
	do {                                                                       \
		u64 __begin = 0;                                                   \
		u32 __spins;                                                       \
		for (__spins = 0; !(cond); __spins++) {                            \
			relax(__spins);                                            \
			if (__spins % 64 == 63) {                                  \
				u64 __now = time_now();                            \
				__begin = __begin ? __begin : __now;               \
				GUEST_ASSERT(__now - __begin < TIME_OUT && #cond); \
			}                                                          \
		}                                                                  \
	} while (0)

/* --- interrupts ---------------------------------------------------------- */

static void on_ipi(struct guest_frame *f)
{
	w.got[me()][f->vector - IPI_VECTOR]++;
	apic_eoi();
}

static void on_timer(struct guest_frame *f)
{
	u32 n = me();

	(void)f;
	/* Not by time_now(): it may interrupt that. */
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= w.due[n]);
	w.ticks[n]++;
	apic_eoi();
}

static void on_message(struct guest_frame *f)
{
	volatile struct hv_message *m = &w.messages[me()][SINT];
	u32 n = me();

	(void)f;
	GUEST_ASSERT_EQ(m->type, HV_MSG_TIMER_EXPIRED);
	GUEST_ASSERT_EQ(m->timer.index, 1);
	GUEST_ASSERT_EQ(m->timer.expiration, w.due[n]);
	GUEST_ASSERT(m->timer.delivery >= m->timer.expiration);
	m->type = HV_MSG_NONE;
	asm volatile("mfence" : : : "memory");
	if (m->flags & HV_MSG_PENDING)
		wrmsr(HV_X64_MSR_EOM, 0);
	w.taken[n]++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void on_ping(struct guest_frame *f)
{
	GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, PONG_VECTOR,
				  BIT64(f->vector - PING_VECTOR)),
			HV_STATUS_SUCCESS);
	apic_eoi();
}

static void on_pong(struct guest_frame *f)
{
	(void)f;
	w.pongs[me()]++;
	apic_eoi();
}

/* --- what a VP does ------------------------------------------------------ */

/* Halt until the handler of @by has counted one more than @before. */
static void sleep_until(volatile u32 *count, u32 before, enum several_waker by)
{
	struct several_halts *h = &w.halts[me()];
	bool halted = false;

	/* Off between look and HLT: or what comes there is slept over. */
	for (;;) {
		irqs_off();
		if (*count != before)
			break;
		h->halts++;
		halted = true;
		irqs_halt();
		irqs_on();
	}
	irqs_on();
	h->ended[by] += halted;
}

static void send_ipis(u64 mask, u32 vector)
{
	u64 *in = (u64 *)w.input[me()];
	struct xmm_block xmm = { { 1, mask } };
	u64 result = 0;

	switch (below(4)) {
	case 0:
		result = hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, vector, mask);
		break;
	case 1:
		in[0] = vector;
		in[1] = mask;
		result = hypercall(HVCALL_SEND_IPI, gpa(in), 0);
		break;
	case 2:
		in[0] = vector;
		in[1] = 0;
		in[2] = 1;
		in[3] = mask;
		result = hypercall(HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), gpa(in), 0);
		break;
	default:
		GUEST_ASSERT_EQ(__hypercall_xmm(HVCALL_SEND_IPI_EX | HV_CTL_FAST | HV_CTL_VARHDR(1),
						vector, 0, &xmm, &result),
				0);
	}
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

static bool all_came(u32 n)
{
	u32 i;

	for (i = 0; i < w.vps; i++)
		if (w.got[i][n] != w.sent[n][i])
			return false;
	return true;
}

/*
 * To some of the VPs, itself included. All before must have come: the APIC keeps one of a vector.
 */
static void ipi(void)
{
	u64 mask = draw() & (BIT64(w.vps) - 1);
	u32 n = me(), i;

	WAIT_FOR(all_came(n));
	for (i = 0; i < w.vps; i++)
		w.sent[n][i] += mask >> i & 1;
	/* An empty mask means all VPs to a flush, and nobody here. */
	if (mask && (mask & (mask - 1) || below(2)))
		send_ipis(mask, IPI_VECTOR + n);
	else if (mask)
		wrmsr(HV_X64_MSR_ICR, ICR_TO((u64)__builtin_ctzll(mask), IPI_VECTOR + n));
	if (below(2))
		WAIT_FOR(all_came(n));
}

/* One that expires @ticks from now, or has expired if that is 0. */
static void timer(bool message, u64 ticks, bool halt)
{
	volatile u32 *count = message ? &w.taken[me()] : &w.ticks[me()];
	u32 n = me(), t = message, before = *count;
	u64 config = HV_STIMER_ENABLE |
		     (message ? HV_STIMER_SINT(SINT) :
				HV_STIMER_DIRECT | HV_STIMER_VECTOR(TIMER_VECTOR));

	w.due[n] = ticks ? time_now() + ticks : 1 + below(100);
	wrmsr(HV_X64_MSR_STIMER_COUNT(t), w.due[n]);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(t), config);
	if (halt)
		sleep_until(count, before, message ? SEVERAL_BY_MESSAGE : SEVERAL_BY_TIMER);
	else
		WAIT_FOR(*count != before);
	GUEST_ASSERT_EQ(*count, before + 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_STIMER_CONFIG(t)) & HV_STIMER_ENABLE, 0);
}

static void any_timer(void)
{
	timer(below(2), below(8) ? 100 + below(20000) : 0, below(2));
}

/* Ask another VP for an IPI, and sleep until it comes. */
static void ping(void)
{
	u32 n = me(), to = (n + 1 + below(w.vps - 1)) % w.vps, before = w.pongs[n];

	if (below(2))
		send_ipis(BIT64(to), PING_VECTOR + n);
	else
		wrmsr(HV_X64_MSR_ICR, ICR_TO(to, PING_VECTOR + n));
	sleep_until(&w.pongs[n], before, SEVERAL_BY_IPI);
	GUEST_ASSERT_EQ(w.pongs[n], before + 1);
}

static u64 flush(u64 address)
{
	u64 *in = (u64 *)w.input[me()], flags = HV_FLUSH_ALL_SPACES, result;
	struct xmm_block xmm = { { BIT64(w.vps) - 1, address } };

	switch (below(5)) {
	case 0:
		in[0] = 0;
		in[1] = flags | HV_FLUSH_ALL_PROCESSORS;
		in[2] = 0;
		return hypercall(HVCALL_FLUSH_SPACE, gpa(in), 0);
	case 1:
		in[0] = 0;
		in[1] = flags;
		in[2] = BIT64(w.vps) - 1;
		in[3] = address;
		return hypercall(HVCALL_FLUSH_LIST | HV_CTL_REP(1), gpa(in), 0) & 0xffff;
	case 2:
		in[0] = 0;
		in[1] = flags;
		in[2] = 0;
		in[3] = 1;
		in[4] = BIT64(w.vps) - 1;
		in[5] = address;
		return hypercall(HVCALL_FLUSH_LIST_EX | HV_CTL_REP(1) | HV_CTL_VARHDR(1), gpa(in),
				 0) &
		       0xffff;
	case 3:
		GUEST_ASSERT_EQ(__hypercall_xmm(HVCALL_FLUSH_LIST | HV_CTL_FAST | HV_CTL_REP(1), 0,
						flags, &xmm, &result),
				0);
		return result & 0xffff;
	default:
		GUEST_ASSERT_EQ(__hypercall_xmm(HVCALL_FLUSH_SPACE | HV_CTL_FAST, 0, flags, &xmm,
						&result),
				0);
		return result;
	}
}

static volatile u64 *window(u32 n)
{
	return (volatile u64 *)(uintptr_t)(WINDOW + n * PAGE_SIZE);
}

static void remap(void)
{
	u32 n = me();
	u64 next = w.flushed[n] + 1, *frame = w.frames[n][next % FRAMES];

	__atomic_store_n(frame, next, __ATOMIC_SEQ_CST);
	__atomic_store_n(&w.ptes[n], gpa(frame) | 7, __ATOMIC_SEQ_CST);
	GUEST_ASSERT_EQ(flush(gpa(window(n))), HV_STATUS_SUCCESS);
	__atomic_store_n(&w.flushed[n], next, __ATOMIC_SEQ_CST);
	GUEST_ASSERT_EQ(*window(n), next);
}

static void look(void)
{
	u32 n = below(w.vps), i;
	u64 least, seen;

	for (i = 0; i < 16; i++) {
		least = __atomic_load_n(&w.flushed[n], __ATOMIC_SEQ_CST);
		seen = *window(n);
		if (seen < least)
			guest_assert_failed(GUEST_ASSERT_CMD, __FILE__, __LINE__,
					    "a flushed translation was used", 2, least, seen);
	}
}

static void start(void)
{
	u32 n = me();

	apic_enable();
	if (!n)
		guest_set_os_id();
	wrmsr(HV_X64_MSR_SIMP, gpa(w.messages[n]) | 1);
	wrmsr(HV_X64_MSR_SCONTROL, 1);
	wrmsr(HV_X64_MSR_SINT(SINT), SINT_VECTOR);
	__atomic_fetch_add(&w.done, 1, __ATOMIC_SEQ_CST);
	irqs_on();
	WAIT_FOR(w.done >= w.vps);
}

static void one_of_several(void)
{
	u32 i, n = me();

	start();
	/* Whatever is drawn, each VP is asleep once when each of its timers expires. */
	timer(false, SURELY_ASLEEP, true);
	timer(true, SURELY_ASLEEP, true);
	for (i = 0; i < w.rounds; i++) {
		switch (below(9)) {
		case 0:
		case 1:
			ipi();
			break;
		case 2:
			any_timer();
			break;
		case 3:
		case 4:
			remap();
			break;
		case 5:
			if (!hypercall(HVCALL_SIGNAL_EVENT | HV_CTL_FAST, CONNECTION, 0))
				__atomic_fetch_add(&w.signals, 1, __ATOMIC_SEQ_CST);
			break;
		case 6:
			time_now();
			break;
		case 7:
			ping();
			break;
		default:
			look();
		}
	}
	WAIT_FOR(all_came(n));
	__atomic_fetch_add(&w.done, 1, __ATOMIC_SEQ_CST);
	/* Nobody stops to take interrupts before all have sent their last one. */
	WAIT_FOR(w.done >= 2 * w.vps);
	irqs_off();
	for (i = 0; i < w.vps; i++)
		GUEST_ASSERT_EQ(w.got[n][i], w.sent[i][n]);
}

GUEST_CODE(vp_of_several)
{
	one_of_several();
}

/* --- host ---------------------------------------------------------------- */

/* The window's pages by a table of their own, in place of one entry of the identity map. */
static void map_window(void)
{
	u64 *pml4 = (u64 *)(uintptr_t)w.vm->cr3;
	u64 *pdpt = (u64 *)(uintptr_t)(pml4[0] & ~0xfffULL);
	u64 *pd = (u64 *)(uintptr_t)(pdpt[WINDOW >> 30] & ~0xfffULL);
	u32 i, j;

	w.ptes = vm_alloc(w.vm, PAGE_SIZE);
	pd[WINDOW >> 21 & 511] = gpa(w.ptes) | 7;
	for (i = 0; i < w.vps; i++) {
		for (j = 0; j < FRAMES; j++)
			w.frames[i][j] = vm_alloc(w.vm, PAGE_SIZE);
		w.ptes[i] = gpa(w.frames[i][0]) | 7;
	}
}

/* The registers of the SynIC tell user space, which has nothing to do. */
static void *run_vp(void *arg)
{
	struct vcpu *v = arg;
	u32 cmd;

	do {
		cmd = vcpu_run(v);
	} while (cmd == RUN_EXIT(KVM_EXIT_HYPERV));
	if (cmd != GUEST_DONE) {
		vcpu_dump(v);
		FAIL("VP %u ended with %#x", v->id, cmd);
	}
	return NULL;
}

/* What KVM counts of a VP's HLTs. */
static const char *const stats[] = { "halt_exits", "halt_successful_poll", "halt_wakeup" };

void several_run(u64 seed, u32 vps, u32 rounds, struct several_halts *halts)
{
	struct kvm_stat stat[SEVERAL_MAX][ARRAY_SIZE(stats)];
	struct kvm_hyperv_eventfd e = { .conn_id = CONNECTION };
	int event = eventfd_new();
	u32 i, j;

	memset(&w, 0, sizeof(w));
	w.vps = vps;
	w.rounds = rounds;
	w.vm = vm_create(vps, VM_FREE_PAUSE);
	map_window();
	e.fd = (u32)event;
	ASSERT(!ioctl(w.vm->fd, KVM_HYPERV_EVENTFD, &e), "KVM_HYPERV_EVENTFD");
	for (i = 0; i < vps; i++) {
		w.seed[i] = seed * SEVERAL_MAX + i;
		w.input[i] = vm_alloc(w.vm, PAGE_SIZE);
		w.messages[i] = vm_alloc(w.vm, PAGE_SIZE);
		guest_irq_handlers[IPI_VECTOR + i] = on_ipi;
		guest_irq_handlers[PING_VECTOR + i] = on_ping;
		for (j = 0; j < ARRAY_SIZE(stats); j++)
			stat[i][j] = stat_open(w.vm->vcpus[i], stats[j]);
		ASSERT_EQ(__vcpu_enable_cap(w.vm->vcpus[i], KVM_CAP_HYPERV_SYNIC, 0), 0);
		vcpu_entry(w.vm->vcpus[i], vp_of_several);
	}
	guest_irq_handlers[TIMER_VECTOR] = on_timer;
	guest_irq_handlers[SINT_VECTOR] = on_message;
	guest_irq_handlers[PONG_VECTOR] = on_pong;
	for (i = 0; i < vps; i++)
		ASSERT_EQ(pthread_create(&w.vm->vcpus[i]->worker, NULL, run_vp, w.vm->vcpus[i]), 0);
	for (i = 0; i < vps; i++) {
		vcpu_join(w.vm->vcpus[i]);
		halts[i].halts += w.halts[i].halts;
		for (j = 0; j < SEVERAL_WAKERS; j++)
			halts[i].ended[j] += w.halts[i].ended[j];
		halts[i].exits += stat_read(&stat[i][0]);
		halts[i].polled += stat_read(&stat[i][1]);
		halts[i].woken += stat_read(&stat[i][2]);
		for (j = 0; j < ARRAY_SIZE(stats); j++)
			stat_close(&stat[i][j]);
	}
	ASSERT_EQ(eventfd_count(event), w.signals);
	close(event);
	vm_free(w.vm);
}
