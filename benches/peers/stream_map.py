"""Word count as a mapper of Hadoop Streaming."""

import sys

for line in sys.stdin:
    for word in line.rstrip("\n").split(" "):
        print(word + "\t1")
