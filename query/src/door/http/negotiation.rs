//! Which format an answer has.

use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::ACCEPT;

use super::problem::Problem;
use crate::format::{CsvStyle, Format};

/// The format asked for by name, else the best that `Accept` names, else JSON.
pub(super) fn format(
    named: Option<&str>,
    escape_formulas: bool,
    headers: &HeaderMap,
) -> Result<Format, Problem> {
    let format = match named {
        Some(name) => Format::named(name).ok_or_else(|| Problem {
            status: StatusCode::BAD_REQUEST,
            code: "format",
            detail: format!("there is no format `{name}`"),
            hint: FORMATS,
        })?,
        None => {
            let accept: Vec<&str> = headers
                .get_all(ACCEPT)
                .iter()
                .filter_map(|v| v.to_str().ok())
                .collect();
            accepted(&accept.join(",")).ok_or(Problem {
                status: StatusCode::NOT_ACCEPTABLE,
                code: "format",
                detail: "none of the accepted media types is a result format".to_owned(),
                hint: FORMATS,
            })?
        }
    };
    Ok(match format {
        Format::Csv(_) => Format::Csv(CsvStyle { escape_formulas }),
        other => other,
    })
}

const FORMATS: &str = "the formats are json, ndjson, csv, arrow, parquet and table";

/// The format of the media type with the greatest weight; the first of equals.
fn accepted(accept: &str) -> Option<Format> {
    let mut best: Option<(f32, Format)> = None;
    let mut empty = true;
    for range in accept
        .split(',')
        .map(str::trim)
        .filter(|range| !range.is_empty())
    {
        empty = false;
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts
            .find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok())
            .unwrap_or(1.0);
        let format = match media.as_str() {
            "*/*" | "application/*" | "application/json" => Format::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Format::Ndjson,
            "text/csv" | "text/*" => Format::Csv(CsvStyle::default()),
            "application/vnd.apache.arrow.stream" => Format::Arrow,
            "application/vnd.apache.parquet" => Format::Parquet,
            "text/plain" => Format::Table,
            _ => continue,
        };
        if weight > 0.0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, format));
        }
    }
    if empty {
        Some(Format::Json)
    } else {
        best.map(|(_, format)| format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_known_media_type_wins() {
        let chosen = |accept: &str| accepted(accept).map(Format::name);
        assert_eq!(chosen(""), Some("json"));
        assert_eq!(chosen("*/*"), Some("json"));
        assert_eq!(
            chosen("text/html,application/xhtml+xml,*/*;q=0.8"),
            Some("json")
        );
        assert_eq!(
            chosen("text/csv;q=0.5, application/vnd.apache.parquet"),
            Some("parquet")
        );
        assert_eq!(chosen("application/vnd.apache.arrow.stream"), Some("arrow"));
        assert_eq!(chosen("image/png"), None);
        assert_eq!(chosen("text/csv;q=0"), None);
    }

    #[test]
    fn a_name_goes_before_the_header_and_an_unknown_one_is_refused() {
        let headers = HeaderMap::from_iter([(ACCEPT, "text/csv".parse().unwrap())]);
        assert_eq!(
            format(Some("parquet"), false, &headers).unwrap(),
            Format::Parquet
        );
        assert_eq!(
            format(None, true, &headers).unwrap(),
            Format::Csv(CsvStyle {
                escape_formulas: true
            })
        );
        assert_eq!(
            format(Some("xlsx"), false, &headers).unwrap_err().code,
            "format"
        );
    }
}
