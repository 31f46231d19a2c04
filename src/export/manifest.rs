//! What an export holds, as JSON beside it.

use arrow::datatypes::Schema;
use serde::Serialize;
use siji_query::describe;

/// The manifest of an export.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// Table or view.
    pub table: String,
    /// The query that was run.
    pub sql: String,
    /// Version of each lake table that was read, as `ledger=12`.
    pub versions: Option<String>,
    /// When, RFC 3339.
    pub exported_at: String,
    /// Program that wrote it.
    pub siji: &'static str,
    /// Column whose values have directories of their own, and which is therefore in no file.
    pub partition_by: Option<String>,
    /// Rows of all files.
    pub rows: u64,
    /// Columns of the table.
    pub columns: Vec<Column>,
    /// The files.
    pub files: Vec<FileEntry>,
}

/// One column.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    pub nullable: bool,
    pub unit: Option<String>,
    pub zh: String,
    pub en: String,
}

/// One file.
#[derive(Debug, Clone, Serialize)]
pub struct FileEntry {
    /// Beside the manifest.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// Of the whole file, hex digits: `sha256sum` prints the same.
    pub sha256: String,
    /// Value of the column of `partition_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<Option<String>>,
}

impl Manifest {
    /// Of a query that is about to run.
    pub fn new(table: &str, sql: &str, partition_by: Option<&str>) -> Manifest {
        Manifest {
            format: 1,
            table: table.to_owned(),
            sql: sql.to_owned(),
            versions: None,
            exported_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            siji: env!("CARGO_PKG_VERSION"),
            partition_by: partition_by.map(str::to_owned),
            rows: 0,
            columns: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Takes the columns over, with what is known of them.
    pub fn describe(&mut self, table: &str, schema: &Schema) {
        let columns = describe(table, schema).columns.into_iter();
        self.columns = columns
            .map(|column| Column {
                name: column.name,
                data_type: column.data_type,
                nullable: column.nullable,
                unit: column.unit,
                zh: column.zh,
                en: column.en,
            })
            .collect();
    }

    /// Adds a finished file.
    pub fn add(&mut self, file: FileEntry) {
        self.rows += file.rows;
        self.files.push(file);
    }
}
