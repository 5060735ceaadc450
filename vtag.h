/* vtag.h - an embedded vector store whose vectors carry the version of their model

   Embeddings outlive the model that made them badly: swap the model, keep the
   dimension, and a vector store answers as before, only wrongly. vtag gives every
   vector, and every query, a version tag; it fills a new tag beside the old one,
   measures how complete it is, cuts over when a numeric gate says so, and rolls
   back in one superblock write.

   USE. Copy this file into your project. In exactly one C or C++ file write

       #define VTAG_IMPLEMENTATION
       #include "vtag.h"

   or add vtag_impl.c to the build. Everywhere else, include it plainly.

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
               8 codecs >>codecs            9 top-k >>topk
       store  10 log and superblock >>log  11 tags and events >>tags
              12 items and index >>index   13 rows and segments >>rows
              14 state >>state             15 batch >>batch     16 search >>search
       life   17 migration >>migration     18 history >>history 19 care >>care

   THREADS. The library starts none. A vtag_db and a vtag_snap may be used by any
   number of threads at once; a vtag_batch by one at a time. Readers never wait for
   the writer, nor it for them, in one process or in several. At most one batch is
   open on a file: its lock is held from vtag_begin to vtag_commit or vtag_abort and
   dies with its process. After fork the child may only close.

   MEMORY. Inputs are read during the call and never kept. What a snapshot returns
   lives until vtag_release. No search allocates anything that grows with the rows.

   ERRORS. Every call that can fail returns a vtag_err; out-parameters are written
   last, and only on success unless the call says otherwise. Detail (which path,
   which offset) goes to the log callback of vtag_open_opts. In a batch, an error
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
#ifndef VTAG_H
#define VTAG_H
#include <stddef.h>
#include <stdint.h>

#ifndef VTAG_API
#  ifdef VTAG_STATIC
#    define VTAG_API static
#  else
#    define VTAG_API extern
#  endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ==== 1  API ==================================================== >>api */

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
    X(CANCELLED, "cancelled by the progress callback")

#define VTAG_X(name, text) VTAG_##name,
typedef enum vtag_err { VTAG_ERRORS(VTAG_X) VTAG_ERR_COUNT } vtag_err;
#undef VTAG_X

/* ---- Choices: zero is always the default ---------------------------------- */

typedef enum vtag_metric { VTAG_COSINE, VTAG_DOT, VTAG_L2SQ } vtag_metric;
typedef enum vtag_codec { VTAG_F32, VTAG_F16, VTAG_I8 } vtag_codec;
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
    VTAG_EXISTING,  /* open; IO if there is none                               */
    VTAG_READ,      /* open read-only                                          */
    VTAG_NEW        /* create; EXISTS if there is one                          */
} vtag_access;
typedef enum vtag_kind {
    VTAG_K_NOTE, VTAG_K_DECLARED, VTAG_K_SCORE, VTAG_K_SHADOW, VTAG_K_WAIVED,
    VTAG_K_POLICY, VTAG_K_HELD, VTAG_K_CUTOVER, VTAG_K_ROLLBACK, VTAG_K_RETIRED,
    VTAG_K_COMPACTED
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
    float    dist;               /* smaller is closer: 1 - cos, -dot, squared L2 */
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
    uint32_t    state;           /* under the asked tag: VTAG_FRESH ...; 0: no tag asked */
    const char *why;             /* of a waiver                                */
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

typedef struct vtag_row {        /* facts about one stored vector              */
    uint64_t rev;                /* the item's revision that was embedded      */
    uint32_t off, len;           /* the span it stands for                     */
    uint32_t parts;              /* vectors that the item has under the tag    */
} vtag_row;

typedef struct vtag_spec {       /* what a tag means; fixed once declared      */
    const char *name;            /* "model@version/preparation/...", 1..255 bytes */
    uint32_t    dim;             /* 1..32,768                                  */
    vtag_metric metric;
    vtag_codec  codec;           /* how rows are stored; F16 and I8: ARG in this version */
    uint64_t    fingerprint;     /* hash of weights and tokenizer; 0 unknown, matches any */
    uint32_t    flags;           /* VTAG_ASSUMED, VTAG_NO_SKETCH               */
    const char *note;            /* free text, up to 4,096 bytes: prompt, provider, licence */
} vtag_spec;
#define VTAG_ASSUMED   1u        /* legacy vectors adopted under this name     */
#define VTAG_NO_SKETCH 2u

typedef struct vtag_info {
    vtag_tag  tag;
    vtag_spec spec;
    vtag_role role;
    uint64_t  items, rows;       /* live items with a vector, live vectors     */
    uint64_t  bytes;             /* of the file, held by this tag's segments   */
    uint64_t  created;           /* Unix ms                                    */
    uint64_t  activated;         /* the newest time it became active; 0: never */
    uint64_t  writes_with, writes_without; /* new revisions since declared that gave, or left out, it */
    uint64_t  kept_ms;           /* retention credited                         */
    int       forced;            /* cut over below policy, until its gate passes */
} vtag_info;

typedef struct vtag_ids { const uint64_t *ids; size_t n; } vtag_ids; /* ascending */

typedef struct vtag_search_opts {
    vtag_mode       mode;
    uint32_t        effort;      /* approximate only; 0: default               */
    const float    *max_dist;    /* inclusive; NULL: no threshold              */
    const vtag_ids *only;        /* NULL: all; empty: none                     */
    int           (*keep)(void *ctx, uint64_t id); /* NULL: all; a pure function of id; called from every part's thread */
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
    const char *reason;          /* required to go below the policy; recorded  */
} vtag_gate;

typedef struct vtag_verdict {
    int        pass;
    uint32_t   failed;           /* VTAG_TERM_...                              */
    vtag_gate  used;             /* thresholds as resolved                     */
    vtag_cover cover;            /* of the tag against the active one          */
    double     score, base_score;
} vtag_verdict;
#define VTAG_TERM_COVERAGE  1u
#define VTAG_TERM_WAIVED    2u
#define VTAG_TERM_FRESHNESS 4u
#define VTAG_TERM_SCORE     8u

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
} vtag_stat;

typedef struct vtag_report {
    uint64_t records, bytes;     /* checked                                    */
    uint64_t bad;                /* found wrong                                */
    uint64_t first_bad;          /* file offset of the first of them           */
} vtag_report;

/* ---- Environment: every field optional -------------------------------------- */

/* What the library asks of the system. Replace it to test, to encrypt, or to run
   where there are no files. A file object is used by several threads at once.
   Locks are advisory, owned by the file object and dropped with it. */
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
} vtag_io;
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
    const char     *isa;         /* "scalar", "avx2", "avx512", "neon"; NULL: the best; ARG if not here */
    const vtag_io  *io;          /* NULL: the system's                         */
    void          (*log)(void *ctx, vtag_err err, const char *msg, uint64_t at); /* one line of detail; at: file offset */
    void           *log_ctx;
} vtag_open_opts;

typedef struct vtag_begin_opts {
    uint32_t wait_ms;            /* for another writer; 0: LOCKED at once      */
    int      restore;            /* into an empty file: revisions, times and events as given */
    uint64_t expect_rows;        /* about how many will come; sizes segments to fit */
} vtag_begin_opts;

/* Called now and then by long calls; a non-zero answer cancels them. */
typedef int vtag_progress(void *ctx, uint64_t done, uint64_t total);

/* ---- File --------------------------------------------------------------------- */

/* Opens a store. opts may be NULL. The same path may be open any number of times,
 * in any number of processes.
 * Errors: ARG IO NOSPACE NOMEM FORMAT CORRUPT EXISTS (VTAG_NEW) READONLY LOCKED
 *         (another process is creating the file).
 * Cost:   proportional to segments, not to rows. */
VTAG_API vtag_err vtag_open(const char *path, const vtag_open_opts *opts, vtag_db **db);

/* Opens a store that lies in memory, read-only. The bytes are borrowed until close
 * (copied first if they are not 64-byte aligned). */
VTAG_API vtag_err vtag_open_memory(const void *image, size_t size, const vtag_open_opts *opts, vtag_db **db);

/* Closes a handle; NULL is legal. Live snapshots stay good and keep the file open
 * until their release. An open batch must have ended. */
VTAG_API void vtag_close(vtag_db *db);

/* Makes every commit so far durable, whatever the durability.
 * Errors: READONLY LOCKED IO NOSPACE. Cost: one sync. */
VTAG_API vtag_err vtag_flush(vtag_db *db);

/* Tidies what past commits left: gathers the index entries of the log into sorted
 * runs, so that opening and looking up get cheaper. Optional; the writer does the
 * same by itself now and then.
 * Errors: READONLY LOCKED IO NOSPACE NOMEM CANCELLED. Cost: O(entries since). */
VTAG_API vtag_err vtag_seal(vtag_db *db, vtag_progress *progress, void *ctx);

/* Rewrites the file without deleted, replaced and retired rows, checking every
 * checksum on the way, and puts it in the place of the old one in one step. Readers
 * go on undisturbed and move over at their next snapshot. Needs room for the result.
 * Errors: READONLY LOCKED IO NOSPACE NOMEM CORRUPT CANCELLED. Cost: O(live bytes). */
VTAG_API vtag_err vtag_compact(vtag_db *db, vtag_progress *progress, void *ctx);

/* A short text for an error: never NULL, static. */
VTAG_API const char *vtag_strerror(vtag_err err);

/* The id that a key gets: XXH64 with seed 0 of its bytes [XXH]. */
VTAG_API uint64_t vtag_id(const char *key);

/* ---- Change: what alters the content takes a batch ------------------------------ */

/* Starts a batch and takes the file's writer lock, waiting for it at most
 * opts->wait_ms. A crashed writer's last commit is completed or dropped here.
 * Errors: READONLY LOCKED IO NOSPACE NOMEM CORRUPT. */
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
 *         FULL (4,095 models, 4,095 versions of each, 255 preparations of each). */
VTAG_API vtag_err vtag_declare(vtag_batch *b, const vtag_spec *spec, vtag_tag *tag);

/* Writes an item with any number n of its vectors v[n], of any tags; vectors of one
 * tag are its parts, in the order given, and replace all it had. Tags not given
 * become stale, unless the content did not change: the revision is kept when the
 * payload equals the stored one, or when there is none to compare and every vector
 * given equals the fresh stored one bit for bit.
 *   item   in: id or key, rev (0, or the revision expected), data; out: id, rev
 * Errors: ARG NOTAG RETIRED DIM VALUE EXISTS (the id has another key) CHANGED. */
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

/* Adds a line to the history: NOTE, SCORE, SHADOW or HELD; the engine sets seq and
 * time, and marks a score PROVISIONAL if event->cover does not pass the policy.
 * A score's commit and cover are those of the snapshot that was scored.
 * Errors: ARG NOTAG. */
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
VTAG_API vtag_err vtag_cutover(vtag_batch *b, vtag_tag tag, const vtag_gate *gate, vtag_verdict *verdict);

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
 * nothing that was ever given out is given out again. Errors: ARG. */
VTAG_API vtag_err vtag_restore_stat(vtag_batch *b, const vtag_stat *stat);

/* ---- Look: what reads takes a snapshot -------------------------------------------- */

/* Freezes the newest committed state, of whatever process. Errors: NOMEM IO CORRUPT.
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
VTAG_API vtag_err vtag_tags(const vtag_snap *s, uint64_t *cursor, vtag_info *out, size_t cap, size_t *n);
VTAG_API vtag_err vtag_history(const vtag_snap *s, uint64_t *cursor, vtag_event *out, size_t cap, size_t *n);
VTAG_API vtag_err vtag_metas(const vtag_snap *s, uint64_t *cursor, const char **names, size_t cap, size_t *n);

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

/* Finds the rows of q's tag nearest to q.
 *   q      q.x[q.dim], read during the call only
 *   hits   out[k], ascending dist, ties by id, then part
 *   n      out: hits written, min(k, matches)
 * Errors: NOTAG RETIRED PREVIEW DIM VALUE ARG NOMEM. Threads: any.
 * Cost:   O(rows * dim); with `only`, O(ids allowed). */
VTAG_API vtag_err vtag_search(const vtag_snap *s, vtag_vec q, const vtag_search_opts *opts,
                              size_t k, vtag_hit *hits, size_t *n);

/* The same for nq queries at once, which reads each row once for all of them.
 *   q      q.x[nq * q.dim], row by row
 *   hits   out[nq * k];  n out[nq] */
VTAG_API vtag_err vtag_search_many(const vtag_snap *s, vtag_vec q, size_t nq, const vtag_search_opts *opts,
                                   size_t k, vtag_hit *hits, size_t *n);

/* Joins two answers of one query, into[n] with room for k, and from[m]; returns the
 * hits kept. For the caller's threads, each of which searched one part. */
VTAG_API size_t vtag_merge(vtag_hit *into, size_t n, const vtag_hit *from, size_t m, size_t k);

/* Counts how complete a tag is against a base (0: the active one).
 * Errors: NOTAG RETIRED. Cost: a walk of the ids. */
VTAG_API vtag_err vtag_coverage(const vtag_snap *s, vtag_tag tag, vtag_tag base, vtag_cover *cover);

/* Evaluates the gate of a cutover to tag, and changes nothing. gate NULL: the policy's.
 * Errors: NOTAG RETIRED ARG (below the policy, no reason). */
VTAG_API vtag_err vtag_judge(const vtag_snap *s, vtag_tag tag, const vtag_gate *gate, vtag_verdict *verdict);

/* The policy, with its defaults filled in. */
VTAG_API vtag_err vtag_policy_get(const vtag_snap *s, vtag_policy *policy);

/* Reads metadata. Errors: NOTFOUND CORRUPT. */
VTAG_API vtag_err vtag_meta_get(const vtag_snap *s, const char *name, const void **p, size_t *n);

/* Checks every byte that the state refers to: both slots, the log, every record and
 * extent, the index against the rows. Goes on after the first finding; each goes to
 * the log callback. Errors: CORRUPT (report->bad > 0) CANCELLED. Cost: O(bytes). */
VTAG_API vtag_err vtag_verify(const vtag_snap *s, vtag_report *report, vtag_progress *progress, void *ctx);

/* Writes the state to a new, compact file: a backup. Errors: EXISTS IO NOSPACE NOMEM
 * CORRUPT CANCELLED. Cost: O(live bytes). */
VTAG_API vtag_err vtag_copy(const vtag_snap *s, const char *path, vtag_progress *progress, void *ctx);

#ifdef __cplusplus
}
#endif
#endif /* VTAG_H */
