/* fuzz_ops.c - operation sequences against the model of test_model.c

   The bytes of an input are the model's dice: which operation, on what, in what batch,
   through which handle, and what is checked of it. Where they end, the run ends. */
#include "engine.h"
#include "test.h"
#include "fuzz_disk.h"

static fuzz_in *fo_dice;

static uint64_t fo_below(uint64_t *seed, uint64_t n)
{
    (void)seed;
    return fuzz_pick(fo_dice, (uint32_t)n);
}

#define FUZZ_OPS
#define IDS 10
#define TAGS 5
#define t_below fo_below
#include "test_model.c"
#undef t_below

/* Most of the model's operations want a tag or two. */
static void fo_declare(world *w)
{
    vtag_batch *b = begin(w->e.db);
    w->now = w->kept;
    op_declare(w, b);
    op_declare(w, b);
    OK(vtag_commit(b));
    w->kept = w->now;
}

static void fuzz_ops(fuzz_in *in)
{
    static world w;
    uint64_t left = 40;
    fo_dice = in;
    world_up(&w);
    fo_declare(&w);
    while (left && in->n) {
        one_batch(&w, &left);
        check_world(&w, dice(&w, 2) ? w.e.db : w.second);
        tend(&w);
    }
    world_down(&w);
    FUZZ_MUST(!t_.failed);
}

static const char *const fuzz_ops_seeds[] = {
    "The quick brown fox jumps over the lazy dog, and over it again, until the dog is no longer lazy.",
    "\\02\\00\\03\\01\\02\\07\\03\\e8\\03\\01\\10\\00\\02\\04\\05\\60\\03\\01\\10\\c4\\03\\01\\01\\05\\00\\00\\01\\14", NULL};

FUZZ_MAIN(ops)
