package kubelet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Bounds of a container's log, the kubelet's defaults (containerLogMaxSize, containerLogMaxFiles).
const (
	DefaultLogMaxSize  = 10 << 20
	DefaultLogMaxFiles = 5
)

// logPartial is the longest piece of a line that gets a line of its own in the log; longer lines
// are cut into several, all but the last tagged as partial.
const logPartial = 16 << 10

// LogWriter writes a container's log in the kubelet's format (CRI), one line as
//
//	2026-01-02T15:04:05.999999999Z stdout F the text
//
// with P for F when the line goes on in the next one of the same stream. When the file has
// reached its bound it is renamed to path.1, path.1 to path.2, and so on. A LogWriter is safe for
// concurrent use.
type LogWriter struct {
	mu       sync.Mutex
	path     string
	maxSize  int64
	maxFiles int
	f        *os.File
	size     int64
	buf      []byte
	now      func() time.Time
}

// OpenLogWriter opens the log at path for appending; its folder must exist. A maxSize in bytes or
// a maxFiles of 0 means the default.
func OpenLogWriter(path string, maxSize int64, maxFiles int) (*LogWriter, error) {
	if maxSize <= 0 {
		maxSize = DefaultLogMaxSize
	}
	if maxFiles <= 0 {
		maxFiles = DefaultLogMaxFiles
	}
	w := &LogWriter{path: path, maxSize: maxSize, maxFiles: maxFiles, now: time.Now}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *LogWriter) open() error {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("kubelet: can't open the container log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size = f, st.Size()
	return nil
}

// Copy logs what r delivers as lines of a stream, "stdout" or "stderr", until r ends. It returns
// nil at the end of r. A failure to write does not stop it from reading, so that the container
// does not block; the first such failure is returned.
func (w *LogWriter) Copy(stream string, r io.Reader) error {
	br := bufio.NewReaderSize(r, logPartial)
	var failed error
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			if werr := w.line(stream, line, errors.Is(err, bufio.ErrBufferFull)); werr != nil && failed == nil {
				failed = werr
			}
		}
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed):
			return failed
		default:
			return errors.Join(failed, err)
		}
	}
}

func (w *LogWriter) line(stream string, line []byte, partial bool) error {
	tag := " F "
	if partial {
		tag = " P "
	} else if n := len(line); line[n-1] == '\n' {
		line = line[:n-1]
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return os.ErrClosed
	}
	b := w.now().UTC().AppendFormat(w.buf[:0], logTime)
	b = append(b, ' ')
	b = append(b, stream...)
	b = append(b, tag...)
	b = append(b, line...)
	b = append(b, '\n')
	w.buf = b
	if w.size > 0 && w.size+int64(len(b)) > w.maxSize {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	n, err := w.f.Write(b)
	w.size += int64(n)
	return err
}

// rotate renames the files one further; the oldest is replaced.
func (w *LogWriter) rotate() error {
	for i := w.maxFiles - 1; i >= 1; i-- {
		from := w.path
		if i > 1 {
			from = rotatedLog(w.path, i-1)
		}
		if err := os.Rename(from, rotatedLog(w.path, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if w.maxFiles == 1 {
		if err := os.Remove(w.path); err != nil {
			return err
		}
	}
	old := w.f
	if err := w.open(); err != nil {
		return err
	}
	return old.Close()
}

func rotatedLog(path string, i int) string { return fmt.Sprintf("%s.%d", path, i) }

// Close closes the file. Lines that come later are dropped.
func (w *LogWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	return err
}
