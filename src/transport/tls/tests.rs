//! The layer against rustls as a client, without sockets.

use std::io::{IoSlice, Read, Write};
use std::sync::Arc;

use rcgen::{
    date_time_ymd, BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion,
};

use super::*;
use crate::transport::{ConnectionInfo, Layer, LayerError};

/// An authority and what it signs.
struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// A certificate with its key, as PEM.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let signed = params
            .signed_by(&key, &self.certificate, &self.key)
            .unwrap();
        Signed {
            certificate: signed.pem(),
            key: key.serialize_pem(),
        }
    }

    fn revoke(&self, serial: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.certificate, &self.key).unwrap();
        list.pem().unwrap()
    }
}

fn named(name: &str, text: &str) -> Named {
    Named {
        name: name.into(),
        bytes: text.into(),
    }
}

fn material(servers: &[&Signed], authority: &Authority) -> Material {
    let pair = |server: &&Signed| {
        (
            named("server.pem", &server.certificate),
            named("server.key", &server.key),
        )
    };
    Material {
        certificates: servers.iter().map(pair).collect(),
        client_ca: vec![named("ca.pem", &authority.certificate.pem())],
        revocation_lists: Vec::new(),
    }
}

fn context(settings: &Settings, material: &Material) -> Arc<Context> {
    Arc::new(Context::new(settings, material, &[ALPN_MQTT]).unwrap())
}

fn asking(client_certificate: ClientCertificate) -> Settings {
    Settings {
        client_certificate,
        ..Settings::default()
    }
}

fn client_config(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    own: Option<&Signed>,
) -> Arc<ClientConfig> {
    client_with(ring::default_provider(), authority, versions, own)
}

fn client_with(
    provider: rustls::crypto::CryptoProvider,
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    own: Option<&Signed>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            use rustls::pki_types::pem::PemObject;
            let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    Arc::new(config)
}

/// Both ends and what the layer has passed up.
struct Pair {
    client: ClientConnection,
    server: Tls,
    up: Vec<u8>,
    /// What the client has read.
    heard: Vec<u8>,
    /// Bytes given to the layer at once.
    piece: usize,
}

impl Pair {
    fn new(config: &Arc<ClientConfig>, context: &Arc<Context>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self {
            client: ClientConnection::new(Arc::clone(config), name).unwrap(),
            server: Tls::new(context),
            up: Vec::new(),
            heard: Vec::new(),
            piece: usize::MAX,
        }
    }

    /// Carries bytes until neither end has more to send.
    fn settle(&mut self) -> Result<(), LayerError> {
        loop {
            let mut sent = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut sent).unwrap();
            }
            let mut down = Vec::new();
            for piece in sent.chunks_mut(self.piece.min(1 << 20)) {
                self.server.receive(piece, &mut self.up, &mut down)?;
            }
            if sent.is_empty() && down.is_empty() {
                return Ok(());
            }
            self.hear(&down);
        }
    }

    fn hear(&mut self, mut down: &[u8]) {
        while !down.is_empty() {
            self.client.read_tls(&mut down).unwrap();
            let _ = self.client.process_new_packets(); // a refused client is of no interest here
            let _ = self.client.reader().read_to_end(&mut self.heard); // would block at the end
        }
    }

    fn say(&mut self, slices: &[&[u8]]) -> Vec<u8> {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut down = Vec::new();
        self.server.send(&slices, &mut down).unwrap();
        down
    }

    fn read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }

    fn identity(&mut self) -> Option<Box<str>> {
        let mut learned = ConnectionInfo::default();
        self.server.tell(&mut learned);
        learned.identity
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

#[test]
fn bytes_go_both_ways_however_they_are_cut() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let context = context(&Settings::default(), &material(&[&server], &authority));
    for version in BOTH {
        let config = client_config(&authority, &[version], None);
        for piece in [1, 2, 7, 1_000, usize::MAX] {
            let mut pair = Pair::new(&config, &context, "broker.example");
            pair.piece = piece;
            pair.settle().unwrap();
            assert!(pair.server.is_open() && !pair.client.is_handshaking());
            let long: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
            pair.client.writer().write_all(&long).unwrap();
            pair.settle().unwrap();
            assert!(pair.up == long, "{version:?} in pieces of {piece}");
            assert_eq!(
                pair.server.partial.capacity(),
                0,
                "idle, it keeps no buffer"
            );
            for bytes in [&b"x"[..], &long] {
                let down = pair.say(&[bytes]);
                pair.hear(&down);
                assert!(pair.read() == bytes);
                let records = 1 + bytes.len() / (16 << 10);
                assert!(
                    down.len() <= bytes.len() + 40 * records,
                    "one record per 16 KiB"
                );
            }
            // Goodbyes.
            pair.client.send_close_notify();
            pair.settle().unwrap();
            assert!(pair.server.is_ended());
            let mut down = Vec::new();
            pair.server.close(&mut down);
            pair.client.read_tls(&mut &down[..]).unwrap();
            assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
        }
    }
}

/// rustls keeps its place in a handshake message that is spread over records, and panics when it is shown
/// another buffer in between.
#[test]
fn a_hello_in_many_records_cut_anywhere() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let context = context(&Settings::default(), &material(&[&server], &authority));
    let config = client_config(&authority, &BOTH, None);
    for piece in [1, 7, 60, 1_000] {
        let mut pair = Pair::new(&config, &context, "broker.example");
        let mut hello = Vec::new();
        pair.client.write_tls(&mut hello).unwrap();
        let mut flight = Vec::new();
        for part in hello[5..].chunks(50) {
            flight.extend([22, 3, 1, 0, part.len() as u8]);
            flight.extend(part);
        }
        let mut down = Vec::new();
        for piece in flight.chunks_mut(piece) {
            let result = pair.server.receive(piece, &mut pair.up, &mut down);
            result.unwrap();
        }
        pair.hear(&down);
        pair.settle().unwrap();
        assert!(pair.server.is_open(), "in pieces of {piece}");
    }
}

/// What is sent at once takes as few records as it can, however many pieces it is of.
#[test]
fn pieces_share_records() {
    let authority = Authority::new();
    let server = authority.sign("server", |_| {});
    let context = context(&Settings::default(), &material(&[&server], &authority));
    let config = client_config(&authority, &[&TLS13], None);
    let mut pair = Pair::new(&config, &context, "server.example");
    pair.settle().unwrap();
    let pieces: Vec<Vec<u8>> = (0..30).map(|n| vec![n; 1_000]).collect();
    let slices: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
    let down = pair.say(&slices);
    let mut records = 0;
    let mut rest = &down[..];
    while let [_, _, _, high, low, ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = &rest[5 + length..];
        records += 1;
    }
    assert_eq!(records, 2, "30,000 bytes");
    pair.hear(&down);
    assert_eq!(pair.read(), pieces.concat());
}

#[test]
fn the_certificate_is_the_one_that_is_asked_for() {
    let authority = Authority::new();
    let servers = ["one", "two"].map(|name| authority.sign(name, |_| ()));
    let context = context(
        &Settings::default(),
        &material(&[&servers[0], &servers[1]], &authority),
    );
    let config = client_config(&authority, &BOTH, None);
    for name in ["one.example", "two.example"] {
        // The client checks that the name is in the certificate it gets.
        let mut pair = Pair::new(&config, &context, name);
        pair.settle().unwrap();
        assert!(!pair.client.is_handshaking(), "{name}");
    }
    let mut other = Pair::new(&config, &context, "three.example");
    let error = other.settle().unwrap_err();
    assert!(
        error.0.contains("does not accept the certificate"),
        "{error}"
    );
}

#[test]
fn a_session_is_resumed_in_both_versions_and_not_across_contexts() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let device = authority.sign("device", |_| ());
    let material = material(&[&server], &authority);
    let settings = asking(ClientCertificate::Required);
    let contexts = [context(&settings, &material), context(&settings, &material)];
    for version in BOTH {
        let config = client_config(&authority, &[version], Some(&device));
        let mut kinds = Vec::new();
        for context in [&contexts[0], &contexts[0], &contexts[1]] {
            let mut pair = Pair::new(&config, context, "broker.example");
            pair.settle().unwrap();
            kinds.push(pair.client.handshake_kind().unwrap());
            assert_eq!(pair.identity().as_deref(), Some("device"));
        }
        use HandshakeKind::{Full, Resumed};
        assert_eq!(kinds, [Full, Resumed, Full], "{version:?}");
    }
}

#[test]
fn a_client_certificate_gives_its_client_a_name() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let device = authority.sign("device", |params| {
        let names = &mut params.subject_alt_names;
        names.push(SanType::Rfc822Name("d@example".try_into().unwrap()));
        names.push(SanType::URI("urn:dev:1".try_into().unwrap()));
    });
    let config = client_config(&authority, &BOTH, Some(&device));
    let rows = [
        (Some(IdentitySource::CommonName), Some("device")),
        (Some(IdentitySource::SanDns), Some("device.example")),
        (Some(IdentitySource::SanEmail), Some("d@example")),
        (Some(IdentitySource::SanUri), Some("urn:dev:1")),
        (None, None),
    ];
    for (identity, expected) in rows {
        let settings = Settings {
            identity,
            ..asking(ClientCertificate::Optional)
        };
        let context = context(&settings, &material(&[&server], &authority));
        let mut pair = Pair::new(&config, &context, "broker.example");
        pair.settle().unwrap();
        assert_eq!(pair.identity().as_deref(), expected, "{identity:?}");
    }
    let optional = context(
        &asking(ClientCertificate::Optional),
        &material(&[&server], &authority),
    );
    let mut nobody = Pair::new(
        &client_config(&authority, &BOTH, None),
        &optional,
        "broker.example",
    );
    nobody.settle().unwrap();
    assert_eq!(nobody.identity(), None);
}

#[test]
fn bad_client_certificates_are_refused_and_told_apart() {
    let (authority, stranger) = (Authority::new(), Authority::named("a stranger"));
    let server = authority.sign("broker", |_| ());
    let with_serial = |serial: u64| {
        move |params: &mut CertificateParams| params.serial_number = Some(serial.into())
    };
    let mut material = material(&[&server], &authority);
    material.revocation_lists = vec![named("ca.crl", &authority.revoke(7))];
    let context = context(&asking(ClientCertificate::Required), &material);
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["self.example".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "self");
    let self_signed = Signed {
        certificate: params.self_signed(&own).unwrap().pem(),
        key: own.serialize_pem(),
    };
    let rows: [(Option<Signed>, Option<&str>); 7] = [
        (Some(authority.sign("good", with_serial(8))), None),
        (
            Some(authority.sign("revoked", with_serial(7))),
            Some("is revoked"),
        ),
        (
            Some(authority.sign("old", |params| params.not_after = date_time_ymd(2020, 1, 1))),
            Some("has expired"),
        ),
        (
            Some(authority.sign("early", |params| {
                params.not_before = date_time_ymd(2120, 1, 1)
            })),
            Some("not valid yet"),
        ),
        (
            Some(stranger.sign("strange", |_| ())),
            Some("not in tls-client-ca"),
        ),
        (Some(self_signed), Some("self-signed")),
        (None, Some("has sent no certificate")),
    ];
    for (own, expected) in &rows {
        for version in BOTH {
            let config = client_config(&authority, &[version], own.as_ref());
            let mut pair = Pair::new(&config, &context, "broker.example");
            let result = pair.settle();
            match expected {
                None => assert_eq!(result, Ok(())),
                Some(text) => {
                    let error = result.unwrap_err();
                    assert!(error.0.contains(text), "{version:?}: {error}");
                    assert!(!pair.server.is_open());
                }
            }
        }
    }
}

#[test]
fn what_is_not_tls_is_told_apart() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let context = context(&Settings::default(), &material(&[&server], &authority));
    let rows: [(&[u8], &str); 5] = [
        (
            b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
            "plain MQTT",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", "plain HTTP"),
        (b"\x00\x00", "0x00"),
        (b"\x16\x03\x01\xff\xff", "16 KiB"),
        (
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
            "handshake failed",
        ),
    ];
    for (bytes, text) in rows {
        let mut layer = Tls::new(&context);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let error = layer
            .receive(&mut bytes.to_vec(), &mut up, &mut down)
            .unwrap_err();
        assert!(error.0.contains(text), "{error}");
        assert!(up.is_empty());
        let begins_well = bytes[0] == 0x16;
        assert_eq!(
            !down.is_empty(),
            begins_well,
            "who speaks TLS gets an alert"
        );
    }
}

#[test]
fn an_end_in_the_middle_is_no_goodbye() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let context = context(&Settings::default(), &material(&[&server], &authority));
    assert_eq!(Tls::new(&context).end_of_stream(), Ok(()), "a probe");
    let config = client_config(&authority, &BOTH, None);
    let mut pair = Pair::new(&config, &context, "broker.example");
    let mut hello = Vec::new();
    pair.client.write_tls(&mut hello).unwrap();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    pair.server
        .receive(&mut hello[..20], &mut up, &mut down)
        .unwrap();
    let error = pair.server.end_of_stream().unwrap_err();
    assert!(error.0.contains("handshake"), "{error}");

    let mut pair = Pair::new(&config, &context, "broker.example");
    pair.settle().unwrap();
    assert_eq!(pair.server.end_of_stream(), Ok(()), "many clients leave so");
    pair.client.writer().write_all(b"hello").unwrap();
    let mut record = Vec::new();
    pair.client.write_tls(&mut record).unwrap();
    let mut changed = record.clone();
    pair.server
        .receive(&mut record[..10], &mut up, &mut down)
        .unwrap();
    let error = pair.server.end_of_stream().unwrap_err();
    assert!(error.0.contains("cut short"), "{error}");
    changed[12] ^= 1;
    let error = pair
        .server
        .receive(&mut changed[10..], &mut up, &mut down)
        .unwrap_err();
    assert!(error.0.contains("does not decrypt"), "{error}");
}

/// The last alert that came, by its number.
fn alert(down: &[u8]) -> Option<u8> {
    match down {
        [.., 21, 3, _, 0, 2, 2, number] => Some(*number),
        _ => None,
    }
}

/// RFC 5246 7.4.1.3: handshake_failure, where the library alone would send access_denied.
#[test]
fn nothing_in_common_is_a_handshake_failure() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let context = context(&Settings::default(), &material(&[&server], &authority));
    // Only what is for RSA keys, to a listener with one of P-256.
    let mut provider = ring::default_provider();
    let is_rsa = |suite: &rustls::SupportedCipherSuite| format!("{suite:?}").contains("RSA");
    provider.cipher_suites.retain(is_rsa);
    let config = client_with(provider, &authority, &[&TLS12], None);
    let mut pair = Pair::new(&config, &context, "broker.example");
    let mut hello = Vec::new();
    pair.client.write_tls(&mut hello).unwrap();
    let mut down = Vec::new();
    let result = pair.server.receive(&mut hello, &mut pair.up, &mut down);
    let error = result.unwrap_err();
    assert!(error.0.contains("no cipher suite in common"), "{error}");
    assert_eq!(alert(&down), Some(40));
}

#[test]
fn protocols_by_name() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let material = material(&[&server], &authority);
    let asked = |own: Option<&[&str]>, names: &[&str]| {
        let own = own.map(|own| own.iter().map(|name| name.to_string()).collect());
        let settings = Settings {
            alpn: own,
            ..Settings::default()
        };
        let context = context(&settings, &material);
        let mut config = (*client_config(&authority, &BOTH, None)).clone();
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut pair = Pair::new(&Arc::new(config), &context, "broker.example");
        let result = pair.settle();
        let agreed = pair.client.alpn_protocol().map(<[u8]>::to_vec);
        result.map(|()| agreed).map_err(|error| error.0)
    };
    let cloud = "x-amzn-mqtt-ca";
    assert_eq!(asked(None, &["mqtt"]), Ok(Some(b"mqtt".to_vec())));
    assert_eq!(asked(None, &[]), Ok(None));
    let refused = asked(None, &[cloud, "\u{1b}[31m"]).unwrap_err();
    assert!(
        refused.contains(r#"for "x-amzn-mqtt-ca", "\x1b[31m", which"#),
        "{refused}"
    );
    let many = ["aa", "bb", "cc", "dd", "ee"].map(|name| name.repeat(100));
    let refused = asked(None, &many.each_ref().map(|name| &name[..])).unwrap_err();
    assert!(refused.len() < 400, "{refused}");
    assert_eq!(
        asked(Some(&["mqtt", cloud]), &[cloud]),
        Ok(Some(cloud.into()))
    );
    assert_eq!(asked(Some(&[]), &[cloud]), Ok(None), "ignored");
}

#[test]
fn records_are_as_small_as_is_asked_for() {
    let authority = Authority::new();
    let server = authority.sign("broker", |_| ());
    let settings = Settings {
        record_max: Some(512),
        ..Settings::default()
    };
    let context = context(&settings, &material(&[&server], &authority));
    for version in BOTH {
        let config = client_config(&authority, &[version], None);
        let mut pair = Pair::new(&config, &context, "broker.example");
        pair.settle().unwrap();
        let bytes = [7; 5_000];
        let down = pair.say(&[&bytes]);
        let mut rest = &down[..];
        while let [_, _, _, high, low, ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            assert!(length <= 512 + 40, "{version:?}: {length}");
            rest = &rest[5 + length..];
        }
        pair.hear(&down);
        assert_eq!(pair.read(), bytes);
    }
}

#[test]
fn dates_are_spoken_of() {
    let authority = Authority::new();
    let now_s = 1_700_000_000; // 2023-11-14
    let between = |from: (i32, u8, u8), until: (i32, u8, u8)| {
        authority.sign("broker", |params| {
            params.not_before = date_time_ymd(from.0, from.1, from.2);
            params.not_after = date_time_ymd(until.0, until.1, until.2);
        })
    };
    let rows = [
        (
            between((2020, 1, 1), (2023, 11, 13)),
            "has expired on 2023-11-13",
        ),
        (
            between((2023, 11, 16), (2030, 1, 1)),
            "is not valid before 2023-11-16",
        ),
        (
            between((2020, 1, 1), (2023, 12, 13)),
            "expires on 2023-12-13",
        ),
        (between((2020, 1, 1), (2023, 12, 15)), ""),
    ];
    for (server, expected) in rows {
        let material = Material {
            client_ca: Vec::new(),
            ..material(&[&server], &authority)
        };
        let found = warnings(&material, now_s);
        assert_eq!(found.is_empty(), expected.is_empty(), "{found:?}");
        for text in &found {
            assert!(
                text.starts_with("server.pem: ") && text.contains(expected),
                "{text}"
            );
        }
    }
    let good = between((2020, 1, 1), (2030, 1, 1));
    let mut all = material(&[&good], &authority);
    all.revocation_lists = vec![named("ca.crl", &authority.revoke(7))];
    assert_eq!(warnings(&all, now_s + 1_000_000), [""; 0]);
    let late = warnings(&all, 32_503_680_000); // the year 3000
    assert!(
        late.iter()
            .any(|text| text.contains("ca.crl: a revocation list has expired on 2124-01-01")),
        "{late:?}"
    );
    // Many are a few lines.
    let bundle = between((2020, 1, 1), (2021, 1, 1))
        .certificate
        .repeat(1_000);
    all.client_ca = vec![named("ca.pem", &bundle)];
    let many = warnings(&all, now_s);
    assert_eq!(many.len(), 11);
    assert!(many[10].starts_with("990 more"), "{many:?}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let (one, two) = (authority.sign("one", |_| ()), authority.sign("two", |_| ()));
    let good = material(&[&one], &authority);
    let settings = asking(ClientCertificate::Required);
    type Change = fn(&mut Material, &Signed);
    let rows: [(Change, &str); 7] = [
        (
            |m, two| m.certificates[0].1.bytes = two.key.clone().into(),
            "server.key: is not the key of",
        ),
        (
            |m, _| m.certificates[0].1.bytes = b"x".to_vec(),
            "server.key: holds no private key",
        ),
        (
            |m, _| m.certificates[0].0.bytes.clear(),
            "server.pem: holds no certificate",
        ),
        (
            |m, _| m.client_ca[0].bytes.clear(),
            "ca.pem: holds no certificate",
        ),
        (
            |m, two| m.client_ca[0].bytes = two.key.clone().into(),
            "ca.pem: holds no certificate",
        ),
        (
            |m, _| m.revocation_lists.push(named("ca.crl", "")),
            "ca.crl: holds no revocation list",
        ),
        (
            |m, _| {
                m.revocation_lists.push(named(
                    "ca.crl",
                    "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
                ))
            },
            "ca.crl: a revocation list cannot be read",
        ),
    ];
    for (change, expected) in rows {
        let mut material = good.clone();
        change(&mut material, &two);
        let problem = Context::new(&settings, &material, &[])
            .err()
            .unwrap()
            .to_string();
        assert!(problem.starts_with(expected), "{problem}");
    }
}
