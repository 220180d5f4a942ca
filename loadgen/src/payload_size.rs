//! Sizes of payloads in bytes: a number, a range, or a weighted choice of both.

use std::str::FromStr;

/// Largest payload, in bytes: what one MQTT packet holds, roughly.
const SIZE_MAX: usize = 256 << 20;
/// Choices of a weighted distribution.
const CHOICES_MAX: usize = 64;

/// Bytes of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadSize {
    Fixed(usize),
    /// Evenly distributed, both ends included.
    Between(usize, usize),
    /// Ranges, each with the sum of its own weight and those before it.
    Weighted(Box<[(u32, usize, usize)]>),
}

impl PayloadSize {
    #[must_use]
    pub fn max(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Between(_, size) => *size,
            Self::Weighted(choices) => choices.iter().map(|choice| choice.2).max().unwrap_or(0),
        }
    }

    #[must_use]
    pub fn min(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Between(size, _) => *size,
            Self::Weighted(choices) => choices.iter().map(|choice| choice.1).min().unwrap_or(0),
        }
    }

    /// A size; from the thread's seeded generator where it varies.
    #[must_use]
    pub fn pick(&self) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Between(min, max) => fastrand::usize(*min..=*max),
            Self::Weighted(choices) => {
                let sum = choices.last().map_or(1, |choice| choice.0);
                let at = fastrand::u32(0..sum);
                let choice = choices.iter().find(|choice| at < choice.0);
                choice.map_or(0, |(_, min, max)| fastrand::usize(*min..=*max))
            }
        }
    }
}

fn number(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let bytes = digits.parse::<usize>().ok();
    bytes
        .map(|value| value.saturating_mul(unit))
        .filter(|size| *size <= SIZE_MAX)
        .ok_or(format!(
            "{text:?} is no payload size: give bytes up to 256M, MIN-MAX, or SIZE:WEIGHT,SIZE:WEIGHT"
        ))
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let Some((min, max)) = text.split_once('-') else {
        let size = number(text)?;
        return Ok((size, size));
    };
    match (number(min)?, number(max)?) {
        (min, max) if min <= max => Ok((min, max)),
        (min, max) => Err(format!("{min}-{max}: the smaller size comes first")),
    }
}

impl FromStr for PayloadSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains(':') {
            return Ok(match range(text)? {
                (min, max) if min == max => Self::Fixed(min),
                (min, max) => Self::Between(min, max),
            });
        }
        let mut sum = 0_u32;
        let mut choices = Vec::new();
        for choice in text.split(',') {
            let weight = choice.rsplit_once(':').and_then(|(size, weight)| {
                let weight = weight.parse::<u32>().ok().filter(|weight| *weight > 0)?;
                Some((size, weight))
            });
            let (size, weight) =
                weight.ok_or(format!("{choice:?}: give SIZE:WEIGHT, a weight from 1 on"))?;
            let (min, max) = range(size)?;
            sum = sum.checked_add(weight).ok_or("the weights are too large")?;
            choices.push((sum, min, max));
        }
        if choices.len() > CHOICES_MAX {
            return Err(format!("{CHOICES_MAX} payload sizes at most"));
        }
        Ok(Self::Weighted(choices.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!("16".parse(), Ok(PayloadSize::Fixed(16)));
        assert_eq!("2k".parse(), Ok(PayloadSize::Fixed(2048)));
        assert_eq!("16-1k".parse(), Ok(PayloadSize::Between(16, 1024)));
        let weighted = "16:7,1k-2k:3".parse::<PayloadSize>().unwrap();
        assert_eq!((weighted.min(), weighted.max()), (16, 2048));
        for wrong in ["9-3", "x", "1000m", "16:0", "16:", "16:1,", "16,32"] {
            assert!(wrong.parse::<PayloadSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn weights_are_kept() {
        fastrand::seed(1);
        let size = "16:9,1k-2k:1".parse::<PayloadSize>().unwrap();
        let sizes: Vec<usize> = (0..10_000).map(|_| size.pick()).collect();
        let small = sizes.iter().filter(|size| **size == 16).count();
        assert!((8_800..9_200).contains(&small), "{small}");
        let large = sizes.iter().filter(|size| (1024..=2048).contains(*size));
        assert_eq!(large.count() + small, sizes.len());
    }
}
