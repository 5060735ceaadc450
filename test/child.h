/* child.h - parts of a test in processes of their own, and as a user who may little

   Include after vtag.h and test.h. */
#ifndef VTAG_TEST_CHILD_H
#define VTAG_TEST_CHILD_H
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* What counts coverage, if anything does, would forget a process that ends so. */
extern int __llvm_profile_write_file(void) __attribute__((weak));

/* Ends a child: what it did is counted, its parent's atexit is not run. */
static inline void leave(int code)
{
    fflush(stderr);
    if (__llvm_profile_write_file) __llvm_profile_write_file();
    _exit(code);
}

/* Runs a part of a test in a process of its own; its status is 0 if nothing failed. */
static inline pid_t spawn(void (*part)(const char *arg), const char *arg)
{
    pid_t child = fork();
    if (child != 0) return child;
    t_.failed = 0;
    if (setjmp(t_.out) == 0) part(arg);
    leave(t_.failed != 0);
    return child;
}

static inline void joined(pid_t child)
{
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Waits for a child that a signal is to end. */
static inline void killed(pid_t child, int signal)
{
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signal);
}

/* Makes the process a user without rights, until be_root; 0, and a line that says so,
   where it has no rights to give up. */
static inline int be_nobody(void)
{
    if (geteuid() == 0 && setgroups(0, NULL) == 0 && setegid(NOBODY) == 0 && seteuid(NOBODY) == 0) return 1;
    printf("skipped: %s, which root alone can try\n", t_.name);
    return 0;
}

static inline void be_root(void)
{
    REQUIRE(seteuid(0) == 0 && setegid(0) == 0);
}

#endif
