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

    fn fill(&mut self, now: Instant) {
        let filled = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.left = (self.left + filled).min(self.rate * BURST_S);
        self.filled = now.max(self.filled);
    }

    /// Whether more may come now; if not, how long to wait.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
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

    /// Gives back what was taken for something that was not done.
    pub fn give_back(&mut self, events: usize) {
        self.left += events as f64;
    }

    /// What is left, and how long until all of it is there again.
    pub fn standing(&mut self, now: Instant) -> Standing {
        self.fill(now);
        let quota = self.rate * BURST_S;
        Standing {
            quota: quota as u64,
            window_s: BURST_S as u64,
            left: self.left.max(0.0) as u64,
            full_in_s: ((quota - self.left) / self.rate).ceil().max(0.0) as u64,
        }
    }
}

/// What a client may be told of its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Events that may come within [`Standing::window_s`].
    pub quota: u64,
    pub window_s: u64,
    /// Events that may come now.
    pub left: u64,
    /// Seconds until the whole quota is there, if nothing comes.
    pub full_in_s: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_and_what_was_not_done_is_given_back() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, start);
        let full = Standing {
            quota: 200,
            window_s: 2,
            left: 200,
            full_in_s: 0,
        };
        assert_eq!(bucket.standing(start), full);
        assert_eq!(bucket.charge(start, 350), Ok(()));
        let standing = bucket.standing(start);
        assert_eq!((standing.left, standing.full_in_s), (0, 4));
        bucket.give_back(350);
        assert_eq!(bucket.standing(start), full);
    }

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
