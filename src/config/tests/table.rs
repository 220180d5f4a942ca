//! The table of options itself.

use super::*;

/// Ranges fit their fields, and every value comes back from its text as it was.
#[test]
fn every_value_of_every_option_survives_set_get_and_text() {
    for Opt {
        name,
        kind,
        get,
        set,
        ..
    } in options::all()
    {
        for value in ends(*kind) {
            let mut checked = Checked::default();
            set(&mut checked, value.clone());
            assert_eq!(get(&checked), value, "{name}");

            let text = kind.write(&value);
            let mut problems = Vec::new();
            let given = file::parse(&"f".into(), &format!("{name} = {text}"), &mut problems);
            assert_eq!(problems, [], "{name} = {text}");
            assert_eq!(
                kind.read(&given.given[0].value),
                Ok(value),
                "{name} = {text}"
            );
        }
    }
}

/// The first value of each option that is not its default.
fn changed(option: &Opt) -> Value {
    let default = (option.get)(&Checked::default());
    ends(option.kind)
        .into_iter()
        .find(|value| *value != default)
        .unwrap()
}

#[test]
fn every_option_can_be_set_from_both_sides() {
    for option in options::all() {
        let text = option.kind.write(&changed(option));
        let value = |checked: &Checked| (option.get)(checked);
        let mut problems = Vec::new();
        let given = file::parse(
            &"f".into(),
            &format!("{} = {text}", option.name),
            &mut problems,
        );
        let from_file = check(&given.given, &[], &[], &mut Vec::new()).checked;
        assert_eq!(value(&from_file), changed(option), "{}", option.name);

        let words = text.trim_matches(['[', ']']).split(", ");
        let args = words.map(|word| format!("--{}={}", option.name, word.trim_matches('"')));
        let args = std::iter::once("ringmq".to_owned())
            .chain(args)
            .map(OsString::from);
        let cli::Parsed::Options(from_line) = cli::parse(args, &mut problems) else {
            panic!("{}", option.name);
        };
        assert_eq!(problems, [], "{}", option.name);
        let from_line = check(&from_line.given, &[], &[], &mut Vec::new()).checked;
        assert_eq!(value(&from_line), changed(option), "{}", option.name);
    }
}

/// A field added to `Limits` does not compile here until it is named, and fails until it can be set.
#[test]
fn every_limit_is_an_option() {
    let mut checked = Checked::default();
    for option in options::all() {
        (option.set)(&mut checked, changed(option));
    }
    let default = Limits::default();
    macro_rules! all_differ {
        ($($field:ident),+) => {
            let Limits { $($field),+ } = checked.limits;
            $(assert_ne!($field, default.$field, stringify!($field));)+
        };
    }
    all_differ!(
        packet_size_max,
        connect_timeout_s,
        keep_alive_max_s,
        outgoing_window_max,
        receive_maximum,
        queue_messages_max,
        queue_bytes_max,
        queue_policy,
        queue_memory,
        queue_qos0,
        topic_levels_max,
        topic_alias_maximum,
        topic_alias_outgoing_max,
        topic_alias_bytes_max,
        subscriptions_max,
        subscription_bytes_max,
        client_id_bytes_max,
        session_expiry_max_s,
        connections_max,
        sessions_max,
        retained_messages_max,
        retained_bytes_max,
        outgoing_bytes_max,
        client_rates,
        listener_rates,
        rate_burst_s,
        disk_full_timeout_s,
        half_open_max,
        sparkplug,
        sparkplug_ndeath_timestamp,
        sparkplug_states_max
    );
}

#[test]
fn table_is_orderly() {
    let names: BTreeSet<_> = options::all().map(|option| option.name).collect();
    assert_eq!(names.len(), options::all().count(), "a name is used twice");
    let mut groups: Vec<_> = options::all().map(|option| option.group).collect();
    groups.dedup();
    let distinct: BTreeSet<_> = groups.iter().collect();
    assert_eq!(distinct.len(), groups.len(), "a group is in two places");
    for Opt {
        name,
        help,
        reason,
        kind,
        get,
        ..
    } in options::all()
    {
        assert!(!help.ends_with('.') && help.len() <= 70, "{name}: help");
        assert!(reason.ends_with('.'), "{name}: reason");
        let default = Typed::Word(kind.write(&get(&Checked::default())).replace('"', ""));
        let list = kind.is_list();
        assert!(
            list || kind.read(&default).is_ok(),
            "{name}: the default is not allowed"
        );
    }
}

/// A new option does not pass here until it is in one list, and in no other.
#[test]
fn each_option_is_in_one_class() {
    let mut named = classes::named();
    let mut options: Vec<_> = options::all().map(|option| option.name).collect();
    named.sort_unstable();
    options.sort_unstable();
    assert_eq!(named, options);
}

#[test]
fn the_page_of_options_is_the_rendered_table() {
    let path = root("docs/configuration.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != render::page() {
        std::fs::write(&path, render::page()).unwrap();
        panic!("docs/configuration.md was out of date: it has been written anew");
    }
}

/// What needs a restart stays as it is, and everything else is taken.
#[test]
fn a_change_is_told_by_its_class() {
    for option in options::all() {
        let mut read = Checked::default();
        (option.set)(&mut read, changed(option));
        let change = Change::between(&Checked::default(), &read);
        let [line] = &change.lines[..] else {
            panic!("{}: {:?}", option.name, change.lines);
        };
        let (line, is_named) = (&line.text, line.needs_restart);
        assert!(line.starts_with(option.name), "{line}");
        let needs_restart = Class::of(option.name) == Class::Restart;
        assert_eq!(line.contains("needs a restart"), needs_restart, "{line}");
        assert_eq!(is_named, needs_restart, "{line}");
        assert_eq!(
            change.in_force == Checked::default(),
            needs_restart,
            "{line}"
        );
        assert!(Change::between(&read, &read).lines.is_empty());
    }
}

#[test]
fn shipped_file_is_the_rendered_table() {
    let shipped = std::fs::read_to_string(root("ringmq.toml")).unwrap();
    assert!(
        shipped == render::example(),
        "ringmq.toml is out of date; run: cargo run -- --print-config-example > ringmq.toml"
    );
    assert!(shipped.lines().all(|line| line.len() <= 90));
    // As it ships, and with every line turned on, it yields the defaults.
    assert_eq!(file(&shipped), Ok(Checked::default()));
    let turned_on: String = shipped
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(turned_on.matches("\nshards = ").count(), 1);
    assert_eq!(file(&turned_on), Ok(Checked::default()));
}
