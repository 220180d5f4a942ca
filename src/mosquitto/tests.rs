//! Configurations as people have them, and what becomes of them.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::config::{self, Command};
use crate::listener::{Address, Transport};
use crate::transport::tls::{ClientCertificate, IdentitySource};

/// Without included files.
fn imported(text: &str) -> Imported {
    let none = |_: &str| Ok(Vec::new());
    import(&("m.conf".into(), text.into()), &none).unwrap()
}

/// What ringmq makes of the file that was written. Names of files in it begin with `/`.
fn checked(name: &str, text: &str) -> config::Checked {
    let folder = std::env::temp_dir().join(format!("ringmq-import-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let within = |file: &str| -> PathBuf { folder.join(file) };
    std::fs::write(within("passwd"), "ann:$7$101$AAAAAAAAAAAAAAAA$AAAA\n").unwrap_or_default();
    std::fs::write(within("acl"), "user ann\ntopic readwrite #\n").unwrap();
    // A hash of the right form is not needed: no account is in it.
    std::fs::write(within("passwd"), "").unwrap();
    std::fs::write(within("other"), "").unwrap();
    let text = text.replace("\"/", &format!("\"{}/", folder.display()));
    let file = within("ringmq.toml");
    std::fs::write(&file, &text).unwrap();
    let args = ["ringmq".into(), "--config".into(), file.into_os_string()];
    let loaded = config::load(args);
    std::fs::remove_dir_all(&folder).unwrap();
    match loaded {
        Ok(Command::Run(checked)) => *checked,
        other => panic!("{other:?}\n{text}"),
    }
}

fn lines_of(imported: &Imported, weight: Weight) -> Vec<String> {
    let notes = imported.notes.iter().filter(|note| note.weight == weight);
    notes.map(|note| note.line.clone()).collect()
}

#[test]
fn home_automation() {
    let conf = "# Place your local configuration in /etc/mosquitto/conf.d/\n\
                pid_file /run/mosquitto/mosquitto.pid\n\npersistence true\n\
                persistence_location /var/lib/mosquitto/\nlog_dest file /var/log/mosquitto/mosquitto.log\n\
                include_dir /etc/mosquitto/conf.d\n";
    let local = "listener 1883\nallow_anonymous false\r\npassword_file /passwd\nacl_file /acl\n\n\
                 listener 9001\nprotocol websockets\nmax_queued_messages 0\nmax_inflight_messages 20\n";
    let folder = |name: &str| {
        assert_eq!(name, "/etc/mosquitto/conf.d");
        Ok(vec![("local.conf".to_owned(), local.to_owned())])
    };
    let imported = import(&("m.conf".into(), conf.into()), &folder).unwrap();
    assert!(!imported.is_weaker(), "{:?}", imported.notes);
    assert_eq!(lines_of(&imported, Weight::Lost), [""; 0]);
    let own = checked("home", &imported.toml);
    assert_eq!(own.listeners.len(), 2);
    assert_eq!(
        own.listeners[0].address,
        Address::Ip("[::]:1883".parse().unwrap())
    );
    assert_eq!(own.listeners[1].transport, Transport::Ws);
    assert_eq!(own.listeners[1].websocket_path, "*");
    assert!(!own.allow_anonymous && own.auth.acl_check_delivery);
    assert!(own.auth.password_file.is_some() && own.run.data_dir.is_some());
    assert_eq!(own.limits.outgoing_window_max, 20);
    assert_eq!(own.limits.queue_messages_max, u32::MAX);
    assert_eq!(own.limits.session_expiry_max_s, u32::MAX, "without an end");
}

#[test]
fn without_any_listener_it_is_loopback_and_takes_everybody() {
    let imported = imported("persistence false\n");
    let own = checked("none", &imported.toml);
    let addresses: Vec<String> = own.listen.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1:1883", "[::1]:1883"]);
    assert!(own.allow_anonymous && own.run.data_dir.is_none());
}

#[test]
fn client_certificates() {
    let conf = "listener 8883 0.0.0.0\ncafile /ca.crt\ncertfile /server.crt\nkeyfile /server.key\n\
                require_certificate true\nuse_identity_as_username true\ntls_version tlsv1.2\ncrlfile /crl.pem\n\
                max_connections 500\nmax_qos 1\nacl_file /acl\nciphers HIGH\n";
    let first = imported(conf);
    assert!(!first.is_weaker());
    assert_eq!(lines_of(&first, Weight::Lost), ["ciphers HIGH"]);
    let own = checked("certificates", &first.toml);
    let listener = &own.listeners[0];
    let settings = &listener.tls.settings;
    assert_eq!(listener.transport, Transport::Tls);
    assert_eq!(settings.client_certificate, ClientCertificate::Required);
    assert_eq!(settings.identity, Some(IdentitySource::CommonName));
    assert_eq!(listener.connections_max, Some(500));
    assert_eq!(listener.tls.revocation_lists.len(), 1);
    // Without the line the name comes from CONNECT, as there.
    let conf = conf.replace("use_identity_as_username true\n", "allow_anonymous true\n");
    let own = checked("names", &imported(&conf).toml);
    assert_eq!(own.listeners[0].tls.settings.identity, None);
}

#[test]
fn settings_of_each_listener() {
    let conf = "per_listener_settings true\n\
                listener 1883 127.0.0.1\nallow_anonymous true\n\
                listener 8883\ncertfile /c\nkeyfile /k\npassword_file /passwd\nacl_file /acl\n\
                listener 1884\npassword_file /other\n\
                listener 1885\nallow_anonymous false\n";
    let imported = imported(conf);
    assert!(imported.is_weaker());
    let own = checked("each", &imported.toml);
    let addresses: Vec<String> = own
        .listeners
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    assert_eq!(
        addresses,
        ["127.0.0.1:1883", "[::]:8883", "[::]:1884"],
        "nobody could come in by the last"
    );
    assert_eq!(own.listeners[0].policy.allow_anonymous, Some(true));
    assert_eq!(own.listeners[1].policy.allow_anonymous, None);
    let files = |index: usize| {
        let files = &own.listeners[index].policy.files;
        (files.password_file.as_deref(), files.acl_file.as_deref())
    };
    assert_eq!(files(0), (None, None));
    let named = |file: Option<&str>, name: &str| file.is_some_and(|file| file.ends_with(name));
    assert!(named(files(1).0, "/passwd") && named(files(1).1, "/acl"));
    assert!(named(files(2).0, "/other") && files(2).1.is_none());
    assert!(own.auth.acl_check_delivery);
    assert_eq!(
        (&own.auth.password_file, &own.auth.acl_file),
        (&None, &None)
    );
    let lines = lines_of(&imported, Weight::Security);
    assert_eq!(lines, ["listener 1885"]);
    let barred = "#[[listener]]\n#address = \"[::]:1885\"";
    assert!(imported.toml.contains(barred), "{}", imported.toml);
    assert_eq!(lines_of(&imported, Weight::Lost), [""; 0]);
}

#[test]
fn bridges_are_carried_without_their_passwords() {
    let conf = "listener 1883 127.0.0.1\nallow_anonymous true\nconnection aws\n\
                address a1b2.iot.eu-west-1.amazonaws.com:8883 standby\ntopic sensors/# out 1\n\
                topic commands/# in 2 \"\" site7/\nclientid thing\n\
                remote_username u\nremote_password s3cret\nbridge_protocol_version mqttv50\n\
                bridge_cafile /root-ca.pem\nbridge_insecure false\ncleansession true\nnotifications false\n\
                restart_timeout 10 60\nround_robin true\nbridge_tcp_keepalive 60 10 3\n";
    let imported = imported(conf);
    assert!(!imported.is_weaker(), "{:?}", imported.notes);
    assert_eq!(
        lines_of(&imported, Weight::Lost),
        [
            "remote_password (not shown)",
            "bridge_tcp_keepalive 60 10 3"
        ]
    );
    assert!(!imported.toml.contains("s3cret"));
    let checked = checked("bridge", &imported.toml);
    let [bridge] = &checked.bridges[..] else {
        panic!("{}", imported.toml);
    };
    assert_eq!(
        bridge.addresses,
        ["a1b2.iot.eu-west-1.amazonaws.com:8883", "standby:1883"]
    );
    let lines: Vec<_> = bridge.lines.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["sensors/# out 1", "commands/# in 2 \"\" site7/"]);
    assert_eq!((bridge.clean_start, bridge.local_clean_start), (true, true));
    assert_eq!(bridge.backoff_s[..2], [10, 60]);
    assert_eq!(
        (bridge.remote_id(), bridge.user.as_deref()),
        ("thing", Some("u"))
    );
    assert!(bridge.transport.has_tls() && !bridge.tls.insecure);
}

/// Words of mosquitto.conf(5), section on bridges, and of later versions.
#[test]
fn each_word_of_a_bridge_is_in_the_table_of_the_documentation() {
    let page = include_str!("../../docs/migrating-from-mosquitto.md");
    let (_, table) = page.split_once("\n## Bridges\n").unwrap();
    let of_tls = [
        "alpn",
        "cafile",
        "capath",
        "certfile",
        "ciphers",
        "ciphers_tls1.3",
        "identity",
        "insecure",
        "keyfile",
        "psk",
        "require_ocsp",
        "tls_use_os_certs",
        "tls_version",
    ];
    let others = [
        "attempt_unsubscribe",
        "bind_address",
        "max_packet_size",
        "max_topic_alias",
        "outgoing_retain",
        "protocol_version",
        "receive_maximum",
        "reload_type",
        "session_expiry_interval",
        "tcp_keepalive",
        "tcp_user_timeout",
    ];
    let own = of_tls
        .iter()
        .chain(&others)
        .map(|word| format!("bridge_{word}"));
    for word in own.chain(bridges::WORDS.map(String::from)) {
        assert!(table.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn a_lazy_bridge_and_its_numbers_are_carried() {
    let conf = "listener 1883 127.0.0.1\nallow_anonymous true\nconnection c\naddress far near\ntopic a out 1\n\
                threshold 5\nidle_timeout 30\nstart_type lazy\nbridge_bind_address 127.0.0.2\nclientid c\n\
                bridge_tls_version tlsv1.3\n";
    let imported = imported(conf);
    assert_eq!(
        lines_of(&imported, Weight::Lost),
        ["bridge_tls_version tlsv1.3"]
    );
    let bridge = &checked("lazy", &imported.toml).bridges[0];
    assert_eq!(bridge.start, crate::bridge::Start::Lazy);
    assert_eq!((bridge.lazy_messages, bridge.idle_timeout_s), (5, 30));
    assert_eq!(bridge.bind_address, Some([127, 0, 0, 2].into()));
}

#[test]
fn what_keeps_others_out_and_has_no_equal_bars_its_listener() {
    let begin = "listener 1883\nallow_anonymous true\n";
    for line in [
        "mount_point home/",
        "bind_interface eth0",
        "psk_hint hint",
        "enable_proxy_protocol 2",
        "plugin /usr/lib/mosquitto_dynamic_security.so",
    ] {
        let imported = imported(&format!("{begin}{line}\n"));
        assert_eq!(
            lines_of(&imported, Weight::Security),
            vec![line; 1 + usize::from(line.starts_with("plugin"))]
        );
        assert!(
            imported.toml.contains("\n#[[listener]]\n"),
            "{line}: {}",
            imported.toml
        );
        assert!(!imported.toml.contains("\n[[listener]]\n"), "{line}");
    }
    for line in [
        "clientid_prefixes a-",
        "something_of_tomorrow 1",
        "use_subject_as_username true",
    ] {
        let imported = imported(&format!("{begin}{line}\n"));
        assert_eq!(lines_of(&imported, Weight::Security), [line]);
    }
    // Here a loopback listener without accounts takes all clients.
    let imported = imported("listener 1883 localhost\nallow_anonymous false\n");
    assert!(imported.is_weaker());
    assert!(!imported.toml.contains("\n[[listener]]\n"));
}

#[test]
fn sizes_hang_together() {
    let conf = "max_packet_size 5000000\nmax_queued_bytes 1000\nmemory_limit 100000000\nmax_keepalive 600\n\
                persistent_client_expiration 2w\nretain_available false\nlog_type all\nqueue_qos0_messages true\n";
    let own = checked("sizes", &imported(conf).toml);
    assert_eq!(own.limits.packet_size_max, 5_000_000);
    assert_eq!(own.limits.queue_bytes_max, 5_000_000);
    assert_eq!(own.limits.session_expiry_max_s, 14 * 86_400);
    assert_eq!(own.limits.keep_alive_max_s, Some(600));
    assert_eq!(own.limits.retained_messages_max, 0);
    assert!(own.limits.queue_qos0);
}

/// A line of Mosquitto's own options is never one that is not known.
#[test]
fn every_option_of_mosquitto_is_known() {
    let page = std::fs::read_to_string(format!(
        "{}/docs/migrating-from-mosquitto.md",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let mut unknown = String::new();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 100, "the page names them");
    for name in names.iter().filter(|name| **name != "include_dir") {
        let name = name.replace('*', "x");
        // Within a bridge, where those of bridges belong, and outside.
        let [inside, outside] = ["listener 1883\nconnection b\n", "listener 1883\n"].map(|begin| {
            let imported = imported(&format!("{begin}{name} 1\n"));
            let is_unknown = |note: &Note| note.text.contains("is not known");
            imported.notes.iter().any(is_unknown)
        });
        if inside && outside {
            let _ = write!(unknown, "{name} ");
        }
    }
    assert_eq!(unknown, "");
}
