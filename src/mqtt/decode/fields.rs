//! Decoded properties as fields of packets: generated from the table of properties.

use super::super::packet::{
    Auth, ConnAckProperties, ConnectProperties, Disconnect, PublishProperties,
};
use super::super::property::{Property, Section};
use super::super::property_table::{if_in, property_table};
use super::ReasonProperties;
use super::Violation;

/// What takes the properties of one kind of packet.
pub(super) trait Fields<'a> {
    /// One that is allowed there.
    fn take(&mut self, property: Property<'a>);

    /// All of a section.
    fn take_all(&mut self, mut section: Section<'a>) -> Result<(), Violation> {
        while let Some(property) = section.next_property()? {
            self.take(property);
        }
        Ok(())
    }
}

/// Properties of a will that are acted on.
#[derive(Default)]
pub(super) struct WillFields {
    pub(super) delay_interval_s: Option<u32>,
    pub(super) message_expiry_interval_s: Option<u32>,
}

#[derive(Default)]
pub(super) struct SubscribeFields {
    pub(super) subscription_identifier: Option<u32>,
}

/// UNSUBSCRIBE has user properties alone.
pub(super) struct UnsubscribeFields;

/// What becomes of a decoded property, by the last column of its row.
macro_rules! take {
    (one $field:ident, $fields:ident, $value:ident) => {
        $fields.$field = Some($value)
    };
    (first $field:ident, $fields:ident, $value:ident) => {{
        $fields.$field.get_or_insert($value);
    }};
    (each $field:ident, $($rest:tt)*) => {{}};
    (forwarded, $($rest:tt)*) => {{}};
}

macro_rules! fields {
    (
        ($place:ident, $type:ty)
        $($(#[$doc:meta])* $name:ident($($value:ident: $value_type:ty),+) = $id:literal, $kind:ident,
          $places:tt => $how:ident $($field:ident)?;)*
    ) => {
        impl<'a> Fields<'a> for $type {
            #[inline]
            fn take(&mut self, property: Property<'a>) {
                let _fields = self;
                match property {
                    $(Property::$name($($value),+) => {
                        let _ = ($($value,)+);
                        if_in!($place $places { take!($how $($field)?, _fields, $($value),+) });
                    })*
                }
            }
        }
    };
}

property_table! { fields! (Connect, ConnectProperties<'a>) }
property_table! { fields! (Will, WillFields) }
property_table! { fields! (ConnAck, ConnAckProperties<'a>) }
property_table! { fields! (Publish, PublishProperties<'a>) }
// All acknowledgements have the same.
property_table! { fields! (PubAck, ReasonProperties<'a>) }
property_table! { fields! (Subscribe, SubscribeFields) }
property_table! { fields! (Unsubscribe, UnsubscribeFields) }
property_table! { fields! (Disconnect, Disconnect<'a>) }
property_table! { fields! (Auth, Auth<'a>) }
