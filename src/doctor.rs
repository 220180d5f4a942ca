//! `ringmq doctor`: what of this machine and of the configuration stands in the broker's way.

mod certificates;
mod disk;
mod finding;
mod kernel;
mod machine;
mod network;
mod processors;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use ringmq::config::{self, Checked, Command};
use ringmq::listener::Listener;
use ringmq::subcommands;

use finding::{report, Finding, Weight};
use machine::Machine;

/// `args` without the program's name and `doctor`.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq doctor");
    let command = subcommands::doctor();
    let matches = match command.try_get_matches_from(std::iter::once(name).chain(args)) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let root = matches
        .get_one::<String>("root")
        .map_or("/", String::as_str);
    let machine = Machine::at(PathBuf::from(root));
    let (checked, mut findings) = configuration(matches.get_one::<String>("config"));
    findings.extend(look(&machine, &checked));
    print!("{}", report(&findings, matches.get_flag("json")));
    ExitCode::from(Finding::exit_code(&findings))
}

/// Everything that is looked at.
fn look(machine: &Machine, checked: &Checked) -> Vec<Finding> {
    let checks: [fn(&Machine, &Checked) -> Vec<Finding>; 5] = [
        kernel::findings,
        processors::findings,
        network::findings,
        disk::findings,
        certificates::findings,
    ];
    checks
        .iter()
        .flat_map(|check| check(machine, checked))
        .collect()
}

/// The configuration, or the defaults and what is wrong with it.
fn configuration(file: Option<&String>) -> (Checked, Vec<Finding>) {
    let words = file.map(|file| ["--config".into(), OsString::from(file)]);
    let args = std::iter::once("ringmq".into()).chain(words.into_iter().flatten());
    match config::load(args) {
        Ok(Command::Run(checked)) => {
            let findings = of_configuration(&checked);
            (*checked, findings)
        }
        Ok(_) => (Checked::default(), Vec::new()),
        Err(problems) => {
            let found = problems.iter().map(|problem| {
                Finding::new("configuration", Weight::Fatal, problem.to_string())
                    .why("the broker does not start with it")
                    .mend("ringmq --config FILE --check-config, until it says: configuration ok")
            });
            (Checked::default(), found.collect())
        }
    }
}

fn has_logins(checked: &Checked, listener: &Listener) -> bool {
    checked.files().has_logins() || listener.policy.files.password_file.is_some()
}

/// What is allowed and may not be meant.
fn of_configuration(checked: &Checked) -> Vec<Finding> {
    let mut found = Vec::new();
    let listeners = checked.all_listeners();
    for listener in listeners
        .iter()
        .filter(|listener| !listener.address.is_local())
    {
        let address = &listener.address;
        let anonymous = listener
            .policy
            .allow_anonymous
            .unwrap_or(checked.allow_anonymous);
        if anonymous {
            let what = format!("{address} lets anybody in who reaches it");
            found.push(
                Finding::new("configuration", Weight::Advice, what)
                    .why("allow-anonymous is set for a listener beyond loopback")
                    .costs("whoever finds the port reads and writes every topic that acl-file does not keep")
                    .mend("ringmq passwd -c /etc/ringmq/passwd NAME, then password-file, and take allow-anonymous out"),
            );
        } else if !listener.transport.has_tls() && has_logins(checked, listener) {
            let what = format!("passwords come to {address} unencrypted");
            found.push(
                Finding::new("configuration", Weight::Advice, what)
                    .why("its transport is not TLS")
                    .costs("everybody on the way can read passwords and messages")
                    .mend("a [[listener]] with transport = \"tls\", tls-certificate and tls-key"),
            );
        }
    }
    if checked.run.data_dir.is_none() {
        found.push(
            Finding::new(
                "configuration",
                Weight::Fine,
                "sessions and retained messages are in memory".into(),
            )
            .why("there is no data-dir: they end with the process"),
        );
    }
    found
}
