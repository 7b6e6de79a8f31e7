// SPDX-License-Identifier: GPL-2.0-only
/* The operations of a stream that are more than one instruction. Guest code only. */
#include "apic.h"
#include "fuzz.h"
#include "refclock.h"

#define APIC_LVT_TIMER	  0x320
#define APIC_TIMER_COUNT  0x380
#define APIC_TIMER_DIVIDE 0x3e0
#define WAKE_AFTER	  20000 /* bus cycles of 1 ns, times 16 */
/*
 * A timer may be late by as much as that, in ticks of 100 ns, and by as many exits: on a busy
 * machine an emulator's clock goes on while its timers wait.
 */
#define LATEST		  2000000
#define LATEST_LOOKS	  400
/* Where the reference time does not get there at all. */
#define MOST_LOOKS	  100000
#define TICKS_PERIODIC	  2

static struct fuzz_log *this_log(void)
{
	return this_cpu()->log;
}

static u32 read_apic(u32 reg)
{
	return this_log()->x2apic ? (u32)rdmsr(MSR_X2APIC + reg / 16) : apic_read(reg);
}

static void write_apic(u32 reg, u32 val)
{
	if (this_log()->x2apic)
		wrmsr(MSR_X2APIC + reg / 16, val);
	else
		apic_write(reg, val);
}

void fuzz_guest_irq(struct guest_frame *f)
{
	struct fuzz_log *log = this_log();
	u32 n = log->nr;

	if (!n)
		log->first_irq = rdtsc();
	if (n < FUZZ_LOG) {
		log->entry[n].op = this_cpu()->ops->current;
		log->entry[n].vector = (u32)f->vector;
		log->nr = n + 1;
	}
	/* NMIs have no EOI. */
	if (f->vector == 2)
		return;
	if (f->vector == FUZZ_WAKE_VECTOR)
		log->woken = 1;
	if (log->eoi_by == FUZZ_EOI_MSR && f->vector != FUZZ_WAKE_VECTOR &&
	    !__wrmsr(HV_X64_MSR_EOI, 0))
		return;
	/* What is never ended must not keep the guest asleep. */
	if (log->eoi_by != FUZZ_EOI_NONE || f->vector == FUZZ_WAKE_VECTOR)
		write_apic(APIC_EOI, 0);
}

/* Is this an address of the pages that registers may name? */
static bool is_page(u64 at)
{
	return at - FUZZ_GPA < FUZZ_IN_PAGE * PAGE_SIZE ||
	       at - FUZZ_MOVED < FUZZ_IN_PAGE * PAGE_SIZE;
}

/* The hypercall page, if one is enabled and holds code: a jump to anything else ends the guest. */
static void *code_page(void)
{
	u64 reg, at;
	u8 *p;

	if (__rdmsr(HV_X64_MSR_HYPERCALL, &reg) || !(reg & HV_HYPERCALL_ENABLE))
		return NULL;
	at = reg & ~(PAGE_SIZE - 1);
	if (!is_page(at))
		return NULL;
	p = (u8 *)(uintptr_t)at;
	if (*(volatile u32 *)p != (guest_use_vmmcall ? 0xc3d9010fu : 0xc3c1010fu))
		return NULL;
	return p;
}

static void write_input(const struct fuzz_arg *a)
{
	volatile u64 *to = (volatile u64 *)(uintptr_t)a->w[2];
	u32 i;

	/* Input that is nowhere has nothing to be written to. */
	if (a->w[2] < FUZZ_PAGE(0) || a->w[2] >= FUZZ_PAGE(FUZZ_OUT_PAGE))
		return;
	for (i = 0; i < FUZZ_INPUT_WORDS; i++)
		to[i] = a->w[4 + i];
}

static u64 call_with_xmm(u64 arg)
{
	struct fuzz_arg *a = (struct fuzz_arg *)(uintptr_t)arg;

	return __hypercall_xmm(a->w[1], a->w[2], a->w[3], &a->xmm, &a->result);
}

static u32 call_from_32_bit(struct fuzz_arg *a)
{
	struct regs32 r = {
		.eax = (u32)a->w[1],
		.edx = (u32)(a->w[1] >> 32),
		.ecx = (u32)a->w[2],
		.ebx = (u32)(a->w[2] >> 32),
		.esi = (u32)a->w[3],
		.edi = (u32)(a->w[3] >> 32),
	};
	u32 vector = __hypercall_32(&r, &a->xmm);

	a->result = (u64)r.edx << 32 | r.eax;
	/* L1 sets RAX only. */
	if (r.eax == NESTED_REFLECTED)
		a->result = NESTED_REFLECTED;
	return vector;
}

u64 fuzz_guest_call(u64 arg)
{
	struct fuzz_arg *a = (struct fuzz_arg *)(uintptr_t)arg;
	u32 form = (u32)a->w[0], i;
	void *page;

	a->result = 0;
	a->vector = 0;
	for (i = 0; i < ARRAY_SIZE(a->xmm.q); i++)
		a->xmm.q[i] = a->w[4 + i];
	switch (form) {
	case FUZZ_MEMORY:
	case FUZZ_BY_PAGE:
		write_input(a);
		page = form == FUZZ_BY_PAGE ? code_page() : NULL;
		if (form == FUZZ_MEMORY)
			a->vector = __hypercall(a->w[1], a->w[2], a->w[3], &a->result);
		else if (page)
			a->vector = __hypercall_page(page, a->w[1], a->w[2], a->w[3], &a->result);
		else
			a->result = FUZZ_NO_PAGE;
		break;
	case FUZZ_REGISTERS:
		a->vector = __hypercall(a->w[1], a->w[2], a->w[3], &a->result);
		break;
	case FUZZ_CPL3:
	case FUZZ_32_BIT:
		if (!(a->w[1] & HV_CTL_FAST))
			write_input(a);
		a->vector = form == FUZZ_CPL3 ? (u32)guest_call_user(call_with_xmm, arg) :
						call_from_32_bit(a);
		break;
	default:
		a->vector = (u32)call_with_xmm(arg);
	}
	a->error = a->vector ? (u32)this_cpu()->error : 0;
	return a->result;
}

u64 fuzz_guest_window(u64 arg)
{
	(void)arg;
	irqs_window();
	return 0;
}

/*
 * The local APIC's own timer wakes the VP up, or whatever comes before. The timer is KVM's, and the
 * same in both VMs. Without it nothing is certain to end the sleep. Return: false if the interrupt
 * would not be taken.
 */
static bool start_wake_timer(void)
{
	if (!(read_apic(APIC_SPIV) & 0x100) || read_apic(APIC_PPR) >= (FUZZ_WAKE_VECTOR & 0xf0))
		return false;
	this_log()->woken = 0;
	write_apic(APIC_TIMER_DIVIDE, 3);
	write_apic(APIC_LVT_TIMER, FUZZ_WAKE_VECTOR);
	write_apic(APIC_TIMER_COUNT, WAKE_AFTER);
	return true;
}

static void halt_until_woken(void)
{
	while (!this_log()->woken)
		irqs_halt();
	write_apic(APIC_TIMER_COUNT, 0);
}

u64 fuzz_guest_halt(u64 arg)
{
	(void)arg;
	if (!start_wake_timer())
		return 0;
	halt_until_woken();
	return 1;
}

/* Where the read faults, as on stock, HLT takes the same interrupt. */
u64 fuzz_guest_idle(u64 arg)
{
	struct fuzz_arg *a = (struct fuzz_arg *)(uintptr_t)arg;
	u64 value = 0;

	if (!start_wake_timer())
		return 0;
	a->vector = __rdmsr(HV_X64_MSR_GUEST_IDLE, &value);
	a->error = a->vector ? (u32)this_cpu()->error : 0;
	halt_until_woken();
	return value;
}

/* 0 when the guest may not read it. */
static u64 reference_time(void)
{
	u64 t;

	return __rdmsr(HV_X64_MSR_TIME_REF_COUNT, &t) ? 0 : t;
}

/* How often the vector was taken since entry @from. */
static u32 times_taken(const struct fuzz_log *log, u32 from, u32 vector)
{
	u32 i, n = 0;

	for (i = from; i < log->nr; i++)
		n += log->entry[i].vector == vector;
	return n;
}

/*
 * Can no interrupt of a timer come any more, once those that wait have been taken? It is blocked by
 * another one or by the TPR, or the APIC is off, or the timer is not enabled: it has expired.
 */
static bool is_over(u32 vector, u32 config_msr)
{
	u64 config;

	if (!(read_apic(APIC_SPIV) & 0x100) ||
	    (read_apic(APIC_IRR + vector / 32 * 16) >> vector % 32 & 1))
		return true;
	return config_msr && !__rdmsr(config_msr, &config) && !(config & HV_STIMER_ENABLE);
}

/*
 * w[0] timer, w[1] CONFIG, w[2] ticks from now, or the period; w[3] the vector that is expected.
 * Start it, wait until it must have come, and stop it. The result is how often it came, and
 * whether early.
 */
u64 fuzz_guest_timer(u64 arg)
{
	struct fuzz_arg *a = (struct fuzz_arg *)(uintptr_t)arg;
	bool periodic = a->w[1] & HV_STIMER_PERIODIC, over = false;
	u32 config = HV_X64_MSR_STIMER_CONFIG((u32)a->w[0] & 3), vector = (u32)a->w[3];
	u32 want = periodic ? TICKS_PERIODIC : 1, seen = 0, before, from, looks = 0, all = 0;
	struct fuzz_log *log = this_log();
	u64 begin = reference_time(), due, now, result, was;
	bool readable;

	a->vector = 0;
	/* A time that L1 has made up stands still. */
	if (!begin || begin == NESTED_REFLECTED || __wrmsr(config, 0))
		return FUZZ_TIMER_FAULTED;
	/* Not what user space makes up, which counts how often it is asked. */
	readable = !__rdmsr(config, &was) && !was;
	irqs_window();
	from = log->nr;
	due = reference_time() + a->w[2];
	a->vector = __wrmsr(config + 1, periodic ? a->w[2] : due);
	if (!a->vector)
		a->vector = __wrmsr(config, a->w[1]);
	a->error = a->vector ? (u32)this_cpu()->error : 0;
	result = FUZZ_TIMER_NOTHING;
	do {
		irqs_window();
		now = reference_time();
		before = seen;
		seen = times_taken(log, from, vector);
		if (seen && now < due)
			result |= FUZZ_TIMER_EARLY;
		looks += now > due + LATEST;
		/* What waited then has been taken since, if it was not blocked. */
		if (over && seen == before)
			break;
		over = now > due && seen < want && is_over(vector, readable ? config : 0);
	} while (!a->vector && seen < want && looks < LATEST_LOOKS && all++ < MOST_LOOKS);
	__wrmsr(config, 0);
	/* What is left behind must not depend on the time. */
	__wrmsr(config + 1, 0);
	irqs_window();
	seen = times_taken(log, from, vector);
	/* How many ticks a wait holds depends on the host; none, one and some do not. */
	if (periodic)
		log->nr = from + (seen ? 1 : 0);
	if (!seen)
		return result;
	return (result & FUZZ_TIMER_EARLY) |
	       (seen == 1 || periodic ? FUZZ_TIMER_ONE : FUZZ_TIMER_SEVERAL);
}

/* Take the message of SINT @arg by the TLFS's protocol. The result is its header and its timer. */
u64 fuzz_guest_take(u64 arg)
{
	volatile struct hv_message *m;
	u64 reg, result;

	if (__rdmsr(HV_X64_MSR_SIMP, &reg) || !(reg & 1) || !is_page(reg & ~(PAGE_SIZE - 1)))
		return 0;
	m = (volatile struct hv_message *)(uintptr_t)(reg & ~(PAGE_SIZE - 1)) +
	    arg % HV_SYNIC_SINTS;
	result = m->type | (u64)m->size << 32 | (u64)m->timer.index << 48;
	if (!m->type)
		return result;
	m->type = HV_MSG_NONE;
	asm volatile("mfence" : : : "memory");
	if (m->flags & HV_MSG_PENDING) {
		result |= BIT64(40);
		__wrmsr(HV_X64_MSR_EOM, 0);
	}
	return result;
}

/* The reference time by its register and by its page: monotonic, and one clock. */
u64 fuzz_guest_time(u64 arg)
{
	u64 before = reference_time(), after, page = 0, reg;
	const struct tsc_page *p;
	unsigned __int128 product;
	u32 sequence = 0;

	(void)arg;
	if (!__rdmsr(HV_X64_MSR_REFERENCE_TSC, &reg) && (reg & 1) &&
	    is_page(reg & ~(PAGE_SIZE - 1))) {
		p = (const struct tsc_page *)(uintptr_t)(reg & ~(PAGE_SIZE - 1));
		sequence = p->sequence;
		product = (unsigned __int128)rdtsc() * p->scale;
		page = (u64)(product >> 64) + p->offset;
	}
	after = reference_time();
	if (!before)
		return FUZZ_TIME_NONE;
	if (after < before)
		return FUZZ_TIME_BACK;
	if (sequence && (page < before || page > after))
		return FUZZ_TIME_TWO_CLOCKS;
	return sequence ? FUZZ_TIME_BY_PAGE : FUZZ_TIME_BY_REGISTER;
}

static bool is_set(u32 msr)
{
	u64 val;

	return !__rdmsr(msr, &val) && (val & 1);
}

/*
 * Set the TSC by IA32_TSC_ADJUST, which the page follows at once. The reference time goes on; a
 * page lacks the wrap of a TSC for a while (D48), and one that is frozen goes with the TSC.
 */
u64 fuzz_guest_tsc(u64 how)
{
	const u64 second = 3000000000, sane = 60 * 10000000;
	u64 before = reference_time(), now, adjust;
	bool page = is_set(HV_X64_MSR_REFERENCE_TSC);
	u32 i;

	if (!before || (page && is_set(HV_X64_MSR_TSC_EMULATION_CONTROL)) ||
	    __rdmsr(MSR_IA32_TSC_ADJUST, &adjust))
		return FUZZ_TIME_NONE;
	if (how == FUZZ_TSC_AHEAD)
		adjust += 1000 * second;
	else
		adjust -= rdtsc() + (how == FUZZ_TSC_WRAP && !page ? second / 1000 : 0);
	__wrmsr(MSR_IA32_TSC_ADJUST, adjust);
	for (i = 0; i < 10 || ((s64)rdtsc() < 0 && i < MOST_LOOKS); i++) {
		now = reference_time();
		if (now < before || now > before + sane)
			return FUZZ_TIME_BACK;
		before = now;
	}
	return FUZZ_TIME_BY_REGISTER;
}

/* w[0]: 1 write, 0 read; w[1] register, w[2] value. */
u64 fuzz_guest_apic(u64 arg)
{
	struct fuzz_arg *a = (struct fuzz_arg *)(uintptr_t)arg;
	u64 val = 0;

	if (this_log()->x2apic) {
		a->vector = a->w[0] ? __wrmsr(MSR_X2APIC + (u32)a->w[1] / 16, (u32)a->w[2]) :
				      __rdmsr(MSR_X2APIC + (u32)a->w[1] / 16, &val);
		a->error = a->vector ? (u32)this_cpu()->error : 0;
		return val;
	}
	a->vector = 0;
	if (!a->w[0])
		return apic_read((u32)a->w[1]);
	apic_write((u32)a->w[1], (u32)a->w[2]);
	return 0;
}

static u64 flip_cr4(u64 bits)
{
	u64 cr4, was;

	asm volatile("mov %%cr4, %0" : "=r"(was));
	asm volatile("mov %0, %%cr4" : : "r"(was ^ bits) : "memory");
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	return cr4;
}

static u64 flip_cr0(u64 bits)
{
	u64 cr0, was;

	asm volatile("mov %%cr0, %0" : "=r"(was));
	asm volatile("mov %0, %%cr0" : : "r"(was ^ bits) : "memory");
	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	return cr0;
}

static u64 load_cr3(void)
{
	u64 cr3;

	asm volatile("mov %%cr3, %0\n\tmov %0, %%cr3" : "=r"(cr3) : : "memory");
	return 0;
}

#define CR0_WP	 BIT64(16)
#define CR0_AM	 BIT64(18)
#define CR4_PGE	 BIT64(7)
#define CR4_TSD	 BIT64(2)
#define MSR_EFER 0xc0000080u
#define EFER_SCE BIT64(0)
#define EFER_NXE BIT64(11)

/* w[0] which, w[1] value */
u64 fuzz_guest_cr(u64 arg)
{
	struct fuzz_arg *a = (struct fuzz_arg *)(uintptr_t)arg;
	u64 val = 0;

	a->vector = 0;
	switch (a->w[0]) {
	case 0:
		return flip_cr0(a->w[1] & 1 ? CR0_WP : CR0_AM);
	case 3:
		return load_cr3();
	case 4:
		return flip_cr4(a->w[1] & 1 ? CR4_PGE : CR4_TSD);
	case 8:
		if (this_log()->no_cr8)
			write_apic(APIC_TPR, (u32)(a->w[1] & 0xf) << 4);
		else
			write_cr8(a->w[1] & 0xf);
		return read_cr8();
	default:
		val = rdmsr(MSR_EFER);
		a->vector = __wrmsr(MSR_EFER, val ^ (a->w[1] & 1 ? EFER_SCE : EFER_NXE));
		return rdmsr(MSR_EFER);
	}
}

u64 fuzz_guest_eoi_by(u64 arg)
{
	this_log()->eoi_by = (u32)arg % 3;
	return 0;
}

/* L2: have L1 do the operation. */
u64 fuzz_guest_in_l1(u64 arg)
{
	struct fuzz_arg *a = (struct fuzz_arg *)(uintptr_t)arg;
	struct nested *n = this_cpu()->nested;
	struct guest_op *op = n->l1->ops;

	*op = a->inner;
	op->vector = 0;
	n->l1->nr = 1;
	cpuid(NESTED_LEAF, 0);
	/* A function leaves its exception in the argument. */
	if (op->op != OP_CALL) {
		a->vector = op->vector;
		a->error = op->error;
	}
	a->result2 = op->result2;
	return op->result;
}

/* L2: L1's enlightenments from the next entry on, which comes at once. */
u64 fuzz_guest_nested(u64 arg)
{
	struct nested *n = this_cpu()->nested;

	n->direct = arg & FUZZ_NESTED_DIRECT;
	n->msr_bitmap = arg & FUZZ_NESTED_BITMAP;
	n->npt_tlb = arg & FUZZ_NESTED_NPT;
	n->lock_page[0] = !!(arg & FUZZ_NESTED_LOCK);
	n->assist[ASSIST_DIRECT] = !!(arg & FUZZ_NESTED_ALLOWED);
	n->assist[ASSIST_CALLS] = !!(arg & FUZZ_NESTED_POSTS);
	n->vp_id = !!(arg & FUZZ_NESTED_VP_ID);
	n->vm_id = arg & FUZZ_NESTED_NO_ID ? 0 : arg & FUZZ_NESTED_VM_ID ? 2 : 1;
	n->l1->nr = 0;
	cpuid(NESTED_LEAF, 0);
	return 0;
}
