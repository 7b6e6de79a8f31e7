// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel contract of this build, and its comparison with the running kernel's BTF at load. The
 * rows and this code are freed after load.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/magic.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/tracepoint-defs.h>

#include "compat/kvm_private.h"
#include "khv/contract.h"
#include "khv/port.h"

#define KHV_INTEGER(_type, _bytes, _signed) \
	static_assert(sizeof(_type) == (_bytes) && is_signed_type(_type) == (_signed));
#include "compat/integers.def.h"
#undef KHV_INTEGER

#define ROW(_where, _what, _value, _size, _type, _member) \
	{ .where = KHV_WHERE_##_where,                    \
	  .what = KHV_WHAT_##_what,                       \
	  .value = (u32)(_value),                         \
	  .size = (_size),                                \
	  .type = #_type,                                 \
	  .member = #_member },
#define KHV_FIELD(_where, _type, _member)                                                        \
	ROW(_where, FIELD, offsetof(struct _type, _member), sizeof_field(struct _type, _member), \
	    _type, _member)
#define KHV_FLEXIBLE(_where, _type, _member) \
	ROW(_where, FIELD, offsetof(struct _type, _member), 0, _type, _member)
#define KHV_SIZEOF(_where, _type)	   ROW(_where, SIZE, 0, sizeof(struct _type), _type, size)
#define KHV_CONSTANT(_where, _type, _name) ROW(_where, CONSTANT, _name, 0, _type, _name)
#define KHV_MIRROR(_where, _type, _member, _ours, _our_member)  \
	ROW(_where, FIELD, offsetof(struct _ours, _our_member), \
	    sizeof_field(struct _ours, _our_member), _type, _member)
#define KHV_AT(_where, _type, _member, _offset, _size) \
	ROW(_where, FIELD, _offset, _size, _type, _member)

static const struct khv_field fields[] __used __section(KHV_CONTRACT_FIELDS) = {
#include "compat/contract.def.h"
};
#undef KHV_FIELD
#undef KHV_FLEXIBLE
#undef KHV_SIZEOF
#undef KHV_CONSTANT
#undef KHV_MIRROR
#undef KHV_AT

#define FUNCTION_ROW(_where, _undescribed, _type, _name, _declaration)                \
	{ .where = KHV_WHERE_##_where +                                               \
		   BUILD_BUG_ON_ZERO(sizeof(_declaration) >                           \
				     sizeof_field(struct khv_function, declaration)), \
	  .undescribed = (_undescribed),                                              \
	  .type = _type,                                                              \
	  .name = #_name,                                                             \
	  .declaration = _declaration },
#define KHV_OPERATION(_where, _type, _name, _declaration) \
	FUNCTION_ROW(_where, false, #_type, _name, _declaration)
#define KHV_DECLARED(_where, _name, _declaration) \
	FUNCTION_ROW(_where, false, "", _name, _declaration)
#define KHV_UNDESCRIBED(_where, _name, _why) FUNCTION_ROW(_where, true, "", _name, _why)
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	FUNCTION_ROW(_mod, false, "", _name, #_ret " " #_params)
#define KHV_IMPORT(_mod, _ret, _name, _params, _args) \
	FUNCTION_ROW(_mod, false, "", _name, #_ret " " #_params)

static const struct khv_function functions[] __used __section(KHV_CONTRACT_FUNCTIONS) = {
#include "compat/contract.def.h"
#include "compat/imports.def.h"
#include "compat/kvm_private.h"
};
#undef KHV_OPERATION
#undef KHV_DECLARED
#undef KHV_UNDESCRIBED
#undef KHV_HOOK
#undef KHV_IMPORT

/* More than any kernel has. */
#define MAX_BTF (64 << 20)

/* A file of /sys/kernel/btf, and its index. */
struct btf_file {
	const char *name;
	const struct khv_btf *base;
	struct khv_btf btf;
	void *data;
	u32 len;
	u32 *at;
};

/* Not kernel_read_file(): some security modules warn about a purpose that they have no rule for. */
static int __init read_file(const char *path, void **data, u32 *len)
{
	struct file *file = filp_open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
	loff_t pos = 0, size;
	ssize_t got = -EIO;

	if (IS_ERR(file))
		return PTR_ERR(file);
	size = i_size_read(file_inode(file));
	/* Something else may be mounted there, which need not even answer a read. */
	if (S_ISREG(file_inode(file)->i_mode) && file_inode(file)->i_sb->s_magic == SYSFS_MAGIC &&
	    size > 0 && size <= MAX_BTF) {
		*data = kvmalloc(size, GFP_KERNEL);
		got = *data ? 1 : -ENOMEM;
	}
	while (got > 0 && pos < size)
		got = kernel_read(file, *data + pos, size - pos, &pos);
	filp_close(file, NULL);
	*len = size;
	if (got > 0)
		return 0;
	return got ? got : -EIO;
}

static int __init read_btf(struct btf_file *file)
{
	char path[40];

	snprintf(path, sizeof(path), "/sys/kernel/btf/%s", file->name);
	return read_file(path, &file->data, &file->len);
}

static int __init index_btf(struct btf_file *file)
{
	file->at = kvmalloc_array(file->len / KHV_BTF_MIN_TYPE, sizeof(*file->at), GFP_KERNEL);
	if (!file->at)
		return -ENOMEM;
	return khv_btf_open(&file->btf, file->data, file->len, file->base, file->at);
}

static void __init forget(struct btf_file *file)
{
	kvfree(file->at);
	kvfree(file->data);
}

static int __init compare(struct btf_file *kernel, struct btf_file *kvm, struct btf_file *vendor,
			  bool (*wanted)(const char *name), khv_contract_report *report)
{
	const struct khv_contract contract = {
		.fields = fields,
		.functions = functions,
		.nr_fields = ARRAY_SIZE(fields),
		.nr_functions = ARRAY_SIZE(functions),
		.wanted = wanted,
	};
	const struct khv_contract_types types = {
		.kernel = &kernel->btf,
		.kvm = &kvm->btf,
		.vendor = &vendor->btf,
		.vendor_is = khv_svm ? KHV_WHERE_AMD : KHV_WHERE_INTEL,
	};
	struct khv_btf_name *names;
	int ret;

	names = kvmalloc_array(ARRAY_SIZE(fields) + ARRAY_SIZE(functions), sizeof(*names),
			       GFP_KERNEL);
	if (!names)
		return -ENOMEM;
	ret = khv_contract_check(&contract, &types, names, report);
	kvfree(names);
	return ret;
}

/*
 * The version of a symbol of KVM covers neither the vendor's structures nor, since 7.3, Hyper-V's.
 * A kernel that is built without BTF is its builder's.
 */
#define KERNEL_HAS_BTF IS_ENABLED(CONFIG_DEBUG_INFO_BTF_MODULES)

int __init khv_contract_compare(bool (*wanted)(const char *name), khv_contract_report *report)
{
	struct btf_file kernel = { .name = "vmlinux" };
	struct btf_file kvm = { .name = KHV_MODULE_KVM, .base = &kernel.btf };
	struct btf_file vendor = { .name = khv_vendor, .base = &kernel.btf };
	/* The kernel's own is by far the largest: read it only where it is of use. */
	struct btf_file *const to_read[] = { &kvm, &vendor, &kernel };
	struct btf_file *const to_index[] = { &kernel, &kvm, &vendor };
	const char *name = NULL;
	int i, ret = 0;

	for (i = 0; !ret && i < ARRAY_SIZE(to_read); i++) {
		name = to_read[i]->name;
		ret = read_btf(to_read[i]);
	}
	for (i = 0; !ret && i < ARRAY_SIZE(to_index); i++) {
		name = to_index[i]->name;
		ret = index_btf(to_index[i]);
	}
	if (!ret) {
		ret = compare(&kernel, &kvm, &vendor, wanted, report);
	} else if (ret != -ENOMEM) {
		const char *what = ret == -ENOENT ? "no" : "cannot read the";

		if (KERNEL_HAS_BTF) {
			pr_err("%s BTF of %s (%d): nothing tells whether this is the kernel that the module was built for; mount /sys, and use the modules of KVM as they were built\n",
			       what, name, ret);
			ret = -ENOEXEC;
		} else {
			pr_info("%s BTF of %s (%d), so KVM's structures are not compared with those of the build; use a kernel with CONFIG_DEBUG_INFO_BTF_MODULES=y\n",
				what, name, ret);
			ret = 0;
		}
	}
	forget(&vendor);
	forget(&kvm);
	forget(&kernel);
	return ret;
}
