/* pool.h - other programs and the pipes to them: workers that embed, and hooks.

   A worker reads lines and writes lines. Nothing here waits: what is said is kept until
   the pipe takes it, and what comes is kept until a line of it is whole. */
#ifndef POOL_H
#define POOL_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct pool_buffer { char *p; size_t at, n, cap; } pool_buffer; /* unread: p[at..n) */

typedef struct pool_worker { /* zero it first */
    pid_t       pid;         /* 0: none runs */
    int         in, out;     /* its standard input and output; in -1: closed */
    int         finish;      /* close its input once all is said */
    int         ended;       /* its output has ended */
    pool_buffer say, got;
} pool_worker;

/* Starts a command of the shell. 0, or an exit code after the error was reported. */
int  pool_start(pool_worker *w, const char *command);
void pool_say(pool_worker *w, const void *p, size_t n);
void pool_finish(pool_worker *w);   /* no more will be said */
void pool_write(pool_worker *w);    /* as much as the pipe takes */
void pool_read(pool_worker *w);     /* what is there */
/* The next line that came, without its end; 0: none is whole. The last one after the
   worker ended needs no end, but *whole tells whether it had one. */
int  pool_line(pool_worker *w, const char **line, size_t *n, int *whole);
void pool_kill(pool_worker *w);     /* it and what it started, at once */
/* Waits for a worker whose output has ended; its status, 128 + n for signal n. */
int  pool_reap(pool_worker *w);
void pool_free(pool_worker *w);     /* kills it if it runs */

enum { POOL_LATE = -1, POOL_STOPPED = -2 };
/* Runs a program with text on standard input and its output going to standard error; its
   status, 128 + n for signal n. When ms are over, or a wish to stop comes, it is killed with
   all that it started. */
int  pool_run(const char *path, const char *text, size_t n, uint64_t ms);

#endif /* POOL_H */
