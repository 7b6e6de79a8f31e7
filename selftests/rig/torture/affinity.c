// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel has this only if it is configured for a torture of its own. Nothing calls it without the
 * parameters bind_writers and bind_readers.
 */
#include <linux/cpumask.h>
#include <linux/errno.h>
#include <linux/types.h>

long torture_sched_setaffinity(pid_t pid, const struct cpumask *mask, bool warn);

long torture_sched_setaffinity(pid_t pid, const struct cpumask *mask, bool warn)
{
	return -EOPNOTSUPP;
}
