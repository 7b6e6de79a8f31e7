// SPDX-License-Identifier: GPL-2.0-only
/*
 * rmmod -f while the module owns a VM: the VM goes on, and the module goes when the VM has gone.
 * Should it be freed before, the host is lost: this is one of the last programs of a boot.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klog.h"
#include "module.h"
#include "tracefs.h"
#include "vm.h"

#define SECONDS 20

GUEST_CODE(uses_registers)
{
	u64 now, last = 0;

	for (;;) {
		now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_ASSERT(now >= last);
		last = now;
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), 0);
		GUEST_SYNC(1);
	}
}

/* It must hold no VM, which it would wait for: it is started before there is one. */
static pid_t start_remover(int *go)
{
	int fds[2];
	pid_t pid;
	char c;

	ASSERT(!pipe(fds), "pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		if (read(fds[0], &c, 1) != 1)
			_exit(EIO);
		close_range(0, ~0u, 0);
		_exit(syscall(SYS_delete_module, "kvm_hyperv", O_NONBLOCK | O_TRUNC) ? errno : 0);
	}
	*go = fds[1];
	return pid;
}

/* Who waits must not keep the host awake: freeze all processes, and no more. */
static void can_suspend(void)
{
	int r;

	ASSERT_EQ(file_write("/sys/power/pm_test", "freezer", 0), 0);
	r = file_write("/sys/power/state", "freeze", 0);
	ASSERT_EQ(file_write("/sys/power/pm_test", "none", 0), 0);
	ASSERT_EQ(r, 0);
}

TEST(forced_removal_leaves_the_vms_alone)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int log = klog_open(), all = klog_open(), status = 0, go;
	long end = now_seconds() + SECONDS;
	static struct cpuid_table offered, now;
	struct vm *vm, *later;
	bool said = false;
	pid_t pid;
	u32 i;

	/* Before what ends a boot amid loads it is out. */
	if (!module_loaded())
		module_load();
	lseek(log, 0, SEEK_END);
	lseek(all, 0, SEEK_END);
	pid = start_remover(&go);
	vm = vm_create(1, 0);
	ASSERT_EQ(module_refs(), 1);
	vcpu_entry(vm->vcpus[0], uses_registers);
	vcpu_run_sync(vm->vcpus[0], 1);
	cpuid_hv(vm->vcpus[0], &offered);
	ASSERT_EQ(write(go, "", 1), 1);
	while (!said && now_seconds() < end) {
		nanosleep(&pause, NULL);
		if (waitpid(pid, &status, WNOHANG) == pid)
			FAIL("delete_module has ended: %d", WEXITSTATUS(status));
		said = klog_says(log, "kvm_hyperv: in use by VM ", NULL);
	}
	ASSERT(said, "the log does not name it within %u s", SECONDS);
	ASSERT(klog_says(all, "kvm_hyperv: removed by force while it has ", " users"),
	       "the log does not say what it waits for");
	for (i = 0; i < 1000; i++)
		vcpu_run_sync(vm->vcpus[0], 1);
	/* The VM is the module's as ever: so is what its vCPU may offer. */
	cpuid_hv(vm->vcpus[0], &now);
	ASSERT(!memcmp(&now, &offered, sizeof(now)), "KVM_GET_SUPPORTED_HV_CPUID: another list");
	can_suspend();
	later = vm_create(1, 0);
	ASSERT_EQ(module_refs(), 1);
	vcpu_entry(later->vcpus[0], uses_registers);
	vcpu_run_sync(later->vcpus[0], 1);
	vm_free(later);
	ASSERT_EQ(waitpid(pid, &status, WNOHANG), 0);
	vm_free(vm);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT(WIFEXITED(status) && !WEXITSTATUS(status), "delete_module: status 0x%x", status);
	ASSERT(!module_loaded(), "the module is still there");
}
