// SPDX-License-Identifier: GPL-2.0-only
/*
 * Delivery by HvSendSyntheticClusterIpi and its Ex form (TLFS chapter "Virtual Interrupt
 * Control"): exactly the VPs named get exactly one interrupt, whatever their indices.
 * The vCPUs are run by turns, so an IPI waits in the target's local APIC until the target
 * is run and every case is the same each time; one case runs a target in a thread.
 * Statuses are hypercall_matrix_parameters_test's.
 */
#include <sched.h>
#include <string.h>

#include "apic.h"
#include "vm.h"

#define NR_VPS	      4
#define MAX_VPS	      8
#define FIRST	      0x40 /* vectors of the rows, one after the other */
#define NR_VECTORS    0x80
#define SPARSE	      0ULL
#define ALL	      1ULL
#define XMM_QWORDS    12
#define HALT_ROUNDS   20
#define X86_RFLAGS_IF BIT64(9)

enum { READY = 1, TAKEN };

static volatile u32 taken[NR_VPS][256];
static volatile u64 taken_at[NR_VPS]; /* RIP that the last one interrupted */

/* What a vCPU is to do in its next turn. */
static struct order {
	bool send, fast, apic_off, apic_on;
	u64 control, in, out;
	struct xmm_block xmm;
	u64 result;
	u32 vector;
} orders[NR_VPS];

/* --- guest --------------------------------------------------------------- */

static void take(struct guest_frame *f)
{
	u32 cpu = this_cpu()->id;

	taken[cpu][f->vector]++;
	taken_at[cpu] = f->rip;
	apic_eoi();
}

GUEST_CODE(by_turns)
{
	struct order *o = &orders[this_cpu()->id];

	apic_enable();
	GUEST_SYNC(READY);
	for (;;) {
		if (o->apic_off)
			apic_disable();
		if (o->apic_on)
			apic_enable();
		if (o->send)
			o->vector = __hypercall_xmm(o->control, o->in, o->out, &o->xmm, &o->result);
		irqs_window();
		GUEST_SYNC(TAKEN);
	}
}

GUEST_CODE(halts)
{
	u32 cpu = this_cpu()->id;

	apic_enable();
	while (taken[cpu][FIRST] < HALT_ROUNDS)
		irqs_halt();
}

static volatile u64 after_call;

/* With interrupts on. */
static u64 call_to_self(u64 control, u64 vector, u64 mask)
{
	u64 rax = 0, rcx = control, rdx = vector;

#define SELF_IPI(insn)                                                           \
	asm volatile("mov %[mask], %%r8\n"                                       \
		     "lea 1f(%%rip), %%r9\n"                                     \
		     "mov %%r9, %[after]\n"                                      \
		     "sti\n"                                                     \
		     "nop\n" insn "\n"                                           \
		     "1: cli\n"                                                  \
		     : "+a"(rax), "+c"(rcx), "+d"(rdx), [after] "=m"(after_call) \
		     : [mask] "r"(mask)                                          \
		     : "r8", "r9", "r10", "r11", "cc", "memory")
	if (guest_use_vmmcall)
		SELF_IPI("vmmcall");
	else
		SELF_IPI("vmcall");
	return rax;
}

/* TLFS: the interrupt is taken before the instruction that follows the call. */
GUEST_CODE(sends_to_self)
{
	u64 *block = (u64 *)(uintptr_t)orders[0].in;
	u32 i;

	apic_enable();
	for (i = 1; i <= 20; i++) {
		after_call = 0;
		taken_at[0] = 0;
		GUEST_ASSERT_EQ(call_to_self(HVCALL_SEND_IPI | HV_CTL_FAST, FIRST, 1), 0);
		GUEST_ASSERT_EQ(taken[0][FIRST], i);
		GUEST_ASSERT_EQ(taken_at[0], after_call);
	}
	block[0] = FIRST + 1;
	block[1] = SPARSE;
	block[2] = 1;
	block[3] = 1;
	for (i = 1; i <= 20; i++) {
		taken_at[0] = 0;
		GUEST_ASSERT_EQ(call_to_self(HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1),
					     (u64)(uintptr_t)block, 0),
				0);
		GUEST_ASSERT_EQ(taken[0][FIRST + 1], i);
		GUEST_ASSERT_EQ(taken_at[0], after_call);
	}
}

/* --- host ---------------------------------------------------------------- */

static struct vm *vm_with_indices(const u32 *vp_index)
{
	struct vm *vm = vm_create(NR_VPS, 0);
	u32 i;

	for (i = 0; i < 256; i++)
		guest_irq_handlers[i] = i < 0x20 ? NULL : take;
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	for (i = 0; i < NR_VPS; i++) {
		if (vp_index)
			vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_VP_INDEX, vp_index[i]);
		vcpu_entry(vm->vcpus[i], by_turns);
		vcpu_run_sync(vm->vcpus[i], READY);
	}
	return vm;
}

enum hc_form { MASK_SLOW, MASK_FAST, EX_SLOW, EX_XMM, NR_FORMS };

#define MASKS	(BIT64(MASK_SLOW) | BIT64(MASK_FAST))
#define EX	(BIT64(EX_SLOW) | BIT64(EX_XMM))
#define ANY	(MASKS | EX)
#define SLOW_EX BIT64(EX_SLOW)

static const char *const form_names[] = { "slow", "fast", "Ex slow", "Ex XMM" };

/* Either @format and the banks, or as a mask of the first 64 VPs. */
struct row {
	const char *name;
	u32 forms;
	u64 format;
	u64 banks;
	u64 contents[4]; /* the last one is that of all further banks */
	u32 expected;	 /* vCPUs, by number */
};

static u64 bank_content(const struct row *r, u32 n)
{
	return r->contents[n < ARRAY_SIZE(r->contents) ? n : ARRAY_SIZE(r->contents) - 1];
}

static struct order order_of(const struct row *r, enum hc_form form, u32 vector, u64 *page)
{
	struct order o = { .send = true };
	u64 banks = r->banks;
	u32 i, n = 0;

	memset(page, 0xff, PAGE_SIZE);
	memset(&o.xmm, 0xff, sizeof(o.xmm));
	page[0] = vector;
	if (form <= MASK_FAST) {
		o.control = HVCALL_SEND_IPI;
		page[1] = r->contents[0];
	} else {
		o.control = HVCALL_SEND_IPI_EX;
		page[1] = r->format;
		page[2] = banks;
		for (; banks; banks &= banks - 1, n++)
			page[3 + n] = bank_content(r, n);
		o.control |= HV_CTL_VARHDR(n);
	}
	if (form == MASK_SLOW || form == EX_SLOW) {
		o.in = (u64)(uintptr_t)page;
	} else {
		o.control |= HV_CTL_FAST;
		o.in = page[0];
		o.out = page[1];
		if (form == EX_XMM)
			for (i = 0; i < XMM_QWORDS; i++)
				o.xmm.q[i] = page[2 + i];
	}
	return o;
}

static u32 taken_by(u32 cpu)
{
	u32 i, sum = 0;

	for (i = 0; i < 256; i++)
		sum += taken[cpu][i];
	return sum;
}

/* One call by @sender, a turn of every vCPU; true if all got what they should. */
static bool send_once(struct vm *vm, u32 sender, const struct row *r, enum hc_form form, u32 vector,
		      u64 *page)
{
	bool good = true;
	u32 i, want;

	memset((void *)taken, 0, sizeof(taken));
	orders[sender] = order_of(r, form, vector, page);
	vcpu_run_sync(vm->vcpus[sender], TAKEN);
	ASSERT_EQ(orders[sender].vector, 0);
	ASSERT(orders[sender].result == 0, "%s, %s: status 0x%llx", r->name, form_names[form],
	       (unsigned long long)orders[sender].result);
	orders[sender].send = false;
	for (i = 0; i < NR_VPS; i++)
		vcpu_run_sync(vm->vcpus[i], TAKEN);
	for (i = 0; i < NR_VPS; i++) {
		want = r->expected >> i & 1;
		if (taken[i][vector] == want && taken_by(i) == want)
			continue;
		ktap_log("%s, %s, from vCPU %u: vCPU %u took %u of vector 0x%x, %u in all", r->name,
			 form_names[form], sender, i, taken[i][vector], vector, taken_by(i));
		good = false;
	}
	return good;
}

static void send_rows(struct vm *vm, const struct row *rows, u32 nr)
{
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i, form, vector = 0;

	for (i = 0; i < nr; i++) {
		for (form = 0; form < NR_FORMS; form++) {
			const u32 sender = (i + form) % NR_VPS, v = FIRST + vector++ % NR_VECTORS;

			if (!(rows[i].forms & 1u << form))
				continue;
			if (send_once(vm, sender, &rows[i], form, v, page))
				continue;
			/* The emulator of the AMD hosts delivers one twice now and then. */
			ktap_log("once more");
			ASSERT(send_once(vm, sender, &rows[i], form, v, page), "%s, %s",
			       rows[i].name, form_names[form]);
		}
	}
}

#define CPU(n) (1u << (n))

TEST(default_indices)
{
	static const struct row rows[] = {
		{ "VP 0", ANY, SPARSE, 1, { 1 }, CPU(0) },
		{ "VP 1", ANY, SPARSE, 1, { 2 }, CPU(1) },
		{ "VP 3", ANY, SPARSE, 1, { 8 }, CPU(3) },
		{ "two VPs", ANY, SPARSE, 1, { 0xa }, CPU(1) | CPU(3) },
		{ "all four", ANY, SPARSE, 1, { 0xf }, 0xf },
		{ "nobody", ANY, SPARSE, 1, { 0 }, 0 },
		{ "behind the last VP", ANY, SPARSE, 1, { ~0xfULL }, 0 },
		{ "64 VPs", ANY, SPARSE, 1, { ~0ULL }, 0xf },
		{ "no bank", EX, SPARSE, 0, { 0 }, 0 },
		{ "all", EX, ALL, 0, { 0 }, 0xf },
		{ "all, whatever the banks", EX, ALL, 3, { 2, 0 }, 0xf },
	};
	struct vm *vm = vm_with_indices(NULL);

	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

/* VP 70 is bit 6 of bank 1, VP 129 is bit 1 of bank 2. */
static const u32 spread[NR_VPS] = { 0, 70, 129, 3 };

TEST(indices_above_64)
{
	static const struct row rows[] = {
		{ "VP 0", ANY, SPARSE, 1, { 1 }, CPU(0) },
		{ "VP 3", ANY, SPARSE, 1, { 8 }, CPU(3) },
		{ "numbers of vCPUs that are no VP", ANY, SPARSE, 1, { 6 }, 0 },
		{ "64 VPs", ANY, SPARSE, 1, { ~0ULL }, CPU(0) | CPU(3) },
		{ "VP 70", EX, SPARSE, BIT64(1), { BIT64(6) }, CPU(1) },
		{ "VP 129", EX, SPARSE, BIT64(2), { BIT64(1) }, CPU(2) },
		{ "VPs 70 and 129", EX, SPARSE, 6, { BIT64(6), BIT64(1) }, CPU(1) | CPU(2) },
		{ "all four", EX, SPARSE, 7, { 9, BIT64(6), BIT64(1) }, 0xf },
		{ "bank 1 without VP 70", EX, SPARSE, BIT64(1), { ~BIT64(6) }, 0 },
		{ "bank 2 with VP 128 and 130", EX, SPARSE, BIT64(2), { 5 }, 0 },
		{ "full bank 1", EX, SPARSE, BIT64(1), { ~0ULL }, CPU(1) },
		{ "empty bank 0", EX, SPARSE, 5, { 0, BIT64(1) }, CPU(2) },
		{ "banks 0 and 2", EX, SPARSE, 5, { 8, ~0ULL }, CPU(2) | CPU(3) },
		{ "all", EX, ALL, 0, { 0 }, 0xf },
	};
	struct vm *vm = vm_with_indices(spread);

	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

/* More banks than there can be VPs for: whoever exists gets what is meant for it. */
TEST(banks_behind_the_last_vp)
{
	static const struct row rows[] = {
		{ "bank 3", EX, SPARSE, BIT64(3), { ~0ULL }, 0 },
		{ "bank 15", EX, SPARSE, BIT64(15), { ~0ULL }, 0 },
		{ "bank 16", EX, SPARSE, BIT64(16), { ~0ULL }, 0 },
		{ "bank 63", EX, SPARSE, BIT64(63), { ~0ULL }, 0 },
		{ "banks 2 and 63", EX, SPARSE, BIT64(2) | BIT64(63), { 2, ~0ULL }, CPU(2) },
		{ "banks 0, 17, 40, 63",
		  EX,
		  SPARSE,
		  1 | BIT64(17) | BIT64(40) | BIT64(63),
		  { 1, ~0ULL, ~0ULL, ~0ULL },
		  CPU(0) },
		{ "banks 1 and all from 54",
		  EX,
		  SPARSE,
		  2 | ~0ULL << 54,
		  { ~0ULL, ~0ULL, ~0ULL, ~0ULL },
		  CPU(1) },
		{ "all banks, full", SLOW_EX, SPARSE, ~0ULL, { ~0ULL, ~0ULL, ~0ULL, ~0ULL }, 0xf },
		{ "all banks, empty", SLOW_EX, SPARSE, ~0ULL, { 0 }, 0 },
		{ "all banks but 0",
		  SLOW_EX,
		  SPARSE,
		  ~1ULL,
		  { ~0ULL, ~0ULL, ~0ULL, ~0ULL },
		  CPU(1) | CPU(2) },
		{ "all banks but 1",
		  SLOW_EX,
		  SPARSE,
		  ~2ULL,
		  { 1, 2, ~0ULL, ~0ULL },
		  CPU(0) | CPU(2) },
		{ "all with all banks", SLOW_EX, ALL, ~0ULL, { 0 }, 0xf },
	};
	struct vm *vm = vm_with_indices(spread);

	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

TEST(highest_index)
{
	u32 last = (u32)kvm_check_cap(KVM_CAP_MAX_VCPUS) - 1, bank = last / 64;
	u32 vp_index[NR_VPS] = { last, 1, 2, 64 };
	struct row rows[] = {
		{ "the highest VP", EX, SPARSE, BIT64(bank), { BIT64(last % 64) }, CPU(0) },
		{ "its neighbours", EX, SPARSE, BIT64(bank), { ~BIT64(last % 64) }, 0 },
		{ "its bank and bank 1",
		  EX,
		  SPARSE,
		  BIT64(bank) | 2,
		  { ~0ULL, ~0ULL },
		  CPU(0) | CPU(3) },
		{ "bank 0", ANY, SPARSE, 1, { ~0ULL }, CPU(1) | CPU(2) },
	};
	struct vm *vm;

	ASSERT(bank > 1 && bank < 64, "KVM_CAP_MAX_VCPUS %u", last + 1);
	vm = vm_with_indices(vp_index);
	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

static void set_indices(struct vm *vm, u32 a, u32 b, u32 c, u32 d)
{
	const u32 index[NR_VPS] = { a, b, c, d };
	u32 i;

	for (i = 0; i < NR_VPS; i++)
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_VP_INDEX, index[i]);
}

/* One by one the four first VPs, in each form; cpus[n] has index n. */
static void each_has(struct vm *vm, const u32 cpus[NR_VPS])
{
	struct row rows[NR_VPS];
	u32 i;

	for (i = 0; i < NR_VPS; i++)
		rows[i] = (struct row){ "one of four", ANY, SPARSE, 1, { BIT64(i) }, CPU(cpus[i]) };
	send_rows(vm, rows, NR_VPS);
}

/* While they change, two vCPUs have the same index. */
TEST(swapped_indices)
{
	static const u32 same[] = { 0, 1, 2, 3 }, outer[] = { 3, 1, 2, 0 },
			 pairs[] = { 1, 0, 3, 2 };
	static const u32 turned[] = { 3, 0, 1, 2 };
	struct vm *vm = vm_with_indices(NULL);

	set_indices(vm, 3, 1, 2, 0);
	each_has(vm, outer);
	set_indices(vm, 0, 1, 2, 3);
	each_has(vm, same);
	set_indices(vm, 1, 0, 3, 2);
	each_has(vm, pairs);
	set_indices(vm, 1, 2, 3, 0);
	each_has(vm, turned);
	vm_free(vm);
}

TEST(index_changed_and_changed_back)
{
	static const u32 same[] = { 0, 1, 2, 3 };
	static const struct row away[] = {
		{ "its old index", ANY, SPARSE, 1, { 2 }, 0 },
		{ "its new index", EX, SPARSE, BIT64(3), { BIT64(8) }, CPU(1) },
		{ "the others", ANY, SPARSE, 1, { ~0ULL }, CPU(0) | CPU(2) | CPU(3) },
	};
	static const struct row back[] = {
		{ "the index that is free again", EX, SPARSE, BIT64(3), { ~0ULL }, 0 },
	};
	struct vm *vm = vm_with_indices(NULL);
	u32 i;

	for (i = 0; i < 2; i++) {
		vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 200);
		send_rows(vm, away, ARRAY_SIZE(away));
		vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 1);
		send_rows(vm, back, ARRAY_SIZE(back));
		each_has(vm, same);
	}
	vm_free(vm);
}

/* Two VPs with one index: the last one set is the one that is found. */
TEST_KNOWN(two_vps_with_one_index, "D23")
{
	static const struct row row = { "VP 3", ANY, SPARSE, 1, { 8 }, CPU(1) };
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 form;

	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 3);
	for (form = 0; form < NR_FORMS; form++)
		ASSERT_KNOWN(send_once(vm, 0, &row, form, FIRST, page) ||
				     send_once(vm, 0, &row, form, FIRST, page),
			     "%s", form_names[form]);
	vm_free(vm);
}

/* When one of the two gives it up, the other one has it. */
TEST(one_index_of_two_given_up)
{
	static const u32 same[] = { 0, 1, 2, 3 }, other[] = { 0, 3, 2, 1 };
	struct vm *vm = vm_with_indices(NULL);

	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 3);
	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 1);
	each_has(vm, same);
	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 3);
	vcpu_set_msr(vm->vcpus[3], HV_X64_MSR_VP_INDEX, 1);
	each_has(vm, other);
	vm_free(vm);
}

/* Both ends of the range; the other vectors are those of the rows. */
TEST(lowest_and_highest_vector)
{
	static const struct row row = { "VPs 1 and 2", ANY, SPARSE, 1, { 6 }, CPU(1) | CPU(2) };
	static const u32 vectors[] = { 0x20, 0x10, 0xff };
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i, form;

	guest_irq_handlers[0x10] = take;
	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		for (form = 0; form < NR_FORMS; form++)
			ASSERT(send_once(vm, 0, &row, form, vectors[i], page) ||
				       send_once(vm, 0, &row, form, vectors[i], page),
			       "vector 0x%x, %s", vectors[i], form_names[form]);
	vm_free(vm);
}

/* TLFS: an interrupt to a disabled local APIC is lost, without an error. */
TEST(disabled_apic_is_ignored)
{
	static const struct row rows[] = {
		{ "VP 2, disabled", ANY, SPARSE, 1, { 4 }, 0 },
		{ "VP 2 and others", ANY, SPARSE, 1, { 0xf }, CPU(0) | CPU(1) | CPU(3) },
		{ "all", EX, ALL, 0, { 0 }, CPU(0) | CPU(1) | CPU(3) },
	};
	static const u32 same[] = { 0, 1, 2, 3 };
	struct vm *vm = vm_with_indices(NULL);

	orders[2].apic_off = true;
	vcpu_run_sync(vm->vcpus[2], TAKEN);
	orders[2].apic_off = false;
	send_rows(vm, rows, 1);
	/* It sends, though. */
	orders[2].apic_on = true;
	memset((void *)taken, 0, sizeof(taken));
	vcpu_run_sync(vm->vcpus[2], TAKEN);
	ASSERT_EQ(taken_by(2), 0);
	orders[2].apic_on = false;
	each_has(vm, same);

	orders[2].apic_off = true;
	vcpu_run_sync(vm->vcpus[2], TAKEN);
	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

/* Pending in its IRR until it runs, one interrupt of each vector however often it is sent. */
TEST(repeated_before_it_is_taken)
{
	struct row row = { "VP 1", ANY, SPARSE, 1, { 2 }, CPU(1) };
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i, form;

	for (i = 0; i < 3; i++) {
		for (form = 0; form < NR_FORMS; form++) {
			orders[0] = order_of(&row, form, FIRST, page);
			vcpu_run_sync(vm->vcpus[0], TAKEN);
			ASSERT_EQ(orders[0].result, 0);
		}
	}
	ASSERT_EQ(taken_by(1), 0);
	vcpu_run_sync(vm->vcpus[1], TAKEN);
	ASSERT_EQ(taken[1][FIRST], 1);
	ASSERT_EQ(taken_by(1), 1);
	vm_free(vm);
}

TEST(self_ipi_before_the_next_instruction)
{
	struct vm *vm = vm_with_indices(NULL);

	orders[0].in = (u64)(uintptr_t)vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], sends_to_self);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* Halted by the host's hand: KVM_RUN comes back only if the IPI wakes it. */
static bool wakes_up(struct vm *vm, enum hc_form form, u64 *page)
{
	static const struct row row = { "a halted VP", ANY, SPARSE, 1, { 2 }, CPU(1) };
	struct kvm_mp_state halted = { .mp_state = KVM_MP_STATE_HALTED };
	struct kvm_regs regs;

	vcpu_ioctl(vm->vcpus[1], KVM_GET_REGS, &regs);
	regs.rflags |= X86_RFLAGS_IF;
	vcpu_ioctl(vm->vcpus[1], KVM_SET_REGS, &regs);
	vcpu_ioctl(vm->vcpus[1], KVM_SET_MP_STATE, &halted);
	return send_once(vm, 0, &row, form, FIRST + form, page);
}

TEST(halted_target_wakes_up)
{
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 form;

	for (form = 0; form < NR_FORMS; form++)
		ASSERT(wakes_up(vm, form, page) || wakes_up(vm, form, page), "%s",
		       form_names[form]);
	vm_free(vm);
}

/* A target that halts by itself, in a thread; the same call again and again. */
TEST(halting_target_wakes_up)
{
	struct row row = { "VP 70", EX, SPARSE, BIT64(1), { BIT64(6) }, CPU(1) };
	struct vm *vm = vm_with_indices(spread);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i;

	memset((void *)taken, 0, sizeof(taken));
	vcpu_entry(vm->vcpus[1], halts);
	vcpu_start(vm->vcpus[1]);
	for (i = 0; i < HALT_ROUNDS; i++) {
		while (taken[1][FIRST] < i)
			sched_yield();
		orders[0] = order_of(&row, i % 2 ? EX_SLOW : EX_XMM, FIRST, page);
		vcpu_run_sync(vm->vcpus[0], TAKEN);
		ASSERT_EQ(orders[0].result, 0);
	}
	vcpu_join(vm->vcpus[1]);
	ASSERT_EQ(taken_by(0), 0);
	vm_free(vm);
}
