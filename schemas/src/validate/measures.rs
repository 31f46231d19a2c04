//! V06, V07: numbers that can be true.

use crate::catalogue::{Catalogue, Column, EventType, Word};
use crate::{Code, EventRef, Refusal};

const MICROS: i128 = 1_000_000;

/// Figures beyond these (100 billion yuan, a trillion persons) are mistakes of unit; sums of a million of them still fit
/// 64 bits.
const LARGEST: [(Column, i64); 2] = [
    (Column::amount_fen, 10_000_000_000_000),
    (Column::count, 1_000_000_000_000),
];

/// V06: no negative count, amount or duration, and no negative value of a unit that counts something.
pub(super) fn not_negative(
    event: &EventRef<'_>,
    catalogue: &Catalogue,
    event_type: &EventType,
) -> Result<(), Refusal> {
    let refuse = |column: Column| {
        let name = column.name();
        let reason = format!(
            "{name} is negative: send 0 or more; to take something back, retract or correct its event"
        );
        Err(Refusal::of(Code::V06, name, reason))
    };
    let negative = |column: Column| column.micros(event).is_some_and(|number| number < 0);
    for column in [Column::count, Column::amount_fen, Column::minutes] {
        if event_type.not_negative.contains(column) && negative(column) {
            return refuse(column);
        }
    }
    let counts = |unit: &Word| unit.not_negative;
    if event.value.is_some_and(|value| value < 0)
        && (event_type.not_negative.contains(Column::value)
            || unit(event, catalogue).is_some_and(counts))
    {
        return refuse(Column::value);
    }
    Ok(())
}

/// V07: bounds of the type, bounds of the unit (percentages), and no more of one thing than of another (voters).
pub(super) fn within_range(
    event: &EventRef<'_>,
    catalogue: &Catalogue,
    event_type: &EventType,
) -> Result<(), Refusal> {
    for (column, largest) in LARGEST {
        check(event, column, -largest, largest)?;
    }
    for range in &event_type.ranges {
        check(event, range.column, range.low, range.high)?;
    }
    if let Some((low, high)) = unit(event, catalogue).and_then(|unit| unit.range) {
        check(event, Column::value, low, high)?;
    }
    for (less, more) in &event_type.at_most {
        if let (Some(small), Some(great)) = (less.micros(event), more.micros(event))
            && small > great
        {
            let (less, more) = (less.name(), more.name());
            let reason =
                format!("{less} is greater than {more}, of which it is a part: check both");
            return Err(Refusal::of(Code::V07, less, reason));
        }
    }
    Ok(())
}

fn check(event: &EventRef<'_>, column: Column, low: i64, high: i64) -> Result<(), Refusal> {
    match column.micros(event) {
        Some(number) if number < i128::from(low) * MICROS || number > i128::from(high) * MICROS => {
            let name = column.name();
            Err(Refusal::of(
                Code::V07,
                name,
                format!("{name} is out of range: expected {low} to {high}"),
            ))
        }
        _ => Ok(()),
    }
}

fn unit<'r>(event: &EventRef<'_>, catalogue: &'r Catalogue) -> Option<&'r Word> {
    catalogue.words(Column::unit)?.get(event.unit?)
}
