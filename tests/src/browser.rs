//! A cookie jar, and what can be seen of an id from outside.

use coatroom_core::{Handle, Kind};

pub const NAMES: [(&str, Kind); 2] = [("__Host-id", Kind::Login), ("__Host-visitor", Kind::Visitor)];

/// The two cookies of one browser.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Browser {
    pub login: Option<String>,
    pub visitor: Option<String>,
}

impl Browser {
    pub fn header(&self) -> String {
        let pair = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={value}"));
        let pairs = [pair(NAMES[0].0, &self.login), pair(NAMES[1].0, &self.visitor)];
        pairs.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Obeys one Set-Cookie line.
    pub fn obey(&mut self, line: &str) {
        let (kind, value, removes) = read_line(line);
        let place = match kind {
            Kind::Login => &mut self.login,
            Kind::Visitor => &mut self.visitor,
        };
        *place = (!removes).then(|| value.to_owned());
    }
}

/// Cookie, value, and whether the line removes it.
pub fn read_line(line: &str) -> (Kind, &str, bool) {
    let (pair, attributes) = line.split_once(';').expect("every line has attributes");
    let (name, value) = pair.split_once('=').expect("every line has a name");
    let kind = NAMES.iter().find(|(known, _)| *known == name).expect("only our names are set").1;
    (kind, value, attributes.contains("Max-Age=0;"))
}

/// An id, taken apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub handle: Handle,
    pub generation: u32,
    pub secret: [u8; 32],
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.handle, self.generation)
    }
}

impl Id {
    /// Whether these bytes hold the secret.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(32).any(|window| window[0] == self.secret[0] && window == self.secret)
    }

    pub fn read(text: &str) -> Option<Self> {
        let bytes = unbase64(text)?;
        Some(Self {
            handle: Handle::from_bytes(bytes.get(..12)?.try_into().ok()?),
            generation: u32::from_be_bytes(bytes.get(12..16)?.try_into().ok()?),
            secret: bytes.get(18..50)?.try_into().ok()?,
        })
    }

    /// The id in the cookie of this kind.
    pub fn in_header(header: &str, kind: Kind) -> Option<Self> {
        Self::read(value_in(header, kind)?)
    }
}

/// The number of the key that signed the id in the cookie of this kind.
pub fn key_number(header: &str, kind: Kind) -> Option<u16> {
    let bytes = unbase64(value_in(header, kind)?)?;
    Some(u16::from_be_bytes(bytes.get(16..18)?.try_into().ok()?))
}

fn value_in(header: &str, kind: Kind) -> Option<&str> {
    let name = NAMES.iter().find(|(_, known)| *known == kind)?.0;
    let values: Vec<_> =
        header.split("; ").filter_map(|pair| pair.split_once('=')).filter(|pair| pair.0 == name).collect();
    if let [(_, value)] = values[..] { Some(value) } else { None }
}

pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0);
    for character in text.bytes() {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}
