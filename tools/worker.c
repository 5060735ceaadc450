/* worker.c - asks a worker process for the vectors of texts. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"

typedef struct worker {
    pid_t   pid;
    FILE   *in, *out;        /* a file with its standard input, and its output */
    json    j;
    size_t  asked;
    float **x;               /* x[asked] and their lengths, by the order of asking */
    uint32_t *dim;
} worker;

static void worker_child(const char *command, int in, int out)
{
    dup2(in, 0);
    dup2(out, 1);
    if (in > 2) close(in);
    if (out > 2) close(out);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* Starts a worker that reads what is in w->in. */
static int worker_start(worker *w, const char *command)
{
    int from[2];
    if (fflush(w->in) || lseek(fileno(w->in), 0, SEEK_SET)) {
        return cli_fail("--exec: the texts: %s; check the disk of temporary files",
                        strerror(errno));
    }
    if (pipe(from)) return cli_fail("--exec: %s", strerror(errno));
    fflush(stdout);
    w->pid = fork();
    if (w->pid == 0) {
        close(from[0]);
        worker_child(command, fileno(w->in), from[1]);
    }
    close(from[1]);
    w->out = fdopen(from[0], "r");
    if (w->pid > 0 && w->out) return 0;
    return cli_fail("--exec: %s", strerror(errno));
}

/* Waits for the worker; its exit status, 128 + n for signal n. */
static int worker_end(worker *w)
{
    int status = 0;
    if (w->in) fclose(w->in);
    if (w->out) fclose(w->out);
    json_free(&w->j);
    if (w->pid <= 0) return 0;
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) { }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void worker_ask(worker *w, const cli_text *text, size_t i)
{
    fprintf(w->in, "{\"id\":%zu,\"rev\":1,\"", i);
    if (json_utf8(text->s, text->n) == text->n) {
        fputs("data\":", w->in);
        json_write_string(w->in, text->s, text->n);
    } else {
        fputs("data_base64\":", w->in);
        json_write_base64(w->in, text->s, text->n);
    }
    fputs("}\n", w->in);
}

static int worker_vector(worker *w, const json_value *top, size_t i)
{
    json_value tmp;
    const json_value *v = json_get(top, "vector"), *why = json_get(top, "error");
    size_t count = 0;
    if (!v && (v = json_get(top, "vectors")) != NULL) {
        v = v->n == 1 ? json_get(json_at(v, 0, &tmp), "vector") : NULL;
    }
    if (why) {
        return cli_fail("--exec: text %zu of %zu: the worker says: %s", i + 1, w->asked,
                        json_text(why) ? json_text(why) : "error");
    }
    if (!v || !json_is_numbers(v, &count) || !count || count > 32768) {
        return cli_fail("--exec: text %zu of %zu: the worker's answer has no \"vector\" of 1 to "
                        "32,768 numbers", i + 1, w->asked);
    }
    free(w->x[i]);
    w->x[i] = cli_alloc(count * sizeof **w->x);
    w->dim[i] = (uint32_t)count;
    if (json_floats(v, w->x[i]) == count) return 0;
    return cli_fail("--exec: text %zu of %zu: a number is too large for a vector", i + 1, w->asked);
}

/* Takes one answer, by its id and not by its place; one to a single text needs none. */
static int worker_answer(worker *w, const char *line, size_t n)
{
    const json_value *top = json_parse(&w->j, line, n), *id = json_get(top, "id");
    if (!top) return cli_fail("--exec: the worker's answer is no JSON: %s", w->j.error);
    if (!id && w->asked == 1) return worker_vector(w, top, 0);
    if (!id || !(id->whole & JSON_U64) || id->u.u64 >= w->asked) {
        return cli_fail("--exec: the worker's answer has no \"id\" that was asked for");
    }
    return worker_vector(w, top, (size_t)id->u.u64);
}

static int worker_run(worker *w, const char *command, const cli_text *texts, size_t n)
{
    char *line = NULL;
    size_t cap = 0, size, i, left = n;
    int rc, status, got = 1;
    w->in = tmpfile();
    if (!w->in) return cli_fail("--exec: a temporary file: %s", strerror(errno));
    for (i = 0; i < n; i++) worker_ask(w, &texts[i], i);
    rc = worker_start(w, command);
    while (!rc && (got = cli_getline(w->out, &line, &cap, &size)) == 1) {
        if (size) rc = worker_answer(w, line, size);
    }
    free(line);
    status = worker_end(w);
    for (i = 0; i < n; i++) left -= w->x[i] != NULL;
    if (rc || !left) return rc;
    if (n == 1) {
        return cli_fail("--exec: '%s' ended with status %d and no answer; run it by hand",
                        command, status);
    }
    return cli_fail("--exec: '%s' ended with status %d and answers to %zu of %zu texts; run it by "
                    "hand", command, status, n - left, n);
}

int cli_embed_many(const char *command, const cli_text *texts, size_t n, float **x, uint32_t *dim)
{
    worker w;
    size_t i;
    int rc;
    memset(&w, 0, sizeof w);
    w.asked = n;
    w.x = x;
    w.dim = dim;
    for (i = 0; i < n; i++) x[i] = NULL;
    rc = n ? worker_run(&w, command, texts, n) : 0;
    for (i = 0; rc && i < n; i++) {
        free(x[i]);
        x[i] = NULL;
    }
    return rc;
}

int cli_embed(const char *command, const char *text, size_t size, float **x, uint32_t *dim)
{
    cli_text one;
    one.s = text;
    one.n = size;
    *dim = 0;
    return cli_embed_many(command, &one, 1, x, dim);
}
