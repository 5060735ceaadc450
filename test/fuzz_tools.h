/* fuzz_tools.h - the tools' readers in one translation unit, fed from memory

   Files that they open and standard input are two streams here, what they say goes
   nowhere, stores lie on the disk of fuzz_disk.h, and the clock is that disk's. Include
   it after vtag.h (with VTAG_IMPLEMENTATION) and before anything of the tools. */
#ifndef VTAG_TEST_FUZZ_TOOLS_H
#define VTAG_TEST_FUZZ_TOOLS_H
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#include "fuzz_disk.h"
#include "../tools/cmd.h"
#include "../tools/input.h"
#include "../tools/json.h"
#include "../tools/lines.h"

typedef struct ft_stream { const uint8_t *p; size_t n, at; } ft_stream;

static ft_stream ft_streams[2];  /* standard input; the file of ids */
static size_t ft_chunk;          /* bytes that one read gives at most */
static int ft_pipe;              /* sizes are not known */
static int ft_opened;            /* files open */

static int ft_open(const char *path, int flags)
{
    (void)path, (void)flags;
    ft_opened++;
    return 1001;
}

static int ft_close(int fd) { return ft_opened -= fd == 1001, 0; }

static ssize_t ft_read(int fd, void *p, size_t n)
{
    ft_stream *s = &ft_streams[fd == 1001];
    if (n > ft_chunk) n = ft_chunk;
    if (n > s->n - s->at) n = s->n - s->at;
    if (n) memcpy(p, s->p + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static int ft_fstat(int fd, struct stat *sb)
{
    memset(sb, 0, sizeof *sb);
    sb->st_mode = ft_pipe ? S_IFIFO : S_IFREG;
    sb->st_size = (off_t)ft_streams[fd == 1001].n;
    return 0;
}

static int ft_poll(struct pollfd *p, nfds_t n, int ms)
{
    (void)p, (void)n, (void)ms;
    return 1;
}

static vtag_err ft_vtag_open(const char *path, const vtag_open_opts *o, vtag_db **db)
{
    vtag_open_opts mine = *o;
    mine.io = &disk_get()->io;
    return vtag_open(path, &mine, db);
}

static FILE *ft_nowhere(void)
{
    static FILE *f;
    if (!f && (f = fopen("/dev/null", "w")) == NULL) abort();
    return f;
}

uint64_t cli_clock(void) { return disk_get()->clock; }

#undef stderr
#define stderr ft_nowhere()
#define cli_clock ft_real_clock
#include "../tools/stop.c"
#include "../tools/text.c"
#undef cli_clock
#define vtag_open ft_vtag_open
#define fflush(f) ((void)(f))
#include "../tools/cli.c"
#undef vtag_open
#undef fflush
#include "../tools/json.c"
#include "../tools/cmd.c"
#define open ft_open
#define close ft_close
#define read ft_read
#define fstat ft_fstat
#define poll(p, n, ms) ft_poll(p, n, ms)
#define LINES_WINDOW 32
#include "../tools/lines.c"
#undef open
#undef close
#undef read
#undef fstat
#undef poll
#include "../tools/members.c"
#include "../tools/input.c"
#include "../tools/outfile.c"
#include "../tools/cmd_dump.c"
#define unlink(path) ((void)(path))
#define printf(...) ((void)0)
#include "../tools/cmd_restore.c"
#undef unlink
#undef printf
#undef stderr
#define stderr stderr

#endif
