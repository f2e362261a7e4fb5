use super::*;

const TOKEN: (&str, &str) = ("authorization", "Bearer a");
const COOKIE: (&str, &str) = ("cookie", "id=1");

#[tokio::test]
async fn with_credentials_only_what_is_explicitly_for_all_is_kept() {
    let cases: [(&[(&str, &str)], bool); 5] = [
        (&[], false),
        (&[("cache-control", "max-age=60")], false),
        (&[("cache-control", "private")], false),
        (&[("cache-control", "public")], true),
        (&[("cache-control", "s-maxage=60")], true),
    ];
    for credentials in [TOKEN, COOKIE] {
        for (headers, kept) in cases {
            let it = fixture();
            let routes = it.saying(minute(), headers);
            get_with(&routes, "/a", &[credentials]).await;
            let again = get_with(&routes, "/a", &[credentials]).await;
            assert_eq!(again.said() == HIT, kept, "{credentials:?} {headers:?}");
        }
    }
}

#[tokio::test]
async fn with_credentials_nobody_gets_what_was_made_for_strangers_nor_keeps_it_from_them() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    get_with(&routes, "/a", &[COOKIE]).await;
    let stranger = get_a(&routes).await;
    assert_eq!((stranger.said(), stranger.body.as_str()), (STORED, "2"));
    assert_eq!(get_with(&routes, "/a", &[COOKIE]).await.body, "3");
    assert_eq!(get_with(&routes, "/a", &[TOKEN]).await.body, "4");
    assert_eq!(get_a(&routes).await.said(), HIT);
}

#[tokio::test]
async fn with_an_identity_each_caller_has_answers_of_their_own() {
    let it = fixture();
    let user = |request: &Request| Some(request.headers().get("authorization")?.to_str().ok()?.to_owned());
    let routes = it.saying(minute().per_identity(user), &[("cache-control", "private, max-age=60")]);
    let other = ("authorization", "Bearer b");
    for (who, body, said) in
        [(TOKEN, "1", STORED), (other, "2", STORED), (TOKEN, "1", HIT), (other, "2", HIT)]
    {
        let answer = get_with(&routes, "/a", &[who]).await;
        assert_eq!((answer.body.as_str(), answer.said()), (body, said));
    }
    // Whom the rule does not know is everybody, and `private` is for nobody of them.
    for call in ["3", "4"] {
        assert_eq!(get_a(&routes).await.body, call);
    }
}
