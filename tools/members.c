/* members.c - which members an object of JSON may have; see members.h. */
#include "members.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

/* Whether one of "a=b=c" is name. */
static int member_named(const char *names, const char *name, size_t n)
{
    while (*names) {
        size_t len = strcspn(names, "=");
        if (len == n && !memcmp(names, name, n)) return 1;
        names += len + (names[len] == '=');
    }
    return 0;
}

const json_value *members_any(const json_value *v, const char *names)
{
    size_t i;
    if (!v || v->type != JSON_OBJECT) return NULL;
    for (i = 0; i < v->n; i++) {
        const json_member *m = &v->u.members[i];
        if (m->value.type != JSON_NULL && member_named(names, m->name, m->name_n)) return &m->value;
    }
    return NULL;
}

/* How far a name is from one of "a=b=c"; a few edits, or a word that it holds or is held by. */
static size_t member_far(const char *names, const char *name)
{
    size_t best = 100;
    while (*names) {
        char word[40];
        size_t len = strcspn(names, "="), e;
        snprintf(word, sizeof word, "%.*s", (int)(len < 39 ? len : 39), names);
        e = cli_edits(name, word, 3);
        if (e > 2 || e >= len) {
            int within = (len > 4 && strstr(name, word)) ||
                         (len > 2 && !strncmp(name, word, len)) ||
                         (strlen(name) > 2 && !strncmp(word, name, strlen(name)));
            e = within ? 3 : 100;
        }
        if (e < best) best = e;
        names += len + (names[len] == '=');
    }
    return best;
}

static void member_unknown(const json_member *m, const members *names, char *why, size_t size)
{
    static const char *const meant[][2] = {{"content", "data"}, {"body", "data"},
        {"payload", "data"}, {"page_content", "data"}, {"chunk", "data"}, {"uuid", "key"},
        {"_id", "key"}, {"name", "key"},
        {"model", "tag"}, {"version", "rev"}, {"revision", "rev"}, {"emb", "vector"}};
    const char *near = NULL;
    size_t i, at, best = 4;
    for (i = 0; i < names->n; i++) {
        size_t far = member_far(names->known[i], m->name);
        if (far < best) {
            best = far;
            near = names->known[i];
        }
    }
    for (i = 0; !near && i < sizeof meant / sizeof *meant; i++) {
        if (!strcmp(m->name, meant[i][0])) near = meant[i][1];
    }
    snprintf(why, size, "unknown member \"%.60s\"", m->name);
    at = strlen(why);
    if (near) {
        snprintf(why + at, size - at, "; did you mean \"%.*s\"?", (int)strcspn(near, "="), near);
    }
    at = strlen(why);
    snprintf(why + at, size - at, "; known are ");
    for (i = 0; i < names->n; i++) {
        at = strlen(why);
        snprintf(why + at, size - at, "%s%s", i ? ", " : "", names->known[i]);
    }
    at = strlen(why);
    snprintf(why + at, size - at, "; --ignore %.60s drops it", m->name);
}

int members_check(const json_value *v, const members *names, char *why, size_t size)
{
    size_t i, k, j;
    for (i = 0; i < v->n; i++) {
        const json_member *m = &v->u.members[i];
        int known = 0;
        for (k = 0; k < names->ignored_n && !known; k++) {
            known = strlen(names->ignored[k]) == m->name_n &&
                    !memcmp(names->ignored[k], m->name, m->name_n);
        }
        if (known) continue;
        for (k = 0; k < names->n && !member_named(names->known[k], m->name, m->name_n);) k++;
        if (k == names->n) {
            member_unknown(m, names, why, size);
            return -1;
        }
        for (j = 0; j < i && m->value.type != JSON_NULL; j++) {
            const json_member *o = &v->u.members[j];
            if (o->value.type == JSON_NULL) continue;
            if (!member_named(names->known[k], o->name, o->name_n)) continue;
            snprintf(why, size, "both \"%.40s\" and \"%.40s\", which mean the same; give one",
                     o->name, m->name);
            return -1;
        }
    }
    return 0;
}

const char *members_clash(const members *names)
{
    size_t i, k;
    for (i = 0; i < names->ignored_n; i++) {
        const char *name = names->ignored[i];
        for (k = 0; k < names->n; k++) {
            if (member_named(names->known[k], name, strlen(name))) return name;
        }
    }
    return NULL;
}
