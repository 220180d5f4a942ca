//! Accessors of a publication's properties beyond the decoded fields.

use super::packet::{PublishProperties, UserProperties};
use super::property::{Properties, Property};

impl<'a> PublishProperties<'a> {
    /// All properties, in order.
    #[must_use]
    pub fn iter(&self) -> Properties<'a> {
        Properties::new(self.raw)
    }

    /// The user properties, in order.
    #[must_use]
    pub fn user_properties(&self) -> UserProperties<'a> {
        UserProperties { raw: self.raw }
    }

    /// All subscription identifiers (only a server sends them).
    #[must_use]
    pub fn subscription_identifiers(&self) -> SubscriptionIdentifiersIter<'a> {
        SubscriptionIdentifiersIter {
            properties: self.iter(),
        }
    }

    /// Appends the encoded properties a server passes on unchanged, in their order: all but topic
    /// alias, message expiry interval, subscription identifiers and (in a will) the delay.
    pub fn forwardable_into(&self, out: &mut Vec<u8>) {
        if self.raw_is_forwardable {
            out.extend_from_slice(self.raw);
            return;
        }
        let mut properties = self.iter();
        while let Some((property, encoded)) = properties.next_encoded() {
            if property.is_forwardable() {
                out.extend_from_slice(encoded);
            }
        }
    }
}

/// See [`PublishProperties::subscription_identifiers`].
#[derive(Clone, Debug)]
pub struct SubscriptionIdentifiersIter<'a> {
    properties: Properties<'a>,
}

impl Iterator for SubscriptionIdentifiersIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.properties.find_map(|property| match property {
            Property::SubscriptionIdentifier(identifier) => Some(identifier),
            _ => None,
        })
    }
}
