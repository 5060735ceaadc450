/* outfile.h - the one writer of a file that a user named.

       outfile o;
       const outfile_name out = {"-o", to}, in = {"the store itself", file};
       int rc = outfile_apart(&out, 1, &in, 1);
       if (!rc) rc = outfile_open(&o, to);
       if (!rc) rc = outfile_close(&o, write_it(o.f));

   A plain file appears whole or not at all: what is written goes to a file of our own beside
   it, which takes its place, with its mode and owner, once it is on the disk; a failure, a
   signal and too little memory leave the old one and nothing else. Links are followed, and a
   link that leads nowhere gets what it names. What is no plain file (/dev/null, a FIFO), or is
   the standard output, is written into. A file with more names than one (hard links) is
   refused: the others would go on with the old content. */
#ifndef OUTFILE_H
#define OUTFILE_H
#include <stdio.h>
#include <sys/types.h>

typedef struct outfile_name {
    const char *what;        /* "-o", "the store itself" */
    const char *path;        /* NULL: none; "-": standard output, or input */
} outfile_name;

/* 0 if no output, nor the standard output, is the same file as an input or another output;
   else usage: looked at by device and inode, and by name where there is no file yet. */
int outfile_apart(const outfile_name *out, size_t nout, const outfile_name *in, size_t nin);

typedef struct outfile {
    FILE       *f;
    const char *path;
    char       *target;      /* the plain file to be, without links; NULL: written into */
    char       *temporary;
    int         slot;        /* of those to be removed at a signal */
} outfile;

/* Opens a path, "-" for standard output; 0, or the exit code after the error is reported. */
int outfile_open(outfile *o, const char *path);
/* Writes out what is left, to the disk, and leaves it to outfile_close to put it in its place:
   for several files that belong together. rc, or the exit code of an error. */
int outfile_ready(outfile *o, int rc);
/* Puts it in its place if rc is 0, else drops it; rc, or the exit code of an error. */
int outfile_close(outfile *o, int rc);

#define OUTFILE_HELP "replaced whole if it is there, but not one of several hard links"

#endif /* OUTFILE_H */
