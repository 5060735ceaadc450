/* What test_hooks.sh is made of:
     full COMMAND...    runs it with a standard error that is full, and that nobody reads
     plain COMMAND...   becomes it, with the signals as they are by default and a watchdog
     hold FILE          takes the writer's lock, says so, and holds it until FILE.go is there */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int run(char **command, int err)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        if (err >= 0) dup2(err, 2);
        execvp(command[0], command);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0) { }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int full(char **command)
{
    int fd[2], flags;
    if (pipe(fd)) return 1;
    flags = fcntl(fd[1], F_GETFL);
    fcntl(fd[1], F_SETFL, flags | O_NONBLOCK);
    while (write(fd[1], "x", 1) == 1) { }
    fcntl(fd[1], F_SETFL, flags);
    fcntl(fd[0], F_SETFD, FD_CLOEXEC);
    return run(command, fd[1]);
}

static int hold(const char *path)
{
    struct timespec nap = {0, 10000000};
    char go[4096];
    vtag_db *db;
    vtag_batch *b;
    if (vtag_open(path, NULL, &db) || vtag_begin(db, NULL, &b)) return 1;
    puts("held");
    fflush(stdout);
    snprintf(go, sizeof go, "%s.go", path);
    while (access(go, F_OK)) nanosleep(&nap, NULL);
    vtag_abort(b);
    vtag_close(db);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "full")) return full(argv + 2);
    if (argc > 2 && !strcmp(argv[1], "hold")) return hold(argv[2]);
    if (argc < 3 || strcmp(argv[1], "plain")) return 2;
    signal(SIGHUP, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    alarm(60);
    execvp(argv[2], argv + 2);
    return 127;
}
