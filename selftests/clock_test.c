// SPDX-License-Identifier: GPL-2.0-only
/*
 * One property, whatever happens to the clock of a VM that runs: on every VP the reference time is
 * the same in the page and in the register and never goes back, and no timer comes early, nor
 * later than this host's own timers come.
 *
 * VPs look at the time in turn and have timers expire, with a HLT now and then. Meanwhile the host
 * takes the master clock away and gives it back, sets KVM's clock, changes the rate of the TSC,
 * adds VPs, and restores all of it into another VM. Option --long FACTOR: as many times longer.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "random.h"
#include "stimer.h"

#define MSR_IA32_TSC   0x10u
#define REF_TSC_ENABLE BIT64(0)

#define FIRST_VPS 2
#define MAX_VPS	  4
#define ROUNDS	  2
#define SLICE_MS  30
#define LOST_MS	  3000 /* later than this, a timer does not come at all */

#define NS_PER_TICK 100

static u32 rounds = ROUNDS;

/* --- guest ---------------------------------------------------------------- */

/* Of the program's image, so that it is there in the VM that is restored. */
static struct tsc_page page __attribute__((aligned(4096)));

static volatile struct {
	u64 expiry;
	u64 latest; /* by how much the latest one was */
	u32 expired, looks, halts;
	bool armed;
} vps[MAX_VPS];

static volatile bool pause_wanted, rewrite_wanted;
/* User space sets the clock right now; where to, last time. */
static volatile bool jumping;
static volatile u64 jumped_to;

static volatile u32 lock_word;
static volatile u64 last_time; /* read by anybody, under the lock */

static u64 page_at(u64 tsc)
{
	u64 high, low;

	asm("mulq %3" : "=a"(low), "=d"(high) : "0"(tsc), "r"(page.scale));
	return high + page.offset;
}

/* The TLFS' reader; false: the page says to use the register. */
static bool page_time(u64 *t)
{
	u32 seq;

	do {
		seq = page.sequence;
		if (!seq)
			return false;
		asm volatile("lfence" : : : "memory");
		*t = page_at(rdtsc());
		asm volatile("" : : : "memory");
	} while (page.sequence != seq);
	return true;
}

/* Page and register in turn: none is ever behind what anybody has read before. */
static void look(void)
{
	u64 t;

	irqs_off();
	/* An exit, so that a lone host CPU can run whoever has the lock. */
	while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE))
		cpuid(0, 0);
	if (page_time(&t)) {
		GUEST_ASSERT_KNOWN_EQ(t >= last_time, true);
		last_time = t;
	}
	t = ref_now();
	GUEST_ASSERT_KNOWN_EQ(t >= last_time, true);
	last_time = t;
	if (page_time(&t)) {
		GUEST_ASSERT_KNOWN_EQ(t >= last_time, true);
		last_time = t;
	}
	__atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
	vps[this_cpu()->id].looks++;
	irqs_on();
}

static u64 late(u32 id, u64 now)
{
	u64 due = vps[id].expiry;

	if (jumping)
		return 0;
	/* One that is due because the clock was set is not late for that. */
	if ((s64)(jumped_to - due) > 0)
		due = jumped_to;
	return (s64)(now - due) > 0 ? now - due : 0;
}

static void on_expiry(struct guest_frame *f)
{
	u32 id = this_cpu()->id;
	u64 now = ref_now(), by = late(id, now);

	(void)f;
	GUEST_ASSERT(vps[id].armed);
	GUEST_ASSERT_EQ((s64)(now - vps[id].expiry) >= 0, true);
	if (by > vps[id].latest)
		vps[id].latest = by;
	vps[id].armed = false;
	vps[id].expired++;
	apic_eoi();
}

/* One-shots of 1 to 20 ms; one in eight is a minute away, and due when the clock is set. */
static void arm_timer(u32 id)
{
	u32 nr = vps[id].expired + 5 * id;

	vps[id].expiry = in_ms(nr % 8 == 7 ? 60000 : 1 + nr * 7 % 20);
	vps[id].armed = true;
	start(0, ON | DIRECT, vps[id].expiry);
}

static void disarm_timer(u32 id)
{
	wrmsr(CONFIG(0), 0);
	irqs_window();
	irqs_on();
	vps[id].armed = false;
}

GUEST_CODE(clock_user)
{
	u32 id = this_cpu()->id, far = 0;

	apic_enable();
	irqs_on();
	for (;;) {
		look();
		if (!vps[id].armed)
			arm_timer(id);
		GUEST_ASSERT_KNOWN_EQ(late(id, ref_now()) < REF_MS(LOST_MS), true);
		/* A minute is too long to wait for: as long as the host does not set the clock. */
		if ((s64)(vps[id].expiry - ref_now()) > (s64)REF_MS(1000) && ++far > 50) {
			far = 0;
			disarm_timer(id);
			vps[id].expired++;
		}
		if (vps[id].looks % 4 == id % 4) {
			irqs_off();
			if (vps[id].armed && vps[id].expiry - ref_now() < REF_MS(1000)) {
				irqs_halt();
				vps[id].halts++;
			}
			irqs_on();
		}
		if (rewrite_wanted && !id) {
			rewrite_wanted = false;
			wrmsr(HV_X64_MSR_REFERENCE_TSC, (u64)(uintptr_t)&page | REF_TSC_ENABLE);
		}
		if (pause_wanted) {
			disarm_timer(id);
			GUEST_SYNC(1);
		}
	}
}

/* --- host: the VM and its threads ------------------------------------------ */

static struct vm *vm;
static u32 khz; /* of the guest's TSC; 0: what it is without KVM_SET_TSC_KHZ */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static u32 paused, generation;
static bool ending;

static void *run_vp(void *arg)
{
	struct vcpu *v = arg;
	u32 seen;

	for (;;) {
		synic_run_sync(v, 1);
		pthread_mutex_lock(&mutex);
		seen = generation;
		paused++;
		pthread_cond_broadcast(&changed);
		while (generation == seen)
			pthread_cond_wait(&changed, &mutex);
		pthread_mutex_unlock(&mutex);
		if (ending)
			return NULL;
	}
}

static void pause_all(void)
{
	pause_wanted = true;
	pthread_mutex_lock(&mutex);
	while (paused < vm->nr_vcpus)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void resume_all(void)
{
	pthread_mutex_lock(&mutex);
	pause_wanted = false;
	paused = 0;
	generation++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

static void end_all(void)
{
	u32 i;

	pause_all();
	ending = true;
	resume_all();
	for (i = 0; i < vm->nr_vcpus; i++)
		ASSERT_EQ(pthread_join(vm->vcpus[i]->worker, NULL), 0);
	ending = false;
}

static void set_khz(struct vcpu *v)
{
	if (khz)
		vcpu_ioctl(v, KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
}

static void start_vp(struct vcpu *v)
{
	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	vcpu_entry(v, clock_user);
	vps[v->id].armed = false;
	ASSERT_EQ(pthread_create(&v->worker, NULL, run_vp, v), 0);
}

static void sleep_ms(u32 ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L };

	nanosleep(&t, NULL);
}

static u64 get_clock(void)
{
	struct kvm_clock_data c = { 0 };

	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &c), 0);
	return c.clock;
}

static void set_clock(u64 ns)
{
	struct kvm_clock_data c = { .clock = ns };

	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &c), 0);
}

/* --- host: its own lateness ------------------------------------------------ */

#define WATCH_MS 5

static volatile u64 host_latest; /* ticks */
static volatile bool watching;

static void *watch_host(void *arg)
{
	struct timespec next, now;
	s64 by;

	clock_gettime(CLOCK_MONOTONIC, &next);
	while (watching) {
		next.tv_nsec += WATCH_MS * 1000000L;
		if (next.tv_nsec >= 1000000000L) {
			next.tv_nsec -= 1000000000L;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
		by = (now.tv_sec - next.tv_sec) * 1000000000LL + now.tv_nsec - next.tv_nsec;
		if (by / NS_PER_TICK > (s64)host_latest)
			host_latest = (u64)by / NS_PER_TICK;
		/* One that is late is late once. */
		if (by > WATCH_MS * 1000000LL)
			next = now;
	}
	return arg;
}

/* --- host: what happens ----------------------------------------------------- */

static u64 seed;

static void clock_forward(void)
{
	jumping = true;
	set_clock(get_clock() + (61 + random_below(&seed, 1000)) * 1000000000ULL);
	jumped_to = get_clock() / NS_PER_TICK;
	jumping = false;
}

static void clock_back(void)
{
	u64 clock;

	pause_all();
	clock = get_clock();
	set_clock(clock - clock / (2 + random_below(&seed, 8)));
	/* This once the time goes back. */
	last_time = 0;
	jumped_to = 0;
	resume_all();
}

/* Stop and go on, as a VMM does: the time of the stop is left out, and nothing else. */
static void stop_and_go_on(void)
{
	u64 clock;

	pause_all();
	clock = get_clock();
	sleep_ms(random_below(&seed, 20));
	set_clock(clock);
	jumped_to = 0;
	resume_all();
}

static void lose_master_clock(void)
{
	u64 tsc, hz;
	u32 i;

	pause_all();
	hz = 1000ULL * (u64)__vcpu_ioctl(vm->vcpus[1], KVM_GET_TSC_KHZ, NULL);
	tsc = vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC);
	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC, tsc + 100 * hz);
	resume_all();
	sleep_ms(SLICE_MS);
	pause_all();
	/* The others follow: less than a second off counts as meant to match. */
	for (i = 0; i < vm->nr_vcpus; i++) {
		if (i != 1)
			vcpu_set_msr(vm->vcpus[i], MSR_IA32_TSC,
				     vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC));
	}
	resume_all();
	sleep_ms(SLICE_MS);
	pause_all();
	ASSERT_KNOWN(page.sequence, "there is a master clock, and no page");
	resume_all();
}

static void change_rate(void)
{
	static u32 base;
	u32 i;

	if (!kvm_check_cap(KVM_CAP_TSC_CONTROL))
		return;
	pause_all();
	if (!base)
		base = (u32)__vcpu_ioctl(vm->vcpus[0], KVM_GET_TSC_KHZ, NULL);
	khz = base / 100 * (50 + random_below(&seed, 100));
	for (i = 0; i < vm->nr_vcpus; i++)
		set_khz(vm->vcpus[i]);
	resume_all();
}

static void write_register(void)
{
	rewrite_wanted = true;
}

static void add_vp(void)
{
	struct vcpu *v;

	if (vm->nr_vcpus == MAX_VPS)
		return;
	v = vm_add_vcpu(vm);
	set_khz(v);
	start_vp(v);
}

/* Another VM with the same memory: the time goes on where it was. */
static void restore(void)
{
	u64 tsc, clock, reg;
	u32 i;

	end_all();
	tsc = vcpu_get_msr(vm->vcpus[0], MSR_IA32_TSC);
	clock = get_clock();
	reg = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC);
	vm_free(vm);

	vm = vm_create(FIRST_VPS, 0);
	for (i = 0; i < FIRST_VPS; i++) {
		set_khz(vm->vcpus[i]);
		vcpu_set_msr(vm->vcpus[i], MSR_IA32_TSC, tsc);
	}
	set_clock(clock);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, reg);
	jumped_to = 0;
	for (i = 0; i < FIRST_VPS; i++)
		start_vp(vm->vcpus[i]);
}

/* clang-format off */
static void (*const events[])(void) = {
	clock_forward, clock_back, stop_and_go_on, lose_master_clock, change_rate,
	write_register, add_vp, restore, clock_forward, stop_and_go_on,
};
/* clang-format on */

TEST_KNOWN(time_is_one_and_goes_on, "K10")
{
	u32 i, round, looks = 0, expired = 0, halts = 0;
	u64 latest = 0;
	pthread_t watch;

	ktap_timeout(60 * rounds);
	guest_irq_handlers[VEC] = on_expiry;
	vm = vm_create(FIRST_VPS, 0);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC,
		     (u64)(uintptr_t)&page | REF_TSC_ENABLE);
	watching = true;
	ASSERT_EQ(pthread_create(&watch, NULL, watch_host, NULL), 0);
	for (i = 0; i < FIRST_VPS; i++)
		start_vp(vm->vcpus[i]);
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < ARRAY_SIZE(events); i++) {
			sleep_ms(SLICE_MS);
			events[random_below(&seed, ARRAY_SIZE(events))]();
			sleep_ms(SLICE_MS);
			events[i]();
		}
	}
	end_all();
	watching = false;
	pthread_join(watch, NULL);
	vm_free(vm);

	for (i = 0; i < MAX_VPS; i++) {
		looks += vps[i].looks;
		expired += vps[i].expired;
		halts += vps[i].halts;
		if (vps[i].latest > latest)
			latest = vps[i].latest;
	}
	ktap_log("%u looks, %u timers, %u halts; late by %llu us at most, the host by %llu us",
		 looks, expired, halts, (unsigned long long)latest / 10,
		 (unsigned long long)host_latest / 10);
	ASSERT(looks > 100 * rounds && expired > 10 * rounds && halts, "too few");
	/* A VP's thread competes with as many others as there are VPs. */
	ASSERT_KNOWN(latest <= MAX_VPS * host_latest + REF_MS(10), "%llu us late, the host %llu us",
		     (unsigned long long)latest / 10, (unsigned long long)host_latest / 10);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--long"))
			rounds = ROUNDS * (u32)strtoul(argv[i + 1], NULL, 10);
	}
	return ktap_main(argc, argv);
}
