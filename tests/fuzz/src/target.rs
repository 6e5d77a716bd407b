#![no_main]
//! One target under libFuzzer, chosen by `PINFOLD_FUZZ`. Started by `pinfold-fuzz`.

use fuzz::Target;
use std::sync::LazyLock;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("PINFOLD_FUZZ").expect("PINFOLD_FUZZ names the target");
    fuzz::target(&name).expect("PINFOLD_FUZZ names a target of `fuzz::TARGETS`")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
