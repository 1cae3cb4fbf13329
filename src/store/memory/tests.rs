use std::time::{Duration, Instant};

use super::{Memory, TRUST, Touched, remember};
use crate::model::{Standing, UserId};

fn standing(generation: i64) -> std::sync::Arc<Standing> {
    let (owner, is_successor_used, last_used_at) = ([0; 16], false, 0.into());
    Standing { owner, generation, is_successor_used, ends_at: None, last_used_at }.into()
}

/// Memory that believes for an hour what it heard.
fn memory() -> Memory {
    let memory = Memory::default();
    hear(&memory, false);
    memory
}

fn hear(memory: &Memory, has_changed: bool) {
    memory.hear(Instant::now() + Duration::from_hours(1), has_changed);
}

/// What is answered while this stands in the database.
async fn ask(memory: &Memory, stored: i64) -> i64 {
    let sessions = memory.trusted().map(|memory| &memory.sessions);
    let read = async || Ok(Some(standing(stored)));
    remember(sessions, [7; 16], read).await.unwrap().unwrap().generation
}

#[tokio::test]
async fn what_was_read_is_remembered_until_it_is_written() {
    let memory = memory();
    assert_eq!(ask(&memory, 1).await, 1);
    assert_eq!(ask(&memory, 2).await, 1);
    let id = uuid::Uuid::from_bytes([7; 16]);
    memory.forget(&Touched::account(UserId::from(id)));
    assert_eq!(ask(&memory, 2).await, 1, "another thing of the same number");
    memory.forget(&Touched::sessions([id.into()]));
    assert_eq!(ask(&memory, 2).await, 2);
    memory.forget(&Touched::anything());
    assert_eq!(ask(&memory, 3).await, 3);
}

#[tokio::test]
async fn what_is_written_while_it_is_read_is_not_remembered() {
    for touched in [Touched::sessions([uuid::Uuid::from_bytes([7; 16]).into()]), Touched::anything()] {
        let memory = memory();
        let read = async || {
            let found = standing(1);
            // Written after it was read, and before it is remembered.
            memory.forget(&touched);
            assert_eq!(ask(&memory, 2).await, 2, "who comes then reads anew");
            Ok(Some(found))
        };
        assert_eq!(remember(Some(&memory.sessions), [7; 16], read).await.unwrap().unwrap().generation, 1);
        assert_eq!(ask(&memory, 3).await, 2);
    }
}

#[tokio::test]
async fn who_comes_while_another_reads_reads_too_and_does_not_wait() {
    let memory = memory();
    let read = async || {
        assert_eq!(ask(&memory, 2).await, 2);
        Ok(Some(standing(1)))
    };
    assert_eq!(remember(Some(&memory.sessions), [7; 16], read).await.unwrap().unwrap().generation, 1);
    assert_eq!(ask(&memory, 3).await, 1);
}

#[tokio::test]
async fn what_others_may_have_written_is_read_again() {
    let memory = memory();
    assert_eq!(ask(&memory, 1).await, 1);
    hear(&memory, false);
    assert_eq!(ask(&memory, 2).await, 1);
    hear(&memory, true);
    assert_eq!(ask(&memory, 2).await, 2);
    // As long as nobody knows, each request asks the database; what was known then still is.
    memory.hear(memory.begun, false);
    tokio::time::sleep(TRUST).await;
    assert_eq!(ask(&memory, 3).await, 3);
    assert_eq!(ask(&memory, 4).await, 4);
    hear(&memory, false);
    assert_eq!(ask(&memory, 5).await, 2);
}
