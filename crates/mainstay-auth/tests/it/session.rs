use std::sync::Arc;

use mainstay_auth::session::MemorySessions;
use mainstay_testkit::conformance::session::{Backend, suite};

#[tokio::test]
async fn sessions_in_memory_keep_the_contract() {
    suite().run(async || Backend { store: Arc::new(MemorySessions::new()) }).await;
}
