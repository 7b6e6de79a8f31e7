// SPDX-License-Identifier: GPL-2.0-only
/* See fault.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apic.h"
#include "fault.h"
#include "irqfd.h"
#include "nested.h"

#define CONN	     0x1234ULL
#define VECTOR	     0x61ULL
#define OS_ID	     0x8100000000000001ULL
#define ANY_TIME     BIT64(60)
#define MSR_APICBASE 0x1bu
#define MSR_EFER     0xc0000080u
#define PATTERN	     0x5a

#define WR(msr, value)                                         \
	{                                                      \
		.op = OP_WRMSR, .arg0 = (msr), .arg1 = (value) \
	}
#define HC(control)                                                                 \
	{                                                                           \
		.op = OP_HYPERCALL, .arg0 = (control), .arg1 = FAULT_AT(INPUT_PAGE) \
	}
#define PAGE_ON(msr, page) WR(msr, FAULT_AT(page) | 1)
#define PAGES(n)	   (1u << (n))
#define GONE_STATUS	   HV_STATUS_INVALID_HYPERCALL_INPUT, HV_STATUS_INVALID_HYPERCALL_INPUT
/* Of a call that stock does not know. */
#define GONE_IF_KNOWN	   HV_STATUS_INVALID_HYPERCALL_CODE, HV_STATUS_INVALID_HYPERCALL_INPUT
/* The guest does nothing, and the VMM sets the clock before: KVM writes the page anew. */
#define SET_CLOCK             \
	{                     \
		.op = OP_END, \
	}
/* Likewise, and the VMM writes a register. */
#define HOST_PAGE_ON(msr, page)                                         \
	{                                                               \
		.op = OP_END, .arg0 = (msr), .arg1 = FAULT_AT(page) | 1 \
	}

#define HYPERCALL_ON  PAGE_ON(HV_X64_MSR_HYPERCALL, CALLS_PAGE)
#define HYPERCALL_OFF WR(HV_X64_MSR_HYPERCALL, 0)
#define MASKED(n)     WR(HV_X64_MSR_SINT(n), HV_SINT_MASKED)
#define TIMER_OFF     WR(HV_X64_MSR_STIMER_CONFIG(0), 0), WR(HV_X64_MSR_STIMER_COUNT(0), 0)
#define X2APIC_OFF    WR(MSR_APICBASE, APIC_BASE | 0x100), WR(MSR_APICBASE, APIC_BASE | 0x900)

/* clang-format off */
const struct fault_case fault_cases[NR_FAULT_CASES] = {
	{ "HYPERCALL on", {}, HYPERCALL_ON, { HYPERCALL_OFF }, {}, PAGES(CALLS_PAGE), 0,
	  GP_VECTOR, 0, 0, false },
	{ "HYPERCALL on again", { HYPERCALL_ON }, HYPERCALL_ON, { HYPERCALL_OFF }, {},
	  PAGES(CALLS_PAGE), 0, GP_VECTOR, 0, 0, false },
	{ "HYPERCALL moved", { HYPERCALL_ON }, PAGE_ON(HV_X64_MSR_HYPERCALL, MOVED_PAGE),
	  { HYPERCALL_OFF }, {}, PAGES(CALLS_PAGE) | PAGES(MOVED_PAGE), 0, GP_VECTOR, 0, 0,
	  false },
	{ "HYPERCALL off", { HYPERCALL_ON }, HYPERCALL_OFF, {}, {}, PAGES(CALLS_PAGE), 0, 0, 0, 0,
	  false },
	{ "HYPERCALL by KVM_SET_MSRS", {}, HOST_PAGE_ON(HV_X64_MSR_HYPERCALL, CALLS_PAGE),
	  { HYPERCALL_OFF }, {}, PAGES(CALLS_PAGE), 0, GP_VECTOR, 0, 0, false },
	{ "GUEST_OS_ID gone", { HYPERCALL_ON }, WR(HV_X64_MSR_GUEST_OS_ID, 0),
	  { WR(HV_X64_MSR_GUEST_OS_ID, OS_ID), HYPERCALL_OFF }, {}, PAGES(CALLS_PAGE), 0, 0, 0, 0,
	  false },
	{ "VP_ASSIST_PAGE on", {}, PAGE_ON(HV_X64_MSR_VP_ASSIST_PAGE, ASSIST_PAGE),
	  { WR(HV_X64_MSR_VP_ASSIST_PAGE, 0) }, {}, PAGES(ASSIST_PAGE), 0, GP_VECTOR, 0, 0,
	  false },
	{ "SIMP on", {}, PAGE_ON(HV_X64_MSR_SIMP, SIMP_PAGE), { WR(HV_X64_MSR_SIMP, 0) }, {},
	  PAGES(SIMP_PAGE), 0, GP_VECTOR, 0, 0, false },
	{ "SIEFP on", {}, PAGE_ON(HV_X64_MSR_SIEFP, SIEFP_PAGE), { WR(HV_X64_MSR_SIEFP, 0) }, {},
	  PAGES(SIEFP_PAGE), 0, GP_VECTOR, 0, 0, false },
	{ "REFERENCE_TSC on", {}, PAGE_ON(HV_X64_MSR_REFERENCE_TSC, TSC_PAGE),
	  { WR(HV_X64_MSR_REFERENCE_TSC, 0) }, {}, PAGES(TSC_PAGE), true, 0, 0, 0, false },
	{ "REFERENCE_TSC after KVM_SET_CLOCK", { PAGE_ON(HV_X64_MSR_REFERENCE_TSC, TSC_PAGE) },
	  SET_CLOCK, { WR(HV_X64_MSR_REFERENCE_TSC, 0) }, {}, PAGES(TSC_PAGE), true, 0, 0, 0,
	  false },
	{ "REFERENCE_TSC by KVM_SET_MSRS", {}, HOST_PAGE_ON(HV_X64_MSR_REFERENCE_TSC, TSC_PAGE),
	  { WR(HV_X64_MSR_REFERENCE_TSC, 0) }, {}, PAGES(TSC_PAGE), true, 0, 0, 0, false },
	{ "message", { PAGE_ON(HV_X64_MSR_SIMP, SIMP_PAGE), WR(HV_X64_MSR_SINT(1), VECTOR),
		       WR(HV_X64_MSR_STIMER_CONFIG(0), HV_STIMER_AUTO_ENABLE | HV_STIMER_SINT(1)) },
	  WR(HV_X64_MSR_STIMER_COUNT(0), 1), { TIMER_OFF, MASKED(1), WR(HV_X64_MSR_SIMP, 0) },
	  {}, PAGES(SIMP_PAGE), true, 0, 0, 0, false },
	/* A count that is far off ends the row of those that were due: no storm, and no delay. */
	{ "message into a full slot",
	  { PAGE_ON(HV_X64_MSR_SIMP, SIMP_PAGE), WR(HV_X64_MSR_SINT(1), VECTOR),
	    WR(HV_X64_MSR_STIMER_CONFIG(0), HV_STIMER_AUTO_ENABLE | HV_STIMER_SINT(1)),
	    WR(HV_X64_MSR_STIMER_COUNT(0), ANY_TIME), WR(HV_X64_MSR_STIMER_COUNT(0), 1) },
	  WR(HV_X64_MSR_STIMER_COUNT(0), 1), { TIMER_OFF, MASKED(1), WR(HV_X64_MSR_SIMP, 0) },
	  {}, PAGES(SIMP_PAGE), true, 0, 0, 0, false },
	{ "EOM while a message waits",
	  { PAGE_ON(HV_X64_MSR_SIMP, SIMP_PAGE), WR(HV_X64_MSR_SINT(1), VECTOR),
	    WR(HV_X64_MSR_STIMER_CONFIG(0), HV_STIMER_AUTO_ENABLE | HV_STIMER_SINT(1)),
	    WR(HV_X64_MSR_STIMER_COUNT(0), ANY_TIME), WR(HV_X64_MSR_STIMER_COUNT(0), 1),
	    WR(HV_X64_MSR_STIMER_COUNT(0), 1) },
	  WR(HV_X64_MSR_EOM, 0), { TIMER_OFF, MASKED(1), WR(HV_X64_MSR_SIMP, 0) },
	  {}, PAGES(SIMP_PAGE), true, 0, 0, 0, false },
	{ "SINT", {}, WR(HV_X64_MSR_SINT(2), VECTOR), { MASKED(2) }, {}, 0, 0, 0, 0, 0, false },
	{ "SINT with AutoEOI", {}, WR(HV_X64_MSR_SINT(2), VECTOR | HV_SINT_AUTO_EOI),
	  { MASKED(2) }, {}, 0, 0, 0, 0, 0, false },
	{ "STIMER", { WR(HV_X64_MSR_STIMER_COUNT(0), ANY_TIME) },
	  WR(HV_X64_MSR_STIMER_CONFIG(0),
	     HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VECTOR)),
	  { TIMER_OFF }, {}, 0, 0, 0, 0, 0, false },
	{ "SEND_IPI in registers", {},
	  { .op = OP_HYPERCALL, .arg0 = HVCALL_SEND_IPI | HV_CTL_FAST, .arg1 = VECTOR,
	    .arg2 = 3 },
	  {}, {}, 0, 0, 0, 0, 0, false },
	{ "SEND_IPI", {}, HC(HVCALL_SEND_IPI), {}, { VECTOR, 3 }, PAGES(INPUT_PAGE), 0, 0,
	  GONE_STATUS, false },
	{ "SEND_IPI_EX", {}, HC(HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1)), {}, { VECTOR, 0, 1, 2 },
	  PAGES(INPUT_PAGE), 0, 0, GONE_STATUS, false },
	{ "FLUSH_SPACE", {}, HC(HVCALL_FLUSH_SPACE), {}, { 0, HV_FLUSH_ALL_SPACES, 3 },
	  PAGES(INPUT_PAGE), 0, 0, GONE_STATUS, false },
	{ "FLUSH_SPACE_EX", {}, HC(HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(1)), {},
	  { 0, 0, 0, 1, 3 }, PAGES(INPUT_PAGE), 0, 0, GONE_STATUS, false },
	{ "FLUSH_LIST", {}, HC(HVCALL_FLUSH_LIST | HV_CTL_REP(4)), {},
	  { 0, 0, 3, 0x1000, 0x2000, 0x3007, 0x9000 }, PAGES(INPUT_PAGE), 0, 0, GONE_STATUS,
	  false },
	{ "FLUSH_LIST_EX", {}, HC(HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(1) | HV_CTL_REP(3)), {},
	  { 0, 0, 0, 1, 3, 0x1000, 0x2000, 0x3000 }, PAGES(INPUT_PAGE), 0, 0, GONE_STATUS,
	  false },
	{ "FLUSH_GPA_SPACE", {}, HC(HVCALL_FLUSH_GPA_SPACE), {}, { 0, 0 }, PAGES(INPUT_PAGE), 0, 0,
	  GONE_IF_KNOWN, false },
	{ "FLUSH_GPA_LIST", {}, HC(HVCALL_FLUSH_GPA_LIST | HV_CTL_REP(3)), {},
	  { 0, 0, 0x1000, 0x2007, 0x9000 }, PAGES(INPUT_PAGE), 0, 0, GONE_IF_KNOWN, false },
	{ "SIGNAL_EVENT", {}, HC(HVCALL_SIGNAL_EVENT), {}, { CONN }, PAGES(INPUT_PAGE), 0, 0,
	  HV_STATUS_INVALID_ALIGNMENT, HV_STATUS_INVALID_HYPERCALL_INPUT, false },
	{ "POST_MESSAGE", {}, HC(HVCALL_POST_MESSAGE), {}, { CONN, BIT64(32) | 1 },
	  PAGES(INPUT_PAGE), 0, 0, 0, HV_STATUS_INVALID_HYPERCALL_INPUT, false },
	{ "EXT_QUERY_CAPABILITIES", {},
	  { .op = OP_HYPERCALL, .arg0 = HVCALL_EXT_QUERY_CAPABILITIES,
	    .arg2 = FAULT_AT(OUTPUT_PAGE) },
	  {}, {}, PAGES(OUTPUT_PAGE), 0, 0, HV_STATUS_INVALID_HYPERCALL_CODE,
	  HV_STATUS_INVALID_HYPERCALL_INPUT, false },
	{ "x2APIC", {}, WR(MSR_APICBASE, APIC_BASE | 0xd00), { X2APIC_OFF }, {}, 0, 0, 0, 0, 0,
	  false },
	{ "EFER.SVME", {}, WR(MSR_EFER, 0x1500), { WR(MSR_EFER, 0x500) }, {}, 0, 0, 0, 0, 0,
	  true },
};
/* clang-format on */

static const u32 state_msrs[] = {
	HV_X64_MSR_GUEST_OS_ID,
	HV_X64_MSR_HYPERCALL,
	HV_X64_MSR_VP_INDEX,
	HV_X64_MSR_REFERENCE_TSC,
	HV_X64_MSR_VP_ASSIST_PAGE,
	HV_X64_MSR_SCONTROL,
	HV_X64_MSR_SVERSION,
	HV_X64_MSR_SIEFP,
	HV_X64_MSR_SIMP,
	HV_X64_MSR_SINT(0),
	HV_X64_MSR_SINT(1),
	HV_X64_MSR_SINT(2),
	HV_X64_MSR_SINT(3),
	HV_X64_MSR_SINT(15),
	HV_X64_MSR_STIMER_CONFIG(0),
	HV_X64_MSR_STIMER_COUNT(0),
	HV_X64_MSR_STIMER_CONFIG(1),
	HV_X64_MSR_STIMER_COUNT(1),
	HV_X64_MSR_CRASH_P0,
	HV_X64_MSR_CRASH_P4,
	HV_X64_MSR_REENLIGHTENMENT_CONTROL,
	HV_X64_MSR_TSC_EMULATION_CONTROL,
	HV_X64_MSR_TSC_EMULATION_STATUS,
};
_Static_assert(ARRAY_SIZE(state_msrs) <= MAX_CASE_MSR, "too many");

bool fault_case_here(const struct fault_case *c)
{
	return !c->amd || (host_is_amd() && host_has_nested());
}

/* --- the world -------------------------------------------------------------- */

static void *map_pages(int memfd)
{
	void *p = mmap(NULL, FAULT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);

	ASSERT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

struct fault_world fault_world_create(void)
{
	struct fault_world w = { .vm = vm_create(FAULT_VPS, 0) };
	struct kvm_hyperv_eventfd e = { .conn_id = CONN };
	u32 i;

	w.v = w.vm->vcpus[0];
	w.memfd = (int)syscall(SYS_memfd_create, "fault", 0);
	ASSERT(w.memfd >= 0, "memfd_create: %s", strerror(errno));
	ASSERT_EQ(ftruncate(w.memfd, (off_t)FAULT_SIZE), 0);
	w.view = map_pages(w.memfd);
	w.hva = map_pages(w.memfd);
	w.slot = w.vm->nr_slots;
	vm_add_memslot(w.vm, FAULT_GPA, w.hva, FAULT_SIZE, 0);
	w.mapped = true;
	for (i = 0; i < FAULT_VPS; i++) {
		ASSERT_EQ(__vcpu_enable_cap(w.vm->vcpus[i], KVM_CAP_HYPERV_SYNIC, 0), 0);
		vcpu_ioctl(w.vm->vcpus[i], KVM_GET_LAPIC, &w.clean[i]);
		*(u32 *)(w.clean[i].regs + APIC_SPIV) = APIC_SPIV_ON;
	}
	w.conn = eventfd_new();
	e.fd = w.conn;
	ASSERT(!ioctl(w.vm->fd, KVM_HYPERV_EVENTFD, &e), "%s", strerror(errno));
	vcpu_set_msr(w.v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	w.ops = vcpu_ops_init(w.v, 1);
	return w;
}

void fault_world_free(struct fault_world *w)
{
	vm_free(w->vm);
	munmap(w->view, FAULT_SIZE);
	munmap(w->hva, FAULT_SIZE);
	close(w->memfd);
	close(w->conn);
}

void fault_set_memory(struct fault_world *w, void *hva, u32 flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = w->slot,
		.guest_phys_addr = FAULT_GPA,
		.userspace_addr = (u64)(uintptr_t)(hva ? hva : w->hva),
	};

	if (w->mapped)
		ASSERT(!ioctl(w->vm->fd, KVM_SET_USER_MEMORY_REGION, &r), "memslot: %s",
		       strerror(errno));
	w->mapped = hva;
	if (!hva)
		return;
	r.memory_size = FAULT_SIZE;
	r.flags = flags;
	ASSERT(!ioctl(w->vm->fd, KVM_SET_USER_MEMORY_REGION, &r), "memslot: %s", strerror(errno));
}

void fault_drop(struct fault_world *w)
{
	ASSERT_EQ(madvise(w->hva, FAULT_SIZE, MADV_DONTNEED), 0);
}

/* --- one operation ------------------------------------------------------------ */

static bool at_end(struct vcpu *v)
{
	if (v->run->exit_reason != KVM_EXIT_IO)
		return false;
	ASSERT_EQ(*(u32 *)((u8 *)v->run + v->run->io.data_offset), GUEST_SYNC_CMD);
	ASSERT_EQ(v->cpu->msg.args[0], OPS_STAGE);
	return true;
}

/* User space knows no extended call, so the kernel itself writes that call's output. */
static void answer(struct vcpu *v, const struct guest_op *op)
{
	if (v->run->hyperv.type == KVM_EXIT_HYPERV_HCALL)
		v->run->hyperv.u.hcall.result = op->arg0 == HVCALL_EXT_QUERY_CAPABILITIES ?
							HV_STATUS_INVALID_HYPERCALL_CODE :
							HV_STATUS_SUCCESS;
}

static void set_clock(struct vm *vm)
{
	struct kvm_clock_data clock;

	ASSERT(!ioctl(vm->fd, KVM_GET_CLOCK, &clock), "KVM_GET_CLOCK: %s", strerror(errno));
	clock.flags = 0;
	ASSERT(!ioctl(vm->fd, KVM_SET_CLOCK, &clock), "KVM_SET_CLOCK: %s", strerror(errno));
}

/* An ioctl may fail for want of memory, but not on and on. */
static void note_failure(struct fault_world *w, int r, u32 nr)
{
	w->errors++;
	w->error = r;
	ASSERT(nr < 4 && (r == -ENOMEM || r == -EFAULT), "ioctl: %s", strerror(-r));
}

/* What the VMM does before the guest runs. Return: false if it is refused. */
static bool act(struct fault_world *w, const struct guest_op *op)
{
	u32 failures = 0;
	int r;

	if (!op->arg0) {
		set_clock(w->vm);
		return true;
	}
	while ((r = __vcpu_set_msr(w->v, (u32)op->arg0, op->arg1)) < 0)
		note_failure(w, -errno, ++failures);
	return r;
}

struct fault_outcome fault_run(struct fault_world *w, const struct guest_op *op)
{
	bool refused = op->op == OP_END && !act(w, op);
	struct guest_op *o = &w->ops->ops[0];
	u32 exits = 0, failures = 0;
	int r;

	*o = *op;
	w->ops->nr = 1;
	for (;;) {
		r = __vcpu_run(w->v);
		if (r) {
			note_failure(w, r, ++failures);
			continue;
		}
		if (at_end(w->v))
			break;
		if (w->v->run->exit_reason != KVM_EXIT_HYPERV) {
			vcpu_dump(w->v);
			FAIL("exit %s", exit_name(w->v->run->exit_reason));
		}
		answer(w->v, op);
		exits++;
	}
	return (struct fault_outcome){ refused ? GP_VECTOR : o->vector, exits,
				       o->op == OP_HYPERCALL ? o->result : 0 };
}

static void run_steps(struct fault_world *w, const struct fault_case *c, const struct guest_op *op)
{
	struct fault_outcome o;
	u32 i;

	for (i = 0; i < MAX_STEPS && op[i].op != OP_END; i++) {
		o = fault_run(w, &op[i]);
		ASSERT(!o.vector, "%s: step %u: vector %u", c->name, i, o.vector);
	}
}

void fault_begin(struct fault_world *w, const struct fault_case *c)
{
	u32 i;

	memset(w->view, PATTERN, FAULT_SIZE);
	memcpy(w->view + INPUT_PAGE * PAGE_SIZE, c->input, sizeof(c->input));
	for (i = 0; i < FAULT_VPS; i++)
		vcpu_ioctl(w->vm->vcpus[i], KVM_SET_LAPIC, &w->clean[i]);
	run_steps(w, c, c->before);
}

void fault_end(struct fault_world *w, const struct fault_case *c)
{
	run_steps(w, c, c->after);
}

bool fault_same_outcome(const struct fault_outcome *a, const struct fault_outcome *b)
{
	return a->vector == b->vector && a->exits == b->exits && a->result == b->result;
}

/* --- what an operation may change ------------------------------------------------ */

static u32 waiting_interrupts(struct vcpu *v)
{
	struct kvm_lapic_state s;
	u32 i, bits, n = 0;

	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	for (i = 0; i < 8; i++) {
		memcpy(&bits, s.regs + APIC_IRR + 0x10 * i, sizeof(bits));
		n += (u32)__builtin_popcount(bits);
	}
	return n;
}

/* Take out what depends on the time: a message of a timer, or a clock, is there or not. */
static void blank_times(struct fault_state *s)
{
	struct tsc_page *clock = (void *)(s->pages + TSC_PAGE * PAGE_SIZE);
	struct hv_message *message = (void *)(s->pages + SIMP_PAGE * PAGE_SIZE);

	clock->sequence = !!clock->sequence;
	clock->offset = 0;
	message[1].timer.expiration = 0;
	message[1].timer.delivery = 0;
}

struct fault_state *fault_state(struct fault_world *w, const struct fault_case *c)
{
	struct fault_state *s = calloc(1, sizeof(*s));
	struct kvm_sregs sregs;
	u32 i;

	ASSERT(s, "memory");
	for (i = 0; i < ARRAY_SIZE(state_msrs); i++)
		s->msrs[i] = vcpu_get_msr(w->v, state_msrs[i]);
	vcpu_ioctl(w->v, KVM_GET_SREGS, &sregs);
	s->efer = sregs.efer;
	s->apic_base = sregs.apic_base;
	s->signals = eventfd_count(w->conn);
	for (i = 0; i < FAULT_VPS; i++)
		s->irr[i] = waiting_interrupts(w->vm->vcpus[i]);
	memcpy(s->pages, w->view, FAULT_SIZE);
	if (c->timed)
		blank_times(s);
	return s;
}

void fault_expect_state(const struct fault_case *c, struct fault_state *is,
			const struct fault_state *was, const char *when)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(state_msrs); i++)
		ASSERT(is->msrs[i] == was->msrs[i], "%s, %s: MSR 0x%x is 0x%llx, not 0x%llx",
		       c->name, when, state_msrs[i], (unsigned long long)is->msrs[i],
		       (unsigned long long)was->msrs[i]);
	for (i = 0; i < NR_FAULT_PAGES; i++)
		ASSERT(!memcmp(is->pages + i * PAGE_SIZE, was->pages + i * PAGE_SIZE, PAGE_SIZE),
		       "%s, %s: page %u differs", c->name, when, i);
	for (i = 0; i < FAULT_VPS; i++)
		ASSERT(is->irr[i] == was->irr[i], "%s, %s: vCPU %u has %u interrupts, not %u",
		       c->name, when, i, is->irr[i], was->irr[i]);
	ASSERT(is->efer == was->efer && is->apic_base == was->apic_base &&
		       is->signals == was->signals,
	       "%s, %s: EFER 0x%llx, APIC_BASE 0x%llx, %llu signals", c->name, when,
	       (unsigned long long)is->efer, (unsigned long long)is->apic_base,
	       (unsigned long long)is->signals);
	free(is);
}
