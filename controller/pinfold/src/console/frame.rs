//! What goes from the daemon to the command: the guest's bytes, and events between them. The other way go bare bytes.
//!
//! A frame is a byte for its kind, its length in four bytes (big-endian), and that many bytes.

use super::event::Event;

/// The longest payload. A longer one is a mistake, not a reason to allocate.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// Kind and length.
const HEAD: usize = 5;
const OUTPUT: u8 = 0;
const EVENT: u8 = 1;

/// One thing that the daemon says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// What the guest printed.
    Output(Vec<u8>),
    /// What happened.
    Event(Event),
}

/// The other side does not speak this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Neither output nor event.
    #[error("a frame of unknown kind {0}: the daemon is of another version than this command")]
    Kind(u8),
    /// Longer than [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes, where {MAX_FRAME_BYTES} is the most")]
    Long(usize),
    /// An event that is none.
    #[error("an event that cannot be read: {0}")]
    Event(String),
}

/// Bytes that came, until they are frames.
#[derive(Debug, Default)]
pub struct Frames {
    came: Vec<u8>,
}

impl Frame {
    /// As it goes over the wire. Output longer than a frame becomes several.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Output(bytes) => bytes.chunks(MAX_FRAME_BYTES).flat_map(|chunk| with_head(OUTPUT, chunk)).collect(),
            Self::Event(event) => with_head(EVENT, &serde_json::to_vec(event).unwrap_or_default()),
        }
    }
}

fn with_head(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.push(kind);
    bytes.extend(length.to_be_bytes());
    bytes.extend(payload);
    bytes
}

impl Frames {
    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.came.extend(bytes);
    }

    /// The next whole frame, when there is one. After an error the connection is of no use.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((&[kind, a, b, c, d], rest)) = self.came.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if kind > EVENT {
            return Err(FrameError::Kind(kind));
        }
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::Long(length));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = if kind == OUTPUT {
            Frame::Output(payload.to_vec())
        } else {
            Frame::Event(serde_json::from_slice(payload).map_err(|error| FrameError::Event(error.to_string()))?)
        };
        self.came.drain(..HEAD + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn frame() -> impl Strategy<Value = Frame> {
        let output = proptest::collection::vec(any::<u8>(), 1..300).prop_map(Frame::Output);
        let event = (any::<u32>(), 0..4_000_000_000_i64).prop_map(|(domid, second)| {
            Frame::Event(Event::Attached { at: Timestamp::from_second(second).unwrap(), domid })
        });
        prop_oneof![output, event]
    }

    proptest! {
        /// However the bytes are cut on their way, the same frames come out.
        #[test]
        fn frames_survive_any_cut(sent in proptest::collection::vec(frame(), 0..8), cut in 1_usize..64) {
            let bytes: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
            let (mut frames, mut came) = (Frames::default(), Vec::new());
            for part in bytes.chunks(cut) {
                frames.feed(part);
                while let Some(frame) = frames.take().unwrap() {
                    came.push(frame);
                }
            }
            prop_assert_eq!(came, sent);
        }

        /// Whatever comes is a frame, an error, or not yet whole; never a panic, never a large allocation.
        #[test]
        fn anything_can_come(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::default();
            frames.feed(&bytes);
            while let Ok(Some(_)) = frames.take() {}
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let taken = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.feed(bytes);
            frames.take()
        };
        assert_eq!(taken(&[7, 0, 0, 0, 0]), Err(FrameError::Kind(7)));
        assert_eq!(taken(&[0, 0, 1, 0, 1]), Err(FrameError::Long(65_537)));
        assert!(matches!(taken(&[1, 0, 0, 0, 2, b'{', b'}']), Err(FrameError::Event(_))));
        assert_eq!(taken(&[0, 0, 0, 0, 2, b'a']), Ok(None));
        let long = Frame::Output(vec![b'x'; MAX_FRAME_BYTES + 1]).encode();
        assert_eq!(long.len(), MAX_FRAME_BYTES + 1 + 2 * HEAD);
    }
}
