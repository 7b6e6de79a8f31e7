/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Prototypes of the vendor functions in kvm_x86_ops that hot paths call; their rows are in
 * contract.def.h.
 */
#ifndef KHV_COMPAT_X86_OPS_H
#define KHV_COMPAT_X86_OPS_H

#include <linux/kvm_host.h>

int khv_proto_get_cpl(struct kvm_vcpu *vcpu);
void khv_proto_get_cs_db_l_bits(struct kvm_vcpu *vcpu, int *db, int *l);
#ifdef KHV_HAVE_FLUSH_GVA_FULL
void khv_proto_flush_tlb_gva(struct kvm_vcpu *vcpu, gva_t addr, bool *full);
#else
void khv_proto_flush_tlb_gva(struct kvm_vcpu *vcpu, gva_t addr);
#endif
void khv_proto_flush_tlb_guest(struct kvm_vcpu *vcpu);
void khv_proto_deliver_interrupt(struct kvm_lapic *apic, int delivery_mode, int trig_mode,
				 int vector);

#endif
