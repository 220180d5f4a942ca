//! Version of this program: number, commit, features, platform.

/// As the package has it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit it was built from; `unknown` where the build had no checkout, and in debug builds.
pub const COMMIT: &str = env!("RINGMQ_COMMIT");
/// Platform it was built for.
pub const TARGET: &str = env!("RINGMQ_TARGET");

/// Features of the build that are not in a plain one.
#[must_use]
pub fn features() -> Vec<&'static str> {
    let all = [
        ("testing", cfg!(feature = "testing")),
        ("sim", cfg!(feature = "sim")),
        ("debug-assertions", cfg!(debug_assertions)),
    ];
    let built = all.into_iter().filter(|(_, is_on)| *is_on);
    built.map(|(name, _)| name).collect()
}

/// What `--version` says after the program's name.
#[must_use]
pub fn described() -> String {
    let features = match features() {
        none if none.is_empty() => "none".to_owned(),
        some => some.join(", "),
    };
    format!(
        "{VERSION}\ncommit: {COMMIT}\nfeatures: {features}\nplatform: {TARGET}\nprotocols: MQTT 5.0, 3.1.1, 3.1"
    )
}
