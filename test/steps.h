/* steps.h - a workload whose every state can be told from a number

   Step i is one commit, made of i alone; its number lies in the file's metadata, and
   from it alone follows what every item must hold. For tests that end a workload by
   force and look at what is left. Include it after vtag.h and test.h. */
#ifndef VTAG_TEST_STEPS_H
#define VTAG_TEST_STEPS_H

enum { ITEMS = 24, DIM = 5 };

/* The step, at most `now`, that last wrote the item; 0: none did. A step writes three
 * items, and every seventh deletes one. */
static uint64_t writer_of(uint64_t item, uint64_t now, int *deleted)
{
    uint64_t i;
    *deleted = 0;
    for (i = now; i && now - i < 4 * ITEMS; i--) {
        if (i % 7 == 0 && item == i / 7 % ITEMS) {
            *deleted = 1;
            return i;
        }
        if (item == i % ITEMS || item == (i * 5 + 1) % ITEMS) return i;
        if (item == (i * 11 + 2) % ITEMS) return i;
    }
    return 0;
}

static size_t text_of(uint64_t item, uint64_t i, char *to, size_t cap)
{
    int n = snprintf(to, cap, "item %u as of step %llu", (unsigned)item, (unsigned long long)i);
    size_t extra = (size_t)(i * 37 % 400);
    memset(to + n, 'a' + (int)(i % 26), extra);
    return (size_t)n + extra;
}

static void vector_of(uint64_t item, uint64_t i, float *x)
{
    uint64_t seed = item << 32 | i;
    int j;
    for (j = 0; j < DIM; j++) x[j] = t_float(&seed) + 2;
}

static vtag_err put_item(vtag_batch *b, vtag_tag tag, uint64_t id, uint64_t i)
{
    char text[600];
    float x[DIM];
    vtag_item item;
    vtag_vec v = {0, DIM, NULL, 0, 0};
    memset(&item, 0, sizeof item);
    item.id = id;
    item.size = text_of(id, i, text, sizeof text);
    item.data = text;
    vector_of(id, i, x);
    v.tag = tag;
    v.x = x;
    return vtag_put(b, &item, &v, 1);
}

static vtag_err commit_step(vtag_db *db, vtag_tag tag, uint64_t i)
{
    const uint64_t ids[3] = {(i * 11 + 2) % ITEMS, (i * 5 + 1) % ITEMS, i % ITEMS};
    vtag_batch *b;
    int j;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err != VTAG_OK) return err;
    for (j = 0; j < 3 && err == VTAG_OK; j++) err = put_item(b, tag, ids[j], i);
    if (err == VTAG_OK && i % 7 == 0) {
        err = vtag_del(b, i / 7 % ITEMS);
        if (err == VTAG_NOTFOUND) err = VTAG_OK;
    }
    if (err == VTAG_OK) err = vtag_meta_set(b, "step", &i, sizeof i);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

static vtag_err last_step(vtag_db *db, uint64_t *i, vtag_tag *tag)
{
    vtag_snap *s;
    const void *p;
    size_t n;
    vtag_err err = vtag_snapshot(db, &s);
    if (err != VTAG_OK) return err;
    *i = 0;
    err = vtag_find(s, "words@1", tag);
    if (err == VTAG_OK && vtag_meta_get(s, "step", &p, &n) == VTAG_OK) memcpy(i, p, sizeof *i);
    vtag_release(s);
    return err;
}

/* What goes along with some steps, once they are acknowledged; db may be opened anew. */
static vtag_err tidy_step(vtag_db **db, const char *path, const vtag_open_opts *opts, uint64_t i)
{
    vtag_err err = VTAG_OK;
    if (i % 50 == 49) err = vtag_compact(*db, NULL, NULL);
    if (err == VTAG_OK && i % 23 == 22) err = vtag_seal(*db, NULL, NULL);
    if (err == VTAG_OK && i % 31 == 30) {
        vtag_close(*db);
        *db = NULL;
        err = vtag_open(path, opts, db);
    }
    return err;
}

static void check_item(const vtag_snap *s, vtag_tag tag, uint64_t id, uint64_t now)
{
    char text[600];
    float x[DIM], stored[DIM];
    int deleted;
    uint64_t i = writer_of(id, now, &deleted);
    vtag_item item;
    if (deleted || !i) {
        ERR(VTAG_NOTFOUND, vtag_get(s, id, &item));
        return;
    }
    if (!OK(vtag_get(s, id, &item))) return;
    CHECK_EQ(item.size, text_of(id, i, text, sizeof text));
    CHECK(item.size && !memcmp(item.data, text, item.size));
    vector_of(id, i, x);
    if (OK(vtag_vector(s, id, tag, 0, stored, DIM, NULL))) CHECK(!memcmp(x, stored, sizeof x));
}

/* The step that the file holds, after all of it was compared. */
static uint64_t check_file(vtag_db *db, vtag_tag *tag)
{
    uint64_t now = 0, id;
    vtag_snap *s;
    vtag_report report;
    MUST(last_step(db, &now, tag));
    MUST(vtag_snapshot(db, &s));
    for (id = 0; id < ITEMS; id++) check_item(s, *tag, id, now);
    OK(vtag_verify(s, &report, NULL, NULL));
    vtag_release(s);
    return now;
}

static void newborn(const char *path)
{
    vtag_spec spec;
    vtag_db *db;
    vtag_batch *b;
    vtag_tag tag;
    memset(&spec, 0, sizeof spec);
    spec.name = "words@1";
    spec.dim = DIM;
    MUST(vtag_open(path, NULL, &db));
    MUST(vtag_begin(db, NULL, &b));
    MUST(vtag_declare(b, &spec, &tag));
    MUST(vtag_commit(b));
    vtag_close(db);
}

#endif
