use std::{fs, path::Path};

use tempfile::TempDir;

use super::{
    BUILT_IN, Letter, Page, Templates, Trouble, Values, Written,
    letter::{in_words, one_line},
};

const LINK: &str = "https://login.example.com/auth/verify?token=aZ_-9&x='";
const CODE: &str = "01234567";

fn values() -> Values {
    Values {
        username: "<img src=x>'\"&".to_owned(),
        email: "o'neill&co@example.org".to_owned(),
        link: Some(LINK.to_owned()),
        code: Some(CODE.to_owned()),
        link_minutes: 24 * 60,
        code_minutes: 10,
        issuer: "https://login.example.com/auth".to_owned(),
    }
}

fn write(letter: Letter, values: &Values) -> Written {
    Templates::load(None).unwrap().letter(letter, values).unwrap()
}

/// As an HTML parser reads it.
fn unescape(html: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&amp;", "&")];
    entities.iter().fold(html.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn refusal(files: &[(&str, &str)]) -> String {
    Templates::load(Some(folder(files).path())).unwrap_err().to_string()
}

#[test]
fn both_parts_of_a_letter_say_the_same() {
    for letter in Letter::ALL {
        let Written { subject, text, html } = write(letter, &values());
        let read = unescape(&html);
        for part in [&text, &read] {
            for shown in [&values().username, &values().email, "login.example.com"] {
                assert!(part.contains(shown), "{letter:?} without {shown}: {part}");
            }
            for shown in [LINK, CODE, "24 hours", "10 minutes"] {
                assert_eq!(
                    part.contains(shown),
                    letter.has_proof() || letter == Letter::PasswordChanged && shown == LINK
                );
            }
        }
        assert!(subject.contains("login.example.com") && !subject.contains("img"), "{subject}");
        // A link on a line of its own is not broken by what shows the text.
        assert!(!text.contains(LINK) || text.lines().any(|line| line == LINK), "{text}");
        assert!(text.ends_with("https://login.example.com/auth\n") && !text.contains("\n\n\n"), "{text}");
    }
}

#[test]
fn nothing_that_somebody_chose_is_markup_in_a_letter() {
    for letter in Letter::ALL {
        let html = write(letter, &values()).html;
        assert!(html.contains("&lt;img src=x&gt;&#x27;&quot;&amp;") && !html.contains("<img"), "{html}");
        assert!(!html.contains("&#x2f;"), "{html}");
        for remote in ["src=\"", "url(", "@import", "<link", "<script"] {
            assert!(!html.contains(remote), "{remote}");
        }
    }
}

#[test]
fn a_letter_without_a_link_or_a_code_does_not_speak_of_it() {
    for letter in [Letter::Verify, Letter::Reset] {
        let without_code = write(letter, &Values { code: None, ..values() });
        let without_link = write(letter, &Values { link: None, ..values() });
        for (part, missing) in [
            (without_code.text, "Or type"),
            (without_code.html, "Or type"),
            (without_link.text, "Open this page"),
            (without_link.html, "<a class"),
        ] {
            assert!(!part.contains(missing) && !part.contains("None"), "{part}");
        }
    }
}

#[test]
fn a_name_that_reads_like_a_web_address_is_no_link() {
    let evil = Values { username: "https://evil.example/x".to_owned(), ..values() };
    for letter in Letter::ALL {
        let Written { text, html, .. } = write(letter, &evil);
        for part in [text, unescape(&html)] {
            assert!(part.contains("https:\u{2060}/\u{2060}/\u{2060}evil.\u{2060}example/\u{2060}x"), "{part}");
            assert!(!part.contains("evil.example"), "{part}");
        }
    }
}

/// Since a proof leaves the password.
#[test]
fn who_is_to_prove_an_address_is_told_not_to_do_it_for_others() {
    let Written { text, html, .. } = write(Letter::Verify, &Values { username: "jane".to_owned(), ..values() });
    for (part, quote) in [(text.replace('\n', " "), ["\"", "\""]), (html, ["\u{201c}", "\u{201d}"])] {
        let [open, close] = quote;
        let said = format!("Confirm it only if you chose the name {open}jane{close} yourself: whoever chose it knows");
        assert!(part.contains(&said), "{part}");
    }
}

#[test]
fn a_subject_is_one_line() {
    assert_eq!(one_line(" a\r\nBcc: x@y.example\u{85}b\u{2028}c\0\n"), "a Bcc: x@y.example b c");
    let own = folder(&[("mail/reset.subject", "For {{ username }}\n\n")]);
    let own = Templates::load(Some(own.path())).unwrap();
    let evil = Values { username: "x\r\nBcc: v@v.example".to_owned(), ..values() };
    assert_eq!(own.letter(Letter::Reset, &evil).unwrap().subject, "For x Bcc:\u{2060} v@v.\u{2060}example");
}

#[test]
fn minutes_are_told_as_people_say_them() {
    for (minutes, words) in
        [(1, "1 minute"), (10, "10 minutes"), (60, "1 hour"), (90, "90 minutes"), (1_440, "24 hours")]
    {
        assert_eq!(in_words(minutes), words);
    }
}

#[test]
fn what_a_letter_holds_is_not_printed() {
    let printed = format!("{:?} {:?}", values(), write(Letter::Reset, &values()));
    assert!(!printed.contains("token") && !printed.contains(CODE), "{printed}");
}

#[test]
fn a_file_of_the_operator_takes_the_place_of_its_name_alone() {
    let own = folder(&[
        ("mail/reset.txt", "Neues Passwort für {{ username }}: {{ link }}"),
        ("README.md", "{{ nonsense"),
        ("mail/.reset.txt.swp", "\0"),
    ]);
    let own = Templates::load(Some(own.path())).unwrap();
    let letter = own.letter(Letter::Reset, &values()).unwrap();
    assert_eq!(letter.text, format!("Neues Passwort für {}: {LINK}", values().username));
    assert_eq!(letter.html, write(Letter::Reset, &values()).html);
    assert_eq!(own.letter(Letter::Verify, &values()).unwrap().text, write(Letter::Verify, &values()).text);
}

#[test]
fn a_broken_template_is_named_with_its_line() {
    for (file, text, said) in [
        ("mail/reset.txt", "{{ link }}\n{% if %}", "MAIL_TEMPLATES: mail/reset.txt, line 2: syntax error"),
        ("mail/reset.txt", "{{ link }}\n\n{{ pasword }}", "MAIL_TEMPLATES: mail/reset.txt, line 3: undefined value"),
        (
            "mail/reset.html",
            "{% if not link %}{{ lnk }}{% endif %}{{ link }}",
            "mail/reset.html, line 1: undefined value",
        ),
        ("mail/reset.html", "{% extends 'nope.html' %}", "mail/reset.html, line 1: template not found"),
        ("mail/layout.html", "<p>\n{{ nope }}", "mail/layout.html, line 2: undefined value"),
        ("mail/verify.txt", "Hello {{ username }}", "mail/verify.txt: shows neither {{ link }} nor {{ code }}"),
        ("mail/verify.subject", "\n", "mail/verify.subject: is empty"),
        ("pages/reset.html", "<form>\n<input name=\"password\"></form>", "pages/reset.html: does not hold {{ token }}"),
        ("pages/layout.html", "{{ host }}\n{{ hots }}", "pages/layout.html, line 2: undefined value"),
        ("pages/problem.html", "{% if problem == 'later' %}{{ nope }}{% endif %}", "pages/problem.html, line 1"),
        ("pages/mailbox.html", "{% for mail in mails %}\n{{ mail.nope }}{% endfor %}", "pages/mailbox.html, line 2"),
        ("pages/style.css", "a {}</STYLE><script>", "pages/style.css: must not contain </style"),
        ("mail/verfy.txt", "{{ link }}", "mail/verfy.txt: is not the name of a template; these are mail/layout.html,"),
        ("verify.txt", "{{ link }}", "verify.txt: is not the name of a template"),
    ] {
        let refusal = refusal(&[(file, text)]);
        assert!(refusal.contains(said), "{refusal}");
    }
    let latin = tempfile::tempdir().unwrap();
    fs::create_dir(latin.path().join("mail")).unwrap();
    fs::write(latin.path().join("mail/reset.txt"), b"f\xfcr {{ link }}").unwrap();
    let refusal = Templates::load(Some(latin.path())).unwrap_err().to_string();
    assert_eq!(refusal, "MAIL_TEMPLATES: mail/reset.txt: is not UTF-8");
}

#[test]
fn a_template_that_fails_later_gives_way_to_the_one_that_is_built_in() {
    let own = folder(&[("mail/reset.txt", "{{ link }}{% if username != 'jane' %}{{ nope }}{% endif %}")]);
    let own = Templates::load(Some(own.path())).unwrap();
    assert_eq!(own.letter(Letter::Reset, &values()).unwrap().text, write(Letter::Reset, &values()).text);
}

#[test]
fn the_style_is_named_as_a_browser_reads_it() {
    let digest = |text: &str| {
        let own = folder(&[("pages/style.css", text)]);
        Templates::load(Some(own.path())).unwrap().style_digest().to_owned()
    };
    assert_eq!(digest("a {}\nb {}\n"), digest("a {}\r\nb {}\r"));
    assert_ne!(digest("a {}"), digest("b {}"));
    // What a template would take for its own.
    let own = folder(&[("pages/style.css", "@media print{#a{color:red}}{{ '<img>' }}")]);
    let own = Templates::load(Some(own.path())).unwrap();
    let page = own.page(&Page::Verified, "https://login.example.com").unwrap();
    assert!(page.contains("<style>@media print{#a{color:red}}{{ '<img>' }}</style>"), "{page}");
}

#[test]
fn a_page_of_the_operator_takes_the_place_of_its_name() {
    let own = folder(&[("pages/problem.html", "{{ problem }} {{ seconds }} {{ detail }} {{ host }}")]);
    let own = Templates::load(Some(own.path())).unwrap();
    let problem = |trouble| Page::Problem { trouble, detail: "<b>", request_id: "id" };
    for (trouble, text) in [
        (Trouble::Link, "link None &lt;b&gt; [::1]"),
        (Trouble::Later { seconds: Some(7) }, "later 7 &lt;b&gt; [::1]"),
        (Trouble::Other, "other None &lt;b&gt; [::1]"),
    ] {
        assert_eq!(own.page(&problem(trouble), "http://[::1]:8000").unwrap(), text);
    }
}

#[test]
fn every_file_of_the_templates_is_built_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut files = Vec::new();
    for inside in ["", "mail", "pages"] {
        files.extend(super::list(&root, inside).unwrap().into_iter().filter(|path| root.join(path).is_file()));
    }
    let mut names: Vec<&Path> = BUILT_IN.iter().map(|(name, _)| Path::new(*name)).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names);
}
