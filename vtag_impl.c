#define VTAG_IMPLEMENTATION
#include "vtag.h"
