//! A comparison as text, and as Markdown for a pull request.

use std::fmt::Write as _;

use super::{Comparison, Judgement, Row, Side};

impl Judgement {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Shown => "",
            Self::Held => "held",
            Self::Inconclusive => "inconclusive",
            Self::Regression => "REGRESSION",
        }
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:+.1} %", share * 100.0))
}

impl Row {
    fn interval(&self) -> String {
        match (self.change_low, self.change_high) {
            (Some(low), Some(high)) => format!("{:+.1} to {:+.1} %", low * 100.0, high * 100.0),
            _ => "-".into(),
        }
    }

    fn bound(&self) -> String {
        let bound = self
            .max_regression
            .map(|share| format!("{} %", share * 100.0));
        bound.unwrap_or_default()
    }
}

impl Side {
    fn name(&self) -> String {
        let broker = self
            .broker
            .as_ref()
            .map_or(String::new(), |name| format!(" ({name})"));
        format!("{}{broker}, {} rounds", self.label, self.files.len())
    }
}

impl Comparison {
    /// In one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let count = |judgement| {
            self.rows
                .iter()
                .filter(|row| row.judgement == judgement)
                .count()
        };
        let worse = count(Judgement::Regression) + self.regressions.len();
        match self.judgement {
            Judgement::Shown => "compared; no bound was given".into(),
            Judgement::Held => "no regression: every figure keeps its bound".into(),
            Judgement::Inconclusive => format!(
                "inconclusive: {} of {} figures can neither be called worse nor not",
                count(Judgement::Inconclusive),
                self.rows
                    .iter()
                    .filter(|row| row.max_regression.is_some())
                    .count()
            ),
            Judgement::Regression if worse == 1 => "REGRESSION: one thing is worse".into(),
            Judgement::Regression => format!("REGRESSION: {worse} things are worse"),
        }
    }

    /// For a terminal of 80 columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("base: {}\nnew:  {}\n", self.base.name(), self.new.name());
        let mut scenario = "";
        for row in &self.rows {
            if row.scenario != scenario {
                scenario = &row.scenario;
                let _ = writeln!(
                    text,
                    "{scenario}\n  {:<14} {:>11} {:>11} {:>8} {:>18}",
                    "figure", "base", "new", "change", "95 % interval"
                );
            }
            let line = format!(
                "  {:<14} {:>11} {:>11} {:>8} {:>18}  {}",
                row.figure,
                row.base_text,
                row.new_text,
                percent(row.change),
                row.interval(),
                row.judgement.word()
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for sentence in &self.regressions {
            let _ = writeln!(text, "REGRESSION: {sentence}");
        }
        for (figures, reason) in self.reasons() {
            let _ = writeln!(text, "inconclusive: {figures}: {reason}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let _ = writeln!(text, "{}", self.sentence());
        text
    }

    /// Reasons why nothing is known, each once, with its figures.
    fn reasons(&self) -> Vec<(String, &str)> {
        let mut reasons: Vec<(String, &str)> = Vec::new();
        for row in &self.rows {
            let Some(reason) = &row.reason else { continue };
            match reasons.iter_mut().find(|(_, known)| known == reason) {
                Some((figures, _)) => {
                    let _ = write!(figures, ", {}", row.figure);
                }
                None => reasons.push((row.figure.clone(), reason)),
            }
        }
        reasons
    }

    /// For a pull request.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "**mqload compare: {}**\n\nbase: {}; new: {}\n\n\
             | scenario | figure | base | new | change | 95 % interval | may be worse by | |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n",
            escaped(&self.sentence()),
            escaped(&self.base.name()),
            escaped(&self.new.name())
        );
        for row in &self.rows {
            let word = match row.judgement {
                Judgement::Regression => "**regression**",
                other => other.word(),
            };
            let cells = [
                escaped(&row.scenario),
                row.figure.clone(),
                row.base_text.clone(),
                row.new_text.clone(),
                percent(row.change),
                row.interval(),
                row.bound(),
                word.to_string(),
            ];
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text.push('\n');
        for sentence in &self.regressions {
            let _ = writeln!(text, "- **regression**: {}", escaped(sentence));
        }
        for (figures, reason) in self.reasons() {
            let _ = writeln!(text, "- inconclusive: {figures}: {}", escaped(reason));
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {}", escaped(note));
        }
        let _ = writeln!(
            text,
            "\nMedians of rounds; changes are ratios of geometric means, intervals a bootstrap over rounds (seed {}).",
            self.seed
        );
        text
    }
}

/// Text that cannot become a cell, a link, a mention or markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' => escaped.push('\\'),
            '@' => {
                escaped.push_str("@\u{200B}"); // a mention would notify a user
                continue;
            }
            _ => {}
        }
        escaped.push(if letter.is_control() { ' ' } else { letter });
    }
    escaped
}
