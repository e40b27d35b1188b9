//! The inputs that are kept: those that fuzzing begins with, and those it has found a fault with.

use std::{fs, path::Path};

/// A published crate has no `fuzz/`, and nothing to run here then.
fn run_kept(name: &str, target: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        return;
    }
    let inputs = |kept: &str| {
        let folder = fs::read_dir(fuzz.join(kept).join(name))
            .into_iter()
            .flatten();
        folder.map(|file| file.expect("a file").path())
    };
    let seeds: Vec<_> = inputs("seeds").collect();
    assert!(!seeds.is_empty(), "{name} has nothing to begin with");
    for path in seeds.into_iter().chain(inputs("found")) {
        let input = fs::read(&path).expect("an input");
        let run = std::panic::catch_unwind(|| target(&input));
        assert!(run.is_ok(), "{}", path.display());
    }
    assert!(
        fuzz.join(format!("fuzz_targets/{name}.rs")).exists(),
        "{name} isn't fuzzed"
    );
}

macro_rules! kept {
    ($($(#[$attribute:meta])* $target:ident),* $(,)?) => {$(
        $(#[$attribute])*
        #[test]
        fn $target() {
            run_kept(stringify!($target), super::$target);
        }
    )*};
}

kept! {
    ancestry,
    bitmap,
    delta,
    fsck,
    globs,
    outgoing_pack,
    pack,
    ref_names,
    thin_pack,
    vouched_pack,
    #[cfg(feature = "http")]
    fetch_response,
    #[cfg(feature = "http")]
    ls_refs,
    #[cfg(feature = "http")]
    report_status,
    #[cfg(feature = "http")]
    side_band,
    #[cfg(feature = "http")]
    url,
    #[cfg(feature = "http")]
    v0_advertisement,
    #[cfg(feature = "http")]
    v2_advertisement,
}
