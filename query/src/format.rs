//! A result as bytes, batch by batch: nothing is collected before it is sent.
//!
//! | format | shape |
//! |---|---|
//! | JSON | one object: `columns` (name, type), `versions`, `rows` (objects), `row_count`; over HTTP, if the query breaks off, `error` at the end |
//! | NDJSON | one object a line |
//! | CSV | RFC 4180: a header, CRLF, UTF-8 without a byte order mark, null as an empty field |
//! | Arrow | an IPC stream |
//! | Parquet | zstd |
//! | Table | text for a terminal |
//!
//! In JSON, integers are numbers (beyond 2^53 too: readers that use floating point must take care), decimals are strings
//! because a number would lose digits, instants are RFC 3339 in UTC, bytes are hexadecimal. When a query breaks off in the
//! middle, the stream of bytes ends in the error, so that no reader takes a part for the whole; where the reader has a status
//! line behind it already ([`encode_telling`]), JSON ends with an `error` member.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, once, unfold};

use crate::{QueryError, QueryResult};

mod arrow;
mod cell;
mod csv;
mod json;
mod parquet;
mod plain;
mod table;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values.
    Csv(CsvStyle),
    /// Arrow IPC stream.
    Arrow,
    /// Parquet with zstd.
    Parquet,
    /// Text table.
    Table,
}

/// Choices within CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CsvStyle {
    /// Puts a `'` before texts that a spreadsheet would run as a formula (`=`, `+`, `-`, `@`, tab, return).
    pub escape_formulas: bool,
}

impl Format {
    /// The format of that name: `json`, `ndjson`, `csv`, `arrow`, `parquet`, `table` (or `text`).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv(CsvStyle::default())),
            "arrow" => Some(Self::Arrow),
            "parquet" => Some(Self::Parquet),
            "table" | "text" => Some(Self::Table),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv(_) => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
            Self::Table => "table",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv(_) => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Table => "text/plain; charset=utf-8",
        }
    }
}

/// Writes one result. A new one for each.
trait Encoder: Send {
    /// What comes before the first row.
    fn begin(&mut self) -> Result<Bytes, QueryError>;
    /// Some rows.
    fn rows(&mut self, batch: &::arrow::array::RecordBatch) -> Result<Bytes, QueryError>;
    /// What comes after the last row.
    fn end(&mut self) -> Result<Bytes, QueryError>;
    /// A proper ending that tells of the error, where the format has one.
    fn broken_off(&mut self, _error: &QueryError) -> Option<Bytes> {
        None
    }
}

/// Bytes of a result as they come. Ends with an error when the query does, unless the format can say so itself.
pub type ByteStream = BoxStream<'static, Result<Bytes, QueryError>>;

/// Writes a result in `format`. Returns once the first rows, the end or an error are there, so that a caller can still
/// choose another answer; whatever fails later is the stream's last item.
///
/// # Errors
/// Whatever stops the query before its first rows; [`QueryError::Format`] when the columns cannot be written in it.
pub async fn encode(result: QueryResult, format: Format) -> Result<ByteStream, QueryError> {
    stream(result, format, None).await
}

/// Writes a result as [`encode`] does, for a reader who was already told that all is well: what fails later is told to
/// `broken`, and JSON ends in an `error` member in place of the error.
///
/// # Errors
/// As [`encode`]; `broken` is not told of these.
pub async fn encode_telling(
    result: QueryResult,
    format: Format,
    broken: impl FnMut(&QueryError) + Send + 'static,
) -> Result<ByteStream, QueryError> {
    stream(result, format, Some(Box::new(broken))).await
}

type Broken = Box<dyn FnMut(&QueryError) + Send>;

async fn stream(
    result: QueryResult,
    format: Format,
    broken: Option<Broken>,
) -> Result<ByteStream, QueryError> {
    let schema = result.rows.schema();
    let mut encoder: Box<dyn Encoder> = match format {
        Format::Json => Box::new(json::Json::new(&schema, &result.versions)),
        Format::Ndjson => Box::new(json::Ndjson::new(&schema)),
        Format::Csv(style) => Box::new(csv::Csv::new(&schema, style)),
        Format::Arrow => Box::new(arrow::Arrow::new(&schema)?),
        Format::Parquet => Box::new(parquet::Parquet::new(&schema)?),
        Format::Table => Box::new(table::Table::new(&schema)),
    };
    let mut rows = result.rows;
    let mut first = encoder.begin()?.to_vec();
    let over = match rows.next().await.transpose()? {
        Some(batch) => {
            first.extend_from_slice(&encoder.rows(&batch)?);
            false
        }
        None => {
            first.extend_from_slice(&encoder.end()?);
            true
        }
    };
    let state = (encoder, rows, broken, over);
    let rest = unfold(
        state,
        |(mut encoder, mut rows, mut broken, over)| async move {
            if over {
                return None;
            }
            let next = rows.next().await;
            let over = !matches!(next, Some(Ok(_)));
            let written = match next {
                None => encoder.end(),
                Some(Ok(batch)) => encoder.rows(&batch),
                Some(Err(error)) => Err(error),
            };
            let over = over || written.is_err();
            let written = match (written, &mut broken) {
                (Err(error), Some(broken)) => {
                    broken(&error);
                    encoder.broken_off(&error).ok_or(error)
                }
                (written, _) => written,
            };
            Some((written, (encoder, rows, broken, over)))
        },
    );
    let filled = |bytes: &Result<Bytes, QueryError>| {
        let send = !matches!(bytes, Ok(bytes) if bytes.is_empty());
        std::future::ready(send)
    };
    let first = once(std::future::ready(Ok(Bytes::from(first))));
    Ok(first.chain(rest).filter(filled).boxed())
}
