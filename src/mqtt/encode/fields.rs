//! Fields of packets written as properties: generated from the table of properties.

use super::super::packet::{Ack, Auth, ConnAckProperties, ConnectProperties, Disconnect, SubAck};
use super::super::property::Property;
use super::super::property_table::{if_in, property_table};
use super::{SubscribeOut, UnsubscribeOut};

/// Fields that are written as properties.
pub(super) trait Fields {
    /// Appends all that are set.
    fn put(&self, out: &mut Vec<u8>);
}

/// What is written for a row, by its last column.
macro_rules! put {
    (one $field:ident, $fields:ident, $out:ident, $name:ident) => {
        if let Some(value) = $fields.$field {
            Property::$name(value).put($out);
        }
    };
    (first $field:ident, $($rest:tt)*) => {
        put!(one $field, $($rest)*)
    };
    (each $field:ident, $fields:ident, $out:ident, $name:ident) => {
        for (name, value) in $fields.$field {
            Property::$name(name, value).put($out);
        }
    };
}

macro_rules! fields {
    (
        ($place:ident, $type:ty)
        $($(#[$doc:meta])* $name:ident($($value:ident: $value_type:ty),+) = $id:literal, $kind:ident,
          $places:tt => $how:ident $($field:ident)?;)*
    ) => {
        impl Fields for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let fields = self;
                $(if_in!($place $places { put!($how $($field)?, fields, out, $name) });)*
            }
        }
    };
}

property_table! { fields! (Connect, ConnectProperties<'_>) }
property_table! { fields! (ConnAck, ConnAckProperties<'_>) }
// All acknowledgements have the same.
property_table! { fields! (PubAck, Ack<'_>) }
property_table! { fields! (PubAck, SubAck<'_>) }
property_table! { fields! (Subscribe, SubscribeOut<'_>) }
property_table! { fields! (Unsubscribe, UnsubscribeOut<'_>) }
property_table! { fields! (Disconnect, Disconnect<'_>) }
property_table! { fields! (Auth, Auth<'_>) }
