//! The table of options as the example file that ships as `ringmq.toml`.

use super::listener_options::{self, ListenerOpt};
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
        for paragraph in [&help, option.reason, &allowed] {
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
        for paragraph in [&help, option.reason, &allowed] {
            text.push_str(&wrap(paragraph, WIDTH, "# "));
            text.push('\n');
        }
        text.push_str(&format!("#   {} = {example}\n#\n", option.name));
    }
    text.truncate(text.len() - 2);
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
