/* fuzz_restore.c - dumps that someone edited, restored

   An input is either the text of a dump (first byte 0), or a script that edits the lines
   of a good one: {what, which line, ...}. A dump that restore takes makes a store that
   verify calls good, and whose own dump restores to an equal dump. */
#ifndef VTAG_IMPLEMENTATION
#define VTAG_IMPLEMENTATION
#endif
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "fuzz_tools.h"

enum { FR_LINES = 64, FR_LINE = 2048 };

typedef struct fr_line { char s[FR_LINE]; size_t n; } fr_line;

static fr_line fr_base[FR_LINES], fr_now[FR_LINES], fr_end; /* end: of the good dump */
static uint32_t fr_base_n, fr_n;

/* ---- A good dump -------------------------------------------------------------------- */

static void fr_store(env *e)
{
    vtag_tag a, b;
    vtag_vec v[3];
    vtag_batch *batch;
    vtag_item it = item_of(0, "keyed");
    vtag_policy p;
    vtag_event ev;
    uint64_t rev;
    env_up(e);
    a = declare(e->db, "m@1", 2, VTAG_COSINE);
    b = declare(e->db, "m@2/chunk", 1, VTAG_L2SQ);
    v[0] = v2(a, 1, 2), v[1] = v[2] = v2(b, 3, 4);
    v[1].dim = v[2].dim = 1;
    v[2].off = 3, v[2].len = 4;
    put(e->db, 1, "text", v, 3);
    rev = put(e->db, 2, NULL, v, 1);
    OK(waive(e->db, 2, rev, b, "too long"));
    batch = begin(e->db);
    it.key = "docs/a.txt";
    OK(vtag_put(batch, &it, v, 1));
    OK(vtag_meta_set(batch, "probe", "\xff\x01", 2));
    OK(vtag_commit(batch));
    memset(&p, 0, sizeof p);
    p.gate.min_ppm = 100000;
    p.hold = "held";
    OK(set_policy(e->db, &p, "small"));
    memset(&ev, 0, sizeof ev);
    ev.kind = VTAG_K_SCORE, ev.tag = a, ev.name = "recall", ev.value = 0.5, ev.queries = 80;
    OK(note(e->db, &ev));
    OK(cutover(e->db, b, NULL, NULL));
}

/* The dump of a handle's newest state; free it. */
static char *fr_dump(vtag_db *db, size_t *n)
{
    dump d;
    char *text = NULL;
    memset(&d, 0, sizeof d);
    d.st.db = db;
    d.st.path = "t.vtag";
    d.f = open_memstream(&text, n);
    if (!d.f || vtag_snapshot(db, &d.st.snap)) abort();
    FUZZ_MUST(dump_all(&d) == 0);
    fclose(d.f);
    vtag_release(d.st.snap);
    return text;
}

static void fr_start(void)
{
    env e;
    char *text, *line, *end;
    size_t n;
    if (fr_base_n) return;
    fr_store(&e);
    disk_get()->clock = e.r.clock;
    text = fr_dump(e.db, &n);
    for (line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        fr_line *to = end[1] ? &fr_base[fr_base_n++] : &fr_end;
        to->n = (size_t)(end - line);
        if (fr_base_n == FR_LINES || to->n > FR_LINE / 2) abort();
        memcpy(to->s, line, to->n);
    }
    free(text);
    env_down(&e);
}

/* ---- Editing --------------------------------------------------------------------------- */

/* Puts text where line->s[at, at + n) was. */
static void fr_replace(fr_line *line, size_t at, size_t n, const void *text, size_t m)
{
    if (at > line->n) at = line->n;
    if (n > line->n - at) n = line->n - at;
    if (line->n - n + m >= FR_LINE) return;
    memmove(line->s + at + m, line->s + at + n, line->n - at - n);
    memcpy(line->s + at, text, m);
    line->n = line->n - n + m;
}

/* Where the value of the line's k-th member (counted through all objects) lies. */
static size_t fr_value(const fr_line *line, uint32_t k, size_t *n)
{
    size_t at = 0, from = 0;
    *n = 0;
    for (k++; k && at < line->n; at++)
        if (line->s[at] == ':' && at && line->s[at - 1] == '"') k--, from = at + 1;
    for (at = from; at < line->n && !strchr(",}", line->s[at]); at++) { }
    *n = at - from;
    return from;
}

static const char *fr_word(uint32_t which)
{
    static const char *const words[] = {
        "0", "1", "2", "3", "-1", "18446744073709551615", "18446744073709551614", "4294967295", "4294967296",
        "null", "true", "false", "\"\"", "\"m@1\"", "\"m@2/chunk\"", "\"M@1\"", "1e300", "-0.0", "\"gone\"",
        "\"candidate\"", "\"active\"", "\"standby\"", "\"older\"", "\"dot\"", "\"f16\"", "\"i8\"", "{}", "[]", "[1]",
        "\"AAAAAA==\"", "\"AACAPwAAgD8=\"", "\"AAAAAAAAAAA=\"", "1048833", "1048834", "1049089", "32768", "32769",
        "\"\\u0000\"", "\"cutover\"", "\"rollback\"", "\"retired\"", "\"declared\"", "\"compacted\"", "9007199254740993"};
    return words[which % (sizeof words / sizeof *words)];
}

static void fr_edit(fuzz_in *in)
{
    uint32_t what = fuzz_u8(in), i = fuzz_u8(in) % fr_n, k;
    fr_line *line = &fr_now[i];
    size_t at, n;
    uint8_t bytes[16];
    switch (what % 6) {
    case 0: /* bytes */
        at = fuzz_u16(in) % (line->n + 1);
        n = fuzz_u8(in);
        for (k = 0; k < n >> 4; k++) bytes[k] = (uint8_t)fuzz_u8(in);
        fr_replace(line, at, n & 15, bytes, n >> 4);
        break;
    case 1: /* a value */
    case 2:
        at = fr_value(line, fuzz_u8(in) % 40, &n);
        k = fuzz_u8(in);
        fr_replace(line, at, n, fr_word(k), strlen(fr_word(k)));
        break;
    case 3: /* gone */
        memmove(line, line + 1, (fr_n - i - 1) * sizeof *line);
        if (fr_n > 1) fr_n--;
        break;
    case 4: /* twice */
        k = fuzz_u8(in) % fr_n;
        if (fr_n < FR_LINES) fr_now[fr_n++] = fr_now[k];
        break;
    default: /* elsewhere */
        k = fuzz_u8(in) % fr_n;
        fr_now[FR_LINES - 1] = *line;
        *line = fr_now[k];
        fr_now[k] = fr_now[FR_LINES - 1];
    }
}

/* Whether more was changed than a reader of lines takes off them. */
static int fr_edited(void)
{
    uint32_t i;
    for (i = 0; i < fr_n && i < fr_base_n; i++) {
        const char *s = fr_now[i].s;
        size_t n = fr_now[i].n;
        if (n && s[n - 1] == '\r') n--;
        if (!i && n >= 3 && !memcmp(s, "\xEF\xBB\xBF", 3)) s += 3, n -= 3;
        if (n != fr_base[i].n || memcmp(s, fr_base[i].s, n)) return 1;
    }
    return fr_n != fr_base_n;
}

static size_t fr_text(fuzz_in *in, char *text)
{
    size_t n = 0;
    uint32_t i;
    memcpy(fr_now, fr_base, fr_base_n * sizeof *fr_now);
    fr_n = fr_base_n;
    while (in->n) fr_edit(in);
    for (i = 0; i < fr_n; i++) {
        memcpy(text + n, fr_now[i].s, fr_now[i].n);
        n += fr_now[i].n;
        text[n++] = '\n';
    }
    return n;
}

/* ---- Restoring ---------------------------------------------------------------------------- */

/* As the command does it, on the disk in memory; whether a store came of it. */
static int fr_restore(const char *text, size_t n, int loose)
{
    restore r;
    lines in;
    int rc;
    ft_streams[0].p = (const uint8_t *)text, ft_streams[0].n = n, ft_streams[0].at = 0;
    ft_chunk = 1 << 20;
    lines_from(&in, "dump", 0);
    disk_reset(disk_get(), NULL);
    memset(&r, 0, sizeof r);
    r.input = "dump";
    r.loose = loose;
    rc = restore_into(&r, "t.vtag", &in);
    lines_close(&in);
    while (r.ntags) free(r.tags[--r.ntags].name);
    free(r.tags);
    free(r.v);
    FUZZ_MUST(disk_get()->live == 0);
    return rc == 0;
}

static char *fr_redump(size_t *n)
{
    vtag_db *db = disk_db(disk_get(), "t.vtag", VTAG_EXISTING, 0);
    char *text;
    FUZZ_MUST(db != NULL);
    verify(db);
    FUZZ_MUST(!t_.failed);
    text = fr_dump(db, n);
    vtag_close(db);
    return text;
}

static void fuzz_restore(fuzz_in *in)
{
    static char text[(FR_LINES + 1) * FR_LINE];
    char *once, *twice;
    size_t n, m;
    fr_start();
    cli.quiet = 1;
    if (fuzz_u8(in)) {
        n = fr_text(in, text);
        memcpy(text + n, fr_end.s, fr_end.n); /* which is true of the good one alone */
        text[n + fr_end.n] = '\n';
        FUZZ_MUST(fr_restore(text, n + fr_end.n + 1, 0) == !fr_edited());
    } else {
        n = in->n < sizeof text ? in->n : sizeof text;
        memcpy(text, in->p, n);
    }
    if (!fr_restore(text, n, 1)) return;
    once = fr_redump(&n);
    if (!strncmp(once + 26, ",\"commit\":0,", 12)) { /* an empty store: no commit to restore */
        free(once);
        return;
    }
    FUZZ_MUST(fr_restore(once, n, 0));
    twice = fr_redump(&m);
    if (n != m || memcmp(once, twice, n)) fprintf(stderr, "%.*s---\n%.*s", (int)n, once, (int)m, twice);
    FUZZ_MUST(n == m && !memcmp(once, twice, n));
    free(once);
    free(twice);
}

static const char *const fuzz_restore_seeds[] = {
    "\\01", "\\01\\01\\00\\01\\02", "\\01\\01\\01\\02\\13", "\\01\\03\\05", "\\01\\04\\05\\06", "\\01\\05\\05\\06",
    "\\01\\00\\03\\10\\00\\21ab", "\\01\\01\\06\\01\\05", "\\01\\02\\08\\07\\1d", "\\01\\02\\0a\\04\\12", "\\01\\03\\02\\03\\02",
    "\\00{\"kind\":\"file\",\"version\":1,\"commit\":0,\"revision\":3,\"time\":7,\"rolled_back\":false}\\0a", NULL};

FUZZ_MAIN(restore)
