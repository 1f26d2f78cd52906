use serde_json::json;

use super::*;

#[test]
fn who_am_i_names_user_groups_and_extra() {
    let user = UserInfo {
        name: "jane".into(),
        uid: String::new(),
        groups: vec!["devs".into()],
        extra: [("scopes".to_owned(), vec!["x".to_owned()])].into(),
    };
    let answer = identity::myself(&user);
    let expected = json!({"userInfo": {"username": "jane", "groups": ["devs"], "extra": {"scopes": ["x"]}}});
    assert_eq!(answer["status"], expected);
}

#[test]
fn a_token_lives_between_ten_minutes_and_two_to_the_thirty_two_seconds() {
    let asked = |seconds: Value| token_request::seconds(&json!({"spec": {"expirationSeconds": seconds}}));
    assert_eq!(asked(Value::Null), Ok(3600));
    assert_eq!(asked(json!(600)), Ok(600));
    assert_eq!(asked(json!(1i64 << 32)), Ok(1 << 32));
    assert_eq!(
        asked(json!(599)).unwrap_err().message,
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"
    );
    assert_eq!(asked(json!((1i64 << 32) + 1)).unwrap_err().code, 422);
}
