package h2

import (
	"encoding/binary"
	"fmt"
)

// Frames of RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings of RFC 9113, section 6.5.2.
const (
	settingTableSize     = 0x1
	settingPush          = 0x2
	settingMaxStreams    = 0x3
	settingInitialWindow = 0x4
	settingMaxFrame      = 0x5
	settingMaxHeaderList = 0x6
)

const (
	frameHeaderSize = 9
	minMaxFrame     = 16 << 10
	maxMaxFrame     = 1<<24 - 1
	maxWindow       = 1<<31 - 1
	defaultWindow   = 64<<10 - 1
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// errCode is an error code of RFC 9113, section 7.
type errCode uint32

const (
	codeNo          errCode = 0x0
	codeProtocol    errCode = 0x1
	codeInternal    errCode = 0x2
	codeFlowControl errCode = 0x3
	codeClosed      errCode = 0x5
	codeFrameSize   errCode = 0x6
	codeRefused     errCode = 0x7
	codeCompression errCode = 0x9
	codeCalm        errCode = 0xb
)

// connError ends the connection.
type connError struct {
	code errCode
	what string
}

func (e connError) Error() string { return fmt.Sprintf("h2: connection error %d: %s", e.code, e.what) }

// streamError ends one stream.
type streamError struct {
	id   uint32
	code errCode
	what string
}

func (e streamError) Error() string {
	return fmt.Sprintf("h2: stream %d: error %d: %s", e.id, e.code, e.what)
}

// frame is one that was read. Its payload is valid until the next is.
type frame struct {
	typ, flags byte
	stream     uint32
	payload    []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// unpad takes the padding, and for HEADERS the priority, off a payload.
func (f *frame) unpad() error {
	p, pad := f.payload, 0
	if f.has(flagPadded) {
		if len(p) == 0 {
			return connError{codeFrameSize, "a padded frame without the length of its padding"}
		}
		pad, p = int(p[0]), p[1:]
	}
	if f.typ == frameHeaders && f.has(flagPriority) {
		if len(p) < 5 {
			return connError{codeFrameSize, "a frame with priority that is too short"}
		}
		p = p[5:]
	}
	if pad > len(p) {
		return connError{codeProtocol, "more padding than payload"}
	}
	f.payload = p[:len(p)-pad]
	return nil
}

func appendFrame(b []byte, length int, typ, flags byte, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), typ, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendReset(b []byte, stream uint32, code errCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, frameReset, 0, stream), uint32(code))
}

func appendWindow(b []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, frameWindow, 0, stream), uint32(n))
}

func appendGoAway(b []byte, last uint32, code errCode) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, 8, frameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}
