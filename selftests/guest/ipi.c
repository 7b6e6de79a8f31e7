// SPDX-License-Identifier: GPL-2.0-only
/* See ipi.h. */
#include <string.h>

#include "ipi.h"

volatile u32 ipi_taken[NR_VPS][256];

volatile u64 ipi_taken_at[NR_VPS];

struct order ipi_orders[NR_VPS];

void ipi_take(struct guest_frame *f)
{
	u32 cpu = this_cpu()->id;

	ipi_taken[cpu][f->vector]++;
	ipi_taken_at[cpu] = f->rip;
	apic_eoi();
}

GUEST_CODE_GLOBAL(takes_turns)
{
	struct order *o = &ipi_orders[this_cpu()->id];

	apic_enable();
	GUEST_SYNC(READY);
	for (;;) {
		if (o->apic_off)
			apic_disable();
		if (o->apic_on)
			apic_enable();
		if (o->send)
			o->vector = __hypercall_xmm(o->control, o->in, o->out, &o->xmm, &o->result);
		irqs_window();
		GUEST_SYNC(TAKEN);
	}
}

struct vm *vm_with_indices(const u32 *vp_index)
{
	struct vm *vm = vm_create(NR_VPS, 0);
	u32 i;

	for (i = 0; i < 256; i++)
		guest_irq_handlers[i] = i < 0x20 ? NULL : ipi_take;
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	for (i = 0; i < NR_VPS; i++) {
		if (vp_index)
			vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_VP_INDEX, vp_index[i]);
		vcpu_entry(vm->vcpus[i], takes_turns);
		vcpu_run_sync(vm->vcpus[i], READY);
	}
	return vm;
}

const char *const ipi_form_names[NR_FORMS] = { "slow", "fast", "Ex slow", "Ex XMM" };

static u64 bank_content(const struct row *r, u32 n)
{
	return r->contents[n < ARRAY_SIZE(r->contents) ? n : ARRAY_SIZE(r->contents) - 1];
}

struct order order_of(const struct row *r, enum hc_form form, u32 vector, u64 *page)
{
	struct order o = { .send = true };
	u64 banks = r->banks;
	u32 i, n = 0;

	memset(page, 0xff, PAGE_SIZE);
	memset(&o.xmm, 0xff, sizeof(o.xmm));
	page[0] = vector;
	if (form <= MASK_FAST) {
		o.control = HVCALL_SEND_IPI;
		page[1] = r->contents[0];
	} else {
		o.control = HVCALL_SEND_IPI_EX;
		page[1] = r->format;
		page[2] = banks;
		for (; banks; banks &= banks - 1, n++)
			page[3 + n] = bank_content(r, n);
		o.control |= HV_CTL_VARHDR(n);
	}
	if (form == MASK_SLOW || form == EX_SLOW) {
		o.in = (u64)(uintptr_t)page;
	} else {
		o.control |= HV_CTL_FAST;
		o.in = page[0];
		o.out = page[1];
		if (form == EX_XMM)
			for (i = 0; i < XMM_QWORDS; i++)
				o.xmm.q[i] = page[2 + i];
	}
	return o;
}

u32 taken_by(u32 cpu)
{
	u32 i, sum = 0;

	for (i = 0; i < 256; i++)
		sum += ipi_taken[cpu][i];
	return sum;
}

bool send_once(struct vm *vm, u32 sender, const struct row *r, enum hc_form form, u32 vector,
	       u64 *page)
{
	bool good = true;
	u32 i, want;

	memset((void *)ipi_taken, 0, sizeof(ipi_taken));
	ipi_orders[sender] = order_of(r, form, vector, page);
	vcpu_run_sync(vm->vcpus[sender], TAKEN);
	ASSERT_EQ(ipi_orders[sender].vector, 0);
	ASSERT(ipi_orders[sender].result == 0, "%s, %s: status 0x%llx", r->name,
	       ipi_form_names[form], (unsigned long long)ipi_orders[sender].result);
	ipi_orders[sender].send = false;
	for (i = 0; i < NR_VPS; i++)
		vcpu_run_sync(vm->vcpus[i], TAKEN);
	for (i = 0; i < NR_VPS; i++) {
		want = r->expected >> i & 1;
		if (ipi_taken[i][vector] == want && taken_by(i) == want)
			continue;
		ktap_log("%s, %s, from vCPU %u: vCPU %u took %u of vector 0x%x, %u in all", r->name,
			 ipi_form_names[form], sender, i, ipi_taken[i][vector], vector,
			 taken_by(i));
		good = false;
	}
	return good;
}

void send_rows(struct vm *vm, const struct row *rows, u32 nr)
{
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i, form, vector = 0;

	for (i = 0; i < nr; i++) {
		for (form = 0; form < NR_FORMS; form++) {
			const u32 sender = (i + form) % NR_VPS, v = FIRST + vector++ % NR_VECTORS;

			if (!(rows[i].forms & 1u << form))
				continue;
			if (send_once(vm, sender, &rows[i], form, v, page))
				continue;
			/* The emulator of the AMD hosts delivers one twice now and then. */
			ktap_log("once more");
			ASSERT(send_once(vm, sender, &rows[i], form, v, page), "%s, %s",
			       rows[i].name, ipi_form_names[form]);
		}
	}
}

const u32 spread_indices[NR_VPS] = { 0, 70, 129, 3 };

void each_has(struct vm *vm, const u32 cpus[NR_VPS])
{
	struct row rows[NR_VPS];
	u32 i;

	for (i = 0; i < NR_VPS; i++)
		rows[i] = (struct row){ "one of four", ANY, SPARSE, 1, { BIT64(i) }, CPU(cpus[i]) };
	send_rows(vm, rows, NR_VPS);
}
