//! Routing of publications to subscribers: the topic index, shared groups, retained messages. Pure;
//! independent of sessions' state and shards' queues.
//!
//! Every shard holds a replica of the index and writes only its own.

mod ahead;
mod cache;
mod destinations;
mod filters;
mod groups;
mod index;
mod interests;
mod merge;
mod names;
mod retained;
mod retained_levels;
mod route;
mod shapes;
mod subscribers;
mod table;
mod tree;

pub use destinations::{Destination, Destinations, Interest};
pub use groups::{GroupKey, Member};
pub use index::{Added, Removed, TopicIndex};
pub use retained::{is_status, Full, Piece, RetainedStore, WalkBudget};
pub use retained_levels::RetainedLevel;
pub use route::{Grant, Route, Target, Targets};
pub use subscribers::Subscription;
