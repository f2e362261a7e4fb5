use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::health::{Check, Health, Identity, Observation, Options, Status};
use mainstay_core::telemetry;
use serde_json::{Value, json};

use super::{SECOND, check_of, each_second, forever, health, until};

fn down(name: &str) -> Check {
    Check::new(name, || async { Err::<(), _>("connection refused") })
}

#[tokio::test(start_paused = true)]
async fn a_dead_dependency_changes_neither_liveness_nor_readiness_unless_it_gates() {
    let health = health(each_second());
    health.set_started(true);
    health.register(down("redis").critical()).unwrap();
    let _tasks = health.start(&forever());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(health.report().status, Status::Unhealthy);
    assert!(health.live().alive);
    assert!(health.ready().ready);

    health.register(down("database").gates_readiness()).unwrap();
    tokio::time::sleep(SECOND).await;
    assert!(health.live().alive);
    assert_eq!(health.ready().failed_checks, ["database"]);
}

#[tokio::test(start_paused = true)]
async fn answers_come_from_stored_results_while_every_probe_hangs() {
    let health = health(each_second());
    let calls = Arc::new(AtomicUsize::new(0));
    for name in ["a", "b", "c"] {
        let calls = Arc::clone(&calls);
        let hung = Check::new(name, move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<(), String>>()
        });
        health.register(hung.timeout(3600 * SECOND).gates_readiness()).unwrap();
    }
    let _tasks = health.start(&forever());
    tokio::time::sleep(SECOND).await;
    for _ in 0..10_000 {
        // Plain functions: there is nothing in them to wait for.
        assert!(health.live().alive);
        assert_eq!(health.ready().failed_checks, ["starting", "a", "b", "c"]);
        assert_eq!(health.report().checks.len(), 3);
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(calls.load(Ordering::SeqCst), 3, "one run each, none by reading");
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_start_and_drain() {
    let health = health(each_second());
    assert_eq!(health.ready().failed_checks, ["starting"]);
    assert_eq!(json(&health.ready()), json!({"status": "not ready", "failedChecks": ["starting"]}));
    health.set_started(true);
    assert_eq!(json(&health.ready()), json!({"status": "ready"}));
    health.set_draining();
    assert_eq!(health.ready().failed_checks, ["draining"]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_without_a_result_is_closed_for_the_startup_grace_only() {
    let health = health(each_second());
    health.set_started(true);
    health.register(down("database").gates_readiness()).unwrap();
    assert_eq!(health.ready().failed_checks, ["database"], "not probed yet");
    tokio::time::sleep(Options::default().startup_grace).await;
    assert!(health.ready().ready, "nobody probes: unknown is not failed");
}

#[tokio::test(start_paused = true)]
async fn a_result_older_than_three_intervals_is_unknown() {
    let health = health(each_second());
    health.register(Check::new("good", || async { Ok::<_, String>(()) })).unwrap();
    health.register(down("bad").critical()).unwrap();
    let tasks = health.start(&forever());
    tokio::time::sleep(SECOND / 2).await;
    drop(tasks);
    tokio::time::sleep(2 * SECOND + SECOND / 2).await;
    assert_eq!(check_of(&health, "good").status, Status::Healthy);
    tokio::time::sleep(SECOND / 10).await;
    let good = check_of(&health, "good");
    assert_eq!(
        (good.status, good.message.as_deref()),
        (Status::Degraded, Some("unknown: no result for 3100 ms"))
    );
    assert_eq!(check_of(&health, "bad").status, Status::Unhealthy, "silence is no recovery");
    assert_eq!(health.report().status, Status::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn subscribers_learn_that_a_result_got_too_old() {
    let health = health(each_second());
    let calls = AtomicUsize::new(0);
    let hangs_later = Check::new("db", move || {
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if first { Ok::<_, String>(()) } else { std::future::pending().await } }
    });
    health.register(hangs_later.timeout(3600 * SECOND)).unwrap();
    let mut status = health.subscribe();
    let _tasks = health.start(&forever());
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(*status.borrow_and_update(), Status::Healthy);
    let learnt = tokio::time::timeout(3 * SECOND, status.wait_for(|status| *status == Status::Degraded));
    learnt.await.expect("within a second of the third interval").unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_critical_failures_make_the_service_unhealthy() {
    let health = health(each_second());
    let _tasks = health.start(&forever());
    let mut seen = Vec::new();
    let warning = || async { Ok::<_, String>(Observation::of(91.0, "percent").warn("nearly full")) };
    for check in [
        Check::new("fine", || async { Ok::<_, String>(()) }),
        Check::new("queue", warning),
        down("mail"),
        down("database").critical(),
    ] {
        health.register(check).unwrap();
        tokio::time::sleep(SECOND).await;
        let status = health.report().status;
        seen.push((status, status.is_serving()));
    }
    use Status::{Degraded, Healthy, Unhealthy};
    assert_eq!(seen, [(Healthy, true), (Degraded, true), (Degraded, true), (Unhealthy, false)]);
    health.deregister("database");
    assert_eq!(*health.subscribe().borrow(), Degraded);
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_process_is_not_live_and_keeps_its_first_reason() {
    let health = health(each_second());
    assert!(health.live().alive);
    health.poison("lost the journal");
    health.poison("and then this");
    let live = health.live();
    assert_eq!(live.reason.as_deref(), Some("lost the journal"));
    assert_eq!(json(&live)["status"], "dead");
    assert_eq!(json(&live).get("reason"), None, "liveness is open to everybody");
}

#[tokio::test(start_paused = true)]
async fn liveness_is_not_judged_after_the_probes_were_stopped() {
    let health = health(each_second());
    let tasks = health.start(&forever());
    tokio::time::sleep(60 * SECOND).await;
    assert!(health.live().alive);
    tasks.stop(SECOND).await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert!(health.live().alive, "a draining process must not be restarted");
}

#[tokio::test(start_paused = true)]
async fn the_json_is_what_dashboards_depend_on() {
    let mut identity = Identity::default();
    identity.service_id = "user-service".into();
    identity.instance_id = "host-1".into();
    identity.environment = "production".into();
    identity.region = Some("eu-west-1".into());
    identity.version = "1.2.3".into();
    let health = Health::new(each_second(), identity);
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(12)).await;
        Err::<(), _>("postgres://app:secret@db:5432\nrefused")
    };
    health.register(Check::new("database", slow).kind("database").critical()).unwrap();
    let full = || async { Ok::<_, String>(Observation::of(91.5, "percent").warn("nearly full")) };
    health.register(Check::new("memory", full).kind("system")).unwrap();
    health.register(Check::new("search", || async { Ok::<_, String>(()) })).unwrap();
    let _tasks = health.start(&forever());
    tokio::time::sleep(Duration::from_millis(100)).await;
    health.register(Check::new("late", || async { Ok::<_, String>(()) })).unwrap();

    let report = health.report();
    let mut body = json(&report);
    for (name, check) in body["checks"].as_object_mut().unwrap() {
        assert!(name == "late" || check["lastChecked"].as_i64().unwrap() > 1_700_000_000_000);
        check.as_object_mut().unwrap().remove("lastChecked");
    }
    assert!(body["timestamp"].take().as_i64().unwrap() > 1_700_000_000_000);
    let expected = json!({
        "status": "unhealthy", "timestamp": null, "uptime": 100, "version": "1.2.3",
        "checks": {
            "database": {
                "status": "unhealthy", "responseTime": 12, "critical": true, "kind": "database", "age": 88,
                "message": "postgres://***@db:5432 refused", "consecutiveFailures": 1
            },
            "late": {
                "status": "degraded", "responseTime": 0, "critical": false,
                "message": "unknown: no result yet", "consecutiveFailures": 0
            },
            "memory": {
                "status": "degraded", "responseTime": 0, "critical": false, "kind": "system", "age": 100,
                "message": "nearly full", "consecutiveFailures": 0,
                "observedValue": 91.5, "observedUnit": "percent"
            },
            "search": {
                "status": "healthy", "responseTime": 0, "critical": false, "age": 100, "consecutiveFailures": 0
            }
        },
        "metadata": {
            "serviceId": "user-service", "instanceId": "host-1", "environment": "production",
            "region": "eu-west-1", "zone": null
        }
    });
    assert_eq!(body, expected);

    let mut body = json(&report.to_health_json());
    for check in body["checks"].as_object_mut().unwrap().values_mut() {
        if let Some(time) = check[0].as_object_mut().unwrap().remove("time") {
            assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        }
    }
    let expected = json!({
        "status": "fail", "releaseId": "1.2.3", "serviceId": "user-service",
        "checks": {
            "database": [{
                "componentId": "database", "componentType": "database", "status": "fail",
                "observedValue": 12.0, "observedUnit": "ms", "output": "postgres://***@db:5432 refused"
            }],
            "late": [{"componentId": "late", "status": "warn", "output": "unknown: no result yet"}],
            "memory": [{
                "componentId": "memory", "componentType": "system", "status": "warn",
                "observedValue": 91.5, "observedUnit": "percent", "output": "nearly full"
            }],
            "search": [{"componentId": "search", "status": "pass", "observedValue": 0.0, "observedUnit": "ms"}]
        }
    });
    assert_eq!(body, expected);
}

#[tokio::test(start_paused = true)]
async fn each_change_is_logged_once() {
    // While a process has one dispatcher only, `tracing` asks that of the thread which meets a call
    // site first, here perhaps that of another test without any; with two it asks both.
    let _bystander = tracing::Dispatch::new(tracing_subscriber::registry());
    let log = crate::telemetry::Captured::default();
    let mut options = telemetry::Options::default().writer(log.clone());
    options.format = telemetry::Format::Json;
    let (subscriber, _telemetry) = telemetry::subscriber(options).unwrap();
    let _default = tracing::subscriber::set_default(subscriber);

    let health = health(each_second());
    let up_again = Arc::new(AtomicUsize::new(0));
    let run = Arc::clone(&up_again);
    let probe = move || {
        let up = run.fetch_add(1, Ordering::SeqCst) >= 10;
        async move { if up { Ok(()) } else { Err("refused") } }
    };
    health.register(Check::new("db", probe).critical()).unwrap();
    let _tasks = health.start(&forever());
    until("it recovered", || health.report().status == Status::Healthy).await;
    tokio::time::sleep(10 * SECOND).await;

    let lines = log.json();
    let told: Vec<_> = lines.iter().map(|line| (line["level"].as_str(), line["message"].as_str())).collect();
    assert_eq!(
        told,
        [
            (Some("ERROR"), Some("critical health check failed")),
            (Some("INFO"), Some("health status changed")),
            (Some("INFO"), Some("health check recovered")),
            (Some("INFO"), Some("health status changed")),
        ]
    );
    assert_eq!(lines[0]["reason"], "refused");
}

fn json(answer: &impl serde::Serialize) -> Value {
    serde_json::to_value(answer).unwrap()
}
