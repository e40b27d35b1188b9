//! The command line git, without the settings of the user who runs the tests.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs git in a directory.
pub(crate) fn run(directory: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TEMPLATE_DIR", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("a piped stdin");
    let input = input.to_vec();
    // It may give up before it has read all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("git ends");
    writer.join().expect("a writer that ends");
    output
}

/// The output of git, which has to succeed with text.
pub(crate) fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    let output = run(directory, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}
