/* A path is not a file: links, names that move, rights, and what lies beside a store.

   Real files in a folder of each test's own. Where rights decide, the test is nobody for a
   while, which root alone can become. What an engine does to a folder is asked of the folder:
   it holds what the test put there and the store, and nothing else [I13]. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "engine.h"
#include "test.h"
#include "util.h"
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/time.h>

/* ---- A folder of one's own ------------------------------------------------------ */

static char folder[600];

/* A new folder, which all may use, for the tests that follow. */
static void enter(const char *name)
{
    snprintf(folder, sizeof folder, "%s", t_path(name));
    umask(022);
    REQUIRE(mkdir(folder, 0777) == 0 && chmod(folder, 0777) == 0 && chmod(t_.dir, 0711) == 0);
}

/* The path of a name in it, good until the sixteenth call after. */
static const char *in(const char *name)
{
    static char ring[16][1000];
    static unsigned at;
    char *path = ring[at++ % 16];
    snprintf(path, sizeof ring[0], "%s/%s", folder, name);
    return path;
}

static struct stat stat_at(const char *path)
{
    struct stat st;
    memset(&st, 0, sizeof st);
    CHECK(lstat(path, &st) == 0);
    return st;
}

static unsigned mode_of(const char *path) { return stat_at(path).st_mode & 07777; }
static int is_link(const char *path) { return S_ISLNK(stat_at(path).st_mode); }
static int is_there(const char *path) { struct stat st; return lstat(path, &st) == 0; }

/* How many names the folder holds. */
static int names(void)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    int n = 0;
    REQUIRE(d != NULL);
    while ((e = readdir(d)) != NULL) n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    REQUIRE(f != NULL);
    CHECK(fwrite(p, 1, n, f) == n);
    CHECK(fclose(f) == 0);
}

/* A file's bytes, to be freed. */
static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p;
    REQUIRE(f != NULL);
    *n = (size_t)stat_at(path).st_size;
    if (S_ISLNK(stat_at(path).st_mode)) *n = 0;
    p = malloc(*n + 1);
    REQUIRE(p && fread(p, 1, *n, f) == *n);
    fclose(f);
    return p;
}

static uint64_t sum_of(const char *path)
{
    digest m = {1};
    size_t n;
    uint8_t *p = read_file(path, &n);
    sum_bytes(&m, p, n);
    free(p);
    return m.h;
}

/* As cp does: over what is there, in place. */
static void copy_over(const char *from, const char *to)
{
    size_t n;
    uint8_t *p = read_file(from, &n);
    write_file(to, p, n);
    free(p);
}

/* ---- A store in it ---------------------------------------------------------------- */

static char told[8192]; /* what the log said since it was last emptied */

static void hear(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    size_t n = strlen(told);
    (void)ctx, (void)err, (void)at;
    snprintf(told + n, sizeof told - n, "%s\n", msg);
}

static int heard(const char *words) { return strstr(told, words) != NULL; }

static vtag_err try_open(const char *path, vtag_access access, const vtag_io *io, vtag_db **db)
{
    vtag_open_opts o;
    memset(&o, 0, sizeof o);
    o.access = access;
    o.io = io;
    o.log = hear;
    told[0] = 0;
    return vtag_open(path, &o, db);
}

static vtag_db *open_at(const char *path, vtag_access access)
{
    vtag_db *db = NULL;
    MUST(try_open(path, access, NULL, &db));
    return db;
}

static vtag_err refused(const char *path, vtag_access access)
{
    vtag_db *db = NULL;
    vtag_err err = try_open(path, access, NULL, &db);
    CHECK(db == NULL);
    return err;
}

static vtag_err try_begin(vtag_db *db)
{
    vtag_batch *b = NULL;
    vtag_err err;
    told[0] = 0;
    err = vtag_begin(db, NULL, &b);
    if (!err) vtag_abort(b);
    return err;
}

static vtag_err try_look(vtag_db *db)
{
    vtag_snap *s = NULL;
    vtag_err err;
    told[0] = 0;
    err = vtag_snapshot(db, &s);
    vtag_release(s);
    return err;
}

static void put_item(vtag_db *db, uint64_t id) { put(db, id, "an item", NULL, 0); }

/* A store of one item. */
static vtag_db *newborn(const char *path)
{
    vtag_db *db = open_at(path, VTAG_CREATE);
    put2(db, 1, "the first", declare(db, "m@1", 2, VTAG_COSINE), 1, 0);
    return db;
}

static void newborn_closed(const char *path) { vtag_close(newborn(path)); }
static uint64_t items_in(vtag_db *db) { return stat_of(db).items; }

static uint64_t items_at(const char *path)
{
    vtag_db *db = open_at(path, VTAG_READ);
    uint64_t n = items_in(db);
    verify(db);
    vtag_close(db);
    return n;
}

/* Leaves a quarter of a megabyte that a compaction can free. */
static void waste(vtag_db *db)
{
    size_t n = 256 * 1024;
    char *text = malloc(n);
    vtag_item item = item_of(UINT64_C(1) << 40, "");
    vtag_batch *b = begin(db);
    REQUIRE(text != NULL);
    memset(text, 'w', n);
    item.data = text;
    item.size = n;
    OK(vtag_put(b, &item, NULL, 0));
    OK(vtag_commit(b));
    OK(del(db, item.id));
    free(text);
}

static vtag_err compact(vtag_db *db)
{
    told[0] = 0;
    return vtag_compact(db, NULL, NULL);
}

static vtag_err copy_from(vtag_db *db, const char *path)
{
    vtag_snap *s = look(db);
    vtag_err err;
    told[0] = 0;
    err = vtag_copy(s, path, NULL, NULL);
    vtag_release(s);
    return err;
}

static vtag_err copy_to(const char *store, const char *path)
{
    vtag_db *db = open_at(store, VTAG_READ);
    vtag_err err = copy_from(db, path);
    vtag_close(db);
    return err;
}

/* ---- Links ---------------------------------------------------------------------------- */

/* Two handles by two names of one store: each sees what the other does, before and after
   a compaction by each. */
static void both_names_are_one_store(const char *one, const char *two)
{
    vtag_db *a = open_at(one, VTAG_EXISTING), *b = open_at(two, VTAG_EXISTING);
    uint64_t n = items_in(a), i;
    for (i = 0; i < 3; i++) {
        vtag_db *old = i == 1 ? a : b;
        put_item(a, 10 * n + 2 * i);
        put_item(b, 10 * n + 2 * i + 1);
        CHECK_EQ(items_in(a), n + 2 * i + 2);
        CHECK_EQ(items_in(b), n + 2 * i + 2);
        waste(old);
        OK(compact(old));
    }
    CHECK_EQ(hash_of(a), hash_of(b));
    vtag_close(a);
    vtag_close(b);
    CHECK_EQ(items_at(one), n + 6);
    CHECK_EQ(items_at(two), n + 6);
}

static void a_link_to_a_store_stays_a_link(void)
{
    enter("link");
    newborn_closed(in("real"));
    REQUIRE(symlink(in("real"), in("link")) == 0 && symlink("real", in("near")) == 0);
    both_names_are_one_store(in("link"), in("real"));
    CHECK(is_link(in("link")) && !is_link(in("real")));
    REQUIRE(unlink(in("real")) == 0);
    newborn_closed(in("real"));
    both_names_are_one_store(in("real"), in("near"));
    CHECK(is_link(in("near")) && !is_link(in("real")));
    CHECK_EQ(names(), 3);
}

static void chains_of_links_and_links_to_folders_are_followed(void)
{
    enter("chain");
    REQUIRE(mkdir(in("d"), 0777) == 0 && symlink("d", in("by")) == 0);
    REQUIRE(symlink("by/real", in("one")) == 0 && symlink(in("one"), in("two")) == 0);
    newborn_closed(in("d/real"));
    both_names_are_one_store(in("two"), in("d/real"));
    both_names_are_one_store(in("by/real"), in("by/../one"));
    both_names_are_one_store(in("./d//real"), in("d/../d/./real"));
    CHECK(is_link(in("one")) && is_link(in("two")) && is_link(in("by")));
    CHECK(!is_link(in("d/real")));
    CHECK_EQ(names(), 4);
}

static void a_link_that_leads_nowhere_makes_the_file_where_it_points(void)
{
    enter("dangling");
    REQUIRE(mkdir(in("d"), 0777) == 0 && symlink("d/new", in("one")) == 0);
    REQUIRE(symlink("one", in("two")) == 0 && symlink("no/where", in("lost")) == 0);
    ERR(VTAG_NOTFOUND, refused(in("two"), VTAG_EXISTING));
    ERR(VTAG_NOTFOUND, refused(in("two"), VTAG_READ));
    ERR(VTAG_NOTFOUND, refused(in("lost"), VTAG_CREATE));
    CHECK(heard("lost") && heard("No such file"));
    CHECK(!is_there(in("d/new")));
    newborn_closed(in("two"));
    CHECK(is_there(in("d/new")));
    both_names_are_one_store(in("two"), in("d/new"));
    CHECK(is_link(in("one")) && is_link(in("two")) && is_link(in("lost")));
    CHECK_EQ(names(), 4);
}

static void links_in_a_circle_are_an_error_that_says_so(void)
{
    static const vtag_access access[] = {VTAG_CREATE, VTAG_EXISTING, VTAG_READ};
    size_t i;
    enter("circle");
    REQUIRE(symlink("two", in("one")) == 0 && symlink("one", in("two")) == 0);
    REQUIRE(symlink("self", in("self")) == 0);
    for (i = 0; i < LENGTH(access); i++) {
        ERR(VTAG_IO, refused(in("one"), access[i]));
        CHECK(heard("one") && heard("symbolic links"));
        ERR(VTAG_IO, refused(in("self"), access[i]));
    }
    CHECK_EQ(names(), 3);
}

/* A handle belongs to the store that the link led to when it was opened. */
static void a_link_that_is_turned_elsewhere_turns_no_open_handle(void)
{
    vtag_db *db;
    enter("turned");
    newborn_closed(in("one"));
    newborn_closed(in("two"));
    REQUIRE(symlink("one", in("link")) == 0);
    db = open_at(in("link"), VTAG_EXISTING);
    REQUIRE(unlink(in("link")) == 0 && symlink("two", in("link")) == 0);
    put_item(db, 2);
    waste(db);
    OK(compact(db));
    put_item(db, 3);
    vtag_close(db);
    CHECK_EQ(items_at(in("one")), 3);
    CHECK_EQ(items_at(in("two")), 1);
    CHECK(is_link(in("link")));
    CHECK_EQ(names(), 3);
}

/* As when a full disk makes someone move the store and leave a link in its place. */
static void a_link_that_takes_the_place_of_an_open_store_stays_a_link(void)
{
    vtag_db *old, *other;
    vtag_err err;
    enter("moved-away");
    old = newborn(in("s"));
    REQUIRE(mkdir(in("d"), 0777) == 0 && rename(in("s"), in("d/s")) == 0 && symlink("d/s", in("s")) == 0);
    other = open_at(in("s"), VTAG_EXISTING);
    put_item(old, 2);
    put_item(other, 3);
    waste(old);
    err = compact(old); /* where the link leads, or not at all */
    if (err) CHECK(told[0]);
    CHECK(is_link(in("s")) && !is_link(in("d/s")));
    put_item(old, 4);
    put_item(other, 5);
    CHECK(items_in(old) == 5 && items_in(other) == 5);
    waste(other);
    OK(compact(other));
    put_item(old, 6);
    CHECK(items_in(old) == 6 && items_in(other) == 6);
    vtag_close(old);
    vtag_close(other);
    CHECK(is_link(in("s")) && items_at(in("d/s")) == 6);
    CHECK_EQ(names(), 2);
}

static void a_file_of_two_names_works_by_both_and_is_not_compacted(void)
{
    vtag_db *a, *b;
    uint64_t before;
    enter("hard");
    a = newborn(in("one"));
    REQUIRE(link(in("one"), in("two")) == 0);
    b = open_at(in("two"), VTAG_EXISTING);
    put_item(b, 2);
    put_item(a, 3);
    CHECK(items_in(a) == 3 && items_in(b) == 3);
    waste(a);
    before = sum_of(in("one"));
    ERR(VTAG_DENIED, compact(a));
    CHECK(heard("one") && heard("name"));
    ERR(VTAG_DENIED, compact(b));
    CHECK_EQ(sum_of(in("one")), before);
    CHECK(stat_at(in("one")).st_ino == stat_at(in("two")).st_ino && stat_at(in("one")).st_nlink == 2);
    CHECK_EQ(names(), 2);
    put_item(a, 4);
    REQUIRE(unlink(in("two")) == 0);
    OK(compact(a));
    CHECK_EQ(items_in(a), 4);
    vtag_close(a);
    vtag_close(b);
    CHECK_EQ(names(), 1);
}

/* ---- Names that move while a store is open ------------------------------------------------ */

static void a_relative_path_means_the_file_that_it_meant_at_first(void)
{
    int home = open(".", O_RDONLY | O_DIRECTORY);
    vtag_db *r, *w, *other;
    enter("relative");
    REQUIRE(mkdir(in("away"), 0777) == 0 && chdir(folder) == 0);
    newborn_closed("s.vtag");
    newborn_closed("away/s.vtag");
    r = open_at("s.vtag", VTAG_READ);
    w = open_at("./away/../s.vtag", VTAG_EXISTING);
    other = open_at(in("s.vtag"), VTAG_EXISTING);
    REQUIRE(chdir("away") == 0);
    put_item(other, 2);
    CHECK(items_in(r) == 2 && items_in(w) == 2);
    put_item(w, 3);
    waste(other);
    OK(compact(other));
    CHECK(items_in(r) == 3 && items_in(w) == 3);
    put_item(w, 4);
    waste(w);
    OK(compact(w));
    CHECK(items_in(r) == 4 && items_in(other) == 4);
    OK(copy_from(w, "here.vtag")); /* a new path is taken from where we are now */
    CHECK_EQ(items_at(in("away/here.vtag")), 4);
    CHECK_EQ(items_at(in("away/s.vtag")), 1);
    CHECK(fchdir(home) == 0);
    vtag_close(r);
    vtag_close(w);
    vtag_close(other);
    CHECK_EQ(names(), 2);
    close(home);
}

/* After from became to: who reads goes on, and sees what others commit to the file that it
   has; who writes is told that nothing lies there; when it is back all go on. */
static void moved_while_open(const char *store, const char *from, const char *to, const char *there)
{
    vtag_db *r, *w, *other;
    newborn_closed(store);
    r = open_at(store, VTAG_READ);
    w = open_at(store, VTAG_EXISTING);
    CHECK(items_in(r) == 1 && items_in(w) == 1);
    REQUIRE(rename(from, to) == 0);
    other = open_at(there, VTAG_EXISTING);
    put_item(other, 2);
    CHECK(items_in(r) == 2 && items_in(w) == 2);
    ERR(VTAG_NOTFOUND, try_begin(w));
    CHECK(heard("No such file"));
    ERR(VTAG_NOTFOUND, vtag_flush(w));
    ERR(VTAG_NOTFOUND, vtag_seal(w, NULL, NULL));
    ERR(VTAG_NOTFOUND, compact(w));
    CHECK(!is_there(store));
    waste(other);
    OK(compact(other));
    put_item(other, 3);
    CHECK(items_in(r) >= 2); /* it has the file of before, whole */
    REQUIRE(rename(to, from) == 0);
    put_item(w, 4);
    CHECK(items_in(r) == 4 && items_in(w) == 4);
    vtag_close(r);
    vtag_close(w);
    vtag_close(other);
    CHECK_EQ(items_at(store), 4);
}

static void a_store_that_is_renamed_while_it_is_open_is_read_on(void)
{
    enter("renamed");
    moved_while_open(in("s"), in("s"), in("t"), in("t"));
    CHECK_EQ(names(), 1);
}

static void a_folder_that_is_renamed_while_a_store_is_open_is_the_same(void)
{
    enter("moved");
    REQUIRE(mkdir(in("d"), 0777) == 0 && mkdir(in("d/e"), 0777) == 0);
    moved_while_open(in("d/e/s"), in("d"), in("f"), in("f/e/s"));
    CHECK_EQ(names(), 1);
}

static void a_folder_that_became_a_file_is_the_same(void)
{
    vtag_db *db;
    enter("notdir");
    REQUIRE(mkdir(in("d"), 0777) == 0);
    db = newborn(in("d/s"));
    REQUIRE(rename(in("d"), in("e")) == 0);
    write_file(in("d"), "no folder", 9);
    CHECK_EQ(items_in(db), 1);
    ERR(VTAG_NOTFOUND, try_begin(db));
    vtag_close(db);
    ERR(VTAG_NOTFOUND, refused(in("d/s"), VTAG_CREATE));
}

static void a_store_that_is_deleted_while_it_is_open_is_read_on(void)
{
    vtag_db *r, *w;
    vtag_snap *s;
    enter("deleted");
    w = newborn(in("s"));
    r = open_at(in("s"), VTAG_READ);
    s = look(r);
    REQUIRE(unlink(in("s")) == 0);
    CHECK(items_in(r) == 1 && items_in(w) == 1);
    ERR(VTAG_NOTFOUND, try_begin(w));
    ERR(VTAG_NOTFOUND, compact(w));
    OK(copy_from(r, in("rescued"))); /* nothing is lost before all have closed it */
    newborn_closed(in("s"));
    ERR(VTAG_FORMAT, try_look(r));
    ERR(VTAG_FORMAT, try_begin(w));
    CHECK(heard("another store"));
    REQUIRE(rename(in("rescued"), in("s")) == 0);
    put_item(w, 2);
    CHECK(items_in(r) == 2 && items_in(w) == 2);
    CHECK_EQ(count_items(s, 0, VTAG_ALL), 1);
    vtag_release(s);
    vtag_close(r);
    vtag_close(w);
    CHECK_EQ(names(), 1);
}

static void a_store_that_another_takes_the_place_of_is_not_taken_for_it(void)
{
    vtag_db *r, *w;
    uint64_t before;
    enter("other");
    w = newborn(in("s"));
    r = open_at(in("s"), VTAG_READ);
    newborn_closed(in("t"));
    before = sum_of(in("t"));
    REQUIRE(rename(in("s"), in("mine")) == 0 && rename(in("t"), in("s")) == 0);
    ERR(VTAG_FORMAT, try_look(r));
    CHECK(heard("another store"));
    ERR(VTAG_FORMAT, try_look(w));
    ERR(VTAG_FORMAT, try_begin(w));
    ERR(VTAG_FORMAT, compact(w));
    CHECK_EQ(sum_of(in("s")), before);
    write_file(in("letter"), "Dear vtag,", 10);
    REQUIRE(rename(in("s"), in("t")) == 0 && rename(in("letter"), in("s")) == 0);
    ERR(VTAG_FORMAT, try_look(w));
    REQUIRE(rename(in("mine"), in("s")) == 0);
    put_item(w, 2);
    CHECK(items_in(r) == 2 && items_in(w) == 2);
    vtag_close(r);
    vtag_close(w);
    CHECK_EQ(names(), 2);
}

/* Only where nothing is, was the store deleted. Any other answer is not OK, and not for good. */
static void a_path_that_cannot_be_followed_is_no_deleted_store(void)
{
    vtag_db *r;
    enter("unfollowed");
    REQUIRE(mkdir(in("d"), 0755) == 0);
    newborn_closed(in("d/s"));
    REQUIRE(chmod(in("d/s"), 0666) == 0);
    r = open_at(in("d/s"), VTAG_READ);
    REQUIRE(rename(in("d/s"), in("d/t")) == 0 && symlink("s", in("d/s")) == 0);
    ERR(VTAG_IO, try_look(r));
    CHECK(heard("/s") && heard("symbolic links"));
    REQUIRE(unlink(in("d/s")) == 0 && symlink("nowhere", in("d/s")) == 0);
    CHECK_EQ(items_in(r), 1); /* nothing lies there */
    REQUIRE(unlink(in("d/s")) == 0 && mkdir(in("d/s"), 0755) == 0);
    CHECK(try_look(r) != VTAG_OK);
    REQUIRE(rmdir(in("d/s")) == 0 && rename(in("d/t"), in("d/s")) == 0);
    CHECK_EQ(items_in(r), 1);
    REQUIRE(chmod(in("d"), 0700) == 0);
    if (be_nobody()) {
        ERR(VTAG_DENIED, try_look(r));
        CHECK(heard("/s") && heard("Permission denied"));
        be_root();
    }
    CHECK_EQ(items_in(r), 1);
    vtag_close(r);
}

/* ---- A backup in the place of the store ------------------------------------------------------ */

enum { FEW = 20 };

/* m@1 active with FEW items, m@2 a candidate with none; then a backup, of which one note
   makes the commit that below fills m@2 in the store. */
static void store_and_backup(const char *store, const char *backup, int by_cp)
{
    vtag_db *db = open_at(store, VTAG_CREATE);
    vtag_tag tag = declare(db, "m@1", 2, VTAG_COSINE);
    vtag_batch *b = begin(db);
    vtag_event ev;
    uint64_t id, at;
    for (id = 1; id <= FEW; id++) {
        vtag_vec v = v2(tag, 1, (float)id);
        put_b(b, id, "text", &v, 1);
    }
    OK(vtag_commit(b));
    declare(db, "m@2", 2, VTAG_COSINE);
    OK(vtag_flush(db));
    at = stat_of(db).commit;
    if (by_cp) copy_over(store, backup);
    else OK(copy_from(db, backup));
    vtag_close(db);
    db = open_at(backup, VTAG_EXISTING);
    memset(&ev, 0, sizeof ev);
    ev.text = "goes its own way";
    OK(note(db, &ev));
    CHECK_EQ(stat_of(db).commit, at + 1);
    vtag_close(db);
}

static vtag_tag find(vtag_db *db, const char *name)
{
    vtag_snap *s = look(db);
    vtag_tag tag = 0;
    OK(vtag_find(s, name, &tag));
    vtag_release(s);
    return tag;
}

static void fill_all(vtag_db *db, vtag_tag tag)
{
    vtag_item it[FEW];
    vtag_snap *s = look(db);
    vtag_batch *b = begin(db);
    uint64_t cursor = 0;
    size_t n = 0, i;
    OK(vtag_items(s, tag, VTAG_PENDING, &cursor, it, FEW, &n));
    CHECK_EQ(n, FEW);
    for (i = 0; i < n; i++) {
        vtag_vec v = v2(tag, 1, (float)i);
        OK(vtag_fill(b, &it[i], &v, 1));
    }
    OK(vtag_commit(b));
    vtag_release(s);
}

/* What is remembered of the store must not be said of its backup, which has the same number
   of commits; one made by cp has the same slots too, but for the place where its log ends.
   how: C, made by cp; P, put over the store in place; N, without a mapping. */
static void the_backup_is_believed(const char *how)
{
    int in_place = strchr(how, 'P') != NULL;
    vtag_open_opts o;
    vtag_db *db, *r;
    vtag_tag tag;
    vtag_verdict v;
    uint64_t commit;
    enter(how);
    store_and_backup(in("s"), in("b"), strchr(how, 'C') != NULL);
    memset(&o, 0, sizeof o);
    o.no_map = strchr(how, 'N') != NULL;
    MUST(vtag_open(in("s"), &o, &db));
    o.access = VTAG_READ;
    MUST(vtag_open(in("s"), &o, &r));
    tag = find(db, "m@2");
    fill_all(db, tag);
    CHECK_EQ(cover_of(db, tag, 0).fresh, FEW);
    CHECK_EQ(cover_of(r, tag, 0).fresh, FEW);
    OK(judge(db, tag, NULL, &v));
    CHECK(v.pass);
    commit = stat_of(db).commit;
    if (in_place) copy_over(in("b"), in("s"));
    else REQUIRE(rename(in("b"), in("s")) == 0);
    CHECK_EQ(cover_of(r, tag, 0).fresh, 0);
    CHECK_EQ(cover_of(db, tag, 0).fresh, 0);
    CHECK_EQ(stat_of(db).commit, commit);
    OK(judge(db, tag, NULL, &v));
    CHECK(!v.pass && v.cover.missing == FEW);
    ERR(VTAG_GATE, cutover(db, tag, NULL, &v));
    CHECK_EQ(role_of(db, tag), VTAG_CANDIDATE);
    vtag_close(r);
    vtag_close(db);
    CHECK_EQ(names(), in_place ? 2 : 1);
}

static void a_backup_that_is_renamed_over_an_open_store_is_what_the_gate_judges(void)
{
    joined(spawn(the_backup_is_believed, "over-"));
    joined(spawn(the_backup_is_believed, "over-C"));
    joined(spawn(the_backup_is_believed, "over-N"));
    joined(spawn(the_backup_is_believed, "over-CN"));
}

static void a_backup_that_is_copied_over_an_open_store_is_what_the_gate_judges(void)
{
    joined(spawn(the_backup_is_believed, "over-P"));
    joined(spawn(the_backup_is_believed, "over-CP"));
    joined(spawn(the_backup_is_believed, "over-PN"));
    joined(spawn(the_backup_is_believed, "over-CPN"));
}

/* The same where nobody looks in between, so that the batch is the first to find out. */
static void the_batch_finds_the_backup(const char *how)
{
    vtag_db *db;
    vtag_tag tag;
    enter(how);
    store_and_backup(in("s"), in("b"), strchr(how, 'C') != NULL);
    db = open_at(in("s"), VTAG_EXISTING);
    tag = find(db, "m@2");
    fill_all(db, tag);
    CHECK_EQ(cover_of(db, tag, 0).fresh, FEW);
    if (strchr(how, 'P')) copy_over(in("b"), in("s"));
    else REQUIRE(rename(in("b"), in("s")) == 0);
    ERR(VTAG_GATE, cutover(db, tag, NULL, NULL));
    verify(db);
    vtag_close(db);
}

static void a_backup_that_a_cutover_is_the_first_to_meet_is_what_the_gate_judges(void)
{
    joined(spawn(the_batch_finds_the_backup, "first-"));
    joined(spawn(the_batch_finds_the_backup, "first-C"));
    joined(spawn(the_batch_finds_the_backup, "first-P"));
    joined(spawn(the_batch_finds_the_backup, "first-CP"));
}

/* ---- Descriptors ---------------------------------------------------------------------------- */

/* From here on the process can open nothing more. */
static struct rlimit no_more_files(void)
{
    struct rlimit old = {0, 0}, now;
    int fd = dup(0);
    REQUIRE(fd >= 0 && close(fd) == 0 && getrlimit(RLIMIT_NOFILE, &old) == 0);
    now = old;
    now.rlim_cur = (rlim_t)fd;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &now) == 0);
    return old;
}

static void without_descriptors_a_handle_says_so_and_goes_on_later(void)
{
    struct rlimit old;
    vtag_db *r, *w, *other, *more = NULL;
    enter("descriptors");
    w = newborn(in("s"));
    r = open_at(in("s"), VTAG_READ);
    other = open_at(in("s"), VTAG_EXISTING);
    waste(other);
    OK(compact(other));
    put_item(other, 2);
    old = no_more_files();
    ERR(VTAG_IO, try_look(r));
    CHECK(heard("/s") && heard("Too many open files"));
    ERR(VTAG_IO, try_look(w));
    ERR(VTAG_IO, try_begin(w));
    CHECK(heard("/s") && heard("Too many open files"));
    ERR(VTAG_IO, vtag_flush(w));
    ERR(VTAG_IO, try_open(in("s"), VTAG_READ, NULL, &more));
    CHECK(heard("Too many open files"));
    ERR(VTAG_IO, copy_from(other, in("t")));
    waste(other);
    ERR(VTAG_IO, compact(other));
    REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(items_in(r) == 2 && items_in(w) == 2);
    put_item(w, 3);
    put_item(other, 4);
    OK(compact(w));
    CHECK(items_in(r) == 4 && items_in(other) == 4);
    vtag_close(r);
    vtag_close(w);
    vtag_close(other);
    CHECK_EQ(names(), 1);
}

/* ---- Rights ------------------------------------------------------------------------------------ */

static void a_file_that_may_not_be_opened_is_denied(void)
{
    vtag_db *r, *w;
    enter("denied");
    w = newborn(in("s"));
    if (!be_nobody()) goto out;
    r = open_at(in("s"), VTAG_READ);
    be_root();
    REQUIRE(chmod(in("s"), 0600) == 0);
    waste(w);
    OK(compact(w));
    put_item(w, 2);
    REQUIRE(be_nobody());
    ERR(VTAG_DENIED, try_look(r));
    CHECK(heard("/s") && heard("Permission denied"));
    ERR(VTAG_DENIED, refused(in("s"), VTAG_READ));
    CHECK(heard("/s") && heard("Permission denied"));
    ERR(VTAG_DENIED, refused(in("s"), VTAG_CREATE));
    be_root();
    REQUIRE(chmod(in("s"), 0644) == 0);
    REQUIRE(be_nobody());
    CHECK_EQ(items_in(r), 2);
    ERR(VTAG_DENIED, refused(in("s"), VTAG_EXISTING));
    vtag_close(r);
    be_root();
out:
    vtag_close(w);
}

static void compaction_keeps_mode_owner_and_group(void)
{
    static const unsigned mode[] = {0600, 0640, 0644, 0664, 0400, 0666, 0604};
    static const unsigned mask[] = {077, 022, 0, 0777};
    size_t i;
    enter("mode");
    for (i = 0; i < LENGTH(mode) * LENGTH(mask); i++) {
        vtag_db *db = newborn(in("s"));
        struct stat a, b;
        int root = geteuid() == 0;
        if (root) REQUIRE(chown(in("s"), i % 3 ? NOBODY : 0, i % 2 ? NOBODY : 12) == 0);
        REQUIRE(chmod(in("s"), mode[i % LENGTH(mode)]) == 0);
        waste(db);
        a = stat_at(in("s"));
        umask(mask[i / LENGTH(mode)]);
        OK(compact(db));
        umask(022);
        b = stat_at(in("s"));
        CHECK(a.st_ino != b.st_ino || a.st_size > b.st_size);
        CHECK(a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid);
        vtag_close(db);
        REQUIRE(unlink(in("s")) == 0);
    }
    CHECK_EQ(names(), 0);
}

static void a_new_store_has_the_rights_that_the_umask_leaves(void)
{
    enter("umask");
    umask(077);
    newborn_closed(in("a"));
    umask(027);
    newborn_closed(in("b"));
    umask(022);
    newborn_closed(in("c"));
    CHECK_EQ(mode_of(in("a")), 0600);
    CHECK_EQ(mode_of(in("b")), 0640);
    CHECK_EQ(mode_of(in("c")), 0644);
}

/* Nobody compacts a file of root's, or one of nobody's own in a group that it is not in. */
static void who_cannot_keep_owner_and_group_does_not_compact(void)
{
    int i;
    enter("chown");
    for (i = 0; i < 3; i++) {
        vtag_db *db = newborn(in("s"));
        struct stat a;
        uint64_t sum;
        waste(db);
        vtag_close(db);
        if (geteuid() == 0) REQUIRE(chown(in("s"), i ? NOBODY : 0, i == 1 ? 12 : NOBODY) == 0);
        REQUIRE(chmod(in("s"), 0666) == 0);
        a = stat_at(in("s"));
        if (!be_nobody()) return;
        db = open_at(in("s"), VTAG_EXISTING);
        sum = sum_of(in("s"));
        if (i == 2) { /* all its own: nothing stands in the way */
            OK(compact(db));
            CHECK(stat_at(in("s")).st_ino != a.st_ino);
        } else {
            ERR(VTAG_DENIED, compact(db));
            CHECK(heard("/s") && heard("rights"));
            CHECK_EQ(stat_at(in("s")).st_ino, a.st_ino);
            CHECK_EQ(sum_of(in("s")), sum);
            put_item(db, 2);
        }
        CHECK_EQ(names(), 1);
        vtag_close(db);
        be_root();
        CHECK(stat_at(in("s")).st_mode == a.st_mode && stat_at(in("s")).st_uid == a.st_uid);
        REQUIRE(unlink(in("s")) == 0);
    }
}

/* ---- The system's calls, counted, failed, and looked over the shoulder -------------------------- */

static struct {
    vtag_io io;
    const vtag_io *os;
    int calls, fail_at, half; /* changing calls; the one that fails, and a write halfway */
    int names;                /* calls of sync_name */
    vtag_err named;           /* what they answer */
    int locks;                /* held */
    void (*before)(void);     /* each changing call */
    void (*step)(void);       /* each call at all */
} h;

static void step(void)
{
    if (h.step) h.step();
}

static int fails(void)
{
    step();
    if (h.before) h.before();
    return ++h.calls == h.fail_at;
}

static vtag_err h_open(void *ctx, const char *path, vtag_access access, void **file)
{
    return access != VTAG_READ && fails() ? VTAG_IO : h.os->open(ctx, path, access, file);
}

static vtag_err h_create(void *ctx, const char *path, void *model, void **file)
{
    return fails() ? VTAG_IO : h.os->create(ctx, path, model, file);
}

static vtag_err h_allocate(void *file, uint64_t bytes)
{
    return fails() ? VTAG_NOSPACE : h.os->allocate(file, bytes);
}

static vtag_err h_write(void *file, uint64_t at, const void *p, size_t n)
{
    if (!fails()) return h.os->write(file, at, p, n);
    if (h.half) h.os->write(file, at, p, n / 2);
    return VTAG_IO;
}

static vtag_err h_sync(void *file) { return fails() ? VTAG_IO : h.os->sync(file); }

static vtag_err h_sync_name(void *ctx, const char *path)
{
    h.names++;
    return h.named ? h.named : h.os->sync_name(ctx, path);
}

static vtag_err h_publish(void *ctx, const char *from, const char *to, int replace)
{
    return fails() ? VTAG_IO : h.os->publish(ctx, from, to, replace);
}

static vtag_err h_size(void *file, uint64_t *bytes)
{
    step();
    return h.os->size(file, bytes);
}

static vtag_err h_read(void *file, uint64_t at, void *p, size_t n)
{
    step();
    return h.os->read(file, at, p, n);
}

static vtag_err h_remove(void *ctx, const char *path)
{
    const char *name = strrchr(path, '/');
    CHECK(name && !strncmp(name, "/.vtag-", 7)); /* nothing else is ever ours to remove */
    return h.os->remove(ctx, path);
}

static vtag_err h_lock(void *file, int which, uint32_t wait_ms)
{
    vtag_err err;
    step();
    err = h.os->lock(file, which, wait_ms);
    h.locks += !err;
    return err;
}

static void h_unlock(void *file, int which)
{
    h.locks--;
    h.os->unlock(file, which);
}

static const vtag_io *hooked(void)
{
    memset(&h, 0, sizeof h);
    h.os = engine_io();
    h.io = *h.os;
    h.io.open = h_open;
    h.io.create = h_create;
    h.io.size = h_size;
    h.io.allocate = h_allocate;
    h.io.read = h_read;
    h.io.write = h_write;
    h.io.sync = h_sync;
    h.io.sync_name = h_sync_name;
    h.io.publish = h_publish;
    h.io.remove = h_remove;
    h.io.lock = h_lock;
    h.io.unlock = h_unlock;
    return &h.io;
}

/* ---- Rights of what is still being written -------------------------------------------------------- */

static struct { unsigned mode; uid_t uid; int seen; char name[NAME_MAX + 1]; } model;

/* No name in the folder but the store's may be open to anyone that the store is not. */
static void look_for_wider_rights(void)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        struct stat st = stat_at(in(e->d_name));
        if (!S_ISREG(st.st_mode) || !strcmp(e->d_name, "s")) continue;
        CHECK_EQ(st.st_mode & 07777 & ~model.mode, 0);
        CHECK(st.st_uid == model.uid || st.st_uid == geteuid());
        snprintf(model.name, sizeof model.name, "%s", e->d_name);
        model.seen++;
    }
    if (d) closedir(d);
}

static int look_on(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx, (void)done, (void)total;
    look_for_wider_rights();
    return 0;
}

static void the_new_file_is_never_open_to_more_than_the_old_one(void)
{
    static const unsigned mode[] = {0600, 0640, 0604, 0400, 0644};
    size_t i;
    enter("wider");
    for (i = 0; i < LENGTH(mode); i++) {
        vtag_db *db = NULL;
        vtag_snap *s;
        newborn_closed(in("s"));
        umask(0);
        if (geteuid() == 0) REQUIRE(chown(in("s"), i % 2 ? NOBODY : 0, i % 3 ? NOBODY : 0) == 0);
        MUST(try_open(in("s"), VTAG_EXISTING, hooked(), &db));
        waste(db);
        REQUIRE(chmod(in("s"), mode[i]) == 0);
        model.mode = mode[i];
        model.uid = stat_at(in("s")).st_uid;
        model.seen = 0;
        h.before = look_for_wider_rights;
        s = look(db);
        OK(vtag_copy(s, in("c"), look_on, NULL));
        look_for_wider_rights();
        CHECK(model.seen > 5);
        CHECK(unlink(in("c")) == 0);
        model.seen = 0;
        OK(vtag_compact(db, look_on, NULL));
        CHECK(model.seen > 5);
        h.before = NULL;
        vtag_release(s);
        vtag_close(db);
        CHECK_EQ(names(), 1);
        CHECK(unlink(in("s")) == 0);
    }
}

static void a_copy_of_a_private_store_is_private(void)
{
    enter("private");
    newborn_closed(in("s"));
    REQUIRE(chmod(in("s"), 0600) == 0);
    umask(0);
    OK(copy_to(in("s"), in("c")));
    CHECK_EQ(mode_of(in("c")), 0600);
    if (!be_nobody()) return;
    ERR(VTAG_DENIED, refused(in("c"), VTAG_READ));
    be_root();
    REQUIRE(chown(in("s"), 0, NOBODY) == 0 && chmod(in("s"), 0640) == 0);
    OK(copy_to(in("s"), in("d"))); /* of root's group, which may not read the first */
    CHECK(stat_at(in("d")).st_gid == NOBODY || !(mode_of(in("d")) & 077));
}

static vtag_db *compacted; /* in the middle of a copy, as by another thread; NULL: not */

static vtag_err compact_and_create(void *ctx, const char *path, void *of, void **file)
{
    vtag_db *db = compacted;
    compacted = NULL;
    if (db) waste(db);
    if (db) OK(compact(db));
    return h.os->create(ctx, path, of, file);
}

/* The handle may have moved on to a file that the snapshot knows nothing of, and further. */
static void a_copy_has_the_rights_of_what_its_snapshot_holds(void)
{
    vtag_db *db = NULL;
    vtag_snap *s;
    enter("between");
    newborn_closed(in("s"));
    REQUIRE(chmod(in("s"), 0600) == 0);
    hooked();
    h.io.create = compact_and_create;
    MUST(try_open(in("s"), VTAG_EXISTING, &h.io, &db));
    s = look(db);
    waste(db);
    OK(compact(db));
    put_item(db, 2);
    compacted = db;
    OK(vtag_copy(s, in("c"), NULL, NULL));
    vtag_release(s);
    vtag_close(db);
    CHECK_EQ(items_at(in("c")), 1);
    CHECK_EQ(mode_of(in("c")), 0600);
    CHECK_EQ(names(), 2);
}

/* A folder whose files take its group: neither a copy nor a compaction opens them to it. */
static void a_folder_gives_its_group_no_rights(void)
{
    vtag_db *db = NULL;
    enter("group");
    newborn_closed(in("s"));
    if (geteuid() || chown(folder, 0, NOBODY) || chmod(folder, 02777) || chmod(in("s"), 0660)) {
        printf("skipped: folders of other groups, which root alone can make\n");
        return;
    }
    MUST(try_open(in("s"), VTAG_EXISTING, hooked(), &db));
    OK(copy_from(db, in("c")));
    CHECK(stat_at(in("c")).st_gid == 0 || !(mode_of(in("c")) & 070));
    waste(db);
    OK(compact(db));
    CHECK(stat_at(in("s")).st_gid == 0 && mode_of(in("s")) == 0660);
    vtag_close(db);
    newborn_closed(in("t"));
    CHECK_EQ(stat_at(in("t")).st_gid, NOBODY); /* a new one is as the folder says */
}

/* ---- Copies ----------------------------------------------------------------------------------------- */

static struct { vtag_db *db; const char *to; vtag_err err; int calls; } second;

/* Makes another copy, whole, in the middle of the first. */
static int copy_between(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx, (void)done, (void)total;
    if (second.calls++ == 0) second.err = copy_from(second.db, second.to);
    return 0;
}

/* From two stores, or from one twice. */
static void two_copies_meet(const char *one, const char *two)
{
    vtag_db *db = open_at(one, VTAG_READ);
    vtag_snap *s = look(db);
    vtag_err err;
    second.db = open_at(two, VTAG_READ);
    second.to = in("target");
    second.calls = 0;
    err = vtag_copy(s, second.to, copy_between, NULL);
    CHECK(second.calls > 0);
    CHECK((err == VTAG_OK) + (second.err == VTAG_OK) == 1);
    if (err) CHECK(err == VTAG_EXISTS || err == VTAG_LOCKED);
    else CHECK(second.err == VTAG_EXISTS || second.err == VTAG_LOCKED);
    CHECK_EQ(items_at(in("target")), err ? items_in(second.db) : items_in(db));
    vtag_release(s);
    vtag_close(db);
    vtag_close(second.db);
    CHECK_EQ(names(), 3);
    CHECK(unlink(in("target")) == 0);
}

static void of_two_copies_to_one_name_one_is_whole_and_one_says_so(void)
{
    vtag_db *db;
    enter("meet");
    newborn_closed(in("one"));
    db = newborn(in("two"));
    put_item(db, 2);
    vtag_close(db);
    two_copies_meet(in("one"), in("one"));
    two_copies_meet(in("one"), in("two"));
    two_copies_meet(in("two"), in("one"));
    REQUIRE(mkdir(in("d"), 0777) == 0 && rmdir(in("d")) == 0);
}

enum { COPIERS = 4, CONTESTS = 12 };

static void copier(const char *target)
{
    vtag_db *db = open_at(in("s"), VTAG_READ);
    vtag_err err = copy_from(db, target);
    vtag_close(db);
    if (err && err != VTAG_EXISTS) ERR(VTAG_LOCKED, err);
    if (t_.failed) _exit(2);
    _exit(err == VTAG_OK ? 0 : 1);
}

static void of_many_processes_that_copy_to_one_name_one_wins(void)
{
    int round, i;
    enter("contest");
    newborn_closed(in("s"));
    for (round = 0; round < CONTESTS; round++) {
        pid_t child[COPIERS];
        int status, won = 0;
        for (i = 0; i < COPIERS; i++) child[i] = spawn(copier, in("c"));
        for (i = 0; i < COPIERS; i++) {
            CHECK(waitpid(child[i], &status, 0) == child[i] && WIFEXITED(status) && WEXITSTATUS(status) < 2);
            won += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        }
        CHECK_EQ(won, 1);
        CHECK_EQ(items_at(in("c")), 1);
        CHECK_EQ(names(), 2);
        CHECK(unlink(in("c")) == 0);
    }
}

static void what_is_there_is_not_copied_over(void)
{
    static const char *const taken[] = {"file", "empty", "dir", "fifo", "dangling", "self", "s", "link"};
    uint64_t sum;
    size_t i;
    enter("taken");
    newborn_closed(in("s"));
    write_file(in("file"), "precious", 8);
    write_file(in("empty"), "", 0);
    REQUIRE(mkdir(in("dir"), 0777) == 0 && mkfifo(in("fifo"), 0666) == 0);
    REQUIRE(symlink("nowhere", in("dangling")) == 0 && symlink("self", in("self")) == 0);
    REQUIRE(symlink("file", in("link")) == 0);
    sum = sum_of(in("s"));
    for (i = 0; i < LENGTH(taken); i++) {
        struct stat a = stat_at(in(taken[i])), b;
        ERR(VTAG_EXISTS, copy_to(in("s"), in(taken[i])));
        CHECK(heard(taken[i]));
        b = stat_at(in(taken[i]));
        CHECK(a.st_ino == b.st_ino && a.st_mode == b.st_mode && a.st_size == b.st_size);
        CHECK_EQ(names(), LENGTH(taken));
    }
    CHECK_EQ(sum_of(in("s")), sum);
    CHECK_EQ(stat_at(in("file")).st_size, 8);
    ERR(VTAG_NOTFOUND, copy_to(in("s"), in("no/folder")));
    CHECK(copy_to(in("s"), in("dir/")) != VTAG_OK);
    CHECK(copy_to(in("s"), in("new/")) != VTAG_OK);
    CHECK_EQ(names(), LENGTH(taken));
}

static void what_may_not_be_read_is_not_copied_over(void)
{
    enter("unreadable");
    newborn_closed(in("s"));
    write_file(in("keep"), "precious", 8);
    REQUIRE(chmod(in("keep"), 0600) == 0 && mkdir(in("locked"), 0700) == 0);
    if (!be_nobody()) return;
    ERR(VTAG_EXISTS, copy_to(in("s"), in("keep")));
    OK(copy_to(in("s"), in("mine")));
    be_root();
    CHECK(stat_at(in("keep")).st_uid == 0 && stat_at(in("keep")).st_size == 8);
    CHECK_EQ(names(), 4);
}

/* Not that there is one already: nobody could tell. */
static void a_copy_to_where_nothing_can_be_found_says_why(void)
{
    char name[300];
    enter("why");
    newborn_closed(in("s"));
    memset(name, 'n', 256);
    name[256] = 0;
    ERR(VTAG_IO, copy_to(in("s"), in(name)));
    CHECK(heard("File name too long"));
    REQUIRE(mkdir(in("locked"), 0700) == 0 && symlink("loop", in("loop")) == 0);
    ERR(VTAG_IO, copy_to(in("s"), in("loop/new")));
    CHECK(heard("symbolic links"));
    ERR(VTAG_NOTFOUND, copy_to(in("s"), in("s/new")));
    if (!be_nobody()) return;
    ERR(VTAG_DENIED, copy_to(in("s"), in("locked/new")));
    CHECK(heard("Permission denied"));
    be_root();
    CHECK_EQ(names(), 3);
}

/* ---- What lies beside a store -------------------------------------------------------------------------- */

static const char *const beside[] = {"s.part", "c.part", "s.compact", "s.vtag.compact", "s.tmp", "s.new", "s~",
                                     ".s.swp", "s-journal", "s-wal", "s.lock", ".vtag", ".vtag-.part", "s.bak"};

static void files_beside_a_store_are_left_alone(void)
{
    vtag_db *db;
    size_t i;
    enter("beside");
    db = newborn(in("s"));
    for (i = 0; i < LENGTH(beside); i++) write_file(in(beside[i]), beside[i], strlen(beside[i]));
    OK(copy_from(db, in("c")));
    waste(db);
    OK(compact(db));
    put_item(db, 2);
    vtag_close(db);
    for (i = 0; i < LENGTH(beside); i++) {
        size_t n = 0;
        uint8_t *p = read_file(in(beside[i]), &n);
        CHECK(n == strlen(beside[i]) && !memcmp(p, beside[i], n));
        free(p);
    }
    CHECK_EQ(names(), LENGTH(beside) + 2);
}

/* Even under the very name that the engine takes for its own. */
static void a_file_under_the_engines_own_name_is_left_alone(void)
{
    vtag_db *db = NULL;
    uint64_t sum;
    int i;
    enter("own");
    newborn_closed(in("s"));
    model.mode = 07777;
    MUST(try_open(in("s"), VTAG_EXISTING, hooked(), &db));
    model.uid = geteuid();
    h.before = look_for_wider_rights;
    waste(db);
    OK(vtag_compact(db, look_on, NULL));
    h.before = NULL;
    REQUIRE(model.name[0]);
    CHECK(!strncmp(model.name, ".vtag-", 6) && strstr(model.name, ".part"));
    for (i = 0; i < 3; i++) {
        waste(db);
        if (i == 0) write_file(in(model.name), "mine", 4);
        if (i == 1) newborn_closed(in(model.name)); /* another store */
        if (i == 2) REQUIRE(mkfifo(in(model.name), 0600) == 0);
        sum = i == 2 ? 0 : sum_of(in(model.name));
        (void)compact(db); /* by another name, or not at all */
        (void)copy_from(db, in("c"));
        if (is_there(in("c"))) CHECK(unlink(in("c")) == 0);
        CHECK_EQ(names(), 2);
        if (i == 2) CHECK(S_ISFIFO(stat_at(in(model.name)).st_mode));
        else CHECK_EQ(sum_of(in(model.name)), sum);
        put_item(db, 10 + (uint64_t)i);
        CHECK(unlink(in(model.name)) == 0);
    }
    OK(compact(db));
    vtag_close(db);
    CHECK_EQ(names(), 1);
}

/* Each changing call fails once: the store is as it was, and nothing lies beside it. */
static void what_fails_anywhere_leaves_nothing_beside_the_store(void)
{
    uint64_t before;
    int n, i, silent = 0;
    vtag_db *db;
    enter("fails");
    db = newborn(in("s"));
    waste(db);
    before = hash_of(db);
    vtag_close(db);
    for (i = 0; i < 2; i++) {
        vtag_err err = VTAG_IO;
        for (n = 1; err && n < 200 && !t_.failed; n++) {
            MUST(try_open(in("s"), VTAG_EXISTING, hooked(), &db));
            h.calls = 0;
            h.fail_at = n;
            err = i ? compact(db) : copy_from(db, in("c"));
            silent += err && !told[0];
            h.fail_at = 0;
            CHECK_EQ(hash_of(db), before);
            vtag_close(db);
            CHECK_EQ(names(), err || i ? 1 : 2);
        }
        CHECK(n > 8 && n < 200);
        if (!i) CHECK(unlink(in("c")) == 0);
    }
    CHECK_EQ(items_at(in("s")), 1);
    CHECK_EQ(silent, 0);
}

static int kill_at;

/* Ends the process, as kill -9 does, before its kill_at-th changing call. */
static void die_in_time(void)
{
    if (h.calls + 1 == kill_at) raise(SIGKILL);
}

static void copy_and_die(const char *to)
{
    vtag_db *db = NULL;
    MUST(try_open(in("s"), VTAG_EXISTING, hooked(), &db));
    h.calls = 0;
    h.before = die_in_time;
    OK(copy_from(db, to));
    vtag_close(db);
}

static void compact_and_die(const char *path)
{
    vtag_db *db = NULL;
    MUST(try_open(path, VTAG_EXISTING, hooked(), &db));
    h.calls = 0;
    h.before = die_in_time;
    OK(compact(db));
    vtag_close(db);
}

/* Runs part until it was killed before each call that changes anything; what checks after. */
static void killed_everywhere(void (*part)(const char *path), const char *name, void (*after)(void))
{
    char path[1000];
    int status = 0;
    snprintf(path, sizeof path, "%s", in(name));
    for (kill_at = 1; kill_at < 1000; kill_at++) {
        pid_t child = spawn(part, path);
        CHECK(waitpid(child, &status, 0) == child);
        after();
        if (!WIFSIGNALED(status) || t_.failed) break;
        CHECK_EQ(WTERMSIG(status), SIGKILL);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(kill_at > 8 && kill_at < 1000);
}

static void copy_again(void)
{
    if (is_there(in("c"))) CHECK_EQ(items_at(in("c")), 1); /* its name was the last thing missing */
    else OK(copy_to(in("s"), in("c")));
    CHECK_EQ(items_at(in("c")), 1);
    CHECK_EQ(names(), 2);
    CHECK(unlink(in("c")) == 0);
}

static void a_copy_that_was_killed_stands_in_nobodys_way(void)
{
    enter("killed-copy");
    newborn_closed(in("s"));
    killed_everywhere(copy_and_die, "c", copy_again);
}

static void compact_again(void)
{
    vtag_db *db = open_at(in("s"), VTAG_EXISTING);
    uint64_t before = hash_of(db);
    OK(compact(db));
    CHECK_EQ(hash_of(db), before);
    put_item(db, 2);
    OK(del(db, 2));
    waste(db);
    vtag_close(db);
    CHECK_EQ(items_at(in("s")), 1);
    CHECK_EQ(names(), 1);
}

static void a_compaction_that_was_killed_is_cleared_away_by_the_next(void)
{
    vtag_db *db;
    enter("killed-compaction");
    db = newborn(in("s"));
    waste(db);
    vtag_close(db);
    killed_everywhere(compact_and_die, "s", compact_again);
}

/* ---- Names and folders -------------------------------------------------------------------------------------- */

static void any_name_that_the_system_takes_will_do(void)
{
    char name[300];
    static const size_t length[] = {248, 250, 255};
    size_t i;
    enter("names");
    for (i = 0; i < LENGTH(length); i++) {
        vtag_db *db;
        memset(name, 'n', length[i]);
        name[length[i]] = 0;
        db = newborn(in(name));
        put_item(db, 2);
        waste(db);
        OK(compact(db));
        name[0] = 'c';
        OK(copy_from(db, in(name)));
        vtag_close(db);
        CHECK_EQ(items_at(in(name)), 2);
    }
    CHECK_EQ(names(), 2 * LENGTH(length));
    memset(name, 'n', 256);
    name[256] = 0;
    ERR(VTAG_IO, refused(in(name), VTAG_CREATE));
    CHECK(heard("nnnn") && heard("File name too long"));
    CHECK_EQ(names(), 2 * LENGTH(length));
}

static void names_are_bytes_not_letters(void)
{
    static const char *const name[] = {"\xC3\xBC" "ber \xE2\x82\xAC.vtag", "\xF0\x9F\x97\x83", "\xFF\xFE", "a b\n\t'\"$",
                                       "-", "...", "%s%n", "\xCC\x88u"};
    size_t i;
    enter("bytes");
    for (i = 0; i < LENGTH(name); i++) {
        vtag_db *db = newborn(in(name[i]));
        waste(db);
        OK(compact(db));
        OK(copy_from(db, in("c")));
        vtag_close(db);
        CHECK_EQ(items_at(in(name[i])), 1);
        CHECK(unlink(in("c")) == 0);
    }
    CHECK_EQ(names(), LENGTH(name));
    ERR(VTAG_NOTFOUND, refused(in("u\xCC\x88"), VTAG_READ));
}

/* A path of more bytes than the system takes, and one just below. */
static void a_path_that_is_too_long_is_an_error_that_says_so(void)
{
    char *path = malloc(PATH_MAX + 64);
    size_t n;
    enter("long");
    REQUIRE(path != NULL);
    snprintf(path, PATH_MAX, "%s/", folder);
    for (n = strlen(path); n + 2 < PATH_MAX + 32; n += 2) memcpy(path + n, "./", 2);
    strcpy(path + n, "s");
    ERR(VTAG_IO, refused(path, VTAG_CREATE));
    CHECK(heard("File name too long"));
    n = strlen(folder) + 1;
    for (; n + 2 < PATH_MAX - 16; n += 2) memcpy(path + n, "./", 2);
    strcpy(path + n, "s");
    newborn_closed(path);
    CHECK_EQ(items_at(in("s")), 1);
    CHECK_EQ(names(), 1);
    free(path);
}

static void in_a_folder_that_may_not_be_written_nothing_is_made(void)
{
    vtag_db *db;
    uint64_t sum;
    enter("unwritable");
    db = newborn(in("s"));
    waste(db);
    vtag_close(db);
    REQUIRE(chmod(in("s"), 0666) == 0 && chmod(folder, 0555) == 0);
    sum = sum_of(in("s"));
    if (geteuid() == 0) REQUIRE(chown(in("s"), NOBODY, NOBODY) == 0);
    if (!be_nobody()) goto out;
    ERR(VTAG_DENIED, refused(in("new"), VTAG_CREATE));
    CHECK(heard("new") && heard("Permission denied"));
    ERR(VTAG_DENIED, refused(in("new"), VTAG_NEW));
    ERR(VTAG_DENIED, copy_to(in("s"), in("c")));
    CHECK(heard("Permission denied"));
    db = open_at(in("s"), VTAG_EXISTING);
    ERR(VTAG_DENIED, compact(db));
    CHECK(heard("Permission denied"));
    CHECK_EQ(sum_of(in("s")), sum);
    put_item(db, 2); /* the store itself may be written */
    vtag_close(db);
    be_root();
    CHECK_EQ(items_at(in("s")), 2);
    CHECK_EQ(names(), 1);
out:
    chmod(folder, 0777);
}

static void a_folder_that_may_not_be_listed_is_good_enough(void)
{
    vtag_db *db;
    enter("unlisted");
    REQUIRE(chmod(folder, 0333) == 0);
    if (!be_nobody()) goto out;
    db = newborn(in("s"));
    waste(db);
    OK(compact(db));
    OK(copy_from(db, in("c")));
    put_item(db, 2);
    vtag_close(db);
    CHECK_EQ(items_at(in("s")), 2);
    be_root();
out:
    chmod(folder, 0777);
}

static void a_reader_needs_no_right_to_write(void)
{
    vtag_db *r, *w;
    enter("reader");
    w = newborn(in("s"));
    REQUIRE(chmod(in("s"), 0444) == 0 && chmod(folder, 0555) == 0);
    if (!be_nobody()) goto out;
    r = open_at(in("s"), VTAG_READ);
    CHECK_EQ(items_in(r), 1);
    verify(r);
    ERR(VTAG_READONLY, try_begin(r));
    ERR(VTAG_READONLY, compact(r));
    ERR(VTAG_DENIED, refused(in("s"), VTAG_CREATE));
    be_root();
    put_item(w, 2);
    waste(w);
    OK(compact(w));
    put_item(w, 3);
    REQUIRE(be_nobody());
    CHECK_EQ(items_in(r), 3);
    CHECK_EQ(names(), 1);
    vtag_close(r);
    be_root();
out:
    vtag_close(w);
    chmod(folder, 0777);
}

/* As where a container is given a single file: it cannot be replaced. */
static void a_file_that_is_a_mount_of_its_own_is_used_but_not_compacted(const char *path)
{
    vtag_db *db;
    uint64_t sum;
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount(path, path, NULL, MS_BIND, NULL)) {
        printf("skipped: a file that is a mount, which root alone can make\n");
        fflush(stdout);
        return;
    }
    db = open_at(path, VTAG_EXISTING);
    put_item(db, 2);
    sum = sum_of(path);
    ERR(VTAG_IO, compact(db));
    CHECK(heard(path) && heard("busy"));
    CHECK_EQ(sum_of(path), sum);
    put_item(db, 3);
    CHECK_EQ(items_in(db), 3);
    vtag_close(db);
    CHECK_EQ(names(), 1);
}

static void a_mounted_file_is_not_compacted(void)
{
    vtag_db *db;
    enter("mount");
    db = newborn(in("s"));
    waste(db);
    vtag_close(db);
    fflush(stdout);
    joined(spawn(a_file_that_is_a_mount_of_its_own_is_used_but_not_compacted, in("s")));
    CHECK(items_at(in("s")) >= 1);
    CHECK_EQ(names(), 1);
}

static volatile sig_atomic_t signals;
static void count_signal(int sig) { signals += sig != 0; }

static void a_storm_of_signals_stops_nothing(void)
{
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    struct sigaction act, old;
    vtag_db *db;
    int i;
    enter("signals");
    memset(&act, 0, sizeof act);
    act.sa_handler = count_signal; /* without SA_RESTART */
    db = newborn(in("s"));
    REQUIRE(sigaction(SIGALRM, &act, &old) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (i = 0; i < 20; i++) {
        waste(db);
        if (i % 5 == 4) OK(compact(db));
        if (i % 5 == 3) OK(copy_from(db, in("c")));
        if (i % 5 == 3) CHECK(unlink(in("c")) == 0);
        put_item(db, 2);
    }
    REQUIRE(setitimer(ITIMER_REAL, &never, NULL) == 0 && sigaction(SIGALRM, &old, NULL) == 0);
    CHECK(signals > 0);
    CHECK_EQ(items_in(db), 2);
    vtag_close(db);
    CHECK_EQ(names(), 1);
}

/* ---- Blank files, and what is not -------------------------------------------------------------------------- */

enum { BIRTH = 128 * 1024 }; /* bytes of a new store */

static uint8_t born[BIRTH]; /* 1 where its creation writes */

static vtag_err mark_write(void *file, uint64_t at, const void *p, size_t n)
{
    if (CHECK(at < BIRTH && n <= BIRTH - at)) memset(born + at, 1, n);
    return h.os->write(file, at, p, n);
}

/* Every way to open it refuses the file, which stays as it is. */
static void is_not_ours(const char *path)
{
    uint64_t sum = sum_of(path);
    ERR(VTAG_FORMAT, refused(path, VTAG_CREATE));
    CHECK(told[0]);
    ERR(VTAG_FORMAT, refused(path, VTAG_EXISTING));
    ERR(VTAG_FORMAT, refused(path, VTAG_READ));
    ERR(VTAG_EXISTS, refused(path, VTAG_NEW));
    CHECK_EQ(sum_of(path), sum);
}

static void zeros_before_somebodys_data_are_not_ours(void)
{
    static const size_t zeros[] = {4096, 512, 8192, 65536, 65535, 1, 100000};
    uint8_t *p = calloc(1, 256 * 1024);
    size_t i, j;
    enter("zeros");
    REQUIRE(p != NULL);
    for (i = 0; i < LENGTH(zeros); i++) {
        size_t n = zeros[i] + 60 * 1024;
        memset(p, 0, 256 * 1024);
        for (j = zeros[i]; j < n; j++) p[j] = (uint8_t)(j * 7 + 1);
        write_file(in("f"), p, n);
        is_not_ours(in("f"));
    }
    memset(p, 0, 256 * 1024);
    write_file(in("f"), p, 1000); /* zeros alone, of a length that no creation leaves */
    is_not_ours(in("f"));
    write_file(in("f"), p, 256 * 1024);
    is_not_ours(in("f"));
    CHECK_EQ(names(), 1);
    free(p);
}

static void zeros_with_one_byte_that_creation_does_not_write_are_not_ours(void)
{
    static const size_t size[] = {BIRTH, BIRTH / 2, 8192};
    uint8_t *p = calloc(1, BIRTH);
    vtag_db *db = NULL;
    size_t i, at, tried = 0;
    enter("byte");
    REQUIRE(p != NULL);
    memset(born, 0, sizeof born);
    hooked();
    h.io.write = mark_write;
    MUST(try_open(in("s"), VTAG_NEW, &h.io, &db));
    vtag_close(db);
    for (i = 0; i < LENGTH(size); i++)
        for (at = 0; at < size[i]; at++) {
            if (born[at] || (at % 1021 && at + 1 != size[i] && (!at || !born[at - 1]) && !born[at + 1])) continue;
            p[at] = (uint8_t)(1 + at % 255);
            write_file(in("f"), p, size[i]);
            is_not_ours(in("f"));
            if (t_.failed) fprintf(stderr, "byte %lu of %lu\n", (unsigned long)at, (unsigned long)size[i]);
            if (t_.failed) break;
            p[at] = 0;
            tried++;
        }
    CHECK(tried > 100);
    free(p);
}

static void an_empty_file_is_taken_by_who_may_create(void)
{
    char path[1000];
    vtag_db *db;
    int fd;
    enter("mktemp");
    snprintf(path, sizeof path, "%s", in("t-XXXXXX"));
    fd = mkstemp(path);
    REQUIRE(fd >= 0 && close(fd) == 0);
    ERR(VTAG_EXISTS, refused(path, VTAG_NEW));
    ERR(VTAG_FORMAT, refused(path, VTAG_EXISTING));
    ERR(VTAG_FORMAT, refused(path, VTAG_READ));
    CHECK_EQ(stat_at(path).st_size, 0);
    db = newborn(path);
    waste(db);
    OK(compact(db));
    vtag_close(db);
    CHECK_EQ(items_at(path), 1);
    CHECK_EQ(mode_of(path), 0600);
    CHECK_EQ(names(), 1);
}

/* half: the write that fails has done half of its work. */
static int creation_is_cut_at(int call, int half)
{
    vtag_db *db = NULL;
    vtag_err err;
    uint64_t before = 0;
    hooked();
    h.fail_at = call;
    h.half = half;
    err = try_open(in("s"), VTAG_CREATE, &h.io, &db);
    vtag_close(db);
    if (!err) return 0;
    if (!CHECK(db == NULL && told[0])) printf("call %d: %s\n", call, vtag_strerror(err));
    if (is_there(in("s"))) {
        ERR(VTAG_EXISTS, refused(in("s"), VTAG_NEW));
        before = stat_at(in("s")).st_ino;
    }
    newborn_closed(in("s"));
    if (before) CHECK_EQ(stat_at(in("s")).st_ino, before);
    CHECK_EQ(items_at(in("s")), 1);
    CHECK_EQ(names(), 1);
    CHECK(unlink(in("s")) == 0);
    return 1;
}

static void what_a_creation_left_that_failed_anywhere_is_taken(void)
{
    int half, n;
    enter("cut");
    for (half = 0; half < 2; half++) {
        for (n = 1; creation_is_cut_at(n, half) && n < 100; n++) { }
        CHECK(n > 8 && n < 100);
        CHECK(unlink(in("s")) == 0);
    }
}

/* ---- A creation that another overtakes -------------------------------------------------------------------- */

static struct { int at, steps, done; } overtaken;

/* Opens, writes and closes the store before one step of its creation, where no lock is held. */
static void overtake(void)
{
    if (overtaken.steps++ != overtaken.at || h.locks || !is_there(in("s"))) return;
    newborn_closed(in("s"));
    overtaken.done++;
}

static void a_commit_between_the_steps_of_a_creation_is_never_lost(void)
{
    int done = 0;
    enter("overtaken");
    memset(&overtaken, 0, sizeof overtaken);
    do {
        vtag_db *db = NULL;
        hooked();
        overtaken.steps = overtaken.done = 0;
        h.step = overtake;
        if (!OK(try_open(in("s"), VTAG_CREATE, &h.io, &db))) break;
        h.step = NULL;
        CHECK_EQ(items_in(db), overtaken.done);
        put_item(db, 7);
        vtag_close(db);
        CHECK_EQ(items_at(in("s")), 1 + (uint64_t)overtaken.done);
        CHECK(unlink(in("s")) == 0);
        done += overtaken.done;
    } while (overtaken.at++ < overtaken.steps);
    CHECK(done > 3);
}

enum { CREATORS = 6, BIRTHS = 10 };

static void creator(const char *path)
{
    vtag_db *db = open_at(path, VTAG_CREATE);
    put_item(db, (uint64_t)getpid());
    vtag_close(db);
}

static void of_many_processes_that_create_one_store_none_loses_its_commit(void)
{
    int round, i;
    enter("creators");
    for (round = 0; round < BIRTHS; round++) {
        pid_t child[CREATORS];
        if (round % 2) write_file(in("s"), "", 0); /* as mktemp leaves it */
        for (i = 0; i < CREATORS; i++) child[i] = spawn(creator, in("s"));
        for (i = 0; i < CREATORS; i++) joined(child[i]);
        CHECK_EQ(items_at(in("s")), CREATORS);
        CHECK_EQ(names(), 1);
        CHECK(unlink(in("s")) == 0);
    }
}

/* ---- Names that last ------------------------------------------------------------------------------------------ */

static void who_commits_first_makes_the_name_last(void)
{
    vtag_db *db = NULL, *other;
    enter("durable");
    newborn_closed(in("s"));
    MUST(try_open(in("s"), VTAG_CREATE, hooked(), &db));
    CHECK_EQ(h.names, 0);
    put_item(db, 2);
    CHECK_EQ(h.names, 1);
    put_item(db, 3);
    OK(vtag_flush(db));
    CHECK_EQ(h.names, 1);
    other = open_at(in("s"), VTAG_EXISTING);
    waste(other);
    OK(compact(other));
    put_item(db, 4); /* of another file, by the same name */
    CHECK_EQ(h.names, 2);
    put_item(db, 5);
    CHECK_EQ(h.names, 2);
    vtag_close(other);
    waste(db);
    h.names = 0;
    OK(compact(db));
    put_item(db, 6);
    put_item(db, 7);
    CHECK(h.names <= 1);
    vtag_close(db);
}

static void without_syncs_a_flush_makes_the_name_last(void)
{
    vtag_open_opts o;
    vtag_db *db = NULL;
    enter("flush");
    newborn_closed(in("s"));
    memset(&o, 0, sizeof o);
    o.io = hooked();
    o.durability = VTAG_NO_SYNC;
    MUST(vtag_open(in("s"), &o, &db));
    put_item(db, 2);
    CHECK_EQ(h.names, 0);
    OK(vtag_flush(db));
    CHECK_EQ(h.names, 1);
    OK(vtag_flush(db));
    CHECK_EQ(h.names, 1);
    vtag_close(db);
}

static void a_commit_whose_name_cannot_be_made_to_last_is_not_ok(void)
{
    vtag_db *db = NULL;
    vtag_batch *b;
    enter("undurable");
    newborn_closed(in("s"));
    MUST(try_open(in("s"), VTAG_EXISTING, hooked(), &db));
    h.named = VTAG_IO;
    b = begin(db);
    put_b(b, 2, "x", NULL, 0);
    told[0] = 0;
    ERR(VTAG_IO, vtag_commit(b));
    CHECK(heard("/s"));
    ERR(VTAG_IO, try_begin(db)); /* the file may hold the commit, or not */
    vtag_close(db);
    CHECK(items_at(in("s")) <= 2);
    CHECK_EQ(names(), 1);
}

/* ---- A file that a compaction replaced ----------------------------------------------------------------------- */

/* Keeps the old file by a second name, which it gets when all checks are over. */
static int keep_old(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx, (void)done, (void)total;
    if (!is_there(in("old"))) CHECK(link(in("s"), in("old")) == 0);
    return 0;
}

static void a_file_that_a_compaction_replaced_can_only_be_read(void)
{
    uint64_t sum;
    vtag_db *db, *r, *w;
    enter("superseded");
    db = newborn(in("s"));
    waste(db);
    OK(vtag_compact(db, keep_old, NULL));
    put_item(db, 2);
    CHECK(stat_at(in("s")).st_ino != stat_at(in("old")).st_ino);
    sum = sum_of(in("old"));
    ERR(VTAG_READONLY, refused(in("old"), VTAG_EXISTING));
    CHECK(heard("compaction"));
    ERR(VTAG_READONLY, refused(in("old"), VTAG_CREATE));
    CHECK(heard("compaction"));
    copy_over(in("old"), in("copy")); /* nor may its bytes under another name */
    ERR(VTAG_READONLY, refused(in("copy"), VTAG_EXISTING));
    CHECK_EQ(items_at(in("copy")), 1);
    CHECK(unlink(in("copy")) == 0);
    r = open_at(in("old"), VTAG_READ);
    CHECK_EQ(items_in(r), 1);
    verify(r);
    OK(copy_from(r, in("revived")));
    vtag_close(r);
    CHECK_EQ(sum_of(in("old")), sum);
    w = open_at(in("revived"), VTAG_CREATE); /* a copy of it is a store like any other */
    put_item(w, 3);
    CHECK_EQ(items_in(w), 2);
    vtag_close(w);
    vtag_close(db);
    CHECK_EQ(names(), 3);
}

/* Put back in the place of what replaced it, it is still not written. */
static void a_replaced_file_that_is_put_back_is_not_written(void)
{
    vtag_db *db;
    enter("put-back");
    db = newborn(in("s"));
    waste(db);
    OK(vtag_compact(db, keep_old, NULL));
    put_item(db, 2);
    REQUIRE(rename(in("old"), in("s")) == 0);
    ERR(VTAG_READONLY, try_begin(db));
    CHECK(heard("compaction"));
    ERR(VTAG_READONLY, compact(db));
    vtag_close(db);
    CHECK_EQ(items_at(in("s")), 1);
    CHECK_EQ(names(), 1);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_link_to_a_store_stays_a_link);
    RUN(chains_of_links_and_links_to_folders_are_followed);
    RUN(a_link_that_leads_nowhere_makes_the_file_where_it_points);
    RUN(links_in_a_circle_are_an_error_that_says_so);
    RUN(a_link_that_is_turned_elsewhere_turns_no_open_handle);
    RUN(a_link_that_takes_the_place_of_an_open_store_stays_a_link);
    RUN(a_file_of_two_names_works_by_both_and_is_not_compacted);
    RUN(a_relative_path_means_the_file_that_it_meant_at_first);
    RUN(a_store_that_is_renamed_while_it_is_open_is_read_on);
    RUN(a_folder_that_is_renamed_while_a_store_is_open_is_the_same);
    RUN(a_folder_that_became_a_file_is_the_same);
    RUN(a_store_that_is_deleted_while_it_is_open_is_read_on);
    RUN(a_store_that_another_takes_the_place_of_is_not_taken_for_it);
    RUN(a_path_that_cannot_be_followed_is_no_deleted_store);
    RUN(a_backup_that_is_renamed_over_an_open_store_is_what_the_gate_judges);
    RUN(a_backup_that_is_copied_over_an_open_store_is_what_the_gate_judges);
    RUN(a_backup_that_a_cutover_is_the_first_to_meet_is_what_the_gate_judges);
    RUN(without_descriptors_a_handle_says_so_and_goes_on_later);
    RUN(a_file_that_may_not_be_opened_is_denied);
    RUN(compaction_keeps_mode_owner_and_group);
    RUN(a_new_store_has_the_rights_that_the_umask_leaves);
    RUN(who_cannot_keep_owner_and_group_does_not_compact);
    RUN(the_new_file_is_never_open_to_more_than_the_old_one);
    RUN(a_copy_of_a_private_store_is_private);
    RUN(a_copy_has_the_rights_of_what_its_snapshot_holds);
    RUN(a_folder_gives_its_group_no_rights);
    RUN(of_two_copies_to_one_name_one_is_whole_and_one_says_so);
    RUN(of_many_processes_that_copy_to_one_name_one_wins);
    RUN(what_is_there_is_not_copied_over);
    RUN(what_may_not_be_read_is_not_copied_over);
    RUN(a_copy_to_where_nothing_can_be_found_says_why);
    RUN(files_beside_a_store_are_left_alone);
    RUN(a_file_under_the_engines_own_name_is_left_alone);
    RUN(what_fails_anywhere_leaves_nothing_beside_the_store);
    RUN(a_copy_that_was_killed_stands_in_nobodys_way);
    RUN(a_compaction_that_was_killed_is_cleared_away_by_the_next);
    RUN(any_name_that_the_system_takes_will_do);
    RUN(names_are_bytes_not_letters);
    RUN(a_path_that_is_too_long_is_an_error_that_says_so);
    RUN(in_a_folder_that_may_not_be_written_nothing_is_made);
    RUN(a_folder_that_may_not_be_listed_is_good_enough);
    RUN(a_reader_needs_no_right_to_write);
    RUN(a_mounted_file_is_not_compacted);
    RUN(a_storm_of_signals_stops_nothing);
    RUN(zeros_before_somebodys_data_are_not_ours);
    RUN(zeros_with_one_byte_that_creation_does_not_write_are_not_ours);
    RUN(an_empty_file_is_taken_by_who_may_create);
    RUN(what_a_creation_left_that_failed_anywhere_is_taken);
    RUN(a_commit_between_the_steps_of_a_creation_is_never_lost);
    RUN(of_many_processes_that_create_one_store_none_loses_its_commit);
    RUN(who_commits_first_makes_the_name_last);
    RUN(without_syncs_a_flush_makes_the_name_last);
    RUN(a_commit_whose_name_cannot_be_made_to_last_is_not_ok);
    RUN(a_file_that_a_compaction_replaced_can_only_be_read);
    RUN(a_replaced_file_that_is_put_back_is_not_written);
    return t_end();
}
