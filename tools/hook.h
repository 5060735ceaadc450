/* hook.h - programs of the user's that are asked before, or told after, a step of a migration.

   They lie in the folder of --hook under the names of the events. A guard, whose name begins
   with pre-, is asked before the step, without the writer's lock; whatever keeps it from
   saying yes is a no. All get one JSON object on standard input; vtag help hooks has its
   members. */
#ifndef HOOK_H
#define HOOK_H
#include "cmd.h"

typedef struct hook {
    const char *dir;         /* NULL: none */
    uint64_t    timeout_ms;
    uint32_t    there;       /* which were there at the start, a bit per event */
} hook;

#define HOOK_TIMEOUT 120000
/* The rows of an option table. */
#define HOOK_OPTS(h)                                                                          \
    {"--hook", "DIR", CLI_STR, &(h).dir, "programs to ask and to tell: vtag help hooks", NULL}, \
    {"--hook-timeout", "DURATION", CLI_SPAN, &(h).timeout_ms, "of each of them; 2m", NULL}

/* 0 if every hook that is there could be run, else usage. */
int hook_check(hook *h);

typedef struct hook_call {   /* one event on its way */
    const hook *h;
    const char *event, *file;
    out         o;           /* the object, open for more members */
    FILE       *f;
    char       *text;
    size_t      n;
} hook_call;

/* 1 if there is one for the event, and c->o is open with what all events have; else 0. */
int hook_start(hook_call *c, const hook *h, const char *event, const char *file, const char *tag);
/* Ends a started call and runs it. Asking: 0 yes, else an exit code after one line that ends with "so". */
int hook_ask(hook_call *c, const char *so);
void hook_tell(hook_call *c);
void hook_drop(hook_call *c);              /* without running it */
int hook_help(void);

#endif /* HOOK_H */
