// SPDX-License-Identifier: GPL-2.0-only
/*
 * The folder of a VM under /sys/kernel/debug/kvm-hyperv/vm/: what is counted of it, its clock and
 * pages, and its VPs. All VPs share one file, where each line begins with the VP's index: a file
 * for each would cost a VM of thousands of VPs a megabyte or more that nobody reads.
 *
 * The folder goes before the first vCPU of a VM that ends, and its removal waits for readers. So a
 * reader finds all vCPUs and VPs alive without a lock; it only reads single words, and keeps no VP
 * from running.
 */
#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/seq_file.h>

#include "khv/debugfs.h"
#include "khv/reftime.h"
#include "khv/state.h"
#include "khv/synic.h"
#include "khv/tlfs.h"
#include "khv/vp.h"

#include "debugfs.h"

static struct dentry *folders;

static const char *const page_name[] = {
	[KHV_TSC_PAGE_OFF] = "off",
	[KHV_TSC_PAGE_STALE] = "stale",
	[KHV_TSC_PAGE_INVALID] = "invalid",
	[KHV_TSC_PAGE_LIVE] = "live",
};

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

static const char *source_name(const struct khv_ref_source *source)
{
	if (!source->valid)
		return "KVM's clock";
	return source->adopted ? "frozen page" : "TSC";
}

static void show_clock(struct seq_file *m, struct khv_vm *vm)
{
	struct kvm *kvm = vm->kvm;
	struct khv_refclock *clock = &vm->refclock;
	struct kvm_vcpu *vcpu = NULL;
	struct khv_ref_source source;
	unsigned int seq;

	do {
		seq = read_seqcount_begin(&clock->seq);
		source = clock->source;
	} while (read_seqcount_retry(&clock->seq, seq));
	/* In older point releases kvm_get_vcpu() needs this check. */
	if (atomic_read(&kvm->online_vcpus))
		vcpu = kvm_get_vcpu(kvm, 0);

	if (vcpu)
		seq_printf(m, "reference-time     %llu\n", khv_ref_time(vcpu));
	seq_printf(m, "reference-source   %s\n", source_name(&source));
	seq_printf(m, "reference-ahead    %llu\n", source.ahead);
	seq_printf(m, "master-clock       %s\n", yes_no(READ_ONCE(kvm->arch.use_master_clock)));
	seq_printf(m, "tsc-page           %s\n",
		   READ_ONCE(clock->withheld) ? "withheld" : page_name[READ_ONCE(clock->page)]);
	seq_printf(m, "tsc-page-register  0x%016llx\n", READ_ONCE(kvm->arch.hyperv.hv_tsc_page));
	seq_printf(m, "tsc-page-sequence  %u\n", READ_ONCE(clock->sequence));
	seq_printf(m, "tsc-page-covered   %s\n", yes_no(READ_ONCE(clock->covered)));
	seq_printf(m, "tsc-rate-kept      %s\n", yes_no(READ_ONCE(vm->tsc_rate.kept)));
	seq_printf(m, "tsc-rate-kept-khz  %u\n", READ_ONCE(vm->tsc_rate.kept_khz));
}

static int info_show(struct seq_file *m, void *unused)
{
	struct khv_vm *vm = m->private;
	struct kvm *kvm = vm->kvm;
	u64 shown = READ_ONCE(vm->shown);
	int i;

	seq_printf(m, "vm                 %u\n", vm->id);
	seq_printf(m, "process            %d\n", vm->process);
	seq_printf(m, "thread             %d\n", vm->pid);
	seq_printf(m, "vcpus              %d\n", atomic_read(&kvm->online_vcpus));
	seq_puts(m, "enlightenments    ");
	for (i = 0; i < KHV_NR_ENLS; i++) {
		if (shown & BIT_ULL(i))
			seq_printf(m, " %s", khv_enls[i].name);
	}
	seq_puts(m, shown ? "\n" : " none\n");
	seq_printf(m, "guest-os-id        0x%016llx\n", READ_ONCE(kvm->arch.hyperv.hv_guest_os_id));
	seq_printf(m, "hypercall-page     0x%016llx\n", READ_ONCE(kvm->arch.hyperv.hv_hypercall));
	seq_printf(m, "hypercall-mapped   %s\n", yes_no(READ_ONCE(vm->hypercall_page.mapped)));
	show_clock(m, vm);
	seq_printf(m, "msr-filter         %s\n", yes_no(rcu_access_pointer(kvm->arch.msr_filter)));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(info);

static void show_sints(struct seq_file *m, u32 index, const struct kvm_vcpu_hv_synic *synic)
{
	u32 i;

	seq_printf(m, "%u synic %s scontrol 0x%llx simp 0x%llx siefp 0x%llx\n", index,
		   READ_ONCE(synic->active) ? "active" : "off", READ_ONCE(synic->control),
		   READ_ONCE(synic->msg_page), READ_ONCE(synic->evt_page));
	for (i = 0; i < HV_SYNIC_SINT_COUNT; i++) {
		u64 sint = khv_sint(synic, i);

		if (sint & KHV_SINT_MASKED)
			continue;
		seq_printf(m, "%u sint %u 0x%llx vector %llu%s%s gsi %d\n", index, i, sint,
			   sint & KHV_SINT_VECTOR, sint & KHV_SINT_AUTO_EOI ? " auto-eoi" : "",
			   sint & KHV_SINT_POLLING ? " polling" : "",
			   atomic_read(&synic->sint_to_gsi[i]));
	}
}

/* The next expiry is relative to now, as the VP's guest reads the time, in units of 100 ns. */
static void show_timers(struct seq_file *m, u32 index, const struct khv_vcpu *vp)
{
	unsigned long started = READ_ONCE(vp->stimers_started);
	unsigned long due = READ_ONCE(vp->stimers_due);
	u64 now = khv_ref_time(vp->stock.vcpu);
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		const struct kvm_vcpu_hv_stimer *t = &vp->stock.stimer[i];
		u64 config = READ_ONCE(t->config.as_uint64);
		u64 expiry = READ_ONCE(t->exp_time);

		if (!config && !(started & BIT(i)))
			continue;
		seq_printf(m, "%u stimer %d config 0x%llx count %llu", index, i, config,
			   READ_ONCE(t->count));
		if (started & BIT(i))
			seq_printf(m, " next %lld", (s64)(expiry - now));
		seq_printf(m, "%s%s\n", due & BIT(i) ? " due" : "",
			   READ_ONCE(t->msg_pending) ? " kept" : "");
	}
	if (READ_ONCE(vp->unhalted.config))
		seq_printf(m, "%u unhalted config 0x%llx period %llu\n", index,
			   READ_ONCE(vp->unhalted.config), READ_ONCE(vp->unhalted.period));
}

static int vps_show(struct seq_file *m, void *v)
{
	const struct khv_vcpu *vp = v;
	u32 index = READ_ONCE(vp->stock.vp_index);
	u64 exits;
	int i;

	seq_printf(m, "%u vcpu %d %s\n", index, vp->stock.vcpu->vcpu_id,
		   READ_ONCE(vp->running) ? "running" : "stopped");
	show_sints(m, index, &vp->stock.synic);
	show_timers(m, index, vp);
	seq_printf(m, "%u assist-page 0x%llx\n", index, READ_ONCE(vp->stock.hv_vapic));
	for (i = 0; i < KHV_NR_FAST_RESULTS; i++) {
		exits = READ_ONCE(vp->counts.fast[i]);
		if (exits || i == KHV_FAST_OK)
			seq_printf(m, "%u exits %llu %s\n", index, exits, khv_fast_result[i]);
	}
	return 0;
}

/* The position in the file is the VP index, so that each read() goes on without a search. */
static void *vps_find(struct seq_file *m, loff_t *pos)
{
	const struct khv_vm *vm = m->private;
	struct khv_vcpu *vp;

	for (; *pos < KVM_MAX_VCPUS; ++*pos) {
		vp = khv_vp_by_index(vm->kvm, *pos);
		if (vp)
			return vp;
	}
	return NULL;
}

static void *vps_start(struct seq_file *m, loff_t *pos)
{
	return vps_find(m, pos);
}

static void *vps_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return vps_find(m, pos);
}

static void vps_stop(struct seq_file *m, void *v)
{
}

static const struct seq_operations vps_sops = {
	.start = vps_start,
	.next = vps_next,
	.stop = vps_stop,
	.show = vps_show,
};
DEFINE_SEQ_ATTRIBUTE(vps);

void khv_debugfs_vms_init(struct dentry *root)
{
	folders = debugfs_create_dir("vm", root);
}

void khv_debugfs_vm_create(struct khv_vm *vm)
{
	char name[12];

	snprintf(name, sizeof(name), "%u", vm->id);
	vm->folder = debugfs_create_dir(name, folders);
	debugfs_create_file("info", 0400, vm->folder, vm, &info_fops);
	khv_debugfs_add_counts(vm->folder, vm);
	debugfs_create_file("vps", 0400, vm->folder, vm, &vps_fops);
}

void khv_debugfs_vm_remove(struct khv_vm *vm)
{
	debugfs_remove(vm->folder);
	vm->folder = NULL;
}
