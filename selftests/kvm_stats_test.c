// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's binary statistics (KVM_GET_STATS_FD), which monitoring reads: with the module they count
 * exits and hypercalls as on stock, also those that are answered in the exit fast path.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "rows.h"
#include "vm.h"

#define ACCESSES 300
#define CALLS	 200

GUEST_CODE(reads_and_calls)
{
	u32 i;

	guest_set_os_id();
	GUEST_SYNC(1);
	for (i = 0; i < ACCESSES; i++)
		rdmsr(HV_X64_MSR_VP_INDEX);
	GUEST_SYNC(2);
	for (i = 0; i < CALLS; i++)
		hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0);
	GUEST_SYNC(3);
}

TEST(vcpu_counts_exits_and_hypercalls)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_stat exits = stat_open(v, "exits"), calls = stat_open(v, "hypercalls");
	u64 was, n;

	vcpu_entry(v, reads_and_calls);
	vcpu_run_sync(v, 1);
	was = stat_read(&exits);
	ASSERT_EQ(stat_read(&calls), 0);
	vcpu_run_sync(v, 2);
	n = stat_read(&exits) - was;
	ktap_log("%u accesses, %llu exits", ACCESSES, (unsigned long long)n);
	ASSERT(n >= ACCESSES, "%llu exits", (unsigned long long)n);
	ASSERT_EQ(stat_read(&calls), 0);
	was = stat_read(&exits);
	vcpu_run_sync(v, 3);
	n = stat_read(&exits) - was;
	ASSERT(n >= CALLS, "%llu exits", (unsigned long long)n);
	ASSERT_EQ(stat_read(&calls), CALLS);
	stat_close(&exits);
	stat_close(&calls);
	vm_free(vm);
}

static volatile u32 stop_guest;

GUEST_CODE(reads_until_told)
{
	while (!stop_guest)
		rdmsr(HV_X64_MSR_VP_INDEX);
}

/* KVM_GET_STATS_FD waits for a vCPU that runs; reading what it gave before does not. */
TEST(counts_grow_while_the_vcpu_runs)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_stat exits = stat_open(vm->vcpus[0], "exits");
	u64 was = stat_read(&exits);

	vcpu_entry(vm->vcpus[0], reads_until_told);
	vcpu_start(vm->vcpus[0]);
	while (stat_read(&exits) < was + ACCESSES)
		usleep(1000);
	was = stat_read(&exits);
	while (stat_read(&exits) < was + ACCESSES)
		usleep(1000);
	stop_guest = 1;
	vcpu_join(vm->vcpus[0]);
	stat_close(&exits);
	vm_free(vm);
}

TEST(vm_has_statistics)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_stats_header h;
	int fd = ioctl(vm->fd, KVM_GET_STATS_FD, NULL);
	u64 value;

	ASSERT(fd >= 0, "KVM_GET_STATS_FD: %s", strerror(errno));
	ASSERT_EQ(pread(fd, &h, sizeof(h), 0), sizeof(h));
	ASSERT(h.num_desc > 0, "no statistic");
	ASSERT_EQ(pread(fd, &value, sizeof(value), h.data_offset), sizeof(value));
	close(fd);
	vm_free(vm);
}
