/* hook.c - programs that are asked and told; see hook.h. */
#define _POSIX_C_SOURCE 200809L
#include "hook.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool.h"
#include "stop.h"

enum { HOOK_PATH = 4096 };

#define HOOK_EVENTS(X)                                                              \
    X("pre-cutover", "the gate passes; may the tag become active?")                 \
    X("pre-rollback", "may the tag before it become active again?")                 \
    X("pre-retire", "may the tag be taken out of service?")                         \
    X("cutover", "the tag is active")                                               \
    X("cutover-held", "the gate holds")                                             \
    X("rollback", "the tag before it is active again")                              \
    X("retire", "the tag is out of service")                                        \
    X("start", "a backfill begins")                                                 \
    X("pause", "it waits, and why")                                                 \
    X("resume", "it goes on")                                                       \
    X("quarantine", "an item was given up, and why")                                \
    X("postpone", "all is filled, and the cutover waits for a file to go")          \
    X("stopped", "the backfill ended early, and why")                               \
    X("done", "all is filled")

#define HOOK_NAME(name, text) name,
static const char *const hook_names[] = {HOOK_EVENTS(HOOK_NAME)};
#undef HOOK_NAME
enum { HOOKS = sizeof hook_names / sizeof *hook_names };

static int hook_index(const char *name)
{
    int i;
    for (i = 0; i < HOOKS; i++) if (!strcmp(hook_names[i], name)) return i;
    return -1;
}

static int hook_guards(const char *event)
{
    return !strncmp(event, "pre-", 4);
}

/* ---- Looking at the folder ------------------------------------------------------------ */

/* What editors, version control and packages leave beside programs. */
static int hook_ignored(const char *name)
{
    static const char *const ends[] = {"~", ".sample", ".bak", ".orig"};
    size_t n = strlen(name), i;
    if (name[0] == '.' || name[0] == '#') return 1;
    for (i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i]);
        if (n > k && !strcmp(name + n - k, ends[i])) return 1;
    }
    return 0;
}

static int hook_in_path(const char *name)
{
    const char *p = getenv("PATH");
    char path[HOOK_PATH];
    if (!p || strchr(name, '/')) return !access(name, X_OK);
    while (*p) {
        size_t n = strcspn(p, ":");
        int len = snprintf(path, sizeof path, "%.*s/%s", (int)n, p, name);
        if (len > 0 && (size_t)len < sizeof path && !access(path, X_OK)) return 1;
        p += n + (p[n] == ':');
    }
    return 0;
}

/* Whether what the first line of a program names is there; *word is that. */
static int hook_interpreter(FILE *f, char *line, size_t size, const char **word)
{
    char *p, *end;
    *word = "";
    if (!fgets(line, (int)size, f)) return 0;
    if (strncmp(line, "#!", 2)) return 1;
    p = line + 2 + strspn(line + 2, " \t");
    end = p + strcspn(p, " \t\n");
    *word = p;
    if (*end && *end != '\n') {
        char *name = end + strspn(end, " \t"), *last = name + strcspn(name, " \t\n");
        *end = *last = '\0';
        if (end - p < 4 || strcmp(end - 4, "/env")) return !access(p, X_OK);
        if (access(p, X_OK) || *name == '-' || strchr(name, '=')) return !access(p, X_OK);
        *word = name;
        return hook_in_path(name);
    }
    *end = '\0';
    return !access(p, X_OK);
}

/* NULL if a hook can be run, else why not. */
static const char *hook_wrong(const char *path, char *why, size_t size)
{
    struct stat sb;
    char line[256];
    const char *word;
    FILE *f;
    int good;
    if (lstat(path, &sb)) return errno == ENOENT ? "is gone" : strerror(errno);
    if (stat(path, &sb)) return errno == ENOENT ? "is a link to nowhere" : strerror(errno);
    if (!S_ISREG(sb.st_mode)) return "is no file";
    if (access(path, X_OK)) return "is not executable; chmod +x makes it so";
    if (!sb.st_size) return "is empty";
    f = fopen(path, "rb");
    if (!f) return NULL; /* a program that may be run, and not be read */
    good = hook_interpreter(f, line, sizeof line, &word);
    fclose(f);
    if (good) return NULL;
    snprintf(why, size, "wants '%.200s' to run it, which is not there", word);
    return why;
}

static int hook_unknown(const hook *h, const char *name)
{
    char all[400] = "";
    const char *near = cli_nearest(name, hook_names, HOOKS);
    int i;
    for (i = 0; i < HOOKS; i++) {
        snprintf(all + strlen(all), sizeof all - strlen(all), " %s", hook_names[i]);
    }
    return cli_misuse("--hook: %s/%s: no event has this name; %s%s%sthere are%s", h->dir, name,
                      near ? "did you mean " : "", near ? near : "", near ? "? " : "", all);
}

static int hook_check_one(hook *h, const char *name)
{
    char path[HOOK_PATH], text[300];
    const char *why;
    struct stat sb;
    int i = hook_index(name);
    if (snprintf(path, sizeof path, "%s/%s", h->dir, name) >= (int)sizeof path) {
        return cli_misuse("--hook: the path of %s is too long", name);
    }
    if (i < 0 && hook_ignored(name)) return 0;
    if (i < 0) return !stat(path, &sb) && S_ISDIR(sb.st_mode) ? 0 : hook_unknown(h, name);
    why = hook_wrong(path, text, sizeof text);
    if (why) return cli_misuse("--hook: %s: %s", path, why);
    h->there |= 1u << i;
    return 0;
}

int hook_check(hook *h)
{
    DIR *dir;
    struct dirent *e;
    int rc = 0;
    if (!h->dir) return 0;
    dir = opendir(h->dir);
    if (!dir) return cli_misuse("--hook: %s: %s", h->dir, strerror(errno));
    while (!rc && (e = readdir(dir)) != NULL) rc = hook_check_one(h, e->d_name);
    closedir(dir);
    return rc;
}

/* ---- Running -------------------------------------------------------------------------- */

/* A hook that was there once and is not any more is still to be run, which fails. */
static int hook_is_there(const hook *h, const char *event)
{
    char path[HOOK_PATH];
    struct stat sb;
    snprintf(path, sizeof path, "%s/%s", h->dir, event);
    if (h->there & 1u << hook_index(event) || !lstat(path, &sb)) return 1;
    return hook_guards(event) && (stat(h->dir, &sb) || !S_ISDIR(sb.st_mode));
}

int hook_start(hook_call *c, const hook *h, const char *event, const char *file, const char *tag)
{
    memset(c, 0, sizeof *c);
    if (!h->dir || !hook_is_there(h, event)) return 0;
    c->h = h;
    c->event = event;
    c->file = file;
    c->f = open_memstream(&c->text, &c->n);
    if (!c->f) exit(cli_nomem());
    out_start(&c->o, c->f);
    out_str(&c->o, "event", event);
    out_str(&c->o, "file", file);
    out_str(&c->o, "tag", tag);
    out_str(&c->o, "actor", cli_by());
    out_time(&c->o, "time", cli_clock());
    return 1;
}

void hook_drop(hook_call *c)
{
    out_close(&c->o, '}');
    fclose(c->f);
    free(c->text);
}

/* Runs it; 0, or its status or one of pool.h, with *why in words. */
static int hook_run(hook_call *c, char *path, char *why, size_t size)
{
    char text[300], span[CLI_TEXT];
    const char *wrong;
    uint64_t ms = c->h->timeout_ms;
    int status;
    out_close(&c->o, '}');
    fclose(c->f);
    snprintf(path, HOOK_PATH, "%s/%s", c->h->dir, c->event);
    wrong = hook_wrong(path, text, sizeof text);
    if (cli_stopped() && ms > 5000) ms = 5000; /* we are on our way out */
    status = wrong ? 127 : pool_run(path, c->text, c->n, ms);
    free(c->text);
    if (wrong) snprintf(why, size, "cannot be run: it %s", wrong);
    else if (status == POOL_LATE) snprintf(why, size, "gave no answer in %s", cli_span(span, ms));
    else if (status == POOL_STOPPED) snprintf(why, size, "was stopped");
    else snprintf(why, size, "status %d", status);
    return status;
}

int hook_ask(hook_call *c, const char *so)
{
    char path[HOOK_PATH], why[400];
    int status = POOL_STOPPED;
    if (cli_stopped()) hook_drop(c);
    else status = hook_run(c, path, why, sizeof why);
    if (status == POOL_STOPPED) return cli_fail("%s: %s; %s", c->file, stop_why(), so);
    if (!status) return 0;
    return cli_refuse("%s: the hook %s says no (%s); %s", c->file, path, why, so);
}

void hook_tell(hook_call *c)
{
    char path[HOOK_PATH], why[400];
    int status = hook_run(c, path, why, sizeof why);
    if (status) cli_warn("%s: the hook %s: %s; going on", c->file, path, why);
}

int hook_help(void)
{
    puts("backfill, cutover, rollback and retire take --hook DIR: a folder of programs under these\n"
         "names.\n");
#define HOOK_LINE(name, text) printf("  %-13s %s\n", name, text);
    HOOK_EVENTS(HOOK_LINE)
#undef HOOK_LINE
    puts("\nThose that begin with pre- are asked, the others are told. Asked is last, when all else\n"
         "speaks for the step, and nothing is locked meanwhile. Status 0 is a yes; any other, none\n"
         "within --hook-timeout (2m), or a program that cannot be run is a no: exit code 3, nothing\n"
         "changed. What is told may fail, with a warning. All is checked at the start, also by\n"
         "--dry-run, which runs none: names that are not in the list, and programs that cannot be\n"
         "run, are an error. Names that begin with a dot or end in ~, .bak, .orig or .sample, and\n"
         "folders, are passed over.\n"
         "\nEach gets one JSON object on standard input; its output goes to standard error. All have\n"
         "  event, file, tag, actor (the user), time\n"
         "cutover, rollback and retire, asked and told, also\n"
         "  state        the tag's role before\n"
         "  from, to     the active tag before and after; commit: the state that was looked at\n"
         "  gate         cutover: the object of vtag gate --json\n"
         "  reason       where one was given\n"
         "  hides        rollback: items that are fresh only under the tag left\n"
         "  items, lost  retire: those with a vector under the tag, and under no other\n"
         "and the events of a backfill\n"
         "  state, reason, done, total, quarantined, rate, eta_ms, pid, started, updated\n"
         "  id, key      quarantine: of the item");
    return CLI_DONE;
}
