/* cmd.h - what several commands share: items named by id or key, vectors and payloads
   given as options, the gate's options and its verdict, and objects of --json. */
#ifndef CMD_H
#define CMD_H
#include "cli.h"

/* ---- Objects of --json ------------------------------------------------------- */

typedef struct out { FILE *f; uint32_t depth, comma; } out; /* comma: a bit per depth */

void out_start(out *o, FILE *f);
void out_open(out *o, const char *name, char bracket); /* '{' or '['; name NULL: none */
void out_close(out *o, char bracket);  /* '}' or ']'; the last one ends the line */
void out_u64(out *o, const char *name, uint64_t n);
void out_id(out *o, const char *name, uint64_t id); /* as json_id reads it */
void out_f64(out *o, const char *name, double x);
void out_f32(out *o, const char *name, float x);
void out_bool(out *o, const char *name, int truth);
void out_str(out *o, const char *name, const char *s); /* NULL: null; else as out_data */
void out_time(out *o, const char *name, uint64_t ms);  /* ISO 8601; 0: null */
void out_floats(out *o, const char *name, const float *x, size_t n);
void out_base64(out *o, const char *name, const void *p, size_t n);
/* name, or name_base64 where the bytes are not UTF-8 */
void out_data(out *o, const char *name, const void *p, size_t n);
void out_cover(out *o, const char *name, const vtag_cover *c);

/* ---- Items --------------------------------------------------------------------- */

/* Sets id and key of item from a positional and a --key, of which one is given. */
int item_named(const char *id, const char *key, vtag_item *item);
/* 0 if the text of an option is not given, or has 1 to `most` bytes; else usage. */
int cmd_text(const char *option, const char *s, size_t most);
/* Reads the item that item_named named; refuses one whose key is another. */
int item_get(const cli_store *st, vtag_item *item);
/* Reports why an item could not be had; of an id that is none, whether it is a key. */
int item_error(const cli_store *st, const vtag_item *item, vtag_err err);
/* The item's name for people: its key, or its id, into buf. */
const char *item_name(char *buf, size_t size, const vtag_item *item);
/* Parses [1,2,3] of an option; free(*x). */
int cmd_vector(const char *option, const char *text, float **x, uint32_t *dim);

/* ---- Gate ------------------------------------------------------------------------ */

/* The gate's rows of an option table, into the vtag_gate g. */
#define CMD_GATE_OPTS(g)                                                                    \
    {"--min-coverage", "PERCENT", CLI_PPM, &(g).min_ppm, "must be exceeded; 99.5", NULL},   \
    {"--max-waived", "PERCENT", CLI_PPM, &(g).max_waived_ppm, "0.1; one item may be", NULL},\
    {"--max-age", "DURATION", CLI_SPAN, &(g).max_age_ms,                                    \
     "every pending item is younger; 24h", NULL},                                           \
    {"--score", "NAME", CLI_STR, &(g).score, "a score that counts too", NULL},              \
    {"--min-score", "X", CLI_F64, &(g).min_score, "it reaches X", &(g).has_min},            \
    {"--max-drop", "X", CLI_F64, &(g).max_drop,                                             \
     "and loses at most X against the active tag's", &(g).has_drop},                        \
    {"--min-queries", "N", CLI_LIMIT, &(g).min_queries, "of the score; 75", NULL},         \
    {"--min-audit", "PERCENT", CLI_PPM, &(g).min_audit_ppm,                                 \
     "of the newest audit's vectors agree; not asked for", NULL}
int cmd_gate_check(const vtag_gate *g); /* 0 if its texts are not too long, else usage */
uint32_t cmd_limit(uint32_t n);        /* VTAG_NONE as the 0 that it means */

typedef struct cmd_term {    /* a term of the gate, in words */
    const char *name;
    int         ok;
    char        value[96], want[160], detail[120];
} cmd_term;
#define CMD_TERMS 6
/* The terms that were judged; now is for the age of what is pending. */
size_t cmd_verdict_terms(cmd_term terms[CMD_TERMS], const cli_store *st, vtag_tag tag,
                         const vtag_verdict *v, uint64_t now);
/* Whether a tag has a score of that name. */
int cmd_has_score(const cli_store *st, vtag_tag tag, const char *name);

typedef struct cutover_job { /* a cutover that follows a backfill */
    const char *file, *tag;
    const struct hook *hook; /* checked already */
    const char *postpone;    /* a file; if it is there at the last moment, nothing is done */
    int         as_json;
    void      (*before)(void *ctx); /* called before anything is printed */
    void       *ctx;
} cutover_job;
int cutover_then(const cutover_job *job, int *postponed);
/* Cuts over on a copy, probes it and rolls back; the file itself gets but a note. */
int rehearse(const char *file, const char *tag, const vtag_gate *gate, int as_json, int dry);

void cmd_verdict_print(const cli_store *st, vtag_tag tag, const vtag_verdict *v);
void cmd_verdict_json(out *o, const cli_store *st, vtag_tag tag, const vtag_verdict *v);
void cmd_audit_json(out *o, const char *name, const vtag_audit *a);
void cmd_gate_json(out *o, const char *name, const vtag_gate *g);
/* "coverage, score" of the bits of failed; "-" for none. */
const char *cmd_terms(char *buf, size_t size, uint32_t failed);

/* ---- Events ------------------------------------------------------------------------ */

/* All events, oldest first; free(*events). */
int cmd_events(const cli_store *st, vtag_event **events, size_t *n);
/* What an event speaks of: this snapshot's commit, and its tag's coverage against e->base,
   or the active tag. */
int cmd_event_state(const cli_store *st, vtag_event *e);
/* Adds events to the history in one batch. */
int cmd_event_add(cli_store *st, const vtag_event *e, size_t n);
/* Notes a run of backfill, fill or import in the batch that is open; a file of before version 3
   holds no such line, and gets none. */
vtag_err cmd_event_run(cli_store *st, const vtag_event *e);
/* A row "seq time kind tag what" of a table. */
void cmd_event_row(cli_table *t, const cli_store *st, const vtag_event *e);
/* What happened, in words and without the event's text. */
void cmd_event_what(char *buf, size_t size, const vtag_event *e);
/* Its text, for people: one line. */
const char *cmd_event_text(char *buf, size_t size, const vtag_event *e);
/* The members of an event, into an object that is open. */
void cmd_event_json(out *o, const cli_store *st, const vtag_event *e);
/* What follows from them, for whoever reads: date, coverage, forced, failed terms. */
void cmd_event_facts(out *o, const vtag_event *e);

#endif /* CMD_H */
