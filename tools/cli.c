/* cli.c - options, errors, stores and tags of the command line; see cli.h. */
#define _XOPEN_SOURCE 700 /* POSIX of 2008, and realpath */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <pwd.h>
#include <unistd.h>

#include "stop.h"

enum { CLI_DETAIL = 4700 };  /* bytes of a line of the engine's log: a path and some words */

cli_globals cli = {"vtag", 10000, NULL, NULL, 0, 0, 0};

/* ---- Memory ---------------------------------------------------------------- */

void *cli_grow(void *p, size_t n, size_t size)
{
    void *q = NULL;
    if (size == 0 || n <= SIZE_MAX / size) q = realloc(p, n * size + 1);
    if (!q) exit(cli_nomem()); /* atexit prints it */
    return q;
}

void *cli_alloc(size_t n)
{
    return memset(cli_grow(NULL, n, 1), 0, n + 1);
}

char *cli_strdup(const char *s)
{
    size_t n = strlen(s);
    return memcpy(cli_grow(NULL, n + 1, 1), s, n + 1);
}

/* ---- Errors ---------------------------------------------------------------- */

static pthread_mutex_t cli_log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct { char text[CLI_DETAIL]; vtag_err err; FILE *to; } cli_log;

/* Keeps the newest line, but not one without a path after one of the same error with it: that
   has the system's words, and this tells what came of it. */
static void cli_log_call(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    char where[40] = "";
    (void)ctx;
    if (!msg) msg = "";
    if (at && at != UINT64_MAX) {
        snprintf(where, sizeof where, " (at %llu)", (unsigned long long)at);
    }
    pthread_mutex_lock(&cli_log_lock);
    if (cli_log.to) {
        fprintf(cli_log.to, "%s%s\n", *msg ? msg : vtag_strerror(err), where);
    } else if (cli_log.err != err || !strchr(cli_log.text, '/') || strchr(msg, '/')) {
        snprintf(cli_log.text, sizeof cli_log.text, "%s%s", msg, where);
        cli_log.err = err;
    }
    pthread_mutex_unlock(&cli_log_lock);
}

/* Takes the line that came with err out of the log; "" if there was none. */
static void cli_log_take(vtag_err err, char *text, size_t size)
{
    pthread_mutex_lock(&cli_log_lock);
    snprintf(text, size, "%s", cli_log.err == err ? cli_log.text : "");
    cli_log.text[0] = '\0';
    cli_log.err = VTAG_OK;
    pthread_mutex_unlock(&cli_log_lock);
}

int cli_told(void)
{
    char text[CLI_DETAIL];
    cli_log_take(VTAG_OK, text, sizeof text);
    return text[0] != '\0';
}

void cli_log_to(FILE *f)
{
    pthread_mutex_lock(&cli_log_lock);
    cli_log.to = f;
    pthread_mutex_unlock(&cli_log_lock);
}

/* What was said while a batch is open: nobody has to read it before others get the lock. */
static struct { char *text; size_t n; int batches; } cli_late;

/* Prints to standard error. Somebody who reads slowly is waited for, but not after a wish to
   stop. */
static void cli_put(const char *text, size_t n)
{
    struct pollfd p = {2, POLLOUT, 0};
    int late = 0;
    fflush(stdout);
    while (poll(&p, 1, 200) == 0) {
        if (cli_stopped() && ++late > 5) return;
    }
    fwrite(text, 1, n, stderr);
}

static void cli_late_put(void)
{
    if (cli_late.n) cli_put(cli_late.text, cli_late.n);
    free(cli_late.text);
    cli_late.text = NULL;
    cli_late.n = 0;
}

/* Prints one line, after the batch if one is open: whatever would break it becomes a question
   mark. */
static void cli_line_out(const char *text)
{
    size_t i, n = strlen(text), at = cli_late.n;
    char *line = realloc(cli_late.text, at + n + sizeof "vtag: \n");
    if (!line) {
        fputs("vtag: out of memory\n", stderr);
        return;
    }
    at += (size_t)snprintf(line + at, 7, "vtag: ");
    for (i = 0; i < n; i++) line[at++] = iscntrl((unsigned char)text[i]) ? '?' : text[i];
    line[at++] = '\n';
    cli_late.text = line;
    cli_late.n = at;
    if (!cli_late.batches) cli_late_put();
}

static void cli_vsay(const char *fmt, va_list ap, const char *tail)
{
    char text[2 * CLI_DETAIL];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n >= 0 && (size_t)n < sizeof text && tail) {
        snprintf(text + n, sizeof text - (size_t)n, "%s", tail);
    }
    cli_line_out(text);
}

#define CLI_SAY(fmt, tail) do {     \
        va_list ap_;                \
        va_start(ap_, fmt);         \
        cli_vsay(fmt, ap_, tail);   \
        va_end(ap_);                \
    } while (0)

int cli_fail(const char *fmt, ...)
{
    CLI_SAY(fmt, NULL);
    return CLI_FAILED;
}

int cli_misuse(const char *fmt, ...)
{
    char tail[80];
    snprintf(tail, sizeof tail, "; see vtag help %s", cli.cmd);
    CLI_SAY(fmt, tail);
    return CLI_USAGE;
}

int cli_refuse(const char *fmt, ...)
{
    CLI_SAY(fmt, NULL);
    return CLI_NO;
}

void cli_warn(const char *fmt, ...)
{
    CLI_SAY(fmt, NULL);
}

int cli_nomem(void)
{
    cli_line_out("out of memory; close other programs, or work in smaller pieces");
    return CLI_FAILED;
}

/* What to do about an error, of which the engine said more in detail. */
static const char *cli_advice(vtag_err err, const char *detail)
{
    size_t n = strlen(detail);
    if (strstr(detail, "; ") && err != VTAG_CORRUPT) return NULL; /* it says that itself */
    switch (err) {
    case VTAG_NOMEM: return "close other programs, or work in smaller pieces";
    case VTAG_IO:
        if (!n) return "check the path and the disk";
        return n > 17 && !strcmp(detail + n - 17, "nput/output error") ? "check the disk" : NULL;
    case VTAG_NOSPACE:
        return "free some space, or allow larger files, and run it again; what was committed stays";
    case VTAG_FORMAT: return "check the path; a newer format needs a newer vtag";
    case VTAG_CORRUPT: return "run vtag verify, and go back to a copy";
    case VTAG_LOCKED: return "run it again later, or wait longer with --wait MS";
    case VTAG_READONLY: return strchr(detail, '/') ? NULL : "a newer vtag may write to it";
    case VTAG_DENIED:
        if (strstr(detail, "the rights")) return "run it as the owner of the file";
        return "check who may read and write the file and its folder";
    case VTAG_NAME: return "a name is model@version/preparation/..., in lower case";
    case VTAG_NOTAG: return "vtag tags FILE lists them";
    case VTAG_RETIRED: return "vtag tags FILE lists those in service";
    case VTAG_INUSE: return "cut over to another tag first";
    case VTAG_KEPT: return "wait, or give a --reason";
    case VTAG_PREVIEW: return "search it with --preview, or cut over to it first";
    case VTAG_GATE: return "vtag gate shows each term";
    case VTAG_NOTFOUND: return strchr(detail, '/') ? "check the path" : "vtag items FILE lists them";
    case VTAG_CHANGED: return "read it again";
    case VTAG_CANCELLED: return "run it again to go on";
    default: return NULL;
    }
}

/* A refusal without the argument that it begins with, "spec->note: at most ..."; of `all` of
   that name, or of the structure's alone. */
static const char *cli_refusal(const char *detail, int all)
{
    const char *p = detail, *from = detail;
    while (isalnum((unsigned char)*p) || (*p && strchr("_[].>-:", *p))) {
        if (p[0] == '-' && p[1] == '>') from = p + 2;
        if (p[0] == ':' && p[1] == ' ' && all) from = p += 2;
        else if (*p == ':') break;
        else p++;
    }
    return from;
}

/* Why something failed: the engine's line where it says more than the error's name, that
   name where it does not, both where each says what the other does not. */
static void cli_reason(char *to, size_t size, vtag_err err, const char *detail)
{
    const char *name = vtag_strerror(err);
    int both = 0;
    switch (err) {
    case VTAG_CORRUPT: case VTAG_LOCKED: case VTAG_FULL:
        both = strcmp(detail, name) != 0;
        break;
    case VTAG_FORMAT: both = !strncmp(detail, "too short", 9); break;
    case VTAG_VALUE:
        if (!*detail) break;
        snprintf(to, size, "the vector: %s", cli_refusal(detail, 1));
        return;
    case VTAG_EXISTS: detail = cli_refusal(detail, 1); break;
    case VTAG_ARG: detail = cli_refusal(detail, 0); break;
    case VTAG_IO: case VTAG_NOSPACE: case VTAG_READONLY: case VTAG_DENIED: break;
    default:
        if (!strchr(detail, '/')) detail = ""; /* of a search, or of an argument */
    }
    if (both && *detail) snprintf(to, size, "%s: %s", name, cli_refusal(detail, 1));
    else snprintf(to, size, "%s", *detail ? detail : name);
}

/* Whether a line of the engine names this path. */
static int cli_names(const char *detail, const char *path)
{
    size_t n = strlen(path);
    const char *p = detail;
    while (n && (p = strstr(p, path)) != NULL) {
        if ((p == detail || p[-1] == '/' || p[-1] == ' ') && (!p[n] || p[n] == ':')) return 1;
        p++;
    }
    return 0;
}

int cli_error(vtag_err err, const char *fmt, ...)
{
    char tail[CLI_DETAIL + 256], detail[CLI_DETAIL], why[CLI_DETAIL], what[CLI_DETAIL];
    const char *todo;
    va_list ap;
    cli_log_take(err, detail, sizeof detail);
    todo = cli_advice(err, detail);
    cli_reason(why, sizeof why, err, detail);
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(tail, sizeof tail, "%s%s", todo ? "; " : "", todo ? todo : "");
    if (cli_names(why, what)) cli_fail("%s%s", why, tail);
    else cli_fail("%s: %s%s", what, why, tail);
    return err == VTAG_GATE || err == VTAG_KEPT ? CLI_NO : CLI_FAILED;
}

/* ---- Words that are nearly right --------------------------------------------- */

static size_t cli_min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

size_t cli_edits(const char *a, const char *b, size_t over)
{
    enum { MAX = 255 };
    size_t d[3][MAX + 1], la = strlen(a), lb = strlen(b), i, j;
    if (la > MAX || lb > MAX) return strcmp(a, b) ? over : 0;
    if ((la > lb ? la - lb : lb - la) >= over) return over;
    for (j = 0; j <= lb; j++) d[0][j] = j;
    for (i = 1; i <= la; i++) {
        size_t *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (j = 1; j <= lb; j++) {
            size_t cost = a[i - 1] != b[j - 1];
            row[j] = cli_min3(up[j] + 1, row[j - 1] + 1, up[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < row[j]) {
                row[j] = up2[j - 2] + 1;
            }
        }
    }
    return d[la % 3][lb] < over ? d[la % 3][lb] : over;
}

const char *cli_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t i, least = 3;
    for (i = 0; i < n; i++) {
        size_t e = cli_edits(word, names[i], least);
        if (e < least && e < strlen(names[i])) {
            least = e;
            best = names[i];
        }
    }
    return best;
}

/* ---- Values of options ------------------------------------------------------- */

int cli_u64(const char *s, uint64_t *n)
{
    uint64_t v = 0;
    if (!*s) return 0;
    for (; *s; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (*s < '0' || *s > '9' || v > (UINT64_MAX - digit) / 10) return 0;
        v = v * 10 + digit;
    }
    *n = v;
    return 1;
}

int cli_id(const char *s, uint64_t *id)
{
    return cli_u64(s, id) && (s[0] != '0' || !s[1]);
}

static int cli_f64(const char *s, double *x, const char **end)
{
    char *e;
    if (!*s || isspace((unsigned char)*s)) return 0;
    *x = strtod(s, &e);
    *end = e;
    return e != s && isfinite(*x);
}

int cli_duration(const char *s, uint64_t *ms)
{
    static const struct { const char *unit; double ms; } units[] = {
        {"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"min", 6e4},
        {"h", 36e5}, {"d", 864e5}, {"w", 6048e5}};
    const char *end;
    double x;
    size_t i;
    if (!cli_f64(s, &x, &end) || x < 0) return 0;
    for (i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit)) continue;
        x = floor(x * units[i].ms + 0.5);
        if (x > 9e15) return 0;
        *ms = (uint64_t)x;
        return 1;
    }
    return 0;
}

static int cli_ppm(const char *s, uint32_t *ppm)
{
    const char *end;
    double x;
    if (!cli_f64(s, &x, &end) || x < 0 || x > 100) return 0;
    if (*end && strcmp(end, "%")) return 0;
    *ppm = (uint32_t)floor(x * 1e4 + 0.5);
    if (*ppm == 0) *ppm = VTAG_NONE;
    return 1;
}

static int cli_take_u32(const char *s, uint32_t *n)
{
    uint64_t v;
    if (!cli_u64(s, &v) || v > UINT32_MAX) return 0;
    *n = (uint32_t)v;
    return 1;
}

/* In the engine 0 means the default, so the zeros that people give become its own. */
static int cli_take_limit(const char *s, uint32_t *n)
{
    if (!cli_take_u32(s, n) || *n == VTAG_NONE) return 0;
    if (*n == 0) *n = VTAG_NONE;
    return 1;
}

static int cli_take_span(const char *s, uint64_t *ms)
{
    if (!strcmp(s, "unlimited")) {
        *ms = UINT64_MAX;
        return 1;
    }
    if (!cli_duration(s, ms)) return 0;
    if (*ms == 0) *ms = 1;
    return 1;
}

static int cli_take_more(const cli_opt *o, const char *s)
{
    cli_list *l = o->to;
    l->option = cli_grow(l->option, l->n + 1, sizeof *l->option);
    l->value = cli_grow(l->value, l->n + 1, sizeof *l->value);
    l->option[l->n] = o->name;
    l->value[l->n++] = s;
    return 1;
}

void cli_list_free(cli_list *l)
{
    free(l->option);
    free(l->value);
    memset(l, 0, sizeof *l);
}

static int cli_take(const cli_opt *o, const char *s)
{
    const char *end;
    switch (CLI_KIND(o->kind)) {
    case CLI_LIST: return cli_take_more(o, s);
    case CLI_STR: *(const char **)o->to = s; return 1;
    case CLI_U64: return cli_u64(s, o->to);
    case CLI_U32: return cli_take_u32(s, o->to);
    case CLI_F64: return cli_f64(s, o->to, &end) && !*end;
    case CLI_PPM: return cli_ppm(s, o->to);
    case CLI_SPAN: return cli_take_span(s, o->to);
    case CLI_LIMIT: return cli_take_limit(s, o->to);
    default: return 0;
    }
}

static const char *cli_wants(int kind)
{
    switch (CLI_KIND(kind)) {
    case CLI_U64: case CLI_U32: case CLI_LIMIT: return "a whole number";
    case CLI_F64: return "a number";
    case CLI_PPM: return "a percentage from 0 to 100";
    case CLI_SPAN: return "a duration such as 500ms, 30s, 24h or 28d";
    default: return "a value";
    }
}

/* ---- Options ----------------------------------------------------------------- */

static int cli_help_asked;
static uint64_t cli_seen[2]; /* a bit for each option that was given: of the table, of all */
static const cli_opt cli_general[] = {
    {"--wait", "MS", CLI_LIMIT, &cli.wait_ms, "for another writer, 0: not at all; 10,000", NULL},
    {"--by", "WHO", CLI_STR, &cli.by, "changes the file, for its history; the system's user", NULL},
    {"--isa", "NAME", CLI_STR, &cli.isa, "kernels: scalar, avx2, avx512, amx, neon", NULL},
    {"--no-map", NULL, CLI_FLAG, &cli.no_map, "read the file into memory", NULL},
    {"--force-network", NULL, CLI_FLAG, &cli.force_network,
     "write on a network file system", NULL},
    {"--quiet", NULL, CLI_FLAG, &cli.quiet, "no progress", NULL},
    {"--help", NULL, CLI_FLAG, &cli_help_asked, "this text", NULL},
    CLI_END};

static int cli_is_positional(const cli_opt *o)
{
    return CLI_KIND(o->kind) >= CLI_ARG;
}

static void cli_help_synopsis(const cli_opt *opts)
{
    const cli_opt *o;
    int more = 0;
    printf("usage: vtag %s", cli.cmd);
    for (o = opts; o->name; o++) {
        int kind = CLI_KIND(o->kind);
        if (kind == CLI_ARG) printf(" %s", o->name);
        else if (kind == CLI_ARG_MAY) printf(" [%s]", o->name);
        else if (kind == CLI_ARGS) printf(" [%s...]", o->name);
    }
    for (o = opts; o->name; o++) {
        if (o->kind & CLI_MUST) printf(" %s %s", o->name, o->arg ? o->arg : "");
        else if (!cli_is_positional(o)) more = 1;
    }
    puts(more ? " [options]" : "");
}

static void cli_help_options(const cli_opt *o, int positionals)
{
    for (; o->name; o++) {
        char left[64];
        if (cli_is_positional(o) != positionals) continue;
        snprintf(left, sizeof left, "%s%s%s", o->name, o->arg ? " " : "",
                 o->arg ? o->arg : "");
        printf("  %-24s %s\n", left, o->help);
    }
}

static int cli_help_print(const char *about, const cli_opt *opts)
{
    cli_help_synopsis(opts);
    printf("\n%s\n\n", about);
    cli_help_options(opts, 1);
    cli_help_options(opts, 0);
    puts("\nfor every command:");
    cli_help_options(cli_general, 0);
    return CLI_DONE;
}

static const cli_opt *cli_opt_in(const cli_opt *o, const char *name, size_t n)
{
    for (; o->name; o++) {
        if (!cli_is_positional(o) && strlen(o->name) == n && !memcmp(o->name, name, n)) {
            return o;
        }
    }
    return NULL;
}

static const cli_opt *cli_opt_find(const cli_opt *opts, const char *name, size_t n)
{
    const cli_opt *o = cli_opt_in(opts, name, n);
    return o ? o : cli_opt_in(cli_general, name, n);
}

static size_t cli_opt_names(const cli_opt *o, const char **names, size_t n, size_t cap)
{
    for (; o->name && n < cap; o++) {
        if (!cli_is_positional(o)) names[n++] = o->name;
    }
    return n;
}

static int cli_opt_unknown(const cli_opt *opts, const char *arg, size_t n)
{
    const char *names[64], *near;
    char word[64];
    size_t count = cli_opt_names(opts, names, 0, 64);
    count = cli_opt_names(cli_general, names, count, 64);
    snprintf(word, sizeof word, "%.*s", (int)(n < 60 ? n : 60), arg);
    near = cli_nearest(word, names, count);
    if (near) {
        return cli_misuse("%s: unknown option %s; did you mean %s?", cli.cmd, word, near);
    }
    return cli_misuse("%s: unknown option %s", cli.cmd, word);
}

/* Notes that it was given; whether it was before, and is not for that. */
static int cli_opt_again(const cli_opt *opts, const cli_opt *o)
{
    int own = cli_opt_in(opts, o->name, strlen(o->name)) == o;
    uint64_t bit = 1ull << (own ? o - opts : o - cli_general), *seen = &cli_seen[!own];
    int again = (*seen & bit) != 0;
    *seen |= bit;
    return again && CLI_KIND(o->kind) != CLI_LIST;
}

/* Takes the option at argv[*i], and its value; moves *i to the last one used. */
static int cli_opt_take(const cli_opt *opts, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *eq = arg[1] == '-' ? strchr(arg, '=') : NULL, *value;
    size_t n = eq ? (size_t)(eq - arg) : strlen(arg);
    const cli_opt *o = cli_opt_find(opts, arg, n);
    if (!o && arg[1] != '-' && n > 2 && (o = cli_opt_find(opts, arg, 2)) != NULL) {
        eq = arg + 1; /* -k10: the value follows at once */
    }
    if (!o) return cli_opt_unknown(opts, arg, n);
    if (o->given) *o->given = 1;
    if (cli_opt_again(opts, o)) {
        return cli_misuse("%s: %s is given twice; once is enough", cli.cmd, o->name);
    }
    if (o->kind == CLI_FLAG) {
        if (eq) return cli_misuse("%s: %s takes no value", cli.cmd, o->name);
        *(int *)o->to = 1;
        return 0;
    }
    if (eq) value = eq + 1;
    else if (*i + 1 < argc) value = argv[++*i];
    else return cli_misuse("%s: %s wants %s", cli.cmd, o->name, cli_wants(o->kind));
    if (cli_take(o, value)) return 0;
    return cli_misuse("%s: %s wants %s, not '%s'", cli.cmd, o->name,
                      cli_wants(o->kind), value);
}

static int cli_positionals(const cli_opt *opts, char **argv, int n)
{
    const cli_opt *o;
    int i = 0;
    for (o = opts; o->name; o++) {
        int kind = CLI_KIND(o->kind);
        if (kind == CLI_ARGS) {
            cli_args *rest = o->to;
            rest->v = argv + i;
            rest->n = n - i;
            i = n;
        } else if (kind == CLI_ARG || kind == CLI_ARG_MAY) {
            if (i < n) *(const char **)o->to = argv[i++];
            else if (kind == CLI_ARG) return cli_misuse("%s: %s is missing", cli.cmd, o->name);
        }
    }
    if (i < n) return cli_misuse("%s: '%s' is one argument too many", cli.cmd, argv[i]);
    return 0;
}

static int cli_musts(const cli_opt *opts)
{
    const cli_opt *o;
    for (o = opts; o->name; o++) {
        if (!(o->kind & CLI_MUST) || (cli_seen[0] >> (o - opts) & 1)) continue;
        return cli_misuse("%s: %s %s is missing", cli.cmd, o->name, o->arg ? o->arg : "");
    }
    return 0;
}

int cli_parse(int argc, char **argv, const char *about, const cli_opt *opts)
{
    char **rest = cli_alloc((size_t)argc * sizeof *rest);
    int i, n = 0, rc = 0, plain = 0;
    cli.cmd = argv[0];
    cli_help_asked = 0;
    cli_seen[0] = cli_seen[1] = 0;
    for (i = 1; i < argc && !rc; i++) {
        if (!plain && !strcmp(argv[i], "--")) plain = 1;
        else if (plain || argv[i][0] != '-' || !argv[i][1]) rest[n++] = argv[i];
        else rc = cli_opt_take(opts, argc, argv, &i);
    }
    for (i = 0; i < n; i++) argv[i] = rest[i]; /* where CLI_ARGS may point */
    free(rest);
    if (rc) return rc;
    if (cli_help_asked) return cli_help_print(about, opts);
    rc = cli_positionals(opts, argv, n);
    if (!rc) rc = cli_musts(opts);
    return rc ? rc : -1;
}

/* ---- Stores -------------------------------------------------------------------- */

void cli_open_opts(vtag_open_opts *o, vtag_access access)
{
    memset(o, 0, sizeof *o);
    o->access = access;
    o->isa = cli.isa;
    o->no_map = cli.no_map;
    o->force_network = cli.force_network;
    o->log = cli_log_call;
}

int cli_open_error(vtag_err err, const char *path, vtag_access access)
{
    int makes = access == VTAG_CREATE || access == VTAG_NEW;
    char detail[CLI_DETAIL];
    switch (err) {
    case VTAG_NOTFOUND:
        if (makes) return cli_fail("%s: no such folder; check the path, or make it first", path);
        return cli_fail("%s: no such file; vtag declare or vtag import makes one", path);
    case VTAG_EXISTS: return cli_fail("%s: is there already; give a new path", path);
    case VTAG_ARG:
        if (!cli.isa) break;
        return cli_misuse("%s: --isa %s is not to be had on this machine", cli.cmd, cli.isa);
    case VTAG_READONLY:
        cli_log_take(err, detail, sizeof detail);
        if (strstr(detail, "network")) {
            return cli_fail("%s: is on a network file system; --force-network writes there anyway",
                            path);
        }
        cli_log_call(NULL, err, detail, 0);
        break;
    default: break;
    }
    return cli_error(err, "%s", path);
}

static cli_store *cli_maker; /* which made a file, and is open */

/* The program ends early, for want of memory: no file is left that holds nothing. */
static void cli_unmake(void)
{
    if (cli_maker) cli_discard(cli_maker, 0);
}

static void cli_made_here(cli_store *st, const char *path)
{
    static int once;
    cli_made_note(&st->made, path);
    cli_maker = st;
    if (!once) atexit(cli_unmake);
    once = 1;
}

int cli_open(cli_store *st, const char *path, vtag_access access)
{
    vtag_open_opts o;
    vtag_err err = VTAG_EXISTS;
    struct stat sb;
    if (!strcmp(path, "")) return cli_fail("the path of the store is empty; name a file");
    if (!stat(path, &sb) && !S_ISREG(sb.st_mode)) {
        return cli_fail("%s: is %s; name a file", path,
                        S_ISDIR(sb.st_mode) ? "a folder" : "no plain file");
    }
    st->path = path;
    cli_told(); /* nothing of before is the cause */
    if (access == VTAG_CREATE || access == VTAG_NEW) { /* whether it was made here is to be known */
        cli_open_opts(&o, VTAG_NEW);
        err = vtag_open(path, &o, &st->db);
        if (!err) cli_made_here(st, path);
    }
    if (err && access != VTAG_NEW) {
        cli_open_opts(&o, access);
        err = vtag_open(path, &o, &st->db);
    }
    st->err = err;
    return err ? cli_open_error(err, path, access) : 0;
}

int cli_snap(cli_store *st)
{
    vtag_err err;
    vtag_release(st->snap);
    st->snap = NULL;
    st->err = err = vtag_snapshot(st->db, &st->snap);
    return err ? cli_error(err, "%s", st->path) : 0;
}

int cli_look(cli_store *st, const char *path)
{
    int rc = cli_open(st, path, VTAG_READ);
    return rc ? rc : cli_snap(st);
}

int cli_change(cli_store *st, const char *path)
{
    int rc = cli_open(st, path, VTAG_EXISTING);
    return rc ? rc : cli_snap(st);
}

static void *side_main(void *arg)
{
    cli_side *side = arg;
    side->work(side->arg);
    return NULL;
}

/* Does a batch's work on a second thread; here, if there is none to be had. */
static void side_run(void *ctx, void (*work)(void *), void *arg)
{
    cli_side *side = ctx;
    side->work = work;
    side->arg = arg;
    side->busy = !pthread_create(&side->thread, NULL, side_main, side);
    if (!side->busy) work(arg);
}

static void side_wait(void *ctx)
{
    cli_side *side = ctx;
    if (side->busy) pthread_join(side->thread, NULL);
    side->busy = 0;
}

/* From here to the end of the batch what is said is kept. */
void cli_hold(cli_store *st)
{
    static int once;
    if (!once++) atexit(cli_late_put);
    st->held = 1;
    cli_late.batches++;
}

static void cli_unhold(cli_store *st)
{
    if (!st->held) return;
    st->held = 0;
    if (!--cli_late.batches) cli_late_put();
}

const char *cli_by(void)
{
    static char name[256];
    const struct passwd *user;
    if (cli.by && *cli.by) return cli.by;
    if (name[0]) return name;
    user = getpwuid(getuid());
    if (user && user->pw_name && *user->pw_name) snprintf(name, sizeof name, "%.255s", user->pw_name);
    else snprintf(name, sizeof name, "user %lu", (unsigned long)getuid());
    return name;
}

vtag_err cli_lock(cli_store *st, uint64_t expect_rows, uint64_t ms)
{
    enum { TURN = 250 };
    vtag_begin_opts o = {0};
    stop_mark mark = stop_now();
    uint64_t from = cli_now(), gone = 0;
    o.by = cli_by();
    o.expect_rows = expect_rows;
    o.run = side_run;
    o.wait = side_wait;
    o.run_ctx = &st->side;
    do {
        uint64_t left = ms - gone;
        o.wait_ms = !left ? VTAG_NONE : left < TURN ? (uint32_t)left : TURN;
        st->err = vtag_begin(st->db, &o, &st->batch);
        gone = cli_now() - from;
    } while (st->err == VTAG_LOCKED && gone < ms && !stop_since(&mark));
    if (st->err) st->batch = NULL;
    else cli_hold(st);
    return st->err;
}

int cli_begin(cli_store *st, uint64_t expect_rows)
{
    vtag_err err = cli_lock(st, expect_rows, cli.wait_ms == VTAG_NONE ? 0 : cli.wait_ms);
    if (err == VTAG_LOCKED && cli_stopped()) {
        return cli_fail("%s: %s while another writer is at work; nothing changed", st->path,
                        stop_why());
    }
    return err ? cli_error(err, "%s", st->path) : 0;
}

int cli_commit(cli_store *st)
{
    vtag_err err = st->err = vtag_commit(st->batch);
    st->batch = NULL;
    cli_unhold(st);
    return err ? cli_error(err, "%s", st->path) : 0;
}

int cli_seal(cli_store *st)
{
    cli_progress p;
    vtag_err err;
    cli_progress_start(&p, "seal", "rows", 0);
    err = vtag_seal(st->db, cli_progress_call, &p);
    cli_progress_end(&p);
    if (err) {
        char detail[CLI_DETAIL], why[CLI_DETAIL];
        cli_log_take(err, detail, sizeof detail);
        cli_reason(why, sizeof why, err, detail);
        cli_warn("%s: all is stored, but not sketched (%s); searching it is slower until it is "
                 "compacted", st->path, why);
    }
    return 0;
}

void cli_abort(cli_store *st)
{
    vtag_abort(st->batch);
    st->batch = NULL;
    cli_unhold(st);
}

void cli_close(cli_store *st)
{
    if (cli_maker == st) cli_maker = NULL;
    cli_abort(st);
    vtag_release(st->snap);
    vtag_close(st->db);
    st->snap = NULL;
    st->db = NULL;
    free(st->made.path);
    st->made.path = NULL;
}

void cli_made_note(cli_made *m, const char *path)
{
    struct stat sb;
    m->path = realpath(path, NULL); /* where a link leads, the file is */
    if (!m->path || lstat(m->path, &sb)) return;
    m->dev = (uint64_t)sb.st_dev;
    m->ino = (uint64_t)sb.st_ino;
}

static int cli_made_there(const cli_made *m)
{
    struct stat sb;
    return m->path && !lstat(m->path, &sb) && S_ISREG(sb.st_mode) &&
           (uint64_t)sb.st_dev == m->dev && (uint64_t)sb.st_ino == m->ino;
}

/* A handle of its own: the one that failed may be able to write no more. While it has the
   lock, the path names the file whose commits it sees, and nobody commits. */
int cli_made_discard(cli_made *m, uint64_t commit)
{
    vtag_open_opts o = {0};
    vtag_begin_opts now = {0};
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    vtag_snap *s = NULL;
    vtag_stat stat;
    int gone = 0;
    o.access = VTAG_EXISTING;
    now.wait_ms = VTAG_NONE;
    if (cli_made_there(m) && !vtag_open(m->path, &o, &db) && !vtag_begin(db, &now, &b) &&
        !vtag_snapshot(db, &s) && !vtag_stats(s, &stat) && stat.commit == commit &&
        cli_made_there(m)) {
        gone = unlink(m->path) == 0;
    }
    vtag_release(s);
    vtag_abort(b);
    vtag_close(db);
    free(m->path);
    m->path = NULL;
    return gone;
}

int cli_discard(cli_store *st, uint64_t commit)
{
    cli_made made = st->made;
    st->made.path = NULL;
    cli_close(st);
    return cli_made_discard(&made, commit);
}

/* ---- Tags ------------------------------------------------------------------------ */

int cli_tags(const cli_store *st, vtag_info **tags, size_t *n)
{
    uint64_t cursor = 0;
    size_t got = 1, cap = 0;
    *n = 0;
    *tags = NULL;
    while (got) {
        vtag_err err;
        *tags = cli_grow(*tags, cap += 64, sizeof **tags);
        err = vtag_tags(st->snap, &cursor, *tags + *n, cap - *n, &got);
        if (err) {
            free(*tags);
            *tags = NULL;
            return cli_error(err, "%s", st->path);
        }
        *n += got;
    }
    return 0;
}

static int cli_tag_role(const cli_store *st, const char *name, vtag_info *info)
{
    vtag_stat stat;
    vtag_tag tag;
    vtag_err err = vtag_stats(st->snap, &stat);
    if (err) return cli_error(err, "%s", st->path);
    if (!strcmp(name, ":active")) tag = stat.active;
    else if (!strcmp(name, ":standby")) tag = stat.standby;
    else return cli_fail("tag %s: there are :active and :standby, and names", name);
    if (!tag) return cli_fail("%s: no tag is %s", st->path, name + 1);
    err = vtag_tag_info(st->snap, tag, info);
    return err ? cli_error(err, "%s", st->path) : 0;
}

static int cli_tag_unknown(const cli_store *st, const char *name, const vtag_info *tags,
                           size_t n)
{
    const char **names = cli_alloc((n + 1) * sizeof *names), *near;
    size_t i;
    int rc;
    for (i = 0; i < n; i++) names[i] = tags[i].spec.name;
    near = cli_nearest(name, names, n);
    rc = near ? cli_fail("%s: no tag '%s'; did you mean '%s'?", st->path, name, near)
              : cli_fail("%s: no tag '%s'; vtag tags %s lists them", st->path, name, st->path);
    free(names);
    return rc;
}

/* Finds the only tag that begins with name, among those in service if there is one. */
static int cli_tag_prefix(const cli_store *st, const char *name, const vtag_info *tags,
                          size_t n, vtag_info *info)
{
    const vtag_info *found[2] = {NULL, NULL};
    size_t i, count = 0, len = strlen(name);
    int gone;
    for (gone = 0; gone < 2 && !count && len; gone++) {
        for (i = 0; i < n; i++) {
            if ((tags[i].role == VTAG_GONE) != gone) continue;
            if (strncmp(tags[i].spec.name, name, len)) continue;
            if (count < 2) found[count] = &tags[i];
            count++;
        }
    }
    if (!count) return cli_tag_unknown(st, name, tags, n);
    if (count > 1) {
        return cli_fail("%s: tag '%s' may be '%s', '%s'%s; write more of it", st->path, name,
                        found[0]->spec.name, found[1]->spec.name,
                        count > 2 ? " or another" : "");
    }
    *info = *found[0];
    return 0;
}

int cli_tag(const cli_store *st, const char *name, vtag_info *info)
{
    vtag_info *tags;
    vtag_tag tag;
    size_t n;
    int rc;
    vtag_err err;
    if (name[0] == ':') return cli_tag_role(st, name, info);
    err = vtag_find(st->snap, name, &tag);
    if (!err) err = vtag_tag_info(st->snap, tag, info);
    if (!err) return 0;
    rc = cli_tags(st, &tags, &n);
    if (rc) return rc;
    rc = cli_tag_prefix(st, name, tags, n, info);
    free(tags);
    return rc;
}

int cli_tag_raw(const char *given, const vtag_info *info, const char *what)
{
    if (given[0] != ':') return 0;
    return cli_misuse("%s: %s does not say which model made it, and %s is now one tag and then "
                      "another; write --tag %s if that one did", cli.cmd, what, given,
                      info->spec.name);
}

const char *cli_tag_name(const cli_store *st, vtag_tag tag)
{
    vtag_info info;
    if (!tag || vtag_tag_info(st->snap, tag, &info)) return "-";
    return info.spec.name;
}

static int cli_name_char(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/* Model and version are not empty, there is one @, and no part is empty. */
static int cli_name_legal(const char *name)
{
    size_t i, part = 0, ats = 0, n = strlen(name);
    for (i = 0; i <= n; i++) {
        if (i == n || name[i] == '@' || name[i] == '/') {
            if (!part || (name[i] != '@' && !ats)) return 0;
            if (i < n && name[i] == '@' && ats++) return 0;
            part = 0;
        } else if (cli_name_char((unsigned char)name[i])) {
            part++;
        } else {
            return 0;
        }
    }
    return n <= 255;
}

/* Writes the legal name nearest to name into out[260]. */
static void cli_name_propose(const char *name, char *out)
{
    const char *p;
    size_t n = 0;
    int has_at = strchr(name, '@') != NULL, past = 0;
    for (p = name; *p && n < 240; p++) {
        char c = (char)tolower((unsigned char)*p);
        if (c == '@' && !past && n) past = 1;
        else if (c == '/' && past && n && out[n - 1] != '@' && out[n - 1] != '/' && p[1]) { }
        else if (!cli_name_char((unsigned char)c)) c = '-';
        if (c == '-' && (!n || strchr("@/-", out[n - 1]))) continue;
        if (past && c == '/' && out[n - 1] == '@') continue;
        out[n++] = c;
    }
    while (n && strchr("-/", out[n - 1])) n--;
    out[n] = '\0';
    if (!n) strcpy(out, "model@1");
    else if (out[n - 1] == '@') strcpy(out + n, "1");
    else if (!has_at || !past) strcpy(out + n, "@1");
}

int cli_check_name(const char *name)
{
    char legal[260];
    if (cli_name_legal(name)) return 0;
    cli_name_propose(name, legal);
    return cli_fail("tag '%s': a name is model@version/preparation/..., of a-z 0-9 . _ -; "
                    "try '%s'", name, legal);
}

static int cli_word_next(const char **p, char *word, size_t cap)
{
    size_t n = strcspn(*p, "/");
    if (!n) return 0;
    snprintf(word, cap, "%.*s", (int)n, *p);
    *p += n;
    if (**p == '/') ++*p;
    return 1;
}

/* The word with every run of digits as one '#': what is left when numbers are set aside. */
static void cli_word_shape(const char *word, char *out)
{
    for (; *word; word++) {
        if (!isdigit((unsigned char)*word)) *out++ = *word;
        else if (!isdigit((unsigned char)word[1])) *out++ = '#';
    }
    *out = '\0';
}

/* Whether two words look like one with a typing error: within two edits, one in short
   words, and not merely another number. */
static int cli_words_near(const char *a, const char *b)
{
    char sa[260], sb[260];
    size_t la = strlen(a), lb = strlen(b), e = cli_edits(a, b, 3);
    if (!e || e >= 3 || e * 2 >= (la < lb ? la : lb)) return 0;
    cli_word_shape(a, sa);
    cli_word_shape(b, sb);
    return strcmp(sa, sb) != 0;
}

static void cli_name_split(const char *name, char *model, const char **preparation)
{
    const char *slash = strchr(name, '/');
    snprintf(model, 260, "%.*s", (int)strcspn(name, "@"), name);
    *preparation = slash ? slash + 1 : "";
}

/* The word among those of the tags that word is near to, NULL if it is there itself. */
static const char *cli_word_twin(const char *word, const vtag_info *tags, size_t n,
                                 int model, char *twin)
{
    size_t i;
    int found = 0;
    for (i = 0; i < n; i++) {
        char other[260];
        const char *p;
        cli_name_split(tags[i].spec.name, other, &p);
        while (model || cli_word_next(&p, other, sizeof other)) {
            if (!strcmp(word, other)) return NULL;
            if (!found && cli_words_near(word, other)) {
                found = 1;
                strcpy(twin, other);
            }
            if (model) break;
        }
    }
    return found ? twin : NULL;
}

int cli_near(const vtag_info *tags, size_t n, const char *name, char word[260], char twin[260])
{
    const char *p, *near;
    cli_name_split(name, word, &p);
    near = cli_word_twin(word, tags, n, 1, twin);
    while (!near && cli_word_next(&p, word, 260)) near = cli_word_twin(word, tags, n, 0, twin);
    return near != NULL;
}

int cli_check_near(const cli_store *st, const char *name)
{
    vtag_info *tags;
    vtag_tag tag;
    size_t n;
    char word[260], twin[260];
    int rc, near;
    if (!vtag_find(st->snap, name, &tag)) return 0;
    rc = cli_tags(st, &tags, &n);
    if (rc) return rc;
    near = cli_near(tags, n, name, word, twin);
    free(tags);
    if (!near) return 0;
    return cli_fail("tag '%s': '%s' looks like '%s' mistyped; use that, or declare with --force",
                    name, word, twin);
}

/* ---- Names of choices --------------------------------------------------------------- */

static int cli_choice(const char *s, const char *const *names, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        if (!strcmp(s, names[i])) return (int)i;
    }
    return -1;
}

static const char *const cli_metrics[] = {"cosine", "dot", "l2"};
static const char *const cli_codecs[] = {"f32", "f16", "i8"};
static const char *const cli_roles[] = {"candidate", "active", "standby", "older", "gone"};
static const char *const cli_kinds[] = {"note", "declared", "score", "shadow", "waived",
    "policy", "held", "cutover", "rollback", "retired", "compacted", "audit", "backfill", "import",
    "alias"};
enum { CLI_KINDS = sizeof cli_kinds / sizeof *cli_kinds };

int cli_metric(const char *s, vtag_metric *metric)
{
    int i = cli_choice(s, cli_metrics, 3);
    if (i < 0) return cli_misuse("%s: metric '%s'; there are cosine, dot, l2", cli.cmd, s);
    *metric = (vtag_metric)i;
    return 0;
}

int cli_codec(const char *s, vtag_codec *codec)
{
    int i = cli_choice(s, cli_codecs, 3);
    if (i < 0) return cli_misuse("%s: codec '%s'; there are f32, f16, i8", cli.cmd, s);
    *codec = (vtag_codec)i;
    return 0;
}

int cli_role_of(const char *s)
{
    return cli_choice(s, cli_roles, 5);
}

int cli_kind_of(const char *s)
{
    return cli_choice(s, cli_kinds, CLI_KINDS);
}

static const char *cli_pick(const char *const *names, size_t n, unsigned i)
{
    return i < n ? names[i] : "unknown";
}

const char *cli_metric_name(vtag_metric m) { return cli_pick(cli_metrics, 3, (unsigned)m); }
const char *cli_codec_name(vtag_codec c) { return cli_pick(cli_codecs, 3, (unsigned)c); }
const char *cli_role_name(vtag_role r) { return cli_pick(cli_roles, 5, (unsigned)r); }
const char *cli_kind_name(vtag_kind k) { return cli_pick(cli_kinds, CLI_KINDS, (unsigned)k); }

const char *cli_state_name(uint32_t state)
{
    switch (state & VTAG_ALL) {
    case VTAG_FRESH: return "fresh";
    case VTAG_STALE: return "stale";
    case VTAG_MISSING: return "missing";
    case VTAG_WAIVED: return "waived";
    default: return "-";
    }
}
