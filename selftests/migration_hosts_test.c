// SPDX-License-Identifier: GPL-2.0-only
/*
 * A busy VM (guest/busy.h), and one whose VPs are in an L2, live a while on this host, on stock KVM
 * or on the module. Then all that a VMM saves is printed (lib/image.h), and goes on elsewhere: on
 * another kernel, on stock KVM or on the module. selftests/rig/migration-test carries it.
 *
 *   migration_hosts_test [--on stock|module] [--state FILE] [--end 1]
 *
 * Without a FILE the VMs begin here; with --end they come to their end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "busy.h"
#include "image.h"
#include "module.h"
#include "nested.h"

static struct {
	enum kind kind;
	const char *state;
	bool end;
} options;

static struct vm_state state;

/* What the other VM has beside its RAM, in the image of the program. */
static struct levels {
	volatile u64 cell;
	u64 number, last_time, moves;
	char from[64];
} levels;

/* --- both ---------------------------------------------------------------- */

static struct vm *new_vm(void)
{
	struct vm *vm = synic_vm_bare(MAX_VPS, KVM_CAP_HYPERV_SYNIC2);

	ASSERT(module_loaded() == (options.kind == MODULE), "the module is not as asked for");
	if (options.kind == MODULE)
		ASSERT_EQ(module_vms_created(), 1);
	return vm;
}

static void enter_host(void)
{
	require_module_file();
	ktap_timeout(300);
	if (options.kind == MODULE)
		module_load();
}

static void leave_host(struct vm *vm)
{
	vm_free(vm);
	if (options.kind == MODULE)
		module_unload();
}

static void name_host(char *name, size_t size)
{
	struct utsname u;

	ASSERT_EQ(uname(&u), 0);
	snprintf(name, size, "%s on %s", options.kind == MODULE ? "the module" : "stock",
		 u.release);
}

static void load(const char *name, const struct image_part *parts, u32 nr)
{
	FILE *f = fopen(options.state, "r");

	ASSERT(f, "%s: %s", options.state, strerror(errno));
	image_load(f, name, parts, nr);
	fclose(f);
}

/* In the order of one VMM or another: twice each, as stock KVM and the module go by turns. */
static enum vmm order_of(u64 moves)
{
	return moves & 2 ? CLOUD_HYPERVISOR : QEMU;
}

static void log_move(const char *name, u64 *moves, char *from, size_t size)
{
	char here[64];

	name_host(here, sizeof(here));
	if (options.state)
		ktap_log("%s: move %llu, from %s to %s", name, (unsigned long long)++*moves, from,
			 here);
	snprintf(from, size, "%s", here);
}

/* --- busy ---------------------------------------------------------------- */

static const struct image_part busy_parts[] = {
	{ "registers", &state, sizeof(state) },
	{ "guest", &busy, sizeof(busy) },
};

TEST(busy_goes_on)
{
	struct vm *vm;

	enter_host();
	busy_prepare();
	if (options.state)
		load("busy", busy_parts, ARRAY_SIZE(busy_parts));
	log_move("busy", &busy.moves, busy.from, sizeof(busy.from));
	srandom((u32)busy.moves + 1);
	vm = new_vm();
	if (options.state)
		vmm_restore(vm, &state, order_of(busy.moves));
	else
		busy_begin(vm);
	if (options.end) {
		busy_end(vm);
	} else {
		busy_live(vm);
		vmm_save(vm, &state);
		image_print("busy", busy_parts, ARRAY_SIZE(busy_parts));
	}
	leave_host(vm);
}

/* --- nested -------------------------------------------------------------- */

static const struct image_part nested_parts[] = {
	{ "registers", &state, sizeof(state) },
	{ "guest", &levels, sizeof(levels) },
};

/* Something of each level, which goes on where it was. */
static void use_levels(struct vcpu *v)
{
	struct guest_op o =
		nested_l1_op(v, (struct guest_op){ .op = OP_LOAD, .arg0 = gpa(&levels.cell) });

	ASSERT_EQ(o.result, levels.number);
	o = (struct guest_op){ .op = OP_STORE, .arg0 = gpa(&levels.cell), .arg1 = ++levels.number };
	vcpu_op(v, v->cpu->nested->l2, o);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_VP_INDEX));
	ASSERT_EQ(o.result, v->id);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_VP_ASSIST_PAGE));
	ASSERT_EQ(o.result, gpa(v->cpu->nested->assist) | ASSIST_ENABLE);
	o = nested_l1_op(v, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1, 0));
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_TIME_REF_COUNT));
	ASSERT(o.result >= levels.last_time, "time went back from %llu to %llu",
	       (unsigned long long)levels.last_time, (unsigned long long)o.result);
	levels.last_time = o.result;
}

static void start_levels(struct vm *vm)
{
	u32 id;

	for (id = 0; id < MAX_VPS; id++) {
		nested_create(vm->vcpus[id], NESTED_PAGING | (id ? 0 : NESTED_EVMCS), 1);
		nested_start(vm->vcpus[id]);
	}
}

TEST(nested_goes_on)
{
	struct vm *vm;
	u32 i;

	if (!host_has_nested())
		ktap_skip("no nested virtualization here");
	enter_host();
	if (options.state)
		load("nested", nested_parts, ARRAY_SIZE(nested_parts));
	log_move("nested", &levels.moves, levels.from, sizeof(levels.from));
	vm = new_vm();
	if (options.state)
		vmm_restore(vm, &state, order_of(levels.moves));
	else
		start_levels(vm);
	for (i = 0; i < 10; i++)
		use_levels(vm->vcpus[i % MAX_VPS]);
	if (!options.end) {
		vmm_save(vm, &state);
		image_print("nested", nested_parts, ARRAY_SIZE(nested_parts));
	}
	leave_host(vm);
}

static bool option(const char *name, const char *value)
{
	if (!strcmp(name, "--module"))
		module_option = value;
	else if (!strcmp(name, "--on"))
		options.kind = strcmp(value, "module") ? STOCK : MODULE;
	else if (!strcmp(name, "--state"))
		options.state = value;
	else if (!strcmp(name, "--end"))
		options.end = *value == '1';
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	bool loaded_at_start = module_loaded();
	int i, r;

	for (i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			continue;
		if (i + 1 == argc || !option(argv[i], argv[i + 1])) {
			fprintf(stderr, "migration_hosts_test: what is %s?\n", argv[i]);
			return 2;
		}
		i++;
	}
	r = ktap_main(argc, argv);
	/* A case that died has left the module in; its VMs died with it. */
	if (!loaded_at_start && module_loaded()) {
		printf("# the module was left in: removing it: %d\n", __module_unload());
		r = KTAP_EXIT_FAIL;
	}
	return r;
}
