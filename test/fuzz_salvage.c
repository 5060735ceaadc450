/* fuzz_salvage.c - salvage of the hostile files of fuzz_image.c

   Whatever it is given, salvage reads nothing outside the file, and what it makes is a
   store that verify calls good. The superblocks are lost unless flag 16 is set. */
#ifndef VTAG_IMPLEMENTATION
#define VTAG_IMPLEMENTATION
#endif
#ifndef FUZZ_ALL
#  define FUZZ_ALL
#  define FUZZ_ALONE
#endif
#include "fuzz_image.c"
#include "fuzz_tools.h"
#define vtag_open ft_vtag_open
#define unlink(path) ((void)(path))
#undef stderr
#define stderr ft_nowhere()
#include "../tools/cmd_salvage.c"
#undef stderr
#define stderr stderr
#undef unlink
#undef vtag_open

static void fuzz_salvage(fuzz_in *in)
{
    uint32_t flags;
    fi_image *m = fi_spoilt(in, &flags);
    salvage v;
    vtag_db *db;
    int rc;
    if (!(flags & 16) && m->file->size >= VTF_FRONT)
        memset(disk_poke(m->file, VTF_SLOT_AT(0), 32768), 0, 32768);
    memset(&v, 0, sizeof v);
    v.path = "t.vtag";
    v.p = m->file->p;
    v.n = v.room = m->file->size;
    rc = salvage_open(&v);
    if (!rc) rc = salvage_into(&v, "new.vtag");
    salvage_end(&v);
    if (!rc) {
        db = disk_db(disk_get(), "new.vtag", VTAG_EXISTING, 0);
        FUZZ_MUST(db != NULL);
        verify(db);
        vtag_close(db);
    }
    FUZZ_MUST(disk_get()->live == 0);
    FUZZ_MUST(!t_.failed);
}

static const char *const fuzz_salvage_seeds[] = {
    "\\00\\00", "\\01\\00", "\\02\\00", "\\03\\10", "\\04\\00", "\\05\\10", "\\06\\00", "\\07\\00", "\\01\\04\\40\\00\\00",
    "\\06\\08\\11\\27", "\\01\\04\\00\\00\\00\\00", "\\06\\04\\40\\03\\04\\00", "\\00\\04\\08\\01\\00\\09", NULL};

#ifdef FUZZ_ALONE
#  undef FUZZ_ALL
#endif
FUZZ_MAIN(salvage)
#ifdef FUZZ_ALONE
FUZZ_START(salvage)
#endif
