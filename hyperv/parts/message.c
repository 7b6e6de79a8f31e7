// SPDX-License-Identifier: GPL-2.0-only
/*
 * Message slots, and SINTs raised by user space. Messages are written by the VP's thread;
 * khv_synic_set_irq() reads the registers in any context. TLFS chapter "Inter-Partition
 * Communication", "SynIC Message Page".
 */
#include <linux/kvm_host.h>
#include <linux/nospec.h>

#include "khv/apic.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/synic.h"
#include "khv/vp.h"

/* Does the vCPU's in-kernel local APIC accept interrupts? */
static bool apic_enabled(struct kvm_vcpu *vcpu)
{
	u64 spiv;

	return (vcpu->arch.apic_base & MSR_IA32_APICBASE_ENABLE) &&
	       !khv_kvm_hv_vapic_msr_read(vcpu, APIC_SPIV, &spiv) &&
	       (spiv & APIC_SPIV_APIC_ENABLED);
}

/*
 * Return: 1 if delivered, 0 if lost in a disabled local APIC, -ENOENT if the SINT raises no
 * interrupt or there is no in-kernel local APIC.
 */
static int raise(struct kvm_vcpu *vcpu, u64 sint_val)
{
	u8 vector = khv_sint_vector(sint_val);

	return vector && vcpu->arch.apic ? khv_apic_post(vcpu, vector) : -ENOENT;
}

/* Does the SynIC take a message for this SINT at all? */
static bool accepts(const struct kvm_vcpu_hv_synic *synic, u64 sint_val)
{
	return (synic->control & KHV_SCONTROL_ENABLE) && (synic->msg_page & KHV_SIMP_ENABLE) &&
	       !(sint_val & KHV_SINT_MASKED);
}

/* Would the interrupt of a message be lost? A polled SINT has none. */
static bool interrupt_lost(struct kvm_vcpu *vcpu, u64 sint_val)
{
	return !(sint_val & KHV_SINT_POLLING) && vcpu->arch.apic && !apic_enabled(vcpu);
}

/* Set MessagePending, so that the guest writes EOM after it has emptied the slot. */
static void ask_for_eom(struct kvm_vcpu *vcpu, gpa_t slot)
{
	gpa_t gpa = slot + offsetof(struct hv_message, header.message_flags);
	const u8 pending = BIT(0);
	u8 flags;

	/* Read first: a needless write would dirty the page. */
	if (khv_kvm_read_guest(vcpu->kvm, gpa, &flags, sizeof(flags)) || flags != pending)
		khv_kvm_write_guest(vcpu->kvm, gpa, &pending, sizeof(pending));
}

static bool slot_empty(struct kvm_vcpu *vcpu, gpa_t slot)
{
	u32 type;

	return !khv_kvm_read_guest(vcpu->kvm, slot, &type, sizeof(type)) && type == HVMSG_NONE;
}

static gpa_t slot_gpa(const struct kvm_vcpu_hv_synic *synic, u32 sint)
{
	return (synic->msg_page & KHV_PAGE_GPFN) + sint * sizeof(struct hv_message);
}

bool khv_synic_slot_empty(struct kvm_vcpu *vcpu, u32 sint)
{
	const struct kvm_vcpu_hv_synic *synic = &to_khv_vcpu(vcpu)->stock.synic;
	u64 sint_val = khv_sint(synic, sint);

	return accepts(synic, sint_val) && !interrupt_lost(vcpu, sint_val) &&
	       slot_empty(vcpu, slot_gpa(synic, sint));
}

bool khv_synic_slot_has(struct kvm_vcpu *vcpu, u32 sint, const struct hv_message *msg)
{
	const struct kvm_vcpu_hv_synic *synic = &to_khv_vcpu(vcpu)->stock.synic;
	const struct hv_timer_message_payload *timer = (const void *)msg->u.payload;
	gpa_t slot = slot_gpa(synic, sint);
	u32 type, index;

	return accepts(synic, khv_sint(synic, sint)) &&
	       !khv_kvm_read_guest(vcpu->kvm, slot, &type, sizeof(type)) &&
	       type == msg->header.message_type &&
	       !khv_kvm_read_guest(vcpu->kvm,
				   slot + offsetof(struct hv_message, u.payload) +
					   offsetof(struct hv_timer_message_payload, timer_index),
				   &index, sizeof(index)) &&
	       index == timer->timer_index;
}

bool khv_synic_waits_for_memory(struct kvm_vcpu *vcpu, u32 sint)
{
	struct kvm_vcpu_hv_synic *synic = &to_khv_vcpu(vcpu)->stock.synic;
	u64 sint_val = khv_sint(synic, sint);
	struct hv_message_header header;

	/*
	 * The memory may have come since the message was refused: only a full slot whose end the
	 * guest tells of is sure to end.
	 */
	return accepts(synic, sint_val) && !interrupt_lost(vcpu, sint_val) &&
	       (khv_kvm_read_guest(vcpu->kvm, slot_gpa(synic, sint), &header,
				   offsetofend(struct hv_message_header, message_flags)) ||
		header.message_type == HVMSG_NONE || !header.message_flags.msg_pending);
}

bool khv_synic_deliver(struct kvm_vcpu *vcpu, u32 sint, const struct hv_message *msg)
{
	struct kvm_vcpu_hv_synic *synic = &to_khv_vcpu(vcpu)->stock.synic;
	u64 sint_val = khv_sint(synic, sint);
	gpa_t slot = slot_gpa(synic, sint);
	const u32 type = msg->header.message_type;

	if (!accepts(synic, sint_val))
		return false;
	if (interrupt_lost(vcpu, sint_val)) {
		/*
		 * No write to a SynIC register ends this condition: have khv_stimer_apic_changed()
		 * retry.
		 */
		to_khv_vcpu(vcpu)->apic_waits = true;
		return false;
	}

	if (!slot_empty(vcpu, slot)) {
		ask_for_eom(vcpu, slot);
		/*
		 * Another VP may have emptied the slot just before the flag became visible, and
		 * will then not write EOM. Pairs with the guest's barrier between emptying the slot
		 * and reading the flag.
		 */
		smp_mb();
		if (!slot_empty(vcpu, slot))
			return false;
	}

	/* Write the message type last: it marks the slot as full. */
	if (khv_kvm_write_guest(vcpu->kvm, slot + sizeof(type), (const u8 *)msg + sizeof(type),
				sizeof(msg->header) + msg->header.payload_size - sizeof(type)))
		return false;
	/* Pairs with the guest's read barrier between message_type and the rest of the message. */
	smp_wmb();
	if (khv_kvm_write_guest(vcpu->kvm, slot, &type, sizeof(type)))
		return false;
	raise(vcpu, sint_val);
	return true;
}

int khv_synic_set_irq(struct kvm *kvm, u32 vp_index, u32 sint)
{
	struct khv_vcpu *vp = khv_vp_by_index(kvm, vp_index);
	struct kvm_vcpu_hv_synic *synic;

	if (!vp || sint >= HV_SYNIC_SINT_COUNT)
		return -EINVAL;
	synic = &vp->stock.synic;
	/* Pairs with smp_store_release() in khv_synic_activate(). */
	if (!smp_load_acquire(&synic->active))
		return -EINVAL;
	if (!(READ_ONCE(synic->control) & KHV_SCONTROL_ENABLE))
		return -ENOENT;
	return raise(vp->stock.vcpu,
		     khv_sint(synic, array_index_nospec(sint, HV_SYNIC_SINT_COUNT)));
}

int khv_synic_set_route(const struct kvm_kernel_irq_routing_entry *e, struct kvm *kvm,
			int irq_source_id, int level, bool line_status)
{
	return level ? khv_synic_set_irq(kvm, e->hv_sint.vcpu, e->hv_sint.sint) : -1;
}
