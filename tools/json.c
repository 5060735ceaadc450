/* json.c - the JSON reader and writer of the tools; see json.h. */
#include "json.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory: an arena for the tree, a stack for what is still growing ----------- */

typedef struct js_block {
    struct js_block *next;
    size_t           size, used; /* of the bytes that follow */
} js_block;

typedef struct json_memory {
    js_block *blocks;        /* the newest first */
    size_t    total;         /* bytes of all of them */
    char     *stack;
    size_t    top, cap;
} js_memory;

#define JS_BLOCK_HEAD ((sizeof(js_block) + 15) & ~(size_t)15)
#define JS_WHOLE 9007199254740992.0 /* 2^53: from here on doubles merge integers */

static js_block *js_block_new(js_memory *m, size_t need)
{
    size_t size = m->total < 65536 ? 65536 : m->total;
    js_block *b;
    if (size < need) size = need;
    b = size < SIZE_MAX - JS_BLOCK_HEAD ? malloc(JS_BLOCK_HEAD + size) : NULL;
    if (!b) return NULL;
    b->next = m->blocks;
    b->size = size;
    b->used = 0;
    m->blocks = b;
    m->total += size;
    return b;
}

static void *js_alloc(js_memory *m, size_t n)
{
    js_block *b = m->blocks;
    void *p;
    if (n > SIZE_MAX - 64) return NULL;
    n = (n + 15) & ~(size_t)15;
    if (!b || b->size - b->used < n) b = js_block_new(m, n);
    if (!b) return NULL;
    p = (char *)b + JS_BLOCK_HEAD + b->used;
    b->used += n;
    return p;
}

static void js_blocks_free(js_memory *m)
{
    while (m->blocks) {
        js_block *next = m->blocks->next;
        free(m->blocks);
        m->blocks = next;
    }
}

/* Forgets the tree; several blocks become one of their size, for the next text. */
static int js_reset(js_memory *m)
{
    m->top = 0;
    if (m->blocks && !m->blocks->next) {
        m->blocks->used = 0;
        return 1;
    }
    js_blocks_free(m);
    if (!m->total) return 1;
    {
        size_t total = m->total;
        m->total = 0;
        return js_block_new(m, total) != NULL;
    }
}

/* Room for n more bytes on the stack, or NULL; it moves when it grows. */
static void *js_push(js_memory *m, size_t n)
{
    void *p;
    if (m->cap - m->top < n) {
        size_t cap = m->cap < 4096 ? 4096 : m->cap * 2;
        char *stack = realloc(m->stack, cap);
        if (!stack) return NULL;
        m->stack = stack;
        m->cap = cap;
    }
    p = m->stack + m->top;
    m->top += n;
    return p;
}

/* Moves what the stack holds above base into the arena. */
static void *js_pop(js_memory *m, size_t base)
{
    size_t n = m->top - base;
    void *p = js_alloc(m, n);
    if (p && n) memcpy(p, m->stack + base, n);
    m->top = base;
    return p;
}

/* ---- Scanning ------------------------------------------------------------------- */

typedef struct js {
    const char *p, *start, *end;
    js_memory  *m;
    json       *out;
    int         depth;
    int       (*value)(struct js *s, json_value *v); /* js_value, for what nests */
} js;

static int js_fail_at(js *s, const char *at, const char *what)
{
    s->out->at = (size_t)(at - s->start) + 1;
    snprintf(s->out->error, sizeof s->out->error, "%s at byte %lu", what,
             (unsigned long)s->out->at);
    return 0;
}

static int js_fail(js *s, const char *what)
{
    return js_fail_at(s, s->p, s->p == s->end ? "malformed JSON: it ends too early" : what);
}

static int js_nomem(js *s)
{
    return js_fail_at(s, s->p, "out of memory for the JSON");
}

static void js_space(js *s)
{
    while (s->p < s->end &&
           (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')) {
        s->p++;
    }
}

static int js_here(const js *s, char c)
{
    return s->p < s->end && *s->p == c;
}

/* ---- Numbers -------------------------------------------------------------------- */

typedef struct js_digits {   /* sign, up to 19 significant digits, decimal exponent */
    uint64_t mantissa;
    int      significant, cut, minus, plain;
    long     exp10;
} js_digits;

static int js_is_digit(const js *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static void js_digit(js_digits *d, char c, long weight)
{
    if (d->significant < 19) {
        d->mantissa = d->mantissa * 10 + (uint64_t)(c - '0');
        if (d->mantissa) d->significant++;
        d->exp10 += weight;
    } else {
        d->cut |= 1;
        d->exp10 += weight + 1;
    }
}

static int js_exponent(js *s, js_digits *d)
{
    long e = 0, sign = 1;
    s->p++;
    if (js_here(s, '-')) sign = -1;
    if (js_here(s, '-') || js_here(s, '+')) s->p++;
    if (!js_is_digit(s)) return js_fail(s, "malformed JSON: an exponent without digits");
    for (; js_is_digit(s); s->p++) {
        if (e < 100000) e = e * 10 + (*s->p - '0');
    }
    d->exp10 += sign * e;
    d->plain = 0;
    return 1;
}

/* Checks the grammar of a number and gathers its digits. */
static int js_scan_number(js *s, js_digits *d)
{
    memset(d, 0, sizeof *d);
    d->plain = 1;
    if (js_here(s, '-')) {
        d->minus = 1;
        s->p++;
    }
    if (!js_is_digit(s)) return js_fail(s, "malformed JSON: a number without digits");
    if (*s->p == '0') s->p++;
    else for (; js_is_digit(s); s->p++) js_digit(d, *s->p, 0);
    if (js_is_digit(s)) return js_fail(s, "malformed JSON: a number that begins with 0");
    if (js_here(s, '.')) {
        d->plain = 0;
        s->p++;
        if (!js_is_digit(s)) return js_fail(s, "malformed JSON: a point without digits");
        for (; js_is_digit(s); s->p++) js_digit(d, *s->p, -1);
    }
    if (js_here(s, 'e') || js_here(s, 'E')) return js_exponent(s, d);
    return 1;
}

static int js_strtod(js *s, const char *from, double *x)
{
    char buf[64];
    size_t n = (size_t)(s->p - from);
    char *text = n < sizeof buf ? buf : js_alloc(s->m, n + 1);
    if (!text) return js_nomem(s);
    memcpy(text, from, n);
    text[n] = '\0';
    *x = strtod(text, NULL);
    return 1;
}

/* Mantissa and power of ten are both exact doubles here, so one operation rounds once. */
static int js_exact(const js_digits *d, double *x)
{
    static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10,
        1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (FLT_EVAL_METHOD != 0) return 0;
    if (d->cut || d->mantissa > (uint64_t)1 << 53) return 0;
    if (d->exp10 < -22 || d->exp10 > 22) return 0;
    *x = (double)d->mantissa;
    *x = d->exp10 < 0 ? *x / tens[-d->exp10] : *x * tens[d->exp10];
    if (d->minus) *x = -*x;
    return 1;
}

static void js_whole_of_double(json_value *v)
{
    v->whole = 0;
    if (v->num != floor(v->num) || fabs(v->num) >= JS_WHOLE) return;
    v->whole = v->num >= 0 ? JSON_U64 | JSON_I64 : JSON_I64;
    if (v->num >= 0) v->u.u64 = (uint64_t)v->num;
    else v->u.i64 = (int64_t)v->num;
}

static void js_whole_of_digits(const js_digits *d, const char *from, const char *to,
                               json_value *v)
{
    uint64_t n = 0;
    v->whole = 0;
    for (from += d->minus; from < to; from++) {
        uint64_t digit = (uint64_t)(*from - '0');
        if (n > (UINT64_MAX - digit) / 10) return;
        n = n * 10 + digit;
    }
    if (d->minus) {
        if (n > (uint64_t)INT64_MAX + 1) return;
        v->whole = n ? JSON_I64 : JSON_I64 | JSON_U64;
        v->u.i64 = n ? -(int64_t)(n - 1) - 1 : 0;
    } else {
        v->whole = n <= (uint64_t)INT64_MAX ? JSON_U64 | JSON_I64 : JSON_U64;
        v->u.u64 = n;
    }
}

static int js_number(js *s, json_value *v)
{
    const char *from = s->p;
    js_digits d;
    if (!js_scan_number(s, &d)) return 0;
    v->type = JSON_NUMBER;
    v->n = 0;
    if (!js_exact(&d, &v->num) && !js_strtod(s, from, &v->num)) return 0;
    if (!isfinite(v->num)) return js_fail_at(s, from, "number out of range");
    if (d.plain) js_whole_of_digits(&d, from, s->p, v);
    else js_whole_of_double(v);
    return 1;
}

/* ---- Strings -------------------------------------------------------------------- */

size_t json_utf8(const void *p, size_t n)
{
    const unsigned char *s = p;
    size_t i = 0;
    while (i < n) {
        unsigned char c = s[i], low = 0x80, high = 0xBF;
        size_t k, more;
        if (c < 0x80) {
            i++;
            continue;
        }
        more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
        if (c < 0xC2 || c > 0xF4 || n - i <= more) return i;
        if (c == 0xE0) low = 0xA0;
        if (c == 0xED) high = 0x9F;
        if (c == 0xF0) low = 0x90;
        if (c == 0xF4) high = 0x8F;
        if (s[i + 1] < low || s[i + 1] > high) return i;
        for (k = 2; k <= more; k++) {
            if ((s[i + k] & 0xC0) != 0x80) return i;
        }
        i += more + 1;
    }
    return n;
}

/* The closing quote of the string whose first byte is at s->p, or NULL. */
static const char *js_string_end(js *s)
{
    const char *p = s->p;
    while (p < s->end && *p != '"') {
        if ((unsigned char)*p < 0x20) {
            js_fail_at(s, p, "malformed JSON: a control character in a string");
            return NULL;
        }
        if (*p == '\\') p++;
        if (p < s->end) p++;
    }
    if (p < s->end) return p;
    js_fail_at(s, s->end, "malformed JSON: a string without its end");
    return NULL;
}

static int js_hex4(const char *p, const char *end, uint32_t *x)
{
    int i;
    *x = 0;
    if (end - p < 4) return 0;
    for (i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0')
                       : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                       : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10) : 16;
        if (digit == 16) return 0;
        *x = *x << 4 | digit;
    }
    return 1;
}

static char *js_put_utf8(char *o, uint32_t c)
{
    if (c < 0x80) {
        *o++ = (char)c;
        return o;
    }
    if (c < 0x800) {
        *o++ = (char)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *o++ = (char)(0xE0 | c >> 12);
        } else {
            *o++ = (char)(0xF0 | c >> 18);
            *o++ = (char)(0x80 | (c >> 12 & 0x3F));
        }
        *o++ = (char)(0x80 | (c >> 6 & 0x3F));
    }
    *o++ = (char)(0x80 | (c & 0x3F));
    return o;
}

/* \uXXXX and its second half; p is past the u. */
static const char *js_escape_u(js *s, const char *p, const char *end, char **o)
{
    uint32_t c, low;
    if (!js_hex4(p, end, &c)) {
        js_fail_at(s, p, "malformed JSON: \\u wants four hexadecimal digits");
        return NULL;
    }
    p += 4;
    if (c >= 0xD800 && c < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
        js_hex4(p + 2, end, &low) && low >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        p += 6;
    } else if (c >= 0xD800 && c < 0xE000) {
        js_fail_at(s, p - 6, "malformed JSON: half of a surrogate pair");
        return NULL;
    }
    *o = js_put_utf8(*o, c);
    return p;
}

static const char *js_escape(js *s, const char *p, const char *end, char **o)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p ? strchr(from, *p) : NULL;
    if (*p == 'u') return js_escape_u(s, p + 1, end, o);
    if (!at) {
        js_fail_at(s, p - 1, "malformed JSON: an unknown escape");
        return NULL;
    }
    *(*o)++ = to[at - from];
    return p + 1;
}

static int js_string(js *s, const char **str, size_t *n)
{
    const char *end, *p;
    char *o, *text;
    size_t good;
    s->p++;
    end = js_string_end(s);
    if (!end) return 0;
    good = json_utf8(s->p, (size_t)(end - s->p));
    if (good < (size_t)(end - s->p)) return js_fail_at(s, s->p + good, "invalid UTF-8");
    text = o = js_alloc(s->m, (size_t)(end - s->p) + 1);
    if (!text) return js_nomem(s);
    for (p = s->p; p < end;) {
        const char *next = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((next ? next : end) - p);
        memcpy(o, p, run);
        o += run;
        p = next ? js_escape(s, next + 1, end, &o) : end;
        if (!p) return 0;
    }
    *o = '\0';
    *str = text;
    *n = (size_t)(o - text);
    s->p = end + 1;
    return 1;
}

/* ---- Values --------------------------------------------------------------------- */

static int js_compact(const json_value *v)
{
    return v->type == JSON_NUMBER && (!v->whole || fabs(v->num) < JS_WHOLE);
}

static void js_from_double(json_value *v, double x)
{
    memset(v, 0, sizeof *v);
    v->type = JSON_NUMBER;
    v->num = x;
    js_whole_of_double(v);
}

/* Turns the n doubles above base into n values. */
static int js_widen(js *s, size_t base, size_t n)
{
    size_t i;
    if (!n) return 1;
    s->m->top = base;
    for (i = 0; i < n; i++) {
        if (!js_push(s->m, sizeof(json_value))) return 0;
    }
    for (i = n; i-- > 0;) {
        json_value v;
        double x;
        memcpy(&x, s->m->stack + base + i * sizeof x, sizeof x);
        js_from_double(&v, x);
        memcpy(s->m->stack + base + i * sizeof v, &v, sizeof v);
    }
    return 1;
}

static int js_element(js *s, size_t base, json_value *arr)
{
    json_value v;
    void *room;
    memset(&v, 0, sizeof v);
    js_space(s);
    if (!s->value(s, &v)) return 0;
    if (arr->type == JSON_NUMBERS && !js_compact(&v)) {
        if (!js_widen(s, base, arr->n)) return js_nomem(s);
        arr->type = JSON_ARRAY;
    }
    room = js_push(s->m, arr->type == JSON_NUMBERS ? sizeof v.num : sizeof v);
    if (!room) return js_nomem(s);
    if (arr->type == JSON_NUMBERS) memcpy(room, &v.num, sizeof v.num);
    else memcpy(room, &v, sizeof v);
    arr->n++;
    js_space(s);
    return 1;
}

static int js_array(js *s, json_value *v)
{
    size_t base = s->m->top;
    void *p;
    s->p++;
    v->type = JSON_NUMBERS;
    v->n = 0;
    js_space(s);
    while (!js_here(s, ']')) {
        if (v->n) {
            if (!js_here(s, ',')) return js_fail(s, "malformed JSON: expected , or ]");
            s->p++;
        }
        if (!js_element(s, base, v)) return 0;
    }
    s->p++;
    if (!v->n) v->type = JSON_ARRAY;
    p = js_pop(s->m, base);
    if (!p) return js_nomem(s);
    if (v->type == JSON_NUMBERS) v->u.nums = p;
    else v->u.items = p;
    return 1;
}

static int js_name_order(const json_member *a, const json_member *b)
{
    size_t n = a->name_n < b->name_n ? a->name_n : b->name_n;
    int c = memcmp(a->name, b->name, n);
    return c ? c : (a->name_n > b->name_n) - (a->name_n < b->name_n);
}

static int js_name_compare(const void *a, const void *b)
{
    return js_name_order(*(const json_member *const *)a, *(const json_member *const *)b);
}

static int js_twice(js *s, const char *from, const json_member *m)
{
    char what[100];
    snprintf(what, sizeof what, "malformed JSON: the name \"%.40s\" twice in the object", m->name);
    return js_fail_at(s, from, what);
}

/* Few names are compared in pairs, many are sorted. */
static int js_names_differ(js *s, const char *from, const json_member *m, size_t n)
{
    const json_member **order;
    size_t i, k;
    if (n <= 16) {
        for (i = 1; i < n; i++) {
            for (k = 0; k < i; k++) {
                if (!js_name_order(&m[i], &m[k])) return js_twice(s, from, &m[i]);
            }
        }
        return 1;
    }
    order = js_alloc(s->m, n * sizeof *order);
    if (!order) return js_nomem(s);
    for (i = 0; i < n; i++) order[i] = &m[i];
    qsort(order, n, sizeof *order, js_name_compare);
    for (i = 1; i < n; i++) {
        if (!js_name_order(order[i], order[i - 1])) return js_twice(s, from, order[i]);
    }
    return 1;
}

static int js_member(js *s)
{
    json_member m;
    void *room;
    memset(&m, 0, sizeof m);
    js_space(s);
    if (!js_here(s, '"')) return js_fail(s, "malformed JSON: expected a name in quotes");
    if (!js_string(s, &m.name, &m.name_n)) return 0;
    js_space(s);
    if (!js_here(s, ':')) return js_fail(s, "malformed JSON: expected :");
    s->p++;
    js_space(s);
    if (!s->value(s, &m.value)) return 0;
    js_space(s);
    room = js_push(s->m, sizeof m);
    if (!room) return js_nomem(s);
    memcpy(room, &m, sizeof m);
    return 1;
}

static int js_object(js *s, json_value *v)
{
    const char *from = s->p;
    size_t base = s->m->top;
    s->p++;
    v->type = JSON_OBJECT;
    v->n = 0;
    js_space(s);
    while (!js_here(s, '}')) {
        if (v->n) {
            if (!js_here(s, ',')) return js_fail(s, "malformed JSON: expected , or }");
            s->p++;
        }
        if (!js_member(s)) return 0;
        v->n++;
    }
    s->p++;
    v->u.members = js_pop(s->m, base);
    if (!v->u.members) return js_nomem(s);
    return js_names_differ(s, from, v->u.members, v->n);
}

static int js_word(js *s, json_value *v)
{
    static const struct { const char *word; size_t n; json_type type; int truth; } words[] = {
        {"null", 4, JSON_NULL, 0}, {"true", 4, JSON_BOOL, 1}, {"false", 5, JSON_BOOL, 0}};
    size_t i, left = (size_t)(s->end - s->p);
    for (i = 0; i < 3; i++) {
        if (left < words[i].n || memcmp(s->p, words[i].word, words[i].n)) continue;
        s->p += words[i].n;
        v->type = words[i].type;
        v->u.truth = words[i].truth;
        return 1;
    }
    if ((left >= 3 && !memcmp(s->p, "NaN", 3)) || (left >= 8 && !memcmp(s->p, "Infinity", 8))) {
        return js_fail(s, "malformed JSON: NaN and Infinity are no JSON numbers");
    }
    return js_fail(s, "malformed JSON: expected a value");
}

static int js_value(js *s, json_value *v)
{
    int ok;
    if (s->p == s->end) return js_fail(s, "");
    if (*s->p == '-' && s->end - s->p > 1 && s->p[1] == 'I') s->p++;
    if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9')) return js_number(s, v);
    if (*s->p == '"') {
        v->type = JSON_STRING;
        return js_string(s, &v->u.str, &v->n);
    }
    if (*s->p != '[' && *s->p != '{') return js_word(s, v);
    if (s->depth == JSON_DEPTH) return js_fail(s, "malformed JSON: nested too deeply");
    s->depth++;
    ok = *s->p == '[' ? js_array(s, v) : js_object(s, v);
    s->depth--;
    return ok;
}

const json_value *json_parse(json *j, const char *text, size_t n)
{
    json_value *root;
    js s;
    j->error[0] = '\0';
    j->at = 0;
    memset(&s, 0, sizeof s);
    s.p = s.start = text;
    s.end = text + n;
    s.out = j;
    s.value = js_value;
    if (!j->memory) j->memory = calloc(1, sizeof *j->memory);
    s.m = j->memory;
    root = s.m && js_reset(s.m) ? js_alloc(s.m, sizeof *root) : NULL;
    if (!root) {
        js_nomem(&s);
        return NULL;
    }
    memset(root, 0, sizeof *root);
    js_space(&s);
    if (!js_value(&s, root)) return NULL;
    js_space(&s);
    if (s.p == s.end) return root;
    js_fail(&s, "malformed JSON: more text after the value");
    return NULL;
}

void json_free(json *j)
{
    if (!j->memory) return;
    js_blocks_free(j->memory);
    free(j->memory->stack);
    free(j->memory);
    j->memory = NULL;
}

/* ---- Looking -------------------------------------------------------------------- */

const json_value *json_get(const json_value *v, const char *name)
{
    size_t i, n = strlen(name);
    if (!v || v->type != JSON_OBJECT) return NULL;
    for (i = 0; i < v->n; i++) {
        const json_member *m = &v->u.members[i];
        if (m->name_n == n && !memcmp(m->name, name, n)) return &m->value;
    }
    return NULL;
}

const json_value *json_at(const json_value *v, size_t i, json_value *tmp)
{
    if (v->type == JSON_ARRAY) return &v->u.items[i];
    js_from_double(tmp, v->u.nums[i]);
    return tmp;
}

int json_is(const json_value *v, const char *text)
{
    return v && v->type == JSON_STRING && v->n == strlen(text) && !memcmp(v->u.str, text, v->n);
}

const char *json_text(const json_value *v)
{
    if (!v || v->type != JSON_STRING || memchr(v->u.str, 0, v->n)) return NULL;
    return v->u.str;
}

int json_id(const json_value *v, uint64_t *id)
{
    uint64_t n = 0;
    size_t i;
    if (v && v->whole & JSON_U64) {
        *id = v->u.u64;
        return 1;
    }
    if (!v || v->type != JSON_STRING || !v->n || v->u.str[0] == '0') return 0;
    for (i = 0; i < v->n; i++) {
        unsigned digit = (unsigned char)v->u.str[i] - (unsigned)'0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10) return 0;
        n = n * 10 + digit;
    }
    if (n <= JSON_EXACT) return 0;
    *id = n;
    return 1;
}

int json_is_numbers(const json_value *v, size_t *n)
{
    size_t i;
    if (!v || (v->type != JSON_NUMBERS && v->type != JSON_ARRAY)) return 0;
    for (i = 0; v->type == JSON_ARRAY && i < v->n; i++) {
        if (v->u.items[i].type != JSON_NUMBER) return 0;
    }
    *n = v->n;
    return 1;
}

int json_float(double num, float *x)
{
    const double half = ldexp(1, 103); /* of the step of floats there; a tie goes to infinity */
    if (!(fabs(num) < (double)FLT_MAX + half)) return 0;
    *x = num > (double)FLT_MAX ? FLT_MAX : num < -(double)FLT_MAX ? -FLT_MAX : (float)num;
    return 1;
}

size_t json_floats(const json_value *v, float *x)
{
    size_t i;
    for (i = 0; i < v->n; i++) {
        double num = v->type == JSON_NUMBERS ? v->u.nums[i] : v->u.items[i].num;
        if (!json_float(num, &x[i])) return i;
    }
    return v->n;
}

/* ---- Writing -------------------------------------------------------------------- */

static void js_write_special(FILE *f, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;
    if (at) fprintf(f, "\\%c", to[at - from]);
    else fprintf(f, "\\u%04x", (unsigned)c);
}

void json_write_string(FILE *f, const char *s, size_t n)
{
    size_t i = 0, good = json_utf8(s, n);
    putc('"', f);
    while (i < n) {
        size_t run = i;
        while (run < good && (unsigned char)s[run] >= 0x20 && s[run] != '"' && s[run] != '\\') {
            run++;
        }
        if (run > i) fwrite(s + i, 1, run - i, f);
        i = run;
        if (i < good) {
            js_write_special(f, (unsigned char)s[i++]);
        } else if (i < n) {
            fputs("\xEF\xBF\xBD", f);
            i++;
            good = i + json_utf8(s + i, n - i);
        }
    }
    putc('"', f);
}

void json_write_double(FILE *f, double x)
{
    if (!isfinite(x)) fputs("null", f);
    else fprintf(f, "%.17g", x);
}

void json_write_float(FILE *f, float x)
{
    if (!isfinite(x)) fputs("null", f);
    else if (x > 0 || x < 0) fprintf(f, "%.9g", (double)x);
    else fputs(signbit(x) ? "-0" : "0", f);
}

void json_write_floats(FILE *f, const float *x, size_t n)
{
    size_t i;
    putc('[', f);
    for (i = 0; i < n; i++) {
        if (i) putc(',', f);
        json_write_float(f, x[i]);
    }
    putc(']', f);
}

/* ---- Base64 --------------------------------------------------------------------- */

static const char js_base64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t json_base64(char *out, const void *p, size_t n)
{
    const unsigned char *s = p;
    size_t i;
    char *o = out;
    for (i = 0; i < n; i += 3) {
        uint32_t w = (uint32_t)s[i] << 16;
        if (i + 1 < n) w |= (uint32_t)s[i + 1] << 8;
        if (i + 2 < n) w |= s[i + 2];
        *o++ = js_base64[w >> 18];
        *o++ = js_base64[w >> 12 & 63];
        *o++ = '=';
        *o++ = '=';
        if (i + 1 < n) o[-2] = js_base64[w >> 6 & 63];
        if (i + 2 < n) o[-1] = js_base64[w & 63];
    }
    *o = '\0';
    return (size_t)(o - out);
}

void json_write_base64(FILE *f, const void *p, size_t n)
{
    const unsigned char *s = p;
    char text[JSON_BASE64_ROOM(768)];
    size_t i;
    putc('"', f);
    for (i = 0; i < n; i += 768) {
        size_t k = n - i < 768 ? n - i : 768;
        fwrite(text, 1, json_base64(text, s + i, k), f);
    }
    putc('"', f);
}

static uint32_t js_unbase64(char c)
{
    if (c >= 'A' && c <= 'Z') return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z') return (uint32_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9') return (uint32_t)(c - '0' + 52);
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

int json_unbase64(void *out, size_t *out_n, const char *s, size_t n)
{
    unsigned char *o = out;
    size_t i, k, pad = 0;
    if (n % 4) return 0;
    if (n && s[n - 1] == '=') pad = s[n - 2] == '=' ? 2 : 1;
    for (i = 0; i < n; i += 4) {
        size_t used = i + 4 == n ? 4 - pad : 4;
        uint32_t w = 0;
        for (k = 0; k < 4; k++) {
            uint32_t c = k < used ? js_unbase64(s[i + k]) : 0;
            if (c > 63) return 0;
            w = w << 6 | c;
        }
        if (used < 4 && w & (used == 3 ? 0xFFu : 0xFFFFu)) return 0;
        *o++ = (unsigned char)(w >> 16);
        if (used > 2) *o++ = (unsigned char)(w >> 8 & 0xFF);
        if (used > 3) *o++ = (unsigned char)(w & 0xFF);
    }
    *out_n = (size_t)(o - (unsigned char *)out);
    return 1;
}
