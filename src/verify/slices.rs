//! Some days at a time. Sums by every key of a city's lake take more memory and temporary files than an audit may use;
//! every key has a day, so it can be made for parts of the days, which together are all of them.

use siji_query::Session;

use super::VerifyError;
use super::rows::query;

/// Rows of the ledger and of the largest tier that are summed up at a time. A day that has more stands alone.
const ROWS: i64 = 2_000_000;

/// A condition on `local_date`, in SQL.
pub(super) type Slice = String;

/// All days, in parts.
pub(super) async fn slices(session: &Session) -> Result<Vec<Slice>, VerifyError> {
    let rows = query(
        session,
        "the days",
        "SELECT CAST(local_date AS VARCHAR), sum(n) FROM ( \
           SELECT local_date, count(*) AS n FROM ledger WHERE disposition = 'accepted' GROUP BY 1 \
           UNION ALL SELECT local_date, count(*) AS n FROM rollup WHERE tier = 'community' GROUP BY 1) \
         WHERE local_date IS NOT NULL GROUP BY 1 ORDER BY 1",
    )
    .await?;
    let days: Vec<(String, i64)> = (0..rows.len())
        .map(|row| (rows.text(row, 0), rows.integer(row, 1)))
        .collect();
    Ok(cut(&days, ROWS))
}

/// Cuts days with their rows into parts of about `most` rows. The first and the last part are open, so that they hold
/// whatever has a day that is not among these, or none.
fn cut(days: &[(String, i64)], most: i64) -> Vec<Slice> {
    let mut ends: Vec<&str> = Vec::new();
    let mut so_far = 0;
    for (day, rows) in days.iter().rev() {
        // From the last day backwards: a part ends where the one behind it is full.
        if so_far > 0 && so_far + rows > most {
            ends.push(day);
            so_far = 0;
        }
        so_far += rows;
    }
    ends.reverse();
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
        return vec!["true".to_owned()];
    };
    let mut slices = vec![format!(
        "(local_date <= DATE '{first}' OR local_date IS NULL)"
    )];
    slices.extend(ends.windows(2).map(|ends| {
        format!(
            "local_date > DATE '{}' AND local_date <= DATE '{}'",
            ends[0], ends[1]
        )
    }));
    slices.push(format!("local_date > DATE '{last}'"));
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(rows: &[i64]) -> Vec<(String, i64)> {
        let day = |(n, rows): (usize, &i64)| (format!("2026-03-{:02}", n + 1), *rows);
        rows.iter().enumerate().map(day).collect()
    }

    #[test]
    fn few_rows_are_one_slice_without_a_condition() {
        assert_eq!(cut(&[], 10), ["true"]);
        assert_eq!(cut(&days(&[3, 7]), 10), ["true"]);
        assert_eq!(cut(&days(&[30]), 10), ["true"]);
    }

    #[test]
    fn slices_are_next_to_each_other_and_open_at_both_ends() {
        assert_eq!(
            cut(&days(&[4, 4, 4, 25, 1, 9]), 10),
            [
                "(local_date <= DATE '2026-03-01' OR local_date IS NULL)",
                "local_date > DATE '2026-03-01' AND local_date <= DATE '2026-03-03'",
                "local_date > DATE '2026-03-03' AND local_date <= DATE '2026-03-04'",
                "local_date > DATE '2026-03-04'",
            ]
        );
    }
}
