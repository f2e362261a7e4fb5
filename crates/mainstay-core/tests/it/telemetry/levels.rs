use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_core::telemetry::{self, CATEGORIES, Error, Format, Level, Options, Telemetry};
use tracing_subscriber::layer::Context;
use tracing_subscriber::{Layer, Registry};

use super::{Captured, logged};

/// One debug and one trace event for each target that a category could be asked for.
fn debug_everywhere() {
    macro_rules! say {
        ($($target:literal)*) => { $(
            tracing::debug!(target: $target, "debug");
            tracing::trace!(target: $target, "trace");
        )* };
    }
    say!("mainstay_redis::connection" "mainstay_sql::pool" "sqlx::query" "mainstay_core::metrics::render"
        "mainstay_core::cache" "mainstay_redis::cache" "mainstay_core::lock" "mainstay_core::event::bus"
        "mainstay_sql::outbox" "mainstay_http::server" "mainstay_auth::token" "mainstay_core::config::watch"
        "user_service");
}

fn targets(log: &Captured, message: &str) -> Vec<String> {
    let lines = log.json();
    let of_message = lines.iter().filter(|line| line["message"] == message);
    of_message.map(|line| line["target"].as_str().unwrap().to_owned()).collect()
}

fn with_debug(categories: &[&str]) -> Captured {
    let debug = categories.iter().map(|name| (*name).to_owned()).collect();
    logged(Format::Json, |options| options.debug = debug, |_| debug_everywhere())
}

#[test]
fn a_category_raises_its_own_targets_to_debug_and_no_others() {
    let raised = |category| targets(&with_debug(&[category]), "debug");
    assert_eq!(raised("redis"), ["mainstay_redis::connection", "mainstay_redis::cache"]);
    assert_eq!(raised("db"), ["mainstay_sql::pool", "sqlx::query", "mainstay_sql::outbox"]);
    assert_eq!(raised("metrics"), ["mainstay_core::metrics::render"]);
    assert_eq!(raised("cache"), ["mainstay_core::cache", "mainstay_redis::cache"]);
    assert_eq!(raised("lock"), ["mainstay_core::lock"]);
    assert_eq!(raised("events"), ["mainstay_core::event::bus", "mainstay_sql::outbox"]);
    assert_eq!(raised("http"), ["mainstay_http::server"]);
    assert_eq!(raised("auth"), ["mainstay_auth::token"]);
    assert_eq!(raised("config"), ["mainstay_core::config::watch"]);
}

#[test]
fn categories_add_up_and_the_star_is_all_of_them() {
    assert_eq!(
        targets(&with_debug(&["auth", "http"]), "debug"),
        ["mainstay_http::server", "mainstay_auth::token"]
    );
    let all = with_debug(&["*"]);
    assert_eq!(targets(&all, "debug").len(), 12, "all but the service's own");
    assert!(targets(&all, "trace").is_empty());
    assert!(with_debug(&[]).text().is_empty());
}

#[test]
fn a_category_never_lowers_the_level() {
    let log = logged(
        Format::Json,
        |options| (options.level, options.debug) = (Level::Trace, vec!["*".into()]),
        |_| debug_everywhere(),
    );
    assert_eq!((targets(&log, "debug").len(), targets(&log, "trace").len()), (13, 13));
}

#[test]
fn an_unknown_category_is_refused_with_the_list_and_changes_nothing() {
    let log = logged(
        Format::Json,
        |options| options.debug = vec!["auth".into()],
        |telemetry| {
            let error = telemetry.set_debug(["http", "htpp"]).unwrap_err();
            assert_eq!(error, Error::UnknownCategory { category: "htpp".into() });
            for (name, _) in CATEGORIES {
                assert!(error.to_string().contains(name));
            }
            debug_everywhere();
        },
    );
    assert_eq!(targets(&log, "debug"), ["mainstay_auth::token"]);
    let mut options = Options::default();
    options.debug = vec!["nonsense".into()];
    assert!(matches!(telemetry::subscriber(options).err(), Some(Error::UnknownCategory { .. })));
}

type Change = dyn Fn(&Telemetry);

#[test]
fn changes_take_effect_at_once_and_keep_each_other() {
    let say = || {
        tracing::error!("error");
        tracing::info!("info");
        tracing::debug!(target: "sqlx::query", "debug");
    };
    let steps: [(&Change, &[&str]); 6] = [
        (&|_| (), &["error", "info"]),
        (&|telemetry| telemetry.set_debug(["db"]).unwrap(), &["error", "info", "debug"]),
        (&|telemetry| telemetry.set_level(Level::Error), &["error", "debug"]),
        (&|telemetry| telemetry.set_debug(Vec::<String>::new()).unwrap(), &["error"]),
        (&|telemetry| telemetry.set_level(Level::Off), &[]),
        (&|telemetry| telemetry.set_level(Level::Debug), &["error", "info", "debug"]),
    ];
    let mut expected = Vec::new();
    let log = logged(
        Format::Json,
        |_| (),
        |telemetry| {
            for (change, lines) in steps {
                change(telemetry);
                say();
                expected.extend_from_slice(lines);
            }
        },
    );
    let said: Vec<_> = log.json().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, expected);
}

#[test]
fn levels_are_read_and_written_by_their_names() {
    for name in ["off", "error", "warn", "info", "debug", "trace"] {
        let level: Level = name.parse().unwrap();
        assert_eq!(serde_json::to_value(level).unwrap(), name);
    }
    assert_eq!("verbose".parse::<Level>(), Err(Error::UnknownLevel { level: "verbose".into() }));
}

#[test]
fn a_layer_of_the_caller_sees_what_is_logged() {
    struct Count(Arc<AtomicUsize>);
    impl Layer<Registry> for Count {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, Registry>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (log, seen) = (Captured::default(), Arc::new(AtomicUsize::new(0)));
    let options = Options::default().writer(log.clone()).layer(Box::new(Count(Arc::clone(&seen))));
    let (subscriber, _telemetry) = telemetry::subscriber(options).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("both");
        tracing::debug!("neither");
    });
    assert_eq!((seen.load(Ordering::SeqCst), log.text().lines().count()), (1, 1));
}

#[test]
fn two_applications_in_a_process_log_side_by_side() {
    let second = Captured::default();
    let (other, other_telemetry) = telemetry::subscriber(Options::default().writer(second.clone())).unwrap();
    other_telemetry.set_level(Level::Error);
    let first = logged(
        Format::Json,
        |_| (),
        |_| {
            tracing::info!("mine");
            tracing::subscriber::with_default(other, || tracing::info!("not asked for"));
        },
    );
    assert_eq!((first.text().lines().count(), second.text().as_str()), (1, ""));
}

#[test]
fn only_the_first_subscriber_of_a_process_is_installed() {
    let quiet = || Options::default().writer(std::io::sink());
    telemetry::init(quiet()).unwrap();
    assert_eq!(telemetry::init(quiet()).unwrap_err(), Error::AlreadyInstalled);
}
