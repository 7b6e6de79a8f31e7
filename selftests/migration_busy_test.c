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

/* Each VP is in its L2 when it is carried; on Intel, that of VP 0 has an enlightened VMCS. */
static void carry_nested(enum kind there, u32 times)
{
	/* Each VM has the program's image at the same place. */
	static struct nested_memory memory;
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
			nested_go_on(vm->vcpus[id], &memory);
		vm = carry(vm, i & 1 ? STOCK : there, i & 2 ? CLOUD_HYPERVISOR : QEMU);
	}
	for (id = 0; id < MAX_VPS; id++)
		nested_go_on(vm->vcpus[id], &memory);
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
	int i;

	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
		if (!strcmp(argv[i], "--rounds"))
			rounds = (u32)strtoul(argv[i + 1], NULL, 10);
	}
	return module_ktap_main(argc, argv);
}
