//! Rows with equal values in some columns, told by number: the `GROUP BY` of the roll-up.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashTable;
use twox_hash::XxHash3_64;

/// Distinct keys, numbered from 0 in order of first appearance.
#[derive(Debug)]
pub(super) struct Groups {
    converter: RowConverter,
    keys: Rows,
    table: HashTable<(u64, usize)>,
}

impl Groups {
    pub(super) fn new(fields: Vec<SortField>) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(fields)?;
        let keys = converter.empty_rows(0, 0);
        Ok(Self {
            converter,
            keys,
            table: HashTable::new(),
        })
    }

    /// The group of every row of `columns`, new ones included.
    pub(super) fn of(&mut self, columns: &[ArrayRef]) -> Result<Vec<usize>, ArrowError> {
        let rows = self.converter.convert_columns(columns)?;
        let mut groups = Vec::with_capacity(rows.num_rows());
        for row in rows.iter() {
            let hash = XxHash3_64::oneshot(row.as_ref());
            let known = self
                .table
                .find(hash, |(_, group)| self.keys.row(*group) == row)
                .map(|(_, group)| *group);
            let group = match known {
                Some(group) => group,
                None => {
                    let group = self.keys.num_rows();
                    self.keys.push(row);
                    self.table
                        .insert_unique(hash, (hash, group), |(hash, _)| *hash);
                    group
                }
            };
            groups.push(group);
        }
        Ok(groups)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.num_rows()
    }

    /// The key columns, one row a group.
    pub(super) fn keys(&self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.converter.convert_rows(self.keys.iter())
    }
}
