/* cmd_alias.c - alias: the true name of a tag, beside the one that it was declared under. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

static int alias_set(cli_store *st, const vtag_info *tag, const char *name, const char *reason)
{
    vtag_err err;
    int rc = cli_begin(st, 0);
    if (rc) return rc;
    err = vtag_alias(st->batch, tag->tag, name, reason);
    if (err == VTAG_ARG && !reason) {
        return cli_fail("%s: no audit says that %s is %s; run vtag audit with that model, or give a "
                        "--reason", st->path, tag->spec.name, name);
    }
    return err ? cli_error(err, "%s: alias '%s'", st->path, name) : cli_commit(st);
}

int cmd_alias(int argc, char **argv)
{
    const char *file, *tag, *name, *reason = NULL;
    int dry = 0, rc;
    cli_store st = {0};
    vtag_info info;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"NAME", NULL, CLI_ARG, &name, "that the tag answers to as well", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "whose vectors these are", NULL},
        {"--reason", "TEXT", CLI_STR, &reason, "what it rests on, unless an audit of the tag passed",
         NULL},
        {"--dry-run", NULL, CLI_FLAG, &dry, "check the names, and change nothing", NULL},
        CLI_END};
    rc = cli_parse(argc, argv,
        "Gives a tag its true name: legacy vectors whose model was found out. Searches and all\n"
        "commands find it by both from then on. One for each tag, for good.", opts);
    if (rc >= 0) return rc;
    rc = cmd_text("--reason", reason, 1024);
    if (rc) return rc;
    rc = dry ? cli_look(&st, file) : cli_change(&st, file);
    if (!rc) rc = cli_tag(&st, tag, &info);
    if (!rc) rc = cli_check_name(name);
    if (!rc && info.alias && strcmp(info.alias, name)) {
        rc = cli_fail("%s: %s answers to %s already; a tag has one alias", file, info.spec.name,
                      info.alias);
    }
    if (!rc && !dry) rc = alias_set(&st, &info, name, reason);
    if (!rc) printf("%s %s to %s too\n", info.spec.name, dry ? "would answer" : "answers", name);
    cli_close(&st);
    return rc;
}
