//! A strict reader of JSON (RFC 8259) for texts from strangers, and the writing of strings.
//!
//! Refused, where many readers are lenient: a name that occurs twice in an object, bytes that are no UTF-8, half a
//! surrogate pair, anything behind the value, and more than [`DEPTH`] containers within each other.

use std::borrow::Cow;

use crate::error::Form;

/// Containers within each other, at most.
pub(crate) const DEPTH: usize = 8;
/// Members of one object, at most: names are compared with each other.
const MEMBERS: usize = 64;

/// A value of a text.
#[derive(Debug)]
pub(crate) enum Json<'a> {
    Null,
    Bool,
    /// As it is written; its form is checked.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<Member<'a>>),
}

pub(crate) type Member<'a> = (Cow<'a, str>, Json<'a>);

/// The members of the one object that `bytes` are.
// spec: TOKEN-4 0830, TOKEN-5 0209
pub(crate) fn object(bytes: &[u8]) -> Result<Vec<Member<'_>>, Form> {
    let text = str::from_utf8(bytes).map_err(|_| Form::NotUtf8)?;
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    let value = reader.value(1)?;
    reader.blanks();
    match value {
        Json::Object(members) if reader.at == text.len() => Ok(members),
        _ => Err(Form::Malformed),
    }
}

/// Writes `text` as a JSON string at the end of `json`.
pub(crate) fn write_text(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                let code = u32::from(control);
                json.push_str("\\u00");
                json.extend([code >> 4, code & 0xf].iter().filter_map(|&digit| char::from_digit(digit, 16)));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn next(&mut self) -> Result<u8, Form> {
        let byte = self.peek().ok_or(Form::Malformed)?;
        self.step();
        Ok(byte)
    }

    fn takes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.step();
        }
        there
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, Form> {
        let rest = self.text.get(self.at..).ok_or(Form::Malformed)?;
        if !rest.starts_with(word) {
            return Err(Form::Malformed);
        }
        self.at = self.at.saturating_add(word.len());
        Ok(value)
    }

    /// `depth` is that of a container that begins here.
    fn value(&mut self, depth: usize) -> Result<Json<'a>, Form> {
        match self.peek().ok_or(Form::Malformed)? {
            b'{' if depth <= DEPTH => self.members(depth).map(Json::Object),
            b'[' if depth <= DEPTH => self.list(depth).map(Json::List),
            b'{' | b'[' => Err(Form::TooDeep),
            b'"' => self.string().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number().map(Json::Number),
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool),
            b'f' => self.word("false", Json::Bool),
            _ => Err(Form::Malformed),
        }
    }

    // spec: TOKEN-5 0209
    fn members(&mut self, depth: usize) -> Result<Vec<Member<'a>>, Form> {
        self.step();
        let mut members: Vec<Member<'a>> = Vec::with_capacity(10);
        self.blanks();
        if self.takes(b'}') {
            return Ok(members);
        }
        loop {
            self.blanks();
            let name = self.string()?;
            if members.iter().any(|(other, _)| *other == name) && !planted!(DuplicateClaimsRead) {
                return Err(Form::Duplicate);
            }
            self.blanks();
            if !self.takes(b':') || members.len() >= MEMBERS {
                return Err(Form::Malformed);
            }
            self.blanks();
            let value = self.value(depth.saturating_add(1))?;
            members.push((name, value));
            self.blanks();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(members),
                _ => return Err(Form::Malformed),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Json<'a>>, Form> {
        self.step();
        let mut list = Vec::new();
        self.blanks();
        if self.takes(b']') {
            return Ok(list);
        }
        loop {
            self.blanks();
            list.push(self.value(depth.saturating_add(1))?);
            self.blanks();
            match self.next()? {
                b',' => {}
                b']' => return Ok(list),
                _ => return Err(Form::Malformed),
            }
        }
    }

    fn number(&mut self) -> Result<&'a str, Form> {
        let from = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _sign = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        self.text.get(from..self.at).ok_or(Form::Malformed)
    }

    fn digits(&mut self) -> Result<(), Form> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.step();
        }
        if self.at > from { Ok(()) } else { Err(Form::Malformed) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Form> {
        if !self.takes(b'"') {
            return Err(Form::Malformed);
        }
        let plain = self.plain()?;
        if self.takes(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while !self.takes(b'"') {
            self.step();
            text.push(self.escaped()?);
            text.push_str(self.plain()?);
        }
        Ok(Cow::Owned(text))
    }

    /// Up to a quote or a backslash, which is there.
    fn plain(&mut self) -> Result<&'a str, Form> {
        let rest = self.text.get(self.at..).ok_or(Form::Malformed)?;
        let length = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20);
        let plain = length.and_then(|length| rest.get(..length)).ok_or(Form::Malformed)?;
        self.at = self.at.saturating_add(plain.len());
        match self.peek() {
            Some(b'"' | b'\\') => Ok(plain),
            _ => Err(Form::Malformed),
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Result<char, Form> {
        Ok(match self.next()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let second = if (0xd800..0xdc00).contains(&first) {
                    if !self.takes(b'\\') || !self.takes(b'u') {
                        return Err(Form::Malformed);
                    }
                    Some(self.unit()?)
                } else {
                    None
                };
                let units = [Some(first), second];
                let mut decoded = char::decode_utf16(units.into_iter().flatten());
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(character)), None) => character,
                    _ => return Err(Form::Malformed),
                }
            }
            _ => return Err(Form::Malformed),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, Form> {
        let end = self.at.saturating_add(4);
        let digits = self.text.get(self.at..end).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        self.at = end;
        digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()).ok_or(Form::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Option<Form> {
        object(text.as_bytes()).err()
    }

    #[test]
    fn what_json_allows_is_read_and_nothing_else() {
        for good in [
            "{}",
            " {\t\"a\" :\r\n1 } ",
            r#"{"a":-0.5e+9,"b":0,"c":[],"d":[1,[2,{"a":null}],true,false],"\u0061b":"\ud83d\ude00\/"}"#,
            "{\"\u{1F600}\":\"\u{7f}\"}",
        ] {
            assert_eq!(form(good), None, "{good}");
        }
        for bad in [
            "",
            "[]",
            "1",
            "{",
            "}",
            "{}{}",
            "{} x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":NaN}",
            "{\"a\":nul}",
            "{\"a\":[1,]}",
            "{\"a\":[1",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\\u00g0\"}",
            "{\"a\":\"\\u+041\"}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "\u{feff}{}",
            "{\"a\":1 \"b\":2}",
            "{/**/}",
        ] {
            assert_eq!(form(bad), Some(Form::Malformed), "{bad}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}").unwrap_err(), Form::NotUtf8);
    }

    #[test]
    // spec: TOKEN-5 0209
    fn a_name_counts_once_however_it_is_spelt_and_at_any_depth() {
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, r#"{"b":[{"a":1,"c":2,"a":3}]}"#] {
            assert_eq!(form(twice), Some(Form::Duplicate), "{twice}");
        }
    }

    #[test]
    // spec: TOKEN-4 0830
    fn depth_and_number_of_members_have_a_limit() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(form(&nested(DEPTH - 1)), None);
        assert_eq!(form(&nested(DEPTH)), Some(Form::TooDeep));
        assert_eq!(form(&nested(3000)), Some(Form::TooDeep));
        let many = |n: usize| format!("{{{}}}", (0..n).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        assert_eq!(form(&many(MEMBERS)), None);
        assert_eq!(form(&many(MEMBERS + 1)), Some(Form::Malformed));
    }

    #[test]
    fn any_text_is_written_so_that_it_is_read_again() {
        for text in ["", "a\"b\\c/", "\u{0}\u{1f}\u{7f}\u{2028}", "\u{1F600}\n\r\t"] {
            let mut json = "{\"a\":".to_owned();
            write_text(&mut json, text);
            json.push('}');
            let members = object(json.as_bytes()).unwrap();
            assert!(matches!(&members[..], [(_, Json::Text(read))] if read == text), "{json}");
        }
    }
}
