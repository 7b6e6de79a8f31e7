// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts what a host of one CPU executes on an emulator whose TSC counts instructions, and what
 * part of it its guests execute. Two things are needed for that:
 *
 * - The TSC also runs while the CPU halts. A HLT ends in the handler of the interrupt that wakes
 *   the CPU, so that two reads of the TSC around it would count the handler as well. The idle
 *   function here loads a second IDT before HLT, whose gates (wake.S) read the TSC first, and then
 *   go on as the first one would. TSC less halted time is what was executed.
 * - The call of __vmx_vcpu_run() or __svm_vcpu_run() in the vendor's module is made to call
 *   run_metered(), which reads the TSC on both sides. The same instructions surround the guest's in
 *   each such call; guest and host subtract their number, which two exits in a row tell.
 *
 * A guest marks a place by CPUID with MAGIC in RBX and the mark's number in RSI, which any program
 * of the guest can do; the host by "mark NUMBER" written to debugfs khv-meter/marks, which, read,
 * has a line for each mark: number, TSC, halted, runs, entries, wakes and entries by reason. "arm
 * NUMBER" marks the next entry.
 *
 * For one benchmark on one CPU; it has no owner, no preflight and no mercy.
 */
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/memory.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>
#include <asm/desc.h>
#include <asm/svm.h>
#include <asm/text-patching.h>
#include <asm/vmx.h>

#define MAGIC	  0x4b48562d4d61726bul
#define MAX_MARKS 4096
#define CALL_LEN  5
#define GATE_LEN  64

enum reason {
	BY_MSR,
	BY_CALL,
	BY_HLT,
	BY_INTERRUPT,
	BY_OTHER,
	NR_REASONS,
};

struct counts {
	u64 tsc, halted, runs, entries, wakes;
	u64 by[NR_REASONS];
};

typedef unsigned long run_fn(struct kvm_vcpu *vcpu, unsigned long a, unsigned long b);

unsigned long lookup_name(const char *name);
unsigned long vendor_run(struct kvm_vcpu *vcpu, unsigned long a, unsigned long b);
void poke(void *addr, const void *opcode, size_t len, const void *emulate);
DEFINE_STATIC_CALL_NULL(lookup, lookup_name);
DEFINE_STATIC_CALL_NULL(vendor, vendor_run);
DEFINE_STATIC_CALL_NULL(poke, poke);

/* Shared with wake.S. */
extern u8 meter_gates[];
u64 meter_halted_at, meter_halted, meter_wakes;
unsigned long meter_targets[256];
struct desc_ptr meter_idt;

static gate_desc gates[256] __page_aligned_bss;
static struct desc_ptr gates_ptr = { .size = sizeof(gates) - 1, .address = (unsigned long)gates };

static struct counts now;
static struct {
	u64 number;
	struct counts counts;
} marks[MAX_MARKS];
static unsigned int nr_marks;
static u64 armed;
static bool svm;

static __always_inline void mark(u64 number)
{
	if (nr_marks == MAX_MARKS)
		return;
	now.tsc = rdtsc();
	now.halted = meter_halted;
	now.wakes = meter_wakes;
	marks[nr_marks].number = number;
	marks[nr_marks++].counts = now;
}

static __always_inline u32 exit_reason(const struct kvm_vcpu *vcpu)
{
	unsigned long reason;

	if (svm)
		return (*(struct vmcb **)(vcpu + 1))->control.exit_code;
	asm volatile("vmread %1, %0" : "=r"(reason) : "r"((unsigned long)VM_EXIT_REASON) : "cc");
	return reason;
}

static __always_inline enum reason reason_of(u32 exit)
{
	switch (exit) {
	case SVM_EXIT_MSR:
		return svm ? BY_MSR : BY_OTHER;
	case EXIT_REASON_MSR_READ:
	case EXIT_REASON_MSR_WRITE:
		return svm ? BY_OTHER : BY_MSR;
	case SVM_EXIT_VMMCALL:
		return svm ? BY_CALL : BY_OTHER;
	case EXIT_REASON_VMCALL:
		return svm ? BY_OTHER : BY_CALL;
	case SVM_EXIT_HLT:
		return svm ? BY_HLT : BY_OTHER;
	case EXIT_REASON_HLT:
		return svm ? BY_OTHER : BY_HLT;
	case SVM_EXIT_INTR:
		return svm ? BY_INTERRUPT : BY_OTHER;
	case EXIT_REASON_EXTERNAL_INTERRUPT:
		return svm ? BY_OTHER : BY_INTERRUPT;
	}
	return BY_OTHER;
}

/* In place of the vendor's assembly, interrupts off, and RCU not looking at this CPU. */
static noinline notrace unsigned long run_metered(struct kvm_vcpu *vcpu, unsigned long a,
						  unsigned long b)
{
	unsigned long ret;
	u64 start;
	u32 exit;

	if (unlikely(armed)) {
		mark(armed);
		armed = 0;
	}
	start = rdtsc();
	ret = static_call(vendor)(vcpu, a, b);
	now.runs += rdtsc() - start;
	now.entries++;
	exit = exit_reason(vcpu);
	now.by[reason_of(exit)]++;
	if (unlikely(vcpu->arch.regs[VCPU_REGS_RBX] == MAGIC) &&
	    exit == (svm ? SVM_EXIT_CPUID : EXIT_REASON_CPUID))
		mark(vcpu->arch.regs[VCPU_REGS_RSI]);
	return ret;
}

/* Called with interrupts off; returns so. */
static noinline notrace void idle_metered(void)
{
	load_idt(&gates_ptr);
	meter_halted_at = rdtsc();
	asm volatile("sti; hlt; cli" ::: "memory");
	/* The gate has done so, except where an NMI ended the HLT. */
	load_idt(&meter_idt);
}

static void copy_idt(void)
{
	const gate_desc *old;
	unsigned int i;

	store_idt(&meter_idt);
	old = (void *)meter_idt.address;
	for (i = 0; i < 256; i++) {
		unsigned long gate = (unsigned long)meter_gates + i * GATE_LEN;

		gates[i] = old[i];
		meter_targets[i] = gate_offset(&old[i]);
		/* Exceptions do not end a HLT. */
		if (i < 32)
			continue;
		gates[i].offset_low = gate;
		gates[i].offset_middle = gate >> 16;
		gates[i].offset_high = gate >> 32;
	}
}

static int marks_show(struct seq_file *m, void *unused)
{
	unsigned int i, j;

	for (i = 0; i < nr_marks; i++) {
		const struct counts *c = &marks[i].counts;

		seq_printf(m, "%llu %llu %llu %llu %llu %llu", marks[i].number, c->tsc, c->halted,
			   c->runs, c->entries, c->wakes);
		for (j = 0; j < NR_REASONS; j++)
			seq_printf(m, " %llu", c->by[j]);
		seq_putc(m, '\n');
	}
	return 0;
}

static int marks_open(struct inode *inode, struct file *file)
{
	return single_open(file, marks_show, NULL);
}

static ssize_t marks_write(struct file *file, const char __user *user, size_t len, loff_t *pos)
{
	char buf[32] = {};
	u64 number;

	if (len >= sizeof(buf) || copy_from_user(buf, user, len))
		return -EINVAL;
	if (sscanf(buf, "mark %llu", &number) == 1) {
		local_irq_disable();
		mark(number);
		local_irq_enable();
	} else if (sscanf(buf, "arm %llu", &number) == 1) {
		armed = number;
	} else {
		return -EINVAL;
	}
	return len;
}

static const struct file_operations marks_fops = {
	.owner = THIS_MODULE,
	.open = marks_open,
	.read = seq_read,
	.write = marks_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static void *find(const char *name)
{
	void *at = (void *)static_call(lookup)(name);

	if (!at)
		pr_err("no %s\n", name);
	return at;
}

/* The one call of TARGET in the function that begins at CODE. */
static u8 *find_call(u8 *code, const u8 *target)
{
	u8 *at;
	s32 offset;

	for (at = code; at < code + 512; at++) {
		if (*at != 0xe8)
			continue;
		memcpy(&offset, at + 1, sizeof(offset));
		if (at + CALL_LEN + offset == target)
			return at;
	}
	return NULL;
}

static int __init meter_init(void)
{
	struct kprobe probe = {
		.symbol_name = "kallsyms_lookup_name",
		.flags = KPROBE_FLAG_DISABLED,
	};
	void *idle_key, *idle_trampoline;
	u8 *code, *run, *call, insn[CALL_LEN];
	struct mutex *lock; /* text_mutex */
	int ret = register_kprobe(&probe);
	s32 offset;

	if (ret)
		return ret;
	static_call_update(lookup, (void *)probe.addr);
	unregister_kprobe(&probe);

	svm = boot_cpu_data.x86_vendor == X86_VENDOR_AMD;
	code = find(svm ? "svm_vcpu_enter_exit" : "vmx_vcpu_enter_exit");
	run = find(svm ? "__svm_vcpu_run" : "__vmx_vcpu_run");
	lock = find("text_mutex");
	idle_key = find("__SCK__x86_idle");
	idle_trampoline = find("__SCT__x86_idle");
	static_call_update(poke, find("text_poke_bp"));
	if (!code || !run || !lock || !idle_key || !idle_trampoline)
		return -ENOENT;
	call = find_call(code, run);
	if (!call)
		return -ENOENT;

	static_call_update(vendor, (run_fn *)run);
	insn[0] = 0xe8;
	offset = (long)run_metered - (long)call - CALL_LEN;
	memcpy(insn + 1, &offset, sizeof(offset));
	mutex_lock(lock);
	static_call(poke)(call, insn, CALL_LEN, NULL);
	mutex_unlock(lock);

	copy_idt();
	__static_call_update(idle_key, idle_trampoline, idle_metered);
	debugfs_create_file("marks", 0600, debugfs_create_dir("khv-meter", NULL), NULL,
			    &marks_fops);
	return 0;
}

/* It stays: somebody may halt in its text at any time. */
module_init(meter_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Counts the instructions of a host and of its guests apart");
