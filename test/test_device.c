// build: plain
/* Power cuts under real file systems.

   A workload (steps.h) runs on ext4 or XFS, on a disk that records what is written and
   flushed (device.h). From the record the disk is put together as a power cut at some
   moment may have left it, with any of the unflushed 512-byte sectors; the file system is
   mounted again and recovers, and the file must hold a step not older than the last one
   acknowledged, whole [I1, I2]. The other way to lose power: the file system's own
   emergency stop (FS_IOC_SHUTDOWN, without flushing its log) in the middle of the work,
   then the same.

   DEVICE_STATES=n and SHUTDOWNS=n set how many of each on each file system (50, 20).
   Needs root, FUSE and loop devices; skipped elsewhere, but not where CI=true. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "engine.h"
#include "test.h"
#include "device.h"
#include "steps.h"
#include <sched.h>

enum { WORK = 150 };

typedef struct kind {            /* of file system                             */
    const char *name, *make;
    uint64_t    bytes;
} kind;

static const kind kinds[2] = {
    {"ext4", "mkfs.ext4 -q -E nodiscard,lazy_itable_init=0,lazy_journal_init=0", 64u << 20},
    {"xfs",  "mkfs.xfs -q -f -K -m crc=1", 320u << 20},
};

static uint64_t states_tried, shutdowns_tried;
static device d;
static char mounted[900];        /* where; "": nothing is                      */

/* ---- Small parts ---------------------------------------------------------------- */

static uint64_t knob(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* Says that something is left out, and fails where it should not be. */
static void skip(const char *what, const char *why)
{
    const char *ci = getenv("CI");
    printf("skipped: %s, because %s\n", what, why);
    CHECK(!ci || strcmp(ci, "true"));
}

static int shell(const char *command, const char *argument)
{
    char line[1200];
    snprintf(line, sizeof line, "%s %s >/dev/null 2>&1", command, argument);
    return system(line);
}

/* Whether the machine can make and mount such a file system. */
static int can_mount(const char *what, const kind *k)
{
    char program[40], text[100];
    snprintf(program, sizeof program, "command -v %.*s", (int)strcspn(k->make, " "), k->make);
    snprintf(text, sizeof text, "%s on %s", what, k->name);
    if (geteuid() != 0) skip(text, "only root may mount");
    else if (access("/dev/loop-control", R_OK | W_OK)) skip(text, "there are no loop devices");
    else if (shell(program, "")) skip(text, "its mkfs is not installed");
    else return 1;
    return 0;
}

static const char *new_dir(const char *name)
{
    const char *dir = t_path(name);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) perror(dir);
    return dir;
}

static int mount_at(const char *device, const char *dir, const kind *k)
{
    if (!CHECK(mount(device, dir, k->name, 0, NULL) == 0)) return 0;
    snprintf(mounted, sizeof mounted, "%s", dir);
    return 1;
}

static void unmount(void)
{
    if (mounted[0]) CHECK(umount(mounted) == 0);
    mounted[0] = 0;
}

/* After a test, however it ended. */
static void clean_up(void)
{
    unmount();
    dev_stop(&d);
}

/* ---- A workload, and the oracle's notes ----------------------------------------------- */

static struct notes {
    uint64_t started[WORK + 2], acked[WORK + 2]; /* positions in the log, by step */
    uint64_t born;                               /* the file was there            */
} notes;

static void work_and_note(const char *path)
{
    vtag_open_opts opts;
    vtag_db *db;
    vtag_tag tag;
    uint64_t i;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_EXISTING;
    newborn(path);
    notes.born = dev_now(&d);
    MUST(vtag_open(path, &opts, &db));
    MUST(last_step(db, &i, &tag));
    for (i = 1; i <= WORK; i++) {
        notes.started[i] = dev_now(&d);
        MUST(commit_step(db, tag, i));
        notes.acked[i] = dev_now(&d);
        MUST(tidy_step(&db, path, &opts, i));
    }
    vtag_close(db);
}

/* The last step that came before a position of the log. */
static uint64_t last_before(const uint64_t *at, uint64_t position)
{
    uint64_t i = 0;
    while (i < WORK && at[i + 1] <= position) i++;
    return i;
}

static uint64_t step_of(const char *path)
{
    vtag_open_opts opts;
    vtag_db *db = NULL;
    vtag_tag tag;
    uint64_t now = 0;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_READ;
    MUST(vtag_open(path, &opts, &db));
    OK(last_step(db, &now, &tag));
    vtag_close(db);
    return now;
}

/* The file holds a step of low..high, as a reader and as a writer finds it; one more
 * step is possible. */
static void judge_file(const char *path, uint64_t low, uint64_t high)
{
    vtag_open_opts opts;
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    vtag_tag tag;
    uint64_t now = 0;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_READ;
    MUST(vtag_open(path, &opts, &db));
    now = check_file(db, &tag);
    CHECK(now >= low && now <= high);
    vtag_close(db);
    opts.access = VTAG_EXISTING;
    MUST(vtag_open(path, &opts, &db));
    if (OK(vtag_begin(db, NULL, &b))) vtag_abort(b);
    CHECK_EQ(check_file(db, &tag), now);
    OK(commit_step(db, tag, now + 1));
    CHECK_EQ(check_file(db, &tag), now + 1);
    vtag_close(db);
}

/* ---- The recorded device ------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;
    return (*x > *y) - (*x < *y);
}

/* Mounts what a cut left and looks at the file; 0 ends the run. */
static int judge_cut(const kind *k, const char *dir, uint64_t at, uint64_t choice)
{
    char path[1000];
    int failed = t_.failed;
    dev_power_cut(&d, at, (dev_cut)(choice % DEV_CUTS), choice);
    snprintf(path, sizeof path, "%s/work.vtag", dir);
    REQUIRE(dev_attach(&d));
    if (mount_at(d.loop, dir, k))
        judge_file(path, last_before(notes.acked, at), last_before(notes.started, at));
    unmount();
    dev_detach(&d);
    states_tried++;
    if (t_.failed != failed)
        fprintf(stderr, "  %s, cut at %llu of %llu, choice %llu\n", k->name, (unsigned long long)at,
                (unsigned long long)d.s->log, (unsigned long long)choice);
    return t_.failed == failed;
}

static void record_workload(const kind *k, const char *dir)
{
    char path[1000];
    uint64_t i, flushes = 0;
    REQUIRE(dev_attach(&d));
    REQUIRE(shell(k->make, d.loop) == 0);
    REQUIRE(fsync(d.loop_fd) == 0);
    dev_record(&d);
    REQUIRE(mount_at(d.loop, dir, k));
    snprintf(path, sizeof path, "%s/work.vtag", dir);
    work_and_note(path);
    unmount();
    dev_detach(&d);
    d.s->recording = 0;
    REQUIRE(!d.s->full && d.s->log > notes.born);
    for (i = 0; i < d.s->log; i++) flushes += d.s->entry[i].size == 0;
    CHECK(flushes > WORK && d.s->log > 2 * flushes); /* there is something to lose */
    printf("%s: %llu writes, %llu flushes\n", k->name, (unsigned long long)(d.s->log - flushes),
           (unsigned long long)flushes);
}

static void cut_recorded_device(const kind *k)
{
    char dir[900], fuse[900], text[60];
    uint64_t n = knob("DEVICE_STATES", 50), seed = t_seed(), i, *at;
    int err;
    snprintf(text, sizeof text, "power cuts under %s", k->name);
    if (!can_mount("power cuts", k)) return;
    snprintf(dir, sizeof dir, "%s", new_dir("mounted"));
    snprintf(fuse, sizeof fuse, "%s", new_dir("fuse"));
    err = dev_start(&d, fuse, k->bytes);
    if (err) {
        skip(text, strerror(err));
        return;
    }
    record_workload(k, dir);
    at = (uint64_t *)calloc((size_t)n, sizeof *at);
    REQUIRE(at != NULL);
    for (i = 0; i < n; i++) at[i] = notes.born + t_below(&seed, d.s->log - notes.born + 1);
    qsort(at, (size_t)n, sizeof *at, ascending);
    for (i = 0; i < n && judge_cut(k, dir, at[i], t_rand(&seed)); i++) {}
    free(at);
}

static void a_power_cut_under_ext4_loses_no_commit(void) { cut_recorded_device(&kinds[0]); }
static void a_power_cut_under_xfs_loses_no_commit(void) { cut_recorded_device(&kinds[1]); }

/* ---- The emergency stop ---------------------------------------------------------------------- */

/* Works and acknowledges steps through a pipe until the file system is gone; what
 * becomes of this process then does not matter. */
static void work_until_stopped(const char *path, int to_parent)
{
    static const char done = 1;
    vtag_open_opts opts;
    vtag_db *db;
    vtag_tag tag;
    uint64_t i = 0;
    vtag_err err;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_EXISTING;
    err = vtag_open(path, &opts, &db);
    if (err == VTAG_OK) err = last_step(db, &i, &tag);
    for (i++; err == VTAG_OK; i++) {
        err = commit_step(db, tag, i);
        if (err == VTAG_OK && write(to_parent, &done, 1) != 1) _exit(1);
        if (err == VTAG_OK) err = tidy_step(&db, path, &opts, i);
    }
    _exit(0);
}

/* Lets a child work and stops the file system under it; the steps it acknowledged. */
static uint64_t one_shutdown(const char *path, const char *dir, useconds_t us)
{
    uint32_t no_log_flush = 2;
    uint64_t acked = 0;
    int ends[2], status, fd = open(dir, O_RDONLY);
    char got[512];
    ssize_t n;
    pid_t child;
    REQUIRE(fd >= 0 && pipe(ends) == 0);
    child = fork();
    if (child == 0) work_until_stopped(path, ends[1]);
    close(ends[1]);
    if (read(ends[0], got, 1) == 1) acked++;
    usleep(us);
    CHECK(ioctl(fd, _IOR('X', 125, uint32_t), &no_log_flush) == 0);
    while ((n = read(ends[0], got, sizeof got)) > 0) acked += (uint64_t)n;
    CHECK(waitpid(child, &status, 0) == child);
    close(ends[0]);
    close(fd);
    return acked;
}

static void stop_in_the_middle(const kind *k, const char *image, const char *dir)
{
    char loop[32], path[1000];
    uint64_t n = knob("SHUTDOWNS", 20), seed = t_seed(), i, last = 0;
    int fd = dev_loop(image, loop, sizeof loop);
    REQUIRE(fd >= 0);
    REQUIRE(shell(k->make, loop) == 0);
    REQUIRE(mount_at(loop, dir, k));
    snprintf(path, sizeof path, "%s/work.vtag", dir);
    newborn(path);
    for (i = 0; i < n && !t_.failed; i++) {
        uint64_t acked = one_shutdown(path, dir, (useconds_t)t_below(&seed, 20000));
        unmount();
        REQUIRE(mount_at(loop, dir, k));
        judge_file(path, last + acked, last + acked + 1);
        last = step_of(path);
        shutdowns_tried++;
    }
    unmount();
    close(fd);
}

static void stop_file_system(const kind *k)
{
    char image[900], dir[900];
    int fd;
    if (!can_mount("emergency stops", k)) return;
    snprintf(image, sizeof image, "%s", t_path("stopped.img"));
    snprintf(dir, sizeof dir, "%s", new_dir("stopped"));
    fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)k->bytes) == 0);
    close(fd);
    stop_in_the_middle(k, image, dir);
    unlink(image);
}

static void an_emergency_stop_of_ext4_loses_no_commit(void) { stop_file_system(&kinds[0]); }
static void an_emergency_stop_of_xfs_loses_no_commit(void) { stop_file_system(&kinds[1]); }


int main(int argc, char **argv)
{
    t_begin(argc, argv);
    if (unshare(CLONE_NEWNS) == 0) mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    RUN(a_power_cut_under_ext4_loses_no_commit);
    clean_up();
    RUN(a_power_cut_under_xfs_loses_no_commit);
    clean_up();
    RUN(an_emergency_stop_of_ext4_loses_no_commit);
    clean_up();
    RUN(an_emergency_stop_of_xfs_loses_no_commit);
    clean_up();
    printf("count device-states %llu\n", (unsigned long long)states_tried);
    printf("count shutdowns %llu\n", (unsigned long long)shutdowns_tried);
    return t_end();
}
