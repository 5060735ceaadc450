/* text.c - progress, people's numbers and tables, and reading of whole inputs. */
#define _POSIX_C_SOURCE 200809L
#ifndef _DEFAULT_SOURCE
#  define _DEFAULT_SOURCE /* TIOCGWINSZ */
#endif
#define _DARWIN_C_SOURCE
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Time -------------------------------------------------------------------- */

static uint64_t text_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t cli_now(void) { return text_clock(CLOCK_MONOTONIC); }
uint64_t cli_clock(void) { return text_clock(CLOCK_REALTIME); }

double cli_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- Numbers ------------------------------------------------------------------- */

const char *cli_bytes(char buf[CLI_TEXT], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double x = (double)bytes / 1024;
    size_t i = 0;
    if (bytes < 1024) {
        snprintf(buf, CLI_TEXT, "%d B", (int)bytes);
        return buf;
    }
    while (x >= 1023.95 && i < 5) {
        x /= 1024;
        i++;
    }
    snprintf(buf, CLI_TEXT, "%.1f %s", x, units[i]);
    return buf;
}

const char *cli_count(char buf[CLI_TEXT], uint64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), i, at = 0;
    for (i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = '\0';
    return buf;
}

const char *cli_time(char buf[CLI_TEXT], uint64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    size_t n;
    if (!ms || ms / 1000 > 253402300799u || !gmtime_r(&s, &tm)) return strcpy(buf, "-");
    n = strftime(buf, CLI_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf + n, CLI_TEXT - n, ".%03dZ", (int)(ms % 1000));
    return buf;
}

const char *cli_span(char buf[CLI_TEXT], uint64_t ms)
{
    unsigned long long s = ms / 1000;
    if (ms == UINT64_MAX) return strcpy(buf, "unlimited");
    if (s < 1) snprintf(buf, CLI_TEXT, "%d ms", (int)ms);
    else if (s < 120) snprintf(buf, CLI_TEXT, "%llu s", s);
    else if (s < 7200) snprintf(buf, CLI_TEXT, "%llu min", s / 60);
    else if (s < 172800 && s % 3600 < 60) snprintf(buf, CLI_TEXT, "%llu h", s / 3600);
    else if (s < 172800) {
        snprintf(buf, CLI_TEXT, "%llu h %llu min", s / 3600, s % 3600 / 60);
    } else {
        snprintf(buf, CLI_TEXT, "%llu days", s / 86400);
    }
    return buf;
}

const char *cli_percent(char buf[CLI_TEXT], uint64_t part, uint64_t of)
{
    uint64_t x;
    if (!of) return strcpy(buf, "-");
    x = part == of ? 10000 : (uint64_t)((double)part / (double)of * 10000);
    if (x >= 10000 && part < of) x = 9999;
    snprintf(buf, CLI_TEXT, "%llu.%02d %%", (unsigned long long)(x / 100), (int)(x % 100));
    return buf;
}

const char *cli_rate(char buf[CLI_TEXT], double rate)
{
    if (!(rate > 0)) return strcpy(buf, "0");
    if (rate >= 99.95) return cli_count(buf, rate < 1e18 ? (uint64_t)(rate + 0.5) : (uint64_t)1e18);
    snprintf(buf, CLI_TEXT, rate < 0.995 ? "%.3f" : "%.1f", rate);
    return buf;
}

/* ---- Progress -------------------------------------------------------------------- */

int cli_plain_terminal(void)
{
    const char *term = getenv("TERM");
    return !term || !*term || !strcmp(term, "dumb");
}

/* What a line may take: of COLUMNS and the terminal's own width the smaller. */
static size_t text_columns(void)
{
    const char *given = getenv("COLUMNS");
    struct winsize w;
    uint64_t most = 80, n;
    if (!ioctl(2, TIOCGWINSZ, &w) && w.ws_col) most = w.ws_col;
    if (given && cli_u64(given, &n) && n && n < most) most = n;
    return (size_t)most;
}

void cli_progress_start(cli_progress *p, const char *what, const char *unit, uint64_t total)
{
    memset(p, 0, sizeof *p);
    p->what = what;
    p->unit = unit;
    p->total = total;
    p->start_ms = p->last_ms = cli_now();
    p->tty = isatty(2) && !cli.quiet && !cli_plain_terminal();
}

void cli_progress_rest(cli_progress *p)
{
    if (!p->rests++) p->rest_since = cli_now();
}

void cli_progress_work(cli_progress *p)
{
    if (!--p->rests) p->rest_ms += cli_now() - p->rest_since;
}

uint64_t cli_progress_ms(const cli_progress *p)
{
    uint64_t to = p->rests ? p->rest_since : cli_now();
    return to - p->start_ms - p->rest_ms;
}

double cli_progress_rate(const cli_progress *p)
{
    uint64_t ms = cli_progress_ms(p);
    return ms ? (double)p->done * 1000 / (double)ms : 0;
}

uint64_t cli_progress_left(const cli_progress *p)
{
    if (p->done >= p->total || p->done < (p->total + 99) / 100) return 0;
    return (uint64_t)((double)cli_progress_ms(p) * (double)(p->total - p->done) / (double)p->done);
}

static const char *text_amount(const cli_progress *p, char buf[CLI_TEXT], uint64_t n)
{
    return strcmp(p->unit, "bytes") ? cli_count(buf, n) : cli_bytes(buf, n);
}

/* What is said beside the bar, as much of it as fits. */
static void text_words(const cli_progress *p, char *line, size_t size)
{
    char a[CLI_TEXT], b[CLI_TEXT], count[2 * CLI_TEXT + 40], rate[CLI_TEXT + 8], left[CLI_TEXT + 8];
    uint64_t ms = cli_progress_left(p);
    double per = cli_progress_rate(p);
    int plain = strcmp(p->unit, "bytes") != 0;
    snprintf(count, sizeof count, "%s%s%s%s%.16s", text_amount(p, a, p->done), p->total ? "/" : "",
             p->total ? text_amount(p, b, p->total) : "", plain ? " " : "", plain ? p->unit : "");
    snprintf(rate, sizeof rate, ", %s/s", plain ? cli_rate(a, per) : cli_bytes(a, (uint64_t)per));
    left[0] = '\0';
    if (ms) snprintf(left, sizeof left, ", %s left", cli_span(a, ms));
    if (strlen(count) + strlen(rate) + strlen(left) >= size) rate[0] = '\0';
    if (strlen(count) + strlen(left) >= size) left[0] = '\0';
    snprintf(line, size, "%.*s%s%s", (int)size - 1, count, rate, left);
}

/* "import [####....] 12/30 rows, 4.0/s, 4 s left" in width columns */
static void text_line(const cli_progress *p, char *line, size_t width)
{
    enum { BAR = 20, LEAST = 5 };
    char words[150], bar[BAR + 4] = "";
    size_t name = strlen(p->what) + 1, room, i;
    double share = p->total ? (double)p->done / (double)p->total : 0;
    room = width > name + 1 ? width - name + 1 : 1;
    text_words(p, words, room < sizeof words ? room : sizeof words);
    room = width > name + strlen(words) + 3 ? width - name - strlen(words) - 3 : 0;
    if (room > BAR) room = BAR;
    if (p->tty && p->total && room >= LEAST) {
        bar[0] = '[';
        for (i = 0; i < room; i++) bar[i + 1] = (double)i + 1 <= share * (double)room ? '#' : '.';
        memcpy(bar + room + 1, "] ", 3);
    }
    snprintf(line, width + 1, "%s %s%s", p->what, bar, words);
}

/* Shown only where nobody has to be waited for. */
static void text_show(const char *text)
{
    struct pollfd p = {2, POLLOUT, 0};
    if (poll(&p, 1, 0) == 1 && p.revents & POLLOUT) fputs(text, stderr);
}

static void text_progress(cli_progress *p)
{
    enum { MOST = 180 };
    char line[MOST + 1], all[MOST + 8];
    size_t width = p->tty ? text_columns() - 1 : MOST;
    text_line(p, line, width < MOST ? width : MOST);
    snprintf(all, sizeof all, p->tty ? "\r\033[K%s" : "%s\n", line);
    text_show(all);
    p->shown = 1;
}

void cli_progress_at(cli_progress *p, uint64_t done)
{
    uint64_t now;
    p->done = done;
    if (cli.quiet) return;
    now = cli_now();
    if (now - p->last_ms < (p->tty ? 100u : 30000u)) return;
    p->last_ms = now;
    text_progress(p);
}

void cli_progress_end(cli_progress *p)
{
    if (p->tty && p->shown) text_show("\r\033[K");
    p->shown = 0;
}

int cli_progress_call(void *ctx, uint64_t done, uint64_t total)
{
    cli_progress *p = ctx;
    p->total = total;
    cli_progress_at(p, done);
    return cli_stopped();
}

/* ---- Text from anywhere -------------------------------------------------------------- */

/* Bytes of the well-formed UTF-8 character at s[n], 0 if there is none. */
static size_t text_utf8(const unsigned char *s, size_t n)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3
               : s[0] < 0xF5 ? 4 : 0, i;
    if (!len || len > n) return 0;
    for (i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    if (len == 3 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))) return 0;
    if (len == 4 && ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))) return 0;
    return len;
}

static int text_control(const unsigned char *s, size_t len)
{
    return (len == 1 && (s[0] < 0x20 || s[0] == 0x7F)) || (len == 2 && s[0] == 0xC2 && s[1] < 0xA0);
}

const char *cli_line(char *buf, size_t size, const void *data, size_t n)
{
    const unsigned char *s = data;
    size_t at = 0, i = 0;
    while (i < n && s[i] != '\n' && s[i] != '\r') {
        size_t len = text_utf8(s + i, n - i);
        if (at + 4 + 4 > size) {
            memcpy(buf + at, "...", 3);
            at += 3;
            break;
        }
        if (!len || text_control(s + i, len)) {
            buf[at++] = len && s[i] == '\t' ? ' ' : '?';
            i += len ? len : 1;
            continue;
        }
        memcpy(buf + at, s + i, len);
        at += len;
        i += len;
    }
    buf[at] = '\0';
    return buf;
}

/* ---- Tables ------------------------------------------------------------------------------ */

void cli_row(cli_table *t, const char *fmt, ...)
{
    va_list ap;
    char *row;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    row = cli_alloc((size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(row, (size_t)n + 1, fmt, ap);
    va_end(ap);
    if (t->n == t->cap) t->rows = cli_grow(t->rows, t->cap = t->cap * 2 + 16, sizeof *t->rows);
    t->rows[t->n++] = row;
}

/* Columns that a text takes: its characters, not its bytes. */
static int text_width(const char *s, size_t n)
{
    int w = 0;
    size_t i;
    for (i = 0; i < n; i++) w += ((unsigned char)s[i] & 0xC0) != 0x80;
    return w;
}

static void text_widths(const cli_table *t, int *width, size_t columns)
{
    size_t i, c;
    memset(width, 0, columns * sizeof *width);
    for (i = 0; i < t->n; i++) {
        const char *p = t->rows[i];
        for (c = 0; c < columns; c++) {
            size_t n = strcspn(p, "\t");
            int w = text_width(p, n);
            if (w > width[c]) width[c] = w;
            p += n;
            if (*p) p++;
        }
    }
}

static void text_row(const char *p, const int *width, const char *align)
{
    size_t c, columns = strlen(align);
    for (c = 0; c < columns; c++) {
        size_t n = strcspn(p, "\t");
        int pad = width[c] - text_width(p, n), last = c + 1 == columns;
        if (align[c] == 'r') printf("%*s", pad, "");
        fwrite(p, 1, n, stdout);
        if (align[c] == 'l' && !last) printf("%*s", pad, "");
        if (!last) fputs("  ", stdout);
        p += n;
        if (*p) p++;
    }
    putchar('\n');
}

void cli_table_print(cli_table *t, const char *align)
{
    int width[32];
    size_t i;
    text_widths(t, width, strlen(align));
    for (i = 0; i < t->n; i++) {
        text_row(t->rows[i], width, align);
        free(t->rows[i]);
    }
    free(t->rows);
    memset(t, 0, sizeof *t);
}
