//! The commands that need no daemon, as a shell sees them: data on one stream, talk on the other, and the exit code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

struct Said {
    code: i32,
    out: String,
    err: String,
}

/// Runs a command in a folder, with nothing of the tester's environment.
fn pinfold(folder: &Path, arguments: &[&str]) -> Said {
    let output =
        Command::new(env!("CARGO_BIN_EXE_pinfold")).current_dir(folder).env_clear().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder with a first configuration in `fleet`.
fn with_configuration() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let said = pinfold(folder.path(), &["init", "fleet", "--host", "xen1"]);
    assert_eq!(said.code, 0, "{}", said.err);
    folder
}

#[test]
fn a_first_configuration_validates_and_is_never_overwritten() {
    let folder = with_configuration();
    let valid = pinfold(folder.path(), &["validate", "fleet"]);
    assert_eq!((valid.code, valid.out.as_str(), valid.err.as_str()), (0, "", "no findings\n"));
    let again = pinfold(folder.path(), &["init", "fleet", "--host", "xen1"]);
    assert_eq!(again.code, 70);
    assert!(again.err.contains("is there already") && again.err.contains("help:"), "{}", again.err);
}

#[test]
fn findings_are_data_with_file_line_and_column() {
    let folder = with_configuration();
    fs::write(
        folder.path().join("fleet/networks.yaml"),
        "apiVersion: pinfold.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {brigde: xenbr0}\n",
    )
    .unwrap();
    let human = pinfold(folder.path(), &["validate", "fleet"]);
    assert_eq!(human.code, 1);
    assert!(human.out.contains("networks.yaml:4:8") && human.out.contains("bridge"), "{}", human.out);
    let github = pinfold(folder.path(), &["validate", "-o", "github", "./fleet/"]).out;
    assert!(
        github.lines().any(|line| line.starts_with("::error ") && line.contains("file=fleet/networks.yaml,line=4")),
        "{github}"
    );
    let gitlab: serde_json::Value =
        serde_json::from_str(&pinfold(folder.path(), &["validate", "-o", "gitlab", "fleet"]).out).unwrap();
    assert_eq!(gitlab[0]["location"]["path"], "fleet/networks.yaml");
    let json: serde_json::Value =
        serde_json::from_str(&pinfold(folder.path(), &["validate", "-o", "json", "fleet"]).out).unwrap();
    assert_eq!(json["apiVersion"], "pinfold.dev/v1alpha1");
    assert_eq!(json["items"][0]["path"], "fleet");
    assert_eq!(json["items"][0]["findings"][0]["location"]["line"], 4);
}

#[test]
fn a_folder_is_read_as_git_would_give_it() {
    let folder = with_configuration();
    let fleet = folder.path().join("fleet");
    fs::create_dir(fleet.join(".hidden")).unwrap();
    fs::write(fleet.join(".hidden/bad.yaml"), "]").unwrap();
    fs::create_dir(fleet.join("charts")).unwrap();
    fs::write(fleet.join("charts/bad.yaml"), "]").unwrap();
    fs::write(fleet.join(".pinfoldignore"), "charts/\n").unwrap();
    assert_eq!(pinfold(folder.path(), &["validate", "fleet"]).code, 0);
    std::os::unix::fs::symlink("/etc/hostname", fleet.join("link.yaml")).unwrap();
    let link = pinfold(folder.path(), &["validate", "fleet"]);
    assert_eq!(link.code, 1);
    assert!(link.out.contains("leaves the configuration"), "{}", link.out);
    fs::remove_file(fleet.join("link.yaml")).unwrap();
    fs::File::create(fleet.join("huge.yaml")).unwrap().set_len(1 << 30).unwrap();
    let huge = pinfold(folder.path(), &["validate", "fleet"]);
    assert_eq!(huge.code, 1);
    assert!(huge.out.contains("1073741824 bytes"), "{}", huge.out);
}

#[test]
fn what_could_not_run_is_told_apart_from_findings() {
    let folder = with_configuration();
    for (arguments, code) in [
        (vec!["validate", "nowhere"], 70),
        (vec!["validate", "fleet", "--inventory", "nowhere.json"], 70),
        (vec!["validate"], 64),
        (vec!["frobnicate"], 64),
        (vec!["get", "gadget"], 64),
        (vec!["why", "web"], 64),
        (vec!["run", "--backend", "kvm"], 64),
        (vec!["plan", "fleet", "--inventory", "nowhere.json"], 1),
        (vec!["run", "--config", "nowhere.yaml"], 70),
        (vec!["--version"], 0),
        (vec!["plan", "--help"], 0),
    ] {
        let said = pinfold(folder.path(), &arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.err);
        let (data, talk) = (said.out.is_empty(), said.err.is_empty());
        assert_eq!((data, talk), (code != 0, code == 0), "{arguments:?} speaks on the wrong stream");
    }
}

#[test]
fn the_language_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    let field = pinfold(folder.path(), &["explain", "vm.spec.restart"]);
    assert!(field.code == 0 && field.out.contains("on-failure"), "{}", field.out);
    let unknown = pinfold(folder.path(), &["explain", "vm.spec.restrat"]);
    assert!(unknown.code == 1 && unknown.err.contains("restart"), "{}", unknown.err);
    let schema: serde_json::Value = serde_json::from_str(&pinfold(folder.path(), &["schema", "vm"]).out).unwrap();
    assert_eq!(schema["properties"]["kind"]["const"], "VirtualMachine");
    let all: serde_json::Value = serde_json::from_str(&pinfold(folder.path(), &["schema"]).out).unwrap();
    assert!(all.is_object());
    assert!(pinfold(folder.path(), &["completion", "bash"]).out.contains("_pinfold"));
}

#[test]
fn nothing_is_coloured_for_a_pipe() {
    let folder = with_configuration();
    fs::write(folder.path().join("fleet/networks.yaml"), "]").unwrap();
    let said = pinfold(folder.path(), &["validate", "fleet", "nowhere"]);
    let coloured = pinfold(folder.path(), &["validate", "fleet"]);
    assert!(!format!("{}{}{}{}", said.out, said.err, coloured.out, coloured.err).contains('\u{1b}'));
}

const XL: &str = "name = \"mail\"\nkernel = \"/boot/vmlinuz\"\nmemory = 256\nvcpus = 2\nvif = [ '' ]\nsdl = 1\n";

#[test]
fn xl_configurations_become_manifests_that_validate() {
    let folder = with_configuration();
    fs::write(folder.path().join("mail.cfg"), XL).unwrap();
    let said = pinfold(folder.path(), &["import", "xl", "mail.cfg", "--write", "fleet"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    assert!(said.err.contains("`sdl` is not carried over") && said.err.contains("mail.cfg:6:1"), "{}", said.err);
    assert!(said.err.ends_with("1 warning\nwrote fleet/vms/mail.yaml\n"), "{}", said.err);
    let valid = pinfold(folder.path(), &["validate", "fleet"]);
    assert_eq!((valid.code, valid.err.as_str()), (0, "no findings\n"), "{}", valid.out);
    let manifest = fs::read_to_string(folder.path().join("fleet/vms/mail.yaml")).unwrap();
    assert!(manifest.contains("network: lan"), "the configuration's own network has the bridge: {manifest}");

    let again = pinfold(folder.path(), &["import", "xl", "mail.cfg", "--write", "fleet"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("the configuration has a VM `mail` already"), "{}", again.err);
}

#[test]
fn an_import_without_a_configuration_prints_everything_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mail.cfg"), XL).unwrap();
    let said = pinfold(folder.path(), &["import", "xl", "mail.cfg", "--host", "xen1"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("kind: Network") && said.out.contains("kind: VirtualMachine"), "{}", said.out);
    let json = pinfold(folder.path(), &["import", "xl", "mail.cfg", "--host", "xen1", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["items"][1]["path"], "vms/mail.yaml");
    assert_eq!(json["findings"][0]["code"], "not-carried-over");
}

#[test]
fn manifests_that_contradict_each_other_are_not_written() {
    let folder = with_configuration();
    for name in ["one", "two"] {
        let text = format!("name='{name}'\nkernel='/boot/k'\nmemory=64\ndisk=['/srv/a.img,raw,xvda,rw']\n");
        fs::write(folder.path().join(format!("{name}.cfg")), text).unwrap();
    }
    let said = pinfold(folder.path(), &["import", "xl", "one.cfg", "two.cfg", "--write", "fleet"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("error[shared-disk]") && said.err.contains("nothing was written"), "{}", said.err);
    assert!(!folder.path().join("fleet/vms").exists());
}

#[test]
fn a_console_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(pinfold(folder.path(), &["console", "--help"]).out);
}

#[test]
fn top_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(pinfold(folder.path(), &["top", "--help"]).out);
}
