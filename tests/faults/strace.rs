//! strace, which makes system calls fail.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::program::PATIENCE;

/// strace's words for these injections: `calls:error=E:when=N`.
pub fn words(injections: &[String]) -> Vec<String> {
    let calls: Vec<&str> = injections.iter().map(|one| one.split(':').next().unwrap()).collect();
    let mut words = vec!["-f".to_owned(), "-q".to_owned(), "-e".to_owned(), format!("trace={}", calls.join(","))];
    for injection in injections {
        words.extend(["-e".to_owned(), format!("inject={injection}")]);
    }
    words
}

/// How often one was made to fail, by what strace wrote.
pub fn injected(trace: &str) -> usize {
    trace.matches("(INJECTED)").count()
}

/// How often the last of these was, which the others may only lead to.
fn injected_last(trace: &str, injections: &[String]) -> usize {
    let calls: Vec<&str> = injections.last().and_then(|last| last.split(':').next()).unwrap().split(',').collect();
    let is_one = |line: &&str| line.contains("(INJECTED)") && calls.iter().any(|call| line.contains(call));
    trace.lines().filter(is_one).count()
}

/// Calls of a running server fail until this is dropped. Each thread counts its own.
pub struct Failing {
    folder: TempDir,
    child: Child,
    injections: Vec<String>,
}

impl Failing {
    pub fn of(process: u32, injections: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        command.args(words(injections)).arg("-o").arg(folder.path().join("trace")).args(["-p", &process.to_string()]);
        let said = File::create(folder.path().join("said")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn();
        let child = child.expect("strace is not installed");
        let mut failing = Self { folder, child, injections: injections.to_vec() };
        failing.await_attached(process);
        failing
    }

    /// Once every thread has its tracer.
    fn await_attached(&mut self, process: u32) {
        let begun = Instant::now();
        let is_traced = |status: String| !status.contains("TracerPid:\t0\n");
        loop {
            let threads: Vec<_> = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten().collect();
            if threads.iter().all(|one| fs::read_to_string(one.path().join("status")).is_ok_and(is_traced)) {
                return;
            }
            let said = fs::read_to_string(self.folder.path().join("said")).unwrap();
            assert!(self.child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "strace: {said}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How often the last of the injections came to be.
    pub fn injected(&self) -> usize {
        let trace = fs::read_to_string(self.folder.path().join("trace")).unwrap_or_default();
        injected_last(&trace, &self.injections)
    }
}

impl Drop for Failing {
    /// It lets go of the server.
    fn drop(&mut self) {
        let end = format!("kill -s INT {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &end]).status();
        let _ = self.child.wait();
    }
}
