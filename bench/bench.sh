#!/bin/sh
# bench/bench.sh quick|full BUILD - the side-by-side with peers: gets them, makes the data,
# measures, writes the report: bench/RESULTS.md of a full run, BUILD/bench/RESULTS-quick.md else.
# The real data is read from DATA, by default ../shared/data.
set -u
cd "$(dirname "$0")/.." || exit 1
mode=$1 out=$2/bench
real=${DATA:-../shared/data}
start=$(date +%s)
mkdir -p "$out/data" "$out/stores" || exit 1
trap 'rm -rf "$out/stores"' EXIT
trap 'exit 1' INT TERM

awk '$1 > 0.7 { print "note: other work is running (load " $1 "): ratios suffer, most of two threads" }' \
    /proc/loadavg
sh bench/install.sh "$out" || exit 1
echo "peers are here after $(($(date +%s) - start)) s"

make() { # make NAME N DIM CENTRES unit|raw QUERIES
    to=$out/data/$1
    [ -e "$to.npy" ] || "$out/mkdata" make "$to.npy" "$2" "$3" "$4" 0 "$5" || exit 1
    [ -e "$to-q.npy" ] || "$out/mkdata" make "$to-q.npy" "$6" "$3" "$4" 1 "$5" || exit 1
}
take() { # take NAME DIM IN FROM N [IN FROM N]...
    name=$1 dim=$2
    shift 2
    [ ! -e "$out/data/$name.npy" ] || return 0
    if [ -e "$1" ]; then "$out/mkdata" take "$out/data/$name.npy" "$dim" "$@" || exit 1
    else echo "skipped: $name: $1 is not here" | tee -a "$out/skipped"; fi
}

need=3.5e9
if [ "$mode" = full ]; then
    [ -e "$out/data/u1m.npy" ] && need=8e9 || need=12e9
fi
"$out/mkdata" room "$out" $need || exit 1
make u100k 100000 768 1000 unit 1000
"$out/mkdata" take "$out/data/one-q.npy" 768 "$out/data/u100k-q.npy" 7 1 || exit 1
if [ "$mode" = full ]; then
    make w1m 1000000 128 5000 raw 1000
    make u1m 1000000 768 5000 unit 200
fi
s=$real/siftsmall
take siftsmall 128 "$s/siftsmall_base.fvecs" 0 10000
take siftsmall-q 128 "$s/siftsmall_query.fvecs" 0 100
take sift 128 "$s/siftsmall_base.fvecs" 0 10000
take sift-q 128 "$real/sift5k/sift-dataset-5k.tsv" 0 1000
take sift5k 128 "$real/sift5k/sift-dataset-5k.tsv" 0 5000
take sift5k-q 128 "$real/sift5k/sift-query-3.tsv" 0 3 "$s/siftsmall_base.fvecs" 0 1000
v1=$real/glove/glove6B300_vs_glove840B300.glove6B300.npy
v2=$real/glove/glove6B300_vs_glove840B300.glove840B300.npy
take glove6b 300 "$v1" 0 737
take glove6b-q 300 "$v1" 0 737
take glove840b 300 "$v2" 0 737
take glove840b-q 300 "$v1" 0 737
take final8 8 "$real/nmslib/final8_10K.txt" 0 10000
take final8-q 8 "$real/nmslib/final8_query1K.txt" 0 1000
echo "data is here after $(($(date +%s) - start)) s"

# The fastest sgemm that OpenBLAS can be told to use.
best=0 BENCH_BLAS=
if [ -e "$out/peer_sgemm" ]; then
    for core in '' Haswell SkylakeX Cooperlake SapphireRapids Zen; do
        blas=${core:+OPENBLAS_CORETYPE=$core}
        # shellcheck disable=SC2086
        speed=$(env $blas OPENBLAS_NUM_THREADS=1 "$out/peer_sgemm" probe 2>/dev/null) || continue
        echo "sgemm ${core:-as it comes}: ${speed% *} GFLOP/s with kernels of ${speed#* }"
        # its own choice stays unless another is a tenth faster
        if [ $((${speed% *} * 10)) -gt $((best * 11)) ]; then
            best=${speed% *} BENCH_BLAS=$blas
        fi
    done
fi
export BENCH_BLAS

"$out/bench" "$mode" "$out"
code=$?
[ $code = 0 ] || [ $code = 3 ] || exit 1
to=$out/RESULTS-quick.md
[ "$mode" != full ] || to=bench/RESULTS.md
cp "$out/report.md" "$to" || exit 1
echo "written: $to, after $(($(date +%s) - start)) s"
if [ -e "$out/skipped" ]; then
    echo
    echo "NOT MEASURED, as it was not here:"
    sort -u "$out/skipped" | sed 's/^skipped: /  - /'
    echo
    [ "${CI:-}" != true ] || code=3
fi
# for scripts: the lines that count stand last
grep '^ratio ' "$to"
exit $code
