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
#include "apic.h"
#include "refclock.h"
#include "several_private.h"

#define IPI_VECTOR     0x40 /* + the sender */
#define TIMER_VECTOR   0x51
#define MESSAGE_VECTOR 0x61
#define STEADY_VECTOR  0x62
#define MOBILE_VECTOR  0x63
#define PING_VECTOR    0x70 /* + the sender, whom it asks for a pong */
#define PONG_VECTOR    0x81
#define MAYBE_ASLEEP   50000 /* 5 ms */
#define MOST_TIMERS    50
#define LOOKS	       2000
#define TIME_OUT       (30ULL * 10000000) /* 30 s of reference time: an emulated host may be busy */

struct several_world w;

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

/* Read the time, by register and page in turns; it must not be before what any VP has read. */
static u64 time_now(void)
{
	u64 before = __atomic_load_n(&w.latest, __ATOMIC_SEQ_CST), now;

	now = w.readings[me()]++ % 2 ? guest_time(w.clock) : rdmsr(HV_X64_MSR_TIME_REF_COUNT);
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
	volatile struct hv_message *m = &w.messages[me()][MESSAGE_SINT];
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

/* One for each signal: the host makes the next one when it has seen the last one taken. */
static void on_signal(volatile u32 *taken, u32 raised)
{
	/* Before it is counted: all that belongs to it is over then. */
	apic_eoi();
	GUEST_ASSERT_EQ(*taken + 1, raised);
	(*taken)++;
}

static void on_steady(struct guest_frame *f)
{
	(void)f;
	on_signal(&w.steady_taken[me()], w.steady[me()]);
}

static void on_mobile(struct guest_frame *f)
{
	(void)f;
	on_signal(&w.mobile_taken[me()], w.mobile[me()]);
}

/*
 * Those of @mask that have their index for themselves. Until release() the host gives it to nobody
 * else.
 */
static u64 reserve(u64 mask)
{
	u32 i;

	for (i = 0; i < w.vps; i++) {
		if (!(mask >> i & 1))
			continue;
		__atomic_fetch_add(&w.senders[i], 1, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&w.closed[i], __ATOMIC_SEQ_CST))
			continue;
		__atomic_fetch_sub(&w.senders[i], 1, __ATOMIC_SEQ_CST);
		mask &= ~BIT64(i);
	}
	return mask;
}

static void release(u64 mask)
{
	u32 i;

	for (i = 0; i < w.vps; i++)
		if (mask >> i & 1)
			__atomic_fetch_sub(&w.senders[i], 1, __ATOMIC_SEQ_CST);
}

static void on_ping(struct guest_frame *f)
{
	u32 to = (u32)f->vector - PING_VECTOR;

	if (reserve(BIT64(to))) {
		GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, PONG_VECTOR, BIT64(to)),
				HV_STATUS_SUCCESS);
		release(BIT64(to));
	} else {
		wrmsr(HV_X64_MSR_ICR, ICR_TO(to, PONG_VECTOR));
	}
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

/* To VPs that are reserved, and now and then to indices that only spare VPs have. */
static void send_ipis(u64 vps, u32 vector)
{
	u64 mask = vps | (below(2) ? 0 : draw() << w.vps);
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
	release(vps);
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
	u64 to = draw() & (BIT64(w.vps) - 1);
	bool by_id = to && below(4) == 0;
	u32 n = me(), i;

	WAIT_FOR(all_came(n));
	to = by_id ? BIT64(__builtin_ctzll(to)) : reserve(to);
	for (i = 0; i < w.vps; i++)
		w.sent[n][i] += to >> i & 1;
	/* An empty mask means all VPs to a flush, and nobody here. */
	if (by_id)
		wrmsr(HV_X64_MSR_ICR, ICR_TO((u64)__builtin_ctzll(to), IPI_VECTOR + n));
	else
		send_ipis(to, IPI_VECTOR + n);
	if (below(2))
		WAIT_FOR(all_came(n));
}

/* One that expires @ticks from now, or has expired if that is 0. */
static void timer(bool message, u64 ticks, bool halt)
{
	volatile u32 *count = message ? &w.taken[me()] : &w.ticks[me()];
	u32 n = me(), t = message, before = *count;
	u64 config = HV_STIMER_ENABLE |
		     (message ? HV_STIMER_SINT(MESSAGE_SINT) :
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

	if (below(2) && reserve(BIT64(to)))
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

	/* Longer than a flush takes: on a host that flushes at each exit no other VP has any. */
	for (i = 0; i < LOOKS; i++) {
		least = __atomic_load_n(&w.flushed[n], __ATOMIC_SEQ_CST);
		seen = *window(n);
		if (seen < least)
			guest_assert_failed(GUEST_ASSERT_CMD, __FILE__, __LINE__,
					    "a flushed translation was used", 2, least, seen);
	}
}

/* An access follows the filter that is in force. */
static void filtered(void)
{
	u64 before = __atomic_load_n(&w.filter, __ATOMIC_SEQ_CST), value;
	u32 vector = __rdmsr(FILTERED_MSR, &value), state = before & (BIT64(STATE_BITS) - 1);

	GUEST_ASSERT(!vector || vector == GP_VECTOR);
	if (!vector)
		GUEST_ASSERT_EQ(value, me());
	if (state != FILTER_CHANGES && before == __atomic_load_n(&w.filter, __ATOMIC_SEQ_CST))
		GUEST_ASSERT_EQ(vector, state == DENIED ? GP_VECTOR : 0);
}

static void sleep_for_signal(void)
{
	volatile u32 *taken = &w.steady_taken[me()];

	sleep_until(taken, *taken, SEVERAL_BY_SIGNAL);
}

static void signal_event(void)
{
	if (!hypercall(HVCALL_SIGNAL_EVENT | HV_CTL_FAST, CONNECTION, 0))
		__atomic_fetch_add(&w.signals, 1, __ATOMIC_SEQ_CST);
}

static void start(void)
{
	u32 n = me();

	apic_enable();
	if (!n) {
		guest_set_os_id();
		wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(w.clock));
	}
	wrmsr(HV_X64_MSR_SIMP, gpa(w.messages[n]) | 1);
	wrmsr(HV_X64_MSR_SCONTROL, 1);
	wrmsr(HV_X64_MSR_SINT(MESSAGE_SINT), MESSAGE_VECTOR);
	wrmsr(HV_X64_MSR_SINT(STEADY_SINT), STEADY_VECTOR);
	wrmsr(HV_X64_MSR_SINT(MOBILE_SINT), MOBILE_VECTOR);
	__atomic_fetch_add(&w.done, 1, __ATOMIC_SEQ_CST);
	irqs_on();
	WAIT_FOR(w.done >= w.vps);
}

static void one_operation(void)
{
	switch (below(12)) {
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
		signal_event();
		break;
	case 6:
		time_now();
		break;
	case 7:
		ping();
		break;
	case 8:
		sleep_for_signal();
		break;
	case 9:
		filtered();
		break;
	default:
		look();
	}
}

static void one_of_several(void)
{
	u32 i, n = me();

	start();
	/*
	 * Whatever is drawn, each VP is asleep once when each of its timers expires. A host that
	 * does something else before the HLT, or sets the clock, is why that may take some.
	 */
	for (i = 0; i < MOST_TIMERS && !w.halts[n].ended[SEVERAL_BY_TIMER]; i++)
		timer(false, MAYBE_ASLEEP, true);
	for (i = 0; i < MOST_TIMERS && !w.halts[n].ended[SEVERAL_BY_MESSAGE]; i++)
		timer(true, MAYBE_ASLEEP, true);
	for (i = 0; i < w.rounds || w.deeds < LEAST_DEEDS; i++)
		one_operation();
	WAIT_FOR(all_came(n));
	__atomic_fetch_add(&w.done, 1, __ATOMIC_SEQ_CST);
	/*
	 * Nobody stops to take interrupts before all have sent their last one, and the host has
	 * seen its last signals taken. The host's watchdog has the limit: all are waited for.
	 */
	for (i = 0; !w.quiet; i++)
		relax(i);
	irqs_off();
	for (i = 0; i < w.vps; i++)
		GUEST_ASSERT_EQ(w.got[n][i], w.sent[i][n]);
}

GUEST_CODE_GLOBAL(vp_of_several)
{
	one_of_several();
}

void several_handlers(void)
{
	u32 i;

	for (i = 0; i < SEVERAL_MAX; i++) {
		guest_irq_handlers[IPI_VECTOR + i] = on_ipi;
		guest_irq_handlers[PING_VECTOR + i] = on_ping;
	}
	guest_irq_handlers[PONG_VECTOR] = on_pong;
	guest_irq_handlers[TIMER_VECTOR] = on_timer;
	guest_irq_handlers[MESSAGE_VECTOR] = on_message;
	guest_irq_handlers[STEADY_VECTOR] = on_steady;
	guest_irq_handlers[MOBILE_VECTOR] = on_mobile;
}
