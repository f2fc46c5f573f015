"""duck.py WORK INPUT OUTPUT: a work in DuckDB, with two threads."""

import sys

import duckdb

RARE = r"\?id=[0-9]+(%20|[+])UNION(%20|[+])SELECT"

work, source, out = sys.argv[1:]


def read(columns, separator):
    names = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    return (
        f"read_csv('{source}/*', columns = {{{names}}}, delim = '{separator}', "
        "quote = '', escape = '', header = false, auto_detect = false)"
    )


# No line has this byte: a line is one column.
lines = read({"line": "VARCHAR"}, "\x1f")
log = (
    f"read_csv('{source}/*', delim = ' ', quote = '\"', escape = '\"', header = false, auto_detect = false, "
    "columns = {'ip': 'VARCHAR', 'a': 'VARCHAR', 'b': 'VARCHAR', 'time': 'VARCHAR', 'zone': 'VARCHAR', "
    "'request': 'VARCHAR', 'status': 'VARCHAR', 'bytes': 'BIGINT', 'referrer': 'VARCHAR', 'agent': 'VARCHAR'})"
)

QUERIES = {
    "wordcount": f"""SELECT word, count(*) FROM (SELECT unnest(string_split(line, ' ')) AS word FROM {lines})
        GROUP BY word ORDER BY word""",
    "sort": f"SELECT line FROM {lines} ORDER BY line",
    "sum": f"""SELECT key, sum(value)::BIGINT FROM {read({"key": "VARCHAR", "value": "BIGINT"}, chr(9))}
        GROUP BY key ORDER BY key""",
    "log": f"""SELECT split_part(split_part(request, ' ', 2), '?', 1) AS path, sum(bytes)::BIGINT FROM {log}
        GROUP BY path ORDER BY path""",
    "grep": f"""SELECT regexp_extract(line, '{RARE}') AS found, count(*) FROM {lines}
        WHERE regexp_matches(line, '{RARE}') GROUP BY found ORDER BY found""",
}

db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET preserve_insertion_order = false")
db.execute(f"SET temp_directory = '{out}/tmp'")
separator = "\x1f" if work == "sort" else "\t"
db.execute(
    f"COPY ({QUERIES[work]}) TO '{out}/part-0' "
    f"(FORMAT csv, DELIMITER '{separator}', HEADER false, QUOTE '', ESCAPE '')"
)
