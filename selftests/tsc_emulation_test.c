// SPDX-License-Identifier: GPL-2.0-only
/*
 * TSC emulation (K13): a guest that has opted in keeps the rate of its TSC after a restore, until
 * it lets go by TSC_EMULATION_STATUS. TLFS chapter "Nested Virtualization", "Reenlightenment".
 *
 * Nothing here measures by a clock of the host's: the rate of the TSC is seen by the reference
 * time, and that the time goes on by the TSC.
 */
#include <string.h>

#include "apic.h"
#include "nested.h"
#include "refclock.h"

#define CONTROL	    HV_X64_MSR_REENLIGHTENMENT_CONTROL
#define EMULATION   HV_X64_MSR_TSC_EMULATION_CONTROL
#define STATUS	    HV_X64_MSR_TSC_EMULATION_STATUS
#define VEC	    0xee
#define TIMER_VEC   0x91
#define STIMER_VEC  0x92
#define ENABLE	    BIT64(16)
#define TELL	    (VEC | ENABLE) /* VP 0 */
#define SPAN	    (30 * REF_PER_MS)
#define SLACK_TICKS 100 /* 10 us */

#define STIMER_ON (HV_STIMER_ENABLE | HV_STIMER_DIRECT)

/* --- guest ---------------------------------------------------------------- */

struct look {
	u64 tsc, page;			  /* the page's time at the TSC */
	u64 before, after;		  /* the register's time around it */
	u64 time_end, tsc_end, time_last; /* a SPAN later */
	u64 status, hz;
	bool valid;
};

static volatile struct look looks[3];
/* What the next VP to run writes before it looks. */
static volatile struct {
	u32 msr;
	u64 val;
} todo;

static void look_once(volatile struct look *l)
{
	u64 t = 0;

	l->before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	l->tsc = rdtsc();
	l->valid = page_time(&ref_page, &t);
	l->page = t;
	l->after = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

GUEST_CODE(looks_on)
{
	volatile struct look *l = &looks[this_cpu()->id];

	for (;;) {
		if (todo.msr) {
			wrmsr(todo.msr, todo.val);
			todo.msr = 0;
		}
		l->status = rdmsr(STATUS);
		l->hz = rdmsr(HV_X64_MSR_TSC_FREQUENCY);
		look_once(l);
		do {
			l->time_end = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
			l->tsc_end = rdtsc();
		} while (l->time_end < l->before + SPAN);
		l->time_last = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_SYNC(1);
	}
}

/* The two sides of the instant at which the guest lets go. */
static volatile struct look sides[2];

GUEST_CODE(lets_go)
{
	look_once(&sides[0]);
	wrmsr(STATUS, 0);
	look_once(&sides[1]);
	GUEST_ASSERT_EQ(rdmsr(STATUS), 0);
	GUEST_SYNC(1);
}

GUEST_CODE(may_not_begin_it)
{
	u32 bit;

	for (bit = 0; bit < 64; bit++)
		GUEST_ASSERT_EQ(__wrmsr(STATUS, BIT64(bit)), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(STATUS), 1);
}

static volatile u64 timer_tsc, stimer_time;

static void on_timer(struct guest_frame *f)
{
	(void)f;
	timer_tsc = rdtsc();
	apic_eoi();
}

static void on_stimer(struct guest_frame *f)
{
	(void)f;
	stimer_time = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	apic_eoi();
}

static u64 deadline, due;
static volatile bool halts;

GUEST_CODE(arms_timers_then_lets_go)
{
	u64 hz = (looks[0].tsc_end - looks[0].tsc) * REF_PER_SEC /
		 (looks[0].time_end - looks[0].before);

	apic_enable();
	apic_write(APIC_LVTT, APIC_LVTT_DEADLINE | TIMER_VEC);
	deadline = rdtsc() + hz / 10;
	wrmsr(MSR_IA32_TSC_DEADLINE, deadline);
	due = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + 60 * REF_PER_MS;
	wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
	wrmsr(HV_X64_MSR_STIMER0_CONFIG, STIMER_ON | HV_STIMER_VECTOR(STIMER_VEC));
	wrmsr(STATUS, 0);
	while (!timer_tsc || !stimer_time) {
		if (halts)
			irqs_halt();
		else
			irqs_window();
	}
}

/* The latest TSC that any VP has read. */
static volatile u64 latest_tsc, latest_time;
static volatile u32 turn_lock, gone, rounds;

static bool take_turn(void)
{
	u32 old = 1;

	asm volatile("xchg %0, %1" : "+r"(old), "+m"(turn_lock) : : "memory");
	return !old;
}

static void watch(void)
{
	u64 tsc, t;

	while (!take_turn())
		cpu_relax();
	tsc = rdtsc();
	t = guest_time(&ref_page);
	GUEST_ASSERT(tsc >= latest_tsc);
	GUEST_ASSERT(t >= latest_time);
	latest_tsc = tsc;
	latest_time = t;
	asm volatile("" : : : "memory");
	turn_lock = 0;
}

GUEST_CODE(watches)
{
	u64 end = 0;

	while (!end || rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end) {
		watch();
		if (gone && !end)
			end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + SPAN;
	}
}

GUEST_CODE(watches_and_lets_go)
{
	u64 end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + 2 * SPAN;

	while (rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end)
		watch();
	wrmsr(STATUS, 0);
	gone = 1;
	end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + 2 * SPAN;
	while (rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end)
		watch();
}

GUEST_CODE(toggles)
{
	u32 i;

	for (i = 0; i < rounds; i++) {
		wrmsr(STATUS, 0);
		wrmsr(EMULATION, i & 1);
		GUEST_ASSERT_EQ(__wrmsr(STATUS, 1), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(STATUS), 0);
	}
	wrmsr(EMULATION, 1);
}

/* --- host ----------------------------------------------------------------- */

struct saved {
	u64 clock, tsc, ref_tsc, emulation, control, status;
	struct tsc_page page;
};

static bool scales(void)
{
	return kvm_check_cap(KVM_CAP_TSC_CONTROL) > 0;
}

static void require_scaling(void)
{
	if (!scales())
		ktap_skip("this CPU has no TSC scaling");
}

static u32 khz_of(struct vcpu *v)
{
	return (u32)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);
}

static void set_khz(struct vm *vm, u32 khz)
{
	u32 i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_ioctl(vm->vcpus[i], KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
}

static u64 latest(void)
{
	return last_time;
}

/* Let the VP look. Neither its TSC nor its time lies before what any VP has seen. */
static volatile struct look *look(struct vcpu *v)
{
	volatile struct look *l = &looks[v->id];

	vcpu_run_sync(v, 1);
	ASSERT(l->before >= latest(), "time %llu, then %llu", (unsigned long long)latest(),
	       (unsigned long long)l->before);
	ASSERT(l->tsc >= latest_tsc, "TSC %llu, then %llu on VP %u", (unsigned long long)latest_tsc,
	       (unsigned long long)l->tsc, v->id);
	if (l->valid)
		ASSERT(l->page + 1 >= l->before && l->page <= l->after,
		       "register %llu, page %llu, register %llu", (unsigned long long)l->before,
		       (unsigned long long)l->page, (unsigned long long)l->after);
	last_time = l->time_last;
	latest_tsc = l->tsc_end;
	return l;
}

/* The ref ticks that so many TSC ticks take at a rate. */
static u64 ticks(u64 tsc, u32 khz)
{
	return tsc * 10000 / khz;
}

/* The TSC runs at the rate, within 1 %; delays between two readings are allowed for. */
static void runs_at(struct vm *vm, u32 khz)
{
	volatile struct look *l;
	u64 time;
	u32 i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		l = look(vm->vcpus[i]);
		time = ticks(l->tsc_end - l->tsc, khz);
		ASSERT(time >= (l->time_end - l->after) / 100 * 99 &&
			       time <= (l->time_last - l->before) / 100 * 101,
		       "%llu ticks of the TSC in %llu to %llu of the time: not %u kHz",
		       (unsigned long long)(l->tsc_end - l->tsc),
		       (unsigned long long)(l->time_end - l->after),
		       (unsigned long long)(l->time_last - l->before), khz);
	}
}

static void write_in_guest(struct vcpu *v, u32 msr, u64 val)
{
	todo.val = val;
	todo.msr = msr;
	look(v);
}

static struct vm *create(u32 vps)
{
	struct vm *vm = vm_create(vps, 0);
	u32 i;

	for (i = 0; i < vps; i++)
		vcpu_entry(vm->vcpus[i], looks_on);
	return vm;
}

static void save(struct vm *vm, struct saved *s)
{
	struct vcpu *v = vm->vcpus[0];

	s->tsc = vcpu_get_msr(v, MSR_IA32_TSC);
	s->clock = get_clock(vm).clock;
	s->ref_tsc = vcpu_get_msr(v, HV_X64_MSR_REFERENCE_TSC);
	s->emulation = vcpu_get_msr(v, EMULATION);
	s->control = vcpu_get_msr(v, CONTROL);
	s->status = vcpu_get_msr(v, STATUS);
	s->page = ref_page;
	vm_free(vm);
}

/* As a VMM does that sets no rate. The page comes with the RAM. */
static void load(struct vm *vm, const struct saved *s)
{
	u32 i;

	memcpy(&ref_page, &s->page, sizeof(ref_page));
	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_set_msr(vm->vcpus[i], MSR_IA32_TSC, s->tsc);
	set_clock(vm, s->clock);
	for (i = 0; i < vm->nr_vcpus; i++) {
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_REFERENCE_TSC, s->ref_tsc);
		vcpu_set_msr(vm->vcpus[i], CONTROL, s->control);
		vcpu_set_msr(vm->vcpus[i], EMULATION, s->emulation);
		vcpu_set_msr(vm->vcpus[i], STATUS, s->status);
	}
}

static struct vm *restore(const struct saved *s)
{
	struct vm *vm = create(2);

	load(vm, s);
	return vm;
}

static u32 native_khz, old_khz;

static void begin(void)
{
	struct vm *vm = vm_create(1, 0);

	require_tsc_clocksource();
	native_khz = khz_of(vm->vcpus[0]);
	vm_free(vm);
	last_time = 0;
	latest_tsc = 0;
	todo.msr = 0;
}

/* A VM of the rate, whose guest has opted in. */
static void source(u32 khz, struct saved *s)
{
	struct vm *vm;

	begin();
	old_khz = khz;
	vm = create(2);
	if (khz != native_khz)
		set_khz(vm, khz);
	write_in_guest(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	write_in_guest(vm->vcpus[1], EMULATION, 1);
	write_in_guest(vm->vcpus[0], CONTROL, TELL);
	ASSERT(looks[0].valid, "no page");
	runs_at(vm, khz);
	save(vm, s);
}

static void source_at(u32 percent, struct saved *s)
{
	require_scaling();
	begin();
	source((u32)((u64)native_khz * percent / 100), s);
}

static void in_progress(struct vm *vm)
{
	u32 i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		look(vm->vcpus[i]);
		ASSERT_KNOWN(looks[i].status == 1, "STATUS %llu on VP %u",
			     (unsigned long long)looks[i].status, i);
		ASSERT_EQ(looks[i].hz, native_khz * 1000ULL);
	}
	runs_at(vm, old_khz);
}

static void native(struct vm *vm)
{
	u32 i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		look(vm->vcpus[i]);
		ASSERT_EQ(looks[i].status, 0);
		ASSERT_EQ(looks[i].hz, native_khz * 1000ULL);
	}
	runs_at(vm, native_khz);
	ASSERT_EQ(khz_of(vm->vcpus[0]), native_khz);
}

/* The time between the two sides is what the TSC tells, at one rate or the other or both. */
static void time_goes_on(void)
{
	u64 tsc = sides[1].tsc - sides[0].tsc, time = sides[1].page - sides[0].page;
	u32 lo = old_khz < native_khz ? old_khz : native_khz;
	u32 hi = old_khz < native_khz ? native_khz : old_khz;

	ASSERT(sides[0].valid && sides[1].valid, "no page");
	ASSERT(sides[1].tsc > sides[0].tsc, "the TSC goes back");
	ASSERT(sides[1].page >= sides[0].page, "the time goes back");
	ASSERT(time + SLACK_TICKS >= ticks(tsc, hi) && time <= ticks(tsc, lo) + SLACK_TICKS,
	       "%llu ticks of the TSC, %llu of the time", (unsigned long long)tsc,
	       (unsigned long long)time);
	ASSERT(sides[0].after <= sides[1].before, "the register goes back");
}

static void let_go(struct vcpu *v)
{
	u32 seq = ref_page.sequence;
	u64 scale = ref_page.scale;

	vcpu_entry(v, lets_go);
	vcpu_run_sync(v, 1);
	time_goes_on();
	ASSERT(seq_valid(ref_page.sequence) && ref_page.sequence != seq, "sequence 0x%x, then 0x%x",
	       seq, ref_page.sequence);
	ASSERT(ref_page.scale != scale, "the scale is that of before");
	last_time = sides[1].after;
	latest_tsc = sides[1].tsc;
	vcpu_entry(v, looks_on);
}

static void keeps_then_lets_go(u32 percent)
{
	struct saved s;
	struct vm *vm;
	u32 i;

	source_at(percent, &s);
	vm = restore(&s);
	in_progress(vm);
	ASSERT(!memcmp(&ref_page, &s.page, sizeof(ref_page)), "the page is not what it was");
	ASSERT_EQ(khz_of(vm->vcpus[0]), old_khz);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_TSC_FREQUENCY), native_khz * 1000ULL);
	let_go(vm->vcpus[1]);
	for (i = 0; i < 3; i++)
		native(vm);
	/* It is over, whatever the guest writes. */
	write_in_guest(vm->vcpus[0], STATUS, 0);
	native(vm);
	vm_free(vm);
}

TEST_KNOWN(faster_tsc_is_kept_until_the_guest_lets_go, "K13")
{
	keeps_then_lets_go(150);
}

TEST_KNOWN(slower_tsc_is_kept_until_the_guest_lets_go, "K13")
{
	keeps_then_lets_go(75);
}

TEST_KNOWN(second_restore_in_progress, "K13")
{
	struct saved s, again;
	struct vm *vm;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	save(vm, &again);
	vm = restore(&again);
	in_progress(vm);
	let_go(vm->vcpus[0]);
	native(vm);
	/* And after it: the page tells of the new rate. */
	save(vm, &again);
	vm = restore(&again);
	native(vm);
	vm_free(vm);
}

/* The same VM is put back to what it was. */
TEST_KNOWN(restore_into_the_same_vm, "K13")
{
	struct saved s;
	struct vm *vm;
	u32 i;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	for (i = 0; i < 3; i++) {
		last_time = 0;
		latest_tsc = 0;
		load(vm, &s);
		in_progress(vm);
		if (i == 1)
			let_go(vm->vcpus[0]);
	}
	vm_free(vm);
}

/* User space sets a third rate, which the guest's letting go does not take back. */
TEST_KNOWN(user_space_sets_another_rate_meanwhile, "K13")
{
	struct saved s;
	struct vm *vm;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	set_khz(vm, old_khz / 10 * 11);
	last_time = 0;
	latest_tsc = 0;
	write_in_guest(vm->vcpus[0], STATUS, 0);
	/* The time is what the page tells, whose scale stays. */
	ASSERT(ref_page.scale == s.page.scale, "the scale is another");
	runs_at(vm, old_khz);
	ASSERT_EQ(looks[0].status, 0);
	ASSERT_EQ(khz_of(vm->vcpus[0]), old_khz / 10 * 11);
	vm_free(vm);
}

/* As a VMM does that resets the rate, too. The VM is in progress when it begins. */
TEST_KNOWN(restore_into_the_same_vm_with_its_rate, "K13")
{
	struct saved s;
	struct vm *vm;
	u32 i;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	s.status = 1;
	for (i = 0; i < 3; i++) {
		last_time = 0;
		latest_tsc = 0;
		set_khz(vm, native_khz);
		load(vm, &s);
		in_progress(vm);
	}
	let_go(vm->vcpus[0]);
	native(vm);
	vm_free(vm);
}

TEST_KNOWN(user_space_ends_it, "K13")
{
	struct saved s;
	struct vm *vm;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	vcpu_set_msr(vm->vcpus[1], STATUS, 0);
	native(vm);
	ASSERT(ref_page.scale != s.page.scale, "the scale is that of before");
	vm_free(vm);
}

TEST_KNOWN(guest_cannot_begin_it, "K13")
{
	struct saved s;
	struct vm *vm;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	vcpu_entry(vm->vcpus[0], may_not_begin_it);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* That ends the freezing of the page, and not the emulation. */
TEST_KNOWN(guest_opts_out_in_progress, "K13")
{
	struct saved s;
	struct vm *vm;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	/* The page follows KVM's clock at once. */
	last_time = 0;
	write_in_guest(vm->vcpus[0], EMULATION, 0);
	in_progress(vm);
	write_in_guest(vm->vcpus[1], STATUS, 0);
	native(vm);
	native(vm);
	ASSERT(looks[0].valid && looks[1].valid, "no page");
	vm_free(vm);
}

TEST_KNOWN(vp_that_comes_later, "K13")
{
	struct saved s;
	struct vcpu *v;
	struct vm *vm;

	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	v = vm_add_vcpu(vm);
	vcpu_entry(v, looks_on);
	in_progress(vm);
	let_go(vm->vcpus[0]);
	native(vm);
	vm_free(vm);
}

static void timers(u32 percent, bool halted)
{
	struct saved s;
	struct vcpu *v;
	struct vm *vm;
	u64 late;

	guest_irq_handlers[TIMER_VEC] = on_timer;
	guest_irq_handlers[STIMER_VEC] = on_stimer;
	guest_irq_handlers[VEC] = guest_irq_count;
	halts = halted;
	timer_tsc = 0;
	stimer_time = 0;
	source_at(percent, &s);
	vm = restore(&s);
	v = vm->vcpus[0];
	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	cpuid_get(&v->cpuid, 1)->ecx |= (u32)CPUID_TSC_DEADLINE;
	vcpu_set_cpuid(v);
	in_progress(vm);
	vcpu_entry(v, arms_timers_then_lets_go);
	vcpu_run_done(v);
	ASSERT(timer_tsc >= deadline, "%llu ticks early",
	       (unsigned long long)(deadline - timer_tsc));
	ASSERT(stimer_time >= due, "%llu early", (unsigned long long)(due - stimer_time));
	/* By the rate of before it would be a third of 100 ms late, at 75 %. */
	late = ticks(timer_tsc - deadline, native_khz);
	ASSERT(late < 15 * REF_PER_MS, "%llu late", (unsigned long long)late);
	ASSERT(stimer_time - due < 15 * REF_PER_MS, "%llu late",
	       (unsigned long long)(stimer_time - due));
	vm_free(vm);
}

TEST_KNOWN(timers_follow_a_slower_rate, "K13")
{
	timers(150, false);
}

TEST_KNOWN(timers_follow_a_faster_rate, "K13")
{
	timers(75, false);
}

TEST_KNOWN(timers_of_a_halted_vp, "K13")
{
	timers(75, true);
}

TEST_KNOWN(no_vp_sees_a_tsc_go_back, "K13")
{
	struct saved s;
	struct vm *vm;

	if (!host_has_apicv()) /* may be Bochs 2.7 */
		require_two_cpus();
	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	latest_time = 0;
	latest_tsc = 0;
	turn_lock = 0;
	gone = 0;
	vcpu_entry(vm->vcpus[0], watches_and_lets_go);
	vcpu_entry(vm->vcpus[1], watches);
	vcpu_start(vm->vcpus[1]);
	vcpu_run_done(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	vm_free(vm);
}

TEST_KNOWN(toggled_by_two_vps, "K13")
{
	struct saved s;
	struct vm *vm;

	if (!host_has_apicv()) /* may be Bochs 2.7 */
		require_two_cpus();
	source_at(150, &s);
	vm = restore(&s);
	in_progress(vm);
	rounds = 500;
	vcpu_entry(vm->vcpus[0], toggles);
	vcpu_entry(vm->vcpus[1], toggles);
	vcpu_start(vm->vcpus[1]);
	vcpu_run_done(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	vcpu_entry(vm->vcpus[0], looks_on);
	vcpu_entry(vm->vcpus[1], looks_on);
	last_time = 0;
	native(vm);
	vm_free(vm);
}

/* --- an L2 with a TSC of its own ------------------------------------------- */

#define L2_OFFSET      (5ULL << 32)
#define L2_TIMES       2
#define TSC_MULT_SHIFT 48

static volatile struct tsc_page l2_page;
static volatile u64 l2_tsc;

GUEST_CODE(l1_with_an_l2_of_another_tsc)
{
	struct nested *n = this_cpu()->nested;

	nested_init(n);
	vmcs_write(n, VMCS_TSC_OFFSET, L2_OFFSET);
	vmcs_write(n, VMCS_TSC_MULT, (u64)L2_TIMES << TSC_MULT_SHIFT);
	nested_loop(n);
}

/* Guest, L2. */
static u64 look_from_l2(u64 arg)
{
	(void)arg;
	l2_page.sequence = ref_page.sequence;
	l2_page.scale = ref_page.scale;
	l2_page.offset = ref_page.offset;
	l2_tsc = rdtsc();
	return 0;
}

/* The time of L2's TSC is one that VP 0 has not passed, and comes to next. */
static void l2_is_in_time(struct vm *vm, struct nested *n)
{
	struct guest_op op = { .op = OP_CALL, .arg0 = (u64)(uintptr_t)look_from_l2 };
	u64 tsc, time;

	look(vm->vcpus[0]);
	vcpu_op(vm->vcpus[1], n->l2, op);
	tsc = (l2_tsc - L2_OFFSET) / L2_TIMES;
	time = (u64)((__uint128_t)tsc * l2_page.scale >> 64) + l2_page.offset;
	ASSERT(l2_page.sequence, "no page");
	ASSERT(time + SLACK_TICKS >= last_time, "VP 0 has seen %llu, then L2 %llu",
	       (unsigned long long)last_time, (unsigned long long)time);
	look(vm->vcpus[0]);
	ASSERT(time <= looks[0].before + SLACK_TICKS, "L2 %llu, then VP 0 %llu",
	       (unsigned long long)time, (unsigned long long)looks[0].before);
}

TEST_KNOWN(l2_of_its_own_offset_and_rate, "K13")
{
	struct nested *n;
	struct saved s;
	struct vm *vm;

	if (host_is_amd())
		ktap_skip("the multiplier of L2 is set as on VMX");
	source_at(150, &s);
	vm = restore(&s);
	n = nested_create(vm->vcpus[1], NESTED_PAGING, 4);
	n->controls = PROC_TSC_OFFSET;
	n->controls2 = PROC2_TSC_SCALING;
	vcpu_entry(vm->vcpus[1], l1_with_an_l2_of_another_tsc);
	look(vm->vcpus[0]);
	ASSERT_KNOWN(looks[0].status == 1, "STATUS %llu", (unsigned long long)looks[0].status);
	nested_start(vm->vcpus[1]);
	l2_is_in_time(vm, n);
	let_go(vm->vcpus[0]);
	l2_is_in_time(vm, n);
	/* L1 has its own TSC again after an exit, and L2 its after an entry. */
	nested_reenter(vm->vcpus[1]);
	l2_is_in_time(vm, n);
	ASSERT_EQ(nested_l1_op(vm->vcpus[1], OP_RD(STATUS)).result, 0);
	ASSERT_EQ(looks[0].status, 0);
	vm_free(vm);
}

/* --- where no rate is kept ------------------------------------------------ */

/* A native VM, whose page is as if it came from a host of another rate. */
static void crafted(u64 scale, struct saved *s)
{
	begin();
	source(native_khz, s);
	s->page.scale = scale;
}

static u64 scale_of(u32 khz)
{
	return (u64)(((__uint128_t)1 << 64) / (khz * 1000ULL) * 10000000);
}

static u64 other_scale(void)
{
	begin();
	return scale_of(native_khz / 2 * 3);
}

static void not_kept(const struct saved *s)
{
	struct vm *vm = restore(s);
	u32 i;

	last_time = 0;
	for (i = 0; i < 4; i++) {
		vcpu_run_sync(vm->vcpus[i % 2], 1);
		ASSERT_EQ(looks[i % 2].status, 0);
		ASSERT_EQ(looks[i % 2].hz, native_khz * 1000ULL);
	}
	ASSERT_EQ(khz_of(vm->vcpus[0]), native_khz);
	/* The time may be another one: the TSC itself must be the host's. */
	ASSERT(looks[1].tsc > looks[0].tsc, "the TSC goes back");
	vm_free(vm);
}

TEST(pages_of_no_rate)
{
	static const u64 bad[] = { 1, 10000000, ~0U, BIT64(32), BIT64(40), ~0ULL, 0 };
	struct saved s;
	struct vm *vm;
	u32 i;

	for (i = 0; bad[i]; i++) {
		/* The time that such a page tells does not matter: no span of it is waited for. */
		crafted(bad[i], &s);
		vm = vm_create(2, 0);
		load(vm, &s);
		vcpu_entry(vm->vcpus[0], lets_go);
		vcpu_run_sync(vm->vcpus[0], 1);
		ASSERT_EQ(khz_of(vm->vcpus[0]), native_khz);
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], STATUS), 0);
		vm_free(vm);
	}
}

/* A time that stands still. */
TEST(page_of_scale_0)
{
	struct saved s;
	struct vm *vm;

	crafted(0, &s);
	vm = vm_create(1, 0);
	load(vm, &s);
	vcpu_entry(vm->vcpus[0], lets_go);
	vcpu_run_sync(vm->vcpus[0], 1);
	ASSERT_EQ(khz_of(vm->vcpus[0]), native_khz);
	vm_free(vm);
}

/* KVM does not scale by so little either. */
TEST(within_250_ppm)
{
	struct saved s;

	begin();
	crafted(scale_of(native_khz + native_khz / 5000), &s);
	not_kept(&s);
}

TEST(no_opt_in)
{
	struct saved s;

	crafted(other_scale(), &s);
	s.emulation = 0;
	not_kept(&s);
}

TEST(not_enabled)
{
	struct saved s;

	crafted(other_scale(), &s);
	s.control = VEC;
	not_kept(&s);
}

TEST(no_page)
{
	struct saved s;

	crafted(other_scale(), &s);
	s.ref_tsc = 0;
	not_kept(&s);
}

TEST(no_scaling)
{
	struct saved s;

	if (scales())
		ktap_skip("this CPU has TSC scaling");
	crafted(other_scale(), &s);
	not_kept(&s);
}

/* A VMM that has the host scale from the start. */
TEST(vmm_sets_the_rate_of_before)
{
	struct saved s;
	struct vm *vm;

	source_at(150, &s);
	vm = create(2);
	set_khz(vm, old_khz);
	load(vm, &s);
	look(vm->vcpus[0]);
	look(vm->vcpus[1]);
	ASSERT_EQ(looks[0].status, 0);
	ASSERT_EQ(looks[0].hz, old_khz * 1000ULL);
	runs_at(vm, old_khz);
	vm_free(vm);
}
