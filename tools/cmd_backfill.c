/* cmd_backfill.c - backfill: embeds what is pending with the user's own command.

   One process and one poll(2) loop. What is pending is found page by page in snapshots
   that are let go at once; only ids and revisions are kept. Workers get items in a
   window that follows their speed; what they answer is collected and committed about
   every --chunk-time, together with a record of how far the work is. Nothing else says
   so: what is not committed is still pending, whoever dies when.

   Items that failed are set aside in groups, and asked again, a group at a time and
   alone, when all others are done. A group that kills its worker is halved; an item
   that fails by itself --tries times is waived, if its worker has answered others since. */
#define _DEFAULT_SOURCE /* getloadavg */
#define _DARWIN_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backfill.h"
#include "control.h"
#include "embedder.h"
#include "hook.h"
#include "stop.h"
#include "worker.h"

enum {                       /* bytes */
    BF_HAND = 64 << 20,      /* in the hands of all workers */
    BF_HAND_EACH = 8 << 20,  /* of one of them, unless a single item is larger */
    BF_DONE = 16 << 20       /* answered and not committed */
};

static unsigned long long ull(uint64_t n) { return n; }

/* ---- Tasks ------------------------------------------------------------------------ */

typedef struct task {        /* an item to be embedded */
    struct task *next, *prev;
    uint64_t     id, rev;
    size_t       size;       /* bytes of its payload */
    unsigned     tries;
    unsigned     again;      /* how often it was to be asked again at once */
    uint64_t     proof;      /* good answers that had come when it first failed */
    char        *why;        /* it failed; with waive, for good */
    int          waive;
    vtag_vec    *v;          /* the answer v[n], as in worker_reply */
    size_t       n;
} task;

typedef struct list { task *head, *tail; size_t n, bytes; } list; /* bytes: task_bytes of all */

typedef struct group {       /* tasks that are asked again, alone */
    struct group *next;
    list          tasks;
    uint64_t      due;
} group;

typedef struct seat {        /* of one worker */
    worker      w;
    list        out;         /* asked, and not answered yet */
    int         alone;       /* with a group: gets nothing else */
    int         canary;      /* with an item that was embedded before */
    uint64_t    last;        /* when it last got or gave something */
    uint64_t    finished;    /* when its input was closed; 0: not, or it answered since */
    size_t      window;      /* how many it may have in hand */
} seat;

typedef struct bf_counts { uint64_t filled, vectors, changed, gone, waived, empties; } bf_counts;

typedef struct backfill {
    cli_store   st;
    const char *file, *tag_name, *exec, *embedders, *order;
    const char *pause_file, *panic_file, *postpone_file;
    hook        hook;
    control_file control;
    uint64_t    workers, batch, chunk_ms, tries, backoff_ms, timeout_ms;
    double      rate, max_load;
    int         then_cutover, dry, as_json, ask_empty;

    vtag_info   tag;
    uint32_t    states;      /* pending, in the order asked for */
    seat       *seats;
    list        queue;       /* found, not asked yet */
    group      *groups;
    list        done;        /* answered, or to be waived; not committed */
    uint64_t    done_since;
    vtag_item  *page;
    size_t      page_n;
    uint64_t    cursor, found, sweeps;
    int         swept;       /* this sweep has seen all items */

    uint64_t    hold_until;  /* no worker gets anything before */
    const char *hold;        /* and why */
    unsigned    streak;      /* failures of workers since a vector came */
    unsigned    limited;     /* rate limits since then */
    int         want_canary;
    worker_notes notes;      /* of what workers wrote that is no answer */
    int         prompt;      /* workers answer while their input is open */
    int         eager;       /* they wait for its end: close it as soon as all is said */
    uint64_t    patience_ms; /* before it is closed to see which */
    uint64_t    gap_ms;      /* the longest silence before an answer */
    char        why[256];    /* of the last failure */
    double      tokens;      /* of --rate */
    double      tokens_ms;
    char        pause[256];  /* why it is paused; "" it is not */
    int         resting;     /* paused, or no worker gets anything: time that is no work */
    int         stopped;     /* b->why says by what; told at the end */
    int         broken;      /* the store takes no more */
    int         told;        /* the counts are printed */
    int         ended;       /* how often all was filled */
    uint64_t    pointed;     /* when the burn-down got a point */
    uint64_t    looked, heard; /* when throttles were looked at, the record written */
    int         rc;          /* not 0: stop, it is reported */

    bf_counts   noted;       /* in the history already */
    uint64_t    total, filled, vectors, changed, gone, waived, empties, retries, unanswered;
    uint64_t    proofs, commits, start_ms, started;
    cli_progress progress;
} backfill;

/* What a task keeps in memory, or makes a worker keep. */
static size_t task_bytes(const task *t)
{
    size_t i, n = sizeof *t + (t->v ? t->n * sizeof *t->v : t->size);
    for (i = 0; t->v && i < t->n; i++) n += t->v[i].dim * sizeof(float);
    return n;
}

static void list_put(list *l, task *t)
{
    t->next = NULL;
    t->prev = l->tail;
    if (l->tail) l->tail->next = t;
    else l->head = t;
    l->tail = t;
    l->n++;
    l->bytes += task_bytes(t);
}

/* In front of all others. */
static void list_push(list *l, task *t)
{
    t->prev = NULL;
    t->next = l->head;
    if (l->head) l->head->prev = t;
    else l->tail = t;
    l->head = t;
    l->n++;
    l->bytes += task_bytes(t);
}

static task *list_cut(list *l, task *t)
{
    if (t->prev) t->prev->next = t->next;
    else l->head = t->next;
    if (t->next) t->next->prev = t->prev;
    else l->tail = t->prev;
    l->n--;
    l->bytes -= task_bytes(t);
    return t;
}

static void task_free(task *t)
{
    free(t->why);
    free(t->v);
    free(t);
}

static void list_free(list *l)
{
    while (l->head) task_free(list_cut(l, l->head));
}

/* Sets the first n tasks of a list aside, to be asked again at the time due. */
static void bf_aside(backfill *b, list *from, size_t n, uint64_t due)
{
    group *g = cli_alloc(sizeof *g), **at = &b->groups;
    while (n-- && from->head) list_put(&g->tasks, list_cut(from, from->head));
    g->due = due;
    while (*at && (*at)->due <= due) at = &(*at)->next;
    g->next = *at;
    *at = g;
}

static void bf_done(backfill *b, task *t)
{
    if (!b->done.n) b->done_since = cli_now();
    list_put(&b->done, t);
}

/* Waits of base, 4 base, 16 base and so on, up to 64 s. */
static uint64_t bf_backoff(const backfill *b, unsigned nth)
{
    uint64_t ms = b->backoff_ms;
    while (nth-- > 1 && ms < 64000) ms *= 4;
    return ms < 64000 || ms == b->backoff_ms ? ms : 64000;
}

static void bf_hold(backfill *b, uint64_t ms, const char *why)
{
    uint64_t until = cli_now() + ms;
    if (until <= b->hold_until) return;
    b->hold_until = until;
    b->hold = why;
}

static uint64_t bf_handled(const backfill *b)
{
    return b->filled + b->waived + b->empties + b->changed + b->gone + b->unanswered;
}


static bf_counts bf_counted(const backfill *b)
{
    bf_counts c;
    c.filled = b->filled;
    c.vectors = b->vectors;
    c.changed = b->changed;
    c.gone = b->gone;
    c.waived = b->waived;
    c.empties = b->empties;
    return c;
}

static void bf_uncount(backfill *b, const bf_counts *c)
{
    b->filled = c->filled;
    b->vectors = c->vectors;
    b->changed = c->changed;
    b->gone = c->gone;
    b->waived = c->waived;
    b->empties = c->empties;
}

/* ---- Hooks --------------------------------------------------------------------------- */

/* Of what is committed, and of the batch that is open. */
static void bf_record_now(backfill *b, bf_record *r, const char *state, const char *reason)
{
    memset(r, 0, sizeof *r);
    b->progress.done = bf_handled(b);
    snprintf(r->state, sizeof r->state, "%s", state);
    cli_line(r->reason, sizeof r->reason, reason, strlen(reason));
    r->done = bf_handled(b);
    r->total = b->total > r->done ? b->total : r->done;
    r->quarantined = b->waived;
    r->rate = cli_progress_rate(&b->progress);
    r->eta_ms = cli_progress_left(&b->progress);
    r->pid = (uint64_t)getpid();
    r->started = b->started;
    r->updated = cli_clock();
}

/* 1 if there is a hook for the event, and c->o is open for more of it. */
static int bf_hook_start(backfill *b, hook_call *c, const char *event, const char *state,
                         const char *reason)
{
    bf_record r;
    if (!hook_start(c, &b->hook, event, b->file, b->tag.spec.name)) return 0;
    bf_record_now(b, &r, state, reason);
    bf_record_json(&c->o, &r);
    return 1;
}

static void bf_hook_tell(backfill *b, hook_call *c)
{
    cli_progress_end(&b->progress);
    cli_progress_rest(&b->progress);
    hook_tell(c);
    cli_progress_work(&b->progress);
}

static void bf_hook(backfill *b, const char *event, const char *state, const char *reason)
{
    hook_call c;
    if (bf_hook_start(b, &c, event, state, reason)) bf_hook_tell(b, &c);
}

/* What has to be said of an item that was given up, when that is durable. */
static void bf_quarantined(backfill *b, const task *t)
{
    hook_call c;
    vtag_item item = {0};
    cli_progress_end(&b->progress);
    cli_warn("item %llu is quarantined: %s; vtag quarantine ls %s --tag %s", ull(t->id), t->why,
             b->file, b->tag.spec.name);
    if (!bf_hook_start(b, &c, "quarantine", "running", t->why)) return;
    out_id(&c.o, "id", t->id);
    if (!cli_snap(&b->st) && !vtag_get(b->st.snap, t->id, &item) && item.key) {
        out_str(&c.o, "key", item.key);
    }
    vtag_release(b->st.snap);
    b->st.snap = NULL;
    bf_hook_tell(b, &c);
}

/* ---- Committing ---------------------------------------------------------------------- */

static void bf_failed(backfill *b, task *t, const char *why);

static int bf_is_empty(const task *t)
{
    return t->waive && !strcmp(t->why, "empty");
}

/* 1 if the task goes with this commit and is to be kept until then. */
static int bf_applied(backfill *b, task *t, vtag_err err)
{
    switch (err) {
    case VTAG_OK:
        if (bf_is_empty(t)) b->empties++;
        else if (t->waive) b->waived++;
        else b->filled++, b->vectors += t->n;
        return 1;
    case VTAG_CHANGED: b->changed++; return 1;
    case VTAG_NOTFOUND: b->gone++; return 1;
    case VTAG_VALUE:
        free(t->v);
        t->v = NULL;
        bf_failed(b, t, vtag_strerror(err));
        return 0;
    default:
        b->rc = cli_error(err, "%s: item %llu", b->file, ull(t->id));
        return 1;
    }
}

static int bf_apply(backfill *b, task *t)
{
    vtag_item item = {0};
    item.id = t->id;
    item.rev = t->rev;
    return bf_applied(b, t, t->waive ? vtag_waive(b->st.batch, &item, b->tag.tag, t->why)
                                     : vtag_fill(b->st.batch, &item, t->v, t->n));
}

/* Ends the work; what is in hand is tidied up, and then it is told. */
static void bf_stop_asked(backfill *b)
{
    const char *why = stop_why();
    if (!why || b->rc) return;
    snprintf(b->why, sizeof b->why, "%s", why);
    b->stopped = 1;
    b->rc = CLI_FAILED;
}

/* Gets the writer lock, however long others hold it; to tidy up, one second. */
static int bf_begin(backfill *b)
{
    vtag_err err;
    cli_progress_rest(&b->progress);
    err = cli_lock(&b->st, b->total, 1000);
    if (err == VTAG_LOCKED && !cli_stopped()) {
        cli_progress_end(&b->progress);
        cli_warn("%s: another writer is at work; waiting for it", b->file);
        err = cli_lock(&b->st, b->total, UINT64_MAX);
    }
    cli_progress_work(&b->progress);
    if (err == VTAG_LOCKED && cli_stopped()) {
        bf_stop_asked(b);
        return CLI_FAILED;
    }
    return err ? cli_error(err, "%s", b->file) : 0;
}

/* What the burn-down shows: a point every half minute, and one at the end. */
static vtag_err bf_point(backfill *b, int last)
{
    vtag_cover c;
    vtag_err err;
    if (!last && b->pointed && cli_now() - b->pointed < 30000) return VTAG_OK;
    b->pointed = cli_now();
    b->rc = cli_snap(&b->st);
    if (b->rc) return VTAG_OK;
    err = vtag_coverage(b->st.snap, b->tag.tag, 0, &c);
    if (!err) err = bf_points_add(&b->st, &b->tag, cli_clock(), &c);
    vtag_release(b->st.snap);
    b->st.snap = NULL;
    return err;
}

/* Says what is to be said of tasks whose commit is over, and lets them go. */
static void bf_settle(backfill *b, list *l, int good)
{
    while (l->head) {
        task *t = list_cut(l, l->head);
        if (good && t->waive && !bf_is_empty(t)) bf_quarantined(b, t);
        task_free(t);
    }
}

/* The line of history: who ran which worker, and what came of it since the line before. */
static vtag_err bf_event(backfill *b, const char *state, const char *reason)
{
    bf_counts now = bf_counted(b), *was = &b->noted;
    char text[400], command[1024];
    vtag_event e = {0};
    e.kind = VTAG_K_BACKFILL;
    e.tag = b->tag.tag;
    e.command = cli_line(command, sizeof command, b->exec, strlen(b->exec));
    e.filled = now.filled - was->filled;
    e.waived = now.waived + now.empties - was->waived - was->empties;
    e.failed_items = now.changed + now.gone - was->changed - was->gone + b->unanswered;
    e.in = e.filled + e.waived + e.failed_items;
    if (!strcmp(state, "stopped")) {
        snprintf(text, sizeof text, "stopped: %.300s", reason);
        e.text = text;
    }
    *was = now;
    return e.in || e.text ? cmd_event_run(&b->st, &e) : VTAG_OK;
}

/* Applies what there is, for about --chunk-time, and writes the record; the batch is open. */
static void bf_fill_batch(backfill *b, list *doing, list *applied, const char *state,
                          const char *reason)
{
    uint64_t until = cli_now() + b->chunk_ms;
    int last = !strcmp(state, "done") || !strcmp(state, "stopped");
    bf_record r;
    vtag_err err;
    while (!b->rc && doing->head) {
        task *t = list_cut(doing, doing->head);
        if (bf_apply(b, t)) list_put(applied, t);
        if (cli_now() >= until) break;
    }
    bf_record_now(b, &r, state, reason);
    err = bf_record_set(&b->st, &b->tag, &r);
    if (!err && !b->rc) err = bf_point(b, last);
    if (!err && !b->rc && last && !doing->head) err = bf_event(b, state, reason);
    if (err && !b->rc) b->rc = cli_error(err, "%s: metadata", b->file);
}

/* Commits what is done with the record of the state. What counts is what is durable. */
static void bf_commit(backfill *b, const char *state, const char *reason)
{
    list doing, applied = {0};
    bf_counts was = bf_counted(b);
    int rc = bf_begin(b);
    if (rc) {
        b->broken = !b->stopped;
        b->rc = rc;
        return;
    }
    doing = b->done;
    memset(&b->done, 0, sizeof b->done);
    bf_fill_batch(b, &doing, &applied, state, reason);
    while (doing.head) bf_done(b, list_cut(&doing, doing.head));
    if (b->rc) cli_abort(&b->st);
    else b->rc = cli_commit(&b->st);
    rc = b->rc;
    if (rc) bf_uncount(b, &was);
    if (rc) b->broken = 1;
    b->commits += !rc;
    b->heard = cli_now();
    cli_progress_at(&b->progress, bf_handled(b));
    bf_settle(b, &applied, !rc);
}

/* The same until nothing is left to commit; 0 if all of it is in. */
static int bf_commit_all(backfill *b, const char *state, const char *reason)
{
    int had = b->rc, rc;
    b->rc = 0;
    do bf_commit(b, state, reason);
    while (!b->rc && b->done.n);
    rc = b->rc;
    if (had) b->rc = had;
    return rc;
}

static const char *bf_reason(const backfill *b, char *buf, size_t size)
{
    char rate[CLI_TEXT];
    if (b->pause[0]) return b->pause;
    if (b->rate <= 0) return "";
    snprintf(buf, size, "--rate %s", cli_rate(rate, b->rate));
    return buf;
}

/* Commits what there is, with the state as it is now. */
static void bf_tell(backfill *b)
{
    char buf[64];
    bf_commit(b, b->pause[0] ? "paused" : "running", bf_reason(b, buf, sizeof buf));
}

/* ---- Failures -------------------------------------------------------------------------- */

static void bf_fatal(backfill *b, const char *what)
{
    if (b->rc) return;
    cli_progress_end(&b->progress);
    b->rc = cli_fail("%s: %s: %s; run '%s' by hand on what vtag pending prints", b->file, what,
                     b->why[0] ? b->why : "no answer", b->exec);
}

static void bf_why(backfill *b, task *t, const char *why)
{
    cli_line(b->why, sizeof b->why, why, strlen(why));
    free(t->why);
    t->why = cli_strdup(b->why);
}

/* An item that failed by itself: asked again later, and at last waived. */
static void bf_failed(backfill *b, task *t, const char *why)
{
    list one = {NULL, NULL, 0, 0};
    if (!t->tries++) t->proof = b->proofs;
    bf_why(b, t, why);
    b->retries++;
    if (t->tries >= b->tries && b->proofs > t->proof) {
        char text[400];
        snprintf(text, sizeof text, "backfill: %s", t->why);
        free(t->why);
        t->why = cli_strdup(text);
        t->waive = 1;
        bf_done(b, t);
        return;
    }
    if (t->tries >= b->tries) b->want_canary = 1; /* is it this item, or everything? */
    list_put(&one, t);
    bf_aside(b, &one, 1, t->tries >= b->tries ? 0 : cli_now() + bf_backoff(b, t->tries));
}

/* An item that its worker says nothing of, and ends well: after --tries it stays pending. */
static void bf_unanswered(backfill *b, task *t)
{
    list one = {NULL, NULL, 0, 0};
    b->retries++;
    if (++t->tries >= b->tries) {
        b->unanswered++;
        task_free(t);
        return;
    }
    list_put(&one, t);
    bf_aside(b, &one, 1, cli_now() + bf_backoff(b, t->tries));
}

/* Takes what a worker had in hand back, which counts as no try. */
static void bf_back(backfill *b, seat *s)
{
    if (s->alone) bf_aside(b, &s->out, s->out.n, 0);
    while (s->out.tail) list_push(&b->queue, list_cut(&s->out, s->out.tail));
}

/* A worker that failed: halves what it had in hand, until one item is left. */
static void bf_crashed(backfill *b, seat *s, int status, const char *why)
{
    b->streak++;
    snprintf(b->why, sizeof b->why, "the worker %s", why);
    if ((status == 126 || status == 127 || (!status && s->w.unasked)) && !b->proofs) {
        bf_fatal(b, status ? "the command cannot be run" : "nothing that was asked for is answered");
        return;
    }
    if (s->out.n == 1 && !status) {
        bf_unanswered(b, list_cut(&s->out, s->out.head));
    } else if (s->out.n == 1) {
        char text[sizeof b->why];
        memcpy(text, b->why, sizeof text);
        bf_failed(b, list_cut(&s->out, s->out.head), text);
    } else {
        b->retries += s->out.n;
        bf_aside(b, &s->out, s->out.n / 2, 0);
        bf_aside(b, &s->out, s->out.n, 0);
    }
    if (b->streak > 1) bf_hold(b, bf_backoff(b, b->streak - 1), "backoff");
    if (b->streak >= b->tries * b->workers) b->want_canary = 1;
}

/* A rate limit; seconds below 0: of unknown length. */
static void bf_limited(backfill *b, double seconds)
{
    uint64_t ms = seconds < 3600 ? (uint64_t)(seconds > 0 ? seconds * 1000 : 0) : 3600000;
    if (seconds < 0) {
        if (b->hold_until <= cli_now()) b->limited++; /* else it is the same limit */
        ms = bf_backoff(b, b->limited);
    }
    bf_hold(b, ms, "rate limit of the embedder");
}

/* ---- Answers --------------------------------------------------------------------------- */

/* Gives a task the vectors of an answer; NULL, or what is wrong with them. */
static const char *bf_vectors(backfill *b, task *t, worker_reply *r)
{
    size_t i, dim = b->tag.spec.dim;
    for (i = 0; i < r->n; i++) {
        if (r->v[i].dim != dim) {
            snprintf(b->why, sizeof b->why, "the worker's vectors have %u numbers, tag %.80s has dim "
                     "%zu", r->v[i].dim, b->tag.spec.name, dim);
            if (!b->proofs) bf_fatal(b, "another model?");
            return b->why;
        }
        r->v[i].tag = b->tag.tag;
    }
    free(t->v);
    t->v = r->v;
    t->n = r->n;
    r->v = NULL;
    return NULL;
}

static void bf_taken(backfill *b, seat *s, task *t)
{
    b->streak = b->limited = 0;
    b->proofs++;
    if (!s->canary) {
        bf_done(b, t);
        return;
    }
    b->want_canary = s->canary = 0;
    task_free(t);
}

static void bf_answer(backfill *b, seat *s, worker_reply *r)
{
    task *t = r->owner;
    const char *bad;
    if (t) list_cut(&s->out, t);
    if (r->kind == WORKER_RETRY) {
        list one = {NULL, NULL, 0, 0};
        if (!t || r->wait != 0 || ++t->again > b->tries) bf_limited(b, r->wait == 0 ? -1 : r->wait);
        if (t && !s->alone) list_push(&b->queue, t);
        else if (t) list_put(&one, t);
        if (one.n) bf_aside(b, &one, 1, 0);
        return;
    }
    bad = r->kind == WORKER_ERROR ? r->error : bf_vectors(b, t, r);
    if (!bad) {
        bf_taken(b, s, t);
    } else if (s->canary) {
        bf_why(b, t, bad);
        task_free(t);
        bf_fatal(b, "the worker fails even where it did not before, nothing is quarantined");
    } else {
        bf_failed(b, t, bad);
    }
}

/* Learns from an answer whether workers wait for the end of their input. */
static void bf_learn(backfill *b, seat *s)
{
    uint64_t now = cli_now();
    if (now - s->last > b->gap_ms) b->gap_ms = now - s->last;
    s->last = now;
    if (!s->w.p.finish) b->prompt = 1;
    if (!s->finished) return;
    if (!b->prompt && s->last - s->finished < 500) b->eager = 1;
    else b->patience_ms *= 2;
    s->finished = 0;
}

static void bf_listen(backfill *b, seat *s)
{
    worker_reply r;
    while (!b->rc && worker_next(&s->w, &r)) {
        if (r.kind != WORKER_RETRY) bf_learn(b, s);
        bf_answer(b, s, &r);
        worker_reply_free(&r);
    }
    if (b->notes.told == b->notes.n) return;
    cli_progress_end(&b->progress);
    worker_warn(&b->notes);
}

static void bf_ended(backfill *b, seat *s)
{
    char why[sizeof b->why - 12]; /* and "the worker " */
    int status = worker_end(&s->w, why, sizeof why);
    if (b->rc) return;
    if (s->canary) {
        snprintf(b->why, sizeof b->why, "the worker %s", why);
        bf_fatal(b, "the worker fails even where it did not before, nothing is quarantined");
    } else if (s->out.n && status == 75) {
        bf_limited(b, -1);
        bf_back(b, s);
    } else if (s->out.n && status == 0 && s->w.answered) { /* it may end after any number of answers */
        bf_back(b, s);
    } else if (s->out.n) {
        bf_crashed(b, s, status, why);
    }
    s->alone = 0;
    s->finished = 0;
}

/* ---- Asking ------------------------------------------------------------------------------ */

static void bf_empty(backfill *b, task *t)
{
    t->why = cli_strdup("empty");
    t->waive = 1;
    bf_done(b, t);
}

/* Finds more that is pending. */
static void bf_refill(backfill *b)
{
    size_t n, i;
    vtag_err err;
    if (b->swept || b->queue.n) return;
    b->rc = cli_snap(&b->st);
    if (b->rc) return;
    err = vtag_items(b->st.snap, b->tag.tag, b->states, &b->cursor, b->page, b->page_n, &n);
    if (err) b->rc = cli_error(err, "%s", b->file);
    if (err || !n) {
        b->swept = 1;
        return;
    }
    b->found += n;
    for (i = 0; i < n; i++) {
        task *t = cli_alloc(sizeof *t);
        t->id = b->page[i].id;
        t->rev = b->page[i].rev;
        t->size = b->page[i].size;
        if (b->page[i].size || b->ask_empty) list_put(&b->queue, t);
        else bf_empty(b, t);
    }
}

/* Asks a worker for one item; 0 if that is not as it was found any more. */
static int bf_ask_one(backfill *b, seat *s, task *t)
{
    vtag_item item = {0};
    worker_item ask = {0};
    vtag_err err = vtag_get(b->st.snap, t->id, &item);
    if (err == VTAG_NOTFOUND || (!err && item.rev != t->rev)) return 0;
    ask.id = t->id;
    ask.rev = t->rev;
    ask.key = item.key;
    ask.data = item.data;
    ask.n = t->size = item.size;
    if (err) b->rc = cli_error(err, "%s: item %llu", b->file, ull(t->id));
    else b->rc = worker_ask(&s->w, &ask, t);
    list_put(&s->out, t);
    return 1;
}

/* Asks a worker for the first n tasks of a list, or as many as one may have in hand. */
static void bf_ask(backfill *b, seat *s, list *from, size_t n)
{
    size_t most = BF_HAND / (size_t)b->workers;
    if (most > BF_HAND_EACH) most = BF_HAND_EACH;
    while (!b->rc && n-- && from->head) {
        task *t = from->head;
        if (s->out.n && s->out.bytes + task_bytes(t) > most) break;
        if (bf_ask_one(b, s, list_cut(from, t))) continue;
        b->changed++; /* the next sweep finds it, if it is still there */
        task_free(t);
    }
    if (!b->rc && s->w.p.pid) worker_move(&s->w);
    s->last = cli_now();
}

/* Asks for an item that was embedded before, to see whether the worker works at all. */
static void bf_canary(backfill *b, seat *s)
{
    vtag_item items[64];
    uint64_t cursor = 0;
    size_t n = 0, i = 0;
    vtag_err err = VTAG_OK;
    list one = {NULL, NULL, 0, 0};
    task *t;
    if (b->done.n) bf_tell(b);
    if (!b->rc) b->rc = cli_snap(&b->st);
    if (b->rc) return;
    err = vtag_items(b->st.snap, b->tag.tag, VTAG_FRESH, &cursor, items, 64, &n);
    while (!err && i < n && !items[i].size) i++;
    if (err || i >= n) {
        bf_fatal(b, "the worker fails on everything it is asked, nothing is quarantined");
        return;
    }
    t = cli_alloc(sizeof *t);
    t->id = items[i].id;
    t->rev = items[i].rev;
    list_put(&one, t);
    s->canary = s->alone = 1;
    bf_ask(b, s, &one, 1);
    list_free(&one);
}

static int bf_group(backfill *b, seat *s)
{
    group *g = b->groups;
    if (!g || g->due > cli_now()) return 0;
    b->groups = g->next;
    s->alone = 1;
    bf_ask(b, s, &g->tasks, g->tasks.n);
    if (g->tasks.n) bf_aside(b, &g->tasks, g->tasks.n, 0);
    free(g);
    return 1;
}

/* How many items --rate allows now. */
static size_t bf_allowed(backfill *b, size_t n)
{
    double now = cli_ms(), most = b->rate > 1 ? b->rate / 4 + 1 : 1;
    if (b->rate <= 0) return n;
    b->tokens += (now - b->tokens_ms) * b->rate / 1000;
    b->tokens_ms = now;
    if (b->tokens > most) b->tokens = most;
    if ((double)n > b->tokens) n = (size_t)b->tokens;
    b->tokens -= (double)n;
    return n;
}

/* Gives one worker what it may have. */
static void bf_feed_seat(backfill *b, seat *s)
{
    size_t n;
    if (!worker_listens(&s->w) || (s->alone && s->out.n)) return;
    if (!s->out.n) s->alone = 0;
    if (s->canary || (b->want_canary && s->out.n)) return;
    if (b->want_canary) {
        size_t i;
        for (i = 0; i < b->workers; i++) if (b->seats[i].canary) return;
        bf_canary(b, s);
        return;
    }
    bf_refill(b);
    if (b->rc || (!b->queue.n && (s->out.n || bf_group(b, s)))) return;
    if (s->out.n > s->window / 2 && !b->eager) return;
    n = s->window > s->out.n ? s->window - s->out.n : 0;
    n = bf_allowed(b, n < b->queue.n ? n : b->queue.n);
    if (n) bf_ask(b, s, &b->queue, n);
}

static void bf_feed(backfill *b)
{
    size_t i;
    if (b->pause[0] || b->hold_until > cli_now()) return;
    b->rc = cli_snap(&b->st);
    for (i = 0; i < b->workers && !b->rc; i++) bf_feed_seat(b, &b->seats[i]);
    vtag_release(b->st.snap);
    b->st.snap = NULL;
}

/* ---- Throttles ------------------------------------------------------------------------------ */

/* Why nothing should be asked now, "" if it may; what stays the same of it is its kind. */
static int bf_pause_of(const backfill *b, char *why, size_t size)
{
    uint64_t now = cli_now();
    double load;
    why[0] = '\0';
    if (stop_flag(b->pause_file)) {
        snprintf(why, size, "pause file %s is there", b->pause_file);
        return 1;
    }
    if (b->control.now.pause) {
        snprintf(why, size, "control file %s says pause", b->control.path);
        return 4;
    }
    if (b->max_load > 0 && getloadavg(&load, 1) == 1 && load > b->max_load) {
        snprintf(why, size, "load %.2f is over --max-load %.2f", load, b->max_load);
        return 2;
    }
    if (b->hold_until > now + 500) {
        char span[CLI_TEXT];
        snprintf(why, size, "%s, for %s", b->hold, cli_span(span, b->hold_until - now));
        return 3;
    }
    return 0;
}

static void bf_take_control(backfill *b)
{
    const control *c = &b->control.now;
    b->rate = c->rate;
    b->max_load = c->max_load;
    b->batch = c->batch;
    b->chunk_ms = c->chunk_ms;
}

static void bf_rest(backfill *b)
{
    int rests = b->pause[0] || b->hold_until > cli_now();
    if (rests == b->resting) return;
    b->resting = rests;
    if (rests) cli_progress_rest(&b->progress);
    else cli_progress_work(&b->progress);
}

static void bf_throttle(backfill *b)
{
    char why[256];
    int was = b->pause[0] != '\0', is;
    uint64_t now = cli_now();
    bf_rest(b);
    if (now - b->looked < 50) return;
    b->looked = now;
    bf_stop_asked(b);
    if (b->rc) return;
    if (control_look(&b->control, b->file)) bf_take_control(b);
    is = bf_pause_of(b, why, sizeof why);
    if (!is != !was) {
        snprintf(b->pause, sizeof b->pause, "%s", why);
        bf_rest(b);
        cli_progress_end(&b->progress);
        if (is) cli_warn("%s: paused: %s", b->file, why);
        else cli_warn("%s: going on", b->file);
        bf_tell(b);
        bf_hook(b, is ? "pause" : "resume", is ? "paused" : "running", why);
    } else if (is) {
        snprintf(b->pause, sizeof b->pause, "%s", why);
    }
    if (cli_now() - b->heard >= 30000) bf_tell(b);
}

/* ---- The loop ---------------------------------------------------------------------------------- */

/* Nothing is left to ask or to hear. */
static int bf_quiet(const backfill *b)
{
    size_t i;
    if (b->queue.n || !b->swept || b->groups) return 0;
    for (i = 0; i < b->workers; i++) if (b->seats[i].out.n) return 0;
    return 1;
}

/* Nor to commit: what the engine refuses then is asked for again. */
static int bf_idle(const backfill *b) { return !b->done.n && bf_quiet(b); }

static int bf_commit_due(const backfill *b)
{
    return b->done.n && (b->done.n >= b->batch || b->done.bytes >= BF_DONE || bf_quiet(b) ||
                         cli_now() - b->done_since >= b->chunk_ms);
}

static uint64_t bf_sooner(uint64_t ms, uint64_t now, uint64_t due)
{
    uint64_t in = due > now ? due - now : 1;
    return in < ms ? in : ms;
}

static int bf_wait_ms(const backfill *b)
{
    uint64_t now = cli_now(), ms = 100;
    if (bf_commit_due(b)) return 0;
    if (b->hold_until > now) ms = bf_sooner(ms, now, b->hold_until);
    else if (b->groups && b->groups->due > now) ms = bf_sooner(ms, now, b->groups->due);
    else if (b->rate > 0 && b->queue.n) ms = b->rate > 100 ? 10 : ms;
    if (b->done.n) ms = bf_sooner(ms, now, b->done_since + b->chunk_ms);
    return (int)ms;
}

/* Waits for the workers' pipes, and moves what they take and give. */
static void bf_poll(backfill *b, struct pollfd *p)
{
    nfds_t n = 0;
    size_t i;
    int ms = bf_wait_ms(b);
    for (i = 0; i < b->workers; i++) {
        n += (nfds_t)worker_poll(&b->seats[i].w, p + n);
        if (ms > 2 && worker_ending(&b->seats[i].w)) ms = 2;
    }
    poll(p, n, ms);
    for (i = 0; i < b->workers && !b->rc; i++) {
        seat *s = &b->seats[i];
        if (!s->w.p.pid) continue;
        worker_move(&s->w);
        bf_listen(b, s);
        if (worker_over(&s->w)) bf_ended(b, s);
    }
}

/* A silent worker may wait for more lines, or for the end of them. */
static void bf_watch(backfill *b, seat *s)
{
    uint64_t silent = cli_now() - s->last, most = b->timeout_ms / 4;
    uint64_t patience = b->prompt ? 4 * b->gap_ms : b->patience_ms;
    int more = !s->alone && !b->pause[0] && (b->queue.n || !b->swept);
    if (!s->w.p.pid || !s->out.n || (silent < 1000 && silent < most && !b->eager)) return;
    if (more && s->window < b->batch) {
        s->window = b->eager || s->window * 2 > b->batch ? (size_t)b->batch : s->window * 2;
    } else if (!s->w.p.finish &&
               (!more || b->eager || silent >= (patience < most ? patience : most))) {
        worker_finish(&s->w); /* it may give its answers at the end of its input */
        s->finished = cli_now();
    }
}

/* A worker should have as much in hand as it does in twice --chunk-time. */
static void bf_windows(backfill *b, uint64_t filled, uint64_t ms)
{
    size_t i, want;
    if (!ms || b->eager) return;
    want = (size_t)((double)filled * 2 * (double)b->chunk_ms / (double)ms / (double)b->workers);
    for (i = 0; i < b->workers; i++) {
        size_t *w = &b->seats[i].window, most = *w * 2;
        if (want < 16) *w = 16;
        else *w = want < most ? want : most;
        if (*w > b->batch) *w = b->batch;
    }
}

/* Embeds all that is pending; what comes meanwhile may be left. */
static void bf_sweep(backfill *b, struct pollfd *p)
{
    uint64_t since = cli_now(), done = 0;
    size_t i;
    b->swept = 0;
    b->cursor = b->found = 0;
    b->sweeps++;
    while (!b->rc && !bf_idle(b)) {
        bf_throttle(b);
        if (!b->rc) bf_feed(b);
        if (b->rc || bf_idle(b)) break;
        bf_poll(b, p);
        for (i = 0; i < b->workers && !b->rc; i++) bf_watch(b, &b->seats[i]);
        if (!b->rc && bf_commit_due(b)) {
            bf_tell(b);
            bf_windows(b, b->filled - done, cli_now() - since);
            since = cli_now();
            done = b->filled;
        }
        cli_progress_at(&b->progress, bf_handled(b));
    }
}

/* Counts what is pending now. */
static uint64_t bf_count(backfill *b)
{
    vtag_cover c;
    vtag_err err;
    memset(&c, 0, sizeof c);
    b->rc = cli_snap(&b->st);
    if (b->rc) return 0;
    err = vtag_coverage(b->st.snap, b->tag.tag, 0, &c);
    vtag_release(b->st.snap);
    b->st.snap = NULL;
    if (err) b->rc = cli_error(err, "%s", b->file);
    return c.stale + c.missing + c.outside;
}

/* Sweeps until one finds nothing; the application may add to the work all the time. */
static void bf_sweep_all(backfill *b, struct pollfd *p)
{
    enum { MOST = 50 };
    int i;
    for (i = 0; i < MOST && !b->rc; i++) {
        uint64_t pending = bf_count(b);
        b->progress.total = b->total = bf_handled(b) + pending;
        if (b->rc || !pending || (i && b->unanswered)) return;
        bf_sweep(b, p);
    }
}

/* Fills what comes in for as long as a file keeps the cutover back. */
static void bf_postponed(backfill *b, struct pollfd *p)
{
    char why[256];
    int told = 0;
    while (!b->rc && stop_flag(b->postpone_file)) {
        uint64_t until = cli_now() + 500;
        if (!told++) {
            snprintf(why, sizeof why, "cutover postponed by %s", b->postpone_file);
            cli_progress_end(&b->progress);
            cli_warn("%s: %s; filling what comes in until it is gone", b->file, why);
            bf_commit(b, "running", why);
            if (!b->rc) bf_hook(b, "postpone", "running", why);
        }
        cli_progress_rest(&b->progress);
        while (!b->rc && cli_now() < until && stop_flag(b->postpone_file)) {
            if (stop_nap(50)) bf_stop_asked(b);
        }
        cli_progress_work(&b->progress);
        bf_sweep_all(b, p);
    }
}

/* ---- The command ----------------------------------------------------------------------------------- */

static void bf_report_json(const backfill *b)
{
    out o;
    out_start(&o, stdout);
    out_str(&o, "tag", b->tag.spec.name);
    out_u64(&o, "filled", b->filled);
    out_u64(&o, "vectors", b->vectors);
    out_u64(&o, "changed", b->changed);
    out_u64(&o, "notfound", b->gone);
    out_u64(&o, "quarantined", b->waived);
    out_u64(&o, "empty", b->empties);
    out_u64(&o, "unanswered", b->unanswered);
    out_u64(&o, "unasked", b->notes.unasked);
    out_u64(&o, "repeated", b->notes.repeated);
    out_u64(&o, "retries", b->retries);
    out_u64(&o, "commits", b->commits);
    out_u64(&o, "ms", cli_now() - b->start_ms);
    out_close(&o, '}');
}

/* The counts, once. */
static void bf_report(void *ctx)
{
    char n[CLI_TEXT], v[CLI_TEXT], t[CLI_TEXT];
    backfill *b = ctx;
    if (b->told++) return;
    if (b->as_json) {
        bf_report_json(b);
        return;
    }
    printf("filled %s items (%s vectors) under %s in %s", cli_count(n, b->filled),
           cli_count(v, b->vectors), b->tag.spec.name, cli_span(t, cli_now() - b->start_ms));
    if (b->changed) printf("; %s changed meanwhile", cli_count(n, b->changed));
    if (b->gone) printf("; %s deleted meanwhile", cli_count(n, b->gone));
    if (b->waived) printf("; %s quarantined", cli_count(n, b->waived));
    if (b->empties) printf("; %s empty, waived", cli_count(n, b->empties));
    if (b->retries) printf("; %s retries", cli_count(n, b->retries));
    if (b->unanswered) printf("; %s not answered", cli_count(n, b->unanswered));
    if (b->notes.unasked) printf("; %s answers to what was not asked", cli_count(n, b->notes.unasked));
    putchar('\n');
}

static int bf_prepare(backfill *b)
{
    bf_record r;
    bf_plan plan = {0};
    int rc = cli_change(&b->st, b->file);
    if (!rc) rc = cli_tag(&b->st, b->tag_name, &b->tag);
    if (rc) return rc;
    b->tag.spec.name = cli_strdup(b->tag.spec.name); /* snapshots come and go */
    if (b->tag.role == VTAG_GONE) {
        return cli_error(VTAG_RETIRED, "%s: tag '%s'", b->file, b->tag.spec.name);
    }
    if (b->dry) rc = embedder_for(b->embedders, b->tag.spec.name, &b->exec);
    else rc = embedder_must(b->embedders, b->tag.spec.name, "--exec", &b->exec);
    if (rc) return rc;
    plan.tag = b->tag.spec.name;
    plan.rate = b->rate;
    plan.workers = b->workers;
    plan.timed = b->dry;
    plan.exec = b->exec;
    plan.timeout_ms = b->timeout_ms;
    rc = bf_plan_make(&b->st, &plan);
    if (!rc && b->dry) return bf_plan_show(&plan, 0, b->as_json);
    if (!rc) rc = bf_plan_room(&b->st, &plan);
    if (bf_record_get(&b->st, &b->tag, &r) && !bf_record_dead(&r) &&
        (!strcmp(r.state, "running") || !strcmp(r.state, "paused")) &&
        cli_clock() < r.updated + 60000) {
        cli_warn("%s: a backfill of %s seems to be at work already, process %llu; both go on, and "
                 "embed some items twice", b->file, b->tag.spec.name, ull(r.pid));
    }
    return rc;
}

/* The last commit of the work, or of a part of it after which the cutover was postponed. */
static void bf_end(backfill *b)
{
    int first = !b->ended++, lost = 0;
    if (b->commits && b->rc && !b->broken) lost = bf_commit_all(b, "stopped", b->why);
    else if (b->commits && !b->rc) bf_commit_all(b, "done", b->unanswered ? b->why : "");
    cli_progress_end(&b->progress);
    if (b->stopped && lost) {
        cli_fail("%s: %s; stopped, and the last %zu answers are not in, as another writer has the "
                 "lock; run it again to go on", b->file, b->why, b->done.n);
    } else if (b->stopped) {
        cli_fail("%s: %s; stopped, what was answered is in, run it again to go on", b->file, b->why);
    }
    if (b->commits && (first || b->rc)) {
        bf_hook(b, b->rc ? "stopped" : "done", b->rc ? "stopped" : "done", b->why);
    }
}

/* The gate and the flip are those of vtag cutover. A file that comes while its guard is asked
   postpones it, and afterwards the guard is asked again. */
static void bf_cutover(backfill *b, struct pollfd *p)
{
    cutover_job job;
    int postponed = 1;
    memset(&job, 0, sizeof job);
    job.file = b->file;
    job.tag = b->tag.spec.name;
    job.hook = &b->hook;
    job.postpone = b->postpone_file;
    job.as_json = b->as_json;
    job.before = bf_report;
    job.ctx = b;
    while (!b->rc && postponed) {
        b->rc = cutover_then(&job, &postponed);
        if (!postponed) return;
        bf_postponed(b, p);
        bf_end(b);
    }
}

static void bf_seat(backfill *b, seat *s)
{
    s->w.command = b->exec;
    s->w.timeout_ms = b->timeout_ms;
    s->w.notes = &b->notes;
    s->window = b->batch < 16 ? (size_t)b->batch : 16;
}

static void bf_work(backfill *b)
{
    struct pollfd *p = cli_alloc((size_t)b->workers * 2 * sizeof *p);
    size_t i;
    b->seats = cli_alloc((size_t)b->workers * sizeof *b->seats);
    for (i = 0; i < b->workers; i++) bf_seat(b, &b->seats[i]);
    b->page_n = b->states > VTAG_ALL ? 65536 : 1024;
    b->page = cli_alloc(b->page_n * sizeof *b->page);
    b->tokens_ms = cli_ms();
    b->patience_ms = 2000;
    b->start_ms = cli_now();
    b->started = cli_clock();
    cli_progress_start(&b->progress, "backfill", "items", 0);
    b->total = bf_count(b);
    if (!b->rc && b->total) bf_tell(b);
    if (!b->rc && b->total) bf_hook(b, "start", "running", "");
    if (!b->rc) bf_sweep_all(b, p);
    bf_postponed(b, p);
    bf_end(b);
    if (b->then_cutover && !b->rc && !b->unanswered) bf_cutover(b, p);
    bf_report(b);
    free(p);
}

static void bf_free(backfill *b)
{
    size_t i;
    for (i = 0; b->seats && i < b->workers; i++) {
        seat *s = &b->seats[i];
        if (!b->rc) worker_close(&s->w); /* it may have to tidy up at the end of its input */
        worker_free(&s->w);
        list_free(&s->out);
    }
    while (b->groups) {
        group *g = b->groups;
        b->groups = g->next;
        list_free(&g->tasks);
        free(g);
    }
    list_free(&b->queue);
    list_free(&b->done);
    free(b->seats);
    free(b->page);
}

static int bf_check(backfill *b)
{
    if (!b->workers || b->workers > 256) return cli_misuse("backfill: --workers is 1 to 256");
    if (!b->batch || !b->tries) return cli_misuse("backfill: --batch and --tries are not 0");
    if (b->rate < 0 || b->max_load < 0) {
        return cli_misuse("backfill: --rate and --max-load are not negative");
    }
    if (b->postpone_file && !b->then_cutover) {
        return cli_misuse("backfill: --postpone-cutover-file goes with --then-cutover");
    }
    b->control.base.rate = b->rate;
    b->control.base.max_load = b->max_load;
    b->control.base.batch = b->batch;
    b->control.base.chunk_ms = b->chunk_ms;
    b->states = VTAG_PENDING;
    if (!strcmp(b->order, "newest")) b->states |= VTAG_NEWEST_FIRST;
    else if (!strcmp(b->order, "oldest")) b->states |= VTAG_OLDEST_FIRST;
    else if (strcmp(b->order, "id")) {
        return cli_misuse("backfill: --order '%s'; there are newest, oldest, id", b->order);
    }
    return 0;
}

static int bf_parse(backfill *b, int argc, char **argv)
{
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &b->file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &b->tag_name, "to be filled", NULL},
        {"--exec", "COMMAND", CLI_STR, &b->exec, "the worker, started in a shell", NULL},
        {"--workers", "N", CLI_U64, &b->workers, "of them at once; 1", NULL},
        {"--batch", "N", CLI_U64, &b->batch, "items in a commit or in a worker's hands; 1,000",
         NULL},
        {"--chunk-time", "DURATION", CLI_SPAN, &b->chunk_ms, "between commits, about; 0.5s", NULL},
        {"--rate", "N", CLI_F64, &b->rate, "items a second at most", NULL},
        {"--max-load", "X", CLI_F64, &b->max_load, "pause while the host's load is over X", NULL},
        {"--pause-file", "PATH", CLI_STR, &b->pause_file, "pause while it is there", NULL},
        {"--panic-file", "PATH", CLI_STR, &b->panic_file, "stop at once when it is there", NULL},
        {"--then-cutover", NULL, CLI_FLAG, &b->then_cutover, "and cut over if the gate passes", NULL},
        {"--postpone-cutover-file", "PATH", CLI_STR, &b->postpone_file, "but not while it is there",
         NULL},
        {"--tries", "N", CLI_U64, &b->tries, "of an item, before it is quarantined; 5", NULL},
        {"--backoff", "DURATION", CLI_SPAN, &b->backoff_ms,
         "before the second; four times that before each next, to 64 s; 1s", NULL},
        EMBEDDER_OPT(b->embedders),
        EMBEDDER_TIMEOUT_OPT(b->timeout_ms),
        {"--order", "O", CLI_STR, &b->order, "newest, oldest, id", NULL},
        {"--ask-empty", NULL, CLI_FLAG, &b->ask_empty, "embed items without payload too", NULL},
        {"--control", "FILE", CLI_STR, &b->control.path,
         "rate, load, chunk time and batch of it while it runs: vtag help control", NULL},
        HOOK_OPTS(b->hook),
        {"--dry-run", NULL, CLI_FLAG, &b->dry, "rows, bytes and time, and nothing else", NULL},
        {"--json", NULL, CLI_FLAG, &b->as_json, "the counts as a JSON object", NULL},
        CLI_END};
    return cli_parse(argc, argv,
        "Embeds what is pending under a tag: the worker gets lines {\"id\",\"rev\",\"data\"} and\n"
        "answers, in any order, {\"id\",\"rev\",\"vector\":[...]} or \"vectors\":[{\"vector\",\"off\",\n"
        "\"len\"}] or \"error\". Exit code 75 or \"retry_after\":SECONDS is a rate limit, and no\n"
        "failure. Killed at any moment, it goes on where the records say when run again.\n"
        "vtag help worker tells all of it.", opts);
}

int cmd_backfill(int argc, char **argv)
{
    backfill b;
    int rc;
    memset(&b, 0, sizeof b);
    b.workers = 1;
    b.batch = 1000;
    b.chunk_ms = 500;
    b.tries = 5;
    b.backoff_ms = 1000;
    b.timeout_ms = 120000;
    b.order = "id";
    b.hook.timeout_ms = HOOK_TIMEOUT;
    rc = bf_parse(&b, argc, argv);
    if (rc >= 0) return rc;
    rc = bf_check(&b);
    if (!rc) rc = hook_check(&b.hook);
    if (!rc) rc = control_start(&b.control);
    if (!rc) bf_take_control(&b);
    if (!rc) rc = bf_prepare(&b);
    vtag_release(b.st.snap);
    b.st.snap = NULL;
    if (!rc && !b.dry) {
        cli_catch();
        stop_panic_file(b.panic_file);
        bf_work(&b);
        rc = b.rc;
        bf_free(&b);
        if (!rc && b.unanswered) {
            rc = cli_fail("%s: %llu items were not answered in %llu tries and stay pending; run "
                          "'%s' by hand on what vtag pending prints", b.file, ull(b.unanswered),
                          ull(b.tries), b.exec);
        }
    }
    cli_close(&b.st);
    control_free(&b.control);
    free((char *)(uintptr_t)b.tag.spec.name);
    return rc;
}
