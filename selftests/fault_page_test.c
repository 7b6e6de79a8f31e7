// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that is not there when the host accesses it on the guest's behalf: each register
 * with a page, each call with input or output, and a timer's message. User space pages the memory
 * in, sooner or later, while signals arrive; or the process is killed while its VPs wait; or the
 * memory is gone, which must be the same fault each time and change nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "irqfd.h"
#include "module.h"
#include "random.h"

#define NR_SIGNALS 3

/* --- a pager ------------------------------------------------------------------- */

struct pager {
	int uffd, stop, seen; /* seen: gets the page's number, and the page never comes */
	pthread_t thread, vp;
	struct fault_world *w;
	u32 signals; /* to the VP's thread before its page comes */
	volatile u32 faults;
};

static void serve(struct pager *p, u64 address)
{
	struct uffdio_continue c = { .range = { .start = address & ~(PAGE_SIZE - 1),
						.len = PAGE_SIZE } };
	u8 page = (u8)((address - gpa(p->w->hva)) / PAGE_SIZE);
	u32 i;

	p->faults++;
	if (p->seen >= 0) {
		ASSERT_EQ(write(p->seen, &page, 1), 1);
		return;
	}
	for (i = 0; i < p->signals; i++) {
		usleep(500);
		pthread_kill(p->vp, SIGUSR1);
	}
	usleep(500);
	ASSERT(!ioctl(p->uffd, UFFDIO_CONTINUE, &c) || errno == EEXIST, "UFFDIO_CONTINUE: %s",
	       strerror(errno));
}

static void *pager_run(void *arg)
{
	struct pager *p = arg;
	struct pollfd fds[] = { { .fd = p->uffd, .events = POLLIN },
				{ .fd = p->stop, .events = POLLIN } };
	struct uffd_msg msg;

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			return NULL;
		if (read(p->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
		serve(p, msg.arg.pagefault.address);
	}
}

static void pager_start(struct pager *p, struct fault_world *w)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM };
	struct uffdio_register reg = {
		.range = { .start = gpa(w->hva), .len = FAULT_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};

	p->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (p->uffd < 0 || ioctl(p->uffd, UFFDIO_API, &api))
		ktap_skip("no userfaultfd for shared memory: %s", strerror(errno));
	ASSERT(!ioctl(p->uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s", strerror(errno));
	p->stop = eventfd_new();
	p->vp = pthread_self();
	p->w = w;
	ASSERT_EQ(pthread_create(&p->thread, NULL, pager_run, p), 0);
}

static void pager_end(struct pager *p)
{
	eventfd_signal(p->stop);
	pthread_join(p->thread, NULL);
	close(p->uffd);
	close(p->stop);
}

static void paged(u32 signals)
{
	struct pager p = { .seen = -1, .signals = signals };
	struct fault_world w = fault_world_create();
	struct fault_state *before, *done, *after;
	struct fault_outcome want, o;
	u32 i, faults, cases = 0;

	ktap_timeout(60);
	for (i = 0; i < NR_FAULT_CASES; i++) {
		const struct fault_case *c = &fault_cases[i];

		if (!c->pages || !fault_case_here(c))
			continue;
		fault_begin(&w, c);
		before = fault_state(&w, c);
		want = fault_run(&w, &c->op);
		done = fault_state(&w, c);
		fault_end(&w, c);
		after = fault_state(&w, c);

		fault_begin(&w, c);
		fault_expect_state(c, fault_state(&w, c), before, "before");
		fault_drop(&w);
		pager_start(&p, &w);
		faults = p.faults;
		o = fault_run(&w, &c->op);
		/* Stock leaves some to user space. */
		ASSERT(!module_loaded() || p.faults > faults, "%s: no page was asked for", c->name);
		ASSERT(fault_same_outcome(&o, &want), "%s: vector %u, result 0x%llx", c->name,
		       o.vector, (unsigned long long)o.result);
		fault_expect_state(c, fault_state(&w, c), done, "paged");
		fault_drop(&w);
		fault_end(&w, c);
		fault_expect_state(c, fault_state(&w, c), after, "undone, paged");
		pager_end(&p);
		free(before);
		free(done);
		free(after);
		cases++;
	}
	ktap_log("%u cases, %u pages provided, %u signals ended KVM_RUN", cases, p.faults,
		 w.v->interrupted);
	ASSERT(cases >= 26, "cases were left out");
	ASSERT(!signals || w.v->interrupted, "no signal arrived");
	ASSERT_EQ(w.errors, 0);
	fault_world_free(&w);
}

TEST(pages_come_late)
{
	paged(0);
}

TEST(pages_come_after_signals)
{
	paged(NR_SIGNALS);
}

/* --- killed in the fault ----------------------------------------------------------- */

struct killed {
	struct fault_world w;
	const struct fault_case *c;
};

static void *second_vp(void *arg)
{
	struct fault_world *w = arg;
	struct vcpu *v = w->vm->vcpus[1];
	struct ops_page *ops = v->cpu->ops;

	/* A register of the VM: waits for what the first one holds, too. */
	ops->ops[0] = OP_WR(HV_X64_MSR_HYPERCALL, FAULT_AT(MOVED_PAGE) | 1);
	vcpu_ops_run(v, ops, 1);
	return NULL;
}

static void *first_vp(void *arg)
{
	struct killed *k = arg;

	fault_run(&k->w, &k->c->op);
	/* Stock leaves some to user space. */
	if (!module_loaded())
		_exit(0);
	FAIL("%s: it did not wait", k->c->name);
}

static void wait_for_page(const struct fault_case *c, int seen)
{
	struct killed k = { .w = fault_world_create(), .c = c };
	struct pager p = { .seen = seen };
	pthread_t first, second;

	vcpu_ops_init(k.w.vm->vcpus[1], 1);
	fault_begin(&k.w, c);
	fault_drop(&k.w);
	pager_start(&p, &k.w);
	pthread_create(&first, NULL, first_vp, &k);
	while (!p.faults)
		usleep(100);
	pthread_create(&second, NULL, second_vp, &k.w);
	for (;;)
		pause();
}

TEST(killed_while_a_page_is_missing)
{
	long refs = module_refs();
	int seen[2], status;
	u32 i, killed = 0;
	u8 page;
	pid_t pid;

	ktap_timeout(120);
	for (i = 0; i < NR_FAULT_CASES; i++) {
		const struct fault_case *c = &fault_cases[i];

		if (!c->pages || !fault_case_here(c))
			continue;
		ASSERT_EQ(pipe(seen), 0);
		pid = fork();
		ASSERT(pid >= 0, "fork: %s", strerror(errno));
		if (!pid)
			wait_for_page(c, seen[1]);
		close(seen[1]);
		if (read(seen[0], &page, 1) == 1) {
			ASSERT(c->pages & 1u << page, "%s: page %u was asked for", c->name, page);
			usleep(2000);
			ASSERT_EQ(kill(pid, SIGKILL), 0);
			killed++;
		} else {
			ASSERT(!module_loaded(), "%s: no page was asked for", c->name);
		}
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT(WIFSIGNALED(status) || !module_loaded(), "%s: status 0x%x", c->name, status);
		close(seen[0]);
		module_expect_refs(refs);
	}
	ktap_log("%u processes killed", killed);
	ASSERT(killed >= (module_loaded() ? 26 : 10), "cases were left out");
}

/* --- killed while the operation is repeated --------------------------------------- */

#define KILLS_EACH 2
#define KILL_US	   3000

static __attribute__((noreturn)) void repeat_case(const struct fault_case *c, int ready)
{
	struct fault_world w;
	u32 n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	w = fault_world_create();
	for (n = 0;; n++) {
		fault_begin(&w, c);
		fault_run(&w, &c->op);
		fault_end(&w, c);
		if (!n)
			ASSERT_EQ(write(ready, "", 1), 1);
	}
}

static void kill_in_case(const struct fault_case *c, u64 *seed)
{
	long refs = module_refs();
	int ready[2], status;
	pid_t pid;
	u8 byte;

	ASSERT_EQ(pipe(ready), 0);
	pid = fork();
	ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid)
		repeat_case(c, ready[1]);
	close(ready[1]);
	ASSERT(read(ready[0], &byte, 1) == 1, "%s: it ended by itself", c->name);
	usleep(random_below(seed, KILL_US));
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status 0x%x", c->name,
	       status);
	close(ready[0]);
	module_expect_refs(refs);
}

TEST(killed_in_each_operation)
{
	u32 i, n, cases = 0;
	u64 seed = 1;

	ktap_timeout(120);
	for (i = 0; i < NR_FAULT_CASES; i++) {
		if (!fault_case_here(&fault_cases[i]))
			continue;
		for (n = 0; n < KILLS_EACH; n++)
			kill_in_case(&fault_cases[i], &seed);
		cases++;
	}
	ktap_log("%u operations, %u processes killed", cases, cases * KILLS_EACH);
	ASSERT(cases >= NR_FAULT_CASES - 1, "cases were left out");
}

/* --- memory that is gone -------------------------------------------------------------- */

enum how { UNMAPPED, PROTECTED, READ_ONLY, NO_MEMSLOT, READ_ONLY_MEMSLOT, NR_HOW };

static const char *const how_names[NR_HOW] = { "unmapped", "protected", "read-only",
					       "without a memslot", "in a read-only memslot" };

static void take_away(struct fault_world *w, enum how how)
{
	switch (how) {
	case UNMAPPED:
		ASSERT_EQ(munmap(w->hva, FAULT_SIZE), 0);
		break;
	case PROTECTED:
		ASSERT_EQ(mprotect(w->hva, FAULT_SIZE, PROT_NONE), 0);
		break;
	case READ_ONLY:
		ASSERT_EQ(mprotect(w->hva, FAULT_SIZE, PROT_READ), 0);
		break;
	case NO_MEMSLOT:
		fault_set_memory(w, NULL, 0);
		break;
	case READ_ONLY_MEMSLOT:
		fault_set_memory(w, w->hva, KVM_MEM_READONLY);
		break;
	default:
		break;
	}
}

static void give_back(struct fault_world *w, enum how how)
{
	void *p;

	switch (how) {
	case UNMAPPED:
		p = mmap(w->hva, FAULT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 w->memfd, 0);
		ASSERT(p == w->hva, "mmap: %s", strerror(errno));
		break;
	case PROTECTED:
	case READ_ONLY:
		ASSERT_EQ(mprotect(w->hva, FAULT_SIZE, PROT_READ | PROT_WRITE), 0);
		break;
	default:
		fault_set_memory(w, w->hva, 0);
		break;
	}
}

/* Reading is all that a call needs of its input. */
static bool suffices(const struct fault_case *c, enum how how)
{
	return (how == READ_ONLY || how == READ_ONLY_MEMSLOT) && c->pages == 1u << INPUT_PAGE;
}

static void without_memory(struct fault_world *w, const struct fault_case *c, enum how how)
{
	struct fault_outcome want = { .vector = c->gone }, good, o;
	struct fault_state *before, *done;
	bool calls = c->op.op == OP_HYPERCALL;
	const char *name = how_names[how];

	fault_begin(w, c);
	before = fault_state(w, c);
	good = fault_run(w, &c->op);
	done = fault_state(w, c);
	fault_end(w, c);

	if (calls)
		want.result = module_loaded() ? c->gone_status : c->gone_stock;
	/* Whoever hands it to user space does not look at the output's page. */
	if (calls && (want.result == HV_STATUS_SUCCESS || c->pages & 1u << OUTPUT_PAGE))
		want.exits = good.exits;
	if (!calls && !c->gone)
		want.exits = good.exits;
	if (suffices(c, how))
		want = good;

	fault_begin(w, c);
	take_away(w, how);
	o = fault_run(w, &c->op);
	ASSERT(fault_same_outcome(&o, &want),
	       "%s, %s: vector %u, result 0x%llx, %u exits, not %u, 0x%llx, %u", c->name, name,
	       o.vector, (unsigned long long)o.result, o.exits, want.vector,
	       (unsigned long long)want.result, want.exits);
	give_back(w, how);
	if (o.vector || (o.result & 0xffff))
		fault_expect_state(c, fault_state(w, c), before, name);
	/* And as ever with the memory. */
	o = fault_run(w, &c->op);
	ASSERT(fault_same_outcome(&o, &good), "%s, after %s: vector %u, result 0x%llx", c->name,
	       name, o.vector, (unsigned long long)o.result);
	if (want.vector || (want.result & 0xffff))
		fault_expect_state(c, fault_state(w, c), done, "given back");
	fault_end(w, c);
	free(before);
	free(done);
}

TEST(memory_is_gone)
{
	struct fault_world w = fault_world_create();
	u32 i, how, cases = 0;

	ktap_timeout(60);
	for (how = 0; how < NR_HOW; how++) {
		for (i = 0; i < NR_FAULT_CASES; i++) {
			const struct fault_case *c = &fault_cases[i];

			if (!c->pages || !fault_case_here(c))
				continue;
			without_memory(&w, c, how);
			cases++;
		}
	}
	ktap_log("%u cases", cases);
	ASSERT(cases >= 26 * NR_HOW, "cases were left out");
	ASSERT_EQ(w.errors, 0);
	fault_world_free(&w);
}
