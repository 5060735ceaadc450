/* import.h - import, for commands that take items and vectors in under a name of
   their own choosing. */
#ifndef IMPORT_H
#define IMPORT_H
#include "cli.h"

typedef struct import_stamp { /* vectors that carry no tag, adopted under one */
    const char *file, *source, *tag, *metric, *codec;
    const char *format, *ids, *ids_column; /* as in input_opts */
    int         fill, append, partial, header, no_header;
    cli_list    ignored;
    const char *note;        /* of the tag's declaration and of a NOTE in the history */
} import_stamp;

/* Imports them into a new or an existing file; the tag is declared with VTAG_ASSUMED. */
int import_assumed(const import_stamp *stamp);

#endif /* IMPORT_H */
