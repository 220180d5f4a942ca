//! Findings: why one matters, what it costs, and the command that mends it.

use serde_json::json;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    Fine,
    Advice,
    /// The broker will not work.
    Fatal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) subject: &'static str,
    pub(super) weight: Weight,
    pub(super) what: String,
    pub(super) why: String,
    pub(super) cost: String,
    pub(super) mend: String,
}

impl Finding {
    pub(super) fn new(subject: &'static str, weight: Weight, what: String) -> Self {
        Self {
            subject,
            weight,
            what,
            why: String::new(),
            cost: String::new(),
            mend: String::new(),
        }
    }

    pub(super) fn fine(subject: &'static str, what: impl Into<String>) -> Self {
        Self::new(subject, Weight::Fine, what.into())
    }

    pub(super) fn why(self, why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            ..self
        }
    }

    pub(super) fn costs(self, cost: impl Into<String>) -> Self {
        Self {
            cost: cost.into(),
            ..self
        }
    }

    pub(super) fn mend(self, mend: impl Into<String>) -> Self {
        Self {
            mend: mend.into(),
            ..self
        }
    }

    /// 0: nothing to do, 1: advice, 2: the broker will not work.
    pub(super) fn exit_code(findings: &[Self]) -> u8 {
        let heaviest = findings.iter().map(|finding| finding.weight).max();
        match heaviest {
            None | Some(Weight::Fine) => 0,
            Some(Weight::Advice) => 1,
            Some(Weight::Fatal) => 2,
        }
    }
}

/// All findings as text or JSON.
pub(super) fn report(findings: &[Finding], as_json: bool) -> String {
    if as_json {
        let all: Vec<_> = findings.iter().map(as_value).collect();
        let report = json!({ "exit": Finding::exit_code(findings), "findings": all });
        return format!("{report:#}\n");
    }
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.weight {
            Weight::Fine => "ok    ",
            Weight::Advice => "advice",
            Weight::Fatal => "WRONG ",
        };
        text.push_str(&format!("{mark} {}: {}\n", finding.subject, finding.what));
        let more = [
            ("why", &finding.why),
            ("cost", &finding.cost),
            ("mend", &finding.mend),
        ];
        for (name, line) in more.into_iter().filter(|(_, line)| !line.is_empty()) {
            text.push_str(&format!("         {name}: {line}\n"));
        }
    }
    let count = |weight| {
        findings
            .iter()
            .filter(|finding| finding.weight == weight)
            .count()
    };
    let (advice, wrong) = (count(Weight::Advice), count(Weight::Fatal));
    text.push_str(&format!("\n{wrong} wrong, {advice} to consider\n"));
    text
}

fn as_value(finding: &Finding) -> serde_json::Value {
    json!({
        "subject": finding.subject,
        "weight": match finding.weight {
            Weight::Fine => "fine",
            Weight::Advice => "advice",
            Weight::Fatal => "wrong",
        },
        "what": finding.what,
        "why": finding.why,
        "cost": finding.cost,
        "mend": finding.mend,
    })
}
