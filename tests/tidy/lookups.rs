//! A rule about rows: a lookup that may miss says why it may.

use super::source::Source;

/// What a lookup of a row is called on, without spaces.
const ROWS: [&str; 4] = [
    "connections.get(",
    "connections.get_mut(",
    "sessions.get(",
    "sessions.get_mut(",
];

/// A connection or session that is looked up and not found ends what was begun: the comment above the lookup
/// or beside the `return` says why its client may have left. Where it cannot have, the lookup asserts.
pub(super) fn misses_say_why(file: &Source) -> Vec<String> {
    if !file.is_below(&["src/shard"]) {
        return Vec::new();
    }
    let code = file.production();
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("let Some(") {
        let statement = &code[at..];
        let Some(begin) = statement.find(" else {") else {
            continue;
        };
        let lookup: String = statement[..begin].split_whitespace().collect();
        let is_whole = !lookup.contains([';', '{', '}']);
        if !is_whole || !ROWS.iter().any(|row| lookup.contains(row)) {
            continue;
        }
        let end = statement[begin..].find('}').unwrap_or(0);
        let line = |at: usize| code[..at].matches('\n').count();
        let (first, last) = (line(at), line(at + begin + end));
        let above = first.saturating_sub(1);
        let has_reason = (above..=last)
            .filter_map(|line| lines.get(line))
            .any(|line| line.contains("// "));
        if !has_reason {
            found.push(format!(
                "{}:{}: a row that is not found is passed over in silence: say in a comment why its client \
                 may have left, or look it up by `connection`, `session` or `client` of \
                 src/shard/clients/view.rs, which assert that it is there",
                file.path,
                first + 1
            ));
        }
    }
    found
}
