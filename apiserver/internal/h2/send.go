package h2

import (
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	// flushAt is from how many bytes on frames are written at once, and how many are written at a time.
	flushAt = 64 << 10
	// maxOut is how many bytes wait to be written before those who write more have to wait.
	maxOut = 256 << 10
	// keepOut is how large a buffer a connection keeps that has nothing to write.
	keepOut = 8 << 10
	// maxRounds is how often one request's goroutine writes what others have to say, too.
	maxRounds = 4
)

// outBuffers are for connections with much to write.
var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, flushAt+minMaxFrame); return &b }}

// flush writes what is in out, unless somebody does so already, who will then write this, too. Those that are about
// to add something go first: when many streams have something to send at the same time, as the watches of an object
// do, it makes few records of TLS and few writes. It is called with mu held, and holds it when it returns.
func (c *conn) flush() {
	if c.writing || len(c.out) == 0 || c.err != nil {
		return
	}
	c.writing = true
	if len(c.streams) > 1 && len(c.out) < flushAt {
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	c.write(maxRounds)
}

// flushAside is flush for who reads: who waits until a client reads can't read what it writes meanwhile.
func (c *conn) flushAside() {
	if c.writing || len(c.out) == 0 || c.err != nil {
		return
	}
	c.writing = true
	go c.writeAside()
}

func (c *conn) writeAside() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(-1)
}

// write writes out until it is empty, or leaves it to a goroutine of its own after some rounds. It is called by
// who set writing, with mu held.
func (c *conn) write(rounds int) {
	for ; len(c.out) > 0 && c.err == nil; rounds-- {
		if rounds == 0 {
			go c.writeAside()
			return
		}
		b := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		err := c.writeOut(b)
		c.mu.Lock()
		if c.spare = b[:0]; cap(c.out) == 0 {
			c.out, c.spare = c.spare, nil
		}
		if err != nil {
			c.fail(err)
		}
		if c.waits > 0 {
			c.room.Broadcast()
		}
	}
	c.writing = false
	if c.err != nil {
		c.out = nil
	}
	if c.out, c.spare = release(c.out), release(c.spare); c.out == nil {
		c.out, c.spare = c.spare, nil
	}
	c.room.Broadcast()
}

// release gives a large buffer back.
func release(b []byte) []byte {
	if cap(b) <= keepOut {
		return b
	}
	if cap(b) <= 2*maxOut {
		b = b[:0]
		outBuffers.Put(&b)
	}
	return nil
}

// writeOut writes to the network. A client that takes too little for too long loses its connection.
func (c *conn) writeOut(b []byte) error {
	cork := corked(c.nc)
	for len(b) > 0 {
		n := min(len(b), flushAt)
		if now := time.Now(); now.Sub(c.writeSince) > writeTimeout/6 { // it costs more than to look
			c.writeSince = now
			_ = c.nc.SetWriteDeadline(now.Add(writeTimeout)) // not all connections have deadlines
		}
		if cork != nil && n > minMaxFrame {
			cork.cork()
		}
		_, err := c.nc.Write(b[:n])
		if cork != nil {
			if e := cork.uncork(); err == nil {
				err = e
			}
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// flushAll is flush that returns when all is written. It is called with mu held.
func (c *conn) flushAll() {
	c.flush()
	for c.writing && c.err == nil {
		c.room.Wait()
	}
}

// control waits until there is room for an answer to a frame: who asks for many and takes none does not make the
// server keep them. It is called with mu held.
func (c *conn) control() {
	for len(c.out) > 2*maxOut && c.err == nil {
		c.waits++
		c.room.Wait()
		c.waits--
	}
}

// sendData puts data into out, as the stream's and the connection's windows allow. It is called with mu held.
func (st *stream) sendData(p []byte, end bool) error {
	c := st.c
	for {
		if st.err != nil || st.tooLate() {
			return st.err
		}
		n := max(int(min(int64(len(p)), st.sendLeft, c.sendLeft, int64(c.maxFrame))), 0)
		if len(c.out) >= maxOut || n == 0 && len(p) > 0 {
			c.flush()
			st.waitToSend(len(p))
			continue
		}
		c.appendData(st, p[:n], end && n == len(p))
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		if len(c.out) >= flushAt {
			c.flush()
		}
	}
}

// tooLate ends a stream whose answer was not taken in time.
func (st *stream) tooLate() bool {
	if !expired(st.writeBy) {
		return false
	}
	st.c.out = appendReset(st.c.out, st.id, codeInternal)
	st.c.forget(st, os.ErrDeadlineExceeded)
	st.c.flush()
	return true
}

func (c *conn) appendData(st *stream, p []byte, end bool) {
	st.sendLeft -= int64(len(p))
	c.sendLeft -= int64(len(p))
	flags := byte(0)
	if end {
		flags, st.sendEnded = flagEndStream, true
	}
	if size := len(c.out) + len(p); size > cap(c.out) && size > keepOut && cap(c.out) < flushAt {
		b := *outBuffers.Get().(*[]byte)
		c.out = append(b, c.out...)
	}
	c.out = append(appendFrame(c.out, len(p), frameData, flags, st.id), p...)
}

// waitToSend waits until there may be something to send of so many bytes, or the deadline has passed.
func (st *stream) waitToSend(bytes int) {
	c := st.c
	for st.err == nil && !expired(st.writeBy) {
		switch {
		case bytes > 0 && st.sendLeft <= 0:
			st.waits++
			wait(&st.cond, st.writeBy)
			st.waits--
		case bytes > 0 && c.sendLeft <= 0 || len(c.out) >= maxOut:
			c.waits++
			wait(&c.room, st.writeBy)
			c.waits--
		default:
			return
		}
	}
}

// wait waits for a condition, or until a time if it is set.
func wait(cond *sync.Cond, until time.Time) {
	if until.IsZero() {
		cond.Wait()
		return
	}
	t := time.AfterFunc(time.Until(until), func() {
		cond.L.Lock()
		defer cond.L.Unlock()
		cond.Broadcast()
	})
	defer t.Stop()
	cond.Wait()
}

func expired(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }
