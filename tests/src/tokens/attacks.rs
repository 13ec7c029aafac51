//! The corpus: what counts, and every known way to make what does not look like it.

use serde_json::{Value, json};

use super::Case;
use super::foreign::MADE_ELSEWHERE;
use super::forge::{AUDIENCE, ISSUER, NOW, SEED, base64url, claims, forge, header, key, mac, sign};

type Group = (&'static str, Vec<Case>);

pub fn groups() -> Vec<Group> {
    vec![
        ("accepted", accepted()),
        ("foreign", foreign()),
        ("algorithms", algorithms()),
        ("headers", headers()),
        ("texts", texts()),
        ("signatures", signatures()),
        ("claims", bad_claims()),
        ("times", times()),
    ]
}

fn case(name: &str, token: impl Into<Vec<u8>>, expect: Result<Value, &'static str>) -> Case {
    Case { name: name.to_owned(), keys: "eddsa", token: token.into(), now: NOW + 1, expect }
}

fn ed(header: &str, claims: &Value) -> Vec<u8> {
    forge(header.as_bytes(), claims.to_string().as_bytes(), "EdDSA")
}

fn with(name: &str, value: Value) -> Value {
    let mut changed = claims();
    changed[name] = value;
    changed
}

fn without(name: &str) -> Value {
    let mut changed = claims();
    changed.as_object_mut().expect("claims are an object").remove(name);
    changed
}

fn stated() -> Value {
    json!({
        "sub": "ada", "sid": "AAECAwQFBgcICQoL", "roles": ["admin", "staff"], "level": 1,
        "iat_ms": NOW * 1000, "exp_ms": (NOW + 300) * 1000, "jti": "token-1",
    })
}

fn stated_with(name: &str, value: Value) -> Result<Value, &'static str> {
    let mut stated = stated();
    stated[name] = value;
    Ok(stated)
}

fn accepted() -> Vec<Case> {
    let plain = header("EdDSA");
    let hs = forge(header("HS256").as_bytes(), claims().to_string().as_bytes(), "HS256");
    let spaced = format!(" {}\n", claims().to_string().replace(':', " : ").replace("https : ", "https:"));
    let escaped = claims().to_string().replace("ada", r"\u0061\ud83d\ude00\/");
    vec![
        case("a plain token", ed(&plain, &claims()), Ok(stated())),
        Case { keys: "hs256", ..case("a plain token under a shared key", hs, Ok(stated())) },
        case(
            "a header in another order",
            ed(r#"{"typ":"at+jwt","kid":"ed-1","alg":"EdDSA"}"#, &claims()),
            Ok(stated()),
        ),
        case(
            "the type in its long form",
            ed(r#"{"typ":"application/at+jwt","kid":"ed-1","alg":"EdDSA"}"#, &claims()),
            Ok(stated()),
        ),
        case("one audience of several", ed(&plain, &with("aud", json!(["stock", AUDIENCE]))), Ok(stated())),
        case("a claim that nobody knows", ed(&plain, &with("tenant", json!({"id": [1, null]}))), Ok(stated())),
        case("no roles", ed(&plain, &with("roles", json!([]))), stated_with("roles", json!([]))),
        case(
            "dates with a fraction",
            ed(&plain, &with("iat", json!(NOW as f64 + 0.25))),
            stated_with("iat_ms", json!(NOW * 1000 + 250)),
        ),
        case("blanks around everything", forge(plain.as_bytes(), spaced.as_bytes(), "EdDSA"), Ok(stated())),
        case(
            "a name in escapes",
            forge(plain.as_bytes(), escaped.as_bytes(), "EdDSA"),
            stated_with("sub", json!("a\u{1F600}/")),
        ),
        case(
            "a name that is not ASCII",
            ed(&plain, &with("sub", json!("Åda Ünal"))),
            stated_with("sub", json!("Åda Ünal")),
        ),
        case("as long as a token may be", of_length(4096), Ok(stated())),
    ]
}

/// A good token of this length, thanks to a claim that nobody reads.
fn of_length(length: usize) -> Vec<u8> {
    (0..length)
        .map(|padding| ed(&header("EdDSA"), &with("pad", json!("x".repeat(padding)))))
        .find(|token| token.len() >= length)
        .expect("some padding is enough")
}

fn foreign() -> Vec<Case> {
    let made = MADE_ELSEWHERE.iter();
    made.map(|(name, keys, token)| Case { keys, ..case(name, *token, Ok(stated())) }).collect()
}

fn algorithms() -> Vec<Case> {
    let body =
        |header: &str| format!("{}.{}", base64url(header.as_bytes()), base64url(claims().to_string().as_bytes()));
    let mut cases = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = format!("{}.", body(&header(name)));
        cases.push(case(&format!("no signature, by the algorithm `{name}`"), unsigned, Err("algorithm")));
        cases.push(case(
            &format!("a signature, by the algorithm `{name}`"),
            ed(&header(name), &claims()),
            Err("algorithm"),
        ));
    }
    // The public key, in every form that somebody could take for a shared secret.
    let public = key().verifying_key().to_bytes();
    let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    der.extend_from_slice(&public);
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, base64url(&public));
    let forms = [
        ("bytes", public.to_vec()),
        ("base64url", base64url(&public).into_bytes()),
        ("SubjectPublicKeyInfo", der.clone()),
        ("a JWK", jwk.into_bytes()),
        ("an empty key", Vec::new()),
    ];
    for (form, secret) in forms {
        for kid in ["ed-1", "hs-1"] {
            let signed = body(&format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"at+jwt"}}"#));
            let token = format!("{signed}.{}", base64url(&mac(&secret, signed.as_bytes())));
            let name = format!("the public key as a shared one, as {form}, under the name {kid}");
            cases.push(case(&name, token, Err("algorithm")));
        }
    }
    for name in
        ["HS256", "HS512", "RS256", "PS256", "ES256", "eddsa", "EDDSA", "EdDSA ", "Ed25519", "Ed448", "A128KW", "dir"]
    {
        let header = format!(r#"{{"alg":"{name}","kid":"ed-1","typ":"at+jwt"}}"#);
        cases.push(case(
            &format!("a good signature, said to be by `{name}`"),
            ed(&header, &claims()),
            Err("algorithm"),
        ));
    }
    cases.push(case("no algorithm", ed(r#"{"kid":"ed-1","typ":"at+jwt"}"#, &claims()), Err("algorithm")));
    let to_hs = |name: &str, header: &str, algorithm: &str, refusal| Case {
        keys: "hs256",
        ..case(name, forge(header.as_bytes(), claims().to_string().as_bytes(), algorithm), Err(refusal))
    };
    cases.push(to_hs("an EdDSA token for a verifier with shared keys", &header("EdDSA"), "EdDSA", "algorithm"));
    let renamed = r#"{"alg":"EdDSA","kid":"hs-1","typ":"at+jwt"}"#;
    cases.push(to_hs("an EdDSA token under the name of a shared key", renamed, "EdDSA", "algorithm"));
    cases.push(to_hs(
        "a shared key used for another hash",
        &header("HS256").replace("256", "512"),
        "HS256",
        "algorithm",
    ));
    cases
}

fn headers() -> Vec<Case> {
    let plus = |member: &str| header("EdDSA").replace('}', &format!(",{member}}}"));
    let public = base64url(&key().verifying_key().to_bytes());
    let jwk = format!(r#""jwk":{{"kty":"OKP","crv":"Ed25519","x":"{public}"}}"#);
    let mut cases = Vec::new();
    for member in [
        r#""jku":"https://evil.example/keys""#,
        r#""x5u":"https://evil.example/chain""#,
        r#""x5c":["MIIB"]"#,
        r#""x5t":"AAAA""#,
        r#""x5t#S256":"AAAA""#,
        r#""jwk":null"#,
        &jwk,
    ] {
        cases.push(case(
            &format!("a header with {}", member.split(':').next().unwrap_or_default()),
            ed(&plus(member), &claims()),
            Err("key in header"),
        ));
    }
    for member in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""b64":false"#,
        r#""b64":true,"crit":["b64"]"#,
        r#""zip":"DEF""#,
        r#""enc":"A256GCM""#,
        r#""cty":"JWT""#,
        r#""epk":{}"#,
        r#""ALG":"EdDSA""#,
        r#""x":1"#,
    ] {
        cases.push(case(&format!("a header with {member}"), ed(&plus(member), &claims()), Err("header member")));
    }
    let named = |kid: &str| format!(r#"{{"alg":"EdDSA","kid":{kid},"typ":"at+jwt"}}"#);
    for kid in [
        r#""""#,
        r#""ed-2""#,
        r#""ED-1""#,
        r#""ed-1 ""#,
        r#""ed-1\u0000""#,
        r#""../../../../dev/null""#,
        r#""/proc/self/environ""#,
        r#""x' UNION SELECT 'AAAA' -- ""#,
        r#""https://evil.example/key""#,
        r#""| cat /etc/passwd""#,
        r#""${jndi:ldap://evil.example/a}""#,
    ] {
        cases.push(case(&format!("a key called {kid}"), ed(&named(kid), &claims()), Err("unknown key")));
    }
    for kid in ["1", "null", "[\"ed-1\"]", "{}", "true"] {
        cases.push(case(
            &format!("a key called {kid}, which is no text"),
            ed(&named(kid), &claims()),
            Err("malformed"),
        ));
    }
    cases.push(case("no name of a key", ed(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &claims()), Err("unknown key")));
    for kind in [
        "JWT",
        "jwt",
        "AT+JWT",
        "at+jwt ",
        "id_token",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "application/",
        "",
        "x/at+jwt",
    ] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"ed-1","typ":"{kind}"}}"#);
        cases.push(case(&format!("the type `{kind}`"), ed(&header, &claims()), Err("type")));
    }
    cases.push(case("no type", ed(r#"{"alg":"EdDSA","kid":"ed-1"}"#, &claims()), Err("type")));
    cases
}

fn texts() -> Vec<Case> {
    let plain = header("EdDSA");
    let good = String::from_utf8(ed(&plain, &claims())).expect("a token is text");
    let parts: Vec<&str> = good.split('.').collect();
    let signed = |header: &[u8], claims: &[u8]| forge(header, claims, "EdDSA");
    let body = claims().to_string();
    let deep = |depth: usize| {
        with("deep", json!(null)).to_string().replace("null", &format!("{}{}", "[".repeat(depth), "]".repeat(depth)))
    };
    let mut cases = vec![
        case("nothing", "", Err("malformed")),
        case("one full stop", ".", Err("malformed")),
        case("full stops alone", "..", Err("malformed")),
        case("two parts", format!("{}.{}", parts[0], parts[1]), Err("malformed")),
        case("four parts", format!("{good}.AAAA"), Err("malformed")),
        case("five parts, as an encrypted token", format!("{good}.AAAA.AAAA"), Err("malformed")),
        case("an empty head", format!(".{}.{}", parts[1], parts[2]), Err("malformed")),
        case("an empty payload", format!("{}..{}", parts[0], parts[2]), Err("malformed")),
        case("a blank before", format!(" {good}"), Err("malformed")),
        case("a line end behind", format!("{good}\n"), Err("malformed")),
        case("Bearer before", format!("Bearer {good}"), Err("malformed")),
        case(
            "JSON serialization",
            format!(r#"{{"payload":"{}","protected":"{}","signature":"{}"}}"#, parts[1], parts[0], parts[2]),
            Err("malformed"),
        ),
        case("padding behind the signature", format!("{good}=="), Err("malformed")),
        case("the other alphabet", good.replace(parts[2], &parts[2].replace(['-', '_'], "+")), Err("malformed")),
        case("4,097 bytes", of_length(4097), Err("too long")),
        case("a million bytes", vec![b'a'; 5000], Err("too long")),
        case("bytes that are no text", [good.as_bytes(), &[0xff]].concat(), Err("malformed")),
        case("a NUL behind", format!("{good}\0"), Err("malformed")),
        case(
            "a payload that is not UTF-8",
            signed(
                plain.as_bytes(),
                &body
                    .replace("ada", "a?a")
                    .into_bytes()
                    .iter()
                    .map(|&byte| if byte == b'?' { 0xff } else { byte })
                    .collect::<Vec<_>>(),
            ),
            Err("not utf-8"),
        ),
        case("a head that is not UTF-8", signed(b"{\"alg\":\"\xff\"}", body.as_bytes()), Err("not utf-8")),
        case("an overlong form of UTF-8", signed(plain.as_bytes(), b"{\"sub\":\"\xc1\xa1da\"}"), Err("not utf-8")),
        case(
            "half a surrogate pair",
            signed(plain.as_bytes(), body.replace("ada", r"\ud800").as_bytes()),
            Err("malformed"),
        ),
        case("a byte order mark", signed(plain.as_bytes(), format!("\u{feff}{body}").as_bytes()), Err("malformed")),
        case("a payload that is a list", signed(plain.as_bytes(), format!("[{body}]").as_bytes()), Err("malformed")),
        case("a payload that is a text", signed(plain.as_bytes(), b"\"ada\""), Err("malformed")),
        case("a payload that is empty", signed(plain.as_bytes(), b""), Err("malformed")),
        case(
            "something behind the payload",
            signed(plain.as_bytes(), format!("{body}{{}}").as_bytes()),
            Err("malformed"),
        ),
        case("a comma too many", signed(plain.as_bytes(), body.replace('}', ",}").as_bytes()), Err("malformed")),
        case("a comment", signed(plain.as_bytes(), body.replace('}', "/**/}").as_bytes()), Err("malformed")),
        case(
            "a number that JSON does not have",
            signed(plain.as_bytes(), body.replace(":1,", ":01,").as_bytes()),
            Err("malformed"),
        ),
        case("eight containers within each other", signed(plain.as_bytes(), deep(7).as_bytes()), Ok(stated())),
        case("nine containers within each other", signed(plain.as_bytes(), deep(8).as_bytes()), Err("too deep")),
        case(
            "a thousand containers within each other",
            signed(plain.as_bytes(), deep(1000).as_bytes()),
            Err("too deep"),
        ),
        case(
            "a head nested deeply",
            signed(format!("{{\"jwk\":{}{}}}", "[".repeat(500), "]".repeat(500)).as_bytes(), body.as_bytes()),
            Err("too deep"),
        ),
    ];
    let twice = |text: &str, name: &str| text.replacen('{', &format!("{{{name},"), 1);
    for name in [r#""alg":"none""#, r#""alg":"EdDSA""#, r#""kid":"ed-2""#, r#""typ":"JWT""#, r#""\u0061lg":"none""#] {
        cases.push(case(
            &format!("a head that says {name} first"),
            signed(twice(&plain, name).as_bytes(), body.as_bytes()),
            Err("duplicate"),
        ));
    }
    for name in [
        r#""sub":"root""#,
        r#""exp":9999999999"#,
        r#""iss":"x""#,
        r#""\u0073ub":"root""#,
        r#""a":1,"a":1"#,
        r#""a":{"b":1,"b":1}"#,
    ] {
        cases.push(case(
            &format!("a payload that says {name} first"),
            signed(plain.as_bytes(), twice(&body, name).as_bytes()),
            Err("duplicate"),
        ));
    }
    // The last character of 64 bytes has four bits that mean nothing, and of 32 bytes two.
    for at in ["B", "Q", "_"] {
        let last = &parts[2][parts[2].len() - 1..];
        if at != last {
            cases.push(case(
                &format!("a signature that ends in {at}"),
                format!("{}{at}", &good[..good.len() - 1]),
                Err(if at == "Q" { "signature" } else { "malformed" }),
            ));
        }
    }
    cases
}

fn signatures() -> Vec<Case> {
    let plain = header("EdDSA");
    let signed = format!("{}.{}", base64url(plain.as_bytes()), base64url(claims().to_string().as_bytes()));
    let good = sign(signed.as_bytes(), "EdDSA");
    let under =
        |name: &str, signature: &[u8]| case(name, format!("{signed}.{}", base64url(signature)), Err("signature"));
    let flipped = |at: usize| {
        let mut changed = good.clone();
        changed[at] ^= 1;
        changed
    };
    let mut plus_order = good.clone();
    add_group_order(&mut plus_order[32..]);
    let mut top_bits = good.clone();
    top_bits[63] |= 0xe0;
    let neutral = {
        // A point of order 1 and s = 0: right under any key of small order.
        let mut signature = vec![0; 64];
        signature[0] = 1;
        signature
    };
    let hs_body = format!("{}.{}", base64url(header("HS256").as_bytes()), base64url(claims().to_string().as_bytes()));
    let tag = sign(hs_body.as_bytes(), "HS256");
    let hs = |name: &str, tag: &[u8]| Case {
        keys: "hs256",
        ..case(name, format!("{hs_body}.{}", base64url(tag)), Err("signature"))
    };
    let other_body = with("sub", json!("root")).to_string();
    vec![
        case("no signature", format!("{signed}."), Err("signature")),
        under("one bit of R", &flipped(0)),
        under("one bit of S", &flipped(32)),
        under("S and the order of the group: the same number, written anew", &plus_order),
        under("bits above S", &top_bits),
        under("a signature of zeros", &[0; 64]),
        under("the neutral point", &neutral),
        under("63 bytes", &good[..63]),
        under("65 bytes", &[&good[..], &[0]].concat()),
        under("a signature twice", &[&good[..], &good[..]].concat()),
        under("the signature of the payload alone", &sign(claims().to_string().as_bytes(), "EdDSA")),
        under("the private key in its place", &[&SEED[..], &SEED[..]].concat()),
        case(
            "a good signature over other claims",
            format!("{}.{}.{}", base64url(plain.as_bytes()), base64url(other_body.as_bytes()), base64url(&good)),
            Err("signature"),
        ),
        hs("a tag cut to half", &tag[..16]),
        hs("an empty tag", &[]),
        hs("a tag and a byte more", &[&tag[..], &[0]].concat()),
        hs("a tag under an empty key", &mac(&[], hs_body.as_bytes())),
        hs("a tag of zeros", &[0; 32]),
    ]
}

/// Little-endian: S + L is the same scalar, and a verifier that reduces it accepts a second signature.
fn add_group_order(s: &mut [u8]) {
    let mut order = [0_u8; 32];
    order[..16].copy_from_slice(&[
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    ]);
    order[31] = 0x10;
    let mut carry = 0;
    for (byte, plus) in s.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(plus) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

fn bad_claims() -> Vec<Case> {
    let plain = header("EdDSA");
    let mut cases = Vec::new();
    for name in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "level", "roles"] {
        cases.push(case(&format!("no {name}"), ed(&plain, &without(name)), Err("claim")));
        for (kind, value) in [("null", json!(null)), ("an object", json!({})), ("true", json!(true))] {
            cases.push(case(&format!("{name} is {kind}"), ed(&plain, &with(name, value)), Err("claim")));
        }
    }
    for name in ["iat", "nbf", "exp", "level"] {
        cases.push(case(&format!("{name} is a text"), ed(&plain, &with(name, json!(NOW.to_string()))), Err("claim")));
        cases.push(case(&format!("{name} is negative"), ed(&plain, &with(name, json!(-1))), Err("claim")));
    }
    let exponent = claims().to_string().replace(&format!("\"exp\":{}", NOW + 300), "\"exp\":1.8e9");
    cases.push(case("exp has an exponent", forge(plain.as_bytes(), exponent.as_bytes(), "EdDSA"), Err("claim")));
    for (name, value, refusal) in [
        ("iss", json!("https://evil.example"), "issuer"),
        ("iss", json!(format!("{ISSUER}/")), "issuer"),
        ("iss", json!(ISSUER.to_uppercase()), "issuer"),
        ("iss", json!([ISSUER]), "claim"),
        ("aud", json!("stock"), "audience"),
        ("aud", json!(["stock", "shop"]), "audience"),
        ("aud", json!([]), "audience"),
        ("aud", json!([AUDIENCE, 1]), "claim"),
        ("aud", json!(""), "audience"),
        ("sub", json!(""), "claim"),
        ("sub", json!(["ada"]), "claim"),
        ("sid", json!("AAECAwQFBgcICQo"), "claim"),
        ("sid", json!("AAECAwQFBgcICQo/"), "claim"),
        ("jti", json!(""), "claim"),
        ("level", json!(256), "claim"),
        ("level", json!(1.5), "claim"),
        ("roles", json!("admin"), "claim"),
        ("roles", json!(["admin", 1]), "claim"),
        ("roles", json!([["admin"]]), "claim"),
    ] {
        cases.push(case(&format!("{name} is {value}"), ed(&plain, &with(name, value)), Err(refusal)));
    }
    cases.push(case(
        "names of claims in capitals",
        ed(&plain, &{
            let mut changed = without("sub");
            changed["SUB"] = json!("ada");
            changed
        }),
        Err("claim"),
    ));
    cases
}

fn times() -> Vec<Case> {
    let plain = header("EdDSA");
    let at = |name: &str, now: u64, expect: Result<Value, &'static str>| Case {
        now,
        ..case(name, ed(&plain, &claims()), expect)
    };
    let early = |nbf: u64| ed(&plain, &with("nbf", json!(nbf)));
    let iat = |iat: u64| ed(&plain, &with("iat", json!(iat)));
    vec![
        at("the last second of the leeway", NOW + 304, Ok(stated())),
        at("the leeway is over", NOW + 305, Err("expired")),
        at("a day late", NOW + 86_400, Err("expired")),
        at("issued as far ahead as clocks may differ", NOW - 5, Ok(stated())),
        at("issued further ahead", NOW - 6, Err("not yet valid")),
        case("valid only later", early(NOW + 7), Err("not yet valid")),
        case("valid within the leeway", early(NOW + 6), Ok(stated())),
        case("issued in the future", iat(NOW + 7), Err("not yet valid")),
        case("lives a second too long", iat(NOW - 1), Err("lives too long")),
        case("lives for ever", ed(&plain, &with("exp", json!(999_999_999_999_u64))), Err("lives too long")),
        case("a date too long to be one", ed(&plain, &with("exp", json!(9_999_999_999_999_u64))), Err("claim")),
    ]
}
