"""totals.py SIJI LAKE: reads a lake's tables with delta-rs and Polars, as any analyst would, and compares the totals with
`siji sql`. Exit 1 on a difference."""
import json
import subprocess
import sys

import deltalake
import polars as pl

siji, lake = sys.argv[1], sys.argv[2]


def sql(query):
    out = subprocess.run([siji, "sql", query, "--lake", lake, "--output", "json"], check=True, capture_output=True).stdout
    return json.loads(out)["rows"]


def compare(what, theirs, ours):
    print(f"{what:<40} {theirs!s:>20} {ours!s:>20}")
    if theirs != ours:
        sys.exit(f"{what}: {theirs} by the reader, {ours} by siji sql")


ledger = deltalake.DeltaTable(f"{lake}/ledger")
table = pl.from_arrow(ledger.to_pyarrow_table()) if hasattr(ledger, "to_pyarrow_table") else pl.read_delta(f"{lake}/ledger")
for row in sql("SELECT disposition, count(*) AS n FROM ledger GROUP BY 1 ORDER BY 1"):
    compare(f"ledger {row['disposition']}", table.filter(pl.col("disposition") == row["disposition"]).height, row["n"])
compare("ledger rows", table.height, sql("SELECT count(*) AS n FROM ledger")[0]["n"])
amount = table.filter(pl.col("disposition") == "accepted")["amount_fen"].sum()
compare("amount_fen accepted", amount, sql("SELECT sum(amount_fen) AS n FROM events")[0]["n"])

rollup = pl.read_delta(f"{lake}/rollup")
for tier in ["community", "street", "district", "city", "province"]:
    part = rollup.filter(pl.col("tier") == tier)
    ours = sql(f"SELECT sum(events) AS e, sum(minutes_sum) AS m, sum(amount_fen_sum) AS a FROM rollup_{tier}")[0]
    compare(f"rollup {tier} events", part["events"].sum(), ours["e"])
    compare(f"rollup {tier} minutes", part["minutes_sum"].sum(), ours["m"])
    compare(f"rollup {tier} amount_fen", part["amount_fen_sum"].sum(), ours["a"])

registers = pl.read_delta(f"{lake}/registers")
compare("register statements", registers.height, sql("SELECT count(*) AS n FROM register_statements")[0]["n"])
print("deltalake", deltalake.__version__, "polars", pl.__version__, "agree with siji sql")
