// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM builder: memory, descriptor tables, creation, the watchdog.
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

#include "vm.h"
#include "vm_private.h"

#define RAM_SIZE  (4UL << 20)
#define MAX_VMS	  8
#define HANG_EXIT 3 /* seconds between the kick and giving up */

extern char __executable_start[], _end[];
extern u8 guest_idt_stubs[];

static struct vm *vms[MAX_VMS];
volatile sig_atomic_t watchdog_fired;

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

int __kvm_msr_list(struct named_msrs *list, u32 room)
{
	list->hdr.nmsrs = room;
	return ioctl(kvm_fd(), KVM_GET_MSR_INDEX_LIST, list) ? -errno : 0;
}

void kvm_msr_list(struct named_msrs *list)
{
	int r;

	memset(list, 0, sizeof(*list));
	r = __kvm_msr_list(list, MAX_NAMED_MSRS);
	ASSERT(!r, "KVM_GET_MSR_INDEX_LIST: %s", strerror(-r));
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

void vm_set_page(struct vm *vm, u32 slot, u64 gpa, void *hva)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = hva ? PAGE_SIZE : 0,
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
	if (!(v->vm->flags & VM_NO_CPUID))
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

	/* Linux 7.3 refuses it once there is a vCPU. */
	if (flags & VM_FREE_PAUSE)
		ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS,
					  KVM_X86_DISABLE_EXITS_PAUSE),
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
