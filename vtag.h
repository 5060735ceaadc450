/* vtag.h - an embedded vector store whose vectors carry the version of their model

   Embeddings outlive the model that made them badly: swap the model, keep the
   dimension, and a vector store answers as before, only wrongly. vtag gives every
   vector, and every query, a version tag; it fills a new tag beside the old one,
   measures how complete it is, cuts over when a numeric gate says so, and rolls
   back in one superblock write.

   USE. Copy this file into your project. In exactly one C or C++ file write

       #define VTAG_IMPLEMENTATION
       #include "vtag.h"

   or add vtag_impl.c to the build; link with -lm. Everywhere else, include it plainly.

       vtag_db *db;  vtag_batch *b;  vtag_snap *s;  vtag_tag tag;
       vtag_spec spec = {"minilm@1", 3};
       float x[3] = {1, 0, 0};
       vtag_item item = {7};
       vtag_hit hits[10];  size_t n;

       vtag_open("notes.vtag", NULL, &db);
       vtag_begin(db, NULL, &b);
       vtag_declare(b, &spec, &tag);
       vtag_vec v = {tag, 3, x};
       vtag_put(b, &item, &v, 1);
       vtag_commit(b);

       vtag_snapshot(db, &s);
       vtag_search(s, v, NULL, 10, hits, &n);    // n == 1, hits[0].id == 7
       vtag_release(s);
       vtag_close(db);

   OPTIONS, defined before the include of the implementation:
       VTAG_STATIC                       every function is static
       VTAG_NO_SIMD                      portable C kernels only
       VTAG_ASSERT(x)                    default: assert(x)
       VTAG_MALLOC, _REALLOC, _FREE      all three or none

   CONTENTS. grep '>>' lists the chapters, each of which uses only those above it.
       front   1 API >>api
       base    2 compiler >>compiler        3 bytes >>bytes      4 memory >>memory
               5 format >>format            6 system >>system    7 kernels >>kernels
               8 codecs and sketches >>codecs              9 top-k >>topk
       store  10 log and superblock >>log  11 tags and events >>tags
              12 items and index >>index   13 rows and segments >>rows
              14 state >>state             15 batch >>batch     16 search >>search
       life   17 migration >>migration     18 history >>history 19 care >>care

   ARITHMETIC. A thread that writes or searches rounds to nearest and keeps subnormal numbers,
   as C programs do unless they ask otherwise; an assert checks it.

   THREADS. The library starts none. A vtag_db and a vtag_snap may be used by any
   number of threads at once; a vtag_batch by one at a time. Readers never wait for
   the writer, nor it for them, in one process or in several. At most one batch is
   open on a file: its lock is held from vtag_begin to vtag_commit or vtag_abort and
   dies with its process. After fork the child may only close; the lock of a batch that is
   open then dies with the last process that has it, so a child that does not exec keeps it.

   MEMORY. Inputs are read during the call and never kept. What a snapshot returns
   lives until vtag_release. No search allocates anything that grows with the rows.

   ERRORS. Every call that can fail returns a vtag_err; handles and counts that it gives
   out are NULL and 0 then. A line of detail goes to the log callback of vtag_open_opts:
   which argument, or which path and the system's words. In a batch, an error
   about one argument leaves the batch good; IO, NOSPACE, NOMEM, CORRUPT and FULL
   poison it, and its commit returns them again. After a failed sync the handle is
   poisoned too: reading goes on, a new batch needs a new vtag_open.

   REFERENCES
       [XXH]   Collet, XXH64 specification, xxhash.com
       [CRC]   Castagnoli, Braeuer, Herrmann: Optimization of cyclic redundancy-check
               codes with 24 and 32 parity bits, IEEE Trans. Comm. 41 (1993)
       [FSYNC] Rebello et al.: Can applications recover from fsync failures?,
               USENIX ATC 2020
       [LSM]   O'Neil et al.: The log-structured merge-tree, Acta Informatica 33 (1996)

   LICENCE: MIT or public domain, at your choice; see the end of the file. */
#ifdef VTAG_IMPLEMENTATION /* before any header: POSIX under -std=c99, 64-bit off_t */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#endif
#ifndef VTAG_H
#define VTAG_H
#include <stddef.h>
#include <stdint.h>

#ifndef VTAG_API
#if defined(VTAG_STATIC) && defined(__GNUC__)
#define VTAG_API static __attribute__((unused))
#elif defined(VTAG_STATIC)
#define VTAG_API static
#else
#define VTAG_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ==== 1  API ==================================================== >>api */

/* clang-format off */
#define VTAG_VERSION 100        /* major * 10000 + minor * 100 + patch         */
#define VTAG_NONE    UINT32_MAX /* a limit of zero, where plain 0 means the default */

typedef struct vtag_db    vtag_db;    /* an open file; any thread              */
typedef struct vtag_batch vtag_batch; /* one all-or-nothing change; one thread */
typedef struct vtag_snap  vtag_snap;  /* one frozen state; any thread          */

/* A version tag, packed: model << 20 | version << 8 | preparation. Models are
   numbered in the file, versions in their model, preparations in their version,
   each from 1 in order of declaration. 0 is no tag. */
typedef uint32_t vtag_tag;
#define VTAG_TAG_MODEL(t)       ((t) >> 20)
#define VTAG_TAG_VERSION(t)     ((t) >> 8 & 0xFFFu)
#define VTAG_TAG_PREPARATION(t) ((t) & 0xFFu)

/* ---- Errors -------------------------------------------------------------- */

#define VTAG_ERRORS(X)                                                  \
    X(OK,        "ok")                                                  \
    X(ARG,       "invalid argument")                                    \
    X(NOMEM,     "out of memory")                                       \
    X(IO,        "input/output error")                                  \
    X(NOSPACE,   "no space left for the file")                          \
    X(FORMAT,    "not a vtag file, or a newer format")                  \
    X(CORRUPT,   "checksum or structure mismatch")                      \
    X(LOCKED,    "another writer is at work")                           \
    X(READONLY,  "file is open read-only")                              \
    X(FULL,      "a limit of the format is reached")                    \
    X(NAME,      "malformed tag name")                                  \
    X(NOTAG,     "no such tag")                                         \
    X(RETIRED,   "tag is retired")                                      \
    X(INUSE,     "tag is active")                                       \
    X(KEPT,      "tag is still within its retention")                   \
    X(PREVIEW,   "tag is a candidate; only a preview may search it")    \
    X(DIM,       "vector length differs from its tag's")                \
    X(VALUE,     "vector holds NaN or infinity, or has no norm")        \
    X(GATE,      "gate not met")                                        \
    X(EXISTS,    "already present with another meaning")                \
    X(NOTFOUND,  "not found")                                           \
    X(CHANGED,   "item changed since it was read")                      \
    X(CANCELLED, "cancelled by the progress callback")                  \
    X(DENIED,    "permission denied")

#define VTAG_X(name, text) VTAG_##name,
typedef enum vtag_err { VTAG_ERRORS(VTAG_X) VTAG_ERR_COUNT } vtag_err;
#undef VTAG_X

/* ---- Choices: zero is always the default ---------------------------------- */

typedef enum vtag_metric { VTAG_COSINE, VTAG_DOT, VTAG_L2SQ } vtag_metric;
typedef enum vtag_codec {        /* what a row is is what it decodes to; scores are exact for that */
    VTAG_F32,       /* the caller's bits                                       */
    VTAG_F16,       /* IEEE half: off by at most 2^-11 of a number, or 2^-25; |x| < 65,520 */
    VTAG_I8         /* 255 steps: off by at most 1/253 of the row's largest    */
} vtag_codec;
typedef enum vtag_mode { VTAG_EXACT, VTAG_APPROX } vtag_mode;
typedef enum vtag_role {
    VTAG_CANDIDATE, /* declared and filling; answers only to a preview         */
    VTAG_ACTIVE,    /* what applications search                                */
    VTAG_STANDBY,   /* active before; one rollback away                        */
    VTAG_OLDER,     /* active once; still answers                              */
    VTAG_GONE       /* retired                                                 */
} vtag_role;
typedef enum vtag_durability {
    VTAG_FULL_SYNC, /* a commit that returned OK survives a power cut          */
    VTAG_LAZY_SYNC, /* a crash loses the newest commits, never the order       */
    VTAG_NO_SYNC    /* for caches that can be rebuilt                          */
} vtag_durability;
typedef enum vtag_access {
    VTAG_CREATE,    /* open, or create if there is none                        */
    VTAG_EXISTING,  /* open; NOTFOUND if there is none                         */
    VTAG_READ,      /* open read-only                                          */
    VTAG_NEW        /* create; EXISTS if there is one                          */
} vtag_access;
typedef enum vtag_kind {
    VTAG_K_NOTE, VTAG_K_DECLARED, VTAG_K_SCORE, VTAG_K_SHADOW, VTAG_K_WAIVED,
    VTAG_K_POLICY, VTAG_K_HELD, VTAG_K_CUTOVER, VTAG_K_ROLLBACK, VTAG_K_RETIRED,
    VTAG_K_COMPACTED,
    VTAG_K_AUDIT, VTAG_K_BACKFILL, VTAG_K_IMPORT, VTAG_K_ALIAS
} vtag_kind;

/* ---- Values ---------------------------------------------------------------- */

typedef struct vtag_vec {        /* a vector never travels without its tag     */
    vtag_tag     tag;
    uint32_t     dim;            /* must equal the tag's                       */
    const float *x;              /* x[dim]; the caller's, read during the call */
    uint32_t     off, len;       /* optional: bytes of the item's data that it stands for */
} vtag_vec;

typedef struct vtag_hit {
    uint64_t id;
    float    dist;               /* smaller is closer: 1 - cos, -dot, squared L2; finite */
    uint32_t part : 31;          /* which of the item's vectors under the tag  */
    uint32_t stale : 1;          /* the item changed since this was embedded   */
} vtag_hit;

typedef struct vtag_item {       /* what was embedded: the ledger's row        */
    uint64_t    id;              /* any value but UINT64_MAX                   */
    const char *key;             /* optional, 1..255 bytes; then id is 0 or vtag_id(key) */
    uint64_t    rev;             /* content revision, from one counter of the file, never reused */
    uint64_t    time;            /* of that revision, Unix ms                  */
    const void *data;            /* payload; in a put NULL keeps it, size 0 clears it */
    size_t      size;            /* bytes                                      */
    uint32_t    state;           /* out: under the asked tag, VTAG_FRESH ...; 0: no tag asked. In a put: 0 or VTAG_SAME */
    const char *why;             /* of a waiver                                */
    uint64_t    of;              /* the library's: whose rev this is, so that an item that is used again for another id is new */
} vtag_item;

/* The states that vtag_items can ask for, and its orders (default: by id). */
#define VTAG_FRESH        1u
#define VTAG_STALE        2u
#define VTAG_MISSING      4u
#define VTAG_WAIVED       8u
#define VTAG_PENDING      (VTAG_STALE | VTAG_MISSING)
#define VTAG_ALL          15u
#define VTAG_NEWEST_FIRST 16u    /* by revision, descending                    */
#define VTAG_OLDEST_FIRST 32u    /* by revision, ascending                     */

/* In an item's state, for vtag_put: this first payload is what its vectors were made from. */
#define VTAG_SAME         64u

typedef struct vtag_row {        /* facts about one stored vector              */
    uint64_t rev;                /* the item's revision that was embedded      */
    uint32_t off, len;           /* the span it stands for                     */
    uint32_t parts;              /* vectors that the item has under the tag    */
    uint64_t order;              /* ascends as the tag's vectors were written; a compaction orders them by id */
} vtag_row;

typedef struct vtag_spec {       /* what a tag means; fixed once declared      */
    const char *name;            /* "model@version/preparation/...", 1..255 bytes */
    uint32_t    dim;             /* 1..32,768                                  */
    vtag_metric metric;
    vtag_codec  codec;           /* how rows are stored                        */
    uint64_t    fingerprint;     /* hash of weights and tokenizer; 0 unknown, matches any */
    uint32_t    flags;           /* VTAG_ASSUMED, VTAG_NO_SKETCH               */
    const char *note;            /* free text, up to 4,096 bytes: prompt, provider, licence */
} vtag_spec;
#define VTAG_ASSUMED   1u        /* legacy vectors adopted under this name     */
#define VTAG_NO_SKETCH 2u        /* smaller file, slower search                */

typedef struct vtag_info {
    vtag_tag  tag;
    vtag_spec spec;
    vtag_role role;
    uint64_t  items, rows;       /* live items with a vector, live vectors     */
    uint64_t  bytes;             /* of the file, held by this tag's segments and sketches */
    uint64_t  created;           /* Unix ms                                    */
    uint64_t  activated;         /* the newest time it became active; 0: never */
    uint64_t  writes_with, writes_without; /* new revisions since declared that gave, or left out, it */
    uint64_t  kept_ms;           /* retention credited                         */
    int       forced;            /* cut over below policy, or below a coverage of 99.5 % or above .1 % waived, until it passes both */
    const char *alias;           /* a second name that it answers to; NULL: none */
    uint64_t  written;           /* vectors ever written under it, also those replaced since; 0 in a file before version 3 */
} vtag_info;

typedef struct vtag_ids { const uint64_t *ids; size_t n; } vtag_ids; /* ascending */

typedef struct vtag_search_opts {
    vtag_mode       mode;
    uint32_t        effort;      /* approximate only; 0: default               */
    const float    *max_dist;    /* inclusive, not NaN; NULL: no threshold     */
    const vtag_ids *only;        /* NULL: all; empty: none                     */
    int           (*keep)(void *ctx, uint64_t id); /* NULL: all; a pure function of id, asked of any row, from every part's thread */
    void           *keep_ctx;
    uint32_t        part, parts; /* scan one share of parts; 0, 0: everything  */
    int             fresh_only;  /* leave stale rows out                       */
    int             preview;     /* allow a candidate tag                      */
} vtag_search_opts;

typedef struct vtag_cover {      /* of tag B against base A                    */
    uint64_t base;               /* live items with a vector under A; the sum of the next four */
    uint64_t fresh, stale, missing, waived; /* their state under B             */
    uint64_t outside;            /* live items pending under B that A has not either */
    uint64_t extra;              /* fresh under B, not under A: what going back to A hides */
    uint64_t oldest;             /* time of the oldest pending item, in base or outside; 0: none */
} vtag_cover;

typedef struct vtag_gate {       /* 0: the file's policy, else the default; VTAG_NONE: zero */
    uint32_t    min_ppm;         /* (fresh + waived) / base must exceed it, or be all: 995,000 */
    uint32_t    max_waived_ppm;  /* 1,000, but always at least one item        */
    uint64_t    max_age_ms;      /* every pending item is younger: 24 hours; UINT64_MAX: unlimited */
    const char *score;           /* NULL: none. The newest score of this name must exist, count, */
    double      min_score;       /* reach this if has_min,                     */
    double      max_drop;        /* and lose at most this against the active tag's if has_drop */
    int         has_min, has_drop;
    uint32_t    min_queries;     /* 75                                         */
    uint32_t    min_audit_ppm;   /* 0: none. The tag's newest audit must count (vtag_audit), and this share pass */
    uint32_t    min_recall_ppm;  /* 0: none. A gate that asks for it holds: nothing measures it yet */
    const char *reason;          /* required to go below the policy; recorded  */
} vtag_gate;

/* It counts if it compared at least 100 vectors, or all that the tag has, and vectors written
 * under the tag since are at most 1 % of those. It passes if, besides, 99 % of the vectors that it
 * compared reach the cosine. */
typedef struct vtag_audit {      /* stored vectors embedded again and compared */
    uint64_t    sampled, untestable; /* vectors compared, and left out         */
    uint64_t    below;           /* of those compared, under a cosine of .995  */
    double      worst;           /* the least cosine                           */
    uint64_t    from, to;        /* when their items were written, Unix ms     */
    uint64_t    written;         /* vtag_info.written of the state that was sampled */
} vtag_audit;

typedef struct vtag_verdict {
    int        pass;
    uint32_t   failed;           /* VTAG_TERM_...                              */
    vtag_gate  used;             /* thresholds as resolved                     */
    vtag_cover cover;            /* of the tag against the active one          */
    double     score, base_score;
    vtag_audit audit;            /* the tag's newest, if the gate asks for one */
    uint64_t   since;            /* vectors written under the tag since then   */
} vtag_verdict;
#define VTAG_TERM_COVERAGE  1u
#define VTAG_TERM_WAIVED    2u
#define VTAG_TERM_FRESHNESS 4u
#define VTAG_TERM_SCORE     8u
#define VTAG_TERM_AUDIT     16u
#define VTAG_TERM_RECALL    32u

typedef struct vtag_policy {     /* kept in the file; changes are history      */
    vtag_gate   gate;
    uint64_t    retain_ms;       /* 0: 28 days                                 */
    uint32_t    retain_scores;   /* passing scores of the active tag needed to retire; 0: none */
    const char *hold;            /* non-NULL: nothing may be retired, not even with a reason */
} vtag_policy;

typedef struct vtag_event {      /* one line of the audit history              */
    uint64_t    seq, time;       /* from 1, gapless; Unix ms                   */
    vtag_kind   kind;
    vtag_tag    tag, base;       /* base: compared with, or left behind        */
    double      value, base_value; /* score, overlap                           */
    uint64_t    queries;
    uint64_t    commit;          /* of the state that it speaks of             */
    uint32_t    flags;           /* VTAG_FORCED, VTAG_PROVISIONAL              */
    uint32_t    failed;          /* VTAG_TERM_... of a verdict                 */
    vtag_gate   used;            /* its thresholds                             */
    vtag_cover  cover;           /* at that moment                             */
    const char *name, *text;     /* score's name; note or reason, up to 1,024 bytes */
    const char *by, *command;    /* who did it, 255 bytes, and with what, 1,024; NULL: not known */
    uint64_t    in, filled, waived, failed_items; /* of a backfill or an import */
    vtag_audit  audit;
} vtag_event;
#define VTAG_FORCED      1u
#define VTAG_PROVISIONAL 2u      /* a score taken at a coverage that the policy does not pass */

typedef struct vtag_stat {
    uint8_t     uuid[16];        /* of the file; kept by copies and compaction */
    uint64_t    commit;          /* number of the state's commit               */
    uint64_t    time;            /* of that commit, Unix ms                    */
    uint64_t    revision;        /* the newest revision given out              */
    uint64_t    file_bytes;      /* of the file, committed                     */
    uint64_t    live_bytes;      /* about what a compaction would leave        */
    uint64_t    items, rows, events; /* live items, live vectors, history lines */
    uint32_t    tags, segments;
    vtag_tag    active, standby; /* 0: none                                    */
    int         rolled_back;     /* the newest change of roles was a rollback  */
    const char *isa;             /* kernels in use: "avx2", "neon", ...        */
    uint32_t    held;            /* snapshots of this handle, not released yet */
    uint64_t    held_ms;         /* age of the oldest of them                  */
} vtag_stat;

typedef struct vtag_report {
    uint64_t records, bytes;     /* checked                                    */
    uint64_t bad;                /* found wrong                                */
    uint64_t first_bad;          /* file offset of the first of them           */
} vtag_report;

/* ---- Environment ------------------------------------------------------------- */

/* What the library asks of the system. Replace it whole to test, to encrypt, or to
   run where there are no files; map, locked, remote and what follows ctx may be NULL. A
   file object is used by several threads at once. Locks are advisory, owned by the file
   object and dropped with it. open answers NOTFOUND only where there is no such file,
   DENIED where it may not be opened, and IO for all else. */
typedef struct vtag_io {
    vtag_err (*open)    (void *ctx, const char *path, vtag_access access, void **file);
    void     (*close)   (void *file);
    vtag_err (*size)    (void *file, uint64_t *bytes);
    vtag_err (*allocate)(void *file, uint64_t bytes); /* grow to at least bytes, all backed; new bytes read as 0 */
    vtag_err (*read)    (void *file, uint64_t at, void *p, size_t n); /* all of n, else IO */
    vtag_err (*write)   (void *file, uint64_t at, const void *p, size_t n); /* all of n */
    vtag_err (*sync)    (void *file);
    vtag_err (*map)     (void *file, uint64_t at, uint64_t bytes, const uint8_t **base); /* NULL: read into memory */
    void     (*unmap)   (void *file, const uint8_t *base, uint64_t bytes);
    vtag_err (*lock)    (void *file, int which, uint32_t wait_ms); /* exclusive; LOCKED after wait_ms */
    void     (*unlock)  (void *file, int which);
    int      (*locked)  (void *file, int which);      /* by another file object?    */
    vtag_err (*rename)  (void *ctx, const char *from, const char *to); /* replaces to, syncs the directory */
    vtag_err (*remove)  (void *ctx, const char *path);
    int      (*same)    (void *file, const char *path); /* is path still this file?  */
    int      (*remote)  (void *file);                 /* on a network file system?  */
    vtag_err (*random)  (void *ctx, void *p, size_t n);
    uint64_t (*now)     (void *ctx);                  /* Unix ms                    */
    void      *ctx;
    vtag_err (*resolve) (void *ctx, const char *path, char *to, size_t n); /* absolute, links followed, there or not */
    int      (*exists)  (void *ctx, const char *path); /* has anything this name, a link too?  */
    vtag_err (*create)  (void *ctx, const char *path, void *model, void **file); /* EXISTS if so; rights at most model's */
    vtag_err (*like)    (void *file, void *model);    /* gives it model's rights and owner; DENIED: it cannot */
    vtag_err (*publish) (void *ctx, const char *from, const char *to, int replace); /* rename, or EXISTS; syncs the directory */
    vtag_err (*sync_name)(void *ctx, const char *path); /* makes the name durable        */
    size_t   (*why)     (void *ctx, char *text, size_t n); /* the system's words for this thread's newest failure; their length */
    uint64_t (*holder)  (void *file, int which);      /* number of the process that has it; 0: not known */
} vtag_io;
#define VTAG_PATH_MAX 4096       /* bytes that resolve has room for            */
#define VTAG_LOCK_WRITER 0       /* held from begin to commit or abort         */
#define VTAG_LOCK_TURN   1       /* held while waiting for the other: fairness */
#define VTAG_LOCK_READER 2       /* for systems that cannot replace an open file */

typedef struct vtag_open_opts {
    vtag_access     access;
    vtag_durability durability;
    uint32_t        lazy_ms;     /* between syncs of LAZY_SYNC; 0: 1,000       */
    int             pad_sectors; /* at creation: for media that garble torn sectors */
    int             no_map;      /* read the file into memory instead of mapping it */
    int             force_network; /* write on a network file system anyway    */
    const char     *isa;         /* "scalar" "avx2" "avx512" "avx512vnni" "amx" "neon" "neondot"; NULL: the best; ARG if not here */
    const vtag_io  *io;          /* NULL: the system's                         */
    void          (*log)(void *ctx, vtag_err err, const char *msg, uint64_t at); /* one line of detail; at: file offset */
    void           *log_ctx;
} vtag_open_opts;

typedef struct vtag_begin_opts {
    uint32_t wait_ms;            /* for another writer; 0: 5,000; VTAG_NONE: LOCKED at once */
    int      restore;            /* into an empty file: revisions, times and events as given */
    uint64_t expect_rows;        /* about how many will come; sizes segments to fit */
    void   (*run) (void *ctx, void (*work)(void *), void *arg); /* calls work(arg) on a thread of the caller's; */
    void   (*wait)(void *ctx);   /* returns when that is done: half of a full segment's sketches. NULL: in the batch's */
    void    *run_ctx;
    const char *by;              /* who changes the file, up to 255 bytes, for the history; NULL: not known. Left out before version 3 */
} vtag_begin_opts;

/* Called now and then by long calls; a non-zero answer cancels them. */
typedef int vtag_progress(void *ctx, uint64_t done, uint64_t total);

/* clang-format on */
/* ---- File --------------------------------------------------------------------- */

/* Opens a store. opts may be NULL. The same path may be open any number of times,
 * in any number of processes.
 * Links are followed and the path is made absolute here: later changes of the current
 * folder, or of a link, do not matter. Where the file is deleted, reading goes on.
 * Errors: ARG NOTFOUND DENIED IO NOSPACE NOMEM FORMAT CORRUPT EXISTS (VTAG_NEW)
 *         READONLY (of a file that a compaction has replaced, too) LOCKED (another
 *         process is creating the file).
 * Cost:   proportional to segments, not to rows.
 * Note:   where a processor has AMX, Linux is asked to let this process use it; frames
 *         of signals grow by 8 KiB. Naming another isa does not ask. */
VTAG_API vtag_err vtag_open(const char *path, const vtag_open_opts *opts, vtag_db **db);

/* Opens a store that lies in memory, read-only. The bytes are borrowed until close
 * (copied first if they are not 64-byte aligned). */
VTAG_API vtag_err vtag_open_memory(const void *image, size_t size, const vtag_open_opts *opts,
                                   vtag_db **db);

/* Closes a handle; NULL is legal. Live snapshots, and an open batch, stay good and keep
 * the file open until their end. */
VTAG_API void vtag_close(vtag_db *db);

/* Makes every commit so far durable, whatever the durability.
 * Errors: ARG (by the thread that holds a batch of it; vtag_seal and vtag_compact too)
 *         READONLY LOCKED IO NOSPACE. Cost: one sync. */
VTAG_API vtag_err vtag_flush(vtag_db *db);

/* Tidies what past commits left: sketches the rows that have no sketch yet, which makes
 * searching them several times faster, and gathers the index entries of the log into
 * sorted runs. Optional; the writer does the same by itself for full segments and now
 * and then. May run in a thread beside a writer: it takes the writer's lock only for
 * its short commits.
 * Errors: READONLY LOCKED IO NOSPACE NOMEM CANCELLED (what was sealed stays).
 * Cost:   a few microseconds of CPU a row; memory of one segment's sketch. */
VTAG_API vtag_err vtag_seal(vtag_db *db, vtag_progress *progress, void *ctx);

/* Rewrites the file without deleted, replaced and retired rows, checking every
 * checksum on the way, and puts it in the place of the old one in one step. Readers
 * go on undisturbed and move over at their next snapshot. Needs room for the result.
 * Mode, owner and group stay. Where nothing would be gained, neither bytes nor a shorter
 * log, and nothing was deleted or replaced, nothing is done; the log callback is told.
 * Errors: READONLY DENIED (rights that cannot be kept; a file of several names) LOCKED
 *         IO NOSPACE NOMEM CORRUPT CANCELLED. Cost: O(live bytes). */
VTAG_API vtag_err vtag_compact(vtag_db *db, vtag_progress *progress, void *ctx);

/* A short text for an error: never NULL, static. */
VTAG_API const char *vtag_strerror(vtag_err err);

/* The id that a key gets: XXH64 with seed 0 of its bytes [XXH]. */
VTAG_API uint64_t vtag_id(const char *key);

/* ---- Change: what alters the content takes a batch ------------------------------ */

/* Starts a batch and takes the file's writer lock, waiting for it at most
 * opts->wait_ms; not at all if this thread holds a batch of the handle. A crashed writer's last commit is completed or dropped here.
 * Errors: ARG (run without wait; by too long) READONLY LOCKED (the detail names the process) IO NOSPACE NOMEM CORRUPT. */
VTAG_API vtag_err vtag_begin(vtag_db *db, const vtag_begin_opts *opts, vtag_batch **b);

/* Makes the whole batch visible and, with FULL_SYNC, durable; or none of it. Always
 * ends the batch and frees the lock. A batch that changed nothing writes nothing.
 * Errors: what poisoned the batch; IO NOSPACE NOMEM. Cost: one sync. */
VTAG_API vtag_err vtag_commit(vtag_batch *b);

/* Ends the batch and drops all of it; NULL is legal. */
VTAG_API void vtag_abort(vtag_batch *b);

/* Declares a tag, or finds the one declared with an equal spec (then nothing is
 * written). The first tag of a file becomes active; later ones are candidates.
 * Errors: NAME ARG EXISTS (another spec or fingerprint under this name) RETIRED
 *         FULL (4,095 models, 4,095 versions of each, 255 preparations of each)
 *         FORMAT (a codec, in a file of version 1; compact it first). */
VTAG_API vtag_err vtag_declare(vtag_batch *b, const vtag_spec *spec, vtag_tag *tag);

/* Gives a tag a second name, by which vtag_find knows it too: legacy vectors whose model was
 * found out. One a tag, for good; the packed id stays.
 *   reason   recorded, 1..1,024 bytes; NULL: none is needed, since an audit of the tag passed
 * Errors: NAME ARG (NULL, and no audit that counts passed) NOTAG RETIRED EXISTS (the name is taken; the tag has an alias) FORMAT
 *         (a file before version 3; compact it first). */
VTAG_API vtag_err vtag_alias(vtag_batch *b, vtag_tag tag, const char *name, const char *reason);

/* Writes an item with any number n of its vectors v[n], of any tags; vectors of one
 * tag are its parts, in the order given, and replace all it had. Tags not given
 * become stale, unless the content did not change: the revision is kept when the
 * payload equals the stored one, or when there is none to compare and every vector
 * given equals the fresh stored one bit for bit.
 *   item   in: id or key, rev (0, or the revision expected), data; out: id, rev. One
 *          that came out of an earlier call for another id is taken as new. With
 *          VTAG_SAME an item that has no payload gets its first one and keeps its revision.
 * Errors: ARG NOTAG RETIRED DIM VALUE EXISTS (the id has another key; VTAG_SAME: it has
 *         another payload) CHANGED NOTFOUND (VTAG_SAME: there is no such item). */
VTAG_API vtag_err vtag_put(vtag_batch *b, vtag_item *item, const vtag_vec *v, size_t n);

/* Adds an item's vectors v[n] under one tag, for content that was embedded earlier:
 * only if the item still has revision item->rev. The same again is a no-op.
 * Errors: ARG (no vectors, several tags, rev 0) NOTAG RETIRED DIM VALUE NOTFOUND
 *         CHANGED (the item is pending again). */
VTAG_API vtag_err vtag_fill(vtag_batch *b, const vtag_item *item, const vtag_vec *v, size_t n);

/* Records why an item's current revision cannot be embedded under a tag; NULL lifts
 * that. A later put of the item or a fill ends it.
 *   item   id or key, rev (0, or the revision expected)
 *   why    up to 1,024 bytes
 * Errors: ARG NOTAG RETIRED NOTFOUND CHANGED. */
VTAG_API vtag_err vtag_waive(vtag_batch *b, const vtag_item *item, vtag_tag tag, const char *why);

/* Deletes an item and its vectors under every tag. Errors: NOTFOUND. */
VTAG_API vtag_err vtag_del(vtag_batch *b, uint64_t id);

/* Adds a line to the history: NOTE, SCORE, SHADOW, HELD, AUDIT, BACKFILL or IMPORT; the engine sets seq and
 * time, and marks a score PROVISIONAL if event->cover does not pass the policy.
 * A score's commit and cover are those of the snapshot that was scored, and so is an audit's written.
 * by NULL is the batch's. An audit of a tag that passes takes VTAG_ASSUMED from it.
 * Errors: ARG NOTAG RETIRED (of an audit) FORMAT (by, command, counts or an audit, in a file before version 3). */
VTAG_API vtag_err vtag_note(vtag_batch *b, const vtag_event *event);

/* Keeps n bytes under a name of 1..255 bytes; p NULL removes them.
 * Errors: ARG EXISTS (two names with one hash). */
VTAG_API vtag_err vtag_meta_set(vtag_batch *b, const char *name, const void *p, size_t n);

/* Replaces the file's policy. Errors: ARG (no reason, values out of range). */
VTAG_API vtag_err vtag_policy_set(vtag_batch *b, const vtag_policy *policy, const char *reason);

/* Makes a tag active if its gate passes, judged inside this batch. gate NULL: the
 * policy's. The tag left becomes standby, the former standby older. No gate where
 * the active tag never had a vector; that one stays a candidate.
 *   verdict   out, may be NULL; also written on GATE
 * Errors: NOTAG RETIRED GATE (nothing changed) ARG (below the policy, no reason).
 * Cost:   judging walks the ids; the flip writes the same bytes at any size. */
VTAG_API vtag_err vtag_cutover(vtag_batch *b, vtag_tag tag, const vtag_gate *gate,
                               vtag_verdict *verdict);

/* Makes the standby (to 0) or an older tag active again, at once and without a gate.
 * The tag left becomes a candidate. Asking again is OK and changes nothing.
 *   hidden   out, may be NULL: cover of the tag left against `to`; hidden->extra
 *            items are fresh only under the tag left
 * Errors: NOTFOUND (no standby) NOTAG RETIRED ARG (a tag that was never active). */
VTAG_API vtag_err vtag_rollback(vtag_batch *b, vtag_tag to, vtag_cover *hidden);

/* Retires a tag: it stops answering; compaction frees its space. A tag that was ever
 * active is kept for the policy's retention, unless a reason is given.
 *   lost   out, may be NULL; also written on KEPT. base: items with a vector under
 *          the tag; missing: those with none under any other; fresh, stale: the rest
 * Errors: NOTAG RETIRED INUSE KEPT. */
VTAG_API vtag_err vtag_retire(vtag_batch *b, vtag_tag tag, const char *reason, vtag_cover *lost);

/* In a restore batch only: declares info->spec with its role, times and counts, as
 * read from another file in the order of its tags. Errors: as vtag_declare. */
VTAG_API vtag_err vtag_restore_tag(vtag_batch *b, const vtag_info *info);

/* In a restore batch only: takes commit, revision and rolled_back over, so that
 * nothing that was ever given out is given out again. Here and in what follows, no
 * number may be above UINT64_MAX / 2: as many are left to give out. Errors: ARG. */
VTAG_API vtag_err vtag_restore_stat(vtag_batch *b, const vtag_stat *stat);

/* ---- Look: what reads takes a snapshot -------------------------------------------- */

/* Freezes the newest committed state, of whatever process. It never answers OK with a
 * state that it could not compare with the file. Errors: NOMEM IO DENIED FORMAT CORRUPT.
 * Cost: two small reads; more only if another process committed since. */
VTAG_API vtag_err vtag_snapshot(vtag_db *db, vtag_snap **s);

/* Gives a snapshot back; NULL is legal. */
VTAG_API void vtag_release(vtag_snap *s);

/* Facts about the state as a whole. */
VTAG_API vtag_err vtag_stats(const vtag_snap *s, vtag_stat *stat);

/* Finds a tag by its exact name; a retired one too. Errors: NOTAG. */
VTAG_API vtag_err vtag_find(const vtag_snap *s, const char *name, vtag_tag *tag);

/* Facts about a tag; 0 asks for the active one. Errors: NOTAG. */
VTAG_API vtag_err vtag_tag_info(const vtag_snap *s, vtag_tag tag, vtag_info *info);

/* Iterators: *cursor 0 starts, *n == 0 ends, and a cursor stays good in later
 * snapshots. Tags come in order of declaration, events and metadata oldest first
 * and in the order of their hashes. */
VTAG_API vtag_err vtag_tags(const vtag_snap *s, uint64_t *cursor, vtag_info *out, size_t cap,
                            size_t *n);
VTAG_API vtag_err vtag_history(const vtag_snap *s, uint64_t *cursor, vtag_event *out, size_t cap,
                               size_t *n);
VTAG_API vtag_err vtag_metas(const vtag_snap *s, uint64_t *cursor, const char **names, size_t cap,
                             size_t *n);

/* Iterates over the live items that are in one of states under tag; tag 0 asks for
 * all items, with state 0. By id, or by revision with VTAG_NEWEST_FIRST or
 * VTAG_OLDEST_FIRST.
 * Errors: ARG NOTAG RETIRED. Cost: by id, what is passed over; by revision, a walk
 *         of all items a call, so ask for many at once. */
VTAG_API vtag_err vtag_items(const vtag_snap *s, vtag_tag tag, uint32_t states, uint64_t *cursor,
                             vtag_item *out, size_t cap, size_t *n);

/* Reads an item, payload and key checked. Errors: NOTFOUND CORRUPT. */
VTAG_API vtag_err vtag_get(const vtag_snap *s, uint64_t id, vtag_item *item);

/* Reads one vector of an item into x[dim], its record checked; x NULL: facts only.
 * row may be NULL. Errors: NOTFOUND NOTAG RETIRED DIM CORRUPT. */
VTAG_API vtag_err vtag_vector(const vtag_snap *s, uint64_t id, vtag_tag tag, uint32_t part,
                              float *x, uint32_t dim, vtag_row *row);

/* Finds the rows of q's tag nearest to q. Distances beyond f32 count as its largest; cosine
 * tells directions apart down to about 1.2e-7, so a vector and its multiples are equally near.
 *   q      q.x[q.dim], read during the call only
 *   hits   out[k], ascending dist, ties by id, then part
 *   n      out: hits written, min(k, matches)
 * Errors: NOTAG RETIRED PREVIEW DIM VALUE ARG NOMEM. Threads: any.
 * Cost:   O(rows * dim), but of half a byte a number where a segment has its sketch;
 *         with `only`, O(ids allowed). See chapter 16. */
VTAG_API vtag_err vtag_search(const vtag_snap *s, vtag_vec q, const vtag_search_opts *opts,
                              size_t k, vtag_hit *hits, size_t *n);

/* The same for nq queries at once, which reads each row once for all of them.
 *   q      q.x[nq * q.dim], row by row
 *   hits   out[nq * k];  n out[nq] */
VTAG_API vtag_err vtag_search_many(const vtag_snap *s, vtag_vec q, size_t nq,
                                   const vtag_search_opts *opts, size_t k, vtag_hit *hits,
                                   size_t *n);

/* Joins two answers of one query, into[n] with room for k, and from[m]; returns the
 * hits kept. For the caller's threads, each of which searched one part. */
VTAG_API size_t vtag_merge(vtag_hit *into, size_t n, const vtag_hit *from, size_t m, size_t k);

/* Counts how complete a tag is against a base (0: the active one).
 * Errors: NOTAG RETIRED. Cost: a walk of the ids. */
VTAG_API vtag_err vtag_coverage(const vtag_snap *s, vtag_tag tag, vtag_tag base, vtag_cover *cover);

/* Evaluates the gate of a cutover to tag, and changes nothing. gate NULL: the policy's.
 * Errors: NOTAG RETIRED ARG (below the policy, no reason). */
VTAG_API vtag_err vtag_judge(const vtag_snap *s, vtag_tag tag, const vtag_gate *gate,
                             vtag_verdict *verdict);

/* The policy, with its defaults filled in. */
VTAG_API vtag_err vtag_policy_get(const vtag_snap *s, vtag_policy *policy);

/* Reads metadata. Errors: NOTFOUND CORRUPT. */
VTAG_API vtag_err vtag_meta_get(const vtag_snap *s, const char *name, const void **p, size_t *n);

/* Checks every byte that the state refers to: both slots, the log, every record and
 * extent, the index against the rows. Goes on after the first finding; each goes to
 * the log callback. Errors: CORRUPT (report->bad > 0) CANCELLED. Cost: O(bytes). */
VTAG_API vtag_err vtag_verify(const vtag_snap *s, vtag_report *report, vtag_progress *progress,
                              void *ctx);

/* Writes the state to a new, compact file: a backup, which takes its name when it is whole,
 * and which nobody may open who may not open this one. Errors: EXISTS NOTFOUND DENIED
 * LOCKED (another copy to it is at work) IO NOSPACE NOMEM CORRUPT CANCELLED.
 * Cost: O(live bytes). */
VTAG_API vtag_err vtag_copy(const vtag_snap *s, const char *path, vtag_progress *progress,
                            void *ctx);

#ifdef __cplusplus
}
#endif
#endif /* VTAG_H */

#ifdef VTAG_IMPLEMENTATION
#ifndef VTAG_IMPLEMENTATION_DONE
#define VTAG_IMPLEMENTATION_DONE

/* ==== 2  Compiler ============================================== >>compiler */

/* What differs between compilers: refusals, static assertions, atomics. Nothing
   below this chapter asks which compiler it is, but checksums and kernels for
   their instructions. Atomics are functions on plain uint32_t, in C and C++. */

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "vtag: distances are defined to the bit; compile without -ffast-math and what it is made of"
#endif
#if FLT_EVAL_METHOD != 0
#error "vtag: arithmetic must not have excess precision; compile for SSE2, or without -mfpmath=387"
#endif
#if defined(__i386__) && !defined(__SSE2_MATH__)
#error "vtag: x87 arithmetic rounds otherwise; add -msse2 -mfpmath=sse"
#endif
#ifdef __clang__ /* it does not tell of -funsafe-math-optimizations, but can be told */
#if defined(__x86_64__) || defined(__i386__)
#pragma float_control(push)
#pragma float_control(precise, on)
#else
#pragma clang fp reassociate(off)
#endif
#endif
#if defined(VTAG_MALLOC) != defined(VTAG_REALLOC) || defined(VTAG_MALLOC) != defined(VTAG_FREE)
#error "vtag: define all of VTAG_MALLOC, VTAG_REALLOC, VTAG_FREE, or none"
#endif
#ifndef VTAG_MALLOC
#define VTAG_MALLOC(n)     malloc(n)
#define VTAG_REALLOC(p, n) realloc((p), (n))
#define VTAG_FREE(p)       free(p)
#endif
#ifndef VTAG_ASSERT
#define VTAG_ASSERT(x) assert(x)
#endif

#ifdef __cplusplus
#define VT_ZERO \
    {}
#else
#define VT_ZERO \
    { 0 } /* the initializer of any struct or array */
#endif

/* A declaration, legal in a file and in a block; repeats do no harm. */
#define VT_STATIC_ASSERT(cond, name) extern char vt_static_assert_##name[(cond) ? 1 : -1]

VT_STATIC_ASSERT(sizeof(float) == 4 && sizeof(double) == 8, ieee_sizes);
VT_STATIC_ASSERT(sizeof(int) >= 4 && sizeof(size_t) >= 4, not_16_bit);

/* Here and below, calls of <math.h> are in brackets, against the macros of <tgmath.h>. */
static float vt_abs(float x) { return (fabsf)(x); }

/* Whether this thread rounds to nearest, ties to even, and keeps subnormal numbers. */
static int vt_rounds(void) {
    volatile float one = 1, tie = 5.9604645e-8f, more = 8.9406967e-8f, least = 1.17549435e-38f;
    volatile float sum = one + tie, diff = -one - tie, up = one + more, low = least / 2;
    return sum == one && diff == -one && up > one && low > 0 && low * 2 == least;
}

#ifdef VTAG_COUNT /* tests count looks at keys and vectors                       */
extern uint64_t vt_count_compare;
#define VT_COUNT() ((void)vt_count_compare++)
#else
#define VT_COUNT() ((void)0)
#endif

static uint64_t vt_min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t vt_max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
static size_t vt_min_size(size_t a, size_t b) { return a < b ? a : b; }

static int vt_little_endian(void) {
    const uint32_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

#if defined(__GNUC__)

/* The new value; acquires and releases. */
static uint32_t vt_atomic_add(uint32_t *p, uint32_t d) {
    return __atomic_add_fetch(p, d, __ATOMIC_ACQ_REL);
}

static uint32_t vt_atomic_load(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

static void vt_atomic_store(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

/* 1 if *p was want and is now set. */
static int vt_atomic_cas(uint32_t *p, uint32_t want, uint32_t set) {
    return __atomic_compare_exchange_n(p, &want, set, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

#elif defined(_MSC_VER)
#include <intrin.h>

static uint32_t vt_atomic_add(uint32_t *p, uint32_t d) {
    return (uint32_t)_InterlockedExchangeAdd((volatile long *)p, (long)d) + d;
}

static uint32_t vt_atomic_load(const uint32_t *p) {
    return (uint32_t)_InterlockedOr((volatile long *)p, 0);
}

static void vt_atomic_store(uint32_t *p, uint32_t v) {
    _InterlockedExchange((volatile long *)p, (long)v);
}

static int vt_atomic_cas(uint32_t *p, uint32_t want, uint32_t set) {
    return (uint32_t)_InterlockedCompareExchange((volatile long *)p, (long)set, (long)want) == want;
}

#else
#error "vtag: this compiler's atomic operations are not known"
#endif
/* ==== 3  Bytes ==================================================== >>bytes */

/* Checksums: CRC-32C [CRC] over records, XXH64 [XXH] over the data of a commit
   and over keys. Both read unaligned memory through memcpy. The library runs on
   little-endian machines only (chapter 5 checks), so a load is a copy. The CRC
   has three ways to the same value; the portable one is the meaning. */

static uint32_t vt_load_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static uint64_t vt_load_u64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* ---- CRC-32C ------------------------------------------------------------- */

/* Entry [k][i]: what byte i does to the sum k bytes later. It is linear in the
   bits of i, so eight constants make a row. */
#define VT_CRC_BIT(i, n, v) ((i) >> (n)&1 ? (v) : 0u)
#define VT_CRC_1(i, a, b, c, d, e, f, g, h)                                                  \
    (VT_CRC_BIT(i, 0, a) ^ VT_CRC_BIT(i, 1, b) ^ VT_CRC_BIT(i, 2, c) ^ VT_CRC_BIT(i, 3, d) ^ \
     VT_CRC_BIT(i, 4, e) ^ VT_CRC_BIT(i, 5, f) ^ VT_CRC_BIT(i, 6, g) ^ VT_CRC_BIT(i, 7, h))
#define VT_CRC_4(i, a, b, c, d, e, f, g, h)                                       \
    VT_CRC_1(i, a, b, c, d, e, f, g, h), VT_CRC_1(i + 1, a, b, c, d, e, f, g, h), \
        VT_CRC_1(i + 2, a, b, c, d, e, f, g, h), VT_CRC_1(i + 3, a, b, c, d, e, f, g, h)
#define VT_CRC_16(i, a, b, c, d, e, f, g, h)                                      \
    VT_CRC_4(i, a, b, c, d, e, f, g, h), VT_CRC_4(i + 4, a, b, c, d, e, f, g, h), \
        VT_CRC_4(i + 8, a, b, c, d, e, f, g, h), VT_CRC_4(i + 12, a, b, c, d, e, f, g, h)
#define VT_CRC_64(i, a, b, c, d, e, f, g, h)                                         \
    VT_CRC_16(i, a, b, c, d, e, f, g, h), VT_CRC_16(i + 16, a, b, c, d, e, f, g, h), \
        VT_CRC_16(i + 32, a, b, c, d, e, f, g, h), VT_CRC_16(i + 48, a, b, c, d, e, f, g, h)
#define VT_CRC_ROW(a, b, c, d, e, f, g, h)                                       \
    VT_CRC_64(0, a, b, c, d, e, f, g, h), VT_CRC_64(64, a, b, c, d, e, f, g, h), \
        VT_CRC_64(128, a, b, c, d, e, f, g, h), VT_CRC_64(192, a, b, c, d, e, f, g, h)

static const uint32_t vt_crc_table[8][256] = {
    {VT_CRC_ROW(0xF26B8303u, 0xE13B70F7u, 0xC79A971Fu, 0x8AD958CFu, 0x105EC76Fu, 0x20BD8EDEu,
                0x417B1DBCu, 0x82F63B78u)},
    {VT_CRC_ROW(0x13A29877u, 0x274530EEu, 0x4E8A61DCu, 0x9D14C3B8u, 0x3FC5F181u, 0x7F8BE302u,
                0xFF17C604u, 0xFBC3FAF9u)},
    {VT_CRC_ROW(0xA541927Eu, 0x4F6F520Du, 0x9EDEA41Au, 0x38513EC5u, 0x70A27D8Au, 0xE144FB14u,
                0xC76580D9u, 0x8B277743u)},
    {VT_CRC_ROW(0xDD45AAB8u, 0xBF672381u, 0x7B2231F3u, 0xF64463E6u, 0xE964B13Du, 0xD725148Bu,
                0xABA65FE7u, 0x52A0C93Fu)},
    {VT_CRC_ROW(0x38116FACu, 0x7022DF58u, 0xE045BEB0u, 0xC5670B91u, 0x8F2261D3u, 0x1BA8B557u,
                0x37516AAEu, 0x6EA2D55Cu)},
    {VT_CRC_ROW(0xEF306B19u, 0xDB8CA0C3u, 0xB2F53777u, 0x6006181Fu, 0xC00C303Eu, 0x85F4168Du,
                0x0E045BEBu, 0x1C08B7D6u)},
    {VT_CRC_ROW(0x68032CC8u, 0xD0065990u, 0xA5E0C5D1u, 0x4E2DFD53u, 0x9C5BFAA6u, 0x3D5B83BDu,
                0x7AB7077Au, 0xF56E0EF4u)},
    {VT_CRC_ROW(0x493C7D27u, 0x9278FA4Eu, 0x211D826Du, 0x423B04DAu, 0x847609B4u, 0x0D006599u,
                0x1A00CB32u, 0x34019664u)}};

/* n bytes, portable. Here and in the two below the sum is not inverted. */
static uint32_t vt_crc_soft(uint32_t c, const uint8_t *p, size_t n) {
    const uint32_t(*t)[256] = vt_crc_table;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a = c ^ vt_load_u32(p);
        uint32_t b = vt_load_u32(p + 4);
        c = t[7][a & 255] ^ t[6][a >> 8 & 255] ^ t[5][a >> 16 & 255] ^ t[4][a >> 24] ^
            t[3][b & 255] ^ t[2][b >> 8 & 255] ^ t[1][b >> 16 & 255] ^ t[0][b >> 24];
    }
    for (; n > 0; n--) c = c >> 8 ^ t[0][(c ^ *p++) & 255];
    return c;
}

#if !defined(VTAG_NO_SIMD) && defined(__GNUC__) && defined(__x86_64__)

static int vt_crc_hard_runs(void) { return __builtin_cpu_supports("sse4.2") != 0; }

__attribute__((target("sse4.2"))) static uint32_t vt_crc_hard(uint32_t c, const uint8_t *p,
                                                              size_t n) {
    uint64_t wide = c;
    for (; n >= 8; n -= 8, p += 8) wide = __builtin_ia32_crc32di(wide, vt_load_u64(p));
    c = (uint32_t)wide;
    for (; n > 0; n--) c = __builtin_ia32_crc32qi(c, *p++);
    return c;
}

#elif !defined(VTAG_NO_SIMD) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>

static int vt_crc_hard_runs(void) { return 1; }

static uint32_t vt_crc_hard(uint32_t c, const uint8_t *p, size_t n) {
    for (; n >= 8; n -= 8, p += 8) c = __crc32cd(c, vt_load_u64(p));
    for (; n > 0; n--) c = __crc32cb(c, *p++);
    return c;
}

#else

static int vt_crc_hard_runs(void) { return 0; }

static uint32_t vt_crc_hard(uint32_t c, const uint8_t *p, size_t n) { return vt_crc_soft(c, p, n); }

#endif

/* Continues crc, which is 0 at the start, over n bytes. */
static uint32_t vt_crc32c(uint32_t crc, const void *p, size_t n) {
    const uint8_t *b = (const uint8_t *)p;
    return ~(vt_crc_hard_runs() ? vt_crc_hard(~crc, b, n) : vt_crc_soft(~crc, b, n));
}

/* ---- XXH64, seed 0 ------------------------------------------------------- */

#define VT_XXH_P1 UINT64_C(0x9E3779B185EBCA87)
#define VT_XXH_P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define VT_XXH_P3 UINT64_C(0x165667B19E3779F9)
#define VT_XXH_P4 UINT64_C(0x85EBCA77C2B2AE63)
#define VT_XXH_P5 UINT64_C(0x27D4EB2F165667C5)

typedef struct vt_xxh {
    uint64_t lane[4];
    uint64_t bytes;   /* taken in so far                                   */
    uint8_t rest[32]; /* the last bytes % 32 of them, not yet in the lanes */
} vt_xxh;

static uint64_t vt_rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }

static uint64_t vt_xxh_round(uint64_t lane, uint64_t word) {
    return vt_rotl(lane + word * VT_XXH_P2, 31) * VT_XXH_P1;
}

static void vt_xxh_init(vt_xxh *h) {
    memset(h, 0, sizeof *h);
    h->lane[0] = VT_XXH_P1 + VT_XXH_P2;
    h->lane[1] = VT_XXH_P2;
    h->lane[3] = 0 - VT_XXH_P1;
}

/* Takes in whole stripes of 32 bytes. */
static void vt_xxh_stripes(vt_xxh *h, const uint8_t *p, size_t n) {
    uint64_t a = h->lane[0], b = h->lane[1], c = h->lane[2], d = h->lane[3];
    for (; n > 0; n--, p += 32) {
        a = vt_xxh_round(a, vt_load_u64(p));
        b = vt_xxh_round(b, vt_load_u64(p + 8));
        c = vt_xxh_round(c, vt_load_u64(p + 16));
        d = vt_xxh_round(d, vt_load_u64(p + 24));
    }
    h->lane[0] = a;
    h->lane[1] = b;
    h->lane[2] = c;
    h->lane[3] = d;
}

static void vt_xxh_update(vt_xxh *h, const void *data, size_t n) {
    const uint8_t *p = (const uint8_t *)data;
    size_t held = (size_t)(h->bytes % 32);
    if (n == 0) return; /* data may be NULL */
    h->bytes += n;
    if (held > 0) {
        size_t take = vt_min_size(32 - held, n);
        memcpy(h->rest + held, p, take);
        if (held + take < 32) return;
        vt_xxh_stripes(h, h->rest, 1);
        p += take;
        n -= take;
    }
    vt_xxh_stripes(h, p, n / 32);
    memcpy(h->rest, p + n / 32 * 32, n % 32);
}

/* Mixes the last n < 32 bytes into x and spreads the bits. */
static uint64_t vt_xxh_finish(uint64_t x, const uint8_t *p, size_t n) {
    for (; n >= 8; n -= 8, p += 8)
        x = vt_rotl(x ^ vt_xxh_round(0, vt_load_u64(p)), 27) * VT_XXH_P1 + VT_XXH_P4;
    for (; n >= 4; n -= 4, p += 4)
        x = vt_rotl(x ^ vt_load_u32(p) * VT_XXH_P1, 23) * VT_XXH_P2 + VT_XXH_P3;
    for (; n > 0; n--) x = vt_rotl(x ^ *p++ * VT_XXH_P5, 11) * VT_XXH_P1;
    x = (x ^ x >> 33) * VT_XXH_P2;
    x = (x ^ x >> 29) * VT_XXH_P3;
    return x ^ x >> 32;
}

static uint64_t vt_xxh_digest(const vt_xxh *h) {
    uint64_t x = VT_XXH_P5;
    int i;
    if (h->bytes >= 32) {
        x = vt_rotl(h->lane[0], 1) + vt_rotl(h->lane[1], 7) + vt_rotl(h->lane[2], 12) +
            vt_rotl(h->lane[3], 18);
        for (i = 0; i < 4; i++) x = (x ^ vt_xxh_round(0, h->lane[i])) * VT_XXH_P1 + VT_XXH_P4;
    }
    return vt_xxh_finish(x + h->bytes, h->rest, (size_t)(h->bytes % 32));
}

static uint64_t vt_xxh64(const void *p, size_t n) {
    vt_xxh h;
    vt_xxh_init(&h);
    vt_xxh_update(&h, p, n);
    return vt_xxh_digest(&h);
}

/* ==== 4  Memory ================================================= >>memory */

/* Plain blocks, arrays that double, and shared blocks with a count of holders. */

static void *vt_alloc(size_t n) { return VTAG_MALLOC(n ? n : 1); }

static void *vt_zalloc(size_t n) {
    void *p = vt_alloc(n);
    if (p) memset(p, 0, n);
    return p;
}

static void vt_free(void *p) { VTAG_FREE(p); }

/* Makes room for need >= 1 elements of size bytes. NULL: no memory, p stays good. */
static void *vt_grow(void *p, size_t *cap, size_t need, size_t size) {
    size_t c = *cap ? *cap : 8;
    void *q;
    if (p && need <= *cap) return p;
    while (c < need && c <= SIZE_MAX / 2) c *= 2;
    if (c < need || c > SIZE_MAX / size) return NULL;
    q = VTAG_REALLOC(p, c * size);
    if (q) *cap = c;
    return q;
}

/* Appends an element of size bytes to the array of *n that *array, a pointer of
   whatever type, points at. */
static vtag_err vt_append(void *array, size_t *n, size_t *cap, const void *element, size_t size) {
    void *a;
    memcpy(&a, array, sizeof a);
    a = vt_grow(a, cap, *n + 1, size);
    if (!a) return VTAG_NOMEM;
    memcpy(array, &a, sizeof a);
    memcpy((uint8_t *)a + (*n)++ * size, element, size);
    return VTAG_OK;
}

/* A copy of n elements; NULL: no memory. */
static void *vt_dup(const void *p, size_t n, size_t size) {
    void *q = vt_alloc(n * size);
    if (q && n) memcpy(q, p, n * size);
    return q;
}

typedef struct vt_buf { /* the block's bytes follow                          */
    uint32_t refs, zero;
    uint64_t size;
} vt_buf;

static vt_buf *vt_buf_new(size_t size) {
    vt_buf *b = size > SIZE_MAX - sizeof *b ? NULL : (vt_buf *)vt_alloc(sizeof *b + size);
    if (b) b->refs = 1, b->zero = 0, b->size = size;
    return b;
}

static void *vt_buf_data(vt_buf *b) { return b + 1; }

static vt_buf *vt_buf_hold(vt_buf *b) {
    if (b) vt_atomic_add(&b->refs, 1);
    return b;
}

static void vt_buf_drop(vt_buf *b) {
    if (b && vt_atomic_add(&b->refs, UINT32_MAX) == 0) vt_free(b);
}

/* Bytes that are being put together; the first failure sticks. */
typedef struct vt_out {
    uint8_t *p;
    size_t n, cap;
    vtag_err err;
} vt_out;

static void *vt_out_space(vt_out *o, size_t n) {
    void *q = o->err ? NULL : vt_grow(o->p, &o->cap, o->n + n + 1, 1);
    if (!q) {
        o->err = VTAG_NOMEM;
        return NULL;
    }
    o->p = (uint8_t *)q;
    q = o->p + o->n;
    o->n += n;
    return q;
}

static void vt_out_put(vt_out *o, const void *p, size_t n) {
    void *q = vt_out_space(o, n);
    if (q && n) memcpy(q, p, n);
}

static void vt_out_align(vt_out *o, size_t to) {
    size_t gap = (to - o->n % to) % to;
    void *q = vt_out_space(o, gap);
    if (q) memset(q, 0, gap);
}

/* ==== 5  Format ================================================= >>format */

/* A file, little-endian throughout, every struct naturally aligned:

       0        identity, 4 KiB, written once
       16 KiB   superblock slot 0, 512 bytes used
       32 KiB   superblock slot 1
       64 KiB   extents, one after the other, in multiples of 64 KiB

   Every extent begins with a vtf_extent that says what it is. Kinds:

       LOG      records, each chained to the one before by its checksum
       ITEMS    blobs: keys with payloads, tag names, notes, events, metadata
       ROWS     a segment: rows of exactly one tag; a column of vtf_row, then a
                column of vectors
       SKETCH   the compact image of a segment's first rows: vtf_sketch, the CRC-32C of
                every 64 KiB of what follows, the mean, a column of vtf_factors, a
                column of codes; chapter 8 says what they mean
       INDEX    runs: arrays of vtf_entry sorted by id
       META     checkpoint data: directories and bitmaps of dead rows

   A committed state is what a slot names: a checkpoint directory (or none), and
   the log from there to the slot's log position. What it refers to lies before the
   end of the file that it states. Each COMMIT record carries, as
   sections, what changed, and the XXH64 of every range of bytes outside the log
   that the commit wrote. So the state is the fold of the log, and a record is one
   atomic unit: it counts if and only if its own checksum, its chain, its salt and
   all its ranges hold.

   Commit, in order:
     1  allocate space                    a full disk is an error here
     2  write data where no committed state looks
     3  write the record at the log position
     4  sync
     5  write the slot not in use         unsynced; the next commit's sync covers it
     6  publish the state in this process

   THE CRASH ARGUMENT. Say the file is at state n, and a crash comes in the commit of n + 1.
     in 1-3   the bytes of 2 and 3 are in any condition. Both slots name states whose bytes
              were not touched, since nothing that a state refers to is overwritten (L3).
              The record counts only if its checksum, chain and salt hold and the XXH64 of
              each range that it names does: then all that n + 1 needs has arrived, and
              n + 1 it is, whole; else n.
     in 4     the same; the sync returns only when n + 1 counts.
     in 5     the torn slot fails its checksum. The other one names n or a state before
              it, and the log from there leads over counting records to n + 1.
     after 5  a slot names n + 1; it was written after the sync of all that it names, so no
              later crash can take away what it refers to.
   So what follows a crash is n or n + 1, and n + 1 if its commit had returned.

   Recovery, under the writer's lock, begins where a slot is torn, or salts differ, or
   anything but zeros lies past the newest slot's log position. It rolls forward what
   counts. Those bytes are to be written again, since a failed sync may have left the cache
   ahead of the disk [FSYNC]; and as an unsynced write may turn to garbage, even one of the
   same bytes, a copy of them comes first: past the end of the file, as ranges and then their
   bytes, synced, and named in a slot; whoever opens the file while it is named takes the
   bytes from it. Then it writes them in their place, syncs, zeroes the rest of the log
   extent, syncs, draws a new salt, writes one slot, syncs, writes the other, syncs. A crash
   in it leaves what it began with or what it made, and it begins again. The new salt makes
   what was dropped unable to count ever after, and tells a slot from one of the same number
   that was lost; both slots are written so that losing either loses nothing.

   WHAT IS ASSUMED of media. A sync that returns makes earlier writes durable. An unsynced
   write may be lost, cut at any byte, turned to garbage sector by sector, or reordered with
   others. Bytes next to a torn write stay as they were, or else the file is created with
   pad_sectors: then each commit starts on sectors of its own.

   WHAT IS PROMISED under that: a commit that returned survives in mode FULL, or up to the
   last sync in mode LAZY; a file is always one committed state; either slot may be lost; a
   reader never sees a state go back; rot in any referenced byte is found by vtag_verify.
   NOT PROMISED: anything on a disk that says synced and is not; a torn sector that takes its
   neighbours along, without pad_sectors; a file that someone else truncates or writes while
   it is mapped (the system raises SIGBUS; no_map reads instead); network file systems,
   whose locks and mappings lie (writing there is refused unless forced); a copy of the file
   taken while a writer is at work (vtag_copy takes one); scans, which trust sketches and
   rows as they lie, where vtag_vector and vtag_get check each record that they return.

   History: version 1 is the first. Version 2 has sketches, and codecs other than F32.
   Version 3 counts the bytes of live blobs, marks files in which nothing is dead, and has
   extensions of events and policies, a second name for a tag, and space 7 for facts; it is
   not closed yet. Older files are read and written as they are; what they cannot hold needs
   a compaction first, which makes them version 3. */

/* clang-format off */
#define VTF_VERSION      3u
#define VTF_ORDER        0x01020304u
#define VTF_FRONT        65536u   /* where extents begin                       */
#define VTF_ALIGN        65536u   /* their granularity                         */
#define VTF_IDENTITY     4096u    /* bytes of the identity page                */
#define VTF_SLOT_AT(i)   (16384u * ((i) + 1u))
#define VTF_MAX_DIM      32768u
#define VTF_HEAD_ROOM    512u     /* from an extent's start to its first content */
#define VTF_LOG_RESERVE  40960u   /* of a log extent, for a full disk          */
#define VTF_FLAG_PAD     1u       /* identity: commits start on sectors of their own */
#define VT_MIN_NORM      1.17549435e-38f /* a norm below is subnormal or zero      */
#define VT_MAX_NORM      3.40282347e+38f /* FLT_MAX                                */
#define VTF_DEAD         UINT64_MAX /* vtf_entry.at: the key is gone           */

typedef struct vtf_identity { /* at 0                                          */
    uint8_t  magic[8];        /* 0x89 "vtag" CR LF 0x1A                        */
    uint32_t order;           /* VTF_ORDER                                     */
    uint32_t version;
    uint8_t  uuid[16];
    uint64_t compatible;      /* features that any reader may ignore           */
    uint64_t read_compatible; /* features that a writer must know              */
    uint64_t incompatible;    /* features that everyone must know              */
    uint32_t flags;           /* VTF_FLAG_...                                  */
    uint8_t  rest[VTF_IDENTITY - 64]; /* zero                                  */
    uint32_t crc;             /* CRC-32C of the bytes before                   */
} vtf_identity;

typedef struct vtf_head {     /* the scalars of a state                        */
    uint64_t commit;          /* number of its commit                          */
    uint64_t time;            /* of that commit, Unix ms                       */
    uint64_t clock;           /* ms credited to retentions since creation      */
    uint64_t end;             /* committed end of the file                     */
    uint64_t revision;        /* newest given out                              */
    uint64_t event;           /* newest event's number                         */
    uint64_t extent;          /* newest extent's number                        */
    uint64_t puts;            /* new revisions, ever                           */
    uint32_t active, standby; /* tags, or 0                                    */
    uint32_t flags;           /* VTF_ROLLED_BACK                               */
    uint32_t zero;
} vtf_head;
#define VTF_ROLLED_BACK 1u    /* the newest change of roles was a rollback     */
#define VTF_WHOLE       2u    /* nothing was deleted, replaced or retired since the file was made */

typedef struct vtf_logpos {   /* where the next record goes                    */
    uint64_t at;
    uint64_t extent, length;  /* the log extent that holds at                  */
    uint32_t crc;             /* of the record before; 0: none                 */
    uint32_t zero;
} vtf_logpos;

typedef struct vtf_ckpt_ref { uint64_t at, length; uint32_t crc, zero; } vtf_ckpt_ref;

typedef struct vtf_slot {     /* superblock                                    */
    uint8_t    magic[8];      /* "vtagslot"                                    */
    uint8_t    uuid[16];
    uint32_t   index;         /* 0 or 1                                        */
    uint32_t   flags;         /* VTF_SUPERSEDED                                */
    uint64_t   seq;           /* the valid slot with the highest counts        */
    uint64_t   salt;          /* of records past log                           */
    vtf_head   head;
    vtf_logpos log;           /* end of the log                                */
    vtf_ckpt_ref ckpt;        /* newest checkpoint directory; at 0: none       */
    vtf_logpos ckpt_log;      /* where the log goes on after it                */
    uint64_t   redo_at, redo_n, redo_xxh; /* of a recovery under way, see above; 0: none */
    uint8_t    rest[268];     /* zero                                          */
    uint32_t   crc;           /* CRC-32C of the bytes before, seeded with index */
} vtf_slot;
#define VTF_SUPERSEDED 1u     /* a compacted file has taken this one's place   */
#define VTF_UNSYNCED   2u     /* what it names may not be durable: NO_SYNC     */

typedef struct vtf_extent {
    uint32_t magic, kind;
    uint8_t  uuid[16];
    uint64_t number, length;
    uint32_t tag, cap, dim, codec; /* of ROWS                                  */
    uint32_t zero, crc;       /* of the 60 bytes before                        */
} vtf_extent;
#define VTF_EXTENT_MAGIC 0x58455456u /* "VTEX"                                 */
enum { VTF_LOG = 1, VTF_ITEMS, VTF_ROWS, VTF_SKETCH, VTF_INDEX, VTF_META };

typedef struct vtf_row {      /* a vector's record                             */
    uint64_t id, rev;
    uint32_t tag, part;
    uint32_t off, len;
    float    norm;
    uint32_t crc;             /* of the 36 bytes before, then the vector's     */
} vtf_row;

typedef struct vtf_sketch {   /* 64 bytes after the start of a SKETCH extent   */
    uint64_t segment;         /* offset of the ROWS extent                     */
    uint64_t seed;            /* of the rotation                               */
    uint32_t encoder;         /* VTF_ENCODER; one of another is passed over    */
    uint32_t rows;            /* the segment's first                           */
    uint32_t dim;             /* of a code: the tag's, up to the next 128      */
    uint32_t crc;             /* of the 28 bytes before                        */
} vtf_sketch;
#define VTF_ENCODER 1u        /* 4 bits a number, a scale a row                */
#define VTF_SUMMED  65536u    /* bytes under one checksum                      */

typedef struct vtf_factors {  /* of 16 rows                                    */
    float scale[16], size[16], rest[16], bias[16];
} vtf_factors;

typedef struct vtf_entry {    /* one key of an index space                     */
    uint64_t id, rev;
    uint64_t at, aux;
} vtf_entry;
/* space      tag  id        rev            at                   aux
   ITEMS      0    item      content rev.   its blob, 0: none    time
   ROWS       t    item      rev. embedded  segment << 32 | row  parts
   WAIVERS    t    item      rev. waived    blob of the reason   time
   EVENTS     0    number    commit         its blob             kind << 32 | tag
   NAMES      0    hash      0              blob of name, bytes  0
   POLICY     0    0         0              its blob             0
   FACTS      0    item      labels         blob of meta, 0: none number
   at VTF_DEAD: no such key any more. Blobs of a tag's names have kind 0. */
enum { VTF_S_ITEMS = 1, VTF_S_ROWS, VTF_S_WAIVERS, VTF_S_EVENTS, VTF_S_NAMES, VTF_S_POLICY, VTF_S_FACTS };

typedef struct vtf_run {      /* a sorted array of entries; also its header in INDEX */
    uint32_t space, tag;
    uint64_t n, at;           /* entries; file offset of the first             */
    uint64_t min, max;        /* first and last id                             */
    uint32_t crc, zero;       /* of the entries                                */
} vtf_run;

typedef struct vtf_seg {      /* a segment                                     */
    uint64_t at, length;      /* of its extent                                 */
    uint32_t tag, cap;        /* rows that fit                                 */
    uint32_t rows, dead;      /* rows written; of them dead                    */
    uint64_t bits_at;         /* bitmap of dead rows, (cap + 63) / 64 words; 0: see the log */
    uint32_t bits_crc;
    uint32_t number;          /* position in the table of segments             */
    uint64_t sketch;          /* its SKETCH extent; 0: none, which is always legal */
} vtf_seg;

typedef struct vtf_tag {
    uint32_t tag, dim;
    uint32_t metric, codec;
    uint32_t flags, role;     /* role: candidate, older or gone; the head says active, standby */
    uint64_t fingerprint;
    uint64_t created, activated; /* Unix ms                                    */
    uint64_t order;           /* number of the event that made it active last  */
    uint64_t kept_from;       /* head.clock when it stopped being active; may wrap below 0 */
    uint64_t puts_from;       /* head.puts when it was declared; may wrap below 0 */
    uint64_t with;            /* new revisions that gave it                    */
    uint64_t names;           /* blob: name; note, then NUL and alias if there is one */
    uint32_t forced_from;     /* forced past the gate against this tag; 0: not */
    uint32_t alias;           /* its length + 1; 0: none                       */
} vtf_tag;
#define VTF_LIFTED 0x80000000u /* of flags: VTAG_ASSUMED no longer holds, an audit passed */

typedef struct vtf_blob {     /* then name, NUL, zeros to 8; data, NUL, zeros to 8 */
    uint32_t crc;             /* of what follows, to the end of the last padding */
    uint32_t kind;            /* the space that refers to it                   */
    uint64_t id;
    uint64_t data;            /* bytes                                         */
    uint32_t name, zero;      /* bytes                                         */
} vtf_blob;

typedef struct vtf_gate {
    uint32_t min_ppm, max_waived_ppm;
    uint64_t max_age_ms;
    double   min_score, max_drop;
    uint32_t has, min_queries; /* bit 0: has_min, bit 1: has_drop              */
} vtf_gate;

typedef struct vtf_cover { uint64_t n[8]; } vtf_cover; /* in the order of vtag_cover */

typedef struct vtf_event {    /* data of an event's blob; then its strings, NUL after each */
    uint64_t  time;
    uint32_t  kind, tag, base, flags, failed;
    uint32_t  score, reason, text; /* lengths + 1; 0: none                     */
    double    value, base_value;
    uint64_t  queries, commit;
    vtf_gate  used;
    vtf_cover cover;
} vtf_event;

typedef struct vtf_policy {   /* data of the policy's blob; then its strings   */
    vtf_gate gate;
    uint64_t retain_ms;
    uint32_t retain_scores;
    uint32_t score, hold;
    uint32_t flags;           /* VTF_EXTENDED                                  */
} vtf_policy;
#define VTF_EXTENDED 0x80000000u /* of an event's or a policy's flags: behind the strings, zeros to 8, then extensions */

typedef struct vtf_more {     /* an extension; those of unknown kind are passed over, and copied */
    uint32_t bytes, kind;     /* bytes with this header, a multiple of 8; VTF_X_... */
} vtf_more;
enum { VTF_X_BY = 1, VTF_X_COMMAND, VTF_X_RUN, VTF_X_AUDIT, VTF_X_GATE };
/* BY and COMMAND are texts, NUL and zeros behind them; the others: */
typedef struct vtf_run_counts { uint64_t in, filled, waived, failed; } vtf_run_counts;
typedef struct vtf_audit {
    uint64_t sampled, untestable, below; /* rows; below: cosine under .995     */
    double   worst;           /* cosine                                        */
    uint64_t from, to;        /* Unix ms: when their items were written        */
    uint64_t written;         /* rows ever written under the tag, at that time */
} vtf_audit;
typedef struct vtf_gate_more { uint32_t min_audit_ppm, min_recall_ppm; } vtf_gate_more;

typedef struct vtf_record {   /* then sections                                 */
    uint32_t magic, crc;      /* crc: of all after it                          */
    uint32_t size, type;      /* bytes in all, a multiple of 8; VTF_R_...      */
    uint32_t prev, zero;      /* crc of the record before                      */
    uint64_t salt;
    vtf_head head;            /* of the state that it makes                    */
} vtf_record;
#define VTF_RECORD_MAGIC 0x524C5456u /* "VTLR"                                 */
enum { VTF_R_COMMIT = 1, VTF_R_LINK };

typedef struct vtf_link { vtf_record r; uint64_t extent, length; } vtf_link;

typedef struct vtf_section {  /* sections of unknown kind are passed over      */
    uint16_t kind, arg;
    uint32_t size;            /* with this header, a multiple of 8             */
} vtf_section;
enum { VTF_RANGES = 1, VTF_SEGS, VTF_KILLS, VTF_DELTA, VTF_TAGS, VTF_BLOBS, VTF_TAILS, VTF_CKPT };

typedef struct vtf_range { uint64_t at, length, xxh; } vtf_range;

typedef struct vtf_kill { uint32_t seg, row, n, zero; } vtf_kill;

typedef struct vtf_delta {    /* arg: the space; then n entries, unless at     */
    uint32_t tag, n;
    int32_t  live;            /* change of the number of live keys             */
    uint32_t gave;            /* new revisions that gave this tag              */
    uint64_t at;              /* a vtf_run in INDEX instead of inline entries  */
    int64_t  bytes;           /* change of what live keys' blobs take; of ROWS: rows written; not before version 3 */
} vtf_delta;

typedef struct vtf_tail {     /* the extent of its kind that is being filled   */
    uint32_t kind, zero;
    uint64_t at, length, used;
} vtf_tail;

typedef struct vtf_space {
    uint32_t space, tag;
    uint64_t live, runs;
    uint64_t bytes;           /* of live keys' blobs; of ROWS: rows ever written; not before version 3 */
} vtf_space;

typedef struct vtf_ckpt {     /* directory; then tags, segments, spaces, runs of each space */
    uint32_t magic, zero;
    uint64_t size;
    uint32_t tags, segs, spaces, runs;
    vtf_tail tails[3];
} vtf_ckpt;
#define VTF_CKPT_MAGIC 0x4B435456u /* "VTCK"                                   */

/* clang-format on */
VT_STATIC_ASSERT(sizeof(vtf_identity) == VTF_IDENTITY && offsetof(vtf_identity, flags) == 56, id);
VT_STATIC_ASSERT(sizeof(vtf_head) == 80 && offsetof(vtf_head, active) == 64, vtf_head);
VT_STATIC_ASSERT(sizeof(vtf_logpos) == 32, vtf_logpos);
VT_STATIC_ASSERT(offsetof(vtf_slot, head) == 48 && offsetof(vtf_slot, log) == 128, vtf_slot_state);
VT_STATIC_ASSERT(offsetof(vtf_slot, ckpt) == 160 && offsetof(vtf_slot, redo_at) == 216, vtf_slot);
VT_STATIC_ASSERT(sizeof(vtf_slot) == 512 && offsetof(vtf_slot, crc) == 508, vtf_slot_end);
VT_STATIC_ASSERT(sizeof(vtf_extent) == 64 && offsetof(vtf_extent, tag) == 40, vtf_extent);
VT_STATIC_ASSERT(sizeof(vtf_row) == 40 && offsetof(vtf_row, norm) == 32, vtf_row);
VT_STATIC_ASSERT(sizeof(vtf_entry) == 32 && sizeof(vtf_run) == 48, vtf_index);
VT_STATIC_ASSERT(sizeof(vtf_sketch) == 32 && offsetof(vtf_sketch, encoder) == 16, vtf_sketch);
VT_STATIC_ASSERT(sizeof(vtf_factors) == 256, vtf_factors);
VT_STATIC_ASSERT(sizeof(vtf_seg) == 56, vtf_seg_size);
VT_STATIC_ASSERT(sizeof(vtf_tag) == 96 && sizeof(vtf_blob) == 32, vtf_tag);
VT_STATIC_ASSERT(sizeof(vtf_gate) == 40 && sizeof(vtf_policy) == 64, vtf_gate);
VT_STATIC_ASSERT(sizeof(vtag_cover) == 64 && offsetof(vtag_cover, oldest) == 56, vtag_cover_order);
VT_STATIC_ASSERT(sizeof(vtf_event) == 176, vtf_event);
VT_STATIC_ASSERT(sizeof(vtf_record) == 112 && sizeof(vtf_link) == 128, vtf_record);
VT_STATIC_ASSERT(sizeof(vtf_delta) == 32 && offsetof(vtf_delta, bytes) == 24, vtf_delta);
VT_STATIC_ASSERT(sizeof(vtf_space) == 32 && offsetof(vtf_space, bytes) == 24, vtf_space);
VT_STATIC_ASSERT(sizeof(vtf_tail) == 32 && sizeof(vtf_more) == 8, vtf_tail);
VT_STATIC_ASSERT(sizeof(vtf_run_counts) == 32 && sizeof(vtf_gate_more) == 8, vtf_more_counts);
VT_STATIC_ASSERT(sizeof(vtf_audit) == 56 && offsetof(vtf_audit, worst) == 24, vtf_audit);
VT_STATIC_ASSERT(sizeof(vtf_ckpt) == 128, vtf_ckpt);

static uint64_t vt_align(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* Bytes of a segment before its column of vectors. */
static uint64_t vtf_vectors_at(uint64_t cap) {
    return vt_align(VTF_HEAD_ROOM + cap * sizeof(vtf_row), 512);
}

static uint32_t vtf_crc_identity(const vtf_identity *id) {
    return vt_crc32c(0, id, offsetof(vtf_identity, crc));
}

static uint32_t vtf_crc_slot(const vtf_slot *s) {
    return vt_crc32c(s->index, s, offsetof(vtf_slot, crc));
}

static uint32_t vtf_crc_row(const vtf_row *r, const void *x, size_t bytes) {
    uint32_t c = vt_crc32c(0, r, offsetof(vtf_row, crc));
    return vt_crc32c(c, x, bytes);
}

static uint32_t vtf_crc_record(const vtf_record *r) {
    return vt_crc32c(0, &r->size, r->size - offsetof(vtf_record, size));
}

/* Offset of a blob's data from its start, and its size in all. */
static uint64_t vtf_blob_data(const vtf_blob *b) {
    return sizeof *b + vt_align((uint64_t)b->name + 1, 8);
}

static uint64_t vtf_blob_bytes(const vtf_blob *b) {
    return vtf_blob_data(b) + vt_align(b->data + 1, 8);
}

/* What ends a struct came with version 3; older files end it before. */
static uint32_t vtf_delta_size(uint32_t version) {
    return version < 3 ? (uint32_t)offsetof(vtf_delta, bytes) : (uint32_t)sizeof(vtf_delta);
}

static uint32_t vtf_space_size(uint32_t version) {
    return version < 3 ? (uint32_t)offsetof(vtf_space, bytes) : (uint32_t)sizeof(vtf_space);
}
/* ==== 6  System ================================================== >>system */

/* Fills one vtag_io with the operating system's calls; the chapters after this
   know files by it alone. Locks are bytes far past any end of file and belong to
   the open file description, so they die with the process, and closing another
   descriptor of the file does not drop them. A lock excludes the threads that
   share the file object as well: `held` says so, since the kernel cannot. */

#if !defined(_WIN32)

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#if defined(__GLIBC__) && !defined(__USE_XOPEN2K8)
#error "vtag: include it before the system's headers, or add -D_GNU_SOURCE"
#endif
VT_STATIC_ASSERT(sizeof(off_t) == 8, compile_with_file_offset_bits_64);

#define VT_OS_LOCKS 3u
#define VT_OS_CHUNK ((size_t)1 << 30) /* of one read or write */
#define VT_OS_BLOCK 8388608u          /* of writes that a sync need not wait for */
#define VT_OS_TRIES 1000              /* of a call that signals keep interrupting */
#define VT_OS_LINKS 40                /* symbolic links that one path may lead over */

typedef struct vt_os_file {
    int fd;
    uint32_t held[VT_OS_LOCKS]; /* atomic; 1: by a thread of ours */
} vt_os_file;

static vtag_err vt_os_err(int code, int writing) {
    if (code == ENOSPC || code == EDQUOT || code == EFBIG) return VTAG_NOSPACE;
    if (code == ENOMEM) return VTAG_NOMEM;
    if (code == EISDIR) return VTAG_FORMAT;
    if (code == ENOENT || code == ENOTDIR) return VTAG_NOTFOUND;
    if (code == EACCES || code == EPERM) return VTAG_DENIED;
    if (writing && (code == EROFS || code == EBADF)) return VTAG_READONLY;
    return VTAG_IO;
}

/* The error of a call that failed for a reason of ours, which errno then tells. */
static vtag_err vt_os_fail(int code, vtag_err err) {
    errno = code;
    return err;
}

/* Whether an interrupted call is worth another try. */
static int vt_os_again(int *tries) { return errno == EINTR && ++*tries < VT_OS_TRIES; }

#ifdef __USE_GNU
static const char *vt_os_words(int code, char *text, size_t n) { return strerror_r(code, text, n); }
#else
static const char *vt_os_words(int code, char *text, size_t n) {
    return strerror_r(code, text, n) == 0 ? text : "";
}
#endif

static size_t vt_os_why(void *ctx, char *text, size_t n) {
    char room[128] = VT_ZERO;
    const char *words = errno ? vt_os_words(errno, room, sizeof room) : "";
    size_t k = vt_min_size(strlen(words), n ? n - 1 : 0);
    (void)ctx;
    if (n) memcpy(text, words, k), text[k] = 0;
    return k;
}

/* A number of the calling thread; no two that live have the same. */
static uintptr_t vt_os_thread(void) { return (uintptr_t)&errno; }

static uint64_t vt_os_pid(void) { return (uint64_t)getpid(); }

/* 0 gives way to other threads. */
static void vt_os_sleep_us(uint32_t us) {
    struct timespec t;
    if (us == 0) {
        sched_yield();
        return;
    }
    t.tv_sec = (time_t)(us / 1000000u);
    t.tv_nsec = (long)(us % 1000000u) * 1000;
    nanosleep(&t, NULL);
}

static uint64_t vt_os_clock_ms(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) return 0;
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t vt_os_steady_ms(void) { return vt_os_clock_ms(CLOCK_MONOTONIC); }

static uint64_t vt_os_now(void *ctx) {
    (void)ctx;
    return vt_os_clock_ms(CLOCK_REALTIME);
}

/* ---- What differs between systems ---------------------------------------- */

#if defined(__linux__)
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#ifndef F_OFD_SETLK /* hidden without _GNU_SOURCE */
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

static int vt_os_flush(int fd) { return fdatasync(fd); }

/* 0 or an error code, of which EOPNOTSUPP and EINVAL ask to write zeros. */
static int vt_os_reserve(int fd, uint64_t from, uint64_t n) {
    return posix_fallocate(fd, (off_t)from, (off_t)n);
}

static int vt_os_remote(void *file) {
    static const uint32_t magic[] = {
        0x6969u,     /* NFS  */ 0x517Bu,     /* SMB  */ 0xFF534D42u, /* CIFS */
        0xFE534D42u, /* SMB2 */ 0x01021997u, /* 9p   */ 0x5346414Fu, /* AFS  */
        0x6B414653u, /* kAFS */ 0x00C36400u, /* Ceph */ 0x73757245u  /* Coda */
    };
    struct statfs fs;
    size_t i;
    if (fstatfs(((vt_os_file *)file)->fd, &fs) != 0) return 0;
    for (i = 0; i < sizeof magic / sizeof magic[0]; i++)
        if ((uint32_t)fs.f_type == magic[i]) return 1;
    return 0;
}

/* At most n random bytes; how many, or -1. */
static ssize_t vt_os_entropy(void *p, size_t n) { return getrandom(p, n, 0); }

/* Renames unless `to` is there: 0, or -1 and errno, of which ENOSYS asks for another way. */
static int vt_os_rename_new(const char *from, const char *to) {
#ifdef SYS_renameat2
    const unsigned no_replace = 1;
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, no_replace) == 0) return 0;
    if (errno == EINVAL) errno = ENOSYS; /* of this file system */
#else
    errno = ENOSYS;
#endif
    return -1;
}

/* Gives a file another's list of who may open it, or none if that has none. */
static int vt_os_copy_acl(int fd, int model) {
    static const char name[] = "system.posix_acl_access";
    uint8_t list[4096];
    ssize_t n = fgetxattr(model, name, list, sizeof list);
    if (n > 0) return fsetxattr(fd, name, list, (size_t)n, 0);
    if (errno != ENODATA && errno != ENOTSUP) return -1;
    return fremovexattr(fd, name) == 0 || errno == ENODATA || errno == ENOTSUP ? 0 : -1;
}

#else

#ifdef F_FULLFSYNC
static int vt_os_flush(int fd) { return fcntl(fd, F_FULLFSYNC) != -1 ? 0 : fsync(fd); }
#else
static int vt_os_flush(int fd) { return fsync(fd); }
#endif

static int vt_os_reserve(int fd, uint64_t from, uint64_t n) {
    (void)fd, (void)from, (void)n;
    return EOPNOTSUPP;
}

static int vt_os_remote(void *file) {
    (void)file;
    return 0;
}

static ssize_t vt_os_entropy(void *p, size_t n) {
    (void)p, (void)n;
    return -1;
}

#ifdef RENAME_EXCL
static int vt_os_rename_new(const char *from, const char *to) {
    if (renamex_np(from, to, RENAME_EXCL) == 0) return 0;
    if (errno == ENOTSUP) errno = ENOSYS;
    return -1;
}
#else
static int vt_os_rename_new(const char *from, const char *to) {
    (void)from, (void)to;
    errno = ENOSYS;
    return -1;
}
#endif

static int vt_os_copy_acl(int fd, int model) {
    (void)fd, (void)model;
    return 0;
}

#endif

/* Tries once to take, or to give back, a lock: 0, or -1 and errno. */
#ifdef F_OFD_SETLK

#define VT_OS_SIGNS ((off_t)(INT64_C(3) << 61))

static struct flock vt_os_range(int type, int which) {
    struct flock l = VT_ZERO;
    l.l_type = (short)type;
    l.l_whence = SEEK_SET;
    l.l_start = (off_t)((INT64_C(1) << 62) + which);
    l.l_len = 1;
    return l;
}

static int vt_os_try(int fd, int which, int take) {
    struct flock l = vt_os_range(take ? F_WRLCK : F_UNLCK, which);
    return fcntl(fd, F_OFD_SETLK, &l);
}

/* A probe that fails says yes: then a reader trusts less. */
static int vt_os_locked(void *file, int which) {
    struct flock l = vt_os_range(F_RDLCK, which);
    return fcntl(((vt_os_file *)file)->fd, F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}

/* Marks, by its number among bytes of their own, the process that has the writer's lock. */
static void vt_os_sign(int fd, int take) {
    struct flock l = vt_os_range(take ? F_WRLCK : F_UNLCK, 0);
    l.l_start = VT_OS_SIGNS + (off_t)getpid();
    fcntl(fd, F_OFD_SETLK, &l);
}

static uint64_t vt_os_holder(void *file, int which) {
    struct flock l = vt_os_range(F_WRLCK, 0);
    l.l_start = VT_OS_SIGNS;
    l.l_len = (off_t)1 << 32;
    if (which != VTAG_LOCK_WRITER || fcntl(((vt_os_file *)file)->fd, F_OFD_GETLK, &l) != 0)
        return 0;
    return l.l_type == F_UNLCK ? 0 : (uint64_t)(l.l_start - VT_OS_SIGNS);
}

#else /* one lock on the whole file: the writer's */

static void vt_os_sign(int fd, int take) { (void)fd, (void)take; }

static uint64_t vt_os_holder(void *file, int which) {
    (void)file, (void)which;
    return 0;
}

static int vt_os_try(int fd, int which, int take) {
    if (which != VTAG_LOCK_WRITER) return 0;
    return flock(fd, take ? LOCK_EX | LOCK_NB : LOCK_UN);
}

/* Takes it for a moment; `held` keeps our own threads from converting it. */
static int vt_os_locked(void *file, int which) {
    vt_os_file *f = (vt_os_file *)file;
    int taken;
    if (which != VTAG_LOCK_WRITER || !vt_atomic_cas(&f->held[which], 0, 1)) return 0;
    taken = flock(f->fd, LOCK_SH | LOCK_NB) != 0;
    if (!taken) flock(f->fd, LOCK_UN);
    vt_atomic_store(&f->held[which], 0);
    return taken;
}

#endif

/* ---- Open and close ------------------------------------------------------ */

/* Makes the name of a file durable. A directory that may not be read, or of a file
   system that cannot sync one, is left to the system. */
static vtag_err vt_os_sync_name(void *ctx, const char *path) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 1;
    char *dir = (char *)vt_zalloc(n + 1);
    (void)ctx;
    if (!dir) return VTAG_NOMEM;
    memcpy(dir, slash ? path : ".", n);
    int fd = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY), code = errno;
    VTAG_FREE(dir);
    if (fd < 0) return code == EACCES || code == EPERM ? VTAG_OK : vt_os_fail(code, VTAG_IO);
    int bad = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return !bad || bad == EINVAL || bad == ENOTSUP ? VTAG_OK : vt_os_fail(bad, VTAG_IO);
}

/* A descriptor above 2, so that a host that closed its standard streams does
   not print into the store; or -1. */
static int vt_os_open_fd(const char *path, int flags, mode_t mode) {
    int fd, high, tries = 0;
    do fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
    while (fd < 0 && vt_os_again(&tries));
    if (fd < 0 || fd > 2) return fd;
    high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    tries = errno;
    close(fd);
    errno = tries;
    return high;
}

/* *made: this call created the file, so its directory is to be synced. */
static int vt_os_open_or_create(const char *path, vtag_access access, int *made) {
    int fd = -1, tries;
    *made = 0;
    if (access == VTAG_READ) return vt_os_open_fd(path, O_RDONLY, 0);
    for (tries = 0; tries < 8; tries++) {
        if (access != VTAG_NEW) {
            fd = vt_os_open_fd(path, O_RDWR, 0);
            if (fd >= 0 || errno != ENOENT || access == VTAG_EXISTING) return fd;
        }
        fd = vt_os_open_fd(path, O_RDWR | O_CREAT | O_EXCL, 0666);
        *made = fd >= 0;
        if (fd >= 0 || errno != EEXIST || access == VTAG_NEW) return fd;
    }
    return fd;
}

/* The object of a descriptor, which it takes over. */
static vtag_err vt_os_object(int fd, void **file) {
    vtag_err err = VTAG_OK;
    struct stat st;
    vt_os_file *f = (vt_os_file *)vt_zalloc(sizeof *f);
    if (!f) err = VTAG_NOMEM;
    else if (fstat(fd, &st) != 0) err = VTAG_IO;
    else if (!S_ISREG(st.st_mode)) err = vt_os_fail(S_ISDIR(st.st_mode) ? EISDIR : 0, VTAG_FORMAT);
    if (err != VTAG_OK) {
        int code = errno;
        VTAG_FREE(f);
        close(fd);
        return vt_os_fail(code, err);
    }
    f->fd = fd;
    *file = f;
    return VTAG_OK;
}

static void vt_os_close(void *file) {
    close(((vt_os_file *)file)->fd);
    VTAG_FREE(file);
}

static vtag_err vt_os_open(void *ctx, const char *path, vtag_access access, void **file) {
    int made, fd = vt_os_open_or_create(path, access, &made);
    if (fd < 0 && access == VTAG_NEW && errno == EEXIST) return VTAG_EXISTS;
    if (fd < 0) return vt_os_err(errno, access != VTAG_READ);
    vtag_err err = vt_os_object(fd, file);
    if (err || !made) return err;
    err = vt_os_sync_name(ctx, path);
    if (err) vt_os_close(*file);
    return err;
}

/* A new file for what model holds: at birth nobody may open it who may not open that. */
static vtag_err vt_os_create(void *ctx, const char *path, void *model, void **file) {
    struct stat of, st;
    mode_t mode = 0666;
    (void)ctx;
    if (model && fstat(((vt_os_file *)model)->fd, &of) != 0) return VTAG_IO;
    if (model) mode = of.st_mode & (of.st_gid == getegid() ? 0777 : 0707);
    int fd = vt_os_open_fd(path, O_RDWR | O_CREAT | O_EXCL, mode);
    if (fd < 0) return errno == EEXIST ? VTAG_EXISTS : vt_os_err(errno, 1);
    if (model && fstat(fd, &st) == 0 && st.st_gid != of.st_gid && st.st_mode & 070)
        mode = fchmod(fd, st.st_mode & 0707) == 0 ? mode : 0; /* of a folder's own group */
    vtag_err err = vt_os_object(fd, file);
    int code = errno;
    if (err) unlink(path); /* it is ours, and empty                              */
    return err ? vt_os_fail(code, err) : VTAG_OK;
}

static vtag_err vt_os_like(void *file, void *model) {
    int fd = ((vt_os_file *)file)->fd, of = ((vt_os_file *)model)->fd;
    struct stat a, b;
    if (fstat(fd, &a) != 0 || fstat(of, &b) != 0) return VTAG_IO;
    if (b.st_nlink > 1) return vt_os_fail(EMLINK, VTAG_DENIED);
    uid_t owner = a.st_uid == b.st_uid ? (uid_t)-1 : b.st_uid;
    gid_t group = a.st_gid == b.st_gid ? (gid_t)-1 : b.st_gid;
    if (owner != (uid_t)-1 || group != (gid_t)-1)
        if (fchown(fd, owner, group) != 0) return VTAG_DENIED;
    if (vt_os_copy_acl(fd, of) != 0) return VTAG_DENIED;
    return fchmod(fd, b.st_mode & 07777) == 0 ? VTAG_OK : VTAG_DENIED;
}

/* ---- Bytes --------------------------------------------------------------- */

static vtag_err vt_os_size(void *file, uint64_t *bytes) {
    struct stat st;
    if (fstat(((vt_os_file *)file)->fd, &st) != 0) return VTAG_IO;
    *bytes = (uint64_t)st.st_size;
    return VTAG_OK;
}

static int vt_os_beyond(uint64_t at, uint64_t n) {
    return at > (uint64_t)INT64_MAX || n > (uint64_t)INT64_MAX - at;
}

/* Reads n bytes into to, or, if that is NULL, writes them from from. */
static vtag_err vt_os_move(void *file, uint64_t at, uint8_t *to, const uint8_t *from, size_t n) {
    int fd = ((vt_os_file *)file)->fd;
    size_t done = 0;
    int tries = 0;
    if (vt_os_beyond(at, n))
        return to ? vt_os_fail(EOVERFLOW, VTAG_IO) : vt_os_fail(EFBIG, VTAG_NOSPACE);
    while (done < n) {
        size_t part = vt_min_size(n - done, VT_OS_CHUNK);
        off_t where = (off_t)(at + done);
        ssize_t got = to ? pread(fd, to + done, part, where) : pwrite(fd, from + done, part, where);
        if (got < 0 && vt_os_again(&tries)) continue;
        if (got < 0) return vt_os_err(errno, !to);
        if (got == 0) return vt_os_fail(0, VTAG_IO); /* the file ends */
        done += (size_t)got;
        tries = 0;
    }
    return VTAG_OK;
}

static vtag_err vt_os_read(void *file, uint64_t at, void *p, size_t n) {
    return vt_os_move(file, at, (uint8_t *)p, NULL, n);
}

/* Has the system begin with whole blocks that a long row of writes has left behind, so that
   the sync in the end finds little to do. No promise, and no error of it is missed there. */
static void vt_os_begin(int fd, uint64_t at, uint64_t n) {
#ifdef SYNC_FILE_RANGE_WRITE
    uint64_t from = at / VT_OS_BLOCK * VT_OS_BLOCK, to = (at + n) / VT_OS_BLOCK * VT_OS_BLOCK;
    if (from < to) sync_file_range(fd, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE);
#else
    (void)fd, (void)at, (void)n;
#endif
}

static vtag_err vt_os_write(void *file, uint64_t at, const void *p, size_t n) {
    vtag_err err = vt_os_move(file, at, NULL, (const uint8_t *)p, n);
    if (!err) vt_os_begin(((vt_os_file *)file)->fd, at, n);
    return err;
}

static vtag_err vt_os_zeros(void *file, uint64_t at, uint64_t n) {
    uint8_t zero[8192] = VT_ZERO;
    vtag_err err = VTAG_OK;
    while (n > 0 && err == VTAG_OK) {
        size_t part = (size_t)vt_min_u64(n, sizeof zero);
        err = vt_os_write(file, at, zero, part);
        at += part;
        n -= part;
    }
    return err;
}

/* Never leaves holes: a write into one could find the disk full. */
static vtag_err vt_os_allocate(void *file, uint64_t bytes) {
    uint64_t size;
    int code, tries = 0;
    vtag_err err = vt_os_size(file, &size);
    if (err != VTAG_OK || bytes <= size) return err;
    if (vt_os_beyond(bytes, 0)) return vt_os_fail(EFBIG, VTAG_NOSPACE);
    do errno = code = vt_os_reserve(((vt_os_file *)file)->fd, size, bytes - size);
    while (code && vt_os_again(&tries));
    if (code == EOPNOTSUPP || code == EINVAL || code == ENOSYS || code == EINTR)
        return vt_os_zeros(file, size, bytes - size);
    return code == 0 ? VTAG_OK : vt_os_err(code, 1);
}

static vtag_err vt_os_sync(void *file) {
    int bad, tries = 0;
    do bad = vt_os_flush(((vt_os_file *)file)->fd);
    while (bad != 0 && vt_os_again(&tries));
    return bad != 0 ? VTAG_IO : VTAG_OK;
}

static vtag_err vt_os_map(void *file, uint64_t at, uint64_t bytes, const uint8_t **base) {
    void *p;
    if (bytes > SIZE_MAX) return VTAG_NOMEM;
    if (bytes == 0 || vt_os_beyond(at, bytes)) return VTAG_IO;
    p = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, ((vt_os_file *)file)->fd, (off_t)at);
    if (p == MAP_FAILED) return vt_os_err(errno, 0);
    *base = (const uint8_t *)p;
    return VTAG_OK;
}

static void vt_os_unmap(void *file, const uint8_t *base, uint64_t bytes) {
    (void)file;
    munmap((void *)(uintptr_t)base, (size_t)bytes);
}

/* ---- Locks --------------------------------------------------------------- */

/* Tries once: OK, LOCKED, or another error. */
static vtag_err vt_os_lock_once(vt_os_file *f, int which) {
    int code;
    if (!vt_atomic_cas(&f->held[which], 0, 1)) return VTAG_LOCKED;
    if (vt_os_try(f->fd, which, 1) == 0) {
        if (which == VTAG_LOCK_WRITER) vt_os_sign(f->fd, 1);
        return VTAG_OK;
    }
    code = errno;
    vt_atomic_store(&f->held[which], 0);
    if (code == EBADF) return VTAG_READONLY;
    return code == EAGAIN || code == EACCES || code == EWOULDBLOCK || code == EINTR
               ? VTAG_LOCKED
               : vt_os_err(code, 0);
}

static vtag_err vt_os_lock(void *file, int which, uint32_t wait_ms) {
    vt_os_file *f = (vt_os_file *)file;
    uint64_t start = vt_os_steady_ms();
    uint32_t nap_us = 50;
    vtag_err err = vt_os_lock_once(f, which);
    while (err == VTAG_LOCKED && vt_os_steady_ms() - start < wait_ms) {
        vt_os_sleep_us(nap_us);
        nap_us = (uint32_t)vt_min_u64(nap_us * 2, 1000);
        err = vt_os_lock_once(f, which);
    }
    return err;
}

static void vt_os_unlock(void *file, int which) {
    vt_os_file *f = (vt_os_file *)file;
    if (which == VTAG_LOCK_WRITER) vt_os_sign(f->fd, 0);
    vt_os_try(f->fd, which, 0);
    vt_atomic_store(&f->held[which], 0);
}

/* ---- Names and the rest -------------------------------------------------- */

/* The path of what is there, absolute and without links, if it fits. */
static vtag_err vt_os_real(const char *path, char *to, size_t n) {
    char *real = realpath(path, NULL);
    if (!real) return vt_os_err(errno, 0);
    size_t k = strlen(real) + 1;
    if (k <= n) memcpy(to, real, k);
    free(real);
    return k <= n ? VTAG_OK : vt_os_fail(ENAMETOOLONG, VTAG_IO);
}

/* Puts a name in the place of a path's last part, or of the whole if it is absolute. */
static vtag_err vt_os_beside(char *path, size_t n, const char *name) {
    char *slash = strrchr(path, '/');
    size_t from = slash && *name != '/' ? (size_t)(slash - path) + 1 : 0, k = strlen(name) + 1;
    if (k > n - from) return vt_os_fail(ENAMETOOLONG, VTAG_IO);
    memcpy(path + from, name, k);
    return VTAG_OK;
}

/* A path whose last part is not there, and is no link. */
static vtag_err vt_os_real_new(char *path, char *to, size_t n) {
    char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (!*base || !strcmp(base, ".") || !strcmp(base, ".."))
        return vt_os_fail(ENOENT, VTAG_NOTFOUND);
    char name[256];
    if (strlen(base) >= sizeof name) return vt_os_fail(ENAMETOOLONG, VTAG_IO);
    memcpy(name, base, strlen(base) + 1);
    if (slash) slash[slash == path] = 0;
    vtag_err err = vt_os_real(slash ? path : ".", to, n);
    if (err) return err;
    size_t k = strlen(to);
    if (k + 2 > n) return vt_os_fail(ENAMETOOLONG, VTAG_IO);
    if (to[k - 1] != '/') to[k++] = '/', to[k] = 0;
    return vt_os_beside(to, n, name);
}

static vtag_err vt_os_resolve(void *ctx, const char *path, char *to, size_t n) {
    char at[VTAG_PATH_MAX], link[VTAG_PATH_MAX];
    (void)ctx;
    if (strlen(path) >= sizeof at) return vt_os_fail(ENAMETOOLONG, VTAG_IO);
    memcpy(at, path, strlen(path) + 1);
    for (int links = 0; links < VT_OS_LINKS; links++) {
        vtag_err err = vt_os_real(at, to, n);
        if (err != VTAG_NOTFOUND) return err;
        ssize_t k = readlink(at, link, sizeof link - 1);
        if (k < 0) return vt_os_real_new(at, to, n);
        link[k] = 0;
        err = vt_os_beside(at, sizeof at, link); /* leads nowhere, yet */
        if (err) return err;
    }
    return vt_os_fail(ELOOP, VTAG_IO);
}

static int vt_os_exists(void *ctx, const char *path) {
    struct stat st;
    (void)ctx;
    return lstat(path, &st) == 0; /* what keeps us from looking, keeps from making, and says why */
}

/* Where a name cannot be taken in one step, a second name is given, or what is there is
   asked for just before. */
static vtag_err vt_os_rename_or_link(const char *from, const char *to) {
    if (vt_os_rename_new(from, to) == 0) return VTAG_OK;
    if (errno == ENOSYS && link(from, to) == 0)
        return unlink(from) == 0 ? VTAG_OK : vt_os_err(errno, 1);
    if (errno == EEXIST) return VTAG_EXISTS;
    if (errno != ENOSYS && errno != EPERM && errno != ENOTSUP) return vt_os_err(errno, 1);
    if (vt_os_exists(NULL, to)) return VTAG_EXISTS;
    return rename(from, to) == 0 ? VTAG_OK : vt_os_err(errno, 1);
}

static vtag_err vt_os_publish(void *ctx, const char *from, const char *to, int replace) {
    vtag_err err = VTAG_OK;
    if (!replace) err = vt_os_rename_or_link(from, to);
    else if (rename(from, to) != 0) err = vt_os_err(errno, 1);
    return err ? err : vt_os_sync_name(ctx, to);
}

static vtag_err vt_os_rename(void *ctx, const char *from, const char *to) {
    return vt_os_publish(ctx, from, to, 1);
}

static vtag_err vt_os_remove(void *ctx, const char *path) {
    (void)ctx;
    return unlink(path) == 0 ? VTAG_OK : vt_os_err(errno, 1);
}

static int vt_os_same(void *file, const char *path) {
    struct stat a, b;
    return fstat(((vt_os_file *)file)->fd, &a) == 0 && stat(path, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static vtag_err vt_os_random(void *ctx, void *p, size_t n) {
    vt_os_file f;
    vtag_err err = VTAG_OK;
    (void)ctx;
    if (vt_os_entropy(p, n) == (ssize_t)n) return VTAG_OK;
    int tries = 0;
    f.fd = vt_os_open_fd("/dev/urandom", O_RDONLY, 0);
    if (f.fd < 0) return VTAG_IO;
    while (n > 0 && err == VTAG_OK) {
        ssize_t got = read(f.fd, p, n);
        if (got < 0 && vt_os_again(&tries)) continue;
        if (got <= 0) err = VTAG_IO;
        else p = (uint8_t *)p + got, n -= (size_t)got;
    }
    close(f.fd);
    return err;
}

static const vtag_io *vt_os_io(void) {
    static const vtag_io io = {vt_os_open,      vt_os_close,  vt_os_size,   vt_os_allocate,
                               vt_os_read,      vt_os_write,  vt_os_sync,   vt_os_map,
                               vt_os_unmap,     vt_os_lock,   vt_os_unlock, vt_os_locked,
                               vt_os_rename,    vt_os_remove, vt_os_same,   vt_os_remote,
                               vt_os_random,    vt_os_now,    NULL,         vt_os_resolve,
                               vt_os_exists,    vt_os_create, vt_os_like,   vt_os_publish,
                               vt_os_sync_name, vt_os_why,    vt_os_holder};
    return &io;
}

#else /* Windows comes with a later version; until then bring your own io */

static uint64_t vt_os_pid(void) { return 0; }
static uintptr_t vt_os_thread(void) { return 0; }
static void vt_os_sleep_us(uint32_t us) { (void)us; }
static uint64_t vt_os_steady_ms(void) { return 0; }
static const vtag_io *vt_os_io(void) { return NULL; }

#endif

/* ---- A lock for a few instructions --------------------------------------- */

/* Gives way early: with one processor the holder needs it. */
static void vt_spin_lock(uint32_t *l) {
    uint32_t spins = 0;
    while (!vt_atomic_cas(l, 0, 1))
        if (++spins > 64) vt_os_sleep_us(spins > 256 ? 50 : 0);
}

static void vt_spin_unlock(uint32_t *l) { vt_atomic_store(l, 0); }
/* ==== 7  Kernels ================================================ >>kernels */

/* Scores of rows against a query, the same bits from every instruction set.
   Products of two f32 are exact in f64, so only the order of the additions
   counts: lane j of 16 sums the i with i mod 16 == j, ascending, and fold adds
   lane j + h to lane j for h = 8, 4, 2, 1. Rows and query are padded with zeros
   to whole lanes, so there are no tails. An instruction set writes zero, step
   and fold; one macro makes the loops of them, over several rows at once, since
   one row's additions wait for each other. The scalar row of the table is the
   meaning of the others. */

/* Scores n rows, pad floats apart from x on, into out[n]; pad % 16 == 0. */
typedef void vt_score_fn(const float *q, const float *x, size_t pad, size_t n, double *out);

#if defined(__GNUC__)
#define VT_PREFETCH(p) __builtin_prefetch((const void *)(p))
#define VT_TARGET(isa) __attribute__((target(isa)))
#else
#define VT_PREFETCH(p) ((void)(p))
#define VT_TARGET(isa)
#endif
#define VT_AHEAD 4096u /* bytes; prefetching past the end is harmless */

static void vt_prefetch(const uint8_t *p, size_t n) {
    size_t i;
    for (i = 0; i < n; i += 64) VT_PREFETCH(p + i);
}

/* clang-format off */
#define VT_EACH_1(M, op, isa) M(0, op, isa)
#define VT_EACH_2(M, op, isa) M(0, op, isa) M(1, op, isa)
#define VT_EACH_4(M, op, isa) VT_EACH_2(M, op, isa) M(2, op, isa) M(3, op, isa)
#define VT_ROW_ZERO(r, op, isa) vt_acc_##isa s##r = vt_zero_##isa();
#define VT_ROW_STEP(r, op, isa)                                         \
    vt_##op##_step_##isa(&s##r, q + i, x + r * pad + i);
#define VT_ROW_STREAM(r, op, isa)                                       \
    VT_PREFETCH((uintptr_t)(x + r * pad + i) + VT_AHEAD);               \
    VT_ROW_STEP(r, op, isa)
#define VT_ROW_FOLD(r, op, isa) out[r] = vt_fold_##isa(&s##r);

#define VT_BLOCK(op, isa, rows, step)                                   \
    for (; n >= rows; n -= rows, x += rows * pad, out += rows) {        \
        size_t i;                                                       \
        VT_EACH_##rows(VT_ROW_ZERO, op, isa)                            \
        for (i = 0; i < pad; i += 16) {                                 \
            VT_EACH_##rows(step, op, isa)                               \
        }                                                               \
        VT_EACH_##rows(VT_ROW_FOLD, op, isa)                            \
    }

#define VT_KERNEL(op, isa, rows, target)                                \
    target static void vt_##op##_f32_##isa(                             \
        const float *q, const float *x, size_t pad, size_t n, double *out) \
    {                                                                   \
        VT_BLOCK(op, isa, rows, VT_ROW_STREAM)                          \
        VT_BLOCK(op, isa, 1, VT_ROW_STEP) /* most times a row by itself */ \
    }
/* clang-format on */

/* ---- Kernels of sketches: their meaning ---------------------------------- */

/* Integer sums are exact, so every row of the table agrees on them to the bit. So does
   it on rotate and clip, where each operation on f32 is a sum or difference, then at
   most times a constant, and no compiler can fuse anything. The bounds of reach need
   not agree: chapter 8 leaves room for their rounding. */

#define VT_GROUP 16u            /* rows that are looked at together             */
#define VT_SLACK (1.0f / 65536) /* 256 roundings of f32; see chapter 8          */

/* What the codes of 16 rows, x[r][bytes], and nq queries, h[nq][2 * bytes], have in
   common: out[q * 16 + r] = sum of (code + 8) * h. Byte j of each 64 holds the codes j
   and j + 64 of a chunk of 128. */
typedef void vt_cross_fn(const uint8_t *const *x, const int8_t *h, size_t bytes, size_t nq,
                         int32_t *out);

/* The same for blocks, one or more, of 16 queries each, their bytes interleaved by
   vt_interleave. tmp has room for the 16 rows' codes. Asks for what lies behind the first
   16 rows' codes. Faster for many queries; not every instruction set has it. */
typedef void vt_tile_fn(const uint8_t *const *x, const int8_t *h, size_t bytes, size_t blocks,
                        uint8_t *tmp, int32_t *out);

typedef struct vt_probe { /* a query as the rows of one segment see it; chapter 8 fills it */
    float unit;           /* half a step of codes times a step of the query */
    int32_t shift;        /* 15 times the sum of the query's bytes */
    float by_size, by_rest, floor;
} vt_probe;

/* Bit r is set if the similarity of row r may reach the floor; none that does is missed. */
typedef uint32_t vt_reach_fn(const vtf_factors *f, const int32_t *dots, const vt_probe *p);

/* Rotates v[dim] in place; chapter 8 says how. */
typedef void vt_rotate_fn(float *v, uint32_t dim, uint64_t seed);

/* Quantises v[n] * unit, which is within +-2047, with each of eight steps s; a code's
   odd number k is 2 * code + 1: along[s] = sum of k * v, own[s] = sum of k * k. */
typedef void vt_clip_fn(const float *v, uint32_t n, float unit, int32_t *along, int32_t *own);

/* The codes of v[n] by one step, packed, and in u what each stands for; the sum of k * k. */
typedef int32_t vt_code_fn(const float *v, uint32_t n, float unit, int32_t step, uint8_t *codes,
                           float *u);

/* v[n] = by * v[n] - m[n], rounded once. */
typedef void vt_centre_fn(float *v, uint32_t n, float by, const float *m);

/* 65,536 over the step: from an eighth of 2047 down, by 9 % of that each. */
static const int32_t vt_clip_steps[8] = {256, 281, 312, 351, 400, 466, 557, 692};

/* floor(q / step) within -8..7; what is shifted is never negative. */
static int32_t vt_clip_code(int32_t q, int32_t step) {
    int32_t c = ((q * step + (1 << 24)) >> 16) - 256;
    return c < -8 ? -8 : c > 7 ? 7 : c;
}

/* clang-format off */
#define VT_CROSS_ZERO(q, r, isa) vt_sum_##isa s##q##r = vt_none_##isa();
#define VT_CROSS_STEP(q, r, isa)                                        \
    s##q##r = vt_mac_##isa(s##q##r, &codes, a + q * 2 * bytes);
#define VT_CROSS_FOLD(q, op, isa)                                       \
    vt_##op##_##isa(&s##q##0, &s##q##1, &s##q##2, &s##q##3, out + q * VT_GROUP + g);
#define VT_CROSS_ROW(r, isa, each)                                      \
    {                                                                   \
        vt_codes_##isa codes = vt_unpack_##isa(x[g + r] + i);           \
        VT_PREFETCH((uintptr_t)x[g + r] + i + VT_AHEAD);                \
        each(VT_CROSS_STEP, r, isa)                                     \
    }

/* Four rows against some queries at a time, their sums in registers. */
#define VT_CROSS_BLOCK(isa, queries, each)                              \
    for (; nq >= queries; nq -= queries, h += queries * 2 * bytes, out += queries * VT_GROUP) { \
        size_t g, i;                                                    \
        for (g = 0; g < VT_GROUP; g += 4) {                             \
            each(VT_CROSS_ZERO, 0, isa)                                 \
            each(VT_CROSS_ZERO, 1, isa)                                 \
            each(VT_CROSS_ZERO, 2, isa)                                 \
            each(VT_CROSS_ZERO, 3, isa)                                 \
            for (i = 0; i < bytes; i += VT_WIDE_##isa) {                \
                const int8_t *a = h + 2 * (i & ~(size_t)63) + (i & 63); \
                VT_CROSS_ROW(0, isa, each)                              \
                VT_CROSS_ROW(1, isa, each)                              \
                VT_CROSS_ROW(2, isa, each)                              \
                VT_CROSS_ROW(3, isa, each)                              \
            }                                                           \
            each(VT_CROSS_FOLD, fold4, isa)                             \
        }                                                               \
    }

#define VT_CROSS(isa, queries, target)                                  \
    target static void vt_cross_##isa(                                  \
        const uint8_t *const *x, const int8_t *h, size_t bytes, size_t nq, int32_t *out) \
    {                                                                   \
        VT_CROSS_BLOCK(isa, queries, VT_EACH_##queries)                 \
        VT_CROSS_BLOCK(isa, 1, VT_EACH_1)                               \
    }

#define VT_ROTATE(isa, target)                                          \
    target static void vt_rotate_##isa(float *v, uint32_t dim, uint64_t seed) \
    {                                                                   \
        uint32_t p = vt_power_below(dim), round, h, i, j;               \
        float by = (float)(1 / (sqrt)((double)p)), half = 0.70710678f;    \
        for (round = 0; round < (p < dim ? 4u : 2u); round++) {         \
            float *x = round % 2 ? v + dim - p : v;                     \
            for (i = 0; i < dim; i += 16)                               \
                vt_flip_##isa(v + i, vt_signs(seed + round, i));        \
            for (h = p / 2; h >= 16; h /= 2)                            \
                for (i = 0; i < p; i += 2 * h)                          \
                    for (j = i; j < i + h; j += 16)                     \
                        vt_fly_##isa(x + j, x + j + h, h == 16 ? by : 1.0f); \
            for (i = 0; i < p; i += 16) vt_low_##isa(x + i);            \
            for (j = 0; p < dim && j < dim / 2; j += 16)                \
                vt_fly_##isa(v + j, v + j + dim / 2, half);             \
        }                                                               \
    }

#define VT_CLIP(isa, target)                                            \
    target static void vt_clip_##isa(                                   \
        const float *v, uint32_t n, float unit, int32_t *along, int32_t *own) \
    {                                                                   \
        int32_t a[8][16], b[8][16];                                     \
        uint32_t i, j, s;                                               \
        memset(a, 0, sizeof a);                                         \
        memset(b, 0, sizeof b);                                         \
        for (i = 0; i < n; i += 16) {                                   \
            int32_t q[16];                                              \
            for (j = 0; j < 16; j++) q[j] = (int32_t)(v[i + j] * unit); \
            for (s = 0; s < 8; s++)                                     \
                for (j = 0; j < 16; j++) {                              \
                    int32_t k = 2 * vt_clip_code(q[j], vt_clip_steps[s]) + 1; \
                    a[s][j] += k * q[j];                                \
                    b[s][j] += k * k;                                   \
                }                                                       \
        }                                                               \
        for (s = 0; s < 8; s++)                                         \
            for (j = 0, along[s] = own[s] = 0; j < 16; j++)             \
                along[s] += a[s][j], own[s] += b[s][j];                 \
    }

#define VT_CODE(isa, target)                                            \
    target static int32_t vt_code_##isa(                                \
        const float *v, uint32_t n, float unit, int32_t step, uint8_t *codes, float *u) \
    {                                                                   \
        int32_t own[16] = {0}, sum = 0, lo[16], hi[16];                 \
        uint32_t i, j;                                                  \
        for (i = 0; i < n; i += i % 64 == 48 ? 80 : 16, codes += 16) {  \
            for (j = 0; j < 16; j++) {                                  \
                lo[j] = vt_clip_code((int32_t)(v[i + j] * unit), step); \
                hi[j] = vt_clip_code((int32_t)(v[i + j + 64] * unit), step); \
                own[j] += (2 * lo[j] + 1) * (2 * lo[j] + 1) + (2 * hi[j] + 1) * (2 * hi[j] + 1); \
            }                                                           \
            for (j = 0; j < 16; j++) u[i + j] = (float)lo[j] + 0.5f;    \
            for (j = 0; j < 16; j++) u[i + j + 64] = (float)hi[j] + 0.5f; \
            for (j = 0; j < 16; j++) codes[j] = (uint8_t)((lo[j] + 8) | (hi[j] + 8) << 4); \
        }                                                               \
        for (j = 0; j < 16; j++) sum += own[j];                         \
        return sum;                                                     \
    }                                                                   \
                                                                        \
    target static void vt_centre_##isa(float *v, uint32_t n, float by, const float *m) \
    {                                                                   \
        uint32_t i, j;                                                  \
        for (i = 0; i < n; i += 16) {                                   \
            float r[16];                                                \
            for (j = 0; j < 16; j++)                                    \
                r[j] = (float)((double)by * (double)v[i + j] - (double)m[i + j]); \
            memcpy(v + i, r, sizeof r);                                 \
        }                                                               \
    }
/* clang-format on */

/* Lays out a block of 16 queries h[16][wide] for vt_tile_fn: the first 4 numbers of every
   query, then the next 4 of every query, and so on. */
static void vt_interleave(const int8_t *h, size_t wide, int8_t *to) {
    size_t i, q;
    for (i = 0; i < wide; i += 4)
        for (q = 0; q < 16; q++, to += 4) memcpy(to, h + q * wide + i, 4);
}

/* The largest power of two that is at most n. */
static uint32_t vt_power_below(uint32_t n) {
    uint32_t p = 1;
    while (2 * p <= n) p *= 2;
    return p;
}

static uint64_t vt_mix(uint64_t x) { /* splitmix64's finaliser */
    x = (x + UINT64_C(0x9E3779B97F4A7C15)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Which of 16 signs, from number i on, the bits of a seed flip. */
static uint32_t vt_signs(uint64_t seed, uint32_t i) {
    return (uint32_t)(vt_mix(seed << 32 | i / 64) >> i % 64) & 0xFFFFu;
}

typedef struct vt_kernels {
    const char *isa;
    int (*runs)(void); /* on this processor */
    vt_score_fn *dot, *l2sq;
    vt_cross_fn *cross;
    vt_tile_fn *tile; /* NULL: there is none */
    vt_reach_fn *reach;
    vt_rotate_fn *rotate;
    vt_clip_fn *clip;
    vt_code_fn *code;
    vt_centre_fn *centre;
} vt_kernels;

/* ---- Scalar -------------------------------------------------------------- */

typedef struct vt_acc_scalar {
    double s[16];
} vt_acc_scalar;

static vt_acc_scalar vt_zero_scalar(void) {
    vt_acc_scalar a;
    memset(&a, 0, sizeof a); /* all bits 0 is 0.0 */
    return a;
}

static void vt_dot_step_scalar(vt_acc_scalar *a, const float *q, const float *x) {
    int j;
    for (j = 0; j < 16; j++) a->s[j] += (double)q[j] * (double)x[j];
}

static void vt_l2sq_step_scalar(vt_acc_scalar *a, const float *q, const float *x) {
    int j;
    for (j = 0; j < 16; j++) {
        float d = q[j] - x[j];
        a->s[j] += (double)d * (double)d;
    }
}

static double vt_fold_scalar(vt_acc_scalar *a) {
    int h, j;
    for (h = 8; h > 0; h /= 2)
        for (j = 0; j < h; j++) a->s[j] += a->s[j + h];
    return a->s[0];
}

VT_KERNEL(dot, scalar, 1, )
VT_KERNEL(l2sq, scalar, 1, )

typedef int32_t vt_sum_scalar;
typedef const uint8_t *vt_codes_scalar;
#define VT_WIDE_scalar 64u

static int32_t vt_none_scalar(void) { return 0; }

static const uint8_t *vt_unpack_scalar(const uint8_t *x) { return x; }

static int32_t vt_mac_scalar(int32_t s, const uint8_t *const *codes, const int8_t *h) {
    int j;
    for (j = 0; j < 64; j++) s += ((*codes)[j] & 15) * h[j] + ((*codes)[j] >> 4) * h[j + 64];
    return s;
}

static void vt_fold4_scalar(const int32_t *a, const int32_t *b, const int32_t *c, const int32_t *d,
                            int32_t *out) {
    out[0] = *a, out[1] = *b, out[2] = *c, out[3] = *d;
}

/* Flips the signs of 16 numbers, as bits say. */
static void vt_flip_scalar(float *x, uint32_t bits) {
    int j;
    for (j = 0; j < 16; j++)
        if (bits >> j & 1) x[j] = -x[j];
}

/* The pair (a, b) becomes (a + b, a - b), times a constant. */
static void vt_fly_scalar(float *a, float *b, float by) {
    int j;
    for (j = 0; j < 16; j++) {
        float sum = (a[j] + b[j]) * by;
        b[j] = (a[j] - b[j]) * by;
        a[j] = sum;
    }
}

/* The last four steps of the transform, inside 16 numbers. */
static void vt_low_scalar(float *x) {
    float y[16];
    int h, j;
    for (h = 8; h > 0; h /= 2) {
        for (j = 0; j < 16; j++) y[j] = j & h ? x[j - h] - x[j] : x[j + h] + x[j];
        memcpy(x, y, sizeof y);
    }
}

static uint32_t vt_reach_scalar(const vtf_factors *f, const int32_t *dots, const vt_probe *p) {
    uint32_t mask = 0, r;
    for (r = 0; r < VT_GROUP; r++) {
        float est = f->scale[r] * (p->unit * (float)(2 * dots[r] - p->shift));
        float up = est + f->size[r] * p->by_size + f->rest[r] * p->by_rest + f->bias[r] +
                   (float)(fabs)(f->bias[r]) * VT_SLACK;
        mask |= (uint32_t)(up >= p->floor) << r;
    }
    return mask;
}

VT_CROSS(scalar, 1, )
VT_ROTATE(scalar, )
VT_CLIP(scalar, )
VT_CODE(scalar, )

static int vt_runs_always(void) { return 1; }

/* ---- AVX-512: 4 rows of 2 accumulators ----------------------------------- */

#if !defined(VTAG_NO_SIMD) && defined(__GNUC__) && defined(__x86_64__)
#define VT_HAVE_X86 1
#include <immintrin.h>

typedef struct vt_acc_avx512 {
    __m512d lo, hi;
} vt_acc_avx512;

VT_TARGET("avx512f")
static vt_acc_avx512 vt_zero_avx512(void) {
    vt_acc_avx512 a;
    a.lo = a.hi = _mm512_setzero_pd();
    return a;
}

/* Unmasked, though written with a mask: gcc 12 warns of its header's others. */
VT_TARGET("avx512f")
static __m512d vt_wide_avx512(__m256 x) { return _mm512_maskz_cvtps_pd(0xFF, x); }

VT_TARGET("avx512f")
static void vt_dot_step_avx512(vt_acc_avx512 *a, const float *q, const float *x) {
    a->lo = _mm512_fmadd_pd(vt_wide_avx512(_mm256_loadu_ps(q)), vt_wide_avx512(_mm256_loadu_ps(x)),
                            a->lo);
    a->hi = _mm512_fmadd_pd(vt_wide_avx512(_mm256_loadu_ps(q + 8)),
                            vt_wide_avx512(_mm256_loadu_ps(x + 8)), a->hi);
}

VT_TARGET("avx512f")
static void vt_l2sq_step_avx512(vt_acc_avx512 *a, const float *q, const float *x) {
    __m512d lo = vt_wide_avx512(_mm256_sub_ps(_mm256_loadu_ps(q), _mm256_loadu_ps(x)));
    __m512d hi = vt_wide_avx512(_mm256_sub_ps(_mm256_loadu_ps(q + 8), _mm256_loadu_ps(x + 8)));
    a->lo = _mm512_fmadd_pd(lo, lo, a->lo);
    a->hi = _mm512_fmadd_pd(hi, hi, a->hi);
}

VT_TARGET("avx512f")
static double vt_fold_avx512(const vt_acc_avx512 *a) {
    double s[8];
    __m256d s4;
    __m128d s2;
    _mm512_storeu_pd(s, _mm512_add_pd(a->lo, a->hi));
    s4 = _mm256_add_pd(_mm256_loadu_pd(s), _mm256_loadu_pd(s + 4));
    s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}

VT_KERNEL(dot, avx512, 4, VT_TARGET("avx512f"))
VT_KERNEL(l2sq, avx512, 4, VT_TARGET("avx512f"))

/* The codes need VNNI, whose dpbusd adds four products of an unsigned byte with a
   signed one; without it, the table takes those of AVX2. */
#define VT_VNNI        "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
#define VT_WIDE_avx512 64u

typedef __m512i vt_sum_avx512;
typedef struct vt_codes_avx512 {
    __m512i lo, hi;
} vt_codes_avx512;

VT_TARGET(VT_VNNI)
static __m512i vt_none_avx512(void) { return _mm512_setzero_si512(); }

VT_TARGET(VT_VNNI)
static vt_codes_avx512 vt_unpack_avx512(const uint8_t *x) {
    __m512i v = _mm512_loadu_si512((const void *)x), low = _mm512_set1_epi8(15);
    vt_codes_avx512 c;
    c.lo = _mm512_and_si512(v, low);
    c.hi = _mm512_and_si512(_mm512_maskz_srli_epi16(0xFFFFFFFFu, v, 4), low);
    return c;
}

VT_TARGET(VT_VNNI)
static __m512i vt_mac_avx512(__m512i s, const vt_codes_avx512 *c, const int8_t *h) {
    s = _mm512_dpbusd_epi32(s, c->lo, _mm512_loadu_si512((const void *)h));
    return _mm512_dpbusd_epi32(s, c->hi, _mm512_loadu_si512((const void *)(h + 64)));
}

/* Each lane of 128 bits gets its part of the four sums; then the lanes are added. */
VT_TARGET(VT_VNNI)
static void vt_fold4_avx512(const __m512i *a, const __m512i *b, const __m512i *c, const __m512i *d,
                            int32_t *out) {
    __m512i ab = _mm512_add_epi32(_mm512_maskz_unpacklo_epi32(0xFFFF, *a, *b),
                                  _mm512_maskz_unpackhi_epi32(0xFFFF, *a, *b));
    __m512i cd = _mm512_add_epi32(_mm512_maskz_unpacklo_epi32(0xFFFF, *c, *d),
                                  _mm512_maskz_unpackhi_epi32(0xFFFF, *c, *d));
    __m512i s = _mm512_add_epi32(_mm512_maskz_unpacklo_epi64(0xFF, ab, cd),
                                 _mm512_maskz_unpackhi_epi64(0xFF, ab, cd));
    __m256i t = _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xF, s, 0),
                                 _mm512_maskz_extracti64x4_epi64(0xF, s, 1));
    _mm_storeu_si128((__m128i *)(void *)out,
                     _mm_add_epi32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1)));
}

VT_TARGET(VT_VNNI)
static void vt_flip_avx512(float *x, uint32_t bits) {
    __m512i v = _mm512_loadu_si512((const void *)x);
    v = _mm512_mask_xor_epi32(v, (__mmask16)bits, v, _mm512_set1_epi32(INT32_MIN));
    _mm512_storeu_si512((void *)x, v);
}

VT_TARGET(VT_VNNI)
static void vt_fly_avx512(float *a, float *b, float by) {
    __m512 x = _mm512_loadu_ps(a), y = _mm512_loadu_ps(b), c = _mm512_set1_ps(by);
    _mm512_storeu_ps(a, _mm512_mul_ps(_mm512_add_ps(x, y), c));
    _mm512_storeu_ps(b, _mm512_mul_ps(_mm512_sub_ps(x, y), c));
}

/* y holds each lane's partner: their sum, or from the partner's side their difference. */
#define VT_LOW_STEP(x, y, upper) _mm512_mask_sub_ps(_mm512_add_ps(y, x), upper, y, x)

VT_TARGET(VT_VNNI)
static void vt_low_avx512(float *p) {
    __m512 x = _mm512_loadu_ps(p);
    x = VT_LOW_STEP(x, _mm512_maskz_shuffle_f32x4(0xFFFF, x, x, 0x4E), 0xFF00);
    x = VT_LOW_STEP(x, _mm512_maskz_shuffle_f32x4(0xFFFF, x, x, 0xB1), 0xF0F0);
    x = VT_LOW_STEP(x, _mm512_maskz_permute_ps(0xFFFF, x, 0x4E), 0xCCCC);
    x = VT_LOW_STEP(x, _mm512_maskz_permute_ps(0xFFFF, x, 0xB1), 0xAAAA);
    _mm512_storeu_ps(p, x);
}

VT_TARGET(VT_VNNI)
static uint32_t vt_reach_avx512(const vtf_factors *f, const int32_t *dots, const vt_probe *p) {
    __m512i d = _mm512_loadu_si512((const void *)dots);
    __m512 bias = _mm512_loadu_ps(f->bias), up;
    d = _mm512_sub_epi32(_mm512_add_epi32(d, d), _mm512_set1_epi32(p->shift));
    up = _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xFFFF, d), _mm512_set1_ps(p->unit));
    up = _mm512_fmadd_ps(_mm512_loadu_ps(f->scale), up, bias);
    up = _mm512_fmadd_ps(_mm512_loadu_ps(f->size), _mm512_set1_ps(p->by_size), up);
    up = _mm512_fmadd_ps(_mm512_loadu_ps(f->rest), _mm512_set1_ps(p->by_rest), up);
    up = _mm512_fmadd_ps(_mm512_abs_ps(bias), _mm512_set1_ps(VT_SLACK), up);
    return _mm512_cmp_ps_mask(up, _mm512_set1_ps(p->floor), _CMP_GE_OQ);
}

/* Rows x[4][16]: u[t] holds, in lane l, their numbers 4 l + t. */
VT_TARGET(VT_VNNI)
static void vt_four_rows_avx512(const int32_t *x, __m512i *u) {
    __m512i a = _mm512_loadu_si512((const void *)x);
    __m512i b = _mm512_loadu_si512((const void *)(x + 16));
    __m512i c = _mm512_loadu_si512((const void *)(x + 32));
    __m512i d = _mm512_loadu_si512((const void *)(x + 48));
    __m512i ab = _mm512_maskz_unpacklo_epi32(0xFFFF, a, b);
    __m512i cd = _mm512_maskz_unpacklo_epi32(0xFFFF, c, d);
    u[0] = _mm512_maskz_unpacklo_epi64(0xFF, ab, cd);
    u[1] = _mm512_maskz_unpackhi_epi64(0xFF, ab, cd);
    ab = _mm512_maskz_unpackhi_epi32(0xFFFF, a, b);
    cd = _mm512_maskz_unpackhi_epi32(0xFFFF, c, d);
    u[2] = _mm512_maskz_unpacklo_epi64(0xFF, ab, cd);
    u[3] = _mm512_maskz_unpackhi_epi64(0xFF, ab, cd);
}

/* Transposes x[16][16]. */
VT_TARGET(VT_VNNI)
static void vt_transpose_avx512(const int32_t *x, int32_t *to) {
    __m512i u[4][4];
    int t;
    for (t = 0; t < 4; t++) vt_four_rows_avx512(x + 64 * t, u[t]);
    for (t = 0; t < 4; t++, to += 16) {
        __m512i a = _mm512_maskz_shuffle_i32x4(0xFFFF, u[0][t], u[1][t], 0x44);
        __m512i b = _mm512_maskz_shuffle_i32x4(0xFFFF, u[2][t], u[3][t], 0x44);
        __m512i c = _mm512_maskz_shuffle_i32x4(0xFFFF, u[0][t], u[1][t], 0xEE);
        __m512i d = _mm512_maskz_shuffle_i32x4(0xFFFF, u[2][t], u[3][t], 0xEE);
        _mm512_storeu_si512((void *)to, _mm512_maskz_shuffle_i32x4(0xFFFF, a, b, 0x88));
        _mm512_storeu_si512((void *)(to + 64), _mm512_maskz_shuffle_i32x4(0xFFFF, a, b, 0xDD));
        _mm512_storeu_si512((void *)(to + 128), _mm512_maskz_shuffle_i32x4(0xFFFF, c, d, 0x88));
        _mm512_storeu_si512((void *)(to + 192), _mm512_maskz_shuffle_i32x4(0xFFFF, c, d, 0xDD));
    }
}

/* A byte for each code of 16 rows, into to[16][2 * bytes]. */
VT_TARGET(VT_VNNI)
static void vt_unpack_rows_avx512(const uint8_t *const *x, size_t bytes, uint8_t *to) {
    size_t r, i;
    for (r = 0; r < VT_GROUP; r++)
        for (i = 0; i < bytes; i += 64, to += 128) {
            vt_codes_avx512 c = vt_unpack_avx512(x[r] + i);
            _mm512_storeu_si512((void *)to, c.lo);
            _mm512_storeu_si512((void *)(to + 64), c.hi);
        }
}

/* 4 bytes of a row against those of 16 queries. */
VT_TARGET(VT_VNNI)
static __m512i vt_tile_mac_avx512(__m512i s, const uint8_t *x, __m512i h) {
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_dpbusd_epi32(s, _mm512_set1_epi32(four), h);
}

/* clang-format off */
#define VT_EACH_8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define VT_TILE_ZERO(r)  __m512i s##r = _mm512_setzero_si512(), t##r = s##r;
#define VT_TILE_STEP(r)                                                 \
    s##r = vt_tile_mac_avx512(s##r, x + r * wide + i, h);               \
    t##r = vt_tile_mac_avx512(t##r, x + r * wide + i, g);
#define VT_TILE_STORE(r)                                                \
    _mm512_storeu_si512((void *)(sums + r * 16), s##r);                 \
    _mm512_storeu_si512((void *)(sums + r * 16 + 256), t##r);
/* clang-format on */

/* What 16 rows x[16][wide], a byte a code, and two blocks of queries, a and b, have in common:
   sums[2][16][16], of rows, then of queries. Asks memory for step bytes every 64 codes, from
   next on. */
typedef void vt_pair_fn(const uint8_t *x, const int8_t *a, const int8_t *b, size_t wide,
                        uintptr_t next, size_t step, int32_t *sums);

VT_TARGET(VT_VNNI)
static void vt_pair_avx512(const uint8_t *x, const int8_t *a, const int8_t *b, size_t wide,
                           uintptr_t next, size_t step, int32_t *sums) {
    size_t half, i;
    for (half = 0; half < 2; half++, x += 8 * wide, sums += 8 * 16) {
        VT_EACH_8(VT_TILE_ZERO)
        for (i = 0; i < wide; i += 4, next += step / 32) {
            __m512i h = _mm512_loadu_si512((const void *)(a + 16 * i));
            __m512i g = _mm512_loadu_si512((const void *)(b + 16 * i));
            VT_PREFETCH(next);
            VT_EACH_8(VT_TILE_STEP)
        }
        VT_EACH_8(VT_TILE_STORE)
    }
}

VT_TARGET(VT_VNNI)
static void vt_tile_by(vt_pair_fn *pair, const uint8_t *const *x, const int8_t *h, size_t bytes,
                       size_t blocks, uint8_t *tmp, int32_t *out) {
    int32_t sums[2 * 256] = {0}; /* MemorySanitizer does not see tiles being stored */
    uintptr_t next = (uintptr_t)x[0] + VT_GROUP * bytes; /* where the next rows' codes may lie */
    size_t wide = 2 * bytes, pairs = (blocks + 1) / 2, step = 512 / pairs;
    vt_unpack_rows_avx512(x, bytes, tmp);
    for (; pairs; pairs--, h += 32 * wide, out += 2 * 256, next += step * wide / 64) {
        int both = pairs > 1 || blocks % 2 == 0;
        pair(tmp, h, both ? h + 16 * wide : h, wide, next, step, sums);
        vt_transpose_avx512(sums, out);
        if (both) vt_transpose_avx512(sums + 256, out + 256);
    }
}

static void vt_tile_avx512(const uint8_t *const *x, const int8_t *h, size_t bytes, size_t blocks,
                           uint8_t *tmp, int32_t *out) {
    vt_tile_by(vt_pair_avx512, x, h, bytes, blocks, tmp, out);
}

VT_CROSS(avx512, 4, VT_TARGET(VT_VNNI))
VT_ROTATE(avx512, VT_TARGET(VT_VNNI))
VT_CLIP(avx512, VT_TARGET(VT_VNNI))
VT_CODE(avx512, VT_TARGET(VT_VNNI))

static int vt_runs_avx512vnni(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

/* ---- AMX: 16 rows against 16 queries in one product ---------------------- */

/* Linux gives the tile registers to a process that asks for them. */
#if defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define VT_AMX VT_VNNI ",amx-tile,amx-int8"
#include <cpuid.h>

VT_TARGET(VT_AMX)
static void vt_pair_amx(const uint8_t *x, const int8_t *a, const int8_t *b, size_t wide,
                        uintptr_t next, size_t step, int32_t *sums) {
    size_t i;
    _tile_zero(0);
    _tile_zero(1);
    for (i = 0; i < wide; i += 64, next += step) {
        vt_prefetch((const uint8_t *)next, step);
        _tile_loadd(2, x + i, wide);
        _tile_loadd(3, a + 16 * i, 64);
        _tile_loadd(4, b + 16 * i, 64);
        _tile_dpbusd(0, 2, 3);
        _tile_dpbusd(1, 2, 4);
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
}

VT_TARGET(VT_AMX)
static void vt_tile_amx(const uint8_t *const *x, const int8_t *h, size_t bytes, size_t blocks,
                        uint8_t *tmp, int32_t *out) {
    uint8_t tiles[64] = {1}; /* palette 1; then of five tiles the bytes of a row, and the rows */
    size_t i;
    for (i = 0; i < 5; i++) tiles[16 + 2 * i] = 64, tiles[48 + i] = 16;
    _tile_loadconfig(tiles);
    vt_tile_by(vt_pair_amx, x, h, bytes, blocks, tmp, out);
    _tile_release();
}

static int vt_grants_amx(void) { /* arch_prctl: ARCH_REQ_XCOMP_PERM, XTILEDATA */
    long r = 158;
    __asm__ volatile("syscall" : "+a"(r) : "D"(0x1023L), "S"(18L) : "rcx", "r11", "memory");
    return r == 0;
}

static int vt_runs_amx(void) { /* bits 24 and 25: tiles, and products of bytes */
    unsigned a, b, c, d;
    return vt_runs_avx512vnni() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 3) == 3 &&
           vt_grants_amx();
}
#endif

/* ---- AVX2: 2 rows of 4 accumulators -------------------------------------- */

typedef struct vt_acc_avx2 {
    __m256d a, b, c, d;
} vt_acc_avx2;

VT_TARGET("avx2,fma")
static vt_acc_avx2 vt_zero_avx2(void) {
    vt_acc_avx2 s;
    s.a = s.b = s.c = s.d = _mm256_setzero_pd();
    return s;
}

VT_TARGET("avx2,fma")
static __m256d vt_dot_4_avx2(__m256d s, const float *q, const float *x) {
    return _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(q)), _mm256_cvtps_pd(_mm_loadu_ps(x)), s);
}

VT_TARGET("avx2,fma")
static __m256d vt_l2sq_4_avx2(__m256d s, const float *q, const float *x) {
    __m256d d = _mm256_cvtps_pd(_mm_sub_ps(_mm_loadu_ps(q), _mm_loadu_ps(x)));
    return _mm256_fmadd_pd(d, d, s);
}

VT_TARGET("avx2,fma")
static void vt_dot_step_avx2(vt_acc_avx2 *s, const float *q, const float *x) {
    s->a = vt_dot_4_avx2(s->a, q, x);
    s->b = vt_dot_4_avx2(s->b, q + 4, x + 4);
    s->c = vt_dot_4_avx2(s->c, q + 8, x + 8);
    s->d = vt_dot_4_avx2(s->d, q + 12, x + 12);
}

VT_TARGET("avx2,fma")
static void vt_l2sq_step_avx2(vt_acc_avx2 *s, const float *q, const float *x) {
    s->a = vt_l2sq_4_avx2(s->a, q, x);
    s->b = vt_l2sq_4_avx2(s->b, q + 4, x + 4);
    s->c = vt_l2sq_4_avx2(s->c, q + 8, x + 8);
    s->d = vt_l2sq_4_avx2(s->d, q + 12, x + 12);
}

VT_TARGET("avx2,fma")
static double vt_fold_avx2(const vt_acc_avx2 *s) {
    __m256d s4 = _mm256_add_pd(_mm256_add_pd(s->a, s->c), _mm256_add_pd(s->b, s->d));
    __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}

VT_KERNEL(dot, avx2, 2, VT_TARGET("avx2,fma"))
VT_KERNEL(l2sq, avx2, 2, VT_TARGET("avx2,fma"))

#define VT_WIDE_avx2 32u

typedef __m256i vt_sum_avx2;
typedef struct vt_codes_avx2 {
    __m256i lo, hi;
} vt_codes_avx2;

VT_TARGET("avx2,fma")
static __m256i vt_none_avx2(void) { return _mm256_setzero_si256(); }

VT_TARGET("avx2,fma")
static vt_codes_avx2 vt_unpack_avx2(const uint8_t *x) {
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)x), low = _mm256_set1_epi8(15);
    vt_codes_avx2 c;
    c.lo = _mm256_and_si256(v, low);
    c.hi = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    return c;
}

/* Four products of at most 15 * 127 fit into 16 bits. */
VT_TARGET("avx2,fma")
static __m256i vt_mac_avx2(__m256i s, const vt_codes_avx2 *c, const int8_t *h) {
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)h);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(h + 64));
    a = _mm256_add_epi16(_mm256_maddubs_epi16(c->lo, a), _mm256_maddubs_epi16(c->hi, b));
    return _mm256_add_epi32(s, _mm256_madd_epi16(a, _mm256_set1_epi16(1)));
}

VT_TARGET("avx2,fma")
static void vt_fold4_avx2(const __m256i *a, const __m256i *b, const __m256i *c, const __m256i *d,
                          int32_t *out) {
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(*a, *b), _mm256_hadd_epi32(*c, *d));
    _mm_storeu_si128((__m128i *)(void *)out,
                     _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
}

VT_TARGET("avx2,fma")
static void vt_flip_8_avx2(float *x, uint32_t bits) {
    __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i on = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), lane), lane);
    __m256 sign = _mm256_and_ps(_mm256_castsi256_ps(on), _mm256_set1_ps(-0.0f));
    _mm256_storeu_ps(x, _mm256_xor_ps(_mm256_loadu_ps(x), sign));
}

VT_TARGET("avx2,fma")
static void vt_flip_avx2(float *x, uint32_t bits) {
    vt_flip_8_avx2(x, bits);
    vt_flip_8_avx2(x + 8, bits >> 8);
}

VT_TARGET("avx2,fma")
static void vt_fly_8_avx2(float *a, float *b, __m256 by) {
    __m256 x = _mm256_loadu_ps(a), y = _mm256_loadu_ps(b);
    _mm256_storeu_ps(a, _mm256_mul_ps(_mm256_add_ps(x, y), by));
    _mm256_storeu_ps(b, _mm256_mul_ps(_mm256_sub_ps(x, y), by));
}

VT_TARGET("avx2,fma")
static void vt_fly_avx2(float *a, float *b, float by) {
    vt_fly_8_avx2(a, b, _mm256_set1_ps(by));
    vt_fly_8_avx2(a + 8, b + 8, _mm256_set1_ps(by));
}

VT_TARGET("avx2,fma")
static __m256 vt_low_8_avx2(__m256 x) {
    __m256 y = _mm256_permute2f128_ps(x, x, 1);
    x = _mm256_blend_ps(_mm256_add_ps(y, x), _mm256_sub_ps(y, x), 0xF0);
    y = _mm256_permute_ps(x, 0x4E);
    x = _mm256_blend_ps(_mm256_add_ps(y, x), _mm256_sub_ps(y, x), 0xCC);
    y = _mm256_permute_ps(x, 0xB1);
    return _mm256_blend_ps(_mm256_add_ps(y, x), _mm256_sub_ps(y, x), 0xAA);
}

VT_TARGET("avx2,fma")
static void vt_low_avx2(float *p) {
    __m256 x = _mm256_loadu_ps(p), y = _mm256_loadu_ps(p + 8);
    _mm256_storeu_ps(p, vt_low_8_avx2(_mm256_add_ps(x, y)));
    _mm256_storeu_ps(p + 8, vt_low_8_avx2(_mm256_sub_ps(x, y)));
}

VT_TARGET("avx2,fma")
static uint32_t vt_reach_8_avx2(const vtf_factors *f, const int32_t *dots, const vt_probe *p,
                                int r) {
    __m256i d = _mm256_loadu_si256((const __m256i *)(const void *)(dots + r));
    __m256 bias = _mm256_loadu_ps(f->bias + r), up;
    d = _mm256_sub_epi32(_mm256_add_epi32(d, d), _mm256_set1_epi32(p->shift));
    up = _mm256_mul_ps(_mm256_cvtepi32_ps(d), _mm256_set1_ps(p->unit));
    up = _mm256_fmadd_ps(_mm256_loadu_ps(f->scale + r), up, bias);
    up = _mm256_fmadd_ps(_mm256_loadu_ps(f->size + r), _mm256_set1_ps(p->by_size), up);
    up = _mm256_fmadd_ps(_mm256_loadu_ps(f->rest + r), _mm256_set1_ps(p->by_rest), up);
    bias = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), bias);
    up = _mm256_fmadd_ps(bias, _mm256_set1_ps(VT_SLACK), up);
    up = _mm256_cmp_ps(up, _mm256_set1_ps(p->floor), _CMP_GE_OQ);
    return (uint32_t)_mm256_movemask_ps(up);
}

VT_TARGET("avx2,fma")
static uint32_t vt_reach_avx2(const vtf_factors *f, const int32_t *dots, const vt_probe *p) {
    return vt_reach_8_avx2(f, dots, p, 0) | vt_reach_8_avx2(f, dots, p, 8) << 8;
}

VT_CROSS(avx2, 2, VT_TARGET("avx2,fma"))
VT_ROTATE(avx2, VT_TARGET("avx2,fma"))
VT_CLIP(avx2, VT_TARGET("avx2,fma"))
VT_CODE(avx2, VT_TARGET("avx2,fma"))

static int vt_runs_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int vt_runs_avx512(void) { return __builtin_cpu_supports("avx512f") && vt_runs_avx2(); }

#endif

/* ---- NEON of 64-bit ARM: 2 rows of 8 accumulators ------------------------ */

#if !defined(VTAG_NO_SIMD) && defined(__aarch64__) && defined(__ARM_NEON)
#define VT_HAVE_NEON 1
#include <arm_neon.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif

typedef struct vt_acc_neon {
    float64x2_t a, b, c, d, e, f, g, h;
} vt_acc_neon;

static vt_acc_neon vt_zero_neon(void) {
    vt_acc_neon s;
    s.a = s.b = s.c = s.d = s.e = s.f = s.g = s.h = vdupq_n_f64(0);
    return s;
}

static void vt_dot_4_neon(float64x2_t *s, float64x2_t *t, float32x4_t q, float32x4_t x) {
    *s = vfmaq_f64(*s, vcvt_f64_f32(vget_low_f32(q)), vcvt_f64_f32(vget_low_f32(x)));
    *t = vfmaq_f64(*t, vcvt_high_f64_f32(q), vcvt_high_f64_f32(x));
}

static void vt_dot_step_neon(vt_acc_neon *s, const float *q, const float *x) {
    vt_dot_4_neon(&s->a, &s->b, vld1q_f32(q), vld1q_f32(x));
    vt_dot_4_neon(&s->c, &s->d, vld1q_f32(q + 4), vld1q_f32(x + 4));
    vt_dot_4_neon(&s->e, &s->f, vld1q_f32(q + 8), vld1q_f32(x + 8));
    vt_dot_4_neon(&s->g, &s->h, vld1q_f32(q + 12), vld1q_f32(x + 12));
}

static void vt_l2sq_step_neon(vt_acc_neon *s, const float *q, const float *x) {
    float32x4_t i = vsubq_f32(vld1q_f32(q), vld1q_f32(x));
    float32x4_t j = vsubq_f32(vld1q_f32(q + 4), vld1q_f32(x + 4));
    float32x4_t k = vsubq_f32(vld1q_f32(q + 8), vld1q_f32(x + 8));
    float32x4_t l = vsubq_f32(vld1q_f32(q + 12), vld1q_f32(x + 12));
    vt_dot_4_neon(&s->a, &s->b, i, i);
    vt_dot_4_neon(&s->c, &s->d, j, j);
    vt_dot_4_neon(&s->e, &s->f, k, k);
    vt_dot_4_neon(&s->g, &s->h, l, l);
}

static double vt_fold_neon(const vt_acc_neon *s) {
    float64x2_t s01 = vaddq_f64(vaddq_f64(s->a, s->e), vaddq_f64(s->c, s->g));
    float64x2_t s23 = vaddq_f64(vaddq_f64(s->b, s->f), vaddq_f64(s->d, s->h));
    float64x2_t s2 = vaddq_f64(s01, s23);
    return vgetq_lane_f64(s2, 0) + vgetq_lane_f64(s2, 1);
}

VT_KERNEL(dot, neon, 2, )
VT_KERNEL(l2sq, neon, 2, )

#define VT_WIDE_neon    16u
#define VT_WIDE_neondot 16u

typedef int32x4_t vt_sum_neon;
typedef struct vt_codes_neon {
    int8x16_t lo, hi;
} vt_codes_neon;

static int32x4_t vt_none_neon(void) { return vdupq_n_s32(0); }

static vt_codes_neon vt_unpack_neon(const uint8_t *x) {
    uint8x16_t v = vld1q_u8(x);
    vt_codes_neon c;
    c.lo = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
    c.hi = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
    return c;
}

/* Four products of at most 15 * 127 fit into 16 bits. */
static int32x4_t vt_mac_neon(int32x4_t s, const vt_codes_neon *c, const int8_t *h) {
    int8x16_t a = vld1q_s8(h), b = vld1q_s8(h + 64);
    int16x8_t p = vmull_s8(vget_low_s8(c->lo), vget_low_s8(a));
    p = vmlal_high_s8(p, c->lo, a);
    p = vmlal_s8(p, vget_low_s8(c->hi), vget_low_s8(b));
    p = vmlal_high_s8(p, c->hi, b);
    return vpadalq_s16(s, p);
}

static void vt_fold4_neon(const int32x4_t *a, const int32x4_t *b, const int32x4_t *c,
                          const int32x4_t *d, int32_t *out) {
    vst1q_s32(out, vpaddq_s32(vpaddq_s32(*a, *b), vpaddq_s32(*c, *d)));
}

static void vt_flip_neon(float *x, uint32_t bits) {
    const uint32_t lanes[4] = {1, 2, 4, 8};
    int j;
    for (j = 0; j < 16; j += 4) {
        uint32x4_t on = vtstq_u32(vdupq_n_u32(bits >> j), vld1q_u32(lanes));
        uint32x4_t v = vreinterpretq_u32_f32(vld1q_f32(x + j));
        v = veorq_u32(v, vandq_u32(on, vdupq_n_u32(0x80000000u)));
        vst1q_f32(x + j, vreinterpretq_f32_u32(v));
    }
}

static void vt_fly_neon(float *a, float *b, float by) {
    int j;
    for (j = 0; j < 16; j += 4) {
        float32x4_t x = vld1q_f32(a + j), y = vld1q_f32(b + j);
        vst1q_f32(a + j, vmulq_n_f32(vaddq_f32(x, y), by));
        vst1q_f32(b + j, vmulq_n_f32(vsubq_f32(x, y), by));
    }
}

/* The steps of 2 and 1 in a register. */
static void vt_low_4_neon(float *p, float32x4_t x) {
    float32x4_t y = vextq_f32(x, x, 2);
    x = vcombine_f32(vget_low_f32(vaddq_f32(y, x)), vget_high_f32(vsubq_f32(y, x)));
    y = vrev64q_f32(x);
    vst1q_f32(p, vtrn1q_f32(vaddq_f32(y, x), vsubq_f32(x, y)));
}

static void vt_low_neon(float *p) {
    float32x4_t a = vld1q_f32(p), b = vld1q_f32(p + 4), c = vld1q_f32(p + 8), d = vld1q_f32(p + 12);
    float32x4_t e = vaddq_f32(a, c), f = vaddq_f32(b, d), g = vsubq_f32(a, c), h = vsubq_f32(b, d);
    vt_low_4_neon(p, vaddq_f32(e, f));
    vt_low_4_neon(p + 4, vsubq_f32(e, f));
    vt_low_4_neon(p + 8, vaddq_f32(g, h));
    vt_low_4_neon(p + 12, vsubq_f32(g, h));
}

VT_CROSS(neon, 2, )
VT_ROTATE(neon, )
VT_CLIP(neon, )
VT_CODE(neon, )

/* With the dot product of ARMv8.2, which clang before 16 has only if told to. */
#if !defined(__clang__)
#define VT_DOTPROD VT_TARGET("arch=armv8.2-a+dotprod")
#elif __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD)
#define VT_DOTPROD VT_TARGET("dotprod")
#endif
#ifdef VT_DOTPROD

typedef int32x4_t vt_sum_neondot;
typedef vt_codes_neon vt_codes_neondot;

static int32x4_t vt_none_neondot(void) { return vt_none_neon(); }

static vt_codes_neon vt_unpack_neondot(const uint8_t *x) { return vt_unpack_neon(x); }

VT_DOTPROD
static int32x4_t vt_mac_neondot(int32x4_t s, const vt_codes_neon *c, const int8_t *h) {
    return vdotq_s32(vdotq_s32(s, c->lo, vld1q_s8(h)), c->hi, vld1q_s8(h + 64));
}

static void vt_fold4_neondot(const int32x4_t *a, const int32x4_t *b, const int32x4_t *c,
                             const int32x4_t *d, int32_t *out) {
    vt_fold4_neon(a, b, c, d, out);
}

VT_CROSS(neondot, 2, VT_DOTPROD)

static int vt_runs_neondot(void) {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & 1u << 20) != 0; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__) || defined(__ARM_FEATURE_DOTPROD)
    return 1;
#else
    return 0;
#endif
}
#endif

#endif

/* ---- Choice -------------------------------------------------------------- */

/* clang-format off */
static const vt_kernels vt_kernel_table[] = { /* the best first                 */
#ifdef VT_AMX
    {"amx", vt_runs_amx, vt_dot_f32_avx512, vt_l2sq_f32_avx512,
     vt_cross_avx512, vt_tile_amx, vt_reach_avx512, vt_rotate_avx512, vt_clip_avx512, vt_code_avx512, vt_centre_avx512},
#endif
#ifdef VT_HAVE_X86
    {"avx512vnni", vt_runs_avx512vnni, vt_dot_f32_avx512, vt_l2sq_f32_avx512,
     vt_cross_avx512, vt_tile_avx512, vt_reach_avx512, vt_rotate_avx512, vt_clip_avx512, vt_code_avx512, vt_centre_avx512},
    {"avx512", vt_runs_avx512, vt_dot_f32_avx512, vt_l2sq_f32_avx512,
     vt_cross_avx2, NULL, vt_reach_avx2, vt_rotate_avx2, vt_clip_avx2, vt_code_avx2, vt_centre_avx2},
    {"avx2", vt_runs_avx2, vt_dot_f32_avx2, vt_l2sq_f32_avx2,
     vt_cross_avx2, NULL, vt_reach_avx2, vt_rotate_avx2, vt_clip_avx2, vt_code_avx2, vt_centre_avx2},
#endif
#ifdef VT_DOTPROD
    {"neondot", vt_runs_neondot, vt_dot_f32_neon, vt_l2sq_f32_neon,
     vt_cross_neondot, NULL, vt_reach_scalar, vt_rotate_neon, vt_clip_neon, vt_code_neon, vt_centre_neon},
#endif
#ifdef VT_HAVE_NEON
    {"neon", vt_runs_always, vt_dot_f32_neon, vt_l2sq_f32_neon,
     vt_cross_neon, NULL, vt_reach_scalar, vt_rotate_neon, vt_clip_neon, vt_code_neon, vt_centre_neon},
#endif
    {"scalar", vt_runs_always, vt_dot_f32_scalar, vt_l2sq_f32_scalar,
     vt_cross_scalar, NULL, vt_reach_scalar, vt_rotate_scalar, vt_clip_scalar, vt_code_scalar, vt_centre_scalar}};
/* clang-format on */
#define VT_KERNEL_ROWS (sizeof vt_kernel_table / sizeof vt_kernel_table[0])

/* The best that runs, or the one named; NULL if that is not here. */
static const vt_kernels *vt_kernels_pick(const char *isa) {
    size_t i;
    for (i = 0; i < VT_KERNEL_ROWS; i++) {
        const vt_kernels *k = &vt_kernel_table[i];
        if ((!isa || strcmp(isa, k->isa) == 0) && k->runs()) return k;
    }
    return NULL;
}

/* ---- From sums to distances ---------------------------------------------- */

static float vt_norm(const vt_kernels *k, const float *x, size_t pad) {
    double sum;
    k->dot(x, x, pad, 1, &sum);
    return (float)(sqrt)(sum);
}

/* To f32, what is beyond its range to its end. */
static float vt_narrow(double x) {
    const double most = (double)VT_MAX_NORM;
    return x > most ? VT_MAX_NORM : x < -most ? -VT_MAX_NORM : (float)x;
}

/* Never -0 nor infinite, so that each row that was accepted has its place in the order. Damaged
   rows, of which alone it is not a number, have none. */
static float vt_dist(vtag_metric m, double sum, float nq, float nx) {
    double d = m == VTAG_DOT ? -sum : sum;
    if (m == VTAG_COSINE) d = 1 - sum / ((double)nq * (double)nx);
    if (m == VTAG_COSINE && d < 0) d = 0;
    if (d != d) return HUGE_VALF;
    float dist = vt_narrow(d);
    return dist == 0 ? 0.0f : dist;
}

/* 1 if none of x[n] is NaN or infinite: those carry into the top bit. (With an
   index for the pointer, gcc 12 for ARM drops stores before it when inlined.) */
static int vt_finite(const float *x, size_t n) {
    const float *end = x + n;
    uint32_t bad = 0, bits;
    for (; x != end; x++) {
        memcpy(&bits, x, 4);
        bad |= (bits & 0x7FFFFFFFu) + 0x00800000u;
    }
    return bad >> 31 == 0;
}

/* ==== 8  Codecs and sketches ==================================== >>codecs */

/* How a vector lies in its segment, and the compact image of it that a search looks at
   first.

   CODECS. A stored vector is padded with zeros to whole 64 bytes, so that no kernel has
   a tail. F32 is the caller's bits. F16 is rounded to the nearest half, ties to even.
   I8 is a byte a number, then an f32 scale: the largest magnitude over 127, rounded up
   to 16 bits, so that a decoded vector encodes to itself; where that is subnormal (no
   number is above 1.5e-36), all are 0, and where 127 of it are too large for an f32, the
   vector is refused, as one too large for F16 is. What a row is, for scores,
   norms and the caller, is what it decodes to.

   SKETCHES. Of each row x (under cosine divided by its norm) and the mean m of a sample
   of its segment, v = R(x - m), where R is a rotation. v is stored in 4 bits a number:
   u = k / 2 with odd k within +-15, times a scale a. Of eight steps the one that points
   best along v is taken, and a = <u,v> / <u,u>, which makes the residual r = v - a u
   orthogonal to u. A query y becomes w = R(y - m), and w = s h + e with bytes h. So

       <v,w> = a s <u,h> + a <u,e> + <r,w>,
       |a <u,e>| <= |a u| |e|,
       |<r,w>|   <= |r| sqrt(|w|^2 - (<u,w> / |u|)^2),

   the last since r sees only the part of w that is orthogonal to u. <u,w> is known up to
   |u| |e|, so |<u,w>| / |u| >= t = |a s <u,h>| / |a u| - |e|, where that is positive.
   With <v,w> bounded, so is what a search ranks by, its similarity

       dot, cosine   <x,y>        = <v,w> + <x - m, m> + <m,y>
       squared L2    -|x - y|^2/2 = <v,w> - |v|^2 / 2 - |w|^2 / 2

   a bias of the row plus one of the query. Factors of a row: scale a, size |a u|, rest
   |r| rounded up, bias.

   ROTATION. p is the largest power of two up to the dimension D. A round flips signs by
   the seed, transforms the first (every other round: the last) p numbers by Hadamard's
   matrix over sqrt(p), and turns the pairs (i, i + D/2) by 45 degrees. Two rounds if p is
   D, without turns, else four.

   ROUNDING. Let 1 be a relative error of 2^-24. A round is at most 15 sums, a product with
   a constant that is itself rounded, and as much for the turn: R costs at most 80 of |v|,
   and as much of |w|. Centring costs 1 of |v|; dividing by a norm, and the norm's own
   rounding, 3 of |x| = 1; the bias of dot 1 of |v| |m|; that of L2 160 of itself; |r|^2 is
   |v|^2 - <u,v>^2 / |u|^2, in f64 to 1e-12 of |v|^2, which is added; the rounding of a puts
   1 of |a u| of r beside u; a s <u,h> in f32 costs 4 of |a u| |w|; the
   score that is computed in the end, 3 of what the similarity is made of. All of these are
   below 256 of |v| (|w| + |m|) + |bias of the row| + (|m| |y| + |w| + |bias of the query| + 1),
   and VT_SLACK of that is added to the bound. Norms are within 1e15, or there is no
   sketch, so that nothing overflows. What underflows: in |w|^2 at most 1e-22 of |w|, in v
   or w at most 1e-38; that much is added for |w| and |v|, and 1e-30 for all the rest. */

/* ---- Codecs ------------------------------------------------------------------ */

static uint32_t vt_pad(uint32_t dim) { return (dim + 15u) & ~15u; }

/* Bytes of a stored vector. */
static uint32_t vt_stride(uint32_t dim, uint32_t codec) {
    uint32_t pad = vt_pad(dim);
    if (codec == VTAG_F32) return pad * 4;
    return ((codec == VTAG_F16 ? pad * 2 : pad + 4) + 63u) & ~63u;
}

static uint32_t vt_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static float vt_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* To the nearest half; too large: infinity. Below 2^-14, adding 0.5 rounds in its stead. */
static uint16_t vt_half(float x) {
    uint32_t u = vt_bits(x), sign = u >> 16 & 0x8000u;
    u &= 0x7FFFFFFFu;
    if (u >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u);
    if (u < 0x38800000u) return (uint16_t)(sign | (vt_bits(vt_float(u) + 0.5f) & 0x7FFu));
    return (uint16_t)(sign | ((u - 0x38000000u + 0xFFFu + (u >> 13 & 1u)) >> 13));
}

/* 1 if none of x[n] becomes infinity. */
static int vt_half_fits(const float *x, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; i++)
        if ((fabs)(x[i]) >= 65520) return 0;
    return 1;
}

static float vt_unhalf(uint16_t h) {
    float x = vt_float((h & 0x7FFFu) << 13) * vt_float(0x77800000u); /* 2^112, exactly */
    return h & 0x8000u ? -x : x;
}

/* The largest magnitude: without a sign, the bits of floats order as they do. */
static float vt_most(const float *x, uint32_t n) {
    int32_t most[16] = {0}, u[16];
    uint32_t i, j;
    for (i = 0; i < n; i += 16) { /* loops of a known length, which compilers make SIMD of */
        if (n - i < 16) memset(u, 0, sizeof u), memcpy(u, x + i, (n - i) * sizeof *u);
        else memcpy(u, x + i, sizeof u);
        for (j = 0; j < 16; j++) u[j] &= 0x7FFFFFFF;
        for (j = 0; j < 16; j++) most[j] = u[j] > most[j] ? u[j] : most[j];
    }
    for (j = 1; j < 16; j++) most[0] = most[j] > most[0] ? most[j] : most[0];
    return vt_float((uint32_t)most[0]);
}

/* The scale of an I8 vector. */
static float vt_i8_scale(const float *x, uint32_t n) {
    float scale = vt_most(x, n) / 127;
    return scale < VT_MIN_NORM ? 0 : vt_float((vt_bits(scale) + 0xFFu) & ~0xFFu);
}

/* 1 if all of x[n] decodes to finite numbers. */
static int vt_i8_fits(const float *x, uint32_t n) {
    return (double)vt_i8_scale(x, n) * 127 <= (double)VT_MAX_NORM;
}

/* x[n] as it is stored, in to[vt_stride(n)]. */
static void vt_encode(uint32_t codec, const float *x, uint32_t n, uint8_t *to) {
    uint32_t i;
    memset(to, 0, vt_stride(n, codec));
    if (codec == VTAG_F32) {
        memcpy(to, x, n * sizeof *x);
    } else if (codec == VTAG_F16) {
        for (i = 0; i < n; i++) {
            uint16_t h = vt_half(x[i]);
            memcpy(to + 2 * i, &h, 2);
        }
    } else {
        float scale = vt_i8_scale(x, n);
        for (i = 0; i < n && scale > 0; i++)
            to[i] = (uint8_t)(int8_t)(floor)((double)x[i] / (double)scale + 0.5);
        memcpy(to + vt_pad(n), &scale, 4);
    }
}

/* The first n numbers of a stored vector of dim, n <= vt_pad(dim). */
static void vt_decode(uint32_t codec, const uint8_t *p, uint32_t dim, uint32_t n, float *to) {
    uint32_t i;
    float scale;
    if (codec == VTAG_F32) {
        memcpy(to, p, n * sizeof *to);
    } else if (codec == VTAG_F16) {
        for (i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, p + 2 * i, 2);
            to[i] = vt_unhalf(h);
        }
    } else {
        memcpy(&scale, p + vt_pad(dim), 4);
        for (i = 0; i < n; i++) to[i] = (float)(int8_t)p[i] * scale;
    }
}

/* ---- Sketches: layout --------------------------------------------------------- */

#define VT_SKETCH_SEED UINT64_C(0x76746167) /* the writer's; the rotation is any   */

typedef struct vt_parts { /* of a SKETCH extent: offsets from its start           */
    uint64_t mean;        /* mean[dim]; before it, at VTF_HEAD_ROOM, the sums: the
                             CRC-32C of each VTF_SUMMED bytes from here on        */
    uint64_t factors;     /* of 16 rows each                                      */
    uint64_t codes;       /* codes[rows][dim / 2]                                 */
    uint64_t bytes;       /* in all                                               */
} vt_parts;

static uint32_t vt_sketch_dim(uint32_t dim) { return (dim + 127u) & ~127u; }

static vt_parts vt_sketch_parts(uint32_t rows, uint32_t dim) {
    uint64_t mean = 4 * (uint64_t)dim, codes = (uint64_t)rows * (dim / 2);
    uint64_t factors = vt_align(rows, VT_GROUP) / VT_GROUP * sizeof(vtf_factors);
    uint64_t sums = vt_align(mean + factors + codes, VTF_SUMMED) / VTF_SUMMED * 4;
    vt_parts p;
    p.mean = VTF_HEAD_ROOM + vt_align(sums, 512);
    p.factors = p.mean + mean;
    p.codes = p.factors + factors;
    p.bytes = p.codes + codes;
    return p;
}

static vtf_sketch vt_sketch_head(uint64_t segment, uint32_t rows, uint32_t dim) {
    vtf_sketch f;
    f.segment = segment;
    f.seed = VT_SKETCH_SEED;
    f.encoder = VTF_ENCODER;
    f.rows = rows;
    f.dim = vt_sketch_dim(dim);
    f.crc = vt_crc32c(0, &f, offsetof(vtf_sketch, crc));
    return f;
}

/* What sum i of a sketch at base should be; 0: there is none. */
static int vt_sketch_sum(const uint8_t *base, const vt_parts *p, uint64_t i, uint32_t *sum) {
    uint64_t at = p->mean + i * VTF_SUMMED;
    if (at >= p->bytes) return 0;
    *sum = vt_crc32c(0, base + at, (size_t)vt_min_u64(VTF_SUMMED, p->bytes - at));
    return 1;
}

/* ---- Sketches: making ----------------------------------------------------------- */

typedef struct vt_encoder { /* of one segment; threads share the work               */
    const vt_kernels *k;
    vtag_metric metric;
    uint32_t codec, dim, stride; /* of the rows                                   */
    const vtf_row *rows;
    const uint8_t *x;
    vtf_sketch f;
    vt_parts p;
    uint8_t *base;  /* what the extent will hold, at first zeros                  */
    uint32_t taken; /* blocks of VT_TAKE rows that a thread has begun; atomic     */
} vt_encoder;

#define VT_TAKE 256u

/* Row i, decoded and, under cosine, divided by its norm, less the mean, into v[f.dim]. The
   product of two f32 is exact in f64, so it does not matter who fuses what. */
static void vt_sketch_centre(const vt_encoder *e, uint32_t i, float *v) {
    float by = e->metric == VTAG_COSINE ? 1 / e->rows[i].norm : 1;
    vt_decode(e->codec, e->x + (uint64_t)i * e->stride, e->dim, e->dim, v);
    memset(v + e->dim, 0, (e->f.dim - e->dim) * sizeof *v);
    e->k->centre(v, e->f.dim, by, (const float *)(const void *)(e->base + e->p.mean));
}

/* The step of the eight that points best along v, going by its first 256 numbers: rotated,
   they are like the others. */
static int32_t vt_sketch_step(const vt_encoder *e, const float *v, float unit) {
    int32_t along[8], own[8];
    double best = -1;
    int s, at = 0;
    e->k->clip(v, e->f.dim < 256 ? e->f.dim : 256, unit, along, own);
    for (s = 0; s < 8; s++) {
        double is = (double)along[s] * (double)along[s] / (double)own[s];
        if (is > best) best = is, at = s;
    }
    return vt_clip_steps[at];
}

/* Sketches row i by way of v[2 * f.dim]; 0: its numbers are out of range. */
static int vt_sketch_row(const vt_encoder *e, uint32_t i, float *v) {
    vtf_factors *f = (vtf_factors *)(void *)(e->base + e->p.factors) + i / VT_GROUP;
    uint8_t *codes = e->base + e->p.codes + (uint64_t)i * (e->f.dim / 2);
    uint32_t wide = e->f.dim, r = i % VT_GROUP;
    float *u = v + wide, most, unit, a;
    double sum, bias, along, rest;
    int32_t own;
    vt_sketch_centre(e, i, v);
    e->k->dot(v, (const float *)(const void *)(e->base + e->p.mean), wide, 1, &bias);
    e->k->rotate(v, wide, VT_SKETCH_SEED);
    e->k->dot(v, v, wide, 1, &sum);
    if (!(sum <= 1e30 && (fabs)(bias) <= 1e30)) return 0;
    f->bias[r] = (float)(e->metric == VTAG_L2SQ ? -0.5 * sum : bias);
    most = vt_most(v, wide);
    if (most < 1e-20f) { /* no direction: all of v is rest                        */
        f->rest[r] = (float)((sqrt)(sum) * (1 + 1e-6));
        return 1;
    }
    unit = 2047 / most;
    own = e->k->code(v, wide, unit, vt_sketch_step(e, v, unit), codes, u);
    e->k->dot(u, v, wide, 1, &along);
    a = (float)(along / (0.25 * own));
    f->scale[r] = a;
    f->size[r] = (float)((double)a * (0.5 * (sqrt)((double)own)));
    rest = sum - along * along / (0.25 * own); /* a quotient is fused with nothing */
    f->rest[r] = (float)((sqrt)(rest + sum / 4e11) * (1 + 1e-6));
    return 1;
}

/* First of all: finds the mean of a sample of the rows, as their sketches centre on it. */
static vtag_err vt_sketch_begin(vt_encoder *e) {
    uint32_t every = e->f.rows / 1024 + 1, i, j, n = 0;
    float *mean = (float *)(void *)(e->base + e->p.mean);
    double *sum = (double *)vt_zalloc(e->f.dim * (sizeof *sum + sizeof *mean));
    float *v;
    if (!sum) return VTAG_NOMEM;
    v = (float *)(void *)(sum + e->f.dim);
    for (i = 0; i < e->f.rows; i += every, n++) {
        vt_sketch_centre(e, i, v);
        for (j = 0; j < e->f.dim; j++) sum[j] += (double)v[j];
    }
    for (j = 0; j < e->f.dim; j++) mean[j] = (float)(sum[j] / n);
    vt_free(sum);
    return VTAG_OK;
}

/* Sketches rows until all are taken, by this thread or others. VALUE: one cannot be. */
static vtag_err vt_sketch_some(vt_encoder *e) {
    VTAG_ASSERT(vt_rounds());
    float *v = (float *)vt_alloc(2 * (size_t)e->f.dim * sizeof *v);
    vtag_err err = v ? VTAG_OK : VTAG_NOMEM;
    while (!err) {
        uint64_t i = (uint64_t)(vt_atomic_add(&e->taken, 1) - 1) * VT_TAKE;
        uint64_t end = vt_min_u64(i + VT_TAKE, e->f.rows);
        if (i >= end) break;
        for (; i < end && !err; i++)
            if (!vt_sketch_row(e, (uint32_t)i, v)) err = VTAG_VALUE;
    }
    vt_free(v);
    return err;
}

/* When all rows are sketched: the sums, and what the extent says of itself. */
static void vt_sketch_end(vt_encoder *e) {
    uint32_t *sums = (uint32_t *)(void *)(e->base + VTF_HEAD_ROOM), i, sum;
    for (i = 0; vt_sketch_sum(e->base, &e->p, i, &sum); i++) sums[i] = sum;
    memcpy(e->base + sizeof(vtf_extent), &e->f, sizeof e->f);
}

/* ---- Sketches: bounds ------------------------------------------------------------- */

typedef struct vt_sketch { /* as a search sees it                                */
    uint32_t rows, dim;
    uint64_t seed;
    const float *mean;
    const vtf_factors *factors;
    const uint8_t *codes;
} vt_sketch;

typedef struct vt_bound { /* a query in a segment's terms                         */
    vt_probe p;
    float w, slack;       /* |w| rounded up; VT_SLACK (|w| + |m|) */
    float blur;           /* |e| + slack, by the size of a row */
    float offset, margin; /* the query's bias; slack that no row changes          */
} vt_bound;

/* Quantises v[16], less what that says, to h[16]; the sum of those. */
static int32_t vt_fit_16(float *v, float unit, float step, int8_t *h) {
    int32_t q[16], sum = 0, i; /* loops of a known length, which compilers make SIMD of */
    for (i = 0; i < 16; i++) q[i] = (int32_t)(v[i] * unit + 128.5f) - 128;
    for (i = 0; i < 16; i++) v[i] -= step * (float)q[i];
    for (i = 0; i < 16; i++) sum += q[i];
    for (i = 0; i < 16; i++) h[i] = (int8_t)q[i];
    return sum;
}

/* Fits the query that v[dim] holds, of length 1 under cosine, into h[wide] and b; v[wide]
   is spoilt. 0: its numbers are out of range. */
static int vt_bound_fit(vt_bound *b, const vt_kernels *k, vtag_metric metric, const vt_sketch *s,
                        uint32_t dim, float *v, int8_t *h) {
    double w, m, my, yy, e;
    float most, unit, step;
    uint32_t i;
    int32_t sum = 0;
    memset(v + dim, 0, (s->dim - dim) * sizeof *v);
    k->dot(v, v, s->dim, 1, &yy);
    k->dot(v, s->mean, s->dim, 1, &my);
    k->dot(s->mean, s->mean, s->dim, 1, &m);
    for (i = 0; i < dim; i++) v[i] -= s->mean[i];
    k->rotate(v, s->dim, s->seed);
    k->dot(v, v, s->dim, 1, &w);
    if (!(w <= 1e30 && yy <= 1e30 && m <= 1e30)) return 0;
    most = vt_most(v, s->dim);
    unit = most < 1e-20f ? 0 : 127 / most;
    step = most / 127;
    for (i = 0; i < s->dim; i += 16) sum += vt_fit_16(v + i, unit, step, h + i);
    k->dot(v, v, s->dim, 1, &e);
    w = (sqrt)(w) * (1 + 2e-6);
    e = (sqrt)(e) * (1 + 2e-6) + w / 16000000;
    m = metric == VTAG_L2SQ ? 0 : (sqrt)(m) * (1 + 2e-6); /* distances do not see the mean */
    b->w = (float)w;
    b->slack = (float)(w + m) * VT_SLACK + 1e-22f;
    b->offset = (float)(metric == VTAG_L2SQ ? -0.5 * w * w : my);
    b->margin =
        (float)(m * (sqrt)(yy) + w + (fabs)(b->offset) + (metric == VTAG_COSINE)) * VT_SLACK;
    b->margin += 1e-30f + (float)((w + m) * 1e-38);
    b->p.unit = 0.5f * step;
    b->p.shift = 15 * sum;
    b->blur = (float)e + b->slack;
    b->p.by_size = b->blur;
    b->p.by_rest = b->w + b->slack;
    return 1;
}

/* Tells b which similarity is still of interest. */
static void vt_bound_floor(vt_bound *b, double floor) {
    b->p.floor = vt_narrow(floor - (double)b->offset - (double)b->margin);
}

/* Bounds of row r's similarity. */
static void vt_bound_row(const vt_bound *b, const vtf_factors *f, uint32_t r, int32_t dot,
                         float *lo, float *up) {
    float est = f->scale[r] * (b->p.unit * (float)(2 * dot - b->p.shift));
    float size = f->size[r], bias = f->bias[r], t = vt_abs(est) - size * b->blur;
    float across = b->w * b->w, off;
    if (t > 0) across -= t / size * (t / size);
    off = f->rest[r] * ((sqrtf)(across > 0 ? across : 0) + b->slack) + size * b->blur +
          vt_abs(bias) * VT_SLACK + b->margin;
    est += bias + b->offset;
    *lo = est - off;
    *up = est + off;
}

/* ==== 9  Top-k ===================================================== >>topk */

/* The k first hits in the order (dist, id, part), kept as a heap with the last
   of them on top, in the caller's own array. The order is total, since a row's
   id and part occur once, so the order of arrival does not matter. */

typedef struct vt_top {
    vtag_hit *hits; /* the caller's, room for k; [0] comes after all others */
    size_t k, n;
} vt_top;

static int vt_hit_before(const vtag_hit *a, const vtag_hit *b) {
    if (a->dist < b->dist) return 1;
    if (a->dist > b->dist) return 0;
    return a->id != b->id ? a->id < b->id : a->part < b->part;
}

static void vt_top_init(vt_top *t, vtag_hit *hits, size_t k) {
    t->hits = hits;
    t->k = k;
    t->n = 0;
}

/* Could a row at this distance enter? Cheap; a tie may yet be refused by id. */
static int vt_top_wants(const vt_top *t, float dist) {
    return t->n < t->k || (t->k > 0 && dist <= t->hits[0].dist);
}

/* Puts h where the heap hits[n] has a hole at i, or below. */
static void vt_top_sink(vtag_hit *hits, size_t n, size_t i, vtag_hit h) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && vt_hit_before(&hits[child], &hits[child + 1])) child++;
        if (!vt_hit_before(&h, &hits[child])) break;
        hits[i] = hits[child];
        i = child;
    }
    hits[i] = h;
}

/* Takes h in if it belongs among the k first. */
static void vt_top_push(vt_top *t, vtag_hit h) {
    size_t i = t->n;
    if (t->k == 0) return;
    if (t->n == t->k) {
        if (vt_hit_before(&h, &t->hits[0])) vt_top_sink(t->hits, t->n, 0, h);
        return;
    }
    t->n++;
    while (i > 0 && vt_hit_before(&t->hits[(i - 1) / 2], &h)) {
        t->hits[i] = t->hits[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->hits[i] = h;
}

/* Sorts the hits, ascending; nothing may be pushed after. */
static void vt_top_finish(vt_top *t) {
    size_t n = t->n;
    while (n > 1) {
        vtag_hit last = t->hits[--n];
        t->hits[n] = t->hits[0];
        vt_top_sink(t->hits, n, 0, last);
    }
}

/* The k largest of many numbers, for a threshold: sorted insertion up to 128, beyond
   that a buffer of 2k of which the better half is selected when it is full. */
#define VT_SORTED 128u

typedef struct vt_best {
    float *a; /* room for vt_best_room(k)                                     */
    size_t k, n;
    float least; /* of the k; -infinity while there are fewer                 */
} vt_best;

static size_t vt_best_room(size_t k) { return k <= VT_SORTED ? k : 2 * k; }

static void vt_best_init(vt_best *b, float *a, size_t k) {
    b->a = a;
    b->k = k;
    b->n = 0;
    b->least = -HUGE_VALF;
}

/* Moves the k-th largest of a[n] to a[k - 1], and what is larger before it. */
static void vt_select(float *a, size_t n, size_t k) {
    size_t from = 0, to = n;
    while (to - from > 1) {
        float pivot = a[from + (to - from) / 2];
        size_t lo = from, i = from, hi = to; /* [from, lo) above it, [hi, to) below it */
        while (i < hi) {
            float x = a[i];
            if (x > pivot) a[i++] = a[lo], a[lo++] = x;
            else if (x < pivot) a[i] = a[--hi], a[hi] = x;
            else i++;
        }
        if (k <= lo) to = lo;
        else if (k > hi) from = hi;
        else return;
    }
}

static void vt_best_push(vt_best *b, float x) {
    size_t i = b->n;
    if (!(x > b->least)) return;
    if (b->k > VT_SORTED) {
        b->a[b->n++] = x;
        if (b->n < 2 * b->k) return;
        vt_select(b->a, b->n, b->k);
        b->n = b->k;
        b->least = b->a[b->k - 1];
        return;
    }
    if (i == b->k) i--;
    else b->n++;
    for (; i > 0 && b->a[i - 1] < x; i--) b->a[i] = b->a[i - 1];
    b->a[i] = x;
    if (b->n == b->k) b->least = b->a[b->k - 1];
}

/* How many of each are kept is found from the front; then the places are filled
   from the back, where nothing of into is overwritten before it has moved. */
VTAG_API size_t vtag_merge(vtag_hit *into, size_t n, const vtag_hit *from, size_t m, size_t k) {
    size_t i = 0, j = 0, kept;
    while (i + j < k && (i < n || j < m)) {
        if (j == m || (i < n && !vt_hit_before(&from[j], &into[i]))) i++;
        else j++;
    }
    kept = i + j;
    while (j > 0) {
        if (i > 0 && vt_hit_before(&from[j - 1], &into[i - 1])) {
            i--;
            into[i + j] = into[i];
        } else {
            j--;
            into[i + j] = from[j];
        }
    }
    return kept;
}

/* ==== 10  Log and superblock ======================================== >>log */

/* The open file with its mappings, extents, the chain of records, and the slots.
   What a record's sections mean is known only to the chapters below. */

typedef struct vt_env { /* what every layer needs to know of its surroundings  */
    const vtag_io *io;
    void (*log)(void *ctx, vtag_err err, const char *msg, uint64_t at);
    void *log_ctx;
    const char *path; /* the handle's; NULL: from memory                       */
    int no_map, read_only;
} vt_env;

typedef struct vt_map {
    uint64_t at, bytes;
    const uint8_t *base;
    uint8_t *own; /* read into memory, writes mirrored; NULL: mapped           */
} vt_map;

typedef struct vt_file {
    uint32_t refs, spin; /* spin guards maps                                   */
    vt_env env;
    void *f;
    const uint8_t *image; /* opened from memory                                */
    uint64_t image_size;
    uint8_t *copy; /* holds an image that was not aligned                      */
    vt_map *maps;  /* ascending; nothing under a snapshot is ever unmapped      */
    size_t n, cap;
    uint8_t uuid[16];
    uint32_t flags, version;
    int mended;      /* memory says more than the file                         */
    vtf_slot as;     /* then: the slot that it was mended by, and is to be read by */
    int named;       /* its name is known to be durable                        */
    int kept;        /* its lock is held from birth on, and no batch lets go of it */
    uint64_t known;  /* up to here extents are committed, each in one mapping  */
    vtf_logpos seen; /* up to here memory holds the log, and snapshots read it */
} vt_file;

/* Reports detail to the caller's log and returns err. */
static vtag_err vt_say(const vt_env *env, vtag_err err, const char *msg, uint64_t at) {
    if (env->log) (env->log)(env->log_ctx, err, msg, at); /* log is a macro of <tgmath.h> */
    return err;
}

/* Appends s to the text to[n], cut to fit. */
static void vt_text_add(char *to, size_t n, const char *s) {
    size_t at = strlen(to), k = vt_min_size(strlen(s), n - 1 - at);
    memcpy(to + at, s, k);
    to[at + k] = 0;
}

/* The same of what the system refused: with the path and its own words. */
static vtag_err vt_say_why(const vt_env *env, vtag_err err, const char *what, const char *path,
                           uint64_t at) {
    char text[VTAG_PATH_MAX + 256] = "", why[128] = "";
    if (!env->log) return err;
    if (env->io->why) env->io->why(env->io->ctx, why, sizeof why);
    vt_text_add(text, sizeof text, what);
    if (path) vt_text_add(text, sizeof text, " ");
    if (path) vt_text_add(text, sizeof text, path);
    vt_text_add(text, sizeof text, ": ");
    vt_text_add(text, sizeof text,
                *why                 ? why
                : err == VTAG_FORMAT ? "not a plain file"
                                     : "input/output error");
    return vt_say(env, err, text, at);
}

/* The same of a path, for a reason of our own. */
static vtag_err vt_say_path(const vt_env *env, vtag_err err, const char *what, const char *path) {
    char text[VTAG_PATH_MAX + 256] = "";
    if (!env->log) return err;
    vt_text_add(text, sizeof text, what);
    vt_text_add(text, sizeof text, " ");
    vt_text_add(text, sizeof text, path);
    return vt_say(env, err, text, 0);
}

static vtag_err vt_file_read(vt_file *f, uint64_t at, void *p, size_t n) {
    if (!f->image) return f->env.io->read(f->f, at, p, n);
    if (at > f->image_size || n > f->image_size - at) return VTAG_IO;
    memcpy(p, f->image + at, n);
    return VTAG_OK;
}

static vtag_err vt_file_random(vt_file *f, void *p, size_t n) {
    vtag_err err = f->env.io->random(f->env.io->ctx, p, n);
    return err ? vt_say_why(&f->env, err, "no random numbers for", f->env.path, 0) : VTAG_OK;
}

static vtag_err vt_file_size(vt_file *f, uint64_t *bytes) {
    if (!f->image) return f->env.io->size(f->f, bytes);
    *bytes = f->image_size;
    return VTAG_OK;
}

static void vt_file_unmap(vt_file *f, const vt_map *m) {
    if (m->own) vt_free(m->own);
    else if (!f->image && m->base) f->env.io->unmap(f->f, m->base, m->bytes);
}

static vt_file *vt_file_hold(vt_file *f) {
    vt_atomic_add(&f->refs, 1);
    return f;
}

static void vt_file_drop(vt_file *f) {
    size_t i;
    if (!f || vt_atomic_add(&f->refs, UINT32_MAX) != 0) return;
    for (i = 0; i < f->n; i++) vt_file_unmap(f, &f->maps[i]);
    if (f->f) f->env.io->close(f->f);
    vt_free(f->copy);
    vt_free(f->maps);
    vt_free(f);
}

static vtag_err vt_map_make(vt_file *f, uint64_t at, uint64_t bytes, vt_map *m) {
    vt_map fresh = {at, bytes, NULL, NULL};
    vtag_err err;
    *m = fresh;
    if (bytes > SIZE_MAX) return VTAG_NOMEM;
    if (f->image && !f->mended) m->base = f->image + at;
    if (m->base) return VTAG_OK;
    if (f->env.io->map && !f->env.no_map) return f->env.io->map(f->f, at, bytes, &m->base);
    m->own = (uint8_t *)vt_alloc((size_t)bytes);
    if (!m->own) return VTAG_NOMEM;
    m->base = m->own;
    err = vt_file_read(f, at, m->own, (size_t)bytes);
    if (err) vt_free(m->own);
    return err;
}

/* The mapping that holds [at, at + n), or NULL. Objects lie in one extent each, and
   the newest mapping of an extent holds it whole. Call with spin taken. */
static const vt_map *vt_map_find(const vt_file *f, uint64_t at, uint64_t n) {
    size_t lo = 0, hi = f->n;
    const vt_map *m;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (f->maps[mid].at <= at) lo = mid + 1;
        else hi = mid;
    }
    m = lo ? &f->maps[lo - 1] : NULL;
    return m && at - m->at <= m->bytes && n <= m->bytes - (at - m->at) ? m : NULL;
}

/* The bytes [at, at + n) of the file, or NULL if they are not mapped. */
static const uint8_t *vt_at(vt_file *f, uint64_t at, uint64_t n) {
    const vt_map *m;
    const uint8_t *p;
    vt_spin_lock(&f->spin);
    m = vt_map_find(f, at, n);
    p = m ? m->base + (at - m->at) : NULL;
    vt_spin_unlock(&f->spin);
    return p;
}

/* Sees to it that one mapping holds [at, at + n), the end of the file as known. */
static vtag_err vt_file_cover(vt_file *f, uint64_t at, uint64_t n) {
    vt_map m;
    vtag_err err;
    if (vt_at(f, at, n)) return VTAG_OK;
    err = vt_map_make(f, at, n, &m);
    if (err) return vt_say_why(&f->env, err, "cannot map", f->env.path, at);
    vt_spin_lock(&f->spin);
    err = vt_append(&f->maps, &f->n, &f->cap, &m, sizeof m);
    vt_spin_unlock(&f->spin);
    if (err) vt_file_unmap(f, &m);
    return err;
}

/* Takes the file into memory of our own, to be mended there. */
static vtag_err vt_file_private(vt_file *f) {
    uint64_t size;
    vtag_err err = vt_file_size(f, &size);
    if (err) return err;
    while (f->n) vt_file_unmap(f, &f->maps[--f->n]);
    f->env.no_map = f->mended = 1;
    return vt_file_cover(f, 0, size / VTF_ALIGN * VTF_ALIGN);
}

/* Forgets mappings of space past end, which no committed state can refer to. */
static void vt_file_trim(vt_file *f, uint64_t end) {
    vt_map gone;
    int more = 1;
    while (more) {
        vt_spin_lock(&f->spin);
        more = f->n && f->maps[f->n - 1].at >= end;
        if (more) gone = f->maps[--f->n];
        vt_spin_unlock(&f->spin);
        if (more) vt_file_unmap(f, &gone);
    }
}

static void vt_file_mirror(vt_file *f, uint64_t at, const void *p, size_t n) {
    const vt_map *m;
    vt_spin_lock(&f->spin);
    m = vt_map_find(f, at, n);
    if (m && m->own) memcpy(m->own + (at - m->at), p, n);
    vt_spin_unlock(&f->spin);
}

static vtag_err vt_file_write(vt_file *f, uint64_t at, const void *p, size_t n) {
    vtag_err err = n ? f->env.io->write(f->f, at, p, n) : VTAG_OK;
    if (err) return vt_say_why(&f->env, err, "cannot write", f->env.path, at);
    if (n) vt_file_mirror(f, at, p, n);
    return VTAG_OK;
}

/* Without a mapping, bytes that another process wrote are fetched by hand. */
static vtag_err vt_file_fetch(vt_file *f, uint64_t at, uint64_t n) {
    const vt_map *m;
    uint8_t *to;
    if (f->image || f->mended) return VTAG_OK;
    vt_spin_lock(&f->spin);
    m = vt_map_find(f, at, n);
    to = m && m->own ? m->own + (at - m->at) : NULL;
    vt_spin_unlock(&f->spin);
    return to ? vt_file_read(f, at, to, (size_t)n) : VTAG_OK;
}

/* Sees to mappings up to end. Past the known end, extents may have come and gone since
   that space was mapped, so that one of now could straddle two mappings of then. */
static vtag_err vt_file_cover_to(vt_file *f, uint64_t end) {
    if (end <= f->known) return VTAG_OK;
    if (vt_at(f, f->known, end - f->known)) return vt_file_fetch(f, f->known, end - f->known);
    vt_file_trim(f, f->known);
    return vt_file_cover(f, f->known, end - f->known);
}

/* ---- Extents --------------------------------------------------------------- */

/* The header of an extent that is mapped and sound, or NULL. */
static const vtf_extent *vt_extent_at(vt_file *f, uint64_t at, uint32_t kind) {
    const vtf_extent *e;
    if (at % VTF_ALIGN) return NULL;
    e = (const vtf_extent *)vt_at(f, at, sizeof *e);
    if (!e || e->magic != VTF_EXTENT_MAGIC || (kind && e->kind != kind)) return NULL;
    if (e->crc != vt_crc32c(0, e, offsetof(vtf_extent, crc))) return NULL;
    if (memcmp(e->uuid, f->uuid, sizeof e->uuid)) return NULL;
    if (!e->length || e->length % VTF_ALIGN) return NULL;
    return vt_at(f, at, e->length) ? e : NULL;
}

/* Appends an extent at head->end: its space is allocated, mapped and headed.
   e: kind, length and what its kind needs; out: completed. */
static vtag_err vt_extent_new(vt_file *f, vtf_head *head, vtf_extent *e, uint64_t *at) {
    uint64_t end = head->end + e->length;
    vtag_err err;
    if (end < head->end || end >> 62) return VTAG_FULL;
    err = f->env.io->allocate(f->f, end);
    if (err) return vt_say_why(&f->env, err, "cannot grow", f->env.path, end);
    err = vt_file_cover(f, head->end, e->length);
    e->magic = VTF_EXTENT_MAGIC;
    memcpy(e->uuid, f->uuid, sizeof e->uuid);
    e->number = head->extent + 1;
    e->crc = vt_crc32c(0, e, offsetof(vtf_extent, crc));
    if (!err) err = vt_file_write(f, head->end, e, sizeof *e);
    if (err) return err;
    *at = head->end;
    head->end = end;
    head->extent++;
    return VTAG_OK;
}

/* Writes zeros over [at, at + n): no older record may stand there. */
static vtag_err vt_file_zero(vt_file *f, uint64_t at, uint64_t n) {
    uint8_t zeros[4096] = VT_ZERO;
    vtag_err err = VTAG_OK;
    while (n && !err) {
        size_t part = (size_t)vt_min_u64(n, sizeof zeros);
        err = vt_file_write(f, at, zeros, part);
        at += part;
        n -= part;
    }
    return err;
}

/* ---- Slots ------------------------------------------------------------------- */

static int vt_slot_whole(const vtf_slot *s, uint32_t index) {
    return !memcmp(s->magic, "vtagslot", 8) && s->index == index && s->crc == vtf_crc_slot(s);
}

/* Whether a slot that was read is newer than one that is known. Where the newest was lost, its
   number may have been given again: the salt tells. */
static int vt_slot_other(const vtf_slot *s, const vtf_slot *known) {
    return s->seq > known->seq || (s->seq == known->seq && s->salt != known->salt);
}

static vtag_err vt_slot_read(vt_file *f, uint32_t index, vtf_slot *s) {
    vtag_err err = VTAG_OK;
    int tries;
    for (tries = 0; tries < 3; tries++) { /* a writer may be in the middle of it */
        err = vt_file_read(f, VTF_SLOT_AT(index), s, sizeof *s);
        if (err) return err;
        if (vt_slot_whole(s, index) && !memcmp(s->uuid, f->uuid, 16)) return VTAG_OK;
    }
    s->seq = 0;
    return VTAG_OK;
}

/* The newest valid slot; CORRUPT if there is none. *torn: the other is not valid, or
   from before a recovery that was cut off, so that it would not lead to the log's end. */
static vtag_err vt_slot_newest(vt_file *f, vtf_slot *best, int *torn) {
    vtf_slot s[2];
    uint32_t i;
    for (i = 0; i < 2; i++) {
        vtag_err err = vt_slot_read(f, i, &s[i]);
        if (err) return vt_say_why(&f->env, err, "cannot read", f->env.path, VTF_SLOT_AT(i));
    }
    if (!s[0].seq && !s[1].seq)
        return vt_say(&f->env, VTAG_CORRUPT, "both superblocks are damaged", VTF_SLOT_AT(0));
    *best = s[0].seq > s[1].seq ? s[0] : s[1];
    *torn = !s[0].seq || !s[1].seq || s[0].salt != s[1].salt;
    return VTAG_OK;
}

/* Writes the slot not in use, as the next in sequence. */
static vtag_err vt_slot_write(vt_file *f, vtf_slot *s) {
    memcpy(s->magic, "vtagslot", 8);
    memcpy(s->uuid, f->uuid, sizeof s->uuid);
    s->seq++;
    s->index = (uint32_t)(s->seq & 1);
    s->crc = vtf_crc_slot(s);
    vtag_err err = vt_file_write(f, VTF_SLOT_AT(s->index), s, sizeof *s);
    if (err) s->seq--;
    return err;
}

/* Makes the file's name durable, once: who made it may have died before it was. */
static vtag_err vt_file_name(vt_file *f) {
    const vtag_io *io = f->env.io;
    vtag_err err = VTAG_OK;
    if (!f->named && io->sync_name) err = io->sync_name(io->ctx, f->env.path);
    if (err) return vt_say_why(&f->env, err, "cannot sync the folder of", f->env.path, 0);
    f->named = 1;
    return VTAG_OK;
}

static vtag_err vt_file_sync(vt_file *f) {
    vtag_err err = f->env.io->sync(f->f);
    return err ? vt_say_why(&f->env, err,
                            "to be opened again, as it cannot be synced:", f->env.path, 0)
               : VTAG_OK;
}

/* ---- Records ------------------------------------------------------------------ */

/* Bytes of the log extent past pos. */
static uint64_t vt_log_room(const vtf_logpos *pos) { return pos->length - (pos->at - pos->extent); }

/* The record at pos, if it is whole and the next of its chain; else NULL. */
static const vtf_record *vt_log_peek(vt_file *f, const vtf_logpos *pos) {
    const vtf_record *r;
    uint64_t room = vt_log_room(pos);
    if (pos->at % 8 || pos->at < pos->extent || pos->at - pos->extent > pos->length) return NULL;
    if (room < sizeof *r || !vt_at(f, pos->at, room)) return NULL;
    r = (const vtf_record *)vt_at(f, pos->at, sizeof *r);
    if (r->magic != VTF_RECORD_MAGIC || r->prev != pos->crc) return NULL;
    if (r->size < sizeof *r || r->size % 8 || r->size > room) return NULL;
    return r->crc == vtf_crc_record(r) ? r : NULL;
}

/* A walk over the log. Where bytes are kept in memory of our own, beginning it and following
   it fetches what other processes may have written since; what snapshots read, which is
   final, stays untouched. */
typedef struct vt_walk {
    vt_file *f;
    vtf_logpos pos; /* where the next record stands                            */
    int fetches;
} vt_walk;

/* Fetches the log extent from `at` on, but not what is known of it. */
static vtag_err vt_walk_fetch(const vt_walk *w, uint64_t extent, uint64_t length, uint64_t at) {
    const vtf_logpos *seen = &w->f->seen;
    if (!w->fetches || extent < seen->extent) return VTAG_OK;
    if (extent == seen->extent) at = vt_max_u64(at, seen->at);
    return vt_file_fetch(w->f, at, extent + length - at);
}

static vtag_err vt_walk_begin(vt_walk *w, vt_file *f, const vtf_logpos *from) {
    w->f = f;
    w->pos = *from;
    w->fetches = 1;
    return vt_walk_fetch(w, from->extent, from->length, from->at);
}

/* Follows a LINK record to the extent that it names, which lies after the one at hand; 0:
   there is no such extent. */
static int vt_walk_follow(const vt_walk *w, const vtf_record *r, vtf_logpos *pos) {
    const vtf_link *link = (const vtf_link *)r;
    const vtf_extent *e;
    if (r->size < sizeof *link || link->extent < pos->extent + pos->length) return 0;
    if (vt_walk_fetch(w, link->extent, link->length, link->extent)) return 0;
    e = vt_extent_at(w->f, link->extent, VTF_LOG);
    if (!e || e->length != link->length) return 0;
    pos->extent = link->extent;
    pos->length = link->length;
    pos->at = link->extent + VTF_HEAD_ROOM;
    return 1;
}

/* The next commit's record, or NULL; the walk moves past it. With salt, only a record of
   that salt counts. */
static const vtf_record *vt_walk_next(vt_walk *w, const uint64_t *salt) {
    vtf_logpos p = w->pos;
    for (;;) {
        const vtf_record *r = vt_log_peek(w->f, &p);
        if (!r || (salt && r->salt != *salt)) return NULL;
        p.at += r->size;
        p.crc = r->crc;
        if (r->type == VTF_R_COMMIT) {
            w->pos = p;
            return r;
        }
        if (r->type != VTF_R_LINK || !vt_walk_follow(w, r, &p)) return NULL;
    }
}

/* Whether anything but zeros lies in the log extent past pos: a crash's remains. */
static int vt_log_dirty(vt_file *f, const vtf_logpos *pos) {
    uint64_t n = vt_log_room(pos), i, any = 0;
    const uint8_t *p = vt_at(f, pos->at, n);
    if (!p) return 1;
    for (i = 0; i + 8 <= n; i += 8) any |= vt_load_u64(p + i);
    return any != 0;
}

/* The next section of a record, or NULL; *at starts at sizeof(vtf_record). */
static const vtf_section *vt_section_next(const vtf_record *r, uint32_t *at) {
    const vtf_section *s;
    if (r->size - *at < sizeof *s) return NULL;
    s = (const vtf_section *)((const uint8_t *)r + *at);
    if (s->size < sizeof *s || s->size % 8 || s->size > r->size - *at) return NULL;
    *at += s->size;
    return s;
}

static size_t vt_section_begin(vt_out *o, uint32_t kind, uint32_t arg) {
    size_t at = o->n;
    vtf_section s = {(uint16_t)kind, (uint16_t)arg, 0};
    vt_out_put(o, &s, sizeof s);
    return at;
}

static void vt_section_end(vt_out *o, size_t at) {
    vt_out_align(o, 8);
    if (o->n - at > UINT32_MAX / 2 && !o->err) o->err = VTAG_FULL;
    if (o->n == at + sizeof(vtf_section)) o->n = at; /* an empty one is left out */
    else if (!o->err) ((vtf_section *)(void *)(o->p + at))->size = (uint32_t)(o->n - at);
}

static void vt_section_put(vt_out *o, uint32_t kind, const void *p, size_t n) {
    size_t at = vt_section_begin(o, kind, 0);
    vt_out_put(o, p, n);
    vt_section_end(o, at);
}

#define VT_LOOKS 4u

/* Takes n from what opening a file may yet look at, in bytes, or rows killed; 0: so much is not
   left. It starts at VT_LOOKS times the size of the file. A sound log names no byte twice, so
   this bounds only the time that a forged one can take. */
static int vt_spend(uint64_t *left, uint64_t n) {
    if (n > *left) return 0;
    *left -= n;
    return 1;
}

/* Whether every range that the record wrote holds what it says. */
static int vt_record_intact(vt_file *f, const vtf_record *r, uint64_t *left) {
    uint32_t at = sizeof *r;
    const vtf_section *s;
    while ((s = vt_section_next(r, &at)) != NULL) {
        const vtf_range *g = (const vtf_range *)(s + 1);
        size_t i, n = (s->size - sizeof *s) / sizeof *g;
        for (i = 0; s->kind == VTF_RANGES && i < n; i++) {
            const uint8_t *p = vt_at(f, g[i].at, g[i].length);
            if (!p || !vt_spend(left, g[i].length)) return 0;
            if (vt_file_fetch(f, g[i].at, g[i].length)) return 0;
            if (vt_xxh64(p, (size_t)g[i].length) != g[i].xxh) return 0;
        }
    }
    return at == r->size;
}

/* ---- Redo ------------------------------------------------------------------- */

/* Lists what a record wrote: its ranges, and itself at r_at. */
static void vt_redo_list(vt_out *list, const vtf_record *r, uint64_t r_at) {
    uint32_t at = sizeof *r;
    const vtf_section *s;
    vtf_range self = {r_at, r->size, vt_xxh64(r, r->size)};
    while (r->type == VTF_R_COMMIT && (s = vt_section_next(r, &at)) != NULL)
        if (s->kind == VTF_RANGES)
            vt_out_put(list, s + 1, (s->size - sizeof *s) / sizeof(vtf_range) * sizeof(vtf_range));
    vt_out_put(list, &self, sizeof self);
}

/* Writes the bytes that the list names again: where they are, or one after the other
   from `to` on. */
static vtag_err vt_redo_rewrite(vt_file *f, const vt_out *list, uint64_t to) {
    const vtf_range *g = (const vtf_range *)(const void *)list->p;
    size_t i, n = list->n / sizeof *g;
    vtag_err err = VTAG_OK;
    for (i = 0; i < n && !err; i++) {
        const uint8_t *p = vt_at(f, g[i].at, g[i].length);
        err = vt_file_write(f, to ? to : g[i].at, p, (size_t)g[i].length);
        to += to ? g[i].length : 0;
    }
    return err;
}

/* Writes the list and the bytes that it names to `to`, past the end of the file. */
static vtag_err vt_redo_write(vt_file *f, const vt_out *list, uint64_t to) {
    const vtf_range *g = (const vtf_range *)(const void *)list->p;
    size_t i, n = list->n / sizeof *g;
    uint64_t end = to + list->n;
    vtag_err err;
    for (i = 0; i < n; i++) end += g[i].length;
    err = f->env.io->allocate(f->f, vt_align(end, VTF_ALIGN));
    if (!err) err = vt_file_write(f, to, list->p, list->n);
    return err ? err : vt_redo_rewrite(f, list, to + list->n);
}

/* Moves n bytes within the file (a reader: into its own memory), or only hashes them. */
static vtag_err vt_redo_move(vt_file *f, uint64_t from, uint64_t to, uint64_t n, vt_xxh *hash) {
    uint8_t part[4096];
    vtag_err err = VTAG_OK;
    while (n && !err) {
        size_t k = (size_t)vt_min_u64(n, sizeof part);
        err = vt_file_read(f, from, part, k);
        if (!err && hash) vt_xxh_update(hash, part, k);
        if (!err && !hash && f->env.read_only) vt_file_mirror(f, to, part, k);
        if (!err && !hash && !f->env.read_only) err = vt_file_write(f, to, part, k);
        from += k, to += k, n -= k;
    }
    return err;
}

/* The list of the copy that a slot names, to be freed; NULL: *err. */
static vtf_range *vt_redo_read(vt_file *f, const vtf_slot *s, vtag_err *err) {
    uint64_t size, n = s->redo_n, i;
    vtf_range *g = NULL;
    *err = vt_file_size(f, &size);
    if (!*err && (n > size / sizeof *g || s->redo_at > size || n * sizeof *g > size - s->redo_at))
        *err = VTAG_CORRUPT;
    if (!*err && (g = (vtf_range *)vt_alloc((size_t)n * sizeof *g)) == NULL) *err = VTAG_NOMEM;
    if (!*err) *err = vt_file_read(f, s->redo_at, g, (size_t)n * sizeof *g);
    if (!*err && vt_xxh64(g, (size_t)n * sizeof *g) != s->redo_xxh) *err = VTAG_CORRUPT;
    for (i = 0; i < n && !*err; i++)
        if (g[i].at < VTF_FRONT || g[i].at > s->redo_at || g[i].length > s->redo_at - g[i].at)
            *err = VTAG_CORRUPT;
    if (!*err) return g;
    vt_free(g);
    return NULL;
}

/* Whether n bytes from `at` on have a hash. */
static vtag_err vt_redo_holds(vt_file *f, uint64_t at, const vtf_range *g) {
    vt_xxh hash;
    vt_xxh_init(&hash);
    vtag_err err = vt_redo_move(f, at, 0, g->length, &hash);
    return err || vt_xxh_digest(&hash) == g->xxh ? err : VTAG_CORRUPT;
}

/* Whether all that the copy holds stands in its place already, as it does unless the power
   failed while it was written. */
static int vt_redo_stands(vt_file *f, const vtf_slot *s) {
    vtag_err err;
    vtf_range *g = vt_redo_read(f, s, &err);
    for (uint64_t i = 0; i < s->redo_n && !err; i++) err = vt_redo_holds(f, g[i].at, &g[i]);
    vt_free(g);
    return !err;
}

/* Puts the bytes of the copy that a slot names where they belong. */
static vtag_err vt_redo_apply(vt_file *f, const vtf_slot *s) {
    vtag_err err;
    vtf_range *g = vt_redo_read(f, s, &err);
    uint64_t from = s->redo_at + s->redo_n * sizeof *g;
    if (err) return vt_say(&f->env, err, "cannot finish a recovery", s->redo_at);
    for (uint64_t i = 0; i < s->redo_n && !err; from += g[i++].length) {
        err = vt_redo_holds(f, from, &g[i]);
        if (!err) err = vt_redo_move(f, from, g[i].at, g[i].length, NULL);
    }
    vt_free(g);
    return err ? vt_say(&f->env, err, "cannot finish a recovery", s->redo_at) : err;
}

/* ---- Blobs --------------------------------------------------------------------- */

/* What the API lets a caller write, no file may exceed: most bytes of a blob's name, and of its
   data where that is text; text has no NUL in it. Events and policies hold strings of their own. */
#define VT_NAME_MAX   255u
#define VT_NOTE_MAX   4096u
#define VT_REASON_MAX 1024u
#define VT_FACTS_MAX  65536u

static int vt_text_ok(const void *p, uint64_t n, uint64_t most) {
    return n <= most && !memchr(p, 0, (size_t)n);
}

/* Whether a whole blob keeps within the limits of its kind. */
static int vt_blob_fits(const vtf_blob *b, const void *name, const void *data) {
    if (!vt_text_ok(name, b->name, VT_NAME_MAX)) return 0;
    if (b->kind == 0) return b->name && b->data <= VT_NOTE_MAX + 1 + VT_NAME_MAX;
    if (b->kind == VTF_S_NAMES) return b->name > 0;
    if (b->kind == VTF_S_FACTS) return !b->name && b->data <= VT_FACTS_MAX;
    if (b->kind == VTF_S_WAIVERS) return b->data && vt_text_ok(data, b->data, VT_REASON_MAX);
    return 1;
}

/* A blob at an offset that came from the file; NULL unless whole, of kind, and within its limits. */
static const vtf_blob *vt_blob_at(vt_file *f, uint64_t at, uint32_t kind) {
    const vtf_blob *b;
    const uint8_t *data;
    uint64_t n;
    if (at % 8) return NULL;
    b = (const vtf_blob *)vt_at(f, at, sizeof *b);
    if (!b || b->kind != kind || b->data >> 48) return NULL;
    n = vtf_blob_bytes(b);
    if (!vt_at(f, at, n) || n > SIZE_MAX) return NULL;
    if (b->crc != vt_crc32c(0, &b->kind, (size_t)n - 4)) return NULL;
    data = (const uint8_t *)b + vtf_blob_data(b);
    if (data[b->data] || ((const uint8_t *)(b + 1))[b->name]) return NULL;
    return vt_blob_fits(b, b + 1, data) ? b : NULL;
}

/* The blob that an entry of a space names. */
static const vtf_blob *vt_blob_get(vt_file *f, const vtf_entry *e, uint32_t kind) {
    const vtf_blob *b = vt_blob_at(f, e->at, kind);
    return b && b->id == e->id ? b : NULL;
}

static const char *vt_blob_name(const vtf_blob *b) { return (const char *)(b + 1); }

static const uint8_t *vt_blob_data(const vtf_blob *b) {
    return (const uint8_t *)b + vtf_blob_data(b);
}

/* Appends a blob to o, which is aligned to 8. */
static void vt_blob_put(vt_out *o, vtf_blob *b, const void *name, const void *data) {
    size_t at = o->n;
    uint8_t *p;
    vt_out_put(o, b, sizeof *b);
    vt_out_put(o, name, b->name);
    vt_out_put(o, "", 1);
    vt_out_align(o, 8);
    vt_out_put(o, data, (size_t)b->data);
    vt_out_put(o, "", 1);
    vt_out_align(o, 8);
    if (o->err) return;
    p = o->p + at;
    b->crc = vt_crc32c(0, p + 4, o->n - at - 4);
    memcpy(p, &b->crc, 4);
}

/* ==== 11  Tags and events ========================================== >>tags */

/* The dictionary of tags, the policy, and the encoding of events. A tag's role is
   stored as candidate, older or gone; the head says which are active and standby. */

typedef struct vt_tag {
    vtf_tag f;
    const char *name, *note, *alias;
    vt_buf *own;    /* holds them: a forged file may have its writer write over them */
    int changed;    /* in the batch at hand                                    */
    uint32_t given; /* vectors of it in the put at hand                        */
} vt_tag;

typedef struct vt_tags {
    vt_tag *a;
    size_t n, cap;
} vt_tags;

static vt_tag *vt_tags_get(const vt_tags *t, vtag_tag tag) {
    size_t i;
    for (i = 0; i < t->n; i++)
        if (t->a[i].f.tag == tag) return &t->a[i];
    return NULL;
}

static vt_tag *vt_tags_find(const vt_tags *t, const char *name) {
    size_t i;
    for (i = 0; i < t->n; i++)
        if (!strcmp(t->a[i].name, name) || (t->a[i].alias && !strcmp(t->a[i].alias, name)))
            return &t->a[i];
    return NULL;
}

/* Takes over the tag's hold on its text. */
static vtag_err vt_tags_add(vt_tags *t, const vt_tag *tag) {
    vtag_err err = vt_append(&t->a, &t->n, &t->cap, tag, sizeof *tag);
    if (err) vt_buf_drop(tag->own);
    return err;
}

/* Gives a tag texts of its own in the place of what it had; note and alias may be NULL. */
static vtag_err vt_tag_text(vt_tag *t, const char *name, const char *note, const char *alias) {
    size_t n = strlen(name) + 1, m = note ? strlen(note) + 1 : 0, k = alias ? strlen(alias) + 1 : 0;
    vt_buf *own = vt_buf_new(n + m + k);
    if (!own) return VTAG_NOMEM;
    char *p = (char *)vt_buf_data(own);
    memcpy(p, name, n);
    if (m) memcpy(p + n, note, m);
    if (k) memcpy(p + n + m, alias, k);
    t->name = p;
    t->note = m ? p + n : NULL;
    t->alias = k ? p + n + m : NULL;
    t->own = own;
    return VTAG_OK;
}

static vtag_err vt_tags_copy(vt_tags *to, const vt_tags *from) {
    size_t i;
    to->a = (vt_tag *)vt_dup(from->a, from->n, sizeof *from->a);
    if (!to->a) return VTAG_NOMEM;
    to->n = to->cap = from->n;
    for (i = 0; i < to->n; i++) vt_buf_hold(to->a[i].own);
    return VTAG_OK;
}

static void vt_tags_free(vt_tags *t) {
    size_t i;
    for (i = 0; i < t->n; i++) vt_buf_drop(t->a[i].own);
    vt_free(t->a);
}

/* Length of the run of name characters at s. */
static size_t vt_word(const char *s) {
    return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-");
}

/* Splits model@version/preparation; 0: malformed. Lengths of model and version. */
static int vt_name_split(const char *name, size_t *model, size_t *version) {
    const char *s = name;
    if (strlen(name) > VT_NAME_MAX) return 0;
    *model = vt_word(s);
    s += *model;
    if (!*model || *s++ != '@') return 0;
    *version = vt_word(s);
    s += *version;
    if (!*version) return 0;
    while (*s == '/') {
        size_t part = vt_word(++s);
        if (!part) return 0;
        s += part;
    }
    return !*s;
}

/* Reads the texts of a tag from its blob; 0: it or they are not as they must be. */
static int vt_tag_read(vt_tag *t, vt_file *file) {
    const vtf_blob *b = vt_blob_at(file, t->f.names, 0);
    const char *data = b ? (const char *)vt_blob_data(b) : "";
    size_t note = strlen(data), model, version;
    if (!b || b->id != t->f.tag || note > VT_NOTE_MAX ||
        !vt_name_split(vt_blob_name(b), &model, &version))
        return 0;
    if (b->data != note + t->f.alias) return 0;
    t->name = vt_blob_name(b);
    t->note = note ? data : NULL;
    t->alias = t->f.alias ? data + note + 1 : NULL;
    return !t->alias || (vt_name_split(t->alias, &model, &version) &&
                         strlen(t->alias) + 1 == t->f.alias && strcmp(t->name, t->alias));
}

/* A tag as the file has it, its texts copied; replaces the one of its number, which may get an alias.
   *left: see vt_spend. */
static vtag_err vt_tags_apply(vt_tags *t, vt_file *file, const vtf_tag *f, uint64_t *left) {
    vt_tag *old = vt_tags_get(t, f->tag);
    const char *why = old ? "a tag changed its meaning" : "malformed tag";
    const vtf_blob *b;
    vt_tag tag = VT_ZERO;
    tag.f = *f;
    if (f->role > VTAG_GONE || !f->tag || !f->dim || f->dim > VTF_MAX_DIM || f->codec > VTAG_I8 ||
        f->metric > VTAG_L2SQ)
        return vt_say(&file->env, VTAG_CORRUPT, why, f->names);
    if (old && (f->dim != old->f.dim || f->metric != old->f.metric || f->codec != old->f.codec ||
                (f->names == old->f.names && f->alias != old->f.alias)))
        return vt_say(&file->env, VTAG_CORRUPT, why, f->names);
    if (old && f->names == old->f.names) {
        old->f = *f;
        return VTAG_OK;
    }
    b = f->names % 8 ? NULL : (const vtf_blob *)vt_at(file, f->names, sizeof *b);
    if (!b || !vt_spend(left, vtf_blob_bytes(b)) || !vt_tag_read(&tag, file))
        return vt_say(&file->env, VTAG_CORRUPT, why, f->names);
    if (old && (strcmp(old->name, tag.name) || file->version < 3 || old->alias))
        return vt_say(&file->env, VTAG_CORRUPT, why, f->names);
    if (vt_tag_text(&tag, tag.name, tag.note, tag.alias)) return VTAG_NOMEM;
    if (!old) return vt_tags_add(t, &tag);
    vt_buf_drop(old->own);
    *old = tag;
    return VTAG_OK;
}

/* Why a tag, NULL if there is none, cannot be asked or written; or OK. */
static vtag_err vt_tag_live(const vt_tag *t) {
    if (!t) return VTAG_NOTAG;
    return t->f.role == VTAG_GONE ? VTAG_RETIRED : VTAG_OK;
}

static vtag_role vt_tag_role(const vt_tag *t, const vtf_head *h) {
    if (t->f.tag == h->active) return VTAG_ACTIVE;
    if (t->f.tag == h->standby) return VTAG_STANDBY;
    return (vtag_role)t->f.role;
}

/* Whether a name's first n bytes, its model or version, are those of b too. */
static int vt_same_to(const char *name, const char *b, size_t n) {
    int ends = strlen(b) >= n && (!b[n] || b[n] == '@' || b[n] == '/');
    return ends && !memcmp(name, b, n);
}

/* The number that a new name gets: one more than the last at each level where its
   text is new. FULL: a level is exhausted. */
static vtag_err vt_tags_number(const vt_tags *t, const char *name, vtag_tag *tag) {
    size_t model, version, i;
    uint32_t m = 0, v = 0, p = 0, models = 0, versions = 0;
    vt_name_split(name, &model, &version);
    for (i = 0; i < t->n; i++) {
        models = VTAG_TAG_MODEL(t->a[i].f.tag) > models ? VTAG_TAG_MODEL(t->a[i].f.tag) : models;
        if (vt_same_to(name, t->a[i].name, model)) m = VTAG_TAG_MODEL(t->a[i].f.tag);
    }
    for (i = 0; m && i < t->n; i++) {
        vtag_tag o = t->a[i].f.tag;
        if (VTAG_TAG_MODEL(o) != m) continue;
        versions = VTAG_TAG_VERSION(o) > versions ? VTAG_TAG_VERSION(o) : versions;
        if (vt_same_to(name, t->a[i].name, model + 1 + version)) v = VTAG_TAG_VERSION(o);
    }
    for (i = 0; v && i < t->n; i++) {
        vtag_tag o = t->a[i].f.tag;
        if (o >> 8 == (m << 12 | v) && VTAG_TAG_PREPARATION(o) > p) p = VTAG_TAG_PREPARATION(o);
    }
    if (!m) m = models + 1;
    if (!v) v = versions + 1;
    if (m > 0xFFFu || v > 0xFFFu || ++p > 0xFFu) return VTAG_FULL;
    *tag = m << 20 | v << 8 | p;
    return VTAG_OK;
}

/* ---- Gates and policy ------------------------------------------------------ */

/* Members of the same name and type in a value v and in its stored form f. */
#define VT_PACK(member)   f->member = v->member;
#define VT_UNPACK(member) v->member = f->member;
#define VT_GATE_MEMBERS(X) \
    X(min_ppm) X(max_waived_ppm) X(max_age_ms) X(min_score) X(max_drop) X(min_queries)
#define VT_GATE_MORE(X) X(min_audit_ppm) X(min_recall_ppm)
#define VT_EVENT_MEMBERS(X) \
    X(time) X(tag) X(base) X(flags) X(failed) X(value) X(base_value) X(queries) X(commit)

static void vt_gate_pack(vtf_gate *f, const vtag_gate *v) {
    VT_GATE_MEMBERS(VT_PACK)
    f->has = (v->has_min ? 1u : 0u) | (v->has_drop ? 2u : 0u);
}

static void vt_gate_unpack(vtag_gate *v, const vtf_gate *f) {
    memset(v, 0, sizeof *v);
    VT_GATE_MEMBERS(VT_UNPACK)
    v->has_min = (int)(f->has & 1u);
    v->has_drop = (int)(f->has >> 1 & 1u);
}

/* Strings behind a packed struct: length + 1 in the struct, 0 for NULL. */
static uint32_t vt_string_pack(vt_out *o, const char *s) {
    size_t n = s ? strlen(s) + 1 : 0;
    vt_out_put(o, s, n);
    return (uint32_t)n;
}

/* Takes the next string, of at most `most` bytes, out of [*p, end); 0: it is not there. */
static int vt_string_unpack(const uint8_t **p, const uint8_t *end, uint32_t n, uint32_t most,
                            const char **s) {
    *s = NULL;
    if (!n) return 1;
    if ((size_t)(end - *p) < n || (*p)[n - 1] || !vt_text_ok(*p, n - 1, most)) return 0;
    *s = (const char *)*p;
    *p += n;
    return 1;
}

static void vt_policy_default(vtag_policy *p) {
    memset(p, 0, sizeof *p);
    p->gate.min_ppm = 995000;
    p->gate.max_waived_ppm = 1000;
    p->gate.max_age_ms = 86400000u;
    p->gate.min_queries = 75;
    p->retain_ms = 28u * 86400000ull;
}

static int vt_ppm_ok(uint32_t ppm) { return ppm <= 1000000u || ppm == VTAG_NONE; }

static int vt_within(const char *s, size_t most) { return !s || strlen(s) <= most; }

static uint32_t vt_limit(uint32_t x) { return x == VTAG_NONE ? 0 : x; }

/* Fills *out with what g states, and base where it states nothing; 0: out of range. */
static int vt_gate_resolve(vtag_gate *out, const vtag_gate *g, const vtag_gate *base) {
    *out = *base;
    out->reason = g ? g->reason : NULL;
    if (!g) return 1;
    if (g->min_ppm) out->min_ppm = g->min_ppm;
    if (g->max_waived_ppm) out->max_waived_ppm = g->max_waived_ppm;
    if (g->max_age_ms) out->max_age_ms = g->max_age_ms;
    if (g->min_queries) out->min_queries = g->min_queries;
    if (!vt_ppm_ok(g->min_audit_ppm) || !vt_ppm_ok(g->min_recall_ppm)) return 0;
    if (g->min_audit_ppm) out->min_audit_ppm = vt_limit(g->min_audit_ppm);
    if (g->min_recall_ppm) out->min_recall_ppm = vt_limit(g->min_recall_ppm);
    if (g->score && (!base->score || strcmp(g->score, base->score))) {
        out->score = g->score;
        out->has_min = out->has_drop = 0;
    }
    if (g->has_min) out->has_min = 1, out->min_score = g->min_score;
    if (g->has_drop) out->has_drop = 1, out->max_drop = g->max_drop;
    if (g->reason && strlen(g->reason) > VT_REASON_MAX) return 0;
    if (out->score && (!*out->score || strlen(out->score) > VT_NAME_MAX)) return 0;
    return vt_ppm_ok(out->min_ppm) && vt_ppm_ok(out->max_waived_ppm) &&
           !(out->has_min && out->min_score != out->min_score) &&
           !(out->has_drop && out->max_drop != out->max_drop);
}

/* Whether a gate asks less than the policy's in any term. */
static int vt_gate_below(const vtag_gate *g, const vtag_gate *policy) {
    if (vt_limit(g->min_ppm) < vt_limit(policy->min_ppm)) return 1;
    if (vt_limit(g->max_waived_ppm) > vt_limit(policy->max_waived_ppm)) return 1;
    if (g->max_age_ms > policy->max_age_ms) return 1;
    if (g->min_audit_ppm < policy->min_audit_ppm) return 1;
    if (g->min_recall_ppm < policy->min_recall_ppm) return 1;
    if (!policy->score) return 0;
    if (strcmp(g->score, policy->score)) return 1;
    if (policy->has_min && (!g->has_min || g->min_score < policy->min_score)) return 1;
    if (policy->has_drop && (!g->has_drop || g->max_drop > policy->max_drop)) return 1;
    return vt_limit(g->min_queries) < vt_limit(policy->min_queries);
}

/* Fills in what a policy leaves out; p holds the defaults. 0: out of range. */
static int vt_policy_resolve(vtag_policy *p, const vtag_policy *given) {
    vtag_gate base = p->gate;
    if (!vt_gate_resolve(&p->gate, &given->gate, &base)) return 0;
    p->gate.reason = NULL;
    if (given->retain_ms) p->retain_ms = given->retain_ms;
    p->retain_scores = given->retain_scores;
    p->hold = given->hold;
    return !p->hold || strlen(p->hold) <= VT_REASON_MAX;
}

/* Extensions: what came to events and policies later. */
static void vt_more_put(vt_out *o, uint32_t kind, const void *p, size_t n) {
    vtf_more m = {(uint32_t)vt_align(sizeof m + n, 8), kind};
    vt_out_put(o, &m, sizeof m);
    vt_out_put(o, p, n);
    vt_out_align(o, 8);
}

static void vt_more_text(vt_out *o, uint32_t kind, const char *s) {
    if (s) vt_more_put(o, kind, s, strlen(s) + 1);
}

static void vt_more_gate(vt_out *o, const vtag_gate *v) {
    vtf_gate_more more = VT_ZERO, *f = &more;
    VT_GATE_MORE(VT_PACK)
    if (more.min_audit_ppm || more.min_recall_ppm) vt_more_put(o, VTF_X_GATE, f, sizeof *f);
}

/* The next of the extensions in [*p, end), or NULL; *bad: what is there is none. */
static const vtf_more *vt_more_next(const uint8_t **p, const uint8_t *end, int *bad) {
    const vtf_more *m = (const vtf_more *)(const void *)*p;
    if (*p == end) return NULL;
    *bad = (size_t)(end - *p) < sizeof *m || m->bytes < sizeof *m || m->bytes % 8 ||
           m->bytes > (size_t)(end - *p);
    if (*bad) return NULL;
    *p += m->bytes;
    return m;
}

/* Where they begin, behind the strings that end at `at`. */
static const uint8_t *vt_more_begin(const vtf_blob *b, const uint8_t *at) {
    const uint8_t *data = vt_blob_data(b);
    uint64_t from = vt_align((uint64_t)(at - data), 8);
    return from > b->data ? data + b->data : data + from;
}

static int vt_gate_more(vtag_gate *v, const vtf_more *m) {
    const vtf_gate_more *f = (const vtf_gate_more *)(const void *)(m + 1);
    if (m->bytes < sizeof *m + sizeof *f) return 0;
    VT_GATE_MORE(VT_UNPACK)
    return 1;
}

static void vt_policy_pack(vt_out *o, const vtag_policy *p) {
    vtf_policy f = VT_ZERO;
    size_t n;
    vt_gate_pack(&f.gate, &p->gate);
    f.retain_ms = p->retain_ms;
    f.retain_scores = p->retain_scores;
    vt_out_put(o, &f, sizeof f);
    f.score = vt_string_pack(o, p->gate.score);
    f.hold = vt_string_pack(o, p->hold);
    n = o->n;
    if (p->gate.min_audit_ppm || p->gate.min_recall_ppm) {
        vt_out_align(o, 8);
        vt_more_gate(o, &p->gate);
    }
    if (o->n > n) f.flags = VTF_EXTENDED;
    if (!o->err) memcpy(o->p, &f, sizeof f);
}

static int vt_policy_unpack(vtag_policy *p, const vtf_blob *b) {
    const uint8_t *at = vt_blob_data(b), *end = at + b->data;
    const vtf_policy *f = (const vtf_policy *)at;
    const vtf_more *m;
    int bad = 0, good;
    if (b->data < sizeof *f) return 0;
    memset(p, 0, sizeof *p);
    vt_gate_unpack(&p->gate, &f->gate);
    p->retain_ms = f->retain_ms;
    p->retain_scores = f->retain_scores;
    at += sizeof *f;
    good = vt_string_unpack(&at, end, f->score, VT_NAME_MAX, &p->gate.score) &&
           vt_string_unpack(&at, end, f->hold, VT_REASON_MAX, &p->hold);
    if (!good || !(f->flags & VTF_EXTENDED)) return good;
    at = vt_more_begin(b, at);
    while (good && (m = vt_more_next(&at, end, &bad)) != NULL)
        if (m->kind == VTF_X_GATE) good = vt_gate_more(&p->gate, m);
    return good && !bad;
}

/* ---- Events ------------------------------------------------------------------ */

/* Most bytes of an event's text; of a declaration it is the tag's note. */
static uint32_t vt_text_max(vtag_kind kind) {
    return kind == VTAG_K_DECLARED ? VT_NOTE_MAX : VT_REASON_MAX;
}

#define VT_COUNT_MEMBERS(X) X(in) X(filled) X(waived)
#define VT_AUDIT_MEMBERS(X) X(sampled) X(untestable) X(below) X(worst) X(from) X(to)

static int vt_event_counts(const vtag_event *v) {
    return v->in || v->filled || v->waived || v->failed_items;
}

static int vt_event_audits(const vtag_event *v) { return v->audit.sampled || v->audit.untestable; }

/* Whether an event holds what came with version 3. */
static int vt_event_extends(const vtag_event *v) {
    return v->by || v->command || vt_event_counts(v) || vt_event_audits(v) ||
           v->used.min_audit_ppm || v->used.min_recall_ppm;
}

static void vt_event_more(vt_out *o, const vtag_event *v) {
    vt_more_text(o, VTF_X_BY, v->by);
    vt_more_text(o, VTF_X_COMMAND, v->command);
    if (vt_event_counts(v)) {
        vtf_run_counts counts = VT_ZERO, *f = &counts;
        VT_COUNT_MEMBERS(VT_PACK)
        f->failed = v->failed_items;
        vt_more_put(o, VTF_X_RUN, f, sizeof *f);
    }
    if (vt_event_audits(v)) {
        const vtag_audit *a = &v->audit;
        vtf_audit f = {a->sampled, a->untestable, a->below, a->worst, a->from, a->to, a->written};
        vt_more_put(o, VTF_X_AUDIT, &f, sizeof f);
    }
    vt_more_gate(o, &v->used);
}

/* The data of an event's blob, into an empty o. */
static void vt_event_pack(vt_out *o, const vtag_event *v) {
    vtf_event packed = VT_ZERO, *f = &packed;
    VT_EVENT_MEMBERS(VT_PACK)
    f->kind = (uint32_t)v->kind;
    vt_gate_pack(&f->used, &v->used);
    memcpy(&f->cover, &v->cover, sizeof f->cover);
    vt_out_put(o, f, sizeof *f);
    f->score = vt_string_pack(o, v->used.score);
    f->reason = vt_string_pack(o, v->used.reason);
    f->text = vt_string_pack(o, v->text);
    f->flags &= ~VTF_EXTENDED;
    if (vt_event_extends(v)) {
        f->flags |= VTF_EXTENDED;
        vt_out_align(o, 8);
        vt_event_more(o, v);
    }
    if (!o->err) memcpy(o->p, f, sizeof *f);
}

/* A text of an extension; NULL: it is none, or something stands behind it. */
static const char *vt_more_string(const vtf_more *m, uint32_t most) {
    const char *s = (const char *)(m + 1), *end = (const char *)m + m->bytes;
    size_t n = m->bytes > sizeof *m ? strnlen(s, m->bytes - sizeof *m) : most + 1;
    if (n > most || (uint64_t)(end - s) != vt_align(n + 1, 8)) return NULL;
    for (s += n; s < end; s++)
        if (*s) return NULL;
    return (const char *)(m + 1);
}

/* Takes in one extension; 0: it is malformed. */
static int vt_event_extend(vtag_event *v, const vtf_more *m) {
    size_t n = m->bytes - sizeof *m;
    if (m->kind == VTF_X_BY) return (v->by = vt_more_string(m, VT_NAME_MAX)) != NULL;
    if (m->kind == VTF_X_COMMAND) return (v->command = vt_more_string(m, VT_REASON_MAX)) != NULL;
    if (m->kind == VTF_X_GATE) return vt_gate_more(&v->used, m);
    if (m->kind == VTF_X_RUN) {
        const vtf_run_counts *f = (const vtf_run_counts *)(const void *)(m + 1);
        if (n < sizeof *f) return 0;
        VT_COUNT_MEMBERS(VT_UNPACK)
        v->failed_items = f->failed;
    }
    if (m->kind == VTF_X_AUDIT) {
        const vtf_audit *f = (const vtf_audit *)(const void *)(m + 1);
        if (n < sizeof *f) return 0;
        vtag_audit a = {f->sampled, f->untestable, f->below, f->worst, f->from, f->to, f->written};
        v->audit = a;
    }
    return 1;
}

static int vt_event_unpack(vtag_event *v, const vtf_blob *b) {
    const uint8_t *at = vt_blob_data(b), *end = at + b->data;
    const vtf_event *f = (const vtf_event *)at;
    const vtf_more *m;
    int bad = 0, good;
    if (b->data < sizeof *f) return 0;
    memset(v, 0, sizeof *v);
    VT_EVENT_MEMBERS(VT_UNPACK)
    v->flags &= ~VTF_EXTENDED;
    v->seq = b->id;
    v->kind = (vtag_kind)f->kind;
    vt_gate_unpack(&v->used, &f->used);
    memcpy(&v->cover, &f->cover, sizeof v->cover);
    v->name = b->name ? vt_blob_name(b) : NULL;
    at += sizeof *f;
    good = vt_string_unpack(&at, end, f->score, VT_NAME_MAX, &v->used.score) &&
           vt_string_unpack(&at, end, f->reason, VT_REASON_MAX, &v->used.reason) &&
           vt_string_unpack(&at, end, f->text, vt_text_max(v->kind), &v->text);
    if (!good || !(f->flags & VTF_EXTENDED)) return good;
    at = vt_more_begin(b, at);
    while (good && (m = vt_more_next(&at, end, &bad)) != NULL) good = vt_event_extend(v, m);
    return good && !bad;
}

/* The event that an entry of their space names. */
static vtag_err vt_event_read(vt_file *f, const vtf_entry *e, vtag_event *out) {
    const vtf_blob *b = vt_blob_get(f, e, VTF_S_EVENTS);
    if (b && vt_event_unpack(out, b)) return VTAG_OK;
    return vt_say(&f->env, VTAG_CORRUPT, "event damaged", e->at);
}

/* ==== 12  Items and index ========================================= >>index */

/* What the file knows by key: items, the rows of each tag, waivers, events, names.
   Each is a space: runs of entries sorted by id, oldest run first; the newest run
   that has an id is right about it [LSM]. A commit adds a run; a checkpoint gathers
   the runs of the log into INDEX extents and merges runs of a size there. */

typedef struct vt_run {
    const vtf_entry *e;
    uint64_t n, min, max;
    uint64_t lo, hi; /* least and largest id of this run and the older ones    */
    uint64_t at;     /* of an INDEX run's entries; 0: of the log or memory        */
    uint32_t crc;    /* of an INDEX run                                           */
    vt_buf *own;     /* holds e; NULL: e lies in the file                         */
} vt_run;

typedef struct vt_space {
    uint32_t kind, tag;
    uint64_t live;  /* keys                                                    */
    uint64_t bytes; /* of their blobs; VT_UNKNOWN: of a file before version 3  */
    vt_run *runs;
    size_t n, cap;
} vt_space;

#define VT_UNKNOWN UINT64_MAX

typedef struct vt_index {
    vt_space *a;
    size_t n, cap;
} vt_index;

static vt_space *vt_index_find(const vt_index *x, uint32_t kind, uint32_t tag) {
    size_t i;
    for (i = 0; i < x->n; i++)
        if (x->a[i].kind == kind && x->a[i].tag == tag) return &x->a[i];
    return NULL;
}

/* The space, made if there is none; NULL: no memory. */
static vt_space *vt_index_space(vt_index *x, uint32_t kind, uint32_t tag) {
    vt_space *s = vt_index_find(x, kind, tag), fresh = VT_ZERO;
    if (s) return s;
    fresh.kind = kind;
    fresh.tag = tag;
    return vt_append(&x->a, &x->n, &x->cap, &fresh, sizeof fresh) ? NULL : &x->a[x->n - 1];
}

static void vt_runs_drop(vt_run *runs, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) vt_buf_drop(runs[i].own);
}

static void vt_index_free(vt_index *x) {
    size_t i;
    for (i = 0; i < x->n; i++) {
        vt_runs_drop(x->a[i].runs, x->a[i].n);
        vt_free(x->a[i].runs);
    }
    vt_free(x->a);
}

static vtag_err vt_index_copy(vt_index *to, const vt_index *from) {
    size_t i, j;
    to->n = 0;
    to->a = (vt_space *)vt_dup(from->a, from->n, sizeof *from->a);
    if (!to->a) return VTAG_NOMEM;
    to->cap = from->n;
    for (i = 0; i < from->n; i++) {
        vt_space *s = &to->a[i];
        s->runs = (vt_run *)vt_dup(from->a[i].runs, s->n, sizeof *s->runs);
        if (!s->runs) return VTAG_NOMEM;
        s->cap = s->n;
        for (j = 0; j < s->n; j++) vt_buf_hold(s->runs[j].own);
        to->n++;
    }
    return VTAG_OK;
}

/* Sees to the bounds of runs [from, n), so that who looks for an id knows when to stop. */
static void vt_space_bound(vt_space *s, size_t from) {
    for (size_t i = from; i < s->n; i++) {
        vt_run *r = &s->runs[i];
        r->lo = i ? vt_min_u64(r->min, r[-1].lo) : r->min;
        r->hi = i ? vt_max_u64(r->max, r[-1].hi) : r->max;
    }
}

/* Takes over the run's hold on its entries. */
static vtag_err vt_space_push(vt_space *s, const vt_run *run) {
    vtag_err err = vt_append(&s->runs, &s->n, &s->cap, run, sizeof *run);
    if (err) vt_buf_drop(run->own);
    else vt_space_bound(s, s->n - 1);
    return err;
}

/* Puts one run, or none if it is empty, in the place of runs [from, to). */
static void vt_space_replace(vt_space *s, size_t from, size_t to, const vt_run *by) {
    size_t one = by->n > 0;
    vt_runs_drop(s->runs + from, to - from);
    memmove(s->runs + from + one, s->runs + to, (s->n - to) * sizeof *s->runs);
    if (one) s->runs[from] = *by;
    else vt_buf_drop(by->own);
    s->n -= to - from - one;
    vt_space_bound(s, from);
}

/* Position of the first entry with an id of at least id: by interpolation, which suits ids
   in a row and hashes alike, and after four guesses by halves. Even in a run that is out of
   order, what it finds is at least id, so that a walk always moves on. */
static uint64_t vt_run_lower(const vt_run *r, uint64_t id) {
    uint64_t lo = 0, hi = r->n, least = r->min, most = r->max; /* of ids in [lo, hi), about */
    int guesses = 4;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2, x;
        if (guesses-- > 0 && least < id && id < most)
            mid = lo +
                  (uint64_t)((double)(id - least) / (double)(most - least) * (double)(hi - lo - 1));
        x = r->e[mid].id;
        VT_COUNT();
        if (x == id) return mid;
        if (x < id) lo = mid + 1, least = x;
        else hi = mid, most = x;
    }
    return lo;
}

/* The newest entry of an id, dead or alive, or NULL. */
static const vtf_entry *vt_space_any(const vt_space *s, uint64_t id) {
    size_t i = s ? s->n : 0;
    while (i-- > 0) {
        const vt_run *r = &s->runs[i];
        uint64_t at;
        VT_COUNT();
        if (id < r->lo || id > r->hi) return NULL;
        if (id < r->min || id > r->max) continue;
        at = vt_run_lower(r, id);
        if (at < r->n && r->e[at].id == id) return &r->e[at];
    }
    return NULL;
}

static uint64_t vt_space_live(const vt_space *s) { return s ? s->live : 0; }

/* An entry, unless its key is gone. */
static const vtf_entry *vt_alive(const vtf_entry *e) { return e && e->at != VTF_DEAD ? e : NULL; }

static const vtf_entry *vt_space_get(const vt_space *s, uint64_t id) {
    return vt_alive(vt_space_any(s, id));
}

/* ---- Iteration ---------------------------------------------------------------- */

typedef struct vt_cursor {
    const vtf_entry *e, *end;
    size_t age; /* position of the run: the higher, the newer                  */
} vt_cursor;

typedef struct vt_iter { /* over a space by ascending id; a heap of cursors    */
    vt_cursor *c;
    size_t n;
    int dead;       /* dead entries too                                     */
    uint64_t least; /* the next id is this or larger                        */
} vt_iter;

static int vt_cursor_before(const vt_cursor *a, const vt_cursor *b) {
    if (a->e->id != b->e->id) return a->e->id < b->e->id;
    return a->age > b->age;
}

static void vt_iter_sift(vt_iter *it, size_t i) {
    for (;;) {
        size_t least = i, l = 2 * i + 1;
        vt_cursor t;
        if (l < it->n && vt_cursor_before(&it->c[l], &it->c[least])) least = l;
        l++;
        if (l < it->n && vt_cursor_before(&it->c[l], &it->c[least])) least = l;
        if (least == i) return;
        t = it->c[i];
        it->c[i] = it->c[least];
        it->c[least] = t;
        i = least;
    }
}

/* Iterates over runs[n] from an id on; free with vt_iter_end, also on failure. */
static vtag_err vt_iter_runs(vt_iter *it, const vt_run *runs, size_t n, uint64_t from) {
    size_t i;
    memset(it, 0, sizeof *it);
    it->least = from;
    it->c = (vt_cursor *)vt_alloc(n * sizeof *it->c);
    if (!it->c) return VTAG_NOMEM;
    for (i = 0; i < n; i++) {
        vt_cursor c;
        c.e = runs[i].e + vt_run_lower(&runs[i], from);
        c.end = runs[i].e + runs[i].n;
        c.age = i;
        if (c.e < c.end) it->c[it->n++] = c;
    }
    for (i = it->n / 2; i-- > 0;) vt_iter_sift(it, i);
    return VTAG_OK;
}

static vtag_err vt_iter_begin(vt_iter *it, const vt_space *s, uint64_t from) {
    return vt_iter_runs(it, s ? s->runs : NULL, s ? s->n : 0, from);
}

static void vt_iter_end(vt_iter *it) {
    vt_free(it->c);
    it->c = NULL;
}

/* The next entry, ids strictly ascending whatever the file holds, or NULL. */
static const vtf_entry *vt_iter_next(vt_iter *it) {
    while (it->n) {
        const vtf_entry *e = it->c[0].e++;
        if (it->c[0].e == it->c[0].end) it->c[0] = it->c[--it->n];
        vt_iter_sift(it, 0);
        if (e->id < it->least || e->id == UINT64_MAX) continue;
        it->least = e->id + 1;
        if (it->dead || e->at != VTF_DEAD) return e;
    }
    return NULL;
}

/* ---- Merging ------------------------------------------------------------------- */

static void vt_run_of(vt_run *r, const vtf_entry *e, uint64_t n) {
    memset(r, 0, sizeof *r);
    r->e = e;
    r->n = n;
    if (n) r->min = e[0].id, r->max = e[n - 1].id;
}

/* The same of a copy in memory. */
static vtag_err vt_run_copy(vt_run *r, const vtf_entry *e, size_t n) {
    vt_buf *own = vt_buf_new(n * sizeof *e);
    if (!own) return VTAG_NOMEM;
    vt_run_of(r, (const vtf_entry *)memcpy(vt_buf_data(own), e, n * sizeof *e), n);
    r->own = own;
    return VTAG_OK;
}

/* Merges runs [from, n) of a space into one in memory. */
static vtag_err vt_space_fold(vt_space *s, size_t from) {
    uint64_t total = 0, n = 0;
    const vtf_entry *e;
    vtf_entry *out;
    vt_run run;
    vt_iter it;
    vt_buf *b;
    size_t i;
    for (i = from; i < s->n; i++) total += s->runs[i].n;
    if (total > SIZE_MAX / sizeof *out) return VTAG_NOMEM;
    b = vt_buf_new((size_t)total * sizeof *out);
    if (!b) return VTAG_NOMEM;
    if (vt_iter_runs(&it, s->runs + from, s->n - from, 0)) {
        vt_buf_drop(b);
        return VTAG_NOMEM;
    }
    it.dead = 1;
    out = (vtf_entry *)vt_buf_data(b);
    while ((e = vt_iter_next(&it)) != NULL) out[n++] = *e;
    vt_iter_end(&it);
    vt_run_of(&run, out, n);
    run.own = b;
    vt_space_replace(s, from, s->n, &run);
    return VTAG_OK;
}

/* Keeps the runs of the log few: while the newest two are about of a size, they
   become one. Each entry is copied O(log n) times. */
static vtag_err vt_space_tidy(vt_space *s) {
    vtag_err err = VTAG_OK;
    while (!err && s->n >= 2) {
        const vt_run *a = &s->runs[s->n - 2], *b = &s->runs[s->n - 1];
        if (a->at || b->at || a->n > 2 * b->n) break;
        err = vt_space_fold(s, s->n - 2);
    }
    return err;
}

static int vt_runs_disjoint(const vt_run *r, size_t from, size_t to) {
    for (; from + 1 < to; from++)
        if (r[from].max >= r[from + 1].min) return 0;
    return 1;
}

static uint32_t vt_run_class(const vt_run *r) {
    uint32_t c = 0;
    uint64_t n = r->n;
    while (n >= 8) n /= 8, c++;
    return c;
}

/* The first of the newest runs that are worth merging, or s->n. Eight of a size
   class that overlap are; runs of ascending ids stay apart up to 64. */
static size_t vt_space_tier(const vt_space *s) {
    uint32_t class_;
    for (class_ = 0; class_ < 22; class_++) {
        size_t from = s->n;
        while (from > 0 && vt_run_class(&s->runs[from - 1]) <= class_) from--;
        if (s->n - from < 8) continue;
        if (s->n - from >= 64 || !vt_runs_disjoint(s->runs, from, s->n)) return from;
    }
    return s->n;
}

/* ---- Runs of the file -------------------------------------------------------------- */

/* What the file says of a run: in its directory, and in front of its entries. */
static vtf_run vt_run_stored(const vt_space *s, const vt_run *r) {
    vtf_run d = {s->kind, s->tag, r->n, r->at, r->min, r->max, r->crc, 0};
    return d;
}

/* A run in INDEX, its bounds checked; its checksum is vtag_verify's. */
static vtag_err vt_run_load(vt_file *f, const vtf_run *d, vt_run *r) {
    memset(r, 0, sizeof *r);
    if (!d->n || d->n > UINT64_MAX / 64 || d->at % 8 || d->min > d->max)
        return vt_say(&f->env, VTAG_CORRUPT, "malformed index run", d->at);
    r->e = (const vtf_entry *)vt_at(f, d->at, d->n * sizeof *r->e);
    if (!r->e) return vt_say(&f->env, VTAG_CORRUPT, "index run outside the file", d->at);
    r->n = d->n, r->min = d->min, r->max = d->max;
    r->at = d->at, r->crc = d->crc;
    return VTAG_OK;
}

/* One that a log or a checkpoint names: whoever goes through its space will look at it. *left:
   see vt_spend. */
static vtag_err vt_run_named(vt_file *f, const vtf_run *d, vt_run *r, uint64_t *left) {
    vtag_err err = vt_run_load(f, d, r);
    return err || vt_spend(left, r->n * sizeof *r->e) ? err : VTAG_CORRUPT;
}

static vtag_err vt_index_apply(vt_index *x, vt_file *f, const vtf_section *sec, const vtf_delta *d,
                               uint64_t *left) {
    vt_space *s = vt_index_space(x, sec->arg, d->tag);
    uint32_t size = vtf_delta_size(f->version);
    const vtf_run *block;
    vt_run r;
    vtag_err err;
    if (!s) return VTAG_NOMEM;
    if (d->at) {
        block = (const vtf_run *)(d->at % 8 || d->at < sizeof *block
                                      ? NULL
                                      : vt_at(f, d->at - sizeof *block, sizeof *block));
        if (!block || block->at != d->at)
            return vt_say(&f->env, VTAG_CORRUPT, "index run outside the file", d->at);
        err = vt_run_named(f, block, &r, left);
        if (err) return err;
    } else {
        if (d->n > (sec->size - sizeof *sec - size) / sizeof(vtf_entry))
            return vt_say(&f->env, VTAG_CORRUPT, "malformed log section", 0);
        vt_run_of(&r, (const vtf_entry *)(const void *)((const uint8_t *)d + size), d->n);
    }
    s->live += (uint64_t)(int64_t)d->live;
    s->bytes = f->version < 3 ? VT_UNKNOWN : s->bytes + (uint64_t)d->bytes;
    if (!r.n) return VTAG_OK;
    err = vt_space_push(s, &r);
    return err ? err : vt_space_tidy(s);
}

/* ==== 13  Rows and segments ========================================= >>rows */

/* The table of segments and, for each, the bitmap of its dead rows. A bitmap that a
   published state may see is copied before it changes. */

typedef struct vt_seg {
    vtf_seg f;
    uint32_t stride; /* bytes of a vector                                      */
    int changed;     /* the bitmap, since it was written last                  */
    int touched;     /* rows were added in the batch at hand                   */
    uint32_t kills;  /* runs of rows killed in it; past VT_KILLS a bitmap says it */
    const uint8_t *base;
    const uint64_t *bits; /* a set bit: dead; NULL: none is                    */
    vt_buf *own;          /* holds bits; NULL: they lie in the file            */
} vt_seg;

#define VT_KILLS 64u

typedef struct vt_rows {
    vt_seg *a;
    size_t n, cap;
} vt_rows;

/* The place of an item's vectors under a tag. */
typedef struct vt_group {
    const vt_seg *seg;
    uint32_t row, parts;
    uint64_t rev;
} vt_group;

static const vtf_row *vt_row(const vt_seg *s, uint32_t row) {
    return (const vtf_row *)(s->base + VTF_HEAD_ROOM) + row;
}

static const uint8_t *vt_vector(const vt_seg *s, uint32_t row) {
    return s->base + vtf_vectors_at(s->f.cap) + (uint64_t)row * s->stride;
}

static uint64_t vt_row_at(const vt_seg *s, uint32_t row) {
    return s->f.at + VTF_HEAD_ROOM + (uint64_t)row * sizeof(vtf_row);
}

static size_t vt_bits_bytes(uint32_t cap) { return (size_t)(((uint64_t)cap + 63) / 64 * 8); }

static int vt_row_dead(const vt_seg *s, uint32_t row) {
    return s->bits && (s->bits[row / 64] >> (row % 64) & 1);
}

static int vt_row_sound(const vt_seg *s, uint32_t row) {
    const vtf_row *r = vt_row(s, row);
    return r->tag == s->f.tag && r->crc == vtf_crc_row(r, vt_vector(s, row), s->stride);
}

/* A segment's sketch of vectors of dim; 0: there is none, or it is another encoder's, or
   damaged. A scan that is told so looks at the rows instead. */
static int vt_seg_sketch(vt_file *file, const vt_seg *s, uint32_t dim, vt_sketch *to) {
    const vtf_extent *e = s->f.sketch ? vt_extent_at(file, s->f.sketch, VTF_SKETCH) : NULL;
    const vtf_sketch *f = (const vtf_sketch *)(e ? e + 1 : NULL);
    const uint8_t *base = (const uint8_t *)e;
    vt_parts p;
    if (!e || f->encoder != VTF_ENCODER || f->segment != s->f.at || f->rows > s->f.rows ||
        f->dim != vt_sketch_dim(dim) || f->crc != vt_crc32c(0, f, offsetof(vtf_sketch, crc)))
        return 0;
    p = vt_sketch_parts(f->rows, f->dim);
    if (p.bytes > e->length) return 0;
    to->rows = f->rows;
    to->dim = f->dim;
    to->seed = f->seed;
    to->mean = (const float *)(base + p.mean);
    to->factors = (const vtf_factors *)(base + p.factors);
    to->codes = base + p.codes;
    return 1;
}

/* Bytes of a segment's SKETCH extent. */
static uint64_t vt_sketch_length(vt_file *file, const vt_seg *s) {
    const vtf_extent *e = s->f.sketch ? vt_extent_at(file, s->f.sketch, VTF_SKETCH) : NULL;
    return e ? e->length : 0;
}

static void vt_rows_free(vt_rows *r) {
    size_t i;
    for (i = 0; i < r->n; i++) vt_buf_drop(r->a[i].own);
    vt_free(r->a);
}

static vtag_err vt_rows_copy(vt_rows *to, const vt_rows *from) {
    size_t i;
    to->a = (vt_seg *)vt_dup(from->a, from->n, sizeof *from->a);
    if (!to->a) return VTAG_NOMEM;
    to->n = to->cap = from->n;
    for (i = 0; i < to->n; i++) vt_buf_hold(to->a[i].own);
    return VTAG_OK;
}

/* Bitmap of a segment that may be written; NULL: no memory. */
static uint64_t *vt_bits_own(vt_seg *s) {
    size_t n = vt_bits_bytes(s->f.cap);
    vt_buf *b;
    if (s->own && vt_atomic_load(&s->own->refs) == 1) return (uint64_t *)vt_buf_data(s->own);
    b = vt_buf_new(n);
    if (!b) return NULL;
    if (s->bits) memcpy(vt_buf_data(b), s->bits, n);
    else memset(vt_buf_data(b), 0, n);
    vt_buf_drop(s->own);
    s->own = b;
    s->bits = (const uint64_t *)vt_buf_data(b);
    return (uint64_t *)vt_buf_data(b);
}

/* Marks rows [row, row + n) dead. */
static vtag_err vt_rows_kill(vt_seg *s, uint32_t row, uint32_t n) {
    uint64_t *bits = vt_bits_own(s);
    if (!bits) return VTAG_NOMEM;
    for (; n; n--, row++) {
        if (bits[row / 64] >> (row % 64) & 1) continue;
        bits[row / 64] |= (uint64_t)1 << (row % 64);
        s->f.dead++;
    }
    s->changed = 1;
    return VTAG_OK;
}

/* Resolves an entry of a ROWS space; 0: it points nowhere sensible. */
static int vt_group_of(const vt_rows *r, vtag_tag tag, const vtf_entry *e, vt_group *g) {
    uint64_t seg = e->at >> 32;
    if (seg >= r->n) return 0;
    g->seg = &r->a[seg];
    g->row = (uint32_t)e->at;
    g->parts = (uint32_t)e->aux;
    g->rev = e->rev;
    return g->seg->f.tag == tag && g->parts && g->row <= g->seg->f.rows &&
           g->parts <= g->seg->f.rows - g->row;
}

/* Checks a segment's descriptor against the file, and completes s. */
static vtag_err vt_seg_load(vt_file *f, const vt_tags *tags, const vtf_seg *d, vt_seg *s) {
    const vt_tag *t = vt_tags_get(tags, d->tag);
    uint64_t need;
    memset(s, 0, sizeof *s);
    s->f = *d;
    if (!t || !d->cap || d->rows > d->cap || d->dead > d->rows || d->at % VTF_ALIGN ||
        d->at < VTF_FRONT)
        return vt_say(&f->env, VTAG_CORRUPT, "malformed segment", d->at);
    s->stride = vt_stride(t->f.dim, t->f.codec);
    need = vtf_vectors_at(d->cap) + (uint64_t)d->cap * s->stride;
    s->base = vt_at(f, d->at, d->length);
    if (need > d->length || !s->base)
        return vt_say(&f->env, VTAG_CORRUPT, "segment outside the file", d->at);
    if (d->bits_at) {
        s->bits = (const uint64_t *)vt_at(f, d->bits_at, vt_bits_bytes(d->cap));
        if (!s->bits || d->bits_at % 8)
            return vt_say(&f->env, VTAG_CORRUPT, "bitmap outside the file", d->bits_at);
    }
    return VTAG_OK;
}

/* Adds a segment, or brings the one of its number up to date. */
static vtag_err vt_rows_apply(vt_rows *r, vt_file *f, const vt_tags *tags, const vtf_seg *d) {
    vt_seg s, *a;
    uint64_t end = r->n ? r->a[r->n - 1].f.at + r->a[r->n - 1].f.length : 0;
    vtag_err err = vt_seg_load(f, tags, d, &s);
    if (err) return err;
    if (d->number > r->n || (d->number < r->n && r->a[d->number].f.at != d->at) ||
        (d->number == r->n && d->at < end))
        return vt_say(&f->env, VTAG_CORRUPT, "segments out of order", d->at);
    if (d->number < r->n) {
        a = &r->a[d->number];
        if (d->cap != a->f.cap || d->tag != a->f.tag || d->rows < a->f.rows ||
            d->length != a->f.length)
            return vt_say(&f->env, VTAG_CORRUPT, "segment changed its shape", d->at);
        if (d->bits_at) {
            vt_buf_drop(a->own);
            *a = s;
        } else {
            a->f.rows = d->rows;
            a->f.sketch = d->sketch;
        }
        return VTAG_OK;
    }
    a = (vt_seg *)vt_grow(r->a, &r->cap, r->n + 1, sizeof *a);
    if (!a) return VTAG_NOMEM;
    r->a = a;
    a[r->n++] = s;
    return VTAG_OK;
}

/* Kills of a commit. *left: see vt_spend; a bitmap is copied before it changes. */
static vtag_err vt_kills_apply(vt_rows *r, const vtf_kill *k, size_t n, uint64_t *left) {
    vtag_err err = VTAG_OK;
    for (; n && !err; n--, k++) {
        vt_seg *s = k->seg < r->n ? &r->a[k->seg] : NULL;
        if (!s || k->row > s->f.rows || k->n > s->f.rows - k->row) return VTAG_CORRUPT;
        if (!vt_spend(left, (uint64_t)k->n + (s->own ? 0 : vt_bits_bytes(s->f.cap))))
            return VTAG_CORRUPT;
        err = vt_rows_kill(s, k->row, k->n);
    }
    return err;
}

/* ==== 14  State ==================================================== >>state */

/* A state is the fold of the log from a checkpoint on. States are immutable once
   published, counted, and share what did not change. This chapter loads them, keeps
   up with other processes, recovers what a crash left, and opens files. */

typedef struct vt_memo { /* a coverage that was counted                        */
    vtag_tag tag, base;  /* 0: none                                             */
    vtag_cover cover;
    uint64_t newest; /* time of the newest pending item; 0: none                */
} vt_memo;

typedef struct vt_state {
    uint32_t refs, zero;
    vt_file *file;
    vtf_head head;  /* from here to tags a copy is a copy of the bytes        */
    vtf_logpos pos; /* where the next record goes                             */
    uint64_t salt;  /* of the next record                                     */
    vtf_ckpt_ref ckpt;
    vtf_logpos ckpt_pos;
    uint64_t bytes, log, records; /* since the checkpoint: bytes in all, of the log */
    uint64_t left;                /* of what folding may look at; see vt_spend */
    vtf_tail tails[3];            /* ITEMS, INDEX, META                        */
    vt_tags tags;
    vt_index index;
    vt_rows rows;
    vt_memo memo;     /* of this very state, once published; under the handle's spin */
    uint64_t planned; /* bytes of a compact copy of it, likewise; 0: not known  */
} vt_state;

struct vtag_db {
    uint32_t refs;              /* the handle's own, and one for each snapshot              */
    uint32_t spin;              /* guards state                                             */
    uint32_t gate;              /* guards slot, file and refreshing                         */
    uint32_t busy;              /* a batch is open in this handle                           */
    uint32_t closed;            /* vtag_close was called; atomic                         */
    uint32_t held;              /* live snapshots; under spin                            */
    vtag_snap *oldest, *newest; /* of them                                    */
    uintptr_t holder;           /* the thread that began the batch; 0: none; under spin  */
    int writing;                /* a batch is open, and the state is up to date; under gate */
    int mine;                   /* the newest commit was made here                          */
    int ahead;                  /* the state was rolled past the newest slot, in memory     */
    vtag_err poison;
    uint64_t pid;
    vt_env env;
    vtag_durability durability;
    uint32_t lazy_ms;
    char *path; /* NULL: from memory                                        */
    const vt_kernels *kernels;
    vt_file *file;
    vt_state *state;
    vtf_slot slot;   /* the newest seen or written                               */
    uint64_t synced; /* time of the last sync                                  */
    int unsynced;    /* LAZY or NO: commits that no slot names yet               */
};

struct vtag_snap {
    vtag_db *db;
    vt_state *state;
    uint64_t since; /* of the steady clock, ms                                 */
    vtag_snap *older, *newer;
};

static void vt_state_drop(vt_state *s) {
    if (!s || vt_atomic_add(&s->refs, UINT32_MAX) != 0) return;
    vt_tags_free(&s->tags);
    vt_index_free(&s->index);
    vt_rows_free(&s->rows);
    vt_file_drop(s->file);
    vt_free(s);
}

static vt_state *vt_state_new(vt_file *file) {
    vt_state *s = (vt_state *)vt_zalloc(sizeof *s);
    if (!s) return NULL;
    s->refs = 1;
    s->file = vt_file_hold(file);
    s->tails[0].kind = VTF_ITEMS;
    s->tails[1].kind = VTF_INDEX;
    s->tails[2].kind = VTF_META;
    return s;
}

static vt_state *vt_state_hold(vt_state *s) {
    vt_atomic_add(&s->refs, 1);
    return s;
}

/* A private copy that may be changed; NULL: no memory. */
static vt_state *vt_state_clone(const vt_state *from) {
    vt_state *s = vt_state_new(from->file);
    if (!s) return NULL;
    memcpy(&s->head, &from->head, offsetof(vt_state, tags) - offsetof(vt_state, head));
    if (!vt_tags_copy(&s->tags, &from->tags) && !vt_index_copy(&s->index, &from->index) &&
        !vt_rows_copy(&s->rows, &from->rows))
        return s;
    vt_state_drop(s);
    return NULL;
}

static vtf_tail *vt_state_tail(vt_state *s, uint32_t kind) {
    return &s->tails[kind == VTF_ITEMS ? 0 : kind == VTF_INDEX ? 1 : 2];
}

static const vtf_entry *vt_state_item(const vt_state *s, uint64_t id) {
    return vt_space_get(vt_index_find(&s->index, VTF_S_ITEMS, 0), id);
}

static const vtf_entry *vt_state_group(const vt_state *s, vtag_tag tag, uint64_t id) {
    return vt_space_get(vt_index_find(&s->index, VTF_S_ROWS, tag), id);
}

#define VT_COUNTED (UINT64_MAX / 2) /* commits, revisions and events that a restore may bring */
/* VT_UNKNOWN as head.commit: of a checkpoint whose log has not been walked */

/* ---- Folding the log ------------------------------------------------------------- */

static vtag_err vt_apply_tails(vt_state *s, const vtf_tail *t, size_t n) {
    for (; n; n--, t++) {
        if (t->kind != VTF_ITEMS && t->kind != VTF_INDEX && t->kind != VTF_META)
            return VTAG_CORRUPT;
        if (t->used > t->length || t->used % 8 || t->at % VTF_ALIGN ||
            (t->at && (t->at < VTF_FRONT || !vt_at(s->file, t->at, t->length))))
            return VTAG_CORRUPT;
        *vt_state_tail(s, t->kind) = *t;
    }
    return VTAG_OK;
}

/* New revisions that gave a tag, counted by the delta of its rows. */
static void vt_apply_gave(vt_state *s, uint32_t space, const vtf_delta *d) {
    vt_tag *t = space == VTF_S_ROWS ? vt_tags_get(&s->tags, d->tag) : NULL;
    if (t) t->f.with += d->gave;
}

/* Fetches what the record wrote, before any of it is looked at. */
static vtag_err vt_apply_ranges(vt_state *s, const vtf_record *r) {
    uint32_t at = sizeof *r;
    const vtf_section *sec;
    vtag_err err = VTAG_OK;
    while (!err && (sec = vt_section_next(r, &at)) != NULL) {
        const vtf_range *g = (const vtf_range *)(sec + 1);
        size_t i, n = sec->kind == VTF_RANGES ? (sec->size - sizeof *sec) / sizeof *g : 0;
        for (i = 0; i < n && !err; i++) {
            s->bytes += g[i].length;
            err = vt_spend(&s->left, g[i].length) ? vt_file_fetch(s->file, g[i].at, g[i].length)
                                                  : VTAG_CORRUPT;
        }
    }
    return err;
}

static vtag_err vt_apply_section(vt_state *s, const vtf_section *sec) {
    const void *p = sec + 1;
    size_t n = sec->size - sizeof *sec, i;
    vtag_err err = VTAG_OK;
    switch (sec->kind) {
    case VTF_TAGS:
        for (i = 0; i < n / sizeof(vtf_tag) && !err; i++)
            err = vt_tags_apply(&s->tags, s->file, (const vtf_tag *)p + i, &s->left);
        return err;
    case VTF_SEGS:
        for (i = 0; i < n / sizeof(vtf_seg) && !err; i++)
            err = vt_rows_apply(&s->rows, s->file, &s->tags, (const vtf_seg *)p + i);
        return err;
    case VTF_KILLS:
        return vt_kills_apply(&s->rows, (const vtf_kill *)p, n / sizeof(vtf_kill), &s->left);
    case VTF_TAILS: return vt_apply_tails(s, (const vtf_tail *)p, n / sizeof(vtf_tail));
    case VTF_DELTA:
        if (n < vtf_delta_size(s->file->version)) return VTAG_CORRUPT;
        vt_apply_gave(s, sec->arg, (const vtf_delta *)p);
        return vt_index_apply(&s->index, s->file, sec, (const vtf_delta *)p, &s->left);
    case VTF_CKPT:
        if (n < sizeof s->ckpt) return VTAG_CORRUPT;
        memcpy(&s->ckpt, p, sizeof s->ckpt);
        return VTAG_OK;
    default: return VTAG_OK;
    }
}

/* A record has moved s past it. ckpt: where the checkpoint was before. */
static void vt_state_count(vt_state *s, size_t record, uint64_t ckpt) {
    s->records++;
    s->bytes += record;
    s->log += record;
    if (s->ckpt.at == ckpt) return;
    s->ckpt_pos = s->pos;
    s->bytes = s->log = s->records = 0;
}

/* Applies the commit record r; pos: where the log goes on after it. */
static vtag_err vt_state_apply(vt_state *s, const vtf_record *r, const vtf_logpos *pos) {
    uint64_t ckpt = s->ckpt.at;
    uint32_t at = sizeof *r;
    const vtf_section *sec;
    vtag_err err = VTAG_OK;
    int known = s->head.commit != VT_UNKNOWN;
    if ((known && r->head.commit <= s->head.commit) || r->head.end < s->head.end ||
        pos->extent + pos->length > r->head.end)
        return vt_say(&s->file->env, VTAG_CORRUPT, "log out of order", s->pos.at);
    err = vt_apply_ranges(s, r);
    while (!err && (sec = vt_section_next(r, &at)) != NULL) err = vt_apply_section(s, sec);
    if (!err && at != r->size) err = VTAG_CORRUPT;
    if (err) return vt_say(&s->file->env, err, "malformed log record", s->pos.at);
    s->head = r->head;
    s->pos = *pos;
    vt_state_count(s, r->size, ckpt);
    return VTAG_OK;
}

/* Whether what a state points at begins before its end, since the space after that may be
   unmapped and given to others; and whether it leaves numbers to give out. */
static int vt_state_within(const vt_state *s) {
    uint64_t end = s->head.end, most = VT_COUNTED + VT_COUNTED / 2;
    size_t i, j;
    if (s->pos.extent + s->pos.length > end) return 0;
    if (s->head.commit > most || s->head.revision > most || s->head.event > most) return 0;
    for (i = 0; i < 3; i++)
        if (s->tails[i].at + s->tails[i].length > end) return 0;
    for (i = 0; i < s->tags.n; i++)
        if (s->tags.a[i].f.names >= end) return 0;
    for (i = 0; i < s->rows.n; i++) {
        const vtf_seg *f = &s->rows.a[i].f;
        if (f->at + f->length > end || f->bits_at >= end || f->sketch >= end) return 0;
    }
    for (i = 0; i < s->index.n; i++)
        for (j = 0; j < s->index.a[i].n; j++)
            if (s->index.a[i].runs[j].at >= end) return 0;
    return 1;
}

/* Applies the log up to what a slot names. */
static vtag_err vt_state_walk(vt_state *s, const vtf_slot *slot) {
    vt_walk w;
    vtag_err err = vt_walk_begin(&w, s->file, &s->pos);
    while (!err && s->pos.at != slot->log.at) {
        const vtf_record *r = vt_walk_next(&w, NULL);
        if (!r || r->head.commit > slot->head.commit)
            return vt_say(&s->file->env, VTAG_CORRUPT, "log record damaged", s->pos.at);
        err = vt_state_apply(s, r, &w.pos);
    }
    if (err) return err;
    if (s->pos.crc != slot->log.crc || s->head.end > slot->head.end ||
        (s->head.commit != VT_UNKNOWN && s->head.commit != slot->head.commit))
        return vt_say(&s->file->env, VTAG_CORRUPT, "log and superblock differ", s->pos.at);
    s->head = slot->head;
    s->salt = slot->salt;
    if (vt_state_within(s)) return VTAG_OK;
    return vt_say(&s->file->env, VTAG_CORRUPT, "a state reaches past its end", s->head.end);
}

/* ---- Checkpoint directory ------------------------------------------------------------ */

static vtag_err vt_ckpt_spaces(vt_state *s, const uint8_t *p, uint32_t spaces, const vtf_run *runs,
                               uint32_t n) {
    uint32_t version = s->file->version;
    vtag_err err = VTAG_OK;
    uint64_t k;
    for (; spaces && !err; spaces--, p += vtf_space_size(version)) {
        const vtf_space *sp = (const vtf_space *)(const void *)p;
        vt_space *x = vt_index_space(&s->index, sp->space, sp->tag);
        if (!x) return VTAG_NOMEM;
        if (sp->runs > n) return VTAG_CORRUPT;
        x->live = sp->live;
        x->bytes = version < 3 ? VT_UNKNOWN : sp->bytes;
        for (k = 0; k < sp->runs && !err; k++, runs++, n--) {
            vt_run r;
            err = vt_run_named(s->file, runs, &r, &s->left);
            if (!err) err = vt_space_push(x, &r);
        }
    }
    return err ? err : n ? VTAG_CORRUPT : VTAG_OK;
}

static vtag_err vt_ckpt_load(vt_state *s) {
    const vtf_ckpt *c = (const vtf_ckpt *)vt_at(s->file, s->ckpt.at, s->ckpt.length);
    const vtf_tag *tags;
    const vtf_seg *segs;
    const uint8_t *spaces;
    vtag_err err;
    uint64_t need, per = vtf_space_size(s->file->version);
    uint32_t i;
    if (!c || s->ckpt.at % 8 || s->ckpt.length < sizeof *c || s->ckpt.length > SIZE_MAX ||
        vt_crc32c(0, c, (size_t)s->ckpt.length) != s->ckpt.crc || c->magic != VTF_CKPT_MAGIC)
        return vt_say(&s->file->env, VTAG_CORRUPT, "checkpoint damaged", s->ckpt.at);
    need = sizeof *c + (uint64_t)c->tags * sizeof *tags + (uint64_t)c->segs * sizeof *segs +
           (uint64_t)c->spaces * per + (uint64_t)c->runs * sizeof(vtf_run);
    if (need != s->ckpt.length)
        return vt_say(&s->file->env, VTAG_CORRUPT, "malformed checkpoint", s->ckpt.at);
    tags = (const vtf_tag *)(c + 1);
    segs = (const vtf_seg *)(tags + c->tags);
    spaces = (const uint8_t *)(segs + c->segs);
    err = vt_apply_tails(s, c->tails, 3);
    for (i = 0; i < c->tags && !err; i++)
        err = vt_tags_apply(&s->tags, s->file, tags + i, &s->left);
    for (i = 0; i < c->segs && !err; i++)
        err = segs[i].number == i ? vt_rows_apply(&s->rows, s->file, &s->tags, segs + i)
                                  : VTAG_CORRUPT;
    if (!err)
        err = vt_ckpt_spaces(s, spaces, c->spaces,
                             (const vtf_run *)(const void *)(spaces + c->spaces * per), c->runs);
    return err ? vt_say(&s->file->env, err, "cannot load the checkpoint", s->ckpt.at) : err;
}

/* The state that a slot names, from its checkpoint. */
static vtag_err vt_state_load(vt_file *f, const vtf_slot *slot, vt_state **out) {
    vt_state *s = vt_state_new(f);
    vtag_err err = VTAG_OK;
    uint64_t size;
    if (!s) return VTAG_NOMEM;
    err = vt_file_size(f, &size);
    if (!err &&
        (slot->head.end > size || slot->head.end % VTF_ALIGN || slot->head.end <= VTF_FRONT))
        err = vt_say(&f->env, VTAG_CORRUPT, "the file is shorter than its superblock says", size);
    if (!err) err = vt_file_cover_to(f, slot->head.end);
    if (!err) s->left = VT_LOOKS * size;
    s->ckpt = slot->ckpt;
    s->pos = s->ckpt_pos = slot->ckpt_log;
    if (!err && !vt_extent_at(f, s->pos.extent, VTF_LOG))
        err = vt_say(&f->env, VTAG_CORRUPT, "log extent damaged", s->pos.extent);
    if (!err && vt_extent_at(f, s->pos.extent, VTF_LOG)->length != s->pos.length)
        err = VTAG_CORRUPT;
    if (!err && s->ckpt.at) err = vt_ckpt_load(s);
    s->head.commit = VT_UNKNOWN;
    if (!err) err = vt_state_walk(s, slot);
    if (err) vt_state_drop(s);
    else *out = s;
    return err;
}

/* ---- Keeping up with the file ---------------------------------------------------------- */

/* After this, reading goes on and every batch fails. */
static vtag_err vt_db_poison(vtag_db *db, vtag_err err) {
    vt_spin_lock(&db->gate);
    if (err) db->poison = err;
    vt_spin_unlock(&db->gate);
    return err;
}

/* Takes over the caller's hold on s. */
static void vt_db_publish(vtag_db *db, vt_state *s) {
    vt_state *old;
    s->file->known = s->head.end;
    s->file->seen = s->pos;
    vt_spin_lock(&db->spin);
    old = db->state;
    db->state = s;
    vt_spin_unlock(&db->spin);
    vt_state_drop(old);
}

static vtag_err vt_file_open(const vt_env *env, const char *path, vtag_access access,
                             vt_file **out) {
    vt_file *f = (vt_file *)vt_zalloc(sizeof *f);
    vtag_err err;
    if (!f) return VTAG_NOMEM;
    f->refs = 1;
    f->env = *env;
    err = env->io->open(env->io->ctx, path, access, &f->f);
    if (err) {
        vt_free(f);
        return vt_say_why(env, err, "cannot open", path, 0);
    }
    *out = f;
    return VTAG_OK;
}

/* Reads the identity page, checked. */
static vtag_err vt_identity_read(vt_file *f, vtf_identity *id) {
    uint64_t size;
    vtag_err err = vt_file_size(f, &size);
    if (err) return vt_say_why(&f->env, err, "cannot read", f->env.path, 0);
    if (size < VTF_FRONT + VTF_ALIGN)
        return vt_say(&f->env, VTAG_FORMAT, "too short for a vtag file", size);
    err = vt_file_read(f, 0, id, sizeof *id);
    if (err) return vt_say_why(&f->env, err, "cannot read", f->env.path, 0);
    if (memcmp(id->magic, "\x89vtag\r\n\x1a", 8))
        return vt_say(&f->env, VTAG_FORMAT, "not a vtag file", 0);
    if (id->order != VTF_ORDER || id->version > VTF_VERSION || id->incompatible)
        return vt_say(&f->env, VTAG_FORMAT, "written by a newer vtag; upgrade this program", 8);
    if (id->crc != vtf_crc_identity(id))
        return vt_say(&f->env, VTAG_CORRUPT, "identity page damaged", 0);
    if (id->read_compatible && !f->env.read_only)
        return vt_say(&f->env, VTAG_READONLY, "has features that this vtag may only read", 8);
    return VTAG_OK;
}

/* Takes a file's uuid and flags from its identity page. */
static vtag_err vt_identify(vt_file *f) {
    vtf_identity id;
    vtag_err err = vt_identity_read(f, &id);
    if (err) return err;
    memcpy(f->uuid, id.uuid, sizeof f->uuid);
    f->flags = id.flags;
    f->version = id.version;
    return VTAG_OK;
}

/* Puts a freshly loaded file in the place of the handle's own. `same`: it is the same file, so
   that what has been seen of it must not go back. A superseded one is only to be read. */
static vtag_err vt_db_take(vtag_db *db, vt_file *f, int same) {
    vtf_slot slot = f->as;
    vt_state *s = NULL;
    int torn;
    vtag_err err = f->mended ? VTAG_OK : vt_slot_newest(f, &slot, &torn);
    if (!err && slot.flags & VTF_SUPERSEDED && !db->env.read_only)
        err = vt_say(&db->env, VTAG_READONLY,
                     "a compaction put another file in this one's place; open it read-only", 0);
    if (!err) err = vt_state_load(f, &slot, &s);
    if (err) return err;
    if (same && s->head.commit < db->state->head.commit) {
        vt_state_drop(s);
        return db->env.read_only ? VTAG_OK
                                 : vt_say(&db->env, VTAG_CORRUPT, "the file went back", f->known);
    }
    vt_file_drop(db->file);
    db->file = vt_file_hold(f);
    db->slot = slot;
    db->mine = db->ahead = 0;
    vt_db_publish(db, s);
    return VTAG_OK;
}

/* Mends, in memory of our own, what a recovery under way may have left. A writer may end that
   meanwhile, and use the space of the copy: then the slot is another, and it is to be tried
   again. *again: so it is. */
static vtag_err vt_db_mend(vt_file *f, const vtf_slot *slot, int *again) {
    int no_map = f->env.no_map, torn;
    vtf_slot now;
    vtag_err err = vt_file_private(f);
    if (!err) err = vt_redo_apply(f, slot);
    f->as = *slot;
    *again = !vt_slot_newest(f, &now, &torn) && (now.seq != slot->seq || now.salt != slot->salt);
    if (!*again) return err;
    while (f->n) vt_file_unmap(f, &f->maps[--f->n]);
    f->mended = 0;
    f->env.no_map = no_map;
    return VTAG_OK;
}

/* A recovery that was cut off: its copy comes first. A reader mends its own memory. */
static vtag_err vt_db_redo(vt_file *f) {
    const vtag_io *io = f->env.io;
    vtf_slot slot;
    int torn, again = 1;
    vtag_err err = VTAG_OK;
    while (!err && again) {
        err = vt_slot_newest(f, &slot, &torn);
        again = 0;
        if (err || !slot.redo_n) return err;
        if (f->env.read_only && vt_redo_stands(f, &slot)) return VTAG_OK;
        if (f->env.read_only) err = vt_db_mend(f, &slot, &again);
    }
    if (err || f->env.read_only) return err;
    err = io->lock(f->f, VTAG_LOCK_WRITER, 10000);
    if (err) return err;
    err = vt_slot_newest(f, &slot, &torn);
    if (!err) err = vt_file_sync(f); /* the slot may be in the cache alone */
    if (!err && slot.redo_n) err = vt_redo_apply(f, &slot);
    if (!err) err = vt_file_sync(f);
    io->unlock(f->f, VTAG_LOCK_WRITER);
    return err;
}

/* Opens what the path names now: a compaction put another file there, or the one at
   hand was mended in memory and has moved on since (`same`). */
static vtag_err vt_db_reopen(vtag_db *db, int same) {
    vt_file *f;
    vtag_access access = db->env.read_only ? VTAG_READ : VTAG_EXISTING;
    vtag_err err = vt_file_open(&db->env, db->path, access, &f);
    if (err) return err;
    err = vt_identify(f);
    if (!err && memcmp(f->uuid, db->file->uuid, sizeof f->uuid))
        err = vt_say(&db->env, VTAG_FORMAT, "another store lies at this path now", 0);
    if (!err && db->env.read_only) err = vt_db_redo(f);
    if (!err) err = vt_db_take(db, f, same);
    vt_file_drop(f);
    return err;
}

/* Moves the state on to what a newer slot names. */
static vtag_err vt_db_follow(vtag_db *db, const vtf_slot *slot) {
    vt_state *s = NULL;
    vtag_err err = VTAG_CORRUPT;
    uint64_t size;
    int near_ = db->state->ckpt.at == slot->ckpt.at && db->state->head.commit <= slot->head.commit;
    if (slot->head.commit < db->state->head.commit && slot->salt == db->state->salt) {
        db->slot = *slot; /* it was written while we looked past the one before */
        return VTAG_OK;
    }
    if (db->file->mended || (!near_ && (db->env.no_map || !db->env.io->map)))
        return vt_db_reopen(db, 1);
    if (near_) {
        s = vt_state_clone(db->state);
        if (!s) return VTAG_NOMEM;
        err = vt_file_size(db->file, &size);
        if (!err && size < slot->head.end) err = VTAG_CORRUPT;
        if (!err) s->left = VT_LOOKS * size;
        if (!err) err = vt_file_cover_to(db->file, slot->head.end);
        if (!err) err = vt_state_walk(s, slot);
        if (err) vt_state_drop(s);
    }
    if (err == VTAG_CORRUPT) err = vt_state_load(db->file, slot, &s);
    if (err) return err;
    db->slot = *slot;
    db->mine = db->unsynced = db->ahead = 0;
    vt_db_publish(db, s);
    return VTAG_OK;
}

/* Rolls forward, in a private copy, what lies past the newest slot and counts.
   redo: gets the list of what that wrote, or NULL. *out: NULL if there is nothing. */
static vtag_err vt_db_roll(vtag_db *db, const vt_state *from, vt_out *redo, vt_state **out) {
    vt_state *s = vt_state_clone(from);
    uint64_t size, records = 0;
    vt_walk w;
    vtag_err err = s ? vt_file_size(db->file, &size) : VTAG_NOMEM;
    if (!err) err = vt_file_cover_to(db->file, size / VTF_ALIGN * VTF_ALIGN);
    if (!err) s->left = VT_LOOKS * size;
    if (!err) err = vt_walk_begin(&w, db->file, &s->pos);
    while (!err) {
        const vtf_record *r = vt_walk_next(&w, &s->salt);
        if (!r || r->head.commit <= s->head.commit) break;
        if (r->head.end > size || !vt_record_intact(db->file, r, &s->left)) break;
        if (redo && w.pos.extent != s->pos.extent) /* the LINK */
            vt_redo_list(redo, (const vtf_record *)vt_at(db->file, s->pos.at, sizeof *r),
                         s->pos.at);
        if (redo) vt_redo_list(redo, r, w.pos.at - r->size);
        err = vt_state_apply(s, r, &w.pos);
        records++;
    }
    if (!err && records && !vt_state_within(s))
        err = vt_say(&s->file->env, VTAG_CORRUPT, "a state reaches past its end", s->head.end);
    if (!err && records) {
        *out = s;
        return VTAG_OK;
    }
    vt_state_drop(s);
    *out = NULL;
    return err;
}

static void vt_slot_fill(vtf_slot *slot, const vt_state *s) {
    slot->head = s->head;
    slot->salt = s->salt;
    slot->log = s->pos;
    slot->ckpt = s->ckpt;
    slot->ckpt_log = s->ckpt_pos;
}

/* Makes s what both slots name, under a new salt. */
static vtag_err vt_db_settle(vtag_db *db, vt_state *s) {
    vtag_err err = vt_file_zero(db->file, s->pos.at, vt_log_room(&s->pos));
    int i;
    if (!err) err = vt_file_random(db->file, &s->salt, sizeof s->salt);
    if (!err) err = vt_file_sync(db->file);
    vt_slot_fill(&db->slot, s);
    for (i = 0; i < 2 && !err; i++) {
        err = vt_slot_write(db->file, &db->slot);
        if (!err) err = vt_file_sync(db->file);
    }
    return err;
}

/* Makes sure that what was rolled forward is on the disk; see chapter 5. */
static vtag_err vt_db_rewrite(vtag_db *db, const vt_out *list, uint64_t end) {
    vtag_err err = list->err;
    uint64_t n = list->n / sizeof(vtf_range), xxh = n ? vt_xxh64(list->p, list->n) : 0;
    if (!err && n && db->slot.redo_at == end && db->slot.redo_n == n && db->slot.redo_xxh == xxh) {
        err = vt_file_sync(db->file); /* the copy of a recovery that was cut off */
    } else if (!err && n) {
        db->slot.redo_at = end;
        db->slot.redo_n = n;
        db->slot.redo_xxh = xxh;
        err = vt_redo_write(db->file, list, end);
        if (!err) err = vt_file_sync(db->file);
        if (!err) err = vt_slot_write(db->file, &db->slot);
        if (!err) err = vt_file_sync(db->file);
    }
    if (!err) err = vt_redo_rewrite(db->file, list, 0);
    if (!err) err = vt_file_sync(db->file);
    db->slot.redo_at = db->slot.redo_n = db->slot.redo_xxh = 0;
    return err;
}

/* A writer's recovery; see chapter 5. It starts from what the newest slot names, even
   where this handle has looked further already. */
static vtag_err vt_db_recover(vtag_db *db) {
    vt_state *from = NULL, *s = NULL;
    vt_out list = VT_ZERO;
    vtag_err err = VTAG_OK;
    if (db->ahead) err = vt_state_load(db->file, &db->slot, &from);
    else from = vt_state_hold(db->state);
    if (!err) err = vt_db_roll(db, from, &list, &s);
    if (!err && !s) s = vt_state_clone(from);
    vt_state_drop(from);
    if (!err && !s) err = VTAG_NOMEM;
    if (!err) {
        err = vt_db_rewrite(db, &list, s->head.end);
        if (!err) err = vt_db_settle(db, s);
        if (err) db->poison = err;
    }
    vt_free(list.p);
    if (err) {
        vt_state_drop(s);
        return err;
    }
    vt_file_trim(db->file, s->head.end);
    db->unsynced = db->ahead = 0;
    vt_db_publish(db, s);
    return VTAG_OK;
}

/* Whether the log goes on past what the newest slot names. */
static int vt_db_tail(vtag_db *db, int writer) {
    const vt_state *s = db->state;
    uint64_t room = vt_log_room(&s->pos);
    const uint8_t *p;
    static const uint8_t none[8] = {0};
    if (vt_file_fetch(db->file, s->pos.at, room)) return 1;
    if (writer && !db->mine) return vt_log_dirty(db->file, &s->pos);
    p = room >= 8 ? vt_at(db->file, s->pos.at, room) : NULL;
    return p && memcmp(p, none, 8);
}

static int vt_file_locked(const vt_file *f) {
    return !f->image && f->env.io->locked && f->env.io->locked(f->f, VTAG_LOCK_WRITER);
}

/* A reader sees a dead writer's last commit, once it is sure to last. */
static vtag_err vt_db_peek(vtag_db *db) {
    vt_state *s = NULL;
    vtag_err err = VTAG_OK;
    if (vt_file_locked(db->file) || !vt_log_peek(db->file, &db->state->pos)) return VTAG_OK;
    if (!db->env.read_only) err = vt_file_sync(db->file);
    if (!err) err = vt_db_roll(db, db->state, NULL, &s);
    if (err || !s) return err;
    if (vt_file_locked(db->file)) {
        vt_state_drop(s);
        return VTAG_OK;
    }
    db->ahead = 1;
    vt_db_publish(db, s);
    return VTAG_OK;
}

/* Whether what the path names is not what the handle knows: another file, or one that a
   compaction replaced, or one that someone wrote over, since both slots are older, or the newest
   says otherwise under its number. */
static int vt_db_moved(const vtag_db *db, const vtf_slot *best, int torn) {
    const vtf_slot *known = &db->slot;
    if (!db->env.io->same(db->file->f, db->path)) return 1;
    if (best->seq > known->seq) return (best->flags & VTF_SUPERSEDED) != 0;
    if (db->poison) return 0;
    if (best->seq < known->seq) return best->seq + (torn != 0) < known->seq;
    return best->salt == known->salt && best->log.crc != known->log.crc;
}

/* Makes durable what a writer without syncs left behind. */
static vtag_err vt_db_inherit(vtag_db *db) {
    vtag_err err;
    if (!(db->slot.flags & VTF_UNSYNCED) || db->durability == VTAG_NO_SYNC) return VTAG_OK;
    err = vt_file_sync(db->file);
    if (err) db->poison = err;
    else db->slot.flags &= ~VTF_UNSYNCED;
    return err;
}

/* Brings the handle up to date with the file. Under gate; a writer holds the lock, and
   has seen to it that the file is the one at the path. Where nothing lies at the path any
   more, a reader goes on with the file that it has. */
static vtag_err vt_db_refresh(vtag_db *db, int writer) {
    vtf_slot best;
    int torn = 0;
    vtag_err err, moved = VTAG_NOTFOUND;
    if (!db->path) return VTAG_OK;
    memset(&best, 0, sizeof best);
    err = vt_slot_newest(db->file, &best, &torn);
    if (err ? !db->env.io->same(db->file->f, db->path) : vt_db_moved(db, &best, torn)) {
        moved = vt_db_reopen(db, 0);
        if (writer || (moved && moved != VTAG_NOTFOUND)) return moved;
    }
    if (moved) {
        if (!err && vt_slot_other(&best, &db->slot)) err = vt_db_follow(db, &best);
        if (err) return err;
    }
    if (writer) {
        int begun = torn || db->ahead || db->slot.redo_n; /* perhaps by one that died */
        err = begun || vt_db_tail(db, 1) ? vt_db_recover(db) : VTAG_OK;
        return err ? err : vt_db_inherit(db);
    }
    return !db->poison && vt_db_tail(db, 0) ? vt_db_peek(db) : VTAG_OK;
}

/* ---- Open and close ------------------------------------------------------------------------ */

static vtag_err vt_front_write(vt_file *f, uint32_t flags) {
    vtf_identity id = VT_ZERO;
    memcpy(id.magic, "\x89vtag\r\n\x1a", 8);
    id.order = VTF_ORDER;
    id.version = VTF_VERSION;
    memcpy(id.uuid, f->uuid, sizeof id.uuid);
    id.flags = flags;
    id.crc = vtf_crc_identity(&id);
    f->flags = flags;
    f->version = VTF_VERSION;
    return vt_file_write(f, 0, &id, sizeof id);
}

/* Makes an empty store of f, all of whose bytes are zero: everything else first, then the
   identity page, so that a crash leaves a file that is plainly unfinished, which
   vt_file_blank knows. base: the state's scalars. */
static vtag_err vt_file_create(vt_file *f, const vtf_head *base, uint32_t flags) {
    const vtag_io *io = f->env.io;
    vtf_slot slot = VT_ZERO;
    vtf_extent e = VT_ZERO;
    vtag_err err;
    int i;
    e.kind = VTF_LOG;
    e.length = VTF_ALIGN;
    slot.head = *base;
    slot.head.end = VTF_FRONT;
    slot.head.extent = 0;
    err = io->allocate(f->f, VTF_FRONT);
    if (err) return vt_say_why(&f->env, err, "cannot make", f->env.path, 0);
    err = vt_file_cover_to(f, VTF_FRONT);
    if (!err) err = vt_extent_new(f, &slot.head, &e, &slot.log.extent);
    if (!err) err = vt_file_random(f, &slot.salt, sizeof slot.salt);
    slot.log.length = e.length;
    slot.log.at = slot.log.extent + VTF_HEAD_ROOM;
    slot.ckpt_log = slot.log;
    for (i = 0; i < 2 && !err; i++) err = vt_slot_write(f, &slot);
    if (!err) err = vt_file_sync(f);
    if (!err) err = vt_front_write(f, flags);
    return err ? err : vt_file_sync(f);
}

/* Whether [at, at + n) of a file is zeros. */
static vtag_err vt_file_zeros(vt_file *f, uint64_t at, uint64_t n, int *zeros) {
    uint8_t part[4096];
    vtag_err err = VTAG_OK;
    *zeros = 1;
    while (n && !err && *zeros) {
        size_t i, k = (size_t)vt_min_u64(n, sizeof part);
        err = vt_file_read(f, at, part, k);
        for (i = 0; !err && i < k; i++)
            if (part[i]) *zeros = 0;
        at += k, n -= k;
    }
    return err;
}

/* Whether creation was cut off before anything could be committed: both slots say so. The
   identity page, which is written last, may then be torn. */
static vtag_err vt_file_begun(vt_file *f, int *begun) {
    vtf_identity id;
    vtf_slot slot;
    uint32_t i;
    vtag_err err = vt_file_read(f, 0, &id, sizeof id);
    *begun = !err && id.crc != vtf_crc_identity(&id);
    for (i = 0; i < 2 && !err && *begun; i++) {
        err = vt_file_read(f, VTF_SLOT_AT(i), &slot, sizeof slot);
        *begun = !err && vt_slot_whole(&slot, i) && !slot.head.commit;
    }
    return err;
}

/* Whether the sector of the first extent's header is as creation leaves it: behind a header that
   is not there yet, or whole, are zeros; a torn one may take the sector along. */
static vtag_err vt_file_headed(vt_file *f, int *headed) {
    uint64_t sector[VTF_HEAD_ROOM / 8];
    vtf_extent e;
    size_t i, from = sizeof e / 8;
    vtag_err err = vt_file_read(f, VTF_FRONT, sector, sizeof sector);
    if (err) return err;
    memcpy(&e, sector, sizeof e);
    for (i = 0; i < from && !sector[i]; i++) continue;
    int torn = i < from && e.crc != vt_crc32c(0, &e, offsetof(vtf_extent, crc));
    for (i = from; i < VTF_HEAD_ROOM / 8 && (torn || !sector[i]); i++) continue;
    *headed = i == VTF_HEAD_ROOM / 8;
    return VTAG_OK;
}

/* Whether a file is empty, or what a crash left of making one: zeros, but for the four places
   that creation writes, of which only what is unsynced may be torn. Anything else is someone's. */
static vtag_err vt_file_blank(vt_file *f, int *blank) {
    static const uint64_t gap[4][2] = {{VTF_IDENTITY, VTF_SLOT_AT(0)},
                                       {VTF_SLOT_AT(0) + sizeof(vtf_slot), VTF_SLOT_AT(1)},
                                       {VTF_SLOT_AT(1) + sizeof(vtf_slot), VTF_FRONT},
                                       {VTF_FRONT + VTF_HEAD_ROOM, VTF_FRONT + VTF_ALIGN}};
    uint64_t size;
    size_t i;
    int begun = 0;
    vtag_err err = vt_file_size(f, &size);
    *blank = !err && size <= VTF_FRONT + VTF_ALIGN && size % VTF_IDENTITY == 0;
    if (err || !*blank || !size) return err;
    err = vt_file_zeros(f, 0, VTF_IDENTITY, blank);
    if (!err && !*blank && size == VTF_FRONT + VTF_ALIGN) err = vt_file_begun(f, &begun);
    *blank |= begun;
    for (i = 0; i < 4 && !err && *blank; i++)
        if (gap[i][0] < size)
            err = vt_file_zeros(f, gap[i][0], vt_min_u64(gap[i][1], size) - gap[i][0], blank);
    return err || !*blank || size <= VTF_FRONT ? err : vt_file_headed(f, blank);
}

/* Creates a store in a blank file, unless another process is just doing so. */
static vtag_err vt_db_create(vtag_db *db, vt_file *f, uint32_t flags) {
    const vtag_io *io = db->env.io;
    vtf_head base = VT_ZERO;
    int blank;
    vtag_err err = io->lock(f->f, VTAG_LOCK_WRITER, 10000);
    if (err) return err;
    base.time = io->now(io->ctx);
    base.flags = VTF_WHOLE;
    err = vt_file_blank(f, &blank);
    if (!err && blank) {
        err = vt_file_random(f, f->uuid, sizeof f->uuid);
        if (!err) err = vt_file_create(f, &base, flags);
    }
    io->unlock(f->f, VTAG_LOCK_WRITER);
    return err;
}

static void vt_db_drop(vtag_db *db) {
    if (!db || vt_atomic_add(&db->refs, UINT32_MAX) != 0) return;
    vt_state_drop(db->state);
    vt_file_drop(db->file);
    vt_free(db->path);
    vt_free(db);
}

/* The path by which the handle knows its file, whatever becomes of the current folder and of
   links on the way. */
static vtag_err vt_db_path(vtag_db *db, const char *path) {
    const vtag_io *io = db->env.io;
    char real[VTAG_PATH_MAX];
    vtag_err err = io->resolve ? io->resolve(io->ctx, path, real, sizeof real) : VTAG_OK;
    if (err) return vt_say_why(&db->env, err, "cannot open", path, 0);
    if (io->resolve) path = real;
    db->path = (char *)vt_dup(path, strlen(path) + 1, 1);
    db->env.path = db->path;
    return db->path ? VTAG_OK : VTAG_NOMEM;
}

/* A handle on no file yet. path NULL: on an image. */
static vtag_err vt_db_new(const vtag_open_opts *o, const vtag_io *io, const char *path,
                          vtag_db **out) {
    vtag_db *db = (vtag_db *)vt_zalloc(sizeof *db);
    vtag_err err = VTAG_OK;
    if (!db) return VTAG_NOMEM;
    db->refs = 1;
    db->pid = vt_os_pid();
    db->env.io = io;
    db->env.log = o->log;
    db->env.log_ctx = o->log_ctx;
    db->env.no_map = o->no_map;
    db->env.read_only = o->access == VTAG_READ;
    db->durability = o->durability;
    db->lazy_ms = o->lazy_ms ? o->lazy_ms : 1000;
    db->kernels = vt_kernels_pick(o->isa);
    if (!vt_little_endian())
        err = vt_say(&db->env, VTAG_FORMAT, "vtag files are little-endian; this machine is not", 0);
    else if (!db->kernels)
        err = vt_say(&db->env, VTAG_ARG, "isa: no such kernels on this machine", 0);
    else if (path) err = vt_db_path(db, path);
    if (err) vt_db_drop(db);
    else *out = db;
    return err;
}

static vtag_err vt_db_load(vtag_db *db, vt_file *f) {
    vtag_err err = vt_identify(f);
    if (!err) err = vt_db_redo(f);
    if (!err) err = vt_db_take(db, f, 0);
    if (!err && vt_db_tail(db, 0)) err = vt_db_peek(db);
    return err;
}

/* *moved: another file came to lie at the path meanwhile. */
static vtag_err vt_db_try(vtag_db *db, const vtag_open_opts *o, int *moved) {
    vt_file *f = NULL;
    int blank = 0;
    vtag_err err = vt_file_open(&db->env, db->path, o->access, &f);
    *moved = 0;
    if (err) return err;
    if (!db->env.read_only && !o->force_network && db->env.io->remote && db->env.io->remote(f->f))
        err = vt_say(&db->env, VTAG_READONLY,
                     "on a network file system; open it read-only or force it", 0);
    if (!err && (o->access == VTAG_CREATE || o->access == VTAG_NEW)) err = vt_file_blank(f, &blank);
    if (!err && blank) err = vt_db_create(db, f, o->pad_sectors ? VTF_FLAG_PAD : 0);
    if (!err) err = vt_db_load(db, f);
    *moved = err && !db->env.io->same(f->f, db->path);
    vt_file_drop(f);
    return err;
}

static vtag_err vt_db_open(vtag_db *db, const vtag_open_opts *o) {
    vtag_err err;
    int moved, tries = 0;
    do err = vt_db_try(db, o, &moved);
    while (err && moved && ++tries < 3);
    return err;
}

/* What can be said of the arguments of an open, before there is a handle. */
static vtag_err vt_open_check(const vtag_open_opts *o, const vtag_io *io, int source, int out) {
    vt_env env = VT_ZERO;
    env.log = o->log;
    env.log_ctx = o->log_ctx;
    if (!source) return vt_say(&env, VTAG_ARG, "path or image: nothing was given", 0);
    if (!out) return vt_say(&env, VTAG_ARG, "db: no place for the handle", 0);
    if (!io) return vt_say(&env, VTAG_ARG, "opts->io: this system needs one", 0);
    if ((unsigned)o->access > VTAG_NEW)
        return vt_say(&env, VTAG_ARG, "opts->access: no such value", 0);
    if ((unsigned)o->durability > VTAG_NO_SYNC)
        return vt_say(&env, VTAG_ARG, "opts->durability: no such value", 0);
    return VTAG_OK;
}

VTAG_API vtag_err vtag_open(const char *path, const vtag_open_opts *opts, vtag_db **out) {
    vtag_open_opts zero = VT_ZERO;
    const vtag_io *io;
    vtag_db *db;
    vtag_err err;
    if (out) *out = NULL;
    if (!opts) opts = &zero;
    VTAG_ASSERT(vt_rounds());
    io = opts->io ? opts->io : vt_os_io();
    err = vt_open_check(opts, io, path && *path, out != NULL);
    if (err) return err;
    err = vt_db_new(opts, io, path, &db);
    if (err) return err;
    err = vt_db_open(db, opts);
    if (err) vt_db_drop(db);
    else *out = db;
    return err;
}

/* A file object over an image, which is copied if it is not aligned; dropped by the
   caller, also on failure. */
static vtag_err vt_file_image(const vt_env *env, const void *image, size_t size, vt_file **out) {
    vt_file *f = (vt_file *)vt_zalloc(sizeof *f);
    if (!f) return VTAG_NOMEM;
    *out = f;
    f->refs = 1;
    f->env = *env;
    f->image = (const uint8_t *)image;
    f->image_size = size;
    if ((uintptr_t)image % 64) {
        f->copy = size > SIZE_MAX - 64 ? NULL : (uint8_t *)vt_alloc(size + 64);
        if (!f->copy) return VTAG_NOMEM;
        f->image = f->copy + (64 - (uintptr_t)f->copy % 64);
        memcpy(f->copy + (f->image - f->copy), image, size);
    }
    return vt_file_cover(f, 0, size);
}

VTAG_API vtag_err vtag_open_memory(const void *image, size_t size, const vtag_open_opts *opts,
                                   vtag_db **out) {
    vtag_open_opts o = VT_ZERO;
    vt_file *f = NULL;
    vtag_db *db;
    vtag_err err;
    if (out) *out = NULL;
    if (opts) o = *opts;
    o.access = VTAG_READ;
    if (!o.io) o.io = vt_os_io();
    err = vt_open_check(&o, o.io, image != NULL, out != NULL);
    if (!err) err = vt_db_new(&o, o.io, NULL, &db);
    if (err) return err;
    err = vt_file_image(&db->env, image, size, &f);
    if (!err) err = vt_db_load(db, f);
    vt_file_drop(f);
    if (err) vt_db_drop(db);
    else *out = db;
    return err;
}

VTAG_API const char *vtag_strerror(vtag_err err) {
    static const char *const text[] = {
#define VTAG_X(name, text) text,
        VTAG_ERRORS(VTAG_X)
#undef VTAG_X
    };
    return (unsigned)err < VTAG_ERR_COUNT ? text[err] : "unknown error";
}

#ifndef VTAG_KEY_HASH /* tests make two keys meet                            */
#define VTAG_KEY_HASH(key, n) vt_xxh64(key, n)
#endif

VTAG_API uint64_t vtag_id(const char *key) { return VTAG_KEY_HASH(key, strlen(key)); }

/* ---- Snapshots ------------------------------------------------------------------------------- */

static int vt_forked(const vtag_db *db) { return db->pid != vt_os_pid(); }

/* Refuses a call for a reason that the log is told. */
static vtag_err vt_refuse(const vtag_db *db, vtag_err err, const char *why) {
    return vt_say(&db->env, err, why, 0);
}

/* Whether a handle may be asked; what may not is said. */
static vtag_err vt_db_ready(const vtag_db *db) {
    if (!db) return VTAG_ARG;
    return vt_forked(db) ? vt_refuse(db, VTAG_ARG, "in a forked child a handle can only be closed")
                         : VTAG_OK;
}

static vtag_err vt_snap_ready(const vtag_snap *s) { return s ? vt_db_ready(s->db) : VTAG_ARG; }

/* The same, where the call also needs `good`. */
static vtag_err vt_snap_needs(const vtag_snap *s, int good, const char *why) {
    vtag_err err = vt_snap_ready(s);
    return err || good ? err : vt_refuse(s->db, VTAG_ARG, why);
}

static void vt_snap_link(vtag_db *db, vtag_snap *s) {
    s->older = db->newest;
    s->newer = NULL;
    if (db->newest) db->newest->newer = s;
    else db->oldest = s;
    db->newest = s;
    db->held++;
}

static void vt_snap_unlink(vtag_db *db, vtag_snap *s) {
    if (s->older) s->older->newer = s->newer;
    else db->oldest = s->newer;
    if (s->newer) s->newer->older = s->older;
    else db->newest = s->older;
    db->held--;
}

VTAG_API vtag_err vtag_snapshot(vtag_db *db, vtag_snap **out) {
    vtag_snap *s;
    vtag_err err = vt_db_ready(db);
    if (out) *out = NULL;
    if (!err && !out) err = vt_refuse(db, VTAG_ARG, "s: no place for the snapshot");
    if (err) return err;
    s = (vtag_snap *)vt_alloc(sizeof *s);
    if (!s) return VTAG_NOMEM;
    vt_spin_lock(&db->gate);
    if (!db->writing) err = vt_db_refresh(db, 0);
    vt_spin_unlock(&db->gate);
    if (err) {
        vt_free(s);
        return err;
    }
    vt_atomic_add(&db->refs, 1);
    s->db = db;
    s->since = vt_os_steady_ms();
    vt_spin_lock(&db->spin);
    s->state = vt_state_hold(db->state);
    vt_snap_link(db, s);
    vt_spin_unlock(&db->spin);
    *out = s;
    return VTAG_OK;
}

VTAG_API void vtag_release(vtag_snap *s) {
    if (!s) return;
    vt_spin_lock(&s->db->spin);
    vt_snap_unlink(s->db, s);
    vt_spin_unlock(&s->db->spin);
    vt_state_drop(s->state);
    vt_db_drop(s->db);
    vt_free(s);
}

/* ==== 15  Batch ===================================================== >>batch */

/* A batch works on a private copy of the state. Rows and blobs stream to space that
   no committed state looks at; changed keys gather in tables that are found before
   the state's runs, and go to INDEX when they grow. Commit then puts everything
   into one record; see chapter 5. */

#define VT_STREAM  262144u     /* bytes gathered before a write         */
#define VT_SPILL   32768u      /* keys of a table that go to INDEX      */
#define VT_INLINE  1024u       /* keys that still go into the record    */
#define VT_SEGMENT (32u << 20) /* bytes of the largest segments         */
#define VT_TAIL    (16u << 20) /* of the largest whose filling is not in sight */
#define VT_SKETCHY (1u << 20)  /* bytes of rows from which on a sketch pays */
#define VT_EXTENT  (1u << 20)  /* bytes of the largest shared extents   */
#define VT_LOG     262144u     /* bytes of a further log extent         */
#define VT_FIT     (1u << 30)  /* bytes of the largest extents that are cut to fit */

typedef struct vt_stream { /* bytes on their way to [start, ...) of the file   */
    uint64_t start, at;    /* at: where buf goes                               */
    uint8_t *buf;
    size_t n, cap;
    vt_xxh hash;
    int open;
} vt_stream;

typedef struct vt_segw { /* the segment of a tag that is being filled          */
    vtag_tag tag;
    uint32_t seg;
    uint64_t rows; /* appended under the tag in this batch                     */
    vt_stream rec, vec;
} vt_segw;

typedef struct vt_tab { /* changed keys of a space, by hash                    */
    uint32_t kind, tag;
    vtf_entry *e;
    uint32_t *slot; /* position in e, plus 1                                   */
    size_t n, cap, slots;
    int64_t live;  /* change of the number of live keys                        */
    int64_t bytes; /* and of what their blobs take                             */
    uint32_t gave;
    size_t runs; /* of the space, its newest, that this batch made            */
} vt_tab;

typedef struct vt_sealer { /* the making of one segment's sketch               */
    vt_encoder e;          /* e.base NULL: none is in the making                 */
    uint32_t seg;
    vtag_err err;
} vt_sealer;

struct vtag_batch {
    vtag_db *db;
    vt_state *s;
    vtag_err err; /* what poisoned it                                          */
    int restore, changed, roles;
    int seal;    /* checkpoint, and leave no entries in the log               */
    int sketch;  /* make the sketches of partly filled segments too           */
    int thrifty; /* may use the log's reserve                                  */
    int full;    /* there was no room for another extent                       */
    uint64_t now;
    vtag_begin_opts o;
    char by[256];     /* of the options; "": not known, or not to be kept              */
    vt_sealer sealer; /* of the full segment before the one that is filled       */
    vt_segw *segw;
    size_t nsegw, csegw;
    vt_stream tail[3];
    vt_tab *tabs;
    size_t ntabs, ctabs;
    vtf_kill *kills;
    size_t nkills, ckills;
    vtf_range *ranges;
    size_t nranges, cranges;
    vt_out blobs;      /* events that go into the record                  */
    vtf_entry *events; /* of them; at is relative to blobs                */
    size_t nevents, cevents;
    vt_out scratch;
    vtf_range newest;   /* the blob written last: where, and its bytes          */
    int fits;           /* it is known what comes: extents are cut to fit       */
    uint64_t coming[3]; /* bytes of each tail that do, where it is            */
    uint64_t commit_as; /* restore: the number that the commit takes; 0: next  */
};

static vtag_err vt_fail(vtag_batch *b, vtag_err err) {
    if (err && !b->err) b->err = err;
    return err;
}

/* Refuses one call of a batch, which stays good. */
static vtag_err vt_deny(const vtag_batch *b, vtag_err err, const char *why) {
    return vt_refuse(b->db, err, why);
}

/* The same about element i of an argument. */
static vtag_err vt_deny_at(const vtag_batch *b, vtag_err err, const char *what, size_t i,
                           const char *why) {
    char text[128] = "", digits[24] = "";
    size_t at = sizeof digits - 1;
    do digits[--at] = (char)('0' + i % 10);
    while ((i /= 10) != 0);
    vt_text_add(text, sizeof text, what);
    vt_text_add(text, sizeof text, "[");
    vt_text_add(text, sizeof text, digits + at);
    vt_text_add(text, sizeof text, "]: ");
    vt_text_add(text, sizeof text, why);
    return vt_refuse(b->db, err, text);
}

/* ---- Streams and space ------------------------------------------------------------- */

static vtag_err vt_range_add(vtag_batch *b, uint64_t at, uint64_t n, uint64_t xxh) {
    vtf_range r = {at, n, xxh};
    return vt_append(&b->ranges, &b->nranges, &b->cranges, &r, sizeof r);
}

static void vt_stream_open(vt_stream *s, uint64_t at) {
    s->start = s->at = at;
    s->n = 0;
    s->open = 1;
    vt_xxh_init(&s->hash);
}

static vtag_err vt_stream_flush(vtag_batch *b, vt_stream *s) {
    vtag_err err = s->open ? vt_file_write(b->s->file, s->at, s->buf, s->n) : VTAG_OK;
    s->at += s->n;
    s->n = 0;
    return err;
}

static vtag_err vt_stream_put(vtag_batch *b, vt_stream *s, const void *p, size_t n) {
    vtag_err err = VTAG_OK;
    uint8_t *buf;
    vt_xxh_update(&s->hash, p, n);
    if (s->n + n > VT_STREAM) err = vt_stream_flush(b, s);
    if (err) return err;
    if (n > VT_STREAM) {
        err = vt_file_write(b->s->file, s->at, p, n);
        s->at += n;
        return err;
    }
    buf = (uint8_t *)vt_grow(s->buf, &s->cap, s->n + n, 1);
    if (!buf) return VTAG_NOMEM;
    s->buf = buf;
    memcpy(buf + s->n, p, n);
    s->n += n;
    return VTAG_OK;
}

/* Ends a stream; its bytes become a range of the record. */
static vtag_err vt_stream_close(vtag_batch *b, vt_stream *s) {
    vtag_err err = vt_stream_flush(b, s);
    if (!err && s->open && s->at > s->start)
        err = vt_range_add(b, s->start, s->at - s->start, vt_xxh_digest(&s->hash));
    s->open = 0;
    return err;
}

static vtag_err vt_batch_extent(vtag_batch *b, vtf_extent *e, uint64_t *at) {
    vtag_err err = vt_extent_new(b->s->file, &b->s->head, e, at);
    if (err == VTAG_NOSPACE) b->full = 1;
    return err ? err : vt_range_add(b, *at, sizeof *e, vt_xxh64(e, sizeof *e));
}

/* Where n bytes of a kind go next, in one extent, and the stream that takes them;
   the caller adds n to tail->used. */
static vtag_err vt_tail_space(vtag_batch *b, vtf_tail *t, vt_stream *s, uint64_t n) {
    vtf_extent e = VT_ZERO;
    vtag_err err;
    if (!s->open && b->s->file->flags & VTF_FLAG_PAD) t->used = vt_align(t->used, 512);
    if (t->at && t->used <= t->length && n <= t->length - t->used) {
        if (!s->open) vt_stream_open(s, t->at + t->used);
        return VTAG_OK;
    }
    err = vt_stream_close(b, s);
    if (err) return err;
    uint64_t *coming = &b->coming[t - b->s->tails];
    e.kind = t->kind;
    e.length = vt_align(vt_max_u64(n, vt_min_u64(*coming, VT_FIT)) + VTF_HEAD_ROOM, VTF_ALIGN);
    if (!b->fits && e.length < VT_EXTENT / 4)
        e.length = vt_max_u64(e.length, vt_min_u64(2 * t->length, VT_EXTENT));
    err = vt_batch_extent(b, &e, &t->at);
    if (err) return err;
    *coming -= vt_min_u64(*coming, e.length - VTF_HEAD_ROOM);
    t->length = e.length;
    t->used = VTF_HEAD_ROOM;
    vt_stream_open(s, t->at + t->used);
    return VTAG_OK;
}

/* Puts n bytes, a multiple of 8, behind one another in extents of a kind. */
static vtag_err vt_tail_put(vtag_batch *b, uint32_t kind, const void *p, size_t n, uint64_t *at) {
    vtf_tail *t = vt_state_tail(b->s, kind);
    vt_stream *s = &b->tail[t - b->s->tails];
    vtag_err err = vt_tail_space(b, t, s, n);
    if (err) return err;
    *at = t->at + t->used;
    err = vt_stream_put(b, s, p, n);
    t->used += n;
    return err;
}

/* Writes a blob to ITEMS. */
static vtag_err vt_batch_blob(vtag_batch *b, vtf_blob *blob, const void *name, const void *data,
                              uint64_t *at) {
    b->scratch.n = 0;
    vt_blob_put(&b->scratch, blob, name, data);
    if (b->scratch.err) return VTAG_NOMEM;
    b->newest.length = b->scratch.n;
    vtag_err err = vt_tail_put(b, VTF_ITEMS, b->scratch.p, b->scratch.n, at);
    b->newest.at = *at;
    return err;
}

static vtf_blob vt_blob_of(uint32_t kind, uint64_t id, size_t name, size_t data) {
    vtf_blob b = {0, kind, id, data, (uint32_t)name, 0};
    return b;
}

/* ---- Runs in INDEX -------------------------------------------------------------------- */

/* Begins a run of at most max entries, which vt_run_add then takes in ascending order. */
static vtag_err vt_run_begin(vtag_batch *b, const vt_space *sp, uint64_t max, vtf_run *d) {
    vtf_tail *t = vt_state_tail(b->s, VTF_INDEX);
    vt_stream *s = &b->tail[1];
    vtag_err err = vt_tail_space(b, t, s, sizeof *d + max * sizeof(vtf_entry));
    if (!err) err = vt_stream_close(b, s);
    if (err) return err;
    memset(d, 0, sizeof *d);
    d->space = sp->kind;
    d->tag = sp->tag;
    d->at = t->at + t->used + sizeof *d;
    vt_stream_open(s, d->at);
    return VTAG_OK;
}

static vtag_err vt_run_add(vtag_batch *b, vtf_run *d, const vtf_entry *e) {
    if (!d->n++) d->min = e->id;
    d->max = e->id;
    d->crc = vt_crc32c(d->crc, e, sizeof *e);
    return vt_stream_put(b, &b->tail[1], e, sizeof *e);
}

/* Ends it; an empty one leaves nothing. */
static vtag_err vt_run_end(vtag_batch *b, const vtf_run *d, vt_run *run) {
    vtag_err err = vt_stream_close(b, &b->tail[1]);
    uint64_t head = d->at - sizeof *d;
    memset(run, 0, sizeof *run);
    if (err || !d->n) return err;
    err = vt_file_write(b->s->file, head, d, sizeof *d);
    if (!err) err = vt_range_add(b, head, sizeof *d, vt_xxh64(d, sizeof *d));
    if (err) return err;
    vt_state_tail(b->s, VTF_INDEX)->used += sizeof *d + d->n * sizeof(vtf_entry);
    return vt_run_load(b->s->file, d, run);
}

/* Writes what an iterator gives, at most max entries, as a run. */
static vtag_err vt_run_write(vtag_batch *b, const vt_space *sp, vt_iter *it, uint64_t max,
                             vt_run *run) {
    const vtf_entry *e;
    vtf_run d;
    vtag_err err = vt_run_begin(b, sp, max, &d);
    while (!err && (e = vt_iter_next(it)) != NULL) err = vt_run_add(b, &d, e);
    return err ? err : vt_run_end(b, &d, run);
}

/* Writes runs [from, to) of a space as one run in their place. */
static vtag_err vt_space_store(vtag_batch *b, vt_space *s, size_t from, size_t to) {
    uint64_t max = 0;
    vt_run run;
    vt_iter it;
    size_t i;
    vtag_err err = vt_iter_runs(&it, s->runs + from, to - from, 0);
    for (i = from; i < to; i++) max += s->runs[i].n;
    it.dead = from > 0;
    if (!err) err = vt_run_write(b, s, &it, max, &run);
    vt_iter_end(&it);
    if (err) return err;
    vt_space_replace(s, from, to, &run);
    return VTAG_OK;
}

/* ---- Tables ------------------------------------------------------------------------------ */

static size_t vt_tab_hash(const vt_tab *t, uint64_t id) {
    id ^= id >> 32;
    id *= 0xD6E8FEB86659FD93u;
    id ^= id >> 32;
    return (size_t)id & (t->slots - 1);
}

static vtf_entry *vt_tab_get(const vt_tab *t, uint64_t id) {
    size_t i = t->slots ? vt_tab_hash(t, id) : 0;
    if (!t->n) return NULL;
    for (; t->slot[i]; i = (i + 1) & (t->slots - 1))
        if (VT_COUNT(), t->e[t->slot[i] - 1].id == id) return &t->e[t->slot[i] - 1];
    return NULL;
}

static void vt_tab_link(vt_tab *t, size_t pos) {
    size_t i = vt_tab_hash(t, t->e[pos].id);
    while (t->slot[i]) i = (i + 1) & (t->slots - 1);
    t->slot[i] = (uint32_t)pos + 1;
}

static vtag_err vt_tab_add(vt_tab *t, const vtf_entry *e) {
    vtf_entry *a = (vtf_entry *)vt_grow(t->e, &t->cap, t->n + 1, sizeof *a);
    size_t i;
    if (!a) return VTAG_NOMEM;
    t->e = a;
    a[t->n] = *e;
    if (2 * (t->n + 1) > t->slots) {
        size_t slots = t->slots ? 2 * t->slots : 16;
        uint32_t *slot = (uint32_t *)vt_zalloc(slots * sizeof *slot);
        if (!slot) return VTAG_NOMEM;
        vt_free(t->slot);
        t->slot = slot;
        t->slots = slots;
        for (i = 0; i < t->n; i++) vt_tab_link(t, i);
    }
    vt_tab_link(t, t->n++);
    return VTAG_OK;
}

static vt_tab *vt_batch_tab(const vtag_batch *b, uint32_t kind, uint32_t tag) {
    size_t i;
    for (i = 0; i < b->ntabs; i++)
        if (b->tabs[i].kind == kind && b->tabs[i].tag == tag) return &b->tabs[i];
    return NULL;
}

static vt_tab *vt_batch_tab_make(vtag_batch *b, uint32_t kind, uint32_t tag) {
    vt_tab *t = vt_batch_tab(b, kind, tag), fresh = VT_ZERO;
    if (t) return t;
    fresh.kind = kind;
    fresh.tag = tag;
    return vt_append(&b->tabs, &b->ntabs, &b->ctabs, &fresh, sizeof fresh) ? NULL
                                                                           : &b->tabs[b->ntabs - 1];
}

/* Orders entries by id, ranges by offset: by what they begin with. */
static int vt_first_order(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Turns a table into the newest run of its space, in memory or (spill) in INDEX. */
static vtag_err vt_tab_fold(vtag_batch *b, vt_tab *t, int spill) {
    vt_space *s = vt_index_space(&b->s->index, t->kind, t->tag);
    vt_run run;
    vtag_err err;
    if (!t->n) return VTAG_OK;
    if (!s) return VTAG_NOMEM;
    qsort(t->e, t->n, sizeof *t->e, vt_first_order);
    if (spill) {
        vt_iter it;
        vt_run_of(&run, t->e, t->n);
        err = vt_iter_runs(&it, &run, 1, 0);
        it.dead = 1;
        if (!err) err = vt_run_write(b, s, &it, t->n, &run);
        vt_iter_end(&it);
    } else {
        err = vt_run_copy(&run, t->e, t->n);
    }
    if (!err) err = vt_space_push(s, &run);
    if (err) return err;
    t->runs++;
    t->n = 0;
    memset(t->slot, 0, t->slots * sizeof *t->slot);
    return VTAG_OK;
}

/* Keeps the runs that a batch makes of a space few, so that its last key is found as soon as its
   first: four of a size become one, and take in older ones of up to twice as many. Runs of
   ascending ids, of which one at most has an id, stay. */
static vtag_err vt_tab_merge(vtag_batch *b, vt_tab *t) {
    vt_space *s = vt_index_find(&b->s->index, t->kind, t->tag);
    size_t first = s->n - t->runs, from = s->n - 4, i;
    uint64_t sum = 0;
    if (t->runs < 4) return VTAG_OK;
    for (i = from; i < s->n; i++) {
        if (s->runs[i].n > 2 * s->runs[s->n - 1].n) return VTAG_OK;
        sum += s->runs[i].n;
    }
    while (from > first && s->runs[from - 1].n <= 2 * sum) sum += s->runs[--from].n;
    if (vt_runs_disjoint(s->runs, from, s->n)) return VTAG_OK;
    t->runs -= s->n - from - 1;
    return vt_space_store(b, s, from, s->n);
}

/* The newest entry of a key as the batch sees it, dead or alive, or NULL. */
static const vtf_entry *vt_batch_any(const vtag_batch *b, uint32_t kind, uint32_t tag,
                                     uint64_t id) {
    const vt_tab *t = vt_batch_tab(b, kind, tag);
    const vtf_entry *e = t ? vt_tab_get(t, id) : NULL;
    return e ? e : vt_space_any(vt_index_find(&b->s->index, kind, tag), id);
}

static const vtf_entry *vt_batch_get(const vtag_batch *b, uint32_t kind, uint32_t tag,
                                     uint64_t id) {
    return vt_alive(vt_batch_any(b, kind, tag, id));
}

/* Bytes that the blob of an entry takes; 0: it has none, or a damaged one. */
static uint64_t vt_batch_weighs(vtag_batch *b, const vtf_entry *e, vtag_err *err) {
    const vtf_blob *blob;
    uint64_t n;
    if (!e || e->at % 8 || !e->at || e->at == VTF_DEAD) return 0;
    if (e->at == b->newest.at) return b->newest.length;
    *err = vt_stream_flush(b, &b->tail[0]);
    blob = *err ? NULL : (const vtf_blob *)vt_at(b->s->file, e->at, sizeof *blob);
    n = blob && blob->data >> 48 == 0 ? vtf_blob_bytes(blob) : 0;
    return n && vt_at(b->s->file, e->at, n) ? n : 0;
}

/* Puts an entry in the place of `old`, what vt_batch_any says of its key. */
static vtag_err vt_batch_swap(vtag_batch *b, uint32_t kind, uint32_t tag, const vtf_entry *old,
                              const vtf_entry *e) {
    vt_tab *t = vt_batch_tab_make(b, kind, tag);
    vt_space *s = vt_index_space(&b->s->index, kind, tag);
    vtag_err err = VTAG_OK;
    if (!t || !s) return VTAG_NOMEM;
    vtf_entry *mine = vt_tab_get(t, e->id);
    int had = old && old->at != VTF_DEAD, has = e->at != VTF_DEAD;
    uint64_t blob = 0;
    if (kind != VTF_S_ROWS && !(had && has && old->at == e->at)) {
        uint64_t before = vt_batch_weighs(b, old, &err);
        blob = vt_batch_weighs(b, e, &err) - before;
        if (before) b->s->head.flags &= ~VTF_WHOLE;
    }
    if (kind == VTF_S_ROWS && has && !b->restore) blob = e->aux;
    if (err) return err;
    if (mine) *mine = *e;
    else err = vt_tab_add(t, e);
    if (err) return err;
    t->live += has - had;
    t->bytes += (int64_t)blob;
    s->live += (uint64_t)(int64_t)(has - had);
    if (s->bytes != VT_UNKNOWN) s->bytes += blob;
    b->changed = 1;
    if (t->n < VT_SPILL) return VTAG_OK;
    err = vt_tab_fold(b, t, 1);
    return err ? err : vt_tab_merge(b, t);
}

static vtag_err vt_batch_set(vtag_batch *b, uint32_t kind, uint32_t tag, const vtf_entry *e) {
    return vt_batch_swap(b, kind, tag, vt_batch_any(b, kind, tag, e->id), e);
}

/* Says how many rows were ever written under a tag, whatever was written here. */
static vtag_err vt_batch_written(vtag_batch *b, vtag_tag tag, uint64_t rows) {
    vt_tab *t = vt_batch_tab_make(b, VTF_S_ROWS, tag);
    vt_space *s = vt_index_space(&b->s->index, VTF_S_ROWS, tag);
    if (!t || !s) return VTAG_NOMEM;
    if (b->s->file->version < 3) return VTAG_OK;
    t->bytes += (int64_t)(rows - s->bytes);
    s->bytes = rows;
    return VTAG_OK;
}

static vtf_entry vt_entry_of(uint64_t id, uint64_t rev, uint64_t at, uint64_t aux) {
    vtf_entry e = {id, rev, at, aux};
    return e;
}

/* Makes the batch's own changes visible in b->s and in the mapping. */
static vtag_err vt_batch_settle(vtag_batch *b) {
    vtag_err err = VTAG_OK;
    size_t i;
    for (i = 0; i < b->ntabs && !err; i++) err = vt_tab_fold(b, &b->tabs[i], 0);
    for (i = 0; i < 3 && !err; i++) err = vt_stream_flush(b, &b->tail[i]);
    for (i = 0; i < b->nsegw && !err; i++) {
        err = vt_stream_flush(b, &b->segw[i].rec);
        if (!err) err = vt_stream_flush(b, &b->segw[i].vec);
    }
    return vt_fail(b, err);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static vt_segw *vt_batch_segw(vtag_batch *b, vtag_tag tag) {
    vt_segw *w;
    size_t i;
    for (i = 0; i < b->nsegw; i++)
        if (b->segw[i].tag == tag) return &b->segw[i];
    w = (vt_segw *)vt_grow(b->segw, &b->csegw, b->nsegw + 1, sizeof *w);
    if (!w) return NULL;
    b->segw = w;
    w += b->nsegw++;
    memset(w, 0, sizeof *w);
    w->tag = tag;
    w->seg = UINT32_MAX;
    for (i = b->s->rows.n; i-- > 0 && w->seg == UINT32_MAX;)
        if (b->s->rows.a[i].f.tag == tag) w->seg = (uint32_t)i;
    return w;
}

/* Rows of a tag's next segment: twice what it has, or what is still expected. */
static uint64_t vt_segment_rows(const vtag_batch *b, const vt_segw *w, uint64_t row,
                                uint64_t need) {
    uint64_t bytes = 0, rows, most = VT_SEGMENT / row;
    size_t i;
    if (b->o.expect_rows > w->rows) {
        rows = b->o.expect_rows - w->rows;
    } else {
        for (i = 0; i < b->s->rows.n; i++)
            if (b->s->rows.a[i].f.tag == w->tag) bytes += b->s->rows.a[i].f.length;
        rows = (vt_min_u64(vt_max_u64(bytes, VTF_ALIGN), VT_TAIL) - 2 * VTF_HEAD_ROOM) / row;
    }
    rows = vt_min_u64(rows, vt_min_u64(most, 65536));
    return vt_max_u64(vt_max_u64(rows, need), 1);
}

/* Adds a segment with room for need rows to the tag's. */
static vtag_err vt_segment_new(vtag_batch *b, vt_segw *w, uint64_t need) {
    const vt_tag *t = vt_tags_get(&b->s->tags, w->tag);
    uint32_t stride = vt_stride(t->f.dim, t->f.codec);
    uint64_t row = stride + sizeof(vtf_row), cap = vt_segment_rows(b, w, row, need), at = 0;
    vtf_extent e;
    vtf_seg f;
    vtag_err err;
    if (cap > UINT32_MAX / 2) return VTAG_FULL;
    memset(&e, 0, sizeof e);
    memset(&f, 0, sizeof f);
    e.kind = VTF_ROWS;
    e.length = vt_align(vtf_vectors_at(cap) + cap * stride, VTF_ALIGN);
    while (vtf_vectors_at(cap + 1) + (cap + 1) * stride <= e.length) cap++;
    e.tag = w->tag;
    e.cap = f.cap = (uint32_t)cap;
    e.dim = t->f.dim;
    e.codec = t->f.codec;
    err = vt_batch_extent(b, &e, &at);
    if (err) return err;
    f.at = at;
    f.length = e.length;
    f.tag = w->tag;
    f.number = (uint32_t)b->s->rows.n;
    w->seg = f.number;
    err = vt_rows_apply(&b->s->rows, b->s->file, &b->s->tags, &f);
    if (!err) b->s->rows.a[w->seg].touched = 1;
    return err;
}

/* Marks rows dead, for the record and in the state. */
static vtag_err vt_batch_kill(vtag_batch *b, uint32_t seg, uint32_t row, uint32_t n) {
    vt_seg *s = &b->s->rows.a[seg];
    vtf_kill *k = b->nkills ? &b->kills[b->nkills - 1] : NULL;
    b->changed = 1;
    b->s->head.flags &= ~VTF_WHOLE;
    if (k && k->seg == seg && k->row + k->n == row) {
        k->n += n;
        return vt_rows_kill(s, row, n);
    }
    if (++s->kills <= VT_KILLS) {
        vtf_kill one = {seg, row, n, 0};
        vtag_err err = vt_append(&b->kills, &b->nkills, &b->ckills, &one, sizeof one);
        if (err) return err;
    }
    return vt_rows_kill(s, row, n);
}

/* ---- Sketches ---------------------------------------------------------------------- */

/* Whether rows of a segment should get a sketch now: at any time if there are enough of
   them, else once the segment is as good as full. */
static int vt_sketch_due(const vt_state *s, const vt_seg *g, int any) {
    const vt_tag *t = vt_tags_get(&s->tags, g->f.tag);
    uint32_t code = vt_sketch_dim(t->f.dim) / 2 + 16, raw = g->f.rows;
    vt_sketch old;
    if (t->f.flags & VTAG_NO_SKETCH || t->f.role == VTAG_GONE || 2 * code > g->stride) return 0;
    if (!any && (uint64_t)(g->f.cap - g->f.rows) * g->stride >= VTF_ALIGN) return 0;
    if ((uint64_t)raw * g->stride < VT_SKETCHY) return 0;
    if (!vt_seg_sketch(s->file, g, t->f.dim, &old)) return 1;
    raw -= old.rows;
    return (uint64_t)raw * g->stride >= VT_SKETCHY && raw >= old.rows / 2;
}

static void vt_sealer_drop(vt_sealer *l) {
    vt_free(l->e.base);
    l->e.base = NULL;
}

static vtag_err vt_sealer_begin(vt_sealer *l, const vt_kernels *k, const vt_state *s,
                                uint32_t seg) {
    const vt_seg *g = &s->rows.a[seg];
    const vt_tag *t = vt_tags_get(&s->tags, g->f.tag);
    vt_encoder *e = &l->e;
    vtag_err err;
    memset(l, 0, sizeof *l);
    l->seg = seg;
    e->k = k;
    e->metric = (vtag_metric)t->f.metric;
    e->codec = t->f.codec;
    e->dim = t->f.dim;
    e->stride = g->stride;
    e->rows = vt_row(g, 0);
    e->x = vt_vector(g, 0);
    e->f = vt_sketch_head(g->f.at, g->f.rows, t->f.dim);
    e->p = vt_sketch_parts(e->f.rows, e->f.dim);
    e->base = e->p.bytes > SIZE_MAX ? NULL : (uint8_t *)vt_zalloc((size_t)e->p.bytes);
    err = e->base ? vt_sketch_begin(e) : VTAG_NOMEM;
    if (err) vt_sealer_drop(l);
    return err;
}

static void vt_sealer_work(void *arg) {
    vt_sealer *l = (vt_sealer *)arg;
    l->err = vt_sketch_some(&l->e);
}

/* Writes a finished sketch. A full disk, or rows that can have none, leave it out. */
static vtag_err vt_sealer_put(vtag_batch *b, vt_sealer *l) {
    vt_seg *g = &b->s->rows.a[l->seg];
    uint64_t at = 0, from = sizeof(vtf_extent), n = l->e.p.bytes - from;
    vtf_extent e;
    vtag_err err = l->err;
    memset(&e, 0, sizeof e);
    e.kind = VTF_SKETCH;
    e.length = vt_align(l->e.p.bytes, VTF_ALIGN);
    e.tag = g->f.tag;
    if (!err) vt_sketch_end(&l->e);
    if (!err) err = vt_batch_extent(b, &e, &at);
    if (!err) err = vt_file_write(b->s->file, at + from, l->e.base + from, (size_t)n);
    if (!err) err = vt_range_add(b, at + from, n, vt_xxh64(l->e.base + from, (size_t)n));
    if (!err) {
        g->f.sketch = at;
        g->touched = b->changed = 1;
    }
    vt_sealer_drop(l);
    return err == VTAG_VALUE || (err == VTAG_NOSPACE && b->full) ? VTAG_OK : err;
}

/* Helps with the sketch in the making, waits for it and writes it. */
static vtag_err vt_batch_sealed(vtag_batch *b) {
    vt_sealer *l = &b->sealer;
    if (!l->e.base) return VTAG_OK;
    if (b->o.run) {
        vtag_err err = vt_sketch_some(&l->e);
        b->o.wait(b->o.run_ctx);
        if (!l->err) l->err = err;
    }
    return vt_sealer_put(b, l);
}

/* Sees to the sketch of a segment whose rows are written; the one before is done first. */
static vtag_err vt_batch_seal(vtag_batch *b, uint32_t seg, int any) {
    vtag_err err;
    if (!vt_sketch_due(b->s, &b->s->rows.a[seg], any)) return VTAG_OK;
    err = vt_batch_sealed(b);
    if (!err) err = vt_sealer_begin(&b->sealer, b->db->kernels, b->s, seg);
    if (err) return err;
    if (b->o.run) b->o.run(b->o.run_ctx, vt_sealer_work, &b->sealer);
    else vt_sealer_work(&b->sealer);
    return VTAG_OK;
}

/* The sketches that a commit is due. */
static vtag_err vt_batch_seal_all(vtag_batch *b) {
    vtag_err err = VTAG_OK;
    size_t i;
    for (i = 0; i < b->s->rows.n && !err; i++)
        if (b->s->rows.a[i].touched && !(b->sealer.e.base && b->sealer.seg == i))
            err = vt_batch_seal(b, (uint32_t)i, b->sketch);
    return err ? err : vt_batch_sealed(b);
}

/* Opens the streams of a tag's segment with room for n rows. */
static vtag_err vt_segw_ready(vtag_batch *b, vt_segw *w, uint32_t n) {
    vt_seg *s = w->seg == UINT32_MAX ? NULL : &b->s->rows.a[w->seg];
    vtag_err err = VTAG_OK;
    if (s && !w->rec.open && b->s->file->flags & VTF_FLAG_PAD && s->f.rows % 64) {
        uint32_t gap = (uint32_t)vt_min_u64(64 - s->f.rows % 64, s->f.cap - s->f.rows);
        s->f.rows += gap;
        s->touched = 1;
        err = vt_batch_kill(b, w->seg, s->f.rows - gap, gap);
    }
    if (!err && (!s || s->f.cap - s->f.rows < n)) {
        err = vt_stream_close(b, &w->rec);
        if (!err) err = vt_stream_close(b, &w->vec);
        if (!err && s) err = vt_batch_seal(b, w->seg, 1);
        if (!err) err = vt_segment_new(b, w, n);
    }
    if (err || w->rec.open) return err;
    s = &b->s->rows.a[w->seg];
    vt_stream_open(&w->rec, vt_row_at(s, s->f.rows));
    vt_stream_open(&w->vec, s->f.at + vtf_vectors_at(s->f.cap) + (uint64_t)s->f.rows * s->stride);
    return VTAG_OK;
}

/* Appends a row whose vector is x[stride] as stored; its crc is set here. */
static vtag_err vt_row_put(vtag_batch *b, vt_segw *w, vtf_row *r, const uint8_t *x) {
    vt_seg *s = &b->s->rows.a[w->seg];
    vtag_err err;
    r->crc = vtf_crc_row(r, x, s->stride);
    err = vt_stream_put(b, &w->rec, r, sizeof *r);
    if (!err) err = vt_stream_put(b, &w->vec, x, s->stride);
    s->f.rows++;
    s->touched = 1;
    w->rows++;
    return err;
}

/* A caller's vector in the batch's scratch, as its tag stores it, and the norm of what
   that decodes to; NULL: no memory. */
static const uint8_t *vt_batch_encode(vtag_batch *b, const vt_tag *t, const float *x, float *norm) {
    uint32_t pad = vt_pad(t->f.dim), stride = vt_stride(t->f.dim, t->f.codec);
    uint8_t *stored;
    float *decoded;
    b->scratch.n = 0;
    stored = (uint8_t *)vt_out_space(&b->scratch, stride + pad * sizeof *decoded);
    if (!stored) return NULL;
    decoded = (float *)(void *)(stored + stride);
    vt_encode(t->f.codec, x, t->f.dim, stored);
    if (t->f.codec != VTAG_F32) vt_decode(t->f.codec, stored, t->f.dim, pad, decoded);
    *norm = vt_norm(b->db->kernels, t->f.codec ? decoded : (const float *)(void *)stored, pad);
    return stored;
}

/* Writes the vectors of one tag among v[n] as an item's group in the place of what `was`, the
   entry as vt_batch_any knows it. */
static vtag_err vt_group_put(vtag_batch *b, vtag_tag tag, const vtf_entry *was, uint64_t id,
                             uint64_t rev, const vtag_vec *v, size_t n) {
    const vtf_entry *old = vt_alive(was);
    const vt_tag *t = vt_tags_get(&b->s->tags, tag);
    uint32_t parts = t->given, part = 0;
    vt_segw *w = vt_batch_segw(b, tag);
    vtag_err err = w ? VTAG_OK : VTAG_NOMEM;
    vt_group g;
    vtf_entry e;
    size_t i;
    if (!err && old && !vt_group_of(&b->s->rows, tag, old, &g)) err = VTAG_CORRUPT;
    if (!err && old) err = vt_batch_kill(b, g.seg->f.number, g.row, g.parts);
    if (!err) err = vt_segw_ready(b, w, parts);
    if (err) return err;
    e = vt_entry_of(id, rev, (uint64_t)w->seg << 32 | b->s->rows.a[w->seg].f.rows, parts);
    for (i = 0; i < n && !err; i++) {
        const uint8_t *x;
        vtf_row r;
        VT_COUNT();
        if (v[i].tag != tag) continue;
        memset(&r, 0, sizeof r);
        x = vt_batch_encode(b, t, v[i].x, &r.norm);
        if (!x) return VTAG_NOMEM;
        r.id = id;
        r.rev = rev;
        r.tag = tag;
        r.part = part++;
        r.off = v[i].off;
        r.len = v[i].len;
        err = vt_row_put(b, w, &r, x);
    }
    return err ? err : vt_batch_swap(b, VTF_S_ROWS, tag, was, &e);
}

/* Whether the stored group equals the vectors of its tag among v[n], as stored. */
static int vt_group_equal(vtag_batch *b, vtag_tag tag, const vt_group *g, const vtag_vec *v,
                          size_t n) {
    const vt_tag *t = vt_tags_get(&b->s->tags, tag);
    vt_segw *w = vt_batch_segw(b, tag);
    uint32_t part = 0;
    size_t i;
    float norm;
    if (t->given != g->parts) return 0;
    if (w && w->seg == g->seg->f.number && (w->rec.n || w->vec.n))
        if (vt_fail(b, vt_stream_flush(b, &w->rec)) || vt_fail(b, vt_stream_flush(b, &w->vec)))
            return 0;
    for (i = 0; i < n; i++) {
        const vtf_row *r;
        const uint8_t *x;
        VT_COUNT();
        if (v[i].tag != tag) continue;
        r = vt_row(g->seg, g->row + part);
        if (r->off != v[i].off || r->len != v[i].len) return 0;
        x = vt_batch_encode(b, t, v[i].x, &norm);
        if (!x) return vt_fail(b, VTAG_NOMEM), 0;
        if (memcmp(vt_vector(g->seg, g->row + part), x, g->seg->stride)) return 0;
        part++;
    }
    return 1;
}

/* ---- Checkpoint -------------------------------------------------------------------------- */

static int vt_checkpoint_due(const vtag_batch *b) {
    const vt_state *s = b->s;
    uint64_t bytes = s->bytes;
    size_t i;
    if (b->roles) return 0; /* a flip costs the same at any time               */
    for (i = 0; i < b->nranges; i++) bytes += b->ranges[i].length;
    return b->seal || s->log >= 262144 || s->records >= 1024 || bytes >= 64u << 20;
}

/* Writes the bitmap of a segment, and looks at it there from now on. */
static vtag_err vt_bits_store(vtag_batch *b, vt_seg *s) {
    size_t n = vt_bits_bytes(s->f.cap);
    const uint64_t *bits;
    uint64_t at = 0;
    vtag_err err = vt_tail_put(b, VTF_META, s->bits, n, &at);
    if (!err) err = vt_stream_flush(b, &b->tail[2]);
    if (err) return err;
    bits = (const uint64_t *)vt_at(b->s->file, at, n);
    if (!bits) return VTAG_CORRUPT;
    s->f.bits_at = at;
    s->f.bits_crc = vt_crc32c(0, s->bits, n);
    s->bits = bits;
    vt_buf_drop(s->own);
    s->own = NULL;
    s->changed = 0;
    return VTAG_OK;
}

/* Gathers a space's runs of the log into INDEX, and merges runs of a size there. */
static vtag_err vt_space_checkpoint(vtag_batch *b, vt_space *s) {
    vtag_err err = VTAG_OK;
    size_t i = 0, from;
    while (i < s->n && !err) {
        size_t to = i;
        while (to < s->n && !s->runs[to].at) to++;
        if (to > i) err = vt_space_store(b, s, i, to);
        i++;
    }
    while (!err && (from = vt_space_tier(s)) < s->n) err = vt_space_store(b, s, from, s->n);
    return err;
}

static void vt_ckpt_build(const vt_state *s, vt_out *o) {
    vtf_ckpt c = VT_ZERO;
    size_t i, j;
    c.magic = VTF_CKPT_MAGIC;
    c.tags = (uint32_t)s->tags.n;
    c.segs = (uint32_t)s->rows.n;
    c.spaces = (uint32_t)s->index.n;
    for (i = 0; i < s->index.n; i++) c.runs += (uint32_t)s->index.a[i].n;
    memcpy(c.tails, s->tails, sizeof c.tails);
    vt_out_put(o, &c, sizeof c);
    for (i = 0; i < s->tags.n; i++) vt_out_put(o, &s->tags.a[i].f, sizeof(vtf_tag));
    for (i = 0; i < s->rows.n; i++) vt_out_put(o, &s->rows.a[i].f, sizeof(vtf_seg));
    for (i = 0; i < s->index.n; i++) {
        const vt_space *x = &s->index.a[i];
        vtf_space d = {x->kind, x->tag, x->live, x->n, x->bytes};
        vt_out_put(o, &d, vtf_space_size(s->file->version));
    }
    for (i = 0; i < s->index.n; i++)
        for (j = 0; j < s->index.a[i].n; j++) {
            vtf_run d = vt_run_stored(&s->index.a[i], &s->index.a[i].runs[j]);
            vt_out_put(o, &d, sizeof d);
        }
    if (!o->err) ((vtf_ckpt *)(void *)o->p)->size = o->n;
}

/* Writes the state, as it will be after this commit, as a checkpoint. */
static vtag_err vt_checkpoint(vtag_batch *b, vtf_ckpt_ref *ref) {
    vt_state *s = b->s;
    vtf_tail *t = vt_state_tail(s, VTF_META);
    vt_out o = VT_ZERO;
    uint64_t at = 0;
    size_t i, n;
    vtag_err err = VTAG_OK;
    for (i = 0; i < s->index.n && !err; i++) err = vt_space_checkpoint(b, &s->index.a[i]);
    for (i = 0; i < s->rows.n && !err; i++)
        if (s->rows.a[i].changed && s->rows.a[i].f.dead) err = vt_bits_store(b, &s->rows.a[i]);
    if (err) return err;
    vt_ckpt_build(s, &o);
    n = o.n;
    if (!o.err) err = vt_tail_space(b, t, &b->tail[2], n);
    t->used += n; /* the directory states the tails with itself               */
    o.n = 0;
    if (!err) vt_ckpt_build(s, &o);
    t->used -= n;
    if (!err) err = o.err ? o.err : vt_tail_put(b, VTF_META, o.p, n, &at);
    if (!err) {
        vtf_ckpt_ref made = {at, n, vt_crc32c(0, o.p, n), 0};
        *ref = made;
    }
    vt_free(o.p);
    return err;
}

/* ---- Record -------------------------------------------------------------------------------- */

/* Tags as they are, but for what the deltas will add. */
static void vt_emit_tags(const vtag_batch *b, vt_out *o) {
    size_t at = vt_section_begin(o, VTF_TAGS, 0), i;
    for (i = 0; i < b->s->tags.n; i++) {
        const vt_tab *t = vt_batch_tab(b, VTF_S_ROWS, b->s->tags.a[i].f.tag);
        vtf_tag f = b->s->tags.a[i].f;
        f.with -= t ? t->gave : 0;
        if (b->s->tags.a[i].changed) vt_out_put(o, &f, sizeof f);
    }
    vt_section_end(o, at);
}

static vtag_err vt_emit_segs(vtag_batch *b, vt_out *o) {
    size_t at = vt_section_begin(o, VTF_SEGS, 0), i;
    vtag_err err = VTAG_OK;
    for (i = 0; i < b->s->rows.n && !err; i++) {
        vt_seg *s = &b->s->rows.a[i];
        vtf_seg f;
        if (!s->touched && s->kills <= VT_KILLS) continue;
        if (s->kills > VT_KILLS && s->changed) err = vt_bits_store(b, s);
        f = s->f;
        if (s->kills <= VT_KILLS) f.bits_at = f.bits_crc = f.dead = 0;
        vt_out_put(o, &f, sizeof f);
    }
    vt_section_end(o, at);
    at = vt_section_begin(o, VTF_KILLS, 0);
    for (i = 0; i < b->nkills; i++)
        if (b->s->rows.a[b->kills[i].seg].kills <= VT_KILLS)
            vt_out_put(o, &b->kills[i], sizeof b->kills[i]);
    vt_section_end(o, at);
    return err;
}

static void vt_emit_delta(const vtag_batch *b, vt_out *o, uint32_t kind, const vtf_delta *d,
                          const vtf_entry *e) {
    size_t at = vt_section_begin(o, VTF_DELTA, kind);
    vt_out_put(o, d, vtf_delta_size(b->s->file->version));
    if (!d->at) vt_out_put(o, e, d->n * sizeof *e);
    vt_section_end(o, at);
}

/* The runs that the batch added to a space; large ones go to INDEX first. */
static vtag_err vt_emit_tab(vtag_batch *b, vt_tab *t, vt_out *o) {
    uint64_t most = b->seal ? 0 : VT_INLINE; /* keys that stay in the record */
    vtag_err err = vt_tab_fold(b, t, t->n > most);
    vt_space *s = vt_index_find(&b->s->index, t->kind, t->tag);
    vtf_delta none = VT_ZERO;
    size_t i;
    for (i = s && !err ? s->n - t->runs : 0; s && i < s->n && !err; i++) {
        vtf_delta d = VT_ZERO;
        if (s->runs[i].n > most && !s->runs[i].at) err = vt_space_store(b, s, i, i + 1);
        d.tag = t->tag;
        d.n = (uint32_t)s->runs[i].n;
        d.at = s->runs[i].at;
        d.live = (int32_t)t->live;
        d.gave = t->gave;
        d.bytes = t->bytes;
        t->live = t->bytes = t->gave = 0;
        if (!err) vt_emit_delta(b, o, t->kind, &d, s->runs[i].e);
    }
    if (err || !t->bytes) return err;
    none.tag = t->tag; /* rows that a restore knows to have been written      */
    none.bytes = t->bytes;
    t->bytes = 0;
    vt_emit_delta(b, o, t->kind, &none, NULL);
    return VTAG_OK;
}

static void vt_emit_tails(const vtag_batch *b, vt_out *o) {
    size_t at = vt_section_begin(o, VTF_TAILS, 0), i;
    for (i = 0; i < 3; i++)
        if (memcmp(&b->s->tails[i], &b->db->state->tails[i], sizeof(vtf_tail)))
            vt_out_put(o, &b->s->tails[i], sizeof(vtf_tail));
    vt_section_end(o, at);
}

static uint32_t vt_record_size(const vt_file *f, size_t n) {
    return (uint32_t)vt_align(n, f->flags & VTF_FLAG_PAD ? 512 : 8);
}

static void vt_record_seal(vtf_record *r, uint32_t type, size_t size, const vt_state *s) {
    vtf_record head = {VTF_RECORD_MAGIC, 0, (uint32_t)size, type, s->pos.crc, 0, s->salt, s->head};
    *r = head;
    r->crc = vtf_crc_record(r);
}

/* Writes a record at the log position and moves past it. */
static vtag_err vt_record_write(vt_state *s, vtf_record *r) {
    vtag_err err = vt_file_write(s->file, s->pos.at, r, r->size);
    s->pos.at += r->size;
    s->pos.crc = r->crc;
    return err;
}

/* Sees to room for a record of n bytes: here, or in a new log extent, linked. Only a
   thrifty batch on a full disk may use the reserve. link->length 0: here. */
static vtag_err vt_log_space(vtag_batch *b, size_t n, vtf_link *link) {
    vt_state *s = b->s;
    uint64_t room = vt_log_room(&s->pos), least = n + vt_record_size(s->file, sizeof *link);
    vtf_head before = s->head;
    vtf_extent e = VT_ZERO;
    uint64_t at = 0;
    vtag_err err;
    memset(link, 0, sizeof *link);
    if (room >= least + VTF_LOG_RESERVE) return VTAG_OK;
    e.kind = VTF_LOG;
    e.length = vt_align(least + VTF_LOG_RESERVE + VTF_HEAD_ROOM, VTF_ALIGN);
    e.length = vt_max_u64(e.length, VT_LOG);
    err = vt_batch_extent(b, &e, &at);
    if (err == VTAG_NOSPACE && b->full && b->thrifty && room >= least) {
        s->head = before;
        return VTAG_OK;
    }
    if (!err) err = vt_file_zero(s->file, at + VTF_HEAD_ROOM, e.length - VTF_HEAD_ROOM);
    link->extent = at;
    link->length = e.length;
    return err;
}

/* Writes the LINK record and moves the log position to the extent that it names. */
static vtag_err vt_log_link(vt_state *s, vtf_link *link) {
    uint8_t record[512] = VT_ZERO;
    uint32_t n = vt_record_size(s->file, sizeof *link);
    vtag_err err;
    memcpy(record, link, sizeof *link);
    vt_record_seal((vtf_record *)(void *)record, VTF_R_LINK, n, s);
    err = vt_record_write(s, (vtf_record *)(void *)record);
    s->pos.at = link->extent + VTF_HEAD_ROOM;
    s->pos.extent = link->extent;
    s->pos.length = link->length;
    return err;
}

/* Events whose blobs lie in the record at `at`: their entries, now that it is known. */
static vtag_err vt_emit_events(vtag_batch *b, vt_out *o, uint64_t at) {
    vt_space *s = b->nevents ? vt_index_space(&b->s->index, VTF_S_EVENTS, 0) : NULL;
    vtf_delta d = VT_ZERO;
    vt_run run;
    vtag_err err;
    size_t i;
    if (!b->nevents) return VTAG_OK;
    if (!s) return VTAG_NOMEM;
    for (i = 0; i < b->nevents; i++)
        b->events[i].at += at + sizeof(vtf_record) + sizeof(vtf_section);
    d.n = (uint32_t)b->nevents;
    d.live = (int32_t)b->nevents;
    d.bytes = (int64_t)b->blobs.n;
    vt_emit_delta(b, o, VTF_S_EVENTS, &d, b->events);
    err = vt_run_copy(&run, b->events, b->nevents);
    if (!err) err = vt_space_push(s, &run);
    s->live += b->nevents;
    if (s->bytes != VT_UNKNOWN) s->bytes += b->blobs.n;
    return err;
}

/* ---- Begin, commit, abort ------------------------------------------------------------------- */

/* Writes all data, and gathers the sections of the record in o. On a full disk a sketch
   must not take the room of what a commit cannot do without, so the index goes first. */
static vtag_err vt_commit_data(vtag_batch *b, vt_out *o) {
    vtf_ckpt_ref ref = VT_ZERO;
    vt_out tabs = VT_ZERO;
    vtag_err err = VTAG_OK;
    size_t i;
    for (i = 0; i < b->nsegw && !err; i++) {
        err = vt_stream_close(b, &b->segw[i].rec);
        if (!err) err = vt_stream_close(b, &b->segw[i].vec);
    }
    vt_section_put(o, VTF_BLOBS, b->blobs.p, b->blobs.n);
    vt_emit_tags(b, o);
    for (i = 0; i < b->ntabs && !err; i++) err = vt_emit_tab(b, &b->tabs[i], &tabs);
    if (!err) err = vt_batch_seal_all(b);
    if (!err) err = vt_emit_segs(b, o);
    if (!err) err = tabs.err;
    if (tabs.n) vt_out_put(o, tabs.p, tabs.n);
    vt_free(tabs.p);
    for (i = 0; i < b->s->index.n && !err; i++) err = vt_space_tidy(&b->s->index.a[i]);
    if (!err && vt_checkpoint_due(b)) {
        err = vt_checkpoint(b, &ref);
        if (err == VTAG_NOSPACE && b->full) err = VTAG_OK; /* another time     */
    }
    for (i = 0; i < 3 && !err; i++) err = vt_stream_close(b, &b->tail[i]);
    if (err) return err;
    vt_emit_tails(b, o);
    if (ref.at) {
        vt_section_put(o, VTF_CKPT, &ref, sizeof ref);
        b->s->ckpt = ref;
    }
    return o->err;
}

/* Completes the record in o and writes it. *wrote: the log may have changed. */
static vtag_err vt_commit_record(vtag_batch *b, vt_out *o, int *wrote) {
    vt_state *s = b->s;
    vtf_link link;
    vtf_record *r;
    size_t size = o->n + 64 + b->nevents * sizeof *b->events + (b->nranges + 1) * sizeof(vtf_range);
    vtag_err err;
    if (size + 512 > UINT32_MAX / 2) return VTAG_FULL;
    err = vt_log_space(b, vt_record_size(s->file, size), &link);
    if (err) return err;
    err = vt_emit_events(b, o, link.length ? link.extent + VTF_HEAD_ROOM : s->pos.at);
    if (err) return err;
    if (b->nranges) qsort(b->ranges, b->nranges, sizeof *b->ranges, vt_first_order);
    vt_section_put(o, VTF_RANGES, b->ranges, b->nranges * sizeof *b->ranges);
    if (o->n % 512 && s->file->flags & VTF_FLAG_PAD) {
        size_t at = vt_section_begin(o, 0, 0);
        vt_out_put(o, "\0\0\0\0\0\0\0", 8);
        vt_out_align(o, 512);
        vt_section_end(o, at);
    }
    if (o->err) return o->err;
    s->head.commit = b->commit_as ? b->commit_as : s->head.commit + 1;
    *wrote = 1;
    err = link.length ? vt_log_link(s, &link) : VTAG_OK;
    if (err) return err;
    r = (vtf_record *)(void *)o->p;
    vt_record_seal(r, VTF_R_COMMIT, o->n, s);
    return vt_record_write(s, r);
}

/* Syncs as the durability asks, and names the state in the other slot. */
static vtag_err vt_commit_sync(vtag_db *db, const vt_state *s, int now) {
    uint64_t time = db->env.io->now(db->env.io->ctx);
    vtag_err err = VTAG_OK;
    if (db->durability == VTAG_FULL_SYNC) now = 1;
    if (db->durability == VTAG_LAZY_SYNC && (time < db->synced || time - db->synced >= db->lazy_ms))
        now = 1;
    if (!now) {
        db->unsynced = 1;
        return VTAG_OK;
    }
    err = vt_file_name(db->file);
    if (!err) err = vt_file_sync(db->file);
    if (err) return err;
    vt_slot_fill(&db->slot, s);
    db->synced = time;
    db->unsynced = 0;
    return vt_slot_write(db->file, &db->slot);
}

/* What counts since the checkpoint, and marks that belong to the batch alone. */
static void vt_commit_settle(vtag_batch *b, size_t record, uint64_t ckpt) {
    vt_state *s = b->s;
    size_t i;
    for (i = 0; i < b->nranges; i++) s->bytes += b->ranges[i].length;
    vt_state_count(s, record, ckpt);
    for (i = 0; i < s->rows.n; i++) s->rows.a[i].touched = 0, s->rows.a[i].kills = 0;
    for (i = 0; i < s->tags.n; i++) s->tags.a[i].changed = 0;
}

/* The clock of retentions as it stands now; a gap between commits counts for at most
   a week. */
static uint64_t vt_clock_at(const vtf_head *h, uint64_t now) {
    return h->clock + (now > h->time ? vt_min_u64(now - h->time, 7u * 86400000ull) : 0);
}

static vtag_err vt_commit_try(vtag_batch *b) {
    vtag_db *db = b->db;
    uint64_t ckpt = b->s->ckpt.at;
    vt_out o = VT_ZERO;
    int wrote = 0;
    vtag_err err;
    vt_out_space(&o, sizeof(vtf_record));
    if (!b->restore || !b->s->head.time) {
        b->s->head.clock = vt_clock_at(&b->s->head, b->now);
        b->s->head.time = b->now;
    }
    err = vt_commit_data(b, &o);
    if (!err) err = vt_commit_record(b, &o, &wrote);
    if (!err) {
        vt_commit_settle(b, o.n, ckpt);
        err = vt_commit_sync(db, b->s, 0);
    }
    if (wrote) vt_db_poison(db, err); /* the file may hold the commit, or not  */
    if (!err) {
        db->mine = 1;
        vt_db_publish(db, b->s);
        b->s = NULL;
    }
    vt_free(o.p);
    return err;
}

/* Waits for the sketch in the making, which reads rows of the batch, and drops it. A
   forked child has no such thread. */
static void vt_batch_idle(vtag_batch *b) {
    if (b->sealer.e.base && b->o.run && !vt_forked(b->db)) b->o.wait(b->o.run_ctx);
    vt_sealer_drop(&b->sealer);
}

static void vt_batch_free(vtag_batch *b) {
    size_t i;
    vt_batch_idle(b);
    for (i = 0; i < b->nsegw; i++) {
        vt_free(b->segw[i].rec.buf);
        vt_free(b->segw[i].vec.buf);
    }
    for (i = 0; i < 3; i++) vt_free(b->tail[i].buf);
    for (i = 0; i < b->ntabs; i++) {
        vt_free(b->tabs[i].e);
        vt_free(b->tabs[i].slot);
    }
    vt_free(b->segw);
    vt_free(b->tabs);
    vt_free(b->kills);
    vt_free(b->ranges);
    vt_free(b->events);
    vt_free(b->blobs.p);
    vt_free(b->scratch.p);
    vt_state_drop(b->s);
    vt_free(b);
}

static void vt_db_hold(vtag_db *db, uintptr_t thread) {
    vt_spin_lock(&db->spin);
    db->holder = thread;
    vt_spin_unlock(&db->spin);
}

/* Whether this thread holds the handle's batch, so that waiting for its end would not end. */
static int vt_db_mine(vtag_db *db) {
    vt_spin_lock(&db->spin);
    int mine = db->holder && db->holder == vt_os_thread();
    vt_spin_unlock(&db->spin);
    return mine;
}

static void vt_db_unlock(vtag_db *db) {
    vt_db_hold(db, 0);
    vt_spin_lock(&db->gate);
    db->writing = 0;
    vt_spin_unlock(&db->gate);
    if (!db->file->kept) db->env.io->unlock(db->file->f, VTAG_LOCK_WRITER);
    vt_atomic_store(&db->busy, 0);
}

#define VT_WAIT  5000u  /* ms for another writer, where the caller does not say */
#define VT_TURNS 8u     /* files that may take each other's place at a path, at least */
#define VT_WAITS 10000u /* ms for another writer, of calls that work long anyway */

/* What is left of a wait that began at `since`, ms. */
static uint32_t vt_wait_left(uint32_t wait_ms, uint64_t since) {
    if (wait_ms == VTAG_NONE) return 0;
    uint64_t gone = vt_os_steady_ms() - since;
    return gone < wait_ms ? wait_ms - (uint32_t)gone : 0;
}

/* Takes the handle for one batch at a time. */
static vtag_err vt_db_busy(vtag_db *db, uint32_t wait_ms, uint64_t since) {
    while (!vt_atomic_cas(&db->busy, 0, 1)) {
        if (!vt_wait_left(wait_ms, since)) return VTAG_LOCKED;
        vt_os_sleep_us(200);
    }
    return VTAG_OK;
}

/* Takes the writer's lock, and queues for it fairly: who waits holds the turn. */
static vtag_err vt_file_lock(vt_file *f, uint32_t wait_ms, uint64_t since) {
    const vtag_io *io = f->env.io;
    if (f->kept) return VTAG_OK;
    vtag_err err = io->lock(f->f, VTAG_LOCK_TURN, vt_wait_left(wait_ms, since));
    if (err) return err;
    err = io->lock(f->f, VTAG_LOCK_WRITER, vt_wait_left(wait_ms, since));
    io->unlock(f->f, VTAG_LOCK_TURN);
    return err;
}

/* With f's lock held: catches up with f, or with what took its place at the path.
   *ready: f is the file to write. */
static vtag_err vt_db_catch_up(vtag_db *db, vt_file *f, int *ready) {
    vtag_err err = db->poison;
    if (err) return vt_refuse(db, err, "writing failed before; open the file again");
    if (db->file != f) return VTAG_OK; /* another thread found it first */
    if (!db->env.io->same(f->f, db->path)) return vt_db_reopen(db, 0);
    err = vt_db_refresh(db, 1);
    *ready = db->writing = !err && db->file == f;
    return err;
}

/* Refuses for a writer that is at work, and says which process that is. */
static vtag_err vt_db_locked(vtag_db *db) {
    char text[96] = "process ", *p = text + strlen(text);
    uint64_t pid, unit = 1;
    vt_spin_lock(&db->gate);
    vt_file *f = vt_file_hold(db->file);
    vt_spin_unlock(&db->gate);
    pid = f->env.io->holder ? f->env.io->holder(f->f, VTAG_LOCK_WRITER) : 0;
    vt_file_drop(f);
    if (!pid) return vt_refuse(db, VTAG_LOCKED, "another writer is at work");
    while (pid / unit >= 10) unit *= 10;
    for (; unit; unit /= 10) *p++ = (char)('0' + pid / unit % 10);
    memcpy(p, " has the lock", sizeof " has the lock");
    return vt_refuse(db, VTAG_LOCKED, text);
}

/* Takes the writer's lock of the file that the path names, and catches up with it. */
static vtag_err vt_db_lock(vtag_db *db, uint32_t wait_ms) {
    uint64_t since = vt_os_steady_ms();
    uint32_t turns = 0;
    int ready = 0;
    vtag_err err = vt_db_busy(db, wait_ms, since);
    if (err) return vt_db_locked(db);
    while (!err && !ready) {
        vt_file *f;
        vt_spin_lock(&db->gate);
        f = vt_file_hold(db->file);
        vt_spin_unlock(&db->gate);
        err = vt_file_lock(f, wait_ms, since);
        if (!err) {
            vt_spin_lock(&db->gate);
            err = vt_db_catch_up(db, f, &ready);
            vt_spin_unlock(&db->gate);
            if (!ready) f->env.io->unlock(f->f, VTAG_LOCK_WRITER);
        }
        vt_file_drop(f);
        if (!err && !ready && ++turns > VT_TURNS && !vt_wait_left(wait_ms, since))
            err = vt_refuse(db, VTAG_IO, "the file at the path is never the one that was opened");
        if (!err && turns > VT_TURNS) vt_os_sleep_us(1000);
    }
    if (err) vt_atomic_store(&db->busy, 0);
    return err == VTAG_LOCKED ? vt_db_locked(db) : err;
}

/* Whether the caller may ask for the lock; `mine`: the answer to who has it already. */
static vtag_err vt_db_writable(vtag_db *db, vtag_err mine) {
    vtag_err err = vt_db_ready(db);
    if (err) return err;
    if (db->env.read_only) return vt_refuse(db, VTAG_READONLY, "the handle is open read-only");
    return vt_db_mine(db) ? vt_refuse(db, mine, "this thread holds a batch; end it first")
                          : VTAG_OK;
}

VTAG_API vtag_err vtag_begin(vtag_db *db, const vtag_begin_opts *opts, vtag_batch **out) {
    vtag_begin_opts zero = VT_ZERO;
    vtag_batch *b;
    vtag_err err = vt_db_ready(db);
    if (out) *out = NULL;
    if (!opts) opts = &zero;
    if (!err && !out) err = vt_refuse(db, VTAG_ARG, "b: no place for the batch");
    if (!err && !opts->run != !opts->wait)
        err = vt_refuse(db, VTAG_ARG, "opts->run and opts->wait: one needs the other");
    if (!err && !vt_within(opts->by, VT_NAME_MAX))
        err = vt_refuse(db, VTAG_ARG, "opts->by: at most 255 bytes");
    if (err) return err;
    VTAG_ASSERT(vt_rounds());
    b = (vtag_batch *)vt_zalloc(sizeof *b);
    if (!b) return VTAG_NOMEM;
    err = vt_db_writable(db, VTAG_LOCKED);
    if (!err) err = vt_db_lock(db, opts->wait_ms ? opts->wait_ms : VT_WAIT);
    if (err) {
        vt_free(b);
        return err;
    }
    vt_atomic_add(&db->refs, 1);
    vt_db_hold(db, vt_os_thread());
    b->db = db;
    b->thrifty = 1;
    b->o = *opts;
    b->restore = b->o.restore;
    if (opts->by && db->file->version >= 3) strcpy(b->by, opts->by);
    b->o.by = NULL;
    b->now = db->env.io->now(db->env.io->ctx);
    b->s = vt_state_clone(db->state);
    if (!b->s) err = VTAG_NOMEM;
    if (!err && b->restore && (b->s->tags.n || b->s->index.n))
        err = vt_refuse(db, VTAG_ARG, "opts->restore: the file is not empty");
    if (err) {
        vt_db_unlock(db);
        vt_batch_free(b);
        vt_db_drop(db);
        return err;
    }
    *out = b;
    return VTAG_OK;
}

/* Gives the lock back and forgets what was not committed. */
static void vt_batch_end(vtag_batch *b) {
    vtag_db *db = b->db;
    vt_batch_idle(b);
    vt_file_trim(db->file, db->state->head.end);
    vt_db_unlock(db);
    vt_batch_free(b);
}

/* Commits, or drops, and gives the lock back; the handle stays. */
static vtag_err vt_batch_commit(vtag_batch *b) {
    vtag_err err = b->err;
    if (!err && b->changed) err = vt_commit_try(b);
    vt_batch_end(b);
    return err;
}

/* Checkpoints, so that the log is short. */
static vtag_err vt_db_seal(vtag_db *db, uint32_t wait_ms) {
    vtag_begin_opts opts = VT_ZERO;
    vtag_batch *b;
    vtag_err err;
    opts.wait_ms = wait_ms;
    err = vtag_begin(db, &opts, &b);
    if (err) return err;
    b->seal = b->sketch = 1;
    b->changed = b->s->records > 0;
    err = vt_batch_commit(b);
    vt_db_drop(db);
    return err;
}

/* What a clean end is worth: a short log, and lazy commits named in a slot. */
static void vt_db_tidy(vtag_db *db) {
    if (db->env.read_only || db->poison || !db->state || !db->path) return;
    if (db->state->log > 65536) vt_db_seal(db, VTAG_NONE);
    if (!db->unsynced || vt_db_lock(db, 1000)) return;
    if (db->unsynced && db->durability == VTAG_NO_SYNC) {
        vt_slot_fill(&db->slot, db->state);
        db->slot.flags |= VTF_UNSYNCED;
        vt_slot_write(db->file, &db->slot);
    } else if (db->unsynced) {
        vt_commit_sync(db, db->state, 1);
    }
    db->unsynced = 0;
    vt_db_unlock(db);
}

/* The batch lets go of the handle, which was perhaps closed meanwhile. */
static void vt_batch_leave(vtag_db *db) {
    if (vt_atomic_load(&db->closed)) vt_db_tidy(db);
    vt_db_drop(db);
}

VTAG_API void vtag_abort(vtag_batch *b) {
    vtag_db *db = b ? b->db : NULL;
    if (!b) return;
    if (vt_forked(db)) {
        vt_batch_free(b);
        vt_db_drop(db);
    } else {
        vt_batch_end(b);
        vt_batch_leave(db);
    }
}

VTAG_API vtag_err vtag_commit(vtag_batch *b) {
    vtag_db *db = b ? b->db : NULL;
    vtag_err err = vt_db_ready(db);
    if (err) return err;
    if (b->err) vt_refuse(db, b->err, "a call of this batch failed; nothing is committed");
    err = vt_batch_commit(b);
    vt_batch_leave(db);
    return err;
}

VTAG_API void vtag_close(vtag_db *db) {
    if (db && !vt_forked(db)) {
        vt_atomic_store(&db->closed, 1);
        if (!vt_atomic_load(&db->busy)) vt_db_tidy(db);
    }
    vt_db_drop(db);
}

VTAG_API vtag_err vtag_flush(vtag_db *db) {
    vtag_err err = vt_db_writable(db, VTAG_ARG);
    if (!err) err = vt_db_lock(db, VT_WAITS);
    if (err) return err;
    if (db->unsynced) err = vt_commit_sync(db, db->state, 1);
    else err = vt_file_name(db->file);
    if (!err && !db->unsynced) err = vt_file_sync(db->file);
    vt_db_poison(db, err);
    vt_db_unlock(db);
    return err;
}

/* Commits a sketch that was made of a snapshot. *moved: the file was compacted since, which
   sketches by itself. */
static vtag_err vt_db_sketch(vtag_db *db, const vt_state *of, vt_sealer *l, int *moved) {
    vtag_begin_opts opts;
    vtag_batch *b;
    vtag_err err;
    memset(&opts, 0, sizeof opts);
    opts.wait_ms = VT_WAITS;
    err = vtag_begin(db, &opts, &b);
    if (err) return err;
    *moved = b->s->file != of->file;
    if (!*moved && b->s->rows.a[l->seg].f.sketch == of->rows.a[l->seg].f.sketch)
        vt_fail(b, vt_sealer_put(b, l));
    return vtag_commit(b);
}

VTAG_API vtag_err vtag_seal(vtag_db *db, vtag_progress *progress, void *ctx) {
    uint64_t done = 0, total = 1;
    vtag_snap *snap;
    vt_sealer l;
    vtag_err err;
    size_t i;
    int moved = 0;
    err = vt_db_writable(db, VTAG_ARG);
    if (!err) err = vtag_snapshot(db, &snap);
    if (err) return err;
    for (i = 0; i < snap->state->rows.n; i++)
        if (vt_sketch_due(snap->state, &snap->state->rows.a[i], 1))
            total += snap->state->rows.a[i].f.rows;
    for (i = 0; i < snap->state->rows.n && !err && !moved; i++) {
        if (!vt_sketch_due(snap->state, &snap->state->rows.a[i], 1)) continue;
        if (progress && progress(ctx, done, total)) err = VTAG_CANCELLED;
        if (!err) err = vt_sealer_begin(&l, db->kernels, snap->state, (uint32_t)i);
        if (err) break;
        vt_sealer_work(&l);
        err = vt_db_sketch(db, snap->state, &l, &moved);
        vt_sealer_drop(&l);
        done += snap->state->rows.a[i].f.rows;
    }
    vtag_release(snap);
    if (!err && progress && progress(ctx, done, total)) err = VTAG_CANCELLED;
    if (!err) err = vt_db_seal(db, VT_WAITS);
    if (!err && progress) progress(ctx, total, total);
    return err;
}

/* ---- Items ------------------------------------------------------------------------------------ */

/* ARG, or what poisoned the batch. */
static vtag_err vt_batch_ready(const vtag_batch *b) {
    vtag_err err = vt_db_ready(b ? b->db : NULL);
    if (err || !b->err) return err;
    return vt_deny(b, b->err, "an earlier call of this batch failed; it can only be aborted");
}

/* The same, where the call also needs `good`. */
static vtag_err vt_batch_needs(const vtag_batch *b, int good, const char *why) {
    vtag_err err = vt_batch_ready(b);
    return err || good ? err : vt_deny(b, VTAG_ARG, why);
}

/* Why a tag cannot be asked or written, said; or OK. */
static vtag_err vt_batch_tag(const vtag_batch *b, vtag_tag tag, const char *what) {
    vtag_err err = vt_tag_live(vt_tags_get(&b->s->tags, tag));
    return err ? vt_deny(b, err, what) : VTAG_OK;
}

/* An item's id from its id or key; ARG: neither is good, or they differ. */
static vtag_err vt_item_id(const vtag_batch *b, const vtag_item *item, uint64_t *id) {
    *id = item->id;
    if (item->key) {
        size_t n = strlen(item->key);
        if (!n || n > VT_NAME_MAX) return vt_deny(b, VTAG_ARG, "item->key: 1 to 255 bytes");
        *id = vtag_id(item->key);
        if (item->id && item->id != *id && item->of != item->id + 1)
            return vt_deny(b, VTAG_ARG, "item->id: neither 0 nor what vtag_id makes of item->key");
    }
    return *id == UINT64_MAX ? vt_deny(b, VTAG_ARG, "item->id: UINT64_MAX is no id") : VTAG_OK;
}

/* The revision that a caller expects of an id; 0: any. One that came with another id's item,
   which is used again, says nothing. */
static uint64_t vt_item_rev(const vtag_item *item, uint64_t id) {
    return item->of && item->of != id + 1 ? 0 : item->rev;
}

static vtag_err vt_vecs_check(vtag_batch *b, const vtag_vec *v, size_t n) {
    size_t i;
    if (n && !v) return vt_deny(b, VTAG_ARG, "v: no vectors, where n says there are");
    if (n > 1u << 20) return vt_deny(b, VTAG_ARG, "n: at most 1,048,576 vectors an item");
    VTAG_ASSERT(vt_rounds());
    for (i = 0; i < b->s->tags.n; i++) b->s->tags.a[i].given = 0;
    for (i = 0; i < n; i++) {
        vt_tag *t = vt_tags_get(&b->s->tags, v[i].tag);
        vtag_err err = vt_tag_live(t);
        float norm;
        VT_COUNT();
        if (err) return vt_deny_at(b, err, "v", i, "tag: not declared, or retired");
        if (v[i].dim != t->f.dim) return vt_deny_at(b, VTAG_DIM, "v", i, "dim: not its tag's");
        if (!v[i].x) return vt_deny_at(b, VTAG_ARG, "v", i, "x: no numbers");
        if (!vt_finite(v[i].x, v[i].dim))
            return vt_deny_at(b, VTAG_VALUE, "v", i, "x: holds NaN or infinity");
        t->given++;
        if (t->f.metric != VTAG_COSINE && t->f.codec == VTAG_F32) continue;
        if (!vt_batch_encode(b, t, v[i].x, &norm)) return vt_fail(b, VTAG_NOMEM);
        if ((t->f.codec == VTAG_F16 && !vt_half_fits(v[i].x, v[i].dim)) ||
            (t->f.codec == VTAG_I8 && !vt_i8_fits(v[i].x, v[i].dim)))
            return vt_deny_at(b, VTAG_VALUE, "v", i, "x: a number too large for its tag's codec");
        if (t->f.metric == VTAG_COSINE && !(norm >= VT_MIN_NORM && norm <= VT_MAX_NORM))
            return vt_deny_at(b, VTAG_VALUE, "v", i, "x: no norm that cosine could divide by");
    }
    return VTAG_OK;
}

/* The stored blob of an item, NULL if it has none; *err: it is damaged. */
static const vtf_blob *vt_item_blob(vtag_batch *b, const vtf_entry *e, vtag_err *err) {
    const vtf_blob *blob;
    if (!e || !e->at) return NULL;
    *err = vt_fail(b, vt_stream_flush(b, &b->tail[0]));
    blob = *err ? NULL : vt_blob_get(b->s->file, e, VTF_S_ITEMS);
    if (!blob && !*err) *err = vt_fail(b, vt_say(&b->db->env, VTAG_CORRUPT, "item damaged", e->at));
    return blob;
}

static int vt_payload_equal(const vtag_item *item, const vtf_blob *blob) {
    return blob && blob->data == item->size && item->size &&
           !memcmp(vt_blob_data(blob), item->data, item->size);
}

/* Whether the vectors given, v[n], equal the fresh stored ones under every tag. */
static int vt_vecs_equal(vtag_batch *b, const vtf_entry *item, const vtag_vec *v, size_t n) {
    for (size_t i = 0; i < b->s->tags.n; i++) {
        vtag_tag tag = b->s->tags.a[i].f.tag;
        vt_group g;
        if (!b->s->tags.a[i].given) continue;
        const vtf_entry *e = vt_batch_get(b, VTF_S_ROWS, tag, item->id);
        if (!e || e->rev != item->rev || !vt_group_of(&b->s->rows, tag, e, &g)) return 0;
        if (!vt_group_equal(b, tag, &g, v, n)) return 0;
    }
    return 1;
}

/* Whether a put leaves the content, and so the revision, as it is. */
static int vt_put_keeps(vtag_batch *b, const vtag_item *item, const vtf_entry *old,
                        const vtf_blob *blob, const vtag_vec *v, size_t n) {
    int none = !blob || !blob->data;
    if (!old || b->restore) return 0;
    if (vt_payload_equal(item, blob)) return 1;
    if (item->data && (item->size || !none)) return 0;
    return vt_vecs_equal(b, old, v, n);
}

/* Stores key and payload if they differ from the stored; *at: where they lie. */
static vtag_err vt_put_blob(vtag_batch *b, const vtag_item *item, uint64_t id, const vtf_entry *old,
                            const vtf_blob *blob, uint64_t *at) {
    const char *key = item->key ? item->key : blob && blob->name ? vt_blob_name(blob) : "";
    vtf_blob w = vt_blob_of(VTF_S_ITEMS, id, strlen(key), item->data ? item->size : 0);
    *at = old ? old->at : 0;
    if (old && (!item->data || vt_payload_equal(item, blob))) return VTAG_OK;
    if (!w.name && !w.data) {
        *at = 0;
        return VTAG_OK;
    }
    return vt_batch_blob(b, &w, key, item->data, at);
}

/* Writes the groups of v[n], tag by tag, that are not as they should be already. */
static vtag_err vt_put_groups(vtag_batch *b, uint64_t id, uint64_t rev, int kept, const vtag_vec *v,
                              size_t n) {
    vtag_err err = VTAG_OK;
    for (size_t i = 0; i < b->s->tags.n && !err; i++) {
        vtag_tag tag = b->s->tags.a[i].f.tag;
        vt_group g;
        if (!b->s->tags.a[i].given) continue;
        const vtf_entry *was = vt_batch_any(b, VTF_S_ROWS, tag, id), *e = vt_alive(was);
        if (kept && e && e->rev == rev && vt_group_of(&b->s->rows, tag, e, &g) &&
            vt_group_equal(b, tag, &g, v, n))
            continue;
        err = vt_group_put(b, tag, was, id, rev, v, n);
        if (err || kept || b->restore) continue;
        vt_tab *t = vt_batch_tab_make(b, VTF_S_ROWS, tag);
        if (!t) return VTAG_NOMEM;
        t->gave++;
        b->s->tags.a[i].f.with++;
    }
    return err ? err : b->err;
}

/* Whether a first payload may be added to an item without a new revision. */
static vtag_err vt_put_same(const vtag_batch *b, const vtag_item *item, const vtf_entry *old,
                            const vtf_blob *blob) {
    if (!(item->state & VTAG_SAME) || b->restore) return VTAG_OK;
    if (!old) return vt_deny(b, VTAG_NOTFOUND, "item: there is none of this id or key");
    if (!item->data || !item->size)
        return vt_deny(b, VTAG_ARG, "item->data: VTAG_SAME wants a payload");
    return !blob || !blob->data || vt_payload_equal(item, blob)
               ? VTAG_OK
               : vt_deny(b, VTAG_EXISTS, "item->data: the item has another payload already");
}

/* Writes the item's entry where its content is another, or (e->rev kept) its first payload. */
static vtag_err vt_put_item(vtag_batch *b, const vtag_item *item, const vtf_entry *was,
                            const vtf_blob *blob, vtf_entry *e) {
    const vtf_entry *old = vt_alive(was);
    int kept = old && e->rev == old->rev && !b->restore;
    if (kept && (!(item->state & VTAG_SAME) || vt_payload_equal(item, blob))) return VTAG_OK;
    vtag_err err = vt_put_blob(b, item, e->id, old, blob, &e->at);
    if (!err) err = vt_batch_swap(b, VTF_S_ITEMS, 0, was, e);
    if (e->rev > b->s->head.revision) b->s->head.revision = e->rev;
    if (!kept && !b->restore) b->s->head.puts++;
    return err;
}

VTAG_API vtag_err vtag_put(vtag_batch *b, vtag_item *item, const vtag_vec *v, size_t n) {
    const vtf_entry *was, *old;
    const vtf_blob *blob;
    vtf_entry e;
    uint64_t id, rev;
    int kept;
    vtag_err err = vt_batch_needs(b, item != NULL, "item: missing");
    if (!err) err = vt_item_id(b, item, &id);
    if (!err && b->restore && (!item->rev || item->rev > VT_COUNTED))
        err = vt_deny(b, VTAG_ARG, "item->rev: a restore gives the old one");
    if (!err) err = vt_vecs_check(b, v, n);
    if (err) return err;
    rev = vt_item_rev(item, id);
    was = vt_batch_any(b, VTF_S_ITEMS, 0, id);
    old = vt_alive(was);
    blob = vt_item_blob(b, old, &err);
    if (err) return err;
    if (old && item->key && (!blob || strcmp(vt_blob_name(blob), item->key)))
        return vt_deny(b, VTAG_EXISTS, "item->key: the id that it makes has another key, or none");
    if (rev && !b->restore && (!old || old->rev != rev))
        return vt_deny(b, VTAG_CHANGED, "item->rev: not what the item has now");
    err = vt_put_same(b, item, old, blob);
    if (err) return err;
    b->thrifty = 0;
    kept = (item->state & VTAG_SAME && !b->restore) || vt_put_keeps(b, item, old, blob, v, n);
    if (b->err) return b->err;
    e = kept ? *old
             : vt_entry_of(id, b->restore ? item->rev : b->s->head.revision + 1, 0,
                           b->restore ? item->time : b->now);
    err = vt_put_item(b, item, was, blob, &e);
    if (!err) err = vt_put_groups(b, id, e.rev, kept, v, n);
    if (err) return vt_fail(b, err);
    item->id = id;
    item->rev = e.rev;
    item->of = id + 1;
    return VTAG_OK;
}

VTAG_API vtag_err vtag_fill(vtag_batch *b, const vtag_item *item, const vtag_vec *v, size_t n) {
    const vtf_entry *old;
    uint64_t id;
    vtag_err err = vt_batch_needs(b, item != NULL, "item: missing");
    if (!err) err = vt_item_id(b, item, &id);
    if (!err && !item->rev)
        err = vt_deny(b, VTAG_ARG, "item->rev: say which revision was embedded");
    if (!err && (!n || !v)) err = vt_deny(b, VTAG_ARG, "v: no vectors");
    if (!err) err = vt_vecs_check(b, v, n);
    if (!err && vt_tags_get(&b->s->tags, v[0].tag)->given != n)
        err = vt_deny(b, VTAG_ARG, "v: vectors of several tags");
    if (err) return err;
    old = vt_batch_get(b, VTF_S_ITEMS, 0, id);
    if (!old) return vt_deny(b, VTAG_NOTFOUND, "item: there is none of this id or key");
    if (b->restore ? item->rev > old->rev : item->rev != old->rev)
        return vt_deny(b, VTAG_CHANGED, "item->rev: not what the item has now");
    b->thrifty = 0;
    return vt_fail(b, vt_put_groups(b, id, item->rev, 1, v, n));
}

static vtag_event vt_event_of(const vtag_batch *b, vtag_kind kind, vtag_tag tag, vtag_tag base) {
    vtag_event e = VT_ZERO;
    e.kind = kind;
    e.tag = tag;
    e.base = base;
    e.commit = b->s->head.commit;
    e.by = *b->by ? b->by : NULL;
    return e;
}

/* Adds an event to the batch: to ITEMS, or (role) to the record itself. */
static vtag_err vt_event_add(vtag_batch *b, const vtag_event *e, int role) {
    uint64_t seq = b->restore ? e->seq : b->s->head.event + 1;
    vtf_entry entry = vt_entry_of(seq, b->s->head.commit + 1, 0, (uint64_t)e->kind << 32 | e->tag);
    vtag_event stamped = *e;
    vtf_blob blob;
    vt_out data = VT_ZERO;
    vtag_err err;
    if (!b->restore) stamped.time = b->now;
    vt_event_pack(&data, &stamped);
    blob = vt_blob_of(VTF_S_EVENTS, seq, e->name ? strlen(e->name) : 0, data.n);
    err = data.err;
    if (!err && !role) err = vt_batch_blob(b, &blob, e->name, data.p, &entry.at);
    if (!err && role) {
        entry.at = b->blobs.n;
        vt_blob_put(&b->blobs, &blob, e->name, data.p);
        err = b->blobs.err;
        if (!err) err = vt_append(&b->events, &b->nevents, &b->cevents, &entry, sizeof entry);
    }
    vt_free(data.p);
    if (!err && !role) err = vt_batch_set(b, VTF_S_EVENTS, 0, &entry);
    if (!err && seq > b->s->head.event) b->s->head.event = seq;
    b->changed = 1;
    return vt_fail(b, err);
}

VTAG_API vtag_err vtag_waive(vtag_batch *b, const vtag_item *item, vtag_tag tag, const char *why) {
    const vtf_entry *old;
    vtf_blob blob;
    vtf_entry e;
    vtag_event event;
    uint64_t id;
    vtag_err err = vt_batch_needs(b, item != NULL, "item: missing");
    if (!err) err = vt_item_id(b, item, &id);
    if (!err) err = vt_batch_tag(b, tag, "tag: not declared, or retired");
    if (!err && why && (!*why || strlen(why) > VT_REASON_MAX))
        err = vt_deny(b, VTAG_ARG, "why: 1 to 1,024 bytes, or NULL");
    if (err) return err;
    old = vt_batch_get(b, VTF_S_ITEMS, 0, id);
    if (!old) return vt_deny(b, VTAG_NOTFOUND, "item: there is none of this id or key");
    if (vt_item_rev(item, id) && item->rev != old->rev)
        return vt_deny(b, VTAG_CHANGED, "item->rev: not what the item has now");
    e = vt_entry_of(id, old->rev, VTF_DEAD, b->restore ? item->time : b->now);
    if (!why && !vt_batch_get(b, VTF_S_WAIVERS, tag, id)) return VTAG_OK;
    b->thrifty = 0;
    event = vt_event_of(b, VTAG_K_WAIVED, tag, 0);
    event.text = why ? why : "lifted";
    event.queries = id;
    blob = vt_blob_of(VTF_S_WAIVERS, id, 0, why ? strlen(why) : 0);
    if (why) err = vt_batch_blob(b, &blob, "", why, &e.at);
    if (!err) err = vt_batch_set(b, VTF_S_WAIVERS, tag, &e);
    if (!err && !b->restore) err = vt_event_add(b, &event, 0);
    return vt_fail(b, err);
}

VTAG_API vtag_err vtag_del(vtag_batch *b, uint64_t id) {
    vtf_entry e = vt_entry_of(id, 0, VTF_DEAD, 0);
    vtag_err err = vt_batch_ready(b);
    size_t i;
    if (err) return err;
    if (!vt_batch_get(b, VTF_S_ITEMS, 0, id))
        return vt_deny(b, VTAG_NOTFOUND, "id: there is no such item");
    for (i = 0; i < b->s->tags.n && !err; i++) {
        vtag_tag tag = b->s->tags.a[i].f.tag;
        const vtf_entry *old = vt_batch_get(b, VTF_S_ROWS, tag, id);
        vt_group g;
        if (!old || b->s->tags.a[i].f.role == VTAG_GONE) continue;
        if (!vt_group_of(&b->s->rows, tag, old, &g))
            err = vt_say(&b->db->env, VTAG_CORRUPT, "index entry points nowhere", old->at);
        if (!err) err = vt_batch_kill(b, g.seg->f.number, g.row, g.parts);
        if (!err) err = vt_batch_set(b, VTF_S_ROWS, tag, &e);
    }
    if (!err) err = vt_batch_set(b, VTF_S_ITEMS, 0, &e);
    if (!err && vt_batch_get(b, VTF_S_FACTS, 0, id)) err = vt_batch_set(b, VTF_S_FACTS, 0, &e);
    return vt_fail(b, err);
}

/* ---- Metadata, tags, policy ----------------------------------------------------------------------- */

/* Metadata of a name; NULL: none. *clash: another name has its hash. */
static const vtf_blob *vt_meta_find(vt_file *f, const vtf_entry *e, const char *name, int *clash) {
    const vtf_blob *blob = e ? vt_blob_get(f, e, VTF_S_NAMES) : NULL;
    *clash = e && (!blob || strcmp(vt_blob_name(blob), name));
    return *clash ? NULL : blob;
}

VTAG_API vtag_err vtag_meta_set(vtag_batch *b, const char *name, const void *p, size_t n) {
    const vtf_entry *old;
    vtf_blob blob;
    vtf_entry e;
    int clash;
    vtag_err err =
        vt_batch_needs(b, name && *name && strlen(name) <= VT_NAME_MAX, "name: 1 to 255 bytes");
    if (err) return err;
    e = vt_entry_of(vt_xxh64(name, strlen(name)), 0, VTF_DEAD, 0);
    if (e.id == UINT64_MAX) return vt_deny(b, VTAG_ARG, "name: its hash is reserved; take another");
    old = vt_batch_get(b, VTF_S_NAMES, 0, e.id);
    err = vt_fail(b, vt_stream_flush(b, &b->tail[0]));
    if (err) return err;
    if (old && !vt_blob_get(b->s->file, old, VTF_S_NAMES))
        return vt_fail(b, vt_say(&b->db->env, VTAG_CORRUPT, "metadata damaged", old->at));
    vt_meta_find(b->s->file, old, name, &clash);
    if (clash) return vt_deny(b, VTAG_EXISTS, "name: another has the same hash; take another");
    if (!p && !old) return VTAG_OK;
    b->thrifty = 0;
    blob = vt_blob_of(VTF_S_NAMES, e.id, strlen(name), n);
    if (p) err = vt_batch_blob(b, &blob, name, p, &e.at);
    return vt_fail(b, err ? err : vt_batch_set(b, VTF_S_NAMES, 0, &e));
}

static vtag_err vt_spec_check(const vtag_batch *b, const vtag_spec *s) {
    size_t model, version;
    if (!s || !s->name) return vt_deny(b, VTAG_ARG, "spec->name: missing");
    if (!vt_name_split(s->name, &model, &version))
        return vt_deny(b, VTAG_NAME, "spec->name: model@version/preparation of a-z 0-9 . _ -");
    if (!s->dim || s->dim > VTF_MAX_DIM) return vt_deny(b, VTAG_ARG, "spec->dim: 1 to 32,768");
    if ((unsigned)s->metric > VTAG_L2SQ) return vt_deny(b, VTAG_ARG, "spec->metric: no such value");
    if ((unsigned)s->codec > VTAG_I8) return vt_deny(b, VTAG_ARG, "spec->codec: no such value");
    if (s->flags & ~(VTAG_ASSUMED | VTAG_NO_SKETCH))
        return vt_deny(b, VTAG_ARG, "spec->flags: no such flag");
    if (s->note && strlen(s->note) > VT_NOTE_MAX)
        return vt_deny(b, VTAG_ARG, "spec->note: at most 4,096 bytes");
    return VTAG_OK;
}

static int vt_spec_equal(const vt_tag *t, const vtag_spec *s) {
    return t->f.dim == s->dim && t->f.metric == (uint32_t)s->metric &&
           t->f.codec == (uint32_t)s->codec && (t->f.flags & ~VTF_LIFTED) == s->flags &&
           (!t->f.fingerprint || !s->fingerprint || t->f.fingerprint == s->fingerprint);
}

static vtag_err vt_tag_new(vtag_batch *b, const vtag_spec *s, vt_tag **out) {
    const char *note = s->note ? s->note : "";
    vtf_blob blob = vt_blob_of(0, 0, strlen(s->name), strlen(note));
    vt_tag t = VT_ZERO;
    vtag_err err;
    if (s->codec != VTAG_F32 && b->s->file->version < 2)
        return vt_say(&b->db->env, VTAG_FORMAT, "file of version 1 stores f32 only; compact it", 8);
    err = vt_tags_number(&b->s->tags, s->name, &t.f.tag);
    if (err)
        return vt_deny(b, err, "spec->name: no number left for its model, version or preparation");
    t.f.dim = s->dim;
    t.f.metric = (uint32_t)s->metric;
    t.f.codec = (uint32_t)s->codec;
    t.f.flags = s->flags;
    t.f.fingerprint = s->fingerprint;
    t.f.created = b->now;
    t.f.puts_from = b->s->head.puts;
    t.f.kept_from = b->s->head.clock;
    t.changed = 1;
    blob.id = t.f.tag;
    err = vt_batch_blob(b, &blob, s->name, note, &t.f.names);
    if (!err) err = vt_tag_text(&t, s->name, *note ? note : NULL, NULL);
    if (!err) err = vt_tags_add(&b->s->tags, &t);
    if (err) return vt_fail(b, err);
    b->changed = 1;
    b->thrifty = 0;
    *out = &b->s->tags.a[b->s->tags.n - 1];
    return VTAG_OK;
}

VTAG_API vtag_err vtag_declare(vtag_batch *b, const vtag_spec *spec, vtag_tag *tag) {
    vtag_event e;
    vt_tag *t;
    vtag_err err = vt_batch_ready(b);
    if (!err) err = vt_spec_check(b, spec);
    if (err) return err;
    t = vt_tags_find(&b->s->tags, spec->name);
    if (t) {
        if (t->f.role == VTAG_GONE)
            return vt_deny(b, VTAG_RETIRED, "spec->name: retired; its name is not given again");
        if (strcmp(t->name, spec->name))
            return vt_deny(b, VTAG_EXISTS, "spec->name: another tag answers to it");
        if (!vt_spec_equal(t, spec))
            return vt_deny(b, VTAG_EXISTS, "spec: not what was declared under this name");
        if (tag) *tag = t->f.tag;
        return VTAG_OK;
    }
    err = vt_tag_new(b, spec, &t);
    if (err) return err;
    if (b->s->tags.n == 1 && !b->restore) {
        b->s->head.active = t->f.tag;
        t->f.activated = b->now;
        t->f.order = b->s->head.event + 1;
    }
    e = vt_event_of(b, VTAG_K_DECLARED, t->f.tag, 0);
    e.name = spec->name;
    e.text = spec->note;
    if (tag) *tag = t->f.tag;
    return b->restore ? VTAG_OK : vt_event_add(b, &e, 0);
}

/* Writes a tag's texts with an alias. */
static vtag_err vt_tag_alias(vtag_batch *b, vt_tag *t, const char *alias) {
    size_t note = t->note ? strlen(t->note) : 0, n = note + 1 + strlen(alias);
    vtf_blob blob = vt_blob_of(0, t->f.tag, strlen(t->name), n);
    vt_buf *old = t->own;
    char *text = (char *)vt_alloc(n + 1);
    uint64_t at = 0;
    if (!text) return VTAG_NOMEM;
    memcpy(text, t->note ? t->note : "", note + 1);
    memcpy(text + note + 1, alias, n - note);
    vtag_err err = vt_batch_blob(b, &blob, t->name, text, &at);
    if (!err) err = vt_tag_text(t, t->name, t->note, alias);
    vt_free(text);
    if (err) return err;
    vt_buf_drop(old);
    t->f.names = at;
    t->f.alias = (uint32_t)strlen(alias) + 1;
    t->changed = b->changed = 1;
    b->s->head.flags &= ~(uint32_t)VTF_WHOLE;
    return VTAG_OK;
}

/* Whether a file is of version 3 or later, as some of what it is asked to hold needs. */
static vtag_err vt_batch_three(const vtag_batch *b, int needed) {
    if (!needed || b->s->file->version >= 3) return VTAG_OK;
    return vt_deny(b, VTAG_FORMAT,
                   "the file is of a version that cannot hold it; compact it first");
}

/* Orders tags by when they became active, below any event that is to come. */
static void vt_tags_rank(vt_tags *t) {
    size_t i, j;
    for (i = 0; i < t->n; i++)
        for (t->a[i].f.order = 0, j = 0; j < t->n; j++)
            t->a[i].f.order += t->a[j].f.activated < t->a[i].f.activated;
}

VTAG_API vtag_err vtag_restore_tag(vtag_batch *b, const vtag_info *info) {
    vtag_tag tag;
    vtf_tag *f;
    vtag_err err;
    err = vt_batch_needs(b, b && b->restore, "b: not a restore batch");
    if (!err && !info) err = vt_deny(b, VTAG_ARG, "info: missing");
    if (!err) err = vtag_declare(b, &info->spec, &tag);
    if (err) return err;
    f = &vt_tags_get(&b->s->tags, tag)->f;
    f->created = info->created;
    f->activated = info->activated;
    f->with = info->writes_with;
    f->puts_from = b->s->head.puts - info->writes_with - info->writes_without;
    f->kept_from = b->s->head.clock - info->kept_ms;
    if (info->role == VTAG_ACTIVE) b->s->head.active = tag;
    if (info->role == VTAG_STANDBY) b->s->head.standby = tag;
    f->role = VTAG_CANDIDATE;
    if (info->role == VTAG_GONE) f->role = VTAG_GONE;
    if (info->role == VTAG_OLDER || info->role == VTAG_STANDBY) f->role = VTAG_OLDER;
    f->forced_from = info->forced ? UINT32_MAX : 0;
    vt_tags_rank(&b->s->tags);
    if (info->written && vt_batch_written(b, tag, info->written)) return vt_fail(b, VTAG_NOMEM);
    return info->alias ? vt_fail(b, vt_tag_alias(b, vt_tags_get(&b->s->tags, tag), info->alias))
                       : VTAG_OK;
}

VTAG_API vtag_err vtag_restore_stat(vtag_batch *b, const vtag_stat *stat) {
    vtag_err err = vt_batch_needs(b, b && b->restore, "b: not a restore batch");
    if (!err && !stat) err = vt_deny(b, VTAG_ARG, "stat: missing");
    if (err) return err;
    if (stat->commit <= b->s->head.commit || stat->commit > VT_COUNTED)
        return vt_deny(b, VTAG_ARG, "stat->commit: not past this file's, or above 2^63");
    if (stat->revision > VT_COUNTED) return vt_deny(b, VTAG_ARG, "stat->revision: above 2^63");
    b->commit_as = stat->commit;
    b->s->head.time = stat->time;
    if (stat->revision > b->s->head.revision) b->s->head.revision = stat->revision;
    b->s->head.flags = (b->s->head.flags & VTF_WHOLE) | (stat->rolled_back ? VTF_ROLLED_BACK : 0);
    b->changed = 1;
    return VTAG_OK;
}

static vtag_err vt_state_policy(const vt_state *s, vtag_policy *p) {
    const vtf_entry *e = vt_space_get(vt_index_find(&s->index, VTF_S_POLICY, 0), 0);
    const vtf_blob *blob;
    vt_policy_default(p);
    if (!e) return VTAG_OK;
    blob = vt_blob_get(s->file, e, VTF_S_POLICY);
    if (blob && vt_policy_unpack(p, blob)) return VTAG_OK;
    return vt_say(&s->file->env, VTAG_CORRUPT, "policy damaged", e->at);
}

VTAG_API vtag_err vtag_policy_set(vtag_batch *b, const vtag_policy *policy, const char *reason) {
    vtag_policy p;
    vtf_entry e = vt_entry_of(0, 0, 0, 0);
    vtf_blob blob;
    vtag_event event;
    vt_out o = VT_ZERO;
    vtag_err err = vt_batch_needs(b, policy != NULL, "policy: missing");
    if (err) return err;
    if (!b->restore && (!reason || !*reason || strlen(reason) > VT_REASON_MAX))
        return vt_deny(b, VTAG_ARG, "reason: 1 to 1,024 bytes");
    vt_policy_default(&p);
    if (!vt_policy_resolve(&p, policy))
        return vt_deny(b, VTAG_ARG, "policy: a share above 1, NaN, or a name or hold too long");
    err = vt_batch_three(b, p.gate.min_audit_ppm || p.gate.min_recall_ppm);
    if (err) return err;
    vt_policy_pack(&o, &p);
    blob = vt_blob_of(VTF_S_POLICY, 0, 0, o.n);
    b->thrifty = 0;
    err = o.err ? o.err : vt_batch_blob(b, &blob, "", o.p, &e.at);
    vt_free(o.p);
    if (!err) err = vt_batch_set(b, VTF_S_POLICY, 0, &e);
    event = vt_event_of(b, VTAG_K_POLICY, 0, 0);
    event.text = reason;
    event.used = p.gate;
    if (!err && !b->restore) err = vt_event_add(b, &event, 0);
    return vt_fail(b, err);
}

/* ==== 16  Search ==================================================== >>search */

/* A scan answers queries on the rows of one tag, with ids, order and bits of a brute
   force by the score rule of chapter 7, whatever it leaves out.

   Rows without a sketch are scored block by block. Of rows with one, 16 are looked at
   together: their codes bound each row's similarity to each query (chapter 8). The floor
   of a query is a similarity that k rows are known to reach: the k-th best lower bound
   so far, or the k-th best score. A row whose upper bound is below the floor is no hit,
   not even by a tie, since bounds contain the score as it is computed; any other is a
   candidate. Candidates are scored in the end, the best upper bound first, until no
   bound reaches the k-th score. Where too many gather, they are scored early, which
   raises the floor; none is dropped unseen.

   Many queries at once are cheap enough a row for what comes before a floor is found to
   weigh; so some groups are looked at first, for their lower bounds alone. No row's
   bound is counted twice.

   Filters by id are asked before a row's codes are looked at; whether it is stale, only
   of a row that would be a candidate. */

#define VT_ROWS_AT_ONCE 32u     /* rows scored at once                               */
#define VT_CANDIDATES   524288u /* of all queries, before some are scored early; 6 MiB */
#define VT_IDS_AT_ONCE  4096u   /* of `only`, sorted by where their rows lie        */

#define VT_COMING 8u /* candidates whose rows are on their way from memory */

#define VT_MANY 8u     /* queries from which on some groups are looked at first */
#define VT_WARM 12288u /* rows of those, about                              */

typedef struct vt_cand {
    float up; /* upper bound of its similarity, rounded up                        */
    uint32_t seg, row;
} vt_cand;

typedef struct vt_ask { /* one query                                             */
    float *x;           /* x[pad]                                                */
    float norm;
    double floor;
    vt_top top;
    vt_best best; /* lower bounds                                                */
    vt_cand *cand;
    size_t n;
    vt_bound bound;
} vt_ask;

typedef struct vt_scan {
    const vt_state *s;
    const vt_tag *tag;
    const vtag_search_opts *o;
    const vt_kernels *k;
    vt_score_fn *score;
    vtag_metric metric;
    uint32_t pad, wide; /* of rows and queries; of codes                         */
    size_t nq, cands;   /* queries; candidates that each may have */
    uint32_t every;     /* one group of so many is looked at before; 0: none          */
    int warm;           /* that is being done                                         */
    vt_ask *ask;        /* ask[nq]                                                    */
    size_t blocks;      /* of 16 queries, which the tile kernel takes; the rest, cross  */
    int8_t *h;          /* h[nq * wide]: queries in terms of the segment at hand */
    int8_t *raw;        /* raw[16 * wide]: before they are interleaved; codes of a tile    */
    int32_t *dots;      /* dots[nq * VT_GROUP]                                        */
    float *v;           /* v[max(wide, VT_ROWS_AT_ONCE * pad)]: scratch               */
    vt_group *places;   /* of `only`, VT_IDS_AT_ONCE                               */
} vt_scan;

typedef struct vt_lot { /* up to 16 rows of one segment                          */
    uint32_t n, row[VT_GROUP];
    const vtf_factors *f;
    vtf_factors own; /* of rows that do not lie together                         */
} vt_lot;

/* Whether an item changed since revision rev of it was embedded. */
static int vt_stale(const vt_state *s, uint64_t id, uint64_t rev) {
    const vtf_entry *item = vt_state_item(s, id);
    return !item || item->rev != rev;
}

/* The similarity of a distance: what chapter 8 bounds. */
static double vt_similarity(vtag_metric m, float dist) {
    if (m == VTAG_COSINE) return 1 - (double)dist;
    return m == VTAG_DOT ? -(double)dist : -0.5 * (double)dist;
}

/* Raises a query's floor. Under cosine, distances below 0 are 0, so no floor is above 1. */
static void vt_ask_floor(const vt_scan *c, vt_ask *a, double floor) {
    if (c->metric == VTAG_COSINE && floor > 1) floor = 1;
    if (floor > a->floor) {
        a->floor = floor;
        vt_bound_floor(&a->bound, floor);
    }
}

/* ---- Rows ------------------------------------------------------------------------ */

static int vt_scan_kept(const vt_scan *c, const vtf_row *r) {
    return !c->o->keep || c->o->keep(c->o->keep_ctx, r->id);
}

static float vt_scan_dist(const vt_scan *c, const vt_ask *a, const vtf_row *r, double sum) {
    return vt_dist(c->metric, sum, a->norm, r->norm);
}

/* Takes in a row with which the filters by id are content. */
static void vt_scan_take(const vt_scan *c, vt_ask *a, const vtf_row *r, float dist) {
    vtag_hit h;
    if (!(dist <= VT_MAX_NORM) || !vt_top_wants(&a->top, dist)) return;
    if (c->o->max_dist && !(dist <= *c->o->max_dist)) return;
    if (c->o->fresh_only && vt_stale(c->s, r->id, r->rev)) return;
    h.id = r->id;
    h.dist = dist;
    h.part = r->part & 0x7FFFFFFFu;
    h.stale = 0;
    vt_top_push(&a->top, h);
    if (a->top.n == a->top.k) vt_ask_floor(c, a, vt_similarity(c->metric, a->top.hits[0].dist));
}

/* n rows from row on, decoded; where they lie, or in the scratch. */
static const float *vt_scan_decoded(const vt_scan *c, const vt_seg *s, uint32_t row, uint32_t n) {
    uint32_t i;
    if (c->tag->f.codec == VTAG_F32) return (const float *)(const void *)vt_vector(s, row);
    for (i = 0; i < n; i++)
        vt_decode(c->tag->f.codec, vt_vector(s, row + i), c->tag->f.dim, c->pad,
                  c->v + (size_t)i * c->pad);
    return c->v;
}

/* Scores rows [from, to), at most VT_ROWS_AT_ONCE; a filter by id is asked once of each. */
static void vt_scan_block(const vt_scan *c, const vt_seg *s, uint32_t from, uint32_t to) {
    const float *x = vt_scan_decoded(c, s, from, to - from);
    double sums[VT_ROWS_AT_ONCE];
    uint32_t asked = 0, kept = 0, i;
    size_t j;
    for (j = 0; j < c->nq; j++) {
        vt_ask *a = &c->ask[j];
        c->score(a->x, x, c->pad, to - from, sums);
        for (i = 0; i < to - from; i++) {
            const vtf_row *r = vt_row(s, from + i);
            float dist = vt_scan_dist(c, a, r, sums[i]);
            if (vt_row_dead(s, from + i) || !vt_top_wants(&a->top, dist)) continue;
            if (!(asked >> i & 1) && vt_scan_kept(c, r)) kept |= 1u << i;
            asked |= 1u << i;
            if (kept >> i & 1) vt_scan_take(c, a, r, dist);
        }
    }
}

static void vt_scan_rows(const vt_scan *c, const vt_seg *s, uint32_t from, uint32_t to) {
    for (; from < to; from += VT_ROWS_AT_ONCE)
        vt_scan_block(c, s, from, to - from < VT_ROWS_AT_ONCE ? to : from + VT_ROWS_AT_ONCE);
}

/* ---- Candidates --------------------------------------------------------------------- */

/* Puts h where the heap p[n], the best bound on top, has a hole at i, or below. */
static void vt_cand_sink(vt_cand *p, size_t n, size_t i, vt_cand h) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < n && p[child + 1].up > p[child].up) child++;
        if (child >= n || !(p[child].up > h.up)) break;
        p[i] = p[child];
        i = child;
    }
    p[i] = h;
}

/* Forgets the candidates that the floor has passed. */
static void vt_scan_sift(vt_ask *a) {
    size_t i, n = 0;
    for (i = 0; i < a->n; i++)
        if ((double)a->cand[i].up >= a->floor) a->cand[n++] = a->cand[i];
    a->n = n;
}

/* Takes the candidate of the best bound out of the heap, and asks memory for its row. */
static vt_cand vt_cand_pop(const vt_scan *c, vt_ask *a) {
    vt_cand best = a->cand[0];
    const vt_seg *s = &c->s->rows.a[best.seg];
    a->n--;
    vt_cand_sink(a->cand, a->n, 0, a->cand[a->n]);
    VT_PREFETCH(vt_row(s, best.row));
    vt_prefetch(vt_vector(s, best.row), s->stride);
    return best;
}

static void vt_scan_score(const vt_scan *c, vt_ask *a, const vt_cand *x) {
    const vt_seg *s = &c->s->rows.a[x->seg];
    double sum;
    c->score(a->x, vt_scan_decoded(c, s, x->row, 1), c->pad, 1, &sum);
    vt_scan_take(c, a, vt_row(s, x->row), vt_scan_dist(c, a, vt_row(s, x->row), sum));
}

/* Scores up to n candidates of a query, the best bound first, until none can be a hit. Some
   are under way from memory while one is scored. */
static void vt_scan_settle(const vt_scan *c, vt_ask *a, size_t n) {
    vt_cand coming[VT_COMING];
    size_t from = 0, to = 0, i;
    vt_scan_sift(a);
    for (i = a->n / 2; i-- > 0;) vt_cand_sink(a->cand, a->n, i, a->cand[i]);
    for (;;) {
        int more = to < n && a->n && (double)a->cand[0].up >= a->floor;
        if (more && to - from < VT_COMING) {
            coming[to++ % VT_COMING] = vt_cand_pop(c, a);
        } else {
            if (from == to) break;
            i = from++ % VT_COMING;
            if ((double)coming[i].up >= a->floor) vt_scan_score(c, a, &coming[i]);
        }
    }
}

/* Makes room for a candidate: scores more and more of the best until an eighth have no chance. */
static void vt_scan_room(const vt_scan *c, vt_ask *a) {
    size_t n;
    vt_scan_sift(a);
    for (n = 64; a->n > c->cands / 8 * 7; n *= 2) {
        vt_scan_settle(c, a, n);
        vt_scan_sift(a);
    }
}

/* Row r of a lot may be a hit for query j: bounds it more closely. */
static void vt_scan_offer(const vt_scan *c, size_t j, const vt_seg *s, const vt_lot *lot,
                          uint32_t r) {
    vt_ask *a = &c->ask[j];
    const vtf_row *row = vt_row(s, lot->row[r]);
    float lo, up;
    vt_bound_row(&a->bound, lot->f, r, c->dots[j * VT_GROUP + r], &lo, &up);
    if ((double)up < a->floor || (c->o->fresh_only && vt_stale(c->s, row->id, row->rev))) return;
    if (c->warm || !c->every || lot->row[r] / VT_GROUP % c->every) {
        vt_best_push(&a->best, lo);
        vt_ask_floor(c, a, (double)a->best.least);
    }
    if (c->warm) return;
    if (a->n == c->cands) vt_scan_room(c, a);
    a->cand[a->n].up = up;
    a->cand[a->n].seg = s->f.number;
    a->cand[a->n++].row = lot->row[r];
}

/* Looks at the rows of a lot, and empties it. */
static void vt_scan_lot(const vt_scan *c, const vt_seg *s, const vt_sketch *k, vt_lot *lot) {
    const uint8_t *codes[VT_GROUP];
    uint32_t used = (1u << lot->n) - 1, i, r;
    size_t j;
    for (i = 0; i < VT_GROUP; i++)
        codes[i] = k->codes + (size_t)lot->row[i < lot->n ? i : lot->n - 1] * (k->dim / 2);
    if (c->blocks) c->k->tile(codes, c->h, k->dim / 2, c->blocks, (uint8_t *)c->raw, c->dots);
    j = c->blocks * 16;
    c->k->cross(codes, c->h + j * c->wide, k->dim / 2, c->nq - j, c->dots + j * VT_GROUP);
    for (j = 0; j < c->nq; j++) {
        uint32_t hits = used & c->k->reach(lot->f, c->dots + j * VT_GROUP, &c->ask[j].bound.p);
        for (r = 0; r < lot->n && hits >> r; r++)
            if (hits >> r & 1) vt_scan_offer(c, j, s, lot, r);
    }
    lot->n = 0;
}

/* Adds one row to a lot of rows that do not lie together. */
static void vt_lot_add(const vt_scan *c, const vt_seg *s, const vt_sketch *k, vt_lot *lot,
                       uint32_t row) {
    const vtf_factors *f = &k->factors[row / VT_GROUP];
    uint32_t r = row % VT_GROUP, n = lot->n++;
    vt_prefetch(k->codes + (size_t)row * (k->dim / 2), k->dim / 2);
    lot->row[n] = row;
    lot->own.scale[n] = f->scale[r];
    lot->own.size[n] = f->size[r];
    lot->own.rest[n] = f->rest[r];
    lot->own.bias[n] = f->bias[r];
    lot->f = &lot->own;
    if (lot->n == VT_GROUP) vt_scan_lot(c, s, k, lot);
}

/* ---- Segments ----------------------------------------------------------------------- */

/* Fits the queries to a sketch; 0: one of them cannot be. */
static int vt_scan_fit(const vt_scan *c, const vt_sketch *k) {
    size_t j;
    uint32_t i;
    for (j = 0; j < c->nq; j++) {
        vt_ask *a = &c->ask[j];
        int8_t *h = j < c->blocks * 16 ? c->raw + j % 16 * c->wide : c->h + j * c->wide;
        float by = c->metric == VTAG_COSINE ? 1 / a->norm : 1;
        for (i = 0; i < c->tag->f.dim; i++) c->v[i] = a->x[i] * by;
        if (!vt_bound_fit(&a->bound, c->k, c->metric, k, c->tag->f.dim, c->v, h)) return 0;
        if (c->warm) { /* reach for rows whose lower bounds are likely to count          */
            a->bound.p.by_size = -a->bound.p.by_size;
            a->bound.p.by_rest = -a->bound.p.by_rest;
        }
        vt_bound_floor(&a->bound, a->floor);
        if (h == c->raw + 15 * c->wide) vt_interleave(c->raw, c->wide, c->h + (j - 15) * c->wide);
    }
    return 1;
}

/* Which of rows [g, g + n), inside a group of 16, live and are kept by the filter. */
static uint32_t vt_scan_mask(const vt_scan *c, const vt_seg *s, uint32_t g, uint32_t n) {
    uint32_t mask = (1u << n) - 1, i;
    if (s->bits) mask &= ~(uint32_t)(s->bits[g / 64] >> g % 64);
    for (i = 0; c->o->keep && i < n; i++)
        if (mask >> i & 1 && !vt_scan_kept(c, vt_row(s, g + i))) mask &= ~(1u << i);
    return mask;
}

/* Rows [from, to) of a segment, all of them sketched. A group of 16 is looked at where it
   lies; rows of others are gathered. */
static void vt_scan_sketch(const vt_scan *c, const vt_seg *s, const vt_sketch *k, uint32_t from,
                           uint32_t to) {
    vt_lot whole, few;
    uint32_t g, i, n, mask;
    memset(&few, 0, sizeof few);
    for (g = from; g < to; g += n) {
        n = (uint32_t)vt_min_u64(VT_GROUP - g % VT_GROUP, to - g);
        if (c->warm && g / VT_GROUP % c->every) continue;
        mask = vt_scan_mask(c, s, g, n);
        if (n == VT_GROUP && mask == 0xFFFF) {
            for (i = 0; i < VT_GROUP; i++) whole.row[i] = g + i;
            whole.n = VT_GROUP;
            whole.f = &k->factors[g / VT_GROUP];
            vt_scan_lot(c, s, k, &whole);
            continue;
        }
        for (i = 0; mask >> i; i++)
            if (mask >> i & 1) vt_lot_add(c, s, k, &few, g + i);
    }
    if (few.n) vt_scan_lot(c, s, k, &few);
}

/* Rows [from, to) of a segment. */
static void vt_scan_segment(const vt_scan *c, const vt_seg *s, uint32_t from, uint32_t to) {
    vt_sketch k;
    uint32_t raw = from;
    if (vt_seg_sketch(c->s->file, s, c->tag->f.dim, &k) && vt_scan_fit(c, &k)) {
        raw = k.rows < from ? from : k.rows < to ? k.rows : to;
        vt_scan_sketch(c, s, &k, from, raw);
    }
    if (!c->warm) vt_scan_rows(c, s, raw, to);
}

/* The caller's share [*from, *to) of n. */
static void vt_share(const vtag_search_opts *o, uint64_t n, uint64_t *from, uint64_t *to) {
    uint64_t parts = o->parts ? o->parts : 1;
    *from = n / parts * o->part + vt_min_u64(o->part, n % parts);
    *to = *from + n / parts + (o->part < n % parts);
}

static void vt_scan_all(const vt_scan *c) {
    const vt_rows *rows = &c->s->rows;
    uint64_t n = 0, from, to, at = 0;
    size_t i;
    for (i = 0; i < rows->n; i++)
        if (rows->a[i].f.tag == c->tag->f.tag) n += rows->a[i].f.rows;
    vt_share(c->o, n, &from, &to);
    for (i = 0; i < rows->n && at < to; i++) {
        const vt_seg *s = &rows->a[i];
        uint64_t end = at + s->f.rows;
        if (s->f.tag != c->tag->f.tag) continue;
        if (end > from && s->f.dead < s->f.rows)
            vt_scan_segment(c, s, from > at ? (uint32_t)(from - at) : 0,
                            (uint32_t)(vt_min_u64(end, to) - at));
        at = end;
    }
}

/* ---- Only some ids --------------------------------------------------------------------- */

static int vt_place_order(const void *a, const void *b) {
    const vt_group *x = (const vt_group *)a, *y = (const vt_group *)b;
    if (x->seg != y->seg) return x->seg < y->seg ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Groups g[n] of rows of one segment. */
static void vt_scan_places(const vt_scan *c, const vt_group *g, size_t n) {
    const vt_seg *s = g->seg;
    vt_sketch k;
    vt_lot lot;
    size_t i;
    uint32_t row;
    memset(&lot, 0, sizeof lot);
    if (n < VT_GROUP || !vt_seg_sketch(c->s->file, s, c->tag->f.dim, &k) || !vt_scan_fit(c, &k))
        k.rows = 0;
    for (i = 0; i < n; i++)
        for (row = g[i].row; row < g[i].row + g[i].parts; row++) {
            if (vt_row_dead(s, row) || !vt_scan_kept(c, vt_row(s, row))) continue;
            if (row < k.rows) vt_lot_add(c, s, &k, &lot, row);
            else vt_scan_rows(c, s, row, row + 1);
        }
    if (lot.n) vt_scan_lot(c, s, &k, &lot);
}

/* Only the rows of the ids allowed, in order of their places, some ids at a time. */
static void vt_scan_only(const vt_scan *c) {
    const vt_space *space = vt_index_find(&c->s->index, VTF_S_ROWS, c->tag->f.tag);
    const uint64_t *ids = c->o->only->ids;
    vt_group *g = c->places;
    uint64_t i, from, to;
    size_t n = 0, j, k;
    vt_share(c->o, c->o->only->n, &from, &to);
    for (i = from; i < to; i++) {
        const vtf_entry *e = i && ids[i] == ids[i - 1] ? NULL : vt_space_get(space, ids[i]);
        if (e && vt_group_of(&c->s->rows, c->tag->f.tag, e, &g[n])) n++;
        if (n < VT_IDS_AT_ONCE && i + 1 < to) continue;
        for (j = 1; j < n && vt_place_order(&g[j - 1], &g[j]) < 0;) j++;
        if (j < n) qsort(g, n, sizeof *g, vt_place_order);
        for (j = 0; j < n; j = k) {
            for (k = j; k < n && g[k].seg == g[j].seg;) k++;
            vt_scan_places(c, g + j, k - j);
        }
        n = 0;
    }
}

/* ---- Search ---------------------------------------------------------------------------- */

static int vt_ids_ascend(const vtag_ids *ids) {
    size_t i;
    if (ids->n && !ids->ids) return 0;
    for (i = 1; i < ids->n; i++)
        if (ids->ids[i] < ids->ids[i - 1]) return 0;
    return 1;
}

static vtag_err vt_query_check(const vtag_snap *snap, vtag_vec q, const vtag_search_opts *o,
                               const vt_tag **t) {
    const vtag_db *db = snap->db;
    const vt_state *s = snap->state;
    vtag_err err;
    *t = vt_tags_get(&s->tags, q.tag);
    err = vt_tag_live(*t);
    if (err) return vt_refuse(db, err, "q.tag: not declared, or retired");
    if (vt_tag_role(*t, &s->head) == VTAG_CANDIDATE && !o->preview)
        return vt_refuse(db, VTAG_PREVIEW, "q.tag: a candidate; opts->preview allows it");
    if (q.dim != (*t)->f.dim) return vt_refuse(db, VTAG_DIM, "q.dim: not its tag's");
    if (!q.x) return vt_refuse(db, VTAG_ARG, "q.x: no numbers");
    if (o->parts ? o->part >= o->parts : o->part)
        return vt_refuse(db, VTAG_ARG, "opts->part: not below opts->parts");
    if (o->only && !vt_ids_ascend(o->only))
        return vt_refuse(db, VTAG_ARG, "opts->only: ids must ascend, and be there");
    if (o->max_dist && *o->max_dist != *o->max_dist)
        return vt_refuse(db, VTAG_ARG, "opts->max_dist: NaN");
    return (unsigned)o->mode > VTAG_APPROX ? vt_refuse(db, VTAG_ARG, "opts->mode: no such value")
                                           : VTAG_OK;
}

/* Pads a query into the scan's own memory, and takes its norm. */
static vtag_err vt_ask_begin(const vt_scan *c, vt_ask *a, const float *x) {
    uint32_t dim = c->tag->f.dim;
    if (!vt_finite(x, dim)) return VTAG_VALUE;
    memset(a->x + dim, 0, (c->pad - dim) * sizeof *a->x);
    memcpy(a->x, x, dim * sizeof *x);
    a->norm = vt_norm(c->k, a->x, c->pad);
    a->floor = c->o->max_dist ? vt_similarity(c->metric, *c->o->max_dist) : -HUGE_VAL;
    if (c->metric == VTAG_COSINE && !(a->norm >= VT_MIN_NORM && a->norm <= VT_MAX_NORM))
        return VTAG_VALUE;
    return VTAG_OK;
}

/* Settles what is left, sorts the answers and marks stale hits. */
static void vt_scan_finish(const vt_scan *c, size_t *n) {
    size_t j, i;
    for (j = 0; j < c->nq; j++) {
        vt_top *t = &c->ask[j].top;
        vt_scan_settle(c, &c->ask[j], SIZE_MAX);
        vt_top_finish(t);
        for (i = 0; i < t->n; i++) {
            const vtf_entry *e = vt_state_group(c->s, c->tag->f.tag, t->hits[i].id);
            t->hits[i].stale = !e || vt_stale(c->s, t->hits[i].id, e->rev);
        }
        n[j] = t->n;
    }
}

/* Takes bytes from *p on, on 64 bytes. */
static void *vt_carve(uint8_t **p, uint64_t bytes) {
    uint8_t *q = *p + (64 - (uintptr_t)*p % 64) % 64;
    *p = q + bytes;
    return q;
}

/* Rows that the tag's segments hold. */
static uint64_t vt_scan_size(const vt_scan *c) {
    uint64_t n = 0;
    size_t i;
    for (i = 0; i < c->s->rows.n; i++)
        if (c->s->rows.a[i].f.tag == c->tag->f.tag) n += c->s->rows.a[i].f.rows;
    return n;
}

/* One block of memory for the queries, k hits of each. With fewer rows than k there is no
   k-th best bound. */
static vtag_err vt_scan_memory(vt_scan *c, size_t k, vtag_hit *hits, void **block) {
    size_t best = (size_t)vt_min_u64(k, vt_scan_size(c) + 1), j;
    uint64_t v = vt_max_u64(c->wide, VT_ROWS_AT_ONCE * c->pad) * 4;
    uint64_t raw = c->blocks ? 16 * (uint64_t)c->wide : 0;
    uint64_t places = c->o->only ? VT_IDS_AT_ONCE * sizeof *c->places : 0;
    uint64_t x = c->pad * 4, cand = c->cands * sizeof(vt_cand), least = vt_best_room(best) * 4;
    uint64_t one = sizeof *c->ask + x + c->wide + VT_GROUP * 4 + cand + least + 3 * 64;
    uint8_t *p;
    if (c->nq > (SIZE_MAX / 2 - v - raw - places) / one) return VTAG_NOMEM;
    *block = vt_alloc((size_t)(c->nq * one + v + raw + places + 7 * 64));
    if (!*block) return VTAG_NOMEM;
    p = (uint8_t *)*block;
    c->ask = (vt_ask *)vt_carve(&p, c->nq * sizeof *c->ask);
    c->h = (int8_t *)vt_carve(&p, c->nq * c->wide);
    c->dots = (int32_t *)vt_carve(&p, c->nq * VT_GROUP * 4);
    c->raw = (int8_t *)vt_carve(&p, raw);
    c->v = (float *)vt_carve(&p, v);
    c->places = (vt_group *)vt_carve(&p, places);
    for (j = 0; j < c->nq; j++) {
        vt_ask *a = &c->ask[j];
        memset(a, 0, sizeof *a);
        a->x = (float *)vt_carve(&p, x);
        a->cand = (vt_cand *)vt_carve(&p, cand);
        vt_best_init(&a->best, (float *)vt_carve(&p, least), best);
        vt_top_init(&a->top, k ? hits + j * k : NULL, k);
    }
    return VTAG_OK;
}

VTAG_API vtag_err vtag_search_many(const vtag_snap *snap, vtag_vec q, size_t nq,
                                   const vtag_search_opts *opts, size_t k, vtag_hit *hits,
                                   size_t *n) {
    vtag_search_opts zero;
    vt_scan c;
    void *block = NULL;
    size_t j;
    vtag_err err;
    memset(&zero, 0, sizeof zero);
    memset(&c, 0, sizeof c);
    int sane = nq <= SIZE_MAX / sizeof *hits / (k ? k : 1);
    for (j = 0; sane && n && j < nq; j++) n[j] = 0;
    err = vt_snap_needs(snap, sane, "nq or k: too many");
    if (!err) err = vt_snap_needs(snap, n || !nq, "n: no place for the counts");
    if (!err && k && nq && !hits) err = vt_refuse(snap->db, VTAG_ARG, "hits: no place for them");
    if (err) return err;
    VTAG_ASSERT(vt_rounds());
    c.s = snap->state;
    c.o = opts ? opts : &zero;
    c.k = snap->db->kernels;
    c.nq = nq;
    err = vt_query_check(snap, q, c.o, &c.tag);
    if (err || !nq) return err;
    c.metric = (vtag_metric)c.tag->f.metric;
    c.score = c.metric == VTAG_L2SQ ? c.k->l2sq : c.k->dot;
    c.pad = vt_pad(q.dim);
    c.wide = vt_sketch_dim(q.dim);
    c.blocks = c.k->tile ? nq / 16 : 0;
    c.cands = (size_t)vt_min_u64(vt_max_u64(VT_CANDIDATES / nq, 512), 32768);
    err = vt_scan_memory(&c, k, hits, &block);
    for (j = 0; j < nq && !err; j++) err = vt_ask_begin(&c, &c.ask[j], q.x + j * q.dim);
    if (err == VTAG_VALUE) vt_refuse(snap->db, err, "q.x: holds NaN or infinity, or has no norm");
    if (!err && k && c.o->only) vt_scan_only(&c);
    if (!err && k && !c.o->only && nq >= VT_MANY) {
        c.every = (uint32_t)vt_min_u64(vt_scan_size(&c) / VT_WARM + 1, 32);
        c.warm = 1;
        vt_scan_all(&c);
        c.warm = 0;
    }
    if (!err && k && !c.o->only) vt_scan_all(&c);
    if (!err) vt_scan_finish(&c, n);
    vt_free(block);
    return err;
}

VTAG_API vtag_err vtag_search(const vtag_snap *s, vtag_vec q, const vtag_search_opts *opts,
                              size_t k, vtag_hit *hits, size_t *n) {
    return vtag_search_many(s, q, 1, opts, k, hits, n);
}

/* ==== 17  Migration ============================================== >>migration */

/* Coverage is a merge join of the items with the rows of two tags and the waivers,
   all sorted by id: sequential, and without memory that grows with the rows. */

typedef struct vt_ledger { /* items, rows of the base, rows and waivers of the tag */
    vt_iter it[4];
    const vtf_entry *e[4]; /* the next of each but the items                   */
} vt_ledger;

typedef struct vt_line { /* one item of the ledger                             */
    const vtf_entry *item, *base, *row, *waiver; /* NULL: none                  */
    uint32_t state;
} vt_line;

static void vt_ledger_end(vt_ledger *l) {
    int i;
    for (i = 0; i < 4; i++) vt_iter_end(&l->it[i]);
}

/* Walks the items from an id on; end with vt_ledger_end, also on failure. */
static vtag_err vt_ledger_begin(vt_ledger *l, const vt_state *s, vtag_tag tag, vtag_tag base,
                                uint64_t from) {
    static const uint32_t kind[4] = {VTF_S_ITEMS, VTF_S_ROWS, VTF_S_ROWS, VTF_S_WAIVERS};
    vtag_tag of[4] = {0, base, tag, tag};
    vtag_err err = VTAG_OK;
    int i;
    for (i = 0; i < 4; i++) {
        const vt_space *space = i && !of[i] ? NULL : vt_index_find(&s->index, kind[i], of[i]);
        if (vt_iter_begin(&l->it[i], space, from)) err = VTAG_NOMEM;
    }
    for (i = 1; i < 4 && !err; i++) l->e[i] = vt_iter_next(&l->it[i]);
    return err;
}

/* Entry of an id in column i, or NULL; ids come ascending. */
static const vtf_entry *vt_ledger_at(vt_ledger *l, int i, uint64_t id) {
    while (l->e[i] && l->e[i]->id < id) l->e[i] = vt_iter_next(&l->it[i]);
    return l->e[i] && l->e[i]->id == id ? l->e[i] : NULL;
}

static uint32_t vt_state_of(const vtf_entry *item, const vtf_entry *row, const vtf_entry *waiver) {
    if (row && row->rev == item->rev) return VTAG_FRESH;
    if (waiver && waiver->rev == item->rev) return VTAG_WAIVED;
    return row ? VTAG_STALE : VTAG_MISSING;
}

/* The next item; 0: there is none. */
static int vt_ledger_next(vt_ledger *l, vt_line *line) {
    line->item = vt_iter_next(&l->it[0]);
    if (!line->item) return 0;
    line->base = vt_ledger_at(l, 1, line->item->id);
    line->row = vt_ledger_at(l, 2, line->item->id);
    line->waiver = vt_ledger_at(l, 3, line->item->id);
    line->state = vt_state_of(line->item, line->row, line->waiver);
    return 1;
}

static void vt_cover_add(vt_memo *m, const vt_line *l) {
    vtag_cover *c = &m->cover;
    int pending = (l->state & VTAG_PENDING) != 0;
    if (l->base) {
        c->base++;
        c->fresh += l->state == VTAG_FRESH;
        c->stale += l->state == VTAG_STALE;
        c->missing += l->state == VTAG_MISSING;
        c->waived += l->state == VTAG_WAIVED;
    } else if (pending) {
        c->outside++;
    }
    if (l->state == VTAG_FRESH && !(l->base && l->base->rev == l->item->rev)) c->extra++;
    if (pending && (!c->oldest || l->item->aux < c->oldest)) c->oldest = l->item->aux;
    if (pending && l->item->aux > m->newest) m->newest = l->item->aux;
}

static vtag_err vt_cover_count(const vt_state *s, vtag_tag tag, vtag_tag base, vt_memo *m) {
    vt_ledger l;
    vt_line line;
    vtag_err err = vt_ledger_begin(&l, s, tag, base, 0);
    memset(m, 0, sizeof *m);
    m->tag = tag;
    m->base = base;
    while (!err && vt_ledger_next(&l, &line)) vt_cover_add(m, &line);
    vt_ledger_end(&l);
    return err;
}

/* A state to be judged: a snapshot's, or a batch's. */
typedef struct vt_view {
    vtag_db *db;
    const vt_state *s;
    vt_state *as; /* the published state that it equals, which remembers; NULL: none */
    uint64_t now;
} vt_view;

static vt_view vt_view_snap(const vtag_snap *s) {
    vt_view v = {s->db, s->state, s->state, s->db->env.io->now(s->db->env.io->ctx)};
    return v;
}

static vt_view vt_view_batch(const vtag_batch *b) {
    vt_view v = {b->db, b->s, b->changed ? NULL : b->db->state, b->now};
    return v;
}

/* Counts, or remembers: who judges before taking the lock does not walk under it. */
static vtag_err vt_cover_of(const vt_view *v, vtag_tag tag, vtag_tag base, vt_memo *memo) {
    vtag_err err;
    if (!v->as) return vt_cover_count(v->s, tag, base, memo);
    vt_spin_lock(&v->db->spin);
    *memo = v->as->memo;
    vt_spin_unlock(&v->db->spin);
    if (memo->tag == tag && memo->base == base) return VTAG_OK;
    err = vt_cover_count(v->s, tag, base, memo);
    if (err) return err;
    vt_spin_lock(&v->db->spin);
    v->as->memo = *memo;
    vt_spin_unlock(&v->db->spin);
    return VTAG_OK;
}

static vtag_err vt_cover(const vt_view *v, vtag_tag tag, vtag_tag base, vtag_cover *c) {
    vt_memo memo;
    vtag_err err = vt_cover_of(v, tag, base, &memo);
    if (!err) *c = memo.cover;
    return err;
}

/* Why a tag cannot be asked, said; or OK. */
static vtag_err vt_snap_tag(const vtag_snap *s, vtag_tag tag, const char *what) {
    vtag_err err = vt_tag_live(vt_tags_get(&s->state->tags, tag));
    return err ? vt_refuse(s->db, err, what) : VTAG_OK;
}

VTAG_API vtag_err vtag_coverage(const vtag_snap *s, vtag_tag tag, vtag_tag base,
                                vtag_cover *cover) {
    vt_view view;
    vtag_err err;
    if (cover) memset(cover, 0, sizeof *cover);
    err = vt_snap_needs(s, cover != NULL, "cover: no place for it");
    if (err) return err;
    view = vt_view_snap(s);
    if (!base) base = s->state->head.active;
    err = vt_snap_tag(s, tag, "tag: not declared, or retired");
    if (!err) err = vt_snap_tag(s, base, "base: not declared, or retired");
    return err ? err : vt_cover(&view, tag, base, cover);
}

/* ---- Looking at items ------------------------------------------------------------------ */

/* Completes an item from its entry: key and payload, checked. */
static vtag_err vt_item_fill(const vt_state *s, const vtf_entry *e, vtag_item *item) {
    const vtf_blob *b = e->at ? vt_blob_get(s->file, e, VTF_S_ITEMS) : NULL;
    memset(item, 0, sizeof *item);
    if (e->at && !b) return vt_say(&s->file->env, VTAG_CORRUPT, "item damaged", e->at);
    item->id = e->id;
    item->rev = e->rev;
    item->time = e->aux;
    item->key = b && b->name ? vt_blob_name(b) : NULL;
    item->data = b && b->data ? vt_blob_data(b) : NULL;
    item->size = b ? (size_t)b->data : 0;
    item->of = e->id + 1;
    return VTAG_OK;
}

static vtag_err vt_line_fill(const vt_state *s, vtag_tag tag, const vt_line *l, vtag_item *item) {
    vtag_err err = vt_item_fill(s, l->item, item);
    const vtf_blob *b;
    if (err || !tag) return err;
    item->state = l->state;
    if (l->state != VTAG_WAIVED) return VTAG_OK;
    b = vt_blob_get(s->file, l->waiver, VTF_S_WAIVERS);
    if (!b) return vt_say(&s->file->env, VTAG_CORRUPT, "waiver damaged", l->waiver->at);
    item->why = (const char *)vt_blob_data(b);
    return VTAG_OK;
}

static vtag_err vt_items_by_id(const vt_state *s, vtag_tag tag, uint32_t states, uint64_t *cursor,
                               vtag_item *out, size_t cap, size_t *n) {
    vt_ledger l;
    vt_line line;
    uint64_t next = *cursor;
    size_t got = 0;
    vtag_err err = vt_ledger_begin(&l, s, tag, 0, next);
    while (!err && got < cap && vt_ledger_next(&l, &line)) {
        next = line.item->id + 1;
        if (tag && !(line.state & states)) continue;
        err = vt_line_fill(s, tag, &line, &out[got]);
        got++;
    }
    vt_ledger_end(&l);
    if (err) return err;
    *cursor = got ? next : *cursor;
    *n = got;
    return VTAG_OK;
}

/* Keeps out[cap] the items of the lowest rev; a heap, the highest on top. */
static void vt_items_keep(vtag_item *out, size_t *n, size_t cap, const vtag_item *item) {
    size_t i = 0, child;
    if (*n < cap) {
        for (i = (*n)++; i && out[(i - 1) / 2].rev < item->rev; i = (i - 1) / 2)
            out[i] = out[(i - 1) / 2];
        out[i] = *item;
        return;
    }
    if (item->rev > out[0].rev) return;
    for (; (child = 2 * i + 1) < cap; i = child) {
        if (child + 1 < cap && out[child + 1].rev > out[child].rev) child++;
        if (out[child].rev <= item->rev) break;
        out[i] = out[child];
    }
    out[i] = *item;
}

static int vt_rev_order(const void *a, const void *b) {
    uint64_t x = ((const vtag_item *)a)->rev, y = ((const vtag_item *)b)->rev;
    return x < y ? -1 : x > y;
}

/* The next cap items by revision past the cursor, found by one walk of all. Flipped,
   the newest revision is the lowest. */
static vtag_err vt_items_by_rev(const vt_state *s, vtag_tag tag, uint32_t states, uint64_t *cursor,
                                vtag_item *out, size_t cap, size_t *n) {
    uint64_t flip = states & VTAG_NEWEST_FIRST ? UINT64_MAX : 0;
    vt_ledger l;
    vt_line line;
    size_t got = 0, i;
    vtag_err err = vt_ledger_begin(&l, s, tag, 0, 0);
    while (!err && vt_ledger_next(&l, &line)) {
        vtag_item item = VT_ZERO;
        item.id = line.item->id;
        item.rev = line.item->rev ^ flip;
        if (tag && !(line.state & states)) continue;
        if (*cursor && item.rev <= (*cursor ^ flip)) continue;
        vt_items_keep(out, &got, cap, &item);
    }
    vt_ledger_end(&l);
    qsort(out, got, sizeof *out, vt_rev_order);
    for (i = 0; i < got && !err; i++) {
        line.item = vt_state_item(s, out[i].id);
        line.row = vt_state_group(s, tag, out[i].id);
        line.waiver = vt_space_get(vt_index_find(&s->index, VTF_S_WAIVERS, tag), out[i].id);
        if (!line.item) return vt_say(&s->file->env, VTAG_CORRUPT, "index out of order", 0);
        line.state = vt_state_of(line.item, line.row, line.waiver);
        err = vt_line_fill(s, tag, &line, &out[i]);
    }
    if (err) return err;
    if (got) *cursor = out[got - 1].rev;
    *n = got;
    return VTAG_OK;
}

/* What every iterator needs. */
static vtag_err vt_iter_ready(const vtag_snap *s, const uint64_t *cursor, int out, size_t cap,
                              size_t *n) {
    if (n) *n = 0;
    vtag_err err = vt_snap_needs(s, n != NULL, "n: no place for the count");
    if (!err && !cursor) err = vt_refuse(s->db, VTAG_ARG, "cursor: missing");
    if (!err && cap && !out)
        err = vt_refuse(s->db, VTAG_ARG, "out or names: no place for cap of them");
    return err;
}

VTAG_API vtag_err vtag_items(const vtag_snap *s, vtag_tag tag, uint32_t states, uint64_t *cursor,
                             vtag_item *out, size_t cap, size_t *n) {
    uint32_t order = VTAG_NEWEST_FIRST | VTAG_OLDEST_FIRST;
    vtag_err err;
    err = vt_iter_ready(s, cursor, out != NULL, cap, n);
    if (!err && (states & ~(VTAG_ALL | order) || (states & order) == order))
        err = vt_refuse(s->db, VTAG_ARG, "states: unknown bits, or two orders");
    if (!err && tag && !(states & VTAG_ALL))
        err = vt_refuse(s->db, VTAG_ARG, "states: none is asked for");
    if (!err && tag) err = vt_snap_tag(s, tag, "tag: not declared, or retired");
    if (err || !cap) return err;
    if (states & order) return vt_items_by_rev(s->state, tag, states, cursor, out, cap, n);
    return vt_items_by_id(s->state, tag, states, cursor, out, cap, n);
}

VTAG_API vtag_err vtag_get(const vtag_snap *s, uint64_t id, vtag_item *item) {
    const vtf_entry *e;
    vtag_err err = vt_snap_needs(s, item != NULL, "item: no place for it");
    if (item) memset(item, 0, sizeof *item);
    if (err) return err;
    e = vt_state_item(s->state, id);
    return e ? vt_item_fill(s->state, e, item)
             : vt_refuse(s->db, VTAG_NOTFOUND, "id: there is no such item");
}

VTAG_API vtag_err vtag_vector(const vtag_snap *s, uint64_t id, vtag_tag tag, uint32_t part,
                              float *x, uint32_t dim, vtag_row *row) {
    const vtf_entry *e;
    const vtf_row *r;
    const vt_tag *t;
    vt_group g;
    vtag_err err;
    err = vt_snap_ready(s);
    if (!err) err = vt_snap_tag(s, tag, "tag: not declared, or retired");
    if (err) return err;
    t = vt_tags_get(&s->state->tags, tag);
    if (x && dim != t->f.dim) return vt_refuse(s->db, VTAG_DIM, "dim: not the tag's");
    e = vt_state_group(s->state, tag, id);
    if (!e) return vt_refuse(s->db, VTAG_NOTFOUND, "id: no vector of it under this tag");
    if (!vt_group_of(&s->state->rows, tag, e, &g))
        return vt_say(&s->db->env, VTAG_CORRUPT, "index entry points nowhere", e->at);
    if (part >= g.parts) return vt_refuse(s->db, VTAG_NOTFOUND, "part: the item has fewer");
    r = vt_row(g.seg, g.row + part);
    if (!vt_row_sound(g.seg, g.row + part) || r->id != id)
        return vt_say(&s->db->env, VTAG_CORRUPT, "row damaged", vt_row_at(g.seg, g.row + part));
    VTAG_ASSERT(!x || vt_rounds());
    if (x) vt_decode(t->f.codec, vt_vector(g.seg, g.row + part), dim, dim, x);
    if (row) {
        vtag_row facts = {r->rev, r->off, r->len, g.parts,
                          (uint64_t)g.seg->f.number << 32 | (g.row + part)};
        *row = facts;
    }
    return VTAG_OK;
}

/* ---- Gate ----------------------------------------------------------------------------------- */

/* The next event of a kind and tag; 0: there is none, or *err. */
static int vt_event_next(const vt_state *s, vt_iter *events, vtag_kind kind, vtag_tag tag,
                         vtag_event *out, vtag_err *err) {
    const vtf_entry *e = NULL;
    do e = *err ? NULL : vt_iter_next(events);
    while (e && e->aux != ((uint64_t)kind << 32 | tag));
    if (e) *err = vt_event_read(s->file, e, out);
    return e && !*err;
}

/* The newest event of a kind and, unless NULL, a name under a tag. *found 0: there is none. */
static vtag_err vt_event_newest(const vt_state *s, vtag_kind kind, vtag_tag tag, const char *name,
                                vtag_event *out, int *found) {
    vtag_event x;
    vt_iter it;
    vtag_err err = vt_iter_begin(&it, vt_index_find(&s->index, VTF_S_EVENTS, 0), 0);
    *found = 0;
    while (vt_event_next(s, &it, kind, tag, &x, &err))
        if (!name || (x.name && !strcmp(x.name, name))) *out = x, *found = 1;
    vt_iter_end(&it);
    return err;
}

static int vt_cover_passes(const vtag_cover *c, uint32_t min_ppm) {
    uint64_t done = c->fresh + c->waived;
    if (!c->base) return 0;
    return done == c->base || done * 1000000 > vt_limit(min_ppm) * c->base;
}

static int vt_waived_passes(const vtag_cover *c, uint32_t max_ppm) {
    return c->waived <= 1 || c->waived * 1000000 <= vt_limit(max_ppm) * c->base;
}

static int vt_score_counts(const vtag_event *e, const vtag_gate *g) {
    return vt_cover_passes(&e->cover, g->min_ppm) && e->queries >= vt_limit(g->min_queries) &&
           e->value == e->value;
}

static vtag_err vt_judge_score(const vt_state *s, vtag_tag tag, vtag_tag base, vtag_verdict *v) {
    const vtag_gate *g = &v->used;
    vtag_event mine, theirs;
    int have, base_has = 0;
    vtag_err err;
    if (!g->score) return VTAG_OK;
    err = vt_event_newest(s, VTAG_K_SCORE, tag, g->score, &mine, &have);
    if (!err) err = vt_event_newest(s, VTAG_K_SCORE, base, g->score, &theirs, &base_has);
    if (err) return err;
    if (have) v->score = mine.value;
    if (base_has) v->base_score = theirs.value;
    if (!have || !vt_score_counts(&mine, g) || (g->has_min && mine.value < g->min_score) ||
        (g->has_drop && (!base_has || !(theirs.value - mine.value <= g->max_drop))))
        v->failed |= VTAG_TERM_SCORE;
    return VTAG_OK;
}

static uint64_t vt_tag_rows(const vt_state *s, vtag_tag tag) {
    uint64_t n = 0;
    for (size_t i = 0; i < s->rows.n; i++)
        if (s->rows.a[i].f.tag == tag) n += s->rows.a[i].f.rows - s->rows.a[i].f.dead;
    return n;
}

/* Rows ever written under a tag, as far as the file counts them. */
static uint64_t vt_tag_written(const vt_state *s, vtag_tag tag) {
    const vt_space *x = vt_index_find(&s->index, VTF_S_ROWS, tag);
    return x && s->file->version >= 3 ? x->bytes : 0;
}

#define VT_AUDIT_ROWS 100u    /* that are enough                                */
#define VT_AUDIT_PPM  990000u /* of them pass, where nobody says otherwise      */

/* Whether an audit speaks of what the tag holds, and `ppm` of what it compared passed. */
static int vt_audit_passes(const vt_state *s, vtag_tag tag, const vtag_audit *a, uint32_t ppm) {
    uint64_t rows = vt_tag_rows(s, tag), most = UINT64_MAX / 1000000u;
    if (!a->sampled || a->sampled > most || a->below > a->sampled || a->untestable > most) return 0;
    if (a->sampled < VT_AUDIT_ROWS && a->sampled + a->untestable < rows) return 0;
    if (vt_tag_written(s, tag) - a->written > rows / 100) return 0;
    return (a->sampled - a->below) * 1000000u >= ppm * a->sampled;
}

static vtag_err vt_judge_audit(const vt_state *s, vtag_tag tag, vtag_verdict *v) {
    vtag_event e;
    int have;
    if (!v->used.min_audit_ppm) return VTAG_OK;
    vtag_err err = vt_event_newest(s, VTAG_K_AUDIT, tag, NULL, &e, &have);
    if (err) return err;
    if (have) v->audit = e.audit, v->since = vt_tag_written(s, tag) - e.audit.written;
    if (!have || !vt_audit_passes(s, tag, &e.audit, v->used.min_audit_ppm))
        v->failed |= VTAG_TERM_AUDIT;
    return VTAG_OK;
}

/* Whether a tag ever had a vector, as far as the file still knows. */
static int vt_tag_had_rows(const vt_state *s, const vt_tag *t) {
    size_t i;
    for (i = 0; i < s->rows.n; i++)
        if (s->rows.a[i].f.tag == t->f.tag && s->rows.a[i].f.rows) return 1;
    return t->f.with > 0;
}

/* Judges tag against base by the thresholds in v->used. */
static vtag_err vt_judge_terms(const vt_view *w, vtag_tag tag, vtag_tag base, vtag_verdict *v) {
    const vt_state *s = w->s;
    vtag_cover *c = &v->cover;
    uint64_t age;
    vt_memo memo;
    vtag_err err = vt_cover_of(w, tag, base, &memo);
    if (err) return err;
    *c = memo.cover;
    v->failed = 0;
    v->score = v->base_score = 0;
    if (c->base ? !vt_cover_passes(c, v->used.min_ppm)
                : vt_space_live(vt_index_find(&s->index, VTF_S_ITEMS, 0)) > 0)
        v->failed |= VTAG_TERM_COVERAGE;
    if (!vt_waived_passes(c, v->used.max_waived_ppm)) v->failed |= VTAG_TERM_WAIVED;
    age = w->now > c->oldest ? w->now - c->oldest : 0;
    if (memo.newest > w->now) age = UINT64_MAX; /* written with a clock ahead: it may be any */
    if (c->stale + c->missing + c->outside && v->used.max_age_ms != UINT64_MAX &&
        age >= v->used.max_age_ms)
        v->failed |= VTAG_TERM_FRESHNESS;
    if (v->used.min_recall_ppm) v->failed |= VTAG_TERM_RECALL;
    err = vt_judge_score(s, tag, base, v);
    if (!err) err = vt_judge_audit(s, tag, v);
    v->pass = !v->failed;
    return err;
}

/* Whether a cover passes what no policy lowers without a mark. */
static int vt_cover_floor(const vtag_cover *c) {
    vtag_policy p;
    vt_policy_default(&p);
    return (!c->base || vt_cover_passes(c, p.gate.min_ppm)) &&
           vt_waived_passes(c, p.gate.max_waived_ppm);
}

/* Evaluates the gate of a cutover. *forced: it passes, but the policy or the floor would not. */
static vtag_err vt_judge(const vt_view *w, vtag_tag tag, const vtag_gate *gate, vtag_verdict *v,
                         int *forced) {
    const vt_state *s = w->s;
    const vt_tag *active = vt_tags_get(&s->tags, s->head.active);
    vtag_policy policy;
    vtag_verdict strict = VT_ZERO;
    vtag_err err = vt_tag_live(vt_tags_get(&s->tags, tag));
    if (err) return vt_refuse(w->db, err, "tag: not declared, or retired");
    err = vt_state_policy(s, &policy);
    if (err) return err;
    memset(v, 0, sizeof *v);
    *forced = 0;
    if (!vt_gate_resolve(&v->used, gate, &policy.gate))
        return vt_refuse(w->db, VTAG_ARG,
                         "gate: a share above 1, NaN, or a name or reason too long");
    if (vt_gate_below(&v->used, &policy.gate) && !v->used.reason)
        return vt_refuse(w->db, VTAG_ARG, "gate->reason: needed to go below the policy");
    err = vt_judge_terms(w, tag, s->head.active, v);
    if (!err && (!active || (active->f.tag != tag && !vt_tag_had_rows(s, active))))
        v->pass = 1, v->failed = 0; /* there is nothing to lose                */
    if (err || !v->pass || !active || !vt_tag_had_rows(s, active)) return err;
    *forced = !vt_cover_floor(&v->cover);
    if (*forced || !vt_gate_below(&v->used, &policy.gate)) return VTAG_OK;
    strict.used = policy.gate;
    err = vt_judge_terms(w, tag, s->head.active, &strict);
    *forced = !strict.pass;
    return err;
}

/* Whether a forced cutover to the tag is still below the policy or the floor. */
static int vt_tag_forced(const vt_view *w, const vt_tag *t) {
    vtag_tag base = t->f.forced_from == UINT32_MAX ? w->s->head.standby : t->f.forced_from;
    const vt_tag *from = vt_tags_get(&w->s->tags, base);
    vtag_policy p;
    vtag_verdict v = VT_ZERO;
    if (!t->f.forced_from) return 0;
    if (!from || from->f.role == VTAG_GONE || vt_state_policy(w->s, &p)) return 1;
    v.used = p.gate;
    return vt_judge_terms(w, t->f.tag, base, &v) || !v.pass || !vt_cover_floor(&v.cover);
}

VTAG_API vtag_err vtag_judge(const vtag_snap *s, vtag_tag tag, const vtag_gate *gate,
                             vtag_verdict *verdict) {
    vt_view view;
    int forced;
    vtag_err err = vt_snap_needs(s, verdict != NULL, "verdict: no place for it");
    if (verdict) memset(verdict, 0, sizeof *verdict);
    if (err) return err;
    view = vt_view_snap(s);
    return vt_judge(&view, tag, gate, verdict, &forced);
}

VTAG_API vtag_err vtag_policy_get(const vtag_snap *s, vtag_policy *policy) {
    vtag_err err = vt_snap_needs(s, policy != NULL, "policy: no place for it");
    if (policy) memset(policy, 0, sizeof *policy);
    return err ? err : vt_state_policy(s->state, policy);
}

/* ---- Changes of roles -------------------------------------------------------------------------- */

static void vt_activate(vtag_batch *b, vt_tag *t) {
    t->f.role = VTAG_OLDER; /* what it is when it is active no more            */
    t->f.activated = b->now;
    t->f.order = b->s->head.event + 1;
    t->changed = 1;
    b->s->head.active = t->f.tag;
}

static void vt_leave(vtag_batch *b, vt_tag *t, vtag_role role) {
    t->f.role = (uint32_t)role;
    t->f.kept_from = vt_clock_at(&b->s->head, b->now);
    t->f.forced_from = 0;
    t->changed = 1;
}

/* Whether the newest audit of a tag passed, so that its name may be told without a reason. */
static vtag_err vt_batch_audited(vtag_batch *b, vtag_tag tag) {
    vtag_event e;
    int have = 0;
    vtag_err err = vt_batch_settle(b);
    if (!err) err = vt_event_newest(b->s, VTAG_K_AUDIT, tag, NULL, &e, &have);
    if (err) return vt_fail(b, err);
    return have && vt_audit_passes(b->s, tag, &e.audit, VT_AUDIT_PPM)
               ? VTAG_OK
               : vt_deny(b, VTAG_ARG, "reason: missing, and no audit of the tag passed");
}

VTAG_API vtag_err vtag_alias(vtag_batch *b, vtag_tag tag, const char *name, const char *reason) {
    size_t model, version;
    vtag_event e;
    vt_tag *t;
    vtag_err err = vt_batch_needs(b, name != NULL, "name: missing");
    if (!err && !vt_name_split(name, &model, &version))
        err = vt_deny(b, VTAG_NAME, "name: model@version/preparation of a-z 0-9 . _ -");
    if (!err && reason && (!*reason || !vt_within(reason, VT_REASON_MAX)))
        err = vt_deny(b, VTAG_ARG, "reason: 1 to 1,024 bytes");
    if (!err) err = vt_batch_three(b, 1);
    if (!err) err = vt_batch_tag(b, tag, "tag: not declared, or retired");
    if (!err && !reason && !b->restore) err = vt_batch_audited(b, tag);
    if (err) return err;
    t = vt_tags_get(&b->s->tags, tag);
    if (t->alias && !strcmp(t->alias, name)) return VTAG_OK;
    if (t->alias) return vt_deny(b, VTAG_EXISTS, "tag: it has an alias already");
    if (vt_tags_find(&b->s->tags, name))
        return vt_deny(b, VTAG_EXISTS, "name: a tag answers to it");
    b->thrifty = 0;
    err = vt_tag_alias(b, t, name);
    if (err || b->restore) return vt_fail(b, err);
    e = vt_event_of(b, VTAG_K_ALIAS, tag, 0);
    e.name = name;
    e.text = reason;
    return vt_event_add(b, &e, 0);
}

/* The older tag that was active last, or 0. */
static vtag_tag vt_newest_older(const vt_state *s) {
    const vt_tag *best = NULL;
    size_t i;
    for (i = 0; i < s->tags.n; i++) {
        const vt_tag *t = &s->tags.a[i];
        if (t->f.role != VTAG_OLDER || t->f.tag == s->head.active) continue;
        if (!best || t->f.order > best->f.order) best = t;
    }
    return best ? best->f.tag : 0;
}

VTAG_API vtag_err vtag_cutover(vtag_batch *b, vtag_tag tag, const vtag_gate *gate,
                               vtag_verdict *verdict) {
    vtag_verdict v;
    vtag_event e;
    vt_tag *t, *left;
    vt_view view;
    int forced;
    vtag_err err = vt_batch_ready(b);
    if (verdict) memset(verdict, 0, sizeof *verdict);
    if (err) return err;
    err = vt_batch_settle(b);
    view = vt_view_batch(b);
    if (!err) err = vt_judge(&view, tag, gate, &v, &forced);
    if (err == VTAG_NOMEM || err == VTAG_CORRUPT) vt_fail(b, err);
    if (err) return err;
    if (verdict) *verdict = v;
    if (tag == b->s->head.active) return VTAG_OK;
    if (!v.pass) return vt_deny(b, VTAG_GATE, "tag: its gate holds; the verdict says which terms");
    t = vt_tags_get(&b->s->tags, tag);
    left = vt_tags_get(&b->s->tags, b->s->head.active);
    e = vt_event_of(b, VTAG_K_CUTOVER, tag, left ? left->f.tag : 0);
    e.flags = forced ? VTAG_FORCED : 0;
    e.failed = v.failed;
    e.used = v.used;
    e.cover = v.cover;
    e.value = v.score;
    e.base_value = v.base_score;
    e.text = v.used.reason;
    e.used.reason = NULL;
    vt_activate(b, t);
    t->f.forced_from = forced ? e.base : 0;
    if (left && vt_tag_had_rows(b->s, left)) {
        vt_leave(b, left, VTAG_OLDER);
        b->s->head.standby = left->f.tag;
    } else if (left) {
        vt_leave(b, left, VTAG_CANDIDATE);
        if (b->s->head.standby == tag) b->s->head.standby = vt_newest_older(b->s);
    }
    b->s->head.flags &= ~(uint32_t)VTF_ROLLED_BACK;
    b->roles = 1;
    return vt_event_add(b, &e, 1);
}

VTAG_API vtag_err vtag_rollback(vtag_batch *b, vtag_tag to, vtag_cover *hidden) {
    vtag_event e;
    vt_tag *t, *left;
    vtf_head *h;
    vt_view view;
    vtag_err err = vt_batch_ready(b);
    if (hidden) memset(hidden, 0, sizeof *hidden);
    if (err) return err;
    h = &b->s->head;
    if ((!to && h->flags & VTF_ROLLED_BACK) || (to && to == h->active)) return VTAG_OK;
    if (!to && !h->standby) return vt_deny(b, VTAG_NOTFOUND, "to: there is no standby");
    if (!to) to = h->standby;
    err = vt_batch_tag(b, to, "to: not declared, or retired");
    if (err) return err;
    t = vt_tags_get(&b->s->tags, to);
    left = vt_tags_get(&b->s->tags, h->active);
    if (t->f.role != VTAG_OLDER || !left) return vt_deny(b, VTAG_ARG, "to: it was never active");
    err = vt_batch_settle(b);
    e = vt_event_of(b, VTAG_K_ROLLBACK, to, left->f.tag);
    view = vt_view_batch(b);
    if (!err) err = vt_fail(b, vt_cover(&view, left->f.tag, to, &e.cover));
    if (err) return err;
    vt_leave(b, left, VTAG_CANDIDATE);
    vt_activate(b, t);
    h->standby = to == h->standby ? vt_newest_older(b->s) : 0;
    h->flags |= VTF_ROLLED_BACK;
    b->roles = 1;
    if (hidden) *hidden = e.cover;
    return vt_event_add(b, &e, 1);
}

/* What retiring a tag would lose: see vtag_retire. */
static vtag_err vt_lost_count(const vt_state *s, vtag_tag tag, vtag_cover *c) {
    const vt_space *space = vt_index_find(&s->index, VTF_S_ROWS, tag);
    const vtf_entry *e;
    vt_iter it;
    size_t i;
    vtag_err err = vt_iter_begin(&it, space, 0);
    memset(c, 0, sizeof *c);
    while (!err && (e = vt_iter_next(&it)) != NULL) {
        const vtf_entry *item = vt_state_item(s, e->id);
        int any = 0, fresh = 0;
        for (i = 0; i < s->tags.n && item && !fresh; i++) {
            const vtf_tag *f = &s->tags.a[i].f;
            const vtf_entry *o =
                f->tag == tag || f->role == VTAG_GONE ? NULL : vt_state_group(s, f->tag, e->id);
            any |= o != NULL;
            fresh |= o && o->rev == item->rev;
        }
        c->base++;
        c->fresh += fresh != 0;
        c->stale += any && !fresh;
        c->missing += !any;
    }
    vt_iter_end(&it);
    return err;
}

/* Retention that a tag has been credited by now. */
static uint64_t vt_kept(const vt_state *s, const vt_tag *t, uint64_t now) {
    return t->f.tag == s->head.active ? 0 : vt_clock_at(&s->head, now) - t->f.kept_from;
}

/* Scores of the active tag since it became active that count towards a retirement. */
static vtag_err vt_passing_scores(const vt_state *s, const vtag_policy *p, uint32_t *n) {
    const vt_tag *active = vt_tags_get(&s->tags, s->head.active);
    vtag_event x;
    vt_iter it;
    vtag_err err = vt_iter_begin(&it, vt_index_find(&s->index, VTF_S_EVENTS, 0), 0);
    *n = 0;
    while (active && vt_event_next(s, &it, VTAG_K_SCORE, active->f.tag, &x, &err))
        *n += x.time >= active->f.activated && vt_score_counts(&x, &p->gate) &&
              (!p->gate.score || (x.name && !strcmp(x.name, p->gate.score))) &&
              (!p->gate.has_min || x.value >= p->gate.min_score);
    vt_iter_end(&it);
    return err;
}

/* Whether a tag may go; *early: only for a reason. */
static vtag_err vt_retire_check(const vtag_batch *b, const vt_tag *t, int *early) {
    vtag_policy p;
    uint32_t scores = 0;
    vtag_err err = vt_state_policy(b->s, &p);
    *early = 0;
    if (err) return err;
    if (t->f.tag == b->s->head.active) return VTAG_INUSE;
    if (p.hold) return VTAG_KEPT;
    if (!t->f.activated) return VTAG_OK;
    err = p.retain_scores ? vt_passing_scores(b->s, &p, &scores) : VTAG_OK;
    *early = vt_kept(b->s, t, b->now) < p.retain_ms || scores < p.retain_scores;
    return err;
}

VTAG_API vtag_err vtag_retire(vtag_batch *b, vtag_tag tag, const char *reason, vtag_cover *lost) {
    vtag_event e;
    vt_tag *t, *active;
    vt_view view;
    int early;
    vtag_err err = vt_batch_needs(b, !reason || (*reason && strlen(reason) <= VT_REASON_MAX),
                                  "reason: 1 to 1,024 bytes, or NULL");
    if (lost) memset(lost, 0, sizeof *lost);
    if (!err) err = vt_batch_tag(b, tag, "tag: not declared, or retired");
    if (err) return err;
    t = vt_tags_get(&b->s->tags, tag);
    err = vt_batch_settle(b);
    e = vt_event_of(b, VTAG_K_RETIRED, tag, b->s->head.active);
    if (!err) err = vt_fail(b, vt_lost_count(b->s, tag, &e.cover));
    if (err) return err;
    if (lost) *lost = e.cover;
    err = vt_retire_check(b, t, &early);
    if (err == VTAG_NOMEM || err == VTAG_CORRUPT) return vt_fail(b, err);
    if (err)
        return vt_deny(b, err, err == VTAG_INUSE ? "tag: it is active" : "tag: a hold keeps it");
    if (early && !reason)
        return vt_deny(b, VTAG_KEPT, "tag: still within its retention; a reason overrides that");
    e.flags = early ? VTAG_FORCED : 0;
    e.text = reason;
    e.name = t->name;
    active = vt_tags_get(&b->s->tags, b->s->head.active);
    view = vt_view_batch(b);
    if (active && active->f.forced_from && !vt_tag_forced(&view, active)) {
        active->f.forced_from = 0; /* the last time that it can be told          */
        active->changed = 1;
    }
    t->f.role = VTAG_GONE;
    t->changed = 1;
    b->s->head.flags &= ~VTF_WHOLE;
    if (b->s->head.standby == tag) b->s->head.standby = vt_newest_older(b->s);
    b->roles = 1;
    return vt_event_add(b, &e, 1);
}

/* ---- Looking at tags ------------------------------------------------------------------------------- */

static void vt_info_fill(const vtag_snap *snap, const vt_tag *t, vtag_info *info) {
    const vt_state *s = snap->state;
    vtag_spec spec = {
        t->name,    t->f.dim, (vtag_metric)t->f.metric, (vtag_codec)t->f.codec, t->f.fingerprint,
        t->f.flags, t->note};
    vt_view view = vt_view_snap(snap);
    size_t i;
    memset(info, 0, sizeof *info);
    info->tag = t->f.tag;
    info->spec = spec;
    if (t->f.flags & VTF_LIFTED) info->spec.flags &= ~(VTF_LIFTED | VTAG_ASSUMED);
    info->role = vt_tag_role(t, &s->head);
    info->created = t->f.created;
    info->activated = t->f.activated;
    info->writes_with = t->f.with;
    info->writes_without = s->head.puts - t->f.puts_from - t->f.with;
    info->alias = t->alias;
    info->kept_ms = vt_kept(s, t, view.now);
    info->forced = vt_tag_forced(&view, t);
    for (i = 0; i < s->rows.n; i++) {
        if (s->rows.a[i].f.tag != t->f.tag) continue;
        info->bytes += s->rows.a[i].f.length + vt_sketch_length(s->file, &s->rows.a[i]);
    }
    info->rows = vt_tag_rows(s, t->f.tag);
    info->items = vt_space_live(vt_index_find(&s->index, VTF_S_ROWS, t->f.tag));
    info->written = vt_tag_written(s, t->f.tag);
    if (info->role == VTAG_GONE) info->items = info->rows = 0;
}

VTAG_API vtag_err vtag_find(const vtag_snap *s, const char *name, vtag_tag *tag) {
    const vt_tag *t;
    vtag_err err = vt_snap_needs(s, name && tag, "name or tag: missing");
    if (err) return err;
    t = vt_tags_find(&s->state->tags, name);
    if (!t) return vt_refuse(s->db, VTAG_NOTAG, "name: no tag has it");
    *tag = t->f.tag;
    return VTAG_OK;
}

VTAG_API vtag_err vtag_tag_info(const vtag_snap *s, vtag_tag tag, vtag_info *info) {
    const vt_tag *t;
    vtag_err err = vt_snap_needs(s, info != NULL, "info: no place for it");
    if (info) memset(info, 0, sizeof *info);
    if (err) return err;
    t = vt_tags_get(&s->state->tags, tag ? tag : s->state->head.active);
    if (!t) return vt_refuse(s->db, VTAG_NOTAG, "tag: not declared");
    vt_info_fill(s, t, info);
    return VTAG_OK;
}

VTAG_API vtag_err vtag_tags(const vtag_snap *s, uint64_t *cursor, vtag_info *out, size_t cap,
                            size_t *n) {
    size_t got = 0;
    vtag_err err = vt_iter_ready(s, cursor, out != NULL, cap, n);
    if (err) return err;
    while (got < cap && *cursor < s->state->tags.n)
        vt_info_fill(s, &s->state->tags.a[(*cursor)++], &out[got++]);
    *n = got;
    return VTAG_OK;
}

/* ==== 18  History ==================================================== >>history */

/* Events live in the index like everything else; nothing ever removes one. */

/* Whether an event's texts are within what a reader will take. */
static vtag_err vt_note_texts(const vtag_batch *b, const vtag_event *e) {
    if (!vt_within(e->text, vt_text_max(e->kind)))
        return vt_deny(b, VTAG_ARG, "event->text: at most 1,024 bytes");
    if (!vt_within(e->name, VT_NAME_MAX))
        return vt_deny(b, VTAG_ARG, "event->name: at most 255 bytes");
    if (!vt_within(e->used.score, VT_NAME_MAX))
        return vt_deny(b, VTAG_ARG, "event->used.score: at most 255 bytes");
    if (!vt_within(e->used.reason, VT_REASON_MAX))
        return vt_deny(b, VTAG_ARG, "event->used.reason: at most 1,024 bytes");
    if (!vt_within(e->by, VT_NAME_MAX)) return vt_deny(b, VTAG_ARG, "event->by: at most 255 bytes");
    if (!vt_within(e->command, VT_REASON_MAX))
        return vt_deny(b, VTAG_ARG, "event->command: at most 1,024 bytes");
    return vt_batch_three(b, vt_event_extends(e));
}

/* Whether a caller may note an audit of a tag. */
static vtag_err vt_note_audit(vtag_batch *b, const vtag_audit *a, vtag_tag tag) {
    vtag_err err = vt_batch_tag(b, tag, "event->tag: not declared, or retired");
    if (!err) err = vt_batch_three(b, 1);
    if (!err && a->below > a->sampled)
        err = vt_deny(b, VTAG_ARG, "event->audit.below: more than were compared");
    if (!err && a->worst != a->worst) err = vt_deny(b, VTAG_ARG, "event->audit.worst: NaN");
    if (!err && a->written > vt_tag_written(b->s, tag))
        err = vt_deny(b, VTAG_ARG, "event->audit.written: more than the tag's");
    return err;
}

/* An audit that passes tells what an assumed tag holds. */
static void vt_note_lifts(vtag_batch *b, const vtag_event *e) {
    vt_tag *t = vt_tags_get(&b->s->tags, e->tag);
    if (b->restore || e->kind != VTAG_K_AUDIT || !(t->f.flags & VTAG_ASSUMED)) return;
    if (!vt_audit_passes(b->s, e->tag, &e->audit, VT_AUDIT_PPM)) return;
    t->f.flags |= VTF_LIFTED;
    t->changed = 1;
}

/* Whether a caller may note e; sets its flags. */
static vtag_err vt_note_check(vtag_batch *b, vtag_event *e) {
    vtag_policy policy;
    vtag_err err = VTAG_OK;
    const uint32_t callers = 1u << VTAG_K_NOTE | 1u << VTAG_K_SCORE | 1u << VTAG_K_SHADOW |
                             1u << VTAG_K_HELD | 1u << VTAG_K_AUDIT | 1u << VTAG_K_BACKFILL |
                             1u << VTAG_K_IMPORT;
    if ((unsigned)e->kind > VTAG_K_ALIAS || !(callers >> e->kind & 1))
        return vt_deny(b, VTAG_ARG, "event->kind: the engine writes this one itself");
    if ((e->tag || e->kind == VTAG_K_SCORE) && !vt_tags_get(&b->s->tags, e->tag))
        return vt_deny(b, VTAG_NOTAG, "event->tag: not declared");
    if (e->base && !vt_tags_get(&b->s->tags, e->base))
        return vt_deny(b, VTAG_NOTAG, "event->base: not declared");
    if (e->kind == VTAG_K_SCORE && (!e->name || !*e->name || e->value != e->value))
        return vt_deny(b, VTAG_ARG, "event->name and value: a score needs both");
    if (e->kind == VTAG_K_AUDIT) err = vt_note_audit(b, &e->audit, e->tag);
    if (err) return err;
    err = vt_batch_settle(b);
    if (!err) err = vt_state_policy(b->s, &policy);
    if (err) return vt_fail(b, err);
    e->flags = e->kind == VTAG_K_SCORE && !vt_cover_passes(&e->cover, policy.gate.min_ppm)
                   ? VTAG_PROVISIONAL
                   : 0;
    return VTAG_OK;
}

VTAG_API vtag_err vtag_note(vtag_batch *b, const vtag_event *event) {
    vtag_event e;
    vtag_err err = vt_batch_needs(b, event != NULL, "event: missing");
    if (!err) err = vt_note_texts(b, event);
    if (err) return err;
    e = *event;
    if (!b->restore) err = vt_note_check(b, &e);
    else if (!e.seq || e.seq > VT_COUNTED)
        err = vt_deny(b, VTAG_ARG, "event->seq: a restore gives the old one");
    if (err) return err;
    b->thrifty = 0;
    vt_note_lifts(b, &e);
    if (!e.by && *b->by && !b->restore) e.by = b->by;
    return vt_event_add(b, &e, 0);
}

VTAG_API vtag_err vtag_history(const vtag_snap *s, uint64_t *cursor, vtag_event *out, size_t cap,
                               size_t *n) {
    const vtf_entry *e;
    vt_iter it;
    uint64_t next;
    size_t got = 0;
    vtag_err err = vt_iter_ready(s, cursor, out != NULL, cap, n);
    if (err) return err;
    next = *cursor;
    err = vt_iter_begin(&it, vt_index_find(&s->state->index, VTF_S_EVENTS, 0), next);
    while (!err && got < cap && (e = vt_iter_next(&it)) != NULL) {
        err = vt_event_read(s->state->file, e, &out[got++]);
        next = e->id + 1;
    }
    vt_iter_end(&it);
    if (err) return err;
    *cursor = next;
    *n = got;
    return VTAG_OK;
}

VTAG_API vtag_err vtag_meta_get(const vtag_snap *s, const char *name, const void **p, size_t *n) {
    const vtf_blob *b;
    const vtf_entry *e;
    int clash;
    vtag_err err = vt_snap_needs(s, name && p && n, "name, p or n: missing");
    if (p) *p = NULL;
    if (n) *n = 0;
    if (err) return err;
    e = vt_space_get(vt_index_find(&s->state->index, VTF_S_NAMES, 0), vt_xxh64(name, strlen(name)));
    if (!e) return vt_refuse(s->db, VTAG_NOTFOUND, "name: there is nothing under it");
    if (!vt_blob_get(s->state->file, e, VTF_S_NAMES))
        return vt_say(&s->db->env, VTAG_CORRUPT, "metadata damaged", e->at);
    b = vt_meta_find(s->state->file, e, name, &clash);
    if (!b) return vt_refuse(s->db, VTAG_NOTFOUND, "name: there is nothing under it");
    *p = vt_blob_data(b);
    *n = (size_t)b->data;
    return VTAG_OK;
}

VTAG_API vtag_err vtag_metas(const vtag_snap *s, uint64_t *cursor, const char **names, size_t cap,
                             size_t *n) {
    const vtf_entry *e;
    vt_iter it;
    uint64_t next;
    size_t got = 0;
    vtag_err err = vt_iter_ready(s, cursor, names != NULL, cap, n);
    if (err) return err;
    next = *cursor;
    err = vt_iter_begin(&it, vt_index_find(&s->state->index, VTF_S_NAMES, 0), next);
    while (!err && got < cap && (e = vt_iter_next(&it)) != NULL) {
        const vtf_blob *b = vt_blob_get(s->state->file, e, VTF_S_NAMES);
        if (!b) err = vt_say(&s->db->env, VTAG_CORRUPT, "metadata damaged", e->at);
        if (b) names[got++] = vt_blob_name(b);
        next = e->id + 1;
    }
    vt_iter_end(&it);
    if (err) return err;
    *cursor = next;
    *n = got;
    return VTAG_OK;
}

/* ==== 19  Care ========================================================== >>care */

/* Statistics, verification of every referenced byte, backup and compaction. */

/* ---- What a compaction leaves ----------------------------------------------------------------- */

typedef struct vt_plan { /* of a compact copy of a state: bytes, and whether it needs an index */
    uint64_t blobs, index, meta, rows;
    int sealed; /* else all entries fit into the record of its one commit     */
} vt_plan;

/* Bytes of a space's live blobs; of a file before version 3 they are looked up one by one. */
static uint64_t vt_space_weighs(vt_file *f, const vt_space *s) {
    const vtf_entry *e;
    uint64_t sum = 0;
    vt_iter it;
    if (s->kind == VTF_S_ROWS) return 0;
    if (s->bytes != VT_UNKNOWN) return s->bytes;
    if (vt_iter_begin(&it, s, 0) == VTAG_OK)
        while ((e = vt_iter_next(&it)) != NULL) {
            const vtf_blob *b =
                e->at && e->at % 8 == 0 ? (const vtf_blob *)vt_at(f, e->at, sizeof *b) : NULL;
            if (b && b->data >> 48 == 0) sum += vtf_blob_bytes(b);
        }
    vt_iter_end(&it);
    return sum;
}

/* Bytes of a tag's live rows, with their sketches, in segments that are cut to fit. */
static uint64_t vt_plan_rows(const vt_state *s, const vt_tag *t, uint64_t *segments) {
    uint64_t n = vt_tag_rows(s, t->f.tag), sum = 0, stride = vt_stride(t->f.dim, t->f.codec), most;
    uint32_t code = vt_sketch_dim(t->f.dim) / 2 + 16;
    most = vt_max_u64(vt_min_u64(VT_SEGMENT / (stride + sizeof(vtf_row)), 65536), 1);
    while (n && t->f.role != VTAG_GONE) {
        uint64_t rows = vt_min_u64(n, most);
        sum += vt_align(vtf_vectors_at(rows) + rows * stride, VTF_ALIGN);
        if (!(t->f.flags & VTAG_NO_SKETCH) && 2 * code <= stride && rows * stride >= VT_SKETCHY)
            sum +=
                vt_align(vt_sketch_parts((uint32_t)rows, vt_sketch_dim(t->f.dim)).bytes, VTF_ALIGN);
        n -= rows;
        ++*segments;
    }
    return sum;
}

static vt_plan vt_plan_of(const vt_state *s) {
    vt_plan p = {512, 2 * sizeof(vtf_run), 0, 0, 0}; /* a line in history comes with it */
    uint64_t segments = 0, entries = 0, record = 4 * sizeof(vtf_record), spaces = 0;
    for (size_t i = 0; i < s->tags.n; i++) {
        const vtf_blob *b = (const vtf_blob *)vt_at(s->file, s->tags.a[i].f.names, sizeof *b);
        p.rows += vt_plan_rows(s, &s->tags.a[i], &segments);
        p.blobs += b && b->data >> 48 == 0 ? vtf_blob_bytes(b) : 0;
    }
    for (size_t i = 0; i < s->index.n; i++) {
        const vt_space *x = &s->index.a[i];
        const vt_tag *t = x->kind == VTF_S_ROWS ? vt_tags_get(&s->tags, x->tag) : NULL;
        if (!x->live || (t && t->f.role == VTAG_GONE)) continue;
        p.blobs += vt_space_weighs(s->file, x);
        p.index += sizeof(vtf_run) + x->live * sizeof(vtf_entry);
        entries = vt_max_u64(entries, x->live);
        spaces++;
    }
    record += s->tags.n * sizeof(vtf_tag) + segments * (sizeof(vtf_seg) + 6 * sizeof(vtf_range));
    record += p.index;
    p.sealed = entries >= VT_INLINE || record + VTF_LOG_RESERVE > VTF_ALIGN - VTF_HEAD_ROOM;
    p.meta = sizeof(vtf_ckpt) + s->tags.n * sizeof(vtf_tag) + segments * sizeof(vtf_seg) +
             spaces * (sizeof(vtf_space) + sizeof(vtf_run));
    return p;
}

static uint64_t vt_plan_extent(uint64_t bytes) {
    return bytes ? vt_align(bytes + bytes / VT_FIT * VTF_HEAD_ROOM + VTF_HEAD_ROOM, VTF_ALIGN) : 0;
}

/* Bytes of the file: its front, its log, and what it holds. */
static uint64_t vt_plan_bytes(const vt_plan *p) {
    uint64_t sum = VTF_FRONT + VTF_ALIGN + vt_plan_extent(p->blobs) + p->rows;
    return p->sealed ? sum + vt_plan_extent(p->index) + vt_plan_extent(p->meta) : sum;
}

/* The same for a published state, which remembers. */
static uint64_t vt_state_plan(vtag_db *db, vt_state *s) {
    vt_plan p;
    uint64_t known;
    vt_spin_lock(&db->spin);
    known = s->planned;
    vt_spin_unlock(&db->spin);
    if (known) return known;
    p = vt_plan_of(s);
    known = vt_plan_bytes(&p);
    vt_spin_lock(&db->spin);
    s->planned = known;
    vt_spin_unlock(&db->spin);
    return known;
}

VTAG_API vtag_err vtag_stats(const vtag_snap *s, vtag_stat *stat) {
    const vt_state *st;
    size_t i;
    vtag_err err = vt_snap_needs(s, stat != NULL, "stat: no place for it");
    if (stat) memset(stat, 0, sizeof *stat);
    if (err) return err;
    st = s->state;
    vt_spin_lock(&s->db->spin);
    stat->held = s->db->held;
    stat->held_ms = vt_os_steady_ms() - s->db->oldest->since;
    vt_spin_unlock(&s->db->spin);
    memcpy(stat->uuid, st->file->uuid, sizeof stat->uuid);
    stat->commit = st->head.commit;
    stat->time = st->head.time;
    stat->revision = st->head.revision;
    stat->file_bytes = st->head.end;
    stat->live_bytes = vt_min_u64(vt_state_plan(s->db, s->state), st->head.end);
    stat->items = vt_space_live(vt_index_find(&st->index, VTF_S_ITEMS, 0));
    stat->events = vt_space_live(vt_index_find(&st->index, VTF_S_EVENTS, 0));
    stat->tags = (uint32_t)st->tags.n;
    stat->segments = (uint32_t)st->rows.n;
    stat->active = st->head.active;
    stat->standby = st->head.standby;
    stat->rolled_back = (st->head.flags & VTF_ROLLED_BACK) != 0;
    stat->isa = s->db->kernels->isa;
    for (i = 0; i < st->rows.n; i++)
        if (vt_tags_get(&st->tags, st->rows.a[i].f.tag)->f.role != VTAG_GONE)
            stat->rows += st->rows.a[i].f.rows - st->rows.a[i].f.dead;
    return VTAG_OK;
}

/* ---- Verify --------------------------------------------------------------------------- */

typedef struct vt_check {
    const vt_state *s;
    vtag_report *r;
    vtag_progress *progress;
    void *ctx;
    uint64_t total;
    int cancelled;
} vt_check;

static void vt_bad(vt_check *c, const char *msg, uint64_t at) {
    if (!c->r->bad++) c->r->first_bad = at;
    vt_say(&c->s->file->env, VTAG_CORRUPT, msg, at);
}

/* Counts what was checked; 0: cancelled. */
static int vt_checked(vt_check *c, uint64_t bytes) {
    c->r->bytes += bytes;
    if (c->r->records++ % 64 == 0 && c->progress)
        c->cancelled |= c->progress(c->ctx, vt_min_u64(c->r->bytes, c->total), c->total) != 0;
    return !c->cancelled;
}

static void vt_check_front(vt_check *c) {
    vtf_identity id;
    vtf_slot slot;
    uint32_t i;
    if (vt_identity_read(c->s->file, &id)) vt_bad(c, "identity page damaged", 0);
    vt_checked(c, VTF_IDENTITY);
    for (i = 0; i < 2; i++) {
        if (vt_slot_read(c->s->file, i, &slot) || !slot.seq)
            vt_bad(c, "superblock damaged", VTF_SLOT_AT(i));
        vt_checked(c, sizeof slot);
    }
}

/* Extents lie one after the other up to the end of the file. */
static void vt_check_extents(vt_check *c) {
    uint64_t at = VTF_FRONT, number = 0;
    while (at < c->s->head.end) {
        const vtf_extent *e = vt_extent_at(c->s->file, at, 0);
        if (!e || e->number != ++number) {
            vt_bad(c, "extent header damaged", at);
            return;
        }
        vt_checked(c, sizeof *e);
        at += e->length;
    }
    if (number != c->s->head.extent) vt_bad(c, "count of extents is wrong", at);
}

/* Every record, from the file's first on. */
static void vt_check_log(vt_check *c) {
    const vt_state *s = c->s;
    const vtf_extent *e = vt_extent_at(s->file, VTF_FRONT, VTF_LOG);
    vt_walk w = {s->file, {VTF_FRONT + VTF_HEAD_ROOM, VTF_FRONT, e ? e->length : 0, 0, 0}, 0};
    while (w.pos.at != s->pos.at) {
        uint64_t at = w.pos.at;
        const vtf_record *r = vt_walk_next(&w, NULL);
        if (!r) {
            vt_bad(c, "log record damaged", at);
            return;
        }
        vt_checked(c, r->size);
    }
    if (s->ckpt.at) {
        const void *p = vt_at(s->file, s->ckpt.at, s->ckpt.length);
        if (!p || vt_crc32c(0, p, (size_t)s->ckpt.length) != s->ckpt.crc)
            vt_bad(c, "checkpoint damaged", s->ckpt.at);
        vt_checked(c, s->ckpt.length);
    }
}

/* The header in front of an INDEX run says what the directory says. */
static int vt_run_headed(const vt_check *c, const vt_space *s, const vt_run *r) {
    vtf_run d = vt_run_stored(s, r);
    const uint8_t *head = vt_at(c->s->file, r->at - sizeof d, sizeof d);
    return head && !memcmp(head, &d, sizeof d);
}

static int vt_check_run(vt_check *c, const vt_space *s, const vt_run *r) {
    uint32_t crc = vt_crc32c(0, r->e, (size_t)r->n * sizeof *r->e);
    uint64_t k;
    for (k = 1; k < r->n; k++)
        if (r->e[k].id <= r->e[k - 1].id) vt_bad(c, "index run out of order", r->at);
    if (r->n && (r->e[0].id != r->min || r->e[r->n - 1].id != r->max))
        vt_bad(c, "index run damaged", r->at);
    if (r->at && (crc != r->crc || !vt_run_headed(c, s, r))) vt_bad(c, "index run damaged", r->at);
    return vt_checked(c, r->n * sizeof *r->e);
}

static int vt_check_runs(vt_check *c) {
    const vt_index *x = &c->s->index;
    size_t i, j;
    for (i = 0; i < x->n; i++)
        for (j = 0; j < x->a[i].n; j++)
            if (!vt_check_run(c, &x->a[i], &x->a[i].runs[j])) return 0;
    return 1;
}

static int vt_check_sketch(vt_check *c, const vt_seg *s) {
    const uint8_t *base = vt_at(c->s->file, s->f.sketch, 1);
    const uint32_t *sums;
    vt_sketch k;
    vt_parts p;
    uint64_t i;
    uint32_t sum;
    if (!s->f.sketch) return 1;
    if (!vt_seg_sketch(c->s->file, s, vt_tags_get(&c->s->tags, s->f.tag)->f.dim, &k)) {
        vt_bad(c, "sketch damaged", s->f.sketch);
        return 1;
    }
    p = vt_sketch_parts(k.rows, k.dim);
    sums = (const uint32_t *)(const void *)(base + VTF_HEAD_ROOM);
    for (i = 0; vt_sketch_sum(base, &p, i, &sum); i++) {
        if (sum != sums[i]) vt_bad(c, "sketch damaged", s->f.sketch + p.mean + i * VTF_SUMMED);
        if (!vt_checked(c, VTF_SUMMED)) return 0;
    }
    return 1;
}

static int vt_check_segments(vt_check *c) {
    const vt_rows *rows = &c->s->rows;
    size_t i;
    uint32_t row, dead;
    for (i = 0; i < rows->n; i++) {
        const vt_seg *s = &rows->a[i];
        const vtf_extent *e = vt_extent_at(c->s->file, s->f.at, VTF_ROWS);
        if (!e || e->tag != s->f.tag || e->cap != s->f.cap || e->length != s->f.length)
            vt_bad(c, "segment and extent differ", s->f.at);
        if (s->f.bits_at && !s->changed && s->bits &&
            vt_crc32c(0, s->bits, vt_bits_bytes(s->f.cap)) != s->f.bits_crc)
            vt_bad(c, "bitmap damaged", s->f.bits_at);
        for (row = dead = 0; row < s->f.rows; row++) {
            dead += (uint32_t)vt_row_dead(s, row);
            if (!vt_row_dead(s, row) && !vt_row_sound(s, row))
                vt_bad(c, "row damaged", vt_row_at(s, row));
            if (!vt_checked(c, s->stride + sizeof(vtf_row))) return 0;
        }
        if (dead != s->f.dead) vt_bad(c, "count of dead rows is wrong", s->f.at);
        if (!vt_check_sketch(c, s)) return 0;
    }
    return 1;
}

/* Whether a group's rows are its item's, in order, and alive. */
static int vt_group_sound(const vtf_entry *e, const vt_group *g) {
    uint32_t i;
    for (i = 0; i < g->parts; i++) {
        const vtf_row *r = vt_row(g->seg, g->row + i);
        if (r->id != e->id || r->rev != e->rev || r->part != i || vt_row_dead(g->seg, g->row + i))
            return 0;
    }
    return 1;
}

/* The index of a tag's rows names each live row exactly once, and live items only. */
static void vt_check_groups(vt_check *c, const vt_tag *t) {
    const vt_space *space = vt_index_find(&c->s->index, VTF_S_ROWS, t->f.tag);
    const vtf_entry *e;
    uint64_t named = 0, live = 0, keys = 0;
    vt_iter it;
    size_t i;
    if (t->f.role == VTAG_GONE || vt_iter_begin(&it, space, 0)) return;
    while ((e = vt_iter_next(&it)) != NULL) {
        const vtf_entry *item = vt_state_item(c->s, e->id);
        vt_group g;
        keys++;
        if (!vt_group_of(&c->s->rows, t->f.tag, e, &g) || !vt_group_sound(e, &g))
            vt_bad(c, "index and rows differ", e->at);
        else named += g.parts;
        if (!item || e->rev > item->rev) vt_bad(c, "a row without its item", e->at);
    }
    vt_iter_end(&it);
    for (i = 0; i < c->s->rows.n; i++)
        if (c->s->rows.a[i].f.tag == t->f.tag)
            live += c->s->rows.a[i].f.rows - c->s->rows.a[i].f.dead;
    if (named != live || keys != (space ? space->live : 0))
        vt_bad(c, "live rows are not all indexed", 0);
}

/* Whether an event or a policy can be read from its blob; of other kinds a blob is what it is. */
static int vt_blob_reads(uint32_t kind, const vtf_blob *b) {
    vtag_event event;
    vtag_policy policy;
    if (kind == VTF_S_EVENTS) return vt_event_unpack(&event, b);
    return kind != VTF_S_POLICY || vt_policy_unpack(&policy, b);
}

/* The blobs that a space's entries refer to. */
static int vt_check_blobs(vt_check *c, const vt_space *s) {
    const vtf_entry *e;
    uint64_t keys = 0;
    vt_iter it;
    if (s->kind == VTF_S_ROWS || vt_iter_begin(&it, s, 0)) return 1;
    while (!c->cancelled && (e = vt_iter_next(&it)) != NULL) {
        const vtf_blob *b = e->at ? vt_blob_get(c->s->file, e, s->kind) : NULL;
        keys++;
        if ((e->at || (s->kind != VTF_S_ITEMS && s->kind != VTF_S_FACTS)) && !b)
            vt_bad(c, "key, payload or text damaged", e->at);
        else if (b && !vt_blob_reads(s->kind, b))
            vt_bad(c, s->kind == VTF_S_EVENTS ? "event damaged" : "policy damaged", e->at);
        else vt_checked(c, b ? vtf_blob_bytes(b) : 0);
    }
    vt_iter_end(&it);
    if (keys != s->live && !c->cancelled) vt_bad(c, "count of keys is wrong", 0);
    return !c->cancelled;
}

VTAG_API vtag_err vtag_verify(const vtag_snap *snap, vtag_report *report, vtag_progress *progress,
                              void *ctx) {
    vtag_report r = VT_ZERO;
    vt_check c = {NULL, &r, progress, ctx, 0, 0};
    size_t i;
    int go;
    vtag_err err = vt_snap_needs(snap, report != NULL, "report: no place for it");
    if (report) memset(report, 0, sizeof *report);
    if (err) return err;
    c.s = snap->state;
    c.total = c.s->head.end;
    vt_check_front(&c);
    vt_check_extents(&c);
    vt_check_log(&c);
    go = vt_check_runs(&c) && vt_check_segments(&c);
    for (i = 0; go && i < c.s->tags.n; i++) {
        const vt_tag *t = &c.s->tags.a[i];
        vt_tag read = *t;
        if (!vt_tag_read(&read, c.s->file)) vt_bad(&c, "tag name damaged", t->f.names);
        vt_check_groups(&c, t);
    }
    for (i = 0; go && i < c.s->index.n; i++) go = vt_check_blobs(&c, &c.s->index.a[i]);
    *report = r;
    if (!go) return VTAG_CANCELLED;
    return r.bad ? VTAG_CORRUPT : VTAG_OK;
}

/* ---- Copy and compact ---------------------------------------------------------------------- */

typedef struct vt_copy {
    const vt_state *from;
    vtag_progress *progress;
    void *ctx;
    uint64_t done, total;
    vtag_batch *to;
    vt_plan plan;
    vtf_run run; /* that is being written                                     */
} vt_copy;

static vtag_err vt_copy_step(vt_copy *c) {
    if (!c->progress || c->done++ % 64) return VTAG_OK;
    return c->progress(c->ctx, vt_min_u64(c->done, c->total), c->total) ? VTAG_CANCELLED : VTAG_OK;
}

/* Copies a blob, checked; *at: where it lies now. */
static vtag_err vt_copy_blob(vt_copy *c, uint32_t kind, uint64_t id, uint64_t *at) {
    const vtf_blob *b = vt_blob_at(c->from->file, *at, kind);
    vtf_blob w;
    if (!b || b->id != id || !vt_blob_reads(kind, b))
        return vt_say(&c->from->file->env, VTAG_CORRUPT, "damaged; cannot be copied", *at);
    w = *b;
    return vt_batch_blob(c->to, &w, vt_blob_name(b), vt_blob_data(b), at);
}

static vtag_err vt_copy_tags(vt_copy *c) {
    const vt_tags *tags = &c->from->tags;
    vtag_err err = VTAG_OK;
    size_t i;
    for (i = 0; i < tags->n && !err; i++) {
        vt_tag t = tags->a[i];
        t.changed = 1;
        if (!vt_tag_read(&t, c->from->file))
            return vt_say(&c->from->file->env, VTAG_CORRUPT, "damaged; cannot be copied",
                          t.f.names);
        err = vt_copy_blob(c, 0, t.f.tag, &t.f.names);
        if (!err) err = vt_tag_text(&t, t.name, t.note, t.alias);
        if (!err) err = vt_tags_add(&c->to->s->tags, &t);
    }
    return err;
}

/* Takes an entry into the space that is being copied: into its run, or, where all fit into the
   record of the commit, into its table. */
static vtag_err vt_copy_entry(vt_copy *c, const vt_space *s, const vtf_entry *e) {
    if (!c->plan.sealed) return vt_batch_set(c->to, s->kind, s->tag, e);
    return vt_run_add(c->to, &c->run, e);
}

/* Begins and ends the copy of a space. Its run is counted as if a table had gone there. What the
   space says of the number of its keys is not relied on. */
static vtag_err vt_copy_begin(vt_copy *c, const vt_space *s) {
    vt_space *x = vt_index_space(&c->to->s->index, s->kind, s->tag);
    uint64_t n = 0;
    vt_iter it;
    if (!x || !vt_batch_tab_make(c->to, s->kind, s->tag)) return VTAG_NOMEM;
    if (!c->plan.sealed) return VTAG_OK;
    vtag_err err = vt_iter_begin(&it, s, 0);
    while (!err && vt_iter_next(&it)) n++;
    vt_iter_end(&it);
    return err ? err : vt_run_begin(c->to, x, n, &c->run);
}

static vtag_err vt_copy_end(vt_copy *c, const vt_space *s, uint64_t bytes) {
    vt_tab *t = vt_batch_tab(c->to, s->kind, s->tag);
    vt_space *x = vt_index_find(&c->to->s->index, s->kind, s->tag);
    vt_run run;
    if (!c->plan.sealed) return VTAG_OK;
    vtag_err err = vt_run_end(c->to, &c->run, &run);
    if (err || !run.n) return err;
    t->runs++;
    t->live += (int64_t)run.n;
    t->bytes += (int64_t)bytes;
    x->live += run.n;
    x->bytes += bytes;
    return vt_space_push(x, &run);
}

static vtag_err vt_copy_space(vt_copy *c, const vt_space *s) {
    const vtf_entry *e;
    uint64_t bytes = 0;
    vt_iter it;
    vtag_err err = vt_iter_begin(&it, s, 0);
    if (!err) err = vt_copy_begin(c, s);
    while (!err && (e = vt_iter_next(&it)) != NULL) {
        vtf_entry w = *e;
        if (s->kind == VTF_S_WAIVERS && vt_stale(c->from, e->id, e->rev)) continue;
        if (w.at || (s->kind != VTF_S_ITEMS && s->kind != VTF_S_FACTS)) {
            err = vt_copy_blob(c, s->kind, w.id, &w.at);
            bytes += c->to->newest.length;
        }
        if (!err) err = vt_copy_entry(c, s, &w);
        if (!err) err = vt_copy_step(c);
    }
    vt_iter_end(&it);
    return err ? err : vt_copy_end(c, s, bytes);
}

/* Copies a group's rows, each checked, and points *e at them. */
static vtag_err vt_copy_group(vt_copy *c, vt_segw *w, vtf_entry *e) {
    vt_group g;
    vtag_err err = VTAG_OK;
    uint32_t i;
    if (!vt_group_of(&c->from->rows, w->tag, e, &g) || !vt_group_sound(e, &g))
        return vt_say(&c->from->file->env, VTAG_CORRUPT, "index and rows differ", e->at);
    err = vt_segw_ready(c->to, w, g.parts);
    if (err) return err;
    e->at = (uint64_t)w->seg << 32 | c->to->s->rows.a[w->seg].f.rows;
    for (i = 0; i < g.parts && !err; i++) {
        vtf_row r = *vt_row(g.seg, g.row + i);
        if (!vt_row_sound(g.seg, g.row + i))
            return vt_say(&c->from->file->env, VTAG_CORRUPT, "row damaged",
                          vt_row_at(g.seg, g.row + i));
        err = vt_row_put(c->to, w, &r, vt_vector(g.seg, g.row + i));
        if (!err) err = vt_copy_step(c);
    }
    return err;
}

static vtag_err vt_copy_rows(vt_copy *c, const vt_tag *t) {
    const vt_space *s = vt_index_find(&c->from->index, VTF_S_ROWS, t->f.tag);
    const vtf_entry *e;
    vt_segw *w;
    vt_iter it;
    vtag_err err;
    size_t i;
    if (!s || t->f.role == VTAG_GONE) return VTAG_OK;
    w = vt_batch_segw(c->to, t->f.tag);
    if (!w) return VTAG_NOMEM;
    c->to->o.expect_rows = 0;
    for (i = 0; i < c->from->rows.n; i++)
        if (c->from->rows.a[i].f.tag == t->f.tag)
            c->to->o.expect_rows += c->from->rows.a[i].f.rows - c->from->rows.a[i].f.dead;
    err = vt_iter_begin(&it, s, 0);
    if (!err) err = vt_copy_begin(c, s);
    while (!err && (e = vt_iter_next(&it)) != NULL) {
        vtf_entry moved = *e;
        err = vt_copy_group(c, w, &moved);
        if (!err) err = vt_copy_entry(c, s, &moved);
    }
    vt_iter_end(&it);
    if (!err) err = vt_copy_end(c, s, 0);
    return err || s->bytes == VT_UNKNOWN ? err : vt_batch_written(c->to, t->f.tag, s->bytes);
}

/* Copies a state into a batch on an empty file; the batch's commit takes its number. */
static vtag_err vt_copy_state(vt_copy *c) {
    const vt_state *s = c->from;
    vtf_head *h = &c->to->s->head;
    vtf_head kept = *h;
    vtag_err err;
    size_t i;
    *h = s->head;
    h->commit = kept.commit;
    h->end = kept.end;
    h->extent = kept.extent;
    h->flags = (h->flags & VTF_ROLLED_BACK) | VTF_WHOLE;
    c->plan = vt_plan_of(s);
    c->to->restore = c->to->changed = c->to->sketch = c->to->fits = 1;
    c->to->seal = c->plan.sealed;
    c->to->coming[0] = c->plan.blobs;
    c->to->coming[1] = c->plan.sealed ? c->plan.index : 0;
    c->to->commit_as = s->head.commit;
    err = vt_copy_tags(c);
    for (i = 0; i < s->index.n && !err; i++)
        if (s->index.a[i].kind != VTF_S_ROWS) err = vt_copy_space(c, &s->index.a[i]);
    for (i = 0; i < s->tags.n && !err; i++) err = vt_copy_rows(c, &s->tags.a[i]);
    return vt_fail(c->to, err);
}

/* ---- Files of our own beside the store ----------------------------------------------------- */

#define VT_PARTS 16u /* copies to one path at once                                */

/* A name in the folder of a path that nobody else uses: it hangs on the store, the path, and
   which of VT_PARTS it is, so that what a killed process left is found again. */
static char *vt_part_path(const vt_file *of, const char *path, uint32_t which) {
    static const char digit[] = "0123456789abcdef";
    char name[] = ".vtag-0123456789abcdef.part";
    const char *slash = strrchr(path, '/');
    size_t dir = slash ? (size_t)(slash - path) + 1 : 0;
    char *p = (char *)vt_alloc(dir + sizeof name);
    vt_xxh h;
    vt_xxh_init(&h);
    vt_xxh_update(&h, of->uuid, sizeof of->uuid);
    vt_xxh_update(&h, path + dir, strlen(path + dir));
    vt_xxh_update(&h, &which, sizeof which);
    uint64_t x = vt_xxh_digest(&h);
    for (size_t i = 0; i < 16; i++) name[6 + i] = digit[x >> (60 - 4 * i) & 15];
    if (!p) return NULL;
    memcpy(p, path, dir);
    memcpy(p + dir, name, sizeof name);
    return p;
}

/* Removes what a killed process left under a name of ours; LOCKED: it is at work still,
   EXISTS: it is not ours. */
static vtag_err vt_part_clear(const vt_file *of, const char *part) {
    const vtag_io *io = of->env.io;
    vt_env quiet = of->env;
    vtf_identity id;
    vt_file *f = NULL;
    int blank = 0;
    quiet.log = NULL;
    vtag_err err = vt_file_open(&quiet, part, VTAG_EXISTING, &f);
    if (err == VTAG_NOTFOUND) return VTAG_OK;
    if (err) return err == VTAG_FORMAT || err == VTAG_DENIED ? VTAG_EXISTS : err;
    err = io->lock(f->f, VTAG_LOCK_WRITER, 0);
    if (!err && io->same(f->f, part)) {
        err = vt_file_blank(f, &blank);
        if (!err && !blank) err = vt_identity_read(f, &id);
        if (!err && !blank && memcmp(id.uuid, of->uuid, sizeof id.uuid)) err = VTAG_EXISTS;
        if (err == VTAG_FORMAT || err == VTAG_CORRUPT) err = VTAG_EXISTS;
        if (!err) err = io->remove(io->ctx, part);
    }
    vt_file_drop(f);
    return err;
}

/* Makes the file of a name of ours, unless another process has it. */
static vtag_err vt_part_make(const vt_file *of, const char *part, void **f) {
    const vtag_io *io = of->env.io;
    vtag_err err = VTAG_EXISTS;
    for (int tries = 0; err == VTAG_EXISTS && tries < 3; tries++) {
        if (io->create) err = io->create(io->ctx, part, of->f, f);
        else err = io->open(io->ctx, part, VTAG_NEW, f);
        if (!err && (io->lock(*f, VTAG_LOCK_WRITER, 0) || !io->same(*f, part))) {
            io->close(*f); /* one who found it before it was locked cleared it away */
            err = VTAG_EXISTS;
            continue;
        }
        vtag_err cleared = err == VTAG_EXISTS ? vt_part_clear(of, part) : VTAG_OK;
        if (cleared) return cleared;
    }
    return err;
}

/* A new file beside path, for what will take its place; *part is its name. */
static vtag_err vt_part_new(const vt_file *of, const char *path, char **part, vt_file **out) {
    vt_file *f = (vt_file *)vt_zalloc(sizeof *f);
    vtag_err err = f ? VTAG_LOCKED : VTAG_NOMEM;
    *part = NULL;
    for (uint32_t i = 0; i < VT_PARTS && (err == VTAG_LOCKED || err == VTAG_EXISTS); i++) {
        vt_free(*part);
        *part = vt_part_path(of, path, i);
        err = *part ? vt_part_make(of, *part, &f->f) : VTAG_NOMEM;
    }
    if (err) {
        vt_free(f);
        return vt_say_why(&of->env, err, "cannot make a file beside", path, 0);
    }
    f->refs = 1;
    f->env = of->env;
    f->env.path = *part;
    f->named = 1; /* of no matter: it will have another */
    f->kept = 1;
    memcpy(f->uuid, of->uuid, sizeof f->uuid);
    *out = f;
    return VTAG_OK;
}

/* An empty store with the uuid of `of` beside path, open for a copy of that. `of` is a file of
   db's, held by the caller: db->file may be another by now. */
static vtag_err vt_copy_open(const vtag_db *like, const vt_file *of, const char *path, int replace,
                             char **part, vtag_db **out) {
    const vtag_io *io = like->env.io;
    vtag_open_opts o = VT_ZERO;
    vtf_head base = VT_ZERO;
    vt_file *f = NULL;
    vtag_db *db;
    vtag_err err;
    o.log = like->env.log;
    o.log_ctx = like->env.log_ctx;
    o.no_map = like->env.no_map;
    o.isa = like->kernels->isa;
    err = vt_part_new(of, path, part, &f);
    if (err) return err;
    err = vt_db_new(&o, io, *part, &db);
    if (err) db = NULL;
    if (!err && replace && io->like) err = io->like(f->f, of->f);
    if (err && db)
        vt_say_why(&like->env, err, "cannot give the new file the rights, or the only name, of",
                   path, 0);
    if (!err) err = vt_file_create(f, &base, of->flags);
    if (!err) err = vt_db_load(db, f);
    if (err) io->remove(io->ctx, *part);
    vt_file_drop(f);
    if (err) vt_db_drop(db);
    else *out = db;
    return err;
}

/* Writes a state to a new file, durably. event: added to its history, or NULL. */
static vtag_err vt_copy_write(vt_copy *c, vtag_db *to, vtag_event *event) {
    const vt_state *s = c->from;
    const vt_file *f = to->file;
    vtag_err err = vtag_begin(to, NULL, &c->to);
    size_t i;
    if (err) return err;
    for (i = 0; i < s->index.n; i++) c->total += s->index.a[i].live;
    if (to->file != f)
        err = vt_say(&to->env, VTAG_LOCKED, "another process is making this file", 0);
    if (!err) err = vt_copy_state(c);
    if (!err && event) {
        event->seq = s->head.event + 1;
        event->time = to->env.io->now(to->env.io->ctx);
        event->commit = s->head.commit;
        c->to->commit_as = s->head.commit + 1;
        err = vt_event_add(c->to, event, 0);
    }
    if (!err) return vtag_commit(c->to);
    vtag_abort(c->to);
    return err;
}

/* Gives the written file its name; nothing is replaced unless it is told to. */
static vtag_err vt_part_publish(const vtag_db *db, vt_file *f, const char *part, const char *path,
                                int replace) {
    const vtag_io *io = db->env.io;
    vtag_err err;
    if (!io->same(f->f, part)) return vt_say_path(&db->env, VTAG_IO, "somebody removed", part);
    if (io->publish) err = io->publish(io->ctx, part, path, replace);
    else err = io->rename(io->ctx, part, path);
    return err ? vt_say_why(&db->env, err, "cannot put the new file at", path, 0) : VTAG_OK;
}

/* Removes what killed processes left beside path. */
static void vt_part_sweep(const vt_file *of, const char *path) {
    for (uint32_t i = 0; i < VT_PARTS; i++) {
        char *part = vt_part_path(of, path, i);
        if (part) vt_part_clear(of, part);
        vt_free(part);
    }
}

/* Whether anything has this name. */
static int vt_path_taken(const vtag_io *io, const char *path) {
    void *there;
    if (io->exists) return io->exists(io->ctx, path);
    vtag_err err = io->open(io->ctx, path, VTAG_READ, &there);
    if (!err) io->close(there);
    return err != VTAG_NOTFOUND;
}

VTAG_API vtag_err vtag_copy(const vtag_snap *s, const char *path, vtag_progress *progress,
                            void *ctx) {
    const vtag_io *io;
    vtag_db *to = NULL;
    vt_copy c = VT_ZERO;
    char *part, real[VTAG_PATH_MAX];
    vtag_err err = vt_snap_needs(s, path && *path, "path: missing");
    if (err) return err;
    io = s->db->env.io;
    c.from = s->state;
    c.progress = progress;
    c.ctx = ctx;
    if (vt_path_taken(io, path))
        return vt_say_path(&s->db->env, VTAG_EXISTS, "not copied; there is already", path);
    if (io->resolve) err = io->resolve(io->ctx, path, real, sizeof real);
    if (err) return vt_say_why(&s->db->env, err, "cannot make", path, 0);
    if (io->resolve) path = real;
    err = vt_copy_open(s->db, s->state->file, path, 0, &part, &to);
    if (!err) {
        err = vt_copy_write(&c, to, NULL);
        if (!err) err = vt_part_publish(s->db, to->file, part, path, 0);
        if (err && io->same(to->file->f, part)) io->remove(io->ctx, part);
        if (!err) vt_part_sweep(s->state->file, path);
    }
    vt_db_drop(to);
    vt_free(part);
    return err;
}

/* Tells whoever has the old file open that another one took its place. */
static void vt_supersede(vt_file *f, const vt_state *s, vtf_slot slot) {
    int i;
    vt_slot_fill(&slot, s);
    slot.flags |= VTF_SUPERSEDED;
    for (i = 0; i < 2; i++) vt_slot_write(f, &slot);
}

/* Puts the written file `to` in the place of db's, which lies at path and whose lock is held. */
static vtag_err vt_compact_swap(vtag_db *db, vtag_db *to, const char *part, const char *path) {
    vt_file *old = vt_file_hold(db->file), *f = to->file;
    vtf_slot slot = db->slot;
    vtag_err err = vt_part_publish(db, f, part, path, 1);
    if (!err) {
        vt_supersede(old, db->state, slot);
        f->env = db->env;
        f->kept = 0; /* the batch that compacts lets go of it */
        vt_spin_lock(&db->gate);
        err = vt_db_take(db, f, 0);
        vt_spin_unlock(&db->gate);
        vt_db_poison(db, err);
        if (!err) db->env.io->unlock(old->f, VTAG_LOCK_WRITER);
    }
    vt_file_drop(old);
    return err;
}

/* Whether a compacted copy is worth its place: it is smaller, or of a newer format, or leaves out
   what was deleted or replaced, or has a shorter log. */
static int vt_compact_gains(const vtag_db *db, const vtag_db *to) {
    const vt_state *old = db->state, *s = to->state;
    if (s->head.end < old->head.end || to->file->version > db->file->version) return 1;
    return !(old->head.flags & VTF_WHOLE) || (s->head.end == old->head.end && s->log < old->log);
}

VTAG_API vtag_err vtag_compact(vtag_db *db, vtag_progress *progress, void *ctx) {
    vtag_begin_opts opts = VT_ZERO;
    vtag_batch *b;
    vtag_db *to = NULL;
    vtag_event event;
    vt_copy c = VT_ZERO;
    const vtag_io *io;
    char *part, real[VTAG_PATH_MAX];
    const char *path;
    int gains;
    vtag_err err;
    opts.wait_ms = VT_WAITS;
    err = vt_db_writable(db, VTAG_ARG);
    if (!err) err = vtag_begin(db, &opts, &b);
    if (err) return err;
    io = db->env.io;
    c.from = db->state;
    c.progress = progress;
    c.ctx = ctx;
    event = vt_event_of(b, VTAG_K_COMPACTED, 0, 0);
    part = NULL;
    path = io->resolve ? real : db->path; /* a link may have come to lie there */
    err = io->resolve ? io->resolve(io->ctx, db->path, real, sizeof real) : VTAG_OK;
    if (err) vt_say_why(&db->env, err, "cannot compact", db->path, 0);
    else err = vt_copy_open(db, db->file, path, 1, &part, &to);
    if (!err) {
        err = vt_copy_write(&c, to, &event);
        gains = !err && vt_compact_gains(db, to);
        if (!err && gains) err = vt_compact_swap(db, to, part, path);
        if ((err || !gains) && io->same(to->file->f, part)) io->remove(io->ctx, part);
        if (!err) vt_part_sweep(db->file, path);
        if (!err && !gains)
            vt_refuse(db, VTAG_OK, "a compaction would gain nothing; none was made");
    }
    vtag_abort(b);
    vt_db_drop(to);
    vt_free(part);
    return err;
}

#if defined(__clang__) && (defined(__x86_64__) || defined(__i386__))
#pragma float_control(pop)
#endif
#endif /* VTAG_IMPLEMENTATION_DONE */
#endif /* VTAG_IMPLEMENTATION */

/*
vtag is available under two licences; choose whichever you prefer.

------------------------------------------------------------------------------
ALTERNATIVE A - MIT License

Copyright (c) 2026 the vtag authors

Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in
the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
of the Software, and to permit persons to whom the Software is furnished to do
so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

------------------------------------------------------------------------------
ALTERNATIVE B - Public Domain (www.unlicense.org)

This is free and unencumbered software released into the public domain.

Anyone is free to copy, modify, publish, use, compile, sell, or distribute this
software, either in source code form or as a compiled binary, for any purpose,
commercial or non-commercial, and by any means.

In jurisdictions that recognize copyright laws, the author or authors of this
software dedicate any and all copyright interest in the software to the public
domain. We make this dedication for the benefit of the public at large and to
the detriment of our heirs and successors. We intend this dedication to be an
overt act of relinquishment in perpetuity of all present and future rights to
this software under copyright law.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
*/
