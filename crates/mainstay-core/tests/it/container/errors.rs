//! The text of every message, word for word: it is what a person has when nothing starts.

use std::time::Duration;

use mainstay_core::container::{All, Binding, Builder, Container, Dep, Error};

trait UserRepository: Send + Sync {}
struct UserController;
struct UserService;
struct Pool;
struct Primary;
struct Replica;
struct RequestId;

/// The problems of a graph that must be refused.
async fn problems(builder: Builder) -> Vec<String> {
    match builder.build().await {
        Err(Error::Graph { problems }) => problems,
        other => panic!("expected a graph error, got {other:?}"),
    }
}

#[tokio::test]
async fn a_missing_binding_shows_the_whole_path_and_the_remedy() {
    let mut builder = Container::builder();
    builder.provide(|_: Dep<UserService>| async { UserController });
    builder.provide(|_: Dep<dyn UserRepository>| async { UserService });
    assert_eq!(
        builder.build().await.unwrap_err().to_string(),
        "the container cannot be built (1 problem):\n\
         - UserController → UserService → dyn UserRepository: not provided; \
         provide it with `container.provide_dyn(…)`"
    );
}

#[tokio::test]
async fn a_missing_name_lists_the_names_that_exist() {
    let mut builder = Container::builder();
    builder.value(Pool);
    builder.value(Pool).named::<Replica>();
    builder.provide(|_: Dep<Pool, Primary>| async { UserService });
    assert_eq!(
        problems(builder).await,
        ["UserService → Pool (Primary): not provided; \
          provide it with `container.provide(…).named::<Primary>()`, or take Pool or Pool (Replica)"]
    );
}

#[tokio::test]
async fn a_binding_that_is_only_contributed_points_to_all() {
    let mut builder = Container::builder();
    builder.value(Pool).contribute();
    builder.provide(|_: Dep<Pool>| async { UserService });
    assert_eq!(
        problems(builder).await,
        ["UserService → Pool: not provided; \
          provide it with `container.provide(…)`, or take the contributions with `All<Pool>`"]
    );
}

#[tokio::test]
async fn a_binding_provided_twice_names_both_call_sites() {
    let mut builder = Container::builder();
    let line = line!();
    builder.value(Pool);
    builder.provide(|| async { Pool });
    assert_eq!(
        problems(builder).await,
        [format!(
            "Pool: provided more than once, at {file}:{}:13 and {file}:{}:13; \
             keep one, name them, or replace it in `override_with`",
            line + 1,
            line + 2,
            file = file!(),
        )]
    );
}

#[tokio::test]
async fn a_cycle_is_shown_from_end_to_end() {
    let mut builder = Container::builder();
    builder.provide(|_: Dep<UserService>| async { UserController });
    builder.provide(|_: Dep<Pool>| async { UserService });
    builder.provide(|_: Dep<UserService>| async { Pool });
    assert_eq!(
        problems(builder).await,
        ["UserService → Pool → UserService: a cycle; move what both sides need into a third component"]
    );
}

#[tokio::test]
async fn a_component_that_needs_itself_is_a_cycle() {
    let mut builder = Container::builder();
    builder.provide(|_: Option<Dep<Pool>>| async { Pool });
    builder.provide(|_: All<UserService>| async { UserService }).contribute();
    assert_eq!(
        problems(builder).await,
        [
            "Pool → Pool: a cycle; move what both sides need into a third component",
            "UserService[0] → UserService[0]: a cycle; move what both sides need into a third component",
        ]
    );
}

#[tokio::test]
async fn a_singleton_that_would_keep_something_scoped_is_refused() {
    let mut builder = Container::builder();
    builder.provide(|| async { RequestId }).scoped();
    builder.provide(|_: Dep<RequestId>| async { Pool }).transient();
    builder.provide(|_: Dep<RequestId>| async { UserService });
    builder.provide(|_: Dep<Pool>| async { UserController });
    assert_eq!(
        problems(builder).await,
        [
            "UserService → RequestId: the singleton UserService would keep the scoped RequestId; \
             make UserService scoped or RequestId a singleton",
            "UserController → Pool → RequestId: the singleton UserController would keep the scoped \
             RequestId; make UserController scoped or RequestId a singleton",
        ]
    );
}

#[tokio::test]
async fn hooks_on_anything_but_a_singleton_are_refused() {
    let mut builder = Container::builder();
    builder.provide(|| async { RequestId }).scoped().on_start(|_| async {});
    builder.provide(|| async { Pool }).transient().on_stop(|_| async {});
    assert_eq!(
        problems(builder).await,
        [
            "RequestId: start and stop hooks need a singleton, this is scoped",
            "Pool: start and stop hooks need a singleton, this is transient",
        ]
    );
}

#[tokio::test]
async fn overriding_what_nobody_provides_is_refused() {
    let mut builder = Container::builder();
    let line = line!() + 1;
    builder.override_with(|test| _ = test.value(Pool));
    assert_eq!(
        problems(builder).await,
        [format!("Pool: overridden at {}:{line}:43, but nothing provides it", file!())]
    );
}

#[tokio::test]
async fn every_problem_is_reported_at_once_and_nothing_is_built() {
    let mut builder = Container::builder();
    builder.provide(|| async { unreachable!("a constructor ran") as UserController });
    builder.provide(|| async { RequestId }).scoped();
    builder.provide(|_: Dep<RequestId>, _: Dep<Pool, Primary>| async { UserService });
    builder.provide(|_: Dep<Pool>| async { Pool });
    builder.provide(|| async { Pool }).named::<Replica>();
    builder.provide(|| async { Pool }).named::<Replica>();
    let text = builder.build().await.unwrap_err().to_string();
    assert!(text.starts_with("the container cannot be built (4 problems):\n- Pool (Replica): "), "{text}");
    for part in ["provided more than once", "not provided", "a cycle", "would keep"] {
        assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
    }
}

#[tokio::test]
async fn two_types_with_one_short_name_are_written_out() {
    mod billing {
        pub(super) struct Pool;
    }
    let mut builder = Container::builder();
    builder.value(billing::Pool);
    builder.provide(|_: Dep<Pool>, _: Dep<billing::Pool>| async { UserService });
    assert_eq!(
        problems(builder).await,
        ["UserService → it::container::errors::Pool: not provided; provide it with `container.provide(…)`"]
    );
}

#[derive(Debug, thiserror::Error)]
#[error("cannot connect")]
struct CannotConnect(#[source] std::io::Error);

#[tokio::test]
async fn a_failing_constructor_is_named_with_its_path_and_causes() {
    let mut builder = Container::builder();
    builder.provide(|_: Dep<Pool>| async { UserService });
    builder.try_provide(|| async { Err::<Pool, _>(CannotConnect(std::io::Error::other("refused"))) });
    assert_eq!(
        builder.build().await.unwrap_err().to_string(),
        "UserService → Pool: constructor failed: cannot connect: refused"
    );
}

#[tokio::test]
async fn a_failing_transient_is_named_below_the_singleton_that_needs_it() {
    let mut builder = Container::builder();
    builder.provide(|_: Dep<UserService>| async { UserController });
    builder.provide(|_: Dep<Pool>| async { UserService });
    builder.try_provide(|| async { Err::<Pool, _>("no more connections") }).transient();
    assert_eq!(
        builder.build().await.unwrap_err().to_string(),
        "UserController → UserService → Pool: constructor failed: no more connections"
    );
}

#[tokio::test]
async fn a_panicking_constructor_is_an_error_with_its_path() {
    // In the future, and in the closure before it returns one.
    for early in [true, false] {
        let mut builder = Container::builder();
        builder.provide(|_: Dep<Pool>| async { UserService });
        builder.provide(move || {
            assert!(!early, "out of {}", "luck");
            async { panic!("out of luck") as Pool }
        });
        assert_eq!(
            builder.build().await.unwrap_err().to_string(),
            "UserService → Pool: constructor panicked: out of luck"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_constructor_is_cut_at_its_deadline() {
    for (deadline, text) in [(None, "30s"), (Some(Duration::from_millis(1500)), "1.5s")] {
        let mut builder = Container::builder();
        let binding = builder.provide(std::future::pending::<Pool>);
        if let Some(deadline) = deadline {
            binding.build_deadline(deadline);
        }
        assert_eq!(
            builder.build().await.unwrap_err().to_string(),
            format!("Pool: constructor did not finish within {text}")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_start_hook_is_named_with_its_path() {
    async fn text(refine: impl Fn(Binding<'_, Pool>)) -> String {
        let mut builder = Container::builder();
        builder.provide(|_: Dep<Pool>| async { UserService });
        refine(builder.value(Pool));
        builder.build().await.unwrap().start().await.unwrap_err().to_string()
    }
    let failed = text(|pool| _ = pool.on_start(|_| async { Err("no route") })).await;
    assert_eq!(failed, "UserService → Pool: start hook failed: no route");
    let panicked = text(|pool| _ = pool.on_start(|_| async { panic!("boom") as () })).await;
    assert_eq!(panicked, "UserService → Pool: start hook panicked: boom");
    let overran = text(|pool| _ = pool.on_start(|_| std::future::pending::<()>())).await;
    assert_eq!(overran, "UserService → Pool: start hook did not finish within 10s");
}

#[tokio::test]
async fn resolving_what_is_absent_or_needs_a_scope_says_so() {
    let mut builder = Container::builder();
    builder.provide(|| async { RequestId }).scoped();
    builder.provide(|| async { Pool }).transient().contribute();
    let container = builder.build().await.unwrap();
    assert_eq!(
        container.resolve::<dyn UserRepository>().err().unwrap().to_string(),
        "dyn UserRepository: not provided; provide it with `container.provide_dyn(…)`"
    );
    assert_eq!(
        container.resolve_named::<UserService, Primary>().err().unwrap().to_string(),
        "UserService (Primary): not provided; provide it with `container.provide(…).named::<Primary>()`"
    );
    assert_eq!(
        container.resolve::<RequestId>().err().unwrap().to_string(),
        "RequestId: scoped; resolve it in a scope, from `container.scope()`"
    );
    assert_eq!(
        container.resolve_all::<Pool>().err().unwrap().to_string(),
        "Pool[0]: transient; resolve it in a scope, from `container.scope()`"
    );
    assert!(matches!(container.scope().resolve::<UserService>().await, Err(Error::NotProvided { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stop_report_names_everyone_who_failed() {
    let mut builder = Container::builder();
    builder.value(Pool).on_stop(|_| async { Err("still in use") });
    builder.value(UserService).on_stop(|_| async {});
    builder.value(UserController).on_stop(|_| std::future::pending::<()>());
    let report = builder.build().await.unwrap().stop().await;
    assert_eq!(report.stopped, ["UserService"]);
    assert_eq!(
        report.into_result().unwrap_err().to_string(),
        "UserController: stop hook did not finish within 10s; Pool: stop hook failed: still in use"
    );
}

#[tokio::test]
async fn a_stopped_container_does_not_start_again() {
    let container = Container::builder().build().await.unwrap();
    container.stop().await;
    assert_eq!(
        container.start().await.unwrap_err().to_string(),
        "the container was stopped and does not start again"
    );
}

#[tokio::test]
async fn the_error_a_constructor_returned_can_be_taken_out() {
    let mut builder = Container::builder();
    builder.try_provide(|| async { Err::<Pool, _>(CannotConnect(std::io::Error::other("refused"))) });
    let Err(Error::Construct { failure: mainstay_core::container::Failure::Failed(error), .. }) =
        builder.build().await
    else {
        panic!("the constructor failed")
    };
    assert!(error.is::<CannotConnect>());
}
