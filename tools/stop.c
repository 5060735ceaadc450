/* stop.c - signals and flag files; see stop.h. */
#define _POSIX_C_SOURCE 200809L
#include "stop.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static volatile sig_atomic_t stop_count;
static const char *stop_panic;
static int stop_panicked;

static void stop_on_signal(int sig)
{
    (void)sig;
    if (stop_count < 1000) stop_count++;
}

void cli_catch(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a, was;
    size_t i;
    memset(&a, 0, sizeof a);
    a.sa_handler = stop_on_signal;
    sigemptyset(&a.sa_mask);
    for (i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (signals[i] == SIGHUP && !sigaction(SIGHUP, NULL, &was) && was.sa_handler == SIG_IGN) {
            continue; /* nohup */
        }
        sigaction(signals[i], &a, NULL);
    }
}

int cli_stopped(void)
{
    if (!stop_panicked && stop_flag(stop_panic)) stop_panicked = 1;
    return stop_count || stop_panicked;
}

void stop_panic_file(const char *path)
{
    stop_panic = path;
    stop_panicked = 0;
}

const char *stop_why(void)
{
    if (!cli_stopped()) return NULL;
    return stop_count ? "interrupted" : "panic file is there";
}

stop_mark stop_now(void)
{
    stop_mark m;
    m.asked = cli_stopped();
    m.signals = (unsigned)stop_count;
    return m;
}

int stop_since(const stop_mark *m)
{
    return (cli_stopped() && !m->asked) || (unsigned)stop_count > m->signals;
}

int stop_flag(const char *path)
{
    struct stat sb;
    return path && lstat(path, &sb) == 0;
}

int stop_nap(uint64_t ms)
{
    uint64_t until = cli_now() + ms, now = cli_now();
    while (!cli_stopped() && now < until) {
        uint64_t nap = until - now < 50 ? until - now : 50;
        struct timespec t;
        t.tv_sec = 0;
        t.tv_nsec = (long)nap * 1000000;
        nanosleep(&t, NULL);
        now = cli_now();
    }
    return cli_stopped();
}

int stop_last(const char *file, const char *what)
{
    const char *why = stop_why();
    return why ? cli_fail("%s: %s; %s", file, why, what) : 0;
}
