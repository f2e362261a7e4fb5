//! Signing in, as clients meet it.

use mainstay_testkit::http::{Request, Response};
use mainstay_testkit::{Service, eventually_async};
use serde_json::{Value, json};

use super::{
    ENCRYPTION_KEY, PATIENCE, admin, create, created, empty_service, fields, metric, path_of, service,
    token_of,
};

pub(super) const PASSWORD: &str = "correct horse battery";

async fn post(service: &Service, path: &str, body: Value) -> Response {
    Request::post(service.addr(), path).json(&body).send().await
}

pub(super) async fn asked(service: &Service, path: &str, token: &str) -> Response {
    Request::get(service.addr(), path).bearer(token).send().await
}

/// A registered user.
pub(super) async fn registered(service: &Service, email: &str) -> Value {
    let body = json!({"email": email, "name": "Ada", "password": PASSWORD});
    let response = post(service, "/api/auth/register", body).await;
    assert_eq!(response.status, 201, "{}", response.text());
    response.json()
}

pub(super) async fn login(service: &Service, email: &str, password: &str) -> Response {
    post(service, "/api/auth/login", json!({"email": email, "password": password})).await
}

/// Access and refresh token of a new session.
pub(super) async fn signed_in(service: &Service, email: &str) -> (String, String) {
    tokens(&login(service, email, PASSWORD).await)
}

#[track_caller]
fn tokens(response: &Response) -> (String, String) {
    assert_eq!(response.status, 200, "{}", response.text());
    let body = response.json();
    assert_eq!(body["tokenType"], "Bearer");
    let token = |name: &str| body[name].as_str().unwrap().to_owned();
    (token("accessToken"), token("refreshToken"))
}

async fn refresh(service: &Service, token: &str) -> Response {
    post(service, "/api/auth/refresh", json!({"refreshToken": token})).await
}

/// What a refusal says, but for the id of the request.
fn refusal(response: &Response) -> Value {
    let mut body = response.json();
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
    body.as_object_mut().unwrap().remove("requestId");
    body
}

#[tokio::test]
async fn who_registers_can_sign_in_and_see_and_change_himself_and_nobody_else() {
    let service = empty_service().await;
    let user = registered(&service, "ada@example.org").await;
    assert_eq!((&user["role"], user.get("password")), (&json!("user"), None));
    let (token, _) = signed_in(&service, "ADA@example.org").await;
    let me = asked(&service, "/api/auth/me", &token).await;
    assert_eq!((me.status, me.json()), (200, user.clone()));

    let own = path_of(&user);
    assert_eq!(asked(&service, &own, &token).await.status, 200);
    let renamed =
        Request::patch(service.addr(), &own).bearer(&token).json(&json!({"name": "Ada L"})).send().await;
    assert_eq!((renamed.status, &renamed.json()["name"]), (200, &json!("Ada L")));
    let raised =
        Request::patch(service.addr(), &own).bearer(&token).json(&json!({"role": "admin"})).send().await;
    assert_eq!(raised.status, 403, "nobody makes himself an administrator");

    let other = path_of(&created(&service, "grace@example.org", "Grace").await);
    for (method, path) in [
        ("GET", other.as_str()),
        ("PATCH", &other),
        ("DELETE", &other),
        ("GET", "/api/users"),
        ("GET", &format!("{other}/audit")),
        ("GET", &format!("{other}/avatar")),
        ("GET", "/api/users?phone=%2B41441234567"),
    ] {
        let answer = Request::new(method, service.addr(), path).bearer(&token).json(&json!({})).send().await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    let posted = Request::post(service.addr(), "/api/users").bearer(&token);
    assert_eq!(posted.json(&json!({"email": "x@example.org", "name": "X"})).send().await.status, 403);
}

#[tokio::test]
async fn a_registration_is_checked_like_any_user_and_its_password_too() {
    let service = empty_service().await;
    let wrong = post(&service, "/api/auth/register", json!({"password": "hunter2", "role": "admin"})).await;
    assert_eq!(
        (wrong.status, fields(&wrong)),
        (422, vec!["email".into(), "name".into(), "password".into(), "role".into()])
    );
    assert!(!wrong.text().contains("hunter2"));
    registered(&service, "ada@example.org").await;
    let again = json!({"email": "ada@EXAMPLE.org", "name": "Ada", "password": PASSWORD});
    assert_eq!(post(&service, "/api/auth/register", again).await.status, 409);
}

#[tokio::test]
async fn every_failed_sign_in_is_answered_alike() {
    let service = empty_service().await;
    registered(&service, "ada@example.org").await;
    created(&service, "grace@example.org", "has no password").await;
    let gone = registered(&service, "gone@example.org").await;
    let deleted = Request::delete(service.addr(), path_of(&gone)).bearer(&admin()).send().await;
    assert_eq!(deleted.status, 204);
    let wrong = login(&service, "ada@example.org", "wrong horse battery").await;
    assert_eq!(wrong.status, 401);
    for (email, password) in [
        ("nobody@example.org", PASSWORD),
        ("grace@example.org", PASSWORD),
        ("gone@example.org", PASSWORD),
        ("ada@example.org", ""),
        ("no address", PASSWORD),
        (&"x".repeat(3_000), PASSWORD),
    ] {
        let refused = login(&service, email, password).await;
        assert_eq!((refused.status, refusal(&refused)), (401, refusal(&wrong)), "{email}");
    }
    let stranger = Request::get(service.addr(), "/api/auth/me").send().await;
    assert_eq!(refusal(&stranger), refusal(&wrong), "as is every fault of a token");
}

#[tokio::test]
async fn guesses_at_one_account_end_after_ten_and_others_are_not_locked_out() {
    let service = empty_service().await;
    registered(&service, "ada@example.org").await;
    registered(&service, "grace@example.org").await;
    for _ in 0..10 {
        assert_eq!(login(&service, "ada@example.org", "wrong horse battery").await.status, 401);
    }
    let refused = login(&service, "ada@example.org", PASSWORD).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(login(&service, "grace@example.org", PASSWORD).await.status, 200);
    assert_eq!(login(&service, "nobody@example.org", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_the_second_use_ends_the_session() {
    let service = empty_service().await;
    registered(&service, "ada@example.org").await;
    let (_, first) = signed_in(&service, "ada@example.org").await;
    let (access, second) = tokens(&refresh(&service, &first).await);
    assert_eq!(asked(&service, "/api/auth/me", &access).await.status, 200);
    let (_, third) = tokens(&refresh(&service, &second).await);
    // The thief has an old one: neither he nor the owner goes on with this session.
    assert_eq!(refresh(&service, &first).await.status, 401);
    assert_eq!(refresh(&service, &third).await.status, 401);
    for noise in ["", "x", "ms.x.y", &"é".repeat(100)] {
        assert!([401, 422].contains(&refresh(&service, noise).await.status), "{noise:?}");
    }
    assert_eq!(login(&service, "ada@example.org", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn signing_out_ends_the_token_and_its_session() {
    let service = empty_service().await;
    registered(&service, "ada@example.org").await;
    let (access, token) = signed_in(&service, "ada@example.org").await;
    let (elsewhere, _) = signed_in(&service, "ada@example.org").await;
    let out = Request::post(service.addr(), "/api/auth/logout").bearer(&access).send().await;
    assert_eq!(out.status, 204, "{}", out.text());
    assert_eq!(asked(&service, "/api/auth/me", &access).await.status, 401);
    assert_eq!(refresh(&service, &token).await.status, 401);
    assert_eq!(asked(&service, "/api/auth/me", &elsewhere).await.status, 200);
}

#[tokio::test]
async fn a_new_password_ends_every_session_and_token_but_the_new_one() {
    let service = empty_service().await;
    registered(&service, "ada@example.org").await;
    let (old, old_refresh) = signed_in(&service, "ada@example.org").await;
    let change = |current: &'static str| {
        let body = json!({"currentPassword": current, "newPassword": "another horse battery"});
        Request::post(service.addr(), "/api/auth/password").bearer(&old).json(&body).send()
    };
    assert_eq!(change("not this one").await.status, 401);
    let (new, new_refresh) = tokens(&change(PASSWORD).await);
    assert_eq!(asked(&service, "/api/auth/me", &old).await.status, 401);
    assert_eq!(refresh(&service, &old_refresh).await.status, 401);
    assert_eq!(asked(&service, "/api/auth/me", &new).await.status, 200);
    assert_eq!(refresh(&service, &new_refresh).await.status, 200);
    assert_eq!(login(&service, "ada@example.org", PASSWORD).await.status, 401);
    assert_eq!(login(&service, "ada@example.org", "another horse battery").await.status, 200);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_owner_alone() {
    let service = empty_service().await;
    registered(&service, "ada@example.org").await;
    registered(&service, "eve@example.org").await;
    let (access, _) = signed_in(&service, "ada@example.org").await;
    let (_, other) = signed_in(&service, "ada@example.org").await;
    let (eve, _) = signed_in(&service, "eve@example.org").await;
    let list = asked(&service, "/api/auth/sessions", &access).await.json();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{list}");
    let current = items.iter().filter(|session| session["current"] == true).count();
    assert_eq!(current, 1, "{list}");
    assert!(!list.to_string().contains(&other), "tokens are not shown");
    let not_this = items.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/api/auth/sessions/{}", not_this["id"].as_str().unwrap());
    let end = |token: String| Request::delete(service.addr(), path.clone()).bearer(&token).send();
    assert_eq!(end(eve).await.status, 404, "of others one does not even hear");
    assert_eq!(end(access.clone()).await.status, 204);
    assert_eq!(refresh(&service, &other).await.status, 401);
    assert_eq!(end(access).await.status, 404);
}

#[tokio::test]
async fn a_role_that_is_taken_away_takes_its_tokens_with_it() {
    let service = empty_service().await;
    let user = registered(&service, "ada@example.org").await;
    let path = path_of(&user);
    let set = |role: &'static str| {
        Request::patch(service.addr(), path.clone()).bearer(&admin()).json(&json!({"role": role})).send()
    };
    assert_eq!(set("admin").await.status, 200);
    let (access, token) = signed_in(&service, "ada@example.org").await;
    assert_eq!(asked(&service, "/api/users", &access).await.status, 200);
    assert_eq!(set("user").await.status, 200);
    assert_eq!(asked(&service, "/api/users", &access).await.status, 401, "the old token says admin");
    let (fresh, _) = tokens(&refresh(&service, &token).await);
    assert_eq!(asked(&service, "/api/users", &fresh).await.status, 403);
    assert_eq!(asked(&service, "/api/auth/me", &fresh).await.status, 200);

    let deleted = Request::delete(service.addr(), &path).bearer(&admin()).send().await;
    assert_eq!(deleted.status, 204);
    assert_eq!(asked(&service, "/api/auth/me", &fresh).await.status, 401);
}

#[tokio::test]
async fn the_trail_tells_of_sign_ins_good_and_bad() {
    let service = empty_service().await;
    let user = registered(&service, "ada@example.org").await;
    login(&service, "ada@example.org", "wrong horse battery").await;
    let (access, _) = signed_in(&service, "ada@example.org").await;
    Request::post(service.addr(), "/api/auth/logout").bearer(&access).send().await;
    let (_, other) =
        (signed_in(&service, "ada@example.org").await, signed_in(&service, "ada@example.org").await);
    let list = asked(&service, "/api/auth/sessions", &other.0).await.json();
    let ended = list["items"].as_array().unwrap().iter().find(|session| session["current"] == false).unwrap();
    let ended = format!("/api/auth/sessions/{}", ended["id"].as_str().unwrap());
    assert_eq!(Request::delete(service.addr(), ended).bearer(&other.0).send().await.status, 204);
    let path = format!("{}/audit", path_of(&user));
    let told = async || {
        let trail = asked(&service, &path, &admin()).await.json();
        trail["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["event"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (signed_in, signed_out) = ("account.signed_in", "account.signed_out");
    let all = ["user.created", "account.refused", signed_in, signed_out, signed_in, signed_in, signed_out];
    eventually_async("the trail tells all of it", PATIENCE, async || told().await == all).await;
}

#[tokio::test]
async fn the_first_administrator_is_the_one_that_was_configured() {
    let administrator = || {
        service()
            .env("APP_ENV", "test")
            .env("ADMIN_EMAIL", "root@example.org")
            .env("ADMIN_PASSWORD", PASSWORD)
    };
    let service = administrator().start().await;
    let (access, _) = signed_in(&service, "root@example.org").await;
    assert_eq!(asked(&service, "/api/users", &access).await.status, 200);
    assert_eq!(asked(&service, "/distributed/config", &access).await.status, 200);
    assert!(!service.output_so_far().contains(PASSWORD));
}

#[tokio::test]
async fn whoever_has_registered_the_address_of_the_administrator_is_not_made_one() {
    let dir = tempfile::TempDir::new().unwrap();
    let first = service().env("APP_ENV", "test").dir(dir.path()).start().await;
    registered(&first, "root@example.org").await;
    drop(first);
    let second = service().env("APP_ENV", "test").dir(dir.path()).env("ADMIN_EMAIL", "root@example.org");
    let second = second.env("ADMIN_PASSWORD", "another horse battery").start().await;
    eventually_async("that is said", PATIENCE, async || {
        second.output_so_far().contains("no administrator can sign in: ADMIN_EMAIL")
    })
    .await;
    let signed_in = json!({"email": "root@example.org", "password": PASSWORD});
    let signed_in = post(&second, "/api/auth/login", signed_in).await;
    assert_eq!(signed_in.status, 200, "the password is still the user's: {}", signed_in.text());
    let token = signed_in.json()["accessToken"].as_str().unwrap().to_owned();
    assert_eq!(asked(&second, "/api/users", &token).await.status, 403);
}

#[tokio::test]
async fn in_development_the_first_administrator_has_a_password_that_is_shown_once() {
    let mut first = service().start().await;
    let shown = |service: &Service| {
        let output = service.output_so_far();
        let line = output.lines().find(|line| line.contains("First administrator"))?;
        Some(line.rsplit(' ').next().unwrap().to_owned())
    };
    let password = shown(&first).expect("a password is shown");
    assert_eq!(login(&first, "ada@example.com", &password).await.status, 200);
    let dir = first.dir().to_owned();
    first.signal(mainstay_testkit::Signal::Term);
    first.wait_exit(PATIENCE).await;
    let again = service().dir(&dir).start().await;
    assert_eq!(shown(&again), None, "it is shown once");
    assert_eq!(login(&again, "ada@example.com", &password).await.status, 200);
}

#[tokio::test]
async fn a_phone_number_is_found_by_its_digest_and_lies_in_no_file() {
    let service = crate::on_file().env("APP_ENV", "test").start().await;
    let body = json!({"email": "ada@example.org", "name": "Ada", "phone": "+41449876543"});
    let create = Request::post(service.addr(), "/api/users").bearer(&admin()).json(&body);
    let user = create.header("idempotency-key", "k1").send().await.json();
    let again = Request::post(service.addr(), "/api/users").bearer(&admin()).json(&body);
    let again = again.header("idempotency-key", "k1").send().await;
    assert_eq!((again.status, again.json()), (201, user.clone()), "the kept answer opens");
    let found = asked(&service, "/api/users?phone=%2B41449876543", &admin()).await.json();
    assert_eq!(found["items"], json!([user]));
    let none = asked(&service, "/api/users?phone=%2B41449876544", &admin()).await.json();
    assert_eq!(none["items"], json!([]));
    let mut files = 0;
    for entry in std::fs::read_dir(service.dir().join("data")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"41449876543"));
        files += 1;
    }
    assert!(files > 0);
}

#[tokio::test]
async fn a_phone_number_outlives_the_change_of_its_key() {
    let dir = tempfile::TempDir::new().unwrap();
    let (old, new) = (format!("old:{ENCRYPTION_KEY}"), "new:Zk9vR0x1Q2JpYlFqT2h5c2pYd2VQbUtuVTRhR3RIZHM=");
    let with = |keys: &str| service().env("APP_ENV", "test").dir(dir.path()).env("ENCRYPTION_KEYS", keys);
    let body = json!({"email": "ada@example.org", "name": "Ada", "phone": "+41449876543"});
    let found = async |service: &Service| {
        asked(service, "/api/users?phone=%2B41449876543", &admin()).await.json()["items"].clone()
    };
    let first = with(&old).start().await;
    let user = create(&first, body).await.json();
    drop(first);
    let both = with(&format!("{new},{old}")).start().await;
    assert_eq!(found(&both).await, json!([user]), "found while it is sealed under the old one");
    let resealed = r#"db_query_duration_seconds_count{outcome="ok",statement="users.reseal"}"#;
    eventually_async("it is sealed anew", PATIENCE, async || metric(&both, resealed).await > 0).await;
    drop(both);
    let last = with(new).start().await;
    assert_eq!(found(&last).await, json!([user]), "found without the old one");
}

#[tokio::test]
async fn tokens_of_others_are_refused() {
    let service = empty_service().await;
    let good = token_of("administrator", &["admin"]);
    assert_eq!(asked(&service, "/api/users", &good).await.status, 200);
    let (head, tail) = good.rsplit_once('.').unwrap();
    let flipped = if tail.starts_with('A') { 'B' } else { 'A' };
    for forged in
        [head.to_owned(), format!("{head}."), format!("{head}.{flipped}{}", &tail[1..]), String::new()]
    {
        assert_eq!(asked(&service, "/api/users", &forged).await.status, 401, "{forged}");
    }
}
