# cli.sh - what tests of the command line share. One begins with
#     . "$(dirname "$0")/cli.sh"
# which takes the path of vtag from $1 and goes to a folder of its own, gone at the end.
# What a check runs says what it says in the files out and err.
vtag=$1
case $vtag in /*) ;; *) vtag=$PWD/$vtag ;; esac
here=$(cd "$(dirname "$0")" && pwd) || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { # fail SENTENCE...
    failed=$((failed + 1))
    echo "FAIL  $*"
    [ ! -s err ] || sed 's/^/      /' err
}
works() { # works NAME COMMAND...: it ends with 0 and says nothing on standard error
    what=$1
    shift
    if "$@" >out 2>err </dev/null && [ ! -s err ]; then pass; else fail "$what: $*"; fi
}
ends() { # ends CODE PATTERN COMMAND...: with this code, and one such line of error
    code=$1 pattern=$2
    shift 2
    "$@" >out 2>err
    got=$?
    if [ $got -eq "$code" ] && [ "$(wc -l <err)" -eq 1 ] && grep -Eq -- "$pattern" err; then
        pass
    else
        fail "code $got, not $code with one line of '$pattern': $*"
    fi
}
says() { # says PATTERN: in the output of what ran last
    if grep -Eq -- "$1" out; then pass; else fail "output has no '$1'"; head -n 20 out; fi
}
equal() { # equal NAME A B
    if [ "$2" = "$3" ]; then pass; else fail "$1: '$2', not '$3'"; fi
}
same() { # same NAME FILE FILE
    if cmp -s "$2" "$3"; then pass; else fail "$1: $2 and $3 differ"; fi
}
