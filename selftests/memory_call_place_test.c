// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the input of a hypercall is: touched, dropped, never there at all, read-only, and at
 * which address. With the module, input that is present is read in the exit fast path, and input
 * that is not is left to the slow path: the counts in debugfs tell.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "irqfd.h"
#include "memory_call.h"

/* --- calls that succeed --------------------------------------------------- */

static const u64 good_offsets[] = { 0, 8, 0x7f8 };

static void check_good_calls(u32 slot_flags)
{
	struct one o = one_vm(NR_VPS, slot_flags);
	u32 i, j, where;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		const struct call *c = &good_calls[i];

		for (where = 0; where < WHERES; where++) {
			for (j = 0; j < ARRAY_SIZE(good_offsets); j++)
				check_call(&o, c, good_offsets[j], where);
			/* The input ends at the last byte of the page. */
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

/* Input is only read, so read-only memory is as good as any. */
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

/* The answer is the same, and afterwards the page is present. */
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
		judge_status(o, c, call_at(o, c->control, INPUT + 8 * i), what);
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
		judge_status(o, &c, call_at(o, c.control, at), what);
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

/* User space unmaps the memory of the memslot, or removes the memslot. */
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

/* There is no memory behind the page. */
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
