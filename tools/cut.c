/* cut.c - walks folders, takes their texts and cuts them into items of a few dozen lines. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "json.h"
#include "lines.h"

#define CUT_MAX_FILE ((off_t)1 << 20)
enum { CUT_MAX_DEPTH = 32 };

typedef struct cutter {
    cli_args    paths;
    uint64_t    lines, max;  /* about so many an item; items at most, 0: all */
    uint64_t    items;
} cutter;

static int cut_full(const cutter *c)
{
    return c->max && c->items >= c->max;
}

/* ---- Items ---------------------------------------------------------------------- */

static size_t cut_line_end(const char *text, size_t n, size_t at)
{
    const char *stop = memchr(text + at, '\n', n - at);
    return stop ? (size_t)(stop - text) + 1 : n;
}

static int cut_blank(const char *s, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        if (!strchr(" \t\r\n\f\v", s[i])) return 0;
    }
    return 1;
}

/* Whether there is nothing to find an item by: no four letters in a row. */
static int cut_wordless(const char *s, size_t n)
{
    size_t i, run = 0;
    for (i = 0; i < n && run < 4; i++) {
        unsigned char c = (unsigned char)s[i];
        int letter = c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        run = letter ? run + 1 : 0;
    }
    return run < 4;
}

/* Where the item that begins at `at` ends: at a blank line once it is long enough, or by
   force when it is half as long again. */
static size_t cut_item_end(const cutter *c, const char *text, size_t n, size_t at, uint64_t *count)
{
    *count = 0;
    while (at < n) {
        size_t next = cut_line_end(text, n, at);
        int blank = cut_blank(text + at, next - at);
        ++*count;
        at = next;
        if ((blank && *count >= c->lines) || *count >= c->lines + c->lines / 2) break;
    }
    return at;
}

static void cut_write(const char *path, uint64_t line, const char *text, size_t n)
{
    char key[256], number[24];
    size_t room = sizeof key - 1 - (size_t)snprintf(number, sizeof number, ":%llu",
                                                    (unsigned long long)line);
    size_t len = strlen(path), over = len > room ? len - room : 0;
    while (over && over < len && ((unsigned char)path[over] & 0xC0) == 0x80) over++;
    snprintf(key, sizeof key, "%s%s", path + over, number);
    fputs("{\"key\":", stdout);
    json_write_string(stdout, key, strlen(key));
    fputs(",\"data\":", stdout);
    json_write_string(stdout, text, n);
    puts("}");
}

static void cut_text(cutter *c, const char *path, const char *text, size_t n)
{
    uint64_t line = 1, count;
    size_t at = 0, end;
    for (; at < n && !cut_full(c); at = end, line += count) {
        end = cut_line_end(text, n, at);
        count = 1;
        if (cut_blank(text + at, end - at)) continue; /* items begin with text */
        end = cut_item_end(c, text, n, at, &count);
        if (cut_wordless(text + at, end - at)) continue;
        cut_write(path, line, text + at, end - at);
        c->items++;
    }
}

/* ---- Files and folders ---------------------------------------------------------- */

static void cut_file(cutter *c, const char *path)
{
    const char *text;
    size_t n, mark;
    lines in;
    if (!lines_open(&in, path)) {
        cli_warn("%s; left out", in.error);
        return;
    }
    n = lines_need(&in, (size_t)CUT_MAX_FILE);
    if (in.broken) {
        cli_warn("%s; left out", in.error);
    } else if (n && n < (size_t)CUT_MAX_FILE) {
        text = lines_front(&in);
        mark = n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
        if (!memchr(text, 0, n) && json_utf8(text, n) == n &&
            json_utf8(path, strlen(path)) == strlen(path)) {
            cut_text(c, path, text + mark, n - mark);
        }
    }
    lines_close(&in);
}

static int cut_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder that do not begin with a dot, in order. */
static char **cut_names(const char *path, size_t *n)
{
    DIR *dir = opendir(path);
    char **names = cli_alloc(sizeof *names);
    struct dirent *e;
    *n = 0;
    if (!dir) cli_warn("%s: %s; left out", path, strerror(errno));
    while (dir && (e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.') continue;
        names = cli_grow(names, *n + 1, sizeof *names);
        names[(*n)++] = cli_strdup(e->d_name);
    }
    if (dir) closedir(dir);
    qsort(names, *n, sizeof *names, cut_order);
    return names;
}

static char *cut_join(const char *folder, const char *name)
{
    size_t len = strlen(folder);
    char *path = cli_alloc(len + strlen(name) + 2);
    while (len > 1 && folder[len - 1] == '/') len--;
    memcpy(path, folder, len);
    if (len && path[len - 1] != '/') path[len++] = '/';
    strcpy(path + len, name);
    return path;
}

/* Links within are not followed, so that no file comes twice. */
static void cut_walk(cutter *c, const char *path, int depth)
{
    struct stat sb;
    char **names;
    size_t n, i;
    if (cut_full(c) || (depth ? lstat(path, &sb) : stat(path, &sb))) return;
    if (S_ISREG(sb.st_mode) && sb.st_size < CUT_MAX_FILE) cut_file(c, path);
    if (!S_ISDIR(sb.st_mode) || depth == CUT_MAX_DEPTH) return;
    names = cut_names(path, &n);
    for (i = 0; i < n; i++) {
        char *inner = cut_join(path, names[i]);
        cut_walk(c, inner, depth + 1);
        free(inner);
        free(names[i]);
    }
    free(names);
}

int cmd_cut(int argc, char **argv)
{
    cutter c;
    const cli_opt opts[] = {
        {"PATH", NULL, CLI_ARGS, &c.paths, "folders and files", NULL},
        {"--lines", "N", CLI_U64, &c.lines, "about so many lines an item; 40", NULL},
        {"--max", "N", CLI_U64, &c.max, "stop after so many items", NULL},
        CLI_END};
    int rc, i;
    memset(&c, 0, sizeof c);
    c.lines = 40;
    rc = cli_parse(argc, argv,
                   "Cuts the texts in folders (UTF-8, below 1 MiB) into items, at blank lines,\n"
                   "and writes each as a JSON line of key (\"path:line\") and data, for import.\n"
                   "What has no word in it is left out.",
                   opts);
    if (rc >= 0) return rc;
    if (!c.paths.n) return cli_misuse("cut: PATH is missing");
    if (!c.lines || c.lines > 1000000) return cli_misuse("cut: --lines wants 1 to 1,000,000");
    for (i = 0; i < c.paths.n; i++) {
        struct stat sb;
        if (stat(c.paths.v[i], &sb)) {
            return cli_fail("%s: %s; check the path", c.paths.v[i], strerror(errno));
        }
        cut_walk(&c, c.paths.v[i], 0);
    }
    return CLI_DONE;
}
