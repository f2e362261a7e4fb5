//! A new release goes out: three instances on one Redis and one database are replaced one after the other, under load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_testkit::http::Request;
use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::{Service, Signal, eventually_async};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::{PATIENCE, get, service};

const INSTANCES: usize = 3;
const CLIENTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(5);
/// `SHUTDOWN_TIMEOUT`: who has not drained by then is cut off, and does not end with 0.
const DEADLINE: Duration = Duration::from_secs(20);

/// The instances that a load balancer sends requests to.
type Rotation = Arc<Mutex<Vec<SocketAddr>>>;

/// Clients that create users, each once, whichever instance answers.
struct Load {
    stop: Arc<AtomicBool>,
    created: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn start(rotation: &Rotation) -> Self {
        let (stop, created) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients = (0..CLIENTS).map(|client| {
            let (stop, created, rotation) = (Arc::clone(&stop), Arc::clone(&created), Arc::clone(rotation));
            async move {
                let mut users = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    users.push(create(&rotation, client, users.len()).await);
                    created.fetch_add(1, Ordering::Relaxed);
                    sleep(PAUSE).await;
                }
                users
            }
        });
        let clients = clients.collect();
        Self { stop, created, clients }
    }

    fn created(&self) -> usize {
        self.created.load(Ordering::Relaxed)
    }

    /// The ids of the users.
    async fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut users = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            users.extend(client.unwrap());
        }
        users
    }
}

/// Creates a user. Only an instance that has left the rotation may be gone; another is asked then, with the same key.
async fn create(rotation: &Rotation, client: usize, number: usize) -> String {
    let name = format!("{client}-{number}");
    let body = json!({"email": format!("{name}@example.org"), "name": name});
    for attempt in number.. {
        let address = {
            let rotation = rotation.lock().unwrap();
            rotation[attempt % rotation.len()]
        };
        let request = Request::post(address, "/api/users")
            .bearer(&crate::admin())
            .json(&body)
            .header("idempotency-key", name.clone());
        match request.try_send().await {
            Ok(answer) => {
                assert_eq!(answer.status, 201, "{}", answer.text());
                return answer.json()["id"].as_str().unwrap().to_owned();
            }
            Err(error) => assert!(!rotation.lock().unwrap().contains(&address), "{error}"),
        }
    }
    unreachable!("numbers do not end")
}

async fn start(dir: &TempDir, redis: &RedisServer) -> Service {
    let command = service().env("REDIS_URL", redis.url()).env("LOG_LEVEL", "warn");
    let command = command.env("DRAIN_DELAY", "1s").env("SHUTDOWN_TIMEOUT", DEADLINE.as_millis().to_string());
    command.dir(dir.path()).start().await
}

#[tokio::test]
async fn three_instances_are_replaced_under_load_and_nothing_is_lost_or_stuck() {
    let (dir, redis) = (TempDir::new().unwrap(), RedisServer::builder().aof_always().start().await);
    let mut instances = Vec::new();
    for _ in 0..INSTANCES {
        instances.push(start(&dir, &redis).await);
    }
    let rotation: Rotation = Arc::new(Mutex::new(instances.iter().map(Service::addr).collect()));
    let load = Load::start(&rotation);
    for _round in 0..2 {
        for instance in &mut instances {
            let before = load.created();
            eventually_async("there is load", PATIENCE, async || load.created() > before + 20).await;
            let old = instance.addr();
            instance.signal(Signal::Term);
            eventually_async("it says that it goes", PATIENCE, async || {
                Request::get(old, "/distributed/ready").send().await.status == 503
            })
            .await;
            rotation.lock().unwrap().retain(|address| *address != old);
            let exit = instance.wait_exit(DEADLINE + PATIENCE).await;
            assert!(exit.status.success(), "it drained in time: {}", exit.output);
            *instance = start(&dir, &redis).await;
            rotation.lock().unwrap().push(instance.addr());
        }
    }
    let users = load.end().await;
    let service = &instances[0];
    let events = Mutex::new(Value::Null);
    eventually_async("nothing is stuck", PATIENCE, async || {
        // 503 while Redis has no time for it.
        let answer = get(service, "/distributed/events").await;
        if answer.status != 200 {
            return false;
        }
        let events = &mut *events.lock().unwrap();
        *events = answer.json();
        let queues = events["queues"].as_array().unwrap_or_else(|| panic!("{events}"));
        let left = |queue: &Value| {
            ["queued", "pending", "delayed"].iter().map(|state| queue[state].as_u64().unwrap()).sum::<u64>()
        };
        let waiting = events["outbox"]["waiting"].as_u64().unwrap_or_else(|| panic!("{events}"));
        queues.iter().map(left).sum::<u64>() + waiting == 0
    })
    .await;
    for id in &users {
        let trail = get(service, &format!("/api/users/{id}/audit")).await.json();
        let created =
            trail["items"].as_array().unwrap().iter().filter(|item| item["event"] == "user.created");
        assert_eq!(created.count(), 1, "{id}: {trail}");
    }
    let events = events.into_inner().unwrap();
    assert_eq!(events["deadLetters"], json!([]), "{events}");
}
