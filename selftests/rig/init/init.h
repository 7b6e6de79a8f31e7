/* SPDX-License-Identifier: GPL-2.0-only */
/* PID 1 of the emulated hosts: what its files share. */
#ifndef RIG_INIT_H
#define RIG_INIT_H

#include <stdbool.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define LINE_SIZE     4096

/* One line of /etc/steps. */
struct step {
	char **words;	  /* with a NULL at the end */
	const char *text; /* from the third word on, as it stands there */
};

/* init.c */
void phase_lose(void);

/* report.c */
int report_open(void);
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report_end(void);
__attribute__((noreturn)) void power_off(void);
long now_ms(void);
void done(const char *id, const char *outcome, long start);
void done_error(const char *id, long start, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void kmsg_drain(void);
void kmsg_forward(void);
void kmsg_new_step(void);
void kmsg_forget(void);
bool kmsg_complained(void);
bool kmsg_says(const char *text);

/* modules.c */
void step_load(struct step *step);
void step_insmod(struct step *step);
void step_rmmod(struct step *step);
void step_stay(struct step *step);
void step_log(struct step *step);
void step_cycle(struct step *step);
void step_kunit(struct step *step);
void step_kmemleak_clear(struct step *step);
void step_kmemleak_scan(struct step *step);
void step_write(struct step *step);

/* text.c */
void step_text_save(struct step *step);
void step_text_compare(struct step *step);

/* programs.c */
void step_run(struct step *step);
void step_retry(struct step *step);
void step_leave(struct step *step);

#endif
