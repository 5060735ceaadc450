/* outfile.c - files that a user named, written whole or not at all; see outfile.h. */
#define _XOPEN_SOURCE 700 /* POSIX of 2008, and realpath */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum { OUT_LINKS = 40, OUT_FILES = 4 };

/* ---- Names ---------------------------------------------------------------------- */

/* Where the last '/' ends the folder of a path; 0: it has none. */
static size_t out_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static char *out_join(const char *folder, size_t n, const char *name)
{
    char *path = cli_alloc(n + strlen(name) + 2);
    memcpy(path, folder, n);
    strcpy(path + n, name);
    return path;
}

/* A path without the links in it, of a file that may not be there; NULL with errno. */
static char *out_resolve(const char *path)
{
    char *at = cli_strdup(path), *real, *folder;
    char to[4096];
    size_t n;
    int links;
    for (links = 0; (real = realpath(at, NULL)) == NULL && errno == ENOENT; links++) {
        ssize_t len = readlink(at, to, sizeof to - 1);
        if (len < 0 || links == OUT_LINKS) break;
        to[len] = '\0';
        folder = out_join(at, to[0] == '/' ? 0 : out_folder(at), to);
        free(at);
        at = folder;
    }
    if (!real && errno != ELOOP) {
        n = out_folder(at);
        to[0] = '\0';
        folder = n ? out_join(at, n, "") : cli_strdup(".");
        if (at[n] && (real = realpath(folder, NULL)) != NULL) {
            char *whole = cli_alloc(strlen(real) + strlen(at + n) + 2);
            strcpy(whole, real);
            if (strcmp(real, "/")) strcat(whole, "/");
            strcat(whole, at + n);
            free(real);
            real = whole;
        }
        free(folder);
    }
    free(at);
    return real;
}

/* ---- What must not be one file ---------------------------------------------------- */

typedef struct out_place { int there; struct stat sb; char *name; } out_place;

static out_place out_look(const outfile_name *f, int standard)
{
    out_place p;
    memset(&p, 0, sizeof p);
    if (!strcmp(f->path, "-")) {
        p.there = !fstat(standard, &p.sb);
        return p;
    }
    p.there = !stat(f->path, &p.sb);
    if (!p.there) p.name = out_resolve(f->path);
    return p;
}

/* Devices and pipes may be many things at once. */
static int out_same(const out_place *a, const out_place *b)
{
    if (a->name && b->name) return !strcmp(a->name, b->name);
    return a->there && b->there && S_ISREG(a->sb.st_mode) && a->sb.st_dev == b->sb.st_dev &&
           a->sb.st_ino == b->sb.st_ino;
}

static int out_clash(const outfile_name *a, const outfile_name *b, int standard)
{
    const char *of = b->what[0] == '-' ? "the file of " : "";
    out_place x, y;
    int same;
    if (!a->path || !b->path) return 0;
    x = out_look(a, 1);
    y = out_look(b, standard);
    same = out_same(&x, &y) || (standard && !strcmp(a->path, "-") && !strcmp(b->path, "-"));
    free(x.name);
    free(y.name);
    if (!same) return 0;
    if (!strcmp(a->path, "-") && strcmp(b->path, "-")) {
        return cli_misuse("%s: standard output is %s, %s%s; write to another file", cli.cmd,
                          b->path, of, b->what);
    }
    return cli_misuse("%s: %s %s is %s%s; write to another file", cli.cmd, a->what, a->path, of,
                      b->what);
}

int outfile_apart(const outfile_name *out, size_t nout, const outfile_name *in, size_t nin)
{
    const outfile_name standard = {"standard output", "-"};
    size_t i, k;
    int rc = 0;
    for (i = 0; i <= nout && !rc; i++) {
        const outfile_name *o = i < nout ? &out[i] : &standard;
        for (k = 0; k < nin && !rc; k++) rc = out_clash(o, &in[k], 0);
        for (k = 0; k < i && i < nout && !rc; k++) rc = out_clash(o, &out[k], 1);
    }
    return rc;
}

/* ---- Temporary files, gone at any end ---------------------------------------------- */

static char *volatile out_temporaries[OUT_FILES];
static const int out_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
enum { OUT_SIGNALS = sizeof out_signals / sizeof *out_signals };

static void out_remove_all(void)
{
    size_t i;
    for (i = 0; i < OUT_FILES; i++) {
        if (out_temporaries[i]) unlink(out_temporaries[i]);
    }
}

static void out_signal(int number)
{
    out_remove_all();
    signal(number, SIG_DFL);
    raise(number);
}

/* Signals that something else takes care of are left to it. */
static void out_guard(void)
{
    static int once;
    size_t i;
    struct sigaction now, mine;
    memset(&mine, 0, sizeof mine);
    mine.sa_handler = out_signal;
    sigemptyset(&mine.sa_mask);
    for (i = 0; i < OUT_SIGNALS; i++) {
        if (!sigaction(out_signals[i], NULL, &now) && now.sa_handler == SIG_DFL) {
            sigaction(out_signals[i], &mine, NULL);
        }
    }
    if (!once) atexit(out_remove_all);
    once = 1;
}

/* Makes a file of our own beside the target; its descriptor, or -1 with errno. */
static int out_temporary(outfile *o, mode_t mode)
{
    size_t folder = out_folder(o->target);
    unsigned tries;
    int fd = -1, slot = 0;
    sigset_t all, before;
    while (slot < OUT_FILES && out_temporaries[slot]) slot++;
    if (slot == OUT_FILES) {
        errno = EMFILE;
        return -1;
    }
    out_guard();
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before); /* no signal between making and noting it */
    for (tries = 0; tries < 1000 && fd < 0; tries++) {
        char name[64];
        snprintf(name, sizeof name, ".vtag-out-%ld-%u", (long)getpid(), tries);
        o->temporary = out_join(o->target, folder, name);
        fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
        out_temporaries[slot] = fd < 0 ? NULL : o->temporary;
        if (fd >= 0) break;
        free(o->temporary);
        o->temporary = NULL;
        if (errno != EEXIST) break;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    o->slot = slot;
    return fd;
}

static void out_drop(outfile *o)
{
    if (o->temporary) {
        unlink(o->temporary);
        out_temporaries[o->slot] = NULL;
    }
    free(o->temporary);
    free(o->target);
    o->temporary = o->target = NULL;
}

/* ---- Opening ---------------------------------------------------------------------- */

/* Gives the new file the mode and the owner of the old one. */
static int out_inherit(const outfile *o, int fd, const struct stat *old)
{
    struct stat mine;
    if (fstat(fd, &mine)) return cli_fail("%s: %s", o->path, strerror(errno));
    if ((mine.st_uid != old->st_uid || mine.st_gid != old->st_gid) &&
        fchown(fd, old->st_uid, old->st_gid)) {
        return cli_fail("%s: belongs to another user or group, which a new file would not; remove "
                        "it first, or write to - and into it", o->path);
    }
    if (fchmod(fd, old->st_mode & 0777)) return cli_fail("%s: %s", o->path, strerror(errno));
    return 0;
}

/* Opens the file that will take the place of the target; old: what is there, or NULL. */
static int out_replacing(outfile *o, const struct stat *old)
{
    int fd, rc = 0;
    o->target = out_resolve(o->path);
    if (!o->target) return cli_fail("%s: %s; check the path", o->path, strerror(errno));
    if (old && old->st_nlink > 1) {
        return cli_fail("%s: has %lu names (hard links), and the others would keep the old "
                        "content; remove this one first", o->path, (unsigned long)old->st_nlink);
    }
    if (old && access(o->target, W_OK)) return cli_fail("%s: %s", o->path, strerror(errno));
    fd = out_temporary(o, old ? 0600 : 0666);
    if (fd < 0) return cli_fail("%s: its folder: %s; check the path", o->path, strerror(errno));
    if (old) rc = out_inherit(o, fd, old);
    if (!rc && (o->f = fdopen(fd, "wb")) == NULL) rc = cli_nomem();
    if (rc) close(fd);
    return rc;
}

/* What is no plain file, or is open already, is written into. */
static int out_into(outfile *o, int standard)
{
    int fd = standard ? dup(1) : open(o->path, O_WRONLY | O_NOCTTY);
    if (fd < 0) return cli_fail("%s: %s", o->path, strerror(errno));
    if (standard) fflush(stdout);
    o->f = fdopen(fd, "wb");
    if (o->f) return 0;
    close(fd);
    return cli_nomem();
}

int outfile_open(outfile *o, const char *path)
{
    struct stat sb, out;
    int there, standard, rc;
    memset(o, 0, sizeof *o);
    o->path = path;
    if (!strcmp(path, "-")) {
        o->f = stdout;
        return 0;
    }
    if (!*path) return cli_misuse("%s: the path of the output is empty; name a file", cli.cmd);
    there = !stat(path, &sb);
    if (!there && errno != ENOENT) return cli_fail("%s: %s; check the path", path, strerror(errno));
    if (there && S_ISDIR(sb.st_mode)) return cli_fail("%s: is a folder; name a file", path);
    standard = there && !fstat(1, &out) && out.st_dev == sb.st_dev && out.st_ino == sb.st_ino;
    rc = there && (standard || !S_ISREG(sb.st_mode)) ? out_into(o, standard)
                                                     : out_replacing(o, there ? &sb : NULL);
    if (rc) out_drop(o);
    return rc;
}

/* ---- Closing ---------------------------------------------------------------------- */

/* Why a stream failed: if that was long ago, a write of one more byte tells again. */
static int out_flush(FILE *f)
{
    int failed = ferror(f);
    errno = 0;
    if (!failed && !fflush(f)) return 0;
    if (!errno && write(fileno(f), "\n", 1) == 1) errno = EIO;
    return errno ? errno : EIO;
}

/* Syncs what the disk has of a descriptor; pipes and some devices have nothing to sync. */
static int out_sync(int fd)
{
    return fsync(fd) && errno != EINVAL && errno != ENOTSUP && errno != EROFS ? errno : 0;
}

static int out_place_it(outfile *o)
{
    size_t n = out_folder(o->target);
    char *folder;
    int fd;
    if (rename(o->temporary, o->target)) return errno;
    out_temporaries[o->slot] = NULL;
    free(o->temporary);
    o->temporary = NULL;
    folder = out_join(o->target, n, n ? "" : ".");
    fd = open(folder, O_RDONLY);
    free(folder);
    if (fd < 0) return 0;
    out_sync(fd); /* the file is whole under its name, whatever becomes of the folder */
    close(fd);
    return 0;
}

static int out_failed(const outfile *o, int e)
{
    return cli_fail("%s: %s%s", o->path, e == EINTR ? "interrupted" : strerror(e),
                    o->target ? "; what was there is as it was" : "");
}

int outfile_ready(outfile *o, int rc)
{
    int e;
    if (!o->f || o->f == stdout) return rc;
    e = out_flush(o->f);
    if (!e && !rc && o->temporary) e = out_sync(fileno(o->f));
    if (fclose(o->f) && !e) e = errno ? errno : EIO;
    o->f = NULL;
    return e && !rc ? out_failed(o, e) : rc;
}

int outfile_close(outfile *o, int rc)
{
    int e = 0;
    rc = outfile_ready(o, rc);
    if (!rc && o->temporary) e = cli_stopped() ? EINTR : out_place_it(o);
    if (e) rc = out_failed(o, e);
    out_drop(o);
    return rc;
}
