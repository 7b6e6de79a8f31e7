// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VP in system management mode sees other memory at some addresses: SMRAM. The pages of
 * Hyper-V's interface are in the guest's RAM whatever mode the VP is in, or a guest's kernel
 * could have SMRAM read and written for it. TLFS chapter "Inter-Partition Communication".
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ops.h"
#include "stimer.h"

/* Pages with memory of their own in each address space; all else is the same in both. */
#define WINDOW 0x50000000ULL
enum { PAGE_MESSAGES, PAGE_HYPERCALL, PAGE_ASSIST, PAGE_INPUT, PAGE_OUTPUT, NR_PAGES };

#define ADDRESS_SPACE_SMM 1u
#define RAM_BYTE	  0x52
#define SMRAM_BYTE	  0x53

#define TRIES 500

struct world {
	struct vm *vm;
	struct vcpu *v;
	struct ops_page *ops;
	u8 *ram, *smram;
};

static u64 page_gpa(u32 page)
{
	return WINDOW + page * PAGE_SIZE;
}

static u8 *new_memory(u8 byte)
{
	u8 *p = mmap(NULL, NR_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(p != MAP_FAILED, "mmap");
	memset(p, byte, NR_PAGES * PAGE_SIZE);
	return p;
}

/* As vm_add_memslot(), for what the VPs see in SMM. */
static void add_smm_slot(struct vm *vm, u64 gpa, void *hva, u64 size)
{
	u32 slots = vm->nr_slots;

	vm->nr_slots = ADDRESS_SPACE_SMM << 16 | slots;
	vm_add_memslot(vm, gpa, hva, size, 0);
	vm->nr_slots = slots + 1;
}

static struct world *world_create(void)
{
	extern char __executable_start[], _end[];
	u64 start = (u64)(uintptr_t)__executable_start & ~(PAGE_SIZE - 1);
	u64 end = ((u64)(uintptr_t)_end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	struct world *w = calloc(1, sizeof(*w));

	ASSERT(w, "memory");
	timer_prepare();
	w->vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC2);
	if (vm_check_cap(w->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		ktap_skip("the host has no SMM");
	w->v = w->vm->vcpus[0];
	w->ram = new_memory(RAM_BYTE);
	w->smram = new_memory(SMRAM_BYTE);
	vm_add_memslot(w->vm, WINDOW, w->ram, NR_PAGES * PAGE_SIZE, 0);
	add_smm_slot(w->vm, WINDOW, w->smram, NR_PAGES * PAGE_SIZE);
	add_smm_slot(w->vm, (u64)(uintptr_t)w->vm->ram, w->vm->ram, w->vm->ram_size);
	add_smm_slot(w->vm, start, (void *)start, end - start);
	w->ops = vcpu_ops_init(w->v, 2);
	return w;
}

static void world_free(struct world *w)
{
	munmap(w->ram, NR_PAGES * PAGE_SIZE);
	munmap(w->smram, NR_PAGES * PAGE_SIZE);
	vm_free(w->vm);
	free(w);
}

static u8 *ram(struct world *w, u32 page)
{
	return w->ram + page * PAGE_SIZE;
}

static u8 *smram(struct world *w, u32 page)
{
	return w->smram + page * PAGE_SIZE;
}

static struct hv_message *message(u8 *page)
{
	return (struct hv_message *)page + SINT;
}

static u64 op(struct world *w, struct guest_op o)
{
	o = vcpu_op(w->v, w->ops, o);
	ASSERT_EQ(o.vector, 0);
	return o.result;
}

/* The VP goes on where it is, with SMM's view of memory. */
static void set_smm(struct world *w, bool on)
{
	struct kvm_vcpu_events e;

	vcpu_ioctl(w->v, KVM_GET_VCPU_EVENTS, &e);
	e.flags |= KVM_VCPUEVENT_VALID_SMM;
	e.smi.smm = on;
	vcpu_ioctl(w->v, KVM_SET_VCPU_EVENTS, &e);
}

static void enter_smm(struct world *w)
{
	set_smm(w, true);
	/* This is what it is all about. */
	ASSERT_EQ(op(w, (struct guest_op){ .op = OP_LOAD, .arg0 = page_gpa(PAGE_OUTPUT) }),
		  0x0101010101010101ULL * SMRAM_BYTE);
}

static bool filled(const u8 *page, u8 byte)
{
	u32 i;

	for (i = 0; i < PAGE_SIZE; i++)
		if (page[i] != byte)
			return false;
	return true;
}

/* --- messages ------------------------------------------------------------- */

/* A timer that expires while the VP is in SMM; enabled there, or it might be too early. */
static void expire_in_smm(struct world *w)
{
	op(w, OP_WR(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE));
	op(w, OP_WR(HV_X64_MSR_SIMP, page_gpa(PAGE_MESSAGES) | HV_SYNIC_ENABLE));
	op(w, OP_WR(HV_X64_MSR_SINT(SINT), VEC | HV_SINT_POLLING));
	op(w, OP_WR(COUNT(0), op(w, OP_RD(HV_X64_MSR_TIME_REF_COUNT))));
	enter_smm(w);
	op(w, OP_WR(CONFIG(0), ONE_SHOT));
}

/* Every way into the guest is a chance for the message. */
static bool wait_for(struct world *w, volatile u8 *byte, u8 value)
{
	u32 i;

	for (i = 0; i < TRIES && *byte != value; i++)
		op(w, (struct guest_op){ .op = OP_RDTSC });
	return *byte == value;
}

TEST_KNOWN(timer_message_goes_to_ram, "K22")
{
	struct world *w = world_create();
	u8 *page = ram(w, PAGE_MESSAGES);

	memset(page, 0, PAGE_SIZE);
	memset(smram(w, PAGE_MESSAGES), 0, PAGE_SIZE);
	expire_in_smm(w);
	wait_for(w, page + SINT * sizeof(struct hv_message), (u8)HV_MSG_TIMER_EXPIRED);
	ASSERT_KNOWN(filled(smram(w, PAGE_MESSAGES), 0), "the message is in SMRAM");
	ASSERT_EQ(message(page)->type, HV_MSG_TIMER_EXPIRED);
	ASSERT_EQ(message(page)->size, 24);
	world_free(w);
}

/* What is in SMRAM at the slot's address says nothing about the slot. */
TEST_KNOWN(busy_slot_is_read_from_ram, "K22")
{
	struct world *w = world_create();
	u8 *page = ram(w, PAGE_MESSAGES);

	memset(page, 0, PAGE_SIZE);
	memset(smram(w, PAGE_MESSAGES), 0, PAGE_SIZE);
	message(page)->type = 1;
	expire_in_smm(w);
	ASSERT_KNOWN(wait_for(w, &message(page)->flags, HV_MSG_PENDING),
		     "MessagePending is not set");
	ASSERT(filled(smram(w, PAGE_MESSAGES), 0), "the message is in SMRAM");
	ASSERT_EQ(message(page)->type, 1);
	message(page)->type = HV_MSG_NONE;
	op(w, OP_WR(HV_X64_MSR_EOM, 0));
	ASSERT(wait_for(w, (u8 *)message(page), (u8)HV_MSG_TIMER_EXPIRED), "no message");
	ASSERT(filled(smram(w, PAGE_MESSAGES), 0), "the message is in SMRAM");
	world_free(w);
}

/* --- pages of registers ---------------------------------------------------- */

TEST_KNOWN(hypercall_page_is_laid_over_ram, "K22")
{
	struct world *w = world_create();

	enter_smm(w);
	op(w, OP_WR(HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL));
	op(w, OP_WR(HV_X64_MSR_HYPERCALL, page_gpa(PAGE_HYPERCALL) | HV_HYPERCALL_ENABLE));
	ASSERT_KNOWN(filled(smram(w, PAGE_HYPERCALL), SMRAM_BYTE), "the page is in SMRAM");
	ASSERT_EQ(ram(w, PAGE_HYPERCALL)[0], 0x0f);
	ASSERT_EQ(ram(w, PAGE_HYPERCALL)[1], 0x01);
	op(w, OP_WR(HV_X64_MSR_HYPERCALL, 0));
	ASSERT(filled(smram(w, PAGE_HYPERCALL), SMRAM_BYTE), "RAM was put back into SMRAM");
	ASSERT(filled(ram(w, PAGE_HYPERCALL), RAM_BYTE), "RAM was not put back");
	world_free(w);
}

TEST_KNOWN(assist_page_is_cleared_in_ram, "K22")
{
	struct world *w = world_create();

	enter_smm(w);
	op(w, OP_WR(HV_X64_MSR_VP_ASSIST_PAGE, page_gpa(PAGE_ASSIST) | BIT64(0)));
	ASSERT_KNOWN(filled(smram(w, PAGE_ASSIST), SMRAM_BYTE), "SMRAM was written to");
	ASSERT_EQ(*(u32 *)ram(w, PAGE_ASSIST), 0);
	world_free(w);
}

/* --- calls ----------------------------------------------------------------- */

TEST(input_is_read_from_ram)
{
	struct world *w = world_create();
	u64 *in = (u64 *)ram(w, PAGE_INPUT), *hidden = (u64 *)smram(w, PAGE_INPUT);

	op(w, OP_WR(HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL));
	/* Vector, mask of VPs: nobody is sent anything. */
	in[0] = VEC;
	in[1] = BIT64(5);
	hidden[0] = 1;
	hidden[1] = 0;
	enter_smm(w);
	ASSERT_EQ(op(w, OP_HC(HVCALL_SEND_IPI, page_gpa(PAGE_INPUT), 0)), HV_STATUS_SUCCESS);
	in[0] = 1;
	hidden[0] = VEC;
	ASSERT(op(w, OP_HC(HVCALL_SEND_IPI, page_gpa(PAGE_INPUT), 0)), "input is from SMRAM");
	set_smm(w, false);
	ASSERT(op(w, OP_HC(HVCALL_SEND_IPI, page_gpa(PAGE_INPUT), 0)), "vector 1 is valid");
	world_free(w);
}

GUEST_CODE(query_capabilities)
{
	guest_set_os_id();
	GUEST_SYNC(1);
	GUEST_ASSERT_EQ(hypercall(HVCALL_EXT_QUERY_CAPABILITIES, 0, page_gpa(PAGE_OUTPUT)),
			HV_STATUS_SUCCESS);
}

/* User space does not know the call, and the module answers for it. */
TEST(output_is_written_to_ram)
{
	struct world *w = world_create();

	if (!module_loaded())
		ktap_skip("no output of a call is KVM's own");
	vcpu_entry(w->v, query_capabilities);
	vcpu_run_sync(w->v, 1);
	set_smm(w, true);
	vcpu_run_exit(w->v, KVM_EXIT_HYPERV);
	w->v->run->hyperv.u.hcall.result = HV_STATUS_INVALID_HYPERCALL_CODE;
	vcpu_run_done(w->v);
	ASSERT_EQ(*(u64 *)ram(w, PAGE_OUTPUT), 0);
	ASSERT(filled(smram(w, PAGE_OUTPUT), SMRAM_BYTE), "SMRAM was written to");
	world_free(w);
}
