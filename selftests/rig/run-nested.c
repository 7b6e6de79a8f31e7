// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hypervisor in the guest (L2) of `NESTED=1 selftests/rig/run`: inserts KVM and its vendor
 * module as the stock kernel has them, and has them run a guest (L3) of 32-bit code without
 * paging. The guest does three things, each with what L2's KVM takes from Hyper-V: exits, looking
 * at a page that is replaced under it (flushes of its second-level tables), and flush calls that
 * the host answers by itself (direct flush). Status 0 only when all of it came out as it must.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CODE	  0x1000   /* where the guest's code lies in its memory */
#define SHARED	  0x2000   /* struct shared, also the input of the flush calls */
#define WINDOW	  0x100000 /* the page that is replaced under the guest */
#define RAM	  0x10000
#define PORT_DONE 0xe0 /* EAX: the result of a piece of the guest's code */
#define PORT_TICK 0xe1

#define EXITS	      1000 /* each a CPUID and a port write */
#define VERSIONS      200
#define FLUSHES	      100
#define MAGIC	      0x334c /* what the guest's CPUID shows, by L2's doing */
#define HC_FLUSH      0x0002
#define HC_FLUSH_LIST 0x0003
#define HC_FAST	      0x10000
#define FLUSH_ALL     3 /* all processors, all address spaces */

/* In the guest's memory; run-nested-guest.S knows the offsets. */
struct shared {
	uint32_t mapped; /* the version that is in the window, or a later one */
	uint32_t seen;	 /* the version that the guest saw last */
	uint32_t stop;
	uint32_t looks;
	uint64_t input[8]; /* of a call that is not fast */
};

/* run-nested-guest.S */
extern const char code_begin[], exits[], look[], flush_intel[], flush_amd[], code_end[];

static const char *doing = "start";
static int kvm, vm, vcpu, file;
static struct kvm_run *run;
static struct kvm_regs regs = { .rsp = RAM, .rflags = 0x202 };
static volatile struct shared *shared;
static char *window;

static void die(const char *fmt, uint64_t value)
{
	printf("KHV-NESTED failed, %s: ", doing);
	printf(fmt, (unsigned long long)value);
	printf(": %s\n", strerror(errno));
	fflush(stdout);
	_exit(1);
}

/* The guest hangs, or its hypervisor does. */
static void late(int sig)
{
	(void)sig;
	if (write(STDOUT_FILENO, "KHV-NESTED failed: out of time\n", 31) < 0)
		_exit(2);
	_exit(1);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}

static void must(int r, const char *what)
{
	if (r < 0)
		die(what, 0);
}

/* Each line: the path of a module. */
static void insert_modules(void)
{
	char buf[256];
	FILE *f = fopen("/etc/khv-modules", "r");
	int fd;

	if (!f)
		die("/etc/khv-modules", 0);
	while (fgets(buf, sizeof(buf), f)) {
		buf[strcspn(buf, "\n")] = 0;
		doing = buf;
		fd = open(buf, O_RDONLY | O_CLOEXEC);
		must(fd, "open");
		must(syscall(SYS_finit_module, fd, "", 0), "insmod");
		close(fd);
		printf("KHV-NESTED step inserted %s\n", strrchr(buf, '/') + 1);
	}
	fclose(f);
}

static void add_memory(int slot, uint64_t gpa, void *hva, uint64_t size)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
}

static void make_window(void)
{
	uint32_t page[1024] = {};

	file = memfd_create("versions", 0);
	must(file, "memfd_create");
	for (page[0] = 0; page[0] <= VERSIONS; page[0]++)
		if (write(file, page, sizeof(page)) != sizeof(page))
			die("memfd", 0);
	window = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (window == MAP_FAILED)
		die("mmap", 0);
}

static void make_guest(void)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[2];
	} cpuid = { .head.nent = 2 };
	struct kvm_segment flat = { .limit = 0xffffffff,
				    .type = 3,
				    .present = 1,
				    .db = 1,
				    .s = 1,
				    .g = 1,
				    .selector = 0x10 };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HYPERV_DIRECT_TLBFLUSH };
	struct kvm_sregs sregs;
	char *ram;
	int size;

	doing = "making the guest";
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	must(kvm, "/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	must(vm, "KVM_CREATE_VM");
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");

	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		die("mmap", 0);
	memcpy(ram + CODE, code_begin, code_end - code_begin);
	shared = (void *)(ram + SHARED);
	make_window();
	add_memory(0, 0, ram, RAM);
	add_memory(1, WINDOW, window, 4096);

	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	must(vcpu, "KVM_CREATE_VCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	must(size, "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("mmap of kvm_run", 0);

	cpuid.entry[0].eax = 1;
	cpuid.entry[0].ebx = MAGIC;
	cpuid.entry[1].function = 1;
	must(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");

	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.ds = flat;
	sregs.es = flat;
	sregs.ss = flat;
	flat.type = 11;
	flat.selector = 8;
	sregs.cs = flat;
	sregs.cr0 |= 1;
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");

	/*
	 * Long before the flushes: on VMX the kernel tells Hyper-V of it when a CPU loads this
	 * vCPU's VMCS the next time, which the window, on another CPU, brings about.
	 */
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_HYPERV_DIRECT_TLBFLUSH) != 1)
		die("no KVM_CAP_HYPERV_DIRECT_TLBFLUSH", 0);
	must(ioctl(vcpu, KVM_ENABLE_CAP, &cap), "KVM_ENABLE_CAP");
}

/* Run a piece of the guest's code to its end; its result, and how many ticks it gave. */
static uint32_t run_guest(const char *entry, uint32_t *ticks)
{
	uint32_t *data;

	regs.rip = CODE + (entry - code_begin);
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	for (*ticks = 0;; ++*ticks) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0 && errno != EINTR)
			die("KVM_RUN", 0);
		if (run->exit_reason != KVM_EXIT_IO)
			die("exit reason %llu", run->exit_reason);
		data = (uint32_t *)((char *)run + run->io.data_offset);
		if (run->io.port == PORT_DONE)
			return *data;
		if (run->io.port != PORT_TICK)
			die("port %llx", run->io.port);
	}
}

static void do_exits(void)
{
	uint64_t start = now_us();
	uint32_t ticks, sum;

	doing = "exits";
	regs.rdi = EXITS;
	sum = run_guest(exits, &ticks);
	if (sum != EXITS * MAGIC || ticks != EXITS)
		die("sum %llx", sum);
	printf("KHV-NESTED exits: %d CPUIDs and as many port writes of its guest, %llu us each\n",
	       EXITS, (unsigned long long)(now_us() - start) / (2 * EXITS));
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(sched_setaffinity(0, sizeof(set), &set), "pin");
}

static void *look_thread(void *arg)
{
	uint32_t ticks;

	(void)arg;
	pin(1);
	return (void *)(intptr_t)run_guest(look, &ticks);
}

/*
 * Replace the page under the running guest, each time once it has seen the one before. From the
 * moment mmap() returns it may only see the new one: L2's KVM has to get the old translation out
 * of a CPU that is in the guest and does not leave it by itself.
 */
static void do_window(void)
{
	struct timespec rest = { .tv_nsec = 100000 };
	pthread_t thread;
	void *stale;

	doing = "window";
	pin(0);
	if (pthread_create(&thread, NULL, look_thread, NULL))
		die("thread", 0);
	for (uint32_t i = 1; i <= VERSIONS; i++) {
		if (mmap(window, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
			 i * 4096l) == MAP_FAILED)
			die("mmap", 0);
		shared->mapped = i;
		/* Until the alarm; a guest that saw an old page does not get here. */
		while (shared->seen != i && pthread_tryjoin_np(thread, &stale))
			nanosleep(&rest, NULL);
		if (shared->seen != i) {
			errno = ESTALE;
			die("page %llu replaced, an earlier one seen", i);
		}
	}
	shared->stop = 1;
	if (pthread_join(thread, &stale) || stale)
		die("the guest saw an old page", 0);
	printf("KHV-NESTED window: %d pages replaced under its running guest, ", VERSIONS);
	printf("none seen late, %u looks\n", shared->looks);
}

static void flush(const char *entry, uint32_t code, uint32_t reps, const char *name)
{
	uint32_t ticks, r;

	doing = name;
	regs.rax = code;
	regs.rdx = reps;
	regs.rdi = FLUSHES;
	r = run_guest(entry, &ticks);
	errno = 0;
	if (r != reps)
		die("status or reps done %llx", r);
}

/*
 * The guest has no Hyper-V of its own and L2's KVM no such call: success can only come from the
 * host.
 */
static void do_flush(void)
{
	const char *entry = flush_intel;
	char vendor[128] = "";
	FILE *f = fopen("/proc/cpuinfo", "r");

	doing = "direct flush";
	while (f && !strstr(vendor, "vendor_id") && fgets(vendor, sizeof(vendor), f))
		;
	if (strstr(vendor, "AMD"))
		entry = flush_amd;
	shared->input[1] = FLUSH_ALL;
	shared->input[3] = WINDOW;
	flush(entry, HC_FLUSH | HC_FAST, 0, "fast flush");
	flush(entry, HC_FLUSH, 0, "flush");
	flush(entry, HC_FLUSH_LIST, 1, "flush of a list");
	printf("KHV-NESTED flush: %d calls of its guest answered by the host\n", 3 * FLUSHES);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, late);
	alarm(argc > 1 ? atoi(argv[1]) : 60);
	insert_modules();
	make_guest();
	do_exits();
	do_window();
	do_flush();
	printf("KHV-NESTED done\n");
	return 0;
}
