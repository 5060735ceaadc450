/* embedder.h - which command embeds for a tag, when no --exec says so.

   A file of lines  PATTERN = COMMAND : --embedders FILE, or vtag/embedders in the user's
   configuration folder ($XDG_CONFIG_HOME, or ~/.config). A pattern is a tag's name, in
   which * stands for any characters; the first that fits is taken. Lines that are empty or
   begin with # say nothing. The file runs commands, so nobody but its owner may be able to
   write it, and that is the user or root. No command is ever taken from a store. */
#ifndef EMBEDDER_H
#define EMBEDDER_H
#include "cli.h"

/* Rows of an option table: command, file and timeout. */
#define EMBEDDER_OPT(file) \
    {"--embedders", "FILE", CLI_STR, &(file),                               \
     "lines TAG-PATTERN = COMMAND, where --exec is not given", NULL}
#define EMBEDDER_TIMEOUT_OPT(ms) \
    {"--timeout", "DURATION", CLI_SPAN, &(ms), "of a worker that gives no answer; 2m", NULL}

/* Sets *command, unless it is given already, to the one for a tag by its full name; NULL:
   there is none. file NULL: the user's own, if there is one. It lives as long as the program. */
int embedder_for(const char *file, const char *tag, const char **command);
/* The same, where one is needed: without one usage is wrong, and `option` would give it. */
int embedder_must(const char *file, const char *tag, const char *option, const char **command);

#endif /* EMBEDDER_H */
