//! Configurations of xl and what becomes of them: the manifests, which validate, and every construct that is not carried over.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use import::Site;
use schema::{Content, SourceFile, Tree, render};

fn check_in(site: &Site, file: &str, text: &str) -> String {
    let imported = import::xl(&[(file.to_owned(), text.to_owned())], site);
    let manifests = common::manifests(&imported);
    let desired = common::read(&manifests);
    assert_eq!(
        desired.vms.into_values().collect::<Vec<_>>(),
        imported.vms.into_iter().map(|(_, vm)| vm).collect::<Vec<_>>()
    );
    let file = SourceFile { path: file.to_owned(), content: Content::Text(text.as_bytes().to_vec()) };
    let report = render::human(&imported.findings, &Tree { files: vec![file], ignore: None });
    format!("{manifests}\n{report}")
}

macro_rules! check {
    ($($test:ident $file:literal)*) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(check_in(&common::site(), $file, include_str!(concat!("xl/", $file))));
        }
    )*};
}

check! {
    pv "pv.cfg"
    pvh "pvh.cfg"
    lossy "lossy.cfg"
    python "python.cfg"
    hvm "hvm.cfg"
    oracle "oracle.cfg"
    pygrub "pygrub.cfg"
}

#[test]
fn pins_need_a_topology() {
    let text = "name='a'\nkernel='/boot/k'\nmemory=64\ncpus='2-3'\n";
    let site = Site { pcpus: None, ..common::site() };
    insta::assert_snapshot!(check_in(&site, "a.cfg", text));
}

#[test]
fn two_files_of_one_name() {
    let file = |name: &str| (name.to_owned(), "name='a'\nkernel='/boot/k'\nmemory=64".to_owned());
    let imported = import::xl(&[file("one.cfg"), file("two.cfg")], &common::site());
    assert_eq!(imported.vms.len(), 1);
    insta::assert_snapshot!(render::human(&imported.findings, &Tree::default()));
}
