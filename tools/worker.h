/* worker.h - the one client of workers: commands of the user that read items as lines of
   JSON and answer with their vectors; vtag help worker has the protocol.

   A `worker` is one process at most and what it has in hand. It never waits: the caller
   asks for items, polls, moves the bytes and takes the answers, until it is over. An answer
   is for an item in hand, by key or by id and revision, or it is for nothing and is noted.
   worker_all does all of that for a fixed list of items.

   Only answers to what was asked keep a worker alive: one that gives none for timeout_ms is
   killed, whatever else it writes. */
#ifndef WORKER_H
#define WORKER_H
#include <poll.h>

#include "cli.h"
#include "json.h"
#include "pool.h"

enum { WORKER_TIMEOUT_MS = 120000, WORKER_NOTES = 3, WORKER_TEXT = 400 };

typedef struct worker_item { /* what is asked for */
    uint64_t    id, rev;
    const char *key;         /* NULL: none; else id is vtag_id(key) */
    const void *data;
    size_t      n;
} worker_item;

/* ---- An answer --------------------------------------------------------------------- */

typedef enum worker_kind { WORKER_VECTORS, WORKER_ERROR, WORKER_RETRY } worker_kind;

typedef struct worker_reply {
    worker_kind kind;
    int         broken;      /* an ERROR that is not the worker's word, but of its answer */
    vtag_vec   *v;           /* VECTORS: v[n], their numbers behind them, of no tag; free(v) */
    size_t      n;
    char       *error;       /* ERROR: one line; free(error) */
    double      wait;        /* RETRY: seconds; below 0: it does not say how long */
    const char *tag;         /* a "tag" beside them; as key */
    const char *key;         /* how it names the item; NULL: it does not; until the next line */
    int         has_id, has_rev;
    uint64_t    id, rev;     /* with a key: the id that follows from it */
    double      number;      /* an id that came as a number beyond JSON_EXACT; else 0 */
    const char *name;        /* an "id" that is a text, and no id; NULL: it is not */
    void       *owner;       /* of worker_ask; NULL: of no item */
    const json_value *top;   /* the whole of it, until the next line */
} worker_reply;

/* What it may have, for members_check: the last two as they were asked. */
enum { WORKER_MEMBERS = 12 };
extern const char *const worker_members[WORKER_MEMBERS];
/* Reads an answer; 0 if the line is no object, and j->error says why it is no JSON. */
int  worker_read(json *j, const char *line, size_t n, worker_reply *r);
void worker_reply_free(worker_reply *r);
/* 1 if a line cannot be meant as an object, such as what a program says of its progress. */
int  worker_is_log(const char *line, size_t n);

/* ---- One worker -------------------------------------------------------------------- */

typedef struct worker_notes { /* of what was no answer; zero it first */
    uint64_t junk;            /* lines */
    uint64_t unasked;         /* answers to what was not asked */
    uint64_t repeated;        /* answers that had come before */
    char     cause[WORKER_TEXT]; /* of the last unasked one that was looked at */
    char     text[WORKER_NOTES][WORKER_TEXT]; /* text[n], the first ones in words */
    size_t   n, told;
} worker_notes;

typedef struct worker_held { uint64_t id, rev; void *owner; int used; } worker_held;

typedef struct worker {      /* zero it, then set the first three */
    const char   *command;
    uint64_t      timeout_ms;
    worker_notes *notes;     /* may be shared */
    pool_worker   p;
    worker_held  *held;      /* in hand: a table of cap places, n used */
    size_t        n, cap;
    uint64_t      asked, answered, unasked; /* of this process */
    uint64_t      since;     /* when it last made progress */
    int           late;      /* killed: it gave no answer in time */
    int           endless;   /* killed: by a line too long */
    uint64_t      recent[64]; /* ids that were answered last */
    json          js;
} worker;

/* 1 if it may be asked: no process runs, or it listens. */
int  worker_listens(const worker *w);
/* Asks for an item, starting the command if no process runs. */
int  worker_ask(worker *w, const worker_item *item, void *owner);
void worker_finish(worker *w);                      /* it will be asked for nothing more */
size_t worker_poll(const worker *w, struct pollfd p[2]); /* what to wait for; how many */
/* 1 if its end is near, of which no descriptor tells: poll for 2 ms then. */
int  worker_ending(const worker *w);
void worker_move(worker *w);                        /* bytes both ways */
/* The next answer; 0: none now. Its owner is no longer in hand. A RETRY may have none. */
int  worker_next(worker *w, worker_reply *r);
/* 1 when the process is over and no answer is left. */
int  worker_over(const worker *w);
/* Ends what is over: its status, and in words why it ended, beginning with a verb. What it
   had in hand is forgotten. */
int  worker_end(worker *w, char *why, size_t size);
/* Lets a worker end well, for a second at most. */
void worker_close(worker *w);
void worker_free(worker *w);
/* Warns of notes that nobody was told of. */
void worker_warn(worker_notes *notes);

/* ---- A list of items ----------------------------------------------------------------- */

typedef struct worker_answer {
    vtag_vec *v;             /* v[n] as in worker_reply; free(v) */
    size_t    n;
    char     *error;         /* NULL: v[n], or nothing came; free(error) */
} worker_answer;

/* Asks for the vectors of n items, with as many processes one after another as it takes.
   Each item gets vectors of any dim, or an error in words. An exit code only when the
   worker as a whole failed, after the report, or when the user stopped it. */
int worker_all(const char *command, uint64_t timeout_ms, const worker_item *items, size_t n,
               worker_answer *answers);
void worker_answers_free(worker_answer *answers, size_t n);

typedef struct worker_job {  /* the same in full */
    const char        *command;
    uint64_t           timeout_ms;
    uint64_t           most_ms;  /* stop without complaint after so long; 0: never */
    int                strict;   /* stop at the first item that gets an error */
    const worker_item *items;
    size_t             n;
    worker_answer     *answers;  /* zeroed */
} worker_job;

int worker_run(const worker_job *job);

/* One vector for each of n texts: x[n], each to be freed, and their lengths dim[n]. */
int worker_texts(const char *command, uint64_t timeout_ms, const cli_text *texts, size_t n,
                 float **x, uint32_t *dim);

#endif /* WORKER_H */
