//! Tells the program which commit it was built from (`ringmq --version`): `RINGMQ_COMMIT`, or what git says in a
//! release build. Debug builds do not ask git: a commit would compile them anew.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=RINGMQ_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let given = std::env::var("RINGMQ_COMMIT").ok();
    let commit = given.filter(|commit| !commit.is_empty());
    let commit = commit.or_else(|| {
        let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
        is_release.then(commit_of_checkout)?
    });
    let commit = commit.unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=RINGMQ_COMMIT={commit}");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=RINGMQ_TARGET={target}");
}

/// `None`: not a checkout, as in the sources of a package.
fn commit_of_checkout() -> Option<String> {
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&[
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ])
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
