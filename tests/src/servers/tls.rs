use std::path::{Path, PathBuf};

use super::process::{User, find, run};

/// An authority of this test alone, and a certificate by it for `127.0.0.1` and `localhost`.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    pub(super) fn make(folder: &Path, user: Option<User>) -> Self {
        let paths = ["authority.pem", "authority.key", "server.pem", "server.key"].map(|name| folder.join(name));
        let [authority, authority_key, certificate, key] = paths.each_ref().map(|path| path.to_str().expect("text"));
        let request = |arguments: &[&str]| {
            let all = ["req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
            run(&find("openssl"), user, &[&all, arguments].concat());
        };
        let name = "/CN=Coatroom test authority";
        request(&["-subj", name, "-keyout", authority_key, "-out", authority]);
        let signed_by = ["-CA", authority, "-CAkey", authority_key];
        let hosts = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
        // Else it would be an authority as well, which TLS libraries refuse in a server.
        let no_authority = ["-addext", "basicConstraints=critical,CA:FALSE"];
        request(&[&signed_by[..], &hosts, &no_authority, &["-keyout", key, "-out", certificate]].concat());
        let [authority, _, certificate, key] = paths;
        Self { authority, certificate, key }
    }
}
