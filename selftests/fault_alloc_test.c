// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation on the way of an ioctl, or of an access by the guest, fails once: the first one,
 * then the second one, until none is left. Whatever fails must say so, change nothing, and succeed
 * the next time. Needs a kernel that injects faults; its checkers and kmemleak are judges, too.
 *
 * Option --all 1: in ioctls that create a VM or a vCPU, all of KVM's allocations and not only those
 * below a function of the module.
 * Option --every N: of the hundreds in a new VM's first run, one in N.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "failnth.h"
#include "fault.h"
#include "irqfd.h"
#include "klog.h"
#include "module.h"
#include "nested.h"

#define CONN	 0x1235u
#define GUARD	 5000 /* more allocations than any operation makes */
#define TIMEOUT	 600
#define VP_INDEX 5

static bool all_of_kvm;
static u32 every = 1;

/* What an operation works on. */
struct scene {
	struct vm *vm;
	struct vcpu *v;
	int fd, eventfd, resample;
	void *buffer;
	bool hit; /* an allocation of the last run failed */
	long refs;
};

struct host_op {
	const char *name;
	void (*begin)(struct scene *s); /* a scene in which it has not been done */
	int (*run)(struct scene *s);	/* 0 or -errno */
	void (*end)(struct scene *s);	/* check that it is done, and undo it */
	bool creates;			/* a VM or vCPU: hundreds of allocations of KVM's own */
};

static u32 total;

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

static void try_kind(struct scene *s, const struct host_op *op, enum failnth_kind kind)
{
	u32 n, failed = 0;
	bool hit;
	int r;

	failnth_of(kind, op->creates && !all_of_kvm ? FAILNTH_MODULE : FAILNTH_ANY);
	/* Once without, so that user space's own pages are there. */
	for (n = 0; n < GUARD; n++) {
		op->begin(s);
		failnth_arm(n);
		r = op->run(s);
		hit = failnth_disarm() && n;
		s->hit = hit;
		if (r) {
			ASSERT(hit, "%s: %s without a fault", op->name, strerror(-r));
			ASSERT(r == -ENOMEM, "%s, allocation %u: %s", op->name, n, strerror(-r));
			failed++;
			r = op->run(s);
			ASSERT(!r, "%s: %s after allocation %u failed", op->name, strerror(-r), n);
		}
		op->end(s);
		if (n && !hit)
			break;
	}
	ASSERT(n < GUARD, "%s: endless", op->name);
	if (n > 1)
		ktap_log("%s: %u %s allocations failed, and with them the operation %u times",
			 op->name, n - 1, failnth_names[kind], failed);
	total += n - 1;
}

static void try_each(struct scene *s, const struct host_op *op)
{
	u32 kind;

	for (kind = 0; kind < NR_FAILNTH; kind++)
		try_kind(s, op, kind);
}

static void try_all(struct scene *s, const struct host_op *ops, u32 nr)
{
	u32 i;

	total = 0;
	for (i = 0; i < nr; i++)
		try_each(s, &ops[i]);
	ktap_log("%u faults", total);
	ASSERT(total > 0, "nothing was injected");
}

/* --- VMs and vCPUs ------------------------------------------------------------- */

static void nothing(struct scene *s)
{
	(void)s;
}

static void count_owned(struct scene *s)
{
	s->refs = module_refs();
}

static int create_vm(struct scene *s)
{
	s->fd = ioctl(kvm_fd(), KVM_CREATE_VM, 0);
	return result(s->fd);
}

/* Without memory for its state, a VM may stay with KVM. */
static void close_owned(struct scene *s)
{
	ASSERT(s->hit || module_refs() > s->refs, "the VM is not the module's");
	close(s->fd);
	module_expect_refs(s->refs);
}

static void empty_vm(struct scene *s)
{
	s->vm = vm_create(0, VM_NO_IRQCHIP);
}

static int create_irqchip(struct scene *s)
{
	return result(ioctl(s->vm->fd, KVM_CREATE_IRQCHIP, 0));
}

static int create_vcpu(struct scene *s)
{
	s->fd = ioctl(s->vm->fd, KVM_CREATE_VCPU, 0UL);
	return result(s->fd);
}

static void free_vm(struct scene *s)
{
	vm_free(s->vm);
}

static void free_vm_and_vcpu(struct scene *s)
{
	close(s->fd);
	vm_free(s->vm);
}

TEST(creation)
{
	static const struct host_op ops[] = {
		{ "KVM_CREATE_VM", count_owned, create_vm, close_owned, true },
		{ "KVM_CREATE_IRQCHIP", empty_vm, create_irqchip, free_vm, true },
		{ "KVM_CREATE_VCPU", empty_vm, create_vcpu, free_vm_and_vcpu, true },
	};
	struct scene s = {};

	failnth_require();
	ktap_timeout(TIMEOUT);
	try_all(&s, ops, ARRAY_SIZE(ops));
}

/* kvzalloc() asks twice, so that no single fault leaves a VM with KVM. */
TEST(vm_without_memory_stays_with_kvm)
{
	long refs = module_refs();
	struct vm *vm;
	int log = klog_open(), fd;

	failnth_require();
	lseek(log, 0, SEEK_END);
	failnth_all(true);
	fd = ioctl(kvm_fd(), KVM_CREATE_VM, 0);
	failnth_all(false);
	ASSERT(fd >= 0, "KVM_CREATE_VM: %s", strerror(errno));
	ASSERT_EQ(module_refs(), refs);
	ASSERT(klog_says(log, "kvm_hyperv: out of memory: a new VM stays with KVM", NULL),
	       "no message");
	close(fd);
	vm = vm_create(1, 0);
	ASSERT(module_refs() > refs, "the next VM is not the module's");
	vm_free(vm);
	module_expect_refs(refs);
}

/* --- the first ioctl that gives a vCPU its Hyper-V state ------------------------- */

static struct cpuid_table table;

static void bare_vcpu(struct scene *s)
{
	s->vm = vm_create(0, 0);
	s->fd = ioctl(s->vm->fd, KVM_CREATE_VCPU, 0UL);
	ASSERT(s->fd >= 0, "KVM_CREATE_VCPU: %s", strerror(errno));
}

static int set_cpuid(struct scene *s)
{
	return result(ioctl(s->fd, KVM_SET_CPUID2, &table));
}

static int enable(struct scene *s, u32 cap)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { cap != KVM_CAP_HYPERV_SYNIC2 } };

	return result(ioctl(s->fd, KVM_ENABLE_CAP, &c));
}

static int enable_synic(struct scene *s)
{
	return enable(s, KVM_CAP_HYPERV_SYNIC);
}

static int enable_synic2(struct scene *s)
{
	return enable(s, KVM_CAP_HYPERV_SYNIC2);
}

static int enforce(struct scene *s)
{
	return enable(s, KVM_CAP_HYPERV_ENFORCE_CPUID);
}

static struct {
	struct kvm_msrs hdr;
	struct kvm_msr_entry entry;
} msr;

/* None of the list is done: as good as an error. */
static int one_msr(struct scene *s, unsigned long nr)
{
	int r = ioctl(s->fd, nr, &msr);

	return r < 0 ? -errno : r == 1 ? 0 : -ENOMEM;
}

static int set_index(struct scene *s)
{
	msr.hdr.nmsrs = 1;
	msr.entry.index = HV_X64_MSR_VP_INDEX;
	msr.entry.data = VP_INDEX;
	return one_msr(s, KVM_SET_MSRS);
}

static int get_index(struct scene *s)
{
	msr.hdr.nmsrs = 1;
	msr.entry.index = HV_X64_MSR_VP_INDEX;
	msr.entry.data = ~0ULL;
	return one_msr(s, KVM_GET_MSRS);
}

static void index_is_set(struct scene *s)
{
	ASSERT_EQ(get_index(s), 0);
	ASSERT_EQ(msr.entry.data, VP_INDEX);
	free_vm_and_vcpu(s);
}

static void index_is_default(struct scene *s)
{
	ASSERT_EQ(get_index(s), 0);
	ASSERT_EQ(msr.entry.data, 0);
	free_vm_and_vcpu(s);
}

/* Writable only with the capability. */
static void synic_is_on(struct scene *s)
{
	msr.hdr.nmsrs = 1;
	msr.entry.index = HV_X64_MSR_SINT(0);
	msr.entry.data = 0x61;
	ASSERT_EQ(one_msr(s, KVM_SET_MSRS), 0);
	free_vm_and_vcpu(s);
}

TEST(state_of_a_vcpu)
{
	static const struct host_op ops[] = {
		{ "KVM_SET_CPUID2", bare_vcpu, set_cpuid, index_is_default, false },
		{ "SYNIC", bare_vcpu, enable_synic, synic_is_on, false },
		{ "SYNIC2", bare_vcpu, enable_synic2, synic_is_on, false },
		{ "ENFORCE_CPUID", bare_vcpu, enforce, index_is_default, false },
		{ "KVM_SET_MSRS", bare_vcpu, set_index, index_is_set, false },
		{ "KVM_GET_MSRS", bare_vcpu, get_index, index_is_default, false },
	};
	struct scene s = {};
	struct vm *vm;

	failnth_require();
	ktap_timeout(TIMEOUT);
	vm = vm_create(1, 0);
	table = vm->vcpus[0]->cpuid;
	vm_free(vm);
	try_all(&s, ops, ARRAY_SIZE(ops));
}

/* --- connections, routes, filters, state ------------------------------------------ */

static int connection(struct scene *s, u32 flags)
{
	struct kvm_hyperv_eventfd e = { .conn_id = CONN, .fd = s->eventfd, .flags = flags };

	return result(ioctl(s->vm->fd, KVM_HYPERV_EVENTFD, &e));
}

static int assign(struct scene *s)
{
	return connection(s, 0);
}

static void deassign(struct scene *s)
{
	ASSERT_EQ(connection(s, 0), -EEXIST);
	ASSERT_EQ(connection(s, KVM_HYPERV_EVENTFD_DEASSIGN), 0);
}

static int route(struct scene *s)
{
	struct {
		struct kvm_irq_routing hdr;
		struct kvm_irq_routing_entry entries[HV_SYNIC_SINTS];
	} r = { .hdr.nr = HV_SYNIC_SINTS };
	u32 i;

	for (i = 0; i < HV_SYNIC_SINTS; i++) {
		r.entries[i].gsi = GSI(i);
		r.entries[i].type = KVM_IRQ_ROUTING_HV_SINT;
		r.entries[i].u.hv_sint.vcpu = i % FAULT_VPS;
		r.entries[i].u.hv_sint.sint = i;
	}
	return result(ioctl(s->vm->fd, KVM_SET_GSI_ROUTING, &r));
}

static void unroute(struct scene *s)
{
	route_sints(s->vm, 0, NULL, 0);
}

static int irqfd(struct scene *s, u32 flags)
{
	struct kvm_irqfd f = {
		.gsi = GSI(1),
		.fd = (u32)s->eventfd,
		.resamplefd = (u32)s->resample,
		.flags = flags,
	};

	return result(ioctl(s->vm->fd, KVM_IRQFD, &f));
}

static int irqfd_assign(struct scene *s)
{
	return irqfd(s, KVM_IRQFD_FLAG_RESAMPLE);
}

static void irqfd_deassign(struct scene *s)
{
	ASSERT_EQ(irqfd(s, KVM_IRQFD_FLAG_RESAMPLE), -EBUSY);
	ASSERT_EQ(irqfd(s, KVM_IRQFD_FLAG_DEASSIGN), 0);
}

static int filter(struct scene *s)
{
	static u8 bitmap[32];
	struct kvm_msr_filter f = {
		.ranges[0] = { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			       .base = HV_X64_MSR_GUEST_OS_ID,
			       .nmsrs = 8 * sizeof(bitmap),
			       .bitmap = bitmap },
	};

	return result(ioctl(s->vm->fd, KVM_X86_SET_MSR_FILTER, &f));
}

static void no_filter(struct scene *s)
{
	struct kvm_msr_filter f = {};

	ASSERT_EQ(ioctl(s->vm->fd, KVM_X86_SET_MSR_FILTER, &f), 0);
}

static int get_and_set(struct scene *s, unsigned long get, unsigned long set)
{
	int r = result(ioctl(s->v->fd, get, s->buffer));

	return r ? r : result(ioctl(s->v->fd, set, s->buffer));
}

static int lapic(struct scene *s)
{
	return get_and_set(s, KVM_GET_LAPIC, KVM_SET_LAPIC);
}

static int sregs(struct scene *s)
{
	return get_and_set(s, KVM_GET_SREGS, KVM_SET_SREGS);
}

static int xsave(struct scene *s)
{
	return get_and_set(s, KVM_GET_XSAVE, KVM_SET_XSAVE);
}

static int nested_state(struct scene *s)
{
	((struct kvm_nested_state *)s->buffer)->size = 4 * PAGE_SIZE;
	return get_and_set(s, KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE);
}

static int cpuid_again(struct scene *s)
{
	return result(ioctl(s->v->fd, KVM_SET_CPUID2, &s->v->cpuid));
}

static int supported(struct scene *s)
{
	struct cpuid_table *t = s->buffer;

	t->nent = MAX_CPUID;
	return result(ioctl(s->v->fd, KVM_GET_SUPPORTED_HV_CPUID, t));
}

static int clock_ioctls(struct scene *s)
{
	struct kvm_clock_data clock;
	int r = result(ioctl(s->vm->fd, KVM_GET_CLOCK, &clock));

	clock.flags = 0;
	return r ? r : result(ioctl(s->vm->fd, KVM_SET_CLOCK, &clock));
}

TEST(ioctls_of_a_vm)
{
	static const struct host_op ops[] = {
		{ "KVM_HYPERV_EVENTFD", nothing, assign, deassign, false },
		{ "KVM_SET_GSI_ROUTING", nothing, route, unroute, false },
		{ "KVM_IRQFD", nothing, irqfd_assign, irqfd_deassign, false },
		{ "KVM_X86_SET_MSR_FILTER", nothing, filter, no_filter, false },
		{ "KVM_SET_LAPIC", nothing, lapic, nothing, false },
		{ "KVM_SET_SREGS", nothing, sregs, nothing, false },
		{ "KVM_SET_XSAVE", nothing, xsave, nothing, false },
		{ "KVM_SET_NESTED_STATE", nothing, nested_state, nothing, false },
		{ "KVM_SET_CPUID2 again", nothing, cpuid_again, nothing, false },
		{ "KVM_GET_SUPPORTED_HV_CPUID", nothing, supported, nothing, false },
		{ "KVM_SET_CLOCK", nothing, clock_ioctls, nothing, false },
	};
	static u8 buffer[16 * PAGE_SIZE];
	struct fault_state *was;
	struct fault_world w;
	struct scene s = { .buffer = buffer };
	u32 i;

	failnth_require();
	ktap_timeout(TIMEOUT);
	w = fault_world_create();
	s.vm = w.vm;
	s.v = w.v;
	s.eventfd = eventfd_new();
	s.resample = eventfd_new();
	/* The state before and after each of them, whatever failed in between. */
	fault_begin(&w, &fault_cases[0]);
	was = fault_state(&w, &fault_cases[0]);
	total = 0;
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		try_each(&s, &ops[i]);
		fault_expect_state(&fault_cases[0], fault_state(&w, &fault_cases[0]), was,
				   ops[i].name);
	}
	ktap_log("%u faults", total);
	ASSERT(total > ARRAY_SIZE(ops), "nothing was injected");
	fault_world_free(&w);
}

/* --- what the guest does ------------------------------------------------------------ */

struct counts {
	u32 faults, failed_runs, refused;
};

static struct fault_outcome run_with_fault(struct fault_world *w, const struct guest_op *op, u32 n,
					   bool *hit)
{
	struct fault_outcome o;

	failnth_arm(n);
	o = fault_run(w, op);
	*hit = failnth_disarm() && n;
	return o;
}

static void try_case(struct fault_world *w, const struct fault_case *c, enum failnth_kind kind,
		     struct counts *counts)
{
	struct fault_state *before = NULL, *done = NULL, *after = NULL;
	struct fault_outcome want = {}, o;
	u32 n, errors, refused = 0, was;
	bool hit;

	failnth_of(kind, FAILNTH_ANY);
	errors = w->errors;
	for (n = 0; n < GUARD; n++) {
		fault_begin(w, c);
		if (!n)
			before = fault_state(w, c);
		else
			fault_expect_state(c, fault_state(w, c), before, "before");
		fault_drop(w);
		was = w->errors;
		o = run_with_fault(w, &c->op, n, &hit);
		ASSERT(hit || w->errors == was, "%s: KVM_RUN: %s, without a fault", c->name,
		       strerror(-w->error));
		if (!n)
			want = o;
		if (!fault_same_outcome(&o, &want)) {
			ASSERT(hit, "%s: vector %u, result 0x%llx without a fault", c->name,
			       o.vector, (unsigned long long)o.result);
			ASSERT(o.vector == GP_VECTOR ||
				       o.result == HV_STATUS_INVALID_HYPERCALL_INPUT,
			       "%s, allocation %u: vector %u, result 0x%llx", c->name, n, o.vector,
			       (unsigned long long)o.result);
			fault_expect_state(c, fault_state(w, c), before, "refused");
			refused++;
			o = fault_run(w, &c->op);
			ASSERT(fault_same_outcome(&o, &want), "%s: refused again", c->name);
		}
		if (!n)
			done = fault_state(w, c);
		else
			fault_expect_state(c, fault_state(w, c), done, "done");
		fault_end(w, c);
		if (!n)
			after = fault_state(w, c);
		else
			fault_expect_state(c, fault_state(w, c), after, "undone");
		if (n && !hit)
			break;
	}
	ASSERT(n < GUARD, "%s: endless", c->name);
	if (n > 1)
		ktap_log("%s: %u %s allocations failed, KVM_RUN %u times, the guest %u times",
			 c->name, n - 1, failnth_names[kind], w->errors - errors, refused);
	counts->faults += n - 1;
	counts->failed_runs += w->errors - errors;
	counts->refused += refused;
	free(before);
	free(done);
	free(after);
}

TEST(guest)
{
	struct counts counts = {};
	struct fault_world w;
	u32 i, kind;

	failnth_require();
	ktap_timeout(TIMEOUT);
	w = fault_world_create();
	for (i = 0; i < NR_FAULT_CASES; i++)
		for (kind = 0; kind < NR_FAILNTH; kind++)
			if (fault_case_here(&fault_cases[i]))
				try_case(&w, &fault_cases[i], kind, &counts);
	ktap_log("%u faults: KVM_RUN failed %u times, %u refusals", counts.faults,
		 counts.failed_runs, counts.refused);
	ASSERT(counts.faults > 10 && counts.refused, "nothing was injected");
	fault_world_free(&w);
}

/* --- a new VM's first run, and a nested one's ------------------------------------------ */

GUEST_CODE(looks_at_itself)
{
	guest_set_os_id();
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), 0);
}

/* KVM's first act is to create a thread, by some two hundred allocations. */
static void begin_to_run(struct vcpu *v)
{
	ASSERT_EQ(vcpu_finish_exit(v), -EINTR);
}

struct first_run {
	struct vcpu *(*create)(void);
	bool begun; /* the first KVM_RUN is over */
	void (*end)(struct vcpu *v, bool failed);
};

static void try_run(const struct first_run *first, enum failnth_kind kind)
{
	u32 n, faults = 0, errors = 0;
	struct vcpu *v;
	bool hit;
	int r;

	failnth_of(kind, FAILNTH_ANY);
	for (n = 1, hit = true; hit; n += every) {
		ASSERT(n < GUARD, "endless");
		v = first->create();
		if (first->begun)
			begin_to_run(v);
		failnth_arm(n);
		r = __vcpu_run(v);
		hit = failnth_disarm();
		ASSERT(!r || (hit && (r == -ENOMEM || r == -EFAULT)), "allocation %u: %s", n,
		       strerror(-r));
		faults += hit;
		errors += !!r;
		first->end(v, r);
		vm_free(v->vm);
	}
	ktap_log("%u %s allocations failed, and KVM_RUN %u times", faults, failnth_names[kind],
		 errors);
	ASSERT(faults, "nothing was injected");
}

static void try_runs(const struct first_run *first)
{
	failnth_require();
	ktap_timeout(TIMEOUT);
	try_run(first, FAILNTH_SLAB);
	try_run(first, FAILNTH_PAGES);
}

static struct vcpu *new_vcpu(void)
{
	struct vcpu *v = vm_create(1, 0)->vcpus[0];

	vcpu_entry(v, looks_at_itself);
	return v;
}

static void ends_if_it_has_not(struct vcpu *v, bool failed)
{
	if (failed)
		vcpu_run_done(v);
}

TEST(first_run)
{
	try_runs(&(struct first_run){ new_vcpu, !all_of_kvm, ends_if_it_has_not });
}

static struct nested *nested_l1;

static struct vcpu *new_hypervisor(void)
{
	struct vcpu *v = vm_create(1, 0)->vcpus[0];

	nested_l1 = nested_create(v, NESTED_PAGING | NESTED_EVMCS, 1);
	return v;
}

static void l2_works(struct vcpu *v, bool failed)
{
	if (failed)
		ASSERT_EQ(vcpu_run(v), GUEST_SYNC_CMD);
	else
		ASSERT_EQ(v->run->exit_reason, KVM_EXIT_IO);
	ASSERT_EQ(v->cpu->msg.args[0], OPS_STAGE);
	ASSERT_EQ(vcpu_op(v, nested_l1->l2, OP_RD(HV_X64_MSR_VP_INDEX)).vector, 0);
}

/* From the first instruction of a hypervisor to that of its guest. */
TEST(nested)
{
	try_runs(&(struct first_run){ new_hypervisor, true, l2_works });
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--all"))
			all_of_kvm = atoi(argv[i + 1]);
		if (!strcmp(argv[i], "--every"))
			every = (u32)strtoul(argv[i + 1], NULL, 10) ?: 1;
	}
	return ktap_main(argc, argv);
}
