/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages that a register lays over guest memory. */
#ifndef KHV_OVERLAY_H
#define KHV_OVERLAY_H

#include "khv/state.h"

/**
 * khv_hypercall_page_left() - restore the hypercall page after another overlay left it
 * @vcpu: a vCPU of an owned VM
 * @was: old value of the register that was written: page, and bit 0 for enabled
 * @is: its new value
 *
 * If the register's old page lay over the hypercall page and the new one does not, the guest sees
 * the code again.
 * Context: may sleep, hv_lock not held.
 */
void khv_hypercall_page_left(struct kvm_vcpu *vcpu, u64 was, u64 is);

/**
 * khv_overlay_map() - write an image over a guest page, replacing an earlier image
 * @kvm: an owned VM, kvm->srcu held
 * @o: the overlay, either not mapped or mapped at @gpa
 * @gpa: page-aligned address in address space 0
 * @image: PAGE_SIZE bytes
 * @keep: save the RAM's contents, to restore them on unmap
 * @covered: another overlay lies over @o, so the RAM does not tell what @o hides
 * @below: bytes at the beginning of the page that this other overlay has: they are saved anew
 *
 * Return: 0, -EFAULT for a page outside guest memory, -ENOMEM; nothing is changed on error.
 * Context: the register's lock held, may sleep.
 */
int khv_overlay_map(struct kvm *kvm, struct khv_overlay *o, gpa_t gpa, const u8 *image, bool keep,
		    bool covered, u32 below);

/**
 * khv_overlay_show() - write the image of a mapped overlay again
 * @kvm: an owned VM, kvm->srcu held
 * @o: overlay of a register, mapped
 *
 * Context: the register's lock held, may sleep.
 */
void khv_overlay_show(struct kvm *kvm, const struct khv_overlay *o);

/**
 * khv_overlay_unmap() - remove the image from guest memory
 * @kvm: an owned VM, kvm->srcu held
 * @o: overlay of a register; nothing happens unless it is mapped
 * @restore: write back the saved contents if the guest has not changed the image
 * @from: bytes at the beginning of the page that stay as they are, because they are another
 *	overlay's
 *
 * Context: the register's lock held, may sleep.
 * Return: true if the saved contents are there again.
 */
bool khv_overlay_unmap(struct kvm *kvm, struct khv_overlay *o, bool restore, u32 from);

/**
 * khv_overlay_shows() - is this the beginning of the image?
 * @o: mapped or not
 * @gpa: page-aligned address of the guest memory that was read
 * @data: its contents
 * @len: bytes
 *
 * Context: the register's lock held.
 * Return: true if @o is mapped at @gpa and @data is what it has there.
 */
bool khv_overlay_shows(const struct khv_overlay *o, gpa_t gpa, const void *data, u32 len);

/**
 * khv_overlay_free() - free an overlay's buffers without touching guest memory
 * @o: mapped or not; an image stays in guest memory
 *
 * Context: the register's lock held, or no other user left.
 */
void khv_overlay_free(struct khv_overlay *o);

#endif
