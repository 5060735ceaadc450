/* test_lines.c - the one reader of lines: what ends a line, and what must never pass for the
   end of the input. Reads and memory fail here when they are told to. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include "../vtag.h"
#include "test.h"

static int stopped;          /* what cli_stopped says */
static uint64_t now;         /* and cli_now */
static int fail_at = -1;     /* reads until one fails with fail_errno */
static int fail_errno;
static size_t chunk;         /* bytes of a read at most; 0: all */
static size_t memory = SIZE_MAX; /* bytes of a block at most */
static size_t largest;       /* that was asked for */
static char said[700];

int cli_stopped(void);
uint64_t cli_now(void);
int cli_fail(const char *fmt, ...);
int cli_stopped(void) { return stopped; }
uint64_t cli_now(void) { return now; }
int cli_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(said, sizeof said, fmt, ap);
    va_end(ap);
    return 1;
}

static ssize_t my_read(int fd, void *p, size_t n)
{
    if (!fail_at--) {
        errno = fail_errno;
        return -1;
    }
    return read(fd, p, chunk && n > chunk ? chunk : n);
}

static void *my_realloc(void *p, size_t n)
{
    if (n > largest) largest = n;
    return n > memory ? NULL : realloc(p, n);
}

static int my_poll(struct pollfd *p, nfds_t n, int ms)
{
    int ready = poll(p, n, 0);
    if (!ready) now += (uint64_t)ms + 1;
    return ready;
}

#define read my_read
#define realloc my_realloc
#define poll(p, n, ms) my_poll(p, n, ms)
#define LINES_WINDOW 32
#include "../tools/lines.c"
#undef read
#undef realloc
#undef poll

static lines in;

/* Writes a file and opens it. */
static void given_bytes(const char *p, size_t n)
{
    const char *path = t_path("input");
    FILE *f = fopen(path, "wb");
    fwrite(p, 1, n, f);
    fclose(f);
    fail_at = -1;
    stopped = 0;
    memory = SIZE_MAX;
    largest = 0;
    REQUIRE(lines_open(&in, path));
}

#define GIVEN(s) given_bytes(s, sizeof s - 1)

static int next_is(const char *want)
{
    char *line;
    size_t n;
    int got = lines_next(&in, &line, &n);
    return got == LINES_LINE && n == strlen(want) && !memcmp(line, want, n + 1);
}

static int next(void)
{
    char *line;
    size_t n;
    return lines_next(&in, &line, &n);
}

static void lines_end_at_lf_at_crlf_and_at_the_end(void)
{
    size_t sizes[] = {0, 1, 2, 3, 7}, i;
    for (i = 0; i < 5; i++) {
        chunk = sizes[i];
        GIVEN("one\r\n\ntwo\rtwo\n\r\nlast");
        CHECK(next_is("one") && in.number == 1);
        CHECK(next_is("") && next_is("two\rtwo"));
        CHECK(next_is("") && in.number == 4 && !in.unended);
        CHECK(next_is("last") && in.unended && in.number == 5);
        CHECK(next() == LINES_END && next() == LINES_END && in.number == 5);
        CHECK(lines_done(&in) == in.total);
        lines_close(&in);
    }
    chunk = 0;
}

static void a_mark_of_utf8_counts_only_at_the_start(void)
{
    GIVEN("\xEF\xBB\xBF" "a\n\xEF\xBB\xBF" "b\n");
    CHECK(next_is("a") && next_is("\xEF\xBB\xBF" "b") && next() == LINES_END);
    lines_close(&in);
    GIVEN("\xEF\xBB\xBF");
    CHECK(next() == LINES_END);
    lines_close(&in);
    GIVEN("\xEF\xBB\xBF\r\nx");
    CHECK(next_is("") && next_is("x") && next() == LINES_END);
    lines_close(&in);
    GIVEN("");
    CHECK(next() == LINES_END && !in.number);
    lines_close(&in);
}

static void a_zero_byte_is_named_and_the_next_line_comes(void)
{
    GIVEN("good\nab\0cd\nnext\n");
    CHECK(next_is("good") && next() == LINES_BAD);
    CHECK(strstr(in.error, "input: line 2: a zero byte after 2 others") != NULL);
    CHECK(next_is("next") && next() == LINES_END);
    lines_close(&in);
}

static void a_line_over_the_limit_breaks_off_in_bounded_memory(void)
{
    static char big[100000];
    memset(big, 'x', sizeof big);
    memcpy(big, "short\n", 6);
    given_bytes(big, sizeof big);
    in.limit = 1000;
    CHECK(next_is("short") && next() == LINES_BROKEN && in.number == 2);
    CHECK(strstr(in.error, "input: line 2: longer than 1000 bytes") != NULL);
    CHECK(next() == LINES_BROKEN && in.broken);
    CHECK(largest <= 4096 && in.got < 5000);
    lines_close(&in);
    big[1005] = big[1006] = '\n'; /* a line of 999 bytes, and one of 0 */
    given_bytes(big, 1007);
    in.limit = 999;
    CHECK(next_is("short") && next() == LINES_LINE && next_is("") && next() == LINES_END);
    lines_close(&in);
    given_bytes(big, 1007);
    in.limit = 998;
    CHECK(next_is("short") && next() == LINES_BROKEN);
    lines_close(&in);
}

static void a_read_that_fails_is_not_the_end(void)
{
    GIVEN("one\ntwo\nthree");
    chunk = 6;
    fail_at = 1;
    fail_errno = EIO;
    CHECK(next_is("one") && next() == LINES_BROKEN);
    CHECK(strstr(in.error, "input: line 2: Input/output error") != NULL);
    CHECK(next() == LINES_BROKEN);
    lines_close(&in);
    GIVEN("one\n");
    fail_at = 0;
    CHECK(next() == LINES_BROKEN && strstr(in.error, "input: Input/output error") != NULL);
    lines_close(&in);
    chunk = 0;
}

static void too_little_memory_is_not_the_end(void)
{
    static char big[1000];
    memset(big, 'x', sizeof big);
    memcpy(big, "ab\n", 3);
    given_bytes(big, sizeof big);
    memory = 200;
    CHECK(next_is("ab") && next() == LINES_BROKEN);
    CHECK(strstr(in.error, "input: line 2: out of memory") != NULL);
    CHECK(next() == LINES_BROKEN);
    lines_close(&in);
}

static void a_signal_that_means_nothing_interrupts_nothing(void)
{
    GIVEN("one\n");
    fail_at = 0;
    fail_errno = EINTR;
    CHECK(next_is("one") && next() == LINES_END);
    lines_close(&in);
    GIVEN("one\n");
    fail_at = 0;
    stopped = 1;
    CHECK(next() == LINES_BROKEN && strstr(in.error, "interrupted") != NULL);
    lines_close(&in);
}

static void a_pipe_gives_what_is_there(void)
{
    int fd[2];
    char *line;
    size_t n;
    REQUIRE(!pipe(fd));
    stopped = 0;
    fail_at = -1;
    memory = SIZE_MAX;
    lines_from(&in, "pipe", fd[0]);
    now = 100;
    CHECK(lines_until(&in, 1000, &line, &n) == LINES_LATE && now >= 1000 && now < 3000);
    REQUIRE(write(fd[1], "one\ntw", 6) == 6);
    CHECK(lines_until(&in, now, &line, &n) == LINES_LINE && !strcmp(line, "one"));
    CHECK(lines_until(&in, now, &line, &n) == LINES_LATE);
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    in.nowait = 1;
    CHECK(lines_next(&in, &line, &n) == LINES_LATE && in.number == 1);
    REQUIRE(write(fd[1], "o\nend", 5) == 5);
    CHECK(next_is("two") && lines_next(&in, &line, &n) == LINES_LATE);
    in.nowait = 0;
    close(fd[1]);
    CHECK(next_is("end") && in.unended && next() == LINES_END);
    lines_close(&in);
    CHECK(!close(fd[0])); /* it was not ours to close */
}

static void a_stop_ends_the_wait(void)
{
    int fd[2];
    REQUIRE(!pipe(fd));
    lines_from(&in, "pipe", fd[0]);
    stopped = 1;
    CHECK(next() == LINES_BROKEN && !strcmp(in.error, "pipe: interrupted"));
    lines_close(&in);
    close(fd[0]);
    close(fd[1]);
}

static void what_is_no_text_of_ours_is_named(void)
{
    static const struct { const char *bytes; size_t n; const char *word; } all[] = {
        {"\x1F\x8B\x08\0abc\n", 8, "gzip"}, {"PAR1\x15\n", 6, "Parquet"},
        {"SQLite format 3\0xx\n", 19, "SQLite"}, {"\xFF\xFE{\0\"\0\n\0", 8, "UTF-16"},
        {"\xFE\xFF\0{\0\n", 6, "UTF-16"}, {"{\0\"\0a\0\n\0", 8, "UTF-16"},
        {"\0{\0\"\0a\0\n", 8, "UTF-16"}, {"PK\3\4zip", 7, "zip"}};
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        given_bytes(all[i].bytes, all[i].n);
        CHECK(next() == LINES_BROKEN && strstr(in.error, all[i].word) != NULL);
        CHECK(next() == LINES_BROKEN);
        lines_close(&in);
    }
}

static void bytes_are_waited_for_and_stay(void)
{
    GIVEN("0123456789abcdef");
    chunk = 3;
    CHECK(lines_need(&in, 4) == 4 && !memcmp(lines_front(&in), "0123", 4));
    CHECK(lines_need(&in, 10) == 10);
    lines_skip(&in, 10);
    CHECK(lines_need(&in, 100) == 6 && !memcmp(lines_front(&in), "abcdef", 6) && !in.broken);
    lines_close(&in);
    GIVEN("0123456789abcdef");
    fail_at = 2;
    fail_errno = EIO;
    CHECK(lines_need(&in, 100) == 6 && in.broken && strstr(in.error, "Input/output") != NULL);
    lines_close(&in);
    chunk = 0;
}

static void a_whole_input_is_whole_or_an_error(void)
{
    char *p;
    size_t n;
    GIVEN("a\0b\n");
    lines_close(&in);
    CHECK(!lines_slurp(in.name, 4, &p, &n) && n == 4 && !memcmp(p, "a\0b\n", 5));
    free(p);
    CHECK(lines_slurp(in.name, 3, &p, &n) == 1 && !p && strstr(said, "more than 3 bytes") != NULL);
    fail_at = 1;
    fail_errno = EIO;
    CHECK(lines_slurp(in.name, 4, &p, &n) == 1 && !p && strstr(said, "Input/output") != NULL);
    CHECK(lines_slurp("/nowhere/file", 4, &p, &n) == 1 && strstr(said, "No such file") != NULL);
    CHECK(lines_slurp("/", 4, &p, &n) == 1 && strstr(said, "is a folder") != NULL);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(lines_end_at_lf_at_crlf_and_at_the_end);
    RUN(a_mark_of_utf8_counts_only_at_the_start);
    RUN(a_zero_byte_is_named_and_the_next_line_comes);
    RUN(a_line_over_the_limit_breaks_off_in_bounded_memory);
    RUN(a_read_that_fails_is_not_the_end);
    RUN(too_little_memory_is_not_the_end);
    RUN(a_signal_that_means_nothing_interrupts_nothing);
    RUN(a_pipe_gives_what_is_there);
    RUN(a_stop_ends_the_wait);
    RUN(what_is_no_text_of_ours_is_named);
    RUN(bytes_are_waited_for_and_stay);
    RUN(a_whole_input_is_whole_or_an_error);
    return t_end();
}
