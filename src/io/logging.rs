//! Log lines on standard error.

use tracing_subscriber::filter::LevelFilter;

use crate::shard::Notice;

/// Starts logging at a level; call once.
pub fn start(level: tracing::Level) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::from_level(level))
        .with_target(false)
        .init();
}

/// Shows a notice of a shard, which has limited their rate already.
pub(super) fn notice(notice: &Notice) {
    let client_id = notice.client_id.as_deref().unwrap_or("-");
    let address = notice
        .address
        .map_or_else(|| "-".to_string(), |address| address.to_string());
    if notice.suppressed > 0 {
        tracing::info!(
            client_id,
            address,
            suppressed = notice.suppressed,
            "{}",
            notice.text
        );
    } else {
        tracing::info!(client_id, address, "{}", notice.text);
    }
}
