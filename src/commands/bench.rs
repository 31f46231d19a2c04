//! `siji bench`

use std::process::ExitCode;

use crate::bench::{aggregate, collect, freshness, soak};
use crate::cli::{self, Output};
use crate::demo::city;
use crate::failure::{DONE, FAILED, Failure};
use crate::settings::Settings;

/// Drains a topic of generated events.
pub async fn aggregate(
    args: cli::BenchAggregate,
    mut settings: Settings,
) -> Result<ExitCode, Failure> {
    let city = city::find("huzhou").ok_or_else(|| Failure::new("no city"))?;
    settings.reference.cities = vec![city.name.to_owned()];
    let reference = settings.load_reference()?;
    let plan = aggregate::Plan {
        brokers: args.brokers,
        events: args.events,
        partitions: args.partitions,
        format: match args.format {
            cli::EventFormat::Avro => aggregate::Format::Avro,
            cli::EventFormat::Json => aggregate::Format::Json,
        },
        topic: args.topic,
        city: city.name,
    };
    let figures = aggregate::run(&plan, &reference).await?;
    print(args.output, &figures)
}

/// Durable accepts of a collector.
pub async fn collect(args: cli::BenchCollect, mut settings: Settings) -> Result<ExitCode, Failure> {
    let city = city::find("huzhou").ok_or_else(|| Failure::new("no city"))?;
    settings.reference.cities = vec![city.name.to_owned()];
    let reference = settings.load_reference()?;
    let plan = collect::Plan {
        brokers: args.brokers,
        clients: args.clients.max(1),
        seconds: args.seconds.max(1),
        directory: args.data_dir,
        city: city.name,
        area: city.root,
    };
    let figures = collect::run(&plan, &reference).await?;
    print(args.output, &figures)
}

/// From acknowledged to visible.
pub async fn freshness(
    args: cli::BenchFreshness,
    mut settings: Settings,
) -> Result<ExitCode, Failure> {
    let city = city::find("huzhou").ok_or_else(|| Failure::new("no city"))?;
    settings.reference.cities = vec![city.name.to_owned()];
    let reference = settings.load_reference()?;
    let plan = freshness::Plan {
        brokers: args.brokers,
        rate: args.rate.max(1),
        seconds: args.seconds.max(1),
        city: city.name,
        area: city.root,
    };
    let figures = freshness::run(&plan, &reference).await?;
    print(args.output, &figures)
}

/// A day of small commits.
pub async fn soak(args: cli::BenchSoak, mut settings: Settings) -> Result<ExitCode, Failure> {
    let city = city::find("huzhou").ok_or_else(|| Failure::new("no city"))?;
    settings.reference.cities = vec![city.name.to_owned()];
    let reference = settings.load_reference()?;
    let plan = soak::Plan {
        commits: args.commits.max(1),
        events: args.events,
        maintain: !args.without_maintainer,
        directory: args.data_dir,
    };
    let (figures, flat) = soak::run(&plan, &reference).await?;
    print(args.output, &figures)?;
    Ok(ExitCode::from(if flat { DONE } else { FAILED }))
}

fn print(output: Output, figures: &serde_json::Value) -> Result<ExitCode, Failure> {
    match (output, figures) {
        (Output::Text, serde_json::Value::Object(figures)) => {
            for (name, value) in figures {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                super::print(format!("{name:<22} {value}"))?;
            }
        }
        _ => super::print_json(figures)?,
    }
    Ok(ExitCode::from(DONE))
}
