#!/bin/sh
# test_browser.sh VTAG - the page of report in a real browser; see browser.js. It wants
# chromium and node: without them it is skipped, and with CI=true it fails.
# OUT=folder keeps the screenshots and the printed page there.
set -u
vtag=$1
case $vtag in /*) ;; *) vtag=$PWD/$vtag ;; esac
here=$(cd "$(dirname "$0")" && pwd)
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
node=$(command -v node)
if [ -z "$chromium" ] || [ -z "$node" ]; then
    echo "skipped: the page in a browser, which wants chromium and node (make test-browser)"
    if [ "${CI:-}" = true ]; then echo '0 passed, 1 failed'; exit 1; fi
    echo '0 passed, 0 failed'
    exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
out=${OUT:-$dir}
mkdir -p "$out"
total_passed=0 total_failed=0

page() { # page NAME: the store of that name, as a page in the browser
    mkdir -p "$out/$1"
    "$vtag" report "$dir/$1.vtag" -o "$out/$1/page.html" || return 1
    "$node" "$here/browser.js" "$chromium" "$out/$1/page.html" "$out/$1" >"$dir/log" 2>&1
    sed "/ passed, /d; s/^/$1: /" "$dir/log"
    counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$dir/log" | tail -n 1)
    [ -n "$counts" ] || counts='0 1'
    total_passed=$((total_passed + ${counts% *}))
    total_failed=$((total_failed + ${counts#* }))
}

sh "$here/demo_store.sh" "$vtag" "$dir/demo.vtag"
HOSTILE='</script><script>alert(1)</script><img src=x onerror=alert(2)>"&amp;'\'' and_a_word_that_has_no_place_to_break_and_is_longer_than_any_phone_is_wide' \
    sh "$here/demo_store.sh" "$vtag" "$dir/hostile.vtag"
"$vtag" declare "$dir/empty.vtag" --tag first@1 --dim 4 >/dev/null
STOP=forced sh "$here/demo_store.sh" "$vtag" "$dir/forced.vtag"
page demo
page hostile
page empty
page forced
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ]
