#!/bin/sh
# test_readme.sh VTAG - what README.md says holds: its first program compiles without warnings
# and prints what the block after it says, with the command that is said to; then all lines of
# its shell blocks, one after the other, on the store that the program left.
set -u
. "$(dirname "$0")/cli.sh"
readme=$here/../README.md
cc=${CC:-cc}

# The lines of the first ```c block, those of the next block without a language, and all of the
# ```sh blocks.
awk '/^```/ && inside { exit }
     inside { print }
     /^```c$/ { inside = 1 }' "$readme" >first.c
awk '/^```c$/ { seen = 1 }
     seen && /^```$/ { fences++; next }
     fences == 2 { print }
     fences == 3 { exit }' "$readme" >want
awk '/^```/ { inside = $0 == "```sh"; next }
     inside { print }' "$readme" >commands
for part in first.c want commands; do test -s $part || fail "README.md has no $part"; done

# ---- The first program ------------------------------------------------------------------

works 'it compiles without a warning' $cc -std=c99 -Wall -Wextra -Werror -I"$here/.." -o first first.c -lm
rm -f first
cp "$here/../vtag.h" .
line=$(sed -n 's/^`\(cc .*a\.out\)` prints$/\1/p' "$readme")
for run in 1 2; do # a store that is there already must do as well
    sh -c "$line" >got 2>err
    same "run $run prints what README.md says" want got
done

# ---- The commands -----------------------------------------------------------------------

mkdir build
ln -s "$vtag" build/vtag
cat >embed-v2 <<'END'
#!/bin/sh
while read -r line; do
    id=${line#*\"id\":} id=${id%%,*} rev=${line#*\"rev\":} rev=${rev%%,*}
    echo "{\"id\":$id,\"rev\":$rev,\"vector\":[$((id + 1)),1,2]}"
done
END
chmod +x embed-v2
echo '{"id":"q1","text":"bread"}' >q.jsonl
echo 'q1 0 1 1' >qrels.txt
vtag=unset db=unset
ran=0
while IFS= read -r line; do
    case $line in
    '' | '#'*) continue ;;
    vtag=*) eval "$line" ; continue ;;
    make\ *) # of the repository: it has such a target
        target=$(echo "$line" | awk '{ print $2 }')
        works "$line" make -C "$here/.." -n "$target"
        continue ;;
    esac
    ran=$((ran + 1))
    want=0
    case $line in *retire*) want=3 ;; esac # four weeks too early
    eval "$line" >out 2>err
    equal "$line" $? $want
    [ $want = 0 ] || cp err early
done <commands
equal 'as many commands as there should be' "$ran" 11
grep -q 'minilm@1. is kept: .* of its retention are left, until ' early && pass || fail 'and when'
works 'the end of it' "$vtag" status "$db"
says '^minilm@2 +active +3 +0 +0 +0 +0 +100.00 %'
says '^minilm@1 +standby'

# Every command that the text names is one.
"$vtag" help >help
for name in $(grep -o '`vtag [a-z]*' "$readme" | sed 's/.* //' | sort -u | grep -vx help); do
    if grep -q "^  $name " help; then pass; else fail "README.md: no command vtag $name"; fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
