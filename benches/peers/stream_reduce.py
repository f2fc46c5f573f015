"""Word count as a reducer, and as the combiner, of Hadoop Streaming."""

import sys

last, total = None, 0
for line in sys.stdin:
    word, count = line.rstrip("\n").split("\t")
    if word != last:
        if last is not None:
            print(f"{last}\t{total}")
        last, total = word, 0
    total += int(count)
if last is not None:
    print(f"{last}\t{total}")
