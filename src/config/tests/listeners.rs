//! Tables of listeners, good and bad.

use super::*;

#[test]
fn tables_of_listeners_are_understood() {
    let checked = file(&format!(
        "[[listener]]\n{TLS}versions = [\"5.0\"]\nqos-max = 1\nconnections-max = 7\n\
         connect-rate = 8\nconnect-rate-source = 9\npacket-size-max = \"1KiB\"\n\
         tls-version-min = \"1.3\"\ntls-client-certificate = \"required\"\n\
         tls-client-ca = [\"a\", \"b\"]\ntls-crl = \"r\"\ntls-identity = \"san-uri\"\n\
         tls-alpn = [\"mqtt\", \"x-amzn-mqtt-ca\"]\ntls-record-max = 512\n\
         [[listener]]\naddress = \"unix:/run/ringmq.sock\"\nowner = \"iot:iot\"\nmode = \"0660\"\n"
    ))
    .unwrap();
    assert_eq!(checked.listen, [], "the default is for those who name none");
    let [tls, unix] = &checked.all_listeners()[..] else {
        panic!("{checked:?}");
    };
    let expected = Listener {
        address: Address::Ip("127.0.0.1:8883".parse().unwrap()),
        transport: Transport::Tls,
        authentication: None,
        policy: ListenerPolicy {
            versions: Versions {
                v31: false,
                v311: false,
                v5: true,
            },
            packet_size_max: Some(1_024),
            qos_max: Qos::AtLeastOnce,
            authentication: Authentication::Required,
            layered: true,
            ..ListenerPolicy::default()
        },
        connections_max: Some(7),
        connect_rate: Some(8),
        connect_rate_source: Some(9),
        owner: None,
        mode: None,
        tls: TlsFiles {
            settings: Settings {
                version_min: VersionMin::Tls13,
                client_certificate: ClientCertificate::Required,
                identity: Some(IdentitySource::SanUri),
                alpn: Some(vec!["mqtt".into(), "x-amzn-mqtt-ca".into()]),
                record_max: Some(512),
            },
            certificates: vec!["c".into()],
            keys: vec!["k".into()],
            client_ca: vec!["a".into(), "b".into()],
            revocation_lists: vec!["r".into()],
        },
        ..Listener::default()
    };
    assert_eq!(*tls, expected);
    assert_eq!(unix.address, Address::Unix("/run/ringmq.sock".into()));
    assert_eq!(
        (unix.owner.as_deref(), unix.mode),
        (Some("iot:iot"), Some(0o660))
    );
    assert_eq!(unix.policy, ListenerPolicy::default());

    let both = file("listen = \"[::1]:1\"\n[[listener]]\naddress = \"127.0.0.1:2\"").unwrap();
    let addresses = both.all_listeners();
    let addresses: Vec<_> = addresses.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(addresses, ["[::1]:1", "127.0.0.1:2"]);
    // Other machines may reach what asks for certificates.
    let open = TLS.replace("127.0.0.1", "0.0.0.0");
    let asks = "tls-client-ca = \"a\"\ntls-client-certificate = \"required\"\n";
    assert!(file(&format!("[[listener]]\n{open}{asks}")).is_ok());
    assert!(file(&format!("allow-anonymous = true\n[[listener]]\n{open}")).is_ok());
    assert!(file(&format!("[[listener]]\n{open}allow-anonymous = true")).is_ok());
}

#[test]
fn tables_alone_may_have_the_address_of_the_default() {
    let table = "[[listener]]\naddress = \"127.0.0.1:1883\"\n";
    for beside in ["", "listen = []\n"] {
        let checked = file(&format!("{beside}{table}")).expect(beside);
        let all = checked.all_listeners();
        let addresses: Vec<_> = all.iter().map(|own| own.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:1883"], "{beside}");
    }
    let unix = file("listen = []\n[[listener]]\naddress = \"unix:/run/x\"").unwrap();
    assert_eq!(unix.all_listeners().len(), 1);
    let twice = format!("listen = \"127.0.0.1:1883\"\n{table}");
    let found = file(&twice).unwrap_err();
    assert_eq!(
        found,
        ["f:3: address: 127.0.0.1:1883 is given twice; give it once"]
    );
    // A wrong list is not the default either.
    let wrong = file(&format!("listen = 7\n{table}")).unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}

/// What `--check-config` shows is a file with the same configuration.
#[test]
fn the_effective_values_are_a_good_file() {
    let texts = [
        "",
        "[[listener]]\naddress = \"127.0.0.1:1883\"\nqos-max = 1",
        "listen = \"[::1]:1\"\nshards = 3\n[[listener]]\naddress = \"unix:/run/x\"\nmode = \"0600\"",
    ];
    for text in texts {
        let mut problems = Vec::new();
        let content = file::parse(&"f".into(), text, &mut problems);
        let outcome = check(
            &content.given,
            &content.listeners,
            &content.bridges,
            &mut problems,
        );
        let shown = check::effective(&outcome);
        assert_eq!(file(&shown).as_ref(), Ok(&outcome.checked), "{shown}");
    }
}

#[test]
fn quotas_of_a_listener_stand_in_place_of_the_brokers() {
    let checked = file(
        "allow-anonymous = true\nclient-in-messages-per-s = 10\n[[listener]]\naddress = \"127.0.0.1:1\"\n\
         [[listener]]\naddress = \"127.0.0.1:2\"\nallow-anonymous = false\nhalf-open-max = 7\n\
         client-in-messages-per-s = \"none\"\nclient-in-bytes-per-s = 1\nclient-out-messages-per-s = 2\n\
         client-out-bytes-per-s = 3\nlistener-in-messages-per-s = 4\nlistener-in-bytes-per-s = 5\n\
         listener-out-messages-per-s = 6\nlistener-out-bytes-per-s = 7\nrate-burst = \"1m\"\n\
         password-file = \"p\"\nacl-file = \"a\"",
    )
    .unwrap();
    let [as_the_broker, own] = &checked.listeners[..] else {
        panic!("{checked:?}");
    };
    assert_eq!(as_the_broker.policy, ListenerPolicy::default());
    assert_eq!(
        (own.policy.allow_anonymous, own.policy.half_open_max),
        (Some(false), Some(7))
    );
    let files = &own.policy.files;
    let of_listeners = [files.password_file.as_deref(), files.acl_file.as_deref()];
    assert_eq!(of_listeners, [Some("p"), Some("a")]);
    let names = checked.files();
    assert_eq!(names.names().collect::<Vec<_>>(), ["p", "a"]);
    let OwnQuotas {
        client,
        listener,
        burst_s,
    } = own.policy.quotas;
    let numbers = |rates: OwnRates| {
        let OwnRates { incoming, outgoing } = rates;
        [
            incoming.messages_per_s,
            incoming.bytes_per_s,
            outgoing.messages_per_s,
            outgoing.bytes_per_s,
        ]
    };
    assert_eq!(numbers(client), [None, Some(1), Some(2), Some(3)].map(Some));
    assert_eq!(numbers(listener), [4, 5, 6, 7].map(|n| Some(Some(n))));
    assert_eq!(burst_s, Some(60));
}

#[test]
fn bad_tables_of_listeners_name_every_fault() {
    const IS_OPEN: &str = "0.0.0.0:8883 can be reached from other machines and its clients need not authenticate: set password-file, listen on a loopback address or a Unix socket, require client certificates (tls-client-certificate = \"required\"), or set allow-anonymous = true, here or for the whole broker, to let anybody in";
    let open = TLS.replace("127.0.0.1", "0.0.0.0");
    let cases: &[(&str, &[&str])] = &[
        ("[listener]\naddress = \"127.0.0.1:1\"", &["f:1: listener: a listener is a table of its own: write [[listener]]"]),
        ("listener = [1]", &["f:1: listener: a listener is a table of its own: write [[listener]]"]),
        ("\n[[listener]]\n", &["f:2: address: is missing: a listener needs one, such as address = \"127.0.0.1:1883\""]),
        (
            "[[listener]]\naddress = \"unix:run\"\ncolour = 1\nadress = 1\nqos-max = 3\ntransport = \"udp\"\nmode = 660\nversions = [\"5.0\", \"4\"]",
            &[
                "f:2: address: \"unix:run\" is not \"unix:\" and an absolute path of at most 107 bytes; allowed: an IP address with a port, such as \"0.0.0.0:8883\" or \"[::]:8883\", or \"unix:\" and an absolute path",
                "f:3: colour: no such option of a listener (ringmq.toml names them all)",
                "f:4: adress: no such option of a listener (did you mean address?)",
                "f:5: qos-max: 3 is too large; allowed: 0 to 2",
                "f:6: transport: \"udp\" carries MQTT-SN only: add protocol = \"mqtt-sn\"",
                "f:7: mode: 660 is not permission bits in octal, quoted; allowed: \"0000\" to \"0777\"",
                "f:8: versions: \"4\" is not one of the words; allowed: some of \"3.1\", \"3.1.1\", \"5.0\"",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"",
            &["f:4: address: 127.0.0.1:1 is given twice; give it once"],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nowner = \"me\"\ntls-key = \"k\"\npacket-size-max = \"2MiB\"",
            &[
                "f:3: owner: means something only with a Unix socket",
                "f:4: tls-key: means something only with transport = \"tls\", \"wss\" or \"quic\"",
                "f:5: packet-size-max: is more than packet-size-max of the whole broker (1048576 bytes)",
            ],
        ),
        (
            "[[listener]]\naddress = \"unix:/a\"\nconnect-rate-source = 1\ntransport = \"tls\"\ntls-certificate = [\"a\", \"b\"]\ntls-key = \"k\"\ntls-crl = \"r\"",
            &[
                "f:3: connect-rate-source: means something only with an IP address",
                "f:6: tls-key: names 1 keys for 2 certificates: give one for each",
                "f:7: tls-crl: means something only with tls-client-certificate = \"optional\" or \"required\"",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntransport = \"tls\"\ntls-client-certificate = \"required\"",
            &[
                "f:1: tls-certificate: is missing: TLS needs it",
                "f:1: tls-key: is missing: TLS needs it",
                "f:1: tls-client-ca: is missing: it names the authorities whose certificates clients may show",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nauthentication = \"required\"",
            &["f:3: authentication: nobody could connect: there is nothing to authenticate with; give password-file, or tls-client-certificate and tls-identity, or take \"anonymous\""],
        ),
        (&format!("[[listener]]\n{open}"), &[&format!("f:2: address: {IS_OPEN}")]),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nwebsocket-path = \"/a\"\nwebsocket-origins = \"null\"\ntrusted-proxies = \"::1\"",
            &[
                "f:3: websocket-path: means something only with transport = \"ws\" or \"wss\"",
                "f:4: websocket-origins: means something only with transport = \"ws\" or \"wss\"",
                "f:5: trusted-proxies: means something only with proxy-protocol = true, or transport = \"ws\" or \"wss\"",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntransport = \"ws\"\nwebsocket-path = \"/a?b\"\nwebsocket-origins = [\"null\", \"https://a/\"]\nproxy-protocol = true",
            &[
                "f:1: trusted-proxies: is missing: proxy-protocol = true needs it, or nobody could connect",
                "f:4: websocket-path: \"/a?b\" is not a path: it begins with \"/\" and has no query; \"*\" takes any",
                "f:5: websocket-origins: \"https://a/\" is not an origin: that is scheme, host and port of a page, without a path",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy-protocol = true\ntrusted-proxies = [\"::1\", \"10/8\"]",
            &["f:4: trusted-proxies: \"10/8\" is no address, no block of addresses like 10.0.0.0/8 or fd00::/8, and not \"unix\""],
        ),
        (
            &format!("allow-anonymous = true\n[[listener]]\n{open}allow-anonymous = false"),
            &[&format!("f:3: address: {IS_OPEN}")],
        ),
        (
            "password-file = \"p\"\n[[listener]]\naddress = \"127.0.0.1:1\"\nallow-anonymous = true\nauthentication = \"required\"\nclient-in-bytes-per-s = 0\nhalf-open-max = \"many\"",
            &[
                "f:4: allow-anonymous: means nothing here: the clients of this listener must say who they are",
                "f:6: client-in-bytes-per-s: 0 is too small; allowed: 1 to 4294967295, or \"none\"",
                "f:7: half-open-max: \"many\" is not a whole number; allowed: 1 to 4294967295, or \"none\"",
            ],
        ),
        (
            &format!("[[listener]]\n{open}tls-client-ca = \"a\"\ntls-client-certificate = \"optional\""),
            &[&format!("f:2: address: {IS_OPEN}")],
        ),
    ];
    for (text, expected) in cases {
        let found = file(text).expect_err(text);
        assert_eq!(found, *expected, "file:\n{text}");
    }
}

#[test]
fn listeners_of_websocket_and_behind_proxies() {
    let checked = file(
        "[[listener]]\naddress = \"127.0.0.1:1\"\ntransport = \"ws\"\n\
         [[listener]]\naddress = \"127.0.0.1:2\"\ntransport = \"ws\"\nwebsocket-path = \"/a/b\"\n\
         websocket-origins = [\"https://a:1\", \"null\"]\ntrusted-proxies = \"unix\"\n\
         [[listener]]\naddress = \"127.0.0.1:3\"\nproxy-protocol = true\n\
         trusted-proxies = [\"::1\", \"10.0.0.0/8\"]\n",
    )
    .unwrap();
    let [plain, more, proxied] = &checked.all_listeners()[..] else {
        panic!("{checked:?}");
    };
    assert_eq!(
        (plain.transport, &*plain.websocket_path),
        (Transport::Ws, "/mqtt")
    );
    assert!(plain.websocket_origins.is_empty() && plain.policy.layered);
    assert_eq!(more.websocket_path, "/a/b");
    assert_eq!(more.websocket_origins, ["https://a:1", "null"]);
    assert_eq!(more.trusted_proxies, ["unix"]);
    assert!(proxied.proxy_protocol && proxied.policy.layered);
    assert_eq!(proxied.trusted_proxies, ["::1", "10.0.0.0/8"]);
}

#[test]
fn the_example_of_a_listener_names_each_option_once_and_is_good() {
    let example = render::example();
    let (_, section) = example.split_once("#[[listener]]").unwrap();
    let (section, _) = section.split_once("#[[bridge]]").unwrap();
    let mut turned_on = String::from("[[listener]]\n");
    for line in section.lines().filter_map(|line| line.strip_prefix("#   ")) {
        let is_of_unix = ["owner", "mode"].iter().any(|name| line.starts_with(name));
        if !is_of_unix && !line.starts_with("sn-") {
            turned_on += &format!("{line}\n");
        }
    }
    let checked = file(&turned_on).unwrap();
    assert_eq!(checked.listeners.len(), 1);
    for row in listener_options::all() {
        assert!(section.contains(&format!("#   {} = ", row.option.name)));
        assert!(row.option.reason.ends_with('.') && !row.option.help.ends_with('.'));
    }
}

#[test]
fn mqtt_sn_is_spoken_over_udp_and_nothing_else_is() {
    let address = "address = \"127.0.0.1:1883\"\n";
    let of = |more: &str| file(&format!("[[listener]]\n{address}{more}"));
    let example = render::example();
    let (_, section) = example.split_once("#[[listener]]").unwrap();
    let own = section.lines().filter_map(|line| line.strip_prefix("#   "));
    let own: Vec<_> = own.filter(|line| line.starts_with("sn-")).collect();
    let good = format!(
        "transport = \"udp\"\nprotocol = \"mqtt-sn\"\n{}",
        own.join("\n")
    );
    // The port is also that of the plain listener, of TCP.
    let checked = of(&good).unwrap();
    assert_eq!(
        checked.listeners[0].mqtt_sn.datagram_rate_source,
        Some(1_000)
    );
    for (wrong, part) in [
        ("transport = \"udp\"", "carries MQTT-SN only"),
        ("protocol = \"mqtt-sn\"", "is spoken over UDP only"),
        ("sn-retry = \"1s\"", "means something only with protocol"),
        (
            "transport = \"udp\"\nprotocol = \"mqtt-sn\"\nauthentication = \"required\"",
            "would let nobody in",
        ),
        (
            "transport = \"udp\"\nprotocol = \"mqtt-sn\"\nversions = [\"5.0\"]",
            "means something only with protocol = \"mqtt\"",
        ),
    ] {
        let problems = format!("{:?}", of(wrong).expect_err(wrong));
        assert!(
            problems.contains(&part.replace('"', "\\\"")) || problems.contains(part),
            "{problems}"
        );
    }
}

#[test]
fn any_path_and_any_protocol() {
    let table = |more: &str| {
        file(&format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{more}"))
            .map(|checked| checked.all_listeners().remove(0))
    };
    for path in ["", "*", "/", "/a/b"] {
        let listener = table(&format!("transport = \"ws\"\nwebsocket-path = \"{path}\""));
        assert_eq!(listener.unwrap().websocket_path, path);
    }
    let tls = "transport = \"tls\"\ntls-certificate = \"c\"\ntls-key = \"k\"\n";
    let alpn = |value: &str| table(&format!("{tls}tls-alpn = {value}"));
    let taken = |value: &str| alpn(value).unwrap().tls.settings.alpn;
    assert_eq!(taken("\"ignore\""), Some(vec![]));
    assert_eq!(taken("[\"ignore\"]"), Some(vec![]));
    assert_eq!(taken("\"mqtt\""), Some(vec!["mqtt".into()]));
    assert_eq!(table(tls).unwrap().tls.settings.alpn, None);
    let long = format!("\"{}\"", "a".repeat(256));
    for wrong in ["[\"mqtt\", \"ignore\"]", &long, "[]", "7"] {
        assert!(alpn(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_claim_with_the_user_has_a_name() {
    let problem = file("jwt-user-claim = \"\"").err().unwrap();
    assert!(format!("{problem:?}").contains("no token has a claim without a name"));
    assert!(file("jwt-acl-claim = \"\"").is_ok(), "none");
}

#[test]
fn quic_is_tls_over_udp() {
    let of = |more: &str| {
        file(&format!(
            "[[listener]]\n{}\n{more}",
            TLS.replace("\"tls\"", "\"quic\"")
        ))
    };
    let [quic] = &of("tls-client-certificate = \"required\"\ntls-client-ca = \"a\"")
        .unwrap()
        .all_listeners()[..]
    else {
        panic!("one listener");
    };
    assert_eq!(quic.transport, Transport::Quic);
    assert!(quic.policy.layered && quic.transport.has_datagrams());
    for (more, fault) in [
        ("tls-alpn = [\"ignore\"]", "QUIC needs a name"),
        (
            "tls-version-min = \"1.3\"",
            "only with a transport over TCP",
        ),
        ("tls-record-max = 512", "only with a transport over TCP"),
        (
            "proxy-protocol = true\ntrusted-proxies = \"127.0.0.1\"",
            "only with a transport over TCP",
        ),
        ("protocol = \"mqtt-sn\"", "is spoken over UDP only"),
    ] {
        let problems = of(more).unwrap_err();
        let text = format!("{problems:?}");
        assert!(text.contains(fault), "{more}: {text}");
    }
    let unix = "[[listener]]\naddress = \"unix:/run/x\"\ntransport = \"quic\"\ntls-certificate = \"c\"\ntls-key = \"k\"";
    let text = format!("{:?}", file(unix).unwrap_err());
    assert!(text.contains("QUIC needs an IP address"), "{text}");
}
