"""spark.py WORK INPUT OUTPUT: a work in Spark, with two threads; run by spark-submit.

Data frames, but for `wordcount-python`: there Python sees every record, as a streaming job's mapper does.
"""

import sys
from operator import add

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

RARE = r"\?id=[0-9]+(%20|[+])UNION(%20|[+])SELECT"

work, source, out = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()


def write(rows):
    rows.write.csv(out, sep="\t", quote="", emptyValue="", escapeQuotes=False)


if work == "wordcount":
    words = spark.read.text(source).select(F.explode(F.split("value", " ")).alias("word"))
    write(words.groupBy("word").count().orderBy("word"))
elif work == "wordcount-python":
    lines = spark.sparkContext.textFile(source, 4)
    counts = lines.flatMap(lambda line: line.split(" ")).map(lambda word: (word, 1)).reduceByKey(add, 4)
    counts.sortByKey(numPartitions=2).map(lambda pair: f"{pair[0]}\t{pair[1]}").saveAsTextFile(out)
elif work == "sort":
    spark.read.text(source).orderBy("value").write.text(out)
elif work == "sum":
    pairs = spark.read.csv(source, schema="key string, value bigint", sep="\t", quote="")
    write(pairs.groupBy("key").agg(F.sum("value")).orderBy("key"))
elif work == "log":
    fields = F.split("value", " ", 11)
    path = F.substring_index(fields[6], "?", 1).alias("path")
    rows = spark.read.text(source).select(path, fields[9].cast("bigint").alias("bytes"))
    write(rows.groupBy("path").agg(F.sum("bytes")).orderBy("path"))
elif work == "grep":
    rows = spark.read.text(source).filter(F.col("value").rlike(RARE))
    write(rows.groupBy(F.regexp_extract("value", RARE, 0)).count())
else:
    sys.exit(f"there is no work {work}")
spark.stop()
