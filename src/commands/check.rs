//! `siji check`

use std::process::ExitCode;

use siji_aggregator::consume::ConsumeError;

use crate::cli::{self, Output};
use crate::commands::import::load_mapping;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;
use crate::telemetry;

pub fn run(args: &cli::Check, mut settings: Settings) -> Result<ExitCode, Failure> {
    let reference = match &args.mapping {
        Some(mapping) => load_mapping(mapping, &args.reference, &mut settings)?.1,
        None => {
            settings.apply_reference(&args.reference);
            settings.load_reference()?
        }
    };
    settings.lake_location(None)?;
    settings.server.http()?;
    telemetry::check(&settings.telemetry)?;
    let properties = settings.kafka.client().create_native_config();
    properties.map_err(|error| {
        // Never the value, which may be a password.
        Failure::usage(format!("kafka.properties: {}", ConsumeError::from(error)))
    })?;
    // A collector is only configured where it has a name.
    let collector = !settings.collector.source_id.is_empty();
    if collector {
        settings
            .collector
            .check(&reference)
            .map_err(|problems| Failure::usage(problems.to_string()))?;
    }
    let catalogue = &reference.catalogue;
    let (types, registers, services) = (
        catalogue.event_types().len(),
        catalogue.registers().count(),
        catalogue.services().len(),
    );
    match args.output {
        Output::Json => super::print_json(&serde_json::json!({
            "ok": true, "ref_version": reference.version(), "areas": reference.areas.len(), "event_types": types,
            "registers": registers, "services": services, "collector": collector,
        }))?,
        Output::Text => super::print(format!(
            "ok: reference data {}: {} areas, {types} event types, {registers} registers, {services} services{}",
            reference.version(),
            reference.areas.len(),
            if collector {
                "; collector configured"
            } else {
                ""
            },
        ))?,
    }
    Ok(ExitCode::from(DONE))
}
