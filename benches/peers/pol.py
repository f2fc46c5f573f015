"""pol.py WORK INPUT OUTPUT: a work in Polars, with two threads and the streaming engine."""

import os
import sys

os.environ["POLARS_MAX_THREADS"] = "2"
import polars as pl  # noqa: E402 - reads the number of threads when it is loaded

RARE = r"\?id=[0-9]+(%20|[+])UNION(%20|[+])SELECT"
# No line has this byte: a line is one column.
NONE = "\x1f"

work, source, out = sys.argv[1:]


def read(schema, separator, quote=None):
    return pl.scan_csv(f"{source}/*", separator=separator, schema=schema, has_header=False, quote_char=quote)


def lines():
    return read({"line": pl.String}, NONE)


def wordcount():
    words = lines().select(pl.col("line").str.split(" ").explode().alias("word"))
    return words.group_by("word").len().sort("word")


def sort():
    return lines().sort("line")


def sums():
    return read({"key": pl.String, "value": pl.Int64}, "\t").group_by("key").agg(pl.col("value").sum()).sort("key")


def log():
    names = ["ip", "a", "b", "time", "zone", "request", "status", "bytes", "referrer", "agent"]
    rows = read({name: pl.Int64 if name == "bytes" else pl.String for name in names}, " ", '"')
    url = pl.col("request").str.split_exact(" ", 2).struct.field("field_1")
    path = url.str.split_exact("?", 1).struct.field("field_0").alias("path")
    return rows.select(path, "bytes").group_by("path").agg(pl.col("bytes").sum()).sort("path")


def grep():
    found = lines().filter(pl.col("line").str.contains(RARE))
    return found.group_by(pl.col("line").str.extract(RARE, 0)).len().sort("line")


plan = {"wordcount": wordcount, "sort": sort, "sum": sums, "log": log, "grep": grep}[work]()
plan.sink_csv(
    f"{out}/part-0",
    separator=NONE if work == "sort" else "\t",
    include_header=False,
    quote_style="never",
    engine="streaming",
)
