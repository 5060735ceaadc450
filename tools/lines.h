/* lines.h - the one reader of what comes in: lines of text, and bytes, from a path, standard
   input or a descriptor.

       lines l;
       char *line;
       size_t n;
       int got;
       if (!lines_open(&l, path)) return cli_fail("%s", l.error);
       while ((got = lines_next(&l, &line, &n)) > 0) use(l.number, line, n);
       if (got < 0) rc = cli_fail("%s", l.error);
       lines_close(&l);

   A line ends at LF or CRLF, the last one also at the end. A byte order mark of UTF-8 before
   the first is not part of it. A line of more than `limit` bytes breaks the input off, and so
   do a failed read and too little memory: only the end of the input is LINES_END. UTF-16 and
   files of other programs (gzip, Parquet, SQLite...) are refused with a word on what to do.
   Memory is at most about twice the longest line. */
#ifndef LINES_H
#define LINES_H
#include <stddef.h>
#include <stdint.h>

#define LINES_MOST ((size_t)256 << 20) /* bytes of a line, unless limit says otherwise */
#define LINES_DATA ((size_t)128 << 20) /* bytes of a payload, so that as JSON it fits in a line */

enum {
    LINES_BROKEN = -2,       /* error says why; the rest cannot be read */
    LINES_BAD = -1,          /* error names a line with a zero byte in it; the next may do */
    LINES_END = 0,
    LINES_LINE = 1,
    LINES_LATE = 2           /* no whole line yet */
};

typedef struct lines {
    const char *name;        /* the path, or "standard input" */
    uint64_t    number;      /* of the last line, from 1 */
    uint64_t    got, total;  /* bytes that came; of a plain file, 0: not known */
    size_t      limit;       /* may be set after opening */
    int         nowait;      /* may be set: of a non-blocking descriptor take what is there */
    int         unended;     /* the last line had no LF */
    int         broken;
    char        error[600];  /* "path: line 7: what" */
    int         fd, own, plain, end; /* own: is closed; end: nothing follows buf */
    char       *buf;
    size_t      at, fill, cap, seen; /* unread: buf[at, fill); seen of them hold no LF */
} lines;

/* Opens a path, "-" for standard input; 0: see error. */
int  lines_open(lines *l, const char *path);
/* Reads from a descriptor, which stays open. */
void lines_from(lines *l, const char *name, int fd);
void lines_close(lines *l);
/* Reads a pipe to its end, into memory or beyond a few MiB into a file in TMPDIR without a
   name, so that nothing waits any more; 0: see error. */
int  lines_spool(lines *l);

/* The next line without its end, a zero byte after it, good until the next call. */
int  lines_next(lines *l, char **line, size_t *n);
/* The same, or LINES_LATE when it did not come by a time of cli_now. */
int  lines_until(lines *l, uint64_t until, char **line, size_t *n);

/* Waits for n bytes at the front, which stays there; how many there are, if fewer. After
   the end or a failure no more come, and broken tells these apart. */
size_t lines_need(lines *l, size_t n);
const char *lines_front(const lines *l);
void lines_skip(lines *l, size_t n);
uint64_t lines_done(const lines *l);       /* bytes read and taken */

/* Puts "path: line 7: " and the text into error; returns LINES_BAD. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int  lines_fault(lines *l, const char *fmt, ...);
/* What to do with a file that begins so and is none of ours, or NULL. */
const char *lines_alien(const char *p, size_t n);

/* FNV-1a of 64 bits: goes on from h, LINES_HASH at first, over n bytes more. */
#define LINES_HASH UINT64_C(0xCBF29CE484222325)
uint64_t lines_hash(uint64_t h, const void *p, size_t n);

/* Reads all of a path, "-" for standard input, but no more than `most` bytes: *p[*n] and a
   zero byte; free(*p). 0, or the exit code after the error is reported. */
int  lines_slurp(const char *path, size_t most, char **p, size_t *n);

#endif /* LINES_H */
