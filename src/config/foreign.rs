//! Files of other brokers that are given as `--config`: recognised by their options, so that the operator
//! gets one sentence instead of a syntax error for each line.

use crate::auth::without_mark;

/// Where to read on.
const TABLE: &str = "docs/migrating-from-mosquitto.md";

/// Options of mosquitto.conf (2.0), as `name value`. Those that its ACL files have, too (`user`, `topic`)
/// are not distinctive.
#[rustfmt::skip]
const MOSQUITTO: &[&str] = &[
    "acl_file", "address", "addresses", "allow_anonymous", "allow_duplicate_messages",
    "allow_zero_length_clientid", "auth_plugin", "auth_plugin_deny_special_chars", "auto_id_prefix",
    "autosave_interval", "autosave_on_changes", "bind_address", "bind_interface", "bridge_alpn",
    "bridge_attempt_unsubscribe", "bridge_bind_address", "bridge_cafile", "bridge_capath",
    "bridge_certfile", "bridge_identity", "bridge_insecure", "bridge_keyfile",
    "bridge_max_packet_size", "bridge_max_topic_alias", "bridge_outgoing_retain",
    "bridge_protocol_version", "bridge_psk", "bridge_require_ocsp", "bridge_tls_version", "cafile",
    "capath", "certfile", "check_retain_source", "ciphers", "ciphers_tls1.3", "cleansession",
    "clientid_prefixes", "connection", "connection_messages", "crlfile", "dhparamfile", "http_dir",
    "idle_timeout", "include_dir", "keepalive_interval", "keyfile", "listener",
    "local_cleansession", "local_clientid", "local_password", "local_username", "log_dest",
    "log_facility", "log_timestamp", "log_timestamp_format", "log_type", "max_connections",
    "max_inflight_bytes", "max_inflight_messages", "max_keepalive", "max_packet_size", "max_qos",
    "max_queued_bytes", "max_queued_messages", "max_topic_alias", "memory_limit",
    "message_size_limit", "mount_point", "notification_topic", "notifications",
    "notifications_local_only", "password_file", "per_listener_settings", "persistence",
    "persistence_file", "persistence_location", "persistent_client_expiration", "pid_file",
    "plugin", "port", "protocol", "psk_file", "psk_hint", "queue_qos0_messages",
    "remote_clientid", "remote_password", "remote_username", "require_certificate",
    "restart_timeout", "retain_available", "round_robin", "set_tcp_nodelay", "socket_domain",
    "start_type", "sys_interval", "threshold", "tls_engine", "tls_engine_kpass_sha1",
    "tls_keyform", "tls_version", "try_private", "upgrade_outgoing_qos",
    "use_identity_as_username", "use_subject_as_username", "use_username_as_clientid",
];
/// Options of its plugins begin so.
const MOSQUITTO_PLUGIN: [&str; 2] = ["auth_opt_", "plugin_opt_"];
/// The rest: those of WebSocket, and prefixes like them.
const MOSQUITTO_WEBSOCKETS: &str = "websockets_";

/// Message to the operator about a file that is another broker's. `None`: it may be ours.
pub(super) fn of_another_broker(text: &str) -> Option<String> {
    let lines = without_mark(text).lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut known = None;
    for line in lines {
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        // One line of TOML shows that the others are mistakes in ours.
        if line.starts_with('[') || word.contains('=') || rest.trim_start().starts_with('=') {
            return None;
        }
        if known.is_none() && is_mosquitto(word) && !rest.is_empty() {
            known = Some(word);
        }
    }
    known.map(|word| {
        format!(
            "this looks like a mosquitto.conf (`{word}`); ringmq takes the password and ACL files of \
             Mosquitto, not this one: see {TABLE} for what each option is called here"
        )
    })
}

fn is_mosquitto(word: &str) -> bool {
    MOSQUITTO.contains(&word)
        || MOSQUITTO_PLUGIN.iter().any(|start| word.starts_with(start))
        || word.starts_with(MOSQUITTO_WEBSOCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_mosquitto_is_told_from_ours_with_mistakes() {
        let theirs = [
            "listener 1883",
            "# Place your local configuration in /etc/mosquitto/conf.d/\n\npid_file /run/m.pid\n\
             persistence true\nlog_dest file /var/log/m.log\ninclude_dir /etc/mosquitto/conf.d\n",
            "\u{feff}  per_listener_settings\ttrue\r\nsomething_of_tomorrow 1\r\n",
            "auth_opt_pg_uri postgres://u:p@host/db?a=b\n",
            "websockets_origin https://a\n",
            "connection b\naddress 10.0.0.1:1883\ntopic # both 0 a/ b/",
        ];
        for text in theirs {
            let said = of_another_broker(text).expect(text);
            assert!(
                said.starts_with("this looks like a mosquitto.conf"),
                "{said}"
            );
        }
        let ours = [
            "",
            "# listener 1883\n",
            "listener",
            "shards = 1\nlistener 1883",
            "listener = 1883",
            "port=1883",
            "[[listener]]\nport 1883",
            "user ann\ntopic read a/#",
            "something else",
        ];
        for text in ours {
            assert_eq!(of_another_broker(text), None, "{text}");
        }
    }

    /// A table with a hole would be worse than none.
    #[test]
    fn the_page_names_every_option_and_what_it_is_here() {
        let path = format!("{}/{TABLE}", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(&path).unwrap();
        let others = [
            "user",
            "topic",
            "auth_opt_*",
            "plugin_opt_*",
            "websockets_headers_size",
        ];
        for name in MOSQUITTO.iter().copied().chain(others) {
            let quoted = format!("`{name}`");
            let mut rows = page.lines().filter(|line| line.starts_with('|'));
            let row = rows.find(|row| row.split('|').nth(1).is_some_and(|c| c.contains(&quoted)));
            assert!(row.is_some(), "{name} is not in {TABLE}");
        }
        // And what it names of ours is ours.
        let known = |name: &str| {
            crate::config::options::find(name).is_some()
                || crate::config::listener_options::find(name).is_some()
                || crate::config::bridge_options::find(name).is_some()
        };
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let here = row.split('|').nth(2).unwrap_or_default();
            for name in here.split('`').skip(1).step_by(2) {
                let name = name.split(" =").next().unwrap_or_default();
                assert!(known(name), "{name} is no option: {row}");
            }
        }
    }
}
