// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvFlushVirtualAddressSpace and its Ex form; and flushes of a VP that has changed over to another
 * address space or another CPU. TLFS chapter "Virtual MMU".
 */
#include <errno.h>
#include <signal.h>

#include "flush_pair.h"
#include "rows.h"

/* --- HvFlushVirtualAddressSpace and its Ex form --------------------------- */

static void check_space_calls(bool fast)
{
	static const struct page pages[] = {
		{ PAGE_4K, 3 }, { PAGE_4K, 511 }, { PAGE_2M, 1 }, { PAGE_2M, 511 }, { PAGE_1G, 0 },
	};
	u32 nr = ARRAY_SIZE(pages) - !has_1g_pages(), t, caller;
	struct world *w = world_create();
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = fast };

	for (t = 0; t < 4; t++) { /* none (which means all), the first, the second, both */
		c.targets = t;
		c.flags = t == 3 ? HV_FLUSH_ALL_SPACES : 0;
		c.space = w->vm->cr3;
		for (caller = 0; caller < 2; caller++)
			judge(w, caller, &c, pages, nr, "mask");
	}
	c.targets = 1;
	c.flags = HV_FLUSH_ALL_PROCESSORS;
	judge(w, 1, &c, pages, nr, "mask and all processors");

	c = (struct call){ .code = HVCALL_FLUSH_SPACE_EX, .fast = fast, .space = w->vm->cr3 };
	for (t = 1; t <= ALL; t++) {
		c.targets = t;
		judge(w, t % NR_VCPUS, &c, pages, nr, "set");
	}
	c.targets = 0;
	c.format_all = true;
	judge(w, 2, &c, pages, nr, "set of all");
	world_free(w);
}

TEST(space_is_flushed_by_slow_calls)
{
	check_space_calls(false);
}

TEST(space_is_flushed_by_fast_calls)
{
	check_space_calls(true);
}

/* User space has given two vCPUs the same index: both are that VP. */
TEST(two_vps_with_one_index)
{
	static const u64 codes[] = { HVCALL_FLUSH_SPACE, HVCALL_FLUSH_LIST, HVCALL_FLUSH_SPACE_EX,
				     HVCALL_FLUSH_LIST_EX };
	const struct page stale = { PAGE_4K, 5 };
	struct guest_op load = { .op = OP_LOAD, .arg0 = page_read_at(stale) };
	u64 entry = page_gva(stale);
	struct world *w = world_create();
	u32 i, t;

	for (i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		struct call c = {
			.code = codes[i / 2], .fast = i & 1, .targets = 2, .list = &entry
		};

		c.nr = c.code == HVCALL_FLUSH_LIST || c.code == HVCALL_FLUSH_LIST_EX;
		for (t = 1; t < NR_VCPUS; t++)
			make_stale(w, t, &stale, 1);
		/* Each of the two vCPUs in turn is the one whose index was set last. */
		vcpu_set_msr(w->vm->vcpus[1], HV_X64_MSR_VP_INDEX, vp_index[2]);
		vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[1]);
		vcpu_set_msr(w->vm->vcpus[1], HV_X64_MSR_VP_INDEX, vp_index[1]);
		if (i & 2)
			vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[2]);
		vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[1]);
		probes_read();
		ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, &c)).result,
			  HV_CTL_REP(c.nr));
		for (t = 1; t < NR_VCPUS; t++)
			ASSERT_EQ(vcpu_op(w->vm->vcpus[t], w->ops[t], load).result, NEW_VALUE);
		probes_read();
		for (t = 1; t < NR_VCPUS; t++)
			ASSERT(invalidated(w->address[t], stale), "call 0x%llx: vCPU %u is missed",
			       (unsigned long long)c.code, t);
		vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[2]);
	}
	world_free(w);
}

/* --- targets that run, halt, wait for a CPU, or are elsewhere ---------------- */

#define CR4_PGE	      BIT64(7)
#define CR4_PCIDE     BIT64(17)
#define CR3_KEEP_PCID BIT64(63)

static void guest_load_cr3(u64 cr3)
{
	asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

/* Leave the address space, and come back without a flush of its global pages. */
GUEST_CODE(switcher)
{
	u64 cr3, cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 |= CR4_PGE | (shared.pcid ? CR4_PCIDE : 0);
	asm volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
	asm volatile("mov %%cr3, %0" : "=r"(cr3));
	guest_make_stale();
	guest_load_cr3(shared.other_cr3 | shared.pcid);
	GUEST_SYNC(1);
	guest_load_cr3(cr3 | (shared.pcid ? CR3_KEEP_PCID : 0));
	guest_read_pages();
}

/*
 * A target in another address space must be flushed as well: it returns with its old translations
 * still cached.
 */
TEST(target_is_in_another_address_space)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i, j;
	u64 *pml4 = vm_alloc(w->vm, PAGE_SIZE);

	pml4[0] = *(u64 *)(uintptr_t)w->vm->cr3; /* without the area */
	shared.other_cr3 = gpa(pml4);
	shared.pcid = cpuid_test(&v->cpuid, CPUBIT(1, ECX, 17));
	if (!shared.pcid)
		ktap_log("no PCID: only global pages stay in the TLB when CR3 changes");
	for (j = 0; j < NR_READ; j++) {
		shared.old_pte[j] |= PTE_GLOBAL;
		shared.new_pte[j] |= PTE_GLOBAL;
	}
	for (i = 0; i < nr; i++) {
		calls[i].space = w->vm->cr3;
		vcpu_entry(v, switcher);
		vcpu_run_sync(v, 1);
		host_call(w, &calls[i]);
		vcpu_run_done(v);
		expect_flushed(w, &calls[i]);
	}
	world_free(w);
}

/* Let KVM_RUN handle the vCPU's requests but not enter the guest, by a pending signal. */
static void run_without_entry(struct vcpu *v)
{
	struct {
		struct kvm_signal_mask mask;
		u8 none[8];
	} unblocked = { .mask.len = sizeof(unblocked.none) };
	struct kvm_stat exits = stat_open(v, "exits");
	u64 before = stat_read(&exits);
	sigset_t signal;

	sigemptyset(&signal);
	sigaddset(&signal, SIGUSR1);
	ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &signal, NULL), 0);
	vcpu_ioctl(v, KVM_SET_SIGNAL_MASK, &unblocked);
	ASSERT_EQ(raise(SIGUSR1), 0);
	ASSERT_EQ(__vcpu_ioctl(v, KVM_RUN, NULL), -EINTR);
	vcpu_ioctl(v, KVM_SET_SIGNAL_MASK, NULL);
	ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &signal, NULL), 0);
	ASSERT_EQ(stat_read(&exits), before);
	stat_close(&exits);
}

static bool amd_by_page(void)
{
	return host_is_amd() && lists_by_page();
}

/*
 * The target's translations are on CPU 0, where it ran. Its thread is on CPU 1 when it finds the
 * flush, and back on CPU 0 before it enters the guest.
 */
TEST_KNOWN_IF(flushed_on_the_cpu_where_it_ran, "K23", amd_by_page)
{
	const struct page stale = { PAGE_4K, 5 };
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 1, .list = list };
	struct guest_op load = { .op = OP_LOAD, .arg0 = page_read_at(stale) };
	bool flushed = false, elsewhere = false;
	struct world *w;
	u32 i;

	require_two_cpus();
	if (!host_is_amd())
		ktap_skip("KVM flushes everything of a vCPU that changes its CPU");
	w = world_create();
	pin_thread(pthread_self(), 0);
	make_stale(w, 1, &stale, 1);
	list[0] = page_gva(stale);
	ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, &c)).result, HV_CTL_REP(1));
	probes_read();
	pin_thread(pthread_self(), 1);
	run_without_entry(w->vm->vcpus[1]);
	pin_thread(pthread_self(), 0);
	ASSERT_EQ(vcpu_op(w->vm->vcpus[1], w->ops[1], load).result, NEW_VALUE);
	probes_read();
	for (i = 0; i < nr_invalidations; i++) {
		const struct invalidation *inv = &invalidations[i];

		if (inv->vcpu != w->address[1])
			continue;
		elsewhere |= inv->cpu == 1;
		/* A full flush is done at the entry. */
		flushed |= inv->all || (inv->cpu == 0 && inv->gva == list[0]);
	}
	ASSERT(elsewhere, "the flush was not found on CPU 1, so this shows nothing");
	ASSERT_KNOWN(flushed, "CPU 0 keeps the translation");
	world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
