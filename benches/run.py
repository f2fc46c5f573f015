#!/usr/bin/env python3
"""Runs the benchmarks: whole jobs, beside other programs that do the same. See README.md.

    benches/run.py --data DIR [--work REGEX] [--peer REGEX]
    benches/run.py --data DIR --eight
"""

import argparse
import glob
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from cases import EIGHT, WORKS, ours
from measure import emptied, timed, warmed

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target"))


def arguments():
    parser = argparse.ArgumentParser(description="Runs whole jobs beside other programs that do the same.")
    parser.add_argument("--data", required=True, help="the folder that `bench-data generate` wrote")
    parser.add_argument("--work", default="", help="only works whose names match this pattern")
    parser.add_argument("--peer", default="", help="only programs whose names match this pattern")
    parser.add_argument("--runs", type=int, default=5, help="runs of each program; the median counts")
    parser.add_argument("--slow-runs", type=int, default=1, help="runs of Spark, Hadoop, and of what else takes half a minute")
    parser.add_argument("--eight", action="store_true", help="our jobs with 512Mi of memory, and 8 times the data")
    parser.add_argument("--mapreduce", default=os.path.join(TARGET, "release", "mapreduce"))
    parser.add_argument("--bench-data", default=os.path.join(TARGET, "release", "bench-data"))
    parser.add_argument("--results", help="a line of JSON for each run goes here; DIR/results.jsonl when absent")
    args = parser.parse_args()
    args.data = os.path.abspath(args.data)
    args.results = args.results or os.path.join(args.data, "results.jsonl")
    for option, program in ("--mapreduce", args.mapreduce), ("--bench-data", args.bench_data):
        if not shutil.which(program):
            sys.exit(f"{option} {program}: there is no such program; see benches/README.md")
    if not os.path.exists(os.path.join(args.data, "expected.json")):
        sys.exit(f"--data {args.data}: there is no expected.json; run `bench-data generate` first")
    return args


def environment(args, scratch):
    """What commands find in their environment; see cases.py."""
    env = dict(os.environ, HERE=HERE, MAPREDUCE=os.path.abspath(args.mapreduce), LC_ALL="C.UTF-8")
    env.setdefault("PYTHON", sys.executable)
    env["OUT"], env["TMPDIR"] = os.path.join(scratch, "out"), os.path.join(scratch, "tmp")
    if "HADOOP" in env and shutil.which("javac"):
        env["CLASSES"] = os.path.join(scratch, "classes")
        source = os.path.join(HERE, "peers", "Sums.java")
        subprocess.run(["javac", "-nowarn", "-cp", env["HADOOP"] + "/*", "-d", env["CLASSES"], source], check=True)
    return env


def missing(peer, env):
    """What a peer needs and isn't there."""

    def succeeds(*command):
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def is_there(need):
        kind, _, name = need.partition(" ")
        if kind == "module":
            return succeeds(env["PYTHON"], "-c", f"import {name}")
        if kind == "job":
            return succeeds(env["MAPREDUCE"], "validate", os.path.join(HERE, "jobs", name + ".yaml"))
        if kind == "file":
            return os.path.exists(os.path.join(HERE, name))
        if need.startswith("$"):
            return need[1:] in env
        return shutil.which(need) is not None

    return [need for need in peer.needs if not is_there(need)]


def checked(args, work, env, times=1):
    """Empty, or why the result is wrong."""
    parts = glob.glob(os.path.join(glob.escape(env["OUT"]), "**", "part-*"), recursive=True)
    command = [args.bench_data, "check", work.name, args.data, "--times", str(times), *sorted(parts)]
    check = subprocess.run(command, check=False, capture_output=True, text=True)
    return check.stderr.strip() if check.returncode else ""


def run_once(args, work, peer, env, **about):
    """Runs a program, checks its result and takes note."""
    emptied(env["OUT"], env["TMPDIR"])
    run = timed(peer.command, env, os.path.join(os.path.dirname(env["OUT"]), "log"))
    if not run.error and peer.after:
        subprocess.run(["bash", "-euc", peer.after], env=env, check=True)
    run.error = run.error or checked(args, work, env, about.get("times", 1))
    note = {"work": work.id, "peer": peer.name, "at": time.strftime("%FT%T"), **about, **vars(run)}
    with open(args.results, "a") as results:
        results.write(json.dumps(note) + "\n")
    print(f"{work.id}: {peer.name}: {run.wall:.2f} s {run.error or 'ok'}", file=sys.stderr, flush=True)
    return run


def measure(args, work, env):
    """Runs the programs of a work in turns, so that what disturbs the machine disturbs them all."""
    env["IN"] = os.path.join(args.data, work.folder)
    runs, without = {}, []
    for peer in work.peers:
        if re.search(args.peer, peer.name):
            lacks = missing(peer, env)
            if lacks:
                without.append(f"{peer.name} ({', '.join(lacks)})")
            else:
                runs[peer.name] = []
    size = warmed(env["IN"]) if runs else 0
    for number in range(args.runs):
        for peer in work.peers:
            if peer.name not in runs or number >= (args.slow_runs if peer.slow else args.runs):
                continue
            run = run_once(args, work, peer, env)
            if run.error:
                del runs[peer.name]
                without.append(f"{peer.name} ({run.error.splitlines()[0]})")
            else:
                runs[peer.name].append(run)
    return size, runs, without


def median(runs, what):
    return statistics.median(getattr(run, what) for run in runs)


def table(work, size, runs, without):
    """A table in Markdown. The last column is the time beside that of the first program."""
    base = next(iter(runs), "none")
    lines = [
        f"### {work.title}, {size / 2**20:,.0f} MiB",
        "",
        f"| program | seconds | from – to | CPU s | peak MiB | × {base} |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, of in sorted(runs.items(), key=lambda item: median(item[1], "wall")):
        walls = [run.wall for run in of]
        wall = median(of, "wall")
        spread = f"{min(walls):.2f} – {max(walls):.2f}" if len(of) > 1 else "one run"
        label = f"**{name}**" if name.startswith("mapreduce") else name
        cells = [label, f"{wall:.2f}", spread, f"{median(of, 'cpu'):.2f}", f"{median(of, 'rss'):.0f}"]
        lines.append("| " + " | ".join(cells) + f" | {wall / median(runs[base], 'wall'):.2f} |")
    notes = [f"*{peer.name}* {peer.note}." for peer in work.peers if peer.note and peer.name in runs]
    if without:
        notes.append("Left out: " + "; ".join(without) + ".")
    return "\n".join(lines + ([""] + [" ".join(notes)] if notes else [])) + "\n"


def linked(source, target, times):
    """A folder with each file of another `times` times, without taking room."""
    os.makedirs(target)
    for name in os.listdir(source):
        for number in range(times):
            os.link(os.path.join(source, name), os.path.join(target, f"{number}-{name}"))


def eight(args, env, scratch):
    """Our jobs with 512 MiB, and 8 times the data; a table."""
    lines = [
        "| job | MiB | seconds | 8 times: seconds | × | peak MiB | 8 times: peak MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for work in WORKS:
        if work.id not in EIGHT or not re.search(args.work, work.id):
            continue
        peer = ours(work.id, options="--memory 512Mi")
        once, more = {}, {}
        for times, runs, of in (1, args.runs, once), (8, args.slow_runs, more):
            env["IN"] = os.path.join(scratch, f"{work.id}-{times}")
            linked(os.path.join(args.data, work.folder), env["IN"], times)
            of["mib"] = warmed(env["IN"]) / 2**20
            results = [run_once(args, work, peer, env, times=times) for _ in range(runs)]
            if error := next((run.error for run in results if run.error), ""):
                sys.exit(f"{work.id}: {error}")
            of.update(wall=median(results, "wall"), rss=median(results, "rss"))
            shutil.rmtree(env["IN"])
        cells = [
            work.title,
            f"{once['mib']:,.0f}",
            f"{once['wall']:.2f}",
            f"{more['wall']:.2f}",
            f"{more['wall'] / once['wall']:.2f}",
            f"{once['rss']:.0f}",
            f"{more['rss']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    args = arguments()
    # On the disk of the data: /tmp may be memory, and links don't go from one disk to another.
    with tempfile.TemporaryDirectory(prefix="run-", dir=args.data) as scratch:
        env = environment(args, scratch)
        if args.eight:
            print(eight(args, env, scratch))
            return
        for work in WORKS:
            if re.search(args.work, work.id):
                print(table(work, *measure(args, work, env)), flush=True)


if __name__ == "__main__":
    main()
