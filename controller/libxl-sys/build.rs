//! Generates the declarations from the installed headers and links libxenlight, libxentoollog, libxenstore and libxenctrl.
//!
//! libxl's structs change with every Xen minor release, so nothing generated is kept in the tree: a build is for the Xen it was built beside.
//! That release is told to this crate as `XENLIGHT_MINOR` and to its dependents' build scripts as `DEP_XENLIGHT_MINOR`.

use std::path::PathBuf;
use std::process::exit;

/// pkg-config names of the libraries, xenlight first.
const LIBRARIES: [&str; 4] = ["xenlight", "xentoollog", "xenstore", "xencontrol"];

/// Functions that `pinfold-xen` calls, as regular expressions.
const FUNCTIONS: [&str; 9] = [
    "libxl_(ctx_alloc|ctx_free|error_to_string|get_version_info|get_physinfo|get_cpu_topology|get_scheduler|get_freecpus|get_free_memory)",
    "libxl_(list_domain|list_vcpu|set_vcpuaffinity|set_vcpuonline|set_memory_target|send_trigger)",
    "libxl_domain_(create_new|create_restore|destroy|pause|unpause|shutdown|suspend|resume|core_dump|rename|need_memory|sched_params_get|sched_params_set)",
    "libxl_cpupool_(create|destroy|rename|cpuadd|cpuremove|movedomain)",
    "libxl_device_(disk|nic)_(init|dispose|from_json|to_json|add|remove|safe_remove)|libxl_(vdev_to_device_disk|devid_to_device_nic|cdrom_insert)",
    "libxl_domain_config_(init|dispose|from_json|to_json)|libxl_domain_restore_params_(init|dispose)",
    "libxl_(physinfo|domain_sched_params|bitmap)_(init|dispose)|libxl_cpu_bitmap_alloc|libxl_(dominfo|vcpuinfo|cputopology)_list_free",
    "xtl_(createlogger_stdiostream|logger_destroy)|xc_interface_(open|close)|xc_cpupool_(getinfo|infofree)|xc_get_cpumap_size|xc_hvm_param_get",
    "xs_(open|close|read|write|directory|watch|check_watch|fileno)",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut includes = Vec::new();
    let mut version = String::new();
    for name in LIBRARIES {
        match pkg_config::probe_library(name) {
            Ok(library) => {
                includes.extend(library.include_paths);
                if name == "xenlight" {
                    version = library.version;
                }
            }
            Err(error) => give_up(&format!("{error}\n\nlibxl's headers are missing.")),
        }
    }
    let minor = version.split('.').take(2).collect::<Vec<_>>().join(".");
    println!("cargo::rustc-env=XENLIGHT_MINOR={minor}");
    println!("cargo::metadata=MINOR={minor}");

    let mut builder = bindgen::Builder::default()
        .header_contents(
            "pinfold.h",
            "#include <stdio.h>\n#include <libxl.h>\n#include <libxl_utils.h>\n#include <xentoollog.h>\n#include <xenstore.h>\n#include <xenctrl.h>\n",
        )
        .clang_arg("-D_GNU_SOURCE")
        .clang_args(includes.iter().map(|path| format!("-I{}", path.display())))
        .rust_edition(bindgen::RustEdition::Edition2024)
        // C has no closed enums: a Rust `enum` with a value it does not list is undefined behaviour.
        .default_enum_style(bindgen::EnumVariation::NewType { is_bitfield: false, is_global: false })
        // 1288 bytes and some 300 fields that move with every release: it is filled and read as JSON only.
        .opaque_type("libxl_domain_config|libxl_device_(disk|nic)")
        .allowlist_type("libxl_domain_config|libxl_device_(disk|nic)")
        .allowlist_type("libxl_(scheduler|domain_type|shutdown_reason|error)")
        .allowlist_var("LIBXL_(VERSION|CPUPOOL_POOLID_ANY)|XS_OPEN_.*")
        .blocklist_type("_IO_.*|FILE|__off(64)?_t")
        .raw_line("use libc::FILE;")
        .layout_tests(true)
        .generate_comments(false)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for functions in FUNCTIONS {
        builder = builder.allowlist_function(functions);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => give_up(&format!("bindgen could not read libxl's headers: {error}")),
    };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    if let Err(error) = bindings.write_to_file(&out) {
        give_up(&format!("{}: {error}", out.display()));
    }
}

/// Says what to install and ends the build.
fn give_up(reason: &str) -> ! {
    println!("cargo::error=pinfold-xen needs the headers of the Xen that it is to run on, and libclang to read them.");
    println!("cargo::error=On Debian: apt install libxen-dev libclang-dev pkg-config");
    for line in reason.lines() {
        println!("cargo::error={line}");
    }
    exit(1)
}
