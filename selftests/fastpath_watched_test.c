// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the exit fast path must leave to others: MSR filters, exits to user space, faults, and
 * KVM's tracepoints and statistics.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fastpath.h"
#include "synic.h"
#include "tracefs.h"

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

	/* Without the filter the guest reads the register again. */
	filter.ranges[0].flags = 0;
	filter.ranges[0].nmsrs = 0;
	filter.ranges[0].bitmap = NULL;
	ASSERT(!ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), "filter: %s", strerror(errno));
	read_vp_index(v, p);
	vm_free(vm);
}

/* Without a filter user space gets only accesses that would be #GP. */
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

/* Accesses to the synthetic registers EOI, ICR and TPR are traced as accesses to the APIC. */
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

/* Each exit counts once: interrupts of the host add a few, but not twice as many. */
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
