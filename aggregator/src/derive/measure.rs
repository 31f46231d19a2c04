//! What is summed: signed partials that can be added in any order and taken back (D4).

use siji_schemas::buckets::bucket_of;
use smallvec::SmallVec;

/// Sums over some events of one batch. All are signed; `_n` counts the events that had the figure at all. Kept small:
/// there is one for each group of a batch, and all of them are walked through in no order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measure {
    /// Events.
    pub events: i32,
    /// Events with `count`, and its sum.
    pub count: Sum,
    /// Events with `amount_fen`, and its sum in fen.
    pub amount_fen: Sum,
    /// Events with `minutes`, and its sum in minutes.
    pub minutes: Sum,
    /// Events with `value`.
    pub value_n: i32,
    /// Its sum in millionths of the unit: 128 bits, for one value may take 60.
    pub value_micros: i128,
    /// Events by rating 1 to 5.
    pub ratings: [i32; 5],
    /// Events by bucket of `minutes`, sorted by bucket, without zeros.
    pub minutes_hist: SmallVec<[(i32, i32); 2]>,
    /// Whether a sum left its 64 bits, so that none of this may be stored.
    pub overflowed: bool,
}

/// The figures of one event that are added up; none of them, if it was marked as damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// `count`
    pub count: Option<i64>,
    /// `amount_fen`
    pub amount_fen: Option<i64>,
    /// `minutes`
    pub minutes: Option<i32>,
    /// `value` in millionths; none if it is a level, which is not added up over time.
    pub value_micros: Option<i128>,
    /// `rating`
    pub rating: Option<i32>,
}

/// A sum and how many figures went into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Their sum.
    pub sum: i64,
    /// Figures.
    pub n: i32,
}

impl Sum {
    /// True if the sum overflowed.
    #[inline]
    fn add(&mut self, n: i32, sum: i64) -> bool {
        let overflowed;
        (self.sum, overflowed) = self.sum.overflowing_add(sum);
        self.n += n;
        overflowed
    }

    /// The figure of one event, or its taking back.
    #[inline]
    fn add_figure(&mut self, figure: Option<i64>, sign: i32) -> bool {
        match figure {
            None => false,
            Some(figure) => match figure.checked_mul(i64::from(sign)) {
                Some(signed) => self.add(sign, signed),
                None => true,
            },
        }
    }
}

impl Measure {
    /// Adds the figures of one event (`sign` 1) or takes them back (-1).
    pub fn add(&mut self, figures: &Figures, sign: i32) {
        self.events += sign;
        self.overflowed |= self.count.add_figure(figures.count, sign)
            | self.amount_fen.add_figure(figures.amount_fen, sign)
            | self
                .minutes
                .add_figure(figures.minutes.map(i64::from), sign);
        if let Some(micros) = figures.value_micros {
            self.value_n += sign;
            // Decimals of 18 digits: 128 bits hold more of them than there are rows.
            self.value_micros += micros * i128::from(sign);
        }
        if let Some(slot) = figures.rating.and_then(|rating| {
            self.ratings
                .get_mut(usize::try_from(rating.checked_sub(1)?).ok()?)
        }) {
            *slot += sign;
        }
        if let Some(minutes) = figures
            .minutes
            .and_then(|minutes| u64::try_from(minutes).ok())
        {
            self.add_bucket(bucket_of(minutes), sign);
        }
    }

    /// Adds the sums of other events.
    pub fn merge(&mut self, other: &Measure) {
        self.events += other.events;
        self.overflowed |= other.overflowed
            | self.count.add(other.count.n, other.count.sum)
            | self
                .amount_fen
                .add(other.amount_fen.n, other.amount_fen.sum)
            | self.minutes.add(other.minutes.n, other.minutes.sum);
        self.value_n += other.value_n;
        self.value_micros += other.value_micros;
        for (mine, theirs) in self.ratings.iter_mut().zip(other.ratings) {
            *mine += theirs;
        }
        for (bucket, n) in &other.minutes_hist {
            self.add_bucket(*bucket, *n);
        }
    }

    fn add_bucket(&mut self, bucket: i32, n: i32) {
        match self
            .minutes_hist
            .binary_search_by_key(&bucket, |(bucket, _)| *bucket)
        {
            Ok(at) => {
                self.minutes_hist[at].1 += n;
                if self.minutes_hist[at].1 == 0 {
                    self.minutes_hist.remove(at);
                }
            }
            Err(at) => self.minutes_hist.insert(at, (bucket, n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn figures()(
            count in proptest::option::of(0i64..100),
            amount_fen in proptest::option::of(-(1i64 << 40)..1 << 40),
            minutes in proptest::option::of(0i32..5000),
            value_micros in proptest::option::of(any::<i64>().prop_map(i128::from)),
            rating in proptest::option::of(1i32..=5),
            damaged in proptest::bool::weighted(0.1),
        ) -> Figures {
            if damaged {
                return Figures::default();
            }
            Figures { count, amount_fen, minutes, value_micros, rating }
        }
    }

    fn measure(events: &[Figures]) -> Measure {
        let mut measure = Measure::default();
        events.iter().for_each(|event| measure.add(event, 1));
        measure
    }

    fn merged(parts: &[&Measure]) -> Measure {
        let mut sum = Measure::default();
        parts.iter().for_each(|part| sum.merge(part));
        sum
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative_and_equals_adding_all(
            a in proptest::collection::vec(figures(), 0..20),
            b in proptest::collection::vec(figures(), 0..20),
            c in proptest::collection::vec(figures(), 0..20),
        ) {
            let (x, y, z) = (measure(&a), measure(&b), measure(&c));
            prop_assert_eq!(merged(&[&x, &y]), merged(&[&y, &x]));
            prop_assert_eq!(merged(&[&merged(&[&x, &y]), &z]), merged(&[&x, &merged(&[&y, &z])]));
            prop_assert_eq!(merged(&[&x, &y, &z]), measure(&[a, b, c].concat()));
        }

        #[test]
        fn what_is_taken_back_leaves_no_trace(
            kept in proptest::collection::vec(figures(), 0..20),
            taken in proptest::collection::vec(figures(), 0..20),
        ) {
            let mut sum = measure(&[kept.clone(), taken.clone()].concat());
            taken.iter().for_each(|event| sum.add(event, -1));
            prop_assert_eq!(sum, measure(&kept));
        }
    }

    #[test]
    fn missing_is_not_zero() {
        let zero = Figures {
            count: Some(0),
            ..Figures::default()
        };
        let sum = measure(&[zero, Figures::default()]);
        assert_eq!((sum.events, sum.count), (2, Sum { n: 1, sum: 0 }));
    }

    #[test]
    fn a_sum_beyond_64_bits_is_told() {
        let large = Figures {
            amount_fen: Some(i64::MAX),
            ..Figures::default()
        };
        let mut sum = measure(&[large]);
        assert!(!sum.overflowed);
        sum.merge(&measure(&[large]));
        assert!(sum.overflowed);
    }
}
