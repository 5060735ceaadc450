/* engine.h - vtag.h as a test of its public part has it, with the allocator of heap.h

   By itself the test is one translation unit. With ENGINE_APART it is to be linked with
   engine.c, which run.sh compiles once for all of them. */
#ifndef VTAG_TEST_ENGINE_H
#define VTAG_TEST_ENGINE_H
#include "heap.h"
#ifndef ENGINE_APART
#  define VTAG_IMPLEMENTATION
#endif
#include "../vtag.h"

const vtag_io *engine_io(void); /* the system's */

#ifndef ENGINE_APART
const vtag_io *engine_io(void) { return vt_os_io(); }
#endif

#endif
