//! What sealing and opening cost, against bare AES-256-GCM with one key and a counted nonce in the same run.
//!
//! `cargo bench -p mainstay-auth --bench seal`; the table at the end has the ratios.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce as GcmNonce};
use criterion::Criterion;
use mainstay_auth::seal::{KeyRing, Place, Sealer};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tokio::time::Instant;

const SIZES: [usize; 2] = [100, 64 * 1024];
const BARE: [&str; 2] = ["ring", "aes-gcm"];
const KEY: &str = "8f1d6c0a5b3e49277a90d4c6e2b1f8035c7e9a1640d2b8f3e5a7c90b1d3f6284";

/// As long as what a place binds: all pay for the same associated data.
const AAD: [u8; 64] = [0; 64];

/// Runs cases under criterion and keeps their medians for the table.
struct Bench {
    criterion: Criterion,
    nanos: BTreeMap<String, f64>,
}

impl Bench {
    fn run<T>(&mut self, name: &str, mut operation: impl FnMut() -> T) {
        let mut samples = Vec::new();
        self.criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                (0..iterations).for_each(|_| _ = black_box(operation()));
                let time = start.elapsed();
                // The first, short runs only warm up.
                if time > Duration::from_millis(5) {
                    samples.push(time.as_secs_f64() * 1e9 / iterations as f64);
                }
                time
            });
        });
        samples.sort_by(f64::total_cmp);
        // A filter may have left the case out.
        if let Some(median) = samples.get(samples.len() / 2) {
            self.nanos.insert(name.to_owned(), *median);
        }
    }

    fn table(&self) {
        println!("\n{:<22} {:>10} {:>12} {:>14} {:>8}", "", "ns", "MB/s", "x bare ring", "x bare aes-gcm");
        for (name, nanos) in &self.nanos {
            let (what, size) = name.split_once('/').unwrap_or((name, "0"));
            let operation = what.rsplit(' ').next().unwrap_or_default();
            let ratio = |bare: &str| {
                let bare = self.nanos.get(&format!("{bare} {operation}/{size}"));
                bare.map_or_else(|| "-".to_owned(), |bare| format!("{:.2}", nanos / bare))
            };
            let rate = size.parse::<f64>().unwrap_or_default() * 1e3 / nanos;
            println!("{name:<22} {nanos:>10.0} {rate:>12.0} {:>14} {:>8}", ratio(BARE[0]), ratio(BARE[1]));
        }
    }
}

/// Nonces as a careful caller of bare AES-GCM counts them.
fn counted(count: &mut u64) -> [u8; 12] {
    *count += 1;
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    nonce
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300));
    let criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    let mut bench = Bench { criterion, nanos: BTreeMap::new() };

    let ring = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"));
    let gcm = Aes256Gcm::new(&[7; 32].into());
    let keys = KeyRing::parse(Some(&KEY.into()), None).expect("a key").expect("is set");
    let sealer = Sealer::new(&keys);
    let place = Place::new("user-service", "users.phone", "0193f6c4-user");
    let mut count = 0;

    for size in SIZES {
        let plain = vec![0x5a; size];
        let ring_seal = |nonce| {
            let mut data = Vec::with_capacity(size + 16);
            data.extend_from_slice(&plain);
            let nonce = Nonce::assume_unique_for_key(nonce);
            ring.seal_in_place_append_tag(nonce, Aad::from(&AAD), &mut data).expect("it is short");
            data
        };
        bench.run(&format!("ring seal/{size}"), || ring_seal(counted(&mut count)));
        let sealed = ring_seal([1; 12]);
        bench.run(&format!("ring open/{size}"), || {
            let mut data = sealed.clone();
            let nonce = Nonce::assume_unique_for_key([1; 12]);
            ring.open_in_place(nonce, Aad::from(&AAD), &mut data).expect("it was sealed so");
            data
        });

        let payload = |msg| Payload { msg, aad: &AAD };
        bench.run(&format!("aes-gcm seal/{size}"), || {
            gcm.encrypt(&GcmNonce::from(counted(&mut count)), payload(&plain)).expect("it is short")
        });
        let sealed = gcm.encrypt(&GcmNonce::from([1; 12]), payload(&plain)).expect("it is short");
        bench.run(&format!("aes-gcm open/{size}"), || {
            gcm.decrypt(&GcmNonce::from([1; 12]), payload(&sealed)).expect("it was sealed so")
        });

        bench.run(&format!("sealer seal/{size}"), || sealer.seal(&place, &plain));
        let sealed = sealer.seal(&place, &plain).expect("it is short");
        bench.run(&format!("sealer open/{size}"), || sealer.open(&place, &sealed));
    }
    bench.run("sealer blind index/11", || sealer.blind_index("users.phone", b"+4930901820"));
    bench.table();
}
