#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tlstap_fuzz::converse(
    &tlstap_fuzz::openings::mqtt(),
    data
));
