use std::io;

use mainstay_core::telemetry::{self, Format, Level, Options};
use proptest::prelude::*;
use tracing::field::Empty;

use super::logged;

#[test]
fn a_json_line_has_the_fields_of_the_event_and_of_its_spans_at_the_top() {
    let log = logged(
        Format::Json,
        |_| (),
        |_| {
            let request = tracing::info_span!("request", request_id = "r-1", user = Empty).entered();
            request.record("user", 42);
            let _query = tracing::info_span!("query", rows = 3).entered();
            tracing::info!(took_ms = 1.5, cached = false, "user found");
        },
    );
    let [line] = &log.json()[..] else { panic!("one line: {}", log.text()) };
    assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], module_path!());
    assert_eq!(line["message"], "user found");
    assert_eq!(line["span"], "request:query");
    assert_eq!((&line["request_id"], &line["user"]), (&"r-1".into(), &42.into()));
    assert_eq!((&line["rows"], &line["took_ms"], &line["cached"]), (&3.into(), &1.5.into(), &false.into()));
}

#[test]
fn a_field_for_exporters_is_in_no_line_and_is_not_even_printed() {
    struct Unprinted;
    impl std::fmt::Debug for Unprinted {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("nobody reads it")
        }
    }
    for format in [Format::Pretty, Format::Json] {
        let log = logged(
            format,
            |_| (),
            |_| {
                let request = tracing::info_span!(
                    "request",
                    request_id = "r-1",
                    otel.kind = "server",
                    otel.name = ?Unprinted,
                    otel.status = Empty,
                );
                request.record("otel.status", 200);
                let _request = request.entered();
                tracing::info!("answered");
            },
        );
        assert!(log.text().contains("r-1") && !log.text().contains("otel"), "{}", log.text());
    }
}

#[test]
fn a_pretty_line_reads_from_left_to_right() {
    let log = logged(
        Format::Pretty,
        |_| (),
        |_| {
            let _request = tracing::info_span!("request", request_id = "r-1").entered();
            tracing::warn!(path = "/a b", empty = "", "slow answer");
        },
    );
    let text = log.text();
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok());
    let target = module_path!();
    assert_eq!(
        rest,
        format!(" WARN {target}: slow answer path=\"/a b\" empty=\"\"  request{{request_id=r-1}}\n")
    );
}

#[test]
fn the_request_id_is_in_every_line_inside_the_request_at_every_level() {
    for level in [Level::Error, Level::Info, Level::Trace] {
        let log = logged(
            Format::Json,
            |options| options.level = level,
            |_| {
                let _request = tracing::info_span!("request", request_id = "r-1").entered();
                let _inner = tracing::debug_span!("inner").entered();
                tracing::error!("ours");
                tracing::error!(target: "sqlx::query", "a library's");
            },
        );
        let lines = log.json();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line["request_id"] == "r-1"), "at {level:?}: {lines:?}");
    }
}

#[test]
fn no_field_can_repeat_or_replace_a_key_of_the_line() {
    let log = logged(
        Format::Json,
        |_| (),
        |_| {
            let _outer = tracing::info_span!("outer", id = 1, message = "span", target = "forged").entered();
            let _inner = tracing::info_span!("inner", id = 2).entered();
            tracing::info!(id = 3, level = "forged", timestamp = 0, span = "forged", "real");
            tracing::info!("of the inner span");
        },
    );
    for line in log.text().lines() {
        for key in ["id", "level", "timestamp", "span", "message", "target"] {
            assert_eq!(line.matches(&format!("\"{key}\":")).count(), 1, "{key} in {line}");
        }
    }
    let lines = log.json();
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&3.into(), &2.into()));
    assert_eq!((&lines[0]["level"], &lines[0]["field.level"]), (&"INFO".into(), &"forged".into()));
    assert_eq!(lines[0]["message"], "real");
}

/// Strings full of what breaks logs.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        Just("\n".into()),
        Just("\r\n{\"level\":\"ERROR\"}".into()),
        Just("\x1b[2J".into()),
        Just("\u{9b}31m".into()),
        Just("\u{2028}\u{202e}\u{85}\u{7f}\0".into()),
        Just("\" level=ERROR {}".into()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn say(message: &str, value: &str) {
    let _span = tracing::info_span!("request", inner = value).entered();
    tracing::info!(text = value, display = %value, debug = ?value, "{message}");
}

proptest! {
    #[test]
    fn any_text_comes_back_from_one_json_line_without_a_raw_control_character(message in nasty(), value in nasty()) {
        let log = logged(Format::Json, |_| (), |_| say(&message, &value));
        let text = log.text();
        prop_assert!(text.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{:?}", text);
        let lines = log.json();
        prop_assert_eq!(lines.len(), 1);
        prop_assert_eq!(lines[0]["message"].as_str(), Some(&*message));
        for key in ["text", "display", "inner"] {
            prop_assert_eq!(lines[0][key].as_str(), Some(&*value));
        }
        prop_assert_eq!(lines[0]["debug"].as_str(), Some(&*format!("{value:?}")));
    }

    #[test]
    fn any_text_stays_in_one_pretty_line_without_a_raw_control_character(message in nasty(), value in nasty()) {
        let log = logged(Format::Pretty, |_| (), |_| say(&message, &value));
        let text = log.text();
        prop_assert_eq!(text.matches('\n').count(), 1);
        prop_assert!(text.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{:?}", text);
        let reorders = text.contains(['\u{2028}', '\u{202e}']);
        prop_assert!(!reorders);
    }
}

#[test]
fn errors_are_logged_with_their_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot load the user")]
    struct Outer(#[source] io::Error);
    let error = Outer(io::Error::other("disk on fire"));
    let log = logged(
        Format::Json,
        |_| (),
        |_| {
            tracing::error!(error = &error as &(dyn std::error::Error + 'static), "request failed");
        },
    );
    assert_eq!(log.json()[0]["error"], "cannot load the user: disk on fire");
}

#[test]
fn a_closed_pipe_loses_lines_and_nothing_else() {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let (subscriber, _telemetry) = telemetry::subscriber(Options::default().writer(Closed)).unwrap();
    tracing::subscriber::with_default(subscriber, || tracing::info!("into the void"));
}

#[test]
fn a_value_that_cannot_be_printed_does_not_stop_the_caller() {
    struct Broken;
    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("half")?;
            Err(std::fmt::Error)
        }
    }
    let log = logged(Format::Json, |_| (), |_| tracing::info!(value = %Broken, "still here"));
    assert_eq!((&log.json()[0]["message"], &log.json()[0]["value"]), (&"still here".into(), &"half".into()));
}

#[test]
fn a_value_that_logs_while_it_is_printed_does_not_deadlock() {
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("from inside");
            f.write_str("chatty")
        }
    }
    let log = logged(
        Format::Json,
        |_| (),
        |_| {
            let span = tracing::info_span!("request", value = Empty).entered();
            span.record("value", tracing::field::debug(Chatty));
            tracing::info!(event = ?Chatty, "done");
        },
    );
    assert!(log.json().iter().any(|line| line["message"] == "done" && line["value"] == "chatty"));
}

#[test]
fn a_panic_is_one_line_whatever_it_says() {
    let before = std::panic::take_hook();
    let logs = [Format::Pretty, Format::Json].map(|format| {
        logged(
            format,
            |_| (),
            |_| {
                telemetry::log_panics();
                let _request = tracing::info_span!("request", request_id = "r-1").entered();
                let said = "\n{\"level\":\"INFO\"}\u{1b}[2J\u{2028}\u{200f}".to_owned();
                std::panic::catch_unwind(|| panic!("of the client: {said}")).unwrap_err();
            },
        )
    });
    std::panic::set_hook(before);
    for log in &logs {
        let text = log.text();
        // Others may panic meanwhile, but not in this thread.
        let text = text.trim_end_matches('\n');
        assert!(!text.contains(|c: char| c.is_control() || "\u{2028}\u{200f}".contains(c)), "{text:?}");
        assert!(
            text.contains("r-1") && text.contains("of the client") && text.contains("lines.rs"),
            "{text}"
        );
    }
}
