//! Options of the log.

use super::{opt, Access, Opt};
use crate::config::kind::{Kind, Value};
use crate::run_options::LogFormat;

const GROUP: &str = "Logging";

pub(super) static OPTIONS: &[Opt] = &[LEVEL, FORMAT];

const FORMAT: Opt = opt(
    (GROUP, "log-format"),
    Kind::Choice(&["text", "json"]),
    Access(
        |checked| {
            Value::Choice(match checked.run.log_format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            })
        },
        |checked, value| {
            checked.run.log_format = match value.choice() {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            }
        },
    ),
    (
        "What log lines look like",
        "\"text\" is for people; where journald reads standard error, it comes with priorities and without the \
         time, which journald has. \"json\" is one object per line.",
    ),
);

const LEVEL: Opt = opt(
    (GROUP, "log-level"),
    Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
    Access(
        |checked| {
            Value::Choice(match checked.log_level {
                tracing::Level::ERROR => "error",
                tracing::Level::WARN => "warn",
                tracing::Level::INFO => "info",
                tracing::Level::DEBUG => "debug",
                tracing::Level::TRACE => "trace",
            })
        },
        |checked, value| {
            checked.log_level = match value.choice() {
                "error" => tracing::Level::ERROR,
                "warn" => tracing::Level::WARN,
                "debug" => tracing::Level::DEBUG,
                "trace" => tracing::Level::TRACE,
                _ => tracing::Level::INFO,
            }
        },
    ),
    (
        "Least important log line written to stderr",
        "\"info\" tells of start, stop and what was refused or dropped; \"debug\" adds every \
             connection; \"trace\" is for looking for a fault, and alone shows what libraries say, without a \
             limit.",
    ),
);
