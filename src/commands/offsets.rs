//! `siji offsets accept`

use std::process::ExitCode;

use crate::cli::{self, Output};
use crate::commands::aggregator;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;

pub async fn accept(args: cli::Accept, mut settings: Settings) -> Result<ExitCode, Failure> {
    aggregator::apply(&args.aggregator, &mut settings);
    let reference = std::sync::Arc::new(settings.load_reference()?);
    let lake = settings.lake_location(None)?;
    let accepted =
        siji_aggregator::accept::accept(&lake, &settings.kafka, &reference, args.partition).await?;
    match args.output {
        Output::Json => super::print_json(&serde_json::json!({
            "partition": args.partition, "epoch": accepted.epoch, "next": accepted.next, "gap": accepted.gap,
        }))?,
        Output::Text => super::print(format!(
            "partition {}: {accepted}; the aggregator goes on there at its next start",
            args.partition
        ))?,
    }
    Ok(ExitCode::from(DONE))
}
