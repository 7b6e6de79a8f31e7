// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest, or a user who is not root, gets of the host: files of the module are root's, no
 * text of it has a kernel address, the kernel log does not grow with what a guest does, and all
 * memory of a VM is charged to the control group of its VMM, and bounded.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klog.h"
#include "module.h"
#include "synic.h"
#include "tracefs.h"

#define PARAMETERS "/sys/module/kvm_hyperv/parameters"
#define NOBODY	   65534
/* Of 16 hexadecimal digits. */
#define KERNEL_MIN 0xffff800000000000ULL

static void require_module(void)
{
	if (!module_loaded())
		ktap_skip("the files, the log and the memory are the module's");
}

/* --- files ------------------------------------------------------------------------- */

/* Call @what for each file of a folder and of those in it; returns how many. */
static u32 each_file(int folder, void (*what)(int folder, const char *name))
{
	DIR *d = fdopendir(dup(folder));
	struct dirent *e;
	u32 n = 0;
	int inner;

	ASSERT(d, "fdopendir: %s", strerror(errno));
	rewinddir(d);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		inner = openat(folder, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (inner >= 0) {
			n += each_file(inner, what);
			close(inner);
			continue;
		}
		what(folder, e->d_name);
		n++;
	}
	closedir(d);
	return n;
}

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ASSERT(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static void is_roots(int folder, const char *name)
{
	struct stat st;

	ASSERT(!fstatat(folder, name, &st, 0), "%s: %s", name, strerror(errno));
	ASSERT(!st.st_uid && !st.st_gid && !(st.st_mode & 077), "%s has mode %o", name, st.st_mode);
}

static void refuses_nobody(int folder, const char *name)
{
	static const int modes[] = { O_RDONLY, O_WRONLY };
	u32 i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		fd = openat(folder, name, modes[i]);
		ASSERT(fd < 0 && errno == EACCES, "%s: %s", name,
		       fd < 0 ? strerror(errno) : "opened");
	}
}

/* Also where the folder is open to everybody, as debugfs may be mounted. */
TEST(files_are_roots)
{
	static const char *const folders[] = { MODULE_DEBUGFS, PARAMETERS };
	int fd[ARRAY_SIZE(folders)];
	struct vm *vm;
	u32 i;

	require_module();
	vm = vm_create(1, 0);
	for (i = 0; i < ARRAY_SIZE(folders); i++) {
		fd[i] = open_folder(folders[i]);
		ASSERT(each_file(fd[i], is_roots) >= 4, "%s", folders[i]);
	}
	ASSERT(!setgid(NOBODY) && !setuid(NOBODY), "setuid: %s", strerror(errno));
	for (i = 0; i < ARRAY_SIZE(folders); i++)
		ASSERT(each_file(fd[i], refuses_nobody) >= 4, "%s", folders[i]);
	vm_free(vm);
}

/* --- texts ------------------------------------------------------------------------- */

static void has_no_address(const char *where, const char *text)
{
	const char *p = text;

	while (*p) {
		size_t n = strspn(p, "0123456789abcdefABCDEF");
		u64 value;

		if (n == 16) {
			value = strtoull(p, NULL, 16);
			ASSERT(value < KERNEL_MIN || value == ~0ULL, "%s: %.16s in: %s", where, p,
			       text);
		}
		p += n ? n : 1;
	}
}

static void file_has_no_address(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	char line[512];
	FILE *f;

	ASSERT(fd >= 0, "%s: %s", name, strerror(errno));
	f = fdopen(fd, "r");
	while (f && fgets(line, sizeof(line), f))
		has_no_address(name, line);
	ASSERT(f && feof(f), "%s", name);
	fclose(f);
}

/* Lines from where @fd is: of the module, none of them with an address, and of all. */
struct log_lines {
	u32 module, all;
};

static struct log_lines log_lines(int fd)
{
	char record[KLOG_RECORD];
	struct log_lines n = { 0 };

	while (klog_next(fd, record)) {
		n.all++;
		if (!strstr(record, "kvm_hyperv"))
			continue;
		n.module++;
		has_no_address("the log", record);
	}
	return n;
}

#define MSR_FIRST 0x40000000u
#define MSR_END	  0x40000120u
#define NESTED	  0x1000u
#define CODE_END  0x100u
#define EXT_FIRST 0x8000u
#define EXT_END	  0x8044u
#define NOWHERE	  (GPA_NOWHERE + 8)

static void try_register(u32 msr)
{
	static const u64 values[] = { 0, 1, ~0ULL, GPA_NOWHERE | 1 };
	u64 was;
	u32 i;

	if (__rdmsr(msr, &was))
		was = 0;
	for (i = 0; i < ARRAY_SIZE(values); i++)
		__wrmsr(msr, values[i]);
	__wrmsr(msr, was);
}

static void try_call(u64 code)
{
	static const u64 forms[] = { 0,
				     HV_CTL_FAST,
				     HV_CTL_REP(1),
				     HV_CTL_REP(4095) | HV_CTL_START(4000),
				     HV_CTL_VARHDR(64),
				     HV_CTL_FAST | HV_CTL_VARHDR(1023),
				     ~0xffffULL };
	u64 result;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(forms); i++)
		__hypercall(code | forms[i], NOWHERE - 8 * (i & 1), NOWHERE, &result);
}

/* Everything that a guest can name, and most of it wrong. */
GUEST_CODE(tries_everything)
{
	u32 i;

	for (;;) {
		guest_set_os_id();
		for (i = 0; i < CODE_END; i++)
			try_call(i);
		for (i = EXT_FIRST; i < EXT_END; i++)
			try_call(i);
		for (i = MSR_FIRST; i < MSR_END; i++) {
			try_register(i);
			try_register(i + NESTED);
		}
		GUEST_SYNC(1);
	}
}

/* Whatever exit to user space it leads to, go on. */
static void try_everything(struct vcpu *v)
{
	u32 cmd;

	do {
		cmd = vcpu_run(v);
	} while (cmd == RUN_EXIT(KVM_EXIT_HYPERV) || cmd == RUN_EXIT(KVM_EXIT_SYSTEM_EVENT));
	ASSERT(cmd == GUEST_SYNC_CMD, "ended by 0x%x", cmd);
}

TEST(no_kernel_address)
{
	int log = klog_open();
	struct vm *vm;

	require_module();
	vm = synic_vm(2);
	vcpu_entry(vm->vcpus[0], tries_everything);
	try_everything(vm->vcpus[0]);
	ASSERT(each_file(open_folder(MODULE_DEBUGFS), file_has_no_address) >= 4, "files");
	ASSERT(log_lines(log).module, "the module has not told that it is there");
	vm_free(vm);
	close(log);
}

#define GUESTS	  5
#define KVM_LINES 10

/* One line of the module for the first register without a row, in its life; none of KVM's. */
TEST(log_does_not_grow)
{
	int log = klog_open();
	struct log_lines n;
	struct vm *vm;
	u32 i, round;

	require_module();
	for (i = 0; i < GUESTS; i++) {
		vm = synic_vm(2);
		vcpu_entry(vm->vcpus[0], tries_everything);
		lseek(log, 0, SEEK_END);
		for (round = 0; round < 2; round++) {
			try_everything(vm->vcpus[0]);
			n = log_lines(log);
			ktap_log("BOUND guest %u, round %u: %u lines of the module, %u in all", i,
				 round, n.module, n.all);
			ASSERT(n.module <= (!i && !round), "%u lines", n.module);
			ASSERT(n.all <= KVM_LINES, "%u lines", n.all);
		}
		vm_free(vm);
	}
	close(log);
}

/* --- memory ------------------------------------------------------------------------ */

#define GROUPS	    "/tmp/groups"
#define GROUP	    GROUPS "/vmm"
#define VPS	    100
#define CONNECTIONS 300000
#define ROUNDS	    4000
/* A counter of a control group is that much behind, on each CPU. */
#define SLACK	    (64 * (s64)PAGE_SIZE)

/* To a control group of its own, and to one CPU, whose counter alone is behind then. */
static void join_group(void)
{
	char controllers[256] = "";
	cpu_set_t first;
	FILE *f;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	ASSERT(!sched_setaffinity(0, sizeof(first), &first), "affinity: %s", strerror(errno));
	mkdir(GROUPS, 0755);
	ASSERT(!mount("cgroup2", GROUPS, "cgroup2", 0, NULL) || errno == EBUSY, "cgroup2: %s",
	       strerror(errno));
	f = fopen(GROUPS "/cgroup.controllers", "re");
	if (!f || !fgets(controllers, sizeof(controllers), f) || !strstr(controllers, "memory"))
		ktap_skip("this kernel does not count the memory of control groups");
	fclose(f);
	file_must_write(GROUPS "/cgroup.subtree_control", "+memory");
	ASSERT(!mkdir(GROUP, 0755) || errno == EEXIST, "%s: %s", GROUP, strerror(errno));
	file_must_write(GROUP "/cgroup.procs", "0");
}

static s64 charged(void)
{
	FILE *f = fopen(GROUP "/memory.current", "re");
	unsigned long long bytes;

	ASSERT(f && fscanf(f, "%llu", &bytes) == 1, "memory.current: %s", strerror(errno));
	fclose(f);
	return (s64)bytes;
}

/* What the group is charged for a VM of VPS vCPUs. */
static s64 charged_for_vm(u32 flags)
{
	s64 before = charged(), after;
	struct vm *vm = vm_create(VPS, flags);

	after = charged();
	vm_free(vm);
	return after - before;
}

/* A VP's state is charged, not only allocated, and is all that a VP costs more than a vCPU. */
TEST(vps_are_charged)
{
	s64 plain, vp;

	require_module();
	join_group();
	/* What a first VM allocates for all. */
	charged_for_vm(0);
	file_must_write(PARAMETERS "/takeover", "0");
	plain = charged_for_vm(VM_NO_HV) / VPS;
	file_must_write(PARAMETERS "/takeover", "1");
	vp = charged_for_vm(0) / VPS - plain;
	ktap_log("BOUND a vCPU %lld bytes, a VP %lld more", (long long)plain, (long long)vp);
	/* 16 KB, give or take what the counters are behind. */
	ASSERT(vp >= 10000, "a VP's state is not charged");
	ASSERT(vp <= 24000, "a VP's state has grown");
}

TEST(connections_are_charged)
{
	struct kvm_hyperv_eventfd event = { 0 };
	s64 before, each;
	struct vm *vm;
	u32 i;

	require_module();
	join_group();
	vm = vm_create(1, 0);
	event.fd = (u32)eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	before = charged();
	for (i = 0; i < CONNECTIONS; i++) {
		event.conn_id = i;
		ASSERT(!ioctl(vm->fd, KVM_HYPERV_EVENTFD, &event), "connection %u: %s", i,
		       strerror(errno));
	}
	each = (charged() - before) / CONNECTIONS;
	ktap_log("BOUND a connection %lld bytes", (long long)each);
	ASSERT(each >= 3 && each <= 32, "%lld bytes each", (long long)each);
	vm_free(vm);
}

static u8 *pages[2];

/* Whatever allocates: overlays that come, move and go, timers, flushes, a call of each kind. */
GUEST_CODE(uses_memory)
{
	u32 i, n;

	guest_set_os_id();
	for (i = 0; i < 2 * ROUNDS; i++) {
		u64 page = (u64)(uintptr_t)pages[i & 1];

		wrmsr(HV_X64_MSR_HYPERCALL, page | HV_HYPERCALL_ENABLE);
		wrmsr(HV_X64_MSR_REFERENCE_TSC, page | 1);
		wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, page | 1);
		wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
		wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
		if (i & 2)
			wrmsr(HV_X64_MSR_HYPERCALL, 0);
		for (n = 0; n < HV_SYNIC_STIMERS; n++) {
			wrmsr(HV_X64_MSR_STIMER_COUNT(n), ~0ULL >> 2);
			wrmsr(HV_X64_MSR_STIMER_CONFIG(n), HV_STIMER_ENABLE | HV_STIMER_SINT(1));
			wrmsr(HV_X64_MSR_STIMER_CONFIG(n), 0);
		}
		hypercall(HVCALL_FLUSH_SPACE | HV_CTL_FAST, 0, HV_FLUSH_ALL_SPACES);
		hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, 0x40, 2);
		if (i == ROUNDS)
			GUEST_SYNC(1);
	}
}

TEST(memory_does_not_grow)
{
	s64 before, growth;
	struct vm *vm;

	require_module();
	join_group();
	vm = synic_vm(2);
	pages[0] = vm_alloc(vm, PAGE_SIZE);
	pages[1] = vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], uses_memory);
	synic_run_sync(vm->vcpus[0], 1);
	before = charged();
	synic_run_done(vm->vcpus[0]);
	growth = charged() - before;
	ktap_log("BOUND %d rounds %lld bytes", ROUNDS, (long long)growth);
	ASSERT(growth <= SLACK, "%lld bytes in %d rounds", (long long)growth, ROUNDS);
	vm_free(vm);
}
