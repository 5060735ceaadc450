/* cmd_care.c - compact, copy, verify: the file as a whole. */
#include <string.h>

#include "cmd.h"

static int care_stats(const cli_store *st, vtag_stat *stat)
{
    vtag_err err = vtag_stats(st->snap, stat);
    return err ? cli_error(err, "%s", st->path) : 0;
}

/* ---- compact ---------------------------------------------------------------------- */

static void compact_report(const vtag_stat *a, uint64_t after, int dry, int as_json)
{
    char from[CLI_TEXT], to[CLI_TEXT];
    out o;
    if (!as_json) {
        printf("%s -> %s%s\n", cli_bytes(from, a->file_bytes), cli_bytes(to, after),
               dry ? ", about; dry run: nothing changed" : "");
        return;
    }
    out_start(&o, stdout);
    out_u64(&o, "before", a->file_bytes);
    out_u64(&o, "after", after);
    out_bool(&o, "dry_run", dry);
    out_close(&o, '}');
}

static int compact_run(cli_store *st, int dry, int as_json)
{
    vtag_stat before, after;
    cli_progress p;
    vtag_err err;
    int rc = care_stats(st, &before);
    if (rc) return rc;
    if (dry) {
        compact_report(&before, before.live_bytes, 1, as_json);
        return 0;
    }
    cli_catch();
    cli_progress_start(&p, "compact", "bytes", before.live_bytes);
    err = vtag_compact(st->db, cli_progress_call, &p);
    cli_progress_end(&p);
    if (err) return cli_error(err, "%s", st->path);
    rc = cli_snap(st);
    if (!rc) rc = care_stats(st, &after);
    if (!rc) compact_report(&before, after.file_bytes, 0, as_json);
    return rc;
}

int cmd_compact(int argc, char **argv)
{
    const char *file;
    int dry = 0, as_json = 0, rc;
    cli_store st = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--dry-run", NULL, CLI_FLAG, &dry, "tell what it would about gain", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Rewrites the file without what is deleted, replaced or retired.\n"
                   "Readers go on undisturbed. Needs room for the result beside the file.", opts);
    if (rc >= 0) return rc;
    rc = dry ? cli_look(&st, file) : cli_change(&st, file);
    if (!rc) rc = compact_run(&st, dry, as_json);
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
        if (err == VTAG_EXISTS) rc = cli_fail("%s: is there already; give a new path", dest);
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
