// build: plain
/* test_fuzz.c - replays the committed corpora of all fuzzers, and mutates their seeds

   RUNS scales the mutations (default 1), SEED replays them. */
#define FUZZ_ALL
#include "fuzz_ops.c" /* first: its dice replace test.h's in util.h */
#include "fuzz_salvage.c" /* and fuzz_image.c */
#include "fuzz_recovery.c"
#include "fuzz_import.c"
#include "fuzz_restore.c"

static uint64_t replays;

static void replay(const fuzz_target *t, uint64_t runs)
{
    const char *scale = getenv("RUNS");
    uint64_t kept;
    if (scale && *scale) runs *= strtoull(scale, NULL, 0);
    kept = fuzz_corpus(t, fuzz_each_run, NULL);
    CHECK(kept > 0);
    fuzz_mutations(t, runs, t_seed());
    replays += fuzz_seeds(t) + kept + runs;
}

static void no_image_does_harm(void) { replay(&fuzz_image_target, 3000); }
static void no_power_cut_loses_or_invents(void) { replay(&fuzz_recovery_target, 400); }
static void operations_agree_with_the_model(void) { replay(&fuzz_ops_target, 1000); }
static void no_input_misleads_an_importer(void) { replay(&fuzz_import_target, 40000); }
static void a_dump_is_restored_or_refused(void) { replay(&fuzz_restore_target, 1000); }
static void salvage_reads_what_is_whole(void) { replay(&fuzz_salvage_target, 400); }

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(no_image_does_harm);
    RUN(no_power_cut_loses_or_invents);
    RUN(operations_agree_with_the_model);
    RUN(no_input_misleads_an_importer);
    RUN(a_dump_is_restored_or_refused);
    RUN(salvage_reads_what_is_whole);
    printf("count fuzz-replays %llu\n", (unsigned long long)replays);
    return t_end();
}
