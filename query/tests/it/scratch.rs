use crate::lake::TestLake;
use std::time::Instant;
#[tokio::test]
async fn scratch() {
    let Ok(path) = std::env::var("SCRATCH") else {
        return;
    };
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(siji_query::Limits {
        max_sql_tokens: 1 << 30,
        max_sql_bytes: 1 << 30,
        memory_bytes: 1 << 30,
        deadline: std::time::Duration::from_secs(
            std::env::var("DEADLINE").map_or(60, |d| d.parse().unwrap()),
        ),
        ..Default::default()
    });
    for sql in std::fs::read_to_string(path).unwrap().split(";;\n") {
        let t = Instant::now();
        let got = crate::lake::rows(&engine, sql).await;
        let took = t.elapsed();
        match got {
            Ok(rows) => println!(
                "{:>10.1?} ok {} rows {:.300}  <- {:.50}",
                took,
                rows.len(),
                rows.first().map(|r| r.to_string()).unwrap_or_default(),
                sql
            ),
            Err(e) => println!("{:>10.1?} ERR {} {:.300} <- {:.50}", took, e.code(), e, sql),
        }
        if std::env::var("SHOW").is_ok() {
            if let Ok(rows) = crate::lake::rows(&engine, sql).await {
                for r in rows {
                    println!("{}", r);
                }
            }
        }
    }
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmHWM"))
            .collect::<String>()
    );
    std::process::exit(0);
}
