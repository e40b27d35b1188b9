#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refsync::fuzzing::vouched_pack(data));
