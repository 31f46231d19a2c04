//! A token bucket: how many events a second a client may send.

use std::time::{Duration, Instant};

/// Seconds of the rate that may come at once.
const BURST_S: f64 = 2.0;

/// Fills at `rate` a second up to a burst. A batch is let in while anything is left, and may overdraw: so that one
/// larger than the burst gets in at all.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    left: f64,
    filled: Instant,
}

impl Bucket {
    pub fn new(rate: u32, now: Instant) -> Bucket {
        let rate = f64::from(rate.max(1));
        Bucket {
            rate,
            left: rate * BURST_S,
            filled: now,
        }
    }

    /// Whether more may come now; if not, how long to wait.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let filled = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.left = (self.left + filled).min(self.rate * BURST_S);
        self.filled = now.max(self.filled);
        if self.left > 0.0 {
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - self.left) / self.rate))
        }
    }

    /// Takes what a batch uses, if more may come now; if not, nothing.
    pub fn charge(&mut self, now: Instant, events: usize) -> Result<(), Duration> {
        self.admit(now)?;
        self.left -= events as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_the_rate_through_and_makes_who_overdraws_wait() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(100, start);
        assert_eq!(bucket.admit(at(0)), Ok(()));
        assert_eq!(bucket.charge(at(0), 500), Ok(()));
        let wait = bucket.admit(at(0)).unwrap_err();
        assert!(
            (3.0..3.1).contains(&wait.as_secs_f64()),
            "300 too many at 100 a second: {wait:?}"
        );
        assert_eq!(
            bucket.charge(at(0), 1_000_000),
            Err(wait),
            "admitted before the other was charged"
        );
        assert!(bucket.admit(at(2_900)).is_err());
        assert_eq!(bucket.charge(at(3_100), 1), Ok(()), "nothing was taken");
        let mut sent = 1;
        for ms in (3_110..13_110).step_by(1) {
            if bucket.charge(at(ms), 1).is_ok() {
                sent += 1;
            }
        }
        assert!(
            (990..1_025).contains(&sent),
            "{sent} in ten seconds at 100 a second"
        );
    }
}
