/* input.c - the readers of vectors from files and pipes; see input.h. */
#define _POSIX_C_SOURCE 200809L
#include "input.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "lines.h"
#include "members.h"

#define IN_MAX_DIM 32768u
enum { IN_MAX_TAGS = 64 };   /* of a record that are told apart */

/* ---- State ---------------------------------------------------------------------- */

typedef struct in_set { uint64_t *slots; size_t n, cap; } in_set;

typedef struct in_npy {
    char     type;           /* f i u */
    unsigned size;           /* bytes of an element */
    uint64_t rows, cols, next;
    int      dims;
} in_npy;

typedef struct input_state {
    lines     src, ids;
    uint64_t  row;           /* of binary input */
    int       text;          /* rows are lines */
    int     (*next)(input *in);
    int       broken;
    uint64_t  first_id;
    int       ids_npy, ids_keys, ids_word, has_ids, numbered, per_tag;
    in_npy    npy, ids_shape;
    in_set    seen;
    char      key[257];
    float    *x;             /* the numbers of one record */
    size_t    x_cap;
    vtag_vec *v;
    const char **tags;       /* tags[v_cap], of JSON */
    size_t    v_cap;
    void     *bytes;         /* decoded payload */
    uint32_t  dim;           /* of the first row, where all rows must have the same */
    unsigned  element;       /* bytes of an element of bvecs or fvecs */
    json      js;
    const json_value *top;   /* of this line */
    const char *const *ignored;
    size_t    ignored_n;
    int       string_ids;
    int       keyed, shaped, counted, comma, header;
    char      gap;           /* between columns; 0: blanks and tabs */
    uint64_t  maybe;         /* rows, if the first line, taken for one, was a count */
    size_t    id_column;     /* from 1; 0: none */
    const char *column;      /* as given */
    char     *held[2];       /* lines that were looked at ahead */
    uint64_t  held_row[2];
    uint64_t  promised, rows; /* by word2vec's count line; seen */
    char    **fields;
    size_t    fields_cap;
} input_state;

static int in_vfault(input *in, int kind, const char *fmt, va_list ap)
{
    const input_state *s = in->state;
    int n = snprintf(in->error, sizeof in->error, "%s: %s %llu: ", s->src.name,
                     s->text ? "line" : "row", (unsigned long long)in->record.row);
    if (n > 0 && (size_t)n < sizeof in->error) {
        vsnprintf(in->error + n, sizeof in->error - (size_t)n, fmt, ap);
    }
    if (kind == INPUT_BROKEN) in->state->broken = 1;
    return kind;
}

int input_fault(input *in, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    in_vfault(in, INPUT_BAD, fmt, ap);
    va_end(ap);
    return INPUT_BAD;
}

CLI_PRINTF(2, 3) static int in_broken(input *in, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    in_vfault(in, INPUT_BROKEN, fmt, ap);
    va_end(ap);
    return INPUT_BROKEN;
}

/* An error of the input as a whole; place may be another file. */
CLI_PRINTF(3, 4) static int in_wrong(input *in, const char *path, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(in->error, sizeof in->error, "%s: ", path);
    va_start(ap, fmt);
    if (n > 0 && (size_t)n < sizeof in->error) {
        vsnprintf(in->error + n, sizeof in->error - (size_t)n, fmt, ap);
    }
    va_end(ap);
    in->state->broken = 1;
    return INPUT_BROKEN;
}

static float *in_room(input_state *s, size_t n)
{
    if (n > s->x_cap) {
        s->x_cap = n < 2 * s->x_cap ? 2 * s->x_cap : n;
        s->x = cli_grow(s->x, s->x_cap, sizeof *s->x);
    }
    return s->x;
}

static vtag_vec *in_vectors(input_state *s, size_t n)
{
    if (n > s->v_cap) {
        s->v_cap = n < 2 * s->v_cap ? 2 * s->v_cap : n;
        s->v = cli_grow(s->v, s->v_cap, sizeof *s->v);
        s->tags = cli_grow(s->tags, s->v_cap, sizeof *s->tags);
    }
    return s->v;
}

static void in_one_vector(input *in, uint32_t dim)
{
    vtag_vec *v = in_vectors(in->state, 1);
    memset(v, 0, sizeof *v);
    v->dim = dim;
    v->x = in->state->x;
    in->record.v = v;
    in->record.n = 1;
}

/* What a reader of lines said, as an error of this input. */
static int in_said(input *in, const lines *l, int kind)
{
    snprintf(in->error, sizeof in->error, "%s", l->error);
    if (kind == INPUT_BROKEN) in->state->broken = 1;
    return kind;
}

/* At the end of the bytes: the end, or why no more came. */
static int in_end(input *in)
{
    lines *l = &in->state->src;
    return l->broken ? in_said(in, l, INPUT_BROKEN) : INPUT_END;
}

/* ---- Ids ------------------------------------------------------------------------ */

static size_t in_set_slot(const in_set *s, uint64_t x)
{
    uint64_t h = x * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h ^ h >> 32) & (s->cap - 1);
    while (s->slots[i] != UINT64_MAX && s->slots[i] != x) i = (i + 1) & (s->cap - 1);
    return i;
}

static void in_set_resize(in_set *s, size_t cap)
{
    in_set wide;
    size_t i;
    wide.cap = cap;
    wide.n = s->n;
    wide.slots = cli_grow(NULL, cap, sizeof *wide.slots);
    memset(wide.slots, 0xFF, cap * sizeof *wide.slots);
    for (i = 0; i < s->cap; i++) {
        if (s->slots[i] != UINT64_MAX) {
            wide.slots[in_set_slot(&wide, s->slots[i])] = s->slots[i];
        }
    }
    free(s->slots);
    *s = wide;
}

/* 1 if x was not there before. */
static int in_set_add(in_set *s, uint64_t x)
{
    size_t i;
    if (x == UINT64_MAX) x = 0x5851F42D4C957F2Du;
    if (s->n * 2 >= s->cap) in_set_resize(s, s->cap ? s->cap * 2 : 1024);
    i = in_set_slot(s, x);
    if (s->slots[i] == x) return 0;
    s->slots[i] = x;
    s->n++;
    return 1;
}

/* Notes the id under each tag that the record names; 0 if one of them came before. */
static int in_once_tagged(input *in)
{
    const input_record *r = &in->record;
    const char *names[IN_MAX_TAGS] = {0};
    size_t i, k, n = 0;
    for (i = 0; i < r->n || !i; i++) {
        const char *name = r->tags && i < r->n && r->tags[i] ? r->tags[i] : r->tag;
        for (k = 0; k < n && strcmp(names[k], name ? name : "");) k++;
        if (k < n || n == IN_MAX_TAGS) continue;
        names[n++] = name ? name : "";
        if (!in_set_add(&in->state->seen, r->item.id + (name ? vtag_id(name) | 1 : 0))) return 0;
    }
    return 1;
}

/* Checks that the id has not come before. */
static int in_once(input *in)
{
    const input_record *r = &in->record;
    if (in->state->per_tag ? in_once_tagged(in) : in_set_add(&in->state->seen, r->item.id)) {
        return INPUT_RECORD;
    }
    if (r->item.key) {
        return input_fault(in, "key '%.80s' came before; every key once", r->item.key);
    }
    return input_fault(in, "id %llu came before; every id once", (unsigned long long)r->item.id);
}

static int in_take_id(input *in, uint64_t id)
{
    if (id == UINT64_MAX) {
        return input_fault(in, "id 18446744073709551615 is reserved; take a smaller one");
    }
    in->record.item.id = id;
    return in_once(in);
}

static int in_take_key(input *in, const char *key, size_t n)
{
    if (n < 1 || n > 255) {
        return input_fault(in, "a key has 1 to 255 bytes, this one %llu", (unsigned long long)n);
    }
    if (json_utf8(key, n) < n) return input_fault(in, "invalid UTF-8 in the key");
    memcpy(in->state->key, key, n);
    in->state->key[n] = '\0';
    in->record.item.key = in->state->key;
    in->record.item.id = vtag_id(in->state->key);
    if (in->record.item.id == UINT64_MAX) {
        return input_fault(in, "the id of this key is reserved; change the key");
    }
    return in_once(in);
}

static int in_take_word(input *in, const char *word, int keyed)
{
    uint64_t id;
    if (keyed) return in_take_key(in, word, strlen(word));
    if (!cli_id(word, &id)) {
        return input_fault(in, "'%.40s' is no id; the first was a number, so all must be", word);
    }
    return in_take_id(in, id);
}

static int in_id_from_npy(input *in)
{
    input_state *s = in->state;
    const unsigned char *p;
    uint64_t id = 0;
    unsigned i, size = s->ids_shape.size;
    if (lines_need(&s->ids, size) < size) {
        if (s->ids.broken) return in_said(in, &s->ids, INPUT_BROKEN);
        return in_broken(in, "%s holds no id for it", s->ids.name);
    }
    p = (const unsigned char *)lines_front(&s->ids);
    lines_skip(&s->ids, size);
    for (i = size; i-- > 0;) id = id << 8 | p[i];
    if (s->ids_shape.type == 'i' && p[size - 1] & 0x80) {
        return input_fault(in, "%s gives it a negative id", s->ids.name);
    }
    return in_take_id(in, id);
}

static int in_id_from_text(input *in)
{
    input_state *s = in->state;
    size_t n;
    uint64_t id;
    char *line;
    int got = lines_next(&s->ids, &line, &n);
    if (got < 0) return in_said(in, &s->ids, got == LINES_BAD ? INPUT_BAD : INPUT_BROKEN);
    if (!got) return in_broken(in, "%s holds no id for it", s->ids.name);
    if (s->ids.number == 1) {
        s->ids_keys = !cli_id(line, &id);
        s->ids_word = line[strspn(line, "0123456789")] != '\0';
    }
    if (s->ids.number == 2 && s->ids_word && cli_id(line, &id)) {
        return in_broken(in, "%s begins with a word and then a number; is line 1 a header? leave "
                         "it out", s->ids.name);
    }
    return in_take_word(in, line, s->ids_keys);
}

static int in_id_by_position(input *in, uint64_t index)
{
    if (index >= UINT64_MAX - in->state->first_id) {
        return in_broken(in, "ids run out; begin with a smaller one");
    }
    in->record.item.id = in->state->first_id + index;
    in->record.positional = 1;
    return INPUT_RECORD;
}

/* The id of a row that carries none: from --ids or its position. */
static int in_id(input *in, uint64_t index)
{
    if (in->state->ids_npy) return in_id_from_npy(in);
    if (in->state->has_ids) return in_id_from_text(in);
    return in_id_by_position(in, index);
}

/* At the end of the rows: were there more ids? */
static int in_ids_end(input *in)
{
    input_state *s = in->state;
    if (!s->has_ids) return INPUT_END;
    if (lines_need(&s->ids, 1)) {
        return in_wrong(in, s->ids.name, "holds more ids than %s rows; one for each",
                        s->src.name);
    }
    return s->ids.broken ? in_said(in, &s->ids, INPUT_BROKEN) : INPUT_END;
}

/* ---- fvecs and bvecs ------------------------------------------------------------ */

static uint32_t in_le32(const void *p)
{
    const unsigned char *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static float in_le_float(const void *p)
{
    uint32_t u = in_le32(p);
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static int in_vecs_dim(input *in, uint32_t dim)
{
    input_state *s = in->state;
    if (dim < 1 || dim > IN_MAX_DIM) {
        return in_broken(in, "dim %ld; 1 to %u are legal, is this really %s?",
                         (long)(int32_t)dim, IN_MAX_DIM, s->element == 4 ? "fvecs" : "bvecs");
    }
    if (s->dim && dim != s->dim) {
        return in_broken(in, "dim %u, where the first row has %u", dim, s->dim);
    }
    if (!s->dim) in->expect = s->src.total / (4 + (uint64_t)dim * s->element);
    s->dim = dim;
    return INPUT_RECORD;
}

static int in_vecs_next(input *in)
{
    input_state *s = in->state;
    size_t have = lines_need(&s->src, 4), bytes, i;
    const char *p;
    int rc;
    in->record.row = s->row + 1;
    if (s->src.broken) return in_end(in);
    if (!have) return in_ids_end(in);
    s->row++;
    if (have < 4) return in_broken(in, "truncated: ends after %u of 4 bytes", (unsigned)have);
    rc = in_vecs_dim(in, in_le32(lines_front(&s->src)));
    if (rc < 0) return rc;
    bytes = 4 + (size_t)s->dim * s->element;
    have = lines_need(&s->src, bytes);
    if (s->src.broken) return in_end(in);
    if (have < bytes) {
        return in_broken(in, "truncated: ends after %u of %u bytes", (unsigned)have,
                         (unsigned)bytes);
    }
    in_room(s, s->dim);
    p = lines_front(&s->src) + 4;
    for (i = 0; i < s->dim; i++) {
        s->x[i] = s->element == 4 ? in_le_float(p + 4 * i) : (float)(unsigned char)p[i];
    }
    lines_skip(&s->src, bytes);
    in_one_vector(in, s->dim);
    return in_id(in, s->row - 1);
}

/* ---- npy ------------------------------------------------------------------------ */

/* The text after 'name': in the header, or NULL. */
static const char *in_npy_field(const char *header, const char *name)
{
    const char *p = strstr(header, name);
    if (!p) return NULL;
    p += strlen(name);
    p += strspn(p, " ");
    if (*p++ != ':') return NULL;
    return p + strspn(p, " ");
}

static int in_npy_type(input *in, in_npy *y, const char *path, const char *p, int ints)
{
    static const char *const floats[] = {"<f4", "<f2", "<f8", "|i1", "|u1"};
    static const char *const wholes[] = {"<i8", "<u8", "<i4", "<u4", "<i2", "<u2", "|i1", "|u1"};
    const char *const *legal = ints ? wholes : floats;
    size_t i, n = ints ? 8 : 5, len;
    const char *stop;
    if (!p || (*p != '\'' && *p != '"') || (stop = strchr(p + 1, *p)) == NULL) {
        return in_wrong(in, path, "npy without a plain dtype; save one array of numbers");
    }
    len = (size_t)(stop - ++p);
    for (i = 0; i < n; i++) {
        if (len != 3 || memcmp(p, legal[i], 3)) continue;
        y->type = p[1];
        y->size = (unsigned)(p[2] - '0');
        return INPUT_RECORD;
    }
    return in_wrong(in, path, "npy of dtype '%.*s'; %s", (int)(len < 20 ? len : 20), p,
                    ints ? "ids are little-endian integers, as astype('<u8') makes them"
                         : "<f4 <f2 <f8 |i1 |u1 are read, so save it with astype('<f4')");
}

static int in_npy_shape(input *in, in_npy *y, const char *path, const char *p)
{
    uint64_t sizes[3] = {0, 1, 0};
    if (!p || *p++ != '(') return in_wrong(in, path, "npy without a shape");
    y->dims = 0;
    for (;;) {
        p += strspn(p, " ,");
        if (*p < '0' || *p > '9' || y->dims == 3) break;
        for (sizes[y->dims] = 0; *p >= '0' && *p <= '9'; p++) {
            if (sizes[y->dims] > (uint64_t)1 << 48) return in_wrong(in, path, "npy too large");
            sizes[y->dims] = sizes[y->dims] * 10 + (uint64_t)(*p - '0');
        }
        y->dims++;
    }
    if (*p != ')') return in_wrong(in, path, "npy with a shape that is no list of one or two");
    y->rows = sizes[0];
    y->cols = sizes[1];
    return INPUT_RECORD;
}

/* Three members, each once, as NumPy wants them too. */
static int in_npy_names(input *in, const char *path, const char *header)
{
    static const char *const names[] = {"descr", "fortran_order", "shape"};
    size_t i, colons = 0;
    char quote = 0;
    const char *p;
    for (p = header; *p; p++) {
        if (quote && *p != quote) continue;
        if (quote) quote = 0;
        else if (*p == '\'' || *p == '"') quote = *p;
        else colons += *p == ':';
    }
    for (i = 0; i < 3; i++) {
        char name[24];
        snprintf(name, sizeof name, "'%s'", names[i]);
        p = strstr(header, name);
        if (p && strstr(p + 1, name)) {
            return in_wrong(in, path, "npy with two members %s; save the array again", name);
        }
    }
    if (colons <= 3) return INPUT_RECORD;
    return in_wrong(in, path, "npy with more members than descr, fortran_order and shape");
}

static int in_npy_fields(input *in, in_npy *y, const char *path, const char *header, int ints)
{
    const char *order = in_npy_field(header, "'fortran_order'");
    int rc = in_npy_names(in, path, header);
    if (rc < 0) return rc;
    rc = in_npy_type(in, y, path, in_npy_field(header, "'descr'"), ints);
    if (rc > 0) rc = in_npy_shape(in, y, path, in_npy_field(header, "'shape'"));
    if (rc < 0) return rc;
    if (!order || (strncmp(order, "True", 4) && strncmp(order, "False", 5))) {
        return in_wrong(in, path, "npy without fortran_order");
    }
    if (*order == 'T' && y->dims > 1) {
        return in_wrong(in, path, "npy in Fortran order; save it with np.ascontiguousarray");
    }
    return INPUT_RECORD;
}

static int in_npy_header(input *in, lines *src, in_npy *y, int ints)
{
    const unsigned char *p;
    size_t head, n;
    char *text;
    int rc;
    if (lines_need(src, 12) < 12 || memcmp(lines_front(src), "\x93NUMPY", 6)) {
        if (src->broken) return in_said(in, src, INPUT_BROKEN);
        return in_wrong(in, src->name, "no npy file; its first bytes are not \\x93NUMPY");
    }
    p = (const unsigned char *)lines_front(src);
    if (p[6] < 1 || p[6] > 3) return in_wrong(in, src->name, "npy of version %u", p[6]);
    head = p[6] == 1 ? 10 : 12;
    n = p[6] == 1 ? (size_t)p[8] | (size_t)p[9] << 8 : in_le32(p + 8);
    if (n > 65536) {
        return in_wrong(in, src->name, "npy with a header of %lu bytes", (unsigned long)n);
    }
    if (lines_need(src, head + n) < head + n) {
        if (src->broken) return in_said(in, src, INPUT_BROKEN);
        return in_wrong(in, src->name, "truncated: ends within the npy header");
    }
    text = cli_alloc(n + 1);
    memcpy(text, lines_front(src) + head, n);
    rc = in_npy_fields(in, y, src->name, text, ints);
    free(text);
    lines_skip(src, head + n);
    return rc;
}

static float in_half(unsigned h)
{
    unsigned e = h >> 10 & 31, m = h & 1023;
    double x = e == 31 ? (m ? (double)NAN : (double)INFINITY)
             : e ? ldexp(1024.0 + m, (int)e - 25) : ldexp((double)m, -24);
    return (float)(h & 0x8000 ? -x : x);
}

static double in_le_double(const void *p)
{
    uint64_t u = in_le32(p) | (uint64_t)in_le32((const char *)p + 4) << 32;
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Reads cols numbers; the first whose value no float can hold, or cols. */
static size_t in_npy_row(const in_npy *y, const char *p, float *x)
{
    size_t i, n = (size_t)y->cols;
    for (i = 0; i < n; i++, p += y->size) {
        const unsigned char *b = (const unsigned char *)p;
        if (y->type == 'u') x[i] = (float)b[0];
        else if (y->type == 'i') x[i] = (float)(signed char)b[0];
        else if (y->size == 4) x[i] = in_le_float(p);
        else if (y->size == 2) x[i] = in_half((unsigned)b[0] | (unsigned)b[1] << 8);
        else {
            double d = in_le_double(p);
            if (isnan(d) || isinf(d)) x[i] = (float)d;
            else if (!json_float(d, &x[i])) return i;
        }
    }
    return n;
}

static int in_npy_next(input *in)
{
    input_state *s = in->state;
    in_npy *y = &s->npy;
    size_t bytes = (size_t)y->cols * y->size, have, wide;
    int rc;
    if (y->next == y->rows) {
        if ((rc = in_ids_end(in)) < 0) return rc;
        if (!lines_need(&s->src, 1)) return in_end(in);
        return in_wrong(in, s->src.name, "oversized: bytes follow the last of %llu rows",
                        (unsigned long long)y->rows);
    }
    in->record.row = ++y->next;
    have = lines_need(&s->src, bytes);
    if (have < bytes) {
        if ((rc = in_end(in)) < 0) return rc;
        return in_broken(in, "truncated: ends after %u of its %u bytes; %llu rows were announced",
                         (unsigned)have, (unsigned)bytes, (unsigned long long)y->rows);
    }
    wide = in_npy_row(y, lines_front(&s->src), in_room(s, (size_t)y->cols));
    lines_skip(&s->src, bytes);
    in_one_vector(in, (uint32_t)y->cols);
    rc = in_id(in, y->next - 1);
    if (rc < 0 || wide == y->cols) return rc;
    return input_fault(in, "number %lu is out of a float's range", (unsigned long)wide + 1);
}

static int in_npy_open(input *in)
{
    in_npy *y = &in->state->npy;
    const char *path = in->state->src.name;
    int rc = in_npy_header(in, &in->state->src, y, 0);
    if (rc < 0) return rc;
    if (y->dims != 2) {
        return in_wrong(in, path, "npy with %d dimensions; two are read, rows and numbers",
                        y->dims);
    }
    if (y->cols < 1 || y->cols > IN_MAX_DIM) {
        return in_wrong(in, path, "dim %llu; 1 to %u are legal", (unsigned long long)y->cols,
                        IN_MAX_DIM);
    }
    in->expect = y->rows;
    if (in->total && in->expect > in->total) in->expect = 0;
    return INPUT_RECORD;
}

/* ---- JSON Lines ----------------------------------------------------------------- */

static int in_json_id(input *in, const json_value *o)
{
    const json_value *id = members_any(o, "id"), *key = members_any(o, "key");
    uint64_t number;
    if (!key && id && id->type == JSON_STRING) {
        const char *text = json_text(id);
        if (in->state->string_ids && text && cli_id(text, &number)) return in_take_id(in, number);
        key = id;
    }
    if (key) { /* which wins over an id beside it */
        const char *text = json_text(key);
        if (!text) return input_fault(in, "\"key\" is no text without zero bytes");
        return in_take_key(in, text, key->n);
    }
    if (id && !(id->whole & JSON_U64)) {
        return input_fault(in, "\"id\" is no whole number from 0 to 18446744073709551614");
    }
    if (id) return in_take_id(in, id->u.u64);
    if (in->state->has_ids || in->state->numbered) return in_id(in, in->state->rows - 1);
    return input_fault(in, "neither \"id\" nor \"key\"; give one, or number them with --ids FIRST");
}

/* Appends the numbers of an array to the record's; *dim is how many. */
static int in_json_numbers(input *in, const json_value *a, size_t at, uint32_t *dim)
{
    size_t n, bad;
    if (!json_is_numbers(a, &n)) return input_fault(in, "\"vector\" is no array of numbers");
    if (n < 1 || n > IN_MAX_DIM) {
        return input_fault(in, "a vector of %lu numbers; 1 to %u are legal", (unsigned long)n,
                           IN_MAX_DIM);
    }
    in_room(in->state, at + n);
    bad = json_floats(a, in->state->x + at);
    if (bad < n) {
        return input_fault(in, "number %lu is out of a float's range", (unsigned long)bad + 1);
    }
    *dim = (uint32_t)n;
    return INPUT_RECORD;
}

static int in_json_u32(input *in, const json_value *part, const char *name, uint32_t *x)
{
    const json_value *v = members_any(part, name);
    if (!v) return INPUT_RECORD;
    if (!(v->whole & JSON_U64) || v->u.u64 > UINT32_MAX) {
        return input_fault(in, "\"%s\" is no whole number below 4294967296", name);
    }
    *x = (uint32_t)v->u.u64;
    return INPUT_RECORD;
}

static const char *const in_json_members[] = {"id", "key", MEMBER_VECTOR, "vectors", MEMBER_DATA,
    "data_base64", "tag=vtag_tag", "rev=vtag_rev", "off", "len"};
enum { IN_JSON_MEMBERS = sizeof in_json_members / sizeof *in_json_members };

/* What is to be dropped must not be what is taken. */
static int in_json_ignored(input *in)
{
    members m;
    const char *clash;
    m.known = in_json_members;
    m.n = IN_JSON_MEMBERS;
    m.ignored = in->state->ignored;
    m.ignored_n = in->state->ignored_n;
    clash = members_clash(&m);
    if (!clash) return INPUT_RECORD;
    return in_wrong(in, "--ignore", "\"%.60s\" is a member that is taken, and not dropped", clash);
}

/* Says which member is not known. */
static int in_json_known(input *in, const json_value *o, const char *const *known, size_t n)
{
    char why[400];
    members m;
    m.known = known;
    m.n = n;
    m.ignored = in->state->ignored;
    m.ignored_n = in->state->ignored_n;
    if (!members_check(o, &m, why, sizeof why)) return INPUT_RECORD;
    if (o == in->state->top && json_get(o, "kind")) {
        return input_fault(in, "has a \"kind\", as the lines of a dump do; vtag restore takes one");
    }
    return input_fault(in, "%s", why);
}

/* Appends a vector: an array of numbers, or an object with one. */
static int in_json_part(input *in, const json_value *part, const char *tag, size_t *at)
{
    static const char *const known[] = {MEMBER_VECTOR, "off", "len", "tag"};
    input_state *s = in->state;
    size_t n = in->record.n;
    vtag_vec *v = memset(&in_vectors(s, n + 1)[n], 0, sizeof *v);
    const json_value *x = part, *name;
    int rc = INPUT_RECORD;
    if (part->type == JSON_OBJECT) {
        rc = in_json_known(in, part, known, 4);
        x = members_any(part, MEMBER_VECTOR);
        name = members_any(part, "tag");
        if (rc > 0) rc = in_json_u32(in, part, "off", &v->off);
        if (rc > 0) rc = in_json_u32(in, part, "len", &v->len);
        if (rc > 0 && name && (!json_text(name) || (tag && strcmp(tag, json_text(name))))) {
            return input_fault(in, "the \"tag\" of a vector is no text, or another than it is "
                               "under");
        }
        if (name) tag = json_text(name);
    }
    if (rc > 0) rc = in_json_numbers(in, x, *at, &v->dim);
    if (rc < 0) return rc;
    s->tags[n] = tag;
    *at += v->dim;
    in->record.n++;
    return rc;
}

/* A list of parts, or one vector. */
static int in_json_parts(input *in, const json_value *list, const char *tag, size_t *at)
{
    size_t i, n;
    int rc = INPUT_RECORD;
    if ((json_is_numbers(list, &n) && (n || tag)) || list->type == JSON_OBJECT) {
        return in_json_part(in, list, tag, at);
    }
    if (list->type != JSON_ARRAY) return input_fault(in, "\"vectors\" is no array of objects");
    for (i = 0; i < list->n && rc > 0; i++) rc = in_json_part(in, &list->u.items[i], tag, at);
    return rc;
}

/* {"tag":[...], ...}: of several tags. */
static int in_json_by_tag(input *in, const json_value *all, size_t *at)
{
    size_t i;
    int rc = INPUT_RECORD;
    for (i = 0; i < all->n && rc > 0; i++) {
        const json_member *m = &all->u.members[i];
        if (!m->name_n || strlen(m->name) != m->name_n) {
            return input_fault(in, "\"vectors\" has a name that is no tag");
        }
        if (m->value.type != JSON_NULL) rc = in_json_parts(in, &m->value, m->name, at);
    }
    return rc;
}

static int in_json_vectors(input *in, const json_value *o)
{
    input_state *s = in->state;
    const json_value *one = members_any(o, MEMBER_VECTOR), *many = members_any(o, "vectors");
    size_t at = 0, i;
    int rc = INPUT_RECORD;
    if (one && many) return input_fault(in, "both \"vector\" and \"vectors\"; give one");
    if (one && one->type == JSON_OBJECT) many = one;
    if (many && many->type == JSON_OBJECT) rc = in_json_by_tag(in, many, &at);
    else if (many) rc = in_json_parts(in, many, NULL, &at);
    else if (one) rc = in_json_part(in, one, NULL, &at);
    if (rc > 0 && one && !many) rc = in_json_u32(in, o, "off", &s->v[0].off);
    if (rc > 0 && one && !many) rc = in_json_u32(in, o, "len", &s->v[0].len);
    if (rc < 0) return rc;
    for (i = in->record.n; i-- > 0;) {
        at -= s->v[i].dim;
        s->v[i].x = s->x + at; /* only now: s->x moved while it grew */
    }
    in->record.v = s->v;
    in->record.tags = s->tags;
    return INPUT_RECORD;
}

static int in_json_data(input *in, const json_value *o)
{
    const json_value *data = members_any(o, MEMBER_DATA), *coded = members_any(o, "data_base64");
    vtag_item *item = &in->record.item;
    if (data && coded) return input_fault(in, "both \"data\" and \"data_base64\"; give one");
    if (data) {
        if (data->type != JSON_STRING) return input_fault(in, "\"data\" is no text");
        item->data = data->u.str;
        item->size = data->n;
    } else if (coded) {
        in->state->bytes = cli_grow(in->state->bytes, coded->n + 1, 1);
        if (coded->type != JSON_STRING ||
            !json_unbase64(in->state->bytes, &item->size, coded->u.str, coded->n)) {
            return input_fault(in, "\"data_base64\" is no base64");
        }
        item->data = in->state->bytes;
    }
    return INPUT_RECORD;
}

static int in_json_facts(input *in, const json_value *o)
{
    const json_value *rev = members_any(o, "rev=vtag_rev"), *tag = members_any(o, "tag=vtag_tag");
    int rc = in_json_known(in, o, in_json_members, IN_JSON_MEMBERS);
    if (rc < 0) return rc;
    if (rev) {
        if (!(rev->whole & JSON_U64)) return input_fault(in, "\"rev\" is no whole number");
        in->record.item.rev = rev->u.u64;
    }
    if (tag) {
        in->record.tag = json_text(tag);
        if (!in->record.tag) return input_fault(in, "\"tag\" is no text");
    }
    return INPUT_RECORD;
}

static int in_json_next(input *in)
{
    input_state *s = in->state;
    const json_value *o;
    char *line;
    size_t n;
    int rc;
    do rc = lines_next(&s->src, &line, &n);
    while (rc > 0 && !line[strspn(line, " \t")]);
    in->record.row = s->src.number;
    if (rc < 0) return in_said(in, &s->src, rc == LINES_BAD ? INPUT_BAD : INPUT_BROKEN);
    if (!rc) return in_ids_end(in);
    s->rows++;
    o = s->top = json_parse(&s->js, line, n);
    if (!o && line[strspn(line, " \t")] != '[') return input_fault(in, "%s", s->js.error);
    if (!o || o->type != JSON_OBJECT) {
        return input_fault(in, "no JSON object; each line is one, as jq -c '.[]' makes of an "
                           "array");
    }
    rc = in_json_facts(in, o);
    if (rc > 0) rc = in_json_vectors(in, o);
    if (rc > 0) rc = in_json_data(in, o);
    return rc > 0 ? in_json_id(in, o) : rc;
}

/* ---- Text ----------------------------------------------------------------------- */

static int in_number(const char *s, float *x)
{
    char *end;
    double d;
    if (!*s || !strchr("+-.0123456789", *s)) return 0;
    d = strtod(s, &end);
    end += strspn(end, " ");
    return !*end && json_float(d, x);
}

/* Whether it is written as a number, even one that no float can hold, NaN or infinity. */
static int in_numeric(const char *s)
{
    char *end;
    strtod(s, &end);
    return end != s && !end[strspn(end, " ")];
}

/* Cuts a line into fields in place; 0 if there are too many. */
static int in_split(input_state *s, char *line, size_t *count)
{
    char gaps[] = " \t";
    size_t n = 0;
    if (s->gap) gaps[0] = s->gap, gaps[1] = '\0';
    for (;;) {
        if (!s->gap) line += strspn(line, gaps);
        if (!*line && (!s->gap || s->gap == '\t')) break; /* a tab may stand at the end */
        if (n == IN_MAX_DIM + 2) return 0;
        if (n == s->fields_cap) {
            s->fields_cap = n ? 2 * n : 256;
            s->fields = cli_grow(s->fields, s->fields_cap, sizeof *s->fields);
        }
        s->fields[n++] = line;
        line += strcspn(line, gaps);
        if (!*line && s->gap == ',') break;
        if (*line) *line++ = '\0';
    }
    *count = n;
    return 1;
}

/* The next line that is not empty, its row in the record; NULL at the end or if broken. */
static char *in_text_line(input *in)
{
    input_state *s = in->state;
    char *line;
    size_t n;
    int got;
    do got = lines_next(&s->src, &line, &n);
    while (got > 0 && !line[strspn(line, " \t")]);
    in->record.row = s->src.number;
    if (got < 0) in_said(in, &s->src, INPUT_BROKEN);
    return got > 0 ? line : NULL;
}

typedef struct in_head {     /* what one of the first two lines looks like */
    size_t   n, words;       /* columns; those that are no numbers */
    size_t   named;          /* the column of a name such as id, from 1; 0: none */
    int      counts;         /* it is two whole numbers, rows and dim */
    uint64_t rows, dim;
    int      word, digits;   /* the id's column: no number at all; an id */
} in_head;

static int in_id_name(const char *s)
{
    static const char *const names[] = {"key", "keys", "word", "words", "token", "name", "item",
        "ids", "uuid"};
    size_t i, n = strlen(s);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(s, names[i])) return 1;
    }
    return n > 1 && (s[n - 2] == 'i' || s[n - 2] == 'I') && (s[n - 1] == 'd' || s[n - 1] == 'D');
}

static int in_head_of(input *in, const char *line, in_head *h)
{
    input_state *s = in->state;
    char *copy = cli_strdup(line);
    const char *field;
    size_t i, id = 1;
    uint64_t number;
    int fits = in_split(s, copy, &h->n);
    memset(&h->words, 0, sizeof *h - offsetof(in_head, words));
    if (fits && s->column) id = strcmp(s->column, "none") ? h->n : 0;
    if (id > 1 && cli_u64(s->column, &number)) id = number <= h->n ? (size_t)number : 0;
    for (i = 0; fits && i < h->n; i++) {
        h->words += !in_numeric(s->fields[i]);
        if (!h->named && in_id_name(s->fields[i])) h->named = i + 1;
    }
    if (fits && id && id <= h->n) {
        field = s->fields[id - 1];
        h->digits = cli_id(field, &number);
        h->word = field[strspn(field, "0123456789")] != '\0' && !in_numeric(field);
    }
    h->counts = fits && h->n == 2 && cli_u64(s->fields[0], &h->rows) &&
                cli_u64(s->fields[1], &h->dim);
    free(copy);
    return fits;
}

/* Whether the first line is word2vec's count line: the second has as many numbers as it says,
   after a word or without one. Of two columns it could be a row as well. */
static int in_head_counts(const in_head *a, const in_head *b)
{
    if (!a->counts || !b->n) return 0;
    if (b->n == 2) return a->dim == 1 && b->words == 1;
    return b->n == a->dim + 1 || (b->n == a->dim && !b->words);
}

/* Settles what the first line is: 1 if it is none of the rows, 0 if it is one. */
static int in_head_settle(input *in, const in_head *a, const in_head *b)
{
    input_state *s = in->state;
    in->record.row = s->held_row[0];
    if (s->header < 0) return 0;
    if (s->header > 0) {
        if (!s->column) s->id_column = a->named;
        return 1;
    }
    if (in_head_counts(a, b)) {
        s->promised = a->rows;
        if (b->n == a->dim + 1 && !s->column) s->id_column = 1;
        s->keyed = s->id_column == 1;
        s->counted = s->keyed;
        return 1;
    }
    if (a->counts && b->n && b->n != 2) {
        return in_broken(in, "counts rows of %llu numbers, where the next line has %lu columns; "
                         "say --header or --no-header", (unsigned long long)a->dim,
                         (unsigned long)b->n);
    }
    if (a->counts && (a->dim == 1 || a->dim == 2)) s->maybe = a->rows;
    if (a->n > 1 && a->words == a->n) {
        if (!s->column && !a->named) {
            return in_broken(in, "is a header that names no id; say which column is, by --ids-column"
                             " N or none");
        }
        if (!s->column) s->id_column = a->named;
        return 1;
    }
    if (a->word && b->digits) {
        return in_broken(in, "begins with a word and the next with a number, so it may be a "
                         "header; say --header or --no-header");
    }
    return 0;
}

/* Tells columns apart by the first line that has any. */
static void in_text_gap(input_state *s, const char *line)
{
    if (s->comma) s->gap = ',';
    else if (strchr(line, '\t')) s->gap = '\t';
}

static int in_text_open(input *in)
{
    input_state *s = in->state;
    in_head heads[2];
    size_t i;
    int rc;
    memset(heads, 0, sizeof heads);
    for (i = 0; i < 2; i++) {
        char *line = in_text_line(in);
        if (s->broken) return INPUT_BROKEN;
        if (!line) break;
        s->held[i] = cli_strdup(line);
        s->held_row[i] = in->record.row;
    }
    if (!s->held[0]) return INPUT_RECORD;
    in_text_gap(s, s->held[s->held[1] != NULL]);
    for (i = 0; i < 2 && s->held[i]; i++) {
        if (!in_head_of(in, s->held[i], &heads[i])) return INPUT_RECORD; /* it will be said */
    }
    rc = in_head_settle(in, &heads[0], &heads[1]);
    if (rc < 0) return rc;
    if (rc) {
        free(s->held[0]);
        s->held[0] = NULL;
    }
    in->expect = s->promised;
    if (in->total && in->expect > in->total) in->expect = 0;
    return INPUT_RECORD;
}

/* Settles on the first row which column is the id, and whether it is a key. */
static int in_text_shape(input *in, size_t n)
{
    input_state *s = in->state;
    uint64_t id, column = n;
    s->shaped = 1;
    if (s->column && !strcmp(s->column, "none")) {
        s->id_column = 0;
    } else if (s->column) {
        if (strcmp(s->column, "last") && (!cli_u64(s->column, &column) || !column || column > n)) {
            return in_broken(in, "has %lu columns; --ids-column wants one of them, last or none",
                             (unsigned long)n);
        }
        s->id_column = (size_t)column;
    } else if (!s->id_column && !in_numeric(s->fields[0])) {
        s->id_column = 1;
    }
    if (s->id_column > n) {
        return in_broken(in, "%lu columns, where the header names the id in column %lu",
                         (unsigned long)n, (unsigned long)s->id_column);
    }
    if (s->id_column && !s->counted) s->keyed = !cli_id(s->fields[s->id_column - 1], &id);
    if (s->id_column && (s->has_ids || s->numbered)) {
        return in_broken(in, "column %lu has the ids, so --ids is one too many; or say "
                         "--ids-column none", (unsigned long)s->id_column);
    }
    n -= s->id_column > 0;
    if (n < 1 || n > IN_MAX_DIM) {
        return in_broken(in, "%lu numbers; 1 to %u are legal", (unsigned long)n, IN_MAX_DIM);
    }
    s->dim = (uint32_t)n;
    return INPUT_RECORD;
}

static int in_text_numbers(input *in, size_t n)
{
    input_state *s = in->state;
    size_t i, k = 0;
    if (n - (s->id_column > 0) != s->dim) {
        return input_fault(in, "%lu numbers, where the first row has %u",
                           (unsigned long)(n - (n && s->id_column)), s->dim);
    }
    in_room(s, s->dim);
    for (i = 0; i < n; i++) {
        const char *field = s->fields[i];
        if (i + 1 == s->id_column) continue;
        field += strspn(field, " ");
        if (in_number(field, &s->x[k++])) continue;
        return input_fault(in, "column %lu: '%.40s' is no number that a float can hold",
                           (unsigned long)i + 1, field);
    }
    in_one_vector(in, s->dim);
    return INPUT_RECORD;
}

static int in_text_end(input *in)
{
    input_state *s = in->state;
    int rc = s->broken ? INPUT_BROKEN : INPUT_END;
    if (!rc && s->promised && s->rows != s->promised) {
        return in_wrong(in, s->src.name, "its first line announces %llu rows, %llu came",
                        (unsigned long long)s->promised, (unsigned long long)s->rows);
    }
    if (!rc && s->maybe && s->rows - 1 == s->maybe) {
        return in_wrong(in, s->src.name, "its first line may be a row, or announce the %llu that "
                        "follow; say --header or --no-header", (unsigned long long)s->maybe);
    }
    return rc ? rc : in_ids_end(in);
}

static int in_text_next(input *in)
{
    input_state *s = in->state;
    int i = s->held[0] ? 0 : s->held[1] ? 1 : -1, rc;
    char *held = i < 0 ? NULL : s->held[i], *line;
    size_t n;
    if (held) {
        in->record.row = s->held_row[i];
        s->held[i] = NULL;
    }
    line = held ? held : in_text_line(in);
    if (!line) return in_text_end(in);
    s->rows++;
    if (s->comma && strchr(line, '"')) rc = input_fault(in, "a quoted field; write it with tabs");
    else if (!in_split(s, line, &n)) rc = input_fault(in, "more than %u columns", IN_MAX_DIM + 1);
    else rc = s->shaped ? INPUT_RECORD : in_text_shape(in, n);
    if (rc > 0) rc = in_text_numbers(in, n);
    if (rc > 0 && s->id_column) rc = in_take_word(in, s->fields[s->id_column - 1], s->keyed);
    else if (rc > 0) rc = in_id(in, s->rows - 1);
    free(held);
    return rc;
}

/* ---- Opening -------------------------------------------------------------------- */

static const char *in_suffix(const char *path)
{
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    return dot && (!slash || dot > slash) ? dot + 1 : "";
}

static int in_is(const char *s, const char *a, const char *b, const char *c)
{
    return !strcmp(s, a) || (b && !strcmp(s, b)) || (c && !strcmp(s, c));
}

/* JSON at the front: an object's first member after white space, or, where the name does not
   say that it is text, an array's bracket. */
static int in_json_like(const char *p, size_t n, int text)
{
    size_t i = 0;
    if (memchr(p, 0, n)) return 0; /* as in the dim of fvecs */
    if (n >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3)) i = 3;
    while (i < n && p[i] && strchr(" \t\r\n", p[i])) i++;
    if (i == n || (p[i] != '{' && p[i] != '[')) return 0;
    if (p[i++] == '[') return !text;
    while (i < n && p[i] && strchr(" \t\r\n", p[i])) i++;
    return i < n && p[i] == '"';
}

/* The format that the first bytes tell, or NULL; an error if it is none of ours. */
static const char *in_told(input *in, const char *suffix)
{
    lines *l = &in->state->src;
    int text = in_is(suffix, "txt", "text", "tsv") || in_is(suffix, "csv", NULL, NULL);
    size_t n = lines_need(l, 64);
    const char *todo = n ? lines_alien(lines_front(l), n) : NULL;
    if (todo) in_wrong(in, l->name, "%s", todo);
    if (!n || todo) return NULL;
    if (n >= 6 && !memcmp(lines_front(l), "\x93NUMPY", 6)) return "npy";
    return in_json_like(lines_front(l), n, text) ? "jsonl" : NULL;
}

/* Picks the reader and reads what stands before the first row. */
static int in_format(input *in, const char *path, const char *format)
{
    input_state *s = in->state;
    const char *told = in_told(in, in_suffix(path)), *f = format;
    if (s->broken) return INPUT_BROKEN;
    if (!f) f = told ? told : in_suffix(path);
    s->element = in_is(f, "bvecs", NULL, NULL) ? 1 : 4;
    if (in_is(f, "fvecs", "bvecs", NULL)) {
        s->next = in_vecs_next;
    } else if (in_is(f, "npy", NULL, NULL)) {
        s->next = in_npy_next;
        return in_npy_open(in);
    } else if (in_is(f, "jsonl", "ndjson", "json")) {
        s->next = in_json_next;
        s->text = 1;
    } else if (in_is(f, "tsv", "txt", "text") || in_is(f, "csv", NULL, NULL)) {
        s->next = in_text_next;
        s->text = 1;
        s->comma = in_is(f, "csv", NULL, NULL);
        return in_text_open(in);
    } else if (format) {
        return in_wrong(in, s->src.name, "format '%.40s'; there are fvecs, bvecs, npy, jsonl, tsv, "
                        "csv", format);
    } else {
        return in_wrong(in, s->src.name, "its name does not tell the format; say --format fvecs, "
                        "bvecs, npy, jsonl, tsv or csv");
    }
    return INPUT_RECORD;
}

static int in_ids_open(input *in, const char *ids, int spool)
{
    input_state *s = in->state;
    in_npy *y = &s->ids_shape;
    int rc;
    if (!ids) return INPUT_RECORD;
    if (cli_u64(ids, &s->first_id)) {
        s->numbered = 1;
        return INPUT_RECORD;
    }
    s->has_ids = 1;
    if (!lines_open(&s->ids, ids) || (spool && !lines_spool(&s->ids))) {
        return in_said(in, &s->ids, INPUT_BROKEN);
    }
    if (lines_need(&s->ids, 6) < 6 || memcmp(lines_front(&s->ids), "\x93NUMPY", 6)) {
        if (strcmp(in_suffix(ids), "npy")) return INPUT_RECORD;
    }
    s->ids_npy = 1;
    rc = in_npy_header(in, &s->ids, y, 1);
    if (rc < 0) return rc;
    if (y->dims < 1 || y->dims > 2 || y->cols != 1) {
        return in_wrong(in, ids, "the ids are no single column");
    }
    return INPUT_RECORD;
}

int input_open(input *in, const char *path, const input_opts *o)
{
    input_state *s = cli_alloc(sizeof *s);
    int rc;
    memset(in, 0, sizeof *in);
    in->state = s;
    s->first_id = o->first_id;
    s->per_tag = o->per_tag;
    s->ignored = o->ignored;
    s->ignored_n = o->ignored_n;
    s->string_ids = o->string_ids;
    s->header = o->header;
    s->column = o->ids_column;
    rc = in_json_ignored(in) > 0 && lines_open(&s->src, path);
    if (!rc && s->src.name) in_said(in, &s->src, INPUT_BROKEN);
    in->total = s->src.total;
    if (rc && o->spool && !lines_spool(&s->src)) rc = in_said(in, &s->src, INPUT_BROKEN) > 0;
    if (rc) rc = in_ids_open(in, o->ids, o->spool) > 0 && in_format(in, path, o->format) > 0;
    if (rc) return 1;
    input_close(in);
    return 0;
}

void input_first(input *in, uint64_t first_id)
{
    if (!in->state->numbered) in->state->first_id = first_id;
}

int input_next(input *in)
{
    input_state *s = in->state;
    int rc;
    if (s->broken) return INPUT_BROKEN;
    memset(&in->record, 0, sizeof in->record);
    rc = s->next(in);
    in->done = lines_done(&s->src);
    return rc;
}

void input_close(input *in)
{
    input_state *s = in->state;
    if (!s) return;
    lines_close(&s->src);
    lines_close(&s->ids);
    free(s->seen.slots);
    free(s->x);
    free(s->v);
    free(s->tags);
    free(s->bytes);
    free(s->held[0]);
    free(s->held[1]);
    free(s->fields);
    json_free(&s->js);
    free(s);
    in->state = NULL;
}
