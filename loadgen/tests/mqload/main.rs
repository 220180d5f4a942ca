//! The program against real brokers and against stubs that do wrong on purpose.

mod process;
mod scenarios;
mod stub;
mod truth;
