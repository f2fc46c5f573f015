"""The works, and each program's best known way to do them.

A command is for bash. Its environment has

    IN, OUT     the folder with the input; the folder for the result, which is empty: files `part-*`, in order
    TMPDIR      a folder for anything else, empty too
    HERE        this folder
    MAPREDUCE   the command `mapreduce`
    PYTHON      a Python with the packages that a program needs
    HADOOP      a folder with Hadoop's jars
    CLASSES     a folder with the classes of peers/Sums.java
    FLOOR       a program written by hand for these works: `floor WORK INPUT OUTPUT`
"""

from dataclasses import dataclass, field


@dataclass
class Peer:
    """A program, and how it does a work."""

    name: str
    command: str
    needs: tuple = ()  # of: a program in the PATH, `module NAME` of $PYTHON, `$VARIABLE`,
    # `job NAME`, `file PATH`
    slow: bool = False  # is run fewer times
    after: str = ""  # makes its result comparable; not timed
    note: str = ""


@dataclass
class Work:
    """Something to be done."""

    name: str  # as `bench-data check` knows it
    title: str
    folder: str
    peers: list = field(default_factory=list)
    id: str = ""  # where several works have the same result

    def __post_init__(self):
        self.id = self.id or self.name


def ours(job, name="mapreduce", options="", needs=()):
    urls = '--input "file:$IN/" --output "file:$OUT/"'
    command = f'"$MAPREDUCE" run "$HERE/jobs/{job}.yaml" --quiet --threads 2 {options} {urls}'
    return Peer(name, command, (f"job {job}", *needs))


def shell(name, what, *needs, slow=False):
    return Peer(name, f'"$HERE/peers/shell.sh" {what} "$IN" "$OUT"', needs, slow)


def duck(work):
    return Peer("DuckDB", f'"$PYTHON" "$HERE/peers/duck.py" {work} "$IN" "$OUT"', ("module duckdb",))


def polars(work):
    return Peer("Polars", f'"$PYTHON" "$HERE/peers/pol.py" {work} "$IN" "$OUT"', ("module polars",))


def floor(work, after="", note=""):
    return Peer("by hand", f'"$FLOOR" {work} "$IN" "$OUT"', ("$FLOOR",), after=after, note=note)


def spark(work, name="Spark"):
    options = (
        "--master 'local[2]' --driver-memory 8g --conf spark.ui.enabled=false --conf spark.log.level=ERROR "
        '--conf "spark.local.dir=$TMPDIR" --conf spark.sql.shuffle.partitions=8 --conf spark.python.worker.reuse=true'
    )
    submit = 'PYSPARK_PYTHON="$PYTHON" "$("$PYTHON" -m pyspark.find_spark_home)/bin/spark-submit"'
    command = f'{submit} {options} "$HERE/peers/spark.py" {work} "$IN" "$OUT/o"'
    return Peer(name, command, ("module pyspark", "java"), slow=True)


HADOOP = (
    "-D mapreduce.framework.name=local -D fs.defaultFS=file:/// -D hadoop.tmp.dir=$TMPDIR "
    "-D mapreduce.task.io.sort.mb=512 -D mapreduce.local.map.tasks.maximum=2 "
    "-D mapreduce.local.reduce.tasks.maximum=2 -D mapreduce.input.fileinputformat.split.minsize=67108864"
)
PACKED = (
    "-D mapreduce.job.inputformat.class=org.apache.hadoop.mapreduce.lib.input.CombineTextInputFormat "
    "-D mapreduce.input.fileinputformat.split.maxsize=67108864"
)
EXAMPLES = "org.apache.hadoop.examples.ExampleDriver"


def hadoop(program, arguments, name="Hadoop", needs=(), after=""):
    command = f'cd "$TMPDIR"; java -Xmx8g -cp "$HADOOP/*:${{CLASSES:-}}" {program} {arguments}'
    return Peer(name, command, ("$HADOOP", "java", *needs), slow=True, after=after)


# The floor's log aggregation has hits and bytes, of paths and of status codes: of that, the bytes of paths.
PATHS = r"""sed -i -n 's/^P\t\([^\t]*\)\t[^\t]*\t\([^\t]*\)$/\1\t\2/p' "$OUT"/part-*"""
# `grep` of Hadoop's examples writes the number first.
TURNED = r"""sed -i 's/^\([^\t]*\)\t\(.*\)$/\2\t\1/' "$OUT"/o/part-*"""
STREAMER = "org.apache.hadoop.streaming.HadoopStreaming"
STREAMING = (
    f'{HADOOP} -input "$IN" -output "$OUT/o" -mapper "python3 $HERE/peers/stream_map.py" '
    '-combiner "python3 $HERE/peers/stream_reduce.py" -reducer "python3 $HERE/peers/stream_reduce.py" -numReduceTasks 1'
)
RARE = r"\?id=[0-9]+(%20|[+])UNION(%20|[+])SELECT"

COMPONENT = "file ../target/wasm/wasm32-wasip2/release/word_count.wasm"

WORKS = [
    Work("wordcount", "Word count", "text", [
        ours("wordcount"),
        floor("wordcount"),
        duck("wordcount"),
        polars("wordcount"),
        shell("mawk, two processes", "mawk2-wordcount", "mawk", slow=True),
        shell("tr, sort, uniq", "sort-wordcount", "mawk", slow=True),
        spark("wordcount"),
        hadoop(EXAMPLES, f'wordcount {HADOOP} "$IN" "$OUT/o"'),
    ]),
    Work("sort", "Sort of 100-byte records", "records", [
        ours("sort"),
        floor("sort"),
        duck("sort"),
        polars("sort"),
        shell("GNU sort", "sort-sort"),
        spark("sort"),
        hadoop(EXAMPLES, f'terasort {HADOOP} -D mapreduce.job.reduces=2 "$IN" "$OUT/o"', "Hadoop terasort"),
    ]),
    Work("sum", "Sum by key, 10 million keys", "sums", [
        ours("sum"),
        floor("sum"),
        duck("sum"),
        polars("sum"),
        shell("GNU sort, mawk", "sort-sum", "mawk", slow=True),
        spark("sum"),
        hadoop("Sums", f'{HADOOP} sum "$IN" "$OUT/o"', needs=("$CLASSES",)),
    ]),
    Work("log", "Log aggregation: bytes by path", "weblog", [
        ours("log"),
        floor("logagg", PATHS, "computes more: hits and bytes, by path and by status"),
        duck("log"),
        polars("log"),
        shell("mawk, two processes", "mawk2-log", "mawk"),
        shell("mawk", "mawk-log", "mawk"),
        spark("log"),
        hadoop("Sums", f'{HADOOP} log "$IN" "$OUT/o"', needs=("$CLASSES",)),
    ]),
    Work("grep", "Grep of a rare pattern", "weblog", [
        ours("grep"),
        shell("ripgrep", "ripgrep-grep", "rg", "mawk"),
        shell("GNU grep, two processes", "grep2-grep", "mawk"),
        shell("GNU grep", "grep-grep", "mawk"),
        duck("grep"),
        polars("grep"),
        spark("grep"),
        hadoop(EXAMPLES, f"grep {HADOOP} \"$IN\" \"$OUT/o\" '{RARE}'", after=TURNED),
    ]),
    Work("small", "Word count of 10,000 small files", "small", [
        ours("small"),
        floor("wordcount"),
        duck("wordcount"),
        polars("wordcount"),
        shell("mawk, two processes", "mawk2-wordcount", "mawk"),
        spark("wordcount"),
        hadoop(EXAMPLES, f'wordcount {HADOOP} {PACKED} "$IN" "$OUT/o"', "Hadoop, packed splits"),
    ]),
    Work("log", "A command as the map function: bytes by path in mawk", "weblog", [
        ours("command", needs=("mawk",)),
        shell("cat, mawk, sort", "mawk-log", "mawk"),
        shell("cat, mawk, twice at once, sort", "catmawk2-log", "mawk"),
        shell("mawk, two processes, sort", "mawk2-log", "mawk"),
    ], id="command"),
    Work("wordcount64", "A script as the map function: word count", "text64", [
        ours("python", "mapreduce, Python", needs=("python3",)),
        ours("javascript", "mapreduce, JavaScript"),
        ours("wasm", "mapreduce, WebAssembly", needs=(COMPONENT,)),
        ours("wordcount", "mapreduce, built in"),
        spark("wordcount-python", "Spark RDD, Python"),
        hadoop(STREAMER, STREAMING, "Hadoop Streaming, Python", needs=("python3",)),
    ], id="script"),
    Work("wordcount", "A WebAssembly component as the map function: word count", "text", [
        ours("wasm", "mapreduce, WebAssembly", needs=(COMPONENT,)),
        ours("wordcount", "mapreduce, built in"),
    ], id="wasm"),
]

# Jobs that are run with little memory and eight times the data.
EIGHT = ["wordcount", "sort", "sum", "log", "grep"]
