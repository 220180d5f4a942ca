//! Traces: packets of chosen clients as JSON lines, for a bounded time and size. A trace lives as long as its
//! request: who hangs up ends it. ([`super::live`] sends one by WebSocket.)

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::header::{HeaderValue, CONTENT_TYPE};
use hyper::{Method, Response};
use serde_json::{json, Value};
use tokio::sync::mpsc;
use tokio::time::{sleep, Instant};

use super::{order_all, packets, payload_json};
use crate::admin::{Admin, Problem, Reply, Request, Route};
use crate::ids::ConnectionId;
use crate::mqtt::{topic, Sender, Version};
use crate::shard::{
    Answer, CaptureRecord, CaptureTerms, Captured, CloseCause, Order, Query, CAPTURES_MAX,
};
use crate::time::Span;

const SECONDS: u64 = 60;
const SECONDS_MAX: u64 = 3_600;
const BYTES: u64 = 4 << 20;
const BYTES_MAX: u64 = 256 << 20;
/// Bytes of each payload, when payloads are asked for.
const PAYLOAD_MAX: u64 = 64 << 10;
/// Between two questions to the shards.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Pieces of lines that wait for a client that reads slowly.
const PIECES_WAITING: usize = 8;
/// Bytes of a packet that is not whole, of one connection.
const REST_MAX: usize = 1 << 20;

/// Numbers of traces.
#[derive(Default)]
pub(super) struct Traces(AtomicU64);

pub(super) fn routes() -> Vec<Route> {
    vec![Route::change(
        Method::POST,
        "/api/v1/trace",
        "Streams packets of clients, addresses or topics as JSON lines, until its time or size is over",
        |request| Box::pin(trace(request)),
    )]
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    terms: CaptureTerms,
    lasts: Span,
    bytes_max: u64,
    payload_max: Option<usize>,
}

impl Asked {
    pub(super) fn of(body: &Value) -> Result<Self, Problem> {
        let wrong = |text: String| Err(Problem::bad_request(text));
        let Some(fields) = body.as_object() else {
            return wrong("the body is no object".into());
        };
        let known = [
            "client",
            "prefix",
            "address",
            "filter",
            "seconds",
            "bytes",
            "payload_bytes",
        ];
        if let Some(other) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            let text = format!(
                "there is no \"{}\" among {}",
                other.escape_debug(),
                known.join(", ")
            );
            return wrong(text);
        }
        let text = |name: &str| match &body[name] {
            Value::Null => Ok(None),
            Value::String(text) if !text.is_empty() => Ok(Some(&text[..])),
            other => Err(Problem::bad_request(format!("{name}: {other} is no text"))),
        };
        let number = |name: &str, default: Option<u64>, max: u64| match &body[name] {
            Value::Null => Ok(default),
            value => match value.as_u64().filter(|number| (1..=max).contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(Problem::bad_request(format!(
                    "{name}: {value} is not a whole number between 1 and {max}"
                ))),
            },
        };
        let (client, prefix, filter) = (text("client")?, text("prefix")?, text("filter")?);
        let address = match text("address")?.map(str::parse::<IpAddr>) {
            None => None,
            Some(Ok(address)) => Some(address),
            Some(Err(_)) => return wrong("address: it is not an IP address".into()),
        };
        if client.is_some() && prefix.is_some() {
            return wrong("either client or prefix, not both".into());
        }
        if let Some(Err(error)) = filter.map(topic::check_filter) {
            return wrong(format!("filter: {error}"));
        }
        if client.or(prefix).or(filter).is_none() && address.is_none() {
            return wrong("one of client, prefix, address and filter says what is traced".into());
        }
        let seconds = number("seconds", Some(SECONDS), SECONDS_MAX)?;
        let payload_max = number("payload_bytes", None, PAYLOAD_MAX)?;
        Ok(Self {
            terms: CaptureTerms {
                client: client.or(prefix).map(Into::into),
                is_prefix: prefix.is_some(),
                address,
                filter: filter.map(Into::into),
            },
            lasts: Span::from_secs(seconds.unwrap_or(SECONDS)),
            bytes_max: number("bytes", Some(BYTES), BYTES_MAX)?.unwrap_or(BYTES),
            payload_max: payload_max.map(|max| max as usize),
        })
    }
}

async fn trace(request: Request) -> Result<Reply, Problem> {
    let asked = Asked::of(&request.json()?)?;
    let waiting = begin(&request.admin, asked).await?;
    let mut reply = Response::new(Lines(waiting).boxed_unsync());
    let content_type = HeaderValue::from_static("application/x-ndjson");
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(reply)
}

/// Begins a trace; its lines come in pieces, each of whole lines, and dropping their receiver ends it.
pub(super) async fn begin(
    admin: &Arc<Admin>,
    asked: Asked,
) -> Result<mpsc::Receiver<Bytes>, Problem> {
    let admin = Arc::clone(admin);
    let id = admin.api.traces.0.fetch_add(1, Ordering::Relaxed);
    let begin = || {
        Query::Order(Order::BeginCapture {
            id,
            terms: asked.terms.clone(),
            lasts: asked.lasts,
        })
    };
    let begun = admin.shards.ask_all(begin).await?;
    if !begun.iter().all(|answer| *answer == Answer::Done(true)) {
        order_all(&admin, || Order::EndCapture(id)).await?;
        let text = format!("there are {CAPTURES_MAX} traces already: wait until one has ended");
        return Err(Problem::busy(text));
    }
    let (lines, waiting) = mpsc::channel(PIECES_WAITING);
    tokio::spawn(async move {
        run(&admin, id, &asked, lines).await;
        // A shard that does not answer ends it when its time is over.
        let _ = order_all(&admin, || Order::EndCapture(id)).await;
    });
    Ok(waiting)
}

/// A body of lines as they come.
struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn run(admin: &Admin, id: u64, asked: &Asked, lines: mpsc::Sender<Bytes>) {
    let ends_at = Instant::now() + Duration::from_secs(asked.lasts.as_secs());
    let mut reader = Reader::new(asked);
    loop {
        let over = Instant::now() >= ends_at;
        let mut is_quiet = true;
        let mut text = String::new();
        for shard in 0..admin.shards.count() {
            let query = || Query::CaptureRecords(id);
            let Ok(Answer::CaptureRecords(Some((records, left_out)))) =
                admin.shards.ask(shard, query).await
            else {
                continue;
            };
            is_quiet &= records.is_empty();
            reader.left_out(left_out, &mut text);
            for record in records {
                reader.read(shard, record, &mut text);
            }
        }
        let is_full = reader.written >= asked.bytes_max;
        if is_full || (over && is_quiet) {
            let why = match is_full {
                true => "the size asked for is reached",
                false => "the time asked for is over",
            };
            text.push_str(&format!("{}\n", json!({ "event": "end", "why": why })));
        }
        let ended = is_full || (over && is_quiet);
        if !text.is_empty() && lines.send(text.into()).await.is_err() {
            return; // the client has closed its connection
        }
        if ended || lines.is_closed() {
            return;
        }
        if is_quiet {
            sleep(LOOK_EVERY).await;
        }
    }
}

/// From records of shards to lines.
struct Reader {
    payload_max: Option<usize>,
    bytes_max: u64,
    written: u64,
    /// By connection: what was sent of a packet whose end has not come.
    rests: HashMap<(u16, ConnectionId), Vec<u8>>,
}

impl Reader {
    fn new(asked: &Asked) -> Self {
        Self {
            payload_max: asked.payload_max,
            bytes_max: asked.bytes_max,
            written: 0,
            rests: HashMap::new(),
        }
    }

    fn left_out(&mut self, count: u64, text: &mut String) {
        if count > 0 {
            self.write(&json!({ "event": "left out", "records": count }), text);
        }
    }

    fn write(&mut self, line: &Value, text: &mut String) {
        if self.written >= self.bytes_max {
            return;
        }
        let line = line.to_string();
        self.written += line.len() as u64 + 1;
        text.push_str(&line);
        text.push('\n');
    }

    fn with_payload(&self, mut more: Value, payload: &[u8]) -> Value {
        if let (Some(max), Some(fields)) = (self.payload_max, more.as_object_mut()) {
            if let Value::Object(payload) = payload_json(payload, max) {
                fields.extend(payload);
            }
        }
        more
    }

    /// Packets that are whole with these bytes; the rest of them waits.
    fn packets_out(
        &mut self,
        (shard, connection): (u16, Option<ConnectionId>),
        version: Version,
        bytes: &[u8],
    ) -> Vec<Value> {
        let Some(key) = connection.map(|id| (shard, id)) else {
            return Vec::new();
        };
        let mut all = self.rests.remove(&key).unwrap_or_default();
        all.extend_from_slice(bytes);
        let (shown, used) = packets::all(version, Sender::Server, &all, self.payload_max);
        all.drain(..used);
        if !all.is_empty() && all.len() <= REST_MAX {
            self.rests.insert(key, all);
        }
        shown
    }

    fn read(&mut self, shard: u16, record: CaptureRecord, text: &mut String) {
        let CaptureRecord {
            at,
            connection,
            client_id,
            peer,
            what,
        } = record;
        let head = json!({
            "time_ms": at.0,
            "shard": shard,
            "client_id": client_id,
            "address": peer.map(|peer| peer.to_string()),
        });
        let line = |more: Value| {
            let mut line = head.clone();
            if let (Some(fields), Value::Object(more)) = (line.as_object_mut(), more) {
                fields.extend(more);
            }
            line
        };
        match what {
            Captured::In(version, bytes) => {
                for packet in packets::all(version, Sender::Client, &bytes, self.payload_max).0 {
                    let mut line = line(packet);
                    line["direction"] = json!("in");
                    self.write(&line, text);
                }
            }
            Captured::Out(version, bytes) => {
                for packet in self.packets_out((shard, connection), version, &bytes) {
                    let mut line = line(packet);
                    line["direction"] = json!("out");
                    self.write(&line, text);
                }
            }
            Captured::Publication {
                topic,
                qos,
                retain,
                payload,
            } => {
                let more = json!({
                    "event": "publication",
                    "topic": topic,
                    "qos": qos as u8,
                    "retain": retain,
                    "payload_bytes": payload.len(),
                });
                let more = self.with_payload(more, &payload);
                self.write(&line(more), text);
            }
            Captured::Opened => self.write(&line(json!({ "event": "opened" })), text),
            Captured::Ends(why) => {
                self.write(&line(json!({ "event": "ends", "why": why })), text);
            }
            Captured::Closed(cause) => {
                if let Some(id) = connection {
                    self.rests.remove(&(shard, id));
                }
                let why = match cause {
                    CloseCause::EndOfStream => "the client closed it",
                    CloseCause::Failed => "it has failed",
                    CloseCause::Lost => "the client was silent too long, or did not answer",
                    CloseCause::Asked => "the broker closed it",
                };
                self.write(&line(json!({ "event": "closed", "why": why })), text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    fn asked(body: &Value) -> Result<Asked, String> {
        Asked::of(body).map_err(|problem| problem.detail)
    }

    #[test]
    fn what_is_asked_is_bounded_and_names_something() {
        let trace = asked(&json!({ "prefix": "a", "seconds": 5, "payload_bytes": 9 })).unwrap();
        assert!(trace.terms.is_prefix && trace.payload_max == Some(9));
        assert_eq!((trace.lasts.as_secs(), trace.bytes_max), (5, BYTES));
        for (body, word) in [
            (json!({}), "one of"),
            (json!({ "client": "a", "prefix": "a" }), "not both"),
            (json!({ "client": 3 }), "client"),
            (json!({ "client": "a", "seconds": 3_601 }), "seconds"),
            (json!({ "client": "a", "bytes": 0 }), "bytes"),
            (json!({ "filter": "a/#/b" }), "filter"),
            (json!({ "address": "here" }), "address"),
            (json!({ "clients": "a" }), "clients"),
        ] {
            let text = asked(&body).unwrap_err();
            assert!(text.contains(word), "{text}");
        }
    }

    /// A packet that the socket took in two pieces is one line; the size asked for is a bound.
    #[test]
    fn packets_are_whole_and_lines_are_bounded() {
        let trace = asked(&json!({ "client": "a", "bytes": 300 })).unwrap();
        let mut reader = Reader::new(&trace);
        let record = |bytes: &[u8]| CaptureRecord {
            at: WallTime(5),
            connection: Some(ConnectionId {
                index: 1,
                generation: 2,
            }),
            client_id: Some("a".into()),
            peer: None,
            what: Captured::Out(Version::V311, bytes.into()),
        };
        let mut text = String::new();
        reader.read(0, record(&[0x20, 2, 0]), &mut text);
        assert_eq!(text, "");
        reader.read(0, record(&[0, 0xD0]), &mut text);
        assert!(
            text.contains("CONNACK") && text.lines().count() == 1,
            "{text}"
        );
        for _ in 0..10 {
            reader.read(0, record(&[0, 0xD0]), &mut text);
        }
        assert!(
            text.lines().count() < 5 && text.contains("PINGRESP"),
            "{text}"
        );
    }
}
