/* SPDX-License-Identifier: GPL-2.0-only */
/* Extended hypercalls, which user space answers. */
#ifndef KHV_EXTENDED_H
#define KHV_EXTENDED_H

#include "khv/hcall.h"

/*
 * The module parameter ext_capabilities=: what HvExtCallQueryCapabilities tells a guest whose user
 * space does not know the call. Constant from load on.
 */
extern unsigned long long khv_ext_capabilities;

/**
 * khv_ext_call_unknown() - answer a call that user space does not know, if a guest must be told
 * @hc: the call; set to its output
 *
 * TLFS chapter "Extended Hypercall Interface".
 *
 * Return: HV_STATUS_SUCCESS with output that is not yet written;
 * HV_STATUS_INVALID_HYPERCALL_CODE for every other call; HV_STATUS_INVALID_ALIGNMENT. Context: any.
 */
u16 khv_ext_call_unknown(struct khv_hcall *hc);

#endif
