// build: plain
/* test_base.c - checksums, system, kernels, top-k: chapters 2, 3, 6, 7, 9 */
#define VTAG_IMPLEMENTATION
#include "vtag.h"
#include "test.h"
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- 2  Compiler --------------------------------------------------------- */

static void atomics_return_what_they_promise(void)
{
    uint32_t n = 5;
    CHECK_EQ(vt_atomic_add(&n, 3), 8);
    CHECK_EQ(vt_atomic_add(&n, UINT32_MAX), 7);
    CHECK(!vt_atomic_cas(&n, 8, 1));
    CHECK(vt_atomic_cas(&n, 7, 1));
    CHECK_EQ(vt_atomic_load(&n), 1);
    vt_atomic_store(&n, 9);
    CHECK_EQ(n, 9);
}

static void the_least_and_the_greatest_are_found(void)
{
    CHECK_EQ(vt_min_u64(1, UINT64_MAX), 1);
    CHECK_EQ(vt_max_u64(UINT64_MAX - 1, 3), UINT64_MAX - 1);
    CHECK_EQ(vt_min_size(4, 3), 3);
    CHECK(vt_little_endian() == 1);
}

typedef struct spin_work { uint32_t lock, sum; } spin_work;

static void *spin_thread(void *p)
{
    spin_work *w = (spin_work *)p;
    int i;
    for (i = 0; i < 20000; i++) {
        vt_spin_lock(&w->lock);
        w->sum++;
        vt_spin_unlock(&w->lock);
    }
    return NULL;
}

static void a_spin_lock_excludes_threads(void)
{
    pthread_t t[4];
    spin_work w = {0, 0};
    int i;
    for (i = 0; i < 4; i++) REQUIRE(!pthread_create(&t[i], NULL, spin_thread, &w));
    for (i = 0; i < 4; i++) pthread_join(t[i], NULL);
    CHECK_EQ(w.sum, 80000);
}

/* ---- 3  Bytes ------------------------------------------------------------ */

static void fill_bytes(uint8_t *p, size_t n, uint64_t seed)
{
    size_t i;
    for (i = 0; i < n; i++) p[i] = (uint8_t)t_rand(&seed);
}

static void crc32c_meets_the_published_values(void)
{
    uint8_t b[32];
    int i;
    CHECK_EQ(vt_crc32c(0, NULL, 0), 0);
    CHECK_EQ(vt_crc32c(0, "123456789", 9), 0xE3069283u);
    memset(b, 0, sizeof b); /* the next four from RFC 3720, B.4 */
    CHECK_EQ(vt_crc32c(0, b, 32), 0x8A9136AAu);
    memset(b, 0xFF, sizeof b);
    CHECK_EQ(vt_crc32c(0, b, 32), 0x62A8AB43u);
    for (i = 0; i < 32; i++) b[i] = (uint8_t)i;
    CHECK_EQ(vt_crc32c(0, b, 32), 0x46DD794Eu);
    for (i = 0; i < 32; i++) b[i] = (uint8_t)(31 - i);
    CHECK_EQ(vt_crc32c(0, b, 32), 0x113FDB5Cu);
}

/* Bit by bit, as the polynomial says. */
static uint32_t slow_crc(const uint8_t *p, size_t n)
{
    uint32_t c = ~0u;
    int bit;
    for (; n > 0; n--)
        for (c ^= *p++, bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
    return ~c;
}

static void crc32c_is_the_same_in_software_and_hardware(void)
{
    uint8_t b[300];
    size_t at, n;
    fill_bytes(b, sizeof b, t_seed());
    for (at = 0; at < 9; at++)
        for (n = 0; n < 280; n++) {
            uint32_t want = slow_crc(b + at, n);
            REQUIRE(want == ~vt_crc_soft(~0u, b + at, n));
            REQUIRE(want == vt_crc32c(0, b + at, n));
            if (vt_crc_hard_runs())
                REQUIRE(want == ~vt_crc_hard(~0u, b + at, n));
        }
}

static void crc32c_can_be_continued_anywhere(void)
{
    uint8_t b[100];
    size_t cut;
    uint32_t whole;
    fill_bytes(b, sizeof b, t_seed());
    whole = vt_crc32c(0, b, sizeof b);
    for (cut = 0; cut <= sizeof b; cut++)
        CHECK_EQ(vt_crc32c(vt_crc32c(0, b, cut), b + cut, sizeof b - cut), whole);
}

static void xxh64_meets_the_published_values(void)
{
    const char *long_one = "Nobody inspects the spammish repetition";
    CHECK_EQ(vt_xxh64(NULL, 0), UINT64_C(0xEF46DB3751D8E999));
    CHECK_EQ(vt_xxh64("a", 1), UINT64_C(0xD24EC4F1A98C6E5B));
    CHECK_EQ(vt_xxh64("abc", 3), UINT64_C(0x44BC2CF5AD770999));
    CHECK_EQ(vt_xxh64(long_one, strlen(long_one)), UINT64_C(0xFBCEA83C8A378BF1));
}

static void xxh64_does_not_depend_on_how_the_bytes_arrive(void)
{
    uint8_t b[400];
    uint64_t seed = t_seed();
    int round;
    fill_bytes(b, sizeof b, seed);
    for (round = 0; round < 3000; round++) {
        size_t n = (size_t)t_below(&seed, sizeof b + 1), at = 0;
        vt_xxh h;
        vt_xxh_init(&h);
        while (at < n) {
            size_t part = (size_t)t_below(&seed, 70);
            part = vt_min_size(part, n - at);
            vt_xxh_update(&h, b + at, part);
            at += part;
        }
        REQUIRE(vt_xxh_digest(&h) == vt_xxh64(b, n));
    }
}

static void xxh64_notices_every_bit_of_short_inputs(void)
{
    uint8_t b[72];
    size_t n, i;
    fill_bytes(b, sizeof b, t_seed());
    for (n = 1; n <= sizeof b; n++)
        for (i = 0; i < n * 8; i++) {
            uint64_t was = vt_xxh64(b, n);
            b[i / 8] = (uint8_t)(b[i / 8] ^ 1u << i % 8);
            REQUIRE(vt_xxh64(b, n) != was);
            b[i / 8] = (uint8_t)(b[i / 8] ^ 1u << i % 8);
        }
}

/* ---- 6  System ----------------------------------------------------------- */

static void *open_file(const char *name, vtag_access access)
{
    void *f = NULL;
    MUST(vt_os_io()->open(NULL, t_path(name), access, &f));
    return f;
}

static void open_does_what_each_access_says(void)
{
    const vtag_io *io = vt_os_io();
    void *f = NULL;
    ERR(VTAG_NOTFOUND, io->open(NULL, t_path("access"), VTAG_EXISTING, &f));
    ERR(VTAG_NOTFOUND, io->open(NULL, t_path("access"), VTAG_READ, &f));
    MUST(io->open(NULL, t_path("access"), VTAG_NEW, &f));
    io->close(f);
    ERR(VTAG_EXISTS, io->open(NULL, t_path("access"), VTAG_NEW, &f));
    io->close(open_file("access", VTAG_CREATE));
    io->close(open_file("access", VTAG_EXISTING));
    io->close(open_file("access", VTAG_READ));
    OK(io->remove(NULL, t_path("access")));
    ERR(VTAG_NOTFOUND, io->remove(NULL, t_path("access")));
    io->close(open_file("access", VTAG_CREATE));
    ERR(VTAG_NOTFOUND, io->open(NULL, t_path("no/such"), VTAG_CREATE, &f));
}

static void open_refuses_what_is_no_regular_file(void)
{
    const vtag_io *io = vt_os_io();
    void *f = NULL;
    REQUIRE(mkdir(t_path("dir"), 0700) == 0);
    REQUIRE(mkfifo(t_path("fifo"), 0600) == 0);
    ERR(VTAG_FORMAT, io->open(NULL, t_path("dir"), VTAG_READ, &f));
    ERR(VTAG_FORMAT, io->open(NULL, t_path("dir"), VTAG_CREATE, &f));
    ERR(VTAG_FORMAT, io->open(NULL, t_path("fifo"), VTAG_READ, &f));
    ERR(VTAG_FORMAT, io->open(NULL, "/dev/null", VTAG_EXISTING, &f));
}

static void a_write_protected_file_opens_for_reading_only(void)
{
    const vtag_io *io = vt_os_io();
    void *f = open_file("protected", VTAG_NEW);
    io->close(f);
    REQUIRE(chmod(t_path("protected"), 0400) == 0);
    if (geteuid() != 0) /* nothing is protected from root */
        ERR(VTAG_READONLY,
            io->open(NULL, t_path("protected"), VTAG_EXISTING, &f));
    f = open_file("protected", VTAG_READ);
    ERR(VTAG_READONLY, io->write(f, 0, "x", 1));
    ERR(VTAG_READONLY, io->allocate(f, 4096));
    ERR(VTAG_READONLY, io->lock(f, VTAG_LOCK_WRITER, 0));
    CHECK(!io->locked(f, VTAG_LOCK_WRITER));
    io->close(f);
}

static void descriptors_stay_clear_of_the_standard_streams(void)
{
    int saved = dup(0);
    void *f;
    REQUIRE(saved >= 0);
    close(0);
    f = open_file("streams", VTAG_CREATE);
    CHECK(((vt_os_file *)f)->fd > 2);
    vt_os_io()->close(f);
    dup2(saved, 0);
    close(saved);
}

static void what_is_written_is_read_and_mapped(void)
{
    const vtag_io *io = vt_os_io();
    void *f = open_file("bytes", VTAG_NEW);
    const uint8_t *map = NULL;
    uint8_t in[5000], out[5000];
    uint64_t size = 0;
    fill_bytes(in, sizeof in, 3);
    OK(io->write(f, 100, in, sizeof in));
    OK(io->read(f, 100, out, sizeof out));
    CHECK(!memcmp(in, out, sizeof in));
    OK(io->size(f, &size));
    CHECK_EQ(size, 5100);
    MUST(io->map(f, 0, size, &map));
    CHECK(!memcmp(map + 100, in, sizeof in));
    OK(io->write(f, 100, "z", 1));
    CHECK_EQ(map[100], 'z');
    io->unmap(f, map, size);
    OK(io->sync(f));
    io->close(f);
}

static void reading_past_the_end_is_an_error(void)
{
    const vtag_io *io = vt_os_io();
    void *f = open_file("short", VTAG_NEW);
    uint8_t b[16];
    OK(io->write(f, 0, "12345678", 8));
    OK(io->read(f, 0, b, 8));
    ERR(VTAG_IO, io->read(f, 0, b, 9));
    ERR(VTAG_IO, io->read(f, 8, b, 1));
    ERR(VTAG_IO, io->read(f, UINT64_MAX - 3, b, 8));
    OK(io->read(f, 8, b, 0));
    io->close(f);
}

static void allocation_grows_with_zeros_and_never_shrinks(void)
{
    const vtag_io *io = vt_os_io();
    void *f = open_file("grow", VTAG_NEW);
    struct stat st;
    uint8_t b[4];
    uint64_t size = 0;
    OK(io->write(f, 0, "abcd", 4));
    OK(io->allocate(f, 200000));
    OK(io->size(f, &size));
    CHECK_EQ(size, 200000);
    OK(io->read(f, 0, b, 4));
    CHECK(!memcmp(b, "abcd", 4));
    OK(io->read(f, 199996, b, 4));
    CHECK(!memcmp(b, "\0\0\0\0", 4));
    REQUIRE(stat(t_path("grow"), &st) == 0);
    CHECK(st.st_blocks * 512 >= 200000 - 4096); /* backed */
    OK(io->allocate(f, 10));
    OK(io->size(f, &size));
    CHECK_EQ(size, 200000);
    OK(vt_os_zeros(f, 199999, 20000));
    OK(io->size(f, &size));
    CHECK_EQ(size, 219999);
    ERR(VTAG_NOSPACE, io->allocate(f, UINT64_MAX));
    io->close(f);
}

static void a_lock_excludes_another_file_object(void)
{
    const vtag_io *io = vt_os_io();
    void *a = open_file("lock", VTAG_CREATE), *b = open_file("lock", VTAG_CREATE);
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    ERR(VTAG_LOCKED, io->lock(b, VTAG_LOCK_WRITER, 0));
    ERR(VTAG_LOCKED, io->lock(b, VTAG_LOCK_WRITER, 20));
    CHECK(io->locked(b, VTAG_LOCK_WRITER));
    CHECK(!io->locked(a, VTAG_LOCK_WRITER));
    io->unlock(a, VTAG_LOCK_WRITER);
    CHECK(!io->locked(b, VTAG_LOCK_WRITER));
    OK(io->lock(b, VTAG_LOCK_WRITER, 0));
    io->close(b);
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    io->close(a);
}

static void a_lock_excludes_its_own_file_object_too(void)
{
    const vtag_io *io = vt_os_io();
    void *a = open_file("own", VTAG_CREATE);
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    ERR(VTAG_LOCKED, io->lock(a, VTAG_LOCK_WRITER, 0));
    OK(io->lock(a, VTAG_LOCK_TURN, 0));
    io->unlock(a, VTAG_LOCK_WRITER);
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    io->close(a);
}

#ifdef F_OFD_SETLK /* elsewhere there is one lock */
static void locks_of_different_purpose_are_independent(void)
{
    const vtag_io *io = vt_os_io();
    void *a = open_file("two", VTAG_CREATE), *b = open_file("two", VTAG_CREATE);
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    OK(io->lock(b, VTAG_LOCK_TURN, 0));
    CHECK(io->locked(a, VTAG_LOCK_TURN));
    CHECK(!io->locked(a, VTAG_LOCK_READER));
    io->close(a);
    io->close(b);
}
#endif

static void closing_another_descriptor_keeps_the_lock(void)
{
    const vtag_io *io = vt_os_io();
    void *a = open_file("keep", VTAG_CREATE), *b = open_file("keep", VTAG_CREATE);
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    io->close(open_file("keep", VTAG_CREATE));
    ERR(VTAG_LOCKED, io->lock(b, VTAG_LOCK_WRITER, 0));
    io->close(a);
    io->close(b);
}

/* A process that takes the writer's lock of path and then waits to be killed. */
static pid_t start_holder(const char *path)
{
    int ready[2];
    char c = 0;
    pid_t pid;
    REQUIRE(pipe(ready) == 0);
    pid = fork();
    if (pid == 0) {
        void *f = NULL;
        if (vt_os_io()->open(NULL, path, VTAG_CREATE, &f) == VTAG_OK
            && vt_os_io()->lock(f, VTAG_LOCK_WRITER, 0) == VTAG_OK)
            c = 'y';
        if (write(ready[1], &c, 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(ready[1]);
    REQUIRE(pid > 0 && read(ready[0], &c, 1) == 1 && c == 'y');
    close(ready[0]);
    return pid;
}

static void a_killed_process_leaves_no_lock(void)
{
    const vtag_io *io = vt_os_io();
    void *f = open_file("killed", VTAG_CREATE);
    pid_t pid = start_holder(t_path("killed"));
    ERR(VTAG_LOCKED, io->lock(f, VTAG_LOCK_WRITER, 5));
    CHECK(io->locked(f, VTAG_LOCK_WRITER));
    kill(pid, SIGKILL);
    OK(io->lock(f, VTAG_LOCK_WRITER, 5000)); /* as soon as it is gone */
    waitpid(pid, NULL, 0);
    io->close(f);
}

static void waiting_for_a_lock_ends_when_its_time_is_up(void)
{
    const vtag_io *io = vt_os_io();
    void *a = open_file("wait", VTAG_CREATE), *b = open_file("wait", VTAG_CREATE);
    uint64_t start = vt_os_clock_ms(CLOCK_MONOTONIC), spent;
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    ERR(VTAG_LOCKED, io->lock(b, VTAG_LOCK_WRITER, 60));
    spent = vt_os_clock_ms(CLOCK_MONOTONIC) - start;
    CHECK(spent >= 60 && spent < 5000);
    io->close(a);
    io->close(b);
}

static void a_file_knows_whether_its_path_still_names_it(void)
{
    const vtag_io *io = vt_os_io();
    void *a = open_file("old", VTAG_NEW), *b = open_file("new", VTAG_NEW);
    CHECK(io->same(a, t_path("old")));
    CHECK(!io->same(a, t_path("new")));
    OK(io->rename(NULL, t_path("new"), t_path("old")));
    CHECK(!io->same(a, t_path("old")));
    CHECK(io->same(b, t_path("old")));
    OK(io->remove(NULL, t_path("old")));
    CHECK(!io->same(b, t_path("old")));
    ERR(VTAG_NOTFOUND, io->rename(NULL, t_path("new"), t_path("old")));
    io->close(a);
    io->close(b);
}

static void random_bytes_differ_and_the_clock_is_of_this_century(void)
{
    const vtag_io *io = vt_os_io();
    uint8_t a[64], b[64];
    memset(a, 0, sizeof a);
    OK(io->random(NULL, a, sizeof a));
    memcpy(b, a, sizeof b);
    OK(io->random(NULL, b, sizeof b));
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK(io->now(NULL) / 1000 - (uint64_t)time(NULL) + 2 < 5);
    CHECK(io->now(NULL) > UINT64_C(1600000000000));
    CHECK_EQ(vt_os_pid(), getpid());
}

/* ---- 7  Kernels ---------------------------------------------------------- */

#define KINDS 4

/* A finite float: of [-1, 1), denormal, huge, or of any size. */
static float odd_float(uint64_t *seed, int kind)
{
    uint32_t sign = (uint32_t)(t_rand(seed) & 0x80000000u);
    uint32_t bits = (uint32_t)t_rand(seed) & 0x7FFFFFFFu;
    float x;
    if (kind == 0) return t_float(seed);
    if (kind == 1) bits %= 0x00800000u;
    if (kind == 2) bits = 0x7E000000u + bits % 0x01800000u;
    if (kind == 3) bits %= 0x7F800000u;
    bits |= sign;
    memcpy(&x, &bits, 4);
    return x;
}

/* The rule of FORMAT.md, "Scores", word for word. */
static double rule(vtag_metric m, const float *q, const float *x, size_t dim)
{
    double s[16] = {0};
    size_t i, h, j;
    for (i = 0; i < dim; i++) {
        if (m == VTAG_L2SQ) {
            float d = (float)(x[i] - q[i]);
            s[i % 16] += (double)d * (double)d;
        } else {
            s[i % 16] += (double)x[i] * (double)q[i];
        }
    }
    for (h = 8; h >= 1; h /= 2)
        for (j = 0; j < h; j++) s[j] += s[j + h];
    return s[0];
}

static int same_bits(double a, double b) { return !memcmp(&a, &b, sizeof a); }

static size_t padded(size_t dim) { return (dim + 15) / 16 * 16; }

static void fill_rows(float *x, size_t dim, size_t n, uint64_t *seed, int kind)
{
    size_t pad = padded(dim), i;
    for (i = 0; i < n * pad; i++)
        x[i] = i % pad < dim ? odd_float(seed, kind) : 0;
}

/* Every kernel, 1..rows rows of dim; x has room for rows + 1 padded ones. */
static void check_kernels(float *x, size_t dim, size_t rows, int kind)
{
    size_t pad = padded(dim), n, i, r;
    uint64_t seed = t_seed() + dim * KINDS + (uint64_t)kind;
    const float *q = x + rows * pad;
    double dot[9], l2sq[9], out[9];
    fill_rows(x, dim, rows + 1, &seed, kind);
    for (i = 0; i < rows; i++) {
        dot[i] = rule(VTAG_DOT, q, x + i * pad, dim);
        l2sq[i] = rule(VTAG_L2SQ, q, x + i * pad, dim);
    }
    for (r = 0; r < VT_KERNEL_ROWS; r++) {
        const vt_kernels *k = &vt_kernel_table[r];
        if (!k->runs()) continue;
        for (n = 1; n <= rows; n++) {
            k->dot(q, x, pad, n, out);
            for (i = 0; i < n; i++) REQUIRE(same_bits(out[i], dot[i]));
            k->l2sq(q, x, pad, n, out);
            for (i = 0; i < n; i++) REQUIRE(same_bits(out[i], l2sq[i]));
        }
    }
}

static void every_kernel_meets_the_rule_to_the_bit(void)
{
    static float x[10 * 32768];
    size_t dim;
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        for (dim = 1; dim <= 300; dim++) check_kernels(x, dim, 9, kind);
        check_kernels(x, 768, 9, kind);
        check_kernels(x, 1536, 9, kind);
        check_kernels(x, 32768, 9, kind);
    }
}

static void kernels_need_no_alignment_and_may_get_no_rows(void)
{
    static float x[1 + 4 * 48];
    uint64_t seed = t_seed();
    double out[3], want;
    size_t r;
    fill_rows(x + 1, 48, 4, &seed, 0);
    want = rule(VTAG_DOT, x + 1, x + 1 + 48, 48);
    for (r = 0; r < VT_KERNEL_ROWS; r++) {
        const vt_kernels *k = &vt_kernel_table[r];
        if (!k->runs()) continue;
        out[0] = 7;
        k->dot(x + 1, x + 1 + 48, 48, 0, out);
        CHECK(same_bits(out[0], 7));
        k->dot(x + 1, x + 1 + 48, 48, 3, out);
        CHECK(same_bits(out[0], want));
    }
}

#define GOLDEN UINT64_C(0xD0E3E79239DB1B1B)

/* 101,376 scores: 132 pads, 64 rows each, by six queries and two metrics. */
static uint64_t golden(const vt_kernels *k)
{
    static float x[70 * 2112];
    double out[64];
    uint64_t seed = 20240229;
    size_t pad;
    int qi;
    vt_xxh h;
    vt_xxh_init(&h);
    for (pad = 16; pad <= 2112; pad += 16) {
        fill_rows(x, pad, 70, &seed, 0);
        for (qi = 0; qi < 6; qi++) {
            k->dot(x + pad * (size_t)(64 + qi), x, pad, 64, out);
            vt_xxh_update(&h, out, sizeof out);
            k->l2sq(x + pad * (size_t)(64 + qi), x, pad, 64, out);
            vt_xxh_update(&h, out, sizeof out);
        }
    }
    return vt_xxh_digest(&h);
}

static void every_kernel_meets_the_golden_hash(void)
{
    size_t r;
    for (r = 0; r < VT_KERNEL_ROWS; r++)
        if (vt_kernel_table[r].runs()) CHECK_EQ(golden(&vt_kernel_table[r]), GOLDEN);
}

static void kernels_are_picked_by_name_or_the_best(void)
{
    size_t r;
    int best = 1;
    for (r = 0; r < VT_KERNEL_ROWS; r++) {
        const vt_kernels *k = &vt_kernel_table[r];
        CHECK(vt_kernels_pick(k->isa) == (k->runs() ? k : NULL));
        if (k->runs() && best) CHECK(vt_kernels_pick(NULL) == k), best = 0;
    }
    CHECK(vt_kernels_pick("abacus") == NULL);
    CHECK(vt_kernels_pick("") == NULL);
    CHECK_STR(vt_kernel_table[VT_KERNEL_ROWS - 1].isa, "scalar");
}

static int is_plus_zero(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits == 0;
}

static void distances_follow_the_rule_and_are_never_minus_zero(void)
{
    CHECK(vt_dist(VTAG_DOT, 2.5, 1, 1) == -2.5f);
    CHECK(vt_dist(VTAG_L2SQ, 2.5, 1, 1) == 2.5f);
    CHECK(vt_dist(VTAG_COSINE, 3, 2, 3) == 0.5f);
    CHECK(vt_dist(VTAG_COSINE, -6, 2, 3) == 2.0f);
    CHECK(is_plus_zero(vt_dist(VTAG_DOT, 0.0, 1, 1)));
    CHECK(is_plus_zero(vt_dist(VTAG_DOT, 1e-300, 1, 1))); /* rounds to -0 */
    CHECK(is_plus_zero(vt_dist(VTAG_L2SQ, 0.0, 1, 1)));
    CHECK(is_plus_zero(vt_dist(VTAG_COSINE, 1, 1, 1)));
    CHECK(is_plus_zero(vt_dist(VTAG_COSINE, 1.0000001, 1, 1)));
    CHECK(vt_dist(VTAG_COSINE, 0.0, 0, 1) == HUGE_VALF); /* a damaged row */
}

static void norms_are_rounded_once(void)
{
    float x[16] = {3, 4}, tiny[16] = {1e-45f};
    CHECK(vt_norm(vt_kernels_pick(NULL), x, 16) == 5.0f);
    CHECK(vt_norm(vt_kernels_pick(NULL), tiny, 16) == tiny[0]);
    x[0] = x[1] = 3e38f;
    CHECK(vt_norm(vt_kernels_pick(NULL), x, 16) == HUGE_VALF);
}

static void nan_and_infinity_are_found_wherever_they_stand(void)
{
    static const uint32_t odd[] = {0x7F800000u, 0xFF800000u, 0x7FC00000u,
                                   0xFFC00001u, 0x7F800001u, 0xFFFFFFFFu};
    static const uint32_t good[] = {0u, 0x80000000u, 0x7F7FFFFFu, 0xFF7FFFFFu,
                                    1u, 0x007FFFFFu, 0x00800000u};
    float x[37];
    size_t i, j;
    for (i = 0; i < 37; i++) memcpy(&x[i], &good[i % 7], 4);
    CHECK(vt_finite(x, 37));
    CHECK(vt_finite(x, 0));
    for (i = 0; i < 37; i++)
        for (j = 0; j < sizeof odd / sizeof odd[0]; j++) {
            memcpy(&x[i], &odd[j], 4);
            CHECK(!vt_finite(x, 37));
            CHECK(vt_finite(x, i));
            memcpy(&x[i], &good[i % 7], 4);
        }
}

/* ---- 9  Top-k ------------------------------------------------------------ */

static int by_order(const void *a, const void *b)
{
    const vtag_hit *x = (const vtag_hit *)a, *y = (const vtag_hit *)b;
    if (x->dist < y->dist || x->dist > y->dist) return x->dist < y->dist ? -1 : 1;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x->part < y->part ? -1 : x->part > y->part;
}

/* n hits of which many tie, each {id, part} once, in no order. */
static void fill_hits(vtag_hit *h, size_t n, uint64_t *seed)
{
    size_t i;
    memset(h, 0, n * sizeof *h);
    for (i = 0; i < n; i++) {
        size_t j = (size_t)t_below(seed, i + 1);
        h[i] = h[j];
        h[j].id = i / 3;
        h[j].part = (uint32_t)(i % 3) & 3u;
        h[j].stale = i & 1;
        h[j].dist = (float)t_below(seed, 1 + n / 8);
    }
}

static int same_hits(const vtag_hit *a, const vtag_hit *b, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        if (by_order(&a[i], &b[i]) != 0 || a[i].stale != b[i].stale) return 0;
    return 1;
}

static void top_k_is_the_head_of_the_sorted_list(void)
{
    uint64_t seed = t_seed();
    vtag_hit all[200], top[203];
    size_t i, k;
    int round;
    for (round = 0; round < 1500; round++) {
        size_t n = (size_t)t_below(&seed, 200);
        vt_top t;
        k = (size_t)t_below(&seed, round % 2 ? 12 : 203);
        fill_hits(all, n, &seed);
        vt_top_init(&t, top, k);
        for (i = 0; i < n; i++)
            if (vt_top_wants(&t, all[i].dist)) vt_top_push(&t, all[i]);
        vt_top_finish(&t);
        qsort(all, n, sizeof all[0], by_order);
        REQUIRE(t.n == vt_min_size(n, k));
        REQUIRE(same_hits(top, all, t.n));
    }
}

static void push_alone_decides_and_wants_is_only_a_hint(void)
{
    uint64_t seed = t_seed();
    vtag_hit all[100], top[7];
    size_t i;
    vt_top t;
    fill_hits(all, 100, &seed);
    vt_top_init(&t, top, 7);
    for (i = 0; i < 100; i++) vt_top_push(&t, all[i]);
    vt_top_finish(&t);
    qsort(all, 100, sizeof all[0], by_order);
    CHECK(same_hits(top, all, 7));
}

static void no_room_takes_nothing(void)
{
    vtag_hit h;
    vt_top t;
    memset(&h, 0, sizeof h);
    vt_top_init(&t, NULL, 0);
    CHECK(!vt_top_wants(&t, -1));
    vt_top_push(&t, h);
    vt_top_finish(&t);
    CHECK_EQ(t.n, 0);
}

static void a_merge_is_the_head_of_both_lists_sorted(void)
{
    uint64_t seed = t_seed();
    vtag_hit all[120], into[130], from[130];
    int round;
    for (round = 0; round < 3000; round++) {
        size_t n = (size_t)t_below(&seed, 60), m = (size_t)t_below(&seed, 60);
        size_t k = n + (size_t)t_below(&seed, 70), kept;
        if (round % 4 == 0) k = (size_t)t_below(&seed, n + 1); /* keeps fewer */
        fill_hits(all, n + m, &seed);
        memcpy(into, all, n * sizeof *all);
        memcpy(from, all + n, m * sizeof *all);
        qsort(into, n, sizeof *into, by_order);
        qsort(from, m, sizeof *from, by_order);
        qsort(all, n + m, sizeof *all, by_order);
        kept = vtag_merge(into, n, from, m, k);
        REQUIRE(kept == vt_min_size(n + m, k));
        REQUIRE(same_hits(into, all, kept));
    }
}

static void merging_nothing_changes_nothing(void)
{
    vtag_hit h[2];
    memset(h, 0, sizeof h);
    h[1].id = 1;
    CHECK_EQ(vtag_merge(h, 2, NULL, 0, 2), 2);
    CHECK_EQ(vtag_merge(h, 2, NULL, 0, 1), 1);
    CHECK_EQ(vtag_merge(NULL, 0, NULL, 0, 0), 0);
    CHECK(h[0].id == 0 && h[1].id == 1);
}

/* ---- Kernels of sketches ------------------------------------------------------------- */

static void cross_is_the_same_integer_from_every_kernel(void)
{
    static uint8_t codes[16][512];
    static int8_t h[9 * 1024];
    static const size_t widths[] = {64, 128, 192, 384, 512};
    int32_t want[9 * 16], got[9 * 16];
    const uint8_t *x[16];
    uint64_t seed = t_seed();
    size_t w, nq, i;
    fill_bytes((uint8_t *)codes, sizeof codes, seed);
    memset(codes[3], 0xFF, sizeof codes[3]); /* the largest sums */
    fill_bytes((uint8_t *)h, sizeof h, seed + 1);
    for (i = 0; i < sizeof h; i++) h[i] = h[i] == -128 ? -127 : h[i];
    memset(h, 127, 1024);
    memset(h + 1024, -127, 1024);
    for (w = 0; w < sizeof widths / sizeof *widths; w++)
        for (nq = 1; nq <= 9; nq++)
            for (i = 0; i < VT_KERNEL_ROWS; i++) {
                size_t r;
                if (!vt_kernel_table[i].runs()) continue;
                for (r = 0; r < 16; r++) x[r] = codes[t_below(&seed, 16)];
                memset(got, 0, sizeof got);
                vt_cross_scalar(x, h, widths[w], nq, want);
                vt_kernel_table[i].cross(x, h, widths[w], nq, got);
                REQUIRE(!memcmp(got, want, nq * 16 * sizeof *got));
            }
}

/* Blocks of 16 queries in one call, against the scalar sums of each query. */
static void tiles_are_the_same_integers_as_cross(void)
{
    static uint8_t codes[17][512], tmp[16 * 1024];
    static int8_t h[80 * 1024], laid[80 * 1024];
    static const size_t widths[] = {64, 128, 384, 512};
    static int32_t want[80 * 16], got[81 * 16];
    const uint8_t *x[16];
    uint64_t seed = t_seed();
    size_t w, blocks, i, b, r;
    fill_bytes((uint8_t *)codes, sizeof codes, seed);
    memset(codes[3], 0xFF, sizeof codes[3]);
    fill_bytes((uint8_t *)h, sizeof h, seed + 1);
    for (i = 0; i < sizeof h; i++) h[i] = h[i] == -128 ? -127 : h[i];
    memset(h, 127, 1024);
    memset(h + 1024, -127, 1024);
    for (w = 0; w < sizeof widths / sizeof *widths; w++)
        for (blocks = 1; blocks <= 5; blocks++)
            for (i = 0; i < VT_KERNEL_ROWS; i++) {
                size_t wide = 2 * widths[w];
                if (!vt_kernel_table[i].tile || !vt_kernel_table[i].runs()) continue;
                for (r = 0; r < 16; r++) x[r] = codes[t_below(&seed, 16)];
                for (b = 0; b < blocks; b++) vt_interleave(h + b * 16 * wide, wide, laid + b * 16 * wide);
                memset(got, 0x55, sizeof got);
                vt_cross_scalar(x, h, widths[w], blocks * 16, want);
                vt_kernel_table[i].tile(x, laid, widths[w], blocks, tmp, got);
                REQUIRE(!memcmp(got, want, blocks * 256 * sizeof *got));
                REQUIRE(got[blocks * 256] == 0x55555555); /* and nothing behind them */
            }
}

/* Sums by the definition: byte j of each 64 holds the codes j and j + 64 of 128. */
static void cross_means_the_sum_of_products(void)
{
    uint8_t codes[128];
    int8_t h[256];
    const uint8_t *x[16];
    int32_t out[16], want = 0;
    uint64_t seed = t_seed();
    int i, r;
    for (i = 0; i < 16; i++) x[i] = codes;
    for (r = 0; r < 50; r++) {
        fill_bytes(codes, sizeof codes, seed + (uint64_t)r);
        fill_bytes((uint8_t *)h, sizeof h, seed + 100 + (uint64_t)r);
        for (i = want = 0; i < 256; i++) {
            uint8_t two = codes[i / 128 * 64 + i % 64];
            want += (i % 128 < 64 ? two & 15 : two >> 4) * h[i];
        }
        vt_cross_scalar(x, h, sizeof codes, 1, out);
        CHECK_EQ(out[7], want);
    }
}

static void clip_is_the_same_integer_from_every_kernel(void)
{
    static float v[1152];
    int32_t want[16], got[16];
    uint64_t seed = t_seed();
    uint32_t n;
    size_t i, j;
    for (n = 128; n <= 1152; n += 128)
        for (i = 0; i < VT_KERNEL_ROWS; i++) {
            if (!vt_kernel_table[i].runs()) continue;
            for (j = 0; j < n; j++) v[j] = t_float(&seed) * 3;
            v[0] = 3;
            v[1] = -3;
            vt_clip_scalar(v, n, 2047 / 3.0f, want, want + 8);
            vt_kernel_table[i].clip(v, n, 2047 / 3.0f, got, got + 8);
            REQUIRE(!memcmp(got, want, sizeof want));
        }
}

/* The codes' meaning: floor of q over the step, which is 65,536 / s, kept within a nibble. */
static void a_clipped_code_is_the_floor_within_a_nibble(void)
{
    int32_t q;
    int s;
    for (s = 0; s < 8; s++)
        for (q = -2048; q <= 2048; q++) {
            double code = floor((double)q * vt_clip_steps[s] / 65536);
            REQUIRE(vt_clip_code(q, vt_clip_steps[s]) == (code < -8 ? -8 : code > 7 ? 7 : (int)code));
        }
}

static const uint32_t rotated[] = {128, 256, 384, 512, 640, 768, 896, 1024, 1536, 4096};

static void rotate_gives_the_same_bits_from_every_kernel(void)
{
    static float v[4096], want[4096], got[4096];
    uint64_t seed = t_seed();
    size_t d, i, j;
    for (d = 0; d < sizeof rotated / sizeof *rotated; d++)
        for (i = 0; i < VT_KERNEL_ROWS; i++) {
            size_t bytes = rotated[d] * sizeof *v;
            if (!vt_kernel_table[i].runs()) continue;
            for (j = 0; j < rotated[d]; j++) v[j] = t_float(&seed) * (j % 5 ? 1 : 1e-38f);
            memcpy(want, v, bytes);
            memcpy(got, v, bytes);
            vt_rotate_scalar(want, rotated[d], seed);
            vt_kernel_table[i].rotate(got, rotated[d], seed);
            REQUIRE(!memcmp(got, want, bytes));
        }
}

static double dot_of(const float *a, const float *b, uint32_t n)
{
    double sum;
    vt_dot_f32_scalar(a, b, n, 1, &sum);
    return sum;
}

/* Lengths, and angles: to 80 roundings of f32 of the lengths, as chapter 8 reckons. */
static void rotate_keeps_lengths_and_inner_products(void)
{
    static float a[4096], b[4096];
    uint64_t seed = t_seed();
    size_t d, j;
    int round;
    for (d = 0; d < sizeof rotated / sizeof *rotated; d++)
        for (round = 0; round < 6; round++) {
            uint32_t n = rotated[d];
            double aa, ab, bb, after;
            for (j = 0; j < n; j++) a[j] = round ? t_float(&seed) : 0, b[j] = t_float(&seed) + 3;
            a[t_below(&seed, n)] = 100;
            aa = dot_of(a, a, n), ab = dot_of(a, b, n), bb = dot_of(b, b, n);
            vt_rotate_scalar(a, n, 9);
            vt_rotate_scalar(b, n, 9);
            after = dot_of(a, a, n);
            CHECK(fabs(sqrt(after / aa) - 1) <= 80 * ldexp(1, -24));
            after = dot_of(a, b, n);
            CHECK(fabs(after - ab) <= 160 * ldexp(1, -24) * sqrt(aa * bb));
        }
}

/* A rotation is worth something only if it spreads: no number of a rotated unit vector is
   near the whole. */
static void rotate_spreads_what_stands_alone(void)
{
    static float v[1536];
    uint32_t i, j, dims[] = {128, 384, 768, 1536};
    size_t d;
    for (d = 0; d < 4; d++)
        for (i = 0; i < dims[d]; i += 37) {
            float most = 0;
            memset(v, 0, sizeof v);
            v[i] = 1;
            vt_rotate_scalar(v, dims[d], VT_SKETCH_SEED);
            for (j = 0; j < dims[d]; j++) most = fmaxf(most, fabsf(v[j]));
            CHECK(most < 0.5f);
        }
}

/* Far from the floor all kernels say what the exact sum says; near it they may let pass. */
static void reach_misses_no_row_in_any_kernel(void)
{
    uint64_t seed = t_seed();
    int round;
    for (round = 0; round < 3000; round++) {
        vtf_factors f;
        vt_probe p;
        int32_t dots[16];
        uint32_t r, mask;
        double up[16], room[16];
        size_t i;
        p.unit = 0.001f + t_float(&seed) * 0.0009f;
        p.shift = (int32_t)t_below(&seed, 40000) - 20000;
        p.by_size = 0.01f + t_float(&seed) * 0.009f;
        p.by_rest = 1 + t_float(&seed) * 0.5f;
        p.floor = t_float(&seed) * 8;
        for (r = 0; r < 16; r++) {
            double est;
            f.scale[r] = 0.01f + t_float(&seed) * 0.009f;
            f.size[r] = 1 + t_float(&seed) * 0.5f;
            f.rest[r] = 0.1f + t_float(&seed) * 0.09f;
            f.bias[r] = t_float(&seed) * 3;
            dots[r] = (int32_t)t_below(&seed, 100000) - 50000;
            est = (double)f.scale[r] * (double)p.unit * (2.0 * dots[r] - p.shift);
            up[r] = est + (double)f.size[r] * (double)p.by_size + (double)f.rest[r] * (double)p.by_rest +
                    (double)f.bias[r] + fabs((double)f.bias[r]) * (double)VT_SLACK;
            room[r] = ldexp(1, -20) * (fabs(est) + 8);
        }
        for (i = 0; i < VT_KERNEL_ROWS; i++) {
            if (!vt_kernel_table[i].runs()) continue;
            mask = vt_kernel_table[i].reach(&f, dots, &p);
            for (r = 0; r < 16; r++) {
                if (up[r] >= (double)p.floor + room[r]) REQUIRE(mask >> r & 1);
                if (up[r] < (double)p.floor - room[r]) REQUIRE(!(mask >> r & 1));
            }
        }
    }
}

/* ---- Thresholds ----------------------------------------------------------------------- */

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Of few values, so that many are equal, or of many; rising, falling or neither. */
static void fill_numbers(float *x, size_t n, uint64_t *seed, int how)
{
    size_t i;
    for (i = 0; i < n; i++)
        x[i] = how % 2 ? (float)t_below(seed, 5) : t_float(seed) * 100;
    if (how / 2) qsort(x, n, sizeof *x, descending);
    for (i = 0; how / 2 == 2 && i < n / 2; i++) {
        float y = x[i];
        x[i] = x[n - 1 - i];
        x[n - 1 - i] = y;
    }
}

static void select_puts_the_k_largest_first(void)
{
    uint64_t seed = t_seed();
    int round;
    for (round = 0; round < 3000; round++) {
        float a[300], sorted[300];
        size_t n = 1 + (size_t)t_below(&seed, 300), k = 1 + (size_t)t_below(&seed, n), i;
        fill_numbers(a, n, &seed, round % 6);
        memcpy(sorted, a, n * sizeof *a);
        qsort(sorted, n, sizeof *sorted, descending);
        vt_select(a, n, k);
        for (i = 0; i < n; i++) REQUIRE(i < k ? a[i] >= sorted[k - 1] : a[i] <= sorted[k - 1]);
        REQUIRE(!(a[k - 1] < sorted[k - 1]) && !(a[k - 1] > sorted[k - 1]));
        qsort(a, n, sizeof *a, descending);
        REQUIRE(!memcmp(a, sorted, n * sizeof *a));
    }
}

/* The threshold never lies above the k-th largest, and up to 128, or once k more have
   come, it is the k-th largest of some moment past. */
static void the_threshold_is_the_kth_largest_or_a_little_below(void)
{
    static const size_t ks[] = {1, 2, 10, 127, 128, 129, 200, 500};
    static float x[3000], sorted[3000], room[1000];
    uint64_t seed = t_seed();
    size_t c, n;
    int how;
    for (c = 0; c < sizeof ks / sizeof *ks; c++)
        for (how = 0; how < 6; how++) {
            vt_best b;
            size_t k = ks[c];
            REQUIRE(vt_best_room(k) <= 1000);
            fill_numbers(x, 3000, &seed, how);
            vt_best_init(&b, room, k);
            for (n = 1; n <= 3000; n++) {
                vt_best_push(&b, x[n - 1]);
                if (n < k) REQUIRE(b.least < -1e30f);
                if (n < k || n % 97) continue;
                memcpy(sorted, x, n * sizeof *x);
                qsort(sorted, n, sizeof *sorted, descending);
                REQUIRE(b.least <= sorted[k - 1]);
                if (k <= VT_SORTED) REQUIRE(b.least >= sorted[k - 1]);
                if (n < 2 * k) continue;
                qsort(room, b.n, sizeof *room, descending); /* it holds the k largest */
                REQUIRE(!memcmp(room, sorted, k * sizeof *room) || b.n < k);
                if (k > VT_SORTED) REQUIRE(b.least > -1e30f);
            }
        }
}

static void run_bytes(void)
{
    RUN(atomics_return_what_they_promise);
    RUN(the_least_and_the_greatest_are_found);
    RUN(a_spin_lock_excludes_threads);
    RUN(crc32c_meets_the_published_values);
    RUN(crc32c_is_the_same_in_software_and_hardware);
    RUN(crc32c_can_be_continued_anywhere);
    RUN(xxh64_meets_the_published_values);
    RUN(xxh64_does_not_depend_on_how_the_bytes_arrive);
    RUN(xxh64_notices_every_bit_of_short_inputs);
}

static void run_system(void)
{
    RUN(open_does_what_each_access_says);
    RUN(open_refuses_what_is_no_regular_file);
    RUN(a_write_protected_file_opens_for_reading_only);
    RUN(descriptors_stay_clear_of_the_standard_streams);
    RUN(what_is_written_is_read_and_mapped);
    RUN(reading_past_the_end_is_an_error);
    RUN(allocation_grows_with_zeros_and_never_shrinks);
    RUN(a_lock_excludes_another_file_object);
    RUN(a_lock_excludes_its_own_file_object_too);
#ifdef F_OFD_SETLK
    RUN(locks_of_different_purpose_are_independent);
#endif
    RUN(closing_another_descriptor_keeps_the_lock);
    RUN(a_killed_process_leaves_no_lock);
    RUN(waiting_for_a_lock_ends_when_its_time_is_up);
    RUN(a_file_knows_whether_its_path_still_names_it);
    RUN(random_bytes_differ_and_the_clock_is_of_this_century);
}

static void run_scores(void)
{
    RUN(every_kernel_meets_the_rule_to_the_bit);
    RUN(kernels_need_no_alignment_and_may_get_no_rows);
    RUN(every_kernel_meets_the_golden_hash);
    RUN(kernels_are_picked_by_name_or_the_best);
    RUN(distances_follow_the_rule_and_are_never_minus_zero);
    RUN(norms_are_rounded_once);
    RUN(nan_and_infinity_are_found_wherever_they_stand);
    RUN(top_k_is_the_head_of_the_sorted_list);
    RUN(push_alone_decides_and_wants_is_only_a_hint);
    RUN(no_room_takes_nothing);
    RUN(a_merge_is_the_head_of_both_lists_sorted);
    RUN(merging_nothing_changes_nothing);
}

static void run_sketches(void)
{
    RUN(cross_is_the_same_integer_from_every_kernel);
    RUN(tiles_are_the_same_integers_as_cross);
    RUN(cross_means_the_sum_of_products);
    RUN(clip_is_the_same_integer_from_every_kernel);
    RUN(a_clipped_code_is_the_floor_within_a_nibble);
    RUN(rotate_gives_the_same_bits_from_every_kernel);
    RUN(rotate_keeps_lengths_and_inner_products);
    RUN(rotate_spreads_what_stands_alone);
    RUN(reach_misses_no_row_in_any_kernel);
    RUN(select_puts_the_k_largest_first);
    RUN(the_threshold_is_the_kth_largest_or_a_little_below);
}

TEST_MAIN(run_bytes(); run_system(); run_scores(); run_sketches())
