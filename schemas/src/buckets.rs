//! Fixed log-linear buckets for durations: mergeable, subtractable, bounded error.
//!
//! Values below 32 have a bucket each. Above, each power of two is cut into 16 buckets of equal width, so a bucket is
//! at most 1/16 of its lower bound wide and its middle is within 1/32 (3.2 %) of any value in it.

/// Sub-buckets per power of two.
const SUB: u64 = 16;
const SUB_BITS: u32 = 4;

/// The bucket of a value.
pub fn bucket_of(value: u64) -> i32 {
    if value < 2 * SUB {
        return value as i32;
    }
    let exponent = 63 - value.leading_zeros();
    let shift = exponent - SUB_BITS;
    // `value >> shift` lies in 16..32; the first exponent that comes here is 5 (values from 32).
    ((exponent - SUB_BITS) as u64 * SUB + (value >> shift)) as i32
}

/// Smallest and largest value of a bucket, both included. `None` for a number that is no bucket.
pub fn bounds(bucket: i32) -> Option<(u64, u64)> {
    let bucket = u64::try_from(bucket).ok()?;
    if bucket < 2 * SUB {
        return Some((bucket, bucket));
    }
    let shift = u32::try_from(bucket / SUB - 1).ok()?;
    if shift > 63 - SUB_BITS {
        return None;
    }
    let low = (bucket % SUB + SUB) << shift;
    Some((low, low + ((1u64 << shift) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        let mut next = 0;
        for bucket in 0..400 {
            let (low, high) = bounds(bucket).unwrap();
            assert_eq!(low, next, "bucket {bucket}");
            next = high + 1;
        }
        assert_eq!(bounds(-1), None);
        assert_eq!(bounds(i32::MAX), None);
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_near_the_middle(value in prop_oneof![0u64..100_000, any::<u64>()]) {
            let (low, high) = bounds(bucket_of(value)).unwrap();
            prop_assert!(low <= value && value <= high);
            let middle = low as f64 / 2.0 + high as f64 / 2.0;
            prop_assert!((middle - value as f64).abs() <= value as f64 / 31.0);
        }
    }
}
