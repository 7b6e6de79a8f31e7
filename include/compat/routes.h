/* SPDX-License-Identifier: GPL-2.0-only */
/* What KVM itself routes to its Hyper-V code. Pure: the tables of include/khv/ use it. */
#ifndef KHV_COMPAT_ROUTES_H
#define KHV_COMPAT_ROUTES_H

/* Flags of a row whose MSR only later versions of KVM route. */
#ifdef KHV_HAVE_TSC_INVARIANT
#define KHV_TSC_INVARIANT_ROUTE 0
#else
#define KHV_TSC_INVARIANT_ROUTE KHV_MSR_UNROUTED
#endif

/* The enlightenment whose hypercalls KVM routes from an L2. */
#ifdef KHV_HAVE_L2_FLUSH
#define KHV_STOCK_L2_CALLS KHV_ENL_TLBFLUSH
#else
#define KHV_STOCK_L2_CALLS KHV_NR_ENLS
#endif

#endif
