/* SPDX-License-Identifier: GPL-2.0-only */
/* Where tasks are in the kernel, for a test that does not get on. */
#ifndef KHV_SELFTEST_STACKS_H
#define KHV_SELFTEST_STACKS_H

/* Print the stacks of this process's threads, and of all tasks that sleep uninterruptibly. */
void stacks_print(void);

#endif
