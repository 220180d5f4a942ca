//! Publications of operators.

use hyper::Method;
use serde_json::{json, Value};

use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::mqtt::{topic, Qos};
use crate::shard::{Answer, Order, OrderedMessage, Query};
use crate::time::Span;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::change(
        Method::POST,
        "/api/v1/publish",
        "Publishes a message",
        |request| Box::pin(publish(request)),
    )]
}

async fn publish(request: Request) -> Result<Reply, Problem> {
    let message = message_of(&request.json()?)?;
    let order = || Query::Order(Order::Publish(Box::new(message.clone())));
    // All by one shard, so that they keep their order.
    let answer = request.admin.shards.ask(0, order).await?;
    let has_subscriber = answer == Answer::Done(true);
    Ok(reply::json(&json!({ "has_subscriber": has_subscriber })))
}

fn message_of(body: &Value) -> Result<OrderedMessage, Problem> {
    use base64::prelude::{Engine, BASE64_STANDARD};
    let wrong = |text: &str| Problem::bad_request(text);
    let fields = body
        .as_object()
        .ok_or_else(|| wrong("the body is no object"))?;
    let known = [
        "topic",
        "payload",
        "payload_base64",
        "qos",
        "retain",
        "expiry_s",
    ];
    if let Some(other) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        let text = format!(
            "there is no \"{}\" among {}",
            other.escape_debug(),
            known.join(", ")
        );
        return Err(Problem::bad_request(text));
    }
    let name = body["topic"]
        .as_str()
        .ok_or_else(|| wrong("topic is missing"))?;
    if !topic::is_valid_name(name) || topic::is_reserved(name) {
        let text = name.escape_debug();
        return Err(Problem::bad_request(format!(
            "topic: \"{text}\" is empty, has a wildcard, or begins with $"
        )));
    }
    let payload = match (&body["payload"], &body["payload_base64"]) {
        (Value::String(text), Value::Null) => text.clone().into_bytes(),
        (Value::Null, Value::String(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| Problem::bad_request(format!("payload_base64: {error}")))?,
        (Value::Null, Value::Null) => Vec::new(),
        _ => return Err(wrong("either payload or payload_base64, a string")),
    };
    let qos = match &body["qos"] {
        Value::Null => Some(Qos::AtMostOnce),
        value => value
            .as_u64()
            .and_then(|bits| Qos::from_bits(u8::try_from(bits).ok()?)),
    };
    let retain = match &body["retain"] {
        Value::Null => Some(false),
        value => value.as_bool(),
    };
    let expiry = match &body["expiry_s"] {
        Value::Null => Some(None),
        value => value.as_u64().map(|seconds| Some(Span::from_secs(seconds))),
    };
    Ok(OrderedMessage {
        topic: name.into(),
        payload: payload.into(),
        qos: qos.ok_or_else(|| wrong("qos is not 0, 1 or 2"))?,
        retain: retain.ok_or_else(|| wrong("retain is not true or false"))?,
        expiry: expiry.ok_or_else(|| wrong("expiry_s is not a whole number of seconds"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_or_refused_with_what_is_wrong() {
        let message = message_of(&json!({
            "topic": "a/b", "payload_base64": "/wA=", "qos": 2, "retain": true, "expiry_s": 60,
        }));
        let message = message.unwrap();
        assert_eq!(
            (&*message.topic, &message.payload[..]),
            ("a/b", &[0xFF, 0][..])
        );
        assert_eq!((message.qos, message.retain), (Qos::ExactlyOnce, true));
        assert_eq!(message.expiry, Some(Span::from_secs(60)));
        for (body, word) in [
            (json!([]), "object"),
            (json!({}), "topic"),
            (json!({ "topic": "a/+" }), "wildcard"),
            (json!({ "topic": "$SYS/x" }), "$"),
            (json!({ "topic": "a", "qos": 3 }), "qos"),
            (json!({ "topic": "a", "retain": 1 }), "retain"),
            (json!({ "topic": "a", "payload": 1 }), "payload"),
            (
                json!({ "topic": "a", "payload_base64": "?" }),
                "payload_base64",
            ),
            (json!({ "topic": "a", "Payload": "x" }), "Payload"),
        ] {
            let problem = message_of(&body).unwrap_err();
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
    }
}
