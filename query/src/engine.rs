//! The engine: one set of limits, caches and threads for all queries of a process.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use siji_lake::Lake;
use siji_lake::snapshot::{ReaderOptions, Snapshot, TableReader};

use crate::catalogue::{CATALOGUE, LAKE_TABLES, PinnedTables, SCHEMA, Source, VisibleTables};
use crate::functions::Functions;
use crate::grain::ByDay;
use crate::provider::days::Tail;
use crate::{Limits, Parameters, QueryError};

mod complexity;
mod extent;
mod measures;
mod memory;
mod places;
mod rows;
mod session;
mod statement;
mod stores;
mod threads;

pub use rows::RowStream;
pub use session::{Principal, QueryOptions, QueryResult, Session};
pub use statement::check_condition;

/// Version of each lake table a query reads.
type Versions = BTreeMap<String, u64>;

/// The lake's store under the name queries' plans use.
const STORE: &str = "lake://siji";
/// Consumers named in an out-of-memory message.
const NAMED_CONSUMERS: usize = 3;

/// How an engine is set up.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// What queries may use.
    pub limits: Limits,
    /// How often tables are looked at for new commits.
    pub reader: ReaderOptions,
    /// Tables held in memory that queries see beside the lake's, by name; an existing name is replaced.
    pub tables: BTreeMap<String, RecordBatch>,
    /// Lake tables that are read as given here, whatever is committed meanwhile; one given as `None` is empty. All others
    /// are read as they are when a query first names them.
    pub snapshots: BTreeMap<String, Option<Arc<Snapshot>>>,
}

/// Answers queries over one lake. Cheap to clone; the last clone to go stops the threads.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lake: Lake,
    limits: Limits,
    sources: BTreeMap<&'static str, Source>,
    added: Arc<BTreeMap<String, Arc<MemTable>>>,
    env: RuntimeEnv,
    /// Functions, rules and settings; has no tables.
    template: SessionState,
    store: ObjectStoreUrl,
    /// What the days have not followed yet.
    tail: Arc<Tail>,
    places: places::Places,
    threads: threads::Threads,
}

impl Engine {
    /// An engine over an open lake. Tables need not exist yet.
    ///
    /// # Errors
    /// [`QueryError::Lake`] when a table's location makes no sense, [`QueryError::Internal`] when threads or temporary files
    /// cannot be had.
    pub fn open(lake: Lake, options: EngineOptions) -> Result<Self, QueryError> {
        let EngineOptions {
            limits,
            reader,
            tables,
            mut snapshots,
        } = options;
        let sources = LAKE_TABLES
            .iter()
            .map(|spec| {
                if let Some(given) = snapshots.remove(spec.name) {
                    return Ok((spec.name, Source::Given(given)));
                }
                let url = lake.table_url(spec.name);
                let reader = TableReader::open(lake.root_store(), url, reader)?;
                Ok((spec.name, Source::Newest(Arc::new(reader))))
            })
            .collect::<Result<BTreeMap<_, _>, QueryError>>()?;
        let added = tables
            .into_iter()
            .map(|(name, batch)| {
                let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
                Ok((name, Arc::new(table)))
            })
            .collect::<datafusion::common::Result<BTreeMap<_, _>>>()
            .map_err(QueryError::from_datafusion)?;
        let store = ObjectStoreUrl::parse(STORE).map_err(QueryError::from_datafusion)?;
        let env = runtime_env(&lake, &limits, &store).map_err(QueryError::from_datafusion)?;
        let functions = Functions::new(limits.memory_bytes);
        let template = functions
            .register(SessionStateBuilder::new().with_config(session_config(&lake, &limits)))
            .with_runtime_env(Arc::new(env.clone()))
            .with_optimizer_rule(Arc::new(ByDay))
            .build();
        Ok(Self {
            shared: Arc::new(Shared {
                tail: Arc::default(),
                places: places::Places::new(&limits),
                threads: threads::Threads::start(limits.threads)?,
                lake,
                limits,
                sources,
                added: Arc::new(added),
                env,
                template,
                store,
            }),
        })
    }

    /// A session for `principal`.
    pub fn session(&self, principal: Principal) -> Session {
        Session {
            engine: self.clone(),
            principal,
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Whether the lake can be read now: its marker is there and each table that exists can be opened.
    ///
    /// # Errors
    /// [`QueryError::Lake`] saying what is missing.
    pub async fn ready(&self) -> Result<(), QueryError> {
        let shared = Arc::clone(&self.shared);
        self.shared
            .threads
            .run(async move {
                shared.lake.check().await?;
                for source in shared.sources.values() {
                    source.snapshot().await?;
                }
                Ok(())
            })
            .await?
    }

    /// Whether the query threads answer a question that needs nothing of the lake. It takes no place: an engine that is
    /// full works.
    ///
    /// # Errors
    /// What keeps it from answering. It may also take for ever: wait with a limit.
    pub async fn answers(&self) -> Result<(), QueryError> {
        let shared = Arc::clone(&self.shared);
        self.shared
            .threads
            .run(async move {
                let (_, mut rows) = shared.start("SELECT 1", Parameters::none()).await?;
                while let Some(batch) = rows.next().await {
                    batch.map_err(QueryError::from_datafusion)?;
                }
                Ok(())
            })
            .await?
    }

    /// Name, kind and columns of every table a query can name, for `/v1/tables`.
    pub(crate) async fn schemas(
        &self,
    ) -> Result<BTreeMap<String, arrow::datatypes::SchemaRef>, QueryError> {
        let shared = Arc::clone(&self.shared);
        self.shared
            .threads
            .run(async move {
                let (state, _) = shared.state(shared.env.clone());
                let schema = state
                    .schema_for_ref(TableReference::partial(SCHEMA, "tables"))
                    .map_err(QueryError::from_datafusion)?;
                let mut all = BTreeMap::new();
                for name in schema.table_names() {
                    if let Some(table) = schema
                        .table(&name)
                        .await
                        .map_err(QueryError::from_datafusion)?
                    {
                        all.insert(name, table.schema());
                    }
                }
                Ok(all)
            })
            .await?
    }
}

impl Shared {
    /// A session state over freshly pinned tables.
    fn state(&self, env: RuntimeEnv) -> (SessionState, Arc<PinnedTables>) {
        let pinned = Arc::new(PinnedTables::new(
            self.lake.clone(),
            self.store.clone(),
            &self.sources,
            Arc::clone(&self.tail),
        ));
        let template = SessionStateBuilder::new_from_existing(self.template.clone())
            .with_runtime_env(Arc::new(env))
            .build();
        let mut state =
            VisibleTables::session(&template, Arc::clone(&pinned), Arc::clone(&self.added));
        // Fixes what now() is.
        state.mark_start_execution();
        (state, pinned)
    }

    async fn start(
        &self,
        sql: &str,
        parameters: Parameters,
    ) -> Result<(Versions, SendableRecordBatchStream), QueryError> {
        let pool =
            memory::QueryPool::new(Arc::clone(&self.env.memory_pool), self.limits.memory_bytes);
        let env = RuntimeEnvBuilder::from_runtime_env(&self.env)
            .with_memory_pool(Arc::new(pool))
            .build()
            .map_err(QueryError::from_datafusion)?;
        let (state, pinned) = self.state(env);
        let statement = statement::read_only(sql, &state, &self.limits)?;
        let plan = state
            .statement_to_plan(statement)
            .await
            .map_err(QueryError::from_datafusion)?;
        complexity::check(&plan)?;
        refuse_writing(&plan)?;
        let plan = bind(plan, parameters)?;
        let plan = state
            .create_physical_plan(&plan)
            .await
            .map_err(QueryError::from_datafusion)?;
        let stream = execute_stream(plan, state.task_ctx()).map_err(QueryError::from_datafusion)?;
        Ok((pinned.versions(), stream))
    }
}

/// The second look, at the plan: whatever the text was, nothing in it may write or change a setting.
fn refuse_writing(plan: &LogicalPlan) -> Result<(), QueryError> {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
        .map_err(|error| match QueryError::from_datafusion(error) {
            QueryError::Plan(what) => QueryError::ReadOnly(what.replace(" not supported", "")),
            other => other,
        })
}

fn bind(plan: LogicalPlan, parameters: Parameters) -> Result<LogicalPlan, QueryError> {
    let wanted = plan
        .get_parameter_names()
        .map_err(QueryError::from_datafusion)?
        .len();
    if wanted != parameters.len() {
        return Err(QueryError::Parameters(format!(
            "count does not fit: the statement has {wanted}, {} were given",
            parameters.len()
        )));
    }
    if wanted == 0 {
        return Ok(plan);
    }
    plan.with_param_values(parameters.into_values())
        .map_err(QueryError::from_datafusion)
}

fn session_config(lake: &Lake, limits: &Limits) -> SessionConfig {
    let mut options = ConfigOptions::new();
    options.catalog.create_default_catalog_and_schema = false;
    options.catalog.default_catalog = CATALOGUE.to_owned();
    options.catalog.default_schema = SCHEMA.to_owned();
    // `current_date` is the local day, as `local_date` is.
    options.execution.time_zone = Some(lake.zone().to_owned());
    // Ours is in the catalogue.
    options.catalog.information_schema = false;
    options.execution.target_partitions = limits.threads.max(1);
    options.execution.enable_recursive_ctes = false;
    // Merging sorted batches in memory takes room for a cursor on each, which a sort that is about to spill does not have.
    options.execution.sort_in_place_threshold_bytes = limits.memory_bytes;
    options.execution.parquet.pushdown_filters = false;
    SessionConfig::from(options)
}

fn runtime_env(
    lake: &Lake,
    limits: &Limits,
    store: &ObjectStoreUrl,
) -> datafusion::common::Result<RuntimeEnv> {
    let everything: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(
        GreedyMemoryPool::new(limits.total_memory_bytes),
        std::num::NonZeroUsize::new(NAMED_CONSUMERS).unwrap_or(std::num::NonZeroUsize::MIN),
    ));
    let disk = match limits.spill_bytes {
        0 => DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        bytes => DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(bytes),
    };
    RuntimeEnvBuilder::new()
        .with_memory_pool(everything)
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(limits.metadata_cache_bytes)
        .with_object_store_registry(Arc::new(stores::OnlyLake::new(store, lake.root_store())))
        .build()
}
