//! Where chance comes from: the kernel.

/// 64 random bits.
pub fn number() -> std::io::Result<u64> {
    getrandom::u64().map_err(std::io::Error::from)
}

/// Random octets, for keys and nonces.
pub fn octets<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(std::io::Error::from)?;
    Ok(octets)
}
