use std::sync::mpsc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use mainstay_core::deadline::Deadline;
use mainstay_core::metrics::Format;
use mainstay_testkit::eventually_async;
use tokio::time::Instant;

use super::*;

fn quick() -> Options {
    Options { memory_kib: 64, passes: 1, concurrent: 1, queue: 1, ..Options::default() }
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// How many hashes were worked out.
fn hashes(metrics: &Metrics) -> u64 {
    let text = metrics.render(Format::Prometheus);
    let line = text.lines().find_map(|line| line.strip_prefix("password_work_seconds_count "));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Waits until all places and hands are free.
async fn idle(passwords: &Passwords, all: (usize, usize)) {
    eventually_async("nobody is at work", Duration::from_secs(10), async || passwords.0.crew.free() == all)
        .await;
}

#[tokio::test]
async fn only_the_password_that_was_kept_is_right() {
    let passwords = Passwords::new(quick());
    let kept = passwords.hash(secret("correct horse")).await.unwrap();
    let again = passwords.hash(secret("correct horse")).await.unwrap();
    assert_ne!(kept, again, "two people may have the same password");
    assert!(kept.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{kept}");
    assert!(!kept.contains("correct"));

    assert_eq!(
        passwords.verify(secret("correct horse"), Some(&kept)).await,
        Ok(Verdict::Right { rehash: false })
    );
    for wrong in ["", "correct hors", "correct horse ", "Correct horse", "correct horse\0"] {
        assert_eq!(passwords.verify(secret(wrong), Some(&kept)).await, Ok(Verdict::Wrong), "{wrong:?}");
    }
}

#[tokio::test]
async fn hashes_of_other_parameters_are_right_and_to_be_replaced() {
    let today = Passwords::new(quick());
    let others = [
        Options { memory_kib: 128, ..quick() },
        Options { memory_kib: 32, ..quick() },
        Options { passes: 2, ..quick() },
        Options { lanes: 2, ..quick() },
    ];
    for other in others {
        let kept = Passwords::new(other.clone()).hash(secret("correct horse")).await.unwrap();
        let verdict = today.verify(secret("correct horse"), Some(&kept)).await;
        assert_eq!(verdict, Ok(Verdict::Right { rehash: true }), "{other:?}");
        assert_eq!(today.verify(secret("battery staple"), Some(&kept)).await, Ok(Verdict::Wrong));
    }
    // Of the reference implementation: `echo -n password | argon2 somesalt -t 2 -m 16 -p 1`, in each of its kinds.
    for kept in [
        "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ] {
        let verdict = today.verify(secret("password"), Some(kept)).await;
        assert_eq!(verdict, Ok(Verdict::Right { rehash: true }), "{kept}");
    }
}

#[tokio::test]
async fn what_is_kept_and_cannot_be_checked_is_said_and_never_right() {
    let passwords = Passwords::new(quick());
    let salt = "c29tZXNhbHRzb21lc2FsdA";
    let hash = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    for kept in [
        String::new(),
        "password".to_owned(),
        "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy".to_owned(),
        format!("$argon2id$v=19$m=64,t=1,p=1${salt}"),
        format!("$argon2id$v=19$m=64,t=1,p=1${salt}$AAAAAA"),
        format!("$argon2id$v=18$m=64,t=1,p=1${salt}${hash}"),
        format!("$argon2x$v=19$m=64,t=1,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=4294967295,t=1,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=64,t=4294967295,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=1048576,t=1,p=1000${salt}${hash}"),
        format!("$argon2id$v=19$m=64,t=1,p=1$c2FsdA${hash}"),
        format!("$argon2id$v=19$m=0,t=0,p=0${salt}${hash}"),
    ] {
        let verdict = passwords.verify(secret("password"), Some(&kept)).await;
        assert_eq!(verdict, Err(Error::Unreadable), "{kept}");
    }
}

/// A path that works out no hash takes microseconds, not milliseconds: a quarter of the time is far from both.
#[tokio::test]
async fn an_account_that_does_not_exist_costs_one_hash_of_todays_parameters() {
    let passwords = Passwords::new(Options { memory_kib: 2048, ..quick() });
    let kept = passwords.hash(secret("correct horse")).await.unwrap();
    let argon = &passwords.0.argon;
    let least = |kept: Option<&str>| {
        let once = || {
            let began = Instant::now();
            let verdict = argon.verify(&secret("battery staple"), kept);
            assert!(matches!(verdict, Ok(Verdict::Wrong) | Err(Error::Unreadable)), "{verdict:?}");
            began.elapsed()
        };
        (0..5).map(|_| once()).min().unwrap()
    };
    let wrong = least(Some(&kept));
    for kept in
        [None, Some("not a hash"), Some("$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")]
    {
        let time = least(kept);
        assert!(time > wrong / 4 && time < wrong * 4, "{kept:?} takes {time:?}, a wrong password {wrong:?}");
    }
    let nobody = argon.nobody();
    assert_eq!(nobody.split('$').collect::<Vec<_>>()[..4], kept.split('$').collect::<Vec<_>>()[..4]);
    assert_eq!(nobody.len(), kept.len());
}

#[test]
fn a_password_that_breaks_a_rule_is_refused_with_the_rule() {
    let passwords = Passwords::new(quick());
    let check = |text: &str| passwords.check(&secret(text));
    assert_eq!(check("1234567"), Err(Unfit::TooShort { least: 8 }));
    assert_eq!(check("12345678"), Ok(()));
    assert_eq!(check("éééééééé"), Ok(()), "characters are counted, not bytes");
    assert_eq!(check("ééééééé"), Err(Unfit::TooShort { least: 8 }));
    assert_eq!(check(&"🔑".repeat(128)), Ok(()));
    assert_eq!(check(&"x".repeat(129)), Err(Unfit::TooLong { most: 128 }));
    assert_eq!(check(&"x".repeat(1025)), Err(Unfit::TooManyBytes { most: 1024 }));
    assert_eq!(Unfit::TooShort { least: 8 }.to_string(), "a password has at least 8 characters");

    let lax = Policy { least: 0, most: usize::MAX };
    assert_eq!(lax.check(&secret(&"x".repeat(1024))), Ok(()));
    assert_eq!(lax.check(&secret(&"x".repeat(1025))), Err(Unfit::TooManyBytes { most: 1024 }));
}

#[tokio::test]
async fn nothing_is_hashed_for_a_password_that_is_unfit_or_too_long() {
    let metrics = Metrics::new();
    let passwords = Passwords::measured(quick(), &metrics);
    assert_eq!(passwords.hash(secret("short")).await, Err(Error::Unfit(Unfit::TooShort { least: 8 })));
    assert_eq!(passwords.verify(secret(&"x".repeat(1025)), None).await, Ok(Verdict::Wrong));
    assert_eq!(hashes(&metrics), 0);
}

/// Passwords whose one hand is busy, with the caller it works for: until the sender is dropped.
fn busy(options: Options) -> (Passwords, mpsc::Sender<()>, BoxFuture<'static, Result<(), Error>>) {
    let passwords = Passwords::new(options);
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let crew = passwords.clone();
    let work = move || {
        let _ = begun.send(());
        let _ = held.recv();
    };
    let mut caller = async move { crew.0.crew.run(work).await }.boxed();
    assert!(caller.as_mut().now_or_never().is_none());
    begins.recv().expect("the work begins");
    (passwords, release, caller)
}

#[tokio::test]
async fn who_finds_the_queue_full_is_told_at_once() {
    let (passwords, release, first) = busy(quick());
    let mut second = Box::pin(passwords.verify(secret("password"), None));
    assert!(second.as_mut().now_or_never().is_none(), "the second waits");
    assert_eq!(passwords.verify(secret("password"), None).now_or_never(), Some(Err(Error::Busy)));
    assert_eq!(passwords.hash(secret("password")).now_or_never(), Some(Err(Error::Busy)));

    drop(release);
    assert_eq!(second.await, Ok(Verdict::Wrong));
    assert_eq!(first.await, Ok(()));
}

#[tokio::test]
async fn hanging_up_makes_no_room_before_the_work_is_done() {
    let (passwords, release, first) = busy(Options { queue: 0, ..quick() });
    drop(first);
    assert_eq!(passwords.verify(secret("password"), None).now_or_never(), Some(Err(Error::Busy)));
    assert_eq!(passwords.0.crew.free(), (0, 0));

    drop(release);
    idle(&passwords, (1, 1)).await;
    assert_eq!(passwords.verify(secret("password"), None).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn who_hangs_up_while_waiting_leaves_the_line() {
    let (passwords, release, first) = busy(quick());
    for _ in 0..3 {
        let mut waits = Box::pin(passwords.verify(secret("password"), None));
        assert!(waits.as_mut().now_or_never().is_none());
    }
    drop(release);
    assert_eq!(first.await, Ok(()));
    assert_eq!(passwords.verify(secret("password"), None).await, Ok(Verdict::Wrong));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_told_or_than_the_caller_does() {
    let passwords = Passwords::new(Options { wait: Duration::from_secs(5), ..quick() });
    let _busy = passwords.0.crew.occupy();
    let began = Instant::now();
    assert_eq!(passwords.verify(secret("password"), None).await, Err(Error::Busy));
    assert_eq!(began.elapsed().as_secs(), 5);

    let began = Instant::now();
    let verify = passwords.verify(secret("password"), None);
    assert_eq!(Deadline::after(Duration::from_secs(1)).scope(verify).await, Err(Error::Busy));
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_more_hash_at_a_time_than_may() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let passwords = Passwords::new(Options { concurrent: 2, queue: 100, ..quick() });
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls = (0..50).map(|index| {
        let (passwords, now, most) = (passwords.clone(), Arc::clone(&now), Arc::clone(&most));
        tokio::spawn(async move {
            let work = passwords.0.crew.run(move || {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, SeqCst);
            });
            // Every other one hangs up after it has begun.
            if index % 2 == 0 { work.now_or_never().is_some() } else { work.await.is_ok() }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    idle(&passwords, (102, 2)).await;
    assert!((1..=2).contains(&most.load(SeqCst)), "{most:?}");
}

#[tokio::test]
async fn options_out_of_range_count_as_the_nearest_in_it() {
    let none = Options { memory_kib: 0, passes: 0, lanes: 0, concurrent: 0, ..Options::default() };
    let kept = Passwords::new(none).hash(secret("correct horse")).await.unwrap();
    assert!(kept.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{kept}");
    let most = u32::MAX;
    let all = Options {
        memory_kib: most,
        passes: most,
        lanes: most,
        concurrent: usize::MAX,
        queue: usize::MAX,
        ..Options::default()
    };
    assert!(Passwords::new(all).0.argon.nobody().contains("m=1048576,t=64,p=64"));
}

#[tokio::test]
async fn what_was_asked_and_answered_is_counted() {
    let metrics = Metrics::new();
    let passwords = Passwords::measured(quick(), &metrics);
    let kept = passwords.hash(secret("correct horse")).await.unwrap();
    let _ = passwords.hash(secret("short")).await;
    let _ = passwords.verify(secret("correct horse"), Some(&kept)).await;
    let _ = passwords.verify(secret("battery staple"), None).await;
    let _ = passwords.verify(secret("battery staple"), Some("none")).await;
    let text = metrics.render(Format::Prometheus);
    for (operation, result) in [
        ("hash", "done"),
        ("hash", "unfit"),
        ("verify", "right"),
        ("verify", "wrong"),
        ("verify", "unreadable"),
    ] {
        let line = format!("password_operations_total{{operation=\"{operation}\",result=\"{result}\"}} 1\n");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert!(text.contains("password_work_seconds_count 4\n"), "{text}");
}

#[test]
fn no_formatter_shows_a_password() {
    let passwords = Passwords::new(quick());
    let password = secret("canary-7f3a");
    let unfit = passwords.check(&secret("canary")).unwrap_err();
    let shown = format!("{passwords:?} {password:?} {unfit} {unfit:?} {:?}", Error::Unfit(unfit));
    assert!(!shown.contains("canary"), "{shown}");
}
