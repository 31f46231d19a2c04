//! `siji demo`

use std::fmt::Write;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use siji_aggregator::Health;
use siji_aggregator::config::StartAt;
use siji_collector::Intake;
use siji_lake::{Lake, LakeLocation};
use siji_schemas::Event;
use siji_schemas::validate::Reference;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{self, Output};
use crate::commands::{server, token};
use crate::demo::city::DemoCity;
use crate::demo::districts::{self, Beside};
use crate::demo::generate::{Generator, GeneratorConfig};
use crate::demo::outcome::{Expected, Outcome};
use crate::demo::site::{Plan, Site};
use crate::demo::totals::Totals;
use crate::demo::{city, feed, published};
use crate::failure::{DIFFERENCE, DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;
use crate::verify;

mod progress;

use progress::{bar, bars, wait_for};

/// How long answers in hand may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A wish to stop, whenever in the run it comes.
type Requested<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

/// Stands in the data directory from before the first event is sent until all are accounted for.
const UNDER_WAY: &str = "demo.under-way";

pub async fn run(args: cli::Demo, mut settings: Settings) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let requested = shutdown::requested()?;
    tokio::pin!(requested);
    let mut requested: Requested<'_> = requested;
    let chosen = city::find(&args.city).ok_or_else(|| {
        let names: Vec<&str> = city::CITIES.iter().map(|city| city.name).collect();
        Failure::usage(format!(
            "no city `{}`; there are {}",
            args.city,
            names.join(", ")
        ))
    })?;
    settings.reference.cities = vec![chosen.name.to_owned()];
    let reference = Arc::new(settings.load_reference()?);
    let data_dir = match &args.data_dir {
        Some(directory) => std::path::absolute(directory)?,
        // Stays after the run: its lake is what the account is about.
        None => tempfile::Builder::new()
            .prefix("siji-demo-")
            .tempdir()?
            .keep(),
    };
    let under_way = data_dir.join(UNDER_WAY);
    if under_way.exists() {
        return Err(Failure::usage(format!(
            "the last demo in {} was interrupted, so what it had sent would be counted as this one's: remove the \
             directory or name another with --data-dir",
            data_dir.display()
        )));
    }
    let first_run = !data_dir
        .join("lake")
        .join(siji_lake::location::MARKER)
        .exists();

    let figures = published::published(chosen.root);
    // `--events` is all that is sent: the published figures and each collector's first sign of life are part of it.
    let config = GeneratorConfig {
        seed: args.seed,
        ..GeneratorConfig::default()
    };
    let probe = Generator::new(
        &GeneratorConfig {
            events: 0,
            ..config.clone()
        },
        &reference.areas,
        &reference.catalogue,
        chosen.root,
    )?;
    let heartbeats = probe.sources().len() as u64;
    let events = args
        .events
        .saturating_sub(figures.len() as u64 + heartbeats);
    let generator = Generator::new(
        &GeneratorConfig { events, ..config },
        &reference.areas,
        &reference.catalogue,
        chosen.root,
    )?;

    let access = (!args.exit).then(token::draw);
    let plan = Plan {
        data_dir: &data_dir,
        brokers: args.brokers.clone(),
        kafka: siji_aggregator::config::KafkaConfig {
            topic: args.topic.clone(),
            ..settings.kafka.clone()
        },
        // On a Kafka that holds other events already, the demo takes only its own.
        aggregator: siji_aggregator::AggregatorConfig {
            start: StartAt::Latest,
            ..settings.aggregator.clone()
        },
        reference: Arc::clone(&reference),
        sources: generator.sources(),
        heartbeat_seconds: 86_400,
        collector: siji_collector::CollectorConfig::default(),
        door: access
            .clone()
            .map(|token| (token, settings.collector.listen.clone())),
    };
    // Before anything runs: a collector's first sign of life may be in the lake before anybody can look.
    let before = match first_run {
        true => Totals::default(),
        false => {
            let location = data_dir.join("lake").display().to_string();
            let location = siji_lake::LakeLocation::parse(&location, Default::default())?;
            Totals::read(&Lake::open(&location).await?, &settings.server.limits()).await?
        }
    };
    std::fs::create_dir_all(&data_dir)
        .map_err(|error| Failure::new(format!("{}: {error}", data_dir.display())))?;
    std::fs::write(&under_way, "")?;
    let mut site = tokio::select! {
        started = Site::start(plan) => started?,
        () = &mut requested => return Err(interrupted()),
    };
    // Whatever happens from here on, everything started is stopped in order.
    let shown = Shown {
        args: &args,
        settings: &settings,
        began,
        chosen,
        data_dir: &data_dir,
        first_run,
        before: &before,
    };
    let parts = Parts {
        intakes: site.intakes(),
        health: site.aggregator().health(),
        lake: site.lake.clone(),
    };
    let account = shown.account(parts, &reference, generator, figures);
    let done = tokio::select! {
        done = account => done,
        failure = site.broken() => Err(failure),
        () = &mut requested => Err(interrupted()),
    };
    if done.is_ok() {
        std::fs::remove_file(&under_way)?;
    }
    let stayed = match (&done, args.exit) {
        (Ok(_), false) => stay(&mut site, &args, &settings, access.as_deref(), requested).await,
        _ => Ok(()),
    };
    let stopped = site.stop(shutdown::DEADLINE - LAST_ANSWERS).await;
    let ok = done?;
    stayed?;
    stopped?;
    Ok(ExitCode::from(if ok { DONE } else { DIFFERENCE }))
}

/// The demo was asked to stop before it was done, or signals cannot be listened to.
fn interrupted() -> Failure {
    Failure::new("interrupted before everything was in the lake and verified")
}

/// The parts of a site that are worked with.
struct Parts {
    intakes: Vec<Arc<Intake>>,
    health: Arc<Health>,
    lake: LakeLocation,
}

/// What the account of a demo needs to know.
struct Shown<'a> {
    args: &'a cli::Demo,
    settings: &'a Settings,
    began: Instant,
    chosen: DemoCity,
    data_dir: &'a Path,
    first_run: bool,
    /// What the lake held before.
    before: &'a Totals,
}

impl Shown<'_> {
    /// Sends everything, waits until it is in the lake, audits the lake and prints the account. False: it does not add up.
    async fn account(
        &self,
        parts: Parts,
        reference: &Reference,
        generator: Generator,
        figures: Vec<Event>,
    ) -> Result<bool, Failure> {
        let limits = self.settings.server.limits();
        let lake = Lake::open(&parts.lake).await?;
        let heartbeats = generator.sources().len() as u64;
        let published = figures.len() as u64;
        let beside = self.beside(reference, &generator, &figures);
        let total = generator.size_hint().0 as u64 + published;
        let bars = bars(self.args.output);
        let (sending, landing) = (
            bar(&bars, "sent", total),
            bar(&bars, "in the lake", total + heartbeats),
        );
        let feeding = feed::send(
            generator,
            figures,
            &parts.intakes,
            &reference.areas,
            sending.clone(),
        );
        let progress = parts.health.progress();
        let landed = wait_for(progress, total + heartbeats, landing.clone());
        let (generator, taken) = tokio::try_join!(feeding, landed)?;
        sending.finish_and_clear();
        landing.finish_and_clear();
        let came = Totals::read(&lake, &limits).await?.since(self.before);
        let generated = generator.expected();
        let outcome = Outcome {
            city: self.chosen.name,
            seed: self.args.seed,
            districts: districts::account(&generated, &beside, &came.districts),
            expected: Expected {
                generated,
                published,
                heartbeats,
                first_run: self.first_run,
            },
            taken,
            tiers: came.tiers,
            verify: verify::verify(&lake, &limits, &reference.catalogue).await?,
            lake: self.data_dir.join("lake").display().to_string(),
            elapsed_s: self.began.elapsed().as_secs_f64(),
        };
        match self.args.output {
            Output::Json => super::print_json(&outcome.to_json())?,
            Output::Text => super::print(format!(
                "{} {}\n\n{}",
                self.chosen.name,
                self.chosen.zh,
                outcome.to_text()
            ))?,
        }
        Ok(outcome.ok())
    }

    /// Where the published figures and the collectors' first signs of life belong.
    fn beside(
        &self,
        reference: &Reference,
        generator: &Generator,
        figures: &[Event],
    ) -> Vec<Beside> {
        let today = reference.zone.day_of(chrono::Utc::now().timestamp_millis());
        let figures = figures.iter().filter_map(|figure| {
            let day = reference.zone.day_of(figure.occurred_at?);
            Beside::at(&reference.areas, figure.area_code.as_deref()?, day)
        });
        let sources = generator.sources().iter();
        let heartbeats =
            sources.filter_map(|source| Beside::at(&reference.areas, source.areas.first()?, today));
        figures.chain(heartbeats).collect()
    }
}

/// Serves SQL until somebody stops it.
async fn stay(
    site: &mut Site,
    args: &cli::Demo,
    settings: &Settings,
    token: Option<&str>,
    requested: Requested<'_>,
) -> Result<(), Failure> {
    let engine = server::engine(
        settings,
        site.lake
            .url
            .to_file_path()
            .ok()
            .as_deref()
            .and_then(std::path::Path::to_str),
    )
    .await?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let serving = server::serve(listener, engine, settings, stop.clone())?;
    tokio::pin!(serving);
    if args.output == Output::Text {
        super::print(addresses(site, address, token)?)?;
    }
    let ended = tokio::select! {
        () = requested => Ok(()),
        failure = site.broken() => Err(failure),
        ended = &mut serving => {
            ended?;
            return Err(Failure::new("the query server ended by itself"));
        }
    };
    stop.cancel();
    match tokio::time::timeout(LAST_ANSWERS, &mut serving).await {
        Ok(served) => served?,
        Err(_) => tracing::warn!("queries were still running and are cut off"),
    }
    ended
}

/// Where everything is.
fn addresses(
    site: &Site,
    address: std::net::SocketAddr,
    token: Option<&str>,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "\nsql          http://{address}/v1/sql?q=SELECT+*+FROM+sources"
    )?;
    writeln!(text, "tables       http://{address}/v1/tables")?;
    writeln!(text, "metrics      http://{address}/metrics")?;
    writeln!(text, "kafka        {}", site.brokers)?;
    let door = site.collectors().first().and_then(|c| c.local_addr());
    if let (Some(token), Some(collector)) = (token, door) {
        writeln!(
            text,
            "send         curl -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d @event.json http://{collector}/v1/events"
        )?;
    }
    writeln!(text, "Ctrl-C ends it")?;
    Ok(text)
}
