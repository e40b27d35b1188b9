//! [`Client`], a blocking client that believes no answer.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

use super::openapi;

/// A client with or without a key. Each answer is checked against `openapi.json`.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

/// An answer that was checked.
#[derive(Debug, Clone)]
pub struct Answer {
    pub request: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Client {
    /// A client of the service at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str, key: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            // The service closes a connection whose request has a body that it did not read.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        Client {
            agent: config.into(),
            base: base.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    pub fn key(&self) -> &str {
        self.key.as_deref().expect("a client with a key")
    }

    /// `http://` and the address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The status and the text of an answer to git, which is not described in `openapi.json`.
    pub fn git(&self, path: &str) -> (u16, String) {
        self.try_git(path).expect("an answer")
    }

    /// The same from a service that may be away.
    pub fn try_git(&self, path: &str) -> Result<(u16, String), ureq::Error> {
        use base64::Engine as _;
        let key = self.key.as_deref().unwrap_or_default();
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("git:{key}"));
        let request = Request::builder().uri(format!("{}{path}", self.base));
        let request = request.header("authorization", format!("Basic {basic}"));
        let mut answer = self.agent.run(request.body(()).expect("a request"))?;
        let text = answer.body_mut().read_to_vec()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((answer.status().as_u16(), text))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None, &[])
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None, &[])
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.with_text("POST", path, &body.to_string())
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Answer {
        self.with_text("PATCH", path, &body.to_string())
    }

    /// Sends a body that says that it is JSON.
    #[track_caller]
    pub fn with_text(&self, method: &str, path: &str, body: &str) -> Answer {
        let json = ("content-type", "application/json");
        self.call(method, path, Some(body.as_bytes()), &[json])
    }

    /// Sends anything.
    #[track_caller]
    pub fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let answer = self.try_call(method, path, body, headers);
        answer.unwrap_or_else(|err| panic!("{method} {path}: {err}"))
    }

    /// Sends anything to a service that may die of it.
    #[track_caller]
    pub fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some(body) => self.agent.run(request.body(body).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut answer = sent?;
        let text = answer
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()?;
        let answer = Answer {
            request: format!("{method} {path}"),
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        };
        openapi::check(method, path, body, &answer);
        Ok(answer)
    }

    /// All rows of a list, in pages of `limit`.
    #[track_caller]
    pub fn all(&self, path: &str, key: &str, limit: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut next = format!("{path}?limit={limit}");
        loop {
            let page = self.get(&next).ok(200);
            let found = page[key].as_array().expect("rows");
            assert!(found.len() <= limit, "{page}");
            rows.extend(found.iter().cloned());
            let cursor = page["next_cursor"].as_str();
            assert_eq!(page["has_more"], json!(cursor.is_some()), "{page}");
            let Some(cursor) = cursor else { return rows };
            next = format!("{path}?limit={limit}&cursor={cursor}");
        }
    }
}

impl Answer {
    /// The body, if the status is this one.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text);
        self.json
    }

    /// The error, if the status and the code are these.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let error = self.ok(status)["error"].take();
        assert_eq!(error["code"], code, "{error}");
        error
    }
}
