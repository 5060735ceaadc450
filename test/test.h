/* test.h - checks, a runner, deterministic randomness, temporary files

   A test is a function without arguments, named as a sentence:

       static void closing_null_is_legal(void)
       {
           vtag_close(NULL);
           CHECK(1);
       }
       TEST_MAIN(RUN(closing_null_is_legal))

   or, with more of them, int main with t_begin, RUN..., return t_end().
   `prog NAME` runs the tests whose name contains NAME; `prog NAME SEED=n`, or
   SEED in the environment, replays the seed that a failure printed. Include
   vtag.h before this header; OK, ERR and MUST need it. POSIX only.
   The checks may be used from one thread at a time. */
#ifndef VTAG_TEST_H
#define VTAG_TEST_H
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1 /* mkdtemp, lstat; too late where a header came first */
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct t_state {
    const char *filter;     /* run tests whose name contains it; NULL: all    */
    const char *name;       /* of the running test                            */
    uint64_t    seed;       /* t_seed() gives it; a failure prints it         */
    int         seeded;     /* the running test asked for the seed            */
    int         failed;     /* checks that failed in the running test         */
    int         tests_passed, tests_failed;
    char        dir[512];   /* of temporary files; made at the first t_path   */
    long        owner;      /* process that made it: no child drops it */
    char        path[8][800];
    unsigned    next_path;
    jmp_buf     out;        /* where REQUIRE ends the test                    */
} t_state;

static t_state t_;

/* ---- Randomness ---------------------------------------------------------- */

/* The next of a deterministic sequence [splitmix64]. */
static inline uint64_t t_rand(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* 0 .. n - 1; n is not 0. */
static inline uint64_t t_below(uint64_t *seed, uint64_t n)
{
    return t_rand(seed) % n;
}

/* In [-1, 1), a multiple of 2^-23, so it is the same everywhere. */
static inline float t_float(uint64_t *seed)
{
    return (float)((double)(t_rand(seed) >> 40) / 8388608.0 - 1.0);
}

/* The seed of this run: 1, or what SEED=n says. */
static inline uint64_t t_seed(void)
{
    t_.seeded = 1;
    return t_.seed;
}

/* ---- Temporary files ----------------------------------------------------- */

/* The path of a file in a fresh directory, which t_end removes. The text is
 * good until the eighth call after. */
static inline const char *t_path(const char *name)
{
    char *path = t_.path[t_.next_path++ % 8];
    if (!t_.dir[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(t_.dir, sizeof t_.dir, "%s/vtag-test-XXXXXX",
                 tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(t_.dir)) {
            perror(t_.dir);
            exit(2);
        }
        t_.owner = (long)getpid();
    }
    snprintf(path, sizeof t_.path[0], "%s/%s", t_.dir, name);
    return path;
}

/* Removes a directory and all below it. */
static inline void t_remove_all(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        char path[1100];
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (snprintf(path, sizeof path, "%s/%s", dir, e->d_name)
            >= (int)sizeof path) continue;
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) t_remove_all(path);
        else unlink(path);
    }
    if (d) closedir(d);
    rmdir(dir);
}

/* ---- Checks -------------------------------------------------------------- */

static inline int t_fail(const char *file, int line)
{
    t_.failed++;
    fprintf(stderr, "%s:%d: %s: ", file, line, t_.name ? t_.name : "?");
    return 0;
}

static inline int t_check(int good, const char *text, const char *file,
                          int line)
{
    if (!good) {
        t_fail(file, line);
        fprintf(stderr, "not so: %s\n", text);
    }
    return good;
}

static inline int t_check_eq(long long a, long long b, const char *text,
                             const char *file, int line)
{
    if (a == b) return 1;
    t_fail(file, line);
    fprintf(stderr, "%s: %lld (0x%llx) and %lld (0x%llx)\n", text, a,
            (unsigned long long)a, b, (unsigned long long)b);
    return 0;
}

static inline int t_check_str(const char *a, const char *b, const char *text,
                              const char *file, int line)
{
    if (a == b || (a && b && !strcmp(a, b))) return 1;
    t_fail(file, line);
    fprintf(stderr, "%s: \"%s\" and \"%s\"\n", text, a ? a : "(null)",
            b ? b : "(null)");
    return 0;
}

static inline void t_require(int good)
{
    if (!good) longjmp(t_.out, 1);
}

#define CHECK(x)        t_check(!!(x), #x, __FILE__, __LINE__)
#define CHECK_EQ(a, b)  t_check_eq((long long)(a), (long long)(b), \
                                   #a " == " #b, __FILE__, __LINE__)
#define CHECK_STR(a, b) t_check_str((a), (b), #a " == " #b, __FILE__, __LINE__)
#define REQUIRE(x)      t_require(CHECK(x)) /* ends the test if not so */

#ifdef VTAG_H
static inline int t_check_err(vtag_err want, vtag_err got, const char *text,
                              const char *file, int line)
{
    if (want == got) return 1;
    t_fail(file, line);
    fprintf(stderr, "%s: %s (want: %s)\n", text, vtag_strerror(got),
            vtag_strerror(want));
    return 0;
}

#define ERR(want, call) t_check_err((want), (call), #call, __FILE__, __LINE__)
#define OK(call)        ERR(VTAG_OK, call)
#define MUST(call)      t_require(OK(call)) /* OK, or the test ends */
#endif

/* ---- Runner -------------------------------------------------------------- */

static inline void t_begin(int argc, char **argv)
{
    const char *seed = getenv("SEED");
    int i;
    for (i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "SEED=", 5)) seed = argv[i] + 5;
        else if (argv[i][0]) t_.filter = argv[i];
    }
    t_.seed = seed && *seed ? strtoull(seed, NULL, 0) : 1;
}

static inline void t_run(void (*test)(void), const char *name)
{
    if (t_.filter && !strstr(name, t_.filter)) return;
    t_.name = name;
    t_.failed = t_.seeded = 0;
    if (setjmp(t_.out) == 0) test();
    if (t_.failed && t_.seeded)
        fprintf(stderr, "%s: replay with SEED=%llu\n", name,
                (unsigned long long)t_.seed);
    if (t_.failed) t_.tests_failed++;
    else t_.tests_passed++;
}

/* The exit status. */
static inline int t_end(void)
{
    if (t_.dir[0] && t_.owner == (long)getpid()) t_remove_all(t_.dir);
    printf("%d passed, %d failed\n", t_.tests_passed, t_.tests_failed);
    return t_.tests_failed || !t_.tests_passed;
}

#define RUN(test) t_run(test, #test)
#define TEST_MAIN(...)                                                  \
    int main(int argc, char **argv)                                     \
    {                                                                   \
        t_begin(argc, argv);                                            \
        __VA_ARGS__;                                                    \
        return t_end();                                                 \
    }

#endif
