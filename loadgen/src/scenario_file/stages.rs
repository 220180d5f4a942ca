//! `[[stages]]`, one after the other, and `[assert]`, the bounds that must hold.

use std::time::Duration;

use ringmq::mqtt::Qos;

use super::connection::ConnectionPart;
use super::groups::FileGroup;
use super::section::{did_you_mean, At, Section};
use crate::assertions::{Assertions, StageAssertions};
use crate::options::{CLOSED_WINDOW, WINDOW_MAX};
use crate::plan::{Arrivals, Load, LoadStep, Move, MoveKind, Step};

/// Messages per write of QoS 0 as fast as possible.
const BATCH: u32 = 256;
/// Longest pause between two messages.
const THINK_MAX: Duration = Duration::from_secs(24 * 3600);

/// A stage, with what it must reach.
pub(super) struct Stage {
    step: LoadStep,
    /// Where it has its name, or begins.
    line: usize,
    pub(super) assert: Option<StageAssertions>,
}

/// Reads all stages.
pub(super) fn read(top: &mut Section<'_>, groups: &[FileGroup]) -> Vec<Stage> {
    let sections = top.list("stages");
    if sections.is_empty() && !top.has("stages") {
        top.lacks("stages", "a scenario needs at least one [[stages]]");
    }
    let mut stages: Vec<Stage> = Vec::new();
    for section in sections {
        let stage = stage(section, stages.len() + 1, groups);
        if stages
            .iter()
            .any(|other| other.step.name == stage.step.name)
        {
            let name = stage.step.name.as_deref().unwrap_or_default();
            top.mistake(
                stage.line,
                "stages.name",
                format!("two stages are named {name}"),
            );
        }
        stages.push(stage);
    }
    for (at, stage) in stages.iter().enumerate() {
        for (group, load) in &stage.step.groups {
            let has_life = matches!(load, Load::Life { .. });
            if lives(&stages, *group) && (!has_life || stage.moves(*group)) {
                let name = &groups[*group].group.name;
                let text = format!("clients of {name} have a life: they come and go by themselves, without other load");
                top.mistake(stage.line, &format!("stages[{at}].load.{name}"), text);
            }
            let comes = first_connect(&stages, *group);
            if comes.is_some_and(|comes| comes > at) {
                let name = &groups[*group].group.name;
                let text = format!("clients of {name} are connected in a later stage only");
                top.mistake(stage.line, &format!("stages[{at}].load.{name}"), text);
            }
        }
    }
    stages
}

impl Stage {
    fn moves(&self, group: usize) -> bool {
        self.step.moves.iter().any(|own| own.group == group)
    }

    /// The stage as it is named in a round: from the second on with its number.
    fn in_round(&self, round: u32) -> LoadStep {
        let mut step = self.step.clone();
        step.name = step.name.map(|name| named_in(&name, round));
        step
    }

    /// What it must reach in each round.
    pub(super) fn asserts(&self, rounds: u32) -> Vec<StageAssertions> {
        let own = self.assert.iter();
        let of_round = |own: &StageAssertions, round| StageAssertions {
            stage: named_in(&own.stage, round),
            ..own.clone()
        };
        own.flat_map(|own| (1..=rounds).map(move |round| of_round(own, round)))
            .collect()
    }
}

fn named_in(name: &str, round: u32) -> String {
    match round {
        1 => name.to_string(),
        _ => format!("{name} ({round})"),
    }
}

/// Clients of the group connect by themselves in some stage.
fn lives(stages: &[Stage], group: usize) -> bool {
    let mut loads = stages.iter().flat_map(|stage| &stage.step.groups);
    loads.any(|(own, load)| *own == group && matches!(load, Load::Life { .. }))
}

/// The first stage that connects a group's clients; `None`: they are there before all stages.
fn first_connect(stages: &[Stage], group: usize) -> Option<usize> {
    let connects = |stage: &Stage| {
        let mut moves = stage.step.moves.iter();
        moves.any(|own| own.group == group && own.kind == MoveKind::Connect)
    };
    let first = stages.iter().position(connects)?;
    // Clients that leave before they come were there.
    let leaves = |stage: &Stage| stage.step.moves.iter().any(|own| own.group == group);
    let was_there = stages[..first].iter().any(leaves);
    (!was_there).then_some(first)
}

fn stage(mut section: Section<'_>, number: usize, groups: &[FileGroup]) -> Stage {
    let name = section.text("name");
    let line = name.as_ref().map_or(section.line, |name| name.line);
    let name = name.map_or_else(|| format!("stage {number}"), |name| name.value);
    let time = section.duration("time");
    if time.is_none() && !section.has("time") {
        section.lacks("time", "how long? give time = \"10s\"");
    }
    let time = time.filter(|time| {
        if time.value.is_zero() {
            section.mistake(time.line, "time", "must be above 0");
        }
        !time.value.is_zero()
    });
    let messages = section.count("messages", 1, 1 << 40);
    let mut moves = Vec::new();
    for (key, kind) in [
        ("connect", MoveKind::Connect),
        ("disconnect", MoveKind::Disconnect),
        ("abort", MoveKind::Abort),
        ("churn", MoveKind::Churn),
    ] {
        for (group, per_s) in section.rates(key) {
            if kind == MoveKind::Churn && per_s.is_none() {
                let text = "how many per second? give churn = { GROUP = 10 }";
                section.mistake(group.line, key, text);
            }
            let Some(number) = number_of(&section, key, &group, groups) else {
                continue;
            };
            let kind_of = Move {
                group: number,
                kind,
                per_s,
            };
            if kind != MoveKind::Churn {
                check_time(&section, key, &group, &kind_of, &groups[number], &time);
            }
            moves.push(kind_of);
        }
    }
    let mut step = LoadStep {
        name: Some(name.clone()),
        groups: Vec::new(),
        time: time.map_or(Duration::from_secs(1), |time| time.value),
        messages: messages.as_ref().map(|messages| messages.value),
        moves,
        crashes: None,
    };
    if let Some(loads) = section.section("load") {
        for (name, own) in loads.named() {
            let line = own.line;
            let group = At { value: name, line };
            let Some(number) = number_of(&section, "load", &group, groups) else {
                continue;
            };
            step.groups.extend(load(own, number, &groups[number]));
        }
    }
    if let Some(messages) = messages.filter(|_| step.groups.is_empty()) {
        section.mistake(messages.line, "messages", "nobody publishes in this stage");
    }
    let assert = section.section("assert");
    let assert = assert.map(|own| StageAssertions {
        stage: name,
        bounds: bounds_of_stage(own),
    });
    section.end();
    Stage { step, line, assert }
}

fn number_of(
    section: &Section<'_>,
    key: &str,
    name: &At<String>,
    groups: &[FileGroup],
) -> Option<usize> {
    let names = groups.iter().map(|own| &own.group.name[..]);
    let found = names.clone().position(|known| known == name.value);
    if found.is_none() {
        let hint = did_you_mean(&name.value, names);
        let text = format!("there is no group {}{hint}", name.value);
        section.mistake(name.line, key, text);
    }
    found
}

/// Clients must have connected or left by the end of the stage.
fn check_time(
    section: &Section<'_>,
    key: &str,
    name: &At<String>,
    own: &Move,
    group: &FileGroup,
    time: &Option<At<Duration>>,
) {
    let (Some(per_s), Some(time)) = (own.per_s, time) else {
        return;
    };
    let takes = f64::from(group.group.clients) / per_s;
    let lasts = time.value.as_secs_f64();
    if takes > lasts {
        let text = format!(
            "{} clients at {per_s} per second take {takes:.1} s, and the stage lasts {lasts} s",
            group.group.clients
        );
        section.mistake(name.line, &format!("{key}.{}", name.value), text);
    }
}

/// The load of a group; `None` when something is wrong with it.
fn load(mut section: Section<'_>, number: usize, group: &FileGroup) -> Option<(usize, Load)> {
    let line = section.line;
    let publishing = group.group.publishing.as_ref();
    let life = section.section("life").and_then(life);
    let only_connects = matches!(life, Some(Load::Life { messages: 0, .. }));
    if publishing.is_none() && !only_connects {
        let text = format!(
            "clients of {} publish nothing: give [groups.{0}.publish]",
            group.group.name
        );
        section.mistake(line, "", text);
    }
    let has_acks = publishing.is_some_and(|publishing| publishing.qos != Qos::AtMostOnce);
    let rate = section.number("rate", 0.0);
    let rate_to = section.number("rate_to", 0.0);
    let poisson = section.flag("poisson");
    let window = section.count("window", 1, u64::from(WINDOW_MAX));
    let max = section.flag("max").filter(|max| max.value);
    let think = section.parsed("think", think_time);
    let given = [
        section.has("life"),
        section.has("rate"),
        section.has("window"),
        section.has("max"),
        section.has("think"),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        let text = "give one of rate (messages per second of the group), window (unacknowledged \
                    messages per client), max = true, think (pause of each client between messages), \
                    and life";
        section.mistake(line, "", text);
    }
    let lines = [
        ("rate_to", rate_to.as_ref().map(|at| at.line)),
        ("poisson", poisson.as_ref().map(|at| at.line)),
    ];
    need_rate(&section, lines);
    if let Some(window) = window.as_ref().filter(|_| !has_acks) {
        let text = "needs messages of QoS 1 or 2: those of QoS 0 are not acknowledged";
        section.mistake(window.line, "window", text);
    }
    let load = match (rate, window, max, think) {
        _ if life.is_some() => life,
        (Some(rate), ..) => Some(Load::Open {
            from_per_s: rate.value,
            to_per_s: rate_to.map_or(rate.value, |rate| rate.value),
            arrivals: if poisson.is_some_and(|poisson| poisson.value) {
                Arrivals::Poisson
            } else {
                Arrivals::Constant
            },
        }),
        (_, Some(window), ..) => Some(Load::Closed {
            window: window.value as u16,
        }),
        (_, _, Some(_), _) if has_acks => Some(Load::Closed {
            window: publishing
                .and_then(|own| own.window)
                .unwrap_or(CLOSED_WINDOW),
        }),
        (_, _, Some(_), _) => Some(Load::Unlimited { batch: BATCH }),
        (_, _, _, Some(think)) => Some(Load::Think {
            least: think.value.0,
            most: think.value.1,
        }),
        _ => None,
    };
    section.end();
    Some((number, load?))
}

fn need_rate(section: &Section<'_>, lines: [(&str, Option<usize>); 2]) {
    for (key, line) in lines {
        if let Some(line) = line.filter(|_| !section.has("rate")) {
            section.mistake(line, key, "goes with rate");
        }
    }
}

/// `{ messages = 5, pause = "1s-2s", sleep = "10s-20s" }`.
fn life(mut section: Section<'_>) -> Option<Load> {
    let messages = section.count("messages", 0, 1 << 32);
    let pause = section.parsed("pause", think_time);
    let sleep = section.parsed("sleep", think_time);
    for (key, what) in [
        ("pause", "how long before each message, and before leaving"),
        ("sleep", "how long until it comes back"),
    ] {
        if !section.has(key) {
            section.lacks(key, format!("{what}? give {key} = \"1s-3s\""));
        }
    }
    section.end();
    Some(Load::Life {
        messages: messages.map_or(1, |messages| messages.value),
        pause: pause?.value,
        sleep: sleep?.value,
    })
}

/// "2s", or "1s-3s" for any time in between.
fn think_time(text: &str) -> Result<(Duration, Duration), String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let [least, most] = [least, most].map(|text| crate::options::parse_duration(text.trim()));
    let (least, most) = (least?, most?);
    if least > most {
        return Err("the shorter time comes first".into());
    }
    if most.is_zero() || most > THINK_MAX {
        return Err("must be above 0 and at most a day".into());
    }
    Ok((least, most))
}

/// `[assert]`.
pub(super) fn assertions(mut section: Section<'_>) -> Assertions {
    let mut count = |key| section.count(key, 0, u64::MAX >> 1).map(|at| at.value);
    let (loss, duplicates) = (count("loss"), count("duplicates"));
    let reordered = count("reordered");
    let bounds = Assertions {
        p99_ms: section.number("p99_ms", 0.0).map(|at| at.value),
        loss,
        duplicates,
        reordered,
        rate_min: section.number("rate_min", 0.0).map(|at| at.value),
    };
    section.end();
    bounds
}

/// What a stage can be asked for: where a message was lost, or came twice, is known of the run only.
fn bounds_of_stage(mut section: Section<'_>) -> Assertions {
    let bounds = Assertions {
        p99_ms: section.number("p99_ms", 0.0).map(|at| at.value),
        rate_min: section.number("rate_min", 0.0).map(|at| at.value),
        ..Assertions::default()
    };
    for key in ["loss", "duplicates", "reordered"] {
        if section.has(key) {
            let _ = section.count(key, 0, u64::MAX >> 1);
            section.lacks(key, "is known of the whole run: put it in [assert]");
        }
    }
    section.end();
    bounds
}

/// Groups that are there from the beginning connect and subscribe, subscribers first; then the stages.
pub(super) fn steps(
    groups: &[FileGroup],
    connection: &ConnectionPart,
    stages: &[Stage],
    (rounds, drain): (u32, Duration),
) -> Vec<Step> {
    let per_s = connection.connect_per_s;
    let all = 0..groups.len();
    let there = |group: &usize| first_connect(stages, *group).is_none() && !lives(stages, *group);
    let subscribes = |group: &usize| !groups[*group].group.subscriptions.is_empty();
    let mut steps = Vec::new();
    for group in all.clone().filter(there).filter(subscribes) {
        steps.extend([Step::Connect { group, per_s }, Step::Subscribe { group }]);
    }
    for group in all.clone().filter(there).filter(|group| !subscribes(group)) {
        steps.push(Step::Connect { group, per_s });
    }
    for round in 1..=rounds {
        let loads = stages.iter().map(|stage| stage.in_round(round));
        steps.extend(loads.map(Step::Load));
    }
    steps.push(Step::Drain { quiet: drain });
    steps.extend(all.map(|group| Step::Disconnect { group }));
    steps
}

/// Groups whose clients come or go in a stage.
pub(super) fn moving(stages: &[Stage]) -> impl Iterator<Item = usize> + '_ {
    let moves = stages.iter().flat_map(|stage| &stage.step.moves);
    let loads = stages.iter().flat_map(|stage| &stage.step.groups);
    let lives = loads.filter(|(_, load)| matches!(load, Load::Life { .. }));
    moves
        .map(|own| own.group)
        .chain(lives.map(|(group, _)| *group))
}
