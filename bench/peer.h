/* peer.h - the worker's side of the bench: one contender, one process, lines on a pipe.

   A worker reads a command a line from standard input and answers with one line:

       load BASE QUERIES METRIC STORE   ok              makes ready to search
       one FROM N K                     ns T1 ... TN    N queries, one by one
       many FROM N K                    ns T            N queries at once
       answers FROM N K FILE            ok              N queries, one by one, to a file
       batch FROM N K FILE              ok              the same, 64 at once
       filter none|only|keep PPM        ok              of the searches that follow
       ingest BASE METRIC STORE         ns T B          makes STORE durable; T, and bytes
       mem                              mem A R         anonymous and resident bytes
       say                              say TEXT        what it is and does
       quit

   or with "no REASON". Times are taken inside the worker around the search alone, of the
   second of two equal ones: the first is for what the machine forgot of a contender while
   the others had their turns, which on a virtual one can be more than the search. BASE
   and QUERIES are .npy files of f32; METRIC is cosine (unit rows), or l2. An answers
   file holds K records of struct peer_hit a query. A contender fills in a struct peer
   and calls peer_run; a function that it leaves NULL answers "no". C99 and C++. */
#ifndef PEER_H
#define PEER_H
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PEER_K = 128, PEER_BATCH = 64, PEER_NPY_HEADER = 128 };

typedef struct peer_matrix {
    const float *x; /* x[n * dim], mapped, 64-byte aligned */
    size_t n, dim;
} peer_matrix;

typedef struct peer_hit {
    uint64_t id;
    float dist;
    uint32_t zero;
} peer_hit;

typedef struct peer {
    char text[256]; /* for `say` */
    peer_matrix base, queries;
    int l2; /* else cosine */
    const char *store;
    char filter;                 /* 0, 'o' only, 'k' keep */
    uint32_t ppm;                /* of the ids pass */
    peer_hit *hits;              /* hits[PEER_BATCH * PEER_K], of the newest search */
    const char *why;             /* of a failure */
    int (*load)(struct peer *p); /* these return 0, or -1 and why */
    int (*search)(struct peer *p, size_t from, size_t n, size_t k); /* n <= PEER_BATCH */
    int (*set_filter)(struct peer *p);
    int (*ingest)(struct peer *p, uint64_t *ns, uint64_t *bytes);
} peer;

static inline uint64_t peer_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Whether an id passes a filter of so many in a million: spread, not in runs. */
static inline int peer_passes(uint64_t id, uint32_t ppm) {
    uint64_t x = (id + 1) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 31) * UINT64_C(0xBF58476D1CE4E5B9);
    return (x >> 32) % 1000000u < ppm;
}

/* Maps an .npy of little-endian f32 in two dimensions; 0 if it is not one. */
static inline int peer_map(const char *path, peer_matrix *m) {
    struct stat st;
    const char *h, *shape;
    unsigned long n, dim;
    size_t header;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) || st.st_size < PEER_NPY_HEADER) return 0;
    h = (const char *)mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (h == (const char *)MAP_FAILED || memcmp(h, "\x93NUMPY", 6)) return 0;
    header = 10u + (size_t)(unsigned char)h[8] + 256u * (size_t)(unsigned char)h[9];
    shape = strstr(h + 10, "'shape': (");
    if (!shape || sscanf(shape + 10, "%lu, %lu", &n, &dim) != 2) return 0;
    m->x = (const float *)(const void *)(h + header);
    m->n = n;
    m->dim = dim;
    return header + m->n * m->dim * 4 <= (size_t)st.st_size;
}

/* A copy with the alignment and the page size that suit a scan best. */
static inline float *peer_copy(const peer_matrix *m) {
    size_t bytes = (m->n * m->dim * 4 + (2u << 20)) >> 21 << 21;
    void *x = NULL;
    if (posix_memalign(&x, 2u << 20, bytes)) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(x, bytes, MADV_HUGEPAGE);
#endif
    memcpy(x, m->x, m->n * m->dim * 4);
    return (float *)x;
}

/* Puts a hit into ascending hits[*n] of at most k: by distance, then id. */
static inline void peer_push(peer_hit *hits, size_t *n, size_t k, uint64_t id, float dist) {
    size_t i;
    if (*n == k && !(dist < hits[k - 1].dist || (dist == hits[k - 1].dist && id < hits[k - 1].id)))
        return;
    if (*n < k) ++*n;
    for (i = *n - 1; i > 0; i--) {
        if (hits[i - 1].dist < dist || (hits[i - 1].dist == dist && hits[i - 1].id < id)) break;
        hits[i] = hits[i - 1];
    }
    hits[i].id = id;
    hits[i].dist = dist;
    hits[i].zero = 0;
}

/* Bytes of one line of the kernel's account of this process. */
static inline uint64_t peer_smaps(const char *name) {
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name))) sscanf(line + strlen(name), "%lu", &kib);
    if (f) fclose(f);
    return (uint64_t)kib * 1024;
}

/* ---- Commands ---------------------------------------------------------------- */

static inline void peer_no(peer *p, const char *why) {
    printf("no %s\n", p->why ? p->why : why);
    p->why = NULL;
}

static inline int peer_search(peer *p, size_t from, size_t n, size_t k) {
    memset(p->hits, 0xFF, n * k * sizeof *p->hits); /* fewer answers show */
    return p->search(p, from, n, k);
}

static inline void peer_do_one(peer *p, const char *line) {
    unsigned long from, n, k, i;
    if (!p->search || sscanf(line, "one %lu %lu %lu", &from, &n, &k) != 3 || k > PEER_K ||
        from + n > p->queries.n) {
        peer_no(p, "bad command");
        return;
    }
    printf("ns");
    for (i = 0; i < n; i++) {
        uint64_t t;
        if (p->search(p, from + i, 1, k)) break;
        t = peer_now();
        if (p->search(p, from + i, 1, k)) break;
        printf(" %llu", (unsigned long long)(peer_now() - t));
    }
    printf("\n");
}

static inline void peer_do_many(peer *p, const char *line) {
    unsigned long from, n, k;
    uint64_t t;
    if (!p->search || sscanf(line, "many %lu %lu %lu", &from, &n, &k) != 3 || k > PEER_K ||
        n > PEER_BATCH || from + n > p->queries.n) {
        peer_no(p, "bad command");
        return;
    }
    if (p->search(p, from, n, k)) {
        peer_no(p, "search failed");
        return;
    }
    t = peer_now();
    if (p->search(p, from, n, k)) peer_no(p, "search failed");
    else printf("ns %llu\n", (unsigned long long)(peer_now() - t));
}

static inline void peer_do_answers(peer *p, const char *line) {
    unsigned long from, n, k, i, step;
    char path[512];
    FILE *f;
    int bad = 0;
    if (!p->search || sscanf(line, "%*s %lu %lu %lu %511s", &from, &n, &k, path) != 4 ||
        k > PEER_K || from + n > p->queries.n || !(f = fopen(path, "wb"))) {
        peer_no(p, "bad command");
        return;
    }
    for (i = 0; i < n && !bad; i += step) {
        step = *line == 'a' ? 1 : n - i < PEER_BATCH ? n - i : (unsigned long)PEER_BATCH;
        bad = peer_search(p, from + i, step, k) ||
              fwrite(p->hits, sizeof *p->hits, step * k, f) != step * k;
    }
    if (fclose(f)) bad = 1;
    if (bad) peer_no(p, "search failed");
    else printf("ok\n");
}

static inline void peer_do_load(peer *p, const char *line) {
    static char base[512], queries[512], metric[16], store[512];
    if (sscanf(line, "load %511s %511s %15s %511s", base, queries, metric, store) != 4 ||
        !peer_map(base, &p->base) || !peer_map(queries, &p->queries)) {
        peer_no(p, "cannot map the data");
        return;
    }
    p->l2 = !strcmp(metric, "l2");
    p->store = store;
    if (p->load && p->load(p)) peer_no(p, "load failed");
    else printf("ok\n");
}

static inline void peer_do_ingest(peer *p, const char *line) {
    static char base[512], metric[16], store[512];
    uint64_t ns, bytes;
    if (!p->ingest || sscanf(line, "ingest %511s %15s %511s", base, metric, store) != 3 ||
        !peer_map(base, &p->base)) {
        peer_no(p, "cannot ingest");
        return;
    }
    p->l2 = !strcmp(metric, "l2");
    p->store = store;
    if (p->ingest(p, &ns, &bytes)) peer_no(p, "ingest failed");
    else printf("ns %llu %llu\n", (unsigned long long)ns, (unsigned long long)bytes);
}

static inline void peer_do_filter(peer *p, const char *line) {
    char name[16] = "";
    unsigned long ppm = 0;
    sscanf(line, "filter %15s %lu", name, &ppm);
    p->filter = (char)(!strcmp(name, "only") ? 'o' : !strcmp(name, "keep") ? 'k' : 0);
    p->ppm = (uint32_t)ppm;
    if (p->filter && (!p->set_filter || p->set_filter(p))) peer_no(p, "no filter here");
    else printf("ok\n");
}

static inline int peer_run(peer *p) {
    char line[2048];
    p->hits = (peer_hit *)calloc((size_t)PEER_BATCH * PEER_K, sizeof *p->hits);
    while (p->hits && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (!strncmp(line, "one ", 4)) peer_do_one(p, line);
        else if (!strncmp(line, "many ", 5)) peer_do_many(p, line);
        else if (!strncmp(line, "answers ", 8) || !strncmp(line, "batch ", 6))
            peer_do_answers(p, line);
        else if (!strncmp(line, "load ", 5)) peer_do_load(p, line);
        else if (!strncmp(line, "ingest ", 7)) peer_do_ingest(p, line);
        else if (!strncmp(line, "filter ", 7)) peer_do_filter(p, line);
        else if (!strcmp(line, "mem"))
            printf("mem %llu %llu\n", (unsigned long long)peer_smaps("Anonymous:"),
                   (unsigned long long)peer_smaps("Rss:"));
        else if (!strcmp(line, "say")) printf("say %s\n", p->text);
        else if (!strcmp(line, "quit")) break;
        else printf("no such command\n");
        fflush(stdout);
    }
    return 0;
}
#endif
