// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host of several VPs at once (several.c): while they run it moves their threads, sets the
 * clock forward, changes routes, indices, the MSR filter and memslots, and raises SINTs.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "irqfd.h"
#include "msr_filter.h"
#include "random.h"
#include "several_private.h"
#include "../lib/rows.h"

/* After the steady routes, which have the GSIs of their VPs. */
#define MOBILE_GSI SEVERAL_MAX
#define NOBODY	   ~0u
#define PAUSE_US   1000
#define LOOK_US	   50
#define SLOT	   100

static struct {
	u64 seed;
	u32 turn;
	int steady[SEVERAL_MAX], acks[SEVERAL_MAX], mobile;
	u32 mobile_vp; /* NOBODY: it has no route */
	bool mobile_on;
	u32 twin; /* whose index the first spare VP has */
	u32 cpu[SEVERAL_MAX];
	u64 filters;
	bool denied, slot;
	void *slot_page;
	volatile bool stop;
	/* No signal is raised while an index changes. */
	pthread_mutex_t indices;
	u64 deeds[SEVERAL_DEEDS];
} h;

static u32 pick(u32 n)
{
	return random_below(&h.seed, n);
}

static struct vcpu *spare(u32 n)
{
	return w.vm->vcpus[w.vps + n];
}

/* --- what the host does -------------------------------------------------- */

static void move(void)
{
	u32 n = pick(w.vps);
	cpu_set_t set;

	h.cpu[n] = (h.cpu[n] + 1) % (u32)sysconf(_SC_NPROCESSORS_ONLN);
	CPU_ZERO(&set);
	CPU_SET(h.cpu[n], &set);
	ASSERT_EQ(pthread_setaffinity_np(w.vm->vcpus[n]->worker, sizeof(set), &set), 0);
}

static void kick(void)
{
	ASSERT_EQ(pthread_kill(w.vm->vcpus[pick(w.vps)]->worker, SIGUSR1), 0);
}

/* KVM adds what passes between the two calls: the clock does not stand still for it. */
static bool set_clock_forward(void)
{
	struct kvm_clock_data c = { 0 };

	ASSERT(!ioctl(w.vm->fd, KVM_GET_CLOCK, &c), "KVM_GET_CLOCK: %s", strerror(errno));
	if (!(c.flags & KVM_CLOCK_REALTIME))
		return false;
	c.flags = KVM_CLOCK_REALTIME;
	c.clock += 50000 + pick(2000000);
	ASSERT(!ioctl(w.vm->fd, KVM_SET_CLOCK, &c), "KVM_SET_CLOCK: %s", strerror(errno));
	return true;
}

static void set_routes(void)
{
	struct {
		struct kvm_irq_routing hdr;
		struct kvm_irq_routing_entry entries[SEVERAL_MAX + 1];
	} r = { .hdr.nr = w.vps };
	u32 i;

	for (i = 0; i < w.vps; i++)
		r.entries[i] = (struct kvm_irq_routing_entry){
			.gsi = GSI(i),
			.type = KVM_IRQ_ROUTING_HV_SINT,
			.u.hv_sint = { .vcpu = i, .sint = STEADY_SINT },
		};
	if (h.mobile_vp != NOBODY)
		r.entries[r.hdr.nr++] = (struct kvm_irq_routing_entry){
			.gsi = GSI(MOBILE_GSI),
			.type = KVM_IRQ_ROUTING_HV_SINT,
			.u.hv_sint = { .vcpu = h.mobile_vp, .sint = MOBILE_SINT },
		};
	ASSERT(!ioctl(w.vm->fd, KVM_SET_GSI_ROUTING, &r), "KVM_SET_GSI_ROUTING: %s",
	       strerror(errno));
}

static void change_routes(void)
{
	u32 vp = pick(w.vps + 1);

	/* To the one that has the index, of two that have it, leads no signal of ours. */
	h.mobile_vp = vp == w.vps || w.closed[vp] ? NOBODY : vp;
	set_routes();
}

static void change_irqfd(void)
{
	struct kvm_irqfd f = { .fd = (u32)h.mobile, .gsi = GSI(MOBILE_GSI) };

	if (h.mobile_on)
		f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	ASSERT(!ioctl(w.vm->fd, KVM_IRQFD, &f), "KVM_IRQFD: %s", strerror(errno));
	h.mobile_on = !h.mobile_on;
}

/* The APIC keeps one interrupt of a vector: the one before must have been taken. */
static bool raise_mobile(void)
{
	u32 vp;

	if (!h.mobile_on)
		change_irqfd();
	if (h.mobile_vp == NOBODY)
		change_routes();
	vp = h.mobile_vp;
	if (vp == NOBODY || w.mobile[vp] != w.mobile_taken[vp])
		return false;
	w.mobile[vp]++;
	eventfd_signal(h.mobile);
	return true;
}

/* No signal is on its way to the VP, and nobody sends to its index from here on. */
static bool close_index(u32 n)
{
	bool quiet;

	pthread_mutex_lock(&h.indices);
	quiet = h.mobile_vp != n && w.steady[n] == w.steady_taken[n] &&
		w.mobile[n] == w.mobile_taken[n];
	if (quiet)
		__atomic_store_n(&w.closed[n], 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&h.indices);
	while (quiet && __atomic_load_n(&w.senders[n], __ATOMIC_SEQ_CST))
		usleep(LOOK_US);
	return quiet;
}

/*
 * Give the index of a VP that runs to a spare one, which is the one that IPIs and routes find from
 * then on (D23); the next time, give it back. Return: false if all VPs have signals to take.
 */
static bool change_twin(void)
{
	u32 i, n = pick(w.vps);

	if (h.twin != NOBODY) {
		vcpu_set_msr(spare(0), HV_X64_MSR_VP_INDEX, w.vps);
		__atomic_store_n(&w.closed[h.twin], 0, __ATOMIC_SEQ_CST);
		h.twin = NOBODY;
		return true;
	}
	for (i = 0; i < w.vps && !close_index(n); i++)
		n = (n + 1) % w.vps;
	if (i == w.vps)
		return false;
	vcpu_set_msr(spare(0), HV_X64_MSR_VP_INDEX, n);
	h.twin = n;
	return true;
}

/* Indices of nobody who runs: by turns two spare VPs have one, and each one of its own. */
static void change_spare(void)
{
	vcpu_set_msr(spare(1), HV_X64_MSR_VP_INDEX,
		     pick(2) ? w.vps + pick(SPARES) : w.vps + pick(250));
}

static void publish_filter(u32 state)
{
	__atomic_store_n(&w.filter, ++h.filters << STATE_BITS | state, __ATOMIC_SEQ_CST);
}

static void change_filter(void)
{
	publish_filter(FILTER_CHANGES);
	set_filter(w.vm, h.denied ? new_filter(ALLOW) : filter_of_one(RD, FILTERED_MSR));
	h.denied = !h.denied;
	publish_filter(h.denied ? DENIED : ALLOWED);
}

static void change_slot(void)
{
	h.slot = !h.slot;
	vm_set_page(w.vm, SLOT, GPA_NOWHERE, h.slot ? h.slot_page : NULL);
}

static void do_something(void)
{
	/* Each of them in turn, so that none is missing, and moves between. */
	enum several_deed deed = pick(4) ? (enum several_deed)(h.turn++ % SEVERAL_DEEDS) :
					   SEVERAL_MOVE;
	bool done = true;

	switch (deed) {
	case SEVERAL_KICK:
		kick();
		break;
	case SEVERAL_CLOCK:
		done = set_clock_forward();
		break;
	case SEVERAL_ROUTES:
		change_routes();
		break;
	case SEVERAL_IRQFD:
		change_irqfd();
		break;
	case SEVERAL_STEADY:
	case SEVERAL_MOBILE:
		deed = SEVERAL_MOBILE;
		done = raise_mobile();
		break;
	case SEVERAL_TWIN:
		done = change_twin();
		break;
	case SEVERAL_SPARE:
		change_spare();
		break;
	case SEVERAL_FILTER:
		change_filter();
		break;
	case SEVERAL_SLOT:
		change_slot();
		break;
	default:
		move();
	}
	h.deeds[deed] += done;
	w.deeds++;
}

/* Raises the steady SINTs, while the other thread changes what is around them. */
static void *raise_steady(void *arg)
{
	u64 seed = *(u64 *)arg;
	u32 n;

	while (!h.stop) {
		n = random_below(&seed, w.vps);
		pthread_mutex_lock(&h.indices);
		if (!w.closed[n] && w.steady[n] == w.steady_taken[n]) {
			w.steady[n]++;
			eventfd_signal(h.steady[n]);
			h.deeds[SEVERAL_STEADY]++;
		}
		pthread_mutex_unlock(&h.indices);
		usleep(random_below(&seed, PAUSE_US));
	}
	return NULL;
}

/* --- the VM -------------------------------------------------------------- */

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

static void create(u64 seed, u32 vps, u32 rounds)
{
	u32 i;

	memset(&w, 0, sizeof(w));
	memset(&h, 0, sizeof(h));
	h.seed = seed;
	h.mobile_vp = NOBODY;
	h.twin = NOBODY;
	pthread_mutex_init(&h.indices, NULL);
	w.vps = vps;
	w.rounds = rounds;
	w.vm = vm_create(vps + SPARES, VM_FREE_PAUSE);
	map_window();
	w.clock = vm_alloc(w.vm, PAGE_SIZE);
	h.slot_page = vm_alloc(w.vm, PAGE_SIZE);
	several_handlers();
	for (i = 0; i < vps + SPARES; i++)
		ASSERT_EQ(__vcpu_enable_cap(w.vm->vcpus[i], KVM_CAP_HYPERV_SYNIC, 0), 0);
	for (i = 0; i < vps; i++) {
		w.seed[i] = seed * SEVERAL_MAX + i;
		w.input[i] = vm_alloc(w.vm, PAGE_SIZE);
		w.messages[i] = vm_alloc(w.vm, PAGE_SIZE);
		vcpu_entry(w.vm->vcpus[i], vp_of_several);
	}
	set_routes();
	/* Of the odd ones the end of each interrupt is told, too. */
	for (i = 0; i < vps; i++)
		h.steady[i] = irqfd_new(w.vm, GSI(i), i % 2 ? &h.acks[i] : NULL);
	h.mobile = eventfd_new();
}

static bool all_taken(void)
{
	u32 i;

	for (i = 0; i < w.vps; i++)
		if (w.steady[i] != w.steady_taken[i] || w.mobile[i] != w.mobile_taken[i])
			return false;
	return true;
}

static void run(void)
{
	const struct sched_param first = { .sched_priority = 1 }, other = { 0 };
	pthread_t raiser;
	u64 seed = h.seed + 1;
	u32 i;

	for (i = 0; i < w.vps; i++)
		ASSERT_EQ(pthread_create(&w.vm->vcpus[i]->worker, NULL, run_vp, w.vm->vcpus[i]), 0);
	/* VPs that spin must not keep the host from what it does to them. */
	ASSERT_EQ(pthread_setschedparam(pthread_self(), SCHED_FIFO, &first), 0);
	/* A SINT that is not set up yet takes no signal. */
	while (w.done < w.vps)
		usleep(LOOK_US);
	ASSERT_EQ(pthread_create(&raiser, NULL, raise_steady, &seed), 0);
	while (w.done < 2 * w.vps) {
		do_something();
		usleep(pick(PAUSE_US));
	}
	h.stop = true;
	ASSERT_EQ(pthread_join(raiser, NULL), 0);
	/* A signal that is lost, the watchdog finds. */
	while (!all_taken())
		usleep(LOOK_US);
	w.quiet = 1;
	for (i = 0; i < w.vps; i++)
		vcpu_join(w.vm->vcpus[i]);
	ASSERT_EQ(pthread_setschedparam(pthread_self(), SCHED_OTHER, &other), 0);
	for (i = 1; i < w.vps; i += 2)
		ASSERT_EQ(eventfd_count(h.acks[i]), w.steady[i]);
}

static void destroy(void)
{
	u32 i;

	for (i = 0; i < w.vps; i++) {
		close(h.steady[i]);
		if (i % 2)
			close(h.acks[i]);
	}
	close(h.mobile);
	vm_free(w.vm);
}

/* --- what came of it ------------------------------------------------------ */

static const char *const stats[] = { "halt_exits", "halt_successful_poll", "halt_wakeup" };

void several_run(u64 seed, u32 vps, u32 rounds, struct several_report *report)
{
	struct kvm_stat stat[SEVERAL_MAX][ARRAY_SIZE(stats)];
	struct kvm_hyperv_eventfd e = { .conn_id = CONNECTION };
	struct several_halts *to;
	int event = eventfd_new();
	u32 i, j;

	create(seed, vps, rounds);
	e.fd = (u32)event;
	ASSERT(!ioctl(w.vm->fd, KVM_HYPERV_EVENTFD, &e), "KVM_HYPERV_EVENTFD");
	for (i = 0; i < vps; i++)
		for (j = 0; j < ARRAY_SIZE(stats); j++)
			stat[i][j] = stat_open(w.vm->vcpus[i], stats[j]);
	run();
	ASSERT_EQ(eventfd_count(event), w.signals);
	for (i = 0; i < vps; i++) {
		to = &report->halts[i];
		to->halts += w.halts[i].halts;
		for (j = 0; j < SEVERAL_WAKERS; j++)
			to->ended[j] += w.halts[i].ended[j];
		to->exits += stat_read(&stat[i][0]);
		to->polled += stat_read(&stat[i][1]);
		to->woken += stat_read(&stat[i][2]);
		for (j = 0; j < ARRAY_SIZE(stats); j++)
			stat_close(&stat[i][j]);
	}
	for (i = 0; i < SEVERAL_DEEDS; i++)
		report->deeds[i] += h.deeds[i];
	close(event);
	destroy();
}

static void judge_halts(const struct several_halts *halts, u32 vp)
{
	static const char *const names[SEVERAL_WAKERS] = {
		[SEVERAL_BY_TIMER] = "timers",
		[SEVERAL_BY_MESSAGE] = "messages",
		[SEVERAL_BY_IPI] = "IPIs",
		[SEVERAL_BY_SIGNAL] = "SINTs",
	};
	u32 i;

	ktap_log("VP %u: %llu HLTs; KVM: %llu, %llu of them ended while it polled, %llu woken up",
		 vp, (unsigned long long)halts->halts, (unsigned long long)halts->exits,
		 (unsigned long long)halts->polled, (unsigned long long)halts->woken);
	for (i = 0; i < SEVERAL_WAKERS; i++)
		ktap_log("      %llu for %s", (unsigned long long)halts->ended[i], names[i]);
	/* A HLT that never was is no test of what ends it. */
	for (i = 0; i < SEVERAL_WAKERS; i++)
		ASSERT(halts->ended[i], "VP %u: %s ended no HLT", vp, names[i]);
	ASSERT(halts->woken, "VP %u was never woken up", vp);
}

void several_judge(const struct several_report *report, u32 vps)
{
	static const char *const names[SEVERAL_DEEDS] = {
		[SEVERAL_MOVE] = "moves of threads",
		[SEVERAL_KICK] = "signals to threads",
		[SEVERAL_CLOCK] = "clocks set",
		[SEVERAL_ROUTES] = "routings",
		[SEVERAL_IRQFD] = "irqfds that came or went",
		[SEVERAL_STEADY] = "SINTs by routes that stay",
		[SEVERAL_MOBILE] = "SINTs by routes that do not",
		[SEVERAL_TWIN] = "indices of two VPs",
		[SEVERAL_SPARE] = "indices of spare VPs",
		[SEVERAL_FILTER] = "MSR filters",
		[SEVERAL_SLOT] = "memslots that came or went",
	};
	u32 i;

	for (i = 0; i < vps; i++)
		judge_halts(&report->halts[i], i);
	for (i = 0; i < SEVERAL_DEEDS; i++)
		ktap_log("%llu %s", (unsigned long long)report->deeds[i], names[i]);
	for (i = 0; i < SEVERAL_DEEDS; i++)
		ASSERT(report->deeds[i], "no %s", names[i]);
}
