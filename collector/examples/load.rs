use serde_json::json;
use siji_schemas::area::{AreaSource, AreaTree, Zone};
use siji_schemas::catalogue::{Catalogue, CatalogueSource};
use siji_schemas::validate::Reference;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "server" => server(&args[2]).await,
        _ => {
            client(
                &args[2],
                args[3].parse().unwrap(),
                args[4].parse().unwrap(),
                args[5].parse().unwrap(),
            )
            .await
        }
    }
}

async fn server(dir: &str) {
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    cluster.create_topic("siji.events", 12, 1).unwrap();
    let areas = AreaTree::load(&AreaSource::builtin(["huzhou"])).unwrap();
    let reference = Arc::new(Reference::new(
        areas,
        Catalogue::load(&CatalogueSource::Builtin).unwrap(),
        Zone::CHINA,
    ));
    let mut config: siji_collector::CollectorConfig = serde_json::from_value(json!({
        "listen": "127.0.0.1:18471", "source_id": "bench", "area": "3305", "data_dir": dir,
        "pseudonym_key": "0f".repeat(32),
        "tokens": [{"name":"t","sha256": siji_collector::hash_token("t"), "areas": ["3305"], "max_events_per_second": 10000000}],
        "kafka": {"brokers": cluster.bootstrap_servers()}
    })).unwrap();
    if std::env::var("NOSHIP").is_ok() {
        config.kafka.brokers = "127.0.0.1:1".into();
    }
    let collector = siji_collector::start(config, reference, axum::Router::new())
        .await
        .unwrap();
    println!("up {:?}", collector.local_addr());
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let g = collector.spool().gauges();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let rss = status
            .lines()
            .find(|l| l.starts_with("VmRSS"))
            .unwrap()
            .to_owned();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let f: Vec<&str> = stat.split(' ').collect();
        println!(
            "depth {} commits {} next {} {} cpu {:?}",
            g.depth,
            g.commits,
            g.next,
            rss,
            (f[13], f[14])
        );
    }
}

async fn client(url: &str, clients: usize, batch: usize, seconds: u64) {
    let done = Arc::new(AtomicU64::new(0));
    let lat = Arc::new(std::sync::Mutex::new(Vec::<u32>::new()));
    let client = reqwest::Client::new();
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients).map(|c| {
        let (client, url, done, lat) = (client.clone(), url.to_owned(), done.clone(), lat.clone());
        tokio::spawn(async move {
            let mut n = 0u64;
            while start.elapsed() < Duration::from_secs(seconds) {
                let now = now_ms() - 60000;
                let body: Vec<String> = (0..batch).map(|_| { n += 1; format!(
                    r#"{{"event_id":"0190a7e0-{:04x}-7000-8000-{:012x}","event_type":"case.opened","occurred_at":{now},"area_code":"330502001005","subject_kind":"case","subject_id":"case-{c}-{n}","case_kind":"request","channel":"hotline","service_code":"elder.meals","resident":{{"kind":"phone","id":"138{:08}"}},"attrs":{{"line":"12345","urgency":"normal"}}}}"#,
                    c, n, n % 100000000) }).collect();
                let body = if batch == 1 { body[0].clone() } else { format!("[{}]", body.join(",")) };
                let t = Instant::now();
                let r = client.post(&url).bearer_auth("t").header("content-type", "application/json").body(body).send().await.unwrap();
                if r.status() != 202 { println!("{} {}", r.status(), r.text().await.unwrap()); tokio::time::sleep(Duration::from_millis(500)).await; continue }
                r.bytes().await.unwrap();
                lat.lock().unwrap().push(t.elapsed().as_micros() as u32);
                done.fetch_add(batch as u64, Ordering::Relaxed);
            }
        })
    }).collect();
    for t in tasks {
        t.await.unwrap();
    }
    let mut l = lat.lock().unwrap().clone();
    l.sort();
    println!(
        "{} events/s, {} requests, p50 {} us p99 {} us",
        done.load(Ordering::Relaxed) / seconds,
        l.len(),
        l[l.len() / 2],
        l[l.len() * 99 / 100]
    );
}
