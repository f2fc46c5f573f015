#!/usr/bin/env python3
"""Runs two versions of `mapreduce` in turns, on the works of the benchmarks and on some formats of input.

    benches/versions.py --data DIR --before PROGRAM --after PROGRAM [--work REGEX] [--pairs 9]

Each pair of runs gives a ratio, after by before; the table has the medians of the pairs' ratios, so that a machine
that becomes slower or faster meanwhile changes little. CPU is user and system time. Results have to be the same bytes.
"""

import argparse
import os
import re
import statistics
import sys
import tempfile

from measure import emptied, timed, warmed
from memory import digest

HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder that `bench-data generate` wrote")
    parser.add_argument("--before", required=True)
    parser.add_argument("--after", required=True)
    parser.add_argument("--work", default="", help="only works whose names match this pattern")
    parser.add_argument("--pairs", type=int, default=9)
    args = parser.parse_args()
    args.data = os.path.abspath(args.data)
    return args


def rows():
    for i in range(1_500_000):
        n = i * 2_654_435_761 % 4_294_967_296
        yield i, f"name {n % 50_000}", n / 1000, f"a text, of a few words, number {n}"


def table(args, kind):
    """A file of rows in a format, written once."""
    folder = os.path.join(args.data, f"table-{kind}")
    path = os.path.join(folder, f"a.{kind}")
    if os.path.exists(path):
        return folder
    os.makedirs(folder, exist_ok=True)
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        columns = list(zip(*rows()))
        names = ["id", "name", "amount", "text"]
        pyarrow.parquet.write_table(pyarrow.table(dict(zip(names, columns))), path + ".new", row_group_size=200_000)
    else:
        with open(path + ".new", "w") as out:
            if kind == "csv":
                out.write("id,name,amount,text\n")
            for i, name, amount, text in rows():
                if kind == "csv":
                    out.write(f'{i},{name},{amount},"{text}"\n')
                else:
                    out.write(f'{{"id": {i}, "name": "{name}", "amount": {amount}, "text": "{text}"}}\n')
    os.rename(path + ".new", path)
    return folder


def works(args):
    """Name, manifest, folder of the input."""
    folders = {"wordcount": "text", "sort": "records", "sum": "sums", "log": "weblog", "grep": "weblog", "small": "small"}
    for name, folder in folders.items():
        with open(os.path.join(HERE, "jobs", f"{name}.yaml")) as file:
            yield name, file.read(), os.path.join(args.data, folder)
    for name, builtin in ("csv", "csv"), ("jsonl", "json"), ("parquet", "json"):
        kind = {"csv": "Csv", "jsonl": "JsonLines", "parquet": "Parquet"}[name]
        if not re.search(args.work, name):
            continue
        yield name, f"""apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {{name: table}}
spec:
  input: {{urls: ["file:in/"], format: {{type: {kind}}}}}
  map: {{function: {{builtin: {{name: {builtin}, args: {{key: name, value: id}}}}}}}}
  combine: {{function: {{builtin: {{name: sum}}}}}}
  reduce: {{function: {{builtin: {{name: sum}}}}, tasks: 2}}
  output: {{url: "file:out/"}}
""", table(args, name)


def main():
    args = arguments()
    print("| work | seconds before | after | ratio | CPU s before | after | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="run-", dir=args.data) as scratch:
        out, tmp, job = (os.path.join(scratch, name) for name in ("out", "tmp", "job.yaml"))
        env = dict(os.environ, TMPDIR=tmp)
        for name, text, folder in works(args):
            if not re.search(args.work, name):
                continue
            warmed(folder)
            with open(job, "w") as file:
                file.write(text)
            pairs, results = [], set()
            for number in range(args.pairs + 1):
                runs = {}
                for program in (args.before, args.after) if number % 2 else (args.after, args.before):
                    emptied(out, tmp)
                    urls = f'--input "file:{folder}/" --output "file:{out}/"'
                    command = f'exec "{os.path.abspath(program)}" run "{job}" --quiet --threads 2 {urls}'
                    run = runs[program] = timed(command, env, os.path.join(scratch, "log"))
                    if run.error:
                        sys.exit(f"{name}: {program}: {run.error}")
                    results.add(digest(out))
                # The first pair fills caches.
                if number:
                    pairs.append((runs[args.before], runs[args.after]))
            if len(results) > 1:
                sys.exit(f"{name}: the results are not the same")
            cells = [name]
            for what in "wall", "cpu":
                before, after = ([getattr(pair[i], what) for pair in pairs] for i in (0, 1))
                ratio = statistics.median(b / a for a, b in zip(before, after))
                cells += [f"{statistics.median(before):.2f}", f"{statistics.median(after):.2f}", f"{ratio:.3f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
