/* worker.c - asks a worker process for the vector of one text. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"

typedef struct worker {
    pid_t pid;
    FILE *in, *out;          /* its standard input and output */
} worker;

static void worker_child(const char *command, const int to[2], const int from[2])
{
    dup2(to[0], 0);
    dup2(from[1], 1);
    close(to[0]);
    close(to[1]);
    close(from[0]);
    close(from[1]);
    signal(SIGPIPE, SIG_DFL);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static int worker_start(worker *w, const char *command)
{
    int to[2], from[2];
    memset(w, 0, sizeof *w);
    if (pipe(to)) return cli_fail("--exec: %s", strerror(errno));
    if (pipe(from)) {
        close(to[0]);
        close(to[1]);
        return cli_fail("--exec: %s", strerror(errno));
    }
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN); /* a worker that does not read is an error, not our end */
    w->pid = fork();
    if (w->pid == 0) worker_child(command, to, from);
    close(to[0]);
    close(from[1]);
    w->in = fdopen(to[1], "w");
    w->out = fdopen(from[0], "r");
    if (w->pid > 0 && w->in && w->out) return 0;
    return cli_fail("--exec: %s", strerror(errno));
}

/* Waits for the worker; its exit status, 128 + n for signal n. */
static int worker_end(worker *w)
{
    int status = 0;
    if (w->in) fclose(w->in);
    if (w->out) fclose(w->out);
    if (w->pid <= 0) return 0;
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) { }
    signal(SIGPIPE, SIG_DFL);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void worker_ask(worker *w, const char *text, size_t n)
{
    fputs("{\"id\":0,\"rev\":1,\"", w->in);
    if (json_utf8(text, n) == n) {
        fputs("data\":", w->in);
        json_write_string(w->in, text, n);
    } else {
        fputs("data_base64\":", w->in);
        json_write_base64(w->in, text, n);
    }
    fputs("}\n", w->in);
    fclose(w->in);
    w->in = NULL;
}

static int worker_answer(const char *line, size_t n, float **x, uint32_t *dim)
{
    json j = {0};
    json_value tmp;
    const json_value *top = json_parse(&j, line, n), *v, *why;
    size_t count = 0;
    int rc = 0;
    if (!top) {
        rc = cli_fail("--exec: the worker's answer is no JSON: %s", j.error);
        json_free(&j);
        return rc;
    }
    why = json_get(top, "error");
    v = json_get(top, "vector");
    if (!v && (v = json_get(top, "vectors")) != NULL) {
        v = v->n == 1 ? json_get(json_at(v, 0, &tmp), "vector") : NULL;
    }
    if (why) {
        rc = cli_fail("--exec: the worker says: %s", json_text(why) ? json_text(why) : "error");
    } else if (!v || !json_is_numbers(v, &count) || !count || count > 32768) {
        rc = cli_fail("--exec: the worker's answer has no \"vector\" of 1 to 32,768 numbers");
    } else {
        *x = cli_alloc(count * sizeof **x);
        *dim = (uint32_t)count;
        if (json_floats(v, *x) < count) rc = cli_fail("--exec: a number is too large for a vector");
    }
    json_free(&j);
    return rc;
}

int cli_embed(const char *command, const char *text, size_t size, float **x, uint32_t *dim)
{
    worker w;
    char *line = NULL;
    size_t cap = 0, n = 0;
    int status, got = 0, rc = worker_start(&w, command);
    *x = NULL;
    *dim = 0;
    if (!rc) {
        worker_ask(&w, text, size);
        got = cli_getline(w.out, &line, &cap, &n);
    }
    status = worker_end(&w);
    if (!rc && got != 1) {
        rc = cli_fail("--exec: '%s' ended with status %d and no answer; run it by hand",
                      command, status);
    }
    if (!rc) rc = worker_answer(line, n, x, dim);
    free(line);
    return rc;
}
