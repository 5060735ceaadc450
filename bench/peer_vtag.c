/* peer_vtag.c - vtag as a contender, through its public API alone.
     threads=2   a parked helper thread takes the second part
     isa=avx2    forces a row of the kernel table
     sketch=0    declares the tag without sketches
     tags=3      puts three vectors of three tags with each item */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

#define VTAG_IMPLEMENTATION
#define VTAG_STATIC
#include "../vtag.h"
#undef _GNU_SOURCE
#include "peer.h"

typedef struct half { /* the helper's share of one search */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int state; /* 0 idle, 1 to do, 2 done */
    vtag_vec q;
    size_t n, k;
    uint32_t parts; /* 2: all of the queries on the second part of the rows; 0: some on all rows */
    vtag_err err;
} half;

static struct {
    unsigned threads, tags;
    int sketch;
    const char *isa;
    vtag_db *db;
    vtag_snap *snap;
    vtag_tag tag;
    vtag_search_opts opts;
    vtag_ids ids;
    vtag_hit hits[PEER_BATCH * PEER_K], more[PEER_BATCH * PEER_K];
    size_t count[PEER_BATCH], more_count[PEER_BATCH];
    half h;
} v;

static int fail(peer *p, vtag_err err) {
    p->why = vtag_strerror(err);
    return err ? -1 : 0;
}

/* ---- Search -------------------------------------------------------------------- */

static void *helper(void *arg) {
    half *h = arg;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        vtag_search_opts o;
        while (h->state != 1) pthread_cond_wait(&h->wake, &h->lock);
        pthread_mutex_unlock(&h->lock);
        o = v.opts;
        o.part = h->parts / 2;
        o.parts = h->parts;
        h->err = vtag_search_many(v.snap, h->q, h->n, &o, h->k, v.more, v.more_count);
        pthread_mutex_lock(&h->lock);
        h->state = 2;
        pthread_cond_broadcast(&h->wake);
    }
    return NULL;
}

/* A batch is halved by its queries, a few queries by the rows. */
static vtag_err search_two(vtag_vec q, size_t n, size_t k) {
    vtag_search_opts o = v.opts;
    size_t i, mine = n < 32 ? n : n / 2;
    vtag_err err;
    pthread_mutex_lock(&v.h.lock);
    v.h.parts = o.parts = mine == n ? 2 : 0;
    v.h.q = q;
    if (mine < n) v.h.q.x += mine * q.dim;
    v.h.n = mine < n ? n - mine : n;
    v.h.k = k;
    v.h.state = 1;
    pthread_cond_broadcast(&v.h.wake);
    pthread_mutex_unlock(&v.h.lock);
    err = vtag_search_many(v.snap, q, mine, &o, k, v.hits, v.count);
    pthread_mutex_lock(&v.h.lock);
    while (v.h.state != 2) pthread_cond_wait(&v.h.wake, &v.h.lock);
    pthread_mutex_unlock(&v.h.lock);
    if (!err) err = v.h.err;
    if (mine < n) {
        memcpy(v.hits + mine * k, v.more, (n - mine) * k * sizeof *v.hits);
        memcpy(v.count + mine, v.more_count, (n - mine) * sizeof *v.count);
        return err;
    }
    for (i = 0; i < n && !err; i++)
        v.count[i] = vtag_merge(v.hits + i * k, v.count[i], v.more + i * k, v.more_count[i], k);
    return err;
}

static int search(peer *p, size_t from, size_t n, size_t k) {
    vtag_vec q = {0};
    vtag_err err;
    size_t i, j;
    q.tag = v.tag;
    q.dim = (uint32_t)p->queries.dim;
    q.x = p->queries.x + from * p->queries.dim;
    if (v.threads == 2) err = search_two(q, n, k);
    else if (n == 1) err = vtag_search(v.snap, q, &v.opts, k, v.hits, v.count);
    else err = vtag_search_many(v.snap, q, n, &v.opts, k, v.hits, v.count);
    for (i = 0; i < n && !err; i++) {
        for (j = 0; j < v.count[i]; j++) {
            peer_hit h = {v.hits[i * k + j].id, v.hits[i * k + j].dist, 0};
            p->hits[i * k + j] = h;
        }
    }
    return fail(p, err);
}

static int keep(void *ctx, uint64_t id) { return peer_passes(id, *(const uint32_t *)ctx); }

static int set_filter(peer *p) {
    uint64_t *ids, i;
    memset(&v.opts, 0, sizeof v.opts);
    if (p->filter == 'k') {
        v.opts.keep = keep;
        v.opts.keep_ctx = &p->ppm;
        return 0;
    }
    free((void *)(uintptr_t)v.ids.ids);
    v.ids.ids = ids = malloc(p->base.n * sizeof *ids);
    v.ids.n = 0;
    if (!ids) return -1;
    for (i = 0; i < p->base.n; i++)
        if (peer_passes(i, p->ppm)) ids[v.ids.n++] = i;
    v.opts.only = &v.ids;
    return 0;
}

static int search_filtered(peer *p, size_t from, size_t n, size_t k) {
    if (!p->filter) memset(&v.opts, 0, sizeof v.opts);
    return search(p, from, n, k);
}

static int load(peer *p) {
    vtag_open_opts o = {0};
    vtag_info info;
    vtag_stat stat;
    pthread_t t;
    vtag_err err;
    o.access = VTAG_READ;
    o.isa = v.isa;
    err = vtag_open(p->store, &o, &v.db);
    if (!err) err = vtag_snapshot(v.db, &v.snap);
    if (!err) err = vtag_tag_info(v.snap, 0, &info);
    if (!err) err = vtag_stats(v.snap, &stat);
    if (err) return fail(p, err);
    v.tag = info.tag;
    snprintf(p->text, sizeof p->text, "vtag, kernels %s, %u thread%s", stat.isa, v.threads,
             v.threads == 1 ? "" : "s");
    if (v.threads < 2) return 0;
    pthread_mutex_init(&v.h.lock, NULL);
    pthread_cond_init(&v.h.wake, NULL);
    return pthread_create(&t, NULL, helper, &v.h);
}

/* ---- Ingest -------------------------------------------------------------------- */

static vtag_err put_all(const peer *p, vtag_batch *b, const vtag_tag *tags) {
    vtag_vec vec[3];
    vtag_err err = VTAG_OK;
    size_t i, j;
    memset(vec, 0, sizeof vec);
    for (i = 0; i < p->base.n && !err; i++) {
        vtag_item item = {0};
        item.id = i;
        for (j = 0; j < v.tags; j++) {
            vec[j].tag = tags[j];
            vec[j].dim = (uint32_t)p->base.dim;
            vec[j].x = p->base.x + (j ? p->base.n - 1 - i : i) * p->base.dim;
        }
        err = vtag_put(b, &item, vec, v.tags);
    }
    return err;
}

/* A second thread for the sketches of full segments, as the command line has one. */
typedef struct side {
    pthread_t thread;
    void (*work)(void *);
    void *arg;
    int busy;
} side;

static void *side_main(void *arg) {
    side *s = arg;
    s->work(s->arg);
    return NULL;
}

static void side_run(void *ctx, void (*work)(void *), void *arg) {
    side *s = ctx;
    s->work = work;
    s->arg = arg;
    s->busy = !pthread_create(&s->thread, NULL, side_main, s);
    if (!s->busy) work(arg);
}

static void side_wait(void *ctx) {
    side *s = ctx;
    if (s->busy) pthread_join(s->thread, NULL);
    s->busy = 0;
}

static vtag_err fill(const peer *p, vtag_db *db) {
    static const char *const names[] = {"bench@1", "bench@2", "bench@3"};
    vtag_begin_opts o = {0};
    vtag_tag tags[3];
    vtag_batch *b;
    vtag_err err;
    side second = {0};
    size_t j;
    o.expect_rows = p->base.n;
    o.run = side_run;
    o.wait = side_wait;
    o.run_ctx = &second;
    err = vtag_begin(db, &o, &b);
    if (err) return err;
    for (j = 0; j < v.tags && !err; j++) {
        vtag_spec spec = {0};
        spec.name = names[j];
        spec.dim = (uint32_t)p->base.dim;
        spec.metric = p->l2 ? VTAG_L2SQ : VTAG_COSINE;
        spec.flags = v.sketch ? 0 : VTAG_NO_SKETCH;
        err = vtag_declare(b, &spec, &tags[j]);
    }
    if (!err) err = put_all(p, b, tags);
    if (err) vtag_abort(b);
    else err = vtag_commit(b);
    return err;
}

/* Everything until the file is durable and fast to search: put, commit, seal. */
static int ingest(peer *p, uint64_t *ns, uint64_t *bytes) {
    struct stat st;
    vtag_db *db;
    vtag_err err;
    uint64_t t;
    remove(p->store);
    t = peer_now();
    err = vtag_open(p->store, NULL, &db);
    if (err) return fail(p, err);
    err = fill(p, db);
    if (!err) err = vtag_seal(db, NULL, NULL);
    vtag_close(db);
    *ns = peer_now() - t;
    if (!err && stat(p->store, &st)) err = VTAG_IO;
    *bytes = err ? 0 : (uint64_t)st.st_size;
    return fail(p, err);
}

int main(int argc, char **argv) {
    peer p;
    int i;
    memset(&p, 0, sizeof p);
    v.threads = v.tags = 1;
    v.sketch = 1;
    for (i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "threads=", 8)) v.threads = (unsigned)atoi(argv[i] + 8);
        else if (!strncmp(argv[i], "isa=", 4)) v.isa = argv[i] + 4;
        else if (!strncmp(argv[i], "sketch=", 7)) v.sketch = atoi(argv[i] + 7);
        else if (!strncmp(argv[i], "tags=", 5)) v.tags = (unsigned)atoi(argv[i] + 5);
    }
    if (!v.threads || v.threads > 2 || !v.tags || v.tags > 3) return 2;
    snprintf(p.text, sizeof p.text, "vtag");
    p.load = load;
    p.search = search_filtered;
    p.set_filter = set_filter;
    p.ingest = ingest;
    return peer_run(&p);
}
