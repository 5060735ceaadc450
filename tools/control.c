/* control.c - the control file of a backfill; see control.h. */
#define _POSIX_C_SOURCE 200809L
#include "control.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

enum { CONTROL_MOST = 65536, CONTROL_WHY = 300 };

typedef enum control_name { C_RATE, C_CHUNK, C_LOAD, C_BATCH, C_PAUSE, C_NAMES } control_name;
static const char *const control_names[C_NAMES] = {"rate", "chunk-time", "max-load", "batch",
                                                   "pause"};

/* ---- Reading ------------------------------------------------------------------------ */

static int control_number(const char *s, double *x)
{
    char *end;
    double got = strtod(s, &end);
    if (end == s || *end || !isfinite(got) || got < 0 || strpbrk(s, "xX")) return 0;
    *x = got;
    return 1;
}

static int control_yes(const char *s, int *yes)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};
    size_t i;
    for (i = 0; i < 8; i++) {
        if (strcmp(s, words[i])) continue;
        *yes = (int)(i % 2);
        return 1;
    }
    return 0;
}

/* Sets one value; NULL, or what it wants. */
static const char *control_set(control *c, control_name name, const char *s)
{
    uint64_t n;
    switch (name) {
    case C_RATE: return control_number(s, &c->rate) ? NULL : "items a second, 0: no limit";
    case C_LOAD: return control_number(s, &c->max_load) ? NULL : "a load, 0: no limit";
    case C_CHUNK: return cli_duration(s, &c->chunk_ms) ? NULL : "a duration such as 0.5s";
    case C_PAUSE: return control_yes(s, &c->pause) ? NULL : "yes or no";
    default:
        if (!cli_u64(s, &n) || !n) return "a whole number, not 0";
        c->batch = n;
        return NULL;
    }
}

static char *control_trim(char *s)
{
    size_t n;
    s += strspn(s, " \t");
    n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1])) s[--n] = '\0';
    return s;
}

/* Takes one line; 0, or why not in why[CONTROL_WHY]. */
static int control_line(control *c, char *line, unsigned *seen, char *why)
{
    char *name = control_trim(line), *value = strchr(name, '=');
    const char *wants, *near;
    unsigned i = 0;
    if (!*name || *name == '#') return 0;
    if (!value) return snprintf(why, CONTROL_WHY, "wants name = value, not '%.60s'", name);
    *value++ = '\0';
    name = control_trim(name);
    value = control_trim(value);
    while (i < C_NAMES && strcmp(name, control_names[i])) i++;
    if (i == C_NAMES) {
        near = cli_nearest(name, control_names, C_NAMES);
        if (near) return snprintf(why, CONTROL_WHY, "no '%.60s'; did you mean %s?", name, near);
        return snprintf(why, CONTROL_WHY, "no '%.60s'; there are rate, chunk-time, max-load, batch, "
                        "pause", name);
    }
    if (*seen & 1u << i) return snprintf(why, CONTROL_WHY, "%s is there twice", name);
    *seen |= 1u << i;
    wants = control_set(c, (control_name)i, value);
    return wants ? snprintf(why, CONTROL_WHY, "%s wants %s, not '%.60s'", name, wants, value) : 0;
}

/* Takes all lines over the base; the number of the bad one, 0: none is. */
static unsigned control_parse(control *c, const char *text, char *why)
{
    char *copy = cli_strdup(text), *p = copy;
    unsigned line = 0, seen = 0;
    int bad = 0;
    if (!strncmp(p, "\xEF\xBB\xBF", 3)) p += 3;
    while (!bad && *p) {
        size_t n = strcspn(p, "\n");
        int more = p[n] != '\0';
        p[n] = '\0';
        line++;
        bad = control_line(c, p, &seen, why);
        p += n + (size_t)more;
    }
    free(copy);
    return bad ? line : 0;
}

/* The whole file in *text, NULL if there is none; 0, or why it cannot be read. */
static int control_slurp(const char *path, char **text, char *why)
{
    struct stat sb;
    size_t n;
    FILE *f;
    *text = NULL;
    if (stat(path, &sb)) {
        if (errno == ENOENT) return 0;
        return snprintf(why, CONTROL_WHY, "%s", strerror(errno));
    }
    if (!S_ISREG(sb.st_mode)) return snprintf(why, CONTROL_WHY, "is no plain file");
    f = fopen(path, "rb");
    if (!f) return snprintf(why, CONTROL_WHY, "%s", strerror(errno));
    *text = cli_alloc(CONTROL_MOST + 1);
    n = fread(*text, 1, CONTROL_MOST + 1, f);
    fclose(f);
    if (n <= CONTROL_MOST && !memchr(*text, 0, n)) return 0;
    free(*text);
    *text = NULL;
    return snprintf(why, CONTROL_WHY, "is no short text");
}

/* What the file is now; all 0 if it is not there. */
static void control_stat(const char *path, uint64_t seen[5])
{
    struct stat sb;
    memset(seen, 0, 5 * sizeof *seen);
    if (stat(path, &sb)) return;
    seen[0] = (uint64_t)sb.st_dev;
    seen[1] = (uint64_t)sb.st_ino;
    seen[2] = (uint64_t)sb.st_size;
    seen[3] = (uint64_t)sb.st_mtim.tv_sec;
    seen[4] = (uint64_t)sb.st_mtim.tv_nsec;
}

/* ---- Telling ------------------------------------------------------------------------ */

static void control_show(const control *c, control_name name, char text[CLI_TEXT])
{
    switch (name) {
    case C_CHUNK: cli_span(text, c->chunk_ms); break;
    case C_BATCH: cli_count(text, c->batch); break;
    case C_PAUSE: strcpy(text, c->pause ? "yes" : "no"); break;
    case C_RATE:
        if (c->rate > 0) cli_rate(text, c->rate);
        else strcpy(text, "unlimited");
        break;
    default:
        if (c->max_load > 0) snprintf(text, CLI_TEXT, "%.2f", c->max_load);
        else strcpy(text, "unlimited");
    }
}

/* "rate 50 (was 100), batch 10 (was 1,000)"; 0: nothing is another. */
static int control_differ(const control *was, const control *now, char *text, size_t size)
{
    char a[CLI_TEXT], b[CLI_TEXT];
    size_t n = 0;
    unsigned i;
    for (i = 0; i < C_NAMES; i++) {
        control_show(was, (control_name)i, a);
        control_show(now, (control_name)i, b);
        if (!strcmp(a, b)) continue;
        n += (size_t)snprintf(text + n, size - n, "%s%s %s (was %s)", n ? ", " : "",
                              control_names[i], b, a);
    }
    return n != 0;
}

/* ---- The file ------------------------------------------------------------------------- */

int control_start(control_file *f)
{
    char why[CONTROL_WHY];
    unsigned line;
    f->now = f->base;
    if (!f->path) return 0;
    control_stat(f->path, f->seen);
    if (control_slurp(f->path, &f->text, why)) {
        return cli_misuse("--control: %s: %s", f->path, why);
    }
    line = f->text ? control_parse(&f->now, f->text, why) : 0;
    return line ? cli_misuse("--control: %s: line %u: %s", f->path, line, why) : 0;
}

/* A file that was changed within the tick of its clock is as it was, but for its text. */
static int control_fresh(const control_file *f)
{
    return f->seen[1] && f->seen[3] * 1000 + 3000 > cli_clock();
}

int control_look(control_file *f, const char *store)
{
    uint64_t seen[5];
    char why[CONTROL_WHY], text[400];
    control next = f->base, was = f->now;
    char *now;
    int same, bad;
    unsigned line = 0;
    if (!f->path) return 0;
    control_stat(f->path, seen);
    same = !memcmp(seen, f->seen, sizeof seen);
    if (same && !control_fresh(f)) return 0;
    bad = control_slurp(f->path, &now, why);
    if (!bad && same && now && f->text && !strcmp(now, f->text)) {
        free(now);
        return 0;
    }
    if (bad && same) return 0; /* said before */
    memcpy(f->seen, seen, sizeof seen);
    free(f->text);
    f->text = now;
    if (!bad && now) line = control_parse(&next, now, why);
    if (line) cli_warn("%s: %s: line %u: %s; the values stay", store, f->path, line, why);
    else if (bad) cli_warn("%s: %s: %s; the values stay", store, f->path, why);
    if (bad || line) return 0;
    f->now = next;
    if (!control_differ(&was, &next, text, sizeof text)) return 0;
    cli_warn("%s: %s%s: %s", store, f->path, now ? "" : " is gone", text);
    return 1;
}

void control_free(control_file *f)
{
    free(f->text);
    f->text = NULL;
}

int control_help(void)
{
    puts("backfill takes --control FILE: text that may be written, changed and removed while it\n"
         "runs. Lines of\n\n"
         "  rate = 50           items a second at most; 0: no limit\n"
         "  chunk-time = 0.5s   between commits, about\n"
         "  max-load = 4        pause while the host's load is over it; 0: no limit\n"
         "  batch = 1000        items in a commit or in a worker's hands\n"
         "  pause = yes         ask for nothing until it says no\n\n"
         "stand in place of the options of that name; blank lines and # comments may be there. What\n"
         "is not in the file, or all when it is removed, is as the options say. A line that is wrong\n"
         "is told with its number, and then all values stay. Put a new file in place with mv: then\n"
         "none is read half written.");
    return CLI_DONE;
}
