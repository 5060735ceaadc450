/* peer_plain.c - what takes no library: the yardsticks.
     (none)  a plain C loop over an aligned copy of the rows, as the compiler makes it; for k = 0
             it only reads the rows and adds them up as integers: no scan of f32 is faster
     rule    the score rule, in scalar C: what every answer must equal, to the bit
   Its ingest writes the same bytes into a file and syncs it. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include <math.h>
#include "peer.h"

enum { LANES = 64, RULE_LANES = 16 };

static float *rows;  /* the copy; RULE: padded to whole lanes */
static float *norms; /* RULE */
static volatile uint64_t sink;

/* ---- The plain loop ------------------------------------------------------------ */

static float fold(const float *a) {
    float s = 0;
    int j;
    for (j = 0; j < LANES; j++) s += a[j];
    return s;
}

static float dot(const float *q, const float *x, size_t dim) {
    float a[LANES] = {0};
    size_t i, j;
    for (i = 0; i + LANES <= dim; i += LANES)
        for (j = 0; j < LANES; j++) a[j] += q[i + j] * x[i + j];
    for (j = 0; i < dim; i++, j++) a[j] += q[i] * x[i];
    return fold(a);
}

static float l2(const float *q, const float *x, size_t dim) {
    float a[LANES] = {0};
    size_t i, j;
    for (i = 0; i + LANES <= dim; i += LANES) {
        for (j = 0; j < LANES; j++) {
            float d = q[i + j] - x[i + j];
            a[j] += d * d;
        }
    }
    for (j = 0; i < dim; i++, j++) a[j] += (q[i] - x[i]) * (q[i] - x[i]);
    return fold(a);
}

static void plain(const peer *p, const float *q, peer_hit *hits, size_t k) {
    size_t dim = p->base.dim, n = p->base.n, i, have = 0;
    for (i = 0; i < n; i++) {
        const float *x = rows + i * dim;
        size_t at;
        for (at = 0; at < dim; at += 16) __builtin_prefetch(x + 1024 + at);
        peer_push(hits, &have, k, i, p->l2 ? l2(q, x, dim) : 1 - dot(q, x, dim));
    }
}

static int load_plain(peer *p) {
    rows = peer_copy(&p->base);
    snprintf(p->text, sizeof p->text, "plain C loop, %d sums, prefetch, -O3 for this machine",
             LANES);
    return rows ? 0 : -1;
}

/* ---- The rule ------------------------------------------------------------------- */

/* Lane j of 16 sums in f64 the products of i mod 16 == j; lanes fold by halves. */
static double rule_fold(double *s) {
    int h, j;
    for (h = RULE_LANES / 2; h; h /= 2)
        for (j = 0; j < h; j++) s[j] += s[j + h];
    return s[0];
}

static double rule_dot(const float *q, const float *x, size_t pad) {
    double s[RULE_LANES] = {0};
    size_t i, j;
    for (i = 0; i < pad; i += RULE_LANES)
        for (j = 0; j < RULE_LANES; j++) s[j] += (double)q[i + j] * (double)x[i + j];
    return rule_fold(s);
}

static double rule_l2(const float *q, const float *x, size_t pad) {
    double s[RULE_LANES] = {0};
    size_t i, j;
    for (i = 0; i < pad; i += RULE_LANES) {
        for (j = 0; j < RULE_LANES; j++) {
            float d = q[i + j] - x[i + j];
            s[j] += (double)d * (double)d;
        }
    }
    return rule_fold(s);
}

static size_t padded(size_t dim) { return (dim + RULE_LANES - 1) / RULE_LANES * RULE_LANES; }

static float rule_dist(const peer *p, const float *q, float norm, size_t row) {
    size_t pad = padded(p->base.dim);
    const float *x = rows + row * pad;
    double d;
    if (p->l2) return (float)rule_l2(q, x, pad);
    d = 1 - rule_dot(q, x, pad) / ((double)norm * (double)norms[row]);
    return d < 0 ? 0.0f : (float)d;
}

/* Each row is read once for all queries of the call. */
static int search_rule(peer *p, size_t from, size_t n, size_t k) {
    size_t dim = p->base.dim, pad = padded(dim), have[PEER_BATCH] = {0}, i, row;
    float norm[PEER_BATCH], *q = calloc(n * pad, sizeof *q);
    if (!q) return -1;
    for (i = 0; i < n; i++) {
        memcpy(q + i * pad, p->queries.x + (from + i) * dim, dim * sizeof *q);
        norm[i] = (float)sqrt(rule_dot(q + i * pad, q + i * pad, pad));
    }
    for (row = 0; row < p->base.n; row++) {
        if (p->filter && !peer_passes(row, p->ppm)) continue;
        for (i = 0; i < n; i++) {
            float dist = rule_dist(p, q + i * pad, norm[i], row);
            peer_push(p->hits + i * k, &have[i], k, row, dist);
        }
    }
    free(q);
    return 0;
}

static int load_rule(peer *p) {
    size_t dim = p->base.dim, pad = padded(dim), i;
    snprintf(p->text, sizeof p->text, "the score rule, scalar C");
    norms = malloc(p->base.n * sizeof *norms);
    rows = pad == dim ? (float *)(uintptr_t)p->base.x : calloc(p->base.n * pad, sizeof *rows);
    if (!norms || !rows) return -1;
    for (i = 0; i < p->base.n; i++) {
        if (pad != dim) memcpy(rows + i * pad, p->base.x + i * dim, dim * sizeof *rows);
        norms[i] = (float)sqrt(rule_dot(rows + i * pad, rows + i * pad, pad));
    }
    return 0;
}

static int any_filter(peer *p) {
    (void)p;
    return 0;
}

/* ---- The limit ------------------------------------------------------------------- */

static void read_all(const peer *p) {
    const uint32_t *x = (const uint32_t *)(const void *)rows;
    size_t words = p->base.n * p->base.dim, i, j;
    uint32_t a[LANES] = {0};
    for (i = 0; i + LANES <= words; i += LANES) {
        for (j = 0; j < LANES; j += 16) __builtin_prefetch(x + i + 1024 + j);
        for (j = 0; j < LANES; j++) a[j] += x[i + j];
    }
    for (j = 0; j < LANES; j++) sink = sink + a[j];
}

static int search_plain(peer *p, size_t from, size_t n, size_t k) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (k) plain(p, p->queries.x + (from + i) * p->queries.dim, p->hits + i * k, k);
        else read_all(p);
    }
    return 0;
}

static int ingest_write(peer *p, uint64_t *ns, uint64_t *bytes) {
    const char *x = (const char *)p->base.x;
    size_t left = p->base.n * p->base.dim * 4;
    uint64_t t;
    int fd, bad;
    *bytes = left;
    remove(p->store);
    t = peer_now();
    fd = open(p->store, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0) return -1;
    while (left) {
        ssize_t n = write(fd, x, left < 1u << 20 ? left : 1u << 20);
        if (n <= 0) break;
        x += n;
        left -= (size_t)n;
    }
    bad = left || fsync(fd);
    if (close(fd)) bad = 1;
    *ns = peer_now() - t;
    return bad ? -1 : 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    peer p;
    memset(&p, 0, sizeof p);
    p.load = load_plain;
    p.search = search_plain;
    p.ingest = ingest_write;
    if (!strcmp(what, "rule")) {
        p.load = load_rule;
        p.search = search_rule;
        p.set_filter = any_filter;
    }
    return peer_run(&p);
}
