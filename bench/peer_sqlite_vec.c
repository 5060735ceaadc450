/* peer_sqlite_vec.c - sqlite-vec, its extension as npm ships it: peer_sqlite_vec PATH/OF/vec0.so
   Unit rows are ranked by L2, which orders them as cosine does and is its faster metric. */
#define _POSIX_C_SOURCE 200809L
#include <sqlite3.h>
#include "peer.h"

static const char *extension;
static sqlite3 *db;
static sqlite3_stmt *select_k;

static int fail(peer *p) {
    p->why = db ? sqlite3_errmsg(db) : "cannot be opened";
    return -1;
}

static int open_db(peer *p) {
    if (sqlite3_open(p->store, &db)) return fail(p);
    sqlite3_enable_load_extension(db, 1);
    return sqlite3_load_extension(db, extension, "sqlite3_vec_init", NULL) ? fail(p) : 0;
}

static int put_all(peer *p) {
    size_t i, bytes = p->base.dim * 4;
    sqlite3_stmt *put;
    int rc = 0;
    if (sqlite3_prepare_v2(db, "insert into v(rowid, x) values (?, ?)", -1, &put, NULL))
        return fail(p);
    for (i = 0; i < p->base.n && !rc; i++) {
        sqlite3_bind_int64(put, 1, (sqlite3_int64)i);
        sqlite3_bind_blob(put, 2, p->base.x + i * p->base.dim, (int)bytes, SQLITE_STATIC);
        if (sqlite3_step(put) != SQLITE_DONE) rc = fail(p);
        sqlite3_reset(put);
    }
    sqlite3_finalize(put);
    return rc;
}

/* One transaction, synced. */
static int ingest(peer *p, uint64_t *ns, uint64_t *bytes) {
    char sql[128];
    struct stat st;
    uint64_t t;
    int rc;
    remove(p->store);
    snprintf(sql, sizeof sql, "create virtual table v using vec0(x float[%lu])",
             (unsigned long)p->base.dim);
    t = peer_now();
    if (open_db(p)) return -1;
    rc = sqlite3_exec(db, "pragma synchronous = full; begin", NULL, NULL, NULL);
    if (!rc) rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (!rc) rc = put_all(p);
    if (!rc) rc = sqlite3_exec(db, "commit", NULL, NULL, NULL);
    if (rc) return fail(p);
    sqlite3_close(db);
    *ns = peer_now() - t;
    if (stat(p->store, &st)) return -1;
    *bytes = (uint64_t)st.st_size;
    return 0;
}

static const char *version(void) {
    static char text[32] = "?";
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, "select vec_version()", -1, &s, NULL)) return text;
    if (sqlite3_step(s) == SQLITE_ROW)
        snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    return text;
}

static int load(peer *p) {
    if (open_db(p)) return -1;
    sqlite3_exec(db, "pragma mmap_size = 2000000000; pragma cache_size = -400000", NULL, NULL,
                 NULL);
    snprintf(p->text, sizeof p->text, "sqlite-vec %s of npm, no AVX, on SQLite %s, mapped",
             version(), sqlite3_libversion());
    return sqlite3_prepare_v2(db, "select rowid, distance from v where x match ? and k = ?", -1,
                              &select_k, NULL)
               ? fail(p)
               : 0;
}

static int search_one(peer *p, size_t q, peer_hit *hits, size_t k) {
    size_t j = 0;
    int rc;
    sqlite3_bind_blob(select_k, 1, p->queries.x + q * p->queries.dim, (int)p->queries.dim * 4,
                      SQLITE_STATIC);
    sqlite3_bind_int64(select_k, 2, (sqlite3_int64)k);
    while ((rc = sqlite3_step(select_k)) == SQLITE_ROW && j < k) {
        hits[j].id = (uint64_t)sqlite3_column_int64(select_k, 0);
        hits[j].dist = (float)sqlite3_column_double(select_k, 1);
        hits[j++].zero = 0;
    }
    sqlite3_reset(select_k);
    return rc == SQLITE_DONE ? 0 : fail(p);
}

static int search(peer *p, size_t from, size_t n, size_t k) {
    size_t i;
    int rc = 0;
    for (i = 0; i < n && !rc; i++) rc = search_one(p, from + i, p->hits + i * k, k);
    return rc;
}

int main(int argc, char **argv) {
    peer p;
    if (argc != 2) return 2;
    extension = argv[1];
    memset(&p, 0, sizeof p);
    p.load = load;
    p.search = search;
    p.ingest = ingest;
    return peer_run(&p);
}
