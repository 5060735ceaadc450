// build: plain
/* Chapter 6, where the system refuses: each call that the engine makes fails, by itself, for
   each of the reasons that the system may have, once and from then on.

   vtag.h is compiled with calls of ours in the place of the system's. They pass on, and
   refuse what a test names; nothing is synced for real. After each failure the file holds
   the state before or the state after [I7], OK means after, and no memory, descriptor or
   file is left over. Then: what is no failure at all, in what words the others are told,
   what else the system may say, and which paths lead where. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "heap.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Calls that may be refused --------------------------------------------------- */

static struct refusal {
    const char *call; /* which; NULL: none */
    int code, at;     /* errno; which of them, from 1 */
    int for_good;     /* and all that follow */
    int seen;
} refusal;

static const char *no_second; /* another call, refused besides; NULL: none */
static int no_second_code, no_second_left; /* so many times; 0: always */

static int refused(const char *call)
{
    if (no_second && !strcmp(call, no_second)) {
        if (no_second_left && !--no_second_left) no_second = NULL;
        errno = no_second_code;
        return 1;
    }
    if (!refusal.call || strcmp(call, refusal.call)) return 0;
    refusal.seen++;
    if (refusal.seen < refusal.at || (refusal.seen > refusal.at && !refusal.for_good)) return 0;
    errno = refusal.code;
    return 1;
}

static int remote_magic; /* what every file system says it is; 0: what it is */
static int synced;

#define PASS(name, params, args) \
    static int sys_##name params { return refused(#name) ? -1 : name args; }
PASS(fstat, (int fd, struct stat *st), (fd, st))
PASS(stat, (const char *path, struct stat *st), (path, st))
PASS(link, (const char *from, const char *to), (from, to))
PASS(unlink, (const char *path), (path))
PASS(rename, (const char *from, const char *to), (from, to))
PASS(fchmod, (int fd, mode_t mode), (fd, mode))
PASS(fchown, (int fd, uid_t owner, gid_t group), (fd, owner, group))
PASS(fsetxattr, (int fd, const char *name, const void *p, size_t n, int flags), (fd, name, p, n, flags))
PASS(fremovexattr, (int fd, const char *name), (fd, name))

static int sys_open(const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;
    va_start(more, flags);
    mode = flags & O_CREAT ? (mode_t)va_arg(more, int) : 0;
    va_end(more);
    return refused(flags & O_DIRECTORY ? "open folder" : "open") ? -1 : open(path, flags, mode);
}

static int sys_fcntl(int fd, int what, ...)
{
    va_list more;
    void *p;
    va_start(more, what);
    p = va_arg(more, void *);
    va_end(more);
    return refused(what == F_OFD_SETLK ? "lock" : "probe") ? -1 : fcntl(fd, what, p);
}

static int sys_fsync(int fd) { (void)fd, synced++; return refused("fsync") ? -1 : 0; }
static int sys_fdatasync(int fd) { (void)fd, synced++; return refused("fdatasync") ? -1 : 0; }

static int sys_fallocate(int fd, off_t at, off_t n)
{
    return refused("fallocate") ? refusal.code : posix_fallocate(fd, at, n);
}

static int sys_fstatfs(int fd, struct statfs *fs)
{
    int bad = refused("fstatfs") ? -1 : fstatfs(fd, fs);
    if (remote_magic) fs->f_type = remote_magic;
    return bad;
}

/* Time goes a tenth of a second at every look, so that nothing waits for long. */
static int sys_clock_gettime(clockid_t clock, struct timespec *t)
{
    static long looks;
    int bad = refused("clock_gettime") ? -1 : clock_gettime(clock, t);
    if (clock == CLOCK_MONOTONIC) t->tv_sec += ++looks / 10, t->tv_nsec = looks % 10 * 100000000;
    return bad;
}

/* Half of what is asked for, where the code is 0: the system may. */
static ssize_t sys_pread(int fd, void *p, size_t n, off_t at)
{
    if (refused("pread")) return refusal.code ? -1 : pread(fd, p, (n + 1) / 2, at);
    return pread(fd, p, n, at);
}

static ssize_t sys_pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (refused("pwrite")) return refusal.code ? -1 : pwrite(fd, p, (n + 1) / 2, at);
    return pwrite(fd, p, n, at);
}

static ssize_t sys_read(int fd, void *p, size_t n)
{
    if (refused("read")) return errno ? -1 : 0;
    return read(fd, p, (n + 1) / 2);
}

static ssize_t sys_getrandom(void *p, size_t n, unsigned flags)
{
    if (refused("getrandom")) return refusal.code ? -1 : (ssize_t)n / 2;
    return getrandom(p, n, flags);
}

static long sys_rename_new(long number, int a, const char *from, int b, const char *to, unsigned flags)
{
    return refused("renameat2") ? -1 : syscall(number, a, from, b, to, flags);
}

static void *sys_mmap(void *p, size_t n, int rights, int flags, int fd, off_t at)
{
    return refused("mmap") ? MAP_FAILED : mmap(p, n, rights, flags, fd, at);
}

static char *sys_realpath(const char *path, char *to)
{
    return refused("realpath") ? NULL : realpath(path, to);
}

static ssize_t sys_readlink(const char *path, char *to, size_t n)
{
    return refused("readlink") ? -1 : readlink(path, to, n);
}

static ssize_t sys_fgetxattr(int fd, const char *name, void *p, size_t n)
{
    return refused("fgetxattr") ? -1 : fgetxattr(fd, name, p, n);
}

#define open sys_open
#define read sys_read
#define rename sys_rename
#define fstat sys_fstat
#define stat(path, st) sys_stat(path, st)
#define link(from, to) sys_link(from, to)
#define unlink sys_unlink
#define fchmod sys_fchmod
#define fchown sys_fchown
#define clock_gettime sys_clock_gettime
#define fsetxattr sys_fsetxattr
#define fremovexattr sys_fremovexattr
#define fcntl sys_fcntl
#define fsync sys_fsync
#define fdatasync sys_fdatasync
#define posix_fallocate sys_fallocate
#define fstatfs sys_fstatfs
#define pread sys_pread
#define pwrite sys_pwrite
#define getrandom sys_getrandom
#define syscall sys_rename_new
#define mmap sys_mmap
#define realpath sys_realpath
#define readlink sys_readlink
#define fgetxattr sys_fgetxattr
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "steps.h"

/* ---- A store, and what is done with it --------------------------------------------- */

static uint64_t done;   /* the step that the file holds */
static vtag_tag words;
static char told[4096]; /* the newest line of the log */

static void hear(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)ctx, (void)err, (void)at;
    snprintf(told, sizeof told, "%s", msg);
}

static vtag_open_opts opts_of(vtag_access access)
{
    vtag_open_opts o;
    memset(&o, 0, sizeof o);
    o.access = access;
    o.log = hear;
    return o;
}

static vtag_err open_store(vtag_access access, vtag_db **db)
{
    vtag_open_opts o = opts_of(access);
    told[0] = 0;
    return vtag_open(t_path("s"), &o, db);
}

typedef vtag_err act(vtag_db *db);

static vtag_err look_at(vtag_db *db)
{
    uint64_t i;
    vtag_tag tag;
    return last_step(db, &i, &tag);
}

static vtag_err commit_next(vtag_db *db) { return commit_step(db, words, done + 1); }
static vtag_err seal(vtag_db *db) { return vtag_seal(db, NULL, NULL); }
static vtag_err compact(vtag_db *db) { return vtag_compact(db, NULL, NULL); }

static vtag_err begin_and_abort(vtag_db *db)
{
    vtag_batch *b;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (!err) vtag_abort(b);
    return err;
}

static vtag_err copy(vtag_db *db)
{
    vtag_snap *s;
    vtag_err err = vtag_snapshot(db, &s);
    if (err) return err;
    err = vtag_copy(s, t_path("copy"), NULL, NULL);
    vtag_release(s);
    return err;
}

/* Makes a name that leads nowhere, yet, into a store. */
static vtag_err make_by_link(vtag_db *db)
{
    vtag_open_opts o = opts_of(VTAG_CREATE);
    vtag_err err;
    (void)db;
    if (symlink("made", t_path("link")) != 0) return VTAG_IO;
    err = vtag_open(t_path("link"), &o, &db);
    if (!err) vtag_close(db);
    return err;
}

/* What another's compaction means for an open handle, which no call of ours may tell. */
static vtag_err follow(vtag_db *db)
{
    struct refusal held = refusal;
    vtag_db *other;
    vtag_err err;
    refusal.call = NULL;
    MUST(open_store(VTAG_EXISTING, &other));
    OK(vtag_compact(other, NULL, NULL));
    vtag_close(other);
    refusal = held;
    err = look_at(db);
    return err ? err : begin_and_abort(db);
}

/* ---- What must hold whatever was refused --------------------------------------------- */

static int next_descriptor(void)
{
    int fd = dup(0);
    if (fd >= 0) close(fd);
    return fd;
}

static int names(void)
{
    DIR *d = opendir(t_.dir);
    struct dirent *e;
    int n = 0;
    while (d && (e = readdir(d)) != NULL) n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d) closedir(d);
    return n;
}

static void copy_file(const char *from, const char *to)
{
    static char room[1 << 16];
    size_t n;
    FILE *a = fopen(from, "rb"), *b = fopen(to, "wb");
    REQUIRE(a && b);
    while ((n = fread(room, 1, sizeof room, a)) > 0) REQUIRE(fwrite(room, 1, n, b) == n);
    fclose(a);
    REQUIRE(fclose(b) == 0);
}

/* A store of some steps and of some waste; each try starts from a copy of it. */
static void prepare(void)
{
    vtag_db *db;
    uint64_t i;
    if (done) return;
    newborn(t_path("base"));
    MUST(vtag_open(t_path("base"), NULL, &db));
    MUST(last_step(db, &i, &words));
    for (i = 1; i <= 40; i++) {
        MUST(commit_step(db, words, i));
        MUST(tidy_step(&db, t_path("base"), NULL, i));
    }
    vtag_close(db);
    done = 40;
}

static void reset(void)
{
    prepare();
    unlink(t_path("copy"));
    unlink(t_path("link"));
    unlink(t_path("made"));
    copy_file(t_path("base"), t_path("s"));
}

static uint64_t step_in(const char *name)
{
    vtag_db *db;
    vtag_tag tag;
    uint64_t now;
    MUST(vtag_open(t_path(name), NULL, &db));
    now = check_file(db, &tag);
    vtag_close(db);
    return now;
}

static int is_there(const char *name)
{
    struct stat st;
    return lstat(t_path(name), &st) == 0;
}

/* Opens, acts and closes while a call is refused: *met says whether it came to that. */
static vtag_err tried(act *what, vtag_access access, const struct refusal *r, int *met)
{
    vtag_db *db = NULL;
    vtag_err err;
    refusal = *r;
    err = open_store(access, &db);
    if (!err) err = what(db);
    if (err) CHECK(*vtag_strerror(err));
    vtag_close(db);
    *met = refusal.seen >= r->at;
    refusal.call = NULL;
    return err;
}

static vtag_err try_one(act *what, vtag_access access, const struct refusal *r, int *met)
{
    static const struct refusal none;
    int fd, left, again, held = t_.failed;
    int64_t live;
    uint64_t now;
    vtag_err err;
    reset();
    fd = next_descriptor();
    live = heap.live;
    err = tried(what, access, r, met);
    CHECK_EQ(next_descriptor(), fd);
    CHECK_EQ(heap.live, live);
    now = step_in("s");
    if (what == commit_next) CHECK(now == done + 1 || (err && now == done));
    else CHECK_EQ(now, done);
    if (is_there("copy")) CHECK_EQ(step_in("copy"), done);
    else CHECK(what != copy || err);
    left = names() - 2 - is_there("copy") - is_there("link") - is_there("made");
    if (left) { /* names of ours that could not be taken away: the next who tries does it */
        CHECK(err && (what == compact || what == copy));
        CHECK(!strcmp(r->call, "unlink") || !strcmp(r->call, "lock") || strstr(r->call, "stat"));
        OK(tried(what, access, &none, &again));
        CHECK_EQ(names(), 2 + is_there("copy"));
    }
    if (t_.failed > held)
        fprintf(stderr, "  %s fails with %d, number %d%s: %s\n", r->call, r->code, r->at,
                r->for_good ? " and all others" : "", vtag_strerror(err));
    return err;
}

/* Every call of a kind fails in its turn, until none is left to fail. */
static int sweep(act *what, vtag_access access, const char *call, int code)
{
    struct refusal r = {call, code, 1, 0, 0};
    int met = 1, total = 0;
    for (r.for_good = 0; r.for_good < 2; r.for_good++)
        for (r.at = 1, met = 1; met && r.at < 400 && !t_.failed; r.at++) {
            try_one(what, access, &r, &met);
            total += met;
        }
    return total;
}

/* ---- Every call, every reason ----------------------------------------------------------- */

static const struct reasons { const char *call; int codes[9]; } reasons[] = {
    {"open", {EINTR, EACCES, EPERM, EROFS, EMFILE, ENOMEM, EIO, EDQUOT}},
    {"open folder", {EACCES, EPERM, EMFILE, EIO}},
    {"fstat", {EIO}},
    {"stat", {EACCES, EIO}},
    {"fstatfs", {EIO}},
    {"lock", {EAGAIN, EACCES, EINTR, ENOLCK, EBADF}},
    {"probe", {EINVAL}},
    {"fsync", {EIO, EINVAL, ENOTSUP}},
    {"fdatasync", {EINTR, EIO, ENOSPC}},
    {"fallocate", {EINTR, EOPNOTSUPP, EINVAL, ENOSYS, ENOSPC, EDQUOT, EIO}},
    {"pread", {EINTR, EIO}},
    {"pwrite", {EINTR, EIO, ENOSPC, EDQUOT}},
    {"mmap", {ENOMEM, EACCES}},
    {"getrandom", {ENOSYS}},
    {"renameat2", {ENOSYS, EINVAL, EPERM, ENOTSUP, EEXIST, EIO}},
    {"link", {EPERM, EEXIST, EIO}},
    {"rename", {EIO, EACCES}},
    {"unlink", {EIO}},
    {"realpath", {EIO, EACCES, ENOMEM}},
    {"readlink", {EINVAL, EIO}},
    {"fgetxattr", {ENOTSUP, ENODATA, EIO}},
    {"fremovexattr", {ENOTSUP, ENODATA, EIO}},
    {"fchmod", {EPERM}},
    {"fchown", {EPERM}},
};

static void sweep_all(act *what, vtag_access access)
{
    size_t i;
    int total = 0;
    const int *code;
    for (i = 0; i < sizeof reasons / sizeof *reasons; i++)
        for (code = reasons[i].codes; *code; code++) total += sweep(what, access, reasons[i].call, *code);
    CHECK(total > 20);
}

static void whatever_is_refused_a_look_harms_nothing(void) { sweep_all(look_at, VTAG_READ); }
static void whatever_is_refused_a_commit_is_made_or_not(void) { sweep_all(commit_next, VTAG_EXISTING); }
static void whatever_is_refused_a_seal_changes_no_content(void) { sweep_all(seal, VTAG_EXISTING); }
static void whatever_is_refused_a_compaction_loses_nothing(void) { sweep_all(compact, VTAG_EXISTING); }
static void whatever_is_refused_a_copy_is_whole_or_not_there(void) { sweep_all(copy, VTAG_READ); }
static void whatever_is_refused_a_store_is_made_or_not(void) { sweep_all(make_by_link, VTAG_READ); }
static void whatever_is_refused_a_handle_follows_or_says_no(void) { sweep_all(follow, VTAG_EXISTING); }

/* Under the name that a copy's file has until it is whole: what a copy left is cleared away,
   what may be another's, or cannot be read, is not. */
static void what_lies_under_a_name_of_ours_is_looked_at(void)
{
    struct refusal r = {"pread", EIO, 1, 1, 0};
    vtag_db *db;
    char *part;
    FILE *f;
    reset();
    MUST(open_store(VTAG_READ, &db));
    part = vt_part_path(db->file, t_path("copy"), 0);
    REQUIRE(part != NULL);
    copy_file(t_path("base"), part);
    refusal = r;
    ERR(VTAG_IO, copy(db));
    refusal.call = NULL;
    CHECK(access(part, F_OK) == 0 && !is_there("copy"));
    OK(copy(db));
    CHECK(access(part, F_OK) != 0 && step_in("copy") == done);
    copy_file(t_path("base"), part);
    f = fopen(part, "r+b");
    REQUIRE(f && fseek(f, offsetof(vtf_identity, uuid), SEEK_SET) == 0 && putc('?', f) == '?');
    fclose(f);
    unlink(t_path("copy"));
    OK(copy(db));
    CHECK(access(part, F_OK) == 0 && step_in("copy") == done);
    unlink(part);
    vt_free(part);
    vtag_close(db);
}

/* ---- What is no failure ------------------------------------------------------------------- */

/* Refuses a call once, or always, and wants the caller to see nothing of it. */
static void unseen(act *what, const char *call, int code, int for_good)
{
    struct refusal r = {call, code, 1, 0, 0};
    int met;
    r.for_good = for_good;
    OK(try_one(what, what == copy ? VTAG_READ : VTAG_EXISTING, &r, &met));
    if (!CHECK(met)) fprintf(stderr, "  %s was not called\n", call);
}

static void a_call_that_a_signal_interrupts_is_made_again(void)
{
    unseen(commit_next, "open", EINTR, 0);
    unseen(commit_next, "pread", EINTR, 0);
    unseen(commit_next, "pwrite", EINTR, 0);
    unseen(commit_next, "fdatasync", EINTR, 0);
    unseen(copy, "fallocate", EINTR, 0);
}

static void a_call_that_does_half_is_asked_for_the_rest(void)
{
    unseen(commit_next, "pread", 0, 1);
    unseen(commit_next, "pwrite", 0, 1);
    unseen(compact, "pwrite", 0, 1);
}

static void what_a_file_system_lacks_is_done_in_another_way(void)
{
    unseen(copy, "fallocate", EOPNOTSUPP, 1);
    unseen(copy, "fallocate", EINVAL, 1);
    unseen(copy, "fallocate", ENOSYS, 1);
    unseen(copy, "fallocate", EINTR, 1);
    unseen(copy, "renameat2", ENOSYS, 1);
    unseen(copy, "renameat2", EINVAL, 1);
    unseen(copy, "renameat2", EPERM, 1);
    unseen(copy, "renameat2", ENOTSUP, 1);
    unseen(copy, "fsync", EINVAL, 1);
    unseen(copy, "fsync", ENOTSUP, 1);
    unseen(copy, "open folder", EACCES, 1);
    unseen(copy, "open folder", EPERM, 1);
    unseen(copy, "getrandom", ENOSYS, 1);
    unseen(copy, "getrandom", 0, 1);
    unseen(compact, "fgetxattr", ENOTSUP, 1);
    unseen(compact, "fgetxattr", ENODATA, 1);
    unseen(compact, "fremovexattr", ENOTSUP, 1);
    unseen(compact, "fremovexattr", ENODATA, 1);
}

/* Where no name can be taken in one step, one call after the other is tried. */
static void names_are_taken_in_two_steps_where_not_in_one(void)
{
    static const struct refusal no_link = {"link", EPERM, 1, 1, 0};
    const vtag_io *io = vt_os_io();
    char from[1000];
    reset();
    snprintf(from, sizeof from, "%s", t_path("s"));
    refusal = no_link;
    refusal.call = "renameat2";
    refusal.code = EPERM; /* as where there is neither: rename, after a look */
    OK(io->publish(NULL, from, t_path("made"), 0));
    ERR(VTAG_EXISTS, io->publish(NULL, t_path("base"), t_path("made"), 0));
    refusal.code = ENOSYS;
    ERR(VTAG_EXISTS, io->publish(NULL, t_path("base"), t_path("made"), 0));
    refusal.code = EIO;
    ERR(VTAG_IO, io->publish(NULL, t_path("base"), t_path("copy"), 0));
    refusal.call = NULL;
    CHECK(is_there("made") && !is_there("s") && !is_there("copy") && is_there("base"));
    reset();
    refusal = no_link;
    refusal.call = "renameat2";
    no_second = "rename";
    refusal.code = EPERM;
    no_second_code = EIO;
    ERR(VTAG_IO, io->publish(NULL, from, t_path("made"), 0));
    CHECK(is_there("s") && !is_there("made"));
    no_second = "link";
    no_second_code = refusal.code = ENOSYS; /* neither the one nor the other is known there */
    OK(io->publish(NULL, from, t_path("made"), 0));
    CHECK(!is_there("s") && is_there("made"));
    copy_file(t_path("made"), t_path("s"));
    unlink(t_path("made"));
    no_second = "unlink";
    no_second_code = EIO;
    ERR(VTAG_IO, io->publish(NULL, from, t_path("made"), 0)); /* both names are left */
    CHECK(is_there("s") && is_there("made"));
    no_second = refusal.call = NULL;
    CHECK_EQ(step_in("s"), done);
    CHECK_EQ(step_in("made"), done);
}

/* What cannot be had of one source is had of another, bit by bit, or not at all. */
static void numbers_by_chance_come_from_a_second_source(void)
{
    static const struct { const char *call; int code; vtag_err want; } tries[] = {
        {"read", EINTR, VTAG_IO}, {"read", EIO, VTAG_IO}, {"read", 0, VTAG_IO}, {"open", EMFILE, VTAG_IO},
    };
    const vtag_io *io = vt_os_io();
    uint8_t a[32] = {0}, b[32] = {0};
    struct refusal no_chance = {"getrandom", ENOSYS, 1, 1, 0};
    size_t i;
    refusal = no_chance;
    OK(io->random(NULL, a, sizeof a));
    OK(io->random(NULL, b, sizeof b));
    CHECK(memcmp(a, b, sizeof a));
    for (i = 0; i < sizeof tries / sizeof *tries; i++) {
        no_second = tries[i].call;
        no_second_code = tries[i].code;
        ERR(tries[i].want, io->random(NULL, a, sizeof a));
    }
    no_second = "read";
    no_second_code = EINTR;
    no_second_left = 3;
    OK(io->random(NULL, a, sizeof a));
    no_second = refusal.call = NULL;
    no_second_left = 0;
}

static void on_a_network_one_writes_by_force_alone(void)
{
    vtag_open_opts o;
    vtag_db *db;
    reset();
    remote_magic = 0x6969;
    ERR(VTAG_READONLY, open_store(VTAG_EXISTING, &db));
    OK(open_store(VTAG_READ, &db));
    vtag_close(db);
    o = opts_of(VTAG_EXISTING);
    o.force_network = 1;
    OK(vtag_open(t_path("s"), &o, &db));
    OK(commit_next(db));
    vtag_close(db);
    remote_magic = 0;
    CHECK_EQ(step_in("s"), done + 1);
}

/* ---- What else is told, and in whose words ------------------------------------------------ */

static void a_store_that_is_refused_says_why(void)
{
    static const struct { int code; vtag_err reading, writing; } says[] = {
        {EACCES, VTAG_DENIED, VTAG_DENIED},   {EPERM, VTAG_DENIED, VTAG_DENIED},
        {EROFS, VTAG_IO, VTAG_READONLY},      {EBADF, VTAG_IO, VTAG_READONLY},
        {ENOENT, VTAG_NOTFOUND, VTAG_NOTFOUND}, {ENOTDIR, VTAG_NOTFOUND, VTAG_NOTFOUND},
        {ENOMEM, VTAG_NOMEM, VTAG_NOMEM},     {EISDIR, VTAG_FORMAT, VTAG_FORMAT},
        {ENOSPC, VTAG_NOSPACE, VTAG_NOSPACE}, {EDQUOT, VTAG_NOSPACE, VTAG_NOSPACE},
        {EFBIG, VTAG_NOSPACE, VTAG_NOSPACE},  {EMFILE, VTAG_IO, VTAG_IO},
    };
    struct refusal r = {"open", 0, 1, 1, 0};
    vtag_db *db;
    size_t i;
    reset();
    for (i = 0; i < sizeof says / sizeof *says; i++) {
        r.code = says[i].code;
        refusal = r;
        ERR(says[i].reading, open_store(VTAG_READ, &db));
        CHECK(strstr(told, strerror(r.code)) && strstr(told, "/s"));
        ERR(says[i].writing, open_store(VTAG_EXISTING, &db));
        CHECK(strstr(told, strerror(r.code)) && strstr(told, "/s"));
        refusal.call = NULL;
    }
}

/* As much of the system's words as there is room for. */
static void words_of_the_system_fit_where_they_go(void)
{
    const vtag_io *io = vt_os_io();
    char text[8] = "?????";
    errno = ENOENT;
    CHECK_EQ(io->why(NULL, text, 0), 0);
    CHECK_STR(text, "?????");
    CHECK_EQ(io->why(NULL, text, 3), 2);
    CHECK_STR(text, "No");
    errno = 0;
    CHECK_EQ(io->why(NULL, text, sizeof text), 0);
    CHECK_STR(text, "");
}

static void no_file_is_longer_than_a_number_of_63_bits(void)
{
    const vtag_io *io = vt_os_io();
    const uint8_t *base;
    uint8_t byte = 0;
    void *f;
    reset();
    OK(io->open(NULL, t_path("s"), VTAG_EXISTING, &f));
    ERR(VTAG_IO, io->read(f, UINT64_MAX, &byte, 1));
    CHECK_EQ(errno, EOVERFLOW);
    ERR(VTAG_IO, io->read(f, INT64_MAX, &byte, 1));
    ERR(VTAG_NOSPACE, io->write(f, UINT64_MAX, &byte, 1));
    ERR(VTAG_NOSPACE, io->write(f, INT64_MAX, &byte, 1));
    ERR(VTAG_NOSPACE, io->allocate(f, UINT64_MAX));
    ERR(VTAG_IO, io->map(f, 0, 0, &base));
    ERR(VTAG_IO, io->map(f, UINT64_MAX, 1, &base));
    ERR(VTAG_IO, io->map(f, 0, UINT64_MAX, &base));
    io->close(f);
    CHECK_EQ(step_in("s"), done);
}

static void an_object_of_a_file_is_there_whole_or_not_at_all(void)
{
    const vtag_io *io = vt_os_io();
    int fd;
    void *f;
    reset();
    fd = next_descriptor();
    heap.fail_at = heap.calls + 1;
    ERR(VTAG_NOMEM, io->open(NULL, t_path("s"), VTAG_EXISTING, &f));
    heap.fail_at = heap.calls + 1;
    ERR(VTAG_NOMEM, io->sync_name(NULL, t_path("s")));
    heap.fail_at = heap.calls + 1;
    heap.for_good = 1;
    ERR(VTAG_NOMEM, io->create(NULL, t_path("made"), NULL, &f));
    heap.fail_at = heap.for_good = 0;
    CHECK_EQ(next_descriptor(), fd);
    OK(io->open(NULL, t_path("link"), VTAG_NEW, &f));
    io->close(f);
    ERR(VTAG_EXISTS, io->open(NULL, t_path("link"), VTAG_NEW, &f));
    ERR(VTAG_EXISTS, io->create(NULL, t_path("link"), NULL, &f));
}

/* ---- Whom a file is open to ----------------------------------------------------------------- */

static unsigned mode_at(const char *path)
{
    struct stat st;
    CHECK(lstat(path, &st) == 0);
    return st.st_mode & 07777;
}

/* A list of version 2: user rw, user 65534 r, group none, mask r, others none. */
static const uint8_t listed[] = {
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 254, 255, 0, 0,
    4, 0, 0, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
};
static const char list_name[] = "system.posix_acl_access";

static void a_list_of_users_stays_at_a_compacted_store(void)
{
    uint8_t got[sizeof listed + 64];
    vtag_db *db;
    reset();
    if (setxattr(t_path("s"), list_name, listed, sizeof listed, 0) != 0) {
        printf("skipped: %s, without lists of who may open a file: %s\n", t_.name, strerror(errno));
        return;
    }
    MUST(open_store(VTAG_EXISTING, &db));
    OK(compact(db));
    OK(commit_next(db));
    vtag_close(db);
    CHECK_EQ(getxattr(t_path("s"), list_name, got, sizeof got), sizeof listed);
    CHECK(!memcmp(got, listed, sizeof listed));
    CHECK_EQ(mode_at(t_path("s")), 0640);
    CHECK_EQ(step_in("s"), done + 1);
    sweep(compact, VTAG_EXISTING, "fsetxattr", EPERM);
}

/* A new file of another group, as in a folder that gives its own, is open to less. */
static void who_may_not_open_the_old_may_not_open_the_new(void)
{
    const vtag_io *io = vt_os_io();
    static const char *const calls[] = {"fstat", "fchmod"};
    void *old, *f;
    size_t i;
    reset();
    chmod(t_path("s"), 0660);
    OK(io->open(NULL, t_path("s"), VTAG_READ, &old));
    for (i = 0; i < 2; i++) {
        struct refusal r = {calls[i], EPERM, 1, 0, 0};
        refusal = r;
        if (io->create(NULL, t_path("made"), old, &f) == VTAG_OK) io->close(f);
        refusal.call = NULL;
        if (is_there("made")) CHECK(!(mode_at(t_path("made")) & 07 & ~mode_at(t_path("s"))));
        unlink(t_path("made"));
    }
    OK(io->create(NULL, t_path("made"), NULL, &f));
    for (i = 0; i < 3; i++) {
        struct refusal r = {i < 2 ? "fstat" : "fchmod", EPERM, 1, 0, 0};
        r.at = i < 2 ? (int)i + 1 : 1;
        refusal = r;
        ERR(i < 2 ? VTAG_IO : VTAG_DENIED, io->like(f, old));
        refusal.call = NULL;
    }
    OK(io->like(f, old));
    io->close(f);
    io->close(old);
    CHECK_EQ(mode_at(t_path("made")), 0660);
}

/* In a folder that gives its own group a file has no rights for that, or none at all. */
static void a_folders_own_group_gets_no_rights(void)
{
    const vtag_io *io = vt_os_io();
    const gid_t other = 12345;
    char path[1000];
    void *old, *f;
    reset();
    snprintf(path, sizeof path, "%s", t_path("folder/new"));
    if (mkdir(t_path("folder"), 0777) || chown(t_path("folder"), 0, other) || chmod(t_path("folder"), 02777)) {
        printf("skipped: %s, which root alone can try\n", t_.name);
        rmdir(t_path("folder"));
        return;
    }
    chmod(t_path("s"), 0660);
    OK(io->open(NULL, t_path("s"), VTAG_READ, &old));
    OK(io->create(NULL, path, old, &f));
    CHECK_EQ(mode_at(path) & 077, 0);
    io->close(f);
    unlink(path);
    no_second = "fchmod";
    no_second_code = EPERM;
    OK(io->create(NULL, path, old, &f));
    io->close(f);
    unlink(path);
    no_second = NULL;
    io->close(old);
    rmdir(t_path("folder"));
}

/* Who has the lock is said of the writer's alone, and nobody is where that cannot be asked. */
static void who_has_a_lock_may_not_be_known(void)
{
    const struct refusal r = {"probe", EINVAL, 1, 1, 0};
    const vtag_io *io = vt_os_io();
    void *a, *b;
    reset();
    OK(io->open(NULL, t_path("s"), VTAG_EXISTING, &a));
    OK(io->open(NULL, t_path("s"), VTAG_EXISTING, &b));
    OK(io->lock(a, VTAG_LOCK_WRITER, 0));
    CHECK_EQ(io->holder(b, VTAG_LOCK_WRITER), getpid());
    CHECK_EQ(io->holder(b, VTAG_LOCK_TURN), 0);
    refusal = r;
    CHECK_EQ(io->holder(b, VTAG_LOCK_WRITER), 0);
    refusal.call = NULL;
    io->unlock(a, VTAG_LOCK_WRITER);
    CHECK_EQ(io->holder(b, VTAG_LOCK_WRITER), 0);
    io->close(a);
    io->close(b);
}

/* ---- Which paths lead where ---------------------------------------------------------------- */

static vtag_err resolves(const char *path, const char *want, size_t room)
{
    static char to[VTAG_PATH_MAX];
    vtag_err err = vt_os_io()->resolve(NULL, path, to, room ? room : sizeof to);
    if (!err && want) CHECK_STR(to, want);
    return err;
}

static void a_path_is_told_from_what_is_none(void)
{
    static char longest[VTAG_PATH_MAX + 8];
    char path[1000], want[1000], name[257];
    int i;
    reset();
    snprintf(want, sizeof want, "%s/new", t_.dir);
    OK(resolves(t_path("new"), want, 0));
    snprintf(path, sizeof path, "%s/./../%s/new", t_.dir, strrchr(t_.dir, '/') + 1);
    OK(resolves(path, want, 0));
    OK(resolves("/", "/", 0));
    OK(resolves("/no such file here", "/no such file here", 0));
    OK(resolves("no such file here", NULL, 0));
    ERR(VTAG_NOTFOUND, resolves("", NULL, 0));
    ERR(VTAG_NOTFOUND, resolves(t_path("new/"), NULL, 0));
    ERR(VTAG_NOTFOUND, resolves(t_path("new/."), NULL, 0));
    ERR(VTAG_NOTFOUND, resolves(t_path("new/.."), NULL, 0));
    ERR(VTAG_NOTFOUND, resolves(t_path("new/new"), NULL, 0));
    for (i = 0; i < 2; i++) { /* as long as a name may be, and longer */
        memset(name, 'n', sizeof name);
        name[255 + i] = 0;
        if (i == 0) OK(resolves(t_path(name), NULL, 0));
        else ERR(VTAG_IO, resolves(t_path(name), NULL, 0));
    }
    memset(longest, 'x', sizeof longest - 1);
    ERR(VTAG_IO, resolves(longest, NULL, 0));
    CHECK_EQ(errno, ENAMETOOLONG);
}

static void a_place_for_a_path_has_room_for_it_or_refuses(void)
{
    char path[1000];
    size_t n, room;
    reset();
    snprintf(path, sizeof path, "%s", t_path("new"));
    n = strlen(path);
    for (room = 2; room <= n; room++) {
        ERR(VTAG_IO, resolves(path, NULL, room));
        CHECK_EQ(errno, ENAMETOOLONG);
    }
    OK(resolves(path, path, n + 1));
    snprintf(path, sizeof path, "%s", t_path("s"));
    for (room = 2; room <= strlen(path); room++) ERR(VTAG_IO, resolves(path, NULL, room));
    OK(resolves(path, path, strlen(path) + 1));
}

/* A chain of so many links, of which the last leads to what is not there. */
static vtag_err through_links(int links, const char *end)
{
    char name[40], to[1000];
    vtag_err err;
    int i;
    for (i = 0; i < links; i++) {
        snprintf(name, sizeof name, "link-%d", i);
        snprintf(to, sizeof to, "link-%d", i + 1);
        if (symlink(i + 1 < links ? to : end, t_path(name)) != 0) return VTAG_IO;
    }
    err = resolves(t_path("link-0"), t_path("made"), 0);
    for (i = 0; i < links; i++) {
        snprintf(name, sizeof name, "link-%d", i);
        unlink(t_path(name));
    }
    return err;
}

static void a_chain_of_links_may_lead_to_what_is_not_there(void)
{
    char far[VTAG_PATH_MAX];
    size_t i;
    reset();
    OK(through_links(1, "made"));
    OK(through_links(1, t_path("made")));
    OK(through_links(39, "made"));
    ERR(VTAG_IO, through_links(40, "made"));
    CHECK_EQ(errno, ELOOP);
    ERR(VTAG_IO, through_links(60, "made"));
    CHECK_EQ(errno, ELOOP);
    for (i = 0; i + 10 < sizeof far; i += 2) memcpy(far + i, "./", 2);
    strcpy(far + i, "made");
    ERR(VTAG_IO, through_links(1, far));
    CHECK_EQ(errno, ENAMETOOLONG);
    REQUIRE(chdir(t_.dir) == 0 && symlink("made", "link") == 0);
    OK(resolves("link", t_path("made"), 0));
    OK(resolves("made", t_path("made"), 0));
    OK(vt_os_io()->sync_name(NULL, "made"));
    REQUIRE(chdir("/") == 0);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(whatever_is_refused_a_look_harms_nothing);
    RUN(whatever_is_refused_a_commit_is_made_or_not);
    RUN(whatever_is_refused_a_seal_changes_no_content);
    RUN(whatever_is_refused_a_compaction_loses_nothing);
    RUN(whatever_is_refused_a_copy_is_whole_or_not_there);
    RUN(whatever_is_refused_a_store_is_made_or_not);
    RUN(whatever_is_refused_a_handle_follows_or_says_no);
    RUN(what_lies_under_a_name_of_ours_is_looked_at);
    RUN(a_call_that_a_signal_interrupts_is_made_again);
    RUN(a_call_that_does_half_is_asked_for_the_rest);
    RUN(what_a_file_system_lacks_is_done_in_another_way);
    RUN(names_are_taken_in_two_steps_where_not_in_one);
    RUN(numbers_by_chance_come_from_a_second_source);
    RUN(on_a_network_one_writes_by_force_alone);
    RUN(a_store_that_is_refused_says_why);
    RUN(words_of_the_system_fit_where_they_go);
    RUN(no_file_is_longer_than_a_number_of_63_bits);
    RUN(an_object_of_a_file_is_there_whole_or_not_at_all);
    RUN(a_list_of_users_stays_at_a_compacted_store);
    RUN(who_may_not_open_the_old_may_not_open_the_new);
    RUN(a_folders_own_group_gets_no_rights);
    RUN(who_has_a_lock_may_not_be_known);
    RUN(a_path_is_told_from_what_is_none);
    RUN(a_place_for_a_path_has_room_for_it_or_refuses);
    RUN(a_chain_of_links_may_lead_to_what_is_not_there);
    return t_end();
}
