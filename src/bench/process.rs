//! Roles as processes of their own, and what they use.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// A role that is not ready by then will not be.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A role as a child process. Ended when dropped.
pub struct Process(Child);

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Seconds on a core.
    pub cpu_s: f64,
    /// Largest resident set, in kB.
    pub peak_rss_kb: u64,
    /// Resident set now, in kB.
    pub rss_kb: u64,
}

impl Process {
    /// A child that was started elsewhere.
    pub fn of(child: Child) -> Process {
        Process(child)
    }

    /// Starts a role of this binary with a configuration file and waits until `url` answers.
    pub async fn role(name: &str, config: &Path, url: &str) -> Result<Process, Failure> {
        let child = Command::new(std::env::current_exe()?)
            .arg(name)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut process = Process(child);
        let began = Instant::now();
        let client = reqwest::Client::new();
        loop {
            process.still_runs(name)?;
            let answer = client.get(url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(process);
            }
            if began.elapsed() > READY_WITHIN {
                return Err(Failure::new(format!(
                    "the {name} does not answer at {url} after {} s",
                    READY_WITHIN.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Fails if it has ended.
    pub fn still_runs(&mut self, name: &str) -> Result<(), Failure> {
        match self.0.try_wait()? {
            Some(status) => Err(Failure::new(format!("the {name} ended with {status}"))),
            None => Ok(()),
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, Failure> {
        usage_of(self.0.id())
    }
}

/// What a process has used so far.
pub fn usage_of(process: u32) -> Result<Usage, Failure> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}"));
    let stat = read("stat")?;
    // After the command's name, in parentheses, utime and stime are the 12th and 13th field, in 1/100 s.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let status = read("status")?;
    let kb = |name: &str| {
        status.lines().find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
    };
    Ok(Usage {
        cpu_s: (ticks(11) + ticks(12)) / 100.0,
        peak_rss_kb: kb("VmHWM:").unwrap_or(0),
        rss_kb: kb("VmRSS:").unwrap_or(0),
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            tracing::warn!(%error, "could not end a process");
        }
    }
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A figure with as many digits as it is good for.
pub fn round(value: f64, unit: f64) -> f64 {
    (value * unit).round() / unit
}

/// The cores this ran on.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("unknown");
    format!("{cpus} x {model}")
}
