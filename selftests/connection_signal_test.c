// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connections: KVM_HYPERV_EVENTFD and HvSignalEvent.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "connection.h"

/* --- KVM_HYPERV_EVENTFD -------------------------------------------------- */

static int __connection_deassign(struct vm *vm, u32 conn)
{
	return __connection_ioctl(vm, conn, -1, KVM_HYPERV_EVENTFD_DEASSIGN);
}

TEST(eventfd_capability_is_offered)
{
	struct vm *vm = vm_create(1, 0);

	ASSERT(vm_check_cap(vm, KVM_CAP_HYPERV_EVENTFD) > 0, "not there");
	vm_free(vm);
}

TEST(assign_and_deassign)
{
	static const u32 conns[] = { 0, 1, CONN, CONN_MAX };
	struct vm *vm = vm_create(1, 0);
	int fd = eventfd_new(), fd2 = eventfd_new();
	u32 i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_SIZE(conns); i++)
			ASSERT_EQ(__connection_deassign(vm, conns[i]), -ENOENT);
		/* One eventfd may serve several connections. */
		for (i = 0; i < ARRAY_SIZE(conns); i++)
			ASSERT_EQ(__connection_assign(vm, conns[i], fd), 0);
		for (i = 0; i < ARRAY_SIZE(conns); i++) {
			ASSERT_EQ(__connection_assign(vm, conns[i], fd), -EEXIST);
			ASSERT_EQ(__connection_assign(vm, conns[i], fd2), -EEXIST);
		}
		for (i = 0; i < ARRAY_SIZE(conns); i++)
			ASSERT_EQ(__connection_deassign(vm, conns[i]), 0);
	}
	ASSERT_EQ(eventfd_count(fd), 0);
	/* Free the VM with connections assigned. */
	ASSERT_EQ(__connection_assign(vm, CONN, fd), 0);
	vm_free(vm);
}

TEST(bad_connections_and_flags)
{
	struct vm *vm = vm_create(1, 0);
	int fd = eventfd_new();
	u32 bit;

	for (bit = 24; bit < 32; bit++) {
		ASSERT_EQ(__connection_assign(vm, 1u << bit, fd), -EINVAL);
		ASSERT_EQ(__connection_assign(vm, 1u << bit | CONN, fd), -EINVAL);
		ASSERT_EQ(__connection_deassign(vm, 1u << bit), -EINVAL);
	}
	/* Bit 31 is the module's own: eom_event_test. */
	for (bit = 1; bit < 31; bit++) {
		ASSERT_EQ(__connection_ioctl(vm, CONN, fd, 1u << bit), -EINVAL);
		ASSERT_EQ(__connection_ioctl(vm, CONN, fd, 1u << bit | KVM_HYPERV_EVENTFD_DEASSIGN),
			  -EINVAL);
	}
	/* None of the calls above has assigned anything. */
	ASSERT_EQ(__connection_deassign(vm, 0), -ENOENT);
	ASSERT_EQ(__connection_deassign(vm, CONN), -ENOENT);
	vm_free(vm);
}

TEST(bad_file_descriptors)
{
	struct vm *vm = vm_create(1, 0);
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ASSERT(fd >= 0, "/dev/null: %s", strerror(errno));
	ASSERT_EQ(__connection_assign(vm, CONN, -1), -EBADF);
	ASSERT_EQ(__connection_assign(vm, CONN, 9999), -EBADF);
	ASSERT_EQ(__connection_assign(vm, CONN, fd), -EINVAL);
	ASSERT_EQ(__connection_assign(vm, CONN, vm->fd), -EINVAL);
	ASSERT_EQ(__connection_deassign(vm, CONN), -ENOENT);
	vm_free(vm);
}

TEST(vms_have_connections_of_their_own)
{
	struct one a = one_vcpu(0, true), b = one_vcpu(0, true);
	int fda = connection_new(a.vm, CONN), fdb = connection_new(b.vm, CONN);

	ASSERT_EQ(vcpu_op(a.vcpu, a.ops, OP_HC(SIGNAL_FAST, CONN, 0)).result, HV_STATUS_SUCCESS);
	ASSERT_EQ(eventfd_count(fda), 1);
	ASSERT_EQ(eventfd_count(fdb), 0);
	ASSERT_EQ(__connection_deassign(a.vm, CONN), 0);
	ASSERT_EQ(vcpu_op(b.vcpu, b.ops, OP_HC(SIGNAL_FAST, CONN, 0)).result, HV_STATUS_SUCCESS);
	ASSERT_EQ(eventfd_count(fda), 0);
	ASSERT_EQ(eventfd_count(fdb), 1);
	vm_free(a.vm);
	vm_free(b.vm);
}

/* --- one call, and what became of it ------------------------------------- */

/* What a VMM makes of an event: QEMU looks at the fast bit ... */
static u64 value_by_form(const struct kvm_hyperv_exit *exit)
{
	u64 in = exit->u.hcall.params[0];

	if (exit->u.hcall.input & HV_CTL_FAST)
		return in;
	ASSERT_KNOWN(in >= VM_RAM_BASE && in < 2 * VM_RAM_BASE, "no address: 0x%llx",
		     (unsigned long long)in);
	return *(const u64 *)(uintptr_t)in;
}

/* ... and openvmm does not, but takes the parameter for the value. */
static u64 value_by_register(const struct kvm_hyperv_exit *exit)
{
	return exit->u.hcall.params[0];
}

/* An event in memory: whoever reads it gets the value, here @param. */
static void event_handed_over(struct one *o, u64 *at, u64 param, u64 result)
{
	const struct kvm_hyperv_exit *exit = &o->vcpu->run->hyperv;

	*at = param;
	run_to_user(o, SIGNAL_SLOW, gpa(at), OUTPUT);
	ASSERT_EQ(value_by_register(exit), param);
	ASSERT_EQ(value_by_form(exit), param);
	ASSERT_EQ(exit->u.hcall.input, SIGNAL_FAST);
	ASSERT_EQ(exit->u.hcall.params[1], OUTPUT);
	end_of_exit(o, result);
	/* The input is read, not written. */
	ASSERT_EQ(*at, param);
}

/* --- HvSignalEvent ------------------------------------------------------- */

TEST(signal_fast)
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN), fd0 = connection_new(o.vm, 0),
	    max = connection_new(o.vm, CONN_MAX);
	u32 i;

	for (i = 1; i <= 20; i++)
		call_answered(&o, SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(fd), 20);
	call_answered(&o, SIGNAL_FAST, 0, HV_STATUS_SUCCESS, "connection 0");
	call_answered(&o, SIGNAL_FAST, CONN_MAX, HV_STATUS_SUCCESS, "the highest connection");
	ASSERT_EQ(eventfd_count(fd0), 1);
	ASSERT_EQ(eventfd_count(max), 1);
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

TEST(signal_slow)
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);

	o.signal[0] = CONN;
	o.signal[PAGE_SIZE / 8 - 1] = CONN;
	call_answered(&o, SIGNAL_SLOW, gpa(o.signal), HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(fd), 1);
	call_answered(&o, SIGNAL_SLOW, gpa(&o.signal[PAGE_SIZE / 8 - 1]), HV_STATUS_SUCCESS,
		      "end of a page");
	ASSERT_EQ(eventfd_count(fd), 1);
	/* The input is read, not written. */
	ASSERT_EQ(o.signal[0], CONN);
	vm_free(o.vm);
}

/* A registered connection needs no SynIC of the caller. */
TEST(signal_without_synic)
{
	struct one o = one_vcpu(0, false);
	int fd = connection_new(o.vm, CONN);

	call_answered(&o, SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(fd), 1);
	call_answered(&o, SIGNAL_FAST, CONN + 1, HV_STATUS_INVALID_HYPERCALL_INPUT, "unknown");
	vm_free(o.vm);
}

/* Closing the descriptor does not release the eventfd. */
TEST(signal_after_close)
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN), copy = dup(fd);

	close(fd);
	call_answered(&o, SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(copy), 1);
	close(copy);
	call_answered(&o, SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(__connection_deassign(o.vm, CONN), 0);
	handed_over(&o, SIGNAL_FAST, CONN, 0, HV_STATUS_INVALID_CONNECTION_ID);
	vm_free(o.vm);
}

TEST(unknown_connection_fast)
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);

	handed_over(&o, SIGNAL_FAST, CONN + 1, OUTPUT, HV_STATUS_INVALID_CONNECTION_ID);
	handed_over(&o, SIGNAL_FAST, 0, 0, HV_STATUS_SUCCESS);
	handed_over(&o, SIGNAL_FAST, CONN_MAX, ~0ULL, HV_STATUS_INVALID_PORT_ID);
	/* User space sets all 64 bits of RAX. */
	handed_over(&o, SIGNAL_FAST, CONN + 1, 0, 0x123456789abcdef0ULL);
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

/* Stock leaves the control word slow, but passes the value instead of its address. */
TEST_KNOWN(unknown_connection_slow, "K11")
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);

	event_handed_over(&o, &o.signal[3], CONN + 1, HV_STATUS_INVALID_CONNECTION_ID);
	event_handed_over(&o, &o.signal[0], 0, HV_STATUS_SUCCESS);
	event_handed_over(&o, &o.signal[PAGE_SIZE / 8 - 1], CONN_MAX, 0x123456789abcdef0ULL);
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

/*
 * An eventfd stands for flag 0; calls with another flag go to user space, whether the connection is
 * assigned or not.
 */
TEST(flag_above_zero_fast)
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);
	u32 bit;

	for (bit = 0; bit < 16; bit++) {
		handed_over(&o, SIGNAL_FAST, CONN | FLAG(1u << bit), 0, HV_STATUS_SUCCESS);
		handed_over(&o, SIGNAL_FAST, (CONN + 1) | FLAG(1u << bit), 0,
			    HV_STATUS_INVALID_PARAMETER);
	}
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

TEST_KNOWN(flag_above_zero_slow, "K11")
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);

	event_handed_over(&o, o.signal, CONN | FLAG(5), HV_STATUS_SUCCESS);
	event_handed_over(&o, o.signal, (CONN + 1) | FLAG(5), HV_STATUS_INVALID_PARAMETER);
	event_handed_over(&o, o.signal, CONN | FLAG(0xffff), HV_STATUS_SUCCESS);
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

/* 31:24 and 63:48 of the input. */
TEST(reserved_bits_of_the_input)
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);
	u32 bit;

	for (bit = 24; bit < 64; bit++) {
		if (bit >= 32 && bit < 48)
			continue;
		call_answered(&o, SIGNAL_FAST, CONN | BIT64(bit), HV_STATUS_INVALID_HYPERCALL_INPUT,
			      "fast");
		o.signal[0] = CONN | BIT64(bit);
		call_answered(&o, SIGNAL_SLOW, gpa(o.signal), HV_STATUS_INVALID_HYPERCALL_INPUT,
			      "slow");
	}
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

TEST(reserved_bits_of_the_control_word)
{
	static const u64 bad[] = {
		BIT64(27), BIT64(30),	     BIT64(44),	    BIT64(47),	     BIT64(60),
		BIT64(63), HV_CTL_VARHDR(1), HV_CTL_REP(1), HV_CTL_START(1),
	};
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);
	u32 i;

	o.signal[0] = CONN;
	*o.post = (struct post_input){ .connection = CONN, .type = 1 };
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		call_answered(&o, SIGNAL_FAST | bad[i], CONN, HV_STATUS_INVALID_HYPERCALL_INPUT,
			      "fast");
		call_answered(&o, SIGNAL_SLOW | bad[i], gpa(o.signal),
			      HV_STATUS_INVALID_HYPERCALL_INPUT, "slow");
		call_answered(&o, POST_SLOW | bad[i], gpa(o.post),
			      HV_STATUS_INVALID_HYPERCALL_INPUT, "post");
	}
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

TEST(signal_misaligned)
{
	struct one o = one_vcpu(0, true);
	int fd = connection_new(o.vm, CONN);
	u32 i;

	memset(o.signal, 0, PAGE_SIZE);
	for (i = 1; i < 8; i++) {
		call_answered(&o, SIGNAL_SLOW, gpa(o.signal) + i, HV_STATUS_INVALID_ALIGNMENT,
			      "inside");
		call_answered(&o, SIGNAL_SLOW, gpa(o.signal) + PAGE_SIZE - i,
			      HV_STATUS_INVALID_ALIGNMENT, "across the page");
	}
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

TEST(signal_unreadable)
{
	struct one o = one_vcpu(0, true);
	struct guest_op r;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(gpas_nowhere); i++) {
		r = vcpu_op(o.vcpu, o.ops, OP_HC(SIGNAL_SLOW, gpas_nowhere[i], 0));
		ASSERT_EQ(r.exits, 0);
		assert_unreadable(r);
	}
	vm_free(o.vm);
}

/* --- connections come and go under a signalling guest -------------------- */

#define RACE_CALLS 400

static volatile u32 race_done, race_success[2];

GUEST_CODE(signaller)
{
	u32 i;

	for (i = 0; i < RACE_CALLS; i++)
		if (hypercall(SIGNAL_FAST, CONN, 0) == HV_STATUS_SUCCESS)
			race_success[this_cpu()->id]++;
	__atomic_fetch_add(&race_done, 1, __ATOMIC_SEQ_CST);
}

/* A VMM that knows no connection. */
static void *race_vcpu(void *arg)
{
	struct vcpu *v = arg;
	u32 cmd;

	while ((cmd = vcpu_run(v)) == RUN_EXIT(KVM_EXIT_HYPERV))
		v->run->hyperv.u.hcall.result = HV_STATUS_INVALID_CONNECTION_ID;
	ASSERT_EQ(cmd, GUEST_DONE);
	return NULL;
}

/* A signal that succeeded is in the eventfd, and no other. */
TEST(assign_and_deassign_under_signals)
{
	struct vm *vm = vm_create(2, 0);
	u64 signals = 0;
	u32 rounds = 0, i;
	int fd;

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(__vcpu_enable_cap(vm->vcpus[i], KVM_CAP_HYPERV_SYNIC2, 0), 0);
		vcpu_entry(vm->vcpus[i], signaller);
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(pthread_create(&vm->vcpus[i]->worker, NULL, race_vcpu, vm->vcpus[i]), 0);
	do {
		fd = connection_new(vm, CONN);
		ASSERT_EQ(__connection_deassign(vm, CONN), 0);
		/* Once the ioctl has returned nothing signals the eventfd. */
		signals += eventfd_count(fd);
		close(fd);
		rounds++;
	} while (race_done < 2);
	for (i = 0; i < 2; i++)
		vcpu_join(vm->vcpus[i]);
	ktap_log("%u rounds, %llu of %u calls signalled", rounds, (unsigned long long)signals,
		 2 * RACE_CALLS);
	ASSERT_EQ(signals, race_success[0] + race_success[1]);
	vm_free(vm);
}
