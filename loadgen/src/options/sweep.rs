//! `--sweep`: rates from one to another.

use std::str::FromStr;

use super::values::number;

/// Steps of a sweep.
const STEPS_MAX: usize = 1_000;

/// Rates from the first to the last, evenly apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sweep {
    from_per_s: f64,
    to_per_s: f64,
    step_per_s: f64,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<f64>> = text.split(':').map(|part| number(part).ok()).collect();
        let Some([from_per_s, to_per_s, step_per_s]) = parts.as_deref() else {
            return Err("give FROM:TO:STEP in messages per second".into());
        };
        let sweep = Self {
            from_per_s: *from_per_s,
            to_per_s: *to_per_s,
            step_per_s: *step_per_s,
        };
        let is_sound = sweep.from_per_s > 0.0
            && sweep.step_per_s > 0.0
            && sweep.to_per_s >= sweep.from_per_s
            && sweep.to_per_s.is_finite();
        if !is_sound {
            return Err("FROM and STEP must be above 0 and TO not below FROM".into());
        }
        if (sweep.to_per_s - sweep.from_per_s) / sweep.step_per_s >= STEPS_MAX as f64 {
            return Err(format!("{STEPS_MAX} steps at most"));
        }
        Ok(sweep)
    }
}

impl Sweep {
    pub(crate) fn rates(self) -> impl Iterator<Item = f64> {
        // A little more than TO, since steps like 0.1 are not exact.
        let count = ((self.to_per_s - self.from_per_s) / self.step_per_s + 1e-9) as usize + 1;
        (0..count).map(move |at| self.from_per_s + at as f64 * self.step_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_include_both_ends() {
        let rates = |text: &str| text.parse::<Sweep>().unwrap().rates().collect::<Vec<_>>();
        assert_eq!(rates("100:300:100"), [100.0, 200.0, 300.0]);
        assert_eq!(rates("100:299:100"), [100.0, 200.0]);
        assert_eq!(rates("5:5:1"), [5.0]);
        assert_eq!(rates("0.1:0.3:0.1").len(), 3);
        for wrong in [
            "1:2", "0:1:1", "1:2:0", "3:2:1", "1:2:x", "1:inf:1", "1:1e9:1",
        ] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }
}
