//! Files that are dropped into a directory, or grow in it, reach the ledger once, through restarts.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Role, Site, TOKEN, wait_for};

const MAPPING: &str = r#"
[time]
zone = "Asia/Shanghai"
[ids]
namespace = "desk"
columns = ["no"]
[[event]]
type = "visit.made"
[event.set]
occurred_at = "{when}"
area_code = "330502001005"
subject_id = "{no}"
minutes = "{minutes}"
"#;

const HEADER: &str = "no,when,minutes\n";

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers
        .map(|n| format!("v-{n},2026-03-02 09:30,{}\n", n % 50))
        .collect()
}

fn append(file: &Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn follow(site: &Site, drop: &Path) -> Role {
    let mapping = site.path("map.toml");
    std::fs::write(&mapping, MAPPING).unwrap();
    let mut command: Command = site.command("collect");
    command
        .args([
            "--settled",
            "3",
            "--every",
            "1",
            "--token",
            TOKEN,
            "--collector",
        ])
        .arg(site.collector_url(""))
        .arg("--mapping")
        .arg(mapping)
        .arg("--state")
        .arg(site.path("state"))
        .arg("--follow")
        .arg(drop);
    let mut role = Role::start("collect", site.directory.path(), command);
    role.wait_for_log("following");
    role
}

fn visits(site: &Site) -> (i64, i64) {
    let of = |disposition: &str| {
        site.number(&format!(
            "SELECT count(*) AS n FROM ledger WHERE disposition = '{disposition}' AND event_type = 'visit.made'"
        ))
    };
    (of("accepted"), of("duplicate"))
}

fn wait_for_visits(site: &Site, accepted: i64) {
    wait_for(&format!("{accepted} visits"), || {
        (visits(site).0 >= accepted).then_some(())
    });
}

#[test]
fn what_is_dropped_grows_or_is_rotated_arrives_once_through_restarts() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let drop: PathBuf = site.path("drop");
    std::fs::create_dir(&drop).unwrap();
    let log = drop.join("log.csv");
    append(&log, &format!("{HEADER}{}", lines(0..700)));
    let role = follow(&site, &drop);
    wait_for_visits(&site, 700);

    // Half a line waits for its other half.
    append(&log, "v-700,2026-03-02 09:30,1");
    std::thread::sleep(Duration::from_millis(300));
    append(&log, "1\n");
    wait_for_visits(&site, 701);
    let (code, took) = role.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");

    // Meanwhile the log grows and is rotated, and another file is dropped with a row that is wrong.
    append(&log, &lines(701..900));
    std::fs::rename(&log, drop.join("log.csv.1")).unwrap();
    append(&log, &format!("{HEADER}{}", lines(900..1000)));
    append(
        &drop.join("other.csv"),
        &format!("{HEADER}x-1,2026-03-02 09:30,5\nx-2,never,5\n"),
    );
    let role = follow(&site, &drop);
    wait_for_visits(&site, 1001);
    let rejects = drop.join("other.csv.rejects.csv");
    wait_for("the rejects file", || rejects.exists().then_some(()));
    let text = std::fs::read_to_string(rejects).unwrap();
    assert!(text.contains("3,M04,occurred_at,"), "{text}");
    std::thread::sleep(Duration::from_secs(3));
    let (accepted, duplicate) = visits(&site);
    assert_eq!(
        (accepted, duplicate),
        (1001, 0),
        "nothing is sent again that was sent"
    );
    let minutes = site.number("SELECT minutes AS n FROM events WHERE subject_id = 'v-700'");
    assert_eq!(minutes, 11, "the line was taken as a whole");
    role.terminate();
}
