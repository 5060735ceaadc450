/* bits.h - one hash over the bytes of many sketches, and what it has to be

   Sketches are part of a file, so every kernel, compiler and flag must make the same.
   The rows are made by operations that no compiler may fuse. Include after sketched.h. */
#ifndef VTAG_TEST_BITS_H
#define VTAG_TEST_BITS_H

#define GOLDEN_SKETCHES UINT64_C(0x321B724701417010)

static inline uint64_t sketch_bits(const vt_kernels *k)
{
    static const uint32_t dims[] = {40, 128, 384, 1024, 1536};
    static const kind data[] = {UNIFORM, SPARSE, OPPOSITES, ONE_HOT};
    uint64_t h = 0;
    uint32_t turn;
    for (turn = 0; turn < 5 * 3 * 3; turn++) {
        shape s;
        sketched d;
        s.dim = dims[turn % 5];
        s.metric = (vtag_metric)(turn / 5 % 3);
        s.codec = (vtag_codec)(turn / 15);
        s.data = data[turn % 4];
        sketched_up(&d, s, 50, turn + 1, k);
        h = h * 31 + (d.err ? 1 : vt_xxh64(d.base, d.bytes));
        sketched_down(&d);
    }
    return h;
}

#endif
