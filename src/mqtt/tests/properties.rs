//! Every property in every place: allowed or not, once or twice, cut anywhere.

use super::*;

/// Table 2-4 of the specification, written down a second time: identifier, name, a value, places.
const TABLE: [(&str, &str, &str); 27] = [
    ("01", "01", "publish will"),
    ("02", "00000001", "publish will"),
    ("03", "'text'", "publish will"),
    ("08", "'reply'", "publish will"),
    ("09", "'data'", "publish will"),
    ("0B", "8001", "publish subscribe"),
    ("11", "00000001", "connect connack disconnect"),
    ("12", "'id'", "connack"),
    ("13", "0001", "connack"),
    ("15", "'m'", "connect connack auth"),
    ("16", "'d'", "connect connack auth"),
    ("17", "01", "connect"),
    ("18", "00000001", "will"),
    ("19", "00", "connect"),
    ("1A", "'i'", "connack"),
    ("1C", "'s'", "connack disconnect"),
    (
        "1F",
        "'r'",
        "connack puback pubrec pubrel pubcomp suback unsuback disconnect auth",
    ),
    ("21", "0001", "connect connack"),
    ("22", "0000", "connect connack"),
    ("23", "0001", "publish"),
    ("24", "00", "connack"),
    ("25", "01", "connack"),
    (
        "26",
        "'k''v'",
        "connect connack publish will puback pubrec pubrel pubcomp subscribe suback unsubscribe \
         unsuback disconnect auth",
    ),
    ("27", "00000001", "connect connack"),
    ("28", "00", "connack"),
    ("29", "01", "connack"),
    ("2A", "00", "connack"),
];

/// A packet with the property section left open.
const PLACES: [(&str, Sender, &str); 14] = [
    ("connect", Sender::Client, "10[ 'MQTT' 05 00 0000 [$] 'c' ]"),
    (
        "will",
        Sender::Client,
        "10[ 'MQTT' 05 04 0000 [] 'c' [$] 't' 'p' ]",
    ),
    ("connack", Sender::Server, "20[ 00 00 [$] ]"),
    ("publish", Sender::Server, "30[ 't' [$] 70 ]"),
    ("puback", Sender::Client, "40[ 0001 00 [$] ]"),
    ("pubrec", Sender::Client, "50[ 0001 00 [$] ]"),
    ("pubrel", Sender::Client, "62[ 0001 00 [$] ]"),
    ("pubcomp", Sender::Client, "70[ 0001 00 [$] ]"),
    ("subscribe", Sender::Client, "82[ 0001 [$] 'f' 00 ]"),
    ("suback", Sender::Server, "90[ 0001 [$] 00 ]"),
    ("unsubscribe", Sender::Client, "A2[ 0001 [$] 'f' ]"),
    ("unsuback", Sender::Server, "B0[ 0001 [$] 00 ]"),
    ("disconnect", Sender::Client, "E0[ 00 [$] ]"),
    ("auth", Sender::Client, "F0[ 18 [$] ]"),
];

/// Authentication data is only allowed beside a method, and AUTH must have one.
fn method_for(id: &str, place: &str) -> &'static str {
    if (id == "16" && place == "connect") || (id != "15" && place == "auth") {
        "15'x'"
    } else {
        ""
    }
}

fn result(place: &(&str, Sender, &str), properties: &str) -> Result<(), ReasonCode> {
    let bytes = bytes(&place.2.replace('$', properties));
    decode(Version::V5, place.1, &bytes)
        .map(|_| ())
        .map_err(Violation::reason)
}

#[test]
fn allowed_places() {
    for (id, value, allowed) in TABLE {
        for place in &PLACES {
            let properties = format!("{} {id} {value}", method_for(id, place.0));
            let expected = if allowed.split_whitespace().any(|name| name == place.0) {
                Ok(())
            } else {
                Err(ReasonCode::MalformedPacket)
            };
            assert_eq!(result(place, &properties), expected, "{id} in {}", place.0);
        }
    }
}

#[test]
fn repetitions() {
    for (id, value, allowed) in TABLE {
        for place in &PLACES {
            if !allowed.split_whitespace().any(|name| name == place.0) {
                continue;
            }
            let properties = format!("{} {id} {value} {id} {value}", method_for(id, place.0));
            let expected = if id == "26" || (id == "0B" && place.0 == "publish") {
                Ok(())
            } else {
                Err(ReasonCode::ProtocolError)
            };
            assert_eq!(result(place, &properties), expected, "{id} in {}", place.0);
        }
    }
}

/// A value cut short is malformed, wherever the cut.
#[test]
fn cut_values() {
    for (id, value, allowed) in TABLE {
        let place = PLACES
            .iter()
            .find(|place| allowed.split_whitespace().any(|name| name == place.0))
            .unwrap();
        let encoded = bytes(&format!("{id} {value}"));
        for end in 1..encoded.len() {
            let hex: String = encoded[..end].iter().map(|b| format!("{b:02X}")).collect();
            let properties = format!("{} {hex}", method_for(id, place.0));
            assert_eq!(
                result(place, &properties),
                Err(ReasonCode::MalformedPacket),
                "{id} cut to {end}"
            );
        }
    }
}

#[test]
fn unknown_identifiers() {
    let known: Vec<String> = TABLE.iter().map(|row| row.0.to_string()).collect();
    for id in 0..=255u8 {
        let id = format!("{id:02X}");
        if known.contains(&id) {
            continue;
        }
        for place in &PLACES {
            let properties = format!("{} {id} 00000000", method_for(&id, place.0));
            assert_eq!(
                result(place, &properties),
                Err(ReasonCode::MalformedPacket),
                "{id} in {}",
                place.0
            );
        }
    }
}
