// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the exit fast path must leave true: MSR filters, single step, interrupts and
 * their shadow, registers, KVM's statistics and tracepoints, faults. Each holds on stock
 * KVM, which has no fast path for these exits; with the module, the counts in debugfs
 * tell that the exit was answered where it should be, and that every row that claims to
 * be atomic is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "irqfd.h"
#include "module.h"
#include "ops.h"
#include "rows.h"
#include "synic.h"
#include "tracefs.h"

#define READS	 100
#define TRIES	 8 /* a single exit may find that it has to wait, or a page that is not at hand */
#define ANSWERED "answered"
#define STATE	 "slow: stepped, SMM, hidden, PMU"
#define TRACED	 "slow: kvm_msr or kvm_exit traced"
#define SKIP	 "slow: instruction not at hand"
#define PARAM	 "/sys/module/kvm_hyperv/parameters/fastpath"
#define MSRS	 TRACING "/events/kvm/kvm_msr/enable"
#define EXITS	 TRACING "/events/kvm/kvm_exit/enable"

#define VEC 0x51

#define SPIN_FAST (HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST)
#define IPI_FAST  (HVCALL_SEND_IPI | HV_CTL_FAST)

/* Where the module counts; 0 on stock. */
static u64 counted(const char *name)
{
	return module_loaded() ? module_count(name) : 0;
}

static void expect_counted(const char *name, u64 before, u64 nr)
{
	u64 now = counted(name);

	ASSERT(!module_loaded() || now - before >= nr, "%s: %llu, expected %llu", name,
	       (unsigned long long)(now - before), (unsigned long long)nr);
}

static struct vm *reader(struct ops_page **p)
{
	struct vm *vm = vm_create(1, 0);

	*p = vcpu_ops_init(vm->vcpus[0], READS);
	return vm;
}

static void read_vp_index(struct vcpu *v, struct ops_page *p)
{
	u32 i;

	for (i = 0; i < READS; i++)
		p->ops[i] = OP_RD(HV_X64_MSR_VP_INDEX);
	vcpu_ops_run(v, p, READS);
	for (i = 0; i < READS; i++) {
		ASSERT_EQ(p->ops[i].vector, 0);
		ASSERT_EQ(p->ops[i].result, 0);
	}
}

/* How many of READS exits went where @name counts; READS on stock. */
static u64 exits_by(const char *name, struct vcpu *v, struct ops_page *p)
{
	u64 before = counted(name);

	read_vp_index(v, p);
	return module_loaded() ? counted(name) - before : READS;
}

TEST(registers_are_answered_at_once)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);

	ASSERT(exits_by(ANSWERED, vm->vcpus[0], p) >= READS, "not in the fast path");
	vm_free(vm);
}

TEST(switched_off_and_on)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];

	if (!module_loaded())
		ktap_skip("the parameter is the module's");
	file_must_write(PARAM, "0");
	ASSERT_EQ(exits_by(ANSWERED, v, p), 0);
	file_must_write(PARAM, "1");
	ASSERT(exits_by(ANSWERED, v, p) >= READS, "still off");
	vm_free(vm);
}

TEST(parameter_takes_booleans_only)
{
	int fd;

	if (!module_loaded())
		ktap_skip("the parameter is the module's");
	fd = open(PARAM, O_WRONLY);
	ASSERT(fd >= 0, "%s: %s", PARAM, strerror(errno));
	ASSERT(write(fd, "maybe", 5) < 0 && errno == EINVAL, "accepted");
	close(fd);
}

TEST(a_filter_sends_the_access_to_user_space)
{
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];
	u8 deny = 0;

	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER), 0);
	filter.ranges[0].flags = KVM_MSR_FILTER_READ;
	filter.ranges[0].base = HV_X64_MSR_VP_INDEX;
	filter.ranges[0].nmsrs = 1;
	filter.ranges[0].bitmap = &deny;
	ASSERT(!ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), "filter: %s", strerror(errno));

	p->ops[0] = OP_RD(HV_X64_MSR_VP_INDEX);
	p->nr = 1;
	vcpu_run_exit(v, KVM_EXIT_X86_RDMSR);
	ASSERT_EQ(v->run->msr.index, HV_X64_MSR_VP_INDEX);
	ASSERT_EQ(v->run->msr.reason, KVM_MSR_EXIT_REASON_FILTER);
	v->run->msr.error = 0;
	v->run->msr.data = 0x1234;
	ASSERT_EQ(vcpu_run(v), GUEST_SYNC_CMD);
	ASSERT_EQ(p->ops[0].result, 0x1234);

	/* Without it the register is the guest's again. */
	filter.ranges[0].flags = 0;
	filter.ranges[0].nmsrs = 0;
	filter.ranges[0].bitmap = NULL;
	ASSERT(!ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), "filter: %s", strerror(errno));
	read_vp_index(v, p);
	vm_free(vm);
}

/* Without a filter: what the kernel would answer by #GP, and nothing else. */
TEST(user_space_gets_what_would_fault)
{
	static const struct {
		struct guest_op op;
		u32 exit, reason;
	} cases[] = {
		{ { .op = OP_RDMSR, .arg0 = 0x4b564eff },
		  KVM_EXIT_X86_RDMSR,
		  KVM_MSR_EXIT_REASON_UNKNOWN },
		{ { .op = OP_WRMSR, .arg0 = 0x4b564eff, .arg1 = 7 },
		  KVM_EXIT_X86_WRMSR,
		  KVM_MSR_EXIT_REASON_UNKNOWN },
		{ { .op = OP_RDMSR, .arg0 = 0x40000050 },
		  KVM_EXIT_X86_RDMSR,
		  KVM_MSR_EXIT_REASON_INVAL },
		{ { .op = OP_RDMSR, .arg0 = HV_X64_MSR_EOI },
		  KVM_EXIT_X86_RDMSR,
		  KVM_MSR_EXIT_REASON_INVAL },
		{ { .op = OP_WRMSR, .arg0 = HV_X64_MSR_VP_INDEX, .arg1 = 7 },
		  KVM_EXIT_X86_WRMSR,
		  KVM_MSR_EXIT_REASON_INVAL },
	};
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];
	u32 i;

	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR,
				  KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL),
		  0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		p->ops[0] = cases[i].op;
		p->nr = 1;
		vcpu_run_exit(v, cases[i].exit);
		ASSERT_EQ(v->run->msr.index, cases[i].op.arg0);
		ASSERT_EQ(v->run->msr.reason, cases[i].reason);
		if (cases[i].exit == KVM_EXIT_X86_WRMSR)
			ASSERT_EQ(v->run->msr.data, 7);
		v->run->msr.error = 0;
		v->run->msr.data = 0x1234;
		ASSERT_EQ(vcpu_run(v), GUEST_SYNC_CMD);
		ASSERT_EQ(p->ops[0].vector, 0);
		if (cases[i].exit == KVM_EXIT_X86_RDMSR)
			ASSERT_EQ(p->ops[0].result, 0x1234);
	}
	ASSERT(exits_by(ANSWERED, v, p) >= READS, "not in the fast path");
	vm_free(vm);
}

/* --- what KVM tells of exits ---------------------------------------------- */

TEST(a_traced_access_is_traced)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	u64 slow;

	file_must_write(MSRS, "1");
	slow = exits_by(TRACED, vm->vcpus[0], p);
	file_must_write(MSRS, "0");
	ASSERT(slow >= READS, "%llu of %u through the slow path", (unsigned long long)slow, READS);
	vm_free(vm);
}

static bool is_msr_exit(const char *line)
{
	return strstr(line, "kvm_exit:") &&
	       (strstr(line, "reason msr ") || strstr(line, "reason MSR_READ "));
}

/* The event may be switched on while the guest runs. */
TEST(every_exit_is_traced)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	u64 slow;

	read_vp_index(vm->vcpus[0], p);
	trace_clear();
	file_must_write(EXITS, "1");
	slow = exits_by(TRACED, vm->vcpus[0], p);
	file_must_write(EXITS, "0");
	ASSERT_EQ(slow, READS);
	ASSERT_EQ(trace_count(is_msr_exit), READS);
	ASSERT(exits_by(ANSWERED, vm->vcpus[0], p) >= READS, "still slow");
	ASSERT_EQ(trace_count(is_msr_exit), READS);
	vm_free(vm);
}

static const char *traced_word;

static bool has_traced_word(const char *line)
{
	return strstr(line, traced_word);
}

static u64 enable_apic(u64 arg)
{
	(void)arg;
	apic_enable();
	return 0;
}

/* The synthetic registers that stand for the APIC's are traced as those. */
TEST(accesses_to_the_apic_are_traced)
{
	static const struct {
		const char *event, *word;
		struct guest_op op;
	} cases[] = {
		{ "kvm_apic",
		  "apic_write APIC_TASKPRI",
		  { .op = OP_WRMSR, .arg0 = HV_X64_MSR_TPR, .arg1 = 0x20 } },
		{ "kvm_apic",
		  "apic_read APIC_TASKPRI",
		  { .op = OP_RDMSR, .arg0 = HV_X64_MSR_TPR, .arg1 = 0 } },
		{ "kvm_apic",
		  "apic_write APIC_ICR ",
		  { .op = OP_WRMSR, .arg0 = HV_X64_MSR_ICR, .arg1 = VEC } },
		{ "kvm_apic_ipi",
		  "kvm_apic_ipi:",
		  { .op = OP_WRMSR, .arg0 = HV_X64_MSR_ICR, .arg1 = VEC } },
		{ "kvm_apic_accept_irq",
		  "kvm_apic_accept_irq:",
		  { .op = OP_WRMSR, .arg0 = HV_X64_MSR_ICR, .arg1 = VEC } },
		{ "kvm_eoi", "kvm_eoi:", { .op = OP_WRMSR, .arg0 = HV_X64_MSR_EOI } },
	};
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];
	char path[128];
	u32 i, n;

	vcpu_op(v, p, (struct guest_op){ .op = OP_CALL, .arg0 = (u64)(uintptr_t)enable_apic });
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		traced_word = cases[i].word;
		snprintf(path, sizeof(path), TRACING "/events/kvm/%s/enable", cases[i].event);
		for (n = 0; n < READS; n++)
			p->ops[n] = cases[i].op;
		trace_clear();
		file_must_write(path, "1");
		vcpu_ops_run(v, p, READS);
		file_must_write(path, "0");
		n = trace_count(has_traced_word);
		ASSERT(n == READS, "%s of %s: %u", traced_word, cases[i].event, n);
	}
	vm_free(vm);
}

/* One of the vCPU's binary statistics. */
static u64 vcpu_stat(struct vcpu *v, const char *name)
{
	int fd = ioctl(v->fd, KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header h;
	struct {
		struct kvm_stats_desc desc;
		char name[256];
	} d;
	size_t size;
	u64 value;
	u32 i;

	ASSERT(fd >= 0, "KVM_GET_STATS_FD: %s", strerror(errno));
	ASSERT_EQ(pread(fd, &h, sizeof(h), 0), sizeof(h));
	size = sizeof(d.desc) + h.name_size;
	ASSERT(size <= sizeof(d), "names of %u bytes", h.name_size);
	for (i = 0; i < h.num_desc; i++) {
		ASSERT_EQ(pread(fd, &d, size, (off_t)(h.desc_offset + i * size)), size);
		if (strcmp(d.name, name))
			continue;
		ASSERT_EQ(pread(fd, &value, 8, (off_t)(h.data_offset + d.desc.offset)), 8);
		close(fd);
		return value;
	}
	FAIL("no statistic %s", name);
}

/* Each exit once: the host's interrupts add a few, but not as many again. */
TEST(exits_are_counted)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];
	u64 exits, calls, answered = counted(ANSWERED);
	u32 i;

	exits = vcpu_stat(v, "exits");
	read_vp_index(v, p);
	exits = vcpu_stat(v, "exits") - exits;
	expect_counted(ANSWERED, answered, READS);
	ASSERT(exits >= READS && exits < 2 * READS, "%llu exits for %u reads",
	       (unsigned long long)exits, READS);

	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	for (i = 0; i < READS; i++)
		p->ops[i] = OP_HC(SPIN_FAST, 0, 0);
	exits = vcpu_stat(v, "exits");
	calls = vcpu_stat(v, "hypercalls");
	vcpu_ops_run(v, p, READS);
	exits = vcpu_stat(v, "exits") - exits;
	ASSERT_EQ(vcpu_stat(v, "hypercalls") - calls, READS);
	ASSERT(exits >= READS && exits < 2 * READS, "%llu exits for %u calls",
	       (unsigned long long)exits, READS);
	vm_free(vm);
}

/* --- single step ------------------------------------------------------------ */

/* Where a single step must stop: before, between and behind two exits. */
extern const u8 step_read[], step_call[], step_end[];

GUEST_CODE(stepped)
{
	guest_set_os_id();
	GUEST_SYNC(1);
	asm volatile(".globl step_read, step_call, step_end\n"
		     "	mov $0x40000002, %%ecx\n"
		     "step_read: rdmsr\n"
		     "step_call: mov $0x10008, %%ecx\n"
		     "step_end: nop\n"
		     :
		     :
		     : "rax", "rcx", "rdx", "memory");
}

TEST(single_step_stops_behind_an_answered_exit)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	bool before = false, behind = false;
	u32 i;

	vcpu_entry(v, stepped);
	vcpu_run_sync(v, 1);
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	for (i = 0; i < 200 && !behind; i++) {
		ASSERT_EQ(__vcpu_run(v), 0);
		if (v->run->exit_reason != KVM_EXIT_DEBUG)
			continue;
		before |= v->run->debug.arch.pc == (u64)(uintptr_t)step_read;
		behind = v->run->debug.arch.pc == (u64)(uintptr_t)step_call;
		ASSERT(v->run->debug.arch.pc != (u64)(uintptr_t)step_end, "stepped over the read");
	}
	ASSERT(before && behind, "no stop at the read (%d) and behind it (%d)", before, behind);
	vm_free(vm);
}

/*
 * One instruction that exits, directly behind @prepare; @behind becomes the address
 * behind it, where whatever waits for its end has to show up.
 */
#define RUN_INSN(prepare, insn, rax, rcx, rdx, r8, behind)                         \
	do {                                                                       \
		u64 __a = (rax), __c = (rcx), __d = (rdx);                         \
		asm volatile("mov %[in8], %%r8\n"                                  \
			     "lea 1f(%%rip), %[at]\n" prepare insn "\n"            \
			     "1:\n"                                                \
			     : "+a"(__a), "+c"(__c), "+d"(__d), [at] "=&r"(behind) \
			     : [in8] "r"((u64)(r8))                                \
			     : "r8", "r9", "r10", "r11", "cc", "memory");          \
	} while (0)
#define RUN_READ(prepare, msr, behind) RUN_INSN(prepare, "rdmsr", 0, msr, 0, 0, behind)
#define RUN_WRITE(prepare, msr, val, behind) \
	RUN_INSN(prepare, "wrmsr", (u32)(val), msr, (val) >> 32, 0, behind)
#define RUN_CALL(prepare, control, in, out, behind)                                \
	do {                                                                       \
		if (guest_use_vmmcall)                                             \
			RUN_INSN(prepare, "vmmcall", 0, control, in, out, behind); \
		else                                                               \
			RUN_INSN(prepare, "vmcall", 0, control, in, out, behind);  \
	} while (0)

#define RFLAGS_TF  0x100
#define SET_TF	   "pushfq\norq $0x100, (%%rsp)\npopfq\n"
#define DR6_BS	   BIT64(14)
#define DR6_EMPTY  0xffff0ff0ULL
#define NR_TRAPPED 3

/* Where the last interrupt or #DB came, and how many did. */
static volatile u64 taken_at, debug_status;
static volatile u32 nr_taken;

static void on_debug(struct guest_frame *f)
{
	u64 dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	asm volatile("mov %0, %%dr6" : : "r"(DR6_EMPTY));
	debug_status = dr6;
	taken_at = f->rip;
	nr_taken++;
	f->rflags &= ~(u64)RFLAGS_TF;
}

GUEST_CODE(trapped)
{
	u64 behind;

	guest_set_os_id();
	RUN_READ(SET_TF, HV_X64_MSR_VP_INDEX, behind);
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(taken_at, behind);
	GUEST_ASSERT_EQ(debug_status & DR6_BS, DR6_BS);

	debug_status = 0;
	RUN_WRITE(SET_TF, HV_X64_MSR_TPR, 0ULL, behind);
	GUEST_ASSERT_EQ(nr_taken, 2);
	GUEST_ASSERT_EQ(taken_at, behind);
	GUEST_ASSERT_EQ(debug_status & DR6_BS, DR6_BS);

	debug_status = 0;
	RUN_CALL(SET_TF, SPIN_FAST, 0, 0, behind);
	GUEST_ASSERT_EQ(nr_taken, NR_TRAPPED);
	GUEST_ASSERT_EQ(taken_at, behind);
	GUEST_ASSERT_EQ(debug_status & DR6_BS, DR6_BS);
}

/* The guest debugs itself. */
TEST(trap_flag_traps_behind_the_instruction)
{
	struct vm *vm = vm_create(1, 0);
	u64 before = counted(STATE);

	guest_irq_handlers[1] = on_debug;
	vcpu_entry(vm->vcpus[0], trapped);
	vcpu_run_done(vm->vcpus[0]);
	expect_counted(STATE, before, NR_TRAPPED);
	vm_free(vm);
}

/* --- interrupts ---------------------------------------------------------------- */

#define NR_INTERRUPTED 20

static void on_interrupt(struct guest_frame *f)
{
	taken_at = f->rip;
	nr_taken++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void run_interrupted(void (*entry)(void), const char *name, u64 nr)
{
	struct vm *vm = vm_create(1, 0);
	u64 before = counted(name);

	guest_irq_handlers[VEC] = on_interrupt;
	vcpu_entry(vm->vcpus[0], entry);
	vcpu_run_done(vm->vcpus[0]);
	expect_counted(name, before, nr);
	vm_free(vm);
}

GUEST_CODE(shadowed)
{
	u64 behind;
	u32 i;

	guest_set_os_id();
	apic_enable();
	for (i = 0; i < NR_INTERRUPTED; i++) {
		nr_taken = 0;
		wrmsr(HV_X64_MSR_ICR, ICR_TO(0, VEC));
		RUN_READ("sti\n", HV_X64_MSR_VP_INDEX, behind);
		irqs_off();
		GUEST_ASSERT_EQ(nr_taken, 1);
		GUEST_ASSERT_EQ(taken_at, behind);

		wrmsr(HV_X64_MSR_ICR, ICR_TO(0, VEC));
		RUN_CALL("sti\n", SPIN_FAST, 0, 0, behind);
		irqs_off();
		GUEST_ASSERT_EQ(nr_taken, 2);
		GUEST_ASSERT_EQ(taken_at, behind);
	}
}

/* STI holds interrupts off for one instruction, and no longer if that one exits. */
TEST(interrupt_shadow_ends_with_the_instruction)
{
	run_interrupted(shadowed, "NOTIFY_LONG_SPIN_WAIT ", NR_INTERRUPTED);
}

#define SOME_PORT 0x80
#define RFLAGS_IF 0x200

GUEST_CODE(shadowed_by_the_host)
{
	u64 behind;

	apic_enable();
	wrmsr(HV_X64_MSR_ICR, ICR_TO(0, VEC));
	asm volatile("lea 1f(%%rip), %0\n"
		     "outb %%al, %1\n"
		     "nop\n"
		     "1:\n"
		     "nop\n"
		     "cli\n"
		     : "=&r"(behind)
		     : "i"(SOME_PORT)
		     : "memory");
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(taken_at, behind);
}

/* An exit between STI and the next instruction: the entry brings the shadow back. */
TEST(interrupt_shadow_outlives_an_exit)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_vcpu_events events;
	struct kvm_regs regs;

	guest_irq_handlers[VEC] = on_interrupt;
	vcpu_entry(v, shadowed_by_the_host);
	vcpu_run_exit(v, KVM_EXIT_IO);
	/* To the end of the instruction, and not further. */
	v->run->immediate_exit = 1;
	ASSERT_EQ(__vcpu_ioctl(v, KVM_RUN, NULL), -EINTR);
	v->run->immediate_exit = 0;

	vcpu_ioctl(v, KVM_GET_REGS, &regs);
	regs.rflags |= RFLAGS_IF;
	vcpu_ioctl(v, KVM_SET_REGS, &regs);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &events);
	ASSERT_EQ(events.interrupt.shadow, 0);
	events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	events.flags = KVM_VCPUEVENT_VALID_SHADOW;
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &events);
	vcpu_run_done(v);
	vm_free(vm);
}

GUEST_CODE(sends_itself_by_icr)
{
	u64 behind;
	u32 i;

	apic_enable();
	irqs_on();
	for (i = 1; i <= NR_INTERRUPTED; i++) {
		RUN_WRITE("", HV_X64_MSR_ICR, ICR_TO(0, VEC), behind);
		GUEST_ASSERT_EQ(nr_taken, i);
		GUEST_ASSERT_EQ(taken_at, behind);
	}
}

TEST(own_icr_interrupts_at_once)
{
	run_interrupted(sends_itself_by_icr, "ICR ", NR_INTERRUPTED);
}

GUEST_CODE(sends_itself_by_call)
{
	u64 behind;
	u32 i;

	guest_set_os_id();
	apic_enable();
	irqs_on();
	for (i = 1; i <= NR_INTERRUPTED; i++) {
		RUN_CALL("", IPI_FAST, VEC, 1, behind);
		GUEST_ASSERT_EQ(nr_taken, i);
		GUEST_ASSERT_EQ(taken_at, behind);
	}
}

TEST(own_ipi_interrupts_at_once)
{
	run_interrupted(sends_itself_by_call, "SEND_IPI ", NR_INTERRUPTED);
}

/* --- registers and modes ---------------------------------------------------- */

#define XMM_CALLS 50
#define XMM_WORDS 32 /* XMM0 to 15 */

static u64 xmm_in[XMM_WORDS], xmm_out[XMM_WORDS];

#define FOR_EACH_XMM(op)                                                                        \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) \
		op(14) op(15)
#define XMM_LOAD(n)  "movups 16*" #n "(%[from]), %%xmm" #n "\n"
#define XMM_STORE(n) "movups %%xmm" #n ", 16*" #n "(%[to])\n"
#define XMM_CALL(insn)                                                                             \
	asm volatile(FOR_EACH_XMM(XMM_LOAD) "xor %%r8d, %%r8d\n" insn "\n" FOR_EACH_XMM(XMM_STORE) \
		     : "+a"(rax), "+c"(control), "+d"(space)                                       \
		     : [from] "r"(xmm_in), [to] "r"(xmm_out)                                       \
		     : "r8", "r9", "r10", "r11", "cc", "memory")

/* A list of 11 pages, which takes all of XMM0 to 5, of itself and of a VP that never ran. */
GUEST_CODE(flushes_by_xmm)
{
	u32 i, j;

	guest_set_os_id();
	for (i = 0; i < XMM_CALLS; i++) {
		u64 control = HVCALL_FLUSH_LIST | HV_CTL_FAST | HV_CTL_REP(11);
		u64 space = 0, rax = 0xdead;

		for (j = 0; j < XMM_WORDS; j++)
			xmm_in[j] = (u64)(i * XMM_WORDS + j + 1) << 12;
		xmm_in[0] = i & 1 ? 1 : 3;
		if (guest_use_vmmcall)
			XMM_CALL("vmmcall");
		else
			XMM_CALL("vmcall");
		GUEST_ASSERT_EQ(rax, HV_CTL_REP(11));
		for (j = 0; j < XMM_WORDS; j++)
			GUEST_ASSERT_EQ(xmm_out[j], xmm_in[j]);
	}
}

TEST(xmm_registers_are_unharmed)
{
	struct vm *vm = vm_create(2, 0);
	u64 before = counted("FLUSH_VIRTUAL_ADDRESS_LIST ");

	vcpu_entry(vm->vcpus[0], flushes_by_xmm);
	vcpu_run_done(vm->vcpus[0]);
	/* Some may find the registers not loaded, and are then slow. */
	expect_counted("FLUSH_VIRTUAL_ADDRESS_LIST ", before, XMM_CALLS / 2);
	vm_free(vm);
}

#define CR4_OSXSAVE BIT64(18)
#define HAS_XSAVE   BIT64(26) /* leaf 1, ECX */
#define XCR0_AVX    7u	      /* and what it needs: FP, SSE */

static u32 xcr0;

static u32 xgetbv0(void)
{
	u32 lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo;
}

GUEST_CODE(enables_avx)
{
	u64 cr4;
	u32 i;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE));
	GUEST_ASSERT_EQ(xgetbv0(), 1);
	xcr0 = cpuid(0xd, 0).eax & XCR0_AVX;
	asm volatile("xsetbv" : : "a"(xcr0), "d"(0), "c"(0));
	GUEST_ASSERT_EQ(xgetbv0(), xcr0);
	for (i = 0; i < NR_INTERRUPTED; i++) {
		rdmsr(HV_X64_MSR_VP_INDEX);
		GUEST_ASSERT_EQ(xgetbv0(), xcr0);
		outb(SOME_PORT, 0);
		GUEST_ASSERT_EQ(xgetbv0(), xcr0);
	}
}

/* KVM loads a guest's XCR0 where its own differs: for the fast path it stays loaded. */
TEST(xcr0_outlives_an_exit)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 before = row_counts(HV_X64_MSR_VP_INDEX).fast_reads;
	struct kvm_xcrs x;
	u32 i;

	if (!(cpuid_get(&v->cpuid, 1)->ecx & HAS_XSAVE))
		ktap_skip("this CPU has no XSAVE");
	vcpu_entry(v, enables_avx);
	for (i = 0; i < NR_INTERRUPTED; i++) {
		vcpu_run_exit(v, KVM_EXIT_IO);
		vcpu_ioctl(v, KVM_GET_XCRS, &x);
		ASSERT_EQ(x.xcrs[0].value, xcr0);
	}
	vcpu_run_done(v);
	if (module_loaded())
		ASSERT_EQ(row_counts(HV_X64_MSR_VP_INDEX).fast_reads - before, NR_INTERRUPTED);
	vm_free(vm);
}

/* Read VP_INDEX and tell the host, EDX in EBX: 32-bit code, and real mode. */
/* clang-format off */
asm(".pushsection .text\n"
	".macro	tell_vp_index\n"
	"	mov	$0x40000002, %ecx\n"
	"	rdmsr\n"
	"	mov	%edx, %ebx\n"
	"	mov	$0x4b48, %edx\n"
	"	out	%eax, %dx\n"
	"	hlt\n"
	".endm\n"
	".code32\n"
	"tell_in_32_bit: tell_vp_index\n"
	".code16\n"
	"tell_in_smm: tell_vp_index\n"
	"tell_in_smm_end:\n"
	".code64\n"
	".popsection\n");
/* clang-format on */
extern u8 tell_in_32_bit[], tell_in_smm[], tell_in_smm_end[];
void guest_mode32_vmcall(void);
void guest_mode32_vmmcall(void);

/* What these load and leave, at EBP. */
struct regs32 {
	u32 eax, ebx, ecx, edx, esi, edi;
};

#define AN_INDEX 38 /* no enum guest_cmd, and in the high half of a mask */

GUEST_CODE(be_known)
{
	guest_set_os_id();
	apic_enable();
}

/* CS.L is 0 in long mode: the registers of a call are those of 32-bit code. */
TEST(compatibility_mode)
{
	struct vm *vm = vm_create(1, 0);
	void (*code)(void) = guest_use_vmmcall ? guest_mode32_vmmcall : guest_mode32_vmcall;
	struct vcpu *v = vm->vcpus[0];
	struct kvm_lapic_state apic;
	struct regs32 *block;
	struct kvm_regs r;
	u64 before;
	u32 i;

	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, AN_INDEX);
	vcpu_entry(v, be_known);
	vcpu_run_done(v);

	block = vm_alloc(vm, sizeof(*block));
	block->edi = 1u << (AN_INDEX - 32);
	before = counted("SEND_IPI ");
	for (i = 0; i < TRIES && counted("SEND_IPI ") == before; i++) {
		block->eax = IPI_FAST;
		block->ecx = VEC;
		vcpu_enter_compatibility_mode(v, (u64)(uintptr_t)code, (u64)(uintptr_t)block);
		vcpu_run_done(v);
	}
	expect_counted("SEND_IPI ", before, 1);
	ASSERT_EQ(block->eax, HV_STATUS_SUCCESS);
	ASSERT_EQ(block->edx, 0);
	ASSERT_EQ(block->ecx, VEC);
	vcpu_ioctl(v, KVM_GET_LAPIC, &apic);
	ASSERT(apic.regs[APIC_IRR + VEC / 32 * 0x10 + VEC % 32 / 8] & 1 << VEC % 8,
	       "the interrupt is not there");

	before = counted(ANSWERED);
	for (i = 0; i < TRIES && counted(ANSWERED) == before; i++) {
		vcpu_enter_compatibility_mode(v, (u64)(uintptr_t)tell_in_32_bit, 0);
		ASSERT_EQ(vcpu_run(v), AN_INDEX);
	}
	expect_counted(ANSWERED, before, 1);
	vcpu_ioctl(v, KVM_GET_REGS, &r);
	ASSERT_EQ(r.rbx, 0);
	vm_free(vm);
}

#define PTE_ACCESSED 0x20
#define NR_SPACES    100

static u64 own_cr3, left_cr3;

static void load_cr3(u64 cr3)
{
	asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

/*
 * What was a page table may be anything now. KVM is told of a new CR3 by no exit of its
 * own: it looks when it has another one to handle.
 */
GUEST_CODE(leaves_address_space)
{
	volatile u64 *left = (volatile u64 *)(uintptr_t)left_cr3;
	u32 i;

	for (i = 0; i < NR_SPACES; i++) {
		load_cr3(left_cr3);
		cpuid(0, 0);
		load_cr3(own_cr3);
		*left &= ~(u64)PTE_ACCESSED;
		rdmsr(HV_X64_MSR_VP_INDEX);
		GUEST_ASSERT_EQ(*left & PTE_ACCESSED, 0);
	}
}

TEST(an_address_space_that_was_left_is_not_touched)
{
	struct vm *vm = vm_create(1, 0);
	u64 *pml4 = vm_alloc(vm, PAGE_SIZE);

	pml4[0] = *(u64 *)(uintptr_t)vm->cr3;
	own_cr3 = vm->cr3;
	left_cr3 = (u64)(uintptr_t)pml4;
	vcpu_entry(vm->vcpus[0], leaves_address_space);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* RDMSR and a return, which begin with the last byte of a page. */
static u8 across[2 * PAGE_SIZE] __attribute__((aligned(4096)));

GUEST_CODE(reads_across_pages)
{
	u32 i, eax, edx;

	for (i = 0; i < READS; i++) {
		asm volatile("call *%3"
			     : "=a"(eax), "=d"(edx)
			     : "c"(HV_X64_MSR_VP_INDEX), "r"(&across[PAGE_SIZE - 1])
			     : "memory");
		GUEST_ASSERT_EQ(eax, AN_INDEX);
		GUEST_ASSERT_EQ(edx, 0);
	}
}

/*
 * Where the CPU does not tell the next instruction only one page is looked at: KVM warns in the
 * host's log of a read that crosses one.
 */
TEST(an_instruction_across_pages)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 before = counted(SKIP);

	memcpy(&across[PAGE_SIZE - 1], "\x0f\x32\xc3", 3);
	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, AN_INDEX);
	vcpu_entry(v, reads_across_pages);
	vcpu_run_done(v);
	if (!host_tells_next_rip())
		expect_counted(SKIP, before, READS);
	vm_free(vm);
}

#define SMBASE	   0x30000
#define SMRAM_SIZE 0x10000
#define SMM_ENTRY  0x8000
#define SMM_SLOT   0x10000 /* the first of address space 1 */

TEST(system_management_mode)
{
	struct kvm_userspace_memory_region smram = {
		.slot = SMM_SLOT,
		.guest_phys_addr = SMBASE,
		.memory_size = SMRAM_SIZE,
	};
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_vcpu_events events;
	u64 before = counted(STATE);
	u8 *ram;

	if (!vm_check_cap(vm, KVM_CAP_X86_SMM) || vm_check_cap(vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		ktap_skip("this KVM has no SMM");
	ram = mmap(NULL, SMRAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(ram != MAP_FAILED, "mmap");
	memcpy(ram + SMM_ENTRY, tell_in_smm, (size_t)(tell_in_smm_end - tell_in_smm));
	smram.userspace_addr = (u64)(uintptr_t)ram;
	ASSERT(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &smram), "SMRAM: %s", strerror(errno));
	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, AN_INDEX);
	vcpu_entry(v, be_known);
	vcpu_ioctl(v, KVM_SMI, NULL);
	ASSERT_EQ(vcpu_run(v), AN_INDEX);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &events);
	ASSERT_EQ(events.smi.smm, 1);
	expect_counted(STATE, before, 1);
	vm_free(vm);
}

/* --- faults -------------------------------------------------------------------- */

/* A read-only register, a write-only one and no register: #GP, at the instruction. */
TEST(faults_are_as_ever)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];

	ASSERT_EQ(vcpu_op(v, p, OP_WR(HV_X64_MSR_VP_INDEX, 1)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(v, p, OP_RD(HV_X64_MSR_EOI)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(v, p, OP_RD(0x40000050)).vector, GP_VECTOR);
	read_vp_index(v, p);
	vm_free(vm);
}

/* --- every row that says it is atomic -------------------------------------------- */

#define CONN	 0x1234
#define MAX_ROWS 64
#define TRIES	 8 /* a single one may find that it has to wait */

/* A line of debugfs' rows. A hypercall counts as a write. */
struct row {
	bool call, read, write;
	char name[33];
	u32 number;
	u64 fast_reads, fast_writes;
};

/* Columns: name, number, "r", "w", "rw" or "-", then counts, the fast ones last. */
static u32 read_rows(struct row rows[MAX_ROWS])
{
	FILE *f = fopen(MODULE_DEBUGFS "/rows", "r");
	unsigned long long count[4];
	char line[256], atomic[8];
	u32 nr = 0;

	ASSERT(f, "rows: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		struct row *r = &rows[nr];
		int cells;

		ASSERT(nr < MAX_ROWS, "more rows than expected");
		cells = sscanf(line, "%32s 0x%x %7s %llu %llu %llu %llu", r->name, &r->number,
			       atomic, &count[0], &count[1], &count[2], &count[3]);
		if (cells != 7 && cells != 5)
			continue;
		r->call = cells == 5;
		r->fast_reads = r->call ? 0 : count[2];
		r->fast_writes = r->call ? count[1] : count[3];
		r->read = strchr(atomic, 'r');
		r->write = strchr(atomic, 'w');
		nr++;
	}
	fclose(f);
	return nr;
}

/* A value that the register takes at once. */
static u64 write_value(u32 msr)
{
	return msr == HV_X64_MSR_ICR ? ICR_TO(0, VEC) : 0;
}

/* Each call in registers: to itself, and to nobody who would have to be waited for. */
static const struct register_call {
	u64 control;
	u32 nr;
	u64 block[6];
} register_calls[] = {
	{ HVCALL_FLUSH_SPACE, 3, { 0, 0, 1 } },
	{ HVCALL_FLUSH_LIST | HV_CTL_REP(1), 4, { 0, 0, 1, 0x1000 } },
	{ HVCALL_NOTIFY_LONG_SPIN_WAIT, 1, { 0 } },
	{ HVCALL_SEND_IPI, 2, { VEC, 1 } },
	{ HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(1), 5, { 0, 0, 0, 1, 1 } },
	{ HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(1) | HV_CTL_REP(1), 6, { 0, 0, 0, 1, 1, 0x1000 } },
	{ HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), 4, { VEC, 0, 1, 1 } },
	{ HVCALL_SIGNAL_EVENT, 1, { CONN } },
};

static struct guest_op register_call(const struct row *r, struct xmm_block *xmm)
{
	const struct register_call *c;

	for (c = register_calls; c < register_calls + ARRAY_SIZE(register_calls); c++) {
		if ((c->control & 0xffff) != r->number)
			continue;
		if (c->nr > 2)
			memcpy(xmm->q, &c->block[2], (c->nr - 2) * sizeof(u64));
		return (struct guest_op){ .op = OP_HYPERCALL_XMM,
					  .arg0 = c->control | HV_CTL_FAST,
					  .arg1 = c->block[0],
					  .arg2 = c->block[1],
					  .xmm = xmm };
	}
	FAIL("%s is atomic, but this test does not know how to make that call", r->name);
}

static void touch(struct vcpu *v, struct ops_page *p, struct guest_op op, const char *name)
{
	u32 i;

	for (i = 0; i < TRIES; i++)
		p->ops[i] = op;
	vcpu_ops_run(v, p, TRIES);
	for (i = 0; i < TRIES; i++) {
		ASSERT(!p->ops[i].vector && !p->ops[i].exits, "%s: vector %u, %u exits", name,
		       p->ops[i].vector, p->ops[i].exits);
		if (op.op == OP_HYPERCALL_XMM)
			ASSERT(!(p->ops[i].result & 0xffff), "%s: status 0x%llx", name,
			       (unsigned long long)p->ops[i].result);
	}
}

TEST(every_atomic_row_is_answered_at_once)
{
	static struct row rows[MAX_ROWS], after[MAX_ROWS];
	struct kvm_hyperv_eventfd conn = { .conn_id = CONN };
	u32 nr, i, atomic = 0;
	struct ops_page *p;
	struct xmm_block *xmm;
	struct vcpu *v;
	struct vm *vm;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	vm = synic_vm(1);
	v = vm->vcpus[0];
	conn.fd = (u32)eventfd_new();
	ASSERT(!ioctl(vm->fd, KVM_HYPERV_EVENTFD, &conn), "eventfd: %s", strerror(errno));
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	p = vcpu_ops_init(v, TRIES);
	xmm = vm_alloc(vm, sizeof(*xmm));

	nr = read_rows(rows);
	for (i = 0; i < nr; i++) {
		struct row *r = &rows[i];

		atomic += r->read + r->write;
		if (r->read)
			touch(v, p, OP_RD(r->number), r->name);
		if (r->call && r->write)
			touch(v, p, register_call(r, xmm), r->name);
		else if (r->write)
			touch(v, p, OP_WR(r->number, write_value(r->number)), r->name);
	}
	ASSERT(atomic, "debugfs does not tell which rows are atomic");
	ktap_log("%u atomic reads, writes and calls of %u rows", atomic, nr);

	ASSERT_EQ(read_rows(after), nr);
	for (i = 0; i < nr; i++) {
		struct row *r = &rows[i], *a = &after[i];

		ASSERT(!r->read || a->fast_reads > r->fast_reads, "%s: no read was fast", r->name);
		ASSERT(!r->write || a->fast_writes > r->fast_writes, "%s: no %s was fast", r->name,
		       r->call ? "call" : "write");
		/* The flag is what the fast path goes by. */
		ASSERT(r->read || a->fast_reads == r->fast_reads, "%s: a fast read", r->name);
		ASSERT(r->write || a->fast_writes == r->fast_writes, "%s: fast", r->name);
	}
	vm_free(vm);
}

int main(int argc, char **argv)
{
	return ktap_main(argc, argv);
}
