use std::any::type_name_of_val;
use std::process::Command;

const INSIDE: &str = "MAINSTAY_TEST_ALONE";

/// Runs the body of the current test in a process of its own, with these variables: what traces are
/// exported to is set once per process. Returns the process's output, and nothing inside it.
pub(super) fn alone(variables: &[(&str, &str)], body: impl Future<Output = ()>) -> Option<String> {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.unwrap().block_on(body);
        return None;
    }
    // `it::otlp::the_test::{{closure}}`. The thread's name will not do: one core, and it is `main`.
    let name = type_name_of_val(&body).trim_start_matches("it::").trim_end_matches("::{{closure}}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    Some(out)
}
