//! Authentication of a client: from CONNECT to the verdict, and re-authentication by AUTH after it.
//!
//! ```text
//! CONNECT ─┬─ nothing to prove, or known by its certificate ─────────────► CONNACK
//!          ├─ user name and password ─► Action::Authenticate ─► verdict ─► CONNACK
//!          └─ method ─► [AUTH ◄─] Action::Authenticate ─► verdict ─► AUTH ... CONNACK
//! AUTH 0x19 on a live connection ─► Action::Authenticate ─► verdict ─► AUTH 0x18 ... AUTH 0x00
//! ```
//!
//! The CONNECT is kept (`pending_connect`) until it can be answered. While the first verdict is awaited
//! nothing more is read; a client that re-authenticates is served as before [MQTT-4.12.1-1].

use crate::auth::{Challenge, Identity, Question, Refusal, Verdict};
use crate::ids::{ConnectionId, SessionId};
use crate::listener::{Authentication, ListenerPolicy};
use crate::mqtt::frame::Frame;
use crate::mqtt::{decode, encode, Auth, Connect, Packet, ReasonCode, Sender, Version, Violation};
use crate::mutant::{is_on, Mutant};
use crate::shard::access::login_state::{Login, Stage};
use crate::shard::access::Access;
use crate::shard::clients::flow::Flow;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::phase::Phase;
use crate::shard::clients::Clients;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::{Action, Shard};
use crate::time::Time;

/// What an AUTH or CONNACK takes besides method and data, at most.
const AUTH_OVERHEAD_BYTES: usize = 64;

/// What a CONNECT leads to.
pub(in crate::shard) enum Admission {
    Known(Identity),
    Ask(Challenge),
    /// The method is supported; the client has yet to send its first message.
    Begin,
    Refused(Violation),
}

impl Access {
    /// Admission of a CONNECT by the rules, before authentication.
    pub(in crate::shard) fn admission(
        &self,
        policy: &ListenerPolicy,
        certified: Option<&str>,
        connect: &Connect<'_>,
    ) -> Admission {
        let rules = &self.rules;
        if let Some(method) = connect.properties.authentication_method {
            if !rules.takes_method(method) {
                // [MQTT-4.12.0-1]
                return Admission::Refused(match rules.scram {
                    Some(_) => Violation::MethodNotOffered,
                    None => Violation::NoMethodOffered,
                });
            }
            return match connect.properties.authentication_data {
                Some(data) => Admission::Ask(Challenge::ScramFirst(data.into())),
                None => Admission::Begin,
            };
        }
        if let Some(user) = certified {
            return Admission::Known(came_by(policy, Identity::of(user))); // by its certificate
        }
        let has_credentials = connect.user_name.is_some() || connect.password.is_some();
        if rules.takes_passwords(&policy.files) && has_credentials {
            Admission::Ask(Challenge::Password {
                user: connect.user_name.map(Into::into),
                password: connect.password.map(Into::into),
            })
        } else if rules.takes_anonymous(policy.allow_anonymous, &policy.files)
            && policy.authentication == Authentication::Anonymous
        {
            // A user name without authentication is not an identity.
            Admission::Known(came_by(policy, Identity::default()))
        } else {
            Admission::Refused(Violation::CredentialsNeeded)
        }
    }
}

/// The same, bound by the rules of its listener.
fn came_by(policy: &ListenerPolicy, who: Identity) -> Identity {
    Identity {
        acl_file: policy.files.acl_file.clone(),
        ..who
    }
}

impl Shard {
    /// Keeps a CONNECT until its client is authenticated.
    pub(in crate::shard) fn await_proof(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        challenge: Option<Challenge>,
    ) -> Flow {
        let connection = self.clients.connection_mut(id);
        connection.phase = Phase::Authenticating;
        connection.version = connect.version;
        let method = connect.properties.authentication_method;
        connection.rare.make().login = Some(Box::new(Login {
            stage: Stage::First,
            method: method.map(Into::into),
            ..Login::proven(connect)
        }));
        match challenge {
            Some(challenge) => self.ask(id, connect.client_id, challenge),
            None => self.send_auth(id, ReasonCode::ContinueAuthentication, None), // [MQTT-4.12.0-2]
        }
        Flow::Continue
    }

    /// Requests a verdict; before CONNACK the connection is not read until it arrives.
    fn ask(&mut self, id: ConnectionId, client_id: &str, challenge: Challenge) {
        let listener = self.clients.connection(id).origin.listener;
        let password_file = self.config.policy(listener).files.password_file.clone();
        let connection = self.clients.connection_mut(id);
        if let Some(login) = connection.rare.login_mut() {
            login.stage = Stage::Judged;
        }
        if connection.phase == Phase::Authenticating {
            connection.holds.insert(Hold::Authentication);
        }
        let question = Question {
            client_id: client_id.into(),
            address: connection.origin.peer.ip(),
            password_file,
            challenge,
        };
        self.outbox
            .actions
            .push_back(Action::Authenticate(id, Box::new(question)));
    }

    /// The verdict on an [`Action::Authenticate`]. Ignored when it is not awaited.
    pub fn handle_authenticated(&mut self, id: ConnectionId, verdict: Verdict, now: Time) {
        let mut id = id;
        if is_on(Mutant::VerdictForNewer) {
            let mut others = self.clients.connections.ids().into_iter();
            id = others.find(|other| other.index == id.index).unwrap_or(id);
        }
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return; // closed meanwhile
        };
        let phase = connection.phase;
        match connection.rare.login_mut() {
            Some(login) if matches!(login.stage, Stage::Judged) => login.stage = Stage::Idle,
            _ => return,
        }
        connection.holds.remove(Hold::Authentication);
        match (phase, verdict) {
            (Phase::Closing | Phase::AwaitLayers | Phase::AwaitConnect, _) => return,
            (_, Verdict::Continue(exchange, data)) => {
                self.send_auth(id, ReasonCode::ContinueAuthentication, Some(&data));
                self.clients.set_stage(id, Stage::Final(exchange));
            }
            (Phase::Authenticating, Verdict::Accepted(who, data)) => {
                let listener = self.clients.connection(id).origin.listener;
                let who = came_by(self.config.policy(listener), who);
                self.connect_proven(id, who, data, now);
            }
            (Phase::Authenticating, Verdict::Refused(refusal, text)) => {
                self.outbox.stats.count_refused_login(refusal);
                self.refuse_login(id, broken_by(refusal), &text, now);
            }
            (Phase::Live(session), Verdict::Accepted(who, data)) => {
                self.proven_again(id, session, &who, &data, now);
            }
            (Phase::Live(_), Verdict::Refused(refusal, text)) => {
                self.outbox.stats.count_refused_login(refusal);
                let violation = match broken_by(refusal) {
                    Violation::LoginsBusy => Violation::LoginsBusy,
                    _ => Violation::ReauthenticationFailed,
                };
                self.outbox.stats.violations.count(&violation);
                self.end_connection(id, Some(violation.reason()), &text, now);
            }
        }
        self.resume_if_decided(id);
    }

    /// Continues the CONNECT that was kept; its will is allowed, or is checked against the ACL.
    pub(in crate::shard) fn connect_with_will(
        &mut self,
        id: ConnectionId,
        who: &Identity,
        data: &[u8],
        now: Time,
    ) {
        let Some(login) = self.clients.connection_mut(id).rare.login_mut() else {
            return; // it has ended
        };
        let Some(connect) = login.connect.take() else {
            return; // it has been answered
        };
        let method = login.method.clone();
        self.enter(id, &connect.get(method.as_deref()), who, data, now);
        let lasts_for = who.valid_for;
        let connection = self.clients.connection_mut(id);
        let is_live = matches!(connection.phase, Phase::Live(_));
        match (connection.rare.login_mut(), lasts_for) {
            (Some(login), Some(span)) if is_live => {
                login.timer = Some(self.turn.timers.insert(now + span, TimerKey::Proof(id)));
            }
            (Some(login), None) if login.method.is_none() => drop(connection.rare.take_login()),
            _ => {}
        }
    }

    /// The credentials have expired.
    pub(in crate::shard) fn proof_timer(&mut self, id: ConnectionId, now: Time) {
        if let Some(login) = self.clients.connection_mut(id).rare.login_mut() {
            login.timer = None;
            let text = "its token has expired";
            self.end_connection(id, Some(ReasonCode::MaximumConnectTime), text, now);
        }
    }

    /// Re-authentication has succeeded: the identity of a connection must not change.
    fn proven_again(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        who: &Identity,
        data: &[u8],
        now: Time,
    ) {
        if self.clients.session(session).rights.user != who.user {
            let violation = Violation::ReauthenticationAsAnother;
            self.outbox.stats.violations.count(&violation);
            let text = violation.to_string();
            self.end_connection(id, Some(violation.reason()), &text, now);
            return;
        }
        self.send_auth(id, ReasonCode::Success, Some(data));
    }

    /// A packet between CONNECT and CONNACK: AUTH or DISCONNECT [MQTT-3.1.2-30].
    pub(in crate::shard) fn on_packet_before_connack(
        &mut self,
        id: ConnectionId,
        frame: &Frame<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        match decode::packet(Version::V5, Sender::Client, frame)? {
            Packet::Auth(auth) => self.on_auth(id, &auth, false),
            Packet::Disconnect(_) => {
                self.start_closing(id, now);
                Ok(Flow::Stop)
            }
            _ => Err(Violation::BeforeConnAck),
        }
    }

    /// AUTH: the next step of a login, or the first of another one on a live connection.
    pub(in crate::shard) fn on_auth(
        &mut self,
        id: ConnectionId,
        auth: &Auth<'_>,
        is_live: bool,
    ) -> Result<Flow, Violation> {
        let connection = self.clients.connection_mut(id);
        let session = connection.session();
        let login = connection
            .rare
            .login_mut()
            .filter(|login| login.method.is_some());
        // [MQTT-4.12.0-7]
        let login = login.ok_or(Violation::AuthUnasked)?;
        if auth.authentication_method != login.method() {
            // [MQTT-4.12.0-5], [MQTT-4.12.1-1]
            return Err(Violation::AuthOtherMethod);
        }
        let data = auth.authentication_data;
        let stage = std::mem::take(&mut login.stage);
        let challenge = match (auth.reason, stage) {
            (ReasonCode::ReAuthenticate, Stage::Idle) if is_live => match data {
                Some(data) => Challenge::ScramFirst(data.into()),
                None => {
                    login.stage = Stage::First;
                    self.send_auth(id, ReasonCode::ContinueAuthentication, None);
                    return Ok(Flow::Continue);
                }
            },
            // [MQTT-4.12.0-3]
            (ReasonCode::ContinueAuthentication, Stage::First) => {
                Challenge::ScramFirst(data.unwrap_or_default().into())
            }
            (ReasonCode::ContinueAuthentication, Stage::Final(exchange)) => {
                Challenge::ScramFinal(exchange, data.unwrap_or_default().into())
            }
            _ => return Err(Violation::AuthOutOfTurn),
        };
        let entry = session.map(|session| self.clients.session(session));
        let client_id = entry.map(|entry| entry.session.client_id.clone());
        self.ask(id, client_id.as_deref().unwrap_or_default(), challenge);
        Ok(Flow::Continue)
    }

    /// [MQTT-4.12.0-5]: with the method of CONNECT.
    fn send_auth(&mut self, id: ConnectionId, reason: ReasonCode, data: Option<&[u8]>) {
        let connection = self.clients.connection(id);
        let Some(method) = connection
            .rare
            .get()
            .login
            .as_ref()
            .and_then(|login| login.method.clone())
        else {
            return;
        };
        let size = method.len() + data.map_or(0, <[u8]>::len) + AUTH_OVERHEAD_BYTES;
        if size > connection.packet_size_max as usize {
            // [MQTT-3.1.2-24]: it must not be sent; the client will time out.
            return;
        }
        let auth = Auth {
            reason,
            authentication_method: Some(&method),
            authentication_data: data,
            ..Auth::default()
        };
        self.outbox.stats.auths_sent += 1;
        self.clients.reply(id, |out, _| encode::auth(out, &auth));
    }

    /// Refuses a CONNECT that was kept. `text` is for the log and not for the client.
    pub(in crate::shard) fn refuse_login(
        &mut self,
        id: ConnectionId,
        violation: Violation,
        text: &str,
        now: Time,
    ) {
        let connection = self.clients.connection(id);
        let pending = connection
            .rare
            .get()
            .login
            .as_ref()
            .and_then(|login| login.pending());
        let client_id: Option<Box<str>> = pending.map(|connect| connect.client_id.into());
        let reply = Some((connection.version, violation.reason()));
        self.outbox.stats.connects_refused += 1;
        self.outbox.stats.violations.count(&violation);
        self.refuse_connect_as(id, client_id.as_deref(), reply, ("not accepted", text), now);
    }
}

impl Clients {
    fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        if let Some(login) = self.connection_mut(id).rare.login_mut() {
            login.stage = stage;
        }
    }
}

fn broken_by(refusal: Refusal) -> Violation {
    match refusal {
        Refusal::Wrong => Violation::CredentialsWrong,
        Refusal::Banned => Violation::AddressBanned,
        Refusal::Busy => Violation::LoginsBusy,
        Refusal::Unavailable => Violation::LoginsDown,
    }
}
