// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reference TSC page: its register, its sequence, pages that are not there, and two writers.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "refclock.h"

/* --- REFERENCE_TSC ------------------------------------------------------- */

GUEST_TEST(register_reads_back)
{
	const u64 values[] = {
		ref_tsc(&ref_page),
		ref_tsc(&ref_page) | REF_TSC_RSVD,
		gpa(&ref_page) | REF_TSC_RSVD,
		gpa(&ref_page2),
		ref_tsc(&ref_page2),
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
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REFERENCE_TSC), ref_tsc(&ref_page));
}

TEST(register_partition_wide)
{
	struct vm *vm = vm_create(2, 0);

	start_reader(vm->vcpus[0]);
	last_time = 0;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC), ref_tsc(&ref_page));
	vcpu_entry(vm->vcpus[1], register_is);
	vcpu_run_done(vm->vcpus[1]);
	vm_free(vm);
}

/* Valid before the instruction after the WRMSR, and the clock goes on through it. */
GUEST_CODE(enable_page)
{
	u64 before = rdmsr(HV_X64_MSR_TIME_REF_COUNT), t = 0, m;
	u32 i;

	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	GUEST_ASSERT(page_time(&ref_page, &t));
	GUEST_ASSERT(ref_page.scale != 0);
	GUEST_ASSERT(t >= before);
	for (i = 0; i < 200; i++) {
		m = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_ASSERT(m >= t);
		GUEST_ASSERT(page_time(&ref_page, &t));
		GUEST_ASSERT(t >= m);
	}
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	GUEST_ASSERT(rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= t);
}

TEST(page_is_valid_at_once)
{
	struct vm *vm = vm_create(1, 0);

	require_tsc_clocksource();
	memset(&ref_page, 0xff, sizeof(ref_page));
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

/* Setting the clock changes the sequence, and register and page jump together. */
TEST(sequence_changes_on_set_clock)
{
	struct vm *vm = vm_with_page(2);
	u64 before, after;
	u32 seq = ref_page.sequence;

	before = last_time;
	advance_clock(vm, JUMP_SEC);
	assert_page_valid(vm->vcpus[0]);
	after = readings[0].before;
	ASSERT(ref_page.sequence != seq, "sequence still 0x%x", seq);
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
		seq = ref_page.sequence;
		advance_clock(vm, 1);
		assert_page_valid(vm->vcpus[0]);
		ASSERT(ref_page.sequence != seq, "sequence still 0x%x", seq);
	}
	vm_free(vm);
}

static void wrap_from(u32 seq)
{
	struct vm *vm = vm_with_page(1);
	u32 i;

	ref_page.sequence = seq;
	/* The module looks at the page where user space may have restored it. */
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
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
		memset(&ref_page, 0, sizeof(ref_page));
		ref_page.sequence = seqs[i];
		guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
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
		t = guest_time(&ref_page);
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

	guest_write(v, HV_X64_MSR_REFERENCE_TSC, gpa(&ref_page));
	memset(&ref_page, 0, sizeof(ref_page));
	ref_page.offset = 0x5a5a;
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	ASSERT_EQ(ref_page.sequence, 0);
	ASSERT_EQ(ref_page.scale, 0);
	ASSERT_EQ(ref_page.offset, 0x5a5a);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(v);
	vm_free(vm);
}

TEST(moved_page)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	u32 seq;

	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page2));
	ASSERT(seq_valid(ref_page2.sequence), "sequence 0x%x", ref_page2.sequence);
	memset(&ref_page, 0, sizeof(ref_page));
	seq = ref_page2.sequence;
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	ASSERT(seq_valid(ref_page2.sequence) && ref_page2.sequence != seq, "sequence 0x%x",
	       ref_page2.sequence);
	ASSERT_EQ(ref_page.sequence, 0);
	ASSERT_EQ(ref_page.scale, 0);
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
	memset(&ref_page, 0, sizeof(ref_page));
	alternate(vm, 20);
	for (i = 0; i < 3; i++) {
		advance_clock(vm, JUMP_SEC);
		alternate(vm, 4);
	}
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_REFERENCE_TSC), val);
	vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, val);
	alternate(vm, 4);
	ASSERT_EQ(ref_page.sequence, 0);

	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
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
	memset(&ref_page, 0, sizeof(ref_page));
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	ASSERT_EQ(*(u32 *)ro, 0);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(v);
	vm_free(vm);
}

/* A page in a memslot of its own, which the guest itself does not read. */
static u8 *page_in_a_slot(struct vm *vm, u32 slot)
{
	u8 *mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(mem != MAP_FAILED, "mmap");
	vm_set_page(vm, slot, GPA_FAULTING, mem);
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, GPA_FAULTING | REF_TSC_ENABLE);
	ASSERT(seq_valid(*(u32 *)mem), "sequence 0x%x", *(u32 *)mem);
	memset(&ref_page, 0, sizeof(ref_page));
	return mem;
}

/* The memory under an enabled page goes away. */
TEST(page_loses_its_memory)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	u32 slot = vm->nr_slots;
	u8 *mem = page_in_a_slot(vm, slot);

	vm_set_page(vm, slot, GPA_FAULTING, NULL);
	munmap(mem, PAGE_SIZE);
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	read_clock(v);
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(v);
	vm_free(vm);
}

/* It comes back, with the parameters of a clock that user space has set meanwhile. */
TEST_KNOWN(page_is_written_when_its_memory_is_back, "K48")
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	u32 slot = vm->nr_slots, old;
	volatile u32 *sequence = (u32 *)page_in_a_slot(vm, slot);

	old = *sequence;
	vm_set_page(vm, slot, GPA_FAULTING, NULL);
	advance_clock(vm, JUMP_SEC);
	read_clock(v);
	ASSERT_EQ(*sequence, old);
	vm_set_page(vm, slot, GPA_FAULTING, (void *)sequence);
	read_clock(v);
	ASSERT_KNOWN(*sequence != old, "sequence still 0x%x", old);
	vm_free(vm);
}

/* --- two writers at once (Xen: use after free) --------------------------- */

#define HAMMER_WRITES 120

static volatile u32 hammers_done;

GUEST_CODE(hammer)
{
	const u64 values[] = { ref_tsc(&ref_page), ref_tsc(&ref_page2), 0,
			       GPA_NOWHERE | REF_TSC_ENABLE };
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
		start_reader(vm->vcpus[i]);
	}
	last_time = 0;
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
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
