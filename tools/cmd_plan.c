/* cmd_plan.c - plan: what a backfill would take, and when it would be done. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "backfill.h"
#include "embedder.h"
#include "worker.h"

enum { PLAN_PAGE = 1024, PLAN_SAMPLE = 32, PLAN_SAMPLE_MS = 30000 };

/* ---- Counting ---------------------------------------------------------------------- */

static int plan_count(const cli_store *st, bf_plan *p, vtag_tag tag)
{
    vtag_item *page = cli_alloc(PLAN_PAGE * sizeof *page);
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    while (!err && n) {
        err = vtag_items(st->snap, tag, tag ? VTAG_PENDING : VTAG_ALL, &cursor, page, PLAN_PAGE, &n);
        for (i = 0; !err && i < n; i++) {
            p->items++;
            p->empty += !page[i].size;
            p->bytes += page[i].size;
        }
    }
    free(page);
    return err ? cli_error(err, "%s", st->path) : 0;
}

/* Vectors an item: as the tag has it, or else the active one. */
static double plan_parts(const cli_store *st, const vtag_info *tag)
{
    vtag_info active;
    if (tag->items) return (double)tag->rows / (double)tag->items;
    if (vtag_tag_info(st->snap, 0, &active) || !active.items) return 1;
    return (double)active.rows / (double)active.items;
}

static void plan_free_bytes(const cli_store *st, bf_plan *p)
{
    struct statvfs fs;
    if (statvfs(st->path, &fs)) return;
    p->free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize;
}

/* ---- Timing a sample ------------------------------------------------------------------ */

/* The first items that have a payload, as a worker is asked for them; how many. */
static size_t plan_items(const cli_store *st, vtag_tag tag, worker_item *ask)
{
    vtag_item items[PLAN_SAMPLE];
    uint64_t cursor = 0;
    size_t n = 0, i, asked = 0;
    if (vtag_items(st->snap, tag, tag ? VTAG_PENDING : VTAG_ALL, &cursor, items, PLAN_SAMPLE, &n)) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (!items[i].size) continue;
        ask[asked].id = items[i].id;
        ask[asked].rev = items[i].rev;
        ask[asked].key = items[i].key;
        ask[asked].data = items[i].data;
        ask[asked++].n = items[i].size;
    }
    return asked;
}

/* What one answer says of the worker; 0, or an exit code if it will not do. */
static int plan_answer(const bf_plan *p, const worker_answer *a)
{
    size_t i;
    for (i = 0; i < a->n; i++) {
        if (a->v[i].dim == p->dim) continue;
        return cli_fail("--exec: '%s' gives vectors of %u numbers, tag '%s' has dim %u; another model?",
                        p->exec, a->v[i].dim, p->tag, p->dim);
    }
    return 0;
}

/* Items that a worker answers a second, its start included; 0: none. */
static int plan_sample(const cli_store *st, vtag_tag tag, bf_plan *p)
{
    worker_item items[PLAN_SAMPLE];
    worker_answer answers[PLAN_SAMPLE];
    worker_job job = {0};
    size_t i, good = 0, bad = 0;
    double from = cli_ms(), ms;
    int rc;
    memset(items, 0, sizeof items);
    memset(answers, 0, sizeof answers);
    job.command = p->exec;
    job.timeout_ms = p->timeout_ms ? p->timeout_ms : WORKER_TIMEOUT_MS;
    job.most_ms = PLAN_SAMPLE_MS;
    job.items = items;
    job.n = plan_items(st, tag, items);
    job.answers = answers;
    rc = job.n ? worker_run(&job) : 0;
    ms = cli_ms() - from;
    for (i = 0; !rc && i < job.n; i++) {
        rc = plan_answer(p, &answers[i]);
        good += answers[i].n > 0;
        if (answers[i].error) bad = i;
    }
    if (!rc && job.n && !good) {
        rc = cli_fail("--exec: '%s' answers nothing%s%s; run it by hand", p->exec,
                      answers[bad].error ? ": " : "", answers[bad].error ? answers[bad].error : "");
    }
    worker_answers_free(answers, job.n);
    if (rc) return rc;
    p->rate = ms > 0 ? (double)good * 1000 / ms * (double)p->workers : 0;
    p->rate_from = "a sample, the worker's start included";
    return 0;
}

/* ---- The estimate ------------------------------------------------------------------------ */

int bf_plan_make(const cli_store *st, bf_plan *p)
{
    vtag_info tag;
    vtag_tag exact;
    bf_record r;
    int rc = 0;
    double most = p->rate;
    memset(&tag, 0, sizeof tag);
    if (!p->dim || !vtag_find(st->snap, p->tag, &exact)) {
        rc = cli_tag(st, p->tag, &tag);
        if (rc) return rc;
        p->tag = tag.spec.name;
    }
    if (tag.role == VTAG_GONE) return cli_error(VTAG_RETIRED, "%s: tag '%s'", st->path, p->tag);
    if (p->dim && tag.tag && tag.spec.dim != p->dim) {
        return cli_fail("%s: tag '%s' has dim %u, not %u; leave --dim out", st->path, p->tag,
                        tag.spec.dim, p->dim);
    }
    if (tag.tag) p->dim = tag.spec.dim;
    if (!p->workers) p->workers = 1;
    rc = plan_count(st, p, tag.tag);
    p->parts = plan_parts(st, &tag);
    p->vector_bytes = (uint64_t)((double)(p->items - p->empty) * p->parts * (p->dim * 4.0 + 64));
    plan_free_bytes(st, p);
    p->rate_from = "--rate";
    if (!rc && p->timed && most <= 0 && p->items > p->empty) {
        rc = embedder_for(p->embedders, p->tag, &p->exec);
    }
    if (!rc && p->timed && p->exec && p->items > p->empty) {
        rc = plan_sample(st, tag.tag, p);
        if (most > 0 && p->rate > most) p->rate = most, p->rate_from = "--rate";
    } else if (!rc && most <= 0 && tag.tag && bf_record_get(st, &tag, &r)) {
        p->rate = r.rate;
        p->rate_from = "its last backfill";
    }
    return rc;
}

int bf_plan_room(const cli_store *st, const bf_plan *p)
{
    char need[CLI_TEXT], have[CLI_TEXT];
    if (!p->free_bytes || p->vector_bytes <= p->free_bytes) return 0;
    return cli_fail("%s: the vectors of %s need %s and %s are free; free some space first",
                    st->path, p->tag, cli_bytes(need, p->vector_bytes),
                    cli_bytes(have, p->free_bytes));
}

static void plan_print(const bf_plan *p, uint64_t ms, uint64_t end, uint64_t target)
{
    char a[CLI_TEXT], b[CLI_TEXT], c[CLI_TEXT];
    cli_table t = {0};
    cli_row(&t, "tag\t%s, dim %u", p->tag, p->dim);
    cli_row(&t, "to embed\t%s items, %s", cli_count(a, p->items - p->empty), cli_bytes(b, p->bytes));
    if (p->empty) cli_row(&t, "to waive\t%s empty items", cli_count(a, p->empty));
    cli_row(&t, "to write\t%s vectors, %s; %s are free",
            cli_count(a, (uint64_t)((double)(p->items - p->empty) * p->parts + 0.5)),
            cli_bytes(b, p->vector_bytes), cli_bytes(c, p->free_bytes));
    if (p->items == p->empty) cli_row(&t, "time\tnone");
    else if (p->rate > 0) {
        cli_row(&t, "rate\t%s items/s, from %s", cli_rate(a, p->rate), p->rate_from);
        cli_row(&t, "time\t%s", cli_span(a, ms));
    } else cli_row(&t, "time\tnot known; give --rate N, or --exec COMMAND to time a sample");
    if (end) cli_row(&t, "forecast\tdone by %s", cli_time(a, end));
    if (target) {
        cli_row(&t, "target\t%s: %s", cli_time(a, target),
                !end ? "not known" : end <= target ? "on time" : "too late");
    }
    cli_table_print(&t, "ll");
}

static void plan_json(const bf_plan *p, uint64_t ms, uint64_t end, uint64_t target)
{
    out o;
    out_start(&o, stdout);
    out_str(&o, "tag", p->tag);
    out_u64(&o, "dim", p->dim);
    out_u64(&o, "items", p->items);
    out_u64(&o, "empty", p->empty);
    out_u64(&o, "payload_bytes", p->bytes);
    out_f64(&o, "parts", p->parts);
    out_u64(&o, "vector_bytes", p->vector_bytes);
    out_u64(&o, "free_bytes", p->free_bytes);
    out_f64(&o, "rate", p->rate);
    out_u64(&o, "ms", ms);
    out_time(&o, "forecast", end);
    out_time(&o, "target", target);
    if (target) out_bool(&o, "on_time", end && end <= target);
    out_close(&o, '}');
}

int bf_plan_show(const bf_plan *p, uint64_t target, int as_json)
{
    uint64_t n = p->items - p->empty, ms = 0, end = 0;
    char a[CLI_TEXT], b[CLI_TEXT];
    if (p->rate > 0) ms = (uint64_t)((double)n * 1000 / p->rate);
    if (!n || p->rate > 0) end = cli_clock() + ms;
    if (as_json) plan_json(p, ms, end, target);
    else plan_print(p, ms, end, target);
    if (!target || !end || end <= target) return CLI_DONE;
    return cli_refuse("%s would be done by %s, after the target %s; more --workers, or a later date",
                      p->tag, cli_time(a, end), cli_time(b, target));
}

/* ---- The command ------------------------------------------------------------------------------ */

/* Days since 1970 of a date. */
static int64_t plan_days(int y, int m, int d)
{
    int64_t year = m > 2 ? y : y - 1, era = year / 400, yoe = year - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int plan_month(int y, int m)
{
    return (int)(m == 12 ? 31 : plan_days(y, m + 1, 1) - plan_days(y, m, 1));
}

/* Parses 2026-11-30 (its end) or 2026-11-30T12:00, UTC, or a duration from now. */
static int plan_date(const char *s, uint64_t *ms)
{
    int y, mo, d, h = 24, mi = 0, used = 0;
    uint64_t span;
    if (cli_duration(s, &span)) {
        *ms = cli_clock() + span;
        return 1;
    }
    if (sscanf(s, "%4d-%2d-%2d%n", &y, &mo, &d, &used) != 3 || used != 10) return 0;
    if (s[used] && (sscanf(s + used, "T%2d:%2d%n", &h, &mi, &used) != 2 || used != 6 ||
                    (s[16] && strcmp(s + 16, "Z")))) return 0;
    if (y < 1970 || y > 9999 || mo < 1 || mo > 12 || d < 1 || d > plan_month(y, mo) || h < 0 ||
        h > 24 || mi < 0 || mi > 59 || (h == 24 && mi)) return 0;
    *ms = (uint64_t)((plan_days(y, mo, d) * 24 + h) * 60 + mi) * 60000;
    return 1;
}

/* Keeps the target in the file, for status and report to compare with. */
static int plan_keep(cli_store *st, const bf_plan *p, uint64_t target)
{
    char name[320], text[64];
    vtag_err err;
    int n, rc;
    if (snprintf(name, sizeof name, "plan:%s", p->tag) > 255) return 0;
    n = snprintf(text, sizeof text, "{\"target\":%llu}", (unsigned long long)target);
    rc = cli_begin(st, 0);
    if (rc) return rc;
    err = vtag_meta_set(st->batch, name, text, (size_t)n);
    return err ? cli_error(err, "%s: metadata %s", st->path, name) : cli_commit(st);
}

int cmd_plan(int argc, char **argv)
{
    const char *file, *date = NULL;
    int as_json = 0, keep = 0, rc;
    uint64_t target = 0;
    cli_store st = {0};
    bf_plan p;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &p.tag, "to be filled", NULL},
        {"--dim", "N", CLI_U32, &p.dim, "of a tag that is not declared yet", NULL},
        {"--exec", "COMMAND", CLI_STR, &p.exec, "time this worker on a sample, without writing", NULL},
        EMBEDDER_OPT(p.embedders),
        EMBEDDER_TIMEOUT_OPT(p.timeout_ms),
        {"--workers", "N", CLI_U64, &p.workers, "of them at once; 1", NULL},
        {"--rate", "N", CLI_F64, &p.rate, "items a second; else a sample's, else the last backfill's",
         NULL},
        {"--target", "DATE", CLI_STR, &date, "2026-11-30, 2026-11-30T12:00 (UTC), or 36h", NULL},
        {"--keep", NULL, CLI_FLAG, &keep, "the target in the file: status compares with it", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    memset(&p, 0, sizeof p);
    p.timed = 1;
    rc = cli_parse(argc, argv, "Shows what a backfill would take. Exit code 3: it would miss the\n"
                   "--target.", opts);
    if (rc >= 0) return rc;
    if (date && !plan_date(date, &target)) {
        return cli_misuse("plan: --target wants 2026-11-30, 2026-11-30T12:00 or 36h, not '%s'", date);
    }
    if (p.dim > 32768 || p.rate < 0) return cli_misuse("plan: --dim is 1 to 32,768, --rate not negative");
    if (keep && !date) return cli_misuse("plan: --keep wants a --target");
    rc = keep ? cli_change(&st, file) : cli_look(&st, file);
    if (!rc) rc = bf_plan_make(&st, &p);
    if (!rc && keep) rc = plan_keep(&st, &p, target);
    if (!rc) rc = bf_plan_show(&p, target, as_json);
    cli_close(&st);
    return rc;
}
