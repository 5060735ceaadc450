/* first.c - a process that opens a store, answers one query and ends: first STORE QUERIES K
   Prints the time of the open and of everything since main, in nanoseconds, and the nearest id. */
#define _POSIX_C_SOURCE 200809L
#define VTAG_IMPLEMENTATION
#define VTAG_STATIC
#include "../vtag.h"
#undef _GNU_SOURCE
#include "peer.h"

int main(int argc, char **argv) {
    uint64_t start = peer_now(), opened;
    vtag_open_opts o = {0};
    vtag_hit hits[PEER_K];
    vtag_vec q = {0};
    peer_matrix m;
    vtag_db *db;
    vtag_snap *s;
    vtag_info tag;
    vtag_err err;
    size_t n = 0, k = argc == 4 ? (size_t)atol(argv[3]) : 0;
    if (!k || k > PEER_K || !peer_map(argv[2], &m)) return 2;
    o.access = VTAG_READ;
    err = vtag_open(argv[1], &o, &db);
    opened = peer_now();
    if (!err) err = vtag_snapshot(db, &s);
    if (!err) err = vtag_tag_info(s, 0, &tag);
    q.tag = err ? 0 : tag.tag;
    q.dim = (uint32_t)m.dim;
    q.x = m.x;
    if (!err) err = vtag_search(s, q, NULL, k, hits, &n);
    if (err || !n) return 1;
    printf("%llu %llu %llu\n", (unsigned long long)(opened - start),
           (unsigned long long)(peer_now() - start), (unsigned long long)hits[0].id);
    fflush(stdout);
    vtag_release(s);
    vtag_close(db);
    return 0;
}
