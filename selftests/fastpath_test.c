// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the exit fast path must leave true: MSR filters, single step, KVM's tracepoints,
 * faults. Each holds on stock KVM, which has no fast path for these exits; with the
 * module, the counts in debugfs tell that the exit was answered where it should be.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "module.h"
#include "ops.h"

#define READS	 100
#define ANSWERED "answered"
#define PARAM	 "/sys/module/kvm_hyperv/parameters/fastpath"
#define EVENT	 "/sys/kernel/tracing/events/kvm/kvm_msr/enable"

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	ASSERT(fd >= 0, "%s: %s", path, strerror(errno));
	ASSERT(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path,
	       strerror(errno));
	close(fd);
}

/* The last number of the line of debugfs' rows that begins with @name. */
static u64 count_of(const char *name)
{
	u64 last = 0;
	char line[256], *p;
	bool found = false;
	FILE *f;

	f = fopen(MODULE_DEBUGFS "/rows", "r");
	ASSERT(f, "rows: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, strlen(name)))
			continue;
		p = strrchr(line, ' ');
		ASSERT(p, "no number in: %s", line);
		last = strtoull(p, NULL, 10);
		found = true;
	}
	fclose(f);
	ASSERT(found, "no line %s", name);
	return last;
}

static struct vm *reader(struct ops_page **p)
{
	struct vm *vm = vm_create(1, 0);

	*p = vcpu_ops_init(vm->vcpus[0], READS);
	return vm;
}

static void read_vp_index(struct vcpu *v, struct ops_page *p)
{
	u32 i;

	for (i = 0; i < READS; i++)
		p->ops[i] = OP_RD(HV_X64_MSR_VP_INDEX);
	vcpu_ops_run(v, p, READS);
	for (i = 0; i < READS; i++) {
		ASSERT_EQ(p->ops[i].vector, 0);
		ASSERT_EQ(p->ops[i].result, 0);
	}
}

/* How many of READS exits went where @name counts; READS on stock. */
static u64 exits_by(const char *name, struct vcpu *v, struct ops_page *p)
{
	u64 before = module_loaded() ? count_of(name) : 0;

	read_vp_index(v, p);
	return module_loaded() ? count_of(name) - before : READS;
}

TEST(registers_are_answered_at_once)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);

	ASSERT(exits_by(ANSWERED, vm->vcpus[0], p) >= READS, "not in the fast path");
	vm_free(vm);
}

TEST(switched_off_and_on)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];

	if (!module_loaded())
		ktap_skip("the parameter is the module's");
	write_file(PARAM, "0");
	ASSERT_EQ(exits_by(ANSWERED, v, p), 0);
	write_file(PARAM, "1");
	ASSERT(exits_by(ANSWERED, v, p) >= READS, "still off");
	vm_free(vm);
}

TEST(parameter_takes_booleans_only)
{
	int fd;

	if (!module_loaded())
		ktap_skip("the parameter is the module's");
	fd = open(PARAM, O_WRONLY);
	ASSERT(fd >= 0, "%s: %s", PARAM, strerror(errno));
	ASSERT(write(fd, "maybe", 5) < 0 && errno == EINVAL, "accepted");
	close(fd);
}

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

	/* Without it the register is the guest's again. */
	filter.ranges[0].flags = 0;
	filter.ranges[0].nmsrs = 0;
	filter.ranges[0].bitmap = NULL;
	ASSERT(!ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), "filter: %s", strerror(errno));
	read_vp_index(v, p);
	vm_free(vm);
}

TEST(a_traced_access_is_traced)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	u64 slow;

	write_file(EVENT, "1");
	slow = exits_by("slow: kvm_msr or kvm_exit traced", vm->vcpus[0], p);
	write_file(EVENT, "0");
	ASSERT(slow >= READS, "%llu of %u through the slow path", (unsigned long long)slow, READS);
	vm_free(vm);
}

/* Where a single step must stop: before, between and behind two exits. */
extern const u8 step_read[], step_call[], step_end[];

GUEST_CODE(stepped)
{
	guest_set_os_id();
	GUEST_SYNC(1);
	asm volatile(".globl step_read, step_call, step_end\n"
		     "	mov $0x40000002, %%ecx\n"
		     "step_read: rdmsr\n"
		     "step_call: mov $0x10008, %%ecx\n"
		     "step_end: nop\n"
		     :
		     :
		     : "rax", "rcx", "rdx", "memory");
}

TEST(single_step_stops_behind_an_answered_exit)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	bool before = false, behind = false;
	u32 i;

	vcpu_entry(v, stepped);
	vcpu_run_sync(v, 1);
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	for (i = 0; i < 200 && !behind; i++) {
		ASSERT_EQ(__vcpu_run(v), 0);
		if (v->run->exit_reason != KVM_EXIT_DEBUG)
			continue;
		before |= v->run->debug.arch.pc == (u64)(uintptr_t)step_read;
		behind = v->run->debug.arch.pc == (u64)(uintptr_t)step_call;
		ASSERT(v->run->debug.arch.pc != (u64)(uintptr_t)step_end, "stepped over the read");
	}
	ASSERT(before && behind, "no stop at the read (%d) and behind it (%d)", before, behind);
	vm_free(vm);
}

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

int main(int argc, char **argv)
{
	return ktap_main(argc, argv);
}
