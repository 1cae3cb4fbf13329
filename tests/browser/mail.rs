//! The pages behind the links of mails: register, confirm, forget, and get back in.

use fantoccini::key::Key;
use serde_json::{Value, json};

use super::page::Page;

const ADDRESS: &str = "jane@example.org";

/// The least contrast between a text and what is behind it (WCAG 2.2, 1.4.3: 4.5 for AA), of all that stands on the page.
const CONTRAST: &str = "
    const light = (colour) => {
        const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map((part) => {
            const value = part / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return /rgba.*, 0\\)/.test(colour) ? behind(element.parentElement) : colour;
    };
    const texts = [...document.querySelectorAll('body *')].filter((element) =>
        [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || element.matches('input'));
    return Math.min(...texts.filter((element) => element.checkVisibility()).map((element) => {
        const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    }));";

impl Page {
    async fn post(&self, path: &str, form: &Value, wanted: u16) -> Value {
        let answer = reqwest::Client::new().post(self.at(path)).json(form).send().await.unwrap();
        assert_eq!(answer.status(), wanted, "{path}");
        answer.json().await.unwrap_or_default()
    }

    /// Waits in the mailbox for the newest mail to be this one.
    async fn await_mail(&self, subject: &str) {
        for _ in 0..100 {
            self.goto("/dev/mailbox").await;
            if self.has("article").await && self.text("article h2").await.starts_with(subject) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("no mail: {subject}");
    }

    async fn follow(&self, subject: &str) {
        self.await_mail(subject).await;
        self.click("article a").await;
    }

    async fn heading(&self) -> String {
        self.text("h1").await
    }

    /// Waits for the page that a button or a key leads to.
    async fn arrives_at(&self, heading: &str) {
        let look = async || self.script("return document.querySelector('h1')?.innerText ?? ''").await == heading;
        let arrived = async {
            while !look().await {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(std::time::Duration::from_mins(1), arrived).await.is_ok(), "no page: {heading}");
    }

    /// Looks at it on a small phone, on a phone at night, and on a desk.
    async fn show(&self, name: &str) {
        for (width, scheme) in [(320, "light"), (390, "dark"), (1_280, "light"), (1_280, "dark")] {
            self.look_as(width, scheme).await;
            let overflow = self.script("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(overflow.as_i64().unwrap() <= 0, "{name} is wider than {width}");
            let contrast = self.script(CONTRAST).await.as_f64().unwrap();
            assert!(contrast >= 4.5, "{name} in {scheme}: {contrast}");
            self.keep_picture(&format!("{name}-{width}-{scheme}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver; make browser runs it"]
async fn the_links_of_mails_lead_to_pages_that_work() {
    let page = Page::open_at("127.0.0.1").await;
    let form = json!({"username": "jane", "password": "seven green lanterns", "email": ADDRESS});
    page.post("/register", &form, 201).await;

    page.follow("Confirm your address").await;
    assert_eq!(page.heading().await, "Confirm your address");
    assert_eq!(page.is_read_as("button").await, ("button".to_owned(), "Confirm the address".to_owned()));
    page.show("verify").await;
    page.click("button").await;
    page.arrives_at("Your address is confirmed").await;
    assert_eq!(page.address().await, page.at("/verify"), "the token is not in the address of what is shown");
    page.show("verified").await;
    // With the address.
    page.post("/login", &json!({"username": ADDRESS, "password": "seven green lanterns"}), 200).await;

    page.post("/password/forgot", &json!({"email": ADDRESS}), 202).await;
    page.follow("A new password").await;
    assert_eq!(page.heading().await, "Choose a new password");
    page.show("reset").await;
    assert_eq!(page.is_read_as("#password").await, ("textbox".to_owned(), "New password".to_owned()));
    // By keys alone. What is too short, the browser keeps back.
    page.press(&(Key::Tab + "short")).await;
    page.press(&(Key::Enter + "")).await;
    assert!(page.has("input:invalid").await && !page.has("[role=alert]").await);
    page.replace("#password", "password12345678").await;
    page.press(&(Key::Enter + "")).await;
    page.arrives_at("Choose a new password").await;
    assert!(page.text("[role=alert]").await.contains("is among the most common passwords"));
    page.show("refused").await;
    // The focus is in the field again, which is empty.
    page.press("eleven blue teapots").await;
    page.press(&(Key::Tab + "")).await;
    page.show("filled").await;
    page.press(&(Key::Enter + "")).await;
    page.arrives_at("Your password is set").await;
    page.show("set").await;
    page.post("/login", &json!({"username": "jane", "password": "eleven blue teapots"}), 200).await;
    page.post("/login", &json!({"username": "jane", "password": "seven green lanterns"}), 401).await;

    page.await_mail("Your password").await;
    page.show("mailbox").await;
    // Chromium itself notes the refusal; nothing else is amiss. Whose password it is the page does not know.
    let amiss: Vec<String> =
        page.console().await.into_iter().filter(|line| !line.contains("username fields")).collect();
    assert_eq!(amiss.len(), 1, "{amiss:?}");
    assert!(amiss[0].contains("422 (Unprocessable Entity)"), "{amiss:?}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver; make browser runs it"]
async fn a_link_that_does_not_count_says_what_to_do() {
    let page = Page::open_at("127.0.0.1").await;
    for path in ["/verify", "/reset"] {
        page.goto(&format!("{path}?token=nonsense")).await;
        if path == "/reset" {
            page.replace("#password", "eleven blue teapots").await;
        }
        page.click("button").await;
        page.arrives_at("This link does not count").await;
    }
    page.show("spent").await;
    page.close().await;
}
