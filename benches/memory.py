#!/usr/bin/env python3
"""Says what `mapreduce run --memory SIZE` takes at most, for works that have asked for more than that.

    benches/memory.py --data DIR [--work REGEX] [--budget 64Mi,256Mi,1Gi] [--records 1000] [--zipped 1000]
        [--json FILE]

A table goes to standard output: for each work and budget the peak resident set of the process, in MiB; bold where it
is more than the budget and 15 %. DIR is what `bench-data generate` wrote; what it lacks for these works is added to
it. All budgets have to give the same bytes: their digest is compared, and --json keeps it for another version of the
program.
"""

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target"))
BENCHES = ["wordcount", "sort", "sum", "log", "grep", "small"]
# What reduces a key of five million numbers: builtin, args, input.
HOT = [
    ("sum", {}, "numbers"),
    ("count", {}, "numbers"),
    ("mean", {}, "numbers"),
    ("first", {}, "numbers"),
    ("last", {}, "numbers"),
    ("distinct", {}, "numbers"),
    ("stats", {}, "numbers"),
    ("histogram", {}, "numbers"),
    ("collect", {}, "numbers"),
    ("collect", {"unique": True}, "numbers"),
    ("top", {"n": 1_000_000}, "numbers"),
    ("join", {}, "sides"),
    ("aggregate", {}, "histogram"),
]
VALUES = 5_000_000
# Intermediate data goes the way of pods.
IN_STORE = '  shuffle: {url: "file:shuffle/"}\n'
RECORD = 20_000_000
# Such records in other formats.
OTHERS = 20
# Large keys, and their bytes.
KEYS, KEY = 60, 8_000_000
# Lines of a job with a split for each.
LINES = 300_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder that `bench-data generate` wrote")
    parser.add_argument("--work", default="", help="only works whose names match this pattern")
    parser.add_argument("--budget", default="64Mi,256Mi,1Gi")
    parser.add_argument("--records", type=int, default=100, help="records of 20 MB")
    parser.add_argument("--zipped", type=int, default=1000, help="records of 20 MB of an input of gzip")
    parser.add_argument("--mapreduce", default=os.path.join(TARGET, "release", "mapreduce"))
    parser.add_argument("--json", help="a line of JSON for each run goes here")
    args = parser.parse_args()
    args.data = os.path.abspath(args.data)
    return args


def written(path, lines):
    """A file of these lines, unless it is there."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb", buffering=1 << 20) as out:
            out.writelines(lines)
        os.rename(path + ".new", path)


def number(i):
    return i * 7_919 % 1_000_000_007


def add_data(args):
    hot = os.path.join(args.data, "hot")
    written(f"{hot}/numbers/a", (b"k\t%d\n" % number(i) for i in range(VALUES)))
    written(f"{hot}/histogram/a", (b"ValueHistogram:k\t%d\n" % number(i) for i in range(VALUES)))
    # A join of a thousand by five million is too much: one side has a single value.
    sides = (b"k\tR\t%d\n" % number(i) if i != VALUES // 2 else b"k\tL\tone\n" for i in range(VALUES))
    written(f"{hot}/sides/a", sides)
    keys = (b"%d\t%d\n" % (number(i), i) for i in range(4_000_000))
    written(f"{args.data}/many/a", keys)
    record = (bytes([97 + i % 26]) * (RECORD - 10) for i in range(args.records))
    large = (b"%08d\t%s\n" % (i * 7_919 % 9_999_991, text) for i, text in enumerate(record))
    written(f"{args.data}/large-{args.records}/a", large)
    written(f"{args.data}/large-gz/a", compressed(args.zipped))
    key = (b"%08d%s\t%d\n" % (number(i // 3) % 100_000_000, b"k" * KEY, i) for i in range(KEYS))
    written(f"{args.data}/large-keys/a", key)
    written(f"{args.data}/lines/a", (b"%d\t%d\n" % (number(i), i) for i in range(LINES)))
    add_other_formats(args)


def compressed(records):
    """Large records that take no disk: each is two members of a gzip file, the second of which others have too."""
    texts = [gzip.compress(b"\t" + bytes([97 + i]) * (RECORD - 10) + b"\n", 1) for i in range(26)]
    for i in range(records):
        yield gzip.compress(b"%08d" % (i * 7_919 % 9_999_991), 1) + texts[i % 26]


def add_other_formats(args):
    """Large records as rows, files and lines that are no JSON; a large row group; content with a large window."""
    text = b"x" * (RECORD - 10)
    written(f"{args.data}/large-csv/a", (b"%08d,%s\n" % (i, text) for i in range(OTHERS)))
    written(f"{args.data}/large-json/a", (b'{"n":"%08d%s"}\n' % (i, text) for i in range(OTHERS)))
    written(f"{args.data}/large-bad/a", (b"{%08d%s\n" % (i, text) for i in range(OTHERS)))
    for i in range(OTHERS):
        written(f"{args.data}/large-files/{i:03}", [b"%08d" % i, text])
    if importlib.util.find_spec("pyarrow") and not os.path.exists(f"{args.data}/row-group"):
        import pyarrow
        import pyarrow.parquet

        ids = range(3_000_000)
        columns = {"id": ids, "a": [f"a text of a row {i:09}" for i in ids], "b": [f"another {number(i):09}" for i in ids]}
        os.makedirs(f"{args.data}/row-group")
        table = pyarrow.table(columns)
        pyarrow.parquet.write_table(table, f"{args.data}/row-group/a", row_group_size=len(ids), use_dictionary=False)
    if shutil.which("zstd") and not os.path.exists(f"{args.data}/long"):
        os.makedirs(f"{args.data}/long")
        numbers = f"{args.data}/many/a"
        for i in range(4):
            with open(f"{args.data}/long/{i}.zst", "wb") as out:
                content = b"".join(open(numbers, "rb").read() for _ in range(2))
                subprocess.run(["zstd", "-q", "-1", "--long=26", "-c"], input=content, stdout=out, check=True)


def job(source, function, args=None, format="{type: KeyValue}", output="KeyValue", more="", **reduce):
    builtin = json.dumps({"name": function, "args": args or {}})
    options = "".join(f", {name}: {json.dumps(value)}" for name, value in reduce.items())
    return f"""apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {{name: memory}}
spec:
  input: {{urls: ["file:data/{source}/"], format: {format}}}
  reduce: {{function: {{builtin: {builtin}}}{options}}}
  output: {{url: "file:out/", format: {{type: {output}}}}}
{more}"""


def steps(source, functions):
    """A job of a step for each reduce function."""
    step = "".join(f"    - {{name: s{i}, reduce: {{function: {{builtin: {{name: {f}}}}}, tasks: 1}}}}\n" for i, f in enumerate(functions))
    return job(source, "identity").replace("  reduce: {function: {builtin: {\"name\": \"identity\", \"args\": {}}}}\n", "  steps:\n" + step)


def works(args):
    """Name, manifest, more options of each work."""
    for name in BENCHES:
        with open(os.path.join(HERE, "jobs", f"{name}.yaml")) as file:
            text = re.sub(r'file:out/\w+/', "file:out/", file.read())
        yield name, text, []
        if name in ("wordcount", "sort", "sum"):
            yield f"{name}, 16 threads", text, ["--threads", "16"]
    for function, options, source in HOT:
        name = " ".join([function, *(f"{k}={v}" for k, v in options.items())])
        yield f"one key: {name}", job(f"hot/{source}", function, options, tasks=1), []
    for name in ("wordcount", "sort", "sum"):
        with open(os.path.join(HERE, "jobs", f"{name}.yaml")) as file:
            text = re.sub(r'file:out/\w+/', "file:out/", file.read())
        yield f"{name}, shuffled by a store", text.rstrip() + "\n" + IN_STORE, []
    yield "one key: identity, sorted", job("hot/numbers", "identity", tasks=1, valueOrder="Sorted"), []
    yield "10,000 partitions", job("many", "identity", tasks=10_000), []
    yield "10,000 partitions, 16 threads", job("many", "identity", tasks=10_000), ["--threads", "16"]
    tiny = job("lines", "identity", tasks=10_000).replace("input: {", "input: {splitSize: 1, ")
    yield "10,000 partitions, splits of a byte", tiny, []
    yield "1,000 partitions, splits of a byte, shuffled by a store", tiny.replace("10000", "1000") + IN_STORE, []
    yield "one key: collect, to Parquet", job("hot/numbers", "collect", output="Parquet", tasks=1), []
    yield "one key: collect, to Csv", job("hot/numbers", "collect", output="Csv", tasks=1), []
    yield "one key: collect, to JsonLines", job("hot/numbers", "collect", output="JsonLines", tasks=1), []
    yield "one key: collect, and a step more", steps("hot/numbers", ["collect", "count"]), []
    yield "rows to Parquet, 16 threads", job("many", "identity", output="Parquet", tasks=16), ["--threads", "16"]
    for name, source, format, more in [
        ("rows of 20 MB, Csv", "large-csv", "{type: Csv, csv: {header: false}}", ""),
        ("lines of 20 MB, JsonLines", "large-json", "{type: JsonLines}", ""),
        ("files of 20 MB, WholeFile", "large-files", "{type: WholeFile}", ""),
        ("bad lines of 20 MB, left out", "large-bad", "{type: JsonLines}", f"  skipBadRecords: {{max: {OTHERS}}}\n"),
    ]:
        # The key of a file is its URL, which is another in each run.
        output = "Lines" if name.endswith("WholeFile") else "FixedLength"
        text = job(source, "identity", format=format, output=output, more=more, tasks=1)
        yield f"{OTHERS} {name}", text, ["--threads", "16"]
    if os.path.exists(f"{args.data}/row-group"):
        yield "Parquet, one row group of 170 MiB", job("row-group", "count", format="{type: Parquet}", tasks=2), []
    if os.path.exists(f"{args.data}/long"):
        yield "zstd, windows of 64 MiB, 16 threads", job("long", "sum", tasks=2), ["--threads", "16"]
    yield f"{KEYS} pairs with keys of 8 MB", job("large-keys", "count", tasks=2), []
    yield f"{KEYS} pairs with keys of 8 MB, 16 threads", job("large-keys", "identity", tasks=2), ["--threads", "16"]
    zipped = f"{args.zipped} records of 20 MB, gzip"
    no_reduce = job("large-gz", "identity", tasks=0).replace('out/", ', 'out/", compression: Zstd, ')
    yield f"{zipped}, without reducers", no_reduce, []
    yield f"{zipped}, first", job("large-gz", "first", tasks=2), []
    large = f"large-{args.records}"
    yield f"{args.records} records of 20 MB", job(large, "identity", tasks=2), []
    yield f"{args.records} records of 20 MB, 16 threads", job(large, "identity", tasks=2), ["--threads", "16"]


def size(text):
    return int(text[:-2]) * {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[text[-2:]]


def digest(folder):
    """Of the parts, one after the other."""
    total = hashlib.blake2b(digest_size=8)
    for name in sorted(os.listdir(folder)):
        if name.startswith("part-"):
            with open(os.path.join(folder, name), "rb") as file:
                while block := file.read(1 << 20):
                    total.update(block)
    return total.hexdigest()


# A process that is started counts the memory of whoever starts it as its own: this one is small.
LAUNCHER = """
import os, sys
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


def run(args, text, options, budget):
    """The peak in bytes, seconds, digest of the result or the error."""
    with tempfile.TemporaryDirectory(dir=args.data, prefix="run-") as folder:
        os.symlink(args.data, os.path.join(folder, "data"))
        with open(os.path.join(folder, "job.yaml"), "w") as file:
            file.write(text)
        os.mkdir(os.path.join(folder, "tmp"))
        command = [os.path.abspath(args.mapreduce), "run", "job.yaml", "--quiet", "--memory", budget, *options]
        env = dict(os.environ, TMPDIR=os.path.join(folder, "tmp"))
        start = time.monotonic()
        launched = [sys.executable, "-S", "-c", LAUNCHER, *command]
        process = subprocess.run(launched, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        seconds = time.monotonic() - start
        result = f"exit {process.returncode}: {process.stderr.strip()[-300:]}"
        if process.returncode == 0:
            result = digest(os.path.join(folder, "out"))
        return int(process.stdout.split()[-1]) << 10, seconds, result


def main():
    args = arguments()
    add_data(args)
    budgets = args.budget.split(",")
    print("| work |" + "".join(f" {budget} |" for budget in budgets))
    print("|---|" + "---:|" * len(budgets))
    wrong = []
    for name, text, options in works(args):
        if not re.search(args.work, name):
            continue
        cells, results = [], set()
        for budget in budgets:
            peak, seconds, result = run(args, text, options, budget)
            if "there is memory for one of" in result:
                cells.append("too little")
                continue
            results.add(result)
            cell = f"{peak / (1 << 20):.0f}"
            cells.append(f"**{cell}**" if peak > size(budget) * 1.15 else cell)
            if args.json:
                with open(args.json, "a") as file:
                    line = {"work": name, "budget": budget, "peak": peak, "seconds": seconds, "result": result}
                    file.write(json.dumps(line) + "\n")
        if len(results) > 1 or any(result.startswith("exit") for result in results):
            wrong.append(f"{name}: {sorted(results)}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if wrong:
        sys.exit("not one result:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
