// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs a stream on two VMs, batch by batch, and compares what came of each operation and the state
 * after each batch. Time is not compared but checked: it must go on, in each VM by itself.
 */
#include <string.h>

#include "apic.h"
#include "fuzz.h"

struct run {
	const struct fuzz_stream *s;
	struct fuzz_vm *f[2];
	struct fuzz_shadow sh;
	struct fuzz_out out[2][FUZZ_BATCH];
	struct fuzz_verdict *v;
	u64 last_time[2][2]; /* of each VM, by time_row() */
	bool cut;
	/* The page of the clock was, before the operation; the clock was set since. */
	bool frozen[2], set[2];
};

struct fuzz_lost fuzz_lost;
bool fuzz_tells;

/* Decide about a difference; true when the stream ends here. */
static bool differs(struct run *r, enum fuzz_what what, u32 at, u32 index, u32 offset, u64 a, u64 b)
{
	struct fuzz_difference d = { what, at, index, offset, a, b, NULL };
	struct fuzz_known known = fuzz_known(&r->sh, &r->s->ops[at], &d);

	if (known.id) {
		r->cut |= known.cut;
		return known.cut;
	}
	r->v->differs = true;
	r->v->d = d;
	return true;
}

/* The module beside itself, with calls that stock does not have? */
static bool hidden_calls(const struct run *r)
{
	return r->f[0]->who == FUZZ_MODULE;
}

/* The module must do this, whatever stock does. */
static bool demands(struct run *r, u32 at)
{
	struct fuzz_difference d = { .what = FUZZ_OF_DEMAND, .at = at };

	/* What a hidden call changes the model does not know. */
	if (r->f[1]->who != FUZZ_MODULE || hidden_calls(r) ||
	    fuzz_demands_op(&r->sh, &r->s->ops[at], &d))
		return false;
	r->v->differs = true;
	r->v->d = d;
	return true;
}

static int time_row(u32 msr)
{
	return msr == HV_X64_MSR_TIME_REF_COUNT ? 0 : msr == HV_X64_MSR_VP_RUNTIME ? 1 : -1;
}

/* Has the VM told a time, and nobody else? */
static bool has_time(const struct fuzz_op *o, const struct fuzz_out *out)
{
	return o->kind == FUZZ_GET_MSR ? out->ret == 1 : !out->vector && !out->nr_exits;
}

/* User space sets a time: the clock and the TSC's rate the first one, VP_RUNTIME itself. */
static void note_time(struct run *r, const struct fuzz_op *o, const struct fuzz_out out[2])
{
	u32 side;

	for (side = 0; side < 2; side++) {
		bool frozen = fuzz_tsc_is_frozen_in(&r->sh, side), was = r->frozen[side];
		bool gives_up = !frozen || fuzz_writes(o, HV_X64_MSR_REFERENCE_TSC);

		/* D48: that of the module takes no step for another rate. */
		if (o->kind == FUZZ_CLOCK ||
		    (o->kind == FUZZ_TSC_KHZ && r->f[side]->who == FUZZ_STOCK))
			r->last_time[side][0] = 0;
		/* The guest sets it. */
		if (o->kind == FUZZ_CALL && (o->w[1] & 0xffff) == HVCALL_RESTORE_PARTITION_TIME)
			r->last_time[side][0] = 0;
		/*
		 * KVM scales the whole TSC: it jumps, and the time by a frozen page with it, until
		 * the page is given up.
		 */
		if (r->sh.rate && (frozen || was))
			r->last_time[side][0] = 0;
		/* A frozen page does not follow the clock until then, either. */
		r->set[side] |= o->kind == FUZZ_CLOCK && frozen;
		if (was && gives_up && r->set[side])
			r->last_time[side][0] = 0;
		/* What lies in a page that user space restores is the time, whatever it was. */
		if (frozen && o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_REFERENCE_TSC)
			r->last_time[side][0] = 0;
		r->set[side] &= !gives_up;
		r->frozen[side] = frozen;
		if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_VP_RUNTIME &&
		    out[side].ret == 1)
			r->last_time[side][1] = o->w[1];
	}
}

/* Reads of time, in each VM by itself. */
static bool check_time(struct run *r, u32 at, u32 row, const struct fuzz_out out[2])
{
	u32 side;

	for (side = 0; side < 2; side++) {
		u64 *last = &r->last_time[side][row], now = out[side].result;

		if (!has_time(&r->s->ops[at], &out[side]))
			continue;
		/* The time of stock takes steps when the TSC has another rate (D48). */
		if (!row && (r->sh.steps[side] || (r->sh.rate && r->f[side]->who == FUZZ_STOCK)))
			continue;
		/* A guest that has ended may not have come to this operation. */
		if (!now && r->f[side]->ended)
			continue;
		/*
		 * A frozen page may tell a negative time once KVM has scaled the TSC: take the
		 * first reading as it is.
		 */
		if (!row && !*last && r->sh.rate && r->frozen[side])
			*last = now;
		/* VP_RUNTIME goes on from what user space has set, and from its end at 0. */
		if (((s64)(now - *last) < 0 || (!row && !now && !r->sh.restored_tsc)) &&
		    differs(r, FUZZ_OF_TIME, at, side, 0, *last, now))
			return true;
		*last = now;
	}
	return false;
}

/* What must not be on the module, whether stock is like it or not. */
static bool is_wrong(const struct run *r, const struct fuzz_op *o, const struct fuzz_out *b)
{
	const u64 result = b->result;

	/* Where the filter keeps the guest from writing COUNT, the timer has another one. */
	if (o->kind == FUZZ_TIMER)
		return (result & FUZZ_TIMER_EARLY) && !b->nr_exits;
	if (o->kind == FUZZ_TSC)
		return result == FUZZ_TIME_BACK && !r->sh.steps[1];
	if (o->kind != FUZZ_TIME)
		return false;
	/* The code that lies on the page of the clock is no time. */
	return result == FUZZ_TIME_BACK ||
	       (result == FUZZ_TIME_TWO_CLOCKS && !fuzz_tsc_is_foreign(&r->sh) &&
		!fuzz_is_code(&r->sh, fuzz_shadow_msr(&r->sh, 1, HV_X64_MSR_REFERENCE_TSC)));
}

/* A timer's COUNT, which the guest has from the time, on its way to user space. */
static bool exit_is_time(const struct fuzz_op *o, const struct fuzz_exit *x, u32 field)
{
	return o->kind == FUZZ_TIMER && x->reason == KVM_EXIT_X86_WRMSR && field == 1;
}

static bool compare_exits(struct run *r, u32 at, const struct fuzz_out *a, const struct fuzz_out *b)
{
	u32 i, j;

	if (a->nr_exits != b->nr_exits)
		return differs(r, FUZZ_OF_EXITS, at, ~0u, 0, a->nr_exits, b->nr_exits);
	for (i = 0; i < a->nr_exits && i < FUZZ_EXITS; i++) {
		const struct fuzz_exit *x = &a->exits[i], *y = &b->exits[i];
		u64 p = (u64)x->reason << 32 | x->type, q = (u64)y->reason << 32 | y->type;

		if (p != q && differs(r, FUZZ_OF_EXITS, at, ~0u, i + 1, p, q))
			return true;
		for (j = 0; j < FUZZ_FIELDS; j++)
			if (x->field[j] != y->field[j] && !exit_is_time(&r->s->ops[at], x, j) &&
			    differs(r, FUZZ_OF_EXITS, at, j, i, x->field[j], y->field[j]))
				return true;
	}
	return false;
}

/* Values of which some bits depend on the time. */
static u64 timeless(u32 msr, u32 reg, u64 value)
{
	/*
	 * KVM reads the TPR back from the CPU's CR8, which has no such bits, after an exit for
	 * which it has let the guest write to CR8: that depends on what waits then.
	 */
	if (msr == HV_X64_MSR_TPR || reg == APIC_TPR || reg == APIC_PPR)
		return value & ~0xfULL;
	return value;
}

/* A register of the xAPIC that cannot be read: KVM leaves what it has read for the guest before. */
static bool is_unreadable(const struct fuzz_op *o)
{
	return o->kind == FUZZ_APIC && !o->w[0] && o->w[1] == APIC_EOI;
}

/* Is this word of a page a time? */
static bool is_time(const struct run *r, u32 role, u32 offset, u64 a, u64 b)
{
	/* Delivery of a timer's message; expiration, unless the stream has written it. */
	if ((role & FUZZ_AS_SIMP) &&
	    (offset % 256 == 32 ||
	     (offset % 256 == 24 && (r->sh.timed_messages >> offset / 256 & 1))))
		return true;
	if (!(role & FUZZ_AS_TSC))
		return false;
	/* The sequence: its value is the hypervisor's, but not whether there is one. */
	if (offset == 0)
		return !(u32)a == !(u32)b && a >> 32 == b >> 32;
	return offset == 16;
}

/* A load from such a word, or a message that is taken from where the time is. */
static bool loads_time(const struct run *r, const struct fuzz_op *o, u64 a, u64 b)
{
	u64 at = o->kind == FUZZ_TAKE ? fuzz_shadow_msr(&r->sh, 0, HV_X64_MSR_SIMP) : o->w[0];
	int page = fuzz_page_at(r->f[0], at & ~(PAGE_SIZE - 1));

	if (page < 0)
		return false;
	if (o->kind == FUZZ_TAKE)
		return (r->sh.role[page] & FUZZ_AS_TSC) && !(o->w[0] % HV_SYNIC_SINTS);
	return o->kind == FUZZ_LOAD && is_time(r, r->sh.role[page], at % PAGE_SIZE, a, b);
}

static bool compare_op(struct run *r, u32 at, const struct fuzz_out *a, const struct fuzz_out *b)
{
	const struct fuzz_op *o = &r->s->ops[at];
	u64 fault[2] = { (u64)a->vector << 32 | a->error, (u64)b->vector << 32 | b->error };
	const struct fuzz_out both[2] = { *a, *b };
	u32 msr = 0, reg = 0;
	int row = -1;

	if (o->kind == FUZZ_RDMSR || o->kind == FUZZ_GET_MSR)
		msr = (u32)o->w[0];
	if (o->kind == FUZZ_APIC)
		reg = (u32)o->w[1];
	row = time_row(msr);
	note_time(r, o, both);
	if (fault[0] != fault[1] && differs(r, FUZZ_OF_VECTOR, at, 0, 0, fault[0], fault[1]))
		return true;
	if (a->ret != b->ret && differs(r, FUZZ_OF_RET, at, 0, 0, (u64)a->ret, (u64)b->ret))
		return true;
	if (r->f[1]->who == FUZZ_MODULE && is_wrong(r, o, b) &&
	    differs(r, FUZZ_OF_TIME, at, 1, 0, a->result, b->result))
		return true;
	if (row >= 0 && !fuzz_in_l2(&r->sh, o)) {
		if (check_time(r, at, (u32)row, both))
			return true;
	} else if (a->vector == b->vector) {
		if (timeless(msr, reg, a->result) != timeless(msr, reg, b->result) &&
		    !loads_time(r, o, a->result, b->result) && !is_unreadable(o) &&
		    differs(r, FUZZ_OF_RESULT, at, 0, 0, a->result, b->result))
			return true;
		if (a->result2 != b->result2 &&
		    differs(r, FUZZ_OF_RESULT, at, 1, 0, a->result2, b->result2))
			return true;
	}
	if (compare_exits(r, at, a, b) || demands(r, at))
		return true;
	if (a->irqs != b->irqs || a->vectors != b->vectors)
		return differs(r, FUZZ_OF_IRQS, at, 0, a->irqs != b->irqs, a->vectors, b->vectors);
	return false;
}

u32 fuzz_ppr(const struct fuzz_state *s)
{
	u32 tpr = s->apic[APIC_TPR / 16] & 0xff, vector = 255;

	while (vector && !(s->apic[APIC_ISR / 16 + vector / 32] >> vector % 32 & 1))
		vector--;
	return (tpr & 0xf0) >= (vector & 0xf0) ? tpr : vector & 0xf0;
}

/*
 * KVM computes the PPR when it looks for interrupts, which an exception makes it do, too, and a
 * guest with a TPR shadow writes CR8, and the TPR of an x2APIC, without an exit: until then user
 * space reads an older one.
 */
static bool is_older_ppr(struct run *r)
{
	const struct fuzz_state *a = &r->f[0]->state, *b = &r->f[1]->state;
	const u32 reg = APIC_PPR / 16;

	if (!((b->apic[reg] ^ fuzz_ppr(b)) & 0xf0))
		return true;
	return r->sh.cr8 && !((a->apic[reg] ^ fuzz_ppr(a)) & 0xf0);
}

/* --- state --------------------------------------------------------------- */

static bool compare_registers(struct run *r, u32 at)
{
	const struct fuzz_state *a = &r->f[0]->state, *b = &r->f[1]->state;
	u32 i, n = fuzz_nr_msrs();

	for (i = 0; i < n; i++) {
		u32 msr = fuzz_msr(i);

		if (a->msr_ok[i] != b->msr_ok[i] &&
		    differs(r, FUZZ_OF_MSR, at, i, 1, a->msr_ok[i], b->msr_ok[i]))
			return true;
		if (time_row(msr) < 0 &&
		    timeless(msr, 0, a->msr[i]) != timeless(msr, 0, b->msr[i]) &&
		    differs(r, FUZZ_OF_MSR, at, i, 0, a->msr[i], b->msr[i]))
			return true;
	}
	for (i = 0; i < FUZZ_APIC_WORDS; i++) {
		/* The current count of the APIC's timer. */
		if (i == 0x39)
			continue;
		if (timeless(0, 16 * i, a->apic[i]) != timeless(0, 16 * i, b->apic[i]) &&
		    !(16 * i == APIC_PPR && is_older_ppr(r)) &&
		    differs(r, FUZZ_OF_APIC, at, 16 * i, 0, a->apic[i], b->apic[i]))
			return true;
	}
	for (i = 0; i < FUZZ_EVENTS; i++)
		if (a->events[i] != b->events[i] &&
		    differs(r, FUZZ_OF_EVENTS, at, i, 0, a->events[i], b->events[i]))
			return true;
	for (i = 0; i < FUZZ_NESTED_WORDS; i++)
		if (a->nested[i] != b->nested[i] &&
		    differs(r, FUZZ_OF_NESTED, at, i, 0, a->nested[i], b->nested[i]))
			return true;
	return false;
}

static bool compare_pages(struct run *r, u32 at)
{
	u32 page, i;

	for (page = 0; page < FUZZ_PAGES; page++) {
		const u64 *a = (u64 *)(r->f[0]->pages + page * PAGE_SIZE);
		const u64 *b = (u64 *)(r->f[1]->pages + page * PAGE_SIZE);

		if (!memcmp(a, b, PAGE_SIZE))
			continue;
		for (i = 0; i < PAGE_SIZE / 8; i++) {
			if (a[i] == b[i] || is_time(r, r->sh.role[page], 8 * i, a[i], b[i]))
				continue;
			if (differs(r, FUZZ_OF_PAGE, at, page, 8 * i, a[i], b[i]))
				return true;
		}
	}
	return false;
}

static bool look(struct run *r, u32 at)
{
	struct fuzz_difference d = { .what = FUZZ_OF_DEMAND, .at = at };

	if (r->f[0]->ended != r->f[1]->ended)
		return differs(r, FUZZ_OF_END, at, 0, 0, r->f[0]->ended, r->f[1]->ended);
	if (r->f[0]->ended) {
		ktap_log("seed %llu: the guests of both end, within operation %u or before",
			 (unsigned long long)r->s->seed, at);
		fuzz_tell_end(r->f[1]);
		fuzz_lost.ended++;
		return true;
	}
	fuzz_look(r->f[0]);
	fuzz_look(r->f[1]);
	if (r->f[1]->who == FUZZ_MODULE && !fuzz_demands_state(&r->sh, &d)) {
		r->v->differs = true;
		r->v->d = d;
		return true;
	}
	fuzz_shadow_look(&r->sh);
	return compare_registers(r, at) || compare_pages(r, at);
}

/* --- streams ------------------------------------------------------------- */

static u32 batch(const struct fuzz_stream *s, u32 i)
{
	u32 n = 0;

	if (fuzz_is_host(s->ops[i].kind))
		return 1;
	while (i + n < s->nr && n < FUZZ_BATCH && !fuzz_is_host(s->ops[i + n].kind))
		n++;
	return n;
}

static void run_batch(struct run *r, u32 from, u32 n)
{
	const struct fuzz_op *ops = r->s->ops + from;
	u32 side;

	for (side = 0; side < 2; side++) {
		if (fuzz_is_host(ops->kind))
			fuzz_run_host(r->f[side], ops, r->out[side]);
		else
			fuzz_run_guest(r->f[side], ops, n, r->out[side]);
	}
}

/* What came of an operation on each side. */
static void tell(u32 at, const struct fuzz_op *o, const struct fuzz_out *a,
		 const struct fuzz_out *b)
{
	ktap_log("%u %s: result %#llx %#llx, vector %u %u, ioctl %lld %lld, exits %u %u, irq %u %u",
		 at, fuzz_kind_name(o->kind), (unsigned long long)a->result,
		 (unsigned long long)b->result, a->vector, b->vector, (long long)a->ret,
		 (long long)b->ret, a->nr_exits, b->nr_exits, a->irqs, b->irqs);
	if (a->irqs || b->irqs)
		ktap_log("  interrupts, the last eight: %#llx %#llx",
			 (unsigned long long)a->vectors, (unsigned long long)b->vectors);
}

/* The last exit of L2 to L1 on each side, which L1 itself has noted. */
static void tell_nested(const struct run *r)
{
	u32 side;

	for (side = 0; side < 2; side++) {
		const struct nested *n = r->f[side]->nested;

		if (n)
			ktap_log("  VM %u: exit %u of L2: kind %u, failure %u, reason %#llx, %#llx",
				 side, n->exits, n->exit, n->failure, (unsigned long long)n->reason,
				 (unsigned long long)n->info);
	}
}

static bool compare_batch(struct run *r, u32 from, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		if (fuzz_tells)
			tell(from + i, &r->s->ops[from + i], &r->out[0][i], &r->out[1][i]);
	}
	if (fuzz_tells)
		tell_nested(r);
	for (i = 0; i < n; i++) {
		const struct fuzz_out both[2] = { r->out[0][i], r->out[1][i] };

		fuzz_shadow_op(&r->sh, &r->s->ops[from + i], both);
		fuzz_cover(&r->s->ops[from + i], &r->out[1][i],
			   fuzz_in_l2(&r->sh, &r->s->ops[from + i]));
		if (compare_op(r, from + i, &r->out[0][i], &r->out[1][i]))
			return true;
		r->v->done++;
	}
	return look(r, from + n - 1);
}

void fuzz_run(const struct fuzz_stream *s, const enum fuzz_who who[2], struct fuzz_verdict *v)
{
	static struct run r;
	u32 i, n;

	memset(&r, 0, sizeof(r));
	memset(v, 0, sizeof(*v));
	r.s = s;
	r.v = v;
	r.f[0] = fuzz_vm_create(who[0], 0, &s->setup);
	r.f[1] = fuzz_vm_create(who[1], 1, &s->setup);
	r.sh.s = s;
	r.sh.f[0] = r.f[0];
	r.sh.f[1] = r.f[1];
	fuzz_shadow_begin(&r.sh);
	fuzz_look(r.f[0]);
	fuzz_look(r.f[1]);
	fuzz_shadow_look(&r.sh);
	for (i = 0; i < s->nr; i += n) {
		n = batch(s, i);
		run_batch(&r, i, n);
		if (compare_batch(&r, i, n))
			break;
	}
	fuzz_lost.cut += r.cut;
	fuzz_lost.ops += s->nr - v->done;
	fuzz_vm_free(r.f[0]);
	fuzz_vm_free(r.f[1]);
}

void fuzz_describe(char *buf, size_t size, const struct fuzz_difference *d)
{
	static const char *const what[] = {
		[FUZZ_OF_VECTOR] = "exception (vector, code)",
		[FUZZ_OF_RESULT] = "result",
		[FUZZ_OF_RET] = "what the ioctl returned",
		[FUZZ_OF_EXITS] = "exits to user space",
		[FUZZ_OF_IRQS] = "interrupts taken (the last eight vectors)",
		[FUZZ_OF_MSR] = "register",
		[FUZZ_OF_APIC] = "APIC register",
		[FUZZ_OF_EVENTS] = "signals of eventfd (from 4: resamplefd)",
		[FUZZ_OF_NESTED] = "exits of L2 to L1 (number, kind, failure, reason, information)",
		[FUZZ_OF_PAGE] = "page",
		[FUZZ_OF_TIME] = "time that is wrong, in VM",
		[FUZZ_OF_END] = "guest that ends",
		[FUZZ_OF_DEMAND] = "the module does not do what it must, whatever stock does:",
	};
	u32 index = d->what == FUZZ_OF_MSR ? fuzz_msr(d->index) : d->index;

	snprintf(buf, size, "%s %s%s%#x+%#x: %#llx and %#llx", what[d->what], d->id ? d->id : "",
		 d->id ? " " : "", index, d->offset, (unsigned long long)d->a,
		 (unsigned long long)d->b);
}
