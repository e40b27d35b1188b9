use super::*;

#[test]
fn chunks_are_everything_in_order_and_end_with_a_name() {
    let mut objects = many_files();
    for _ in 0..40 {
        objects.push(Kind::Commit, 0, noise(FILE, 1));
    }
    let limits = small_chunks(1);
    let order = order(&objects.candidates, &limits);
    let chunks = chunks(&order, &objects.candidates, limits.chunk);
    assert_eq!(chunks.concat(), order);
    for pair in chunks.windows(2) {
        let [last, first] = [pair[0][pair[0].len() - 1], pair[1][0]];
        let [last, first] = [last, first].map(|index| &objects.candidates[index]);
        assert!(last.name_hash != first.name_hash || last.name_hash == 0);
    }
    // One more file than it takes.
    assert!(chunks.iter().all(|chunk| chunk.len() < 20 + 4));
    assert_eq!(chunks.len(), 5 + 2);
}

#[test]
fn what_a_delta_may_take() {
    let candidate = |size| {
        let mut objects = Objects::default();
        let candidate = objects.push(Kind::Blob, 0, Vec::new());
        candidate.size = size;
        candidate.clone()
    };
    for (source, source_depth, target, best, expected) in [
        // Half of the target without an id.
        (1000, 0, 1000, None, Some(480)),
        (1000, 25, 1000, None, Some(240)),
        (1000, 49, 1000, None, Some(9)),
        (1000, 50, 1000, None, None),
        // Less than the best, more only for a shorter chain.
        (1000, 0, 1000, Some((100, 1)), Some(100)),
        (1000, 1, 1000, Some((100, 1)), Some(98)),
        (1000, 0, 1000, Some((100, 26)), Some(200)),
        // Too much would have to be added, or taken away.
        (521, 0, 1000, None, Some(480)),
        (520, 0, 1000, None, None),
        (32_031, 0, 1000, None, Some(480)),
        (32_032, 0, 1000, None, None),
        (1000, 0, 40, None, None),
    ] {
        let max = max_size(
            &candidate(source),
            source_depth,
            &candidate(target),
            best,
            50,
        );
        assert_eq!(
            max, expected,
            "{source} at {source_depth}, {target}, {best:?}"
        );
    }
}

#[test]
fn a_name_weighs_more_than_its_folder() {
    let close = |a: &str, b: &str| {
        let [a, b] = [a, b].map(|path| name_hash(path.as_bytes()));
        a.abs_diff(b)
    };
    assert_eq!(close("", ""), 0);
    assert_eq!(close("a b\tc\n", "abc"), 0);
    assert_eq!(
        close("old/a_long_file_name.rs", "new/a_long_file_name.rs"),
        0
    );
    assert!(close("src/lib.rs", "tools/lib.rs") < close("src/lib.rs", "src/run.rs"));
    assert!(close("src/lib.rs", "src/run.rs") < close("src/lib.rs", "src/lib.md"));
    assert_eq!(name_hash(b"a"), 0x6100_0000);
    assert_eq!(name_hash(b"ab"), 0x7a40_0000);
}

#[test]
fn each_thread_has_room_for_the_largest_pair() {
    let mut objects = Objects::default();
    for megabytes in [1, 10, 400] {
        objects.push(Kind::Blob, 0, Vec::new()).size = megabytes << 20;
    }
    let pair = 2 * DeltaBase::memory(10 << 20);
    for (wanted, window_memory, expected) in [
        (8, 3 * pair, 3),
        (2, 3 * pair, 2),
        (8, pair, 1),
        // Only the small ones are compared.
        (8, pair - 1, 8),
        (8, 0, 1),
        (0, 3 * pair, 1),
    ] {
        let limits = SearchLimits {
            threads: wanted,
            window_memory,
            ..SearchLimits::default()
        };
        let threads = threads(&[0, 1, 2], &objects.candidates, &limits);
        assert_eq!(threads, expected, "{limits:?}");
    }
}
