//! Generated requests for every operation.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::Path;
use std::process::Command;

#[test]
fn generated_requests_get_no_answer_outside_of_openapi_json() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis.sh");
    let output = Command::new("bash")
        .arg(script)
        .args([env!("CARGO_BIN_EXE_refsyncd"), "20"])
        .output()
        .expect("bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    match output.status.code() {
        Some(77) => eprintln!("{stderr}"),
        Some(0) => assert_eq!(stdout.matches("No issues found").count(), 2, "{stdout}"),
        _ => panic!("{stdout}\n{stderr}"),
    }
}
