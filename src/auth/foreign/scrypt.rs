//! scrypt (RFC 7914), as PHC string, as Django and as Werkzeug write it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use scrypt::Params;
use zeroize::Zeroizing;

use super::{
    Unusable,
    text::{Named, base64, hex, number, split, tag},
};
use crate::error::Error;

/// The most memory, in bytes, and the most that may be written in all: 256 MiB, and twice that.
const MEMORY: u64 = 256 * 1024 * 1024;
const WRITTEN: u64 = 2 * MEMORY;

/// Beyond all that is in use, and within what the library multiplies.
const BLOCK: u32 = 32;
const LANES: u32 = 32;

/// What argon2 writes in the time in which scrypt writes 1 KiB and reads it again.
const KIB_A_KIB: u64 = 3;

pub(in super::super) struct Scrypt {
    cost: Cost,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

impl Scrypt {
    pub(super) fn parse(text: &str) -> Result<Self, Unusable> {
        if let Some(rest) = text.strip_prefix("$scrypt$") {
            let [params, salt, hash] = split(rest, '$')?;
            let mut params = Named::parse(params)?;
            let log_n = number(params.take("ln")?)?;
            let cost = Cost::bounded(log_n, number(params.take("r")?)?, number(params.take("p")?)?)?;
            params.end()?;
            Ok(Self { cost, salt: base64(salt)?, tag: tag(base64(hash)?)? })
        } else if let Some(rest) = text.strip_prefix("scrypt$") {
            let [n, salt, r, p, hash] = split(rest, '$')?;
            let cost = Cost::bounded(log(number(n)?)?, number(r)?, number(p)?)?;
            Ok(Self { cost, salt: salt.into(), tag: tag(base64(hash)?)? })
        } else if let Some(rest) = text.strip_prefix("scrypt:") {
            let [params, salt, hash] = split(rest, '$')?;
            let [n, r, p] = split(params, ':')?;
            let cost = Cost::bounded(log(number(n)?)?, number(r)?, number(p)?)?;
            Ok(Self { cost, salt: salt.into(), tag: tag(hex(hash)?)? })
        } else {
            Err(Unusable::Scheme)
        }
    }

    pub(super) fn matches(&self, password: &[u8]) -> Result<bool, Error> {
        let mut derived = Zeroizing::new(vec![0; self.tag.len()]);
        self.cost.derive(password, &self.salt, &mut derived)?;
        Ok(verify_slices_are_equal(&derived, &self.tag).is_ok())
    }

    pub(super) fn memory_kib(&self) -> u64 {
        self.cost.memory_kib()
    }

    pub(super) fn work(&self) -> u64 {
        self.cost.work()
    }
}

/// Of a power of two.
fn log(n: u64) -> Result<u8, Unusable> {
    if !n.is_power_of_two() {
        return Err(Unusable::Damaged);
    }
    u8::try_from(n.trailing_zeros()).map_err(|_| Unusable::TooDear)
}

/// What a derivation costs, bounded.
pub(super) struct Cost {
    params: Params,
    memory: usize,
    written: u64,
}

impl Cost {
    pub(super) fn bounded(log_n: u8, r: u32, p: u32) -> Result<Self, Unusable> {
        if log_n == 0 || r == 0 || p == 0 {
            return Err(Unusable::Damaged);
        }
        if log_n > 30 || r > BLOCK || p > LANES {
            return Err(Unusable::TooDear);
        }
        let block = 128 * u64::from(r);
        let (lanes, each) = (block * u64::from(p), block << log_n);
        let (memory, written) = (each + lanes, each * u64::from(p));
        if each > MEMORY || written > WRITTEN {
            return Err(Unusable::TooDear);
        }
        let params = Params::new(log_n, r, p).map_err(|_| Unusable::Damaged)?;
        Ok(Self { params, memory: usize::try_from(memory).map_err(|_| Unusable::TooDear)?, written })
    }

    /// # Errors
    /// [`Error::Overloaded`] if there is not enough memory now.
    pub(super) fn derive(&self, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), Error> {
        is_there_room(self.memory)?;
        scrypt::scrypt(password, salt, &self.params, out).map_err(Error::internal)
    }

    pub(super) fn memory_kib(&self) -> u64 {
        self.memory as u64 / 1_024
    }

    pub(super) fn work(&self) -> u64 {
        self.written / 1_024 * KIB_A_KIB
    }
}

/// The library takes its memory itself, and ends the process if it gets none. So as much is asked for, and given back
/// untouched. It helps where the process may have only so much address space (`ulimit -v`), unless another thread takes
/// it in between; where memory runs out when it is written to (a group's limit), nothing helps but that the ceilings
/// are low.
fn is_there_room(bytes: usize) -> Result<(), Error> {
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| Error::Overloaded)
}

#[cfg(test)]
mod tests {
    use super::{Cost, is_there_room};
    use crate::error::Error;

    #[test]
    fn as_much_memory_is_asked_for_as_the_library_takes() {
        for (cost, memory) in [((14, 8, 1), 16_385 << 10), ((14, 8, 16), 16_400 << 10), ((1, 1, 32), 4_352)] {
            let (log_n, r, p) = cost;
            assert_eq!(Cost::bounded(log_n, r, p).map(|cost| cost.memory), Ok(memory), "{cost:?}");
        }
        assert!(is_there_room(4_352).is_ok());
        assert!(matches!(is_there_room(usize::MAX), Err(Error::Overloaded)));
    }
}
