//! What a query can name: the lake's tables, views on them, and tables the caller adds.
//!
//! A catalogue is made for one query. The first time the query names a table, the table is pinned at the version it then
//! has; every further mention of it, directly or through a view, reads that same version.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProviderList, SchemaProvider,
    TableProvider,
};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::ViewTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::TableType;
use siji_lake::Lake;
use siji_lake::schema::{LEDGER, REF_AREAS, REGISTERS, ROLLUP, ROLLUP_DAY, TableSpec};
use siji_lake::snapshot::{ReadError, Snapshot, TableReader};
use tokio::sync::OnceCell;

use crate::QueryError;
use crate::provider::days::{DayTable, Days, Tail};
use crate::provider::{LakeTable, as_views};

pub(crate) mod description;
mod information;
mod reversals;
#[cfg(test)]
mod tests;

/// Name of the one catalogue.
pub(crate) const CATALOGUE: &str = "siji";
/// Name of the schema that holds the tables.
pub(crate) const SCHEMA: &str = "public";

/// The tables in the lake.
pub(crate) static LAKE_TABLES: [&TableSpec; 5] =
    [&LEDGER, &ROLLUP, &ROLLUP_DAY, &REGISTERS, &REF_AREAS];

/// What a name in SQL stands for.
enum Meaning {
    /// A lake table as it is.
    Table(&'static TableSpec),
    /// A query over lake tables.
    View(&'static str),
    /// The same; its second part belongs to it only where the ledger has reversals, for it costs.
    Amended(&'static str, &'static str),
}

/// Every table but those the caller adds.
const VISIBLE: [(&str, Meaning); 14] = [
    ("ledger", Meaning::Table(&LEDGER)),
    (
        "events",
        Meaning::Amended(
            include_str!("catalogue/views/events.sql"),
            include_str!("catalogue/views/events_reversed.sql"),
        ),
    ),
    (
        "quarantine",
        Meaning::View(include_str!("catalogue/views/quarantine.sql")),
    ),
    (
        "sources",
        Meaning::View(include_str!("catalogue/views/sources.sql")),
    ),
    ("rollup", Meaning::Table(&ROLLUP)),
    ("rollup_day", Meaning::Table(&ROLLUP_DAY)),
    (
        "rollup_community",
        Meaning::View("SELECT * FROM rollup WHERE tier = 'community'"),
    ),
    (
        "rollup_street",
        Meaning::View("SELECT * FROM rollup WHERE tier = 'street'"),
    ),
    (
        "rollup_district",
        Meaning::View("SELECT * FROM rollup WHERE tier = 'district'"),
    ),
    (
        "rollup_city",
        Meaning::View("SELECT * FROM rollup WHERE tier = 'city'"),
    ),
    (
        "rollup_province",
        Meaning::View("SELECT * FROM rollup WHERE tier = 'province'"),
    ),
    (
        "registers",
        Meaning::View(include_str!("catalogue/views/registers.sql")),
    ),
    ("register_statements", Meaning::Table(&REGISTERS)),
    (
        "areas",
        Meaning::View(include_str!("catalogue/views/areas.sql")),
    ),
];

fn meaning(name: &str) -> Option<&'static Meaning> {
    VISIBLE
        .iter()
        .find(|(visible, _)| *visible == name)
        .map(|(_, meaning)| meaning)
}

/// Where a table's snapshot comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The newest one.
    Newest(Arc<TableReader>),
    /// This one, whatever is committed meanwhile. `None`: the table is not there.
    Given(Option<Arc<Snapshot>>),
}

impl Source {
    pub(crate) async fn snapshot(&self) -> Result<Option<Arc<Snapshot>>, ReadError> {
        match self {
            Source::Newest(reader) => reader.current().await,
            Source::Given(snapshot) => Ok(snapshot.clone()),
        }
    }
}

/// The lake's tables as one query sees them.
#[derive(Debug)]
pub(crate) struct PinnedTables {
    lake: Lake,
    store: ObjectStoreUrl,
    pins: BTreeMap<&'static str, Pin>,
    tail: Arc<Tail>,
}

#[derive(Debug)]
struct Pin {
    spec: &'static TableSpec,
    source: Source,
    table: OnceCell<PinnedTable>,
}

#[derive(Debug, Clone)]
struct PinnedTable {
    /// `None`: not in the lake yet, shown empty.
    version: Option<u64>,
    provider: Arc<dyn TableProvider>,
    /// Of the roll-up: its days.
    days: Option<Arc<Days>>,
}

impl PinnedTables {
    /// Nothing is pinned yet.
    pub(crate) fn new(
        lake: Lake,
        store: ObjectStoreUrl,
        sources: &BTreeMap<&'static str, Source>,
        tail: Arc<Tail>,
    ) -> Self {
        let pins = LAKE_TABLES
            .iter()
            .filter_map(|spec| {
                let source = sources.get(spec.name)?.clone();
                Some((
                    spec.name,
                    Pin {
                        spec,
                        source,
                        table: OnceCell::new(),
                    },
                ))
            })
            .collect();
        Self {
            lake,
            store,
            pins,
            tail,
        }
    }

    /// The versions of the tables the query has named so far.
    pub(crate) fn versions(&self) -> BTreeMap<String, u64> {
        let mut versions: BTreeMap<String, u64> = self
            .pins
            .iter()
            .filter_map(|(name, pin)| Some(((*name).to_owned(), pin.table.get()?.version?)))
            .collect();
        // The grain that was read.
        let pinned = self.pins.values().filter_map(|pin| pin.table.get());
        let used = pinned
            .filter_map(|table| table.days.as_ref()?.used())
            .next();
        versions.extend(used.map(|version| (ROLLUP_DAY.name.to_owned(), version)));
        versions
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(pin) = self.pins.get(name) else {
            return Ok(None);
        };
        if name == ROLLUP_DAY.name {
            return self.days_by_name().await;
        }
        let pinned = pin.table.get_or_try_init(|| self.pin(pin)).await?;
        Ok(Some(Arc::clone(&pinned.provider)))
    }

    /// `rollup_day` as SQL sees it: complete, whatever part of it has been followed.
    async fn days_by_name(&self) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(pin) = self.pins.get(ROLLUP.name) else {
            return Ok(None);
        };
        let pinned = pin.table.get_or_try_init(|| self.pin(pin)).await?;
        Ok(Some(match pinned.provider.downcast_ref::<LakeTable>() {
            Some(hours) => Arc::new(DayTable::new(hours)),
            None => Arc::new(EmptyTable::new(as_views(&(ROLLUP_DAY.schema)()))),
        }))
    }

    /// The newest days, before the hours are looked at: days that know more than the hours could not be used.
    async fn newest_days(&self, pin: &Pin) -> Result<Option<LakeTable>, ReadError> {
        if pin.spec.name != ROLLUP.name {
            return Ok(None);
        }
        let Some(pin) = self.pins.get(ROLLUP_DAY.name) else {
            return Ok(None);
        };
        let snapshot = pin.source.snapshot().await?;
        Ok(snapshot.map(|snapshot| LakeTable::new(snapshot, self.store.clone())))
    }

    async fn pin(&self, pin: &Pin) -> Result<PinnedTable> {
        let days = self
            .newest_days(pin)
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        let snapshot = pin
            .source
            .snapshot()
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(match snapshot {
            Some(snapshot) => {
                let days = match days {
                    Some(days) => Days::of(&self.lake, &self.tail, days, &snapshot)
                        .await
                        .map_err(|e| DataFusionError::External(Box::new(QueryError::from(e))))?,
                    None => None,
                };
                let days = days.map(Arc::new);
                let version = Some(snapshot.version());
                let table = LakeTable::new(snapshot, self.store.clone());
                PinnedTable {
                    version,
                    provider: Arc::new(table.with_days(days.clone())),
                    days,
                }
            }
            None => {
                // Not made yet, or the whole lake is gone: the marker tells.
                self.lake
                    .check()
                    .await
                    .map_err(|e| DataFusionError::External(Box::new(QueryError::from(e))))?;
                let provider = Arc::new(EmptyTable::new(as_views(&(pin.spec.schema)())));
                PinnedTable {
                    version: None,
                    provider,
                    days: None,
                }
            }
        })
    }
}

/// The schema that view texts are planned in: lake tables and nothing else.
#[async_trait]
impl SchemaProvider for PinnedTables {
    fn table_names(&self) -> Vec<String> {
        self.pins.keys().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        PinnedTables::table(self, name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.pins.contains_key(name)
    }
}

/// The schema a query sees.
#[derive(Debug)]
pub(crate) struct VisibleTables {
    pinned: Arc<PinnedTables>,
    /// Plans the views.
    planner: Box<SessionState>,
    added: Arc<BTreeMap<String, Arc<MemTable>>>,
}

impl VisibleTables {
    /// The session in which a query is planned: `template` with the tables of `pinned`, their views, and `added`.
    pub(crate) fn session(
        template: &SessionState,
        pinned: Arc<PinnedTables>,
        added: Arc<BTreeMap<String, Arc<MemTable>>>,
    ) -> SessionState {
        let inner = only_schema(Arc::clone(&pinned) as Arc<dyn SchemaProvider>);
        let planner = SessionStateBuilder::new_from_existing(template.clone())
            .with_catalog_list(inner)
            .build();
        let visible = Arc::new(Self {
            pinned,
            planner: Box::new(planner),
            added,
        });
        SessionStateBuilder::new_from_existing(template.clone())
            .with_catalog_list(only_schema(visible))
            .build()
    }

    async fn view(&self, text: String) -> Result<Arc<dyn TableProvider>> {
        let plan = self.planner.create_logical_plan(&text).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(text))))
    }
}

#[async_trait]
impl SchemaProvider for VisibleTables {
    fn table_names(&self) -> Vec<String> {
        VISIBLE
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .chain(self.added.keys().cloned())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.added.get(name) {
            return Ok(Some(Arc::clone(table) as Arc<dyn TableProvider>));
        }
        match meaning(name) {
            Some(Meaning::Table(spec)) => self.pinned.table(spec.name).await,
            Some(Meaning::View(text)) => self.view((*text).to_owned()).await.map(Some),
            Some(Meaning::Amended(text, more)) => {
                let more = match self.pinned.table(LEDGER.name).await? {
                    Some(ledger) if reversals::may_have(&*ledger) => *more,
                    _ => "",
                };
                self.view(format!("{text}{more}")).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(match meaning(name) {
            Some(Meaning::View(_) | Meaning::Amended(..)) => Some(TableType::View),
            Some(Meaning::Table(_)) => Some(TableType::Base),
            None => self.added.contains_key(name).then_some(TableType::Base),
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        meaning(name).is_some() || self.added.contains_key(name)
    }
}

/// A catalogue with one schema, and `information_schema` about it.
#[derive(Debug)]
struct OneSchema {
    tables: Arc<dyn SchemaProvider>,
}

impl CatalogProvider for OneSchema {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            SCHEMA => Some(Arc::clone(&self.tables)),
            // Made on demand: kept, it and the catalogue would keep each other alive.
            "information_schema" => Some(Arc::new(information::InformationSchema::about(
                Arc::clone(&self.tables),
            ))),
            _ => None,
        }
    }
}

fn only_schema(tables: Arc<dyn SchemaProvider>) -> Arc<dyn CatalogProviderList> {
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOGUE.to_owned(), Arc::new(OneSchema { tables }));
    Arc::new(list)
}
