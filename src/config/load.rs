//! Reads the file and joins everything: the only input and output of the configuration.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::check::{check, effective, in_force};
use super::cli::{self, CommandLine, Parsed};
use super::problem::{Place, Problem, Problems};
use super::{file, render, Command};
use crate::auth;
use crate::listener::Listener;
use crate::mqtt_sn::{ClientIds, Predefined};

/// The example file is 10 KB; a thousand times that is some other file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the arguments (the program's name first) and the file they name ask for.
///
/// # Errors
/// Everything that is wrong with both, in the order of writing.
pub fn load(args: impl IntoIterator<Item = OsString>) -> Result<Command, Problems> {
    let mut problems = Vec::new();
    let line = match cli::parse(args, &mut problems) {
        Parsed::Options(line) => line,
        Parsed::Help(text) => return Ok(Command::Help(text)),
        Parsed::Version(text) => return Ok(Command::Version(text)),
    };
    let CommandLine {
        config,
        check_config,
        example,
        given: from_line,
    } = line;
    let mut content = file::Content::default();
    if let Some(path) = config {
        let name: Arc<str> = path.to_string_lossy().into();
        match read(&path, "configuration file") {
            Ok(text) => content = file::parse(&name, &text, &mut problems),
            Err(text) => problems.push(Problem::new(&Place::File(name), "", text)),
        }
    }
    content.given.extend(from_line);
    let mut outcome = check(
        &content.given,
        &content.listeners,
        &content.bridges,
        &mut problems,
    );
    if problems.is_empty() && !example {
        problems.extend(problems_of_files(&outcome.checked.files()));
        problems.extend(read_tables_of_sensors(&mut outcome.checked.listeners));
    }
    if !problems.is_empty() {
        return Err(Problems::new(problems));
    }
    Ok(if example {
        Command::Example(render::example())
    } else if check_config {
        let text = format!("configuration ok\n\n{}", effective(&outcome));
        Command::CheckOk(Box::new(outcome.checked), text)
    } else {
        let in_force = in_force(&outcome);
        let mut checked = outcome.checked;
        checked.admin.in_force = in_force;
        Command::Run(Box::new(checked))
    })
}

/// Reads the predefined topic ids and the client ids of listeners of MQTT-SN.
fn read_tables_of_sensors(listeners: &mut [Listener]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |path: &Path, text| {
        let file = path.to_string_lossy().into();
        problems.push(Problem::new(&Place::File(file), "", text));
    };
    for listener in listeners {
        let settings = &mut listener.mqtt_sn;
        if let Some(path) = &settings.predefined_file {
            let text = read(path.as_os_str(), "table of topic ids");
            match text.and_then(|text| Predefined::parse(&text)) {
                Ok(predefined) => settings.predefined = Arc::new(predefined),
                Err(text) => wrong(path, text),
            }
        }
        if let Some(path) = &settings.clients_file {
            let text = read(path.as_os_str(), "table of client ids");
            match text.and_then(|text| ClientIds::parse(&text)) {
                Ok(clients) => settings.clients = Some(Arc::new(clients)),
                Err(text) => wrong(path, text),
            }
        }
    }
    problems
}

/// Problems of the files of accounts and rules: better found now than at start.
fn problems_of_files(files: &auth::Files) -> Vec<Problem> {
    let problems = auth::load(files, [0; 32]).err().unwrap_or_default();
    let problem = |problem: auth::FileProblem| {
        let file: Arc<str> = problem.file.into();
        let place = match problem.line {
            0 => Place::File(file),
            line => Place::Line(file, line),
        };
        Problem::new(&place, "", problem.text)
    };
    problems.into_iter().map(problem).collect()
}

/// `kind` is what the file is to be, for the error.
fn read(path: &OsStr, kind: &str) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    let taken = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    if taken.map_err(cannot)? as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "is larger than {FILE_BYTES_MAX} bytes: not a {kind}"
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8 text")
    })
}
