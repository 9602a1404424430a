package kubelet

import (
	"bytes"
	"io"
	"os"
)

// seekTail sets the offsets of the files, oldest first, so that reading from the returned one on
// yields the last n whole lines.
func seekTail(files []*os.File, n int64) (int, error) {
	last := len(files) - 1
	if n <= 0 {
		_, err := files[last].Seek(0, io.SeekEnd)
		return last, err
	}
	for i := last; i >= 0; i-- {
		off, found, cut, err := tailOffset(files[i], n)
		if err != nil {
			return 0, err
		}
		if _, err := files[i].Seek(off, io.SeekStart); err != nil {
			return 0, err
		}
		// Without a cut the first line here may have begun in the file before.
		if n -= found; cut || i == 0 {
			return i, nil
		}
	}
	return 0, nil
}

// tailOffset returns where the last n lines of f begin, how many lines there are from there, and
// whether there is one before them. A line counts when it is not a partial one, since only those
// end a line of the container.
func tailOffset(f *os.File, n int64) (offset, lines int64, cut bool, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, false, err
	}
	const block = 64 << 10
	var tail []byte // the bytes from pos on that are not yet whole lines
	pos := end
	for pos > 0 {
		size := min(int64(block), pos)
		pos -= size
		buf := make([]byte, size, size+int64(len(tail)))
		if _, err := f.ReadAt(buf, pos); err != nil {
			return 0, 0, false, err
		}
		buf = append(buf, tail...)
		for {
			i := bytes.LastIndexByte(bytes.TrimSuffix(buf, []byte("\n")), '\n')
			if i < 0 {
				break
			}
			if endsLine(buf[i+1:]) {
				if lines == n {
					return pos + int64(len(buf)), lines, true, nil
				}
				lines++
			}
			buf = buf[:i+1]
		}
		tail = buf
	}
	if len(tail) > 0 && endsLine(tail) {
		if lines == n {
			return int64(len(tail)), lines, true, nil
		}
		lines++
	}
	return 0, lines, false, nil
}

func endsLine(raw []byte) bool {
	l, err := ParseLogLine(raw)
	return err == nil && !l.Partial
}
