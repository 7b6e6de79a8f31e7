// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM builder: memory, descriptor tables, vCPUs, messages, the watchdog.
 *
 * Works on every kernel with KVM (only the old ioctls are used), on Intel and
 * AMD. Every failure ends the test case with the place and the vCPU's state.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "apic.h"
#include "vm.h"

#define SEL_CODE64  0x08
#define SEL_DATA    0x10
#define SEL_UCODE64 0x18
#define SEL_UDATA   0x20
#define SEL_CODE32  0x28
#define SEL_TSS	    0x30
#define STACK_SIZE  (4 * PAGE_SIZE)
#define TSS_SIZE    128
#define RAM_SIZE    (4UL << 20)
#define MAX_VMS	    8
#define HANG_EXIT   3 /* seconds between the kick and giving up */

#define EFER_LME BIT64(8)
#define EFER_LMA BIT64(10)

extern char __executable_start[], _end[];
extern u8 guest_idt_stubs[];
void guest_start(void); /* entry.S: call RBX, then tell the host */

static struct vm *vms[MAX_VMS];
static volatile sig_atomic_t watchdog_fired;

/* --- watchdog ----------------------------------------------------------- */

static void watchdog(int sig)
{
	static const char msg[] = "# watchdog: KVM_RUN does not return, giving up\n";
	u32 i, j;

	(void)sig;
	if (watchdog_fired) {
		if (write(STDOUT_FILENO, msg, sizeof(msg) - 1) < 0)
			_exit(KTAP_EXIT_FAIL);
		_exit(KTAP_EXIT_FAIL);
	}
	watchdog_fired = 1;
	for (i = 0; i < MAX_VMS; i++) {
		for (j = 0; vms[i] && j < vms[i]->nr_vcpus; j++) {
			struct vcpu *v = vms[i]->vcpus[j];

			v->run->immediate_exit = 1;
			if (v->running)
				pthread_kill(v->thread, SIGUSR1);
		}
	}
	alarm(HANG_EXIT);
}

static void kick(int sig)
{
	(void)sig;
}

void ktap_case_setup(unsigned int seconds)
{
	struct sigaction sa = { .sa_handler = watchdog };

	sigaction(SIGALRM, &sa, NULL);
	sa.sa_handler = kick;
	sigaction(SIGUSR1, &sa, NULL);
	alarm(seconds);
}

/* --- plain wrappers ----------------------------------------------------- */

int kvm_fd(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		FAIL("/dev/kvm: %s", strerror(errno));
	ASSERT_EQ(ioctl(fd, KVM_GET_API_VERSION, 0), KVM_API_VERSION);
	guest_use_vmmcall = host_is_amd();
	return fd;
}

bool host_is_amd(void)
{
	struct cpuid_regs r = cpuid(0, 0);

	/* "Auth" of AuthenticAMD, "Hygo" of HygonGenuine. */
	return r.ebx == 0x68747541 || r.ebx == 0x6f677948;
}

bool host_has_apicv(void)
{
	FILE *f = fopen(host_is_amd() ? "/sys/module/kvm_amd/parameters/avic" :
					"/sys/module/kvm_intel/parameters/enable_apicv",
			"r");
	bool has = f && fgetc(f) == 'Y';

	if (f)
		fclose(f);
	return has;
}

bool host_tells_next_rip(void)
{
	static int tells = -1;
	char yes = '0';
	int fd;

	if (tells < 0) {
		fd = open("/sys/module/kvm_amd/parameters/nrips", O_RDONLY);
		tells = !host_is_amd() || (fd >= 0 && read(fd, &yes, 1) == 1 && yes == '1');
		if (fd >= 0)
			close(fd);
	}
	return tells;
}

void require_two_cpus(void)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		ktap_skip("two vCPUs that run at the same time need two CPUs");
}

int kvm_check_cap(int cap)
{
	int r = ioctl(kvm_fd(), KVM_CHECK_EXTENSION, cap);

	return r < 0 ? 0 : r;
}

int vm_check_cap(struct vm *vm, int cap)
{
	int r = ioctl(vm->fd, KVM_CHECK_EXTENSION, cap);

	return r < 0 ? 0 : r;
}

static void vm_ioctl(struct vm *vm, unsigned long nr, void *arg, const char *what)
{
	if (ioctl(vm->fd, nr, arg) < 0)
		FAIL("%s: %s", what, strerror(errno));
}

int __vcpu_ioctl(struct vcpu *vcpu, unsigned long nr, void *arg)
{
	int r = ioctl(vcpu->fd, nr, arg);

	return r < 0 ? -errno : r;
}

void vcpu_ioctl(struct vcpu *vcpu, unsigned long nr, void *arg)
{
	int r = __vcpu_ioctl(vcpu, nr, arg);

	if (r < 0)
		FAIL("vCPU %u: ioctl 0x%lx: %s", vcpu->id, nr, strerror(-r));
}

int __vm_enable_cap(struct vm *vm, u32 cap, u64 arg0)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg0 } };
	int r = ioctl(vm->fd, KVM_ENABLE_CAP, &c);

	return r < 0 ? -errno : r;
}

int __vcpu_enable_cap(struct vcpu *vcpu, u32 cap, u64 arg0)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg0 } };

	return __vcpu_ioctl(vcpu, KVM_ENABLE_CAP, &c);
}

void vcpu_enforce_cpuid(struct vcpu *vcpu, bool on)
{
	ASSERT_EQ(__vcpu_enable_cap(vcpu, KVM_CAP_HYPERV_ENFORCE_CPUID, on), 0);
}

/* --- memory ------------------------------------------------------------- */

void vm_add_memslot(struct vm *vm, u64 gpa, void *hva, u64 size, u32 flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = vm->nr_slots++,
		.flags = flags | (vm->flags & VM_DIRTY_RING ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (u64)(uintptr_t)hva,
	};

	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r, "KVM_SET_USER_MEMORY_REGION");
}

void *vm_alloc(struct vm *vm, u64 size)
{
	void *p = vm->ram + vm->ram_used;

	size = (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	ASSERT(vm->ram_used + size <= vm->ram_size, "guest RAM used up");
	vm->ram_used += size;
	return p;
}

void vm_add_low(struct vm *vm)
{
	vm->low =
		mmap(NULL, VM_LOW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(vm->low != MAP_FAILED, "mmap");
	vm_add_memslot(vm, 0, vm->low, VM_LOW_SIZE, 0);
}

/* Identity map of the low 4 GB with 2 MB pages, open to CPL 3 as well. */
static void build_page_tables(struct vm *vm)
{
	u64 *pml4 = vm_alloc(vm, PAGE_SIZE), *pdpt = vm_alloc(vm, PAGE_SIZE);
	u64 i, j, *pd;

	pml4[0] = gpa(pdpt) | 7;
	for (i = 0; i < 4; i++) {
		pd = vm_alloc(vm, PAGE_SIZE);
		pdpt[i] = gpa(pd) | 7;
		for (j = 0; j < 512; j++)
			pd[j] = i << 30 | j << 21 | 0x87;
	}
	vm->cr3 = gpa(pml4);
}

struct idt_gate {
	u16 off0, sel;
	u8 ist, type;
	u16 off1;
	u32 off2, rsvd;
};

static void build_tables(struct vm *vm)
{
	struct idt_gate *idt;
	u64 *gdt, stub;
	u32 i;

	vm->gdt = vm_alloc(vm, PAGE_SIZE);
	vm->idt = vm_alloc(vm, PAGE_SIZE);
	gdt = (u64 *)vm->gdt;
	gdt[SEL_CODE64 / 8] = 0x00af9b000000ffffULL;
	gdt[SEL_DATA / 8] = 0x00cf93000000ffffULL;
	gdt[SEL_UCODE64 / 8] = 0x00affb000000ffffULL;
	gdt[SEL_UDATA / 8] = 0x00cff3000000ffffULL;
	gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffffULL;

	idt = (struct idt_gate *)vm->idt;
	for (i = 0; i < 256; i++) {
		stub = gpa(guest_idt_stubs) + 16 * i;
		idt[i] = (struct idt_gate){
			.off0 = (u16)stub,
			.sel = SEL_CODE64,
			.type = i == 0x80 ? 0xee : 0x8e,
			.off1 = (u16)(stub >> 16),
			.off2 = (u32)(stub >> 32),
		};
	}
}

/* --- creation ----------------------------------------------------------- */

static struct vcpu *vcpu_create(struct vm *vm, u32 id)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	int size = ioctl(kvm_fd(), KVM_GET_VCPU_MMAP_SIZE, 0);

	ASSERT(v && size > 0, "vCPU %u", id);
	v->vm = vm;
	v->id = id;
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (v->fd < 0)
		FAIL("KVM_CREATE_VCPU %u: %s", id, strerror(errno));
	v->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	ASSERT(v->run != MAP_FAILED, "mmap of kvm_run");
	v->cpu = vm_alloc(vm, PAGE_SIZE);
	v->cpu->self = v->cpu;
	v->cpu->id = id;
	return v;
}

/* What KVM supports, with this vCPU's APIC id, then Hyper-V's leaves. */
static void vcpu_default_cpuid(struct vcpu *v)
{
	struct cpuid_table *t = &v->cpuid;
	u32 i;

	t->nent = MAX_CPUID;
	if (ioctl(kvm_fd(), KVM_GET_SUPPORTED_CPUID, t) < 0)
		FAIL("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	cpuid_remove_hv(t);
	for (i = 0; i < t->nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | v->id << 24;
		else if (e->function == 0xb || e->function == 0x1f)
			e->edx = v->id;
	}
	if (!(v->vm->flags & VM_NO_HV)) {
		struct cpuid_table *hv = calloc(1, sizeof(*hv));

		ASSERT(hv, "memory");
		cpuid_hv(v, hv);
		ASSERT(t->nent + hv->nent <= MAX_CPUID, "too many CPUID entries");
		memcpy(&t->entries[t->nent], hv->entries, hv->nent * sizeof(hv->entries[0]));
		t->nent += hv->nent;
		free(hv);
	}
	vcpu_set_cpuid(v);
}

struct vcpu *vm_add_vcpu(struct vm *vm)
{
	struct vcpu *v;

	ASSERT(vm->nr_vcpus < MAX_VCPUS, "too many vCPUs");
	v = vcpu_create(vm, vm->nr_vcpus);
	if (vm->flags & VM_ENFORCE)
		vcpu_enforce_cpuid(v, true);
	vcpu_default_cpuid(v);
	vm->vcpus[vm->nr_vcpus++] = v;
	return v;
}

struct vm *vm_create(u32 nr_vcpus, u32 flags)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	u64 identity = 0xfffbc000, base, start, end;
	u32 i;

	ASSERT(vm && nr_vcpus <= MAX_VCPUS, "vm_create");
	for (i = 0; i < MAX_VMS && vms[i]; i++)
		;
	ASSERT(i < MAX_VMS, "too many VMs");
	vm->slot_index = i;
	vm->flags = flags;
	vm->fd = ioctl(kvm_fd(), KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		FAIL("KVM_CREATE_VM: %s", strerror(errno));
	if (flags & VM_DIRTY_RING)
		ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_DIRTY_LOG_RING,
					  VM_RING_ENTRIES * sizeof(struct kvm_dirty_gfn)),
			  0);

	base = VM_RAM_BASE + i * VM_RAM_STEP;
	vm->ram_size = RAM_SIZE + nr_vcpus * (3 * STACK_SIZE + PAGE_SIZE + 256);
	vm->ram_size = (vm->ram_size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	vm->ram = mmap((void *)base, vm->ram_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT(vm->ram == (void *)base, "the window of guest RAM is taken");
	vm_add_memslot(vm, base, vm->ram, vm->ram_size, 0);
	start = gpa(__executable_start) & ~(PAGE_SIZE - 1);
	end = (gpa(_end) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	vm_add_memslot(vm, start, (void *)start, end - start, 0);

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000UL) < 0)
		FAIL("TSS and identity map: %s", strerror(errno));
	if (!(flags & VM_NO_IRQCHIP))
		vm_ioctl(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");

	build_page_tables(vm);
	build_tables(vm);
	vm->tss = vm_alloc(vm, MAX_VCPUS * TSS_SIZE);
	for (i = 0; i < nr_vcpus; i++)
		vm_add_vcpu(vm);
	vms[vm->slot_index] = vm;
	return vm;
}

void vm_free(struct vm *vm)
{
	int size = ioctl(kvm_fd(), KVM_GET_VCPU_MMAP_SIZE, 0);
	u32 i;

	vms[vm->slot_index] = NULL;
	for (i = 0; i < vm->nr_vcpus; i++) {
		munmap(vm->vcpus[i]->run, (size_t)size);
		close(vm->vcpus[i]->fd);
		free(vm->vcpus[i]);
	}
	close(vm->fd);
	munmap(vm->ram, vm->ram_size);
	if (vm->low)
		munmap(vm->low, VM_LOW_SIZE);
	free(vm);
}

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
	printf("#  mp_state %u, injected %u (0x%x), shadow %u, exception %u (%u), nmi %u %u\n",
	       mp.mp_state, e.interrupt.injected, e.interrupt.nr, e.interrupt.shadow,
	       e.exception.injected, e.exception.nr, e.nmi.injected, e.nmi.pending);
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
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
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

/* --- CPUID -------------------------------------------------------------- */

int __cpuid_hv(struct vcpu *v, struct cpuid_table *t, u32 nent)
{
	int fd = v ? v->fd : kvm_fd(), r;

	memset(t, 0, sizeof(*t));
	t->nent = nent;
	r = ioctl(fd, KVM_GET_SUPPORTED_HV_CPUID, t);
	return r < 0 ? -errno : r;
}

void cpuid_hv(struct vcpu *v, struct cpuid_table *t)
{
	int r = __cpuid_hv(v, t, MAX_CPUID);

	if (r)
		FAIL("KVM_GET_SUPPORTED_HV_CPUID: %s", strerror(-r));
}

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, u32 leaf, u32 index)
{
	u32 i;

	for (i = 0; i < t->nent; i++)
		if (t->entries[i].function == leaf && t->entries[i].index == index)
			return &t->entries[i];
	return NULL;
}

struct kvm_cpuid_entry2 *cpuid_get(struct cpuid_table *t, u32 leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, leaf, 0);

	if (!e)
		FAIL("no CPUID leaf 0x%x", leaf);
	return e;
}

u32 *cpuid_reg(struct kvm_cpuid_entry2 *e, u32 reg)
{
	switch (reg) {
	case KHV_EAX:
		return &e->eax;
	case KHV_EBX:
		return &e->ebx;
	case KHV_ECX:
		return &e->ecx;
	default:
		return &e->edx;
	}
}

bool cpuid_test(struct cpuid_table *t, u64 bit)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, CPUBIT_LEAF(bit), 0);

	return e && (*cpuid_reg(e, CPUBIT_REG(bit)) & CPUBIT_MASK(bit));
}

void cpuid_assign(struct cpuid_table *t, u64 bit, bool on)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, CPUBIT_LEAF(bit), 0);
	u32 *reg;

	if (!e) {
		ASSERT(t->nent < MAX_CPUID, "CPUID table full");
		e = &t->entries[t->nent++];
		memset(e, 0, sizeof(*e));
		e->function = CPUBIT_LEAF(bit);
	}
	reg = cpuid_reg(e, CPUBIT_REG(bit));
	if (on)
		*reg |= CPUBIT_MASK(bit);
	else
		*reg &= ~CPUBIT_MASK(bit);
}

void cpuid_zero(struct cpuid_table *t, u32 leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_get(t, leaf);

	e->eax = 0;
	e->ebx = 0;
	e->ecx = 0;
	e->edx = 0;
}

void cpuid_remove_hv(struct cpuid_table *t)
{
	u32 i, n = 0;

	for (i = 0; i < t->nent; i++)
		if ((t->entries[i].function & 0xffffff00) != 0x40000000)
			t->entries[n++] = t->entries[i];
	t->nent = n;
}

int __vcpu_set_cpuid(struct vcpu *v)
{
	return __vcpu_ioctl(v, KVM_SET_CPUID2, &v->cpuid);
}

void vcpu_set_cpuid(struct vcpu *v)
{
	vcpu_ioctl(v, KVM_SET_CPUID2, &v->cpuid);
}

void vcpu_set_bit(struct vcpu *v, u64 bit, bool on)
{
	cpuid_assign(&v->cpuid, bit, on);
	vcpu_set_cpuid(v);
}

bool hv_supported(u64 bit)
{
	static struct cpuid_table t;

	if (!t.nent)
		cpuid_hv(NULL, &t);
	return cpuid_test(&t, bit);
}
