//! The operation of the reference as a part of openapi.json.

use serde_json::{Value, json};

use crate::support::openapi::DOCUMENT;

/// The schema with its references replaced by what they name.
fn resolved(schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return resolved(DOCUMENT.pointer(&name[1..]).expect("what is referred to"));
    }
    match schema {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), resolved(value)))
            .collect(),
        Value::Array(items) => items.iter().map(resolved).collect(),
        other => other.clone(),
    }
}

/// Panics unless all of `theirs` is in `ours`, whose lists may have more members.
fn check_part(theirs: &Value, ours: &Value, at: &str) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs.iter().filter(|(key, _)| *key != "description") {
                let ours = ours
                    .get(key)
                    .unwrap_or_else(|| panic!("{at}/{key} is missing"));
                check_part(value, ours, &format!("{at}/{key}"));
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.iter().all(Value::is_string) => {
            for value in theirs {
                assert!(ours.contains(value), "{at}: {value} is missing");
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            for (n, value) in theirs.iter().enumerate() {
                let is_part =
                    |ours: &Value| std::panic::catch_unwind(|| check_part(value, ours, at)).is_ok();
                assert!(ours.iter().any(is_part), "{at}/{n}: {value} is missing");
            }
        }
        _ => assert_eq!(theirs, ours, "{at}"),
    }
}

#[test]
fn the_operation_of_the_reference_is_a_part_of_ours() {
    let reference: Value =
        serde_json::from_str(include_str!("../fixtures/sync-upstream-openapi.json")).expect("JSON");
    let theirs = reference
        .pointer("/paths/~1{org}~1{repo}~1upstream~1syncs/post")
        .unwrap_or(&reference);
    let ours = &DOCUMENT["paths"]["/{org}/{repo}/upstream/syncs"]["post"];
    for key in ["operationId", "requestBody"] {
        check_part(&theirs[key], &resolved(&ours[key]), key);
    }
    for (status, response) in theirs["responses"].as_object().expect("responses") {
        let schema = &response["content"]["application/json"]["schema"];
        let answer = resolved(&ours["responses"][status]);
        let mut of_ours = answer["content"]["application/json"]["schema"].clone();
        if *status == "201" {
            // The clients take further keys, which the reference does not name.
            assert!(
                of_ours["required"]
                    .as_array()
                    .expect("keys")
                    .contains(&json!("dry_run"))
            );
            of_ours["additionalProperties"] = Value::Null;
        }
        check_part(schema, &of_ours, status);
    }
}
