/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small VM builder on the raw KVM ioctls.
 *
 * A VM has RAM at one window of the address space where GPA, guest virtual
 * address and the host's own pointer are the same number, and the test
 * program's image mapped at its own addresses. foo() asserts success, __foo()
 * returns the raw result (0 or -errno for ioctls).
 */
#ifndef KHV_SELFTEST_VM_H
#define KHV_SELFTEST_VM_H

#include <pthread.h>

#include "guest.h"
#include "ktap.h"
#include "uapi.h"

#define MAX_VCPUS 256
#define MAX_CPUID 128

/* No VM has memory here, and none at or above 4 GB. */
#define GPA_NOWHERE 0x70000000ULL
/* The window of guest RAM of VM n starts at VM_RAM_BASE + n * VM_RAM_STEP. */
#define VM_RAM_BASE 0x80000000ULL
#define VM_RAM_STEP 0x04000000ULL
#define VM_LOW_SIZE 0x10000UL

/* vm_create() flags. */
#define VM_NO_IRQCHIP 1 /* no in-kernel irqchip */
#define VM_NO_HV      2 /* no Hyper-V leaves in CPUID */
#define VM_ENFORCE    4 /* KVM_CAP_HYPERV_ENFORCE_CPUID on every vCPU */
#define VM_DIRTY_RING 8 /* dirty logging of all memory, into rings of VM_RING_ENTRIES */
/* PAUSE has no exit: an emulated CPU then lets the other one go on, else at its next tick. */
#define VM_FREE_PAUSE 16
#define VM_NO_CPUID   32 /* no KVM_SET_CPUID2 yet: the table alone is filled in */

#define VM_RING_ENTRIES 1024

struct cpuid_table {
	u32 nent;
	u32 padding;
	struct kvm_cpuid_entry2 entries[MAX_CPUID];
};

struct vcpu {
	struct vm *vm;
	int fd;
	u32 id;
	struct kvm_run *run;
	struct guest_cpu *cpu;
	struct cpuid_table cpuid; /* what vcpu_set_cpuid() loads */
	void (*entry)(void);
	pthread_t thread; /* of the last KVM_RUN, for the watchdog */
	bool running;
	u32 interrupted;    /* times that a signal ended KVM_RUN */
	volatile bool stop; /* vcpu_stop() */
	pthread_t worker;   /* vcpu_start() */
};

struct vm {
	int fd;
	u32 flags;
	u32 slot_index;
	u32 nr_vcpus;
	u32 nr_slots;
	u8 *ram; /* == its GPA */
	u64 ram_size;
	u64 ram_used;
	u8 *low; /* 64 KB at GPA 0, after vm_add_low() */
	u64 cr3;
	u8 *gdt, *idt, *tss;
	struct vcpu *vcpus[MAX_VCPUS];
};

/* vcpu_run() returns an enum guest_cmd or one of these. */
#define RUN_EXIT(reason) (0x1000 + (reason))
#define RUN_STOPPED	 0x2000

/* The address in the guest of what the host has at @p. */
static inline u64 gpa(const volatile void *p)
{
	return (u64)(uintptr_t)p;
}

int kvm_fd(void);
bool host_is_amd(void);
/* The CPU keeps IRR, ISR and TPR itself (APICv or AVIC), and KVM uses it. */
bool host_has_apicv(void);
/* Not an AMD CPU without NRIPS, where KVM asks its emulator to skip an instruction. */
bool host_tells_next_rip(void);
int kvm_check_cap(int cap);
int vm_check_cap(struct vm *vm, int cap);

/* What KVM_GET_MSR_INDEX_LIST says: MAX_NAMED_MSRS are more than any KVM names. */
#define MAX_NAMED_MSRS 1024
struct named_msrs {
	struct kvm_msr_list hdr;
	u32 msrs[MAX_NAMED_MSRS];
};

/* 0 or -errno, with room for @room MSRs; the other one has all that room, and zeroes the rest. */
int __kvm_msr_list(struct named_msrs *list, u32 room);
void kvm_msr_list(struct named_msrs *list);

/* Skip the case on a host of one CPU: its vCPUs have to run at the same time. */
void require_two_cpus(void);

struct vm *vm_create(u32 nr_vcpus, u32 flags);
/* One vCPU more, after vm_create(). */
struct vcpu *vm_add_vcpu(struct vm *vm);
void vm_free(struct vm *vm);
/* A zeroed, page aligned piece of the VM's RAM. */
void *vm_alloc(struct vm *vm, u64 size);
void vm_add_low(struct vm *vm);
void vm_add_memslot(struct vm *vm, u64 gpa, void *hva, u64 size, u32 flags);
/* Let @slot be the page @gpa, in @hva; NULL takes the slot away. */
void vm_set_page(struct vm *vm, u32 slot, u64 gpa, void *hva);
int __vm_enable_cap(struct vm *vm, u32 cap, u64 arg0);

/* Prepare the vCPU to run @entry in 64-bit mode, at CPL 0, interrupts off. */
void vcpu_entry(struct vcpu *vcpu, void (*entry)(void));
/* From 64-bit code of the guest into a 32-bit segment: start at @rip, with RBP @rbp. */
void vcpu_enter_compatibility_mode(struct vcpu *vcpu, u64 rip, u64 rbp);
int __vcpu_ioctl(struct vcpu *vcpu, unsigned long nr, void *arg);
void vcpu_ioctl(struct vcpu *vcpu, unsigned long nr, void *arg);
int __vcpu_enable_cap(struct vcpu *vcpu, u32 cap, u64 arg0);
void vcpu_enforce_cpuid(struct vcpu *vcpu, bool on);

/* One KVM_RUN; 0 or -errno, which is -EINTR only after vcpu_stop(). */
int __vcpu_run(struct vcpu *vcpu);
/*
 * Complete the last exit, which is half of an instruction, without going on. Return: -EINTR, or
 * what is wrong.
 */
int vcpu_finish_exit(struct vcpu *vcpu);
/* Make vcpu_run(), in another thread, complete its exit and return RUN_STOPPED. */
void vcpu_stop(struct vcpu *vcpu);
/* Run to the next message or exit; logs are printed, assertions end the case. */
u32 vcpu_run(struct vcpu *vcpu);
void vcpu_run_done(struct vcpu *vcpu);
void vcpu_run_sync(struct vcpu *vcpu, u64 stage);
void vcpu_run_exit(struct vcpu *vcpu, u32 reason);
/* Run to the end in a thread of its own. */
void vcpu_start(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);
void vcpu_dump(struct vcpu *vcpu);
const char *exit_name(u32 reason);

/* MSRs by the host: the raw form returns what KVM_{GET,SET}_MSRS returned (1 = done). */
int __vcpu_get_msr(struct vcpu *vcpu, u32 msr, u64 *val);
int __vcpu_set_msr(struct vcpu *vcpu, u32 msr, u64 val);
u64 vcpu_get_msr(struct vcpu *vcpu, u32 msr);
void vcpu_set_msr(struct vcpu *vcpu, u32 msr, u64 val);

/* CPUID. cpuid_hv() is KVM_GET_SUPPORTED_HV_CPUID, of the vCPU when there is one. */
int __cpuid_hv(struct vcpu *vcpu, struct cpuid_table *t, u32 nent);
void cpuid_hv(struct vcpu *vcpu, struct cpuid_table *t);
struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, u32 leaf, u32 index);
struct kvm_cpuid_entry2 *cpuid_get(struct cpuid_table *t, u32 leaf);
bool cpuid_test(struct cpuid_table *t, u64 bit);
void cpuid_assign(struct cpuid_table *t, u64 bit, bool on);
u32 *cpuid_reg(struct kvm_cpuid_entry2 *e, u32 reg);
/* Clear every register of leaf @leaf. */
void cpuid_zero(struct cpuid_table *t, u32 leaf);
void cpuid_remove_hv(struct cpuid_table *t);
int __vcpu_set_cpuid(struct vcpu *vcpu);
void vcpu_set_cpuid(struct vcpu *vcpu);
/* Change one bit and load the table. */
void vcpu_set_bit(struct vcpu *vcpu, u64 bit, bool on);
/* Does KVM_GET_SUPPORTED_HV_CPUID of this host report the bit? */
bool hv_supported(u64 bit);

#endif
