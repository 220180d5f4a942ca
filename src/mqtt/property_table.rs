//! The table of properties, MQTT 5.0 section 2.2.2.2: one row each, of which everything else is made: the
//! values in [`super::property`], what decoders fill (`decode::fields`) and what encoders write
//! (`encode::fields`). A new property is a row here and a field in each packet that the row names; a packet
//! without the field does not compile, nor does an identifier that is there twice.

/// Calls `$make!` with the rows behind `$args`. Encoders write properties in the order of the rows.
///
/// A row: what the value means; name and value; identifier; data type (a module of
/// [`super::property_value`]); the packets it may stand in (`PubAck` and the like have the same, see
/// [`super::property`]); what becomes of it:
///
/// - `one field`: it is kept in the packet's field of this name;
/// - `first field`: the same, and it may be repeated in a PUBLISH, where the first is kept;
/// - `each field`: it may be repeated, stays encoded, and is passed on unchanged by a server;
/// - `forwarded`: it stays encoded and is passed on unchanged by a server (section 3.3.2.3).
macro_rules! property_table {
    ($make:ident! $($args:tt)*) => {
        $make! {
            $($args)*
            /// True: the payload is UTF-8 text (not checked here).
            PayloadFormatIndicator(is_text: bool) = 0x01, boolean,
                [Publish Will] => forwarded;
            /// Seconds.
            WillDelayInterval(seconds: u32) = 0x18, four_bytes,
                [Will] => one delay_interval_s;
            TopicAlias(alias: NonZeroU16) = 0x23, topic_alias,
                [Publish] => one topic_alias;
            /// Seconds.
            MessageExpiryInterval(seconds: u32) = 0x02, four_bytes,
                [Publish Will] => one message_expiry_interval_s;
            ContentType(text: &'a str) = 0x03, string,
                [Publish Will] => forwarded;
            ResponseTopic(topic: &'a str) = 0x08, response_topic,
                [Publish Will] => forwarded;
            CorrelationData(data: &'a [u8]) = 0x09, binary,
                [Publish Will] => forwarded;
            /// 1 to 268,435,455. A server's PUBLISH has one for each subscription that matched (section
            /// 3.3.2.3.8).
            SubscriptionIdentifier(identifier: u32) = 0x0B, subscription_identifier,
                [Publish Subscribe] => first subscription_identifier;
            /// Seconds; `u32::MAX`: the session does not expire.
            SessionExpiryInterval(seconds: u32) = 0x11, four_bytes,
                [Connect ConnAck Disconnect] => one session_expiry_interval_s;
            ReceiveMaximum(count: NonZeroU16) = 0x21, receive_maximum,
                [Connect ConnAck] => one receive_maximum;
            /// QoS 0 or 1: with 2 the property is absent.
            MaximumQos(qos: Qos) = 0x24, maximum_qos,
                [ConnAck] => one maximum_qos;
            RetainAvailable(is_available: bool) = 0x25, boolean,
                [ConnAck] => one retain_available;
            /// Bytes, not 0.
            MaximumPacketSize(bytes: u32) = 0x27, maximum_packet_size,
                [Connect ConnAck] => one maximum_packet_size;
            AssignedClientIdentifier(name: &'a str) = 0x12, string,
                [ConnAck] => one assigned_client_identifier;
            TopicAliasMaximum(count: u16) = 0x22, two_bytes,
                [Connect ConnAck] => one topic_alias_maximum;
            RequestResponseInformation(is_wanted: bool) = 0x19, boolean,
                [Connect] => one request_response_information;
            RequestProblemInformation(is_wanted: bool) = 0x17, boolean,
                [Connect] => one request_problem_information;
            ReasonString(text: &'a str) = 0x1F, string,
                [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth]
                => one reason_string;
            UserProperty(name: &'a str, value: &'a str) = 0x26, pair,
                [Connect ConnAck Publish Will PubAck PubRec PubRel PubComp Subscribe SubAck Unsubscribe
                 UnsubAck Disconnect Auth] => each user_properties;
            WildcardSubscriptionAvailable(is_available: bool) = 0x28, boolean,
                [ConnAck] => one wildcard_subscription_available;
            SubscriptionIdentifierAvailable(are_available: bool) = 0x29, boolean,
                [ConnAck] => one subscription_identifiers_available;
            SharedSubscriptionAvailable(is_available: bool) = 0x2A, boolean,
                [ConnAck] => one shared_subscription_available;
            /// Seconds.
            ServerKeepAlive(seconds: u16) = 0x13, two_bytes,
                [ConnAck] => one server_keep_alive_s;
            ResponseInformation(text: &'a str) = 0x1A, string,
                [ConnAck] => one response_information;
            ServerReference(text: &'a str) = 0x1C, string,
                [ConnAck Disconnect] => one server_reference;
            AuthenticationMethod(name: &'a str) = 0x15, string,
                [Connect ConnAck Auth] => one authentication_method;
            AuthenticationData(data: &'a [u8]) = 0x16, binary,
                [Connect ConnAck Auth] => one authentication_data;
        }
    };
}

/// Code for one row in one place: that in braces if the row names the place, otherwise none.
macro_rules! if_in {
    ($place:ident [] $code:tt) => {{}};
    (Connect [Connect $($rest:ident)*] $code:tt) => { $code };
    (Will [Will $($rest:ident)*] $code:tt) => { $code };
    (ConnAck [ConnAck $($rest:ident)*] $code:tt) => { $code };
    (Publish [Publish $($rest:ident)*] $code:tt) => { $code };
    (PubAck [PubAck $($rest:ident)*] $code:tt) => { $code };
    (Subscribe [Subscribe $($rest:ident)*] $code:tt) => { $code };
    (Unsubscribe [Unsubscribe $($rest:ident)*] $code:tt) => { $code };
    (Disconnect [Disconnect $($rest:ident)*] $code:tt) => { $code };
    (Auth [Auth $($rest:ident)*] $code:tt) => { $code };
    ($place:ident [$other:ident $($rest:ident)*] $code:tt) => {
        if_in!($place [$($rest)*] $code)
    };
}

pub(super) use {if_in, property_table};
