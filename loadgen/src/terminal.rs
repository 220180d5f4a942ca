//! The terminal that text goes to: its width and colours.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

/// Narrower ones are treated as this wide.
const WIDTH_MIN: usize = 40;

/// A terminal, or something that takes lines of any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Columns; `None` when it is no terminal.
    pub width: Option<usize>,
    pub has_color: bool,
}

impl Terminal {
    /// What standard output or error is. Colours go by NO_COLOR (<https://no-color.org>) and TERM.
    pub fn of(stream: &(impl AsFd + IsTerminal)) -> Self {
        if !stream.is_terminal() {
            return Self::default();
        }
        let size = rustix::termios::tcgetwinsize(stream);
        let width = size.map_or(80, |size| usize::from(size.ws_col));
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            width: Some(if width == 0 { 80 } else { width.max(WIDTH_MIN) }),
            has_color: !is_set("NO_COLOR") && !is_dumb,
        }
    }
}

/// How a line is shown, by its beginning.
const STYLES: &[(&str, &str)] = &[
    ("BROKEN PROMISE", BAD),
    ("PARTIAL", BAD),
    ("error (", BAD),
    ("assertion FAILED", BAD),
    ("REGRESSION", BAD),
    ("assertion passed", GOOD),
    ("no regression", GOOD),
    ("SATURATED", DOUBT),
    ("NOT THE BROKER'S", DOUBT),
    ("inconclusive", DOUBT),
    ("note:", FAINT),
];
const BAD: &str = "31";
const GOOD: &str = "32";
const DOUBT: &str = "33";
const FAINT: &str = "2";
/// Drawings of tables, which are no text to be broken.
const DRAWN: [char; 8] = ['│', '─', '┌', '└', '├', '╞', '═', '┆'];

/// Whole lines that fit the terminal: longer ones go on indented.
pub struct Lines<'a> {
    out: &'a mut dyn Write,
    terminal: Terminal,
    begun: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub fn new(out: &'a mut dyn Write, terminal: Terminal) -> Self {
        Self {
            out,
            terminal,
            begun: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) -> std::io::Result<()> {
        let text = match self.terminal.width {
            Some(width) if !line.contains(DRAWN) => wrapped(line, width),
            _ => line.to_string(),
        };
        let trimmed = line.trim_start();
        let style = STYLES.iter().find(|(begin, _)| trimmed.starts_with(begin));
        match style.filter(|_| self.terminal.has_color) {
            Some((_, style)) => writeln!(self.out, "\x1b[{style}m{text}\x1b[0m"),
            None => writeln!(self.out, "{text}"),
        }
    }
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            self.line(&String::from_utf8_lossy(&line[..end]))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// A line broken at blanks, whose rest is indented four columns further.
fn wrapped(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_string();
    }
    let indent = line.len() - line.trim_start().len();
    let (mut text, mut used) = (" ".repeat(indent), indent);
    for word in line.trim_start().split(' ') {
        let letters = word.chars().count();
        if used > indent + 4 && used + letters > width {
            let further = indent + 4;
            text.truncate(text.trim_end().len());
            text += "\n";
            text += &" ".repeat(further);
            used = further;
        }
        text += word;
        text += " ";
        used += letters + 1;
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: Terminal, text: &str) -> String {
        let mut bytes = Vec::new();
        let mut lines = Lines::new(&mut bytes, terminal);
        lines.write_all(text.as_bytes()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    const SENTENCE: &str =
        "  BROKEN PROMISE: QoS 1: 20 acknowledged messages were lost, and more that is to be said\n";

    #[test]
    fn lines_fit_the_terminal_and_nothing_else() {
        let terminal = Terminal {
            width: Some(40),
            has_color: false,
        };
        let text = shown(terminal, SENTENCE);
        assert!(
            text.lines().count() > 2 && text.lines().all(|line| line.len() <= 40),
            "{text}"
        );
        assert!(
            text.lines().skip(1).all(|line| line.starts_with("      ")),
            "{text}"
        );
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&text), words(SENTENCE));
        assert_eq!(shown(Terminal::default(), SENTENCE), SENTENCE);
        let table = format!("│ {} │\n", "x ".repeat(60));
        assert_eq!(shown(terminal, &table), table);
        let word = format!("{}\n", "x".repeat(90));
        assert_eq!(
            shown(terminal, &word),
            word,
            "what has no blank is not broken"
        );
    }

    #[test]
    fn colours_are_for_terminals_that_have_them() {
        let mut terminal = Terminal {
            width: Some(200),
            has_color: true,
        };
        assert!(shown(terminal, SENTENCE).starts_with("\x1b[31m  BROKEN"));
        assert_eq!(shown(terminal, "  received 3\n"), "  received 3\n");
        terminal.has_color = false;
        assert_eq!(shown(terminal, SENTENCE), SENTENCE);
    }
}
