//! Chance that is the same on every machine: integer mixing and plain IEEE arithmetic, no library functions whose last
//! digit differs between platforms.

/// A stream of pseudo-random numbers: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles a number; different numbers stay different.
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One number made of two; for a fixed `a`, different `b` give different results.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    scramble(scramble(a.wrapping_add(GOLDEN)).wrapping_add(b.wrapping_mul(GOLDEN)))
}

/// A number made of a text (FNV-1a, then scrambled).
pub(super) fn of_text(text: &str) -> u64 {
    scramble(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    }))
}

impl Dice {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(scramble(seed.wrapping_add(GOLDEN)))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        scramble(self.0)
    }

    /// A whole number from 0 and below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// A whole number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low.saturating_add_unsigned(self.below(high.abs_diff(low).saturating_add(1)))
    }

    /// Like [`Dice::between`], small numbers far more often than great ones.
    pub fn skewed(&mut self, low: i64, high: i64) -> i64 {
        let part = self.unit() * self.unit();
        low.saturating_add((part * (high.saturating_sub(low).saturating_add(1)) as f64) as i64)
            .min(high)
    }

    /// A number from 0 and below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A factor with median 1, about log-normal: one standard deviation is a factor of 2 to the power of `octaves`.
    pub fn factor(&mut self, octaves: f64) -> f64 {
        const SQRT_3: f64 = 1.732_050_807_568_877_2;
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        power_of_two((sum - 2.0) * SQRT_3 * octaves)
    }
}

/// 2 to the power of `x` for |x| < 1000, within 1e-6.
fn power_of_two(x: f64) -> f64 {
    let whole = x.floor();
    let f = x - whole;
    // Taylor series of 2^f.
    let fraction = 1.0
        + f * (std::f64::consts::LN_2
            + f * (0.240_226_506_959_101
                + f * (0.055_504_108_664_821
                    + f * (0.009_618_129_107_628 + f * 0.001_333_355_814_642))));
    let exponent = (whole.clamp(-1000.0, 1000.0) as i64 + 1023) as u64;
    fraction * f64::from_bits(exponent << 52)
}

/// Draws from a fixed set of weights in constant time (Walker's alias method).
#[derive(Debug, Clone)]
pub(super) struct Lottery {
    keep: Vec<u32>,
    other: Vec<u32>,
}

impl Lottery {
    /// Over weights that are not negative; `None` where there is nothing to win.
    pub fn new(weights: &[f64]) -> Option<Lottery> {
        let total: f64 = weights.iter().sum();
        let n = u32::try_from(weights.len()).ok()?;
        if !(total > 0.0 && total.is_finite()) {
            return None;
        }
        let mut scaled: Vec<f64> = weights
            .iter()
            .map(|weight| weight * f64::from(n) / total)
            .collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..n).partition(|i| scaled[*i as usize] < 1.0);
        let mut keep = vec![u32::MAX; weights.len()];
        let mut other: Vec<u32> = (0..n).collect();
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            let (p, r) = (poor as usize, rich as usize);
            keep[p] = (scaled[p] * f64::from(u32::MAX)) as u32;
            other[p] = rich;
            scaled[r] -= 1.0 - scaled[p];
            if scaled[r] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        // What is left over is there through rounding alone; a weight of nothing must still never win.
        for poor in small.into_iter().filter(|i| weights[*i as usize] <= 0.0) {
            keep[poor as usize] = 0;
            other[poor as usize] = weights
                .iter()
                .position(|weight| *weight > 0.0)
                .and_then(|i| u32::try_from(i).ok())?;
        }
        Some(Lottery { keep, other })
    }

    /// One of the positions.
    pub fn draw(&self, dice: &mut Dice) -> u32 {
        let bits = dice.bits();
        let slot = ((u64::from(bits as u32) * self.keep.len() as u64) >> 32) as usize;
        if (bits >> 32) as u32 <= self.keep[slot] && self.keep[slot] > 0 {
            slot as u32
        } else {
            self.other[slot]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_split_mix_64() {
        // The first outputs of the authors' reference implementation for state 1234567.
        let mut dice = Dice(1_234_567);
        assert_eq!(
            [dice.bits(), dice.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn a_lottery_wins_in_proportion_to_the_weights_and_never_without_weight() {
        let weights = [0.0, 1.0, 3.0, 0.0, 6.0];
        let lottery = Lottery::new(&weights).unwrap();
        let mut wins = [0u32; 5];
        let mut dice = Dice::new(7);
        for _ in 0..100_000 {
            wins[lottery.draw(&mut dice) as usize] += 1;
        }
        assert_eq!((wins[0], wins[3]), (0, 0));
        for (i, expected) in [(1, 10_000.0), (2, 30_000.0), (4, 60_000.0)] {
            assert!((f64::from(wins[i]) - expected).abs() < 800.0, "{wins:?}");
        }
        assert!(Lottery::new(&[0.0, 0.0]).is_none());
        assert!(Lottery::new(&[]).is_none());
    }

    #[test]
    fn a_factor_has_median_one_and_the_spread_asked_for() {
        let mut dice = Dice::new(3);
        let mut factors: Vec<f64> = (0..20_001).map(|_| dice.factor(1.0)).collect();
        factors.sort_by(f64::total_cmp);
        assert!((factors[10_000] - 1.0).abs() < 0.05, "{}", factors[10_000]);
        assert!(
            (factors[16_827] - 2.0).abs() < 0.15,
            "one deviation up: {}",
            factors[16_827]
        );
        assert!((power_of_two(-1.5) - 0.353_553_390).abs() < 1e-6);
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut dice = Dice::new(5);
        for _ in 0..10_000 {
            assert!((3..=9).contains(&dice.between(3, 9)));
            assert!((-2..=4).contains(&dice.skewed(-2, 4)));
            assert!(dice.below(7) < 7);
        }
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.between(4, 4), 4);
    }
}
