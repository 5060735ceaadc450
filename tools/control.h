/* control.h - what a running backfill may be told anew, by a file of lines "name = value". */
#ifndef CONTROL_H
#define CONTROL_H
#include <stdint.h>

typedef struct control {
    double   rate, max_load; /* 0: none */
    uint64_t batch, chunk_ms;
    int      pause;
} control;

typedef struct control_file {
    const char *path;        /* NULL: none */
    control     base, now;   /* without the file, and with it */
    char       *text;        /* as it was read last; NULL: it is not there */
    uint64_t    seen[5];     /* device, inode, size, and its time in seconds and nanoseconds */
} control_file;

/* Begins with the values of the options; 0, or usage if the file is there and is wrong. */
int control_start(control_file *f);
/* Looks whether the file is another. 1: f->now changed, which was said on one line. What is
   wrong in it is said with the number of its line, and then all values stay. */
int control_look(control_file *f, const char *store);
void control_free(control_file *f);
int control_help(void);

#endif /* CONTROL_H */
