//! Patches of the code part: taken where they fit, done without where they do not come, and never believed.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use stigmer::bundle::Digest;
use stigmer::update::{Listing, Sha256, UpdateIndex};
use stigmer_test_support::update::{Do, NEW, OLD, Request, World, copy_program, make, new, old, signer};

/// What a host has after both releases were published as a maintainer does it, one after the other.
fn published() -> Vec<(String, Vec<u8>)> {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let make = || {
        let out = tempfile::tempdir().expect("a directory");
        for (release, day) in [(old(), 1), (new(), 2)] {
            let published = Command::new(env!("CARGO_BIN_EXE_stigmer"))
                .args(["bundle", "publish", "--level", "3", "--issued", &format!("2026-01-0{day}T00:00:00Z")])
                .arg("--carrier")
                .arg(&release.carrier)
                .arg("--key")
                .arg(signer().file())
                .arg("--out")
                .arg(out.path())
                .output()
                .expect("stigmer starts");
            assert!(published.status.success(), "{published:?}");
        }
        let mut files = Vec::new();
        gather(out.path(), out.path(), &mut files);
        files
    };
    FILES.get_or_init(make).clone()
}

fn gather(root: &Path, dir: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below it").to_string_lossy().replace('\\', "/");
            files.push((format!("/{name}"), std::fs::read(&path).expect("read")));
        }
    }
}

fn patch_name() -> String {
    let index = &new().index;
    index.target.patch_name(&index.version, &old().index.version)
}

/// What was asked for: of patches, of chunks, and of frames.
fn asked(world: &World) -> [Vec<Request>; 3] {
    let all: Vec<Request> = world.host.take_log().into_iter().filter(Request::is_for_bytes).collect();
    let is_patch = |request: &Request| request.path.contains(".from-");
    let is_chunk = |request: &Request| request.path.ends_with(".code.zst");
    [
        all.iter().filter(|request| is_patch(request)).cloned().collect(),
        all.iter().filter(|request| is_chunk(request)).cloned().collect(),
        all.iter().filter(|request| !is_patch(request) && !is_chunk(request)).cloned().collect(),
    ]
}

#[test]
fn a_patch_stands_for_all_chunks() {
    let world = World::with(published());
    let plan = world.update(&["--dry-run"]);
    assert!(asked(&world).iter().all(Vec::is_empty), "a dry run fetches nothing of it");
    world.update(&[]);
    world.assert_updated();
    let [patches, chunks, frames] = asked(&world);
    assert_eq!((patches.len(), chunks.len()), (1, 0), "{patches:?} {chunks:?}");
    assert!(patches[0].path.ends_with(&patch_name()) && patches[0].range.is_none(), "{patches:?}");
    let of_frames: usize = frames.iter().map(|request| request.range.clone().expect("a range").len()).sum();
    let bytes = of_frames + world.host.file(&patch_name()).len();
    assert_eq!(plan["fetch_bytes"].as_u64(), Some(bytes as u64));
    assert_eq!(plan["requests"].as_u64(), Some(1 + frames.len() as u64));
    // Without it, it would have been more.
    let chunked = World::new();
    let without = chunked.update(&["--dry-run"])["fetch_bytes"].as_u64().expect("a number");
    assert!((bytes as u64) < without, "{bytes} with the patch, {without} without");
}

#[test]
fn a_patch_that_is_not_there_is_done_without() {
    let world = World::with(published());
    world.host.remove(&patch_name());
    let ran = world.run(&["self-update"]).code(0);
    ran.says(&["note: more was fetched, because the patch of the code part could not be had", &patch_name()]);
    world.assert_updated();
    let [_, chunks, _] = asked(&world);
    assert!(!chunks.is_empty());
}

#[test]
fn a_patch_that_was_not_signed_is_refused() {
    let flip = |bytes: &mut Vec<u8>| bytes[9] ^= 1;
    let grow = |bytes: &mut Vec<u8>| bytes.push(0);
    for (change, words) in
        [(&flip as &dyn Fn(&mut Vec<u8>), "does not match its signed digest"), (&grow, "were expected")]
    {
        let world = World::with(published());
        world.host.change(&patch_name(), change);
        world.run(&["self-update"]).code(65).says(&[&patch_name(), words]);
        world.assert_untouched();
    }
}

#[test]
fn a_patch_that_breaks_off_is_taken_up_where_it_broke() {
    let world = World::with(published());
    let half = world.host.file(&patch_name()).len() / 2;
    world.host.rule(move |request| {
        if request.path.contains(".from-") && request.nth == 0 { Do::Cut(half) } else { Do::Serve }
    });
    world.update(&[]);
    world.assert_updated();
    let [patches, chunks, _] = asked(&world);
    assert_eq!((patches.len(), chunks.len()), (2, 0));
    assert_eq!(patches[1].range.as_ref().map(|range| range.start), Some(half));
}

/// The maintainer has signed a patch that makes something else: as if there were none.
#[test]
fn a_patch_that_makes_something_else_is_done_without() {
    let mut files = published();
    let noise = stigmer_test_support::update::noise(30_000, 99);
    let compressed = zstd::bulk::compress(&[noise.clone(), noise].concat(), 3).expect("compressed");
    let target = new().index.target;
    let name = target.index_name(&new().index.version);
    let file = |files: &mut Vec<(String, Vec<u8>)>, suffix: &str, content: Option<Vec<u8>>| -> Vec<u8> {
        let (_, bytes) = files.iter_mut().find(|(path, _)| path.ends_with(suffix)).expect(suffix);
        let before = bytes.clone();
        if let Some(content) = content {
            *bytes = content;
        }
        before
    };
    let mut index = UpdateIndex::parse(&name, &file(&mut files, &name, None)).expect("an index");
    index.patches[0].size = compressed.len() as u64;
    index.patches[0].blake3 = Digest::of(&compressed);
    let bytes = index.to_bytes();
    let purpose = UpdateIndex::purpose(&index.version, target);
    file(&mut files, &format!("{name}.minisig"), Some(signer().sign(&bytes, &purpose)));
    let mut listing =
        Listing::parse(Listing::NAME, &file(&mut files, "/releases.json", None)).expect("a listing");
    let release = &mut listing.releases[0];
    release.indexes.get_mut(target.as_str()).expect("listed").blake3 = Digest::of(&bytes);
    let asset = release.assets.iter_mut().find(|asset| asset.name == name).expect("listed");
    asset.digest = Some(Sha256::of(&bytes).prefixed());
    file(&mut files, &name, Some(bytes));
    let listed = listing.to_bytes();
    file(&mut files, "/releases.json.minisig", Some(signer().sign(&listed, &Listing::purpose())));
    file(&mut files, "/releases.json", Some(listed));
    file(&mut files, &patch_name(), Some(compressed));

    let world = World::with(files);
    let ran = world.run(&["self-update"]).code(0);
    ran.says(&[&format!(
        "note: more was fetched, because the patch of the code part from version {OLD} does not fit"
    )]);
    world.assert_updated();
}

/// A patch is for one code part. Where that is not here, and nobody has the bytes of another, chunks are fetched.
#[test]
fn who_has_another_version_fetches_chunks_and_who_kept_the_right_one_does_not() {
    let other = make("0.5.0", "other", "another");
    let world = World::with(published());
    world.install(&other);
    world.update(&[]);
    assert_eq!(world.version(), NEW);
    let [patches, chunks, _] = asked(&world);
    assert!(patches.is_empty() && !chunks.is_empty(), "{patches:?}");

    let world = World::with(published());
    world.install(&other);
    copy_program(&old().carrier, &world.previous());
    world.update(&[]);
    assert_eq!(world.version(), NEW);
    let [patches, chunks, _] = asked(&world);
    assert_eq!((patches.len(), chunks.len()), (1, 0), "the previous version is good for it");
}

#[test]
fn on_a_host_without_ranges_a_patch_still_comes_and_frames_do_not() {
    let world = World::with(published());
    world.host.rule(|_| Do::Whole);
    world.run(&["self-update"]).code(0).says(&["note: the whole file was fetched"]);
    world.assert_updated();
    let world = World::with(published());
    world.update(&["--no-delta"]);
    world.assert_updated();
    let [patches, ..] = asked(&world);
    assert!(patches.is_empty(), "nobody asked for parts");
}
