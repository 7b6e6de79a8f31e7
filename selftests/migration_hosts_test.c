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
	struct nested_memory memory;
	u64 moves;
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
		nested_go_on(vm->vcpus[i % MAX_VPS], &levels.memory);
	if (!options.end) {
		vmm_save(vm, &state);
		image_print("nested", nested_parts, ARRAY_SIZE(nested_parts));
	}
	leave_host(vm);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: migration_hosts_test [--module FILE] [--on stock|module] [--state FILE] [--end 0|1] [CASE]...\n");
	return 2;
}

/* The place of @value among @words, or -1. */
static int choice(const char *value, const char *const words[2])
{
	int i;

	for (i = 0; i < 2 && strcmp(value, words[i]); i++)
		;
	return i < 2 ? i : -1;
}

/* False if the option is unknown, or its value. */
static bool option(const char *name, const char *value)
{
	static const char *const kinds[] = { [STOCK] = "stock", [MODULE] = "module" };
	static const char *const yes_no[] = { "0", "1" };
	int word = 0;

	if (!strcmp(name, "--module")) {
		module_option = value;
	} else if (!strcmp(name, "--on")) {
		word = choice(value, kinds);
		options.kind = word == MODULE ? MODULE : STOCK;
	} else if (!strcmp(name, "--state")) {
		options.state = value;
	} else if (!strcmp(name, "--end")) {
		word = choice(value, yes_no);
		options.end = word == 1;
	} else {
		return false;
	}
	return word >= 0;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			continue;
		if (i + 1 == argc || !option(argv[i], argv[i + 1])) {
			fprintf(stderr, "migration_hosts_test: %s %s: unknown option or value\n",
				argv[i], i + 1 < argc ? argv[i + 1] : "");
			return usage();
		}
		i++;
	}
	return module_ktap_main(argc, argv);
}
