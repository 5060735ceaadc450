/* fuzz.h - one source for libFuzzer, AFL++ and plain replay

   A fuzzer defines  static void fuzz_NAME(fuzz_in *in)  which aborts when it finds
   something, and  static const char *const fuzz_NAME_seeds[], texts in the notation
   of fuzz_seed_bytes that end with NULL, and closes with  FUZZ_MAIN(NAME). Then

       cc ... test/fuzz_NAME.c                      replays: prog FILE|DIR...
                                                    mutates: prog RUNS=n SEED=s
                                                    unpacks: prog --write-corpus DIR
                                                    packs:   prog --pack DIR
       clang -fsanitize=fuzzer -DFUZZ_ENGINE ...    libFuzzer, and afl-clang-fast

   An input is a script, not a file image: what it means follows the code at hand, so
   a corpus outlives changes of the format. Bytes past the end of an input read 0. The
   corpus that is kept, test/corpus/NAME.hex, has an input a line, in hex. */
#ifndef VTAG_TEST_FUZZ_H
#define VTAG_TEST_FUZZ_H
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__)
#  define FUZZ_POISON 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define FUZZ_POISON 1
#  endif
#endif
#ifdef FUZZ_POISON
#  include <sanitizer/asan_interface.h>
#  define FUZZ_HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#  define FUZZ_SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#  define FUZZ_HIDE(p, n) ((void)(p), (void)(n))
#  define FUZZ_SHOW(p, n) ((void)(p), (void)(n))
#endif

typedef struct fuzz_in { const uint8_t *p; size_t n; } fuzz_in; /* what is left */

static inline uint64_t fuzz_take(fuzz_in *in, size_t bytes)
{
    uint64_t x = 0;
    size_t n = bytes < in->n ? bytes : in->n;
    memcpy(&x, in->p, n);
    in->p += n;
    in->n -= n;
    return x;
}

static inline uint32_t fuzz_u8(fuzz_in *in) { return (uint32_t)fuzz_take(in, 1); }
static inline uint32_t fuzz_u16(fuzz_in *in) { return (uint32_t)fuzz_take(in, 2); }

/* 0 .. n - 1; n is not 0. */
static inline uint32_t fuzz_pick(fuzz_in *in, uint32_t n)
{
    return (n <= 256 ? fuzz_u8(in) : fuzz_u16(in)) % n;
}

static fuzz_in fuzz_now; /* the input at hand */

/* Ends the run where a property does not hold, and prints the input in hex. */
static inline void fuzz_must(int holds, const char *what)
{
    size_t i;
    if (holds) return;
    fprintf(stderr, "fuzz: not so: %s\n", what);
    for (i = 0; i < fuzz_now.n; i++) fprintf(stderr, "%02x", fuzz_now.p[i]);
    fprintf(stderr, "\n");
    abort();
}
#define FUZZ_MUST(x) fuzz_must(!!(x), #x)

/* The bytes of a seed: text as it is, but \HH is the byte of two hex digits. */
static inline size_t fuzz_seed_bytes(const char *text, uint8_t *out, size_t cap)
{
    size_t n = 0;
    for (; *text && n < cap; text++) {
        char hex[3] = {0};
        if (*text == '\\' && text[1] && text[2]) {
            hex[0] = text[1], hex[1] = text[2];
            out[n++] = (uint8_t)strtoul(hex, NULL, 16);
            text += 2;
        } else out[n++] = (uint8_t)*text;
    }
    return n;
}

typedef struct fuzz_target {
    const char *name;
    void (*run)(fuzz_in *in);
    const char *const *seeds;
} fuzz_target;

enum { FUZZ_MAX = 4096 }; /* bytes of an input that replay and mutation take */

static inline void fuzz_one(const fuzz_target *t, const uint8_t *p, size_t n)
{
    fuzz_in in;
    in.p = p;
    in.n = n;
    fuzz_now = in;
    t->run(&in);
}

/* ---- Replay ----------------------------------------------------------------------- */

static inline size_t fuzz_read(const char *path, uint8_t *p)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(p, 1, FUZZ_MAX, f) : 0;
    if (!f) perror(path);
    if (f) fclose(f);
    return n;
}

/* Runs a file, or each file of a folder; how many. */
static inline uint64_t fuzz_replay(const fuzz_target *t, const char *path)
{
    static uint8_t p[FUZZ_MAX];
    DIR *dir = opendir(path);
    const struct dirent *e;
    uint64_t n = 0;
    char at[1100];
    if (!dir) {
        fuzz_one(t, p, fuzz_read(path, p));
        return 1;
    }
    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.') continue;
        snprintf(at, sizeof at, "%s/%s", path, e->d_name);
        fuzz_one(t, p, fuzz_read(at, p));
        n++;
    }
    closedir(dir);
    return n;
}

static inline uint64_t fuzz_seeds(const fuzz_target *t)
{
    uint8_t p[FUZZ_MAX];
    uint64_t n = 0;
    for (; t->seeds[n]; n++) fuzz_one(t, p, fuzz_seed_bytes(t->seeds[n], p, sizeof p));
    return n;
}

/* ---- The corpus that is kept -------------------------------------------------------- */

typedef void fuzz_each(const fuzz_target *t, const uint8_t *p, size_t n, void *ctx);

/* Calls each for the inputs of test/corpus/NAME.hex; how many. */
static inline uint64_t fuzz_corpus(const fuzz_target *t, fuzz_each *each, void *ctx)
{
    static char line[2 * FUZZ_MAX + 2];
    static uint8_t p[FUZZ_MAX];
    char path[200], hex[3] = {0};
    uint64_t count = 0;
    FILE *f;
    snprintf(path, sizeof path, "test/corpus/%s.hex", t->name);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        size_t i, n = strcspn(line, "\n") / 2;
        for (i = 0; i < n; i++) {
            memcpy(hex, line + 2 * i, 2);
            p[i] = (uint8_t)strtoul(hex, NULL, 16);
        }
        each(t, p, n, ctx);
        count++;
    }
    if (f) fclose(f);
    return count;
}

static inline void fuzz_each_run(const fuzz_target *t, const uint8_t *p, size_t n, void *ctx)
{
    (void)ctx;
    fuzz_one(t, p, n);
}

/* Writes an input to the folder ctx, under a name that is its hash. */
static inline void fuzz_each_write(const fuzz_target *t, const uint8_t *p, size_t n, void *ctx)
{
    char path[1000];
    uint64_t hash = 1, i;
    FILE *f;
    for (i = 0; i < n; i++) hash = (hash ^ p[i]) * UINT64_C(0x100000001B3);
    snprintf(path, sizeof path, "%s/%s-%016llx", (const char *)ctx, t->name, (unsigned long long)hash);
    f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n) {
        perror(path);
        exit(1);
    }
    fclose(f);
}

static inline int fuzz_write_corpus(const fuzz_target *t, char *dir)
{
    int i;
    for (i = 0; t->seeds[i]; i++) {
        uint8_t p[FUZZ_MAX];
        fuzz_each_write(t, p, fuzz_seed_bytes(t->seeds[i], p, sizeof p), dir);
    }
    fuzz_corpus(t, fuzz_each_write, dir);
    return 0;
}

/* Prints a folder's inputs as lines of hex. */
static inline int fuzz_pack(const char *dir)
{
    struct dirent **list;
    int i, k, n = scandir(dir, &list, NULL, alphasort);
    for (i = 0; i < n; i++) {
        static uint8_t p[FUZZ_MAX];
        char path[1100];
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        k = list[i]->d_name[0] == '.' ? 0 : (int)fuzz_read(path, p);
        if (k) {
            int j;
            for (j = 0; j < k; j++) printf("%02x", p[j]);
            putchar('\n');
        }
        free(list[i]);
    }
    if (n >= 0) free(list);
    return n < 0;
}

/* ---- Mutation without an engine --------------------------------------------------- */

static inline uint64_t fuzz_rand(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = (*seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline size_t fuzz_mutate(uint8_t *p, size_t n, uint64_t *seed)
{
    uint64_t times = 1 + fuzz_rand(seed) % 6, r;
    while (times--) {
        size_t at = n ? fuzz_rand(seed) % n : 0, k;
        r = fuzz_rand(seed);
        if (r % 8 == 0 && n + 8 < FUZZ_MAX) { /* insert */
            k = 1 + (r >> 8) % 8;
            memmove(p + at + k, p + at, n - at);
            while (k--) p[at + k] = (uint8_t)fuzz_rand(seed), n++;
        } else if (r % 8 == 1 && n) { /* remove */
            k = 1 + (r >> 8) % 8;
            if (k > n - at) k = n - at;
            memmove(p + at, p + at + k, n - at - k);
            n -= k;
        } else if (r % 8 == 2 && n) p[at] ^= (uint8_t)(1u << (r >> 8) % 8);
        else if (r % 8 == 3 && n) p[at] = (uint8_t)(p[at] + (r >> 8) % 9 - 4);
        else if (n) p[at] = (uint8_t)(r >> 8);
    }
    return n;
}

typedef struct fuzz_pool { uint8_t *p; size_t at[2049], n; } fuzz_pool; /* inputs to mutate */

static inline void fuzz_each_add(const fuzz_target *t, const uint8_t *p, size_t n, void *ctx)
{
    fuzz_pool *pool = ctx;
    (void)t;
    if (pool->n == 2048 || n > FUZZ_MAX / 2) return;
    pool->p = realloc(pool->p, pool->at[pool->n] + n + 1);
    if (!pool->p) abort();
    memcpy(pool->p + pool->at[pool->n], p, n);
    pool->n++;
    pool->at[pool->n] = pool->at[pool->n - 1] + n;
}

/* runs inputs, most of them mutated ones of the corpus; the same for a seed. */
static inline void fuzz_mutations(const fuzz_target *t, uint64_t runs, uint64_t seed)
{
    fuzz_pool pool;
    uint8_t p[FUZZ_MAX];
    uint64_t i;
    memset(&pool, 0, sizeof pool);
    for (i = 0; t->seeds[i]; i++)
        fuzz_each_add(t, p, fuzz_seed_bytes(t->seeds[i], p, sizeof p), &pool);
    fuzz_corpus(t, fuzz_each_add, &pool);
    for (i = 0; i < runs; i++) {
        uint64_t s = seed * UINT64_C(1000000007) + i;
        size_t k, n = 0;
        if (fuzz_rand(&s) % 8) {
            k = (size_t)(fuzz_rand(&s) % pool.n);
            n = pool.at[k + 1] - pool.at[k];
            memcpy(p, pool.p + pool.at[k], n);
            n = fuzz_mutate(p, n, &s);
        } else {
            for (n = fuzz_rand(&s) % 120, k = 0; k < n; k++) p[k] = (uint8_t)fuzz_rand(&s);
        }
        fuzz_one(t, p, n);
    }
    free(pool.p);
}

static inline double fuzz_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline int fuzz_main(const fuzz_target *t, int argc, char **argv)
{
    uint64_t runs = 0, seed = 1, done = fuzz_seeds(t);
    double from = fuzz_seconds(), took;
    int i;
    if (argc == 3 && !strcmp(argv[1], "--write-corpus")) return fuzz_write_corpus(t, argv[2]);
    if (argc == 3 && !strcmp(argv[1], "--pack")) return fuzz_pack(argv[2]);
    done += fuzz_corpus(t, fuzz_each_run, NULL);
    for (i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "RUNS=", 5)) runs = strtoull(argv[i] + 5, NULL, 0);
        else if (!strncmp(argv[i], "SEED=", 5)) seed = strtoull(argv[i] + 5, NULL, 0);
        else done += fuzz_replay(t, argv[i]);
    }
    fuzz_mutations(t, runs, seed);
    done += runs;
    took = fuzz_seconds() - from;
    printf("%s: %llu executions, %.0f per second, SEED=%llu\n", t->name, (unsigned long long)done,
           (double)done / (took > 0 ? took : 1), (unsigned long long)seed);
    return 0;
}

#define FUZZ_TARGET(NAME) \
    static const fuzz_target fuzz_##NAME##_target = {#NAME, fuzz_##NAME, fuzz_##NAME##_seeds};
#if defined(FUZZ_ALL) /* several fuzzers in one program */
#  define FUZZ_MAIN(NAME) FUZZ_TARGET(NAME)
#else
#  define FUZZ_MAIN(NAME) FUZZ_TARGET(NAME) FUZZ_START(NAME)
#endif
#if defined(FUZZ_ENGINE)
#  define FUZZ_START(NAME)                                          \
    int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);         \
    int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)          \
    {                                                               \
        fuzz_one(&fuzz_##NAME##_target, p, n);                      \
        return 0;                                                   \
    }
#else
#  define FUZZ_START(NAME)                                          \
    int main(int argc, char **argv)                                 \
    {                                                               \
        return fuzz_main(&fuzz_##NAME##_target, argc, argv);        \
    }
#endif

#endif
