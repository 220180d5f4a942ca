//! Authentication and authorization of clients: rules as values.
//!
//! Everything here is pure: the files arrive as text (only [`load`] reads them), the time and random
//! bytes come from the caller, and nothing waits. Work that takes a core for a while (hashing a
//! password, verifying a signature) is one call, [`Rules::answer`], which `io` makes on threads of its
//! own; what a shard asks for each publication and subscription, [`Acl`], takes nanoseconds. What a
//! service decides instead ([`Request`], [`AuthzDecisions`]) is asked by `io`, too.
//!
//! ```text
//! password file ─┐                    ┌─ CONNECT, AUTH ─► Question ─► Rules::answer ─► Verdict
//! ACL file ──────┼─► load ─► Rules ───┤                                              (user, ACL)
//! JWT keys ──────┤                    └─ PUBLISH, SUBSCRIBE, will ─► Acl::may_* ─► yes | no
//! SCRAM file ────┘
//! ```

mod acl;
mod ban;
mod decision;
mod decisions;
mod hook;
mod jwt;
mod load;
mod login;
mod operator_bans;
mod password;
mod problem;
mod rules;
mod scram;

pub use acl::{Acl, Names};
pub use ban::{BanTable, BanTerms};
pub use decision::{
    without_repeats, Access, AuthzDecision, AuthzDecisions, KnownDecisions, Request,
    DECIDED_TOPIC_BYTES_MAX, DECISIONS_KEPT_MAX,
};
pub use decisions::Decisions;
pub use hook::{HookAnswer, HookCache, HookTerms, Inquiry, HOOK_ANSWER_MAX};
pub use jwt::{JwtTerms, TokenError, Tokens};
pub use load::{load, Files};
pub use login::{Challenge, Identity, Question, Refusal, Verdict};
pub use operator_bans::OperatorBans;
pub use password::{Hash, HashKind, Passwords};
pub(crate) use problem::without_mark;
pub use problem::FileProblem;
pub use rules::{Answer, Facts, Rules};
pub use scram::{Credential, Exchange, ScramFile, METHOD as SCRAM_METHOD};
