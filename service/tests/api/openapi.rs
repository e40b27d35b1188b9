//! `openapi.json` itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::openapi::DOCUMENT;

/// The operation of `reference/rest-sync-upstream-openapi.txt` as JSON.
const REFERENCE: &str = include_str!("../fixtures/sync-upstream-openapi.json");

#[test]
fn the_document_is_served_to_anybody() {
    let server = Server::start();
    let served = server.stranger().get("/v1/openapi.json").ok(200);
    assert_eq!(served, *DOCUMENT);
}

#[test]
fn the_operation_of_the_reference_is_a_part_of_ours() {
    let reference: Value = serde_json::from_str(REFERENCE).expect("JSON");
    let mut faults = Vec::new();
    contained(&reference, &DOCUMENT, "", &mut faults);
    assert_eq!(faults, [""; 0]);

    // Differences are seen.
    let schema =
        "/paths/~1{org}~1{repo}~1upstream~1syncs/post/requestBody/content/application~1json/schema";
    for (key, value) in [
        ("required", json!(["direction", "more"])),
        ("additionalProperties", json!(true)),
        ("minProperties", json!(1)),
    ] {
        let mut other = reference.clone();
        other.pointer_mut(schema).expect("a schema")[key] = value;
        let mut faults = Vec::new();
        contained(&other, &DOCUMENT, "", &mut faults);
        assert_eq!(faults.len(), 1, "{key}: {faults:?}");
    }
}

/// Notes what `part` says and `whole` doesn't; texts aside.
fn contained(part: &Value, whole: &Value, at: &str, faults: &mut Vec<String>) {
    let whole = resolved(whole);
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (key, value) in part.iter().filter(|(key, value)| !is_text(key, value)) {
                let at = format!("{at}/{key}");
                match whole.get(key) {
                    Some(ours) => contained(value, ours, &at, faults),
                    None => faults.push(format!("{at} is missing")),
                }
            }
        }
        (Value::Array(part), Value::Array(whole)) if at.ends_with("/anyOf") => {
            assert_eq!(part.len(), whole.len(), "{at}");
            for (n, (part, whole)) in part.iter().zip(whole).enumerate() {
                contained(part, whole, &format!("{at}/{n}"), faults);
            }
        }
        (Value::Array(part), Value::Array(whole)) if at.ends_with("/parameters") => {
            let ours: Vec<_> = whole.iter().map(resolved).collect();
            for parameter in part {
                let same = ours.iter().find(|it| it["name"] == parameter["name"]);
                contained(parameter, same.unwrap_or(&&Value::Null), at, faults);
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            let missing = part.iter().filter(|value| !whole.contains(value));
            faults.extend(missing.map(|value| format!("{at} lacks {value}")));
        }
        (part, whole) if part != whole => faults.push(format!("{at}: {part} is {whole}")),
        _ => {}
    }
}

fn is_text(key: &str, value: &Value) -> bool {
    ["description", "summary", "tags"].contains(&key) && (value.is_string() || value.is_array())
}

fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(name) => resolved(DOCUMENT.pointer(&name[1..]).expect("a component")),
        None => value,
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let mut used = BTreeSet::new();
    collect(&DOCUMENT, &mut used);
    for name in &used {
        assert!(
            DOCUMENT.pointer(&name[1..]).is_some(),
            "{name} is not there"
        );
    }
    for kind in ["parameters", "responses", "schemas"] {
        let components = DOCUMENT["components"][kind].as_object();
        for name in components.expect("components").keys() {
            let name = format!("#/components/{kind}/{name}");
            assert!(used.contains(&name), "{name} is not used");
        }
    }
}

fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str);
            into.extend(name.map(str::to_owned));
            map.values().for_each(|value| collect(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}
