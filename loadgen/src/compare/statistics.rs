//! Difference of two sides and its interval: a bootstrap over rounds.
//!
//! Rounds are resampled and not messages: what makes two runs differ (placement, caches, neighbours) differs
//! between runs, and all messages of a run share it. With few rounds a plain bootstrap is too sure of itself;
//! its interval is widened by the factor by which a t interval is wider than a normal one (T. Hesterberg,
//! "What Teachers Should Know about the Bootstrap", 2014, expanded percentile interval).

/// Fewer rounds show no spread.
pub const ROUNDS_MIN: usize = 3;
const RESAMPLES: usize = 4_000;
/// Quantile of the normal distribution for an interval of 95 %.
const NORMAL: f64 = 1.96;
/// The same of the t distribution, by degrees of freedom from 1 on.
const T: [f64; 20] = [
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13,
    2.12, 2.11, 2.10, 2.09, 2.09,
];

/// New divided by base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub ratio: f64,
    /// Ends of the 95 % interval; `None` with too few rounds.
    pub interval: Option<(f64, f64)>,
}

/// The ratio of two sides' geometric means; `None` when a side has no values, or one that is not above 0.
#[must_use]
pub fn ratio(base: &[f64], new: &[f64], seed: u64) -> Option<Ratio> {
    let is_sound = |side: &[f64]| {
        !side.is_empty() && side.iter().all(|value| value.is_finite() && *value > 0.0)
    };
    if !is_sound(base) || !is_sound(new) {
        return None;
    }
    let logarithms = |side: &[f64]| side.iter().map(|value| value.ln()).collect::<Vec<_>>();
    let (base, new) = (logarithms(base), logarithms(new));
    let difference = mean(&new) - mean(&base);
    let rounds = base.len().min(new.len());
    let interval = (rounds >= ROUNDS_MIN).then(|| {
        let (low, high) = resampled(&base, &new, seed);
        let wider = widening(&base, &new);
        let moved = |end: f64| (difference + (end - difference) * wider).exp();
        (moved(low), moved(high))
    });
    Some(Ratio {
        ratio: difference.exp(),
        interval,
    })
}

/// Quantiles of the difference of means when rounds are drawn again and again from those there are.
fn resampled(base: &[f64], new: &[f64], seed: u64) -> (f64, f64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut drawn = |side: &[f64]| {
        let draws = (0..side.len()).map(|_| side[random.usize(..side.len())]);
        draws.sum::<f64>() / side.len() as f64
    };
    let mut differences: Vec<f64> = (0..RESAMPLES).map(|_| drawn(new) - drawn(base)).collect();
    differences.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 40; // 2.5 % on either side
    (differences[tail], differences[RESAMPLES - 1 - tail])
}

fn widening(base: &[f64], new: &[f64]) -> f64 {
    let rounds = base.len().min(new.len()) as f64;
    let (a, b) = (squared_error(base), squared_error(new));
    let part = |error: f64, side: &[f64]| error * error / (side.len() - 1) as f64;
    let below = part(a, base) + part(b, new);
    let freedom = if below > 0.0 {
        (a + b) * (a + b) / below // Welch and Satterthwaite
    } else {
        (base.len() + new.len() - 2) as f64
    };
    let place = (freedom.floor() as usize).max(1) - 1;
    let t = T.get(place).copied().unwrap_or(NORMAL + 2.4 / freedom);
    (rounds / (rounds - 1.0)).sqrt() * t / NORMAL
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Square of the standard error of the mean.
fn squared_error(values: &[f64]) -> f64 {
    let middle = mean(values);
    let squares = values.iter().map(|value| (value - middle).powi(2));
    let count = values.len() as f64;
    squares.sum::<f64>() / (count - 1.0) / count
}

/// The value in the middle; of an even number the mean of the two there.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rounds_have_no_interval() {
        let found = ratio(&[100.0, 102.0], &[50.0, 51.0], 1).unwrap();
        assert!((found.ratio - 0.5).abs() < 1e-9);
        assert_eq!(found.interval, None);
        for (base, new) in [
            (&[1.0][..], &[0.0][..]),
            (&[], &[1.0]),
            (&[f64::NAN], &[1.0]),
        ] {
            assert_eq!(ratio(base, new, 1), None);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let sides = ([100.0, 105.0, 98.0, 101.0], [90.0, 97.0, 93.0, 99.0]);
        let of = |seed| ratio(&sides.0, &sides.1, seed).unwrap();
        assert_eq!(of(7), of(7));
        let (low, high) = of(7).interval.unwrap();
        assert!(low < of(7).ratio && of(7).ratio < high && low > 0.8 && high < 1.05);
    }

    /// Of intervals of 95 % about that many hold the true ratio, also of few rounds.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut random = fastrand::Rng::with_seed(3);
        // A sum of twelve is near enough to a normal distribution of variance 1.
        let mut normal = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        for (rounds, least) in [(3, 0.90), (5, 0.92), (10, 0.92)] {
            let mut held = 0;
            for trial in 0..400 {
                let mut side = |center: f64| -> Vec<f64> {
                    (0..rounds)
                        .map(|_| center * (0.1 * normal()).exp())
                        .collect()
                };
                let (base, new) = (side(1_000.0), side(900.0));
                let (low, high) = ratio(&base, &new, trial).unwrap().interval.unwrap();
                held += u32::from(low <= 0.9 && 0.9 <= high);
            }
            let share = f64::from(held) / 400.0;
            assert!((least..=0.99).contains(&share), "{rounds} rounds: {share}");
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
