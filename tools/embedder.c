/* embedder.c - which command embeds for a tag; see embedder.h. */
#define _POSIX_C_SOURCE 200809L
#include "embedder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EMBEDDER_MOST = 1 << 20 }; /* bytes of the file */

#define EMBEDDER_SIGNS "abcdefghijklmnopqrstuvwxyz0123456789._-@/*"

/* The user's own file into path; 0 if the environment does not say where that would be. */
static int embedder_path(char *path, size_t size)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n;
    if (base && base[0] == '/') n = snprintf(path, size, "%s/vtag/embedders", base);
    else if (home && home[0] == '/') n = snprintf(path, size, "%s/.config/vtag/embedders", home);
    else return 0;
    return n > 0 && (size_t)n < size;
}

static int embedder_safe(const char *path, int fd)
{
    struct stat sb;
    if (fstat(fd, &sb)) return cli_fail("%s: %s", path, strerror(errno));
    if (S_ISDIR(sb.st_mode)) return cli_fail("%s: is a folder; give a file of lines PATTERN = COMMAND", path);
    if (sb.st_uid != geteuid() && sb.st_uid != 0) {
        return cli_fail("%s: belongs to another user, and it says what is run; chown it, or copy it "
                        "after reading it", path);
    }
    if (sb.st_mode & (S_IWGRP | S_IWOTH)) {
        return cli_fail("%s: others may write it, and it says what is run; chmod go-w it after reading "
                        "it", path);
    }
    return 0;
}

/* Reads it whole, with a zero byte behind. */
static int embedder_slurp(const char *path, int fd, char **text, size_t *n)
{
    ssize_t got = 1;
    *n = 0;
    *text = cli_alloc(EMBEDDER_MOST + 1);
    while (got && *n < EMBEDDER_MOST) {
        got = read(fd, *text + *n, EMBEDDER_MOST - *n);
        if (got > 0) *n += (size_t)got;
        else if (got < 0 && errno != EINTR) return cli_fail("%s: %s", path, strerror(errno));
    }
    return *n < EMBEDDER_MOST ? 0 : cli_fail("%s: has more than 1 MiB; it is no file of embedders", path);
}

/* Whether a tag's name fits a pattern; each * takes as little as it can, the last one as
   much as it must. */
static int embedder_fits(const char *pattern, const char *name)
{
    const char *star = NULL, *from = NULL;
    while (*name) {
        if (*pattern == '*') star = pattern++, from = name;
        else if (*pattern == *name) pattern++, name++;
        else if (star) pattern = star + 1, name = ++from;
        else return 0;
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

static char *embedder_trim(char *s, char *end)
{
    while (end > s && strchr(" \t\r", end[-1])) end--;
    *end = '\0';
    return s + strspn(s, " \t");
}

/* Splits a line; *pattern NULL: it says nothing. NULL, or what is wrong with it. */
static const char *embedder_line(char *line, char *end, char **pattern, char **command)
{
    char *equals;
    *pattern = NULL;
    if (memchr(line, '\0', (size_t)(end - line))) return "it holds a zero byte";
    line = embedder_trim(line, end);
    if (!*line || *line == '#') return NULL;
    equals = strchr(line, '=');
    if (!equals) return "it has no =";
    *command = embedder_trim(equals + 1, equals + 1 + strlen(equals + 1));
    line = embedder_trim(line, equals);
    if (!*line) return "it has no pattern before the =";
    if (line[strspn(line, EMBEDDER_SIGNS)]) return "the pattern is no tag's name, in which * may stand";
    if (!**command) return "it has no command behind the =";
    *pattern = line;
    return NULL;
}

typedef struct embedder_kept { struct embedder_kept *next; char *command; } embedder_kept;

static const char *embedder_keep(const char *command)
{
    static embedder_kept *all;
    embedder_kept *k = cli_alloc(sizeof *k);
    k->command = cli_strdup(command);
    k->next = all;
    all = k;
    return k->command;
}

/* Every line has to be right, also behind the one that fits. */
static int embedder_find(const char *path, char *text, size_t n, const char *tag,
                         const char **command)
{
    char *line = text, *end, *pattern, *found;
    unsigned long long number = 0;
    if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) line += 3;
    for (; line < text + n; line = end + 1) {
        const char *bad;
        number++;
        end = memchr(line, '\n', (size_t)(text + n - line));
        if (!end) end = text + n;
        bad = embedder_line(line, end, &pattern, &found);
        if (bad) {
            return cli_fail("%s: line %llu: %s; each line is TAG-PATTERN = COMMAND", path, number, bad);
        }
        if (pattern && !*command && embedder_fits(pattern, tag)) *command = embedder_keep(found);
    }
    return 0;
}

int embedder_for(const char *file, const char *tag, const char **command)
{
    char path[4096], *text = NULL;
    size_t n;
    int fd, rc;
    if (*command) return 0;
    if (file) snprintf(path, sizeof path, "%s", file);
    else if (!embedder_path(path, sizeof path)) return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && !file && (errno == ENOENT || errno == ENOTDIR)) return 0;
    if (fd < 0) return cli_fail("%s: %s; it is the file of embedders", path, strerror(errno));
    rc = embedder_safe(path, fd);
    if (!rc) rc = embedder_slurp(path, fd, &text, &n);
    if (!rc) rc = embedder_find(path, text, n, tag, command);
    free(text);
    close(fd);
    return rc;
}

int embedder_must(const char *file, const char *tag, const char *option, const char **command)
{
    int rc = embedder_for(file, tag, command);
    if (rc || *command) return rc;
    return cli_misuse("%s: %s COMMAND is missing, and no line of %s is for '%s'", cli.cmd, option,
                      file ? file : "your vtag/embedders", tag);
}
