// SPDX-License-Identifier: GPL-2.0-only
/*
 * The comparison that kvm-hyperv.ko makes at load, for a kernel that does not run: the same code,
 * over files that the script check-kernel takes out of the module and of the kernel.
 *
 *   check-kernel FIELDS FUNCTIONS VMLINUX KVM intel|amd VENDOR
 *
 * Exit status: 0 the rows agree, 1 some do not, 2 something is no BTF or cannot be read.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include <stdlib.h>

#include "khv/contract.h"

#define S32_MAX ((s32)(U32_MAX >> 1))

#include "hyperv/core/btf.c"
#include "hyperv/core/prototype.c"
#include "hyperv/core/contract.c"

struct file {
	void *data;
	long len;
};

static struct file read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct file file = {};

	if (f && !fseek(f, 0, SEEK_END))
		file.len = ftell(f);
	if (file.len <= 0) {
		fprintf(stderr, "check-kernel: cannot read %s\n", path);
		exit(2);
	}
	rewind(f);
	file.data = malloc(file.len);
	if (!file.data || fread(file.data, 1, file.len, f) != (size_t)file.len) {
		fprintf(stderr, "check-kernel: cannot read %s\n", path);
		exit(2);
	}
	fclose(f);
	return file;
}

static void open_btf(struct khv_btf *btf, const char *path, const struct khv_btf *base)
{
	struct file file = read_file(path);
	u32 *at = malloc(file.len / KHV_BTF_MIN_TYPE * sizeof(*at) + 1);

	if (!at || file.len > S32_MAX || khv_btf_open(btf, file.data, file.len, base, at)) {
		fprintf(stderr, "check-kernel: %s is no BTF that this program can read\n", path);
		exit(2);
	}
}

static void report(const char *name, const char *why)
{
	printf("  %s %s\n", name, why);
}

/* Number of rows of @size bytes, which must be all that the file has. */
static int rows(const struct file *file, const char *path, size_t size)
{
	if (file->len % size) {
		fprintf(stderr, "check-kernel: %s is of another version of this program\n", path);
		exit(2);
	}
	return file->len / size;
}

int main(int argc, char **argv)
{
	struct khv_btf kernel, kvm, vendor;
	struct khv_contract_types types = { .kernel = &kernel, .kvm = &kvm, .vendor = &vendor };
	struct file fields, functions;
	struct khv_contract contract;
	struct khv_btf_name *names;
	int i, nr, differ, compared = 0;

	if (argc != 7) {
		fprintf(stderr,
			"usage: check-kernel FIELDS FUNCTIONS VMLINUX KVM intel|amd VENDOR\n");
		return 2;
	}
	fields = read_file(argv[1]);
	functions = read_file(argv[2]);
	contract = (struct khv_contract){
		.fields = fields.data,
		.functions = functions.data,
		.nr_fields = rows(&fields, argv[1], sizeof(struct khv_field)),
		.nr_functions = rows(&functions, argv[2], sizeof(struct khv_function)),
	};
	open_btf(&kernel, argv[3], NULL);
	open_btf(&kvm, argv[4], &kernel);
	open_btf(&vendor, argv[6], &kernel);
	types.vendor_is = strcmp(argv[5], "amd") ? KHV_WHERE_INTEL : KHV_WHERE_AMD;

	nr = contract.nr_fields + contract.nr_functions;
	names = calloc(nr, sizeof(*names));
	if (!names)
		return 2;
	differ = khv_contract_check(&contract, &types, names, report);
	for (i = 0; i < nr; i++) {
		const struct khv_function *f = contract.functions + i - contract.nr_fields;

		if (i < contract.nr_fields || !f->undescribed)
			compared += names[i].in && names[i].id;
		else if (names[i].in && !names[i].id)
			printf("  %s is not described by BTF: %s\n", f->name, f->declaration);
	}
	printf("%s: %d rows compared, %d differ\n", argv[5], compared, differ);
	return differ != 0;
}
