/* SPDX-License-Identifier: GPL-2.0-only */
/* PID 1 of the host of make run: what its files share. */
#ifndef RUN_HOST_H
#define RUN_HOST_H

#include <stdint.h>

#define ROWS "/sys/kernel/debug/kvm-hyperv/rows"

/* init.c */
uint64_t now_ms(void);
void say(const char *word, const char *fmt, ...);
void say_file(const char *word, const char *path);
void fail(const char *fmt, ...);
void insert(char *text);

/* guest.c */
struct qemu {
	int pid, in, out; /* its console */
	char monitor[32];
};

extern struct qemu guest;
extern const char *guest_append; /* what the kernel's command line of a new guest ends with */
void start_guest(void);
void end_guest(void);
int wait_up(uint64_t limit_ms);
void guest_off(void);
/* Migrate the guest to a new QEMU, whose VM is the module's or stock KVM's. */
void move_guest(int nr, int to_module, int with_module);

/* meter.c: is a guest measured? Then it is not looked at before its time is over. */
extern int measured;
void say_marks(const char *phase);
void measure(char *phases, uint64_t limit_ms);

#endif
