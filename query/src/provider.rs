//! One lake table at one version as a DataFusion table: prunes files by what the log says about them and emits a plain
//! Parquet scan of the rest. No listing and no footer is read while planning.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::datasource::TableProvider;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::physical_plan::ParquetSource;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use siji_lake::snapshot::Snapshot;

pub(crate) mod days;
mod pruning;
mod scan;

use days::Days;

/// A table of the lake, pinned at a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct LakeTable {
    snapshot: Arc<Snapshot>,
    store: ObjectStoreUrl,
    /// What queries see: declared order, strings and binaries as views (they are read from Parquet without copying).
    schema: SchemaRef,
    /// What a scan yields: columns in the files, then partition columns.
    scanned: TableSchema,
    /// Of the roll-up: the same by day.
    days: Option<Arc<Days>>,
    /// Its rows are only added up.
    summed: bool,
}

impl LakeTable {
    /// The table of `snapshot`, whose files are in the store registered as `store`.
    pub(crate) fn new(snapshot: Arc<Snapshot>, store: ObjectStoreUrl) -> Self {
        let schema = as_views(snapshot.schema());
        let is_partition = |field: &FieldRef| snapshot.partition_columns().contains(field.name());
        let (partitions, in_files): (Vec<FieldRef>, Vec<FieldRef>) =
            schema.fields().iter().cloned().partition(is_partition);
        let scanned = TableSchema::builder(Arc::new(Schema::new(in_files)))
            .with_table_partition_cols(partitions)
            .build();
        Self {
            snapshot,
            store,
            schema,
            scanned,
            days: None,
            summed: false,
        }
    }

    /// The same table, with its days beside it.
    pub(crate) fn with_days(mut self, days: Option<Arc<Days>>) -> Self {
        self.days = days;
        self
    }

    /// What it reads.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether there are days that queries can be answered from.
    pub(crate) fn has_days(&self) -> bool {
        self.days.is_some()
    }

    /// Positions in the scan's schema of the columns asked for by position in the declared schema.
    fn projected(&self, projection: Option<&Vec<usize>>) -> Result<Vec<usize>> {
        let scanned = self.scanned.table_schema();
        let wanted = projection
            .cloned()
            .unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        wanted
            .into_iter()
            .map(|i| Ok(scanned.index_of(self.schema.field(i).name())?))
            .collect()
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(
                |filter| match pruning::on_partitions_only(filter, &self.snapshot) {
                    true => TableProviderFilterPushDown::Exact,
                    false => TableProviderFilterPushDown::Inexact,
                },
            )
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let (Some(days), Some(columns)) = (self.days_for(projection, filters), projection) {
            return self.scan_days(days, state, columns, filters, limit).await;
        }
        self.scan_files(state, projection, filters, limit, None)
            .await
    }
}

impl LakeTable {
    /// A scan of the files that may hold rows; of `only` some of them, if that is said.
    async fn scan_files(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
        only: Option<&HashSet<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.projected(projection)?;
        let mut selected = pruning::matching_files(&self.snapshot, &self.schema, filters, state)?;
        if let Some(only) = only {
            selected.retain(|file| only.contains(file));
        }
        let exact = filters
            .iter()
            .all(|f| pruning::on_partitions_only(f, &self.snapshot));
        if let (Some(limit), true) = (limit, exact) {
            scan::keep_enough(&self.snapshot, &mut selected, limit);
        }
        tracing::debug!(
            table = self.snapshot.table(),
            version = self.snapshot.version(),
            files = selected.len(),
            of = self.snapshot.files().len(),
            "planned a scan"
        );
        if selected.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(
                self.scanned.table_schema().project(&columns)?,
            ))));
        }
        let runtime = state.runtime_env();
        let reader = CachedParquetFileReaderFactory::new(
            runtime.object_store(&self.store)?,
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_parquet_file_reader_factory(Arc::new(reader));
        let groups = scan::file_groups(
            &self.snapshot,
            &self.scanned,
            &selected,
            state.config_options().execution.target_partitions,
        )?;
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(scan::statistics(
                &self.snapshot,
                &self.scanned,
                &selected,
                &columns,
            )?)
            .with_projection_indices(Some(columns))?
            .with_limit(limit.filter(|_| exact))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Top-level strings and binaries as view types.
pub(crate) fn as_views(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.data_type() {
                DataType::Utf8 => DataType::Utf8View,
                DataType::Binary => DataType::BinaryView,
                other => other.clone(),
            };
            Field::new(field.name(), data_type, field.is_nullable())
        })
        .collect();
    Arc::new(Schema::new(fields))
}
