// SPDX-License-Identifier: GPL-2.0-only
/*
 * The part of gcov's run-time library that kvm-hyperv needs when it is built with "make
 * COVERAGE=1": sums the counters over all its insertions in one boot. The kernel needs no
 * CONFIG_GCOV_KERNEL. The counters are memory of the module, which its code increments in place:
 * no calls and no locks, so any context will do.
 *
 * /sys/kernel/debug/khv-coverage/counters has a line for each file, followed by one for each of its
 * functions that ran; all numbers are hexadecimal:
 *
 *   file PATH VERSION STAMP CHECKSUM
 *   fn IDENT LINES_CHECKSUM GRAPH_CHECKSUM COUNTER...
 *
 * /sys/kernel/debug/khv-coverage/fresh steers the fuzzer: the first number is that of counters that
 * ran for the first time since the last read, the second that of those which reached another power
 * of two between the two reads than ever before.
 *
 * Insert it first; the module depends on it then. For the rig only.
 */
#include <linux/debugfs.h>
#include <linux/kallsyms.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* What the compiler emits, by its version. */
#if __GNUC__ >= 14
#define NR_KINDS 9
#else
#define NR_KINDS 8
#endif
#define MAX_FILES     128
#define MAX_FUNCTIONS 4096

struct gcov_counters {
	u32 nr;
	u64 *values;
};

struct gcov_function {
	const struct gcov_file *key;
	u32 ident;
	u32 lines_checksum;
	u32 graph_checksum;
	/* One for each kind that the file has: arcs only. */
	struct gcov_counters counters[];
};

struct gcov_file {
	u32 version;
	struct gcov_file *next;
	u32 stamp;
#if __GNUC__ >= 12
	u32 checksum;
#endif
	const char *name;
	void *merge[NR_KINDS];
	u32 nr_functions;
	struct gcov_function **functions;
};

void __gcov_init(struct gcov_file *file);
void __gcov_exit(void);
void __gcov_merge_add(u64 *values, u32 nr);

/* Files of the insertion that lives. */
static struct gcov_file *files[MAX_FILES];
static int nr_files;

/* Sums of the earlier ones: the same files and functions come in the same order. */
struct saved {
	char *name;
	u32 head[3];
	u32 nr;
	u64 *sums;
	u64 *last;   /* what the counters were when they were looked at */
	u8 *reached; /* by counter, a bit for each power of two; the last one for all above */
};

static struct saved *saved;
static int nr_saved;

static u64 nr_new, nr_fresh;

static DEFINE_MUTEX(lock);

/* A kernel with CONFIG_CONSTRUCTORS makes these calls, too. */
void __gcov_init(struct gcov_file *file)
{
	int i;

	for (i = 0; i < nr_files; i++) {
		if (files[i] == file)
			return;
	}
	if (!WARN_ON(nr_files == MAX_FILES))
		files[nr_files++] = file;
}
EXPORT_SYMBOL_GPL(__gcov_init);

void __gcov_exit(void)
{
}
EXPORT_SYMBOL_GPL(__gcov_exit);

/* The files refer to it. */
void __gcov_merge_add(u64 *values, u32 nr)
{
}
EXPORT_SYMBOL_GPL(__gcov_merge_add);

static void save_one(int at, const char *name, u32 a, u32 b, u32 c,
		     const struct gcov_counters *counters)
{
	struct saved *s = &saved[at];
	u32 i;

	if (at == nr_saved) {
		s->head[0] = a;
		s->head[1] = b;
		s->head[2] = c;
		s->name = name ? kstrdup(name, GFP_KERNEL) : NULL;
		s->nr = counters ? counters->nr : 0;
		s->sums = s->nr ? vcalloc(s->nr, 2 * sizeof(u64) + sizeof(u8)) : NULL;
		s->last = s->sums + s->nr;
		s->reached = (u8 *)(s->last + s->nr);
		nr_saved++;
	}
	for (i = 0; s->sums && i < s->nr; i++) {
		u64 now = READ_ONCE(counters->values[i]), value = now - s->last[i];
		u8 bit;

		if (!value)
			continue;
		bit = BIT(min_t(u32, ilog2(value), 7));
		nr_new += !s->reached[i];
		nr_fresh += !(s->reached[i] & bit);
		s->reached[i] |= bit;
		s->sums[i] += value;
		/* The module's code goes on counting: nobody else may write. */
		s->last[i] = now;
	}
}

/* Add to the sums what the counters have more than at the last look. */
static void save(void)
{
	int i, at = 0;
	u32 j;

	for (i = 0; i < nr_files; i++) {
		struct gcov_file *file = files[i];
		u32 checksum = 0;

#if __GNUC__ >= 12
		checksum = file->checksum;
#endif
		save_one(at++, file->name, file->version, file->stamp, checksum, NULL);
		for (j = 0; j < file->nr_functions; j++) {
			struct gcov_function *fn = file->functions[j];

			/* A function that the linker took from another file. */
			if (!fn || fn->key != file)
				continue;
			if (WARN_ON(at == MAX_FUNCTIONS))
				return;
			save_one(at++, NULL, fn->ident, fn->lines_checksum, fn->graph_checksum,
				 fn->counters);
		}
	}
}

/* The next insertion counts from 0. */
static void forget_last(void)
{
	struct saved *s;

	for (s = saved; s < saved + nr_saved; s++) {
		if (s->sums)
			memset(s->last, 0, s->nr * sizeof(*s->last));
	}
}

/* One function a file, which calls __gcov_init(). Most kernels do not call it. */
static void call_constructors(const struct module *mod)
{
	const struct mod_kallsyms *symbols = rcu_dereference_raw(mod->kallsyms);
	unsigned int i;

	for (i = 0; i < symbols->num_symtab; i++) {
		if (strstarts(symbols->strtab + symbols->symtab[i].st_name, "_sub_I_"))
			((void (*)(void))symbols->symtab[i].st_value)();
	}
}

static int on_module(struct notifier_block *nb, unsigned long state, void *data)
{
	const struct module *mod = data;

	if (strcmp(mod->name, "kvm_hyperv"))
		return NOTIFY_DONE;
	mutex_lock(&lock);
	if (state == MODULE_STATE_COMING) {
		call_constructors(mod);
	} else if (state == MODULE_STATE_GOING) {
		save();
		nr_files = 0;
		forget_last();
	}
	mutex_unlock(&lock);
	return NOTIFY_DONE;
}

static struct notifier_block on_module_nb = { .notifier_call = on_module };

static bool all_zero(const struct saved *s)
{
	u32 i;

	for (i = 0; s->sums && i < s->nr; i++) {
		if (s->sums[i])
			return false;
	}
	return true;
}

static int counters_show(struct seq_file *m, void *v)
{
	const struct saved *s;
	u32 i;

	mutex_lock(&lock);
	save();
	for (s = saved; s < saved + nr_saved; s++) {
		if (s->name) {
			seq_printf(m, "file %s %x %x %x\n", s->name, s->head[0], s->head[1],
				   s->head[2]);
			continue;
		}
		if (all_zero(s))
			continue;
		seq_printf(m, "fn %x %x %x", s->head[0], s->head[1], s->head[2]);
		for (i = 0; i < s->nr; i++)
			seq_printf(m, " %llx", s->sums[i]);
		seq_putc(m, '\n');
	}
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

static int fresh_show(struct seq_file *m, void *v)
{
	mutex_lock(&lock);
	save();
	seq_printf(m, "%llu %llu\n", nr_new, nr_fresh);
	nr_new = 0;
	nr_fresh = 0;
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(fresh);

static struct dentry *dir;

static int __init coverage_init(void)
{
	int err;

	saved = vcalloc(MAX_FUNCTIONS, sizeof(*saved));
	if (!saved)
		return -ENOMEM;
	err = register_module_notifier(&on_module_nb);
	if (err) {
		vfree(saved);
		return err;
	}
	dir = debugfs_create_dir("khv-coverage", NULL);
	debugfs_create_file("counters", 0400, dir, NULL, &counters_fops);
	debugfs_create_file("fresh", 0400, dir, NULL, &fresh_fops);
	return 0;
}

static void __exit coverage_exit(void)
{
	int i;

	debugfs_remove_recursive(dir);
	unregister_module_notifier(&on_module_nb);
	for (i = 0; i < nr_saved; i++) {
		kfree(saved[i].name);
		vfree(saved[i].sums);
	}
	vfree(saved);
}

module_init(coverage_init);
module_exit(coverage_exit);
MODULE_DESCRIPTION("Counters of the code of kvm-hyperv that ran");
MODULE_LICENSE("GPL");
