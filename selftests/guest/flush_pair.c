// SPDX-License-Identifier: GPL-2.0-only
/* See flush_pair.h. */
#include <sched.h>
#include <string.h>

#include "flush_pair.h"

struct flush_pair shared;

void guest_set_ptes(bool new)
{
	u32 i;

	for (i = 0; i < shared.nr; i++)
		*shared.pte[i] = new ? shared.new_pte[i] : shared.old_pte[i];
}

void guest_read_pages(void)
{
	u32 i;

	for (i = 0; i < shared.nr; i++)
		shared.seen[i] = *shared.gva[i];
}

u32 seen(u64 value)
{
	u32 i, n = 0;

	for (i = 0; i < shared.nr; i++)
		n += shared.seen[i] == value;
	return n;
}

void guest_make_stale(void)
{
	u32 try;

	for (try = 0; try < PREMISE_TRIES; try++) {
		guest_set_ptes(false);
		GUEST_ASSERT_EQ(hypercall(shared.reset_control, shared.reset_input, 0), 0);
		guest_read_pages();
		GUEST_ASSERT_EQ(seen(OLD_VALUE), shared.nr);
		guest_set_ptes(true);
		guest_read_pages();
		if (seen(OLD_VALUE) == shared.nr)
			return;
	}
	GUEST_ASSERT(!"a stale translation was used");
}

void guest_wait_round(void)
{
	u64 now = shared.rounds;

	while (shared.rounds < now + 2)
		cpu_relax();
}

struct world *world_of_two(const struct page *p, u32 nr)
{
	struct call everything = { .code = HVCALL_FLUSH_SPACE_EX, .targets = 3 };
	struct world *w = world_create();
	struct guest_op op;
	u64 *input = w->input;
	u32 i;

	memset(&shared, 0, sizeof(shared));
	shared.nr = nr;
	for (i = 0; i < nr; i++) {
		shared.gva[i] = (volatile u64 *)(uintptr_t)page_read_at(p[i]);
		shared.pte[i] = page_entry(w, p[i]);
		shared.old_pte[i] = page_pte(w, p[i], false);
		shared.new_pte[i] = page_pte(w, p[i], true);
	}
	w->input = vm_alloc(w->vm, PAGE_SIZE);
	op = call_op(w, &everything);
	w->input = input;
	shared.reset_control = op.arg0;
	shared.reset_input = op.arg1;
	return w;
}

void set_call(struct world *w, const struct call *c)
{
	struct guest_op op = call_op(w, c);

	shared.control = op.arg0;
	shared.input = op.arg1;
}

void pin_thread(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	ASSERT_EQ(pthread_setaffinity_np(thread, sizeof(set), &set), 0);
}

const struct page read_pages[NR_READ] = {
	{ PAGE_4K, 0 },
	{ PAGE_4K, 40 },
	{ PAGE_2M, 9 },
	{ PAGE_2M, 10 },
};

u32 calls_for_pages(struct call calls[5])
{
	u32 i;

	for (i = 0; i < 20; i++) {
		list[i] = page_gva((struct page){ PAGE_4K, 2 * i + 2 });
		list[20 + i] = page_gva((struct page){ PAGE_4K, 2 * i + 2 }) | 1;
	}
	list[0] = page_gva(read_pages[0]);
	list[8] = page_gva(read_pages[2]) + 0x1000;
	list[9] = page_gva(read_pages[3]);
	list[20] = page_gva(read_pages[0]) | 40;
	list[21] = page_gva(read_pages[2]) | 512;
	list[40] = EXT_2M(page_gva(read_pages[2]), 1);
	list[41] = EXT_4K(page_gva(read_pages[0]), 40);
	calls[0] = (struct call){ .code = HVCALL_FLUSH_SPACE, .targets = 2 };
	calls[1] = (struct call){ .code = HVCALL_FLUSH_SPACE_EX, .targets = 6 };
	calls[2] =
		(struct call){ .code = HVCALL_FLUSH_LIST_EX, .targets = 3, .nr = 20, .list = list };
	calls[3] = (struct call){
		.code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 2, .list = list + 20
	};
	calls[4] = (struct call){ .code = HVCALL_FLUSH_LIST_EX,
				  .targets = 2,
				  .flags = HV_FLUSH_EXTENDED,
				  .nr = 2,
				  .list = list + 40 };
	return 5;
}

void host_wait_round(void)
{
	u64 now = shared.rounds;

	while (shared.rounds < now + 2)
		sched_yield();
}

void expect_flushed(struct world *w, const struct call *c)
{
	u32 i;

	probes_read();
	ASSERT(seen(NEW_VALUE) == NR_READ, "call 0x%llx: %u new pages", (unsigned long long)c->code,
	       seen(NEW_VALUE));
	for (i = 0; i < NR_READ; i++)
		ASSERT(invalidated(w->address[1], read_pages[i]), "call 0x%llx: keeps 0x%llx",
		       (unsigned long long)c->code, (unsigned long long)page_gva(read_pages[i]));
}

void host_call(struct world *w, const struct call *c)
{
	struct guest_op op;

	probes_read();
	op = vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, c));
	ASSERT_EQ(op.result, HV_CTL_REP(c->nr));
}
