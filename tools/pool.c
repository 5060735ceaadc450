/* pool.c - other programs and the pipes to them; see pool.h. */
#define _POSIX_C_SOURCE 200809L
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "cli.h"
#include "stop.h"

/* In the child: its own group, so that all of it can be killed, and no life after ours. */
static void pool_child(const char *command, int shell, int in, int out)
{
    setpgid(0, 0);
#ifdef PR_SET_PDEATHSIG
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    dup2(in, 0);
    dup2(out, 1);
    signal(SIGPIPE, SIG_DFL);
    if (shell) execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    else execl(command, command, (char *)NULL);
    if (!shell && errno == ENOEXEC) execl("/bin/sh", "sh", command, (char *)NULL); /* as a shell does */
    _exit(127);
}

static int pool_pipe(int fd[2])
{
    if (pipe(fd)) return -1;
    fcntl(fd[0], F_SETFD, FD_CLOEXEC);
    fcntl(fd[1], F_SETFD, FD_CLOEXEC);
    return 0;
}

/* Starts a program; *out may be NULL, then its output goes to our standard error. */
static pid_t pool_spawn(const char *command, int shell, int *in, int *out)
{
    int to[2], from[2] = {-1, -1};
    pid_t pid;
    if (pool_pipe(to)) return -1;
    if (out && pool_pipe(from)) {
        close(to[0]);
        close(to[1]);
        return -1;
    }
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN); /* one that does not read is an error, not our end */
    pid = fork();
    if (pid == 0) pool_child(command, shell, to[0], out ? from[1] : 2);
    close(to[0]);
    if (out) close(from[1]);
    *in = to[1];
    fcntl(*in, F_SETFL, O_NONBLOCK);
    if (out) {
        *out = from[0];
        fcntl(*out, F_SETFL, O_NONBLOCK);
    }
    if (pid > 0) setpgid(pid, pid);
    return pid;
}

static int pool_status(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void pool_sleep(long ms)
{
    struct timespec t;
    t.tv_sec = ms / 1000;
    t.tv_nsec = ms % 1000 * 1000000;
    nanosleep(&t, NULL);
}

/* Waits up to ms for a process to end, then kills it; *late tells. */
static int pool_wait(pid_t pid, unsigned long ms, int *late)
{
    uint64_t until = cli_now() + ms;
    int status = 0;
    pid_t got;
    long nap = 1;
    *late = 0;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 && cli_now() < until) {
        pool_sleep(nap);
        if (nap < 20) nap *= 2;
    }
    if (got == 0) {
        *late = 1;
        kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) { }
    }
    return pool_status(status);
}

/* ---- Buffers --------------------------------------------------------------------- */

static char *pool_room(pool_buffer *b, size_t n)
{
    if (b->at) {
        memmove(b->p, b->p + b->at, b->n - b->at);
        b->n -= b->at;
        b->at = 0;
    }
    if (b->cap - b->n < n) b->p = cli_grow(b->p, b->cap = b->cap * 2 + n, 1);
    return b->p + b->n;
}

/* ---- Workers ----------------------------------------------------------------------- */

int pool_start(pool_worker *w, const char *command)
{
    w->say.at = w->say.n = w->got.at = w->got.n = 0;
    w->finish = w->ended = 0;
    w->pid = pool_spawn(command, 1, &w->in, &w->out);
    if (w->pid > 0) return 0;
    w->pid = 0;
    return cli_fail("--exec: %s; close other programs and run it again", strerror(errno));
}

void pool_say(pool_worker *w, const void *p, size_t n)
{
    memcpy(pool_room(&w->say, n), p, n);
    w->say.n += n;
}

void pool_finish(pool_worker *w)
{
    w->finish = 1;
    pool_write(w);
}

void pool_write(pool_worker *w)
{
    while (w->in >= 0 && w->say.at < w->say.n) {
        ssize_t n = write(w->in, w->say.p + w->say.at, w->say.n - w->say.at);
        if (n > 0) w->say.at += (size_t)n;
        else if (n < 0 && errno == EINTR) continue;
        else if (n < 0 && errno == EAGAIN) return;
        else w->finish = 1, w->say.at = w->say.n; /* it reads no more: its end tells why */
    }
    if (w->in >= 0 && w->finish) {
        close(w->in);
        w->in = -1;
    }
}

void pool_read(pool_worker *w)
{
    enum { MORE = 65536 };
    int turns;
    for (turns = 0; turns < 16; turns++) {
        ssize_t n = read(w->out, pool_room(&w->got, MORE), MORE);
        if (n > 0) {
            w->got.n += (size_t)n;
            if (n < MORE) return;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            w->ended = 1;
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

int pool_line(pool_worker *w, const char **line, size_t *n, int *whole)
{
    pool_buffer *b = &w->got;
    char *end = b->n > b->at ? memchr(b->p + b->at, '\n', b->n - b->at) : NULL;
    if (!end && (!w->ended || b->n == b->at)) return 0;
    *line = b->p + b->at;
    *n = end ? (size_t)(end - *line) : b->n - b->at;
    *whole = end != NULL;
    b->at += *n + (end != NULL);
    return 1;
}

void pool_kill(pool_worker *w)
{
    if (w->pid > 0) kill(-w->pid, SIGKILL);
}

int pool_reap(pool_worker *w)
{
    int late, status;
    if (w->in >= 0) close(w->in);
    close(w->out);
    status = pool_wait(w->pid, 1000, &late);
    kill(-w->pid, SIGKILL); /* what it may have left behind */
    w->pid = 0;
    w->in = w->out = -1;
    return status;
}

void pool_free(pool_worker *w)
{
    if (w->pid > 0) {
        pool_kill(w);
        pool_reap(w);
    }
    free(w->say.p);
    free(w->got.p);
    memset(w, 0, sizeof *w);
}

/* ---- Hooks ---------------------------------------------------------------------------- */

/* Gives what a program takes without being waited for; -1 for *in when all is said. */
static void pool_give(int *in, const char *text, size_t n, size_t *at)
{
    while (*in >= 0 && *at < n) {
        ssize_t put = write(*in, text + *at, n - *at);
        if (put > 0) *at += (size_t)put;
        else if (put < 0 && errno == EAGAIN) return;
        else if (put < 0 && errno == EINTR) continue;
        else break; /* it does not want to know */
    }
    if (*in >= 0) close(*in);
    *in = -1;
}

int pool_run(const char *path, const char *text, size_t n, uint64_t ms)
{
    stop_mark mark = stop_now();
    uint64_t from = cli_now();
    int in, status = 0, late = 0, stopped = 0;
    size_t at = 0;
    long nap = 1;
    pid_t got, pid = pool_spawn(path, 0, &in, NULL);
    if (pid <= 0) return 127;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 && !late && !stopped) {
        pool_give(&in, text, n, &at);
        pool_sleep(nap);
        if (nap < 20) nap *= 2;
        late = cli_now() - from >= ms;
        stopped = stop_since(&mark);
    }
    if (in >= 0) close(in);
    if (got) return got == pid ? pool_status(status) : 127;
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) { }
    return stopped ? POOL_STOPPED : POOL_LATE;
}
