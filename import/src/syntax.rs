//! The syntax of xl's configurations: `key = value` and `key += value`, where a value is a string, a number or a list of values.
//!
//! The grammar is that of libxlutil (`xlu_cfg_readdata`), tried out against it. Nothing is executed: `xm` took such files for Python, and what is not literal is a
//! [`Fault`] here. After a fault reading goes on behind the whole construct, a block of Python included, so that its lines are not taken for settings.
//! Two liberties: a carriage return at the end of a line, and a comment at the end of the file without a newline; libxlutil refuses both.

use std::ops::Range;
use winnow::LocatingSlice;
use winnow::Parser;
use winnow::ascii::multispace0;
use winnow::combinator::{alt, delimited, opt, peek, preceded, repeat, terminated};
use winnow::error::EmptyError;
use winnow::token::{literal, one_of, take_till, take_while};

type Input<'t> = LocatingSlice<&'t str>;
type Read<T> = Result<T, EmptyError>;

/// Lists within lists that are followed. xl knows two levels (`vnuma`).
const MAX_DEPTH: usize = 8;

/// What a file says, and what in it cannot be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) settings: Vec<Setting>,
    pub(crate) faults: Vec<Fault>,
}

/// One assignment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    /// `+=`: more of a string or list that is there.
    pub(crate) adds: bool,
    pub(crate) value: Value,
    /// Key and value.
    pub(crate) bytes: Range<usize>,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) form: Form,
    pub(crate) bytes: Range<usize>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A string without its quotes, or a number as it is written: xl takes either where the other is wanted.
    Text(String),
    List(Vec<Value>),
}

/// A construct that is not literal, or not xl's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The key, when the construct begins like a setting.
    pub(crate) key: Option<String>,
    pub(crate) bytes: Range<usize>,
}

/// Reads a whole file. Any text gives settings and faults, never a panic.
pub(crate) fn read(text: &str) -> File {
    let mut file = File::default();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let start = at + skipped(rest);
        if start >= text.len() {
            break;
        }
        let mut input = LocatingSlice::new(&text[start..]);
        at = if let Ok(((key, adds, value), bytes)) = terminated(setting, end).with_span().parse_next(&mut input) {
            file.settings.push(Setting { key, adds, value: value.moved(start), bytes: moved(&bytes, start) });
            start + bytes.end
        } else {
            let end = construct(text, start);
            let key = key.parse_next(&mut LocatingSlice::new(&text[start..]));
            let begins = |key: &String| text[start + key.len()..end].trim_start().starts_with(['=', '+']);
            file.faults.push(Fault { key: key.ok().filter(begins), bytes: start..end });
            end
        };
    }
    file
}

impl Value {
    /// The texts of a value, one or many; those within lists of lists too.
    pub(crate) fn words(&self) -> Vec<String> {
        match &self.form {
            Form::Text(text) => vec![text.clone()],
            Form::List(values) => values.iter().flat_map(Self::words).collect(),
        }
    }

    fn moved(self, by: usize) -> Self {
        let form = match self.form {
            Form::Text(text) => Form::Text(text),
            Form::List(items) => Form::List(items.into_iter().map(|item| item.moved(by)).collect()),
        };
        Self { form, bytes: moved(&self.bytes, by) }
    }
}

fn moved(bytes: &Range<usize>, by: usize) -> Range<usize> {
    bytes.start + by..bytes.end + by
}

/// Bytes before the next statement: space, ends of lines and statements, comments.
fn skipped(text: &str) -> usize {
    let mut input = LocatingSlice::new(text);
    let nothing = alt((take_while(1.., [' ', '\t', '\r', '\n', ';']), comment));
    let skip = repeat::<_, _, (), _, _>(0.., nothing).take().parse_next(&mut input);
    let skip: Read<&str> = skip;
    skip.map_or(0, str::len)
}

fn comment<'t>(input: &mut Input<'t>) -> Read<&'t str> {
    preceded('#', take_till(0.., '\n')).parse_next(input)
}

fn setting(input: &mut Input<'_>) -> Read<(String, bool, Value)> {
    let key = key.parse_next(input)?;
    let adds = delimited(blanks, alt((literal("+=").value(true), literal("=").value(false))), blanks);
    let adds = { adds }.parse_next(input)?;
    let value = value(0).parse_next(input)?;
    Ok((key, adds, value))
}

fn key(input: &mut Input<'_>) -> Read<String> {
    let rest = take_while(0.., ('a'..='z', '0'..='9', '_'));
    (one_of('a'..='z'), rest).take().map(str::to_owned).parse_next(input)
}

fn blanks<'t>(input: &mut Input<'t>) -> Read<&'t str> {
    take_while(0.., [' ', '\t']).parse_next(input)
}

/// What must follow a setting, which is not taken.
fn end(input: &mut Input<'_>) -> Read<()> {
    let at_end = alt((literal("\r\n").void(), one_of(['\n', ';', '#']).void(), winnow::combinator::eof.void()));
    peek(preceded(blanks, at_end)).parse_next(input)
}

fn value<'t>(depth: usize) -> impl Parser<Input<'t>, Value, EmptyError> {
    move |input: &mut Input<'t>| {
        let (form, bytes) = if peek(opt(literal("["))).parse_next(input)?.is_some() {
            if depth == MAX_DEPTH {
                return Err(EmptyError);
            }
            list(depth).map(Form::List).with_span().parse_next(input)?
        } else {
            alt((string, number)).map(Form::Text).with_span().parse_next(input)?
        };
        Ok(Value { form, bytes })
    }
}

/// A list; a comma may follow its last value.
fn list<'t>(depth: usize) -> impl Parser<Input<'t>, Vec<Value>, EmptyError> {
    move |input: &mut Input<'t>| {
        ('[', gap).void().parse_next(input)?;
        let mut values = Vec::new();
        while peek(opt(literal("]"))).parse_next(input)?.is_none() {
            values.push(terminated(value(depth + 1), gap).parse_next(input)?);
            if opt((',', gap)).parse_next(input)?.is_none() {
                break;
            }
        }
        literal("]").parse_next(input)?;
        Ok(values)
    }
}

/// Space between the values of a list, which may hold ends of lines and comments.
fn gap(input: &mut Input<'_>) -> Read<()> {
    repeat(0.., alt((multispace1, comment))).parse_next(input)
}

fn multispace1<'t>(input: &mut Input<'t>) -> Read<&'t str> {
    multispace0.verify(|space: &str| !space.is_empty()).parse_next(input)
}

/// Decimal, octal with a leading zero, or hexadecimal with `0x`, as `strtol` reads them with base 0.
fn number(input: &mut Input<'_>) -> Read<String> {
    let rest = take_while(0.., ('0'..='9', 'a'..='f', 'x'));
    (one_of('0'..='9'), rest).take().map(str::to_owned).parse_next(input)
}

fn string(input: &mut Input<'_>) -> Read<String> {
    let quote = one_of(['\'', '"']).parse_next(input)?;
    let plain = take_till(1.., move |c: char| c == quote || c == '\\' || c == '\n').map(str::to_owned);
    let text = repeat(0.., alt((plain, escape.map(String::from)))).fold(String::new, |text: String, part| text + &part);
    terminated(text, quote).parse_next(input)
}

/// The escapes of libxlutil (`xlu__cfgl_dequote`). A byte that is no ASCII character is none here: the file is UTF-8.
fn escape(input: &mut Input<'_>) -> Read<char> {
    let digits = |count, radix| {
        take_while(1..=count, move |c: char| c.is_digit(radix))
            .verify_map(move |digits: &str| u8::from_str_radix(digits, radix).ok().filter(u8::is_ascii).map(char::from))
    };
    let one = one_of(['\\', '\'', '"', 'a', 'b', 'f', 'n', 'r', 't', 'v']).map(|c| match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        itself => itself,
    });
    preceded('\\', alt((one, preceded('x', digits(2, 16)), digits(3, 8)))).parse_next(input)
}

/// Where a construct that cannot be read ends: with its line, the brackets and strings that it opened, and the indented block below it.
fn construct(text: &str, start: usize) -> usize {
    let mut end = start + logical_line(&text[start..]);
    let opens_block = text[start..end].split('#').next().is_some_and(|line| line.trim_end().ends_with(':'));
    if opens_block {
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = text[line_start..start].len();
        while let Some(line) = text.get(end + 1..).and_then(|rest| rest.split_inclusive('\n').next()) {
            let inner = line.len() - line.trim_start_matches([' ', '\t']).len();
            if !line.trim().is_empty() && inner <= indent {
                break;
            }
            end += 1 + logical_line(&text[end + 1..]);
        }
    }
    end.min(text.len())
}

/// Bytes up to the end of the line, or of a later one when brackets or strings are open.
fn logical_line(text: &str) -> usize {
    let (mut depth, mut rest) = (0_usize, text);
    while let Some(character) = rest.chars().next() {
        let step = match character {
            '\n' if depth == 0 => break,
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '\'' | '"' => quoted(rest, character),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            other => {
                match other {
                    '[' | '(' | '{' => depth += 1,
                    ']' | ')' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                other.len_utf8()
            }
        };
        rest = &rest[step..];
    }
    let line = text.len() - rest.len();
    // A bracket or a string that never closes takes no more than its own line.
    if depth > 0 { text.find('\n').unwrap_or(text.len()) } else { line }
}

/// Bytes of a string of Python: three quotes may hold lines, one holds none.
fn quoted(text: &str, quote: char) -> usize {
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    if let Some(end) = text.strip_prefix(&triple).and_then(|rest| rest.find(&triple)) {
        return end + 6;
    }
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Form, Value, read};

    fn shown(value: &Value) -> String {
        match &value.form {
            Form::Text(text) => format!("{text:?}"),
            Form::List(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(" ")),
        }
    }

    fn check(text: &str) -> String {
        let file = read(text);
        let settings = file
            .settings
            .iter()
            .map(|set| format!("{}{} {}", set.key, if set.adds { " +" } else { "" }, shown(&set.value)));
        let faults = file.faults.iter().map(|fault| {
            format!(
                "fault {}{:?}",
                fault.key.as_ref().map_or(String::new(), |key| format!("{key} ")),
                &text[fault.bytes.clone()]
            )
        });
        settings.chain(faults).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_xl_reads() {
        insta::assert_snapshot!(check("a = 'x'\nb=3 # three\n;;c=0x10;d=010"), @r#"a "x"; b "3"; c "0x10"; d "010""#);
        insta::assert_snapshot!(check("a=[1,\n \"2\", # two\n]\nb=[]\nc=[['x'],'y']\n"), @r#"a ["1" "2"]; b []; c [["x"] "y"]"#);
        insta::assert_snapshot!(check("a='it\\'s \\x41\\101\\n\\\\'"), @r#"a "it's AA\n\\""#);
        insta::assert_snapshot!(check("a='x'\na+='y'"), @r#"a "x"; a + "y""#);
        insta::assert_snapshot!(check("  a=1\r\n# only a comment"), @r#"a "1""#);
        insta::assert_snapshot!(check(""), @"");
    }

    #[test]
    fn what_is_not_literal() {
        insta::assert_snapshot!(check("import os\na=1"), @r#"a "1"; fault "import os""#);
        insta::assert_snapshot!(check("a='x' + y\nb=-1\nc=True\nD=1"), @r#"fault a "a='x' + y"; fault b "b=-1"; fault c "c=True"; fault "D=1""#);
        insta::assert_snapshot!(check("a=[ 'x' + y,\n 'z' ]\nb=1"), @r#"b "1"; fault a "a=[ 'x' + y,\n 'z' ]""#);
        insta::assert_snapshot!(check("a='open\nb=1"), @r#"b "1"; fault a "a='open""#);
        insta::assert_snapshot!(check("a=[1\nb=1"), @r#"b "1"; fault a "a=[1""#);
        insta::assert_snapshot!(check("a=1 b=2\nc=1"), @r#"c "1"; fault a "a=1 b=2""#);
        insta::assert_snapshot!(check("a='\\z'"), @r#"fault a "a='\\z'""#);
    }

    #[test]
    fn a_block_is_one_construct() {
        insta::assert_snapshot!(
            check("if arch == 'x':\n  memory = 1\n\n  if y:\n    vcpus = 2\nelse: # no\n\tmemory = 3\nname = 'a'\n"),
            @r#"name "a"; fault "if arch == 'x':\n  memory = 1\n\n  if y:\n    vcpus = 2"; fault "else: # no\n\tmemory = 3""#
        );
        insta::assert_snapshot!(check("\"\"\"doc\nmemory = 1\n\"\"\"\na=1"), @r#"a "1"; fault "\"\"\"doc\nmemory = 1\n\"\"\"""#);
    }
}
