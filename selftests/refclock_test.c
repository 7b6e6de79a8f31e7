// SPDX-License-Identifier: GPL-2.0-only
/*
 * The partition's reference time: TIME_REF_COUNT, the reference TSC page behind
 * REFERENCE_TSC, and the reenlightenment registers. All of them show one clock,
 * so a guest that mixes the register and the page, on any vCPU, never sees time
 * go back; that is what most cases here check.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "apic.h"
#include "rows.h"
#include "vm.h"

#define MSR_IA32_TSC 0x10u

#define REF_TSC_ENABLE	BIT64(0)
#define REF_TSC_RSVD	0xffeULL    /* 11:1, RsvdP */
#define SEQ_INVALID_OLD 0xffffffffu /* "invalid" up to TLFS 3 */

#define NS_PER_SEC  1000000000ULL
#define REF_PER_SEC 10000000ULL /* 100 ns */
#define REF_PER_MS  10000ULL
#define JUMP_SEC    1000ULL

#define GPA_FAULTING 0x60000000ULL /* a memslot whose pages are missing */

/* Part of the program's image, so it stays what it is when a VM ends: RAM that migrates. */
static struct tsc_page page __attribute__((aligned(4096)));
static struct tsc_page page2 __attribute__((aligned(4096)));

static u64 gpa(void *p)
{
	return (u64)(uintptr_t)p;
}

static u64 ref_tsc(struct tsc_page *p)
{
	return gpa(p) | REF_TSC_ENABLE;
}

/* Without a TSC that the host itself trusts there is no master clock and no valid page. */
static void require_tsc_clocksource(void)
{
	char name[32] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");

	if (!f || !fgets(name, sizeof(name), f))
		FAIL("cannot read the clocksource: %s", strerror(errno));
	fclose(f);
	if (strcmp(name, "tsc\n"))
		ktap_skip("the clocksource of this host is not the TSC");
}

/* --- guest: reading the clock -------------------------------------------- */

static u64 mul_high(u64 a, u64 b)
{
	u64 lo, hi;

	asm("mulq %3" : "=a"(lo), "=d"(hi) : "0"(a), "r"(b));
	return hi;
}

/* The TLFS' reader; false: the page says to use the register. */
static bool page_time(struct tsc_page *p, u64 *t)
{
	u32 seq;

	do {
		seq = p->sequence;
		if (!seq)
			return false;
		GUEST_ASSERT(seq != SEQ_INVALID_OLD);
		asm volatile("lfence" : : : "memory");
		*t = mul_high(rdtsc(), p->scale) + p->offset;
		asm volatile("" : : : "memory");
	} while (p->sequence != seq);
	return true;
}

/* What a guest does: the page when it is valid, else the register. */
static u64 guest_time(struct tsc_page *p)
{
	u64 t;

	return page_time(p, &t) ? t : rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

struct reading {
	bool valid; /* the page */
	u64 before, page, after;
};

static volatile struct reading readings[3];
/* A write that the next vCPU to run does first. */
static volatile struct {
	u32 msr;
	u64 val;
} todo;

GUEST_CODE(reader)
{
	volatile struct reading *r = &readings[this_cpu()->id];

	for (;;) {
		u64 t = 0;

		if (todo.msr) {
			wrmsr(todo.msr, todo.val);
			GUEST_ASSERT_EQ(rdmsr(todo.msr), todo.val);
			todo.msr = 0;
		}
		r->before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		r->valid = page_time(&page, &t);
		r->page = t;
		r->after = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_SYNC(1);
	}
}

/* --- host: driving it ---------------------------------------------------- */

static u64 last_time; /* of whatever vCPU read it last */

/* One reading: register, page, register, in order and not before the last one. */
static volatile struct reading *read_clock(struct vcpu *v)
{
	volatile struct reading *r = &readings[v->id];

	vcpu_run_sync(v, 1);
	ASSERT(r->before >= last_time, "time went back from %llu to %llu on vCPU %u",
	       (unsigned long long)last_time, (unsigned long long)r->before, v->id);
	if (r->valid)
		ASSERT(r->before <= r->page && r->page <= r->after,
		       "register %llu, page %llu, register %llu", (unsigned long long)r->before,
		       (unsigned long long)r->page, (unsigned long long)r->after);
	ASSERT(r->before <= r->after, "register %llu, then %llu", (unsigned long long)r->before,
	       (unsigned long long)r->after);
	last_time = r->after;
	return r;
}

static void guest_write(struct vcpu *v, u32 msr, u64 val)
{
	todo.val = val;
	todo.msr = msr;
	read_clock(v);
}

static bool seq_valid(u32 seq)
{
	return seq && seq != SEQ_INVALID_OLD;
}

static void assert_page_valid(struct vcpu *v)
{
	ASSERT(read_clock(v)->valid && seq_valid(page.sequence), "sequence 0x%x", page.sequence);
}

/* A VM whose vCPUs read the clock, the page enabled by the guest. */
static struct vm *vm_with_page(u32 nr_vcpus)
{
	struct vm *vm = vm_create(nr_vcpus, 0);
	u32 i;

	require_tsc_clocksource();
	for (i = 0; i < nr_vcpus; i++)
		vcpu_entry(vm->vcpus[i], reader);
	last_time = 0;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	for (i = 0; i < nr_vcpus; i++)
		assert_page_valid(vm->vcpus[i]);
	return vm;
}

static struct kvm_clock_data get_clock(struct vm *vm)
{
	struct kvm_clock_data c = { 0 };

	if (ioctl(vm->fd, KVM_GET_CLOCK, &c) < 0)
		FAIL("KVM_GET_CLOCK: %s", strerror(errno));
	return c;
}

static void set_clock(struct vm *vm, u64 ns)
{
	struct kvm_clock_data c = { .clock = ns };

	if (ioctl(vm->fd, KVM_SET_CLOCK, &c) < 0)
		FAIL("KVM_SET_CLOCK: %s", strerror(errno));
}

static void advance_clock(struct vm *vm, u64 seconds)
{
	set_clock(vm, get_clock(vm).clock + seconds * NS_PER_SEC);
}

static u64 host_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * REF_PER_SEC + (u64)t.tv_nsec / 100;
}

/* --- TIME_REF_COUNT ------------------------------------------------------ */

GUEST_TEST(count_write_faults)
{
	u64 before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);

	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TIME_REF_COUNT, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TIME_REF_COUNT, ~0ULL), GP_VECTOR);
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= before);
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) < before + 3600 * REF_PER_SEC);
}

GUEST_TEST(count_monotonic)
{
	u64 now, last = 0;
	u32 i;

	for (i = 0; i < 2000; i++) {
		now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_ASSERT(now >= last);
		last = now;
	}
	GUEST_ASSERT(last);
}

/* The host reads what the guest reads, and its writes change nothing. */
TEST(count_of_the_host)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 first, second;

	vcpu_entry(v, reader);
	last_time = 0;
	read_clock(v);
	first = vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT);
	ASSERT(first >= last_time, "host %llu, guest %llu", (unsigned long long)first,
	       (unsigned long long)last_time);
	vcpu_set_msr(v, HV_X64_MSR_TIME_REF_COUNT, first + 3600 * REF_PER_SEC);
	second = vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT);
	ASSERT(second >= first && second < first + 1800 * REF_PER_SEC, "%llu, then %llu",
	       (unsigned long long)first, (unsigned long long)second);
	last_time = second;
	read_clock(v);
	vm_free(vm);
}

/* It counts from the creation of the partition on. */
TEST(count_starts_at_zero)
{
	u64 start = host_time(), elapsed, t;
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], reader);
	last_time = 0;
	t = read_clock(vm->vcpus[0])->before;
	elapsed = host_time() - start;
	ASSERT(t <= elapsed + elapsed / 100 + REF_PER_MS, "%llu us after %llu us",
	       (unsigned long long)t / 10, (unsigned long long)elapsed / 10);
	vm_free(vm);
}

static void alternate(struct vm *vm, u32 rounds)
{
	u32 i;

	for (i = 0; i < rounds; i++)
		read_clock(vm->vcpus[i % 2]);
}

/* Register only. */
TEST(count_monotonic_across_vcpus)
{
	struct vm *vm = vm_create(2, 0);

	vcpu_entry(vm->vcpus[0], reader);
	vcpu_entry(vm->vcpus[1], reader);
	last_time = 0;
	alternate(vm, 200);
	ASSERT(!page.sequence, "a page that nobody enabled");
	vm_free(vm);
}

/* Register and page in turn: read_clock() compares them. */
TEST(page_monotonic_across_vcpus)
{
	struct vm *vm = vm_with_page(2);

	alternate(vm, 200);
	ASSERT(seq_valid(page.sequence), "sequence 0x%x", page.sequence);
	vm_free(vm);
}

#define RACE_READS 1000

static volatile u32 race_lock;
static volatile u64 race_last;

/* A CPUID is an exit: a lone host CPU must get the chance to run the other vCPU. */
static void lock(void)
{
	while (__atomic_exchange_n(&race_lock, 1, __ATOMIC_ACQUIRE))
		cpuid(0, 0);
}

static void unlock(void)
{
	__atomic_store_n(&race_lock, 0, __ATOMIC_RELEASE);
}

GUEST_CODE(race_reader)
{
	u64 t;
	u32 i;

	for (i = 0; i < RACE_READS; i++) {
		lock();
		t = i & 1 ? rdmsr(HV_X64_MSR_TIME_REF_COUNT) : guest_time(&page);
		GUEST_ASSERT(t >= race_last);
		race_last = t;
		unlock();
	}
}

static void race(struct vm *vm)
{
	race_last = 0;
	vcpu_entry(vm->vcpus[0], race_reader);
	vcpu_entry(vm->vcpus[1], race_reader);
	vcpu_start(vm->vcpus[0]);
	vcpu_start(vm->vcpus[1]);
	vcpu_join(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	vm_free(vm);
}

TEST(count_monotonic_at_the_same_time)
{
	race(vm_create(2, 0));
}

TEST(page_monotonic_at_the_same_time)
{
	race(vm_with_page(2));
}

/* --- the rate ------------------------------------------------------------ */

struct sample {
	u64 tsc0, ref, tsc1; /* ref was read between the two */
};

static u64 (*sampled)(void);

static u64 sample_count(void)
{
	return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

static u64 sample_page(void)
{
	u64 t = 0;

	GUEST_ASSERT(page_time(&page, &t));
	return t;
}

static struct sample take_sample(void)
{
	struct sample s;

	s.tsc0 = rdtsc();
	s.ref = sampled();
	s.tsc1 = rdtsc();
	return s;
}

/* A stall between two reads widens the bounds; it cannot fail the check. */
GUEST_CODE(rate)
{
	u64 hz = rdmsr(HV_X64_MSR_TSC_FREQUENCY), ref, min, max;
	struct sample a, b;

	a = take_sample();
	while (rdtsc() - a.tsc1 < hz / 20)
		cpu_relax();
	b = take_sample();
	ref = b.ref - a.ref;
	min = b.tsc0 - a.tsc1;
	max = b.tsc1 - a.tsc0;
	guest_log("reference time, TSC", ref, min);
	/* ref / 10 MHz == tsc / hz, to one percent */
	GUEST_ASSERT(ref * (hz / 1000) >= min / 100 * 99 * (REF_PER_SEC / 1000));
	GUEST_ASSERT(ref * (hz / 1000) <= max / 100 * 101 * (REF_PER_SEC / 1000));
}

static void rate_of(struct vm *vm, u64 (*fn)(void))
{
	sampled = fn;
	vcpu_entry(vm->vcpus[0], rate);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST(rate_of_the_count)
{
	rate_of(vm_create(1, 0), sample_count);
}

TEST(rate_of_the_count_with_a_page)
{
	rate_of(vm_with_page(1), sample_count);
}

TEST(rate_of_the_page)
{
	rate_of(vm_with_page(1), sample_page);
}

/* --- REFERENCE_TSC ------------------------------------------------------- */

GUEST_TEST(register_reads_back)
{
	const u64 values[] = {
		ref_tsc(&page),
		ref_tsc(&page) | REF_TSC_RSVD,
		gpa(&page) | REF_TSC_RSVD,
		gpa(&page2),
		ref_tsc(&page2),
		GPA_NOWHERE,
		GPA_NOWHERE | REF_TSC_ENABLE,
		~0ULL,
		~REF_TSC_ENABLE,
		0,
	};
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), 0);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_REFERENCE_TSC, values[i]), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), values[i]);
	}
}

GUEST_CODE(register_is)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), ref_tsc(&page));
}

TEST(register_partition_wide)
{
	struct vm *vm = vm_create(2, 0);

	vcpu_entry(vm->vcpus[0], reader);
	last_time = 0;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC), ref_tsc(&page));
	vcpu_entry(vm->vcpus[1], register_is);
	vcpu_run_done(vm->vcpus[1]);
	vm_free(vm);
}

/* Valid before the instruction after the WRMSR, and the clock goes on through it. */
GUEST_CODE(enable_page)
{
	u64 before = rdmsr(HV_X64_MSR_TIME_REF_COUNT), t = 0, m;
	u32 i;

	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	GUEST_ASSERT(page_time(&page, &t));
	GUEST_ASSERT(page.scale != 0);
	GUEST_ASSERT(t >= before);
	for (i = 0; i < 200; i++) {
		m = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_ASSERT(m >= t);
		GUEST_ASSERT(page_time(&page, &t));
		GUEST_ASSERT(t >= m);
	}
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= t);
}

TEST(page_is_valid_at_once)
{
	struct vm *vm = vm_create(1, 0);

	require_tsc_clocksource();
	memset(&page, 0xff, sizeof(page));
	vcpu_entry(vm->vcpus[0], enable_page);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST(page_without_irqchip)
{
	struct vm *vm = vm_create(1, VM_NO_IRQCHIP);

	require_tsc_clocksource();
	vcpu_entry(vm->vcpus[0], enable_page);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* A new clock is a new sequence, and all of the clock jumps at once. */
TEST(sequence_changes_on_set_clock)
{
	struct vm *vm = vm_with_page(2);
	u64 before, after;
	u32 seq = page.sequence;

	before = last_time;
	advance_clock(vm, JUMP_SEC);
	assert_page_valid(vm->vcpus[0]);
	after = readings[0].before;
	ASSERT(page.sequence != seq, "sequence still 0x%x", seq);
	ASSERT(after - before >= JUMP_SEC * REF_PER_SEC, "advanced by %llu",
	       (unsigned long long)(after - before));
	ASSERT(after - before < (JUMP_SEC + 60) * REF_PER_SEC, "advanced by %llu",
	       (unsigned long long)(after - before));
	assert_page_valid(vm->vcpus[1]);
	alternate(vm, 20);
	vm_free(vm);
}

TEST(every_update_changes_the_sequence)
{
	struct vm *vm = vm_with_page(1);
	u32 seq, i;

	for (i = 0; i < 50; i++) {
		seq = page.sequence;
		advance_clock(vm, 1);
		assert_page_valid(vm->vcpus[0]);
		ASSERT(page.sequence != seq, "sequence still 0x%x", seq);
	}
	vm_free(vm);
}

static void wrap_from(u32 seq)
{
	struct vm *vm = vm_with_page(1);
	u32 i;

	page.sequence = seq;
	for (i = 0; i < 3; i++) {
		advance_clock(vm, JUMP_SEC);
		assert_page_valid(vm->vcpus[0]);
	}
	vm_free(vm);
}

TEST(sequence_wraps_from_fffffffe)
{
	wrap_from(0xfffffffe);
}

TEST(sequence_wraps_from_ffffffff)
{
	wrap_from(0xffffffff);
}

/* The same when the guest enables a page that holds such a value. */
TEST(enable_over_any_contents)
{
	static const u32 seqs[] = {
		0, 1, 0x7fffffff, 0x80000000, 0xfffffffd, 0xfffffffe, 0xffffffff
	};
	struct vm *vm = vm_with_page(1);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(seqs); i++) {
		guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, 0);
		memset(&page, 0, sizeof(page));
		page.sequence = seqs[i];
		guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
		assert_page_valid(vm->vcpus[0]);
	}
	vm_free(vm);
}

/* Only 24 bytes of the page are the clock's; whatever else is shown does not tear it. */
#define TORN_READS 1500

static volatile bool torn_done;

GUEST_CODE(torn_reader)
{
	u64 last = 0, t;
	u32 i;

	for (i = 0; i < TORN_READS; i++) {
		t = guest_time(&page);
		GUEST_ASSERT(t >= last);
		last = t;
		/* An exit, for the same reason as in lock(). */
		if (!(i & 15))
			cpuid(0, 0);
	}
	torn_done = true;
}

/* The clock only ever jumps ahead, by far more than a stall of this host. */
TEST(updates_never_tear)
{
	struct vm *vm = vm_with_page(2);
	u32 updates = 0;

	torn_done = false;
	vcpu_entry(vm->vcpus[1], torn_reader);
	vcpu_start(vm->vcpus[1]);
	do {
		advance_clock(vm, 100);
		updates++;
	} while (!torn_done);
	vcpu_join(vm->vcpus[1]);
	ktap_log("%u updates", updates);
	vm_free(vm);
}

/* A page that is no longer the clock's is not written to. */
TEST(disabled_page_is_left_alone)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];

	guest_write(v, HV_X64_MSR_REFERENCE_TSC, gpa(&page));
	memset(&page, 0, sizeof(page));
	page.offset = 0x5a5a;
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	ASSERT_EQ(page.sequence, 0);
	ASSERT_EQ(page.scale, 0);
	ASSERT_EQ(page.offset, 0x5a5a);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	assert_page_valid(v);
	vm_free(vm);
}

TEST(moved_page)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	u32 seq;

	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page2));
	ASSERT(seq_valid(page2.sequence), "sequence 0x%x", page2.sequence);
	memset(&page, 0, sizeof(page));
	seq = page2.sequence;
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	ASSERT(seq_valid(page2.sequence) && page2.sequence != seq, "sequence 0x%x", page2.sequence);
	ASSERT_EQ(page.sequence, 0);
	ASSERT_EQ(page.scale, 0);
	vm_free(vm);
}

/* --- pages that are not there -------------------------------------------- */

/*
 * Xen had a NULL dereference here. The register takes any address; the clock
 * goes on in TIME_REF_COUNT, whatever else happens to it.
 */
static void outside(u64 val)
{
	struct vm *vm = vm_with_page(2);
	struct vcpu *v = vm->vcpus[0];
	u32 i;

	guest_write(v, HV_X64_MSR_REFERENCE_TSC, val);
	memset(&page, 0, sizeof(page));
	alternate(vm, 20);
	for (i = 0; i < 3; i++) {
		advance_clock(vm, JUMP_SEC);
		alternate(vm, 4);
	}
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_REFERENCE_TSC), val);
	vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, val);
	alternate(vm, 4);
	ASSERT_EQ(page.sequence, 0);

	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	assert_page_valid(v);
	alternate(vm, 20);
	vm_free(vm);
}

TEST(page_outside_memory)
{
	outside(GPA_NOWHERE | REF_TSC_ENABLE);
}

TEST(page_beyond_all_addresses)
{
	outside(0xfffffffffffff000ULL | REF_TSC_ENABLE);
}

TEST(page_read_only)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	u8 *ro = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(ro != MAP_FAILED, "mmap");
	vm_add_memslot(vm, GPA_FAULTING, ro, PAGE_SIZE, KVM_MEM_READONLY);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, GPA_FAULTING | REF_TSC_ENABLE);
	memset(&page, 0, sizeof(page));
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	ASSERT_EQ(*(u32 *)ro, 0);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	assert_page_valid(v);
	vm_free(vm);
}

/* The memory under an enabled page goes away. */
TEST(page_loses_its_memory)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_userspace_memory_region none = { .guest_phys_addr = GPA_FAULTING };
	u8 *mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(mem != MAP_FAILED, "mmap");
	none.slot = vm->nr_slots;
	vm_add_memslot(vm, GPA_FAULTING, mem, PAGE_SIZE, 0);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, GPA_FAULTING | REF_TSC_ENABLE);
	ASSERT(seq_valid(*(u32 *)mem), "sequence 0x%x", *(u32 *)mem);
	memset(&page, 0, sizeof(page));
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &none) < 0)
		FAIL("removal of a memslot: %s", strerror(errno));
	munmap(mem, PAGE_SIZE);
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	read_clock(v);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	assert_page_valid(v);
	vm_free(vm);
}

/* --- two writers at once (Xen: use after free) --------------------------- */

#define HAMMER_WRITES 120

static volatile u32 hammers_done;

GUEST_CODE(hammer)
{
	const u64 values[] = { ref_tsc(&page), ref_tsc(&page2), 0, GPA_NOWHERE | REF_TSC_ENABLE };
	u64 now, last = 0;
	u32 i;

	for (i = 0; i < HAMMER_WRITES; i++) {
		wrmsr(HV_X64_MSR_REFERENCE_TSC, values[(i + this_cpu()->id) % ARRAY_SIZE(values)]);
		now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_ASSERT(now >= last);
		last = now;
	}
	__atomic_fetch_add(&hammers_done, 1, __ATOMIC_SEQ_CST);
}

static void hammers(bool with_set_clock)
{
	struct vm *vm = vm_with_page(2);
	u32 i;

	hammers_done = 0;
	for (i = 0; i < 2; i++) {
		vcpu_entry(vm->vcpus[i], hammer);
		vcpu_start(vm->vcpus[i]);
	}
	while (with_set_clock && hammers_done < 2)
		advance_clock(vm, 100);
	for (i = 0; i < 2; i++) {
		vcpu_join(vm->vcpus[i]);
		vcpu_entry(vm->vcpus[i], reader);
	}
	last_time = 0;
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	assert_page_valid(vm->vcpus[0]);
	assert_page_valid(vm->vcpus[1]);
	alternate(vm, 20);
	vm_free(vm);
}

TEST(two_vcpus_write_at_once)
{
	hammers(false);
}

TEST(two_vcpus_and_the_host_write_at_once)
{
	hammers(true);
}

/* --- the master clock lost and found (K10) ------------------------------- */

static void assert_master_clock(struct vm *vm, bool on)
{
	ASSERT_EQ(!!(get_clock(vm).flags & KVM_CLOCK_TSC_STABLE), on);
}

/* vCPU 1 gets another TSC: KVM's clock is no longer a function of one TSC. */
static void lose_master_clock(struct vm *vm)
{
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(vm->vcpus[1], KVM_GET_TSC_KHZ, NULL);

	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC,
		     vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC) + 100 * hz);
	/* The write takes effect when the vCPU it went to runs. */
	read_clock(vm->vcpus[1]);
	alternate(vm, 4);
	assert_master_clock(vm, false);
}

/*
 * KVM counts who matches the vCPU whose TSC was changed last, so it is the
 * other one that must follow; less than a second off counts as meant to match.
 */
static void regain_master_clock(struct vm *vm)
{
	vcpu_set_msr(vm->vcpus[0], MSR_IA32_TSC, vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC));
	alternate(vm, 4);
	assert_master_clock(vm, true);
}

TEST_KNOWN(page_recovers_with_the_master_clock, "K10")
{
	struct vm *vm = vm_with_page(2);
	u32 round, seq;

	for (round = 0; round < 3; round++) {
		seq = page.sequence;
		lose_master_clock(vm);
		ASSERT_EQ(page.sequence, 0);
		alternate(vm, 20);
		ASSERT_EQ(page.sequence, 0);
		regain_master_clock(vm);
		ASSERT_KNOWN(seq_valid(page.sequence), "sequence 0x%x", page.sequence);
		/* Who was stopped in the middle of a read must see that it is another clock. */
		ASSERT(page.sequence != seq, "sequence 0x%x again", seq);
		alternate(vm, 20);
		assert_page_valid(vm->vcpus[0]);
		assert_page_valid(vm->vcpus[1]);
	}
	vm_free(vm);
}

/* Enabled while there is no master clock: invalid, and valid as soon as there is one. */
TEST_KNOWN(page_enabled_without_a_master_clock, "K10")
{
	struct vm *vm = vm_with_page(2);

	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, 0);
	memset(&page, 0, sizeof(page));
	lose_master_clock(vm);
	page.sequence = 7;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	ASSERT_EQ(page.sequence, 0);
	alternate(vm, 4);
	ASSERT_EQ(page.sequence, 0);
	regain_master_clock(vm);
	ASSERT_KNOWN(seq_valid(page.sequence), "sequence 0x%x", page.sequence);
	assert_page_valid(vm->vcpus[1]);
	vm_free(vm);
}

/* The register is one clock for all, however far apart the TSCs are. */
TEST(count_monotonic_without_a_master_clock)
{
	struct vm *vm = vm_with_page(2);

	lose_master_clock(vm);
	race(vm);
	ASSERT_EQ(page.sequence, 0);
}

/* What stock can do: the guest helps itself. */
TEST(rewrite_recovers_with_the_master_clock)
{
	struct vm *vm = vm_with_page(2);

	lose_master_clock(vm);
	ASSERT_EQ(page.sequence, 0);
	regain_master_clock(vm);
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	assert_page_valid(vm->vcpus[0]);
	assert_page_valid(vm->vcpus[1]);
	vm_free(vm);
}

/* --- nobody is woken for nothing ------------------------------------------- */

#define MOVES	  30
#define FAR_TICKS (3600 * REF_PER_SEC)

/* A timer that has to be looked at when the time takes a step. */
GUEST_CODE(sleeper)
{
	apic_enable();
	wrmsr(HV_X64_MSR_STIMER_COUNT(0), rdmsr(HV_X64_MSR_TIME_REF_COUNT) + FAR_TICKS);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(0),
	      HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(0x61));
	GUEST_SYNC(1);
	for (;;)
		irqs_halt();
}

/* How often the only other thread of this process went to sleep. */
static u32 sleeps(void)
{
	char path[64], line[128];
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;
	unsigned int n = 0;
	FILE *f;

	ASSERT(d, "/proc/self/task: %s", strerror(errno));
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || atoi(e->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.10s/status", e->d_name);
		f = fopen(path, "r");
		ASSERT(f, "%s: %s", path, strerror(errno));
		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "voluntary_ctxt_switches: %u", &n) == 1)
				break;
		fclose(f);
	}
	closedir(d);
	return n;
}

static void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	ASSERT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

/*
 * Without a master clock each vCPU that changes its CPU has KVM update the clock of all. A page
 * that cannot be written is tried again then, which is no reason to wake who sleeps.
 */
TEST(nobody_is_woken_for_a_page_outside_memory)
{
	struct vm *vm = vm_with_page(2);
	struct kvm_stat blocking;
	u32 i, before, woken;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		ktap_skip("one CPU");
	ASSERT_EQ(__vcpu_enable_cap(vm->vcpus[0], KVM_CAP_HYPERV_SYNIC2, 0), 0);
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, GPA_NOWHERE | REF_TSC_ENABLE);
	memset(&page, 0, sizeof(page));
	lose_master_clock(vm);
	blocking = stat_open(vm->vcpus[0], "blocking");
	vcpu_entry(vm->vcpus[0], sleeper);
	vcpu_run_sync(vm->vcpus[0], 1);
	vcpu_start(vm->vcpus[0]);
	wait_halted(&blocking);
	before = sleeps();
	for (i = 0; i < MOVES; i++) {
		run_on_cpu(i % 2);
		read_clock(vm->vcpus[1]);
	}
	woken = sleeps() - before;
	ktap_log("woken %u times", woken);
	ASSERT(woken <= MOVES / 5, "%u times", woken);
	/* The sleeper goes with this process. */
}

/* --- the clock is the partition's, not one vCPU's TSC --------------------- */

#define SANE_SEC 60 /* more than any stall of this host, less than any error looked for */

static void assert_on_time(u64 before, u64 now)
{
	GUEST_ASSERT(now >= before);
	GUEST_ASSERT(now < before + SANE_SEC * REF_PER_SEC);
}

/* A guest may write its TSC; whatever becomes of the page on that vCPU, the count goes on. */
GUEST_CODE(write_tsc)
{
	u64 hz = rdmsr(HV_X64_MSR_TSC_FREQUENCY), before = rdmsr(HV_X64_MSR_TIME_REF_COUNT), now;
	const u64 values[] = { rdtsc() + 1000 * hz, rdtsc() / 2, 0, ~0ULL / 2 };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		wrmsr(MSR_IA32_TSC, values[i]);
		now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		assert_on_time(before, now);
		before = now;
	}
}

TEST(count_goes_on_over_a_tsc_write)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], write_tsc);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST(count_goes_on_over_a_tsc_write_with_a_page)
{
	struct vm *vm = vm_with_page(2);

	vcpu_entry(vm->vcpus[1], write_tsc);
	vcpu_run_done(vm->vcpus[1]);
	/* And nothing has changed for the other one. */
	assert_page_valid(vm->vcpus[0]);
	vm_free(vm);
}

/* What the host reads right after it gave a vCPU another TSC. */
TEST(host_reads_one_clock_over_a_tsc_write)
{
	struct vm *vm = vm_with_page(2);
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(vm->vcpus[1], KVM_GET_TSC_KHZ, NULL);
	u64 now;

	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC,
		     vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC) + 1000 * hz);
	now = vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_TIME_REF_COUNT);
	ASSERT(now >= last_time && now < last_time + SANE_SEC * REF_PER_SEC, "%llu, then %llu",
	       (unsigned long long)last_time, (unsigned long long)now);
	vm_free(vm);
}

/* --- a new master clock ---------------------------------------------------- */

#define RENEW_ROUNDS 40
#define RENEW_MS     20

/*
 * KVM's master clock begins anew where the host's clock is, and the TSC's rate is known to some
 * digits only: the old one may be ahead. What a guest can see of that is less than it takes to
 * look, so compare the clocks themselves: of the same rate, one with a smaller offset is behind.
 */
static void renew(struct vm *vm, void (*how)(struct vm *vm))
{
	u32 i, changed = 0;
	struct tsc_page old;
	s64 step, sum = 0;

	for (i = 0; i < RENEW_ROUNDS; i++) {
		struct timespec t = { .tv_nsec = RENEW_MS * 1000000L };

		memcpy(&old, &page, sizeof(old));
		nanosleep(&t, NULL);
		how(vm);
		alternate(vm, 4);
		assert_page_valid(vm->vcpus[0]);
		ASSERT_EQ(page.scale, old.scale);
		step = (s64)(page.offset - old.offset);
		ASSERT_KNOWN(step >= 0, "the time went back by %lld00 ns", (long long)-step);
		changed += page.sequence != old.sequence;
		sum += step;
	}
	ktap_log("ahead by %lld00 ns in all", (long long)sum);
	ASSERT(changed, "the same page all the time");
	vm_free(vm);
}

static void rewrite_page(struct vm *vm)
{
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
}

TEST_KNOWN(page_never_goes_back_with_a_new_master_clock, "K33")
{
	renew(vm_with_page(2), rewrite_page);
}

/* The TSC's rate is known less well where it is scaled, and scaled that it is the user's. */
static void set_tsc_khz(struct vm *vm, u32 khz)
{
	u32 i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_ioctl(vm->vcpus[i], KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
}

static u32 get_tsc_khz(struct vcpu *v)
{
	return (u32)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);
}

static void require_tsc_scaling(void)
{
	if (!kvm_check_cap(KVM_CAP_TSC_CONTROL))
		ktap_skip("this CPU has no TSC scaling");
}

TEST_KNOWN(scaled_page_never_goes_back_with_a_new_master_clock, "K33")
{
	struct vm *vm = vm_create(2, 0);
	u32 i;

	require_tsc_scaling();
	set_tsc_khz(vm, get_tsc_khz(vm->vcpus[0]) / 7 * 5);
	for (i = 0; i < 2; i++)
		vcpu_entry(vm->vcpus[i], reader);
	last_time = 0;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	assert_page_valid(vm->vcpus[0]);
	renew(vm, rewrite_page);
}

/* A vCPU that is added, and what it reads. */
static void add_vcpu(struct vm *vm)
{
	struct vcpu *v = vm_add_vcpu(vm);

	vcpu_entry(v, reader);
}

TEST(hot_plugged_vcpu_has_the_same_clock)
{
	struct vm *vm = vm_with_page(2);
	struct tsc_page old;
	u32 i;

	memcpy(&old, &page, sizeof(old));
	add_vcpu(vm);
	read_clock(vm->vcpus[2]);
	for (i = 0; i < 6; i++)
		read_clock(vm->vcpus[i % 2]);
	assert_page_valid(vm->vcpus[0]);
	ASSERT((s64)(page.offset - old.offset) >= 0, "the time went back");
	vm_free(vm);
}

/* --- another rate, with the page enabled ------------------------------------ */

/* The rate that this host can give a guest whose page is there already. */
static u32 other_khz(struct vcpu *v)
{
	u32 khz = get_tsc_khz(v);

	/* Without scaling KVM can only have a TSC catch up with a faster one. */
	return kvm_check_cap(KVM_CAP_TSC_CONTROL) ? khz / 2 : 2 * khz;
}

static void pass_time(struct vm *vm)
{
	struct timespec t = { .tv_nsec = 200000000 };
	u32 i;

	for (i = 0; i < 5; i++) {
		nanosleep(&t, NULL);
		alternate(vm, 4);
	}
}

/* What is wrong with a rate shows after a second, and read_clock() sees it. */
TEST_KNOWN(page_follows_another_tsc_rate, "K29")
{
	struct vm *vm = vm_with_page(2);
	u32 seq = page.sequence;

	set_tsc_khz(vm, other_khz(vm->vcpus[0]));
	alternate(vm, 4);
	ASSERT_KNOWN(page.sequence != seq, "sequence still 0x%x", seq);
	pass_time(vm);
	if (kvm_check_cap(KVM_CAP_TSC_CONTROL))
		assert_page_valid(vm->vcpus[0]);
	vm_free(vm);
}

/* Two rates, no page; one rate again, and there it is. */
TEST_KNOWN(vcpus_of_two_tsc_rates_have_no_page, "K29")
{
	struct vm *vm = vm_with_page(2);
	u32 khz = get_tsc_khz(vm->vcpus[0]);

	vcpu_ioctl(vm->vcpus[1], KVM_SET_TSC_KHZ, (void *)(uintptr_t)other_khz(vm->vcpus[1]));
	/* Where KVM has the TSC catch up, from its second entry on. */
	vcpu_run_sync(vm->vcpus[1], 1);
	vcpu_run_sync(vm->vcpus[1], 1);
	ASSERT_KNOWN(!page.sequence, "sequence 0x%x", page.sequence);
	pass_time(vm);
	ASSERT_EQ(page.sequence, 0);
	if (kvm_check_cap(KVM_CAP_TSC_CONTROL)) {
		vcpu_ioctl(vm->vcpus[1], KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
		alternate(vm, 4);
		assert_page_valid(vm->vcpus[0]);
		pass_time(vm);
	}
	vm_free(vm);
}

/* --- nobody waits for another vCPU's page fault (K8) --------------------- */

GUEST_CODE(hypercall_page_faults)
{
	guest_set_os_id();
	wrmsr(HV_X64_MSR_HYPERCALL, GPA_FAULTING | HV_HYPERCALL_ENABLE);
}

GUEST_CODE(count_twice)
{
	u64 t = rdmsr(HV_X64_MSR_TIME_REF_COUNT);

	GUEST_SYNC(1);
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= t);
}

#define STALL_SECONDS 5

static bool join_in_time(struct vcpu *v)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += STALL_SECONDS;
	return !pthread_timedjoin_np(v->worker, NULL, &t);
}

TEST_KNOWN(count_does_not_wait_for_a_page_fault, "K8")
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = { 0 };
	struct uffd_msg msg;
	struct pollfd pfd;
	struct vm *vm;
	bool in_time;
	void *mem;
	int fd;

	if (access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		ktap_skip("this kernel has no userfaultfd");
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	ASSERT(fd >= 0, "userfaultfd: %s", strerror(errno));
	ASSERT(!ioctl(fd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(mem != MAP_FAILED, "mmap");
	reg.range = (struct uffdio_range){ .start = gpa(mem), .len = PAGE_SIZE };
	zero.range = reg.range;
	ASSERT(!ioctl(fd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s", strerror(errno));

	vm = vm_create(2, 0);
	vm_add_memslot(vm, GPA_FAULTING, mem, PAGE_SIZE, 0);
	vcpu_entry(vm->vcpus[0], hypercall_page_faults);
	vcpu_entry(vm->vcpus[1], count_twice);
	/* Whatever a first entry needs is done before. */
	vcpu_run_sync(vm->vcpus[1], 1);

	vcpu_start(vm->vcpus[0]);
	pfd = (struct pollfd){ .fd = fd, .events = POLLIN };
	ASSERT_EQ(poll(&pfd, 1, 15000), 1);
	ASSERT_EQ(read(fd, &msg, sizeof(msg)), sizeof(msg));
	ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);

	vcpu_start(vm->vcpus[1]);
	in_time = join_in_time(vm->vcpus[1]);
	ASSERT(!ioctl(fd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE: %s", strerror(errno));
	vcpu_join(vm->vcpus[0]);
	if (!in_time)
		vcpu_join(vm->vcpus[1]);
	ASSERT_KNOWN(in_time, "the read took more than %u s", STALL_SECONDS);
	close(fd);
	vm_free(vm);
}

/* --- save and restore ---------------------------------------------------- */

struct saved {
	u64 clock, ref_tsc, count, tsc, emulation;
	struct tsc_page page;
};

static void save(struct vm *vm, struct saved *s)
{
	struct vcpu *v = vm->vcpus[0];

	s->tsc = vcpu_get_msr(v, MSR_IA32_TSC);
	s->clock = get_clock(vm).clock;
	s->count = vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT);
	s->ref_tsc = vcpu_get_msr(v, HV_X64_MSR_REFERENCE_TSC);
	s->emulation = vcpu_get_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL);
	s->page = page;
	vm_free(vm);
}

/* What a VMM does; the page itself comes with the RAM. */
static struct vm *restore(u32 nr_vcpus, struct saved *s)
{
	struct vm *vm = vm_create(nr_vcpus, 0);
	u32 i;

	memcpy(&page, &s->page, sizeof(page));
	for (i = 0; i < nr_vcpus; i++) {
		vcpu_set_msr(vm->vcpus[i], MSR_IA32_TSC, s->tsc);
		vcpu_entry(vm->vcpus[i], reader);
	}
	set_clock(vm, s->clock);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_CONTROL, s->emulation);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, s->ref_tsc);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_TIME_REF_COUNT, s->count);
	return vm;
}

TEST(save_and_restore)
{
	struct vm *vm = vm_with_page(2);
	struct saved s;
	u64 start, elapsed, t;
	u32 i;

	advance_clock(vm, 50 * JUMP_SEC);
	alternate(vm, 4);
	save(vm, &s);

	start = host_time();
	vm = restore(2, &s);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC), ref_tsc(&page));
	for (i = 0; i < 2; i++) {
		assert_page_valid(vm->vcpus[i]);
		t = last_time;
		elapsed = host_time() - start;
		ASSERT(t <= s.clock / 100 + elapsed + elapsed / 100 + REF_PER_MS,
		       "saved %llu, now %llu, %llu passed", (unsigned long long)s.clock / 100,
		       (unsigned long long)t, (unsigned long long)elapsed);
	}
	/* A guest that was stopped half-way through a read must see that it has to start again. */
	ASSERT(page.sequence != s.page.sequence ||
		       (page.scale == s.page.scale && page.offset == s.page.offset),
	       "another clock under the same sequence 0x%x", page.sequence);
	alternate(vm, 20);
	vm_free(vm);
}

/* Saved and restored while disabled: nothing is written to guest memory. */
TEST(save_and_restore_disabled)
{
	struct vm *vm = vm_with_page(1);
	struct saved s;

	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, gpa(&page));
	memset(&page, 0, sizeof(page));
	save(vm, &s);
	vm = restore(1, &s);
	read_clock(vm->vcpus[0]);
	read_clock(vm->vcpus[0]);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC), gpa(&page));
	ASSERT_EQ(page.sequence, 0);
	ASSERT_EQ(page.scale, 0);
	vm_free(vm);
}

/* A restored vCPU may run before the VMM is through with the others. */
TEST(host_enables_the_page)
{
	struct vm *vm = vm_create(2, 0);

	require_tsc_clocksource();
	vcpu_entry(vm->vcpus[0], reader);
	vcpu_entry(vm->vcpus[1], reader);
	last_time = 0;
	read_clock(vm->vcpus[0]);
	ASSERT_EQ(page.sequence, 0);
	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&page));
	read_clock(vm->vcpus[1]);
	assert_page_valid(vm->vcpus[0]);
	assert_page_valid(vm->vcpus[1]);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, 0);
	memset(&page, 0, sizeof(page));
	alternate(vm, 4);
	ASSERT_EQ(page.sequence, 0);
	vm_free(vm);
}

/* --- TSC emulation: the page is frozen ----------------------------------- */

TEST(page_frozen_during_tsc_emulation)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	struct tsc_page old;

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	memcpy(&old, &page, sizeof(old));
	advance_clock(vm, JUMP_SEC);
	assert_page_valid(v);
	ASSERT_EQ(page.sequence, old.sequence);
	ASSERT_EQ(page.scale, old.scale);
	ASSERT_EQ(page.offset, old.offset);

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	advance_clock(vm, 2 * JUMP_SEC);
	assert_page_valid(v);
	ASSERT(page.sequence != old.sequence, "sequence still 0x%x", old.sequence);
	ASSERT(page.offset != old.offset, "the same clock");
	vm_free(vm);
}

/* A frozen page travels as it is; the register follows it. */
TEST(frozen_page_is_restored_as_it_is)
{
	struct vm *vm = vm_with_page(1);
	struct saved s;

	guest_write(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	save(vm, &s);
	ASSERT_EQ(s.emulation, 1);
	vm = restore(1, &s);
	last_time = 0;
	assert_page_valid(vm->vcpus[0]);
	ASSERT_EQ(page.sequence, s.page.sequence);
	ASSERT_EQ(page.scale, s.page.scale);
	ASSERT_EQ(page.offset, s.page.offset);
	vm_free(vm);
}

/* The guest's view of the time does not depend on the host's clock, whatever becomes of that. */
TEST(frozen_page_without_a_master_clock)
{
	struct vm *vm = vm_with_page(2);
	struct vcpu *v = vm->vcpus[0];
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);
	struct tsc_page old;
	u32 i;

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	memcpy(&old, &page, sizeof(old));
	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC, vcpu_get_msr(v, MSR_IA32_TSC) + 100 * hz);
	for (i = 0; i < 4; i++) {
		vcpu_run_sync(vm->vcpus[1], 1);
		assert_page_valid(v);
	}
	assert_master_clock(vm, false);
	ASSERT_EQ(page.sequence, old.sequence);
	ASSERT_EQ(page.scale, old.scale);
	ASSERT_EQ(page.offset, old.offset);
	vm_free(vm);
}

/* A guest that gives its frozen page up has the host's clock again. */
TEST(frozen_page_is_given_up)
{
	struct vm *vm = vm_with_page(1);
	struct saved s;
	struct vcpu *v;

	guest_write(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	save(vm, &s);
	s.page.offset += JUMP_SEC * REF_PER_SEC;
	vm = restore(1, &s);
	v = vm->vcpus[0];
	last_time = 0;
	assert_page_valid(v);
	ASSERT(last_time >= JUMP_SEC * REF_PER_SEC, "the register does not follow the page");
	last_time = 0;
	/* The guest does not look at what it has given up. */
	page.sequence = 0;
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, 0);
	ASSERT(last_time < JUMP_SEC * REF_PER_SEC, "the register still follows the page");
	vm_free(vm);
}

/* --- reenlightenment registers ------------------------------------------- */

#define REENLIGHT_ENABLE     BIT64(16)
#define REENLIGHT_TARGET(vp) ((u64)(vp) << 32)

GUEST_TEST(reenlightenment_storage)
{
	static const u64 controls[] = {
		0xee,
		0xee | REENLIGHT_ENABLE,
		0xee | REENLIGHT_ENABLE | REENLIGHT_TARGET(1),
		REENLIGHT_TARGET(0xffffffff),
		0,
	};
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL, controls[i]), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL), controls[i]);
	}
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 0);
}

/* The guest can only end an emulation. */
GUEST_TEST(emulation_status_takes_only_zero)
{
	u32 bit;

	for (bit = 0; bit < 64; bit++)
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, BIT64(bit)), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
}

/* 15:8 and 31:17 are reserved. */
GUEST_TEST_KNOWN(reenlightenment_reserved_bits, "D13")
{
	const u64 good = 0xee | REENLIGHT_ENABLE | REENLIGHT_TARGET(3);
	u32 bit;

	wrmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL, good);
	for (bit = 8; bit < 32; bit++) {
		if (bit == 16)
			continue;
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL,
					      good | BIT64(bit)),
				      GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL), good);
	}
}

GUEST_TEST_KNOWN(emulation_control_reserved_bits, "D13")
{
	u32 bit;

	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	for (bit = 1; bit < 64; bit++) {
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, BIT64(bit)),
				      GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 1);
	}
}

GUEST_CODE(reenlightenment_restored)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL),
			0xef | REENLIGHT_ENABLE | REENLIGHT_TARGET(1));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 1);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, 1), GP_VECTOR);
	wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
}

/* Restored by the host through one vCPU, seen by another. */
TEST(reenlightenment_partition_wide)
{
	struct vm *vm = vm_create(2, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_REENLIGHTENMENT_CONTROL,
		     0xef | REENLIGHT_ENABLE | REENLIGHT_TARGET(1));
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_STATUS, 1);
	vcpu_entry(vm->vcpus[1], reenlightenment_restored);
	vcpu_run_done(vm->vcpus[1]);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_REENLIGHTENMENT_CONTROL),
		  0xef | REENLIGHT_ENABLE | REENLIGHT_TARGET(1));
	vm_free(vm);
}
