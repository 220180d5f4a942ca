//! A source file as the rules see it: what is code, what is comment, what is test.

/// A file of the repository.
pub(super) struct Source {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// `text` with comments and the insides of literals as spaces: same lines, same columns.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            code: blank(text),
        }
    }

    /// Tests and benches, which may do what the program may not.
    pub(super) fn is_test(&self) -> bool {
        let path = &self.path;
        ["tests/", "benches/", "fuzz/"]
            .iter()
            .any(|dir| path.starts_with(dir))
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.ends_with("_tests.rs")
    }

    pub(super) fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| {
            // `src/io` is the folder and the file beside it.
            self.path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
        })
    }

    /// Code without its test parts; empty for a test file. Same lines.
    pub(super) fn production(&self) -> String {
        if self.is_test() {
            String::new()
        } else {
            cut_tests(&self.code)
        }
    }
}

/// Line numbers start at 1.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// True where `word` stands in `line` with no letter, digit or `_` at its ends.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let ends_free = |at: usize| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let starts = word.starts_with(|c| joins(Some(c)));
        let ends = word.ends_with(|c| joins(Some(c)));
        !(starts && joins(before.chars().next_back()) || ends && joins(after.chars().next()))
    };
    line.match_indices(word).any(|(at, _)| ends_free(at))
}

/// Spaces instead of what follows each `#[cfg(test)]`: one item up to its `;` or closing brace.
fn cut_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let mut depth = 0;
        let end = rest[at + MARK.len()..].find(|c| {
            match c {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(c, '}' | ';')
        });
        let end = end.map_or(rest.len(), |end| at + MARK.len() + end + 1);
        kept.extend(
            rest[at..end]
                .chars()
                .map(|c| if c == '\n' { c } else { ' ' }),
        );
        rest = &rest[end..];
    }
    kept + rest
}

/// Comments and the insides of string and character literals become spaces.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (open, length) = if rest.starts_with("//") {
            (0, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (0, block_comment(rest))
        } else if let Some(open) = raw_string_opening(rest, &code) {
            let close = format!("\"{}", "#".repeat(open - 2));
            let end = rest[open..].find(&close).map(|at| open + at + close.len());
            (open, end.unwrap_or(rest.len()))
        } else if first == '"' {
            (1, string(rest))
        } else if first == '\'' {
            (1, character(rest))
        } else {
            (first.len_utf8(), first.len_utf8())
        };
        code.push_str(&rest[..open]);
        let inside = &rest[open..length];
        code.extend(inside.chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// Length of `r"`, `r#"`, ...; not when the `r` ends a name.
fn raw_string_opening(rest: &str, before: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let name =
        before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with('b');
    let hashes = after.len() - after.trim_start_matches('#').len();
    (!name && after[hashes..].starts_with('"')).then_some(hashes + 2)
}

/// Length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest[1..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}

/// Length of a character literal, or 1 for the tick of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest[1..].char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = 1 + at + escaped.len_utf8();
            rest[after..].find('\'').map_or(1, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => 1 + at + 1,
        _ => 1,
    }
}

#[test]
fn comments_and_literals_are_blanked() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("x \" // y") + g"#, r#"f("          ) + g"#),
        ("'a' '\\'' '\\u{1F}' &'a str", "'   '    '        &'a str"),
        (r##"r#"a"b"# c"##, r##"r#"      c"##),
        ("for\"x\" b", "for\"   b"),
    ];
    for (text, expected) in cases {
        assert_eq!(blank(text), expected, "{text}");
        assert_eq!(blank(text).len(), text.len());
    }
}

#[test]
fn test_parts_are_cut() {
    let text = "a;\n#[cfg(test)]\nmod tests {\n    fn f() { b; }\n}\nc;\n#[cfg(test)]\nmod d;\n\
         #[cfg(test)]\nfn f(x: [u8; 2]) {\n    g;\n}\ne;\n";
    let kept = Source::new("src/x.rs", text).production();
    assert_eq!(kept.split_whitespace().collect::<String>(), "a;c;e;");
    assert_eq!(kept.lines().count(), text.lines().count());
    assert_eq!(Source::new("src/x/tests.rs", text).production(), "");
}

#[test]
fn words_have_free_ends() {
    assert!(has_word("use std::env::args", "std::env"));
    assert!(!has_word("use std::envy", "std::env"));
    assert!(has_word("x.unwrap()", ".unwrap()"));
    assert!(!has_word("unsafe_code", "unsafe"));
}
