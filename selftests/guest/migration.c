// SPDX-License-Identifier: GPL-2.0-only
/* See migration.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "migration.h"
#include "module.h"

#define TAKEOVER "/sys/module/kvm_hyperv/parameters/takeover"

static const char *const kind_names[] = { [STOCK] = "stock", [MODULE] = "module" };

static void set_takeover(bool on)
{
	int fd = open(TAKEOVER, O_WRONLY | O_CLOEXEC);

	ASSERT(fd >= 0, TAKEOVER ": %s", strerror(errno));
	ASSERT_EQ(write(fd, on ? "1" : "0", 1), 1);
	close(fd);
}

u8 *hypercall_page, *tsc_page, *assist_page;

u32 nr_vps = 1;

/* A VM with a SynIC of which nothing is enabled. */
static struct vm *new_vm(enum kind kind)
{
	unsigned int before = 0;
	struct vm *vm;

	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	if (module_loaded()) {
		set_takeover(kind == MODULE);
		before = module_vms_created();
	}
	vm = synic_vm_bare(nr_vps, KVM_CAP_HYPERV_SYNIC2);
	hypercall_page = vm_alloc(vm, PAGE_SIZE);
	tsc_page = vm_alloc(vm, PAGE_SIZE);
	assist_page = vm_alloc(vm, PAGE_SIZE);
	if (module_loaded()) {
		set_takeover(true);
		ASSERT(module_vms_created() - before == (kind == MODULE), "whose is the VM?");
	}
	return vm;
}

/* The identity first: the hypercall page needs it. */
static const u32 saved_msrs[] = {
	HV_X64_MSR_GUEST_OS_ID,
	HV_X64_MSR_HYPERCALL,
	HV_X64_MSR_VP_INDEX,
	HV_X64_MSR_REFERENCE_TSC,
	HV_X64_MSR_VP_ASSIST_PAGE,
	HV_X64_MSR_CRASH_P0,
	HV_X64_MSR_CRASH_P0 + 1,
	HV_X64_MSR_CRASH_P0 + 2,
	HV_X64_MSR_CRASH_P0 + 3,
	HV_X64_MSR_CRASH_P4,
	HV_X64_MSR_REENLIGHTENMENT_CONTROL,
	HV_X64_MSR_TSC_EMULATION_STATUS,
	HV_X64_MSR_SYNDBG_OPTIONS,
	HV_X64_MSR_SCONTROL,
	HV_X64_MSR_SIEFP,
	HV_X64_MSR_SIMP,
	HV_X64_MSR_SINT(0),
	HV_X64_MSR_SINT(SINT),
	HV_X64_MSR_SINT(2),
	HV_X64_MSR_SINT(15),
	CONFIG(0),
	COUNT(0),
	COUNT(1),
	CONFIG(1),
	CONFIG(2),
	COUNT(2),
	CONFIG(3),
	COUNT(3),
};

#define NR_SAVED ARRAY_SIZE(saved_msrs)

struct saved_vp {
	struct {
		struct kvm_msrs hdr;
		struct kvm_msr_entry entries[NR_SAVED];
	} msrs;
	struct kvm_lapic_state lapic;
	u8 message_page[PAGE_SIZE];
};

struct saved {
	struct saved_vp vps[MAX_VPS];
	struct kvm_clock_data clock;
	u8 hypercall_page[PAGE_SIZE], tsc_page[PAGE_SIZE], assist_page[PAGE_SIZE];
};

static void save_msrs(struct vcpu *v, struct saved_vp *s)
{
	u32 i;

	s->msrs.hdr.nmsrs = NR_SAVED;
	for (i = 0; i < NR_SAVED; i++)
		s->msrs.entries[i].index = saved_msrs[i];
	ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, &s->msrs), (int)NR_SAVED);
}

static void save(struct vm *vm, struct saved *s)
{
	u32 i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < nr_vps; i++) {
		save_msrs(vm->vcpus[i], &s->vps[i]);
		vcpu_ioctl(vm->vcpus[i], KVM_GET_LAPIC, &s->vps[i].lapic);
		memcpy(s->vps[i].message_page, synic_messages[i], PAGE_SIZE);
	}
	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &s->clock), 0);
	memcpy(s->hypercall_page, hypercall_page, PAGE_SIZE);
	memcpy(s->tsc_page, tsc_page, PAGE_SIZE);
	memcpy(s->assist_page, assist_page, PAGE_SIZE);
}

static void restore_vp(struct vcpu *v, struct saved_vp *s, bool reverse)
{
	struct kvm_msr_entry e;
	u32 i;

	vcpu_ioctl(v, KVM_SET_LAPIC, &s->lapic);
	for (i = 0; reverse && i < NR_SAVED / 2; i++) {
		e = s->msrs.entries[i];
		s->msrs.entries[i] = s->msrs.entries[NR_SAVED - 1 - i];
		s->msrs.entries[NR_SAVED - 1 - i] = e;
	}
	ASSERT_EQ(__vcpu_ioctl(v, KVM_SET_MSRS, &s->msrs), (int)NR_SAVED);
}

static struct vm *restore(enum kind kind, struct saved *s, bool reverse)
{
	struct vm *vm = new_vm(kind);
	u32 i;

	for (i = 0; i < nr_vps; i++)
		memcpy(synic_messages[i], s->vps[i].message_page, PAGE_SIZE);
	memcpy(hypercall_page, s->hypercall_page, PAGE_SIZE);
	memcpy(tsc_page, s->tsc_page, PAGE_SIZE);
	memcpy(assist_page, s->assist_page, PAGE_SIZE);
	/* Only the time itself: no step for what passed since, nothing of this host's TSC. */
	s->clock.flags = 0;
	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &s->clock), 0);
	for (i = 0; i < nr_vps; i++)
		restore_vp(vm->vcpus[i], &s->vps[i], reverse);
	return vm;
}

/* What has not run yet is what was saved: nothing has expired in between. */
static void check_restored(struct vcpu *v, const struct saved_vp *s, bool reverse)
{
	struct saved_vp again;
	u32 i;

	save_msrs(v, &again);
	for (i = 0; i < NR_SAVED; i++) {
		u32 at = reverse ? NR_SAVED - 1 - i : i;

		ASSERT(s->msrs.entries[at].data == again.msrs.entries[i].data,
		       "VP %u: MSR 0x%x: 0x%llx became 0x%llx", v->id, saved_msrs[i],
		       (unsigned long long)s->msrs.entries[at].data,
		       (unsigned long long)again.msrs.entries[i].data);
	}
}

/* Each VP in its turn. */
static void run_all(struct vm *vm, void (*entry)(void))
{
	u32 i;

	for (i = 0; i < nr_vps; i++) {
		vcpu_entry(vm->vcpus[i], entry);
		synic_run_done(vm->vcpus[i]);
	}
}

enum kind migrated_from, migrated_to;

/* Run @first, save, and run @second in another VM, which has the state of the first. */
static void migrate_once(enum kind from, enum kind to, void (*first)(void), void (*second)(void),
			 bool reverse)
{
	struct vm *vm = new_vm(from);
	struct saved s;
	u32 i;

	ktap_log("%s to %s", kind_names[from], kind_names[to]);
	migrated_from = from;
	migrated_to = to;
	nr_taken = 0;
	memset((void *)guest_irqs, 0, sizeof(guest_irqs));
	for (i = 0; i < nr_vps; i++) {
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SIMP, synic_simp(i));
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SIEFP, synic_siefp(i));
	}
	run_all(vm, first);
	save(vm, &s);
	vm_free(vm);

	vm = restore(to, &s, reverse);
	for (i = 0; i < nr_vps; i++)
		check_restored(vm->vcpus[i], &s.vps[i], reverse);
	run_all(vm, second);
	vm_free(vm);
}

void migrate(void (*first)(void), void (*second)(void), bool reverse)
{
	if (!module_loaded()) {
		migrate_once(STOCK, STOCK, first, second, reverse);
		return;
	}
	migrate_once(STOCK, MODULE, first, second, reverse);
	migrate_once(MODULE, STOCK, first, second, reverse);
	migrate_once(MODULE, MODULE, first, second, reverse);
}
