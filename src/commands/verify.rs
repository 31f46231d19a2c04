//! `siji verify`

use std::process::ExitCode;

use siji_lake::Lake;

use crate::cli::{self, Output};
use crate::failure::{DIFFERENCE, DONE, Failure};
use crate::settings::Settings;
use crate::verify;

pub async fn run(args: cli::Verify, settings: Settings) -> Result<ExitCode, Failure> {
    let lake = Lake::open(&settings.lake_location(args.lake.as_deref())?).await?;
    let catalogue = settings.load_catalogue()?;
    let report = verify::verify(&lake, &settings.server.limits(), &catalogue).await?;
    match args.output {
        Output::Json => super::print_json(&report.to_json())?,
        Output::Text => super::print(report.to_text())?,
    }
    Ok(ExitCode::from(if report.ok() { DONE } else { DIFFERENCE }))
}
