//! Check of the configuration, from raw to checked: every value by its kind, then relations of values.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::bridge_options::{self, BridgeOpt};
use super::check_bridge;
use super::check_listener;
use super::classes::Class;
use super::kind::Kind;
use super::listener_option::ListenerOpt;
use super::listener_options;
use super::options;
use super::problem::{Place, Problem};
use super::raw::{Given, GivenBridge, GivenListener, Typed};
use super::reading::read;
use super::Checked;
use crate::admin_options::InForce;
use crate::bridge::Bridge;
use crate::cluster::{NodeName, NODES_MAX};
use crate::ids::SHARDS_MAX;
use crate::listener::Listener;

/// The checked configuration and where each of its values was given.
pub(super) struct Outcome {
    pub(super) checked: Checked,
    pub(super) origins: HashMap<&'static str, Place>,
}

/// Later ones of `given` override earlier ones. When `problems` stays empty the outcome is valid.
pub(super) fn check(
    given: &[Given],
    tables: &[GivenListener],
    bridges: &[GivenBridge],
    problems: &mut Vec<Problem>,
) -> Outcome {
    let mut checked = Checked::default();
    let mut winners: HashMap<&'static str, &Given> = HashMap::new();
    let mut wrong: HashSet<&'static str> = HashSet::new();
    for one in given {
        let found = read(one);
        if found.is_empty() {
            if let Ok(value) = one.option.kind.read(&one.value) {
                (one.option.set)(&mut checked, value);
                winners.insert(one.option.name, one);
            }
        } else {
            wrong.insert(one.option.name);
            problems.extend(found);
        }
    }
    let relations = Relations {
        checked: &checked,
        winners: &winners,
        wrong: &wrong,
    };
    relations.room_for_largest_packet(problems);
    relations.anonymous_listeners(problems);
    relations.hook_urls(problems);
    relations.user_claim(problems);
    relations.journal(problems);
    relations.cluster(problems);
    relations.admin(problems);
    relations.somewhere_to_listen(tables, problems);
    if !tables.is_empty() && !winners.contains_key("listen") {
        checked.listen.clear(); // the default is for those who name none
    }
    checked.listeners = check_listener::check(&checked, &wrong, tables, problems);
    checked.bridges = check_bridge::check(bridges, problems);
    let origins = winners
        .iter()
        .map(|(name, given)| (*name, given.place.clone()))
        .collect();
    Outcome { checked, origins }
}

/// Rules over several options. A rule is silent while one of its options has a wrong value.
struct Relations<'a> {
    checked: &'a Checked,
    winners: &'a HashMap<&'static str, &'a Given>,
    wrong: &'a HashSet<&'static str>,
}

impl Relations<'_> {
    /// A limit below the largest packet would accept packets only to drop them.
    fn room_for_largest_packet(&self, problems: &mut Vec<Problem>) {
        let limits = &self.checked.limits;
        let rooms = [
            ("queue-bytes-max", limits.queue_bytes_max),
            ("outgoing-bytes-max", limits.outgoing_bytes_max.into()),
            ("retained-bytes-max", limits.retained_bytes_max),
        ];
        for (name, room) in rooms {
            let nothing_retained = name == "retained-bytes-max" && room == 0;
            if room >= u64::from(limits.packet_size_max) || nothing_retained {
                continue;
            }
            let text = format!(
                "{name} ({}) is less than packet-size-max ({}): raise {name} or lower \
                 packet-size-max",
                self.shown(name),
                self.shown("packet-size-max"),
            );
            self.report(&[name, "packet-size-max"], text, problems);
        }
    }

    /// An empty list leaves all to the tables, if there are some.
    fn somewhere_to_listen(&self, tables: &[GivenListener], problems: &mut Vec<Problem>) {
        if self.checked.listen.is_empty() && tables.is_empty() {
            let allowed = Kind::Addresses.allowed();
            let text = format!(
                "the list is empty and there is no [[listener]]: nobody could connect; \
                 allowed: {allowed}"
            );
            self.report(&["listen"], text, problems);
        }
    }

    /// Without logins only loopback listeners may be open, unless the operator allows anonymous clients.
    fn anonymous_listeners(&self, problems: &mut Vec<Problem>) {
        if self.checked.files().has_logins()
            || self.checked.allow_anonymous
            || self.wrong.contains("allow-anonymous")
        {
            return;
        }
        let Some(given) = self.winners.get("listen") else {
            return; // the default is loopback
        };
        for (index, address) in self.checked.listen.iter().enumerate() {
            if address.ip().to_canonical().is_loopback() {
                continue;
            }
            let place = match &given.value {
                Typed::List(items) => items.get(index).map(|item| &item.place),
                _ => None,
            };
            let text = format!(
                "{address} can be reached from other machines and clients have no way to log in: \
                 set password-file (see `ringmq passwd --help`), listen on a loopback address \
                 (127.0.0.1 or [::1]), or set allow-anonymous = true (--allow-anonymous) to let anybody in"
            );
            problems.push(Problem::new(place.unwrap_or(&given.place), "listen", text));
        }
    }

    /// URLs of hooks are http or https; an authority for them needs one of https.
    fn hook_urls(&self, problems: &mut Vec<Problem>) {
        let urls = [
            ("http-hook-url", &self.checked.hook.url),
            ("http-hook-acl-url", &self.checked.acl_hook_url),
        ];
        for (name, url) in urls {
            if !(url.is_empty() || url.starts_with("http://") || url.starts_with("https://")) {
                let text = format!(
                    "\"{}\" does not start with http:// or https://",
                    url.escape_debug()
                );
                self.report(&[name], text, problems);
            }
        }
        let is_https = urls.iter().any(|(_, url)| url.starts_with("https://"));
        if self.checked.auth.hook_ca_file.is_some() && !is_https {
            let text = "means something only with an https:// URL in http-hook-url or \
                        http-hook-acl-url";
            self.report(&["http-hook-ca"], text.into(), problems);
        }
    }

    fn user_claim(&self, problems: &mut Vec<Problem>) {
        if self.checked.auth.jwt.user_claim.is_empty() {
            let text =
                "is empty, and no token has a claim without a name: \"sub\" is the usual one";
            self.report(&["jwt-user-claim"], text.into(), problems);
        }
    }

    /// What describes the journal needs a place for one.
    fn journal(&self, problems: &mut Vec<Problem>) {
        if self.checked.run.data_dir.is_some() {
            return;
        }
        let default = Checked::default();
        for name in ["durability", "journal-segment-bytes", "journal-bytes-max"] {
            let value = |checked| options::find(name).map(|option| (option.get)(checked));
            if value(self.checked) == value(&default) {
                continue; // as in the example file
            }
            let text = "means something only with data-dir, without which all is kept in memory";
            self.report(&[name], text.into(), problems);
        }
    }

    /// A node has a name, and what describes a cluster needs one.
    fn cluster(&self, problems: &mut Vec<Problem>) {
        let cluster = &self.checked.run.cluster;
        for (name, value) in [("node", &cluster.node), ("cluster-name", &cluster.name)] {
            let is_name = |text: &String| NodeName::new(text).is_some();
            if !value.as_ref().is_none_or(is_name) {
                let text = "is not 1 to 32 letters, digits, - or _";
                self.report(&[name], text.into(), problems);
            }
        }
        if cluster.is_on() && cluster.node.is_none() {
            let text = "a node of a cluster needs a name of its own: set node";
            self.report(&["cluster"], text.into(), problems);
        }
        if !cluster.is_on() && cluster.node.is_some() {
            let text = "means something only with cluster, the URLs of its NATS servers";
            self.report(&["node"], text.into(), problems);
        }
        if cluster.certificate.is_some() != cluster.key.is_some() {
            let text = "cluster-certificate and cluster-key go together";
            self.report(
                &["cluster-certificate", "cluster-key"],
                text.into(),
                problems,
            );
        }
        if let Some(text) = &cluster.listen {
            if text.parse::<SocketAddr>().is_err() {
                let text = "is not an address and a port, such as 10.0.0.1:7883";
                self.report(&["cluster-listen"], text.into(), problems);
            }
        }
        for (name, value) in [
            ("cluster-address", &cluster.address),
            ("cluster-client-address", &cluster.client_address),
        ] {
            let is_host_and_port = |text: &String| {
                let parts = text.rsplit_once(':');
                let is_word = text.chars().all(|c| c.is_ascii_graphic());
                is_word
                    && parts
                        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            };
            if !value.as_ref().is_none_or(is_host_and_port) {
                let text = "is not a host and a port, such as a.example:1883";
                self.report(&[name], text.into(), problems);
            }
        }
        let shards_max = SHARDS_MAX - 1 - NODES_MAX;
        let shards = self.checked.shards.map_or(0, usize::from);
        if cluster.is_on() && shards > shards_max {
            let text = format!("a node of a cluster has {shards_max} shards at most");
            self.report(&["shards"], text, problems);
        }
    }

    /// Who reaches the admin listener from another machine must be able to log in.
    fn admin(&self, problems: &mut Vec<Problem>) {
        let admin = &self.checked.admin;
        let beyond = admin.listen.iter().find(|address| !address.is_local());
        if let Some(address) = beyond.filter(|_| !admin.has_logins()) {
            let text = format!(
                "{address} can be reached from other machines and nobody could log in: set admin-users or \
                 admin-viewers (accounts of password-file) or admin-token-file (see `ringmq token --help`), or \
                 listen on a loopback address or a Unix socket"
            );
            self.report(&["admin-listen"], text, problems);
        }
        if admin.has_accounts() && self.checked.auth.password_file.is_none() {
            let text = "the accounts are those of password-file, which is not set";
            let name = if admin.admins.is_empty() {
                "admin-viewers"
            } else {
                "admin-users"
            };
            self.report(&[name], text.into(), problems);
        }
        if admin.certificate.is_some() != admin.key.is_some() {
            let text = "admin-tls-certificate and admin-tls-key go together";
            self.report(
                &["admin-tls-certificate", "admin-tls-key"],
                text.into(),
                problems,
            );
        }
        if admin.client_ca.is_some() && admin.certificate.is_none() {
            let text = "means something only with admin-tls-certificate";
            self.report(&["admin-tls-client-ca"], text.into(), problems);
        }
    }

    /// The effective value and, in words, where it is from if the operator did not give it.
    fn shown(&self, name: &str) -> String {
        let Some(option) = options::find(name) else {
            return String::new();
        };
        let value = option.kind.write(&(option.get)(self.checked));
        match self.winners.get(name) {
            Some(_) => value,
            None => format!("{value} by default"),
        }
    }

    /// Reports at the first of `names` that was given.
    fn report(&self, names: &[&'static str], text: String, problems: &mut Vec<Problem>) {
        if names.iter().any(|name| self.wrong.contains(name)) {
            return;
        }
        let given = names.iter().find_map(|name| self.winners.get(name));
        if let Some(given) = given {
            problems.push(Problem::new(&given.place, given.option.name, text));
        }
    }
}

/// Each option of the table with its value and where that was given.
pub(super) fn in_force(outcome: &Outcome) -> Vec<InForce> {
    let shown = options::all().map(|option| InForce {
        name: option.name.into(),
        value: option.kind.write(&(option.get)(&outcome.checked)),
        origin: match outcome.origins.get(option.name) {
            Some(place) => place.describe(),
            None => "default".into(),
        },
    });
    shown.collect()
}

/// Names of all options, in the order of the table, with value and origin; then the listeners.
pub(super) fn effective(outcome: &Outcome) -> String {
    let mut lines = String::new();
    for InForce {
        name,
        value,
        origin,
    } in in_force(outcome)
    {
        let class = Class::of(&name).word();
        lines.push_str(&format!("{name} = {value}  # {origin} ({class})\n"));
    }
    for listener in &outcome.checked.listeners {
        lines.push_str("\n[[listener]]\n");
        for ListenerOpt { option, .. } in listener_options::all() {
            let value = (option.get)(listener);
            let is_given = value != (option.get)(&Listener::default());
            if is_given || option.name == "address" {
                lines.push_str(&format!(
                    "{} = {}\n",
                    option.name,
                    option.kind.write(&value)
                ));
            }
        }
    }
    for bridge in &outcome.checked.bridges {
        lines.push_str("\n[[bridge]]\n");
        for BridgeOpt { option, .. } in bridge_options::all() {
            let value = (option.get)(bridge);
            if value != (option.get)(&Bridge::default()) {
                let value = option.kind.write(&value);
                lines.push_str(&format!("{} = {value}\n", option.name));
            }
        }
        for line in &bridge.lines {
            lines.push_str(&format!("# {}\n", line.in_words()));
        }
    }
    lines
}
