//! What palm servers and workers run: the same as the Python side in `common.py`.

use palm::{BoxError, Call, Functions, Reply};

/// The length of a large result.
const LARGE: usize = 10_000;

/// The functions of a server or worker.
pub fn functions() -> Functions {
    Functions::new()
        .function("square", square)
        .function("fail", |_: &Call<'_>| -> Result<Reply, BoxError> {
            Err("no luck".into())
        })
        .function("large", |call: &Call<'_>| Ok(large(call.payload())))
        .function("parts", parts)
        .function("remember", remember)
}

fn number(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

/// The number, its square, and who has computed it; what is no number comes back.
fn square(call: &Call<'_>) -> Result<Vec<u8>, BoxError> {
    Ok(match number(call.payload()) {
        Some(number) => format!("{number} {} {}", number * number, call.component()).into_bytes(),
        None => call.payload().to_vec(),
    })
}

/// The number, and a filling that depends on it; what is no number comes back.
pub fn large(payload: &[u8]) -> Vec<u8> {
    let Some(number) = number(payload) else {
        return payload.to_vec();
    };
    let mut large = [payload, b" "].concat();
    large.resize(LARGE, (number % 251) as u8);
    large
}

/// As many payloads as the number says.
fn parts(call: &Call<'_>) -> Result<Vec<Vec<u8>>, BoxError> {
    let text = std::str::from_utf8(call.payload())?;
    let count = text.parse()?;
    Ok((0..count)
        .map(|part: u64| format!("{text}.{part}").into_bytes())
        .collect())
}

/// Uses every call of the cache: sets, reads and deletes keys of its own, and reads the key
/// `shared` that a client has set.
fn remember(call: &Call<'_>) -> Result<Vec<u8>, BoxError> {
    let cache = call.cache();
    let own = [b"own ", call.payload()].concat();
    let key = cache.set(&format!("key of {}", call.component()), &own)?;
    let fresh = cache.set("", call.payload())?;
    let mut seen = Vec::new();
    for key in ["shared", &key, &fresh, "absent"] {
        seen.push(cache.get(key)?.unwrap_or_default());
    }
    cache.delete(&key)?;
    cache.delete(&fresh)?;
    for key in [&key, &fresh] {
        seen.push(cache.get(key)?.unwrap_or_default());
    }
    Ok(seen.join(&b'|'))
}

/// A large payload in a line, as the Python side prints it: its first word, its length and its
/// checksum.
pub fn digest(payload: &[u8]) -> String {
    let word = payload.split(|&byte| byte == b' ').next();
    let word = String::from_utf8_lossy(word.unwrap_or_default());
    format!("{word} {} {}", payload.len(), adler32(payload))
}

/// The checksum of zlib.
fn adler32(bytes: &[u8]) -> u32 {
    const MOD: u32 = 65_521;
    let (mut a, mut b) = (1, 0);
    for &byte in bytes {
        a = (a + u32::from(byte)) % MOD;
        b = (b + a) % MOD;
    }
    b << 16 | a
}
