//! A text table for terminals. Chinese characters take two columns.

use std::fmt::Write;
use std::sync::Arc;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{Schema, SchemaRef};
use ::arrow::json::EncoderOptions;
use bytes::Bytes;
use unicode_width::UnicodeWidthStr;

use super::cell::Cells;
use super::{Encoder, plain};
use crate::QueryError;

/// Rows looked at before the widths are fixed; later, wider cells stick out.
const MEASURED_ROWS: usize = 1000;
const NULL: &str = "—";

pub(super) struct Table {
    schema: SchemaRef,
    /// Numbers stand at the right.
    right: Vec<bool>,
    /// Rows held back until the widths are known.
    held: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl Table {
    pub(super) fn new(schema: &Schema) -> Self {
        let right = schema
            .fields()
            .iter()
            .map(|f| f.data_type().is_numeric())
            .collect();
        Self {
            schema: plain::json_schema(schema),
            right,
            held: Vec::new(),
            widths: None,
            rows: 0,
        }
    }

    /// Fixes the widths, and writes header and held rows.
    fn settle(&mut self, out: &mut String) {
        if self.widths.is_some() {
            return;
        }
        let names: Vec<String> = self
            .schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        let widest = |i: usize| {
            let cells = self.held.iter().map(|row| row[i].width());
            cells.chain([names[i].width()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..names.len()).map(widest).collect();
        line(out, &names, &widths, &vec![false; names.len()]);
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        out.push_str(&rule.join("+"));
        out.push('\n');
        for row in std::mem::take(&mut self.held) {
            line(out, &row, &widths, &self.right);
        }
        self.widths = Some(widths);
    }
}

fn line(out: &mut String, cells: &[String], widths: &[usize], right: &[bool]) {
    let start = out.len();
    for (i, cell) in cells.iter().enumerate() {
        let space = " ".repeat(widths[i].saturating_sub(cell.width()));
        out.push_str(if i == 0 { " " } else { " | " });
        if right[i] {
            out.push_str(&space);
            out.push_str(cell);
        } else {
            out.push_str(cell);
            out.push_str(&space);
        }
    }
    out.truncate(start + out[start..].trim_end().len());
    out.push('\n');
}

/// Line breaks and other control characters would break the table, or steer the terminal.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '·' } else { c })
        .collect()
}

impl Encoder for Table {
    fn begin(&mut self) -> Result<Bytes, QueryError> {
        Ok(Bytes::new())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        let batch = plain::cast_to(batch, &self.schema)?;
        let json = EncoderOptions::default().with_explicit_nulls(true);
        let schema = Arc::clone(&self.schema);
        let mut columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| Cells::of(field, column, &json))
            .collect::<Result<Vec<_>, _>>()?;
        self.rows = self.rows.saturating_add(batch.num_rows() as u64);
        let mut out = String::new();
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            let mut cells = Vec::with_capacity(columns.len());
            for column in &mut columns {
                let present = column.read(row, &mut text)?;
                cells.push(if present {
                    harmless(&text)
                } else {
                    NULL.to_owned()
                });
            }
            match &self.widths {
                Some(widths) => line(&mut out, &cells, widths, &self.right),
                None => self.held.push(cells),
            }
            if self.widths.is_none() && self.held.len() >= MEASURED_ROWS {
                self.settle(&mut out);
            }
        }
        Ok(out.into())
    }

    fn end(&mut self) -> Result<Bytes, QueryError> {
        let mut out = String::new();
        self.settle(&mut out);
        let noun = if self.rows == 1 { "row" } else { "rows" };
        writeln!(out, "({} {noun})", self.rows).map_err(|e| QueryError::Format(e.to_string()))?;
        Ok(out.into())
    }
}
