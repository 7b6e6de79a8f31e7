// SPDX-License-Identifier: GPL-2.0-only
/*
 * Input of hypercalls that changes while it is read, and memory that comes and goes under the
 * calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "irqfd.h"
#include "memory_call.h"

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
 * The values differ in one byte only, so that any read sees one value or the other. The loop has no
 * fixed period, which the emulator's scheduling might have, too.
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

/* Make more calls while the other value has not been seen. */
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

/* The vector that is delivered is the one that was checked. */
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
	/* Two banks, with a header for one: the word behind it would name VPs 64 and 65. */
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
		judge_status(&o, c, call_at(&o, c->control, INPUT), "paged");
		expect_effect(&o, c, "paged");
		ASSERT_EQ(pthread_join(pager.thread, NULL), 0);
		ASSERT_EQ(pager.faults, i + 1);
		ASSERT(fast_calls(c) == fast, "%s: read without a fault", c->name);
		/* Now it is there. */
		judge_status(&o, c, call_at(&o, c->control, INPUT), "paged before");
		expect_effect(&o, c, "paged before");
	}
	close(pager.uffd);
	verdict(&o);
}
