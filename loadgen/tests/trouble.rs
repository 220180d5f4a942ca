//! Trouble is told in sentences.

use crate::mqload;

#[test]
fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = free.local_addr().unwrap().to_string();
    drop(free);
    let (text, success) = mqload(&[
        "pairs",
        "--clients",
        "2",
        "--target",
        &target,
        "--duration",
        "1s",
    ]);
    assert!(!success);
    assert!(
        text.contains("refused the connection: is the broker running there?"),
        "{text}"
    );
}

#[test]
fn options_that_contradict_each_other() {
    for (arguments, sentence) in [
        (
            &["fan-in", "--window", "5"][..],
            "--window needs --qos 1 or 2",
        ),
        (&["fan-in", "--target", "nowhere"], "give HOST:PORT"),
        (&["backlog-drain"], "needs --qos 1 or 2"),
        (
            &["fan-in", "--threads", "0"],
            "--threads must be at least 1",
        ),
    ] {
        let (text, success) = mqload(arguments);
        assert!(!success);
        assert!(text.contains(sentence), "{text}");
    }
}
