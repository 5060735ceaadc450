/* fuzz_heap.h - an allocator for fuzzers that keeps big blocks, each of which would cost a
   sanitizer two calls of the system and its pages

   Include it before vtag.h. What lies past a block's end, and a block that was freed, is
   poisoned as in any other. One thread. */
#ifndef VTAG_TEST_FUZZ_HEAP_H
#define VTAG_TEST_FUZZ_HEAP_H
#include "fuzz.h"

#ifdef FUZZ_POISON
enum { FUZZ_BIG = 64 << 10, FUZZ_KEPT = 32 };

typedef struct fuzz_block { uint8_t *p; size_t cap, n; } fuzz_block; /* n 0: free */

static fuzz_block fuzz_blocks[FUZZ_KEPT];

static inline fuzz_block *fuzz_block_of(const void *p)
{
    int i;
    for (i = 0; p && i < FUZZ_KEPT; i++)
        if (fuzz_blocks[i].p == p) return &fuzz_blocks[i];
    return NULL;
}

/* The smallest free block of at least n bytes, else the smallest free one, grown. */
static inline fuzz_block *fuzz_block_for(size_t n)
{
    fuzz_block *best = NULL, *b;
    for (b = fuzz_blocks; b < fuzz_blocks + FUZZ_KEPT; b++) {
        if (b->n || b->cap > 64 * n) continue;
        if (!best || (b->cap >= n) > (best->cap >= n)) best = b;
        else if ((b->cap >= n) == (best->cap >= n) && b->cap < best->cap) best = b;
    }
    if (!best || best->cap >= n) return best;
    free(best->p);
    best->cap = 0;
    best->p = malloc(n + n / 4);
    if (best->p) best->cap = n + n / 4;
    return best->p ? best : NULL;
}

static inline void *fuzz_malloc(size_t n)
{
    fuzz_block *b = n < FUZZ_BIG || n > (size_t)1 << 30 ? NULL : fuzz_block_for(n);
    if (!b) return malloc(n);
    b->n = n;
    FUZZ_HIDE(b->p, b->cap);
    FUZZ_SHOW(b->p, n);
    return b->p;
}

static inline void fuzz_free(void *p)
{
    fuzz_block *b = fuzz_block_of(p);
    if (!b) {
        free(p);
        return;
    }
    b->n = 0;
    FUZZ_HIDE(b->p, b->cap);
}

static inline void *fuzz_realloc(void *p, size_t n)
{
    fuzz_block *b = fuzz_block_of(p);
    void *q = p && !b ? realloc(p, n) : fuzz_malloc(n);
    if (b && q) {
        memcpy(q, p, b->n < n ? b->n : n);
        fuzz_free(p);
    }
    return q;
}
#  define VTAG_MALLOC(n)     fuzz_malloc(n)
#  define VTAG_REALLOC(p, n) fuzz_realloc(p, n)
#  define VTAG_FREE(p)       fuzz_free(p)
#endif
#endif
