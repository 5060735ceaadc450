/* cmd_stamp.c - stamp: adopts vectors of which nobody knows the tag. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "import.h"

/* "assumed by WHO: INPUT carried no tag; WHY" */
static int stamp_note(char *note, size_t size, const import_stamp *s, const char *by,
                      const char *reason)
{
    const char *base = strrchr(s->source, '/');
    base = strcmp(s->source, "-") ? base ? base + 1 : s->source : "the input";
    if (snprintf(note, size, "assumed by %s: the vectors of %s carried no tag%s%s", by, base,
                 reason ? "; " : "", reason ? reason : "") < (int)size) return 0;
    return cli_misuse("stamp: --by and --reason are too long; 1,024 bytes hold both");
}

int cmd_stamp(int argc, char **argv)
{
    const char *reason = NULL;
    char note[1025];
    import_stamp s;
    int rc;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &s.file, "the store; made if there is none", NULL},
        {"INPUT", NULL, CLI_ARG, &s.source,
         ".fvecs .bvecs .npy .jsonl .tsv .txt, or - for standard input", NULL},
        {"--tag", "NAME", CLI_STR, &s.tag, "to adopt them as; legacy@0", NULL},
        {"--reason", "TEXT", CLI_STR, &reason, "what it rests on; goes into the history", NULL},
        {"--metric", "M", CLI_STR, &s.metric, "cosine (default), dot or l2", NULL},
        {"--codec", "C", CLI_STR, &s.codec, "f32 (default), f16 or i8", NULL},
        {"--format", "F", CLI_STR, &s.format, "of INPUT, if its suffix does not tell", NULL},
        {"--ids", "FILE|FIRST", CLI_STR, &s.ids,
         "ids or keys of the rows, or the first of running ids; 0", NULL},
        {"--ids-column", "N|last|none", CLI_STR, &s.ids_column,
         "the column of text that is the id or key", NULL},
        {"--header", NULL, CLI_FLAG, &s.header, "the first line of text is no row", NULL},
        {"--no-header", NULL, CLI_FLAG, &s.no_header, "it is one", NULL},
        {"--ignore", "NAME", CLI_LIST, &s.ignored, "drop this member of JSON", NULL},
        {"--fill", NULL, CLI_FLAG, &s.fill, "add vectors to the items of the file", NULL},
        {"--append", NULL, CLI_FLAG, &s.append, "add items after those of the file", NULL},
        {"--partial", NULL, CLI_FLAG, &s.partial, "skip bad records, naming each", NULL},
        CLI_END};
    memset(&s, 0, sizeof s);
    s.tag = "legacy@0";
    rc = cli_parse(argc, argv, "Takes in vectors that carry no tag, under one that is flagged as\n"
                   "assumed: by default legacy@0, the oldest possible version. The history says\n"
                   "who assumed it.", opts);
    if (rc >= 0) return rc;
    if (s.fill && s.append) return cli_misuse("stamp: --fill or --append, one of them");
    rc = stamp_note(note, sizeof note, &s, cli_by(), reason);
    if (rc) return rc;
    s.note = note;
    return import_assumed(&s);
}
