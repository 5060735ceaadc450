/* fuzz_import.c - the readers of vectors: fvecs, bvecs, npy, JSON Lines, text, and files
   of ids; and the JSON reader by itself

   An input: format, options, bytes of the file of ids if there is one, then the file.
   Every record that is taken must be one that the engine could take, and what JSON
   wrote must read back the same. */
#ifndef VTAG_IMPLEMENTATION
#define VTAG_IMPLEMENTATION
#endif
#include "../vtag.h"
#include "fuzz_tools.h"

/* ---- JSON ------------------------------------------------------------------------ */

static void fj_write(FILE *f, const json_value *v)
{
    size_t i;
    switch (v->type) {
    case JSON_NULL: fputs("null", f); break;
    case JSON_BOOL: fputs(v->u.truth ? "true" : "false", f); break;
    case JSON_NUMBER:
        if (v->whole & JSON_U64) fprintf(f, "%llu", (unsigned long long)v->u.u64);
        else if (v->whole) fprintf(f, "%lld", (long long)v->u.i64);
        else json_write_double(f, v->num);
        break;
    case JSON_STRING: json_write_string(f, v->u.str, v->n); break;
    default:
        fputc(v->type == JSON_OBJECT ? '{' : '[', f);
        for (i = 0; i < v->n; i++) {
            if (i) fputc(',', f);
            if (v->type == JSON_NUMBERS) json_write_double(f, v->u.nums[i]);
            if (v->type == JSON_ARRAY) fj_write(f, &v->u.items[i]);
            if (v->type != JSON_OBJECT) continue;
            json_write_string(f, v->u.members[i].name, v->u.members[i].name_n);
            fputc(':', f);
            fj_write(f, &v->u.members[i].value);
        }
        fputc(v->type == JSON_OBJECT ? '}' : ']', f);
    }
}

static char *fj_text(const json_value *v, size_t *n)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, n);
    if (!f) abort();
    fj_write(f, v);
    fclose(f);
    return text;
}

/* Text that parses, written and parsed and written again, is the same both times. */
static void fj_run(fuzz_in *in)
{
    json j = {0};
    const json_value *v = json_parse(&j, (const char *)in->p, in->n);
    char *once, *twice;
    size_t n, m;
    if (v) {
        once = fj_text(v, &n);
        v = json_parse(&j, once, n);
        FUZZ_MUST(v != NULL);
        twice = fj_text(v, &m);
        FUZZ_MUST(n == m && !memcmp(once, twice, n));
        free(once);
        free(twice);
    } else {
        FUZZ_MUST(j.error[0] && j.at <= in->n + 1);
    }
    json_free(&j);
}

/* Bytes to base64 and back; and text that decodes, to bytes and back. */
static void fj_base64(fuzz_in *in)
{
    char *text = malloc(JSON_BASE64_ROOM(in->n));
    uint8_t *bytes = malloc(in->n + 3), *back = malloc(in->n + 3);
    size_t n = json_base64(text, in->p, in->n), m = 0;
    FUZZ_MUST(json_unbase64(back, &m, text, n) && m == in->n && !memcmp(back, in->p, m));
    if (json_unbase64(bytes, &m, (const char *)in->p, in->n))
        FUZZ_MUST(json_base64(text, bytes, m) == in->n && !memcmp(text, in->p, in->n));
    free(text);
    free(bytes);
    free(back);
}

/* ---- Records ------------------------------------------------------------------------ */

static volatile uint64_t fp_sum; /* so that what is read is read */

static void fp_record(const input_record *r)
{
    const vtag_item *it = &r->item;
    size_t i, k;
    FUZZ_MUST(it->id != UINT64_MAX);
    if (it->key) {
        size_t n = strlen(it->key);
        FUZZ_MUST(n >= 1 && n <= 255 && json_utf8(it->key, n) == n && vtag_id(it->key) == it->id);
    }
    for (i = 0; i < it->size; i++) fp_sum += ((const uint8_t *)it->data)[i];
    if (r->tag) fp_sum += strlen(r->tag);
    for (i = 0; i < r->n; i++) {
        FUZZ_MUST(r->v[i].dim >= 1 && r->v[i].dim <= 32768);
        for (k = 0; k < r->v[i].dim; k++) fp_sum += r->v[i].x[k] > 0;
    }
}

static void fp_read_all(input *in)
{
    int rc, steps = 0;
    while ((rc = input_next(in)) > 0 || rc == INPUT_BAD) {
        FUZZ_MUST(steps++ < 100000);
        if (rc > 0) fp_record(&in->record);
        else FUZZ_MUST(in->error[0]);
    }
    FUZZ_MUST(in->done <= ft_streams[0].n);
    if (rc == INPUT_BROKEN) FUZZ_MUST(in->error[0] && input_next(in) == INPUT_BROKEN);
}

static void fuzz_import(fuzz_in *in)
{
    static const char *const formats[] = {"fvecs", "bvecs", "npy", "jsonl", "tsv", "txt"};
    static const char *const columns[] = {NULL, "1", "2", "last", "none", "99"};
    static const char *const ids[] = {NULL, "7", "ids.npy", "ids.txt", "18446744073709551610"};
    input_opts o = {0};
    input file;
    uint32_t format = fuzz_u8(in) % 8, options = fuzz_u8(in), more = fuzz_u8(in), n = 0;
    if (format == 6) {
        fj_run(in);
        return;
    }
    if (format == 7) {
        fj_base64(in);
        return;
    }
    o.format = formats[format];
    o.ids = ids[options % 5];
    o.ids_column = columns[more % 6];
    o.header = options / 5 % 3 == 2 ? -1 : (int)(options / 5 % 3);
    o.string_ids = options / 15 & 1;
    if (options / 30 & 1) o.format = format == 5 ? "csv" : NULL; /* told by content */
    o.per_tag = more >> 4 & 1;
    ft_pipe = more >> 5 & 1;
    ft_chunk = more >> 6 ? (size_t)1 << (more >> 6) * 2 : 1 << 20;
    if (options % 5 == 2 || options % 5 == 3) n = fuzz_u8(in);
    if (n > in->n) n = (uint32_t)in->n;
    ft_streams[1].p = in->p, ft_streams[1].n = n, ft_streams[1].at = 0;
    ft_streams[0].p = in->p + n, ft_streams[0].n = in->n - n, ft_streams[0].at = 0;
    if (input_open(&file, "-", &o)) {
        fp_read_all(&file);
        input_close(&file);
    } else {
        FUZZ_MUST(file.error[0]);
    }
    FUZZ_MUST(ft_opened == 0);
}

#define FP_NPY(descr, shape) "\\93NUMPY\\01\\00\\52\\00{'descr': '" descr "', 'fortran_order': False, 'shape': (" shape \
    "), }                      \\0a"
static const char *const fuzz_import_seeds[] = {
    "\\00\\00\\00\\02\\00\\00\\00\\00\\00\\80\\3f\\00\\00\\00\\40\\02\\00\\00\\00\\00\\00\\80\\3f\\00\\00\\00\\40",
    "\\01\\00\\00\\03\\00\\00\\00abc\\03\\00\\00\\00xyz", "\\02\\00\\00" FP_NPY("<f4", "2, 1") "\\00\\00\\80\\3f\\00\\00\\00\\40",
    "\\02\\01\\80" FP_NPY("<f2", "2, 2") "abcdefgh", "\\02\\00\\00" FP_NPY("<f8", "1, 1") "abcdefgh",
    "\\02\\00\\00" FP_NPY("|u1", "3, 2") "abcdef",
    "\\00\\02\\00\\70" FP_NPY("<i8", "1,  ") "\\05\\00\\00\\00\\00\\00\\00\\00\\02\\00\\00\\00\\00\\00\\80\\3f\\00\\00\\00\\40",
    "\\00\\03\\00\\04\\61\\0a\\62\\0a\\01\\00\\00\\00\\00\\00\\80\\3f\\01\\00\\00\\00\\00\\00\\80\\3f",
    "\\03\\00\\00{\"id\":1,\"data\":\"a\",\"vector\":[1,2.5,-3e2]}\\0a{\"key\":\"k\\5cu00e9\",\"rev\":2,\"tag\":\"m@1\",\"vectors\":"
    "[{\"vector\":[1],\"off\":1,\"len\":2},{\"vector\":[3]}]}\\0a",
    "\\03\\01\\40{\"data_base64\":\"AAEC\",\"vector\":[0.1]}\\0a\\0a{\"vector\":null}", "\\04\\00\\00a\\091\\092.5\\0ab\\093\\094\\0a",
    "\\03\\0f\\10{\"id\":\"7\",\"vectors\":{\"a@1\":[1],\"b@1\":[{\"values\":[2]},[3]]},\"text\":null}\\0a",
    "\\03\\1e\\00{\"id\":1,\"embedding\":[1],\"document\":\"x\"}\\0a{\"key\":\"a\",\"vectr\":[1]}\\0a",
    "\\05\\1e\\00id,x,y\\0a7,1,2\\0a8,3,\\0a", "\\04\\05\\00id\\090\\091\\0a7\\091\\092\\0a", "\\04\\00\\00" "1 2\\0a3 4\\0a",
    "\\04\\01\\041 2 3\\0a4 5 6\\0a", "\\05\\00\\002 2\\0acat 1 2\\0adog 3 4\\0a", "\\04\\00\\03" "1 2 k\\0a3 4 l\\0a",
    "\\06\\00\\00{\"a\":[1,2,{\"b\":null}],\"c\":\"\\5cud83d\\5cude00\",\"d\":-1.5e-7,\"e\":true,\"f\":18446744073709551615}",
    "\\07\\00\\00AAEC", "\\07\\00\\00hello, world", NULL};

FUZZ_MAIN(import)
