//! One Parquet file of a table: written in one go, with the statistics that let readers skip it.
//!
//! [`encode()`] lays out the file. Texts, whole numbers, maps of texts and columns of nulls are encoded here, because
//! nearly all of a file is made of them; everything else by Arrow's writer.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::LakeError;
use crate::log::Add;
use crate::schema::TableSpec;

mod chunk;
mod dictionary;
mod encode;
mod hybrid;
mod levels;
mod map;
mod number;
mod plain;
mod read;
mod statistics;
mod stream;
mod text;

pub use encode::encode;
pub use read::DataFileReader;
pub use statistics::of as statistics;
pub use stream::{DataFileWriter, file_schema};

/// Rows in a row group: small enough to skip by, large enough to compress.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// How hard to compress: what is written every second is folded soon, what is folded stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// zstd 1.
    Fast,
    /// zstd 3.
    Small,
}

impl Effort {
    fn level(self) -> i32 {
        match self {
            Effort::Fast => 1,
            Effort::Small => 3,
        }
    }
}

/// A data file that is ready to be put into a table's store.
#[derive(Debug)]
pub struct EncodedFile {
    add: Add,
    bytes: Bytes,
}

impl EncodedFile {
    /// Encodes `batches` (all columns of `spec`, in order; of one partition value where the table is partitioned) as one
    /// file with a name of its own.
    pub fn new(
        spec: &'static TableSpec,
        partition: Option<&str>,
        batches: &[RecordBatch],
        effort: Effort,
    ) -> Result<EncodedFile, LakeError> {
        let (path, partition_values) = place(spec, partition)?;
        let bytes = Bytes::from(encode(spec, batches, effort)?);
        let add = Add {
            path,
            partition_values,
            size: bytes.len() as i64,
            modification_time: 0,
            data_change: true,
            stats: Some(statistics(spec, batches)?.to_string()),
        };
        Ok(EncodedFile { add, bytes })
    }

    /// Puts it into the table's store and returns the action that would add it. Until that is committed no reader sees
    /// it.
    pub async fn put<S: ObjectStore>(self, store: &S) -> Result<Add, LakeError> {
        let EncodedFile { mut add, bytes } = self;
        add.modification_time = chrono::Utc::now().timestamp_millis();
        store
            .put(&Path::from(add.path.as_str()), bytes.into())
            .await?;
        Ok(add)
    }
}

/// A fresh path in a table, and the partition values that belong to it.
fn place(
    spec: &TableSpec,
    partition: Option<&str>,
) -> Result<(String, HashMap<String, Option<String>>), LakeError> {
    let name = format!("part-{}.zstd.parquet", uuid::Uuid::now_v7());
    match (spec.partition_by, partition) {
        (Some(column), Some(value)) => Ok((
            format!("{column}={value}/{name}"),
            HashMap::from([(column.to_owned(), Some(value.to_owned()))]),
        )),
        (None, None) => Ok((name, HashMap::new())),
        (by, value) => Err(LakeError::Damaged {
            table: spec.name.to_owned(),
            reason: format!("a file of partition {value:?} for a table partitioned by {by:?}"),
        }),
    }
}

/// How Arrow's writer is to write its columns. The others are compressed in one place, so it makes no room for them.
fn properties(
    spec: &TableSpec,
    effort: Effort,
    by_arrow: &[ColumnPath],
) -> Result<WriterProperties, LakeError> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(effort.level())?);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        // Only of the columns that readers prune by, and by row group: what is encoded here has one page in each.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_created_by(concat!("siji ", env!("CARGO_PKG_VERSION")).to_owned());
    for column in by_arrow {
        properties = properties.set_column_compression(column.clone(), zstd);
    }
    for column in spec.statistics {
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(*column), EnabledStatistics::Chunk);
    }
    for column in spec.unique {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(*column), false);
    }
    Ok(properties.build())
}

#[cfg(test)]
mod tests;
