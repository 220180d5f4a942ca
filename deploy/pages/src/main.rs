//! Writes the manual pages and completions of ringmq and mqload from its own command lines and its table of options, for packages.
//!
//! A program of its own, so that the broker carries none of this.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{generate_to, Shell};
use clap_mangen::Man;
use ringmq::{config, subcommands};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: ringmq-pages FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmq-pages: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// `man/`: a page for each command and one for the file. `completions/`: a file for each shell.
fn write(folder: &Path) -> std::io::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let broker = config::command_line();
    page(broker.clone(), "ringmq", &man)?;
    for mut command in subcommands::all() {
        command.build(); // verbs take the options of their command, and are called by its name
        pages(&command, "ringmq", &man)?;
    }
    fs::write(man.join("ringmq.toml.5"), config::file_page())?;
    let mut whole = broker.subcommands(subcommands::all());
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut whole, "ringmq", &completions)?;
    }
    load_generator(&folder.join("mqload"))
}

/// The same of mqload, in a folder of its own: it is another package.
fn load_generator(folder: &Path) -> std::io::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut whole = mqload::cli::command();
    page(whole.clone(), "mqload", &man)?;
    for command in whole.get_subcommands() {
        let name = format!("mqload-{}", command.get_name());
        page(command.clone(), &name, &man)?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut whole, "mqload", &completions)?;
    }
    Ok(())
}

/// A page for a command, and one for each verb that it has.
fn pages(command: &Command, above: &str, folder: &Path) -> std::io::Result<()> {
    let name = format!("{above}-{}", command.get_name());
    let verbs = command.get_subcommands();
    for verb in verbs.filter(|verb| verb.get_name() != "help") {
        pages(verb, &name, folder)?;
    }
    page(command.clone(), &name, folder)
}

fn page(command: Command, name: &str, folder: &Path) -> std::io::Result<()> {
    let command = command.display_name(name.to_owned()).name(name.to_owned());
    let mut text = Vec::new();
    Man::new(command)
        .section("1")
        .source("ringmq")
        .render(&mut text)?;
    fs::write(folder.join(format!("{name}.1")), text)
}
