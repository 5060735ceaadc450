# Seeds bugs into a copy of vtag.h.
#   awk -v list=FILE -f test/bugs.awk test/bugs.txt vtag.h >COPY
# Each hunk of the table must be found exactly once; BUG in it becomes the question
# whether its bug was chosen, at run time, by its number in BUG of the environment.
# FILE gets a line for each bug: number, name, test or =, and what the test is given.
function die(text) {
    print "test/bugs.txt:" text > "/dev/stderr"
    failed = 1
    exit 1
}

# Lays the hunk at hand, lines 1..n of sign and text, onto the header.
function lay(    at, found, i, k, line) {
    if (!n) return
    for (at = 1; at <= lines; at++) {
        k = at
        for (i = 1; i <= n; i++)
            if (sign[i] != "+" && text[i] != head[k++]) break
        if (i > n) { found++; where = at }
    }
    if (found != 1) die(first ": " name ": a hunk is found " (found + 0) " times")
    line = where
    for (i = 1; i <= n; i++) {
        if (sign[i] == "+" && text[i] ~ /else$/) skip[line] = skip[line] text[i] "\n"
        else if (sign[i] == "+") add[line] = add[line] text[i] "\n"
        else {
            if (sign[i] == "-" && gone[line]++) die(first ": " name ": another bug has this line")
            line++
        }
    }
    hunks++
    n = 0
}

function bug_ends() {
    lay()
    if (bugs && !hunks) die(FNR ": " name ": no hunk")
    if (bugs && by == "") die(FNR ": " name ": no test")
    if (bugs) print bugs, name, by > list
    hunks = 0
    by = ""
}

BEGIN {
    while ((getline line < ARGV[2]) > 0) head[++lines] = line
    ARGV[2] = ""
    printf "" > list
}
/^#/ || /^$/ { lay(); next }
/^bug / { bug_ends(); name = $2; bugs++; if (seen[name]++) die(FNR ": " name ": twice"); next }
/^by /    { by = substr($0, 4); next }
/^equal / { by = "="; next }
/^@@/     { lay(); next }
/^[-+ ]/ {
    if (!n++) first = FNR
    sign[n] = substr($0, 1, 1)
    text[n] = substr($0, 2)
    if (sign[n] == "+") gsub(/BUG/, "(vt_bug == " bugs ")", text[n])
    next
}
{ die(FNR ": not understood") }
END {
    if (failed) exit 1
    bug_ends()
    for (i = 1; i <= lines; i++) {
        if (head[i] ~ /^\/\* ==== 2  /) {
            print "#include <stdlib.h>\nstatic int vt_bug;"
            print "__attribute__((constructor)) static void vt_bug_choose(void) {"
            print "    const char *n = getenv(\"BUG\");"
            print "    vt_bug = n ? atoi(n) : 0;\n}"
            choice++
        }
        printf "%s%s", add[i], skip[i] # what ends in else needs the statement itself
        if (!gone[i]) print head[i]
    }
    if (choice != 1) die(0 ": no place for the choice of a bug")
}
