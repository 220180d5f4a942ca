//! The live view: what is published to a filter, as JSON lines by WebSocket, so that a page can watch it.
//!
//! A browser names the page's site (Origin), which is checked as of every request; who may read may watch. What
//! the client sends is not looked at, but for the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    HeaderName, HeaderValue, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{split, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, Mutex};
use tokio::time::timeout;

use super::trace::{self, Asked};
use crate::admin::role::Needs;
use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::transport::websocket::{accept_key, encode, Decoder, Opcode, Piece};

/// How long it lasts, and bytes of each payload.
const SECONDS: u64 = 600;
const PAYLOAD_BYTES: u64 = 200;
/// How long the client may take for what is sent, and to answer the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Codes of the end: all lines were sent, or the client breaks the protocol (RFC 6455, 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;

type Reading = ReadHalf<TokioIo<Upgraded>>;
/// What is watched, and answers to the client's pings.
type Writing = Arc<Mutex<WriteHalf<TokioIo<Upgraded>>>>;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get(
        "/api/v1/live",
        Needs::VIEWER,
        "A WebSocket with what is published to a filter, as JSON lines, for ten minutes",
        |request| Box::pin(live(request)),
    )]
}

async fn live(mut request: Request) -> Result<Reply, Problem> {
    let filter = request.query("filter").unwrap_or_default();
    let body = json!({ "filter": filter, "seconds": SECONDS, "payload_bytes": PAYLOAD_BYTES });
    let asked = Asked::of(&body)?;
    let (upgrade, accept) = handshake(&mut request)?;
    let lines = trace::begin(&request.admin, asked).await?;
    tokio::spawn(async move {
        // Without a connection the lines are dropped, which ends the trace.
        if let Ok(upgraded) = upgrade.await {
            serve(upgraded, lines).await;
        }
    });
    let mut reply = reply::of("text/plain", "");
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.clear();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(reply)
}

/// The connection to come, and the proof that its key was read [RFC 6455, 4.2].
fn handshake(request: &mut Request) -> Result<(OnUpgrade, HeaderValue), Problem> {
    let headers = &request.headers;
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_websocket = text(UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
        && text(SEC_WEBSOCKET_VERSION) == Some("13");
    let key = text(SEC_WEBSOCKET_KEY).filter(|_| is_websocket);
    let accept = key.and_then(|key| HeaderValue::from_str(&accept_key(key)).ok());
    match request.upgrade.take().zip(accept) {
        Some(both) => Ok(both),
        None => {
            let text = "this is a WebSocket, version 13: the request must ask for an upgrade to it";
            let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, text);
            Err(problem.with(UPGRADE, HeaderValue::from_static("websocket")))
        }
    }
}

async fn serve(upgraded: Upgraded, lines: mpsc::Receiver<Bytes>) {
    let (reading, writing) = split(TokioIo::new(upgraded));
    let writing: Writing = Arc::new(Mutex::new(writing));
    let sending = tokio::spawn(send_all(lines, Arc::clone(&writing)));
    let all = Duration::from_secs(SECONDS) + 2 * PATIENCE;
    let _ = timeout(all, listen(reading, &writing)).await; // who never answers the end has had time
    sending.abort(); // drops the lines
}

/// Each piece as one message, until there are no more.
async fn send_all(mut lines: mpsc::Receiver<Bytes>, writing: Writing) {
    while let Some(piece) = lines.recv().await {
        if !send(&writing, Opcode::Text, &piece).await {
            return;
        }
    }
    send(&writing, Opcode::Close, &NORMAL.to_be_bytes()).await;
}

/// False: the connection is of no more use.
async fn send(writing: &Writing, opcode: Opcode, payload: &[u8]) -> bool {
    let mut frame = Vec::new();
    encode(opcode, &[std::io::IoSlice::new(payload)], None, &mut frame);
    let mut writing = writing.lock().await;
    let sent = timeout(PATIENCE, writing.write_all(&frame)).await;
    let flushed = matches!(sent, Ok(Ok(()))) && writing.flush().await.is_ok();
    flushed
}

/// Until the client ends it.
async fn listen(mut reading: Reading, writing: &Writing) {
    let mut decoder = Decoder::new(true);
    let mut buffer = [0; 1_024];
    loop {
        let Ok(count @ 1..) = reading.read(&mut buffer).await else {
            return;
        };
        let mut bytes = &mut buffer[..count];
        loop {
            let stays = match decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Piece::Control(Opcode::Ping, text))) => {
                    send(writing, Opcode::Pong, &text).await
                }
                Ok(Some(Piece::Control(Opcode::Close, _))) => {
                    send(writing, Opcode::Close, &NORMAL.to_be_bytes()).await;
                    false
                }
                Ok(Some(_)) => true,
                Err(_) => {
                    send(writing, Opcode::Close, &PROTOCOL_ERROR.to_be_bytes()).await;
                    false
                }
            };
            if !stays {
                return;
            }
        }
    }
}
