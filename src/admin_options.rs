//! Options of the admin listener: one value, which goes whole from the table of options to `admin`.

use crate::listener::Address;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminOptions {
    /// Empty: there is no admin listener.
    pub listen: Vec<Address>,
    /// Accounts that may look and change.
    pub admins: Vec<String>,
    /// Accounts that may look.
    pub viewers: Vec<String>,
    /// Hashed bearer tokens.
    pub token_file: Option<String>,
    /// PEM; with it all admin listeners on IP addresses speak TLS.
    pub certificate: Option<String>,
    pub key: Option<String>,
    /// Authorities of client certificates; with it clients need one.
    pub client_ca: Option<String>,
    /// /metrics has the names of mosquitto-exporter, too.
    pub metrics_of_mosquitto: bool,
    /// The whole configuration, to be shown.
    pub in_force: Vec<InForce>,
}

/// One option of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    pub name: String,
    /// In the syntax of the file.
    pub value: String,
    /// Where it was given.
    pub origin: String,
}

impl AdminOptions {
    /// Files that are read again.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let files = [
            &self.token_file,
            &self.certificate,
            &self.key,
            &self.client_ca,
        ];
        files.into_iter().filter_map(Option::as_deref)
    }

    /// There is a way to log in.
    #[must_use]
    pub fn has_logins(&self) -> bool {
        self.token_file.is_some() || self.has_accounts()
    }

    /// Accounts of the password file have a role.
    #[must_use]
    pub fn has_accounts(&self) -> bool {
        !(self.admins.is_empty() && self.viewers.is_empty())
    }
}
