/* dash.h - the dashboard's numbers: read once from one snapshot into one struct, which
   the terminal, --json, --prometheus and the page of report show, so that they agree.

   Beside what the engine counts it reads these metadata, all optional:
       backfill:TAG  {"state","reason","done","total","quarantined","rate","pid","updated"}
       progress:TAG  [[time, fresh, stale, missing, waived], ...], ms, oldest first
       plan:TAG      {"target"}, ms: the date the launch was promised for
       embedder:TAG  {"time","answers","cosine"}: the probe texts embedded again
   and two kinds of events: a NOTE of the name "rehearsal", a flip and flip back on a copy,
   whose values are their ms; and of a SHADOW its text
       {"overlap_histogram":[11 counts],"empty","latency_ms":{...},
        "worst":[{"query","text","overlap"}]}. */
#ifndef DASH_H
#define DASH_H
#include "cmd.h"

enum { DASH_POINTS = 400, DASH_WORST = 8, DASH_LATENCIES = 6, DASH_LAST = 8 };

typedef struct dash_point {  /* how complete a tag was at a time */
    uint64_t time, fresh, stale, missing, waived;
} dash_point;

typedef struct dash_backfill {
    int      known, running;
    int      silent;         /* says it runs, but has not moved for long, or is not there */
    char     state[32], reason[160];
    uint64_t done, total, quarantined, pid, updated; /* Unix ms */
    double   rate;           /* items a second */
    uint64_t finish;         /* forecast, Unix ms; 0: none */
} dash_backfill;

typedef struct dash_shadow {
    const vtag_event *event; /* NULL: none yet */
    int      has_histogram, has_empty, nworst, nlatency;
    uint64_t histogram[11], empty;
    struct { char query[100], text[100]; double overlap; } worst[DASH_WORST];
    struct { char name[24]; double ms; } latency[DASH_LATENCIES];
} dash_shadow;

typedef struct dash_reason { char *why; uint64_t items; } dash_reason;

typedef struct dash_tag {
    vtag_info     info;
    vtag_cover    cover;     /* against the active tag; zero for a retired one */
    uint64_t      covered, coverable; /* (fresh + waived) of the active tag's items; of the active
                                tag itself of all items */
    vtag_verdict  verdict;   /* of a candidate */
    int           judged;
    const vtag_event **scores; /* the newest of each name, newest first */
    size_t        nscores;
    dash_point   *points;    /* by time; the last one is the newest commit's */
    size_t        npoints;
    dash_backfill backfill;
    dash_shadow   shadow;
    dash_reason  *reasons;   /* of its waivers, the most frequent first */
    size_t        nreasons;
    uint64_t      other_reasons; /* items waived for yet other reasons */
    uint64_t      target;    /* the planned launch, Unix ms; 0: none */
    int           has_embedder, embedder_answers;
    uint64_t      embedder_time;
    double        cosine;
    int           has_left;  /* retention is running or over */
    uint64_t      left_ms;   /* of it */
} dash_tag;

typedef struct dash {        /* zero it first */
    cli_store     st;
    vtag_stat     stat;
    vtag_policy   policy;
    dash_tag     *tags;
    size_t        n;
    vtag_event   *events;
    size_t        nevents;
    vtag_cover    hidden;    /* by a rollback to the standby */
    uint64_t      unfound;   /* live items without a vector under the active tag */
    const vtag_event *rehearsal; /* the newest; NULL: none */
    uint64_t      now;
} dash;

int  dash_read(dash *d);     /* from a new snapshot of d->st */
void dash_free(dash *d);     /* all but d->st */
const dash_tag *dash_find(const dash *d, vtag_tag tag); /* NULL for 0 */
uint64_t dash_pending(const dash_tag *t);
/* 1: mean overlap < 0.1, or more than 1 % of the answers empty. */
int  dash_shadow_alarm(const dash_shadow *s);
/* The score that stands beside a tag: the policy's, else the newest; NULL if it has none. */
const vtag_event *dash_score(const dash *d, const dash_tag *t);
int  dash_naive(const dash *d, const dash_tag *t, uint64_t *part, uint64_t *of);
size_t dash_first_event(const dash *d); /* of the last DASH_LAST */
/* The one JSON object of status --json. */
void dash_json(const dash *d, FILE *f);
/* The same numbers in the text format of Prometheus. */
void dash_prometheus(const dash *d, FILE *f);

#endif /* DASH_H */
