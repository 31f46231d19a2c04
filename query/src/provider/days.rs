//! The day grain (D14): the same sums in fewer rows. What `rollup_day` has followed is read from it, what came since from
//! the hour files, so both grains give the same answer at the same version of the hour table.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::datasource::TableProvider;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use siji_lake::log::{Changes, changes};
use siji_lake::schema::ROLLUP;
use siji_lake::snapshot::Snapshot;
use siji_lake::{Lake, LakeError};

use super::LakeTable;

/// The column that only the hour grain has.
pub(crate) const HOUR: &str = "hour";
/// Days that are further behind than this are not used: reading the log would take longer than reading the hours.
const MOST_BEHIND: i64 = 2000;

/// What the log of the hour table says, entry by entry, as far as the days have not followed. Shared by all queries.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: Mutex<BTreeMap<i64, Arc<Changes>>>,
}

impl Tail {
    /// Paths, relative to the table, of the files that joined after version `from`, up to `to`. `None`: the days cannot be
    /// used with that version of the hours.
    async fn added(
        &self,
        lake: &Lake,
        from: i64,
        to: i64,
    ) -> Result<Option<HashSet<String>>, LakeError> {
        if to < from || to - from > MOST_BEHIND {
            return Ok(None);
        }
        let mut added = HashSet::new();
        for version in from + 1..=to {
            let known = self.lock().get(&version).cloned();
            let entry = match known {
                Some(entry) => entry,
                None => match changes(lake, ROLLUP.name, version).await? {
                    Some(entry) => {
                        let entry = Arc::new(entry);
                        self.lock().insert(version, Arc::clone(&entry));
                        entry
                    }
                    None => return Ok(None),
                },
            };
            if entry.took_rows {
                return Ok(None);
            }
            added.extend(entry.added.iter().map(|add| add.path.clone()));
        }
        // Days only go forward.
        self.lock().retain(|version, _| *version > from);
        Ok(Some(added))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, Arc<Changes>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The days that belong to one version of the hours.
#[derive(Debug)]
pub(crate) struct Days {
    table: LakeTable,
    /// Files of the hours that the days have not followed.
    newer: HashSet<usize>,
    used: AtomicBool,
}

impl Days {
    /// The days of `days` with the hours of `hours`, if they go together.
    pub(crate) async fn of(
        lake: &Lake,
        tail: &Tail,
        days: LakeTable,
        hours: &Snapshot,
    ) -> Result<Option<Days>, LakeError> {
        let Some(followed) = days.snapshot.followed() else {
            return Ok(None);
        };
        let version = i64::try_from(hours.version()).unwrap_or(i64::MAX);
        let Some(added) = tail.added(lake, followed, version).await? else {
            return Ok(None);
        };
        let root = lake.table_path(ROLLUP.name);
        let newer: HashSet<usize> = hours
            .files()
            .iter()
            .enumerate()
            .filter(|(_, file)| {
                let parts: Option<Vec<String>> = file
                    .path
                    .prefix_match(&root)
                    .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect());
                parts.is_some_and(|parts| added.contains(&parts.join("/")))
            })
            .map(|(index, _)| index)
            .collect();
        // One that is not there any more was folded before the days had it: its rows cannot be told from the others'.
        Ok((newer.len() == added.len()).then(|| Days {
            table: days,
            newer,
            used: AtomicBool::new(false),
        }))
    }

    /// The version of the days, if a query has used them.
    pub(crate) fn used(&self) -> Option<u64> {
        self.used
            .load(Ordering::Relaxed)
            .then(|| self.table.snapshot.version())
    }
}

impl LakeTable {
    /// The same table, allowed to answer from days wherever `hour` is not asked for: right only where rows are added up.
    pub(crate) fn by_day(&self) -> Option<LakeTable> {
        let possible = self.days.is_some() && !self.summed;
        possible.then(|| LakeTable {
            summed: true,
            ..self.clone()
        })
    }

    /// The days, if this scan may be answered from them.
    pub(super) fn days_for(
        &self,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Option<&Days> {
        let days = self.days.as_deref().filter(|_| self.summed)?;
        let hour = self.schema.index_of(HOUR).ok()?;
        let asked = projection.is_none_or(|columns| columns.contains(&hour))
            || filters.iter().any(|filter| {
                filter
                    .column_refs()
                    .iter()
                    .any(|column| column.name == HOUR)
            });
        (!asked).then_some(days)
    }

    pub(super) async fn scan_days(
        &self,
        days: &Days,
        state: &dyn Session,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        days.used.store(true, Ordering::Relaxed);
        let columns = projection
            .iter()
            .map(|column| {
                days.table
                    .schema
                    .index_of(self.schema.field(*column).name())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let followed = days
            .table
            .scan_files(state, Some(&columns), filters, limit, None)
            .await?;
        if days.newer.is_empty() {
            return Ok(followed);
        }
        let newer = self
            .scan_files(
                state,
                Some(&projection.to_vec()),
                filters,
                limit,
                Some(&days.newer),
            )
            .await?;
        UnionExec::try_new(vec![followed, newer])
    }
}

/// The roll-up without `hour`, by its own name: always from the days, where they can be used.
#[derive(Debug)]
pub(crate) struct DayTable {
    hours: LakeTable,
    schema: SchemaRef,
}

impl DayTable {
    pub(crate) fn new(hours: &LakeTable) -> DayTable {
        let fields = hours.schema.fields().iter();
        let fields = fields.filter(|field| field.name() != HOUR).cloned();
        DayTable {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            hours: hours.by_day().unwrap_or_else(|| hours.clone()),
        }
    }
}

#[async_trait]
impl TableProvider for DayTable {
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
        self.hours.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns = projection
            .cloned()
            .unwrap_or_else(all)
            .into_iter()
            .map(|column| self.hours.schema.index_of(self.schema.field(column).name()))
            .collect::<Result<Vec<_>, _>>()?;
        self.hours.scan(state, Some(&columns), filters, limit).await
    }
}
