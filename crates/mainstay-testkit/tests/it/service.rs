//! Promises of `Service`, with shell scripts for services.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use mainstay_testkit::{Service, ServiceCommand, Signal, eventually_async, program};

const DEADLINE: Duration = Duration::from_secs(30);

fn script(text: &str) -> ServiceCommand {
    Service::command(program("sh", "dash")).arg("-c").arg(text)
}

#[tokio::test]
async fn the_printed_address_is_where_the_service_listens() {
    let service =
        script("echo starting; echo listening on http://127.0.0.1:4711/ >&2; exec sleep 600").start().await;
    assert_eq!(service.addr(), ([127, 0, 0, 1], 4711).into());
    assert_eq!(service.url(), "http://127.0.0.1:4711");
    assert_eq!(service.output_so_far(), "starting\nlistening on http://127.0.0.1:4711/\n");
}

#[tokio::test]
#[should_panic(expected = "the service ended without an address:\nno config")]
async fn a_service_that_ends_at_start_panics_with_its_output() {
    script("echo no config; exit 1").start().await;
}

#[tokio::test]
#[should_panic(expected = "still running after 10ms:\nbusy")]
async fn waiting_for_an_exit_that_does_not_come_ends_at_the_deadline() {
    let mut service = script("echo busy; exec sleep 600").spawn();
    eventually_async("it is busy", DEADLINE, async || service.output_so_far() == "busy\n").await;
    service.wait_exit(Duration::from_millis(10)).await;
}

#[tokio::test]
async fn a_command_ends_with_its_exit_code_and_both_streams_in_order() {
    let exit = script("echo one; echo two >&2; printf three; exit 7").run(DEADLINE).await;
    assert_eq!(exit.status.code(), Some(7));
    assert_eq!(exit.output, "one\ntwo\nthree");
}

#[tokio::test]
async fn more_output_than_a_pipe_holds_does_not_stop_the_process() {
    let exit = script(
        "i=0; while [ $i -lt 4000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
    )
    .run(DEADLINE)
    .await;
    assert_eq!(exit.output.lines().count(), 4000);
}

#[tokio::test]
async fn the_environment_is_what_the_test_says_and_a_free_port() {
    let exit = script("env").env("APP_ENV", "test").run(DEADLINE).await;
    // PWD and the like are the shell's own.
    let mut names: Vec<&str> = exit.output.lines().filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"));
    names.sort_unstable();
    assert_eq!(names, ["APP_ENV", "PATH", "PORT"]);
    assert!(exit.output.contains("PORT=0\n") && exit.output.contains("APP_ENV=test\n"));
}

#[tokio::test]
async fn each_service_has_a_directory_of_its_own_that_goes_with_it() {
    let mut service = script("echo data > file").spawn();
    assert!(service.wait_exit(DEADLINE).await.status.success());
    let dir = service.dir().to_owned();
    assert_eq!(std::fs::read_to_string(dir.join("file")).unwrap(), "data\n");
    drop(service);
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_second_start_in_a_given_directory_finds_what_the_first_left() {
    let dir = tempfile::tempdir().unwrap();
    script("echo data > file").dir(dir.path()).run(DEADLINE).await;
    assert_eq!(script("cat file").dir(dir.path()).run(DEADLINE).await.output, "data\n");
}

#[tokio::test]
async fn a_terminated_service_can_clean_up_and_a_killed_one_cannot() {
    const TRAPPING: &str =
        "trap 'echo bye; exit 0' TERM; echo http://127.0.0.1:1; while :; do sleep 0.01; done";
    let mut service = script(TRAPPING).start().await;
    service.signal(Signal::Term);
    let exit = service.wait_exit(DEADLINE).await;
    assert!(exit.status.success() && exit.output.ends_with("bye\n"), "{exit:?}");

    let mut service = script(TRAPPING).start().await;
    service.signal(Signal::Kill);
    let exit = service.wait_exit(DEADLINE).await;
    assert_eq!(exit.status.signal(), Some(9));
    assert!(!exit.output.contains("bye"));
}

#[tokio::test]
async fn a_stopped_service_is_frozen_until_it_is_continued() {
    let mut service =
        script("trap 'exit 3' INT; echo http://127.0.0.1:1; while :; do sleep 0.01; done").start().await;
    service.signal(Signal::Stop);
    eventually_async("it is stopped", DEADLINE, async || state(service.pid()) == Some('T')).await;
    service.signal(Signal::Int);
    service.signal(Signal::Cont);
    assert_eq!(service.wait_exit(DEADLINE).await.status.code(), Some(3));
}

#[tokio::test]
async fn dropping_a_service_ends_its_process_even_when_it_is_stopped() {
    let service = script("echo http://127.0.0.1:1; exec sleep 600").start().await;
    let pid = service.pid();
    service.signal(Signal::Stop);
    drop(service);
    eventually_async("the process is gone", DEADLINE, async || matches!(state(pid), None | Some('Z'))).await;
}

/// The state letter of a process, as the kernel tells it.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
