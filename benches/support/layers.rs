//! Layers between socket and MQTT, with both of their ends; and a connection from its CONNECT to its end.

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;

use ringmq::shard::TurnStep;
use ringmq::transport::tls::{ClientMaterial, Context, Material, Named, Settings, Tls, TlsClient};
use ringmq::transport::websocket::{Client, Policy, Server, Target};
use ringmq::transport::{Layer, Scratch, Stack};

use super::cases::{case, Case};
use super::world::World;

/// Bytes that are sent each way.
const BYTES: usize = 1_024;
/// Times of that in one call.
const BATCH: u64 = 64;

pub(crate) fn all() -> Vec<Case> {
    let tls = || {
        let context = Arc::new(context());
        let material = ClientMaterial {
            server_name: "localhost".into(),
            ..ClientMaterial::default()
        };
        let client = TlsClient::new(&material).expect("a configuration");
        Ends::new(Box::new(client), Box::new(Tls::new(&context)))
    };
    let websocket = || {
        let target = Arc::new(Target {
            host: "localhost".into(),
            path: "/mqtt".into(),
            subprotocol: "mqtt",
        });
        let policy = Arc::new(Policy {
            path: String::new(),
            origins: Vec::new(),
            trusted: Default::default(),
        });
        let server = Server::new(policy, None);
        Ends::new(Box::new(Client::new(target, 7)), Box::new(server))
    };
    let (mut records, mut frames) = (tls(), websocket());
    let mut world = World::new(1);
    vec![
        case("tls, 1 KiB each way, both ends", BATCH, move || {
            records.exchange()
        }),
        case("websocket, 1 KiB each way, both ends", BATCH, move || {
            frames.exchange()
        }),
        case("connect and disconnect", 1, move || world.come_and_go()),
    ]
}

fn context() -> Context {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let named = |name: &str, pem: String| Named {
        name: name.into(),
        bytes: pem.into_bytes(),
    };
    let pair = (
        named("certificate", key.cert.pem()),
        named("key", key.key_pair.serialize_pem()),
    );
    let material = Material {
        certificates: vec![pair],
        ..Material::default()
    };
    Context::new(&Settings::default(), &material, &[]).expect("a good pair")
}

/// Both ends of one connection.
struct Ends {
    client: Stack,
    server: Stack,
    to_server: Scratch,
    to_client: Scratch,
}

impl Ends {
    fn new(client: Box<dyn Layer>, server: Box<dyn Layer>) -> Self {
        let mut it = Self {
            client: Stack::connecting(vec![client]),
            server: Stack::new(vec![server]),
            to_server: Scratch::default(),
            to_client: Scratch::default(),
        };
        it.client.start(&mut it.to_server).expect("it begins");
        while !(it.client.is_open() && it.server.is_open() && it.to_server.down.is_empty()) {
            let mut bytes = std::mem::take(&mut it.to_server.down);
            it.server
                .receive(&mut bytes, &mut it.to_client)
                .expect("a handshake");
            let mut bytes = std::mem::take(&mut it.to_client.down);
            it.client
                .receive(&mut bytes, &mut it.to_server)
                .expect("a handshake");
        }
        it
    }

    fn exchange(&mut self) {
        for _ in 0..BATCH {
            let Self {
                client,
                server,
                to_server,
                to_client,
            } = self;
            let sent = pass((client, to_server), (server, to_client));
            assert_eq!(sent, BYTES);
            let sent = pass((server, to_client), (client, to_server));
            assert_eq!(sent, BYTES);
        }
    }
}

/// Sends some bytes from one end to the other; how many have arrived.
fn pass((from, out): (&mut Stack, &mut Scratch), (to, into): (&mut Stack, &mut Scratch)) -> usize {
    let payload = black_box([b'x'; BYTES]);
    from.send(&[IoSlice::new(&payload)], out)
        .expect("it is open");
    to.receive(&mut out.down, into)
        .expect("it was sent by the other end");
    into.up.len()
}

impl World {
    /// A client connects and disconnects.
    fn come_and_go(&mut self) {
        let link = self.world.open(0);
        self.world.step(0, TurnStep::ReadOthers);
        self.send(link, b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01c");
        assert_eq!(self.drain(), 4);
        self.send(link, &[0xE0, 0]);
        self.drain();
        self.world.close(link);
        self.drain();
    }
}
