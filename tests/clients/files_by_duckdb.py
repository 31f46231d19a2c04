"""files_by_duckdb.py SIJI LAKE: reads the Parquet files of a lake's tables with DuckDB and compares totals with `siji sql`.
The files' encodings are siji's own, so a reader that shares no code with the writer must find the same."""
import json
import subprocess
import sys

import deltalake
import duckdb

siji, lake = sys.argv[1], sys.argv[2]


def sql(query):
    out = subprocess.run([siji, "sql", query, "--lake", lake, "--output", "json"], check=True, capture_output=True).stdout
    return {key: int(value) for key, value in json.loads(out)["rows"][0].items()}


def compare(table, query):
    """`query` has {table} where the rows come from."""
    files = deltalake.DeltaTable(f"{lake}/{table}").file_uris()
    relation = duckdb.sql(query.format(table=f"read_parquet({files!r}, hive_partitioning = true)"))
    theirs = {name: int(value) for name, value in zip(relation.columns, relation.limit(1).fetchall()[0])}
    ours = sql(query.format(table=table))
    print(f"{table:<10} {theirs}")
    if theirs != ours:
        sys.exit(f"{table}: {theirs} by DuckDB, {ours} by siji sql")


compare(
    "ledger",
    'SELECT count(*) AS n, sum("offset") AS offsets, count(code) AS codes, count(DISTINCT event_id) AS ids, '
    "count(DISTINCT event_type) AS types, count(DISTINCT area_code) AS areas, sum(amount_fen) AS fen, "
    "sum(minutes) AS minutes, count(handler_code) AS handlers FROM {table}",
)
compare(
    "ledger",
    "SELECT count(*) AS attrs, count(DISTINCT k) AS keys FROM (SELECT unnest(map_keys(attrs)) AS k FROM {table})",
)
compare(
    "rollup",
    "SELECT count(*) AS n, sum(events) AS events, sum(minutes_sum) AS minutes, sum(amount_fen_sum) AS fen, "
    "count(DISTINCT area_code) AS areas, count(DISTINCT service_code) AS services, sum(rating_5) AS fives FROM {table}",
)
print("duckdb", duckdb.__version__, "agrees with siji sql")
