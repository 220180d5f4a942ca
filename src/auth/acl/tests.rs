use proptest::prelude::*;

use super::*;
use crate::mqtt::topic;

fn names<'a>(client: &'a str, user: &'a str) -> Names<'a> {
    Names {
        client,
        user: (!user.is_empty()).then_some(user),
    }
}

const FILE: &str = "\
# anybody without a name
topic read public/#

user ann
topic readwrite ann/#
topic deny ann/secret/#
topic write log
topic read a b/c

user bob
topic # \n
pattern write sensors/%u/%c
pattern read device-%c/in
pattern read %u/%c/#
pattern deny bob/private
";

/// As files of Mosquitto may have been edited.
#[test]
fn white_space_around_lines_and_words_means_nothing() {
    let text = "\u{feff}  user ann\r\n\ttopic  readwrite\ta/# \t\r\n  # a comment\r\n \t\r\n\
                \t# another\r\n   topic deny a/x\r\n pattern read b/%c  \r\n";
    let acl = Acl::parse("acl", text).unwrap();
    let ann = names("c", "ann");
    assert!(acl.may_publish(ann, "a/b") && acl.may_receive(ann, "b/c"));
    assert!(!acl.may_publish(ann, "a/x"));
    assert!(!acl.may_publish(names("c", "eve"), "a/b"));
}

#[test]
fn publications() {
    let acl = Acl::parse("acl", &FILE.replace("topic #", "topic readwrite #")).unwrap();
    let rows = [
        ("c", "", "public/x", false, true),
        ("c", "", "ann/x", false, false),
        ("c", "ann", "public/x", false, false),
        ("c", "ann", "ann", true, true),
        ("c", "ann", "ann/x/y", true, true),
        ("c", "ann", "ann/secret", false, false),
        ("c", "ann", "ann/secret/x", false, false),
        ("c", "ann", "log", true, false),
        ("c", "ann", "a b/c", false, true),
        ("c", "bob", "anything/at/all", true, true),
        ("c", "bob", "$SYS/broker", false, false),
        ("c", "bob", "bob/private", false, false), // a denial wins over the user's own rule
        ("c", "eve", "sensors/eve/c", true, false),
        ("c", "eve", "sensors/eve/d", false, false),
        ("c", "eve", "sensors/ann/c", false, false),
        ("c", "", "sensors//c", false, false),
        ("c", "eve", "device-c/in", false, true),
        ("c", "eve", "device-/in", false, false),
        ("c", "eve", "eve/c", false, true),
        // Names that would reach further than one level.
        ("+", "eve", "sensors/eve/x", false, false),
        ("+", "eve", "sensors/eve/+", false, false),
        ("#", "eve", "sensors/eve/x", false, false),
        ("c/d", "eve", "sensors/eve/c/d", false, false),
        ("c", "$SYS", "$SYS/c", false, false),
        ("c", "$SYS", "$SYS/c/x", false, false),
        ("", "eve", "sensors/eve/", false, false),
    ];
    for (client, user, topic, write, read) in rows {
        let names = names(client, user);
        assert_eq!(
            acl.may_publish(names, topic),
            write,
            "{names:?} writes {topic}"
        );
        assert_eq!(
            acl.may_receive(names, topic),
            read,
            "{names:?} reads {topic}"
        );
    }
}

#[test]
fn subscriptions() {
    let text = "\
user ann
topic read a/#
topic read b/+/c
topic write w/#
topic read d/#
topic deny d/x/secret
topic read #
topic deny e/#
user bob
topic read #
user eve
topic read $SYS/#
user col
topic read +/x
pattern read p/%c/#
pattern deny q/%u
";
    // Without `#` for ann, which would hide the others.
    let acl = Acl::parse("acl", &text.replacen("topic read #\n", "", 1)).unwrap();
    let rows = [
        ("ann", "a", true),
        ("ann", "a/#", true),
        ("ann", "a/+/x", true),
        ("ann", "a/b", true),
        ("ann", "+", false),
        ("ann", "#", false),
        ("ann", "b/+/c", true),
        ("ann", "b/1/c", true),
        ("ann", "b/+/+", false),
        ("ann", "b/#", false),
        ("ann", "w/x", false),
        ("ann", "d/y", true),
        ("ann", "d/#", false),
        ("ann", "d/+/y", true),
        ("ann", "d/+/secret", false),
        ("ann", "d/x/+", false),
        ("ann", "d/x/#", false),
        ("ann", "d/x/secret/more", true),
        ("ann", "e/1", false),
        ("ann", "p/c/#", true),
        ("ann", "p/+/#", false),
        ("ann", "p/d/#", false),
        ("bob", "#", false), // overlaps `q/bob`
        ("bob", "q/+", false),
        ("bob", "q/other", true),
        ("bob", "r/#", true),
        ("bob", "+/+/+", true),
        ("bob", "$SYS/#", false),
        ("eve", "$SYS/#", true),
        ("eve", "$SYS/a/+", true),
        ("eve", "#", false),
        ("col", "+/x", true),
        ("col", "y/x", true),
        ("col", "$SYS/x", false),
        ("nobody", "p/c/x", true),
        ("nobody", "x", false),
    ];
    for (user, filter, allowed) in rows {
        let found = acl.may_subscribe(names("c", user), filter);
        assert_eq!(found, allowed, "{user} subscribes {filter}");
    }
}

/// MQTT 5.0, 4.7.1: `+/#` and `#` match the same topic names, and `$` begins none of them; one level
/// further down, `#` matches the level above, too.
#[test]
fn one_level_and_the_rest_is_everything() {
    let rows = [
        ("+/#", "#", true),
        ("#", "+/#", true),
        ("+/#", "a/#", true),
        ("+/#", "$SYS/#", false),
        ("+/+", "#", false),
        ("+", "#", false),
        ("+/+/#", "#", false),
        ("+/+/#", "+/#", false),
        ("a/+/#", "a/#", false),
        ("a/+/#", "#", false),
    ];
    for (rule, filter, covers) in rows {
        let acl = Acl::parse("acl", &format!("topic read {rule}\n")).unwrap();
        let found = acl.may_subscribe(names("c", ""), filter);
        assert_eq!(found, covers, "{filter} with a right to read {rule}");
        let text = format!("topic read #\ntopic read $SYS/#\ntopic deny {rule}\n");
        let acl = Acl::parse("acl", &text).unwrap();
        let found = acl.may_receive_some(names("c", ""), filter);
        assert_eq!(found, !covers, "{filter} with a denial of {rule}");
    }
}

#[test]
fn all_problems_at_once() {
    let text =
        "user\nuser x\nsubject a\ntopic\ntopic read\ntopic reed a\npattern a/#/b\ntopic a+\n\
                pattern read $share/g/a\ntopic read fine\n";
    let problems = Acl::parse("acl", text).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let parts = [
        "acl:1: user is without a name",
        "acl:3: \"subject\" is none of user, topic and pattern",
        "acl:4: the topic is missing",
        "acl:5: the topic is missing",
        "acl:6: \"reed\" is none of read",
        "acl:7: # does not stand alone",
        "acl:8: + does not fill",
        "acl:9: shared subscriptions",
    ];
    assert_eq!(shown.len(), parts.len(), "{shown:#?}");
    for (shown, part) in shown.iter().zip(parts) {
        assert!(shown.starts_with(part), "{shown}");
    }
}

#[test]
fn changes_are_seen_per_user() {
    let one = Acl::parse("acl", "topic a\nuser ann\ntopic b\nuser bob\ntopic c\n").unwrap();
    let two = Acl::parse(
        "acl",
        "topic a\nuser bob\ntopic c\nuser ann\ntopic read b\n",
    )
    .unwrap();
    assert!(one.is_same_for(&two, None));
    assert!(one.is_same_for(&two, Some("bob")));
    assert!(one.is_same_for(&two, Some("nobody")));
    assert!(!one.is_same_for(&two, Some("ann")));
    let three = Acl::parse("acl", "topic a\nuser bob\ntopic c\npattern x/%u\n").unwrap();
    assert!(!two.is_same_for(&three, None));
}

/// A rule as the naive model has it: a list.
#[derive(Clone, Debug)]
struct Rule {
    access: &'static str,
    is_pattern: bool,
    filter: String,
}

const USER: &str = "u";
const CLIENT: &str = "c";

impl Rule {
    fn line(&self) -> String {
        let word = if self.is_pattern { "pattern" } else { "topic" };
        format!("{word} {} {}\n", self.access, self.filter)
    }

    /// With the names put in; these names are harmless.
    fn expanded(&self) -> String {
        if self.is_pattern {
            self.filter.replace("%c", CLIENT).replace("%u", USER)
        } else {
            self.filter.clone()
        }
    }
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let access = prop::sample::select(vec!["read", "write", "readwrite", "deny"]);
    let rule = (access, any::<bool>(), filter()).prop_map(|(access, is_pattern, filter)| Rule {
        access,
        is_pattern,
        filter,
    });
    prop::collection::vec(rule, 0..7)
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "c", "u", "+", "%c", "%u", "x%c", "$d", ""]);
    let levels = prop::collection::vec(level, 1..4);
    let filter = (levels, 0..3).prop_map(|(levels, end)| match end {
        0 => format!("{}/#", levels.join("/")),
        1 => "#".to_owned(),
        _ => levels.join("/"),
    });
    filter.prop_filter("valid", |filter| topic::check_filter(filter).is_ok())
}

/// Every topic that three levels of these names can make.
fn topics() -> Vec<String> {
    let levels = [
        "a", "b", "c", "u", "z", "xc", "xz", "$d", "", "%c", "%u", "x%c",
    ];
    let mut topics: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
    for _ in 0..3 {
        let longer: Vec<String> = topics
            .iter()
            .filter(|topic| topic::levels(topic) < 4)
            .flat_map(|topic| levels.map(|level| format!("{topic}/{level}")))
            .collect();
        topics.extend(longer);
        topics.sort();
        topics.dedup();
    }
    topics.retain(|topic| topic::is_valid_name(topic));
    topics
}

fn model(rules: &[Rule], topic: &str, wanted: &str) -> bool {
    let fitting = rules
        .iter()
        .filter(|rule| topic::matches(&rule.expanded(), topic));
    let fitting: Vec<&str> = fitting.map(|rule| rule.access).collect();
    !fitting.contains(&"deny") && fitting.iter().any(|a| *a == wanted || *a == "readwrite")
}

#[test]
fn subscriptions_when_deliveries_are_checked() {
    let text = "\
user ann
topic read #
topic read $SYS/#
topic deny a/x
topic deny b/#
topic deny c/+
topic write w
pattern deny own/%u/#
user bob
topic read $SYS/#
topic read x
topic deny #
";
    let acl = Acl::parse("acl", text).unwrap();
    let rows = [
        ("ann", "#", true),
        ("ann", "a/#", true),
        ("ann", "a/+", true),
        ("ann", "a/x", false),
        ("ann", "a/x/#", true), // a/x alone is denied
        ("ann", "b", false),
        ("ann", "b/#", false),
        ("ann", "b/+/x", false),
        ("ann", "+/x", true),
        ("ann", "c/+", false),
        ("ann", "c/1", false),
        ("ann", "c/#", true),
        ("ann", "own/ann/x", false),
        ("ann", "own/+/x", true),
        ("ann", "own/bob/x", true),
        ("ann", "$SYS/#", true),
        ("bob", "x", false),
        ("bob", "#", false),
        ("bob", "$SYS/x", true),
    ];
    for (user, filter, allowed) in rows {
        let found = acl.may_receive_some(names("c", user), filter);
        assert_eq!(found, allowed, "{user} subscribes {filter}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 48 } else { 2_000 }))]

    /// Against a list of rules and every topic of a small world.
    #[test]
    fn like_a_list_of_rules(rules in rules(), asked in filter()) {
        let lines: String = rules.iter().map(Rule::line).collect();
        let acl = Acl::parse("acl", &format!("user {USER}\n{lines}")).unwrap();
        let who = names(CLIENT, USER);
        let asked = asked.replace("%c", "z").replace("%u", "z");
        let mut reads_all = true;
        let mut reads_some = false;
        let mut denied_some = false;
        let topics = topics();
        for topic in &topics {
            let topic = topic.as_str();
            let reads = model(&rules, topic, "read");
            prop_assert_eq!(acl.may_publish(who, topic), model(&rules, topic, "write"), "{}", topic);
            prop_assert_eq!(acl.may_receive(who, topic), reads, "{}", topic);
            if topic::matches(&asked, topic) {
                reads_all &= reads;
                reads_some |= reads;
                denied_some |= rules.iter().any(|rule| {
                    rule.access == "deny" && topic::matches(&rule.expanded(), topic)
                });
            }
        }
        // Sound: what is granted may be read, every topic of it.
        let granted = acl.may_subscribe(who, &asked);
        prop_assert!(!granted || reads_all, "{} is granted", asked);
        // Complete: refused only for a denial, or when no single rule covers it.
        let covers = |rule: &Rule| {
            let fits = |topic: &String| {
                !topic::matches(&asked, topic) || topic::matches(&rule.expanded(), topic)
            };
            let same_end = !asked.ends_with('#') || rule.expanded().ends_with('#');
            same_end && topics.iter().all(fits)
        };
        let reads = |rule: &&Rule| matches!(rule.access, "read" | "readwrite");
        let covered = rules.iter().filter(reads).any(covers);
        prop_assert_eq!(granted, covered && !denied_some, "{}", asked);
        // With a check of each delivery: whatever may bring something, and nothing that is denied whole.
        let some = acl.may_receive_some(who, &asked);
        prop_assert!(some || !reads_some, "{}", asked);
        let denied_all = rules.iter().filter(|rule| rule.access == "deny").any(covers);
        prop_assert!(!(some && denied_all), "{} is granted", asked);
    }
}
