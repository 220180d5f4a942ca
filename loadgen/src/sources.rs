//! Local addresses to connect from: single ones and ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address, or a range like 127.0.0.0/8 (without the network's own address and the broadcast address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    first: IpAddr,
    count: u64,
}

impl Source {
    fn get(&self, at: u64) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + at as u32).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(at)).into(),
        }
    }
}

/// The address of the `number`th client: clients take all addresses in turn. `None` without sources.
#[must_use]
pub fn source_of(sources: &[Source], number: u64) -> Option<IpAddr> {
    let count: u64 = sources.iter().map(|source| source.count).sum();
    let mut at = number.checked_rem(count)?;
    for source in sources {
        if at < source.count {
            return Some(source.get(at));
        }
        at -= source.count;
    }
    None
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: give an address, or a range like 127.0.0.0/8");
        let Some((address, length)) = text.split_once('/') else {
            let first = text.parse().map_err(|_| wrong())?;
            return Ok(Self { first, count: 1 });
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u32 = length.parse().map_err(|_| wrong())?;
        match address {
            IpAddr::V4(address) if length <= 32 => {
                let all = 1_u64 << (32 - length);
                let network = u64::from(address.to_bits()) & !(all - 1);
                // The first names the network and the last is broadcast, in networks that have both.
                let (skipped, count) = if all > 2 { (1, all - 2) } else { (0, all) };
                Ok(Self {
                    first: Ipv4Addr::from_bits((network + skipped) as u32).into(),
                    count,
                })
            }
            IpAddr::V6(address) if (1..=128).contains(&length) => {
                let bits = 128 - length;
                let network = address.to_bits() & !((1_u128 << bits) - 1);
                // The first is the routers' (RFC 4291, 2.6.1); more than 2^32 are of no use.
                let (skipped, count) = match bits {
                    0 => (0, 1),
                    1..=32 => (1, (1_u64 << bits) - 1),
                    _ => (1, 1 << 32),
                };
                Ok(Self {
                    first: Ipv6Addr::from_bits(network + skipped).into(),
                    count,
                })
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str], numbers: &[u64]) -> Vec<String> {
        let sources: Vec<Source> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let number = |number: &u64| source_of(&sources, *number).unwrap().to_string();
        numbers.iter().map(number).collect()
    }

    #[test]
    fn lists_and_ranges_are_taken_in_turn() {
        let range = addresses(&["127.0.0.0/8"], &[0, 1, 255, (1 << 24) - 3, (1 << 24) - 2]);
        let expected = [
            "127.0.0.1",
            "127.0.0.2",
            "127.0.1.0",
            "127.255.255.254",
            "127.0.0.1",
        ];
        assert_eq!(range, expected);
        let mixed = addresses(&["10.0.0.9", "127.0.0.7/30"], &[0, 1, 2, 3]);
        assert_eq!(mixed, ["10.0.0.9", "127.0.0.5", "127.0.0.6", "10.0.0.9"]);
        assert_eq!(
            addresses(&["10.0.0.9/32", "::1/128"], &[0, 1]),
            ["10.0.0.9", "::1"]
        );
        assert_eq!(
            addresses(&["fd00::/64"], &[0, 1 << 32]),
            ["fd00::1", "fd00::1"]
        );
        assert_eq!(source_of(&[], 5), None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "x",
            "127.0.0.0/33",
            "127.0.0.0/",
            "::/129",
            "::/0",
            "1.2.3.4/x",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
