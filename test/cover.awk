# What of vtag.h is not covered, from what `llvm-cov show -show-branches=count` prints,
# against a list of reasons.
#   awk -f test/cover.awk test/uncovered.txt SHOW      compares; status 1 if they differ
#   awk -v make=1 -f test/cover.awk test/uncovered.txt SHOW      prints the list anew
# An entry is `function | what | the source line`, so that line numbers may move. What:
# `never` (the line; with n of them: from it on), `never true: X`, `never false: X`.
function trim(s) { gsub(/[ \t]+/, " ", s); sub(/^ /, "", s); sub(/ $/, "", s); return s }

function condition(s, col,    i, c, two, depth) { # up to its end or the next operator
    for (i = col; i <= length(s); i++) {
        c = substr(s, i, 1)
        two = substr(s, i, 2)
        depth += (c == "(") - (c == ")")
        if (depth < 0 || c == ";" || (!depth && (two == "&&" || two == "||" || two == "? "))) break
    }
    return trim(substr(s, col, i - col))
}

function entry(what, n,    key) {
    if (lacks != "" && name[n] ~ lacks) return # kernels that this processor cannot run
    if (source[n] ~ /^#define/) return # counted where it is used
    if (what ~ /VTAG_ASSERT\(/) return # what fails there ends the process, and counts nothing
    key = name[n] " | " what " | " trim(source[n])
    if (made[key]++) return
    order[++entries] = key
}

# The list.
FNR == NR {
    if ($0 ~ /^#/) next
    if ($0 ~ /^== /) reason = substr($0, 4)
    else if ($0 ~ / \| /) { why[$0] = reason }
    next
}
# A line of source: number, count, text.
match($0, /^ *[0-9]+\| *[0-9.kMGE]*\|/) {
    split($0, part, "|")
    n = part[1] + 0
    source[n] = substr($0, RLENGTH + 1)
    count[n] = trim(part[2])
    if (source[n] ~ /^[a-zA-Z].*\(/ && source[n] !~ /;$/) {
        in_ = source[n]
        sub(/\(.*/, "", in_)
        sub(/.*[ *]/, "", in_)
    }
    name[n] = in_
    last = n
    if (count[n] != "0") start = 0
    else if (!start || in_ != name[start]) size[start = n] = 1
    else size[start]++
    next
}
# A function that a macro stamped and nothing ran, behind the lines of all of that macro's.
/Unexecuted instantiation: / {
    sub(/.*: (t\.c:)?/, "")
    if (last != group_end) { group = group_end; group_end = last }
    if (lacks == "" || $0 !~ lacks) next
    for (key in unrun)
        if (key + 0 > group && unrun[key] > 0) unrun[key]--
    next
}
# Two branches of a condition.
/Branch \([0-9]+:[0-9]+\): \[/ {
    split($0, part, /[(:)\[\],]+ */)
    n = part[2] + 0
    if ($0 ~ /Folded/) next
    yes = $0; sub(/.*True: /, "", yes); sub(/,.*/, "", yes)
    no = $0; sub(/.*False: /, "", no); sub(/\].*/, "", no)
    if (count[n] == "0") next
    if (yes == "0" && no == "0" && source[n] ~ /\\$/) {
        if ($0 !~ /^  \|  \|/) { unrun[n " " part[3]]++; next } # of which of the macro's, see above
    }
    if (yes == "0") entry("never true: " condition(source[n], part[3]), n)
    if (no == "0") entry("never false: " condition(source[n], part[3]), n)
}
END {
    for (key in unrun)
        if (unrun[key] > 0) {
            split(key, at, " ")
            entry("never true: " condition(source[at[1]], at[2]), at[1] + 0)
            entry("never false: " condition(source[at[1]], at[2]), at[1] + 0)
        }
    for (n = 1; n in source; n++)
        if (n in size) entry("never" (size[n] > 1 ? ", " size[n] " lines" : ""), n)
    if (make) {
        for (key in why) # stays, whether it was covered this time or not
            if (why[key] ~ /by chance/ && !made[key]++) order[++entries] = key
        for (i = 1; i <= entries; i++) {
            r = order[i] in why ? why[order[i]] : "new"
            if (!(r in text)) reasons[++rs] = r
            text[r] = text[r] order[i] "\n"
        }
        for (i = 1; i <= rs; i++) printf "== %s\n%s\n", reasons[i], text[reasons[i]]
        exit 0
    }
    for (i = 1; i <= entries; i++)
        if (!(order[i] in why)) { print "not covered, not listed: " order[i]; bad++ }
        else of[why[order[i]]]++
    for (key in why)
        if (!(key in made) && why[key] !~ /by chance/) { print "listed, but covered: " key; bad++ }
    for (r in of) printf "  %4d entries: %s\n", of[r], r
    exit bad > 0
}
