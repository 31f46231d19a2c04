//! `siji demo`

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use siji_aggregator::config::StartAt;
use siji_lake::Lake;
use siji_schemas::Event;
use siji_schemas::validate::Reference;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{self, Output};
use crate::commands::{server, token};
use crate::demo::city::DemoCity;
use crate::demo::generate::{Generator, GeneratorConfig};
use crate::demo::outcome::{Expected, Outcome, tier_totals};
use crate::demo::site::{Plan, Site};
use crate::demo::{city, feed, published};
use crate::failure::{DIFFERENCE, DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;
use crate::verify;

/// Without a commit for so long the demo is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(120);

pub async fn run(args: cli::Demo, mut settings: Settings) -> Result<ExitCode, Failure> {
    let began = Instant::now();
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
        door: access
            .clone()
            .map(|token| (token, settings.collector.listen.clone())),
    };
    let mut site = Site::start(plan).await?;
    // Whatever happens from here on, everything started is stopped in order.
    let shown = Shown {
        args: &args,
        settings: &settings,
        began,
        chosen,
        data_dir: &data_dir,
        first_run,
    };
    let done = shown
        .account(
            &mut site, &reference, generator, figures, events, heartbeats,
        )
        .await;
    let stayed = match (&done, args.exit) {
        (Ok(_), false) => stay(&mut site, &args, &settings, access.as_deref()).await,
        _ => Ok(()),
    };
    let stopped = site.stop(shutdown::DEADLINE).await;
    let ok = done?;
    stayed?;
    stopped?;
    Ok(ExitCode::from(if ok { DONE } else { DIFFERENCE }))
}

/// What the account of a demo needs to know.
struct Shown<'a> {
    args: &'a cli::Demo,
    settings: &'a Settings,
    began: Instant,
    chosen: DemoCity,
    data_dir: &'a Path,
    first_run: bool,
}

impl Shown<'_> {
    /// Sends everything, waits until it is in the lake, audits the lake and prints the account. False: it does not add up.
    async fn account(
        &self,
        site: &mut Site,
        reference: &Reference,
        generator: Generator,
        figures: Vec<Event>,
        events: u64,
        heartbeats: u64,
    ) -> Result<bool, Failure> {
        let limits = self.settings.server.limits();
        let lake = Lake::open(&site.lake).await?;
        let before = tier_totals(&lake, &limits).await?;
        let published = figures.len() as u64;
        let total = events + published;
        let bars = bars(self.args.output);
        let (sending, landing) = (
            bar(&bars, "sent", total),
            bar(&bars, "in the lake", total + heartbeats),
        );
        let health = site.aggregator().health();
        let work = async {
            let feeding = feed::send(
                generator,
                figures,
                site.collectors(),
                &reference.areas,
                sending.clone(),
            );
            let landed = wait_for(health.progress(), total + heartbeats, landing.clone());
            tokio::try_join!(feeding, landed)
        };
        let (generator, taken) = tokio::select! {
            done = work => done?,
            requested = shutdown::requested() => {
                requested?;
                return Err(Failure::new("interrupted before everything was in the lake"));
            }
        };
        sending.finish_and_clear();
        landing.finish_and_clear();
        let mut tiers = tier_totals(&lake, &limits).await?;
        for (tier, total) in &mut tiers {
            *total -= before.get(tier).copied().unwrap_or(0);
        }
        let outcome = Outcome {
            city: self.chosen.name,
            seed: self.args.seed,
            expected: Expected {
                generated: generator.expected(),
                published,
                heartbeats,
                first_run: self.first_run,
            },
            taken,
            tiers,
            verify: verify::verify(&lake, &limits, &reference.catalogue).await?,
            lake: self.data_dir.join("lake").display().to_string(),
            elapsed_s: self.began.elapsed().as_secs_f64(),
        };
        match self.args.output {
            Output::Json => super::print_json(&outcome.to_json())?,
            Output::Text => {
                println!("{} {}\n", self.chosen.name, self.chosen.zh);
                print!("{}", outcome.to_text());
            }
        }
        Ok(outcome.ok())
    }
}

/// Serves SQL until somebody stops it.
async fn stay(
    site: &mut Site,
    args: &cli::Demo,
    settings: &Settings,
    token: Option<&str>,
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
    if args.output == Output::Text {
        println!("\nsql          http://{address}/v1/sql?q=SELECT+*+FROM+sources");
        println!("tables       http://{address}/v1/tables");
        println!("metrics      http://{address}/metrics");
        println!("kafka        {}", site.brokers);
        if let (Some(token), Some(collector)) = (
            token,
            site.collectors().first().and_then(|c| c.local_addr()),
        ) {
            println!(
                "send         curl -H 'Authorization: Bearer {token}' -d @event.json http://{collector}/v1/events"
            );
        }
        println!("Ctrl-C ends it");
    }
    let stop = CancellationToken::new();
    let serving = server::serve(listener, engine, settings, stop.clone())?;
    tokio::select! {
        requested = shutdown::requested() => requested?,
        failure = site.broken() => return Err(failure),
        ended = serving => ended?,
    }
    stop.cancel();
    Ok(())
}

async fn wait_for(
    mut progress: tokio::sync::watch::Receiver<siji_aggregator::Progress>,
    total: u64,
    bar: ProgressBar,
) -> Result<siji_aggregator::Progress, Failure> {
    loop {
        let taken = progress.borrow_and_update().clone();
        bar.set_position(taken.all());
        if taken.all() >= total {
            return Ok(taken);
        }
        match tokio::time::timeout(STUCK_AFTER, progress.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Failure::new("the aggregator ended")),
            Err(_) => {
                let seconds = STUCK_AFTER.as_secs();
                return Err(Failure::new(format!(
                    "nothing came into the lake for {seconds} s: {} of {total} are there",
                    taken.all()
                )));
            }
        }
    }
}

fn bars(output: Output) -> MultiProgress {
    let target = match output {
        Output::Text if std::io::stderr().is_terminal() => ProgressDrawTarget::stderr(),
        _ => ProgressDrawTarget::hidden(),
    };
    MultiProgress::with_draw_target(target)
}

fn bar(bars: &MultiProgress, label: &'static str, total: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix:<12} {wide_bar} {human_pos}/{human_len} {per_sec}");
    let bar = bars.add(ProgressBar::new(total)).with_prefix(label);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
