#!/usr/bin/env bash
# shell.sh PROGRAM-WORK INPUT OUTPUT: a work with coreutils, mawk, grep or ripgrep.
#
# What has "mawk2" or "grep2" in its name runs two processes, each over half of the files.
set -euo pipefail
export LC_ALL=C
what=$1 input=$2 out=$3

count='{for (i = 1; i <= NF; i++) n[$i]++} END {for (word in n) printf "%s\t%d\n", word, n[word]}'
add='BEGIN {FS = "\t"} {n[$1] += $2} END {for (key in n) printf "%s\t%.0f\n", key, n[key]}'
# Of lines that are sorted.
add_sorted='BEGIN {FS = "\t"} $1 != key {if (NR > 1) printf "%s\t%.0f\n", key, n; key = $1; n = 0} {n += $2}
  END {printf "%s\t%.0f\n", key, n}'
path='{path = $7; if (q = index(path, "?")) path = substr(path, 1, q - 1); n[path] += $10}
  END {for (path in n) printf "%s\t%.0f\n", path, n[path]}'
rare='\?id=[0-9]+(%20|[+])UNION(%20|[+])SELECT'

sorted() { sort --parallel=2 -S 4G -T "$TMPDIR" "$@"; }
by_key() { sorted -t $'\t' -k1,1; }
turned() { sorted | uniq -c | mawk '{print $2 "\t" $1}'; }

# halves COMMAND…: the command with half of the files, twice at once.
halves() {
  local files
  files=$(find "$input" -type f | wc -l)
  find "$input" -type f -print0 | sort -z |
    xargs -0 -s 1000000 -P 2 -n $(((files + 1) / 2)) bash -c '"$@" >"$TMPDIR/half.$$"' half "$@"
  cat "$TMPDIR"/half.*
}

result() {
  case $what in
  sort-wordcount) cat "$input"/* | tr -s ' ' '\n' | turned ;;
  mawk-wordcount) find "$input" -type f -exec cat {} + | mawk "$count" | by_key ;;
  mawk2-wordcount) halves mawk "$count" | mawk "$add" | by_key ;;
  sort-sort) sorted "$input"/* ;;
  sort-sum) sorted -t $'\t' -k1,1 "$input"/* | mawk "$add_sorted" ;;
  mawk-sum) cat "$input"/* | mawk "$add" | by_key ;;
  mawk-log) cat "$input"/* | mawk "$path" | by_key ;;
  mawk2-log) halves mawk "$path" | mawk "$add" | by_key ;;
  catmawk2-log) halves sh -c 'path=$1; shift; cat "$@" | mawk "$path"' sh "$path" | mawk "$add" | by_key ;;
  # Nothing found is a result too.
  grep-grep) { cat "$input"/* | grep -oE "$rare" || true; } | turned ;;
  grep2-grep) halves sh -c 'grep -ohE "$@" || true' grep "$rare" | turned ;;
  ripgrep-grep) { rg -j 2 -oIN --no-messages "$rare" "$input" || true; } | turned ;;
  *) echo "there is no $what" >&2; exit 2 ;;
  esac
}

result >"$out/part-0"
