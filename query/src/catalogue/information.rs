//! `information_schema`, without the engine's settings: they name directories and limits of the server.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::TableType;

use super::{CATALOGUE, SCHEMA, only_schema};

const TABLES: [&str; 6] = [
    "tables",
    "views",
    "columns",
    "schemata",
    "routines",
    "parameters",
];

/// The schema that describes `tables`.
#[derive(Debug)]
pub(super) struct InformationSchema {
    tables: Arc<dyn SchemaProvider>,
    inner: InformationSchemaProvider,
}

impl InformationSchema {
    pub(super) fn about(tables: Arc<dyn SchemaProvider>) -> Self {
        let inner = InformationSchemaProvider::new(only_schema(Arc::clone(&tables)));
        Self { tables, inner }
    }

    /// Our own list: DataFusion's also names what is left out here.
    async fn list(&self) -> Result<Arc<dyn TableProvider>> {
        let mut rows: Vec<[String; 4]> = Vec::new();
        for name in self.tables.table_names() {
            let kind = match self.tables.table_type(&name).await? {
                Some(TableType::View) => "VIEW",
                _ => "BASE TABLE",
            };
            rows.push([
                CATALOGUE.to_owned(),
                SCHEMA.to_owned(),
                name,
                kind.to_owned(),
            ]);
        }
        for name in TABLES {
            rows.push([CATALOGUE, "information_schema", name, "VIEW"].map(str::to_owned));
        }
        let names = ["table_catalog", "table_schema", "table_name", "table_type"];
        let fields = names.map(|name| Field::new(name, DataType::Utf8, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let column = |i: usize| {
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row[i]),
            ))
        };
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            (0..4).map(|i| column(i) as _).collect(),
        )?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match name {
            "tables" => self.list().await.map(Some),
            name if TABLES.contains(&name) => self.inner.table(name).await,
            _ => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }
}
