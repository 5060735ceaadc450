/* engine.c - the engine that the tests of its public part are linked with */
#include "engine.h"
