//! `mqload liar`: a broker that breaks MQTT on request and keeps a ledger of what it really did, so that
//! those who measure brokers can be measured.

mod connection;
pub mod lies;
mod world;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;

use connection::{lock, Peer};
use lies::{Kind, Lie, Lies, Value, KINDS};
pub use world::Ledger;
use world::{Message, World};

/// A broker that lies on request; its ledger is printed when it is interrupted.
#[derive(Args, Debug)]
pub struct Liar {
    /// Address to listen on; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:1884", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// A lie, like drop=100 (every 100th), freeze=2s (after that time) or capacity=300; may be repeated
    #[arg(long = "lie", value_name = "NAME[=VALUE]")]
    lies: Vec<Lie>,
    /// Names all lies
    #[arg(long)]
    list: bool,
}

/// A lying broker that runs on threads of this process until it ends.
pub struct Running {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
}

impl Running {
    /// What it has really done so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        lock(&self.world).ledger.clone()
    }
}

/// Starts a lying broker.
///
/// # Errors
/// A sentence when it cannot listen.
pub fn start(listen: SocketAddr, lies: &[Lie]) -> Result<Running, String> {
    let sentence = |error| format!("cannot listen on {listen}: {error}");
    let listener = TcpListener::bind(listen).map_err(sentence)?;
    let address = listener.local_addr().map_err(sentence)?;
    let world = Arc::new(Mutex::new(World::new(Lies::new(lies))));
    let slow = lock(&world).lies.value("deliver-rate").map(|per_s| {
        let (sender, messages) = channel();
        let world = Arc::clone(&world);
        std::thread::spawn(move || deliver(&messages, &world, per_s));
        sender
    });
    let shared = Arc::clone(&world);
    std::thread::spawn(move || accept(&listener, &shared, slow.as_ref()));
    Ok(Running { address, world })
}

fn accept(listener: &TcpListener, world: &Arc<Mutex<World>>, slow: Option<&Sender<Message>>) {
    for (number, stream) in (0..).zip(listener.incoming().flatten()) {
        let _ = stream.set_nodelay(true); // fails only for a closed connection
        let peer = Peer::new(number, stream, Arc::clone(world), slow.cloned());
        std::thread::spawn(move || peer.serve());
    }
}

/// Delivers at a limited rate what was acknowledged before.
fn deliver(messages: &Receiver<Message>, world: &Mutex<World>, per_s: f64) {
    for message in messages {
        let wait = lock(world).wait_for_turn(per_s);
        std::thread::sleep(wait);
        lock(world).route(&message);
    }
}

/// Runs until it is interrupted.
///
/// # Errors
/// A sentence when it cannot listen.
pub fn run(options: &Liar) -> Result<(), String> {
    let mut out = std::io::stdout();
    if options.list {
        for kind in KINDS {
            let _ = writeln!(out, "{:<20} {}", usage(kind), kind.does);
        }
        return Ok(());
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let running = start(options.listen, &options.lies)?;
    let _ = writeln!(out, "liar listens on {}", running.address);
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ledger = running.ledger();
    let _ = writeln!(
        out,
        "connected {}, published {}, delivered {}",
        ledger.connected, ledger.published, ledger.delivered
    );
    for (name, count) in &ledger.lied {
        let _ = writeln!(out, "  {name}: {count}");
    }
    Ok(())
}

/// A lie's name with its value.
fn usage(kind: &Kind) -> String {
    let value = match kind.value {
        Value::Every => "[=EVERY]",
        Value::After => "[=AFTER]",
        Value::Number => "=NUMBER",
        Value::None => "",
    };
    format!("{}{value}", kind.name)
}
