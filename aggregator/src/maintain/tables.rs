//! The tables that are maintained, and how the rows of each are kept in order.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use siji_lake::compact::plan::Candidate;
use siji_lake::schema::{LEDGER, REGISTERS, ROLLUP, ROLLUP_DAY, TableSpec};
use siji_lake::snapshot::Snapshot;

/// One maintained table.
#[derive(Debug)]
pub struct Maintained {
    /// The table.
    pub spec: &'static TableSpec,
    /// The rows of its files are in the order of these columns. None: in no order.
    pub order: &'static [&'static str],
    /// Rows with the same key become one.
    pub sums: bool,
    /// Months lie in files of their own.
    pub by_month: bool,
    /// Small files are taken in the order of this column's least value.
    rank: Option<&'static str>,
}

/// In the order of rounds.
pub static MAINTAINED: [&Maintained; 4] = [&HOURS, &DAYS, &OFFSETS, &STATEMENTS];

/// `rollup_day`
pub(super) static DAYS: Maintained = Maintained {
    spec: &ROLLUP_DAY,
    order: &["district_code", "area_code", "local_date"],
    sums: true,
    by_month: true,
    rank: None,
};

/// `rollup`
pub(super) static HOURS: Maintained = Maintained {
    spec: &ROLLUP,
    order: &[
        "district_code",
        "area_code",
        "hour",
        "local_date",
        "event_type",
    ],
    sums: true,
    by_month: true,
    rank: None,
};

/// `ledger`. Rows stay as they are: each accounts for its offsets.
pub(super) static OFFSETS: Maintained = Maintained {
    spec: &LEDGER,
    order: &["partition", "topic_epoch", "offset"],
    sums: false,
    by_month: false,
    rank: Some("ingested_at"),
};

/// `registers`. Statements that were superseded stay: `register_statements` shows them.
pub(super) static STATEMENTS: Maintained = Maintained {
    spec: &REGISTERS,
    order: &[],
    sums: false,
    by_month: false,
    rank: Some("offset"),
};

/// The maintained table of that name.
pub fn maintained(table: &str) -> Option<&'static Maintained> {
    MAINTAINED.into_iter().find(|kept| kept.spec.name == table)
}

impl Maintained {
    /// The files of a snapshot as the plan looks at them.
    pub(super) fn candidates(&self, snapshot: &Snapshot) -> Vec<Candidate> {
        let statistics = snapshot.statistics();
        let days = statistics.range("local_date");
        let rank = self.rank.and_then(|column| statistics.range(column));
        let partitions = self
            .spec
            .partition_by
            .and_then(|column| snapshot.partition_values(column));
        let partitions = partitions.and_then(|values| {
            arrow::compute::cast(values, &arrow::datatypes::DataType::Utf8).ok()
        });
        let day = |bound: &arrow::array::ArrayRef, file: usize| {
            let days = bound.as_primitive_opt::<Date32Type>()?;
            days.is_valid(file).then(|| days.value(file))
        };
        let files = snapshot.files().iter().enumerate();
        files
            // A path that the log may write in another way cannot be removed by name.
            .filter(|(_, file)| file.path.as_ref().bytes().all(is_plain))
            .map(|(file, found)| Candidate {
                file,
                partition: partitions
                    .as_ref()
                    .filter(|values| values.is_valid(file))
                    .map(|values| values.as_string::<i32>().value(file).to_owned()),
                bytes: found.size,
                days: days.and_then(|days| Some((day(&days.min, file)?, day(&days.max, file)?))),
                rank: rank.map_or(0, |rank| {
                    let (instants, longs) = (
                        rank.min.as_primitive_opt::<TimestampMicrosecondType>(),
                        rank.min.as_primitive_opt::<Int64Type>(),
                    );
                    instants
                        .map(|values| values.value(file))
                        .or(longs.map(|values| values.value(file)))
                        .unwrap_or(0)
                }),
            })
            .filter(|candidate| candidate.partition.is_some() == self.spec.partition_by.is_some())
            .collect()
    }
}

/// Bytes of paths that mean the same with and without URL encoding.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.=/".contains(&byte)
}
