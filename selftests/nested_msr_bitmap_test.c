// SPDX-License-Identifier: GPL-2.0-only
/*
 * The enlightened MSR bitmap: L1 tells L0, by a clean bit, that its bitmap is what it was at
 * the last entry, and L0 need not look at it. TLFS chapter "Nested Virtualization",
 * "Enlightened MSR Bitmap". What shows is a change that L1 conceals, and that nothing else
 * of L1's is ever concealed.
 */
#include "module.h"
#include "nested.h"

#define MAX_OPS 4

/* One MSR that L0 lets L2 have if L1 does, and its place in the bitmaps of either vendor. */
#define MSR_FS_BASE 0xc0000100u
#define TRIES	    3

#define MSR_APIC_BASE	     0x1bu
#define MSR_APIC_BASE_X2APIC 0xc00ULL
#define MSR_X2APIC_TPR	     0x808u
#define TPR		     0x20ULL

static struct vcpu *v;
static struct nested *n;

static void set_intercept(bool on)
{
	/* VMX: a bit for reads at 0 and 1 KB; SVM: two bits an MSR, from 0 and 2 KB on. */
	u32 bit = host_is_amd() ? 0x800 * 8 + 2 * (MSR_FS_BASE & 0x1fff) :
				  0x400 * 8 + (MSR_FS_BASE & 0x1fff);

	if (on)
		n->msrs[bit / 8] |= (u8)(1u << bit % 8);
	else
		n->msrs[bit / 8] &= (u8)(0xff ^ 1u << bit % 8);
}

/* Does L2's access reach L1? */
static bool intercepted(void)
{
	u32 before = n->exits;
	struct guest_op o = vcpu_op(v, n->l2, OP_RD(MSR_FS_BASE));

	ASSERT_EQ(o.vector, 0);
	if (n->exits == before)
		return false;
	ASSERT_EQ(n->exits, before + 1);
	ASSERT_EQ(n->exit, NESTED_MSR);
	ASSERT_EQ(o.result, NESTED_REFLECTED);
	return true;
}

static void create(u32 flags, bool enlightened)
{
	v = vm_create(1, 0)->vcpus[0];
	n = nested_create(v, flags, MAX_OPS);
	n->msr_bitmap = enlightened;
}

static u32 all_clean(void)
{
	return host_is_amd() ? VMCB_CLEAN_HV : EVMCS_CLEAN_ALL;
}

/* Whether a change is seen at an entry that calls the bitmap @clean. */
static void check(bool clean, bool seen, const char *what)
{
	u32 i;

	for (i = 0; i < TRIES; i++) {
		set_intercept(false);
		n->clean = 0;
		nested_reenter(v);
		ASSERT(!intercepted(), "%s: what L1 does not want", what);
		set_intercept(true);
		n->clean = clean ? all_clean() : 0;
		nested_reenter(v);
		ASSERT(intercepted() == seen, "%s: the bitmap is %s", what,
		       seen ? "not looked at" : "looked at");
		n->clean = 0;
		nested_reenter(v);
		ASSERT(intercepted(), "%s: the bitmap is never looked at", what);
	}
}

static u64 uses(void)
{
	return module_loaded() ? module_uses("hv-emsr-bitmap ") : 0;
}

TEST(clean_bit_keeps_the_bitmap)
{
	u64 before;

	create(NESTED_EVMCS, true);
	nested_start(v);
	before = uses();
	check(false, true, "not clean");
	ASSERT_EQ(uses(), before);
	check(true, false, "clean");
	ASSERT(!module_loaded() || uses() >= before + TRIES, "clean bitmaps are not counted");
}

/* Without the enlightenment the clean bit means nothing. */
TEST(clean_bit_needs_the_enlightenment)
{
	create(NESTED_EVMCS, false);
	nested_start(v);
	check(true, true, "not enlightened");
}

TEST(clean_bit_is_not_in_a_plain_vmcs)
{
	if (host_is_amd())
		ktap_skip("there is one kind of VMCB");
	create(0, true);
	nested_start(v);
	check(true, true, "a plain VMCS");
}

/* The new host knows nothing of what was clean. */
TEST(migration_forgets_the_bitmap)
{
	create(NESTED_EVMCS, true);
	nested_start(v);
	set_intercept(true);
	nested_reenter(v);
	n->clean = all_clean();
	nested_reenter(v);
	v = nested_move(v->vm)->vcpus[0];
	ASSERT(intercepted(), "the bitmap is forgotten");
	nested_reenter(v);
	ASSERT(intercepted(), "the bitmap is forgotten");
}

/*
 * L1 takes the virtual x2APIC from L2, whose TPR register L0 may have given to L2 with it,
 * and calls its bitmap clean, which it is: the register must be L0's again, not the host's.
 */
static u64 set_controls(u64 proc2)
{
	vmcs_write(n, VMCS_PROC2, proc2);
	return 0;
}

static u64 x2apic_on(u64 arg)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | MSR_APIC_BASE_X2APIC);
	wrmsr(MSR_X2APIC_TPR, arg);
	return 0;
}

static u64 fn(u64 (*f)(u64 arg))
{
	return (u64)(uintptr_t)f;
}

TEST_KNOWN_IF(controls_are_not_the_bitmap, "N6", host_is_6_1)
{
	u32 wanted = PROC2_X2APIC, i;
	struct guest_op o;
	u64 proc2;
	u8 *vapic;

	if (host_is_amd())
		ktap_skip("VMX only");
	create(NESTED_EVMCS, true);
	if (~(vcpu_get_msr(v, MSR_VMX_PROC2) >> 32) & wanted)
		ktap_skip("the host's CPU does not virtualize the x2APIC");
	n->controls = PROC_TPR_SHADOW;
	n->controls2 = PROC2_EPT | wanted;
	n->flags |= NESTED_PAGING;
	vapic = vm_alloc(v->vm, PAGE_SIZE);
	put64(n->evmcs, 408, (u64)(uintptr_t)vapic);
	vapic[0x80] = 0x70;
	nested_start(v);
	nested_l1_op(v, (struct guest_op){ .op = OP_CALL, .arg0 = fn(x2apic_on), .arg1 = TPR });
	for (i = 0; i < TRIES; i++) {
		o = vcpu_op(v, n->l2, OP_RD(MSR_X2APIC_TPR));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, 0x70); /* L2's own */

		proc2 = get32(n->evmcs, 100);
		n->clean = EVMCS_CLEAN_BITMAP;
		nested_l1_op(v, (struct guest_op){ .op = OP_CALL,
						   .arg0 = fn(set_controls),
						   .arg1 = proc2 & ~(u64)wanted });
		o = vcpu_op(v, n->l2, OP_RD(MSR_X2APIC_TPR));
		/* L1 does not want it: it is L1's. */
		ASSERT_KNOWN(!o.vector && o.result == TPR, "vector %u, TPR 0x%llx", o.vector,
			     (unsigned long long)o.result);
		n->clean = 0;
		nested_l1_op(v, (struct guest_op){
					.op = OP_CALL, .arg0 = fn(set_controls), .arg1 = proc2 });
	}
}
