//! `pinfold explain vm.spec.restart`: what a kind or a field means.

use crate::field::{self, CHANGING, Field, UnknownPath};
use crate::kinds::API_VERSION;
use std::fmt::Write;

/// Columns of the text.
const WIDTH: usize = 100;

/// Explains a kind or a field: `vm`, `vm.spec`, `vm.spec.restart`, `vm.spec.disks.path`.
///
/// Fails when the path names nothing, and says what was probably meant.
pub fn explain(path: &str) -> Result<String, UnknownPath> {
    let (kind, field) = field::find(path)?;
    let mut text = format!("{kind} ({}), {API_VERSION}\n", kind.short());
    if !field.path.is_empty() {
        let presence = if field.is_required { "required" } else { "optional" };
        let _ = writeln!(text, "{}: {}, {presence}", field.path, plain(&field.type_words));
    }
    text.push('\n');
    wrap(&plain(&field.meaning), "", &mut text);
    if let Some(changing) = &field.changing {
        text.push('\n');
        wrap(&format!("{CHANGING}{}", plain(changing)), "", &mut text);
    }
    list("Words:", field.words.iter().map(|(word, meaning)| (word.clone(), plain(meaning))).collect(), &mut text);
    list("Fields (* required):", field.fields.iter().map(line).collect(), &mut text);
    Ok(text)
}

fn line(field: &Field) -> (String, String) {
    let mark = if field.is_required { "*" } else { "" };
    let meaning = plain(&field.meaning);
    // Its first sentence; the rest is one `explain` away.
    let first = meaning.split_once(". ").map_or(meaning.as_str(), |(first, _)| first);
    (format!("{}{mark}", field.name()), format!("{} ({})", first.trim_end_matches('.'), plain(&field.type_words)))
}

fn list(title: &str, rows: Vec<(String, String)>, text: &mut String) {
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let _ = write!(text, "\n{title}\n");
    for (name, meaning) in rows {
        let indent = format!("{:1$}", "", width + 4);
        let mut wrapped = String::new();
        wrap(&meaning, &indent, &mut wrapped);
        let _ = write!(text, "  {name:width$}  {}", wrapped.trim_start());
    }
}

/// Text for a terminal: without the marks of code.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn wrap(text: &str, indent: &str, output: &mut String) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column == 0 {
            output.push_str(indent);
            column = indent.len();
        } else if column + 1 + length > WIDTH {
            output.push('\n');
            output.push_str(indent);
            column = indent.len();
        } else {
            output.push(' ');
            column += 1;
        }
        output.push_str(word);
        column += length;
    }
    output.push('\n');
}

#[cfg(test)]
mod tests {
    use super::explain;

    #[test]
    fn fields_and_kinds() {
        insta::assert_snapshot!(explain("vm.spec.restart").unwrap(), @r#"
        VirtualMachine (vm), pinfold.dev/v1alpha1
        spec.restart: always, on-failure, never, optional

        When a guest that ended by itself is started again: always (also after a power-off), on-failure
        (after a crash) or never. After a reboot it always is. Default: on-failure.

        Changing it: live.

        Words:
          always      After power-off, crash and reboot.
          on-failure  After crash and reboot.
          never       After reboot only.
        "#);
        insta::assert_snapshot!(explain("VirtualMachine.spec.disks[]").unwrap(), @r"
        VirtualMachine (vm), pinfold.dev/v1alpha1
        spec.disks[]: list, optional

        Its disks. Default: none.

        Changing it: live; a disk that is added is attached to the running guest; one that is removed is
        taken away once the guest has let go of it, never by force. Linux lets go of a mounted disk too, and
        loses what it has not written: unmount it first. A disk that the guest can write to is therefore
        taken away when it starts next, or at once when pinfold approve says so or the pool's
        changes.restarts is allow. An emulated disk of an HVM guest (hd…) comes and goes at the next start.

        Fields (* required):
          name*     Its name within the VM (name)
          target*   The device in the guest: xvda and so on (disk target)
          path*     Absolute path of the file or block device in dom0 (absolute path)
          readOnly  true: the guest cannot write (true, false)
        ");
        insta::assert_snapshot!(explain("cp").unwrap(), @r#"
        CorePartition (cp), pinfold.dev/v1alpha1

        A hard partition: whole physical cores of one host, exclusive, named, and shared by the VMs that
        join it. On the host it is a cpupool of the same name.

        Fields (* required):
          metadata*  What names the object (mapping)
          spec*      What the object is (mapping)
        "#);
        insta::assert_snapshot!(explain("hosts.spec.dom0.cores.core").unwrap(), @r#"
        Host (host), pinfold.dev/v1alpha1
        spec.dom0.cores[].core: 0 to 4095, required

        The core within its socket, from 0, as xenpm get-cpu-topology shows it. All its threads belong to
        it.
        "#);
    }

    #[test]
    fn what_is_not_there() {
        insta::assert_snapshot!(explain("vmm").unwrap_err(), @"there is no kind `vmm`; did you mean `vm`?");
        insta::assert_snapshot!(explain("vm.spec.vpcus").unwrap_err(), @"`spec` has no field `vpcus`; did you mean `vcpus`?");
        insta::assert_snapshot!(explain("vm.spec.host.name").unwrap_err(), @"`spec.host` has no field `name`; there are none");
    }
}
