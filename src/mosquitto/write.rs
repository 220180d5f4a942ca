//! The file of ringmq: options, listeners, and as comments what could not be carried.

use super::broker::Broker;
use super::listener::{quoted, TheirListener};
use super::notes::{Note, Weight};
use super::{Imported, Statement};

/// Where the journal of a package is.
const DATA_DIR: &str = "/var/lib/ringmq";

pub(super) fn write(name: &str, mut broker: Broker) -> Imported {
    let mut listeners = std::mem::take(&mut broker.listeners);
    // Without any `listener` or `port` Mosquitto listens on loopback.
    let local_only = listeners.is_empty() && !broker.has_default;
    let default = broker.default.take();
    if let Some(mut own) = default.filter(|own| broker.has_default || own.is_used) {
        if local_only {
            own.set_host("localhost");
        }
        listeners.insert(0, own);
    }
    let mut text = format!(
        "# Made from {name} by `ringmq import`. Look it over, then: ringmq --config FILE --check-config\n"
    );
    let mut rows = accounts(&mut broker, &mut listeners, local_only);
    rows.extend(options(&mut broker));
    for row in rows {
        text.push_str(&row);
    }
    if listeners.is_empty() {
        text.push_str("\n# no listener: Mosquitto listens on loopback only then\nlisten = [\"127.0.0.1:1883\", \"[::1]:1883\"]\n");
    }
    let tables = listeners.iter_mut();
    let tables: Vec<String> = tables
        .flat_map(|own| own.tables(&mut broker.notes))
        .collect();
    let bridges: Vec<String> = (broker.bridges.iter())
        .map(|bridge| bridge.table(&mut broker.notes))
        .collect();
    let notes = std::mem::take(&mut broker.notes);
    text.push_str(&notes_as_comments(&notes));
    text.extend(tables);
    text.extend(bridges);
    Imported { toml: text, notes }
}

const CHECKED: &str = "as there each delivery is checked";

fn row(name: &str, value: &str, from: &str) -> String {
    format!("\n# {from}\n{name} = {value}\n")
}

/// Accounts and rules: of the broker here, of a listener there if it is asked for.
fn accounts(broker: &mut Broker, listeners: &mut [TheirListener], local_only: bool) -> Vec<String> {
    let mut rows = Vec::new();
    if !broker.per_listener || local_only {
        let own = std::mem::take(&mut broker.security);
        rows.extend(files(own.password_file.as_ref(), own.acl_file.as_ref()));
        // By default it is true while there is no listener, and false as soon as there is one.
        let anonymous = own.allow_anonymous.unwrap_or(local_only);
        if anonymous {
            rows.push(row(
                "allow-anonymous",
                "true",
                "who brings no credentials may come in",
            ));
        }
        let has_accounts = own.password_file.is_some() || own.plugin.is_some();
        if !anonymous && !has_accounts {
            nobody_could_come(listeners, &mut broker.notes);
        }
        if own.plugin.is_some() {
            bar_all(listeners, own.plugin.as_ref(), &mut broker.notes);
        }
        for listener in listeners.iter_mut() {
            if let Some(allowed) = listener.security.allow_anonymous {
                listener.add(&format!("allow-anonymous = {allowed}")); // listener_allow_anonymous of 2.1
            }
        }
        return rows;
    }
    let has_rules = |own: &TheirListener| own.security.acl_file.is_some();
    if listeners.iter().any(has_rules) {
        rows.push(row("acl-check-delivery", "true", CHECKED));
    }
    for listener in listeners {
        of_one(listener, &mut broker.notes);
    }
    rows
}

/// What a listener of its own settings has.
fn of_one(listener: &mut TheirListener, notes: &mut Vec<Note>) {
    let own = listener.security.clone();
    for (name, file) in [
        ("password-file", &own.password_file),
        ("acl-file", &own.acl_file),
    ] {
        if let Some(of) = file {
            listener.add(&format!("{name} = {}", quoted(&of.value)));
        }
    }
    if let Some(plugin) = &own.plugin {
        listener.bar_for(plugin, "its accounts and rules are in a plugin", notes);
    }
    let is_open = own.password_file.is_none() && own.plugin.is_none();
    if own.allow_anonymous == Some(true) {
        listener.add("allow-anonymous = true");
    } else if is_open && !listener.names_by_certificate() {
        let why =
            "nobody could come in here: anonymous clients may not, and it has no file of accounts";
        listener.bar_for(&listener.begin.clone(), why, notes);
    }
}

fn files(password: Option<&Statement>, acl: Option<&Statement>) -> Vec<String> {
    let mut rows = Vec::new();
    if let Some(of) = password {
        rows.push(row(
            "password-file",
            &quoted(&of.value),
            &format!("{}: the same file", of.place),
        ));
    }
    if let Some(of) = acl {
        let from = format!("{}: the same file", of.place);
        rows.push(row("acl-file", &quoted(&of.value), &from));
        rows.push(row("acl-check-delivery", "true", CHECKED));
    }
    rows
}

/// Neither accounts nor anonymous clients: loopback would let all in here.
fn nobody_could_come(listeners: &mut [TheirListener], notes: &mut Vec<Note>) {
    for listener in listeners
        .iter_mut()
        .filter(|own| own.is_local() && !own.names_by_certificate())
    {
        let why = "nobody could come in there: allow_anonymous is false and there are no accounts; here a loopback \
                   listener without accounts takes everybody";
        listener.bar_for(&listener.begin.clone(), why, notes);
    }
}

fn bar_all(listeners: &mut [TheirListener], plugin: Option<&Statement>, notes: &mut Vec<Note>) {
    for listener in listeners.iter_mut() {
        let begin = listener.begin.clone();
        listener.bar_for(
            plugin.unwrap_or(&begin),
            "its accounts and rules are in a plugin",
            notes,
        );
    }
}

fn options(broker: &mut Broker) -> Vec<String> {
    let mut rows = Vec::new();
    let mut named: Vec<String> = Vec::new();
    let given = std::mem::take(&mut broker.options);
    for (name, value, from) in given.iter().rev() {
        if !named.contains(name) {
            named.push(name.clone()); // the last one counts
            rows.push(row(name, value, from));
        }
    }
    rows.reverse();
    for (name, value) in broker.size_options() {
        rows.push(row(
            name,
            &value.to_string(),
            "sizes: a queue and a connection must take the largest packet",
        ));
    }
    if broker.packet_bytes.is_none() {
        rows.push(
            "\n# Mosquitto 2.0 takes packets of up to 256 MiB, 2.1 of 2 MB; ringmq of 1 MiB, unless packet-size-max says \
             more.\n"
                .into(),
        );
    }
    if !named.iter().any(|name| name == "session-expiry-max") {
        let from = "no persistent_client_expiration: sessions are kept without an end";
        rows.push(row("session-expiry-max", "\"none\"", from));
    }
    if let Some(of) = &broker.persistence {
        let from = format!(
            "{}: {}; ringmq import --db reads Mosquitto's file",
            of.place,
            of.shown()
        );
        rows.push(row("data-dir", &quoted(DATA_DIR), &from));
    }
    rows
}

fn notes_as_comments(notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes.iter().filter(|note| note.weight != Weight::Fine) {
        text.push_str(&format!("#\n# {note}\n"));
    }
    match text.is_empty() {
        true => text,
        false => format!("\n# ---- What could not be carried ----\n{text}"),
    }
}
