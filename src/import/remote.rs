//! Importing through a collector's HTTP door.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use siji_collector::import::{Outcome, Row, RowRefusal};
use siji_schemas::Code;
use url::Url;

use super::Job;
use super::books::{Books, Fate};
use super::reader::{self, Read};
use crate::failure::Failure;

/// A row with the bodies of its events, or why it has none.
type Mapped = (Row, Result<Vec<Vec<u8>>, RowRefusal>);

/// Events of a request at most, and bytes.
const REQUEST_EVENTS: usize = 1000;
const REQUEST_BYTES: usize = 2 << 20;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// First and longest pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so long a collector is asked again, however long it wants us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How often is shown how long it still takes.
const TICK: Duration = Duration::from_secs(1);

/// A collector's HTTP door.
#[derive(Debug, Clone)]
pub struct Door {
    client: reqwest::Client,
    url: Url,
    /// The same as it may be repeated.
    shown: String,
    authorization: Option<HeaderValue>,
    /// How long to go on trying where the collector does not take anything now; `None` = as long as it takes.
    patience: Option<Duration>,
    /// Where is shown that it waits.
    bar: ProgressBar,
}

/// The collector's answer.
#[derive(Debug, Default, Deserialize)]
pub struct Answer {
    /// Events it refused.
    #[serde(default)]
    pub rejected: Vec<Rejected>,
}

/// One of them.
#[derive(Debug, Deserialize)]
pub struct Rejected {
    pub index: usize,
    code: String,
    #[serde(default)]
    field: Option<String>,
    reason: String,
}

/// Why a request was not taken.
enum Refused {
    /// The token's rate is used up for so long.
    TooFast(Duration, String),
    /// Trying again may help, after so long.
    Later(Duration, String),
    /// Fewer events at a time may help.
    TooLarge(String),
    Never(Failure),
}

impl Door {
    /// The door of the collector at `url`.
    pub fn new(
        url: &Url,
        token: Option<String>,
        patience: Option<Duration>,
    ) -> Result<Door, Failure> {
        let bad = || {
            let shown = shown(url);
            Failure::usage(format!("--collector {shown}: expected http://host:port"))
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        let mut events = url.clone();
        events.set_query(None);
        events
            .path_segments_mut()
            .map_err(|()| bad())?
            .pop_if_empty()
            .extend(["v1", "events"]);
        let authorization = token.as_deref().map(bearer).transpose()?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(Door {
            client,
            shown: shown(&events),
            url: events,
            authorization,
            patience,
            bar: ProgressBar::hidden(),
        })
    }

    /// Sends rows, each with its events; returns what became of each, in their order.
    pub async fn send(&self, rows: &[&[Vec<u8>]]) -> Result<Vec<Fate>, Failure> {
        let mut fates = Vec::with_capacity(rows.len());
        let mut parts = vec![rows];
        // Halves of what was too large come first.
        while let Some(part) = parts.pop() {
            match self.send_at_once(part).await? {
                Ok(more) => fates.extend(more),
                Err(why) if part.len() == 1 => fates.push(Fate::Refused(RowRefusal {
                    code: Code::V01.as_str(),
                    field: String::new(),
                    reason: format!("too large for the collector: {why}"),
                })),
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second);
                    parts.push(first);
                }
            }
        }
        Ok(fates)
    }

    /// Sends rows in one request. The inner error: they are too many.
    async fn send_at_once(
        &self,
        rows: &[&[Vec<u8>]],
    ) -> Result<Result<Vec<Fate>, String>, Failure> {
        let mut body = Vec::new();
        let mut owners = Vec::new();
        for (at, events) in rows.iter().enumerate() {
            for event in events.iter() {
                body.extend_from_slice(event);
                body.push(b'\n');
                owners.push(at);
            }
        }
        let body = bytes::Bytes::from(body);
        let mut began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let answer = loop {
            match self.post(body.clone()).await {
                Ok(answer) => break answer,
                Err(Refused::TooLarge(why)) => return Ok(Err(why)),
                Err(Refused::Never(failure)) => return Err(failure),
                Err(Refused::TooFast(wait, why)) => {
                    self.wait_for_rate(wait, &why).await;
                    // A collector that says when to come again is at work, however low the rate is.
                    (began, pause) = (Instant::now(), FIRST_PAUSE);
                }
                Err(Refused::Later(at_least, why)) => {
                    let wait = pause.max(at_least);
                    if self
                        .patience
                        .is_some_and(|most| began.elapsed() + wait > most)
                    {
                        let url = &self.shown;
                        return Err(Failure::new(format!(
                            "{url}: {why}; run the import again when it works, what was sent already counts once"
                        )));
                    }
                    tracing::warn!(collector = %self.shown, reason = why, wait_s = wait.as_secs_f32(), "the collector takes nothing now");
                    tokio::time::sleep(wait).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        let mut fates = vec![Fate::Sent; rows.len()];
        for rejected in answer.rejected {
            let owner = owners.get(rejected.index).and_then(|at| fates.get_mut(*at));
            if let Some(fate) = owner.filter(|fate| **fate == Fate::Sent) {
                *fate = Fate::Refused(RowRefusal {
                    code: Code::parse(&rejected.code).map_or("", Code::as_str),
                    field: rejected.field.unwrap_or_default(),
                    reason: rejected.reason,
                });
            }
        }
        Ok(Ok(fates))
    }

    /// Waits as long as the collector says, and shows it: on the progress bar, or in the log where there is none.
    async fn wait_for_rate(&self, wait: Duration, why: &str) {
        if self.bar.is_hidden() {
            tracing::warn!(collector = %self.shown, reason = why, wait_s = wait.as_secs(), "waiting for the token's rate");
        }
        let began = Instant::now();
        while let Some(left) = wait
            .checked_sub(began.elapsed())
            .filter(|left| !left.is_zero())
        {
            let seconds = left.as_secs_f64().ceil();
            self.bar
                .set_message(format!("waiting {seconds} s for the token's rate"));
            tokio::time::sleep(left.min(TICK)).await;
        }
    }

    async fn post(&self, body: bytes::Bytes) -> Result<Answer, Refused> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let soon = Duration::from_secs(1);
        let unreached = |error: reqwest::Error| {
            let failure = Failure::from(error.without_url());
            Refused::Later(soon, failure.message().to_owned())
        };
        let response = request.send().await.map_err(unreached)?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
        let wait = wait.map(|seconds| Duration::from_secs(seconds).clamp(soon, LONGEST_WAIT));
        let bytes = response.bytes().await.map_err(unreached)?;
        match status {
            StatusCode::ACCEPTED | StatusCode::UNPROCESSABLE_ENTITY => {
                serde_json::from_slice(&bytes).map_err(|_| {
                    self.never(&format!(
                        "answered {status} without a report: is this a collector?"
                    ))
                })
            }
            _ => {
                let problem: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
                let detail = problem
                    .as_ref()
                    .and_then(|problem| problem.get("detail")?.as_str());
                let why = format!(
                    "answered {status}{}",
                    detail.map_or(String::new(), |detail| format!(": {detail}"))
                );
                Err(match (status, wait) {
                    (StatusCode::PAYLOAD_TOO_LARGE, _) => Refused::TooLarge(why),
                    (StatusCode::TOO_MANY_REQUESTS, Some(wait)) => Refused::TooFast(wait, why),
                    (
                        StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::GATEWAY_TIMEOUT
                        | StatusCode::INTERNAL_SERVER_ERROR
                        | StatusCode::REQUEST_TIMEOUT,
                        wait,
                    ) => Refused::Later(wait.unwrap_or(soon), why),
                    (StatusCode::UNAUTHORIZED, _) => {
                        self.never(&format!("{why}; give a token by --token or SIJI_TOKEN"))
                    }
                    _ => self.never(&why),
                })
            }
        }
    }

    fn never(&self, why: &str) -> Refused {
        Refused::Never(Failure::new(format!("{}: {why}", self.shown)))
    }
}

/// A collector as it may be repeated: name, password and parameters stay with the one who gave them.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return "URL".to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// A token as a request says it.
fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        Failure::usage(
            "the token (--token or SIJI_TOKEN) cannot be sent: it holds a line break or another control character",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends all rows; each is booked when the collector has answered.
pub async fn run(
    job: &Job,
    door: &Door,
    books: &mut Books,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let door = &Door {
        bar: bar.clone(),
        ..door.clone()
    };
    let mut reading = reader::start(job);
    let mut before = 0;
    while let Some(read) = reading.recv().await {
        match read? {
            Read::Begin { file, header } => {
                before = bar.position();
                books.begin(file, header.as_deref());
            }
            Read::Rows {
                file,
                rows,
                progress: (done, _),
            } => {
                send_rows(door, books, file, rows).await?;
                bar.set_position(before + done);
                bar.set_message(format!("{} rows sent", books.total().sent));
            }
            Read::End { file } => books.end(file)?,
        }
    }
    Ok(())
}

/// Sends the rows of a batch in requests of a good size and books all of them, in their order.
pub async fn send_rows(
    door: &Door,
    books: &mut Books,
    file: usize,
    rows: Vec<(Row, Outcome)>,
) -> Result<(), Failure> {
    let mut request: Vec<Mapped> = Vec::new();
    let (mut events, mut bytes) = (0, 0);
    for (row, outcome) in rows {
        let made = match outcome {
            Outcome::Skipped => {
                books.skip(file);
                continue;
            }
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Made(made) => Ok(made.into_iter().map(|made| made.json).collect::<Vec<_>>()),
        };
        let lengths = made.iter().flatten().map(Vec::len);
        events += lengths.clone().count();
        bytes += lengths.sum::<usize>();
        request.push((row, made));
        if events >= REQUEST_EVENTS || bytes >= REQUEST_BYTES {
            send_request(door, books, file, std::mem::take(&mut request)).await?;
            (events, bytes) = (0, 0);
        }
    }
    send_request(door, books, file, request).await
}

async fn send_request(
    door: &Door,
    books: &mut Books,
    file: usize,
    rows: Vec<Mapped>,
) -> Result<(), Failure> {
    let good: Vec<&[Vec<u8>]> = rows
        .iter()
        .filter_map(|(_, made)| made.as_deref().ok())
        .collect();
    let fates = if good.is_empty() {
        Vec::new()
    } else {
        door.send(&good).await?
    };
    let mut fates = fates.into_iter();
    for (row, made) in &rows {
        let (events, fate) = match made {
            Ok(events) => (events.len() as u64, fates.next().unwrap_or(Fate::Sent)),
            Err(refusal) => (0, Fate::Refused(refusal.clone())),
        };
        books.settle(file, row, events, &fate)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
