#!/bin/bash
# Everything that stands in a folder of results, in one run of about ten minutes on two cores.
#   bench/results/measure.sh two-cores        from the checkout; the machine should have nothing else to do
set -eu -o pipefail
cd "$(dirname "$0")/../.."
into=bench/results/$1
mkdir -p "$into"

run() {  # NAME COMMAND...: the data of a bench into a file of its own; a bench that fails leaves none
  local name=$1 began=$SECONDS; shift
  echo "== $name: bench $*"
  if .venv/bin/tiercast bench "$@" -o json > "$into/$name.tmp" 2> "$into/$name.log"; then
    mv "$into/$name.tmp" "$into/$name.jsonl"; rm -f "$into/$name.log"
  else
    echo "   failed: see $into/$name.log"; rm -f "$into/$name.tmp"
  fi
  echo "   $((SECONDS - began)) s"
}

tree="--servers 1000 --sites 10"
run propagation-1KiB      propagation $tree --document-size 1KiB  --change full --revisions 12 --peers all
run propagation-64KiB     propagation $tree --document-size 64KiB --change both --revisions 8  --peers all
run propagation-1MiB      propagation $tree --document-size 1MiB  --change both --revisions 4  --peers tree-c,etcd
run propagation-1KiB-tls  propagation $tree --document-size 1KiB  --change full --revisions 8  --tls
run propagation-64KiB-tls propagation $tree --document-size 64KiB --change both --revisions 6  --tls
run full-1KiB             propagation $tree --document-size 1KiB  --change full --revisions 4  --mode full
run propagation-10000     propagation --servers 10000 --sites 10 --document-size 1KiB --change full --revisions 4 --peers tree-c
for servers in 250 500 2000; do
  run "growth-$servers-10" propagation --servers $servers --sites 10 --document-size 1KiB --change full --revisions 6
done
for sites in 2 20; do
  run "growth-1000-$sites" propagation --servers 1000 --sites $sites --document-size 1KiB --change full --revisions 6
done
run documents   documents --rounds 3
run idle        idle --seconds 20
run herd        herd --rounds 3
run convergence convergence --revisions 15
run kv          kv
.venv/bin/tiercast bench report "$into"/propagation-*.jsonl "$into"/full-*.jsonl --html "$into/page.html" > "$into/tables.txt"
.venv/bin/tiercast bench report "$into"/growth-*.jsonl "$into"/propagation-1KiB.jsonl > "$into/growth.txt"
echo "all of it: $SECONDS s"
