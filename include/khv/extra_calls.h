/* SPDX-License-Identifier: GPL-2.0-only */
/* The module parameters about calls that no KVM has. */
#ifndef KHV_EXTRA_CALLS_H
#define KHV_EXTRA_CALLS_H

/**
 * khv_extra_calls_init() - list the calls of extra_calls=, before the tables are checked
 *
 * Logs what is wrong with the parameter.
 *
 * Return: 0, or -EINVAL. Context: module load.
 */
int khv_extra_calls_init(void);

#endif
