//! The rules. Each takes one file and returns what it finds, as `file:line: what, and the fix`.

use super::source::{has_word, numbered, Source};

/// A word that some part of the program may not use.
struct Banned {
    word: &'static str,
    /// Besides `src/io`, the programs (`src/main.rs`, `src/bin`), `loadgen` and `fuzz`.
    allowed_in: &'static [&'static str],
    fix: &'static str,
}

const fn banned(word: &'static str, fix: &'static str) -> Banned {
    Banned {
        word,
        allowed_in: &[],
        fix,
    }
}

const IN_IO: &str = "only src/io may: let the shard return an action and io carry it out";
const TIME: &str = "take `now: Time` as an argument; only src/io reads a clock";
const SEED: &str = "take a seed from the caller, so that the simulator can repeat a run";
const GLOBAL: &str = "every datum has one owning shard: make it a field";

const BANNED: &[Banned] = &[
    banned("glommio", IN_IO),
    banned("io_uring", IN_IO),
    banned("rustix", IN_IO),
    banned("TcpStream", IN_IO),
    banned("TcpListener", IN_IO),
    banned("UdpSocket", IN_IO),
    banned("UnixStream", IN_IO),
    banned("UnixListener", IN_IO),
    banned("std::thread", IN_IO),
    banned("std::process", IN_IO),
    banned(
        "std::sync::Mutex",
        "a shard never waits: give the datum one owner",
    ),
    banned("async", "the core is synchronous: handle_* in, poll_* out"),
    banned(".await", "the core is synchronous: handle_* in, poll_* out"),
    Banned {
        word: "Instant",
        allowed_in: &["src/transport/quic/clock"], // quinn-proto is given times as these, made of ours
        fix: TIME,
    },
    Banned {
        word: "SystemTime",
        allowed_in: &["src/transport/quic/clock"], // the same
        fix: TIME,
    },
    banned(
        "std::env",
        "take it as an option (src/config) or an argument",
    ),
    Banned {
        word: "std::fs",
        allowed_in: &["src/config/load", "src/auth/load"],
        fix: "files are read by src/config/load.rs, src/auth/load.rs and src/io",
    },
    banned("RandomState::new", SEED),
    banned("thread_rng", SEED),
    banned("OsRng", SEED),
    banned("static mut", GLOBAL),
    Banned {
        word: "thread_local",
        allowed_in: &["src/mutant.rs"], // a switch of test builds, one fault per thread
        fix: GLOBAL,
    },
    banned("OnceLock", GLOBAL),
    banned("LazyLock", GLOBAL),
    banned(
        "Rc<RefCell",
        "borrows that can fail at run time: make it a field of its owner",
    ),
];

/// Only `io`, `main` and the load generator touch the world.
pub(super) fn pure_core(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if file.is_below(&[
        "src/io",
        "src/admin",
        "src/main.rs",
        "src/passwd",
        "src/journal_command.rs",
        "src/token",
        "src/ctl",
        "src/top",
        "src/doctor",
        "src/import.rs",
        "src/bin",
        "loadgen",
        "fuzz",
    ]) {
        return found;
    }
    for (number, line) in numbered(&file.production()) {
        for Banned {
            word,
            allowed_in,
            fix,
        } in BANNED
        {
            if has_word(line, word) && !file.is_below(allowed_in) {
                found.push(format!("{}:{number}: `{word}`: {fix}", file.path));
            }
        }
    }
    found
}

/// Who may name which module of the broker. A module may always name itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("src/ids", &[]),
    ("src/time", &[]),
    ("src/limits", &["ids", "time"]),
    ("src/image", &["time"]),
    ("src/mutant", &[]),
    ("src/prng", &[]),
    ("src/mqtt", &["ids", "limits", "time"]),
    ("src/mqtt_sn", &["mqtt"]),
    (
        "src/gateway",
        &["ids", "mqtt", "mqtt_sn", "mutant", "shard", "time"],
    ),
    (
        "src/listener",
        &[
            "ids",
            "limits",
            "mqtt",
            "mqtt_sn",
            "own_files",
            "run_options",
            "transport",
        ],
    ),
    ("src/run_options", &["auth", "time"]),
    ("src/admin_options", &["listener"]),
    ("src/histogram", &["time"]),
    (
        "src/metrics",
        &[
            "bridge",
            "gateway",
            "histogram",
            "shard",
            "time",
            "transport",
        ],
    ),
    (
        "src/bridge",
        &["limits", "listener", "mqtt", "mutant", "prng", "time"],
    ),
    ("src/transport", &["image", "time"]),
    ("src/upgrade", &["image"]),
    ("src/journal", &["time"]),
    ("src/cluster", &["image", "prng", "time"]),
    (
        "src/mosquitto",
        &["config", "listener", "mqtt", "session", "time", "transport"],
    ),
    (
        "src/session",
        &["ids", "image", "limits", "mqtt", "mutant", "time"],
    ),
    ("src/routing", &["ids", "limits", "mqtt", "time"]),
    ("src/auth", &["ids", "limits", "mqtt", "own_files", "time"]),
    (
        "src/shard",
        &[
            "auth",
            "cluster",
            "histogram",
            "ids",
            "image",
            "journal",
            "limits",
            "listener",
            "mqtt",
            "mutant",
            "prng",
            "routing",
            "session",
            "time",
        ],
    ),
    (
        "src/testing",
        &[
            "auth", "gateway", "ids", "journal", "limits", "listener", "mqtt_sn", "mutant",
            "shard", "time",
        ],
    ),
    (
        "src/sim",
        &[
            "auth", "bridge", "ids", "limits", "listener", "mqtt", "mqtt_sn", "mutant", "prng",
            "routing", "session", "shard", "testing", "time",
        ],
    ),
    (
        "src/config",
        &[
            "admin_options",
            "auth",
            "bridge",
            "cluster",
            "ids",
            "journal",
            "limits",
            "listener",
            "mqtt",
            "mqtt_sn",
            "run_options",
            "time",
            "transport",
        ],
    ),
    (
        "src/io",
        &[
            "admin_options",
            "auth",
            "bridge",
            "cluster",
            "gateway",
            "histogram",
            "ids",
            "journal",
            "limits",
            "listener",
            "metrics",
            "mqtt",
            "mqtt_sn",
            "run_options",
            "shard",
            "time",
            "transport",
            "upgrade",
        ],
    ),
    (
        "src/admin",
        &[
            "admin_options",
            "auth",
            "histogram",
            "ids",
            "io",
            "listener",
            "mqtt",
            "metrics",
            "shard",
            "time",
            "transport",
        ],
    ),
    (
        "loadgen",
        &[
            "ids",
            "io::poller",
            "limits",
            "mqtt",
            "mqtt_sn",
            "time",
            "transport",
        ],
    ),
];

/// main -> io -> shard -> {session, routing} -> mqtt, and never back.
pub(super) fn dependency_direction(file: &Source) -> Vec<String> {
    let Some((part, may)) = MAY_NAME.iter().find(|(part, _)| file.is_below(&[part])) else {
        return Vec::new(); // main, lib, tests and benches may name everything
    };
    let own = part.rsplit('/').next().unwrap_or_default();
    let root = if *part == "loadgen" {
        "ringmq::"
    } else {
        "crate::"
    };
    let mut found = Vec::new();
    let code = file.production();
    for (at, _) in code.match_indices(root) {
        let named = names(&code[at + root.len()..]);
        for name in named {
            let is_module = MAY_NAME
                .iter()
                .any(|(part, _)| part.ends_with(&format!("/{name}")));
            // In the load generator `crate::` is its own; in the broker so is its own module.
            let may_name = |allowed: &&str| match allowed.split_once("::") {
                Some((module, _)) => module == name && code[at + root.len()..].starts_with(allowed),
                None => *allowed == name,
            };
            if is_module && name != own && !may.iter().any(may_name) {
                let line = 1 + code[..at].matches('\n').count();
                found.push(format!(
                    "{}:{line}: {part} may not name `{name}`, only {may:?}: pass what it needs as an \
                     argument, or move the shared type down",
                    file.path
                ));
            }
        }
    }
    found
}

/// First segments of a path or of the paths in a brace: `a::b`, `{a::b, c}`.
fn names(path: &str) -> Vec<&str> {
    let ident = |text: &'_ str| {
        text.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len())
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![&path[..ident(path)]];
    };
    let mut depth = 0;
    let mut named = Vec::new();
    let mut starts = true;
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            _ if depth == 0 && starts && !c.is_whitespace() => {
                named.push(&group[at..at + ident(&group[at..])]);
                starts = false;
            }
            _ => {}
        }
    }
    named
}

/// A panic must be an invariant with a name.
pub(super) fn no_unwrap(file: &Source) -> Vec<String> {
    find_words(file, &file.production(), &[".unwrap()"], |_| {
        "handle the case, or `.expect(\"why it cannot be\")` if it really cannot".into()
    })
}

/// Nothing half done.
pub(super) fn no_markers(file: &Source) -> Vec<String> {
    let code = ["todo!", "unimplemented!", "dbg!"];
    let mut found = find_words(file, &file.code, &code, |_| {
        "finish it, or leave it out and open an issue".into()
    });
    let notes = ["FIXME", "XXX", "HACK", "TODO"];
    found.extend(find_words(file, &file.text, &notes, |_| {
        "mend it now, or open an issue; the code says what is, not what should be".into()
    }));
    found
}

/// Files that may hold `unsafe`, each for its reason.
const UNSAFE_IN: &[&str] = &[
    "src/mqtt/primitives.rs",   // one scan of a string instead of two (measured)
    "benches/journal_write.rs", // submission queue entries
    "src/io/datagrams.rs",      // many datagrams with one call, which rustix does not have
    "src/io/poller.rs",         // submission queue entries
    "src/io/operations.rs",     // a file that the kernel has opened
    "src/io/memory_watch.rs",   // a function of the allocator
    "src/io/ring.rs",           // slots shared by two threads
    "src/io/sends.rs",          // submission queue entries
    "loadgen/src/engine/slot.rs", // a socket option that rustix does not have
    "loadgen/src/sn/flood.rs",  // the same
    "tests/memory.rs",          // an allocator that counts
];

/// `unsafe` is rare, listed, and says why it is sound.
pub(super) fn unsafe_is_listed_and_explained(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let comments: Vec<&str> = file.text.lines().collect();
    for (number, line) in numbered(&file.code) {
        if !has_word(line, "unsafe") {
            continue;
        }
        if !UNSAFE_IN.contains(&file.path.as_str()) {
            found.push(format!(
                "{}:{number}: `unsafe` outside the listed files: use a safe function of a library, or \
                 list the file with its reason in tests/tidy/rules.rs",
                file.path
            ));
        }
        let above = comments[..number - 1].iter().rev();
        let explained = above
            .map(|line| line.trim())
            .take_while(|line| line.starts_with("//") || line.starts_with("#["))
            .any(|line| line.starts_with("// SAFETY:") || line.starts_with("/// # Safety"));
        if !explained {
            found.push(format!(
                "{}:{number}: `unsafe` without a reason: write `// SAFETY: ...` right above it",
                file.path
            ));
        }
    }
    found
}

/// Lines of code in a file of the program: comments, blank lines and tests do not count.
const LINES_MAX: usize = 400;
/// Longer files, each with its reason.
pub(super) const LONGER: &[&str] = &[
    "src/config/listener_options.rs", // a table: one row per option of a listener
    "src/config/bridge_options.rs",   // a table: one row per option of a bridge
];

/// One concept per file.
pub(super) fn file_length(file: &Source) -> Vec<String> {
    let code = file.production();
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    let listed = LONGER.contains(&file.path.as_str());
    match (lines > LINES_MAX, listed) {
        (true, false) => vec![format!(
            "{}: {lines} lines of code, more than {LINES_MAX}: split it by concept, or list it with \
             its reason in tests/tidy/rules.rs",
            file.path
        )],
        (false, true) => vec![format!(
            "{}: {lines} lines of code need no exception: take it off the list in \
             tests/tidy/rules.rs",
            file.path
        )],
        _ => Vec::new(),
    }
}

/// Words of comments that have a term of the field.
const DIALECT: &[&str] = &[
    "whoever",
    "nobody",
    "somebody",
    "everybody",
    "goes on",
    "going on",
    "gone",
    "said",
    "told",
    "tells",
    "knows",
    "judge",
    "judged",
    "for ever",
];
/// Folders whose comments have been revised.
const IN_FIELD_TERMS: &[&str] = &["loadgen", "src"];

/// Comments speak the field's terms, and module headers name the concept.
pub(super) fn field_terms(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !file.is_below(IN_FIELD_TERMS) {
        return found;
    }
    for (number, line) in numbered(&file.text) {
        let Some((_, comment)) = line.split_once("//") else {
            continue;
        };
        let comment = comment.to_lowercase();
        for word in DIALECT.iter().filter(|word| has_word(&comment, word)) {
            found.push(format!(
                "{}:{number}: `{word}` in a comment: name the thing with the field's term",
                file.path
            ));
        }
        let asks = [
            "! what ", "! who ", "! how ", "! where ", "! which ", "! was ",
        ];
        if number == 1 && asks.iter().any(|word| comment.starts_with(word)) {
            found.push(format!(
                "{}:{number}: a header that begins with a question: name the concept",
                file.path
            ));
        }
    }
    found
}

/// Every dependency in a Cargo.toml says what it is for.
pub(super) fn dependencies_have_reasons(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for (number, line) in numbered(&file.text) {
        let line = line.trim();
        if line.starts_with('[') {
            let section = line.trim_matches(['[', ']']);
            in_dependencies = section.ends_with("dependencies");
            if section.contains("dependencies.") {
                found.push(format!(
                    "{}:{number}: a dependency as a section: write it in one line, with its reason",
                    file.path
                ));
            }
        } else if in_dependencies && line.contains('=') && !line.starts_with('#') {
            let reason = line
                .rsplit_once('#')
                .map_or("", |(_, reason)| reason.trim());
            if reason.is_empty() {
                found.push(format!(
                    "{}:{number}: a dependency without a reason: add `# what it is for`",
                    file.path
                ));
            }
        }
    }
    found
}

fn find_words(
    file: &Source,
    text: &str,
    words: &[&str],
    fix: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        for word in words.iter().filter(|word| has_word(line, word)) {
            found.push(format!("{}:{number}: `{word}`: {}", file.path, fix(word)));
        }
    }
    found
}

/// Fields of `Shard`: sub-machines that own their data.
const SHARD_FIELDS_MAX: usize = 12;

/// State goes into the sub-machine that owns it, not into the shard.
pub(super) fn shard_has_few_fields(file: &Source) -> Vec<String> {
    let Some((_, after)) = file.code.split_once("pub struct Shard {") else {
        return Vec::new();
    };
    let fields = after.split('}').next().unwrap_or_default();
    let count = fields.lines().filter(|line| line.contains(':')).count();
    if count > SHARD_FIELDS_MAX {
        return vec![format!(
            "{}: `Shard` has {count} fields, more than {SHARD_FIELDS_MAX}: give the new one to the \
             sub-machine that owns what it belongs to",
            file.path
        )];
    }
    Vec::new()
}
