// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which exits the fast path answers: switched on and off, and every row that claims to be
 * atomic.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fastpath.h"
#include "irqfd.h"
#include "module.h"
#include "synic.h"
#include "tables.h"
#include "tracefs.h"

TEST(registers_are_answered_at_once)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);

	ASSERT(exits_by(ANSWERED, vm->vcpus[0], p) >= READS, "not in the fast path");
	vm_free(vm);
}

TEST(parameter_switches_off_and_on)
{
	struct ops_page *p;
	struct vm *vm = reader(&p);
	struct vcpu *v = vm->vcpus[0];

	if (!module_loaded())
		ktap_skip("the parameter is the module's");
	file_must_write(PARAM, "0");
	ASSERT_EQ(exits_by(ANSWERED, v, p), 0);
	file_must_write(PARAM, "1");
	ASSERT(exits_by(ANSWERED, v, p) >= READS, "still off");
	vm_free(vm);
}

TEST(parameter_takes_booleans_only)
{
	int fd;

	if (!module_loaded())
		ktap_skip("the parameter is the module's");
	fd = open(PARAM, O_WRONLY);
	ASSERT(fd >= 0, "%s: %s", PARAM, strerror(errno));
	ASSERT(write(fd, "maybe", 5) < 0 && errno == EINVAL, "accepted");
	close(fd);
}

/* --- every row that says it is atomic -------------------------------------------- */

#define MAX_ROWS 64

/* A line of debugfs' rows. A hypercall counts as a write. */
struct row {
	bool call, read, write;
	char name[33];
	u32 number;
	u64 fast_reads, fast_writes;
};

/* Columns: name, number, "r", "w", "rw" or "-", then counts, the fast ones last. */
static u32 read_rows(struct row rows[MAX_ROWS])
{
	FILE *f = fopen(MODULE_DEBUGFS "/rows", "r");
	unsigned long long count[4];
	char line[256], atomic[8];
	u32 nr = 0;

	ASSERT(f, "rows: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		struct row *r = &rows[nr];
		int cells;

		ASSERT(nr < MAX_ROWS, "more rows than expected");
		cells = sscanf(line, "%32s 0x%x %7s %llu %llu %llu %llu", r->name, &r->number,
			       atomic, &count[0], &count[1], &count[2], &count[3]);
		if (cells != 7 && cells != 5)
			continue;
		r->call = cells == 5;
		r->fast_reads = r->call ? 0 : count[2];
		r->fast_writes = r->call ? count[1] : count[3];
		r->read = strchr(atomic, 'r');
		r->write = strchr(atomic, 'w');
		nr++;
	}
	fclose(f);
	return nr;
}

/* A value that the register takes at once. */
static u64 write_value(u32 msr)
{
	return msr == HV_X64_MSR_ICR ? ICR_TO(0, VEC) : 0;
}

/*
 * Each call in its fast form, with only the calling VP as a target, so that nothing has to be
 * waited for.
 */
static const struct register_call {
	u64 control;
	u32 nr;
	u64 block[6];
} register_calls[] = {
	{ HVCALL_FLUSH_SPACE, 3, { 0, 0, 1 } },
	{ HVCALL_FLUSH_LIST | HV_CTL_REP(1), 4, { 0, 0, 1, 0x1000 } },
	{ HVCALL_NOTIFY_LONG_SPIN_WAIT, 1, { 0 } },
	{ HVCALL_SEND_IPI, 2, { VEC, 1 } },
	{ HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(1), 5, { 0, 0, 0, 1, 1 } },
	{ HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(1) | HV_CTL_REP(1), 6, { 0, 0, 0, 1, 1, 0x1000 } },
	{ HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), 4, { VEC, 0, 1, 1 } },
	{ HVCALL_SIGNAL_EVENT, 1, { CONN } },
};

/* A row that is not in the list: input of zeros, one element. What it answers is not known. */
static struct guest_op call_of_row(const struct row *r, struct xmm_block *xmm)
{
	static struct table_row rows[MAX_TABLE_ROWS];
	u32 i, nr = table_rows(rows);

	for (i = 0; i < nr && (!rows[i].call || rows[i].number != r->number); i++)
		;
	ASSERT(i < nr, "%s is not in tables", r->name);
	ktap_log("%s: not in the list: taken from the module", r->name);
	memset(xmm, 0, sizeof(*xmm));
	return (struct guest_op){ .op = OP_HYPERCALL_XMM,
				  .arg0 = r->number | HV_CTL_FAST |
					  HV_CTL_REP(table_flag(&rows[i], "rep") ? 1ULL : 0),
				  .xmm = xmm };
}

static struct guest_op register_call(const struct row *r, struct xmm_block *xmm, bool *listed)
{
	const struct register_call *c;

	*listed = true;
	for (c = register_calls; c < register_calls + ARRAY_SIZE(register_calls); c++) {
		if ((c->control & 0xffff) != r->number)
			continue;
		if (c->nr > 2)
			memcpy(xmm->q, &c->block[2], (c->nr - 2) * sizeof(u64));
		return (struct guest_op){ .op = OP_HYPERCALL_XMM,
					  .arg0 = c->control | HV_CTL_FAST,
					  .arg1 = c->block[0],
					  .arg2 = c->block[1],
					  .xmm = xmm };
	}
	*listed = false;
	return call_of_row(r, xmm);
}

static void touch(struct vcpu *v, struct ops_page *p, struct guest_op op, const char *name,
		  bool succeeds)
{
	u32 i;

	for (i = 0; i < TRIES; i++)
		p->ops[i] = op;
	vcpu_ops_run(v, p, TRIES);
	for (i = 0; i < TRIES; i++) {
		ASSERT(!p->ops[i].vector && !p->ops[i].exits, "%s: vector %u, %u exits", name,
		       p->ops[i].vector, p->ops[i].exits);
		if (op.op == OP_HYPERCALL_XMM && succeeds)
			ASSERT(!(p->ops[i].result & 0xffff), "%s: status 0x%llx", name,
			       (unsigned long long)p->ops[i].result);
	}
}

TEST(every_atomic_row_is_answered_at_once)
{
	static struct row rows[MAX_ROWS], after[MAX_ROWS];
	struct kvm_hyperv_eventfd conn = { .conn_id = CONN };
	u32 nr, i, atomic = 0;
	struct ops_page *p;
	struct xmm_block *xmm;
	struct vcpu *v;
	struct vm *vm;
	bool listed;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	vm = synic_vm(1);
	v = vm->vcpus[0];
	conn.fd = (u32)eventfd_new();
	ASSERT(!ioctl(vm->fd, KVM_HYPERV_EVENTFD, &conn), "eventfd: %s", strerror(errno));
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	p = vcpu_ops_init(v, TRIES);
	xmm = vm_alloc(vm, sizeof(*xmm));

	nr = read_rows(rows);
	for (i = 0; i < nr; i++) {
		struct row *r = &rows[i];

		atomic += r->read + r->write;
		if (r->read)
			touch(v, p, OP_RD(r->number), r->name, true);
		if (r->call && r->write) {
			struct guest_op op = register_call(r, xmm, &listed);

			touch(v, p, op, r->name, listed);
		} else if (r->write) {
			touch(v, p, OP_WR(r->number, write_value(r->number)), r->name, true);
		}
	}
	ASSERT(atomic, "debugfs does not tell which rows are atomic");
	ktap_log("%u atomic reads, writes and calls of %u rows", atomic, nr);

	ASSERT_EQ(read_rows(after), nr);
	for (i = 0; i < nr; i++) {
		struct row *r = &rows[i], *a = &after[i];

		ASSERT(!r->read || a->fast_reads > r->fast_reads, "%s: no read was fast", r->name);
		ASSERT(!r->write || a->fast_writes > r->fast_writes, "%s: no %s was fast", r->name,
		       r->call ? "call" : "write");
		/* The fast path uses this flag. */
		ASSERT(r->read || a->fast_reads == r->fast_reads, "%s: a fast read", r->name);
		ASSERT(r->write || a->fast_writes == r->fast_writes, "%s: fast", r->name);
	}
	vm_free(vm);
}
