//! Rules about structure: lengths of functions, and circles of files that import each other.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{has_word, Source};

/// Lines of code in a function: comments and blank lines do not count.
const FUNCTION_LINES_MAX: usize = 70;
/// Longer functions, each with its reason.
pub(super) const LONGER_FUNCTIONS: &[(&str, &str)] = &[
    ("src/config/memory.rs", "new"), // a sum with a reason per line; to be split by what holds the memory
    ("src/config/file.rs", "parse"), // one pass that finds all mistakes; to be split by section
    ("src/config/kind.rs", "read"),  // a table of kinds: one arm each
    ("src/sim/parameters.rs", "draw"), // a table: one line per parameter of a run
    (
        "src/config/tests/files.rs",
        "bad_files_name_line_key_fault_and_remedy",
    ), // a table of cases
    (
        "src/config/tests/listeners.rs",
        "bad_tables_of_listeners_name_every_fault",
    ), // a table of cases
    ("src/mqtt_sn/decode.rs", "message"), // a table: one arm per message
    ("src/mqtt_sn/encode.rs", "body"), // a table: one arm per message
    ("src/mqtt/tests/values.rs", "encoded"), // a table: one packet of each type
    ("tests/wire/bytes.rs", "sequence"), // a table: one packet after the other
    ("tests/wire/secured.rs", "enhanced_authentication"), // a table of cases
    ("src/auth/jwt/tests.rs", "key_sets"), // a table of cases
    (
        "src/transport/tls/error_text/tests.rs",
        "every_error_of_the_library_is_a_sentence_of_ours",
    ), // a table: one line per error
    (
        "src/transport/tls/error_text/tests.rs",
        "every_fault_of_a_certificate_is_a_sentence_of_ours",
    ), // a table: one line per fault
    ("fuzz/bodies/src/tls.rs", "conversation"), // one dialogue, to be split by its two ends
];

/// A function of a file: its name, its first line, its lines of code.
struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// Functions are split where they decide, before they are longer than a screen.
pub(super) fn function_length(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let functions = functions(&file.code);
    for function in &functions {
        let listed = LONGER_FUNCTIONS.contains(&(&file.path, function.name));
        if function.lines > FUNCTION_LINES_MAX && !listed {
            found.push(format!(
                "{}:{}: `{}` has {} lines of code, more than {FUNCTION_LINES_MAX}: split it where it \
                 decides, or list it with its reason in tests/tidy/structure.rs",
                file.path, function.line, function.name, function.lines
            ));
        }
    }
    for (path, name) in LONGER_FUNCTIONS {
        let is_long =
            |function: &Function<'_>| function.name == *name && function.lines > FUNCTION_LINES_MAX;
        if *path == file.path && !functions.iter().any(is_long) {
            found.push(format!(
                "{path}: `{name}` needs no exception: take it off the list in tests/tidy/structure.rs"
            ));
        }
    }
    found
}

fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name = ident(&code[at + 3..]);
        if let (false, Some(body)) = (name.is_empty(), body(&code[at..])) {
            let text = &code[at..at + body];
            found.push(Function {
                name,
                line: 1 + code[..at].matches('\n').count(),
                lines: text.lines().filter(|line| !line.trim().is_empty()).count(),
            });
        }
    }
    found
}

/// Length of a function up to its closing brace; `None` when it has no body.
fn body(code: &str) -> Option<usize> {
    let (mut depth, mut braces) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            ';' if depth == 0 && braces == 0 => return None,
            _ => {}
        }
        if braces < 0 {
            return None;
        }
    }
    None
}

fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Files of a folder that may still be in circles.
pub(super) struct Circles {
    pub(super) folder: &'static str,
    /// How many at most: the number falls and does not rise.
    pub(super) files: usize,
    pub(super) why: &'static str,
}

/// Today's circles, each with its reason; there are none in `src/shard` and `loadgen/src`.
pub(super) const CIRCLES: &[Circles] = &[
    Circles {
        folder: "src/config",
        files: 12,
        why: "tables name the struct that they fill",
    },
    Circles {
        folder: "src/auth",
        files: 4,
        why: "questions and verdicts live beside the rules that hooks answer",
    },
    Circles {
        folder: "src/sim",
        files: 7,
        why: "halves of one checker",
    },
];

/// Files import downwards: no file is reached again over its own imports. Paths of a `mod.rs` into its
/// own folder do not count, since it gathers what is there.
pub(super) fn import_circles(files: &[Source], root: &str, excused: &[Circles]) -> Vec<String> {
    let graph = Graph::new(files, root);
    let mut found = Vec::new();
    let mut in_folder: BTreeMap<&str, usize> = BTreeMap::new();
    for circle in graph.circles() {
        let paths: Vec<&str> = circle.iter().map(|module| graph.path(module)).collect();
        let excuse = excused
            .iter()
            .find(|excuse| paths.iter().any(|path| path.starts_with(excuse.folder)));
        match excuse {
            Some(excuse) => *in_folder.entry(excuse.folder).or_default() += paths.len(),
            None => found.push(format!(
                "{root}: these import each other in a circle: {}: move what they share below them",
                paths.join(", ")
            )),
        }
    }
    for excuse in excused
        .iter()
        .filter(|excuse| excuse.folder.starts_with(root))
    {
        let files = in_folder.get(excuse.folder).copied().unwrap_or(0);
        if files > excuse.files {
            found.push(format!(
                "{}: {files} files are in circles, {} are excused ({}): move what they share below them",
                excuse.folder, excuse.files, excuse.why
            ));
        } else if files == 0 {
            found.push(format!(
                "{}: no circles are left: take it off the list in tests/tidy/structure.rs",
                excuse.folder
            ));
        }
    }
    found
}

/// Segments of a module's path within its crate.
type Module<'a> = Vec<&'a str>;

struct Graph<'a> {
    paths: BTreeMap<Module<'a>, &'a str>,
    edges: BTreeMap<Module<'a>, BTreeSet<Module<'a>>>,
}

impl<'a> Graph<'a> {
    fn new(files: &'a [Source], root: &str) -> Self {
        let own = files.iter().filter(|file| file.is_below(&[root]));
        let own: Vec<(Module<'a>, &Source)> = own
            .filter(|file| !file.is_test())
            .map(|file| (module(&file.path, root), file))
            .collect();
        let paths = own
            .iter()
            .map(|(module, file)| (module.clone(), &file.path[..]))
            .collect();
        let mut graph = Self {
            paths,
            edges: BTreeMap::new(),
        };
        for (module, file) in &own {
            let code = file.production();
            let mut targets = BTreeSet::new();
            for path in imported(&code) {
                targets.extend(graph.target(module, &path));
            }
            let gathers = file.path.ends_with("/mod.rs") || file.path.ends_with("/lib.rs");
            targets.retain(|target| target != module && !(gathers && target.starts_with(module)));
            graph.edges.insert(module.clone(), targets);
        }
        graph
    }

    fn path(&self, module: &Module<'a>) -> &'a str {
        self.paths.get(module).copied().unwrap_or_default()
    }

    /// The file that a path leads into.
    fn target(&self, from: &Module<'a>, path: &[String]) -> Option<Module<'a>> {
        let (mut base, mut rest) = match path.first().map(String::as_str)? {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            _ => (from.clone(), path),
        };
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        let is_relative = path[0] == "crate" || path[0] == "self" || path[0] == "super";
        let mut found = is_relative.then(|| base.clone());
        for segment in rest {
            let is_child = |module: &&Module<'a>| {
                let split = module.split_last();
                split.is_some_and(|(last, parent)| last == segment && *parent == base[..])
            };
            let Some(child) = self.paths.keys().find(is_child) else {
                break;
            };
            base.clone_from(child);
            found = Some(child.clone());
        }
        found.filter(|module| self.paths.contains_key(module))
    }

    /// Files that reach each other, of each circle once.
    fn circles(&self) -> Vec<Vec<Module<'a>>> {
        let reached: BTreeMap<_, _> = self
            .edges
            .keys()
            .map(|module| (module, self.reachable(module)))
            .collect();
        let mut circles: Vec<Vec<Module<'a>>> = Vec::new();
        for (module, reaches) in &reached {
            let is_known = circles.iter().any(|circle| circle.contains(module));
            if is_known || !reaches.contains(*module) {
                continue;
            }
            let back = |other: &&Module<'a>| reached[*other].contains(*module);
            circles.push(reaches.iter().filter(back).cloned().collect());
        }
        circles
    }

    fn reachable(&self, from: &Module<'a>) -> BTreeSet<Module<'a>> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(module) = next.pop() {
            for target in self.edges.get(module).into_iter().flatten() {
                if reached.insert(target.clone()) {
                    next.push(target);
                }
            }
        }
        reached
    }
}

/// `src/a/b.rs` is `a::b`, and so is `src/a/b/mod.rs`.
fn module<'a>(path: &'a str, root: &str) -> Module<'a> {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let inside = inside.trim_start_matches('/').trim_end_matches(".rs");
    let mut segments: Module<'a> = inside.split('/').collect();
    if matches!(segments.last(), Some(&"mod" | &"lib")) {
        segments.pop();
    }
    segments
}

/// Paths that code imports or names from `crate` or `super`, as segments.
fn imported(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let at = statement
            .rfind("use ")
            .filter(|at| has_word(&statement[*at..], "use"))
            .filter(|at| !statement[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        match at {
            Some(at) => {
                let tree: String = statement[at + 4..].trim_end_matches(';').into();
                expand(&tree.replace(char::is_whitespace, " "), &[], &mut found);
                rest.push_str(&statement[..at]);
            }
            None => rest.push_str(statement),
        }
    }
    for word in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(word) {
            let is_start = !rest[..at].ends_with("::");
            let path: String = rest[at..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                .collect();
            if is_start {
                found.push(segments(&path));
            }
        }
    }
    found
}

fn segments(path: &str) -> Vec<String> {
    let path = path.split(" as ").next().unwrap_or_default();
    path.split("::")
        .map(|segment| segment.trim().to_string())
        .collect()
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let Some((head, group)) = tree.split_once('{') else {
        found.push([before, &segments(tree)].concat());
        return;
    };
    let head = head.trim().trim_end_matches("::");
    let mut before = before.to_vec();
    if !head.is_empty() {
        before.extend(segments(head));
    }
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let part = &group[start..at];
                if !part.trim().is_empty() {
                    expand(part, &before, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}
