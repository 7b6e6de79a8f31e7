// SPDX-License-Identifier: GPL-2.0-only
/* One VM of a stream: creation, running a batch of the guest's operations, looking at its state. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "apic.h"
#include "fuzz.h"
#include "irqfd.h"
#include "module.h"
#include "msr_filter.h"
#include "refclock.h"

#define PARAMETERS "/sys/module/kvm_hyperv/parameters/"
/* A guest that stays in one operation as long as this has ended. */
#define TICK_MS	   250
#define HUNG_TICKS 16

/* Runs of the two sides are one after the other, so each has one of everything. */
static struct fuzz_vm sides[2];
static u8 *pages_of[2];

static sigset_t ticks;

/*
 * KVM_RUN returns now and then, to see whether the guest gets on. No other call is disturbed: the
 * signal is blocked, but for KVM_RUN.
 */
static void start_ticking(void)
{
	static bool ticking;
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
	struct itimerspec t = {
		.it_interval.tv_nsec = TICK_MS * 1000000L,
		.it_value.tv_nsec = TICK_MS * 1000000L,
	};
	timer_t timer;
	cpu_set_t cpu;

	if (ticking)
		return;
	ticking = true;
	/*
	 * A timer fires on the CPU on which it was started, and an emulated CPU may have its turn
	 * 100 ms later only: stay on one.
	 */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT(!sched_setaffinity(0, sizeof(cpu), &cpu), "sched_setaffinity: %s", strerror(errno));
	sigemptyset(&ticks);
	sigaddset(&ticks, SIGUSR2);
	sigprocmask(SIG_BLOCK, &ticks, NULL);
	ASSERT(!timer_create(CLOCK_MONOTONIC, &e, &timer) && !timer_settime(timer, 0, &t, NULL),
	       "timer: %s", strerror(errno));
}

static void unblock_ticks(struct vcpu *v)
{
	struct {
		struct kvm_signal_mask m;
		u64 set;
	} none = { .m.len = 8 };

	vcpu_ioctl(v, KVM_SET_SIGNAL_MASK, &none);
}

static void take_tick(void)
{
	struct timespec now = { 0 };

	sigtimedwait(&ticks, NULL, &now);
}

static void set_parameter(const char *name, const char *value)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT(fd >= 0 && write(fd, value, 1) == 1, "%s: %s", path, strerror(errno));
	close(fd);
}

void fuzz_set_fast(bool on)
{
	set_parameter("fastpath", on ? "1" : "0");
}

static u8 *new_pages(u32 side)
{
	u64 size = FUZZ_PAGES * PAGE_SIZE;

	if (!pages_of[side])
		pages_of[side] = mmap(NULL, size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(pages_of[side] != MAP_FAILED, "mmap");
	memset(pages_of[side], 0, size);
	return pages_of[side];
}

static void add_memory(struct fuzz_vm *f)
{
	u32 i;

	for (i = 0; i < FUZZ_SLOTS; i++) {
		f->slot_id[i] = f->vm->nr_slots;
		f->slot_at[i] = FUZZ_PAGE(i * FUZZ_SLOT_PAGES);
		vm_add_memslot(f->vm, f->slot_at[i], f->pages + i * FUZZ_SLOT_PAGES * PAGE_SIZE,
			       FUZZ_SLOT_PAGES * PAGE_SIZE, 0);
	}
	vm_add_memslot(f->vm, FUZZ_PAGE(FUZZ_IN_PAGE), f->pages + FUZZ_IN_PAGE * PAGE_SIZE,
		       (FUZZ_PAGES - FUZZ_IN_PAGE) * PAGE_SIZE, 0);
}

/* SMRAM is not in the state that is compared: it holds what the CPU saves there. */
static void add_smram(struct fuzz_vm *f, u32 side)
{
	static u8 *smram[2];
	u32 slots = f->vm->nr_slots;

	if (vm_check_cap(f->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2) {
		f->setup.smm = false;
		return;
	}
	if (!smram[side])
		smram[side] = mmap(NULL, FUZZ_SMRAM_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(smram[side] != MAP_FAILED, "mmap");
	/* RSM, where the CPU begins in SMM */
	smram[side][0x8000] = 0x0f;
	smram[side][0x8001] = 0xaa;
	f->vm->nr_slots = 1u << 16 | slots;
	vm_add_memslot(f->vm, FUZZ_SMRAM, smram[side], FUZZ_SMRAM_SIZE, 0);
	f->vm->nr_slots = slots + 1;
}

static void set_x2apic(struct fuzz_vm *f)
{
	struct kvm_sregs s;

	vcpu_ioctl(f->v, KVM_GET_SREGS, &s);
	s.apic_base |= MSR_APIC_BASE_X2APIC;
	vcpu_ioctl(f->v, KVM_SET_SREGS, &s);
}

/* Of the spinlock retries only the whole register counts. */
static void take_bit(struct fuzz_vm *f, u64 bit)
{
	if (CPUBIT_LEAF(bit) == HV_LEAF_HINTS && CPUBIT_REG(bit) == KHV_EBX)
		cpuid_get(&f->v->cpuid, HV_LEAF_HINTS)->ebx = 0;
	else
		cpuid_assign(&f->v->cpuid, bit, false);
}

/* What a row needs that stock does not know. */
static void show_new(struct fuzz_vm *f, const struct fuzz_row *row)
{
	u32 i;

	if (!row->is_new || !f->setup.shown)
		return;
	for (i = 0; i < row->nr_needs; i++)
		cpuid_assign(&f->v->cpuid,
			     (u64)row->needs[i].leaf << 32 | row->needs[i].reg << 8 |
				     row->needs[i].bit,
			     true);
}

/*
 * Both VMs of a stream show the same: what the first one was offered (stock, if the two differ),
 * without what the stream does without. More is offered to a vCPU with the enlightened VMCS
 * (@evmcs).
 */
static void set_cpuid(struct fuzz_vm *f, bool evmcs)
{
	static struct cpuid_table offered[2];
	u32 i;

	if (!offered[evmcs].nent) {
		ASSERT(f == &sides[0], "the first VM has to tell what is offered");
		offered[evmcs] = f->v->cpuid;
	}
	f->v->cpuid = offered[evmcs];
	cpuid_assign(&f->v->cpuid, HV_S_KERNEL_DEBUG, f->setup.debugger);
	cpuid_assign(&f->v->cpuid, HV_F_HYPERCALL_LOCK, true);
	cpuid_assign(&f->v->cpuid, HV_F_GUEST_IDLE, f->setup.shown);
	cpuid_assign(&f->v->cpuid, HV_F_UNHALTED_TIMER, f->setup.shown);
	for (i = 0; i < fuzz_nr_msr_rows; i++)
		show_new(f, fuzz_msr_row(i));
	for (i = 0; i < fuzz_nr_call_rows; i++)
		show_new(f, fuzz_call_row(i));
	for (i = 0; i < FUZZ_WITHOUT; i++)
		if (f->setup.without[i])
			take_bit(f, fuzz_cpuid_bits[f->setup.without[i]]);
	vcpu_set_cpuid(f->v);
}

static u32 vms_created(void)
{
	return module_loaded() ? module_vms_created() : 0;
}

struct fuzz_vm *fuzz_vm_create(enum fuzz_who who, u32 side, const struct fuzz_setup *setup)
{
	struct fuzz_vm *f = &sides[side];
	u32 i, owned;

	start_ticking();
	memset(f, 0, sizeof(*f));
	f->who = who;
	f->setup = *setup;
	if (module_loaded()) {
		set_parameter("takeover", who == FUZZ_MODULE ? "1" : "0");
		fuzz_set_fast(setup->fast);
	}
	owned = vms_created();
	f->vm = vm_create(1, 0);
	ASSERT_EQ(vms_created() - owned, who == FUZZ_MODULE);
	f->v = f->vm->vcpus[0];
	set_cpuid(f, false);
	unblock_ticks(f->v);
	f->pages = new_pages(side);
	add_memory(f);
	if (setup->smm)
		add_smram(f, side);
	if (setup->exits)
		want_exits(f->vm, FILTERED);
	if (setup->synic)
		ASSERT_EQ(__vcpu_enable_cap(f->v,
					    setup->synic == 2 ? KVM_CAP_HYPERV_SYNIC2 :
								KVM_CAP_HYPERV_SYNIC,
					    0),
			  0);
	if (setup->enforce)
		vcpu_enforce_cpuid(f->v, true);
	if (setup->nested) {
		const u32 evmcs = setup->nested == FUZZ_L1 && !host_is_amd() ? NESTED_EVMCS : 0;

		f->nested = nested_create(f->v, NESTED_PAGING | NESTED_DIRECT | evmcs, FUZZ_BATCH);
		if (evmcs)
			set_cpuid(f, true);
		f->ops = f->nested->l2;
		/*
		 * The register shows where the VP assist page is, and that page where the
		 * enlightened VMCS is: at the same addresses in both VMs.
		 */
		f->nested->assist = (u8 *)(uintptr_t)FUZZ_PAGE(FUZZ_ASSIST_PAGE);
		vm_add_memslot(f->vm, FUZZ_EVMCS, f->nested->evmcs, PAGE_SIZE, 0);
		f->nested->evmcs = (u8 *)(uintptr_t)FUZZ_EVMCS;
		f->pages[FUZZ_ASSIST_PAGE * PAGE_SIZE + ASSIST_DIRECT] = 1;
	} else {
		f->ops = vcpu_ops_init(f->v, FUZZ_BATCH);
	}
	if (setup->x2apic)
		set_x2apic(f);
	f->args = vm_alloc(f->vm, FUZZ_BATCH * sizeof(*f->args));
	f->log = vm_alloc(f->vm, sizeof(*f->log));
	f->log->x2apic = setup->x2apic;
	f->log->no_cr8 = !host_tells_next_rip();
	f->v->cpu->log = f->log;
	for (i = 0; i < 256; i++)
		if (i == 2 || i == 16 || i == 18 || i == 19 || i == 31 || (i >= 32 && i != 0x80))
			guest_irq_handlers[i] = fuzz_guest_irq;
	for (i = 0; i < FUZZ_EVENTFDS; i++) {
		f->eventfd[i] = -1;
		f->irqfd[i] = -1;
		f->resamplefd[i] = -1;
	}
	f->eomfd = -1;
	return f;
}

int fuzz_page_at(const struct fuzz_vm *f, u64 at)
{
	u32 i;

	for (i = 0; i < FUZZ_SLOTS; i++) {
		u64 n = (at - f->slot_at[i]) / PAGE_SIZE;

		if (f->slot_at[i] && at >= f->slot_at[i] && n < FUZZ_SLOT_PAGES)
			return (int)(i * FUZZ_SLOT_PAGES + n);
	}
	return -1;
}

u64 fuzz_page_address(const struct fuzz_vm *f, u32 page)
{
	u32 slot = page / FUZZ_SLOT_PAGES;

	if (slot >= FUZZ_SLOTS)
		return FUZZ_PAGE(page);
	return f->slot_at[slot] ? f->slot_at[slot] + page % FUZZ_SLOT_PAGES * PAGE_SIZE : 0;
}

void fuzz_vm_free(struct fuzz_vm *f)
{
	u32 i, j;

	for (i = 0; i < FUZZ_EVENTFDS; i++) {
		const int fds[] = { f->eventfd[i], f->irqfd[i], f->resamplefd[i] };

		for (j = 0; j < ARRAY_SIZE(fds); j++)
			if (fds[j] >= 0)
				close(fds[j]);
	}
	if (f->eomfd >= 0)
		close(f->eomfd);
	vm_free(f->vm);
}

/* --- running ------------------------------------------------------------- */

static u64 arg_of(struct fuzz_vm *f, u32 i)
{
	return gpa(&f->args[i]);
}

static struct guest_op called(u64 (*fn)(u64), u64 arg)
{
	return (struct guest_op){ .op = OP_CALL, .arg0 = (u64)(uintptr_t)fn, .arg1 = arg };
}

static struct guest_op guest_op(struct fuzz_vm *f, const struct fuzz_op *o, u32 i)
{
	switch (o->kind) {
	case FUZZ_RDMSR:
		if (o->w[0] == HV_X64_MSR_GUEST_IDLE && f->setup.shown)
			return called(fuzz_guest_idle, arg_of(f, i));
		return OP_RD((u32)o->w[0]);
	case FUZZ_WRMSR:
		return OP_WR((u32)o->w[0], o->w[1]);
	case FUZZ_CPUID:
		return (struct guest_op){ .op = OP_CPUID, .arg0 = o->w[0], .arg1 = o->w[1] };
	case FUZZ_LOAD:
		return (struct guest_op){ .op = OP_LOAD, .arg0 = o->w[0] };
	case FUZZ_STORE:
		return (struct guest_op){ .op = OP_STORE, .arg0 = o->w[0], .arg1 = o->w[1] };
	case FUZZ_CALL:
		return called(fuzz_guest_call, arg_of(f, i));
	case FUZZ_WINDOW:
		return called(fuzz_guest_window, 0);
	case FUZZ_HALT:
		return called(fuzz_guest_halt, 0);
	case FUZZ_TIMER:
		return called(fuzz_guest_timer, arg_of(f, i));
	case FUZZ_TAKE:
		return called(fuzz_guest_take, o->w[0]);
	case FUZZ_TIME:
		return called(fuzz_guest_time, 0);
	case FUZZ_APIC:
		return called(fuzz_guest_apic, arg_of(f, i));
	case FUZZ_CR:
		return called(fuzz_guest_cr, arg_of(f, i));
	case FUZZ_TSC:
		/* L2's is L1's. */
		return called(f->nested ? fuzz_guest_window : fuzz_guest_tsc, o->w[0]);
	case FUZZ_NESTED:
		return called(f->nested ? fuzz_guest_nested : fuzz_guest_window, o->w[0]);
	default:
		return called(fuzz_guest_eoi_by, o->w[0]);
	}
}

/* The operation as the interpreter takes it, with its words in an argument if it needs them. */
static struct guest_op prepare(struct fuzz_vm *f, const struct fuzz_op *o, u32 i)
{
	struct fuzz_arg *a = &f->args[i];

	memcpy(a->w, o->w, sizeof(a->w));
	a->vector = 0;
	a->error = 0;
	a->result2 = 0;
	if (!f->nested || !o->l1)
		return guest_op(f, o, i);
	a->inner = guest_op(f, o, i);
	return called(fuzz_guest_in_l1, arg_of(f, i));
}

static void hyperv_exit(struct kvm_run *run, const struct fuzz_op *o, struct fuzz_exit *e)
{
	e->type = run->hyperv.type;
	switch (run->hyperv.type) {
	case KVM_EXIT_HYPERV_SYNIC:
		e->field[0] = run->hyperv.u.synic.msr;
		e->field[1] = run->hyperv.u.synic.control;
		e->field[2] = run->hyperv.u.synic.evt_page;
		e->field[3] = run->hyperv.u.synic.msg_page;
		break;
	case KVM_EXIT_HYPERV_HCALL:
		e->field[0] = run->hyperv.u.hcall.input;
		e->field[1] = run->hyperv.u.hcall.params[0];
		e->field[2] = run->hyperv.u.hcall.params[1];
		run->hyperv.u.hcall.result = o->answer;
		break;
	case KVM_EXIT_HYPERV_SYNDBG:
		e->field[0] = run->hyperv.u.syndbg.msr;
		e->field[1] = run->hyperv.u.syndbg.control;
		e->field[2] = run->hyperv.u.syndbg.status;
		e->field[3] = run->hyperv.u.syndbg.send_page;
		e->field[4] = run->hyperv.u.syndbg.recv_page;
		e->field[5] = run->hyperv.u.syndbg.pending_page;
		run->hyperv.u.syndbg.status = o->answer;
		break;
	default:
		break;
	}
}

/* Note an exit that is no message; false when the guest cannot go on. */
static bool note_exit(struct fuzz_vm *f, const struct fuzz_op *o, struct fuzz_out *out)
{
	struct kvm_run *run = f->v->run;
	struct fuzz_exit e = { .reason = run->exit_reason };
	bool on = true;

	switch (run->exit_reason) {
	case KVM_EXIT_HYPERV:
		hyperv_exit(run, o, &e);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		e.type = run->system_event.type;
		break;
	case KVM_EXIT_MMIO:
		e.type = run->mmio.is_write;
		e.field[0] = run->mmio.phys_addr;
		e.field[1] = run->mmio.len;
		if (run->mmio.is_write)
			memcpy(&e.field[2], run->mmio.data, run->mmio.len < 8 ? run->mmio.len : 8);
		else
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		e.type = run->internal.suberror;
		on = false;
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		e.type = run->msr.reason;
		e.field[0] = run->msr.index;
		e.field[1] = run->msr.data;
		/* A time that stands still would have the guest wait for ever. */
		run->msr.error = run->msr.index == HV_X64_MSR_TIME_REF_COUNT ? 1 : o->answer & 1;
		run->msr.data = run->exit_reason == KVM_EXIT_X86_RDMSR ? 0x4b48 : run->msr.data;
		break;
	default:
		on = false;
	}
	if (out->nr_exits < FUZZ_EXITS)
		out->exits[out->nr_exits] = e;
	out->nr_exits++;
	return on;
}

/* The last exit that is noted: behind those before, as far as there is room. */
static void note_last(struct fuzz_out *out, struct fuzz_exit e)
{
	out->exits[out->nr_exits < FUZZ_EXITS ? out->nr_exits : FUZZ_EXITS - 1] = e;
	out->nr_exits++;
}

/* KVM_RUN until the guest has done its batch; note what comes before. */
static void run(struct fuzz_vm *f, const struct fuzz_op *ops, struct fuzz_out *out)
{
	struct kvm_run *run = f->v->run;
	u32 stays = 0, last = ~0u;
	int error;

	for (;;) {
		u32 at = f->ops->current;

		if (ioctl(f->v->fd, KVM_RUN, 0) < 0) {
			at = f->ops->current;
			error = errno;
			if (error == EINTR || error == EAGAIN) {
				take_tick();
				stays = at == last ? stays + 1 : 0;
				last = at;
				if (stays < HUNG_TICKS)
					continue;
			}
			note_last(&out[at], (struct fuzz_exit){
						    .reason = FUZZ_RUN_FAILED + (u32)error,
					    });
			f->ended = true;
			return;
		}
		at = f->ops->current;
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == GUEST_PORT) {
			if (*(u32 *)((u8 *)run + run->io.data_offset) == GUEST_SYNC_CMD)
				return;
			/* An exception that nobody expected: its vector and place. */
			note_last(&out[at], (struct fuzz_exit){
						    .reason = FUZZ_FAULTED,
						    .field = { f->v->cpu->msg.args[0],
							       f->v->cpu->msg.args[1] },
					    });
			f->ended = true;
			return;
		}
		if (!note_exit(f, &ops[at], &out[at])) {
			f->ended = true;
			return;
		}
	}
}

void fuzz_tell_end(const struct fuzz_vm *f)
{
	const struct guest_msg *m = &f->v->cpu->msg;
	const struct kvm_run *run = f->v->run;

	if (run->exit_reason == KVM_EXIT_IO && run->io.port == GUEST_PORT)
		ktap_log("  it says: %s:%u: %s: %#llx, %#llx", m->file, m->line, m->text,
			 (unsigned long long)m->args[0], (unsigned long long)m->args[1]);
	else
		ktap_log("  exit reason %u, hardware exit reason %#llx", run->exit_reason,
			 (unsigned long long)run->hw.hardware_exit_reason);
	if (f->nested)
		ktap_log("  L2: kind %u, failure %#x", f->nested->exit, f->nested->failure);
}

static void collect_irqs(struct fuzz_vm *f, u32 nr, struct fuzz_out *out)
{
	u32 i, n = f->log->nr;

	for (i = 0; i < n; i++) {
		u32 op = f->log->entry[i].op, vector = f->log->entry[i].vector;

		if (op >= nr)
			continue;
		/* What wakes a HLT comes before or after others, by time. */
		if (vector == FUZZ_WAKE_VECTOR)
			continue;
		if (out[op].irqs < FUZZ_TAKEN)
			out[op].taken[out[op].irqs] = (u8)vector;
		out[op].irqs++;
		out[op].vectors = (out[op].vectors << 8 | out[op].vectors >> 56) ^ vector;
	}
	f->log->nr = 0;
}

void fuzz_run_guest(struct fuzz_vm *f, const struct fuzz_op *ops, u32 nr, struct fuzz_out *out)
{
	u32 i;

	memset(out, 0, nr * sizeof(*out));
	for (i = 0; i < nr; i++)
		f->ops->ops[i] = prepare(f, &ops[i], i);
	f->ops->nr = nr;
	f->ops->current = 0;
	run(f, ops, out);
	for (i = 0; i < nr; i++) {
		const struct guest_op *g = &f->ops->ops[i];

		if (g->op == OP_CALL) {
			out[i].vector = f->args[i].vector;
			out[i].error = f->args[i].error;
			out[i].result2 = f->args[i].result2;
		} else {
			out[i].vector = g->vector;
			out[i].error = g->error;
			out[i].result2 = g->result2;
		}
		out[i].result = out[i].vector ? 0 : g->result;
		out[i].result2 = out[i].vector ? 0 : out[i].result2;
	}
	collect_irqs(f, nr, out);
}

/* --- state --------------------------------------------------------------- */

void fuzz_look(struct fuzz_vm *f)
{
	static struct {
		struct kvm_msrs hdr;
		struct kvm_msr_entry e[FUZZ_MSRS];
	} m;
	struct fuzz_state *s = &f->state;
	struct kvm_lapic_state apic;
	u32 i, n = fuzz_nr_msrs(), from = 0;
	int r;

	ASSERT(n <= FUZZ_MSRS, "more registers than FUZZ_MSRS");
	while (from < n) {
		m.hdr.nmsrs = n - from;
		for (i = from; i < n; i++)
			m.e[i - from].index = fuzz_msr(i);
		r = __vcpu_ioctl(f->v, KVM_GET_MSRS, &m);
		ASSERT(r >= 0, "KVM_GET_MSRS: %s", strerror(-r));
		for (i = 0; i < (u32)r; i++) {
			s->msr[from + i] = m.e[i].data;
			s->msr_ok[from + i] = 1;
		}
		from += (u32)r;
		if (from < n) {
			s->msr[from] = 0;
			s->msr_ok[from++] = 0;
		}
	}
	ASSERT_EQ(__vcpu_get_msr(f->v, MSR_IA32_TSC, &s->tsc), 1);
	vcpu_ioctl(f->v, KVM_GET_LAPIC, &apic);
	for (i = 0; i < FUZZ_APIC_WORDS; i++)
		memcpy(&s->apic[i], apic.regs + 16 * i, sizeof(s->apic[i]));
	for (i = 0; i < FUZZ_EVENTFDS; i++) {
		s->events[i] += f->connected[i] ? eventfd_count(f->eventfd[i]) : 0;
		s->events[FUZZ_EVENTFDS + i] +=
			f->resamplefd[i] >= 0 ? eventfd_count(f->resamplefd[i]) : 0;
	}
	if (f->nested) {
		const struct nested *nested = f->nested;

		s->nested[0] = nested->exits;
		s->nested[1] = nested->exit;
		s->nested[2] = nested->failure;
		s->nested[3] = nested->reason;
		s->nested[4] = nested->info;
	}
}
