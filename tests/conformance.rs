//! The conformance table: which test checks which normative statement of MQTT 3.1.1 and 5.0.
//!
//! `tests/conformance/mqtt-3.1.1.txt` and `mqtt-5.0.txt` hold every statement ([MQTT-x.y.z-n]) of
//! the two specifications, in our own words: `[id]`, whom it binds (`S` server, `C` client, `B`
//! both) and the text, between tabs. Tests claim statements:
//!
//! - a row of the wire table in its first field, as ids between spaces. `MQTT-3.1.2-5` is 5.0's
//!   statement when the row runs for version 5, else that of 3.1.1 (the numbers overlap and mean
//!   different things); `5:MQTT-3.1.2-5` and `3.1.1:MQTT-3.1.2-5` say which. A bare section
//!   (`3.1.2.11`) is for what the specification says outside its statements, and claims nothing;
//! - any other test by a comment directly above it: `conformance: 5:MQTT-4.2-1 3.1.1:MQTT-7.1.1-1`.
//!
//! `sparkplug-3.0.txt` has those of Sparkplug that bind a server; their ids are `sparkplug:tck-id-words`.
//!
//! A statement that binds a server has a test, or a line `5:MQTT-x.y.z-n | reason | what shows it` in
//! `tests/conformance/reasons.txt`; a test makes a reason stale, and so does what it says is absent. `docs/conformance.md` is written
//! from all this by `UPDATE_CONFORMANCE=1 cargo test --test all conformance`, and is never edited.

mod claims;
mod mentions;
mod page;
mod statements;
mod table;

use std::collections::BTreeSet;
use std::path::Path;

use ringmq::mqtt::Violation;

use self::claims::Claim;
use self::statements::Statement;
use self::table::Table;

const PAGE: &str = "docs/conformance.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files at a path below the root, by name: itself, or the sources below it.
fn contents(path: &str) -> Vec<(String, String)> {
    if root().join(path).is_dir() {
        claims::sources(root(), &[path])
    } else {
        vec![(path.to_owned(), read(path))]
    }
}

fn statements() -> Vec<Statement> {
    let v311 = statements::parse(
        statements::Spec::V311,
        &read("tests/conformance/mqtt-3.1.1.txt"),
    );
    let v5 = statements::parse(
        statements::Spec::V5,
        &read("tests/conformance/mqtt-5.0.txt"),
    );
    let sn = statements::parse(statements::Spec::Sn, &read("tests/conformance/mqtt-sn.txt"));
    let sparkplug = statements::parse(
        statements::Spec::Sparkplug,
        &read("tests/conformance/sparkplug-3.0.txt"),
    );
    v311.into_iter()
        .chain(v5)
        .chain(sn)
        .chain(sparkplug)
        .collect()
}

fn claims() -> Vec<Claim> {
    let mut claims = claims::of_wire_rows(&crate::wire::row::all());
    claims.extend(claims::of_conversations(
        &crate::mqtt_sn::conversation::all(),
    ));
    claims.extend(claims::of_sources(root()));
    claims
}

#[test]
fn every_statement_has_a_test_or_a_reason() {
    let reasons = statements::parse_reasons(&read("tests/conformance/reasons.txt"));
    let table = Table::new(statements(), claims(), reasons);
    let mut problems = table.problems();
    problems.extend(table.untrue_reasons(&contents));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let page = page::render(&table);
    if std::env::var_os("UPDATE_CONFORMANCE").is_some() {
        std::fs::write(root().join(PAGE), &page).expect("the page can be written");
    }
    assert!(
        read(PAGE) == page,
        "{PAGE} is not what the tests say: UPDATE_CONFORMANCE=1 cargo test --test all conformance"
    );
}

#[test]
fn ids_in_the_program_exist() {
    let known: BTreeSet<String> = statements().iter().map(|s| s.id.bare()).collect();
    let mut problems = Vec::new();
    for (path, text) in claims::sources(root(), &["src", "loadgen"]) {
        for id in mentions::unknown(&text, &known) {
            problems.push(format!("{path}: MQTT-{id} does not exist"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let text = "[MQTT-3.1.2-5], MQTT-3.1.2-99. MQTT-5.0, MQTT-4.2-1";
    assert_eq!(mentions::unknown(text, &known), ["3.1.2-99"]);
}

#[test]
fn clauses_of_broken_rules_exist() {
    let known: BTreeSet<String> = statements().iter().map(|s| s.id.to_string()).collect();
    for (rule, clause) in Violation::all_clauses() {
        match claims::parse_ids(clause, Some(statements::Spec::V5)) {
            Ok(ids) if clause.contains("MQTT-") => {
                assert_eq!(ids.len(), 1, "{rule}: {clause}");
                assert!(known.contains(&ids[0].to_string()), "{rule}: {clause}");
            }
            _ => {
                let is_section = clause.split('.').all(|part| part.parse::<u8>().is_ok());
                assert!(
                    is_section,
                    "{rule}: {clause} is neither an id nor a section"
                );
            }
        }
    }
}

/// A made-up table: one statement for the server, one for both, one for the client.
fn small(claims: &[(&str, &str)], reasons: &str) -> Table {
    let text = "[MQTT-1.1.1-1]\tS\tThe server does.\n[MQTT-1.1.1-2]\tB\tBoth do.\n\
                [MQTT-1.1.1-10]\tC\tThe client does.\n";
    let claims = claims.iter().map(|&(ids, test)| Claim {
        ids: claims::parse_ids(ids, Some(statements::Spec::V5)).expect("ids"),
        file: "file".to_owned(),
        test: test.to_owned(),
    });
    Table::new(
        statements::parse(statements::Spec::V5, text),
        claims.collect(),
        statements::parse_reasons(reasons),
    )
}

#[test]
fn a_complete_table_has_no_problems() {
    let table = small(
        &[("MQTT-1.1.1-1", "test")],
        "5:MQTT-1.1.1-2 | cannot be seen | unobservable\n",
    );
    assert_eq!(table.problems(), Vec::<String>::new());
}

#[test]
fn a_statement_without_test_or_reason_is_a_problem() {
    let table = small(&[("MQTT-1.1.1-1", "test")], "");
    assert_eq!(
        table.problems(),
        ["5:MQTT-1.1.1-2 has no test: Both do. Write one, or give the reason in tests/conformance/reasons.txt"]
    );
}

#[test]
fn a_claimed_id_that_does_not_exist_is_a_problem() {
    let claims = [
        ("MQTT-1.1.1-1 MQTT-1.1.1-2", "test"),
        ("MQTT-1.1.1-3", "wrong"),
        ("3.1.1:MQTT-1.1.1-1", "of the other version"),
    ];
    assert_eq!(
        small(&claims, "").problems(),
        [
            "file: wrong: 5:MQTT-1.1.1-3 does not exist",
            "file: of the other version: 3.1.1:MQTT-1.1.1-1 does not exist"
        ]
    );
}

#[test]
fn a_reason_must_be_needed_and_known() {
    let claims = [("MQTT-1.1.1-1 MQTT-1.1.1-2", "test")];
    let reasons =
        "5:MQTT-1.1.1-2 | stale | unobservable\n5:MQTT-9.9.9-9 | unknown | unobservable\n\
                   5:MQTT-1.1.1-10 | client's | unobservable\n";
    assert_eq!(
        small(&claims, reasons).problems(),
        [
            "reasons.txt: 5:MQTT-1.1.1-2 has a test: remove the reason",
            "reasons.txt: 5:MQTT-9.9.9-9 does not exist",
            "reasons.txt: 5:MQTT-1.1.1-10 binds only clients: it needs no reason"
        ]
    );
}

#[test]
fn a_reason_must_be_true() {
    let reasons = "5:MQTT-1.1.1-2 | there is no door | absent \"door\" in src/house\n";
    let table = small(&[("MQTT-1.1.1-1", "test")], reasons);
    let with = |text: &str| {
        let files = vec![("src/house/a.rs".to_owned(), text.to_owned())];
        table.untrue_reasons(&move |path| {
            assert_eq!(path, "src/house");
            files.clone()
        })
    };
    assert_eq!(with("a window"), Vec::<String>::new());
    assert_eq!(
        with("a Door"),
        ["reasons.txt: 5:MQTT-1.1.1-2: \"door\" is in src/house/a.rs: is it still true that there is no door?"]
    );
    let nowhere = table.untrue_reasons(&|_| Vec::new());
    assert_eq!(
        nowhere,
        ["reasons.txt: 5:MQTT-1.1.1-2: nothing is at src/house"]
    );
    for wrong in [
        "5:MQTT-1.1.1-2 | no word of what shows it",
        "5:MQTT-1.1.1-2 | reason | absent door in src",
        "5:MQTT-1.1.1-2 | reason | absent \"\" in src",
    ] {
        let parsed = std::panic::catch_unwind(|| statements::parse_reasons(wrong).len());
        assert!(parsed.is_err(), "{wrong}");
    }
}

#[test]
fn ids_are_read_by_version() {
    use statements::Spec::{V311, V5};
    let ids = |text, spec| {
        claims::parse_ids(text, spec)
            .map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let both = "MQTT-1.1-1 3.1.1:MQTT-2.2.2-2 3.1.2.11";
    assert_eq!(
        ids(both, Some(V5)),
        Ok(vec!["5:MQTT-1.1-1".into(), "3.1.1:MQTT-2.2.2-2".into()])
    );
    assert_eq!(
        ids("MQTT-1.1.1-1", Some(V311)),
        Ok(vec!["3.1.1:MQTT-1.1.1-1".into()])
    );
    for wrong in [
        "MQTT-1.1",
        "MQTT-1-x",
        "4:MQTT-1.1.1-1",
        "[MQTT-1.1.1-1]",
        "keep",
        "",
    ] {
        assert!(ids(wrong, Some(V5)).is_err(), "{wrong}");
    }
    assert!(
        ids("MQTT-1.1.1-1", None).is_err(),
        "a comment names the version"
    );
}

#[test]
fn comments_claim_for_the_test_below() {
    let rust = "/// conformance: 5:MQTT-4.2-1\n#[test]\nfn over_tcp() {\n";
    let python = "# conformance: 5:MQTT-4.2-1 3.1.1:MQTT-7.1.1-1\n@mark\ndef test_tcp(a):\n";
    let javascript = "  // conformance: 5:MQTT-4.2-1\n  test(`over ${label}`, async () => {\n";
    for (path, text, test) in [
        ("a.rs", rust, "over_tcp"),
        ("a.py", python, "test_tcp"),
        ("a.js", javascript, "over ${label}"),
    ] {
        let claims = claims::of_source(path, text).unwrap();
        assert_eq!(claims.len(), 1);
        assert_eq!(
            (claims[0].file.as_str(), claims[0].test.as_str()),
            (path, test)
        );
    }
    for (path, text) in [
        ("a.rs", "// conformance: 5:MQTT-4.2-1\nfn no_test() {\n"),
        (
            "a.rs",
            "// conformance: 5:MQTT-4.2-1\n\n#[test]\nfn too_far() {\n",
        ),
        (
            "a.rs",
            "// conformance: MQTT-4.2-1\n#[test]\nfn no_version() {\n",
        ),
        ("a.py", "# conformance: 5:MQTT-4.2-1\ndef helper():\n"),
        ("a.py", "# conformance: 5:MQTT-4.2-1\n"),
    ] {
        assert!(claims::of_source(path, text).is_err(), "{text}");
    }
}

#[test]
fn the_page_counts_and_lists() {
    let claims = [("MQTT-1.1.1-1 MQTT-1.1.1-10", "a *test* <of> it")];
    let page = page::render(&small(
        &claims,
        "5:MQTT-1.1.1-2 | cannot be seen | unobservable\n",
    ));
    for line in [
        "| 5.0 | 2 | 1 | 1 | 1 |",
        "| 1.1.1-1 | server | The server does. | `file`: a \\*test\\* &lt;of&gt; it |",
        "| 1.1.1-2 | both | Both do. | not tested: cannot be seen |",
        "| 1.1.1-10 | client | The client does. | `file`: a \\*test\\* &lt;of&gt; it |",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    let page = page::render(&small(&[("MQTT-1.1.1-1 MQTT-1.1.1-2", "test")], ""));
    assert!(!page.contains("The client does."), "{page}");
}
