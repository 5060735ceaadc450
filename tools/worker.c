/* worker.c - the one client of workers; see worker.h. */
#define _POSIX_C_SOURCE 200809L
#include "worker.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "members.h"

static unsigned long long ull(uint64_t n) { return n; }

/* ---- Members by value ---------------------------------------------------------------- */

/* A member that says nothing: absent, null, false, "", 0, [] and {}. */
static int wk_nothing(const json_value *v)
{
    if (!v) return 1;
    switch (v->type) {
    case JSON_NULL: return 1;
    case JSON_BOOL: return !v->u.truth;
    case JSON_NUMBER: return v->num == 0;
    default: return !v->n;
    }
}

static const json_value *wk_get(const json_value *o, const char *name)
{
    const json_value *v = json_get(o, name);
    return wk_nothing(v) ? NULL : v;
}

/* A whole number, also one written as 7.0. */
static int wk_whole(const json_value *v, uint64_t most, uint64_t *n)
{
    if (!v || v->type != JSON_NUMBER) return 0;
    if (v->whole & JSON_U64) *n = v->u.u64;
    else if (!(v->num >= 0 && v->num <= (double)JSON_EXACT && v->num == floor(v->num))) return 0;
    else *n = (uint64_t)v->num;
    return *n <= most;
}

static void wk_write(FILE *f, const json_value *v)
{
    int object = v->type == JSON_OBJECT;
    json_value tmp;
    size_t i;
    switch (v->type) {
    case JSON_NULL: fputs("null", f); return;
    case JSON_BOOL: fputs(v->u.truth ? "true" : "false", f); return;
    case JSON_STRING: json_write_string(f, v->u.str, v->n); return;
    case JSON_NUMBER:
        if (v->whole & JSON_U64) fprintf(f, "%llu", ull(v->u.u64));
        else json_write_double(f, v->num);
        return;
    default: break;
    }
    fputc(object ? '{' : '[', f);
    for (i = 0; i < v->n; i++) {
        if (i) fputc(',', f);
        if (object) json_write_string(f, v->u.members[i].name, v->u.members[i].name_n);
        if (object) fputc(':', f);
        wk_write(f, object ? &v->u.members[i].value : json_at(v, i, &tmp));
    }
    fputc(object ? '}' : ']', f);
}

/* What an error says: a text, the message of an object, or its JSON; one line. */
static char *wk_error(const json_value *v)
{
    static const char *const names[] = {"message", "error", "detail", "msg"};
    char line[1024], *text = NULL;
    size_t n = 0, i;
    FILE *f;
    for (i = 0; v->type == JSON_OBJECT && i < sizeof names / sizeof *names; i++) {
        const json_value *in = wk_get(v, names[i]);
        if (in && (in->type == JSON_STRING || in->type == JSON_OBJECT)) return wk_error(in);
    }
    if (v->type == JSON_STRING) return cli_strdup(cli_line(line, sizeof line, v->u.str, v->n));
    f = open_memstream(&text, &n);
    if (!f) return cli_strdup("error");
    wk_write(f, v);
    fclose(f);
    cli_line(line, sizeof line, text, n);
    free(text);
    return cli_strdup(line);
}

/* ---- Vectors of an answer -------------------------------------------------------------- */

static const json_value *wk_vector(const json_value *o)
{
    static const char *const names[] = {"vector", "embedding", "values"};
    size_t i;
    if (json_is_numbers(o, &i) && i) return o;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        const json_value *v = wk_get(o, names[i]);
        if (v) return v;
    }
    return NULL;
}

/* How many numbers a vector has; NULL, or what is wrong with it. */
static const char *wk_count(const json_value *v, size_t *n)
{
    json_value tmp;
    size_t i;
    if (!v) return "no vector in its answer";
    if (json_is_numbers(v, n)) {
        return *n && *n <= 32768 ? NULL : "a vector in its answer has not 1 to 32,768 numbers";
    }
    for (i = 0; v->type == JSON_ARRAY && i < v->n; i++) {
        if (json_at(v, i, &tmp)->type == JSON_NULL) {
            return "a vector in its answer has null in place of a number, as JSON libraries write NaN";
        }
    }
    return "no vector of numbers in its answer";
}

static const char *wk_span(const json_value *o, vtag_vec *v)
{
    const json_value *off = wk_get(o, "off"), *len = wk_get(o, "len");
    uint64_t a = 0, b = 0;
    if ((off && !wk_whole(off, UINT32_MAX, &a)) || (len && !wk_whole(len, UINT32_MAX, &b))) {
        return "\"off\" and \"len\" want whole numbers";
    }
    v->off = (uint32_t)a;
    v->len = (uint32_t)b;
    return NULL;
}

/* Gives r room for the vectors, which have `sum` numbers together, and takes them. */
static const char *wk_take(worker_reply *r, const json_value *o, const json_value *many, size_t sum)
{
    const char *bad = NULL;
    float *x;
    size_t i, n = 0;
    r->n = many ? many->n : 1;
    r->v = malloc(r->n * sizeof *r->v + sum * sizeof *x);
    if (!r->v) return "no memory for its vectors";
    memset(r->v, 0, r->n * sizeof *r->v);
    x = (float *)(r->v + r->n);
    for (i = 0; !bad && i < r->n; i++, x += n) {
        const json_value *one = many ? &many->u.items[i] : o, *v = wk_vector(one);
        json_is_numbers(v, &n);
        r->v[i].dim = (uint32_t)n;
        r->v[i].x = x;
        if (json_floats(v, x) < n) bad = "a number is too large for a vector";
        else bad = wk_span(one, &r->v[i]);
    }
    if (!bad) return NULL;
    free(r->v);
    r->v = NULL;
    return bad;
}

static const char *wk_vectors(worker_reply *r, const json_value *o, const json_value *many)
{
    size_t i, n, sum = 0;
    const char *bad = NULL;
    if (many && wk_vector(o)) return "both \"vector\" and \"vectors\" in its answer";
    if (many && many->type == JSON_OBJECT) { /* by tag */
        if (many->n != 1) return "\"vectors\" of several tags";
        r->tag = many->u.members[0].name;
        o = many = &many->u.members[0].value;
        if (json_is_numbers(many, &n)) many = NULL;
    }
    if (many && many->type != JSON_ARRAY) return "\"vectors\" wants objects with a \"vector\" each";
    for (i = 0; !bad && i < (many ? many->n : 1); i++) {
        bad = wk_count(wk_vector(many ? &many->u.items[i] : o), &n);
        if (!bad) sum += n;
    }
    return bad ? bad : wk_take(r, o, many, sum);
}

/* ---- Reading an answer ----------------------------------------------------------------- */

/* Seconds of "retry_after": a number, also as a text; -1: it cannot be read as one. */
static double wk_wait(const json_value *v)
{
    const char *text = json_text(v);
    char *end;
    double x;
    if (v->type == JSON_NUMBER) return v->num > 0 ? v->num : 0;
    if (!text) return -1;
    x = strtod(text, &end);
    if (end == text || *end || !(x < 1e9)) return -1;
    return x > 0 ? x : 0;
}

static void wk_identity(const json_value *o, worker_reply *r)
{
    const json_value *id = json_get(o, "id"), *key = wk_get(o, "key");
    r->tag = json_text(wk_get(o, "tag"));
    r->has_rev = wk_whole(json_get(o, "rev"), UINT64_MAX, &r->rev);
    if (key && json_text(key)) {
        r->key = json_text(key);
        r->id = vtag_id(r->key);
        r->has_id = 1;
        return;
    }
    r->has_id = json_id(id, &r->id) || wk_whole(id, UINT64_MAX, &r->id);
    if (id && id->type == JSON_NUMBER && id->num > (double)JSON_EXACT) r->number = id->num;
    if (!r->has_id && r->number > 0 && r->number < 0x1p64) { /* 1.2e+19 */
        r->id = (uint64_t)r->number;
        r->has_id = 1;
    }
    if (!r->has_id && id && id->type == JSON_STRING && id->n) r->name = json_text(id);
}

static void wk_broken(worker_reply *r, const char *what)
{
    r->kind = WORKER_ERROR;
    r->broken = 1;
    r->error = cli_strdup(what);
}

const char *const worker_members[WORKER_MEMBERS] = {"id", "key", "rev", "tag", MEMBER_VECTOR,
    "vectors", "off", "len", "error", "retry_after", MEMBER_DATA, "data_base64"};

int worker_read(json *j, const char *line, size_t n, worker_reply *r)
{
    const members known = {worker_members, WORKER_MEMBERS, NULL, 0};
    const json_value *o = json_parse(j, line, n), *retry, *error, *many;
    const char *bad;
    char why[400];
    memset(r, 0, sizeof *r);
    if (!o || o->type != JSON_OBJECT) {
        if (o) snprintf(j->error, sizeof j->error, "no object");
        return 0;
    }
    r->top = o;
    wk_identity(o, r);
    retry = json_get(o, "retry_after");
    error = wk_get(o, "error");
    many = wk_get(o, "vectors");
    if (retry && (retry->type == JSON_NULL || (retry->type != JSON_NUMBER && wk_nothing(retry)))) {
        retry = NULL;
    }
    if (retry && (wk_wait(retry) != 0 || !error) && !wk_vector(o) && !many) {
        r->kind = WORKER_RETRY;
        r->wait = wk_wait(retry);
    } else if (error) {
        r->kind = WORKER_ERROR;
        r->error = wk_error(error);
    } else {
        bad = wk_vectors(r, o, many);
        if (bad && !many && !wk_vector(o) && members_check(o, &known, why, sizeof why)) bad = why;
        if (bad) wk_broken(r, bad);
    }
    return 1;
}

void worker_reply_free(worker_reply *r)
{
    free(r->v);
    free(r->error);
    r->v = NULL;
    r->error = NULL;
}

int worker_is_log(const char *line, size_t n)
{
    size_t i = 0;
    while (i < n && (line[i] == ' ' || line[i] == '\t')) i++;
    return i == n || line[i] != '{';
}

/* ---- What is in hand ------------------------------------------------------------------- */

static size_t wk_place(const worker *w, uint64_t id)
{
    return (size_t)((id * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (w->cap - 1);
}

static void wk_hold(worker *w, uint64_t id, uint64_t rev, void *owner)
{
    size_t i, was = w->cap;
    if ((w->n + 1) * 2 > w->cap) {
        worker_held *old = w->held;
        w->cap = was ? was * 2 : 64;
        w->held = cli_alloc(w->cap * sizeof *w->held);
        w->n = 0;
        for (i = 0; i < was; i++) if (old[i].used) wk_hold(w, old[i].id, old[i].rev, old[i].owner);
        free(old);
    }
    i = wk_place(w, id);
    while (w->held[i].used) i = (i + 1) & (w->cap - 1);
    w->held[i].id = id;
    w->held[i].rev = rev;
    w->held[i].owner = owner;
    w->held[i].used = 1;
    w->n++;
}

/* The place of an item, or cap. Without a revision: of the only one of that id. */
static size_t wk_find(const worker *w, uint64_t id, int has_rev, uint64_t rev)
{
    size_t i, found = w->cap;
    if (!w->n) return w->cap;
    for (i = wk_place(w, id); w->held[i].used; i = (i + 1) & (w->cap - 1)) {
        if (w->held[i].id != id || (has_rev && w->held[i].rev != rev)) continue;
        if (found < w->cap) return w->cap;
        found = i;
    }
    return found;
}

/* Takes one out, and moves up what stands behind it only because of it. */
static void *wk_let(worker *w, size_t i)
{
    void *owner = w->held[i].owner;
    size_t mask = w->cap - 1, k = i;
    w->recent[w->answered % 64] = w->held[i].id;
    for (;;) {
        k = (k + 1) & mask;
        if (!w->held[k].used) break;
        if (((k - wk_place(w, w->held[k].id)) & mask) < ((k - i) & mask)) continue;
        w->held[i] = w->held[k];
        i = k;
    }
    w->held[i].used = 0;
    w->n--;
    return owner;
}

/* ---- What is no answer ------------------------------------------------------------------ */

CLI_PRINTF(2, 3)
static void wk_note(worker *w, const char *fmt, ...)
{
    worker_notes *s = w->notes;
    va_list ap;
    if (s->n == WORKER_NOTES) return;
    va_start(ap, fmt);
    vsnprintf(s->text[s->n++], WORKER_TEXT, fmt, ap);
    va_end(ap);
}

void worker_warn(worker_notes *notes)
{
    for (; notes->told < notes->n; notes->told++) cli_warn("--exec: %s", notes->text[notes->told]);
}

static void wk_junk(worker *w, const char *line, size_t n, const char *what)
{
    char text[80];
    w->notes->junk++;
    wk_note(w, "%s: '%s'; ignored", what, cli_line(text, sizeof text, line, n));
}

/* The item in hand whose id a number was before it was rounded; 0: there is none. */
static uint64_t wk_rounded(const worker *w, double number)
{
    size_t i;
    for (i = 0; number > 0 && i < w->cap; i++) {
        double off = (double)w->held[i].id - number;
        if (w->held[i].used && fabs(off) <= number * 0x1p-52) return w->held[i].id;
    }
    return 0;
}

/* Why an answer is for nothing that is in hand, as far as can be told. */
static void wk_cause(const worker *w, const worker_reply *r, const char *text,
                     char cause[WORKER_TEXT])
{
    size_t same = wk_find(w, r->id, 0, 0);
    uint64_t small;
    if (!r->has_id && !r->name && r->error && !r->broken) {
        snprintf(cause, WORKER_TEXT, "the worker says, of no item: %.200s", r->error);
    } else if (wk_rounded(w, r->number)) {
        snprintf(cause, WORKER_TEXT, "an answer for what was not asked, id %.17g: the worker's JSON "
                 "rounds ids beyond 2^53: let it send the id as the string it got, or the key", r->number);
    } else if (r->name && wk_find(w, vtag_id(r->name), 0, 0) < w->cap) {
        snprintf(cause, WORKER_TEXT, "an answer has the key in \"id\": '%s'; let the worker send it as "
                 "\"key\"", text);
    } else if (r->name && cli_u64(r->name, &small) && wk_find(w, small, 0, 0) < w->cap) {
        snprintf(cause, WORKER_TEXT, "an answer has a text as \"id\" where a number was asked for: '%s'; "
                 "let the worker send the id as it got it", text);
    } else if (r->has_id && r->has_rev && same < w->cap) {
        snprintf(cause, WORKER_TEXT, "an answer for revision %llu, where %llu was asked for: '%s'; let "
                 "the worker send the \"rev\" it got, or none", ull(r->rev), ull(w->held[same].rev), text);
    } else if (!r->has_id && !r->name) {
        snprintf(cause, WORKER_TEXT, "an answer without \"id\" and \"key\": '%s'; let the worker send "
                 "the ones it got", text);
    } else {
        snprintf(cause, WORKER_TEXT, "an answer for what was not asked, it has no \"%s\" that was asked "
                 "for: '%s'", r->key ? "key" : "id", text);
    }
}

static void wk_stranger(worker *w, const worker_reply *r, const char *line, size_t n)
{
    char text[80];
    w->notes->unasked++;
    if (w->unasked++) return; /* one of each process tells of all */
    wk_cause(w, r, cli_line(text, sizeof text, line, n), w->notes->cause);
    wk_note(w, "%s", w->notes->cause);
}

static int wk_recent(const worker *w, uint64_t id)
{
    size_t i, n = w->answered < 64 ? (size_t)w->answered : 64;
    for (i = 0; i < n; i++) if (w->recent[i] == id) return 1;
    return 0;
}

/* ---- Lines ------------------------------------------------------------------------------- */

/* What follows a name in a line that is no JSON, up to the end of a number or a text. */
static int wk_scan(const char *line, const char *name, char *to, size_t size)
{
    const char *p = strstr(line, name);
    size_t n;
    if (!p) return 0;
    p += strlen(name);
    p += strspn(p, " \t:");
    if (*p == '"') n = strcspn(++p, "\"\\");
    else n = strspn(p, "0123456789");
    if (!n || n >= size) return 0;
    memcpy(to, p, n);
    to[n] = '\0';
    return 1;
}

/* An answer such as {"id":1,"rev":1,"vector":[NaN]}: an error of that item. */
static int wk_half_json(worker *w, const char *line, size_t n, worker_reply *r)
{
    char word[300], why[200], *text = cli_alloc(n + 1);
    memcpy(text, line, n);
    snprintf(why, sizeof why, "its answer is no JSON: %s", w->js.error);
    if (wk_scan(text, "\"key\"", word, sizeof word)) r->id = vtag_id(word), r->has_id = 1;
    else r->has_id = wk_scan(text, "\"id\"", word, sizeof word) && cli_u64(word, &r->id);
    r->has_rev = wk_scan(text, "\"rev\"", word, sizeof word) && cli_u64(word, &r->rev);
    free(text);
    if (!r->has_id || wk_find(w, r->id, r->has_rev, r->rev) == w->cap) return 0;
    wk_broken(r, why);
    return 1;
}

/* Finds whom an answer is for; 0: nobody. An only item needs no name. */
static int wk_match(worker *w, worker_reply *r, const char *line, size_t n)
{
    size_t i = w->cap;
    if (r->has_id) {
        i = wk_find(w, r->id, r->has_rev, r->rev);
    } else if (!r->name && w->asked == 1 && w->n == 1 && !r->broken && r->kind != WORKER_RETRY) {
        for (i = 0; !w->held[i].used;) i++;
    }
    if (i < w->cap) {
        r->owner = wk_let(w, i);
        w->answered += r->kind != WORKER_RETRY;
        w->since = cli_now();
        return 1;
    }
    if (!r->has_id && !r->name && r->kind == WORKER_RETRY) { /* of all that it has in hand */
        w->since = cli_now() + (r->wait > 0 ? (uint64_t)(r->wait < 3600 ? r->wait * 1000 : 36e5) : 0);
        return 1;
    }
    if (r->has_id && wk_recent(w, r->id)) w->notes->repeated++;
    else if (!r->has_id && !r->name && r->broken) wk_junk(w, line, n, "a line that is no answer");
    else wk_stranger(w, r, line, n);
    return 0;
}

static int wk_line(worker *w, const char *line, size_t n, int whole, worker_reply *r)
{
    int good = worker_read(&w->js, line, n, r);
    if (!good && !whole) return 0; /* it ended in the middle: its end tells why */
    if (!good && (worker_is_log(line, n) || !wk_half_json(w, line, n, r))) {
        wk_junk(w, line, n, "a line that is no JSON object");
        return 0;
    }
    if (wk_match(w, r, line, n)) return 1;
    worker_reply_free(r);
    return 0;
}

/* ---- One worker ---------------------------------------------------------------------------- */

int worker_listens(const worker *w)
{
    return !w->p.pid || (!w->p.finish && !w->p.gone && w->p.out >= 0 && !w->late && !w->endless);
}

int worker_ask(worker *w, const worker_item *item, void *owner)
{
    char *text = NULL;
    size_t n = 0;
    int rc = 0;
    FILE *f = open_memstream(&text, &n);
    out o;
    if (!f) return cli_nomem();
    out_start(&o, f);
    out_id(&o, "id", item->id);
    if (item->key) out_str(&o, "key", item->key);
    out_u64(&o, "rev", item->rev);
    out_data(&o, "data", item->data, item->n);
    out_close(&o, '}');
    if (fclose(f)) rc = cli_nomem();
    if (!rc && !w->p.pid) {
        rc = pool_start(&w->p, w->command);
        w->p.linger_ms = w->timeout_ms < 10000 ? w->timeout_ms : 10000;
        w->asked = w->answered = w->unasked = 0;
        w->late = w->endless = 0;
    }
    if (!rc) {
        if (!w->n) w->since = cli_now();
        wk_hold(w, item->id, item->rev, owner);
        w->asked++;
        pool_say(&w->p, text, n);
    }
    free(text);
    return rc;
}

void worker_finish(worker *w) { pool_finish(&w->p); }

size_t worker_poll(const worker *w, struct pollfd p[2])
{
    size_t n = 0;
    if (!w->p.pid) return 0;
    if (w->p.out >= 0) {
        p[n].fd = w->p.out;
        p[n++].events = POLLIN;
    }
    if (w->p.in >= 0 && pool_unsaid(&w->p)) {
        p[n].fd = w->p.in;
        p[n++].events = POLLOUT;
    }
    return n;
}

int worker_ending(const worker *w) { return w->p.pid && w->p.out < 0 && !w->p.ended; }

void worker_move(worker *w) { pool_move(&w->p); }

/* For how long it has made no progress. */
static uint64_t wk_silent(const worker *w)
{
    uint64_t now = cli_now();
    return now > w->since ? now - w->since : 0;
}

int worker_next(worker *w, worker_reply *r)
{
    const char *line;
    size_t n;
    int whole, got = 0;
    if (!w->p.pid || w->late || w->endless) return 0;
    while ((got = pool_line(&w->p, &line, &n, &whole)) > 0) {
        while (n && (line[n - 1] == '\r' || line[n - 1] == ' ')) n--;
        if (n && wk_line(w, line, n, whole, r)) return 1;
    }
    if (got < 0) w->endless = 1;
    else if (w->n && w->p.out >= 0 && !w->p.ended && wk_silent(w) >= w->timeout_ms) w->late = 1;
    if (w->endless || w->late) pool_kill(&w->p);
    return 0;
}

int worker_over(const worker *w) { return w->p.pid && w->p.ended; }

static void wk_why(const worker *w, int status, char *why, size_t size)
{
    char span[CLI_TEXT], bytes[CLI_TEXT], after[60];
    snprintf(after, sizeof after, w->answered ? "after %llu answers" : "and no answer",
             ull(w->answered));
    if (w->late) {
        snprintf(why, size, "gave no answer for %s (--timeout)", cli_span(span, w->timeout_ms));
    } else if (w->endless) {
        snprintf(why, size, "wrote a line of more than %s", cli_bytes(bytes, POOL_LINE_MOST));
    } else if (w->p.stuck) {
        snprintf(why, size, "closed its output and did not end, %s", after);
    } else if (!w->answered && w->unasked && !status) {
        snprintf(why, size, "answered only what was not asked: %s", w->notes->cause);
    } else if (status == 127) {
        snprintf(why, size, "ended with status 127 %s: there is no such command; check its path", after);
    } else if (status == 126) {
        snprintf(why, size, "ended with status 126 %s: it may not be run; chmod +x it", after);
    } else if (status > 128) {
        snprintf(why, size, "was killed by signal %d%s %s", status - 128,
                 status == 137 ? " (out of memory?)" : "", after);
    } else {
        snprintf(why, size, "ended with status %d %s", status, after);
    }
}

static void wk_forget(worker *w)
{
    if (w->cap) memset(w->held, 0, w->cap * sizeof *w->held);
    w->n = 0;
}

int worker_end(worker *w, char *why, size_t size)
{
    int status = pool_reap(&w->p);
    wk_why(w, status, why, size);
    wk_forget(w);
    return status;
}

void worker_close(worker *w)
{
    if (!w->p.pid) return;
    pool_finish(&w->p);
    pool_reap(&w->p);
    wk_forget(w);
}

void worker_free(worker *w)
{
    pool_free(&w->p);
    free(w->held);
    json_free(&w->js);
    w->held = NULL;
    w->n = w->cap = 0;
}

/* ---- A list of items --------------------------------------------------------------------- */

enum { RUN_SAID = 1 << 20, RUN_NONE = 3, RUN_SOME = 16, RUN_AGAIN = 3, RUN_OPEN_MS = 100 };
enum { ITEM_LEFT, ITEM_ASKED, ITEM_DONE };

typedef struct run {
    const worker_job *job;
    worker       w;
    worker_notes notes;
    unsigned char *state, *again; /* of each item; how often it was to be asked again at once */
    size_t       left;       /* items that are not done */
    size_t       next;       /* the first that may be left to be asked for */
    int          alone;      /* one item to one process: which one is it that fails? */
    int          over;       /* strict, and an item failed; or time is up */
    int          retried;    /* this process asked for another try of something */
    uint64_t     fed;        /* when it got the last item */
    unsigned     fails;      /* processes since the last answer */
    unsigned     limited;    /* rate limits since then */
    uint64_t     good;       /* items that got their vectors */
    uint64_t     start, since; /* since: the last answer */
    uint64_t     hold_until;
} run;

static void run_done(run *r, size_t i)
{
    r->state[i] = ITEM_DONE;
    r->left--;
}

CLI_PRINTF(3, 4)
static void run_error(run *r, size_t i, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->job->answers[i].error = cli_strdup(text);
    r->over |= r->job->strict;
    run_done(r, i);
}

static void run_hold(run *r, double seconds)
{
    unsigned i;
    double wait = seconds;
    if (r->hold_until <= cli_now()) r->limited++; /* else it is the same limit */
    if (wait < 0) for (wait = 1, i = 1; i < r->limited && wait < 64; i++) wait *= 4;
    if (wait > 36e5) wait = 36e5;
    if (cli_now() + (uint64_t)(wait * 1000) > r->hold_until) {
        r->hold_until = cli_now() + (uint64_t)(wait * 1000);
    }
}

static void run_take(run *r, worker_reply *reply)
{
    worker_answer *a = reply->owner;
    size_t i = a ? (size_t)(a - r->job->answers) : 0;
    if (reply->kind == WORKER_RETRY) {
        if (a) r->state[i] = ITEM_LEFT;
        if (a && i < r->next) r->next = i;
        r->retried = 1;
        if (a && reply->wait == 0 && r->again[i] < RUN_AGAIN) r->again[i]++;
        else run_hold(r, reply->wait == 0 ? -1 : reply->wait);
        return;
    }
    r->since = cli_now();
    r->fails = r->limited = 0;
    if (reply->kind == WORKER_ERROR) {
        run_error(r, i, reply->broken ? "the worker: %s" : "the worker says: %s", reply->error);
    } else {
        a->v = reply->v;
        a->n = reply->n;
        reply->v = NULL;
        r->good++;
        run_done(r, i);
    }
    worker_reply_free(reply);
}

/* Gives the process what its pipe will soon take. Its input ends when all was said and it
   stays silent: it may be asked again, or may answer at the end of its input. */
static int run_feed(run *r)
{
    const worker_job *job = r->job;
    int rc = 0;
    if ((r->w.p.pid && r->w.p.finish) || r->hold_until > cli_now()) return 0;
    while (!rc && r->next < job->n && pool_unsaid(&r->w.p) < RUN_SAID) {
        size_t i = r->next++;
        if (r->state[i] != ITEM_LEFT) continue;
        r->state[i] = ITEM_ASKED;
        rc = worker_ask(&r->w, &job->items[i], &job->answers[i]);
        r->fed = cli_now();
        if (r->alone) r->next = job->n;
    }
    if (!rc && r->w.p.pid && r->next >= job->n && cli_now() - r->fed >= RUN_OPEN_MS) {
        worker_finish(&r->w);
    }
    return rc;
}

/* The time is up, or the user stops it, or it limits its rate for too long: that counts for
   --timeout like any silence. */
static int run_stopped(run *r)
{
    char span[CLI_TEXT];
    const worker_job *job = r->job;
    uint64_t until = r->hold_until > cli_now() ? r->hold_until : cli_now();
    if (job->most_ms && cli_now() - r->start >= job->most_ms) r->over = 1;
    if (cli_stopped()) return cli_fail("--exec: interrupted while '%s' was at work", job->command);
    if (!r->limited || until - r->since < job->timeout_ms) return 0;
    return cli_fail("--exec: '%s' asks to wait, for longer than --timeout %s; run it again later, or "
                    "with a longer one", job->command, cli_span(span, job->timeout_ms));
}

/* One process, from its start until it is over or all answers are there. */
static int run_process(run *r)
{
    struct pollfd p[2];
    worker_reply reply;
    int rc = run_feed(r);
    r->retried = 0;
    while (!rc && !r->over && r->left && !worker_over(&r->w) && (r->w.n || worker_listens(&r->w))) {
        poll(p, (nfds_t)worker_poll(&r->w, p), worker_ending(&r->w) ? 2 : 20);
        worker_move(&r->w);
        while (!r->over && worker_next(&r->w, &reply)) run_take(r, &reply);
        rc = run_stopped(r);
        if (!rc && worker_listens(&r->w)) rc = run_feed(r);
    }
    return rc;
}

/* Waits until a rate limit is over. */
static int run_wait(run *r)
{
    int rc = run_stopped(r);
    while (!rc && !r->over && cli_now() < r->hold_until) {
        poll(NULL, 0, 20);
        rc = run_stopped(r);
    }
    return rc;
}

/* A process that gave no answer: is it this item, or everything? */
static int run_failed(run *r, int status, const char *why)
{
    const worker_job *job = r->job;
    int strange = r->w.unasked || status == 126 || status == 127, none = !r->good;
    size_t i = 0;
    r->fails++;
    if (job->n == 1 || r->fails >= (none ? RUN_NONE : RUN_SOME) || (none && strange)) {
        return cli_fail("--exec: '%s' %s; vtag help worker tells how to run it by hand", job->command,
                        why);
    }
    if (!r->alone && r->left > 1) {
        r->alone = 1;
        return 0;
    }
    while (r->state[i] == ITEM_DONE) i++;
    run_error(r, i, "the worker %s", why);
    r->alone = 0;
    return 0;
}

/* What a process leaves behind: items to be asked for again, or a failure. */
static int run_ended(run *r)
{
    char why[WORKER_TEXT + 100];
    size_t i, back = 0;
    int status = worker_end(&r->w, why, sizeof why);
    for (i = 0; i < r->job->n; i++) {
        if (r->state[i] != ITEM_ASKED) continue;
        r->state[i] = ITEM_LEFT;
        back++;
    }
    r->next = 0;
    if (r->w.answered) r->alone = 0;
    if (r->w.answered || !back || (r->retried && !status)) return 0;
    if (status == 75) {
        run_hold(r, -1);
        return 0;
    }
    return run_failed(r, status, why);
}

static int run_all(run *r)
{
    int rc = 0;
    while (!rc && !r->over && r->left) {
        rc = run_wait(r);
        if (!rc && !r->over) rc = run_process(r);
        if (!rc && !r->over && r->left) rc = run_ended(r);
    }
    if (!rc && !r->over) worker_close(&r->w);
    return rc;
}

int worker_run(const worker_job *job)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction was[3];
    run r;
    size_t i;
    int rc;
    memset(&r, 0, sizeof r);
    r.job = job;
    r.w.command = job->command;
    r.w.timeout_ms = job->timeout_ms;
    r.w.notes = &r.notes;
    r.state = cli_alloc(job->n + 1);
    r.again = cli_alloc(job->n + 1);
    r.left = job->n;
    r.start = r.since = cli_now();
    for (i = 0; i < 3; i++) sigaction(signals[i], NULL, &was[i]);
    cli_catch();
    rc = run_all(&r);
    worker_free(&r.w);
    for (i = 0; i < 3; i++) sigaction(signals[i], &was[i], NULL);
    free(r.state);
    free(r.again);
    if (!rc || r.notes.junk) worker_warn(&r.notes); /* else the failure has them */
    return rc;
}

int worker_all(const char *command, uint64_t timeout_ms, const worker_item *items, size_t n,
               worker_answer *answers)
{
    worker_job job = {0};
    memset(answers, 0, n * sizeof *answers);
    job.command = command;
    job.timeout_ms = timeout_ms;
    job.items = items;
    job.n = n;
    job.answers = answers;
    return worker_run(&job);
}

void worker_answers_free(worker_answer *answers, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        free(answers[i].v);
        free(answers[i].error);
        memset(&answers[i], 0, sizeof answers[i]);
    }
}

/* ---- Texts --------------------------------------------------------------------------------- */

static int texts_take(const worker_answer *a, size_t i, size_t n, float **x, uint32_t *dim)
{
    const char *why = a->error ? a->error : "the worker gave no answer";
    if (a->n == 1 && !a->error) {
        *dim = a->v[0].dim;
        *x = cli_grow(NULL, *dim, sizeof **x);
        memcpy(*x, a->v[0].x, *dim * sizeof **x);
        return 0;
    }
    if (!a->error && a->n) {
        return cli_fail("--exec: text %zu of %zu: the worker gave %zu vectors where a query has one",
                        i + 1, n, a->n);
    }
    return cli_fail("--exec: text %zu of %zu: %s", i + 1, n, why);
}

/* The first that failed is the one to tell of; the others may not have been asked for. */
static int texts_all(const worker_answer *a, size_t n, float **x, uint32_t *dim)
{
    size_t i;
    int rc = 0;
    for (i = 0; i < n; i++) if (a[i].error) return texts_take(&a[i], i, n, x, dim);
    for (i = 0; !rc && i < n; i++) rc = texts_take(&a[i], i, n, &x[i], &dim[i]);
    return rc;
}

int worker_texts(const char *command, uint64_t timeout_ms, const cli_text *texts, size_t n,
                 float **x, uint32_t *dim)
{
    worker_item *items = cli_alloc((n + 1) * sizeof *items);
    worker_job job = {0};
    size_t i;
    int rc;
    for (i = 0; i < n; i++) {
        items[i].id = i;
        items[i].rev = 1;
        items[i].data = texts[i].s;
        items[i].n = texts[i].n;
        x[i] = NULL;
    }
    job.command = command;
    job.timeout_ms = timeout_ms;
    job.strict = 1;
    job.items = items;
    job.n = n;
    job.answers = cli_alloc((n + 1) * sizeof *job.answers);
    rc = worker_run(&job);
    if (!rc) rc = texts_all(job.answers, n, x, dim);
    for (i = 0; rc && i < n; i++) {
        free(x[i]);
        x[i] = NULL;
    }
    worker_answers_free(job.answers, n);
    free(job.answers);
    free(items);
    return rc;
}

int cli_embed(const char *command, const char *text, size_t size, float **x, uint32_t *dim)
{
    cli_text one;
    one.s = text;
    one.n = size;
    *dim = 0;
    return worker_texts(command, WORKER_TIMEOUT_MS, &one, 1, x, dim);
}
