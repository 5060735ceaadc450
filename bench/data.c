/* data.c - the bench's data, as .npy files of f32 with a header of 128 bytes.
     data room DIR BYTES                          fails unless so much is free there
     data make OUT.npy N DIM CENTRES PART unit|raw   clustered Gaussian rows, always the same
     data take OUT.npy DIM (IN FROM N)...         rows of .fvecs, .npy or text files
   A file appears under its name only when it is whole. */
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64
#define _DEFAULT_SOURCE
#include <math.h>
#include <sys/statvfs.h>
#include "peer.h"

enum { MAX_DIM = 4096, REPORT = 1 << 16 };

static int die(const char *path, const char *what) {
    fprintf(stderr, "data: %s: %s\n", path, what);
    return 1;
}

/* ---- Output -------------------------------------------------------------------- */

typedef struct output {
    FILE *f;
    const char *path;
    char part[512];
    size_t n, dim;
} output;

static void header(output *o) {
    char h[PEER_NPY_HEADER + 1];
    memset(h, ' ', sizeof h);
    memcpy(h, "\x93NUMPY\x01\x00\x76\x00", 10);
    h[10 + snprintf(h + 10, sizeof h - 10,
                    "{'descr': '<f4', 'fortran_order': False, 'shape': (%lu, %lu), }",
                    (unsigned long)o->n, (unsigned long)o->dim)] = ' ';
    h[PEER_NPY_HEADER - 1] = '\n';
    rewind(o->f);
    fwrite(h, 1, PEER_NPY_HEADER, o->f);
}

static int output_open(output *o, const char *path, size_t dim) {
    o->path = path;
    o->n = 0;
    o->dim = dim;
    snprintf(o->part, sizeof o->part, "%s.part", path);
    o->f = fopen(o->part, "wb");
    if (o->f) header(o);
    return o->f != NULL;
}

static void output_row(output *o, const float *x) {
    fwrite(x, sizeof *x, o->dim, o->f);
    o->n++;
}

static int output_close(output *o) {
    int bad;
    header(o);
    bad = ferror(o->f);
    if (fclose(o->f)) bad = 1;
    if (!bad && !rename(o->part, o->path)) return 0;
    remove(o->part);
    return die(o->path, "cannot be written; is the disk full?");
}

/* ---- Clusters ------------------------------------------------------------------ */

static uint64_t random_next(uint64_t *s) {
    uint64_t z = *s += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Near enough to a normal variate: the sum of four uniform ones, mean 0, variance 1. */
static float gauss(uint64_t *s) {
    uint64_t r = random_next(s);
    uint32_t sum = (uint32_t)((r & 0xFFFF) + (r >> 16 & 0xFFFF) + (r >> 32 & 0xFFFF) + (r >> 48));
    return ((float)sum - 131070.0f) * (1.0f / 37837.2f);
}

static void unit(float *x, size_t dim) {
    double s = 0;
    size_t i;
    for (i = 0; i < dim; i++) s += (double)x[i] * (double)x[i];
    for (i = 0; i < dim; i++) x[i] = (float)((double)x[i] / sqrt(s));
}

/* Row = its centre + 0.7 times noise. PART 0 is the rows, another PART other rows around the
   same centres: queries. */
static int make(char **a) {
    size_t n = (size_t)atol(a[1]), dim = (size_t)atol(a[2]), centres = (size_t)atol(a[3]), i, j;
    uint64_t seed = 1, row_seed = UINT64_C(1000003) * (1 + (uint64_t)atol(a[4]));
    int units = !strcmp(a[5], "unit");
    float *c, x[MAX_DIM];
    output o;
    if (!n || !dim || dim > MAX_DIM || !centres) return 2;
    c = malloc(centres * dim * sizeof *c);
    if (!c || !output_open(&o, a[0], dim)) return die(a[0], "cannot be made");
    for (i = 0; i < centres * dim; i++) c[i] = gauss(&seed);
    for (i = 0; i < n; i++) {
        const float *at = c + random_next(&row_seed) % centres * dim;
        for (j = 0; j < dim; j++) x[j] = at[j] + 0.7f * gauss(&row_seed);
        if (units) unit(x, dim);
        output_row(&o, x);
        if (i % REPORT == 0 && isatty(2))
            fprintf(stderr, "\r%lu of %lu rows ", (unsigned long)i, (unsigned long)n);
    }
    if (isatty(2)) fprintf(stderr, "\r%30s\r", "");
    free(c);
    return output_close(&o);
}

/* ---- Real data ------------------------------------------------------------------- */

static int ends(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static int next_fvecs(FILE *f, float *x, size_t dim) {
    uint32_t d;
    return fread(&d, 4, 1, f) == 1 && d == dim && fread(x, 4, dim, f) == dim;
}

static int next_text(FILE *f, float *x, size_t dim) {
    size_t i;
    int c;
    for (i = 0; i < dim; i++)
        if (fscanf(f, "%f", &x[i]) != 1) return 0;
    while ((c = getc(f)) != '\n' && c != EOF) continue; /* an id may follow */
    return 1;
}

static int take_file(output *o, const char *path, size_t from, size_t n) {
    float x[MAX_DIM];
    peer_matrix m;
    size_t i;
    FILE *f;
    if (ends(path, ".npy")) {
        if (!peer_map(path, &m) || m.dim != o->dim)
            return die(path, "is not an .npy of this shape");
        for (i = from; i < from + n && i < m.n; i++) output_row(o, m.x + i * m.dim);
        return 0;
    }
    f = fopen(path, "rb");
    if (!f) return die(path, "cannot be read");
    for (i = 0; i < from + n; i++) {
        if (!(ends(path, ".fvecs") ? next_fvecs : next_text)(f, x, o->dim)) break;
        if (i >= from) output_row(o, x);
    }
    fclose(f);
    return 0;
}

static int take(int n, char **a) {
    size_t dim = (size_t)atol(a[1]);
    output o;
    int i, rc = 0;
    if (!dim || dim > MAX_DIM || !output_open(&o, a[0], dim)) return die(a[0], "cannot be made");
    for (i = 2; i + 2 < n && !rc; i += 3)
        rc = take_file(&o, a[i], (size_t)atol(a[i + 1]), (size_t)atol(a[i + 2]));
    if (output_close(&o)) rc = 1;
    return rc;
}

static int room(const char *dir, double need) {
    struct statvfs s;
    double have;
    if (statvfs(dir, &s)) return die(dir, "cannot be looked at");
    have = (double)s.f_bavail * (double)s.f_frsize;
    if (have >= need) return 0;
    fprintf(stderr,
            "bench: needs %.1f GB of disk below %s, %.1f are free; free some, or run make "
            "bench-quick\n",
            need / 1e9, dir, have / 1e9);
    return 1;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "room")) return room(argv[2], atof(argv[3]));
    if (argc == 8 && !strcmp(argv[1], "make")) return make(argv + 2);
    if (argc >= 7 && !strcmp(argv[1], "take")) return take(argc - 2, argv + 2);
    fprintf(stderr, "usage: data room DIR BYTES | make OUT N DIM CENTRES PART unit|raw | take OUT "
                    "DIM (IN FROM N)...\n");
    return 2;
}
