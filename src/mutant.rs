//! Deliberate faults: proof that the simulator's net holds (`ringmq-sim --mutants`).
//!
//! A broker is built without them: `is_on` is then the constant `false`. In a test build one fault
//! at a time is switched on, for one thread.

/// A fault, named by what the broker then does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// SUBACK does not wait until every shard has applied the subscription.
    SubackAtOnce,
    /// UNSUBACK is sent, the subscription stays.
    UnsubackWithoutEffect,
    /// What waits for a member that unsubscribes from its group is dropped.
    ForgetRequeue,
    /// What a lost member of a group had not acknowledged is never sent to another member.
    ForgetRedispatch,
    /// A group's publication goes to one member of each shard's choice twice.
    GroupDeliversTwice,
    /// What is in flight is not sent again on resume.
    ForgetResend,
    /// Packet identifiers start again at each connection, while old ones are in use.
    ReusePacketId,
    /// The send quota of the earlier connection is kept.
    KeepQuotaOnResume,
    /// A PUBCOMP gives quota back that its PUBLISH had not taken.
    WrongQuotaAfterResume,
    /// A repeated QoS 2 PUBLISH is delivered again.
    DeliverQos2Repeats,
    /// PUBREL does not free the identifier: the next message with it is swallowed.
    KeepReleasedId,
    /// A block for a peer is dropped when the ring was full once.
    DropOnFullRing,
    /// A publication for a second member of a peer's is sent as whatever was sent to that peer last.
    NameAgainWrongly,
    /// The packets that wait for the next turn are forgotten.
    ForgetPausedPackets,
    /// The rest of a block that waits for the next turn is forgotten.
    ForgetPausedBlock,
    /// A client that came too fast is never read again.
    NeverReadAgain,
    /// A client that was sent too much is never sent anything again.
    NeverSendAgain,
    /// A subscription that the rules do not allow is made.
    SubscribeForbidden,
    /// Changed rules end no subscription.
    KeepForbidden,
    /// A publication that is refused is delivered all the same.
    DeliverForbidden,
    /// What was decided about topics stays when the rules change.
    KeepDecisions,
    /// A will is published under rules that do not allow it any more.
    WillUnchecked,
    /// A delivery that the rules do not allow is made.
    DeliverUnreadable,
    /// An authentication result is applied to the login that has its place now.
    VerdictForNewer,
    /// A client is read although it is over its rate.
    ReadOverRate,
    /// A client is sent more than its rate.
    SendOverRate,
    /// A QoS 1 or 2 message is lost when its receiver's rate is used up.
    LoseWhilePaused,
    /// QoS 1 and 2 messages overtake those in the queue.
    OvertakeQueue,
    /// The home of a topic answers a retained walk before it has applied what it needs.
    WalkTooEarly,
    /// A topic that was delivered live during a walk is sent again by the walk.
    WalkRepeatsLive,
    /// Subscribers keep what they were sent last of a topic that several shards have written at once.
    ForgetRaces,
    /// A retained message with an empty payload does not clear.
    ForgetClear,
    /// The will is published although the client sent DISCONNECT.
    WillAfterDisconnect,
    /// A will with a delay is published although the client came back in time.
    WillNotCancelled,
    /// The will is forgotten when its connection is lost.
    ForgetWill,
    /// A session outlives its expiry.
    SessionNeverExpires,
    /// A session ends with its connection.
    SessionEndsEarly,
    /// A session that is resumed to end with its connection is taken for one that outlives it.
    KeepDurable,
    /// Clean Start finds the old session.
    CleanStartResumes,
    /// Queued messages are sent after their expiry.
    SendExpired,
    /// A publisher with No Local gets its own messages.
    ForgetNoLocal,
    /// A client gets packets larger than it takes.
    ForgetPacketSizeMax,
    /// A topic alias is used before it was introduced to the client.
    AliasNotIntroduced,
    /// A silent client is not disconnected.
    ForgetKeepAlive,
    /// A deadline passes although what was sent before it has not been read.
    JudgeUnheard,
    /// The queue grows beyond its bound.
    UnboundedQueue,
    /// A message dropped from a full queue is not counted.
    UncountedDrop,
    /// Replies are sent before what they promise is committed.
    AckBeforeCommit,
    /// An acknowledgement waits for its own shard's log alone.
    ForgetPeersCommit,
    /// Subscriptions are not written to the log.
    ForgetSubscriptionRecords,
    /// Retained messages are not written to the log.
    ForgetRetainedRecords,
    /// A session that is read back from the log has received no QoS 2 message yet.
    FoldForgetsReceived,
    /// A session that is read back from the log has its queue in another order.
    FoldReversesQueue,
    /// What another shard holds is delivered as often as it comes.
    NoCursor,
    /// What another shard holds is confirmed before it is committed.
    ConfirmHeldEarly,
    /// What was held for other shards is not forwarded by the next process.
    ForgetHeld,
    /// What is held for other shards is not written anew when its segment is cleaned. Not in [`ALL`](Self::ALL): logs
    /// of simulations are too short to be cleaned, and a unit test has it.
    CleaningForgetsHeld,
    /// A segment is used again although messages lie in it that are in no memory.
    ReuseSegmentEarly,
    /// What is read back is the first message of the piece, whichever is asked for.
    ReadWrongPlace,
    /// What a member of a shared group hands on to another shard is in no log until it is there.
    HandOnUnheld,
    /// The logs of another number of shards are given up before all of them is in the new ones.
    AdoptEarly,
    /// What a member of a shared group leaves on the disk alone is never handed on.
    ForgetEstates,
    /// The image of a session with a long queue does not name the pieces it begins with.
    ForgetPieces,
    /// Retained messages that were on their way to a subscription are not sent by the next process.
    ForgetWalks,
    /// Deadlines are written down with a wall clock that is set back while the process runs.
    LogFollowsWallBack,
    /// A session that is read back from the log has no owner.
    FoldForgetsOwner,
    /// A write that has failed is taken for one that is on the disk.
    AckFailedWrite,
    /// A publication that a full disk has no room for is acknowledged, and forgotten.
    AckWithoutRoom,
    /// Clients that waited for room on the disk are not read when there is some.
    KeepWaitingForRoom,
    /// A full disk refuses publications that need no room on it.
    RefuseWithoutNeed,
    /// A full disk refuses sessions that it has.
    RefuseKeptSessions,
    /// A stopping shard keeps a connection open.
    ForgetShutdown,
    /// A session that is continued from its image has received no QoS 2 message yet.
    ImageLosesReceived,
    /// A session that is continued from its image has its queue in another order.
    ImageReversesQueue,
    /// A process that takes over does not send retained messages that were on their way to a client that is cut.
    UpgradeForgetsWalks,
    /// A process that takes over has no retained messages.
    UpgradeForgetsRetained,
    /// A process that takes over has no sessions of clients that are away.
    UpgradeForgetsAway,
    /// A process that takes over serves before it has read the logs.
    UpgradeSkipsLogs,
    /// A process that takes over reads the logs without their last segments.
    UpgradeCutsLogs,
    /// What a process that takes over has of clients that are connected does not get into its log.
    UpgradeUnrecorded,
    /// The expiry interval of a session that is continued from its image starts again.
    ImageRestartsExpiry,
    /// Of a connection that is continued what was read and not handled is lost.
    ImageLosesUnhandled,
    /// Of a connection that is continued the replies held at gates are lost.
    ImageLosesHeld,
    /// A client of MQTT-SN that wakes has its PINGRESP before what waits for it.
    AnswerPingAtOnce,
    /// A client of MQTT-SN is sent messages while it sleeps.
    SendToSleeper,
    /// What a client of MQTT-SN has not answered in time is done with.
    ForgetUnanswered,
    /// What a client of MQTT-SN had not answered when it fell asleep is done with.
    ForgetAtSleep,
    /// A topic id is used before its registration is acknowledged.
    UseUnregistered,
    /// A client of MQTT-SN that has connected again is sent topic ids that are not registered anew.
    TrustTopicIds,
    /// Two topics of a client of MQTT-SN have one id.
    ShareTopicId,
    /// A client of MQTT-SN learns of a topic id that the log does not have yet.
    AnswerRegisterEarly,
    /// Topic ids of clients of MQTT-SN are not written to the log.
    ForgetTopicIdRecords,
    /// A bridge acknowledges a message of the remote before our own broker has it.
    BridgeAcksRemoteEarly,
    /// A bridge acknowledges a message of our own broker before the remote has it.
    BridgeAcksOwnEarly,
    /// A bridge keeps back PUBREL of our own broker.
    BridgeForgetsRelease,
    /// Publishers that wait for a full queue are not read when it has room.
    KeepWaitingForQueue,
    /// A birth of Sparkplug does not replace the certificate of the birth before.
    KeepStaleCertificate,
    /// The certificate of a birth goes to those that subscribe now, and is not retained.
    ForgetCertificate,
    /// A birth is acknowledged before its certificate is committed.
    AckBeforeCertificate,
    /// The death of an edge node has the time at which its client connected.
    KeepDeathTimestamp,
}

impl Mutant {
    /// Those that two brokers with a bridge between them notice (`tests/bridge.rs`).
    pub const OF_BRIDGES: [Self; 4] = [
        Self::BridgeAcksRemoteEarly,
        Self::BridgeAcksOwnEarly,
        Self::BridgeForgetsRelease,
        Self::KeepWaitingForQueue,
    ];

    /// A fault that only clients of MQTT-SN can notice.
    #[must_use]
    pub fn is_of_gateway(self) -> bool {
        matches!(
            self,
            Self::AnswerPingAtOnce
                | Self::SendToSleeper
                | Self::ForgetUnanswered
                | Self::ForgetAtSleep
                | Self::UseUnregistered
                | Self::TrustTopicIds
                | Self::ShareTopicId
                | Self::AnswerRegisterEarly
                | Self::ForgetTopicIdRecords
        )
    }

    /// A fault that only a plant of Sparkplug can notice.
    #[must_use]
    pub fn is_of_plant(self) -> bool {
        self as u8 >= Self::KeepStaleCertificate as u8
    }

    /// A fault of shards with journals: other seeds cannot notice it.
    #[must_use]
    pub fn is_of_journals(self) -> bool {
        let all = Self::AckBeforeCommit as u8..=Self::RefuseKeptSessions as u8;
        all.contains(&(self as u8))
    }

    pub const ALL: [Self; 95] = [
        Self::SubackAtOnce,
        Self::UnsubackWithoutEffect,
        Self::ForgetRequeue,
        Self::ForgetRedispatch,
        Self::GroupDeliversTwice,
        Self::ForgetResend,
        Self::ReusePacketId,
        Self::KeepQuotaOnResume,
        Self::WrongQuotaAfterResume,
        Self::DeliverQos2Repeats,
        Self::KeepReleasedId,
        Self::DropOnFullRing,
        Self::NameAgainWrongly,
        Self::ForgetPausedPackets,
        Self::ForgetPausedBlock,
        Self::NeverReadAgain,
        Self::NeverSendAgain,
        Self::SubscribeForbidden,
        Self::KeepForbidden,
        Self::DeliverForbidden,
        Self::KeepDecisions,
        Self::WillUnchecked,
        Self::DeliverUnreadable,
        Self::VerdictForNewer,
        Self::ReadOverRate,
        Self::SendOverRate,
        Self::LoseWhilePaused,
        Self::OvertakeQueue,
        Self::WalkTooEarly,
        Self::WalkRepeatsLive,
        Self::ForgetRaces,
        Self::ForgetClear,
        Self::WillAfterDisconnect,
        Self::WillNotCancelled,
        Self::ForgetWill,
        Self::SessionNeverExpires,
        Self::SessionEndsEarly,
        Self::KeepDurable,
        Self::CleanStartResumes,
        Self::SendExpired,
        Self::ForgetNoLocal,
        Self::ForgetPacketSizeMax,
        Self::AliasNotIntroduced,
        Self::ForgetKeepAlive,
        Self::JudgeUnheard,
        Self::UnboundedQueue,
        Self::UncountedDrop,
        Self::AckBeforeCommit,
        Self::ForgetPeersCommit,
        Self::ForgetSubscriptionRecords,
        Self::ForgetRetainedRecords,
        Self::FoldForgetsReceived,
        Self::FoldReversesQueue,
        Self::NoCursor,
        Self::ConfirmHeldEarly,
        Self::ForgetHeld,
        Self::ReuseSegmentEarly,
        Self::ReadWrongPlace,
        Self::HandOnUnheld,
        Self::AdoptEarly,
        Self::ForgetEstates,
        Self::ForgetPieces,
        Self::ForgetWalks,
        Self::LogFollowsWallBack,
        Self::FoldForgetsOwner,
        Self::AckFailedWrite,
        Self::AckWithoutRoom,
        Self::KeepWaitingForRoom,
        Self::RefuseWithoutNeed,
        Self::RefuseKeptSessions,
        Self::ForgetShutdown,
        Self::ImageLosesReceived,
        Self::ImageReversesQueue,
        Self::UpgradeForgetsWalks,
        Self::UpgradeForgetsRetained,
        Self::UpgradeForgetsAway,
        Self::UpgradeSkipsLogs,
        Self::UpgradeCutsLogs,
        Self::UpgradeUnrecorded,
        Self::ImageRestartsExpiry,
        Self::ImageLosesUnhandled,
        Self::ImageLosesHeld,
        Self::AnswerPingAtOnce,
        Self::SendToSleeper,
        Self::ForgetUnanswered,
        Self::ForgetAtSleep,
        Self::UseUnregistered,
        Self::TrustTopicIds,
        Self::ShareTopicId,
        Self::AnswerRegisterEarly,
        Self::ForgetTopicIdRecords,
        Self::KeepStaleCertificate,
        Self::ForgetCertificate,
        Self::AckBeforeCertificate,
        Self::KeepDeathTimestamp,
    ];
}

#[cfg(any(test, feature = "sim"))]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Switches one fault on for this thread, or all off.
    pub fn switch(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    pub(crate) fn is_on(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}

#[cfg(any(test, feature = "sim"))]
pub(crate) use switch::is_on;
#[cfg(any(test, feature = "sim"))]
pub use switch::switch;

/// No fault is ever on in a broker.
#[cfg(not(any(test, feature = "sim")))]
#[inline(always)]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}
