//! Settings of a listener of MQTT-SN.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{ClientIds, Predefined};

/// Of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Section 5.3.5.
    pub gateway_id: u8,
    /// The group that stands for all of a network; `None`: there is none.
    pub multicast: Option<SocketAddr>,
    /// From one ADVERTISE to the next; `None`: none is sent.
    pub advertise_s: Option<u16>,
    /// Largest datagram taken and sent.
    pub datagram_max: u16,
    /// T_RETRY, section 6.13.
    pub retry_s: u16,
    /// N_RETRY.
    pub retries: u8,
    /// From one retained message at QoS 0 to the next; 0: they are sent at once.
    pub pace_ms: u16,
    /// Longest sleep.
    pub sleep_max_s: u16,
    /// Topics of one client that have an id.
    pub topics_max: u16,
    /// Datagrams per second of one source address; `None`: as many as come.
    pub datagram_rate_source: Option<u32>,
    /// The user for whom QoS -1 is published; `None`: it is not taken.
    pub minus_one_user: Option<Box<str>>,
    /// Forwarders may pass on messages of nodes.
    pub forwarders: bool,
    pub address_change: AddressChange,
    /// As configured.
    pub clients_file: Option<PathBuf>,
    /// What was in it; `None`: every client id may come.
    pub clients: Option<Arc<ClientIds>>,
    /// As configured.
    pub predefined_file: Option<PathBuf>,
    /// What was in it.
    pub predefined: Arc<Predefined>,
}

/// Whether a client may continue from another address with a PINGREQ that names it: a stranger with its id
/// can, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressChange {
    #[default]
    Never,
    /// When it is asleep.
    Asleep,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gateway_id: 1,
            multicast: None,
            advertise_s: None,
            datagram_max: 1_024,
            retry_s: 10,
            retries: 4,
            pace_ms: 20,
            sleep_max_s: u16::MAX,
            topics_max: 1_000,
            datagram_rate_source: None,
            minus_one_user: None,
            forwarders: false,
            address_change: AddressChange::Never,
            clients_file: None,
            clients: None,
            predefined_file: None,
            predefined: Arc::default(),
        }
    }
}
