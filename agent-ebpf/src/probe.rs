//! What a probe's attach cookie tells the program that it runs.

use crate::direction;

/// Which function a probe is on: how its arguments and its result are laid out.
///
/// Travels in the attach cookie, so that one program serves all functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Function {
    /// `int SSL_write(SSL *, const void *, int)`: the result is the length.
    Write = 1,
    /// `int SSL_read(SSL *, void *, int)`: the result is the length.
    Read = 2,
    /// `int SSL_write_ex(SSL *, const void *, size_t, size_t *)`: the length is in `*arg4`.
    WriteEx = 3,
    /// `int SSL_read_ex(SSL *, void *, size_t, size_t *)`: the length is in `*arg4`.
    ReadEx = 4,
    /// `void SSL_free(SSL *)`.
    Free = 5,
    /// `int SSL_write_ex2(SSL *, const void *, size_t, uint64_t, size_t *)`: the length is in
    /// `*arg5`.
    WriteEx2 = 6,
    /// `int SSL_read_early_data(SSL *, void *, size_t, size_t *)`: the length is in `*arg4`.
    ReadEarlyData = 7,
    /// `int SSL_write_early_data(SSL *, const void *, size_t, size_t *)`: likewise.
    WriteEarlyData = 8,
    /// `ossl_ssize_t SSL_sendfile(SSL *, int, off_t, size_t, int)`: the result is the length; the
    /// bytes are in a file.
    Sendfile = 9,
    /// `int SSL_peek(SSL *, void *, int)` and `SSL_peek_ex`: moves nothing, but calls others.
    Peek = 10,
    /// `int SSL_clear(SSL *)`: makes the object that of another connection.
    Clear = 11,
    /// `void SSL_set_bio(SSL *, BIO *, BIO *)` and its like: another transport.
    SetTransport = 12,
    /// `int SSL_set_fd(SSL *, int)` and its like: another transport, by file descriptor.
    SetDescriptor = 13,
    /// `int SSL_shutdown(SSL *)`.
    Shutdown = 14,
    /// `int BIO_write(BIO *, const void *, int)`, or what lies below it with a `size_t`.
    BioWrite = 15,
    /// Near the end of a function like `SSL_read_ex`, as which its records are told: what was moved is
    /// known, and [`Places`] say where the arguments are.
    ReadEnd = 16,
    /// `int SSL_do_handshake(SSL *)`: moves nothing of the process, but uses the socket.
    Handshake = 17,
    /// `int gnutls_record_uncork(gnutls_session_t, unsigned)`: hands over nothing itself, but calls
    /// what does, with what was handed over before.
    Uncork = 20,
    /// `ssize_t gnutls_record_recv_packet(gnutls_session_t, gnutls_packet_t *)`: the result is the
    /// length; the bytes are in a structure of the library's own.
    ReadPacket = 21,
    /// `func (c *Conn) Read(b []byte) (n int, err error)` of Go's `crypto/tls`.
    GoRead = 40,
    /// `func (c *Conn) Write(b []byte) (n int, err error)`.
    GoWrite = 41,
    /// A return of a function of Go: of which call, its goroutine and its stack tell.
    GoReturn = 42,
    /// `func (c *Conn) Close() error`.
    GoClose = 43,
    /// `func (c *Conn) clientHandshake(ctx) error`, or `serverHandshake`: the first that happens on a
    /// `Conn`, whether the program asks for it or a read or write does.
    GoHandshake = 44,
    /// `PRInt32 ssl_Recv(PRFileDesc *, void *, PRInt32, PRIntn flags, PRIntervalTime)`: the result is the
    /// length; a call with `PR_MSG_PEEK` is none.
    ReadUnlessPeek = 23,
    /// `ssize_t s2n_sendv(struct s2n_connection *, const struct iovec *, ssize_t, s2n_blocked_status *)`:
    /// the result is the length.
    WriteVectors = 24,
    /// `ssize_t s2n_sendv_with_offset(struct s2n_connection *, const struct iovec *, ssize_t count,
    /// ssize_t offset, s2n_blocked_status *)`: likewise, from the byte at `offset` on.
    WriteVectorsFrom = 25,
    /// `fn CommonState::send_appdata_encrypt(&mut self, OutboundChunks, Limit, …) -> usize` of rustls 0.23: the
    /// result is the length. The second argument points to four words: 0, address, length; or
    /// address and count of slices, and which of their bytes are meant.
    WriteChunks = 32,
    /// `fn CommonState::take_received_plaintext(&mut self, Payload)` of rustls 0.23, at its entry: behind
    /// a word, the second argument points to address and length.
    TakePlaintext = 33,
    /// `SSL *SSL_new(SSL_CTX *)`: the result is an object, of another connection than one that was at its
    /// address before. For libraries whose `SSL_free` is not found.
    New = 50,
}

impl Function {
    /// The function with the given code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Write),
            2 => Some(Self::Read),
            3 => Some(Self::WriteEx),
            4 => Some(Self::ReadEx),
            5 => Some(Self::Free),
            6 => Some(Self::WriteEx2),
            7 => Some(Self::ReadEarlyData),
            8 => Some(Self::WriteEarlyData),
            9 => Some(Self::Sendfile),
            10 => Some(Self::Peek),
            11 => Some(Self::Clear),
            12 => Some(Self::SetTransport),
            13 => Some(Self::SetDescriptor),
            14 => Some(Self::Shutdown),
            15 => Some(Self::BioWrite),
            16 => Some(Self::ReadEnd),
            17 => Some(Self::Handshake),
            20 => Some(Self::Uncork),
            21 => Some(Self::ReadPacket),
            40 => Some(Self::GoRead),
            41 => Some(Self::GoWrite),
            42 => Some(Self::GoReturn),
            43 => Some(Self::GoClose),
            44 => Some(Self::GoHandshake),
            23 => Some(Self::ReadUnlessPeek),
            24 => Some(Self::WriteVectors),
            25 => Some(Self::WriteVectorsFrom),
            32 => Some(Self::WriteChunks),
            33 => Some(Self::TakePlaintext),
            50 => Some(Self::New),
            _ => None,
        }
    }

    /// [`direction::TRANSMIT`] or [`direction::RECEIVE`], for a function that moves bytes.
    pub const fn direction(self) -> u8 {
        match self {
            Self::Read
            | Self::ReadEx
            | Self::ReadEarlyData
            | Self::Peek
            | Self::ReadPacket
            | Self::GoRead
            | Self::ReadUnlessPeek
            | Self::TakePlaintext => direction::RECEIVE,
            _ => direction::TRANSMIT,
        }
    }

    /// Whether the function hands plaintext of the process over or back.
    pub const fn carries_payload(self) -> bool {
        matches!(
            self,
            Self::Write
                | Self::Read
                | Self::WriteEx
                | Self::ReadEx
                | Self::WriteEx2
                | Self::ReadEarlyData
                | Self::WriteEarlyData
                | Self::ReadPacket
                | Self::GoRead
                | Self::GoWrite
                | Self::ReadUnlessPeek
                | Self::WriteVectors
                | Self::WriteVectorsFrom
                | Self::WriteChunks
                | Self::TakePlaintext
        )
    }

    /// Whether a call is followed from its entry to its return.
    pub const fn is_followed(self) -> bool {
        (self.carries_payload() && !matches!(self, Self::TakePlaintext))
            || matches!(
                self,
                Self::Sendfile | Self::Peek | Self::Handshake | Self::Uncork | Self::New
            )
    }

    /// Whether a call is followed to its return by a uretprobe; Go's returns are probed one by one.
    pub const fn is_returned_from(self) -> bool {
        self.is_followed() && !matches!(self, Self::GoRead | Self::GoWrite)
    }

    /// The argument, counted from 0, through which the length comes back: a `size_t *`. `None`
    /// when the result is the length.
    pub const fn length_argument(self) -> Option<u8> {
        match self {
            Self::WriteEx | Self::ReadEx | Self::ReadEarlyData | Self::WriteEarlyData => Some(3),
            Self::WriteEx2 => Some(4),
            _ => None,
        }
    }

    /// Whether the second argument is an array of `struct iovec`.
    pub const fn takes_vectors(self) -> bool {
        matches!(self, Self::WriteVectors | Self::WriteVectorsFrom)
    }
}

/// The attach cookie of a probe: which function, in which library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The agent's number of the library, given back in [`crate::RecordHeader::library`].
    pub library: u32,
    /// The function the probe is on.
    pub function: Function,
    /// Of [`Function::ReadEnd`]: where its arguments are.
    pub places: Places,
}

impl Cookie {
    /// The cookie as the kernel keeps it.
    pub const fn to_bits(self) -> u64 {
        (self.places.to_bits() as u64) << 40 | (self.library as u64) << 8 | self.function as u64
    }

    /// The inverse of [`Cookie::to_bits`].
    #[expect(clippy::cast_possible_truncation, reason = "takes the fields out of their bits")]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match Function::from_code(bits as u8) {
            Some(function) => Some(Self {
                library: (bits >> 8) as u32,
                function,
                places: Places::from_bits((bits >> 40) as u32),
            }),
            None => None,
        }
    }
}

/// The registers that hold the arguments of a call near its end, by the number that they have in
/// the processor's instructions. Its result is where results are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Places {
    /// The TLS object.
    pub object: u8,
    /// Where the bytes are.
    pub buffer: u8,
    /// Where their count is stored: a `size_t *`.
    pub length: u8,
    /// What is 0 in the calls that are meant, an `int`: others come by the same instruction.
    pub zero: Option<u8>,
}

impl Places {
    const REGISTER: u32 = 0xf;
    const HAS_ZERO: u32 = 1 << 16;

    /// In 17 bits.
    pub const fn to_bits(self) -> u32 {
        let three = self.object as u32 | (self.buffer as u32) << 4 | (self.length as u32) << 8;
        match self.zero {
            Some(zero) => three | (zero as u32) << 12 | Self::HAS_ZERO,
            None => three,
        }
    }

    /// The inverse of [`Places::to_bits`].
    pub const fn from_bits(bits: u32) -> Self {
        let zero = if bits & Self::HAS_ZERO == 0 {
            None
        } else {
            Some((bits >> 12 & Self::REGISTER) as u8)
        };
        Self {
            object: (bits & Self::REGISTER) as u8,
            buffer: (bits >> 4 & Self::REGISTER) as u8,
            length: (bits >> 8 & Self::REGISTER) as u8,
            zero,
        }
    }
}
