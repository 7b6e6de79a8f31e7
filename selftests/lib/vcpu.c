// SPDX-License-Identifier: GPL-2.0-only
/* vCPUs: start state, running them until a message, MSRs by the host. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "apic.h"
#include "vm.h"
#include "vm_private.h"

#define EFER_LME BIT64(8)
#define EFER_LMA BIT64(10)

void guest_start(void); /* entry.S: call RBX, then tell the host */

/* --- start state -------------------------------------------------------- */

void vcpu_entry(struct vcpu *v, void (*entry)(void))
{
	struct vm *vm = v->vm;
	struct kvm_segment code = {
		.base = 0,
		.limit = ~0u,
		.selector = SEL_CODE64,
		.type = 11,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	/* DPL 3, so that the way to CPL 3 does not empty the registers. */
	struct kvm_segment data = {
		.base = 0,
		.limit = ~0u,
		.selector = SEL_UDATA | 3,
		.type = 3,
		.dpl = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_regs regs = { .rflags = 2 };
	u8 *stack = vm_alloc(vm, 3 * STACK_SIZE), *tss = vm->tss + v->id * TSS_SIZE;
	struct kvm_mp_state run = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs s;

	v->entry = entry;
	/* With an in-kernel LAPIC all but the first wait for INIT and SIPI. */
	if (!(vm->flags & VM_NO_IRQCHIP))
		vcpu_ioctl(v, KVM_SET_MP_STATE, &run);
	vcpu_ioctl(v, KVM_GET_SREGS, &s);
	s.cs = code;
	s.ds = data;
	s.es = data;
	s.fs = data;
	s.gs = data;
	s.gs.base = gpa(v->cpu);
	s.ss = data;
	s.ss.selector = SEL_DATA;
	s.ss.dpl = 0;
	s.gdt.base = gpa(vm->gdt);
	s.gdt.limit = PAGE_SIZE - 1;
	s.idt.base = gpa(vm->idt);
	s.idt.limit = PAGE_SIZE - 1;
	memset(&s.tr, 0, sizeof(s.tr));
	s.tr.base = gpa(tss);
	s.tr.limit = 0x67;
	s.tr.selector = SEL_TSS;
	s.tr.type = 11;
	s.tr.present = 1;
	s.cr0 = 0x80010033; /* PG WP NE ET MP PE */
	s.cr3 = vm->cr3;
	s.cr4 = 0x620; /* OSXMMEXCPT OSFXSR PAE */
	s.efer = EFER_LME | EFER_LMA;
	vcpu_ioctl(v, KVM_SET_SREGS, &s);

	/* Three stacks: CPL 0, traps from CPL 3, CPL 3. */
	*(u64 *)(tss + 4) = gpa(stack + 2 * STACK_SIZE);
	v->cpu->user_rsp = gpa(stack + 3 * STACK_SIZE);

	regs.rip = gpa((void *)(uintptr_t)guest_start);
	regs.rbx = gpa((void *)(uintptr_t)entry);
	regs.rsp = gpa(stack + STACK_SIZE);
	vcpu_ioctl(v, KVM_SET_REGS, &regs);
}

void vcpu_enter_compatibility_mode(struct vcpu *v, u64 rip, u64 rbp)
{
	struct kvm_regs r = { .rflags = 2, .rip = rip, .rbp = rbp, .rbx = ~0ULL };
	struct kvm_sregs s;

	vcpu_ioctl(v, KVM_GET_SREGS, &s);
	s.cs.l = 0;
	s.cs.db = 1;
	s.cs.selector = SEL_CODE32;
	vcpu_ioctl(v, KVM_SET_SREGS, &s);
	vcpu_ioctl(v, KVM_SET_REGS, &r);
}

/* --- running ------------------------------------------------------------ */

const char *exit_name(u32 reason)
{
	static const char *const names[] = {
		[KVM_EXIT_UNKNOWN] = "UNKNOWN",
		[KVM_EXIT_EXCEPTION] = "EXCEPTION",
		[KVM_EXIT_IO] = "IO",
		[KVM_EXIT_HYPERCALL] = "HYPERCALL",
		[KVM_EXIT_DEBUG] = "DEBUG",
		[KVM_EXIT_HLT] = "HLT",
		[KVM_EXIT_MMIO] = "MMIO",
		[KVM_EXIT_SHUTDOWN] = "SHUTDOWN",
		[KVM_EXIT_FAIL_ENTRY] = "FAIL_ENTRY",
		[KVM_EXIT_INTR] = "INTR",
		[KVM_EXIT_INTERNAL_ERROR] = "INTERNAL_ERROR",
		[KVM_EXIT_SYSTEM_EVENT] = "SYSTEM_EVENT",
		[KVM_EXIT_HYPERV] = "HYPERV",
	};

	return reason < ARRAY_SIZE(names) && names[reason] ? names[reason] : "?";
}

static const char *guest_name(struct vcpu *v)
{
	extern const struct guest_test __start_khv_guest_tests[] __attribute__((weak));
	extern const struct guest_test __stop_khv_guest_tests[] __attribute__((weak));
	const struct guest_test *g;

	for (g = __start_khv_guest_tests; g < __stop_khv_guest_tests; g++)
		if (g->entry == v->entry)
			return g->name;
	return "?";
}

/* The highest vector of the 256 bits at @reg of the APIC page, -1 when there is none. */
static int highest_vector(const struct kvm_lapic_state *apic, u32 reg)
{
	u32 i, bits;

	for (i = 8; i-- > 0;) {
		memcpy(&bits, apic->regs + reg + 0x10 * i, sizeof(bits));
		if (bits)
			return (int)(i * 32 + 31) - __builtin_clz(bits);
	}
	return -1;
}

/* What a VP that does not wake up may wait for. */
static void dump_interrupts(struct vcpu *v)
{
	struct kvm_lapic_state apic;
	struct kvm_vcpu_events e;
	struct kvm_mp_state mp;
	u32 tpr, ppr, spiv;

	if (ioctl(v->fd, KVM_GET_MP_STATE, &mp) < 0 || ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e) < 0)
		return;
	printf("#  mp_state %u, injected %u (0x%x), shadow %u, exception %u (%u)\n", mp.mp_state,
	       e.interrupt.injected, e.interrupt.nr, e.interrupt.shadow, e.exception.injected,
	       e.exception.nr);
	printf("#  nmi: injected %u pending %u masked %u\n", e.nmi.injected, e.nmi.pending,
	       e.nmi.masked);
	if (ioctl(v->fd, KVM_GET_LAPIC, &apic) < 0)
		return;
	memcpy(&tpr, apic.regs + APIC_TPR, sizeof(tpr));
	memcpy(&ppr, apic.regs + APIC_PPR, sizeof(ppr));
	memcpy(&spiv, apic.regs + APIC_SPIV, sizeof(spiv));
	printf("#  apic: irr %d isr %d (highest vectors), tpr %x ppr %x spiv %x\n",
	       highest_vector(&apic, APIC_IRR), highest_vector(&apic, APIC_ISR), tpr, ppr, spiv);
}

void vcpu_dump(struct vcpu *v)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	printf("# vCPU %u, guest %s, last exit %u (%s)\n", v->id, guest_name(v),
	       v->run->exit_reason, exit_name(v->run->exit_reason));
	if (v->run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		printf("#  suberror %u\n", v->run->internal.suberror);
	if (v->run->exit_reason == KVM_EXIT_MMIO)
		printf("#  mmio 0x%llx\n", v->run->mmio.phys_addr);
	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0) {
		printf("#  no registers: %s\n", strerror(errno));
		return;
	}
	printf("#  rip %llx rsp %llx rflags %llx cs %x cpl %u\n", r.rip, r.rsp, r.rflags,
	       s.cs.selector, s.ss.dpl);
	printf("#  rax %llx rbx %llx rcx %llx rdx %llx\n", r.rax, r.rbx, r.rcx, r.rdx);
	printf("#  rsi %llx rdi %llx r8 %llx r9 %llx\n", r.rsi, r.rdi, r.r8, r.r9);
	printf("#  cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n", s.cr0, s.cr2, s.cr3, s.cr4,
	       s.efer);
	dump_interrupts(v);
	fflush(stdout);
}

int __vcpu_run(struct vcpu *v)
{
	int r;

	for (;;) {
		v->thread = pthread_self();
		v->running = true;
		r = ioctl(v->fd, KVM_RUN, 0);
		v->running = false;
		if (watchdog_fired) {
			printf("# watchdog: the case takes too long\n");
			vcpu_dump(v);
			_exit(KTAP_EXIT_FAIL);
		}
		if (r == 0)
			return 0;
		if (errno == EINTR && v->stop) {
			v->run->immediate_exit = 0;
			v->stop = false;
			return -EINTR;
		}
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
		v->interrupted += errno == EINTR;
	}
}

int vcpu_finish_exit(struct vcpu *v)
{
	int r;

	v->run->immediate_exit = 1;
	r = __vcpu_ioctl(v, KVM_RUN, NULL);
	v->run->immediate_exit = 0;
	return r;
}

void vcpu_stop(struct vcpu *v)
{
	v->stop = true;
	v->run->immediate_exit = 1;
	if (v->running)
		pthread_kill(v->thread, SIGUSR1);
}

static bool is_message(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_IO && v->run->io.port == GUEST_PORT &&
	       v->run->io.direction == KVM_EXIT_IO_OUT && v->run->io.size == 4;
}

static void report_assert(struct vcpu *v, u32 cmd)
{
	struct guest_msg *m = &v->cpu->msg;
	char values[64] = "";

	if (m->nargs == 2)
		snprintf(values, sizeof(values), ": 0x%llx vs 0x%llx",
			 (unsigned long long)m->args[0], (unsigned long long)m->args[1]);
	if (cmd == GUEST_KNOWN_CMD)
		ktap_known(m->file, (int)m->line, "guest %s: %s%s", guest_name(v), m->text, values);
	ktap_fail(m->file, (int)m->line, "guest %s: %s%s", guest_name(v), m->text, values);
}

u32 vcpu_run(struct vcpu *v)
{
	struct guest_msg *m = &v->cpu->msg;
	u32 cmd;
	int r;

	for (;;) {
		r = __vcpu_run(v);
		if (r == -EINTR)
			return RUN_STOPPED;
		if (r) {
			vcpu_dump(v);
			FAIL("KVM_RUN: %s", strerror(-r));
		}
		if (!is_message(v))
			return RUN_EXIT(v->run->exit_reason);

		cmd = *(u32 *)((u8 *)v->run + v->run->io.data_offset);
		switch (cmd) {
		case GUEST_LOG_CMD:
			ktap_log("guest: %s 0x%llx 0x%llx", m->text, (unsigned long long)m->args[0],
				 (unsigned long long)m->args[1]);
			continue;
		case GUEST_ASSERT_CMD:
		case GUEST_KNOWN_CMD:
			report_assert(v, cmd);
			break;
		case GUEST_EXCEPTION_CMD:
			vcpu_dump(v);
			FAIL("guest %s: exception %llu error 0x%llx at 0x%llx", guest_name(v),
			     (unsigned long long)m->args[0], (unsigned long long)m->args[1],
			     (unsigned long long)m->args[2]);
		default:
			return cmd;
		}
	}
}

void vcpu_run_done(struct vcpu *v)
{
	u32 cmd = vcpu_run(v);

	if (cmd != GUEST_DONE) {
		vcpu_dump(v);
		FAIL("guest %s: expected the end, got 0x%x (stage %llu)", guest_name(v), cmd,
		     (unsigned long long)v->cpu->msg.args[0]);
	}
}

void vcpu_run_sync(struct vcpu *v, u64 stage)
{
	u32 cmd = vcpu_run(v);

	if (cmd != GUEST_SYNC_CMD || v->cpu->msg.args[0] != stage) {
		vcpu_dump(v);
		FAIL("guest %s: expected stage %llu, got 0x%x (stage %llu)", guest_name(v),
		     (unsigned long long)stage, cmd, (unsigned long long)v->cpu->msg.args[0]);
	}
}

void vcpu_run_exit(struct vcpu *v, u32 reason)
{
	u32 cmd = vcpu_run(v);

	if (cmd != RUN_EXIT(reason)) {
		vcpu_dump(v);
		FAIL("guest %s: expected exit %s, got 0x%x (stage %llu)", guest_name(v),
		     exit_name(reason), cmd, (unsigned long long)v->cpu->msg.args[0]);
	}
}

static void *vcpu_worker(void *arg)
{
	vcpu_run_done(arg);
	return NULL;
}

void vcpu_start(struct vcpu *v)
{
	int r = pthread_create(&v->worker, NULL, vcpu_worker, v);

	ASSERT_EQ(r, 0);
}

void vcpu_join(struct vcpu *v)
{
	ASSERT_EQ(pthread_join(v->worker, NULL), 0);
}

/* --- MSRs --------------------------------------------------------------- */

struct one_msr {
	struct kvm_msrs hdr;
	struct kvm_msr_entry entry;
};

int __vcpu_get_msr(struct vcpu *v, u32 msr, u64 *val)
{
	struct one_msr m = { .hdr.nmsrs = 1, .entry.index = msr };
	int r = __vcpu_ioctl(v, KVM_GET_MSRS, &m);

	*val = m.entry.data;
	return r;
}

int __vcpu_set_msr(struct vcpu *v, u32 msr, u64 val)
{
	struct one_msr m = { .hdr.nmsrs = 1, .entry = { .index = msr, .data = val } };

	return __vcpu_ioctl(v, KVM_SET_MSRS, &m);
}

u64 vcpu_get_msr(struct vcpu *v, u32 msr)
{
	u64 val;
	int r = __vcpu_get_msr(v, msr, &val);

	if (r != 1)
		FAIL("KVM_GET_MSRS 0x%x returned %d", msr, r);
	return val;
}

void vcpu_set_msr(struct vcpu *v, u32 msr, u64 val)
{
	int r = __vcpu_set_msr(v, msr, val);

	if (r != 1)
		FAIL("KVM_SET_MSRS 0x%x = 0x%llx returned %d", msr, (unsigned long long)val, r);
}
