//! The check of answers against `openapi.json`.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Answer;

/// The document that the service serves.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../openapi.json")).expect("openapi.json is JSON")
});

/// The same, with no keys in any object but those that it names.
static STRICT: LazyLock<Value> = LazyLock::new(|| {
    let mut components = DOCUMENT["components"].clone();
    close(&mut components);
    components
});

fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object) && map.get("type").is_some() {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Panics unless the document allows the answer. A body that was accepted has to be one that it allows, too.
#[track_caller]
pub fn check(method: &str, address: &str, body: Option<&[u8]>, answer: &Answer) {
    let path = address.split('?').next().unwrap_or_default();
    // Neither git's routes nor metrics have JSON.
    if !path.starts_with("/v1") && path != "/healthz" && path != "/readyz" {
        return;
    }
    let what = format!("{} -> {}: {}", answer.request, answer.status, answer.text);
    let kind = answer.headers.get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok());
    assert_eq!(kind, Some("application/json"), "{what}");
    assert_eq!(
        answer.status >= 500,
        answer.json["error"]["trace_id"].is_string(),
        "{what}"
    );
    if method == "HEAD" {
        return;
    }
    let status = answer.status.to_string();
    let Some((template, operation)) = operation(method, path) else {
        let error = json!({ "$ref": "#/components/schemas/Error" });
        if answer.status >= 400 {
            validate("error", &error, &answer.json, &what);
        }
        return;
    };
    let mut response = &operation["responses"][&status];
    if let Some(name) = response["$ref"].as_str() {
        response = DOCUMENT.pointer(&name[1..]).expect("a response");
    }
    let schema = &response["content"]["application/json"]["schema"];
    assert!(
        schema.is_object(),
        "a status that openapi.json lacks: {what}"
    );
    validate(
        &format!("{method} {template} {status}"),
        schema,
        &answer.json,
        &what,
    );
    let body = body.filter(|_| answer.status < 300 && operation["requestBody"].is_object());
    if let Some(body) = body {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body = serde_json::from_slice(body).expect("an accepted body is JSON");
        validate(&format!("{method} {template} body"), schema, &body, &what);
    }
}

/// The operation of a path, and its template. A literal segment comes before a parameter.
fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let path: Vec<_> = path.strip_prefix("/v1")?.split('/').collect();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let fits = |template: &str| {
        let template: Vec<_> = template.split('/').collect();
        let same = |(t, p): (&&str, &&str)| t == p || t.starts_with('{') && !p.is_empty();
        template.len() == path.len() && template.iter().zip(&path).all(same)
    };
    let found = paths.iter().filter(|(template, _)| fits(template));
    let (template, operations) = found.min_by_key(|(template, _)| template.matches('{').count())?;
    let operation = operations.get(method.to_ascii_lowercase())?;
    Some((template, operation))
}

#[track_caller]
fn validate(name: &str, schema: &Value, value: &Value, what: &str) {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static Validator>>> =
        LazyLock::new(Mutex::default);
    let made = VALIDATORS.lock().expect("validators").get(name).copied();
    let validator = made.unwrap_or_else(|| {
        let whole = json!({ "components": &*STRICT, "allOf": [schema] });
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&whole)
            .expect("a schema");
        let validator: &'static Validator = Box::leak(Box::new(validator));
        let mut all = VALIDATORS.lock().expect("validators");
        all.insert(name.to_owned(), validator);
        validator
    });
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|err| format!("{}: {err}", err.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{what}\nis not {name} of openapi.json: {errors:#?}"
    );
}
