//! The lab's image: made once by `image/build.sh`, cached, found again.
//!
//! ```text
//!   <cache>/images/RECIPE-VERSIONS/   xen vmlinuz initrd.gz root.img known_hosts versions
//!   <cache>/build.lock                one builder at a time
//!   <cache>/slots/                    see `slot`
//! ```
//!
//! The image whose dom0 boots systemd is made out of the quick one by `image-systemd/build.sh`, and lies in `systemd-HASH-RECIPE-VERSIONS`.
//!
//! RECIPE hashes every file of `image/`, VERSIONS the versions of Debian's packages when it was made. A folder under its
//! final name is complete: it is made under another one and renamed. A boot takes the newest image of its recipe, whatever
//! its versions, so that labs do not change under a running test; [`build`] makes a new one if Debian has newer packages.

use std::fs::{self, File, FileTimes};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::LabError;
use crate::console::{say, tail};

/// The recipe. A test fixture runs from its checkout.
const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/image");

/// What makes the image with systemd out of the quick one.
const SYSTEMD_RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/image-systemd");

/// Images that nobody has booted for this long go when a new one is made.
const UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);

/// What dom0 boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Init {
    /// busybox, and a script: quick.
    Quick,
    /// systemd, as a real host does.
    Systemd,
}

/// Makes the images if this machine has none of their recipes with the newest versions of Debian's packages.
///
/// Needs root and Debian 12. Returns the quick image's folder.
pub fn build() -> Result<PathBuf, LabError> {
    let cache = cache_folder()?;
    let recipe = recipe_hash(RECIPE)?;
    let _lock = lock(&cache)?;
    prepare_machine()?;
    let quick = build_locked(&cache, &recipe)?;
    systemd_locked(&cache, &quick)?;
    Ok(quick)
}

/// The image to boot: the newest of its recipe; made now if there is none.
pub(crate) fn ready(init: Init) -> Result<PathBuf, LabError> {
    let quick = quick()?;
    if init == Init::Quick {
        return Ok(quick);
    }
    let cache = cache_folder()?;
    let made = systemd_folder(&cache, &quick)?;
    if made.is_dir() {
        return Ok(made);
    }
    let _lock = lock(&cache)?;
    systemd_locked(&cache, &quick)
}

fn systemd_folder(cache: &Path, quick: &Path) -> Result<PathBuf, LabError> {
    let name = quick.file_name().unwrap_or_default().to_string_lossy();
    Ok(cache.join("images").join(format!("systemd-{}-{name}", recipe_hash(SYSTEMD_RECIPE)?)))
}

fn systemd_locked(cache: &Path, quick: &Path) -> Result<PathBuf, LabError> {
    let finished = systemd_folder(cache, quick)?;
    if !finished.is_dir() {
        make(cache, &finished, |out| run_script(cache, SYSTEMD_RECIPE, &[Path::new(SYSTEMD_RECIPE), quick, out]))?;
    }
    Ok(finished)
}

fn quick() -> Result<PathBuf, LabError> {
    let cache = cache_folder()?;
    let recipe = recipe_hash(RECIPE)?;
    let image = if let Some(image) = newest(&cache, &recipe) {
        require_host_packages()?;
        image
    } else {
        let _lock = lock(&cache)?;
        if let Some(made_meanwhile) = newest(&cache, &recipe) {
            made_meanwhile
        } else {
            prepare_machine()?;
            build_locked(&cache, &recipe)?
        }
    };
    mark_used(&image);
    Ok(image)
}

/// Where images are kept.
pub(crate) fn cache_folder() -> Result<PathBuf, LabError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("PINFOLD_LAB_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("pinfold/lab")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/pinfold/lab")))
        .ok_or_else(|| LabError::Machine {
            what: "no place for the lab's image".into(),
            help: "set PINFOLD_LAB_CACHE to a folder with 2 GiB of room".into(),
        })?;
    let folder = std::path::absolute(&folder).map_err(LabError::io(format!("finding {}", folder.display())))?;
    fs::create_dir_all(folder.join("images")).map_err(LabError::io(format!("making {}", folder.display())))?;
    Ok(folder)
}

fn build_locked(cache: &Path, recipe: &str) -> Result<PathBuf, LabError> {
    let versions = versions()?;
    let name = format!("{recipe}-{}", &hex(&Sha256::digest(&versions))[..12]);
    let finished = cache.join("images").join(&name);
    if finished.is_dir() {
        say(&format!("the image is up to date: {}", finished.display()));
        return Ok(finished);
    }
    make(cache, &finished, |out| {
        run_script(cache, RECIPE, &[Path::new(RECIPE), out])?;
        fs::write(out.join("versions"), versions).map_err(LabError::io("writing the image's versions"))
    })?;
    remove_unused(cache, &finished);
    Ok(finished)
}

/// Makes an image under another name, and gives it its own when it is whole.
pub(crate) fn make(
    cache: &Path,
    finished: &Path,
    recipe: impl FnOnce(&Path) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let name = finished.file_name().unwrap_or_default().to_string_lossy();
    let making = cache.join("images").join(format!(".making-{name}"));
    if making.exists() {
        // The lock is ours, so its maker is dead.
        fs::remove_dir_all(&making).map_err(LabError::io(format!("removing {}", making.display())))?;
    }
    fs::create_dir(&making).map_err(LabError::io(format!("making {}", making.display())))?;
    let made = recipe(&making)
        .and_then(|()| fs::rename(&making, finished).map_err(LabError::io(format!("naming {}", finished.display()))));
    if made.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&making);
    }
    made
}

/// Runs the `build.sh` of a recipe.
pub(crate) fn run_script(cache: &Path, recipe: &str, arguments: &[&Path]) -> Result<(), LabError> {
    let log = cache.join("build.log");
    let stderr = File::create(&log).map_err(LabError::io(format!("writing {}", log.display())))?;
    say(&format!("making the image, once; all that it prints is in {}", log.display()));
    let mut script = Command::new("sh")
        .arg(format!("{recipe}/build.sh"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(LabError::io("running image/build.sh"))?;
    if let Some(progress) = script.stdout.take() {
        BufReader::new(progress).lines().map_while(Result::ok).for_each(|line| say(&line));
    }
    let status = script.wait().map_err(LabError::io("running image/build.sh"))?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    Err(LabError::Build { tail: tail(&text, 15), log })
}

/// Installs what the recipe needs, after asking Debian's mirrors for news.
pub(crate) fn prepare_machine() -> Result<(), LabError> {
    let debian = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !debian.lines().any(|line| line == "VERSION_CODENAME=bookworm") {
        return Err(machine(
            "this machine is not Debian 12",
            "make the image on Debian 12 (bookworm): its Xen is 4.17",
        ));
    }
    let root = Command::new("id").arg("-u").output().map_err(LabError::io("running id"))?;
    if root.stdout != b"0\n" {
        return Err(machine(
            "making the lab's image needs root",
            "run `cargo run -p pinfold-lab -- build` once as root with PINFOLD_LAB_CACHE set to a folder you can read; labs need no root",
        ));
    }
    say("asking Debian's mirrors for news");
    apt_get(&["update"])?;
    let missing = missing_host_packages()?;
    if !missing.is_empty() {
        say(&format!("installing {}", missing.join(" ")));
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(missing.iter().map(String::as_str));
        apt_get(&arguments)?;
    }
    Ok(())
}

fn require_host_packages() -> Result<(), LabError> {
    let missing = missing_host_packages()?.join(" ");
    if missing.is_empty() {
        return Ok(());
    }
    Err(machine(
        &format!("this machine lacks packages for the lab: {missing}"),
        &format!(
            "run `apt-get install --no-install-recommends {missing}` as root, or `cargo run -p pinfold-lab -- build`"
        ),
    ))
}

fn apt_get(arguments: &[&str]) -> Result<(), LabError> {
    let doing = format!("apt-get {}", arguments.join(" "));
    let output = Command::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(LabError::io(format!("running {doing}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = tail(&String::from_utf8_lossy(&output.stderr), 10);
    Err(machine(
        &format!("`{doing}` failed:\n{words}"),
        "make apt-get work on this machine (network, mirrors, space), then try again",
    ))
}

fn missing_host_packages() -> Result<Vec<String>, LabError> {
    let wanted = package_list("host-packages")?;
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(&wanted)
        .output()
        .map_err(|_| machine("no dpkg-query here: this is not a Debian machine", "run the lab on Debian 12"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(wanted.into_iter().filter(|name| !text.lines().any(|line| line == format!("{name} installed"))).collect())
}

/// `NAME VERSION` of all that goes into the image, as apt would install it now.
fn versions() -> Result<String, LabError> {
    let mut wanted = package_list("dom0-packages")?;
    wanted.extend(["xen-hypervisor-4.17-amd64".to_owned(), "linux-image-amd64".to_owned()]);
    let output = Command::new("apt-cache")
        .arg("policy")
        .args(&wanted)
        .env("LC_ALL", "C")
        .output()
        .map_err(LabError::io("running apt-cache policy"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut versions = String::new();
    let mut package = "";
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ") {
            versions.extend([package, " ", version, "\n"]);
        }
    }
    for name in wanted {
        let known = versions
            .lines()
            .any(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(' ') && rest != " (none)"));
        if !known {
            return Err(machine(
                &format!("apt knows no package {name}"),
                "add Debian 12's main archive to /etc/apt/sources.list.d",
            ));
        }
    }
    Ok(versions)
}

fn package_list(file: &str) -> Result<Vec<String>, LabError> {
    let path = format!("{RECIPE}/{file}");
    let text = fs::read_to_string(&path).map_err(LabError::io(format!("reading {path}")))?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
}

fn newest(cache: &Path, recipe: &str) -> Option<PathBuf> {
    let made = |path: &Path| fs::metadata(path.join("versions")).and_then(|file| file.modified()).ok();
    let images = fs::read_dir(cache.join("images")).ok()?;
    images
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{recipe}-")))
        .map(|entry| entry.path())
        .max_by_key(|path| made(path))
}

pub(crate) fn lock(cache: &Path) -> Result<File, LabError> {
    let path = cache.join("build.lock");
    let doing = || format!("locking {}", path.display());
    let file = File::create(&path).map_err(LabError::io(doing()))?;
    if file.try_lock().is_err() {
        say("waiting for another process that makes the image");
        file.lock().map_err(LabError::io(doing()))?;
    }
    Ok(file)
}

/// The modification time of `xen` says when an image was last booted.
fn mark_used(image: &Path) {
    let now = FileTimes::new().set_modified(SystemTime::now());
    // An image in somebody else's folder cannot be marked; then its owner's boots count.
    let _ = File::options().append(true).open(image.join("xen")).and_then(|file| file.set_times(now));
}

fn remove_unused(cache: &Path, keep: &Path) {
    let Ok(images) = fs::read_dir(cache.join("images")) else { return };
    for path in images.flatten().map(|entry| entry.path()).filter(|path| path != keep) {
        let used = fs::metadata(path.join("xen"))
            .and_then(|file| file.modified())
            .and_then(|time| time.elapsed().map_err(io::Error::other));
        if used.is_ok_and(|age| age > UNUSED) {
            say(&format!("removing an image that was not used for two weeks: {}", path.display()));
            // What cannot be removed only takes room.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Hashes every file of the recipe: path, whether it is executable, content.
pub(crate) fn recipe_hash(recipe: &str) -> Result<String, LabError> {
    let mut files = Vec::new();
    list_files(Path::new(recipe), &mut files).map_err(LabError::io(format!("reading {recipe}")))?;
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        let doing = || format!("reading {}", path.display());
        let metadata = fs::symlink_metadata(&path).map_err(LabError::io(doing()))?;
        let content = if metadata.is_symlink() {
            fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes())
        } else {
            fs::read(&path)
        };
        let content = content.map_err(LabError::io(doing()))?;
        let name = path.strip_prefix(recipe).unwrap_or(&path).display();
        let executable = metadata.permissions().mode() & 0o100;
        hash.update(format!("{name}\0{executable}\0{}\0", content.len()));
        hash.update(&content);
    }
    Ok(hex(&hash.finalize())[..12].to_owned())
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list_files(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn machine(what: &str, help: &str) -> LabError {
    LabError::Machine { what: what.into(), help: help.into() }
}
