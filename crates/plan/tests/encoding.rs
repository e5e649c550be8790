//! Every op survives encoding; no bytes make decoding panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use corten_plan::wire::{FLAG_EXPECT_PID1, FLAG_TRACE, Ids, List, set_flag};
use corten_plan::{Failure, Frame, Handle, Op, PlanReader, PlanWriter, Point, Stage};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

fn examples() -> Vec<Op<'static>> {
    let ids = Ids::new(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).unwrap();
    vec![
        Op::Join { handle: Handle(7), kind: 0x4000_0000, may_wait: true },
        Op::MappedIds { uid: 0, gid: 5 },
        Op::Session,
        Op::Sync { point: 2 },
        Op::MountFs {
            target: c"/dev/shm",
            fstype: c"tmpfs",
            source: Some(c"shm"),
            options: List::new(b"mode=1777\0ro\0").unwrap(),
            attr: 14,
            recursive_set: u64::MAX,
            recursive_clear: 0,
            propagation: ids,
            flags: 3,
            fallback: None,
        },
        Op::Scheduler {
            policy: 6,
            flags: 1,
            nice: -20,
            priority: 0,
            runtime: 1,
            deadline: 2,
            period: 3,
        },
        Op::Credentials {
            uid: 0,
            gid: 4_294_967_294,
            groups: None,
            bounding: 1,
            effective: 2,
            permitted: 3,
            inheritable: 4,
            ambient: 5,
            reads_back: true,
        },
        Op::Seccomp { program: &[6, 0, 0, 0, 0, 0, 0xff, 0x7f], flags: 2, at_exec: true },
        Op::Exec { args: List::new(b"sh\0-c\0\0").unwrap(), env: List::EMPTY, home: true },
    ]
}

fn plan(ops: &[Op<'_>]) -> Vec<u8> {
    let mut writer = PlanWriter::default();
    for op in ops {
        writer.push(op);
    }
    writer.finish(FLAG_TRACE).unwrap()
}

#[test]
fn ops_come_back_as_they_were_written() {
    let ops = examples();
    let bytes = plan(&ops);
    let reader = PlanReader::new(&bytes).unwrap();
    assert_eq!(reader.header().flags, FLAG_TRACE);
    assert_eq!(reader.header().ops as usize, ops.len());
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    let expected: Vec<_> = (0u16..).zip(ops).collect();
    assert_eq!(read, expected);
}

#[test]
fn flag_is_set_beside_the_others() {
    let mut bytes = plan(&[]);
    set_flag(&mut bytes, FLAG_EXPECT_PID1);
    let header = PlanReader::new(&bytes).unwrap().header();
    assert_eq!((header.flags, header.ops), (FLAG_TRACE | FLAG_EXPECT_PID1, 0));
}

#[test]
fn list_keeps_empty_strings() {
    let list = List::new(b"a\0\0b\0").unwrap();
    let strings: Vec<_> = list.iter().map(|string| string.to_bytes().to_vec()).collect();
    assert_eq!((list.len(), strings), (3, vec![b"a".to_vec(), vec![], b"b".to_vec()]));
    assert!(List::new(b"no end").is_err());
}

#[test]
fn plan_that_is_cut_is_refused_or_ends_with_an_error() {
    let bytes = plan(&examples());
    for end in 0..bytes.len() {
        assert!(PlanReader::new(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn frames_come_back_as_they_were_sent() {
    let failure =
        Failure { op: 513, stage: Stage::Option, item: 7, errno: 22, detail: b"size=12q" };
    let frames = [
        Frame::Reached(Point::Mounted),
        Frame::Reached(Point::Ready),
        Frame::Reached(Point::Placed),
        Frame::Reached(Point::Unmapped),
        Frame::Source { op: 258 },
        Frame::Forked,
        Frame::Failed(failure),
        Frame::Warned(failure),
        Frame::Go { ignored: 1 << 12 | 1 << 63 },
    ];
    for frame in frames {
        assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
    }
}

#[test]
fn detail_longer_than_a_frame_is_cut() {
    let detail = [b'x'; 1000];
    let frame =
        Frame::Failed(Failure { op: 0, stage: Stage::Op, item: 0, errno: 1, detail: &detail });
    let bytes = frame.encode();
    let Ok(Frame::Failed(failure)) = Frame::decode(&bytes) else { panic!("not a failure") };
    assert_eq!(failure.detail, &detail[..corten_plan::frame::DETAIL_LENGTH]);
}

proptest! {
    #[test]
    fn any_change_of_a_plan_decodes_to_ops_or_an_error(at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = plan(&examples());
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(reader) = PlanReader::new(&bytes) {
            prop_assert!(reader.count() <= examples().len() + 1);
        }
    }

    #[test]
    fn any_bytes_after_a_header_decode_to_ops_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = plan(&[]);
        bytes[20..24].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend(&body);
        let reader = PlanReader::new(&bytes).unwrap();
        let after_error = reader.skip_while(Result::is_ok).skip(1).count();
        prop_assert_eq!(after_error, 0);
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Frame::Failed(failure)) = Frame::decode(&bytes) {
            prop_assert!(failure.detail.len() <= bytes.len());
        }
    }
}
