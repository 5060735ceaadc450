/* heap.h - an allocator that counts, and fails when told to

   Define VTAG_MALLOC, VTAG_REALLOC and VTAG_FREE by it: engine.h does. Threads may use
   it; set heap.fail_at while only one does. */
#ifndef VTAG_TEST_HEAP_H
#define VTAG_TEST_HEAP_H
#include <stdint.h>
#include <stdlib.h>

typedef struct test_heap {
    uint64_t calls, bytes; /* asked of malloc and realloc */
    int64_t live;          /* given and not yet freed */
    uint64_t fail_at;      /* the call that fails, counted as `calls`; 0: none */
    int for_good;          /* and all that follow */
} test_heap;

extern test_heap heap;
void *heap_realloc(void *old, size_t n);
void heap_free(void *p);

#define VTAG_MALLOC(n)     heap_realloc(NULL, n)
#define VTAG_REALLOC(p, n) heap_realloc(p, n)
#define VTAG_FREE(p)       heap_free(p)

#ifndef ENGINE_APART
test_heap heap;

void *heap_realloc(void *old, size_t n)
{
    uint64_t call = __atomic_add_fetch(&heap.calls, 1, __ATOMIC_RELAXED);
    void *p;
    __atomic_add_fetch(&heap.bytes, n, __ATOMIC_RELAXED);
    if (heap.fail_at && (call == heap.fail_at || (heap.for_good && call > heap.fail_at))) return NULL;
    p = realloc(old, n ? n : 1);
    if (p && !old) __atomic_add_fetch(&heap.live, 1, __ATOMIC_RELAXED);
    return p;
}

void heap_free(void *p)
{
    if (p) __atomic_sub_fetch(&heap.live, 1, __ATOMIC_RELAXED);
    free(p);
}
#endif

#endif
