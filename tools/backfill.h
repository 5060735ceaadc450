/* backfill.h - what backfill, plan and status share: the record of a backfill that the
   file's metadata keeps, and the estimate of one. */
#ifndef BACKFILL_H
#define BACKFILL_H
#include "cmd.h"

typedef struct bf_record {   /* metadata "backfill:TAG", written with each commit */
    char     state[16];      /* running, paused, done, stopped */
    char     reason[256];    /* of a throttle, a pause or a stop; "" none */
    uint64_t done, total;    /* items of this run */
    uint64_t quarantined;
    double   rate;           /* items a second */
    uint64_t eta_ms;         /* 0: not known */
    uint64_t pid, started, updated; /* Unix ms */
} bf_record;

/* Reads the record of a tag; 0 if there is none. */
int bf_record_get(const cli_store *st, const vtag_info *tag, bf_record *r);
/* Writes it into the batch that is open. */
vtag_err bf_record_set(cli_store *st, const vtag_info *tag, const bf_record *r);
/* The members of a record, into an object that is open. */
void bf_record_json(out *o, const bf_record *r);
/* 1 if a record says that its process is at work, and there is no such process. */
int bf_record_dead(const bf_record *r);
/* Adds a point to the burn-down, metadata "progress:TAG", in the batch that is open. */
vtag_err bf_points_add(cli_store *st, const vtag_info *tag, uint64_t time, const vtag_cover *c);

typedef struct bf_plan {     /* what a backfill would take */
    const char *tag;         /* a name */
    uint32_t    dim;         /* of a tag that is not declared yet; else 0 */
    int         timed;       /* time a sample of items, by this worker or the tag's embedder */
    const char *exec, *embedders;
    uint64_t    timeout_ms;  /* of the worker; 0: 2 min */
    double      rate;        /* items a second; 0: not given */
    uint64_t    workers;
    uint64_t    items, empty, bytes; /* pending; of them without a payload; their payloads */
    double      parts;       /* vectors an item, as the tag or the active one has it */
    uint64_t    vector_bytes, free_bytes;
    const char *rate_from;   /* where the rate is from, for people */
} bf_plan;

/* Counts, and estimates the rate. */
int bf_plan_make(const cli_store *st, bf_plan *p);
/* Prints it; target 0: none. CLI_NO if the forecast misses the target. */
int bf_plan_show(const bf_plan *p, uint64_t target, int as_json);
/* 0 if the file system has room for the vectors; else reports. */
int bf_plan_room(const cli_store *st, const bf_plan *p);

#endif /* BACKFILL_H */
