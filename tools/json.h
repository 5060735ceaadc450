/* json.h - a small strict JSON reader and writer for the tools.

       json j = {0};
       const json_value *v = json_parse(&j, line, n), *id;
       if (!v) return cli_fail("%s:%zu: %s", path, row, j.error);
       id = json_get(v, "id");
       if (id && (id->whole & JSON_U64)) use(id->u.u64);
       ...
       json_free(&j);

   The tree of one text lives until the next json_parse or json_free. Strict: RFC 8259
   and nothing beside it; UTF-8, surrogates and the range of numbers are checked, a name
   twice in one object is an error, and nesting ends at JSON_DEPTH. */
#ifndef JSON_H
#define JSON_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH 64

typedef enum json_type {
    JSON_NULL,
    JSON_BOOL,               /* u.truth */
    JSON_NUMBER,             /* num; u.u64 or u.i64 where whole says so */
    JSON_STRING,             /* u.str, n bytes of UTF-8 and a zero byte after them */
    JSON_ARRAY,              /* u.items[n]; an empty array is of this type */
    JSON_NUMBERS,            /* u.nums[n]: an array of numbers that doubles hold exactly */
    JSON_OBJECT              /* u.members[n], in their order */
} json_type;

#define JSON_EXACT (UINT64_C(1) << 53) /* up to here every reader holds whole numbers */

enum { JSON_U64 = 1, JSON_I64 = 2 }; /* bits of whole: an integer, which u.u64 or u.i64 holds */

typedef struct json_value json_value;
typedef struct json_member json_member;

struct json_value {
    json_type type;
    int       whole;
    size_t    n;
    double    num;           /* correctly rounded */
    union {
        int                truth;
        uint64_t           u64;
        int64_t            i64;
        const char        *str;
        const json_value  *items;
        const double      *nums;
        const json_member *members;
    } u;
};

struct json_member {
    const char *name;        /* ends at a zero byte, which it may also contain */
    size_t      name_n;
    json_value  value;
};

typedef struct json {        /* zero it first */
    char   error[160];       /* of the last json_parse: what, and at which byte */
    size_t at;               /* that byte, from 1 */
    struct json_memory *memory;
} json;

/* Parses one text of n bytes, white space around it allowed; NULL: see error. */
const json_value *json_parse(json *j, const char *text, size_t n);
void json_free(json *j);

/* The member of that name; NULL if v is no object or has none. */
const json_value *json_get(const json_value *v, const char *name);
/* Element i of an array of either type; tmp is room for one that has to be made. */
const json_value *json_at(const json_value *v, size_t i, json_value *tmp);
/* 1 if v is a string of exactly these bytes; v may be NULL. */
int json_is(const json_value *v, const char *text);
/* The bytes of v if it is a string without a zero byte, else NULL; v may be NULL. */
const char *json_text(const json_value *v);
/* 1 if v is the id of an item as vtag writes it, to *id: a whole number, or beyond
   JSON_EXACT, where other readers of JSON round, its digits as a string. */
int json_id(const json_value *v, uint64_t *id);
/* 1 if v is an array of numbers (or an empty one), its length to *n. */
int json_is_numbers(const json_value *v, size_t *n);
/* 1 if a float is nearest to num, within its range: to *x. What vtag prints is read back. */
int json_float(double num, float *x);
/* Copies such an array's numbers to x[n] as floats; the index of the first that no
   float can hold, or n. */
size_t json_floats(const json_value *v, float *x);

/* ---- Writing -------------------------------------------------------------------- */

void json_write_string(FILE *f, const char *s, size_t n); /* quoted; broken UTF-8 becomes U+FFFD */
void json_write_float(FILE *f, float x);                  /* the same float when read back */
void json_write_double(FILE *f, double x);                /* the same double when read back */
void json_write_floats(FILE *f, const float *x, size_t n); /* [x0,x1,...] */
void json_write_base64(FILE *f, const void *p, size_t n); /* quoted */

/* ---- Bytes ---------------------------------------------------------------------- */

/* The length of the longest valid UTF-8 at the front: n if all of it is. */
size_t json_utf8(const void *p, size_t n);

#define JSON_BASE64_ROOM(n) (((n) + 2) / 3 * 4 + 1) /* text and its zero byte */
#define JSON_BASE64_BYTES(n) ((n) / 4 * 3)          /* at most, from n characters */
/* Encodes to out[JSON_BASE64_ROOM(n)]; the length without the zero byte. */
size_t json_base64(char *out, const void *p, size_t n);
/* Decodes strictly, padding required, to out[JSON_BASE64_BYTES(n)]; 0 if malformed.
   out may be where the text is. */
int json_unbase64(void *out, size_t *out_n, const char *s, size_t n);

#endif /* JSON_H */
