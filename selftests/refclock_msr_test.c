// SPDX-License-Identifier: GPL-2.0-only
/*
 * TIME_REF_COUNT: from where it counts, at which rate, on all vCPUs, and whatever happens to a
 * TSC.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "refclock.h"

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

	start_reader(v);
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

/* It counts from the creation of the VM. */
TEST(count_starts_at_zero)
{
	u64 start = host_time(), elapsed, t;
	struct vm *vm = vm_create(1, 0);

	start_reader(vm->vcpus[0]);
	last_time = 0;
	t = read_clock(vm->vcpus[0])->before;
	elapsed = host_time() - start;
	ASSERT(t <= elapsed + elapsed / 100 + REF_PER_MS, "%llu us after %llu us",
	       (unsigned long long)t / 10, (unsigned long long)elapsed / 10);
	vm_free(vm);
}

/* Register only. */
TEST(count_monotonic_across_vcpus)
{
	struct vm *vm = vm_create(2, 0);

	start_reader(vm->vcpus[0]);
	start_reader(vm->vcpus[1]);
	last_time = 0;
	alternate(vm, 200);
	ASSERT(!ref_page.sequence, "a page that nobody enabled");
	vm_free(vm);
}

/* Register and page in turn: read_clock() compares them. */
TEST(page_monotonic_across_vcpus)
{
	struct vm *vm = vm_with_page(2);

	alternate(vm, 200);
	ASSERT(seq_valid(ref_page.sequence), "sequence 0x%x", ref_page.sequence);
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
		t = i & 1 ? rdmsr(HV_X64_MSR_TIME_REF_COUNT) : guest_time(&ref_page);
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

	GUEST_ASSERT(page_time(&ref_page, &t));
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

/* --- the master clock lost and found (K10) ------------------------------- */

/* The register is one clock for all, however far apart the TSCs are. */
TEST(count_monotonic_without_a_master_clock)
{
	struct vm *vm = vm_with_page(2);

	lose_master_clock(vm);
	race(vm);
	ASSERT_EQ(ref_page.sequence, 0);
}

/* --- the clock is the partition's, not one vCPU's TSC --------------------- */

#define SANE_SEC 60 /* more than any stall of this host, less than any error looked for */

static bool is_on_time(u64 before, u64 now)
{
	return now >= before && now < before + SANE_SEC * REF_PER_SEC;
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
		GUEST_ASSERT(is_on_time(before, now));
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
	/* The other vCPU's clock has not changed. */
	assert_page_valid(vm->vcpus[0]);
	vm_free(vm);
}

/* Register and page are one clock, which goes on. */
static u64 read_both(u64 before)
{
	u64 now = rdmsr(HV_X64_MSR_TIME_REF_COUNT), page = 0;

	GUEST_ASSERT_KNOWN_EQ(is_on_time(before, now), true);
	if (!page_time(&ref_page, &page))
		return now;
	GUEST_ASSERT_KNOWN_EQ(page >= now, true);
	now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	GUEST_ASSERT_KNOWN_EQ(page <= now, true);
	return now;
}

/* Set a TSC back to -@ticks. */
static void set_tsc_below_zero(u64 ticks)
{
	wrmsr(MSR_IA32_TSC_ADJUST, rdmsr(MSR_IA32_TSC_ADJUST) - rdtsc() - ticks);
}

/*
 * A guest sets the TSC of VP 0 back to where it was before KVM's clock began: the page's formula
 * takes the TSC for an unsigned number.
 */
GUEST_CODE(set_tsc_back)
{
	u64 now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	u32 i;

	set_tsc_below_zero(0);
	for (i = 0; i < 10; i++)
		now = read_both(now);
}

static void set_back(struct vm *vm)
{
	struct vcpu *v = vm->vcpus[0];
	u64 now;

	vcpu_entry(v, set_tsc_back);
	vcpu_run_done(v);
	/* A VMM that stops the VM goes on from KVM's clock. */
	now = vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT);
	ASSERT(get_clock(vm).clock / 100 < now + SANE_SEC * REF_PER_SEC,
	       "clock %llu, register %llu", (unsigned long long)get_clock(vm).clock / 100,
	       (unsigned long long)now);
	vm_free(vm);
}

TEST(count_goes_on_over_a_tsc_that_is_set_back)
{
	set_back(vm_create(1, 0));
}

TEST_KNOWN(count_goes_on_over_a_tsc_that_is_set_back_with_a_page, "K47")
{
	set_back(vm_with_page(2));
}

#define WRAP_MS 20

/* The register is one clock while the TSC of VP 0 is below zero, and when it wraps around. */
GUEST_CODE(let_tsc_wrap)
{
	u64 hz = rdmsr(HV_X64_MSR_TSC_FREQUENCY), before = rdmsr(HV_X64_MSR_TIME_REF_COUNT), now,
	    end;

	/* Again, if the host has taken that time in between. */
	do {
		set_tsc_below_zero(hz * WRAP_MS / 1000);
	} while ((s64)rdtsc() >= 0);
	for (end = before + 2 * WRAP_MS * REF_PER_MS; before < end; before = now) {
		now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_ASSERT_KNOWN_EQ(is_on_time(before, now), true);
	}
	GUEST_ASSERT((s64)rdtsc() >= 0);
	GUEST_SYNC(0);
	/* So is the page, from the next KVM_RUN. */
	read_both(before);
}

static void wrap_tsc(struct vm *vm)
{
	vcpu_entry(vm->vcpus[0], let_tsc_wrap);
	vcpu_run_sync(vm->vcpus[0], 0);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST(count_goes_on_over_a_tsc_that_wraps)
{
	wrap_tsc(vm_create(1, 0));
}

TEST_KNOWN(count_goes_on_over_a_tsc_that_wraps_with_a_page, "K47")
{
	wrap_tsc(vm_with_page(2));
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
	/* Enter once before, so that what only a first entry needs is done. */
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
