//! [`Redirects`]: the redirects that are followed, and the new URL of a repository.

use ureq::http::{StatusCode, Uri};

use super::{Origin, RemoteUrl};

/// The redirects that are followed.
///
/// Only the first request of a run can be redirected, as with git's `http.followRedirects=initial`, and only once;
/// the later requests go to the new URL. Any other redirect fails with
/// [`ErrorKind::Redirected`](crate::ErrorKind::Redirected), whose text names the new URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Redirects {
    /// None.
    #[default]
    Refuse,
    /// One redirect to another path of the same [`Origin`] (scheme, host and port). It is not remembered:
    /// each run starts at the original URL.
    SameOrigin,
}

/// The new URL of the repository, if a redirect of `asked` may be followed. Both URLs have to be listings,
/// `<repository>/info/refs?service=<service>` (`update_url_from_redirect` in git's `http.c`).
pub(crate) fn moved_within_origin(
    asked: &Uri,
    status: StatusCode,
    location: &str,
) -> Option<RemoteUrl> {
    if ![301, 302, 303, 307, 308].contains(&status.as_u16()) {
        return None;
    }
    let origin = Origin::of(asked)?;
    let target = match location {
        path if path.starts_with('/') && !path.starts_with("//") => format!("{origin}{path}"),
        url => url.to_owned(),
    };
    let listing = format!("/info/refs?{}", asked.query()?);
    let repository = RemoteUrl::parse(target.strip_suffix(&listing)?).ok()?;
    (*repository.origin() == origin).then_some(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_redirects_lead_to_the_repository() {
        const QUERY: &str = "info/refs?service=git-upload-pack";
        let asked = format!("https://h.example/a.git/{QUERY}");
        let within = |path: &str| Some(format!("https://h.example{path}"));
        let table = [
            (
                301,
                format!("https://h.example/b.git/{QUERY}"),
                within("/b.git"),
            ),
            (
                302,
                format!("https://h.example:443/b/{QUERY}"),
                within("/b"),
            ),
            (303, format!("HTTPS://H.EXAMPLE/b/{QUERY}"), within("/b")),
            (307, format!("/x/y.git/{QUERY}"), within("/x/y.git")),
            (308, format!("/{QUERY}"), within("/")),
            (302, asked.clone(), within("/a.git")),
            (300, format!("/b.git/{QUERY}"), None),
            (304, format!("/b.git/{QUERY}"), None),
            (305, format!("/b.git/{QUERY}"), None),
            // Another origin.
            (302, format!("https://other.example/a.git/{QUERY}"), None),
            (302, format!("https://h.example:444/a.git/{QUERY}"), None),
            (302, format!("http://h.example/a.git/{QUERY}"), None),
            (302, format!("http://h.example:443/a.git/{QUERY}"), None),
            (302, format!("https://h.example.evil/a.git/{QUERY}"), None),
            (302, format!("https://h.example@evil/a.git/{QUERY}"), None),
            (302, format!("https://me:pw@h.example/a.git/{QUERY}"), None),
            (302, format!("//other.example/a.git/{QUERY}"), None),
            (302, format!("//h.example/a.git/{QUERY}"), None),
            (302, format!("\\\\other.example/a.git/{QUERY}"), None),
            (302, format!("/\\other.example\\@x/{QUERY}#/"), None),
            // Not a listing, or another one.
            (302, "https://h.example/login".into(), None),
            (302, "https://h.example/b.git/info/refs".into(), None),
            (
                302,
                "/b.git/info/refs?service=git-receive-pack".into(),
                None,
            ),
            (302, format!("/b.git/{QUERY}&x"), None),
            (302, format!("/b.git?x=/{QUERY}"), None),
            (302, format!("/b.git#/{QUERY}"), None),
            (302, format!("b.git/{QUERY}"), None),
            (302, format!("../b.git/{QUERY}"), None),
            (302, format!("file:///b.git/{QUERY}"), None),
            (302, format!("javascript:x/{QUERY}"), None),
            (302, String::new(), None),
        ];
        let asked: Uri = asked.parse().expect("a URI");
        for (status, location, expected) in table {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = moved_within_origin(&asked, status, &location);
            let found = found.map(|url| url.to_string());
            assert_eq!(found, expected, "{status} {location}");
        }
    }
}
