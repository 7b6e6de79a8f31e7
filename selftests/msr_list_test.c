// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_GET_MSR_INDEX_LIST: KVM's own list, but for a register that no KVM has and that a module
 * parameter shows to guests: the time-unhalted timer's two. Loads the module itself.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "module.h"
#include "ops.h"
#include "tracefs.h"
#include "vm.h"

#define CONFIG	 HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG
#define COUNT	 HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT
#define SHOW	 "features_edx=0x800000"
#define TAKEOVER "/sys/module/kvm_hyperv/parameters/takeover"

static void expect_same(const struct named_msrs *a, const struct named_msrs *b)
{
	ASSERT_EQ(a->hdr.nmsrs, b->hdr.nmsrs);
	ASSERT(!memcmp(a, b, sizeof(*a)), "the lists differ");
}

static struct named_msrs stock, now;

TEST(is_kvms_own_without_a_parameter)
{
	module_start_clean();
	kvm_msr_list(&stock);
	module_load();
	kvm_msr_list(&now);
	expect_same(&stock, &now);
	/* GUEST_IDLE is read-only: there is nothing to save. */
	module_unload();
	module_load_with("features_eax=0x400");
	kvm_msr_list(&now);
	expect_same(&stock, &now);
	module_unload();
	kvm_msr_list(&now);
	expect_same(&stock, &now);
}

TEST(has_what_a_parameter_shows)
{
	struct ops_page *ops;
	struct vm *vm;
	u64 value;
	u32 n;

	module_start_clean();
	kvm_msr_list(&stock);
	module_load_with(SHOW);
	kvm_msr_list(&now);
	n = stock.hdr.nmsrs;
	ASSERT_EQ(now.hdr.nmsrs, n + 2);
	ASSERT(!memcmp(now.msrs, stock.msrs, n * sizeof(u32)), "KVM's own numbers have changed");
	ASSERT_EQ(now.msrs[n], CONFIG);
	ASSERT_EQ(now.msrs[n + 1], COUNT);
	ASSERT_EQ(now.msrs[n + 2], 0);
	/*
	 * A VM that is not shown them, for it has no local APIC in the kernel: a VMM that saves all
	 * that is named must not fail.
	 */
	vm = vm_create(1, VM_NO_IRQCHIP);
	ASSERT_EQ(__vcpu_get_msr(vm->vcpus[0], CONFIG, &value), 1);
	ASSERT_EQ(value, 0);
	ASSERT_EQ(__vcpu_set_msr(vm->vcpus[0], CONFIG, 0), 1);
	ASSERT_EQ(__vcpu_set_msr(vm->vcpus[0], CONFIG, 0x120), 0);
	ops = vcpu_ops_init(vm->vcpus[0], 1);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], ops, OP_RD(CONFIG)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], ops, OP_WR(CONFIG, 0)).vector, GP_VECTOR);
	/* VMs of then on are KVM's own; this one may yet be saved. */
	file_must_write(TAKEOVER, "0");
	kvm_msr_list(&now);
	ASSERT_EQ(now.hdr.nmsrs, n + 2);
	vm_free(vm);
	kvm_msr_list(&now);
	expect_same(&stock, &now);
	ASSERT_EQ(module_refs(), 0);
	module_unload();
	kvm_msr_list(&now);
	expect_same(&stock, &now);
}

TEST(tells_how_many_there_are)
{
	static struct named_msrs before;
	u32 n;

	module_start_clean();
	kvm_msr_list(&stock);
	n = stock.hdr.nmsrs;
	module_load_with(SHOW);
	ASSERT_EQ(-__kvm_msr_list(&now, 0), E2BIG);
	ASSERT_EQ(now.hdr.nmsrs, n + 2);
	/* Room for KVM's only, and for one more. */
	ASSERT_EQ(-__kvm_msr_list(&now, n), E2BIG);
	ASSERT_EQ(now.hdr.nmsrs, n + 2);
	memset(&before, 0x55, sizeof(before));
	now = before;
	ASSERT_EQ(-__kvm_msr_list(&now, n + 1), E2BIG);
	ASSERT_EQ(now.hdr.nmsrs, n + 2);
	ASSERT_EQ(now.msrs[n], before.msrs[n]);
	ASSERT_EQ(__kvm_msr_list(&now, n + 2), 0);
	ASSERT_EQ(now.msrs[n + 1], COUNT);
	ASSERT_EQ(now.msrs[n + 2], before.msrs[n + 2]);
	ASSERT(ioctl(kvm_fd(), KVM_GET_MSR_INDEX_LIST, NULL) && errno == EFAULT, "no list at all");
	ASSERT(ioctl(kvm_fd(), KVM_GET_MSR_INDEX_LIST, ~0UL << 12) && errno == EFAULT,
	       "the kernel's memory");
	ASSERT_EQ(module_refs(), 0);
	module_unload();
}

#define RACES 20000

static struct racing {
	struct named_msrs *list;
	u32 n;	 /* MSRs that there are */
	u32 lie; /* a number beside 0 and n */
	volatile bool done;
} racing;

static void *changes_nmsrs(void *unused)
{
	volatile u32 *nmsrs = &racing.list->hdr.nmsrs;

	(void)unused;
	while (!racing.done) {
		*nmsrs = racing.lie;
		*nmsrs = 0;
		*nmsrs = racing.n;
	}
	return NULL;
}

/*
 * The array ends where no memory is. As long as the thread says no more than there is room for,
 * nothing is written behind that; if it says more, that is EFAULT, and no more than that.
 */
TEST(another_thread_changes_the_size)
{
	static const u32 mark = 0x55555555;
	u8 *pages = mmap(NULL, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	u32 i, lies, done = 0, small = 0, faults = 0, *end = (u32 *)(pages + 2 * PAGE_SIZE);
	pthread_t thread;
	int r;

	ASSERT(pages != MAP_FAILED, "mmap: %s", strerror(errno));
	ASSERT(!mprotect(end, PAGE_SIZE, PROT_NONE), "mprotect: %s", strerror(errno));
	module_start_clean();
	kvm_msr_list(&stock);
	module_load_with(SHOW);
	racing.n = stock.hdr.nmsrs + 2;
	racing.list = (void *)(end - 1 - racing.n - 1);
	for (lies = 0; lies < 2; lies++) {
		racing.lie = lies ? ~0u : stock.hdr.nmsrs;
		racing.done = false;
		ASSERT(!pthread_create(&thread, NULL, changes_nmsrs, NULL), "pthread_create");
		for (i = 0; i < RACES; i++) {
			end[-1] = mark;
			r = __kvm_msr_list(racing.list, racing.n);
			ASSERT(!r || r == -E2BIG || (lies && r == -EFAULT), "%s", strerror(-r));
			ASSERT(lies || end[-1] == mark, "0x%x behind the array", end[-1]);
			done += !r;
			small += r == -E2BIG;
			faults += r == -EFAULT;
		}
		racing.done = true;
		ASSERT(!pthread_join(thread, NULL), "pthread_join");
	}
	ktap_log("%u lists, %u E2BIG, %u EFAULT", done, small, faults);
	ASSERT_EQ(module_refs(), 0);
	module_unload();
}

static void save_and_restore(struct vcpu *from, struct vcpu *to)
{
	u64 value;
	u32 i;

	kvm_msr_list(&now);
	for (i = 0; i < now.hdr.nmsrs; i++) {
		/* Not every vCPU has all that is named. */
		if ((now.msrs[i] & 0xfffff000) == 0x40000000 &&
		    __vcpu_get_msr(from, now.msrs[i], &value) == 1)
			__vcpu_set_msr(to, now.msrs[i], value);
	}
}

/* A VMM that saves what is named, as Cloud Hypervisor does. */
TEST(a_vmm_migrates_what_is_named)
{
	u64 period = 3600ULL * 10000000;
	struct vm *vm, *target;

	module_start_clean();
	module_load_with(SHOW);
	vm = vm_create(1, 0);
	target = vm_create(1, 0);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	vcpu_set_msr(vm->vcpus[0], COUNT, period);
	vcpu_set_msr(vm->vcpus[0], CONFIG, 0x171);
	save_and_restore(vm->vcpus[0], target->vcpus[0]);
	ASSERT_EQ(vcpu_get_msr(target->vcpus[0], COUNT), period);
	ASSERT_EQ(vcpu_get_msr(target->vcpus[0], CONFIG), 0x171);
	vm_free(target);
	vm_free(vm);
	module_unload();
}

TEST(stock_does_not_name_them)
{
	u32 i;

	if (module_loaded())
		ktap_skip("the module is loaded");
	kvm_msr_list(&stock);
	for (i = 0; i < stock.hdr.nmsrs; i++)
		ASSERT(stock.msrs[i] != CONFIG && stock.msrs[i] != COUNT, "0x%x", stock.msrs[i]);
}

int main(int argc, char **argv)
{
	return module_ktap_main(argc, argv);
}
