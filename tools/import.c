/* import.c - takes items and vectors in from a file or pipe, as one batch. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd.h"
#include "import.h"
#include "input.h"

typedef struct im_tag { char *name; vtag_tag tag; uint32_t dim; vtag_metric metric; } im_tag;

typedef struct importer {
    const char *file, *source, *tag, *metric_name, *codec_name;
    int         fill, replace, append, attach, partial, declare;
    input_opts  from;
    cli_list    ignored;
    int         header, no_header;
    vtag_metric metric;
    vtag_codec  codec;
    int         may_declare;
    const char *assumed;     /* the tag is adopted: why; NULL: the vectors are known by it */
    uint64_t    commit;      /* that the first look saw; 0: no file */
    cli_store   st;
    input       in;
    int         rc;          /* of an error that is reported already */
    int         kept;        /* the input broke off, and what came before is taken */
    vtag_info  *all;         /* with --attach: all[all_n], the tags of the file */
    size_t      all_n;
    im_tag     *tags;        /* that records have used */
    size_t      tags_n;
    uint64_t    items, vectors, bytes, skipped, start_ms;
} importer;

/* ---- Tags ----------------------------------------------------------------------- */

static im_tag *im_tag_add(importer *im, const char *name, vtag_tag tag, const vtag_spec *spec)
{
    im_tag *t;
    im->tags = cli_grow(im->tags, im->tags_n + 1, sizeof *im->tags);
    t = &im->tags[im->tags_n++];
    t->name = cli_strdup(name);
    t->tag = tag;
    t->dim = spec->dim;
    t->metric = spec->metric;
    return t;
}

static im_tag *im_tag_declare(importer *im, const char *name, uint32_t dim)
{
    vtag_spec spec = {0};
    vtag_tag tag;
    vtag_err err;
    im->rc = cli_check_name(name);
    if (!im->rc) im->rc = cli_check_near(&im->st, name);
    if (im->rc) return NULL;
    spec.name = name;
    spec.dim = dim;
    spec.metric = im->metric;
    spec.codec = im->codec;
    spec.flags = im->assumed ? VTAG_ASSUMED : 0;
    spec.note = im->assumed;
    err = vtag_declare(im->st.batch, &spec, &tag);
    if (!err) return im_tag_add(im, name, tag, &spec);
    im->rc = cli_error(err, "%s: tag %s of dim %u", im->file, name, dim);
    return NULL;
}

/* Whether cli_tag has something to find or to choose from. */
static int im_tag_begins(importer *im, const char *name)
{
    vtag_info *tags;
    size_t n, i, len = strlen(name), found = name[0] == ':';
    im->rc = cli_tags(&im->st, &tags, &n);
    for (i = 0; !im->rc && i < n; i++) found += !strncmp(tags[i].spec.name, name, len);
    free(tags);
    return found > 0;
}

static im_tag *im_tag_existing(importer *im, const char *name)
{
    vtag_info info;
    int known = im_tag_begins(im, name);
    if (!im->rc && !known) {
        im->rc = cli_fail("%s: no tag '%s'; --declare makes it from the data", im->file, name);
    }
    if (!im->rc) im->rc = cli_tag(&im->st, name, &info);
    if (im->rc) return NULL;
    if (im->assumed && !(info.spec.flags & VTAG_ASSUMED)) {
        im->rc = cli_fail("tag %s is declared and not assumed; vtag import adds to it, or stamp "
                          "under another name", info.spec.name);
        return NULL;
    }
    if (info.role == VTAG_GONE) {
        im->rc = cli_error(VTAG_RETIRED, "tag %s", info.spec.name);
    } else if (im->metric_name && info.spec.metric != im->metric) {
        im->rc = cli_fail("tag %s is there with metric %s, not %s; another metric is another tag",
                          info.spec.name, cli_metric_name(info.spec.metric), im->metric_name);
    } else if (im->codec_name && info.spec.codec != im->codec) {
        im->rc = cli_fail("tag %s is there with codec %s, not %s; another codec is another tag",
                          info.spec.name, cli_codec_name(info.spec.codec), im->codec_name);
    }
    return im->rc ? NULL : im_tag_add(im, name, info.tag, &info.spec);
}

/* Finds or declares the tag of a vector of dim numbers; NULL if that failed, and im->rc says
   how. */
static im_tag *im_tag_of(importer *im, const char *name, uint32_t dim)
{
    vtag_tag tag;
    size_t i;
    if (!name) {
        im->rc = cli_fail("%s: its vectors name no tag; say which with --tag MODEL@VERSION",
                          im->source);
        return NULL;
    }
    for (i = 0; i < im->tags_n; i++) {
        if (!strcmp(name, im->tags[i].name)) return &im->tags[i];
    }
    if (im->may_declare && name[0] != ':' && vtag_find(im->st.snap, name, &tag)) {
        return im_tag_declare(im, name, dim);
    }
    return im_tag_existing(im, name);
}

/* ---- Records: INPUT_RECORD, INPUT_BAD with its reason, or INPUT_BROKEN and im->rc --- */

/* Says which number the engine refused. */
static int im_bad_value(importer *im, const input_record *r)
{
    size_t k;
    uint32_t i, zeros;
    for (k = 0; k < r->n; k++) {
        for (i = zeros = 0; i < r->v[k].dim; i++) {
            float x = r->v[k].x[i];
            if (isnan(x)) return input_fault(&im->in, "number %u is NaN", i + 1);
            if (isinf(x)) return input_fault(&im->in, "number %u is infinite", i + 1);
            zeros += !(x > 0 || x < 0);
        }
        if (zeros < i) continue;
        return input_fault(&im->in, "all numbers are 0, which has no direction for cosine");
    }
    return input_fault(&im->in, "the numbers are too large or too small for a norm");
}

static int im_answer(importer *im, vtag_err err, const input_record *r, uint64_t rev)
{
    switch (err) {
    case VTAG_OK: return INPUT_RECORD;
    case VTAG_VALUE: return im_bad_value(im, r);
    case VTAG_NOTFOUND: return input_fault(&im->in, "no such item; --replace would make it");
    case VTAG_CHANGED:
        return input_fault(&im->in, "the item changed since revision %llu; embed it again",
                           (unsigned long long)rev);
    case VTAG_EXISTS:
        return input_fault(&im->in, "its id is another key's; give it another");
    default:
        input_fault(&im->in, "cannot be stored");
        im->rc = cli_error(err, "%s", im->in.error);
        return INPUT_BROKEN;
    }
}

/* The tag that vector i of a record names, or NULL. */
static const char *im_named(const input_record *r, size_t i)
{
    return r->tags && r->tags[i] ? r->tags[i] : r->tag;
}

/* --tag as a role: the record has to name the tag that has it. */
static int im_role(importer *im, const char *name)
{
    vtag_info info;
    im->rc = cli_tag(&im->st, im->tag, &info);
    if (!im->rc && !name) im->rc = cli_tag_raw(im->tag, &info, "a vector without a tag");
    if (im->rc) return INPUT_BROKEN;
    if (!strcmp(name, info.spec.name)) return INPUT_RECORD;
    return input_fault(&im->in, "its tag is %.80s, and %s is %.80s", name, im->tag, info.spec.name);
}

/* Whether the record's vectors may have that tag. */
static int im_tag_fits(importer *im, const char *name)
{
    if (im->tag && im->tag[0] == ':') return im_role(im, name);
    if (!im->tag || !name || !strcmp(im->tag, name)) return INPUT_RECORD;
    if (im->assumed) {
        return input_fault(&im->in, "its tag is %.80s, so nothing is to be assumed; vtag "
                           "import takes it", name);
    }
    return input_fault(&im->in, "its tag is %.80s, and --tag says %.80s; leave --tag out", name,
                       im->tag);
}

/* Whether vectors before i are of the same tag under another name, and would be its parts. */
static int im_tag_twice(const input_record *r, size_t i, const char *name)
{
    size_t k;
    for (k = 0; k < i; k++) {
        const char *other = im_named(r, k);
        if (r->v[k].tag == r->v[i].tag && other && name && strcmp(other, name)) return 1;
    }
    return 0;
}

/* Sets the tags of the record's vectors. */
static int im_tagged(importer *im, input_record *r)
{
    const char *name = NULL, *last = NULL;
    im_tag *t = NULL;
    size_t i;
    if (!r->n && im->assumed) {
        return input_fault(&im->in, "no vector to adopt; vtag import takes items without");
    }
    if (!r->n && im->tag) {
        return input_fault(&im->in, "no vector, which --tag %.80s asks for; leave --tag out for "
                           "items without", im->tag);
    }
    for (i = 0; i < r->n; i++, last = name) {
        name = im_named(r, i);
        if (!t || !name || !last || strcmp(name, last)) {
            int fits = im_tag_fits(im, name);
            if (fits != INPUT_RECORD) return fits;
            t = im_tag_of(im, name ? name : im->tag, r->v[i].dim);
            if (!t) return INPUT_BROKEN;
            r->v[i].tag = t->tag;
            if (im_tag_twice(r, i, name)) {
                return input_fault(&im->in, "tag %.80s is there under two names", t->name);
            }
        }
        r->v[i].tag = t->tag;
        if (r->v[i].dim == t->dim) continue;
        return input_fault(&im->in, "a vector of %u numbers, where tag %s has %u", r->v[i].dim,
                           t->name, t->dim);
    }
    return INPUT_RECORD;
}

/* Fills an item, tag by tag. */
static vtag_err im_fill_tags(importer *im, const vtag_item *now, const input_record *r)
{
    vtag_vec *v = cli_grow(NULL, r->n, sizeof *v);
    char *done = cli_alloc(r->n);
    size_t i, k, n;
    vtag_err err = VTAG_OK;
    for (i = 0; i < r->n && !err; i++) {
        if (done[i]) continue;
        for (k = i, n = 0; k < r->n; k++) {
            if (r->v[k].tag != r->v[i].tag) continue;
            v[n++] = r->v[k];
            done[k] = 1;
        }
        err = vtag_fill(im->st.batch, now, v, n);
    }
    free(v);
    free(done);
    return err;
}

static int im_fill(importer *im, input_record *r)
{
    vtag_item now;
    vtag_err err = vtag_get(im->st.snap, r->item.id, &now);
    if (!r->n) return input_fault(&im->in, "no vector to fill in");
    if (err) return im_answer(im, err, r, 0);
    if (r->item.key && (!now.key || strcmp(now.key, r->item.key))) {
        return im_answer(im, VTAG_EXISTS, r, 0);
    }
    if (r->item.rev) now.rev = r->item.rev;
    return im_answer(im, im_fill_tags(im, &now, r), r, now.rev);
}

/* Lifts what a backfill recorded of an item that had no payload to embed. */
static vtag_err im_lift(importer *im, const vtag_item *item)
{
    size_t i;
    vtag_err err = VTAG_OK;
    for (i = 0; i < im->all_n && !err; i++) {
        uint64_t cursor = item->id;
        vtag_item line;
        size_t n = 0;
        if (im->all[i].role == VTAG_GONE) continue;
        err = vtag_items(im->st.snap, im->all[i].tag, VTAG_WAIVED, &cursor, &line, 1, &n);
        if (err || !n || line.id != item->id || !line.why || strcmp(line.why, "empty")) continue;
        err = vtag_waive(im->st.batch, &line, im->all[i].tag, NULL);
    }
    return err;
}

/* Gives an item that has none its payload, of which its vectors were made. */
static int im_attach(importer *im, input_record *r)
{
    vtag_item now;
    vtag_err err;
    if (r->n) return input_fault(&im->in, "has a vector; --attach takes texts alone, --fill vectors");
    if (!r->item.data || !r->item.size) return input_fault(&im->in, "no payload to attach");
    r->item.state = VTAG_SAME;
    err = vtag_put(im->st.batch, &r->item, NULL, 0);
    if (err == VTAG_NOTFOUND) return input_fault(&im->in, "no such item to attach a payload to");
    if (err == VTAG_EXISTS && !vtag_get(im->st.snap, r->item.id, &now) && now.size) {
        return input_fault(&im->in, "its item has another payload; --replace makes a new revision");
    }
    if (!err) err = im_lift(im, &r->item);
    return im_answer(im, err, r, r->item.rev);
}

static int im_put(importer *im, input_record *r)
{
    vtag_item now;
    if (im->append && !r->positional && !vtag_get(im->st.snap, r->item.id, &now)) {
        return input_fault(&im->in, "is in the file already; --append only adds");
    }
    r->item.rev = 0;
    return im_answer(im, vtag_put(im->st.batch, &r->item, r->v, r->n), r, 0);
}

static int im_take(importer *im, input_record *r)
{
    size_t i;
    int got = im->attach ? INPUT_RECORD : im_tagged(im, r);
    if (got > 0) got = im->fill ? im_fill(im, r) : im->attach ? im_attach(im, r) : im_put(im, r);
    if (got < 0) return got;
    im->items++;
    im->vectors += r->n;
    if (!im->fill) im->bytes += r->item.size;
    for (i = 0; i < r->n; i++) im->bytes += r->v[i].dim * sizeof(float);
    return got;
}

/* Reports a record that was not taken; 1 if that is no reason to stop. */
static int im_skip(importer *im, int got)
{
    if (im->rc) return 0;
    if (got == INPUT_BAD && im->partial) {
        cli_warn("%s; skipped", im->in.error);
        im->skipped++;
        return 1;
    }
    im->kept = got == INPUT_BROKEN && im->partial;
    im->rc = got == INPUT_BAD
        ? cli_fail("%s; nothing was imported, --partial would skip it", im->in.error)
        : cli_fail("%s; %s", im->in.error, im->kept ? "what came before it is kept"
                                                       : "nothing was imported");
    return 0;
}

/* The next record that can be read. */
static int im_next(importer *im)
{
    int got = input_next(&im->in);
    while (got < 0 && im_skip(im, got)) got = input_next(&im->in);
    return got;
}

/* Takes all records, of which the first is read already; the last got. */
static int im_all(importer *im)
{
    cli_progress p;
    uint64_t seen = 0;
    int rows = im->in.expect > 0, got = INPUT_RECORD;
    cli_progress_start(&p, "import", rows ? "rows" : "bytes",
                       rows ? im->in.expect : im->in.total);
    while (got > 0) {
        int took = im_take(im, &im->in.record);
        if (took < 0 && !im_skip(im, took)) {
            got = took;
            break;
        }
        if (++seen % 64 == 0) {
            cli_progress_at(&p, rows ? seen : im->in.done);
            if (cli_stopped()) {
                im->rc = cli_fail("import: stopped; nothing was imported");
                break;
            }
        }
        got = im_next(im);
    }
    cli_progress_end(&p);
    return got;
}

/* ---- The store ------------------------------------------------------------------ */

/* The id after the largest of those that are no key's. */
static int im_next_id(importer *im, uint64_t *next)
{
    vtag_item items[256];
    uint64_t cursor = 0;
    size_t n = 1, i;
    *next = 0;
    while (n) {
        vtag_err err = vtag_items(im->st.snap, 0, VTAG_ALL, &cursor, items, 256, &n);
        if (err) return cli_error(err, "%s", im->file);
        for (i = 0; i < n; i++) {
            if (!items[i].key && items[i].id >= *next) *next = items[i].id + 1;
        }
    }
    return 0;
}

/* Notes what the store holds now, and whether that may be imported to. */
static int im_state(importer *im)
{
    vtag_stat now;
    vtag_err err;
    int rc = im->st.db ? cli_snap(&im->st) : 0;
    if (rc || !im->st.db) return rc;
    err = vtag_stats(im->st.snap, &now);
    if (err) return cli_error(err, "%s", im->file);
    im->commit = now.commit;
    im->may_declare = im->declare || (!now.items && !now.tags);
    if (now.items && !im->fill && !im->replace && !im->append && !im->attach) {
        return cli_fail("%s: has %llu items; --fill adds vectors to them, --replace overwrites "
                        "items of equal id, --append adds items after them, --attach gives them "
                        "the texts that they were made from", im->file,
                        (unsigned long long)now.items);
    }
    return im->append ? im_next_id(im, &im->from.first_id) : 0;
}

/* Looks at the file that is there, if one is. */
static int im_look(importer *im)
{
    struct stat sb;
    int rc;
    /* an empty file, as a full disk leaves one, is as good as none */
    if (stat(im->file, &sb) ? errno == ENOENT : S_ISREG(sb.st_mode) && !sb.st_size) {
        if (im->fill) return cli_fail("%s: no such store, so no items to --fill", im->file);
        if (im->attach) return cli_fail("%s: no such store, so no items to --attach to", im->file);
        return 0;
    }
    rc = cli_change(&im->st, im->file);
    return rc ? rc : im_state(im);
}

/* Opens or creates the file, and the batch; looks again, for what others did meanwhile. */
static int im_begin(importer *im)
{
    vtag_stat stat;
    vtag_err err;
    int rc = 0;
    if (!im->st.db) {
        if (im->tag) rc = cli_check_name(im->tag);
        if (!rc) rc = cli_open(&im->st, im->file, VTAG_CREATE);
        if (rc) return rc;
        im->may_declare = 1;
    }
    rc = cli_begin(&im->st, im->in.expect);
    if (!rc) rc = cli_snap(&im->st);
    if (!rc && im->attach) rc = cli_tags(&im->st, &im->all, &im->all_n);
    if (rc || im->fill || im->replace || im->attach) return rc;
    err = vtag_stats(im->st.snap, &stat);
    if (err) return cli_error(err, "%s", im->file);
    if (stat.commit == im->commit) return 0;
    return cli_fail("%s: another writer changed it just now; run it again", im->file);
}

static void im_summary(const importer *im)
{
    char items[CLI_TEXT], vectors[CLI_TEXT], bytes[CLI_TEXT], rate[CLI_TEXT], skipped[CLI_TEXT];
    uint64_t ms = cli_now() - im->start_ms;
    printf("imported %s items, %s vectors%s%s, %s in %.2f s (%s items/s)",
           cli_count(items, im->items), cli_count(vectors, im->vectors),
           im->tags_n == 1 ? " of " : "", im->tags_n == 1 ? im->tags[0].name : "",
           cli_bytes(bytes, im->bytes), (double)ms / 1000,
           cli_count(rate, im->items * 1000 / (ms ? ms : 1)));
    if (im->skipped) printf(", skipped %s", cli_count(skipped, im->skipped));
    puts("");
}

/* ---- The command ---------------------------------------------------------------- */

/* Says in the history who assumed the tag. */
static int im_note(importer *im)
{
    vtag_event e;
    vtag_stat stat;
    vtag_err err;
    if (!im->assumed || !im->tags_n) return 0;
    memset(&e, 0, sizeof e);
    err = vtag_stats(im->st.snap, &stat);
    e.kind = VTAG_K_NOTE;
    e.tag = im->tags[0].tag;
    e.text = im->assumed;
    e.name = "stamp";
    e.queries = im->vectors;
    e.commit = stat.commit;
    if (!err) err = vtag_note(im->st.batch, &e);
    return err ? cli_error(err, "%s: history", im->file) : 0;
}

/* The line of history: who took in what. */
static int im_event(importer *im)
{
    char command[1024], from[900];
    vtag_event e = {0};
    vtag_err err;
    snprintf(command, sizeof command, "%s %s", cli.cmd, cli_line(from, sizeof from, im->source, strlen(im->source)));
    e.kind = VTAG_K_IMPORT;
    e.tag = im->tags_n == 1 ? im->tags[0].tag : 0;
    e.command = command;
    e.in = im->items + im->skipped;
    e.filled = im->items;
    e.failed_items = im->skipped;
    err = cmd_event_run(&im->st, &e);
    return err ? cli_error(err, "%s: history", im->file) : 0;
}

static void im_run(importer *im)
{
    int got;
    im->rc = im_look(im);
    if (im->rc) return;
    if (!input_open(&im->in, im->source, &im->from)) {
        im->rc = cli_fail("%s", im->in.error);
        return;
    }
    if (!im->in.total) im->rc = im_state(im); /* anew: a pipe may have taken its time */
    if (im->rc) return;
    input_first(&im->in, im->from.first_id);
    got = im_next(im);
    if (!got) im->rc = cli_fail("%s: holds no record; nothing was imported", im->source);
    if (got > 0) im->rc = im_begin(im);
    if (got > 0 && !im->rc) got = im_all(im);
    if (im->st.batch && im->items && (!im->rc || im->kept)) {
        int rc = im_note(im);
        if (!rc) rc = im_event(im);
        if (!rc) rc = cli_commit(&im->st);
        if (!rc && im->bytes >= 1 << 20) rc = cli_seal(&im->st);
        im->rc = rc ? rc : im->rc;
        if (!rc) im_summary(im);
    } else if (im->st.batch && !im->rc) {
        im->rc = cli_fail("%s: no record could be taken; nothing was imported", im->source);
    }
    cli_abort(&im->st);
}

static int im_check(importer *im)
{
    int rc = 0;
    if (im->fill + im->replace + im->append + im->attach > 1) {
        return cli_misuse("import: --fill, --replace, --append or --attach, one of them");
    }
    if (im->attach && im->tag) return cli_misuse("import: --attach brings no vectors, so no --tag");
    if (im->header && im->no_header) {
        return cli_misuse("%s: --header or --no-header, one of them", cli.cmd);
    }
    im->from.header = im->header - im->no_header;
    im->from.ignored = im->ignored.value;
    im->from.ignored_n = im->ignored.n;
    im->from.spool = 1;
    if (im->metric_name) rc = cli_metric(im->metric_name, &im->metric);
    if (!rc && im->codec_name) rc = cli_codec(im->codec_name, &im->codec);
    im->from.per_tag = im->fill;
    return rc;
}

static const char im_about[] =
    "Takes items and vectors in, all of them or none. The tag of a new file is\n"
    "declared from the data. With --tag, every record has a vector. The payload is what is\n"
    "embedded: whatever changes in it, be it a price, makes an item's vectors stale.\n"
    "\n"
    "The format is that of --format, else told by content (npy by its magic, JSON by a\n"
    "first {\" or [), else by the suffix. Text is UTF-8, a mark before it and CRLF are no\n"
    "matter, a line has 256 MiB at most.\n"
    "  JSON Lines  an object a line: \"id\" (a number) or \"key\" (or \"id\", a string), where\n"
    "              key wins; \"vector\" (or values, embedding); \"data\" (or text, document) or\n"
    "              \"data_base64\"; \"tag\"; \"rev\". Parts: \"vectors\":[{\"vector\",\"off\",\"len\"}].\n"
    "              Of several tags: \"vectors\":{\"TAG\":[..],..}, or \"tag\" in each part. Any other\n"
    "              member is an error, unless --ignore names it.\n"
    "  tsv, text   columns at tabs, else at blanks; csv: at commas, without quotes. The id is\n"
    "              column 1 if its first is a word, or as --ids-column says. Ids are whole\n"
    "              numbers without leading zeros if the first is; else all are keys.\n"
    "  word2vec    a first line of two whole numbers, rows and dim, where the next has so many\n"
    "              numbers, is a count of what follows.\n"
    "  header      a first line without a number. Its column named id, key, word or ..id is the\n"
    "              id. Where it may be one or not, --header or --no-header must say it.\n"
    "  npy         <f4 <f2 <f8 |i1 |u1 of two dimensions, in C order.\n"
    "What comes through a pipe is read to its end before the store is locked.";

static int im_parse(importer *im, int argc, char **argv)
{
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &im->file, "the store; made if there is none", NULL},
        {"INPUT", NULL, CLI_ARG, &im->source,
         ".fvecs .bvecs .npy .jsonl .tsv .csv .txt, or - for standard input", NULL},
        {"--tag", "NAME", CLI_STR, &im->tag, "of the vectors, unless they name their own", NULL},
        {"--metric", "M", CLI_STR, &im->metric_name, "cosine (default), dot or l2", NULL},
        {"--codec", "C", CLI_STR, &im->codec_name, "f32 (default), f16 or i8", NULL},
        {"--format", "F", CLI_STR, &im->from.format, "fvecs, bvecs, npy, jsonl, tsv or csv", NULL},
        {"--ids", "FILE|FIRST", CLI_STR, &im->from.ids,
         "ids or keys of the rows, or the first of running ids; 0", NULL},
        {"--ids-column", "N|last|none", CLI_STR, &im->from.ids_column,
         "the column of text that is the id or key", NULL},
        {"--header", NULL, CLI_FLAG, &im->header, "the first line of text is no row", NULL},
        {"--no-header", NULL, CLI_FLAG, &im->no_header, "it is one", NULL},
        {"--string-ids", NULL, CLI_FLAG, &im->from.string_ids,
         "JSON strings such as \"2024\" are ids; else keys", NULL},
        {"--ignore", "NAME", CLI_LIST, &im->ignored,
         "drop this member of JSON; may be given again", NULL},
        {"--fill", NULL, CLI_FLAG, &im->fill, "add vectors to the items of the file", NULL},
        {"--replace", NULL, CLI_FLAG, &im->replace, "write items, over those of equal id", NULL},
        {"--append", NULL, CLI_FLAG, &im->append, "add items after those of the file", NULL},
        {"--attach", NULL, CLI_FLAG, &im->attach,
         "give items without a payload the text that their vectors were made from", NULL},
        {"--partial", NULL, CLI_FLAG, &im->partial, "skip bad records, naming each", NULL},
        {"--declare", NULL, CLI_FLAG, &im->declare, "declare tags that the file lacks", NULL},
        CLI_END};
    return cli_parse(argc, argv, im_about, opts);
}

static int im_do(importer *im)
{
    size_t i;
    cli_catch();
    im->start_ms = cli_now();
    im_run(im);
    if (im->rc) cli_discard(&im->st, 0); /* no file is left that was created for nothing */
    else cli_close(&im->st);
    input_close(&im->in);
    for (i = 0; i < im->tags_n; i++) free(im->tags[i].name);
    free(im->tags);
    free(im->all);
    cli_list_free(&im->ignored);
    return im->rc;
}

int import_assumed(const import_stamp *s)
{
    importer im;
    int rc;
    memset(&im, 0, sizeof im);
    im.file = s->file;
    im.source = s->source;
    im.tag = s->tag;
    im.metric_name = s->metric;
    im.codec_name = s->codec;
    im.from.format = s->format;
    im.from.ids = s->ids;
    im.from.ids_column = s->ids_column;
    im.fill = s->fill;
    im.append = s->append;
    im.partial = s->partial;
    im.header = s->header;
    im.no_header = s->no_header;
    im.ignored = s->ignored;
    im.declare = 1;
    im.assumed = s->note;
    rc = im_check(&im);
    return rc ? rc : im_do(&im);
}

int cmd_import(int argc, char **argv)
{
    importer im;
    int rc;
    memset(&im, 0, sizeof im);
    rc = im_parse(&im, argc, argv);
    if (rc < 0 && (rc = im_check(&im)) == 0) return im_do(&im);
    cli_list_free(&im.ignored);
    return rc;
}
