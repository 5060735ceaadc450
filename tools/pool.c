/* pool.c - other programs and the pipes to them; see pool.h. */
#define _POSIX_C_SOURCE 200809L
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
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

/* Descriptors 0 to 2 are the standard ones, even of a program that was started without. */
static int pool_above(int fd)
{
    int up = fd > 2 ? fd : fcntl(fd, F_DUPFD, 3);
    if (up != fd) close(fd);
    if (up >= 0) fcntl(up, F_SETFD, FD_CLOEXEC);
    return up;
}

static int pool_pipe(int fd[2])
{
    if (pipe(fd)) return -1;
    fd[0] = pool_above(fd[0]);
    fd[1] = pool_above(fd[1]);
    if (fd[0] >= 0 && fd[1] >= 0) return 0;
    if (fd[0] >= 0) close(fd[0]);
    if (fd[1] >= 0) close(fd[1]);
    return -1;
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

/* ---- Buffers --------------------------------------------------------------------- */

/* Room for n more bytes; a buffer that a long line made large does not stay so. */
static char *pool_room(pool_buffer *b, size_t n)
{
    enum { KEPT = 4 << 20 };
    if (b->at == b->n && b->cap > KEPT) {
        free(b->p);
        memset(b, 0, sizeof *b);
    }
    if (b->at) {
        memmove(b->p, b->p + b->at, b->n - b->at);
        b->n -= b->at;
        b->at = 0;
    }
    if (b->cap - b->n < n) b->p = cli_grow(b->p, b->cap += b->cap / 2 + n, 1);
    return b->p + b->n;
}

/* ---- Workers ----------------------------------------------------------------------- */

int pool_start(pool_worker *w, const char *command)
{
    w->say.at = w->say.n = w->got.at = w->got.n = w->seen = 0;
    w->finish = w->gone = w->ended = w->stuck = w->begun = 0;
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

size_t pool_unsaid(const pool_worker *w) { return w->say.n - w->say.at; }

static void pool_write(pool_worker *w)
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

void pool_finish(pool_worker *w)
{
    w->finish = 1;
    pool_write(w);
}

static void pool_close(pool_worker *w)
{
    close(w->out);
    w->out = -1;
    if (!w->gone) w->since = cli_now();
    pool_finish(w);
}

/* Reads what is there: at least all that a pipe holds, so that nothing of a process which
   was gone before is left. */
static void pool_read(pool_worker *w)
{
    enum { MORE = 65536 };
    int turns;
    for (turns = 0; w->out >= 0 && turns < 32; turns++) {
        ssize_t n;
        if (w->got.n - w->got.at > POOL_LINE_MOST) return; /* pool_line refuses it */
        n = read(w->out, pool_room(&w->got, MORE), MORE);
        if (n > 0) w->got.n += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR)) pool_close(w);
        else if (errno == EAGAIN) return;
    }
}

/* 1 if the process has ended; it keeps its number until it is waited for. */
static int pool_gone(const pool_worker *w)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT)) return errno == ECHILD;
    return info.si_pid == w->pid;
}

void pool_kill(pool_worker *w)
{
    if (w->pid > 0) kill(-w->pid, SIGKILL);
}

void pool_move(pool_worker *w)
{
    enum { LEFT_MS = 500, LINGER_MS = 10000 }; /* of what it left behind; without an output */
    int gone;
    if (!w->pid || w->ended) return;
    gone = w->gone || pool_gone(w);
    pool_write(w);
    pool_read(w);
    if (gone && !w->gone) {
        w->gone = 1;
        w->since = cli_now();
    }
    if (w->gone) {
        w->ended = w->out < 0 || cli_now() - w->since >= LEFT_MS;
    } else if (w->out < 0 && !w->stuck &&
               cli_now() - w->since >= (w->linger_ms ? w->linger_ms : LINGER_MS)) {
        w->stuck = 1;
        pool_kill(w);
    }
}

int pool_line(pool_worker *w, const char **line, size_t *n, int *whole)
{
    static const char mark[] = "\xEF\xBB\xBF";
    pool_buffer *b = &w->got;
    size_t have = b->n - b->at;
    char *end;
    if (!w->begun && (have >= 3 || w->ended)) {
        w->begun = 1;
        if (have >= 3 && !memcmp(b->p + b->at, mark, 3)) b->at += 3, have -= 3;
    }
    if (!w->begun) return 0;
    end = have > w->seen ? memchr(b->p + b->at + w->seen, '\n', have - w->seen) : NULL;
    *n = end ? (size_t)(end - (b->p + b->at)) : have;
    if (*n > POOL_LINE_MOST) {
        b->at = b->n = w->seen = 0;
        return -1;
    }
    w->seen = end ? 0 : have;
    if (!end && (!w->ended || !have)) return 0;
    *line = b->p + b->at;
    *whole = end != NULL;
    b->at += *n + (end != NULL);
    w->seen = 0;
    return 1;
}

int pool_reap(pool_worker *w)
{
    uint64_t until = cli_now() + 1000;
    int status = 0;
    if (w->pid <= 0) return 0;
    if (w->in >= 0) close(w->in);
    if (w->out >= 0) close(w->out);
    while (!w->gone && !pool_gone(w) && cli_now() < until) pool_sleep(2);
    kill(-w->pid, SIGKILL); /* what it may have left behind; it itself, when it does not end */
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) { }
    w->pid = 0;
    w->in = w->out = -1;
    w->finish = 0;
    return pool_status(status);
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
