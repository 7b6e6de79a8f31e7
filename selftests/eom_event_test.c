// SPDX-License-Identifier: GPL-2.0-only
/*
 * An eventfd for HV_X64_MSR_EOM: a VMM whose message waits for a slot learns that the guest has
 * emptied one, without looking again and again. KVM_HYPERV_EVENTFD with a flag that no KVM has
 * (Documentation/features.rst).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "connection.h"
#include "synic.h"
#include "tracefs.h"

#define SINT	 2
#define VEC	 0x61
#define MESSAGES 500
#define WAIT_MS	 10000
#define FASTPATH "/sys/module/kvm_hyperv/parameters/fastpath"

static int __assign(struct vm *vm, u32 vp, int fd)
{
	return __connection_ioctl(vm, vp, fd, EOM_EVENT);
}

static int __deassign(struct vm *vm, u32 vp)
{
	return __connection_ioctl(vm, vp, -1, EOM_EVENT | KVM_HYPERV_EVENTFD_DEASSIGN);
}

/* Stock does not know the flag, and says so: a VMM then has to do without. */
static int assigned(struct vm *vm, u32 vp)
{
	int fd = eventfd_new(), r = __assign(vm, vp, fd);

	ASSERT_KNOWN(r != -EINVAL, "no such flag");
	ASSERT_EQ(r, 0);
	return fd;
}

/* --- the ioctl ------------------------------------------------------------ */

TEST_KNOWN(assign_and_deassign, "D64")
{
	struct vm *vm = synic_vm(2);
	int fd = assigned(vm, 0), other = eventfd_new();
	u32 round;

	for (round = 0; round < 3; round++) {
		ASSERT_EQ(__assign(vm, 0, fd), -EEXIST);
		ASSERT_EQ(__assign(vm, 0, other), -EEXIST);
		ASSERT_EQ(__assign(vm, 1, other), 0);
		ASSERT_EQ(__deassign(vm, 1), 0);
		ASSERT_EQ(__deassign(vm, 1), -ENOENT);
		ASSERT_EQ(__deassign(vm, 0), 0);
		ASSERT_EQ(__deassign(vm, 0), -ENOENT);
		ASSERT_EQ(__assign(vm, 0, fd), 0);
	}
	/* Connections are numbered for themselves. */
	ASSERT_EQ(__connection_assign(vm, 0, other), 0);
	ASSERT_EQ(__connection_ioctl(vm, 0, -1, KVM_HYPERV_EVENTFD_DEASSIGN), 0);
	ASSERT_EQ(__deassign(vm, 0), 0);
	/* Free the VM with one assigned. */
	ASSERT_EQ(__assign(vm, 1, fd), 0);
	vm_free(vm);
}

TEST_KNOWN(bad_arguments, "D64")
{
	struct vm *vm = synic_vm(1);
	int fd = eventfd_new(), file = open("/dev/null", O_RDWR | O_CLOEXEC);
	u32 bit;

	ASSERT(file >= 0, "/dev/null: %s", strerror(errno));
	ASSERT_KNOWN(__assign(vm, 0, -1) == -EBADF, "no such flag");
	ASSERT_EQ(__assign(vm, 0, 9999), -EBADF);
	ASSERT_EQ(__assign(vm, 0, file), -EINVAL);
	ASSERT_EQ(__assign(vm, 0, vm->fd), -EINVAL);
	ASSERT_EQ(__assign(vm, 1, fd), -ENOENT);
	ASSERT_EQ(__assign(vm, CONN_MAX, fd), -ENOENT);
	ASSERT_EQ(__assign(vm, CONN_TOO_BIG, fd), -EINVAL);
	ASSERT_EQ(__deassign(vm, CONN_TOO_BIG), -EINVAL);
	for (bit = 1; bit < 31; bit++)
		ASSERT_EQ(__connection_ioctl(vm, 0, fd, EOM_EVENT | 1u << bit), -EINVAL);
	ASSERT_EQ(__deassign(vm, 0), -ENOENT);
	vm_free(vm);
}

/* --- what signals it ------------------------------------------------------ */

static u64 eom(struct vm *vm, u32 vp, struct ops_page *ops)
{
	return vcpu_op(vm->vcpus[vp], ops, OP_WR(HV_X64_MSR_EOM, 0)).vector;
}

TEST_KNOWN(each_eom_of_the_vp, "D64")
{
	struct vm *vm = synic_vm(2);
	struct ops_page *ops[] = { vcpu_ops_init(vm->vcpus[0], 1), vcpu_ops_init(vm->vcpus[1], 1) };
	int fd = assigned(vm, 1);

	ASSERT_EQ(eom(vm, 0, ops[0]), 0);
	ASSERT_EQ(eventfd_count(fd), 0);
	ASSERT_EQ(eom(vm, 1, ops[1]), 0);
	ASSERT_EQ(eventfd_count(fd), 1);
	ASSERT_EQ(eom(vm, 1, ops[1]), 0);
	ASSERT_EQ(eom(vm, 1, ops[1]), 0);
	ASSERT_EQ(eventfd_count(fd), 2);
	ASSERT_EQ(__deassign(vm, 1), 0);
	ASSERT_EQ(eom(vm, 1, ops[1]), 0);
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(vm);
}

TEST_KNOWN(without_the_fast_path, "D64")
{
	struct vm *vm = synic_vm(1);
	struct ops_page *ops = vcpu_ops_init(vm->vcpus[0], 1);
	int fd = assigned(vm, 0);

	file_must_write(FASTPATH, "0");
	ASSERT_EQ(eom(vm, 0, ops), 0);
	file_must_write(FASTPATH, "1");
	ASSERT_EQ(eventfd_count(fd), 1);
	vm_free(vm);
}

/* The VP is named by its index. */
TEST_KNOWN(vp_index_of_user_space, "D64")
{
	struct vm *vm = synic_vm(1);
	struct ops_page *ops = vcpu_ops_init(vm->vcpus[0], 1);
	int fd;

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_VP_INDEX, 40);
	fd = assigned(vm, 40);
	ASSERT_EQ(__assign(vm, 0, fd), -ENOENT);
	ASSERT_EQ(eom(vm, 0, ops), 0);
	ASSERT_EQ(eventfd_count(fd), 1);
	vm_free(vm);
}

/* Restoring the register is no EOM of the guest, nor is one that faults. */
TEST_KNOWN(nothing_else, "D64")
{
	struct vm *vm = synic_vm(1), *bare = vm_create(1, 0);
	struct ops_page *ops = vcpu_ops_init(vm->vcpus[0], 1),
			*bare_ops = vcpu_ops_init(bare->vcpus[0], 1);
	int fd = assigned(vm, 0), bare_fd = assigned(bare, 0);

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_EOM, 0);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], ops, OP_RD(HV_X64_MSR_EOM)).vector, 0);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], ops, OP_WR(HV_X64_MSR_SCONTROL, 1)).vector, 0);
	ASSERT_EQ(eventfd_count(fd), 0);
	ASSERT_EQ(eom(bare, 0, bare_ops), GP_VECTOR);
	ASSERT_EQ(eventfd_count(bare_fd), 0);
	vm_free(bare);
	vm_free(vm);
}

/* --- a VMM that posts ----------------------------------------------------- */

static volatile u32 taken;
static volatile u64 last;

/* The TLFS's protocol. */
GUEST_CODE(takes_messages)
{
	volatile struct hv_message *m = &synic_messages[0][SINT];

	while (taken < MESSAGES) {
		if (!m->type) {
			cpu_relax();
			continue;
		}
		GUEST_ASSERT_EQ(m->payload[0], last + 1);
		last = m->payload[0];
		taken++;
		m->type = HV_MSG_NONE;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (m->flags & HV_MSG_PENDING)
			wrmsr(HV_X64_MSR_EOM, 0);
	}
}

/* Put message @n into the slot once it is free; return how often it had to wait. */
static u32 post(int fd, u64 n)
{
	volatile struct hv_message *m = &synic_messages[0][SINT];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	u32 waits = 0;

	while (m->type) {
		m->flags |= HV_MSG_PENDING;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		/* The guest may have emptied it before it could see the flag. */
		if (!m->type)
			break;
		ASSERT_EQ(poll(&p, 1, WAIT_MS), 1);
		eventfd_count(fd);
		waits++;
	}
	m->flags = 0;
	m->size = sizeof(u64);
	m->payload[0] = n;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	m->type = 1;
	return waits;
}

TEST_KNOWN(no_message_waits_for_ever, "D64")
{
	struct vm *vm = synic_vm(1);
	int fd = assigned(vm, 0);
	u32 waits = 0;
	u64 n;

	taken = 0;
	last = 0;
	vcpu_entry(vm->vcpus[0], takes_messages);
	vcpu_start(vm->vcpus[0]);
	for (n = 1; n <= MESSAGES; n++)
		waits += post(fd, n);
	vcpu_join(vm->vcpus[0]);
	ASSERT_EQ(last, MESSAGES);
	ktap_log("%u messages, %u of them waited for an EOM", MESSAGES, waits);
	ASSERT(waits, "no message had to wait");
	vm_free(vm);
}

int main(int argc, char **argv)
{
	return ktap_main(argc, argv);
}
