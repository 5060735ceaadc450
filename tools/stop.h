/* stop.h - whether this command is to end, or to put something off: the one place that
   knows the signals and the flag files.

   cli_catch and cli_stopped (cli.h) belong to it: after cli_catch a signal is a wish, which
   cli_stopped tells, and so does the panic file. Every wait asks it, and whatever changes
   something for good asks it last, between the step and its commit. A wish stays. */
#ifndef STOP_H
#define STOP_H
#include "cli.h"

void stop_panic_file(const char *path); /* stop at once when it is there; NULL: none */
/* Why, "interrupted" or "panic file is there"; NULL: go on. */
const char *stop_why(void);
typedef struct stop_mark { int asked; unsigned signals; } stop_mark;
/* What was asked so far; and whether anything was asked since: what is started after the
   wish, to tidy up, ends with the next signal. */
stop_mark stop_now(void);
int stop_since(const stop_mark *m);
/* Whether a flag file is there: a link that leads nowhere is there too. NULL: no. */
int stop_flag(const char *path);
/* Waits, until the wish comes; 1 if it did. */
int stop_nap(uint64_t ms);
/* 0, or the exit code after one line of error, that this was not done. */
int stop_last(const char *file, const char *what);

#endif /* STOP_H */
