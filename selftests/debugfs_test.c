// SPDX-License-Identifier: GPL-2.0-only
/*
 * The folder that debugfs has for each owned VM: it tells what the VM's registers are, comes and
 * goes with the VM, and harms nobody who has a file of it open then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "module.h"
#include "synic.h"
#include "tracefs.h"

#define FOLDER	 MODULE_DEBUGFS "/vm"
#define TAKEOVER "/sys/module/kvm_hyperv/parameters/takeover"
#define SINT	 2
#define VECTOR	 0x61
#define NEXT	 REF_MS(3600 * 1000) /* an hour */

static const char *const files[] = { "info", "enlightenments", "rows", "vps" };

static void require_tree(void)
{
	if (!module_loaded())
		ktap_skip("the files are the module's");
}

/* The number of the VM that was created last. */
static u32 newest(void)
{
	return module_vms_created() - 1;
}

static const char *path_of(u32 vm, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), FOLDER "/%u/%s", vm, file);
	return path;
}

/* The rest of the first line of the VM's file that begins with @key; NULL if there is none. */
static const char *find(u32 vm, const char *file, const char *key)
{
	FILE *f = fopen(path_of(vm, file), "re");
	static char line[512];
	const char *rest = NULL;

	ASSERT(f, "%s: %s", path_of(vm, file), strerror(errno));
	while (!rest && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, key, strlen(key)))
			rest = line + strlen(key) + strspn(line + strlen(key), " ");
	}
	fclose(f);
	return rest;
}

static const char *must_find(u32 vm, const char *file, const char *key)
{
	const char *rest = find(vm, file, key);

	ASSERT(rest, "%s has no line \"%s\"", path_of(vm, file), key);
	return rest;
}

static void expect(u32 vm, const char *file, const char *key, const char *value)
{
	const char *rest = must_find(vm, file, key);

	ASSERT(!strcmp(rest, value), "%s: %s is \"%s\", not \"%s\"", path_of(vm, file), key, rest,
	       value);
}

static u64 number(u32 vm, const char *file, const char *key)
{
	return strtoull(must_find(vm, file, key), NULL, 0);
}

TEST(folder_comes_and_goes_with_the_vm)
{
	struct stat st;
	struct vm *vm;
	u32 id, i;

	require_tree();
	vm = vm_create(2, 0);
	id = newest();
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		ASSERT(!stat(path_of(id, files[i]), &st), "%s: %s", files[i], strerror(errno));
		ASSERT((st.st_mode & 07777) == 0400, "%s has mode %o", files[i], st.st_mode);
	}
	ASSERT_EQ(number(id, "info", "vm "), id);
	ASSERT_EQ(number(id, "info", "process "), getpid());
	ASSERT_EQ(number(id, "info", "vcpus "), 2);
	vm_free(vm);
	ASSERT(stat(path_of(id, ""), &st) && errno == ENOENT, "the folder is still there");
}

GUEST_CODE(sets_registers)
{
	guest_set_os_id();
	wrmsr(HV_X64_MSR_SINT(SINT), VECTOR | HV_SINT_AUTO_EOI);
	wrmsr(HV_X64_MSR_STIMER_COUNT(1), ref_now() + NEXT);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(1), HV_STIMER_ENABLE | HV_STIMER_SINT(SINT));
	GUEST_SYNC(1);
}

TEST(files_show_the_registers)
{
	char text[128];
	struct vm *vm;
	long long next;
	u32 id;

	require_tree();
	vm = synic_vm(1);
	id = newest();
	expect(id, "info", "guest-os-id ", "0x0000000000000000");
	vcpu_entry(vm->vcpus[0], sets_registers);
	synic_run_sync(vm->vcpus[0], 1);

	ASSERT(number(id, "info", "guest-os-id "), "no GUEST_OS_ID");
	ASSERT(strstr(must_find(id, "info", "enlightenments "), "hv-stimer"), "no hv-stimer");
	must_find(id, "info", "reference-time ");
	expect(id, "info", "tsc-page ", "off");
	expect(id, "info", "msr-filter ", "no");

	snprintf(text, sizeof(text), "active scontrol 0x1 simp 0x%llx siefp 0x%llx",
		 (unsigned long long)synic_simp(0), (unsigned long long)synic_siefp(0));
	expect(id, "vps", "0 synic ", text);
	ASSERT(!find(id, "vps", "0 sint 3 "), "a SINT that is masked");
	snprintf(text, sizeof(text), "0x%llx vector %u auto-eoi",
		 (unsigned long long)(VECTOR | HV_SINT_AUTO_EOI), VECTOR);
	ASSERT(!strncmp(must_find(id, "vps", "0 sint 2 "), text, strlen(text)), "%s",
	       must_find(id, "vps", "0 sint 2 "));
	ASSERT(!find(id, "vps", "0 stimer 0 "), "a timer that was never set");
	ASSERT(sscanf(must_find(id, "vps", "0 stimer 1 "), "config 0x%*x count %*u next %lld",
		      &next) == 1,
	       "%s", must_find(id, "vps", "0 stimer 1 "));
	ASSERT(next > 0 && next <= (long long)NEXT, "next expiry in %lld", next);
	vm_free(vm);
}

/* Was a guest of the VM shown hv-stimer, and has it used it? */
static bool stimer_is(u32 vm, const char *shown, const char *used)
{
	char is_shown[8], is_used[8];

	ASSERT(sscanf(must_find(vm, "enlightenments", "hv-stimer "), "module %7s %7s", is_shown,
		      is_used) == 2,
	       "%s", must_find(vm, "enlightenments", "hv-stimer "));
	return !strcmp(is_shown, shown) && !strcmp(is_used, used);
}

/* Counts are the VM's own, and a line begins with the index of its VP, whatever that is. */
TEST(each_vm_has_its_own)
{
	struct vm *vm, *other;
	u32 id, other_id;

	require_tree();
	vm = synic_vm(1);
	id = newest();
	vcpu_entry(vm->vcpus[0], sets_registers);
	synic_run_sync(vm->vcpus[0], 1);
	other = vm_create(2, 0);
	other_id = newest();
	ASSERT(other_id != id, "both have %u", id);

	ASSERT(stimer_is(id, "yes", "yes"), "%s", must_find(id, "enlightenments", "hv-stimer "));
	ASSERT(stimer_is(other_id, "yes", "-"), "%s",
	       must_find(other_id, "enlightenments", "hv-stimer "));

	expect(other_id, "vps", "1 vcpu ", "1 stopped");
	vcpu_set_msr(other->vcpus[1], HV_X64_MSR_VP_INDEX, 70);
	ASSERT(!find(other_id, "vps", "1 vcpu "), "VP 1 has another index now");
	expect(other_id, "vps", "70 vcpu ", "1 stopped");
	vm_free(other);
	vm_free(vm);
}

#define VPS 64

/* More than one read() brings, and each VP once, in order. */
TEST(all_vps_are_shown)
{
	char line[512];
	struct vm *vm;
	u32 n = 0, vp;
	FILE *f;

	require_tree();
	/* The checkers take a second for a vCPU. */
	ktap_timeout(180);
	vm = vm_create(VPS, 0);
	f = fopen(path_of(newest(), "vps"), "re");
	ASSERT(f, "vps: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%u vcpu ", &vp) == 1 && strstr(line, " vcpu ")) {
			ASSERT_EQ(vp, n);
			n++;
		}
	}
	ASSERT_EQ(n, VPS);
	fclose(f);
	vm_free(vm);
}

TEST(open_file_outlives_the_vm)
{
	int fd[ARRAY_SIZE(files)];
	struct vm *vm;
	char byte;
	u32 id, i;

	require_tree();
	vm = vm_create(2, 0);
	id = newest();
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		fd[i] = open(path_of(id, files[i]), O_RDONLY | O_CLOEXEC);
		ASSERT(fd[i] >= 0, "%s: %s", files[i], strerror(errno));
	}
	ASSERT_EQ(read(fd[0], &byte, 1), 1);
	ASSERT_EQ(read(fd[3], &byte, 1), 1);
	vm_free(vm);
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		ASSERT(read(fd[i], &byte, 1) < 0 && errno == EIO, "%s can be read", files[i]);
		close(fd[i]);
	}
}

/* --- readers while VMs come and go ------------------------------------------- */

#define READERS 2
#define ROUNDS	60
#define SECONDS 30

static volatile bool stop_reading;
static volatile u32 whole, cut;

static void read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char some[300];
	ssize_t n;

	if (fd < 0)
		return;
	do {
		n = read(fd, some, sizeof(some));
	} while (n > 0);
	if (n < 0 && errno != EIO)
		FAIL("%s: %s", path, strerror(errno));
	__sync_fetch_and_add(n ? &cut : &whole, 1);
	close(fd);
}

static void *reads_all(void *unused)
{
	char path[300];
	struct dirent *e;
	DIR *d;
	u32 i;

	(void)unused;
	while (!stop_reading) {
		d = opendir(FOLDER);
		ASSERT(d, FOLDER ": %s", strerror(errno));
		while ((e = readdir(d)) != NULL) {
			for (i = 0; i < ARRAY_SIZE(files); i++) {
				snprintf(path, sizeof(path), FOLDER "/%.20s/%s", e->d_name,
					 files[i]);
				read_file(path);
			}
		}
		closedir(d);
		/* Leave the VM a processor. */
		usleep(2000);
	}
	return NULL;
}

TEST(readers_while_vms_end)
{
	pthread_t readers[READERS];
	struct vm *vm;
	long end = now_seconds() + SECONDS;
	u32 n, i;

	require_tree();
	ktap_timeout(240);
	for (i = 0; i < READERS; i++)
		ASSERT(!pthread_create(&readers[i], NULL, reads_all, NULL), "thread");
	for (n = 0; now_seconds() < end && (n < ROUNDS || !cut); n++) {
		vm = synic_vm(3);
		vcpu_entry(vm->vcpus[0], sets_registers);
		synic_run_sync(vm->vcpus[0], 1);
		/* Once in a while wait until somebody is in the middle of it. */
		for (i = 0; i < (n & 3) * 100; i++)
			sched_yield();
		vm_free(vm);
	}
	stop_reading = true;
	for (i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	ktap_log("%u VMs, %u files read to the end, %u cut off by the end of a VM", n, whole, cut);
	ASSERT(n > 1 && whole, "%u VMs, %u files", n, whole);
}

/* --- VMs that are not owned --------------------------------------------------- */

static u64 left(const char *why)
{
	FILE *f = fopen(MODULE_DEBUGFS "/left", "re");
	unsigned long long n = 0;
	char line[128];
	bool found = false;

	ASSERT(f, "left: %s", strerror(errno));
	while (!found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, why, strlen(why));
		if (found)
			ASSERT(sscanf(line + strlen(why), "%llu", &n) == 1, "%s", line);
	}
	ASSERT(found, "left has no \"%s\"", why);
	fclose(f);
	return n;
}

TEST(vms_that_kvm_keeps_are_counted)
{
	u64 before, created;
	struct vm *vm;

	require_tree();
	before = left("takeover was 0");
	created = module_vms_created();
	file_must_write(TAKEOVER, "0");
	vm = vm_create(1, 0);
	file_must_write(TAKEOVER, "1");
	ASSERT_EQ(left("takeover was 0"), before + 1);
	ASSERT_EQ(module_vms_created(), created);
	vm_free(vm);
}
