//! Rare parts of a connection: aliases, meters, a login, a trace. Allocated for those that have one: all others take a
//! pointer.

use crate::session::{AliasesIn, AliasesOut};
use crate::shard::access::login_state::Login;
use crate::shard::clients::meters::ClientMeters;
use crate::shard::clients::trace::Trace;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::shard) struct Rare {
    pub(in crate::shard) aliases_out: Option<Box<AliasesOut>>,
    pub(in crate::shard) aliases_in: Option<Box<AliasesIn>>,
    /// When rates are limited and it is live.
    pub(in crate::shard) meters: Option<Box<ClientMeters>>,
    /// State of its authentication, when it needs or needed one.
    pub(in crate::shard) login: Option<Box<Login>>,
    /// For the log, when connections are traced one by one.
    pub(in crate::shard) trace: Option<Box<Trace>>,
}

const NONE: &Rare = &Rare {
    aliases_out: None,
    aliases_in: None,
    meters: None,
    login: None,
    trace: None,
};

/// Of one connection.
#[derive(Debug, Default)]
pub(in crate::shard) struct RareParts(Option<Box<Rare>>);

impl RareParts {
    #[inline]
    pub(in crate::shard) fn get(&self) -> &Rare {
        self.0.as_deref().unwrap_or(NONE)
    }

    /// `None`: there is none of it.
    #[inline]
    pub(in crate::shard) fn get_mut(&mut self) -> Option<&mut Rare> {
        self.0.as_deref_mut()
    }

    pub(in crate::shard) fn set_meters(&mut self, meters: Option<Box<ClientMeters>>) {
        if self.0.is_some() || meters.is_some() {
            self.make().meters = meters;
        }
    }

    pub(in crate::shard) fn set_aliases_out(&mut self, aliases: Option<Box<AliasesOut>>) {
        if self.0.is_some() || aliases.is_some() {
            self.make().aliases_out = aliases;
        }
    }

    /// To set a part.
    pub(in crate::shard) fn make(&mut self) -> &mut Rare {
        self.0.get_or_insert_default()
    }

    pub(in crate::shard) fn login_mut(&mut self) -> Option<&mut Login> {
        self.0.as_mut()?.login.as_deref_mut()
    }

    /// Takes the login out.
    pub(in crate::shard) fn take_login(&mut self) -> Option<Box<Login>> {
        let login = self.0.as_mut()?.login.take();
        self.rest();
        login
    }

    #[inline]
    pub(in crate::shard) fn meters_mut(&mut self) -> Option<&mut ClientMeters> {
        self.0.as_mut()?.meters.as_deref_mut()
    }

    /// Takes the meters out.
    pub(in crate::shard) fn take_meters(&mut self) -> Option<Box<ClientMeters>> {
        let meters = self.0.as_mut()?.meters.take();
        self.rest();
        meters
    }

    /// Frees the aliases of both ways.
    pub(in crate::shard) fn drop_aliases(&mut self) {
        if let Some(rare) = self.get_mut() {
            (rare.aliases_in, rare.aliases_out) = (None, None);
        }
        self.rest();
    }

    #[inline]
    pub(in crate::shard) fn aliases_out_mut(&mut self) -> Option<&mut AliasesOut> {
        self.0.as_mut()?.aliases_out.as_deref_mut()
    }

    /// Frees the place of what is not there.
    fn rest(&mut self) {
        self.0.take_if(|rare| {
            rare.aliases_out.is_none()
                && rare.aliases_in.is_none()
                && rare.meters.is_none()
                && rare.login.is_none()
                && rare.trace.is_none()
        });
    }
}
