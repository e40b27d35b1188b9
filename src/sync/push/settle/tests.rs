use std::time::UNIX_EPOCH;

use super::*;
use crate::{AdvertisedRef, ObjectFormat, RefList, sync::plan::plan};

fn id(digit: char) -> ObjectId {
    ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("hex")
}

fn refused(text: &str) -> PushAnswer {
    let text = text.to_owned();
    PushAnswer::Refused { text }
}

fn unclear() -> PushAnswer {
    let detail = "lost".to_owned();
    PushAnswer::Unclear { detail }
}

#[test]
fn what_each_answer_means() {
    use Company::*;
    let list = |tip| {
        let found = AdvertisedRef::new("refs/heads/a".into(), id(tip));
        RefList::new(ObjectFormat::Sha1, [found])
    };
    let (source, destination) = (list('2'), list('1'));
    let options = SyncOptions::default();
    let planned = plan(&source, &destination, &options, || Ok(())).expect("a plan");
    let remote = |text: &str| Err(Reason::Remote { text: text.into() });
    let unconfirmed = || {
        let detail = "lost".to_owned();
        Err(Reason::Unconfirmed { detail })
    };
    let (none, same, new, other) = (
        Some(None),
        Some(Some(id('1'))),
        Some(Some(id('2'))),
        Some(Some(id('3'))),
    );
    let cases = [
        (PushAnswer::Done, Alone, None, Ok(())),
        (PushAnswer::Done, Each, other, Ok(())),
        (unclear(), Each, new, Ok(())),
        (unclear(), Each, other, Err(Reason::Raced)),
        (unclear(), Each, none, Err(Reason::Raced)),
        (unclear(), Alone, same, unconfirmed()),
        (unclear(), Declined { others: 3 }, same, unconfirmed()),
        (unclear(), Each, None, unconfirmed()),
        (refused("no"), Alone, None, remote("no")),
        (refused("no"), Each, same, remote("no")),
        (refused("no"), Each, other, Err(Reason::Raced)),
        (
            refused("no"),
            Declined { others: 1 },
            None,
            remote("no (refused together with 1 other)"),
        ),
        (
            refused("no"),
            Declined { others: 9 },
            same,
            remote("no (refused together with 9 others)"),
        ),
    ];
    for (answer, company, now, expected) in cases {
        let judged = RefAnswer { answer, company };
        let text = format!("{judged:?} {now:?}");
        assert_eq!(verdict(judged, &planned[0], now), expected, "{text}");
    }
}

#[test]
fn only_what_was_judged_for_itself_has_a_time_to_try_it_again() {
    use Company::*;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let again = |seconds, alone| {
        Some(Refusal {
            retry_at: at(seconds),
            alone,
        })
    };
    let cases = [
        (PushAnswer::Done, Alone, None),
        (refused("no"), Alone, again(160, true)),
        (refused("no"), Each, again(160, false)),
        (refused("no"), Declined { others: 1 }, None),
        (unclear(), Alone, again(100, true)),
        (unclear(), Each, None),
        (unclear(), Declined { others: 1 }, None),
    ];
    for (answer, company, expected) in cases {
        let judged = RefAnswer { answer, company };
        let found = refusal(&judged, Duration::from_secs(60), at(100));
        assert_eq!(found, expected, "{judged:?}");
    }
}
