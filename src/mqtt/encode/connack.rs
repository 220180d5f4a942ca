//! CONNACK, MQTT 5.0 section 3.2.

use super::super::packet::{ConnAck, ConnAckProperties, Version};
use super::super::primitives::put_with_length;
use super::super::property::Property;
use super::{put, put_user_properties};

/// Appends CONNACK. v3 gets the return code nearest to the reason and no properties; MQTT 3.1 has
/// no session present flag either.
pub fn connack(out: &mut Vec<u8>, version: Version, connack: &ConnAck<'_>) {
    let session_present = u8::from(connack.session_present && version != Version::V31);
    if !version.is_v5() {
        let code = connack.reason.connect_return_code();
        out.extend_from_slice(&[0x20, 2, session_present, code]);
        return;
    }
    out.push(0x20);
    put_with_length(out, |out| {
        out.extend_from_slice(&[session_present, connack.reason as u8]);
        put_with_length(out, |out| put_properties(out, &connack.properties));
    });
}

fn put_properties(out: &mut Vec<u8>, p: &ConnAckProperties<'_>) {
    use Property as P;
    put(out, P::SessionExpiryInterval, p.session_expiry_interval_s);
    put(out, P::ReceiveMaximum, p.receive_maximum);
    put(out, P::MaximumQos, p.maximum_qos);
    put(out, P::RetainAvailable, p.retain_available);
    put(out, P::MaximumPacketSize, p.maximum_packet_size);
    put(
        out,
        P::AssignedClientIdentifier,
        p.assigned_client_identifier,
    );
    put(out, P::TopicAliasMaximum, p.topic_alias_maximum);
    put(out, P::ReasonString, p.reason_string);
    put_user_properties(out, p.user_properties);
    put(
        out,
        P::WildcardSubscriptionAvailable,
        p.wildcard_subscription_available,
    );
    put(
        out,
        P::SubscriptionIdentifierAvailable,
        p.subscription_identifiers_available,
    );
    put(
        out,
        P::SharedSubscriptionAvailable,
        p.shared_subscription_available,
    );
    put(out, P::ServerKeepAlive, p.server_keep_alive_s);
    put(out, P::ResponseInformation, p.response_information);
    put(out, P::ServerReference, p.server_reference);
    put(out, P::AuthenticationMethod, p.authentication_method);
    put(out, P::AuthenticationData, p.authentication_data);
}
