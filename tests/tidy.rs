//! Rules that a machine checks instead of a reviewer, over the files of the repository.
//!
//! Each rule is a function over one file and has a test that it can fail.

mod lookups;
mod places;
mod rules;
mod source;
mod structure;

use std::fs;
use std::path::Path;

use self::source::Source;

type Rule = fn(&Source) -> Vec<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust sources of the repository. This check itself is left out: it has to name what it forbids.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["src", "loadgen", "tests", "benches", "fuzz"] {
        collect(&root().join(folder), "rs", &mut files);
    }
    files.retain(|file| !file.is_below(&["tests/tidy"]));
    assert!(files.len() > 20, "only {} files found", files.len());
    files
}

fn manifests() -> Vec<Source> {
    let mut files = vec![read(&root().join("Cargo.toml"))];
    for folder in ["loadgen", "fuzz", "fuzz/bodies"] {
        let path = root().join(folder).join("Cargo.toml");
        if path.exists() {
            files.push(read(&path));
        }
    }
    files
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return; // not every folder exists yet
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(read(&path));
        }
    }
}

fn read(path: &Path) -> Source {
    let relative = path.strip_prefix(root()).unwrap();
    let text = fs::read_to_string(path).unwrap();
    Source::new(relative.to_str().unwrap(), &text)
}

/// Applies a rule to files and shows everything it finds.
fn hold(rule: Rule, files: &[Source]) {
    let found: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Applies a rule to one made-up file and counts what it finds.
fn count(rule: Rule, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn only_io_main_and_loadgen_touch_the_world() {
    hold(rules::pure_core, &sources());
    let rule = rules::pure_core;
    let bad = [
        "use glommio::Task;",
        "use std::net::TcpStream;",
        "fn f() { std::thread::spawn(g); }",
        "pub async fn f() {}",
        "let now = Instant::now();",
        "let home = std::env::var(name);",
        "let text = std::fs::read(path);",
        "let hasher = ahash::RandomState::new();",
        "struct A(Rc<RefCell<B>>);",
    ];
    for text in bad {
        assert_eq!(count(rule, "src/shard/x.rs", text), 1, "{text}");
        assert_eq!(count(rule, "src/io/x.rs", text), 0, "{text}");
        assert_eq!(count(rule, "loadgen/src/x.rs", text), 0, "{text}");
        assert_eq!(count(rule, "src/shard/tests.rs", text), 0, "{text}");
    }
    assert_eq!(count(rule, "src/config/load.rs", "use std::fs::File;"), 0);
    assert_eq!(count(rule, "src/config/file.rs", "use std::fs::File;"), 1);
    assert_eq!(
        count(
            rule,
            "src/shard/x.rs",
            "use std::net::SocketAddr; // glommio"
        ),
        0
    );
}

#[test]
fn words_stay_in_their_places() {
    let files = sources();
    hold(places::words, &files);
    for path in places::paths() {
        let exists = files.iter().any(|file| file.is_below(&[path]));
        assert!(exists, "{path} of tests/tidy/places.rs does not exist");
    }
    let rule = places::words;
    for (path, text, expected) in [
        ("src/shard/mesh/block.rs", "session: SessionId,", 1),
        (
            "src/shard/mesh/block.rs",
            "member: MemberId, // no SessionId",
            0,
        ),
        ("src/routing/groups.rs", "use crate::ids::SessionId;", 1),
        (
            "src/routing/subscribers.rs",
            "use crate::ids::SessionId;",
            0,
        ),
        ("src/io/logins.rs", "SystemTime::now()", 1),
        ("src/io/clock.rs", "SystemTime::now()", 0),
    ] {
        assert_eq!(count(rule, path, text), expected, "{path}: {text}");
    }
}

#[test]
fn modules_name_only_those_below() {
    hold(rules::dependency_direction, &sources());
    let rule = rules::dependency_direction;
    let bad = [
        ("src/session/x.rs", "use crate::routing::Index;"),
        (
            "src/routing/x.rs",
            "use crate::{ids::ShardId, session::{Session, Id}, time};",
        ),
        ("src/routing.rs", "fn f(shard: &crate::shard::Shard) {}"),
        ("src/mqtt/x.rs", "use crate::session::Session;"),
        ("src/shard/x.rs", "use crate::io::run;"),
        ("src/io/x.rs", "use crate::config::Checked;"),
        ("src/config/x.rs", "use crate::io::run;"),
        ("src/limits.rs", "use crate::mqtt::Packet;"),
        ("loadgen/src/x.rs", "use ringmq::shard::Shard;"),
        ("loadgen/src/x.rs", "use ringmq::{mqtt::Packet, config};"),
        ("loadgen/src/x.rs", "use ringmq::io::run;"),
    ];
    for (path, text) in bad {
        assert_eq!(count(rule, path, text), 1, "{path}: {text}");
    }
    let good = [
        (
            "src/session/x.rs",
            "use crate::{mqtt::Packet, session::queue, time::Time};",
        ),
        ("src/shard/x.rs", "use crate::{routing, session};"),
        ("src/io/x.rs", "use crate::shard::Shard;"),
        ("src/main.rs", "use ringmq::config;"),
        (
            "loadgen/src/x.rs",
            "use ringmq::mqtt; use crate::session::Client;",
        ),
        ("loadgen/src/x.rs", "use ringmq::io::poller::Poller;"),
        ("src/session/x.rs", "// see crate::routing::Index\n"),
    ];
    for (path, text) in good {
        assert_eq!(count(rule, path, text), 0, "{path}: {text}");
    }
}

#[test]
fn the_program_does_not_unwrap() {
    hold(rules::no_unwrap, &sources());
    let rule = rules::no_unwrap;
    assert_eq!(count(rule, "src/shard/x.rs", "fn f() { a.unwrap(); }"), 1);
    assert_eq!(count(rule, "loadgen/src/x.rs", "fn f() { a.unwrap(); }"), 1);
    let test = "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { a.unwrap(); } }\n";
    assert_eq!(count(rule, "src/shard/x.rs", test), 0);
    assert_eq!(count(rule, "tests/x.rs", "fn f() { a.unwrap(); }"), 0);
    assert_eq!(
        count(rule, "src/shard/x.rs", "a.unwrap_or(1); // a.unwrap()"),
        0
    );
}

#[test]
fn nothing_is_half_done() {
    hold(rules::no_markers, &sources());
    let rule = rules::no_markers;
    for text in [
        "todo!()",
        "unimplemented!()",
        "dbg!(x)",
        "// FIXME later",
        "// TODO: more",
    ] {
        assert_eq!(count(rule, "src/shard/x.rs", text), 1, "{text}");
        assert_eq!(count(rule, "tests/x.rs", text), 1, "{text}");
    }
    assert_eq!(count(rule, "src/shard/x.rs", "let text = \"dbg!\";"), 0);
}

#[test]
fn unsafe_is_rare_and_explained() {
    hold(rules::unsafe_is_listed_and_explained, &sources());
    let rule = rules::unsafe_is_listed_and_explained;
    let explained = "// SAFETY: it is\n// sound.\nunsafe { f() }";
    assert_eq!(count(rule, "src/io/poller.rs", explained), 0);
    assert_eq!(
        count(rule, "src/io/poller.rs", "// It is sound.\nunsafe { f() }"),
        1
    );
    assert_eq!(
        count(rule, "src/io/poller.rs", "// SAFETY: x\n\nunsafe { f() }"),
        1
    );
    assert_eq!(count(rule, "src/shard/x.rs", explained), 1);
}

#[test]
fn files_hold_one_concept() {
    let files = sources();
    hold(rules::file_length, &files);
    for listed in rules::LONGER {
        let exists = files.iter().any(|file| file.path == *listed);
        assert!(
            exists,
            "{listed} is listed in tests/tidy/rules.rs and does not exist"
        );
    }
    let rule = rules::file_length;
    assert_eq!(count(rule, "src/shard/x.rs", &"f();\n".repeat(400)), 0);
    assert_eq!(count(rule, "src/shard/x.rs", &"f();\n".repeat(401)), 1);
    assert_eq!(count(rule, "src/shard/x.rs", &"// f();\n".repeat(401)), 0);
    assert_eq!(count(rule, "src/shard/tests.rs", &"f();\n".repeat(401)), 0);
    assert_eq!(count(rule, rules::LONGER[0], "f();\n"), 1);
}

#[test]
fn comments_speak_the_terms_of_the_field() {
    hold(rules::field_terms, &sources());
    let rule = rules::field_terms;
    for text in [
        "fn f() {} // the client is gone",
        "/// Nobody reads it.\nfn f() {}",
        "//! What a worker does.\n",
        "//! Where it runs.\n",
    ] {
        assert_eq!(count(rule, "loadgen/src/x.rs", text), 1, "{text}");
    }
    for text in [
        "//! Work of a worker: what it does.\n",
        "fn gone() {}",
        "let text = \"nobody\";",
    ] {
        assert_eq!(count(rule, "loadgen/src/x.rs", text), 0, "{text}");
    }
}

#[test]
fn dependencies_say_what_they_are_for() {
    hold(rules::dependencies_have_reasons, &manifests());
    let rule = rules::dependencies_have_reasons;
    let cases = [
        ("[dependencies]\na = \"1\"\n", 1),
        ("[dependencies]\na = \"1\" # what for\n", 0),
        ("[dev-dependencies]\na = { version = \"1\" } #\n", 1),
        ("[package]\na = \"1\"\n", 0),
        ("[dependencies.a]\nversion = \"1\"\n", 1),
    ];
    for (text, expected) in cases {
        assert_eq!(count(rule, "Cargo.toml", text), expected, "{text}");
    }
}

#[test]
fn rows_that_are_not_found_are_explained() {
    hold(lookups::misses_say_why, &sources());
    let rule = lookups::misses_say_why;
    let lookup = |above: &str, beside: &str| {
        format!(
            "fn f() {{\n    g();\n{above}    let Some(entry) = self\n        .clients\n        .sessions\n        \
             .get_mut(id)\n    else {{\n        return;{beside}\n    }};\n}}\n"
        )
    };
    let rows = [
        (lookup("", ""), 1),
        (lookup("", " // ended meanwhile"), 0),
        (lookup("    // It may have ended.\n", ""), 0),
        (
            "let Some(c) = self.connections.get(id) else { return 0 };".into(),
            1,
        ),
        (
            "let Some(c) = self.names.get(id) else { return 0 };".into(),
            0,
        ),
        (
            "if let Some(c) = self.connections.get(id) { g() }".into(),
            0,
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(count(rule, "src/shard/x.rs", &text), expected, "{text}");
        assert_eq!(count(rule, "src/io/x.rs", &text), 0, "{text}");
    }
}

#[test]
fn functions_are_short() {
    let files = sources();
    hold(structure::function_length, &files);
    for (path, name) in structure::LONGER_FUNCTIONS {
        let exists = files.iter().any(|file| file.path == *path);
        assert!(exists, "{path} ({name}) is listed and does not exist");
    }
    let rule = structure::function_length;
    let function = |lines: usize| format!("fn f(a: [u8; 2]) {{\n{}}}\n", "g();\n".repeat(lines));
    for path in [
        "src/shard/x.rs",
        "loadgen/src/x.rs",
        "tests/x.rs",
        "fuzz/x.rs",
    ] {
        assert_eq!(count(rule, path, &function(68)), 0, "{path}");
        assert_eq!(count(rule, path, &function(69)), 1, "{path}");
    }
    let inner = format!("impl A {{\n{}fn short() {{}}\n}}\n", function(69));
    assert_eq!(count(rule, "src/x.rs", &inner), 1);
    let comments = format!("fn f() {{\n{}}}\n", "// g\n\n".repeat(90));
    assert_eq!(count(rule, "src/x.rs", &comments), 0);
    let others = format!(
        "trait A {{ fn f(); fn g(); }}\nconst A: fn (u8) = h;\n{}",
        function(3)
    );
    assert_eq!(count(rule, "src/x.rs", &others), 0);
    let (path, _) = structure::LONGER_FUNCTIONS[0];
    assert_eq!(
        count(rule, path, "fn new() {}"),
        1,
        "an exception nothing needs"
    );
}

#[test]
fn files_do_not_import_in_circles() {
    let files = sources();
    for root in ["src", "loadgen/src"] {
        let found = structure::import_circles(&files, root, structure::CIRCLES);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    let circles = |files: &[(&str, &str)], excused: &[structure::Circles]| {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        structure::import_circles(&files, "src", excused)
    };
    let (a, b, c) = ("src/a/mod.rs", "src/a/b.rs", "src/c.rs");
    let rows: [(&[(&str, &str)], usize); 8] = [
        (&[(a, "mod b;\npub use b::B;"), (b, "use super::A;")], 0),
        (
            &[
                (b, "use crate::c::C;"),
                (c, "use crate::{a::b::B, d};"),
                (a, ""),
            ],
            1,
        ),
        (
            &[
                (b, "use crate::c::C;"),
                (c, "fn f(b: crate::a::b::B) {}"),
                (a, ""),
            ],
            1,
        ),
        (
            &[(b, "use crate::c::C;"), (c, "// crate::a::b::B"), (a, "")],
            0,
        ),
        (
            &[
                (a, "use crate::c::C;"),
                (b, "use super::A;"),
                (c, "use crate::a::b::B;"),
            ],
            1,
        ),
        (
            &[
                ("src/a/x.rs", "use super::y;"),
                ("src/a/y.rs", "use super::x::{self, X};"),
                (a, ""),
            ],
            1,
        ),
        (
            &[
                ("src/a/x.rs", "use super::y;"),
                ("src/a/tests.rs", "use super::x;"),
                (a, ""),
            ],
            0,
        ),
        (
            &[
                ("src/lib.rs", "mod c; mod d;"),
                (c, "use crate::d;"),
                ("src/d.rs", ""),
            ],
            0,
        ),
    ];
    for (files, expected) in rows {
        assert_eq!(circles(files, &[]).len(), expected, "{files:?}");
    }
    let excused = |files| structure::Circles {
        folder: "src/a",
        files,
        why: "made up",
    };
    let (circle, none) = (rows[5].0, rows[6].0);
    assert_eq!(circles(circle, &[excused(2)]), [""; 0]);
    assert_eq!(
        circles(circle, &[excused(1)]).len(),
        1,
        "the number may not rise"
    );
    assert_eq!(
        circles(none, &[excused(1)]).len(),
        1,
        "an exception nothing needs"
    );
}

#[test]
fn a_shard_is_a_few_machines() {
    hold(rules::shard_has_few_fields, &sources());
    let rule = rules::shard_has_few_fields;
    let shard =
        |fields: usize| format!("pub struct Shard {{\n{}}}\n", "    a: A,\n".repeat(fields));
    assert_eq!(count(rule, "src/shard/mod.rs", &shard(12)), 0);
    assert_eq!(count(rule, "src/shard/mod.rs", &shard(13)), 1);
}

/// Folders of the source trees that ARCHITECTURE's tables do not name.
fn folders_not_named(page: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name != "tests" && name != "testdata" && !page.contains(&format!("{name}/`")) {
                missing.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
            folders.push(path);
        }
    }
    missing
}

#[test]
fn the_code_map_names_every_folder() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert_eq!(
        folders_not_named(&page),
        [""; 0],
        "add a row to the code map"
    );
    let without = page.replace("verbs/`", "");
    assert_eq!(folders_not_named(&without), ["src/shard/verbs"]);
}
