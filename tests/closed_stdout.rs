//! A reader that takes the first line and goes is no failure.

mod harness;

use std::process::Stdio;

use harness::siji;

#[test]
fn results_nobody_reads_any_more_end_without_a_panic() {
    for arguments in [
        ["token", "--output", "text"],
        ["token", "--output", "json"],
        ["check", "--output", "text"],
    ] {
        let mut child = siji()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Long before the command prints.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    }
}
