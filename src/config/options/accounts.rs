//! Options of authentication and authorization.

use super::{count, opt, Access, Opt, U32};
use crate::config::kind::{Kind, Value};
use crate::time::Span;

const GROUP: &str = "Accounts";

const FILE: Kind = Kind::Text("the name of a file");

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "password-file"),
        FILE,
        text!(auth.password_file),
        (
            "File of user names and hashed passwords, as mosquitto_passwd writes it",
            "Made with `ringmq passwd`. With it (or another way to log in) clients without \
             credentials are refused, unless allow-anonymous is set. SIGHUP reads it again.",
        ),
    ),
    opt(
        (GROUP, "acl-file"),
        FILE,
        text!(auth.acl_file),
        (
            "What clients may publish and subscribe to, in Mosquitto's format",
            "With it everything is refused that no rule allows. A `deny` wins over every other \
             rule. SIGHUP reads it again; subscriptions it no longer allows end.",
        ),
    ),
    opt(
        (GROUP, "acl-check-delivery"),
        Kind::Boolean,
        boolean!(auth.acl_check_delivery),
        (
            "Check each delivery; subscriptions may then reach beyond the rules",
            "Off: a filter is allowed if everything it matches may be read, and deliveries cost \
             nothing. On: as Mosquitto does, a filter is allowed if something of it may be read, and \
             each message is checked for each receiver.",
        ),
    ),
    opt(
        (GROUP, "acl-disconnect"),
        Kind::Boolean,
        boolean!(auth.acl_disconnect),
        (
            "Disconnect a client that publishes or subscribes to what it may not",
            "Off: a 5.0 client is told 0x87; for a 3.1.1 client a publication is acknowledged and \
             goes nowhere, a subscription is answered with 0x80.",
        ),
    ),
    opt(
        (GROUP, "scram-file"),
        FILE,
        text!(auth.scram_file),
        (
            "Credentials for SCRAM-SHA-256, the enhanced authentication of 5.0",
            "Made with `ringmq passwd --scram`. SIGHUP reads it again.",
        ),
    ),
    opt(
        (GROUP, "jwt-key-file"),
        FILE,
        text!(auth.jwt_key_file),
        (
            "Public key (PEM) or key set (JWKS) of who signs JSON web tokens",
            "A token comes as the password of CONNECT; the user name is then the token's, whatever \
             CONNECT says. When it expires its connection ends. SIGHUP reads it again.",
        ),
    ),
    opt(
        (GROUP, "jwt-secret-file"),
        FILE,
        text!(auth.jwt_secret_file),
        (
            "Secret of JSON web tokens signed with HMAC (HS256, HS384, HS512)",
            "At least 32 bytes; a line break at the end is not part of it. SIGHUP reads it again.",
        ),
    ),
    opt(
        (GROUP, "jwt-issuer"),
        Kind::Text("a name"),
        text!(auth.jwt.issuer),
        ("What a token's `iss` must be", "\"\" takes any issuer whose key is known."),
    ),
    opt(
        (GROUP, "jwt-audience"),
        Kind::Text("a name"),
        text!(auth.jwt.audience),
        (
            "What a token's `aud` must be or contain",
            "\"\" takes tokens that were made for others, too.",
        ),
    ),
    opt(
        (GROUP, "jwt-user-claim"),
        Kind::Whole("the name of a claim"),
        Access(
            |checked| Value::Text(checked.auth.jwt.user_claim.clone()),
            |checked, value| checked.auth.jwt.user_claim = value.text().unwrap_or_default(),
        ),
        ("The claim that is the user name", "A token without it is refused."),
    ),
    opt(
        (GROUP, "jwt-acl-claim"),
        Kind::Text("the name of a claim"),
        Access(
            |checked| Value::Text(checked.auth.jwt.acl_claim.clone()),
            |checked, value| checked.auth.jwt.acl_claim = value.text().unwrap_or_default(),
        ),
        (
            "The claim with lists of filters to `publish` and to `subscribe`",
            "A token that has it brings its own rules, which take the place of acl-file.",
        ),
    ),
    opt(
        (GROUP, "http-hook-url"),
        Kind::Text("a URL starting with http:// or https://"),
        Access(
            |checked| Value::Text(checked.hook.url.clone()),
            |checked, value| checked.hook.url = value.text().unwrap_or_default(),
        ),
        (
            "A service that is asked about logins",
            "It gets a POST with client_id, user, password and address as JSON and answers \
             {\"result\": \"allow\"} or \"deny\", maybe with `user` and `acl`. Users of password-file \
             are not asked about.",
        ),
    ),
    opt(
        (GROUP, "http-hook-acl-url"),
        Kind::Text("a URL starting with http:// or https://"),
        Access(
            |checked| Value::Text(checked.acl_hook_url.clone()),
            |checked, value| checked.acl_hook_url = value.text().unwrap_or_default(),
        ),
        (
            "A service that is asked what clients may publish and subscribe to",
            "It gets a POST with action (\"publish\" or \"subscribe\"), topics, client_id, user and address \
             as JSON and answers {\"result\": \"allow\"}, \"deny\" or a list of them. What acl-file refuses is not \
             asked; nor is a client whose token or login has brought rules. A client waits for the answer, \
             the others do not.",
        ),
    ),
    opt(
        (GROUP, "http-hook-ca"),
        FILE,
        text!(auth.hook_ca_file),
        (
            "Authorities (PEM) of https hooks, in place of those that browsers know",
            "For a service whose certificate is signed by an authority of your own. SIGHUP reads it again.",
        ),
    ),
    opt(
        (GROUP, "http-hook-timeout"),
        Kind::Seconds {
            min: 1,
            max: 60,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.hook.timeout.as_secs()),
            |checked, value| checked.hook.timeout = Span::from_secs(value.number()),
        ),
        (
            "Time for the hook to answer",
            "After it the hook counts as down. Clients wait for at most connect-timeout.",
        ),
    ),
    opt(
        (GROUP, "http-hook-cache"),
        Kind::Seconds {
            min: 0,
            max: 86_400,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.hook.cache.as_secs()),
            |checked, value| checked.hook.cache = Span::from_secs(value.number()),
        ),
        (
            "How long an answer of a hook counts for the same question",
            "A password that was revoked still opens the broker for so long. What a client may do counts for \
             its connection. 0 asks each time.",
        ),
    ),
    opt(
        (GROUP, "http-hook-when-down"),
        Kind::Choice(&["deny", "allow"]),
        Access(
            |checked| {
                Value::Choice(if checked.hook.allow_when_down { "allow" } else { "deny" })
            },
            |checked, value| checked.hook.allow_when_down = value.choice() == "allow",
        ),
        (
            "What counts while a hook does not answer",
            "\"allow\" lets anybody in under any name, and do anything, as long as the hook is down. \"deny\" \
             refuses logins with 0x88, publications and subscriptions with 0x83; a 3.1.1 client that \
             publishes with QoS 1 or 2 is disconnected then, so that it sends it again.",
        ),
    ),
    opt(
        (GROUP, "login-queue-max"),
        count(1, 1_000_000),
        number!(run.login_queue_max),
        (
            "Logins that may wait to be judged",
            "One more is refused with 0x97 (3.1.1: server unavailable). Connected clients do not \
             wait for logins.",
        ),
    ),
    opt(
        (GROUP, "ban-failures"),
        count(0, U32),
        number!(run.bans.failures),
        (
            "Failed logins that ban a source address",
            "An IPv6 source is the first half of its address. 0 bans nobody, which may be right \
             where all clients come through one proxy.",
        ),
    ),
    opt(
        (GROUP, "ban-within"),
        Kind::Seconds {
            min: 1,
            max: 86_400,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.run.bans.within.as_secs()),
            |checked, value| checked.run.bans.within = Span::from_secs(value.number()),
        ),
        ("Time in which they must have failed", "Slower guesses are not noticed."),
    ),
    opt(
        (GROUP, "ban-time"),
        Kind::Seconds {
            min: 1,
            max: 2_592_000,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.run.bans.span.as_secs()),
            |checked, value| checked.run.bans.span = Span::from_secs(value.number()),
        ),
        (
            "How long a source address is banned",
            "Its connections are closed at once. It starts anew with each restart.",
        ),
    ),
];
