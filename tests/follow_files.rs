//! Files that are dropped into a directory, grow in it or are written anew reach the ledger once, through restarts.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Role, Site, TOKEN, free_port, siji, wait_for};

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

#[test]
fn a_file_that_is_written_anew_under_its_name_is_read_from_its_beginning() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let drop: PathBuf = site.path("drop");
    std::fs::create_dir(&drop).unwrap();
    let log = drop.join("log.csv");
    append(&log, &format!("{HEADER}{}", lines(0..60)));
    let role = follow(&site, &drop);
    wait_for_visits(&site, 60);
    let anew = "does not stand in it any more";

    // Exported again: longer, with a row inserted far behind the beginning.
    let rows = [lines(0..50), lines(1000..1001), lines(50..80)].concat();
    let (text, again) = (format!("{HEADER}{rows}"), site.path("again.csv"));
    append(&again, &text);
    std::fs::rename(&again, &log).unwrap();
    wait_for("all 80 visits and the one that was inserted", || {
        (visits(&site) == (81, 60)).then_some(())
    });
    assert_eq!(role.log().matches(anew).count(), 1, "{}", role.log());

    // Written over, and as long as before.
    std::fs::write(&log, text.replace("v-45,", "w-45,")).unwrap();
    wait_for_visits(&site, 82);
    assert_eq!(role.log().matches(anew).count(), 2, "{}", role.log());
    let (code, _) = role.terminate();
    assert_eq!(code, Some(0));

    // And once more while nobody looks.
    std::fs::write(&log, text.replace("v-45,", "x-45,")).unwrap();
    let role = follow(&site, &drop);
    wait_for_visits(&site, 83);
    assert_eq!(role.log().matches(anew).count(), 1, "{}", role.log());
    assert!(!drop.join("log.csv.rejects.csv").exists(), "no row was cut");
    role.terminate();
}

#[test]
fn what_is_not_there_yet_is_waited_for_and_a_link_out_of_it_is_left_alone() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let drop: PathBuf = site.path("drop");
    let mut role = follow(&site, &drop);
    let nothing = "there is nothing to follow now";
    role.wait_for_log(nothing);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(role.log().matches(nothing).count(), 1, "{}", role.log());

    let elsewhere = site.path("elsewhere.csv");
    append(&elsewhere, &format!("{HEADER}{}", lines(500..510)));
    std::fs::create_dir(&drop).unwrap();
    std::os::unix::fs::symlink(&elsewhere, drop.join("link.csv")).unwrap();
    append(&drop.join("log.csv"), &format!("{HEADER}{}", lines(0..10)));
    wait_for_visits(&site, 10);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(visits(&site), (10, 0));
    let out = "leads out of the followed directory";
    assert_eq!(role.log().matches(out).count(), 1, "{}", role.log());
    role.terminate();
}

/// `siji collect` on a directory with one file, and no collector at `url`.
fn collect(directory: &Path, url: &str) -> Command {
    let mapping = directory.join("map.toml");
    std::fs::write(&mapping, MAPPING).unwrap();
    let log = directory.join("log.csv");
    std::fs::write(&log, format!("{HEADER}{}", lines(0..1))).unwrap();
    let mut command = siji();
    command
        .args(["collect", "--cities", "huzhou", "--collector", url])
        .arg("--mapping")
        .arg(mapping)
        .arg("--state")
        .arg(directory.join("state"))
        .arg("--follow")
        .arg(log);
    command
}

#[test]
fn what_cannot_work_is_refused_before_a_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |token: &str, rejects: &Path| {
        let output = collect(directory.path(), "http://127.0.0.1:9")
            .args(["--token", token, "--rejects"])
            .arg(rejects)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    };
    let said = refused(TOKEN, &directory.path().join("nope"));
    assert!(said.contains("nope: is no directory"), "{said}");
    let said = refused("secret\ntoken", directory.path());
    assert!(said.contains("SIJI_TOKEN"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn the_name_and_password_of_a_collector_do_not_stand_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("http://anna:secret@127.0.0.1:{}", free_port());
    let command = collect(directory.path(), &url);
    let mut role = Role::start("collect", directory.path(), command);
    role.wait_for_log("the collector takes nothing now");
    let log = role.log();
    assert!(!log.contains("anna") && !log.contains("secret"), "{log}");
    role.terminate();
}
