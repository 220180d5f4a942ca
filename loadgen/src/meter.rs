//! Counters and histograms of a worker.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Upper bound of the histograms, in nanoseconds: one hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// From the intended send time to the receiver.
    EndToEnd,
    /// From the intended send time to PUBACK or PUBCOMP.
    PublishAck,
    /// From connect(2) to CONNACK.
    Connect,
    /// From the open TCP connection to the end of the handshakes of TLS and WebSocket.
    Handshake,
    /// The same, when TLS resumed a session.
    HandshakeResumed,
    /// From SUBSCRIBE to SUBACK.
    Subscribe,
    /// From UNSUBSCRIBE to UNSUBACK.
    Unsubscribe,
    /// From PINGREQ to PINGRESP at the end of a drain.
    Ping,
    /// From connect(2) of the new connection to the end of the old one of the same identifier.
    Takeover,
    /// From SUBSCRIBE (retained messages) or connect(2) (those of a session) to the first stored message and
    /// to the last.
    FirstStored,
    LastStored,
    /// From the intended send time of a request to its answer.
    RoundTrip,
    /// From the intended send time to the moment the generator got to it.
    ScheduleLag,
}

impl Timing {
    pub const ALL: [Self; 13] = [
        Self::EndToEnd,
        Self::PublishAck,
        Self::Connect,
        Self::Handshake,
        Self::HandshakeResumed,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Ping,
        Self::Takeover,
        Self::FirstStored,
        Self::LastStored,
        Self::RoundTrip,
        Self::ScheduleLag,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EndToEnd => "end_to_end",
            Self::PublishAck => "publish_ack",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::HandshakeResumed => "handshake_resumed",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Ping => "ping",
            Self::Takeover => "takeover",
            Self::FirstStored => "first_stored",
            Self::LastStored => "last_stored",
            Self::RoundTrip => "round_trip",
            Self::ScheduleLag => "schedule_lag",
        }
    }
}

/// A histogram that takes runs of equal values at once: what comes in one read was often sent in
/// one write.
#[derive(Clone, Debug)]
pub struct Recorder {
    histogram: Histogram<u64>,
    value: u64,
    count: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            histogram: Histogram::new_with_bounds(1, LONGEST_NS, 3)
                .expect("bounds of a histogram are valid"),
            value: 0,
            count: 0,
        }
    }
}

impl Recorder {
    #[inline]
    pub fn record(&mut self, value_ns: u64) {
        if value_ns == self.value {
            self.count += 1;
        } else {
            self.flush();
            self.value = value_ns;
            self.count = 1;
        }
    }

    fn flush(&mut self) {
        if self.count > 0 {
            self.histogram.saturating_record_n(self.value, self.count);
            self.count = 0;
        }
    }

    pub fn histogram(&mut self) -> &Histogram<u64> {
        self.flush();
        &self.histogram
    }
}

/// Answers that did not come in time, by packet.
pub const UNANSWERED: [(&str, Count); 7] = [
    ("connack", Count::LateConnAck),
    ("suback", Count::LateSubAck),
    ("unsuback", Count::LateUnsubAck),
    ("pingresp", Count::LatePingResp),
    ("puback", Count::LatePubAck),
    ("pubrec", Count::LatePubRec),
    ("pubcomp", Count::LatePubComp),
];

/// Everything that is summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    #[default]
    Connected,
    ConnectFailed,
    /// TLS handshakes in full, and those that resumed a session.
    HandshakesFull,
    HandshakesResumed,
    /// Connections lost without being asked to end.
    Disconnected,
    /// Of those connected: after a loss.
    Reconnected,
    /// Attempts to open a lost connection again that failed.
    ReconnectFailed,
    /// Clients that came back for a session that the broker did not have.
    SessionLost,
    /// Connections that went to the next target, since one failed.
    FailedOver,
    /// Clients that were still on their way when it was their turn to leave again.
    ChurnMissed,
    /// Ended as asked.
    Closed,
    Subscribed,
    Unsubscribed,
    SubscribeRefused,
    Published,
    Acknowledged,
    Received,
    BytesSent,
    BytesReceived,
    Errors,
    /// Messages whose time came while the connection had no room or the window was full.
    HeldBack,
    /// Messages given up because too many were held back.
    NotSent,
    /// Messages of a schedule that mqload was too slow to send.
    Overrun,
    SendQueueMax,
    /// Round trips of PINGREQ at the end of a drain.
    Pinged,
    /// Old connections that ended when their identifiers were taken over.
    TakenOver,
    /// Those that did not.
    NotTakenOver,
    /// Answers that did not come in time.
    LateConnAck,
    LateSubAck,
    LateUnsubAck,
    LatePingResp,
    LatePubAck,
    LatePubRec,
    LatePubComp,
    /// PUBLISH packets without an answer when the run was over, of connections that were open.
    Unacknowledged,
    /// Values of `PublishAck` and of the delivery that are ages of what had not ended.
    CensoredAcks,
    CensoredDeliveries,
    /// Payloads that were not published like this.
    Altered,
    /// Payloads without the tag of mqload.
    Foreign,
    /// Deliveries with another topic, QoS, flag or property than they must have.
    WrongTopic,
    RaisedQos,
    LoweredQos,
    WrongRetain,
    WrongDup,
    WrongProperties,
    WrongIdentifier,
    /// CONNACK with a session present where none was asked for.
    WrongSession,
    /// Steps the worker has left behind.
    StepsEnded,
    InFlight,
}

pub const COUNTS: usize = Count::InFlight as usize + 1;

/// Counters of one worker.
#[derive(Clone, Copy, Debug)]
pub struct Counts(pub [u64; COUNTS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; COUNTS])
    }
}

impl Counts {
    #[must_use]
    #[inline]
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    #[inline]
    pub fn add(&mut self, count: Count, number: u64) {
        self.0[count as usize] += number;
    }

    #[inline]
    pub fn raise(&mut self, count: Count, value: u64) {
        let place = &mut self.0[count as usize];
        *place = (*place).max(value);
    }

    /// Adds another worker's; the longest queue is the longest of both.
    pub fn merge(&mut self, other: &Self) {
        for (index, (own, other)) in self.0.iter_mut().zip(other.0).enumerate() {
            if index == Count::SendQueueMax as usize {
                *own = (*own).max(other);
            } else {
                *own += other;
            }
        }
    }
}

/// The histograms of one stretch of time.
#[derive(Clone, Debug)]
pub struct Timings(pub Vec<Recorder>);

impl Default for Timings {
    fn default() -> Self {
        Self(Timing::ALL.iter().map(|_| Recorder::default()).collect())
    }
}

impl Timings {
    pub fn merge(&mut self, other: &mut Self) {
        for (own, other) in self.0.iter_mut().zip(&mut other.0) {
            own.flush();
            let other = other.histogram();
            if !other.is_empty() {
                own.histogram
                    .add(other)
                    .expect("histograms have the same bounds");
            }
        }
    }

    /// Adds values that were recorded elsewhere.
    ///
    /// # Errors
    /// A sentence when they are out of bounds.
    pub fn add(&mut self, timing: Timing, histogram: &Histogram<u64>) -> Result<(), String> {
        let own = &mut self.0[timing as usize];
        own.flush();
        own.histogram
            .add(histogram)
            .map_err(|error| format!("a histogram that does not fit: {error}"))
    }

    /// Adds the same value several times.
    pub fn add_same(&mut self, timing: Timing, value_ns: u64, number: u64) {
        if number > 0 {
            let own = &mut self.0[timing as usize];
            own.histogram.saturating_record_n(value_ns, number);
        }
    }

    pub fn clear(&mut self) {
        for recorder in &mut self.0 {
            recorder.flush();
            if !recorder.histogram.is_empty() {
                recorder.histogram.reset();
            }
        }
    }

    pub fn of(&mut self, timing: Timing) -> &Histogram<u64> {
        self.0[timing as usize].histogram()
    }
}

/// A worker's books.
#[derive(Debug, Default)]
pub struct Meter {
    pub counts: Counts,
    pub timings: Timings,
    pub errors: BTreeMap<String, u64>,
    /// Why connections ended that were opened again: reported, but no errors.
    pub interruptions: BTreeMap<String, u64>,
}

/// Different sentences kept; the rest is counted together.
const SENTENCES_MAX: usize = 64;

impl Meter {
    #[inline]
    pub fn time(&mut self, timing: Timing, nanoseconds: u64) {
        self.timings.0[timing as usize].record(nanoseconds);
    }

    #[inline]
    pub fn count(&mut self, count: Count) {
        self.counts.add(count, 1);
    }

    pub fn error(&mut self, sentence: String) {
        self.counts.add(Count::Errors, 1);
        note(&mut self.errors, sentence, 1);
    }

    /// The same error, several times.
    pub fn errors(&mut self, sentence: String, number: u64) {
        if number > 0 {
            self.counts.add(Count::Errors, number);
            note(&mut self.errors, sentence, number);
        }
    }

    pub fn interruption(&mut self, sentence: String) {
        note(&mut self.interruptions, sentence, 1);
    }
}

fn note(sentences: &mut BTreeMap<String, u64>, sentence: String, number: u64) {
    let known = sentences.contains_key(&sentence) || sentences.len() < SENTENCES_MAX;
    let sentence = if known {
        sentence
    } else {
        "other errors".to_string()
    };
    *sentences.entry(sentence).or_default() += number;
}
