//! Nothing that writes, reads files or changes settings gets through.

use crate::lake::{TestLake, failure, rows};

/// Statement and the code it must be refused with.
const HOSTILE: &[(&str, &str)] = &[
    ("CREATE TABLE t AS SELECT * FROM events", "read_only"),
    ("CREATE TABLE t (a INT)", "read_only"),
    (
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "read_only",
    ),
    (
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://bucket/x'",
        "read_only",
    ),
    ("CREATE OR REPLACE VIEW events AS SELECT 1", "read_only"),
    ("CREATE SCHEMA s", "read_only"),
    ("CREATE DATABASE d", "read_only"),
    ("CREATE FUNCTION f(INT) RETURNS INT RETURN $1", "read_only"),
    ("DROP TABLE ledger", "read_only"),
    ("DROP VIEW events", "read_only"),
    ("ALTER TABLE ledger ADD COLUMN x INT", "read_only"),
    ("INSERT INTO ledger SELECT * FROM ledger", "read_only"),
    ("INSERT OVERWRITE ledger SELECT * FROM ledger", "read_only"),
    ("UPDATE ledger SET code = 'V01'", "read_only"),
    ("DELETE FROM ledger", "read_only"),
    ("TRUNCATE TABLE ledger", "read_only"),
    (
        "MERGE INTO ledger USING events ON true WHEN MATCHED THEN DELETE",
        "read_only",
    ),
    ("COPY events TO '/tmp/siji-stolen.csv'", "read_only"),
    (
        "COPY (SELECT 1) TO '/tmp/siji-stolen.parquet' STORED AS PARQUET",
        "read_only",
    ),
    ("EXPLAIN COPY events TO '/tmp/siji-stolen.csv'", "read_only"),
    (
        "EXPLAIN ANALYZE INSERT INTO ledger SELECT * FROM ledger",
        "read_only",
    ),
    ("EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", "read_only"),
    (
        "SET datafusion.execution.target_partitions = 1000",
        "read_only",
    ),
    ("SET datafusion.runtime.memory_limit = '100G'", "read_only"),
    ("RESET datafusion.execution.batch_size", "read_only"),
    ("SHOW ALL", "read_only"),
    ("SHOW datafusion.execution.batch_size", "read_only"),
    ("BEGIN", "read_only"),
    ("COMMIT", "read_only"),
    ("PREPARE p AS SELECT 1", "read_only"),
    ("EXECUTE p", "read_only"),
    ("DEALLOCATE p", "read_only"),
    ("USE other", "read_only"),
    ("GRANT ALL ON ledger TO public", "read_only"),
    ("SELECT * INTO stolen FROM events", "read_only"),
    (
        "WITH x AS (SELECT 1) INSERT INTO ledger SELECT * FROM x",
        "read_only",
    ),
    ("SELECT 1; DROP TABLE ledger", "syntax"),
    ("SELECT 1; SELECT 2", "syntax"),
    ("", "syntax"),
    (" -- nothing\n", "syntax"),
    ("SELEC 1", "syntax"),
    ("SELECT * FROM '/etc/passwd'", "plan"),
    ("SELECT * FROM '/etc/passwd.csv'", "plan"),
    ("SELECT * FROM \"file:///etc/passwd\"", "plan"),
    ("SELECT * FROM \"s3://bucket/x.parquet\"", "plan"),
    ("SELECT * FROM read_csv('/etc/passwd')", "plan"),
    ("SELECT * FROM read_parquet('/etc/passwd')", "plan"),
    ("SELECT * FROM parquet_metadata('/etc/passwd')", "plan"),
    ("SELECT input_file_name() FROM events", "plan"),
    ("SELECT * FROM lake.ledger", "plan"),
    ("SELECT * FROM datafusion.public.events", "plan"),
    ("SELECT * FROM ref_areas", "plan"),
    ("SELECT * FROM information_schema.df_settings", "plan"),
    ("SELECT repeat('a', 1000000000)", "plan"),
    ("SELECT lpad('a', 1000000000)", "plan"),
    ("SELECT rpad('a', 1000000000)", "plan"),
    ("SELECT array_repeat(1, 1000000000)", "plan"),
    ("SELECT range(0, 1000000000)", "plan"),
    ("SELECT generate_series(0, 1000000000)", "plan"),
    (
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "plan",
    ),
];

#[tokio::test]
async fn hostile_statements_are_refused_and_nothing_is_written() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let before = lake.contents();
    for (sql, code) in HOSTILE {
        let error = failure(&engine, sql).await;
        assert_eq!(error.code(), *code, "{sql}: {error}");
        assert!(!error.to_string().contains('\n'), "{sql}: {error}");
    }
    assert_eq!(lake.contents(), before);
    for stolen in ["/tmp/siji-stolen.csv", "/tmp/siji-stolen.parquet"] {
        assert!(!std::path::Path::new(stolen).exists());
    }
    // And the engine is none the worse.
    assert_eq!(
        rows(&engine, "SELECT count(*) AS n FROM events")
            .await
            .unwrap()[0]["n"],
        6
    );
}

#[tokio::test]
async fn a_refusal_names_the_statement_and_says_what_to_do() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let error = failure(&engine, "DROP TABLE ledger").await;
    assert_eq!(
        error.to_string(),
        "DROP TABLE is not allowed: siji sql only reads"
    );
    assert!(error.hint().contains("SELECT"));
    let error = failure(&engine, "SELECT * FROM evnts").await;
    assert!(error.to_string().contains("evnts"), "{error}");
    assert!(error.hint().contains("SHOW TABLES"));
    let error = failure(&engine, "SELECT distrct_code FROM events").await;
    assert!(error.to_string().contains("distrct_code"), "{error}");
}

#[tokio::test]
async fn reading_statements_of_every_kind_are_allowed() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    for sql in [
        "SELECT 1",
        "SELECT 1;",
        "VALUES (1), (2)",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "SELECT 1 UNION ALL SELECT 2",
        "EXPLAIN SELECT * FROM events",
        "EXPLAIN ANALYZE SELECT * FROM events",
        "EXPLAIN FORMAT TREE SELECT * FROM events",
        "DESCRIBE events",
        "SHOW TABLES",
        "SHOW COLUMNS FROM events",
        "SHOW FUNCTIONS",
        "SELECT * FROM public.events",
        "SELECT * FROM siji.public.events",
        "SELECT * FROM generate_series(1, 10)",
        "SELECT local_date, count(*) FROM events GROUP BY GROUPING SETS ((local_date), ())",
        "SELECT event_id, row_number() OVER (ORDER BY \"offset\") FROM events",
        "SELECT attrs['line'] FROM events",
        "SELECT date_trunc('hour', occurred_at), count(*) FROM events GROUP BY 1",
    ] {
        if let Err(error) = rows(&engine, sql).await {
            panic!("{sql}: {error}");
        }
    }
}
