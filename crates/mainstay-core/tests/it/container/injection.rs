use std::convert::Infallible;
use std::sync::Arc;

use mainstay_core::container::{All, Builder, Container, Dep};

trait Repository: Send + Sync {
    fn name(&self) -> &'static str;
}

struct Sql;
struct Fake;

impl Repository for Sql {
    fn name(&self) -> &'static str {
        "sql"
    }
}

impl Repository for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
}

struct Service {
    repository: Arc<dyn Repository>,
    limit: usize,
}

struct Limit(usize);
struct Spare;

fn wiring(builder: &mut Builder) {
    // Dependents first: the order of registration must not matter.
    builder.provide(|repository: Dep<dyn Repository>, limit: Dep<Limit>| async move {
        Service { repository: repository.into_arc(), limit: limit.0 }
    });
    builder.provide_dyn(|sql: Dep<Sql>| async move { sql.into_arc() as Arc<dyn Repository> });
    builder.provide(|| async { Sql });
    builder.value(Limit(7));
}

#[tokio::test]
async fn constructors_receive_what_their_signature_asks_for() {
    let mut builder = Container::builder();
    wiring(&mut builder);
    let container = builder.build().await.unwrap();
    let service: Arc<Service> = container.resolve().unwrap();
    assert_eq!((service.repository.name(), service.limit), ("sql", 7));
    let repository = container.resolve::<dyn Repository>().unwrap();
    assert!(Arc::ptr_eq(&repository, &service.repository), "one instance for everyone");
}

#[tokio::test]
async fn a_constructor_takes_up_to_eight_parameters() {
    struct Sum(usize);
    let mut builder = Container::builder();
    builder.value(Limit(1));
    type L = Dep<Limit>;
    builder.provide(|a: L, b: L, c: L, d: L, e: L, f: L, g: L, h: L| async move {
        Sum([a, b, c, d, e, f, g, h].iter().map(|limit| limit.0).sum())
    });
    assert_eq!(builder.build().await.unwrap().resolve::<Sum>().unwrap().0, 8);
}

#[tokio::test]
async fn a_plain_async_function_is_a_constructor() {
    async fn service(repository: Dep<dyn Repository>) -> Result<Service, Infallible> {
        Ok(Service { repository: repository.into_arc(), limit: 0 })
    }
    let mut builder = Container::builder();
    builder.try_provide(service);
    builder.try_provide_dyn(|| async { Ok::<_, Infallible>(Arc::new(Fake) as Arc<dyn Repository>) });
    let container = builder.build().await.unwrap();
    assert_eq!(container.resolve::<Service>().unwrap().repository.name(), "fake");
}

#[tokio::test]
async fn an_optional_dependency_may_be_absent() {
    async fn limit_of(builder: &mut Builder) -> Option<usize> {
        struct Found(Option<usize>);
        let mut builder = std::mem::take(builder);
        builder.provide(|limit: Option<Dep<Limit>>| async move { Found(limit.map(|limit| limit.0)) });
        builder.build().await.unwrap().resolve::<Found>().unwrap().0
    }
    let mut builder = Container::builder();
    assert_eq!(limit_of(&mut builder).await, None);
    builder.value(Limit(3));
    assert_eq!(limit_of(&mut builder).await, Some(3));
}

#[tokio::test]
async fn names_tell_bindings_of_one_type_apart() {
    struct Both(usize, usize);
    let mut builder = Container::builder();
    builder.value(Limit(1));
    builder.value(Limit(2)).named::<Spare>();
    builder.provide(|plain: Dep<Limit>, spare: Dep<Limit, Spare>| async move { Both(plain.0, spare.0) });
    let container = builder.build().await.unwrap();
    let both = container.resolve::<Both>().unwrap();
    assert_eq!((both.0, both.1), (1, 2));
    assert_eq!(container.resolve_named::<Limit, Spare>().unwrap().0, 2);
}

#[tokio::test]
async fn contributions_are_collected_in_the_order_of_registration() {
    struct Names(Vec<&'static str>);
    let mut builder = Container::builder();
    builder.provide(|all: All<dyn Repository>| async move { Names(all.iter().map(|r| r.name()).collect()) });
    builder.provide_dyn(|| async { Arc::new(Sql) as Arc<dyn Repository> }).contribute();
    builder.value_dyn(Arc::new(Fake) as Arc<dyn Repository>).contribute();
    builder.provide_dyn(|| async { Arc::new(Sql) as Arc<dyn Repository> }).contribute();
    let container = builder.build().await.unwrap();
    assert_eq!(container.resolve::<Names>().unwrap().0, ["sql", "fake", "sql"]);
    let all = container.resolve_all::<dyn Repository>().unwrap();
    assert_eq!(all.iter().map(|r| r.name()).collect::<Vec<_>>(), ["sql", "fake", "sql"]);
    assert!(container.resolve::<dyn Repository>().is_err(), "a contribution is not the binding");
}

#[tokio::test]
async fn no_contribution_is_an_empty_collection() {
    struct Count(usize);
    let mut builder = Container::builder();
    builder.provide(|all: All<dyn Repository>| async move { Count(all.into_iter().count()) });
    let container = builder.build().await.unwrap();
    assert_eq!(container.resolve::<Count>().unwrap().0, 0);
    assert!(container.resolve_all::<dyn Repository>().unwrap().is_empty());
}

#[tokio::test]
async fn an_override_replaces_a_binding_wherever_it_is_registered() {
    for first in [true, false] {
        let mut builder = Container::builder();
        let fake = |test: &mut Builder| {
            test.value_dyn(Arc::new(Fake) as Arc<dyn Repository>);
        };
        if first {
            builder.override_with(fake);
        }
        wiring(&mut builder);
        if !first {
            builder.override_with(fake);
        }
        let container = builder.build().await.unwrap();
        assert_eq!(container.resolve::<Service>().unwrap().repository.name(), "fake");
    }
}

#[tokio::test]
async fn an_override_replaces_all_contributions_and_leaves_the_binding() {
    let mut builder = Container::builder();
    builder.value(Limit(0));
    for limit in 1..=3 {
        builder.value(Limit(limit)).contribute();
    }
    builder.override_with(|test| {
        test.value(Limit(8)).contribute();
        test.value(Limit(9)).contribute();
    });
    let container = builder.build().await.unwrap();
    let all = container.resolve_all::<Limit>().unwrap();
    assert_eq!(all.iter().map(|limit| limit.0).collect::<Vec<_>>(), [8, 9]);
    assert_eq!(container.resolve::<Limit>().unwrap().0, 0);
}

#[tokio::test]
async fn an_overridden_constructor_is_neither_run_nor_asked_for_its_dependencies() {
    struct NeverProvided;
    let mut builder = Container::builder();
    builder
        .provide(|_: Dep<NeverProvided>| async { unreachable!("overridden") as Limit })
        .on_stop(|_| async { unreachable!("overridden with its hooks") as () });
    builder.override_with(|test| {
        test.value(Limit(5));
    });
    let container = builder.build().await.unwrap();
    assert_eq!(container.resolve::<Limit>().unwrap().0, 5);
    assert!(container.stop().await.into_result().is_ok());
}

#[tokio::test]
async fn two_containers_share_nothing() {
    async fn build() -> Container {
        let mut builder = Container::builder();
        wiring(&mut builder);
        builder.build().await.unwrap()
    }
    let (one, other) = (build().await, build().await);
    assert!(!Arc::ptr_eq(&one.resolve::<Service>().unwrap(), &other.resolve::<Service>().unwrap()));
    assert!(one.stop().await.into_result().is_ok());
    assert!(other.start().await.is_ok(), "stopping one leaves the other alone");
}
