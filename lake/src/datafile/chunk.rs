//! A column of one row group in its encoded form, for columns that are encoded here.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::levels::nothing_but_nulls;

/// What a column chunk holds, before it is compressed.
pub(super) struct Chunk {
    /// Distinct values in plain encoding, and how many; none if the values need none.
    pub dictionary: Option<(Vec<u8>, usize)>,
    /// Definition levels and values.
    pub data: Vec<u8>,
    /// Of `data`.
    pub encoding: Encoding,
    pub rows: usize,
    /// Values or, where there is none, what tells so: as many as rows unless the column repeats.
    pub values: usize,
    pub statistics: Option<Statistics>,
}

impl Chunk {
    /// Of a flat column.
    pub(super) fn nothing_but_nulls(rows: usize) -> Chunk {
        Chunk {
            dictionary: None,
            data: nothing_but_nulls(rows),
            encoding: Encoding::PLAIN,
            rows,
            values: rows,
            statistics: None,
        }
    }
}

/// An encoded chunk and what the file's footer says of it.
pub(super) type Encoded = (Bytes, ColumnCloseResult);

/// Compresses pages; its memory is used again.
pub(super) struct Compressor {
    zstd: zstd::bulk::Compressor<'static>,
    level: ZstdLevel,
}

impl Compressor {
    pub(super) fn new(level: i32) -> Result<Compressor, ParquetError> {
        Ok(Compressor {
            zstd: zstd::bulk::Compressor::new(level)?,
            level: ZstdLevel::try_new(level)?,
        })
    }

    /// One dictionary page, if any, and one data page.
    pub(super) fn encode(
        &mut self,
        column: &ColumnDescPtr,
        chunk: Chunk,
    ) -> Result<Encoded, ParquetError> {
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let (mut encodings, mut uncompressed) = (vec![Encoding::RLE], 0);
        let mut dictionary_at = None;
        if let Some((plain, values)) = chunk.dictionary {
            let size = plain.len();
            let page = Page::DictionaryPage {
                buf: self.zstd.compress(&plain)?.into(),
                num_values: values as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let written = pages.write_page(CompressedPage::new(page, size))?;
            uncompressed += written.uncompressed_size;
            dictionary_at = Some(written.offset as i64);
            encodings.push(Encoding::PLAIN);
        }
        let size = chunk.data.len();
        let page = Page::DataPage {
            buf: self.zstd.compress(&chunk.data)?.into(),
            num_values: chunk.values as u32,
            encoding: chunk.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = pages.write_page(CompressedPage::new(page, size))?;
        uncompressed += written.uncompressed_size;
        encodings.push(chunk.encoding);
        let bytes = Bytes::from(sink.into_inner()?);
        let mut metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(Compression::ZSTD(self.level))
            .set_encodings(encodings)
            .set_num_values(chunk.values as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_dictionary_page_offset(dictionary_at)
            .set_data_page_offset(written.offset as i64);
        if let Some(statistics) = chunk.statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: chunk.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok((bytes, close))
    }
}
