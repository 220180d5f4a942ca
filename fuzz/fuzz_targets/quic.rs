#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringmq_fuzz::quic::body(input));
