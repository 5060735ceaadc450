/* device.h - a disk that keeps a log of what is written to it and when it is flushed

   A child process serves one file through FUSE, from memory shared with the test; a
   loop device on that file is the disk. While it records, every write and every flush
   goes into a log, from which the test can put together what a power cut may have left.
   The kernel's protocol is spoken here directly [linux/fuse.h], so nothing is needed
   but root, /dev/fuse and a loop device. Include it after test.h. */
#ifndef VTAG_TEST_DEVICE_H
#define VTAG_TEST_DEVICE_H
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEV_MOST   (UINT64_C(384) << 20) /* bytes of a disk                    */
#define DEV_CHUNK  UINT64_C(4096)
#define DEV_SECTOR UINT64_C(512)
#define DEV_LOG    (1u << 18)            /* entries                            */
#define DEV_DATA   (UINT64_C(1) << 30)   /* bytes of them                      */

typedef struct dev_entry {
    uint64_t at, size, data;     /* size 0: a flush                            */
} dev_entry;

typedef struct dev_shared {      /* between the test and its server            */
    uint64_t  size;
    uint64_t  log;               /* entries so far                             */
    uint64_t  used;              /* bytes of data                              */
    int       recording, full;
    uint8_t   touched[DEV_MOST / DEV_CHUNK]; /* by any write, since the start  */
    uint8_t   dirty[DEV_MOST / DEV_CHUNK];   /* may differ from good           */
    dev_entry entry[DEV_LOG];
} dev_shared;

typedef struct device {
    dev_shared *s;
    uint8_t    *disk, *data;     /* as it is; the log's bytes                  */
    uint8_t    *good;            /* what is surely there, as of a cut          */
    uint64_t    laid;            /* entries of the log that good has           */
    pid_t       server;
    char        dir[900], loop[32];
    int         loop_fd;
} device;

static inline void *dev_memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        perror("device: memory");
        exit(2);
    }
    return p;
}

static inline void dev_mark(uint8_t *map, uint64_t at, uint64_t n)
{
    uint64_t chunk = at / DEV_CHUNK;
    for (; n && chunk <= (at + n - 1) / DEV_CHUNK; chunk++) map[chunk] = 1;
}

/* ---- The server --------------------------------------------------------------- */

static inline void dev_reply(int fd, uint64_t unique, int error, const void *p, size_t n)
{
    static uint8_t out[(1 << 20) + 4096];
    struct fuse_out_header h;
    h.len = (uint32_t)(sizeof h + n);
    h.error = -error;
    h.unique = unique;
    memcpy(out, &h, sizeof h);
    if (n) memcpy(out + sizeof h, p, n);
    if (write(fd, out, h.len) < 0 && errno != ENOENT) _exit(1);
}

static inline struct fuse_attr dev_attr(const device *d, uint64_t node)
{
    struct fuse_attr a;
    memset(&a, 0, sizeof a);
    a.ino = node;
    a.mode = node == 1 ? S_IFDIR | 0700 : S_IFREG | 0600;
    a.nlink = 1;
    a.size = node == 1 ? 0 : d->s->size;
    a.blocks = a.size / 512;
    a.blksize = 4096;
    return a;
}

static inline void dev_log(device *d, uint64_t at, const void *p, uint64_t n)
{
    dev_shared *s = d->s;
    dev_entry *e = &s->entry[s->log];
    if (!s->recording) return;
    if (s->log + 1 >= DEV_LOG || s->used + n > DEV_DATA) {
        s->full = 1;
        return;
    }
    e->at = at;
    e->size = n;
    e->data = s->used;
    if (n) memcpy(d->data + s->used, p, (size_t)n);
    s->used += n;
    __atomic_store_n(&s->log, s->log + 1, __ATOMIC_SEQ_CST);
}

static inline void dev_write(device *d, int fd, uint64_t unique, const struct fuse_write_in *in)
{
    struct fuse_write_out out = {0, 0};
    if (in->offset > d->s->size || in->size > d->s->size - in->offset) {
        dev_reply(fd, unique, ENOSPC, NULL, 0);
        return;
    }
    memcpy(d->disk + in->offset, in + 1, in->size);
    dev_mark(d->s->touched, in->offset, in->size);
    dev_mark(d->s->dirty, in->offset, in->size);
    dev_log(d, in->offset, in + 1, in->size);
    out.size = in->size;
    dev_reply(fd, unique, 0, &out, sizeof out);
}

static inline void dev_read(device *d, int fd, uint64_t unique, const struct fuse_read_in *in)
{
    uint64_t n = in->offset > d->s->size ? 0 : d->s->size - in->offset;
    if (n > in->size) n = in->size;
    dev_reply(fd, unique, 0, d->disk + in->offset, (size_t)n);
}

static inline void dev_hello(int fd, uint64_t unique, const struct fuse_init_in *in)
{
    struct fuse_init_out out;
    memset(&out, 0, sizeof out);
    out.major = FUSE_KERNEL_VERSION;
    out.minor = 31;
    out.max_readahead = in->max_readahead;
    out.flags = in->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ASYNC_READ);
    out.max_write = 1 << 20;
    out.max_pages = 256;
    out.time_gran = 1;
    dev_reply(fd, unique, 0, &out, sizeof out);
}

static inline void dev_answer(device *d, int fd, const struct fuse_in_header *h)
{
    const void *in = h + 1;
    struct fuse_entry_out entry;
    struct fuse_attr_out attr;
    struct fuse_open_out open_out;
    struct fuse_statfs_out fs;
    memset(&entry, 0, sizeof entry);
    memset(&attr, 0, sizeof attr);
    memset(&open_out, 0, sizeof open_out);
    memset(&fs, 0, sizeof fs);
    attr.attr = dev_attr(d, h->nodeid);
    entry.nodeid = 2;
    entry.attr = dev_attr(d, 2);
    switch (h->opcode) {
    case FUSE_INIT:    dev_hello(fd, h->unique, (const struct fuse_init_in *)in); break;
    case FUSE_READ:    dev_read(d, fd, h->unique, (const struct fuse_read_in *)in); break;
    case FUSE_WRITE:   dev_write(d, fd, h->unique, (const struct fuse_write_in *)in); break;
    case FUSE_GETATTR:
    case FUSE_SETATTR: dev_reply(fd, h->unique, 0, &attr, sizeof attr); break;
    case FUSE_STATFS:  dev_reply(fd, h->unique, 0, &fs, sizeof fs); break;
    case FUSE_LOOKUP:
        if (strcmp((const char *)in, "disk")) dev_reply(fd, h->unique, ENOENT, NULL, 0);
        else dev_reply(fd, h->unique, 0, &entry, sizeof entry);
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR: dev_reply(fd, h->unique, 0, &open_out, sizeof open_out); break;
    case FUSE_FSYNC:   dev_log(d, 0, NULL, 0); /* fall through */
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_DESTROY: dev_reply(fd, h->unique, 0, NULL, 0); break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: break;
    default: dev_reply(fd, h->unique, ENOSYS, NULL, 0); break;
    }
}

static inline void dev_serve(device *d, int fd)
{
    static uint64_t in[((1 << 20) + 65536) / 8];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNS) != 0) _exit(1); /* else a test that dies would unmount here, where
                                                nobody answers any more, and hang */
    for (;;) {
        ssize_t n = read(fd, in, sizeof in);
        if (n > 0) dev_answer(d, fd, (const struct fuse_in_header *)in);
        else if (errno != EINTR && errno != EAGAIN && errno != ENOENT) _exit(0);
    }
}

/* ---- The device ---------------------------------------------------------------- */

/* Binds a free loop device to a file; its descriptor, which holds the binding until it
 * is closed and nothing is mounted any more, or -1. */
static inline int dev_loop(const char *file, char *path, size_t cap)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), tries, fd = -1;
    int back = open(file, O_RDWR | O_CLOEXEC);
    for (tries = 0; control >= 0 && back >= 0 && tries < 50; tries++) {
        struct loop_info64 info;
        int n = ioctl(control, LOOP_CTL_GET_FREE);
        snprintf(path, cap, "/dev/loop%d", n);
        if (n >= 0 && access(path, F_OK)) mknod(path, S_IFBLK | 0600, makedev(7, (unsigned)n));
        fd = n < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
        memset(&info, 0, sizeof info);
        info.lo_flags = LO_FLAGS_AUTOCLEAR;
        if (fd >= 0 && ioctl(fd, LOOP_SET_FD, back) == 0 &&
            ioctl(fd, LOOP_SET_STATUS64, &info) == 0) break;
        if (fd >= 0) close(fd);
        fd = -1;
        usleep(20000); /* another test was faster */
    }
    close(control);
    close(back);
    return fd;
}

static inline int dev_attach(device *d)
{
    char file[1000];
    snprintf(file, sizeof file, "%s/disk", d->dir);
    d->loop_fd = dev_loop(file, d->loop, sizeof d->loop);
    return d->loop_fd >= 0;
}

static inline void dev_detach(device *d)
{
    close(d->loop_fd);
    d->loop_fd = -1;
}

/* Starts a disk of that size; dir is an empty directory of its own. 0, or an errno. */
static inline int dev_start(device *d, const char *dir, uint64_t size)
{
    char opts[100];
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0) return errno;
    memset(d, 0, sizeof *d);
    d->s = (dev_shared *)dev_memory(sizeof *d->s);
    d->disk = (uint8_t *)dev_memory((size_t)DEV_MOST);
    d->good = (uint8_t *)dev_memory((size_t)DEV_MOST);
    d->data = (uint8_t *)dev_memory((size_t)DEV_DATA);
    d->s->size = size;
    d->loop_fd = -1;
    snprintf(d->dir, sizeof d->dir, "%s", dir);
    snprintf(opts, sizeof opts, "fd=%d,rootmode=40000,user_id=0,group_id=0,max_read=1048576", fd);
    if (mount("vtag-test", dir, "fuse", MS_NOSUID | MS_NODEV, opts) != 0) {
        close(fd);
        return errno;
    }
    fflush(stdout);
    d->server = fork();
    if (d->server == 0) dev_serve(d, fd);
    close(fd);
    return 0;
}

static inline void dev_stop(device *d)
{
    int status;
    if (!d->server) return;
    if (d->loop_fd >= 0) dev_detach(d);
    umount2(d->dir, MNT_DETACH);
    kill(d->server, SIGKILL);
    waitpid(d->server, &status, 0);
    munmap(d->s, sizeof *d->s);
    munmap(d->disk, (size_t)DEV_MOST);
    munmap(d->good, (size_t)DEV_MOST);
    munmap(d->data, (size_t)DEV_DATA);
    memset(d, 0, sizeof *d);
}

/* ---- Recording, and what a cut leaves ---------------------------------------------- */

static inline uint64_t dev_now(const device *d)
{
    return __atomic_load_n(&d->s->log, __ATOMIC_SEQ_CST);
}

/* From here on everything is recorded; what came before is on the disk for certain. */
static inline void dev_record(device *d)
{
    uint64_t chunk;
    for (chunk = 0; chunk < d->s->size / DEV_CHUNK; chunk++)
        if (d->s->touched[chunk])
            memcpy(d->good + chunk * DEV_CHUNK, d->disk + chunk * DEV_CHUNK, DEV_CHUNK);
    memset(d->s->dirty, 0, sizeof d->s->dirty);
    d->s->recording = 1;
}

/* Lays sectors of an entry onto an image: all, or each by the toss of a coin. */
static inline void dev_lay(device *d, const dev_entry *e, uint8_t *image, uint64_t *coin)
{
    uint64_t i;
    dev_mark(d->s->dirty, e->at, e->size);
    for (i = 0; i < e->size; i += DEV_SECTOR)
        if (!coin || t_below(coin, 2))
            memcpy(image + e->at + i, d->data + e->data + i, DEV_SECTOR);
}

/* How much of what was not flushed reached the disk. */
typedef enum dev_cut { DEV_NOTHING, DEV_EVERYTHING, DEV_WRITES, DEV_SECTORS, DEV_CUTS } dev_cut;

/* Makes the disk what a cut before entry `to` may have left; cuts come in order. The
 * device is detached. */
static inline void dev_power_cut(device *d, uint64_t to, dev_cut cut, uint64_t seed)
{
    uint64_t flushed = to, i, chunk;
    while (flushed > d->laid && d->s->entry[flushed - 1].size) flushed--;
    for (; d->laid < flushed; d->laid++) dev_lay(d, &d->s->entry[d->laid], d->good, NULL);
    for (chunk = 0; chunk < d->s->size / DEV_CHUNK; chunk++)
        if (d->s->dirty[chunk])
            memcpy(d->disk + chunk * DEV_CHUNK, d->good + chunk * DEV_CHUNK, DEV_CHUNK);
    memset(d->s->dirty, 0, sizeof d->s->dirty);
    for (i = flushed; i < to && cut != DEV_NOTHING; i++) {
        if (cut == DEV_WRITES && t_below(&seed, 2)) continue;
        dev_lay(d, &d->s->entry[i], d->disk, cut == DEV_SECTORS ? &seed : NULL);
    }
}

#endif
