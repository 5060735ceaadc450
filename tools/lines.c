/* lines.c - the one reader of lines and bytes; see lines.h. */
#define _POSIX_C_SOURCE 200809L
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#ifndef LINES_WINDOW
#define LINES_WINDOW ((size_t)256 << 10) /* bytes of the first read; tests take few */
#endif

#ifndef LINES_SPOOL
#define LINES_SPOOL ((size_t)8 << 20) /* bytes of a pipe that are kept in memory */
#endif

/* ---- Errors --------------------------------------------------------------------- */

int lines_fault(lines *l, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(l->error, sizeof l->error, "%s: line %llu: ", l->name,
                     (unsigned long long)l->number);
    va_start(ap, fmt);
    if (n > 0 && (size_t)n < sizeof l->error) {
        vsnprintf(l->error + n, sizeof l->error - (size_t)n, fmt, ap);
    }
    va_end(ap);
    return LINES_BAD;
}

/* The input breaks off: after its last whole line, or before one. */
static int lines_break(lines *l, const char *why)
{
    if (l->number) {
        l->number++;
        lines_fault(l, "%s", why);
    } else {
        snprintf(l->error, sizeof l->error, "%s: %s", l->name, why);
    }
    l->broken = 1;
    return LINES_BROKEN;
}

const char *lines_alien(const char *p, size_t n)
{
    static const struct { const char *magic; size_t n; const char *todo; } all[] = {
        {"\x1F\x8B", 2, "is packed by gzip; gzip -dc unpacks it, and - reads from a pipe"},
        {"\x28\xB5\x2F\xFD", 4, "is packed by zstd; zstd -dc unpacks it, and - reads from a pipe"},
        {"\xFD" "7zXZ", 5, "is packed by xz; xz -dc unpacks it, and - reads from a pipe"},
        {"1AY&SY", 6, "is packed by bzip2; bzip2 -dc unpacks it, and - reads from a pipe"},
        {"PK\3\4", 4, "is a zip archive; unpack it first (of an .npz, each array is an .npy)"},
        {"\x89" "vtag\r\n\x1A", 8, "is a store of vtag; vtag dump writes what it holds"},
        {"PAR1", 4, "is Parquet; write its columns as JSON Lines or .npy first, as pandas does"},
        {"ARROW1\0", 7, "is Arrow; write its columns as JSON Lines or .npy first, as pandas does"},
        {"\x89HDF", 4, "is HDF5; save its arrays as .npy first"},
        {"SQLite format 3", 16, "is a database of SQLite; write its rows as JSON Lines first, with "
                                "sqlite3 and json_object()"},
        {"\xFF\xFE", 2, "is UTF-16; save it as UTF-8"},
        {"\xFE\xFF", 2, "is UTF-16; save it as UTF-8"}};
    size_t i;
    if (n > 4 && !memcmp(p, "PAR1", 4) && p[4] && strchr(" \t,\r\n", p[4])) {
        return NULL; /* a word of text */
    }
    if (n > 4 && !memcmp(p, "BZh", 3)) p += 4, n -= 4; /* and a digit, before its magic */
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        if (n >= all[i].n && !memcmp(p, all[i].magic, all[i].n)) return all[i].todo;
    }
    return NULL;
}

/* Text of whose first two characters one byte is zero: UTF-16 without its mark. */
static int lines_wide(const char *p, size_t n)
{
    return n > 1 && !p[0] != !p[1] && ((p[0] | p[1]) & 0x80) == 0 &&
           (n < 4 || (!p[2] != !p[3] && !p[0] == !p[2]));
}

/* ---- Opening -------------------------------------------------------------------- */

void lines_from(lines *l, const char *name, int fd)
{
    memset(l, 0, sizeof *l);
    l->name = name;
    l->fd = fd;
    l->limit = LINES_MOST;
}

int lines_open(lines *l, const char *path)
{
    struct stat sb;
    int standard = !strcmp(path, "-");
    lines_from(l, standard ? "standard input" : path, 0);
    if (!standard) l->fd = open(path, O_RDONLY);
    l->own = !standard && l->fd >= 0;
    if (l->fd < 0 || fstat(l->fd, &sb)) {
        snprintf(l->error, sizeof l->error, "%s: %s; check the path of the input", l->name,
                 strerror(errno));
    } else if (S_ISDIR(sb.st_mode)) {
        snprintf(l->error, sizeof l->error, "%s: is a folder; name a file", l->name);
    } else {
        l->plain = S_ISREG(sb.st_mode);
        if (l->plain) l->total = (uint64_t)sb.st_size;
        return 1;
    }
    l->broken = 1;
    lines_close(l);
    return 0;
}

void lines_close(lines *l)
{
    if (l->own) close(l->fd);
    free(l->buf);
    l->buf = NULL;
    l->own = 0;
    l->at = l->fill = l->cap = l->seen = 0;
}

/* ---- Bytes ---------------------------------------------------------------------- */

/* Makes room behind the unread bytes, which move to the front. */
static int lines_room(lines *l)
{
    size_t cap = l->cap ? l->cap * 2 : LINES_WINDOW;
    char *p;
    if (l->at) memmove(l->buf, l->buf + l->at, l->fill - l->at);
    l->fill -= l->at;
    l->at = 0;
    if (l->cap - l->fill > LINES_WINDOW / 2) return 1;
    p = cap > l->cap ? realloc(l->buf, cap) : NULL;
    if (!p) return 0;
    l->buf = p;
    l->cap = cap;
    return 1;
}

/* Waits until there is something to read, in naps, since a signal may come just before one. */
static int lines_wait(lines *l, uint64_t until)
{
    for (;;) {
        struct pollfd p;
        uint64_t now = cli_now();
        int ready;
        if (cli_stopped()) return lines_break(l, "interrupted");
        p.fd = l->fd;
        p.events = POLLIN;
        p.revents = 0;
        ready = poll(&p, 1, now >= until ? 0 : until - now < 500 ? (int)(until - now) : 500);
        if (ready > 0 || (ready < 0 && errno != EINTR && errno != EAGAIN)) return LINES_LINE;
        if (ready == 0 && cli_now() >= until) return LINES_LATE;
    }
}

/* Reads once: LINES_LINE when bytes came, or the end. */
static int lines_fill(lines *l, uint64_t until)
{
    ssize_t got;
    int e, rc;
    if (!lines_room(l)) return lines_break(l, "out of memory; close other programs");
    for (;;) {
        rc = l->plain || l->nowait ? LINES_LINE : lines_wait(l, until);
        if (rc != LINES_LINE) return rc;
        got = read(l->fd, l->buf + l->fill, l->cap - l->fill - 1);
        e = errno;
        if (got >= 0) break;
        if (e == EINTR && !cli_stopped()) continue;
        if (e == EINTR) return lines_break(l, "interrupted");
        if (e != EAGAIN && e != EWOULDBLOCK) return lines_break(l, strerror(e));
        if (l->nowait) return LINES_LATE;
    }
    l->fill += (size_t)got;
    l->got += (uint64_t)got;
    l->end = !got;
    return LINES_LINE;
}

size_t lines_need(lines *l, size_t n)
{
    while (l->fill - l->at < n && !l->end && !l->broken) {
        if (lines_fill(l, UINT64_MAX) != LINES_LINE) break;
    }
    return l->fill - l->at < n ? l->fill - l->at : n;
}

const char *lines_front(const lines *l)
{
    return l->buf + l->at;
}

void lines_skip(lines *l, size_t n)
{
    l->at += n;
}

uint64_t lines_done(const lines *l)
{
    return l->got - (l->fill - l->at);
}

/* ---- Spooling ------------------------------------------------------------------- */

/* A file without a name; -1 with errno. */
static int spool_file(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int fd;
    if (!folder || !*folder) folder = "/tmp";
    if (snprintf(path, sizeof path, "%s/vtag-in-XXXXXX", folder) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkstemp(path);
    if (fd >= 0) unlink(path);
    return fd;
}

static int spool_write(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return -1;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

/* Moves what is there and what comes into the file; -1 if that failed, and why. */
static int spool_all(lines *l, int fd)
{
    while (!l->broken) {
        size_t n = l->fill - l->at;
        if (spool_write(fd, l->buf + l->at, n)) return -1;
        l->at = l->fill = 0;
        if (l->end) return 0;
        lines_fill(l, UINT64_MAX);
    }
    return 0;
}

int lines_spool(lines *l)
{
    int fd;
    if (l->plain || lines_need(l, LINES_SPOOL) < LINES_SPOOL) return !l->broken;
    fd = spool_file();
    if (fd < 0 || spool_all(l, fd) || lseek(fd, 0, SEEK_SET)) {
        snprintf(l->error, sizeof l->error, "%s: a temporary file: %s; name a folder with room in "
                 "TMPDIR", l->name, strerror(errno));
        l->broken = 1;
    }
    if (l->broken) {
        if (fd >= 0) close(fd);
        return 0;
    }
    if (l->own) close(l->fd);
    l->fd = fd;
    l->own = l->plain = 1;
    l->total = l->got;
    l->got = 0;
    l->end = 0;
    return 1;
}

/* ---- Lines ---------------------------------------------------------------------- */

/* Before the first line: what the input is. */
static int lines_begin(lines *l)
{
    const char *p = l->buf + l->at;
    size_t n = l->fill - l->at;
    const char *todo = lines_alien(p, n);
    if (!todo && lines_wide(p, n)) todo = "is UTF-16; save it as UTF-8";
    if (todo) {
        snprintf(l->error, sizeof l->error, "%s: %s", l->name, todo);
        l->broken = 1;
        return LINES_BROKEN;
    }
    if (n >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3)) {
        l->at += 3;
        l->seen = l->seen > 3 ? l->seen - 3 : 0;
    }
    return LINES_LINE;
}

/* Takes a line off the front, of which n bytes are there. */
static int lines_take(lines *l, char **line, size_t n)
{
    const char *zero;
    char *p = l->buf + l->at;
    l->unended = l->at + n == l->fill;
    l->at += n + !l->unended;
    l->seen = 0;
    l->number++;
    p[n] = '\0';
    *line = p;
    zero = memchr(p, 0, n);
    if (!zero) return LINES_LINE;
    return lines_fault(l, "a zero byte after %zu others; is this text?", (size_t)(zero - p));
}

int lines_until(lines *l, uint64_t until, char **line, size_t *n)
{
    char *stop = NULL;
    size_t have;
    int rc;
    *n = 0;
    while (!l->broken) {
        have = l->fill - l->at;
        if (have > l->seen) stop = memchr(l->buf + l->at + l->seen, '\n', have - l->seen);
        *n = stop ? (size_t)(stop - l->buf) - l->at : have;
        if (stop || l->end || *n > l->limit) break;
        l->seen = have;
        rc = lines_fill(l, until);
        if (rc != LINES_LINE) return rc;
    }
    if (l->broken) return LINES_BROKEN;
    if (!l->number && *n) {
        size_t at = l->at;
        if (lines_begin(l) < 0) return LINES_BROKEN;
        *n -= l->at - at;
    }
    if (!stop && l->end && l->fill == l->at) return LINES_END;
    if (*n > l->limit) {
        l->number++;
        l->broken = 1;
        lines_fault(l, "longer than %zu bytes; is this text?", l->limit);
        return LINES_BROKEN;
    }
    rc = lines_take(l, line, *n);
    if (*n && (*line)[*n - 1] == '\r') (*line)[--*n] = '\0';
    return rc;
}

int lines_next(lines *l, char **line, size_t *n)
{
    return lines_until(l, UINT64_MAX, line, n);
}

uint64_t lines_hash(uint64_t h, const void *p, size_t n)
{
    const unsigned char *b = p;
    size_t i;
    for (i = 0; i < n; i++) h = (h ^ b[i]) * UINT64_C(0x100000001B3);
    return h;
}

/* ---- Whole inputs --------------------------------------------------------------- */

int lines_slurp(const char *path, size_t most, char **p, size_t *n)
{
    lines l;
    *p = NULL;
    *n = 0;
    if (!lines_open(&l, path)) return cli_fail("%s", l.error);
    *n = lines_need(&l, most + 1);
    if (l.broken) {
        cli_fail("%s", l.error);
    } else if (*n > most) {
        cli_fail("%s: more than %zu bytes; give less at once", l.name, most);
    } else {
        l.buf[l.at + *n] = '\0';
        *p = l.buf; /* of which nothing was taken */
        l.buf = NULL;
    }
    lines_close(&l);
    return *p ? 0 : CLI_FAILED;
}
