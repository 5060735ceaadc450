/* cli.h - what all commands of the vtag command line share.

   A command has the form  int cmd_NAME(int argc, char **argv)  with argv[0] its own
   name, and returns an exit code. It describes its options in a table, which parses
   them and prints its help:

       const char *file, *tag = NULL;  int json = 0;
       const cli_opt opts[] = {
           {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
           {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "which tag", NULL},
           {"--json", NULL, CLI_FLAG, &json, "JSON Lines", NULL},
           CLI_END};
       int rc = cli_parse(argc, argv, "counts something", opts);
       if (rc >= 0) return rc;             // --help was answered, or usage was wrong

   Functions of int that do not say otherwise return 0, or the exit code after they
   have reported the error on one line of standard error. */
#ifndef CLI_H
#define CLI_H
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../vtag.h"

#if defined(__GNUC__)
#  define CLI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#  define CLI_PRINTF(f, a)
#endif

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NO = 3 };

/* ---- Options --------------------------------------------------------------- */

typedef enum cli_kind {      /* what .to points at */
    CLI_FLAG,                /* int, set to 1 */
    CLI_STR,                 /* const char * */
    CLI_U64,                 /* uint64_t, a whole number */
    CLI_U32,                 /* uint32_t, a whole number */
    CLI_F64,                 /* double */
    CLI_PPM,                 /* uint32_t ppm from a percentage; 0 becomes VTAG_NONE */
    CLI_SPAN,                /* uint64_t ms from 250ms, 30s, 15m, 24h, 28d; a bare number is
                                seconds; 0 becomes 1 ms, "unlimited" UINT64_MAX */
    CLI_LIMIT,               /* uint32_t, a whole number; 0 becomes VTAG_NONE */
    CLI_LIST,                /* cli_list: may be given again; several options may share one */
    CLI_ARG,                 /* const char *: a positional that must be there */
    CLI_ARG_MAY,             /* const char *: one that may be */
    CLI_ARGS                 /* cli_args: all the other positionals, none to many */
} cli_kind;
#define CLI_MUST 0x100       /* this option must be given */
#define CLI_KIND(k) ((k) & 0xFF)

typedef struct cli_args { char **v; int n; } cli_args;

typedef struct cli_list {    /* in the order given; zero it first, then cli_list_free */
    const char **option, **value; /* option[n], its value[n] */
    size_t n;
} cli_list;

typedef struct cli_opt {
    const char *name;        /* "--long", "-k", or the name of a positional */
    const char *arg;         /* of its value, in the help; NULL for a flag or positional */
    int         kind;        /* cli_kind | CLI_MUST */
    void       *to;          /* keeps its value if the option is not given */
    const char *help;
    int        *given;       /* optional: set to 1 if it was */
} cli_opt;
#define CLI_END {NULL, NULL, 0, NULL, NULL, NULL}

/* Parses argv[1..]; -1: go on; else the exit code. --name value, --name=value, --.
   An option that is given twice is wrong unless it is of a CLI_LIST.
   Every command also takes --help and what cli_globals holds. */
int cli_parse(int argc, char **argv, const char *about, const cli_opt *opts);

typedef struct cli_globals {
    const char *cmd;         /* the running command's name */
    uint32_t    wait_ms;     /* --wait: for another writer, VTAG_NONE: not at all; 10,000 */
    const char *by;          /* --by: who does it; NULL: the system's user */
    const char *isa;         /* --isa: kernels to use; NULL: the best */
    int         quiet;       /* --quiet: no progress */
    int         no_map;      /* --no-map */
    int         force_network; /* --force-network */
} cli_globals;
extern cli_globals cli;

void cli_list_free(cli_list *l);

/* 1 if s is a whole number in range, written to *n. */
int cli_u64(const char *s, uint64_t *n);
/* The same for an id as vtag prints it: 007 is none, but the key of an item. */
int cli_id(const char *s, uint64_t *id);
/* 1 if s is a duration as CLI_SPAN describes it. */
int cli_duration(const char *s, uint64_t *ms);
/* The best match for word among names[n] within two edits, or NULL. */
const char *cli_nearest(const char *word, const char *const *names, size_t n);
/* Edits (insert, delete, replace, swap neighbours) from a to b, or over if more. */
size_t cli_edits(const char *a, const char *b, size_t over);

/* ---- Errors: one line, "vtag: what, where, what to do" ------------------------
   While a batch is open they are kept, and printed when it has ended: the lock does not wait
   for whoever reads standard error. */

int cli_fail(const char *fmt, ...) CLI_PRINTF(1, 2);   /* returns CLI_FAILED */
int cli_misuse(const char *fmt, ...) CLI_PRINTF(1, 2); /* returns CLI_USAGE */
int cli_refuse(const char *fmt, ...) CLI_PRINTF(1, 2); /* returns CLI_NO */
/* Reports an error of the engine: the text of fmt, the error's own or what the log
   callback got, and what to do about it. A path is said once. CLI_NO for GATE and KEPT. */
int cli_error(vtag_err err, const char *fmt, ...) CLI_PRINTF(2, 3);
int cli_nomem(void);
void cli_warn(const char *fmt, ...) CLI_PRINTF(1, 2);
/* The engine's details go to f at once; NULL: into the next error. */
void cli_log_to(FILE *f);
/* 1 if the engine's newest detail came with no error; it is forgotten then, as any other. */
int cli_told(void);

void *cli_alloc(size_t n);                 /* zeroed; ends the program if there is none */
void *cli_grow(void *p, size_t n, size_t size); /* the same, to n elements of size bytes */
char *cli_strdup(const char *s);

/* ---- Stores ---------------------------------------------------------------------- */

typedef struct cli_side {    /* a thread for what a batch can do aside */
    pthread_t thread;
    int       busy;
    void    (*work)(void *);
    void     *arg;
} cli_side;

typedef struct cli_made {    /* a file that this command made */
    char    *path;           /* without links; NULL: none was made */
    uint64_t dev, ino;
} cli_made;

typedef struct cli_store {   /* zero it first; it stays where it is while a batch is open */
    const char *path;
    vtag_db    *db;
    vtag_snap  *snap;        /* of cli_snap */
    vtag_batch *batch;       /* of cli_begin */
    vtag_err    err;         /* why cli_open, cli_snap, cli_begin or cli_commit failed */
    cli_side    side;
    cli_made    made;        /* by cli_open */
    int         held;        /* lines of error wait for the end of its batch */
} cli_store;

/* Who does it, for the history: --by, else the system's user. */
const char *cli_by(void);
int  cli_open(cli_store *st, const char *path, vtag_access access);
/* For those who call vtag_open themselves: what the options say, and its error reported. */
void cli_open_opts(vtag_open_opts *o, vtag_access access);
int  cli_open_error(vtag_err err, const char *path, vtag_access access);
int  cli_snap(cli_store *st);              /* a new snapshot in place of the old one */
int  cli_look(cli_store *st, const char *path);   /* opens read-only, and a snapshot */
int  cli_change(cli_store *st, const char *path); /* opens what exists, and a snapshot */
int  cli_begin(cli_store *st, uint64_t expect_rows); /* waits for --wait */
/* The same for ms, UINT64_MAX: for ever, and without a word: LOCKED also after a wish to stop. */
vtag_err cli_lock(cli_store *st, uint64_t expect_rows, uint64_t ms);
/* Of a batch that was begun in another way. */
void cli_hold(cli_store *st);
int  cli_commit(cli_store *st);
int  cli_seal(cli_store *st);              /* what a big change leaves to do; warns if it cannot */
void cli_abort(cli_store *st);
void cli_close(cli_store *st);             /* drops batch, snapshot and handle */
/* Closes it, and removes the file if cli_open made it and commit is still its newest: 0 of a
   file that nobody committed to. It stays where another has the lock. 1: it is gone. */
int  cli_discard(cli_store *st, uint64_t commit);
/* The same of a file that was made in another way, noted just after. */
void cli_made_note(cli_made *m, const char *path);
int  cli_made_discard(cli_made *m, uint64_t commit);

/* Finds a tag in the snapshot: its name, a unique beginning of it, :active, :standby. */
int cli_tag(const cli_store *st, const char *name, vtag_info *info);
/* 0, or usage if the tag was given as a role: which model made a raw vector no role says. */
int cli_tag_raw(const char *given, const vtag_info *info, const char *what);
/* The name of a tag, "-" for 0; lives as long as the snapshot. */
const char *cli_tag_name(const cli_store *st, vtag_tag tag);
/* All tags in order of declaration; free(*tags). */
int cli_tags(const cli_store *st, vtag_info **tags, size_t *n);
/* 0 if name is legal; else reports, proposing the legal spelling. */
int cli_check_name(const char *name);
/* 0 unless name is within two edits of another; then reports, asking for --force. */
int cli_check_near(const cli_store *st, const char *name);
/* 1 if a word of name looks like one of the tags' mistyped: which, and like what. */
int cli_near(const vtag_info *tags, size_t n, const char *name, char word[260], char twin[260]);
/* Parses "cosine", "dot", "l2"; "f32", "f16", "i8". */
int cli_metric(const char *s, vtag_metric *metric);
int cli_codec(const char *s, vtag_codec *codec);
const char *cli_metric_name(vtag_metric metric);
const char *cli_codec_name(vtag_codec codec);
const char *cli_role_name(vtag_role role);
const char *cli_kind_name(vtag_kind kind);
const char *cli_state_name(uint32_t state);
int cli_role_of(const char *s);            /* -1: no such name */
int cli_kind_of(const char *s);

typedef struct cli_text { const char *s; size_t n; } cli_text;
/* Asks a worker for the one vector of a text; see worker.h. free(*x). */
int cli_embed(const char *command, const char *text, size_t size, float **x, uint32_t *dim);

/* ---- Progress ----------------------------------------------------------------------- */

typedef struct cli_progress {
    const char *what;        /* "import", "verify" */
    const char *unit;        /* "rows"; "bytes" prints sizes */
    uint64_t    done, total; /* total 0: not known */
    uint64_t    start_ms, last_ms;
    uint64_t    rest_ms, rest_since; /* what was no work */
    int         rests, tty, shown;
} cli_progress;

void cli_progress_start(cli_progress *p, const char *what, const char *unit, uint64_t total);
void cli_progress_at(cli_progress *p, uint64_t done);
void cli_progress_end(cli_progress *p);    /* clears the line */
/* Between them, which may nest, nothing is worked on: rates and what is left are of the rest. */
void cli_progress_rest(cli_progress *p);
void cli_progress_work(cli_progress *p);
uint64_t cli_progress_ms(const cli_progress *p);   /* at work */
double   cli_progress_rate(const cli_progress *p); /* units a second of work */
uint64_t cli_progress_left(const cli_progress *p); /* ms; 0: below 1 %, where it would be a guess */
int cli_plain_terminal(void);              /* TERM says that it knows no control codes */
/* A vtag_progress, ctx a cli_progress that was started; cancels after cli_catch. */
int cli_progress_call(void *ctx, uint64_t done, uint64_t total);
/* From here on SIGINT, SIGTERM and SIGHUP only set cli_stopped(), for a clean end; stop.h
   has the rest. */
void cli_catch(void);
int  cli_stopped(void);
uint64_t cli_now(void);                    /* monotonic, ms */
uint64_t cli_clock(void);                  /* Unix ms */
double cli_ms(void);                       /* monotonic, ms with their fraction */

/* ---- Output ---------------------------------------------------------------------------- */

#define CLI_TEXT 48          /* room for one of the texts below */
const char *cli_bytes(char buf[CLI_TEXT], uint64_t bytes);  /* 1.5 MiB */
const char *cli_count(char buf[CLI_TEXT], uint64_t n);      /* 12,345 */
const char *cli_rate(char buf[CLI_TEXT], double rate);      /* 12,345 or 12.3 or 0.123 */
const char *cli_time(char buf[CLI_TEXT], uint64_t ms);      /* ISO 8601, UTC; "-" for 0 */
const char *cli_span(char buf[CLI_TEXT], uint64_t ms);      /* 3 h 20 min */
const char *cli_percent(char buf[CLI_TEXT], uint64_t part, uint64_t of); /* 99.52 %, rounded down */
/* The first line of bytes, control characters and broken UTF-8 replaced, cut to width. */
const char *cli_line(char *buf, size_t size, const void *data, size_t n);

typedef struct cli_table { char **rows; size_t n, cap; } cli_table; /* zero it first */
void cli_row(cli_table *t, const char *fmt, ...) CLI_PRINTF(2, 3);  /* cells end at \t */
/* Prints and frees it; align holds 'l' or 'r' for each column. The first row heads it. */
void cli_table_print(cli_table *t, const char *align);

/* ---- Commands -------------------------------------------------------------------------------- */

#define CLI_COMMANDS(X)                                                              \
    X(declare, "declare a tag; creates the file if there is none")                   \
    X(import, "take in items and vectors from a file")                               \
    X(search, "find the nearest items to a vector or a text")                        \
    X(get, "show one item, its payload and its vectors")                             \
    X(put, "write one item")                                                         \
    X(del, "delete items")                                                           \
    X(items, "list items and their state under a tag")                               \
    X(tags, "list tags")                                                             \
    X(status, "the dashboard: verdict, completeness, rollback, retention")           \
    X(report, "the dashboard as one page of HTML")                                   \
    X(pending, "list what still has to be embedded, as JSON Lines")                  \
    X(fill, "take the vectors of pending items back in")                             \
    X(backfill, "embed what is pending with your own command")                       \
    X(plan, "what a backfill would take: rows, bytes, time")                         \
    X(quarantine, "list, retry or lift what cannot be embedded")                     \
    X(waive, "record why an item cannot be embedded, or lift that")                  \
    X(gate, "judge whether a tag may become active")                                 \
    X(policy, "show or set the thresholds kept in the file")                         \
    X(cutover, "make a tag active if its gate passes")                               \
    X(rollback, "make the tag before it active again, at once")                      \
    X(retire, "take a tag out of service")                                           \
    X(compact, "rewrite the file without what is deleted, replaced or retired")      \
    X(copy, "write a backup")                                                        \
    X(eval, "measure a tag by judged queries, or list its scores")                       \
    X(shadow, "compare the answers of two tags to the same queries")                     \
    X(doctor, "look for what is wrong with the vectors, and say what to do")             \
    X(stamp, "adopt vectors that carry no tag, flagged as assumed")                      \
    X(audit, "embed a sample again: is the tag what its name says?")                 \
    X(alias, "give a tag its true name beside its own")                              \
    X(history, "the audit trail")                                                    \
    X(note, "add a note or a score to the history")                                  \
    X(meta, "list, show or set metadata of the file")                                \
    X(verify, "check every byte of the file")                                        \
    X(salvage, "write what is whole of a damaged file to a new one")                 \
    X(dump, "write everything as JSON Lines")                                        \
    X(restore, "make a new file from a dump")                                        \
    X(embed, "the built-in toy embedder, as a worker")                               \
    X(cut, "cut texts into parts, one JSON line each")

#define CLI_X(name, text) int cmd_##name(int argc, char **argv);
CLI_COMMANDS(CLI_X)
#undef CLI_X

#endif /* CLI_H */
