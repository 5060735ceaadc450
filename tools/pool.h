/* pool.h - other programs and the pipes to them: workers that embed, and hooks.

   A worker reads lines and writes lines. Nothing here waits: what is said is kept until
   the pipe takes it, and what comes is kept until a line of it is whole. The end of its
   output and the end of the process are two things, and either may come first: a worker
   is over when both have, or when the process has ended and what it left behind goes on
   holding the pipe, or when it closed its output and does not end. */
#ifndef POOL_H
#define POOL_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define POOL_LINE_MOST ((size_t)64 << 20) /* bytes of a line */

typedef struct pool_buffer { char *p; size_t at, n, cap; } pool_buffer; /* unread: p[at..n) */

typedef struct pool_worker { /* zero it first */
    pid_t       pid;         /* 0: none runs */
    int         in, out;     /* its standard input and output; -1: closed */
    int         finish;      /* close its input once all is said */
    int         gone;        /* the process has ended, and waits for pool_reap */
    int         ended;       /* no more will come */
    int         stuck;       /* it closed its output, and had to be killed */
    int         begun;       /* its first bytes were looked at for a byte order mark */
    uint64_t    since;       /* when it was gone, or its output was closed */
    uint64_t    linger_ms;   /* how long it may live without an output; 0: 10 s */
    size_t      seen;        /* bytes of got that hold no end of a line */
    pool_buffer say, got;
} pool_worker;

/* Starts a command of the shell. 0, or an exit code after the error was reported. */
int  pool_start(pool_worker *w, const char *command);
void pool_say(pool_worker *w, const void *p, size_t n);
size_t pool_unsaid(const pool_worker *w); /* bytes that the pipe has not taken */
void pool_finish(pool_worker *w);   /* no more will be said */
void pool_move(pool_worker *w);     /* says, reads and looks whether it ended */
/* The next line that came, without its end; 0: none is whole; -1: it is longer than
   POOL_LINE_MOST, and there will be no other. The last one after the worker ended needs no
   end, but *whole tells whether it had one. */
int  pool_line(pool_worker *w, const char **line, size_t *n, int *whole);
void pool_kill(pool_worker *w);     /* it and what it started, at once */
/* Waits a second for its end at most, then kills it; its status, 128 + n for signal n.
   What it left behind is killed in any case. */
int  pool_reap(pool_worker *w);
void pool_free(pool_worker *w);     /* kills it if it runs */

enum { POOL_LATE = -1, POOL_STOPPED = -2 };
/* Runs a program with text on standard input and its output going to standard error; its
   status, 128 + n for signal n. When ms are over, or a wish to stop comes, it is killed with
   all that it started. */
int  pool_run(const char *path, const char *text, size_t n, uint64_t ms);

#endif /* POOL_H */
