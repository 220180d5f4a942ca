//! What one client can make the broker keep is bounded in bytes, and what is refused is said.

use ringmq::limits::Limits;

use super::run_with_limits;

// conformance: 5:MQTT-3.2.2-13
#[test]
fn nothing_is_retained_and_said_so() {
    let rows = "
3.2.2.3.6 | 5 | it is announced | A> 10 [ NAME 02 0000 {} \"a\" ] ; A< CONNACK ok +25=00
3.2.2.3.6 | 5 | a will that is to be retained is refused | A> 10 [ NAME 26 0000 {} \"a\" {} \"w\" \"x\" ] ; A< refused 9a -
3.2.2.3.6 | v3 | a will that is to be retained | A> 10 [ NAME 26 0000 \"a\" \"w\" \"x\" ] ; A< CONNACK ok
3.2.2.3.6 | 5 | QoS 0 with RETAIN ends the connection | A+ ; A> 31 [ \"t\" {} 'x' ] ; A< error 9a
3.2.2.3.6 | 5 | QoS 1 with RETAIN ends the connection | A+ ; A> 33 [ \"t\" 0001 {} 'x' ] ; A< error 9a
3.2.2.3.6 | 5 | QoS 2 with RETAIN ends the connection | A+ ; A> 35 [ \"t\" 0001 {} 'x' ] ; A< error 9a
3.2.2.3.6 | 5 | so does an empty one | A+ ; A> 31 [ \"t\" {} ] ; A< error 9a
3.2.2.3.6 | 5 | and nobody gets it | B+ ; B> 82 [ 0001 {} \"t\" 00 ] ; B< SUBACK 0001 00 ; A+ ; A> 31 [ \"t\" {} 'x' ] ; A< error 9a ; B< nothing
3.3.1.3 | v3 | it is delivered, acknowledged and not kept
    B+ ; B> 82 [ 0001 \"t\" 00 ] ; B< SUBACK 0001 00 ; A+ ; A> 33 [ \"t\" 0001 'x' ] ; A< PUBACK 0001 ; B< 30 [ \"t\" 'x' ]
    C+ ; C> 82 [ 0001 \"t\" 00 ] ; C< SUBACK 0001 00 ; C< nothing
3.3.1.3 | all | RETAIN 0 is as ever | A+ ; A> 32 [ \"t\" 0001 {} 'x' ] ; A< PUBACK 0001";
    let none = Limits {
        retained_messages_max: 0,
        ..Limits::default()
    };
    run_with_limits(rows, &none);
    let no_bytes = Limits {
        retained_bytes_max: 0,
        ..Limits::default()
    };
    run_with_limits(rows, &no_bytes);
}

#[test]
fn topics_of_aliases_are_bounded_in_bytes() {
    let limits = Limits {
        topic_alias_bytes_max: 6,
        ..Limits::default()
    };
    let rows = "
3.3.2.3.4 | 5 | as many as fit, and what is replaced makes room
    A+ ; A> 32 [ \"abcd\" 0001 { 23 0001 } 'x' ] 32 [ \"ef\" 0002 { 23 0002 } 'x' ] 32 [ \"abc\" 0003 { 23 0001 } 'x' ] 32 [ \"g\" 0004 { 23 0003 } 'x' ] 32 [ \"\" 0005 { 23 0001 } 'x' ]
    A< PUBACK 0001 ; A< PUBACK 0002 ; A< PUBACK 0003 ; A< PUBACK 0004 ; A< PUBACK 0005
3.3.2.3.4 | 5 | one more ends the connection | A+ ; A> 30 [ \"abcd\" { 23 0001 } 'x' ] 30 [ \"efg\" { 23 0002 } 'x' ] ; A< error 97
3.3.2.3.4 | 5 | a longer one in place of another, too | A+ ; A> 30 [ \"abcd\" { 23 0001 } 'x' ] 30 [ \"abcdefg\" { 23 0001 } 'x' ] ; A< error 97
3.3.2.3.4 | 5 | towards the client the topic is in full when there is no room
    A+ { 22 0005 } ; A> 82 [ 0001 {} \"+\" 00 ] ; A< SUBACK 0001 00 ; B+ ; B> 30 [ \"abcd\" {} '1' ] 30 [ \"efg\" {} '2' ] 30 [ \"hi\" {} '3' ] 30 [ \"abcd\" {} '4' ]
    A< 30 [ \"abcd\" { 23 0001 } '1' ] ; A< 30 [ \"efg\" {} '2' ] ; A< 30 [ \"hi\" { 23 0002 } '3' ] ; A< 30 [ \"\" { 23 0001 } '4' ]";
    run_with_limits(rows, &limits);
}

/// A filter of one level takes 192 bytes and twice its length.
#[test]
fn filters_of_a_session_are_bounded_in_bytes() {
    let limits = Limits {
        subscription_bytes_max: (192 + 2) + (192 + 64 + 6), // "a" and "b/b"
        ..Limits::default()
    };
    let rows = "
3.9.3 | all | each filter has its own code
    A+ ; A> 82 [ 0001 {} \"a\" 00 \"b\" 01 \"c\" 00 \"a\" 01 \"b/c\" 00 ] ; A< SUBACK 0001 00 01 97/80 01 97/80
3.9.3 | all | one less makes room
    A+ ; A> 82 [ 0001 {} \"a\" 00 \"b\" 01 \"c\" 00 ] ; A< SUBACK 0001 00 01 97/80 ; A> a2 [ 0002 {} \"a\" ] ; A< UNSUBACK 0002 00 ; A> 82 [ 0003 {} \"c\" 00 ] ; A< SUBACK 0003 00
3.9.3 | all | a longer one does not fit where a shorter one would
    A+ ; A> 82 [ 0001 {} \"a\" 00 \"b/b\" 00 \"$share/g/b\" 00 ] ; A< SUBACK 0001 00 00 97/80
3.9.3 | all | of each session
    A+ ; A> 82 [ 0001 {} \"a\" 00 \"b\" 00 ] ; A< SUBACK 0001 00 00 ; B+ ; B> 82 [ 0001 {} \"a\" 00 \"b\" 00 ] ; B< SUBACK 0001 00 00
3.9.3 | all | a session that goes on keeps its count
    A+ keep ; A> 82 [ 0001 {} \"a\" 00 \"b\" 01 ] ; A< SUBACK 0001 00 01 ; A> close ; A+ resume ; A> 82 [ 0002 {} \"c\" 00 ] ; A< SUBACK 0002 97/80
3.9.3 | all | a session that begins again does not
    A+ keep ; A> 82 [ 0001 {} \"a\" 00 \"b\" 01 ] ; A< SUBACK 0001 00 01 ; A> close ; A+ ; A> 82 [ 0002 {} \"c\" 00 \"d\" 00 ] ; A< SUBACK 0002 00 00";
    run_with_limits(rows, &limits);
}
