//! The event bus from the command line.

use std::path::Path;

use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::{Exit, Signal, eventually_async};
use tempfile::TempDir;

use crate::*;

/// Where a service has its files, and its Redis if it has one.
struct Place<'a> {
    dir: &'a Path,
    redis: Option<&'a str>,
}

impl Place<'_> {
    fn command(&self) -> ServiceCommand {
        let command = service().dir(self.dir);
        match self.redis {
            Some(url) => command.env("REDIS_URL", url),
            None => command,
        }
    }

    /// `user-service events …`
    async fn events(&self, args: &[&str]) -> Exit {
        args.iter().fold(self.command().arg("events"), |command, arg| command.arg(arg)).run(PATIENCE).await
    }
}

/// The cells of the line that begins with this one.
fn line<'a>(exit: &'a Exit, begins: &str) -> Vec<&'a str> {
    assert!(exit.status.success(), "{}", exit.output);
    let found = exit.output.lines().find(|line| line.starts_with(begins));
    found.unwrap_or_else(|| panic!("no {begins} in {}", exit.output)).split_whitespace().collect()
}

#[tokio::test]
async fn an_operator_lists_queues_and_dead_letters_and_redrives_one_while_the_service_runs_or_not() {
    let dir = TempDir::new().unwrap();
    lists_and_redrives(&Place { dir: dir.path(), redis: None }).await;
}

#[tokio::test]
async fn an_operator_does_the_same_with_events_that_are_on_redis() {
    let (mut server, dir) = (RedisServer::start().await, TempDir::new().unwrap());
    let url = server.url();
    let place = Place { dir: dir.path(), redis: Some(&url) };
    lists_and_redrives(&place).await;
    server.kill();
    let exit = place.events(&["list"]).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    assert!(exit.output.contains("error: "), "{}", exit.output);
}

async fn lists_and_redrives(place: &Place<'_>) {
    let mut running = place.command().start().await;
    // The trail cannot read this.
    let path = "/distributed/events/user.created";
    let published =
        Request::post(running.addr(), path).bearer(&crate::admin()).json(&json!({"no": "user"})).send().await;
    let event = published.json()["id"].as_str().unwrap().to_owned();
    let id = format!("audit/user.created/{event}");
    eventually_async("it is dead", PATIENCE, async || {
        place.events(&["dead-letters"]).await.output.contains(&id)
    })
    .await;
    let listed = place.events(&[]).await;
    assert_eq!(line(&listed, "GROUP")[..3], ["GROUP", "PATTERN", "INSTANCE"]);
    let queue = listed.output.lines().find(|line| line.contains(" user.created ")).unwrap();
    let cells: Vec<&str> = queue.split_whitespace().collect();
    assert_eq!(cells, ["audit", "user.created", "-", "no", "0", "0", "0", "1", "-"]);
    let letters = place.events(&["dead-letters"]).await;
    let letter = line(&letters, &id);
    assert_eq!(letter[1], "1", "{letter:?}");
    assert!(letter.len() > 3, "it has a cause: {letter:?}");

    assert_eq!(place.events(&["redrive", &id]).await.output.trim(), format!("redriven {id}"));
    eventually_async("the service has tried it once more", PATIENCE, async || {
        let (handled, dead) =
            ("events_handled_total{group=\"audit\",result=\"dead\",type=\"user.created\"}", 2);
        metric(&running, handled).await == dead
    })
    .await;

    running.signal(Signal::Term);
    assert!(running.wait_exit(PATIENCE).await.status.success());
    assert_eq!(line(&place.events(&["dead-letters"]).await, &id)[0], id);
    assert!(place.events(&["redrive", &id]).await.status.success());
    let again = place.events(&["redrive", &id]).await;
    assert_eq!(again.status.code(), Some(1), "{}", again.output);
    assert!(again.output.contains("no such dead letter"), "{}", again.output);
    assert_eq!(place.events(&["dead-letters"]).await.output.trim(), "no dead letters");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_a_code() {
    let dir = TempDir::new().unwrap();
    let place = Place { dir: dir.path(), redis: None };
    for (args, code, says) in [
        (&["list"][..], 1, "run `migrate` first"),
        (&["redrive", "a"], 2, "group/pattern/id"),
        (&["redrive"], 2, "Usage"),
        (&["mend"], 2, "mend"),
    ] {
        let exit = place.events(args).await;
        assert_eq!(exit.status.code(), Some(code), "{args:?}: {}", exit.output);
        assert!(exit.output.contains(says), "{args:?}: {}", exit.output);
    }
    assert!(service().dir(dir.path()).arg("migrate").run(PATIENCE).await.status.success());
    assert_eq!(place.events(&["list"]).await.output.trim(), "no queues");
}
