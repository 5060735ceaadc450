/* dump.h - the kinds of lines of a dump, for those who write and read one. */
#ifndef DUMP_H
#define DUMP_H

typedef enum dump_kind {
    DUMP_FILE, DUMP_TAG, DUMP_POLICY, DUMP_META, DUMP_ITEM, DUMP_ROW, DUMP_WAIVER, DUMP_EVENT,
    DUMP_END,                /* the last line, of all that is before it */
    DUMP_KINDS
} dump_kind;

static const char *const dump_kinds[DUMP_KINDS] = {"file", "tag", "policy", "meta", "item", "row",
                                                   "waiver", "event", "end"};

#endif /* DUMP_H */
