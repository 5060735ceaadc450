/* vtag.c - the command line's front: which command, and its help. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "control.h"
#include "help.h"
#include "hook.h"

typedef struct topic { const char *name, *text; int (*help)(void); } topic;

typedef struct command {
    const char *name, *text;
    int (*run)(int argc, char **argv);
} command;

#define CLI_X(name, text) {#name, text, cmd_##name},
static const command commands[] = {CLI_COMMANDS(CLI_X)};
#undef CLI_X
enum { COMMANDS = sizeof commands / sizeof *commands };

static const topic topics[] = {
    {"worker", "how your embedding command is asked and answers, with examples", help_worker},
    {"hooks", "programs that are asked before, and told after, a step", hook_help},
    {"control", "changing a backfill while it runs", control_help},
};
enum { TOPICS = sizeof topics / sizeof *topics };

static const command *find_command(const char *name)
{
    size_t i;
    for (i = 0; i < COMMANDS; i++) {
        if (!strcmp(commands[i].name, name)) return &commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS], *near;
    size_t i;
    for (i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    near = cli_nearest(name, names, COMMANDS);
    if (near) cli_warn("no command '%s'; did you mean %s?", name, near);
    else cli_warn("no command '%s'; vtag help lists them", name);
    return CLI_USAGE;
}

static int help_all(void)
{
    size_t i;
    puts("usage: vtag COMMAND FILE [options]\n\n"
         "An embedded vector store whose vectors carry the version of their model.\n");
    for (i = 0; i < COMMANDS; i++) {
        printf("  %-10s %s\n", commands[i].name, commands[i].text);
    }
    putchar('\n');
    for (i = 0; i < TOPICS; i++) printf("vtag help %-8s %s\n", topics[i].name, topics[i].text);
    puts("\nvtag help COMMAND tells its options. A tag is given as --tag NAME, where a unique\n"
         "beginning, :active and :standby will do; not those two for vectors that do not say\n"
         "which tag made them. Exit codes: 0 done, 1 failed, 2 usage,\n"
         "3 a gate, a retention or a verify says no.");
    return CLI_DONE;
}

static int help_command(const char *name)
{
    char self[32], option[] = "--help", *argv[3];
    const command *c = find_command(name);
    size_t i;
    for (i = 0; i < TOPICS; i++) if (!strcmp(topics[i].name, name)) return topics[i].help();
    if (!strcmp(name, "help")) return help_all();
    if (!c) return unknown_command(name);
    argv[0] = strcpy(self, c->name);
    argv[1] = option;
    argv[2] = NULL;
    return c->run(2, argv);
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    const command *c;
    if (!name) {
        cli_warn("which command? vtag help lists them");
        return CLI_USAGE;
    }
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
        return argc > 2 ? help_command(argv[2]) : help_all();
    }
    if (!strcmp(name, "--version")) {
        printf("vtag %d.%d.%d\n", VTAG_VERSION / 10000, VTAG_VERSION / 100 % 100,
               VTAG_VERSION % 100);
        return CLI_DONE;
    }
    c = find_command(name);
    return c ? c->run(argc - 1, argv + 1) : unknown_command(name);
}

/* Closed standard files would be the next files that are opened; reading the one and writing
   the others fails as before. That a child ends must not pass unseen. */
static void take_standard_files(void)
{
    int fd;
    for (fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd ? O_RDONLY : O_WRONLY);
    }
    signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv)
{
    int rc;
    take_standard_files();
    rc = run(argc, argv);
    errno = 0;
    if (fflush(stdout) || ferror(stdout)) {
        cli_fail("standard output: %s", errno ? strerror(errno) : "cannot be written");
        if (!rc) rc = CLI_FAILED;
    }
    return rc;
}
