//! Walking the filters of SUBSCRIBE and UNSUBSCRIBE, and the options byte of a subscription.

use super::packet::{
    Qos, RetainHandling, SubscribeFilters, SubscriptionOptions, UnsubscribeFilters, Version,
};
use super::primitives::Reader;
use super::violation::Violation;

impl SubscriptionOptions {
    /// The options byte, MQTT 5.0 section 3.8.3.1; v3 has the QoS alone.
    #[must_use]
    pub fn to_byte(self, version: Version) -> u8 {
        let qos = self.qos as u8;
        if !version.is_v5() {
            return qos;
        }
        qos | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }

    /// # Errors
    /// v5: reserved bits are malformed [MQTT-3.8.3-5], QoS 3 and Retain Handling 3 are protocol
    /// errors. v3: everything but QoS 0, 1 and 2 is malformed (3.1.1 [MQTT-3.8.3-4]).
    pub fn from_byte(byte: u8, version: Version) -> Result<Self, Violation> {
        if !version.is_v5() {
            let qos = Qos::from_bits(byte).ok_or(Violation::OptionsQos)?;
            return Ok(Self {
                qos,
                ..Self::default()
            });
        }
        if byte & 0b1100_0000 != 0 {
            return Err(Violation::OptionsReserved);
        }
        let qos = Qos::from_bits(byte & 0b11).ok_or(Violation::OptionsQos3)?;
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Violation::OptionsRetainHandling3),
        };
        Ok(Self {
            qos,
            no_local: byte & 0b100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling,
        })
    }
}

impl<'a> SubscribeFilters<'a> {
    /// The filters with their options, in order.
    #[must_use]
    pub fn iter(&self) -> SubscribeFiltersIter<'a> {
        SubscribeFiltersIter {
            reader: Reader::new(self.raw),
            version: self.version,
        }
    }

    /// Number of filters; walks them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }
}

impl<'a> IntoIterator for SubscribeFilters<'a> {
    type Item = (&'a str, SubscriptionOptions);
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> SubscribeFiltersIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &SubscribeFilters<'a> {
    type Item = (&'a str, SubscriptionOptions);
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> SubscribeFiltersIter<'a> {
        self.iter()
    }
}

/// See [`SubscribeFilters::iter`].
#[derive(Clone, Debug)]
pub struct SubscribeFiltersIter<'a> {
    reader: Reader<'a>,
    version: Version,
}

impl<'a> Iterator for SubscribeFiltersIter<'a> {
    type Item = (&'a str, SubscriptionOptions);

    fn next(&mut self) -> Option<Self::Item> {
        let filter = self.reader.string().ok()?;
        let options =
            SubscriptionOptions::from_byte(self.reader.byte().ok()?, self.version).ok()?;
        Some((filter, options))
    }
}

impl<'a> UnsubscribeFilters<'a> {
    /// The filters, in order.
    #[must_use]
    pub fn iter(&self) -> UnsubscribeFiltersIter<'a> {
        UnsubscribeFiltersIter {
            reader: Reader::new(self.raw),
        }
    }

    /// Number of filters; walks them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }
}

impl<'a> IntoIterator for UnsubscribeFilters<'a> {
    type Item = &'a str;
    type IntoIter = UnsubscribeFiltersIter<'a>;

    fn into_iter(self) -> UnsubscribeFiltersIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &UnsubscribeFilters<'a> {
    type Item = &'a str;
    type IntoIter = UnsubscribeFiltersIter<'a>;

    fn into_iter(self) -> UnsubscribeFiltersIter<'a> {
        self.iter()
    }
}

/// See [`UnsubscribeFilters::iter`].
#[derive(Clone, Debug)]
pub struct UnsubscribeFiltersIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for UnsubscribeFiltersIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.reader.string().ok()
    }
}
