//! `mqload agent`: accepts a coordinator that has the token, one run at a time.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;

use super::frame::{self, FromAgent, PeerLost, ToAgent, HELLO_MAX, PROTOCOL, SILENCE_MAX};
use super::run::Session;
use super::token::Token;
use super::PlanOf;
use crate::system;

/// Time within which a coordinator must send the token.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Connections at once, from any address; more are closed.
const CONNECTIONS_MAX: usize = 16;

/// Waits for runs of a coordinator (`--agents`), one at a time.
#[derive(Args, Debug)]
pub struct Listen {
    /// Address to listen on; with port 0 the system chooses one
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], super::PORT)), value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Who does not know it is refused
    #[arg(
        long,
        env = "MQLOAD_TOKEN",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    token: Token,
}

/// What all connections share.
struct Shared {
    token: Token,
    busy: AtomicBool,
    connections: AtomicUsize,
}

/// Gives a flag or a place back, however the connection ends.
struct Release<'a>(&'a Shared);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Runs until it is ended.
///
/// # Errors
/// A sentence when it cannot listen.
pub fn listen(options: &Listen, plan_of: PlanOf) -> Result<(), String> {
    let failed = |error| format!("cannot listen on {}: {error}", options.listen);
    let listener = TcpListener::bind(options.listen).map_err(failed)?;
    println!(
        "agent listening on {}",
        listener.local_addr().map_err(failed)?
    );
    let shared = Shared {
        token: options.token.clone(),
        busy: AtomicBool::new(false),
        connections: AtomicUsize::new(0),
    };
    std::thread::scope(|scope| loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("mqload: cannot accept a connection: {error}");
                std::thread::sleep(Duration::from_millis(100)); // out of descriptors, most likely
                continue;
            }
        };
        if shared.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let shared = &shared;
        scope.spawn(move || {
            if let Err(PeerLost(why)) = serve(&stream, shared, plan_of) {
                eprintln!("mqload: {peer} {why}");
            }
            shared.connections.fetch_sub(1, Ordering::AcqRel);
        });
    })
}

/// One connection, to its end.
fn serve(stream: &TcpStream, shared: &Shared, plan_of: PlanOf) -> Result<(), PeerLost> {
    let unusable = |error: std::io::Error| PeerLost(format!("cannot be served: {error}"));
    stream.set_nodelay(true).map_err(unusable)?;
    stream
        .set_write_timeout(Some(SILENCE_MAX))
        .map_err(unusable)?;
    let hello = frame::read(stream, HELLO_MAX, HELLO_TIME)?;
    if let Some(sentence) = refusal(&hello, &shared.token) {
        frame::write(
            stream,
            &FromAgent::Refused {
                sentence: sentence.clone(),
            },
        )?;
        return Err(PeerLost(format!("was refused: {sentence}")));
    }
    if shared.busy.swap(true, Ordering::AcqRel) {
        let sentence = "it has a run already".to_string();
        return frame::write(stream, &FromAgent::Refused { sentence });
    }
    let _release = Release(shared);
    frame::write(
        stream,
        &FromAgent::Welcome {
            kernel: system::kernel(),
            cpu_model: system::cpu_model(),
        },
    )?;
    Session::new(stream)?.serve(plan_of)
}

/// Reason to refuse a coordinator.
fn refusal(hello: &ToAgent, token: &Token) -> Option<String> {
    let ToAgent::Hello {
        protocol,
        version,
        token: given,
    } = hello
    else {
        return Some("the first frame must say the token".into());
    };
    if !token.is(given) {
        return Some("the token is wrong: give the one that the agent was started with".into());
    }
    let own = env!("CARGO_PKG_VERSION");
    (*protocol != PROTOCOL || version != own).then(|| {
        format!(
            "it is mqload {own} (protocol {PROTOCOL}) and the coordinator {version} (protocol \
             {protocol}): use the same on all hosts"
        )
    })
}
