/* input.h - reads items and vectors from .fvecs .bvecs .npy .jsonl .tsv .txt, or a pipe.

       input in;
       input_opts o = {0};
       int got;
       if (!input_open(&in, path, &o)) return cli_fail("%s", in.error);
       while ((got = input_next(&in)) > 0) use(&in.record);
       if (got < 0) rc = cli_fail("%s", in.error);
       input_close(&in);

   Memory is that of one record, and 16 to 32 bytes for each id that the input
   gives itself: an id that comes twice is an error. Ids by position need none. */
#ifndef INPUT_H
#define INPUT_H
#include <stddef.h>
#include <stdint.h>

#include "../vtag.h"

enum {
    INPUT_BROKEN = -2,       /* error says why; the rest cannot be read */
    INPUT_BAD = -1,          /* error names a record that cannot be taken; the next may */
    INPUT_END = 0,
    INPUT_RECORD = 1
};

typedef struct input_opts {  /* zero: the defaults */
    const char *format;      /* fvecs bvecs npy jsonl tsv csv; NULL: by content and suffix */
    const char *ids;         /* first id of ids by position, or a file of ids or keys */
    const char *ids_column;  /* of text: 1.., "last" or "none"; NULL: 1 if it is a word */
    uint64_t    first_id;    /* of ids by position, unless ids gives it */
    int         per_tag;     /* an id may come once for each tag that records name */
    int         header;      /* 1: the first line of text is none of the rows, -1: it is one */
    int         string_ids;  /* strings of digits as vtag prints them are ids, not keys */
    int         spool;       /* read all of a pipe before the first record */
    const char *const *ignored; /* ignored[ignored_n] members of JSON that nobody wants */
    size_t      ignored_n;
} input_opts;

typedef struct input_record {
    vtag_item   item;        /* id, key or NULL, rev or 0; data NULL if there is none */
    vtag_vec   *v;           /* v[n], their tag left 0, for the caller to set */
    size_t      n;
    const char **tags;       /* tags[n] of them that are named for each, or NULL */
    const char *tag;         /* that the record names for the others, or NULL */
    uint64_t    row;         /* line of text, or row, from 1 */
    int         positional;  /* id is made from the position */
} input_record;

typedef struct input {
    input_record record;     /* of the last input_next, good until the next */
    uint64_t     expect;     /* about how many records; 0: not known */
    uint64_t     done, total; /* bytes; total 0: not known */
    char         error[600]; /* "path: row 7: what" */
    struct input_state *state;
} input;

/* Opens a path, "-" for standard input; 0: see error. */
int  input_open(input *in, const char *path, const input_opts *o);
/* Sets first_id, before the first record. */
void input_first(input *in, uint64_t first_id);
int  input_next(input *in);
void input_close(input *in);

/* Puts "path: row 7: " and the text into error and returns INPUT_BAD: for callers that
   find fault with the last record. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int  input_fault(input *in, const char *fmt, ...);

#endif /* INPUT_H */
