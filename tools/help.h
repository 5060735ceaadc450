/* help.h - what vtag help tells beside the options of commands. */
#ifndef HELP_H
#define HELP_H

int help_worker(void);       /* the protocol of workers; returns CLI_DONE */

#endif /* HELP_H */
