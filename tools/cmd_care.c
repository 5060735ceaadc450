/* cmd_care.c - compact, copy, verify: the file as a whole. */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <sys/stat.h>

#include "cmd.h"

static int care_stats(const cli_store *st, vtag_stat *stat)
{
    vtag_err err = vtag_stats(st->snap, stat);
    return err ? cli_error(err, "%s", st->path) : 0;
}

/* ---- compact ---------------------------------------------------------------------- */

typedef struct compaction {
    uint64_t before, after;  /* bytes of the file */
    int      dry, changed, as_json;
} compaction;

static void compact_report(const cli_store *st, const compaction *c)
{
    char from[CLI_TEXT], to[CLI_TEXT];
    out o;
    cli_bytes(from, c->before);
    cli_bytes(to, c->after);
    if (c->as_json) {
        out_start(&o, stdout);
        out_u64(&o, "before", c->before);
        out_u64(&o, "after", c->after);
        out_bool(&o, "changed", c->changed);
        out_bool(&o, "dry_run", c->dry);
        out_close(&o, '}');
    } else if (c->dry && c->after >= c->before) {
        printf("%s, about nothing to gain: an estimate, true within a tenth; dry run: nothing "
               "changed\n", from);
    } else if (c->dry) {
        printf("%s -> about %s: an estimate, true within a tenth; dry run: nothing changed\n",
               from, to);
    } else if (c->changed) {
        printf("%s -> %s\n", from, to);
    } else {
        printf("nothing to gain: %s stays as it is, %s\n", st->path, from);
    }
}

/* What stands against putting another file in the place of this one. */
static int compact_denied(const cli_store *st)
{
    struct stat sb;
    if (!stat(st->path, &sb) && sb.st_nlink > 1) {
        return cli_fail("%s: has %llu names (hard links), of which only one would have the new "
                        "content; remove the others, or use vtag copy", st->path,
                        (unsigned long long)sb.st_nlink);
    }
    return cli_error(VTAG_DENIED, "%s", st->path);
}

static int compact_run(cli_store *st, compaction *c)
{
    vtag_stat before, after;
    cli_progress p;
    vtag_err err;
    int rc = care_stats(st, &before);
    if (rc) return rc;
    c->before = before.file_bytes;
    c->after = before.live_bytes;
    if (c->dry) return 0;
    rc = cli_begin(st, 0); /* which waits as long as it was told to */
    if (rc) return rc;
    cli_abort(st);
    cli_catch();
    cli_told();
    cli_progress_start(&p, "compact", "bytes", before.live_bytes);
    err = vtag_compact(st->db, cli_progress_call, &p);
    cli_progress_end(&p);
    if (err == VTAG_DENIED) return compact_denied(st);
    if (err) return cli_error(err, "%s", st->path);
    c->changed = !cli_told();
    rc = cli_snap(st);
    if (!rc) rc = care_stats(st, &after);
    c->after = after.file_bytes;
    return rc;
}

int cmd_compact(int argc, char **argv)
{
    const char *file;
    int rc;
    cli_store st = {0};
    compaction c = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--dry-run", NULL, CLI_FLAG, &c.dry, "estimate what it would leave", NULL},
        {"--json", NULL, CLI_FLAG, &c.as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Rewrites the file without what is deleted, replaced or retired, if\n"
                   "that gains anything. Readers go on undisturbed. Needs room for the result\n"
                   "beside the file, which may have one name only (no hard links).", opts);
    if (rc >= 0) return rc;
    rc = c.dry ? cli_look(&st, file) : cli_change(&st, file);
    if (!rc) rc = compact_run(&st, &c);
    if (!rc) compact_report(&st, &c);
    cli_close(&st);
    return rc;
}

/* ---- copy ---------------------------------------------------------------------------- */

int cmd_copy(int argc, char **argv)
{
    const char *file, *dest;
    int rc;
    cli_store st = {0};
    vtag_stat stat;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"DEST", NULL, CLI_ARG, &dest, "the new file", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Writes the present state to a new, compact file: a backup.", opts);
    if (rc >= 0) return rc;
    rc = cli_look(&st, file);
    if (!rc) rc = care_stats(&st, &stat);
    if (!rc) {
        cli_progress p;
        vtag_err err;
        cli_catch();
        cli_progress_start(&p, "copy", "bytes", stat.live_bytes);
        err = vtag_copy(st.snap, dest, cli_progress_call, &p);
        cli_progress_end(&p);
        if (err == VTAG_EXISTS) rc = cli_open_error(err, dest, VTAG_NEW);
        else if (err) rc = cli_error(err, "%s to %s", file, dest);
        else printf("%s: %llu items as of commit %llu\n", dest, (unsigned long long)stat.items,
                    (unsigned long long)stat.commit);
    }
    cli_close(&st);
    return rc;
}

/* ---- verify --------------------------------------------------------------------------- */

static int verify_report(const char *file, const vtag_report *r, int as_json)
{
    char records[CLI_TEXT], bytes[CLI_TEXT];
    out o;
    if (as_json) {
        out_start(&o, stdout);
        out_u64(&o, "records", r->records);
        out_u64(&o, "bytes", r->bytes);
        out_u64(&o, "bad", r->bad);
        if (r->bad) out_u64(&o, "first_bad", r->first_bad);
        out_close(&o, '}');
    } else {
        printf("%s records, %s checked: %s\n", cli_count(records, r->records),
               cli_bytes(bytes, r->bytes), r->bad ? "BAD" : "good");
    }
    if (!r->bad) return CLI_DONE;
    return cli_refuse("%s: %llu findings, the first at byte %llu; go back to a copy", file,
                      (unsigned long long)r->bad, (unsigned long long)r->first_bad);
}

int cmd_verify(int argc, char **argv)
{
    const char *file;
    int as_json = 0, rc;
    cli_store st = {0};
    vtag_stat stat;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv,
                   "Checks every byte that the file's state refers to, and prints each\n"
                   "finding. Exit code 3: it is bad.", opts);
    if (rc >= 0) return rc;
    rc = cli_look(&st, file);
    if (rc && st.err == VTAG_CORRUPT) rc = CLI_NO;
    if (!rc) rc = care_stats(&st, &stat);
    if (!rc) {
        vtag_report report;
        cli_progress p;
        vtag_err err;
        memset(&report, 0, sizeof report);
        cli_catch();
        cli_progress_start(&p, "verify", "bytes", stat.file_bytes);
        cli_log_to(as_json ? stderr : stdout);
        err = vtag_verify(st.snap, &report, cli_progress_call, &p);
        cli_log_to(NULL);
        cli_progress_end(&p);
        rc = err && err != VTAG_CORRUPT ? cli_error(err, "%s", file)
                                        : verify_report(file, &report, as_json);
    }
    cli_close(&st);
    return rc;
}
