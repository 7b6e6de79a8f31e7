// SPDX-License-Identifier: GPL-2.0-only
/*
 * A busy VM (guest/busy.h) is carried from stock KVM to the module and back, again and again. All
 * that a VMM saves goes into a new VM, and the module is inserted or removed before that is made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busy.h"
#include "module.h"
#include "nested.h"

/* Option --rounds: there and back. */
static u32 rounds = 6;

static const char *const kind_names[] = { [STOCK] = "stock", [MODULE] = "module" };

static struct vm_state *state;

static void host_of(enum kind kind)
{
	if (kind == MODULE && !module_loaded())
		module_load();
	if (kind == STOCK && module_loaded())
		module_unload();
}

static struct vm *new_vm(enum kind kind)
{
	struct vm *vm;

	host_of(kind);
	vm = synic_vm_bare(MAX_VPS, KVM_CAP_HYPERV_SYNIC2);
	/* One VM at a time, so it is the first since the load. */
	if (kind == MODULE)
		ASSERT_EQ(module_vms_created(), 1);
	return vm;
}

/* The program's image is memory that both have. */
static struct vm *carry(struct vm *vm, enum kind to, enum vmm order)
{
	u8 *ram = vm->ram;

	vmm_save(vm, state);
	vm_free(vm);
	vm = new_vm(to);
	ASSERT(vm->ram == ram, "a VM of another form");
	vmm_restore(vm, state, order);
	return vm;
}

static void prepare(void)
{
	require_module_file();
	busy_prepare();
	ktap_timeout(60 + 60 * rounds);
	state = calloc(1, sizeof(*state));
	ASSERT(state, "memory");
}

static void carry_busy(enum kind there, u32 times)
{
	struct vm *vm;
	u32 i;

	prepare();
	vm = new_vm(STOCK);
	busy_begin(vm);
	for (i = 0; i < 2 * times; i++) {
		busy_live(vm);
		vm = carry(vm, i & 1 ? STOCK : there, i & 2 ? CLOUD_HYPERVISOR : QEMU);
	}
	busy_end(vm);
	ktap_log("%u times to %s and back", times, kind_names[there]);
	vm_free(vm);
	host_of(STOCK);
}

/* Something of each level, which goes on where it was. */
static void use_levels(struct vcpu *v, u64 number)
{
	static volatile u64 cell;
	static u64 last_time;
	struct guest_op o = { .op = OP_STORE, .arg0 = gpa(&cell), .arg1 = number };

	vcpu_op(v, v->cpu->nested->l2, o);
	o = nested_l1_op(v, (struct guest_op){ .op = OP_LOAD, .arg0 = gpa(&cell) });
	ASSERT_EQ(o.result, number);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_VP_INDEX));
	ASSERT_EQ(o.result, v->id);
	o = nested_l1_op(v, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1, 0));
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_TIME_REF_COUNT));
	ASSERT(o.result >= last_time, "time went back from %llu to %llu",
	       (unsigned long long)last_time, (unsigned long long)o.result);
	last_time = o.result;
}

/* Each VP is in its L2 when it is carried; on Intel, that of VP 0 has an enlightened VMCS. */
static void carry_nested(enum kind there, u32 times)
{
	struct vm *vm;
	u32 i, id;

	prepare();
	if (!host_has_nested())
		ktap_skip("no nested virtualization here");
	vm = new_vm(STOCK);
	nested_create(vm->vcpus[0], NESTED_PAGING | NESTED_EVMCS, 1);
	nested_create(vm->vcpus[1], NESTED_PAGING, 1);
	for (id = 0; id < MAX_VPS; id++)
		nested_start(vm->vcpus[id]);
	for (i = 0; i < 2 * times; i++) {
		for (id = 0; id < MAX_VPS; id++)
			use_levels(vm->vcpus[id], i);
		vm = carry(vm, i & 1 ? STOCK : there, i & 2 ? CLOUD_HYPERVISOR : QEMU);
	}
	for (id = 0; id < MAX_VPS; id++)
		use_levels(vm->vcpus[id], i);
	vm_free(vm);
	host_of(STOCK);
}

/* The oracle for the program: stock alone. */
TEST(nested_from_stock_to_stock)
{
	carry_nested(STOCK, 1);
}

TEST(nested_to_the_module_and_back)
{
	carry_nested(MODULE, rounds);
}

TEST(busy_from_stock_to_stock)
{
	carry_busy(STOCK, 1 + rounds / 10);
}

TEST(busy_to_the_module_and_back)
{
	carry_busy(MODULE, rounds);
}

int main(int argc, char **argv)
{
	bool loaded_at_start = module_loaded();
	int i, r;

	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
		if (!strcmp(argv[i], "--rounds"))
			rounds = (u32)strtoul(argv[i + 1], NULL, 10);
	}
	r = ktap_main(argc, argv);
	/* A case that died has left the module in; its VMs died with it. */
	if (!loaded_at_start && module_loaded()) {
		printf("# the module was left in: removing it: %d\n", __module_unload());
		r = KTAP_EXIT_FAIL;
	}
	return r;
}
