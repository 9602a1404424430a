package kubelet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// logTime is the form of the times in a log: RFC 3339 with all nine digits, so that they sort.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"

// LogLine is one line of a container's log file.
type LogLine struct {
	Time    time.Time
	Stream  string // "stdout" or "stderr"
	Partial bool   // the line goes on in the next of its stream
	Text    []byte // without the newline; valid until the next line is read
}

// ParseLogLine parses a line of the kubelet's log format (CRI), with or without its newline.
func ParseLogLine(line []byte) (LogLine, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	stamp, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return LogLine{}, fmt.Errorf("kubelet: log line %.40q has no stream", line)
	}
	t, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return LogLine{}, fmt.Errorf("kubelet: log line %.40q has no time: %w", line, err)
	}
	stream, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok || (string(stream) != "stdout" && string(stream) != "stderr") {
		return LogLine{}, fmt.Errorf("kubelet: log line %.60q has no stream stdout or stderr", line)
	}
	tags, text, _ := bytes.Cut(rest, []byte(" "))
	tag, _, _ := bytes.Cut(tags, []byte(":"))
	if s := string(tag); s != "P" && s != "F" {
		return LogLine{}, fmt.Errorf("kubelet: log line %.60q has no tag P or F", line)
	}
	return LogLine{Time: t, Stream: string(stream), Partial: tag[0] == 'P', Text: text}, nil
}

// LogOptions select what of a log is read; see corev1.PodLogOptions.
type LogOptions struct {
	// Follow waits for more until Ended tells that the container has ended.
	Follow bool
	Ended  func() bool
	// Tail is the number of lines from the end, nil for all.
	Tail *int64
	// Since leaves out what is older.
	Since      time.Time
	Timestamps bool
	// Limit is the largest number of bytes written, nil for no limit.
	Limit *int64
	// Stream is "stdout", "stderr" or "" for both.
	Stream string
}

// logPoll is how often a followed log is looked at.
const logPoll = 100 * time.Millisecond

// ReadLog writes the log at path to w, as opts select. The rotated files of the log are read too,
// the oldest first, as far as they are asked for.
func ReadLog(ctx context.Context, path string, opts LogOptions, w io.Writer) error {
	files, err := logFiles(path)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	c := &logCopier{opts: opts, w: w, left: -1}
	if opts.Limit != nil {
		c.left = *opts.Limit
	}
	first := 0
	if opts.Tail != nil {
		if first, err = seekTail(files, *opts.Tail); err != nil {
			return err
		}
	}
	for i, f := range files[first:] {
		if c.left == 0 {
			return nil
		}
		last := first+i == len(files)-1
		if last && opts.Follow {
			err = c.follow(ctx, path, f)
		} else {
			err = c.copy(bufio.NewReaderSize(f, logPartial+256))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// logFiles opens the log and what was rotated away from it, the oldest first.
func logFiles(path string) ([]*os.File, error) {
	cur, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	files := []*os.File{cur}
	for i := 1; ; i++ {
		f, err := os.Open(rotatedLog(path, i))
		if err != nil {
			return files, nil
		}
		files = append([]*os.File{f}, files...)
	}
}

// logCopier writes the lines of log files.
type logCopier struct {
	opts LogOptions
	w    io.Writer
	left int64 // bytes that may still be written; negative is no bound
	cont bool  // the last line was partial: the next has no timestamp
	rest []byte
}

func (c *logCopier) copy(r *bufio.Reader) error {
	for c.left != 0 {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				c.rest = append(c.rest, line...) // a line that is still being written
				return nil
			}
			return err
		}
		if len(c.rest) > 0 {
			line = append(c.rest, line...)
			c.rest = nil
		}
		if err := c.line(line); err != nil {
			return err
		}
	}
	return nil
}

func (c *logCopier) line(raw []byte) error {
	l, err := ParseLogLine(raw)
	if err != nil {
		return nil // one torn line does not make the rest unreadable
	}
	if l.Time.Before(c.opts.Since) || (c.opts.Stream != "" && c.opts.Stream != l.Stream) {
		return nil
	}
	out := make([]byte, 0, len(raw))
	if c.opts.Timestamps && !c.cont {
		out = append(append(out, raw[:bytes.IndexByte(raw, ' ')]...), ' ')
	}
	out = append(out, l.Text...)
	if !l.Partial {
		out = append(out, '\n')
	}
	c.cont = l.Partial
	if c.left >= 0 && int64(len(out)) > c.left {
		out = out[:c.left]
	}
	n, err := c.w.Write(out)
	if c.left >= 0 {
		c.left -= int64(n)
	}
	return err
}

// follow copies f and what is added to it, and goes on with the new file after a rotation.
func (c *logCopier) follow(ctx context.Context, path string, f *os.File) error {
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	own := false
	defer func() {
		if own {
			_ = f.Close()
		}
	}()
	for {
		// Asked before the copy: what was written before the end is then read after it.
		ended := c.opts.Ended != nil && c.opts.Ended()
		if err := c.copy(bufio.NewReaderSize(f, logPartial+256)); err != nil || c.left == 0 {
			return err
		}
		if next := rotatedTo(path, f); next != nil {
			if own {
				_ = f.Close()
			}
			f, own, c.rest = next, true, nil
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// rotatedTo returns the file that is at path now, when it is another than f.
func rotatedTo(path string, f *os.File) *os.File {
	a, err := f.Stat()
	if err != nil {
		return nil
	}
	next, err := os.Open(path)
	if err != nil {
		return nil
	}
	if b, err := next.Stat(); err == nil && !os.SameFile(a, b) {
		return next
	}
	_ = next.Close()
	return nil
}
