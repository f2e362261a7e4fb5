//! Deployments as URLs.

use proptest::prelude::*;

use mainstay_redis::{Address, Deployment, Options};

fn one(host: &str, port: u16) -> Deployment {
    Deployment::Standalone(Address::new(host, port))
}

fn password(options: &Options) -> Option<&str> {
    options.password.as_ref().map(|password| password.expose().as_str())
}

#[test]
fn a_url_names_the_deployment_the_user_and_the_database() {
    let sentinel = |sentinels: &[(&str, u16)], master: &str| Deployment::Sentinel {
        sentinels: sentinels.iter().map(|(host, port)| Address::new(*host, *port)).collect(),
        master: master.into(),
    };
    let cluster = |seeds: &[(&str, u16)]| Deployment::Cluster {
        seeds: seeds.iter().map(|(host, port)| Address::new(*host, *port)).collect(),
    };
    let table = [
        ("redis://h", one("h", 6379), None, None, 0, false),
        ("redis://h/", one("h", 6379), None, None, 0, false),
        ("rediss://h:1/7", one("h", 1), None, None, 7, true),
        ("redis://:p@h", one("h", 6379), None, Some("p"), 0, false),
        ("redis://u:p@10.0.0.1:65535/15", one("10.0.0.1", 65535), Some("u"), Some("p"), 15, false),
        ("redis://u%40x:p%2F%3A%25%C3%A9@h", one("h", 6379), Some("u@x"), Some("p/:%é"), 0, false),
        ("redis://u:a:b@h", one("h", 6379), Some("u"), Some("a:b"), 0, false),
        ("redis://u:@h", one("h", 6379), Some("u"), Some(""), 0, false),
        ("redis://[::1]", one("::1", 6379), None, None, 0, false),
        ("redis://:p@[2001:db8::1]:7/1", one("2001:db8::1", 7), None, Some("p"), 1, false),
        ("redis+sentinel://a,b:5/m", sentinel(&[("a", 26379), ("b", 5)], "m"), None, None, 0, false),
        (
            "rediss+sentinel://u:p@[::1],b/my%2Fm/3",
            sentinel(&[("::1", 26379), ("b", 26379)], "my/m"),
            Some("u"),
            Some("p"),
            3,
            true,
        ),
        ("redis+cluster://a,b:7", cluster(&[("a", 6379), ("b", 7)]), None, None, 0, false),
        ("rediss+cluster://:p@a/0", cluster(&[("a", 6379)]), None, Some("p"), 0, true),
    ];
    for (url, deployment, user, word, database, tls) in table {
        let options = Options::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(options.deployment, deployment, "{url}");
        assert_eq!(options.username.as_deref(), user, "{url}");
        assert_eq!(password(&options), word, "{url}");
        assert_eq!((options.database, options.tls), (database, tls), "{url}");
    }
}

#[test]
fn sentinels_have_a_user_and_a_password_of_their_own() {
    let url = "redis+sentinel://u:p@a/m?sentinel_username=s&sentinel_password=q%26";
    let options = Options::parse(url).unwrap();
    assert_eq!(options.sentinel_username.as_deref(), Some("s"));
    assert_eq!(options.sentinel_password.unwrap().expose(), "q&");
    let none = Options::parse("redis+sentinel://u:p@a/m").unwrap();
    assert!(none.sentinel_username.is_none() && none.sentinel_password.is_none());
}

#[test]
fn what_is_wrong_with_a_url_is_named_and_nothing_of_it_is_shown() {
    let table = [
        ("h:6379", "scheme"),
        ("http://h", "scheme"),
        ("redis+raft://h", "scheme"),
        ("redis://", "host"),
        ("redis://:hunter2@", "host"),
        ("redis://a,b", "host"),
        ("redis://a,,b", "host"),
        ("redis+cluster://a,", "host"),
        ("redis://::1", "host"),
        ("redis://[::1", "host"),
        ("redis://[hunter2]", "host"),
        ("redis://[::1]x", "host"),
        ("redis://hunter2%@h", "password"),
        ("redis://u:hunter2%2@h", "password"),
        ("redis://u:hunter2%ff@h", "password"),
        ("redis://:hunter2#@x y", "host"),
        ("redis://:hunter2/3@h", "host"),
        ("redis://hunter2@h", "password"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:", "port"),
        ("redis://h:+1", "port"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/1/2", "database"),
        ("redis+cluster://h/1", "database"),
        ("redis+sentinel://h", "name of the master"),
        ("redis+sentinel://h/", "name of the master"),
        ("redis+sentinel://h/m/x", "database"),
        ("redis://h?sentinel_password=hunter2", "query"),
        ("redis+sentinel://h/m?hunter2=1", "query"),
    ];
    for (url, part) in table {
        let error = Options::parse(url).expect_err(url);
        assert_eq!(error.part, part, "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error}");
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn nothing_panics(text in ".*", tail in "[a-z:/@?,%\\[\\]0-9]*") {
        for scheme in ["", "redis://", "rediss+sentinel://", "redis+cluster://"] {
            let _any = Options::parse(&format!("{scheme}{text}"));
            let _any = Options::parse(&format!("{scheme}{tail}"));
        }
    }

    #[test]
    fn user_and_password_come_out_as_they_went_in(user in ".+", word in ".*", port in 1_u16.., database: u16) {
        let (name, secret) = (encoded(&user), encoded(&word));
        let options = Options::parse(&format!("redis://{name}:{secret}@h:{port}/{database}")).unwrap();
        prop_assert_eq!(options.username.as_deref(), Some(&*user));
        prop_assert_eq!(password(&options), Some(&*word));
        prop_assert_eq!((options.deployment, options.database), (one("h", port), database));
    }
}
