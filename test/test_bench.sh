#!/bin/sh
# test_bench.sh - the bench looks for its peers by linking with them, and says last what it
# could not have; in CI that fails it.
set -u
. "$(dirname "$0")/cli.sh"
mkdir bin
compiler() { # compiler NAME BODY: a compiler of that name
    printf '#!/bin/sh\n%s\n' "$2" >"bin/$1"
    chmod +x "bin/$1"
}
look() { CC="$dir/bin/cc" CXX="$dir/bin/c++" sh "$here/../bench/install.sh" --check "$dir/place" >out.all 2>err; }
for tool in cc c++; do compiler $tool 'cat >/dev/null; exit 1'; done
CI=
export CI
look
equal 'without CI it goes on' $? 0
grep -n '^NOT TO BE HAD' out.all >out && pass || fail 'it says what is not here'
sed '1,/^NOT TO BE HAD/d' out.all >out
for package in libhnswlib-dev libfaiss-dev libopenblas-dev libsqlite3-dev; do says "^  - $package "; done
CI=true
look
equal 'CI fails' $? 1
# The header is there, the library is not: that is not the peer.
compiler cc 'cat >/dev/null; case "$*" in *-lopenblas*) exit 1 ;; esac'
compiler c++ 'cat >/dev/null'
look
equal 'a header alone is not enough' $? 1
cp out.all out
says '^  - libopenblas-dev '
if grep -q libsqlite3-dev out.all; then fail 'what links is here'; else pass; fi
compiler cc 'cat >/dev/null'
look
cp out.all out
if grep -q 'lib.*-dev' out.all; then fail 'what links is here'; else pass; fi
grep -q 'VTAG_2.*-1, 0,' "$here/../bench/bench.c" && pass || fail 'two threads over one is no target'
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
