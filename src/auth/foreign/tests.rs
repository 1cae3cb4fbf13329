use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::{Foreign, Unusable};

/// Made with Django 5.2.19, bcrypt 5.0.0, passlib 1.7.4, Werkzeug 3.1.9 and Python's hashlib, at their least costs:
/// `hashers.PBKDF2PasswordHasher().encode(PASSWORD, "saltsaltsalt")` with `iterations = 1000` and so on,
/// `bcrypt.hashpw(…, gensalt(4))`, `passlib.hash.pbkdf2_sha256.using(rounds=1000).hash(…)`,
/// `generate_password_hash(…, "scrypt:1024:8:1")`.
const PASSWORD: &str = "correct horse \u{e9}";
const MADE: &[(&str, &str)] = &[
    ("bcrypt 2a", "$2a$04$7g9eKyOE2cBhTozFTWhZ2OOIHITA94LtWEPjTlaiZHPmaVxfZt/Zq"),
    ("bcrypt 2b", "$2b$04$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS"),
    // What PHP and Apache call it.
    ("bcrypt 2y", "$2y$04$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS"),
    ("Django bcrypt", "bcrypt$$2b$04$dAJ03/egkhzYTitHLqXRlu/x2b3Pq/Icdz1l4gBthlje/NXKT.37u"),
    ("Django bcrypt_sha256", "bcrypt_sha256$$2b$04$7nhh8JPrTAvbgBAwVfrs3uBBb0f8UYpFXX5Dibm9HnzubErd0PcMG"),
    ("Django pbkdf2_sha256", "pbkdf2_sha256$1000$saltsaltsalt$HpSbrkBrDWDAB9HrNXHZggikF+GO3Q6ksWrO0IeZG4M="),
    ("Django pbkdf2_sha1", "pbkdf2_sha1$1000$saltsaltsalt$VvJjxrH5uKMZWm9BnZKYeKWH6CQ="),
    (
        "Django scrypt",
        "scrypt$1024$saltsaltsalt$8$5$2v/eRUjjiP0Eo5fI76hgWAg+Sm0QJ+plfKtFoTaiRg8xT6eXosjj3EodQsesVdT2xUNYVr7K/ZdpSMV0zaTHWg==",
    ),
    ("passlib scrypt", "$scrypt$ln=10,r=8,p=1$uhfC2JvTeg+h9J7TWus9pw$BAefOAIEztUpCFyWohyTCzZg4RtRD945gniNH8Nq92Q"),
    ("passlib pbkdf2_sha1", "$pbkdf2$1000$5rxXCiEEoHROSeld631PSQ$fmQ3YlXVN0u3E62VScKbYPcZAzU"),
    ("passlib pbkdf2_sha256", "$pbkdf2-sha256$1000$c.6dc45xzrmX8t57T6mVEg$9Jh2pbFULONr0y3iLV/koEYRRzZfpbWdrmGgjkBXLBQ"),
    (
        "passlib pbkdf2_sha512",
        "$pbkdf2-sha512$1000$RYjx/h.DkHIOwfg/Z4zx/g$.MmQStkw.t6pt8KQX54n1IY4NTCEUy2oOw6mDVeH5tCEtq5AztOfP5iCkhEflsN69TWUfuyws4GPrv/aKjOK3g",
    ),
    (
        "Werkzeug scrypt",
        "scrypt:1024:8:1$Tln56UjOHReWmBjV$65e49be1f3fab604fb066062cde38c76bf831e4203cbd29cb2bfad6763376bdc9c05a1c7f74d4321a0da12bc5a66cfb00690c68d75e7015abc3c4fdea82ecbc9",
    ),
    (
        "Werkzeug pbkdf2",
        "pbkdf2:sha256:1000$Gb3BUIChThC2SBXk$4c93187dba3b84686950f97d2f00736e6da90bd28704a05c43b42c50dbc8eed3",
    ),
    (
        "Werkzeug pbkdf2, SHA-512",
        "pbkdf2:sha512:1000$pAc7RDY4alsqyY0H$e655cfc453b28bcabe63df9bc99da801993163a42cc245e5338ed123b11fed0c9ba162b137281ca3628a4d8eef40e9798cb689a5b494d6d55b50d0ff0a1b6327",
    ),
    // `hashlib.pbkdf2_hmac("sha256", …, b"0123456789abcdef", 1000, 64)`: Keycloak asked for 64 bytes of any digest.
    (
        "PHC, of two blocks",
        "$pbkdf2-sha256$i=1000,l=64$MDEyMzQ1Njc4OWFiY2RlZg==$4XDspDRv/7n9wuJfaGpXw8XZEL0JUuwJpcZGQDTRGhNQmnrom7bew2S9XRisYaUVYQk0rgMsgOC+EJgI7trmng==",
    ),
    (
        "PHC, SHA-512",
        "$pbkdf2-sha512$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$lMuq/dD69/JAImt7RaDYGM25rtD5Auvr3mm9jR3Ilk4Zw1CzcJn2+q42ann7KVfa1AKnrfJ5FjPq7lcdxlv8ZQ",
    ),
    (
        "PHC, SHA-1",
        "$pbkdf2-sha1$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$luj/dfvocExw3xl+r2xiB4MgltYa9SpXFH53gTCH9aPOTUv/wv5lvJVHrwYSkZJbcKeSAb4ncKFBitG2c+lIiQ",
    ),
];

fn matches(hash: &str, password: &str) -> bool {
    let read = Foreign::parse(hash).unwrap_or_else(|why| panic!("{hash} {why}"));
    read.matches(password.as_bytes()).unwrap()
}

fn refusal(hash: &str) -> Unusable {
    Foreign::parse(hash).err().unwrap_or_else(|| panic!("read: {hash}"))
}

#[test]
fn what_other_programs_made_matches_its_password_alone() {
    for (what, hash) in MADE {
        assert!(matches(hash, PASSWORD), "{what}");
        for wrong in ["", "correct horse", "correct horse e", "Correct horse \u{e9}", "correct horse \u{e9} "] {
            assert!(!matches(hash, wrong), "{what} {wrong}");
        }
    }
}

/// From the README of github.com/firebase/scrypt.
const FIREBASE: &str = "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";

#[test]
fn published_vectors_match() {
    for (what, hash, password) in [
        ("Firebase", FIREBASE, "user1password"),
        ("Firebase in base64url", &FIREBASE.replace('+', "-").replace("=$", "$"), "user1password"),
        // The user `user1` of the realm that Solo.io's workshops import into Keycloak.
        (
            "Keycloak",
            "$pbkdf2-sha256$i=27500$P5rtFkGtPfoaryJ6PizUJw==$JsfNbCOIdZUbyBJ+BT+VoGI91Ec2rWLOvkLPDaX8e9k=",
            "password",
        ),
        (
            "RFC 7914, section 12",
            "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
            "password",
        ),
        // Of jBCrypt.
        ("the empty password", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.", ""),
    ] {
        assert!(matches(hash, password), "{what}");
        assert!(!matches(hash, "other"), "{what}");
    }
    assert!(!matches(&FIREBASE.replace("ss=Bw==", "ss=Bg=="), "user1password"), "the separator counts");
    assert!(!matches(&FIREBASE.replace("sk=jx", "sk=jy"), "user1password"), "the signer key counts");
}

#[test]
fn bcrypt_compares_72_bytes_and_takes_no_nul() {
    // `bcrypt.hashpw(b"a" * 72, gensalt(4))`
    let hash = "$2b$04$bMY0NK4K/PdoLwFPlduede4nBYoI0zPjkJS.6TFttzTsL3Y0Svhpu";
    let a = |count| "a".repeat(count);
    for (password, is_right) in
        [(a(72), true), (a(73), true), (a(71) + "b", false), (a(71), false), (a(72) + "\0", false)]
    {
        assert_eq!(matches(hash, &password), is_right, "{} bytes", password.len());
    }
    // bcrypt repeats what it is given with a NUL between.
    let hash = "$2b$04$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS";
    assert!(!matches(hash, &format!("{PASSWORD}\0{PASSWORD}")));
    assert!(!matches(hash, &format!("{PASSWORD}\0")));
}

#[test]
fn what_costs_too_much_or_is_damaged_is_not_computed() {
    use Unusable::{Damaged, Scheme, TooDear};
    let (bcrypt, salt) = ("l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS", "c2FsdHNhbHRzYWx0");
    let tag = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let long = "A".repeat(2_000);
    for (text, why) in [
        (String::new(), Scheme),
        ("x".to_owned(), Scheme),
        ("!".to_owned(), Scheme),
        ("d41d8cd98f00b204e9800998ecf8427e".to_owned(), Scheme),
        ("md5$salt$d41d8cd98f00b204e9800998ecf8427e".to_owned(), Scheme),
        ("$6$rounds=5000$salt$hash".to_owned(), Scheme),
        ("\u{e9}".repeat(60), Scheme),
        ("x".repeat(1_024), Scheme),
        ("x".repeat(1_025), Damaged),
        (format!("$2x$04${bcrypt}"), Scheme),
        (format!("$2b$16${bcrypt}"), TooDear),
        (format!("$2b$31${bcrypt}"), TooDear),
        (format!("$2b$99${bcrypt}"), TooDear),
        (format!("$2b$03${bcrypt}"), Damaged),
        (format!("$2b$4${bcrypt}"), Damaged),
        (format!("$2b$+4${bcrypt}"), Damaged),
        (format!("$2b$04${bcrypt}A"), Damaged),
        (format!("$2b$04${}", &bcrypt[1..]), Damaged),
        (format!("$2b$04${}", "\u{e9}".repeat(26)), Damaged),
        (format!("$2b$\u{e9}{bcrypt}"), Damaged),
        (format!("bcrypt$md5${bcrypt}"), Damaged),
        ("bcrypt_sha256$$2b$".to_owned(), Damaged),
        (format!("$scrypt$ln=22,r=8,p=1${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=18,r=8,p=4${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=1,r=1,p=1073741823${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=1,r=4294967295,p=1${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=1,r=33,p=1${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=1,r=1,p=33${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=63,r=1,p=1${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=999,r=8,p=1${salt}${tag}"), TooDear),
        (format!("$scrypt$ln=0,r=8,p=1${salt}${tag}"), Damaged),
        (format!("$scrypt$ln=4,r=0,p=1${salt}${tag}"), Damaged),
        (format!("$scrypt$ln=4,r=8,p=1,x=1${salt}${tag}"), Damaged),
        (format!("$scrypt$ln=4,ln=4,r=8,p=1${salt}${tag}"), Damaged),
        (format!("$scrypt$ln=4,r=8${salt}${tag}"), Damaged),
        (format!("$scrypt$ln=4,r=8,p=1${salt}$AAAA"), Damaged),
        (format!("$scrypt$ln=4,r=8,p=1${salt}${long}"), Damaged),
        (format!("scrypt$1000$salt$8$1${tag}"), Damaged),
        (format!("scrypt$18446744073709551616$salt$8$1${tag}"), TooDear),
        (format!("scrypt:16:8$salt${}", "00".repeat(32)), Damaged),
        (format!("scrypt:16:8:1$salt${}0", "00".repeat(32)), Damaged),
        (format!("scrypt:16:8:1$salt${}", "0g".repeat(32)), Damaged),
        (format!("pbkdf2_sha256$4000001$salt${tag}"), TooDear),
        (format!("pbkdf2_sha256$4294967296$salt${tag}"), TooDear),
        (format!("pbkdf2_sha1$2000001$salt${tag}"), TooDear),
        (format!("pbkdf2_sha256$0$salt${tag}"), Damaged),
        (format!("pbkdf2_sha256$-1$salt${tag}"), Damaged),
        (format!("pbkdf2_sha256$1$salt${tag}$"), Damaged),
        (format!("pbkdf2_md5$1$salt${tag}"), Scheme),
        (format!("pbkdf2_$1$salt${tag}"), Scheme),
        (format!("pbkdf2_-sha1$1$salt${tag}"), Scheme),
        (format!("pbkdf2::1$salt${}", "00".repeat(32)), Scheme),
        (format!("$pbkdf2-$1${salt}${tag}"), Scheme),
        (format!("$pbkdf2--sha256$1${salt}${tag}"), Scheme),
        (format!("$pbkdf2sha256$1${salt}${tag}"), Scheme),
        ("pbkdf2_sha256$1$salt$".to_owned(), Damaged),
        (format!("$pbkdf2-sha256$i=1,l=31${salt}${tag}"), Damaged),
        (format!("$pbkdf2-sha256$l=32${salt}${tag}"), Damaged),
        (format!("$pbkdf2-sha256$i=1${salt}$!{tag}"), Damaged),
        (FIREBASE.replace("n=14", "n=30"), TooDear),
        (FIREBASE.replace("v=1", "v=2"), Scheme),
        (FIREBASE.replace("sk=", "sx="), Damaged),
        (FIREBASE.replace("Ruid5lQ==", ""), Damaged),
    ] {
        assert_eq!(refusal(&text), why, "{text:.90}");
    }
    // The greatest that are allowed.
    for text in [
        format!("$2b$15${bcrypt}"),
        format!("$scrypt$ln=18,r=8,p=2${salt}${tag}"),
        format!("$scrypt$ln=1,r=32,p=32${salt}${tag}"),
        format!("pbkdf2_sha256$4000000$salt${tag}"),
    ] {
        assert!(Foreign::parse(&text).is_ok(), "{text}");
    }
}

#[test]
fn a_comparison_is_counted_as_what_argon2_writes_in_its_time() {
    let (bcrypt, tag) = ("l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS", "A".repeat(43));
    for (text, kib) in [
        (format!("$2b$04${bcrypt}"), 960),
        (format!("$2b$12${bcrypt}"), 245_760),
        (format!("pbkdf2_sha1$1000000$salt${}", "A".repeat(27)), 333_333),
        (format!("pbkdf2_sha256$27500$salt${tag}"), 9_166),
        (format!("$pbkdf2-sha512$i=210000$c2FsdA${}", "A".repeat(86)), 140_000),
        (format!("$scrypt$ln=14,r=8,p=1$c2FsdA${tag}"), 49_152),
        (format!("$scrypt$ln=14,r=8,p=2$c2FsdA${tag}"), 98_304),
        (FIREBASE.to_owned(), 49_152),
    ] {
        assert_eq!(Foreign::parse(&text).map(|read| read.work()), Ok(kib), "{text}");
    }
}

/// What the forms begin with.
const PREFIXES: &[&str] = &[
    "",
    "$2a$",
    "$2b$",
    "$2y$",
    "$2b$04$",
    "bcrypt$",
    "bcrypt$$2b$04$",
    "bcrypt_sha256$$2b$",
    "$fbscrypt$",
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=",
    "$scrypt$",
    "$scrypt$ln=4,r=8,p=1$",
    "scrypt$",
    "scrypt$16$salt$",
    "scrypt:",
    "scrypt:16:8:1$",
    "pbkdf2_sha256$",
    "pbkdf2_sha1$1$",
    "pbkdf2:sha256:",
    "pbkdf2:sha512:1$",
    "$pbkdf2-sha256$",
    "$pbkdf2$1$",
    "$pbkdf2-sha512$i=1$",
];

proptest! {
    /// Behind what each parser looks for first, or it would see none of it.
    #[test]
    fn no_text_panics(
        prefix in prop::sample::select(PREFIXES), text in "\\PC{0,80}", parts in "[0-9a-zA-Z$=,:./+é-]{0,80}",
    ) {
        for rest in [&text, &parts] {
            drop(Foreign::parse(&format!("{prefix}{rest}")));
        }
    }

    #[test]
    fn every_prefix_reaches_its_parser(prefix in prop::sample::select(&PREFIXES[1..])) {
        prop_assert_ne!(refusal(&format!("{prefix}$x")), Unusable::Scheme, "{}", prefix);
    }

    /// What looks like a hash is read or refused, and what is read is bounded.
    #[test]
    fn no_hash_that_is_nearly_one_panics(
        which in 0..MADE.len(), at in 0..200_usize, length in 0..4_usize, new in "\\PC{0,3}|[0-9$=,:é]{0,3}",
    ) {
        let hash: Vec<char> = MADE[which].1.chars().collect();
        let at = at.min(hash.len());
        let rest = hash.iter().skip(at + length);
        let text: String = hash[..at].iter().copied().chain(new.chars()).chain(rest.copied()).collect();
        if let Ok(read) = Foreign::parse(&text) {
            prop_assert!(read.work() < 8 * 1024 * 1024);
            // Where it is cheap.
            if read.work() < 4_096 {
                read.matches(b"password").unwrap();
            }
        }
    }
}

proptest! {
    /// PBKDF2 is read within its ceiling, and no further, whatever its blocks are.
    #[test]
    fn pbkdf2_is_bounded_by_its_iterations(
        digest in prop::sample::select(vec![("sha1", 20_u64, 1_u64), ("sha256", 32, 1), ("sha512", 64, 2)]),
        iterations in prop_oneof![0..5_000_000_u64, 3_999_990..4_000_010_u64, any::<u64>()],
        length in 12..70_usize,
    ) {
        let (name, block, weight) = digest;
        let hash = format!("pbkdf2_{name}${iterations}$salt${}", STANDARD.encode(vec![7; length]));
        let cost = u128::from(iterations) * u128::from((length as u64).div_ceil(block) * weight);
        let read = Foreign::parse(&hash).map(drop);
        if iterations > u64::from(u32::MAX) {
            prop_assert_eq!(read, Err(Unusable::TooDear));
        } else if iterations == 0 || !(16..=64).contains(&length) {
            prop_assert_eq!(read, Err(Unusable::Damaged));
        } else {
            prop_assert_eq!(read, if cost > 4_000_000 { Err(Unusable::TooDear) } else { Ok(()) }, "{}", hash);
        }
    }

    /// So is scrypt, in memory and in time.
    #[test]
    fn scrypt_is_bounded_by_its_memory_and_its_work(ln in 0..70_u32, r in 0..40_u64, p in 0..40_u64) {
        let hash = format!("$scrypt$ln={ln},r={r},p={p}$c2FsdHNhbHRzYWx0${}", "A".repeat(43));
        match Foreign::parse(&hash) {
            // 256 MiB: 2^18 blocks of 1 KiB, or 2^21 of 128 bytes.
            Ok(read) => {
                prop_assert!((1..=21).contains(&ln) && r > 0 && p > 0 && (128 * r) << ln <= 1 << 28, "{}", hash);
                prop_assert!(read.work() < 8 * 1024 * 1024);
            }
            Err(why) => {
                prop_assert_ne!(why, Unusable::Scheme);
                let is_small = (1..=14).contains(&ln) && (1..=8).contains(&r) && p == 1;
                prop_assert!(!is_small, "{} {}", hash, why);
            }
        }
    }

    #[test]
    fn bcrypt_is_bounded_by_its_cost(
        cost in 0..100_u32, prefix in prop::sample::select(vec!["2a", "2b", "2y", "2x", "2", "2c"]),
    ) {
        let hash = format!("${prefix}${cost:02}$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS");
        let is_known = ["2a", "2b", "2y"].contains(&prefix);
        prop_assert_eq!(Foreign::parse(&hash).is_ok(), is_known && (4..=15).contains(&cost), "{}", hash);
    }
}

/// How long one comparison of each kind takes, and how much argon2 writes in that time.
#[test]
#[ignore = "it measures: cargo test --release foreign::tests::the_time -- --ignored --nocapture"]
fn the_time_of_each_scheme() {
    use std::time::Instant;
    let (bcrypt, tag) = ("l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS", "A".repeat(43));
    let params = argon2::Params::new(19_456, 2, 1, Some(32)).unwrap();
    let mut blocks = vec![argon2::Block::new(); params.block_count()];
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut argon = || {
        let begun = Instant::now();
        argon2.hash_password_into_with_memory(b"password", &[7; 16], &mut [0; 32], &mut blocks).unwrap();
        begun.elapsed()
    };
    argon();
    for text in [
        format!("$2b$10${bcrypt}"),
        format!("$2b$12${bcrypt}"),
        format!("$2b$15${bcrypt}"),
        format!("$scrypt$ln=14,r=8,p=1$c2FsdA${tag}"),
        format!("$scrypt$ln=17,r=8,p=1$c2FsdA${tag}"),
        format!("$scrypt$ln=18,r=8,p=2$c2FsdA${tag}"),
        format!("pbkdf2_sha1$1000000$salt${}", "A".repeat(27)),
        format!("pbkdf2_sha256$27500$salt${tag}"),
        format!("pbkdf2_sha256$1000000$salt${tag}"),
        format!("pbkdf2_sha256$4000000$salt${tag}"),
        format!("$pbkdf2-sha512$i=210000$c2FsdA${}", "A".repeat(86)),
        format!("$pbkdf2-sha512$i=2000000$c2FsdA${}", "A".repeat(86)),
    ] {
        let read = Foreign::parse(&text).unwrap();
        let of_argon = (0..5).map(|_| argon()).min().unwrap();
        let begun = Instant::now();
        read.matches(b"password").unwrap();
        let took = begun.elapsed();
        let written = 38_912.0 * took.as_secs_f64() / of_argon.as_secs_f64();
        println!(
            "{text:.40} {took:>8.1?}: argon2 writes {written:.0} KiB, counted {} (argon2 {of_argon:.1?})",
            read.work()
        );
    }
}
