/* embed.h - two toy text embedders, for demonstrations and tests.

   They hash words, or pieces of words, into a few hundred numbers. That finds texts which
   share words with the question and knows nothing of meaning: real programs plug their
   own model in through the same pipe. They differ as two real models do, in dim, in
   quality and in that the vectors of one say nothing to the other. */
#ifndef EMBED_H
#define EMBED_H
#include <stddef.h>
#include <stdint.h>

#include "../vtag.h"

typedef struct embed_model {
    const char *name;        /* "words", "chars" */
    const char *tag;         /* "hash-words@1", "hash-chars@2" */
    uint32_t    dim;
    int         pieces;      /* features are pieces of words too */
} embed_model;

extern const embed_model embed_models[2];

/* The model of that name, or NULL. */
const embed_model *embed_find(const char *name);

/* How rare each hashed feature is: over how many texts, and in how many of them. */
#define EMBED_BUCKETS 65536u
typedef struct embed_idf {
    uint64_t texts;
    uint32_t in[EMBED_BUCKETS];
} embed_idf;

typedef struct embed_room { uint64_t *x; size_t n, cap; } embed_room; /* zero it; free(x) */

/* Counts the features of one more text. */
void embed_count(const embed_model *m, embed_room *room, embed_idf *idf, const void *text,
                 size_t n);
/* Embeds a text into x[m->dim], of length 1; idf may be NULL. 0 if no words are in it. */
int embed_text(const embed_model *m, embed_room *room, const embed_idf *idf, const void *text,
               size_t n, float *x);

#endif /* EMBED_H */
