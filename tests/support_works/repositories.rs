use crate::DATE;
use crate::support::{FastImport, ObjectFormat, Sandbox, ref_heavy};
use std::fs;
use std::panic::catch_unwind;

#[test]
fn git_goes_by_the_sandbox_alone() {
    let sandbox = Sandbox::new();
    let author = sandbox.git(&["var", "GIT_AUTHOR_IDENT"]);
    assert_eq!(author, "A U Thor <author@example.com> 1700000000 +0000");
    let config = sandbox.git(&["config", "--list", "--show-scope"]);
    assert!(
        config.lines().all(|line| line.starts_with("command")),
        "{config}"
    );
    assert!(!sandbox.try_git(&["status"]).status.success());
}

#[test]
fn commits_have_the_parents_dates_and_files_asked_for() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let sandbox = Sandbox::new();
        let repo = sandbox.init_bare("repo.git", format);
        let root = repo.commit("main", &[], "root\n", &[("a", "1")], DATE);
        let side = repo.commit("side/way", &[&root], "side\n", &[("b", "2")], DATE - 5000);
        let merge = repo.commit("main", &[&root, &side], "merge\n", &[("d/c", "3")], 5);
        assert_eq!(root.len(), format.null_id().len());
        assert_eq!(
            repo.git(&["log", "-1", "--format=%P %ct", "main"]),
            format!("{root} {side} 5")
        );
        assert_eq!(
            repo.git(&["ls-tree", "-r", "--name-only", "main"]),
            "a\nd/c"
        );
        let unrelated = repo.commit("main", &[], "again\n", &[], DATE);
        assert_eq!(repo.git(&["rev-list", "main"]), unrelated);

        repo.set_ref("refs/tags/light", &merge);
        let tag = repo.tag_annotated("tree", "side/way^{tree}");
        let expected = [
            ("refs/heads/main", &unrelated),
            ("refs/heads/side/way", &side),
            ("refs/tags/light", &merge),
            ("refs/tags/tree", &tag),
        ];
        let expected = expected.map(|(name, id)| (name.to_owned(), id.to_owned()));
        assert_eq!(repo.for_each_ref(), expected);
        repo.delete_ref("refs/tags/light");
        assert_eq!(repo.for_each_ref().len(), 3);
        assert!(
            repo.fsck().contains(&merge),
            "the commit that no ref holds now is dangling"
        );
    }
}

#[test]
fn fsck_fails_on_a_damaged_repository() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("repo.git", ObjectFormat::Sha1);
    let commit = repo.commit("main", &[], "root\n", &[("a", "1")], DATE);
    fs::remove_file(
        repo.path
            .join(format!("objects/{}/{}", &commit[..2], &commit[2..])),
    )
    .unwrap();
    assert!(catch_unwind(|| repo.fsck()).is_err());
}

#[test]
fn fast_import_makes_merges_and_every_kind_of_tag() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("repo.git", ObjectFormat::Sha1);
    let old = repo.commit("main", &[], "old\n", &[("old", "1")], DATE);
    let mut import = FastImport::new();
    let base = import.existing(&old);
    let arms: Vec<_> = (0..3)
        .map(|arm| import.commit(&format!("arm-{arm}"), &[base], "arm\n", &[("a", "1")], arm))
        .collect();
    let octopus = import.commit("main", &arms, "octopus\n", &[], DATE);
    let root = import.commit("main", &[], "root\n", &[("r", "1")], DATE);
    let blob = import.blob(b"content");
    let inner = import.tag("inner", octopus, "inner", DATE);
    import.tag("outer", inner, "outer", DATE);
    import.tag("blob", blob, "blob", DATE);
    import.set_ref("refs/odd/octopus", octopus);
    let imported = repo.import(&import);

    let parents = arms
        .iter()
        .map(|arm| imported.id(*arm))
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(
        repo.git(&["log", "-1", "--format=%P", "refs/odd/octopus"]),
        parents
    );
    assert_eq!(repo.git(&["rev-list", "main"]), imported.id(root));
    assert_eq!(
        repo.git(&["rev-parse", "outer^{commit}"]),
        imported.id(octopus)
    );
    assert_eq!(repo.git(&["cat-file", "-p", "blob^{blob}"]), "content");
    assert_eq!(repo.git(&["rev-parse", "arm-1^"]), old);
    repo.fsck();
}

#[test]
fn files_notice_every_change() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_worktree("repo", ObjectFormat::Sha1);
    let before = repo.files();
    assert_eq!(before, repo.files());
    fs::write(repo.path.join("outside"), "of the git directory").unwrap();
    assert_eq!(before, repo.files());

    fs::write(repo.git_dir().join("HEAD"), "ref: refs/heads/niam\n").unwrap();
    let same_size = repo.files();
    assert_ne!(before, same_size);
    assert_eq!(before.len(), same_size.len());
    fs::create_dir_all(repo.git_dir().join("objects/tmp/in")).unwrap();
    let left_behind = repo.files();
    assert!(
        left_behind
            .iter()
            .any(|file| file.path == "objects/tmp/in/")
    );
    assert_eq!(
        same_size,
        repo.files_except(|path| path.starts_with("objects/tmp/"))
    );
}

#[test]
fn ref_heavy_is_all_packed_and_has_the_refs_promised() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("repo.git", ObjectFormat::Sha1);
    let history = ref_heavy(&repo, 1001, 300);
    let refs = repo.for_each_ref();
    let with = |prefix: &str| {
        refs.iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .count()
    };
    assert_eq!((refs.len(), with("refs/tags/")), (1001, 500));
    assert_eq!(
        (with("refs/heads/release/"), with("refs/heads/feature/")),
        (100, 400)
    );
    assert_eq!(repo.git(&["rev-parse", "main"]), history[299]);
    assert_eq!(repo.git(&["rev-list", "--count", "main"]), "300");
    let kinds = repo.git(&["for-each-ref", "--format=%(objecttype)", "refs/tags"]);
    assert_eq!(kinds.lines().filter(|kind| *kind == "tag").count(), 100);
    let loose = |path: &str| path.starts_with("refs/") && !path.ends_with('/');
    assert!(!repo.files().iter().any(|file| loose(&file.path)));
    assert_eq!(repo.git(&["count-objects"]), "0 objects, 0 kilobytes");
    assert_eq!(repo.fsck(), "");
}

#[cfg(feature = "http")]
#[test]
#[should_panic(expected = "leaked")]
fn a_secret_that_a_test_leaves_behind_is_found() {
    let sandbox = Sandbox::new();
    let mut text = vec![b'.'; (1 << 20) - 5];
    text.extend_from_slice(crate::support::canary::CANARY.as_bytes());
    std::fs::write(sandbox.path().join("leaked"), text).unwrap();
}
