//! The table of options as the example file that ships as `ringmq.toml`.

use super::bridge_options::{self, BridgeOpt};
use super::classes::{self, Class};
use super::listener_option::ListenerOpt;
use super::listener_options;
use super::options;

/// Columns of the example file.
const WIDTH: usize = 90;

/// The example file: every option with its reason, commented out at its default.
pub(super) fn example() -> String {
    let mut text = String::from(
        "# Options of ringmq, each commented out at its default. Use: ringmq --config FILE\n\
         # `ringmq --config FILE --check-config` names every mistake, or shows the values in use.\n\
         # The command line has the same names (--queue-messages-max 500) and overrides the file.\n",
    );
    let mut group = "";
    for option in options::all() {
        if option.group != group {
            group = option.group;
            text.push_str(&format!("\n# ---- {group} ----\n"));
        }
        let help = format!("{}.", option.help);
        let allowed = format!("Allowed: {}.", option.kind.allowed());
        text.push('\n');
        let class = Class::of(option.name).described();
        for paragraph in [&help, option.reason, &allowed, class] {
            text.push_str(&wrap(paragraph, WIDTH, "# "));
            text.push('\n');
        }
        text.push_str(&format!("#{} = {}\n", option.name, option.default_text()));
    }
    text.push_str(
        "\n# ---- One listener at a time ----\n\
         #\n\
         # Instead of `listen`, or besides it: a table for each listener, at the end of the file.\n\
         # Only the address must be given; the values here are examples.\n\
         #\n\
         #[[listener]]\n",
    );
    for ListenerOpt { option, example } in listener_options::all() {
        let help = format!("{}.", option.help);
        let allowed = format!("Allowed: {}.", option.kind.allowed());
        let class = classes::of_listener(option.name).described();
        for paragraph in [&help, option.reason, &allowed, class] {
            text.push_str(&wrap(paragraph, WIDTH, "# "));
            text.push('\n');
        }
        text.push_str(&format!("#   {} = {example}\n#\n", option.name));
    }
    text.push_str(
        "\n# ---- One bridge at a time ----\n\
         #\n\
         # A client of another broker for topics of both: a table for each, at the end of the file.\n\
         # Name, addresses and topics must be given; the values are examples. See docs/bridges.md.\n\
         #\n\
         #[[bridge]]\n",
    );
    for BridgeOpt { option, example } in bridge_options::all() {
        let help = format!("{}.", option.help);
        let allowed = format!("Allowed: {}.", option.kind.allowed());
        for paragraph in [&help, option.reason, &allowed] {
            text.push_str(&wrap(paragraph, WIDTH, "# "));
            text.push('\n');
        }
        text.push_str(&format!("#   {} = {example}\n#\n", option.name));
    }
    text.truncate(text.len() - 2);
    text
}

/// docs/configuration.md: every option with its default and when a change of it takes effect.
#[cfg(test)]
pub(super) fn page() -> String {
    let mut text = String::from(
        "# Options, and when a change takes effect\n\n\
         Written by a test from the table of options; what each is for is in [ringmq.toml](../ringmq.toml).\n\n\
         SIGHUP, `ringmq ctl reload`, `systemctl reload ringmq` and POST /api/v1/reload read the whole configuration again: all of\n\
         it is applied, or nothing when something is wrong. The answer names each option that differs. *live*: for all at\n\
         once; *new connections*: those that are open keep what they have; *listeners open and close*: connections stay;\n\
         *restart*: the old value stays in force, and the answer says so.\n",
    );
    let mut group = "";
    for option in options::all() {
        if option.group != group {
            group = option.group;
            text.push_str(&format!(
                "\n## {group}\n\n| option | default | a change is taken | |\n| --- | --- | --- | --- |\n"
            ));
        }
        let (name, default) = (option.name, option.default_text());
        let class = Class::of(name).column();
        let more = match classes::reason(name) {
            "" => option.help.to_owned(),
            reason => format!("{}. It needs a restart, {reason}", option.help),
        };
        text.push_str(&format!("| `{name}` | `{default}` | {class} | {more} |\n"));
    }
    text.push_str(
        "\n## In a [[listener]]\n\n| option | a change is taken | |\n| --- | --- | --- |\n",
    );
    for ListenerOpt { option, .. } in listener_options::all() {
        let (name, help) = (option.name, option.help);
        let class = classes::of_listener(name).column();
        text.push_str(&format!("| `{name}` | {class} | {help} |\n"));
    }
    text.push_str("\nTables `[[bridge]]` are taken at SIGHUP, too: those that changed begin anew, the others are left alone.\n");
    text
}

/// Breaks a text into lines of at most `width` columns, each after `prefix`. Longer words stay
/// whole. No newline at the end.
pub(super) fn wrap(text: &str, width: usize, prefix: &str) -> String {
    let mut lines = vec![prefix.to_owned()];
    for word in text.split_whitespace() {
        let last = lines
            .last_mut()
            .expect("starts with one line and only grows");
        if last.len() == prefix.len() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(format!("{prefix}{word}"));
        }
    }
    lines.join("\n")
}

/// The manual page of the file, `ringmq.toml(5)`, in the language of man(7).
#[must_use]
pub fn file_page() -> String {
    let mut page = String::from(
        ".TH ringmq.toml 5 \"\" ringmq\n.SH NAME\nringmq.toml \\- options of the MQTT broker ringmq\n.SH DESCRIPTION\n",
    );
    let mut text = |line: &str| {
        page.push_str(&roff(line));
        page.push('\n');
    };
    text(
        "A file in TOML, given with --config: name = value. The command line has the same names and overrides the \
         file. ringmq --config FILE --check-config names every mistake in it, or shows the values in use.",
    );
    let mut group = "";
    for option in options::all() {
        if option.group != group {
            group = option.group;
            page.push_str(&format!(".SH {}\n", roff(&group.to_uppercase())));
        }
        let default = option.default_text();
        page.push_str(&entry(option.name, &default, [option.help, option.reason]));
        page.push_str(&format!(
            "{}\n",
            roff(&format!("Allowed: {}.", option.kind.allowed()))
        ));
    }
    page.push_str(".SH LISTENERS WITH A TABLE OF THEIR OWN\n");
    page.push_str(&roff(
        "A table [[listener]] for each, at the end of the file. Only the address must be given; the values here are examples.",
    ));
    page.push('\n');
    for ListenerOpt { option, example } in listener_options::all() {
        page.push_str(&entry(option.name, example, [option.help, option.reason]));
        page.push_str(&format!(
            "{}\n",
            roff(&format!("Allowed: {}.", option.kind.allowed()))
        ));
    }
    page.push_str(".SH BRIDGES\n");
    page.push_str(&roff(
        "A table [[bridge]] for each, at the end of the file. The name, an address and topics must be given; the values here are examples.",
    ));
    page.push('\n');
    for BridgeOpt { option, example } in bridge_options::all() {
        page.push_str(&entry(option.name, example, [option.help, option.reason]));
        page.push_str(&format!(
            "{}\n",
            roff(&format!("Allowed: {}.", option.kind.allowed()))
        ));
    }
    page.push_str(".SH SEE ALSO\n.BR ringmq (1)\n");
    page
}

fn entry(name: &str, value: &str, [help, reason]: [&str; 2]) -> String {
    let (name, value) = (roff(name), roff(value));
    let (help, reason) = (roff(help), roff(reason));
    format!(".TP\n\\fB{name}\\fR = {value}\n{help}.\n{reason}\n")
}

/// A text as a line of man(7): nothing in it is a command.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    match escaped.starts_with(['.', '\'']) {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}
