use std::sync::Arc;

use mainstay_core::container::{All, Container, Dep};

trait Check: Send + Sync {}
struct Ping;
impl Check for Ping {}

struct Pool;
struct Primary;
struct Page<T>(std::marker::PhantomData<T>);
struct Request;
struct Stamp;
struct Health;
struct Absent;

async fn container() -> Container {
    let mut builder = Container::builder();
    builder
        .provide(|_: All<dyn Check>, _: Option<Dep<Pool, Primary>>, _: Option<Dep<Absent>>| async { Health });
    builder.value(Pool).named::<Primary>();
    builder.provide(|_: Dep<Pool, Primary>| async { Page::<Pool>(std::marker::PhantomData) });
    builder.provide(|_: Dep<Page<Pool>>| async { Request }).scoped();
    builder.provide(|| async { Stamp }).transient();
    builder.value_dyn(Arc::new(Ping) as Arc<dyn Check>).contribute();
    builder.provide_dyn(|_: Dep<Stamp>| async { Arc::new(Ping) as Arc<dyn Check> }).contribute();
    builder.build().await.unwrap()
}

#[tokio::test]
async fn the_graph_as_mermaid() {
    let expected = r#"flowchart TD
    n0["Health<br>singleton"]
    n1["Pool (Primary)<br>singleton"]
    n2["Page#lt;Pool#gt;<br>singleton"]
    n3["Request<br>scoped"]
    n4["Stamp<br>transient"]
    n5["dyn Check[0]<br>singleton"]
    n6["dyn Check[1]<br>singleton"]
    n0 -->|all| n5
    n0 -->|all| n6
    n0 -.->|optional| n1
    n2 --> n1
    n3 --> n2
    n6 --> n4
"#;
    assert_eq!(container().await.graph().to_mermaid(), expected);
}

#[tokio::test]
async fn the_graph_as_dot() {
    let expected = r#"digraph container {
    node [shape=box];
    n0 [label="Health\nsingleton"];
    n1 [label="Pool (Primary)\nsingleton"];
    n2 [label="Page<Pool>\nsingleton"];
    n3 [label="Request\nscoped"];
    n4 [label="Stamp\ntransient"];
    n5 [label="dyn Check[0]\nsingleton"];
    n6 [label="dyn Check[1]\nsingleton"];
    n0 -> n5 [label=all];
    n0 -> n6 [label=all];
    n0 -> n1 [style=dashed, label=optional];
    n2 -> n1;
    n3 -> n2;
    n6 -> n4;
}
"#;
    assert_eq!(container().await.graph().to_dot(), expected);
}
