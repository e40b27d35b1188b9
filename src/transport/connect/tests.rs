use std::{
    net::TcpListener,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::channel,
    },
};

use super::*;
use crate::transport::Timeouts;

fn dialer() -> Dialer {
    Dialer {
        link: Arc::new(Link::new(Timeouts::default())),
        policy: NetworkPolicy::any(),
        tls: None,
        authorization: None,
        look_up: system_look_up(),
    }
}

#[test]
fn a_lookup_that_never_returns_is_left_behind_when_cancelled() {
    let dialer = dialer();
    let flag = Arc::new(AtomicBool::new(false));
    dialer.link.set_cancelled_by(flag.clone());
    let (_never_used, never) = channel::<()>();
    let day = Deadline::after(Duration::from_secs(86_400));
    let err = dialer
        .in_background(&THREADS, day, ErrorKind::Dns, "looking up x", move || {
            flag.store(true, Ordering::Relaxed);
            never.recv().map_err(io::Error::other)
        })
        .expect_err("cancelled");
    assert_eq!(err.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_lookup_that_never_returns_is_left_behind_at_the_deadline() {
    let (_never_used, never) = channel::<()>();
    let err = dialer()
        .in_background(
            &THREADS,
            Deadline::after(Duration::ZERO),
            ErrorKind::Dns,
            "looking up x",
            move || never.recv().map_err(io::Error::other),
        )
        .expect_err("too late");
    assert_eq!(err.kind(), ErrorKind::Dns);
    assert_eq!(err.to_string(), "timed out after 0ns: looking up x");
}

#[test]
fn a_lookup_that_never_returns_is_left_behind_when_the_run_is_out_of_time() {
    let dialer = dialer();
    let limits = crate::Limits {
        total_time: Some(Duration::from_millis(60)),
        ..crate::Limits::default()
    };
    let run = crate::context::RunBudget::new(Arc::default(), limits);
    dialer.link.set_run(Arc::new(run));
    let (_never_used, never) = channel::<()>();
    let day = Deadline::after(Duration::from_secs(86_400));
    let left = dialer.in_background(&THREADS, day, ErrorKind::Dns, "looking up x", move || {
        never.recv().map_err(io::Error::other)
    });
    let err = left.expect_err("out of time");
    assert_eq!(err.to_string(), "more than 60ms (limit `total_time`)");
}

#[test]
fn lookups_that_never_return_are_not_more_than_so_many() {
    static TWO: Threads = Threads::at_most(2);
    let (end, ended) = channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(ended));
    let started = Arc::new(AtomicUsize::new(0));
    let look_up = |within| {
        let (started, ended) = (started.clone(), ended.clone());
        let deadline = Deadline::after(within);
        dialer().in_background(&TWO, deadline, ErrorKind::Dns, "looking up x", move || {
            started.fetch_add(1, Ordering::SeqCst);
            ended.lock().expect("nobody has panicked").recv().ok();
            Ok(())
        })
    };
    for _ in 0..5 {
        let err = look_up(Duration::ZERO).expect_err("too late");
        assert_eq!(err.kind(), ErrorKind::Dns);
    }
    let busy = look_up(Duration::ZERO).expect_err("too late").to_string();
    assert!(busy.contains("all background threads are in use"), "{busy}");
    // Once those are over there is room again.
    drop(end);
    look_up(Duration::from_secs(600)).expect("looked up");
    assert!(started.load(Ordering::SeqCst) <= 3);
}

/// A name server that gives each of these answers once, and how often it was asked.
fn answers(answers: Vec<Vec<SocketAddr>>) -> (LookUp, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let look_up = move |_: &str, _: u16| {
        let next = answers.get(count.fetch_add(1, Ordering::SeqCst));
        Ok(next.cloned().expect("asked too often"))
    };
    (Arc::new(look_up), asked)
}

fn origin(url: &str) -> Origin {
    Origin::of(&url.parse().expect("a URI")).expect("an origin")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[test]
fn only_the_addresses_that_were_judged_are_connected_to() {
    let public: SocketAddr = "1.1.1.1:443".parse().expect("an address");
    let (listener, private) = listener();
    let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", private.port())
        .parse()
        .expect("an address");
    let rebound = origin("https://rebound.example");
    let day = Deadline::after(Duration::from_secs(86_400));
    for (given, kept) in [
        (vec![private], None),
        (vec![mapped, private], None),
        (vec![private, public, mapped], Some(vec![public])),
    ] {
        let mut dialer = dialer();
        dialer.policy = NetworkPolicy::public();
        let asked;
        (dialer.look_up, asked) = answers(vec![given]);
        let resolved = dialer.resolve(&rebound, day);
        match kept {
            Some(kept) => assert_eq!(resolved.expect("addresses"), kept),
            None => {
                let err = dialer_error(resolved);
                assert_eq!(err, ErrorKind::Forbidden);
            }
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
    assert!(listener.accept().is_err(), "nobody has connected");
}

fn dialer_error<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("a refusal").kind()
}

/// The name leads elsewhere when it is asked for again, and it isn't for the same connection.
#[test]
fn a_name_is_looked_up_once_for_a_connection() {
    let (first, at_first) = listener();
    let (second, at_second) = listener();
    let mut dialer = dialer();
    let asked;
    (dialer.look_up, asked) = answers(vec![vec![at_first], vec![at_second]]);
    let rebound = origin("http://rebound.example");
    let stream = dialer.dial(&rebound).expect("connected");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(first.accept().is_ok());
    assert!(second.accept().is_err(), "nobody has connected");
    drop(stream);

    // The next connection is judged by the next answer.
    dialer.policy.allow_private_networks = false;
    assert_eq!(dialer_error(dialer.dial(&rebound)), ErrorKind::Forbidden);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(second.accept().is_err(), "nobody has connected");
}

#[test]
fn names_for_this_machine_are_not_looked_up() {
    let mut dialer = dialer();
    dialer.policy = NetworkPolicy::public();
    let asked;
    (dialer.look_up, asked) = answers(Vec::new());
    for host in ["https://localhost", "https://a.LOCALHOST"] {
        let refused = dialer.dial(&origin(host));
        assert_eq!(dialer_error(refused), ErrorKind::Forbidden);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn the_next_address_is_tried_when_one_refuses() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let refuses = gone.local_addr().expect("an address");
    drop(gone);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listens = listener.local_addr().expect("an address");
    let day = Deadline::after(Duration::from_secs(86_400));
    let stream = connect_to_any(&[refuses, listens], day).expect("connected");
    assert_eq!(stream.peer_addr().expect("an address"), listens);
    assert!(connect_to_any(&[refuses], day).is_err());
}
