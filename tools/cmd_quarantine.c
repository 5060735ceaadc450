/* cmd_quarantine.c - quarantine: what is waived under a tag, listed or lifted. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

enum { QUARANTINE_PAGE = 1024 };

typedef struct quarantine {
    cli_store   st;
    vtag_info   tag;
    vtag_item  *items;       /* waived, and chosen; they live as long as the snapshot */
    size_t      n, cap;
    const char *reason;      /* choose by a piece of the reason; NULL: any */
    cli_args    ids;         /* choose by id or key; none: any */
} quarantine;

/* Whether a waiver was written by vtag backfill, about an item that it asked for. */
static int quarantine_asked(const vtag_item *item)
{
    return item->why && !strncmp(item->why, "backfill: ", 10);
}

static int quarantine_named(const quarantine *q, const vtag_item *item)
{
    uint64_t id;
    int i;
    for (i = 0; i < q->ids.n; i++) {
        if (cli_u64(q->ids.v[i], &id) && id == item->id) return 1;
        if (item->key && !strcmp(q->ids.v[i], item->key)) return 1;
    }
    return !q->ids.n;
}

static int quarantine_read(quarantine *q, int retry)
{
    vtag_item page[QUARANTINE_PAGE];
    uint64_t cursor = 0;
    size_t n = 1, i;
    while (n) {
        vtag_err err = vtag_items(q->st.snap, q->tag.tag, VTAG_WAIVED, &cursor, page,
                                  QUARANTINE_PAGE, &n);
        if (err) return cli_error(err, "%s", q->st.path);
        for (i = 0; i < n; i++) {
            if (!quarantine_named(q, &page[i])) continue;
            if (q->reason && (!page[i].why || !strstr(page[i].why, q->reason))) continue;
            if (retry && !q->ids.n && !q->reason && !quarantine_asked(&page[i])) continue;
            if (q->n == q->cap) q->items = cli_grow(q->items, q->cap = q->cap * 2 + 64, sizeof *page);
            q->items[q->n++] = page[i];
        }
    }
    return 0;
}

static int quarantine_by_why(const void *a, const void *b)
{
    const vtag_item *x = a, *y = b;
    int order = strcmp(x->why ? x->why : "", y->why ? y->why : "");
    return order ? order : x->id < y->id ? -1 : x->id > y->id;
}

/* Counts by reason, then the items themselves. */
static void quarantine_print(quarantine *q)
{
    char why[90], name[60], count[CLI_TEXT], when[CLI_TEXT];
    cli_table t = {0};
    size_t i, from;
    if (!q->n) {
        printf("nothing is quarantined under %s\n", q->tag.spec.name);
        return;
    }
    qsort(q->items, q->n, sizeof *q->items, quarantine_by_why);
    cli_row(&t, "items\treason");
    for (i = from = 0; i < q->n; i++) {
        const char *w = q->items[i].why ? q->items[i].why : "";
        if (i + 1 < q->n && !strcmp(w, q->items[i + 1].why ? q->items[i + 1].why : "")) continue;
        cli_row(&t, "%s\t%s", cli_count(count, i + 1 - from), cli_line(why, sizeof why, w, strlen(w)));
        from = i + 1;
    }
    cli_table_print(&t, "rl");
    putchar('\n');
    memset(&t, 0, sizeof t);
    cli_row(&t, "item\trevision\ttime\treason");
    for (i = 0; i < q->n; i++) {
        const vtag_item *item = &q->items[i];
        const char *w = item->why ? item->why : "";
        cli_row(&t, "%s\t%llu\t%s\t%s", item_name(name, sizeof name, item),
                (unsigned long long)item->rev, cli_time(when, item->time),
                cli_line(why, sizeof why, w, strlen(w)));
    }
    cli_table_print(&t, "lrll");
}

static void quarantine_json(const quarantine *q)
{
    size_t i;
    for (i = 0; i < q->n; i++) {
        out o;
        out_start(&o, stdout);
        out_id(&o, "id", q->items[i].id);
        if (q->items[i].key) out_str(&o, "key", q->items[i].key);
        out_u64(&o, "rev", q->items[i].rev);
        out_time(&o, "time", q->items[i].time);
        out_str(&o, "why", q->items[i].why);
        out_close(&o, '}');
    }
}

static int quarantine_lift(quarantine *q)
{
    size_t i, lifted = 0;
    char count[CLI_TEXT];
    int rc = cli_begin(&q->st, 0);
    for (i = 0; !rc && i < q->n; i++) {
        vtag_item item = {0};
        vtag_err err;
        item.id = q->items[i].id;
        item.rev = q->items[i].rev;
        err = vtag_waive(q->st.batch, &item, q->tag.tag, NULL);
        if (!err) lifted++;
        else if (err != VTAG_CHANGED && err != VTAG_NOTFOUND) {
            rc = cli_error(err, "%s: item %llu", q->st.path, (unsigned long long)item.id);
        }
    }
    if (!rc) rc = cli_commit(&q->st);
    if (!rc) printf("lifted %s waivers; they are pending under %s\n", cli_count(count, lifted),
                    q->tag.spec.name);
    return rc;
}

static int quarantine_backfill(const quarantine *q, const char *file, const char *exec)
{
    char name[] = "backfill", tag[] = "--tag", option[] = "--exec", *argv[7];
    int rc;
    argv[0] = name;
    argv[1] = cli_strdup(file);
    argv[2] = tag;
    argv[3] = cli_strdup(q->tag.spec.name);
    argv[4] = option;
    argv[5] = cli_strdup(exec);
    argv[6] = NULL;
    rc = cmd_backfill(6, argv);
    free(argv[1]);
    free(argv[3]);
    free(argv[5]);
    return rc;
}

int cmd_quarantine(int argc, char **argv)
{
    const char *action, *file, *tag, *exec = NULL;
    int as_json = 0, all = 0, list, retry, rc;
    quarantine q;
    const cli_opt opts[] = {
        {"ls|retry|lift", NULL, CLI_ARG, &action, "list; or make pending again, see below", NULL},
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"ID", NULL, CLI_ARGS, &q.ids, "only these items, by id or key", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "under which they are waived", NULL},
        {"--reason", "TEXT", CLI_STR, &q.reason, "only with this in their reason", NULL},
        {"--all", NULL, CLI_FLAG, &all, "lift: every waiver of the tag", NULL},
        {"--exec", "COMMAND", CLI_STR, &exec, "retry: and run a backfill with this worker", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "ls: JSON Lines", NULL},
        CLI_END};
    memset(&q, 0, sizeof q);
    rc = cli_parse(argc, argv,
                   "Lists the items that are waived under a tag, by reason. retry makes those\n"
                   "pending again that failed in a backfill; lift makes any.", opts);
    if (rc >= 0) return rc;
    list = !strcmp(action, "ls");
    retry = !strcmp(action, "retry");
    if (!list && !retry && strcmp(action, "lift")) {
        return cli_misuse("quarantine: '%s'; there are ls, retry, lift", action);
    }
    if (!list && !retry && !all && !q.ids.n && !q.reason) {
        return cli_misuse("quarantine: lift what? give IDs, a --reason, or --all");
    }
    if (exec && !retry) return cli_misuse("quarantine: --exec goes with retry");
    rc = list ? cli_look(&q.st, file) : cli_change(&q.st, file);
    if (!rc) rc = cli_tag(&q.st, tag, &q.tag);
    if (!rc) rc = quarantine_read(&q, retry);
    if (!rc && list && as_json) quarantine_json(&q);
    else if (!rc && list) quarantine_print(&q);
    else if (!rc && q.ids.n && !q.n) rc = cli_fail("%s: none of these is waived under %s", file,
                                                   q.tag.spec.name);
    else if (!rc) rc = quarantine_lift(&q);
    q.tag.spec.name = rc || list ? NULL : cli_strdup(q.tag.spec.name);
    cli_close(&q.st);
    free(q.items);
    if (!rc && retry && exec) rc = quarantine_backfill(&q, file, exec);
    free((char *)(uintptr_t)q.tag.spec.name);
    return rc;
}
