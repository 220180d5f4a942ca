//! Conversations with a broker that has accounts and rules: who is let in, who is told what, and
//! byte for byte the messages of an enhanced authentication.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use hmac::{Hmac, Mac};
use ringmq::auth::{
    Acl, Credential, Hash, HashKind, JwtTerms, Passwords, Rules, ScramFile, Tokens,
};
use ringmq::limits::Limits;
use sha2::{Digest, Sha256};

use super::run_table;
use super::world::{World, UNIX_S};
use super::{row, Broker};

const ACL: &str = "\
topic readwrite public/#
user ann
topic readwrite ann/#
topic deny ann/secret
topic write log
user bob
topic read #
pattern readwrite own/%u/%c
";

fn accounts() -> Passwords {
    let line = |user: &str, password: &str| {
        let kind = HashKind::Pbkdf2 { rounds: 1 };
        let hash = Hash::create(kind, password.as_bytes(), [1; 16]).unwrap();
        format!("{user}:{hash}\n")
    };
    let text = line("ann", "one") + &line("bob", "two");
    Passwords::parse("passwords", &text, 1).unwrap()
}

fn rules() -> Rules {
    let credential = Credential::create("one", SALT, ROUNDS).unwrap();
    let scram = format!("ann:{credential}\nbob:{credential}");
    Rules {
        passwords: Some(accounts()),
        scram: Some(ScramFile::parse("scram", &scram, [5; 32]).unwrap()),
        acl: Some(Arc::new(Acl::parse("acl", ACL).unwrap())),
        ..Rules::default()
    }
}

fn run(rules: Rules, rows: &str) {
    let rows = row::parse_table("row", rows);
    let rules = Arc::new(rules);
    for (shards, piece_len) in [(1, usize::MAX), (1, 1), (2, 3)] {
        run_table(&rows, &|| {
            let mut world = World::with_limits(shards, piece_len, Limits::default());
            world.set_rules(&rules);
            Box::new(world)
        });
    }
}

/// A CONNECT of the client `a` as ann.
const ANN: &str = "A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"one\" ] ; A< CONNACK ok";

#[test]
fn who_is_let_in() {
    run(rules(), "
MQTT-3.1.4-2 | all | the right password | A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"one\" ] c0 00 ; A< CONNACK ok ; A< d0 00
MQTT-3.1.4-2 | all | a wrong password | A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"two\" ] c0 00 ; A< refused 86 04
MQTT-3.1.4-2 | all | an unknown user is told the same | A> 10 [ NAME c2 0000 {} \"a\" \"eve\" \"one\" ] ; A< refused 86 04
MQTT-3.1.4-2 | 3.1.1,5 | a user without a password | A> 10 [ NAME 82 0000 {} \"a\" \"ann\" ] ; A< refused 86 04
MQTT-3.1.4-2 | all | an empty password | A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"\" ] ; A< refused 86 04
MQTT-3.1.4-2 | 5 | a password without a user | A> 10 [ NAME 42 0000 {} \"a\" \"one\" ] ; A< refused 86 04
MQTT-3.1.4-2 | all | nobody in particular | A> 10 [ NAME 02 0000 {} \"a\" ] ; A< refused 87 05
3.1.4 | all | what follows a CONNECT waits for the judgement and is not lost
    A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"one\" ] 82 [ 0001 {} \"ann/x\" 00 ] 30 [ \"ann/x\" {} 'hi' ] c0 00
    A< CONNACK ok ; A< SUBACK 0001 00 ; A< any 30 [ \"ann/x\" {} 'hi' ] | d0 00
3.1.4 | all | the session belongs to the user who made it
    A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"one\" ] ; A< CONNACK ok
    A2> 10 [ NAME c2 0000 {} \"a\" \"bob\" \"two\" ] ; A2< refused 87 05 ; A> c0 00 ; A< d0 00
    A3> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"one\" ] ; A3< CONNACK ok ; A< error 8e
3.1.4 | 5 | also a session whose client is away
    A> 10 [ NAME c2 0000 { 11 00000e10 } \"a\" \"ann\" \"one\" ] ; A< CONNACK ok ; A> e0 00 ; A< close
    A2> 10 [ NAME c2 0000 {} \"a\" \"bob\" \"two\" ] ; A2< refused 87 05
    A3> 10 [ NAME c0 0000 {} \"a\" \"ann\" \"one\" ] ; A3< CONNACK resumed");
    let open = Rules {
        allow_anonymous: true,
        ..rules()
    };
    run(open, "
MQTT-3.1.4-2 | all | anonymous clients beside accounts
    A> 10 [ NAME 02 0000 {} \"a\" ] ; A< CONNACK ok ; A> 82 [ 0001 {} \"public/#\" 00 \"ann/#\" 00 ] ; A< SUBACK 0001 00 87/80
MQTT-3.1.4-2 | all | but a wrong password is wrong | A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"two\" ] ; A< refused 86 04");
    let only_acl = Rules {
        passwords: None,
        scram: None,
        ..rules()
    };
    run(only_acl, "
MQTT-3.1.4-2 | all | a name that nobody checks is no name
    A> 10 [ NAME c2 0000 {} \"a\" \"ann\" \"x\" ] ; A< CONNACK ok ; A> 82 [ 0001 {} \"ann/#\" 00 ] ; A< SUBACK 0001 87/80");
}

#[test]
fn what_they_may_do() {
    let rows = format!("
3.3.5 | all | publications that are allowed and not, QoS 0
    {ANN} ; B> 10 [ NAME c2 0000 {{}} \"b\" \"bob\" \"two\" ] ; B< CONNACK ok ; B> 82 [ 0001 {{}} \"#\" 00 ] ; B< SUBACK 0001 00
    A> 30 [ \"ann/1\" {{}} 'x' ] 30 [ \"bob/1\" {{}} 'x' ] 30 [ \"ann/secret\" {{}} 'x' ] 30 [ \"bob/1\" {{}} 'x' ] 30 [ \"log\" {{}} 'y' ] 30 [ \"log\" {{}} 'z' ] c0 00
    A< d0 00 ; B< 30 [ \"ann/1\" {{}} 'x' ] ; B< 30 [ \"log\" {{}} 'y' ] ; B< 30 [ \"log\" {{}} 'z' ] ; B< nothing
3.3.5 | all | QoS 1: v5 is told, v3 is acknowledged
    {ANN} ; A> 32 [ \"bob/1\" 0001 {{}} 'x' ] ; A< PUBACK 0001 87/00 ; A> 32 [ \"log\" 0002 {{}} 'x' ] ; A< PUBACK 0002
3.3.5 | 5 | QoS 2: PUBREC with 0x87 ends the exchange
    {ANN} ; A> 34 [ \"bob/1\" 0001 {{}} 'x' ] ; A< PUBREC 0001 87 ; A> 62 [ 0001 ] ; A< PUBCOMP 0001 92
3.3.5 | v3 | QoS 2: the exchange runs to its end
    {ANN} ; A> 34 [ \"bob/1\" 0001 'x' ] ; A< PUBREC 0001 ; A> 62 [ 0001 ] ; A< PUBCOMP 0001
3.3.5 | 5 | a topic alias hides nothing
    {ANN} ; A> 32 [ \"bob/1\" 0001 {{ 23 0001 }} 'x' ] ; A< PUBACK 0001 87 ; A> 32 [ \"\" 0002 {{ 23 0001 }} 'x' ] ; A< PUBACK 0002 87
3.8.4 | all | subscriptions
    {ANN} ; A> 82 [ 0001 {{}} \"ann/x\" 00 \"ann/#\" 01 \"ann/+\" 00 \"log\" 00 \"#\" 00 \"ann/a/+\" 02 \"own/ann/a\" 00 \"own/ann/+\" 00 ]
    A< SUBACK 0001 00 87/80 87/80 87/80 87/80 02 00 87/80
3.8.4 | 5 | shared subscriptions by the filter behind the group
    {ANN} ; A> 82 [ 0001 {{}} \"$share/g/ann/x\" 00 \"$share/g/#\" 00 \"$share/ann/bob/x\" 00 ] ; A< SUBACK 0001 00 87 87
3.8.4 | 5 | a filter that is not valid is not a matter of rights
    {ANN} ; A> 82 [ 0001 {{}} \"b#\" 00 ] ; A< SUBACK 0001 8f
3.1.2.5 | all | a will that may not be published
    A> 10 [ NAME c6 0000 {{}} \"a\" {{}} \"bob/w\" \"x\" \"ann\" \"one\" ] ; A< refused 87 05
3.1.2.5 | all | a will that may
    B> 10 [ NAME c2 0000 {{}} \"b\" \"bob\" \"two\" ] ; B< CONNACK ok ; B> 82 [ 0001 {{}} \"#\" 00 ] ; B< SUBACK 0001 00
    A> 10 [ NAME c6 0000 {{}} \"a\" {{}} \"ann/w\" \"x\" \"ann\" \"one\" ] ; A< CONNACK ok ; A> close ; B< 30 [ \"ann/w\" {{}} 'x' ]
4.7 | all | a wildcard as a client id opens nothing
    A> 10 [ NAME c2 0000 {{}} \"+\" \"ann\" \"one\" ] ; A< CONNACK ok ; A> 82 [ 0001 {{}} \"own/ann/+\" 00 \"own/ann/x\" 00 ] ; A< SUBACK 0001 87/80 87/80");
    run(rules(), &rows);
    let strict = Rules {
        acl_disconnect: true,
        ..rules()
    };
    run(strict, &format!("
3.3.5 | all | acl-disconnect: a publication | {ANN} ; A> 30 [ \"bob/1\" {{}} 'x' ] ; A< error 87
3.3.5 | all | acl-disconnect: a publication with QoS 1 | {ANN} ; A> 32 [ \"bob/1\" 0001 {{}} 'x' ] ; A< error 87
3.8.4 | all | acl-disconnect: a subscription | {ANN} ; A> 82 [ 0001 {{}} \"ann/x\" 00 \"bob/1\" 00 ] ; A< error 87"));
    let lenient = Rules {
        acl_check_delivery: true,
        ..rules()
    };
    run(lenient, &format!("
3.3.5 | all | acl-check-delivery: a wide subscription gets what may be read
    {ANN} ; A> 82 [ 0001 {{}} \"#\" 01 ] ; A< SUBACK 0001 01 ; A> 82 [ 0002 {{}} \"nowhere\" 00 \"ann/secret\" 00 ] ; A< SUBACK 0002 87/80 87/80
    A> 30 [ \"log\" {{}} 'x' ] 30 [ \"ann/1\" {{}} 'x' ] 32 [ \"log\" 0001 {{}} 'x' ] ; A< any 30 [ \"ann/1\" {{}} 'x' ] | PUBACK 0001 ; A< nothing
3.8.4 | 5 | acl-check-delivery: a group's message must not be lost with one that may not have it
    {ANN} ; A> 82 [ 0001 {{}} \"$share/g/#\" 01 \"$share/g/ann/x\" 01 ] ; A< SUBACK 0001 87 01"));
}

#[test]
fn tokens() {
    let secret = b"a secret of at least thirty-two bytes";
    let tokens = Tokens::parse(None, Some(("s", secret)), JwtTerms::default()).unwrap();
    let sign = |claims: String| {
        let unsigned = format!(
            "{}.{}",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = mac(secret, unsigned.as_bytes());
        format!(
            "{unsigned}.{}",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature)
        )
    };
    let exp = UNIX_S + 60;
    let plain = sign(format!("{{\"sub\":\"ann\",\"exp\":{exp}}}"));
    let with_acl = sign(format!(
        "{{\"sub\":\"ann\",\"exp\":{exp},\"acl\":{{\"publish\":[\"up/%u\"]}}}}"
    ));
    let with_rules = |publish: &str, subscribe: &str| {
        sign(format!(
            "{{\"sub\":\"ann\",\"exp\":{exp},\"acl\":{{\"publish\":[\"{publish}\"],\"subscribe\":[\"{subscribe}\"]}}}}"
        ))
    };
    let (wide, narrow) = (with_rules("#", "#"), with_rules("#", "a"));
    let expired = sign(format!("{{\"sub\":\"ann\",\"exp\":{}}}", UNIX_S - 60));
    let forged = format!("{}x", &plain[..plain.len() - 1]);
    let rules = Rules {
        tokens: Some(tokens),
        ..rules()
    };
    run(rules, &format!("
3.1.3.6 | all | a token names the user | A> 10 [ NAME c2 0000 {{}} \"a\" \"whoever\" \"{plain}\" ] ; A< CONNACK ok ; A> 32 [ \"ann/x\" 0001 {{}} ] ; A< PUBACK 0001 ; A> 32 [ \"up/ann\" 0002 {{}} ] ; A< PUBACK 0002 87/00
3.1.3.6 | all | and may bring its rules | A> 10 [ NAME c2 0000 {{}} \"a\" \"whoever\" \"{with_acl}\" ] ; A< CONNACK ok ; A> 32 [ \"up/ann\" 0001 {{}} ] ; A< PUBACK 0001 ; A> 32 [ \"ann/x\" 0002 {{}} ] ; A< PUBACK 0002 87/00
3.1.3.6 | 5 | a session resumed with less has lost what is not allowed any more
    A> 10 [ NAME c2 0000 {{ 11 00000e10 }} \"a\" \"x\" \"{wide}\" ] ; A< CONNACK ok ; A> 82 [ 0001 {{}} \"a\" 00 \"b\" 00 ] ; A< SUBACK 0001 00 00 ; A> e0 00 ; A< close
    A2> 10 [ NAME c0 0000 {{}} \"a\" \"x\" \"{narrow}\" ] ; A2< CONNACK resumed ; A2> 32 [ \"b\" 0001 {{}} ] ; A2< PUBACK 0001 10 ; A2> 32 [ \"a\" 0002 {{}} ] ; A2< any 30 [ \"a\" {{}} ] | PUBACK 0002
3.1.3.6 | 5 | its connection ends with it | A> 10 [ NAME 42 0000 {{}} \"a\" \"{plain}\" ] ; A< CONNACK ok ; wait 89000ms ; A> c0 00 ; A< d0 00 ; wait 2000ms ; A< error a0
3.1.3.6 | all | an expired one is a wrong password | A> 10 [ NAME c2 0000 {{}} \"a\" \"x\" \"{expired}\" ] ; A< refused 86 04
3.1.3.6 | all | and so is a forged one | A> 10 [ NAME c2 0000 {{}} \"a\" \"x\" \"{forged}\" ] ; A< refused 86 04"));
}

const SALT: &[u8] = b"0123456789abcdef";
const ROUNDS: u32 = 4_096;

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// A client's side of SCRAM with the nonce `n`, against a server whose nonce is zeros: the four
/// messages.
fn scram(user: &str, password: &str) -> [String; 4] {
    let nonce = format!("n{}", BASE64.encode([0; 18]));
    let bare = format!("n={user},r=n");
    let server_first = format!("r={nonce},s={},i={ROUNDS}", BASE64.encode(SALT));
    let unproven = format!("c=biws,r={nonce}");
    let signed = format!("{bare},{server_first},{unproven}");
    let salted: [u8; 32] =
        pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), SALT, ROUNDS);
    let client_key = mac(&salted, b"Client Key");
    let signature = mac(&Sha256::digest(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key
        .iter()
        .zip(signature)
        .map(|(k, s)| k ^ s)
        .collect();
    let verifier = mac(&mac(&salted, b"Server Key"), signed.as_bytes());
    [
        format!("n,,{bare}"),
        server_first,
        format!("{unproven},p={}", BASE64.encode(proof)),
        format!("v={}", BASE64.encode(verifier)),
    ]
}

/// The properties Authentication Method and Data.
fn auth(data: &str) -> String {
    format!("15 \"SCRAM-SHA-256\" 16 \"{data}\"")
}

// conformance: 5:MQTT-4.12.0-1 5:MQTT-4.12.0-2 5:MQTT-4.12.0-3 5:MQTT-4.12.0-4 5:MQTT-4.12.0-5
// conformance: 5:MQTT-4.12.0-6 5:MQTT-4.12.0-7 5:MQTT-4.12.1-1 5:MQTT-4.12.1-2
// conformance: 5:MQTT-3.1.2-30 5:MQTT-3.15.1-1 5:MQTT-3.15.2-1
#[test]
fn enhanced_authentication() {
    let [first, challenge, proof, verifier] = scram("ann", "one").map(|text| auth(&text));
    let [_, _, wrong, _] = scram("ann", "two").map(|text| auth(&text));
    let [bob_first, _, bob_proof, _] = scram("bob", "one").map(|text| auth(&text));
    let method = "15 \"SCRAM-SHA-256\"";
    let mut rows = String::from("\n");
    let connect =
        format!("A> 10 [ NAME 02 0000 {{ {first} }} \"a\" ] ; A< f0 [ 18 {{ {challenge} }} ]");
    let live = format!("{connect} ; A> f0 [ 18 {{ {proof} }} ] ; A< CONNACK ok +15 +16");
    let mut row = |ids: &str, what: &str, steps: String| {
        let _ = writeln!(rows, "{ids} | 5 | {what} | {steps}");
    };
    row("MQTT-4.12.0-2 MQTT-4.12.0-3 MQTT-4.12.0-5", "a whole exchange",
        format!("{live} ; A> c0 00 ; A< d0 00 ; A> 32 [ \"ann/x\" 0001 {{}} ] ; A< PUBACK 0001 ; A> 32 [ \"bob\" 0002 {{}} ] ; A< PUBACK 0002 87"));
    row("MQTT-4.12.0-2 MQTT-4.12.0-5", "the client begins after the server's AUTH",
        format!("A> 10 [ NAME 02 0000 {{ {method} }} \"a\" ] ; A< f0 [ 18 {{ {method} }} ] ; A> f0 [ 18 {{ {first} }} ] ; A< f0 [ 18 {{ {challenge} }} ] ; A> f0 [ 18 {{ {proof} }} ] ; A< CONNACK ok +15 +16"));
    row(
        "MQTT-4.12.0-4",
        "a wrong proof",
        format!("{connect} ; A> f0 [ 18 {{ {wrong} }} ] ; A< refused 86 04"),
    );
    row("MQTT-4.12.0-4", "an unknown user gets a challenge like any other",
        format!("A> 10 [ NAME 02 0000 {{ {} }} \"a\" ] ; A< f0 [ 18 {{ 15 \"SCRAM-SHA-256\" 16 003d (*)*61 }} ]", auth("n,,n=eve,r=n")));
    row(
        "MQTT-4.12.0-1",
        "another method",
        "A> 10 [ NAME 02 0000 { 15 \"GS2-KRB5\" } \"a\" ] ; A< refused 8c 05".into(),
    );
    row(
        "MQTT-4.12.0-5",
        "AUTH of another method",
        format!("{connect} ; A> f0 [ 18 {{ 15 \"PLAIN\" 16 \"x\" }} ] ; A< refused 82 03"),
    );
    row(
        "MQTT-4.12.0-5",
        "AUTH without a method",
        format!("{connect} ; A> f0 [ 18 {{}} ] ; A< refused 82 03"),
    );
    row(
        "MQTT-3.1.2-30",
        "another packet before CONNACK",
        format!("{connect} ; A> c0 00 ; A< refused 82 03"),
    );
    row(
        "MQTT-3.1.2-30",
        "DISCONNECT before CONNACK",
        format!("{connect} ; A> e0 00 ; A< close"),
    );
    row(
        "MQTT-3.15.1-1",
        "flags in the header of AUTH",
        format!("{connect} ; A> f1 [ 18 {{ {proof} }} ] ; A< refused 81 03"),
    );
    row(
        "MQTT-3.15.2-1",
        "a reason code that clients do not send",
        format!("{connect} ; A> f0 [ 00 {{ {proof} }} ] ; A< refused 81,82 03"),
    );
    row(
        "MQTT-4.12.0-3",
        "re-authentication before CONNACK",
        format!("{connect} ; A> f0 [ 19 {{ {first} }} ] ; A< refused 82 03"),
    );
    row(
        "4.12",
        "who does not go on is closed",
        format!("{connect} ; wait 11000ms ; A< close"),
    );
    row("MQTT-4.12.0-7", "AUTH without a method at CONNECT",
        format!("A> 10 [ NAME c2 0000 {{}} \"a\" \"ann\" \"one\" ] ; A< CONNACK ok -15 ; A> f0 [ 19 {{ {first} }} ] ; A< error 82"));
    row("MQTT-4.12.1-1", "re-authentication, with other packets meanwhile",
        format!("{live} ; A> f0 [ 19 {{ {first} }} ] c0 00 ; A< any f0 [ 18 {{ {challenge} }} ] | d0 00 ; A> 32 [ \"ann/x\" 0001 {{}} ] ; A< PUBACK 0001 ; A> f0 [ 18 {{ {proof} }} ] ; A< f0 [ 00 {{ {verifier} }} ] ; A> c0 00 ; A< d0 00"));
    row("MQTT-4.12.1-2", "re-authentication with a wrong proof ends the connection",
        format!("{live} ; A> f0 [ 19 {{ {first} }} ] ; A< f0 [ 18 {{ {challenge} }} ] ; A> f0 [ 18 {{ {wrong} }} ] ; A< error 87"));
    row("MQTT-4.12.1-2", "re-authentication as another user",
        format!("{live} ; A> f0 [ 19 {{ {bob_first} }} ] ; A< f0 [ 18 {{ {challenge} }} ] ; A> f0 [ 18 {{ {bob_proof} }} ] ; A< error 87"));
    row(
        "MQTT-4.12.1-1",
        "re-authentication with another method",
        format!("{live} ; A> f0 [ 19 {{ 15 \"PLAIN\" 16 \"x\" }} ] ; A< error 82"),
    );
    row(
        "MQTT-4.12.0-3",
        "AUTH out of turn",
        format!("{live} ; A> f0 [ 18 {{ {proof} }} ] ; A< error 82"),
    );
    run(rules(), &rows);
}

/// Changed rules: what they no longer allow ends, what they still allow goes on.
#[test]
fn rules_that_change() {
    let connect = |name: &str, user: &str, password: &str, world: &mut World| {
        let mut bytes = vec![0x10, 0, 0, 4, b'M', b'Q', b'T', b'T', 4, 0xC0, 0, 0];
        for text in [&name.to_lowercase(), user, password] {
            bytes.extend((text.len() as u16).to_be_bytes());
            bytes.extend(text.bytes());
        }
        bytes[1] = bytes.len() as u8 - 2;
        world.open(name);
        world.send(name, &bytes);
        let connack = world.receive(name).unwrap();
        assert_eq!(connack[3], 0, "{connack:02x?}");
    };
    let subscribe = |name: &str, filter: &str, world: &mut World| {
        let mut bytes = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
        bytes.extend(filter.bytes());
        bytes.push(0);
        world.send(name, &bytes);
        world.receive(name).unwrap()[4]
    };
    for shards in [1, 3] {
        let mut world = World::new(shards, usize::MAX);
        world.set_rules(&Arc::new(rules()));
        connect("A", "ann", "one", &mut world);
        connect("B", "bob", "two", &mut world);
        assert_eq!(subscribe("A", "ann/x", &mut world), 0);
        assert_eq!(subscribe("B", "ann/x", &mut world), 0);
        let acl = ACL.replace("topic read #", "topic read bob/#");
        let changed = Rules {
            acl: Some(Arc::new(Acl::parse("acl", &acl).unwrap())),
            ..rules()
        };
        world.set_rules(&Arc::new(changed));
        world.wait_ms(1);
        assert!(
            world.awaits_close("B"),
            "bob may not read ann's topics any more"
        );
        world.send("A", b"\x30\x08\x00\x05ann/x!");
        assert_eq!(world.receive("A").unwrap(), b"\x30\x08\x00\x05ann/x!");
        connect("B2", "bob", "two", &mut world);
        assert_eq!(subscribe("B2", "ann/x", &mut world), 0x80);
    }
}
