/* members.h - which members an object of JSON may have: what is misspelt is an error and not
   silently nothing. */
#ifndef MEMBERS_H
#define MEMBERS_H
#include <stddef.h>

#include "json.h"

/* A member under any of its names, "vector=values=embedding"; the first is its own. */
#define MEMBER_VECTOR "vector=values=embedding"
#define MEMBER_DATA "data=text=document"

typedef struct members {
    const char *const *known; /* known[n], each with its names */
    size_t n;
    const char *const *ignored; /* ignored[ignored_n]: whoever gives the records says so */
    size_t ignored_n;
} members;

/* 0 if every member of an object is known or ignored, and none is there under two names;
   else -1 and why: the member, what is near to it, and the list. */
int members_check(const json_value *v, const members *names, char *why, size_t size);
/* The member of any of the names that is there and not null, or NULL. */
const json_value *members_any(const json_value *v, const char *names);

/* The first that is ignored and yet known, which would not be dropped; or NULL. */
const char *members_clash(const members *names);

#endif /* MEMBERS_H */
