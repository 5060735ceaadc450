/* queryset.h - queries in JSON Lines, and their answers under a tag:

       {"id":"q1","text":"..."}                        embedded for each tag by its worker
       {"id":"q2","tag":"minilm@1","vector":[...]}     of that tag; without one, of the only
       {"id":"q3","vectors":{"minilm@1":[...], ...}}   tag that is asked for

   An id is a string or a whole number. */
#ifndef QUERYSET_H
#define QUERYSET_H
#include <stddef.h>
#include <stdint.h>

#include "cli.h"

typedef struct qset_worker { /* of one tag */
    const char *option;      /* which gives it */
    const char *command;     /* NULL: the embedder that the user's file has for the tag */
    const char *embedders;   /* that file; NULL: the usual one */
    uint64_t    timeout_ms;
} qset_worker;

typedef struct qset_vec { char *tag; float *x; uint32_t dim; } qset_vec; /* tag may be NULL */

typedef struct qset_query {
    char     *id;
    cli_text  text;          /* s NULL: none */
    qset_vec *v;
    size_t    nv;
    uint64_t  line;
} qset_query;

typedef struct qset {        /* zero it first */
    const char *path;
    qset_query *q;
    size_t      n, cap;
} qset;

/* Reads a file, or standard input for "-". */
int  qset_read(qset *s, const char *path);
void qset_free(qset *s);
/* Whether a query brings a vector without saying of which tag. */
int  qset_raw(const qset *s);
/* The vectors of all queries under a tag, as given or by the worker: (*x)[n * dim];
   free(*x). tags: how many are asked for. */
int  qset_vectors(const qset *s, const vtag_info *tag, int tags, const qset_worker *how, float **x);

/* The k items (not parts) nearest to each of x[nq * dim] under a tag, without skip[i] if
   skip is given: ids[nq * k], n[nq]. Candidates are searched too. */
int  qset_search(const cli_store *st, const vtag_info *tag, const float *x, size_t nq,
                 const uint64_t *skip, size_t k, uint64_t *ids, size_t *n);

#endif /* QUERYSET_H */
