#!/bin/bash
# Everything that stands in a folder of results, in one run of under twelve minutes on two cores, unattended.
#   bench/results/measure.sh two-cores          from the checkout; the machine should have nothing else to do
#   bench/results/measure.sh /tmp/try quick     the same with tiny sizes: whether it runs, its figures mean nothing
#   MINUTES=60 bench/results/measure.sh ...     for a slower machine: what does not end in time is left out
# What cannot run here leaves a log that says why, and the others run all the same. What is late is left out, by name.
set -u -o pipefail
folder=${1:?which folder, as in: $0 two-cores}
cd "$(dirname "$0")/../.."
case $folder in /*) into=$folder ;; *) into=bench/results/$folder ;; esac
mkdir -p "$into" || exit 1
bench=(.venv/bin/tiercast bench)
[ -x "${bench[0]}" ] || { echo "no ${bench[0]}: \`make test\` or \`make demo\` makes it" >&2; exit 1; }
last=$((${MINUTES:-12} * 60 - 10)) longest=240  # seconds: by the first all has ended, nothing lasts longer than the second
failed=0

run() {  # NAME COMMAND...: the data of a bench into a file of its own; one that did not end well leaves the older file
  local name=$1 began=$SECONDS; shift
  rm -f "$into/$name.log" "$into/$name.partial"
  local room=$((last - SECONDS))
  if [ $room -lt 45 ]; then
    echo "== $name: left out after $SECONDS s"; failed=$((failed + 1)); return
  fi
  echo "== $name: bench $*"
  if timeout $((room < longest ? room : longest)) "${bench[@]}" "$@" -o json > "$into/$name.partial" 2> "$into/$name.log" < /dev/null; then
    mv "$into/$name.partial" "$into/$name.jsonl"; rm -f "$into/$name.log"
    echo "   $((SECONDS - began)) s"
  else
    echo "   failed with $? after $((SECONDS - began)) s: see $into/$name.log"; failed=$((failed + 1))
  fi
}

if [ "${2:-}" = quick ]; then
  tree="--servers 40 --sites 4" small=4KiB middle=8KiB large=16KiB revisions="2 2 2 2" many=80
  growth="--servers 10,20,40 --sites 1,2,4 --document-sizes 1KiB,4KiB,16KiB --at-servers 20 --at-sites 2 --revisions 1"
  herd="--servers 40 --rounds 1" idle="--servers 40 --sites 4 --seconds 2" documents="--servers 20,40 --rounds 1"
  convergence="--revisions 1" kv="--seconds 0.2 --events 50 --watchers 50 --changes 2" store="--rounds 1 --seconds 0.1"
else
  tree="--servers 1000 --sites 10" small=1KiB middle=64KiB large=1MiB revisions="10 6 3 8" many=10000
  growth="--revisions 4"
  herd="--servers 1000 --rounds 2" idle="--servers 1000 --sites 10 --seconds 15" documents="--rounds 2"
  convergence="--revisions 10" kv="--seconds 2" store="--rounds 1 --seconds 1"
fi
read -r of_small of_middle of_large of_ours <<< "$revisions"

run propagation-1KiB      propagation $tree --document-size $small  --change full --revisions $of_small  --peers all
run propagation-64KiB     propagation $tree --document-size $middle --change both --revisions $of_middle --peers all
run propagation-1KiB-tls  propagation $tree --document-size $small  --change full --revisions $of_ours --tls
run propagation-64KiB-tls propagation $tree --document-size $middle --change both --revisions $of_ours --tls --rounds 1
run propagation-1MiB      propagation $tree --document-size $large  --change both --revisions $of_large \
  --peers tree-c,redis,etcd,zookeeper --rounds 1
run growth      growth $growth
run herd        herd $herd --loop both
run full-1KiB   propagation $tree --document-size $small  --change full --revisions 4 --mode full --rounds 1
run full-64KiB  propagation $tree --document-size $middle --change both --revisions 4 --mode full --rounds 1 --tls
run idle        idle $idle
run documents   documents $documents
run convergence convergence $convergence
run kv          kv $kv
run store       store $store
run propagation-10000 propagation --servers $many --sites 10 --document-size $small --change full --revisions 2 \
  --peers tree-c,etcd --rounds 1

saved=()
for name in propagation-1KiB propagation-1KiB-tls propagation-64KiB propagation-64KiB-tls propagation-1MiB full-1KiB full-64KiB \
  propagation-10000 growth herd idle documents convergence kv store; do
  if [ -e "$into/$name.jsonl" ]; then
    saved+=("$into/$name.jsonl")
  elif grep -qsE '"(convergence_ms|figure)"' "$into/$name.partial"; then
    saved+=("$into/$name.partial")  # marked as such wherever it is shown
  fi
done
picture=()
.venv/bin/python -c 'import matplotlib' 2> /dev/null && picture=(--png "$into/page.png")
"${bench[@]}" report "${saved[@]}" --html "$into/page.html" --markdown "$into/README.md" "${picture[@]}" > "$into/tables.txt" \
  || failed=$((failed + 1))
echo "all of it: $SECONDS s; $failed left out or failed; read $into/README.md"
exit $((failed > 0))
