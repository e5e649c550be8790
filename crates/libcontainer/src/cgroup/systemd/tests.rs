//! The client against buses that do not behave.
//!
//! Runs in: tests.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use super::bus::Bus;
use super::{MANAGER, NO_SUCH_UNIT, Systemd, UNIT_EXISTS};
use crate::error::{Error, with_causes};
use crate::plan::{Manager, Property, UnitPlan, Value};

const DEADLINE: Duration = Duration::from_millis(300);
const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// What the bus does with a call, by its member: the bytes that it sends.
type Answer = fn(member: &str, serial: u32, count: usize) -> Vec<u8>;

/// A bus for one connection. Whoever is silent holds the connection open until the client is gone.
fn with_bus<T>(answer: Answer, client: impl FnOnce(&mut Systemd) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0, answer));
    let address = format!("unix:path={}", path.display());
    let bus = Bus::open_first(&address, Instant::now() + DEADLINE).unwrap();
    let result = client(&mut Systemd { bus, deadline: DEADLINE });
    server.join().unwrap();
    result
}

fn serve(mut stream: UnixStream, answer: Answer) {
    let mut bytes = Vec::new();
    read_until(&mut stream, &mut bytes, b"BEGIN\r\n");
    stream.write_all(b"DATA\r\nOK 0123\r\n").unwrap();
    bytes.clear();
    let mut count = 0;
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
        while let Some((member, serial)) = take_call(&mut bytes) {
            count += 1;
            // The client may have given up on us.
            if stream.write_all(&answer(&member, serial, count)).is_err() {
                return;
            }
        }
    }
}

fn read_until(stream: &mut UnixStream, bytes: &mut Vec<u8>, end: &[u8]) {
    let mut byte = [0];
    while !bytes.ends_with(end) && stream.read(&mut byte).unwrap() == 1 {
        bytes.push(byte[0]);
    }
}

/// Member and serial of the next call.
fn take_call(bytes: &mut Vec<u8>) -> Option<(String, u32)> {
    let serial = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    match super::message::Message::take(bytes) {
        super::message::Taken::Message(message) => Some((message.member, serial)),
        _ => None,
    }
}

/// A message from the bus with string arguments (`u` in the signature: a zero).
fn message(
    kind: u8,
    reply_to: u32,
    fields: &[(u8, &str)],
    signature: &str,
    strings: &[&str],
) -> Vec<u8> {
    fn align(bytes: &mut Vec<u8>, to: usize) {
        bytes.resize(bytes.len().next_multiple_of(to), 0);
    }
    fn string(bytes: &mut Vec<u8>, text: &str) {
        align(bytes, 4);
        bytes.extend(u32::try_from(text.len()).unwrap().to_ne_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    let mut body = Vec::new();
    if signature.starts_with('u') {
        body.extend([0; 4]);
    }
    strings.iter().for_each(|text| string(&mut body, text));
    let mut header = Vec::new();
    header.extend([5, 1, b'u', 0]);
    header.extend(reply_to.to_ne_bytes());
    for (code, text) in fields {
        align(&mut header, 8);
        header.extend([*code, 1, b's', 0]);
        string(&mut header, text);
    }
    align(&mut header, 8);
    header.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap()]);
    header.extend_from_slice(signature.as_bytes());
    header.push(0);
    let endian = if cfg!(target_endian = "little") { b'l' } else { b'B' };
    let mut whole = vec![endian, kind, 0, 1];
    for number in [body.len(), 1, header.len()] {
        whole.extend(u32::try_from(number).unwrap().to_ne_bytes());
    }
    whole.extend(header);
    align(&mut whole, 8);
    whole.extend(body);
    whole
}

fn reply(serial: u32, strings: &[&str]) -> Vec<u8> {
    message(2, serial, &[], &"s".repeat(strings.len()), strings)
}

fn refusal(serial: u32, name: &str, text: &str) -> Vec<u8> {
    message(3, serial, &[(4, name)], "s", &[text])
}

fn removed(job: &str, unit: &str, result: &str) -> Vec<u8> {
    message(4, 0, &[(2, MANAGER), (3, "JobRemoved")], "uoss", &[job, unit, result])
}

fn unit() -> UnitPlan {
    let optional = Property { name: "New".into(), value: Value::Bool(true), optional: true };
    UnitPlan { manager: Manager::System, name: "a.scope".into(), properties: vec![optional] }
}

fn start(answer: Answer) -> Result<(), String> {
    with_bus(answer, |systemd| systemd.start(&unit(), 1)).map_err(|error| with_causes(&error))
}

#[test]
fn start_waits_for_its_own_job() {
    let started = start(|member, serial, _| match member {
        "StartTransientUnit" => [
            removed("/other", "b.scope", "failed"),
            reply(serial, &[JOB]),
            removed("/other", "a.scope", "failed"),
            removed(JOB, "a.scope", "done"),
        ]
        .concat(),
        _ => reply(serial, &[]),
    });
    assert_eq!(started, Ok(()));
}

#[test]
fn start_whose_job_ends_before_the_reply_is_done() {
    let started = start(|member, serial, _| match member {
        "StartTransientUnit" => [removed(JOB, "a.scope", "done"), reply(serial, &[JOB])].concat(),
        _ => reply(serial, &[]),
    });
    assert_eq!(started, Ok(()));
}

#[test]
fn start_of_a_unit_that_has_failed_before_is_tried_again_once() {
    let started = start(|member, serial, count| match member {
        // Hello, AddMatch, this one.
        "StartTransientUnit" if count == 3 => refusal(serial, UNIT_EXISTS, "exists"),
        "StartTransientUnit" => [reply(serial, &[JOB]), removed(JOB, "a.scope", "done")].concat(),
        _ => reply(serial, &[]),
    });
    assert_eq!(started, Ok(()));
    let started = start(|member, serial, _| match member {
        "StartTransientUnit" => refusal(serial, UNIT_EXISTS, "Unit a.scope was already loaded"),
        _ => reply(serial, &[]),
    });
    let expected = "systemd: start unit a.scope: Unit a.scope was already loaded \
                    (org.freedesktop.systemd1.UnitExists)";
    assert_eq!(started, Err(expected.into()));
}

#[test]
fn start_with_an_unknown_property_is_tried_again_without_the_optional_ones() {
    let started = start(|member, serial, count| match member {
        "StartTransientUnit" if count == 3 => {
            refusal(serial, "org.freedesktop.DBus.Error.PropertyReadOnly", "unknown")
        }
        "StartTransientUnit" => [reply(serial, &[JOB]), removed(JOB, "a.scope", "done")].concat(),
        _ => reply(serial, &[]),
    });
    assert_eq!(started, Ok(()));
}

#[test]
fn start_whose_job_fails_says_so() {
    let started = start(|member, serial, _| match member {
        "StartTransientUnit" => [reply(serial, &[JOB]), removed(JOB, "a.scope", "failed")].concat(),
        _ => reply(serial, &[]),
    });
    let error = started.unwrap_err();
    assert!(error.contains("start unit a.scope") && error.contains("\"failed\""), "{error}");
}

#[test]
fn start_on_a_bus_that_is_silent_says_what_was_waited_for() {
    let silences: [Answer; 3] = [
        |_, _, _| Vec::new(),
        |member, serial, _| match member {
            "StartTransientUnit" => Vec::new(),
            _ => reply(serial, &[]),
        },
        |_, serial, _| reply(serial, &[JOB]),
    ];
    for silence in silences {
        let begin = Instant::now();
        let error = with_bus(silence, |systemd| systemd.start(&unit(), 1)).unwrap_err();
        assert!(begin.elapsed() < 5 * DEADLINE, "{:?}", begin.elapsed());
        let Error::Timeout { what, .. } = error else { panic!("{error:?}") };
        assert!(what.starts_with("systemd to start unit a.scope (asked over /"), "{what}");
    }
}

#[test]
fn start_on_a_bus_that_dies_or_talks_nonsense_is_an_error() {
    let table: [(Answer, &str); 4] = [
        (|_, _, _| b"GARBAGE GARBAGE GARBAGE".to_vec(), "does not speak D-Bus"),
        (|_, serial, _| reply(serial, &[]), "does not speak D-Bus"),
        (
            |_, serial, _| refusal(serial, "org.freedesktop.DBus.Error.AccessDenied", "no"),
            "AccessDenied",
        ),
        (|_, serial, _| message(3, serial, &[(4, "x.Y")], "u", &[]), "no reason given"),
    ];
    for (answer, expected) in table {
        let error = start(answer).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn open_where_the_peer_closes_or_rejects_is_an_error() {
    for (line, expected) in
        [(&b""[..], "has closed"), (b"REJECTED EXTERNAL\r\n", "REJECTED"), (&[b'x'; 5000], "line")]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_until(&mut stream, &mut Vec::new(), b"BEGIN\r\n");
            stream.write_all(line).unwrap();
        });
        let address = format!("unix:path={}", path.display());
        let error = Bus::open_first(&address, Instant::now() + DEADLINE).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn open_where_nobody_accepts_ends_with_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus");
    let _listener = UnixListener::bind(&path).unwrap();
    let address = format!("unix:path={}", path.display());
    let begin = Instant::now();
    let error = Bus::open_first(&address, begin + DEADLINE).unwrap_err();
    assert!(error.to_string().starts_with("no answer from "), "{error}");
    assert!((DEADLINE..5 * DEADLINE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[test]
fn stop_of_no_unit_is_no_error() {
    let stopped = with_bus(
        |member, serial, _| match member {
            "StopUnit" => refusal(serial, NO_SUCH_UNIT, "Unit a.scope not loaded."),
            _ => reply(serial, &[]),
        },
        |systemd| systemd.stop("a.scope"),
    );
    assert!(stopped.is_ok(), "{stopped:?}");
}
