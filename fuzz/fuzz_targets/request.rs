//! `METHOD target`, `name: value` lines, an empty line, a body: any request is answered, and never with a 5xx.
#![no_main]

use hallpass_fuzz::Server;
use libfuzzer_sys::fuzz_target;
use poem::{
    Request,
    http::{HeaderName, HeaderValue, Method, Uri},
};

fuzz_target!(|data: &[u8]| {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = (&data[..end], data.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let Some((method, target)) = first.split_once(' ') else { return };
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), target.parse::<Uri>()) else { return };
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let Some(at) = line.windows(2).position(|pair| pair == b": ") else { continue };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(&line[at + 2..]))
        else {
            continue;
        };
        request = request.header(name, value);
    }
    let (status, answer) = Server::answer(request.body(body.to_vec()));
    assert!(status < 500, "{status} {}", String::from_utf8_lossy(&answer));
});
