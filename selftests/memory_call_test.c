// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls with their input in memory: wherever that memory is (touched, dropped, never there
 * at all, read-only, missing until a pager provides it) and whatever happens to it meanwhile, the
 * answer is the same. With the module, input that is present is read in the exit fast path, and
 * input that is not is left to the slow path: the counts in debugfs tell. What malformed calls
 * answer in general is hypercall_matrix_test's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apic.h"
#include "irqfd.h"
#include "ops.h"
#include "rows.h"

#define TRIES	   8 /* a single call may find that it has to wait */
#define OS_ID	   0x8100000000000001ULL
#define VECTOR	   0x41ull
#define CONN	   0x1234ull
#define OTHER_CONN 0x1235ull
#define NR_VPS	   4
#define TARGETS	   0xeu /* all but the caller */
#define SPARSE	   0ull
#define ALL	   1ull

/* Two pages of input, which only the host touches by its own mappings. */
#define INPUT	   0x60000000ULL
#define INPUT_SIZE (2 * PAGE_SIZE)

#define OK	HV_STATUS_SUCCESS
#define INVALID HV_STATUS_INVALID_HYPERCALL_INPUT
#define ALIGN	HV_STATUS_INVALID_ALIGNMENT
#define PARAM	HV_STATUS_INVALID_PARAMETER
#define REPS(n) ((u64)(n) << 32)

#define SPACE	 HVCALL_FLUSH_SPACE
#define SPACE_EX HVCALL_FLUSH_SPACE_EX
#define LIST	 HVCALL_FLUSH_LIST
#define LIST_EX	 HVCALL_FLUSH_LIST_EX
#define IPI	 HVCALL_SEND_IPI
#define IPI_EX	 HVCALL_SEND_IPI_EX
#define SIGNAL	 HVCALL_SIGNAL_EVENT
#define VARHDR	 HV_CTL_VARHDR
#define REP	 HV_CTL_REP
#define START	 HV_CTL_START

struct call {
	const char *name;
	u64 control;
	u32 qwords;
	u64 block[8];
	u64 right, stock;
	const char *id; /* of the difference */
	u32 targets;	/* vCPUs that get VECTOR */
	u32 signals;	/* of CONN */
};

#define SAME(status)		status, status, NULL
#define DIFF(id, status, stock) status, stock, id

/* --- one VM and its input ------------------------------------------------- */

/* The memslot's memory, and how the host writes what is in it. */
struct input {
	int memfd;
	u8 *view; /* a second mapping of the same pages */
	u8 *hva;  /* the memslot's */
};

struct one {
	struct vm *vm;
	struct vcpu *vcpu;
	struct ops_page *ops;
	struct input in;
	int conn;
	u32 nr_vps;
	struct kvm_lapic_state *clean; /* each VP's local APIC: enabled, and nothing pending */
	u32 nr, wrong;
};

static void set_memslot(struct vm *vm, u32 slot, void *hva, u64 size, u32 flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = INPUT,
		.memory_size = size,
		.userspace_addr = (u64)(uintptr_t)hva,
	};

	ASSERT(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r), "memslot: %s", strerror(errno));
}

static void *map(int fd, int prot)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *p = mmap(NULL, INPUT_SIZE, prot, flags, fd, 0);

	ASSERT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	/* A large page would be touched as a whole. */
	madvise(p, INPUT_SIZE, MADV_NOHUGEPAGE);
	return p;
}

static struct input shared_input(void)
{
	struct input in = { .memfd = (int)syscall(SYS_memfd_create, "input", 0) };

	ASSERT(in.memfd >= 0, "memfd_create: %s", strerror(errno));
	ASSERT_EQ(ftruncate(in.memfd, (off_t)INPUT_SIZE), 0);
	in.view = map(in.memfd, PROT_READ | PROT_WRITE);
	in.hva = map(in.memfd, PROT_READ | PROT_WRITE);
	return in;
}

/* Take the pages out of the memslot's page table; what is in them stays. */
static void drop(struct one *o)
{
	ASSERT_EQ(madvise(o->in.hva, INPUT_SIZE, MADV_DONTNEED), 0);
}

static void touch(struct one *o)
{
	(void)*(volatile u8 *)o->in.hva;
	(void)*(volatile u8 *)(o->in.hva + PAGE_SIZE);
}

static void enable_apic(struct vcpu *v, struct kvm_lapic_state *clean)
{
	vcpu_ioctl(v, KVM_GET_LAPIC, clean);
	*(u32 *)(clean->regs + APIC_SPIV) = APIC_SPIV_ON;
	vcpu_ioctl(v, KVM_SET_LAPIC, clean);
}

/* PAUSE exits to nobody: an emulated CPU then lets the other one go on. */
static struct vm *vm_that_pauses(u32 nr_vps)
{
	struct vm *vm = vm_create(0, 0);

	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_PAUSE), 0);
	while (vm->nr_vcpus < nr_vps)
		vm_add_vcpu(vm);
	return vm;
}

static struct one one_vm(u32 nr_vps, u32 slot_flags)
{
	struct one o = { .vm = vm_that_pauses(nr_vps), .in = shared_input(), .nr_vps = nr_vps };
	struct kvm_hyperv_eventfd e = { .conn_id = CONN };
	u32 i;

	o.vcpu = o.vm->vcpus[0];
	o.conn = eventfd_new();
	e.fd = o.conn;
	ASSERT(!ioctl(o.vm->fd, KVM_HYPERV_EVENTFD, &e), "%s", strerror(errno));
	vcpu_set_msr(o.vcpu, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	o.ops = vcpu_ops_init(o.vcpu, TRIES);
	o.clean = calloc(nr_vps, sizeof(*o.clean));
	ASSERT(o.clean, "memory");
	for (i = 0; i < nr_vps; i++)
		enable_apic(o.vm->vcpus[i], &o.clean[i]);
	vm_add_memslot(o.vm, INPUT, o.in.hva, INPUT_SIZE, slot_flags);
	return o;
}

static void one_free(struct one *o)
{
	vm_free(o->vm);
	munmap(o->in.hva, INPUT_SIZE);
	if (o->in.view)
		munmap(o->in.view, INPUT_SIZE);
	close(o->in.memfd);
	free(o->clean);
}

/* Interrupts that wait for the VP: how many, and whether @vector is one of them. */
static u32 pending(struct vcpu *v, u32 vector, bool *is)
{
	struct kvm_lapic_state s;
	u32 i, n = 0;

	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	for (i = 0; i < 8; i++)
		n += (u32)__builtin_popcount(*(u32 *)(s.regs + APIC_IRR + 0x10 * i));
	*is = s.regs[APIC_IRR + vector / 32 * 0x10 + vector % 32 / 8] >> vector % 8 & 1;
	return n;
}

/* Exactly the VPs of @targets have exactly VECTOR; nobody has it afterwards. */
static void expect_targets(struct one *o, u32 targets, const char *name)
{
	u32 i, n;
	bool is;

	for (i = 0; i < o->nr_vps && i < 32; i++) {
		n = pending(o->vm->vcpus[i], VECTOR, &is);
		ASSERT(n == (targets >> i & 1) && is == (targets >> i & 1),
		       "%s: vCPU %u has %u interrupts", name, i, n);
		if (n)
			vcpu_ioctl(o->vm->vcpus[i], KVM_SET_LAPIC, &o->clean[i]);
	}
}

static u64 call_at(struct one *o, u64 control, u64 at)
{
	struct guest_op op = vcpu_op(o->vcpu, o->ops, OP_HC(control, at, ~0xfffULL));

	ASSERT_EQ(op.vector, 0);
	ASSERT_EQ(op.exits, 0);
	return op.result;
}

static void write_input(struct one *o, const struct call *c, u64 offset)
{
	u64 fits = INPUT_SIZE - offset;

	/* Whatever is no input must not matter. */
	memset(o->in.view, 0xff, INPUT_SIZE);
	memcpy(o->in.view + offset, c->block, c->qwords * 8 < fits ? c->qwords * 8 : fits);
}

static u64 want(const struct call *c)
{
	return module_loaded() ? c->right : c->stock;
}

/* The status must be as declared, on stock, too; a wrong one there is the row's id. */
static void judge(struct one *o, const struct call *c, u64 got, const char *what)
{
	ASSERT(got == want(c), "%s, %s: status 0x%llx, not 0x%llx", c->name, what,
	       (unsigned long long)got, (unsigned long long)want(c));
	o->wrong += got != c->right;
	o->nr++;
}

/* What the call does, if it succeeded. */
static void expect_effect(struct one *o, const struct call *c, const char *what)
{
	bool done = !(want(c) & 0xffff);
	u64 n;

	expect_targets(o, done ? c->targets : 0, c->name);
	n = eventfd_count(o->conn);
	ASSERT(n == (done ? c->signals : 0), "%s, %s: %llu signals", c->name, what,
	       (unsigned long long)n);
}

static void verdict(struct one *o)
{
	ASSERT(o->nr, "no such call");
	ASSERT_KNOWN(!o->wrong, "%u of %u answers are wrong", o->wrong, o->nr);
	one_free(o);
}

static bool in_group(const struct call *c, const char *id)
{
	return !c->id || !id ? c->id == id : !strcmp(c->id, id);
}

static u64 fast_calls(const struct call *c)
{
	return row_counts((u32)(c->control & 0xffff)).fast_writes;
}

/* --- calls that succeed --------------------------------------------------- */

/* clang-format off */
static const struct call good_calls[] = {
	{ "SEND_IPI", IPI, 2, { VECTOR, TARGETS }, SAME(OK), TARGETS, 0 },
	{ "SEND_IPI to itself", IPI, 2, { VECTOR, 1 }, SAME(OK), 1, 0 },
	{ "SEND_IPI_EX", IPI_EX | VARHDR(1), 4, { VECTOR, SPARSE, 1, 0xa }, SAME(OK), 0xa, 0 },
	{ "SEND_IPI_EX to all", IPI_EX, 3, { VECTOR, ALL, 0 }, SAME(OK), 0xf, 0 },
	{ "FLUSH_SPACE", SPACE, 3, { 0, HV_FLUSH_ALL_SPACES, 0xf }, SAME(OK), 0, 0 },
	{ "FLUSH_SPACE_EX", SPACE_EX | VARHDR(1), 5, { 0, 0, SPARSE, 1, 0xf }, SAME(OK), 0, 0 },
	{ "FLUSH_LIST", LIST | REP(4), 7, { 0, 0, 0xf, 0x1000, 0x2000, 0x3007, 0x9000 },
	  SAME(REPS(4)), 0, 0 },
	{ "FLUSH_LIST_EX", LIST_EX | VARHDR(1) | REP(3), 8, { 0, 0, SPARSE, 1, 0xf, 0x1000,
	  0x2000, 0x3000 }, SAME(REPS(3)), 0, 0 },
	{ "SIGNAL_EVENT", SIGNAL, 1, { CONN }, SAME(OK), 0, 1 },
};
/* clang-format on */

static const u64 good_offsets[] = { 0, 8, 0x7f8 };

enum where { PRESENT, DROPPED, WHERES };

static const char *const where_names[WHERES] = { "present", "dropped" };

static void check_call(struct one *o, const struct call *c, u64 offset, enum where where)
{
	write_input(o, c, offset);
	if (where == PRESENT)
		touch(o);
	else
		drop(o);
	judge(o, c, call_at(o, c->control, INPUT + offset), where_names[where]);
	expect_effect(o, c, where_names[where]);
}

static void check_good_calls(u32 slot_flags)
{
	struct one o = one_vm(NR_VPS, slot_flags);
	u32 i, j, where;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		const struct call *c = &good_calls[i];

		for (where = 0; where < WHERES; where++) {
			for (j = 0; j < ARRAY_SIZE(good_offsets); j++)
				check_call(&o, c, good_offsets[j], where);
			/* Up to the last byte of the page, and not one further. */
			check_call(&o, c, PAGE_SIZE - c->qwords * 8, where);
			check_call(&o, c, INPUT_SIZE - c->qwords * 8, where);
		}
	}
	verdict(&o);
}

TEST(good_calls_succeed)
{
	check_good_calls(0);
}

/* Nothing is written, so that this is memory like any other. */
TEST(good_calls_in_read_only_memory)
{
	check_good_calls(KVM_MEM_READONLY);
}

/* TRIES times the call; how many were answered in the fast path. */
static u64 repeat_call(struct one *o, const struct call *c)
{
	u64 before = fast_calls(c);
	u32 i;

	for (i = 0; i < TRIES; i++)
		o->ops->ops[i] = OP_HC(c->control, INPUT, 0);
	vcpu_ops_run(o->vcpu, o->ops, TRIES);
	for (i = 0; i < TRIES; i++)
		ASSERT(o->ops->ops[i].result == c->right, "%s: status 0x%llx", c->name,
		       (unsigned long long)o->ops->ops[i].result);
	expect_targets(o, c->targets, c->name);
	ASSERT_EQ(eventfd_count(o->conn), TRIES * c->signals);
	return module_loaded() ? fast_calls(c) - before : TRIES;
}

static void present_is_fast(u32 slot_flags)
{
	struct one o = one_vm(NR_VPS, slot_flags);
	u32 i, slow = 0;
	u64 fast;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		write_input(&o, &good_calls[i], 0);
		touch(&o);
		fast = repeat_call(&o, &good_calls[i]);
		if (fast >= TRIES / 2)
			continue;
		ktap_log("%s: %llu of %u fast", good_calls[i].name, (unsigned long long)fast,
			 TRIES);
		slow++;
	}
	ASSERT_EQ(slow, 0);
	one_free(&o);
}

TEST(present_input_is_answered_at_once)
{
	present_is_fast(0);
}

TEST(present_read_only_input_is_answered_at_once)
{
	present_is_fast(KVM_MEM_READONLY);
}

/* The same answer, and from then on the page is there. */
TEST(absent_input_is_answered_later)
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i, slow = 0;
	u64 fast;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		const struct call *c = &good_calls[i];

		fast = fast_calls(c);
		check_call(&o, c, 0, DROPPED);
		ASSERT(fast_calls(c) == fast, "%s: read without a fault", c->name);
		slow += repeat_call(&o, c) < TRIES / 2;
	}
	ASSERT(!slow, "%u calls are slow although the page is there again", slow);
	one_free(&o);
}

/* --- pages that nobody has touched: zeros --------------------------------- */

static const struct call calls_of_zeros[] = {
	{ "SEND_IPI", IPI, 2, { 0 }, SAME(INVALID), 0, 0 },
	{ "SEND_IPI_EX to nobody", IPI_EX, 3, { 0 }, SAME(OK), 0, 0 },
	{ "FLUSH_SPACE", SPACE, 3, { 0 }, SAME(OK), 0, 0 },
	{ "FLUSH_SPACE_EX", SPACE_EX, 4, { 0 }, SAME(OK), 0, 0 },
	{ "FLUSH_LIST", LIST | REP(3), 6, { 0 }, SAME(REPS(3)), 0, 0 },
	{ "FLUSH_LIST_EX", LIST_EX | REP(3), 7, { 0 }, SAME(REPS(3)), 0, 0 },
	{ "SIGNAL_EVENT", SIGNAL, 1, { 0 }, SAME(OK), 0, 1 },
};

/* The connection that a page of zeros names. */
static void connect_zero(struct one *o)
{
	struct kvm_hyperv_eventfd e = { .conn_id = 0, .fd = o->conn };

	ASSERT(!ioctl(o->vm->fd, KVM_HYPERV_EVENTFD, &e), "%s", strerror(errno));
}

static void check_zeros(struct one *o, void (*empty)(struct one *o), const char *what)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(calls_of_zeros); i++) {
		const struct call *c = &calls_of_zeros[i];
		u64 fast = fast_calls(c);

		empty(o);
		judge(o, c, call_at(o, c->control, INPUT + 8 * i), what);
		expect_effect(o, c, what);
		ASSERT(fast_calls(c) == fast, "%s, %s: read without a fault", c->name, what);
	}
}

static void punch_hole(struct one *o)
{
	ASSERT_EQ(fallocate(o->in.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			    (off_t)INPUT_SIZE),
		  0);
}

TEST(hole_of_a_file)
{
	struct one o = one_vm(NR_VPS, 0);

	connect_zero(&o);
	check_zeros(&o, punch_hole, "hole");
	verdict(&o);
}

/* The slot's memory is replaced by @hva. */
static void replace_memory(struct one *o, void *hva, u32 flags)
{
	u32 slot = o->vm->nr_slots - 1;

	set_memslot(o->vm, slot, o->in.hva, 0, 0);
	if (hva)
		set_memslot(o->vm, slot, hva, INPUT_SIZE, flags);
}

static void fresh_memory(struct one *o)
{
	void *fresh = map(-1, PROT_READ | PROT_WRITE);

	replace_memory(o, fresh, 0);
	munmap(o->in.hva, INPUT_SIZE);
	o->in.hva = fresh;
}

TEST(memory_that_nobody_has_touched)
{
	struct one o = one_vm(NR_VPS, 0);

	connect_zero(&o);
	check_zeros(&o, fresh_memory, "fresh");
	check_zeros(&o, drop, "dropped");
	verdict(&o);
}

static void fresh_read_only_memory(struct one *o)
{
	void *fresh = map(-1, PROT_READ);

	replace_memory(o, fresh, KVM_MEM_READONLY);
	munmap(o->in.hva, INPUT_SIZE);
	o->in.hva = fresh;
}

TEST(read_only_memory_that_nobody_has_touched)
{
	struct one o = one_vm(NR_VPS, 0);

	connect_zero(&o);
	check_zeros(&o, fresh_read_only_memory, "fresh and read-only");
	verdict(&o);
}

/* --- no memory at all ----------------------------------------------------- */

/* SignalEvent has a status of its own on stock. */
static void check_unreadable(struct one *o, u64 at, bool signal, const char *what)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		struct call c = good_calls[i];
		bool is_signal = c.control == SIGNAL;

		if (is_signal != signal)
			continue;
		c.right = INVALID;
		c.stock = is_signal ? ALIGN : INVALID;
		judge(o, &c, call_at(o, c.control, at), what);
		expect_effect(o, &c, what);
	}
}

static void check_nowhere(bool signal)
{
	static const u64 nowhere[] = {
		INPUT - PAGE_SIZE,
		INPUT + INPUT_SIZE,
		GPA_NOWHERE,
		BIT64(40),
		0x000ffffffffff000ULL,
		0xfffffffffffff000ULL,
		0xffffffffffffff00ULL,
		0x7ffffffffffffff8ULL,
		/* Addresses of 32 bits that mean the input. */
		INPUT | BIT64(32),
		INPUT | BIT64(63),
	};
	struct one o = one_vm(NR_VPS, 0);
	u32 i;

	write_input(&o, &good_calls[0], 0);
	touch(&o);
	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		/* The last qword of all address space holds SignalEvent's input only. */
		if (!signal && (nowhere[i] & 0xfff) == 0xff8)
			continue;
		check_unreadable(&o, nowhere[i], signal, "nowhere");
	}
	verdict(&o);
}

TEST(input_nowhere)
{
	check_nowhere(false);
}

TEST_KNOWN(input_nowhere_of_signal_event, "K3")
{
	check_nowhere(true);
}

/* A memslot whose memory user space has taken away in one way or the other. */
static void check_taken_away(bool signal)
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++)
		if (good_calls[i].control != SIGNAL)
			check_call(&o, &good_calls[i], 0, PRESENT);
	ASSERT_EQ(mprotect(o.in.hva, INPUT_SIZE, PROT_NONE), 0);
	check_unreadable(&o, INPUT, signal, "no access");
	ASSERT_EQ(mprotect(o.in.hva, INPUT_SIZE, PROT_READ), 0);
	check_call(&o, &good_calls[0], 0, PRESENT);

	ASSERT_EQ(ftruncate(o.in.memfd, 0), 0);
	check_unreadable(&o, INPUT, signal, "behind the end of the file");
	ASSERT_EQ(ftruncate(o.in.memfd, (off_t)INPUT_SIZE), 0);
	check_call(&o, &good_calls[0], 0, PRESENT);

	munmap(o.in.hva, INPUT_SIZE);
	check_unreadable(&o, INPUT, signal, "unmapped");
	ASSERT(mmap(o.in.hva, INPUT_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, o.in.memfd, 0) ==
		       o.in.hva,
	       "mmap");
	check_call(&o, &good_calls[0], 0, DROPPED);

	replace_memory(&o, NULL, 0);
	check_unreadable(&o, INPUT, signal, "without a memslot");
	set_memslot(o.vm, o.vm->nr_slots - 1, o.in.hva, INPUT_SIZE, 0);
	check_call(&o, &good_calls[0], 0, PRESENT);
	verdict(&o);
}

TEST(memory_taken_away)
{
	check_taken_away(false);
}

TEST_KNOWN(memory_taken_away_of_signal_event, "K3")
{
	check_taken_away(true);
}

/* --- addresses ------------------------------------------------------------ */

/* Stock looks at the alignment of one call only, and reads what crosses a page. */
TEST_KNOWN(misaligned_input, "K3")
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i, offset, where;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		struct call c = good_calls[i];

		c.right = ALIGN;
		c.stock = c.control == SIGNAL ? ALIGN : good_calls[i].stock;
		for (offset = 1; offset < 8; offset++)
			for (where = 0; where < WHERES; where++)
				check_call(&o, &c, offset, where);
	}
	verdict(&o);
}

TEST_KNOWN(input_across_a_page, "K3")
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i, where;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		struct call c = good_calls[i];

		if (c.qwords == 1)
			continue;
		c.right = ALIGN;
		for (where = 0; where < WHERES; where++) {
			check_call(&o, &c, PAGE_SIZE - 8, where);
			check_call(&o, &c, PAGE_SIZE - (c.qwords - 1) * 8, where);
		}
	}
	verdict(&o);
}

/* The page behind is nobody's. */
TEST_KNOWN(input_across_the_end_of_memory, "K3")
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i, where;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		struct call c = good_calls[i];

		if (c.qwords == 1)
			continue;
		c.right = ALIGN;
		/* Stock 6.1 flushes everything, and does not read the list. */
		if (!(host_is_6_1() && c.control & REP(0xfff)))
			c.stock = INVALID;
		for (where = 0; where < WHERES; where++)
			check_call(&o, &c, INPUT_SIZE - (c.qwords - 1) * 8, where);
	}
	verdict(&o);
}

/* --- malformed calls, whether their input is there or not ----------------- */

#define VTL(n)	   ((u64)(n) << 32)
#define PADDING(n) ((u64)(n) << 40)

/* clang-format off */
static const struct call malformed[] = {
	/* Whom */
	{ "no such bank", IPI_EX | VARHDR(1), 4, { VECTOR, SPARSE, BIT64(63), ~0ULL }, SAME(OK),
	  0, 0 },
	{ "no such banks", IPI_EX | VARHDR(3), 6, { VECTOR, SPARSE, BIT64(0) | BIT64(17) |
	  BIT64(63), 4, ~0ULL, ~0ULL }, SAME(OK), 4, 0 },
	{ "no such bank to flush", SPACE_EX | VARHDR(1), 5, { 0, 0, SPARSE, BIT64(63), ~0ULL },
	  SAME(OK), 0, 0 },
	{ "VPs that do not exist", IPI, 2, { VECTOR, ~TARGETS & ~1ULL }, SAME(OK), 0, 0 },
	{ "too few banks", IPI_EX, 3, { VECTOR, SPARSE, 1 }, SAME(INVALID), 0, 0 },
	{ "too many banks", IPI_EX | VARHDR(2), 5, { VECTOR, SPARSE, 1, 0xf, 0xf }, SAME(INVALID),
	  0, 0 },
	{ "all, too few banks", IPI_EX, 3, { VECTOR, ALL, 1 }, SAME(INVALID), 0, 0 },
	{ "all, too many banks", IPI_EX | VARHDR(1), 4, { VECTOR, ALL, 0, 0xf }, SAME(INVALID), 0,
	  0 },
	{ "banks of a page", IPI_EX | VARHDR(0x1ff), 4, { VECTOR, SPARSE, 1, 1 }, SAME(INVALID),
	  0, 0 },
	{ "most banks", IPI_EX | VARHDR(0x3ff), 4, { VECTOR, SPARSE, 1, 1 }, SAME(INVALID), 0, 0 },
	{ "most banks to flush", SPACE_EX | VARHDR(0x3ff), 5, { 0, 0, SPARSE, 1, 1 },
	  SAME(INVALID), 0, 0 },
	{ "most banks of a list", LIST_EX | VARHDR(0x3ff) | REP(1), 6, { 0, 0, SPARSE, 1, 1,
	  0x1000 }, SAME(INVALID), 0, 0 },
	{ "format 2", IPI_EX | VARHDR(1), 4, { VECTOR, 2, 1, 0xe }, DIFF("K15", PARAM, OK), 0xe,
	  0 },
	{ "format 2 to flush", SPACE_EX, 4, { 0, 0, 2, 0 }, DIFF("K15", PARAM, OK), 0, 0 },
	/* A header that the call has not. */
	{ "header of an IPI", IPI | VARHDR(1), 2, { VECTOR, 1 }, SAME(INVALID), 0, 0 },
	{ "header of a flush", SPACE | VARHDR(1), 3, { 0, 0, 1 }, SAME(INVALID), 0, 0 },
	{ "header of a list", LIST | VARHDR(1) | REP(1), 4, { 0, 0, 1, 0x1000 }, SAME(INVALID), 0,
	  0 },
	{ "header of a signal", SIGNAL | VARHDR(1), 1, { CONN }, SAME(INVALID), 0, 0 },
	/* Repetitions */
	{ "count of an IPI", IPI | REP(1), 2, { VECTOR, 1 }, SAME(INVALID), 0, 0 },
	{ "start of an IPI", IPI | START(1), 2, { VECTOR, 1 }, SAME(INVALID), 0, 0 },
	{ "count of an IPI_EX", IPI_EX | REP(1), 3, { VECTOR, ALL, 0 }, SAME(INVALID), 0, 0 },
	{ "count of a flush", SPACE | REP(2), 3, { 0, 0, 1 }, SAME(INVALID), 0, 0 },
	{ "count of a signal", SIGNAL | REP(1), 1, { CONN }, SAME(INVALID), 0, 0 },
	{ "start of a signal", SIGNAL | START(1), 1, { CONN }, SAME(INVALID), 0, 0 },
	{ "no count", LIST, 4, { 0, 0, 1, 0x1000 }, SAME(INVALID), 0, 0 },
	{ "no count, Ex", LIST_EX | VARHDR(1), 6, { 0, 0, SPARSE, 1, 1, 0x1000 }, SAME(INVALID),
	  0, 0 },
	{ "start at the end", LIST | REP(2) | START(2), 5, { 0, 0, 1, 0x1000, 0x2000 },
	  SAME(INVALID), 0, 0 },
	{ "start behind the end", LIST | REP(2) | START(0xfff), 5, { 0, 0, 1, 0x1000, 0x2000 },
	  SAME(INVALID), 0, 0 },
	{ "start inside", LIST | REP(2) | START(1), 5, { 0, 0, 1, 0x1000, 0x2000 }, DIFF("K3",
	  REPS(2), INVALID), 0, 0 },
	{ "start inside, Ex", LIST_EX | VARHDR(1) | REP(2) | START(1), 7, { 0, 0, SPARSE, 1, 1,
	  0x1000, 0x2000 }, DIFF("K3", REPS(2), INVALID), 0, 0 },
	{ "longer than the page", LIST | REP(510), 3, { 0, 0, 1 }, DIFF("K3", ALIGN, REPS(510)),
	  0, 0 },
	/* Reserved fields */
	{ "flag 4", SPACE, 3, { 0, BIT64(4), 1 }, DIFF("K3", PARAM, OK), 0, 0 },
	{ "flag 63 of a list", LIST | REP(1), 4, { 0, BIT64(63), 1, 0x1000 }, DIFF("K3", PARAM,
	  REPS(1)), 0, 0 },
	{ "TargetVtl", IPI, 2, { VECTOR | VTL(1), TARGETS }, DIFF("K14", INVALID, OK), TARGETS, 0 },
	{ "padding", IPI, 2, { VECTOR | PADDING(1), TARGETS }, DIFF("K14", INVALID, OK), TARGETS,
	  0 },
	{ "last padding", IPI, 2, { VECTOR | BIT64(63), TARGETS }, DIFF("K14", INVALID, OK),
	  TARGETS, 0 },
	{ "TargetVtl, Ex", IPI_EX | VARHDR(1), 4, { VECTOR | VTL(1), SPARSE, 1, 0xf }, DIFF("K14",
	  INVALID, OK), 0xf, 0 },
	{ "vector 0", IPI, 2, { 0, TARGETS }, SAME(INVALID), 0, 0 },
	{ "vector 15", IPI, 2, { 15, TARGETS }, DIFF("K14", PARAM, INVALID), 0, 0 },
	{ "vector 256", IPI, 2, { 256, TARGETS }, DIFF("K14", PARAM, INVALID), 0, 0 },
	{ "vector 256, Ex", IPI_EX, 3, { 256, ALL, 0 }, DIFF("K14", PARAM, INVALID), 0, 0 },
	{ "connection above 24 bits", SIGNAL, 1, { CONN | BIT64(24) }, SAME(INVALID), 0, 0 },
	{ "flags above 16 bits", SIGNAL, 1, { CONN | BIT64(48) }, SAME(INVALID), 0, 0 },
	{ "last bit", SIGNAL, 1, { CONN | BIT64(63) }, SAME(INVALID), 0, 0 },
};
/* clang-format on */

static void check_malformed(const char *id)
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i, where;

	for (i = 0; i < ARRAY_SIZE(malformed); i++)
		for (where = 0; where < WHERES && in_group(&malformed[i], id); where++)
			check_call(&o, &malformed[i], 0, where);
	verdict(&o);
}

TEST(malformed_calls)
{
	check_malformed(NULL);
}

TEST_KNOWN(malformed_calls_k3, "K3")
{
	check_malformed("K3");
}

TEST_KNOWN(malformed_calls_k14, "K14")
{
	check_malformed("K14");
}

TEST_KNOWN(malformed_calls_k15, "K15")
{
	check_malformed("K15");
}

/* Bits 27 to 31, 44 to 47 and 60 to 63, whatever the call. */
TEST(reserved_bits_of_the_control_word)
{
	static const u32 bits[] = { 27, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63 };
	struct one o = one_vm(NR_VPS, 0);
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		for (j = 0; j < ARRAY_SIZE(bits); j++) {
			struct call c = good_calls[i];

			c.control |= BIT64(bits[j]);
			c.right = INVALID;
			c.stock = INVALID;
			check_call(&o, &c, 0, j % WHERES);
		}
	}
	verdict(&o);
}

/* The input is read: a dirty log that shows it would cost migration a page each time. */
TEST(input_is_not_dirtied)
{
	u64 bits[1];
	struct kvm_dirty_log log = { .dirty_bitmap = bits };
	struct one o = one_vm(NR_VPS, KVM_MEM_LOG_DIRTY_PAGES);
	u32 i, where;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++)
		for (where = 0; where < WHERES; where++)
			check_call(&o, &good_calls[i], 0, where);
	log.slot = o.vm->nr_slots - 1;
	bits[0] = ~0ULL;
	ASSERT(!ioctl(o.vm->fd, KVM_GET_DIRTY_LOG, &log), "KVM_GET_DIRTY_LOG: %s", strerror(errno));
	ASSERT_EQ(bits[0], 0);
	verdict(&o);
}

/* --- 32-bit code --------------------------------------------------------------- */

void guest_mode32_vmcall(void);
void guest_mode32_vmmcall(void);

/* What these load and leave, at EBP: EDX:EAX the control word, EBX:ECX the input. */
struct regs32 {
	u32 eax, ebx, ecx, edx, esi, edi;
};

GUEST_CODE(has_run)
{
}

static struct regs32 call32(struct vcpu *v, struct regs32 *block, u64 control, u64 at)
{
	void (*code)(void) = guest_use_vmmcall ? guest_mode32_vmmcall : guest_mode32_vmcall;

	*block = (struct regs32){ .eax = (u32)control,
				  .edx = (u32)(control >> 32),
				  .ebx = (u32)(at >> 32),
				  .ecx = (u32)at };
	vcpu_enter_compatibility_mode(v, (u64)(uintptr_t)code, (u64)(uintptr_t)block);
	vcpu_run_done(v);
	return *block;
}

TEST(compatibility_mode)
{
	struct one o = one_vm(NR_VPS, 0);
	struct regs32 *block = vm_alloc(o.vm, sizeof(*block)), r;
	u32 i, where, slow = 0;

	vcpu_entry(o.vcpu, has_run);
	vcpu_run_done(o.vcpu);
	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		const struct call *c = &good_calls[i];

		for (where = 0; where < WHERES; where++) {
			u64 fast = fast_calls(c);

			write_input(&o, c, 0);
			if (where == PRESENT)
				touch(&o);
			else
				drop(&o);
			r = call32(o.vcpu, block, c->control, INPUT);
			judge(&o, c, (u64)r.edx << 32 | r.eax, where_names[where]);
			expect_effect(&o, c, where_names[where]);
			slow += where == PRESENT && module_loaded() && fast_calls(c) == fast;
		}
	}
	/* The high half counts. */
	r = call32(o.vcpu, block, IPI, INPUT | BIT64(32));
	ASSERT_EQ(r.eax, INVALID);
	ASSERT(slow < o.nr / 4, "%u of %u calls were slow", slow, o.nr / 2);
	verdict(&o);
}

/* --- more than 64 VPs ----------------------------------------------------- */

#define MANY_VPS 130

/* As many vCPUs as the mask of bits says, in 64-bit words; all by number. */
static void expect_set(struct one *o, const u64 set[3], u32 vector, const char *name)
{
	u32 i, n, yes;
	bool is;

	for (i = 0; i < o->nr_vps; i++) {
		yes = set[i / 64] >> i % 64 & 1;
		n = pending(o->vm->vcpus[i], vector, &is);
		ASSERT(n == yes && is == yes, "%s: vCPU %u has %u interrupts", name, i, n);
		if (n)
			vcpu_ioctl(o->vm->vcpus[i], KVM_SET_LAPIC, &o->clean[i]);
	}
}

static const struct many {
	const char *name;
	u64 format, banks, content[3];
	u64 set[3]; /* who gets it */
} many[] = {
	{ "bank 0", SPARSE, 1, { 0x8000000000000005ULL }, { 0x8000000000000005ULL } },
	{ "bank 1", SPARSE, 2, { 0x5a5a }, { 0, 0x5a5a } },
	{ "bank 2", SPARSE, 4, { 3 }, { 0, 0, 3 } },
	{ "bank 2 beyond the last VP", SPARSE, 4, { ~1ULL }, { 0, 0, 2 } },
	{ "banks 0 and 1", SPARSE, 3, { 2, BIT64(63) }, { 2, BIT64(63) } },
	{ "banks 0 and 2", SPARSE, 5, { 4, 1 }, { 4, 0, 1 } },
	{ "three banks", SPARSE, 7, { ~0ULL, 0x10, 2 }, { ~0ULL, 0x10, 2 } },
	{ "three full banks", SPARSE, 7, { ~0ULL, ~0ULL, ~0ULL }, { ~0ULL, ~0ULL, 3 } },
	{ "an empty bank", SPARSE, 7, { 1, 0, 1 }, { 1, 0, 1 } },
	{ "banks 1 and 63", SPARSE, 2 | BIT64(63), { 6, ~0ULL }, { 0, 6 } },
	{ "all", ALL, 0, { 0 }, { ~0ULL, ~0ULL, 3 } },
};

static struct call many_call(const struct many *m, bool ipi)
{
	struct call c = { .name = m->name, .control = ipi ? IPI_EX : SPACE_EX };
	u32 n = 0, i, banks = (u32)__builtin_popcountll(m->banks);

	if (ipi) {
		c.block[n++] = VECTOR;
	} else {
		c.block[n++] = 0;
		c.block[n++] = 0;
	}
	c.block[n++] = m->format;
	c.block[n++] = m->banks;
	for (i = 0; i < banks; i++)
		c.block[n++] = m->content[i];
	c.control |= VARHDR(banks);
	c.qwords = n;
	return c;
}

TEST(more_than_64_vps)
{
	struct one o = one_vm(MANY_VPS, 0);
	u32 i, where;

	ktap_timeout(60);
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		for (where = 0; where < WHERES; where++) {
			struct call c = many_call(&many[i], true);

			write_input(&o, &c, 0);
			if (where == PRESENT)
				touch(&o);
			else
				drop(&o);
			ASSERT_EQ(call_at(&o, c.control, INPUT), OK);
			expect_set(&o, many[i].set, VECTOR, many[i].name);
			c = many_call(&many[i], false);
			write_input(&o, &c, 0);
			ASSERT_EQ(call_at(&o, c.control, INPUT), OK);
		}
	}
	one_free(&o);
}

/* The whole page: all 64 banks, of which three have VPs; too many to walk with interrupts off. */
TEST(sixty_four_banks)
{
	static const u64 set[] = { 0x10, 0x20, 1 };
	struct call c = { .control = IPI_EX };
	struct one o = one_vm(MANY_VPS, 0);
	u64 *block = (u64 *)o.in.view;
	u64 fast = fast_calls(&c);
	u32 i, where;

	for (where = 0; where < WHERES; where++) {
		block[0] = VECTOR;
		block[1] = SPARSE;
		block[2] = ~0ULL;
		for (i = 0; i < 64; i++)
			block[3 + i] = i < 3 ? set[i] : ~0ULL;
		if (where == PRESENT)
			touch(&o);
		else
			drop(&o);
		ASSERT_EQ(call_at(&o, IPI_EX | VARHDR(64), INPUT), OK);
		expect_set(&o, set, VECTOR, where_names[where]);
	}
	ASSERT_EQ(fast_calls(&c), fast);
	one_free(&o);
}

/* Windows and Linux send these for each IPI and each flush once there are more than 64 VPs. */
TEST(more_than_64_vps_at_once)
{
	struct one o = one_vm(MANY_VPS, 0);
	u32 i, j, ipi, slow = 0;
	u64 fast;

	for (i = 0; i < ARRAY_SIZE(many); i++) {
		for (ipi = 0; ipi < 2; ipi++) {
			struct call c = many_call(&many[i], ipi);

			write_input(&o, &c, 0);
			touch(&o);
			fast = fast_calls(&c);
			for (j = 0; j < TRIES; j++)
				ASSERT_EQ(call_at(&o, c.control, INPUT), OK);
			if (ipi)
				expect_set(&o, many[i].set, VECTOR, many[i].name);
			fast = fast_calls(&c) - fast;
			if (!module_loaded() || fast >= TRIES / 2)
				continue;
			ktap_log("%s, %s: %llu of %u fast", many[i].name, ipi ? "IPI" : "flush",
				 (unsigned long long)fast, TRIES);
			slow++;
		}
	}
	ASSERT_EQ(slow, 0);
	one_free(&o);
}

/* --- input that changes while it is read ---------------------------------- */

#define RACE_CALLS 4000
#define RACE_VPS   66

static volatile bool stop, flipping;
static volatile u32 race_ok, race_refused;
static u32 race_most;
static u64 flip[2], flip_at, race_control, race_right, race_wrong[2];

static void pause_for(u32 n)
{
	while (n--)
		cpu_relax();
}

/*
 * Only one byte differs, so that every read, in whatever pieces, has one value or the other. The
 * loop has no period that an emulator's turns could have as well.
 */
GUEST_CODE(flips)
{
	volatile u64 *p = (volatile u64 *)(uintptr_t)flip_at;
	u32 n = 0;

	while (!stop) {
		*p = flip[1];
		pause_for(1 + n % 5);
		*p = flip[0];
		pause_for(1 + n++ % 7);
		flipping = true;
	}
}

/* Some more where the other one has not been seen at work. */
static bool race_is_over(void)
{
	u32 n = race_ok + race_refused;

	return n >= RACE_CALLS && ((race_ok && race_refused) || n >= race_most);
}

GUEST_CODE(calls)
{
	u64 result;

	while (!flipping)
		cpu_relax();
	while (!race_is_over()) {
		cpu_relax();
		result = hypercall(race_control, INPUT, 0);
		if (result == race_right) {
			race_ok++;
			continue;
		}
		if (result != race_wrong[0])
			GUEST_ASSERT_EQ(result, race_wrong[1]);
		race_refused++;
	}
	stop = true;
}

static void start_pinned(struct vcpu *v, void (*entry)(void))
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(v->id % (u32)sysconf(_SC_NPROCESSORS_ONLN), &set);
	vcpu_entry(v, entry);
	vcpu_start(v);
	ASSERT_EQ(pthread_setaffinity_np(v->worker, sizeof(set), &set), 0);
}

/* Word @n of @c's block is @other every now and then, for which @wrong or @stock is the answer. */
static void race(struct one *o, const struct call *c, u32 n, u64 other, u64 wrong, u64 stock)
{
	bool judged;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		ktap_skip("input that changes while it is read needs two CPUs");
	write_input(o, c, 0);
	flip_at = INPUT + 8 * n;
	flip[0] = c->block[n];
	flip[1] = other;
	race_control = c->control;
	race_right = c->right;
	race_wrong[0] = wrong;
	race_wrong[1] = module_loaded() ? wrong : stock;
	judged = race_wrong[1] != c->right;
	race_most = judged ? 20 * RACE_CALLS : RACE_CALLS;
	stop = false;
	flipping = false;
	race_ok = 0;
	race_refused = 0;
	start_pinned(o->vm->vcpus[1], flips);
	start_pinned(o->vm->vcpus[0], calls);
	vcpu_join(o->vm->vcpus[0]);
	vcpu_join(o->vm->vcpus[1]);
	ktap_log("%s: %u of %u succeeded", c->name, race_ok, race_ok + race_refused);
	ASSERT(!judged || (race_ok && race_refused), "%s: the input never changed", c->name);
}

/* What was delivered is what was checked. */
static void expect_only(struct one *o, u32 from, u32 to, const char *name)
{
	u32 i, n;
	bool is;

	for (i = 0; i < o->nr_vps; i++) {
		n = pending(o->vm->vcpus[i], VECTOR, &is);
		ASSERT(n == is && (!n || (i >= from && i < to)), "%s: vCPU %u has %u interrupts",
		       name, i, n);
		vcpu_ioctl(o->vm->vcpus[i], KVM_SET_LAPIC, &o->clean[i]);
	}
}

TEST(vector_changes_while_it_is_read)
{
	static const struct call c = { "vector", IPI, 2, { VECTOR, 0xc }, SAME(OK), 0, 0 };
	struct one o = one_vm(NR_VPS, 0);

	race(&o, &c, 0, 5, PARAM, INVALID);
	expect_only(&o, 2, 4, c.name);
	one_free(&o);
}

TEST(banks_change_while_they_are_read)
{
	/* clang-format off */
	static const struct call calls_of_banks[] = {
		{ "banks", IPI_EX | VARHDR(1), 5, { VECTOR, SPARSE, 1, 0xc, ~0ULL }, SAME(OK), 0,
		  0 },
		{ "banks to flush", SPACE_EX | VARHDR(1), 6, { 0, 0, SPARSE, 1, 1, ~0ULL },
		  SAME(OK), 0, 0 },
		{ "banks of a list", LIST_EX | VARHDR(1) | REP(1), 6, { 0, 0, SPARSE, 1, 1, 0x1000
		  }, SAME(REPS(1)), 0, 0 },
	};
	/* clang-format on */
	struct one o = one_vm(RACE_VPS, 0);

	ktap_timeout(60);
	/* Two banks, for a header of one: the word behind it would name VPs 64 and 65. */
	race(&o, &calls_of_banks[0], 2, 3, INVALID, INVALID);
	expect_only(&o, 2, 4, calls_of_banks[0].name);
	race(&o, &calls_of_banks[1], 3, 3, INVALID, INVALID);
	race(&o, &calls_of_banks[2], 3, 3, INVALID, INVALID);
	one_free(&o);
}

TEST(format_changes_while_it_is_read)
{
	static const struct call c = {
		"format", IPI_EX | VARHDR(1), 4, { VECTOR, SPARSE, 1, 0xc }, SAME(OK), 0, 0,
	};
	struct one o = one_vm(NR_VPS, 0);

	race(&o, &c, 1, ALL, OK, OK);
	expect_only(&o, 0, NR_VPS, c.name);
	one_free(&o);
}

TEST(flags_change_while_they_are_read)
{
	static const struct call c = {
		"flags", LIST | REP(2), 5, { 0, 0, 1, 0x1000, 0x2000 }, SAME(REPS(2)), 0, 0,
	};
	struct one o = one_vm(NR_VPS, 0);

	race(&o, &c, 1, BIT64(4), PARAM, REPS(2));
	one_free(&o);
}

/* Every success is one signal, of one of the two. */
TEST(connection_changes_while_it_is_read)
{
	static const struct call c = { "connection", SIGNAL, 1, { CONN }, SAME(OK), 0, 0 };
	struct kvm_hyperv_eventfd e = { .conn_id = OTHER_CONN };
	struct one o = one_vm(NR_VPS, 0);
	int other = eventfd_new();
	u64 n;

	e.fd = other;
	ASSERT(!ioctl(o.vm->fd, KVM_HYPERV_EVENTFD, &e), "%s", strerror(errno));
	race(&o, &c, 0, OTHER_CONN, OK, OK);
	n = eventfd_count(other);
	ktap_log("%llu signals to the other", (unsigned long long)n);
	ASSERT_EQ(eventfd_count(o.conn) + n, race_ok);
	race(&o, &c, 0, CONN | BIT64(27), INVALID, INVALID);
	ASSERT_EQ(eventfd_count(o.conn), race_ok);
	one_free(&o);
}

/* --- memory that comes and goes under the calls --------------------------- */

GUEST_CODE(signals)
{
	u64 result;

	while (!stop) {
		result = hypercall(SIGNAL, INPUT, 0);
		if (result == OK)
			race_ok++;
		else if (result != race_wrong[0])
			GUEST_ASSERT_EQ(result, race_wrong[1]);
		else
			race_refused++;
	}
}

static void start_signals(struct one *o, u64 wrong, u64 stock)
{
	race_wrong[0] = module_loaded() ? wrong : stock;
	race_wrong[1] = race_wrong[0];
	vcpu_entry(o->vcpu, signals);
	vcpu_start(o->vcpu);
}

static void stop_signals(struct one *o)
{
	stop = true;
	vcpu_join(o->vcpu);
}

#define NR_DROPS 2000

/* Dropped again and again: no call fails, and none is lost. */
TEST(input_dropped_under_calls)
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i, seen;

	write_input(&o, &good_calls[ARRAY_SIZE(good_calls) - 1], 0);
	start_signals(&o, OK, OK);
	for (i = 0; i < NR_DROPS; i++) {
		seen = race_ok;
		drop(&o);
		/* Every now and then, one call with the page there. */
		while (i % 16 == 0 && race_ok < seen + 2)
			sched_yield();
	}
	stop_signals(&o);
	ktap_log("%u calls", race_ok);
	ASSERT_EQ(race_refused, 0);
	ASSERT_EQ(eventfd_count(o.conn), race_ok);
	one_free(&o);
}

#define NR_MOVES 200

/* Once KVM has taken the new memory, no call reads the old. */
TEST(memslot_replaced_under_calls)
{
	struct one o = one_vm(NR_VPS, 0);
	u64 *page[2] = { (u64 *)o.in.hva, map(-1, PROT_READ | PROT_WRITE) };
	struct kvm_hyperv_eventfd e = { .conn_id = OTHER_CONN };
	u32 i, old, slot = o.vm->nr_slots - 1;
	int fd[2] = { o.conn, eventfd_new() };
	u64 total = 0, n;

	ktap_timeout(60);
	e.fd = fd[1];
	ASSERT(!ioctl(o.vm->fd, KVM_HYPERV_EVENTFD, &e), "%s", strerror(errno));
	page[0][0] = CONN;
	page[1][0] = OTHER_CONN;
	start_signals(&o, INVALID, ALIGN);
	for (i = 0; i < NR_MOVES; i++) {
		old = i & 1;
		set_memslot(o.vm, slot, page[old], 0, 0);
		if (i % 4 == 0) /* nowhere, until it is seen */
			for (n = race_refused; race_refused == n;)
				sched_yield();
		set_memslot(o.vm, slot, page[!old], INPUT_SIZE, 0);
		total += eventfd_count(fd[old]);
		for (n = 0; !n; total += n) {
			n = eventfd_count(fd[!old]);
			sched_yield();
		}
		n = eventfd_count(fd[old]);
		ASSERT(!n, "%llu calls read the memory of a memslot that is gone",
		       (unsigned long long)n);
	}
	stop_signals(&o);
	total += eventfd_count(fd[0]) + eventfd_count(fd[1]);
	ktap_log("%u calls succeeded, %u found no memory", race_ok, race_refused);
	ASSERT_EQ(total, race_ok);
	one_free(&o);
}

/* --- a pager of user space's ---------------------------------------------- */

struct pager {
	int uffd;
	pthread_t thread;
	void *hva;
	u64 *content; /* of the first page */
	u32 faults;
};

static void *pager_run(void *arg)
{
	struct pager *p = arg;
	struct pollfd fd = { .fd = p->uffd, .events = POLLIN };
	struct uffdio_copy copy = { .len = PAGE_SIZE };
	struct uffd_msg msg;

	ASSERT(poll(&fd, 1, -1) == 1, "poll: %s", strerror(errno));
	ASSERT_EQ(read(p->uffd, &msg, sizeof(msg)), sizeof(msg));
	ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	ASSERT_EQ(msg.arg.pagefault.address & ~(PAGE_SIZE - 1), (u64)(uintptr_t)p->hva);
	p->faults++;
	copy.dst = (u64)(uintptr_t)p->hva;
	copy.src = (u64)(uintptr_t)p->content;
	ASSERT(!ioctl(p->uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY: %s", strerror(errno));
	return NULL;
}

static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		ktap_skip("no userfaultfd: %s", strerror(errno));
	ASSERT(!ioctl(fd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	return fd;
}

/* The call waits for the page, then has its answer, and nobody asks for the page again. */
TEST(input_that_a_pager_provides)
{
	static u64 content[PAGE_SIZE / 8] __attribute__((aligned(4096)));
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct pager pager = { .uffd = uffd_open(), .content = content };
	struct one o = one_vm(NR_VPS, 0);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		const struct call *c = &good_calls[i];
		u64 fast = fast_calls(c);

		fresh_memory(&o);
		memcpy(content, c->block, sizeof(c->block));
		reg.range.start = (u64)(uintptr_t)o.in.hva;
		reg.range.len = PAGE_SIZE;
		ASSERT(!ioctl(pager.uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s",
		       strerror(errno));
		pager.hva = o.in.hva;
		ASSERT_EQ(pthread_create(&pager.thread, NULL, pager_run, &pager), 0);
		judge(&o, c, call_at(&o, c->control, INPUT), "paged");
		expect_effect(&o, c, "paged");
		ASSERT_EQ(pthread_join(pager.thread, NULL), 0);
		ASSERT_EQ(pager.faults, i + 1);
		ASSERT(fast_calls(c) == fast, "%s: read without a fault", c->name);
		/* Now it is there. */
		judge(&o, c, call_at(&o, c->control, INPUT), "paged before");
		expect_effect(&o, c, "paged before");
	}
	close(pager.uffd);
	verdict(&o);
}
