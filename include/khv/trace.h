/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints, in tracefs under events/kvm_hyperv/. One event per MSR access; khv_msr tells guest
 * from user space. "row" is the name of the row, empty for a number without one.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm_hyperv

#if !defined(KHV_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KHV_TRACE_H

#include <linux/tracepoint.h>

#include "khv/hcall.h"
#include "khv/tables.h"
#include "khv/vpset.h"

#define KHV_TRACE_NAME 40 /* longer than any name */

TRACE_EVENT(khv_msr,
	TP_PROTO(int vcpu_id, u32 msr, u64 data, bool write, bool host, int fault),
	TP_ARGS(vcpu_id, msr, data, write, host, fault),
	TP_STRUCT__entry(
		__field(int, vcpu_id)
		__field(u32, msr)
		__field(u64, data)
		__field(bool, write)
		__field(bool, host)
		__field(bool, fault)
		__array(char, row, KHV_TRACE_NAME)
	),
	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->msr = msr;
		__entry->data = data;
		__entry->write = write;
		__entry->host = host;
		__entry->fault = fault;
		strscpy(__entry->row, khv_msr_name(msr), KHV_TRACE_NAME);
	),
	TP_printk("vcpu %d %s 0x%x 0x%llx%s%s %s", __entry->vcpu_id,
		  __entry->write ? "wrmsr" : "rdmsr", __entry->msr, __entry->data,
		  __entry->host ? " host" : "", __entry->fault ? " fault" : "", __entry->row)
);

TRACE_EVENT(khv_hypercall,
	TP_PROTO(int vcpu_id, const struct khv_hcall *hc),
	TP_ARGS(vcpu_id, hc),
	TP_STRUCT__entry(
		__field(int, vcpu_id)
		__field(u64, control)
		__field(u64, in)
		__field(u64, out)
		__array(char, row, KHV_TRACE_NAME)
		__field(bool, fastpath)
	),
	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->control = hc->control;
		__entry->in = hc->in;
		__entry->out = hc->out;
		strscpy(__entry->row, khv_hc_name(hc->code), KHV_TRACE_NAME);
		__entry->fastpath = hc->atomic;
	),
	TP_printk("vcpu %d code 0x%llx control 0x%llx in 0x%llx out 0x%llx %s%s", __entry->vcpu_id,
		  __entry->control & KHV_CTL_CODE, __entry->control, __entry->in, __entry->out,
		  __entry->row, __entry->fastpath ? " fastpath" : "")
);

TRACE_EVENT(khv_hypercall_done,
	TP_PROTO(int vcpu_id, const struct khv_hcall *hc, u64 result),
	TP_ARGS(vcpu_id, hc, result),
	TP_STRUCT__entry(
		__field(int, vcpu_id)
		__field(u16, code)
		__field(u64, result)
		__field(bool, fastpath)
	),
	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->code = hc->code;
		__entry->result = result;
		__entry->fastpath = hc->atomic;
	),
	TP_printk("vcpu %d code 0x%x result 0x%llx%s", __entry->vcpu_id, __entry->code,
		  __entry->result, __entry->fastpath ? " fastpath" : "")
);

/* Targets of a completed flush or IPI: all VPs, or @banks of 64, the first one by @mask. */
TRACE_EVENT(khv_targets,
	TP_PROTO(int vcpu_id, u16 code, u32 vector, const struct khv_vpset *set),
	TP_ARGS(vcpu_id, code, vector, set),
	TP_STRUCT__entry(
		__field(int, vcpu_id)
		__field(u16, code)
		__field(u32, vector)
		__field(bool, all)
		__field(u64, banks)
		__field(u32, first)
		__field(u64, mask)
	),
	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->code = code;
		__entry->vector = vector;
		__entry->all = set->all;
		/* A plain mask has no banks. */
		__entry->banks = set->all ? 0 : set->banks ?: !!set->vps;
		__entry->first = !set->all && set->banks ? __ffs64(set->banks) * VPS_PER_BANK : 0;
		__entry->mask = set->all ? 0 : set->banks ? *set->contents : set->vps;
	),
	TP_printk("vcpu %d code 0x%x vector 0x%x to %s banks 0x%llx first %u mask 0x%llx",
		  __entry->vcpu_id, __entry->code, __entry->vector,
		  __entry->all ? "all" : "some", __entry->banks, __entry->first, __entry->mask)
);

TRACE_EVENT(khv_stimer,
	TP_PROTO(int vcpu_id, int index, u64 expiry, u64 now, bool signalled),
	TP_ARGS(vcpu_id, index, expiry, now, signalled),
	TP_STRUCT__entry(
		__field(int, vcpu_id)
		__field(int, index)
		__field(u64, expiry)
		__field(u64, now)
		__field(bool, signalled)
	),
	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->index = index;
		__entry->expiry = expiry;
		__entry->now = now;
		__entry->signalled = signalled;
	),
	TP_printk("vcpu %d stimer%d expiry %llu at %llu %s", __entry->vcpu_id, __entry->index,
		  __entry->expiry, __entry->now, __entry->signalled ? "signalled" : "kept")
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH khv
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
