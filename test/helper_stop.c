/* What test_hooks.sh, test_control.sh and test_shown.sh are made of:
     full COMMAND...    runs it with a standard error that is full, and that nobody reads
     plain COMMAND...   becomes it, with the signals as they are by default and a watchdog
     tty COLUMNS COMMAND...  runs it with a terminal as standard error, and prints what that gets
     hold FILE          takes the writer's lock, says so, and holds it until FILE.go is there */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

static int tty(const char *columns, char **command)
{
    struct winsize size;
    char buf[4096];
    ssize_t n;
    int status = 0, master = posix_openpt(O_RDWR | O_NOCTTY), slave;
    pid_t pid;
    if (master < 0 || grantpt(master) || unlockpt(master)) return 1;
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    memset(&size, 0, sizeof size);
    size.ws_col = (unsigned short)atoi(columns);
    size.ws_row = 24;
    if (slave < 0 || ioctl(slave, TIOCSWINSZ, &size)) return 1;
    pid = fork();
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), 1);
        dup2(slave, 2);
        execvp(command[0], command);
        _exit(127);
    }
    close(slave);
    while ((n = read(master, buf, sizeof buf)) > 0) fwrite(buf, 1, (size_t)n, stdout);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
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
    if (argc > 3 && !strcmp(argv[1], "tty")) return tty(argv[2], argv + 3);
    if (argc > 2 && !strcmp(argv[1], "hold")) return hold(argv[2]);
    if (argc < 3 || strcmp(argv[1], "plain")) return 2;
    signal(SIGHUP, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    alarm(60);
    execvp(argv[2], argv + 2);
    return 127;
}
